"""Errors and scores of 3D poses, one value per pose.

What all functions of two poses share: `predicted` and `target` are (..., J, 3), of one shape, unit
and axes, both already relative to the same root. `valid`, (..., J) booleans, marks the joints that
count, in the mean as in an alignment; all do without it, and what the others hold is never read.
The result has the leading axes and the unit of the inputs; scores (PCK, AUC) read metres and are
percent. A pose without a joint that counts is nan, as is one with a missing (nan) joint that
counts. ValueError: the shapes differ (broadcasting would hide the mistake). Each function says what
is otherwise. Everything is computed in float64.

Averages over frames, sequences and actions belong to the protocols, each of which averages its own
way (`lithepose.metrics.evaluate`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from lithepose.arrays import Flags, Floats
from lithepose.skeletons import Skeleton

PCK_THRESHOLD_M = 0.150
# The official thresholds of MPI-INF-3DHP, and those of the code of GraphMLP and NanoHTNet. Divided
# after the fact, so that each is the number nearest to its decimal.
AUC_THRESHOLDS_M = np.arange(0, 151, 5) / 1000
AUC_MILLIMETRE_THRESHOLDS_M = np.arange(0, 150, 1) / 1000


def _pair(
    predicted: ArrayLike, target: ArrayLike, valid: ArrayLike | None = None, frames: int = 0
) -> tuple[Floats, Floats, Flags]:
    """Both poses in float64 and which joints count, after checking that they fit. `frames` is the
    number of frames that a metric over time needs, 0 for a metric of single poses."""
    predicted = np.asarray(predicted, dtype=np.float64)
    target = np.asarray(target, dtype=np.float64)
    if predicted.shape != target.shape:
        raise ValueError(
            "predicted and target must have the same shape, broadcasting would hide a mistake; "
            f"found {predicted.shape} and {target.shape}"
        )
    expected = "(..., T, J, 3)" if frames else "(..., J, 3)"
    if predicted.ndim < (3 if frames else 2) or predicted.shape[-1] != 3:
        raise ValueError(f"poses must be {expected}; found {predicted.shape}")
    if predicted.shape[-2] == 0:
        raise ValueError(f"poses without joints have no error; found {predicted.shape}")
    if frames and predicted.shape[-3] < frames:
        raise ValueError(f"needs at least {frames} frames; found {predicted.shape[-3]}")
    if valid is None:
        return predicted, target, np.ones(predicted.shape[:-1], dtype=bool)
    valid = np.asarray(valid)
    if valid.dtype != bool or valid.shape != predicted.shape[:-1]:
        raise ValueError(
            f"valid must be booleans of shape {predicted.shape[:-1]}, one for each joint; "
            f"found {valid.dtype} of shape {valid.shape}"
        )
    return predicted, target, valid


def _joint_distance(first: Floats, second: Floats, valid: Flags) -> Floats:
    return np.where(valid, np.linalg.norm(first - second, axis=-1), np.nan)


def _mean_of_joints(values: Floats, valid: Flags) -> Floats:
    """Mean over the joints that count: (..., J) to (...)."""
    count = valid.sum(axis=-1)
    # 0 of nothing would look like a perfect pose.
    return np.where(valid, values, 0.0).sum(axis=-1) / np.where(count > 0, count, np.nan)


def root_relative(poses: ArrayLike, root: int = 0) -> Floats:
    """Poses (..., J, 3) with joint `root` of each moved to the origin."""
    poses = np.asarray(poses)
    return poses - poses[..., root : root + 1, :]


def joint_errors(
    predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None
) -> Floats:
    """Position error of every joint, (..., J), nan for joints that do not count: what tables by
    joint and all of PCK and AUC are made of.
    """
    return _joint_distance(*_pair(predicted, target, valid))


def mpjpe(predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None) -> Floats:
    """Mean per-joint position error of each pose ("protocol 1" on Human3.6M).

    Source: Ionescu et al., Human3.6M, TPAMI 2014.
    """
    predicted, target, valid = _pair(predicted, target, valid)
    return _mean_of_joints(_joint_distance(predicted, target, valid), valid)


def align_scale(
    predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None
) -> Floats:
    """Each predicted pose after the scale about the common root that brings it closest to its
    target, in the sum of squared joint distances of the joints that count.

    Args:
        predicted: (..., J, 3), any unit.

    Returns:
        (..., J, 3), in the unit of `target`. A pose with all joints at the root has nothing to
        scale and stays.

    Source: Rhodin et al., Unsupervised geometry-aware representation for 3D human pose estimation,
    ECCV 2018.
    """
    predicted, target, valid = _pair(predicted, target, valid)
    counted = valid[..., None]
    size = np.where(counted, predicted**2, 0.0).sum(axis=(-2, -1), keepdims=True)
    product = np.where(counted, predicted * target, 0.0).sum(axis=(-2, -1), keepdims=True)
    # != keeps nan: only an exact zero is replaced.
    return product / np.where(size != 0, size, 1.0) * predicted


def n_mpjpe(predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None) -> Floats:
    """MPJPE after the best scale of each predicted pose, about the common root; `predicted` may be
    in any unit. A predicted pose with all joints at the root has the size of the target as error.

    Source: as `align_scale`; "protocol 3" of VideoPose3D, which others use for MPJVE.
    """
    return mpjpe(align_scale(predicted, target, valid=valid), target, valid=valid)


def align_similarity(
    predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None
) -> Floats:
    """Each predicted pose after the scale, rotation and shift that bring it closest to its target.

    Closest in the sum of squared joint distances (Procrustes analysis); the rotation never mirrors.

    Args:
        predicted: (..., J, 3), any unit, axes and root.

    Returns:
        (..., J, 3), in the axes and unit of `target`. Joints on one line or at one point leave the
        rotation open; one of the equally good ones is taken. A predicted pose with all joints at
        one point lands on the mean of the target. nan for a pose with a missing joint among those
        that count, and for joints that do not count.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point
    patterns, TPAMI 1991.
    """
    predicted, target, valid = _pair(predicted, target, valid)
    seen = np.isfinite(predicted).all(axis=-1) & np.isfinite(target).all(axis=-1)
    whole = np.asarray((seen | ~valid).all(axis=-1) & valid.any(axis=-1))
    counted = (valid & whole[..., None])[..., None]  # (..., J, 1)
    # LAPACK refuses a whole batch for one nan.
    predicted, target = np.where(counted, predicted, 0.0), np.where(counted, target, 0.0)

    count = np.maximum(counted.sum(axis=-2, keepdims=True), 1)
    predicted_mean = predicted.sum(axis=-2, keepdims=True) / count
    target_mean = target.sum(axis=-2, keepdims=True) / count
    # Joints that do not count are put on the mean, where they pull nowhere.
    predicted_shape = np.where(counted, predicted - predicted_mean, 0.0)
    target_shape = np.where(counted, target - target_mean, 0.0)
    predicted_size = np.linalg.norm(predicted_shape, axis=(-2, -1), keepdims=True)
    target_size = np.linalg.norm(target_shape, axis=(-2, -1), keepdims=True)
    predicted_shape = predicted_shape / np.where(predicted_size > 0, predicted_size, 1.0)
    target_shape = target_shape / np.where(target_size > 0, target_size, 1.0)

    covariance = np.swapaxes(target_shape, -1, -2) @ predicted_shape  # (..., 3, 3)
    u, strength, vt = np.linalg.svd(covariance)
    # The best orthogonal matrix may mirror; then the weakest axis is turned round.
    handedness = np.where(np.linalg.det(u) * np.linalg.det(vt) < 0, -1.0, 1.0)
    vt[..., 2, :] *= handedness[..., None]
    strength[..., 2] *= handedness
    rotation = np.swapaxes(vt, -1, -2) @ np.swapaxes(u, -1, -2)  # acts on rows
    scale = strength.sum(axis=-1)[..., None, None] * target_size
    aligned = scale * (predicted_shape @ rotation) + target_mean
    return np.where(counted, aligned, np.nan)


def p_mpjpe(predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None) -> Floats:
    """MPJPE after the best similarity transform of each predicted pose ("protocol 2", PA-MPJPE);
    `predicted` may be in any unit, axes and root. See `align_similarity` for degenerate poses.

    Source: Bogo et al., Keep it SMPL, ECCV 2016; the definition with scale, as all tables of video
    lifting models use it.
    """
    return mpjpe(align_similarity(predicted, target, valid=valid), target, valid=valid)


def step_errors(
    predicted: ArrayLike, target: ArrayLike, order: int, *, valid: ArrayLike | None = None
) -> Floats:
    """Error of every joint's difference of that order in time: 1 velocity, 2 acceleration.

    Args:
        predicted, target: (..., T, J, 3), consecutive frames of one sequence, T above `order`.
        order: how often the difference between one frame and the next is taken.
        valid: (..., T, J); a difference counts where its joint counts in all frames it reads.

    Returns:
        (..., T - order, J), in the unit of the inputs per frame (squared for `order` 2); nan for
        differences that do not count.

    Raises:
        ValueError: the shapes differ, or there are too few frames.
    """
    predicted, target, valid = _pair(predicted, target, valid, frames=order + 1)
    own, true = np.diff(predicted, order, axis=-3), np.diff(target, order, axis=-3)
    return _joint_distance(own, true, _steps_that_count(valid, order))


def _steps_that_count(valid: Flags, order: int) -> Flags:
    for _ in range(order):
        valid = valid[..., 1:, :] & valid[..., :-1, :]
    return valid


def _step_error(
    predicted: ArrayLike, target: ArrayLike, order: int, valid: ArrayLike | None
) -> Floats:
    predicted, target, mask = _pair(predicted, target, valid, frames=order + 1)
    errors = step_errors(predicted, target, order, valid=mask)
    return _mean_of_joints(errors, _steps_that_count(mask, order))


def mpjve(predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None) -> Floats:
    """Mean per-joint velocity error of each step between two frames of one sequence: (..., T, J, 3)
    to (..., T - 1), per frame; times the frame rate for per second. See `step_errors`.

    Source: Pavllo et al., 3D human pose estimation in video, CVPR 2019. "Protocol III" of
    ConvFormer.
    """
    return _step_error(predicted, target, 1, valid)


def acceleration_error(
    predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None
) -> Floats:
    """Mean per-joint error of the second difference over three frames of one sequence:
    (..., T, J, 3) to (..., T - 2), per frame squared. See `step_errors`.

    Source: Kanazawa et al., Learning 3D human dynamics from video, CVPR 2019.
    """
    return _step_error(predicted, target, 2, valid)


def share_of_thresholds(errors: ArrayLike, thresholds_m: ArrayLike) -> Floats:
    """Percent of the thresholds that each error stays below, strictly; nan stays nan.

    Args:
        errors: (...) metres.
        thresholds_m: (K,) metres in rising order.

    Returns:
        (...) percent: PCK for one threshold, AUC for many.
    """
    errors = np.asarray(errors, dtype=np.float64)
    thresholds = np.asarray(thresholds_m, dtype=np.float64)
    # An error equal to a threshold is not below it, so it is placed to the right of it.
    above = len(thresholds) - np.searchsorted(thresholds, errors, side="right")
    return np.where(np.isnan(errors), np.nan, 100.0 * above / len(thresholds))


def pck(
    predicted: ArrayLike,
    target: ArrayLike,
    threshold_m: float = PCK_THRESHOLD_M,
    *,
    valid: ArrayLike | None = None,
) -> Floats:
    """Percentage of correct keypoints: joints nearer to the truth than `threshold_m` metres, in
    percent of those that count; an error equal to the threshold is not correct.

    Raises:
        ValueError: the shapes differ, or the threshold is not above 0.

    Source: Mehta et al., Monocular 3D human pose estimation in the wild, 3DV 2017.
    """
    if not threshold_m > 0:
        raise ValueError(f"threshold_m must be above 0 metres; found {threshold_m}")
    return _score(predicted, target, [threshold_m], valid)


def auc(predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None) -> Floats:
    """Area under the curve of PCK: its mean over the 31 official thresholds 0, 5, ..., 150 mm.
    Nothing is below 0 mm, so a perfect pose has 30/31 = 96.77 %.

    Source: the evaluation tool of MPI-INF-3DHP (Mehta et al., 3DV 2017).
    """
    return _score(predicted, target, AUC_THRESHOLDS_M, valid)


def auc_by_millimetre(
    predicted: ArrayLike, target: ArrayLike, *, valid: ArrayLike | None = None
) -> Floats:
    """Mean PCK over the 150 thresholds 0, 1, ..., 149 mm, as the code of GraphMLP and NanoHTNet
    has it. It lies above `auc`: a perfect pose has 149/150 = 99.33 %.
    """
    return _score(predicted, target, AUC_MILLIMETRE_THRESHOLDS_M, valid)


def _score(
    predicted: ArrayLike, target: ArrayLike, thresholds_m: ArrayLike, valid: ArrayLike | None
) -> Floats:
    predicted, target, mask = _pair(predicted, target, valid)
    scores = share_of_thresholds(_joint_distance(predicted, target, mask), thresholds_m)
    return _mean_of_joints(scores, mask)


def limb_steps(skeleton: Skeleton) -> tuple[int, ...]:
    """How far each joint is from the trunk along its limb: 1 hips and shoulders, 2 knees and
    elbows, 3 ankles and wrists, 0 trunk, head, hands and feet.

    Source: HTNet (arXiv 2302.09790), which calls it the part's degree of freedom and the joints
    with 3 the end joints.
    """
    names = {"hip": 1, "shoulder": 1, "knee": 2, "elbow": 2, "ankle": 3, "wrist": 3}
    parts = (joint.removeprefix("left_").removeprefix("right_") for joint in skeleton.joints)
    return tuple(names.get(part, 0) for part in parts)


def end_joint_error(
    predicted: ArrayLike,
    target: ArrayLike,
    skeleton: Skeleton,
    *,
    valid: ArrayLike | None = None,
) -> Floats:
    """Mean position error of the ends of a skeleton's limbs, ankles and wrists: where lifting is
    hardest.

    Raises:
        ValueError: the shapes differ, or are not those of the skeleton, or it has no such joints.

    Source: HTNet (arXiv 2302.09790).
    """
    predicted, target, mask = _pair(predicted, target, valid)
    if predicted.shape[-2] != len(skeleton):
        raise ValueError(
            f"{skeleton.name} has {len(skeleton)} joints, the poses {predicted.shape[-2]}: "
            "pass the skeleton that they are in"
        )
    ends = [joint for joint, steps in enumerate(limb_steps(skeleton)) if steps == 3]
    if not ends:
        raise ValueError(f"{skeleton.name} has neither ankles nor wrists")
    return mpjpe(predicted[..., ends, :], target[..., ends, :], valid=mask[..., ends])
