"""Banks of people: the same from the same seed, whole on disk, refused when they don't fit."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from lithepose.synthetic.appearance import MATERIALS
from lithepose.synthetic.bodies import BONES
from lithepose.synthetic.figure_bank import (
    build_bank,
    figure_bank,
    load_bank,
    save_bank,
)
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


def test_a_bank_comes_back_from_disk_as_it_was(bank, tmp_path):
    path = tmp_path / "bank.safetensors"
    save_bank(path, bank)
    again = load_bank(path)
    assert again.seed == 3
    for name in ("joints", "points", "sizes", "vertices", "normals", "weights", "quads"):
        np.testing.assert_array_equal(getattr(again, name), getattr(bank, name))
    assert len(figure_bank(path, 2, 3)) == 2
    with pytest.raises(ValueError, match="holds 2 figures of seed 3, wanted 9 of seed 3"):
        figure_bank(path, 9, 3)


def test_what_is_no_bank_is_refused(bank, tmp_path):
    with pytest.raises(FileNotFoundError, match="make one with save_bank"):
        load_bank(tmp_path / "none.safetensors")
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no bank")
    with pytest.raises(ValueError, match="no safetensors file"):
        load_bank(broken)
    save_file({"joints": bank.joints}, broken)
    with pytest.raises(ValueError, match="is no figure bank"):
        load_bank(broken)
    header = {"format": "lithepose figure bank", "version": "0", "seed": "1"}
    save_file({"joints": bank.joints}, broken, header)
    with pytest.raises(ValueError, match="of version 0"):
        load_bank(broken)
    with pytest.raises(ValueError, match="at least one figure"):
        build_bank(0, 1)
