"""Reading a video file or a folder of images as timed RGB frames.

`open_video` shows a clip the way a player does: upright (rotation and mirror flags applied), with
square pixels, inside its edit list, every frame at its own time stamp. Decoding runs in a thread a
few frames ahead of the caller, so that it overlaps with the work done on each frame, and memory
stays constant however long the clip is.

What happens to damaged clips:

- A frame that cannot be decoded is left out. The others keep their own time stamps, so the timing
  stays right and the hole shows as a longer step in `Frame.time_s`.
- A file that breaks off gives the frames before the break.
- Both end in one `VideoWarning` with the counts, once the last frame was handed out.
"""

from __future__ import annotations

import math
import os
import threading
import warnings
import weakref
from collections import deque
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lithepose.cameras import focal_of_35mm
from lithepose.video.decode import VideoFile
from lithepose.video.frames import Frame, TimedImage, VideoError, VideoWarning
from lithepose.video.images import ImageFolder

_THREAD = "lithepose-decode"


def open_video(
    path: str | os.PathLike[str],
    *,
    start_s: float | None = None,
    end_s: float | None = None,
    fps: float | None = None,
    prefetch: int = 4,
) -> VideoReader:
    """Open a video file, or a folder of images, for one pass over its frames.

    The first frame is decoded at once, so a clip that cannot be read fails here and not later.

    Args:
        path: a video file, or a folder whose *.png, *.jpg and *.jpeg files are the frames, in the
            order of their names (numbers count as numbers: `2.png` comes before `10.png`).
        start_s: leave out the frames shown before this time, in seconds of the clip (whose first
            frame is at 0).
        end_s: leave out the frames shown at this time or later.
        fps: frames per second of an image folder; a video file brings its own time stamps.
        prefetch: how many decoded frames may wait for the caller; 0 decodes in the caller's thread.

    Raises:
        FileNotFoundError: there is nothing at `path`.
        VideoError: it holds no frame that can be decoded, or none between `start_s` and `end_s`.
    """
    path = Path(path)
    if prefetch < 0:
        raise ValueError(f"prefetch is a number of frames, 0 or more, not {prefetch}")
    start, end = _checked_range(start_s, end_s)
    if path.is_dir():
        if fps is None:
            raise VideoError(
                f"{path} is a folder of images, which has no frame rate: give fps, the number of "
                "images per second"
            )
        return VideoReader(ImageFolder(path, fps, start, end), prefetch)
    if not path.exists():
        raise FileNotFoundError(f"no video at {path}: check the path (now in {Path.cwd()})")
    if fps is not None:
        raise ValueError(
            f"fps is for folders of images, and {path} is a file with time stamps of its own: "
            "leave fps out"
        )
    return VideoReader(VideoFile(path, start, end), prefetch)


def _checked_range(start_s: float | None, end_s: float | None) -> tuple[float, float]:
    start = 0.0 if start_s is None else float(start_s)
    end = math.inf if end_s is None else float(end_s)
    if not (math.isfinite(start) and start >= 0) or math.isnan(end):
        raise VideoError(f"start and end are seconds from 0 up, not {start_s} and {end_s}")
    if end <= start:
        raise VideoError(f"the end, {end:g} s, must come after the start, {start:g} s")
    return start, end


class VideoReader:
    """The frames of a clip, once, in order; made by `open_video`.

    Use it as a context manager and iterate over it. Leaving the `with` block, or the loop, early
    stops the decoding thread and closes the file.

    Attributes:
        path: where the clip came from.
        size: (width, height) of every frame in pixels, upright.
        fps: mean frame rate the file states, in frames per second.
        frame_count: about how many frames there will be; None where the file does not say. Only
            counting the frames gives the exact number.
        duration_s: about how long the frames handed out last; None where the file does not say.
        offset_s: time of the first frame handed out, in seconds of the whole clip.
        focal_px: focal length in pixels that the camera wrote into the file; None without one.
        problem: what could not be decoded, known after the last frame; None if nothing was lost.
    """

    def __init__(self, source: VideoFile | ImageFolder, prefetch: int) -> None:
        self._source = source
        self._prefetch = prefetch
        # Weak, because the generator refers to the reader: a cycle would leave stopping the thread
        # of a forgotten reader to the garbage collector, which may run in that very thread.
        self._frames: weakref.ref[Generator[Frame, None, None]] | None = None
        self._closed = False
        self.path = source.path
        self._images = source.images()
        # Kept until the iteration starts: it gives the size and proves that the clip decodes.
        self._first = next(self._images)
        height, width = self._first.image.shape[:2]
        self.size: tuple[int, int] = (width, height)
        self.fps: float = source.fps
        self.offset_s: float = self._first.time_s
        focal = source.focal_35mm
        self.focal_px: float | None = None if focal is None else focal_of_35mm(focal, self.size)
        self.problem: str | None = None
        self.duration_s: float | None = None
        self.frame_count: int | None = None
        if source.duration_s is not None:
            end = min(source.end_s, source.duration_s)
            self.duration_s = max(end - self.offset_s, 1 / source.fps)
            self.frame_count = max(1, round(self.duration_s * source.fps))

    def __iter__(self) -> Iterator[Frame]:
        if self._closed:
            raise VideoError(f"{self.path} was closed: open it again to read it")
        if self._frames is not None:
            raise VideoError(f"{self.path} is being read already: open it again for a second pass")
        frames = self._run()
        self._frames = weakref.ref(frames)
        return frames

    def _run(self) -> Generator[Frame, None, None]:
        images = _ahead(self._images, self._prefetch) if self._prefetch else self._images
        started = False
        try:
            yield Frame(0, 0.0, self._first.image)
            started = True
            for index, (time_s, image) in enumerate(images, start=1):
                yield Frame(index, time_s - self.offset_s, image)
        finally:
            self._closed = True
            images.close()
            if not started:  # else the thread has done so
                self._images.close()
        self.problem = self._source.problem()
        if self.problem is not None:
            warnings.warn(self.problem, VideoWarning, stacklevel=2)

    def close(self) -> None:
        """Stop decoding and close the file; closing twice does nothing."""
        self._closed = True
        frames = None if self._frames is None else self._frames()
        if frames is not None:
            frames.close()
        self._images.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ahead(
    items: Generator[TimedImage, None, None], depth: int
) -> Generator[TimedImage, None, None]:
    """Run `items` in a thread, at most `depth` ahead of the caller; its errors arrive in order."""
    pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix=_THREAD)
    waiting = deque(pool.submit(next, items, None) for _ in range(depth))
    try:
        while (item := waiting.popleft().result()) is not None:
            waiting.append(pool.submit(next, items, None))
            yield item
    finally:
        # The garbage collector may bring us here in the thread itself, which cannot wait for its
        # own end.
        outside = not threading.current_thread().name.startswith(_THREAD)
        pool.shutdown(wait=outside, cancel_futures=True)
        if outside:
            items.close()
