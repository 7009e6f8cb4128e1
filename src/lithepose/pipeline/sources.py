"""What is lifted beside files of video and keypoints: frames and keypoints in memory."""

from __future__ import annotations

import itertools
import math
import os
from collections.abc import Iterable, Iterator

import numpy as np

from lithepose.arrays import Floats, Image
from lithepose.pipeline.options import LiftOptions
from lithepose.poses import LEAST_FPS, Track2D
from lithepose.skeletons import skeleton_named
from lithepose.video import Frame, VideoReader, open_video

Frames = Image | Iterable[Image]  # (T, H, W, 3) RGB, or that many of (H, W, 3)
Source = str | os.PathLike[str] | Frames


def open_clip(source: Source, options: LiftOptions) -> VideoReader | MemoryReader:
    """The frames of a video, a folder of images, an array or an iterator.

    Raises:
        ValueError: they cannot be read as asked.
    """
    start, end = options.start, options.end
    if isinstance(source, str | os.PathLike):
        return open_video(source, start_s=start, end_s=end, fps=options.fps)
    return MemoryReader(source, fps=options.fps, start_s=start or 0.0, end_s=end)


class MemoryReader:
    """Frames that somebody else decoded, once, in order, with what `VideoReader` tells of a clip.

    Args:
        frames: (T, H, W, 3) uint8 RGB, or (H, W, 3) one after the other; an iterator is read as far
            as `end_s`, and no more than one frame ahead.
        fps: frames per second.
        start_s, end_s: leave out the frames before, and those from then on.

    Raises:
        ValueError: no rate, no frame in the range, or a frame that is no picture.
    """

    focal_px = None
    problem = None

    def __init__(
        self, frames: Frames, *, fps: float | None, start_s: float, end_s: float | None
    ) -> None:
        if fps is None or not (math.isfinite(fps) and fps >= LEAST_FPS):
            raise ValueError(f"fps is {fps}: give how many of the frames are a second")
        self.fps = float(fps)
        # The small part of a step is for times that were rounded.
        first = max(0, math.ceil(start_s * self.fps - 1e-6))
        last = None if end_s is None else max(0, math.ceil(end_s * self.fps - 1e-6))
        if last is not None and last <= first:
            raise ValueError(f"no frame lies between {start_s:g} s and {end_s:g} s")
        self.frame_count = None
        if isinstance(frames, np.ndarray):
            frames = frames[first:last] if frames.ndim == 4 else frames[None]
            self.frame_count = len(frames)
            self._frames: Iterator[Image] = iter(frames)
        else:
            self._frames = itertools.islice(frames, first, last)
        opening = next(self._frames, None)
        if opening is None:
            raise ValueError("there is no frame to lift: the frames end before the start")
        _check_frame(opening, None)
        self._frames = itertools.chain([opening], self._frames)
        self.size: tuple[int, int] = opening.shape[1], opening.shape[0]

    def __iter__(self) -> Iterator[Frame]:
        for index, image in enumerate(self._frames):
            _check_frame(image, self.size)
            yield Frame(index, index / self.fps, image)

    def __enter__(self) -> MemoryReader:
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _check_frame(image: Image, size: tuple[int, int] | None) -> None:
    shape, kind = np.shape(image), getattr(image, "dtype", type(image).__name__)
    if len(shape) != 3 or shape[2] != 3 or kind != np.uint8 or min(shape) < 1:
        raise ValueError(
            f"a frame is {shape} {kind}: give (T, H, W, 3) or an iterator of (H, W, 3), uint8 RGB; "
            "keypoints go to lift_keypoints"
        )
    if size not in (None, (shape[1], shape[0])):
        raise ValueError(f"a frame is {shape[1]}x{shape[0]}, those before are {size[0]}x{size[1]}")


def track_from_arrays(
    keypoints: Floats,
    *,
    image_size: tuple[int, int],
    fps: float,
    skeleton: str = "h36m17",
    confidence: Floats | None = None,
) -> Track2D:
    """A `Track2D` from plain arrays, checked.

    Raises:
        ValueError: shapes, sizes or rate cannot be right, or every joint is missing.
    """
    joints = len(skeleton_named(skeleton))
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.ndim == 3 and keypoints.shape[-1] == 3 and confidence is None:
        keypoints, confidence = keypoints[..., :2], keypoints[..., 2]
    if keypoints.ndim != 3 or keypoints.shape[-1] != 2 or len(keypoints) == 0:
        raise ValueError(
            f"keypoints have shape {keypoints.shape}: give (T, J, 2) pixels, or (T, J, 3) with "
            "confidence, T at least 1"
        )
    if keypoints.shape[1] != joints:
        raise ValueError(
            f"keypoints have {keypoints.shape[1]} joints, {skeleton} has {joints}: give the "
            "skeleton that they are of"
        )
    if not np.isfinite(fps) or fps < LEAST_FPS:
        raise ValueError(f"fps is {fps}: give the clip's frames per second")
    if len(image_size) != 2 or not all(np.isfinite(side) and side >= 1 for side in image_size):
        raise ValueError(f"image_size is {image_size}: give (width, height) in pixels")
    width, height = image_size
    seen = np.isfinite(keypoints).all(-1)
    if not seen.any():
        raise ValueError("every keypoint is nan: there is nothing to lift")
    given = np.array(seen if confidence is None else confidence, dtype=np.float64)
    if given.shape != keypoints.shape[:2]:
        raise ValueError(
            f"confidence has shape {given.shape}: give one value per joint, {keypoints.shape[:2]}"
        )
    sure = np.where(seen & np.isfinite(given), np.clip(given, 0, 1), 0)
    return Track2D(
        person=1,
        keypoints=np.where(sure[..., None] > 0, keypoints, np.nan),
        confidence=sure,
        skeleton=skeleton,
        time_s=np.arange(len(keypoints)) / fps,
        fps=float(fps),
        image_size=(int(width), int(height)),
    )
