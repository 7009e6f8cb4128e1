"""The figure that moves: a tree of nodes with a rest pose, fitted to one person.

The rest pose is a T-pose: upright, arms level to the sides, palms down, feet straight ahead, facing
-y with the left arm along +x (world axes, z up). Every node's axes are the world's in the rest
pose, so an identity rotation is the rest pose. Rotations are relative to the parent node and act on
column vectors; quaternions are w, x, y, z of unit length.

Two nodes in one place (Hips and Spine, Chest, Neck and the shoulders) turn independently: the
hips follow the line between the hip joints, the spine goes where the trunk goes.

Elbows and knees are hinges. In the rest pose the knee's axis points to the left (+x) and a bent
shin goes backwards; the elbow's axis is upright (down for the left arm, up for the right) and a
bent forearm goes forwards, palms staying down, which is half-way between pronation and supination.
The twist of an upper arm or a thigh is the one that brings this axis perpendicular to the plane of
the limb.
"""

from __future__ import annotations

import numpy as np

from lithepose.anthropometry import BALL, FINGERTIP, SEGMENTS, TEMPLATE
from lithepose.arrays import Flags, Floats
from lithepose.bones import bone_lengths, forward_kinematics
from lithepose.rotations import axes_along, from_quaternions
from lithepose.skeletons import SKELETONS

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
_HEAD = [_BODY.index(joint) for joint, node in _CARRIED.items() if node == "Head"]
_ON = {joint: node for node, _, joint in reversed(_NODES) if joint is not None}
MARKER_NODES = tuple(NODES.index((_ON | _CARRIED)[joint]) for joint in _BODY.joints)


def pose_nodes(offsets: Floats, root: Floats, rotations: Floats) -> tuple[Floats, Floats]:
    """Forward kinematics.

    Args:
        offsets: (N, 3) metres, each node seen from its parent in the rest pose.
        root: (T, 3) metres, where the first node is.
        rotations: (T, N, 4) quaternions, each node's rotation against its parent.
    Returns:
        The nodes' positions (T, N, 3) and their rotations against the rest pose (T, N, 3, 3).
    """
    steps = np.tile(np.asarray(offsets, dtype=np.float64), (len(rotations), 1, 1))
    steps[:, 0] = root
    return forward_kinematics(NODE_PARENTS, steps, from_quaternions(rotations))


def rig_points(offsets: Floats, markers: Floats, root: Floats, rotations: Floats) -> Floats:
    """The joints of `lithepose31` on a posed rig.

    Args:
        offsets, root, rotations: as in `pose_nodes`.
        markers: (31, 3) metres, each joint seen from the node that carries it, in the rest pose.
    Returns:
        (T, 31, 3) metres.
    """
    positions, rotated = pose_nodes(offsets, root, rotations)
    at = np.array(MARKER_NODES)
    return positions[:, at] + np.einsum("tnij,nj->tni", rotated[:, at], markers)


_X, _, _Z = np.eye(3)

# Bones that tell the stature, by their end joint in `h36m17`.
_STATURE = {"left_knee": "thigh", "left_ankle": "shin", "thorax": "trunk"}
_NECK_RANGE = (0.05, 0.12)  # of the stature
_ONE, _MIRROR = np.array([1.0, 1.0, 1.0]), np.array([-1.0, 1.0, 1.0])


def on_right(node: str) -> str:
    """The name of a left node's counterpart."""
    return node.replace("Left", "Right")


def check_points(points: Floats) -> tuple[Floats, Flags]:
    """Points as float64, and (T,) whether all body joints of a frame are there.

    Raises:
        ValueError: the shape is wrong.
    """
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (len(_BODY), 3):
        raise ValueError(f"points must be (T, {len(_BODY)}, 3) metres, found {points.shape}")
    return points, np.asarray(np.isfinite(points[:, :17]).all(axis=(1, 2)))


def check_rotations(rotations: Floats) -> Floats:
    """Rotations of every node as float64.

    Raises:
        ValueError: the shape is wrong.
    """
    rotations = np.asarray(rotations, dtype=np.float64)
    if rotations.ndim != 3 or rotations.shape[1:] != (len(NODES), 4):
        raise ValueError(
            f"rotations must be (T, {len(NODES)}, 4) quaternions, found {rotations.shape}"
        )
    return rotations


def by_joint(points: Floats) -> dict[str, Floats]:
    """Where each joint is, (T, 3), of points (T, 31, 3)."""
    return dict(zip(_BODY.joints, np.moveaxis(points, 1, 0), strict=True))


def _medians(positions: Floats) -> Floats:
    """Medians (M, 3) over the frames of positions (T, M, 3) that have all M; nan without any."""
    seen = positions[np.isfinite(positions).all((1, 2))]
    return np.median(seen, axis=0) if len(seen) else np.full(positions.shape[1:], np.nan)


def _neck_length(points: Floats, nose: Floats, head_top: Floats) -> Floats:
    """Distance (T,) from the thorax to the base of the skull in metres.

    In the head's plane of symmetry the thorax is where circles around nose and head top meet, on
    the side of the back of the head. Both (3,) are seen from the base of the skull.
    """
    at = by_joint(points)
    to_nose = np.linalg.norm(at["thorax"] - at["nose"], axis=-1)
    to_top = np.linalg.norm(at["thorax"] - at["head_top"], axis=-1)
    apart = np.linalg.norm(nose - head_top)
    down = (nose - head_top) / apart
    along = (to_top**2 - to_nose**2 + apart**2) / (2 * apart)
    aside = np.sqrt(np.maximum(to_top**2 - along**2, 0))
    back = np.cross(_X, down)  # across the line from head top to nose, towards the neck
    return np.linalg.norm(head_top + along[:, None] * down + aside[:, None] * back, axis=-1)


def _measure_head(points: Floats, nose: Floats, head_top: Floats) -> dict[str, Floats]:
    """Left eye and ear seen from the base of the skull, (3,) each; nan if never seen on both sides.

    The head's axes follow from nose, head top, and what is seen of the line from right to left.
    """
    at, found = by_joint(points), {}
    rest = axes_along(head_top - nose, _X, "zx")
    for of in ("eye", "ear"):
        left, right = at[f"left_{of}"], at[f"right_{of}"]
        axes = axes_along(at["head_top"] - at["nose"], left - right, "zx")
        seen = np.stack([left, right], 1) - at["head_top"][:, None]
        seen = np.einsum("ij,tkj,tmk->tmi", rest, axes, seen) + head_top
        found[of] = (_medians(seen) * [_ONE, _MIRROR]).mean(0)
    return found


def _measure_end(points: Floats, carrier: str, names: tuple[str, ...]) -> dict[str, Floats]:
    """Left knuckles seen from the wrist, of a hand that lies along x, palm down, or heel and toes
    seen from the ankle, of a foot that stands flat and points straight ahead; (3,) each, nan if
    never all seen."""
    at, sides = by_joint(points), []
    for side, mirror in (("left", _ONE), ("right", _MIRROR)):
        seen = np.stack([at[f"{side}_{name}"] - at[f"{side}_{carrier}"] for name in names], 1)
        if carrier == "wrist":
            index, pinky = np.moveaxis(seen, 1, 0)
            axes = axes_along(mirror[0] * (index + pinky), pinky - index, "xy")
        else:
            heel, big, small = np.moveaxis(seen, 1, 0)
            second_toe = (2 * big + small) / 3  # a foot points where its second toe does
            axes = axes_along(heel - second_toe, mirror[0] * (small - big), "yx")
        sides.append(np.einsum("tji,tmj->tmi", axes, seen) * mirror)
    return dict(zip(names, _medians(np.concatenate(sides)), strict=True))


def _measure(points: Floats, nose: Floats, head_top: Floats) -> dict[str, Floats]:
    """What can be measured of head, hand and foot, by name."""
    return (
        _measure_head(points, nose, head_top)
        | _measure_end(points, "wrist", ("index", "pinky"))
        | _measure_end(points, "ankle", ("heel", "big_toe", "small_toe"))
    )


def _template_points() -> Floats:
    """The template's points (1, 31, 3) in statures, x to the left, y backwards, z up, seen from
    the base of the skull, wrist or ankle; nan for other joints."""
    points = np.full((1, len(_BODY), 3), np.nan)
    for name, position in (item for part in TEMPLATE.values() for item in part.items()):
        for side, mirror in (("right_", _MIRROR), ("left_", _ONE)):
            joint = name if name in _BODY.joints else side + name
            points[0, _BODY.index(joint)] = np.array(position) * mirror * [1, -1, 1]
    return points


def fit_rig(points: Floats) -> tuple[Floats, Floats]:
    """One person's figure in the rest pose.

    Bones have the median lengths of all frames, both sides averaged. The head is the template's at
    the size that fits the distance from nose to head top, on the neck that fits best. Eyes, ears,
    knuckles, heels and toes are where they were seen (medians in the axes of head, hand and foot),
    or else where `TEMPLATE` has them for the person's stature.

    Args:
        points: (T, 31, 3) metres, any axes, the joints of `lithepose31`. Frames without all of the
            first 17 are left out; the others may be nan.
    Returns:
        offsets (N, 3), each node seen from its parent, and markers (31, 3), each point seen from
        the node that carries it, metres.
    Raises:
        ValueError: the shape is wrong, no frame has the 17 body joints, or the bones are not those
            of a person in metres.
    """
    points, whole = check_points(points)
    if not whole.any():
        raise ValueError(
            "no frame has all 17 body joints, so there is nothing to fit a figure to: give frames "
            "in which the person was found"
        )
    points = points[whole]
    lengths = dict(zip(_BODY.joints[:17], bone_lengths(points[:, :17]), strict=True))
    statures = [lengths[joint] / SEGMENTS[bone] for joint, bone in _STATURE.items()]
    stature = float(np.mean(statures))
    if not 0.3 < stature < 3:
        raise ValueError(
            f"thighs, shins and trunk belong to a stature of {stature:.2f} m: points must be metres"
        )

    rest = stature * _template_points()
    size = np.linalg.norm(by_joint(rest)["head_top"] - by_joint(rest)["nose"])
    rest[:, _HEAD] *= lengths["head_top"] / size
    nose, head_top = by_joint(rest)["nose"][0], by_joint(rest)["head_top"][0]
    neck = np.median(_neck_length(points, nose, head_top))
    neck = np.clip(neck, _NECK_RANGE[0] * stature, _NECK_RANGE[1] * stature)
    position = {"nose": nose, "head_top": head_top} | _measure(rest, nose, head_top)
    measured = _measure(points, nose, head_top)
    position |= {name: seen for name, seen in measured.items() if np.isfinite(seen).all()}
    # Fingertip and ball of the foot are never seen: they go with knuckles and toes.
    fingertip = FINGERTIP * (position["index"] + position["pinky"])[0] / 2 * _X
    toe = position["big_toe"] * [0, 1, 1]
    ball = toe * [0, BALL[0], 1] + BALL[1] * stature * _Z

    offsets = np.zeros((len(NODES), 3))
    for node, offset in {
        "Spine1": lengths["spine"] * _Z,
        "Chest": lengths["thorax"] * _Z,
        "Head": neck * _Z,
        "HeadEnd": head_top,
        "LeftArm": lengths["left_shoulder"] * _X,
        "LeftForeArm": lengths["left_elbow"] * _X,
        "LeftHand": lengths["left_wrist"] * _X,
        "LeftHandEnd": fingertip,
        "LeftUpLeg": lengths["left_hip"] * _X,
        "LeftLeg": -lengths["left_knee"] * _Z,
        "LeftFoot": -lengths["left_ankle"] * _Z,
        "LeftToeBase": ball,
        "LeftToeEnd": toe - ball,
    }.items():
        offsets[NODES.index(node)] = offset
        if node.startswith("Left"):
            offsets[NODES.index(on_right(node))] = offset * _MIRROR
    markers = np.zeros((len(_BODY), 3))
    for joint, node in _CARRIED.items():
        if not joint.startswith("right_"):
            carrier = ball if node == "LeftToeBase" else 0
            markers[_BODY.index(joint)] = position[joint.removeprefix("left_")] - carrier
    for left, right in _BODY.pairs:
        markers[right] = markers[left] * _MIRROR
    return offsets, markers
