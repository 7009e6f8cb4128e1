"""Losses of lifters: pure functions of poses (B, K, J, 3) in metres."""

from __future__ import annotations

from torch import Tensor


def joint_distance(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean distance of joints; `weight` (J,) should have mean 1."""
    return ((predicted - target).norm(dim=-1) * weight).mean()


def velocity_distance(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean distance of the joints' steps from frame to frame."""
    return joint_distance(predicted.diff(dim=1), target.diff(dim=1), weight)
