"""Poses, cameras and crops of synthetic pictures."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lithepose.mocap.motions import read_motions
from lithepose.skeletons import SKELETONS
from lithepose.synthetic.crops import (
    PLAIN,
    CropSettings,
    SyntheticCrops,
    library_of,
    made_poses,
    repose,
)
from lithepose.synthetic.figure_bank import build_bank

PARENTS = np.array(SKELETONS["h36m17"].parents)
LIMBS = [1, 2, 3, 4, 5, 6, 12, 13, 15, 16]


@pytest.fixture(scope="module")
def bank():
    return build_bank(2, 3, cell=0.05)


@pytest.fixture(scope="module")
def library():
    return made_poses(120, 1)


def lengths(joints):
    return np.linalg.norm(joints[:, LIMBS] - joints[:, PARENTS[LIMBS]], axis=-1)


def test_made_poses_keep_hands_out_of_the_trunk_and_repeat_themselves(library):
    assert len(library) == 120
    np.testing.assert_array_equal(made_poses(120, 1).joints, library.joints)
    assert not np.array_equal(made_poses(120, 2).joints, library.joints)
    axis = library.joints[:, 8] - library.joints[:, 0]
    seen = library.joints[:, 13] - library.joints[:, 0]
    along = (seen * axis).sum(-1) / (axis**2).sum(-1)
    aside = np.linalg.norm(seen - along[:, None] * axis, axis=-1)
    assert aside[(along > 0) & (along < 1)].min() > 0.08
    with pytest.raises(ValueError, match="at least one pose"):
        made_poses(0, 1)


def test_reposed_people_have_the_bodys_lengths_and_the_poses_directions(bank, library):
    rest = np.repeat(bank.joints[:1].astype(float), 120, 0)
    joints = repose(library, np.arange(120), rest)
    np.testing.assert_allclose(lengths(joints), lengths(rest), atol=1e-6)
    way = joints[:, 2] - joints[:, 1]
    before = library.joints[:, 2] - library.joints[:, 1]
    cosine = (way * before).sum(-1) / np.linalg.norm(way, axis=-1)
    np.testing.assert_allclose(cosine, np.linalg.norm(before, axis=-1), rtol=1e-5)


@pytest.mark.shared
def test_recorded_poses_come_with_the_lengths_of_their_people(bank, shared):
    library = library_of(read_motions(shared("mocap/cmu17_val.npz")))
    chosen = np.arange(0, len(library), 500)
    rest = np.repeat(bank.joints[:1].astype(float), len(chosen), 0)
    joints = repose(library, chosen, rest)
    np.testing.assert_allclose(lengths(joints), lengths(rest), atol=1e-6)
    trunk = np.linalg.norm(joints[:, 8] - joints[:, 0], axis=-1)
    assert np.percentile(trunk, 95) == pytest.approx(np.linalg.norm(rest[0, 8]), rel=0.06)
    width = np.linalg.norm(joints[:, 11] - joints[:, 14], axis=-1)
    assert np.median(width) == pytest.approx(np.linalg.norm(rest[0, 11] - rest[0, 14]), rel=0.1)


@pytest.mark.parametrize("skeleton", ["coco17", "mpii16"])
def test_plain_crops_hold_the_whole_person_in_the_middle(bank, library, skeleton):
    settings = replace(PLAIN, size=(96, 128), skeleton=skeleton, truncated=0.0)
    drawn = SyntheticCrops(bank, [(library, 1.0)], settings).draw(
        np.arange(64), np.random.default_rng(0)
    )
    plane = drawn["joints"][..., :2] / drawn["joints"][..., 2:]
    pixels = np.einsum("bij,bkj->bki", drawn["to_pixels"][..., :2], plane)
    pixels += drawn["to_pixels"][:, None, :, 2]
    assert (pixels > 0).all()
    assert (pixels < (96, 128)).all()
    # Padding: a quarter more than the box, on both sides together.
    width, height = np.ptp(pixels, axis=1).T
    assert (np.maximum(width / 96, height / 128) < 0.83).all()
    assert (drawn["box"] < 128 / 1.25 + 1e-3).all()
    # There and back.
    back = np.einsum("bij,bkj->bki", drawn["to_plane"][..., :2], pixels)
    np.testing.assert_allclose(back + drawn["to_plane"][:, None, :, 2], plane, atol=1e-4)
    frame = np.einsum("bij,bkj->bki", drawn["to_frame"][..., :2], plane)
    assert (np.abs(frame + drawn["to_frame"][:, None, :, 2]) < 1).all()


def test_frames_cut_people_as_often_as_asked(bank, library):
    def outside(truncated):
        settings = replace(PLAIN, truncated=truncated)
        drawn = SyntheticCrops(bank, [(library, 1.0)], settings).draw(
            np.arange(200), np.random.default_rng(0)
        )
        plane = drawn["joints"][..., :2] / drawn["joints"][..., 2:]
        frame = np.einsum("bij,bkj->bki", drawn["to_frame"][..., :2], plane)
        return (np.abs(frame + drawn["to_frame"][:, None, :, 2]) > 1).any((1, 2)).mean()

    assert outside(0.0) == 0
    assert 0.35 < outside(0.5) < 0.6


def test_others_stand_apart_and_are_as_many_as_asked(bank, library):
    settings = CropSettings(others=(0.25, 0.5, 0.25))
    drawn = SyntheticCrops(bank, [(library, 1.0)], settings).draw(
        np.arange(400), np.random.default_rng(0)
    )
    people_ = (drawn["figure"] >= 0).sum(1)
    assert np.abs(np.bincount(people_)[1:] / 400 - settings.others).max() < 0.08
    assert np.isfinite(drawn["bones"]).all()
    assert not drawn["bones"][drawn["figure"] < 0].any()
    assert (drawn["camera_height"] > 0).all()
    np.testing.assert_allclose(np.linalg.norm(drawn["light"], axis=-1), 1, atol=1e-5)


def test_what_cannot_be_drawn_is_refused(bank, library):
    with pytest.raises(ValueError, match="coco17 or mpii16, not of 'h36m17'"):
        SyntheticCrops(bank, [(library, 1.0)], CropSettings(skeleton="h36m17"))
    with pytest.raises(ValueError, match="at least one pose library"):
        SyntheticCrops(bank, [])
    with pytest.raises(ValueError, match="positive share"):
        SyntheticCrops(bank, [(library, 0.0)])
