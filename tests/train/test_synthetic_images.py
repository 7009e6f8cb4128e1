"""Training on synthetic people: targets, loss, scores."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from lithepose.data.figure_bank import build_bank
from lithepose.detect.heatmaps import encode
from lithepose.train import synthetic_images
from lithepose.train.synthetic_images import (
    SYNTHETIC_RECIPES,
    SyntheticImageTask,
    described,
    heatmap_targets,
)

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


@pytest.mark.parametrize("encoding", ["msra", "dark"])
def test_targets_are_those_of_the_data_sets(encoding):
    random = np.random.default_rng(0)
    joints = random.uniform(-40, 296, (5, 17, 2))
    visible = random.integers(0, 3, (5, 17))
    maps, weights = encode(joints - 0.5, np.minimum(visible, 1), (256, 192), encoding)
    found, found_weights = heatmap_targets(
        torch.from_numpy(joints), torch.from_numpy(visible), (256, 192), encoding
    )
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
            _, joints, visible, _ = task._test
            here = slice(self.at, self.at + len(images))
            self.at += len(images)
            return heatmap_targets(joints[here], visible[here], (64, 64), "dark")[0]

    random = task.build().eval()
    first = task.validate(random)
    assert first == task.validate(random)
    scores = task.validate(Perfect().eval())
    assert scores["pck_0.1"] == 100
    assert scores["error_px"] < 0.5 < first["error_px"]
    assert all(math.isfinite(value) for value in scores.values())


def test_recipes_refuse_what_cannot_be_trained():
    with pytest.raises(ValueError, match="known: hevitpose-t-mpii"):
        replace(SMALL, network="hevitpose-x")
    with pytest.raises(ValueError, match='not "udp"'):
        replace(SMALL, encoding="udp", decoder="udp")
    with pytest.raises(ValueError, match="test_figures must be at least 1"):
        replace(SMALL, test_figures=0)
    assert described(SMALL)["network"] == "hevitpose-t-coco"


def test_missing_motions_and_weights_are_told_before_anything_is_built(tmp_path):
    with pytest.raises(FileNotFoundError, match="no weights at"):
        SyntheticImageTask(SMALL, None, tmp_path / "none.safetensors")
    with pytest.raises(FileNotFoundError, match=r"no motion file at .*cmu17_train\.npz"):
        SyntheticImageTask(replace(SMALL, figures=1), tmp_path, processes=1)
