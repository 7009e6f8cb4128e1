"""The recipe of the default lifter, followed from motion files to weights, in small."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import LIFTERS, create_lifter  # noqa: E402
from lithepose.lifters.default import WEIGHTS, DefaultLifter  # noqa: E402
from lithepose.lifters.weights import load_lifter  # noqa: E402
from lithepose.lifters.windows import CHANNELS, LIMBS  # noqa: E402
from lithepose.mocap.motions import read_motions, without_clips  # noqa: E402
from lithepose.mocap.windows import WindowSettings  # noqa: E402
from lithepose.onnx import OnnxModel  # noqa: E402
from lithepose.train.checkpoints import Progress  # noqa: E402
from lithepose.train.recipes.shipped import DEFAULT, ShippedRecipe  # noqa: E402
from lithepose.train.runs import follow  # noqa: E402
from lithepose.train.settings import RunSettings  # noqa: E402
from lithepose.train.tasks.shipped import (  # noqa: E402
    LifterTask,
    finish,
    score,
    trained_lifter,
    validation_windows,
    weighted_loss,
)


@pytest.fixture(scope="module")
def recipe(tiny: dict[str, Any]) -> ShippedRecipe:
    return replace(
        DEFAULT,
        overrides=tiny,
        clips=WindowSettings(frames=9, targets=3),
        optimisation=replace(DEFAULT.optimisation, steps=6, batch=16, warmup=2),
        without=(),
    )


SETTINGS = RunSettings(device="cpu", precision="32", workers=0, save_every=3, tensorboard=False)


@pytest.fixture(scope="module")
def fitted(
    recipe: ShippedRecipe, motion_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Any, Path, list[Progress]]:
    out = tmp_path_factory.mktemp("run")
    progress: list[Progress] = []
    follow(recipe, motion_folder, out, SETTINGS, report=progress.append)
    return trained_lifter(out / "last.safetensors", recipe), out, progress


@pytest.fixture(scope="module")
def finished(recipe: ShippedRecipe, fitted: Any) -> list[Path]:
    """The files of the fitted network."""
    pytest.importorskip("onnxscript")
    return finish(recipe, fitted[1])


def test_the_default_recipe_fits_its_lifter():
    row = LIFTERS[DEFAULT.network]
    assert (DEFAULT.clips.frames, DEFAULT.clips.targets) == (row.frames_in, row.frames_out)
    assert DEFAULT.overrides["in_channels"] == CHANNELS
    create_lifter(DEFAULT.network, **DEFAULT.overrides)
    json.dumps(replace(DEFAULT).overrides)


def test_fitting_reports_scores_with_and_without_noise(fitted: Any):
    model, out, progress = fitted
    assert not model.training
    assert [p.step for p in progress] == [3, 6]
    assert set(progress[0].scores) == {"mpjpe", "p_mpjpe", "noisy_mpjpe", "noisy_p_mpjpe"}
    for scores in (p.scores for p in progress):
        assert 0 < scores["p_mpjpe"] < scores["mpjpe"] < 2000
    assert (out / "last.safetensors").exists()
    assert (out / "log.csv").exists()


@pytest.mark.slow
def test_the_finished_files_do_what_the_network_does(fitted: Any, finished: list[Path]):
    model, _, _ = fitted
    weights, network = finished
    assert (weights.name, network.name) == (f"{WEIGHTS}.safetensors", f"{WEIGHTS}.onnx")
    values = np.random.default_rng(0).normal(size=(4, 9, 17, 4)).astype(np.float32)
    with torch.no_grad():
        exact = model(torch.from_numpy(values)).numpy()
        loaded = load_lifter(weights)(torch.from_numpy(values)).numpy()
    np.testing.assert_allclose(loaded, exact, atol=5e-3)  # half precision
    lifter = DefaultLifter(OnnxModel(network))
    assert (lifter.name, lifter.frames, lifter.targets) == (WEIGHTS, 9, 3)
    np.testing.assert_allclose(lifter(values), exact, atol=5e-3)
    said = json.loads(lifter.model.metadata["recipe"])
    assert said["clips"]["frames"] == 9


def test_validation_windows_are_always_the_same_and_of_unchanged_bodies(
    recipe: ShippedRecipe, motion_folder: Path
):
    motions = read_motions(motion_folder / "cmu17_val.npz")
    first, again = (validation_windows(motions, recipe, None, 64) for _ in range(2))
    np.testing.assert_array_equal(first.values, again.values)
    np.testing.assert_array_equal(first.targets, again.targets)
    thighs = np.linalg.norm(first.targets[:, :, 2] - first.targets[:, :, 1], axis=-1)
    assert thighs.std() < 0.002


def test_the_score_is_over_the_limbs_of_the_middle_frame_in_millimetres(
    recipe: ShippedRecipe, motion_folder: Path
):
    batch = validation_windows(read_motions(motion_folder / "cmu17_val.npz"), recipe, None, 300)

    class Off(torch.nn.Module):
        """The truth, 10 mm off at the limbs of the middle frame and far off elsewhere."""

        seen = 0

        def forward(self, values: Any) -> Any:
            answer = torch.from_numpy(batch.targets[self.seen : self.seen + len(values)]).clone()
            self.seen += len(values)
            answer[:, [0, 2]] += 5.0
            answer[:, 1, 9] += 5.0
            answer[:, 1, LIMBS, 2] += 0.010
            return answer

    scores = score(Off(), batch)
    assert scores["mpjpe"] == pytest.approx(10, abs=1e-2)
    assert scores["p_mpjpe"] == pytest.approx(0, abs=1e-2)


def test_the_loss_counts_limbs_twice_the_root_not_at_all_and_steps():
    loss = weighted_loss(limb_weight=2.0, velocity_weight=0.0)
    target = torch.zeros(2, 3, 17, 3)

    def at(joint: int, shift: float = 1.0) -> float:
        moved = target.clone()
        moved[:, :, joint, 0] = shift
        return float(loss(moved, target))

    assert at(0) == 0
    assert at(3) == pytest.approx(2 * at(9))
    everywhere = torch.ones(2, 3, 17, 3) / 3**0.5
    assert float(loss(everywhere, target)) == pytest.approx(1.0)  # weights have mean 1
    stepping = weighted_loss(limb_weight=2.0, velocity_weight=0.5)
    moved = target.clone()
    moved[:, 1, 3, 0] = 1.0
    assert float(stepping(moved, target)) == pytest.approx((2 / 3 + 0.5 * 2) * at(3) / 2)


def test_a_run_can_begin_with_weights(
    fitted: Any,
    finished: list[Path],
    recipe: ShippedRecipe,
    motion_folder: Path,
    tmp_path: Path,
):
    model, _, _ = fitted
    gentle = replace(recipe.optimisation, learning_rate=1e-12, weight_decay=0.0)
    still = replace(recipe, optimisation=gentle)
    follow(still, motion_folder, tmp_path, SETTINGS, start=finished[0])
    state = trained_lifter(tmp_path / "last.safetensors", still).state_dict()
    for name, before in model.state_dict().items():
        torch.testing.assert_close(state[name], before, rtol=1e-3, atol=1e-6)  # stored in half


def test_windows_drawn_on_the_device_train_the_same_network(
    recipe: ShippedRecipe, motion_folder: Path
):
    train, validation = (
        read_motions(motion_folder / f"cmu17_{split}.npz") for split in ("train", "val")
    )
    losses = []
    for on_device in (False, True):
        task = LifterTask(recipe, train, validation, on_device=on_device)
        torch.manual_seed(0)
        network = task.build()
        drawn = task.examples.draw(np.arange(200), np.random.default_rng(0))
        batch = {name: torch.from_numpy(array) for name, array in drawn.items()}
        losses.append(float(task.loss(network, batch, torch.Generator().manual_seed(0))))
    assert losses[1] == pytest.approx(losses[0], rel=0.1)


def test_clips_can_be_left_out(motion_folder: Path):
    motions = read_motions(motion_folder / "cmu17_train.npz")
    rest = without_clips(motions, ["a", "of another file"])
    assert rest.clip.tolist() == ["b"]
    np.testing.assert_array_equal(rest.positions, motions.positions[40:])
    np.testing.assert_array_equal(rest.start, [0, 40])
    with pytest.raises(ValueError, match="all 2 clips"):
        without_clips(motions, ["a", "b"])


def test_missing_motions_say_where_they_come_from(recipe: ShippedRecipe, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"cmu17_train.npz: docs/data/mocap_import.md"):
        follow(recipe, tmp_path, tmp_path / "run", SETTINGS)
