"""Train a pose network on the people of COCO or MPII, and measure it there as the papers do.

`ImageExamples` cuts people out of their pictures, changes them by chance and draws their target
heatmaps; `ImageTask` is what the training engine trains; `evaluate_images` measures.

Source: MMPose 0.29's top-down pipeline; Xiao et al., Simple baselines for human pose estimation,
ECCV 2018, which it follows; Wang et al., Mask-pose cascaded CNN, 2018, for half bodies. Tests are
those of HRNet and MMPose 0.29: crops of annotated or detected boxes, heatmaps averaged with those
of the mirrored crop, OKS-NMS on COCO.
"""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.arrays import Floats
from lithepose.datasets.coco import CocoAnnotations, read_coco
from lithepose.datasets.images import People
from lithepose.datasets.mpii import Heads, find_heads, read_heads, read_mpii
from lithepose.detect.heatmaps import (
    Decoder,
    Geometry,
    crop,
    crop_matrix,
    decode,
    encode,
    frame_boxes,
    geometry_of,
    heatmap_size,
    mirror_heatmaps,
    to_picture,
    transform_points,
)
from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.files import atomic_write
from lithepose.metrics.pose2d import CocoResults, PckhResults, coco_ap, oks_nms, pckh, person_scores
from lithepose.skeletons import skeleton_named
from lithepose.train.evaluation import EvaluationSettings
from lithepose.train.losses import heatmap_loss
from lithepose.train.networks import begin_pose_network, normalised
from lithepose.train.recipes.images import DATASETS, SHIFT_SHARE, TURN_DEG, ImageRecipe

# What half a body is cut from, and how many visible joints it takes.
UPPER_BODY = {"coco17": tuple(range(11)), "mpii16": tuple(range(7, 16))}
HALF_BODY_PADDING = 1.5
LEAST_JOINTS, LEAST_HALF = 8, 2  # a half body needs more than these: of all joints, of its own

Results = CocoResults | PckhResults

# Threads that read pictures, a batch each.
READERS = min(8, os.cpu_count() or 1)


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


# --- evaluation -------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class EvalSettings:
    """How heatmaps are made and read.

    Attributes:
        image_size: width and height of the crops.
        flip: average with the heatmaps of the mirrored crop.
        decoder: "quarter", "dark", or "udp" for networks trained on such targets.
        batch: people at once.
    """

    image_size: tuple[int, int]
    flip: bool = True
    decoder: Decoder = "quarter"
    batch: int = 32


def settings_of(recipe: ImageRecipe) -> EvalSettings:
    """The settings by which a recipe's network is tested."""
    return EvalSettings(image_size=recipe.image_size, flip=recipe.flip_test, decoder=recipe.decoder)


def evaluate_images(
    network: nn.Module,
    name: str,
    root: Path,
    *,
    dataset: str,
    split: str,
    boxes: Path | None = None,
    flip: bool = True,
    decoder: Decoder = "quarter",
    device: str | torch.device = "cpu",
    batch: int = 32,
) -> Results:
    """Measure a network on a split of a data set.

    Args:
        network: of `lithepose.detect.sizes.create_pose_network`.
        name: its key in `POSE_NETWORKS`.
        root: folder of the data set, laid out as its page in docs/data says.
        dataset: "coco" or "mpii".
        split: such as "val2017" or "val".
        boxes: COCO only: a file of detected boxes in place of the annotated ones.
        flip: average with the heatmaps of the mirrored crop.
        decoder: "quarter", "dark" or "udp".
        device: where the network runs.
        batch: people at once.
    Returns:
        The scores with the rules they were made by; `write_predictions` keeps what was predicted.
    Raises:
        FileNotFoundError: a file of the data set is missing.
        ValueError: a file is damaged, the network does not give the data set's joints, or there is
            no public truth of the split.
        ImportError: a package of the extra "eval" is missing.
    """
    if name not in POSE_NETWORKS:
        raise ValueError(f"no pose network named {name!r}; known: {', '.join(POSE_NETWORKS)}")
    if dataset not in DATASETS:
        raise ValueError(f"no data set named {dataset!r}; known: {', '.join(DATASETS)}")
    given, scored = POSE_NETWORKS[name].skeleton, DATASETS[dataset][0]
    if given != scored:
        raise ValueError(
            f"{name} gives the joints {given}, {dataset} is scored by {scored}: pass a network "
            "for it"
        )
    config: Any = getattr(network, "config", POSE_NETWORKS[name].config)
    settings = EvalSettings(image_size=config.image_size, flip=flip, decoder=decoder, batch=batch)
    device = torch.device(device)
    network = network.to(device).eval()
    if dataset == "coco":
        found = score_coco(network, read_coco(root, split), boxes, settings, device)
    else:
        if boxes is not None:
            raise ValueError("MPII gives place and size of every person: leave boxes out")
        if split != "val":
            raise ValueError(
                f"heads for PCKh are public for the split val only, not {split!r}; results on test "
                "come from the data set's authors"
            )
        heads = read_heads(find_heads(root))
        found = score_mpii(network, read_mpii(root, split), heads, settings, device)
    parameters = sum(p.numel() for p in network.parameters())
    about = (f"{name}: {parameters / 1e6:.2f} M parameters", f"split {split}")
    return replace(found, rules=(*about, *found.rules))


def score_coco(
    network: nn.Module,
    annotations: CocoAnnotations,
    boxes: Path | None,
    settings: EvalSettings,
    device: torch.device,
) -> CocoResults:
    """Average precision on the pictures of an annotation file; see `evaluate_images`."""
    if boxes is None:
        people, said = annotations.people(), "ground-truth boxes"
    else:
        people = annotations.detected_people(boxes)
        said = f"boxes of {boxes.name}, {len(people)} of them"
    keypoints = predict(network, people, settings, device)
    scores = person_scores(keypoints[..., 2], people.scores)
    _, sizes = frame_boxes(people.boxes, settings.image_size)
    detections = []
    for picture in np.unique(people.picture_ids):
        here = np.flatnonzero(people.picture_ids == picture)
        kept = oks_nms(keypoints[here, :, :2], scores[here], sizes[here].prod(-1))
        detections += [
            {
                "image_id": int(picture),
                "category_id": 1,
                "keypoints": [round(float(v), 3) for v in keypoints[i].ravel()],
                "score": float(scores[i]),
            }
            for i in here[kept]
        ]
    rules = (said, *_rules(settings), "OKS-NMS at 0.9")
    found = coco_ap(annotations.path, detections)
    return replace(found, rules=rules, predictions=tuple(detections))


def score_mpii(
    network: nn.Module,
    people: People,
    heads: Heads,
    settings: EvalSettings,
    device: torch.device,
) -> PckhResults:
    """PCKh@0.5 of people whose heads are known; see `evaluate_images`.

    Raises:
        ValueError: there are heads of another number of people.
    """
    if len(people) != len(heads.sizes):
        raise ValueError(
            f"there are {len(people)} people but heads of {len(heads.sizes)}: mpii_val.json and "
            "mpii_gt_val.mat are not of one set"
        )
    keypoints = predict(network, people, settings, device)
    points = keypoints[..., :2]
    found = pckh(points, heads.joints, heads.counted, heads.sizes)
    strict = pckh(points, heads.joints, heads.counted, heads.sizes, threshold=0.1)
    predictions = tuple(
        {"image": file, "keypoints": [round(float(v), 3) for v in joints.ravel()]}
        for file, joints in zip(people.files, keypoints, strict=True)
    )
    rules = ("annotated centres and scales", *_rules(settings))
    rules = (*rules, f"the strict PCKh@0.1: mean {strict.mean:.1f} %")
    return replace(found, rules=rules, predictions=predictions)


@torch.no_grad()
def predict(
    network: nn.Module, people: People, settings: EvalSettings, device: torch.device
) -> Floats:
    """Joints of people in their pictures.

    Args:
        network: in evaluation mode, on `device`.
    Returns:
        (N, J, 3): x and y in pixels of the picture, and the score.
    """
    geometry = geometry_of(settings.decoder)
    mirror = skeleton_named(people.skeleton).mirror
    centres, sizes = frame_boxes(people.boxes, settings.image_size)
    keypoints = np.empty((len(people), len(mirror), 3))
    for indices, images in _crops(people, settings, geometry):
        inputs = normalised(torch.from_numpy(images).to(device).movedim(-1, 1) / 255)
        if settings.flip:
            inputs = torch.cat([inputs, inputs.flip(-1)])
        heatmaps = network(inputs).float().cpu().numpy()
        if heatmaps.shape[1] != len(mirror):
            raise ValueError(
                f"the network gives {heatmaps.shape[1]} joints, {people.skeleton} has {len(mirror)}"
            )
        if settings.flip:
            direct, mirrored = heatmaps[: len(images)], heatmaps[len(images) :]
            heatmaps = (direct + mirror_heatmaps(mirrored, mirror, geometry)) / np.float32(2)
        points, scores = decode(heatmaps, settings.decoder)
        size = heatmap_size(settings.image_size)
        keypoints[indices, :, :2] = to_picture(
            points, centres[indices], sizes[indices], size, geometry
        )
        keypoints[indices, :, 2] = scores
    return keypoints


def photograph_table(
    network: nn.Module, recipe: Any, root: Path, dataset: str, settings: EvaluationSettings
) -> str:
    """The table of a pose network on "coco" or "mpii"; what `settings` leave open is the recipe's.

    Args:
        recipe: one of a pose network.
    """
    return evaluate_images(
        network,
        recipe.network,
        root,
        dataset=dataset,
        split=settings.split or DATASETS[dataset][2],
        boxes=settings.boxes,
        flip=recipe.flip_test if settings.flip is None else settings.flip,
        decoder=settings.decoder or recipe.decoder,
        device=settings.device,
    ).as_markdown()


def image_tables(
    network: nn.Module, recipe: ImageRecipe, root: Path, settings: EvaluationSettings
) -> Iterator[str]:
    """The table of a pose network on the data set that it was trained on.

    Raises:
        ValueError: protocols are asked for, which are of lifters.
    """
    if settings.protocols:
        raise ValueError(f"{recipe.name} is a pose network: protocols are of lifters")
    yield photograph_table(network, recipe, root, recipe.dataset, settings)


def write_predictions(path: str | Path, results: Results) -> None:
    """Write what was predicted as JSON: on COCO the list that its server takes, on MPII a list of
    image and keypoints (16 x (x, y, score), 0-based) in the order of the annotations.

    Raises:
        OSError: the file cannot be written.
    """
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(list(results.predictions)), encoding="utf-8")


def _rules(settings: EvalSettings) -> tuple[str, ...]:
    """What must be said of every number."""
    width, height = settings.image_size
    moved = geometry_of(settings.decoder) == "standard"
    flip = "flip test" + ", mirrored heatmaps moved by a pixel" * moved
    flip = flip if settings.flip else "no flip test"
    decoder = {"quarter": "quarter offset", "dark": "DARK", "udp": "UDP"}[settings.decoder]
    return (f"crops of {width} x {height} pixels", flip, f"decoder: {decoder}")


def _crops(
    people: People, settings: EvalSettings, geometry: Geometry
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.uint8]]]:
    """Batches of people and their crops (n, H, W, 3), read ahead by threads."""
    centres, sizes = frame_boxes(people.boxes, settings.image_size)
    matrices = crop_matrix(centres, sizes, settings.image_size, geometry=geometry)

    def cut(indices: NDArray[np.int64]) -> NDArray[np.uint8]:
        name, picture, crops = "", np.zeros((1, 1, 3), np.uint8), []
        for i in indices:
            if people.files[i] != name:
                name, picture = people.files[i], people.picture(int(i))
            crops.append(crop(picture, matrices[i], settings.image_size))
        return np.stack(crops)

    # By picture, so that one with many people in it is read once.
    order = np.argsort(people.picture_ids, kind="stable")
    batches = deque(order[i : i + settings.batch] for i in range(0, len(order), settings.batch))
    waiting: deque[tuple[NDArray[np.int64], Future[NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(max_workers=READERS) as pool:
        while batches or waiting:
            while batches and len(waiting) <= READERS:
                waiting.append((batches[0], pool.submit(cut, batches.popleft())))
            indices, future = waiting.popleft()
            yield indices, future.result()
