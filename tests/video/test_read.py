"""Frames in order, at their times, in a range, and decoded ahead in a thread."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from lithepose.video import (
    VideoError,
    decode,
    open_video,
)


@pytest.mark.parametrize("prefetch", [0, 1, 4])
def test_frames_come_in_order_with_their_times(clips: Any, clip: Path, prefetch: int):
    with open_video(clip, prefetch=prefetch) as reader:
        assert reader.size == (clips.WIDTH, clips.HEIGHT)
        assert reader.fps == clips.FPS
        assert reader.frame_count == clips.COUNT
        assert reader.duration_s == pytest.approx(1.0)
        frames = list(reader)
        assert reader.problem is None
    assert [frame.index for frame in frames] == list(range(clips.COUNT))
    assert clips.indices(frames) == list(range(clips.COUNT))
    assert [frame.time_s for frame in frames] == pytest.approx(
        [i / clips.FPS for i in range(clips.COUNT)]
    )
    assert frames[0].image.dtype == np.uint8
    assert frames[0].image.shape == (clips.HEIGHT, clips.WIDTH, 3)
    assert frames[0].image.flags.c_contiguous


@pytest.mark.parametrize("suffix", [".mp4", ".mkv", ".ts"])
@pytest.mark.parametrize(("start", "end"), [(0.0, 0.5), (2.5, 3.0), (4.25, None), (7.9, 99.0)])
def test_a_range_is_exact_wherever_the_key_frames_are(
    clips: Any, tmp_path: Path, suffix: str, start: float, end: float | None
):
    # Key frames every 33 frames, so that no range starts on one.
    path = tmp_path / f"long{suffix}"
    clips.make(path, count=160, size=(32, 32), options={"g": "33", "preset": "ultrafast"})
    everything = clips.read(path)
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


def test_a_missing_file_and_wrong_arguments_say_so(tmp_path: Path, clip: Path):
    with pytest.raises(FileNotFoundError, match="no video at"):
        open_video(tmp_path / "nothing.mp4")
    with pytest.raises(ValueError, match="leave fps out"):
        open_video(clip, fps=30)
    with pytest.raises(ValueError, match="prefetch"):
        open_video(clip, prefetch=-1)


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
