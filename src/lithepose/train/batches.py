"""Batches of a training that any number of processes draws alike."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray
from torch import Tensor

from lithepose.train.settings import Optimisation


class Examples(Protocol):
    """Where training examples come from."""

    def __len__(self) -> int:
        """Examples of one epoch; an endless source states a nominal number."""
        ...

    def draw(
        self, indices: NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """One chunk of a batch: the first axis of every array has the length of `indices`.

        Runs in worker processes: the object must be picklable and needs NumPy only.
        """
        ...


class Batches(torch.utils.data.Dataset[dict[str, Tensor]]):
    """A process's share of the batch of step i."""

    def __init__(
        self, examples: Examples, optimisation: Optimisation, chunk: int, rank: int, world: int
    ):
        self.examples, self.seed, self.batch = examples, optimisation.seed, optimisation.batch
        self.chunk, self.rank, self.world = chunk, rank, world
        self.epoch, self.order = -1, np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, step: int) -> dict[str, Tensor]:
        """Each array of `Examples.draw` as a tensor: (examples of this process, ...)."""
        indices = self._indices(step)
        parts = []
        for c in range(self.rank, -(-self.batch // self.chunk), self.world):
            random = np.random.default_rng((self.seed, step, c))
            parts.append(self.examples.draw(indices[c * self.chunk : (c + 1) * self.chunk], random))
        return {
            name: torch.from_numpy(
                np.concatenate([part[name] for part in parts])
                if len(parts) > 1
                else np.ascontiguousarray(parts[0][name])
            )
            for name in parts[0]
        }

    def _indices(self, step: int) -> NDArray[np.int64]:
        """The examples of a step's whole batch, which may reach over the end of an epoch."""
        size, first = len(self.examples), step * self.batch
        found = []
        while first < (step + 1) * self.batch:
            epoch, at = divmod(first, size)
            if epoch != self.epoch:
                random = np.random.default_rng((self.seed, epoch))
                self.epoch, self.order = epoch, random.permutation(size)
            last = min((step + 1) * self.batch - epoch * size, size)
            found.append(self.order[at:last])
            first = epoch * size + last
        return np.concatenate(found)
