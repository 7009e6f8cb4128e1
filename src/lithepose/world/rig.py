"""The figure that moves: a tree of nodes with a rest pose, and each node's rotation in time.

The rest pose is a T-pose: upright, arms level to the sides, palms down, feet straight ahead, facing
-y with the left arm along +x (world axes, z up). Every node's axes are the world's in the rest
pose, so an identity rotation is the rest pose. Rotations are relative to the parent node and act on
column vectors; quaternions are w, x, y, z of unit length.

Two nodes in one place (Hips and Spine, Chest, Neck and the shoulders) turn independently: the
hips follow the line between the hip joints, the spine goes where the trunk goes.

`fit_rig` makes the figure of one person, `pose_rig` finds the rotations that bring it to measured
points, `limit_rotations` keeps them within what joints can do, and `joint_angles` names them as
clinicians do.

Elbows and knees are hinges. In the rest pose the knee's axis points to the left (+x) and a bent
shin goes backwards; the elbow's axis is upright (down for the left arm, up for the right) and a
bent forearm goes forwards, palms staying down, which is half-way between pronation and supination.
The twist of an upper arm or a thigh is the one that brings this axis perpendicular to the plane of
the limb.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.anthropometry import ANKLE_HEIGHT, SEGMENTS
from lithepose.arrays import Floats
from lithepose.bones import bone_lengths
from lithepose.rotations import (
    axes_along,
    cross_matrices,
    dot,
    from_axis_angle,
    from_quaternions,
    nearest_rotation,
    swing,
    to_quaternions,
    unit,
)
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
_ON = {joint: node for node, _, joint in reversed(_NODES) if joint is not None}
MARKER_NODES = tuple(NODES.index((_ON | _CARRIED)[joint]) for joint in _BODY.joints)


def pose_nodes(offsets: Floats, root: Floats, rotations: Floats) -> tuple[Floats, Floats]:
    """Forward kinematics.

    Args:
        offsets: (N, 3) metres, each node seen from its parent in the rest pose.
        root: (T, 3) metres, where the first node is.
        rotations: (T, N, 4) quaternions, each node's turn against its parent.
    Returns:
        The nodes' places (T, N, 3) and their turns against the rest pose (T, N, 3, 3).
    """
    local = from_quaternions(rotations)
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


# --- directions and rotations -------------------------------------------------------------------

_X, _Y, _Z = np.eye(3)


def _into(turns: Floats, vectors: Floats) -> Floats:
    """Vectors (T, 3) in the axes of nodes that are turned by (T, 3, 3)."""
    return np.einsum("tji,tj->ti", turns, vectors)


def _inside(parents: Floats, turns: Floats) -> Floats:
    """Turns (T, 3, 3) against their parents'."""
    return np.swapaxes(parents, -1, -2) @ turns


# --- the figure ---------------------------------------------------------------------------------

# Places in the rest pose as fractions of the stature, x to the left, y backwards, z up; of the left
# side where there are two. Each is seen from the node it hangs on, those of hand and foot from
# wrist and ankle. Measured points take their place (`fit_rig`).
#
# Head: the template of the training data for nose and vertex. Ears as high above the base of the
# skull as in `skeletons.RULES`, 144 mm apart; pupils 63 mm apart, 117 mm below the vertex and 29 mm
# behind the tip of the nose. These and the following are round numbers of the size that
# anthropometric surveys give for adults, at a stature of 1.71 m.
# Hand: 185 mm long; knuckles 92 and 80 mm from the wrist and 60 mm apart.
# Foot: 260 mm long, the ankle 83 mm above the sole and 56 mm before the heel's end, the ball at
# 0.72 and the small toe's tip at 0.82 of the length from there. Heel and toes are marked 12 mm, the
# ball 20 mm above the sole.
_ANKLE = ANKLE_HEIGHT
TEMPLATE: dict[str, tuple[float, float, float]] = {
    "neck": (0.0, 0.0, SEGMENTS["neck"]),  # the base of the skull from the thorax
    "head_top": (0.0, 0.0, SEGMENTS["head"]),
    "nose": (0.0, -SEGMENTS["nose_forward"], SEGMENTS["nose_up"]),
    "left_eye": (0.018, -0.045, 0.038),
    "left_ear": (0.042, -0.006, 0.030),
    "left_index": (0.054, -0.018, 0.0),
    "left_pinky": (0.047, 0.017, 0.0),
    "left_fingertip": (0.108, 0.0, 0.0),
    "left_heel": (0.0, 0.033, 0.007 - _ANKLE),
    "left_ball": (0.0, -0.077, 0.012 - _ANKLE),
    "left_big_toe": (-0.013, -0.119, 0.007 - _ANKLE),
    "left_small_toe": (0.026, -0.092, 0.007 - _ANKLE),
}
# Bones that tell the stature: end joint of `h36m17` and length as a fraction.
_STATURE = {
    "left_knee": SEGMENTS["thigh"],
    "left_ankle": SEGMENTS["shin"],
    "thorax": SEGMENTS["trunk"],
}
_NECK_RANGE = (0.05, 0.12)  # of the stature
_ONE, _MIRROR = np.array([1.0, 1.0, 1.0]), np.array([-1.0, 1.0, 1.0])


def _right(name: str) -> str:
    return name.replace("Left", "Right")


def _check_points(points: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Points as float64, and (T,) whether all body joints of a frame are there."""
    points = np.asarray(points, dtype=np.float64)
    if points.ndim != 3 or points.shape[1:] != (len(_BODY), 3):
        raise ValueError(f"points must be (T, {len(_BODY)}, 3) metres, found {points.shape}")
    return points, np.asarray(np.isfinite(points[:, :17]).all(axis=(1, 2)))


def _check_rotations(rotations: Floats) -> Floats:
    rotations = np.asarray(rotations, dtype=np.float64)
    if rotations.ndim != 3 or rotations.shape[1:] != (len(NODES), 4):
        raise ValueError(
            f"rotations must be (T, {len(NODES)}, 4) quaternions, found {rotations.shape}"
        )
    return rotations


def _at(points: Floats, joint: str) -> Floats:
    return points[:, _BODY.index(joint)]


def _medians(places: Floats) -> Floats:
    """Medians (M, 3) over the frames of places (T, M, 3) that have all M; nan without any."""
    seen = places[np.isfinite(places).all((1, 2))]
    return np.median(seen, axis=0) if len(seen) else np.full(places.shape[1:], np.nan)


def _neck_length(points: Floats, nose: Floats, vertex: Floats) -> Floats:
    """Distance (T,) from the thorax to the base of the skull in metres.

    In the head's plane of symmetry the thorax is where circles around nose and vertex meet, on the
    side of the back of the head. `nose` and `vertex` (3,) are seen from the base of the skull.
    """
    to_nose = np.linalg.norm(_at(points, "thorax") - _at(points, "nose"), axis=-1)
    to_vertex = np.linalg.norm(_at(points, "thorax") - _at(points, "head_top"), axis=-1)
    apart = np.linalg.norm(nose - vertex)
    down = (nose - vertex) / apart
    along = (to_vertex**2 - to_nose**2 + apart**2) / (2 * apart)
    aside = np.sqrt(np.maximum(to_vertex**2 - along**2, 0))
    back = np.cross(_X, down)  # across the line from vertex to nose, towards the neck
    return np.linalg.norm(vertex + along[:, None] * down + aside[:, None] * back, axis=-1)


def _measure_head(points: Floats, nose: Floats, vertex: Floats) -> dict[str, Floats]:
    """Left eye and ear seen from the base of the skull, (3,) each; nan if never seen on both sides.

    The head's axes follow from nose, vertex, and what is seen of the line from right to left.
    """
    found: dict[str, Floats] = {}
    rest = axes_along(vertex - nose, _X, "zx")
    for of in ("eye", "ear"):
        left, right = _at(points, f"left_{of}"), _at(points, f"right_{of}")
        turns = axes_along(_at(points, "head_top") - _at(points, "nose"), left - right, "zx")
        seen = np.stack([left, right], 1) - _at(points, "head_top")[:, None]
        seen = np.einsum("ij,tkj,tmk->tmi", rest, turns, seen) + vertex
        found[f"left_{of}"] = (_medians(seen) * [_ONE, _MIRROR]).mean(0)
    return found


def _measure_hand(points: Floats) -> dict[str, Floats]:
    """Left knuckles seen from the wrist, (3,) each, of a hand that lies along x, palm down; nan if
    never both seen."""
    sides: list[Floats] = []
    for side, mirror in (("left", _ONE), ("right", _MIRROR)):
        joints = [_at(points, f"{side}_{name}") for name in ("index", "pinky")]
        index, pinky = (joint - _at(points, f"{side}_wrist") for joint in joints)
        turns = axes_along(mirror[0] * (index + pinky), pinky - index, "xy")
        seen = np.stack([index, pinky], 1)
        sides.append(np.einsum("tji,tmj->tmi", turns, seen) * mirror)
    return dict(zip(("left_index", "left_pinky"), _medians(np.concatenate(sides)), strict=True))


def _measure_foot(points: Floats) -> dict[str, Floats]:
    """Left heel and toes seen from the ankle, (3,) each, of a foot that stands flat and points
    straight ahead; nan if never all seen."""
    sides: list[Floats] = []
    for side, mirror in (("left", _ONE), ("right", _MIRROR)):
        joints = [_at(points, f"{side}_{name}") for name in ("heel", "big_toe", "small_toe")]
        heel, big, small = (joint - _at(points, f"{side}_ankle") for joint in joints)
        second_toe = (2 * big + small) / 3  # a foot points where its second toe does
        turns = axes_along(heel - second_toe, mirror[0] * (small - big), "yx")
        seen = np.stack([heel, big, small], 1)
        sides.append(np.einsum("tji,tmj->tmi", turns, seen) * mirror)
    names = ("left_heel", "left_big_toe", "left_small_toe")
    return dict(zip(names, _medians(np.concatenate(sides)), strict=True))


def fit_rig(points: Floats) -> tuple[Floats, Floats]:
    """One person's figure in the rest pose.

    Bones have the median lengths of all frames, both sides averaged. The head is the template's at
    the size that fits the distance from nose to vertex, on the neck that fits best. Eyes, ears,
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
    points, whole = _check_points(points)
    if not whole.any():
        raise ValueError(
            "no frame has all 17 body joints, so there is nothing to fit a figure to: give frames "
            "in which the person was found"
        )
    points = points[whole]
    lengths = dict(zip(_BODY.joints[:17], bone_lengths(points[:, :17]), strict=True))
    stature = float(np.mean([lengths[joint] / share for joint, share in _STATURE.items()]))
    if not 0.3 < stature < 3:
        raise ValueError(
            f"thighs, shins and trunk belong to a stature of {stature:.2f} m: points must be metres"
        )

    place = {name: stature * np.array(fractions) for name, fractions in TEMPLATE.items()}
    size = lengths["head_top"] / float(np.linalg.norm(place["head_top"] - place["nose"]))
    for name in ("head_top", "nose", "left_eye", "left_ear"):
        place[name] *= size
    neck = np.median(_neck_length(points, place["nose"], place["head_top"]))
    place["neck"] = np.clip(neck, _NECK_RANGE[0] * stature, _NECK_RANGE[1] * stature) * _Z
    knuckles, toe = place["left_index"] + place["left_pinky"], place["left_big_toe"]
    measured = _measure_head(points, place["nose"], place["head_top"])
    measured |= _measure_hand(points) | _measure_foot(points)
    place |= {name: at for name, at in measured.items() if np.isfinite(at).all()}
    # Fingertip and ball were not seen: they go with knuckles and toes.
    place["left_fingertip"] *= (place["left_index"] + place["left_pinky"])[0] / knuckles[0]
    longer = place["left_big_toe"][1] / toe[1]
    place["left_ball"] = place["left_ball"] * [1, longer, 1] + (place["left_big_toe"] - toe) * _Z
    place["left_toe_end"] = place["left_big_toe"] * [0, 1, 1]

    offsets = np.zeros((len(NODES), 3))
    for node, offset in {
        "Spine1": lengths["spine"] * _Z,
        "Chest": lengths["thorax"] * _Z,
        "Head": place["neck"],
        "HeadEnd": place["head_top"],
        "LeftArm": lengths["left_shoulder"] * _X,
        "LeftForeArm": lengths["left_elbow"] * _X,
        "LeftHand": lengths["left_wrist"] * _X,
        "LeftHandEnd": place["left_fingertip"],
        "LeftUpLeg": lengths["left_hip"] * _X,
        "LeftLeg": -lengths["left_knee"] * _Z,
        "LeftFoot": -lengths["left_ankle"] * _Z,
        "LeftToeBase": place["left_ball"],
        "LeftToeEnd": place["left_toe_end"] - place["left_ball"],
    }.items():
        offsets[NODES.index(node)] = offset
        if node.startswith("Left"):
            offsets[NODES.index(_right(node))] = offset * _MIRROR
    markers = np.zeros((len(_BODY), 3))
    for joint, node in _CARRIED.items():
        if not joint.startswith("right_"):
            carrier = place["left_ball"] if node == "LeftToeBase" else 0
            markers[_BODY.index(joint)] = place[joint] - carrier
    for left, right in _BODY.pairs:
        markers[right] = markers[left] * _MIRROR
    return offsets, markers


# --- what joints can do -------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Hinge:
    """A joint that bends in one plane.

    Attributes:
        axis: the bone's direction in the rest pose.
        hinge: the axis about which it bends; positive flexion is a right-handed turn about it.
        flexion: least and greatest, degrees.
        sideways: how far the bone may leave the plane, degrees.
        twist: least and greatest turn about `axis`, degrees.
    """

    axis: tuple[float, float, float]
    hinge: tuple[float, float, float]
    flexion: tuple[float, float]
    sideways: float
    twist: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class Ball:
    """A joint that turns every way.

    Its range is an ellipse of directions around a middle, and a range of twists. What counts as no
    twist at a direction is carried from the rest pose to the middle and from there to the
    direction, each by the smallest rotation. So the one direction at which this is undefined
    lies opposite to the middle, where the joint cannot get.

    Attributes:
        axis: the bone's direction in the rest pose.
        middle: where it points in the middle of its range, in the parent's axes, any length.
        about: axis of the first swing; the second is about the axis across.
        swing: how far it goes from the middle about these two, degrees.
        twist: least and greatest turn about `axis`, degrees.
    """

    axis: tuple[float, float, float]
    middle: tuple[float, float, float]
    about: tuple[float, float, float] = (1.0, 0.0, 0.0)
    swing: tuple[float, float]
    twist: tuple[float, float]


_UP, _DOWN, _LEFT, _AHEAD = (0.0, 0.0, 1.0), (0.0, 0.0, -1.0), (1.0, 0.0, 0.0), (0.0, -1.0, 0.0)
# Of the left side; the right one's are mirrored. Positive twists turn limbs inward (pronation,
# internal rotation). Usual clinical ranges of motion (AAOS): knee 0 to 135, elbow 0 to 150, hip
# flexion 120, extension 30, abduction 45, adduction 30, rotation 45 either way, ankle 20 up and 50
# down, inversion 35, eversion 15, wrist flexion 80, extension 70, deviation 20 and 30, forearm 80
# either way, shoulder flexion and abduction 180, extension 60, rotation 70 and 90, neck flexion and
# extension 45, to the side 45, rotation 60 (the neck's are of Neck and Head together), trunk
# flexion 80, extension 25, to the side 35, rotation 45. The table goes beyond them by 10 to 30
# degrees and more: it stops what is impossible, of athletes too, and leaves the rest alone.
_LEFT_BALLS: dict[str, Ball] = {
    "Spine": Ball(axis=_UP, middle=_UP, swing=(50, 50), twist=(-45, 45)),
    "Spine1": Ball(axis=_UP, middle=(0.0, -0.3, 1.0), swing=(70, 45), twist=(-45, 45)),
    "Chest": Ball(axis=_UP, middle=_UP, swing=(20, 20), twist=(-60, 60)),
    "Neck": Ball(axis=_UP, middle=(0.0, -0.2, 1.0), swing=(70, 50), twist=(-60, 60)),
    "Head": Ball(axis=_UP, middle=_UP, swing=(60, 50), twist=(-60, 60)),
    "LeftShoulder": Ball(axis=_LEFT, middle=_LEFT, about=_AHEAD, swing=(45, 45), twist=(-30, 30)),
    "LeftArm": Ball(
        axis=_LEFT, middle=(1.0, -0.5, -0.5), about=_UP, swing=(125, 125), twist=(-130, 130)
    ),
    "LeftHand": Ball(axis=_LEFT, middle=_LEFT, about=_AHEAD, swing=(95, 50), twist=(-30, 30)),
    "LeftUpLeg": Ball(axis=_DOWN, middle=(0.0, -1.0, -1.0), swing=(95, 75), twist=(-75, 75)),
    "LeftFoot": Ball(axis=_AHEAD, middle=(0.0, -1.0, -0.3), swing=(60, 50), twist=(-50, 50)),
    "LeftToeBase": Ball(axis=_AHEAD, middle=(0.0, -1.0, 0.2), swing=(60, 20), twist=(-20, 20)),
}
_LEFT_HINGES: dict[str, Hinge] = {
    "LeftForeArm": Hinge(
        axis=_LEFT, hinge=_DOWN, flexion=(-15, 160), sideways=10, twist=(-110, 110)
    ),
    "LeftLeg": Hinge(axis=_DOWN, hinge=_LEFT, flexion=(-15, 165), sideways=10, twist=(-30, 30)),
}


def _mirrored(joint: Ball | Hinge) -> dict[str, Any]:
    """What differs on the right side."""
    low, high = joint.twist
    changes: dict[str, Any] = {"axis": (-joint.axis[0], *joint.axis[1:]), "twist": (-high, -low)}
    if isinstance(joint, Ball):
        return changes | {"middle": (-joint.middle[0], *joint.middle[1:])}
    x, y, z = joint.hinge  # an axis of rotation: the mirror turns it round unless it is across
    return changes | {"hinge": (x, -y, -z)}


_BALLS = _LEFT_BALLS | {
    _right(name): replace(joint, **_mirrored(joint))
    for name, joint in _LEFT_BALLS.items()
    if name.startswith("Left")
}
_HINGES = _LEFT_HINGES | {
    _right(name): replace(joint, **_mirrored(joint)) for name, joint in _LEFT_HINGES.items()
}
JOINT_LIMITS: dict[str, Ball | Hinge] = {**_BALLS, **_HINGES}


def _carried(limit: Ball, directions: Floats) -> Floats:
    """Rotations (T, 3, 3) from the rest pose to directions (T, 3) of the bone, without twist."""
    middle = unit(np.array(limit.middle), np.array(limit.axis))
    return swing(middle, directions) @ swing(np.array(limit.axis), middle)


def _hinge_rotation(limit: Hinge, flexion: Floats, sideways: Floats, twist: Floats) -> Floats:
    axis, hinge = np.array(limit.axis), np.array(limit.hinge)
    bent = from_axis_angle(hinge, flexion) @ from_axis_angle(np.cross(axis, hinge), sideways)
    return bent @ from_axis_angle(axis, twist)


def _hinge_bend(limit: Hinge, directions: Floats) -> tuple[Floats, Floats]:
    """Flexion and sideways bend in radians, (T,) each, of directions (T, 3) of the bone."""
    axis, hinge = np.array(limit.axis), np.array(limit.hinge)
    flexion = np.arctan2(directions @ np.cross(hinge, axis), directions @ axis)
    return flexion, np.arcsin(np.clip(directions @ hinge, -1, 1))


def _hinge_angles(limit: Hinge, turns: Floats) -> tuple[Floats, Floats, Floats]:
    """Flexion, sideways bend and twist, (T,) radians each, of rotations (T, 3, 3)."""
    axis = np.array(limit.axis)
    flexion, sideways = _hinge_bend(limit, turns @ axis)
    straight = _hinge_rotation(limit, flexion, sideways, np.zeros_like(flexion))
    return flexion, sideways, _twist_about(axis, _inside(straight, turns))


def _twist_about(axis: Floats, turns: Floats) -> Floats:
    """Angle (T,) in radians of the part of rotations (T, 3, 3) that is about the unit vector."""
    q = to_quaternions(turns)
    angle = 2 * np.arctan2(q[..., 1:] @ axis, q[..., 0])
    return (angle + np.pi) % (2 * np.pi) - np.pi


# --- posing -------------------------------------------------------------------------------------

# A limb that is bent by less than the first angle tells nothing of its plane, by more than the
# second all; radians.
_PLANE_SEEN = (np.deg2rad(3), np.deg2rad(30))
# A limb that is never bent by more than this and whose hinge would be this far off the usual is
# taken as bent the wrong way; radians.
_WRONG_WAY_BEND = np.deg2rad(45)
_WRONG_WAY_TWIST = np.deg2rad(120)
_HOLD_FRAMES = 10  # how long a straight limb remembers its plane, forwards and backwards
_HOLD_WEIGHT = 0.02  # of the carried axis against the remembered ones
# Weight of the rest pose against one marker at full confidence, as if it were markers at 10 cm.
_REST_WEIGHT = 1e-4 * 0.1**2
_ON_HEAD = ("nose", "head_top", "left_eye", "right_eye", "left_ear", "right_ear")


def _held(values: Floats, weights: Floats) -> Floats:
    """Weighted means (T,) over neighbouring frames, falling to 0 where there is no weight."""
    reach = 8 * _HOLD_FRAMES
    kernel = np.exp(-np.abs(np.arange(-reach, reach + 1)) / _HOLD_FRAMES)
    kernel /= kernel.sum()

    def near(series: Floats) -> Floats:
        return np.convolve(series, kernel)[reach : reach + len(series)]

    return near(weights * values) / (near(weights) + _HOLD_WEIGHT)


def _hinge_angle(bend: Floats, angle: Floats) -> Floats:
    """Where a limb's hinge is, seen along the upper segment, as one continuous angle.

    Args:
        bend: (T,) radians between the segments, 0 where nothing was seen.
        angle: (T,) radians, from the carried hinge to the perpendicular of the limb's plane.
    Returns:
        (T,) radians: the angle itself where the limb is bent, what frames around tell where it is
        straight, 0 where these are straight too; turned by half a turn where the limb is bent
        the wrong way.
    """
    low, high = _PLANE_SEEN
    shown = np.sin(bend)
    share = np.clip((shown - np.sin(low)) / (np.sin(high) - np.sin(low)), 0, 1)
    weight = share * share * (3 - 2 * share)

    # Spans of frames in which the limb is bent without passing through straight: the angle is
    # continuous within one, and either all of it is bent the right way or all of it the wrong way.
    step = (np.diff(angle) + np.pi) % (2 * np.pi) - np.pi
    bent = weight > 0
    begins = np.ones(len(angle), dtype=bool)
    begins[1:] = (bent[1:] != bent[:-1]) | (np.abs(step) > np.pi / 2)
    first = np.flatnonzero(begins)
    span = np.cumsum(begins) - 1
    unwound = np.concatenate([[0.0], np.cumsum(step)])
    unwound += (angle[first] - unwound[first])[span]
    total = np.add.reduceat(weight, first)
    mean = np.add.reduceat(weight * unwound, first) / np.where(total > 0, total, 1)
    turns = np.round(mean / (2 * np.pi))
    mean = mean - 2 * np.pi * turns
    wrong = (np.abs(mean) > _WRONG_WAY_TWIST) & (np.maximum.reduceat(bend, first) < _WRONG_WAY_BEND)
    shift = -2 * np.pi * turns - np.pi * np.sign(mean) * wrong
    unwound = unwound + shift[span]
    return weight * unwound + (1 - weight) * _held(unwound, weight)


def _pose_limb(
    ball: Ball, hinge: Hinge, upper: Floats, lower: Floats, whole: NDArray[np.bool_]
) -> tuple[Floats, Floats]:
    """Rotations (T, 3, 3) of a limb's upper and lower segment against their parents.

    Args:
        ball, hinge: the joints at the segments' near ends.
        upper, lower: (T, 3) unit directions of the segments in the axes of the limb's parent.
        whole: (T,) frames that count.
    """
    carried = _carried(ball, upper)
    across = np.cross(upper, lower)
    bend = np.arctan2(np.linalg.norm(across, axis=-1), dot(upper, lower))
    axis = carried @ np.array(hinge.hinge)
    angle = np.arctan2(dot(across, np.cross(upper, axis)), dot(across, axis))
    angle = _hinge_angle(np.where(whole, bend, 0), angle)
    first = carried @ from_axis_angle(np.array(ball.axis), angle)
    flexion, sideways = _hinge_bend(hinge, _into(first, lower))
    return first, _hinge_rotation(hinge, flexion, sideways, np.zeros_like(flexion))


def _fit_markers(seen: Floats, weights: Floats, markers: Floats, rest: Floats) -> Floats:
    """Rotations (T, 3, 3) that turn markers (M, 3) onto places (T, M, 3) seen from the same joint.

    What the markers leave open, because they are missing or on a line, is as in the turns `rest`.
    """
    products = np.einsum("tm,tmi,mj->tij", weights, seen, markers)
    return nearest_rotation(products + _REST_WEIGHT * rest)


def _fit_head(
    seen: Floats, weights: Floats, markers: Floats, neck: float, up: Floats
) -> tuple[Floats, Floats]:
    """Turn of the head (T, 3, 3) and direction of the neck (T, 3) that bring markers to places.

    Nose and vertex leave two mirrored solutions that fall into one where the neck is in the head's
    plane of symmetry, as it nearly is: noise would throw the neck to either side. So the neck is
    drawn towards the middle between the trunk's and the head's axis, less where eyes and ears are
    seen. Least squares by Gauss and Newton's method, from the best rigid fit with a straight neck.

    Args:
        seen: (T, M, 3) metres from the thorax; 0 where the weight is 0.
        weights: (T, M), of nose, vertex, eyes and ears.
        markers: (M, 3) metres from the base of the skull.
        neck: metres from the thorax to the base of the skull.
        up: (T, 3) unit vectors, the trunk's axis.
    """
    frames, count = weights.shape
    pull = 0.4 * (1 - np.clip(weights[:, 2:].sum(1), 0, 1)) + 1e-4
    # The thorax as one marker more, below the base of the skull.
    all_seen = np.concatenate([seen, np.zeros((frames, 1, 3))], 1)
    all_weights = np.concatenate([weights, np.ones((frames, 1))], 1)
    all_markers = np.concatenate([markers, -neck * _Z[None]])
    share = all_weights / all_weights.sum(1, keepdims=True)
    centre, middle = np.einsum("tm,tmi->ti", share, all_seen), share @ all_markers
    products = np.einsum("tm,tmi,tmj->tij", share, all_seen - centre[:, None],
                         all_markers - middle[:, None])  # fmt: skip
    turns = nearest_rotation(products + 1e-9 * np.eye(3))
    direction = unit(centre - np.einsum("tij,tj->ti", turns, middle), up)

    scale = np.sqrt(np.concatenate([weights, pull[:, None]], 1))[..., None]  # (T, M + 1, 1)
    steps = np.zeros((frames, count + 1, 3, 5))  # by turning the head, and by moving the neck
    for _ in range(15):
        turned = np.einsum("tij,mj->tmi", turns, markers)
        head_up = turns[..., 2]
        between = up + head_up
        length = np.maximum(np.linalg.norm(between, axis=-1, keepdims=True), 1e-3)
        aim = between / length
        miss = np.concatenate(
            [neck * direction[:, None] + turned - seen, neck * (direction - aim)[:, None]], 1
        )
        tangents = axes_along(direction, _X, "zx")[..., :2]  # (T, 3, 2)
        steps[:, :count, :, :3] = -cross_matrices(turned)
        change = cross_matrices(head_up) / length[..., None]
        change = change - aim[..., None] * np.einsum("ti,tij->tj", aim, change)[:, None]
        steps[:, count, :, :3] = neck * change
        steps[..., 3:] = neck * tangents[:, None]
        jacobian = (steps * scale[..., None]).reshape(frames, -1, 5)
        normal = np.swapaxes(jacobian, 1, 2) @ jacobian + 1e-7 * np.eye(5)
        right = np.swapaxes(jacobian, 1, 2) @ (miss * scale).reshape(frames, -1, 1)
        move = -np.linalg.solve(normal, right)[..., 0]
        move *= np.minimum(1, 0.5 / np.maximum(np.linalg.norm(move, axis=-1, keepdims=True), 1e-9))
        angle = np.linalg.norm(move[:, :3], axis=-1)
        turns = from_axis_angle(unit(move[:, :3], _X), angle) @ turns
        direction = unit(direction + np.einsum("tij,tj->ti", tangents, move[:, 3:]), up)
    return turns, direction


def _pose_trunk(points: Floats) -> tuple[dict[str, Floats], Floats, Floats]:
    """Rotations (T, 3, 3) of Hips, Spine, Spine1 and Chest against their parents, and the turns
    (T, 3, 3) of Hips and Chest against the rest pose."""
    pelvis, spine, thorax = (_at(points, joint) for joint in ("pelvis", "spine", "thorax"))
    hips = axes_along(_at(points, "left_hip") - _at(points, "right_hip"), spine - pelvis, "xz")
    low = unit(spine - pelvis, hips[..., 2])
    high = unit(thorax - spine, low)
    across = _at(points, "left_shoulder") - _at(points, "right_shoulder")
    # Shoulders in line with the spine tell nothing: the chest goes on as the spine does.
    bent = swing(low, high) @ swing(hips[..., 2], low) @ hips
    chest = axes_along(high, unit(across, bent[..., 0]), "zx")
    # A third of the twist each. By way of the sine, so that nothing jumps at half a turn.
    twist = _twist_about(_Z, _inside(bent, chest))
    third = np.sin(twist) / 3
    lower = swing(hips[..., 2], low) @ hips @ from_axis_angle(_Z, third)
    upper = bent @ from_axis_angle(_Z, 2 * third)
    local = {
        "Hips": hips,
        "Spine": _inside(hips, lower),
        "Spine1": _inside(lower, upper),
        "Chest": _inside(upper, chest),
    }
    return local, hips, chest


def _pose_head(
    points: Floats, weights: Floats, markers: Floats, neck_length: float, chest: Floats
) -> dict[str, Floats]:
    """Rotations (T, 3, 3) of Neck and Head against their parents."""
    joints = [_BODY.index(joint) for joint in _ON_HEAD]
    weights = weights[:, joints]
    # Nose and vertex belong to the body: whatever their confidence, the head follows them.
    weights[:, :2] = np.maximum(weights[:, :2], 0.05)
    up = unit(_at(points, "thorax") - _at(points, "pelvis"), chest[..., 2])
    seen = np.where(weights[..., None] > 0, points[:, joints], 0.0)
    seen = seen - np.where(weights > 0, 1.0, 0.0)[..., None] * _at(points, "thorax")[:, None]
    head, along = _fit_head(seen, weights, markers[joints], neck_length, up)
    neck = swing(chest[..., 2], along) @ chest
    # Half of the turn each, by way of the sine as in the trunk.
    twist = _twist_about(_Z, _inside(neck, head))
    neck = neck @ from_axis_angle(_Z, np.sin(twist) / 2)
    return {"Neck": _inside(chest, neck), "Head": _inside(neck, head)}


def pose_rig(
    offsets: Floats, markers: Floats, points: Floats, confidence: Floats | None = None
) -> Floats:
    """The rotations with which the figure reaches measured points.

    Pelvis, spine, thorax, hips, knees, ankles, shoulders, elbows and wrists are reached exactly
    where their bones have the figure's lengths; head, hands and feet are turned so that their
    points fit best. A hand without points is straight on the forearm, a foot without points at the
    rest pose's angle to the shin. The forearm turns about its length as the knuckles do. The toes
    stay straight.

    Args:
        offsets, markers: the figure, from `fit_rig`.
        points: (T, 31, 3) metres, the joints of `lithepose31`, consecutive frames. Of the joints
            after the first 17 any may be nan.
        confidence: (T, 31) in [0, 1], the weights of the points of head, hands and feet; all 1 if
            None.
    Returns:
        (T, N, 4) quaternions w, x, y, z, each node's turn against its parent; nan in frames that
        lack one of the first 17 joints.
    Raises:
        ValueError: an array has the wrong shape.
    """
    points, whole = _check_points(points)
    if np.shape(offsets) != (len(NODES), 3):
        raise ValueError(
            f"offsets must be ({len(NODES)}, 3) as fit_rig gives them, found {np.shape(offsets)}"
        )
    if np.shape(markers) != (len(_BODY), 3):
        raise ValueError(
            f"markers must be ({len(_BODY)}, 3) as fit_rig gives them, found {np.shape(markers)}"
        )
    seen = np.isfinite(points).all(-1)
    weights = np.where(seen, 1.0, 0.0)
    if confidence is not None:
        if np.shape(confidence) != points.shape[:2]:
            raise ValueError(
                f"confidence must be one value per point, {points.shape[:2]}; "
                f"found {np.shape(confidence)}"
            )
        known = np.nan_to_num(np.asarray(confidence, dtype=np.float64))
        weights = weights * np.clip(known, 0, 1)
    rotations = np.full((len(points), len(NODES), 4), np.nan)
    if not whole.any():
        return rotations
    # Frames without the person get any pose at first, so that all frames can go through together.
    points = np.where(whole[:, None, None], points, points[np.argmax(whole)])
    local, hips, chest = _pose_trunk(points)
    neck_length = float(np.linalg.norm(offsets[NODES.index("Head")]))
    local |= _pose_head(points, weights, markers, neck_length, chest)

    def fit(joint: str, names: list[str], places: Floats, rest: Floats) -> Floats:
        at = [_BODY.index(name) for name in names]
        seen = points[:, at] - _at(points, joint)[:, None]
        weight = np.where(np.isfinite(seen).all(-1), weights[:, at], 0)
        return _fit_markers(np.nan_to_num(seen), weight, places, rest)

    for side in ("left", "right"):
        name = side.capitalize()
        axis = np.array(_BALLS[f"{name}Shoulder"].axis)
        to_shoulder = _at(points, f"{side}_shoulder") - _at(points, "thorax")
        local[f"{name}Shoulder"] = swing(axis, unit(_into(chest, to_shoulder), axis))
        shoulder = chest @ local[f"{name}Shoulder"]
        for parent, nodes, joints in (
            (shoulder, ("Arm", "ForeArm"), ("shoulder", "elbow", "wrist")),
            (hips, ("UpLeg", "Leg"), ("hip", "knee", "ankle")),
        ):
            ball, hinge = _BALLS[name + nodes[0]], _HINGES[name + nodes[1]]
            near, middle, far = (_at(points, f"{side}_{joint}") for joint in joints)
            upper = unit(_into(parent, middle - near), np.array(ball.axis))
            lower = unit(_into(parent, far - middle), upper)
            first, second = _pose_limb(ball, hinge, upper, lower, whole)
            local[name + nodes[0]], local[name + nodes[1]] = first, second

        forearm = shoulder @ local[f"{name}Arm"] @ local[f"{name}ForeArm"]
        names = [f"{side}_index", f"{side}_pinky"]
        places = markers[[_BODY.index(joint) for joint in names]]
        hand = _inside(forearm, fit(f"{side}_wrist", names, places, forearm))
        # The forearm takes the twist, so that the wrist only bends.
        twist = from_axis_angle(axis, _twist_about(axis, hand))
        local[f"{name}ForeArm"] = local[f"{name}ForeArm"] @ twist
        local[f"{name}Hand"] = _inside(twist, hand)

        shin = hips @ local[f"{name}UpLeg"] @ local[f"{name}Leg"]
        names = [f"{side}_heel", f"{side}_big_toe", f"{side}_small_toe"]
        places = markers[[_BODY.index(joint) for joint in names]].copy()
        places[1:] += offsets[NODES.index(f"{name}ToeBase")]
        local[f"{name}Foot"] = _inside(shin, fit(f"{side}_ankle", names, places, shin))

    rotations[:] = [1, 0, 0, 0]
    for node, turns in local.items():
        rotations[:, NODES.index(node)] = to_quaternions(turns)
    rotations[~whole] = np.nan
    return rotations


# --- limits -------------------------------------------------------------------------------------


def _limit_ball(ball: Ball, turns: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Rotations (T, 3, 3) inside the range, and (T,) which of the given ones were not."""
    axis = np.array(ball.axis)
    middle = unit(np.array(ball.middle), axis)
    first, second = np.deg2rad(ball.swing)
    directions = turns @ axis
    away = directions - (directions @ middle)[:, None] * middle
    distance = np.arctan2(np.linalg.norm(away, axis=-1), directions @ middle)
    one = unit(np.cross(np.array(ball.about), middle), _Z)
    two = np.cross(middle, one)
    away = unit(away, one)
    share = distance * np.hypot(away @ one / first, away @ two / second)
    far = share > 1 + 1e-9
    distance = np.where(far, distance / np.maximum(share, 1), distance)[:, None]
    nearer = np.cos(distance) * middle + np.sin(distance) * away
    nearer = np.where(far[:, None], nearer, directions)
    twist = _twist_about(axis, _inside(_carried(ball, directions), turns))
    allowed = _clipped(twist, ball.twist)
    outside = far | (np.abs(twist - allowed) > 1e-9)
    return _carried(ball, nearer) @ from_axis_angle(axis, allowed), outside


def _limit_hinge(hinge: Hinge, turns: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Rotations (T, 3, 3) inside the range, and (T,) which of the given ones were not."""
    now = np.stack(_hinge_angles(hinge, turns))
    side = np.deg2rad(hinge.sideways)
    allowed = np.stack(
        [
            _clipped(now[0], hinge.flexion),
            np.clip(now[1], -side, side),
            _clipped(now[2], hinge.twist),
        ]
    )
    return _hinge_rotation(hinge, *allowed), np.asarray(
        np.any(np.abs(now - allowed) > 1e-9, axis=0)
    )


def _clipped(angle: Floats, limits: tuple[float, float]) -> Floats:
    """Angles in radians brought to the nearer end of limits in degrees, the short way round."""
    low, high = np.deg2rad(limits)
    middle = (low + high) / 2
    around = (angle - middle + np.pi) % (2 * np.pi) - np.pi
    half = (high - low) / 2
    return np.where(np.abs(around) > half, middle + np.clip(around, -half, half), angle)


def limit_rotations(
    rotations: Floats, limits: Mapping[str, Ball | Hinge] = JOINT_LIMITS
) -> tuple[Floats, Floats]:
    """Bring rotations to the nearest that the joints can do.

    A bone that points outside its range goes straight back to the edge; twist and flexion are
    clipped. Bones keep their lengths; what hangs on a changed joint moves along.

    Args:
        rotations: (T, N, 4) quaternions w, x, y, z, each node's turn against its parent.
        limits: ranges by node; nodes without one are free.
    Returns:
        The rotations, unchanged where they are inside, and by how many degrees each was turned
        (T, N), 0 where unchanged; both nan where there was no person.
    Raises:
        ValueError: the shape is wrong, or a limit is for no node of the rig.
    """
    limited = _check_rotations(rotations).copy()
    unknown = sorted(set(limits) - set(NODES))
    if unknown:
        raise ValueError(f"the rig has no {', '.join(unknown)}; known: {', '.join(NODES)}")
    whole = np.asarray(np.isfinite(limited).all(axis=(1, 2)))
    moved = np.where(whole[:, None], np.zeros(limited.shape[:2]), np.nan)
    for name, limit in limits.items():
        node = NODES.index(name)
        turns = from_quaternions(limited[whole, node])
        limiter = (
            _limit_ball(limit, turns) if isinstance(limit, Ball) else _limit_hinge(limit, turns)
        )
        inside, outside = limiter
        frames = np.flatnonzero(whole)[outside]
        limited[frames, node] = to_quaternions(inside[outside])
        moved[frames, node] = _angle_between(turns[outside], inside[outside])
    return limited, moved


def _angle_between(one: Floats, other: Floats) -> Floats:
    """Degrees (T,) of the rotation from one to the other, (T, 3, 3)."""
    q = to_quaternions(_inside(one, other))
    return np.rad2deg(2 * np.arctan2(np.linalg.norm(q[..., 1:], axis=-1), q[..., 0]))


# --- angles by name -----------------------------------------------------------------------------


def joint_angles(rotations: Floats) -> dict[str, Floats]:
    """Angles as clinicians name them, for plots: (T,) degrees by name, nan where no person was.

    All are 0 for someone who stands upright with arms hanging and feet flat. `left_` and `right_`:

    - `knee_flexion`, `elbow_flexion`: positive bent, negative over-extended.
    - `hip_flexion`: of the thigh against the pelvis, seen from the side; forwards positive.
    - `hip_abduction`: of the thigh against the pelvis' plane of symmetry; outwards positive.
    - `ankle_dorsiflexion`: of the foot against the shin; toes up positive.
    - `shoulder_flexion`, `shoulder_abduction`: how far the upper arm is raised from hanging along
      the trunk (0 to 180), split by the direction: all flexion if raised forwards (negative
      backwards), all abduction if raised outwards (negative inwards). An arm straight up has no
      direction, and may change from one to the other there.

    and `trunk_lean`, of the line of the trunk against the vertical, seen from the side of the
    pelvis; forwards positive. The pelvis tilts with the lower trunk, since 17 joints tell nothing
    else.

    Args:
        rotations: (T, N, 4) quaternions w, x, y, z, world axes with z up.
    Raises:
        ValueError: the shape is wrong.
    """
    rotations = _check_rotations(rotations)
    whole = np.asarray(np.isfinite(rotations).all(axis=(1, 2)))
    rotations = np.where(whole[:, None, None], rotations, [1.0, 0, 0, 0])
    turn = dict(zip(NODES, np.moveaxis(from_quaternions(rotations), 1, 0), strict=True))
    angles: dict[str, Floats] = {}
    for side, out in (("left", 1), ("right", -1)):
        name = side.capitalize()
        thigh = -turn[f"{name}UpLeg"][..., 2]
        arm = out * (turn[f"{name}Shoulder"] @ turn[f"{name}Arm"])[..., 0]
        toes = -turn[f"{name}Foot"][..., 1]
        raised = np.arctan2(np.hypot(arm[:, 0], arm[:, 1]), -arm[:, 2])
        outwards = np.arctan2(out * arm[:, 0], -arm[:, 1])
        angles |= {
            f"{side}_hip_flexion": np.arctan2(-thigh[:, 1], -thigh[:, 2]),
            f"{side}_hip_abduction": np.arcsin(np.clip(out * thigh[:, 0], -1, 1)),
            f"{side}_knee_flexion": _hinge_angles(_HINGES[f"{name}Leg"], turn[f"{name}Leg"])[0],
            f"{side}_ankle_dorsiflexion": np.arctan2(toes[:, 2], -toes[:, 1]),
            f"{side}_shoulder_flexion": raised * np.cos(outwards),
            f"{side}_shoulder_abduction": raised * np.sin(outwards),
            f"{side}_elbow_flexion": _hinge_angles(
                _HINGES[f"{name}ForeArm"], turn[f"{name}ForeArm"]
            )[0],
        }
    lower = turn["Hips"] @ turn["Spine"]
    trunk = lower[..., 2] + (lower @ turn["Spine1"])[..., 2]
    ahead = unit(np.cross(turn["Hips"][..., 0], _Z), -_Y)
    angles["trunk_lean"] = np.arctan2(dot(trunk, ahead), trunk[..., 2])
    return {name: np.where(whole, np.rad2deg(angle), np.nan) for name, angle in angles.items()}
