"""The training loop: draws batches, follows the schedule, saves what a resumed run needs.

Every step draws its batch from a generator seeded by (seed, step), so a run that was killed and
resumed sees the same data as one that was not, without any random state in the checkpoint.
"""

from __future__ import annotations

import csv
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
import torch.utils.data
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lithepose.data.clips import Batch
from lithepose.formats.atomic import atomic_write

log = logging.getLogger(__name__)
Draw = Callable[[int, np.random.Generator], Batch]


@dataclass(frozen=True, kw_only=True)
class LoopSettings:
    """How long and how to train.

    Attributes:
        windows: windows to draw in all.
        batch: windows of one step.
        learning_rate: the highest rate; reached after `warmup` and left for the last `decay` share
            of the run, over which it falls linearly to zero.
        warmup: steps of the linear rise at the start.
        weight_decay: AdamW's, on matrices only.
        average: decay per step of the moving average of the weights, which is what is kept.
        clip: largest norm of the gradient.
        muon: use Muon for the matrices inside the blocks instead of AdamW.
        workers: processes that draw batches ahead; 0 draws them in between.
        bfloat16: run the network's products in bfloat16; None does so where that is fast.
        compiled: compile the network (about a minute at the start, then faster).
        device: a PyTorch device.
        seed: of the weights and of all data.
        save_every: steps between checkpoints and validations.
    """

    windows: int = 4_150_000
    batch: int = 256
    learning_rate: float = 3e-3
    warmup: int = 200
    decay: float = 0.4
    weight_decay: float = 0.02
    average: float = 0.999
    clip: float = 1.0
    muon: bool = True
    workers: int = 1
    bfloat16: bool | None = None
    compiled: bool = True
    device: str = "cpu"
    seed: int = 1
    save_every: int = 500

    def __post_init__(self) -> None:
        if self.batch < 1 or self.windows < self.batch:
            raise ValueError(
                f"windows ({self.windows}) must be at least one batch ({self.batch}), or nothing "
                "would be trained"
            )

    @property
    def steps(self) -> int:
        return self.windows // self.batch

    def rate(self, step: int) -> float:
        """Learning rate of a step counted from 0."""
        rise = min(1.0, (step + 1) / self.warmup)
        fall = min(1.0, (self.steps - step) / max(1.0, self.decay * self.steps))
        return self.learning_rate * rise * fall


def is_bfloat16_fast(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster there than in float32; emulated they are slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX"))


def _optimisers(model: nn.Module, settings: LoopSettings) -> list[torch.optim.Optimizer]:
    """Muon for the matrices inside the blocks, AdamW for everything else.

    Embeddings, heads, norms, biases and the element-wise tables of graph convolutions are no maps
    between hidden spaces, which is what Muon is for. Its step is scaled to AdamW's, so one learning
    rate serves both.
    """
    hidden, other = [], []
    for name, parameter in model.named_parameters():
        maps = parameter.ndim == 2 and "blocks" in name and name.endswith("weight")
        (hidden if maps and settings.muon else other).append(parameter)
    plain = torch.optim.AdamW(
        [
            {"params": [p for p in other if p.ndim == 2]},
            {"params": [p for p in other if p.ndim != 2], "weight_decay": 0.0},
        ],
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        betas=(0.9, 0.98),
        fused=True,
    )
    if not hidden:
        return [plain]
    muon = torch.optim.Muon(
        hidden,
        lr=settings.learning_rate,
        weight_decay=settings.weight_decay,
        momentum=0.95,
        adjust_lr_fn="match_rms_adamw",
    )
    return [muon, plain]


class _Batches(torch.utils.data.Dataset[tuple[Tensor, Tensor]]):
    """The inputs and targets of step i, drawn from its own seed."""

    def __init__(self, draw: Draw, settings: LoopSettings):
        self.draw, self.settings = draw, settings

    def __len__(self) -> int:
        return self.settings.steps

    def __getitem__(self, step: int) -> tuple[Tensor, Tensor]:
        random = np.random.default_rng((self.settings.seed, step))
        batch = self.draw(self.settings.batch, random)
        return torch.from_numpy(batch.values), torch.from_numpy(batch.targets)


def _save(
    path: Path,
    model: nn.Module,
    averaged: dict[str, Tensor],
    optimisers: list[torch.optim.Optimizer],
    step: int,
    settings: LoopSettings,
) -> None:
    tensors = {f"model.{k}": v for k, v in model.state_dict().items()}
    tensors |= {f"averaged.{k}": v for k, v in averaged.items()}
    for kind, optimiser in enumerate(optimisers):
        for index, state in optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{kind}.{index}.{k}": v for k, v in state.items()}
    tensors = {k: v.detach().cpu().contiguous().clone() for k, v in tensors.items()}
    header = {"step": str(step), "settings": json.dumps(asdict(settings))}
    with atomic_write(path) as temporary:
        save_file(tensors, temporary, metadata=header)


def _resume(
    path: Path,
    model: nn.Module,
    averaged: dict[str, Tensor],
    optimisers: list[torch.optim.Optimizer],
    settings: LoopSettings,
) -> int:
    with safe_open(path, framework="pt") as file:
        header = file.metadata()
        step, before = int(header["step"]), json.loads(header["settings"])
        # Longer or shorter, elsewhere or faster is the same run; other data or weights are not.
        for name in ("batch", "seed", "muon"):
            if before[name] != getattr(settings, name):
                raise ValueError(
                    f"{path} is of a run with {name} = {before[name]}, not "
                    f"{getattr(settings, name)}: resume with that, or train into another folder"
                )
        names = list(file.keys())
        tensors = {name: file.get_tensor(name) for name in names}
    part = {n.removeprefix("model."): t for n, t in tensors.items() if n.startswith("model.")}
    model.load_state_dict(part)
    for name in averaged:
        averaged[name].copy_(tensors[f"averaged.{name}"])
    for kind, optimiser in enumerate(optimisers):
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in tensors.items():
            if name.startswith(f"optimiser.{kind}."):
                _, _, index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
        groups = optimiser.state_dict()["param_groups"]
        optimiser.load_state_dict({"state": state, "param_groups": groups})
    return step


def averaged_weights(checkpoint: Path) -> dict[str, Tensor]:
    """The averaged weights in a run's checkpoint, by the model's parameter names."""
    with safe_open(checkpoint, framework="pt") as file:
        names = [name for name in file.keys() if name.startswith("averaged.")]  # noqa: SIM118
        return {name.removeprefix("averaged."): file.get_tensor(name) for name in names}


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands after some steps: `loss` is their mean, `windows_per_s` their speed."""

    step: int
    steps: int
    loss: float
    windows_per_s: float
    validation: dict[str, float]


def train(
    model: nn.Module,
    draw: Draw,
    loss: Callable[[Tensor, Tensor], Tensor],
    validate: Callable[[nn.Module], dict[str, float]],
    folder: Path,
    settings: LoopSettings,
) -> Iterator[Progress]:
    """Train a model, resuming what `folder` holds; yields after every `save_every` steps.

    Args:
        model: changed in place; at the end it holds the averaged weights.
        draw: (windows, random) -> batch.
        loss: (predicted, target) -> scalar.
        validate: scores a model that is in evaluation mode; its result goes to the log.
        folder: receives `checkpoint.safetensors` and `log.csv`.

    Raises:
        ValueError: the checkpoint in `folder` is of other settings.
        FloatingPointError: the loss is no longer finite.
    """
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint, log_file = folder / "checkpoint.safetensors", folder / "log.csv"
    device = torch.device(settings.device)
    model.to(device).train()
    averaged = {k: v.detach().clone() for k, v in model.state_dict().items()}
    optimisers = _optimisers(model, settings)
    start = 0
    if checkpoint.exists():
        start = _resume(checkpoint, model, averaged, optimisers, settings)
        log.info("resumed %s at step %d", checkpoint, start)
    run = torch.compile(model) if settings.compiled else model
    half = settings.bfloat16
    if half is None:
        half = is_bfloat16_fast(device)

    batches = torch.utils.data.DataLoader(
        _Batches(draw, settings),
        batch_size=None,
        sampler=range(start, settings.steps),
        num_workers=settings.workers,
        prefetch_factor=4 if settings.workers else None,
    )
    total, begin = 0.0, time.perf_counter()
    for step, (values, targets) in enumerate(batches, start):
        values, targets = values.to(device), targets.to(device)
        # Every step has its own seed, so that dropout too is the same in a resumed run.
        torch.manual_seed(settings.seed * 1_000_003 + step)
        for optimiser in optimisers:
            for group in optimiser.param_groups:
                group["lr"] = settings.rate(step)
        with torch.autocast(device.type, torch.bfloat16, enabled=half):
            predicted = run(values)
        error = loss(predicted.float(), targets)
        model.zero_grad()
        error.backward()
        nn.utils.clip_grad_norm_(model.parameters(), settings.clip)
        for optimiser in optimisers:
            optimiser.step()
        with torch.no_grad():
            # A short average while the weights still move fast.
            keep = min(settings.average, (step + 1) / (step + 10))
            for name, value in model.state_dict().items():
                if value.is_floating_point():
                    averaged[name].lerp_(value, 1 - keep)
        total += float(error.detach())
        if not np.isfinite(total):
            raise FloatingPointError(
                f"the loss is not finite at step {step}: lower the learning rate, or resume from "
                f"{checkpoint} with bfloat16 off"
            )
        done = step + 1
        if done % settings.save_every == 0 or done == settings.steps:
            since = (done - 1) % settings.save_every + 1
            since = min(since, done - start)
            elapsed = time.perf_counter() - begin
            current = {k: v.detach().clone() for k, v in model.state_dict().items()}
            model.load_state_dict(averaged)
            model.eval()
            with torch.no_grad():
                scores = validate(model)
            model.load_state_dict(current)
            model.train()
            _save(checkpoint, model, averaged, optimisers, done, settings)
            progress = Progress(
                step=done,
                steps=settings.steps,
                loss=total / since,
                windows_per_s=since * settings.batch / elapsed,
                validation=scores,
            )
            _append(log_file, progress, settings)
            yield progress
            total, begin = 0.0, time.perf_counter()
    model.load_state_dict(averaged)
    model.eval()


def _append(path: Path, progress: Progress, settings: LoopSettings) -> None:
    row = {
        "step": progress.step,
        "windows": progress.step * settings.batch,
        "rate": f"{settings.rate(progress.step - 1):.3g}",
        "loss": f"{progress.loss:.5f}",
        "windows_per_s": f"{progress.windows_per_s:.0f}",
        **{k: f"{v:.3f}" for k, v in progress.validation.items()},
    }
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.DictWriter(file, row)
        if new:
            writer.writeheader()
        writer.writerow(row)
