"""Files of all kinds, turned, noted upon and damaged: which frames come out, and which way up."""

from __future__ import annotations

import struct
import warnings
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
import pytest
from av.video.stream import VideoStream

from lithepose.video import (
    VideoError,
    VideoWarning,
    decode,
    open_video,
)


@pytest.mark.parametrize(
    ("suffix", "codec", "pixels"),
    [
        (".mkv", "libx264", "yuv420p"),
        (".webm", "libvpx-vp9", "yuv420p"),
        (".avi", "mpeg4", "yuv420p"),
        (".ts", "libx264", "yuv420p"),
        (".h264", "libx264", "yuv420p"),
        (".gif", "gif", "rgb8"),
        (".mkv", "ffv1", "yuv420p10le"),
        (".mkv", "ffv1", "yuva420p"),
        (".mkv", "ffv1", "gray"),
        (".mkv", "mjpeg", "yuvj444p"),
    ],
)
def test_containers_and_pixel_formats_give_the_same_frames(
    clips: Any, tmp_path: Path, suffix: str, codec: str, pixels: str
):
    path = clips.make(tmp_path / f"clip{suffix}", codec=codec, pixels=pixels)
    frames = clips.read(path)
    indices = clips.indices(frames)
    if codec == "gif":  # 8 colour levels cannot hold 20 greys
        assert indices == sorted(indices)
        assert len(indices) == clips.COUNT
    else:
        assert indices == list(range(clips.COUNT))
    assert [frame.time_s for frame in frames] == pytest.approx(
        [i / clips.FPS for i in range(clips.COUNT)]
    )


# ---- Times ---------------------------------------------------------------------------------------


def test_variable_frame_rate_keeps_each_time_stamp(clips: Any, tmp_path: Path):
    stamps = [0, 1, 2, 5, 6, 7, 12, 13, 20, 21]
    path = clips.make(tmp_path / "variable.mkv", stamps=stamps, count=10)
    frames = clips.read(path)
    assert [frame.time_s for frame in frames] == pytest.approx(
        [stamp / clips.FPS for stamp in stamps]
    )


def test_first_frame_is_at_zero_however_late_the_clip_starts(clips: Any, tmp_path: Path):
    path = clips.make(tmp_path / "late.mkv", stamps=[100 + i for i in range(clips.COUNT)])
    with warnings.catch_warnings(), open_video(path) as reader:
        warnings.simplefilter("error")
        assert reader.frame_count == clips.COUNT
        frames = list(reader)
    assert frames[0].time_s == 0
    assert frames[-1].time_s == pytest.approx(0.95)


def test_an_edit_list_hides_the_frames_outside_it(clips: Any, tmp_path: Path):
    path = clips.make(tmp_path / "edited.mp4", options={"bf": "0", "g": "10"})
    data = bytearray(path.read_bytes())
    # Let the only edit start half a second into the media and last a quarter of a second.
    start = data.index(b"elst") + 4 + 4 + 4
    timescale = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 4 + 8)[0]
    movie_timescale = struct.unpack_from(">I", data, data.index(b"mvhd") + 4 + 4 + 8)[0]
    struct.pack_into(">Ii", data, start, movie_timescale // 4, timescale // 2)
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = clips.read(path)
    assert clips.indices(frames) == [10, 11, 12, 13, 14]
    assert frames[0].time_s == 0


def test_the_clock_mends_missing_repeated_and_restarted_stamps():
    clock = decode._Clock(0.1)
    stamps = [0.0, 0.1, None, 0.3, 0.3, 0.4, 5.0, 0.0, 0.1]
    times = [clock.time_of(stamp) for stamp in stamps]
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.35, 0.4, 5.0, 5.1, 5.2])
    assert all(np.diff(times) > 0)


def test_the_clock_of_a_clip_with_a_hole_goes_on_in_the_steps_that_it_told():
    clock = decode._Clock(60.0)  # the mean rate: a hole of an hour among 60 frames
    times = [
        clock.time_of(stamp) for stamp in (0.0, 0.1, 0.2, 0.2, None, 0.4, 3600.4, 3600.5, None)
    ]
    expected = [0.0, 0.1, 0.2, 0.25, 0.35, 0.4, 3600.4, 3600.5, 3600.6]
    assert times == pytest.approx(expected)


# ---- Upright, square pixels ----------------------------------------------------------------------


# The display matrices (a, b, c, d) of phones, and where the top-left corner goes.
MATRICES = {
    "as is": ((1, 0, 0, 1), "top left"),
    "quarter turn clockwise": ((0, 1, -1, 0), "top right"),
    "half turn": ((-1, 0, 0, -1), "bottom right"),
    "quarter turn anticlockwise": ((0, -1, 1, 0), "bottom left"),
    "mirrored": ((-1, 0, 0, 1), "top right"),
    "upside down": ((1, 0, 0, -1), "bottom left"),
    "transposed": ((0, 1, 1, 0), "top left"),
}


def patch_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write (a, b, c, d) into the display matrix of the track header of an MP4."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 20 + 16  # flags, times and ids, layer and volume
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.mark.parametrize("name", MATRICES)
def test_rotation_and_mirror_flags_are_applied(clips: Any, clip: Path, name: str):
    matrix, corner = MATRICES[name]
    patch_display_matrix(clip, matrix)
    with open_video(clip) as reader:
        turned = matrix[0] == 0
        assert reader.size == (
            (clips.HEIGHT, clips.WIDTH) if turned else (clips.WIDTH, clips.HEIGHT)
        )
        frames = list(reader)
    assert clips.indices(frames) == list(range(clips.COUNT))
    for frame in frames:
        rows = slice(0, 10) if "top" in corner else slice(-10, None)
        columns = slice(0, 10) if "left" in corner else slice(-10, None)
        assert clips.is_red(frame.image[rows, columns])
        assert frame.image.shape[1::-1] == reader.size
        assert frame.image.flags.c_contiguous


def test_rotation_agrees_with_opencv(clips: Any, clip: Path):
    cv2 = pytest.importorskip("cv2")
    patch_display_matrix(clip, (0, 1, -1, 0))
    capture = cv2.VideoCapture(str(clip))
    found, bgr = capture.read()
    capture.release()
    if not found or bgr.shape[0] != clips.WIDTH:
        pytest.skip("this build of OpenCV does not turn frames")
    image = clips.read(clip)[0].image
    assert np.abs(image.astype(int) - bgr[..., ::-1]).mean() < 3


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2, 1), (128, 48)), (Fraction(3, 4), (64, 64))]
)
def test_pixels_become_square_by_stretching(
    clips: Any, tmp_path: Path, aspect: Fraction, size: tuple[int, int]
):
    path = clips.make(tmp_path / "wide.mkv", aspect=aspect)
    with open_video(path) as reader:
        assert reader.size == size
        frames = list(reader)
    assert clips.indices(frames) == list(range(clips.COUNT))


def test_odd_sizes_come_out_whole(clips: Any, tmp_path: Path):
    path = clips.make(tmp_path / "odd.mkv", codec="ffv1", pixels="yuv444p", size=(61, 47))
    with open_video(path) as reader:
        assert reader.size == (61, 47)
        assert clips.indices(reader) == list(range(clips.COUNT))


def exif_of(orientation: int, order: str, kind: int = 3) -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 2)
    maker = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc")
    turn = struct.pack(f"{order}HHIHH", 0x0112, kind, 1, orientation, 0)
    return head + maker + turn + bytes(4)


def make_photo(clips: Any, exif: bytes) -> bytes:

    image = np.full((clips.HEIGHT, clips.WIDTH, 3), 90, np.uint8)
    image[:16, :16] = (255, 0, 0)
    content = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    part = b"Exif\0\0" + exif
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + content[2:]


def make_photos(clips: Any, path: Path, photo: bytes, count: int = 5) -> Path:
    """A camera's clip, each frame a photo of its own; or a single photo."""
    if path.suffix == ".jpg":
        path.write_bytes(photo)
        return path
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream("mjpeg", rate=clips.FPS))
        stream.width, stream.height, stream.pix_fmt = clips.WIDTH, clips.HEIGHT, "yuvj420p"
        container.start_encoding()
        for index in range(count):
            packet = av.Packet(photo)
            packet.stream, packet.time_base = stream, Fraction(1, clips.FPS)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            container.mux(packet)
    return path


@pytest.mark.parametrize("name", ["v.jpg", "v.avi", "v.mkv"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_shown_as_their_exif_says(
    clips: Any, tmp_path: Path, name: str, order: str, orientation: int
):
    path = make_photos(clips, tmp_path / name, make_photo(clips, exif_of(orientation, order)))
    rows, columns = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("top", "left"), 6: ("top", "right"), 7: ("bottom", "right"), 8: ("bottom", "left"),
    }[orientation]  # fmt: skip
    frames = clips.read(path)
    assert len(frames) == (1 if name == "v.jpg" else 5)
    for frame in frames:
        assert frame.image.shape[:2] == (
            (clips.HEIGHT, clips.WIDTH) if orientation < 5 else (clips.WIDTH, clips.HEIGHT)
        )
        part = frame.image[:10] if rows == "top" else frame.image[-10:]
        assert clips.is_red(part[:, :10] if columns == "left" else part[:, -10:])


@pytest.mark.parametrize("name", ["v.jpg", "v.avi", "v.mkv"])
@pytest.mark.parametrize(
    "exif",
    [b"", b"II*", exif_of(6, "<")[:9], exif_of(6, "<")[:30], exif_of(99, "<"), exif_of(6, "<", 7),
     b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 30, b"II*\0" + b"\xff" * 40],
)  # fmt: skip
def test_exif_that_cannot_be_read_is_left_alone(clips: Any, tmp_path: Path, name: str, exif: bytes):
    for frame in clips.read(make_photos(clips, tmp_path / name, make_photo(clips, exif))):
        assert clips.is_red(frame.image[:10, :10])


# ---- Notes ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("noted", "expected"), [("26", 8 * 26), ("", None), ("wide", None), ("0", None)]
)
def test_the_focal_length_that_a_phone_notes_is_read(
    clips: Any, tmp_path: Path, noted: str, expected: float | None
):
    path = clips.make(
        tmp_path / "phone.mov",
        size=(36 * 8, 24 * 8),
        container_options={"movflags": "use_metadata_tags"},
        notes={"com.apple.quicktime.camera.focal_length.35mm_equivalent": noted} if noted else {},
    )
    with open_video(path) as video:
        # The picture is 8 pixels to the millimetre of film.
        assert video.focal_px == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("written", [b"caf\xe9", "日本".encode("shift-jis"), "äö".encode("utf-16")])
def test_a_title_in_any_encoding_is_no_reason_to_refuse(
    clips: Any, tmp_path: Path, suffix: str, written: bytes
):
    path = clips.make(tmp_path / f"clip.{suffix}", notes={"title": "#" * len(written)})
    content = path.read_bytes()
    assert b"#" * len(written) in content
    path.write_bytes(content.replace(b"#" * len(written), written))
    assert len(clips.read(path)) == clips.COUNT


def test_a_colon_in_the_name_is_not_a_protocol(clips: Any, tmp_path: Path, clip: Path):
    try:
        path = clip.rename(tmp_path / "https: 10%d.mp4")
    except OSError:
        pytest.skip("this file system has no colons in names")
    assert len(clips.read(path)) == clips.COUNT


# ---- Damage --------------------------------------------------------------------------------------


def truncated(path: Path, share: float = 0.7) -> Path:
    data = path.read_bytes()
    cut = path.with_name(f"cut{path.suffix}")
    cut.write_bytes(data[: int(len(data) * share)])
    return cut


@pytest.mark.parametrize(
    ("suffix", "codec"), [(".mkv", "libx264"), (".webm", "libvpx-vp9"), (".avi", "mpeg4")]
)
def test_a_file_that_breaks_off_gives_its_frames_and_a_warning(
    clips: Any, tmp_path: Path, suffix: str, codec: str
):
    path = truncated(clips.make(tmp_path / f"clip{suffix}", codec=codec, count=24))
    with open_video(path) as reader:
        with pytest.warns(VideoWarning, match=r"frames were decoded, .*the picture ends at"):
            frames = list(reader)
        assert reader.problem is not None
        assert str(len(frames)) in reader.problem
    assert 1 < len(frames) < 24
    # Of the frame at the break the decoder may show a part.
    assert clips.indices(frames[:-1]) == list(range(len(frames) - 1))


def test_an_mp4_that_lost_its_index_is_an_error(clip: Path):
    with pytest.raises(VideoError, match="cut off and lost its index"):
        open_video(truncated(clip))


def test_a_damaged_frame_is_left_out_and_the_others_keep_their_times(clips: Any, tmp_path: Path):
    path = clips.make(tmp_path / "clip.mkv", codec="mjpeg", pixels="yuvj444p")
    with av.open(str(path)) as container:
        packet = [bytes(packet) for packet in container.demux(video=0)][8]
    data = path.read_bytes()
    start = data.index(packet)
    path.write_bytes(data[:start] + b"\x00" * len(packet) + data[start + len(packet) :])
    with (
        open_video(path) as reader,
        pytest.warns(VideoWarning, match="19 frames were decoded, 1 damaged"),
    ):
        frames = list(reader)
    wanted = [index for index in range(clips.COUNT) if index != 8]
    assert clips.indices(frames) == wanted
    assert [frame.time_s for frame in frames] == pytest.approx([i / clips.FPS for i in wanted])


def make_text(path: Path, _: Any) -> None:
    path.write_text("not a video, only words\n" * 50)


def make_sound(path: Path, _: Any) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))


def make_header_only(path: Path, clips: Any) -> None:
    whole = clips.make(path.with_suffix(".mkv"))
    data = whole.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first Matroska cluster


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path, _: path.write_bytes(b""), "empty"),
        (make_text, "is not a video"),
        (make_sound, "sound but no picture"),
        (make_header_only, "cut off or damaged"),
        (lambda path, _: path.mkdir(), "folder of images, which has no frame rate"),
    ],
)
def test_a_file_without_a_picture_says_so(
    clips: Any, tmp_path: Path, make: Callable[[Path, Any], object], match: str
):
    path = tmp_path / "clip.mp4"
    make(path, clips)
    with pytest.raises(VideoError, match=match):
        open_video(path)
