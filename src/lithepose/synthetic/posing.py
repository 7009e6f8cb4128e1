"""From 17 joints to the bones of a skin, for many poses at once.

Posing is linear blend skinning with extra half-way bones at the joints, which keeps bent knees and
shoulders from collapsing. The joint centres of the skin are exactly the joints it is posed with.
What joints don't say is invented: hands follow the forearm, feet lie flat near the floor, straight
limbs don't twist. World axes: z up, the floor at 0, metres.
"""

from __future__ import annotations

import numpy as np

from lithepose.anthropometry import ANKLE_HEIGHT_M, STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.rotations import axes_along, dot, from_axis_angle, halfway, rotate, swing, unit
from lithepose.synthetic.bodies import ARM_ANGLE, BONE_INDEX, BONES, LEG_ANGLE, Body, rest_joints

SIZES = ("stature", "neck", "head", "nose_forward", "nose_up")  # of a body, beside its rest joints

_LEG = ("hip", "thigh", "knee", "shin", "foot")
_ARM = ("shoulder", "upper_arm", "elbow", "forearm", "hand")
_UP = np.array([0.0, 0.0, 1.0])
# Bones that are as long as their two joints are apart.
_LONG = {"pelvis": (0, 7), "chest": (7, 8)} | {
    f"{side}_{name}": (first + i, first + i + 1)
    for side, hip, shoulder in (("r", 1, 14), ("l", 4, 11))
    for first, names in ((hip, ("thigh", "shin")), (shoulder, ("upper_arm", "forearm")))
    for i, name in enumerate(names)
}


def bone_transforms(rest: Floats, sizes: Floats, joints: Floats) -> Floats:
    """Matrices (M, B, 3, 4) that take points of rest poses to where the bones carry them.

    Args:
        rest: (M, 17, 3) metres, rest joints.
        sizes: (M, 5) metres, `SIZES` of the bodies.
        joints: (M, 17, 3) metres, with the bodies' lengths.
    """
    turns, start, end = _turns(rest, sizes.astype(np.float64), joints)
    longer = np.zeros_like(turns)
    for name, (a, b) in _LONG.items():
        stretch = _spans(joints, a, b) / _spans(rest, a, b) - 1
        along = unit(rest[:, b] - rest[:, a])
        longer[:, BONE_INDEX[name]] = stretch[:, None, None] * along[:, :, None] * along[:, None]
    matrices = turns @ (np.eye(3) + longer)
    offsets = end - rotate(matrices, start)
    return np.concatenate([matrices, offsets[..., None]], -1)


def bone_rotations(body: Body, joints: Floats) -> Floats:
    """(T, B, 3, 3) axes of each bone of `BONES` in poses (T, 17, 3): columns the rest pose's right,
    forward and up as they stand in the world now."""
    return _turns(*_of_body(body, joints))[0]


def pose_bones(body: Body, joints: Floats) -> Floats:
    """`bone_transforms` of one body in many poses: (T, B, 3, 4).

    Args:
        joints: (T, 17, 3) metres.
    Raises:
        ValueError: wrong shape, missing joints, or a body of another size.
    """
    return bone_transforms(*_of_body(body, joints))


def _of_body(body: Body, joints: Floats) -> tuple[Floats, Floats, Floats]:
    joints = _checked(joints)
    if not np.isfinite(joints).all():
        raise ValueError("a figure needs all 17 joints of a pose: fill the missing ones first")
    rest = np.broadcast_to(rest_joints(body), joints.shape)
    for name, (a, b) in _LONG.items():
        wanted, own = _spans(joints, a, b), _spans(rest, a, b)
        wrong = ~((wanted / own > 0.5) & (wanted / own < 2))
        if wrong.any():
            raise ValueError(
                f"the pose's {name.replace('_', ' ')} is {wanted[wrong][0]:.3f} m and the body's "
                f"is {own[0]:.3f} m: give the motion the body's sizes in metres (rebone)"
            )
    sizes = np.tile([getattr(body, name) for name in SIZES], (len(joints), 1))
    return rest, sizes, joints


def _checked(joints: Floats) -> Floats:
    joints = np.asarray(joints, dtype=np.float64)
    if joints.ndim != 3 or joints.shape[1:] != (17, 3):
        raise ValueError(f"joints must be (T, 17, 3), got {joints.shape}")
    return joints


def _spans(joints: Floats, a: int, b: int) -> Floats:
    return np.linalg.norm(joints[:, b] - joints[:, a], axis=-1)


def _turns(rest: Floats, sizes: Floats, joints: Floats) -> tuple[Floats, Floats, Floats]:
    """Rotations (M, B, 3, 3) of the bones, and where (M, B, 3) each one's joint is at rest and
    posed."""
    stature, neck, head_length, nose_forward, nose_up = sizes.T
    turns = np.empty((len(rest), len(BONES), 3, 3))
    start, end = np.empty((2, len(rest), len(BONES), 3))

    def put(name: str, turn: Floats, at_rest: Floats, posed: Floats) -> None:
        index = BONE_INDEX[name]
        turns[:, index], start[:, index], end[:, index] = turn, at_rest, posed

    pelvis = axes_along(joints[:, 7] - joints[:, 0], joints[:, 1] - joints[:, 4], "zx")
    chest = axes_along(joints[:, 8] - joints[:, 7], joints[:, 14] - joints[:, 11], "zx")
    head = _head_axes(nose_forward, nose_up - head_length, joints)
    skull_rest = rest[:, 8] + neck[:, None] * _UP
    skull = joints[:, 10] - head[:, :, 2] * head_length[:, None]
    put("pelvis", pelvis, rest[:, 0], joints[:, 0])
    put("waist", halfway(pelvis, chest), rest[:, 7], joints[:, 7])
    put("chest", chest, rest[:, 8], joints[:, 8])
    neck_rest = skull_rest - neck[:, None] / 2 * _UP
    put("neck", halfway(chest, head), neck_rest, (skull + joints[:, 8]) / 2)
    put("head", head, skull_rest, skull)

    for name, side, first, names in (
        ("r", 1, 1, _LEG), ("r", 1, 14, _ARM), ("l", -1, 4, _LEG), ("l", -1, 11, _ARM),
    ):  # fmt: skip
        parent, opening, flexion = (
            (pelvis, LEG_ANGLE, -1) if names is _LEG else (chest, ARM_ANGLE, 1)
        )
        a, b, c = joints[:, first], joints[:, first + 1], joints[:, first + 2]
        upper_way, lower_way = unit(b - a), unit(c - b)
        hinge = np.array([np.cos(opening), 0, side * np.sin(opening)])
        bend = np.arccos(np.clip(dot(upper_way, lower_way), -1, 1))
        axis = unit(np.cross(upper_way, lower_way)) * flexion
        rest_way = unit(rest[:, first + 1] - rest[:, first])
        upper = _hinged(parent, rest_way, hinge, upper_way, axis, bend)
        lower = swing(rotate(upper, rest_way), lower_way) @ upper
        tip = lower if names is _ARM else _foot_axes(stature, c, lower)
        five = (halfway(parent, upper), upper, halfway(upper, lower), lower, tip)
        for part, turn, joint in zip(names, five, (0, 0, 1, 1, 2), strict=True):
            put(f"{name}_{part}", turn, rest[:, first + joint], joints[:, first + joint])
    return turns, start, end


def _head_axes(forward: Floats, drop: Floats, joints: Floats) -> Floats:
    """(M, 3, 3) right, forward, up of heads from thorax, nose and head top.

    `forward` and `drop` (M,) metres: the nose before and above the head top, in the head's axes.
    """
    to_nose = joints[:, 9] - joints[:, 10]
    right = unit(np.cross(to_nose, joints[:, 10] - joints[:, 8]))
    # In the head, the line from its top to the nose leans this far out of straight down.
    lean = np.arctan2(forward, -drop)
    expected = np.stack([np.zeros_like(forward), forward, drop], -1)
    # The sign of the lean follows from the nose being in front of the skull's own axis.
    leans = (from_axis_angle(right, lean), from_axis_angle(right, -lean))
    both = [axes_along(-rotate(turn, unit(to_nose)), right, "zx") for turn in leans]
    miss = [np.linalg.norm(rotate(turn, expected) - to_nose, axis=-1) for turn in both]
    return np.where((miss[0] <= miss[1])[:, None, None], *both)


def _hinged(
    parent: Floats, rest_way: Floats, hinge: Floats, way: Floats, axis: Floats, bend: Floats
) -> Floats:
    """(M, 3, 3) limbs turned from their rest direction, twisted so that the hinge lies on the axis
    of the bend.

    The twist of a straight limb is unknown from its joints: it then follows the parent without
    twist; it follows the plane of the bend as far as the next joint is bent.
    """
    turned = swing(rotate(parent, rest_way), way) @ parent
    share = np.clip((bend - 0.17) / 0.5, 0, 1)
    now = turned @ hinge
    angle = np.arctan2(dot(np.cross(now, axis), way), dot(now, axis))
    # Past a right angle the bend contradicts the anatomy (noise): don't wring the limb.
    return from_axis_angle(way, share * np.clip(angle, -1.6, 1.6)) @ turned


def _foot_axes(stature: Floats, ankle: Floats, shin: Floats) -> Floats:
    """(M, 3, 3) feet, invented from the shin and the height over the floor.

    A foot near the floor lies flat, or stands on its toes when the ankle is a little higher; a
    foot in the air keeps square to its shin.
    """
    scale = stature / STANDARD_HEIGHT_M
    flat = shin[:, :, 1] * (1, 1, 0)
    length = np.linalg.norm(flat, axis=-1)
    height = ankle[:, 2] - ANKLE_HEIGHT_M * scale
    near = np.clip(1.0 - (height - 0.10) / 0.15, 0, 1) * (length > 0.2)
    flat = flat / np.maximum(length, 0.2)[:, None]
    tip = np.clip(height / (0.16 * scale), 0.0, 0.8)[:, None]
    planted = flat * np.sqrt(1 - tip**2) - tip * _UP
    level = np.cross(flat, _UP)
    on_floor = np.stack([level, planted, np.cross(level, planted)], -1)
    share = near[:, None, None]
    u, _, vt = np.linalg.svd(np.where(share > 0, (1 - share) * shin + share * on_floor, shin))
    return u @ vt


# --- giving a pose other lengths -----------------------------------------------------------------


_Lengths = Floats | np.floating


def with_lengths(
    joints: Floats, rest: Floats, trunk: _Lengths, face: _Lengths, shoulders: _Lengths
) -> Floats:
    """Poses (M, 17, 3) on other bodies, directions kept, the pelvis at the origin.

    Args:
        joints: (M, 17, 3) metres.
        rest: (M, 17, 3) rest joints of the bodies.
        trunk, face, shoulders: (M,) or one for all, metres: the poses' own lengths of the trunk,
            from the head top to the nose, and of the shoulder line.
    """

    def span(a: int, b: int) -> Floats:
        return _spans(rest, a, b)[:, None]

    def scale(length: _Lengths, a: int, b: int) -> Floats:
        return span(a, b) / np.maximum(length, 1e-6).reshape(-1, 1)

    out = np.zeros_like(joints)
    for joint in (7, 8):
        out[:, joint] = scale(trunk, 0, 8) * (joints[:, joint] - joints[:, 0])
    for joint in (9, 10):
        out[:, joint] = out[:, 8] + scale(face, 9, 10) * (joints[:, joint] - joints[:, 8])
    across = unit(joints[:, 1] - joints[:, 4])
    for hip, shoulder, sign in ((1, 14, 1), (4, 11, -1)):
        out[:, hip] = sign * 0.5 * span(1, 4) * across
        aside = joints[:, shoulder] - joints[:, 8]
        out[:, shoulder] = out[:, 8] + scale(shoulders, 11, 14) * aside
        for first in (hip, shoulder):
            for a in (first, first + 1):
                out[:, a + 1] = out[:, a] + span(a, a + 1) * unit(joints[:, a + 1] - joints[:, a])
    return out


def rebone(joints: Floats, body: Body) -> Floats:
    """Give a motion the segment lengths of a body, keeping every direction and the heights.

    Args:
        joints: (T, 17, 3) metres, z up.

    Returns:
        (T, 17, 3). The pelvis path is scaled with the leg length, so planted feet stay planted.
    """
    joints = _checked(joints)
    leg = np.median(_spans(joints, 1, 2) + _spans(joints, 2, 3))
    moved = with_lengths(
        joints,
        np.broadcast_to(rest_joints(body), joints.shape),
        trunk=np.percentile(_spans(joints, 0, 8), 90),
        face=np.median(_spans(joints, 9, 10)),
        shoulders=np.median(_spans(joints, 11, 14)),
    )
    return moved + joints[:, :1] * (body.thigh + body.shin) / leg
