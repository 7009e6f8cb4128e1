"""Weights files: a network's numbers, which network it is, and its config.

A weights file is a safetensors file, which can hold numbers and nothing that runs.
"""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from lithepose.files import atomic_write


@dataclass(frozen=True, kw_only=True)
class Weights:
    """What a weights file holds.

    Attributes:
        network: its family: of lifters a key of `lithepose.lifters.FAMILIES`.
        config: keyword arguments that build the network.
        state: tensors by name, float32 where they were stored in half precision.
        metadata: what was said about the weights when they were saved.
    """

    network: str
    config: dict[str, Any]
    state: dict[str, Tensor]
    metadata: dict[str, Any]


def write_weights(
    path: str | os.PathLike[str],
    network: str,
    model: nn.Module,
    metadata: Mapping[str, Any] | None = None,
    *,
    half: bool = False,
) -> None:
    """Write the weights of a network that has a config; the file is complete or absent.

    Args:
        path: the file to write, `.safetensors` by custom.
        network: what the file says it is for.
        model: with a dataclass as `config`.
        metadata: anything JSON can hold, for instance how the weights were made.
        half: store numbers in half precision, half the size and a relative error of up to 0.05 %.
            Tensors with numbers that are too large for it stay as they are.

    Raises:
        TypeError: `metadata` does not fit JSON.
        OSError: the file cannot be written.
    """
    header = {
        "network": network,
        "config": json.dumps(dataclasses.asdict(model.config)),  # type: ignore[arg-type]
        "metadata": json.dumps(dict(metadata or {})),
    }
    tensors = {name: t.detach().cpu().contiguous() for name, t in model.state_dict().items()}
    if half:
        tensors = {name: _halved(tensor) for name, tensor in tensors.items()}
    with atomic_write(path) as temporary:
        # Not save_file, which leaves a file that only its owner may read.
        temporary.write_bytes(save(tensors, header))


def _halved(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.float32:
        return tensor
    half = tensor.half()
    return half if bool(torch.isfinite(half).all()) else tensor


def load_weights(path: str | os.PathLike[str]) -> Weights:
    """Read a file of `write_weights`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or no weights file of this package.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            header = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}): get or save it again"
        ) from error
    if not {"network", "config", "metadata"} <= header.keys():
        raise ValueError(
            f"{path} does not say which network it is for, so this package did not write it: "
            "build the lifter yourself, and see convert_state_dict for its authors' tensor names"
        )
    half = torch.float16
    return Weights(
        network=header["network"],
        config=json.loads(header["config"]),
        state={name: t.float() if t.dtype == half else t for name, t in tensors.items()},
        metadata=json.loads(header["metadata"]),
    )
