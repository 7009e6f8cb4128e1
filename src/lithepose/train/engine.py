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

import datetime
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np
import torch
import torch.utils.data
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.files import atomic_write
from lithepose.train.checkpoints import (
    BEST,
    LAST,
    LOG,
    Log,
    Progress,
    commit_of_code,
    read_header,
    read_tensors,
    refuse_other,
    write_checkpoint,
)
from lithepose.train.optimisers import is_bfloat16_fast, make_optimisers
from lithepose.train.settings import Optimisation, RunSettings, found_device
from lithepose.version import __version__

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Examples", "Progress", "Task", "run"]

log = logging.getLogger(__name__)

WARM_UP = 3  # steps before a step is captured as a CUDA graph
READ_EVERY = 50  # steps between looks at the loss, each of which waits for the device
RECIPE = "recipe.json"


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
        if len(parts) == 1:  # which is not copied
            return {k: torch.from_numpy(np.ascontiguousarray(v)) for k, v in parts[0].items()}
        return {k: torch.from_numpy(np.concatenate([p[k] for p in parts])) for k in parts[0]}

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
        refuse_other(folder / LAST, read_header(folder / LAST), recipe)
    return _Run(task, optimisation, settings, folder, recipe).follow()


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
        self.captured: _CapturedStep | None = None
        self.log = Log(folder, settings.tensorboard)

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
            if self.settings.cuda_graphs and self.captured is None and step == start + WARM_UP:
                self._capture(network, batch)
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
        self.device = self.fabric.device
        self.rank, self.world = self.fabric.global_rank, self.fabric.world_size
        if self.settings.cuda_graphs and (self.device.type != "cuda" or self.world > 1):
            raise ValueError("cuda_graphs is for one CUDA device: train without it")
        chunks = -(-self.optimisation.batch // self.settings.chunk)
        if chunks < self.world:
            batch = self.optimisation.batch
            wayout = f"take {batch} processes at most, or a larger batch"
            if batch >= self.world:
                wayout = f"take chunks of {batch // self.world} at most"
            raise ValueError(
                f"a batch of {batch} is {chunks} chunks of {self.settings.chunk}, fewer than the "
                f"{self.world} processes: {wayout}"
            )
        torch.manual_seed(self.optimisation.seed)
        self.network = self.task.build().to(self.device)
        optimisers = make_optimisers(self.network, self.optimisation, self.settings.cuda_graphs)
        compiled: nn.Module = self.network
        if self.settings.compiled:
            compiled = cast(nn.Module, torch.compile(self.network))
        self.wrapped, *self.optimisers = self.fabric.setup(compiled, *optimisers)
        state = self.network.state_dict()
        self.ema: dict[str, Tensor] = {}
        if self.optimisation.average is not None:
            self.ema = {k: v.detach().clone() for k, v in state.items()}
        self.followed = {k: v for k, v in state.items() if v.is_floating_point()}
        self.generator = torch.Generator(self.device)
        # What this process's mean counts in the mean over the whole batch.
        last = self.optimisation.batch - (chunks - 1) * self.settings.chunk
        own = len(range(self.rank, chunks, self.world)) * self.settings.chunk
        if (chunks - 1) % self.world == self.rank:
            own += last - self.settings.chunk
        self.share = own * self.world / self.optimisation.batch
        self.commit = commit_of_code()

    def _batches(self, start: int) -> torch.utils.data.DataLoader[dict[str, Tensor]]:
        workers, chunk = self.settings.workers, self.settings.chunk
        return torch.utils.data.DataLoader(
            Batches(self.task.examples, self.optimisation, chunk, self.rank, self.world),
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
        # A short moving average while the weights still move fast.
        keep = min(self.optimisation.average or 0.0, (step + 1) / (step + 10))
        if self.captured is not None:
            return self.captured(batch, rate, keep)
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
                for name, weight in self.followed.items():
                    self.ema[name].mul_(keep).add_(weight * (1 - keep))
        return loss.detach()

    def _capture(self, network: nn.Module, batch: dict[str, Tensor]) -> None:
        """Capture a step's kernels on a GPU, to be replayed from the next step on.

        A few steps must have been taken, so that everything that is made once is there.
        """
        try:
            self.captured = _CapturedStep(self, network, batch)
        except RuntimeError as error:
            raise ValueError(
                f"this task's step cannot be captured as a CUDA graph: train without ({error})"
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
                write_checkpoint(self.folder / BEST, self.ema or self.network.state_dict(), header)
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
        if self.ema:
            current = {k: v.detach().clone() for k, v in self.network.state_dict().items()}
            self.network.load_state_dict(self.ema)
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
        tensors |= {f"averaged.{k}": v for k, v in self.ema.items()}
        for kind, optimiser in enumerate(self.optimisers):
            for index, state in optimiser.state_dict()["state"].items():
                tensors |= {f"optimiser.{kind}.{index}.{k}": v for k, v in state.items()}
        write_checkpoint(self.folder / LAST, tensors, self._header("last", done))

    def _resume(self) -> int:
        """Load the last checkpoint, if there is one; gives the steps that are done."""
        path = self.folder / LAST
        start = 0
        if self.fabric.is_global_zero:
            self._describe()
        if path.exists():
            header, tensors = read_header(path), read_tensors(path)
            refuse_other(path, header, self.recipe)
            start = int(header["step"])
            self._load(path, tensors)
            log.info("resumed %s at step %d", path, start)
        if self.fabric.broadcast(start) != start:
            raise ValueError(f"{self.folder} is not the same folder on every machine: use one disk")
        # The file's own word counts: it may be of a step that the last checkpoint has not reached.
        # Without a last checkpoint it is of a run before this one.
        if start and (self.folder / BEST).exists():
            self.best = json.loads(read_header(self.folder / BEST)["score"])
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
            self.ema[name].copy_(tensor)
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


class _CapturedStep:
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
    patient = DDPStrategy(gradient_as_bucket_view=True, timeout=datetime.timedelta(hours=12))
    return Fabric(
        accelerator=kind,
        devices=[int(number)] if number else devices,
        num_nodes=nodes,
        precision="bf16-mixed" if precision == "bf16" else "32-true",
        strategy=patient if devices * nodes > 1 else "auto",
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
