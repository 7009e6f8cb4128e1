"""Recipes of pose networks on the people of COCO and MPII, and on synthetic ones (our own).

The authors of HEViTPose published no settings of their training. They built on MMPose 0.29, whose
settings for networks of this kind stand here, and are marked as inferred in every recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, get_args

from lithepose.detect.heatmaps import Decoder, Encoding, geometry_of
from lithepose.detect.sizes import POSE_NETWORKS
from lithepose.train.recipes.base import Expected, Recipe
from lithepose.train.settings import Optimisation, check_choices

# Data set -> its joint set, the split to train on, the split to test on, and the score.
DATASETS = {
    "coco": ("coco17", "train2017", "val2017", "ap"),
    "mpii": ("mpii16", "train", "val", "pckh"),
}
TURN_DEG, SHIFT_SHARE = 40.0, 0.16


class PoseNetworkRecipe(Recipe):
    """How a pose network is trained and tested; the network fixes joints and crop size."""

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the crops, pixels."""
        config = POSE_NETWORKS[self.network].config
        width, height = self.overrides.get("image_size", config.image_size)
        return int(width), int(height)


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(PoseNetworkRecipe):
    """How a pose network is trained and tested on pictures of people; a batch counts people.

    Attributes:
        dataset: "coco" or "mpii".
        encoding: of the targets, "msra", "dark" or "udp".
        decoder: of the heatmaps when tested: "quarter" or "dark", and "udp" for such targets only.
        flip: probability to mirror a person.
        turn: probability to turn a crop, by an angle whose standard deviation is `TURN_DEG`, cut at
            twice as much.
        scale: standard deviation of the factor of the crop's size, cut at one of it.
        shift: probability to move a crop by up to `SHIFT_SHARE` of its size.
        half_body: probability to crop the upper or the lower body alone, where more than eight
            joints are visible.
        flip_test: average with the heatmaps of the mirrored crop when tested.
    """

    dataset: str
    encoding: Encoding = "msra"
    decoder: Decoder = "quarter"
    flip: float = 0.5
    turn: float = 0.6
    scale: float = 0.5
    shift: float = 0.0
    half_body: float = 0.0
    flip_test: bool = True

    written: ClassVar = {
        "task": "lithepose.train.images:ImageTask",
        "turn_deg": TURN_DEG,
        "shift_share": SHIFT_SHARE,
    }

    def __post_init__(self) -> None:
        check_choices(
            ("pose network", self.network, POSE_NETWORKS),
            ("data set", self.dataset, DATASETS),
            ("encoding", self.encoding, get_args(Encoding)),
            ("decoder", self.decoder, get_args(Decoder)),
        )
        if geometry_of(self.encoding) != geometry_of(self.decoder):
            raise ValueError(
                f"targets {self.encoding!r} and the decoder {self.decoder!r} are of two "
                'geometries: "udp" goes with "udp" only'
            )
        if POSE_NETWORKS[self.network].skeleton != DATASETS[self.dataset][0]:
            raise ValueError(f"{self.network} does not give the joints of {self.dataset}")
        for name in ("flip", "turn", "shift", "half_body"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, 0 to 1, not {getattr(self, name)}")
        if not 0 <= self.scale < 1:
            raise ValueError(f"scale is from 0 to below 1, not {self.scale}")

    @property
    def seen(self) -> tuple[str, str]:
        return self.dataset, "crops of {} x {}".format(*self.image_size)


# Adam at 5e-4, a tenth of it after 170 and again after 200 of 210 epochs, rising over 500 steps.
_OPTIMISATION = Optimisation(
    optimiser="adam",
    learning_rate=5e-4,
    schedule="steps",
    gamma=0.1,
    milestones=(170, 200),
    epochs=210,
    batch=64,
    warmup=500,
    seed=1,
)
_README = "README of the authors' repository"
_NOTES = (
    "inferred from MMPose 0.29's recipes, on which the authors built: optimiser, rates, batch, "
    "epochs, augmentation, targets and decoder; that nothing was pre-trained is a guess",
)
_MPII = ImageRecipe(
    name="",
    network="hevitpose-t-mpii",
    dataset="mpii",
    optimisation=_OPTIMISATION,
    source="Wu et al., HEViTPose (arXiv 2311.13615), with the settings of MMPose 0.29",
    notes=_NOTES,
)
_COCO = replace(
    _MPII,
    network="hevitpose-t-coco",
    dataset="coco",
    shift=0.3,
    half_body=0.3,
    notes=(
        *_NOTES,
        "compare val2017 with ground-truth boxes: the published AP50, 93.6, is of that level",
    ),
)
# Network -> its recipe, and the published scores by split.
_ROWS: dict[str, tuple[ImageRecipe, dict[str, float]]] = {
    "hevitpose-t-mpii": (_MPII, {"val": 87.2, "test": 88.7}),
    "hevitpose-s-mpii": (_MPII, {"val": 88.5, "test": 90.1}),
    "hevitpose-b-mpii": (_MPII, {"val": 89.4, "test": 90.7}),
    "hevitpose-t-coco": (_COCO, {}),
    "hevitpose-s-coco": (_COCO, {}),
    "hevitpose-b-coco": (_COCO, {"val2017": 75.4, "test-dev2017": 72.6}),
}
_METRICS = {"mpii": "PCKh@0.5", "coco": "AP"}
IMAGE_RECIPES = {
    name: replace(
        recipe,
        name=name,
        network=name,
        expected=tuple(
            Expected(metric=_METRICS[recipe.dataset], value=value, source=f"{split}, {_README}")
            for split, value in scores.items()
        ),
    )
    for name, (recipe, scores) in _ROWS.items()
}


@dataclass(frozen=True, kw_only=True)
class SyntheticRecipe(PoseNetworkRecipe):
    """How a pose network is trained and tested on synthetic people; a batch counts pictures.

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
    def seen(self) -> tuple[str, str]:
        return "synthetic people", "crops of {} x {}".format(*self.image_size)


# 1.15 million pictures; an H100 that it shared drew and trained 380 to 741 a second.
_OF_SYNTHETIC = Optimisation(
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
    f"{network}-synthetic": SyntheticRecipe(
        name=f"{network}-synthetic", network=network, optimisation=_OF_SYNTHETIC
    )
    for network in ("hevitpose-t-coco", "hevitpose-t-mpii")
}
