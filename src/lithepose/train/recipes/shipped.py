"""The recipe of the lifter that the package ships: from motion capture that may be shipped."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from lithepose.lifters.windows import CHANNELS
from lithepose.mocap.windows import WindowSettings
from lithepose.train.recipes.base import Recipe
from lithepose.train.settings import Optimisation


@dataclass(frozen=True, kw_only=True)
class ShippedRecipe(Recipe):
    """Everything that decides a lifter trained on drawn windows; a batch counts them.

    Attributes:
        clips: how windows are drawn; `frames` and `targets` must be the lifter's.
        limb_weight: weight of the twelve limb joints in the loss, beside 1 for the others.
        velocity_weight: weight of the loss on steps from frame to frame.
        noise: add the measured detector noise.
        without: clips of the training motions that are left out.
    """

    clips: WindowSettings = field(default_factory=WindowSettings)
    limb_weight: float = 2.0
    velocity_weight: float = 0.5
    noise: bool = True
    without: tuple[str, ...] = ()

    @property
    def seen(self) -> tuple[str, str]:
        return "motion capture", f"{self.clips.frames} frames, drawn"

    def described(self) -> dict[str, Any]:
        """As of any recipe; runs of this one have no name, and call its network a lifter."""
        values = super().described()
        del values["name"]
        return {"lifter": values.pop("network"), **values}


# The shipped model's. Dropout is off: with every window drawn anew nothing is seen twice.
DEFAULT = ShippedRecipe(
    name="lithepose-81-9",
    network="nanohtnet-81-9",
    overrides={
        "in_channels": CHANNELS,
        "drop_path": (0.0, 0.0),
        "spatial_dropout": 0.0,
        "temporal_dropout": 0.0,
        "attention_dropout": 0.0,
    },
    optimisation=Optimisation(
        optimiser="muon",
        learning_rate=3e-3,
        betas=(0.9, 0.98),
        weight_decay=0.02,
        schedule="trapezoid",
        decay=0.4,
        steps=20_000,
        batch=1024,
        warmup=200,
        clip=1.0,
        average=0.999,
    ),
    # Elbows bent backwards in the first two, heads upside down in the others.
    without=("13_18", "14_23", "60_06", "60_07"),
    source="our own; docs/models/lithepose-81-9.md has what it gives",
)
