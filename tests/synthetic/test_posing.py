"""Bones from joints, and poses on other bodies."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.skeletons import SKELETONS
from lithepose.synthetic.bodies import ARM_ANGLE, BONES, random_body, rest_joints
from lithepose.synthetic.movements import MOTIONS, motion
from lithepose.synthetic.posing import bone_rotations, pose_bones, rebone

# The joint at which each bone of the limbs begins.
BEGINS = {
    "r_thigh": 1, "r_shin": 2, "r_foot": 3, "l_thigh": 4, "l_shin": 5, "l_foot": 6,
    "l_upper_arm": 11, "l_forearm": 12, "l_hand": 13, "r_upper_arm": 14, "r_forearm": 15,
    "r_hand": 16, "head": 10, "pelvis": 0, "waist": 7, "chest": 8,
}  # fmt: skip

PARENTS = SKELETONS["h36m17"].parents


@pytest.fixture(scope="module")
def body():
    return random_body(np.random.default_rng(4))


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_every_bone_carries_its_joint_to_where_it_is(body, name):
    joints = motion(name, 1.5, 10, body, np.random.default_rng(0))
    bones = pose_bones(body, joints)
    rest = rest_joints(body)
    for bone, joint in BEGINS.items():
        carried = bones[:, BONES.index(bone)] @ (*rest[joint], 1)
        np.testing.assert_allclose(carried, joints[:, joint], atol=1e-6, err_msg=bone)
    for bone in ("thigh", "shin", "upper_arm", "forearm"):  # and the next one as well
        number = BEGINS[f"l_{bone}"] + 1
        carried = bones[:, BONES.index(f"l_{bone}")] @ (*rest[number], 1)
        np.testing.assert_allclose(carried, joints[:, number], atol=1e-6, err_msg=bone)


def test_a_bent_elbow_turns_about_its_hinge_and_a_straight_arm_keeps_its_twist(body):
    """The right arm hangs down, its forearm points forward: the rest pose's hinge, level and across
    the raised arm, is then level to the right, and the upper arm has only been let down."""
    joints = rest_joints(body)[None].copy()
    shoulder = joints[0, 14]
    joints[0, 15] = shoulder - (0, 0, body.upper_arm)
    joints[0, 16] = joints[0, 15] + (0, body.forearm, 0)
    bent = bone_rotations(body, joints)[0, BONES.index("r_upper_arm")]
    joints[0, 16] = joints[0, 15] - (0, 0, body.forearm)
    straight = bone_rotations(body, joints)[0, BONES.index("r_upper_arm")]
    cos, sin = np.cos(ARM_ANGLE), np.sin(ARM_ANGLE)
    lowered = np.array([[cos, 0, sin], [0, 1, 0], [-sin, 0, cos]])
    np.testing.assert_allclose(bent, lowered, atol=1e-9)
    np.testing.assert_allclose(straight, lowered, atol=1e-9)


def test_bone_axes_are_rotations_and_face_where_the_person_faces(body):
    pose = motion("walk", 1.0, 10, body, np.random.default_rng(0))[3]
    rotations = bone_rotations(body, pose[None])[0]
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
    pose_bones(new, moved)  # refuses bodies of another size
