"""Smoothing of finished motion without delay."""

from __future__ import annotations

import numpy as np

from lithepose.arrays import Floats

# Reflected seconds at both ends, so that the first and last frames are not pulled to each other.
_REFLECTED_S = 2.0


def low_pass(values: Floats, time_s: Floats, cutoff_hz: float) -> Floats:
    """Zero-phase low-pass: a second-order Butterworth filter run forwards and backwards.

    It has half the power left at `cutoff_hz`, as biomechanics states such filters, and is computed
    at once over the spectrum. Unevenly timed values are filtered on an even grid.

    Args:
        values: (T, ...), all finite.
        time_s: (T,) seconds, ascending.
        cutoff_hz: above half the frame rate nothing changes.
    Returns:
        (T, ...) float64.
    Raises:
        ValueError: the cut-off is not positive, or a value is not finite.
    """
    values = np.asarray(values, dtype=np.float64)
    if not cutoff_hz > 0:
        raise ValueError(f"the cut-off is {cutoff_hz} Hz: give a positive frequency, such as 6")
    if not np.isfinite(values).all():
        raise ValueError("only whole segments can be smoothed: fill gaps or split at them first")
    frames = len(values)
    if frames < 3:
        return values.copy()
    flat = values.reshape(frames, -1)
    step = (time_s[-1] - time_s[0]) / (frames - 1)
    even = time_s[0] + step * np.arange(frames)
    uneven = bool((np.abs(even - time_s) > 0.1 * step).any())
    if uneven:
        flat = np.stack([np.interp(even, time_s, column) for column in flat.T], -1)
    if cutoff_hz >= 0.5 / step:
        return values.copy()
    reach = min(frames - 1, round(_REFLECTED_S / step))
    frequency = np.fft.rfftfreq(frames + 2 * reach, step)
    gain = 1 / (1 + (np.sqrt(2) - 1) * (frequency / cutoff_hz) ** 4)
    smooth = np.empty_like(flat)
    # A column at a time: the spectrum of a long clip is several times its size.
    for index, column in enumerate(flat.T):
        before = 2 * column[0] - column[reach:0:-1]
        after = 2 * column[-1] - column[-2 : -reach - 2 : -1]
        spectrum = np.fft.rfft(np.concatenate([before, column, after]))
        filtered = np.fft.irfft(spectrum * gain, frames + 2 * reach)[reach : reach + frames]
        smooth[:, index] = np.interp(time_s, even, filtered) if uneven else filtered
    return smooth.reshape(values.shape)
