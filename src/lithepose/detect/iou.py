"""Boxes that overlap: intersection over union, and non-maximum suppression by it."""

from __future__ import annotations

import numpy as np

from lithepose.arrays import Floats, Indices


def corners_of(boxes: Floats) -> Floats:
    """(..., 4) left, top, right, bottom of boxes left, top, width, height."""
    return np.concatenate([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], axis=-1)


def iou(boxes: Floats, others: Floats) -> Floats:
    """(N, M) intersection over union of (N, 4) and (M, 4) boxes: left, top, right, bottom."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.clip(high - low, 0, None).prod(axis=-1)
    one, other = (np.clip(b[:, 2:] - b[:, :2], 0, None).prod(axis=1) for b in (boxes, others))
    return shared / np.maximum(one[:, None] + other - shared, 1e-9)


def nms(boxes: Floats, scores: Floats, overlap: float) -> Indices:
    """Non-maximum suppression.

    Args:
        boxes: (N, 4) left, top, right, bottom.
        scores: (N,).
        overlap: intersection over union, above which the box with the lower score goes.

    Returns:
        Indices of the boxes that stay, best score first.
    """
    left = np.argsort(-scores, kind="stable")
    kept = []
    while len(left):
        best, left = left[0], left[1:]
        kept.append(best)
        left = left[iou(boxes[best : best + 1], boxes[left])[0] <= overlap]
    return np.array(kept, dtype=np.int64)
