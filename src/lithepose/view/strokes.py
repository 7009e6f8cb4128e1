"""Colours, lines, discs and letters on an (H, W, 3) uint8 RGB canvas.

The person's left is orange, the right is blue, the middle is grey: a pair that stays apart under
every common kind of colour blindness, and in print.
"""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image
from lithepose.skeletons import SKELETONS, Skeleton

BODY = SKELETONS["h36m17"]  # the joints that are drawn
Colour = tuple[int, int, int]  # RGB
LEFT: Colour = (246, 154, 56)
RIGHT: Colour = (82, 168, 240)
CENTRE: Colour = (206, 211, 218)
BACKGROUND: Colour = (21, 23, 28)
GRID: Colour = (66, 71, 82)
OUTLINE: Colour = (12, 13, 16)
WHITE: Colour = (255, 255, 255)
TEXT: Colour = (226, 230, 236)
QUIET_TEXT: Colour = (150, 157, 168)
# Joints below this are drawn thin and pale: the detector guessed.
SURE = 0.5
# OpenCV takes sub-pixel positions as integers of 1/16 pixel.
SHIFT = 4
_SUBPIXELS = 1 << SHIFT


@cache
def joint_colours(skeleton: Skeleton) -> tuple[Colour, ...]:
    def colour(joint: str) -> Colour:
        if joint.startswith("left_"):
            return LEFT
        return RIGHT if joint.startswith("right_") else CENTRE

    return tuple(colour(joint) for joint in skeleton.joints)


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    red, green, blue = (
        round(one + (two - one) * share) for one, two in zip(colour, other, strict=True)
    )
    return red, green, blue


def subpixel(points: Floats) -> NDArray[np.int32]:
    # OpenCV puts pixel centres at whole numbers, Lithepose at halves.
    return np.round((np.asarray(points) - 0.5) * _SUBPIXELS).astype(np.int32)


def line(
    canvas: Image, first: NDArray[np.int32], second: NDArray[np.int32], colour: Colour, width: int
) -> None:
    start, end = (int(first[0]), int(first[1])), (int(second[0]), int(second[1]))
    cv2.line(canvas, start, end, colour, width, cv2.LINE_AA, SHIFT)


def disc(canvas: Image, centre: NDArray[np.int32], radius: float, colour: Colour) -> None:
    middle = int(centre[0]), int(centre[1])
    cv2.circle(canvas, middle, round(radius * _SUBPIXELS), colour, -1, cv2.LINE_AA, SHIFT)


@cache
def _typeface() -> cv2.FontFace | None:
    """OpenCV 5 brings a real typeface; before that there are only stroke fonts."""
    return cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def text_width(text: str, size: int) -> int:
    face = _typeface()
    if face is not None:
        return int(cv2.getTextSize((1, 1), text, (0, 0), face, size, 500)[2])
    return cv2.getTextSize(text, cv2.FONT_HERSHEY_DUPLEX, size / 30, 1)[0][0]


def write_text(
    canvas: Image, text: str, corner: tuple[int, int], size: int, colour: Colour
) -> None:
    """Write one line; `corner` is the left end of its base line, `size` its height in pixels."""
    face = _typeface()
    if face is not None:
        cv2.putText(canvas, text, corner, colour, face, size, 500)
    else:
        cv2.putText(
            canvas, text, corner, cv2.FONT_HERSHEY_DUPLEX, size / 30, colour, 1, cv2.LINE_AA
        )


def write_chip(canvas: Image, text: str, middle: tuple[float, float], size: int) -> None:
    """Write on a dark plate, centred at `middle` and kept inside the picture."""
    height, width = canvas.shape[:2]
    pad = round(0.45 * size)
    plate_width, plate_height = text_width(text, size) + 2 * pad, round(1.5 * size)
    if plate_width > width or plate_height > height:
        return
    left = int(np.clip(middle[0] - plate_width / 2, 0, width - plate_width))
    top = int(np.clip(middle[1] - plate_height / 2, 0, height - plate_height))
    plate = canvas[top : top + plate_height, left : left + plate_width]
    plate[:] = (plate.astype(np.uint16) * 3 // 10).astype(np.uint8)
    write_text(canvas, text, (left + pad, top + round(1.1 * size)), size, TEXT)
