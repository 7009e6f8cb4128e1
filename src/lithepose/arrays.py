"""Names of the array types that annotations use, and what NumPy and PyTorch call differently."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating[Any]]
Flags = NDArray[np.bool_]
Indices = NDArray[np.int64]
Image = NDArray[np.uint8]  # (H, W, 3) RGB
# Of NumPy or of PyTorch, in functions that take both: they call what both have under one name,
# index by slices or by arrays of the same kind, and branch on no value.
Array = Any
_OF_NUMPY = (np.ndarray, np.generic)


def namespace(array: Array) -> Any:
    """The library that an array is of, `numpy` or `torch`."""
    if isinstance(array, _OF_NUMPY):
        return np
    import torch

    return torch


def single(array: Array) -> Array:
    """The array in single precision."""
    return array.astype(np.float32, copy=False) if namespace(array) is np else array.float()


def whole(array: Array) -> Array:
    """The array as integers, towards zero."""
    return array.astype(np.int64, copy=False) if namespace(array) is np else array.long()


def changed_where(
    chosen: Array, change: Callable[[Any], Sequence[Array]], *values: Array
) -> tuple[Array, ...]:
    """Values that are changed in the chosen rows.

    NumPy works out no other rows. PyTorch works out all, so that a device never has to tell the
    processor how many are chosen.

    Args:
        chosen: (B, ...) flags.
        change: rows, as an index into arrays (B, ...) -> the new values in them.
        values: (B, ..., *) each; NumPy's are changed in place.
    """
    xp = namespace(chosen)
    if xp is np:
        rows = np.nonzero(chosen)
        for old, new in zip(values, change(rows), strict=True):
            old[rows] = new
        return values
    return tuple(
        xp.where(chosen.reshape(*chosen.shape, *[1] * (old.ndim - chosen.ndim)), new, old)
        for old, new in zip(values, change(...), strict=True)
    )
