"""Errors of 3D poses."""

from __future__ import annotations

import json

import numpy as np
import pytest

from lithepose.metrics.pose3d import (
    acceleration_error,
    align_similarity,
    auc,
    auc_by_millimetre,
    end_joint_error,
    joint_errors,
    limb_steps,
    mpjpe,
    mpjve,
    n_mpjpe,
    p_mpjpe,
    pck,
    root_relative,
    step_errors,
)
from lithepose.rotations import from_quaternions
from lithepose.skeletons import SKELETONS

ERRORS = [mpjpe, n_mpjpe, p_mpjpe, mpjve, acceleration_error]
SCORES = [pck, auc, auc_by_millimetre]
METRICS = [*ERRORS, *SCORES]


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


@pytest.mark.parametrize("metric", ERRORS)
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
    rotation = from_quaternions(rng.normal(size=(20, 4)))
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


@pytest.mark.parametrize("metric", [mpjpe, n_mpjpe, p_mpjpe, *SCORES])
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


def test_pck_and_auc_of_a_case_worked_out_by_hand():
    # Errors of 0, 149, 150 and 400 mm. Below 150 mm: two of four. An error of 0 is below 30 of the
    # 31 thresholds 0, 5, ..., 150, one of 149 below 150 alone, one of 150 below none: 31 of 124.
    # Of 0, 1, ..., 149 an error of 0 is below 149, one of 149 below none: 149 of 600.
    predicted = np.zeros((4, 3))
    predicted[:, 2] = 0, 0.149, 0.150, 0.4
    target = np.zeros((4, 3))
    assert pck(predicted, target) == pytest.approx(50)
    assert pck(predicted, target, 0.1) == pytest.approx(25)
    assert pck(predicted, target, 0.151) == pytest.approx(75)
    assert auc(predicted, target) == pytest.approx(100 * 31 / 124)
    assert auc_by_millimetre(predicted, target) == pytest.approx(100 * 149 / 600)


def test_perfect_scores_are_those_of_the_thresholds():
    target = poses(3)
    np.testing.assert_allclose(pck(target, target), 100)
    # Nothing is below the threshold 0.
    np.testing.assert_allclose(auc(target, target), 96.774, atol=1e-3)
    np.testing.assert_allclose(auc_by_millimetre(target, target), 99.333, atol=1e-3)


def test_auc_is_the_mean_of_pck_over_its_thresholds():
    target = poses(30) / 4
    predicted = target + poses(30, seed=1) / 20
    curve = [pck(predicted, target, threshold / 1000) for threshold in range(5, 151, 5)]
    np.testing.assert_allclose(auc(predicted, target), np.sum(curve, axis=0) / 31)
    curve = [pck(predicted, target, threshold / 1000) for threshold in range(1, 150)]
    np.testing.assert_allclose(auc_by_millimetre(predicted, target), np.sum(curve, axis=0) / 150)


def test_scores_are_bounded_and_fall_as_poses_get_worse():
    target = poses(50) / 4
    noise = poses(50, seed=1)
    for score in SCORES:
        values = [score(target + size * noise, target) for size in (0, 0.01, 0.03, 0.1, 1)]
        assert (np.diff(values, axis=0) <= 0).all()
        assert np.min(values) >= 0
        assert np.max(values) <= 100
    below = [pck(target + 0.05 * noise, target, threshold) for threshold in (0.02, 0.05, 0.1, 0.2)]
    assert (np.diff(below, axis=0) >= 0).all()


def test_every_metric_is_the_mean_over_joints_of_its_table_by_joint():
    predicted, target = poses(5), poses(5, seed=1)
    aligned = align_similarity(predicted, target)
    errors = joint_errors(predicted, target)
    assert errors.shape == (5, 17)
    np.testing.assert_allclose(mpjpe(predicted, target), errors.mean(axis=-1))
    np.testing.assert_allclose(p_mpjpe(predicted, target), joint_errors(aligned, target).mean(-1))
    np.testing.assert_allclose(mpjve(predicted, target), step_errors(predicted, target, 1).mean(-1))
    np.testing.assert_allclose(
        acceleration_error(predicted, target), step_errors(predicted, target, 2).mean(-1)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_joints_does_not_matter(metric):
    predicted, target = poses(4), poses(4, seed=1)
    order = np.random.default_rng(3).permutation(17)
    np.testing.assert_allclose(
        metric(predicted[:, order], target[:, order]), metric(predicted, target), rtol=1e-10
    )


@pytest.mark.parametrize("metric", METRICS)
def test_turning_both_poses_alike_changes_nothing(metric):
    predicted, target = poses(4), poses(4, seed=1)
    rotation = from_quaternions(np.array([0.5, -0.1, 0.7, 0.3]))
    np.testing.assert_allclose(
        metric(predicted @ rotation.T, target @ rotation.T), metric(predicted, target), rtol=1e-10
    )


@pytest.mark.parametrize("metric", ERRORS)
def test_errors_have_the_unit_of_the_poses(metric):
    predicted, target = poses(4), poses(4, seed=1)
    np.testing.assert_allclose(
        metric(1000 * predicted, 1000 * target), 1000 * metric(predicted, target)
    )


@pytest.mark.parametrize("metric", METRICS)
def test_joints_that_do_not_count_are_as_if_they_were_not_there(metric):
    predicted, target = poses(6) / 10, poses(6, seed=1) / 10
    counted = [0, 2, 3, 5, 6, 9, 11]
    valid = np.zeros((6, 17), dtype=bool)
    valid[:, counted] = True
    expected = metric(predicted[:, counted], target[:, counted])
    predicted[~valid] = np.nan
    target[~valid] = 1e6
    np.testing.assert_allclose(metric(predicted, target, valid=valid), expected, rtol=1e-10)


@pytest.mark.parametrize("metric", METRICS)
def test_a_mask_of_all_joints_changes_nothing(metric):
    predicted, target = poses(6), poses(6, seed=1)
    everything = np.ones((6, 17), dtype=bool)
    np.testing.assert_array_equal(
        metric(predicted, target, valid=everything), metric(predicted, target)
    )


@pytest.mark.parametrize("metric", [mpjpe, n_mpjpe, p_mpjpe, *SCORES])
def test_a_pose_of_which_nothing_counts_is_nan_and_not_perfect(metric):
    valid = np.ones((4, 17), dtype=bool)
    valid[1] = False
    result = metric(poses(4), poses(4), valid=valid)
    assert np.isnan(result).tolist() == [False, True, False, False]


def test_a_step_counts_where_its_joint_counts_in_all_its_frames():
    # Two joints over four frames, the truth stands still. Joint 0 is at x = 0, 1, 3, 6 and joint 1
    # at 0, 10, 10, 10, but frame 1 of joint 1 does not count: its steps 0-1 and 1-2 fall out.
    predicted = np.zeros((4, 2, 3))
    predicted[:, 0, 0] = 0, 1, 3, 6
    predicted[:, 1, 0] = 0, 10, 10, 10
    valid = np.ones((4, 2), dtype=bool)
    valid[1, 1] = False
    target = np.zeros((4, 2, 3))
    np.testing.assert_allclose(mpjve(predicted, target, valid=valid), [1, 2, (3 + 0) / 2])
    # Second differences of joint 0: 1, 1; of joint 1 none that avoids frame 1.
    np.testing.assert_allclose(acceleration_error(predicted, target, valid=valid), [1, 1])


def test_the_ends_of_the_limbs_are_ankles_and_wrists():
    h36m = SKELETONS["h36m17"]
    assert limb_steps(h36m) == (0, 1, 2, 3, 1, 2, 3, 0, 0, 0, 0, 1, 2, 3, 1, 2, 3)
    predicted = np.zeros((17, 3))
    # Only joints 3, 6, 13 and 16 count: (1 + 2 + 3 + 6) / 4.
    predicted[[3, 6, 13, 16], 0] = 1, 2, 3, 6
    predicted[[2, 5, 10], 1] = 100
    assert end_joint_error(predicted, np.zeros((17, 3)), h36m) == pytest.approx(3)
    valid = np.ones(17, dtype=bool)
    valid[16] = False
    assert end_joint_error(predicted, np.zeros((17, 3)), h36m, valid=valid) == pytest.approx(2)


@pytest.mark.parametrize("name", ["mpi_inf_3dhp17", "humaneva15", "coco17", "lithepose31"])
def test_every_joint_set_has_the_same_four_ends(name):
    skeleton = SKELETONS[name]
    ends = {skeleton.joints[j] for j, steps in enumerate(limb_steps(skeleton)) if steps == 3}
    assert ends == {"left_ankle", "right_ankle", "left_wrist", "right_wrist"}


@pytest.mark.shared
def test_metrics_agree_with_the_recorded_values_of_the_authors_code(shared):
    with np.load(shared("golden/losses-video.npz"), allow_pickle=False) as recorded:
        values = json.loads(str(recorded["meta"]))["values"]
        predicted, target = recorded["pred"], recorded["target"]
        assert mpjpe(predicted, target).mean() == pytest.approx(values["mpjpe"], rel=1e-4)
        assert n_mpjpe(predicted, target).mean() == pytest.approx(values["mb_n_mpjpe"], rel=1e-4)
        assert mpjve(predicted, target).mean() == pytest.approx(values["mb_velocity"], rel=1e-4)
        aligned = p_mpjpe(recorded["pred64"], recorded["target64"])
        np.testing.assert_allclose(aligned.ravel(), recorded["p_mpjpe"], rtol=1e-9)


def test_metrics_name_a_mask_that_does_not_fit():
    with pytest.raises(ValueError, match=r"shape \(5, 17\).*found bool of shape \(5,\)"):
        mpjpe(poses(5), poses(5), valid=np.ones(5, dtype=bool))
    with pytest.raises(ValueError, match="found float64"):
        pck(poses(5), poses(5), valid=np.ones((5, 17)))


def test_pck_and_end_joints_name_what_they_cannot_use():
    with pytest.raises(ValueError, match="above 0 metres; found 0"):
        pck(poses(1), poses(1), 0)
    with pytest.raises(ValueError, match="humaneva15 has 15 joints, the poses 17"):
        end_joint_error(poses(1), poses(1), SKELETONS["humaneva15"])
