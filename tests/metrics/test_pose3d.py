"""Errors of 3D poses."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.cameras import rotation_from_quaternion
from lithepose.metrics.pose3d import (
    acceleration_error,
    align_similarity,
    mpjpe,
    mpjve,
    n_mpjpe,
    p_mpjpe,
    root_relative,
)

METRICS = [mpjpe, n_mpjpe, p_mpjpe, mpjve, acceleration_error]


def poses(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(*shape, 17, 3))


def naive_p_mpjpe(predicted: np.ndarray, target: np.ndarray) -> float:
    """The definition for one pose, step by step as the protocol writes it."""
    mean_p, mean_g = predicted.mean(axis=0), target.mean(axis=0)
    p, g = predicted - mean_p, target - mean_g
    norm_p, norm_g = np.sqrt((p**2).sum()), np.sqrt((g**2).sum())
    u, s, vt = np.linalg.svd((g / norm_g).T @ (p / norm_p))
    v = vt.T
    if np.linalg.det(v @ u.T) < 0:
        v[:, -1] *= -1
        s[-1] *= -1
    rotation = v @ u.T
    scale = s.sum() * norm_g / norm_p
    aligned = scale * predicted @ rotation + mean_g - scale * mean_p @ rotation
    return float(np.mean([np.linalg.norm(a - b) for a, b in zip(aligned, target, strict=True)]))


def test_mpjpe_of_a_case_worked_out_by_hand():
    # Joint distances 5 (a 3-4-5 triangle), 1 and 0: mean 2.
    predicted = np.array([[3.0, 4, 0], [0, 0, 1], [2, 2, 2]])
    target = np.array([[0.0, 0, 0], [0, 0, 0], [2, 2, 2]])
    assert mpjpe(predicted, target) == pytest.approx(2.0)


def test_n_mpjpe_of_a_case_worked_out_by_hand():
    # <p, g> / <p, p> = (1*2 + 1*4) / 2 = 3: scaled to (3, 3) against (2, 4), distances 1 and 1.
    predicted = np.array([[1.0, 0, 0], [0, 1, 0]])
    target = np.array([[2.0, 0, 0], [0, 4, 0]])
    assert n_mpjpe(predicted, target) == pytest.approx(1.0)


def test_mpjve_and_acceleration_of_a_case_worked_out_by_hand():
    # One joint, standing still in truth; predicted at x = 0, 1, 4: steps 1 and 3, their change 2.
    predicted = np.zeros((3, 1, 3))
    predicted[:, 0, 0] = 0, 1, 4
    target = np.zeros((3, 1, 3))
    np.testing.assert_allclose(mpjve(predicted, target), [1, 3])
    np.testing.assert_allclose(acceleration_error(predicted, target), [2])


@pytest.mark.parametrize("metric", METRICS)
def test_a_perfect_prediction_has_no_error(metric):
    target = poses(2, 5)
    np.testing.assert_allclose(metric(target, target), 0, atol=1e-12)


@pytest.mark.parametrize("metric", METRICS)
def test_a_pose_has_the_same_error_alone_and_in_a_batch(metric):
    predicted, target = poses(3, 4, 6), poses(3, 4, 6, seed=1)
    batch = metric(predicted, target)
    np.testing.assert_allclose(batch[1, 2], metric(predicted[1, 2], target[1, 2]), rtol=1e-12)


def test_p_mpjpe_agrees_with_the_definition_pose_by_pose():
    predicted, target = poses(40), poses(40, seed=1)
    predicted[::2] = target[::2] + 0.1 * predicted[::2]  # near and far
    expected = [naive_p_mpjpe(p, g) for p, g in zip(predicted, target, strict=True)]
    np.testing.assert_allclose(p_mpjpe(predicted, target), expected, rtol=1e-10)


def test_p_mpjpe_is_blind_to_similarity_transforms():
    target = poses(20)
    rng = np.random.default_rng(2)
    rotation = rotation_from_quaternion(rng.normal(size=(20, 4)))
    scale, shift = rng.uniform(0.1, 10, size=(20, 1, 1)), rng.normal(size=(20, 1, 3))
    moved = scale * np.einsum("nij,nkj->nki", rotation, target) + shift
    np.testing.assert_allclose(p_mpjpe(moved, target), 0, atol=1e-12)
    np.testing.assert_allclose(align_similarity(moved, target), target, atol=1e-12)
    # And it doesn't depend on how the prediction was placed.
    predicted = poses(20, seed=3)
    moved = scale * np.einsum("nij,nkj->nki", rotation, predicted) + shift
    np.testing.assert_allclose(p_mpjpe(moved, target), p_mpjpe(predicted, target), rtol=1e-10)


def test_p_mpjpe_does_not_mirror():
    target = poses(20)
    assert (p_mpjpe(target * (-1, 1, 1), target) > 0.1).all()


def test_n_mpjpe_is_blind_to_scale_and_mpjpe_is_not():
    target = root_relative(poses(20))
    np.testing.assert_allclose(n_mpjpe(2 * target, target), 0, atol=1e-12)
    assert (mpjpe(2 * target, target) > 0.1).all()


def test_alignment_lowers_the_squared_error_and_keeps_order():
    # The least-squares fits can't lose against the identity in the sum of squares.
    predicted, target = poses(50), poses(50, seed=1)
    squares = ((predicted - target) ** 2).sum(axis=(-2, -1))
    aligned = ((align_similarity(predicted, target) - target) ** 2).sum(axis=(-2, -1))
    assert (aligned <= squares + 1e-12).all()


def test_degenerate_poses_have_finite_errors():
    target = poses(1)[0]
    spread = np.linalg.norm(target - target.mean(axis=0), axis=-1).mean()
    collapsed = np.ones_like(target)
    assert p_mpjpe(collapsed, target) == pytest.approx(spread)
    assert p_mpjpe(target, collapsed) == pytest.approx(0)
    assert n_mpjpe(np.zeros_like(target), target) == pytest.approx(
        np.linalg.norm(target, axis=-1).mean()
    )
    # All joints on one line, stretched and turned: still a similarity of the other.
    line = np.arange(17.0)[:, None] * np.array([1.0, 2.0, -1.0])
    turned = np.arange(17.0)[:, None] * np.array([0.0, 3.0, 0.5]) + 4
    assert p_mpjpe(turned, line) == pytest.approx(0, abs=1e-10)
    flat = target * (1, 1, 0)
    assert p_mpjpe(flat * 3 + 1, flat) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("metric", [mpjpe, n_mpjpe, p_mpjpe])
def test_a_missing_joint_makes_that_pose_nan_and_no_other(metric):
    predicted, target = poses(4), poses(4, seed=1)
    predicted[2, 5] = np.nan
    assert np.isnan(metric(predicted, target)).tolist() == [False, False, True, False]


def test_velocity_errors_ignore_a_constant_offset():
    target = poses(6)
    np.testing.assert_allclose(mpjve(target + 3, target), 0, atol=1e-12)
    np.testing.assert_allclose(acceleration_error(target + 3, target), 0, atol=1e-12)


def test_float32_input_is_computed_in_float64():
    predicted = poses(3).astype(np.float32)
    assert p_mpjpe(predicted, poses(3, seed=1)).dtype == np.float64


@pytest.mark.parametrize("metric", METRICS)
def test_metrics_reject_shapes_that_would_broadcast(metric):
    with pytest.raises(ValueError, match=r"same shape.*found \(5, 17, 3\) and \(17, 3\)"):
        metric(poses(5), poses())
    with pytest.raises(ValueError, match=r"J, 3\); found \(5, 17, 2\)"):
        metric(poses(5)[..., :2], poses(5)[..., :2])
    with pytest.raises(ValueError, match="without joints"):
        metric(poses(5)[:, :0], poses(5)[:, :0])


def test_metrics_over_time_name_the_frames_they_need():
    with pytest.raises(ValueError, match="at least 2 frames; found 1"):
        mpjve(poses(1), poses(1))
    with pytest.raises(ValueError, match="at least 3 frames; found 2"):
        acceleration_error(poses(2), poses(2))
