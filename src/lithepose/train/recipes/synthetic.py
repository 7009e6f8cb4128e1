"""Recipes of pose networks on synthetic people: our own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, get_args

from lithepose.detect.heatmaps import Decoder, Encoding, geometry_of
from lithepose.detect.sizes import POSE_NETWORKS
from lithepose.train.fields import check_choices
from lithepose.train.recipes.base import Recipe, crop_size
from lithepose.train.settings import Optimisation


@dataclass(frozen=True, kw_only=True)
class SyntheticRecipe(Recipe):
    """How a pose network is trained and tested on synthetic people; a batch counts pictures.

    The network fixes joints and crop size.

    Attributes:
        figures: people to train on; each costs a fifth of a second of processor time at the start,
            on all processors, and 0.5 MB.
        backdrops: textures to train with.
        made_poses: poses by code, a quarter of those drawn where there are recorded ones.
        test_figures, test_pictures: size of the validation and of the test.
        encoding: of the targets, "msra" or "dark".
        decoder: of the heatmaps when tested, "quarter" or "dark".
        flip_test: average with the heatmaps of the mirrored crop when tested on photographs.
        epoch: pictures that are called an epoch.
    """

    figures: int = 768
    backdrops: int = 768
    made_poses: int = 20_000
    test_figures: int = 96
    test_pictures: int = 1024
    encoding: Encoding = "dark"
    decoder: Decoder = "dark"
    flip_test: bool = True
    epoch: int = 100_000
    source: str = "our own; docs/models/hevitpose.md has what it gives"

    written: ClassVar = {"task": "lithepose.train.synthetic_images:SyntheticImageTask"}

    def __post_init__(self) -> None:
        check_choices(
            ("pose network", self.network, POSE_NETWORKS),
            ("encoding", self.encoding, get_args(Encoding)),
            ("decoder", self.decoder, get_args(Decoder)),
        )
        if "udp" in (geometry_of(self.encoding), geometry_of(self.decoder)):
            raise ValueError('synthetic targets are "msra" or "dark", not "udp"')
        for name in ("figures", "backdrops", "made_poses", "test_figures", "test_pictures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the crops, pixels."""
        return crop_size(self)

    @property
    def seen(self) -> tuple[str, str]:
        return "synthetic people", "crops of {} x {}".format(*self.image_size)


# 1.15 million pictures; an H100 that it shared drew and trained 380 to 741 a second.
_OPTIMISATION = Optimisation(
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=0.01,
    schedule="trapezoid",
    decay=0.5,
    steps=4500,
    batch=256,
    warmup=200,
    clip=1.0,
    average=0.999,
)
SYNTHETIC_RECIPES = {
    recipe.name: recipe
    for recipe in (
        SyntheticRecipe(name=f"{network}-synthetic", network=network, optimisation=_OPTIMISATION)
        for network in ("hevitpose-t-coco", "hevitpose-t-mpii")
    )
}
