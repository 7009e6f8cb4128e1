"""Training on pictures of people: what is drawn, the loss, the recipes, and a network that learns.

The pictures are made: on black, each joint is a disc of a colour of its own.
"""

from __future__ import annotations

import json
import pickle
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from lithepose.datasets.coco import read_coco
from lithepose.datasets.images import People
from lithepose.detect.heatmaps import (
    crop,
    crop_matrix,
    decode,
    frame_boxes,
    normalise_images,
    transform_points,
)
from lithepose.detect.sizes import POSE_NETWORKS
from lithepose.skeletons import SKELETONS
from lithepose.train.checkpoints import BEST, kept_weights
from lithepose.train.engine import run
from lithepose.train.losses import heatmap_loss
from lithepose.train.networks import normalised
from lithepose.train.recipes.images import IMAGE_RECIPES
from lithepose.train.settings import Optimisation, RunSettings
from lithepose.train.tasks.images import ImageExamples, ImageTask, evaluate_images

STILL = {"flip": 0.0, "turn": 0.0, "scale": 0.0, "shift": 0.0, "half_body": 0.0}
COCO = IMAGE_RECIPES["hevitpose-t-coco"]


def one_person(folder: Path, only: int | None = None) -> People:
    """A person in a picture of 200 x 160; with `only`, a single white joint that is known."""
    joints = np.random.default_rng(4).uniform([60, 30], [140, 130], (17, 2))
    picture = np.zeros((160, 200, 3), np.uint8)
    visible = np.ones(17, bool)
    if only is not None:
        visible[:] = np.arange(17) == only
        x, y = (round(16 * v) for v in joints[only])
        cv2.circle(picture, (x, y), 3 * 16, (255, 255, 255), -1, cv2.LINE_AA, 4)
    cv2.imwrite(str(folder / "a.png"), picture)
    return People(
        skeleton="coco17",
        folder=folder,
        files=("a.png",),
        picture_ids=np.array([1]),
        picture_sizes=np.array([[200, 160]]),
        boxes=np.array([[50.0, 20, 100, 120]]),
        scores=np.ones(1),
        joints=np.where(visible[:, None], joints, np.nan)[None],
        visible=visible[None],
    )


def colours(joints: int) -> np.ndarray:
    """(J, 3) colours that differ well."""
    hue = np.arange(joints) * 179 / joints
    hsv = np.stack([hue, np.full(joints, 255), 255 - 90 * (np.arange(joints) % 2)], -1)
    return cv2.cvtColor(hsv[None].astype(np.uint8), cv2.COLOR_HSV2RGB)[0]


@pytest.fixture
def made_coco(tmp_path: Path) -> Path:
    """A data set in COCO's layout: four pictures of two people each, for training and testing."""
    random = np.random.default_rng(1)
    images, people = [], []
    (tmp_path / "annotations").mkdir()
    for split in ("train2017", "val2017"):
        (tmp_path / split).mkdir()
    for number in range(4):
        picture = np.zeros((120, 240, 3), np.uint8)
        for left in (5, 125):
            joints = random.uniform([left + 8, 12], [left + 98, 108], (17, 2)).round(1)
            for (x, y), colour in zip(joints, colours(17), strict=True):
                at = round(16 * x), round(16 * y)
                cv2.circle(picture, at, 16 * 5, colour.tolist(), -1, cv2.LINE_AA, 4)
            keypoints = np.concatenate([joints, np.full((17, 1), 2)], 1)
            people.append(
                {
                    "id": len(people) + 1, "image_id": number, "category_id": 1, "iscrowd": 0,
                    "bbox": [left, 5, 106, 110], "area": 11660.0, "num_keypoints": 17,
                    "keypoints": keypoints.ravel().tolist(),
                }
            )  # fmt: skip
        for split in ("train2017", "val2017"):
            cv2.imwrite(str(tmp_path / split / f"{number}.png"), picture[..., ::-1])
        images.append({"id": number, "file_name": f"{number}.png", "width": 240, "height": 120})
    content = {
        "images": images,
        "annotations": people,
        "categories": [{"id": 1, "name": "person"}],
    }
    for split in ("train2017", "val2017"):
        path = tmp_path / "annotations" / f"person_keypoints_{split}.json"
        path.write_text(json.dumps(content))
    return tmp_path


@pytest.mark.parametrize("encoding", ["dark", "udp"])
def test_targets_follow_the_picture_through_every_change(encoding: Any, tmp_path: Path):
    """The white joint is where the target says, and left is right where the crop is mirrored."""
    people = one_person(tmp_path, only=9)  # the left wrist
    recipe = replace(COCO, encoding=encoding, decoder=encoding, shift=1.0)
    drawn = ImageExamples(people, recipe).draw(np.zeros(40, int), np.random.default_rng(0))
    assert drawn["images"].shape == (40, 256, 256, 3)
    assert drawn["images"].dtype == np.uint8
    points, _ = decode(drawn["heatmaps"], encoding)
    stride = 4 if encoding == "dark" else 255 / 63
    mirrored = drawn["weights"][:, 10] == 1
    assert 10 < mirrored.sum() < 30
    checked = 0
    for i in range(40):
        joint = 10 if mirrored[i] else 9
        seen = drawn["images"][i, ..., 0].astype(float)
        expected = points[i, joint] * stride
        # Where the whole disc is in the crop; its radius is at most 3 * 2.2 * 2 input pixels.
        if drawn["weights"][i, joint] and (expected > 30).all() and (expected < 226).all():
            total = seen.sum()
            middle = [
                (seen.sum(0) @ np.arange(256)) / total,
                (seen.sum(1) @ np.arange(256)) / total,
            ]
            np.testing.assert_allclose(middle, expected, atol=0.3)
            checked += 1
    assert checked > 25


def test_without_chance_a_crop_is_the_one_of_the_test(tmp_path: Path):
    people = one_person(tmp_path, only=0)
    recipe = replace(COCO, **STILL)
    drawn = ImageExamples(people, recipe).draw(np.array([0]), np.random.default_rng(0))
    matrix = crop_matrix(*frame_boxes(people.boxes[0], (256, 256)), (256, 256))
    np.testing.assert_array_equal(drawn["images"][0], crop(people.picture(0), matrix, (256, 256)))
    assert drawn["weights"].tolist() == [[1] + 16 * [0]]
    expected = transform_points(matrix, people.joints[0])[0] / 4
    peak = np.unravel_index(drawn["heatmaps"][0, 0].argmax(), (64, 64))[::-1]
    np.testing.assert_array_equal(peak, np.floor(expected + 0.5))


def test_chance_is_as_large_as_the_recipe_says(tmp_path: Path):
    examples = ImageExamples(one_person(tmp_path, only=0), replace(COCO, shift=0.0))
    random = np.random.default_rng(0)
    _, extent = frame_boxes(examples.people.boxes[0], (256, 256))
    linear, mirrored = [], []
    for _ in range(1000):
        matrix, turned = examples._place(0, 200, random)
        linear.append(matrix[:, :2] * ([-1, 1] if turned else [1, 1]) * extent[0] / 256)
        mirrored.append(turned)
    linear = np.array(linear)
    angle = np.degrees(np.arctan2(linear[:, 0, 1], linear[:, 0, 0]))
    factor = 1 / np.hypot(linear[:, 0, 0], linear[:, 0, 1])
    assert abs(np.mean(mirrored) - 0.5) < 0.05
    assert abs(np.mean(angle == 0) - 0.4) < 0.05
    assert np.abs(angle).max() == pytest.approx(80)
    assert angle[angle != 0].std() == pytest.approx(37, abs=3)  # 40, cut at two deviations
    assert factor.min() == pytest.approx(0.5)
    assert factor.max() == pytest.approx(1.5)
    # A normal number is below -1 in 16 of 100 cases, and above 1 as often.
    assert abs(np.mean(factor < 0.5 + 1e-9) - 0.16) < 0.03


def test_a_half_body_is_cropped_around_its_joints(tmp_path: Path):
    people = one_person(tmp_path)
    examples = ImageExamples(people, replace(COCO, **(STILL | {"half_body": 1.0})))
    joints, visible = people.joints[0], people.visible[0]
    for drawn, chosen in ((0.0, joints[:11]), (1.0, joints[11:])):
        found = examples._half_body(joints, visible, drawn)
        assert found is not None
        np.testing.assert_allclose(found[0], chosen.mean(0))
        np.testing.assert_allclose(found[1], 1.5 * np.ptp(chosen, axis=0).max())
    few = visible & (np.arange(17) < 13)  # two joints of the lower half are too few
    found = examples._half_body(joints, few, 1.0)
    assert found is not None
    np.testing.assert_allclose(found[0], joints[:11].mean(0))
    assert examples._half_body(joints, np.arange(17) == 3, 1.0) is None
    assert examples._half_body(np.zeros((17, 2)), visible, 0.0) is None
    # Upper for normal numbers below 0.5.
    random = np.random.default_rng(0)
    centres = [np.linalg.inv(m[:, :2]) @ ([128, 128] - m[:, 2]) for m, _ in
               (examples._place(0, 200, random) for _ in range(300))]  # fmt: skip
    upper = np.linalg.norm(centres - joints[:11].mean(0), axis=1) < 1e-6
    assert abs(upper.mean() - 0.69) < 0.08


def test_the_same_seed_draws_the_same_in_another_process(tmp_path: Path):
    examples = ImageExamples(one_person(tmp_path, only=3), COCO)
    copy = pickle.loads(pickle.dumps(examples))
    first = examples.draw(np.zeros(3, int), np.random.default_rng(5))
    second = copy.draw(np.zeros(3, int), np.random.default_rng(5))
    for name, values in first.items():
        np.testing.assert_array_equal(values, second[name])


def test_the_loss_weights_squares_and_counts_unknown_joints_as_zeros():
    target = torch.zeros(2, 3, 4, 4)
    predicted = torch.full((2, 3, 4, 4), 2.0)
    weights = torch.tensor([[1.0, 0.0, 1.5], [0.0, 0.0, 1.0]])
    # Squares of 4, times (1 + 1.5 + 1) of six joints.
    assert heatmap_loss(predicted, target, weights).item() == pytest.approx(4 * 3.5 / 6)


def test_crops_are_normalised_on_the_device_as_elsewhere():
    images = np.random.default_rng(0).integers(0, 256, (2, 8, 6, 3), np.uint8)
    here = normalised(torch.from_numpy(images).movedim(-1, 1) / 255)
    np.testing.assert_allclose(here.numpy(), normalise_images(images), atol=2e-6)


def test_recipes_fit_their_networks():
    assert set(IMAGE_RECIPES) == {f"hevitpose-{s}-{d}" for s in "tsb" for d in ("mpii", "coco")}
    for name, recipe in IMAGE_RECIPES.items():
        assert recipe.name == name
        assert recipe.image_size == POSE_NETWORKS[recipe.network].config.image_size
        assert recipe.optimisation.epochs == 210
        assert (recipe.half_body > 0) == (recipe.dataset == "coco")
        assert "inferred" in recipe.notes[0]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"network": "hrnet"}, "no pose network 'hrnet'; known: hevitpose-t-mpii"),
        ({"dataset": "lsp"}, "no data set 'lsp'; known: coco, mpii"),
        ({"dataset": "mpii"}, "does not give the joints of mpii"),
        ({"encoding": "soft"}, "no encoding 'soft'; known: msra, dark, udp"),
        ({"encoding": "udp"}, '"udp" goes with "udp" only'),
        ({"flip": 1.5}, "flip is a probability"),
        ({"scale": 1.0}, "scale is from 0 to below 1"),
    ],
)
def test_recipes_that_cannot_be_are_refused(changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        replace(COCO, **changes)


def test_people_that_cannot_be_trained_on_are_refused(tmp_path: Path):
    people = one_person(tmp_path)
    with pytest.raises(ValueError, match="gives mpii16, the people have coco17"):
        ImageExamples(people, IMAGE_RECIPES["hevitpose-t-mpii"])
    nobody = replace(
        people,
        files=(),
        **{
            name: getattr(people, name)[:0]
            for name in ("picture_ids", "picture_sizes", "boxes", "scores", "joints", "visible")
        },
    )
    with pytest.raises(ValueError, match="nobody to train on"):
        ImageExamples(nobody, COCO)
    with pytest.raises(FileNotFoundError, match=r"docs/data/coco\.md"):
        ImageTask(COCO, tmp_path)


class ByHeartTask(ImageTask):
    """Trains two linear layers, which can only learn by heart, in place of the recipe's network."""

    def build(self) -> nn.Module:
        network = nn.Sequential(
            nn.AvgPool2d(8),
            nn.Flatten(),
            nn.Linear(3 * 8 * 8, 64),
            nn.BatchNorm1d(64),
            nn.ReLU(),
            nn.Linear(64, 17 * 16 * 16),
            nn.Unflatten(1, (17, 16, 16)),
        )
        network.config = replace(POSE_NETWORKS[self.recipe.network].config, image_size=(64, 64))
        return network


def test_made_people_are_learnt_by_heart(made_coco: Path, tmp_path: Path):
    recipe = replace(
        COCO,
        overrides={"image_size": (64, 64)},
        encoding="dark",
        decoder="dark",
        flip_test=False,  # mirrored, a disc keeps the colour of the other side
        **STILL,
        optimisation=Optimisation(
            optimiser="adam", learning_rate=1e-2, schedule="cosine", steps=60, batch=8
        ),
    )
    task = ByHeartTask(recipe, made_coco)
    assert len(task.examples) == 8
    settings = RunSettings(device="cpu", workers=0, save_every=30, chunk=8, tensorboard=False)
    reports = list(run(task, recipe.optimisation, settings, tmp_path / "run", described={}))
    assert reports[-1].scores["ap"] > 90, reports
    # The run's own score and the one by the public function are the same number.
    network = task.build()
    network.load_state_dict(kept_weights(tmp_path / "run" / BEST))
    results = evaluate_images(
        network, recipe.network, made_coco, dataset="coco", split="val2017", flip=False,
        decoder="dark",
    )  # fmt: skip
    best = max(report.scores["ap"] for report in reports)
    assert results.scores()["ap"] == pytest.approx(best)


def test_training_begins_with_given_weights_if_they_fit(made_coco: Path, tmp_path: Path):
    one = (1, 1, 1)
    narrow = {"widths": (16, 16, 16), "groups": one, "heads": one, "depths": one}
    recipe = replace(COCO, overrides=narrow)
    settings = RunSettings(device="cpu", workers=0, chunk=1, tensorboard=False)
    small = replace(recipe, overrides={**narrow, "image_size": (64, 64)})
    optimisation = Optimisation(steps=1, batch=2)
    list(run(ImageTask(small, made_coco), optimisation, settings, tmp_path / "run", described={}))
    weights = tmp_path / "run" / BEST
    begun = ImageTask(recipe, made_coco, weights).build()
    for name, value in kept_weights(weights).items():
        torch.testing.assert_close(begun.state_dict()[name], value)
    wider = replace(recipe, overrides={**narrow, "widths": (32, 16, 16)})
    with pytest.raises(ValueError, match="does not fit hevitpose-t-coco"):
        ImageTask(wider, made_coco, weights).build()


def test_made_people_are_read_as_made(made_coco: Path):
    people = read_coco(made_coco).people()
    assert len(people) == 8
    picture = people.picture(0)
    x, y = people.joints[0, 16].round().astype(int)  # drawn last, so nothing covers it
    np.testing.assert_array_equal(picture[y, x], colours(len(SKELETONS["coco17"]))[16])
