"""What a lifter sees of a track, and how its answers become a track again."""

from __future__ import annotations

import numpy as np
import pytest

from lithepose.cameras import rotation_to_ray
from lithepose.lifters.windows import (
    CHANNELS,
    FPS_RANGE,
    LIMBS,
    lift_windows,
    look_at_person,
    mirror_sides,
    unrotate,
    with_midpoints,
)
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion

TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])


def windows(distance_m: float = 4.0, count: int = 2, frames: int = 9) -> np.ndarray:
    """Windows (B, F, 17, 3) of procedural motion in camera axes, metres."""
    random = np.random.default_rng(3)
    names = ["walk", "squat", "wave", "reach"][:count]
    clips = [motion(name, frames / 25, 25, random_body(random), random) for name in names]
    return np.stack(clips)[:, :frames] @ TO_CAMERA.T + (0.0, 0.9, distance_m)


def seen(joints: np.ndarray) -> np.ndarray:
    return joints[..., :2] / joints[..., 2:]


def all_sure(rays: np.ndarray) -> np.ndarray:
    return np.ones(rays.shape[:-1], np.float32)


def turn_about(axis: tuple[float, float, float], degrees: float) -> np.ndarray:
    x, y, z = np.array(axis) / np.linalg.norm(axis)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(degrees)
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


# --- inputs -----------------------------------------------------------------------------------


def test_inputs_are_what_the_virtual_camera_sees_in_units_of_its_size():
    joints = windows() + (0.8, -0.3, 0.0)
    inputs = look_at_person(seen(joints), all_sure(joints))
    assert inputs.values.shape == (2, 9, 17, CHANNELS)
    assert inputs.values.dtype == np.float32
    for window, rotation, values in zip(joints, inputs.rotation, inputs.values, strict=True):
        view = seen(window @ rotation)  # points as rows: the transpose turns into the camera
        size = np.exp(values[0, 0, 3] - 2.4)
        np.testing.assert_allclose(values[..., :2] * size, view, atol=1e-5)
        limbs = view[:, LIMBS]
        assert np.abs(limbs.mean((0, 1))).max() < 0.01  # looks straight at the person
        spread = limbs - limbs.mean(1, keepdims=True)
        assert size == pytest.approx(np.sqrt((spread**2).sum(-1).mean()), rel=1e-5)
        assert (values[..., 2] == 1).all()
        assert (values[..., 3] == values[0, 0, 3]).all()


@pytest.mark.parametrize("degrees", [-35, -15, 20, 40])
@pytest.mark.parametrize("axis", [(0, 1, 0), (1, 0, 0), (1, 0.7, 0)])
def test_a_camera_that_is_turned_about_its_centre_sees_the_same(
    axis: tuple[float, float, float], degrees: float
):
    joints = windows() @ rotation_to_ray(np.array([0.05, 0.1, 1.0])).T
    straight = look_at_person(seen(joints), all_sure(joints)).values
    turned_joints = joints @ turn_about(axis, degrees).T
    turned = look_at_person(seen(turned_joints), all_sure(joints)).values
    # The least rotation leaves a roll about the line of sight: take out the best one.
    a, b = straight[..., :2].reshape(-1, 2), turned[..., :2].reshape(-1, 2)
    roll = np.arctan2((a[:, 1] * b[:, 0] - a[:, 0] * b[:, 1]).sum(), (a * b).sum())
    assert abs(np.degrees(roll)) < 10
    c, s = np.cos(roll), np.sin(roll)
    # The middle of the joints in the picture is not the picture of one point, hence not exactly.
    np.testing.assert_allclose(b @ np.array([[c, -s], [s, c]]).T, a, atol=0.12)
    np.testing.assert_allclose(turned[..., 3], straight[..., 3], atol=0.02)


def test_the_person_s_size_in_the_picture_shows_in_one_channel_only():
    far = windows(distance_m=40.0)
    near = far * (1, 1, 0) + (0, 0, 40) + (far - 40) * (0, 0, 1)
    rays = seen(near)
    small, large = (look_at_person(k * rays, all_sure(rays)).values for k in (1.0, 2.0))
    np.testing.assert_allclose(large[..., :2], small[..., :2], atol=0.02)
    np.testing.assert_allclose(large[..., 3] - small[..., 3], np.log(2), atol=0.01)


def test_missing_joints_are_zero_and_their_coordinates_are_not_read():
    rays = seen(windows())
    sure = all_sure(rays)
    sure[0, 3, 9] = sure[0, :, 16] = 0
    nothing, other = rays.copy(), rays.copy()
    nothing[sure == 0], other[sure == 0] = np.nan, 12.0
    values = look_at_person(nothing, sure).values
    np.testing.assert_array_equal(values, look_at_person(other, sure).values)
    assert not values[sure == 0][:, :3].any()
    assert np.isfinite(values).all()


def test_a_window_without_any_joint_is_finite():
    rays = np.full((1, 9, 17, 2), np.nan)
    inputs = look_at_person(rays, np.zeros((1, 9, 17)))
    assert np.isfinite(inputs.values).all()
    np.testing.assert_allclose(inputs.rotation[0], np.eye(3), atol=1e-6)


def test_a_window_is_seen_the_same_alone_and_among_others():
    rays = seen(windows(count=4))
    together = look_at_person(rays, all_sure(rays))
    alone = look_at_person(rays[2:3], all_sure(rays)[2:3])
    np.testing.assert_allclose(together.values[2:3], alone.values, atol=1e-6)


def test_midpoints_replace_pelvis_and_thorax_only():
    random = np.random.default_rng(0)
    points, sure = random.normal(size=(3, 17, 2)), random.uniform(0.2, 1, (3, 17))
    sure[1, 11] = 0
    points[1, 11] = np.nan
    kept = points.copy()
    moved, trusted = with_midpoints(points, sure)
    np.testing.assert_array_equal(points, kept)
    np.testing.assert_allclose(moved[:, 0], (points[:, 1] + points[:, 4]) / 2)
    np.testing.assert_allclose(moved[[0, 2], 8], (points[:, 11] + points[:, 14])[[0, 2]] / 2)
    assert trusted[1, 8] == 0
    np.testing.assert_allclose(trusted[:, 0], np.minimum(sure[:, 1], sure[:, 4]))
    others = np.delete(np.arange(17), [0, 8])
    np.testing.assert_array_equal(moved[:, others], points[:, others])


# --- turning back, and mirrors ----------------------------------------------------------------


def test_unrotate_undoes_the_turn_of_the_virtual_camera():
    joints = windows() + (1.0, -0.4, 0.0)
    rotation = look_at_person(seen(joints), all_sure(joints)).rotation
    in_virtual_axes = np.einsum("bji,bfkj->bfki", rotation, joints)
    np.testing.assert_allclose(unrotate(in_virtual_axes, rotation), joints, atol=1e-5)


def test_mirroring_twice_changes_nothing():
    random = np.random.default_rng(0)
    values, poses = random.normal(size=(2, 9, 17, 4)), random.normal(size=(2, 3, 17, 3))
    np.testing.assert_array_equal(mirror_sides(mirror_sides(values)), values)
    np.testing.assert_array_equal(mirror_sides(mirror_sides(poses)), poses)
    assert (mirror_sides(values) != values).any()


def test_the_inputs_of_a_mirrored_picture_are_the_mirrored_inputs():
    rays = seen(windows() + (0.9, 0.2, 0.0))
    sure = np.random.default_rng(0).uniform(0.2, 1, rays.shape[:-1]).astype(np.float32)
    mirrored = mirror_sides(np.concatenate([rays, sure[..., None], sure[..., None]], -1))
    values = look_at_person(mirrored[..., :2], mirrored[..., 2]).values
    np.testing.assert_allclose(values, mirror_sides(look_at_person(rays, sure).values), atol=1e-5)


# --- merging ----------------------------------------------------------------------------------


def pose_at(time_s: np.ndarray) -> np.ndarray:
    """The made-up truth: poses (..., 17, 3) around the mid-hips, smooth in time."""
    random = np.random.default_rng(8)
    base, sway = random.normal(0, 0.4, (17, 3)), random.normal(0, 0.2, (17, 3))
    poses = base + sway * np.sin(1.3 * np.asarray(time_s))[..., None, None]
    poses -= (poses[..., 1:2, :] + poses[..., 4:5, :]) / 2
    poses[..., 0, :] = 0
    return poses


class Oracle:
    """A lifter that reads the time from the nose's place and answers with the truth of that time.

    The picture stands still but for the nose, whose x grows with time; a mirrored window shows as
    a negative x.
    """

    START, PER_SECOND = 0.05, 0.004

    def __init__(self, frames: int = 81, targets: int = 9):
        self.frames, self.targets = frames, targets
        self.rates: list[float] = []
        self.mirrored: list[bool] = []

    @classmethod
    def picture(cls, time_s: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rays = np.zeros((len(time_s), 17, 2))
        limbs = np.random.default_rng(1).normal(0, 0.1, (12, 2))
        rays[:, LIMBS] = limbs - limbs.mean(0)  # in the middle: the virtual camera does not turn
        rays[:, 9, 0] = cls.START + cls.PER_SECOND * time_s
        return rays, np.ones((len(time_s), 17))

    def __call__(self, values: np.ndarray) -> np.ndarray:
        assert values.dtype == np.float32
        assert values.shape[1:] == (self.frames, 17, CHANNELS)
        size = np.exp(values[:, :1, 9, 3].astype(float) - 2.4)
        nose = values[:, :, 9, 0] * size
        time_s = (np.abs(nose) - self.START) / self.PER_SECOND
        middle = self.frames // 2
        steps = np.diff(time_s, axis=1)
        self.rates += [1 / np.median(s[s > 1e-3]) for s in steps if (s > 1e-3).any()]
        self.mirrored += list(nose[:, middle] < 0)
        half = self.targets // 2
        poses = pose_at(time_s[:, middle - half : middle + half + 1])
        flipped = nose[:, middle] < 0
        poses[flipped] = mirror_sides(poses[flipped])
        return poses.astype(np.float32)


@pytest.mark.parametrize("fps", [18, 20, 24, 25, 30, 36, 37, 48, 50, 60, 90, 120, 240])
def test_every_rate_is_lifted_within_the_trained_range_and_comes_back_whole(fps: int):
    time_s = np.arange(round(1.5 * fps)) / fps
    oracle = Oracle()
    poses = lift_windows(*Oracle.picture(time_s), time_s, oracle)
    np.testing.assert_allclose(poses, pose_at(time_s), atol=1e-3)
    assert all(FPS_RANGE[0] - 0.1 <= rate <= FPS_RANGE[1] + 0.1 for rate in oracle.rates)


def test_time_stamps_rounded_to_milliseconds_count_as_even():
    for fps in (30, 60, 120):
        time_s = np.round(np.arange(2 * fps) / fps, 3)
        oracle = Oracle()
        poses = lift_windows(*Oracle.picture(time_s), time_s, oracle)
        np.testing.assert_allclose(poses, pose_at(time_s), atol=2e-3)


@pytest.mark.parametrize("fps", [2, 5, 10, 15])
def test_slow_clips_are_filled_in_between_and_read_at_their_own_times(fps: int):
    time_s = np.arange(3 * fps) / fps
    oracle = Oracle()
    poses = lift_windows(*Oracle.picture(time_s), time_s, oracle)
    np.testing.assert_allclose(poses, pose_at(time_s), atol=2e-3)
    np.testing.assert_allclose(oracle.rates, 25, rtol=0.02)


def test_uneven_time_stamps_are_evened_and_read_at_their_own_times():
    random = np.random.default_rng(2)
    time_s = np.cumsum(random.choice([0.02, 0.033, 0.07, 0.12], 60))
    time_s -= time_s[0]
    oracle = Oracle()
    poses = lift_windows(*Oracle.picture(time_s), time_s, oracle)
    np.testing.assert_allclose(poses, pose_at(time_s), atol=2e-3)
    np.testing.assert_allclose(oracle.rates, 25, rtol=0.02)


@pytest.mark.parametrize(("frames", "targets"), [(81, 9), (27, 27), (9, 3), (9, 1), (243, 27)])
@pytest.mark.parametrize("count", [1, 2, 10, 11, 130])
def test_clips_of_any_length_are_covered_by_any_lifter(count: int, frames: int, targets: int):
    time_s = np.arange(count) / 25
    oracle = Oracle(frames, targets)
    poses = lift_windows(*Oracle.picture(time_s), time_s, oracle)
    assert poses.shape == (count, 17, 3)
    np.testing.assert_allclose(poses, pose_at(time_s), atol=1e-3)
    assert np.mean(oracle.mirrored) == 0.5  # every window is lifted both ways


@pytest.mark.parametrize("fps", [5, 50, 120])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_clips_of_few_frames_may_have_any_rate(count: int, fps: int):
    time_s = np.arange(count) / fps
    poses = lift_windows(*Oracle.picture(time_s), time_s, Oracle())
    np.testing.assert_allclose(poses, pose_at(time_s), atol=1e-3)


def test_the_two_answers_of_a_window_are_averaged():
    class Lopsided(Oracle):
        """Errs by the same vector in every answer: mirrored and averaged, its x cancels."""

        def __call__(self, values: np.ndarray) -> np.ndarray:
            answer = super().__call__(values)
            answer[:, :, 10] += (0.3, 0.2, 0.0)
            return answer

    time_s = np.arange(30) / 25
    poses = lift_windows(*Oracle.picture(time_s), time_s, Lopsided())
    off = poses - pose_at(time_s)
    np.testing.assert_allclose(off[:, 10], np.broadcast_to([0.0, 0.2, 0.0], (30, 3)), atol=1e-3)


def test_answers_come_back_in_camera_axes():
    class Constant(Oracle):
        """Always answers that the nose is ahead, on the line of sight."""

        def __call__(self, values: np.ndarray) -> np.ndarray:
            answer = np.zeros((len(values), self.targets, 17, 3), np.float32)
            answer[:, :, 9, 2] = 1
            return answer

    rays, sure = Oracle.picture(np.arange(20) / 25)
    rays[:, LIMBS] += (0.5, -0.2)
    poses = lift_windows(rays, sure, np.arange(20) / 25, Constant())
    towards = np.array([0.5, -0.2, 1.0])
    expected = towards / np.linalg.norm(towards)
    np.testing.assert_allclose(poses[:, 9], np.broadcast_to(expected, (20, 3)), atol=1e-5)


def test_arrays_of_the_caller_stay_as_they_are():
    time_s = np.arange(12) / 50
    rays, sure = Oracle.picture(time_s)
    sure[4, 9], rays[4, 9] = 0, np.nan
    kept = rays.copy(), sure.copy(), time_s.copy()

    class Blind(Oracle):
        def __call__(self, values: np.ndarray) -> np.ndarray:
            assert np.isfinite(values).all()
            return np.zeros((len(values), self.targets, 17, 3), np.float32)

    lift_windows(rays, sure, time_s, Blind())
    for now, before in zip((rays, sure, time_s), kept, strict=True):
        np.testing.assert_array_equal(now, before)


def test_a_joint_missing_beside_a_gap_in_time_stays_missing():
    time_s = np.arange(10) / 5  # slow: resampled
    rays, sure = Oracle.picture(time_s)
    sure[5, 16] = 0
    rays[5, 16] = np.nan

    class Counting(Oracle):
        missing = 0

        def __call__(self, values: np.ndarray) -> np.ndarray:
            assert np.isfinite(values).all()
            half = len(values) // 2
            self.missing = int((values[0, :, 16, 2] == 0).sum()) if half else 0
            return np.zeros((len(values), self.targets, 17, 3), np.float32)

    counting = Counting()
    lift_windows(rays, sure, time_s, counting)
    # From the frame before (0.8 s) to the frame after (1.2 s), at 25 per second, ends seen.
    assert 8 <= counting.missing <= 11
