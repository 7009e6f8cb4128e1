"""Functions that take arrays of NumPy and of PyTorch: both give the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from lithepose import rotations
from lithepose.arrays import changed_where, single, whole
from lithepose.cameras import rotation_to_ray, rotation_to_unit_ray

torch = pytest.importorskip("torch")


@pytest.mark.parametrize(
    "function",
    [
        rotations.unit,
        lambda v: rotations.dot(v, v[::-1] if isinstance(v, np.ndarray) else v.flip(0)),
        lambda v: rotations.cross(v[1:], v[:-1]),
        lambda v: rotations.from_axis_angle(rotations.unit(v), v[..., 0]),
        lambda v: rotations.rotate_all(rotations.from_axis_angle(v[:, 0], v[:, 1, 1]), v),
        lambda v: rotation_to_unit_ray(rotations.unit(v**2)),
    ],
    ids=["unit", "dot", "cross", "from_axis_angle", "rotate_all", "rotation_to_unit_ray"],
)
def test_tensors_give_what_arrays_give(function: Callable[[Any], Any]):
    vectors = np.random.default_rng(0).normal(size=(5, 4, 3))
    found = function(torch.from_numpy(vectors))
    assert isinstance(found, torch.Tensor)
    np.testing.assert_allclose(found.numpy(), function(vectors), atol=1e-12)


def test_many_vectors_turn_with_one_rotation_each():
    random = np.random.default_rng(0)
    turns = rotations.from_rotation_vectors(random.normal(size=(5, 3)))
    vectors = random.normal(size=(5, 4, 17, 3))
    expected = np.einsum("bij,bfkj->bfki", turns, vectors)
    np.testing.assert_allclose(rotations.rotate_all(turns, vectors), expected, atol=1e-12)


def test_the_unit_ray_needs_no_length():
    rays = np.random.default_rng(0).normal(size=(6, 3))
    np.testing.assert_allclose(rotation_to_unit_ray(rotations.unit(rays)), rotation_to_ray(rays))


def test_chosen_rows_change_and_numpy_works_out_no_others():
    chosen = np.array([[True, False], [False, True], [False, False]])
    values, other = np.arange(18.0).reshape(3, 2, 3), np.zeros((3, 2))
    expected = np.where(chosen[..., None], 2 * values, values)
    tensors = torch.from_numpy(values.copy()), torch.from_numpy(other.copy())
    worked_out = []

    def change(rows: Any) -> Any:
        worked_out.append(len(values[rows]))
        return 2 * values[rows], other[rows] + 1

    found = changed_where(chosen, change, values, other)
    assert worked_out == [2]
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], chosen)
    old = tensors[0].clone()
    found = changed_where(
        torch.from_numpy(chosen), lambda rows: (2 * old[rows], tensors[1][rows] + 1), *tensors
    )
    np.testing.assert_array_equal(found[0], expected)
    np.testing.assert_array_equal(found[1], chosen)
    assert torch.equal(tensors[0], old)


def test_kinds_of_numbers_are_single_precision_and_whole():
    values = np.array([1.9, -1.9])
    assert single(values).dtype == np.float32
    assert whole(values).tolist() == [1, -1]
    assert single(torch.from_numpy(values)).dtype == torch.float32
    assert whole(torch.from_numpy(values)).tolist() == [1, -1]
