"""HumanEva-I: the files of VideoPose3D, and what is wrong with them."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from lithepose.cameras import project, world_to_camera
from lithepose.datasets.humaneva import (
    CAMERAS,
    TEST,
    TRAIN,
    action_of,
    camera_place,
    read_humaneva,
    read_positions,
)
from lithepose.datasets.pickles import DamagedFile

Write = Callable[..., Path]
Motions = dict[str, dict[str, np.ndarray]]


def test_the_cameras_stand_around_the_room_and_look_at_its_middle():
    for subject in TRAIN + TEST:
        for name in CAMERAS:
            rotation, position = camera_place(subject, name)
            np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
            assert np.linalg.det(rotation) == pytest.approx(1)
            assert 1.4 < position[2] < 1.6
            middle = world_to_camera(np.array([0.5, 0.0, 1.0]), rotation, position)
            assert 3.0 < middle[2] < 5
            assert np.abs(middle[:2] / middle[2]).max() < 0.3
    np.testing.assert_array_equal(camera_place("S1", "C2")[0], camera_place("Train/S3", "C2")[0])
    with pytest.raises(ValueError, match="no camera 'C4' of subject 'S1'; known: C1, C2, C3"):
        camera_place("S1", "C4")


def test_actions_are_named_as_in_the_tables():
    names = ("Walking 1 chunk0", "Jog 1 chunk2", "Box 1 chunk0", "Gestures 1 chunk0")
    assert [action_of(name) for name in names] == ["Walk", "Jog", "Box", None]


def test_sequences_hold_what_training_and_measuring_need(
    write_humaneva: Write, humaneva_content: Motions
):
    data = read_humaneva(write_humaneva())
    sequences = list(data.sequences())
    assert len(sequences) == 5 * 3  # the gestures are in no table
    for sequence in sequences:
        world = humaneva_content[sequence.subject][sequence.trial]
        local = world_to_camera(world, *camera_place(sequence.subject, sequence.view))
        assert sequence.skeleton == sequence.keypoints_skeleton == "humaneva15"
        assert (sequence.joints_camera[:, 0] == 0).all()
        np.testing.assert_allclose(sequence.absolute_camera, local, atol=2e-6)
        assert (sequence.fps, sequence.image_size) == (60, (640, 480))
        assert sequence.camera is None
        pixels = project(sequence.absolute_camera.astype(float), 800.0, (320.0, 240.0))
        np.testing.assert_allclose(pixels, sequence.keypoints, atol=1e-3)
    assert {s.action for s in data.sequences(subjects=["Validate/S2"])} == {"Jog"}
    with pytest.raises(ValueError, match="no action Walking; known: Walk, Jog, Box"):
        list(data.sequences(actions=["Walking"]))


def test_detections_may_be_of_coco_joints_and_lack_cameras(write_humaneva: Write):
    data = read_humaneva(write_humaneva(), "detectron_pt_coco")
    sequences = list(data.sequences())
    assert {sequence.view for sequence in sequences} == {"C1"}
    for sequence in sequences:
        assert sequence.keypoints_skeleton == "coco17"
        assert sequence.keypoints.shape == (len(sequence), 17, 2)


def test_wrong_files_are_refused(write_humaneva: Write, humaneva_content: Motions):
    folder = write_humaneva()
    walking = humaneva_content["Train/S1"]["Walking 1 chunk0"]
    for positions, message in (
        ({"S1": {"Walking 1 chunk0": walking}}, "S1 are none of Train/S1"),
        ({"Train/S1": {"Walking 1 chunk0": walking[:, :14]}}, r"shape \(30, 14, 3\)"),
        ({"Train/S1": {"Walking 1 chunk0": 1000 * walking}}, "read as metres, shins are"),
    ):
        path = write_humaneva(positions=positions) / "data_3d_humaneva15.npz"
        with pytest.raises(ValueError, match=message):
            read_positions(path)
    write_humaneva(exact={"Train/S1": {"Box 1 chunk0": [np.zeros((5, 15, 2))] * 3}})
    with pytest.raises(ValueError, match="has no Train/S1 Walking 1 chunk0, which the 3D file has"):
        read_humaneva(folder)
    write_humaneva(metadata={"num_joints": 20, "keypoints_symmetry": [[1], [2]]})
    with pytest.raises(ValueError, match="has 20 joints"):
        read_humaneva(folder)
    path.write_bytes(path.read_bytes()[:300])
    with pytest.raises(DamagedFile, match="damaged or cut off"):
        read_humaneva(folder)
    path.unlink()
    with pytest.raises(FileNotFoundError, match=r"no data_3d_humaneva15.npz .*docs/data/humaneva"):
        read_humaneva(folder)


def test_the_code_of_the_guide_runs(
    write_humaneva: Write, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
):
    page = Path(__file__).parents[2] / "docs" / "data" / "humaneva.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 1
    elsewhere = tmp_path_factory.mktemp("guide")
    (elsewhere / "data").mkdir()
    shutil.copytree(write_humaneva(), elsewhere / "data" / "humaneva")
    monkeypatch.chdir(elsewhere)
    for block in blocks:
        exec(block, {})
