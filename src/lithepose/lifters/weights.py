"""Weights of lifters: save, load, and translate the names of other people's checkpoints.

A weights file (`lithepose.weights_file`) says which network it is for and with which config, so the
file alone is enough to build the lifter.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

from torch import Tensor, nn

from lithepose.weights_file import Weights, load_weights, write_weights


def network_of(model: nn.Module) -> str:
    """The name of a model's network, a key of `lithepose.lifters.FAMILIES`.

    Raises:
        TypeError: the model is not a lifter of this package.
    """
    from lithepose.lifters import FAMILIES

    path = f"{type(model).__module__}:{type(model).__qualname__}"
    for family, known in FAMILIES.items():
        if path == known:
            return family
    raise TypeError(f"{path} is no lifter of this package; known: {', '.join(FAMILIES.values())}")


def save_weights(
    path: str | os.PathLike[str],
    model: nn.Module,
    metadata: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Save a lifter's weights with its config; the file is complete or absent.

    Args and Raises as `write_weights`; TypeError also where the model is no lifter of this package.
    """
    write_weights(path, network_of(model), model, metadata, half=half)


def load_lifter(path: str | os.PathLike[str]) -> nn.Module:
    """The lifter of a file of `save_weights`, ready to evaluate.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, no weights file of this package, or of a network that this
            version does not know.
    """
    from lithepose.lifters import create_lifter

    weights = load_weights(path)
    model = create_lifter(weights.network, **weights.config).eval()
    _check_fit(weights, model, path)
    model.load_state_dict(weights.state)
    return model


def load_into(model: nn.Module, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Load a file of `save_weights` into a lifter that exists; the model changes in place.

    Settings without weights, such as dropout, may differ.

    Returns:
        The metadata in the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or its weights are those of another network or size.
    """
    weights = load_weights(path)
    _check_fit(weights, model, path)
    model.load_state_dict(weights.state)
    return weights.metadata


def _check_fit(weights: Weights, model: nn.Module, path: str | os.PathLike[str]) -> None:
    network = network_of(model)
    if weights.network != network:
        raise ValueError(f"{path} is for the network {weights.network!r}, not for {network!r}")
    wanted = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.state.items()}
    if wanted == found:
        return
    names = sorted(name for name in wanted | found if wanted.get(name) != found.get(name))
    own: dict[str, Any] = dataclasses.asdict(model.config)  # type: ignore[arg-type]
    fields = [
        f"{name}: {weights.config[name]} in the file, {own.get(name)} in the model"
        for name in weights.config
        if weights.config[name] != json.loads(json.dumps(own.get(name)))
    ]
    raise ValueError(
        f"{path} does not fit this {network}: {len(names)} tensors differ, the first is {names[0]} "
        f"with shape {found.get(names[0])} in the file and {wanted.get(names[0])} in the model; "
        f"{'; '.join(fields) or 'their configs are the same, so the file is incomplete'}"
    )


def authors_config(
    config: type,
    fields: Mapping[str, str],
    options: Mapping[str, Any],
    published: Mapping[str, Any],
    ignored: Collection[str] = (),
) -> dict[str, Any]:
    """What the options of an authors' program say of our config.

    Args:
        config: the class, whose defaults are the authors'.
        fields: of the config, to the options that set them.
        options: the given ones, by the authors' names.
        published: options that have one value in all published networks, and no field here.
        ignored: options that do not change the network.

    Returns:
        The config as keyword arguments, all of `fields`.

    Raises:
        TypeError: there is no such option.
        ValueError: an option differs from the one value that all published networks have.
    """
    known = {*fields.values(), *published, *ignored}
    if unknown := sorted(options.keys() - known):
        raise TypeError(f"no option {', '.join(unknown)}; known: {', '.join(sorted(known))}")
    for name, value in published.items():
        if options.get(name, value) != value:
            raise ValueError(
                f"{config.__name__.removesuffix('Config')} is built for {name}={value}, as "
                f"published, not for {name}={options[name]}"
            )
    defaults = config()
    return {ours: options.get(theirs, getattr(defaults, ours)) for ours, theirs in fields.items()}


def prefixed(ours: str, theirs: str, names: Mapping[str, str]) -> dict[str, str]:
    """The same table of names for a part that sits at `ours` here and at `theirs` there."""
    return {f"{ours}.{our}": f"{theirs}.{their}" for our, their in names.items()}


def authors_name(name: str, names: Mapping[str, str]) -> str:
    """The authors' name of a tensor of ours, by a table as `translate` takes it."""
    block = re.search(r"(?<=blocks\.)\d+", name)
    number = block[0] if block else ""
    for known in (name, re.sub(r"(?<=blocks\.)\d+", "#", name)):
        layer, _, kind = known.rpartition(".")
        if known in names or layer in names:
            theirs = names[known] if known in names else f"{names[layer]}.{kind}"
            return theirs.replace("#", number)
    raise KeyError(name)


def translate(
    authors_state: Mapping[str, Tensor],
    model: nn.Module,
    names: Mapping[str, str],
    reshape: Mapping[str, Callable[[Tensor], Tensor]] | None = None,
) -> dict[str, Tensor]:
    """Rename the tensors of an authors' checkpoint to ours, missing or surplus ones being errors.

    Args:
        authors_state: tensors by the authors' names; the prefix `module.`, which a parallel wrapper
            leaves behind, is ignored.
        model: a model of ours with the right configuration; only its names and shapes are read, so
            it may live on the meta device.
        names: ours to the authors'. A row names one tensor, or a layer whose `weight` and `bias`
            have the same names on both sides; `#` is the number of any block without its own row.
        reshape: for tensors whose name ends so (`"transform.weight"`), what to do to the authors'
            tensor to get ours.

    Returns:
        Tensors by our names, ready for `load_state_dict`.

    Raises:
        ValueError: tensors are missing, surplus, or have another shape; the message names them.
    """
    given = {name.removeprefix("module."): tensor for name, tensor in authors_state.items()}
    translated: dict[str, Tensor] = {}
    used: set[str] = set()
    missing: list[str] = []
    misshapen: list[str] = []
    for name, expected in model.state_dict().items():
        theirs = authors_name(name, names)
        used.add(theirs)
        if theirs not in given:
            missing.append(theirs)
            continue
        tensor = given[theirs]
        shape = tuple(tensor.shape)
        for ending, change in (reshape or {}).items():
            if name.endswith(ending):
                tensor = change(tensor).contiguous()
        if tensor.shape != expected.shape:
            misshapen.append(f"{theirs} {shape} does not fit our {name} {tuple(expected.shape)}")
        translated[name] = tensor
    surplus = sorted(given.keys() - used)
    if missing or surplus or misshapen:
        found = [
            *(f"missing: {name}" for name in missing),
            *(f"not part of the model: {name}" for name in surplus),
            *misshapen,
        ]
        shown = "; ".join(found[:8]) + (f"; and {len(found) - 8} more" if len(found) > 8 else "")
        raise ValueError(
            f"the checkpoint does not fit {type(model).__name__} as configured: {shown}. Pass the "
            "arguments the checkpoint was trained with"
        )
    return translated
