"""Motions made by formula: walking, turning, waving, squatting, sitting, jumping jacks, reaching.

They need no recordings, so demonstrations and tests can rely on them everywhere. Legs are solved
backwards from planted ankles, so standing feet don't slide; segment lengths are exactly those of
the body. World axes: z up, floor at z = 0, metres; at heading 0 a person faces along +y.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

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


@dataclass
class _Plan:
    """What the parts of the body do, T frames; angles in radians, sides right, left."""

    time_s: Floats  # (T,)
    path: Floats  # (T, 2) the pelvis over the floor
    heading: Floats  # (T,) counter-clockwise from +y
    drop: Floats  # (T,) metres by which the pelvis goes down
    back: Floats  # (T,) metres by which it goes back
    lean: Floats  # (T,) trunk forward
    sway: Floats  # (T,) trunk to the right
    pelvis_turn: Floats  # (T,) of the hips about the vertical, on top of the heading
    twist: Floats  # (T,) of the shoulders against the heading
    swing: Floats  # (T, 2) upper arms forward
    spread: Floats  # (T, 2) upper arms outward
    elbow: Floats  # (T, 2) bend
    fold: Floats  # (T, 2, 3) where the forearm goes when it bends: right, forward, up
    look: Floats  # (T,) head to the left
    nod: Floats  # (T,) head down
    hop: Floats  # (T,) metres both feet are off the floor
    stance: Floats  # (T, 2) metres by which each foot stands wider than usual

    @classmethod
    def standing(cls, seconds: float, fps: float, rng: np.random.Generator) -> _Plan:
        frames = max(round(seconds * fps), 1)
        time_s = np.arange(frames) / fps
        zero, both = np.zeros(frames), np.zeros((frames, 2))
        breath = 0.006 * np.sin(2 * np.pi * time_s / 3.7 + rng.uniform(0, 6))
        shift = 0.012 * np.sin(2 * np.pi * time_s / 4.9 + rng.uniform(0, 6))
        fold = np.zeros((frames, 2, 3)) + np.array([-0.25, 1.0, 0.1]) * np.stack(
            [_SIDES, np.ones(2), np.ones(2)], -1
        )
        plan = cls(
            time_s, np.zeros((frames, 2)), zero.copy(), zero + 0.012, zero.copy(), 0.03 + breath,
            shift, zero.copy(), zero.copy(), both + 0.02, both + 0.14, both + 0.25, fold,
            zero.copy(), zero.copy(), zero.copy(), both.copy(),
        )  # fmt: skip
        plan.look += 0.08 * np.sin(2 * np.pi * time_s / 5.3 + rng.uniform(0, 6))
        return plan


def _forward(heading: Floats) -> Floats:
    return np.stack([-np.sin(heading), np.cos(heading)], -1)


def _rightward(heading: Floats) -> Floats:
    return np.stack([np.cos(heading), np.sin(heading)], -1)


def _step_feet(plan: _Plan, body: Body, period: float, start_s: float) -> tuple[Floats, Floats]:
    """Ankles (T, 2, 3) that follow the path in steps, and the walking phase (T,) in cycles.

    Each foot stands for 0.6 of the cycle where the path is in the middle of its stance, rolls over
    its ball at the end, and swings to the next place. Where the path stands still, so do the feet.
    """
    time_s, scale = plan.time_s, body.scale
    phase = (time_s - start_s) / period
    ankles = np.zeros((len(time_s), 2, 3))
    stance_share = 0.6

    def path_at(t: Floats) -> tuple[Floats, Floats]:
        where = np.stack([np.interp(t, time_s, plan.path[:, i]) for i in range(2)], -1)
        return where, np.interp(t, time_s, plan.heading)

    for side in (_RIGHT, _LEFT):
        cycle = phase + 0.5 * side
        number = np.floor(cycle)
        share = cycle - number
        feet, headings = [], []
        for offset in (0, 1):
            middle = start_s + (number + offset - 0.5 * side + stance_share / 2) * period
            middle = np.clip(middle, time_s[0], time_s[-1])
            where, heading = path_at(middle)
            lateral = _SIDES[side] * 0.44 * body.hip_width
            feet.append(where + lateral * _rightward(heading))
            headings.append(heading)
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
        ankles[:, side, :2] = place + ahead[:, None] * _forward(heading)
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
    ankles = ankles.copy()
    ankles[..., 2] += plan.hop[:, None]
    level = np.zeros((frames, 1))
    forward = np.concatenate([_forward(plan.heading), level], -1)
    right = np.concatenate([_rightward(plan.heading), level], -1)
    for side in (_RIGHT, _LEFT):
        ankles[:, side] += _SIDES[side] * plan.stance[:, side, None] * right
    up = np.array([0.0, 0.0, 1.0])

    hip_right = np.concatenate([_rightward(plan.heading + plan.pelvis_turn), level], -1)
    pelvis = np.concatenate([plan.path, level], -1) - plan.back[:, None] * forward
    half_hips = 0.5 * body.hip_width * hip_right
    leg = body.thigh + body.shin
    # The pelvis is as high as both legs allow, smoothed, then lowered by the plan.
    reach = np.full(frames, np.inf)
    for side in (_RIGHT, _LEFT):
        hip = pelvis + _SIDES[side] * half_hips
        away = np.linalg.norm((ankles[:, side] - hip)[:, :2], axis=-1)
        reach = np.minimum(
            reach, ankles[:, side, 2] + np.sqrt(np.maximum((0.995 * leg) ** 2 - away**2, 0.01))
        )
    window = max(round(0.06 * fps), 1)
    padded = np.pad(reach, window, mode="edge")
    lowest = np.min([padded[i : i + frames] for i in range(2 * window + 1)], axis=0)
    pelvis[:, 2] = np.minimum(_smooth(lowest, 0.045 * fps) - plan.drop, reach)

    lean_up = (
        np.cos(plan.lean)[:, None] * up
        + np.sin(plan.lean)[:, None] * forward
        + np.sin(plan.sway)[:, None] * right
    )
    half_up, lean_up = unit(up + lean_up), unit(lean_up)
    joints[:, 0] = pelvis
    joints[:, 7] = pelvis + 0.47 * body.trunk * half_up
    joints[:, 8] = joints[:, 7] + 0.53 * body.trunk * lean_up

    shoulder_right = np.concatenate([_rightward(plan.heading + plan.twist), level], -1)
    chest = axes_along(lean_up, shoulder_right, "zx")
    for side, hip_joint, shoulder_joint in ((_RIGHT, 1, 14), (_LEFT, 4, 11)):
        sign = _SIDES[side]
        hip = pelvis + sign * half_hips
        knee, ankle = _solve_leg(hip, ankles[:, side], body, forward + 0.12 * sign * right)
        joints[:, hip_joint], joints[:, hip_joint + 1] = hip, knee
        joints[:, hip_joint + 2] = ankle

        shoulder = joints[:, 8] + 0.5 * sign * body.shoulder_width * chest[..., 0]
        swing, spread, bend = plan.swing[:, side], plan.spread[:, side], plan.elbow[:, side]
        local = np.stack(
            [
                sign * np.sin(spread),
                np.cos(spread) * np.sin(swing),
                -np.cos(spread) * np.cos(swing),
            ],
            -1,
        )
        fold = plan.fold[:, side]
        fold = unit(fold - dot(fold, local)[:, None] * local)
        fore = np.cos(bend)[:, None] * local + np.sin(bend)[:, None] * fold
        joints[:, shoulder_joint] = shoulder
        elbow = shoulder + body.upper_arm * rotate(chest, local)
        joints[:, shoulder_joint + 1] = elbow
        joints[:, shoulder_joint + 2] = elbow + body.forearm * rotate(chest, fore)

    head_forward = np.concatenate([_forward(plan.heading + plan.look), level], -1)
    head_right = np.concatenate([_rightward(plan.heading + plan.look), level], -1)
    head_up = np.cos(plan.nod)[:, None] * up + np.sin(plan.nod)[:, None] * head_forward
    head_up = head_up + 0.5 * (lean_up - up)  # eyes stay nearly level when the trunk leans
    head = axes_along(head_up, head_right, "zx")
    skull = joints[:, 8] + body.neck * unit(lean_up + head[..., 2])
    joints[:, 9] = skull + body.nose_forward * head[..., 1] + body.nose_up * head[..., 2]
    joints[:, 10] = skull + body.head * head[..., 2]
    return joints


def _solve_leg(hip: Floats, ankle: Floats, body: Body, pole: Floats) -> tuple[Floats, Floats]:
    """Knee and ankle (T, 3) of a leg that reaches for an ankle and bends towards `pole`.

    An ankle beyond the leg's length is pulled in along the line from the hip.
    """
    line = ankle - hip
    distance = np.linalg.norm(line, axis=-1, keepdims=True)
    line = line / np.maximum(distance, 1e-9)
    distance = np.clip(
        distance, abs(body.thigh - body.shin) + 0.02, 0.9999 * (body.thigh + body.shin)
    )
    along = (distance**2 + body.thigh**2 - body.shin**2) / (2 * distance)
    out = np.sqrt(np.maximum(body.thigh**2 - along**2, 0))
    bend = unit(pole - dot(pole, line)[:, None] * line)
    return hip + along * line + out * bend, hip + distance * line


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


def _walk(seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    plan = _Plan.standing(seconds, fps, rng)
    speed = float(rng.uniform(0.75, 1.05)) * body.scale
    period = float(rng.uniform(0.95, 1.1))
    plan.path[:, 1] = speed * (plan.time_s - plan.time_s[-1] / 2)
    curve = float(rng.uniform(-0.12, 0.12))
    plan.heading += curve * np.sin(plan.time_s * 0.9)
    # The path follows the heading.
    step = speed / fps * _forward(plan.heading)
    plan.path = np.cumsum(step, axis=0) - step.sum(0) / 2
    ankles, phase = _step_feet(plan, body, period, -float(rng.uniform(0, period)))
    _swing_arms(plan, phase, np.ones(len(plan.time_s)))
    return _build(plan, body, ankles)


def _turn(seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    plan = _Plan.standing(seconds, fps, rng)
    rate = float(rng.choice([-1, 1])) * float(rng.uniform(0.9, 1.5))
    plan.heading += rate * plan.time_s
    ankles, phase = _step_feet(plan, body, 0.9, 0.0)
    _swing_arms(plan, phase, np.full(len(plan.time_s), 0.35))
    plan.look += 0.25 * np.sign(rate)
    return _build(plan, body, ankles)


def _still(plan: _Plan, body: Body) -> Floats:
    """Ankles (T, 2, 3) of someone who stands at the start of the path."""
    ankles = np.zeros((len(plan.time_s), 2, 3))
    for side in (_RIGHT, _LEFT):
        lateral = _SIDES[side] * 0.5 * body.hip_width * _rightward(plan.heading[:1])
        ankles[:, side, :2] = plan.path[:1] + lateral
    ankles[..., 2] = body.ankle_height
    return ankles


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


def _wave(seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    plan = _Plan.standing(seconds, fps, rng)
    amount = _pulse(plan.time_s, 0.1 * seconds, 0.95 * seconds, min(0.5, 0.2 * seconds))
    _raise_and_wave(plan, int(rng.integers(2)), amount, float(rng.uniform(1.2, 2.0)))
    return _build(plan, body, _still(plan, body))


def _bend_knees(plan: _Plan, body: Body, amount: Floats, depth: float) -> None:
    """Go down where `amount` (T,) is 1, `depth` in leg lengths, in place."""
    leg = body.thigh + body.shin
    plan.drop += amount * depth * leg
    plan.back += amount * 0.32 * depth * leg
    plan.lean += amount * (0.25 + 0.9 * depth)
    plan.nod -= amount * 0.15
    plan.swing += (amount * 1.25)[:, None]
    plan.elbow += (amount * 0.25)[:, None]


def _squat(seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    plan = _Plan.standing(seconds, fps, rng)
    period = float(rng.uniform(1.8, 2.6))
    amount = 0.5 - 0.5 * np.cos(2 * np.pi * plan.time_s / period)
    _bend_knees(plan, body, amount, float(rng.uniform(0.35, 0.5)))
    ankles = _still(plan, body)
    plan.stance += 0.05
    return _build(plan, body, ankles)


def _sit(seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    plan = _Plan.standing(seconds, fps, rng)
    amount = _pulse(plan.time_s, 0.1 * seconds, 0.9 * seconds, min(1.1, 0.35 * seconds))
    moving = 4 * amount * (1 - amount)  # leaning forward on the way down and up
    leg = body.thigh + body.shin
    plan.drop += amount * 0.47 * leg
    plan.back += amount * 0.42 * leg
    plan.lean += 0.55 * moving + 0.05 * amount
    plan.swing += (0.45 * amount + 0.5 * moving)[:, None]
    plan.elbow += (0.75 * amount)[:, None]
    return _build(plan, body, _still(plan, body))


def _jumping_jacks(seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    plan = _Plan.standing(seconds, fps, rng)
    period = float(rng.uniform(0.95, 1.25))
    turn = 2 * np.pi * plan.time_s / period
    open_share = 0.5 - 0.5 * np.cos(turn)
    plan.spread += (2.45 * open_share)[:, None]
    plan.elbow += (0.15 + 0.25 * np.sin(turn) ** 2)[:, None]
    plan.fold[:] = np.array([0.0, 0.6, 1.0])
    plan.stance += (0.30 * body.scale * open_share)[:, None]
    # Feet leave the floor between the two positions, twice a cycle.
    plan.hop += 0.09 * np.clip(np.sin(turn) ** 2 - 0.25, 0, None)
    plan.drop += 0.05 * np.clip(np.cos(turn) ** 2 - 0.4, 0, None)
    return _build(plan, body, _still(plan, body))


def _reach(seconds: float, fps: float, body: Body, rng: np.random.Generator) -> Floats:
    plan = _Plan.standing(seconds, fps, rng)
    low = _pulse(plan.time_s, 0.05 * seconds, 0.5 * seconds, 0.2 * seconds)
    high = _pulse(plan.time_s, 0.5 * seconds, 0.97 * seconds, 0.2 * seconds)
    _bend_knees(plan, body, low, 0.22)
    plan.lean += 0.55 * low
    side = int(rng.integers(2))
    plan.swing[:, side] += 2.6 * high
    plan.nod -= 0.3 * high
    plan.twist += 0.35 * _SIDES[side] * high
    return _build(plan, body, _still(plan, body))


MOTIONS: dict[str, Callable[[float, float, Body, np.random.Generator], Floats]] = {
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
    if name not in MOTIONS:
        raise ValueError(f"no motion named {name!r}; known: {', '.join(sorted(MOTIONS))}")
    if not (seconds > 0 and fps > 0):
        raise ValueError(
            f"a motion needs a positive length and rate, got {seconds} s at {fps} frames per second"
        )
    return MOTIONS[name](seconds, fps, body, rng)


def demo_motion(body: Body, fps: float = 30.0, seed: int = 0) -> Floats:
    """Six seconds for demonstrations: walk up in a curve, turn, wave, squat.

    Returns:
        (T, 17, 3) metres, world axes; the person ends near the origin and faces -y.
    """
    rng = np.random.default_rng(seed)
    plan = _Plan.standing(6.0, fps, rng)
    time_s = plan.time_s
    # Walks along +x for two seconds, slows down, and turns to face -y on the last steps.
    stop = 2.3
    speed = 1.02 * body.scale * (1 - _ease((time_s - stop + 0.9) / 0.9))
    plan.heading = -np.pi / 2 - (np.pi / 2) * _ease((time_s - 1.2) / 1.3)
    step = speed[:, None] / fps * _forward(plan.heading)
    plan.path = np.cumsum(step, axis=0)
    plan.path -= plan.path[-1] - (0.15, 0.1)
    ankles, phase = _step_feet(plan, body, 1.0, -0.2)
    effort = np.maximum(speed / speed.max(), 0.4 * (1 - _ease((time_s - 2.2) / 0.5)))
    _swing_arms(plan, phase, effort)
    _raise_and_wave(plan, _RIGHT, _pulse(time_s, 2.5, 4.15, 0.45), 1.7)
    _bend_knees(plan, body, _pulse(time_s, 4.1, 5.85, 0.8), 0.42)
    plan.look -= 0.35 * _pulse(time_s, 0.9, 2.3, 0.5)  # looks where the turn will lead
    return _build(plan, body, ankles)
