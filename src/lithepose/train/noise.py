"""A detector's errors, as measured on rendered people, added to exact 2D joints.

The measurement (docs/benchmarks/detector_noise.md) splits each joint's error, in units of the
person's size in the image, into a part constant over a clip, a part that wanders (a first-order
autoregressive process) and a white part; joints hidden behind the body err more.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.lifters.windows import LIMBS

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, kw_only=True)
class DetectorNoise:
    constant: Floats
    wandering: Floats
    wandering_s: float
    white: Floats
    strength: tuple[float, float] = (0.3, 1.6)

    def __call__(
        self, rays: Floats, camera: Floats, fps: Floats, random: np.random.Generator
    ) -> tuple[Floats, Floats]:
        count, frames, joints = rays.shape[:3]
        limbs = rays[..., LIMBS, :]
        centre = limbs.mean(-2, keepdims=True)
        size = np.sqrt(((limbs - centre) ** 2).sum(-1).mean(-1))[..., None, None]
        shape = (count, frames, joints, 2)
        strength = random.uniform(*self.strength, (count, 1, 1, 1)).astype("f4")
        spread = np.exp(0.5 * random.standard_normal((count, 1, joints, 1))).astype("f4") * strength
        lag = np.abs(np.subtract.outer(np.arange(frames), np.arange(frames)))
        corr = np.exp(-lag / (self.wandering_s * float(np.median(fps))))
        L = np.linalg.cholesky(corr + 1e-6 * np.eye(frames)).astype("f4")
        normal = random.standard_normal((count, frames, joints * 2), dtype=np.float32)
        slow = (L @ normal).reshape(shape)
        white = random.standard_normal(shape, dtype=np.float32)
        const = random.standard_normal((count, 1, joints, 2), dtype=np.float32)
        error = (
            spread * (self.wandering[:, None] * slow + self.white[:, None] * white)
            + strength * self.constant[:, None] * const
        )
        sigma = (spread * np.hypot(self.wandering, self.white)[:, None])[..., 0]
        conf = np.exp(-4 * sigma) + 0.05 * random.standard_normal((count, frames, joints))
        return (rays + error * size).astype("f4"), np.clip(conf, 0.05, 1).astype("f4")
