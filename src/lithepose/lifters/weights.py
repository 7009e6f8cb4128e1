"""Weights of lifters: translating the names of the authors' checkpoints."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor, nn


def prefixed(ours: str, theirs: str, names: Mapping[str, str]) -> dict[str, str]:
    """The same table of names for a part that sits at `ours` here and at `theirs` there."""
    return {f"{ours}.{our}": f"{theirs}.{their}" for our, their in names.items()}


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
            have the same names on both sides.
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
        layer, _, kind = name.rpartition(".")
        theirs = names[name] if name in names else f"{names[layer]}.{kind}"
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
