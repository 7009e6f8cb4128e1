"""What decides a training (`Optimisation`) and where it runs (`RunSettings`); without PyTorch.

Kept apart from the engine so that tables of recipes can be read where PyTorch is not installed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

OPTIMISERS = ("adam", "adamw", "muon")
SCHEDULES = ("constant", "exponential", "exponential-halving", "steps", "cosine", "trapezoid")
PRECISIONS = ("auto", "32", "bf16")


@dataclass(frozen=True, kw_only=True)
class Optimisation:
    """How a network is trained: with the recipe's other fields, all that decides the result.

    Attributes:
        optimiser: "adam", "adamw", or "muon": Muon for the matrices inside the blocks and AdamW
            for the rest.
        learning_rate: the highest rate.
        betas: of Adam and AdamW.
        weight_decay: Adam adds it to the gradient, AdamW shrinks every parameter by it; with
            "muon" it shrinks matrices only.
        amsgrad: the variant of Adam and AdamW whose second moment never falls.
        schedule: "constant"; "exponential": `gamma` after every epoch; "exponential-halving": the
            same, but a half instead after every `halve_every`-th epoch; "steps": `gamma` at each
            of `milestones`; "cosine": to zero; "trapezoid": flat, then linear to zero over the
            last `decay` share of the run.
        gamma: factor of the learning rate, see `schedule`.
        halve_every: epochs.
        milestones: epochs after which the rate falls.
        decay: share of the run.
        epochs: passes over the examples; this or `steps` says how long to train.
        steps: steps to train.
        batch: examples of one step over all processes together.
        warmup: steps of a linear rise at the start, on top of the schedule.
        clip: largest norm of the gradient; None leaves it as it is.
        average: decay per step of the moving average of the weights, which is then what is scored
            and kept; None keeps the weights themselves.
        seed: of the first weights, of all data and of dropout.
    """

    optimiser: str = "adamw"
    learning_rate: float = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    amsgrad: bool = False
    schedule: str = "constant"
    gamma: float = 0.95
    halve_every: int = 5
    milestones: tuple[int, ...] = ()
    decay: float = 0.4
    epochs: int | None = None
    steps: int | None = None
    batch: int = 256
    warmup: int = 0
    clip: float | None = None
    average: float | None = None
    seed: int = 1

    def __post_init__(self) -> None:
        for name, value, known in (
            ("optimiser", self.optimiser, OPTIMISERS),
            ("schedule", self.schedule, SCHEDULES),
        ):
            if value not in known:
                raise ValueError(f"no {name} named {value!r}; known: {', '.join(known)}")
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("say how long to train, with either epochs or steps")
        # Tuples come back from JSON as lists, which a frozen value must not hold.
        object.__setattr__(self, "betas", tuple(self.betas))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        allowed = {
            "learning_rate": self.learning_rate > 0,
            "weight_decay": self.weight_decay >= 0,
            "gamma": 0 < self.gamma <= 1,
            "halve_every": self.halve_every >= 1,
            "decay": 0 <= self.decay <= 1,
            "epochs": self.epochs is None or self.epochs >= 1,
            "steps": self.steps is None or self.steps >= 1,
            "batch": self.batch >= 1,
            "warmup": self.warmup >= 0,
            "clip": self.clip is None or self.clip > 0,
            "average": self.average is None or 0 < self.average < 1,
            "seed": self.seed >= 0,
        }
        for name, well in allowed.items():
            if not well:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range")

    def total_steps(self, examples: int) -> int:
        """Steps of the whole run over a set of that many examples."""
        if self.steps is not None:
            return self.steps
        assert self.epochs is not None
        return math.ceil(self.epochs * examples / self.batch)

    def rate(self, step: int, examples: int) -> float:
        """Learning rate of a step counted from 0, over a set of that many examples."""
        steps = self.total_steps(examples)
        epoch = step * self.batch // examples
        match self.schedule:
            case "exponential":
                factor = self.gamma**epoch
            case "exponential-halving":
                halvings = epoch // self.halve_every
                factor = self.gamma ** (epoch - halvings) * 0.5**halvings
            case "steps":
                factor = self.gamma ** sum(epoch >= milestone for milestone in self.milestones)
            case "cosine":
                factor = 0.5 * (1 + math.cos(math.pi * step / steps))
            case "trapezoid":
                factor = min(1.0, (steps - step) / max(1.0, self.decay * steps))
            case _:
                factor = 1.0
        rise = min(1.0, (step + 1) / self.warmup) if self.warmup else 1.0
        return self.learning_rate * rise * factor


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where and how a training runs; apart from rounding it does not decide the result.

    Attributes:
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        devices: devices of one machine, each with a process of its own.
        nodes: machines.
        precision: "32", "bf16" (products in bfloat16, weights in float32), or "auto": bf16 where
            that is fast.
        workers: processes that draw batches ahead for each device; 0 draws them in between.
        compiled: compile the network: about a minute at the start, then faster.
        cuda_graphs: record the kernels of a step on a GPU once and replay them as one graph:
            several times faster where kernels are short. For one device, and a task whose loss
            neither moves data to the device nor waits for it.
        save_every: steps between checkpoints.
        validate_every: steps between validations; None validates at every checkpoint.
        chunk: a batch is drawn in chunks of that many examples, each from a seed of its own; a
            batch must have as many chunks as there are processes. Another size draws other random
            numbers.
        deterministic: on a GPU, use kernels that always give the same result, some of them slower;
            then a run that was killed ends like one that was not to the last bit, as it does on a
            processor anyway.
        tensorboard: also write TensorBoard events, where it is installed.
    """

    device: str = "auto"
    devices: int = 1
    nodes: int = 1
    precision: str = "auto"
    workers: int = 1
    compiled: bool = False
    cuda_graphs: bool = False
    save_every: int = 500
    validate_every: int | None = None
    chunk: int = 64
    deterministic: bool = False
    tensorboard: bool = True

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"no precision named {self.precision!r}; known: {', '.join(PRECISIONS)}"
            )
        for name, least in (
            ("devices", 1),
            ("nodes", 1),
            ("workers", 0),
            ("save_every", 1),
            ("chunk", 1),
        ):
            if getattr(self, name) < least:
                raise ValueError(f"{name} must be at least {least}, not {getattr(self, name)}")
        if self.validate_every is not None and self.validate_every < 1:
            raise ValueError(f"validate_every must be at least 1, not {self.validate_every}")
