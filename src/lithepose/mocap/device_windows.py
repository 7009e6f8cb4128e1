"""Training windows drawn on the device that trains: `lithepose.mocap.windows` in PyTorch.

A GPU lifts windows far faster than processors draw them, so here a whole batch is drawn where it is
used, by the same steps as with NumPy; only the random numbers are others. They are all drawn first,
with shapes that depend on the batch's size alone: what follows is one function of tensors without a
branch, which a compiler fuses and a GPU runs without waiting for the processor.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from lithepose.anthropometry import TRAINING_MEAN
from lithepose.mocap.motions import Motions
from lithepose.mocap.noise import DetectorNoise, NoiseNumbers, NoiseTables
from lithepose.mocap.windows import (
    BENT,
    BLUR,
    Batch,
    MotionNumbers,
    Tables,
    ViewNumbers,
    WindowSettings,
    focal_errors,
    make_windows,
    tables_of,
)


class DeviceWindows(nn.Module):
    """Draws batches of training windows; moves between devices like a network.

    Args:
        motions: motion clips.
        settings: as for `lithepose.mocap.windows.draw_batch`.
        noise: a detector's errors; None leaves the 2D exact.
    """

    positions: Tensor

    def __init__(self, motions: Motions, settings: WindowSettings, noise: DetectorNoise | None):
        super().__init__()
        self.settings, self.noisy = settings, noise is not None
        self._keep("", tables_of(motions, settings))
        if noise is not None:
            # Frame rates are drawn evenly on a logarithmic scale: their median is the geometric
            # mean.
            rate = math.sqrt(settings.fps[0] * settings.fps[1])
            self._keep("noise_", noise.tables(settings.frames, rate))

    def _keep(self, prefix: str, tables: NamedTuple) -> None:
        """Keep arrays as buffers, which move with the module, and other values as they are."""
        for name, value in tables._asdict().items():
            if isinstance(value, np.ndarray):
                kinds = {"f": torch.float32, "i": torch.int64, "b": torch.bool}
                tensor = torch.as_tensor(value, dtype=kinds[value.dtype.kind])
                self.register_buffer(prefix + name, tensor, persistent=False)
            else:
                setattr(self, prefix + name, value)

    def _kept(self, prefix: str, kind: type[Any]) -> Any:
        return kind(*(getattr(self, prefix + name) for name in kind._fields))

    def forward(self, count: int, generator: torch.Generator) -> Batch:
        """Draw a batch.

        Args:
            count: B, windows.
            generator: on the device of this module.
        """
        return self.make(*self.numbers(count, generator))

    def numbers(
        self, count: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
        """All random numbers of a batch: centre frames (B,) and a partner of each window (B,);
        uniform (B, 32) and normal (B, 96) ones of each window; and, where there is noise, normal
        (B, F, 17, 6) and uniform (B, F, 4) ones of each frame."""
        place: dict[str, Any] = {"generator": generator, "device": self.positions.device}
        frames = self.settings.frames
        return (
            torch.randint(len(self.positions), (count,), dtype=torch.int64, **place),
            # By sorting: a permutation drawn otherwise may wait for the processor.
            torch.rand(count, **place).argsort(),
            torch.rand(count, 32, **place),
            torch.randn(count, 96, **place),
            torch.randn((count, frames, 17, 6) if self.noisy else (0,), **place),
            torch.rand((count, frames, 4) if self.noisy else (0,), **place),
        )

    def make(
        self,
        centre: Tensor,
        partner: Tensor,
        uniform: Tensor,
        normal: Tensor,
        per_frame: Tensor,
        slips: Tensor,
    ) -> Batch:
        """The batch that given random numbers make; see `numbers` and `forward`."""
        uniforms, normals = _Columns(uniform), _Columns(normal)
        motion = MotionNumbers(
            centre=centre,
            rate=uniforms.next(),
            exchange=uniforms.next(),
            partner=partner,
            mirror=uniforms.next(),
            bend_axis=normals.take(len(BENT) * 3).unflatten(1, (len(BENT), 3)),
            bend=normals.take(len(BENT)),
            bones=normals.take(len(TRAINING_MEAN)),
        )
        view = ViewNumbers(
            distance=uniforms.next(),
            azimuth=uniforms.next(),
            height=uniforms.next(),
            tilt_axis=normals.take(3),
            tilt=normals.next(),
            roll=normals.next(),
            blur=normals.take(len(BLUR)),
            noise=_noise_numbers(uniforms, normals, per_frame, slips) if self.noisy else None,
            clean=uniforms.next() if self.noisy else torch.zeros_like(motion.rate),
            unknown=uniforms.take(17),
        )
        focal = focal_errors(normals.next(), uniforms.next(), self.settings)
        tables = self._kept("", Tables)
        errors = self._kept("noise_", NoiseTables) if self.noisy else None
        return make_windows(motion, view, focal, tables, errors, self.settings)


def _noise_numbers(
    uniforms: _Columns, normals: _Columns, per_frame: Tensor, slips: Tensor
) -> NoiseNumbers:
    return NoiseNumbers(
        slow=per_frame[..., :2],
        unsure=per_frame[..., 2],
        white=per_frame[..., 3:5],
        level=per_frame[..., 5],
        constant=normals.take(34).unflatten(1, (1, 17, 2)),
        strength=uniforms.next(),
        offset=normals.next(),
        slips=slips.unbind(-1),
    )


class _Columns:
    """Hands out the columns of a table of random numbers, each once."""

    def __init__(self, table: Tensor):
        self.table, self.used = table, 0

    def take(self, count: int) -> Tensor:
        """(B, count), the next columns."""
        self.used += count
        if self.used > self.table.shape[1]:
            raise IndexError(f"{self.used} random numbers wanted of {self.table.shape[1]}")
        return self.table[:, self.used - count : self.used]

    def next(self) -> Tensor:
        """(B,), the next column."""
        return self.take(1)[:, 0]
