"""Measuring pose networks on COCO and MPII, by networks that are told the truth."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from lithepose.datasets.coco import read_annotations, read_coco
from lithepose.datasets.images import People
from lithepose.datasets.mpii import Heads, read_mpii
from lithepose.detect.heatmaps import (
    crop_matrix,
    encode,
    frame_boxes,
    geometry_of,
    transform_points,
)
from lithepose.skeletons import SKELETONS
from lithepose.train.recipes.images import IMAGE_RECIPES
from lithepose.train.tasks.images import (
    EvalSettings,
    ImageTask,
    evaluate_images,
    predict,
    score_coco,
    score_mpii,
    write_predictions,
)

CPU = torch.device("cpu")
SIZE = (256, 192)


class Told(nn.Module):
    """Gives the true heatmaps of people in the order in which they are asked for."""

    def __init__(self, people: People, encoding: Any, flip: bool):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.flip, self.seen = flip, 0
        centres, sizes = frame_boxes(people.boxes, SIZE)
        matrices = crop_matrix(centres, sizes, SIZE, geometry=geometry_of(encoding))
        joints = transform_points(matrices, people.joints)
        mirror = list(SKELETONS[people.skeleton].mirror)
        mirrored = (joints * [-1, 1] + [SIZE[0] - 1, 0])[:, mirror]
        order = np.argsort(people.picture_ids, kind="stable")
        weights = people.visible.astype(np.float32)
        self.direct = encode(joints, weights, SIZE, encoding)[0][order]
        self.mirrored = encode(mirrored, weights[:, mirror], SIZE, encoding)[0][order]

    def forward(self, images: Tensor) -> Tensor:
        assert images.shape[1:] == (3, SIZE[1], SIZE[0])
        count = len(images) // (2 if self.flip else 1)
        part = slice(self.seen, self.seen + count)
        self.seen += count
        maps = [self.direct[part], *([self.mirrored[part]] if self.flip else [])]
        if self.flip:  # the second half of a batch are the same crops mirrored
            torch.testing.assert_close(images[count:], images[:count].flip(-1))
        return torch.from_numpy(np.concatenate(maps)) * self.scale


def write_pictures(folder: Path, count: int) -> None:
    folder.mkdir(parents=True)
    for number in range(count):
        cv2.imwrite(str(folder / f"{number}.png"), np.full((240, 320, 3), 30 * number, np.uint8))


@pytest.fixture
def coco(tmp_path: Path) -> Path:
    """Three pictures with 2, 1 and 2 people; the order in the file is not that of the pictures."""
    random = np.random.default_rng(0)
    people = []
    for number, picture in enumerate((2, 0, 1, 2, 0)):
        left = 20 + 150 * (number > 2)
        joints = random.uniform([left, 40], [left + 110, 200], (17, 2))
        keypoints = np.concatenate([joints, np.full((17, 1), 2)], 1)
        people.append(
            {
                "id": number + 1, "image_id": picture, "category_id": 1, "iscrowd": 0,
                "bbox": [left, 40, 110, 160], "area": 12000.0, "num_keypoints": 17,
                "keypoints": keypoints.ravel().tolist(),
            }
        )  # fmt: skip
    images = [{"id": i, "file_name": f"{i}.png", "width": 320, "height": 240} for i in range(3)]
    content = {"images": images, "annotations": people, "categories": [{"id": 1, "name": "person"}]}
    write_pictures(tmp_path / "val2017", 3)
    (tmp_path / "annotations").mkdir()
    path = tmp_path / "annotations" / "person_keypoints_val2017.json"
    path.write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def mpii(tmp_path: Path) -> Path:
    """Three people in three pictures."""
    random = np.random.default_rng(0)
    joints = random.uniform([110, 60], [210, 180], (3, 16, 2))
    people = [
        {
            "image": f"{i}.png", "center": [160, 105], "scale": 0.9,
            "joints": (joints[i] + 1).tolist(), "joints_vis": [1] * 16,
        }
        for i in range(3)
    ]  # fmt: skip
    write_pictures(tmp_path / "images", 3)
    (tmp_path / "annot").mkdir()
    (tmp_path / "annot" / "mpii_val.json").write_text(json.dumps(people))
    return tmp_path


@pytest.mark.parametrize(
    ("encoding", "decoder", "flip", "within_px"),
    [
        ("dark", "dark", False, 0.1),
        ("udp", "udp", False, 0.1),
        ("udp", "udp", True, 0.1),
        # Mirrored maps are moved by a whole pixel, a quarter too much: half of it stays in the
        # mean, and a heatmap pixel is 5 pixels of the picture.
        ("dark", "dark", True, 0.7),
        ("msra", "quarter", True, 5.0),
    ],
)
def test_true_heatmaps_give_the_true_joints(encoding, decoder, flip, within_px, coco: Path):
    people = read_coco(coco).people()
    settings = EvalSettings(image_size=SIZE, flip=flip, decoder=decoder, batch=2)
    keypoints = predict(Told(people, encoding, flip), people, settings, CPU)
    error = np.linalg.norm(keypoints[..., :2] - people.joints, axis=-1)
    assert error.max() < within_px
    assert keypoints[..., 2].min() > 0.6


def test_coco_is_scored_with_annotated_boxes(coco: Path, tmp_path: Path):
    annotations = read_coco(coco)
    network = Told(annotations.people(), "dark", flip=False)
    settings = EvalSettings(image_size=SIZE, flip=False, decoder="dark", batch=3)
    results = score_coco(network, annotations, None, settings, CPU)
    assert results.values["AP"] == 100
    assert results.people == 5
    text = results.as_markdown("told")
    for rule in ("ground-truth boxes", "256 x 192", "no flip test", "DARK", "OKS-NMS at 0.9"):
        assert rule in text
    write_predictions(tmp_path / "results.json", results)
    written = json.loads((tmp_path / "results.json").read_text())
    assert [d["image_id"] for d in written] == [0, 0, 1, 2, 2]
    assert all(len(d["keypoints"]) == 51 and d["category_id"] == 1 for d in written)


def test_coco_is_scored_with_detected_boxes_and_people_found_twice_are_dropped(coco: Path):
    annotations = read_coco(coco)
    people = annotations.people()
    boxes = [
        {"image_id": int(i), "category_id": 1, "bbox": box.tolist(), "score": 0.9 - 0.1 * twice}
        for twice in (0, 1)
        for i, box in zip(people.picture_ids, people.boxes, strict=True)
    ]
    path = coco / "boxes.json"
    path.write_text(json.dumps(boxes))
    detected = annotations.detected_people(path)
    true = np.tile(people.joints, (2, 1, 1))
    told = People(**(vars(detected) | {"joints": true, "visible": np.ones((10, 17), bool)}))
    network = Told(told, "dark", flip=False)
    settings = EvalSettings(image_size=SIZE, flip=False, decoder="dark", batch=4)
    results = score_coco(network, annotations, path, settings, CPU)
    assert results.values["AP"] == 100
    assert results.people == 5
    assert {round(d["score"], 2) for d in results.predictions} <= {0.88, 0.89, 0.9}
    assert "boxes of boxes.json, 10 of them" in results.as_markdown()
    path.write_text("[]")
    assert score_coco(network, annotations, path, settings, CPU).values["AP"] == 0


def test_mpii_is_scored_by_the_heads(mpii: Path, tmp_path: Path):
    people = read_mpii(mpii)
    heads = Heads(joints=people.joints, counted=people.visible, sizes=np.full(3, 30.0))
    settings = EvalSettings(image_size=SIZE, flip=False, decoder="dark", batch=3)
    network = Told(people, "dark", flip=False)
    results = score_mpii(network, people, heads, settings, CPU)
    assert results.mean == 100
    assert "annotated centres and scales" in results.as_markdown()
    assert "the strict PCKh@0.1: mean 100.0 %" in results.as_markdown()
    write_predictions(tmp_path / "results.json", results)
    written = json.loads((tmp_path / "results.json").read_text())
    assert [w["image"] for w in written] == ["0.png", "1.png", "2.png"]
    first = np.reshape(written[0]["keypoints"], (16, 3))[:, :2]
    np.testing.assert_allclose(first, people.joints[0], atol=0.1)
    two = Heads(joints=heads.joints[:2], counted=heads.counted[:2], sizes=heads.sizes[:2])
    with pytest.raises(ValueError, match="3 people but heads of 2"):
        score_mpii(network, people, two, settings, CPU)


def test_true_heatmaps_of_the_sample_of_val2017_are_worth_everything(shared: Any):
    """Crops of 256 x 192, rounded targets, quarter offsets and the flip test cost nothing here."""
    folder = shared("samples/coco")
    annotations = read_annotations(folder / "test_coco.json", folder)
    network = Told(annotations.people(), "msra", flip=True)
    results = score_coco(network, annotations, None, EvalSettings(image_size=SIZE), CPU)
    assert results.values["AP"] > 99, results.values


class Config:
    image_size = SIZE


def test_the_public_function_reads_scores_and_states_what_must_be_stated(mpii: Path):
    savemat = pytest.importorskip("scipy.io").savemat
    people = read_mpii(mpii)
    boxes = np.zeros((2, 2, 3))
    boxes[1] = [[30] * 3, [40] * 3]  # heads of 0.6 * 50 pixels
    content = {
        "jnt_missing": np.zeros((16, 3)),
        "pos_gt_src": np.moveaxis(people.joints + 1, 0, -1),
        "headboxes_src": boxes,
    }
    savemat(mpii / "annot" / "mpii_gt_val.mat", content)
    network = Told(people, "dark", flip=True)
    network.config = Config()
    results = evaluate_images(
        network, "hevitpose-t-mpii", mpii, dataset="mpii", split="val", decoder="dark"
    )
    assert results.scores()["pckh"] == 100
    text = results.as_markdown("told")
    for rule in ("hevitpose-t-mpii: 0.00 M parameters", "split val", "flip test, mirrored"):
        assert rule in text


def test_a_training_on_mpii_is_scored_by_pckh(mpii: Path):
    savemat = pytest.importorskip("scipy.io").savemat
    people = read_mpii(mpii)
    boxes = np.zeros((2, 2, 3))
    boxes[1] = 50.0
    content = {
        "jnt_missing": np.zeros((16, 3)),
        "pos_gt_src": np.moveaxis(people.joints + 1, 0, -1),
        "headboxes_src": boxes,
    }
    savemat(mpii / "annot" / "mpii_gt_val.mat", content)
    (mpii / "annot" / "mpii_train.json").write_bytes(
        (mpii / "annot" / "mpii_val.json").read_bytes()
    )
    recipe = replace(IMAGE_RECIPES["hevitpose-t-mpii"], overrides={"image_size": SIZE})
    recipe = replace(recipe, encoding="dark", decoder="dark", flip_test=False)
    task = ImageTask(recipe, mpii)
    assert len(task.examples) == 3
    network = Told(people, "dark", flip=False)
    scores = task.validate(network)
    assert scores[task.score] == scores["pckh_head"] == 100
    batch = {k: torch.from_numpy(v) for k, v in task.examples.draw(
        np.arange(3), np.random.default_rng(0)).items()}  # fmt: skip
    zero = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4))
    nn.init.zeros_(zero[0].weight)
    nn.init.zeros_(zero[0].bias)
    expected = (batch["heatmaps"] ** 2 * batch["weights"][..., None, None]).mean()
    torch.testing.assert_close(task.loss(zero, batch, torch.Generator()), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"name": "hrnet"}, "no pose network named 'hrnet'; known: hevitpose-t-mpii"),
        ({"dataset": "lsp"}, "no data set named 'lsp'; known: coco, mpii"),
        ({"dataset": "coco"}, "hevitpose-t-mpii gives the joints mpii16, coco is scored by coco17"),
        ({"boxes": Path("boxes.json")}, "leave boxes out"),
        ({"split": "test"}, "public for the split val only"),
        ({"decoder": "soft"}, "no encoding or decoder named 'soft'"),
    ],
)
def test_what_cannot_be_measured_is_refused(changes, message: str, mpii: Path):
    scipy_io = pytest.importorskip("scipy.io")
    content = {
        "jnt_missing": np.zeros((16, 3)),
        "pos_gt_src": np.zeros((16, 2, 3)),
        "headboxes_src": np.stack([np.zeros((2, 3)), np.ones((2, 3))]),
    }
    scipy_io.savemat(mpii / "annot" / "mpii_gt_val.mat", content)
    network = Told(read_mpii(mpii), "dark", flip=True)
    options: dict[str, Any] = {"name": "hevitpose-t-mpii", "dataset": "mpii", "split": "val"}
    options |= changes
    with pytest.raises(ValueError, match=message):
        evaluate_images(network, options.pop("name"), mpii, **options)


def test_a_network_of_other_joints_and_a_broken_picture_are_named(coco: Path):
    people = read_coco(coco).people()
    network = nn.Sequential(nn.Conv2d(3, 16, 4, stride=4))
    settings = EvalSettings(image_size=SIZE)
    with pytest.raises(ValueError, match="gives 16 joints, coco17 has 17"):
        predict(network, people, settings, CPU)
    (coco / "val2017" / "1.png").write_bytes(b"no")
    with pytest.raises(ValueError, match=r"1\.png: is no picture"):
        predict(network, people, settings, CPU)
