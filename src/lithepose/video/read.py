"""Video in and out: a file or a folder of images to timed RGB frames, and frames to an MP4.

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

import contextlib
import logging
import math
import os
import queue
import re
import secrets
import struct
import threading
import warnings
import weakref
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, NamedTuple, cast

import numpy as np

from lithepose.arrays import Image
from lithepose.cameras import focal_of_35mm
from lithepose.files import natural_order
from lithepose.poses import LEAST_FPS

if TYPE_CHECKING:
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)


IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg")

# Time stamps that differ by less than this are the same moment (container clocks tick at 1/90000 s
# or slower, so nothing real is this short).
_SAME_TIME_S = 1e-6
# A step back by more than this is a restarted clock (joined recordings), not a disordered frame.
_CLOCK_RESTART_S = 1.0
# Nominal steps longer than this may come from a hole in the clip.
_LONG_STEP_S = 0.5
# Seek this much before the wanted time: frames just after a key frame can still refer to frames
# before it ("open" groups of pictures) and would come out damaged.
_SEEK_MARGIN_S = 1.0


class VideoError(ValueError):
    """A video cannot be read as asked; the message says why and what to do."""


class VideoWarning(UserWarning):
    """A video was read, but not all of it could be decoded."""


@dataclass(frozen=True)
class Frame:
    """One shown frame of a clip.

    Attributes:
        index: position among the frames handed out, from 0.
        time_s: seconds since the first frame handed out; strictly ascending.
        image: (H, W, 3) RGB, upright, square pixels.
    """

    index: int
    time_s: float
    image: Image


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
        return VideoReader(_ImageFolder(path, fps, start, end), prefetch)
    if not path.exists():
        raise FileNotFoundError(f"no video at {path}: check the path (now in {Path.cwd()})")
    if fps is not None:
        raise ValueError(
            f"fps is for folders of images, and {path} is a file with time stamps of its own: "
            "leave fps out"
        )
    return VideoReader(_VideoFile(path, start, end), prefetch)


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

    def __init__(self, source: _VideoFile | _ImageFolder, prefetch: int) -> None:
        self._source = source
        self._prefetch = prefetch
        # Weak, because the generator refers to the reader: a cycle would leave stopping the thread
        # of a forgotten reader to the garbage collector, which may run in that very thread.
        self._frames: weakref.ref[Generator[Frame, None, None]] | None = None
        self._closed = False
        self.path = source.path
        try:
            # Kept until the iteration starts: it tells the size and proves that the clip decodes.
            self._first = source.first()
        except BaseException:
            source.close()
            raise
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
        frames = self._source.rest()
        if self._prefetch:
            frames = _ahead(frames, self._prefetch)
        started = False
        try:
            yield Frame(0, 0.0, self._first.image)
            started = True
            for index, (time_s, image) in enumerate(frames, start=1):
                yield Frame(index, time_s - self.offset_s, image)
        finally:
            self._closed = True
            frames.close()
            if not started:  # else the source closed itself, in the thread that used it
                self._source.close()
        self.problem = self._source.problem()
        if self.problem is not None:
            warnings.warn(self.problem, VideoWarning, stacklevel=2)

    def close(self) -> None:
        """Stop decoding and close the file; closing twice does nothing."""
        self._closed = True
        frames = None if self._frames is None else self._frames()
        if frames is not None:
            frames.close()
        self._source.close()

    def __enter__(self) -> VideoReader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _TimedImage(NamedTuple):
    time_s: float  # in seconds of the whole clip
    image: Image


def _ahead(
    items: Generator[_TimedImage, None, None], depth: int
) -> Generator[_TimedImage, None, None]:
    """Run `items` in a thread, at most `depth` ahead of the caller; its errors arrive in order."""
    waiting: queue.Queue[_TimedImage | BaseException | None] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def put(item: _TimedImage | BaseException | None) -> bool:
        while not stopped.is_set():
            with contextlib.suppress(queue.Full):
                waiting.put(item, timeout=0.1)
                return True
        return False

    def work() -> None:
        try:
            for item in items:
                if not put(item):
                    return
            put(None)
        except BaseException as error:  # handed to the caller, who raises it
            put(error)
        finally:
            items.close()

    # A daemon, so that a program which dies without closing the reader still ends.
    thread = threading.Thread(target=work, name="lithepose-decode", daemon=True)
    thread.start()
    try:
        while True:
            try:
                # With a time limit, because a plain get() does not let Ctrl-C through on Windows.
                item = waiting.get(timeout=0.5)
            except queue.Empty:
                continue
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stopped.set()
        if threading.current_thread() is not thread:  # the garbage collector may bring us there
            thread.join()


# ---- Video files ---------------------------------------------------------------------------------


class _Clock:
    """Presentation time of each frame from its time stamp, strictly ascending.

    A missing stamp continues at the nominal rate. A stamp that does not move on (duplicated or
    disordered) goes half a nominal step after its predecessor, so that the next good stamp still
    fits. A clock that starts again, as in joined recordings, continues at the nominal rate.

    The nominal rate of a clip with a hole may be a mean that none of its frames has. Steps that
    would be long by it are no longer than the last one that the stamps told.
    """

    def __init__(self, step_s: float) -> None:
        self._nominal_s = step_s
        self._told_s = math.inf
        self._previous_s: float | None = None
        self._shift_s = 0.0

    @property
    def step_s(self) -> float:
        slow = self._nominal_s > _LONG_STEP_S
        return min(self._nominal_s, self._told_s) if slow else self._nominal_s

    def tell(self, stamp_s: float | None) -> float:
        previous = self._previous_s
        if stamp_s is None:
            time_s = 0.0 if previous is None else previous + self.step_s
        else:
            time_s = stamp_s + self._shift_s
            if previous is not None and time_s <= previous - _CLOCK_RESTART_S:
                self._shift_s += previous + self.step_s - time_s
                time_s = previous + self.step_s
            elif previous is not None and time_s <= previous + _SAME_TIME_S:
                time_s = previous + self.step_s / 2
            elif previous is not None:
                self._told_s = time_s - previous
        self._previous_s = time_s
        return time_s


class _VideoFile:
    """The frames of a file between two times, decoded by FFmpeg through PyAV."""

    def __init__(self, path: Path, start_s: float, end_s: float) -> None:
        from av.video.reformatter import VideoReformatter

        self.path = path
        self.start_s = start_s
        self.end_s = end_s
        self.broken = 0  # frames that could not be decoded
        self.shown = 0  # frames handed out
        self._stopped_by: str | None = None  # why reading ended before the end of the file
        self._end_of_last_s: float | None = None  # None unless decoded to the end of the stream
        self._coded_size: tuple[int, int] | None = None  # before turning
        self._matrix: tuple[int, int, int, int] | None = None
        self._packet: Packet | None = None  # the last one before the first frame was shown
        self._reformatter = VideoReformatter()
        self.container, self.stream = _open_container(path)
        try:
            self.fps = _mean_rate(self.stream)
            self.focal_35mm = _stated_focal(self.container, self.stream)
            self.duration_s = _stated_duration_s(self.container, self.stream)
        except BaseException:
            self.container.close()
            raise
        self._decoded = self._decode()

    def close(self) -> None:
        self.container.close()

    def first(self) -> _TimedImage:
        """Find the first frame that belongs to the range."""
        found = next(self._decoded, None)
        if found is None:
            reason = f" ({self._stopped_by})" if self._stopped_by else ""
            raise VideoError(
                f"no frame of {self.path} can be decoded{reason}: the file is damaged or empty, "
                "try to play it or export it again"
            )
        time_s, frame = found
        if self.start_s > 0:
            time_s, frame = self._skip_to_start(frame)
        if time_s >= self.end_s - _SAME_TIME_S:
            raise VideoError(
                f"{self.path} shows no frame between {self.start_s:g} s and {self.end_s:g} s: the "
                f"next one comes at {time_s:g} s, choose a longer range"
            )
        return self._timed_image(time_s, frame)

    def rest(self) -> Generator[_TimedImage, None, None]:
        """The frames after the first; closes the file at the end."""
        try:
            for time_s, frame in self._decoded:
                if time_s >= self.end_s - _SAME_TIME_S:
                    self._end_of_last_s = None  # the end of the range, not of the stream
                    return
                yield self._timed_image(time_s, frame)
        finally:
            self.close()

    def problem(self) -> str | None:
        """What was lost, for the user; None if nothing was. Complete after the last frame."""
        parts = []
        if self.broken:
            parts.append(f"{self.broken} damaged one{'s' * (self.broken > 1)} left out")
        # A quarter of a second and two frames: stated durations are rounded, and often those of
        # the sound, which ends a little later than the picture.
        tolerance_s = max(0.25, 2 / self.fps)
        if self._stopped_by is not None:
            parts.append(f"reading stopped early ({self._stopped_by})")
        elif (
            self._end_of_last_s is not None
            and self.duration_s is not None
            and self._end_of_last_s < self.duration_s - tolerance_s
        ):
            parts.append(
                f"the picture ends at {self._end_of_last_s:.2f} s of {self.duration_s:.2f} s, the "
                "file is cut off"
            )
        if not parts:
            return None
        return f"{self.path}: {self.shown} frames were decoded, {' and '.join(parts)}"

    def _skip_to_start(self, first: VideoFrame) -> tuple[float, VideoFrame]:
        origin = first.pts
        if origin is not None and self.start_s > 2 * _SEEK_MARGIN_S:
            self._decoded.close()
            self._decoded = self._decode_after_seek(origin)
        last_s = 0.0
        for time_s, frame in self._decoded:
            if time_s >= self.start_s - _SAME_TIME_S:
                return time_s, frame
            last_s = time_s
        raise VideoError(
            f"no frame of {self.path} comes at {self.start_s:g} s or later, the last comes at "
            f"{last_s:.2f} s: choose an earlier start"
        )

    def _decode_after_seek(self, origin: int) -> Generator[tuple[float, VideoFrame], None, None]:
        from av.error import FFmpegError

        time_base = self.stream.time_base or Fraction(1, 1000)
        decoded = self._decode(origin)
        target = origin + math.floor((self.start_s - _SEEK_MARGIN_S) / time_base)
        try:
            self.container.seek(target, stream=self.stream, backward=True)
            found = next(decoded, None)
        except FFmpegError:
            found = None
        # Some containers cannot seek, or only to a frame that is shown too late. Only a frame with
        # a time stamp before the target proves that nothing will be missed.
        if found is not None and found[1].pts is not None and found[1].pts <= target:
            self.broken = 0  # what is damaged before the range is no loss
            yield found
            yield from decoded
            return
        logger.info("%s cannot seek to %g s: decoding from the start", self.path, self.start_s)
        self.container.close()
        self.container, self.stream = _open_container(self.path)
        self._stopped_by, self.broken = None, 0
        yield from self._decode(origin)

    def _decode(self, origin: int | None = None) -> Generator[tuple[float, VideoFrame], None, None]:
        """Decode from where the file stands: (seconds of the clip, frame), time ascending.

        `origin` is the time stamp of the clip's first frame; None when that frame comes next.
        """
        from av.error import FFmpegError

        clock = _Clock(1 / self.fps)
        time_base = self.stream.time_base or Fraction(1, 1000)
        time_s, duration_s = 0.0, 0.0
        packets = self.container.demux(self.stream)
        while True:
            try:
                packet = next(packets, None)
            except FFmpegError as error:
                self._stopped_by = error.strerror or type(error).__name__
                return
            if packet is None:
                break
            if self._coded_size is None:
                self._packet = packet
            try:
                frames = packet.decode()
            except FFmpegError as error:
                logger.debug("%s: packet at %s: %s", self.path, packet.pts, error)
                self.broken += 1
                continue
            for frame in frames:
                # Files without presentation times (old AVI) still have decoding times.
                stamp = frame.pts if frame.pts is not None else frame.dts
                if origin is None and stamp is not None:
                    origin = stamp
                stamp_s = None if stamp is None else float((stamp - (origin or 0)) * time_base)
                time_s = clock.tell(stamp_s)
                duration_s = float((getattr(frame, "duration", 0) or 0) * time_base)
                yield time_s, frame
        self._end_of_last_s = time_s + max(duration_s, 1 / self.fps)

    def _timed_image(self, time_s: float, frame: VideoFrame) -> _TimedImage:
        self.shown += 1
        if self._coded_size is None:
            # Once for the clip: a PyAV frame whose side data was looked at refers to itself, and
            # stays in memory until the garbage collector comes by.
            self._matrix = _display_matrix(frame, self._packet)
            self._packet = None
            # Pixels become square by stretching only, so that no detail is lost.
            aspect = self.stream.sample_aspect_ratio or Fraction(1)
            width = max(1, round(frame.width * max(aspect, 1)))
            height = max(1, round(frame.height / min(aspect, 1)))
            self._coded_size = (width, height)
        # A clip whose size changes half-way is scaled to the size of its first frame.
        width, height = self._coded_size
        rgb = self._reformatter.reformat(frame, width=width, height=height, format="rgb24")
        return _TimedImage(time_s, _upright(cast(Image, rgb.to_ndarray()), self._matrix))


def _open_container(path: Path) -> tuple[InputContainer, VideoStream]:
    import av
    from av.error import FFmpegError

    if path.stat().st_size == 0:
        raise VideoError(f"{path} is empty (0 bytes): copy or download it again")
    try:
        # "file:" keeps a colon in a name from being read as a network protocol, and the list keeps
        # a playlist from opening anything but files.
        # Titles may be in any encoding: what is no UTF-8 in them is no reason not to read a video.
        container = av.open(
            f"file:{path}", options={"protocol_whitelist": "file"}, metadata_errors="replace"
        )
    except PermissionError as error:
        raise VideoError(f"{path} may not be read: check its permissions") from error
    except FFmpegError as error:
        raise VideoError(
            f"{path} is not a video, or it is cut off or damaged ({error.strerror}): try to play "
            "it, or export it again, for example as MP4"
        ) from error
    try:
        stream = _picture_stream(container)
        # FFmpeg's terminal-art reader claims any text file with a fitting name.
        if stream is None or container.format.name == "tty":
            if container.streams.audio:
                raise VideoError(f"{path} has sound but no picture: give a video file")
            raise VideoError(
                f"{path} has no picture, or it is cut off and lost its index: try to play it, or "
                "copy or record it again"
            )
        if stream.codec_context is None:
            raise VideoError(
                f"{path} uses a video codec that this build of PyAV cannot decode: convert it to "
                "H.264 first"
            )
        stream.thread_type = "AUTO"  # decode on several cores
    except BaseException:
        container.close()
        raise
    return container, stream


def _picture_stream(container: InputContainer) -> VideoStream | None:
    from av.stream import Disposition

    for stream in container.streams.video:
        # The cover of a song is a picture stream of one frame, not a video.
        if not stream.disposition & Disposition.attached_pic:
            return stream
    return None


def _mean_rate(stream: VideoStream) -> float:
    rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if stream.start_time is None:
        # Without time stamps (bare H.264) FFmpeg's average is a default; the guess is from headers.
        rates = [stream.guessed_rate, stream.average_rate]
    for rate in rates:
        if rate is not None and 0 < rate <= 1000:
            return float(rate)
    return 30.0  # nothing is stated: only used to place frames without time stamps


# Where phones write it; Apple's since 2023.
_FOCAL_KEYS = ("com.apple.quicktime.camera.focal_length.35mm_equivalent",)


def _stated_focal(container: InputContainer, stream: VideoStream) -> float | None:
    """The focal length that the camera noted, as on 35 mm film, in millimetres."""
    notes = {**container.metadata, **stream.metadata}
    for key in _FOCAL_KEYS:
        try:
            focal = float(notes.get(key, ""))
        except ValueError:
            continue
        if 5 <= focal <= 2000:
            return focal
    return None


def _stated_duration_s(container: InputContainer, stream: VideoStream) -> float | None:
    if stream.duration is not None and stream.time_base is not None:
        return float(stream.duration * stream.time_base)
    # Matroska and WebM keep the length of each stream in a tag, as hours:minutes:seconds.
    tag = re.fullmatch(r"(\d+):(\d+):(\d+(?:\.\d+)?)", stream.metadata.get("DURATION", ""))
    if tag is not None:
        hours, minutes, seconds = tag.groups()
        end_s = int(hours) * 3600 + int(minutes) * 60 + float(seconds)
    elif container.duration is not None:
        end_s = container.duration / 1_000_000
    else:
        return None
    # In Matroska and WebM both are the time of the end, even where the start is later than 0.
    late = "matroska" in container.format.name and stream.start_time is not None
    return end_s - float((stream.start_time or 0) * (stream.time_base or 0)) if late else end_s


# EXIF's mirrored orientations, as `_display_matrix` gives them.
_MIRRORED = {2: (-1, 0, 0, 1), 4: (1, 0, 0, -1), 5: (0, 1, 1, 0), 7: (0, -1, -1, 0)}


def _display_matrix(
    frame: VideoFrame, packet: Packet | None = None
) -> tuple[int, int, int, int] | None:
    """The (a, b, c, d) of the frame's display matrix, (x, y) -> (a x + c y, b x + d y); or None.

    `packet` is the coded picture, for what PyAV does not tell.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV gives none of a frame's side data if it has no name for one kind of it, such as EXIF.
        # It still tells how far the picture is turned, but not whether it is mirrored.
        orientation = None if packet is None else _exif_orientation(bytes(packet))
        if orientation in _MIRRORED:
            return _MIRRORED[orientation]
        turn = np.radians(90 * round(frame.rotation / 90))
        cosine, sine = round(np.cos(turn)), round(np.sin(turn))
        return cosine, -sine, sine, cosine
    if data is None:
        return None
    values = np.frombuffer(bytes(data), np.int32)
    return int(values[0]), int(values[1]), int(values[3]), int(values[4])


def _exif_orientation(picture: bytes) -> int | None:
    """The orientation, 1 to 8, that EXIF in a JPEG or PNG states in its first directory; None if
    there is none that can be read."""
    for mark in (b"Exif\0\0", b"eXIf"):
        start = picture.find(mark) + len(mark)
        tiff = picture[start : start + 65536]
        order = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4])
        if start < len(mark) or order is None:
            continue
        with contextlib.suppress(struct.error):
            (place,) = struct.unpack_from(f"{order}I", tiff, 4)
            (count,) = struct.unpack_from(f"{order}H", tiff, place)
            for entry in range(place + 2, place + 2 + 12 * count, 12):
                tag, kind, _, value = struct.unpack_from(f"{order}HHIH", tiff, entry)
                if tag == 0x0112 and kind == 3 and 1 <= value <= 8:
                    return value
    return None


def _upright(image: Image, matrix: tuple[int, int, int, int] | None) -> Image:
    """Turn and mirror an image as its display matrix says, to the nearest quarter turn."""
    if matrix is None:
        return image
    import cv2

    a, b, c, d = matrix
    if abs(b) > abs(a):
        image = np.asarray(cv2.transpose(image), np.uint8)
        mirror_x, mirror_y = c < 0, b < 0
    else:
        mirror_x, mirror_y = a < 0, d < 0
    if mirror_x or mirror_y:
        code = -1 if mirror_x and mirror_y else int(mirror_x)  # cv2: 1 mirrors x, 0 y, -1 both
        image = np.asarray(cv2.flip(image, code), np.uint8)
    return image


# ---- Image folders -------------------------------------------------------------------------------


class _ImageFolder:
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
        self._size: tuple[int, int] | None = None
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
            if start_s - _SAME_TIME_S <= time_s < end_s - _SAME_TIME_S
        ]
        if not self._files:
            raise VideoError(
                f"no image of {path} lies between {start_s:g} s and {end_s:g} s: its {len(files)} "
                f"images last {self.duration_s:g} s at {fps:g} per second"
            )
        self._images = self._read()

    def close(self) -> None:
        self._images.close()

    def first(self) -> _TimedImage:
        found = next(self._images, None)
        if found is None:
            raise VideoError(f"none of the {len(self._files)} images of {self.path} can be read")
        return found

    def rest(self) -> Generator[_TimedImage, None, None]:
        yield from self._images

    def problem(self) -> str | None:
        if not self.broken:
            return None
        return f"{self.path}: {self.shown} images were read, {self.broken} damaged left out"

    def _read(self) -> Generator[_TimedImage, None, None]:
        import cv2

        for time_s, file in self._files:
            # Not cv2.imread, which cannot open names outside the code page on Windows.
            data = np.frombuffer(file.read_bytes(), np.uint8)
            bgr = cv2.imdecode(data, cv2.IMREAD_COLOR) if data.size else None
            if bgr is None:
                logger.debug("%s cannot be decoded", file)
                self.broken += 1
                continue
            size = bgr.shape[1], bgr.shape[0]
            if self._size is None:
                self._size = size
            elif size != self._size:
                raise VideoError(
                    f"{file} measures {size[0]} x {size[1]} pixels, the images before it "
                    f"{self._size[0]} x {self._size[1]}: one folder is one clip of one size"
                )
            self.shown += 1
            yield _TimedImage(time_s, np.asarray(cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB), np.uint8))


# ---- Writing -------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Encoder:
    name: str  # as FFmpeg calls it
    options: dict[str, str]
    bits_per_pixel: float | None = None  # for an encoder without constant quality
    compact: dict[str, str] = field(default_factory=dict)  # options for less time and fewer bytes


# In order of preference: H.264 plays everywhere, the others come with FFmpeg without GPL parts.
_ENCODERS = (
    _Encoder(
        "libx264",
        {"preset": "superfast", "crf": "23"},
        compact={"preset": "superfast", "crf": "28"},
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
_BT709 = 1


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

    H.264 (yuv420p, BT.709, ready to stream) where PyAV brings libx264, else AV1, VP9 or MPEG-4,
    with a warning in the log.

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
        from av.video.reformatter import VideoReformatter

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
        self._reformatter = VideoReformatter()  # one for all frames: it keeps its tables
        self._written = 0
        self._last_tick: int | None = None
        self._left_out = 0  # ticks
        self._open = True
        self._temporary = self.path.with_name(f".{self.path.name}.{secrets.token_hex(4)}.part")
        try:
            self._temporary.touch(exist_ok=False)  # FFmpeg itself would only try at the first frame
        except OSError as error:
            raise self._write_error(error) from error
        try:
            self._container: OutputContainer = av.open(
                f"file:{self._temporary}",
                "w",
                format=_CONTAINERS[self.path.suffix.lower()],
                options={"movflags": "+faststart"},
            )
            self._stream = self._add_stream(compact)
        except BaseException:
            self._temporary.unlink(missing_ok=True)
            raise

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
        context.colorspace = context.color_primaries = context.color_trc = _BT709
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
        from av.video.reformatter import Colorspace

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
        frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(image), "rgb24")
        frame = self._reformatter.reformat(
            frame, format="yuv420p", dst_colorspace=Colorspace.ITU709
        )
        frame.pts = tick
        frame.time_base = Fraction(1, _TICKS_PER_SECOND)
        try:
            self._container.mux(self._stream.encode(frame))
        except OSError as error:
            raise self._write_error(error) from error
        self._written += 1
        self._last_tick = tick

    def _tick(self, time_s: float | None) -> int:
        last = self._last_tick
        if time_s is None:
            step = min(_TICKS_PER_SECOND / self.fps, _TICKS_PER_SECOND * LONGEST_STEP_S)
            return round(self._written * step) if last is None else round(last + step)
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
        if self._written == 0:
            self._abandon()
            raise ValueError(f"no frame was written to {self.path}: a video needs at least one")
        try:
            self._container.mux(self._stream.encode(None))
            self._container.close()
            self._temporary.replace(self.path)
        except OSError as error:
            self._abandon()
            raise self._write_error(error) from error
        except BaseException:
            self._abandon()
            raise
        self._open = False

    def _abandon(self) -> None:
        self._open = False
        from av.error import FFmpegError

        # The file goes anyway: that it cannot be finished is no news.
        with contextlib.suppress(FFmpegError, OSError):
            self._container.close()
        self._temporary.unlink(missing_ok=True)

    def _write_error(self, error: OSError) -> OSError:
        reason = f"cannot write the video ({error.strerror or error}), nothing was left behind"
        return OSError(error.errno, reason, str(self.path))

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if kind is None:
            self.close()
        elif self._open:
            self._abandon()
