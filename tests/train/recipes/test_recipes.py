"""The table of recipes: that it is sound, readable without PyTorch, changed and read back."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from pathlib import Path

import pytest

from lithepose.lifters import LIFTERS
from lithepose.metrics.protocols import PROTOCOLS
from lithepose.train.recipes import (
    RECIPES,
    LiftingRecipe,
    ShippedRecipe,
    as_markdown,
    changed,
    is_published,
    recipe_named,
    recipe_of,
)
from lithepose.train.recipes.lifting import DATASETS

LIFTING = [recipe for recipe in RECIPES.values() if isinstance(recipe, LiftingRecipe)]


def test_the_table_is_read_without_pytorch():
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from lithepose.cli import main\n"
        "main(['train', '--list'])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "`mixste-243-cpn`" in done.stdout


def test_names_are_keys_and_tell_what_is_trained():
    for name, recipe in RECIPES.items():
        assert recipe.name == name
        if not isinstance(recipe, ShippedRecipe):
            assert name.startswith(recipe.network.split("-")[0])
        assert recipe.source


def test_every_recipe_is_measured_on_the_data_set_it_is_trained_on():
    where = {"human36m": "Human3.6M", "mpi-inf-3dhp": "MPI-INF-3DHP", "humaneva-i": "HumanEva-I"}
    for recipe in LIFTING:
        dataset = where[recipe.dataset.removesuffix("-image")]
        assert PROTOCOLS[recipe.protocol].dataset == dataset
        expected = {one.metric for one in recipe.expected}
        assert expected <= {*PROTOCOLS[recipe.protocol].metrics}


def test_every_family_of_the_table_of_lifters_has_a_recipe():
    trained = {LIFTERS[recipe.network].family for recipe in LIFTING}
    assert trained == {row.family for row in LIFTERS.values()}


def test_learning_rates_of_htnet_by_hand():
    # 5e-4 in the first epoch, x0.95 after each of the first four, x0.5 after the fifth.
    optimisation = RECIPES["htnet-cpn"].optimisation
    size = 5120  # ten steps an epoch
    rates = [optimisation.rate(10 * epoch, size) for epoch in range(7)]
    assert rates[0] == 5e-4
    assert rates[4] == pytest.approx(5e-4 * 0.95**4)
    assert rates[5] == pytest.approx(5e-4 * 0.95**4 * 0.5)
    assert rates[6] == pytest.approx(5e-4 * 0.95**5 * 0.5)


def test_learning_rates_of_nanohtnet_halve_every_five_epochs_and_else_stay():
    optimisation = RECIPES["nanohtnet-243-9-cpn"].optimisation
    rates = [optimisation.rate(epoch, 256) for epoch in range(11)]
    assert rates == pytest.approx([5e-4] * 5 + [2.5e-4] * 5 + [1.25e-4])


def test_the_mean_of_convformers_cells_is_what_its_recipe_expects():
    printed = {
        27: (11.4, 9.0, 20.1, 19.1, 11.8, 11.8, 20.8, 28.0, 26.1),
        43: (10.7, 7.9, 16.0, 16.7, 9.3, 10.0, 18.2, 25.0, 24.3),
    }
    for frames, cells in printed.items():
        (expected,) = RECIPES[f"convformer-{frames}-humaneva"].expected
        assert expected.value == pytest.approx(sum(cells) / 9, abs=0.05)


@pytest.mark.parametrize("recipe", LIFTING, ids=lambda recipe: recipe.name)
def test_a_recipe_is_read_back_as_it_was_written(recipe: LiftingRecipe):
    written = json.loads(json.dumps([recipe.described(), dataclasses.asdict(recipe.optimisation)]))
    back = recipe_of(*written)
    assert (back.frames, back.targets, back.channels) == (
        recipe.frames,
        recipe.targets,
        recipe.channels,
    )
    assert is_published(back)
    assert not is_published(changed(back, ["batch=3"]))


def test_changes_reach_the_recipe_its_optimisation_and_its_network():
    recipe = changed(
        RECIPES["mixste-243-cpn"],
        ["network.layers=2", "network.frames=27", "stride=9", "epochs=3", "learning_rate=1"],
    )
    assert recipe.overrides == {"layers": 2, "frames": 27}
    assert (recipe.frames, recipe.targets, recipe.stride) == (27, 27, 9)
    assert recipe.optimisation.epochs == 3
    assert recipe.optimisation.learning_rate == 1.0
    assert recipe.optimisation.weight_decay == 0.1
    assert changed(recipe, ["keypoints=gt"]).keypoints == "gt"


def test_steps_take_the_place_of_epochs_and_the_other_way_round():
    recipe = changed(RECIPES["htnet-cpn"], ["steps=7"])
    assert (recipe.optimisation.steps, recipe.optimisation.epochs) == (7, None)
    recipe = changed(recipe, ["epochs=2"])
    assert (recipe.optimisation.steps, recipe.optimisation.epochs) == (None, 2)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("epoch=3", "no field 'epoch'; known: .*epochs, .*network"),
        ("epochs", "takes field=value"),
        ("epochs=", "takes field=value"),
        ("batch=many", "batch takes a whole number, not 'many'"),
        ("batch=true", "batch takes a whole number, not True"),
        ("batch=null", "batch takes a whole number, not None"),
        ("batch=0", "batch = 0 is out of range"),
        ("batch=9999999", "batch = 9999999 is out of range: 1 to 1048576"),
        ("seed=null", "seed takes a whole number, not None"),
        ("seed=99999999999999999999999", "seed = 9+ is out of range"),
        ("halve_every=null", "halve_every takes a whole number"),
        ("learning_rate=null", "learning_rate takes a number, not None"),
        ("betas=[0.9]", "betas takes a list of 2 numbers"),
        ('betas=["a","b"]', "betas takes a list of 2 numbers"),
        ('milestones=["x"]', "milestones takes a list of whole numbers"),
        ("stride=null", "stride takes a whole number, not None"),
        ("flip_test=null", "flip_test takes true or false"),
        ("stride=0", "stride must be at least 1"),
        ("keypoints=openpose", "no 2D 'openpose'; known: cpn_ft_h36m_dbb, gt"),
        ("loss=l1", "no loss 'l1'; known: mpjpe"),
        ("flip=often", "no flip 'often'; known: doubled"),
        ("windows=round", "no windows 'round'; known: per_frame"),
        ("dataset=coco", "no data set 'coco'; known: human36m"),
        ("protocol=1", "protocol takes a text, not 1"),
        ("protocol=two", "no protocol named 'two'; known: human36m"),
        ("schedule=fast", "no schedule 'fast'; known: constant"),
        ("expected=[]", "no field 'expected'"),
    ],
)
def test_changes_that_cannot_be_say_what_is_known(change: str, message: str):
    with pytest.raises(ValueError, match=message):
        changed(RECIPES["htnet-cpn"], [change])


@pytest.mark.parametrize("change", ["clip=null", "average=null", "clip=1", "betas=[0, 0.9]"])
def test_what_may_be_left_out_may_be_null_and_whole_numbers_are_numbers(change: str):
    optimisation = changed(RECIPES["htnet-cpn"], [change]).optimisation
    assert isinstance(optimisation.clip, float | None)
    assert {type(beta) for beta in optimisation.betas} == {float}


def test_an_unknown_recipe_names_the_known_ones():
    with pytest.raises(ValueError, match=r"no recipe named 'mixste'; known: .*mixste-243-cpn"):
        recipe_named("mixste")


def test_refinement_is_refused_for_clips():
    with pytest.raises(ValueError, match="refinement is for lifters of single frames"):
        changed(RECIPES["mixste-243-cpn"], ["refine=true"])


def test_values_of_older_versions_are_read_by_their_names_of_today():
    recipe = RECIPES["hot-motionbert-243-sh"]
    values = recipe.described() | {"keypoints": "hourglass", "windows": "centred"}
    back = recipe_of(values, dataclasses.asdict(recipe.optimisation))
    assert back == dataclasses.replace(recipe, keypoints="stacked_hourglass", windows="padded")


def test_a_recipe_of_another_version_is_refused():
    recipe = RECIPES["htnet-cpn"]
    values = recipe.described() | {"horizon": 3}
    with pytest.raises(ValueError, match="the fields that this version writes"):
        recipe_of(values, dataclasses.asdict(recipe.optimisation))


def test_data_sets_have_the_joint_sets_of_their_protocols():
    assert {name for name, _ in DATASETS.values()} == {
        "h36m17",
        "mpi_inf_3dhp17",
        "humaneva15",
    }


def test_the_page_has_the_table():
    page = Path(__file__).resolve().parents[3] / "docs" / "guides" / "recipes.md"
    assert as_markdown() in page.read_text(encoding="utf-8"), (
        "paste the output of lithepose train --list into docs/guides/recipes.md"
    )
