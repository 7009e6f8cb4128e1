"""Training on synthetic people: targets, loss, scores."""

from __future__ import annotations

import json
import math
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from lithepose.detect.heatmaps import encode, heatmap_targets
from lithepose.detect.sizes import create_pose_network
from lithepose.synthetic.figure_bank import build_bank
from lithepose.train.evaluation import EvaluationSettings
from lithepose.train.networks import begin_pose_network
from lithepose.train.recipes import SyntheticRecipe
from lithepose.train.recipes.images import SYNTHETIC_RECIPES
from lithepose.train.runs import evaluate_run, read_trained, train_recipe
from lithepose.train.settings import RunSettings
from lithepose.train.tasks import synthetic as synthetic_images
from lithepose.train.tasks.synthetic import SyntheticImageTask, SyntheticTest

SMALL = replace(
    SYNTHETIC_RECIPES["hevitpose-t-coco-synthetic"],
    overrides={"image_size": (64, 64), "widths": (16, 16, 16), "depths": (1, 1, 1),
               "groups": (1, 1, 1), "heads": (1, 1, 1), "head_filters": (8, 8)},
    figures=2, backdrops=2, made_poses=40, test_figures=1, test_pictures=6,
)  # fmt: skip


@pytest.fixture(scope="module")
def task():
    with pytest.MonkeyPatch.context() as patch:
        # Coarse people: what is tested is what happens to their pictures.
        patch.setattr(
            synthetic_images, "build_bank",
            lambda count, seed, processes: build_bank(count, seed, cell=0.045),
        )  # fmt: skip
        return SyntheticImageTask(SMALL, None)


@pytest.mark.parametrize("encoding", ["msra", "dark", "udp"])
def test_targets_are_those_of_the_data_sets(encoding):
    random = np.random.default_rng(0)
    joints = random.uniform(-40, 296, (5, 17, 2))
    visible = random.integers(0, 3, (5, 17))
    maps, weights = encode(joints - 0.5, np.minimum(visible, 1), (256, 192), encoding)
    found, found_weights = heatmap_targets(
        torch, torch.from_numpy(joints).float() - 0.5, torch.from_numpy(visible) > 0, (256, 192),
        encoding,
    )  # fmt: skip
    np.testing.assert_allclose(found.numpy(), maps, atol=1e-5)
    np.testing.assert_array_equal(found_weights.numpy(), weights)


def test_the_loss_is_finite_repeats_itself_and_has_gradients(task):
    torch.manual_seed(0)
    network = task.build()
    drawn = task.examples.draw(np.arange(3), np.random.default_rng(1))
    batch = {name: torch.from_numpy(value) for name, value in drawn.items()}
    losses = [task.loss(network, batch, torch.Generator().manual_seed(2)) for _ in range(2)]
    assert losses[0].item() == losses[1].item() > 0
    losses[0].backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_examples_are_small_and_go_to_worker_processes(task):
    copy = pickle.loads(pickle.dumps(task.examples))
    drawn = task.examples.draw(np.arange(4), np.random.default_rng(1))
    again = copy.draw(np.arange(4), np.random.default_rng(1))
    for name, value in drawn.items():
        assert len(value) == 4
        np.testing.assert_array_equal(value, again[name])
    assert sum(value.nbytes for value in drawn.values()) / 4 < 10_000


def test_scores_are_of_a_fixed_test_and_a_perfect_network_has_none_wrong(task):
    class Perfect(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.nothing = torch.nn.Parameter(torch.zeros(1))
            self.at = 0

        def forward(self, images):
            truth = task.test.pictures(images.device)
            joints, visible = (torch.from_numpy(x) for x in (truth.joints, truth.visible))
            here = slice(self.at, self.at + len(images))
            self.at += len(images)
            return heatmap_targets(torch, joints[here] - 0.5, visible[here] > 0, (64, 64), "dark")[
                0
            ]

    random = task.build().eval()
    first = task.validate(random)
    assert first == task.validate(random)
    results = task.test.measure(Perfect().eval())
    scores = results.scores()
    assert scores["pck_0.1"] == 100
    assert np.nanmin(results.joints[0.1]) == 100
    assert results.counts.sum() == (task.test.pictures(torch.device("cpu")).visible > 0).sum()
    assert f"| all | {scores['pck_0.05']:.1f} | 100.0 | {results.counts.sum()} |" in (
        results.as_markdown()
    )
    assert scores["error_px"] < 0.5 < first["error_px"]
    assert all(math.isfinite(value) for value in scores.values())


CHANGES = [
    *(f"network.{name}={json.dumps(value)}" for name, value in SMALL.overrides.items()),
    *(f"{name}=1" for name in ("figures", "backdrops", "test_figures")),
    "made_poses=20", "test_pictures=2", "batch=2", "average=null",
]  # fmt: skip


def test_a_recipe_is_trained_resumed_and_measured(
    motion_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(
        synthetic_images, "build_bank",
        lambda count, seed, processes: build_bank(count, seed, cell=0.06),
    )  # fmt: skip
    data, out = tmp_path / "mocap", tmp_path / "run"
    shutil.copytree(motion_folder, data)
    shutil.copy(data / "cmu17_val.npz", data / "cmu17_test.npz")
    settings = RunSettings(
        device="cpu", precision="32", workers=0, save_every=2, validate_every=2, tensorboard=False
    )
    done: list[int] = []
    for steps in (1, 2):  # the second goes on from the first
        (path,) = train_recipe(
            "hevitpose-t-coco-synthetic", data, out, settings,
            changes=[*CHANGES, f"steps={steps}"], report=lambda each: done.append(each.step),
        )  # fmt: skip
    assert done == [1, 2]
    assert path.name == "hevitpose-t-coco-synthetic.safetensors"

    network, recipe = read_trained(path)
    assert isinstance(recipe, SyntheticRecipe)
    assert recipe.image_size == (64, 64)
    table = evaluate_run(path, data, EvaluationSettings())
    assert "Trained with other settings than the recipe's of that name." in table
    assert "| left_ankle |" in table
    assert "part test: people and backdrops of seed 11" in table

    begun = create_pose_network(recipe.network, **recipe.overrides)
    begin_pose_network(begun, path, recipe.network)
    for name, tensor in read_trained(out)[0].state_dict().items():
        assert torch.equal(network.state_dict()[name], tensor)
        assert torch.equal(begun.state_dict()[name], tensor)

    seen: dict[str, object] = {}

    def measured(network, name, root, **told):
        seen.update(told, name=name)
        return SimpleNamespace(as_markdown=lambda: "| AP |\n")

    monkeypatch.setattr("lithepose.train.tasks.images.evaluate_images", measured)
    assert "| AP |" in evaluate_run(path, data, EvaluationSettings(protocols=("coco",)))
    assert seen["name"] == "hevitpose-t-coco"
    assert (seen["dataset"], seen["split"], seen["flip"]) == ("coco", "val2017", True)
    with pytest.raises(ValueError, match="not measured by 'mpii'; known: synthetic, coco"):
        evaluate_run(path, data, EvaluationSettings(protocols=("mpii",)))
    with pytest.raises(ValueError, match="without mirroring"):
        evaluate_run(path, data, EvaluationSettings(flip=True))
    with pytest.raises(ValueError, match="known: val, test"):
        evaluate_run(path, data, EvaluationSettings(split="val2017"))


def test_recipes_refuse_what_cannot_be_trained():
    with pytest.raises(ValueError, match="known: hevitpose-t-mpii"):
        replace(SMALL, network="hevitpose-x")
    with pytest.raises(ValueError, match='not "udp"'):
        replace(SMALL, encoding="udp", decoder="udp")
    with pytest.raises(ValueError, match="test_figures must be at least 1"):
        replace(SMALL, test_figures=0)
    with pytest.raises(ValueError, match="no part 'train' of synthetic pictures; known: val, test"):
        SyntheticTest(SMALL, None, "train")


def test_missing_motions_and_weights_are_told_before_anything_is_built(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        SyntheticImageTask(SMALL, None, tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no motion file at .*cmu17_train\.npz"):
        SyntheticImageTask(replace(SMALL, figures=1), tmp_path, processes=1)
