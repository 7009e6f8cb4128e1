"""Whether the camera stands still: the background is watched while the video is read.

A person's path through the world is known only when the camera keeps its place. `CameraWatch` is
given every frame, follows the background (`lithepose.video.background`) in four of them a second,
and judges where it went.

How much movement is too much: a camera that turns by an angle seems to carry a person sideways by
that angle times the distance, 7 cm per degree for a person 4 m away. The background then moves in
the picture by the focal length times the angle, whatever its distance; with the focal length that
is assumed without a known lens (the long side of the picture), 1.75 % of that side per degree.

- up to 1 cm at 4 m (0.14 degrees, 0.25 % of the long side): still, as on a tripod;
- up to 5 cm (0.7 degrees, 1.25 %): shaking, as held by hand; a path keeps its shape and is off by
  as much;
- beyond: moving; there is no path to speak of.

What it cannot see: a camera that is carried along without turning moves a background at 8 m half
as far as it moves a person at 4 m, so a walking camera is underrated by the ratio of the distances.
A background of which a third stays in place while the rest moves counts as still, because trees,
water and passers-by do that more often than cameras. Undetected passers-by who hide more than half
of the picture, and leaves in the wind that fill all of it, can pass for a movement.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lithepose.arrays import Floats, Image
from lithepose.video.background import SampledFrame, Segment, shrink_factor, transform

Kind = Literal["still", "shaking", "moving", "unknown"]


# What counts as moving, as shaking, as another scene, and as nothing to be told.
_PERSON_DISTANCE_M = 4.0  # of the person whose path is spared
_STILL_M = 0.01  # seeming to move sideways by no more than this, and
SHAKING_M = 0.05  # by no more than this
_SAMPLE_EVERY_S = 0.25
_EARLY_S = 0.005  # frames on a clock that jitters come a little early
_LASTING_FRAMES = 5  # a displacement lasts when it is there in most of so many samples
_SHAKEN = 0.1  # a shake counts when it displaces this share of the samples
_LEAST_SEEN = 0.4  # nothing can be told from a background in fewer of the samples
_LEAST_SIDE_PX = 32  # of the small picture
_BLIND_FRAMES = 8  # samples in a row without the background, before it is taken anew
# Another scene is believed after this many samples of it; if nothing stays that long, after so
# many different pictures.
_SETTLED_FRAMES = 3
_UNSETTLED_FRAMES = 8
# A cut differs from the frame before it so many times as much as is usual of so many frames.
_CUT_STEP = 4.0
_USUAL_FRAMES = 16


@dataclass(frozen=True, kw_only=True)
class CameraMotion:
    """What the camera did over a clip.

    Attributes:
        kind: "still", "shaking" (a path through the world is off by `path_error_m`), "moving"
            (there is no path), or "unknown" where too little background was to be seen: the camera
            is then taken as still, and that should be said.
        share: the largest lasting displacement of the background, of the image width; 1 where the
            whole picture changed too fast to be followed.
        displacement_px: the same in pixels of the video.
        degrees: the turn of the camera that displaces the background so far.
        path_error_m: how far such a turn carries a person 4 m away.
        at_s: when the background first is displaced by more than a still (for "moving": a shaking)
            camera displaces it, in seconds; None for a camera that is still or unknown.
        cuts: times in seconds at which another scene begins. Across a cut nothing is known.
        steady_s: (start, end) in seconds of the longest stretch without a cut in which the camera
            did not move, though it may have shaken; None if there is none.
        looks: how many frames were looked at, and
        seen: in how many of them the background was seen.
        reason: all this in words.
    """

    kind: Kind
    share: float
    displacement_px: float
    degrees: float
    path_error_m: float
    at_s: float | None
    cuts: tuple[float, ...]
    steady_s: tuple[float, float] | None
    looks: int
    seen: int
    reason: str

    @property
    def moves(self) -> bool:
        """Whether the camera moves too much for a path through the world."""
        return self.kind == "moving"


class CameraWatch:
    """Watches the background of a clip for movements of the camera.

    Args:
        image_size: (width, height) of the upright frames in pixels.
        focal_px: focal length in pixels; without it the long side of the picture is assumed.

    Raises:
        ValueError: a size or a focal length that no picture has.
    """

    def __init__(self, image_size: tuple[int, int], *, focal_px: float | None = None):
        if len(image_size) != 2 or not all(side >= 1 for side in image_size):
            raise ValueError(f"image_size is {image_size}: give (width, height) in pixels")
        if focal_px is not None and not 0 < focal_px < math.inf:
            raise ValueError(f"focal_px is {focal_px}: give pixels, or None if it is not known")
        self._size = (int(image_size[0]), int(image_size[1]))
        self._focal_px = float(max(image_size) if focal_px is None else focal_px)
        self._scale = shrink_factor(max(image_size))
        self._differences = _FrameDifferences()
        self._time_s = -math.inf
        self._due_s = -math.inf
        self._sampled = 0
        self._segments: list[Segment] = []
        self._next: list[Segment] = []  # perhaps the next, or only a hand before the lens
        self._blind = 0

    def add(self, image: Image, time_s: float, people: Floats) -> None:
        """Watch the next frame.

        Args:
            image: (H, W, 3) uint8 RGB, upright. It is not kept.
            time_s: its time stamp in seconds, later than the one before.
            people: (P, J, 2) pixels of the joints of the people in it, nan where missing; P may
                be 0.

        Raises:
            ValueError: the frame has another size or type, the time does not move on, or people
                have another shape.
        """
        width, height = self._size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"a frame must be ({height}, {width}, 3) uint8, not {image.shape} {image.dtype}"
            )
        if not self._time_s < time_s < math.inf:
            raise ValueError(
                f"frames come in the order they are shown: {time_s} s does not come after "
                f"{self._time_s} s"
            )
        if np.ndim(people) != 3 or np.shape(people)[-1] != 2:
            raise ValueError(
                f"people have shape {np.shape(people)}: give (P, J, 2) pixels, P = 0 for nobody"
            )
        self._time_s = time_s
        self._differences.add(image, time_s)
        if time_s < self._due_s - _EARLY_S:
            return
        self._due_s = time_s + _SAMPLE_EVERY_S
        self._sampled += 1
        if min(self._size) // self._scale >= _LEAST_SIDE_PX:
            self._follow(SampledFrame(image, time_s, np.asarray(people, dtype=np.float64)))

    def _follow(self, frame: SampledFrame) -> None:
        """Find the background of a frame, or decide what it means that it is not there."""
        changed_s, is_cut = self._differences.largest()
        if not self._segments:
            self._begin(Segment(frame, frame.time_s, "first"))
            return
        segment = self._segments[-1]
        if segment.follow(frame):
            self._next = []
            self._blind = 0
        elif frame.blank or segment.recent[-1].blank or segment.resembles(frame):
            # Dark, hidden, out of focus: nothing says that the scene is another.
            self._blind += 1
            if self._blind >= _BLIND_FRAMES and not frame.blank:
                self._begin(Segment(frame, frame.time_s, "blind"))
        elif self._next and self._next[-1].follow(frame):
            # Whatever came between the two scenes, a fade or a wipe, began with the first change.
            first, last = self._next[0], self._next[-1]
            if len(last.times) >= _SETTLED_FRAMES:
                last.start_s, last.begins = first.start_s, first.begins
                self._begin(last)
        else:
            self._next.append(Segment(frame, changed_s, "cut" if is_cut else "swing"))
            if len(self._next) >= _UNSETTLED_FRAMES:
                self._begin(*self._next)

    def _begin(self, *segments: Segment) -> None:
        self._segments += segments
        self._next = []
        self._blind = 0

    def finish(self) -> CameraMotion:
        """Judge the camera by the frames so far."""
        width = self._size[0]
        still_px = _STILL_M / _PERSON_DISTANCE_M * self._focal_px
        shaking_px = SHAKING_M / _PERSON_DISTANCE_M * self._focal_px
        paths = [_Path(segment, self._size, self._scale) for segment in self._segments]
        swings = [each.start_s for each in self._segments if each.begins == "swing"]
        largest = max((path.largest for path in paths), default=0.0)
        largest = max(largest, float(width)) if swings else largest
        seen = sum(len(each.times) for each in self._segments if len(each.times) > 1)
        kind, limit_px = "still", math.inf
        if largest > shaking_px:
            kind, limit_px = "moving", shaking_px
        elif seen < max(2, _LEAST_SEEN * self._sampled):
            kind = "unknown"
        elif largest > still_px:
            kind, limit_px = "shaking", still_px
        beyond = [path.first_s(limit_px) for path in paths if path.largest > limit_px]
        stretches = [stretch for path in paths for stretch in path.steady_s(shaking_px)]
        angle = math.atan(largest / self._focal_px)
        motion = CameraMotion(
            kind=kind,
            share=largest / width,
            displacement_px=largest,
            degrees=math.degrees(angle),
            path_error_m=_PERSON_DISTANCE_M * math.tan(angle),
            at_s=min(swings + beyond) if limit_px < math.inf else None,
            cuts=tuple(each.start_s for each in self._segments if each.begins == "cut"),
            steady_s=max(stretches, key=lambda each: each[1] - each[0], default=None),
            looks=self._sampled,
            seen=seen,
            reason="",
        )
        return replace(motion, reason=_in_words(motion))


class _FrameDifferences:
    """How much each frame differs from the one before, so that a cut is told from a swing."""

    def __init__(self) -> None:
        self._last: Floats | None = None
        self._usual: deque[float] = deque(maxlen=_USUAL_FRAMES)
        self._largest = self._largest_s = 0.0

    def add(self, image: Image, time_s: float) -> None:
        step = max(1, max(image.shape[:2]) // 40)
        top, left = (min(step, side) // 2 for side in image.shape[:2])
        picture = image[top::step, left::step, 1].astype(np.float32)
        picture -= picture.mean()
        if self._last is not None:
            difference = float(np.abs(picture - self._last).mean())
            self._usual.append(difference)
            if difference > self._largest:
                self._largest, self._largest_s = difference, time_s
        self._last = picture

    def largest(self) -> tuple[float, bool]:
        """When the largest difference since the last call was, and whether it was a cut's."""
        usual = float(np.median(self._usual)) if len(self._usual) > 2 else 0.0
        result = self._largest_s, self._largest > _CUT_STEP * usual
        self._largest = 0.0
        return result


class _Path:
    """Where a segment's background went: nine points of the picture, (n, 9, 2) pixels of the video.

    Attributes:
        largest: the largest lasting displacement, or twice the sway of a shake, in pixels.
    """

    def __init__(self, segment: Segment, size: tuple[int, int], scale: int) -> None:
        self._segment = segment
        width, height = size
        points = np.array([(x, y) for y in (0, height / 2, height) for x in (0, width / 2, width)])
        poses = np.stack(segment.poses)
        poses[:, :2, 2] *= scale
        self._positions = np.stack([transform(pose, points) for pose in poses])
        self._lasting = _running_median(self._positions, _LASTING_FRAMES)
        # From the usual place to the farthest, and from there again: exact along a line, and quick.
        far = int(np.argmax(_distance(self._lasting, np.median(self._lasting, axis=0))))
        displacement = float(_distance(self._lasting, self._lasting[far]).max())
        sway = _distance(self._positions, self._lasting)
        self.largest = max(displacement, 2 * float(np.quantile(sway, 1 - _SHAKEN)))

    def first_s(self, limit_px: float) -> float:
        """When it first is farther from its start than a limit; if it only sways about the start by
        more than that, when it is farthest."""
        start = self._positions[0]
        beyond = np.flatnonzero(_distance(self._lasting, start)[1:] > limit_px)
        farthest = int(np.argmax(_distance(self._positions, start)))
        return self._segment.times[1 + int(beyond[0]) if len(beyond) else farthest]

    def steady_s(self, limit_px: float) -> list[tuple[float, float]]:
        """(start, end) of the stretches that stay within a limit of where they began."""
        times = [self._segment.start_s, *self._segment.times[1:]]
        stretches = []
        start = 0
        while start < len(times):
            away = _distance(self._lasting[start:], self._lasting[start]) > limit_px
            end = start + int(np.argmax(away)) if away.any() else len(times)
            stretches.append((times[start], self._segment.times[end - 1]))
            start = end
        return stretches


def _distance(positions: Floats, place: Floats) -> Floats:
    """How far (n, 9, 2) points of the picture are from a place, (n,), root mean square."""
    return np.sqrt(((positions - place) ** 2).sum(-1).mean(-1))


def _running_median(positions: Floats, window: int) -> Floats:
    """Positions (n, ...) without what does not last half of an odd window of frames."""
    half = min(window, len(positions) - (len(positions) + 1) % 2) // 2
    if half < 1:
        return positions
    # Mirrored at the ends, so that a hand on the camera at the first frame does not last.
    padded = np.pad(positions, ((half, half), (0, 0), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    return np.median(windows, axis=-1)


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _in_words(motion: CameraMotion) -> str:
    size = (
        f"{_short(100 * motion.share)} % of the picture's width "
        f"({_short(motion.degrees)} degrees), which carries a person "
        f"{_PERSON_DISTANCE_M:g} m away by {_short(100 * motion.path_error_m)} cm"
    )
    if motion.kind == "unknown":
        text = "cannot tell whether the camera moves, it is taken as still: "
        if motion.looks < 2:
            text += f"the clip is shorter than {_SAMPLE_EVERY_S} s"
        else:
            text += f"the background was seen in {motion.seen} of {motion.looks} looks at it"
    elif motion.kind == "still":
        text = f"the camera stands still: its background moves by no more than {size}"
    else:
        verb = "shakes" if motion.kind == "shaking" else "moves"
        text = f"the camera {verb}, first at {motion.at_s:.1f} s: "
        if motion.share < 1:
            text += f"its background moves by {size}"
        else:
            text += "the whole picture changes, by a swing or a fade that cannot be followed"
    if motion.cuts:
        moments = ", ".join(f"{cut:.2f}" for cut in motion.cuts)
        text += f"; another scene begins at {moments} s"
    return text
