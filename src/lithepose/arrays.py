"""Names of the array types that annotations use, and what NumPy and PyTorch call differently."""

from __future__ import annotations

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


def namespace(array: Array) -> Any:
    """The library that an array is of, `numpy` or `torch`."""
    if isinstance(array, np.ndarray | np.generic):
        return np
    import torch

    return torch


def single(array: Array) -> Array:
    """The array in single precision."""
    return array.astype(np.float32) if namespace(array) is np else array.float()


def whole(array: Array) -> Array:
    """The array as integers, towards zero."""
    return array.astype(np.int64) if namespace(array) is np else array.long()
