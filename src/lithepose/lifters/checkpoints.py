"""Import checkpoints of the networks' authors: files made by `torch.save`, read without running
anything that is in them."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from lithepose.lifters import FAMILIES, LIFTERS, convert_state_dict, create_lifter, load_family
from lithepose.lifters.weights import save_weights


class Placeholder:
    """Stands in for an object of a checkpoint that is no tensor; keeps nothing of it."""

    def __init__(self, *_: Any, **__: Any):
        pass

    def __setstate__(self, state: Any) -> None:
        del state


# What training programs store beside the weights: states of random numbers, losses as numbers of
# NumPy, their own options. A `Placeholder` is read in place of each; everything else that is not a
# tensor or a plain value of Python is refused.
IGNORED = (
    "argparse.Namespace",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy._core.multiarray._reconstruct",
    "numpy._core.multiarray.scalar",
    "numpy.dtype",
    "numpy.ndarray",
    "numpy.random.__RandomState_ctor",
    "numpy.random._mt19937.MT19937",
    "numpy.random._pickle.__bit_generator_ctor",
    "numpy.random._pickle.__randomstate_ctor",
)
# Where the tensors are in a checkpoint that holds more, and what wrappers put before their names.
WRAPPERS = ("model_pos", "model", "state_dict", "model_state_dict", "net", "network")
PREFIXES = ("module.", "_orig_mod.", "model_pos.", "model.", "net.", "network.")

# A tensor that the checkpoints of one network have and those of the others do not.
SIGNATURES = {
    "x_token": "hot",  # beside the tensors of its host, so it comes first
    "Hiremixer.blocks.0.lgc.gcn1.W": "htnet",
    "Transformer_encoder_1.pos_embed": "mhformer",
    "STEblocks.0.norm1.weight": "mixste",
    "layers.0.att_spatial.norm1.weight": "motionagformer",
    "blocks_st.0.norm1_s.weight": "motionbert",
    "backbone.spat_embed": "motionbert",  # MMPose's copy
    "tem_pos_embed": "nanohtnet",
}
REFINER = "post_refine.0.weight"


@dataclass(frozen=True, kw_only=True)
class ImportedCheckpoint:
    """What was imported.

    Attributes:
        network: a key of `FAMILIES`.
        config: keyword arguments of `create_lifter(network, ...)`.
        parameters: how many numbers are trained.
    """

    network: str
    config: dict[str, Any]
    parameters: int


def read_checkpoint(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, found in its wrapper and without the prefixes of wrappers.

    Only tensors and plain values are built; nothing in the file is run. States of optimisers and
    of random numbers are dropped.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds objects that could run code, or holds no tensors by name.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    allowed: list[Any] = [(Placeholder, name) for name in IGNORED]
    try:
        with torch.serialization.safe_globals(allowed):
            loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle fails in any way, without a class of its own
        refused = re.search(r"GLOBAL ([\w.]+)", str(error))
        if refused:
            raise ValueError(
                f"{path} holds an object of {refused[1]}, which could run code when it is loaded, "
                "so the file is refused: in its own environment, save model.state_dict() alone"
            ) from error
        raise ValueError(
            f"{path} is damaged or no file of torch.save "
            f"({type(error).__name__}: {str(error).splitlines()[0][:120] if str(error) else '-'}): "
            "get it again"
        ) from error
    state = _without_wrappers(loaded, path)
    for prefix in PREFIXES * 2:  # two wrappers may be nested, in any order
        if all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): tensor for name, tensor in state.items()}
    return state


def _without_wrappers(loaded: Any, path: Path) -> dict[str, Tensor]:
    while isinstance(loaded, Mapping) and loaded:
        if all(isinstance(value, Tensor) for value in loaded.values()):
            return {str(name): tensor for name, tensor in loaded.items()}
        inside = [key for key in WRAPPERS if isinstance(loaded.get(key), Mapping)]
        if not inside:
            others = sorted(str(k) for k, value in loaded.items() if not isinstance(value, Tensor))
            raise ValueError(
                f"{path} holds {', '.join(others[:8])}, which are no tensors, and nothing named "
                f"{', '.join(WRAPPERS)}: save the network's state_dict() alone"
            )
        loaded = loaded[inside[0]]
    found = "nothing" if isinstance(loaded, Mapping) else f"a {type(loaded).__name__}"
    raise ValueError(f"{path} holds {found} where tensors by name should be: save state_dict()")


def recognise(state: Mapping[str, Tensor]) -> str | None:
    """The network that a checkpoint is of, by its names: a key of `FAMILIES`, or None.

    A network pruned for the centre frame has the tensors of its host and counts as that.
    """
    return next((family for name, family in SIGNATURES.items() if name in state), None)


def authors_options(name: str) -> dict[str, Any]:
    """The options of the authors' program that give a lifter of the table.

    Args:
        name: a key of `LIFTERS`.
    """
    row = LIFTERS[name]
    return _options(row.family, row.settings)


def _options(family: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    network, _, fields = load_family(family)
    config = dataclasses.asdict(network.Config(**settings))
    if family == "hot":
        ((layer_index, token_num),) = config["prune"]
        chosen = {"host": config["host"], "layer_index": layer_index, "token_num": token_num}
        return chosen | _options(config["host"], config["host_settings"])
    options = {theirs: config[ours] for ours, theirs in fields.items()}
    if family == "motionbert":
        options["mlp_ratio"] = config["hidden"] / config["channels"]
    return options


def convert_checkpoint(
    path: str | os.PathLike[str], name: str, **options: Any
) -> tuple[str, dict[str, Any], dict[str, Tensor]]:
    """Read and translate a checkpoint.

    Args:
        path: a file of `torch.save`: `.pth`, `.pth.tr`, `.bin`.
        name: a key of `LIFTERS`; or of `FAMILIES`, for a size that is not in the table.
        options: with a key of `FAMILIES`, the options of the authors' program that the checkpoint
            was trained with; those left out have the authors' defaults.

    Returns:
        The network (a key of `FAMILIES`), its config as keyword arguments of `create_lifter`, and
        its tensors.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: there is no such lifter, the file is damaged or unsafe, it is a checkpoint of
            another network, or tensors are missing, surplus or misshapen.
    """
    if name not in LIFTERS and name not in FAMILIES:
        known = ", ".join(sorted(LIFTERS.keys() | FAMILIES.keys()))
        raise ValueError(f"no lifter named {name!r}; known: {known}")
    family = LIFTERS[name].family if name in LIFTERS else name
    # A network may have the name of its only or default size: then options may change it.
    if options and name not in FAMILIES:
        raise ValueError(
            f"{name!r} is a published size with options of its own; for another, name the network "
            f"itself, {family!r}, with the options {', '.join(sorted(options))}"
        )
    from_authors = load_family(family).from_authors
    state = read_checkpoint(path)
    found = recognise(state)
    if REFINER in state:
        raise ValueError(
            f"{path} is HTNet's refinement, not a lifter: see lithepose.lifters.htnet.PoseRefiner"
        )
    host = LIFTERS[name].settings.get("host") if name in LIFTERS else options.get("host", "mixste")
    pruned_for_centre = family == "hot" and found == host
    if from_authors is not None and found is not None and found != family and not pruned_for_centre:
        sizes = [other for other, row in LIFTERS.items() if row.family == found]
        raise ValueError(
            f"{path} is a checkpoint of {found}, not of {family}: import it as one of "
            f"{', '.join(sizes)}"
        )
    given = options if name not in LIFTERS else {**authors_options(name), **options}
    try:
        config, converted = convert_state_dict(family, state, **given)
    except TypeError as error:
        raise ValueError(f"{family} has other options: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}, as {name}: {error}") from error
    return family, config, converted


def import_weights(
    path: str | os.PathLike[str], name: str, out: str | os.PathLike[str], **options: Any
) -> ImportedCheckpoint:
    """Convert a checkpoint of a network's authors to a weights file of this package.

    Args:
        path: a file of `torch.save`: `.pth`, `.pth.tr`, `.bin`.
        name: a key of `LIFTERS`; or of `FAMILIES`, for a size that is not in the table.
        out: the file to write, `.safetensors` by custom; complete or absent. Its metadata say from
            which file it was made, and that file's SHA-256.
        options: see `convert_checkpoint`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: see `convert_checkpoint`.
        OSError: the file cannot be written.
    """
    family, config, state = convert_checkpoint(path, name, **options)
    model = create_lifter(family, **config)
    model.load_state_dict(state)
    with Path(path).open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    origin = {"name": name, "imported_from": Path(path).name, "sha256": digest}
    save_weights(out, model, origin)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    return ImportedCheckpoint(network=family, config=config, parameters=parameters)
