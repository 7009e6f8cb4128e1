"""The figure that moves: a tree of nodes with a rest pose, and each node's rotation in time.

The rest pose is a T-pose: upright, arms level to the sides, palms down, feet straight ahead, facing
-y with the left arm along +x (world axes, z up). Every node's axes are the world's in the rest
pose, so an identity rotation is the rest pose. Rotations are relative to the parent node and act on
column vectors; quaternions are w, x, y, z of unit length.

Two nodes in one place (Hips and Spine, Chest, Neck and the shoulders) turn independently: the
hips follow the line between the hip joints, the spine goes where the trunk goes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.skeletons import SKELETONS

Floats = NDArray[np.floating[Any]]

# Node, its parent, and the joint of `lithepose31` it lies on (None: on none of them). Parents come
# before their children. Names ending in End have no rotation of their own.
_NODES: tuple[tuple[str, str | None, str | None], ...] = (
    ("Hips", None, "pelvis"),
    ("Spine", "Hips", "pelvis"),
    ("Spine1", "Spine", "spine"),
    ("Chest", "Spine1", "thorax"),
    ("Neck", "Chest", "thorax"),
    ("Head", "Neck", None),  # the base of the skull
    ("HeadEnd", "Head", "head_top"),
    ("LeftShoulder", "Chest", "thorax"),
    ("LeftArm", "LeftShoulder", "left_shoulder"),
    ("LeftForeArm", "LeftArm", "left_elbow"),
    ("LeftHand", "LeftForeArm", "left_wrist"),
    ("LeftHandEnd", "LeftHand", None),  # the tip of the middle finger
    ("RightShoulder", "Chest", "thorax"),
    ("RightArm", "RightShoulder", "right_shoulder"),
    ("RightForeArm", "RightArm", "right_elbow"),
    ("RightHand", "RightForeArm", "right_wrist"),
    ("RightHandEnd", "RightHand", None),
    ("LeftUpLeg", "Hips", "left_hip"),
    ("LeftLeg", "LeftUpLeg", "left_knee"),
    ("LeftFoot", "LeftLeg", "left_ankle"),
    ("LeftToeBase", "LeftFoot", None),  # the ball of the foot
    ("LeftToeEnd", "LeftToeBase", None),
    ("RightUpLeg", "Hips", "right_hip"),
    ("RightLeg", "RightUpLeg", "right_knee"),
    ("RightFoot", "RightLeg", "right_ankle"),
    ("RightToeBase", "RightFoot", None),
    ("RightToeEnd", "RightToeBase", None),
)
NODES = tuple(name for name, _, _ in _NODES)
NODE_PARENTS = tuple(-1 if parent is None else NODES.index(parent) for _, parent, _ in _NODES)

_BODY = SKELETONS["lithepose31"]
# For each joint of `lithepose31` the node that carries it.
_CARRIED = {
    "nose": "Head", "head_top": "Head",
    "left_eye": "Head", "right_eye": "Head", "left_ear": "Head", "right_ear": "Head",
    "left_heel": "LeftFoot", "left_big_toe": "LeftToeBase", "left_small_toe": "LeftToeBase",
    "right_heel": "RightFoot", "right_big_toe": "RightToeBase", "right_small_toe": "RightToeBase",
    "left_index": "LeftHand", "left_pinky": "LeftHand",
    "right_index": "RightHand", "right_pinky": "RightHand",
}  # fmt: skip
_ON = {joint: node for node, _, joint in reversed(_NODES) if joint is not None}
MARKER_NODES = tuple(NODES.index((_ON | _CARRIED)[joint]) for joint in _BODY.joints)


def quaternions_of(rotations: Floats) -> Floats:
    """Unit quaternions (..., 4), w, x, y, z with w >= 0, of rotation matrices (..., 3, 3)."""
    m = np.asarray(rotations, dtype=np.float64)
    # Four ways to the same quaternion: from the largest of w, x, y, z, which no rounding harms.
    trace = m[..., 0, 0] + m[..., 1, 1] + m[..., 2, 2]
    square = np.stack([trace, m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]], -1)
    square[..., 1:] = 2 * square[..., 1:] - trace[..., None]
    x = m[..., 2, 1] - m[..., 1, 2]
    y = m[..., 0, 2] - m[..., 2, 0]
    z = m[..., 1, 0] - m[..., 0, 1]
    xy, xz, yz = (m[..., i, j] + m[..., j, i] for i, j in ((0, 1), (0, 2), (1, 2)))
    diagonal = 1 + square
    rows = (
        (diagonal[..., 0], x, y, z),
        (x, diagonal[..., 1], xy, xz),
        (y, xy, diagonal[..., 2], yz),
        (z, xz, yz, diagonal[..., 3]),
    )
    ways = np.stack([np.stack(row, -1) for row in rows], -2)  # (..., 4 ways, 4)
    best = np.argmax(square, axis=-1)[..., None, None]
    chosen = np.take_along_axis(ways, best, axis=-2)[..., 0, :]
    with np.errstate(invalid="ignore"):
        chosen = chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
    return np.where(chosen[..., :1] < 0, -chosen, chosen)


def matrices_of(quaternions: Floats) -> Floats:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4), w, x, y, z, of any length but 0."""
    q = np.asarray(quaternions, dtype=np.float64)
    q = q / np.linalg.norm(q, axis=-1, keepdims=True)
    w, x, y, z = np.moveaxis(q, -1, 0)
    rows = [
        1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y),
        2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x),
        2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y),
    ]  # fmt: skip
    return np.stack(rows, -1).reshape(*q.shape[:-1], 3, 3)


def pose_nodes(offsets: Floats, root: Floats, rotations: Floats) -> tuple[Floats, Floats]:
    """Forward kinematics.

    Args:
        offsets: (N, 3) metres, each node seen from its parent in the rest pose.
        root: (T, 3) metres, where the first node is.
        rotations: (T, N, 4) quaternions, each node's turn against its parent.
    Returns:
        The nodes' places (T, N, 3) and their turns against the rest pose (T, N, 3, 3).
    """
    local = matrices_of(rotations)
    places = np.empty((*local.shape[:-2], 3))
    turns = np.empty_like(local)
    places[:, 0], turns[:, 0] = root, local[:, 0]
    for node, parent in enumerate(NODE_PARENTS[1:], 1):
        places[:, node] = places[:, parent] + turns[:, parent] @ offsets[node]
        turns[:, node] = turns[:, parent] @ local[:, node]
    return places, turns


def rig_points(offsets: Floats, markers: Floats, root: Floats, rotations: Floats) -> Floats:
    """The joints of `lithepose31` on a posed rig.

    Args:
        offsets, root, rotations: as in `pose_nodes`.
        markers: (31, 3) metres, each joint seen from the node that carries it, in the rest pose.
    Returns:
        (T, 31, 3) metres.
    """
    places, turns = pose_nodes(offsets, root, rotations)
    at = np.array(MARKER_NODES)
    return places[:, at] + np.einsum("tnij,nj->tni", turns[:, at], markers)
