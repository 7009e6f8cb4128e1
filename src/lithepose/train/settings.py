"""What decides a training (`Optimisation`), where it runs (`RunSettings`), and what may stand in
fields of settings and recipes, as `--set` changes them; without PyTorch.

Kept apart from the engine so that tables of recipes can be read where PyTorch is not installed.
Here too: which devices there are (`found_device`).
"""

from __future__ import annotations

import functools
import json
import math
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass
from numbers import Integral, Real
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints


@functools.cache
def kinds_of(table: type) -> dict[str, Any]:
    """The fields of a dataclass and the types that their annotations name."""
    hints = get_type_hints(table)
    return {field.name: hints[field.name] for field in fields(table)}


def fitting(kind: Any, value: Any, name: str) -> Any:
    """A value as a field of that type holds it: of a list a tuple, and of a whole number a float
    where the type says so.

    Args:
        kind: type of a field, such as `tuple[float, float]` or `int | None`.
        value: as read from JSON, or given in Python.
        name: of the field, for the error.

    Raises:
        ValueError: the value is of another type or length.
    """
    try:
        return _converted(kind, value)
    except TypeError:
        raise ValueError(f"{name} takes {_in_words(kind)}, not {value!r}") from None


def _converted(kind: Any, value: Any) -> Any:
    """As `fitting`; TypeError if the value does not fit."""
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any or (origin is Literal and value in inner):
        return value
    if origin in (Union, UnionType):
        for one in inner:
            try:
                return _converted(one, value)
            except TypeError:
                pass
    elif origin is tuple and isinstance(value, list | tuple):
        kinds = inner[:1] * len(value) if inner[1:] == (...,) else inner
        if len(kinds) == len(value):
            return tuple(map(_converted, kinds, value))
    elif kind in (int, float):
        # Numbers of NumPy are numbers too; True and False, which Python counts among them, are not.
        number: Any = Integral if kind is int else Real
        if isinstance(value, number) and not isinstance(value, bool):
            try:
                return kind(value)
            except OverflowError:
                raise TypeError from None
    elif origin not in (tuple, Literal) and isinstance(value, origin or kind):
        return value
    raise TypeError


def _in_words(kind: Any) -> str:
    """What `fitting` takes for that type, such as "2 numbers" or "a whole number or null"."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join(map(_in_words, inner))
    if origin is Literal:
        return f"one of {', '.join(map(str, inner))}"
    if origin is tuple:
        several = {int: "whole numbers", float: "numbers", str: "texts"}.get(inner[0], "lists")
        return f"a list of {several}" if inner[-1] is ... else f"a list of {len(inner)} {several}"
    names = {
        bool: "true or false",
        int: "a whole number",
        float: "a number",
        str: "a text",
        type(None): "null",
    }
    return names.get(kind, "names with values, in braces")


@dataclass(frozen=True)
class Changes:
    """Values of `--set` by what they are of, each as its field holds it.

    Attributes:
        own: of a recipe or of settings; those of a part of it by the part's name, as a dict.
        optimisation: of `lithepose.train.settings.Optimisation`.
        network: of the network's config, which `check_config` looks at.
    """

    own: dict[str, Any] = field(default_factory=dict)
    optimisation: dict[str, Any] = field(default_factory=dict)
    network: dict[str, Any] = field(default_factory=dict)


def read_changes(
    changes: Iterable[str], own: Mapping[str, Any], optimisation: Mapping[str, Any]
) -> Changes:
    """Read texts `field=value`.

    Args:
        changes: the field is one of `own`, `part.field` of one that is a dataclass, one of
            `optimisation`, or `network.field`; the value is as JSON has it, or the text itself.
        own, optimisation: fields and their types, as of `kinds_of`.

    Raises:
        ValueError: no field or value, no such field, or a value that it cannot have; the message
            names what is known.
    """
    parts = {name: kinds_of(kind) for name, kind in own.items() if is_dataclass(kind)}
    known = {name: kind for name, kind in own.items() if name not in parts}
    for part, inner in parts.items():
        known |= {f"{part}.{name}": kind for name, kind in inner.items()}
    found = Changes()
    for change in changes:
        name, _, written = change.partition("=")
        if not name or not written:
            raise ValueError(f"--set takes field=value, such as batch=64; found {change!r}")
        try:
            value = json.loads(written)
        except json.JSONDecodeError:
            value = written
        part, _, inner = name.partition(".")
        if part == "network" and inner:
            found.network[inner] = value
        elif name in known and inner:
            found.own.setdefault(part, {})[inner] = fitting(known[name], value, name)
        elif name in known:
            found.own[name] = fitting(known[name], value, name)
        elif name in optimisation:
            found.optimisation[name] = fitting(optimisation[name], value, name)
        else:
            names = ", ".join([*known, *optimisation])
            raise ValueError(
                f"there is no field {name!r}; known: {names}, network.<field of its config>"
            )
    # A run has one length: the new one replaces the other.
    if "steps" in found.optimisation:
        found.optimisation.setdefault("epochs", None)
    elif "epochs" in found.optimisation:
        found.optimisation["steps"] = None
    return found


def check_choices(*choices: tuple[str, str, Collection[str]]) -> None:
    """Check fields that name something.

    Args:
        choices: of each, what it names, the name, and the names there are.

    Raises:
        ValueError: a name is not among them.
    """
    for what, value, known in choices:
        if value not in known:
            raise ValueError(f"no {what} {value!r}; known: {', '.join(known)}")


def check_config(config: type, overrides: Mapping[str, Any]) -> None:
    """Check fields of a network's config that differ from the table's, by its annotations.

    Raises:
        ValueError: there is no such field, or it takes another kind of value.
    """
    kinds = kinds_of(config)
    for name, value in overrides.items():
        if name not in kinds:
            raise ValueError(
                f"the network has no setting {name!r}; known: "
                f"{', '.join(f'network.{known}' for known in kinds)}"
            )
        fitting(kinds[name], value, f"network.{name}")


OPTIMISERS = ("adam", "adamw", "muon")
SCHEDULES = ("constant", "exponential", "exponential-halving", "steps", "cosine", "trapezoid")
PRECISIONS = ("auto", "32", "bf16")
# Far beyond any use; larger ones end in a lack of memory or leave the numbers of 64 bits.
_LARGEST_BATCH, _MOST_STEPS, _MOST_EPOCHS = 2**20, 10**12, 10**9
_LARGEST_SEED = 2**63 - 1  # of PyTorch's generators


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
        average: decay per step of the exponential moving average (EMA) of the weights, which is
            then what is scored and kept; None keeps the weights themselves.
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
        for name, kind in kinds_of(Optimisation).items():
            object.__setattr__(self, name, fitting(kind, getattr(self, name), name))
        check_choices(
            ("optimiser", self.optimiser, OPTIMISERS), ("schedule", self.schedule, SCHEDULES)
        )
        if (self.epochs is None) == (self.steps is None):
            raise ValueError("say how long to train, with either epochs or steps")
        allowed = {
            "learning_rate": (0 < self.learning_rate < math.inf, "a number above 0"),
            "betas": (all(0 <= beta < 1 for beta in self.betas), "two numbers from 0 to below 1"),
            "weight_decay": (0 <= self.weight_decay < math.inf, "a number from 0"),
            "gamma": (0 < self.gamma <= 1, "a number above 0, at most 1"),
            "halve_every": (self.halve_every >= 1, "at least 1"),
            "milestones": (all(epoch >= 1 for epoch in self.milestones), "epochs from 1"),
            "decay": (0 <= self.decay <= 1, "a share from 0 to 1"),
            "epochs": (_is_within(self.epochs, _MOST_EPOCHS), f"1 to {_MOST_EPOCHS}"),
            "steps": (_is_within(self.steps, _MOST_STEPS), f"1 to {_MOST_STEPS}"),
            "batch": (_is_within(self.batch, _LARGEST_BATCH), f"1 to {_LARGEST_BATCH}"),
            "warmup": (0 <= self.warmup <= _MOST_STEPS, f"0 to {_MOST_STEPS}"),
            "clip": (self.clip is None or 0 < self.clip < math.inf, "a number above 0, or null"),
            "average": (
                self.average is None or 0 < self.average < 1,
                "a number between 0 and 1, or null",
            ),
            "seed": (0 <= self.seed <= _LARGEST_SEED, "0 to 2**63 - 1"),
        }
        for name, (well, wanted) in allowed.items():
            if not well:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range: {wanted}")

    def check_batch(self, examples: int) -> None:
        """Refuse a batch that has an example twice, of a set that is not drawn anew.

        Args:
            examples: of an epoch.

        Raises:
            ValueError: the batch is larger.
        """
        if self.batch > examples:
            raise ValueError(
                f"a batch of {self.batch} is more than the {examples} examples of an epoch: set "
                f"batch to {examples} at most"
            )

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


def _is_within(number: int | None, most: int) -> bool:
    return number is None or 1 <= number <= most


@dataclass(frozen=True, kw_only=True)
class RunSettings:
    """Where and how a training runs; apart from rounding it does not decide the result.

    Attributes:
        device: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1", "mps".
        devices: devices of one machine, each with a process of its own.
        nodes: machines.
        precision: "32", "bf16" (products in bfloat16, weights in float32), or "auto": bf16 where
            that is fast, but "32" for recipes of papers.
        workers: processes that draw batches ahead for each device; 0 draws them in between.
        compiled: compile the network: about a minute at the start, then faster.
        cuda_graphs: capture the kernels of a step on a GPU once and replay them as one graph:
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
        check_choices(("precision", self.precision, PRECISIONS))
        for name in ("devices", "nodes", "workers", "save_every", "chunk", "validate_every"):
            least, value = int(name != "workers"), getattr(self, name)
            if value is not None and value < least:
                raise ValueError(f"{name} must be at least {least}, not {value}")


# --- devices ----------------------------------------------------------------------------------


def found_device(name: str, devices: int = 1) -> str:
    """A device by the name that PyTorch has for it, if it is there. Needs PyTorch.

    Args:
        name: "auto" (a GPU if there is one), "cpu", "cuda", "cuda:1" or "mps".
        devices: how many of them are wanted on this machine.

    Returns:
        The name; "cuda" or "cpu" for "auto".

    Raises:
        ValueError: there is no such device, or there are too few; the message says what to take.
    """
    import torch

    known = re.fullmatch(r"(auto|cpu|mps|cuda)|cuda:(\d{1,4})", name)
    if known is None:
        raise ValueError(f"no device named {name!r}; known: auto, cpu, cuda, cuda:0 (a GPU), mps")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return name
    if name == "mps":
        if not torch.backends.mps.is_available():
            raise ValueError("PyTorch finds no Apple GPU (mps): take device cpu, or cuda")
        if devices > 1:
            raise ValueError(f"mps is one device, not {devices}: leave devices out")
        return name
    if not torch.cuda.is_available():
        raise ValueError(
            "PyTorch finds no CUDA device: take device cpu, or see to the driver and to a PyTorch "
            "that is built for CUDA"
        )
    there = torch.cuda.device_count()
    if known[2] is None:
        if devices > there:
            raise ValueError(f"there are {there} CUDA devices, not {devices}: take fewer devices")
    elif int(known[2]) >= there:
        raise ValueError(f"there is no {name}: the last CUDA device is cuda:{there - 1}")
    elif devices > 1:
        raise ValueError(f"{name} is one device, not {devices}: take device cuda, or one device")
    return name
