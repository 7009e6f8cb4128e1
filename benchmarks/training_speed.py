"""Speed of the training engine beside a plain loop, on the same windows and network.

    python benchmarks/training_speed.py [--device cuda] [--steps 200] [--networks nanohtnet-81-9]

The plain loop is the one of most published code: a `DataLoader` over single windows with as many
worker processes, Adam, and `loss.item()` in every step. The engine draws the same windows in chunks
and reads the loss now and then. Both cut windows out of 600,000 frames in memory and mirror half of
them. Prints examples per second and the ratio, for each way to run the engine that the device has,
and how many examples one process draws where nothing is trained.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from lithepose.lifters import LIFTERS, create_lifter
from lithepose.train.engine import run
from lithepose.train.settings import Optimisation, RunSettings

MIRROR = np.array([0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13])
# Name in the table of lifters, and a published batch.
NETWORKS = {"nanohtnet-81-9": 256, "hot-mixste-243": 4}


@dataclass(frozen=True)
class Windows:
    """Windows around every frame of one long motion, in memory."""

    joints_2d: np.ndarray  # (frames, 17, 2)
    joints_3d: np.ndarray  # (frames, 17, 3)
    frames: int
    targets: int

    def __len__(self) -> int:
        return len(self.joints_2d) - self.frames + 1

    def draw(self, indices: Any, random: np.random.Generator) -> dict[str, Any]:
        around = (self.frames - self.targets) // 2
        at = np.asarray(indices)[:, None]
        values = self.joints_2d[at + np.arange(self.frames)]
        targets = self.joints_3d[at + around + np.arange(self.targets)]
        mirrored = random.random(len(at)) < 0.5
        sign = np.where(mirrored, -1, 1).astype(np.float32)[:, None, None]
        for array in (values, targets):
            array[mirrored] = array[mirrored][:, :, MIRROR]
            array[..., 0] *= sign
        return {"values": values, "targets": targets}


class Single(Dataset[tuple[Tensor, Tensor]]):
    """The same windows, one at a time."""

    def __init__(self, windows: Windows):
        self.windows = windows

    def __len__(self) -> int:
        return len(self.windows)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        w, around = self.windows, (self.windows.frames - self.windows.targets) // 2
        values = w.joints_2d[index : index + w.frames].copy()
        targets = w.joints_3d[index + around : index + around + w.targets].copy()
        if np.random.random() < 0.5:  # noqa: NPY002  (as published loops do it)
            values, targets = values[:, MIRROR], targets[:, MIRROR]
            values[..., 0] *= -1
            targets[..., 0] *= -1
        return torch.from_numpy(values), torch.from_numpy(targets)


class Lifting:
    """The engine's task."""

    score = "mpjpe"
    higher_is_better = False

    def __init__(self, name: str, windows: Windows):
        self.name, self.examples = name, windows

    def build(self) -> nn.Module:
        return create_lifter(self.name)

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        del generator
        return (network(batch["values"]) - batch["targets"]).norm(dim=-1).mean()

    def validate(self, network: nn.Module) -> dict[str, float]:
        del network
        return {"mpjpe": 0.0}


def plain(name: str, windows: Windows, batch: int, steps: int, workers: int, device: str) -> float:
    """Examples per second of a loop as it is usually written."""
    torch.manual_seed(1)
    network = create_lifter(name).to(device).train()
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-4)
    loader = DataLoader(Single(windows), batch, shuffle=True, num_workers=workers, pin_memory=True)
    total, begin = 0.0, 0.0
    for step, (values, targets) in enumerate(loader):
        if step == steps // 3:
            total, begin = 0.0, time.perf_counter()
        if step == steps:
            break
        values, targets = values.to(device), targets.to(device)
        loss = (network(values) - targets).norm(dim=-1).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        total += loss.item() * len(values)
    return (steps - steps // 3) * batch / (time.perf_counter() - begin)


def engine(name: str, windows: Windows, batch: int, steps: int, **settings: Any) -> float:
    """Examples per second of the engine, without its first third."""
    optimisation = Optimisation(optimiser="adam", learning_rate=1e-4, steps=steps, batch=batch)
    run_settings = RunSettings(
        save_every=steps // 3 if steps >= 3 else 1, tensorboard=False, **settings
    )
    with tempfile.TemporaryDirectory() as folder:
        progress = list(
            run(Lifting(name, windows), optimisation, run_settings, Path(folder), described={})
        )
    rest = progress[1:]
    done = [after.step - before.step for before, after in pairwise(progress)]
    seconds = [n * batch / p.examples_per_s for n, p in zip(done, rest, strict=True)]
    return sum(done) * batch / sum(seconds)


def drawing(windows: Windows, chunk: int, seconds: float = 2.0) -> float:
    """Windows per second that one process draws in chunks."""
    random, drawn = np.random.default_rng(0), 0
    begin = time.perf_counter()
    while (elapsed := time.perf_counter() - begin) < seconds:
        windows.draw(random.integers(0, len(windows), chunk), random)
        drawn += chunk
    return drawn / elapsed


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed of the engine beside a plain loop.")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--repeats", type=int, default=3, help="the fastest of so many counts")
    parser.add_argument("--networks", nargs="+", default=list(NETWORKS))
    parser.add_argument("--batch", type=int, help="instead of the network's published one")
    parser.add_argument("--compile", action="store_true", help="compiled networks too")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    random = np.random.default_rng(0)
    joints = 0.3 * random.standard_normal((600_000, 17, 3), dtype=np.float32)
    shared: dict[str, Any] = {"device": arguments.device, "workers": arguments.workers}
    ways: dict[str, dict[str, Any]] = {"float32": {"precision": "32"}}
    if arguments.device.startswith("cuda"):
        ways["bfloat16"] = {"precision": "bf16"}
        ways["bfloat16, recorded"] = {"precision": "bf16", "cuda_graphs": True}
        if arguments.compile:
            ways["bfloat16, compiled"] = {"precision": "bf16", "compiled": True}
            ways["bfloat16, compiled, recorded"] = ways["bfloat16, compiled"] | {
                "cuda_graphs": True
            }
    elif arguments.compile:
        ways["float32, compiled"] = {"precision": "32", "compiled": True}
    print("| network | batch | loop | examples/s | ratio |\n|---|---:|---|---:|---:|")
    for name in arguments.networks:
        batch = arguments.batch or NETWORKS[name]
        row = LIFTERS[name]
        windows = Windows(joints[..., :2].copy(), joints, row.frames_in, row.frames_out)
        steps, repeats = arguments.steps, range(arguments.repeats)
        rates: dict[str, list[float]] = {"plain": [], **{way: [] for way in ways}}
        for _ in repeats:  # in turn, because other work on the machine comes and goes
            rates["plain"].append(
                plain(name, windows, batch, steps, arguments.workers, arguments.device)
            )
            for way, own in ways.items():
                rates[way].append(engine(name, windows, batch, steps, **shared, **own))
        base = max(rates["plain"])
        for way, found in rates.items():
            label = "plain, float32" if way == "plain" else f"engine, {way}"
            best = max(found)
            print(f"| {name} | {batch} | {label} | {best:.4g} | {best / base:.2f} |", flush=True)
        drawn = drawing(windows, min(64, batch))
        print(
            f"| {name} | {batch} | drawing alone | {drawn:.4g} | {drawn / base:.0f} |", flush=True
        )


if __name__ == "__main__":
    main()
