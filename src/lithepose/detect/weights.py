"""Weights files of pose networks: saved with their config, and loaded again.

The form is that of the lifters' files (`lithepose.weights_file`): safetensors, with the network,
its config and what is said about the weights in the header.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from lithepose.detect.sizes import POSE_FAMILIES, create_pose_network
from lithepose.weights_file import load_weights, write_weights

_CONSTANTS = {"qk_divisor": 2, "ffn_expansion": 2, "subsample_expansion": 4, "norm_eps": 1e-5}


def save_pose_network(
    path: str | os.PathLike[str], model: nn.Module, metadata: Mapping[str, Any] | None = None
) -> None:
    """Save a pose network's weights with its config; the file is complete or absent.

    Args:
        path: the file to write, `.safetensors` by custom.
        model: made by `lithepose.detect.sizes.create_pose_network`, not folded.
        metadata: anything JSON can hold, for instance how the weights were made.

    Raises:
        TypeError: the model is no pose network of this package, or `metadata` does not fit JSON.
        OSError: the file cannot be written.
    """
    made = f"{type(model).__module__}:{type(model).__qualname__}"
    family = next((name for name, path in POSE_FAMILIES.items() if path == made), None)
    if family is None:
        known = ", ".join(POSE_FAMILIES.values())
        raise TypeError(f"{made} is no pose network of this package; known: {known}")
    write_weights(path, family, model, metadata)


def load_pose_network(path: str | os.PathLike[str]) -> nn.Module:
    """The pose network of a file of `save_pose_network`, ready to evaluate.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, of another kind of network, or of a version that had other parts.
    """
    weights = load_weights(path)
    if weights.network not in POSE_FAMILIES:
        raise ValueError(
            f"{path} is for the network {weights.network!r}, which is no pose network; known: "
            f"{', '.join(POSE_FAMILIES)}"
        )
    try:
        # Earlier versions had fields for what never was another number.
        config = {k: v for k, v in weights.config.items() if _CONSTANTS.get(k) != v}
        model = create_pose_network(weights.network, **config)
        model.load_state_dict(weights.state)
    except (RuntimeError, TypeError) as error:
        raise ValueError(
            f"{path} does not fit {weights.network} as this version has it: {error}"
        ) from error
    return model.eval()


def is_weights_file(path: str | os.PathLike[str]) -> bool:
    """Whether a file says which network it is for, as a checkpoint of a training does not.

    False also of what is no safetensors file, or is not there: who reads it says why.
    """
    try:
        with safe_open(Path(path), framework="pt") as file:
            return {"network", "config"} <= (file.metadata() or {}).keys()
    except (SafetensorError, OSError):
        return False
