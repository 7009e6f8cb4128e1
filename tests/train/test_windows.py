"""Windows of sequences: which frames they are of."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.train.windows import cut_windows


def frames_of(lengths: list[int], frames: int, stride: int, kind: str) -> list[list[int]]:
    windows = cut_windows(lengths, frames, stride, kind)
    return windows.index(np.arange(len(windows)), np.array(lengths)).tolist()


def test_windows_around_each_frame_repeat_the_ends():
    assert frames_of([4], 3, 1, "per_frame") == [[0, 0, 1], [0, 1, 2], [1, 2, 3], [2, 3, 3]]
    assert frames_of([4], 3, 2, "per_frame") == [[0, 0, 1], [1, 2, 3]]
    assert frames_of([1], 5, 1, "per_frame") == [[0, 0, 0, 0, 0]]


def test_padded_windows_share_the_overhang_between_both_ends():
    # ceil((7 - 3) / 3) + 1 = 3 windows of 9 frames: 2 hang over, one on each side.
    assert frames_of([7], 3, 3, "padded") == [[0, 0, 1], [2, 3, 4], [5, 6, 6]]
    # 4 windows of 12 frames over 10 less an odd one: 2 hang over.
    assert frames_of([8], 3, 3, "padded") == [[0, 1, 2], [3, 4, 5], [6, 7, 7]]
    assert frames_of([6], 3, 3, "padded") == [[0, 1, 2], [3, 4, 5]]
    assert frames_of([2], 5, 5, "padded") == [[0, 0, 1, 1, 1]]


def test_the_last_window_is_the_last_frames():
    assert frames_of([8], 3, 3, "last") == [[0, 1, 2], [3, 4, 5], [5, 6, 7]]
    assert frames_of([6], 3, 3, "last") == [[0, 1, 2], [3, 4, 5]]
    assert frames_of([2], 4, 4, "last") == [[0, 1, 1, 1]]


def test_windows_inside_leave_the_rest_out_and_stretch_what_is_too_short():
    assert frames_of([8], 3, 2, "inside") == [[0, 1, 2], [2, 3, 4], [4, 5, 6]]
    assert frames_of([2], 4, 4, "inside") == [[0, 0, 1, 1]]
    assert frames_of([7], 4, 4, "inside-rest") == [[0, 1, 2, 3], [4, 4, 5, 6]]
    assert frames_of([8], 4, 4, "inside-rest") == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert frames_of([3], 4, 4, "inside-rest") == [[0, 0, 1, 2]]


def test_stretching_by_chance_takes_neighbouring_frames_in_their_order():
    windows = cut_windows([5], 9, 9, "inside")
    seen = np.stack(
        [windows.index(np.array([0]), np.array([5]), np.random.default_rng(i))[0] for i in range(9)]
    )
    assert (np.diff(seen, axis=1) >= 0).all()
    assert seen.min() == 0
    assert seen.max() == 4
    assert len({tuple(row) for row in seen.tolist()}) > 1


@pytest.mark.parametrize("kind", ["per_frame", "padded", "last", "inside", "inside-rest"])
def test_every_frame_that_a_kind_covers_is_in_a_window(kind: str):
    for length in (1, 8, 9, 10, 27, 31):
        seen = set(np.ravel(frames_of([length], 9, 9 if kind != "per_frame" else 1, kind)))
        assert max(seen) < length
        if kind != "inside" or length < 9:
            assert seen >= set(range(length)) or kind == "inside-rest"


def test_an_unknown_kind_and_a_stride_of_nothing_are_refused():
    with pytest.raises(ValueError, match="known: per_frame, padded"):
        cut_windows([9], 3, 1, "round")
    with pytest.raises(ValueError, match="stride must be at least 1"):
        cut_windows([9], 3, 0, "per_frame")
