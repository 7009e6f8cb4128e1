"""From lifted poses to a person before a camera: constant bones, metres, and a path of the root.

A lifted pose is centred at the mid-hips. Where those are follows from the image: under the camera's
focal length there is one place from which the pose projects onto the observed joints. That place is
found for all frames together, because depth is hard to tell from one frame and easy to tell
from a person's steady motion.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from lithepose.arrays import Floats

# How far a lifted joint is from the line of sight through its observation, and how hard a person's
# hips accelerate: the two spreads whose ratio decides how much the root's path is smoothed.
JOINT_SPREAD_M = 0.05
ACCELERATION_SPREAD = 3.0  # m/s²


def solve_block_tridiagonal(diagonal: Floats, upper: Floats, right: Floats) -> Floats:
    """Solve a symmetric block tridiagonal system: diagonal (N, m, m), blocks above it (N-1, m, m),
    right-hand side (N, m)."""
    count = len(diagonal)
    diagonal, right = diagonal.copy(), right.copy()
    for i in range(1, count):
        factor = np.linalg.solve(diagonal[i - 1], upper[i - 1]).T
        diagonal[i] -= factor @ upper[i - 1]
        right[i] -= factor @ right[i - 1]
    solution = np.empty_like(right)
    solution[-1] = np.linalg.solve(diagonal[-1], right[-1])
    for i in range(count - 2, -1, -1):
        solution[i] = np.linalg.solve(diagonal[i], right[i] - upper[i] @ solution[i + 1])
    return solution


def second_differences(time_s: Floats) -> Floats:
    """Accelerations from three places at uneven times, so that steady motion costs nothing at any
    rate: (T - 2, 3), the factors of the places before, at and after frames 1 to T - 2, from times
    (T,) in seconds."""
    step = np.maximum(np.diff(time_s), 1e-3)
    both = step[:-1] + step[1:]
    before, after = 2 / (step[:-1] * both), 2 / (step[1:] * both)
    return np.stack([before, -before - after, after], -1)


def _smooth_path(
    normal: Floats, right: Floats, differences: Floats, tie: Floats, step: Floats
) -> Floats:
    """Minimise the sum over frames of x'Nx - 2r'x plus the squares of second differences, plus
    what the steps from frame to frame miss of their wanted ones, squared and weighted.

    Args:
        normal: (T, 3, 3), right: (T, 3), differences: (T - 2, 3), the factors of frames t - 1, t
            and t + 1 in the difference centred at t = 1...T-2.
        tie: (T - 1,) weight of the step from t to t + 1, step: (T - 1, 3) the wanted one.
    """
    frames = len(normal)
    if frames < 3:
        return np.linalg.solve(normal + 1e-9 * np.eye(3), right[..., None])[..., 0]
    # Two frames make one block, so that second differences reach only into the next block. An odd
    # clip gets one frame more, tied to nothing.
    blocks = (frames + 1) // 2
    band = np.zeros((2 * blocks, 3))  # couplings of frame t with t, t + 1, t + 2
    before, here, after = differences.T
    band[: frames - 2, 0] += before**2
    band[1 : frames - 1, 0] += here**2
    band[2:frames, 0] += after**2
    band[: frames - 2, 1] += before * here
    band[1 : frames - 1, 1] += here * after
    band[: frames - 2, 2] += before * after
    band[: frames - 1, 0] += tie
    band[1:frames, 0] += tie
    band[: frames - 1, 1] -= tie
    eye = np.eye(3)
    data = np.zeros((2 * blocks, 3, 3))
    data[:frames] = normal
    data[frames:] = eye
    target = np.zeros((2 * blocks, 3))
    target[:frames] = right
    target[: frames - 1] -= tie[:, None] * step
    target[1:frames] += tie[:, None] * step

    diagonal = np.zeros((blocks, 6, 6))
    upper = np.zeros((blocks - 1, 6, 6))
    even, odd = band[0::2], band[1::2]
    diagonal[:, :3, :3] = data[0::2] + even[:, 0, None, None] * eye
    diagonal[:, 3:, 3:] = data[1::2] + odd[:, 0, None, None] * eye
    diagonal[:, :3, 3:] = diagonal[:, 3:, :3] = even[:, 1, None, None] * eye
    upper[:, :3, :3] = even[:-1, 2, None, None] * eye
    upper[:, 3:, :3] = odd[:-1, 1, None, None] * eye
    upper[:, 3:, 3:] = odd[:-1, 2, None, None] * eye
    solved = solve_block_tridiagonal(diagonal, upper, target.reshape(blocks, 6))
    return solved.reshape(-1, 3)[:frames]


@dataclass(frozen=True, kw_only=True)
class PathTies:
    """What standing feet say of the root's path.

    Attributes:
        step: (T - 1, 3) metres, how the root moves from each frame to the next if the feet that
            stand in both keep their place.
        step_weight: (T - 1,) 1 / m², 0 where no foot stands.
        up: (3,) unit vector, the vertical.
        height: (T,) metres along `up`, where the root is if standing feet are on the floor.
        height_weight: (T,) 1 / m², 0 where no foot stands.
    """

    step: Floats
    step_weight: Floats
    up: Floats
    height: Floats
    height_weight: Floats


def fit_root_path(
    poses: Floats,
    rays: Floats,
    confidence: Floats,
    time_s: Floats,
    ties: PathTies | None = None,
) -> Floats:
    """Place poses before the camera so that they project onto the observed joints.

    Every joint gives two linear equations: its place, pose plus root, lies on its line of sight.
    They are weighted by confidence over depth, outliers less (four rounds of re-weighting), and the
    root's accelerations are held near zero.

    Args:
        poses: (T, 17, 3) metres, camera axes, centred at the root; all finite.
        rays: (T, 17, 2), pixels minus the principal point over the focal length; nan if unseen.
        confidence: (T, 17) in [0, 1]; joints with 0 are not used.
        time_s: (T,) seconds, ascending.
        ties: what standing feet say, or None.
    Returns:
        (T, 3) metres, the root's place in camera axes. Depth is at least 0.3 m.
    """
    seen = (confidence > 0) & np.isfinite(rays).all(-1)
    # Spine, nose and head top differ between detectors; limbs place the body.
    trust = np.where(seen, confidence, 0) * np.where(np.isin(np.arange(17), (7, 9, 10)), 0.2, 1)
    x, y = np.moveaxis(np.where(seen[..., None], rays, 0), -1, 0)
    # Two equations per joint, metres at its depth: X - x Z = known_x and Y - y Z = known_y.
    known_x = x * poses[..., 2] - poses[..., 0]
    known_y = y * poses[..., 2] - poses[..., 1]

    accelerations = second_differences(time_s) / ACCELERATION_SPREAD
    if ties is None:
        tie, step_wanted = np.zeros(len(poses) - 1), np.zeros((len(poses) - 1, 3))
    else:
        tie, step_wanted = ties.step_weight, ties.step
    weight = trust / JOINT_SPREAD_M**2
    root = np.zeros((len(poses), 3))
    for _ in range(4):
        normal = np.zeros((len(poses), 3, 3))
        normal[:, 0, 0] = normal[:, 1, 1] = weight.sum(1)
        normal[:, 0, 2] = normal[:, 2, 0] = -(weight * x).sum(1)
        normal[:, 1, 2] = normal[:, 2, 1] = -(weight * y).sum(1)
        normal[:, 2, 2] = (weight * (x * x + y * y)).sum(1)
        right = np.stack(
            [
                (weight * known_x).sum(1),
                (weight * known_y).sum(1),
                -(weight * (x * known_x + y * known_y)).sum(1),
            ],
            -1,
        )
        # A frame with few joints leans on its neighbours; the small diagonal keeps it solvable.
        normal += 1e-6 * np.eye(3)
        if ties is not None:
            normal += ties.height_weight[:, None, None] * np.outer(ties.up, ties.up)
            right += (ties.height_weight * ties.height)[:, None] * ties.up
        root = _smooth_path(normal, right, accelerations, tie, step_wanted)
        root[:, 2] = np.maximum(root[:, 2], 0.3)
        root_x, root_y, root_z = (root[:, i, None] for i in range(3))
        miss = np.hypot(root_x - x * root_z - known_x, root_y - y * root_z - known_y)
        depth = np.maximum(poses[..., 2] + root_z, 0.3)
        # Huber's weights at two spreads; equal errors in the image count the same at every depth.
        robust = np.minimum(1, 2 * JOINT_SPREAD_M / np.maximum(miss, 1e-9))
        weight = trust * robust * (root_z / depth) ** 2 / JOINT_SPREAD_M**2
    return root
