"""Errors of 3D poses, one value per pose, in the unit of the inputs.

Poses are (..., J, 3). Averages over frames, sequences and actions belong to the protocols, each of
which averages its own way. Everything is computed in float64; a pose with a missing (nan) joint has
a nan error.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.floating[Any]]


def _pair(predicted: ArrayLike, target: ArrayLike, frames: int = 0) -> tuple[Floats, Floats]:
    """Both poses in float64, after checking that they fit. `frames` is the number of frames that a
    metric over time needs, 0 for a metric of single poses."""
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
    return predicted, target


def _mean_distance(first: Floats, second: Floats) -> Floats:
    return np.linalg.norm(first - second, axis=-1).mean(axis=-1)


def root_relative(poses: ArrayLike, root: int = 0) -> Floats:
    """Poses (..., J, 3) with joint `root` of each moved to the origin."""
    poses = np.asarray(poses)
    return poses - poses[..., root : root + 1, :]


def mpjpe(predicted: ArrayLike, target: ArrayLike) -> Floats:
    """Mean per-joint position error of each pose ("protocol 1" on Human3.6M).

    Args:
        predicted: (..., J, 3), both poses already relative to the same root.
        target: same shape, unit and axes as `predicted`.

    Returns:
        (...), in the unit of the inputs.

    Raises:
        ValueError: the shapes differ (broadcasting would hide the mistake).

    Source: Ionescu et al., Human3.6M, TPAMI 2014.
    """
    return _mean_distance(*_pair(predicted, target))


def n_mpjpe(predicted: ArrayLike, target: ArrayLike) -> Floats:
    """MPJPE after the best scale of each predicted pose, about the common root.

    Args:
        predicted: (..., J, 3), both poses already relative to the same root.
        target: same shape, unit and axes as `predicted`.

    Returns:
        (...), in the unit of `target`; `predicted` may be in any unit. A predicted pose with all
        joints at the root has nothing to scale and keeps its error.

    Raises:
        ValueError: the shapes differ.

    Source: Rhodin et al., Unsupervised geometry-aware representation for 3D human pose estimation,
    ECCV 2018.
    """
    predicted, target = _pair(predicted, target)
    size = (predicted**2).sum(axis=(-2, -1), keepdims=True)
    product = (predicted * target).sum(axis=(-2, -1), keepdims=True)
    # != keeps nan: only an exact zero is replaced.
    scale = product / np.where(size != 0, size, 1.0)
    return _mean_distance(scale * predicted, target)


def align_similarity(predicted: ArrayLike, target: ArrayLike) -> Floats:
    """Each predicted pose after the scale, rotation and shift that bring it closest to its target.

    Closest in the sum of squared joint distances (Procrustes analysis); the rotation never mirrors.

    Args:
        predicted: (..., J, 3), any unit and axes.
        target: same shape.

    Returns:
        (..., J, 3), in the axes and unit of `target`. Joints on one line or at one point leave the
        rotation open; one of the equally good ones is taken. A predicted pose with all joints at
        one point lands on the mean of the target. nan for a pose with a missing joint.

    Raises:
        ValueError: the shapes differ.

    Source: Umeyama, Least-squares estimation of transformation parameters between two point
    patterns, TPAMI 1991.
    """
    predicted, target = _pair(predicted, target)
    whole = np.isfinite(predicted).all(axis=(-2, -1)) & np.isfinite(target).all(axis=(-2, -1))
    whole = np.asarray(whole)[..., None, None]
    # LAPACK refuses a whole batch for one nan.
    predicted, target = np.where(whole, predicted, 0.0), np.where(whole, target, 0.0)

    predicted_mean = predicted.mean(axis=-2, keepdims=True)
    target_mean = target.mean(axis=-2, keepdims=True)
    predicted_shape, target_shape = predicted - predicted_mean, target - target_mean
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
    return np.where(whole, aligned, np.nan)


def p_mpjpe(predicted: ArrayLike, target: ArrayLike) -> Floats:
    """MPJPE after the best similarity transform of each predicted pose ("protocol 2", PA-MPJPE).

    Args:
        predicted: (..., J, 3), any unit, axes and root.
        target: same shape.

    Returns:
        (...), in the unit of `target`. See `align_similarity` for degenerate poses.

    Raises:
        ValueError: the shapes differ.

    Source: Bogo et al., Keep it SMPL, ECCV 2016; the definition with scale, as all tables of video
    lifting models use it.
    """
    predicted, target = _pair(predicted, target)
    return _mean_distance(align_similarity(predicted, target), target)


def mpjve(predicted: ArrayLike, target: ArrayLike) -> Floats:
    """Mean per-joint velocity error of each step between two frames of one sequence.

    Args:
        predicted: (..., T, J, 3), consecutive frames of one sequence, T at least 2.
        target: same shape, unit and axes.

    Returns:
        (..., T - 1), in the unit of the inputs per frame; times the frame rate for per second.

    Raises:
        ValueError: the shapes differ, or there are too few frames.

    Source: Pavllo et al., 3D human pose estimation in video, CVPR 2019.
    """
    predicted, target = _pair(predicted, target, frames=2)
    return _mean_distance(np.diff(predicted, axis=-3), np.diff(target, axis=-3))


def acceleration_error(predicted: ArrayLike, target: ArrayLike) -> Floats:
    """Mean per-joint error of the second difference over three frames of one sequence.

    Args:
        predicted: (..., T, J, 3), consecutive frames of one sequence, T at least 3.
        target: same shape, unit and axes.

    Returns:
        (..., T - 2), in the unit of the inputs per frame squared.

    Raises:
        ValueError: the shapes differ, or there are too few frames.

    Source: Kanazawa et al., Learning 3D human dynamics from video, CVPR 2019.
    """
    predicted, target = _pair(predicted, target, frames=3)
    return _mean_distance(np.diff(predicted, n=2, axis=-3), np.diff(target, n=2, axis=-3))
