"""Head, hands and feet: a standing person whose parts are turned by known angles."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.anthropometry import BLAZEPOSE_SEES, SEGMENTS, TEMPLATE
from lithepose.cameras import look_at, world_to_camera
from lithepose.pipeline import lift_keypoints
from lithepose.skeletons import SKELETONS, convert
from lithepose.synthetic.bodies import Body, rest_joints
from lithepose.world import extremities
from lithepose.world.extremities import (
    PARTS,
    fit_rotations,
    rest_rotations,
    stature,
    with_extremities,
)
from lithepose.world.rig import fit_rig

BODY = SKELETONS["lithepose31"]
HEIGHT, FOCAL, SIZE, FPS = 1.71, 900.0, (960, 540), 30.0
MIRROR = list(BODY.mirror)


def standing(frames: int = 1, yaw_deg: float = 30.0, bent: bool = True) -> np.ndarray:
    """(T, 17, 3) camera axes, a person of 1.71 m before a camera at chest height, turned by an
    angle from facing it; knees and elbows a little bent, unless both should be straight."""
    lengths = {name: share * HEIGHT for name, share in SEGMENTS.items()}
    joints = rest_joints(Body(stature=HEIGHT, **lengths))
    if bent:
        for joint, before, sense in ((3, 2, -1), (6, 5, -1), (13, 12, 1), (16, 15, 1)):
            bone = joints[joint] - joints[before]
            bone[1] += sense * 0.4 * np.linalg.norm(bone)
            joints[joint] = joints[before] + bone / np.linalg.norm(bone) * np.linalg.norm(
                joints[joint] - joints[before]
            )
    angle = np.radians(180 + yaw_deg)  # the rest pose looks along +y, where the camera looks
    turn = np.array(
        [[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]]
    )
    world = joints @ turn.T
    position = np.array([0.3, -4.0, 0.4])
    camera = world_to_camera(world, look_at(position, (0, 0, 0)), position)
    return np.repeat(camera[None], frames, axis=0)


def about(degrees: tuple[float, float, float]) -> np.ndarray:
    """(3, 3), a turn by a rotation vector in degrees, by the power series of the exponential."""
    x, y, z = np.radians(degrees)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    result, power = np.eye(3), np.eye(3)
    for n in range(1, 30):
        power = power @ cross / n
        result = result + power
    return result


def project(points: np.ndarray) -> np.ndarray:
    return points[..., :2] / points[..., 2:] * FOCAL + np.array(SIZE) / 2


def seen(
    joints: np.ndarray, turns: dict[str, tuple[float, float, float]], table=TEMPLATE
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Keypoints (T, 31, 2), points (T, 31, 3) and rotations (T, 5, 3, 3) of a person whose parts
    are turned from their rest pose."""
    rotations = rest_rotations(joints)
    points = np.full((len(joints), 31, 3), np.nan)
    points[:, :17] = joints
    for number, (name, part) in enumerate(PARTS.items()):
        rotations[:, number] = rotations[:, number] @ about(turns.get(name, (0, 0, 0)))
        own = part.positions(table) * HEIGHT
        first = joints[:, part.points[0]]
        if name == "head":  # the nose joint stays, the rest of the face turns about it
            own = own - own[0]
        points[:, list(part.points)] = first[:, None] + own @ rotations[:, number].transpose(
            0, 2, 1
        )
    return project(points), points, rotations


def times(frames: int) -> np.ndarray:
    return np.arange(frames) / FPS


def run(joints, keypoints, confidence=None, world=None, skeleton="halpe26"):
    if confidence is None:
        confidence = np.isfinite(keypoints).all(-1).astype(float)
    return with_extremities(
        joints, keypoints, confidence, times(len(joints)), FOCAL, SIZE, world, skeleton=skeleton
    )


def rotations_of(joints, keypoints, confidence=None, world=None, skeleton="halpe26"):
    if confidence is None:
        confidence = np.isfinite(keypoints).all(-1).astype(float)
    rays = (keypoints - np.array(SIZE) / 2) / FOCAL
    return fit_rotations(
        joints, rays, confidence, times(len(joints)), stature(joints), world, skeleton
    )[0]


def degrees(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    cosine = (np.einsum("...ij,...ij->...", a, b) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


TURNS = {
    "head": (8.0, -5.0, 12.0),
    "left_hand": (5.0, 12.0, -25.0),
    "right_hand": (-10.0, 20.0, 20.0),
    "left_foot": (20.0, 4.0, 12.0),
    "right_foot": (-15.0, -6.0, -10.0),
}


@pytest.mark.parametrize("yaw_deg", [-50.0, 0.0, 35.0])
def test_exact_points_that_are_trusted_give_the_turns_back(monkeypatch, yaw_deg):
    monkeypatch.setattr(
        extremities, "PICTURE_SPREAD", dict.fromkeys(("head", "hand", "foot"), 1e-5)
    )
    monkeypatch.setattr(extremities, "ROUNDS", 40)
    joints = standing(3, yaw_deg)
    keypoints, _, true = seen(joints, TURNS)
    assert degrees(rotations_of(joints, keypoints), true).max() < 1.0


def test_points_of_usual_trust_are_followed_most_of_the_way():
    joints = standing(3)
    keypoints, _, true = seen(joints, TURNS)
    rest, found = rest_rotations(joints), rotations_of(joints, keypoints)
    assert (degrees(found, true) < 0.75 * degrees(rest, true)).all()
    assert degrees(found, true)[:, 3:].max() < 6.0  # feet


def test_points_of_blazepose_are_read_where_blazepose_sees_them():
    joints = standing(3)
    keypoints, _, true = seen(joints, {}, BLAZEPOSE_SEES)
    assert degrees(rotations_of(joints, keypoints, skeleton="blazepose33"), true).max() < 0.2
    assert degrees(rotations_of(joints, keypoints, skeleton="halpe26"), true).max() > 2.0


def test_the_rest_pose_of_an_upright_person_looks_ahead():
    joints = standing(1, yaw_deg=0.0, bent=False)
    rest = rest_rotations(joints)[0]
    ahead = np.array([0.0, 0.0, -1.0])  # to the camera, which looks down a little
    assert (rest[[0, 3, 4], :, 1] @ ahead > 0.98).all()
    # Toes and head are level, fingers go on from the forearms.
    fore = joints[0, [13, 16]] - joints[0, [12, 15]]
    fore /= np.linalg.norm(fore, axis=-1, keepdims=True)
    assert np.allclose(-rest[1:3, :, 2], fore)


def test_places_are_those_of_the_templates():
    joints = standing(1)
    keypoints, true, _ = seen(joints, {})
    points, _ = run(joints, keypoints)
    feet_and_hands = range(21, 31)
    assert np.allclose(points[:, feet_and_hands], true[:, feet_and_hands], atol=1e-6)
    # Where nose and vertex agree with the template, so do eyes and ears.
    assert np.allclose(points[:, 17:21], true[:, 17:21], atol=1e-6)


def test_the_rig_assumes_of_unseen_parts_what_is_placed_here():
    joints = standing(1)
    placed, _ = run(joints, np.full((1, 31, 2), np.nan))
    alone = np.full((1, 31, 3), np.nan)
    alone[:, :17] = joints
    (_, measured), (_, assumed) = fit_rig(placed), fit_rig(alone)
    for names in (("eye", "ear"), ("index", "pinky"), ("heel",)):
        at = [BODY.index(f"left_{name}") for name in names]
        size = np.linalg.norm(measured[at]) / np.linalg.norm(assumed[at])
        np.testing.assert_allclose(measured[at], size * assumed[at], atol=1e-6)


def test_the_joints_stay_as_they_are():
    joints = standing(4).astype(np.float32)
    points, _ = run(joints, seen(joints, TURNS)[0])
    assert (points[:, :17] == joints).all()
    assert np.isfinite(points).all()


def test_a_mirrored_person_has_mirrored_points():
    joints = standing(5, yaw_deg=20.0)
    keypoints, _, _ = seen(joints, TURNS)
    world = seen(joints, TURNS)[1] - joints[:, :1]
    points, sure = run(joints, keypoints, world=world)
    flip = np.array([-1.0, 1.0, 1.0])
    mirrored, sure_mirrored = run(
        (joints * flip)[:, list(SKELETONS["h36m17"].mirror)],
        (np.array([SIZE[0], 0]) + keypoints * (-1, 1))[:, MIRROR],
        world=(world * flip)[:, MIRROR],
    )
    assert np.allclose(mirrored, (points * flip)[:, MIRROR], atol=1e-9)
    assert np.allclose(sure_mirrored, sure[:, MIRROR], atol=1e-9)


def test_time_backwards_gives_the_same_backwards():
    joints = standing(30)
    keypoints, _, _ = seen(joints, {})
    swing = np.sin(np.arange(30))[:, None] * (0, 12)
    keypoints[:, 23] += swing  # a toe that rises and falls
    forth, _ = run(joints, keypoints)
    back, _ = run(joints[::-1], keypoints[::-1])
    assert np.allclose(back[::-1], forth, atol=1e-9)


def test_noise_in_the_picture_makes_less_noise_in_the_turns_than_frame_by_frame():
    rng = np.random.default_rng(0)
    joints = standing(60)
    keypoints, _, _ = seen(joints, TURNS)
    noisy = keypoints + rng.normal(0, 3.0, keypoints.shape)
    together = rotations_of(joints, noisy)
    alone = np.concatenate(
        [rotations_of(joints[t : t + 1], noisy[t : t + 1]) for t in range(len(joints))]
    )
    jitter = [degrees(r[1:], r[:-1]).mean(0) for r in (together, alone)]
    assert (jitter[0] < 0.3 * jitter[1]).all()


def test_feet_seen_backwards_still_point_ahead():
    for yaw_deg in (-60.0, 0.0, 60.0):
        joints = standing(5, yaw_deg)
        reversed_feet = dict.fromkeys(("left_foot", "right_foot"), (0.0, 0.0, 175.0))
        keypoints, true, _ = seen(joints, reversed_feet)
        world = true - joints[:, :1]
        rest = rest_rotations(joints)[:, 3:]
        for given in (None, world):
            found = rotations_of(joints, keypoints, world=given)[:, 3:]
            assert ((found[..., 1] * rest[..., 1]).sum(-1) > 0.3).all()


def test_the_near_one_of_two_poses_with_the_same_picture_is_taken():
    # A foot seen from the side looks the same turned in and turned out: the picture says "by 30
    # degrees", anatomy and the detector's own 3D say which way.
    joints = standing(5, yaw_deg=90.0)
    keypoints, true, turned_out = seen(joints, {"right_foot": (0.0, 0.0, -30.0)})
    world = true - joints[:, :1]
    found = rotations_of(joints, keypoints, world=world)[:, 4]
    other = seen(joints, {"right_foot": (0.0, 0.0, 30.0)})[2][:, 4]
    assert (degrees(found, turned_out[:, 4]) < degrees(found, other)).all()


def test_one_wild_point_does_not_carry_the_foot_away():
    joints = standing(10)
    keypoints, _, true = seen(joints, TURNS)
    heel = BODY.index("left_heel")
    keypoints[:, heel] += (0, 150)
    found = rotations_of(joints, keypoints)
    assert degrees(found, true)[:, 3].max() < 15.0


def test_a_short_gap_follows_its_neighbours_and_a_long_one_the_rest_pose():
    joints = standing(90)
    keypoints, _, true = seen(joints, TURNS)
    foot = list(PARTS["left_foot"].points[1:])
    rest = rest_rotations(joints)
    short, long = keypoints.copy(), keypoints.copy()
    short[40:45, foot] = np.nan
    long[30:90, foot] = np.nan
    steady = degrees(rotations_of(joints, keypoints), true)[42, 3]
    assert degrees(rotations_of(joints, short), true)[42, 3] < steady + 2.0
    assert degrees(rotations_of(joints, long), rest)[85, 3] < 0.5
    _, sure = run(joints, long)
    toe = BODY.index("left_big_toe")
    assert sure[85, toe] < 0.6 * sure[5, toe]


def test_a_detector_without_feet_and_hands_gives_the_rest_pose_with_low_confidence():
    joints = standing(4)
    halpe = seen(joints, {})[0]
    coco = np.full_like(halpe, np.nan)
    in_coco = [BODY.index(name) for name in SKELETONS["coco17"].joints]
    coco[:, in_coco] = halpe[:, in_coco]
    keypoints, confidence, _ = convert(coco[:, in_coco], None, "coco17", "lithepose31")
    points, sure = run(joints, keypoints, confidence, skeleton="coco17")
    assert np.isfinite(points).all()
    rest = rest_rotations(joints)
    assert np.allclose(rotations_of(joints, keypoints, confidence)[:, 1:], rest[:, 1:])
    _, sure_with = run(joints, halpe)
    assert (sure[:, 21:] < 0.7 * sure_with[:, 21:]).all()
    assert (sure[:, 21:] > 0).all()


def test_frames_without_a_person_are_nan_with_confidence_0():
    joints = standing(6)
    keypoints, _, _ = seen(joints, TURNS)
    joints[2] = np.nan
    joints[4, 7] = np.nan
    points, sure = run(joints, keypoints)
    assert np.isnan(points[2]).all()
    assert np.isnan(points[4, 17:]).all()
    assert (sure[[2, 4]] == 0).all()
    assert np.isfinite(points[[0, 1, 3, 5]]).all()
    nobody, sure = run(np.full((3, 17, 3), np.nan), keypoints[:3])
    assert np.isnan(nobody).all()
    assert (sure == 0).all()


def test_confidence_is_between_0_and_1_and_falls_where_it_should():
    joints = standing(3)
    keypoints, _, _ = seen(joints, {})
    _, sure = run(joints, keypoints)
    assert (sure > 0).all()
    assert (sure <= 1).all()
    wrist, index = BODY.index("left_wrist"), BODY.index("left_index")
    away = keypoints.copy()
    away[:, wrist] += 0.03 * HEIGHT * FOCAL / joints[:, wrist, 2:]  # by √2 of HALF_MISS
    _, sure_away = run(joints, away)
    assert sure_away[:, wrist] == pytest.approx(sure[:, wrist] / 3)
    assert (sure_away[:, index] < sure[:, index]).all()
    unseen = keypoints.copy()
    unseen[:, wrist] = np.nan
    _, sure_unseen = run(joints, unseen)
    assert sure_unseen[:, wrist] == pytest.approx(0.3 * sure[:, wrist])


def test_a_limb_along_the_line_of_sight_has_less_confidence():
    joints = standing(1)
    across, along = joints.copy(), joints.copy()
    sight = joints[0, 12] / np.linalg.norm(joints[0, 12])
    side = np.cross(sight, (0.0, 1.0, 0.0))
    for pose, direction in ((across, side / np.linalg.norm(side)), (along, -sight)):
        pose[0, 13] = pose[0, 12] + 0.25 * direction
    sure = [run(pose, seen(pose, {})[0])[1][0, 13] for pose in (across, along)]
    assert sure[0] == pytest.approx(1.0, abs=0.01)
    assert sure[1] == pytest.approx(0.5, abs=0.01)


def test_one_frame_is_enough():
    joints = standing(1)
    points, sure = run(joints, seen(joints, TURNS)[0])
    assert points.shape == (1, 31, 3)
    assert sure.shape == (1, 31)
    assert np.isfinite(points).all()


def test_no_frames_give_no_points():
    points, sure = run(np.empty((0, 17, 3)), np.empty((0, 31, 2)))
    assert points.shape == (0, 31, 3)
    assert sure.shape == (0, 31)


def test_long_and_uneven_clips_are_averaged_as_short_ones():
    rng = np.random.default_rng(1)
    joints = standing(300)
    keypoints, _, _ = seen(joints, TURNS)
    keypoints += rng.normal(0, 3.0, keypoints.shape)
    time_s = np.cumsum(rng.uniform(0.01, 0.08, 300))
    confidence = np.ones((300, 31))
    whole, _ = with_extremities(joints, keypoints, confidence, time_s, FOCAL, SIZE)
    part, _ = with_extremities(
        joints[100:200], keypoints[100:200], confidence[100:200], time_s[100:200], FOCAL, SIZE
    )
    assert np.allclose(part[40:60], whole[140:160], atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"joints_camera": np.zeros((2, 16, 3))}, "joints_camera has shape"),
        ({"keypoints": np.zeros((2, 17, 2))}, "keypoints has shape"),
        ({"confidence": np.zeros((3, 31))}, "confidence has shape"),
        ({"detector_world": np.zeros((2, 33, 3))}, "detector_world has shape"),
        ({"time_s": np.zeros(3)}, "time_s has shape"),
        ({"time_s": np.array([0.1, 0.1])}, "does not ascend"),
        ({"focal_px": 0.0}, "focal_px is 0.0"),
        ({"image_size": (0, 540)}, "image_size is"),
        ({"skeleton": "insect"}, "no skeleton named 'insect'"),
        ({"joints_camera": 1000 * standing(2)}, "in metres"),
    ],
)
def test_bad_input_is_refused_with_a_reason(change, message):
    joints = standing(2)
    given = {
        "joints_camera": joints,
        "keypoints": seen(joints, {})[0],
        "confidence": np.ones((2, 31)),
        "time_s": times(2),
        "focal_px": FOCAL,
        "image_size": SIZE,
    }
    with pytest.raises(ValueError, match=message):
        with_extremities(**(given | change))


def test_a_real_walker_has_toes_that_point_where_she_walks(shared):
    data = np.load(shared("video/walk_single_mediapipe2d.npz"))
    size, fps = tuple(int(x) for x in data["image_size"]), float(data["fps"])
    given = {"confidence": data["visibility"], "skeleton": "blazepose33"}
    lifted = lift_keypoints(data["kp2d"], image_size=size, fps=fps, **given)
    joints = lifted.people[0].joints_camera
    keypoints, confidence, _ = convert(
        data["kp2d"], data["visibility"], "blazepose33", "lithepose31"
    )
    points, sure = with_extremities(
        joints, keypoints, confidence, np.arange(len(joints)) / fps, float(max(size)), size
    )
    for side in ("left", "right"):
        toe, heel = (points[:, BODY.index(f"{side}_{name}")] for name in ("big_toe", "heel"))
        along = (toe - heel) / np.linalg.norm(toe - heel, axis=-1, keepdims=True)
        assert np.median(along[:, 0]) < -0.8  # she walks to the left of the picture
        assert (along[:, 0] < 0.3).all()
    # The detector has no vertex: one is guessed from the face, and lifted some centimetres away.
    mean, vertex = sure[:, :17].mean(0), BODY.index("head_top")
    assert mean[vertex] > 0.25
    assert (np.delete(mean, vertex) > 0.4).all()


def test_long_clips_are_done_in_parts_without_a_seam(monkeypatch: pytest.MonkeyPatch):
    joints = standing(60)
    keypoints, _, _ = seen(joints, {"left_foot": (0, 20, 10), "head": (10, 0, 20)})
    keypoints = keypoints + np.random.default_rng(0).normal(0, 2, keypoints.shape)
    whole = run(joints, keypoints)
    monkeypatch.setattr("lithepose.poses.PART_FRAMES", 17)
    monkeypatch.setattr("lithepose.poses.OVERLAP_FRAMES", 40)
    for one, other in zip(run(joints, keypoints), whole, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-4)
