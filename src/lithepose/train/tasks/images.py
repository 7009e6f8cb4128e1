"""Train a pose network on the people of COCO or MPII.

`IMAGE_RECIPES` is the table of settings; it loads without PyTorch. `ImageExamples` cuts people out
of their pictures, changes them by chance and draws their target heatmaps; `ImageTask` is what the
training engine trains.

The authors of HEViTPose published no settings of their training. They built on MMPose 0.29, whose
settings for networks of this kind stand here, and are marked as inferred in every recipe.

Source: MMPose 0.29's top-down pipeline; Xiao et al., Simple baselines for human pose estimation,
ECCV 2018, which it follows; Wang et al., Mask-pose cascaded CNN, 2018, for half bodies.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.datasets.coco import read_coco
from lithepose.datasets.images import People
from lithepose.datasets.mpii import find_heads, read_heads, read_mpii
from lithepose.detect.heatmaps import (
    MEAN_RGB,
    STD_RGB,
    Decoder,
    Encoding,
    crop,
    crop_matrix,
    encode,
    frame_boxes,
    geometry_of,
    transform_points,
)
from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.skeletons import skeleton_named
from lithepose.train.recipe_parts import Expected, check_choices, crop_size
from lithepose.train.settings import Optimisation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn


# Data set -> its joint set, the split to train on, the split to test on, and the score.
DATASETS = {
    "coco": ("coco17", "train2017", "val2017", "ap"),
    "mpii": ("mpii16", "train", "val", "pckh"),
}
# What half a body is cut from, and how many visible joints it takes.
UPPER_BODY = {"coco17": tuple(range(11)), "mpii16": tuple(range(7, 16))}
HALF_BODY_PADDING = 1.5
LEAST_JOINTS, LEAST_HALF = 8, 2  # a half body needs more than these: of all joints, of its own


@dataclass(frozen=True, kw_only=True)
class ImageRecipe:
    """How a pose network is trained and tested on pictures of people.

    Attributes:
        name: key in `IMAGE_RECIPES`.
        network: key in `lithepose.detect.sizes.POSE_NETWORKS`; it fixes the size of the crops.
        overrides: fields of its config that differ from the table's.
        dataset: "coco" or "mpii".
        encoding: of the targets, "msra", "dark" or "udp".
        decoder: of the heatmaps when tested: "quarter" or "dark", and "udp" for such targets only.
        flip: probability to mirror a person.
        turn: probability to turn a crop.
        turn_deg: standard deviation of the angle, cut at twice as much.
        scale: standard deviation of the factor of the crop's size, cut at one of it.
        shift: probability to move a crop by up to `shift_share` of its size.
        shift_share: see `shift`.
        half_body: probability to crop the upper or the lower body alone, where more than eight
            joints are visible.
        flip_test: average with the heatmaps of the mirrored crop when tested.
        optimisation: how it is trained; its batch counts people.
        expected: published results.
        source: where the recipe is from.
        notes: what else a reader must know, such as what is inferred.
    """

    name: str
    network: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    dataset: str
    encoding: Encoding = "msra"
    decoder: Decoder = "quarter"
    flip: float = 0.5
    turn: float = 0.6
    turn_deg: float = 40.0
    scale: float = 0.5
    shift: float = 0.0
    shift_share: float = 0.16
    half_body: float = 0.0
    flip_test: bool = True
    optimisation: Optimisation
    expected: tuple[Expected, ...] = ()
    source: str
    notes: tuple[str, ...] = ()
    # A path, not a class: the same field as of the lifters' recipes.
    task: str = "lithepose.train.images:ImageTask"

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
        return crop_size(self.network, self.overrides)


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


class ImageExamples:
    """People, each cut out of its picture, changed by chance, with its targets.

    Args:
        people: whom to train on.
        recipe: how crops are changed and targets drawn.

    Raises:
        ValueError: there are no people, or they have other joints than the recipe's network.
    """

    def __init__(self, people: People, recipe: ImageRecipe):
        joints = POSE_NETWORKS[recipe.network].skeleton
        if people.skeleton != joints:
            raise ValueError(f"{recipe.network} gives {joints}, the people have {people.skeleton}")
        if not len(people):
            raise ValueError(f"nobody to train on: the annotations of {people.folder} are empty")
        self.people, self.recipe = people, recipe
        self.mirror = list(skeleton_named(people.skeleton).mirror)
        upper = np.zeros(len(self.mirror), bool)
        upper[list(UPPER_BODY[people.skeleton])] = True
        self.upper = upper

    def __len__(self) -> int:
        return len(self.people)

    def draw(
        self, indices: NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        """Some people: "images" (n, H, W, 3) RGB bytes, "heatmaps" (n, J, H / 4, W / 4), and
        "weights" (n, J), 0 of joints that are not known.

        Raises:
            FileNotFoundError: a picture is missing.
            ValueError: a picture cannot be read.
        """
        size, recipe = self.recipe.image_size, self.recipe
        images, joints, visible = [], [], []
        for index in indices:
            picture = self.people.picture(index)
            matrix, mirrored = self._place(index, picture.shape[1], random)
            points, seen = self.people.joints[index], self.people.visible[index]
            if mirrored:
                points, seen = points[self.mirror], seen[self.mirror]
            images.append(crop(picture, matrix, size))
            joints.append(transform_points(matrix, points))
            visible.append(seen)
        heatmaps, weights = encode(np.stack(joints), np.stack(visible), size, recipe.encoding)
        return {"images": np.stack(images), "heatmaps": heatmaps, "weights": weights}

    def _place(self, index: int, width: int, random: np.random.Generator) -> tuple[Floats, bool]:
        """The map from the picture to a crop of a person, by chance, and whether it mirrors."""
        recipe, size = self.recipe, self.recipe.image_size
        centre, extent = frame_boxes(self.people.boxes[index], size)
        joints, visible = self.people.joints[index], self.people.visible[index]
        # All is drawn whether it is used or not, so that one setting leaves the others' numbers.
        chance = random.random(4)
        move = random.uniform(-1, 1, 2)
        upper_first, scale, turn = random.standard_normal(3)
        if chance[0] < recipe.shift:
            centre = centre + recipe.shift_share * extent * move
        mirrored = bool(chance[1] < recipe.flip)
        to_mirrored = np.eye(3)
        if mirrored:
            to_mirrored[0, [0, 2]] = -1, width - 1
            centre = np.array([width - 1 - centre[0], centre[1]])
            joints = joints[self.mirror] * [-1, 1] + [width - 1, 0]
            visible = visible[self.mirror]
        if chance[2] < recipe.half_body and visible.sum() > LEAST_JOINTS:
            half = self._half_body(joints, visible, upper_first)
            if half is not None:
                centre, extent = half
        factor = np.clip(1 + recipe.scale * scale, 1 - recipe.scale, 1 + recipe.scale)
        most = 2 * recipe.turn_deg
        angle = np.clip(recipe.turn_deg * turn, -most, most) if chance[3] < recipe.turn else 0.0
        geometry = geometry_of(recipe.encoding)
        matrix = crop_matrix(centre, extent * factor, size, angle, geometry)
        return matrix @ to_mirrored, mirrored

    def _half_body(
        self, joints: Floats, visible: NDArray[np.bool_], drawn: float
    ) -> tuple[Floats, Floats] | None:
        """Centre and size of a crop around half a body; None where it would show too little."""
        halves = [visible & self.upper, visible & ~self.upper]
        # A normal number below 0.5, so the upper half in 69 of 100 cases: so MMPose's code has it.
        first = 0 if drawn < 0.5 and halves[0].sum() > LEAST_HALF else 1
        chosen = halves[first] if halves[first].sum() > LEAST_HALF else halves[0]
        if chosen.sum() < LEAST_HALF:
            return None
        points = joints[chosen]
        extent = np.ptp(points, axis=0)
        if not extent.max() > 0:  # joints on one spot make no region
            return None
        box = np.concatenate([points.min(0), np.maximum(extent, 1e-6)])
        _, size = frame_boxes(box, self.recipe.image_size, HALF_BODY_PADDING)
        return points.mean(0), size


class ImageTask:
    """A recipe on a folder of data, as the training engine takes it.

    Args:
        recipe: what to train.
        root: folder of the data set, laid out as its page in docs/data says.
        start: weights of an earlier run to begin with.

    Raises:
        FileNotFoundError: a file of the data set, or `start`, is missing.
        ValueError: the recipe, the data and `start` do not fit each other.
    """

    higher_is_better = True

    def __init__(self, recipe: ImageRecipe, root: Path, start: Path | None = None):
        self.recipe, self.start = recipe, start
        _, train, test, self.score = DATASETS[recipe.dataset]
        if recipe.dataset == "coco":
            people = read_coco(root, train).people()
            self.test = read_coco(root, test)
        else:
            people = read_mpii(root, train)
            self.test = (read_mpii(root, test), read_heads(find_heads(root)))
        self.examples = ImageExamples(people, recipe)

    def build(self) -> nn.Module:
        network = create_pose_network(self.recipe.network, **self.recipe.overrides)
        if self.start is not None:
            begin_with(network, self.start, self.recipe.network)
        return network

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the heatmaps; chance is in the examples alone."""
        del generator
        predicted = network(normalised(batch["images"]))
        return heatmap_loss(predicted, batch["heatmaps"], batch["weights"])

    def validate(self, network: nn.Module) -> dict[str, float]:
        """AP on val2017 with ground-truth boxes, or PCKh@0.5 on MPII's val; percent."""
        from lithepose.train.evaluation.images import score_coco, score_mpii, settings_of

        settings = settings_of(self.recipe)
        device = next(network.parameters()).device
        if isinstance(self.test, tuple):
            return score_mpii(network, *self.test, settings, device).scores()
        return score_coco(network, self.test, None, settings, device).scores()


def begin_with(network: nn.Module, path: Path, name: str) -> None:
    """Load the weights of an earlier run, a checkpoint or the file it left, into a network.

    Args:
        name: the network's, for the error.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it does not fit.
    """
    from lithepose.detect.weights import is_weights_file
    from lithepose.lifters.weights import load_weights
    from lithepose.train.engine import kept_weights

    state = load_weights(path).state if is_weights_file(path) else kept_weights(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {name}: {error}") from error


def normalised(images: Tensor) -> Tensor:
    """Crops (B, H, W, 3) RGB bytes as the network's input (B, 3, H, W), on their device."""
    import torch

    # Numbers and not a tensor of them, which would have to be copied to the device, and waited for.
    channels = enumerate(zip(MEAN_RGB, STD_RGB, strict=True))
    return torch.stack(
        [(images[..., c] - 255 * mean) / (255 * std) for c, (mean, std) in channels], dim=1
    )


def heatmap_loss(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error over people, joints and pixels, squares weighted by joint.

    Joints of weight 0 count as zeros in the mean. So MMPose has it; HRNet's own code weights before
    it squares and takes a half.

    Args:
        predicted, target: (B, J, H, W).
        weights: (B, J).
    """
    return ((predicted.float() - target) ** 2 * weights[..., None, None]).mean()
