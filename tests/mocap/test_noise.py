"""The detector's errors as training adds them: sizes, correlation, hiding, left-right swaps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.lifters.windows import LIMBS, MIRROR
from lithepose.mocap import noise as module
from lithepose.mocap.noise import (
    DetectorNoise,
    JointErrors,
    autoregression,
    detector_offsets,
    hidden_joints,
)
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion

TO_CAMERA = np.array([[1.0, 0, 0], [0, 0, -1.0], [0, 1.0, 0]])


def people(count: int = 24, frames: int = 27) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rays, joints in camera axes and frame rates of people seen from all around."""
    random = np.random.default_rng(0)
    clip = motion("walk", frames / 25, 25, random_body(random), random)[:frames]
    clip = clip - clip[:1, :1] * (1, 1, 0)
    around = np.linspace(0, 2 * np.pi, count, endpoint=False)
    c, s, zero, one = np.cos(around), np.sin(around), 0 * around, 1 + 0 * around
    turns = np.stack([c, -s, zero, s, c, zero, zero, zero, one], -1).reshape(count, 3, 3)
    joints = np.einsum("bij,fkj->bfki", turns, clip) @ TO_CAMERA.T + (0, 1.0, 4.0)
    rays = joints[..., :2] / joints[..., 2:]
    return rays.astype(np.float32), joints.astype(np.float32), np.full(count, 25.0)


def hidden_in(camera: np.ndarray) -> np.ndarray:
    return hidden_joints(camera, DetectorNoise.measured().tables(camera.shape[1], 25.0))


def sizes(rays: np.ndarray) -> np.ndarray:
    limbs = rays[..., LIMBS, :]
    return np.sqrt(((limbs - limbs.mean(-2, keepdims=True)) ** 2).sum(-1).mean(-1))


def errors(**changes: Any) -> JointErrors:
    """Errors of nothing but what is named."""
    quiet = {name: np.zeros(17) for name in ("constant", "wandering", "white", "burst")}
    level = np.linspace(0.8, 1.0, 7)
    values = {
        **quiet,
        "wandering_s": np.full(17, 0.2),
        "burst_share": np.full(17, 1e-9),
        "confidence": np.tile(level, (17, 1)),
    }
    return JointErrors(**(values | changes))


def only(*, hidden: JointErrors | None = None, **changes: Any) -> DetectorNoise:
    visible = errors(**changes)
    return DetectorNoise(
        visible=visible,
        hidden=visible if hidden is None else hidden,
        offset=np.zeros((17, 3)),
        swaps_per_s=0.0,
        strength=(1.0, 1.0),
    )


def test_the_measurement_is_in_the_package():
    noise = DetectorNoise.measured()
    for state in (noise.visible, noise.hidden):
        for name in ("constant", "wandering", "white", "burst", "burst_share", "wandering_s"):
            values = getattr(state, name)
            assert values.shape == (17,)
            assert (values > 0).all()
            np.testing.assert_allclose(values, values[MIRROR])
        assert state.confidence.shape == (17, 7)
        assert (np.diff(state.confidence, axis=1) >= 0).all()
        assert state.confidence.min() >= 0
        assert state.confidence.max() <= 1
    assert noise.offset.shape == (17, 3)
    assert np.abs(noise.offset).max() < 0.05  # of the stature
    assert noise.visible.white[LIMBS].mean() < noise.hidden.white[LIMBS].mean()
    assert 0 < noise.swaps_per_s < 5


def test_rays_become_noisy_rays_and_confidences():
    rays, camera, fps = people()
    before = rays.copy(), camera.copy()
    seen, sure = DetectorNoise.measured()(rays, camera, fps, np.random.default_rng(0))
    assert seen.shape == rays.shape
    assert seen.dtype == sure.dtype == np.float32
    assert sure.shape == rays.shape[:-1]
    assert ((sure >= 0) & (sure <= 1)).all()
    np.testing.assert_array_equal(rays, before[0])
    np.testing.assert_array_equal(camera, before[1])
    off = np.linalg.norm(seen - rays, axis=-1) / sizes(rays)[..., None]
    assert 0.01 < np.median(off) < 0.15
    assert np.isfinite(seen).all()


def test_the_same_seed_gives_the_same_noise():
    rays, camera, fps = people()
    noise = DetectorNoise.measured()
    first, second, other = (noise(rays, camera, fps, np.random.default_rng(s)) for s in (1, 1, 2))
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])
    assert (first[0] != other[0]).any()


def test_without_errors_nothing_moves():
    rays, camera, fps = people()
    seen, sure = only()(rays, camera, fps, np.random.default_rng(0))
    np.testing.assert_allclose(seen, rays, atol=1e-6)
    assert sure.min() >= 0.8


@pytest.mark.parametrize("part", ["constant", "white", "wandering"])
def test_each_part_has_its_spread_and_its_course_in_time(part: str):
    rays, camera, fps = people(count=64)
    changes: dict[str, Any] = {part: np.full(17, 0.1)}
    noise = only(**changes)
    seen, _ = noise(rays, camera, fps, np.random.default_rng(0))
    error = (seen - rays) / sizes(rays)[..., None, None]
    assert error.std() == pytest.approx(0.1, rel=0.05)
    next_to = (error[:, 1:] * error[:, :-1]).mean() / error.var()
    expected = {"constant": 1.0, "white": 0.0, "wandering": np.exp(-1 / (0.2 * 25))}[part]
    assert next_to == pytest.approx(expected, abs=0.05)


def test_strength_scales_all_errors_of_a_clip():
    rays, camera, fps = people(count=64)
    noise = replace(only(white=np.full(17, 0.1)), strength=(0.5, 2.0))
    seen, _ = noise(rays, camera, fps, np.random.default_rng(0))
    spread = ((seen - rays) / sizes(rays)[..., None, None]).std((1, 2, 3))
    assert 0.04 < spread.min() < 0.08
    assert 0.15 < spread.max() < 0.21


def test_bursts_are_rare_large_and_unsure():
    rays, camera, fps = people(count=64)
    noise = only(burst=np.full(17, 0.5), burst_share=np.full(17, 0.1))
    seen, sure = noise(rays, camera, fps, np.random.default_rng(0))
    off = np.linalg.norm(seen - rays, axis=-1) / sizes(rays)[..., None]
    burst = off > 1e-4
    assert burst.mean() == pytest.approx(0.1, abs=0.02)
    assert sure[burst].mean() < sure[~burst].mean() - 0.02


def test_joints_behind_the_trunk_are_hidden():
    _, camera, _ = people(count=2, frames=9)
    # Seen from the left side: the right elbow is behind the trunk, the left one before it.
    side = camera.copy()
    side[...] = camera[0, :1]
    side[..., 0, :] = (0, 0, 4)
    side[..., 8, :] = (0, -0.5, 4)
    side[..., 12, :] = (0.0, -0.25, 3.7)
    side[..., 15, :] = (0.0, -0.25, 4.3)
    hidden = hidden_in(side)
    assert hidden.shape == (2, 9, 17)
    assert hidden[..., 15].all()
    assert not hidden[..., 12].any()
    away = side.copy()
    away[..., 15, 0] = 0.5
    assert not hidden_in(away)[..., 15].any()


def test_hidden_joints_have_the_errors_and_trust_of_hidden_ones():
    rays, camera, fps = people()
    unsure = errors(white=np.full(17, 0.3), confidence=np.tile(np.linspace(0, 0.2, 7), (17, 1)))
    noise = only(hidden=unsure)
    hidden = hidden_in(camera)
    assert 0.02 < hidden.mean() < 0.3
    seen, sure = noise(rays, camera, fps, np.random.default_rng(0))
    assert sure[hidden].max() <= 0.2
    assert sure[~hidden].min() >= 0.8
    np.testing.assert_allclose(seen[~hidden], rays[~hidden], atol=1e-6)
    assert np.abs(seen[hidden] - rays[hidden]).mean() > 0.01


def test_sides_are_swapped_as_often_as_set_and_last_a_frame_or_two():
    rays, camera, fps = people(count=200, frames=50)
    noise = replace(only(), swaps_per_s=1.0)
    seen, _ = noise(rays, camera, fps, np.random.default_rng(0))
    for joints in ([1, 2, 3, 4, 5, 6], [11, 12, 13, 14, 15, 16]):
        swapped = np.abs(seen - rays)[..., joints, :].max((-1, -2)) > 1e-5
        right = np.abs(seen - rays[..., MIRROR, :])[..., joints, :].max((-1, -2)) < 1e-5
        assert right[swapped].all()
        begins = swapped & ~np.pad(swapped, ((0, 0), (1, 0)))[:, :-1]
        assert begins.sum() / (200 * 2) == pytest.approx(1.0, rel=0.15)  # two seconds each
        assert swapped.sum() / begins.sum() == pytest.approx(1.45, abs=0.12)


def test_offsets_move_joints_outward_and_towards_their_parents():
    _, camera, _ = people()
    offset = np.zeros((17, 3))
    offset[[3, 6], 2] = 0.01  # ankles up the shin
    offset[[1, 4], 0] = 0.01  # hips outward
    moved = detector_offsets(camera, replace(only(), offset=offset).tables(27, 25.0))
    metres = 0.01 * STANDARD_HEIGHT_M
    for ankle, knee in ((3, 2), (6, 5)):
        shin = camera[..., knee, :] - camera[..., ankle, :]
        shin /= np.linalg.norm(shin, axis=-1, keepdims=True)
        np.testing.assert_allclose(moved[..., ankle, :], metres * shin, atol=1e-6)
    for hip, other in ((1, 4), (4, 1)):
        outward = camera[..., hip, :] - camera[..., other, :]
        assert ((moved[..., hip, :] * outward).sum(-1) > 0).all()
        np.testing.assert_allclose(np.linalg.norm(moved[..., hip, :], axis=-1), metres, rtol=1e-4)


def test_the_autoregression_has_unit_spread_and_the_given_memory():
    matrix = autoregression(40, 5.0)
    covariance = matrix @ matrix.T
    np.testing.assert_allclose(np.diag(covariance), 1, rtol=1e-4)
    np.testing.assert_allclose(np.diag(covariance, 5), np.exp(-1), rtol=1e-3)


def test_share_and_quantile_are_inverse_and_near_the_normal_distribution():
    share = np.array([0.001, 0.1, 0.5, 0.9, 0.999])
    np.testing.assert_allclose(module._normal_share(module._normal_quantile(share)), share)
    assert module._normal_share(np.array([1.0]))[0] == pytest.approx(0.8413, abs=0.01)


def test_a_state_too_rare_to_be_measured_is_as_the_visible_one():
    quantiles = [0.2, 0.4, 0.5, 0.6, 1]
    row: dict[str, Any] = {
        "visible": {"clip_sigma": 0.07, "confidence_quantiles_5_25_50_75_95": quantiles},
        "hidden": {"clip_sigma": None},
    }
    found = module._errors([row] * 17, "hidden")
    np.testing.assert_allclose(found.constant, 0.07)
    np.testing.assert_allclose(found.confidence[0], [0.1, 0.2, 0.4, 0.5, 0.6, 1, 1])


def test_an_offset_forward_moves_a_joint_the_way_the_person_faces():
    rays, joints, fps = people()
    offset = np.zeros((17, 3))
    offset[8, 1] = 0.02
    noise = replace(only(), offset=offset)
    seen, _ = noise(rays, joints, fps, np.random.default_rng(0))
    gaze = joints[..., 9, :] - (joints[..., 8, :] + joints[..., 10, :]) / 2
    moved = seen[..., 8, 0] - rays[..., 8, 0]
    sideways = np.abs(gaze[..., 0]) > 0.5 * np.linalg.norm(gaze, axis=-1)
    # The amount is drawn with mean 1 and spread 0.5, so a few people in a hundred move back.
    assert (moved * gaze[..., 0] > 0)[sideways].mean() > 0.8
