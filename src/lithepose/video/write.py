"""Frames to a video file, complete or absent."""

from __future__ import annotations

import contextlib
import logging
import math
import os
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from lithepose.arrays import Image
from lithepose.files import atomic_write
from lithepose.video.frames import VideoError

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Encoder:
    name: str  # as FFmpeg calls it
    options: dict[str, str]
    bits_per_pixel: float | None = None  # for an encoder without constant quality
    compact: dict[str, str] = field(default_factory=dict)  # instead, for less time, fewer bytes


# In order of preference: H.264 plays everywhere, the others come with FFmpeg without GPL parts.
_ENCODERS = (
    _Encoder(
        "libx264",
        # Key frames are close, so where each kind of frame goes is worth no search.
        {
            "preset": "superfast",
            "crf": "23",
            "x264-params": "b-adapt=0:scenecut=0:weightp=0:rc-lookahead=0",
        },
        compact={"crf": "28"},
    ),
    _Encoder("libsvtav1", {"preset": "10", "crf": "35"}, compact={"preset": "12", "crf": "45"}),
    _Encoder(
        "libvpx-vp9",
        {"deadline": "realtime", "cpu-used": "8", "crf": "33", "b:v": "0"},
        compact={"crf": "42"},
    ),
    _Encoder("mpeg4", {}, bits_per_pixel=0.15),
)
_CONTAINERS = {".mp4": "mp4", ".m4v": "mp4", ".mov": "mov", ".mkv": "matroska"}
# Frame rates of 24, 25, 29.97, 30, 50, 59.94, 60 and 120 are whole numbers of ticks. MPEG-4 part 2
# allows no more than 65535 per second.
_TICKS_PER_SECOND = 60_000
# MP4 counts the ticks from when a frame is decoded to when it is shown in 31 bits, and there may be
# a few steps between.
LONGEST_STEP_S = 5400
# Key frames this close make jumping in a player feel immediate.
_KEY_FRAME_EVERY = 12
# What FFmpeg calls BT.709 and BT.601. By the matrix of BT.601 OpenCV converts in a third of the
# time, and players that ignore what a video says of its colours take it where lines are few.
_BT709, _BT601 = 1, 6


def _first_encoder() -> _Encoder:
    from av.codec.codec import Codec, UnknownCodecError

    for encoder in _ENCODERS:
        try:
            Codec(encoder.name, "w")
        except UnknownCodecError:
            continue
        if encoder is not _ENCODERS[0]:
            logger.warning("this build of PyAV has no libx264: writing with %s", encoder.name)
        return encoder
    names = ", ".join(encoder.name for encoder in _ENCODERS)
    raise VideoError(
        f"this build of PyAV has no video encoder of {names}: install PyAV's own wheel"
    )


class VideoWriter:
    """Write RGB frames to a video file, at any time stamps; complete or absent.

    Frames go to a hidden file in the same folder, which takes the name `path` (replacing what was
    there) when the `with` block ends well and is removed when it ends with an error or Ctrl-C.

    H.264 (yuv420p, BT.709 by the matrix of BT.601, ready to stream) where PyAV brings libx264, else
    AV1, VP9 or MPEG-4, with a warning in the log.

    Args:
        path: *.mp4, *.m4v, *.mov or *.mkv.
        size: (width, height) in pixels of the frames to come. H.264 needs even numbers: an odd
            side is made even by repeating the last row or column.
        fps: frame rate, exact for frames written without a time, about right for the others.
        compact: take less time and, for filmed pictures, fewer bytes; fine texture suffers.

    Raises:
        ValueError: another suffix, or a size or rate that makes no video.
        OSError: the folder is missing or may not be written, or the disk is full.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        size: tuple[int, int],
        fps: float | Fraction,
        compact: bool = False,
    ) -> None:
        import av

        self.path = Path(path)
        self.size = size
        self.fps = float(fps)
        if self.path.suffix.lower() not in _CONTAINERS:
            raise ValueError(
                f"cannot write a video to {self.path}: its name must end in one of "
                f"{', '.join(_CONTAINERS)}"
            )
        if min(size) < 1 or not (math.isfinite(self.fps) and 0 < self.fps <= 1000):
            raise ValueError(f"no video has {size[0]} x {size[1]} pixels and {fps} frames a second")
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"no folder {self.path.parent} to write {self.path.name} to")
        if self.path.is_dir():
            raise IsADirectoryError(f"{self.path} is a folder: give the name of a file")
        self._last_tick: int | None = None
        self._left_out = 0  # ticks
        self._open = True
        with contextlib.ExitStack() as stack:
            temporary = stack.enter_context(atomic_write(self.path))
            container = _CONTAINERS[self.path.suffix.lower()]
            options = {} if container == "matroska" else {"movflags": "+faststart"}
            self._container: OutputContainer = av.open(
                f"file:{temporary}", "w", format=container, options=options
            )
            stack.callback(self._release)
            self._stream = self._add_stream(compact)
            self._file = stack.pop_all()

    def _add_stream(self, compact: bool) -> VideoStream:
        encoder = _first_encoder()
        rate = max(Fraction(self.fps).limit_denominator(1001), Fraction(1, 1001))
        stream = cast("VideoStream", self._container.add_stream(encoder.name, rate=rate))
        context = stream.codec_context
        stream.width = self.size[0] + self.size[0] % 2
        stream.height = self.size[1] + self.size[1] % 2
        stream.pix_fmt = "yuv420p"
        context.gop_size = _KEY_FRAME_EVERY
        context.time_base = Fraction(1, _TICKS_PER_SECOND)
        context.options = encoder.options | (encoder.compact if compact else {})
        # PyAV asks for 1 Mbit/s by itself, which contradicts constant quality.
        bits = (encoder.bits_per_pixel or 0) * stream.width * stream.height
        stream.bit_rate = round(bits * self.fps)
        context.color_primaries = context.color_trc = _BT709
        context.colorspace = _BT601
        return stream

    def write(self, image: Image, time_s: float | None = None) -> None:
        """Add a frame.

        Args:
            image: (H, W, 3) RGB, of the size given to the writer.
            time_s: when it is shown, in seconds, later than the frame before; None: one step of
                `fps` after the frame before. Of a step longer than `LONGEST_STEP_S` the rest is
                left out.

        Raises:
            ValueError: the image has another size or type, or the time does not move on.
            OSError: the disk is full or gone.
        """
        import av
        import cv2

        if not self._open:
            raise ValueError(f"{self.path} is finished: no more frames can be added")
        width, height = self.size
        if image.shape != (height, width, 3) or image.dtype != np.uint8:
            raise ValueError(
                f"a frame must be ({height}, {width}, 3) uint8, not {image.shape} {image.dtype}"
            )
        tick = self._tick(time_s)
        if width % 2 or height % 2:
            image = np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        planes = cv2.cvtColor(image, cv2.COLOR_RGB2YUV_I420)
        frame = av.VideoFrame.from_ndarray(np.asarray(planes, np.uint8), "yuv420p")
        frame.colorspace = _BT601
        frame.pts = tick
        frame.time_base = Fraction(1, _TICKS_PER_SECOND)
        self._encode(frame)
        self._last_tick = tick

    def _tick(self, time_s: float | None) -> int:
        last = self._last_tick
        if time_s is None:
            step = min(_TICKS_PER_SECOND / self.fps, _TICKS_PER_SECOND * LONGEST_STEP_S)
            return 0 if last is None else round(last + step)
        if not math.isfinite(time_s) or time_s < 0:
            raise ValueError(f"a frame is shown at a time of 0 s or later, not at {time_s}")
        tick = round(time_s * _TICKS_PER_SECOND) - self._left_out
        most = (last or 0) + _TICKS_PER_SECOND * LONGEST_STEP_S
        if tick > most:
            self._left_out += tick - most
            tick = most
        if last is not None and tick <= last:
            raise ValueError(
                f"frames are written in the order they are shown: {time_s:.5f} s does not come "
                f"after {last / _TICKS_PER_SECOND:.5f} s"
            )
        return tick

    def close(self) -> None:
        """Finish the file and give it its name; closing twice does nothing.

        Raises:
            ValueError: no frame was written.
            OSError: the disk is full, or `path` cannot be replaced.
        """
        if not self._open:
            return
        self._open = False
        with self._file:
            if self._last_tick is None:
                raise ValueError(f"no frame was written to {self.path}: a video needs at least one")
            self._encode(None)

    def _encode(self, frame: VideoFrame | None) -> None:
        """Encode a frame, or finish the file."""
        try:
            self._container.mux(self._stream.encode(frame))
            if frame is None:
                self._container.close()
        except OSError as error:  # about the temporary file, which nobody knows
            raise OSError(error.errno, error.strerror, str(self.path)) from error

    def _release(self) -> None:
        """Let go of the temporary file: of one that goes, it is no news that it is unfinished."""
        from av.error import FFmpegError

        with contextlib.suppress(FFmpegError, OSError):
            self._container.close()

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, *raised: Any) -> None:
        if kind is None:
            self.close()
        elif self._open:
            self._open = False
            self._file.__exit__(kind, *raised)
