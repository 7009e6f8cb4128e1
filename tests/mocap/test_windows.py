"""Training windows: that inputs and targets belong together, and that the seed decides all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lithepose.anthropometry import STANDARD_HEIGHT_M, TRAINING_MEAN, TRAINING_SPREAD
from lithepose.bones import bones
from lithepose.lifters.windows import LIMBS, MIRROR
from lithepose.mocap import windows
from lithepose.mocap.motions import BONE_OF_JOINT, Motions, trunk_frame
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import (
    Batch,
    MotionNumbers,
    WindowSettings,
    blur_definitions,
    cut_stretches,
    draw_batch,
    draw_motion,
    draw_view,
    log_uniform,
    place_cameras,
    tables_of,
    vary_poses,
)
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion

SMALL = WindowSettings(frames=9, targets=3)
# Nothing changed but the place of the camera.
PLAIN = replace(
    SMALL, redraw_bodies=False, exchange_arms=0.0, bend=0.0, mirror=0.0, focal_known=1.0
)


@pytest.fixture(scope="module")
def motions() -> Motions:
    """Two people: one walks for two seconds, one waves for one."""
    random = np.random.default_rng(0)
    bodies = [random_body(random) for _ in range(2)]
    parts = [
        motion(name, seconds, 50, body, random)
        for name, seconds, body in zip(("walk", "wave"), (2, 1), bodies, strict=True)
    ]
    lengths = [
        [1.0 if not bone else float(getattr(body, bone)) for bone in BONE_OF_JOINT]
        for body in bodies
    ]
    return Motions(
        positions=np.concatenate(parts).astype(np.float32),
        start=np.array([0, 100, 150]),
        fps=50.0,
        clip=np.array(["a", "b"]),
        subject=np.array(["1", "2"]),
        lengths=np.array(lengths, np.float32),
        height=np.array([body.stature for body in bodies], np.float32),
    )


def drawn(
    motions: Motions, settings: WindowSettings, count: int = 64
) -> tuple[np.ndarray, np.ndarray, MotionNumbers]:
    """Stretches of motion, their clips, and the numbers that they were drawn by."""
    random = np.random.default_rng(0)
    centre = random.integers(0, len(motions.positions), count)
    numbers = draw_motion(centre, settings, random)
    return *cut_stretches(numbers, tables_of(motions, settings), settings), numbers


def varied_poses(
    motions: Motions, settings: WindowSettings, count: int = 64
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretches of motion, the same on other bodies, and their clips."""
    joints, clip, numbers = drawn(motions, settings, count)
    tables = tables_of(motions, settings)
    return joints, vary_poses(joints, clip, numbers, tables, settings), clip


# --- stretches --------------------------------------------------------------------------------


def test_stretches_stay_within_their_clip(motions: Motions):
    joints, clip, numbers = drawn(motions, SMALL, 500)
    fps = log_uniform(SMALL.fps, numbers.rate)
    assert joints.shape == (500, 9, 17, 3)
    assert joints.dtype == np.float32
    assert set(clip.tolist()) == {0, 1}
    assert np.mean(clip == 0) == pytest.approx(2 / 3, abs=0.08)  # by their frames
    assert (fps >= 18).all()
    assert (fps <= 36).all()
    for index in (0, 1):
        part = motions.positions[motions.start[index] : motions.start[index + 1]]
        low, high = part.min(0), part.max(0)
        mine = joints[clip == index]
        assert (mine >= low - 1e-5).all()
        assert (mine <= high + 1e-5).all()


def test_the_frame_rate_decides_how_far_apart_frames_are(motions: Motions):
    settings = replace(SMALL, fps=(25.0, 25.0001))
    joints, clip, _ = drawn(motions, settings, 200)
    part = motions.positions[:100]
    inner = [
        np.abs(part[:, 0] - window[4, 0]).sum(-1).argmin()
        for window, number in zip(joints, clip, strict=True)
        if number == 0
    ]
    for centre, window in zip(inner, joints[clip == 0], strict=True):
        if 8 <= centre < 92:  # 25 of 50 frames per second: every second one
            np.testing.assert_allclose(window, part[centre - 8 : centre + 9 : 2], atol=1e-3)


# --- bodies -----------------------------------------------------------------------------------


def test_without_changes_only_the_stature_becomes_the_standard_one(motions: Motions):
    joints, varied, clip = varied_poses(motions, PLAIN)
    scale = STANDARD_HEIGHT_M / motions.height[clip]
    np.testing.assert_allclose(varied, joints * scale[:, None, None, None], atol=1e-4)


def test_bones_stay_constant_within_a_window_and_the_same_on_both_sides(motions: Motions):
    settings = replace(SMALL, exchange_arms=1.0, bend=20.0, fps=(49.99, 50.0))
    _, varied, _ = varied_poses(motions, settings)
    lengths = np.linalg.norm(bones(varied), axis=-1)  # (B, F, 17)
    # Nose and head top turn with the head; between recorded frames bones are a little short.
    rigid = np.array([1, 2, 3, 4, 5, 6, 7, 8, 11, 12, 13, 14, 15, 16])
    assert np.ptp(lengths[..., rigid], axis=1).max() < 0.01
    np.testing.assert_allclose(lengths[..., rigid], lengths[..., MIRROR[rigid]], atol=0.01)
    assert lengths[:, 0, 2].std() > 0.005  # thighs of different people


def test_the_root_is_the_middle_of_the_hips_whatever_the_body(motions: Motions):
    _, varied, _ = varied_poses(motions, SMALL)
    np.testing.assert_allclose(varied[..., 0, :], varied[..., [1, 4], :].mean(-2), atol=1e-4)
    np.testing.assert_allclose(varied[..., 8, :], varied[..., [11, 14], :].mean(-2), atol=1e-4)


def test_the_share_of_mirrored_windows_is_as_set(motions: Motions):
    settings = replace(PLAIN, mirror=0.3)
    joints, varied, clip = varied_poses(motions, settings, 600)
    plain = joints * (STANDARD_HEIGHT_M / motions.height[clip])[:, None, None, None]
    flipped = plain[..., MIRROR, :] * (-1, 1, 1)
    is_plain = np.abs(varied - plain).max((1, 2, 3)) < 1e-3
    is_flipped = np.abs(varied - flipped).max((1, 2, 3)) < 1e-3
    assert (is_plain ^ is_flipped).all()
    assert is_flipped.mean() == pytest.approx(0.3, abs=0.06)


def test_given_arms_keep_their_angles_to_the_trunk(motions: Motions):
    settings = replace(PLAIN, exchange_arms=1.0)
    joints, varied, _ = varied_poses(motions, settings)
    turned = trunk_frame(joints)
    of_donors = np.einsum("bfji,bfkj->bfki", turned, bones(joints)[..., [12, 13, 15, 16], :])
    mine = np.einsum(
        "bfji,bfkj->bfki", trunk_frame(varied), bones(varied)[..., [12, 13, 15, 16], :]
    )
    of_donors /= np.linalg.norm(of_donors, axis=-1, keepdims=True)
    mine /= np.linalg.norm(mine, axis=-1, keepdims=True)
    nearest = np.abs(mine[:, None] - of_donors[None]).max((2, 3, 4)).min(1)
    assert nearest.max() < 0.02  # every window has the arms of some window
    moved = np.abs(bones(varied) - bones(joints))[..., [12, 13, 15, 16], :].max((1, 2, 3))
    assert np.median(moved) > 0.05


def test_bodies_are_drawn_around_the_average(motions: Motions):
    _, varied, _ = varied_poses(
        motions, replace(PLAIN, redraw_bodies=True, fps=(49.99, 50.0)), 2000
    )
    lengths = np.linalg.norm(bones(varied)[:, 4], axis=-1)
    for joint, bone in ((2, "thigh"), (3, "shin"), (12, "upper_arm")):
        mean, spread = STANDARD_HEIGHT_M * TRAINING_MEAN[bone], TRAINING_SPREAD[bone]
        assert lengths[:, joint].mean() == pytest.approx(mean, rel=0.01)
        assert lengths[:, joint].std() == pytest.approx(mean * spread, rel=0.1)


# --- cameras ----------------------------------------------------------------------------------


def test_cameras_move_the_person_rigidly_to_a_place_before_them(motions: Motions):
    joints, _, numbers = drawn(motions, SMALL, 200)
    view, _ = draw_view(numbers.rate, SMALL, None, np.random.default_rng(1))
    camera = place_cameras(joints, view)
    assert camera[..., 2].min() > 0.89
    for pair in ((0, 10), (3, 13), (6, 16)):
        before = np.linalg.norm(joints[..., pair[0], :] - joints[..., pair[1], :], axis=-1)
        after = np.linalg.norm(camera[..., pair[0], :] - camera[..., pair[1], :], axis=-1)
        np.testing.assert_allclose(after, before, atol=1e-4)
    # No mirror image: left hip, spine and left knee keep their handedness.
    axes = [np.stack([bones(p)[:, 0, j] for j in (4, 7, 5)], -1) for p in (joints, camera)]
    before, after = (np.linalg.det(a.astype(float)) for a in axes)
    np.testing.assert_allclose(after, before, atol=1e-6)
    assert ((camera[..., 10, 1] < camera[..., 3, 1]).mean()) > 0.99  # y goes down
    distance = np.linalg.norm(camera[:, 4, 0], axis=-1)
    assert distance.min() > 0.89
    assert distance.max() < 9.6


def test_blurred_definitions_leave_the_limbs_alone(motions: Motions):
    joints, _, _ = drawn(motions, SMALL)
    moved = blur_definitions(joints, np.random.default_rng(1).standard_normal((64, 5)))
    np.testing.assert_array_equal(moved[..., LIMBS, :], joints[..., LIMBS, :])
    shift = np.linalg.norm(moved - joints, axis=-1)
    assert (shift[..., [7, 9, 10]].max((0, 1)) > 0.02).all()


# --- batches ----------------------------------------------------------------------------------


def test_a_batch_has_the_promised_shapes(motions: Motions):
    batch = draw_batch(motions, 8, SMALL, None, np.random.default_rng(0))
    assert batch.values.shape == (8, 9, 17, 4)
    assert batch.targets.shape == (8, 3, 17, 3)
    for array in (batch.values, batch.targets):
        assert array.dtype == np.float32
        assert array.flags.c_contiguous
        assert np.isfinite(array).all()
    assert not batch.targets[:, :, 0].any()


def test_targets_project_onto_the_inputs(motions: Motions, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(windows, "blur_definitions", lambda camera, amounts: camera)
    batch = draw_batch(motions, 32, replace(SMALL, focal_known=1.0), None, np.random.default_rng(1))
    values = batch.values[:, 3:6]  # the frames of the targets
    size = np.exp(values[..., :1, 3].astype(float) - 2.4)[..., None]
    rays = values[..., :2] * size
    # The root's place is not in the batch: it is what makes limb joints project onto their rays.
    for window, target in zip(rays, batch.targets.astype(float), strict=True):
        for seen, pose in zip(window, target, strict=True):
            rows, known = [], []
            for joint in LIMBS:
                (x, y), (px, py, pz) = seen[joint], pose[joint]
                rows += [[1, 0, -x], [0, 1, -y]]
                known += [x * pz - px, y * pz - py]
            root, *_ = np.linalg.lstsq(np.array(rows), np.array(known), rcond=None)
            placed = (pose + root)[LIMBS]
            np.testing.assert_allclose(placed[:, :2] / placed[:, 2:], seen[LIMBS], atol=1e-4)
            assert root[2] > 0.5


def test_a_guessed_focal_length_shows_in_the_size_alone(motions: Motions):
    known = draw_batch(motions, 64, replace(SMALL, focal_known=1.0), None, np.random.default_rng(2))
    guessed = draw_batch(
        motions, 64, replace(SMALL, focal_known=0.0), None, np.random.default_rng(2)
    )
    off = guessed.values[:, 0, 0, 3] - known.values[:, 0, 0, 3]
    assert 0.2 < off.std() < 0.4  # of the logarithm
    near = np.abs(guessed.values[..., :2] - known.values[..., :2])
    assert np.median(near) < 0.05


def test_some_joints_are_unknown_to_some_detectors(motions: Motions):
    batch = draw_batch(motions, 600, SMALL, None, np.random.default_rng(0))
    confidence = batch.values[..., 2]
    assert set(np.unique(confidence).tolist()) == {0.0, 1.0}
    absent = (confidence == 0).all(1).mean(0)  # windows in which the joint is never seen
    np.testing.assert_allclose(absent[[7, 9, 10]], [0.6, 0.15, 0.6], atol=0.06)
    assert not absent[np.delete(np.arange(17), [7, 9, 10])].any()
    assert not batch.values[..., :2][confidence == 0].any()


def test_the_seed_decides_everything(motions: Motions):
    def draw(seed: int) -> Batch:
        return draw_batch(motions, 16, SMALL, None, np.random.default_rng((seed, 7)))

    first, again, other = draw(1), draw(1), draw(2)
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.targets, again.targets)
    assert (first.values != other.values).any()


@pytest.mark.parametrize("clean", [0.0, 0.25, 1.0])
def test_the_share_of_windows_without_noise_is_as_set(motions: Motions, clean: float):
    settings, noise = replace(SMALL, clean=clean), DetectorNoise.measured()
    batch = draw_batch(motions, 400, settings, noise, np.random.default_rng(0))
    exact = (batch.values[:, :, LIMBS, 2] == 1).all((1, 2))
    assert exact.mean() == pytest.approx(clean, abs=0.06)


def test_the_recorded_motions_stay_as_they_are(motions: Motions):
    before = motions.positions.copy()
    draw_batch(motions, 32, SMALL, None, np.random.default_rng(0))
    np.testing.assert_array_equal(motions.positions, before)
