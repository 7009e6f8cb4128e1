"""Skeletons over pictures."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Flags, Floats, Image
from lithepose.skeletons import SKELETONS, Skeleton
from lithepose.view.strokes import (
    BODY,
    CENTRE,
    OUTLINE,
    SURE,
    WHITE,
    disc,
    joint_colours,
    line,
    mix,
    subpixel,
)


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
    paint_skeleton(canvas, keypoints, confidence, skeleton, thickness)
    return canvas


def paint_skeleton(
    canvas: Image,
    keypoints: Floats,
    confidence: Floats,
    skeleton: Skeleton,
    thickness: float | None,
) -> None:
    seen, points = _placed(keypoints, canvas)
    if not seen.any():
        return
    if thickness is None:  # 1 to 6 pixels, by the size of the person
        width, height = np.ptp(keypoints[seen], axis=0)
        thickness = float(np.clip(0.011 * math.hypot(height, width), 1.0, 6.0))
    colours = joint_colours(skeleton)
    limbs = [(first, second) for first, second in skeleton.limbs if seen[first] and seen[second]]
    sure = [limb for limb in limbs if min(confidence[limb[0]], confidence[limb[1]]) >= SURE]
    wide, thin = max(1, round(thickness)), max(1, round(0.45 * thickness))
    # All outlines first, so that no outline cuts through a neighbouring limb.
    for first, second in sure:
        line(canvas, points[first], points[second], OUTLINE, wide + 2)
    for limb in limbs:
        side = colours[limb[0]] if colours[limb[1]] == CENTRE else colours[limb[1]]
        line(canvas, points[limb[0]], points[limb[1]], side, wide if limb in sure else thin)
    for joint in np.flatnonzero(seen):
        if confidence[joint] >= SURE:
            disc(canvas, points[joint], 0.85 * thickness + 1, OUTLINE)
            bright = mix(colours[joint], WHITE, 0.3)
            disc(canvas, points[joint], 0.85 * thickness, bright)


def paint_wires(canvas: Image, keypoints: Floats) -> None:
    """Thin white lines, to be told from the skeleton that they are compared with."""
    seen, points = _placed(keypoints, canvas)
    for first, second in BODY.limbs:
        if seen[first] and seen[second]:
            line(canvas, points[first], points[second], WHITE, 1)


def _placed(keypoints: Floats, canvas: Image) -> tuple[Flags, NDArray[np.int32]]:
    """Which joints are seen, and not so far away that OpenCV's integers would overflow; and where
    they are drawn."""
    with np.errstate(invalid="ignore"):
        seen = (np.abs(keypoints) < 20 * max(canvas.shape)).all(axis=1)
    return seen, subpixel(np.where(seen[:, None], keypoints, 0.0))
