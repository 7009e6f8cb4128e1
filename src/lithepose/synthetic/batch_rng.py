"""Random numbers for batches of pictures on one device, and how they go with pixels."""

from __future__ import annotations

import torch
from torch import Tensor


class BatchRng:
    """Random numbers for each of `count` pictures (or people), from one generator."""

    def __init__(self, count: int, generator: torch.Generator):
        self.count, self.generator, self.device = count, generator, generator.device

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        size = (self.count, *shape)
        return low + (high - low) * torch.rand(size, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        size = (self.count, *shape)
        return torch.randn(size, generator=self.generator, device=self.device)

    def chance(self, probability: float, *shape: int) -> Tensor:
        return self.uniform(0, 1, *shape) < probability

    def below(self, high: int, *shape: int) -> Tensor:
        size = (self.count, *shape)
        return torch.randint(high, size, generator=self.generator, device=self.device)


def wide(values: Tensor, axes: int = 2) -> Tensor:
    """Values of pictures with more axes at the end, which their pixels fill."""
    return values[(..., *[None] * axes)]


def turned(angle: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (B, H, W) along axes that are turned by (B,) radians."""
    cosine, sine = wide(torch.cos(angle)), wide(torch.sin(angle))
    return cosine * x + sine * y, cosine * y - sine * x
