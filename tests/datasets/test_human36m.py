"""Human3.6M: cameras, the files of VideoPose3D and of MotionBERT, and what is wrong with them."""

from __future__ import annotations

import json
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.cameras import project_distorted
from lithepose.datasets import human36m
from lithepose.datasets.human36m import (
    ACTIONS,
    CAMERAS,
    JOINTS,
    TEST,
    TRAIN,
    action_of,
    camera,
    read_human36m,
    read_image_space,
    read_keypoints,
    read_positions,
)
from lithepose.datasets.pickles import DamagedFile, ForbiddenPickle, read_pickle
from lithepose.datasets.sequences import reprojection_px

Write = Callable[..., Path]
Motions = dict[str, dict[str, np.ndarray]]


def test_the_17_joints_are_the_32_without_those_that_the_protocol_drops():
    dropped = (4, 5, 9, 10, 11, 16, 20, 21, 22, 23, 24, 28, 29, 30, 31)
    assert tuple(i for i in range(32) if i not in dropped) == JOINTS


def test_there_are_four_cameras_for_each_of_seven_subjects():
    for subject in TRAIN + TEST:
        for name in CAMERAS:
            seen_by = camera(subject, name)
            assert seen_by.image_size[0] == 1000
            orientation = human36m._PLACES[subject][CAMERAS.index(name)][:4]
            assert np.linalg.norm(orientation) == pytest.approx(1, abs=1e-6)
            # They stand around the room at the height of a tripod and look at its middle.
            assert 1.3 < seen_by.position[2] < 1.7
            middle = seen_by.world_to_camera(np.array([0.0, 0.0, 1.0]))
            assert 3.5 < middle[2] < 6.5
            assert np.abs(middle[:2] / middle[2]).max() < 0.3
    assert [camera("S1", name).image_size[1] for name in CAMERAS] == [1002, 1000, 1000, 1002]


def test_world_to_camera_and_back_changes_nothing():
    points = np.random.default_rng(0).standard_normal((10, 3))
    for subject in TRAIN + TEST:
        for name in CAMERAS:
            there = camera(subject, name).world_to_camera(points)
            np.testing.assert_allclose(camera(subject, name).camera_to_world(there), points)


def test_unknown_subjects_and_cameras_are_named():
    with pytest.raises(ValueError, match=r"no cameras of subject 'S2'; known: S1, S5"):
        camera("S2", CAMERAS[0])
    with pytest.raises(ValueError, match="no camera named '0'; known: 54138969"):
        camera("S1", "0")


def test_cameras_are_those_of_other_copies(shared: Callable[[str], Path]):
    copy = read_pickle(shared("samples/h36m/cameras.pkl"))
    for subject in TRAIN + TEST:
        for name in CAMERAS:
            ours, theirs = camera(subject, name), copy[subject, name]
            # Theirs turns camera axes into world axes and lists the tangential pair the other way.
            np.testing.assert_allclose(ours.rotation, theirs["R"].T, atol=2e-7)
            np.testing.assert_allclose(ours.position, theirs["T"][:, 0], atol=1e-6)
            np.testing.assert_allclose(ours.focal_px, theirs["f"][:, 0], atol=1e-3)
            np.testing.assert_allclose(ours.centre_px, theirs["c"][:, 0], atol=1e-3)
            np.testing.assert_allclose(ours.radial, theirs["k"][:, 0], atol=1e-6)
            np.testing.assert_allclose(ours.tangential, theirs["p"][::-1, 0], atol=1e-6)
            assert ours.image_size == (theirs["w"], theirs["h"])


def test_recorded_frames_project_onto_their_recorded_pixels(shared: Callable[[str], Path]):
    with np.load(shared("samples/h36m/test_h36m_body3d.npz")) as file:
        sample = {name: file[name] for name in file}
    annotations = json.loads(shared("samples/h36m/h36m_coco.json").read_text())
    names = {image["id"]: Path(image["file_name"]).name for image in annotations["images"]}
    world = {names[a["image_id"]]: a["keypoints_3d"] for a in annotations["annotations"]}
    for path, local, pixels in zip(
        sample["imgname"], sample["S"][..., :3], sample["part"][..., :2], strict=True
    ):
        subject, name = re.match(r"(S\d+)_.*\.(\d{8})_", Path(path).name).groups()
        seen_by = camera(subject, name)
        found = project_distorted(
            local, seen_by.focal_px, seen_by.centre_px, seen_by.radial, seen_by.tangential
        )
        np.testing.assert_allclose(found, pixels, atol=1e-4)
        points = np.reshape(world[Path(path).name], (17, 4))[:, :3]
        np.testing.assert_allclose(seen_by.world_to_camera(points), local, atol=1e-6)
        np.testing.assert_allclose(seen_by.project(points), pixels, atol=2e-4)


def test_positions_are_17_joints_in_metres(write_human36m: Write, human36m_content: Motions):
    positions = read_positions(write_human36m() / "data_3d_h36m.npz")
    assert list(positions) == ["S1", "S9", "S11"]
    for subject, trials in positions.items():
        for trial, points in trials.items():
            assert points.dtype == np.float32
            np.testing.assert_array_equal(
                points, human36m_content[subject][trial].astype(np.float32)
            )


def test_the_corrupted_trial_is_left_out(write_human36m: Write):
    assert list(read_positions(write_human36m() / "data_3d_h36m.npz")["S11"]) == ["Directions 1"]


def test_names_of_the_original_files_become_those_of_the_tables(
    write_human36m: Write, human36m_content: Motions
):
    full = np.zeros((20, 32, 3), np.float32)
    full[:, JOINTS] = human36m_content["S1"]["Walking 1"][:20]
    folder = write_human36m(positions={"S1": {"TakingPhoto 1": full, "WalkingDog": full}})
    assert list(read_positions(folder / "data_3d_h36m.npz")["S1"]) == ["Photo 1", "WalkDog"]
    assert {action_of(trial) for trial in ("Walking", "Walking 1", "Walking 2")} == {"Walking"}
    assert len(ACTIONS) == 15


@pytest.mark.parametrize("source", ["gt", "cpn_ft_h36m_dbb"])
def test_sequences_hold_what_training_and_measuring_need(
    source: str, write_human36m: Write, human36m_content: Motions
):
    data = read_human36m(write_human36m(), source)
    sequences = list(data.sequences())
    assert len(sequences) == 5 * 4
    assert len({sequence.name for sequence in sequences}) == len(sequences)
    for sequence in sequences:
        world = human36m_content[sequence.subject][sequence.trial]
        seen_by = camera(sequence.subject, sequence.view)
        assert sequence.camera is seen_by
        assert len(sequence) == len(world) == len(sequence.keypoints)
        assert (sequence.skeleton, sequence.keypoints_skeleton) == ("h36m17", "h36m17")
        assert sequence.fps == 50
        assert sequence.counted.all()
        assert (sequence.joints_camera[:, 0] == 0).all()
        assert sequence.joints_camera.dtype == sequence.root_camera.dtype == np.float32
        local = seen_by.world_to_camera(world)
        np.testing.assert_allclose(sequence.absolute_camera, local, atol=2e-6)
        np.testing.assert_allclose(sequence.root_camera, local[:, 0], atol=1e-6)
        distance = reprojection_px(sequence)
        if source == "gt":
            assert distance.max() < 1e-3
        else:
            assert 2 < np.median(distance) < 6


def test_screen_coordinates_use_the_size_of_the_camera(write_human36m: Write):
    data = read_human36m(write_human36m())
    for sequence in data.sequences(subjects=["S1"]):
        width, height = sequence.image_size
        x, y = np.moveaxis(sequence.keypoints, -1, 0)
        np.testing.assert_allclose(sequence.keypoints_screen[..., 0], 2 * x / width - 1, atol=1e-6)
        np.testing.assert_allclose(
            sequence.keypoints_screen[..., 1], 2 * y / width - height / width, atol=1e-6
        )


def test_subjects_actions_and_cameras_are_chosen_by_their_whole_names(write_human36m: Write):
    data = read_human36m(write_human36m())
    chosen = list(data.sequences(actions=["Sitting"], cameras=[CAMERAS[2]]))
    assert [sequence.name for sequence in chosen] == ["S9 Sitting 58860488"]
    assert {s.subject for s in data.sequences(subjects=TEST)} == {"S9", "S11"}
    with pytest.raises(ValueError, match="no subject S5; known: S1, S9, S11"):
        list(data.sequences(subjects=["S5"]))
    with pytest.raises(ValueError, match="no action Walk; known: Directions"):
        list(data.sequences(actions=["Walk"]))
    with pytest.raises(ValueError, match="no camera 3; known: 54138969"):
        list(data.sequences(cameras=["3"]))


def test_missing_files_point_to_the_guide(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"no data_3d_h36m.npz .* docs/data/human36m.md"):
        read_human36m(tmp_path)
    with pytest.raises(FileNotFoundError, match="no h36m_sh_conf_cam_source_final"):
        read_image_space(tmp_path / "h36m_sh_conf_cam_source_final.pkl")


def test_wrong_positions_are_refused(write_human36m: Write, human36m_content: Motions):
    full = np.zeros((20, 32, 3), np.float32)
    full[:, JOINTS] = human36m_content["S1"]["Walking 1"][:20]
    holed = full.copy()
    holed[3, 2, 1] = np.nan
    for positions, message in (
        ({"S1": {"Walking": full[:, :17]}}, r"S1 Walking is float32 of shape \(20, 17, 3\)"),
        ({"S1": {"Walking": full[:0]}}, "S1 Walking has no frames"),
        ({"S1": {"Walking": holed}}, "S1 Walking holds values that are not finite"),
        ({"S1": {"Walking": 1000 * full}}, "read as metres, shins are"),
        ({"S1": {"Walking": full.astype(str)}}, "S1 Walking is <U"),
        ({"S3": {"Walking": full}}, "subject 'S3' has no cameras here"),
        ({"S1": {"Strolling": full}}, "'Strolling' is no action"),
        ({"S1": full}, "positions_3d should map subjects to trials"),
    ):
        path = write_human36m(positions=positions) / "data_3d_h36m.npz"
        with pytest.raises(ValueError, match=message) as caught:
            read_positions(path)
        assert str(path) in str(caught.value)


def test_wrong_keypoints_are_refused(write_human36m: Write):
    view = np.zeros((60, 17, 2), np.float32)
    for exact, message in (
        ({"S1": {"Walking": [view] * 3}}, "should be 4 arrays, one per camera; found 3"),
        ({"S1": {"Walking": 5}}, "should be 4 arrays, one per camera; found int"),
        ({"S1": {"Walking": [view[:, :16]] * 4}}, r"camera 0 is float32 of shape \(60, 16, 2\)"),
    ):
        with pytest.raises(ValueError, match=message):
            read_keypoints(write_human36m(exact=exact) / "data_2d_h36m_gt.npz")
    sides = [[4, 5, 6, 10, 11, 12], [1, 2, 3, 13, 14, 15]]
    for metadata, message in (
        ({"num_joints": 16, "keypoints_symmetry": sides}, "has 16 joints.*are not read"),
        ({"num_joints": 17}, "metadata should tell num_joints and keypoints_symmetry"),
    ):
        with pytest.raises(ValueError, match=message):
            read_keypoints(write_human36m(metadata=metadata) / "data_2d_h36m_gt.npz")


def test_files_that_do_not_belong_together_are_refused(write_human36m: Write):
    folder = write_human36m()
    keypoints = read_keypoints(folder / "data_2d_h36m_gt.npz").tracks

    def change(alter: Callable[[Any], Any]) -> Path:
        altered = {
            subject: {trial: alter(views) for trial, views in trials.items()}
            for subject, trials in keypoints.items()
        }
        return write_human36m(exact=altered, detected=altered)

    change(lambda views: [views[1], views[0], views[2], views[3]])
    with pytest.raises(ValueError, match="px from the projected 3D joints, expected at most 1:"):
        read_human36m(folder)
    with pytest.raises(ValueError, match=r"expected at most 60: .* orders its cameras otherwise"):
        read_human36m(folder, "cpn_ft_h36m_dbb")
    change(lambda views: [view[:-1] for view in views])
    with pytest.raises(ValueError, match="camera 0 has 59 frames, fewer than the 60 in 3D"):
        read_human36m(folder)
    write_human36m(exact={"S1": {"Directions": list(keypoints["S1"]["Directions"])}})
    with pytest.raises(ValueError, match="has no S1 Walking 1, which the 3D file has"):
        read_human36m(folder)


def test_damaged_and_malicious_files_are_refused(write_human36m: Write, tmp_path: Path):
    path = write_human36m() / "data_3d_h36m.npz"
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DamagedFile, match=r"data_3d_h36m\.npz is damaged or cut off"):
        read_positions(path)
    path.write_bytes(b"<html>log in to download</html>")
    with pytest.raises(DamagedFile, match="damaged or cut off"):
        read_positions(path)

    class Evil:
        def __reduce__(self) -> tuple[Any, tuple[str]]:
            return eval, ("1 / 0",)

    inner = np.empty((), object)
    inner[()] = {"S1": {"Walking": Evil()}}
    np.savez(path, positions_3d=inner)
    with pytest.raises(ForbiddenPickle, match=r"holds builtins.eval, .* so the file is refused"):
        read_positions(path)
    evil = tmp_path / "h36m_sh_conf_cam_source_final.pkl"
    evil.write_bytes(pickle.dumps({"train": Evil()}))
    with pytest.raises(ForbiddenPickle, match=r"builtins\.eval"):
        read_image_space(evil)


def test_motionberts_file_gives_inputs_labels_and_metres(
    image_space_content: dict[str, dict[str, Any]], tmp_path: Path
):
    path = tmp_path / "h36m_sh_conf_cam_source_final.pkl"
    path.write_bytes(pickle.dumps(image_space_content))
    read = read_image_space(path)
    stored = image_space_content["test"]
    test = read.test
    assert len(test) == len(read.train) == 170
    assert test.videos == [(0, 60), (60, 120), (120, 145), (145, 170)]
    assert test.image_size[[0, 60]].tolist() == [[1000, 1002], [1000, 1000]]
    assert test.kept.sum() == 120  # s_09_act_05_subact_02 drifts
    assert read.train.kept.all()
    assert read.train.joints is None

    frames = np.array([[0, 1], [60, 61]])
    inputs = test.inputs(frames)
    assert inputs.shape == (2, 2, 17, 3)
    assert (inputs[..., 2] == 0.5).all()
    for frame, value in zip(frames.ravel(), inputs.reshape(-1, 17, 3), strict=True):
        pixels, height = stored["joint_2d"][frame], test.image_size[frame, 1]
        np.testing.assert_allclose(value[:, :2], pixels / 500 - [1, height / 1000], atol=1e-6)
    labels = test.labels(frames)
    z = stored["joint3d_image"][frames][..., 2]
    np.testing.assert_allclose(labels[..., 2], z / 500, rtol=1e-5, atol=1e-6)
    # The labels themselves, made metric, are the truth.
    metres = test.to_metres(labels, frames)
    assert test.joints is not None
    truth = test.joints[frames] - test.joints[frames][..., :1, :]
    np.testing.assert_allclose(metres, truth, atol=2e-5)
    seen_by = camera("S9", CAMERAS[0])
    assert seen_by.image_size == tuple(test.image_size[0])
    with pytest.raises(ValueError, match="only the test frames have factors"):
        read.train.to_metres(labels, frames)


def test_motionberts_clips_stay_within_videos(
    image_space_content: dict[str, dict[str, Any]], tmp_path: Path
):
    path = tmp_path / "file.pkl"
    path.write_bytes(pickle.dumps(image_space_content))
    test = read_image_space(path).test
    clips = test.clips(27, 9, np.random.default_rng(0))
    # Videos of 60 frames give clips at 0, 9, 18, 27; those of 25 are stretched to one clip.
    assert len(clips) == 4 + 4 + 1 + 1
    assert (clips[:4, 0] == [0, 9, 18, 27]).all()
    assert (np.diff(clips[:8], axis=1) == 1).all()
    for clip in clips:
        assert len(set(test.source[clip])) == 1
    assert clips[8].min() >= 120
    assert clips[8].max() <= 144
    assert (np.diff(clips[8:], axis=1) >= 0).all()


def test_wrong_fields_of_motionberts_file_are_named(
    image_space_content: dict[str, dict[str, Any]], tmp_path: Path
):
    path = tmp_path / "file.pkl"
    test = image_space_content["test"]
    for changes, message in (
        ({"2.5d_factor": None}, "test has no 2.5d_factor"),
        ({"joint3d_image": test["joint3d_image"][:-1]}, "joint3d_image is float64 of shape"),
        ({"source": test["source"][:-1]}, r"source is of shape \(169,\), expected \(170,\)"),
        ({"camera_name": ["c1"] * 170}, "camera_name has c1; known: 54138969"),
    ):
        content = {k: v for k, v in (test | changes).items() if v is not None}
        path.write_bytes(pickle.dumps(image_space_content | {"test": content}))
        with pytest.raises(ValueError, match=message):
            read_image_space(path)
    path.write_bytes(pickle.dumps([1, 2]))
    with pytest.raises(ValueError, match="should hold the dictionaries train and test"):
        read_image_space(path)


def test_the_code_of_the_guide_runs(
    write_human36m: Write,
    image_space_content: dict[str, dict[str, Any]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
):
    page = Path(__file__).parents[2] / "docs" / "data" / "human36m.md"
    blocks = re.findall(r"```python\n(.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 2
    elsewhere = tmp_path_factory.mktemp("guide")
    (elsewhere / "data").mkdir()
    pickled = pickle.dumps(image_space_content)
    (write_human36m() / "h36m_sh_conf_cam_source_final.pkl").write_bytes(pickled)
    shutil.copytree(write_human36m(), elsewhere / "data" / "h36m")
    monkeypatch.chdir(elsewhere)
    for block in blocks:
        exec(block, {})
