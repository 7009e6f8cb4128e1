"""The training loop: resuming, the schedule, what it refuses, and that it learns."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.data.clips import Batch  # noqa: E402
from lithepose.lifters import create_lifter  # noqa: E402
from lithepose.train.loop import LoopSettings, Progress, averaged_weights, train  # noqa: E402
from lithepose.train.losses import joint_distance, velocity_distance  # noqa: E402

SETTINGS = LoopSettings(
    windows=4 * 6,
    batch=4,
    warmup=3,
    workers=0,
    bfloat16=False,
    compiled=False,
    save_every=2,
    seed=5,
)


def draw(count: int, random: np.random.Generator) -> Batch:
    """Inputs at random; targets that follow from them: x, y and a depth of their product."""
    values = random.standard_normal((count, 9, 17, 4), dtype=np.float32)
    seen = values[:, 3:6, :, :2]
    depth = seen.prod(-1, keepdims=True)
    return Batch(values=values, targets=np.concatenate([seen, depth], -1))


def loss(predicted: Any, target: Any) -> Any:
    return joint_distance(predicted, target, torch.ones(17))


def network(tiny: dict[str, Any], **changes: Any) -> Any:
    torch.manual_seed(1)
    return create_lifter("nanohtnet", **(tiny | changes))


def run(
    model: Any, folder: Path, settings: LoopSettings = SETTINGS, **changes: Any
) -> list[Progress]:
    parts = {"draw": draw, "loss": loss, "validate": lambda model: {"half": 0.5}} | changes
    return list(train(model, parts["draw"], parts["loss"], parts["validate"], folder, settings))


def weights(model: Any) -> dict[str, Any]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(first: dict[str, Any], second: dict[str, Any]) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[k], second[k]) for k in first)


class Killed(Exception):
    pass


@pytest.mark.parametrize(("workers", "muon"), [(0, True), (0, False), (1, True)])
def test_a_killed_run_that_is_resumed_ends_with_exactly_the_same_weights(
    tiny: dict[str, Any], tmp_path: Path, workers: int, muon: bool
):
    settings = replace(SETTINGS, workers=workers, muon=muon)
    dropout = {"spatial_dropout": 0.2, "drop_path": (0.1, 0.2)}
    whole = network(tiny, **dropout)
    run(whole, tmp_path / "whole", settings)

    calls = 0

    def dying(predicted: Any, target: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 4:  # one step after the checkpoint of the second
            raise Killed
        return loss(predicted, target)

    with pytest.raises(Killed):
        run(network(tiny, **dropout), tmp_path / "part", settings, loss=dying)
    torch.manual_seed(99)  # nothing may hang on what was drawn before
    second = create_lifter("nanohtnet", **(tiny | dropout))
    progress = run(second, tmp_path / "part", settings)
    assert [p.step for p in progress] == [4, 6]
    assert same(weights(second), weights(whole))
    checkpoints = [tmp_path / name / "checkpoint.safetensors" for name in ("whole", "part")]
    assert same(*(averaged_weights(path) for path in checkpoints))


def test_a_finished_run_only_gives_its_weights(tiny: dict[str, Any], tmp_path: Path):
    first = network(tiny)
    run(first, tmp_path)
    again = create_lifter("nanohtnet", **tiny)
    assert run(again, tmp_path) == []
    assert same(weights(first), weights(again))
    assert same(averaged_weights(tmp_path / "checkpoint.safetensors"), weights(first))
    assert not first.training


def test_a_finished_run_can_be_made_longer(tiny: dict[str, Any], tmp_path: Path):
    run(network(tiny), tmp_path)
    longer = replace(SETTINGS, windows=4 * 8)
    assert [p.step for p in run(network(tiny), tmp_path, longer)] == [8]


@pytest.mark.parametrize("change", [{"batch": 3}, {"seed": 6}, {"muon": False}])
def test_a_run_of_other_data_or_optimiser_is_not_continued(
    tiny: dict[str, Any], tmp_path: Path, change: dict[str, Any]
):
    run(network(tiny), tmp_path)
    (name,) = change
    with pytest.raises(ValueError, match=f"is of a run with {name} = .*resume with that"):
        run(network(tiny), tmp_path, replace(SETTINGS, **change))


def test_a_loss_that_is_not_finite_stops_the_run_before_the_checkpoint(
    tiny: dict[str, Any], tmp_path: Path
):
    calls = 0

    def diverging(predicted: Any, target: Any) -> Any:
        nonlocal calls
        calls += 1
        return loss(predicted, target) * (float("nan") if calls == 4 else 1.0)

    with pytest.raises(FloatingPointError, match="not finite at step 3: lower the learning rate"):
        run(network(tiny), tmp_path, loss=diverging)
    saved = averaged_weights(tmp_path / "checkpoint.safetensors")
    assert all(bool(torch.isfinite(value).all()) for value in saved.values())


def test_the_seed_decides_the_data_of_every_step(tiny: dict[str, Any], tmp_path: Path):
    seen: list[np.ndarray] = []

    def watched(count: int, random: np.random.Generator) -> Batch:
        batch = draw(count, random)
        seen.append(batch.values)
        return batch

    run(network(tiny), tmp_path / "a", draw=watched)
    first, seen = seen, []
    run(network(tiny), tmp_path / "b", draw=watched)
    assert len(first) == SETTINGS.steps == 6
    np.testing.assert_array_equal(first, seen)
    assert len({batch.tobytes() for batch in first}) == 6
    seen.clear()
    run(network(tiny), tmp_path / "c", replace(SETTINGS, seed=6), draw=watched)
    assert (first[0] != seen[0]).any()


def test_progress_and_log_tell_the_same(tiny: dict[str, Any], tmp_path: Path):
    progress = run(network(tiny), tmp_path)
    assert [(p.step, p.steps) for p in progress] == [(2, 6), (4, 6), (6, 6)]
    assert all(p.windows_per_s > 0 and p.validation == {"half": 0.5} for p in progress)
    with (tmp_path / "log.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["windows"] for row in rows] == ["8", "16", "24"]
    assert [float(row["loss"]) for row in rows] == pytest.approx(
        [p.loss for p in progress], abs=1e-5
    )
    assert rows[0]["half"] == "0.500"


def test_validation_sees_the_averaged_weights_and_changes_nothing(
    tiny: dict[str, Any], tmp_path: Path
):
    seen: list[dict[str, Any]] = []

    def validate(model: Any) -> dict[str, float]:
        assert not model.training
        assert not torch.is_grad_enabled()
        seen.append(weights(model))
        return {}

    rare, often = network(tiny), network(tiny)
    run(rare, tmp_path / "rare", replace(SETTINGS, save_every=6), validate=validate)
    run(often, tmp_path / "often", replace(SETTINGS, save_every=1), validate=validate)
    assert same(weights(rare), weights(often))
    assert same(seen[-1], weights(often))
    assert not same(seen[1], seen[2])


def test_a_small_set_is_learned_by_heart(tiny: dict[str, Any], tmp_path: Path):
    batch = draw(4, np.random.default_rng(0))
    model = network(tiny)
    settings = replace(SETTINGS, windows=4 * 90, learning_rate=1e-2, average=0.9, save_every=15)
    progress = run(model, tmp_path, settings, draw=lambda count, random: batch)
    assert progress[-1].loss < 0.5 * progress[0].loss
    with torch.no_grad():
        left = float(loss(model(torch.from_numpy(batch.values)), torch.from_numpy(batch.targets)))
    assert left < 1.1 * progress[-1].loss


def test_the_rate_rises_stays_and_falls_to_zero():
    settings = LoopSettings(windows=100_000, batch=100, warmup=10, decay=0.4, learning_rate=1.0)
    rates = [settings.rate(step) for step in range(settings.steps)]
    assert settings.steps == 1000
    np.testing.assert_allclose(rates[:10], np.arange(1, 11) / 10)
    np.testing.assert_allclose(rates[10:600], 1.0)
    np.testing.assert_allclose(rates[800], 0.5)
    assert rates[-1] == pytest.approx(1 / 400)
    assert (np.diff(rates[600:]) < 0).all()


def test_the_checkpoint_is_complete_or_absent(tiny: dict[str, Any], tmp_path: Path):
    run(network(tiny), tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors", "log.csv"]


# --- losses -----------------------------------------------------------------------------------


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
