"""Clips made by the tests: a grey level per frame tells which frame came out, and a bright corner
tells which way up it is."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from lithepose.video import Frame, open_video

WIDTH, HEIGHT, COUNT, FPS = 64, 48, 20, 20


def make_image(index: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Grey 10, 20, 30 ... by index, with a red block in the top-left corner."""
    image = np.full((height, width, 3), 10 + 10 * (index % 24), np.uint8)
    image[:16, :16] = (255, 0, 0)
    return image


def index_of(image: np.ndarray) -> int:
    """The index that `make_image` painted, read from the centre of the image."""
    height, width = image.shape[:2]
    centre = image[height // 2 - 4 : height // 2 + 4, width // 2 - 4 : width // 2 + 4]
    return round((float(centre.mean()) - 10) / 10)


def is_red(patch: np.ndarray) -> bool:
    red, green, blue = patch.reshape(-1, 3).mean(axis=0)
    return bool(red > 200 and green < 60 and blue < 60)


def indices(frames: Iterable[Frame]) -> list[int]:
    return [index_of(frame.image) for frame in frames]


def make_clip(
    path: Path,
    *,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    stamps: Sequence[int] | None = None,
    aspect: Fraction | None = None,
    count: int = COUNT,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    notes: dict[str, str] | None = None,
) -> Path:
    """A clip at 20 frames per second; `stamps` replaces the times, in steps of 1/20 s."""
    with av.open(str(path), "w", options=container_options or {}) as container:
        container.metadata.update(notes or {})
        stream = cast(VideoStream, container.add_stream(codec, rate=FPS))
        stream.width, stream.height = size
        stream.pix_fmt = pixels
        stream.codec_context.options = options or {}
        if aspect is not None:
            stream.codec_context.sample_aspect_ratio = aspect
        for index in range(count):
            frame = av.VideoFrame.from_ndarray(make_image(index, *size), "rgb24")
            frame.pts = index if stamps is None else stamps[index]
            frame.time_base = Fraction(1, FPS)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def read_all(path: Path, **options) -> list[Frame]:
    with open_video(path, **options) as reader:
        return list(reader)


@pytest.fixture
def clips() -> SimpleNamespace:
    """The functions above, and what they make if not told otherwise."""
    return SimpleNamespace(
        WIDTH=WIDTH,
        HEIGHT=HEIGHT,
        COUNT=COUNT,
        FPS=FPS,
        image=make_image,
        index_of=index_of,
        indices=indices,
        is_red=is_red,
        make=make_clip,
        read=read_all,
    )


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")
