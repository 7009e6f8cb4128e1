"""Every clip here is made by the test: a grey level per frame tells which frame came out, and a
bright corner tells which way up it is."""

from __future__ import annotations

import errno
import gc
import logging
import struct
import threading
import warnings
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
import numpy as np
import pytest
from av.video.stream import VideoStream

from lithepose.video import Frame, VideoError, VideoWarning, VideoWriter, decode, open_video, write

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


def patch_display_matrix(path: Path, matrix: tuple[int, int, int, int]) -> None:
    """Write (a, b, c, d) into the display matrix of the track header of an MP4."""
    data = bytearray(path.read_bytes())
    start = data.index(b"tkhd") + 4 + 4 + 20 + 16  # flags, times and ids, layer and volume
    a, b, c, d = (value << 16 for value in matrix)
    struct.pack_into(">9i", data, start, a, b, 0, c, d, 0, 0, 0, 1 << 30)
    path.write_bytes(data)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return make_clip(tmp_path / "clip.mp4")


# ---- Order, times, ranges ------------------------------------------------------------------------


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_frames_come_in_order_with_their_times(clip: Path, prefetch: int):
    with open_video(clip, prefetch=prefetch) as reader:
        assert reader.size == (WIDTH, HEIGHT)
        assert reader.fps == FPS
        assert reader.frame_count == COUNT
        assert reader.duration_s == pytest.approx(1.0)
        frames = list(reader)
        assert reader.problem is None
    assert [frame.index for frame in frames] == list(range(COUNT))
    assert [index_of(frame.image) for frame in frames] == list(range(COUNT))
    assert [frame.time_s for frame in frames] == pytest.approx([i / FPS for i in range(COUNT)])
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.shape == (HEIGHT, WIDTH, 3)
    assert frames[0].image.flags.c_contiguous


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
    tmp_path: Path, suffix: str, codec: str, pixels: str
):
    path = make_clip(tmp_path / f"clip{suffix}", codec=codec, pixels=pixels)
    frames = read_all(path)
    indices = [index_of(frame.image) for frame in frames]
    if codec == "gif":  # 8 colour levels cannot hold 20 greys
        assert indices == sorted(indices)
        assert len(indices) == COUNT
    else:
        assert indices == list(range(COUNT))
    assert [frame.time_s for frame in frames] == pytest.approx([i / FPS for i in range(COUNT)])


def test_variable_frame_rate_keeps_each_time_stamp(tmp_path: Path):
    stamps = [0, 1, 2, 5, 6, 7, 12, 13, 20, 21]
    path = make_clip(tmp_path / "variable.mkv", stamps=stamps, count=10)
    frames = read_all(path)
    assert [frame.time_s for frame in frames] == pytest.approx([stamp / FPS for stamp in stamps])


def test_first_frame_is_at_zero_however_late_the_clip_starts(tmp_path: Path):
    path = make_clip(tmp_path / "late.mkv", stamps=[100 + i for i in range(COUNT)])
    with warnings.catch_warnings(), open_video(path) as reader:
        warnings.simplefilter("error")
        assert reader.frame_count == COUNT
        frames = list(reader)
    assert frames[0].time_s == 0
    assert frames[-1].time_s == pytest.approx(0.95)


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (2.5, 3.0), (4.25, None), (7.9, 99.0)])
def test_a_range_is_exact_wherever_the_key_frames_are(
    tmp_path: Path, suffix: str, start: float, end: float | None
):
    # Key frames every 33 frames, so that no range starts on one.
    path = tmp_path / f"long{suffix}"
    make_clip(path, count=160, size=(32, 32), options={"g": "33", "preset": "ultrafast"})
    everything = read_all(path)
    times = [frame.time_s for frame in everything]
    wanted = [i for i, t in enumerate(times) if start <= t + 1e-6 and (end is None or t < end)]
    with open_video(path, start_s=start, end_s=end) as reader:
        assert reader.offset_s == pytest.approx(times[wanted[0]])
        part = list(reader)
        assert reader.frame_count == pytest.approx(len(wanted), abs=1)
    assert [frame.index for frame in part] == list(range(len(wanted)))
    assert [f.time_s for f in part] == pytest.approx([times[i] - times[wanted[0]] for i in wanted])
    for frame, index in zip(part, wanted, strict=True):
        np.testing.assert_array_equal(frame.image, everything[index].image)


def test_a_range_without_frames_says_where_the_clip_ends(clip: Path):
    with pytest.raises(VideoError, match=r"last comes at 0\.95 s"):
        open_video(clip, start_s=1.0)
    with pytest.raises(VideoError, match=r"next one comes at 0\.55 s"):
        open_video(clip, start_s=0.51, end_s=0.54)
    with pytest.raises(VideoError, match="must come after the start"):
        open_video(clip, start_s=0.5, end_s=0.5)
    with pytest.raises(VideoError, match="seconds from 0 up"):
        open_video(clip, start_s=-1)
    with pytest.raises(VideoError, match="seconds from 0 up"):
        open_video(clip, end_s=float("nan"))


def test_an_edit_list_hides_the_frames_outside_it(tmp_path: Path):
    path = make_clip(tmp_path / "edited.mp4", options={"bf": "0", "g": "10"})
    data = bytearray(path.read_bytes())
    # Let the only edit start half a second into the media and last a quarter of a second.
    start = data.index(b"elst") + 4 + 4 + 4
    timescale = struct.unpack_from(">I", data, data.index(b"mdhd") + 4 + 4 + 8)[0]
    movie_timescale = struct.unpack_from(">I", data, data.index(b"mvhd") + 4 + 4 + 8)[0]
    struct.pack_into(">Ii", data, start, movie_timescale // 4, timescale // 2)
    path.write_bytes(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        frames = read_all(path)
    assert [index_of(frame.image) for frame in frames] == [10, 11, 12, 13, 14]
    assert frames[0].time_s == 0


def test_the_clock_mends_missing_repeated_and_restarted_stamps():
    clock = decode._Clock(0.1)
    stamps = [0.0, 0.1, None, 0.3, 0.3, 0.4, 5.0, 0.0, 0.1]
    times = [clock.time_of(stamp) for stamp in stamps]
    assert times == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.35, 0.4, 5.0, 5.1, 5.2])
    assert all(np.diff(times) > 0)


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


@pytest.mark.parametrize(
    ("noted", "expected"), [("26", 8 * 26), ("", None), ("wide", None), ("0", None)]
)
def test_the_focal_length_that_a_phone_notes_is_read(
    tmp_path: Path, noted: str, expected: float | None
):
    path = make_clip(
        tmp_path / "phone.mov",
        size=(36 * 8, 24 * 8),
        container_options={"movflags": "use_metadata_tags"},
        notes={"com.apple.quicktime.camera.focal_length.35mm_equivalent": noted} if noted else {},
    )
    with open_video(path) as video:
        # The picture is 8 pixels to the millimetre of film.
        assert video.focal_px == (None if expected is None else pytest.approx(expected))


@pytest.mark.parametrize("name", MATRICES)
def test_rotation_and_mirror_flags_are_applied(clip: Path, name: str):
    matrix, corner = MATRICES[name]
    patch_display_matrix(clip, matrix)
    with open_video(clip) as reader:
        turned = matrix[0] == 0
        assert reader.size == ((HEIGHT, WIDTH) if turned else (WIDTH, HEIGHT))
        frames = list(reader)
    assert [index_of(frame.image) for frame in frames] == list(range(COUNT))
    for frame in frames:
        rows = slice(0, 10) if "top" in corner else slice(-10, None)
        columns = slice(0, 10) if "left" in corner else slice(-10, None)
        assert is_red(frame.image[rows, columns])
        assert frame.image.shape[1::-1] == reader.size
        assert frame.image.flags.c_contiguous


def test_rotation_agrees_with_opencv(clip: Path):
    cv2 = pytest.importorskip("cv2")
    patch_display_matrix(clip, (0, 1, -1, 0))
    capture = cv2.VideoCapture(str(clip))
    found, bgr = capture.read()
    capture.release()
    if not found or bgr.shape[0] != WIDTH:
        pytest.skip("this build of OpenCV does not turn frames")
    image = read_all(clip)[0].image
    assert np.abs(image.astype(int) - bgr[..., ::-1]).mean() < 3


@pytest.mark.parametrize(
    ("aspect", "size"), [(Fraction(2, 1), (128, 48)), (Fraction(3, 4), (64, 64))]
)
def test_pixels_become_square_by_stretching(
    tmp_path: Path, aspect: Fraction, size: tuple[int, int]
):
    path = make_clip(tmp_path / "wide.mkv", aspect=aspect)
    with open_video(path) as reader:
        assert reader.size == size
        frames = list(reader)
    assert [index_of(frame.image) for frame in frames] == list(range(COUNT))


def test_odd_sizes_come_out_whole(tmp_path: Path):
    path = make_clip(tmp_path / "odd.mkv", codec="ffv1", pixels="yuv444p", size=(61, 47))
    with open_video(path) as reader:
        assert reader.size == (61, 47)
        assert [index_of(frame.image) for frame in reader] == list(range(COUNT))


# ---- Reading in a thread -------------------------------------------------------------------------


def decode_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if "lithepose-decode" in thread.name]


def test_leaving_early_stops_the_decoding_thread(clip: Path):
    with open_video(clip) as reader:
        for frame in reader:
            if frame.index == 2:
                assert decode_threads()
                break
        assert not decode_threads()
    clip.unlink()  # on Windows this fails while the file is open


def test_a_forgotten_reader_stops_its_thread(clip: Path):
    frames = iter(open_video(clip))
    next(frames)
    next(frames)
    assert decode_threads()
    del frames
    assert not decode_threads()


def test_ctrl_c_stops_the_decoding_thread(clip: Path):
    def interrupted() -> None:
        with open_video(clip) as reader:
            for frame in reader:
                if frame.index == 3:
                    raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not decode_threads()


def test_an_error_in_the_thread_reaches_the_caller(clip: Path, monkeypatch: pytest.MonkeyPatch):
    with open_video(clip) as reader:
        upright = decode._upright
        calls = iter(range(100))

        def failing(image, matrix):
            if next(calls) == 4:
                raise RuntimeError("out of pixels")
            return upright(image, matrix)

        monkeypatch.setattr(decode, "_upright", failing)
        seen = []
        with pytest.raises(RuntimeError, match="out of pixels"):
            seen.extend(frame.index for frame in reader)
    assert not decode_threads()


def test_no_more_frames_wait_than_asked(clip: Path, monkeypatch: pytest.MonkeyPatch):
    made = []
    upright = decode._upright
    monkeypatch.setattr(
        decode, "_upright", lambda image, matrix: (made.append(1), upright(image, matrix))[1]
    )
    pause = threading.Event()
    with open_video(clip, prefetch=3) as reader:
        frames = iter(reader)
        next(frames)
        next(frames)
        pause.wait(0.3)
        # Two handed out, three waiting, one in the hands of the thread.
        assert len(made) <= 6


def test_no_frame_waits_for_the_garbage_collector(clip: Path):
    # Frames in reference cycles would fill the memory before the collector notices.
    def frames_in_memory() -> int:
        return sum(isinstance(item, av.VideoFrame) for item in gc.get_objects())

    gc.collect()
    before = frames_in_memory()
    gc.disable()
    try:
        for frame in open_video(clip):
            del frame
        assert frames_in_memory() <= before + 1
    finally:
        gc.enable()


def test_a_reader_is_good_for_one_pass(clip: Path):
    with open_video(clip) as reader:
        list(reader)
        with pytest.raises(VideoError, match="open it again"):
            list(reader)
    with pytest.raises(VideoError, match="was closed"):
        iter(reader)
    reader.close()


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
    tmp_path: Path, suffix: str, codec: str
):
    path = truncated(make_clip(tmp_path / f"clip{suffix}", codec=codec, count=24))
    with open_video(path) as reader:
        with pytest.warns(VideoWarning, match=r"frames were decoded, .*the picture ends at"):
            frames = list(reader)
        assert reader.problem is not None
        assert str(len(frames)) in reader.problem
    assert 1 < len(frames) < 24
    # Of the frame at the break the decoder may show a part.
    assert [index_of(frame.image) for frame in frames[:-1]] == list(range(len(frames) - 1))


def test_an_mp4_that_lost_its_index_is_an_error(clip: Path):
    with pytest.raises(VideoError, match="cut off and lost its index"):
        open_video(truncated(clip))


def test_a_damaged_frame_is_left_out_and_the_others_keep_their_times(tmp_path: Path):
    path = make_clip(tmp_path / "clip.mkv", codec="mjpeg", pixels="yuvj444p")
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
    wanted = [index for index in range(COUNT) if index != 8]
    assert [index_of(frame.image) for frame in frames] == wanted
    assert [frame.time_s for frame in frames] == pytest.approx([i / FPS for i in wanted])


def make_text(path: Path) -> None:
    path.write_text("not a video, only words\n" * 50)


def make_sound(path: Path) -> None:
    with av.open(str(path), "w", format="wav") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))


def make_header_only(path: Path) -> None:
    whole = make_clip(path.with_suffix(".mkv"))
    data = whole.read_bytes()
    path.write_bytes(data[: data.index(b"\x1f\x43\xb6\x75")])  # up to the first Matroska cluster


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda path: path.write_bytes(b""), "empty"),
        (make_text, "is not a video"),
        (make_sound, "sound but no picture"),
        (make_header_only, "cut off or damaged"),
        (lambda path: path.mkdir(), "folder of images, which has no frame rate"),
    ],
)
def test_a_file_without_a_picture_says_so(
    tmp_path: Path, make: Callable[[Path], object], match: str
):
    path = tmp_path / "clip.mp4"
    make(path)
    with pytest.raises(VideoError, match=match):
        open_video(path)


def test_a_missing_file_and_wrong_arguments_say_so(tmp_path: Path, clip: Path):
    with pytest.raises(FileNotFoundError, match="no video at"):
        open_video(tmp_path / "nothing.mp4")
    with pytest.raises(ValueError, match="leave fps out"):
        open_video(clip, fps=30)
    with pytest.raises(ValueError, match="prefetch"):
        open_video(clip, prefetch=-1)


def test_a_colon_in_the_name_is_not_a_protocol(tmp_path: Path, clip: Path):
    try:
        path = clip.rename(tmp_path / "https: 10%d.mp4")
    except OSError:
        pytest.skip("this file system has no colons in names")
    assert len(read_all(path)) == COUNT


# ---- Image folders -------------------------------------------------------------------------------


def make_folder(path: Path, count: int = 12) -> Path:
    cv2 = pytest.importorskip("cv2")
    path.mkdir()
    for index in range(count):
        cv2.imwrite(str(path / f"shot{index}.png"), make_image(index)[..., ::-1])
    (path / "notes.txt").write_text("no image")
    return path


def test_an_image_folder_is_a_clip_in_natural_order(tmp_path: Path):
    path = make_folder(tmp_path / "shots")
    with open_video(path, fps=10, start_s=0.2, end_s=1.1) as reader:
        assert reader.size == (WIDTH, HEIGHT)
        assert reader.fps == 10
        assert reader.frame_count == 9
        assert reader.offset_s == pytest.approx(0.2)
        frames = list(reader)
    assert [index_of(frame.image) for frame in frames] == list(range(2, 11))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 10 for i in range(9)])
    assert is_red(frames[0].image[:10, :10])


def test_a_damaged_image_is_left_out_with_a_warning(tmp_path: Path):
    path = make_folder(tmp_path / "shots")
    (path / "shot3.png").write_bytes(b"no image")
    with open_video(path, fps=10) as reader, pytest.warns(VideoWarning, match="1 damaged"):
        frames = list(reader)
    assert [index_of(frame.image) for frame in frames] == [0, 1, 2, *range(4, 12)]
    assert frames[3].time_s == pytest.approx(0.4)


def test_image_folders_that_are_no_clip_say_so(tmp_path: Path):
    cv2 = pytest.importorskip("cv2")
    path = make_folder(tmp_path / "shots", count=2)
    with pytest.raises(VideoError, match="give fps"):
        open_video(path)
    with pytest.raises(VideoError, match="above 0"):
        open_video(path, fps=0)
    with pytest.raises(VideoError, match="no image of"):
        open_video(path, fps=10, start_s=5)
    cv2.imwrite(str(path / "shot9.png"), np.zeros((10, 10, 3), np.uint8))
    with open_video(path, fps=10) as reader, pytest.raises(VideoError, match="10 x 10"):
        list(reader)
    (tmp_path / "none").mkdir()
    with pytest.raises(VideoError, match="without images"):
        open_video(tmp_path / "none", fps=10)


# ---- Writing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("compact", [False, True])
def test_written_frames_come_back_in_order_colour_and_time(tmp_path: Path, compact: bool):
    path = tmp_path / "out.mp4"
    times = [0.0, 0.05, 0.1, 0.25, 0.3, 1001 / 2000]
    with VideoWriter(path, size=(WIDTH, HEIGHT), fps=20, compact=compact) as writer:
        for index, time_s in enumerate(times):
            writer.write(make_image(index), time_s)
        assert not path.exists()
    frames = read_all(path)
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=2e-5)
    assert [index_of(frame.image) for frame in frames] == list(range(6))
    assert is_red(frames[0].image[4:12, 4:12])
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before the end


def test_frames_without_times_follow_the_frame_rate(tmp_path: Path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, size=(WIDTH, HEIGHT), fps=Fraction(30000, 1001)) as writer:
        for index in range(COUNT):
            writer.write(make_image(index))
    with open_video(path) as reader:
        assert reader.fps == pytest.approx(29.97, abs=0.001)
        times = [frame.time_s for frame in reader]
    assert times == pytest.approx([i * 1001 / 30000 for i in range(COUNT)], abs=1e-5)


def test_odd_sizes_are_made_even_at_the_right_and_bottom(tmp_path: Path):
    path = tmp_path / "out.mkv"
    with VideoWriter(path, size=(61, 47), fps=20) as writer:
        for index in range(3):
            writer.write(make_image(index, 61, 47))
    with open_video(path) as reader:
        assert reader.size == (62, 48)
        assert is_red(next(iter(reader)).image[4:12, 4:12])


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("without", [1, 2, 3])
def test_another_encoder_steps_in_and_says_so(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    without: int,
    compact: bool,
):
    encoders = list(write._ENCODERS)
    missing = write._Encoder("no-such-encoder", {})
    monkeypatch.setattr(write, "_ENCODERS", (missing, *encoders[without:]))
    path = tmp_path / "out.mp4"
    with (
        caplog.at_level(logging.WARNING),
        VideoWriter(path, size=(64, 64), fps=20, compact=compact) as writer,
    ):
        for index in range(5):
            writer.write(make_image(index, 64, 64), index / 20)
    assert encoders[without].name in caplog.text
    assert [index_of(frame.image) for frame in read_all(path)] == list(range(5))


def test_a_failed_or_interrupted_writer_leaves_the_old_file(tmp_path: Path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with VideoWriter(path, size=(WIDTH, HEIGHT), fps=20) as writer:
            for index in range(10):
                writer.write(make_image(index))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (
        pytest.raises(ValueError, match="at least one"),
        VideoWriter(path, size=(WIDTH, HEIGHT), fps=20),
    ):
        pass
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_full_disk_is_an_os_error_and_leaves_nothing(tmp_path: Path):
    path = tmp_path / "out.mp4"

    class FullDisk:
        def mux(self, packets) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    writer = VideoWriter(path, size=(WIDTH, HEIGHT), fps=20)
    writer._container.close()
    writer._container = FullDisk()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OSError, match="the disk is full: free some space") as failure, writer:
        writer.write(make_image(0))
    assert failure.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_writer_refuses_what_makes_no_video(tmp_path: Path):
    size = (WIDTH, HEIGHT)
    with pytest.raises(ValueError, match="must end in one of"):
        VideoWriter(tmp_path / "out.txt", size=size, fps=20)
    with pytest.raises(ValueError, match="no video has"):
        VideoWriter(tmp_path / "out.mp4", size=(0, 4), fps=20)
    with pytest.raises(FileNotFoundError, match="no folder"):
        VideoWriter(tmp_path / "none" / "out.mp4", size=size, fps=20)
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(IsADirectoryError, match="is a folder"):
        VideoWriter(tmp_path / "folder.mp4", size=size, fps=20)
    with VideoWriter(tmp_path / "out.mp4", size=size, fps=20) as writer:
        writer.write(make_image(0), 0.0)
        with pytest.raises(ValueError, match="does not come after"):
            writer.write(make_image(1), 0.0)
        with pytest.raises(ValueError, match=r"must be \(48, 64, 3\)"):
            writer.write(make_image(1, 32, 32), 1.0)
        with pytest.raises(ValueError, match="0 s or later"):
            writer.write(make_image(1), float("nan"))
    with pytest.raises(ValueError, match="is finished"):
        writer.write(make_image(1), 1.0)


# ---- Real clips ----------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    ("name", "count", "size"),
    [("walk_single.mp4", 126, (1768, 564)), ("sports2d_demo.mp4", 230, (1768, 994))],
)
def test_real_clips_give_every_frame(
    shared: Callable[[str], Path], name: str, count: int, size: tuple[int, int]
):
    with open_video(shared(f"video/{name}")) as reader:
        assert reader.size == size
        assert reader.fps == 30
        assert reader.frame_count == count
        times = [frame.time_s for frame in reader]
    assert len(times) == count
    assert times == pytest.approx([index / 30 for index in range(count)], abs=1e-4)


# ---- Tags and marks of other programs ------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["mp4", "mkv", "avi"])
@pytest.mark.parametrize("written", [b"caf\xe9", "日本".encode("shift-jis"), "äö".encode("utf-16")])
def test_a_title_in_any_encoding_is_no_reason_to_refuse(
    tmp_path: Path, suffix: str, written: bytes
):
    path = make_clip(tmp_path / f"clip.{suffix}", notes={"title": "#" * len(written)})
    content = path.read_bytes()
    assert b"#" * len(written) in content
    path.write_bytes(content.replace(b"#" * len(written), written))
    assert len(read_all(path)) == COUNT


def exif_of(orientation: int, order: str, kind: int = 3) -> bytes:
    head = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(f"{order}IH", 8, 2)
    maker = struct.pack(f"{order}HHI4s", 0x010F, 2, 4, b"abc")
    turn = struct.pack(f"{order}HHIHH", 0x0112, kind, 1, orientation, 0)
    return head + maker + turn + bytes(4)


def make_photo(exif: bytes) -> bytes:
    import cv2

    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[:16, :16] = (255, 0, 0)
    content = cv2.imencode(".jpg", image[..., ::-1])[1].tobytes()
    part = b"Exif\0\0" + exif
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(part) + 2) + part + content[2:]


def make_photos(path: Path, photo: bytes, count: int = 5) -> Path:
    """A camera's clip, each frame a photo of its own; or a single photo."""
    if path.suffix == ".jpg":
        path.write_bytes(photo)
        return path
    with av.open(str(path), "w") as container:
        stream = cast(VideoStream, container.add_stream("mjpeg", rate=FPS))
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        container.start_encoding()
        for index in range(count):
            packet = av.Packet(photo)
            packet.stream, packet.time_base = stream, Fraction(1, FPS)
            packet.pts = packet.dts = index
            packet.is_keyframe = True
            container.mux(packet)
    return path


@pytest.mark.parametrize("name", ["v.jpg", "v.avi", "v.mkv"])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_photos_are_shown_as_their_exif_says(
    tmp_path: Path, name: str, order: str, orientation: int
):
    path = make_photos(tmp_path / name, make_photo(exif_of(orientation, order)))
    rows, columns = {
        1: ("top", "left"), 2: ("top", "right"), 3: ("bottom", "right"), 4: ("bottom", "left"),
        5: ("top", "left"), 6: ("top", "right"), 7: ("bottom", "right"), 8: ("bottom", "left"),
    }[orientation]  # fmt: skip
    frames = read_all(path)
    assert len(frames) == (1 if name == "v.jpg" else 5)
    for frame in frames:
        assert frame.image.shape[:2] == ((HEIGHT, WIDTH) if orientation < 5 else (WIDTH, HEIGHT))
        part = frame.image[:10] if rows == "top" else frame.image[-10:]
        assert is_red(part[:, :10] if columns == "left" else part[:, -10:])


@pytest.mark.parametrize("name", ["v.jpg", "v.avi", "v.mkv"])
@pytest.mark.parametrize(
    "exif",
    [b"", b"II*", exif_of(6, "<")[:9], exif_of(6, "<")[:30], exif_of(99, "<"), exif_of(6, "<", 7),
     b"II*\0\x08\0\0\0\xff\xff" + b"\x12\x01" * 30, b"II*\0" + b"\xff" * 40],
)  # fmt: skip
def test_exif_that_cannot_be_read_is_left_alone(tmp_path: Path, name: str, exif: bytes):
    for frame in read_all(make_photos(tmp_path / name, make_photo(exif))):
        assert is_red(frame.image[:10, :10])


# ---- Holes in time -------------------------------------------------------------------------------


def test_the_clock_of_a_clip_with_a_hole_goes_on_in_the_steps_that_it_told():
    clock = decode._Clock(60.0)  # the mean rate: a hole of an hour among 60 frames
    times = [
        clock.time_of(stamp) for stamp in (0.0, 0.1, 0.2, 0.2, None, 0.4, 3600.4, 3600.5, None)
    ]
    expected = [0.0, 0.1, 0.2, 0.25, 0.35, 0.4, 3600.4, 3600.5, 3600.6]
    assert times == pytest.approx(expected)


@pytest.mark.parametrize("hole_s", [60, 3600, 30 * 3600, 1e9, 1e300])
def test_a_hole_of_any_length_can_be_written(tmp_path: Path, hole_s: float):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, size=(WIDTH, HEIGHT), fps=1e-5) as writer:
        for time_s in (0.0, 0.1, hole_s):
            writer.write(make_image(0), time_s)
    times = [frame.time_s for frame in read_all(path)]
    assert times == pytest.approx([0.0, 0.1, min(hole_s, 0.1 + write.LONGEST_STEP_S)], abs=1e-3)


def test_a_frame_a_day_can_be_written(tmp_path: Path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, size=(WIDTH, HEIGHT), fps=1 / 86400) as writer:
        for index in range(20):
            writer.write(make_image(index), index * 86400.0)
    assert [index_of(frame.image) for frame in read_all(path)] == list(range(20))
