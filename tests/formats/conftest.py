"""Small motions to write and read back, as fixtures that give functions."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import numpy as np
import pytest

from lithepose.poses import Track3D, World
from lithepose.skeletons import SKELETONS
from lithepose.world.rig import NODE_PARENTS, NODES, rig_points

BODY = SKELETONS["lithepose31"]

# The rest pose of someone 1.80 m tall: where the nodes are, metres, x left, y back, z up, the left
# side; and the points that lie on no node, seen from theirs.
REST = {
    "Hips": (0, 0, 0.98), "Spine": (0, 0, 0.98), "Spine1": (0, 0.01, 1.22), "Chest": (0, 0, 1.48),
    "Neck": (0, 0, 1.48), "Head": (0, -0.02, 1.62), "HeadEnd": (0, -0.02, 1.80),
    "LeftShoulder": (0, 0, 1.48), "LeftArm": (0.18, 0, 1.48), "LeftForeArm": (0.48, 0, 1.48),
    "LeftHand": (0.74, 0, 1.48), "LeftHandEnd": (0.93, 0, 1.48),
    "LeftUpLeg": (0.10, 0, 0.98), "LeftLeg": (0.10, 0, 0.53), "LeftFoot": (0.10, 0, 0.09),
    "LeftToeBase": (0.10, -0.14, 0.02), "LeftToeEnd": (0.10, -0.21, 0),
}  # fmt: skip
MARKERS = {
    "nose": (0, -0.11, 0.03), "head_top": (0, 0, 0.18), "left_eye": (0.03, -0.08, 0.06),
    "left_ear": (0.07, 0, 0.04), "left_heel": (0, 0.05, -0.08), "left_big_toe": (-0.03, -0.06, 0),
    "left_small_toe": (0.04, -0.03, 0), "left_index": (0.09, -0.03, 0),
    "left_pinky": (0.08, 0.04, -0.01),
}  # fmt: skip


def build_rig() -> tuple[np.ndarray, np.ndarray]:
    """offsets (27, 3) and markers (31, 3) of the person of `REST`."""
    places = np.array(
        [
            REST[name] if name in REST else (-1, 1, 1) * np.array(REST["Left" + name[5:]])
            for name in NODES
        ]
    )
    offsets = places - np.where(np.array(NODE_PARENTS)[:, None] < 0, 0, places[NODE_PARENTS, :])
    offsets[0] = 0
    markers = np.zeros((31, 3))
    for joint, at in MARKERS.items():
        markers[BODY.index(joint)] = at
        if joint.startswith("left_"):
            markers[BODY.index("right_" + joint[5:])] = (-1, 1, 1) * np.array(at)
    return offsets, markers


def quaternion(axis: tuple[float, float, float], degrees: np.ndarray | float) -> np.ndarray:
    """(..., 4), w, x, y, z."""
    half = np.radians(np.asarray(degrees, dtype=float))[..., None] / 2
    return np.concatenate([np.cos(half), np.sin(half) * np.array(axis)], axis=-1)


def build_world(root: np.ndarray, rotations: np.ndarray, **changes) -> World:
    """The person of `REST` with the hips at root (T, 3), turned by rotations (T, 27, 4)."""
    offsets, markers = build_rig()
    values = {
        "points": rig_points(offsets, markers, root, rotations).astype(np.float32),
        "offsets": offsets,
        "markers": markers,
        "rotations": rotations.astype(np.float32),
        "contact": np.tile([True, False], (len(root), 1)),
        "camera_rotation": np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]]),
        "camera_position": np.array([0, 0, 1.4]),
    }
    return World(**{**values, **changes})


def build_walker(frames: int = 30, missing: tuple[int, ...] = (), **changes) -> Track3D:
    """Someone who walks a curve with random smooth turns of every node; away in `missing`."""
    rng = np.random.default_rng(1)
    time_s = np.arange(frames) / 25
    phases = rng.uniform(0, 2 * np.pi, (len(NODES), 3))
    swing = 0.35 * np.sin(2 * np.pi * 0.8 * time_s[:, None, None] + phases)  # (T, N, 3) radians
    rotations = np.concatenate([np.ones((*swing.shape[:2], 1)), swing], axis=-1)
    rotations[:, 0] = quaternion((0, 0, 1), 400 * time_s / max(time_s[-1], 1))
    for node, name in enumerate(NODES):
        if name.endswith("End"):
            rotations[:, node] = (1, 0, 0, 0)
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    root = np.stack([np.sin(time_s), 3 + time_s, 0.95 + 0.03 * np.cos(9 * time_s)], -1)
    world = build_world(root, rotations)
    points, turns = world.points.copy(), world.rotations.copy()
    points[list(missing)] = np.nan
    turns[list(missing)] = np.nan
    track = build_track_in(replace(world, points=points, rotations=turns))
    return replace(track, **changes)


def build_track_in(world: World) -> Track3D:
    """The track of a motion in the world, 25 frames per second."""
    frames = len(world.points)
    camera = (world.points - world.camera_position) @ world.camera_rotation.T
    return build_track(
        frames,
        joints_camera=camera[:, :17].astype(np.float32),
        points_camera=camera.astype(np.float32),
        confidence_3d=np.full((frames, 31), 0.75, np.float32),
        time_s=np.arange(frames) / 25,
        fps=25.0,
        world=world,
    )


def build_track(frames: int = 4, **changes) -> Track3D:
    """A seeded person whose left wrist is missing in frame 1 and who is away in the last frame."""
    rng = np.random.default_rng(0)
    joints = rng.normal((0, 0, 4), 0.5, size=(frames, 17, 3)).astype(np.float32)
    keypoints = rng.uniform(0, 1000, size=(frames, 17, 2)).astype(np.float32)
    confidence = rng.uniform(0.2, 1, size=(frames, 17)).astype(np.float32)
    if frames > 1:
        keypoints[1, 13] = np.nan
        confidence[1, 13] = 0
        joints[-1] = np.nan
        keypoints[-1] = np.nan
        confidence[-1] = 0
    derived = np.zeros(17, dtype=bool)
    derived[[0, 7, 8, 10]] = True
    values = {
        "person": 2,
        "joints_camera": joints,
        "confidence": confidence,
        "keypoints_2d": keypoints,
        "derived": derived,
        "time_s": np.arange(frames) / 29.97,
        "fps": 29.97,
        "image_size": (1280, 720),
        "focal_px": 1108.5,
        "metadata": {"model": "nanohtnet-243", "height_m": 1.75, "notes": ["ß", None]},
    }
    return Track3D(**{**values, **changes})


def build_pose(**turns: np.ndarray) -> Track3D:
    """The person of `REST` for two frames, upright 3 m before the camera and facing it, each named
    node turned by a quaternion."""
    rotations = np.tile([1.0, 0, 0, 0], (2, len(NODES), 1))
    for name, turn in turns.items():
        rotations[:, NODES.index(name)] = turn
    return build_track_in(build_world(np.tile([0, 3.0, 0.98], (2, 1)), rotations))


def compare_tracks(result: Track3D, expected: Track3D, atol: float = 0.0) -> None:
    for name in ("joints_camera", "keypoints_2d", "confidence", "derived", "time_s"):
        one, other = getattr(result, name), getattr(expected, name)
        places = {"keypoints_2d": 1e3, "confidence": 1e2}.get(name, 1.0) * atol
        np.testing.assert_allclose(one, other, rtol=0, atol=places, err_msg=name)
        assert one.dtype == other.dtype, name
    for name in ("person", "fps", "image_size", "focal_px", "metadata"):
        assert getattr(result, name) == getattr(expected, name)
    for name in ("points_camera", "confidence_3d"):
        compare_optional(getattr(result, name), getattr(expected, name), 1e2 * atol, name)
    assert (result.world is None) == (expected.world is None)
    if result.world is not None and expected.world is not None:
        for field in fields(World):
            one, other = getattr(result.world, field.name), getattr(expected.world, field.name)
            # Quaternions are of unit length again after reading: a last digit may differ.
            slack = 2e-7 if field.name == "rotations" else 0
            compare_optional(one, other, atol + slack, field.name)


def compare_optional(result, expected, atol: float, name: str) -> None:
    assert (result is None) == (expected is None), name
    if result is not None:
        np.testing.assert_allclose(result, expected, rtol=0, atol=atol, err_msg=name)


@pytest.fixture
def make_track() -> Callable[..., Track3D]:
    """make_track(frames=4, **fields of Track3D)"""
    return build_track


@pytest.fixture
def assert_same_track() -> Callable[..., None]:
    """assert_same_track(result, expected, atol=0.0); atol in metres, other units in proportion."""
    return compare_tracks


@pytest.fixture
def make_walker() -> Callable[..., Track3D]:
    """make_walker(frames=30, missing=(), **fields of Track3D): with a motion in the world."""
    return build_walker


@pytest.fixture
def left_arm_raised() -> Track3D:
    """A person of 1.80 m 3 m before the camera, facing it, the left arm straight up. Then the left
    shoulder is at (0.18, 3, 1.48) in the world, and the wrist 0.56 m above it: (0.18, 3, 2.04)."""
    return build_pose(LeftArm=quaternion((0, 1, 0), -90))
