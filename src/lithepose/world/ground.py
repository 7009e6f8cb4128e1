"""The ground under people: which way is up, where the floor is, and which feet stand on it.

A picture says little of this, people say a lot: they stand and walk upright, and their standing
feet lie in one plane. Those cues and what is known of how people hold cameras are weighed against
each other (`fit_ground`). Standing feet are then held still (`plant_feet`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.bones import bones
from lithepose.world.path import PathTies

# Frames further apart in time than this belong to different stretches: what happened between them
# is not known, and filling it in would cost as much as the hole is long.
MAX_GAP_S = 0.5

# Of `h36m17`: hip, knee and ankle of the left and the right leg, in the order of `contact`.
LEGS = ((4, 5, 6), (1, 2, 3))
ANKLES = (6, 3)

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

# A foot stands while it moves slower than this and is not higher than this over the lowest place of
# the feet within `LEVEL_S`; both are where either answer is as likely.
STANDING_SPEED = 0.45  # m/s
STANDING_HEIGHT_M = 0.06
LEVEL_S = 1.5
# Feet that stand this far apart in height stand on different things: floor, step, wall.
STEP_UP_M = 0.15
# The floor is the lowest of them on which feet stand this long in all.
FLOOR_S = 0.25
# A foot this far from where it stood has stepped, however slowly.
DRIFT_M = 0.12
# How far a lifted standing foot seems to move in a thirtieth of a second, and to be off the floor.
STEP_SPREAD_M = 0.012
HEIGHT_SPREAD_M = 0.03
# A foot's correction begins this long before it stands and ends as long after. Hips that a leg
# pulls down go down over some three times the second of these.
EASE_S = 0.12
LOWERING_S = 0.067
# Cost of a change between standing and not, in units of the evidence of one frame at 30 frames/s.
CHANGE_COST = 2.0


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
        forward = np.array([0.0, 0.0, 1.0])
        level = forward - (forward @ self.up) * self.up
        if np.linalg.norm(level) < 1e-3:  # straight down or up: the top of the picture is ahead
            level = np.array([0.0, -1.0, 0.0]) - (-self.up[1]) * self.up
        y = level / np.linalg.norm(level)
        return np.stack([np.cross(y, self.up), y, self.up], axis=-1)

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
    lengths = [np.linalg.norm(vector, axis=-1, keepdims=True) for vector in (trunk, legs, whole)]
    with np.errstate(invalid="ignore", divide="ignore"):
        bend = ((trunk / lengths[0]) * (legs / lengths[1])).sum(-1)
        upright = bend > np.cos(np.radians(UPRIGHT_DEG))
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0
    if not upright.any():
        return np.full(3, np.nan), 0.0
    mean = (whole / lengths[2])[upright].mean(0)
    return mean / np.linalg.norm(mean), float(upright.sum() * step)


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
    step = float(np.median(np.diff(time_s)))
    evidence = np.where(np.isfinite(evidence), evidence, -4) * min(1.0, 30 * step)
    for side in range(2):
        contact[:, side] = _two_states(evidence[:, side].tolist())
        for run in stretches(contact[:, side]):
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
    return round(seconds / max(float(np.median(np.diff(time_s))), 1e-3))


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


def stretches(flags: Flags, time_s: Floats | None = None) -> list[slice]:
    """The stretches of True in a line of flags (T,).

    Args:
        time_s: (T,) seconds, ascending; with it, no stretch reaches over a step longer than
            `MAX_GAP_S`.
    """
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(np.int8)))
    found = [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    if time_s is None:
        return found
    holes = np.flatnonzero(holes_in(time_s)) + 1
    parts = []
    for run in found:
        inside = holes[
            np.searchsorted(holes, run.start, "right") : np.searchsorted(holes, run.stop)
        ]
        ends = [run.start, *inside.tolist(), run.stop]
        parts += [slice(start, stop) for start, stop in pairwise(ends)]
    return parts


def holes_in(time_s: Floats) -> Flags:
    """(T - 1,) which steps of time are longer than `MAX_GAP_S`; half a second exactly is not."""
    return np.diff(np.asarray(time_s, dtype=np.float64)) > MAX_GAP_S + 1e-6


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
            for run in stretches(contact[:, side], time_s):
                feet.append(np.median(joints[run, ankle], axis=0))
                heights.append(ankle_height)
                spans.append(time_s[run.stop - 1] - time_s[run.start])
    axes = [body_axis(joints, time_s) for joints, time_s in zip(people, times_s, strict=True)]
    axes = [(axis, seconds) for axis, seconds in axes if seconds > 0]
    points, wanted, seconds = np.array(feet).reshape(-1, 3), np.array(heights), np.array(spans)
    told = up is not None
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
        "up_known": told,
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


def plant_feet(joints: Floats, contact: Flags, time_s: Floats, ankle_height_m: float) -> Floats:
    """Hold standing feet still on the floor; the knees give way, bones keep their lengths.

    Args:
        joints: (T, 17, 3) metres, world axes, floor at 0; all finite.
        contact: (T, 2) bool, left and right.
        time_s: (T,) seconds.
        ankle_height_m: height of the ankle over the sole.
    Returns:
        (T, 17, 3). The hips sink a little where a leg would not reach.
    """
    planted = joints.copy()
    wanted = joints[:, ANKLES, :].copy()  # (T, 2, 3)
    for side in range(2):
        shift = np.zeros((len(joints), 3))
        pull = np.zeros(len(joints))
        for run in stretches(contact[:, side]):
            anchor = np.median(wanted[run, side], axis=0)
            if abs(anchor[2] - ankle_height_m) < STEP_UP_M:
                anchor[2] = ankle_height_m
            # The correction of the first and the last frame fades out beyond them.
            start, end = time_s[run.start], time_s[run.stop - 1]
            near = slice(*np.searchsorted(time_s, [start - EASE_S, end + EASE_S]))
            nearest = np.clip(np.arange(near.start, near.stop), run.start, run.stop - 1)
            outside = np.maximum(start - time_s[near], time_s[near] - end)
            share = np.clip(1 - outside / EASE_S, 0, 1)
            share = share * share * (3 - 2 * share)
            held = (anchor - wanted[nearest, side]) * share[:, None]
            stronger = share > pull[near]
            shift[near] = np.where(stronger[:, None], held, shift[near])
            pull[near] = np.maximum(share, pull[near])
        wanted[:, side] += shift
        # A foot in the air does not go through the floor, unless there is none: a pit, a stair.
        through = (wanted[:, side, 2] < ankle_height_m) & (
            wanted[:, side, 2] > ankle_height_m - STEP_UP_M
        )
        wanted[through, side, 2] = ankle_height_m
    lengths = np.linalg.norm(bones(joints), axis=-1)
    planted = _lower_hips(planted, wanted, lengths, time_s)
    for side, (hip, knee, ankle) in enumerate(LEGS):
        bent = _bend_leg(planted, (hip, knee, ankle), wanted[:, side], lengths)
        planted[:, knee], planted[:, ankle] = bent
    return planted


def _lower_hips(joints: Floats, wanted: Floats, lengths: Floats, time_s: Floats) -> Floats:
    """Move the whole body towards feet that a straight leg would not reach, smoothly in time."""
    moved = joints.copy()
    for _ in range(3):
        short = np.zeros((len(joints), 3))
        for side, (hip, knee, ankle) in enumerate(LEGS):
            reach = 0.9995 * (lengths[:, knee] + lengths[:, ankle])
            gap = wanted[:, side] - moved[:, hip]
            distance = np.linalg.norm(gap, axis=-1)
            over = np.maximum(distance - reach, 0)
            short += (over / np.maximum(distance, 1e-9))[:, None] * gap / 2
        if not short.any():
            break
        moved += _blurred(2 * short, time_s)[:, None]
    return moved


def _blurred(values: Floats, time_s: Floats) -> Floats:
    """Gaussian average over `LOWERING_S`, the ends repeated: (T, D)."""
    step = float(np.median(np.diff(time_s))) if len(time_s) > 1 else LOWERING_S
    spread = max(0.3, LOWERING_S / max(step, 1e-3))
    reach = int(np.ceil(3 * spread))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / spread) ** 2)
    kernel /= kernel.sum()
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    return np.stack([np.convolve(column, kernel, "valid") for column in padded.T], -1)


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
    reach = np.clip(distance, np.abs(thigh - shin) + 1e-4, 0.9999 * (thigh + shin))
    along = line / np.maximum(distance, 1e-9)[:, None]
    out = joints[:, knee] - joints[:, hip]
    out = out - (out * along).sum(-1, keepdims=True) * along
    size = np.linalg.norm(out, axis=-1, keepdims=True)
    # A straight leg bends where the toes would be: across the hips.
    across = joints[:, 1] - joints[:, 4]
    ahead = np.cross(along, across)
    ahead /= np.maximum(np.linalg.norm(ahead, axis=-1, keepdims=True), 1e-9)
    out = np.where(size > 1e-3, out / np.maximum(size, 1e-9), ahead)
    foot = (thigh**2 - shin**2 + reach**2) / (2 * reach)
    rise = np.sqrt(np.maximum(thigh**2 - foot**2, 0))
    new_knee = joints[:, hip] + foot[:, None] * along + rise[:, None] * out
    return new_knee, joints[:, hip] + reach[:, None] * along
