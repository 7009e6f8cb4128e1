"""The training engine: any task on any number of devices, resumable at any moment.

A `Task` says what is trained, `Optimisation` how, `RunSettings` where. `run` follows them and keeps
in its folder what a resumed run needs. Epoch e visits the examples in a permutation seeded by
(seed, e); epochs follow each other without a break, so every step has a full batch. Chunk c of step
s is drawn from a generator seeded by (seed, s, c), and a process draws the chunks with
c % processes == rank. So any number of processes sees the same batch, and a run that was killed and
resumed the same data as one that was not, without any random state in the checkpoint.

Built on Lightning Fabric, which places the network, starts the processes of several devices and
machines (by itself, torchrun or SLURM), and casts to bfloat16.
"""

from __future__ import annotations

import csv
import datetime
import functools
import io
import json
import logging
import os
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lithepose import __version__
from lithepose.files import atomic_write
from lithepose.train.muon import Muon, is_bfloat16_fast
from lithepose.train.settings import Optimisation, RunSettings, found_device

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Examples", "Optimisation", "Progress", "RunSettings", "Task", "kept_weights", "run"]

log = logging.getLogger(__name__)

WARM_UP = 3  # steps before a step is recorded as a CUDA graph
READ_EVERY = 50  # steps between looks at the loss, each of which waits for the device
LAST, BEST, LOG, RECIPE = "last.safetensors", "best.safetensors", "log.csv", "recipe.json"
# How long a run is does not make it another run: it may be made longer.
_LENGTH = ("epochs", "steps")


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


class Task(Protocol):
    """What is trained: a network, its examples, its loss, how it is scored.

    Attributes:
        examples: see `Examples`.
        score: the key of `validate`'s result that decides which checkpoint is best.
        higher_is_better: whether a higher score is a better one.
    """

    @property
    def examples(self) -> Examples: ...
    @property
    def score(self) -> str: ...
    @property
    def higher_is_better(self) -> bool: ...

    def build(self) -> nn.Module:
        """A new network; called after the seed is set."""
        ...

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """The mean over the batch's examples, a scalar.

        Args:
            network: maybe wrapped or compiled, so it must be called and not reached into. On
                several devices every parameter that wants a gradient must take part.
            batch: what `Examples.draw` gives, on the device.
            generator: on the device, seeded by (seed, step, rank), for what is drawn there.
        """
        ...

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Scores of a network in evaluation mode; without gradients, on one process only."""
        ...


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        steps: steps of the whole run.
        epoch: passes over the examples done, with the part of the one begun.
        loss: mean since the last report.
        learning_rate: of the last step.
        examples_per_s: over all processes, since the last report.
        scores: what `Task.validate` gave; empty where the network was not validated.
        best: whether these scores are the best so far.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    examples_per_s: float
    scores: dict[str, float]
    best: bool


def run(
    task: Task,
    optimisation: Optimisation,
    settings: RunSettings,
    folder: str | os.PathLike[str],
    *,
    described: Mapping[str, Any],
) -> Iterator[Progress]:
    """Train, resuming what `folder` holds; yields at every checkpoint.

    `folder` receives `last.safetensors` (all that a resumed run needs; `kept_weights` reads the
    network's), `best.safetensors` (the network's weights by their own names, at the best score),
    `log.csv`, `recipe.json` and TensorBoard events. On several machines it must be one that all of
    them see. With several processes only the first one yields; the others end here with the run.

    Args:
        described: the recipe in values that JSON can hold. A run of another recipe is not
            continued.

    Raises:
        ValueError: `folder` holds a run of another recipe, or a damaged checkpoint; or the batch
            has fewer chunks than there are processes.
        FloatingPointError: the loss or the weights are no longer finite. The last checkpoint is of
            before.
        ModuleNotFoundError: Lightning Fabric is not installed.
        OSError: `folder` cannot be written to. The last checkpoint is whole.
    """
    recipe = {
        "recipe": json.loads(json.dumps(dict(described), default=str)),
        "optimisation": json.loads(json.dumps(asdict(optimisation))),
    }
    folder = Path(folder)
    if (folder / LAST).exists():
        _refuse_other(folder / LAST, _header(folder / LAST), recipe)
    return _Run(task, optimisation, settings, folder, recipe).follow()


def kept_weights(checkpoint: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights a checkpoint stands for, by the network's names.

    Args:
        checkpoint: a `last.safetensors`, of which it is the averaged weights if the run averages,
            or a `best.safetensors`.
    """
    checkpoint = Path(checkpoint)
    header, tensors = _header(checkpoint), _tensors(checkpoint)
    if header["kind"] == "best":
        return tensors
    first = "averaged." if any(name.startswith("averaged.") for name in tensors) else "model."
    return {n.removeprefix(first): t for n, t in tensors.items() if n.startswith(first)}


# --- data -------------------------------------------------------------------------------------


class _Batches(torch.utils.data.Dataset[dict[str, Tensor]]):
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


# --- optimisers -------------------------------------------------------------------------------


def _optimisers(
    network: nn.Module, settings: Optimisation, recorded: bool = False
) -> list[torch.optim.Optimizer]:
    """The optimisers of a recipe; `recorded` ones keep all they count on the device.

    Muon is for maps between hidden spaces. Embeddings, heads, norms, biases and the element-wise
    tables of graph convolutions are none; AdamW has them. Muon's step is scaled to AdamW's, so one
    learning rate serves both.
    """
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    shared: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "amsgrad": settings.amsgrad,
        "fused": all(p.device.type in ("cpu", "cuda") for _, p in named),
        "capturable": recorded,
    }
    if settings.optimiser != "muon":
        kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
        return [kind([p for _, p in named], weight_decay=settings.weight_decay, **shared)]
    hidden, other = [], []
    for name, parameter in named:
        maps = parameter.ndim == 2 and "blocks" in name and name.endswith("weight")
        (hidden if maps else other).append(parameter)
    if not hidden:
        raise ValueError(
            f"{type(network).__name__} has no matrices inside blocks, which is what Muon is for: "
            "train it with adamw"
        )
    plain = torch.optim.AdamW(
        [
            {"params": [p for p in other if p.ndim == 2]},
            {"params": [p for p in other if p.ndim != 2], "weight_decay": 0.0},
        ],
        weight_decay=settings.weight_decay,
        **shared,
    )
    muon = Muon(hidden, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return [muon, plain]


# --- checkpoints ------------------------------------------------------------------------------


def _write(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    # Tied parameters have one storage, which the format refuses to hold twice.
    seen: set[int] = set()
    for name, tensor in held.items():
        if tensor.untyped_storage().data_ptr() in seen:
            held[name] = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
    with atomic_write(path) as temporary:
        # Not save_file, whose error for a full disk does not say so.
        temporary.write_bytes(save(held, dict(header)))


def _open(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: train first")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}): take it away to start anew"
        ) from error


def _header(path: Path) -> dict[str, str]:
    with _open(path) as file:
        header = file.metadata() or {}
    if header.get("kind") not in ("last", "best"):
        raise ValueError(f"{path} is no checkpoint of a training: take it away to start anew")
    return header


def _tensors(path: Path) -> dict[str, Tensor]:
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _differences(before: Any, now: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two values of JSON differ, by dotted path; the length of a run is left out."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            if key not in _LENGTH:
                yield from _differences(before.get(key), now.get(key), f"{at}.{key}")
    elif before != now:
        yield at.removeprefix("."), before, now


def _refuse_other(path: Path, header: Mapping[str, str], recipe: Mapping[str, Any]) -> None:
    for name, before, now in sorted(_differences(json.loads(header["described"]), recipe)):
        raise ValueError(
            f"{path} is of a run with {name} = {before}, not {now}: resume with that, or train "
            "into another folder"
        )


@functools.cache
def _commit() -> str:
    """The commit this code is of, with a note if files were changed; empty outside a checkout."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        # Without the optional lock, so that asking never writes the checkout's index.
        command = ["git", "--no-optional-locks", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's checkout.
        git("ls-files", "--error-unmatch", here.name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


# --- the run ----------------------------------------------------------------------------------


class _Run:
    """One training in one process."""

    def __init__(
        self,
        task: Task,
        optimisation: Optimisation,
        settings: RunSettings,
        folder: Path,
        recipe: dict[str, Any],
    ):
        self.task, self.optimisation, self.settings = task, optimisation, settings
        self.folder, self.recipe = folder, recipe
        self.size = len(task.examples)
        if self.size < 1:
            raise ValueError("there are no examples to train on")
        self.steps = optimisation.total_steps(self.size)
        self.best: float | None = None
        self.recorded: _RecordedStep | None = None
        self.log = _Log(folder, settings.tensorboard)

    def follow(self) -> Iterator[Progress]:
        """Train from where the folder stands to the end."""
        before = torch.are_deterministic_algorithms_enabled()
        try:
            yield from self._follow()
        finally:
            torch.use_deterministic_algorithms(before)
            self.log.close()

    def _follow(self) -> Iterator[Progress]:
        self._set_up()
        start = self._resume()
        if self.fabric.is_global_zero:
            self.log.begin(start)
        network = self.wrapped.train()
        batches = self._batches(start)
        losses = torch.zeros(READ_EVERY, device=self.device)
        total, unread, since = 0.0, 0, 0
        begin = time.perf_counter()
        for step, batch in enumerate(batches, start):
            losses[unread] = self._step(network, step, batch)
            if self.settings.cuda_graphs and self.recorded is None and step == start + WARM_UP:
                self._record(network, batch)
            unread, since, done = unread + 1, since + 1, step + 1
            due = done % self.settings.save_every == 0 or done == self.steps
            every = self.settings.validate_every
            scored = due if every is None else done % every == 0 or done == self.steps
            if unread == READ_EVERY or due or scored:
                total += self._read(losses[:unread], done - unread)
                unread = 0
            if not (due or scored):
                continue
            elapsed = time.perf_counter() - begin
            progress = self._report(done, total / since, since, elapsed, scored)
            if progress is not None:
                yield progress
            total, since, begin = 0.0, 0, time.perf_counter()
        self._end()

    def _set_up(self) -> None:
        if self.settings.deterministic:
            # cuBLAS reads this when it is first used.
            os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
            torch.use_deterministic_algorithms(True)
        self.fabric = _fabric(self.settings)
        self.fabric.launch()
        self.device, self.rank, self.world = (
            self.fabric.device,
            self.fabric.global_rank,
            self.fabric.world_size,
        )
        if self.settings.cuda_graphs and (self.device.type != "cuda" or self.world > 1):
            raise ValueError("cuda_graphs is for one CUDA device: train without it")
        chunks = -(-self.optimisation.batch // self.settings.chunk)
        if chunks < self.world:
            batch = self.optimisation.batch
            wayout = (
                f"take chunks of {batch // self.world} at most"
                if batch >= self.world
                else f"take {batch} processes at most, or a larger batch"
            )
            raise ValueError(
                f"a batch of {batch} is {chunks} chunks of {self.settings.chunk}, fewer than the "
                f"{self.world} processes: {wayout}"
            )
        torch.manual_seed(self.optimisation.seed)
        self.network = self.task.build().to(self.device)
        optimisers = _optimisers(self.network, self.optimisation, self.settings.cuda_graphs)
        compiled: nn.Module = self.network
        if self.settings.compiled:
            compiled = cast(nn.Module, torch.compile(self.network))
        self.wrapped, *self.optimisers = self.fabric.setup(compiled, *optimisers)
        state = self.network.state_dict()
        self.averaged: dict[str, Tensor] = {}
        if self.optimisation.average is not None:
            self.averaged = {k: v.detach().clone() for k, v in state.items()}
        moving = [k for k in self.averaged if state[k].is_floating_point()]
        self.followers, self.followed = [[of[k] for k in moving] for of in (self.averaged, state)]
        self.generator = torch.Generator(self.device)
        # What this process's mean counts in the mean over the whole batch.
        last = self.optimisation.batch - (chunks - 1) * self.settings.chunk
        own = len(range(self.rank, chunks, self.world)) * self.settings.chunk
        if (chunks - 1) % self.world == self.rank:
            own += last - self.settings.chunk
        self.share = own * self.world / self.optimisation.batch
        self.commit = _commit()

    def _batches(self, start: int) -> torch.utils.data.DataLoader[dict[str, Tensor]]:
        workers = self.settings.workers
        return torch.utils.data.DataLoader(
            _Batches(
                self.task.examples, self.optimisation, self.settings.chunk, self.rank, self.world
            ),
            batch_size=None,
            sampler=range(start, self.steps),
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=self.device.type == "cuda",
        )

    def _step(self, network: nn.Module, step: int, batch: dict[str, Tensor]) -> Tensor:
        """One step; gives this process's share of the loss, still on the device."""
        # Every step has its own seed, so that dropout too is the same in a resumed run.
        seed = ((self.optimisation.seed * 1_000_003 + step) * 1009 + self.rank) % 2**63
        _seed_device(seed, self.device)
        self.generator.manual_seed(seed + 1)
        rate = self.optimisation.rate(step, self.size)
        # A short average while the weights still move fast.
        keep = min(self.optimisation.average or 0.0, (step + 1) / (step + 10))
        if self.recorded is not None:
            return self.recorded(batch, rate, keep)
        if self.settings.cuda_graphs:
            # Tensors from the first step on, which round otherwise than Python's numbers do.
            rate, keep = (torch.tensor(value, device=self.device) for value in (rate, keep))
        for optimiser in self.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = rate
        batch = {k: v.to(self.device, non_blocking=True) for k, v in batch.items()}
        return self._advance(network, batch, keep)

    def _advance(
        self, network: nn.Module, batch: dict[str, Tensor], keep: float | Tensor
    ) -> Tensor:
        """What the device does in a step; nothing here waits for it."""
        loss = self.task.loss(network, batch, self.generator)
        if self.share != 1.0:
            loss = loss * self.share
        self.fabric.backward(loss)
        if self.optimisation.clip is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.optimisation.clip)
        for optimiser in self.optimisers:
            optimiser.step()
            optimiser.zero_grad()
        if self.optimisation.average is not None:
            with torch.no_grad():
                torch._foreach_mul_(self.followers, keep)  # pyright: ignore[reportPrivateImportUsage]
                part = torch._foreach_mul(self.followed, 1 - keep)  # pyright: ignore[reportPrivateImportUsage]
                torch._foreach_add_(self.followers, part)  # pyright: ignore[reportPrivateImportUsage]
        return loss.detach()

    def _record(self, network: nn.Module, batch: dict[str, Tensor]) -> None:
        """Record a step's kernels on a GPU, to be replayed from the next step on.

        A few steps must have been taken, so that everything that is made once is there.
        """
        try:
            self.recorded = _RecordedStep(self, network, batch)
        except RuntimeError as error:
            raise ValueError(
                f"this task's step cannot be recorded as a CUDA graph: train without ({error})"
            ) from error

    def _read(self, losses: Tensor, first: int) -> float:
        """The sum of the losses of the steps from `first` on, over all processes."""
        if self.world > 1:
            losses = self.fabric.all_reduce(losses.clone(), reduce_op="mean")  # type: ignore[assignment]
        values = losses.cpu().double()
        bad = (~torch.isfinite(values)).nonzero()
        if len(bad):
            raise FloatingPointError(
                f"the loss is not finite at step {first + int(bad[0])}: train into another folder "
                f"with a lower learning rate, or resume {self.folder} with precision 32"
            )
        return float(values.sum())

    def _report(
        self, done: int, loss: float, since: int, elapsed: float, scored: bool
    ) -> Progress | None:
        """Validate if it is time to, save, and log; None on all processes but the first."""
        self._check_weights(done)
        progress = None
        if self.fabric.is_global_zero:
            scores, best = self._validate() if scored else ({}, False)
            progress = Progress(
                step=done,
                steps=self.steps,
                epoch=done * self.optimisation.batch / self.size,
                loss=loss,
                learning_rate=self.optimisation.rate(done - 1, self.size),
                examples_per_s=since * self.optimisation.batch / max(elapsed, 1e-9),
                scores=scores,
                best=best,
            )
            # The log goes first: rows of steps that are done again are dropped, so none is missing.
            self.log.append(progress, self.optimisation.batch)
            if best:
                header = self._header("best", done) | {"score": json.dumps(self.best)}
                _write(self.folder / BEST, self.averaged or self.network.state_dict(), header)
            self._save(done)
        self.fabric.barrier()
        return progress

    def _check_weights(self, done: int) -> None:
        weights = [p for p in self.network.parameters() if p.is_floating_point()]
        norms = torch.stack([w.detach().norm() for w in weights])
        if not bool(torch.isfinite(norms).all()):
            raise FloatingPointError(
                f"the weights are not finite after step {done - 1}: train into another folder with "
                f"a lower learning rate, or resume {self.folder} with precision 32"
            )

    def _validate(self) -> tuple[dict[str, float], bool]:
        current = {}
        if self.averaged:
            current = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
            self.network.load_state_dict(self.averaged)
        self.network.eval()
        with torch.no_grad():
            scores = {k: float(v) for k, v in self.task.validate(self.network).items()}
        if current:
            self.network.load_state_dict(current)
        self.network.train()
        if self.task.score not in scores:
            raise ValueError(
                f"validation gave no {self.task.score!r}, which decides what is best, but "
                f"{', '.join(scores) or 'nothing'}"
            )
        score = scores[self.task.score]
        if np.isnan(score):
            return scores, False
        best = self.best is None or (
            score > self.best if self.task.higher_is_better else score < self.best
        )
        if best:
            self.best = score
        return scores, best

    def _header(self, kind: str, step: int) -> dict[str, str]:
        return {
            "kind": kind,
            "step": str(step),
            "described": json.dumps(self.recipe),
            "version": __version__,
            "commit": self.commit,
        }

    def _save(self, done: int) -> None:
        tensors = {f"model.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"averaged.{k}": v for k, v in self.averaged.items()}
        for kind, optimiser in enumerate(self.optimisers):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{kind}.{index}.{k}": v for k, v in state.items()}
        _write(self.folder / LAST, tensors, self._header("last", done))

    def _resume(self) -> int:
        """Load the last checkpoint, if there is one; gives the steps that are done."""
        path = self.folder / LAST
        start = 0
        if self.fabric.is_global_zero:
            self._describe()
        if path.exists():
            header, tensors = _header(path), _tensors(path)
            _refuse_other(path, header, self.recipe)
            start = int(header["step"])
            self._load(path, tensors)
            log.info("resumed %s at step %d", path, start)
        if self.fabric.broadcast(start) != start:
            raise ValueError(f"{self.folder} is not the same folder on every machine: use one disk")
        # The file's own word counts: it may be of a step that the last checkpoint has not reached.
        # Without a last checkpoint it is of a run before this one.
        if start and (self.folder / BEST).exists():
            self.best = json.loads(_header(self.folder / BEST)["score"])
        return start

    def _load(self, path: Path, tensors: Mapping[str, Tensor]) -> None:
        def part(first: str) -> dict[str, Tensor]:
            return {n.removeprefix(first): t for n, t in tensors.items() if n.startswith(first)}

        try:
            self.network.load_state_dict(part("model."))
        except RuntimeError as error:
            raise ValueError(
                f"{path} is of another network: train into another folder ({error})"
            ) from error
        for name, tensor in part("averaged.").items():
            self.averaged[name].copy_(tensor)
        for kind, optimiser in enumerate(self.optimisers):
            state: dict[int, dict[str, Tensor]] = {}
            for name, tensor in part(f"optimiser.{kind}.").items():
                index, key = name.split(".")
                state.setdefault(int(index), {})[key] = tensor
            groups = optimiser.state_dict()["param_groups"]
            optimiser.load_state_dict({"state": state, "param_groups": groups})

    def _describe(self) -> None:
        """Write what is trained here, for people and for whoever loads the weights."""
        for name in (LAST, BEST, LOG, RECIPE):
            # What a run that was killed while it wrote has left.
            stem, suffix = Path(name).stem, Path(name).suffix
            for rest in self.folder.glob(f".{stem}-{'[0-9a-f]' * 8}{suffix}"):
                rest.unlink()
        where = asdict(self.settings) | {
            "device": self.device.type,
            "precision": resolved_precision(self.settings, self.device),
            "processes": self.world,
        }
        for name in ("devices", "nodes"):  # torchrun and SLURM have their own word on these
            del where[name]
        said = self.recipe | {"settings": where, "version": __version__, "commit": self.commit}
        with atomic_write(self.folder / RECIPE) as temporary:
            temporary.write_text(json.dumps(said, indent=1) + "\n", encoding="utf-8")

    def _end(self) -> None:
        if self.world > 1:
            self.fabric.barrier()
            torch.distributed.destroy_process_group()
            if self.rank > 0:
                raise SystemExit(0)


class _RecordedStep:
    """A step's kernels as a CUDA graph: replaying it costs the processor one call.

    What changes from step to step lies in tensors that the graph reads: the batch, the learning
    rate, the share that the moving average keeps, and the random generators' states.
    """

    def __init__(self, run: _Run, network: nn.Module, batch: dict[str, Tensor]):
        self.batch = {k: v.to(run.device) for k, v in batch.items()}
        self.rate, self.keep = (torch.zeros((), device=run.device) for _ in range(2))
        for optimiser in run.optimisers:
            for group in optimiser.param_groups:
                group["lr"] = self.rate
        self.graph = torch.cuda.CUDAGraph()
        self.graph.register_generator_state(run.generator)
        with torch.cuda.graph(self.graph):
            self.loss = run._advance(network, self.batch, self.keep)

    def __call__(self, batch: dict[str, Tensor], rate: float, keep: float) -> Tensor:
        for name, tensor in batch.items():
            self.batch[name].copy_(tensor, non_blocking=True)
        self.rate.fill_(rate)
        self.keep.fill_(keep)
        self.graph.replay()
        return self.loss


def resolved_precision(settings: RunSettings, device: torch.device) -> str:
    """ "32" or "bf16"."""
    if settings.precision == "auto":
        return "bf16" if is_bfloat16_fast(device) else "32"
    return settings.precision


def _fabric(settings: RunSettings) -> Fabric:
    """Fabric for the settings; under torchrun its counts of devices and machines hold."""
    try:
        from lightning_fabric import Fabric
        from lightning_fabric.strategies.ddp import DDPStrategy
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'training needs Lightning Fabric: pip install "lithepose[train]"', name=error.name
        ) from error
    # Its notes on precision and processes would stand between the lines of a report.
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
    device = found_device(settings.device, settings.devices)
    kind, _, number = device.partition(":")
    devices, nodes = settings.devices, settings.nodes
    if "LOCAL_WORLD_SIZE" in os.environ:
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    precision = resolved_precision(settings, torch.device(device))
    # Validation runs on one process; the others wait for it.
    strategy = (
        DDPStrategy(gradient_as_bucket_view=True, timeout=datetime.timedelta(hours=12))
        if devices * nodes > 1
        else "auto"
    )
    return Fabric(
        accelerator=kind,
        devices=[int(number)] if number else devices,
        num_nodes=nodes,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        strategy=strategy,
    )


def _seed_device(seed: int, device: torch.device) -> None:
    """Seed what draws random numbers of a network on one device.

    Not `torch.manual_seed`, which sees to every kind of device and, where there is no GPU, keeps a
    trace of every call for the day that there is one.
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(seed)
    elif device.type == "mps":
        torch.mps.manual_seed(seed)


# --- the log ----------------------------------------------------------------------------------


def read_log(path: Path) -> list[dict[str, str]]:
    """The rows of a `log.csv`.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            int(row["step"])
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(
            f"{path} is damaged ({error}): take it away, the training goes on without its rows"
        ) from error
    return rows


class _Log:
    """The rows of `log.csv`, and the same for TensorBoard."""

    def __init__(self, folder: Path, tensorboard: bool):
        self.folder, self.tensorboard = folder, tensorboard
        self.rows: list[dict[str, str]] = []
        self.writer: Any = None

    def begin(self, step: int) -> None:
        """Go on after `step`: rows beyond it are of steps that will be done again."""
        path = self.folder / LOG
        if path.exists():
            self.rows = [row for row in read_log(path) if int(row["step"]) <= step]
        if not self.tensorboard:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("no TensorBoard events: it is not installed (pip install tensorboard)")
            return
        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1 if step else None)

    def append(self, progress: Progress, batch: int) -> None:
        row = {
            "step": str(progress.step),
            "examples": str(progress.step * batch),
            "epoch": f"{progress.epoch:.4g}",
            "learning_rate": f"{progress.learning_rate:.3g}",
            "loss": f"{progress.loss:.6g}",
            "examples_per_s": f"{progress.examples_per_s:.6g}",
            **{k: f"{v:.6g}" for k, v in progress.scores.items()},
        }
        self.rows.append(row)
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        with atomic_write(self.folder / LOG) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        if self.writer is not None:
            for name in ("loss", "learning_rate", "examples_per_s"):
                self.writer.add_scalar(f"train/{name}", getattr(progress, name), progress.step)
            for name, value in progress.scores.items():
                self.writer.add_scalar(f"validation/{name}", value, progress.step)
            self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
