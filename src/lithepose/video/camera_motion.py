"""Whether the camera stands still: the background is watched while the video is read.

A person's path through the world is known only when the camera keeps its place. `CameraWatch` is
given every frame and looks at four of them a second, in a small grey picture: corners outside the
detected people are found again (pyramidal Lucas-Kanade, forwards and backwards) from a reference
picture, and a shift, turn and zoom that most of them agree on (RANSAC) is the camera's movement.
The reference stays until too little of it is in sight, so that a slow pan adds up while vibration
and compression do not.

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
from dataclasses import dataclass, field, replace
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image

Kind = Literal["still", "shaking", "moving", "unknown"]

# The person whose path is spared: this far away, moved sideways by no more than this.
PERSON_DISTANCE_M = 4.0
STILL_M = 0.01
SHAKING_M = 0.05

LOOK_EVERY_S = 0.25
# Frames on a clock that jitters come a little early.
_EARLY_S = 0.005
# A displacement lasts when it is there in most looks of this many.
_LASTING_LOOKS = 5
# A shake counts when it displaces this share of the looks.
_SHAKEN = 0.1
# With fewer looks that find the background than this share, nothing can be told.
_LEAST_SEEN = 0.4

# Long side of the small picture, about, and the shortest side that can be looked at.
_SMALL_PX = 320
_LEAST_SIDE_PX = 32
# Corners: at most so many, so far apart (of the long side), this strong against the strongest, and
# at least this strong (OpenCV's smallest eigenvalue, which noise in the dark stays below).
_CORNERS = 60
_APART = 0.04
_QUALITY = 0.02
_LEAST_STRENGTH = 2e-4
_LEAST_CORNERS = 8
# Around the box of a person's joints, of its longer side: hair, hands, shoes, clothes.
_MARGIN = 0.12
_WINDOW_PX = (11, 11)
_LEVELS = 3
_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03)
# A corner tracked there and back must end this close to where it began.
_RETURN_PX = 0.5
# A corner agrees with a movement within this much, and a share of its shift since the reference
# picture more: near and far background shift differently when the camera is carried.
_AGREE_PX = 1.0
_AGREE_SHARE = 0.1
# Shares of the corners that are found again that must agree, and of those that should be in sight.
_AGREEING = 0.35
_FOUND = 0.2
# The share that is enough whatever the rest does.
_MOST = 0.6
# The share that, when it stays in place, outvotes all that moves.
_STANDING = 1 / 3
# A turn or zoom is believed as far as the corners span the picture: at this spread (the sum of
# squares, of the long side squared) half of it.
_HALF_TURN = 0.05
_MOST_ZOOM = 3.0
# A reference picture serves while this share of its corners is in sight, and until it has failed so
# often in a row.
_IN_SIGHT = 0.5
_MOST_FAILURES = 8
_MOST_KEYFRAMES = 12

# The tiny picture in which it shows whether the scene is another: its size, the contrast below
# which it is blank (grey values), the correlation below which two show different things.
_TINY = (32, 18)
_BLANK = 4.0
_SAME = 0.5
# Looks are compared with one so many before: a fade is over by then, and daylight has hardly
# changed. Displaced by more than this, of the long side, the same scene need not correlate.
_RECENT_LOOKS = 8
_SAME_PLACE = 0.04
# The share of it that people must leave free.
_LEAST_SHOWN = 0.3
# Another scene is believed after this many looks at it; if nothing stays that long, after so many
# different pictures.
_SETTLED = 3
_UNSETTLED = 8
# A cut differs from the frame before it this many times as much as frames usually do.
_CUT_STEP = 4.0
_USUAL_FRAMES = 16
# So many looks in a row without the background, and a new reference is taken.
_BLIND_LOOKS = 8


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
        path_error_m: how far such a turn carries a person at `PERSON_DISTANCE_M`.
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


# --- a frame, looked at ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _SampledFrame:
    """A frame that is looked at.

    Attributes:
        time_s: its time stamp.
        grey: (h, w) uint8, the small picture.
        flat: (h, w) uint8, the same without soft shades and at a set contrast, for tracking:
            exposure, flicker and passing clouds are gone from it.
        boxes: (P, 4) left, top, right, bottom of people with a margin, in pixels of `grey`.
        tiny: (18, 32) float32, grey values.
        shown: (18, 32) bool, where `tiny` is outside people.
    """

    time_s: float
    grey: Image
    flat: Image
    boxes: Floats
    tiny: Floats
    shown: NDArray[np.bool_]

    @property
    def blank(self) -> bool:
        """Whether nothing can be told from it: dark, fogged, or filled by people."""
        return bool(self.shown.mean() < _LEAST_SHOWN or self.tiny[self.shown].std() < _BLANK)

    def background(self, points: Floats) -> NDArray[np.bool_]:
        """Whether each of (N, 2) points is inside the picture and outside people."""
        height, width = self.grey.shape
        inside = ((points >= 1) & (points < (width - 1, height - 1))).all(-1)
        over = (points[:, None] >= self.boxes[:, :2]) & (points[:, None] <= self.boxes[:, 2:])
        return np.asarray(inside & ~over.all(-1).any(-1))

    def resembles(self, other: _SampledFrame) -> bool:
        """Whether it may show the scene of another frame, at another brightness or contrast."""
        both = self.shown & other.shown
        if both.mean() < _LEAST_SHOWN:
            return True
        here, there = (frame.tiny[both] - frame.tiny[both].mean() for frame in (self, other))
        size = float(np.linalg.norm(here) * np.linalg.norm(there))
        return size == 0 or float(here @ there) / size >= _SAME


def _shrinking(long_side: int) -> tuple[int, int]:
    """Every how many pixels are taken, and how many of those are averaged per side."""
    if long_side <= 1.5 * _SMALL_PX:
        return 1, 1
    return max(1, round(long_side / (2 * _SMALL_PX))), 2


def _small_grey(image: Image) -> Image:
    """The small grey picture of a frame.

    One channel and every few pixels of it: averaging all of them would take ten times as long, and
    a picture that does not move gives the same either way.
    """
    step, averaged = _shrinking(max(image.shape[:2]))
    grey = np.ascontiguousarray(image[::step, ::step, 1])
    if averaged == 1:
        return grey
    height, width = grey.shape
    # OpenCV is fast only where the factor is exactly two.
    grey = grey[: height // 2 * 2, : width // 2 * 2]
    small = cv2.resize(grey, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _without_shades(grey: Image) -> Image:
    """Detail around grey 128, at the same contrast in every picture."""
    shades = cv2.blur(grey, (31, 31))
    # Not more than fourfold, or a blank wall would be all noise.
    gain = 26 / max(float(cv2.mean(cv2.absdiff(grey, shades))[0]), 6.5)
    return np.asarray(cv2.addWeighted(grey, gain, shades, -gain, 128), np.uint8)


def _boxes(people: Floats) -> Floats:
    """(P, 4) left, top, right, bottom of (P, J, 2) joints with a margin; people without joints are
    left out."""
    people = people[np.isfinite(people).all(-1).any(-1)] if people.size else people[:0]
    if not len(people):
        return np.zeros((0, 4))
    seen = np.where(np.isfinite(people).all(-1, keepdims=True), people, np.nan)
    low, high = np.nanmin(seen, axis=1), np.nanmax(seen, axis=1)
    margin = _MARGIN * (high - low).max(-1, keepdims=True)
    return np.concatenate([low - margin, high + margin], axis=-1)


def _sample(image: Image, time_s: float, people: Floats) -> _SampledFrame:
    grey = _small_grey(image)
    scale = np.array(grey.shape[::-1]) / image.shape[1::-1]
    boxes = _boxes(people) * np.tile(scale, 2)
    tiny = np.asarray(cv2.resize(grey, _TINY, interpolation=cv2.INTER_AREA), np.float32)
    shown = np.ones(tiny.shape, bool)
    for covered in _covered(boxes * np.tile(np.array(_TINY) / grey.shape[::-1], 2)):
        shown[covered] = False
    return _SampledFrame(
        time_s=time_s,
        grey=grey,
        flat=_without_shades(grey),
        boxes=boxes,
        tiny=tiny,
        shown=shown,
    )


# --- following the background ----------------------------------------------------------------


def _transformed(movement: Floats, points: Floats) -> Floats:
    """Points (..., 2) after a movement (3, 3)."""
    return points @ movement[:2, :2].T + movement[:2, 2]


def _covered(boxes: Floats) -> list[tuple[slice, slice]]:
    """Rows and columns of the pixels under boxes (P, 4), which may stand out of the picture."""
    return [
        (
            slice(max(0, math.floor(top)), max(0, math.ceil(bottom))),
            slice(max(0, math.floor(left)), max(0, math.ceil(right))),
        )
        for left, top, right, bottom in boxes
    ]


def _only_background(frame: _SampledFrame) -> NDArray[np.float32]:
    detail = frame.flat.astype(np.float32) - 128
    for covered in _covered(frame.boxes):
        detail[covered] = 0
    return detail


def _corners(frame: _SampledFrame) -> Floats:
    """Corners (N, 2) of the background; none where there is no texture."""
    strength = np.asarray(cv2.cornerMinEigenVal(frame.grey, 3))
    strongest = float(strength.max())
    if strongest < _LEAST_STRENGTH:
        return np.zeros((0, 2))
    mask = np.full(frame.grey.shape, 255, np.uint8)
    for covered in _covered(frame.boxes):
        mask[covered] = 0
    found = cv2.goodFeaturesToTrack(
        frame.grey,
        maxCorners=_CORNERS,
        qualityLevel=max(_QUALITY, _LEAST_STRENGTH / strongest),
        minDistance=_APART * max(frame.grey.shape),
        mask=mask,
    )
    return np.zeros((0, 2)) if found is None else np.asarray(found, np.float64).reshape(-1, 2)


def _track(before: Image, after: Image, points: Floats, expected: Floats) -> tuple[Floats, Floats]:
    """Find points (N, 2) of one picture in another, near where they are expected.

    Returns:
        (N, 2) where they are, and (N,) by how much they miss the start when tracked back; inf for
        lost points.
    """

    def flow(
        source: Image, target: Image, start: Floats, guess: Floats
    ) -> tuple[Floats, NDArray[np.bool_]]:
        there, found, _ = cv2.calcOpticalFlowPyrLK(
            source,
            target,
            start.astype(np.float32).reshape(-1, 1, 2),
            guess.astype(np.float32).reshape(-1, 1, 2),
            winSize=_WINDOW_PX,
            maxLevel=_LEVELS,
            criteria=_STEPS,
            flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
        )
        return np.asarray(there, np.float64).reshape(-1, 2), np.asarray(found).reshape(-1) > 0

    there, found = flow(before, after, points, expected)
    back, returned = flow(after, before, there, there + points - expected)
    miss = np.linalg.norm(back - points, axis=-1)
    return there, np.where(found & returned, miss, np.inf)


def _fit(points: Floats, there: Floats, long_side: float) -> Floats:
    """Shift, turn and zoom (3, 3) that takes points to others, both (N, 2).

    Turn and zoom are held back where the points span little of the picture: at its other end they
    would be guesswork.
    """
    middle = points.mean(0)
    arm, reach = points - middle, there - there.mean(0)
    change = reach - arm
    spread = float((arm**2).sum()) + _HALF_TURN * long_side**2
    zoom = 1 + float((arm * change).sum()) / spread
    turn = float((arm[:, 0] * change[:, 1] - arm[:, 1] * change[:, 0]).sum()) / spread
    linear = np.array([[zoom, -turn], [turn, zoom]])
    movement = np.eye(3)
    movement[:2, :2] = linear
    movement[:2, 2] = there.mean(0) - linear @ middle
    return movement


def _agreed(points: Floats, there: Floats, expected: Floats, long_side: float) -> Floats | None:
    """The movement (3, 3) that most points share, or None if they share none.

    Args:
        points: (N, 2) in the reference picture.
        there: (N, 2) where they are now.
        expected: (N, 2) where they would be had the camera not moved since the last frame.
    """
    shift = float(np.median(np.linalg.norm(there - points, axis=-1)))
    tolerance = _AGREE_PX + _AGREE_SHARE * shift
    movement, _ = cv2.estimateAffinePartial2D(
        points, there, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=300
    )
    if movement is None:
        return None
    predicted = _transformed(np.asarray(movement, np.float64), points)
    miss = np.linalg.norm(predicted - there, axis=-1)
    agree = miss <= tolerance
    stay = np.linalg.norm(expected - there, axis=-1) <= _AGREE_PX
    apart = float(np.linalg.norm(predicted - expected, axis=-1).mean())
    if apart > 2 * _AGREE_PX and stay.sum() >= max(_STANDING * len(points), _LEAST_CORNERS):
        agree = stay
    elif agree.sum() < max(_AGREEING * len(points), _LEAST_CORNERS):
        return None
    elif agree.sum() < _MOST * len(points) and apart < 2 * float(np.median(miss)):
        # Points that each go their own way, as leaves do, share no movement smaller than that. A
        # camera that does move adds up until it is larger.
        there = expected
    movement = _fit(points[agree], there[agree], long_side)
    zoom = float(np.hypot(*movement[:2, 0]))
    # Points that all run together agree with each other, but no lens does that.
    return movement if 1 / _MOST_ZOOM < zoom < _MOST_ZOOM else None


@dataclass(kw_only=True)
class _Keyframe:
    """A reference picture.

    Attributes:
        frame: the picture.
        corners: (N, 2) in it.
        pose: (3, 3), takes the segment's first picture to this one.
        failures: looks in a row in which it was not found.
        back: (3, 3), the inverse of `pose`.
    """

    frame: _SampledFrame
    corners: Floats
    pose: Floats
    failures: int = 0
    back: Floats = field(init=False)

    def __post_init__(self) -> None:
        self.back = np.linalg.inv(self.pose)

    def in_sight(self, frame: _SampledFrame, pose: Floats) -> NDArray[np.bool_]:
        """Which corners (N,) a look should show if it has this pose."""
        return frame.background(_transformed(pose @ self.back, self.corners))

    def needs_keyframe(self, frame: _SampledFrame, pose: Floats) -> bool:
        """Whether another reference picture should be taken while the background is in sight."""
        sight = self.in_sight(frame, pose)
        # Of few corners, the next person who passes would hide the rest.
        few = sight.sum() < 2 * _LEAST_CORNERS <= len(sight)
        return bool(self.failures or few or sight.sum() <= _IN_SIGHT * len(sight))

    def find(self, frame: _SampledFrame, guess: Floats) -> Floats | None:
        """The pose (3, 3) of a frame, near a guess, or None."""
        use = self.in_sight(frame, guess)
        if use.sum() < _LEAST_CORNERS:
            return None
        points = self.corners[use]
        expected = _transformed(guess @ self.back, points)
        there, miss = _track(self.frame.flat, frame.flat, points, expected)
        good = (miss <= _RETURN_PX) & frame.background(there)
        if good.sum() < max(_FOUND * len(points), _LEAST_CORNERS):
            return None
        movement = _agreed(points[good], there[good], expected[good], max(frame.grey.shape))
        return None if movement is None else movement @ self.pose


@dataclass(kw_only=True)
class _Segment:
    """A stretch without a cut.

    Attributes:
        at_s: when it begins.
        begins: how: "first" of the clip, with a "cut", with a "swing" (the picture changed
            altogether, but not from one frame to the next), or "blind" (the background had not been
            seen for long).
        last: the last look in which the background was found, and
        recent: the last few of them.
        times, poses: of all such looks; (3, 3) each, from the segment's first picture.
        keyframes: reference pictures, oldest first.
        lost: how many looks ago that was.
    """

    at_s: float
    begins: Literal["first", "cut", "swing", "blind"]
    last: _SampledFrame
    times: list[float] = field(default_factory=list)
    poses: list[Floats] = field(default_factory=list)
    keyframes: list[_Keyframe] = field(default_factory=list)
    recent: deque[_SampledFrame] = field(default_factory=lambda: deque(maxlen=_RECENT_LOOKS))
    lost: int = 0

    def __post_init__(self) -> None:
        self.recent.append(self.last)
        self.times.append(self.last.time_s)
        self.poses.append(np.eye(3))
        self._add_keyframe()

    def follow(self, frame: _SampledFrame) -> bool:
        """Find the background of the next frame, and note the camera's pose; False if it is not
        there."""
        pose = self.poses[-1]
        keyframe = self._best_keyframe(frame, pose)
        found = keyframe.find(frame, pose)
        keyframe.failures = 0 if found is not None else keyframe.failures + 1
        if found is None and self.lost < _SETTLED and not frame.blank:
            found = self._search(frame)
        if found is not None and not (keyframe is self.keyframes[0] and keyframe.failures == 0):
            found = found if self._continues(frame, found) else None
        if found is None:
            self.lost += 1
            return False
        self.lost = 0
        self.last = frame
        self.recent.append(frame)
        self.times.append(frame.time_s)
        self.poses.append(found)
        if keyframe.needs_keyframe(frame, found) and self._best_keyframe(
            frame, found
        ).needs_keyframe(frame, found):
            self._add_keyframe()
        return True

    def resembles(self, frame: _SampledFrame) -> bool:
        """Whether a frame may show this scene, as the background was found last and some time
        before."""
        # In a fade the last picture alone would do: it is half of the next scene.
        return frame.resembles(self.last) and frame.resembles(self.recent[0])

    def _continues(self, frame: _SampledFrame, pose: Floats) -> bool:
        """Whether a look with this pose shows what was there some time before; a fade does not, and
        yet can be followed from picture to picture."""
        height, width = frame.grey.shape
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]])
        apart = _transformed(pose, corners) - _transformed(self.poses[-len(self.recent)], corners)
        far = np.linalg.norm(apart, axis=-1).max() > _SAME_PLACE * max(height, width)
        return bool(far) or frame.resembles(self.recent[0])

    def _best_keyframe(self, frame: _SampledFrame, pose: Floats) -> _Keyframe:
        # The oldest that serves: every other's pose was measured through it.
        sight = []
        for keyframe in self.keyframes:
            sight.append(keyframe.in_sight(frame, pose).mean() if len(keyframe.corners) else 0.0)
            if sight[-1] >= _IN_SIGHT and keyframe.failures < _MOST_FAILURES:
                return keyframe
        return self.keyframes[int(np.argmax(sight))]

    def _search(self, frame: _SampledFrame) -> Floats | None:
        """Find a look by the last one: where that was, else by the overall shift since."""
        pose = self.poses[-1]
        keyframe = _Keyframe(frame=self.last, corners=_corners(self.last), pose=pose)
        found = keyframe.find(frame, pose)
        if found is not None:
            return found
        before, after = (_only_background(each) for each in (self.last, frame))
        window = cv2.createHanningWindow(before.shape[::-1], cv2.CV_32F)
        guess = np.eye(3)
        guess[:2, 2], _ = cv2.phaseCorrelate(before, after, window)
        return keyframe.find(frame, guess @ pose)

    def _add_keyframe(self) -> None:
        keyframe = _Keyframe(frame=self.last, corners=_corners(self.last), pose=self.poses[-1])
        self.keyframes = [each for each in self.keyframes if each.failures < _MOST_FAILURES]
        # The first keeps the others in place; those in the middle of a long pan can go.
        del self.keyframes[1 : len(self.keyframes) - _MOST_KEYFRAMES + 2]
        self.keyframes.append(keyframe)


class _FrameDifferences:
    """How much each frame differs from the one before, so that a cut is told from a swing."""

    def __init__(self) -> None:
        self._last: Floats | None = None
        self._usual: deque[float] = deque(maxlen=_USUAL_FRAMES)
        self._largest = 0.0
        self._largest_s = 0.0

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


# --- the watch -------------------------------------------------------------------------------


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
        step, averaged = _shrinking(max(image_size))
        self._scale = step * averaged
        self._differences = _FrameDifferences()
        self._time_s = -math.inf
        self._due_s = -math.inf
        self._looks = 0
        self._segments: list[_Segment] = []
        self._next: list[
            _Segment
        ] = []  # what may be the next segment, or only a hand before the lens
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
        self._due_s = time_s + LOOK_EVERY_S
        self._looks += 1
        if min(self._size) // self._scale >= _LEAST_SIDE_PX:
            self._take(_sample(image, time_s, np.asarray(people, dtype=np.float64)))

    def _take(self, frame: _SampledFrame) -> None:
        """Find the background of a frame, or decide what it means that it is not there."""
        largest_s, is_cut = self._differences.largest()
        if not self._segments:
            self._segments.append(_Segment(last=frame, at_s=frame.time_s, begins="first"))
            return
        segment = self._segments[-1]
        if segment.follow(frame):
            self._next = []
            self._blind = 0
        elif frame.blank or segment.last.blank or segment.resembles(frame):
            # Dark, hidden, out of focus: nothing says that the scene is another.
            self._blind += 1
            if self._blind >= _BLIND_LOOKS and not frame.blank:
                self._begin([_Segment(last=frame, at_s=frame.time_s, begins="blind")])
        elif self._next and self._next[-1].follow(frame):
            # Whatever came between the two scenes, a fade or a wipe, began with the first change.
            if len(self._next[-1].times) >= _SETTLED:
                first, last = self._next[0], self._next[-1]
                last.at_s, last.begins = first.at_s, first.begins
                self._begin([last])
        else:
            begins = "cut" if is_cut else "swing"
            self._next.append(_Segment(last=frame, at_s=largest_s, begins=begins))
            if len(self._next) >= _UNSETTLED:
                self._begin(self._next)

    def _begin(self, segments: list[_Segment]) -> None:
        self._segments += segments
        self._next = []
        self._blind = 0

    def finish(self) -> CameraMotion:
        """Judge the camera by the frames so far."""
        width, height = self._size
        to_px = self._scale
        grid = np.stack(
            np.meshgrid(np.linspace(0, width, 3), np.linspace(0, height, 3)), axis=-1
        ).reshape(-1, 2)
        limits = [metres / PERSON_DISTANCE_M * self._focal_px for metres in (STILL_M, SHAKING_M)]
        paths = []
        for segment in self._segments:
            poses = np.stack(segment.poses)
            poses[:, :2, 2] *= to_px
            paths.append(np.stack([_transformed(pose, grid) for pose in poses]))  # (n, 9, 2) pixels
        swings = [segment.at_s for segment in self._segments if segment.begins == "swing"]
        largest = max((_largest_shift(path) for path in paths), default=0.0)
        if swings:
            largest = max(largest, float(width))
        seen = sum(len(segment.times) for segment in self._segments if len(segment.times) > 1)
        kind: Kind = "still"
        if largest > limits[1]:
            kind = "moving"
        elif seen < max(2, _LEAST_SEEN * self._looks):
            kind = "unknown"
        elif largest > limits[0]:
            kind = "shaking"
        at_s = None
        if kind in ("moving", "shaking"):
            limit = limits[kind == "moving"]
            begins = [_first_shift(path, limit) for path in paths]
            moments = [
                segment.times[index]
                for segment, index in zip(self._segments, begins, strict=True)
                if index is not None
            ]
            at_s = min(moments + swings)
        stretches = [
            (segment.times[start] if start else segment.at_s, segment.times[end])
            for segment, path in zip(self._segments, paths, strict=True)
            for start, end in _steady(path, limits[1])
        ]
        angle = math.atan(largest / self._focal_px)
        motion = CameraMotion(
            kind=kind,
            share=largest / width,
            displacement_px=largest,
            degrees=math.degrees(angle),
            path_error_m=PERSON_DISTANCE_M * math.tan(angle),
            at_s=at_s,
            cuts=tuple(segment.at_s for segment in self._segments if segment.begins == "cut"),
            steady_s=max(stretches, key=lambda each: each[1] - each[0], default=None),
            looks=self._looks,
            seen=seen,
            reason="",
        )
        return replace(motion, reason=_in_words(motion))


def _distance(path: Floats, place: Floats) -> Floats:
    """How far (n, 9, 2) points of the picture are from a place (9, 2), (n,), root mean square."""
    return np.sqrt(((path - place) ** 2).sum(-1).mean(-1))


def _lasting(path: Floats) -> Floats:
    """A path (n, 9, 2) without what does not last: the running median."""
    half = min(_LASTING_LOOKS, len(path) - (len(path) + 1) % 2) // 2
    if half < 1:
        return path
    # Mirrored at the ends, so that a hand on the camera at the first look does not last.
    padded = np.pad(path, ((half, half), (0, 0), (0, 0)), mode="reflect")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1, axis=0)
    return np.median(windows, axis=-1)


def _largest_shift(path: Floats) -> float:
    """The largest lasting displacement along a path (n, 9, 2), or twice the sway of a shake."""
    lasting = _lasting(path)
    # From the usual place to the farthest, and from there again: exact along a line, and quick.
    usual = np.median(lasting, axis=0)
    one_end = lasting[int(np.argmax(_distance(lasting, usual)))]
    sway = np.sqrt(((path - lasting) ** 2).sum(-1).mean(-1))
    return max(float(_distance(lasting, one_end).max()), 2 * float(np.quantile(sway, 1 - _SHAKEN)))


def _first_shift(path: Floats, limit: float) -> int | None:
    """The look at which a path (n, 9, 2) first is farther from its start than a limit; if it only
    sways about the start by more than that, the look that is farthest; else None."""
    if _largest_shift(path) <= limit:
        return None
    distance = _distance(_lasting(path), path[0])
    far = 1 + np.flatnonzero(distance[1:] > limit)
    return int(far[0]) if len(far) else int(np.argmax(_distance(path, path[0])))


def _steady(path: Floats, limit: float) -> list[tuple[int, int]]:
    """(first, last) looks of the stretches that stay within a limit of where they began."""
    lasting = _lasting(path)
    stretches = []
    start = 0
    while start < len(path):
        away = np.flatnonzero(_distance(lasting[start:], lasting[start]) > limit)
        end = start + int(away[0]) if len(away) else len(path)
        stretches.append((start, end - 1))
        start = end
    return stretches


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _in_words(motion: CameraMotion) -> str:
    size = (
        f"{_short(100 * motion.share)} % of the picture's width "
        f"({_short(motion.degrees)} degrees), which carries a person {PERSON_DISTANCE_M:g} m away "
        f"by {_short(100 * motion.path_error_m)} cm"
    )
    if motion.kind == "unknown":
        text = "cannot tell whether the camera moves, it is taken as still: "
        if motion.looks < 2:
            text += f"the clip is shorter than {LOOK_EVERY_S} s"
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
