"""Standing feet locked in place: still, while bones keep their lengths and legs their angles."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.anthropometry import ANKLE_HEIGHT
from lithepose.arrays import Flags, Floats
from lithepose.bones import bones
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion
from lithepose.world.contacts import LEGS, lock_feet
from lithepose.world.ground import ANKLES
from lithepose.world.smooth import low_pass

FPS = 30.0


def knees(joints: Floats) -> Floats:
    """(T, 2) degrees of flexion."""
    angles = []
    for hip, knee, ankle in LEGS:
        thigh, shin = joints[:, knee] - joints[:, hip], joints[:, ankle] - joints[:, knee]
        lengths = np.linalg.norm(thigh, axis=-1) * np.linalg.norm(shin, axis=-1)
        angles.append(np.degrees(np.arccos(np.clip((thigh * shin).sum(-1) / lengths, -1, 1))))
    return np.stack(angles, -1)


def largest_move(joints: Floats, contact: Flags) -> float:
    """Metres by which a standing ankle is off the middle of its stance, at most."""
    moved = [0.0]
    for side, ankle in enumerate(ANKLES):
        edges = np.flatnonzero(np.diff(np.r_[0, contact[:, side].astype(int), 0]))
        for start, stop in zip(edges[::2], edges[1::2], strict=True):
            place = joints[start:stop, ankle]
            moved.append(float(np.linalg.norm(place - np.median(place, axis=0), axis=-1).max()))
    return max(moved)


@pytest.fixture(scope="module")
def walk() -> tuple[Floats, Floats, Flags, Floats, float]:
    """A walk as it is, as it is lifted (the root drifts, joints are a little off), which feet
    stand, times and the height of an ankle."""
    random = np.random.default_rng(4)
    body = random_body(random)
    true = motion("walk", 4.0, FPS, body, random)
    time_s = np.arange(len(true)) / FPS
    ankle_height_m = ANKLE_HEIGHT * body.stature
    ankles = true[:, ANKLES]
    speed = np.linalg.norm(np.gradient(ankles, 1 / FPS, axis=0), axis=-1)
    contact = (speed < 0.2) & (ankles[..., 2] < ankle_height_m + 0.03)
    drift = low_pass(np.cumsum(random.normal(0, 0.004, (len(true), 3)), axis=0), time_s, 2.0)
    lifted = true + drift[:, None]
    lifted[:, 1:] += low_pass(random.normal(0, 0.03, (len(true), 48)), time_s, 3.0).reshape(
        -1, 16, 3
    )
    return true, lifted, contact, time_s, ankle_height_m


def test_standing_feet_are_still_and_bones_as_long(walk: tuple) -> None:
    _, lifted, contact, time_s, ankle_height_m = walk
    assert contact.any(0).all()
    locked = lock_feet(lifted, contact, time_s, ankle_height_m)
    assert largest_move(lifted, contact) > 0.03
    assert largest_move(locked, contact) < 0.01
    before, after = (np.linalg.norm(bones(joints), axis=-1) for joints in (lifted, locked))
    np.testing.assert_allclose(after, before, atol=1e-6)


def test_legs_keep_their_angles_and_the_root_takes_the_drift(walk: tuple) -> None:
    true, lifted, contact, time_s, ankle_height_m = walk
    locked = lock_feet(lifted, contact, time_s, ankle_height_m)
    changed = np.abs(knees(locked) - knees(lifted))
    assert changed.max() < 8
    assert np.sqrt((changed**2).mean()) < 2.5

    def error(joints: Floats) -> float:
        return float(np.sqrt(((knees(joints) - knees(true)) ** 2).mean()))

    assert error(locked) < 1.05 * error(lifted)
    steps = [np.percentile(np.abs(np.diff(knees(j), axis=0)), 95) for j in (locked, lifted)]
    assert steps[0] < 1.05 * steps[1]


def test_a_foot_that_stands_for_a_minute_does_not_creep() -> None:
    random = np.random.default_rng(0)
    body = random_body(random)
    standing = np.repeat(motion("wave", 1.0, FPS, body, random)[:1], 1800, axis=0)
    time_s = np.arange(1800) / FPS
    creeping = standing + np.linspace(0, 0.4, 1800)[:, None, None] * np.array([1.0, 0.2, 0.0])
    contact = np.ones((1800, 2), bool)
    locked = lock_feet(creeping, contact, time_s, ANKLE_HEIGHT * body.stature)
    assert largest_move(locked, contact) < 0.01


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 5])
def test_a_moment_is_enough(walk: tuple, frames: int) -> None:
    _, lifted, _, time_s, ankle_height_m = walk
    contact = np.ones((frames, 2), bool)
    locked = lock_feet(lifted[:frames], contact, time_s[:frames], ankle_height_m)
    assert locked.shape == (frames, 17, 3)
    assert np.isfinite(locked).all()


def test_without_a_standing_foot_nothing_moves(walk: tuple) -> None:
    _, lifted, contact, time_s, ankle_height_m = walk
    np.testing.assert_array_equal(
        lock_feet(lifted, np.zeros_like(contact), time_s, ankle_height_m), lifted
    )
