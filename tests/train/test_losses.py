"""Losses of lifters: recorded values and gradients, and cases by hand."""

from __future__ import annotations

import importlib.util
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lithepose.train import losses  # noqa: E402


@pytest.mark.shared
def test_values_and_gradients_agree_with_the_authors(shared: Callable[[str], Path]) -> None:
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "parity.py"
    spec = importlib.util.spec_from_file_location("parity", path)
    assert spec is not None
    assert spec.loader is not None
    parity: Any = importlib.util.module_from_spec(spec)
    sys.modules["parity"] = parity  # dataclasses look their module up
    spec.loader.exec_module(parity)
    parity.check(parity.read_recording(shared("golden/losses-video.npz")))


def poses(batch: int = 2, frames: int = 5, seed: int = 0) -> Any:
    return torch.randn(batch, frames, 17, 3, generator=torch.Generator().manual_seed(seed))


def test_step_energy_by_hand() -> None:
    # One joint moves by 3 in x between two frames: 9 over 17 joints and 3 coordinates.
    still = torch.zeros(1, 2, 17, 3)
    still[0, 1, 12, 0] = 3.0
    weight = torch.tensor(losses.MIXSTE_JOINT_WEIGHTS)
    assert losses.step_energy(still, torch.ones(17)).item() == pytest.approx(9 / 51)
    assert losses.step_energy(still, weight).item() == pytest.approx(4 * 9 / 51)


def test_true_poses_that_stand_still_cost_nothing() -> None:
    target = poses(frames=1).expand(-1, 5, -1, -1)
    assert losses.mixste_loss(target, target).item() == 0.0
    assert losses.motionbert_loss(target, target).item() == pytest.approx(0.0, abs=1e-6)


def test_a_constant_offset_has_no_velocity_and_its_length_as_distance() -> None:
    target = poses()
    predicted = target + torch.tensor([0.0, 0.3, 0.4])
    assert losses.mean_distance(predicted, target).item() == pytest.approx(0.5)
    assert losses.mean_velocity_distance(predicted, target).item() == pytest.approx(0.0, abs=1e-6)


def test_scale_does_not_count_after_scaling() -> None:
    target = poses()
    assert losses.scaled_distance(0.37 * target, target).item() == pytest.approx(0.0, abs=1e-6)
    assert losses.scaled_distance(poses(seed=1), target).item() > 0.1


def test_the_joint_distance_is_a_weighted_mean_in_metres():
    predicted, target = torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2, 3)
    target[..., 0, :] = torch.tensor([3.0, 4.0, 0.0])  # 5 away
    target[..., 1, 2] = 2.0
    assert float(losses.joint_distance(predicted, target, torch.ones(2))) == pytest.approx(3.5)
    weight = torch.tensor([0.5, 1.5])
    assert float(losses.joint_distance(predicted, target, weight)) == pytest.approx((2.5 + 3.0) / 2)


def test_the_velocity_distance_is_blind_to_a_constant_shift():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 5, 17, 3, generator=generator)
    assert float(losses.velocity_distance(target + 0.3, target, torch.ones(17))) < 1e-6
    moving = target.clone()
    moving[:, 1::2, :, 0] += 0.1  # every step is off by 0.1
    error = losses.velocity_distance(moving, target, torch.ones(17))
    assert float(error) == pytest.approx(0.1, abs=1e-5)


def test_limbs_that_grow_vary_and_differ() -> None:
    # Each limb is as long as the frame's number, 1 to 3: variance 1, mean difference from 2 is 2/3.
    unit = torch.zeros(17, 3)
    for start, end in losses.LIMBS:
        unit[end] = unit[start] + torch.tensor([0.0, 1.0, 0.0])
    growing = torch.stack([k * unit for k in (1.0, 2.0, 3.0)]).unsqueeze(0)
    assert losses.limb_variance(growing).item() == pytest.approx(1.0)
    target = (2.0 * unit).expand(1, 3, 17, 3)
    assert losses.limb_difference(growing, target).item() == pytest.approx(2 / 3)


def test_angles_by_hand() -> None:
    pose = torch.zeros(17, 3)
    pose[1] = torch.tensor([1.0, 0.0, 0.0])  # limb 0, from the pelvis
    pose[2] = torch.tensor([1.0, 1.0, 0.0])  # limb 1, from joint 1, at a right angle to it
    pose[4] = torch.tensor([-2.0, 0.0, 0.0])  # limb 3, opposite to limb 0
    angles = losses.limb_angles(pose)
    assert angles[losses.ANGLES.index((0, 1))].item() == pytest.approx(math.pi / 2)
    assert angles[losses.ANGLES.index((0, 3))].item() == pytest.approx(math.pi, abs=1e-3)


def test_straight_limbs_have_a_finite_gradient() -> None:
    line = torch.zeros(1, 3, 17, 3)
    line[..., 0] = torch.arange(17.0)
    line.requires_grad_()
    losses.angle_difference(line, poses(1, 3)).backward()
    assert bool(torch.isfinite(line.grad).all())


def test_joints_without_confidence_do_not_count_in_the_image() -> None:
    target, confidence = poses(), torch.ones(2, 5, 17, 1)
    predicted = target.clone()
    predicted[:, :, 3, :2] += 7.0
    predicted[..., 2] += 1.0  # depth is not seen
    confidence[:, :, 3] = 0.0
    assert losses.image_distance(predicted, target, confidence).item() == 0.0
    confidence[:, :, 3] = 0.5
    expected = 0.5 * 7.0 * math.sqrt(2) / 17
    assert losses.image_distance(predicted, target, confidence).item() == pytest.approx(expected)
