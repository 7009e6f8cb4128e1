"""Which feet stand, what that says of the path, and how standing feet are held still."""

from __future__ import annotations

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.bones import bones
from lithepose.poses import segments, usual_step
from lithepose.rotations import dot, unit
from lithepose.world.ground import ANKLES, STEP_UP_M, Ground
from lithepose.world.path import PathTies

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
# A foot's correction begins this long before it stands and ends as long after. Hips that a leg
# pulls down go down over some three times the second of these.
EASE_S = 0.12
LOWERING_S = 0.067
# Cost of a change between standing and not, in units of the evidence of one frame at 30 frames/s.
CHANGE_COST = 2.0


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
    """Hold standing feet still on the floor; the knees give way, bones keep their lengths.

    Args:
        joints: (T, 17, 3) metres, world axes, floor at 0; all finite.
        contact: (T, 2) bool, left and right.
        time_s: (T,) seconds.
        ankle_height_m: height of the ankle over the sole.
    Returns:
        (T, 17, 3). The hips sink a little where a leg would not reach.
    """
    locked = joints.copy()
    wanted = joints[:, ANKLES, :].copy()  # (T, 2, 3)
    for side in range(2):
        shift = np.zeros((len(joints), 3))
        pull = np.zeros(len(joints))
        for run in segments(contact[:, side]):
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
    locked = _lower_hips(locked, wanted, lengths, time_s)
    for side, (hip, knee, ankle) in enumerate(LEGS):
        bent = _bend_leg(locked, (hip, knee, ankle), wanted[:, side], lengths)
        locked[:, knee], locked[:, ankle] = bent
    return locked


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
    spread = max(0.3, LOWERING_S / max(usual_step(time_s), 1e-3))
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
