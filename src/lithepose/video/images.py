"""Folders of images as clips."""

from __future__ import annotations

import logging
import math
from collections.abc import Generator
from pathlib import Path

import numpy as np

from lithepose.files import natural_order
from lithepose.poses import LEAST_FPS
from lithepose.video.frames import SAME_TIME_S, TimedImage, VideoError

logger = logging.getLogger(__name__)

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")


class ImageFolder:
    """The images of a folder as frames at a fixed rate."""

    focal_35mm: float | None = None

    def __init__(self, path: Path, fps: float, start_s: float, end_s: float) -> None:
        if not (math.isfinite(fps) and fps >= LEAST_FPS):
            raise VideoError(f"fps is a number of images per second above 0, not {fps}")
        self.path = path
        self.fps = float(fps)
        self.end_s = end_s
        self.broken = 0
        self.shown = 0
        files = sorted(
            (file for file in path.iterdir() if file.suffix.lower() in IMAGE_SUFFIXES),
            key=lambda file: natural_order(file.name),
        )
        if not files:
            raise VideoError(
                f"{path} is a folder without images ({', '.join(IMAGE_SUFFIXES)}): give a video "
                "file or a folder of images"
            )
        self.duration_s = len(files) / self.fps
        times = ((index / self.fps, file) for index, file in enumerate(files))
        self._files = [
            (time_s, file)
            for time_s, file in times
            if start_s - SAME_TIME_S <= time_s < end_s - SAME_TIME_S
        ]
        if not self._files:
            raise VideoError(
                f"no image of {path} lies between {start_s:g} s and {end_s:g} s: its {len(files)} "
                f"images last {self.duration_s:g} s at {fps:g} per second"
            )

    def problem(self) -> str | None:
        """What was lost, for the user; None if nothing was. Complete after the last image."""
        if not self.broken:
            return None
        return f"{self.path}: {self.shown} images were read, {self.broken} damaged left out"

    def images(self) -> Generator[TimedImage, None, None]:
        """The images of the range.

        Raises:
            VideoError: none can be read, or one has another size than those before it.
        """
        import cv2

        first = None
        for time_s, file in self._files:
            # Not cv2.imread, which cannot open names outside the code page on Windows.
            data = np.frombuffer(file.read_bytes(), np.uint8)
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if bgr is None:
                logger.debug("%s cannot be decoded", file)
                self.broken += 1
                continue
            size = f"{bgr.shape[1]} x {bgr.shape[0]}"
            first = first or size
            if size != first:
                raise VideoError(
                    f"{file} measures {size} pixels, the images before it {first}: one folder is "
                    "one clip of one size"
                )
            self.shown += 1
            yield TimedImage(time_s, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))
        if not self.shown:
            raise VideoError(f"none of the {len(self._files)} images of {self.path} can be read")
