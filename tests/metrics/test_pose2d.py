"""PCKh, PCK, OKS, OKS-NMS and COCO's average precision, against recorded numbers and by hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.datasets.coco import read_annotations
from lithepose.datasets.mpii import head_sizes, read_people
from lithepose.metrics.pose2d import (
    AP_NAMES,
    coco_ap,
    oks,
    oks_nms,
    pck,
    pckh,
    person_scores,
    torso_sizes,
)

Shared = Callable[[str], Path]


@pytest.fixture
def recorded_oks(shared: Shared) -> dict[str, Any]:
    return json.loads(shared("golden/coco_oks.json").read_text())


@pytest.fixture
def recorded_pckh(shared: Shared) -> dict[str, Any]:
    return json.loads(shared("golden/mpii_pckh.json").read_text())


def small_truth(**changes: Any) -> dict[str, Any]:
    """One picture with one person, standing in the middle."""
    keypoints = [value for j in range(17) for value in (100 + 5 * j, 50 + 10 * j, 2)]
    person = {
        "id": 1, "image_id": 7, "category_id": 1, "bbox": [100, 50, 80, 160], "area": 9000.0,
        "iscrowd": 0, "num_keypoints": 17, "keypoints": keypoints, **changes,
    }  # fmt: skip
    return {
        "images": [{"id": 7, "file_name": "7.jpg", "width": 300, "height": 300}],
        "annotations": [person],
        "categories": [{"id": 1, "name": "person"}],
    }


def detection(shift: float = 0.0, **changes: Any) -> dict[str, Any]:
    keypoints = [v for j in range(17) for v in (100 + 5 * j + shift, 50 + 10 * j, 0.9)]
    return {"image_id": 7, "category_id": 1, "keypoints": keypoints, "score": 0.8, **changes}


@pytest.mark.parametrize("case", ["perfect", "perturbed", "mixed"])
def test_average_precision_equals_pycocotools(case, recorded_oks, shared: Shared):
    recorded = recorded_oks["cases"][case]
    results = coco_ap(shared("samples/coco/test_coco.json"), recorded["detections"])
    for name in AP_NAMES:
        assert results.values[name] == pytest.approx(100 * recorded["expected"][name], abs=1e-9)
    assert results.people == len(recorded["detections"])


@pytest.mark.parametrize("case", ["perfect", "perturbed", "mixed"])
def test_oks_equals_pycocotools(case, recorded_oks, shared: Shared):
    truth = read_annotations(shared("samples/coco/test_coco.json"), ".")
    recorded = recorded_oks["cases"][case]
    persons = {person["id"]: person for person in truth.persons}
    checked = 0
    for picture, expected in recorded["oks_by_image"].items():
        found = [d for d in recorded["detections"] if d["image_id"] == int(picture)]
        found.sort(key=lambda d: -d["score"])
        targets = [persons[i] for i in expected["gt_ids"]]
        keypoints = np.array([p["keypoints"] for p in targets], float).reshape(-1, 17, 3)
        matrix = oks(
            np.array([d["keypoints"] for d in found], float).reshape(-1, 17, 3)[..., :2],
            keypoints[..., :2],
            keypoints[..., 2] > 0,
            np.array([p["area"] for p in targets]),
            np.array([p["bbox"] for p in targets], float),
        )
        np.testing.assert_allclose(matrix, expected["oks"], atol=1e-12)
        checked += matrix.size
    assert checked > 40


def test_oks_by_hand():
    # One joint, sigma 0.05, area 10000, 10 pixels off: exp(-100 / (2 * 10000 * 0.01)).
    visible = np.array([[True, False]])
    similar = oks(
        np.array([[[10.0, 0.0], [500.0, 500.0]]]),
        np.array([[[0.0, 0.0], [np.nan, np.nan]]]),
        visible,
        np.array([10000.0]),
        np.array([[0.0, 0.0, 100.0, 100.0]]),
        sigmas=(0.05, 0.05),
    )
    assert similar[0, 0] == pytest.approx(np.exp(-0.5))


def test_person_scores_and_nms_equal_recorded_ones(recorded_oks):
    detections = recorded_oks["cases"]["mixed"]["detections"]
    for case in recorded_oks["oks_nms"]["cases"]:
        persons = case["persons"]
        numbers = [p["detection_index"] for p in persons]
        keypoints = np.array([detections[i]["keypoints"] for i in numbers]).reshape(-1, 17, 3)
        scores = person_scores(keypoints[..., 2], np.array([p["box_score"] for p in persons]))
        np.testing.assert_allclose(scores, [p["rescored"] for p in persons], rtol=1e-12)
        areas = np.array([p["area"] for p in persons])
        kept = oks_nms(keypoints[..., :2], scores, areas, case["oks_thr"])
        assert [numbers[i] for i in kept] == case["keep_detection_index"]


def test_persons_without_a_sure_joint_score_nothing():
    joints = np.array([[0.1, 0.2], [0.3, 0.1], [0.3, 0.5]])
    np.testing.assert_allclose(person_scores(joints, np.array([1, 1, 0.5])), [0, 0.3, 0.2])
    assert len(oks_nms(np.zeros((0, 17, 2)), np.zeros(0), np.zeros(0))) == 0


def test_average_precision_without_detections_and_without_a_size():
    assert set(coco_ap(small_truth(), []).values.values()) == {0.0}
    values = coco_ap(small_truth(), [detection()]).values
    assert values["AP"] == values["APM"] == 100
    assert np.isnan(values["APL"])  # 9000 pixels are medium, so nobody is large
    assert "| 100.0 | 100.0 | 100.0 | 100.0 | - | 100.0 |" in coco_ap(
        small_truth(), [detection()]
    ).as_markdown("net")
    assert coco_ap(small_truth(), [detection(shift=200)]).values["AP"] == 0


def test_average_precision_refuses_foreign_and_broken_detections():
    with pytest.raises(ValueError, match=r"picture 8, which the annotations lack"):
        coco_ap(small_truth(), [detection(image_id=8)])
    with pytest.raises(ValueError, match="17 keypoints"):
        coco_ap(small_truth(), [detection(keypoints=[1.0] * 48)])
    with pytest.raises(ValueError, match="none of them nan"):
        coco_ap(small_truth(), [detection(shift=np.nan)])


@pytest.mark.parametrize("threshold", [0.5, 0.1])
def test_pckh_equals_recorded_numbers(threshold, recorded_pckh, shared: Shared):
    people = read_people(shared("samples/mpii/test_mpii.json"), ".")
    sizes = head_sizes(np.array(recorded_pckh["head_boxes"]))
    np.testing.assert_allclose(sizes, recorded_pckh["expected"]["head_size"])
    results = pckh(
        np.array(recorded_pckh["pred_xy_0based"]), people.joints, people.visible, sizes, threshold
    )
    expected = recorded_pckh["expected"][f"pckh@{threshold}"]
    np.testing.assert_allclose(results.joints, expected["per_joint"])
    np.testing.assert_allclose(list(results.columns.values()), list(expected["groups"].values()))
    assert results.mean == pytest.approx(expected["total"])
    assert results.counts.tolist() == recorded_pckh["expected"]["visible_count"]
    text = results.as_markdown("HEViTPose-T")
    assert "| model | Head | Sho | Elb | Wri | Hip | Knee | Ank | Mean |" in text
    assert f"{expected['total']:.1f} |" in text
    assert results.joints_as_markdown().count("\n") == 17


def test_pckh_by_hand():
    """Two people with heads of 100 and 50 pixels; every joint 30 pixels off in x."""
    target = np.random.default_rng(0).integers(0, 500, (2, 16, 2)).astype(float)
    predicted = target + [30, 0]
    counted = np.ones((2, 16), bool)
    sizes = np.array([100.0, 50.0])
    assert pckh(predicted, target, counted, sizes).mean == 50  # 0.3 and 0.6 of the head
    counted[1, 9] = False
    results = pckh(predicted, target, counted, sizes)
    assert results.columns["Head"] == 100
    # 13 joints with one hit of two, one with one of one: 14 of 27.
    assert results.mean == pytest.approx(100 * 14 / 27)
    # What exactly meets the threshold counts; pelvis and thorax are not in the mean.
    assert pckh(predicted, target, counted, np.array([60.0, 60.0])).mean == 100
    predicted[:, [6, 7]] += 400
    assert pckh(predicted, target, counted, np.array([60.0, 60.0])).mean == 100
    counted[:] = False
    assert np.isnan(pckh(predicted, target, counted, sizes).mean)


def test_pckh_refuses_what_would_score_wrongly():
    target, counted = np.zeros((2, 16, 2)), np.ones((2, 16), bool)
    with pytest.raises(ValueError, match=r"not \(2, 17, 2\)"):
        pckh(np.zeros((2, 17, 2)), target, counted, np.ones(2))
    with pytest.raises(ValueError, match="not finite"):
        pckh(np.full((2, 16, 2), np.nan), target, counted, np.ones(2))
    with pytest.raises(ValueError, match="above 0"):
        pckh(target, target, counted, np.array([1.0, 0.0]))


def test_pck_by_hand():
    target = np.zeros((2, 17, 2))
    target[:, 5], target[:, 12] = [0, 0], [30, 40]  # left shoulder, right hip
    sizes = torso_sizes(target)
    assert sizes.tolist() == [50, 50]
    predicted = target + [0, 5]
    counted = np.ones((2, 17), bool)
    counted[0, 3] = False
    predicted[1, 3] += 100
    total, each = pck(predicted, target, counted, sizes, 0.1)
    assert total == pytest.approx(100 * 32 / 33)
    assert each[3] == 0
    assert each[4] == 100
    with pytest.raises(ValueError, match="above 0"):
        pck(predicted, target, counted, np.zeros(2), 0.1)
