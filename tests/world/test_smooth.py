"""Smoothing: what stays, what goes, and nothing comes late."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.world.smooth import low_pass

TIME = np.arange(200) / 50


def wave(hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * TIME + 0.4)


def test_slow_motion_stays_and_fast_motion_goes_without_delay():
    slow = low_pass(wave(1.0), TIME, 6.0)
    inner = slice(20, -20)
    np.testing.assert_allclose(slow[inner], wave(1.0)[inner], atol=0.005)
    assert np.abs(low_pass(wave(20.0), TIME, 6.0)[inner]).max() < 0.03
    # Half the power at the cut-off.
    kept = low_pass(wave(6.0), TIME, 6.0)[40:-40]
    assert np.std(kept) / np.std(wave(6.0)[40:-40]) == pytest.approx(0.5**0.5, abs=0.02)


def test_steady_motion_is_unchanged_to_its_ends():
    line = np.stack([2 + 3 * TIME, -TIME], -1)
    np.testing.assert_allclose(low_pass(line, TIME, 3.0), line, atol=1e-5)


def test_a_cut_off_above_the_rate_changes_nothing():
    noise = np.random.default_rng(0).normal(size=(200, 3, 2))
    np.testing.assert_array_equal(low_pass(noise, TIME, 30.0), noise)


def test_axes_are_smoothed_apart_and_the_input_is_kept():
    noise = np.random.default_rng(0).normal(size=(200, 3, 2))
    before = noise.copy()
    smooth = low_pass(noise, TIME, 4.0)
    np.testing.assert_array_equal(noise, before)
    np.testing.assert_allclose(smooth[:, 1, 1], low_pass(noise[:, 1, 1], TIME, 4.0), atol=1e-12)


def test_uneven_time_stamps_are_minded():
    random = np.random.default_rng(1)
    time_s = np.sort(TIME + random.uniform(-0.008, 0.008, len(TIME)))
    slow = np.sin(2 * np.pi * time_s)
    smooth = low_pass(slow, time_s, 6.0)
    np.testing.assert_allclose(smooth[20:-20], slow[20:-20], atol=0.01)


@pytest.mark.parametrize("frames", [1, 2])
def test_a_moment_is_left_as_it_is(frames: int):
    values = np.ones((frames, 3))
    np.testing.assert_array_equal(low_pass(values, np.arange(frames) / 30, 6.0), values)


def test_bad_values_are_refused():
    with pytest.raises(ValueError, match="positive frequency"):
        low_pass(np.zeros(10), np.arange(10) / 30, 0)
    with pytest.raises(ValueError, match="fill gaps"):
        low_pass(np.array([0.0, np.nan, 1, 2]), np.arange(4) / 30, 6)
