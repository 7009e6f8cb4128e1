"""Following the background of a clip: a shift, turn and zoom for every frame that is looked at.

Corners outside the detected people are found again from a keyframe (pyramidal Lucas-Kanade, there
and back), and the movement that most of them agree on (RANSAC) is the camera's. A keyframe stays
until too little of it is in sight, so that a slow pan adds up while vibration and compression do
not.
"""

from __future__ import annotations

from collections import deque
from functools import cached_property
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Flags, Floats, Image

# How the background is followed: pixels are those of the small picture, shares of 1.
_SMALL_PX = 320  # long side of the small picture, about
_MARGIN = 0.12  # around a person's joints, of their longer side: hair, hands, clothes
# Corners are at most so many, so far apart (of the long side), this strong against the
# strongest, and at least this strong (smallest eigenvalue, which noise in the dark is below).
_CORNERS = 60
_APART = 0.04
_QUALITY = 0.02
_LEAST_STRENGTH = 2e-4
_LEAST_CORNERS = 8  # fewer tell nothing
_WINDOW_PX = 11  # of Lucas-Kanade, on each of so many levels:
_LEVELS = 3
_RETURN_PX = 0.5  # a corner tracked there and back ends this close to where it began
# A corner agrees with a movement within this much, and a share of its shift since the keyframe
# more: near and far background shift differently when the camera is carried.
_AGREE_PX = 1.0
_AGREE_SHARE = 0.1
_FOUND = 0.2  # of the corners that should be in sight are found again, at least
_AGREEING = 0.35  # of those agree, at least
_MOST = 0.6  # of those are enough whatever the others do
_STANDING = 1 / 3  # of those outvote all that moves, when they stay in place
# A turn or zoom is believed as far as the corners span the picture: at this spread (the sum of
# squares, of the long side squared) half of it.
_HALF_TURN = 0.05
_MOST_ZOOM = 3.0
_IN_SIGHT = 0.5  # of a keyframe's corners, while it serves
_MOST_FAILURES = 8  # in a row, of a keyframe that serves
_MOST_KEYFRAMES = 6
_TINY_PX = (32, 18)  # the picture that shows whether the scene is another
_LEAST_SHOWN = 0.3  # of it outside people
_BLANK = 4.0  # contrast below which it tells nothing, in grey values
_SAME = 0.5  # correlation below which two show different things
# Frames are compared with one so many before: a fade is over by then, and daylight has hardly
# changed. Displaced by more than this, of the long side, the same scene need not correlate.
_RECENT_FRAMES = 8
_SAME_PLACE = 0.04
_SEARCH_FRAMES = 3  # in which a lost background is searched for


def shrink_factor(long_side: int) -> int:
    """How many pixels of the video there are to one of the small picture: 1 or even."""
    return 1 if long_side <= 1.5 * _SMALL_PX else 2 * max(1, round(long_side / (2 * _SMALL_PX)))


def _small_grey(image: Image) -> Image:
    """The small grey picture (h, w) of a frame.

    One channel and every few pixels of it: averaging all of them would take ten times as long, and
    a picture that does not move gives the same either way.
    """
    factor = shrink_factor(max(image.shape[:2]))
    step = max(1, factor // 2)
    grey = np.ascontiguousarray(image[::step, ::step, 1])
    if factor == 1:
        return grey
    # OpenCV is fast only where what is left of the factor is exactly two.
    even = grey[: len(grey) // 2 * 2, : grey.shape[1] // 2 * 2]
    small = cv2.resize(even, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8)


def _boxes(people: Floats) -> Floats:
    """(B, 4) left, top, right, bottom of people (P, J, 2) with a margin, without those who have no
    joints."""
    seen = np.asarray(np.isfinite(people).all(-1))
    joints = np.where(seen[..., None], people, np.nan)[seen.any(-1)]
    if not len(joints):
        return np.zeros((0, 4))
    low, high = np.nanmin(joints, axis=1), np.nanmax(joints, axis=1)
    margin = _MARGIN * (high - low).max(-1, keepdims=True)
    return np.concatenate([low - margin, high + margin], axis=-1)


def _clear(picture: Image | Floats | Flags, boxes: Floats) -> None:
    """Set the pixels under boxes (B, 4), which may stand out of the picture, to 0."""
    edges = np.concatenate([np.floor(boxes[:, :2]), np.ceil(boxes[:, 2:])], axis=1)
    for left, top, right, bottom in edges.clip(0, 2**30).astype(int):
        picture[top:bottom, left:right] = 0


class SampledFrame:
    """A frame that is looked at, (H, W, 3) RGB, and the joints (P, J, 2) in its pixels.

    Attributes:
        grey: (h, w) uint8, the small picture.
        flat: (h, w) uint8, the same without soft shades and at a set contrast around 128, for
            tracking: exposure, flicker and passing clouds are gone from it.
        boxes: (B, 4) left, top, right, bottom of people with a margin, in pixels of `grey`.
        tiny: (18, 32) float32, grey values.
        shown: (18, 32) bool, where `tiny` is outside people.
    """

    def __init__(self, image: Image, time_s: float, people: Floats) -> None:
        self.time_s = time_s
        self.grey = _small_grey(image)
        shades = cv2.blur(self.grey, (31, 31))
        # Not more than fourfold, or a blank wall would be all noise.
        gain = 26 / max(float(cv2.mean(cv2.absdiff(self.grey, shades))[0]), 6.5)
        self.flat = np.asarray(cv2.addWeighted(self.grey, gain, shades, -gain, 128), np.uint8)
        size = np.array(self.grey.shape[::-1])
        self.boxes = _boxes(people) * np.tile(size / image.shape[1::-1], 2)
        tiny = cv2.resize(self.grey, _TINY_PX, interpolation=cv2.INTER_AREA)
        self.tiny = np.asarray(tiny, np.float32)
        self.shown = np.ones(tiny.shape, bool)
        _clear(self.shown, self.boxes * np.tile(_TINY_PX / size, 2))

    @property
    def blank(self) -> bool:
        """Whether nothing can be told from it: dark, fogged, or filled by people."""
        hidden = self.shown.mean() < _LEAST_SHOWN
        return bool(hidden or self.tiny[self.shown].std() < _BLANK)

    @cached_property
    def corners(self) -> Floats:
        """Corners (N, 2) of the background; none where there is no texture."""
        strongest = float(np.max(cv2.cornerMinEigenVal(self.grey, 3)))
        if strongest < _LEAST_STRENGTH:
            return np.zeros((0, 2))
        mask = np.full(self.grey.shape, 255, np.uint8)
        _clear(mask, self.boxes)
        found = cv2.goodFeaturesToTrack(
            self.grey,
            maxCorners=_CORNERS,
            qualityLevel=max(_QUALITY, _LEAST_STRENGTH / strongest),
            minDistance=_APART * max(self.grey.shape),
            mask=mask,
        )
        return np.zeros((0, 2)) if found is None else np.asarray(found, np.float64).reshape(-1, 2)

    def is_background(self, points: Floats) -> Flags:
        """Whether each of (N, 2) points is inside the picture and outside people."""
        height, width = self.grey.shape
        inside = ((points >= 1) & (points < (width - 1, height - 1))).all(-1)
        over = (points[:, None] >= self.boxes[:, :2]) & (points[:, None] <= self.boxes[:, 2:])
        return np.asarray(inside & ~over.all(-1).any(-1))

    def resembles(self, other: SampledFrame) -> bool:
        """Whether it may show the scene of another, at another brightness or contrast."""
        both = self.shown & other.shown
        if both.mean() < _LEAST_SHOWN:
            return True
        here, there = (frame.tiny[both] - frame.tiny[both].mean() for frame in (self, other))
        size = float(np.linalg.norm(here) * np.linalg.norm(there))
        return size == 0 or float(here @ there) / size >= _SAME

    def detail(self) -> NDArray[np.float32]:
        """`flat` around 0, and 0 where there are people."""
        detail = self.flat.astype(np.float32) - 128
        _clear(detail, self.boxes)
        return detail


def transform(movement: Floats, points: Floats) -> Floats:
    """Points (..., 2) after a movement (3, 3)."""
    return points @ movement[:2, :2].T + movement[:2, 2]


def _flow(before: Image, after: Image, points: Floats, expected: Floats) -> tuple[Floats, Flags]:
    """Where points (N, 2) of one picture are in another, near where expected; and whether."""
    there, found, _ = cv2.calcOpticalFlowPyrLK(
        before,
        after,
        *(each.astype(np.float32).reshape(-1, 1, 2) for each in (points, expected)),
        winSize=(_WINDOW_PX, _WINDOW_PX),
        maxLevel=_LEVELS,
        criteria=(cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 10, 0.03),
        flags=cv2.OPTFLOW_USE_INITIAL_FLOW,
    )
    return np.asarray(there, np.float64).reshape(-1, 2), np.asarray(found).reshape(-1) > 0


def _similarity(points: Floats, there: Floats, long_side: float) -> Floats:
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
    shift = there.mean(0) - linear @ middle
    return np.vstack([np.column_stack([linear, shift]), [0, 0, 1]])


def _common_movement(
    points: Floats, there: Floats, expected: Floats, long_side: float
) -> Floats | None:
    """The movement (3, 3) that most points of the keyframe share, or None if they share none; they
    are expected where they would be had the camera not moved since the last frame. All (N, 2)."""
    shift = float(np.median(np.linalg.norm(there - points, axis=-1)))
    tolerance = _AGREE_PX + _AGREE_SHARE * shift
    movement, _ = cv2.estimateAffinePartial2D(
        points, there, method=cv2.RANSAC, ransacReprojThreshold=tolerance, maxIters=300
    )
    if movement is None:
        return None
    predicted = transform(np.asarray(movement, np.float64), points)
    miss = np.linalg.norm(predicted - there, axis=-1)
    agree = miss <= tolerance
    stay = np.linalg.norm(expected - there, axis=-1) <= _AGREE_PX
    moved_px = float(np.linalg.norm(predicted - expected, axis=-1).mean())
    count = len(points)
    if moved_px > 2 * _AGREE_PX and stay.sum() >= max(_STANDING * count, _LEAST_CORNERS):
        agree = stay
    elif agree.sum() < max(_AGREEING * count, _LEAST_CORNERS):
        return None
    elif agree.sum() < _MOST * count and moved_px < 2 * float(np.median(miss)):
        # Points that each go their own way, as leaves do, share no movement smaller than that. A
        # camera that does move adds up until it is larger.
        there = expected
    movement = _similarity(points[agree], there[agree], long_side)
    zoom = float(np.hypot(*movement[:2, 0]))
    # Points that all run together agree with each other, but no lens does that.
    return movement if 1 / _MOST_ZOOM < zoom < _MOST_ZOOM else None


class Keyframe:
    """A frame from which others are found; its pose (3, 3) takes the segment's first picture to
    it."""

    def __init__(self, frame: SampledFrame, pose: Floats) -> None:
        self.frame, self.pose = frame, pose
        self.failures = 0  # frames in a row in which it was not found
        self._inverse = np.linalg.inv(pose)

    def in_sight(self, frame: SampledFrame, pose: Floats) -> Flags:
        """Which corners (N,) a frame should show if it has this pose."""
        return frame.is_background(transform(pose @ self._inverse, self.frame.corners))

    def needs_keyframe(self, frame: SampledFrame, pose: Floats) -> bool:
        """Whether another keyframe should be taken while the background is in sight."""
        sight = self.in_sight(frame, pose)
        # Of few corners, the next person who passes would hide the rest.
        few = sight.sum() < 2 * _LEAST_CORNERS <= len(sight)
        return bool(self.failures or few or sight.sum() <= _IN_SIGHT * len(sight))

    def find(self, frame: SampledFrame, guess: Floats) -> Floats | None:
        """The pose (3, 3) of a frame, near a guess, or None."""
        use = self.in_sight(frame, guess)
        if use.sum() < _LEAST_CORNERS:
            return None
        points = self.frame.corners[use]
        expected = transform(guess @ self._inverse, points)
        there, found = _flow(self.frame.flat, frame.flat, points, expected)
        back, returned = _flow(frame.flat, self.frame.flat, there, there + points - expected)
        close = np.linalg.norm(back - points, axis=-1) <= _RETURN_PX
        good = found & returned & close & frame.is_background(there)
        if good.sum() < max(_FOUND * len(points), _LEAST_CORNERS):
            return None
        chosen = points[good], there[good], expected[good]
        movement = _common_movement(*chosen, max(frame.grey.shape))
        return None if movement is None else movement @ self.pose


class Segment:
    """A stretch without a cut, followed from its first frame.

    It begins with the "first" frame of the clip, with a "cut", with a "swing" (the picture changed
    altogether, but not from one frame to the next), or "blind" (the background had not been seen
    for long). Times and poses (3, 3), from the segment's first picture, are of the frames in which
    the background was found.
    """

    def __init__(
        self, frame: SampledFrame, start_s: float, begins: Literal["first", "cut", "swing", "blind"]
    ) -> None:
        self.start_s, self.begins = start_s, begins
        self.times = [frame.time_s]
        self.poses: list[Floats] = [np.eye(3)]
        self.recent = deque([frame], maxlen=_RECENT_FRAMES)  # the last of those frames
        self.keyframes = [Keyframe(frame, self.poses[0])]  # oldest first
        self.lost = 0  # in how many frames it has not been found since

    def follow(self, frame: SampledFrame) -> bool:
        """Find the background of the next frame, and note the camera's pose; False if it is not
        there."""
        pose = self.poses[-1]
        keyframe = self._best_keyframe(frame, pose)
        found = keyframe.find(frame, pose)
        keyframe.failures = 0 if found is not None else keyframe.failures + 1
        if found is None and self.lost < _SEARCH_FRAMES and not frame.blank:
            found = self._search(frame)
        by_first = keyframe is self.keyframes[0] and keyframe.failures == 0
        if found is None or not (by_first or self._continues(frame, found)):
            self.lost += 1
            return False
        self.lost = 0
        self.recent.append(frame)
        self.times.append(frame.time_s)
        self.poses.append(found)
        best = self._best_keyframe(frame, found)
        if keyframe.needs_keyframe(frame, found) and best.needs_keyframe(frame, found):
            kept = [each for each in self.keyframes if each.failures < _MOST_FAILURES]
            # The first keeps the others in place; those in the middle of a long pan can go.
            del kept[1 : max(1, len(kept) - _MOST_KEYFRAMES + 2)]
            self.keyframes = [*kept, Keyframe(frame, found)]
        return True

    def resembles(self, frame: SampledFrame) -> bool:
        """Whether a frame may show this scene, as the background was found last and before that."""
        # In a fade the last picture alone would do: it is half of the next scene.
        return frame.resembles(self.recent[-1]) and frame.resembles(self.recent[0])

    def _continues(self, frame: SampledFrame, pose: Floats) -> bool:
        """Whether a frame with this pose shows what was there some time before; a fade does not,
        and yet can be followed from picture to picture."""
        height, width = frame.grey.shape
        edges = np.array([[0, 0], [width, 0], [0, height], [width, height]])
        apart = transform(pose, edges) - transform(self.poses[-len(self.recent)], edges)
        far = np.linalg.norm(apart, axis=-1).max() > _SAME_PLACE * max(height, width)
        return bool(far) or frame.resembles(self.recent[0])

    def _best_keyframe(self, frame: SampledFrame, pose: Floats) -> Keyframe:
        # The oldest that serves: every other's pose was measured through it.
        shares = []
        for keyframe in self.keyframes:
            sight = keyframe.in_sight(frame, pose)
            shares.append(sight.mean() if len(sight) else 0.0)
            if shares[-1] >= _IN_SIGHT and keyframe.failures < _MOST_FAILURES:
                return keyframe
        return self.keyframes[int(np.argmax(shares))]

    def _search(self, frame: SampledFrame) -> Floats | None:
        """Find a frame by the last one: where that was, else by the overall shift since."""
        pose, last = self.poses[-1], self.recent[-1]
        keyframe = Keyframe(last, pose)
        found = keyframe.find(frame, pose)
        if found is not None:
            return found
        window = cv2.createHanningWindow(frame.grey.shape[::-1], cv2.CV_32F)
        shift = np.eye(3)
        shift[:2, 2], _ = cv2.phaseCorrelate(last.detail(), frame.detail(), window)
        return keyframe.find(frame, shift @ pose)
