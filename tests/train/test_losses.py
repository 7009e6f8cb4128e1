"""The losses of the default lifter, by hand."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from lithepose.train.losses import joint_distance, velocity_distance  # noqa: E402


def test_the_joint_distance_is_a_weighted_mean_in_metres():
    predicted, target = torch.zeros(1, 2, 2, 3), torch.zeros(1, 2, 2, 3)
    target[..., 0, :] = torch.tensor([3.0, 4.0, 0.0])  # 5 away
    target[..., 1, 2] = 2.0
    assert float(joint_distance(predicted, target, torch.ones(2))) == pytest.approx(3.5)
    weight = torch.tensor([0.5, 1.5])
    assert float(joint_distance(predicted, target, weight)) == pytest.approx((2.5 + 3.0) / 2)


def test_the_velocity_distance_is_blind_to_a_constant_shift():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(2, 5, 17, 3, generator=generator)
    assert float(velocity_distance(target + 0.3, target, torch.ones(17))) < 1e-6
    moving = target.clone()
    moving[:, 1::2, :, 0] += 0.1  # every step is off by 0.1
    assert float(velocity_distance(moving, target, torch.ones(17))) == pytest.approx(0.1, abs=1e-5)
