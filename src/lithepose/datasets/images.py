"""Picture files as the data sets' annotations count their pixels, and the people marked in them.

`read_image` gives what a file stores, 8-bit RGB, whatever the file is. Orientation marks (EXIF) are
not followed: the annotations of COCO and MPII count the pixels as stored, as the data sets' own
tools and HRNet read them. `docs/data/coco.md` says more.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.skeletons import skeleton_named

# Three bytes each, and as much again while they are decoded: 1.2 GB.
LARGEST_PIXELS = 200_000_000
# Shown where a picture is transparent, as viewers and browsers do.
BACKGROUND = 255


@dataclass(frozen=True, kw_only=True)
class People:
    """People in pictures, N of them: where they are and, where it is known, their joints.

    Coordinates are 0-based pixels: the centre of a picture's first pixel is (0, 0).

    Attributes:
        skeleton: their joint set, a key of `lithepose.skeletons.SKELETONS`.
        folder: where the pictures are.
        files: N names of pictures in it.
        picture_ids: (N,) the pictures' numbers in the data set.
        picture_sizes: (N, 2) width and height as the annotations say; 0 where they do not.
        boxes: (N, 4) left, top, width, height: what to crop around, without padding.
        scores: (N,) how sure the boxes are; 1 for annotated ones.
        joints: (N, J, 2) pixels, nan where not known.
        visible: (N, J) whether a joint is annotated, hidden or not.
    """

    skeleton: str
    folder: Path
    files: tuple[str, ...]
    picture_ids: NDArray[np.int64]
    picture_sizes: NDArray[np.int64]
    boxes: Floats
    scores: Floats
    joints: Floats
    visible: NDArray[np.bool_]

    def __post_init__(self) -> None:
        people, joints = len(self.files), len(skeleton_named(self.skeleton))
        shapes = {
            "picture_ids": (people,),
            "picture_sizes": (people, 2),
            "boxes": (people, 4),
            "scores": (people,),
            "joints": (people, joints, 2),
            "visible": (people, joints),
        }
        for name, shape in shapes.items():
            if (found := getattr(self, name).shape) != shape:
                raise ValueError(f"{name} of {people} people should be {shape}, not {found}")

    def __len__(self) -> int:
        return len(self.files)

    def picture(self, index: int) -> NDArray[np.uint8]:
        """The picture of one person, (H, W, 3) RGB.

        Raises:
            FileNotFoundError: it is not in the folder.
            ValueError: it cannot be read, or has another size than the annotations say.
        """
        path = self.folder / self.files[index]
        image = read_image(path)
        width, height = self.picture_sizes[index]
        if width and image.shape[:2] != (height, width):
            raise ValueError(
                f"{path}: is {image.shape[1]} x {image.shape[0]} pixels, but the annotations were "
                f"made on {width} x {height}: get the original file, not a resized or turned one"
            )
        return image


def read_image(path: str | Path) -> NDArray[np.uint8]:
    """Read a picture as it is stored: (H, W, 3) RGB of 8 bits.

    Grey becomes RGB, 16 bits become 8, CMYK is converted, transparency is laid on white, and
    orientation marks are ignored.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is empty, cut off, too large, or no picture that can be read.
    """
    path = Path(path)
    try:
        content = path.read_bytes()
    except FileNotFoundError:
        raise FileNotFoundError(f"no picture at {path}: check the folder of the pictures") from None
    except IsADirectoryError:
        raise ValueError(f"{path}: is a folder, not a picture") from None
    if not content:
        raise ValueError(f"{path}: is empty: get it again")
    stated, whole = _look_at(content)
    if not whole:
        raise ValueError(f"{path}: is cut off: get it again")
    if stated is not None and stated[0] * stated[1] > LARGEST_PIXELS:
        raise ValueError(
            f"{path}: {stated[0]} x {stated[1]} pixels are more than {LARGEST_PIXELS / 1e6:.0f} "
            "million: shrink it first"
        )
    try:
        stored = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error as error:
        raise ValueError(f"{path}: cannot be decoded ({error.err or error})") from error
    if stored is None:
        raise ValueError(
            f"{path}: is no picture that can be read (JPEG, PNG, WebP, BMP, TIFF), or is damaged"
        )
    return _as_rgb(stored, path)


def _as_rgb(stored: NDArray[Any], path: Path) -> NDArray[np.uint8]:
    """What OpenCV decoded, BGR of some depth, with alpha or grey, as RGB of 8 bits."""
    if stored.dtype == np.uint16:
        stored = ((stored.astype(np.uint32) * 255 + 32767) // 65535).astype(np.uint8)
    if stored.dtype != np.uint8:
        raise ValueError(f"{path}: holds {stored.dtype} values, not 8 or 16 bits: convert it first")
    if stored.ndim == 2:
        return np.repeat(stored[..., None], 3, axis=2)
    if stored.shape[2] == 4:
        alpha = stored[..., 3:].astype(np.float32) / 255
        stored = np.rint(alpha * stored[..., :3] + (1 - alpha) * BACKGROUND).astype(np.uint8)
    return np.asarray(cv2.cvtColor(stored, cv2.COLOR_BGR2RGB), np.uint8)


def _look_at(content: bytes) -> tuple[tuple[int, int] | None, bool]:
    """Width and height that a JPEG or PNG states, and whether its end is there.

    OpenCV fills what a JPEG lacks with grey without a word, so that must be found out before. Of
    other kinds nothing is known, and the decoder has the say.
    """
    if content.startswith(b"\x89PNG\r\n\x1a\n"):
        size = struct.unpack(">II", content[16:24]) if len(content) >= 24 else None
        return size, b"IEND" in content
    if not content.startswith(b"\xff\xd8"):
        return None, True
    place, size = 2, None
    while place + 9 <= len(content):
        if content[place] != 0xFF:
            break  # damaged: the decoder finds out how badly
        marker, length = content[place + 1], int.from_bytes(content[place + 2 : place + 4], "big")
        if marker == 0xFF:  # a filling byte
            place += 1
            continue
        # Start of frame, of any kind but tables (C4, C8, CC).
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            height, width = struct.unpack(">HH", content[place + 5 : place + 9])
            size = (width, height)
        if marker == 0xDA:  # the picture itself; the end mark cannot occur inside it
            return size, b"\xff\xd9" in content[place + 2 + length :]
        place += 2 + length
    return size, False
