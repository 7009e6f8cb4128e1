"""The rotations with which a figure reaches measured points."""

from __future__ import annotations

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.rotations import (
    axes_along,
    cross_matrices,
    dot,
    from_axis_angle,
    nearest_rotation,
    relative,
    rotate,
    swing,
    to_quaternions,
    transpose,
    twist,
    unit,
)
from lithepose.skeletons import SKELETONS
from lithepose.world.joint_limits import BALLS, HINGES, Ball, Hinge
from lithepose.world.rig import NODES, by_joint, check_points

_BODY = SKELETONS["lithepose31"]
_X, _, _Z = np.eye(3)

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
    """Where a limb's hinge is, seen along the upper segment, as one continuous angle (T,), of the
    bend between the segments, 0 where nothing was seen, and the angle from the carried hinge to the
    perpendicular of the limb's plane; radians.

    It is that angle where the limb is bent, what frames around tell where it is straight, 0 where
    these are straight too; turned by half a turn where the limb is bent the wrong way.
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
    ball: Ball, hinge: Hinge, upper: Floats, lower: Floats, whole: Flags
) -> tuple[Floats, Floats]:
    """Rotations (T, 3, 3) of a limb's upper and lower segment, which begin at a ball joint and a
    hinge, against their parents, from their directions (T, 3) in the axes of the limb's parent."""
    carried = ball.untwisted(upper)
    across = np.cross(upper, lower)
    bend = np.arctan2(np.linalg.norm(across, axis=-1), dot(upper, lower))
    axis = carried @ np.array(hinge.hinge)
    angle = np.arctan2(dot(across, np.cross(upper, axis)), dot(across, axis))
    angle = _hinge_angle(np.where(whole, bend, 0), angle)
    first = carried @ from_axis_angle(np.array(ball.axis), angle)
    flexion, sideways = hinge.bend(rotate(transpose(first), lower))
    return first, hinge.rotation(flexion, sideways, np.zeros_like(flexion))


def _fit_head(
    seen: Floats, weights: Floats, markers: Floats, neck: float, up: Floats
) -> tuple[Floats, Floats]:
    """Rotation of the head (T, 3, 3) and direction of the neck (T, 3) that fit the markers.

    Nose and head top leave two mirrored solutions that fall into one where the neck is in the
    head's plane of symmetry, as it nearly is: noise would throw the neck to either side. So the
    neck is drawn towards the middle between the trunk's and the head's axis, less where eyes and
    ears are seen. Least squares by Gauss and Newton's method, from the best rigid fit with a
    straight neck.

    Seen (T, M, 3) are nose, head top, eyes and ears from the thorax, 0 where the weight is 0;
    markers (M, 3) are the same from the base of the skull, neck metres above the thorax.
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
    """Rotations (T, 3, 3) of Hips, Spine, Spine1 and Chest against their parents, and the rotations
    (T, 3, 3) of Hips and Chest against the rest pose."""
    at = by_joint(points)
    pelvis, spine, thorax = at["pelvis"], at["spine"], at["thorax"]
    hips = axes_along(at["left_hip"] - at["right_hip"], spine - pelvis, "xz")
    low = unit(spine - pelvis, hips[..., 2])
    high = unit(thorax - spine, low)
    across = at["left_shoulder"] - at["right_shoulder"]
    # Shoulders in line with the spine tell nothing: the chest goes on as the spine does.
    bent = swing(low, high) @ swing(hips[..., 2], low) @ hips
    chest = axes_along(high, unit(across, bent[..., 0]), "zx")
    # A third of the twist each. By way of the sine, so that nothing jumps at half a turn.
    angle = twist(_Z, relative(bent, chest))
    third = np.sin(angle) / 3
    lower = swing(hips[..., 2], low) @ hips @ from_axis_angle(_Z, third)
    upper = bent @ from_axis_angle(_Z, 2 * third)
    local = {
        "Hips": hips,
        "Spine": relative(hips, lower),
        "Spine1": relative(lower, upper),
        "Chest": relative(upper, chest),
    }
    return local, hips, chest


def _pose_head(
    points: Floats, weights: Floats, markers: Floats, neck_length: float, chest: Floats
) -> dict[str, Floats]:
    """Rotations (T, 3, 3) of Neck and Head against their parents."""
    at, joints = by_joint(points), [_BODY.index(joint) for joint in _ON_HEAD]
    weights = weights[:, joints]
    # Nose and head top belong to the body: whatever their confidence, the head follows them.
    weights[:, :2] = np.maximum(weights[:, :2], 0.05)
    up = unit(at["thorax"] - at["pelvis"], chest[..., 2])
    seen = np.where(weights[..., None] > 0, points[:, joints], 0.0)
    seen = seen - np.where(weights > 0, 1.0, 0.0)[..., None] * at["thorax"][:, None]
    head, along = _fit_head(seen, weights, markers[joints], neck_length, up)
    neck = swing(chest[..., 2], along) @ chest
    # Half of the turn each, by way of the sine as in the trunk.
    angle = twist(_Z, relative(neck, head))
    neck = neck @ from_axis_angle(_Z, np.sin(angle) / 2)
    return {"Neck": relative(chest, neck), "Head": relative(neck, head)}


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
        (T, N, 4) quaternions w, x, y, z, each node's rotation against its parent; nan in frames
        that lack one of the first 17 joints.
    Raises:
        ValueError: an array has the wrong shape.
    """
    points, whole = check_points(points)
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
    at = by_joint(points)
    local, hips, chest = _pose_trunk(points)
    neck_length = float(np.linalg.norm(offsets[NODES.index("Head")]))
    local |= _pose_head(points, weights, markers, neck_length, chest)

    def fit(joint: str, names: list[str], rest: Floats, shift: Floats) -> Floats:
        """Rotations (T, 3, 3) that turn the markers of `names`, moved by `shift`, onto what was
        seen. What they leave open, because they are missing or on a line, is as in `rest`."""
        chosen = [_BODY.index(name) for name in names]
        seen = points[:, chosen] - at[joint][:, None]
        weight = np.where(np.isfinite(seen).all(-1), weights[:, chosen], 0)
        turned, positions = np.nan_to_num(seen), markers[chosen] + shift
        products = np.einsum("tm,tmi,mj->tij", weight, turned, positions)
        return nearest_rotation(products + _REST_WEIGHT * rest)

    for side in ("left", "right"):
        name = side.capitalize()
        axis = np.array(BALLS[f"{name}Shoulder"].axis)
        to_shoulder = at[f"{side}_shoulder"] - at["thorax"]
        to_shoulder = unit(rotate(transpose(chest), to_shoulder), axis)
        local[f"{name}Shoulder"] = swing(axis, to_shoulder)
        shoulder = chest @ local[f"{name}Shoulder"]
        for parent, nodes, joints in (
            (shoulder, ("Arm", "ForeArm"), ("shoulder", "elbow", "wrist")),
            (hips, ("UpLeg", "Leg"), ("hip", "knee", "ankle")),
        ):
            ball, hinge = BALLS[name + nodes[0]], HINGES[name + nodes[1]]
            near, middle, far = (at[f"{side}_{joint}"] for joint in joints)
            upper = unit(rotate(transpose(parent), middle - near), np.array(ball.axis))
            lower = unit(rotate(transpose(parent), far - middle), upper)
            first, second = _pose_limb(ball, hinge, upper, lower, whole)
            local[name + nodes[0]], local[name + nodes[1]] = first, second

        forearm = shoulder @ local[f"{name}Arm"] @ local[f"{name}ForeArm"]
        knuckles = [f"{side}_index", f"{side}_pinky"]
        hand = relative(forearm, fit(f"{side}_wrist", knuckles, forearm, np.zeros(3)))
        # The forearm takes the twist, so that the wrist only bends.
        turned = from_axis_angle(axis, twist(axis, hand))
        local[f"{name}ForeArm"] = local[f"{name}ForeArm"] @ turned
        local[f"{name}Hand"] = relative(turned, hand)

        shin = hips @ local[f"{name}UpLeg"] @ local[f"{name}Leg"]
        sole = [f"{side}_heel", f"{side}_big_toe", f"{side}_small_toe"]
        # Toes are seen from the ball of the foot.
        shift = np.array([[0], [1], [1]]) * offsets[NODES.index(f"{name}ToeBase")]
        local[f"{name}Foot"] = relative(shin, fit(f"{side}_ankle", sole, shin, shift))

    rotations[:] = [1, 0, 0, 0]
    for node, rotation in local.items():
        rotations[:, NODES.index(node)] = to_quaternions(rotation)
    rotations[~whole] = np.nan
    return rotations
