"""Schedules by hand, and settings that cannot be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import pytest

from lithepose.train.settings import Optimisation, RunSettings, fitting, found_device, kinds_of


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
        ({"steps": 1, "optimiser": "sgd"}, "no optimiser 'sgd'; known: adam, adamw, muon"),
        ({"steps": 1, "schedule": "linear"}, "no schedule 'linear'; known: constant"),
        ({"steps": 0}, "steps = 0 is out of range"),
        ({"steps": 1, "batch": 0}, "batch = 0 is out of range"),
        ({"steps": 1, "learning_rate": -1.0}, "learning_rate = -1.0 is out of range"),
        ({"steps": 1, "learning_rate": float("nan")}, "learning_rate = nan is out of range"),
        ({"steps": 1, "average": 1.0}, "average = 1.0 is out of range"),
        ({"steps": 1, "clip": 0.0}, "clip = 0.0 is out of range"),
        ({"steps": 1, "seed": -1}, "seed = -1 is out of range"),
        ({"steps": 1, "seed": 2**63}, r"out of range: 0 to 2\*\*63 - 1"),
        ({"steps": 1, "seed": None}, "seed takes a whole number, not None"),
        ({"steps": 1, "seed": 1.5}, "seed takes a whole number, not 1.5"),
        ({"steps": 1, "batch": True}, "batch takes a whole number, not True"),
        ({"steps": 1, "batch": 2**20 + 1}, "batch = 1048577 is out of range: 1 to 1048576"),
        ({"steps": 2.0}, "steps takes a whole number or null, not 2.0"),
        ({"steps": 10**20}, "out of range: 1 to 1000000000000"),
        ({"epochs": 10**20}, "out of range: 1 to 1000000000"),
        ({"steps": 1, "betas": [0.9]}, r"betas takes a list of 2 numbers, not \[0.9\]"),
        ({"steps": 1, "betas": ["a", "b"]}, "betas takes a list of 2 numbers"),
        ({"steps": 1, "betas": 0.9}, "betas takes a list of 2 numbers"),
        ({"steps": 1, "betas": (0.9, 1.0)}, "out of range: two numbers from 0 to below 1"),
        ({"steps": 1, "milestones": ["x"]}, "milestones takes a list of whole numbers"),
        ({"steps": 1, "milestones": (0,)}, "out of range: epochs from 1"),
        ({"steps": 1, "learning_rate": None}, "learning_rate takes a number, not None"),
        ({"steps": 1, "learning_rate": float("inf")}, "learning_rate = inf is out of range"),
        ({"steps": 1, "weight_decay": 10**400}, "weight_decay takes a number"),
        ({"steps": 1, "amsgrad": 1}, "amsgrad takes true or false, not 1"),
        ({"steps": 1, "schedule": None}, "schedule takes a text, not None"),
    ],
)
def test_an_optimisation_that_cannot_be_says_why(fields: dict[str, Any], message: str):
    with pytest.raises(ValueError, match=message):
        Optimisation(**fields)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"precision": "16"}, "no precision '16'; known: auto, 32, bf16"),
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


def test_numbers_of_other_kinds_become_those_of_the_field():
    fields: dict[str, Any] = {"steps": np.int64(5), "learning_rate": 1}
    fields |= {"milestones": [3], "betas": [0, np.float32(0.5)]}
    optimisation = Optimisation(**fields)
    assert (optimisation.steps, optimisation.milestones) == (5, (3,))
    assert [type(value) for value in (optimisation.steps, *optimisation.milestones)] == [int, int]
    assert (optimisation.learning_rate, optimisation.betas) == (1.0, (0.0, 0.5))
    assert {type(v) for v in (optimisation.learning_rate, *optimisation.betas)} == {float}


@dataclass(frozen=True)
class Table:
    pairs: tuple[tuple[int, int], ...] = ()
    parts: Mapping[str, Any] | None = None
    pruner: Literal["density", "uniform"] = "density"
    share: float | None = None


@pytest.mark.parametrize(
    ("name", "value", "held"),
    [
        ("pairs", [[1, 2], [3, 4]], ((1, 2), (3, 4))),
        ("parts", {"frames": 3}, {"frames": 3}),
        ("parts", None, None),
        ("pruner", "uniform", "uniform"),
        ("share", 1, 1.0),
    ],
)
def test_a_value_is_held_as_the_field_says(name: str, value: Any, held: Any):
    assert fitting(kinds_of(Table)[name], value, name) == held


@pytest.mark.parametrize(
    ("name", "value", "wanted"),
    [
        ("pairs", [[1, 2, 3]], "pairs takes a list of lists"),
        ("pairs", 3, "pairs takes a list of lists"),
        ("parts", 3, "parts takes names with values, in braces or null"),
        ("pruner", "even", "pruner takes one of density, uniform, not 'even'"),
        ("pruner", [], "pruner takes one of density"),
        ("share", "x", "share takes a number or null, not 'x'"),
        ("share", False, "share takes a number or null, not False"),
    ],
)
def test_a_value_of_another_kind_is_refused(name: str, value: Any, wanted: str):
    with pytest.raises(ValueError, match=wanted):
        fitting(kinds_of(Table)[name], value, name)


def test_a_batch_of_more_than_all_examples_is_refused():
    optimisation = Optimisation(steps=1, batch=8)
    optimisation.check_batch(8)
    with pytest.raises(ValueError, match="8 is more than the 7 examples of an epoch: set batch to"):
        optimisation.check_batch(7)


def have_devices(monkeypatch: pytest.MonkeyPatch, cuda: int, mps: bool) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


@pytest.mark.parametrize(
    ("name", "devices", "cuda", "found"),
    [
        ("auto", 1, 0, "cpu"),
        ("auto", 1, 2, "cuda"),
        ("cpu", 4, 0, "cpu"),
        ("cuda", 2, 2, "cuda"),
        ("cuda:1", 1, 2, "cuda:1"),
        ("mps", 1, 0, "mps"),
    ],
)
def test_devices_that_are_there_are_found(
    name: str, devices: int, cuda: int, found: str, monkeypatch: pytest.MonkeyPatch
):
    have_devices(monkeypatch, cuda, mps=True)
    assert found_device(name, devices) == found


@pytest.mark.parametrize(
    ("name", "devices", "cuda", "message"),
    [
        ("foo", 1, 0, "no device named 'foo'; known: auto, cpu, cuda, cuda:0"),
        ("cpu:1", 1, 0, "no device named 'cpu:1'; known: auto, cpu"),
        ("cuda:x", 1, 2, "no device named 'cuda:x'"),
        ("", 1, 0, "no device named ''"),
        ("cuda", 1, 0, "PyTorch finds no CUDA device: take device cpu"),
        ("cuda:0", 1, 0, "PyTorch finds no CUDA device"),
        ("cuda:2", 1, 2, "no cuda:2: the last CUDA device is cuda:1"),
        ("cuda", 3, 2, "2 CUDA devices, not 3: take fewer"),
        ("auto", 3, 2, "2 CUDA devices, not 3: take fewer"),
        ("cuda:1", 2, 2, "cuda:1 is one device, not 2: take device cuda"),
        ("mps", 1, 0, r"no Apple GPU \(mps\): take device cpu"),
    ],
)
def test_devices_that_are_not_there_are_refused_with_what_to_take(
    name: str, devices: int, cuda: int, message: str, monkeypatch: pytest.MonkeyPatch
):
    have_devices(monkeypatch, cuda, mps=False)
    with pytest.raises(ValueError, match=message):
        found_device(name, devices)
