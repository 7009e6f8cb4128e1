"""The rig: a figure fitted to points, posed, limited, and read as angles."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.bones import bone_lengths, bones, with_lengths
from lithepose.mocap.motions import read_motions
from lithepose.rotations import from_quaternions, to_quaternions
from lithepose.skeletons import SKELETONS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import MOTIONS, motion
from lithepose.world.angles import joint_angles
from lithepose.world.joint_limits import JOINT_LIMITS, Ball, Hinge, limit_rotations
from lithepose.world.rig import (
    MARKER_NODES,
    NODE_PARENTS,
    NODES,
    fit_rig,
    pose_nodes,
    rig_points,
)
from lithepose.world.rig_pose import pose_rig

BODY = SKELETONS["lithepose31"]
EXACT = [i for i in range(17) if BODY.joints[i] not in ("nose", "head_top")]
MIRROR = np.array([-1.0, 1.0, 1.0])
MIRRORED_NODES = [
    NODES.index(n.replace("Left", "R_").replace("Right", "Left").replace("R_", "Right"))
    for n in NODES
]


def moving(name: str, seconds: float = 2.0, fps: float = 30.0, seed: int = 0) -> np.ndarray:
    """Points (T, 31, 3) of a made-up motion, of which only the first 17 are there."""
    random = np.random.default_rng(seed)
    joints = motion(name, seconds, fps, random_body(random), random)
    points = np.full((len(joints), 31, 3), np.nan)
    points[:, :17] = joints
    return points


def figure(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    return fit_rig(moving("walk", seed=seed))


def identity(frames: int = 1) -> np.ndarray:
    rotations = np.zeros((frames, len(NODES), 4))
    rotations[..., 0] = 1
    return rotations


def turned(axis: str, degrees: np.ndarray | float) -> np.ndarray:
    """Quaternions (..., 4) about x, y or z."""
    half = np.deg2rad(np.asarray(degrees, dtype=float)) / 2
    q = np.zeros((*half.shape, 4))
    q[..., 0] = np.cos(half)
    q[..., 1 + "xyz".index(axis)] = np.sin(half)
    return q


def random_rotations(frames: int, spread: float, seed: int = 0) -> np.ndarray:
    """Random rotations that joints can do and points show: no bent toes, the shoulders in line."""
    random = np.random.default_rng(seed)
    q = random.normal(0, spread, (frames, len(NODES), 4))
    q[..., 0] = 1
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    for node, name in enumerate(NODES):
        if name.endswith(("End", "ToeBase")):
            q[:, node] = [1, 0, 0, 0]
    hinges = {"LeftForeArm": ("z", -1), "RightForeArm": ("z", 1), "LeftLeg": ("x", 1),
              "RightLeg": ("x", 1)}  # fmt: skip
    for name, (axis, sign) in hinges.items():
        q[:, NODES.index(name)] = turned(axis, sign * random.uniform(50, 120, frames))
    q[:, NODES.index("RightShoulder")] = q[:, NODES.index("LeftShoulder")]
    return limit_rotations(q)[0]


def degrees_between(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Angles between rotations given as quaternions (..., 4)."""
    turn = np.swapaxes(from_quaternions(one), -1, -2) @ from_quaternions(other)
    return np.rad2deg(np.arccos(np.clip((np.trace(turn, axis1=-2, axis2=-1) - 1) / 2, -1, 1)))


def fastest(rotations: np.ndarray, node: str, fps: float = 30.0) -> float:
    """Greatest angular velocity of a node against its parent, degrees per second."""
    q = rotations[:, NODES.index(node)]
    return float(fps * degrees_between(q[:-1], q[1:]).max())


def rest_points(offsets: np.ndarray, markers: np.ndarray) -> np.ndarray:
    return rig_points(offsets, markers, np.zeros((1, 3)), identity())


# --- nodes ----------------------------------------------------------------------


def test_parents_come_before_their_children_and_points_hang_on_nodes():
    assert NODE_PARENTS[0] == -1
    assert all(0 <= parent < node for node, parent in enumerate(NODE_PARENTS[1:], 1))
    assert len(MARKER_NODES) == len(BODY)


def test_a_bent_knee_takes_the_foot_along():
    offsets, _ = figure()
    rotations = identity()
    rotations[0, NODES.index("LeftLeg")] = turned("x", 90)
    places, turns = pose_nodes(offsets, np.zeros((1, 3)), rotations)
    knee, foot = places[0, NODES.index("LeftLeg")], places[0, NODES.index("LeftFoot")]
    shin = -offsets[NODES.index("LeftFoot"), 2]
    # A quarter turn to the left about +x brings what hung down (-z) to the back (+y).
    np.testing.assert_allclose(foot - knee, [0, shin, 0], atol=1e-12)
    toes = turns[0, NODES.index("LeftFoot")] @ [0, -1, 0]
    np.testing.assert_allclose(toes, [0, 0, -1], atol=1e-12)


# --- the figure ---------------------------------------------------------------------------------


def test_the_figure_has_the_persons_bones():
    points = moving("walk")
    offsets, markers = fit_rig(points)
    rest = rest_points(offsets, markers)
    found = np.linalg.norm(bones(rest[:, :17]), axis=-1)[0]
    expected = bone_lengths(points[:, :17])
    # Neck and nose are no bone of the figure: the base of the skull lies between them.
    kept = [i for i in range(17) if BODY.joints[i] != "nose"]
    np.testing.assert_allclose(found[kept], expected[kept], atol=1e-9)


def test_the_rest_pose_is_a_t_pose_that_faces_minus_y():
    offsets, markers = figure()
    at = dict(zip(BODY.joints, rest_points(offsets, markers)[0], strict=True))
    np.testing.assert_allclose(at["left_wrist"][1:], at["left_shoulder"][1:], atol=1e-12)
    np.testing.assert_allclose(at["left_ankle"][:2], at["left_hip"][:2], atol=1e-12)
    assert at["left_wrist"][0] > at["left_elbow"][0] > at["left_shoulder"][0] > 0
    assert at["nose"][1] < at["left_ear"][1]
    assert at["left_big_toe"][1] < at["left_ankle"][1] < at["left_heel"][1]
    assert at["left_index"][1] < at["left_pinky"][1]  # thumbs to the front: palms down
    assert at["left_small_toe"][0] > at["left_big_toe"][0]
    assert at["head_top"][2] == max(place[2] for place in at.values())
    soles = [at[f"left_{name}"][2] for name in ("heel", "big_toe", "small_toe")]
    assert np.ptp(soles) == pytest.approx(0, abs=1e-12)


def test_the_figure_is_the_same_on_both_sides():
    offsets, markers = fit_rig(moving("wave"))
    np.testing.assert_allclose(offsets[MIRRORED_NODES], offsets * MIRROR, atol=1e-12)
    np.testing.assert_allclose(markers[list(BODY.mirror)], markers * MIRROR, atol=1e-12)


def test_the_neck_is_found_from_nose_and_vertex():
    random = np.random.default_rng(4)
    person = random_body(random)
    points = np.full((60, 31, 3), np.nan)
    points[:, :17] = motion("squat", 2, 30, person, random)
    offsets, _ = fit_rig(points)
    # The person's head has proportions of its own, which differ from the template's by some 3 %.
    assert offsets[NODES.index("Head"), 2] == pytest.approx(person.neck, rel=0.07)
    assert offsets[NODES.index("HeadEnd"), 2] == pytest.approx(person.head, rel=0.07)


def test_the_figure_of_its_own_points_is_itself():
    offsets, markers = figure(1)
    longer = markers.copy()
    part = ("heel", "index", "pinky", "ear")
    at = [i for i, joint in enumerate(BODY.joints) if joint.endswith(part)]
    longer[at, :2] *= 1.2  # heels stay level with the toes
    rotations = random_rotations(50, 0.25)
    points = rig_points(offsets, longer, np.zeros((50, 3)), rotations)
    again, found = fit_rig(points)
    fingers = NODES.index("LeftHandEnd"), NODES.index("RightHandEnd")
    offsets[list(fingers)] *= 1.2  # not seen: they go with the knuckles
    # The neck is measured as if the head were never tilted sideways against it.
    np.testing.assert_allclose(again, offsets, atol=1e-2)
    kept = [node for node, name in enumerate(NODES) if name != "Head"]
    np.testing.assert_allclose(again[kept], offsets[kept], atol=1e-3)
    np.testing.assert_allclose(found, longer, atol=1.5e-3)


def test_frames_without_a_person_and_outliers_change_no_figure():
    points = moving("walk")
    offsets, markers = fit_rig(points)
    gaps = points.copy()
    gaps[::7] = np.nan
    gaps[3, 5] = np.nan
    gaps[::9, 3] += 0.4
    again, found = fit_rig(gaps)
    np.testing.assert_allclose(again, offsets, atol=2e-3)
    np.testing.assert_allclose(found, markers, atol=2e-3)


@pytest.mark.parametrize("shape", [(5, 17, 3), (31, 3), (5, 31, 2)])
def test_a_figure_needs_31_points(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"points must be \(T, 31, 3\)"):
        fit_rig(np.zeros(shape))


def test_a_figure_needs_a_person():
    with pytest.raises(ValueError, match="no frame has all 17 body joints"):
        fit_rig(np.full((4, 31, 3), np.nan))
    with pytest.raises(ValueError, match="no frame has all 17 body joints"):
        fit_rig(np.empty((0, 31, 3)))


def test_a_figure_needs_metres():
    with pytest.raises(ValueError, match="must be metres"):
        fit_rig(1000 * moving("walk"))
    with pytest.raises(ValueError, match="must be metres"):
        fit_rig(np.zeros((4, 31, 3)))


# --- posing -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", sorted(MOTIONS))
def test_rotations_reach_the_points_of_a_motion(name: str):
    points = moving(name, 4.0, seed=2)
    offsets, markers = fit_rig(points)
    rotations = pose_rig(offsets, markers, points)
    reached = rig_points(offsets, markers, points[:, 0], rotations)
    miss = np.linalg.norm(reached - points, axis=-1)
    assert miss[:, EXACT].max() < 1e-4
    assert miss[:, [9, 10]].max() < 0.02
    assert np.isfinite(reached).all()
    np.testing.assert_allclose(np.linalg.norm(rotations, axis=-1), 1, atol=1e-12)
    assert (rotations[..., 0] >= 0).all()


def test_rotations_come_back_from_the_points_they_made():
    offsets, markers = figure()
    rotations = random_rotations(300, 0.2)
    root = np.random.default_rng(1).normal(size=(300, 3))
    points = rig_points(offsets, markers, root, rotations)
    again = rig_points(offsets, markers, root, pose_rig(offsets, markers, points))
    miss = np.linalg.norm(again - points, axis=-1)
    assert miss[:, EXACT].max() < 1e-6
    assert miss.max() < 1e-3
    # Head, limbs, hands and feet are turned as they were: their points leave no other way.
    _, turns = pose_nodes(offsets, root, rotations)
    _, found = pose_nodes(offsets, root, pose_rig(offsets, markers, points))
    for name in ("Head", "LeftArm", "RightHand", "LeftUpLeg", "RightLeg", "LeftFoot"):
        node = NODES.index(name)
        np.testing.assert_allclose(found[:, node], turns[:, node], atol=0.02, err_msg=name)


def test_the_rest_pose_has_no_rotations():
    offsets, markers = figure()
    points = rest_points(offsets, markers)
    np.testing.assert_allclose(pose_rig(offsets, markers, points), identity(), atol=1e-6)
    points[:, 17:] = np.nan
    np.testing.assert_allclose(pose_rig(offsets, markers, points), identity(), atol=1e-6)


def test_a_turn_of_the_world_turns_the_root_alone():
    points = moving("reach")
    offsets, markers = fit_rig(points)
    before = pose_rig(offsets, markers, points)
    turn = from_quaternions(np.array([0.5, -0.3, 0.7, 0.2]))
    after = pose_rig(offsets, markers, points @ turn.T + [1, 2, 3])
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=1e-6)
    np.testing.assert_allclose(
        from_quaternions(after[:, 0]), turn @ from_quaternions(before[:, 0]), atol=1e-9
    )


@pytest.mark.parametrize("extras", [False, True])
def test_a_mirrored_person_has_mirrored_rotations(extras: bool):
    points = moving("wave", seed=5)
    offsets, markers = fit_rig(points)
    if extras:
        rotations = random_rotations(60, 0.2, seed=8)
        points = rig_points(offsets, markers, points[:, 0], rotations)
    before = pose_rig(offsets, markers, points)
    after = pose_rig(offsets, markers, points[:, list(BODY.mirror)] * MIRROR)
    # The mirror keeps the component of an axis of rotation that is across it, turns the others.
    expected = before[:, MIRRORED_NODES] * [1, 1, -1, -1]
    np.testing.assert_allclose(from_quaternions(after), from_quaternions(expected), atol=1e-5)


def test_frames_without_a_body_joint_have_no_rotations_and_leave_the_others_alone():
    points = moving("walk")
    offsets, markers = fit_rig(points)
    whole = pose_rig(offsets, markers, points)
    points[10:14] = np.nan
    points[20, 6] = np.nan
    rotations = pose_rig(offsets, markers, points)
    gone = np.isnan(rotations).all((1, 2))
    assert list(np.flatnonzero(gone)) == [10, 11, 12, 13, 20]
    assert np.isfinite(rotations[~gone]).all()
    assert degrees_between(rotations[~gone], whole[~gone]).max() < 15
    nobody = pose_rig(offsets, markers, np.full((3, 31, 3), np.nan))
    assert nobody.shape == (3, len(NODES), 4)
    assert np.isnan(nobody).all()
    assert pose_rig(offsets, markers, np.empty((0, 31, 3))).shape == (0, len(NODES), 4)


def test_joints_in_one_place_still_give_rotations():
    offsets, markers = figure()
    points = np.zeros((3, 31, 3))
    assert np.isfinite(pose_rig(offsets, markers, points)).all()


def test_posing_leaves_its_input_alone():
    points = moving("walk")
    offsets, markers = fit_rig(points)
    confidence = np.full(points.shape[:2], 0.5)
    kept = [array.copy() for array in (offsets, markers, points, confidence)]
    rotations = pose_rig(offsets, markers, points, confidence)
    limited = rotations.copy()
    limit_rotations(rotations)
    joint_angles(rotations)
    for array, copy in zip((offsets, markers, points, confidence), kept, strict=True):
        np.testing.assert_array_equal(array, copy)
    np.testing.assert_array_equal(rotations, limited)


def test_shapes_that_do_not_fit_are_refused():
    points = moving("walk")
    offsets, markers = fit_rig(points)
    with pytest.raises(ValueError, match=r"offsets must be \(27, 3\)"):
        pose_rig(offsets[:-1], markers, points)
    with pytest.raises(ValueError, match=r"markers must be \(31, 3\)"):
        pose_rig(offsets, offsets, points)
    with pytest.raises(ValueError, match=r"points must be \(T, 31, 3\)"):
        pose_rig(offsets, markers, points[:, :17])
    with pytest.raises(ValueError, match="one value per point"):
        pose_rig(offsets, markers, points, np.ones((len(points), 17)))
    with pytest.raises(ValueError, match=r"rotations must be \(T, 27, 4\)"):
        limit_rotations(np.zeros((5, 20, 4)))
    with pytest.raises(ValueError, match=r"rotations must be \(T, 27, 4\)"):
        joint_angles(np.zeros((27, 4)))
    with pytest.raises(ValueError, match="the rig has no Tail; known: Hips"):
        limit_rotations(identity(), {"Tail": JOINT_LIMITS["Neck"]})


# --- hands, feet, head --------------------------------------------------------------------------


def test_without_points_hands_are_straight_and_feet_at_rest():
    points = moving("walk")
    offsets, markers = fit_rig(points)
    rotations = pose_rig(offsets, markers, points)
    for name in ("LeftHand", "RightHand", "LeftFoot", "RightFoot", "LeftToeBase"):
        node = NODES.index(name)
        np.testing.assert_allclose(rotations[:, node], identity(len(points))[:, node], atol=1e-6)


def test_points_without_confidence_count_as_missing():
    offsets, markers = figure()
    points = rig_points(offsets, markers, np.zeros((20, 3)), random_rotations(20, 0.2))
    confidence = np.ones((20, 31))
    confidence[:, 17:] = 0
    missing = points.copy()
    missing[:, 17:] = np.nan
    np.testing.assert_allclose(
        pose_rig(offsets, markers, points, confidence), pose_rig(offsets, markers, missing)
    )


def test_a_lone_toe_turns_the_foot_no_more_than_it_must():
    offsets, markers = figure()
    rotations = identity()
    rotations[0, NODES.index("LeftFoot")] = turned("x", -20)  # toes up
    points = rig_points(offsets, markers, np.zeros((1, 3)), rotations)
    points[:, 17:] = np.where(
        np.arange(17, 31)[:, None] == BODY.index("left_big_toe"), points[:, 17:], np.nan
    )
    found = pose_rig(offsets, markers, points)
    assert joint_angles(found)["left_ankle_dorsiflexion"][0] == pytest.approx(20, abs=1.5)


def test_the_forearm_turns_with_the_knuckles_and_the_wrist_only_bends():
    offsets, markers = figure()
    rotations = identity(3)
    rotations[:, NODES.index("LeftForeArm")] = turned("z", [-80.0, -80.0, -80.0])
    turn = from_quaternions(turned("x", [-60.0, 0.0, 50.0])) @ from_quaternions(
        turned("y", [30.0, 30, 30])
    )
    rotations[:, NODES.index("LeftHand")] = to_quaternions(turn)
    points = rig_points(offsets, markers, np.zeros((3, 3)), rotations)
    found = pose_rig(offsets, markers, points)
    hand, forearm = (
        from_quaternions(found[:, NODES.index(n)]) for n in ("LeftHand", "LeftForeArm")
    )
    # What is left to the wrist is the 30 degrees about y, the twist is the forearm's.
    expected = from_quaternions(turned("y", [30.0, 30, 30]))
    np.testing.assert_allclose(hand, expected, atol=2e-3)
    elbow = from_quaternions(turned("z", [-80.0, -80, -80])) @ from_quaternions(
        turned("x", [-60.0, 0, 50])
    )
    np.testing.assert_allclose(forearm, elbow, atol=2e-3)


def test_the_head_turns_with_eyes_and_ears():
    offsets, markers = figure()
    rotations = identity(3)
    rotations[:, NODES.index("Head")] = turned("z", [-40.0, 0.0, 40.0])
    rotations[:, NODES.index("Neck")] = turned("y", [10.0, -10.0, 0.0])
    points = rig_points(offsets, markers, np.zeros((3, 3)), rotations)
    found = pose_rig(offsets, markers, points)
    _, turns = pose_nodes(offsets, np.zeros((3, 3)), rotations)
    _, again = pose_nodes(offsets, np.zeros((3, 3)), found)
    head = NODES.index("Head")
    np.testing.assert_allclose(again[:, head], turns[:, head], atol=2e-3)


# --- twist --------------------------------------------------------------------------------------


def arm_swing(bend: np.ndarray, plane: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A figure whose left arm hangs and bends by `bend` degrees in a plane turned by `plane`."""
    offsets, markers = figure()
    frames = len(bend)
    rotations = identity(frames)
    hanging = from_quaternions(turned("y", np.full(frames, 80.0)))
    rotations[:, NODES.index("LeftArm")] = to_quaternions(
        hanging @ from_quaternions(turned("x", plane))
    )
    rotations[:, NODES.index("LeftForeArm")] = turned("z", -bend)
    points = rig_points(offsets, markers, np.zeros((frames, 3)), rotations)
    points[:, 17:] = np.nan
    return offsets, markers, points


def test_a_bent_arm_has_the_twist_of_its_plane():
    plane = np.linspace(-70, 70, 60)
    offsets, markers, points = arm_swing(np.full(60, 70.0), plane)
    found = pose_rig(offsets, markers, points)
    elbow = from_quaternions(found[:, NODES.index("LeftForeArm")])
    np.testing.assert_allclose(
        elbow[:, 2], np.tile([0.0, 0, 1], (60, 1)), atol=1e-9
    )  # a pure hinge
    np.testing.assert_allclose(joint_angles(found)["left_elbow_flexion"], 70, atol=1e-6)


@pytest.mark.parametrize("noise_m", [0.0, 0.003])
def test_an_arm_that_slowly_bends_and_straightens_does_not_jump(noise_m: float):
    time_s = np.arange(240) / 30
    bend = 45 - 45 * np.cos(2 * np.pi * time_s / 4)  # 0 to 90 degrees and back, twice
    offsets, markers, points = arm_swing(bend, np.full(240, 40.0))
    points[:, 11:17] += np.random.default_rng(0).normal(0, noise_m, (240, 6, 3))
    points[:, :17] = with_lengths(points[:, :17], bone_lengths(points[:, :17]))
    found = pose_rig(offsets, markers, points)
    # Without noise nearly nothing moves but the elbow. With it the plane of an arm that is bent by
    # 20 degrees, and so leaves its line by 9 cm, is sure to 3 degrees in each frame.
    assert fastest(found, "LeftArm") < (15 if noise_m == 0 else 400)
    assert fastest(found, "LeftForeArm") < (100 if noise_m == 0 else 400)


def test_a_straight_arm_goes_smoothly_from_one_plane_to_another():
    # Bent, one second straight, bent in a plane 90 degrees away.
    bend = np.interp(np.arange(150), [0, 30, 50, 90, 110, 150], [60, 60, 0, 0, 60, 60])
    plane = np.where(np.arange(150) < 70, -45.0, 45.0)
    offsets, markers, points = arm_swing(bend, plane)
    found = pose_rig(offsets, markers, points)
    assert fastest(found, "LeftArm") < 200
    reached = rig_points(offsets, markers, points[:, 0], found)
    assert np.linalg.norm(reached - points, axis=-1)[:, EXACT].max() < 1e-6


def test_a_leg_that_is_always_straight_has_no_twist():
    offsets, markers = figure()
    rotations = identity(50)
    rotations[:, NODES.index("LeftUpLeg")] = turned("x", np.linspace(20, -70, 50))
    points = rig_points(offsets, markers, np.zeros((50, 3)), rotations)
    points[:, 17:] = np.nan
    found = pose_rig(offsets, markers, points)
    np.testing.assert_allclose(found, rotations, atol=1e-6)


@pytest.mark.parametrize("node", ["LeftLeg", "RightLeg", "LeftForeArm", "RightForeArm"])
def test_a_joint_bent_the_wrong_way_is_over_extended_not_turned_round(node: str):
    offsets, markers = figure()
    degrees = np.interp(np.arange(90), [0, 30, 45, 60, 90], [40, 40, -15, 40, 40])
    axis = "x" if "Leg" in node else "z"
    rotations = identity(90)
    rotations[:, NODES.index(node)] = turned(axis, degrees * (-1 if node == "LeftForeArm" else 1))
    points = rig_points(offsets, markers, np.zeros((90, 3)), rotations)
    points[:, 17:] = np.nan
    found = pose_rig(offsets, markers, points)
    np.testing.assert_allclose(found, rotations, atol=1e-6)
    name = f"{node[:4].lower().replace('righ', 'right')}_{'knee' if axis == 'x' else 'elbow'}"
    np.testing.assert_allclose(joint_angles(found)[f"{name}_flexion"], degrees, atol=1e-4)


def test_noise_on_a_standing_person_does_not_turn_the_limbs_round():
    points = moving("walk", 1.0)
    offsets, markers = fit_rig(points)
    random = np.random.default_rng(0)
    standing = np.repeat(rest_points(offsets, markers), 200, 0)
    standing[:, 17:] = np.nan
    standing[:, :17] += random.normal(0, 0.005, (200, 17, 3))
    standing[:, :17] = with_lengths(standing[:, :17], bone_lengths(standing[:, :17]))
    found = pose_rig(offsets, markers, standing)
    for node in ("LeftUpLeg", "RightUpLeg", "LeftArm", "RightArm"):
        assert degrees_between(found[:, NODES.index(node)], np.array([1.0, 0, 0, 0])).max() < 45


# --- limits -------------------------------------------------------------------------------------


def test_the_rest_pose_and_ordinary_motion_are_inside_the_limits():
    assert not limit_rotations(identity())[1].any()
    for name in MOTIONS:
        points = moving(name, 4.0, seed=3)
        rotations = pose_rig(*fit_rig(points), points)
        limited, moved = limit_rotations(rotations)
        assert not moved.any(), name
        np.testing.assert_array_equal(limited, rotations)


def test_limits_hold_and_clipping_twice_changes_nothing_more():
    random = np.random.default_rng(0)
    q = random.normal(size=(400, len(NODES), 4))
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    limited, moved = limit_rotations(q)
    again, rest = limit_rotations(limited)
    np.testing.assert_allclose(from_quaternions(again), from_quaternions(limited), atol=1e-6)
    assert rest.max() < 1e-4
    free = [NODES.index(n) for n in NODES if n not in JOINT_LIMITS]
    np.testing.assert_array_equal(limited[:, free], q[:, free])
    assert not moved[:, free].any()
    # The angle reported is the one between the rotations before and after.
    np.testing.assert_allclose(degrees_between(q, limited), moved, atol=1e-4)
    knees = joint_angles(limited)["left_knee_flexion"]
    assert knees.min() >= -15 - 1e-6
    assert knees.max() <= 165 + 1e-6


def test_a_rotation_past_a_limit_ends_on_it():
    rotations = identity(5)
    rotations[0, NODES.index("LeftLeg")] = turned("x", -40)  # knee bent forwards: at most -15
    rotations[1, NODES.index("LeftLeg")] = turned("y", 30)  # knee bent sideways: at most 10
    rotations[2, NODES.index("RightForeArm")] = turned("x", 150)  # twist: at most 110
    rotations[3, NODES.index("Spine")] = turned("x", 80)  # bent backwards: at most 50
    rotations[4, NODES.index("LeftUpLeg")] = turned("x", 89)  # thigh to the back: at most 50
    limited, moved = limit_rotations(rotations)
    expected = identity(5)
    expected[0, NODES.index("LeftLeg")] = turned("x", -15)
    expected[1, NODES.index("LeftLeg")] = turned("y", 10)
    expected[2, NODES.index("RightForeArm")] = turned("x", 110)
    expected[3, NODES.index("Spine")] = turned("x", 50)
    expected[4, NODES.index("LeftUpLeg")] = turned("x", 50)
    np.testing.assert_allclose(limited, expected, atol=1e-9)
    np.testing.assert_allclose(moved.max(1), [25, 20, 40, 30, 39], atol=1e-6)
    assert (moved > 0).sum() == 5


def test_limits_are_mirrored():
    random = np.random.default_rng(1)
    q = random.normal(size=(200, len(NODES), 4))
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    limited, _ = limit_rotations(q)
    mirrored, _ = limit_rotations(q[:, MIRRORED_NODES] * [1, 1, -1, -1])
    expected = limited[:, MIRRORED_NODES] * [1, 1, -1, -1]
    np.testing.assert_allclose(from_quaternions(mirrored), from_quaternions(expected), atol=1e-6)


def test_limited_rotations_change_little_where_the_given_ones_do():
    # Across the edge of the range of a thigh, in steps of a tenth of a degree.
    rotations = identity(900)
    rotations[:, NODES.index("LeftUpLeg")] = turned("x", np.linspace(0, 90, 900))
    limited, _ = limit_rotations(rotations)
    node = NODES.index("LeftUpLeg")
    assert degrees_between(limited[:-1, node], limited[1:, node]).max() < 0.11


def test_limits_keep_bones_and_pass_over_missing_frames():
    offsets, markers = figure()
    random = np.random.default_rng(2)
    q = random.normal(size=(30, len(NODES), 4))
    q /= np.linalg.norm(q, axis=-1, keepdims=True)
    q[7] = np.nan
    limited, moved = limit_rotations(q)
    assert np.isnan(limited[7]).all()
    assert np.isnan(moved[7]).all()
    seen = np.delete(np.arange(30), 7)
    points = rig_points(offsets, markers, np.zeros((30, 3)), limited)[seen]
    lengths = np.linalg.norm(bones(points[:, :17]), axis=-1)
    kept = [i for i in range(17) if BODY.joints[i] != "nose"]
    np.testing.assert_allclose(lengths[:, kept], np.broadcast_to(lengths[0, kept], (29, 16)))


def test_own_limits_replace_the_usual_ones():
    stiff = Hinge(axis=(0, 0, -1), hinge=(1, 0, 0), flexion=(0, 20), sideways=0, twist=(0, 0))
    ball = Ball(axis=(0, 0, 1), middle=(0, 0, 1), swing=(5, 5), twist=(-1, 1))
    rotations = identity()
    rotations[0, NODES.index("LeftLeg")] = turned("x", 70)
    rotations[0, NODES.index("Neck")] = turned("x", 30)
    limited, moved = limit_rotations(rotations, {"LeftLeg": stiff, "Neck": ball})
    assert moved[0, NODES.index("LeftLeg")] == pytest.approx(50)
    assert moved[0, NODES.index("Neck")] == pytest.approx(25)
    assert joint_angles(limited)["left_knee_flexion"][0] == pytest.approx(20)


# --- angles by name -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("node", "axis", "degrees", "name", "expected"),
    [
        ("LeftLeg", "x", 90, "left_knee_flexion", 90),
        ("RightLeg", "x", 35, "right_knee_flexion", 35),
        ("LeftForeArm", "z", -90, "left_elbow_flexion", 90),
        ("RightForeArm", "z", 60, "right_elbow_flexion", 60),
        # What hangs down goes to the front (-y) by a turn to the right about the left (+x).
        ("LeftUpLeg", "x", -70, "left_hip_flexion", 70),
        ("RightUpLeg", "x", 20, "right_hip_flexion", -20),
        ("LeftUpLeg", "y", -30, "left_hip_abduction", 30),
        ("RightUpLeg", "y", 30, "right_hip_abduction", 30),
        ("LeftFoot", "x", -15, "left_ankle_dorsiflexion", 15),
        ("RightFoot", "x", 40, "right_ankle_dorsiflexion", -40),
        ("LeftArm", "y", 0, "left_shoulder_abduction", 90),  # the T-pose
        ("LeftArm", "y", 60, "left_shoulder_abduction", 30),
        ("RightArm", "y", -60, "right_shoulder_abduction", 30),
        ("LeftArm", "z", -90, "left_shoulder_flexion", 90),  # straight ahead
        ("RightArm", "z", 90, "right_shoulder_flexion", 90),
        ("Spine", "x", 25, "trunk_lean", 25),
        ("Hips", "x", 25, "trunk_lean", 25),
        ("Hips", "z", 120, "trunk_lean", 0),
    ],
)
def test_angles_have_their_clinical_signs(
    node: str, axis: str, degrees: float, name: str, expected: float
):
    rotations = identity()
    rotations[0, NODES.index(node)] = turned(axis, degrees)
    angles = joint_angles(rotations)
    assert angles[name][0] == pytest.approx(expected, abs=1e-9)
    # Joints do not mix: nothing but the named limb has moved.
    still = {other for other in angles if other.split("_")[1:2] == ["knee"] and other != name}
    assert all(abs(angles[other][0]) < 1e-9 for other in still)


def test_angles_are_nan_where_there_was_nobody():
    rotations = identity(3)
    rotations[1] = np.nan
    for angle in joint_angles(rotations).values():
        assert list(np.isnan(angle)) == [False, True, False]


def test_a_walker_has_the_angles_of_a_walker():
    points = moving("walk", 4.0)
    angles = joint_angles(pose_rig(*fit_rig(points), points))
    for side in ("left", "right"):
        assert 35 < angles[f"{side}_knee_flexion"].max() < 90
        assert angles[f"{side}_knee_flexion"].min() > -1
        assert 10 < angles[f"{side}_hip_flexion"].max() < 60
        assert np.ptp(angles[f"{side}_hip_flexion"]) > 20
        assert np.abs(angles[f"{side}_hip_abduction"]).max() < 20


# --- motion capture -----------------------------------------------------------------------------


@pytest.mark.shared
def test_motion_capture_is_reached_inside_the_limits_without_jumps(shared):
    clips = read_motions(shared("mocap/cmu17_val.npz"))
    bites, speeds = [], []
    for first, last in zip(clips.start[:-1], clips.start[1:], strict=True):
        raw = clips.positions[first:last].astype(np.float64)
        points = np.full((len(raw), 31, 3), np.nan)
        points[:, :17] = with_lengths(raw, bone_lengths(raw))
        # The head is rigid in itself, not with the thorax.
        points[:, 9:11] = raw[:, 9:11] - raw[:, 8:9] + points[:, 8:9]
        offsets, markers = fit_rig(points)
        rotations = pose_rig(offsets, markers, points)
        miss = np.linalg.norm(
            rig_points(offsets, markers, points[:, 0], rotations) - points, axis=-1
        )
        assert miss[:, EXACT].max() < 1e-4
        assert miss[:, [9, 10]].max() < 0.025
        bites.append((limit_rotations(rotations)[1] > 0).any(1))
        q = rotations
        speeds.append(clips.fps * degrees_between(q[:-1], q[1:]).max(0))
    assert np.concatenate(bites).mean() < 0.005
    worst = dict(zip(NODES, np.max(speeds, 0), strict=True))
    assert worst["Head"] < 500
    assert worst["LeftUpLeg"] < 1500  # cartwheels and jumps
    assert worst["LeftArm"] < 2500
