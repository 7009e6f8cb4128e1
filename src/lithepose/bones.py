"""Trees of joints: forward kinematics of any, and the bones of `h36m17` poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from lithepose.arrays import Array, Floats, namespace
from lithepose.skeletons import SKELETONS

_BODY = SKELETONS["h36m17"]
PARENTS = np.array(_BODY.parents)
# Hips and shoulders hang on the middle between them, so each pair is one bone across.
_ACROSS = ((4, 1), (11, 14))


def forward_kinematics(
    parents: Sequence[int], steps: Floats, rotations: Floats
) -> tuple[Floats, Floats]:
    """Where joints are and how they are turned.

    Args:
        parents: index of each joint's parent, -1 for the root; parents come first.
        steps: (T, N, 3), each joint seen from its parent in the parent's axes; the root's place.
        rotations: (T, N, 3, 3), each joint's rotation against its parent.
    Returns:
        (T, N, 3) and (T, N, 3, 3), both in the axes of the root's parent.
    """
    positions, rotated = steps.copy(), rotations.copy()
    for joint, parent in enumerate(parents):
        if parent >= 0:
            carried = rotated[:, parent] @ steps[:, joint, :, None]
            positions[:, joint] = positions[:, parent] + carried[..., 0]
            rotated[:, joint] = rotated[:, parent] @ rotations[:, joint]
    return positions, rotated


def bones(joints: Floats) -> Floats:
    """Vectors from each joint's parent to it: (..., 17, 3), zero at the root."""
    vectors = joints - joints[..., PARENTS, :]
    vectors[..., 0, :] = 0
    return vectors


def from_bones(root: Array, vectors: Array) -> Array:
    """Joints (..., 17, 3) from the root's position (..., 3) and the bone vectors (..., 17, 3), of
    NumPy or PyTorch."""
    joints = [root]
    for joint, parent in enumerate(_BODY.parents[1:], start=1):
        joints.append(joints[parent] + vectors[..., joint, :])
    return namespace(vectors).stack(joints, -2)


def bone_lengths(poses: Floats) -> Floats:
    """One person's bone lengths (17,), 0 at the root: medians over frames, both sides averaged.

    Args:
        poses: (T, 17, 3), any unit; frames with nan are left out.
    """
    length = np.linalg.norm(bones(poses), axis=-1)
    for left, right in _ACROSS:
        half = np.linalg.norm(poses[:, left] - poses[:, right], axis=-1) / 2
        length[:, left] = length[:, right] = half
    whole = np.isfinite(length).all(1)
    if not whole.any():
        return np.full(17, np.nan)
    median = np.median(length[whole], axis=0)
    return (median + median[list(_BODY.mirror)]) / 2


def with_lengths(poses: Floats, lengths: Floats) -> Floats:
    """The same directions with given bone lengths, the root staying where it is.

    Args:
        poses: (T, 17, 3), nan frames stay nan.
        lengths: (17,) in the unit of the poses.
    """
    vectors = bones(poses)
    for left, right in _ACROSS:
        across = (poses[:, left] - poses[:, right]) / 2
        vectors[:, left], vectors[:, right] = across, -across
    norm = np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-9)
    return from_bones(poses[:, 0], vectors / norm * lengths[:, None])
