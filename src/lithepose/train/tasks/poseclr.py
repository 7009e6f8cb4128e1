"""Pre-train a lifter by PoseCLR, from a data set's files to an encoder in a file.

    lithepose pretrain nanohtnet-27-9 --data FOLDER --out runs/poseclr

The method is `lithepose.train.poseclr`. Its examples are the same instant from several cameras,
without labels: `SynchronisedViews` has the recordings of a data set whose cameras ran together,
`VirtualViews` puts cameras around motion capture. Both draw:

- `views` (B, V, F, 17, C) float32: V windows of F frames that show one stretch of time, in an order
  of cameras drawn anew every time, mirrored all or none;
- `instants` (B,) int32: which instant is in the middle, as a number: instants of one recording
  differ by the frames between them, those of two recordings by `RECORDINGS_APART` at least.

C follows the lifter: 2 is x and y with the picture's width in [-1, 1], 3 adds a confidence, and 4
is a window as `lithepose.lifters.windows.look_at_person` makes it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.anthropometry import TRAINING_SPREAD
from lithepose.arrays import Floats, Indices
from lithepose.cameras import undistort, unproject
from lithepose.datasets.human36m import POSITIONS_FILE, TEST, TRAIN, read_human36m
from lithepose.datasets.sequences import PoseSequence
from lithepose.lifters import create_lifter
from lithepose.lifters.windows import (
    CHANNELS,
    LIFT_FPS,
    look_at_person,
    mirror_sides,
    with_midpoints,
)
from lithepose.mocap.device_windows import DeviceWindows
from lithepose.mocap.motions import Motions, read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import WindowSettings, draw_focal_errors, draw_views
from lithepose.skeletons import convert
from lithepose.train.checkpoints import LAST, Progress, kept_weights
from lithepose.train.engine import Examples, run
from lithepose.train.poseclr import (
    RECORDINGS_APART,
    PoseCLR,
    PoseCLRSettings,
    contrastive_encoder,
    retrieval,
    save_encoder,
)
from lithepose.train.settings import (
    Optimisation,
    RunSettings,
    check_config,
    found_device,
    kinds_of,
    read_changes,
)

SKELETON = "h36m17"
# Focal lengths of virtual cameras in half widths of the picture; Human3.6M's have 2.29.
SCREEN_FOCAL = (2.0, 2.6)
MOTIONS_FILE = "cmu17_{}.npz"
ENCODER_FILE = "encoder.safetensors"
VALIDATION_INSTANTS = 1000
# Adam and its rate are the authors'. Batch and length are not known: the batch is that of their
# supervised training, the length is ours.
OPTIMISATION = Optimisation(optimiser="adam", learning_rate=1e-3, batch=256, steps=20_000)


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
        name = f"{subject} {trial}".strip()
        recordings.append(
            Recording(name=name, cameras=tuple(views), seen=np.stack(seen), step=step)
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


def changed(changes: Iterable[str]) -> tuple[dict[str, Any], PoseCLRSettings, Optimisation]:
    """Settings with values replaced.

    Args:
        changes: `FIELD=VALUE`: a field of `PoseCLRSettings` or `Optimisation`, or `network.FIELD`
            for one of the lifter's config, which is looked at where it is built; values as in
            JSON.

    Returns:
        Fields of the lifter's config, the pre-training's settings, the optimisation.

    Raises:
        ValueError: no such field, or a value that it does not allow.
    """
    found = read_changes(changes, kinds_of(PoseCLRSettings), kinds_of(Optimisation))
    optimisation = replace(OPTIMISATION, **found.optimisation)
    return found.network, PoseCLRSettings(**found.own), optimisation


# --- views drawn on the device ----------------------------------------------------------------

# The first random numbers of a window in `DeviceWindows.make` are those of its motion: frame rate,
# exchanged arms and mirroring; then turns of eight limbs (axis, angle) and lengths of the bones.
_MOTION_UNIFORMS = 3
_MOTION_NORMALS = 8 * (3 + 1) + len(TRAINING_SPREAD)


def shared_motion(
    clips: DeviceWindows, centres: Tensor, views: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Random numbers for `clips.make` with which every `views` windows show the same motion.

    Args:
        centres: (B,) recorded frames in the middle of the windows.
        generator: on the device of `clips`.

    Returns:
        What `clips.make` takes, for B·V windows, those of one instant in a row.
    """
    count = len(centres)
    _, _, uniform, normal, per_frame, slips = clips.numbers(count * views, generator)
    partner = torch.randperm(count, generator=generator, device=centres.device)
    for numbers, of_motion in ((uniform, _MOTION_UNIFORMS), (normal, _MOTION_NORMALS)):
        numbers[:, :of_motion] = numbers[::views, :of_motion].repeat_interleave(views, 0)
    centres, partner = (n.repeat_interleave(views) for n in (centres, partner * views))
    return centres, partner, uniform, normal, per_frame, slips


# --- the task ---------------------------------------------------------------------------------


class PretrainingTask:
    """A pre-training as a task of `lithepose.train.engine`.

    Args:
        lifter: what `create_lifter` takes, with `overrides` of its config.
        examples: `SynchronisedViews`, `VirtualViews` or `Centres`.
        validation: (N, 2, F, 17, C) two views of N instants, of people not trained on.
        clips: with `Centres`, what draws their views on the device that trains.
        compiled: compile that drawing too.
    """

    score = "retrieval"
    higher_is_better = True

    def __init__(
        self,
        lifter: str,
        overrides: Mapping[str, Any],
        settings: PoseCLRSettings,
        examples: Examples,
        validation: NDArray[np.floating[Any]],
        *,
        clips: DeviceWindows | None = None,
        compiled: bool = False,
    ):
        self.lifter, self.overrides, self.settings = lifter, dict(overrides), settings
        self.examples, self.validation = examples, torch.from_numpy(validation)
        self.clips = clips
        if clips is not None:
            self._make = torch.compile(clips.make) if compiled else clips.make

    def build(self) -> nn.Module:
        return PoseCLR(create_lifter(self.lifter, **self.overrides), self.settings)

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        views = batch["views"] if self.clips is None else self._views(batch["centres"], generator)
        return network(views, batch["instants"])

    @torch.no_grad()
    def _views(self, centres: Tensor, generator: torch.Generator) -> Tensor:
        assert self.clips is not None
        if self.clips.positions.device != generator.device:
            self.clips.to(generator.device)
        count = self.settings.views or 2
        values, _ = self._make(*shared_motion(self.clips, centres, count, generator))
        return values.unflatten(0, (len(centres), count))

    def validate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, PoseCLR)
        return retrieval(network.encoder, self.validation)


def motion_task(
    lifter: str,
    overrides: Mapping[str, Any],
    settings: PoseCLRSettings,
    train: Motions,
    validation: Motions,
    *,
    clips: WindowSettings | None = None,
    noise: DetectorNoise | None = None,
    on_device: bool = False,
    compiled: bool = False,
) -> PretrainingTask:
    """Pre-training on motion capture seen by virtual cameras.

    Args:
        clips: how windows are drawn; `frames` and `targets` follow the lifter.
        noise: a detector's errors; None leaves the 2D exact.
        on_device: draw the views where the network is, which on a GPU is far faster. Only for
            networks of four channels.
        compiled: compile the drawing on the device too.

    Raises:
        ValueError: the lifter's channels do not fit.
    """
    frames, channels = _window_of(lifter, overrides)
    drawn = replace(clips or WindowSettings(), frames=frames, targets=1)
    virtual = partial(VirtualViews, settings=drawn, channels=channels, noise=noise)
    if on_device and channels != CHANNELS:
        raise ValueError(
            f"views of {channels} channels are not drawn on the device: leave on_device out"
        )
    count = settings.views or 2
    return PretrainingTask(
        lifter,
        overrides,
        settings,
        Centres(motions=train) if on_device else virtual(motions=train, views=count),
        _validation_views(virtual(motions=validation, views=2)),
        clips=DeviceWindows(train, drawn, noise) if on_device else None,
        compiled=compiled,
    )


def camera_task(
    lifter: str,
    overrides: Mapping[str, Any],
    settings: PoseCLRSettings,
    folder: Path,
    keypoints: str,
) -> PretrainingTask:
    """Pre-training on Human3.6M's four cameras: the training subjects, no 3D pose being used.

    The test subjects' views only say how it goes. The encoder that is handed on is the last one,
    whatever they say.

    Args:
        folder, keypoints: as for `lithepose.datasets.human36m.read_human36m`.
    """
    frames, channels = _window_of(lifter, overrides)
    data = read_human36m(folder, keypoints)

    def views(subjects: tuple[str, ...], count: int | None) -> SynchronisedViews:
        present = [subject for subject in subjects if subject in data.positions]
        sequences = data.sequences(present)
        return SynchronisedViews(sequences, frames=frames, channels=channels, views=count)

    examples, held_out = views(TRAIN, settings.views), views(TEST, 2)
    return PretrainingTask(lifter, overrides, settings, examples, _validation_views(held_out))


def _window_of(lifter: str, overrides: Mapping[str, Any]) -> tuple[int, int]:
    """Frames and channels of the windows a lifter takes; refuses one without contrastive head, and
    overrides that its config does not take."""
    with torch.device("meta"):
        check_config(type(cast(Any, create_lifter(lifter).config)), overrides)
        network = contrastive_encoder(create_lifter(lifter, **overrides), 1)
    config = cast(Any, network.config)
    return getattr(config, "frames", 1), config.in_channels


def _validation_views(examples: Examples) -> NDArray[np.floating[Any]]:
    """Two views of up to 1,000 instants spread over the examples, the same for every run."""
    count = min(VALIDATION_INSTANTS, len(examples))
    indices = np.linspace(0, len(examples) - 1, count).astype(np.int64)
    return examples.draw(indices, np.random.default_rng(20261126))["views"]


# --- from data to an encoder ------------------------------------------------------------------


def pretrain(
    lifter: str,
    data: Path,
    out: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    poseclr: PoseCLRSettings | None = None,
    optimisation: Optimisation = OPTIMISATION,
    settings: RunSettings | None = None,
    keypoints: str = "cpn_ft_h36m_dbb",
    report: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Pre-train a lifter's encoder, resuming what `out` holds.

    Args:
        lifter: what `create_lifter` takes, with `overrides` of its config.
        data: a folder with `cmu17_train.npz` and `cmu17_val.npz` (docs/data/mocap.md): virtual
            cameras; or with Human3.6M's files (docs/data/human36m.md): its real ones.
        out: folder of the run.
        keypoints: of Human3.6M, see `read_human36m`.
        report: called after every checkpoint.

    Returns:
        `out/encoder.safetensors`, for `take_over`.

    Raises:
        FileNotFoundError: `data` holds neither.
        ValueError: `data` holds both, the network has no contrastive head, `overrides` are not of
            it, the device is not there, the batch is more than all instants of real cameras, or
            `out` holds another run.
    """
    overrides, poseclr = overrides or {}, poseclr or PoseCLRSettings()
    settings = settings or RunSettings()
    found_device(settings.device, settings.devices)
    real = (data / POSITIONS_FILE).exists()
    virtual = (data / MOTIONS_FILE.format("train")).exists()
    if real and virtual:
        raise ValueError(f"{data} holds both Human3.6M and motion capture: give each its folder")
    if not real and not virtual:
        raise FileNotFoundError(
            f"{data} holds neither {MOTIONS_FILE.format('train')} (docs/data/mocap.md) nor "
            f"{POSITIONS_FILE} (docs/data/human36m.md)"
        )
    if real:
        task = camera_task(lifter, overrides, poseclr, data, keypoints)
        optimisation.check_batch(len(task.examples))
    else:
        on_gpu = settings.device != "cpu" and torch.cuda.is_available()
        task = motion_task(
            lifter,
            overrides,
            poseclr,
            read_motions(data / MOTIONS_FILE.format("train")),
            read_motions(data / MOTIONS_FILE.format("val")),
            noise=DetectorNoise.measured(),
            on_device=on_gpu and _window_of(lifter, overrides)[1] == CHANNELS,
            compiled=settings.compiled,
        )
    described = {
        "pretraining": "poseclr",
        "lifter": lifter,
        "overrides": dict(overrides),
        "settings": asdict(poseclr),
        "source": f"Human3.6M, {keypoints}" if real else "motion capture, virtual cameras",
    }
    for progress in run(task, optimisation, settings, out, described=described):
        report(progress)
    return finish(task, out, described)


def finish(task: PretrainingTask, folder: Path, described: Mapping[str, Any]) -> Path:
    """Write the encoder of a run's last checkpoint to `folder/encoder.safetensors`."""
    state = kept_weights(folder / LAST)
    path = folder / ENCODER_FILE
    save_encoder(path, create_lifter(task.lifter, **task.overrides), state, described)
    return path
