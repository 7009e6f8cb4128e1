"""Figures in 3D on a floor with a grid, and where they are seen from."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Flags, Floats, Image
from lithepose.poses import Track3D
from lithepose.view.strokes import (
    BACKGROUND,
    BODY,
    GRID,
    OUTLINE,
    SHIFT,
    SURE,
    WHITE,
    joint_colours,
    line,
    mix,
    subpixel,
)

_ANKLES = (BODY.index("right_ankle"), BODY.index("left_ankle"))
_ANKLE_HEIGHT_M = 0.08  # of the joint above the sole
_HEAD = (BODY.index("nose"), BODY.index("head_top"))
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
    # Ahead is left x up, with up = -y: its x is the z of the hips' line.
    left, right = (joints[..., BODY.index(f"{side}_hip"), 2] for side in ("left", "right"))
    return bool(np.nansum(left - right) < 0)


def _floor_y(joints: Floats) -> float:
    """The height most lowest feet stand on; `joints` (..., 17, 3), not all missing."""
    ankles = joints.reshape(-1, 17, 3)[:, _ANKLES, 1]
    lowest = ankles[np.isfinite(ankles).any(axis=1)]
    if len(lowest) == 0:  # no feet in the picture: below everything there is
        return float(np.nanmax(joints[..., 1])) + _ANKLE_HEIGHT_M
    return float(np.percentile(np.nanmax(lowest, axis=1), 90)) + _ANKLE_HEIGHT_M


class ViewPath:
    """The view of every frame: one direction and scale, a centre that calmly follows the people."""

    FOLLOW_S = 1.5  # the centre is a mean over this many seconds
    MAX_RADIUS_M = 5.0  # people farther apart than this leave the picture

    def __init__(self, tracks: Sequence[Track3D]) -> None:
        nobody = [np.full((1, 17, 3), np.nan)]
        joints = np.stack([track.joints_camera for track in tracks] or nobody)  # (P, T, 17, 3)
        self._still = fit_view(joints)
        self._centres: Floats | None = None
        roots = joints[:, :, 0]
        found = np.all(np.isfinite(roots), axis=-1)  # (P, T)
        count = found.sum(axis=0)
        known = np.flatnonzero(count)
        # People who stay in place are easier to judge before a view that stays in place too.
        if len(known) == 0 or self._still.radius_m < 1.6:
            return
        frames = joints.shape[1]
        total = np.where(found[..., None], roots, 0.0).sum(axis=0)
        mean = total[known] / count[known, None]
        path = np.stack([np.interp(np.arange(frames), known, axis) for axis in mean.T], axis=1)
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
    paint_floor(canvas, view)
    paint_shadows(canvas, people, view)
    paint_people(canvas, people, sure, view)
    return canvas


def paint_floor(canvas: Image, view: View3D) -> None:
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
        chosen = subpixel(pixels[inside & (level == number)])
        if len(chosen):
            colour = mix(BACKGROUND, GRID, number / levels)
            cv2.polylines(canvas, [*chosen], False, colour, 1, cv2.LINE_AA, SHIFT)


def paint_people(canvas: Image, people: Floats, confidence: Floats, view: View3D) -> None:
    """Draw the limbs of all people from the farthest to the nearest."""
    pixels, scale, seen = _on_canvas(canvas, people, people, view, reach=20)
    points = subpixel(pixels)
    colours = joint_colours(BODY)
    # A large scale is near, so ascending scale paints from far to near.
    limbs = sorted(_limbs(seen), key=lambda limb: scale[limb[0], limb[1]] + scale[limb[0], limb[2]])
    for person, first, second in limbs:
        colour = colours[second]
        if min(confidence[person, first], confidence[person, second]) < SURE:
            colour = mix(colour, BACKGROUND, 0.55)
        # Parts behind the centre of the view are a little darker: a cue of depth.
        here = float(scale[person, [first, second]].mean())
        near = here * view.radius_m / (min(canvas.shape[:2]) / 2)
        colour = mix(colour, BACKGROUND, float(np.clip((1.02 - near) * 1.2, 0.0, 0.35)))
        start, end = points[person, first], points[person, second]
        if (first, second) == _HEAD:  # one thick short rod reads as a head
            start, end = start + (end - start) // 5, start + 7 * (end - start) // 10
        thickness = max(1, round(2 * (_LIMB_RADIUS_M[BODY.joints[second]] * here)))
        line(canvas, start, end, OUTLINE, thickness + 2)
        line(canvas, start, end, colour, thickness)
        if thickness >= 5:  # a highlight makes a stroke a rod
            line(canvas, start, end, mix(colour, WHITE, 0.28), max(1, thickness // 3))


def paint_shadows(canvas: Image, people: Floats, view: View3D) -> None:
    """Darken the floor straight below each limb, softly."""
    height, width = canvas.shape[:2]
    on_floor = people.copy()
    on_floor[..., 1] = view.floor_y
    pixels, scale, seen = _on_canvas(canvas, people, on_floor, view, reach=4)
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
    points = subpixel((pixels - (left, top)) / 4)
    for person, first, second in _limbs(seen):
        thickness = round(0.4 * _LIMB_RADIUS_M[BODY.joints[second]] * scale[person, second])
        start, end = ((int(x), int(y)) for x, y in points[person, [first, second]])
        cv2.line(mask, start, end, 178, max(1, thickness), cv2.LINE_AA, SHIFT)
    mask = cv2.GaussianBlur(mask, (0, 0), max(blur / 4, 0.5))
    kept = cv2.cvtColor(255 - mask, cv2.COLOR_GRAY2RGB)
    kept = cv2.resize(kept, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    floor = canvas[top:bottom, left:right]
    cv2.multiply(floor, kept, dst=floor, scale=1 / 255)


def _on_canvas(
    canvas: Image, people: Floats, places: Floats, view: View3D, reach: int
) -> tuple[Floats, Floats, Flags]:
    """Pixels and pixels per metre of joints (P, 17, 3) that are drawn at these places, and which of
    them can be: those that are not missing, nor farther out than so many canvases."""
    height, width = canvas.shape[:2]
    there = np.all(np.isfinite(people), axis=-1)
    pixels, scale, before = view.project(np.where(there[..., None], places, 0.0), (width, height))
    near = (np.abs(pixels) < reach * max(width, height)).all(axis=-1)
    return pixels, scale, there & before & near


def _limbs(seen: Flags) -> list[tuple[int, int, int]]:
    """(person, first joint, second joint) of every limb between joints (P, 17) that are seen."""
    return [
        (person, first, second)
        for person, joints in enumerate(seen.tolist())
        for first, second in BODY.limbs
        if joints[first] and joints[second]
    ]
