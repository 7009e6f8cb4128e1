"""What all kinds of recipes share: published results, and checks of their fields. No PyTorch."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from lithepose.detect.sizes import POSE_NETWORKS


@dataclass(frozen=True, kw_only=True)
class Expected:
    """A published result.

    Attributes:
        metric: of a lifter, a key in `lithepose.metrics.published.METRICS`; of a pose network, the
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


def crop_size(network: str, overrides: Mapping[str, Any]) -> tuple[int, int]:
    """Width and height of a pose network's crops, pixels.

    Args:
        network: key in `lithepose.detect.sizes.POSE_NETWORKS`.
        overrides: fields of its config that differ from the table's.
    """
    width, height = overrides.get("image_size", POSE_NETWORKS[network].config.image_size)
    return int(width), int(height)
