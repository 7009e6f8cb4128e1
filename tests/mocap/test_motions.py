"""Files of motion capture, bodies drawn anew, and the trunk's axes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.anthropometry import TRAINING_MEAN
from lithepose.mocap.motions import (
    BONE_OF_JOINT,
    FILE_NAMES,
    read_motions,
    trunk_frame,
)
from lithepose.skeletons import SKELETONS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion

NAMES = [FILE_NAMES[name] for name in ("height", *TRAINING_MEAN, "nose_forward")]


def content() -> dict[str, Any]:
    """The arrays of a file of two clips, of 20 and 30 frames."""
    random = np.random.default_rng(0)
    clips = [motion(name, s, 50, random_body(random), random) for name, s in
             (("walk", 0.4), ("wave", 0.6))]  # fmt: skip
    return {
        "pos": np.concatenate(clips).astype(np.float32),
        "clip_start": np.array([0, 20, 50]),
        "fps": np.float32(50),
        "clip": np.array(["01_01", "02_01"]),
        "subject": np.array(["01", "02"]),
        "body": random.uniform(0.1, 0.5, (2, len(NAMES))).astype(np.float32),
        "body_names": np.array(NAMES),
    }


def save(path: Path, **changes: Any) -> Path:
    arrays = content() | changes
    np.savez(path, **{name: array for name, array in arrays.items() if array is not None})
    return path


def test_a_file_is_read_with_its_clips_and_bodies(tmp_path: Path):
    arrays = content()
    motions = read_motions(save(tmp_path / "m.npz"))
    assert len(motions) == 2
    assert motions.fps == 50
    assert motions.positions.dtype == np.float32
    np.testing.assert_array_equal(motions.positions, arrays["pos"])
    assert motions.start.tolist() == [0, 20, 50]
    assert motions.clip.tolist() == ["01_01", "02_01"]
    np.testing.assert_array_equal(motions.height, arrays["body"][:, 0])
    assert motions.lengths.shape == (2, 17)
    assert (motions.lengths[:, 0] == 1).all()
    thigh = arrays["body"][:, NAMES.index("thigh")]
    np.testing.assert_array_equal(motions.lengths[:, 2], thigh)  # right knee
    np.testing.assert_array_equal(motions.lengths[:, 5], thigh)  # left knee


def test_a_missing_file_says_how_to_make_one(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"docs/data/mocap_import.md"):
        read_motions(tmp_path / "none.npz")


@pytest.mark.parametrize("data", [b"", b"text", b"PK\x03\x04 cut off"])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, data: bytes):
    path = tmp_path / "m.npz"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"m\.npz is no npz file, or a damaged one"):
        read_motions(path)


def test_an_archive_with_a_damaged_array_is_refused(tmp_path: Path):
    path = save(tmp_path / "m.npz")
    data = bytearray(path.read_bytes())
    data[400:800] = b"\0" * 400
    path.write_bytes(data)
    with pytest.raises(ValueError, match="damaged"):
        read_motions(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fps": None, "body": None}, "has no fps, body"),
        ({"pos": np.zeros((50, 16, 3))}, r"shape \(50, 16, 3\)"),
        ({"pos": np.full((50, 17, 3), np.nan)}, "not finite"),
        ({"clip_start": np.array([0, 20, 49])}, "clip_start ends at 49, pos at 50"),
        ({"clip_start": np.array([0, 20, 20, 50])}, "every clip having a frame"),
        ({"clip_start": np.array([5, 20, 50])}, "must rise from 0"),
        ({"clip_start": np.array([50])}, "must rise from 0"),
        ({"fps": np.float32(0)}, "fps is 0"),
        ({"subject": np.array(["01"])}, "subject is of 1 clips, not of 2"),
        ({"body_names": np.array(["height", *NAMES[1:]])}, "a column for each of H, thigh"),
        ({"body": np.zeros((2, 3))}, r"shape \(2, 3\)"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(tmp_path: Path, changes: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        read_motions(save(tmp_path / "m.npz", **changes))


def test_the_prepared_files_can_be_read(shared: Any):
    motions = read_motions(shared("mocap/cmu17_val.npz"))
    assert len(motions) > 10
    hips = (motions.positions[:, 1] + motions.positions[:, 4]) / 2
    np.testing.assert_allclose(motions.positions[:, 0], hips, atol=1e-5)
    thighs = np.linalg.norm(motions.positions[:, 2] - motions.positions[:, 1], axis=-1)
    np.testing.assert_allclose(thighs[motions.start[:-1]], motions.lengths[:, 2], rtol=1e-3)


def test_bones_are_scaled_alike_on_both_sides():
    mirror = SKELETONS["h36m17"].mirror
    assert tuple(BONE_OF_JOINT[joint] for joint in mirror) == BONE_OF_JOINT
    assert set(BONE_OF_JOINT) - {""} == set(TRAINING_MEAN)


def test_the_trunk_s_axes_are_orthonormal_and_turn_with_the_body():
    random = np.random.default_rng(0)
    joints = motion("turn", 1, 25, random_body(random), random)
    frames = trunk_frame(joints)
    identity = np.broadcast_to(np.eye(3), frames.shape)
    np.testing.assert_allclose(np.swapaxes(frames, 1, 2) @ frames, identity, atol=1e-6)
    # Left, forward, up is a left-handed order.
    np.testing.assert_allclose(np.linalg.det(frames), -1, atol=1e-6)
    gaze = joints[:, 9] - (joints[:, 8] + joints[:, 10]) / 2
    assert ((frames[..., 1] * gaze).sum(-1) > 0).all()
    left = joints[:, 11] - joints[:, 14]
    assert ((frames[..., 0] * left).sum(-1) > 0).all()
    up = joints[:, 8] - joints[:, 0]
    np.testing.assert_allclose(frames[..., 2], up / np.linalg.norm(up, axis=-1)[:, None], atol=1e-6)
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(trunk_frame(joints @ quarter.T), quarter @ frames, atol=1e-6)
