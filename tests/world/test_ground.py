"""Up, floor and standing feet, on made-up motion whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.anthropometry import ANKLE_HEIGHT
from lithepose.bones import bones
from lithepose.cameras import look_at
from lithepose.poses import segments
from lithepose.synthetic.bodies import Body, random_body
from lithepose.synthetic.movements import motion
from lithepose.world.contacts import DRIFT_M, find_contacts, lock_feet, path_ties
from lithepose.world.ground import ANKLES, Ground, body_axis, fit_ground, up_of_tilt
from lithepose.world.path import fit_root_path

FPS = 30.0
POSITION = np.array([1.0, -5.0, 1.4])


def degrees(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.degrees(np.arccos(np.clip(first @ second, -1, 1))))


def filmed(
    name: str = "walk", seconds: float = 4.0, pitch_target: float = 0.9, roll: float = 2.0
) -> tuple[np.ndarray, np.ndarray, Ground, Body]:
    """Joints in world and in camera axes, the true ground, and the body of someone who moves."""
    random = np.random.default_rng(3)
    body = random_body(random)
    joints = motion(name, seconds, FPS, body, random)
    target = joints[:, 0].mean(0) * (1, 1, 0) + (0, 0, pitch_target)
    rotation = look_at(POSITION, target, roll)
    ground = Ground(up=rotation[:, 2], camera_height_m=float(POSITION[2]), cues={})
    return joints, (joints - POSITION) @ rotation.T, ground, body


def times(joints: np.ndarray) -> np.ndarray:
    return np.arange(len(joints)) / FPS


# --- the ground -------------------------------------------------------------------------------


def test_the_world_is_upright_with_its_origin_under_the_camera():
    joints, camera, ground, _ = filmed()
    world = ground.to_world(camera)
    np.testing.assert_allclose(world[..., 2], joints[..., 2], atol=1e-9)
    np.testing.assert_allclose(
        np.linalg.norm(world[:, 0, :2], axis=-1),
        np.linalg.norm((joints - POSITION)[:, 0, :2], axis=-1),
    )
    rotation = ground.rotation
    np.testing.assert_allclose(rotation @ rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(rotation) == pytest.approx(1)
    assert rotation[2, 1] > 0.9  # y goes the way the camera looks
    assert rotation[0, 0] > 0.9  # x to its right
    np.testing.assert_allclose(ground.to_world(np.zeros(3)), [0, 0, 1.4])


def test_a_camera_that_looks_straight_down_has_the_top_of_its_picture_ahead():
    ground = Ground(up=np.array([0.0, 0.0, -1.0]), camera_height_m=3.0, cues={})
    np.testing.assert_allclose(ground.rotation.T @ (0, -1, 0), (0, 1, 0), atol=1e-12)
    np.testing.assert_allclose(ground.to_world(np.array([0.0, 0, 3])), (0, 0, 0), atol=1e-12)


@pytest.mark.parametrize(("pitch", "roll"), [(0, 0), (-20, 0), (15, 0), (-10, 5)])
def test_a_tilt_gives_the_vertical_and_back(pitch: float, roll: float):
    up = up_of_tilt(pitch, roll)
    assert np.linalg.norm(up) == pytest.approx(1)
    assert np.degrees(np.arcsin(up[2])) == pytest.approx(pitch)
    assert np.degrees(np.arctan2(up[0], -up[1])) == pytest.approx(roll)


def test_the_signs_of_a_tilt():
    # Looking up, a vertical line leans towards the camera at its top: up has a part along z.
    assert up_of_tilt(20, 0)[2] > 0
    # A picture turned clockwise has its vertical lean to the right.
    assert up_of_tilt(0, 10)[0] > 0


@pytest.mark.parametrize("target", [0.3, 0.9, 2.0])
def test_walking_people_show_the_vertical_and_the_floor(target: float):
    joints, camera, true, _ = filmed(pitch_target=target)
    height = ankle_height()
    ground, contact = true, np.zeros((len(joints), 2), bool)
    for _ in range(3):
        ground = fit_ground([camera], [contact], [height], [times(joints)])
        contact = find_contacts(ground.to_world(camera[:, ANKLES]), times(joints))
    assert degrees(ground.up, true.up) < 1.5
    assert ground.camera_height_m == pytest.approx(1.4, abs=0.1)
    standing = ground.to_world(camera)[:, ANKLES, 2][contact]
    assert np.abs(standing - height).max() < 0.06
    assert ground.cues["standing_feet"] > 4


def ankle_height() -> float:
    return ANKLE_HEIGHT * random_body(np.random.default_rng(3)).stature


def test_what_is_known_is_kept():
    joints, camera, true, _ = filmed()
    contact = np.zeros((len(joints), 2), bool)
    ground = fit_ground(
        [camera], [contact], [0.08], [times(joints)], up=true.up, camera_height_m=1.25
    )
    assert ground.up is true.up
    assert ground.camera_height_m == 1.25
    assert ground.cues["up_known"]
    assert ground.cues["camera_height_known"]


def test_nobody_upright_and_nobody_standing_leaves_a_level_camera():
    lying = np.zeros((10, 17, 3))
    ground = fit_ground([lying * np.nan], [np.zeros((10, 2), bool)], [0.08], [np.arange(10) / 30])
    np.testing.assert_allclose(ground.up, [0, -1, 0], atol=1e-6)
    assert np.isfinite(ground.camera_height_m)


def test_the_body_axis_of_someone_who_never_stands_is_nan():
    joints, _, _, _ = filmed("walk")
    axis, seconds = body_axis(joints, times(joints))
    assert degrees(axis, np.array([0, 0, 1.0])) < 4
    assert seconds == pytest.approx(4, abs=0.1)
    folded = joints.copy()
    folded[:, 8] = folded[:, 0] + (0, 0.5, -0.1)
    axis, seconds = body_axis(folded, times(folded))
    assert np.isnan(axis).all()
    assert seconds == 0


# --- feet -------------------------------------------------------------------------------------


def test_the_feet_of_someone_who_walks_stand_in_turns():
    joints, _, _, _ = filmed()
    contact = find_contacts(joints[:, ANKLES], times(joints))
    share = contact.mean(0)
    assert (share > 0.4).all()
    assert (share < 0.8).all()
    for side in range(2):
        runs = segments(contact[:, side])
        assert 3 <= len(runs) <= 6
        for run in runs:
            foot = joints[run, ANKLES[side]]
            assert np.linalg.norm(foot - np.median(foot, axis=0), axis=-1).max() < DRIFT_M


def test_someone_who_stands_stands_and_someone_in_the_air_does_not():
    joints, _, _, _ = filmed("wave", 2.0)
    assert find_contacts(joints[:, ANKLES], times(joints)).all()
    falling = joints - np.array([0, 0, 9.81 / 2]) * (times(joints)[:, None, None] - 1) ** 2
    assert not find_contacts(falling[:, ANKLES], times(joints))[:20].any()


def test_standing_on_a_wall_is_standing_too():
    joints, _, _, _ = filmed("wave", 2.0)
    on_a_wall = joints + (0, 0, 1.2)
    assert find_contacts(on_a_wall[:, ANKLES], times(joints)).all()


def test_the_floor_is_the_lowest_level_on_which_feet_stand_for_long():
    _, camera, true, body = filmed("wave", 2.0)
    up = true.up
    higher = camera + 0.6 * up
    clip = np.concatenate([higher, higher, camera, camera - 0.7 * up])
    contact = np.ones((len(clip), 2), bool)
    contact[[60, 120, 179, 180]] = False
    contact[184:] = False  # five frames in a hole are no floor
    ground = fit_ground([clip], [contact], [body.ankle_height], [np.arange(len(clip)) / FPS], up=up)
    assert ground.cues["levels"] == 3
    assert ground.camera_height_m == pytest.approx(1.4, abs=0.02)


def test_a_foot_that_shuffles_far_has_stepped():
    ankles = np.zeros((60, 2, 3))
    ankles[..., 2] = 0.08
    ankles[:, 0, 0] = 0.3 * np.clip((np.arange(60) - 20) / 20, 0, 1)  # 30 cm in 0.67 s
    contact = find_contacts(ankles, np.arange(60) / FPS)
    assert contact[:, 1].all()
    assert contact[:10, 0].all()
    assert not contact[:, 0].all()


@pytest.mark.parametrize("frames", [0, 1, 2])
def test_a_moment_is_too_short_to_stand(frames: int):
    assert not find_contacts(np.zeros((frames, 2, 3)), np.arange(frames) / FPS).any()


def test_missing_frames_do_not_stand():
    joints, _, _, _ = filmed("wave", 1.0)
    ankles = joints[:, ANKLES].copy()
    ankles[:5] = np.nan
    contact = find_contacts(ankles, times(joints))
    assert not contact[:5].any()
    assert contact[10:].all()


def test_planted_feet_are_still_and_bones_keep_their_lengths():
    joints, _, _, body = filmed()
    random = np.random.default_rng(0)
    drift = np.cumsum(random.normal(0, 0.003, (len(joints), 1, 3)), axis=0)
    skating = joints + drift
    contact = find_contacts(joints[:, ANKLES], times(joints))
    planted = lock_feet(skating, contact, times(joints), body.ankle_height)
    for side, ankle in enumerate(ANKLES):
        for run in segments(contact[:, side]):
            foot = planted[run, ankle]
            assert np.abs(foot - foot.mean(0)).max() < 0.005
            assert foot[:, 2].mean() == pytest.approx(body.ankle_height, abs=0.005)
    np.testing.assert_allclose(
        np.linalg.norm(bones(planted), axis=-1), np.linalg.norm(bones(skating), axis=-1), atol=1e-3
    )
    assert planted[:, ANKLES, 2].min() > body.ankle_height - 0.005
    # What is held is moved no further than it had skated, and gently.
    assert np.linalg.norm(planted - skating, axis=-1).max() < 0.2
    jerk = np.abs(np.diff((planted - skating)[:, ANKLES], n=2, axis=0)).max()
    assert jerk < 0.03


def test_nothing_moves_when_nobody_stands():
    joints, _, _, body = filmed("wave", 1.0)
    joints = joints + (0, 0, 0.3)
    none = np.zeros((len(joints), 2), bool)
    planted = lock_feet(joints, none, times(joints), body.ankle_height)
    np.testing.assert_allclose(planted, joints, atol=1e-3)


def test_a_leg_that_cannot_reach_lowers_the_hips():
    joints, _, _, body = filmed("wave", 1.0)
    high = joints + (0, 0, 0.05)
    both = np.ones((len(joints), 2), bool)
    planted = lock_feet(high, both, times(joints), body.ankle_height)
    np.testing.assert_allclose(planted[:, ANKLES, 2], body.ankle_height, atol=0.01)
    assert (planted[:, 0, 2] < high[:, 0, 2]).all()


def test_standing_feet_tie_the_path():
    joints, camera, ground, body = filmed()
    poses = camera - camera[:, :1]
    contact = find_contacts(joints[:, ANKLES], times(joints))
    ties = path_ties(poses, camera[:, 0], contact, times(joints), ground, body.ankle_height)
    rays = camera[..., :2] / camera[..., 2:]
    rays = rays + np.random.default_rng(0).normal(0, 0.004, rays.shape)
    sure = np.ones(rays.shape[:2])

    def slide(root: np.ndarray) -> float:
        ankles = (poses + root[:, None])[:, ANKLES]
        steps = np.linalg.norm(np.diff(ankles, axis=0), axis=-1)
        return float(steps[contact[1:] & contact[:-1]].mean())

    free = fit_root_path(poses, rays, sure, times(joints))
    tied = fit_root_path(poses, rays, sure, times(joints), ties)
    assert slide(tied) < 0.9 * slide(free)
    assert np.linalg.norm(tied - camera[:, 0], axis=-1).mean() < 0.08
