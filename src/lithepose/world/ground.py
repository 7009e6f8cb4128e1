"""The ground under people: which way is up, and where the floor is.

A picture says little of this, people say a lot: they stand and walk upright, and their standing
feet lie in one plane. Those cues and what is known of how people hold cameras are weighed against
each other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.poses import segments, usual_step
from lithepose.rotations import axes_along, dot, unit

ANKLES = (6, 3)  # of `h36m17`, left and right as in `contact`

# How people hold cameras: level in roll, tilted up or down by more.
ROLL_SPREAD_DEG = 3.0
PITCH_SPREAD_DEG = 12.0
# How far the mean axis of an upright person, from ankles to shoulders, is from the vertical.
BODY_SPREAD_DEG = 3.0
# Error of a standing foot's height in metres, per metre of distance from the camera.
FOOT_SPREAD = 0.012
# Legs and trunk in line within this are upright.
UPRIGHT_DEG = 25.0
# Less than this long upright in all says little about the vertical.
UPRIGHT_S = 0.5

# Feet that stand this far apart in height stand on different things: floor, step, wall.
STEP_UP_M = 0.15
# The floor is the lowest of them on which feet stand this long in all.
FLOOR_S = 0.25


@dataclass(frozen=True, kw_only=True)
class Ground:
    """Where up and the floor are, seen from the camera.

    Attributes:
        up: (3,) unit vector in camera axes.
        camera_height_m: of the camera over the floor.
        cues: how the direction was found, for the result's metadata.
    """

    up: Floats
    camera_height_m: float
    cues: dict[str, Any]

    @property
    def rotation(self) -> Floats:
        """(3, 3), world axes to camera axes: z up, y the way the camera looks, x to its right."""
        ahead = np.array([0.0, 0.0, 1.0])
        if np.linalg.norm(np.cross(ahead, self.up)) < 1e-3:
            ahead = np.array([0.0, -1.0, 0.0])  # straight down or up: the top of the picture
        return axes_along(self.up, ahead, "zy")

    @property
    def position(self) -> Floats:
        """(3,) the camera in the world: over the origin."""
        return np.array([0.0, 0.0, self.camera_height_m])

    def to_world(self, points_camera: Floats) -> Floats:
        """Points (..., 3) in camera axes, metres, to world axes."""
        return points_camera @ self.rotation + self.position


def up_of_tilt(pitch_deg: float, roll_deg: float) -> Floats:
    """The vertical in camera axes of a camera that looks `pitch_deg` above the horizon and whose
    picture is turned clockwise by `roll_deg`.

    Returns:
        (3,) unit vector.
    """
    pitch, roll = np.radians(pitch_deg), np.radians(roll_deg)
    up = np.array([0.0, -np.cos(pitch), np.sin(pitch)])
    turn = np.array([[np.cos(roll), -np.sin(roll)], [np.sin(roll), np.cos(roll)]])
    up[:2] = turn @ up[:2]
    return up


def body_axis(joints: Floats, time_s: Floats) -> tuple[Floats, float]:
    """The mean direction from ankles to shoulders while a person is upright.

    Args:
        joints: (T, 17, 3), any axes; nan frames are left out.
    Returns:
        (3,) unit vector, nan if the person is never upright; and for how many seconds they are.
    """
    ankles = (joints[:, 3] + joints[:, 6]) / 2
    trunk = joints[:, 8] - joints[:, 0]
    legs = joints[:, 0] - ankles
    whole = joints[:, 8] - ankles
    upright = dot(unit(trunk), unit(legs)) > np.cos(np.radians(UPRIGHT_DEG))
    if not upright.any():
        return np.full(3, np.nan), 0.0
    mean = unit(whole[upright]).mean(0)
    return mean / np.linalg.norm(mean), float(upright.sum() * usual_step(time_s))


def fit_ground(
    people: Sequence[Floats],
    contacts: Sequence[Flags],
    ankle_heights_m: Sequence[float],
    times_s: Sequence[Floats],
    *,
    up: Floats | None = None,
    camera_height_m: float | None = None,
) -> Ground:
    """Find the vertical and the floor that fit people, their standing feet, and a held camera.

    Args:
        people: (T, 17, 3) metres, camera axes, absolute, of each person; nan frames are left out.
        contacts: (T, 2) bool, which of their feet stand; may be empty at first.
        ankle_heights_m: height of the ankle over the sole.
        times_s: (T,) seconds.
        up: the vertical in camera axes, if known.
        camera_height_m: if known.
    """
    feet, heights, spans = [], [], []
    for joints, contact, ankle_height, time_s in zip(
        people, contacts, ankle_heights_m, times_s, strict=True
    ):
        for side, ankle in enumerate(ANKLES):
            for run in segments(contact[:, side], time_s):
                feet.append(np.median(joints[run, ankle], axis=0))
                heights.append(ankle_height)
                spans.append(time_s[run.stop - 1] - time_s[run.start])
    axes = [body_axis(joints, time_s) for joints, time_s in zip(people, times_s, strict=True)]
    axes = [(axis, seconds) for axis, seconds in axes if seconds > 0]
    points, wanted, seconds = np.array(feet).reshape(-1, 3), np.array(heights), np.array(spans)
    given = up is not None
    if up is None:
        # Which feet are on one level is seen well enough without them; all at once, a stage and the
        # floor before it would make one slope.
        up = _fit_up(points[:0], wanted[:0], axes, camera_height_m)
        main = max(_levels(points @ up - wanted), key=lambda at: seconds[at].sum(), default=[])
        up = _fit_up(points[main], wanted[main], axes, camera_height_m)
    levels = _levels(points @ up - wanted)
    cues = {
        "standing_feet": len(feet),
        "levels": len(levels),
        "upright_s": round(sum(seconds for _, seconds in axes), 2),
        "up_known": given,
        "camera_height_known": camera_height_m is not None,
    }
    if camera_height_m is None:
        floors = [at for at in levels if seconds[at].sum() >= FLOOR_S] or levels
        if floors:
            camera_height_m = float(np.median((wanted - points @ up)[floors[0]]))
        else:
            camera_height_m = _over_lowest_ankle(people, ankle_heights_m, up)
    return Ground(up=up, camera_height_m=camera_height_m, cues=cues)


def _levels(heights: Floats) -> list[list[int]]:
    """Indices of heights (N,) in groups that are less than `STEP_UP_M` apart, the lowest first."""
    order = np.argsort(heights)
    breaks = np.flatnonzero(np.diff(heights[order]) > STEP_UP_M) + 1
    return [part.tolist() for part in np.split(order, breaks) if len(part)]


def _over_lowest_ankle(
    people: Sequence[Floats], ankle_heights_m: Sequence[float], up: Floats
) -> float:
    """Height of the camera over the floor if nobody ever stands: the lowest ankles touch it."""
    lowest = []
    for joints, ankle_height in zip(people, ankle_heights_m, strict=True):
        along = (joints[:, ANKLES] @ up).min(1)
        along = along[np.isfinite(along)]
        if len(along):
            lowest.append(ankle_height - float(np.percentile(along, 10)))
    return max(lowest, default=1.5)


def _fit_up(
    feet: Floats,
    heights: Floats,
    axes: Sequence[tuple[Floats, float]],
    camera_height_m: float | None,
) -> Floats:
    """The most likely vertical: Gauss-Newton over its two angles and the camera's height."""
    up = np.array([0.0, -1.0, 0.0])
    if axes:
        up = np.sum([axis * min(seconds, 2.0) for axis, seconds in axes], axis=0)
        up /= np.linalg.norm(up)
    height = camera_height_m
    if height is None:
        height = float(np.median(heights - feet @ up)) if len(feet) else 0.0
    for _ in range(12):
        # Steps of the vertical: turning it to the right and forward, in camera axes.
        right = np.cross(up, (0.0, 0.0, 1.0))
        right /= max(float(np.linalg.norm(right)), 1e-9)
        forward = np.cross(right, up)
        basis = np.stack([right, forward], -1)  # (3, 2)
        # What each cue would change: (how the steps change it, what it misses, its spread).
        pitch, roll = np.sin(np.radians([PITCH_SPREAD_DEG, ROLL_SPREAD_DEG]))
        pulls: list[tuple[Floats, float, float]] = [
            (np.append(basis[2], 0.0), -up[2], pitch),
            (np.append(basis[0], 0.0), -up[0], roll),
            (np.array([0.0, 0.0, 1.0]), 0.0, 10.0),  # keeps the height solvable without feet
        ]
        for axis, seconds in axes:
            spread = np.radians(BODY_SPREAD_DEG) / np.sqrt(min(1.0, seconds / UPRIGHT_S))
            spread *= np.sqrt(len(axes))  # several people don't say more: the lifter errs alike
            pulls += [
                (np.append(np.eye(2)[i], 0.0), float(axis @ basis[:, i]), spread) for i in range(2)
            ]
        miss = heights - feet @ up - height
        spread = FOOT_SPREAD * np.linalg.norm(feet, axis=-1)
        # A foot that does not really stand is an outlier.
        spread = spread * np.sqrt(np.maximum(1.0, np.abs(miss) / (2 * spread)))
        moves_height = float(camera_height_m is None)
        for point, off, wide in zip(feet, miss, spread, strict=True):
            pulls.append((np.append(point @ basis, moves_height), float(off), float(wide)))
        weighted = [(row / spread, off / spread) for row, off, spread in pulls]
        step = np.linalg.lstsq(*map(np.array, zip(*weighted, strict=True)), rcond=None)[0]
        up = up + basis @ step[:2]
        up /= np.linalg.norm(up)
        height += step[2]
    return up
