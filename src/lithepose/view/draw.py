"""Skeletons over video frames, figures in 3D beside them, and both as stills or as a video.

Images are (H, W, 3) uint8 RGB. The person's left is orange, the right is blue, the middle is grey:
a pair that stays apart under every common kind of colour blindness, and in print.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image
from lithepose.poses import Track3D
from lithepose.skeletons import SKELETONS, Skeleton
from lithepose.video import Frame, VideoReader, VideoWriter, open_video

Colour = tuple[int, int, int]  # RGB

LEFT: Colour = (246, 154, 56)
RIGHT: Colour = (82, 168, 240)
CENTRE: Colour = (206, 211, 218)
BACKGROUND: Colour = (21, 23, 28)
_GRID: Colour = (66, 71, 82)
_OUTLINE: Colour = (12, 13, 16)
_WHITE: Colour = (255, 255, 255)
_TEXT: Colour = (226, 230, 236)
_QUIET_TEXT: Colour = (150, 157, 168)

# Joints below this are drawn thin and pale: the detector guessed.
_SURE = 0.5
# OpenCV takes sub-pixel positions as integers of 1/16 pixel.
_SHIFT = 4
_SUBPIXELS = 1 << _SHIFT

Overlay = Literal["observed", "reprojected", "both"]


# ---- 2D ------------------------------------------------------------------------------------------


def draw_skeleton(
    image: Image,
    keypoints: Floats,
    confidence: Floats,
    skeleton: str | Skeleton = "h36m17",
    *,
    thickness: float | None = None,
) -> Image:
    """Draw one person's joints over a picture.

    Args:
        image: (H, W, 3) RGB; not changed.
        keypoints: (J, 2) pixels, the centre of the top-left pixel at (0.5, 0.5); nan where missing.
        confidence: (J,) in [0, 1]; limbs the detector is unsure of are thin.
        skeleton: the joint set, or its name.
        thickness: of a limb in pixels; None fits it to the size of the person.

    Returns:
        A new (H, W, 3) image.

    Raises:
        ValueError: the arrays do not fit the joint set.
    """
    if isinstance(skeleton, str):
        if skeleton not in SKELETONS:
            raise ValueError(f"no joint set named {skeleton!r}; known: {', '.join(SKELETONS)}")
        skeleton = SKELETONS[skeleton]
    if keypoints.shape != (len(skeleton), 2) or confidence.shape != (len(skeleton),):
        raise ValueError(
            f"{skeleton.name} needs keypoints ({len(skeleton)}, 2) and confidence "
            f"({len(skeleton)},), not {keypoints.shape} and {confidence.shape}"
        )
    canvas = image.copy()
    _paint_skeleton(canvas, keypoints, confidence, skeleton, thickness)
    return canvas


def _paint_skeleton(
    canvas: Image,
    keypoints: Floats,
    confidence: Floats,
    skeleton: Skeleton,
    thickness: float | None,
) -> None:
    seen = np.isfinite(keypoints).all(axis=1) & _near_canvas(keypoints, canvas)
    if not seen.any():
        return
    if thickness is None:
        thickness = _fitting_thickness(keypoints[seen])
    colours = _joint_colours(skeleton)
    points = _subpixel(np.where(seen[:, None], keypoints, 0.0))
    limbs = [(first, second) for first, second in skeleton.limbs if seen[first] and seen[second]]
    sure = [limb for limb in limbs if min(confidence[limb[0]], confidence[limb[1]]) >= _SURE]
    wide, thin = max(1, round(thickness)), max(1, round(0.45 * thickness))
    # All outlines first, so that no outline cuts through a neighbouring limb.
    for first, second in sure:
        _line(canvas, points[first], points[second], _OUTLINE, wide + 2)
    for limb in limbs:
        side = colours[limb[0]] if colours[limb[1]] == CENTRE else colours[limb[1]]
        _line(canvas, points[limb[0]], points[limb[1]], side, wide if limb in sure else thin)
    for joint in np.flatnonzero(seen):
        if confidence[joint] >= _SURE:
            _disc(canvas, points[joint], 0.85 * thickness + 1, _OUTLINE)
            bright = _mix(colours[joint], _WHITE, 0.3)
            _disc(canvas, points[joint], 0.85 * thickness, bright)


def _paint_wires(canvas: Image, keypoints: Floats) -> None:
    """Thin white lines, to be told from the skeleton that they are compared with."""
    seen = np.isfinite(keypoints).all(axis=1) & _near_canvas(keypoints, canvas)
    points = _subpixel(np.where(seen[:, None], keypoints, 0.0))
    for first, second in _BODY.limbs:
        if seen[first] and seen[second]:
            _line(canvas, points[first], points[second], _WHITE, 1)


def _fitting_thickness(keypoints: Floats) -> float:
    """Limb thickness for a person of this size: 1 to 6 pixels."""
    height, width = np.ptp(keypoints[:, 1]), np.ptp(keypoints[:, 0])
    return float(np.clip(0.011 * math.hypot(height, width), 1.0, 6.0))


def _near_canvas(points: Floats, canvas: Image) -> NDArray[np.bool_]:
    """False for points so far away that OpenCV's integers would overflow."""
    with np.errstate(invalid="ignore"):
        return (np.abs(points) < 20 * max(canvas.shape)).all(axis=1)


@cache
def _joint_colours(skeleton: Skeleton) -> tuple[Colour, ...]:
    def colour(joint: str) -> Colour:
        if joint.startswith("left_"):
            return LEFT
        return RIGHT if joint.startswith("right_") else CENTRE

    return tuple(colour(joint) for joint in skeleton.joints)


# ---- 3D ------------------------------------------------------------------------------------------

_BODY = SKELETONS["h36m17"]
_ANKLES = (_BODY.index("right_ankle"), _BODY.index("left_ankle"))
_ANKLE_HEIGHT_M = 0.08  # of the joint above the sole
_HEAD = (_BODY.index("nose"), _BODY.index("head_top"))
# Radius of each limb in metres by its far joint: a lay figure, chosen by eye.
_LIMB_RADIUS_M = {
    "right_hip": 0.045, "right_knee": 0.050, "right_ankle": 0.040,
    "left_hip": 0.045, "left_knee": 0.050, "left_ankle": 0.040,
    "spine": 0.055, "thorax": 0.055, "nose": 0.035, "head_top": 0.078,
    "left_shoulder": 0.040, "left_elbow": 0.038, "left_wrist": 0.031,
    "right_shoulder": 0.040, "right_elbow": 0.038, "right_wrist": 0.031,
}  # fmt: skip
_FIELD_OF_VIEW = math.radians(26)
_GRID_SPACING_M = 0.5


@dataclass(frozen=True, kw_only=True)
class View3D:
    """Where a 3D picture is seen from: a camera that looks at `centre` from outside.

    Attributes:
        centre: (x, y, z) metres, camera axes, shown in the middle of the picture.
        radius_m: how far around the centre the picture reaches.
        floor_y: height of the floor in metres, camera axes (so the feet have almost this y).
        azimuth_deg: how far the viewer walked around the person, to the right as seen from the
            camera that filmed; 0 looks where that camera looked.
        elevation_deg: how far above the horizontal the viewer stands.
    """

    centre: tuple[float, float, float]
    radius_m: float = 1.2
    floor_y: float
    azimuth_deg: float = 38.0
    elevation_deg: float = 14.0

    def project(
        self, points: Floats, size: tuple[int, int]
    ) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """Pixels, pixels per metre, and whether the point is before the viewer.

        Args:
            points: (..., 3) metres, camera axes.
            size: (width, height) of the picture in pixels.
        """
        azimuth, elevation = math.radians(self.azimuth_deg), math.radians(self.elevation_deg)
        x, y, z = np.moveaxis(np.asarray(points, float) - np.asarray(self.centre), -1, 0)
        sideways = x * math.cos(azimuth) + z * math.sin(azimuth)
        ahead = z * math.cos(azimuth) - x * math.sin(azimuth)
        down = y * math.cos(elevation) - ahead * math.sin(elevation)
        distance = self.radius_m / math.sin(_FIELD_OF_VIEW / 2)
        depth = y * math.sin(elevation) + ahead * math.cos(elevation) + distance
        before = depth > 0.05 * distance
        focal_px = min(size) / 2 / math.tan(_FIELD_OF_VIEW / 2)
        scale = focal_px / np.where(before, depth, np.inf)
        pixels = np.stack([size[0] / 2 + sideways * scale, size[1] / 2 + down * scale], axis=-1)
        return pixels, scale, before


def fit_view(joints: Floats) -> View3D:
    """A view from the front and the side in which the given poses fit.

    Args:
        joints: (..., 17, 3) metres, camera axes; nan where missing.
    """
    points = joints.reshape(-1, 3)
    points = points[np.isfinite(points).all(axis=1)]
    if len(points) == 0:
        return View3D(centre=(0.0, 0.0, 4.0), floor_y=1.0)
    low, high = np.percentile(points, [1, 99], axis=0)
    centre = (low + high) / 2
    radius = float(np.percentile(np.linalg.norm(points - centre, axis=1), 99)) + 0.15
    x, y, z = (float(value) for value in centre)
    return View3D(
        centre=(x, y, z),
        radius_m=max(radius, 0.9),
        floor_y=_floor_y(joints),
        azimuth_deg=-View3D.azimuth_deg if _face_left(joints) else View3D.azimuth_deg,
    )


def _face_left(joints: Floats) -> bool:
    """Whether the people mostly look to the left of the picture; `joints` (..., 17, 3)."""
    to_left_hip = joints[..., _BODY.index("left_hip"), :] - joints[..., _BODY.index("right_hip"), :]
    # Ahead is left x up, with up = -y: its x is the z of the hips' line.
    ahead_x = to_left_hip[..., 2]
    return bool(np.nansum(ahead_x) < 0)


def draw_pose_3d(
    joints: Floats,
    size: tuple[int, int] = (720, 720),
    *,
    confidence: Floats | None = None,
    view: View3D | None = None,
) -> Image:
    """Draw poses in 3D, standing on a floor with a grid of half a metre.

    Args:
        joints: (17, 3), or (P, 17, 3) for several people, metres, camera axes, Human3.6M order;
            nan where missing.
        size: (width, height) of the picture in pixels.
        confidence: same leading shape as `joints`, in [0, 1]; unsure limbs are pale. None: sure.
        view: where it is seen from; None fits the poses into the picture.

    Returns:
        (H, W, 3) RGB.

    Raises:
        ValueError: the joints are not 17 points in 3D.
    """
    if joints.ndim not in (2, 3) or joints.shape[-2:] != (17, 3):
        raise ValueError(f"joints must be (17, 3) or (P, 17, 3), not {joints.shape}")
    people = joints.reshape(-1, 17, 3)
    sure = np.ones(people.shape[:2]) if confidence is None else confidence.reshape(-1, 17)
    view = fit_view(people) if view is None else view
    canvas = np.full((size[1], size[0], 3), BACKGROUND, np.uint8)
    _paint_floor(canvas, view)
    _paint_shadows(canvas, people, view)
    _paint_people(canvas, people, sure, view)
    return canvas


def _floor_y(joints: Floats) -> float:
    """The height most lowest feet stand on; `joints` (..., 17, 3), not all missing."""
    ankles = joints.reshape(-1, 17, 3)[:, _ANKLES, 1]
    lowest = ankles[np.isfinite(ankles).any(axis=1)]
    if len(lowest) == 0:  # no feet in the picture: below everything there is
        return float(np.nanmax(joints[..., 1])) + _ANKLE_HEIGHT_M
    return float(np.percentile(np.nanmax(lowest, axis=1), 90)) + _ANKLE_HEIGHT_M


def _paint_floor(canvas: Image, view: View3D) -> None:
    """A grid that fades into the background away from the centre."""
    reach = 1.9 * view.radius_m
    # Wide views get a wider grid, so that it never turns into a grey sheet.
    spacing = _GRID_SPACING_M * max(1, round(view.radius_m / 2))
    pieces = 24  # of each line, so that the fading is smooth
    along = np.linspace(-reach, reach, pieces + 1)
    segments = []
    for axis in (0, 2):
        middle, other = view.centre[axis], view.centre[2 - axis]
        lines = np.arange(
            math.ceil((middle - reach) / spacing), math.floor((middle + reach) / spacing) + 1
        )
        points = np.empty((len(lines), pieces + 1, 3))
        points[..., axis] = (lines * spacing)[:, None]
        points[..., 1] = view.floor_y
        points[..., 2 - axis] = other + along
        segments.append(np.stack([points[:, :-1], points[:, 1:]], axis=2).reshape(-1, 2, 3))
    ends = np.concatenate(segments)  # (N, 2, 3)
    distance = np.linalg.norm((ends.mean(axis=1) - view.centre)[:, [0, 2]], axis=1)
    strength = np.clip(1 - distance / reach, 0, 1) ** 0.8
    height, width = canvas.shape[:2]
    pixels, _, before = view.project(ends, (width, height))
    inside = before.all(axis=1) & (np.abs(pixels) < 4 * max(width, height)).all(axis=(1, 2))
    levels = 8
    level = np.ceil(strength * levels).astype(int)
    for number in range(1, levels + 1):
        chosen = _subpixel(pixels[inside & (level == number)])
        if len(chosen):
            colour = _mix(BACKGROUND, _GRID, number / levels)
            cv2.polylines(canvas, [*chosen], False, colour, 1, cv2.LINE_AA, _SHIFT)


def _paint_people(canvas: Image, people: Floats, confidence: Floats, view: View3D) -> None:
    """Draw the limbs of all people from the farthest to the nearest."""
    height, width = canvas.shape[:2]
    pixels, scale, before = view.project(_filled(people), (width, height))
    seen = np.isfinite(people).all(axis=-1) & before
    seen &= (np.abs(pixels) < 20 * max(width, height)).all(axis=-1)
    points = _subpixel(pixels)
    colours = _joint_colours(_BODY)

    limbs = _limbs_of(len(people))
    visible = [limb for limb in limbs if seen[limb[0], limb[1]] and seen[limb[0], limb[2]]]
    # A large scale is near, so ascending scale paints from far to near.
    visible.sort(key=lambda limb: scale[limb[0], limb[1]] + scale[limb[0], limb[2]])
    for person, first, second in visible:
        colour = colours[second]
        if min(confidence[person, first], confidence[person, second]) < _SURE:
            colour = _mix(colour, BACKGROUND, 0.55)
        # Parts behind the centre of the view are a little darker: a cue of depth.
        here = float(scale[person, [first, second]].mean())
        near = here * view.radius_m / (min(width, height) / 2)
        colour = _mix(colour, BACKGROUND, float(np.clip((1.02 - near) * 1.2, 0.0, 0.35)))
        start, end = points[person, first], points[person, second]
        if (first, second) == _HEAD:  # one thick short rod reads as a head
            start, end = start + (end - start) // 5, start + 7 * (end - start) // 10
        _paint_limb(canvas, start, end, _LIMB_RADIUS_M[_BODY.joints[second]] * here, colour)


def _paint_shadows(canvas: Image, people: Floats, view: View3D) -> None:
    """Darken the floor straight below each limb, softly."""
    height, width = canvas.shape[:2]
    on_floor = _filled(people)
    on_floor[..., 1] = view.floor_y
    pixels, scale, before = view.project(on_floor, (width, height))
    seen = np.isfinite(people).all(axis=-1) & before
    seen &= (np.abs(pixels) < 4 * max(width, height)).all(axis=-1)
    if not seen.any():
        return
    blur = 0.035 * float(np.median(scale[seen]))  # standard deviation: 3.5 cm on the floor
    margin = 0.2 * float(scale[seen].max()) + 3 * blur
    low = np.floor(pixels[seen].min(axis=0) - margin)
    high = np.ceil(pixels[seen].max(axis=0) + margin)
    left, top = (int(value) for value in np.clip(low, 0, (width, height)))
    right, bottom = (int(value) for value in np.clip(high, 0, (width, height)))
    if left >= right or top >= bottom:
        return
    # A blurred mask needs few pixels: a quarter of them in each direction.
    mask = np.zeros((-(-(bottom - top) // 4), -(-(right - left) // 4)), np.uint8)
    points = _subpixel((pixels - (left, top)) / 4)
    for person, first, second in _limbs_of(len(people)):
        if seen[person, first] and seen[person, second]:
            thickness = round(0.4 * _LIMB_RADIUS_M[_BODY.joints[second]] * scale[person, second])
            start, end = ((int(x), int(y)) for x, y in points[person, [first, second]])
            cv2.line(mask, start, end, 178, max(1, thickness), cv2.LINE_AA, _SHIFT)
    mask = cv2.GaussianBlur(mask, (0, 0), max(blur / 4, 0.5))
    kept = cv2.cvtColor(255 - mask, cv2.COLOR_GRAY2RGB)
    kept = cv2.resize(kept, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    floor = canvas[top:bottom, left:right]
    cv2.multiply(floor, kept, dst=floor, scale=1 / 255)


def _filled(people: Floats) -> Floats:
    """Missing joints at the origin, where arithmetic is safe; the callers mask them."""
    return np.where(np.isfinite(people).all(axis=-1, keepdims=True), people, 0.0)


@cache
def _limbs_of(people: int) -> list[tuple[int, int, int]]:
    """(person, first joint, second joint) of every limb of so many people."""
    return [(person, *limb) for person in range(people) for limb in _BODY.limbs]


def _paint_limb(
    canvas: Image,
    first: NDArray[np.int32],
    second: NDArray[np.int32],
    radius: float,
    colour: Colour,
) -> None:
    thickness = max(1, round(2 * radius))
    _line(canvas, first, second, _OUTLINE, thickness + 2)
    _line(canvas, first, second, colour, thickness)
    if thickness >= 5:  # a highlight makes a stroke a rod
        _line(canvas, first, second, _mix(colour, _WHITE, 0.28), max(1, thickness // 3))


# ---- Strokes and letters -------------------------------------------------------------------------


def _subpixel(points: Floats) -> NDArray[np.int32]:
    # OpenCV puts pixel centres at whole numbers, Lithepose at halves.
    return np.round((np.asarray(points) - 0.5) * _SUBPIXELS).astype(np.int32)


def _line(
    canvas: Image, first: NDArray[np.int32], second: NDArray[np.int32], colour: Colour, width: int
) -> None:
    start, end = (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))
    cv2.line(canvas, start, end, colour, width, cv2.LINE_AA, _SHIFT)


def _disc(canvas: Image, centre: NDArray[np.int32], radius: float, colour: Colour) -> None:
    middle = int(centre[0]), int(centre[1])
    cv2.circle(canvas, middle, round(radius * _SUBPIXELS), colour, -1, cv2.LINE_AA, _SHIFT)


def _mix(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (
        round(one + (two - one) * share) for one, two in zip(colour, other, strict=True)
    )
    return red, green, blue


@cache
def _typeface() -> cv2.FontFace | None:
    """OpenCV 5 brings a real typeface; before that there are only stroke fonts."""
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def _text_width(text: str, size: int) -> int:
    face = _typeface()
    if face is not None:
        return int(cv2.getTextSize((1, 1), text, (0, 0), face, size, 500)[2])
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size / 30, 1)[0][0]


def _write(canvas: Image, text: str, corner: tuple[int, int], size: int, colour: Colour) -> None:
    """Write one line; `corner` is the left end of its base line, `size` its height in pixels."""
    face = _typeface()
    if face is not None:
        cv2.putText(canvas, text, corner, colour, face, size, 500)
    else:
        cv2.putText(
            canvas, text, corner, cv2.FONT_HERSHEY_DUPLEX, size / 30, colour, 1, cv2.LINE_AA
        )


def _write_chip(canvas: Image, text: str, middle: tuple[float, float], size: int) -> None:
    """Write on a dark plate, centred at `middle` and kept inside the picture."""
    height, width = canvas.shape[:2]
    text_width = _text_width(text, size)
    pad = round(0.45 * size)
    plate_width, plate_height = text_width + 2 * pad, round(1.5 * size)
    if plate_width > width or plate_height > height:
        return
    left = int(np.clip(middle[0] - plate_width / 2, 0, width - plate_width))
    top = int(np.clip(middle[1] - plate_height / 2, 0, height - plate_height))
    plate = canvas[top : top + plate_height, left : left + plate_width]
    plate[:] = (plate.astype(np.uint16) * 3 // 10).astype(np.uint8)
    _write(canvas, text, (left + pad, top + round(1.1 * size)), size, _TEXT)


# ---- Video beside 3D -----------------------------------------------------------------------------


def write_overlay(
    path: str | os.PathLike[str],
    video_source: VideoReader | str | os.PathLike[str],
    tracks: Sequence[Track3D],
    *,
    max_lines: int = 540,
    overlay: Overlay = "observed",
    progress: Callable[[int], None] | None = None,
    share: Callable[[Frame], None] | None = None,
) -> int:
    """Write a video: the clip with the skeletons over it, and the figures in 3D beside it.

    Every frame keeps its own time. The file is complete or absent.

    Args:
        path: the file to write, *.mp4.
        video_source: the clip the tracks were made from; a reader that was opened with a range, if
            the tracks were made from a range. It is read to its end.
        tracks: the people, numbered in this order; all over the same frames as the video. May be
            empty.
        max_lines: height of the written video in pixels, at most.
        overlay: what lies over the clip: the joints the detector saw, the 3D joints projected back
            into the picture, or both (the latter as thin lines).
        progress: called after each frame with the number of frames written.
        share: given every frame, so that others can use the clip without decoding it again.

    Returns:
        The number of frames written.

    Raises:
        VideoError: the clip cannot be read.
        ValueError: the tracks do not belong together or to this clip.
        OSError: the file cannot be written.
    """
    frames_tracked = {len(track.time_s) for track in tracks}
    if len(frames_tracked) > 1:
        raise ValueError(f"the tracks are of different clips: {sorted(frames_tracked)} frames")
    given = isinstance(video_source, VideoReader)
    with nullcontext(video_source) if given else open_video(video_source) as reader:
        composer = _Composer(reader.size, tracks, max_lines, overlay)
        written = 0
        with VideoWriter(path, size=composer.size, fps=reader.fps) as writer:
            for frame in reader:
                writer.write(composer.compose(frame.image, frame.index, frame.time_s), frame.time_s)
                if share is not None:
                    share(frame)
                written += 1
                if progress is not None:
                    progress(written)
    if frames_tracked and written not in frames_tracked:
        warnings.warn(
            f"{reader.path} has {written} frames, the tracks {frames_tracked.pop()}: open the "
            "video with the range that the tracks were made from",
            stacklevel=2,
        )
    return written


def draw_still(
    frame: Frame | Image,
    track: Track3D | Sequence[Track3D],
    index: int,
    *,
    max_lines: int = 540,
    overlay: Overlay = "observed",
) -> Image:
    """One frame of the picture that `write_overlay` makes.

    Args:
        frame: the frame of the clip, or its (H, W, 3) RGB image.
        track: the person or people.
        index: which of the tracks' frames this is, from 0.

    Returns:
        (H, W, 3) RGB, at most `max_lines` high.

    Raises:
        ValueError: there is no such frame, or the image has another size than the tracks' clip.
    """
    tracks = [track] if isinstance(track, Track3D) else list(track)
    for one in tracks:
        if not 0 <= index < len(one.time_s):
            raise ValueError(f"frame {index} is not one of the track's {len(one.time_s)} frames")
    image = frame.image if isinstance(frame, Frame) else frame
    time_s = float(tracks[0].time_s[index]) if tracks else 0.0
    composer = _Composer((image.shape[1], image.shape[0]), tracks, max_lines, overlay)
    return composer.compose(image, index, time_s).copy()


class _Composer:
    """Lays the clip and the 3D panel side by side, frame after frame, on one canvas."""

    # Below this the letters would be unreadable: small clips are enlarged.
    MIN_LINES = 360

    def __init__(
        self,
        clip_size: tuple[int, int],
        tracks: Sequence[Track3D],
        max_lines: int,
        overlay: Overlay,
    ) -> None:
        if max_lines < self.MIN_LINES:
            raise ValueError(f"the overlay needs at least {self.MIN_LINES} lines, not {max_lines}")
        for track in tracks:
            if tuple(track.image_size) != tuple(clip_size):
                raise ValueError(
                    f"the tracks are of a video of {track.image_size[0]} x {track.image_size[1]} "
                    f"pixels, this one has {clip_size[0]} x {clip_size[1]}"
                )
        self.tracks = tracks
        self.overlay = overlay
        clip_width, clip_height = clip_size
        # The clip fits in 16:9 of the lines, so that wide clips leave room for the panel.
        zoom = min(max_lines / clip_height, max_lines * 16 / 9 / clip_width)
        zoom = min(zoom, max(1.0, self.MIN_LINES / clip_height))
        self.zoom = zoom
        self.clip_width, self.clip_height = (
            max(2, round(clip_width * zoom)),
            max(2, round(clip_height * zoom)),
        )
        lines = max(self.clip_height, self.MIN_LINES, round(0.42 * self.clip_width))
        lines = min(lines + lines % 2, max_lines - max_lines % 2)
        panel_width = round(np.clip(0.62 * self.clip_width, 0.72 * lines, lines))
        width = self.clip_width + panel_width
        panel_width += width % 2
        self.size = (self.clip_width + panel_width, lines)
        self.top = (lines - self.clip_height) // 2
        self.letter = max(13, round(lines / 36))
        self._canvas = np.full((lines, self.size[0], 3), BACKGROUND, np.uint8)
        self._path = _ViewPath(tracks)
        # A copy of a blank panel is several times as fast as filling one with a colour.
        self._blank = np.full((lines, panel_width, 3), BACKGROUND, np.uint8)
        self._floor = np.empty_like(self._blank)
        self._floor_view: View3D | None = None

    def compose(self, image: Image, index: int, time_s: float) -> Image:
        """The picture for one frame; the same memory every time."""
        canvas = self._canvas
        clip = canvas[self.top : self.top + self.clip_height, : self.clip_width]
        _shrink(image, clip)
        panel = canvas[:, self.clip_width :]
        # Tracks are of one clip, whose video may be longer: all of them have this frame, or none.
        tracked = self.tracks if all(index < len(track.time_s) for track in self.tracks) else []
        self._paint_clip(clip, tracked, index)
        self._paint_panel(panel, tracked, index, time_s)
        return canvas

    def _paint_clip(self, clip: Image, tracks: Sequence[Track3D], index: int) -> None:
        for number, track in enumerate(tracks, 1):
            confidence = track.confidence[index]
            head = track.keypoints_2d[index] * self.zoom
            if self.overlay != "reprojected":
                _paint_skeleton(clip, head, confidence, _BODY, None)
            if self.overlay != "observed":
                again = _reproject(track, index) * self.zoom
                if self.overlay == "both":
                    _paint_wires(clip, again)
                else:
                    _paint_skeleton(clip, again, np.ones(17), _BODY, None)
                head = np.where(np.isfinite(head), head, again)
            seen = head[np.isfinite(head).all(axis=1)]
            if len(seen):
                top = seen[np.argmin(seen[:, 1])]
                label = f"person {number}"
                _write_chip(clip, label, (top[0], top[1] - 1.7 * self.letter), self.letter)

    def _paint_panel(
        self, panel: Image, tracks: Sequence[Track3D], index: int, time_s: float
    ) -> None:
        height, width = panel.shape[:2]
        view = self._path.at(index)
        if view != self._floor_view:  # a view that stays in place needs its floor once
            np.copyto(self._floor, self._blank)
            _paint_floor(self._floor, view)
            self._floor_view = view
        np.copyto(panel, self._floor)
        if tracks:
            people = np.stack([track.joints_camera[index] for track in tracks])
            confidence = np.stack([track.confidence[index] for track in tracks])
            _paint_shadows(panel, people, view)
            _paint_people(panel, people, confidence, view)
            if len(self.tracks) > 1:
                self._label_people(panel, people, view)
        margin, letter = round(1.1 * self.letter), self.letter
        _write(panel, f"{time_s:.2f} s", (margin, margin + letter), letter, _TEXT)
        _write(panel, f"frame {index}", (margin, margin + round(2.4 * letter)), letter, _QUIET_TEXT)
        if not any(np.isfinite(track.joints_camera[index]).any() for track in tracks):
            note = "no person"
            left = width - margin - _text_width(note, letter)
            _write(panel, note, (left, margin + letter), letter, _QUIET_TEXT)
        right, base = width - margin, height - margin
        for label, colour in (("right", RIGHT), ("left", LEFT)):
            right -= _text_width(label, letter)
            _write(panel, label, (right, base), letter, _QUIET_TEXT)
            right -= round(0.7 * letter)
            spot = _subpixel(np.array([right, base - 0.3 * letter]))
            _disc(panel, spot, 0.28 * letter, colour)
            right -= letter

    def _label_people(self, panel: Image, people: Floats, view: View3D) -> None:
        height, width = panel.shape[:2]
        for number, joints in enumerate(people, 1):
            seen = joints[np.isfinite(joints).all(axis=1)]
            if len(seen):
                pixels, _, _ = view.project(seen, (width, height))
                top = pixels[np.argmin(pixels[:, 1])]
                if 0 <= top[0] < width and 0 <= top[1] < height:
                    above = float(top[0]), float(top[1]) - 1.6 * self.letter
                    _write_chip(panel, str(number), above, self.letter)


def _shrink(image: Image, target: Image) -> None:
    """Resize into `target` without the aliasing of a plain linear resize, at a fifth of the time of
    OpenCV's area averaging: halve (a fast mean of 2 x 2) until less than a half remains to do."""
    height, width = target.shape[:2]
    while image.shape[0] >= 2 * height and image.shape[1] >= 2 * width:
        half = image.shape[1] // 2, image.shape[0] // 2
        image = np.asarray(cv2.resize(image, half, interpolation=cv2.INTER_LINEAR), np.uint8)
    enlarging = image.shape[0] < height
    how = cv2.INTER_CUBIC if enlarging else cv2.INTER_LINEAR
    cv2.resize(image, (width, height), dst=target, interpolation=how)


def _reproject(track: Track3D, index: int) -> Floats:
    """(17, 2) pixels of the 3D joints in the clip; nan behind the camera."""
    x, y, z = track.joints_camera[index].T
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(z > 0.05, track.focal_px / z, np.nan)
    width, height = track.image_size
    return np.stack([width / 2 + x * ratio, height / 2 + y * ratio], axis=1)


class _ViewPath:
    """The view of every frame: one direction and scale, a centre that calmly follows the people."""

    FOLLOW_S = 1.5  # the centre is a mean over this many seconds
    MAX_RADIUS_M = 5.0  # people farther apart than this leave the picture

    def __init__(self, tracks: Sequence[Track3D]) -> None:
        self._still = fit_view(
            np.stack([track.joints_camera for track in tracks])
            if tracks
            else np.full((1, 17, 3), np.nan)
        )
        self._centres: Floats | None = None
        # People who stay in place are easier to judge before a view that stays in place too.
        if not tracks or self._still.radius_m < 1.6:
            return
        joints = np.stack([track.joints_camera for track in tracks])  # (P, T, 17, 3)
        frames = joints.shape[1]
        roots = joints[:, :, 0]
        found = np.all(np.isfinite(roots), axis=-1)  # (P, T)
        count = found.sum(axis=0)
        known = np.flatnonzero(count)
        if len(known) == 0:
            return
        total = np.where(found[..., None], roots, 0.0).sum(axis=0)
        mean = total[known] / count[known, None]
        everywhere = np.arange(frames)
        path = np.stack([np.interp(everywhere, known, mean[:, axis]) for axis in range(3)], axis=1)
        width = min(self.FOLLOW_S * tracks[0].fps, max(1000, 2 * frames))
        width = max(1, round(width)) | 1  # odd, so that it does not lag
        padded = np.pad(path, ((width // 2, width // 2), (0, 0)), mode="edge")
        kernel = np.hanning(width + 2)[1:-1]
        kernel /= kernel.sum()
        path = np.stack([np.convolve(padded[:, a], kernel, "valid") for a in range(3)], axis=1)
        path[:, 1] = self._still.centre[1]  # jumps should be seen as jumps
        away = np.linalg.norm(joints - path[None, :, None], axis=-1)
        radius = float(np.clip(np.nanpercentile(away, 98) + 0.1, 0.9, self.MAX_RADIUS_M))
        self._still = replace(self._still, radius_m=radius)
        self._centres = path

    def at(self, index: int) -> View3D:
        if self._centres is None:
            return self._still
        x, y, z = (float(v) for v in self._centres[min(index, len(self._centres) - 1)])
        return replace(self._still, centre=(x, y, z))
