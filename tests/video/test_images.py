"""Folders of images as clips."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.video import (
    VideoError,
    VideoWarning,
    open_video,
)


def make_folder(clips: Any, path: Path, count: int = 12) -> Path:
    cv2 = pytest.importorskip("cv2")
    path.mkdir()
    for index in range(count):
        cv2.imwrite(str(path / f"shot{index}.png"), clips.image(index)[..., ::-1])
    (path / "notes.txt").write_text("no image")
    return path


def test_an_image_folder_is_a_clip_in_natural_order(clips: Any, tmp_path: Path):
    path = make_folder(clips, tmp_path / "shots")
    with open_video(path, fps=10, start_s=0.2, end_s=1.1) as reader:
        assert reader.size == (clips.WIDTH, clips.HEIGHT)
        assert reader.fps == 10
        assert reader.frame_count == 9
        assert reader.offset_s == pytest.approx(0.2)
        frames = list(reader)
    assert clips.indices(frames) == list(range(2, 11))
    assert [frame.time_s for frame in frames] == pytest.approx([i / 10 for i in range(9)])
    assert clips.is_red(frames[0].image[:10, :10])


def test_a_damaged_image_is_left_out_with_a_warning(clips: Any, tmp_path: Path):
    path = make_folder(clips, tmp_path / "shots")
    (path / "shot3.png").write_bytes(b"no image")
    with open_video(path, fps=10) as reader, pytest.warns(VideoWarning, match="1 damaged"):
        frames = list(reader)
    assert clips.indices(frames) == [0, 1, 2, *range(4, 12)]
    assert frames[3].time_s == pytest.approx(0.4)


def test_image_folders_that_are_no_clip_say_so(clips: Any, tmp_path: Path):
    cv2 = pytest.importorskip("cv2")
    path = make_folder(clips, tmp_path / "shots", count=2)
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
