"""Video files, decoded by FFmpeg through PyAV: every shown frame, upright, at its own time."""

from __future__ import annotations

import contextlib
import logging
import math
import re
import struct
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np

from lithepose.arrays import Image
from lithepose.video.frames import SAME_TIME_S, TimedImage, VideoError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

logger = logging.getLogger(__name__)

# A step back by more than this is a restarted clock (joined recordings), not a disordered frame.
_CLOCK_RESTART_S = 1.0
# Nominal steps longer than this may come from a hole in the clip.
_LONG_STEP_S = 0.5
# Seek this much before the wanted time: frames just after a key frame can still refer to frames
# before it ("open" groups of pictures) and would come out damaged.
_SEEK_MARGIN_S = 1.0


class _Clock:
    """Presentation time of each frame from its time stamp, strictly ascending.

    A missing stamp continues at the nominal rate. A stamp that does not move on (duplicated or
    disordered) goes half a nominal step after its predecessor, so that the next good stamp still
    fits. A clock that starts again, as in joined recordings, continues at the nominal rate.

    The nominal rate of a clip with a hole may be a mean that none of its frames has. Steps that
    would be long by it are no longer than the last one between two stamps.
    """

    def __init__(self, step_s: float) -> None:
        self._nominal_s = step_s
        self._step_s = step_s
        self._previous_s: float | None = None
        self._shift_s = 0.0

    def time_of(self, stamp_s: float | None) -> float:
        """Seconds at which the next frame is shown."""
        previous, step = self._previous_s, self._step_s
        time_s = (stamp_s or 0.0) + self._shift_s
        if previous is not None:
            if stamp_s is None:
                time_s = previous + step
            elif time_s <= previous - _CLOCK_RESTART_S:
                self._shift_s += previous + step - time_s
                time_s = previous + step
            elif time_s <= previous + SAME_TIME_S:
                time_s = previous + step / 2
            elif self._nominal_s > _LONG_STEP_S:
                self._step_s = min(self._nominal_s, time_s - previous)
        self._previous_s = time_s
        return time_s


class VideoFile:
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
        self.fps = _mean_rate(self.stream)
        self.focal_35mm = _stated_focal(self.container, self.stream)
        self.duration_s = _stated_duration_s(self.container, self.stream)
        self._decoded = self._decode()

    def images(self) -> Generator[TimedImage, None, None]:
        """The frames of the range; closes the file at the end.

        Raises:
            VideoError: none can be decoded, or there is none in the range.
        """
        try:
            time_s, frame = self._first()
            if time_s >= self.end_s - SAME_TIME_S:
                raise VideoError(
                    f"{self.path} shows no frame between {self.start_s:g} s and {self.end_s:g} s: "
                    f"the next one comes at {time_s:g} s, choose a longer range"
                )
            yield self._timed_image(time_s, frame)
            for time_s, frame in self._decoded:
                if time_s >= self.end_s - SAME_TIME_S:
                    self._end_of_last_s = None  # the end of the range, not of the stream
                    return
                yield self._timed_image(time_s, frame)
        finally:
            self.container.close()

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

    def _first(self) -> tuple[float, VideoFrame]:
        """The first frame that is shown at the start of the range or later."""
        found = next(self._decoded, None)
        if found is None:
            reason = f" ({self._stopped_by})" if self._stopped_by else ""
            raise VideoError(
                f"no frame of {self.path} can be decoded{reason}: the file is damaged or empty, "
                "try to play it or export it again"
            )
        if self.start_s <= 0:
            return found
        origin = found[1].pts
        if origin is not None and self.start_s > 2 * _SEEK_MARGIN_S:
            self._decoded.close()
            self._decoded = self._decode_after_seek(origin)
        last_s = 0.0
        for time_s, frame in self._decoded:
            if time_s >= self.start_s - SAME_TIME_S:
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
                time_s = clock.time_of(stamp_s)
                duration_s = float((getattr(frame, "duration", 0) or 0) * time_base)
                yield time_s, frame
        self._end_of_last_s = time_s + max(duration_s, 1 / self.fps)

    def _timed_image(self, time_s: float, frame: VideoFrame) -> TimedImage:
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
        return TimedImage(time_s, _upright(cast(Image, rgb.to_ndarray()), self._matrix))


def _open_container(path: Path) -> tuple[InputContainer, VideoStream]:
    import av
    from av.error import FFmpegError
    from av.stream import Disposition

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
        # The cover of a song is a picture stream of one frame, not a video.
        videos = (
            each
            for each in container.streams.video
            if not each.disposition & Disposition.attached_pic
        )
        stream = next(videos, None)
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


def _mean_rate(stream: VideoStream) -> float:
    rates = [stream.average_rate, stream.guessed_rate, stream.base_rate]
    if stream.start_time is None:
        # Without time stamps (bare H.264) FFmpeg's average is a default; the guess is from headers.
        rates = [stream.guessed_rate, stream.average_rate]
    # If nothing is stated, 30: only used to place frames without time stamps.
    return next((float(rate) for rate in rates if rate is not None and 0 < rate <= 1000), 30.0)


# Where Apple's phones write it since 2023.
_FOCAL_KEY = "com.apple.quicktime.camera.focal_length.35mm_equivalent"


def _stated_focal(container: InputContainer, stream: VideoStream) -> float | None:
    """The focal length that the camera noted, as on 35 mm film, in millimetres."""
    try:
        focal = float({**container.metadata, **stream.metadata}.get(_FOCAL_KEY, ""))
    except ValueError:
        return None
    return focal if 5 <= focal <= 2000 else None


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

    `packet` is the coded picture, for what PyAV does not expose.
    """
    try:
        data = frame.side_data.get("DISPLAYMATRIX")
    except ValueError:
        # PyAV gives none of a frame's side data if it has no name for one kind of it, such as EXIF.
        # It still gives how far the picture is turned, but not whether it is mirrored.
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
