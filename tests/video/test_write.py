"""Written clips, read again."""

from __future__ import annotations

import errno
import logging
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest

from lithepose.video import (
    VideoWriter,
    open_video,
    write,
)


@pytest.mark.parametrize("compact", [False, True])
def test_written_frames_come_back_in_order_colour_and_time(
    clips: Any, tmp_path: Path, compact: bool
):
    path = tmp_path / "out.mp4"
    times = [0.0, 0.05, 0.1, 0.25, 0.3, 1001 / 2000]
    with VideoWriter(path, size=(clips.WIDTH, clips.HEIGHT), fps=20, compact=compact) as writer:
        for index, time_s in enumerate(times):
            writer.write(clips.image(index), time_s)
        assert not path.exists()
    frames = clips.read(path)
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=2e-5)
    assert clips.indices(frames) == list(range(6))
    assert clips.is_red(frames[0].image[4:12, 4:12])
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # a browser can start before the end


def test_frames_without_times_follow_the_frame_rate(clips: Any, tmp_path: Path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, size=(clips.WIDTH, clips.HEIGHT), fps=Fraction(30000, 1001)) as writer:
        for index in range(clips.COUNT):
            writer.write(clips.image(index))
    with open_video(path) as reader:
        assert reader.fps == pytest.approx(29.97, abs=0.001)
        times = [frame.time_s for frame in reader]
    assert times == pytest.approx([i * 1001 / 30000 for i in range(clips.COUNT)], abs=1e-5)


def test_odd_sizes_are_made_even_at_the_right_and_bottom(clips: Any, tmp_path: Path):
    path = tmp_path / "out.mkv"
    with VideoWriter(path, size=(61, 47), fps=20) as writer:
        for index in range(3):
            writer.write(clips.image(index, 61, 47))
    with open_video(path) as reader:
        assert reader.size == (62, 48)
        assert clips.is_red(next(iter(reader)).image[4:12, 4:12])


@pytest.mark.parametrize("compact", [False, True])
@pytest.mark.parametrize("without", [1, 2, 3])
def test_another_encoder_steps_in_and_says_so(
    clips: Any,
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
            writer.write(clips.image(index, 64, 64), index / 20)
    assert encoders[without].name in caplog.text
    assert clips.indices(clips.read(path)) == list(range(5))


def test_a_failed_or_interrupted_writer_leaves_the_old_file(clips: Any, tmp_path: Path):
    path = tmp_path / "out.mp4"
    path.write_bytes(b"old")

    def interrupted() -> None:
        with VideoWriter(path, size=(clips.WIDTH, clips.HEIGHT), fps=20) as writer:
            for index in range(10):
                writer.write(clips.image(index))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    with (
        pytest.raises(ValueError, match="at least one"),
        VideoWriter(path, size=(clips.WIDTH, clips.HEIGHT), fps=20),
    ):
        pass
    assert path.read_bytes() == b"old"
    assert [file.name for file in tmp_path.iterdir()] == ["out.mp4"]


def test_a_full_disk_is_an_os_error_and_leaves_nothing(clips: Any, tmp_path: Path):
    path = tmp_path / "out.mp4"

    class FullDisk:
        def mux(self, packets) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        def close(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    writer = VideoWriter(path, size=(clips.WIDTH, clips.HEIGHT), fps=20)
    writer._container.close()
    writer._container = FullDisk()  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(OSError, match="the disk is full: free some space") as failure, writer:
        writer.write(clips.image(0))
    assert failure.value.errno == errno.ENOSPC
    assert list(tmp_path.iterdir()) == []


def test_a_writer_refuses_what_makes_no_video(clips: Any, tmp_path: Path):
    size = (clips.WIDTH, clips.HEIGHT)
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
        writer.write(clips.image(0), 0.0)
        with pytest.raises(ValueError, match="does not come after"):
            writer.write(clips.image(1), 0.0)
        with pytest.raises(ValueError, match=r"must be \(48, 64, 3\)"):
            writer.write(clips.image(1, 32, 32), 1.0)
        with pytest.raises(ValueError, match="0 s or later"):
            writer.write(clips.image(1), float("nan"))
    with pytest.raises(ValueError, match="is finished"):
        writer.write(clips.image(1), 1.0)


@pytest.mark.parametrize("hole_s", [60, 3600, 30 * 3600, 1e9, 1e300])
def test_a_hole_of_any_length_can_be_written(clips: Any, tmp_path: Path, hole_s: float):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, size=(clips.WIDTH, clips.HEIGHT), fps=1e-5) as writer:
        for time_s in (0.0, 0.1, hole_s):
            writer.write(clips.image(0), time_s)
    times = [frame.time_s for frame in clips.read(path)]
    assert times == pytest.approx([0.0, 0.1, min(hole_s, 0.1 + write.LONGEST_STEP_S)], abs=1e-3)


def test_a_frame_a_day_can_be_written(clips: Any, tmp_path: Path):
    path = tmp_path / "out.mp4"
    with VideoWriter(path, size=(clips.WIDTH, clips.HEIGHT), fps=1 / 86400) as writer:
        for index in range(20):
            writer.write(clips.image(index), index * 86400.0)
    assert clips.indices(clips.read(path)) == list(range(20))
