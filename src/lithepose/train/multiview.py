"""The same instant from several cameras: examples of contrastive pre-training, without labels.

Two sources give the same arrays. `SynchronisedViews` has the recordings of a data set whose cameras
ran together, `VirtualViews` puts cameras around motion capture. Both draw what the engine of
`lithepose.train.engine` asks for:

- `views` (B, V, F, 17, C) float32: V windows of F frames that show one stretch of time, in an order
  of cameras drawn anew every time, mirrored all or none;
- `instants` (B,) int32: which instant is in the middle, as a number: instants of one recording
  differ by the frames between them, those of two recordings by `RECORDINGS_APART` at least.

C follows the lifter: 2 is x and y with the picture's width in [-1, 1], 3 adds a confidence, and 4
is a window as `lithepose.lifters.windows.look_at_person` makes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Indices
from lithepose.cameras import undistort, unproject
from lithepose.datasets.sequences import PoseSequence
from lithepose.lifters.windows import (
    CHANNELS,
    LIFT_FPS,
    look_at_person,
    mirror_sides,
    with_midpoints,
)
from lithepose.mocap.motions import Motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import WindowSettings, draw_focal_errors, draw_views
from lithepose.skeletons import convert

SKELETON = "h36m17"
RECORDINGS_APART = 1000
# Focal lengths of virtual cameras in half widths of the picture; Human3.6M's have 2.29.
SCREEN_FOCAL = (2.0, 2.6)


def _check_channels(channels: int) -> None:
    if channels not in (2, 3, CHANNELS):
        raise ValueError(
            f"views have 2 numbers per joint (x, y), 3 (and confidence) or {CHANNELS} (a window "
            f"that looks at the person), not {channels}"
        )


def instants_of(start: Indices, index: Indices) -> NDArray[np.int32]:
    """Numbers of instants, see the module.

    Args:
        start: (R + 1,) recording r has the frames `start[r]` to `start[r + 1] - 1`.
        index: (B,) frames.
    """
    recording = np.searchsorted(start, index, side="right") - 1
    return (index + RECORDINGS_APART * recording).astype(np.int32)


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """One trial before cameras that ran together.

    Attributes:
        name: subject and trial.
        cameras: names of the views.
        seen: (V, T, 17, 2) float32, coordinates on the screen, or, for windows that look at the
            person, pixels minus the principal point over the focal length.
        step: frames of the recording from one frame of a window to the next.
    """

    name: str
    cameras: tuple[str, ...]
    seen: Floats
    step: int


def recordings_of(sequences: Iterable[PoseSequence], channels: int) -> list[Recording]:
    """Sequences grouped by subject and trial; what only one camera saw is left out.

    Args:
        channels: C, see the module. 4 needs calibrated cameras, and takes frames at about the rate
            that lifters of such windows are trained for.

    Raises:
        ValueError: nothing was seen by two cameras, two sequences have one name, joints are
            missing, or a camera is not known.
    """
    _check_channels(channels)
    groups: dict[tuple[str, str], dict[str, PoseSequence]] = {}
    for sequence in sequences:
        views = groups.setdefault((sequence.subject, sequence.trial), {})
        if sequence.view in views:
            raise ValueError(f"there are two sequences {sequence.name}: leave one out")
        views[sequence.view] = sequence
    recordings = []
    for (subject, trial), views in groups.items():
        if len(views) < 2:
            continue
        # Cameras of a data set stop within a few frames of each other.
        length = min(len(sequence) for sequence in views.values())
        seen = [_seen(sequence, channels)[:length] for sequence in views.values()]
        rates = {sequence.fps for sequence in views.values()}
        if len(rates) > 1:
            raise ValueError(f"the cameras of {subject} {trial} have different frame rates")
        fps = rates.pop()
        step = max(1, round(fps / LIFT_FPS)) if channels == CHANNELS and fps else 1
        recordings.append(
            Recording(
                name=f"{subject} {trial}".strip(),
                cameras=tuple(views),
                seen=np.stack(seen),
                step=step,
            )
        )
    if not recordings:
        raise ValueError(
            "no trial was seen by two cameras: contrastive pre-training needs the same instant "
            "from several sides; take all cameras of the data set, or motion capture"
        )
    return recordings


def _seen(sequence: PoseSequence, channels: int) -> Floats:
    """(T, 17, 2) float32, see `Recording.seen`."""
    if channels == CHANNELS:
        camera = sequence.camera
        if camera is None:
            raise ValueError(
                f"the camera of {sequence.name} is not known: a network with {CHANNELS} channels "
                "needs it; take one with 2"
            )
        lens = (camera.focal_px, camera.centre_px)
        pixels = undistort(sequence.keypoints, *lens, camera.radial, camera.tangential)
        points = unproject(pixels, *lens, np.ones(pixels.shape[:-1]))[..., :2]
    else:
        points = sequence.keypoints_screen
    if sequence.keypoints_skeleton != SKELETON:
        points, _, _ = convert(points, None, sequence.keypoints_skeleton, SKELETON)
    if not np.isfinite(points).all():
        raise ValueError(
            f"{sequence.name}: the 2D joints ({sequence.keypoints_skeleton}) do not give all "
            f"joints of {SKELETON} in all frames"
        )
    if channels == CHANNELS:
        points, _ = with_midpoints(points, np.ones(points.shape[:-1]))
    return points.astype(np.float32)


class SynchronisedViews:
    """Windows of recordings, each as several cameras saw it; every frame is one instant.

    Args:
        sequences: of one data set, all cameras (`lithepose.datasets.human36m` and its likes).
        frames: F, frames of a window; beyond the ends of a recording its first or last frame
            stands still.
        channels: C, see the module.
        views: V; None takes as many as every recording has. Where there are more, each draw takes
            others.
        mirror: share of mirrored windows.

    Raises:
        ValueError: see `recordings_of`; or a recording has fewer than `views` cameras.
    """

    def __init__(
        self,
        sequences: Iterable[PoseSequence],
        *,
        frames: int,
        channels: int,
        views: int | None = None,
        mirror: float = 0.5,
    ):
        self.recordings = recordings_of(sequences, channels)
        self.frames, self.channels, self.mirror = frames, channels, mirror
        fewest = min(self.recordings, key=lambda recording: len(recording.cameras))
        self.views = len(fewest.cameras) if views is None else views
        if not 2 <= self.views <= len(fewest.cameras):
            raise ValueError(
                f"{self.views} views were asked for, and {fewest.name} has {len(fewest.cameras)}: "
                "ask for 2 at least and no more than that"
            )
        lengths = [recording.seen.shape[1] for recording in self.recordings]
        self.start = np.concatenate([[0], np.cumsum(lengths)])

    def __len__(self) -> int:
        return int(self.start[-1])

    def draw(self, indices: Indices, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Views of the given instants, see the module."""
        offset = np.arange(self.frames) - self.frames // 2
        which = np.searchsorted(self.start, indices, side="right") - 1
        seen = np.empty((len(indices), self.views, self.frames, 17, 2), np.float32)
        for row, (index, r) in enumerate(zip(indices, which, strict=True)):
            recording = self.recordings[r]
            last = recording.seen.shape[1] - 1
            frames = np.clip(index - self.start[r] + recording.step * offset, 0, last)
            cameras = random.permutation(len(recording.cameras))[: self.views]
            seen[row] = recording.seen[cameras[:, None], frames]
        values = _inputs(seen, np.ones(seen.shape[:-1], np.float32), self.channels)
        mirrored = random.random(len(indices)) < self.mirror
        values[mirrored] = mirror_sides(values[mirrored])
        return {"views": values, "instants": instants_of(self.start, indices)}


@dataclass(frozen=True, kw_only=True, eq=False)
class VirtualViews:
    """Windows of motion capture, each as cameras placed around it would see it.

    Attributes:
        motions: motion clips; every recorded frame is one instant.
        settings: how motion, bodies and cameras are drawn. The `mirror` in it is of the motion, so
            of all views alike; `targets` is not read.
        channels: C, see the module.
        views: V.
        noise: a detector's errors, other ones in every view; None leaves the 2D exact.
    """

    motions: Motions
    settings: WindowSettings
    channels: int
    views: int = 2
    noise: DetectorNoise | None = None

    def __post_init__(self) -> None:
        _check_channels(self.channels)
        if self.views < 2:
            raise ValueError(f"views must be at least 2: {self.views}")

    def __len__(self) -> int:
        return len(self.motions.positions)

    def draw(self, indices: Indices, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """Views of the given instants, see the module."""
        seen, confidence = draw_views(
            self.motions, indices, self.views, self.settings, self.noise, random
        )
        count = seen.shape[0] * seen.shape[1]
        if self.channels == CHANNELS:
            scale = 1 / draw_focal_errors(count, self.settings, random)
        else:
            low, high = np.log(SCREEN_FOCAL)
            scale = np.exp(random.uniform(low, high, count))
        seen = seen * scale.astype(np.float32).reshape(*seen.shape[:2], 1, 1, 1)
        values = _inputs(seen, confidence, self.channels)
        return {"views": values, "instants": instants_of(self.motions.start, indices)}


@dataclass(frozen=True, kw_only=True, eq=False)
class Centres:
    """The instants of motion capture without their views, which the training device draws itself.

    Attributes:
        motions: as for `VirtualViews`.
    """

    motions: Motions

    def __len__(self) -> int:
        return len(self.motions.positions)

    def draw(self, indices: Indices, random: np.random.Generator) -> dict[str, NDArray[Any]]:
        """`centres` (B,), recorded frames, and `instants` (B,), see the module."""
        del random
        return {"centres": indices, "instants": instants_of(self.motions.start, indices)}


def _inputs(seen: Floats, confidence: Floats, channels: int) -> Floats:
    """Coordinates (B, V, F, 17, 2) and confidences (B, V, F, 17) as (B, V, F, 17, C) float32."""
    if channels == CHANNELS:
        inputs = look_at_person(
            seen.reshape(-1, *seen.shape[2:]), confidence.reshape(-1, *confidence.shape[2:])
        )
        return inputs.values.reshape(*confidence.shape, CHANNELS)
    if channels == 3:
        known = confidence[..., None]
        seen = np.concatenate([np.where(known > 0, seen, 0), known], -1)
    return seen.astype(np.float32)
