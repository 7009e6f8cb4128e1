"""Skins of people, at rest and posed."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.synthetic.appearance import Cloth, random_appearance
from lithepose.synthetic.bodies import BONES, random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.movements import motion


@pytest.fixture(scope="module")
def figure():
    rng = np.random.default_rng(4)
    return build_figure(random_body(rng), random_appearance(rng), cell=0.03, detail=1.5)


def test_the_same_seed_builds_the_same_figure():
    first, second = (
        build_figure(
            random_body(np.random.default_rng(1)),
            random_appearance(np.random.default_rng(2)),
            cell=0.04,
        )
        for _ in range(2)
    )
    np.testing.assert_array_equal(first.vertices, second.vertices)
    np.testing.assert_array_equal(first.materials, second.materials)


def test_the_rest_pose_leaves_the_skin_where_it_was_built(figure):
    vertices, normals = figure.pose(figure.joints)
    # Feet are turned to lie flat on the floor, so they may move.
    feet = [BONES.index(name) for name in ("r_foot", "l_foot")]
    others = figure.weights[:, feet].sum(-1) < 1e-3
    np.testing.assert_allclose(vertices[others], figure.vertices[others], atol=1e-6)
    np.testing.assert_allclose(normals[others], figure.normals[others], atol=1e-6)


def test_the_skin_turns_and_moves_with_the_whole_pose(figure):
    angle = 0.7
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    pose = motion("wave", 1.0, 10, figure.body, np.random.default_rng(0))[5]
    here, _ = figure.pose(pose)
    there, _ = figure.pose(pose @ turn.T + (1.0, 2.0, 0.0))
    np.testing.assert_allclose(there, here @ turn.T + (1.0, 2.0, 0.0), atol=1e-9)


def test_the_skin_surrounds_the_joints_and_has_the_stature_of_the_body(figure):
    pose = motion("wave", 1.0, 10, figure.body, np.random.default_rng(0))[0]
    vertices, _ = figure.pose(pose)
    assert vertices[:, 2].min() == pytest.approx(0, abs=0.015)  # soles on the floor
    assert vertices[:, 2].max() == pytest.approx(pose[10, 2], abs=0.03)
    for joint in (1, 2, 3, 11, 12, 13, 14):  # inside: the skin lies on all sides of the joint
        near = vertices[np.linalg.norm(vertices - pose[joint], axis=-1) < 0.15] - pose[joint]
        assert (near.min(0) < 0).all()
        assert (near.max(0) > 0).all()


def test_normals_point_outward(figure):
    middle = figure.joints[7]
    # Below the end of the neck, which is hidden inside the chest.
    around = np.abs(figure.vertices - middle).max(-1) < 0.14
    outward = ((figure.vertices - middle) * figure.normals).sum(-1)
    assert (outward[around] > 0).mean() > 0.95


def test_every_vertex_follows_its_bones_with_shares_that_sum_to_one(figure):
    np.testing.assert_allclose(figure.weights.sum(-1), 1)
    assert (figure.weights >= 0).all()
    assert figure.quads.max() < len(figure.vertices)
    assert figure.weights.max(0).min() > 0.2  # every bone carries something


def test_a_pose_with_missing_joints_is_refused(figure):
    pose = figure.joints.copy()
    pose[13] = np.nan
    with pytest.raises(ValueError, match="all 17 joints"):
        figure.pose(pose)
    with pytest.raises(ValueError, match=r"17, 3\)"):
        figure.pose(pose[:16])


def test_a_pose_of_another_size_is_refused(figure):
    with pytest.raises(ValueError, match="rebone"):
        figure.pose(figure.joints * 1000)  # millimetres


def test_an_unknown_cloth_pattern_names_the_known_ones():
    with pytest.raises(ValueError, match="known: plain"):
        Cloth(colour=(1, 1, 1), second=(0, 0, 0), pattern="tartan")
