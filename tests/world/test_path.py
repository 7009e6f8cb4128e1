"""Constant bones, and the path of the root, on made-up motion whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.bones import bone_lengths, bones, from_bones, with_lengths
from lithepose.skeletons import SKELETONS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion
from lithepose.world import path as world
from lithepose.world.path import fit_root_path

# World axes (x, y, z up) to camera axes of a level camera that looks along +y.
TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])


def walker(seconds: float = 2.0, fps: float = 25.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Joints (T, 17, 3) in camera axes four metres away, their exact rays and the time stamps."""
    random = np.random.default_rng(3)
    joints = motion("walk", seconds, fps, random_body(random), random)
    joints = joints @ TO_CAMERA.T + (0.4, 1.2, 4.0)
    return joints, joints[..., :2] / joints[..., 2:], np.arange(len(joints)) / fps


def relative(joints: np.ndarray) -> np.ndarray:
    return joints - joints[:, :1]


# --- bones ------------------------------------------------------------------------------------


def test_joints_come_back_from_their_bones():
    joints, _, _ = walker()
    np.testing.assert_allclose(from_bones(joints[:, 0], bones(joints)), joints, atol=1e-12)
    assert not bones(joints)[:, 0].any()


def test_lengths_are_medians_over_frames_with_both_sides_averaged():
    joints, _, _ = walker()
    truth = np.linalg.norm(bones(joints), axis=-1)[0]
    wrong = joints.copy()
    wrong[::10, 3] += 0.5  # a right ankle that is far off in a tenth of the frames
    wrong[5] = np.nan
    np.testing.assert_allclose(bone_lengths(wrong), truth, atol=1e-3)
    longer = joints.copy()
    longer[:, 6] += 0.10 * (joints[:, 6] - joints[:, 5])  # the left shin 10 % longer: 5 % for both
    lengths = bone_lengths(longer)
    assert lengths[3] == lengths[6] == pytest.approx(1.05 * truth[3])


def test_lengths_of_a_clip_without_anybody_are_nan():
    assert np.isnan(bone_lengths(np.full((3, 17, 3), np.nan))).all()
    assert np.isnan(bone_lengths(np.empty((0, 17, 3)))).all()


def test_bones_become_constant_and_the_same_on_both_sides():
    joints, _, _ = walker()
    noisy = relative(joints + np.random.default_rng(0).normal(0, 0.02, joints.shape))
    noisy[4] = np.nan
    lengths = bone_lengths(noisy)
    steady = with_lengths(noisy, lengths)
    found = np.linalg.norm(bones(steady), axis=-1)
    assert np.isnan(steady[4]).all()
    rest = np.delete(np.arange(len(steady)), 4)
    np.testing.assert_allclose(found[rest], np.broadcast_to(lengths, found[rest].shape), atol=1e-9)
    np.testing.assert_allclose(lengths, lengths[list(SKELETONS["h36m17"].mirror)], atol=1e-12)
    # Hips and shoulders stay on one line through the middle between them.
    np.testing.assert_allclose((steady[rest, 1] + steady[rest, 4]) / 2, steady[rest, 0], atol=1e-9)
    middle = (steady[rest, 11] + steady[rest, 14]) / 2
    np.testing.assert_allclose(middle, steady[rest, 8], atol=1e-9)


def test_lengths_that_a_body_already_has_change_nothing():
    poses = relative(walker()[0])
    np.testing.assert_allclose(with_lengths(poses, bone_lengths(poses)), poses, atol=2e-3)


def test_a_bone_without_length_stays_without_direction():
    poses = relative(walker()[0])
    poses[0, 3] = poses[0, 2]
    steady = with_lengths(poses, bone_lengths(poses))
    np.testing.assert_allclose(steady[0, 3], steady[0, 2])


# --- the linear system ------------------------------------------------------------------------


def test_the_block_solver_agrees_with_a_dense_one():
    random = np.random.default_rng(1)
    count, size = 6, 3
    upper = random.normal(size=(count - 1, size, size))
    diagonal = random.normal(size=(count, size, size))
    diagonal = diagonal @ np.swapaxes(diagonal, 1, 2) + 12 * np.eye(size)
    right = random.normal(size=(count, size))
    dense = np.zeros((count * size, count * size))
    for i in range(count):
        here = slice(i * size, (i + 1) * size)
        dense[here, here] = diagonal[i]
        if i + 1 < count:
            after = slice((i + 1) * size, (i + 2) * size)
            dense[here, after], dense[after, here] = upper[i], upper[i].T
    expected = np.linalg.solve(dense, right.ravel()).reshape(count, size)
    kept = diagonal.copy(), right.copy()
    np.testing.assert_allclose(world.solve_block_tridiagonal(diagonal, upper, right), expected)
    np.testing.assert_array_equal(diagonal, kept[0])
    np.testing.assert_array_equal(right, kept[1])


@pytest.mark.parametrize("frames", [3, 4, 7, 8])
def test_the_smooth_path_minimises_its_sum(frames: int):
    random = np.random.default_rng(frames)
    normal = random.normal(size=(frames, 3, 3))
    normal = normal @ np.swapaxes(normal, 1, 2) + 0.1 * np.eye(3)
    right = random.normal(size=(frames, 3))
    difference = np.zeros((frames - 2, frames))
    for t in range(frames - 2):
        difference[t, t : t + 3] = random.uniform(1, 5) * np.array([0.7, -1.6, 0.9])
    tie = random.uniform(0, 3, frames - 1) * (random.random(frames - 1) < 0.5)
    step = random.normal(size=(frames - 1, 3))
    first = np.eye(frames, k=1)[:-1] - np.eye(frames)[:-1]  # x[t + 1] - x[t]
    dense = np.kron(difference.T @ difference + first.T @ np.diag(tie) @ first, np.eye(3))
    pulled = right + first.T @ (tie[:, None] * step)
    for t in range(frames):
        dense[3 * t : 3 * t + 3, 3 * t : 3 * t + 3] += normal[t]
    expected = np.linalg.solve(dense, pulled.ravel()).reshape(frames, 3)
    triples = np.stack([difference[t, t : t + 3] for t in range(frames - 2)])
    found = world._smooth_path(normal, right, triples, tie, step)
    np.testing.assert_allclose(found, expected, atol=1e-9)


# --- the path ---------------------------------------------------------------------------------


def test_exact_projections_give_the_exact_path():
    joints, rays, time_s = walker()
    root = fit_root_path(relative(joints), rays, np.ones(rays.shape[:2]), time_s)
    error = np.linalg.norm(root - joints[:, 0], axis=-1)
    assert error.max() < 0.01
    assert np.median(error) < 0.005


def test_the_focal_length_scales_the_distance_alone():
    joints, rays, time_s = walker()
    sure = np.ones(rays.shape[:2])
    root = fit_root_path(relative(joints), rays / 1.5, sure, time_s)  # a lens 1.5 times as long
    assert np.median(root[:, 2] / joints[:, 0, 2]) == pytest.approx(1.5, rel=0.03)
    across = np.median(root[:, :2] - joints[:, 0, :2], axis=0)
    assert np.abs(across).max() < 0.1


def test_joints_that_are_far_off_hardly_move_the_path():
    joints, rays, time_s = walker()
    rays = rays.copy()
    rays[10:30, 16] += 0.4  # a wrist 1.6 m off for 20 frames
    rays[40, 3] += 0.5
    root = fit_root_path(relative(joints), rays, np.ones(rays.shape[:2]), time_s)
    error = np.linalg.norm(root - joints[:, 0], axis=-1)
    # Least squares would be off by 1.8 m, nearly all of it in depth.
    assert error.max() < 0.4
    assert np.abs(root - joints[:, 0])[:, :2].max() < 0.04
    assert error[40] < 0.06


def test_noise_in_single_frames_is_smoothed_away():
    joints, rays, time_s = walker()
    random = np.random.default_rng(5)
    noisy = rays + random.normal(0, 0.006, rays.shape)  # about 2.5 cm at this distance
    sure = np.ones(rays.shape[:2])
    root = fit_root_path(relative(joints), noisy, sure, time_s)
    alone = np.concatenate(
        [
            fit_root_path(relative(joints)[t, None], noisy[t, None], sure[t, None], time_s[t, None])
            for t in range(len(joints))
        ]
    )

    def depth_error(path: np.ndarray) -> float:
        return float(np.abs(path[:, 2] - joints[:, 0, 2]).mean())

    assert depth_error(root) < 0.6 * depth_error(alone)


def test_steady_motion_costs_nothing_also_when_frames_come_unevenly():
    joints, _, _ = walker(seconds=1.2)
    poses = np.repeat(relative(joints)[:1], len(joints), axis=0)
    time_s = np.cumsum(np.tile([0.02, 0.06], len(poses) // 2))
    truth = np.array([-1.0, 0.9, 4.0]) + time_s[:, None] * (1.5, 0.0, -1.0)
    placed = poses + truth[:, None]
    rays = placed[..., :2] / placed[..., 2:]
    weak = np.full(rays.shape[:2], 0.01)  # so that the path is held by its steadiness
    root = fit_root_path(poses, rays, weak, time_s)
    np.testing.assert_allclose(root, truth, atol=1e-3)


def test_frames_without_joints_lean_on_their_neighbours():
    joints, rays, time_s = walker()
    sure = np.ones(rays.shape[:2])
    sure[20:24] = 0
    rays = rays.copy()
    rays[20:24] = np.nan
    root = fit_root_path(relative(joints), rays, sure, time_s)
    assert np.isfinite(root).all()
    assert np.linalg.norm(root - joints[:, 0], axis=-1).max() < 0.05


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_clips_of_few_frames_have_a_path(frames: int):
    joints, rays, time_s = (part[:frames] for part in walker())
    root = fit_root_path(relative(joints), rays, np.ones(rays.shape[:2]), time_s)
    np.testing.assert_allclose(root, joints[:, 0], atol=0.01)


def test_nobody_is_placed_behind_the_camera():
    joints, rays, time_s = walker()
    # Rays of a person seen upside down and mirrored: only a place behind the camera fits.
    root = fit_root_path(relative(joints), -5 * rays, np.ones(rays.shape[:2]), time_s)
    assert np.isfinite(root).all()
    assert (root[:, 2] >= 0.3).all()
