"""Keypoint files of other programs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from lithepose.formats import write_result
from lithepose.keypoints import read_keypoints
from lithepose.poses import Track3D
from lithepose.skeletons import SKELETONS

SIZE = (1280, 720)


def person(frames: int, joints: int, seed: int = 0, left: float = 400.0) -> np.ndarray:
    """(T, J, 3) of a body about 300 pixels high that drifts slowly; confidence 0.5 to 1."""
    rng = np.random.default_rng(seed)
    body = rng.uniform((left, 200), (left + 120, 500), size=(joints, 2))
    drift = np.arange(frames)[:, None, None] * np.array([2.0, 0.0])
    points = body + drift
    return np.concatenate([points, rng.uniform(0.5, 1, size=(frames, joints, 1))], axis=-1)


# Our own fields


def test_an_archive_with_everything_needs_no_options(tmp_path):
    points = person(6, 33)
    np.savez(
        tmp_path / "a.npz",
        keypoints=points[..., :2],
        confidence=points[..., 2],
        image_size=SIZE,
        fps=25.0,
        skeleton="blazepose33",
        person=3,
        world=np.ones((6, 33, 3)),
    )
    (track,) = read_keypoints(tmp_path / "a.npz")
    np.testing.assert_allclose(track.keypoints, points[..., :2], rtol=1e-6)
    np.testing.assert_allclose(track.confidence, points[..., 2], rtol=1e-6)
    np.testing.assert_allclose(track.time_s, np.arange(6) / 25)
    assert (track.person, track.skeleton, track.fps) == (3, "blazepose33", 25.0)
    assert track.image_size == SIZE
    assert track.world is not None
    assert track.world.shape == (6, 33, 3)


@pytest.mark.parametrize("name", ["keypoints", "kp2d", "keypoints_2d"])
@pytest.mark.parametrize(
    ("joints", "skeleton"), [(33, "blazepose33"), (26, "halpe26"), (25, "body25"), (16, "mpii16")]
)
def test_the_joint_count_tells_the_skeleton_where_it_can(tmp_path, name, joints, skeleton):
    fields: dict[str, Any] = {name: person(3, joints)}
    np.savez(tmp_path / "a.npz", **fields)
    (track,) = read_keypoints(tmp_path / "a.npz", image_size=SIZE, fps=30)
    assert track.skeleton == skeleton
    assert track.keypoints.shape == (3, joints, 2)


@pytest.mark.shared
def test_recorded_mediapipe_landmarks_are_read_as_they_are(shared):
    path = shared("video/walk_single_mediapipe2d.npz")
    (track,) = read_keypoints(path)
    with np.load(path) as data:
        np.testing.assert_array_equal(track.keypoints, data["kp2d"])
        np.testing.assert_array_equal(track.confidence, data["visibility"])
    assert (track.skeleton, track.image_size, track.fps) == ("blazepose33", (1768, 564), 30.0)
    assert track.time_s[-1] == pytest.approx(125 / 30)


def test_json_of_the_same_fields_has_null_for_missing(tmp_path):
    points = person(2, 17).tolist()
    points[1][4] = [None, None, 0.0]
    content = {"keypoints": points, "image_size": SIZE, "fps": 30, "skeleton": "coco17"}
    (tmp_path / "a.json").write_text(json.dumps(content))
    (track,) = read_keypoints(tmp_path / "a.json")
    assert np.isnan(track.keypoints[1, 4]).all()
    assert track.confidence[1, 4] == 0
    assert np.isfinite(track.keypoints).all(axis=-1).sum() == 2 * 17 - 1


def test_missing_joints_are_nan_with_confidence_0_however_they_are_marked(tmp_path):
    points = person(1, 33)
    points[0, 0] = np.nan, 5, 1
    points[0, 1, 2] = 0
    points[0, 2, 2] = np.nan
    points[0, 3, 2] = 1.2  # a score above 1 counts as 1
    np.savez(tmp_path / "a.npz", keypoints=points, image_size=SIZE, fps=30)
    (track,) = read_keypoints(tmp_path / "a.npz")
    assert np.isnan(track.keypoints[0, :3]).all()
    assert track.confidence[0, :4].tolist() == [0, 0, 0, 1]


def test_without_confidence_the_origin_means_missing(tmp_path):
    points = person(1, 33)[..., :2]
    points[0, 5] = 0
    np.savez(tmp_path / "a.npz", keypoints=points, image_size=SIZE, fps=30)
    (track,) = read_keypoints(tmp_path / "a.npz")
    assert np.isnan(track.keypoints[0, 5]).all()
    assert np.flatnonzero(track.confidence[0] == 0).tolist() == [5]


def test_options_replace_what_the_file_says(tmp_path):
    np.savez(
        tmp_path / "a.npz",
        keypoints=person(4, 17),
        image_size=(10, 10),
        fps=10,
        time_s=[0, 1, 2, 3],
        skeleton="coco17",
    )
    (track,) = read_keypoints(tmp_path / "a.npz", skeleton="h36m17", image_size=SIZE, fps=50)
    assert (track.skeleton, track.image_size, track.fps) == ("h36m17", SIZE, 50.0)
    np.testing.assert_allclose(track.time_s, np.arange(4) / 50)


def test_time_stamps_start_at_0_and_give_the_mean_rate(tmp_path):
    # 3 steps in 0.15 s: 20 frames per second.
    np.savez(
        tmp_path / "a.npz", keypoints=person(4, 33), image_size=SIZE, time_s=[5, 5.04, 5.09, 5.15]
    )
    (track,) = read_keypoints(tmp_path / "a.npz")
    np.testing.assert_allclose(track.time_s, [0, 0.04, 0.09, 0.15])
    assert track.fps == pytest.approx(20)


def test_a_result_can_be_read_back_as_keypoints(tmp_path):
    points = person(5, 17).astype(np.float32)
    result = Track3D(
        person=1,
        joints_camera=np.ones((5, 17, 3)),
        confidence=points[..., 2],
        keypoints_2d=points[..., :2],
        derived=np.zeros(17, dtype=bool),
        time_s=np.arange(5) / 30,
        fps=30.0,
        image_size=SIZE,
        focal_px=1000.0,
    )
    for path in write_result(tmp_path / "walk", result, ["npz", "json", "csv"]):
        (track,) = read_keypoints(path, image_size=SIZE)
        assert (track.skeleton, track.person) == ("h36m17", 1)
        assert track.fps == pytest.approx(30, rel=1e-4)
        np.testing.assert_allclose(track.keypoints, points[..., :2], atol=1e-3)
        np.testing.assert_allclose(track.confidence, points[..., 2], atol=1e-4)


# CSV


def test_csv_rows_may_be_in_any_order_and_left_out(tmp_path):
    joints = SKELETONS["coco17"].joints
    rows = [
        f"{person},{frame},{joint},{100 + i},{200 + frame},0.9"
        for person in (4, 7)
        for frame in (2, 0)
        for i, joint in enumerate(joints)
        if (frame, joint) != (2, "left_ear")
    ]
    text = "\n".join(["person,frame,joint,u_px,v_px,confidence", *reversed(rows)])
    (tmp_path / "a.csv").write_text(text)
    tracks = read_keypoints(tmp_path / "a.csv", image_size=SIZE, fps=30)
    assert [track.person for track in tracks] == [4, 7]
    for track in tracks:
        assert track.skeleton == "coco17"
        assert track.keypoints.shape == (3, 17, 2)
        np.testing.assert_allclose(track.keypoints[0, 5], (105, 200))
        assert np.isnan(track.keypoints[1]).all()
        assert np.isnan(track.keypoints[2, 3]).all()


def test_csv_times_of_frames_without_rows_lie_between_the_others(tmp_path):
    rows = [
        f"{frame},{time},{joint},100,200"
        for frame, time in ((1, 10.0), (3, 10.2))
        for joint in range(33)
    ]
    (tmp_path / "a.csv").write_text("\n".join(["frame,time_s,joint,u_px,v_px", *rows]))
    (track,) = read_keypoints(tmp_path / "a.csv", image_size=SIZE)
    np.testing.assert_allclose(track.time_s, [0, 0.1, 0.2, 0.3])
    assert track.fps == pytest.approx(10)
    assert (track.confidence[[1, 3]] == 1).all()


def test_csv_with_some_joints_takes_the_callers_skeleton(tmp_path):
    rows = [f"0,{joint},100,200" for joint in ("nose", "left_knee")]
    (tmp_path / "a.csv").write_text("\n".join(["frame,joint,u_px,v_px", *rows]))
    with pytest.raises(ValueError, match=r"fit several sets .*coco17.*pass skeleton="):
        read_keypoints(tmp_path / "a.csv", image_size=SIZE, fps=30)
    (track,) = read_keypoints(tmp_path / "a.csv", image_size=SIZE, fps=30, skeleton="coco17")
    assert np.flatnonzero(track.confidence[0]).tolist() == [0, 13]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lacks the columns frame, joint, u_px, v_px; found none"),
        ("frame,joint,u_px,v_px\n", "has no rows"),
        ("frame,joint,x,y\n0,0,1,2\n", "lacks the columns u_px, v_px; found frame, joint, x, y"),
        ("frame,joint,u_px,v_px\n-1,0,1,2\n", "frame holds '-1'"),
        ("frame,joint,u_px,v_px\n0,0,abc,2\n", "u_px holds 'abc', which is not a number"),
        ("frame,joint,u_px,v_px\n99999999999,0,1,2\n", "more than a day of video"),
        ("frame,joint,u_px,v_px\n0,5000,1,2\n", "joint 5000 is no index"),
        ("frame,joint,u_px,v_px\n0,tail,1,2\n", r"fit no known set; \w+ lacks tail"),
        ("frame,joint,u_px,v_px\n3,1,1,2\n3,1,1,2\n", "two rows for one joint .* in frame 3"),
    ],
)
def test_bad_csv_is_explained(tmp_path, text, message):
    (tmp_path / "a.csv").write_text(text)
    with pytest.raises(ValueError, match=message):
        read_keypoints(tmp_path / "a.csv", image_size=SIZE, fps=30)


# What is missing or wrong


def test_what_neither_file_nor_caller_says_is_asked_for(tmp_path):
    np.savez(tmp_path / "a.npz", keypoints=person(3, 17))
    with pytest.raises(ValueError, match="pass skeleton= one of coco17, h36m17, mpi_inf_3dhp17"):
        read_keypoints(tmp_path / "a.npz", image_size=SIZE, fps=30)
    with pytest.raises(ValueError, match=r"pass image_size=\(width, height\)"):
        read_keypoints(tmp_path / "a.npz", skeleton="coco17", fps=30)
    with pytest.raises(ValueError, match="pass fps="):
        read_keypoints(tmp_path / "a.npz", skeleton="coco17", image_size=SIZE)


def fields(**changes):
    values = {"keypoints": person(3, 33), "image_size": SIZE, "fps": 30.0}
    return {name: v for name, v in {**values, **changes}.items() if v is not None}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": None, "points": 1}, "has none of keypoints, kp2d, keypoints_2d; found"),
        ({"keypoints": np.zeros((3, 33))}, r"must be \(frames, joints, 2 or 3\); found \(3, 33\)"),
        ({"keypoints": np.zeros((3, 33, 4))}, r"found \(3, 33, 4\)"),
        ({"keypoints": np.zeros((0, 33, 3))}, "it has no frames"),
        ({"keypoints": np.full((3, 33, 3), np.nan)}, "every joint of every frame is missing"),
        ({"keypoints": np.zeros((3, 33, 3))}, "every joint of every frame is missing"),
        ({"keypoints": person(3, 33) / (1280, 720, 1)}, "look normalised; multiply"),
        ({"keypoints": person(3, 19)}, "has 19 joints, which no known joint set has"),
        ({"keypoints": np.array([["a"]])}, "keypoints is not an array of numbers"),
        ({"confidence": np.ones((3, 32))}, r"confidence must be \(3, 33\).*found \(3, 32\)"),
        ({"confidence": -np.ones((3, 33))}, "a confidence is negative"),
        ({"skeleton": "coco17"}, "has 33 joints, but coco17 has 17"),
        ({"skeleton": "openpose"}, "no skeleton named 'openpose'; known: blazepose33"),
        ({"image_size": (0, 720)}, "image_size must be"),
        ({"image_size": (1280, 720, 3)}, "image_size must be"),
        ({"fps": 0}, "fps must be one positive number; found 0"),
        ({"fps": [30, 30]}, "fps must be one positive number"),
        ({"time_s": [0, 1]}, "time_s must be 3 times"),
        ({"time_s": [0, 2, 1]}, "time_s does not ascend"),
        ({"world": np.zeros((3, 32, 3))}, "world must be"),
        ({"person": [1, 2]}, "person must be one number"),
    ],
)
def test_bad_fields_are_explained_with_the_file(tmp_path, changes, message):
    np.savez(tmp_path / "a.npz", **fields(**changes))
    with pytest.raises(ValueError, match=message) as caught:
        read_keypoints(tmp_path / "a.npz")
    assert "a.npz" in str(caught.value) or "known:" in str(caught.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "is not readable JSON"),
        ("3", "holds a JSON int"),
        ("{}", "has none of keypoints"),
        ("[]", "the list is empty"),
        ('[{"image_id": "0.jpg"}]', "is not an AlphaPose result"),
        ('[{"image_id": "a.jpg", "keypoints": [1, 2, 3]}]', "no frame number"),
        ('[{"image_id": "0.jpg", "keypoints": [1, 2]}]', "flat list of x, y, confidence"),
        ('{"people": 1}', "is not an OpenPose frame"),
        ('{"people": []}', "no person in any frame"),
        ('{"people": [{"pose_keypoints_2d": [1, 2, 3]}]}', "1 joints, which no known"),
        (
            '{"people": [{"pose_keypoints_2d": [1, 2, 3]}, '
            '{"pose_keypoints_2d": [1, 2, 3, 4, 5, 6]}]}',
            r"mixes people of \[1, 2\] joints",
        ),
    ],
)
def test_bad_json_is_explained(tmp_path, content, message):
    (tmp_path / "a.json").write_text(content)
    with pytest.raises(ValueError, match=message):
        read_keypoints(tmp_path / "a.json", image_size=SIZE, fps=30)


def test_a_broken_archive_or_one_with_pickles_is_refused(tmp_path):
    (tmp_path / "a.npz").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="is not a readable"):
        read_keypoints(tmp_path / "a.npz")
    np.savez(tmp_path / "b.npz", keypoints=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="is not a readable"):
        read_keypoints(tmp_path / "b.npz")


def test_paths_that_hold_nothing_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no keypoints at .*none\.npz"):
        read_keypoints(tmp_path / "none.npz")
    with pytest.raises(ValueError, match="holds no keypoints: give the folder"):
        read_keypoints(tmp_path)
    with pytest.raises(ValueError, match="list of OpenPose files is empty"):
        read_keypoints([])
    (tmp_path / "a.txt").write_text("")
    with pytest.raises(ValueError, match=r"known are \.npz, \.json, \.csv and folders"):
        read_keypoints(tmp_path / "a.txt")
