"""Schedules by hand, and settings that cannot be."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest

from lithepose.train.settings import Optimisation, RunSettings


def rates(examples: int = 100, **fields: Any) -> list[float]:
    optimisation = Optimisation(learning_rate=1.0, batch=50, **fields)
    return [optimisation.rate(step, examples) for step in range(optimisation.total_steps(examples))]


def test_a_constant_rate_stays():
    assert rates(epochs=3) == [1.0] * 6


def test_an_exponential_rate_falls_after_every_epoch():
    np.testing.assert_allclose(
        rates(epochs=3, schedule="exponential", gamma=0.9), [1, 1, 0.9, 0.9, 0.81, 0.81]
    )


def test_every_nth_epoch_halves_instead():
    got = rates(epochs=5, schedule="exponential-halving", gamma=0.9, halve_every=2)[::2]
    # after epoch 1 by 0.9, after 2 by half, after 3 by 0.9, after 4 by half
    np.testing.assert_allclose(got, [1, 0.9, 0.45, 0.405, 0.2025])


def test_a_rate_of_steps_falls_at_its_milestones():
    got = rates(epochs=4, schedule="steps", gamma=0.1, milestones=(1, 3))[::2]
    np.testing.assert_allclose(got, [1, 0.1, 0.1, 0.01])


def test_a_cosine_goes_through_a_half_to_zero():
    got = rates(steps=100, schedule="cosine")
    assert (got[0], got[50]) == (1.0, pytest.approx(0.5))
    assert got[99] < 0.001
    assert (np.diff(got) < 0).all()


def test_a_trapezoid_rises_stays_and_falls_to_zero():
    got = rates(steps=1000, schedule="trapezoid", warmup=10, decay=0.4)
    np.testing.assert_allclose(got[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(got[10:600], 1.0)
    np.testing.assert_allclose(got[800], 0.5)
    assert got[-1] == pytest.approx(1 / 400)
    assert (np.diff(got[600:]) < 0).all()


def test_epochs_that_batches_do_not_divide_end_with_the_batch_that_completes_them():
    assert Optimisation(epochs=3, batch=4).total_steps(5) == 4  # 15 examples
    assert Optimisation(steps=7, batch=4).total_steps(5) == 7


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "either epochs or steps"),
        ({"epochs": 1, "steps": 1}, "either epochs or steps"),
        ({"steps": 1, "optimiser": "sgd"}, "no optimiser named 'sgd'; known: adam, adamw, muon"),
        ({"steps": 1, "schedule": "linear"}, "no schedule named 'linear'; known: constant"),
        ({"steps": 0}, "steps = 0 is out of range"),
        ({"steps": 1, "batch": 0}, "batch = 0 is out of range"),
        ({"steps": 1, "learning_rate": -1.0}, "learning_rate = -1.0 is out of range"),
        ({"steps": 1, "learning_rate": float("nan")}, "learning_rate = nan is out of range"),
        ({"steps": 1, "average": 1.0}, "average = 1.0 is out of range"),
        ({"steps": 1, "clip": 0.0}, "clip = 0.0 is out of range"),
        ({"steps": 1, "seed": -1}, "seed = -1 is out of range"),
    ],
)
def test_an_optimisation_that_cannot_be_says_why(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Optimisation(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "16"}, "no precision named '16'; known: auto, 32, bf16"),
        ({"devices": 0}, "devices must be at least 1, not 0"),
        ({"workers": -1}, "workers must be at least 0, not -1"),
        ({"validate_every": 0}, "validate_every must be at least 1, not 0"),
    ],
)
def test_run_settings_that_cannot_be_say_why(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        RunSettings(**fields)


def test_an_optimisation_survives_json():
    optimisation = Optimisation(epochs=2, milestones=(1, 2), betas=(0.9, 0.98))
    assert Optimisation(**json.loads(json.dumps(asdict(optimisation)))) == optimisation
