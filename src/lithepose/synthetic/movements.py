"""Motions made by formula: walking, turning, waving, squatting, sitting, jumping jacks, reaching.

They need no recordings, so demonstrations and tests can rely on them everywhere. Legs are solved
backwards from planted ankles, so standing feet don't slide; segment lengths are exactly those of
the body. World axes: z up, floor at z = 0, metres; at heading 0 a person faces along +y.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from lithepose.arrays import Floats
from lithepose.rotations import axes_along, dot, rotate, unit
from lithepose.synthetic.bodies import Body

_RIGHT, _LEFT = 0, 1  # index of the two sides in the arrays below
_SIDES = np.array([1.0, -1.0])  # x of the side in the body's axes
_BALL = 0.13  # metres from below the ankle to the ball of the foot, mean stature


def _ease(x: Floats) -> Floats:
    """0 below 0, 1 above 1, and a smooth step without jerk at the ends between."""
    x = np.clip(x, 0, 1)
    return x * x * x * (10 - 15 * x + 6 * x * x)


def _pulse(time_s: Floats, start: float, end: float, rise: float) -> Floats:
    """1 from start to end with eased flanks of `rise` seconds inside."""
    return _ease((time_s - start) / rise) * (1 - _ease((time_s - end + rise) / rise))


class _Plan:
    """What the parts of the body do, T frames; angles in radians, sides right, left.

    At first somebody stands at the origin, breathes and looks around a little.
    """

    def __init__(self, seconds: float, fps: float, rng: np.random.Generator):
        self.seconds, self.fps, self.rng = seconds, fps, rng
        frames = max(round(seconds * fps), 1)
        self.time_s = np.arange(frames) / fps  # (T,)

        def slowly(period: float) -> Floats:
            return np.sin(2 * np.pi * self.time_s / period + rng.uniform(0, 6))

        self.path = np.zeros((frames, 3))  # the pelvis over the floor, z 0
        self.heading: Floats = np.zeros(frames)  # counter-clockwise from +y
        self.drop = np.full(frames, 0.012)  # metres by which the pelvis goes down
        self.back = np.zeros(frames)  # metres by which it goes back
        self.lean = 0.03 + 0.006 * slowly(3.7)  # (T,) trunk forward
        self.sway = 0.012 * slowly(4.9)  # (T,) trunk to the right
        self.pelvis_turn = np.zeros(frames)  # of the hips about the vertical, beside the heading
        self.twist = np.zeros(frames)  # of the shoulders against the heading
        self.swing = np.full((frames, 2), 0.02)  # upper arms forward
        self.spread = np.full((frames, 2), 0.14)  # upper arms outward
        self.elbow = np.full((frames, 2), 0.25)  # bend
        # (T, 2, 3) where the forearm goes when it bends: right, forward, up
        self.fold = np.tile([[-0.25 * side, 1.0, 0.1] for side in _SIDES], (frames, 1, 1))
        self.look = 0.08 * slowly(5.3)  # (T,) head to the left
        self.nod = np.zeros(frames)  # head down
        self.hop = np.zeros(frames)  # metres both feet are off the floor
        self.stance = np.zeros((frames, 2))  # metres by which each foot stands wider than usual


def _forward(heading: Floats) -> Floats:
    return np.stack([-np.sin(heading), np.cos(heading), np.zeros_like(heading)], -1)


def _rightward(heading: Floats) -> Floats:
    return np.stack([np.cos(heading), np.sin(heading), np.zeros_like(heading)], -1)


def _step_feet(plan: _Plan, body: Body, period: float, start_s: float) -> tuple[Floats, Floats]:
    """Ankles (T, 2, 3) that follow the path in steps, and the walking phase (T,) in cycles.

    Each foot stands for 0.6 of the cycle where the path is in the middle of its stance, rolls over
    its ball at the end, and swings to the next place. Where the path stands still, so do the feet.
    """
    time_s, scale = plan.time_s, body.scale
    phase = (time_s - start_s) / period
    ankles = np.zeros((len(time_s), 2, 3))
    stance_share = 0.6

    for side in (_RIGHT, _LEFT):
        cycle = phase + 0.5 * side
        number = np.floor(cycle)
        share = cycle - number
        feet, headings = [], []
        for offset in (0, 1):
            middle = start_s + (number + offset - 0.5 * side + stance_share / 2) * period
            middle = np.clip(middle, time_s[0], time_s[-1])
            where = np.stack([np.interp(middle, time_s, along) for along in plan.path.T], -1)
            headings.append(np.interp(middle, time_s, plan.heading))
            lateral = _SIDES[side] * 0.44 * body.hip_width
            feet.append(where + lateral * _rightward(headings[-1]))
        apart = np.linalg.norm(feet[1] - feet[0], axis=-1)
        turned = np.abs(headings[1] - headings[0])
        # How much of a full step this is: none when standing.
        effort = np.clip((apart + 0.25 * turned) / (0.8 * scale), 0, 1)

        roll = 0.60 * effort * _ease((share - 0.40) / (stance_share - 0.40))
        swing = _ease((share - stance_share) / (1 - stance_share))
        roll_now = np.where(share < stance_share, roll, 0.60 * effort * (1 - _ease(2.0 * swing)))
        place = feet[0] + swing[:, None] * (feet[1] - feet[0])
        heading = headings[0] + swing * (headings[1] - headings[0])
        ball, height = _BALL * scale, body.ankle_height
        ahead = ball - (ball * np.cos(roll_now) - height * np.sin(roll_now))
        up = ball * np.sin(roll_now) + height * np.cos(roll_now)
        lift = 0.055 * scale * effort * np.sin(np.pi * swing)
        ankles[:, side] = place + ahead[:, None] * _forward(heading)
        ankles[:, side, 2] = up + lift
    return ankles, phase


def _smooth(values: Floats, sigma: float) -> Floats:
    """Gaussian smoothing over time, ends repeated; sigma in frames."""
    reach = max(int(3 * sigma), 1)
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(sigma, 1e-3)) ** 2)
    padded = np.pad(values, reach, mode="edge")
    return np.convolve(padded, kernel / kernel.sum(), mode="valid")


def _build(plan: _Plan, body: Body, ankles: Floats) -> Floats:
    """(T, 17, 3) joints that carry out a plan with the given ankles (T, 2, 3)."""
    frames = len(plan.time_s)
    fps = 1 / (plan.time_s[1] - plan.time_s[0]) if frames > 1 else 30.0
    joints = np.zeros((frames, 17, 3))
    up, sides = np.array([0.0, 0.0, 1.0]), _SIDES[:, None]
    forward, right = _forward(plan.heading), _rightward(plan.heading)
    ankles = ankles + plan.hop[:, None, None] * up
    ankles += (_SIDES * plan.stance)[..., None] * right[:, None]

    pelvis = plan.path - plan.back[:, None] * forward
    half_hips = 0.5 * body.hip_width * _rightward(plan.heading + plan.pelvis_turn)
    leg = body.thigh + body.shin
    # The pelvis is as high as both legs allow, smoothed, then lowered by the plan.
    hips = pelvis[:, None] + sides * half_hips[:, None]
    away = np.linalg.norm((ankles - hips)[..., :2], axis=-1)
    climb = np.sqrt(np.maximum((0.995 * leg) ** 2 - away**2, 0.01))
    reach = (ankles[..., 2] + climb).min(1)
    window = max(round(0.06 * fps), 1)
    padded = np.pad(reach, window, mode="edge")
    lowest = np.min([padded[i : i + frames] for i in range(2 * window + 1)], axis=0)
    pelvis[:, 2] = np.minimum(_smooth(lowest, 0.045 * fps) - plan.drop, reach)

    lean, sway = plan.lean[:, None], plan.sway[:, None]
    lean_up = np.cos(lean) * up + np.sin(lean) * forward + np.sin(sway) * right
    half_up, lean_up = unit(up + lean_up), unit(lean_up)
    joints[:, 0] = pelvis
    joints[:, 7] = pelvis + 0.47 * body.trunk * half_up
    joints[:, 8] = joints[:, 7] + 0.53 * body.trunk * lean_up

    hips = pelvis[:, None] + sides * half_hips[:, None]
    poles = forward[:, None] + 0.12 * sides * right[:, None]
    knees, ankles = _solve_legs(hips, ankles, body, poles)
    joints[:, [1, 4]], joints[:, [2, 5]], joints[:, [3, 6]] = hips, knees, ankles

    chest = axes_along(lean_up, _rightward(plan.heading + plan.twist), "zx")
    across = 0.5 * body.shoulder_width * chest[..., 0]
    ahead, down = (
        np.cos(plan.spread) * np.sin(plan.swing),
        -np.cos(plan.spread) * np.cos(plan.swing),
    )
    upper = np.stack([_SIDES * np.sin(plan.spread), ahead, down], -1)
    fold = unit(plan.fold - dot(plan.fold, upper)[..., None] * upper)
    lower = np.cos(plan.elbow)[..., None] * upper + np.sin(plan.elbow)[..., None] * fold
    joints[:, [14, 11]] = joints[:, 8:9] + sides * across[:, None]
    joints[:, [15, 12]] = joints[:, [14, 11]] + body.upper_arm * rotate(chest[:, None], upper)
    joints[:, [16, 13]] = joints[:, [15, 12]] + body.forearm * rotate(chest[:, None], lower)

    gaze = plan.heading + plan.look
    head_up = np.cos(plan.nod)[:, None] * up + np.sin(plan.nod)[:, None] * _forward(gaze)
    head_up = head_up + 0.5 * (lean_up - up)  # eyes stay nearly level when the trunk leans
    head = axes_along(head_up, _rightward(gaze), "zx")
    skull = joints[:, 8] + body.neck * unit(lean_up + head[..., 2])
    joints[:, 9] = skull + body.nose_forward * head[..., 1] + body.nose_up * head[..., 2]
    joints[:, 10] = skull + body.head * head[..., 2]
    return joints


def _solve_legs(hips: Floats, ankles: Floats, body: Body, poles: Floats) -> tuple[Floats, Floats]:
    """Knees and ankles (T, 2, 3) of legs that reach for ankles and bend towards `poles`.

    An ankle beyond the leg's length is pulled in along the line from the hip.
    """
    line = ankles - hips
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    line = line / np.maximum(distance, 1e-9)
    thigh, shin = body.thigh, body.shin
    distance = np.clip(distance, abs(thigh - shin) + 0.02, 0.9999 * (thigh + shin))
    along = (distance**2 + thigh**2 - shin**2) / (2 * distance)
    out = np.sqrt(np.maximum(thigh**2 - along**2, 0))
    bend = unit(poles - dot(poles, line)[..., None] * line)
    return hips + along * line + out * bend, hips + distance * line


def _swing_arms(plan: _Plan, phase: Floats, effort: Floats) -> None:
    """Arms, hips and shoulders that go with steps, in place; `effort` (T,) from 0 to 1."""
    turn = 2 * np.pi * phase
    # At phase 0 the right foot lands in front: the right arm is then at its rearmost.
    rhythm = np.cos(turn - 0.25)
    for side, sign in ((_RIGHT, -1.0), (_LEFT, 1.0)):
        plan.swing[:, side] += effort * (0.38 * sign * rhythm + 0.02)
        plan.elbow[:, side] += effort * (0.06 + 0.16 * np.clip(sign * rhythm, 0, 1))
    plan.pelvis_turn += effort * 0.09 * rhythm
    plan.twist -= effort * 0.10 * rhythm
    plan.sway += effort * 0.035 * np.sin(turn + 0.4)
    plan.lean += effort * 0.03
    # Weight goes over the standing leg.
    plan.path += (effort * 0.018 * np.sin(turn + 0.4))[:, None] * _rightward(plan.heading)


def _walk(plan: _Plan, body: Body) -> Floats:
    speed = float(plan.rng.uniform(0.75, 1.05)) * body.scale
    period = float(plan.rng.uniform(0.95, 1.1))
    plan.heading += float(plan.rng.uniform(-0.12, 0.12)) * np.sin(plan.time_s * 0.9)
    # The path follows the heading.
    step = speed / plan.fps * _forward(plan.heading)
    plan.path = np.cumsum(step, axis=0) - step.sum(0) / 2
    ankles, phase = _step_feet(plan, body, period, -float(plan.rng.uniform(0, period)))
    _swing_arms(plan, phase, np.ones(len(plan.time_s)))
    return ankles


def _turn(plan: _Plan, body: Body) -> Floats:
    rate = float(plan.rng.choice([-1, 1])) * float(plan.rng.uniform(0.9, 1.5))
    plan.heading += rate * plan.time_s
    ankles, phase = _step_feet(plan, body, 0.9, 0.0)
    _swing_arms(plan, phase, np.full(len(plan.time_s), 0.35))
    plan.look += 0.25 * np.sign(rate)
    return ankles


def _still(plan: _Plan, body: Body) -> Floats:
    """Ankles (T, 2, 3) of someone who stands at the start of the path."""
    aside = _SIDES[:, None] * 0.5 * body.hip_width * _rightward(plan.heading[:1])
    ankles = plan.path[0] + aside + (0, 0, body.ankle_height)
    return np.tile(ankles, (len(plan.time_s), 1, 1))


def _raise_and_wave(plan: _Plan, side: int, amount: Floats, beats_hz: float) -> None:
    """Lift an arm and wave with it where `amount` (T,) is 1, in place."""
    sign = _SIDES[side]
    wiggle = 0.55 * np.sin(2 * np.pi * beats_hz * plan.time_s)
    up = np.stack([sign * np.sin(wiggle), 0.25 + 0 * wiggle, np.cos(wiggle)], -1)
    plan.spread[:, side] += amount * 1.25
    plan.swing[:, side] += amount * 0.35
    plan.elbow[:, side] += amount * 1.45
    plan.fold[:, side] += amount[:, None] * (up - plan.fold[:, side])
    plan.sway -= 0.03 * sign * amount


def _wave(plan: _Plan, body: Body) -> Floats:
    amount = _pulse(
        plan.time_s, 0.1 * plan.seconds, 0.95 * plan.seconds, min(0.5, 0.2 * plan.seconds)
    )
    _raise_and_wave(plan, int(plan.rng.integers(2)), amount, float(plan.rng.uniform(1.2, 2.0)))
    return _still(plan, body)


def _bend_knees(plan: _Plan, body: Body, amount: Floats, depth: float) -> None:
    """Go down where `amount` (T,) is 1, `depth` in leg lengths, in place."""
    leg = body.thigh + body.shin
    plan.drop += amount * depth * leg
    plan.back += amount * 0.32 * depth * leg
    plan.lean += amount * (0.25 + 0.9 * depth)
    plan.nod -= amount * 0.15
    plan.swing += (amount * 1.25)[:, None]
    plan.elbow += (amount * 0.25)[:, None]


def _squat(plan: _Plan, body: Body) -> Floats:
    period = float(plan.rng.uniform(1.8, 2.6))
    amount = 0.5 - 0.5 * np.cos(2 * np.pi * plan.time_s / period)
    _bend_knees(plan, body, amount, float(plan.rng.uniform(0.35, 0.5)))
    plan.stance += 0.05
    return _still(plan, body)


def _sit(plan: _Plan, body: Body) -> Floats:
    amount = _pulse(
        plan.time_s, 0.1 * plan.seconds, 0.9 * plan.seconds, min(1.1, 0.35 * plan.seconds)
    )
    moving = 4 * amount * (1 - amount)  # leaning forward on the way down and up
    leg = body.thigh + body.shin
    plan.drop += amount * 0.47 * leg
    plan.back += amount * 0.42 * leg
    plan.lean += 0.55 * moving + 0.05 * amount
    plan.swing += (0.45 * amount + 0.5 * moving)[:, None]
    plan.elbow += (0.75 * amount)[:, None]
    return _still(plan, body)


def _jumping_jacks(plan: _Plan, body: Body) -> Floats:
    period = float(plan.rng.uniform(0.95, 1.25))
    turn = 2 * np.pi * plan.time_s / period
    open_share = 0.5 - 0.5 * np.cos(turn)
    plan.spread += (2.45 * open_share)[:, None]
    plan.elbow += (0.15 + 0.25 * np.sin(turn) ** 2)[:, None]
    plan.fold[:] = np.array([0.0, 0.6, 1.0])
    plan.stance += (0.30 * body.scale * open_share)[:, None]
    # Feet leave the floor between the two positions, twice a cycle.
    plan.hop += 0.09 * np.clip(np.sin(turn) ** 2 - 0.25, 0, None)
    plan.drop += 0.05 * np.clip(np.cos(turn) ** 2 - 0.4, 0, None)
    return _still(plan, body)


def _reach(plan: _Plan, body: Body) -> Floats:
    seconds = plan.seconds
    low = _pulse(plan.time_s, 0.05 * seconds, 0.5 * seconds, 0.2 * seconds)
    high = _pulse(plan.time_s, 0.5 * seconds, 0.97 * seconds, 0.2 * seconds)
    _bend_knees(plan, body, low, 0.22)
    plan.lean += 0.55 * low
    side = int(plan.rng.integers(2))
    plan.swing[:, side] += 2.6 * high
    plan.nod -= 0.3 * high
    plan.twist += 0.35 * _SIDES[side] * high
    return _still(plan, body)


# Each carries a movement into a plan and gives the ankles (T, 2, 3).
_MOVEMENTS: dict[str, Callable[[_Plan, Body], Floats]] = {
    "walk": _walk,
    "turn": _turn,
    "wave": _wave,
    "squat": _squat,
    "sit": _sit,
    "jumping_jacks": _jumping_jacks,
    "reach": _reach,
}


def motion(name: str, seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    """A motion by name.

    Args:
        name: a key of `MOTIONS`.
        seconds: length; periodic motions repeat.
        fps: frames per second.
        body: whose segment lengths it has.
        rng: draws side, speed and small differences.

    Returns:
        (T, 17, 3) metres, world axes (z up, floor at 0), around the origin, facing +y at first.

    Raises:
        ValueError: no such motion, or a length or rate that is not positive.
    """
    if name not in _MOVEMENTS:
        raise ValueError(f"no motion named {name!r}; known: {', '.join(sorted(_MOVEMENTS))}")
    if not (seconds > 0 and fps > 0):
        raise ValueError(
            f"a motion needs a positive length and rate, got {seconds} s at {fps} frames per second"
        )
    plan = _Plan(seconds, fps, rng)
    return _build(plan, body, _MOVEMENTS[name](plan, body))


MOTIONS = {name: partial(motion, name) for name in _MOVEMENTS}


def demo_motion(body: Body, fps: float = 30.0, seed: int = 0) -> Floats:
    """Six seconds for demonstrations: walk up in a curve, turn, wave, squat.

    Returns:
        (T, 17, 3) metres, world axes; the person ends near the origin and faces -y.
    """
    rng = np.random.default_rng(seed)
    plan = _Plan(6.0, fps, rng)
    time_s = plan.time_s
    # Walks along +x for two seconds, slows down, and turns to face -y on the last steps.
    stop = 2.3
    speed = 1.02 * body.scale * (1 - _ease((time_s - stop + 0.9) / 0.9))
    plan.heading = -np.pi / 2 - (np.pi / 2) * _ease((time_s - 1.2) / 1.3)
    step = speed[:, None] / fps * _forward(plan.heading)
    plan.path = np.cumsum(step, axis=0)
    plan.path -= plan.path[-1] - (0.15, 0.1, 0)
    ankles, phase = _step_feet(plan, body, 1.0, -0.2)
    effort = np.maximum(speed / speed.max(), 0.4 * (1 - _ease((time_s - 2.2) / 0.5)))
    _swing_arms(plan, phase, effort)
    _raise_and_wave(plan, _RIGHT, _pulse(time_s, 2.5, 4.15, 0.45), 1.7)
    _bend_knees(plan, body, _pulse(time_s, 4.1, 5.85, 0.8), 0.42)
    plan.look -= 0.35 * _pulse(time_s, 0.9, 2.3, 0.5)  # looks where the turn will lead
    return _build(plan, body, ankles)
