"""What is said about a folder of data sets."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.datasets import inventory
from lithepose.datasets.coco import BOXES_FILE
from lithepose.datasets.inventory import DATA_SETS, as_record, as_text, take_inventory

Write = Callable[..., Path]

PERSON = {"image_id": 1, "category_id": 1, "keypoints": [10, 10, 2] * 17, "num_keypoints": 17}
COCO = {"images": [{"id": 1}], "annotations": [PERSON, {**PERSON, "keypoints": [0, 0, 0] * 17}]}
MPII = [
    {
        "image": "1.jpg", "center": [9.0, 9.0], "scale": 1.0, "joints": [[1.0, 2.0]] * 16,
        "joints_vis": [1] * 16,
    }
]  # fmt: skip
BOXES = [{"image_id": 1, "category_id": c, "bbox": [1, 2, 3, 4], "score": 0.5} for c in (1, 1, 3)]


@pytest.fixture
def everything(
    write_human36m: Write,
    write_mpi_inf_3dhp: Write,
    write_humaneva: Write,
    image_space_content: dict[str, Any],
) -> Path:
    """A folder with a file of nearly every part."""
    root = write_human36m()
    write_mpi_inf_3dhp()
    write_humaneva()
    (root / "h36m_sh_conf_cam_source_final.pkl").write_bytes(pickle.dumps(image_space_content))
    (root / "person_keypoints_val2017.json").write_text(json.dumps(COCO))
    (root / "mpii_val.json").write_text(json.dumps(MPII))
    (root / BOXES_FILE).write_text(json.dumps(BOXES))
    write_heads(root / "mpii_gt_val.mat")
    for folder, name in (("val2017", "000000000139.jpg"), ("images", "015601864.jpg")):
        (root / folder).mkdir()
        (root / folder / name).write_bytes(b"")
    return root


def write_heads(path: Path) -> None:
    savemat = pytest.importorskip("scipy.io").savemat
    content = {
        "jnt_missing": np.zeros((16, 1)),
        "pos_gt_src": np.ones((16, 2, 1)),
        "headboxes_src": np.array([[[1.0], [2.0]], [[3.0], [4.0]]]),
    }
    savemat(path, content)


def facts(root: Path, name: str) -> dict[str, Any]:
    (found,) = [f for f in take_inventory(root).found if f.path.name == name]
    assert found.problem == ""
    return found.facts


def test_everything_is_found_with_its_facts(everything: Path):
    told: list[str] = []
    taken = take_inventory(everything, report=told.append)
    assert not taken.broken
    assert len(taken.found) == len(told) == 15
    assert facts(everything, "data_3d_h36m.npz") == {
        "subjects": ["S1", "S9", "S11"], "trials": 5, "frames": 200,
    }  # fmt: skip
    assert facts(everything, "data_2d_h36m_gt.npz")["joints"] == "h36m17"
    detected = facts(everything, "data_2d_h36m_cpn_ft_h36m_dbb.npz")
    assert detected["subjects"] == ["S1", "S9", "S11", "S2"]
    pickled = facts(everything, "h36m_sh_conf_cam_source_final.pkl")
    assert pickled == {"training frames": 170, "test frames": 170, "videos": 8}
    assert facts(everything, "data_train_3dhp.npz")["cameras"] == ["0", "1", "4", "8"]
    assert facts(everything, "data_test_3dhp.npz") == {
        "recordings": ["TS1", "TS6"], "frames": 40, "valid frames": 14,
    }  # fmt: skip
    assert facts(everything, "data_3d_humaneva15.npz")["trials"] == 6
    coco = facts(everything, "person_keypoints_val2017.json")
    assert coco == {"pictures": 1, "people": 2, "people with joints": 1}
    assert facts(everything, "mpii_val.json") == {"pictures": 1, "people": 1}
    assert facts(everything, "mpii_gt_val.mat") == {"people": 1}
    assert facts(everything, BOXES_FILE) == {"pictures": 1, "boxes of people": 2}
    assert facts(everything, "val2017") == facts(everything, "images") == {"pictures": 1}


def test_oddities_are_noted(everything: Path):
    notes = {f.path.name: " ".join(f.notes) for f in take_inventory(everything).found}
    assert "lacks the subjects S5, S6, S7, S8" in notes["data_3d_h36m.npz"]
    assert "TS1 has 7 valid frames, not the published 603" in notes["data_test_3dhp.npz"]
    assert "lacks TS2" in notes["data_test_3dhp.npz"]
    assert "another number of frames than published in S1 Seq1" in notes["data_train_3dhp.npz"]
    assert "the whole set has 5000" in notes["val2017"]
    (everything / "data_3d_h36m.npz").unlink()
    notes = {f.path.name: " ".join(f.notes) for f in take_inventory(everything).found}
    assert "no usable 3D file lies beside it" in notes["data_2d_h36m_gt.npz"]


def test_what_is_missing_is_named_with_its_use_and_its_origin(everything: Path):
    (everything / "data_2d_h36m_gt.npz").unlink()
    taken = take_inventory(everything)
    assert [part.file for part in taken.missing("human36m")] == ["data_2d_h36m_gt.npz"]
    text = as_text(taken)
    assert "  missing data_2d_h36m_gt.npz: 2D joints projected from 3D: input for" in text
    assert "\n          origin: made along with data_3d_h36m.npz\n" in text
    assert "guide:   docs/data/human36m.md" in text


def test_data_sets_of_which_nothing_is_there_say_what_they_are_for_and_allow(tmp_path: Path):
    blocks = as_text(take_inventory(tmp_path)).split("\n\n")
    assert len(blocks) == len(DATA_SETS)
    for data_set, block in zip(DATA_SETS.values(), blocks, strict=True):
        lines = block.splitlines()
        assert lines[0] == f"{data_set.title}: nothing found"
        for part in data_set.parts.values():
            assert f"  missing {part.file}: {part.purpose}" in lines
            assert f": {part.origin}\n" in block
        assert lines[-3:] == [
            f"  terms:   {data_set.terms}",
            f"  weights trained on it may be shipped: {data_set.weights}",
            f"  guide:   {data_set.guide}",
        ]


def test_data_sets_that_are_there_come_first_and_one_origin_is_told_once(everything: Path):
    (everything / "person_keypoints_val2017.json").unlink()
    text = as_text(take_inventory(everything))
    assert text.index("MPII Human Pose\n") < text.index("CMU motion capture: nothing found\n")
    assert "origin of these 3: mocap.cs.cmu.edu" in text
    assert text.count("mocap.cs.cmu.edu") == 1
    # Of COCO the val pictures are there, so three of the four parts of one origin are missing.
    assert "  missing train2017/: the pictures to train on\n" in text
    assert "          origin of these 3: cocodataset.org\n" in text


def test_every_guide_is_a_page():
    for data_set in DATA_SETS.values():
        assert (Path(__file__).parents[2] / data_set.guide).is_file()


def test_every_data_set_says_what_it_allows():
    for data_set in DATA_SETS.values():
        assert data_set.terms
        assert data_set.weights
        for part in data_set.parts.values():
            assert part.purpose
            assert part.origin
    allowed = [name for name, data_set in DATA_SETS.items() if data_set.weights.startswith("yes")]
    assert allowed == ["cmu"]


@pytest.mark.parametrize(
    ("name", "usual"),
    [
        ("data_3d_h36m.npz", "data_3d_h36m.npz"),
        ("data_2d_humaneva15_gt.npz", "data_2d_humaneva15_detectron_pt_coco.npz"),
        ("data_train_3dhp.npz", "data_train_3dhp.npz"),
        ("data_test_3dhp.npz", "data_test_3dhp.npz"),
    ],
)
def test_files_under_other_names_are_known_by_their_contents(
    name: str, usual: str, everything: Path, tmp_path_factory: pytest.TempPathFactory
):
    elsewhere = tmp_path_factory.mktemp("renamed")
    shutil.copy(everything / name, elsewhere / "mine.npz")
    (found,) = take_inventory(elsewhere).found
    assert found.problem == ""
    assert f"its usual name is {usual}" in found.notes


def test_files_of_something_else_are_left_alone(tmp_path: Path):
    np.savez(tmp_path / "result.npz", joints=np.zeros(3))
    np.savez(tmp_path / "other.npz", data=np.zeros(3))
    (tmp_path / "broken.npz").write_bytes(b"no")
    (tmp_path / "settings.json").write_text("{}")
    (tmp_path / "model.pkl").write_bytes(b"no")
    assert take_inventory(tmp_path).found == ()


def test_folders_of_other_pictures_are_left_alone(tmp_path: Path):
    for folder, name in (("images", "me.jpg"), ("val2017", "notes.txt"), ("train2017", "1.jpg")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).write_bytes(b"")
    assert take_inventory(tmp_path).found == ()
    (tmp_path / "images" / "val2017").mkdir()
    (tmp_path / "images" / "val2017" / "000000000139.jpg").write_bytes(b"")
    (found,) = take_inventory(tmp_path).found
    assert (found.data_set, found.part) == ("coco", "val pictures")
    assert "found   images/val2017: the pictures to test on" in as_text(take_inventory(tmp_path))


def test_broken_files_are_named_with_the_reason(everything: Path):
    def cut(name: str, keep: float) -> None:
        path = everything / name
        content = path.read_bytes()
        path.write_bytes(content[: int(keep * len(content))])

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return eval, ("1 / 0",)

    cut("data_3d_h36m.npz", 0.5)
    cut("person_keypoints_val2017.json", 0.5)
    cut("data_2d_humaneva15_gt.npz", 0.9)
    (everything / "h36m_sh_conf_cam_source_final.pkl").write_bytes(pickle.dumps(Evil()))
    (everything / "mpii_val.json").write_text(json.dumps([{"image": "a", "joints": [[1, 2]]}]))
    (everything / "mpii_gt_val.mat").write_bytes(b"<html>")
    (everything / BOXES_FILE).write_text("[{}]")
    (everything / "cmu17_val.npz").write_bytes(b"version https://large-file-pointer")
    taken = take_inventory(everything)
    problems = {found.path.name: found.problem for found in taken.broken}
    assert len(problems) == 8
    assert "is damaged or cut off" in problems["data_3d_h36m.npz"]
    assert "is damaged or cut off" in problems["person_keypoints_val2017.json"]
    assert "is damaged or cut off" in problems["data_2d_humaneva15_gt.npz"]
    assert "holds builtins.eval" in problems["h36m_sh_conf_cam_source_final.pkl"]
    assert "16 joints" in problems["mpii_val.json"]
    assert "should be a list of image_id" in problems[BOXES_FILE]
    assert "is no MATLAB file" in problems["mpii_gt_val.mat"]
    assert "no npz file" in problems["cmu17_val.npz"]
    text = as_text(taken)
    assert "  BROKEN  data_3d_h36m.npz: 3D joints in the room" in text
    assert "\n          is damaged or cut off" in text
    assert "data_3d_h36m.npz" in [part.file for part in taken.missing("human36m")]


def test_2d_that_does_not_belong_to_the_3d_beside_it_is_broken(
    everything: Path, human36m_content: dict[str, dict[str, np.ndarray]], write_human36m: Write
):
    shifted = {
        subject: {trial: [np.full((len(j), 17, 2), 500.0)] * 4 for trial, j in trials.items()}
        for subject, trials in human36m_content.items()
    }
    write_human36m(exact=shifted)
    (broken,) = take_inventory(everything).broken
    assert broken.path.name == "data_2d_h36m_gt.npz"
    assert "px from the projected 3D joints" in broken.problem


def test_large_json_is_judged_by_its_ends(everything: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(inventory, "LARGEST_JSON", 100)
    path = everything / "person_keypoints_val2017.json"
    (found,) = [f for f in take_inventory(everything).found if f.path == path]
    assert found.facts == {}
    assert "so not counted" in found.notes[0]
    path.write_bytes(path.read_bytes()[:-20])
    (found,) = [f for f in take_inventory(everything).found if f.path == path]
    assert found.problem == "is cut off, or no JSON: get it again"


def test_folders_are_searched_to_a_depth_and_links_are_followed(tmp_path: Path):
    deep = tmp_path / "root" / "a" / "b"
    deep.mkdir(parents=True)
    (deep / "mpii_val.json").write_text(json.dumps(MPII))
    root = tmp_path / "root"
    assert len(take_inventory(root, depth=2).found) == 1
    assert take_inventory(root, depth=1).found == ()
    hidden = root / ".trash"
    hidden.mkdir()
    (hidden / "mpii_val.json").write_text(json.dumps(MPII))
    assert len(take_inventory(root, depth=2).found) == 1
    try:
        (root / "link").symlink_to(deep)
        (deep / "loop").symlink_to(root)
    except OSError:
        pytest.skip("no links here")
    assert len(take_inventory(root, depth=2).found) == 2
    with pytest.raises(FileNotFoundError, match=r"no folder at .*nowhere"):
        take_inventory(tmp_path / "nowhere")


def test_the_record_is_json_with_every_data_set(everything: Path):
    record = json.loads(json.dumps(as_record(take_inventory(everything))))
    assert list(record["data_sets"]) == list(DATA_SETS)
    human36m = record["data_sets"]["human36m"]
    assert human36m["found"][0]["file"] == "data_3d_h36m.npz"
    assert human36m["found"][0]["problem"] is None
    assert human36m["weights_may_be_shipped"].startswith("no")
    assert record["data_sets"]["cmu"]["found"] == []
    assert len(record["data_sets"]["cmu"]["missing"]) == 3


def test_the_real_motion_capture_is_found(shared: Callable[[str], Path]):
    taken = take_inventory(shared("mocap"), depth=0)
    assert not taken.broken
    assert not taken.missing("cmu")
    minutes = {found.part: found.facts["minutes"] for found in taken.found}
    assert minutes == {"train": 39.8, "val": 3.6, "test": 5.7}
