"""Losses of lifters: recorded values and gradients, and cases by hand."""

from __future__ import annotations

import importlib.util
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
