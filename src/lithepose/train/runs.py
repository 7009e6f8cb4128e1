"""Runs of recipes: train by one, find the network that a run has left, and measure it.

Source: none; what a run writes is told in `lithepose.train.engine`.
"""

from __future__ import annotations

import importlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

from torch import nn

from lithepose.lifters import LIFTERS
from lithepose.lifters.weights import load_lifter, load_weights, save_weights
from lithepose.metrics.published import METRICS, protocol_named
from lithepose.train.engine import BEST, LAST, RECIPE, Progress, RunSettings, kept_weights, run
from lithepose.train.lifting import evaluate_lifter, lifter_of, network_of_recipe
from lithepose.train.recipes import LiftingRecipe, described, is_published, recipe_of

# A batch is drawn in so many parts at least, so that up to as many processes can share it.
CHUNKS = 8


def train_recipe(
    recipe: LiftingRecipe,
    root: Path,
    folder: Path,
    settings: RunSettings,
    *,
    start: Path | None = None,
) -> Iterator[Progress]:
    """Train by a recipe, resuming what `folder` holds; yields at every checkpoint.

    The network is validated after every epoch where `settings` do not say when.

    Args:
        root: folder of the data set's files.
        start: a weights file to begin with; of no effect on a run that is resumed.

    Raises:
        FileNotFoundError: a file of the data set, or `start`, is missing.
        ValueError: the recipe, the data and `start` do not fit each other, or `folder` holds
            another run.
        As `lithepose.train.engine.run` otherwise.
    """
    module, _, kind = recipe.task.partition(":")
    task = getattr(importlib.import_module(module), kind)(recipe, root, start)
    optimisation = recipe.optimisation
    if settings.validate_every is None:
        epoch = math.ceil(len(task.examples) / optimisation.batch)
        settings = replace(settings, validate_every=epoch)
    settings = replace(settings, chunk=min(settings.chunk, max(1, optimisation.batch // CHUNKS)))
    yield from run(task, optimisation, settings, folder, described=described(recipe))


def save_trained(recipe: LiftingRecipe, folder: Path) -> list[Path]:
    """Write the lifter that a run has found best as a weights file with its recipe in it.

    Args:
        recipe: the run's.
        folder: of the run.

    Returns:
        `<folder>/<name of the recipe>.safetensors`. With refinement it holds the lifter without
        it; the run's own `best.safetensors` has both.
    """
    network = trained_network(recipe, folder)
    path = folder / f"{recipe.name}.safetensors"
    metadata = {
        "recipe": described(recipe),
        "optimisation": asdict(recipe.optimisation),
        "data": f"trained on {protocol_named(recipe.protocol).dataset}, whose terms hold for these "
        "weights too",
    }
    save_weights(path, lifter_of(network), metadata)
    return [path]


def trained_network(recipe: LiftingRecipe, folder: Path) -> nn.Module:
    """The network of a run at its best score, in evaluation mode; before any, at its last step.

    Raises:
        FileNotFoundError: the folder holds no checkpoint.
        ValueError: the checkpoint is damaged, or of another network.
    """
    path = next((folder / name for name in (BEST, LAST) if (folder / name).is_file()), None)
    if path is None:
        raise FileNotFoundError(
            f"no checkpoint of a training in {folder}: pass the folder that lithepose train wrote"
        )
    network = network_of_recipe(recipe)
    try:
        network.load_state_dict(kept_weights(path))
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit the recipe beside it: {error}") from error
    return network.eval()


def read_trained(
    path: Path, recipe: LiftingRecipe | None = None
) -> tuple[nn.Module, LiftingRecipe]:
    """A trained network and its recipe.

    Args:
        path: folder of a run, or a weights file of `lithepose.lifters.weights.save_weights`.
        recipe: the recipe of weights that do not say theirs, such as converted ones of authors.

    Raises:
        FileNotFoundError: there is no such file, or no run in the folder.
        ValueError: it is damaged, has no recipe and none is given, or does not fit the given one.
    """
    if path.is_dir():
        written = path / RECIPE
        if not written.is_file():
            raise FileNotFoundError(
                f"no {RECIPE} in {path}: pass the folder that lithepose train wrote"
            )
        said = json.loads(written.read_text(encoding="utf-8"))
        recipe = recipe_of(said["recipe"], said["optimisation"])
        return trained_network(recipe, path), recipe
    weights = load_weights(path)
    if recipe is None:
        if "recipe" not in weights.metadata or "optimisation" not in weights.metadata:
            raise ValueError(
                f"{path} does not say by which recipe it was trained: name one of "
                "lithepose train --list with --recipe"
            )
        recipe = recipe_of(weights.metadata["recipe"], weights.metadata["optimisation"])
        if recipe.refine:
            raise ValueError(
                f"{path} holds a lifter without the refinement that {recipe.name} trains: pass the "
                "folder of the run"
            )
    network = load_lifter(path)
    expected = LIFTERS[recipe.network].family
    if weights.network != expected:
        raise ValueError(f"{path} is a {weights.network!r}, {recipe.name} trains a {expected!r}")
    return network, recipe


def evaluate_run(
    path: Path,
    root: Path,
    protocols: Sequence[str] = (),
    *,
    recipe: LiftingRecipe | None = None,
    device: str = "cpu",
    flip: bool | None = None,
) -> str:
    """Measure a trained network by the protocols of the published tables.

    Args:
        path: folder of a run, or a weights file.
        root: folder of the data set's files.
        protocols: keys in `PROTOCOLS`; the recipe's own by default.
        recipe: as of `read_trained`.
        device: a PyTorch device.
        flip: average with the prediction of the mirrored input; None: as the recipe says.

    Returns:
        Markdown: a table for each protocol with its rules, and what the recipe promises.

    Raises:
        As `read_trained` and `lithepose.train.lifting.evaluate_lifter`.
    """
    network, found = read_trained(path, recipe)
    if flip is not None:
        found = replace(found, flip_test=flip)
    network = network.to(device)
    parts = [f"# {found.name}\n", _origin(path, found)]
    for name in protocols or (found.protocol,):
        parts.append(evaluate_lifter(network, found, root, name).as_markdown())
    return "\n".join(parts)


def _origin(path: Path, recipe: LiftingRecipe) -> str:
    lines = [f"Weights: `{path.name}`. Recipe: {recipe.source}."]
    if not is_published(replace(recipe, flip_test=True)):
        lines.append("Trained with other settings than the published recipe's.")
    lines += [f"Note: {note}." for note in recipe.notes]
    for one in recipe.expected:
        metric = METRICS[one.metric]
        whose = "the paper's" if one.papers else "published"
        lines.append(f"Expected, {whose}: {metric.label} {one.value} {metric.unit} ({one.source}).")
    return "\n".join(lines) + "\n"
