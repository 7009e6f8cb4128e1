"""What may stand in fields of settings and recipes, and how `--set` changes them; no PyTorch."""

from __future__ import annotations

import functools
import json
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
