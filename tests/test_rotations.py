"""Rotations and unit vectors: conventions by hand, and every way back."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.rotations import (
    axes_along,
    from_axis_angle,
    from_euler,
    from_quaternions,
    from_rotation_vectors,
    halfway,
    relative,
    rotate,
    slerp,
    swing,
    to_quaternions,
    to_rotation_vectors,
    transpose,
    twist,
    unit,
)


def random_vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3))


def test_quaternions_give_the_rotations_they_name():
    # A quarter turn about z takes x to y.
    turn = from_quaternions(np.array([np.sqrt(0.5), 0, 0, np.sqrt(0.5)]))
    np.testing.assert_allclose(turn @ (1, 0, 0), (0, 1, 0), atol=1e-12)
    many = from_quaternions(np.random.default_rng(0).normal(size=(5, 4)))
    np.testing.assert_allclose(
        many @ np.swapaxes(many, -1, -2), np.broadcast_to(np.eye(3), many.shape), atol=1e-12
    )
    np.testing.assert_allclose(np.linalg.det(many), 1.0)


def test_quaternions_and_matrices_turn_into_each_other():
    q = np.random.default_rng(0).normal(size=(500, 4))
    q /= np.linalg.norm(q, axis=1, keepdims=True)
    q = np.where(q[:, :1] < 0, -q, q)
    np.testing.assert_allclose(to_quaternions(from_quaternions(q)), q, atol=1e-12)
    np.testing.assert_allclose(from_quaternions(3 * q), from_quaternions(q), atol=1e-12)


def test_half_turns_have_quaternions():
    for axis in (*np.eye(3), np.array([0.6, 0.8, 0]), np.array([1, -1, 1]) / np.sqrt(3)):
        half_turn = 2 * np.outer(axis, axis) - np.eye(3)
        q = to_quaternions(half_turn)
        assert np.linalg.norm(q) == pytest.approx(1)
        assert abs(q[0]) < 1e-12
        np.testing.assert_allclose(from_quaternions(q), half_turn, atol=1e-12)


def test_euler_angles_apply_from_the_right():
    angles = np.radians([[90.0, 90.0, 0.0]])
    # Rz Rx of z: first about x, z to -y; then about z, -y to x.
    np.testing.assert_allclose(from_euler(angles, "zxy") @ [0, 0, 1], [[1, 0, 0]], atol=1e-12)
    np.testing.assert_array_equal(from_euler(np.zeros((4, 0)), ""), np.tile(np.eye(3), (4, 1, 1)))
    about = from_axis_angle(np.array([0, 1.0, 0]), np.array(0.3))
    np.testing.assert_allclose(from_euler(np.array([0.3]), "y"), about, atol=1e-15)


def test_rotation_vectors_come_back():
    vectors = random_vectors(200) * 0.8
    rotations = from_rotation_vectors(vectors)
    angle = np.linalg.norm(vectors, axis=-1)
    np.testing.assert_allclose(rotations, from_axis_angle(unit(vectors), angle), atol=1e-12)
    short = angle < 3
    np.testing.assert_allclose(to_rotation_vectors(rotations)[short], vectors[short], atol=1e-9)
    np.testing.assert_array_equal(to_rotation_vectors(np.eye(3)), np.zeros(3))


def test_a_swing_turns_one_direction_into_another_without_twist():
    start, end = unit(random_vectors(50)), unit(random_vectors(50, seed=1))
    turns = swing(start, end)
    np.testing.assert_allclose(rotate(turns, start), end, atol=1e-12)
    np.testing.assert_allclose(rotate(transpose(turns), end), start, atol=1e-12)
    np.testing.assert_allclose(rotate(swing(start, -start), start), -start, atol=1e-9)
    axis = np.array([0.0, 0.0, 1.0])
    swung = swing(axis, end)
    np.testing.assert_allclose(twist(axis, swung), 0, atol=1e-9)
    about = from_axis_angle(axis, np.full(50, 0.7))
    np.testing.assert_allclose(twist(axis, swung @ about), 0.7, atol=1e-9)
    np.testing.assert_allclose(relative(swung, swung @ about), about, atol=1e-12)


@pytest.mark.parametrize("order", ["xy", "xz", "yx", "yz", "zx", "zy"])
def test_axes_lie_along_the_first_and_near_the_second(order: str):
    first, second = random_vectors(30), random_vectors(30, seed=1)
    axes = axes_along(first, second, order)
    one, two = ("xyz".index(letter) for letter in order)
    np.testing.assert_allclose(np.linalg.det(axes), 1)
    np.testing.assert_allclose(axes[..., one], unit(first), atol=1e-12)
    assert ((axes[..., two] * second).sum(-1) > 0).all()
    np.testing.assert_allclose(np.linalg.det(axes_along(first, first, order)), 1)
    assert np.isfinite(axes_along(np.zeros(3), np.zeros(3), order)).all()


def test_halfway_lies_half_way():
    turn = from_rotation_vectors(np.array([0.4, -0.2, 0.6]))
    half = halfway(np.eye(3), turn)
    np.testing.assert_allclose(half @ half, turn, atol=1e-12)


def test_slerp_goes_the_shorter_way_at_an_even_speed():
    start, end = (
        np.array([1.0, 0, 0, 0]),
        np.array([np.cos(0.5), 0, 0, np.sin(0.5)]),
    )  # 1 rad about z
    for sign in (1, -1):
        shares = np.array([[0.0], [0.25], [1.0]])
        angles = 2 * np.arctan2(*slerp(start, sign * end, shares)[:, [3, 0]].T)
        np.testing.assert_allclose(angles, [0, 0.25, 1], atol=1e-12)
    np.testing.assert_allclose(slerp(start, start, np.array([0.3])), start)
