"""A task that trains in milliseconds; as a program, the same in processes of its own.

    python tests/train/tiny_training.py FOLDER

trains once with two kills and once in a pair of processes, each beside a training in one process
that is left alone, and prints how they compare as one line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

from lithepose.train.checkpoints import kept_weights
from lithepose.train.engine import run
from lithepose.train.settings import Optimisation, RunSettings

SETTINGS = RunSettings(
    device="cpu", precision="32", workers=0, save_every=2, chunk=3, tensorboard=False
)
PATIENCE_S = 240  # of processes that wait for another
OPTIMISATION = Optimisation(learning_rate=1e-2, batch=8, steps=6, average=0.9, clip=1.0, seed=5)


@dataclass(frozen=True)
class Points:
    """Points by number, each drawn with noise."""

    size: int = 20
    noise: float = 0.1

    def __len__(self) -> int:
        return self.size

    def draw(
        self, indices: NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        x = np.sin(indices[:, None] * np.arange(1, 7)).astype(np.float32)
        y = x[:, :2] * x[:, 2:4]
        x = x + np.float32(self.noise) * random.standard_normal(x.shape, dtype=np.float32)
        return {"x": x, "y": y, "index": indices}


class Network(nn.Module):
    def __init__(self, dropout: float, norm: bool):
        super().__init__()
        self.embed = nn.Linear(6, 16)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(16, 16), nn.Tanh(), nn.Dropout(dropout)) for _ in range(2)
        )
        self.norm = nn.BatchNorm1d(16) if norm else nn.LayerNorm(16)
        self.head = nn.Linear(16, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x)
        for block in self.blocks:
            x = x + block(x)
        return self.head(self.norm(x))


class Fit:
    """Fit the points; with dropout, a batch norm and noise of the device where asked for."""

    score = "error"
    higher_is_better = False

    def __init__(self, *, examples: Any = None, dropout: float = 0.2, norm: bool = True):
        self.examples = Points() if examples is None else examples
        self.dropout, self.norm = dropout, norm

    def build(self) -> nn.Module:
        return Network(self.dropout, self.norm)

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        x = batch["x"]
        if self.dropout:
            x = x + 0.01 * torch.randn(x.shape, generator=generator, device=x.device)
        return (network(x) - batch["y"]).square().mean()

    def validate(self, network: nn.Module) -> dict[str, float]:
        held = Points(noise=0.0).draw(np.arange(30, 50), np.random.default_rng(0))
        x = torch.from_numpy(held["x"]).to(next(network.parameters()).device)
        answer = network(x).cpu().numpy()
        return {"error": float(np.abs(answer - held["y"]).mean())}


def train(folder: Path, task: Fit | None = None, **changes: Any) -> list[Any]:
    """Follow the tiny recipe, with other fields of its optimisation and its settings."""
    own = {k: v for k, v in changes.items() if hasattr(SETTINGS, k)}
    other = {k: v for k, v in changes.items() if k not in own}
    optimisation, settings = replace(OPTIMISATION, **other), replace(SETTINGS, **own)
    return list(run(task or Fit(), optimisation, settings, folder, described={"network": "tiny"}))


def same_tensors(first: Path, second: Path) -> bool:
    """Whether two files hold the same tensors, to the last bit."""
    one, other = load_file(first), load_file(second)
    return one.keys() == other.keys() and all(torch.equal(one[k], other[k]) for k in one)


def fork(action: Any) -> int:
    """Do something in another process; a fork, because importing PyTorch takes seconds."""
    pid = os.fork()
    if pid == 0:
        signal.alarm(PATIENCE_S)  # a half of a pair that lost the other would wait for hours
        code = 1
        try:
            action()
            code = 0
        except SystemExit as error:
            code = int(error.code or 0)
        finally:
            os._exit(code)
    return pid


class Patient(Fit):
    """A task that waits at one of its losses, for as long as it takes to be killed."""

    def __init__(self, at: int):
        super().__init__()
        self.left = at

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        self.left -= 1
        if self.left == 0:
            time.sleep(PATIENCE_S)
        return super().loss(network, batch, generator)


def die_after_a_checkpoint(last: Path, delay_s: float) -> None:
    """Kill this process so many seconds after it has next written its checkpoint.

    A thread of its own does it: on a busy machine, another process might come when all is done.
    """
    before = last.stat().st_mtime_ns if last.exists() else 0

    def watch() -> None:
        while not last.exists() or last.stat().st_mtime_ns == before:
            time.sleep(0.002)
        time.sleep(delay_s)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, daemon=True).start()


def killed(folder: Path) -> dict[str, Any]:
    """Kill a training at two random moments; it must end like one that was left alone."""
    options: dict[str, Any] = {"steps": 80, "save_every": 5}
    train(folder / "whole", **options)
    chance = random.Random(0)
    last = folder / "part" / "last.safetensors"
    part, kills = last.parent, 0
    for _ in range(2):
        delay_s = chance.uniform(0.0, 0.05)

        def train_and_die(delay_s: float = delay_s) -> None:
            die_after_a_checkpoint(last, delay_s)
            # However fast the machine is, the second kill comes before the last of 80 steps.
            train(part, Patient(at=30), **options)

        _, status = os.waitpid(fork(train_and_die), 0)
        assert status in (0, signal.SIGKILL), status
        kills += status == signal.SIGKILL
    train(part, **options)
    same = {
        name: same_tensors(folder / "whole" / name, part / name)
        for name in ("last.safetensors", "best.safetensors")
    }
    rows = [(folder / name / "log.csv").read_text().splitlines() for name in ("whole", "part")]
    timeless = [[row.split(",")[:5] + row.split(",")[6:] for row in each] for each in rows]
    return {"kills": kills, "same": same, "log": timeless[0] == timeless[1]}


def free_port() -> int:
    """A port below those that systems give out by themselves: nobody takes it by chance before it
    is listened to."""
    for port in range(20000 + os.getpid() % 10000, 32768):
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
    raise OSError("no free port")


def pair(folder: Path) -> dict[str, Any]:
    """Train in one process and in two; the losses and weights of both."""
    options: dict[str, Any] = {"steps": 20, "batch": 10, "save_every": 1}
    port = free_port()

    def one(rank: int) -> None:
        # As torchrun says it.
        os.environ |= {
            "TORCHELASTIC_RUN_ID": "pair",
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": "2",
            "LOCAL_WORLD_SIZE": "2",
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "GROUP_RANK": "0",
        }
        train(folder / "two", Fit(dropout=0.0, norm=False), **options)

    pids = [fork(lambda rank=rank: one(rank)) for rank in range(2)]
    statuses = [os.waitpid(pid, 0)[1] for pid in pids]
    assert statuses == [0, 0], statuses
    train(folder / "one", Fit(dropout=0.0, norm=False), **options)
    losses = [
        [float(row.split(",")[4]) for row in (folder / name / "log.csv").read_text().split()[1:]]
        for name in ("one", "two")
    ]
    weights = [kept_weights(folder / name / "last.safetensors") for name in ("one", "two")]
    apart = max(float((weights[0][k] - weights[1][k]).abs().max()) for k in weights[0])
    return {"one": losses[0], "two": losses[1], "weights_apart": apart}


if __name__ == "__main__":
    # Once, for all forks; optimisers import the second.
    import lightning_fabric  # noqa: F401
    import torch._dynamo

    torch.set_num_threads(1)
    where = Path(sys.argv[1])
    print(json.dumps({"killed": killed(where / "killed"), "pair": pair(where / "pair")}))
