"""Recipes: one value per published way to train a network, with the result to expect.

`RECIPES` is the table; it loads without PyTorch. A recipe says all that decides the result:
network, data and where their 2D is from, windows, loss, mirroring, optimisation, and by which
protocol and which windows the network is tested.

    lithepose train --list
    lithepose train mixste-243-cpn --data data/h36m --out runs/mixste
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lithepose.train.recipes.base import SAID, Expected, Recipe, changed
from lithepose.train.recipes.images import (
    IMAGE_RECIPES,
    SYNTHETIC_RECIPES,
    ImageRecipe,
    SyntheticRecipe,
)
from lithepose.train.recipes.lifting import LIFTING_RECIPES, LiftingRecipe
from lithepose.train.recipes.shipped import DEFAULT, ShippedRecipe
from lithepose.train.settings import Optimisation

__all__ = [
    "RECIPES",
    "Expected",
    "ImageRecipe",
    "LiftingRecipe",
    "Recipe",
    "ShippedRecipe",
    "SyntheticRecipe",
    "as_markdown",
    "changed",
    "is_published",
    "recipe_named",
    "recipe_of",
]

RECIPES: dict[str, Recipe] = {
    DEFAULT.name: DEFAULT,
    **LIFTING_RECIPES,
    **IMAGE_RECIPES,
    **SYNTHETIC_RECIPES,
}


def recipe_named(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in RECIPES:
        raise ValueError(f"no recipe named {name!r}; known: {', '.join(RECIPES)}")
    return RECIPES[name]


# What runs of older versions call a value that is named otherwise now.
_RENAMED = {
    "windows": {"centre": "per_frame", "centred": "padded"},
    "test_windows": {"centre": "per_frame", "centred": "padded"},
    "keypoints": {"hourglass": "stacked_hourglass"},
}


def recipe_of(values: Mapping[str, Any], optimisation: Mapping[str, Any]) -> Recipe:
    """The recipe that `Recipe.described` wrote down.

    Raises:
        ValueError: it is of a version that had other fields, or of another kind of training.
    """
    families = {f.written["task"]: f for f in (LiftingRecipe, ImageRecipe, SyntheticRecipe)}
    family = families.get(values.get("task", ""))
    if family is None:
        raise ValueError(
            "this is no run of a recipe with a published table: the shipped lifter is measured by "
            "benchmarks/lifting.py"
        )
    known = RECIPES.get(values.get("name", ""))
    said = {name: getattr(known, name) for name in SAID if hasattr(known, name)}
    # What is the same in all recipes of a family is no field of theirs.
    own = {k: v for k, v in values.items() if k not in family.written or v != family.written[k]}
    own = {name: _RENAMED.get(name, {}).get(str(value), value) for name, value in own.items()}
    try:
        return family(**{"source": "", **said, **own, "optimisation": Optimisation(**optimisation)})
    except TypeError as error:
        raise ValueError(
            f"this recipe does not have the fields that this version writes ({error})"
        ) from error


def is_published(recipe: Recipe) -> bool:
    """Whether a recipe is the one of the table, unchanged."""
    known = RECIPES.get(recipe.name)
    return (
        known is not None
        and known.optimisation == recipe.optimisation
        and known.described() == recipe.described()
    )


_BENCHMARK = (
    "The networks of the open benchmark, all by one recipe, are trained by `lithepose bench NAME` "
    "(`lithepose bench --list`)."
)


def as_markdown() -> str:
    """The table of recipes."""
    rows = [
        "| recipe | trains | data | input | optimisation | published |",
        "|---|---|---|---|---|---|",
    ]
    for recipe in RECIPES.values():
        found = "; ".join(recipe.promises()) or "-"
        names = (f"`{recipe.name}`", f"`{recipe.network}`")
        cells = (*names, *recipe.seen, _summary(recipe.optimisation), found)
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows) + f"\n\n{_BENCHMARK}\n"


def _summary(optimisation: Optimisation) -> str:
    length = (
        f"{optimisation.epochs} epochs" if optimisation.epochs else f"{optimisation.steps} steps"
    )
    rate = f"{optimisation.learning_rate:g}".replace("e-0", "e-")
    return f"{optimisation.optimiser} {rate}, {length} of {optimisation.batch}"
