"""Random numbers for batches of pictures on one device, and how they go with pixels."""

from __future__ import annotations

import torch
from torch import Tensor


class BatchRng:
    """Random numbers for each of `count` pictures (or people), from one generator."""

    def __init__(self, count: int, generator: torch.Generator):
        self.count, self.generator = count, generator

    def uniform(self, low: float = 0.0, high: float = 1.0, *shape: int) -> Tensor:
        drawn = torch.rand(
            (self.count, *shape), generator=self.generator, device=self.generator.device
        )
        return low + (high - low) * drawn

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(
            (self.count, *shape), generator=self.generator, device=self.generator.device
        )

    def chance(self, probability: float, *shape: int) -> Tensor:
        return self.uniform(0, 1, *shape) < probability

    def below(self, high: int, *shape: int) -> Tensor:
        return torch.randint(
            high, (self.count, *shape), generator=self.generator, device=self.generator.device
        )


def wide(values: Tensor, axes: int = 2) -> Tensor:
    """Values of pictures with more axes at the end, which their pixels fill."""
    return values[(..., *[None] * axes)]


def turned(angle: Tensor, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
    """Coordinates (B, H, W) along axes that are turned by (B,) radians."""
    cosine, sine = wide(torch.cos(angle)), wide(torch.sin(angle))
    return cosine * x + sine * y, cosine * y - sine * x
