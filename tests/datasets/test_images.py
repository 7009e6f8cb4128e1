"""Picture files of every kind read the right way, and people in pictures."""

from __future__ import annotations

import base64
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lithepose.datasets.images import People, read_image

# 8 x 8 pixels of red 200, green 100, blue 50 as an Adobe CMYK JPEG.
CMYK = base64.b64decode(
    "/9j/7gAOQWRvYmUAZAAAAAAA/9sAQwAIBgYHBgUIBwcHCQkICgwUDQwLCwwZEhMPFB0aHx4dGhwcICQuJyAiLCMcHC"
    "g3KSwwMTQ0NB8nOT04MjwuMzQy/8AAFAgACAAIBEMRAE0RAFkRAEsRAP/EABUAAQEAAAAAAAAAAAAAAAAAAAcF/8QA"
    "FBABAAAAAAAAAAAAAAAAAAAAAP/aAA4EQwBNAFkASwAAPwBIQxif3//Z"
)


@pytest.fixture
def picture() -> np.ndarray:
    """20 x 30 RGB: the upper half brown, the lower half green."""
    image = np.zeros((20, 30, 3), np.uint8)
    image[:10], image[10:] = (200, 100, 50), (20, 220, 90)
    return image


def stored(path: Path, values: np.ndarray, *options: int) -> Path:
    """Write RGB, RGBA or grey values as they are."""
    if values.ndim == 3:
        values = values[..., [2, 1, 0, *range(3, values.shape[2])]]
    assert cv2.imwrite(str(path), values, list(options))
    return path


def with_orientation(path: Path, orientation: int) -> Path:
    """Put an EXIF mark into a JPEG that says how it is to be turned."""
    entry = struct.pack(">HHIHH", 0x0112, 3, 1, orientation, 0)
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 1) + entry + bytes(4)
    content = path.read_bytes()
    segment = b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif
    path.write_bytes(content[:2] + segment + content[2:])
    return path


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "bmp", "tiff"])
def test_common_kinds_of_files_are_rgb(suffix: str, picture, tmp_path: Path):
    read = read_image(stored(tmp_path / f"a.{suffix}", picture))
    assert read.shape == (20, 30, 3)
    assert read.dtype == np.uint8
    assert np.abs(read[[3, 16]].astype(int) - picture[[3, 16]]).max() < 6


def test_grey_becomes_rgb_and_16_bits_become_8(picture, tmp_path: Path):
    grey = read_image(stored(tmp_path / "grey.png", picture[..., 0]))
    np.testing.assert_array_equal(grey, np.repeat(picture[..., :1], 3, 2))
    deep = read_image(stored(tmp_path / "deep.png", picture.astype(np.uint16) * 257))
    np.testing.assert_array_equal(deep, picture)
    deep = read_image(stored(tmp_path / "deep.png", np.full((4, 4), 65535, np.uint16)))
    assert (deep == 255).all()


def test_transparency_is_laid_on_white(picture, tmp_path: Path):
    alpha = np.full((20, 30, 1), 255, np.uint8)
    alpha[:, :10], alpha[:, 10:20] = 0, 51
    read = read_image(stored(tmp_path / "a.png", np.concatenate([picture, alpha], 2)))
    assert read[3, 3].tolist() == [255, 255, 255]
    assert read[3, 15].tolist() == [244, 224, 214]  # a fifth of the colour
    assert read[3, 25].tolist() == [200, 100, 50]


def test_cmyk_is_converted(tmp_path: Path):
    (tmp_path / "a.jpg").write_bytes(CMYK)
    assert np.abs(read_image(tmp_path / "a.jpg").astype(int) - [200, 100, 50]).max() < 6


@pytest.mark.parametrize("orientation", [3, 6, 8])
def test_orientation_marks_are_not_followed(orientation: int, picture, tmp_path: Path):
    plain = read_image(stored(tmp_path / "a.jpg", picture))
    marked = read_image(with_orientation(tmp_path / "a.jpg", orientation))
    np.testing.assert_array_equal(marked, plain)
    assert cv2.imread(str(tmp_path / "a.jpg")).shape == (
        (20, 30, 3) if orientation == 3 else (30, 20, 3)
    )  # the mark is a real one


def test_one_pixel_is_a_picture(tmp_path: Path):
    read = read_image(stored(tmp_path / "a.png", np.full((1, 1, 3), 9, np.uint8)))
    assert read.tolist() == [[[9, 9, 9]]]


@pytest.mark.parametrize("keep", [0.3, 0.6, 0.9, 0.99])
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_cut_off_files_are_refused_at_any_place(suffix: str, keep: float, tmp_path: Path):
    noise = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    path = stored(tmp_path / f"a.{suffix}", noise)
    if suffix == "jpg":
        with_orientation(path, 6)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content))])
    with pytest.raises(ValueError, match=r"a\.\w+: is (cut off|no picture that can be read)"):
        read_image(path)


def test_what_is_no_picture_is_said_so(tmp_path: Path):
    path = tmp_path / "a.jpg"
    with pytest.raises(FileNotFoundError, match="check the folder"):
        read_image(path)
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is empty"):
        read_image(path)
    path.write_bytes(b"version https://large-file-pointer")
    with pytest.raises(ValueError, match="no picture that can be read"):
        read_image(path)
    with pytest.raises(ValueError, match="is a folder"):
        read_image(tmp_path)
    stored(tmp_path / "a.tiff", np.zeros((4, 4), np.float32))
    with pytest.raises(ValueError, match="float32 values, not 8 or 16 bits"):
        read_image(tmp_path / "a.tiff")


def test_pictures_too_large_for_memory_are_refused_before_they_are_decoded(tmp_path: Path):
    def chunk(kind: bytes, content: bytes) -> bytes:
        end = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + end

    header = struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)
    path = tmp_path / "a.png"
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)
    with pytest.raises(ValueError, match="60000 x 60000 pixels are more than 200 million"):
        read_image(path)


def people(folder: Path, **changes: Any) -> People:
    values = {
        "skeleton": "coco17",
        "folder": folder,
        "files": ("a.png",),
        "picture_ids": np.array([1]),
        "picture_sizes": np.array([[30, 20]]),
        "boxes": np.array([[0.0, 0, 10, 10]]),
        "scores": np.ones(1),
        "joints": np.zeros((1, 17, 2)),
        "visible": np.ones((1, 17), bool),
    }
    return People(**(values | changes))


def test_a_picture_of_another_size_than_annotated_is_refused(picture, tmp_path: Path):
    stored(tmp_path / "a.png", picture)
    assert people(tmp_path).picture(0).shape == (20, 30, 3)
    assert people(tmp_path, picture_sizes=np.zeros((1, 2), int)).picture(0).shape == (20, 30, 3)
    turned = people(tmp_path, picture_sizes=np.array([[20, 30]]))
    with pytest.raises(ValueError, match="is 30 x 20 pixels, but the annotations were made on 20"):
        turned.picture(0)


def test_people_of_uneven_numbers_are_refused(tmp_path: Path):
    with pytest.raises(ValueError, match=r"boxes of 1 people should be \(1, 4\)"):
        people(tmp_path, boxes=np.zeros((2, 4)))
    with pytest.raises(ValueError, match=r"joints of 1 people should be \(1, 17, 2\)"):
        people(tmp_path, joints=np.zeros((1, 16, 2)))
