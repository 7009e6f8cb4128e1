"""Runs of recipes: what is refused, and with which words."""

from __future__ import annotations

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save  # noqa: E402

from lithepose.lifters import FAMILIES, create_lifter, load_family  # noqa: E402
from lithepose.lifters.weights import save_weights  # noqa: E402
from lithepose.metrics.evaluate import LiftedSequence, evaluate  # noqa: E402
from lithepose.metrics.protocols import protocol_named  # noqa: E402
from lithepose.train import runs  # noqa: E402
from lithepose.train.evaluation import EvaluationSettings  # noqa: E402
from lithepose.train.recipes import RECIPES, LiftingRecipe  # noqa: E402
from lithepose.train.runs import evaluate_run, read_trained, train_recipe  # noqa: E402
from lithepose.train.settings import RunSettings, check_config  # noqa: E402

HERE = RunSettings(device="cpu", workers=0, precision="32", tensorboard=False)


def lifting_recipe(name: str) -> LiftingRecipe:
    recipe = RECIPES[name]
    assert isinstance(recipe, LiftingRecipe)
    return recipe


def checkpoint(path: Path, described: dict[str, Any]) -> Path:
    """A checkpoint of a run, with other tensors than it would have."""
    header = {"kind": "best", "step": "3", "described": json.dumps(described)}
    path.write_bytes(save({"a": torch.zeros(1)}, header))
    return path


def run_of(name: str, folder: Path) -> Path:
    """`best.safetensors` of a run of a lifter's recipe."""
    recipe = lifting_recipe(name)
    said = {"recipe": recipe.described(), "optimisation": asdict(recipe.optimisation)}
    return checkpoint(folder / "best.safetensors", said)


def test_the_settings_of_all_recipes_are_fields_of_their_networks():
    for recipe in RECIPES.values():
        check_config(runs._config_of(recipe.network), recipe.overrides)


def test_every_lifters_default_config_passes_as_changes_of_it():
    for family in FAMILIES:
        config = load_family(family)[0].Config
        check_config(config, json.loads(json.dumps(asdict(config()))))


def test_a_batch_of_more_than_all_windows_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Few:
        examples = range(7)

        def __init__(self, *parts: Any):
            del parts

    monkeypatch.setattr(runs, "LiftingTask", Few)
    with pytest.raises(ValueError, match="batch of 8 is more than the 7 examples of an epoch"):
        train_recipe("htnet-cpn", tmp_path, tmp_path / "run", HERE, changes=["batch=8"])


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("htnet-cpn", "network.layers=x", "network.layers takes a whole number, not 'x'"),
        ("htnet-cpn", "network.layers=1.5", "network.layers takes a whole number, not 1.5"),
        ("hot-mixste-243-cpn", "network.host_settings=3", "network.host_settings takes names"),
        ("hevitpose-t-mpii", "network.image_size=3", "image_size takes a list of 2 whole numbers"),
        ("lithepose-81-9", "network.drop_path=0.1", "network.drop_path takes a list of 2 numbers"),
    ],
)
def test_a_network_is_not_built_of_another_kind_of_value(
    name: str, change: str, message: str, tmp_path: Path
):
    with pytest.raises(ValueError, match=message):
        train_recipe(name, tmp_path, tmp_path / "run", HERE, changes=[change])


@pytest.mark.parametrize("name", ["htnet-cpn", "lithepose-81-9"])
@pytest.mark.parametrize(
    ("of", "left"),
    [
        ({"name": "htnet-gt"}, "htnet-gt.safetensors"),
        ({"lifter": "nanohtnet-81-9", "clips": {}}, "lithepose-81-9.safetensors"),
        ({"pretraining": "poseclr"}, "encoder.safetensors"),
    ],
)
def test_a_checkpoint_to_begin_with_names_the_weights_that_its_run_leaves(
    name: str, of: dict[str, Any], left: str, tmp_path: Path
):
    start = checkpoint(tmp_path / "best.safetensors", {"recipe": of, "optimisation": {}})
    wanted = re.escape(f"begin with {tmp_path / left}, which a run writes at its end")
    with pytest.raises(ValueError, match=wanted):
        train_recipe(name, tmp_path, tmp_path / "run", HERE, start=start)


def test_a_run_is_not_measured_by_another_recipe(tmp_path: Path):
    run_of("htnet-cpn", tmp_path)
    for path in (tmp_path, tmp_path / "best.safetensors"):
        with pytest.raises(ValueError, match=r"by htnet-cpn .* leave the recipe htnet-gt out"):
            read_trained(path, lifting_recipe("htnet-gt"))


@pytest.mark.parametrize(
    ("protocol", "message"),
    [
        ("human36m-mixste", "train it longer, or measure it by human36m, which sets the root to"),
        # What else is wrong keeps its own words.
        ("human36m", "absolute"),
    ],
)
def test_a_network_that_is_hardly_trained_is_told_so(
    protocol: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Of the real error, raised for a root one metre away."""

    def measured(*parts: Any) -> Any:
        target = np.random.default_rng(0).normal(0, 0.3, (4, 17, 3)).astype(np.float32)
        lifted = LiftedSequence(
            subject="S9",
            trial="Walking",
            camera="54138969",
            predicted=target + 1,
            target=target - target[:, :1],
            valid=np.ones(4, bool),
            fps=50.0,
        )
        return evaluate(protocol_named(parts[-1]), [lifted])

    monkeypatch.setattr("lithepose.train.tasks.lifting.evaluate_lifter", measured)
    path = tmp_path / "lifter.safetensors"
    save_weights(path, create_lifter("htnet", layers=1, channels=48, hidden=32))
    settings = EvaluationSettings(protocols=(protocol,))
    with pytest.raises(ValueError, match=message):
        evaluate_run(path, tmp_path, settings, lifting_recipe("htnet-gt"))


def test_a_device_that_is_not_there_is_refused_before_weights_are_read(tmp_path: Path):
    with pytest.raises(ValueError, match="no device named 'foo'"):
        evaluate_run(tmp_path, tmp_path, EvaluationSettings(device="foo"))
