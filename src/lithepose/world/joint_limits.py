"""What joints can do: hinges and balls, their ranges, and rotations brought inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.rotations import (
    from_axis_angle,
    from_quaternions,
    relative,
    swing,
    to_quaternions,
    twist,
    unit,
)
from lithepose.world.rig import NODES, check_rotations, on_right


@dataclass(frozen=True, kw_only=True)
class Hinge:
    """A joint that bends in one plane.

    Attributes:
        axis: the bone's direction in the rest pose.
        hinge: the axis about which it bends; positive flexion is a right-handed turn about it.
        flexion: least and greatest, degrees.
        sideways: how far the bone may leave the plane, degrees.
        twist: least and greatest rotation about `axis`, degrees.
    """

    axis: tuple[float, float, float]
    hinge: tuple[float, float, float]
    flexion: tuple[float, float]
    sideways: float
    twist: tuple[float, float]

    def rotation(self, flexion: Floats, sideways: Floats, twist: Floats) -> Floats:
        """Rotations (T, 3, 3) of angles (T,) in radians."""
        axis, hinge = np.array(self.axis), np.array(self.hinge)
        bent = from_axis_angle(hinge, flexion) @ from_axis_angle(np.cross(axis, hinge), sideways)
        return bent @ from_axis_angle(axis, twist)

    def bend(self, directions: Floats) -> tuple[Floats, Floats]:
        """Flexion and sideways bend in radians, (T,) each, of directions (T, 3) of the bone."""
        axis, hinge = np.array(self.axis), np.array(self.hinge)
        flexion = np.arctan2(directions @ np.cross(hinge, axis), directions @ axis)
        return flexion, np.arcsin(np.clip(directions @ hinge, -1, 1))

    def angles(self, rotations: Floats) -> tuple[Floats, Floats, Floats]:
        """Flexion, sideways bend and twist, (T,) radians each, of rotations (T, 3, 3)."""
        axis = np.array(self.axis)
        flexion, sideways = self.bend(rotations @ axis)
        straight = self.rotation(flexion, sideways, np.zeros_like(flexion))
        return flexion, sideways, twist(axis, relative(straight, rotations))

    def limit(self, rotations: Floats) -> tuple[Floats, Flags]:
        """Rotations (T, 3, 3) inside the range, and (T,) which of the given ones were not."""
        now = np.stack(self.angles(rotations))
        side = np.deg2rad(self.sideways)
        allowed = np.stack(
            [
                _clipped(now[0], self.flexion),
                np.clip(now[1], -side, side),
                _clipped(now[2], self.twist),
            ]
        )
        outside = np.any(np.abs(now - allowed) > 1e-9, axis=0)
        return self.rotation(*allowed), np.asarray(outside)


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
        twist: least and greatest rotation about `axis`, degrees.
    """

    axis: tuple[float, float, float]
    middle: tuple[float, float, float]
    about: tuple[float, float, float] = (1.0, 0.0, 0.0)
    swing: tuple[float, float]
    twist: tuple[float, float]

    def untwisted(self, directions: Floats) -> Floats:
        """Rotations (T, 3, 3) from the rest pose to directions (T, 3) of the bone."""
        middle = unit(np.array(self.middle), np.array(self.axis))
        return swing(middle, directions) @ swing(np.array(self.axis), middle)

    def limit(self, rotations: Floats) -> tuple[Floats, Flags]:
        """Rotations (T, 3, 3) inside the range, and (T,) which of the given ones were not."""
        axis = np.array(self.axis)
        middle = unit(np.array(self.middle), axis)
        first, second = np.deg2rad(self.swing)
        directions = rotations @ axis
        away = directions - (directions @ middle)[:, None] * middle
        distance = np.arctan2(np.linalg.norm(away, axis=-1), directions @ middle)
        one = unit(np.cross(np.array(self.about), middle), np.eye(3)[2])
        two = np.cross(middle, one)
        away = unit(away, one)
        share = distance * np.hypot(away @ one / first, away @ two / second)
        far = share > 1 + 1e-9
        distance = np.where(far, distance / np.maximum(share, 1), distance)[:, None]
        nearer = np.cos(distance) * middle + np.sin(distance) * away
        nearer = np.where(far[:, None], nearer, directions)
        angle = twist(axis, relative(self.untwisted(directions), rotations))
        allowed = _clipped(angle, self.twist)
        outside = far | (np.abs(angle - allowed) > 1e-9)
        return self.untwisted(nearer) @ from_axis_angle(axis, allowed), outside


def _clipped(angle: Floats, limits: tuple[float, float]) -> Floats:
    """Angles in radians brought to the nearer end of limits in degrees, the short way round."""
    low, high = np.deg2rad(limits)
    middle = (low + high) / 2
    around = (angle - middle + np.pi) % (2 * np.pi) - np.pi
    half = (high - low) / 2
    return np.where(np.abs(around) > half, middle + np.clip(around, -half, half), angle)


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


BALLS = _LEFT_BALLS | {
    on_right(name): replace(joint, **_mirrored(joint))
    for name, joint in _LEFT_BALLS.items()
    if name.startswith("Left")
}
HINGES = _LEFT_HINGES | {
    on_right(name): replace(joint, **_mirrored(joint)) for name, joint in _LEFT_HINGES.items()
}
JOINT_LIMITS: dict[str, Ball | Hinge] = {**BALLS, **HINGES}


def limit_rotations(
    rotations: Floats, limits: Mapping[str, Ball | Hinge] = JOINT_LIMITS
) -> tuple[Floats, Floats]:
    """Bring rotations to the nearest that the joints can do.

    A bone that points outside its range goes straight back to the edge; twist and flexion are
    clipped. Bones keep their lengths; what hangs on a changed joint moves along.

    Args:
        rotations: (T, N, 4) quaternions w, x, y, z, each node's rotation against its parent.
        limits: ranges by node; nodes without one are free.
    Returns:
        The rotations, unchanged where they are inside, and by how many degrees each was turned
        (T, N), 0 where unchanged; both nan where there was no person.
    Raises:
        ValueError: the shape is wrong, or a limit is for no node of the rig.
    """
    limited = check_rotations(rotations).copy()
    unknown = sorted(set(limits) - set(NODES))
    if unknown:
        raise ValueError(f"the rig has no {', '.join(unknown)}; known: {', '.join(NODES)}")
    whole = np.asarray(np.isfinite(limited).all(axis=(1, 2)))
    moved = np.where(whole[:, None], np.zeros(limited.shape[:2]), np.nan)
    for name, limit in limits.items():
        node = NODES.index(name)
        given = from_quaternions(limited[whole, node])
        inside, outside = limit.limit(given)
        frames = np.flatnonzero(whole)[outside]
        limited[frames, node] = to_quaternions(inside[outside])
        moved[frames, node] = _degrees_between(given[outside], inside[outside])
    return limited, moved


def _degrees_between(one: Floats, other: Floats) -> Floats:
    """The angles (T,) of the rotations from one to the other, (T, 3, 3)."""
    q = to_quaternions(relative(one, other))
    return np.rad2deg(2 * np.arctan2(np.linalg.norm(q[..., 1:], axis=-1), q[..., 0]))
