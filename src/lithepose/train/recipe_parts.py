"""What all kinds of recipes share: published results, and checks of their fields. No PyTorch."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lithepose.detect.sizes import POSE_NETWORKS
from lithepose.train.settings import fitting, kinds_of


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A published result.

    Attributes:
        metric: of a lifter, a key in `lithepose.metrics.protocols.METRICS`; of a pose network, the
            score as it is printed.
        value: millimetres or percent.
        source: where it is printed, and what it was measured on if the recipe does not say.
        papers: whether it is the paper's own, or its authors' code or another paper's table.
    """

    metric: str
    value: float
    source: str
    papers: bool = True


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


def read_change(text: str) -> tuple[str, Any]:
    """Field and value of a text `field=value`; the value is as JSON has it, or the text itself.

    Raises:
        ValueError: there is no field, or no value.
    """
    name, _, written = text.partition("=")
    if not name or not written:
        raise ValueError(f"--set takes field=value, such as batch=64; found {text!r}")
    try:
        return name, json.loads(written)
    except json.JSONDecodeError:
        return name, written


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


def crop_size(network: str, overrides: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a pose network's crops, pixels.

    Args:
        network: key in `lithepose.detect.sizes.POSE_NETWORKS`.
        overrides: fields of its config that differ from the table's.
    """
    width, height = overrides.get("image_size", POSE_NETWORKS[network].config.image_size)
    return int(width), int(height)
