"""Kill a training at random moments; it must end like one that is left alone.

    python benchmarks/kill_and_resume.py [--kills 10] [--device cpu] [--seed 0]

Trains a small NanoHTNet on moving points with dropout, Muon, averaged weights and two drawing
processes, once in one go and once killed (SIGKILL, the drawing processes with it) and started anew
as often as asked, at moments drawn over the whole length of a try: while PyTorch loads, in the
middle of a step, in a validation, while a checkpoint is written. Compares every tensor of both
checkpoints and the log.
"""

from __future__ import annotations

import argparse
import csv
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

FRAMES = 27


class Clips:
    """Windows in which the joints swing; their depth follows from how they move."""

    def __len__(self) -> int:
        return 5_000

    def draw(self, indices: Any, random: np.random.Generator) -> dict[str, Any]:
        count = len(indices)
        phase = random.uniform(0, 2 * np.pi, (count, 1, 17, 3))
        swing = 0.3 * np.sin(phase + 0.4 * np.arange(FRAMES)[:, None, None])
        return {
            "values": swing[..., :2].astype(np.float32),
            "targets": swing[:, FRAMES // 2 - 1 : FRAMES // 2 + 2].astype(np.float32),
        }


class Swinging:
    """The task: lift the windows."""

    examples = Clips()
    score = "mpjpe"
    higher_is_better = False

    def build(self) -> Any:
        from lithepose.lifters import create_lifter

        return create_lifter(
            "nanohtnet", frames=FRAMES, kept_frames=3, channels=48, hidden=32, layers=1
        )

    def loss(self, network: Any, batch: dict[str, Any], generator: Any) -> Any:
        del generator
        return (network(batch["values"]) - batch["targets"]).norm(dim=-1).mean()

    def validate(self, network: Any) -> dict[str, float]:
        import torch

        device = next(network.parameters()).device
        drawn = self.examples.draw(range(256), np.random.default_rng(1))
        values, targets = (torch.from_numpy(drawn[k]).to(device) for k in ("values", "targets"))
        return {"mpjpe": 1000 * float((network(values) - targets).norm(dim=-1).mean())}


def train(folder: Path, device: str) -> None:
    """The training that is killed."""
    import torch

    from lithepose.train.engine import run
    from lithepose.train.settings import Optimisation, RunSettings

    torch.set_num_threads(1)
    optimisation = Optimisation(
        optimiser="muon",
        learning_rate=2e-3,
        schedule="trapezoid",
        average=0.99,
        steps=240,
        batch=32,
    )
    settings = RunSettings(device=device, workers=2, save_every=10, chunk=8, deterministic=True)
    for _ in run(Swinging(), optimisation, settings, folder, described={"task": "swinging"}):
        pass


def start(folder: Path, device: str) -> subprocess.Popen[bytes]:
    """A training in a process group of its own, so that its drawing processes die with it."""
    command = [sys.executable, __file__, "--train", str(folder), "--device", device]
    return subprocess.Popen(command, start_new_session=True)


def rows(folder: Path) -> list[dict[str, str]]:
    """The log without the speed, which no run repeats."""
    with (folder / "log.csv").open(newline="") as file:
        return [{k: v for k, v in r.items() if k != "examples_per_s"} for r in csv.DictReader(file)]


def main() -> None:
    parser = argparse.ArgumentParser(description="Kill a training at random moments.")
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0, help="of the moments")
    parser.add_argument("--train", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train is not None:
        train(arguments.train, arguments.device)
        return

    from safetensors.torch import load_file

    from lithepose.train.checkpoints import BEST, LAST

    folder = Path(tempfile.mkdtemp())
    whole, part = folder / "whole", folder / "part"
    begin = time.monotonic()
    if start(whole, arguments.device).wait():
        raise SystemExit("the training that was left alone failed")
    length = time.monotonic() - begin
    print(f"left alone: {len(rows(whole))} checkpoints in {length:.0f} s")
    chance = random.Random(arguments.seed)
    for kill in range(1, arguments.kills + 1):
        process = start(part, arguments.device)
        try:
            process.wait(chance.uniform(0, 0.5 * length))
            print(f"kill {kill}: the run had ended")
            break
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        steps = rows(part)[-1]["step"] if (part / "log.csv").exists() else 0
        left = len(list(part.glob(".*"))) if part.exists() else 0
        print(f"kill {kill}: step {steps} was logged, {left} unfinished files left", flush=True)
    if start(part, arguments.device).wait():
        raise SystemExit("the last resumption failed")
    for name in (LAST, BEST):
        one, other = load_file(whole / name), load_file(part / name)
        same = sum(one[k].equal(other[k]) for k in one)
        print(f"{name}: {same} of {len(one)} tensors are the same to the last bit")
        if one.keys() != other.keys() or same < len(one):
            raise SystemExit("the runs differ")
    if rows(whole) != rows(part):
        raise SystemExit("the logs differ")
    print(f"log.csv: the same {len(rows(whole))} rows")


if __name__ == "__main__":
    main()
