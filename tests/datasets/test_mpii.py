"""MPII's files in the form made for HRNet, and the head boxes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.datasets.mpii import find_heads, read_heads, read_mpii, read_people
from lithepose.detect.heatmaps import frame_boxes

Shared = Callable[[str], Path]


def person(**changes: Any) -> dict[str, Any]:
    joints = [[10.0 + j, 20.0 + j] for j in range(16)]
    return {
        "image": "1.jpg", "center": [101.0, 201.0], "scale": 2.0, "joints": joints,
        "joints_vis": [0] + 15 * [1], **changes,
    }  # fmt: skip


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    def write(*people: dict[str, Any], split: str = "val") -> Path:
        (tmp_path / "annot").mkdir(exist_ok=True)
        (tmp_path / "images").mkdir(exist_ok=True)
        (tmp_path / "annot" / f"mpii_{split}.json").write_text(json.dumps(list(people)))
        return tmp_path

    return write


def test_coordinates_are_brought_from_1_based_to_0_based(write):
    people = read_mpii(write(person()))
    assert people.skeleton == "mpii16"
    assert people.joints[0, 1].tolist() == [10, 20]
    assert np.isnan(people.joints[0, 0]).all()
    assert people.visible[0].tolist() == [False] + 15 * [True]
    # The centre is moved down by 15 of a scale's unit: (100, 200 + 30), and the crop is a square of
    # 200 * 2 * 1.25 pixels around it.
    centre, size = frame_boxes(people.boxes, (256, 256))
    np.testing.assert_allclose(centre, [[100, 230]])
    np.testing.assert_allclose(size, [[500, 500]])


def test_people_of_the_test_set_have_no_joints(write):
    entry = person()
    del entry["joints"], entry["joints_vis"]
    people = read_mpii(write(entry, split="test"), "test")
    assert not people.visible.any()
    assert np.isnan(people.joints).all()


def test_missing_files_are_named(write, tmp_path: Path):
    root = write(person())
    with pytest.raises(FileNotFoundError, match=r"no mpii_train\.json .*docs/data/mpii\.md"):
        read_mpii(root, "train")
    with pytest.raises(FileNotFoundError, match=r"no mpii_gt_val\.mat .*docs/data/mpii\.md"):
        find_heads(root)
    (root / "images").rmdir()
    with pytest.raises(FileNotFoundError, match=r"images: docs/data/mpii\.md"):
        read_mpii(root)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("[", "damaged or cut off"),
        ("{}", "should be a list of people"),
        ('{"images": []}', "should be a list of people"),
        ("[{}]", "should be a list of people"),
        (json.dumps([person(joints=[[1, 2]])]), "should be a list of people"),
        (json.dumps([person(scale=0)]), "no scale above 0"),
        (json.dumps([person(scale=float("nan"))]), "no scale above 0"),
    ],
)
def test_damaged_and_other_files_are_refused(content: str, message: str, tmp_path: Path):
    path = tmp_path / "mpii_val.json"
    path.write_text(content)
    with pytest.raises(ValueError, match=message):
        read_people(path, tmp_path)


def test_head_boxes_are_read_in_the_layout_of_the_original(tmp_path: Path):
    savemat = pytest.importorskip("scipy.io").savemat
    boxes = np.zeros((2, 2, 3))  # (corner, xy, person)
    boxes[0], boxes[1] = [[10, 20, 30], [5, 5, 5]], [[40, 20, 33], [45, 15, 9]]
    missing = np.zeros((16, 3), np.uint8)
    missing[4, 1] = 1
    joints = np.arange(96.0).reshape(16, 2, 3)
    path = tmp_path / "mpii_gt_val.mat"
    content = {"jnt_missing": missing, "pos_gt_src": joints, "headboxes_src": boxes}
    savemat(path, content)
    heads = read_heads(path)
    np.testing.assert_allclose(heads.sizes, [30, 6, 3])  # 0.6 of 50, 10 and 5
    assert heads.joints.shape == (3, 16, 2)
    assert heads.joints[1, 0].tolist() == [joints[0, 0, 1] - 1, joints[0, 1, 1] - 1]
    assert (~heads.counted).sum() == 1
    assert not heads.counted[1, 4]
    savemat(path, content | {"headboxes_src": boxes[..., :2]})
    with pytest.raises(ValueError, match="another file"):
        read_heads(path)
    savemat(path, {"jnt_missing": missing})
    with pytest.raises(ValueError, match="another file"):
        read_heads(path)
    path.write_bytes(b"MATLAB 5.0 MAT-file" + bytes(200))
    with pytest.raises(ValueError, match="no MATLAB file, or damaged"):
        read_heads(path)
    with pytest.raises(FileNotFoundError, match=r"docs/data/mpii\.md"):
        read_heads(tmp_path / "nothing.mat")


def test_the_program_of_the_page_runs(write, tmp_path: Path, monkeypatch):
    savemat = pytest.importorskip("scipy.io").savemat
    root = write(person())
    content = {
        "jnt_missing": np.zeros((16, 1)),
        "pos_gt_src": np.ones((16, 2, 1)),
        "headboxes_src": np.array([[[1.0], [2.0]], [[4.0], [6.0]]]),
    }
    savemat(root / "annot" / "mpii_gt_val.mat", content)
    (tmp_path / "elsewhere" / "data").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "elsewhere")
    Path("data/mpii").symlink_to(root)
    page = Path(__file__).parents[2] / "docs" / "data" / "mpii.md"
    (program,) = re.findall(r"```python\n(.*?)```", page.read_text("utf-8"), flags=re.S)
    found: dict[str, Any] = {}
    exec(program, found)
    np.testing.assert_allclose(found["heads"].sizes, [3])
    assert len(found["people"]) == 1


def test_the_sample_is_read(shared: Shared):
    folder = shared("samples/mpii")
    people = read_people(folder / "test_mpii.json", folder)
    assert len(people) == 5
    assert people.visible.sum(1).tolist() == [16, 16, 14, 14, 16]
    assert len(set(people.picture_ids.tolist())) == 5
    for index in range(5):
        height, width = people.picture(index).shape[:2]
        known = people.joints[index][people.visible[index]]
        assert (known >= 0).all()
        assert (known < [width, height]).all()
