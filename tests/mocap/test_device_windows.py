"""Windows drawn on the device are those that NumPy draws, with other random numbers."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from lithepose.lifters.windows import look_at_person
from lithepose.mocap import device_windows as device_clips
from lithepose.mocap.device_windows import DeviceClips
from lithepose.mocap.motions import Motions, read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import ClipSettings, draw_batch

SETTINGS = ClipSettings(frames=27, targets=9)


@pytest.fixture(scope="module")
def motions(motion_folder: Path) -> Motions:
    return read_motions(motion_folder / "cmu17_train.npz")


@pytest.fixture(scope="module")
def noise() -> DetectorNoise:
    return DetectorNoise.measured()


def drawn(clips: DeviceClips, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    values, targets = clips(count, torch.Generator().manual_seed(seed))
    return values.numpy(), targets.numpy()


def test_shapes_and_types_are_those_of_a_batch(motions: Motions, noise: DetectorNoise) -> None:
    values, targets = drawn(DeviceClips(motions, SETTINGS, noise), 6)
    batch = draw_batch(motions, 6, SETTINGS, noise, np.random.default_rng(0))
    assert values.shape == batch.values.shape
    assert targets.shape == batch.targets.shape
    assert values.dtype == targets.dtype == np.float32
    assert np.isfinite(values).all()
    assert np.isfinite(targets).all()


def test_a_seed_gives_the_same_windows_again(motions: Motions, noise: DetectorNoise) -> None:
    clips = DeviceClips(motions, SETTINGS, noise)
    np.testing.assert_array_equal(drawn(clips, 4, 3)[0], drawn(clips, 4, 3)[0])
    assert not np.array_equal(drawn(clips, 4, 3)[0], drawn(clips, 4, 4)[0])


@pytest.mark.parametrize("noisy", [False, True], ids=["exact", "noisy"])
def test_windows_are_spread_as_those_of_numpy(
    motions: Motions, noise: DetectorNoise, noisy: bool
) -> None:
    errors = noise if noisy else None
    values, targets = drawn(DeviceClips(motions, SETTINGS, errors), 3000)
    batch = draw_batch(motions, 3000, SETTINGS, errors, np.random.default_rng(5))
    for ours, theirs in ((values, batch.values), (targets, batch.targets)):
        # 3,000 windows tell a mean to about 2 % of the spread, and the spread to about 2 %.
        spread = theirs.std((0, 1)).clip(0.02)
        assert np.abs(ours.mean((0, 1)) - theirs.mean((0, 1))).max() < 0.12 * spread.max()
        np.testing.assert_allclose(ours.std((0, 1)), theirs.std((0, 1)), rtol=0.12, atol=0.01)
    steps, their_steps = (np.diff(v[..., :2], axis=1).std((0, 1)) for v in (values, batch.values))
    np.testing.assert_allclose(steps, their_steps, rtol=0.15, atol=0.005)
    for share in (0.05, 0.5, 0.95):
        np.testing.assert_allclose(
            np.quantile(values[..., 2], share), np.quantile(batch.values[..., 2], share), atol=0.03
        )


def test_deterministic_parts_equal_those_of_numpy(motions: Motions, noise: DetectorNoise) -> None:
    clips = DeviceClips(motions, SETTINGS, noise)
    random = np.random.default_rng(1)
    camera = motions.positions[random.integers(0, len(motions.positions), (5, 27))].copy()
    camera = camera[..., [0, 2, 1]] * np.float32([1, -1, 1]) + np.float32([0.3, 0.8, 3.0])
    tensor = torch.from_numpy(camera)

    np.testing.assert_array_equal(clips.hidden_joints(tensor).numpy(), noise._hidden(camera))
    np.testing.assert_allclose(
        clips.detector_offsets(tensor).numpy(), noise._offsets(camera), atol=1e-6
    )
    rays = camera[..., :2] / camera[..., 2:]
    confidence = random.random(rays.shape[:-1]).astype(np.float32)
    confidence[:, :, 10] = 0
    confidence[2] = 0  # a window in which nothing was seen
    expected = look_at_person(rays, confidence)
    values, rotation = device_clips.look_at_person(
        torch.from_numpy(rays), torch.from_numpy(confidence)
    )
    np.testing.assert_allclose(values.numpy(), expected.values, atol=2e-5)
    np.testing.assert_allclose(rotation.numpy(), expected.rotation, atol=1e-6)


def test_targets_are_what_exact_rays_show(motions: Motions) -> None:
    """Turned back into the picture, the targets lie on the joints' rays."""
    settings = replace(
        SETTINGS, focal_known=1.0, clean=1.0, bend=0.0, exchange_arms=0.0, redraw_bodies=False
    )
    values, targets = drawn(DeviceClips(motions, settings, None), 64)
    seen = values[:, 9:18]
    hips = seen[..., [1, 4], :2]
    size = np.exp(values[:, :1, :1, 3] - 2.4)[..., None]
    # In the virtual camera every joint is root + target; two joints on known rays give the root.
    rays = hips * size
    left, right = targets[:, :, 4], targets[:, :, 1]
    # (root + right) = z_r (ray_r, 1), (root + left) = z_l (ray_l, 1): solve for z_r and z_l.
    ends = np.stack(
        [
            np.append(rays[..., 0, :], np.ones_like(rays[..., :1, 0]), -1),
            -np.append(rays[..., 1, :], np.ones_like(rays[..., :1, 0]), -1),
        ],
        -1,
    )
    depth, residual = [], []
    for end, across in zip(ends.reshape(-1, 3, 2), (right - left).reshape(-1, 3), strict=True):
        solved = np.linalg.lstsq(end, across, rcond=None)
        depth.append(solved[0])
        residual.append(np.linalg.norm(end @ solved[0] - across))
    assert np.median(residual) < 1e-3
    assert (np.array(depth) > 0.3).mean() > 0.97
