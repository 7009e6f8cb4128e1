"""COCO's files: people to train on, boxes of a detector, and what is wrong with a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from lithepose.datasets.coco import BOXES_FILE, read_annotations, read_coco

Shared = Callable[[str], Path]


def person(**changes: Any) -> dict[str, Any]:
    keypoints = [10, 20, 2, 11, 21, 1, 0, 0, 0, *([0] * 42)]
    return {
        "id": 1, "image_id": 3, "category_id": 1, "bbox": [5, 6, 20, 30], "area": 300.0,
        "iscrowd": 0, "num_keypoints": 2, "keypoints": keypoints, **changes,
    }  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Writes the data set's folder with these people in one picture of 100 x 80 pixels."""

    def write(*people: dict[str, Any]) -> Path:
        (tmp_path / "val2017").mkdir(exist_ok=True)
        (tmp_path / "annotations").mkdir(exist_ok=True)
        content = {
            "images": [{"id": 3, "file_name": "3.jpg", "width": 100, "height": 80}],
            "annotations": list(people),
        }
        path = tmp_path / "annotations" / "person_keypoints_val2017.json"
        path.write_text(json.dumps(content))
        return tmp_path

    return write


def test_a_person_is_read_as_annotated(write):
    people = read_coco(write(person())).people()
    assert people.skeleton == "coco17"
    assert people.files == ("3.jpg",)
    assert people.picture_sizes.tolist() == [[100, 80]]
    assert people.boxes.tolist() == [[5, 6, 20, 30]]
    # Hidden joints (1) count like visible ones (2); those not labelled have no place.
    assert people.visible[0].tolist() == [True, True] + 15 * [False]
    assert people.joints[0, :2].tolist() == [[10, 20], [11, 21]]
    assert np.isnan(people.joints[0, 2:]).all()


def test_boxes_are_cut_to_the_picture(write):
    people = read_coco(write(person(bbox=[-5, 60, 50, 40]))).people()
    assert people.boxes.tolist() == [[0, 60, 50, 19]]  # to the middle of the last row, 79


@pytest.mark.parametrize(
    "changes",
    [
        {"iscrowd": 1},
        {"num_keypoints": 0},
        {"keypoints": [0] * 51},
        {"area": 0},
        {"bbox": [120, 10, 20, 20]},
        {"bbox": [10, 10, 0, 20]},
        {"category_id": 2},
    ],
)
def test_people_nobody_trains_on_are_left_out(changes, write):
    assert len(read_coco(write(person(), person(**changes))).people()) == 1
    assert len(read_coco(write(person(**changes))).people()) == 0


def test_detected_boxes_stand_in_for_annotated_ones(write, tmp_path: Path):
    annotations = read_coco(write(person()))
    box = {"image_id": 3, "category_id": 1, "bbox": [1.5, 2, 30, 40], "score": 0.7}
    others = [{**box, "category_id": 5}, {**box, "bbox": [1, 2, 0, 40]}, {**box, "score": 0.1}]
    path = tmp_path / "boxes.json"
    path.write_text(json.dumps([box, *others]))
    people = annotations.detected_people(path)
    assert people.scores.tolist() == [0.7, 0.1]
    assert people.boxes[0].tolist() == [1.5, 2, 30, 40]
    assert not people.visible.any()
    assert len(annotations.detected_people(path, lowest_score=0.5)) == 1
    path.write_text(json.dumps([{**box, "image_id": 4}]))
    with pytest.raises(ValueError, match=r"picture 4, which person_keypoints_val2017"):
        annotations.detected_people(path)
    path.write_text(json.dumps([{"image_id": 3}]))
    with pytest.raises(ValueError, match="should be a list of image_id"):
        annotations.detected_people(path)
    path.write_text("[")
    with pytest.raises(ValueError, match="damaged or cut off"):
        annotations.detected_people(path)
    with pytest.raises(FileNotFoundError, match=r"docs/data/coco\.md"):
        annotations.detected_people(tmp_path / "nothing.json")


def test_both_usual_layouts_are_found_and_missing_parts_named(write):
    root = write(person())
    (root / "images").mkdir()
    (root / "val2017").rename(root / "images" / "val2017")
    assert read_coco(root).folder == root / "images" / "val2017"
    with pytest.raises(FileNotFoundError, match=r"person_keypoints_train2017\.json: docs/data"):
        read_coco(root, "train2017")
    (root / "images" / "val2017").rmdir()
    with pytest.raises(FileNotFoundError, match=r"val2017: docs/data/coco.md"):
        read_coco(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "damaged or cut off"),
        ("[]", "another file of COCO"),
        ('{"images": []}', "another file of COCO"),
        ('{"images": [{"id": 1}], "annotations": []}', "another file of COCO"),
    ],
)
def test_damaged_and_other_files_are_refused(content: str, message: str, tmp_path: Path):
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_annotations(path, tmp_path)


def test_people_with_other_joints_or_unknown_pictures_are_refused(write):
    with pytest.raises(ValueError, match="annotation 1"):
        read_coco(write(person(keypoints=[1, 2, 3])))
    with pytest.raises(ValueError, match="picture 9"):
        read_coco(write(person(image_id=9)))


def test_the_program_of_the_page_runs(write, tmp_path: Path, monkeypatch):
    root = write(person())
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("data/coco").symlink_to(root)
    cv2.imwrite("data/coco/val2017/3.jpg", np.zeros((80, 100, 3), np.uint8))
    box = {"image_id": 3, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.7}
    Path("data/coco", BOXES_FILE).write_text(json.dumps([box]))
    page = Path(__file__).parents[2] / "docs" / "data" / "coco.md"
    (program,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.S)
    found: dict[str, Any] = {}
    exec(program, found)
    assert (len(found["people"]), len(found["found"])) == (1, 1)


def test_the_sample_of_val2017_is_read(shared: Shared):
    folder = shared("samples/coco")
    annotations = read_annotations(folder / "test_coco.json", folder)
    people = annotations.people()
    assert len(annotations.persons) == 14
    assert len(people) == 12
    assert people.boxes[0].tolist() == pytest.approx([280.79, 44.73, 218.7, 346.68])
    assert people.joints[0, 0].tolist() == [367, 81]
    for index in range(len(people)):
        people.picture(index)  # of the size that the annotations say
    detected = annotations.detected_people(folder / "test_coco_det_AP_H_56.json")
    assert len(detected) == 118
