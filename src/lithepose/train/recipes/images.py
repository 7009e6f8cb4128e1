"""Recipes of pose networks on the people of COCO and MPII.

The authors of HEViTPose published no settings of their training. They built on MMPose 0.29, whose
settings for networks of this kind stand here, and are marked as inferred in every recipe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, get_args

from lithepose.detect.heatmaps import Decoder, Encoding, geometry_of
from lithepose.detect.sizes import POSE_NETWORKS
from lithepose.train.fields import check_choices
from lithepose.train.recipes.base import Expected, Recipe, crop_size
from lithepose.train.settings import Optimisation

# Data set -> its joint set, the split to train on, the split to test on, and the score.
DATASETS = {
    "coco": ("coco17", "train2017", "val2017", "ap"),
    "mpii": ("mpii16", "train", "val", "pckh"),
}
TURN_DEG, SHIFT_SHARE = 40.0, 0.16


@dataclass(frozen=True, kw_only=True)
class ImageRecipe(Recipe):
    """How a pose network is trained and tested on pictures of people; a batch counts people.

    The network fixes the size of the crops.

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
    def image_size(self) -> tuple[int, int]:
        """Width and height of the crops, pixels."""
        return crop_size(self)

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
_RECIPE = ImageRecipe(
    name="",
    network="hevitpose-t-mpii",
    dataset="mpii",
    optimisation=_OPTIMISATION,
    source="Wu et al., HEViTPose (arXiv 2311.13615), with the settings of MMPose 0.29",
    notes=_NOTES,
)
_MPII = {
    size: replace(
        _RECIPE,
        name=f"hevitpose-{size}-mpii",
        network=f"hevitpose-{size}-mpii",
        expected=(
            Expected(metric="PCKh@0.5", value=val, source=f"val, {_README}"),
            Expected(metric="PCKh@0.5", value=test, source=f"test, {_README}"),
        ),
    )
    for size, val, test in (("t", 87.2, 88.7), ("s", 88.5, 90.1), ("b", 89.4, 90.7))
}
_COCO = {
    size: replace(
        _RECIPE,
        name=f"hevitpose-{size}-coco",
        network=f"hevitpose-{size}-coco",
        dataset="coco",
        shift=0.3,
        half_body=0.3,
        # Only of B something is published.
        expected=(
            Expected(metric="AP", value=75.4, source=f"val2017, {_README}"),
            Expected(metric="AP", value=72.6, source=f"test-dev2017, {_README}"),
        )
        if size == "b"
        else (),
        notes=(
            *_NOTES,
            "compare val2017 with ground-truth boxes: the published AP50, 93.6, is of that level",
        ),
    )
    for size in ("t", "s", "b")
}
IMAGE_RECIPES = {recipe.name: recipe for recipe in (*_MPII.values(), *_COCO.values())}
