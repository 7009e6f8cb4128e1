"""Bodies, skins and posing."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lithepose.synthetic.bodies import (
    BONES,
    PARENTS,
    Cloth,
    bone_rotations,
    build_figure,
    fit_body,
    random_appearance,
    random_body,
    rebone,
    rest_joints,
)
from lithepose.synthetic.movements import motion


@pytest.fixture(scope="module")
def figure():
    rng = np.random.default_rng(4)
    return build_figure(random_body(rng), random_appearance(rng), cell=0.03)


def test_bodies_are_adults_with_the_proportions_of_people():
    for seed in range(50):
        body = random_body(np.random.default_rng(seed))
        assert 1.5 <= body.stature <= 1.95
        standing = body.ankle_height + body.thigh + body.shin + body.trunk + body.neck + body.head
        assert standing == pytest.approx(body.stature, rel=0.06)
        assert 0.11 < body.hip_width / body.stature < 0.14


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
    np.testing.assert_array_equal(first.colours, second.colours)


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


def test_bone_axes_are_rotations_and_face_where_the_person_faces(figure):
    pose = motion("walk", 1.0, 10, figure.body, np.random.default_rng(0))[3]
    rotations = bone_rotations(figure.body, pose)
    product = rotations @ rotations.transpose(0, 2, 1)
    np.testing.assert_allclose(product, np.tile(np.eye(3), (len(BONES), 1, 1)), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(rotations), 1)
    assert rotations[BONES.index("chest")][:, 1] @ (0, 1, 0) > 0.95


def test_reboning_keeps_directions_and_gives_the_new_lengths():
    old, new = (random_body(np.random.default_rng(seed)) for seed in (3, 8))
    joints = motion("squat", 1.0, 15, old, np.random.default_rng(0))
    moved = rebone(joints, new)
    for child, length in ((2, new.thigh), (3, new.shin), (12, new.upper_arm), (13, new.forearm)):
        bone = moved[:, child] - moved[:, PARENTS[child]]
        before = joints[:, child] - joints[:, PARENTS[child]]
        np.testing.assert_allclose(np.linalg.norm(bone, axis=-1), length)
        cosine = (bone * before).sum(-1) / np.linalg.norm(before, axis=-1) / length
        np.testing.assert_allclose(cosine, 1, atol=1e-9)
    build_figure(new, random_appearance(np.random.default_rng(0)), cell=0.04).pose(moved[0])


def test_a_body_fitted_to_a_motion_has_its_lengths():
    body = random_body(np.random.default_rng(5))
    joints = motion("wave", 1.0, 10, body, np.random.default_rng(0))
    fitted = fit_body(joints, np.random.default_rng(1))
    for name in ("thigh", "shin", "hip_width", "shoulder_width", "upper_arm", "forearm"):
        assert getattr(fitted, name) == pytest.approx(getattr(body, name))


def test_a_pose_with_missing_joints_is_refused(figure):
    pose = figure.joints.copy()
    pose[13] = np.nan
    with pytest.raises(ValueError, match="all 17 joints"):
        figure.pose(pose)
    with pytest.raises(ValueError, match=r"\(17, 3\)"):
        figure.pose(pose[:16])


def test_a_pose_of_another_size_is_refused(figure):
    with pytest.raises(ValueError, match="rebone"):
        figure.pose(figure.joints * 1000)  # millimetres


def test_joints_in_millimetres_do_not_make_a_body():
    joints = rest_joints(random_body(np.random.default_rng(0)))[None] * 1000
    with pytest.raises(ValueError, match="must be metres"):
        fit_body(joints, np.random.default_rng(0))
    with pytest.raises(ValueError, match=r"\(T, 17, 3\)"):
        fit_body(joints[0], np.random.default_rng(0))


def test_an_unknown_cloth_pattern_names_the_known_ones():
    rng = np.random.default_rng(0)
    look = replace(
        random_appearance(rng), shirt=Cloth(colour=(1, 1, 1), second=(0, 0, 0), pattern="tartan")
    )
    with pytest.raises(ValueError, match="known: plain"):
        build_figure(random_body(rng), look, cell=0.05)
