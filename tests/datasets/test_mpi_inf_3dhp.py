"""MPI-INF-3DHP: both files, and what is wrong with them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.cameras import project
from lithepose.datasets.mpi_inf_3dhp import (
    JOINTS,
    KNOWN_TEST,
    SKELETON,
    TRAIN_FRAMES,
    read_test,
    read_training,
)
from lithepose.datasets.pickles import DamagedFile, ForbiddenPickle, read_pickle
from lithepose.skeletons import SKELETONS

Write = Callable[..., Path]


def test_the_published_counts_add_up():
    assert sum(TRAIN_FRAMES.values()) == 131_592
    assert sum(known.valid_frames for known in KNOWN_TEST.values()) == 2_929
    assert len(JOINTS) == len(SKELETONS[SKELETON]) == 17
    assert SKELETONS[SKELETON].root == 14


def test_training_comes_in_metres_by_recording_and_camera(write_mpi_inf_3dhp: Write):
    data = read_training(write_mpi_inf_3dhp())
    sequences = list(data.sequences())
    assert [sequence.name for sequence in sequences] == [
        "S1 Seq1 0", "S1 Seq1 1", "S1 Seq1 8", "S3 Seq2 0", "S3 Seq2 4",
    ]  # fmt: skip
    assert [sequence.fps for sequence in sequences] == [25, 25, 25, 50, 50]
    for sequence in sequences:
        assert sequence.skeleton == sequence.keypoints_skeleton == "mpi_inf_3dhp17"
        assert sequence.image_size == (2048, 2048)
        assert sequence.counted.all()
        assert sequence.camera is None
        assert (sequence.joints_camera[:, 14] == 0).all()
        np.testing.assert_allclose(sequence.root_camera[:, 2], 4, atol=0.5)
        # The made-up camera sees the joints where the file says.
        pixels = project(sequence.absolute_camera, 1500.0, (1024, 1024))
        np.testing.assert_allclose(pixels, sequence.keypoints, atol=2e-3)
        np.testing.assert_allclose(
            sequence.keypoints_screen, sequence.keypoints / 1024 - 1, atol=1e-6
        )
    assert [s.name for s in data.sequences(subjects=["S3"], cameras=["4"])] == ["S3 Seq2 4"]


def test_the_test_set_counts_its_valid_frames_and_knows_its_pictures(write_mpi_inf_3dhp: Write):
    studio, outdoor = read_test(write_mpi_inf_3dhp() / "data_test_3dhp.npz").sequences()
    assert (studio.name, studio.action, studio.image_size) == ("TS1", "green screen", (2048, 2048))
    assert (outdoor.name, outdoor.action, outdoor.image_size) == ("TS6", "outdoor", (1920, 1080))
    for sequence in (studio, outdoor):
        assert sequence.counted.tolist() == [i % 3 == 0 for i in range(20)]
        assert len(sequence) == 20
        assert sequence.fps is None
    middle = np.array([[960.0, 540.0]])
    np.testing.assert_allclose(
        outdoor.keypoints_screen,
        (outdoor.keypoints - middle) / 960,
        atol=1e-6,
    )


def test_valid_frames_may_be_a_column(write_mpi_inf_3dhp: Write):
    folder = write_mpi_inf_3dhp()
    (first, _) = read_test(folder).recordings
    arrays = {"data_2d": first.keypoints, "data_3d": 1000 * first.joints_camera}
    write_mpi_inf_3dhp(test={"TS2": arrays | {"valid": first.valid[:, None].astype(int)}})
    (read,) = read_test(folder).recordings
    np.testing.assert_array_equal(read.valid, first.valid)


def test_names_that_are_not_in_the_file_are_refused(write_mpi_inf_3dhp: Write):
    data = read_training(write_mpi_inf_3dhp())
    with pytest.raises(ValueError, match="no subject S2; known: S1, S3"):
        list(data.sequences(subjects=["S2"]))
    with pytest.raises(ValueError, match="no camera 3; known: 0, 1, 8, 4"):
        list(data.sequences(cameras=["3"]))


def test_wrong_contents_are_refused(write_mpi_inf_3dhp: Write):
    folder = write_mpi_inf_3dhp()
    recording = read_training(folder).recordings[0]
    good = {"data_2d": recording.keypoints, "data_3d": 1000 * recording.joints_camera}
    metres = good | {"data_3d": recording.joints_camera}
    # The order of Human3.6M, as some copies have it: joint 12 is an elbow then.
    reordered = good | {"data_3d": good["data_3d"][:, [14, *range(8, 14), 15, 1, 16, 0, *range(5)]]}
    assert reordered["data_3d"].shape[1] == 16
    for train, message in (
        ({"S1 Seq3": [{"0": good}, 25]}, "'S1 Seq3' is no training recording"),
        ({"S1 Seq1": {"0": good}}, "S1 Seq1 should be the cameras and the frame rate"),
        ({"S1 Seq1": [{"0": good}, 0]}, "S1 Seq1 should be the cameras and the frame rate"),
        ({"S1 Seq1": [{"3": good}, 25]}, "S1 Seq1, camera 3 is not one of 0, 1"),
        ({"S1 Seq1": [{"0": {"data_2d": good["data_2d"]}}, 25]}, "should have data_2d and data_3d"),
        ({"S1 Seq1": [{"0": reordered}, 25]}, r"data_3d is float32 of shape \(30, 16, 3\)"),
        ({"S1 Seq1": [{"0": metres}, 25]}, "read as millimetres, shins are 0.0"),
        (
            {"S1 Seq1": [{"0": good | {"data_2d": good["data_2d"][1:]}}, 25]},
            "has 29 frames in 2D and 30 in 3D",
        ),
        (
            {"S1 Seq1": [{"0": good | {"data_2d": good["data_2d"] / 1024 - 1}}, 25]},
            "data_2d is not in pixels",
        ),
    ):
        write_mpi_inf_3dhp(train=train)
        with pytest.raises(ValueError, match=message):
            read_training(folder)
    for test, message in (
        ({"TS7": good}, "TS7 is not one of TS1"),
        ({"TS1": good}, "valid should be 0 or 1 for each of 30 frames"),
        ({"TS1": good | {"valid": np.arange(30)}}, "valid should be 0 or 1"),
        ({"TS1": 3}, "should have data_2d and data_3d"),
    ):
        write_mpi_inf_3dhp(test=test)
        with pytest.raises(ValueError, match=message):
            read_test(folder)


def test_the_files_are_not_mistaken_for_each_other(write_mpi_inf_3dhp: Write):
    folder = write_mpi_inf_3dhp()
    with pytest.raises(ValueError, match="'TS1' is no training recording"):
        read_training(folder / "data_test_3dhp.npz")
    with pytest.raises(ValueError, match="S1 Seq1 is not one of TS1"):
        read_test(folder / "data_train_3dhp.npz")


def test_missing_damaged_and_malicious_files_are_refused(write_mpi_inf_3dhp: Write, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no data_train_3dhp\.npz .* docs/data/mpi_inf"):
        read_training(tmp_path)
    path = write_mpi_inf_3dhp() / "data_train_3dhp.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[:-100])
    with pytest.raises(DamagedFile, match="damaged or cut off"):
        read_training(path)

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return eval, ("1 / 0",)

    inner = np.empty((), object)
    inner[()] = {"S1 Seq1": Evil()}
    np.savez(path, data=inner)
    with pytest.raises(ForbiddenPickle, match=r"holds builtins\.eval"):
        read_training(path)


def test_recorded_frames_have_these_joints_and_picture_sizes(shared: Callable[[str], Path]):
    cameras = read_pickle(shared("samples/mpi_inf_3dhp/cameras_test.pkl"))
    for name, known in KNOWN_TEST.items():
        assert known.image_size == (cameras[name]["w"], cameras[name]["h"])
    for split in ("train", "test"):
        cameras = read_pickle(shared(f"samples/mpi_inf_3dhp/cameras_{split}.pkl"))
        with np.load(shared(f"samples/mpi_inf_3dhp/test_3dhp_{split}.npz")) as file:
            frames = zip(file["imgname"], file["S"], file["part"], strict=True)
            for picture, joints, pixels in frames:
                lens = cameras[str(picture).rpartition("_")[0]]
                found = project(joints[:, :3], lens["f"][:, 0], lens["c"][:, 0])
                distance = np.linalg.norm(found - pixels[:, :2], axis=-1)
                assert distance.mean() < 2  # the annotations are no exact projections
                # In this order bones are as long on the left as on the right. (Not thighs and
                # shoulders: the annotations stretch these.)
                skeleton = SKELETONS[SKELETON]
                length = np.linalg.norm(joints[:, :3] - joints[skeleton.parents, :3], axis=-1)
                for joint in ("elbow", "wrist", "hip", "ankle"):
                    left, right = skeleton.index(f"left_{joint}"), skeleton.index(f"right_{joint}")
                    assert length[left] == pytest.approx(length[right], abs=0.002)


def test_the_code_of_the_guide_runs(
    write_mpi_inf_3dhp: Write,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
):
    page = Path(__file__).parents[2] / "docs" / "data" / "mpi_inf_3dhp.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    elsewhere = tmp_path_factory.mktemp("guide")
    (elsewhere / "data").mkdir()
    shutil.copytree(write_mpi_inf_3dhp(), elsewhere / "data" / "3dhp")
    monkeypatch.chdir(elsewhere)
    for block in blocks:
        exec(block, {})
