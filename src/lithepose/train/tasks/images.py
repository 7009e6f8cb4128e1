"""Train a pose network on the people of COCO or MPII.

`ImageExamples` cuts people out of their pictures, changes them by chance and draws their target
heatmaps; `ImageTask` is what the training engine trains.

Source: MMPose 0.29's top-down pipeline; Xiao et al., Simple baselines for human pose estimation,
ECCV 2018, which it follows; Wang et al., Mask-pose cascaded CNN, 2018, for half bodies.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.arrays import Floats
from lithepose.datasets.coco import read_coco
from lithepose.datasets.images import People
from lithepose.datasets.mpii import find_heads, read_heads, read_mpii
from lithepose.detect.heatmaps import (
    crop,
    crop_matrix,
    encode,
    frame_boxes,
    geometry_of,
    transform_points,
)
from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.skeletons import skeleton_named
from lithepose.train.evaluation.images import score_coco, score_mpii, settings_of
from lithepose.train.losses import heatmap_loss
from lithepose.train.networks import begin_pose_network, normalised
from lithepose.train.recipes.images import DATASETS, SHIFT_SHARE, TURN_DEG, ImageRecipe

# What half a body is cut from, and how many visible joints it takes.
UPPER_BODY = {"coco17": tuple(range(11)), "mpii16": tuple(range(7, 16))}
HALF_BODY_PADDING = 1.5
LEAST_JOINTS, LEAST_HALF = 8, 2  # a half body needs more than these: of all joints, of its own


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
            centre = centre + SHIFT_SHARE * extent * move
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
        angle = TURN_DEG * np.clip(turn, -2, 2) if chance[3] < recipe.turn else 0.0
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
            begin_pose_network(network, self.start, self.recipe.network)
        return network

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the heatmaps; chance is in the examples alone."""
        del generator
        predicted = network(normalised(batch["images"].movedim(-1, 1) / 255))
        return heatmap_loss(predicted, batch["heatmaps"], batch["weights"])

    def validate(self, network: nn.Module) -> dict[str, float]:
        """AP on val2017 with ground-truth boxes, or PCKh@0.5 on MPII's val; percent."""
        settings = settings_of(self.recipe)
        device = next(network.parameters()).device
        if isinstance(self.test, tuple):
            return score_mpii(network, *self.test, settings, device).scores()
        return score_coco(network, self.test, None, settings, device).scores()
