"""Banks of people: the same from the same seed, whole and in few bytes."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.synthetic.appearance import MATERIALS
from lithepose.synthetic.bodies import BONES
from lithepose.synthetic.figure_bank import build_bank
from lithepose.synthetic.figures import POINTS

COARSE = 0.05


@pytest.fixture(scope="module")
def bank():
    return build_bank(2, 3, cell=COARSE)


def test_a_larger_bank_begins_with_the_people_of_a_smaller_one(bank):
    one = build_bank(1, 3, cell=COARSE)
    count = one.vertices.shape[1]
    np.testing.assert_array_equal(bank.joints[:1], one.joints)
    np.testing.assert_array_equal(bank.vertices[0, :count], one.vertices[0])
    assert not bank.vertices[0, count:].any()
    assert not np.array_equal(build_bank(1, 4, cell=COARSE).joints, one.joints)


def test_shares_of_bones_are_whole_and_materials_are_known(bank):
    for weights in bank.weights.astype(int):
        assert set(weights.sum(-1)) <= {0, 255}  # 0 in the rows that only fill up
    assert bank.materials.max() < len(MATERIALS)
    assert bank.bones.max() < len(BONES)
    for name in ("skin", "shirt", "trousers", "shoes"):
        assert (bank.materials == MATERIALS.index(name)).any(1).all()


def test_points_lie_on_the_skin(bank):
    for vertices, points in zip(bank.vertices.astype(float), bank.points, strict=True):
        gap = np.linalg.norm(vertices[None] - points[:, None], axis=-1).min(1)
        inner = POINTS.index("upper_neck")  # the base of the skull is inside
        assert np.delete(gap, inner).max() < 0.06


def test_a_bank_of_nobody_is_refused():
    with pytest.raises(ValueError, match="at least one figure"):
        build_bank(0, 1)
