"""Runs of recipes: train by one, find the network that a run has left, and measure it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from torch import nn

from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.detect.weights import load_pose_network, save_pose_network
from lithepose.lifters import LIFTERS, load_family
from lithepose.lifters.default import WEIGHTS
from lithepose.lifters.weights import load_lifter, load_weights, save_weights
from lithepose.metrics.protocols import protocol_named
from lithepose.train.checkpoints import BEST, LAST, Progress, kept_weights
from lithepose.train.engine import Task, run
from lithepose.train.evaluation import EvaluationSettings
from lithepose.train.networks import lifter_of, network_of_recipe
from lithepose.train.recipes import (
    ImageRecipe,
    LiftingRecipe,
    Recipe,
    ShippedRecipe,
    SyntheticRecipe,
    changed,
    is_published,
    recipe_named,
    recipe_of,
)
from lithepose.train.settings import RunSettings, check_config, found_device
from lithepose.train.tasks import shipped
from lithepose.train.tasks.images import ImageTask, image_tables
from lithepose.train.tasks.lifting import LiftingTask, lifter_tables
from lithepose.train.tasks.poseclr import ENCODER_FILE
from lithepose.train.tasks.synthetic import SyntheticImageTask, synthetic_tables

# A batch is drawn in so many parts at least, so that up to as many processes can share it.
CHUNKS = 8


# --- families of recipes ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Family:
    """What is done with recipes of one type; the functions take a recipe of it.

    Attributes:
        task: the task on a folder of data, begun with a file of weights; knows where it will run.
        settings: what a run of so many examples makes of the settings given.
        finish: writes the files of the network that a run in a folder has left.
        build: the network as it is trained, without weights.
        load: the network in a weights file of `finish`, or of others.
        save: writes a network with what is said of it.
        data: what is said of the data, for who passes the weights on.
        tables: measures a network, a text for each table.
    """

    task: Callable[[Any, Path, Path | None, RunSettings], Task]
    settings: Callable[[Any, RunSettings, int], RunSettings]
    finish: Callable[[Any, Path], list[Path]]
    build: Callable[[Any], nn.Module]
    load: Callable[[Any, Path], nn.Module]
    save: Callable[[Path, nn.Module, Mapping[str, Any]], None]
    data: Callable[[Any], str]
    tables: Callable[[nn.Module, Any, Path, EvaluationSettings], Iterator[str]]


def _by_epochs(recipe: Recipe, settings: RunSettings, examples: int) -> RunSettings:
    """Validates after every epoch where the settings do not say when."""
    batch = recipe.optimisation.batch
    return replace(
        settings,
        validate_every=settings.validate_every or math.ceil(examples / batch),
        chunk=min(settings.chunk, max(1, batch // CHUNKS)),
    )


def _as_papers(recipe: Recipe, settings: RunSettings, examples: int) -> RunSettings:
    """By epochs of examples that are seen again, in 32 bits where the settings leave it open."""
    recipe.optimisation.check_batch(examples)
    precision = "32" if settings.precision == "auto" else settings.precision
    return replace(_by_epochs(recipe, settings, examples), precision=precision)


def save_trained(recipe: Recipe, folder: Path) -> list[Path]:
    """Write the network that a run has found best as a weights file with its recipe in it.

    Args:
        recipe: the run's.
        folder: of the run.

    Returns:
        `<folder>/<name of the recipe>.safetensors`. With refinement it holds the lifter without
        it; the run's own `best.safetensors` has both.
    """
    family = FAMILIES[type(recipe)]
    network, _ = read_trained(folder)
    path = folder / f"{recipe.name}.safetensors"
    checkpoint = _header_of(_checkpoint_of(folder))
    metadata = {
        "recipe": recipe.described(),
        "source": recipe.source,
        "optimisation": asdict(recipe.optimisation),
        **{key: checkpoint[key] for key in ("step", "version", "commit") if key in checkpoint},
        "data": family.data(recipe),
    }
    family.save(path, network, metadata)
    return [path]


def _load_lifter(recipe: LiftingRecipe, path: Path) -> nn.Module:
    if recipe.refine:
        raise ValueError(
            f"{path} holds a lifter without the refinement that {recipe.name} trains: pass the "
            "folder of the run"
        )
    family, found = LIFTERS[recipe.network].family, load_weights(path).network
    if found != family:
        raise ValueError(f"{path} is a {found!r}, {recipe.name} trains a {family!r}")
    return load_lifter(path)


def _terms(dataset: str) -> str:
    return f"trained on {dataset}, whose terms hold for these weights too"


_LIFTERS = Family(
    task=lambda recipe, root, start, _: LiftingTask(recipe, root, start),
    settings=_as_papers,
    finish=save_trained,
    build=network_of_recipe,
    load=_load_lifter,
    save=lambda path, network, said: save_weights(path, lifter_of(network), said),
    data=lambda recipe: _terms(protocol_named(recipe.protocol).dataset),
    tables=lifter_tables,
)
_POSE_NETWORKS = Family(
    task=lambda recipe, root, start, _: ImageTask(recipe, root, start),
    settings=_as_papers,
    finish=save_trained,
    build=lambda recipe: create_pose_network(recipe.network, **recipe.overrides),
    load=lambda _, path: load_pose_network(path),
    save=save_pose_network,
    data=lambda recipe: _terms({"coco": "COCO", "mpii": "MPII"}[recipe.dataset]),
    tables=image_tables,
)
FAMILIES: dict[type[Recipe], Family] = {
    LiftingRecipe: _LIFTERS,
    ImageRecipe: _POSE_NETWORKS,
    SyntheticRecipe: replace(
        _POSE_NETWORKS,
        task=lambda recipe, root, start, _: SyntheticImageTask(recipe, root, start),
        settings=_by_epochs,  # of pictures that are drawn anew
        data=lambda _: (
            "trained on synthetic people drawn by Lithepose, in poses by code and of the motion "
            "files named there (docs/data/mocap.md has their terms); no photograph"
        ),
        tables=synthetic_tables,
    ),
    # It is measured by benchmarks/lifting.py, whatever weights it has.
    ShippedRecipe: replace(
        _LIFTERS,
        task=shipped.task_on,
        settings=lambda _, settings, examples: settings,  # noqa: ARG005
        finish=lambda recipe, folder: shipped.finish(recipe, folder),
    ),
}


# --- training ---------------------------------------------------------------------------------


def train_recipe(
    name: str,
    root: Path,
    folder: Path,
    settings: RunSettings,
    *,
    changes: Sequence[str] = (),
    start: Path | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> list[Path]:
    """Train by a recipe of the table, resuming what `folder` holds.

    The network is validated after every epoch where `settings` do not say when.

    Args:
        name: key in `lithepose.train.recipes.RECIPES`.
        root: folder of the data set's files.
        changes: texts `field=value`, see `lithepose.train.recipes.changed`.
        start: a weights file to begin with; of no effect on a run that is resumed.
        report: called at every checkpoint.

    Returns:
        The files of the trained network.

    Raises:
        FileNotFoundError: a file of the data set, or `start`, is missing.
        ValueError: there is no such recipe, field or device; recipe, data and `start` do not fit
            each other; the batch is more than all examples; or `folder` holds another run.
        As `lithepose.train.engine.run` otherwise.
    """
    recipe = recipe_named(name)
    # Before the data are read, which can take minutes.
    found_device(settings.device, settings.devices)
    if start is not None:
        _check_start(start, recipe)
    recipe = changed(recipe, changes)
    follow(recipe, root, folder, settings, start=start, report=report)
    return FAMILIES[type(recipe)].finish(recipe, folder)


def follow(
    recipe: Recipe,
    root: Path,
    folder: Path,
    settings: RunSettings,
    *,
    start: Path | None = None,
    report: Callable[[Progress], None] = lambda _: None,
) -> None:
    """As `train_recipe` by any recipe, without writing files of the network in the end."""
    family = FAMILIES[type(recipe)]
    check_config(_config_of(recipe.network), recipe.overrides)
    task = family.task(recipe, root, start, settings)
    settings = family.settings(recipe, settings, len(task.examples))
    described = recipe.described()
    for progress in run(task, recipe.optimisation, settings, folder, described=described):
        report(progress)


def _config_of(network: str) -> type:
    """The class of the config of a network of the tables."""
    if network in POSE_NETWORKS:
        return type(POSE_NETWORKS[network].config)
    return load_family(LIFTERS[network].family)[0].Config


def _check_start(path: Path, recipe: Recipe) -> None:
    """Refuse a file to begin with that cannot be read, or, of a lifter, a checkpoint of a run.

    Raises:
        FileNotFoundError, ValueError: as it says; of a checkpoint it names the file to take.
    """
    said = _described(path)
    if said is None or recipe.network not in LIFTERS:
        return
    of = said.get("recipe", {})
    left = ENCODER_FILE if "pretraining" in of else f"{of.get('name', WEIGHTS)}.safetensors"
    raise ValueError(
        f"{path} is a checkpoint: begin with {path.parent / left}, which a run writes at its end "
        "(one that was broken off goes on when it is started again with the same --out)"
    )


# --- trained networks -------------------------------------------------------------------------


def read_trained(path: Path, recipe: LiftingRecipe | None = None) -> tuple[nn.Module, Recipe]:
    """A trained network, in evaluation mode, and its recipe.

    Args:
        path: folder of a run, one of its checkpoints, or a weights file of
            `lithepose.lifters.weights.save_weights` or `lithepose.detect.weights`.
        recipe: the recipe of weights that do not say theirs, such as converted ones of authors.

    Raises:
        FileNotFoundError: there is no such file, or no run in the folder.
        ValueError: it is damaged, has no recipe and none is given, does not fit the given one, or
            is of a run, which has its own.
    """
    if path.is_dir():
        path = _checkpoint_of(path)
    said = _described(path)
    if said is not None:
        found = recipe_of(said["recipe"], said["optimisation"])
        if recipe is not None:
            raise ValueError(
                f"{path} was trained by {found.name} and says so itself: leave the recipe "
                f"{recipe.name} out"
            )
        network = FAMILIES[type(found)].build(found)
        try:
            network.load_state_dict(kept_weights(path))
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit the recipe in it: {error}") from error
        return network.eval(), found
    written = load_weights(path).metadata
    if recipe is not None:
        return _load_lifter(recipe, path), recipe
    if not {"recipe", "optimisation"} <= written.keys():
        raise ValueError(
            f"{path} does not say by which recipe it was trained: name one of "
            "lithepose train --list with --recipe"
        )
    found = recipe_of(written["recipe"], written["optimisation"])
    return FAMILIES[type(found)].load(found, path), found


def _checkpoint_of(folder: Path) -> Path:
    """The checkpoint of a run with the best score; before any, the last one."""
    for name in (BEST, LAST):
        if (folder / name).is_file():
            return folder / name
    raise FileNotFoundError(
        f"no checkpoint of a training in {folder}: pass the folder that lithepose train wrote"
    )


def _described(path: Path) -> dict[str, Any] | None:
    """What a checkpoint says of its run; None of a weights file."""
    header = _header_of(path)
    return json.loads(header["described"]) if "described" in header else None


def _header_of(path: Path) -> dict[str, str]:
    """The texts in a checkpoint or a weights file.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no weights file at {path}")
    try:
        with safe_open(path, framework="pt") as file:
            return file.metadata() or {}
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}): get or save it again"
        ) from error


# --- evaluation -------------------------------------------------------------------------------


def evaluate_run(
    path: Path, root: Path, settings: EvaluationSettings, recipe: LiftingRecipe | None = None
) -> str:
    """Measure a trained network by the protocols of the published tables.

    Args:
        path: folder of a run, or a weights file.
        root: folder of the data set's files.
        recipe: as of `read_trained`.

    Returns:
        Markdown: a table for each protocol with its rules, and what the recipe promises.

    Raises:
        ValueError: as `read_trained`, a setting is of another kind of network, there is no such
            device, or the network is hardly trained and the protocol compares its root.
        As `evaluate_lifter` and `evaluate_images` otherwise.
    """
    settings = replace(settings, device=found_device(settings.device))
    network, found = read_trained(path, recipe)
    if settings.windows and found.network in POSE_NETWORKS:
        raise ValueError(f"{found.name} is a pose network: windows are of lifters")
    tables = FAMILIES[type(found)].tables(network, found, root, settings)
    return "\n".join([_origin(path, found), *tables]).rstrip("\n") + "\n"


def _origin(path: Path, recipe: Recipe) -> str:
    lines = [f"# {recipe.name}", "", f"Weights: `{path.name}`. Recipe: {recipe.source}."]
    if not is_published(recipe):
        lines.append("Trained with other settings than the recipe's of that name.")
    lines += [f"Note: {note}." for note in recipe.notes]
    lines += [f"Published: {promise}." for promise in recipe.promises()]
    return "\n".join(lines) + "\n"
