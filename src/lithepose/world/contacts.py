"""Which feet stand, what that says of the path, and how standing feet are held still."""

from __future__ import annotations

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.bones import bones
from lithepose.poses import segments, usual_step
from lithepose.rotations import dot, unit
from lithepose.world.ground import ANKLES, STEP_UP_M, Ground
from lithepose.world.path import PathTies, second_differences, solve_block_tridiagonal

# Of `h36m17`: hip, knee and ankle of the left and the right leg, in the order of `contact`.
LEGS = ((4, 5, 6), (1, 2, 3))
# A foot stands while it moves slower than this and is not higher than this over the lowest place of
# the feet within `LEVEL_S`; both are where either answer is as likely.
STANDING_SPEED = 0.45  # m/s
STANDING_HEIGHT_M = 0.06
LEVEL_S = 1.5
# A foot this far from where it stood has stepped, however slowly.
DRIFT_M = 0.12
# How far a lifted standing foot seems to move in a thirtieth of a second, and to be off the floor.
STEP_SPREAD_M = 0.012
HEIGHT_SPREAD_M = 0.03
# What locked feet are weighed against, as spreads: how far a standing foot moves from frame to
# frame, from its place, and off the floor; how far the root and the angles of the legs are moved,
# and their accelerations. Chosen on the validation subjects by the errors of knees, hips and root:
# a factor of two in any of them hardly counts.
LOCK_STEP_M, LOCK_PLACE_M, LOCK_HEIGHT_M = 0.0005, 0.006, 0.01
ROOT_SPREAD_M, ROOT_ACCELERATION = 0.03, 3.0  # m/s²
ANGLE_SPREAD, ANGLE_ACCELERATION = np.radians(4.0), np.radians(400.0)  # per s²
# A knee straighter than this counts as bent so far: the smallest change would seem endless.
LEAST_BEND = 0.12
# Contacts so near to each other in time and place are one.
SAME_PLACE_S, SAME_PLACE_M = 0.25, 0.03
# Cost of a change between standing and not, in units of the evidence of one frame at 30 frames/s.
CHANGE_COST = 2.0

_UP = np.array([0.0, 0.0, 1.0])
# Where the unknowns of a frame (root, left ankle, right ankle) put the left and the right ankle.
_EYE, _NONE = np.eye(3), np.zeros((3, 3))
_ANKLE_OF = (np.hstack([_EYE, _EYE, _NONE]), np.hstack([_EYE, _NONE, _EYE]))


def find_contacts(ankles: Floats, time_s: Floats) -> Flags:
    """Which feet stand, on the floor or on whatever is there: they are still, and as low as the
    person's feet get within a second and a half.

    The evidence of all frames is joined by a two-state chain, so that single frames neither begin
    nor end a step.

    Args:
        ankles: (T, 2, 3) metres, z up; nan frames count as not standing.
        time_s: (T,) seconds.
    Returns:
        (T, 2) bool.
    """
    frames = len(ankles)
    contact = np.zeros((frames, 2), bool)
    if frames < 3:
        return contact
    speed = np.linalg.norm(_slope(ankles, time_s), axis=-1)  # (T, 2)
    height = ankles[..., 2] - _level_below(ankles[..., 2], time_s)[:, None]
    with np.errstate(invalid="ignore"):
        # Being low alone says little: a foot in mid-swing is low as well.
        evidence = 2.5 * (1 - speed / STANDING_SPEED) + np.minimum(
            2.5 * (1 - height / STANDING_HEIGHT_M), 0.5
        )
        evidence = np.clip(evidence, -4, 2)
    evidence = np.where(np.isfinite(evidence), evidence, -4) * min(1.0, 30 * usual_step(time_s))
    for side in range(2):
        contact[:, side] = _two_states(evidence[:, side].tolist())
        for run in segments(contact[:, side]):
            _split(contact[:, side], run, ankles[:, side], speed[:, side], time_s)
    return contact & np.isfinite(speed)


def _level_below(heights: Floats, time_s: Floats) -> Floats:
    """Height (T,) of what is under the feet, whose ankles have heights (T, 2): how low they get
    around each frame."""
    reach = max(1, _frames_in(LEVEL_S / 2, time_s))
    lowest = np.where(np.isfinite(heights), heights, np.inf).min(1)
    padded = np.pad(lowest, reach, mode="edge")
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    return np.percentile(around, 10, axis=-1, method="lower")


def _split(standing: Flags, run: slice, ankle: Floats, speed: Floats, time_s: Floats) -> None:
    """Where a foot that seems to stand ends up elsewhere, let it step; changes `standing`.

    A shuffling foot is never fast. It has stepped where it was fastest before it was
    `DRIFT_M` from where it stood.
    """
    start = run.start
    while True:
        first = slice(start, min(start + max(3, _frames_in(0.2, time_s)), run.stop))
        away = np.linalg.norm(ankle[start : run.stop] - np.median(ankle[first], axis=0), axis=-1)
        gone = np.flatnonzero(away > DRIFT_M)
        if not len(gone):
            return
        # The step lies between the last frame that was surely at the old place, and this one.
        end = start + int(gone[0])
        near = np.flatnonzero(away[: gone[0]] < DRIFT_M / 2)
        begin = start + (int(near[-1]) if len(near) else 0)
        middle = begin + int(np.argmax(speed[begin : end + 1]))
        width = max(1, _frames_in(0.06, time_s))
        standing[max(run.start, middle - width) : min(run.stop, middle + width + 1)] = False
        start = middle + width + 1
        if start >= run.stop:
            return


def _frames_in(seconds: float, time_s: Floats) -> int:
    return round(seconds / max(usual_step(time_s), 1e-3))


def _two_states(evidence: list[float]) -> list[bool]:
    """The likeliest course of a state that is on or off, by Viterbi: `evidence` is the gain of
    being on in each frame, every change costs `CHANGE_COST`."""
    off, on = 0.0, 0.0
    turned: list[tuple[bool, bool]] = []  # whether being off, or on, began in this frame
    for gain in evidence:
        turned.append((on - CHANGE_COST > off, off - CHANGE_COST > on))
        off, on = max(off, on - CHANGE_COST), max(on, off - CHANGE_COST) + gain
    state = on > off
    course = []
    for turns in reversed(turned):
        course.append(state)
        if turns[state]:
            state = not state
    return course[::-1]


def _slope(values: Floats, time_s: Floats) -> Floats:
    """Velocity over about 0.13 s around each frame: (T, ...) -> (T, ...)."""
    frames = len(values)
    reach = max(1, _frames_in(0.067, time_s))
    before = np.maximum(np.arange(frames) - reach, 0)
    after = np.minimum(np.arange(frames) + reach, frames - 1)
    span = (time_s[after] - time_s[before]).reshape(-1, *[1] * (values.ndim - 1))
    return (values[after] - values[before]) / np.maximum(span, 1e-3)


def path_ties(
    poses: Floats,
    root: Floats,
    contact: Flags,
    time_s: Floats,
    ground: Ground,
    ankle_height_m: float,
) -> PathTies:
    """What standing feet say of the root's path, for `lithepose.world.path.fit_root_path`.

    Args:
        poses: (T, 17, 3) metres, camera axes, centred at the root; all finite.
        root: (T, 3) metres, camera axes, where it was found without them.
        contact: (T, 2) bool.
        time_s: (T,) seconds.
        ground: where up and the floor are.
        ankle_height_m: height of the ankle over the sole.
    """
    ankles = poses[:, ANKLES]  # (T, 2, 3)
    both = (contact[1:] & contact[:-1]).astype(float)  # (T - 1, 2)
    count = both.sum(1)
    moved = ((ankles[:-1] - ankles[1:]) * both[..., None]).sum(1)
    standing = contact.astype(float)
    feet = standing.sum(1)
    floor = ankle_height_m - ground.camera_height_m  # along up, seen from the camera
    below = (standing * (ankles @ ground.up)).sum(1) / np.maximum(feet, 1)
    # Only feet near the floor are held at its height; others stand on something else.
    near = np.abs(below + root @ ground.up - floor) < STEP_UP_M
    return PathTies(
        step=moved / np.maximum(count, 1)[:, None],
        step_weight=count / (STEP_SPREAD_M**2 * 30 * np.maximum(np.diff(time_s), 1e-3)),
        up=ground.up,
        height=floor - below,
        height_weight=feet * near / HEIGHT_SPREAD_M**2,
    )


def lock_feet(joints: Floats, contact: Flags, time_s: Floats, ankle_height_m: float) -> Floats:
    """Hold standing feet still: one solve moves the root and both legs.

    Unknown in each frame are how far the root moves and how far each ankle moves against its hip.
    Standing feet keep their place and the floor's height; legs change their angles as little and as
    smoothly as they can, and the root takes what is slow. So the drift of a lifted path goes to the
    root, and knees keep their bend: a nearly straight knee would have to bend far for little.

    Args:
        joints: (T, 17, 3) metres, world axes, floor at 0; all finite.
        contact: (T, 2) bool, left and right.
        time_s: (T,) seconds.
        ankle_height_m: height of the ankle over the sole.
    Returns:
        (T, 17, 3), bones as long as before.
    """
    frames = len(joints)
    if frames < 3 or not contact.any():
        return joints.copy()
    lengths = np.linalg.norm(bones(joints), axis=-1)
    ankles = joints[:, ANKLES]  # (T, 2, 3)
    system = _LockSystem(frames + frames % 2)
    system.add_motion([_leg_angles(joints, leg, lengths) for leg in LEGS], time_s)
    for side in range(2):
        system.add_steps(side, ankles[:, side], contact[:, side])
        gap = ankle_height_m - ankles[:, side, 2]
        near = (contact[:, side] & (np.abs(gap) < STEP_UP_M)).astype(float)
        system.add_places(side, np.outer(gap * near, _UP), np.outer(near, _UP) / LOCK_HEIGHT_M)
    moved = system.solve()[:frames]
    # Steps alone would let a foot creep in a minute of standing: now it also has a place.
    for side in range(2):
        now = ankles[:, side] + moved @ _ANKLE_OF[side].T
        places = _places_of(now, contact[:, side], time_s)
        known = np.isfinite(places)
        gap = np.where(known, places - ankles[:, side], 0)
        system.add_places(side, gap, known / LOCK_PLACE_M)
    moved = system.solve()[:frames]
    locked = joints + moved[:, None, :3]
    for side, leg in enumerate(LEGS):
        target = ankles[:, side] + moved @ _ANKLE_OF[side].T
        locked[:, leg[1]], locked[:, leg[2]] = _bend_leg(locked, leg, target, lengths)
    return locked


class _LockSystem:
    """Least squares over 9 unknowns a frame: metres by which the root, the left and the right ankle
    (against its hip) move. Frames are coupled with the next two; T is even."""

    def __init__(self, frames: int):
        # Couplings of each frame with itself and with the frames one and two later.
        self.bands = np.zeros((3, frames, 9, 9))
        self.bands[0] += 1e-9 * np.eye(9)
        self.right = np.zeros((frames, 9))

    def add_motion(self, legs: list[Floats], time_s: Floats) -> None:
        """The root's displacement, the legs' angles (T, 3, 3), and the accelerations of both."""
        count = len(time_s)
        angles = np.zeros((count, 9, 9))
        angles[:, 3:6, 3:6], angles[:, 6:, 6:] = legs
        root = np.diag([1.0] * 3 + [0.0] * 6)
        for spread, angle_spread, factors in (
            (ROOT_SPREAD_M, ANGLE_SPREAD, None),
            (ROOT_ACCELERATION, ANGLE_ACCELERATION, second_differences(time_s)),
        ):
            rows = root / spread + angles / angle_spread
            if factors is None:
                self.bands[0, :count] += np.swapaxes(rows, 1, 2) @ rows
                continue
            for first in range(3):
                for second in range(first, 3):
                    one, other = rows[first : count - 2 + first], rows[second : count - 2 + second]
                    product = np.swapaxes(one, 1, 2) @ other
                    weight = (factors[:, first] * factors[:, second])[:, None, None]
                    self.bands[second - first, first : count - 2 + first] += weight * product

    def add_steps(self, side: int, ankle: Floats, contact: Flags) -> None:
        """A foot that stands in two neighbouring frames does not move between them."""
        row, count = _ANKLE_OF[side], len(ankle)
        weight = (contact[1:] & contact[:-1]) / LOCK_STEP_M**2
        square = weight[:, None, None] * (row.T @ row)
        self.bands[0, : count - 1] += square
        self.bands[0, 1:count] += square
        self.bands[1, : count - 1] -= square
        step = weight[:, None] * np.diff(ankle, axis=0) @ row
        self.right[: count - 1] += step
        self.right[1:count] -= step

    def add_places(self, side: int, gap: Floats, weight: Floats) -> None:
        """An ankle moves by `gap` (T, 3) metres, weighted by `weight` (T, 3), one over metres."""
        row, count = _ANKLE_OF[side], len(gap)
        weighted = weight[..., None] * row
        self.bands[0, :count] += np.swapaxes(weighted, 1, 2) @ weighted
        self.right[:count] += (weight**2 * gap) @ row

    def solve(self) -> Floats:
        """(T, 9) metres. Two frames make one block, so that couplings reach only the next block."""
        own, one, two = self.bands
        blocks = len(own) // 2
        diagonal, upper = np.zeros((blocks, 18, 18)), np.zeros((blocks - 1, 18, 18))
        diagonal[:, :9, :9], diagonal[:, 9:, 9:] = own[0::2], own[1::2]
        diagonal[:, :9, 9:] = one[0::2]
        diagonal[:, 9:, :9] = np.swapaxes(one[0::2], 1, 2)
        upper[:, :9, :9], upper[:, 9:, :9], upper[:, 9:, 9:] = two[:-2:2], one[1:-1:2], two[1:-1:2]
        return solve_block_tridiagonal(diagonal, upper, self.right.reshape(-1, 18)).reshape(-1, 9)


def _leg_angles(joints: Floats, leg: tuple[int, int, int], lengths: Floats) -> Floats:
    """(T, 3, 3) radians per metre: by how much knee and hip turn if the ankle moves against the hip
    along the leg, in the plane of the knee, and out of it."""
    hip, knee, ankle = leg
    line = joints[:, ankle] - joints[:, hip]
    distance = np.maximum(np.linalg.norm(line, axis=-1, keepdims=True), 1e-3)
    along = unit(line)
    bent = joints[:, knee] - joints[:, hip]
    plane = unit(bent - dot(bent, along)[:, None] * along)
    thigh, shin = unit(bent), unit(joints[:, ankle] - joints[:, knee])
    half = np.arccos(np.clip(dot(thigh, shin), -1, 1)) / 2
    bone = (lengths[:, knee] + lengths[:, ankle]) / 2
    per_radian = np.maximum(np.sin(half), np.sin(LEAST_BEND / 2)) * bone
    rows = [along / per_radian[:, None], plane / distance, np.cross(along, plane) / distance]
    return np.stack(rows, 1)


def _places_of(ankle: Floats, contact: Flags, time_s: Floats) -> Floats:
    """Where a foot (T, 3) stands in each frame, nan where it does not. It stands in one place
    before and after a moment in which it only seemed to move."""
    places = np.full(ankle.shape, np.nan)
    same: list[int] = []
    for run in segments(contact):
        here = np.median(ankle[run], axis=0)
        if same:
            paused = time_s[run.start] - time_s[same[-1]]
            if paused > SAME_PLACE_S or np.linalg.norm(here - places[same[-1]]) > SAME_PLACE_M:
                same = []
        same += range(run.start, run.stop)
        places[same] = np.median(ankle[same], axis=0)
    return places


def _bend_leg(
    joints: Floats, leg: tuple[int, int, int], target: Floats, lengths: Floats
) -> tuple[Floats, Floats]:
    """Knee and ankle of a leg whose ankle goes to a target, as near as the bones let it.

    The knee stays in the plane of hip, target and where it was.
    """
    hip, knee, ankle = leg
    thigh, shin = lengths[:, knee], lengths[:, ankle]
    line = target - joints[:, hip]
    distance = np.linalg.norm(line, axis=-1)
    reach = np.clip(distance, np.abs(thigh - shin) + 1e-4, 0.99995 * (thigh + shin))
    along = unit(line)
    out = joints[:, knee] - joints[:, hip]
    out = out - dot(out, along)[:, None] * along
    size = np.linalg.norm(out, axis=-1, keepdims=True)
    # A straight leg bends where the toes would be: across the hips.
    ahead = unit(np.cross(along, joints[:, 1] - joints[:, 4]))
    out = np.where(size > 1e-3, unit(out), ahead)
    foot = (thigh**2 - shin**2 + reach**2) / (2 * reach)
    rise = np.sqrt(np.maximum(thigh**2 - foot**2, 0))
    new_knee = joints[:, hip] + foot[:, None] * along + rise[:, None] * out
    return new_knee, joints[:, hip] + reach[:, None] * along
