"""Motions made by formula."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.skeletons import SKELETONS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import MOTIONS, demo_motion, motion

BODY = random_body(np.random.default_rng(2))
# The head turns against the trunk, so the thorax-to-nose and nose-to-vertex lines are no bones.
BONES_17 = [joint for joint in range(1, 17) if joint not in (9, 10)]

PARENTS = SKELETONS["h36m17"].parents


def bone_lengths(joints):
    return np.stack(
        [np.linalg.norm(joints[:, j] - joints[:, PARENTS[j]], axis=-1) for j in BONES_17], -1
    )


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_bones_keep_the_lengths_of_the_body(name):
    joints = motion(name, 4.0, 25, BODY, np.random.default_rng(0))
    assert joints.shape == (100, 17, 3)
    lengths = bone_lengths(joints)
    np.testing.assert_allclose(lengths, np.broadcast_to(lengths[0], lengths.shape), atol=1e-9)
    assert lengths[0, BONES_17.index(2)] == pytest.approx(BODY.thigh)
    assert lengths[0, BONES_17.index(13)] == pytest.approx(BODY.forearm)
    skull_to_top = np.linalg.norm(joints[:, 10] - joints[:, 9], axis=-1)
    np.testing.assert_allclose(skull_to_top, skull_to_top[0])


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_motions_are_smooth_and_stay_above_the_floor(name):
    joints = motion(name, 4.0, 50, BODY, np.random.default_rng(0))
    speed = np.linalg.norm(np.diff(joints, axis=0), axis=-1) * 50
    assert speed.max() < 9  # metres per second
    assert np.linalg.norm(np.diff(joints, 2, axis=0), axis=-1).max() * 2500 < 120
    assert joints[:, [3, 6], 2].min() > BODY.ankle_height - 0.01


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_the_same_seed_gives_the_same_motion(name):
    first, second = (motion(name, 1.0, 20, BODY, np.random.default_rng(7)) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_walking_feet_stand_still_while_they_carry():
    joints = motion("walk", 4.0, 50, BODY, np.random.default_rng(1))
    for ankle in (3, 6):
        flat = joints[:, ankle, 2] < BODY.ankle_height + 0.004
        speed = np.linalg.norm(np.diff(joints[:, ankle], axis=0), axis=-1) * 50
        standing = flat[1:] & flat[:-1]
        assert standing.mean() > 0.3
        assert np.median(speed[standing]) < 0.01
        assert np.quantile(speed[standing], 0.9) < 0.15
    # One foot at least is on the floor, and the person gets on.
    lower = joints[:, [3, 6], 2].min(1)
    assert np.quantile(lower, 0.95) < BODY.ankle_height + 0.06
    assert np.linalg.norm(joints[-1, 0, :2] - joints[0, 0, :2]) > 2.0


def test_knees_bend_backward_only():
    for name in MOTIONS:
        joints = motion(name, 2.0, 25, BODY, np.random.default_rng(3))
        across = joints[:, 1] - joints[:, 4]  # left to right hip
        forward = np.cross([0.0, 0.0, 1.0], across)
        for hip in (1, 4):
            thigh = joints[:, hip + 1] - joints[:, hip]
            shin = joints[:, hip + 2] - joints[:, hip + 1]
            turn = np.cross(thigh, shin)
            assert ((turn * across).sum(-1) < 0.02).all(), name
            assert ((thigh - shin) * forward).sum(-1).min() > -0.02, name


def test_the_demonstration_walks_waves_and_squats():
    joints = demo_motion(BODY, fps=20)
    assert joints.shape == (120, 17, 3)
    assert np.linalg.norm(joints[45, 0, :2] - joints[0, 0, :2]) > 1.2
    assert (joints[60:80, 16, 2] > joints[60:80, 14, 2]).any()  # right wrist over the shoulder
    assert joints[90:115, 0, 2].min() < 0.8 * joints[60, 0, 2]
    facing = np.cross([0.0, 0.0, 1.0], joints[-1, 14] - joints[-1, 11])
    assert facing[1] / np.linalg.norm(facing) < -0.95


def test_wrong_names_and_lengths_are_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="known: jumping_jacks"):
        motion("moonwalk", 1.0, 30, BODY, rng)
    with pytest.raises(ValueError, match="positive length"):
        motion("walk", 0.0, 30, BODY, rng)
    with pytest.raises(ValueError, match="positive length"):
        motion("walk", 1.0, -30, BODY, rng)
