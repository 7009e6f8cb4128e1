"""Runs of recipes: train by one, find the network that a run has left, and measure it."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from safetensors import SafetensorError, safe_open
from torch import nn

from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.detect.weights import load_pose_network, save_pose_network
from lithepose.lifters import LIFTERS, load_family
from lithepose.lifters.default import WEIGHTS
from lithepose.lifters.weights import load_lifter, load_weights, save_weights
from lithepose.metrics.evaluate import ROOT_REACH_M, FarRootError
from lithepose.metrics.protocols import PROTOCOLS, protocol_named
from lithepose.train.engine import BEST, LAST, Progress, RunSettings, kept_weights, run
from lithepose.train.evaluation.images import evaluate_images
from lithepose.train.recipe_parts import check_config
from lithepose.train.recipes import (
    LiftingRecipe,
    MotionRecipe,
    Recipe,
    changed,
    described,
    is_published,
    promises,
    recipe_named,
    recipe_of,
)
from lithepose.train.settings import found_device
from lithepose.train.tasks import shipped as supervised
from lithepose.train.tasks.images import DATASETS as IMAGE_DATASETS
from lithepose.train.tasks.images import ImageRecipe, ImageTask
from lithepose.train.tasks.lifting import LiftingTask, evaluate_lifter, lifter_of, network_of_recipe
from lithepose.train.tasks.poseclr import ENCODER_FILE
from lithepose.train.tasks.synthetic import SyntheticImageTask, SyntheticRecipe, SyntheticTest

# A batch is drawn in so many parts at least, so that up to as many processes can share it.
CHUNKS = 8


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
    """Train by a recipe, resuming what `folder` holds.

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
    if isinstance(recipe, MotionRecipe):
        shipped = changed(supervised.DEFAULT, changes)
        check_config(_config_of(shipped.lifter), shipped.overrides)
        model = supervised.fit(root, folder, shipped, settings, weights=start, report=report)
        return supervised.finish(model, folder, shipped)
    recipe = changed(recipe, changes)
    check_config(_config_of(recipe.network), recipe.overrides)
    if isinstance(recipe, SyntheticRecipe):
        task = SyntheticImageTask(recipe, root, start)
    elif isinstance(recipe, ImageRecipe):
        task = ImageTask(recipe, root, start)
    else:
        task = LiftingTask(recipe, root, start)
    optimisation = recipe.optimisation
    if not isinstance(recipe, SyntheticRecipe):  # whose pictures are drawn anew
        optimisation.check_batch(len(task.examples))
    if settings.validate_every is None:
        epoch = math.ceil(len(task.examples) / optimisation.batch)
        settings = replace(settings, validate_every=epoch)
    settings = replace(settings, chunk=min(settings.chunk, max(1, optimisation.batch // CHUNKS)))
    if settings.precision == "auto" and not isinstance(recipe, SyntheticRecipe):
        settings = replace(settings, precision="32")  # as all of the papers train
    for progress in run(task, optimisation, settings, folder, described=described(recipe)):
        report(progress)
    return [save_trained(recipe, folder)]


def _config_of(network: str) -> type:
    """The class of the config of a network of the tables."""
    if network in POSE_NETWORKS:
        return type(POSE_NETWORKS[network].config)
    return load_family(LIFTERS[network].family)[0].Config


def _check_start(path: Path, recipe: Recipe | MotionRecipe) -> None:
    """Refuse a file to begin with that cannot be read, or, of a lifter, a checkpoint of a run.

    Raises:
        FileNotFoundError, ValueError: as it says; of a checkpoint it names the file to take.
    """
    said = _described(path)
    if said is None or not isinstance(recipe, LiftingRecipe | MotionRecipe):
        return
    of = said.get("recipe", {})
    left = ENCODER_FILE if "pretraining" in of else f"{of.get('name', WEIGHTS)}.safetensors"
    raise ValueError(
        f"{path} is a checkpoint: begin with {path.parent / left}, which a run writes at its end "
        "(one that was broken off goes on when it is started again with the same --out)"
    )


def save_trained(recipe: Recipe, folder: Path) -> Path:
    """Write the network that a run has found best as a weights file with its recipe in it.

    Args:
        recipe: the run's.
        folder: of the run.

    Returns:
        `<folder>/<name of the recipe>.safetensors`. With refinement it holds the lifter without
        it; the run's own `best.safetensors` has both.
    """
    network, _ = read_trained(folder)
    path = folder / f"{recipe.name}.safetensors"
    checkpoint = _header_of(_checkpoint_of(folder))
    metadata = {
        "recipe": described(recipe),
        "source": recipe.source,
        "optimisation": asdict(recipe.optimisation),
        **{key: checkpoint[key] for key in ("step", "version", "commit") if key in checkpoint},
    }
    if isinstance(recipe, LiftingRecipe):
        dataset = protocol_named(recipe.protocol).dataset
        metadata["data"] = f"trained on {dataset}, whose terms hold for these weights too"
        save_weights(path, lifter_of(network), metadata)
        return path
    if isinstance(recipe, SyntheticRecipe):
        metadata["data"] = (
            "trained on synthetic people drawn by Lithepose, in poses by code and of the motion "
            "files named there (docs/data/mocap.md has their terms); no photograph"
        )
    else:
        dataset = {"coco": "COCO", "mpii": "MPII"}[recipe.dataset]
        metadata["data"] = f"trained on {dataset}, whose terms hold for these weights too"
    save_pose_network(path, network, metadata)
    return path


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
        network = (
            network_of_recipe(found)
            if isinstance(found, LiftingRecipe)
            else create_pose_network(found.network, **found.overrides)
        )
        try:
            network.load_state_dict(kept_weights(path))
        except RuntimeError as error:
            raise ValueError(f"{path} does not fit the recipe in it: {error}") from error
        return network.eval(), found
    weights = load_weights(path)
    if recipe is None:
        if not {"recipe", "optimisation"} <= weights.metadata.keys():
            raise ValueError(
                f"{path} does not say by which recipe it was trained: name one of "
                "lithepose train --list with --recipe"
            )
        written = recipe_of(weights.metadata["recipe"], weights.metadata["optimisation"])
        if not isinstance(written, LiftingRecipe):
            return load_pose_network(path), written
        recipe = written
    if recipe.refine:
        raise ValueError(
            f"{path} holds a lifter without the refinement that {recipe.name} trains: pass the "
            "folder of the run"
        )
    family = LIFTERS[recipe.network].family
    if weights.network != family:
        raise ValueError(f"{path} is a {weights.network!r}, {recipe.name} trains a {family!r}")
    return load_lifter(path), recipe


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


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How a network is measured.

    Attributes:
        protocols: of a lifter, keys in `PROTOCOLS`; the recipe's own if there are none. Of a pose
            network trained on synthetic people "synthetic", or the data set of photographs that has
            its joints, "coco" or "mpii"; "synthetic" if there are none.
        flip: average with the prediction of the mirrored input; None: as the recipe says.
        windows: of a lifter that gives all frames of a window, how sequences are cut into them:
            "last", "padded" or "inside" (`lithepose.metrics.protocols.WINDOWS`); None: as the
            recipe says.
        split: of a pose network, the part of the data set; None: the one that papers report, of
            synthetic people "test".
        boxes: of a pose network on COCO, a file of detected boxes in place of the annotated ones.
        decoder: of a pose network's heatmaps; None: as the recipe says.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto": a GPU if there is one.
    """

    protocols: tuple[str, ...] = ()
    flip: bool | None = None
    windows: Literal["last", "padded", "inside"] | None = None
    split: str | None = None
    boxes: Path | None = None
    decoder: Literal["quarter", "dark", "udp"] | None = None
    device: str = "cpu"


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
    flip = found.flip_test if settings.flip is None else settings.flip
    parts = [_origin(path, found)]
    if not isinstance(found, LiftingRecipe):
        if settings.windows:
            raise ValueError(f"{found.name} is a pose network: windows are of lifters")
        for name in _image_protocols(found, settings):
            if name == "synthetic":
                assert isinstance(found, SyntheticRecipe)
                parts.append(_on_synthetic(network, found, root, settings))
                continue
            results = evaluate_images(
                network,
                found.network,
                root,
                dataset=name,
                split=settings.split or IMAGE_DATASETS[name][2],
                boxes=settings.boxes,
                flip=flip,
                decoder=settings.decoder or found.decoder,
                device=settings.device,
            )
            parts.append(results.as_markdown())
        return "\n".join(parts).rstrip("\n") + "\n"
    if settings.split or settings.boxes or settings.decoder:
        raise ValueError(f"{found.name} is a lifter: split, boxes and decoder are of pose networks")
    network = network.to(settings.device)
    if settings.windows and found.test_windows == "per_frame":
        raise ValueError(
            f"{found.name} gives the centre of a window and is tested with one around every "
            "frame: leave windows out"
        )
    tested = replace(found, flip_test=flip, test_windows=settings.windows or found.test_windows)
    for name in settings.protocols or (found.protocol,):
        parts.append(_by_protocol(network, tested, root, name))
    return "\n".join(parts)


def _by_protocol(network: nn.Module, recipe: LiftingRecipe, root: Path, name: str) -> str:
    """The table of a lifter by one protocol."""
    rules = protocol_named(name)
    try:
        return evaluate_lifter(network, recipe, root, name).as_markdown()
    except FarRootError as error:
        if rules.predicted_root != "keep":
            raise
        # Its own words are for whoever measures poses of their own; here the network gave them.
        others = [
            other.name
            for other in PROTOCOLS.values()
            if (other.dataset, other.predicted_root) == (rules.dataset, "zero")
        ]
        instead = f", or measure it by {others[0]}, which sets the root to zero" if others else ""
        raise ValueError(
            f"{name} measures the root where the network puts it, and this one puts it more than "
            f"{ROOT_REACH_M} m from where it belongs, as it does after few steps of training: "
            f"train it longer{instead}"
        ) from error


def _image_protocols(
    recipe: ImageRecipe | SyntheticRecipe, settings: EvaluationSettings
) -> tuple[str, ...]:
    """What a pose network is measured on: "synthetic", "coco", "mpii".

    Raises:
        ValueError: a protocol that its joints do not fit, or that a network of photographs lacks.
    """
    if isinstance(recipe, ImageRecipe):
        if settings.protocols:
            raise ValueError(f"{recipe.name} is a pose network: protocols are of lifters")
        return (recipe.dataset,)
    joints = POSE_NETWORKS[recipe.network].skeleton
    known = ("synthetic", *(name for name, (own, *_) in IMAGE_DATASETS.items() if own == joints))
    for name in settings.protocols:
        if name not in known:
            raise ValueError(
                f"{recipe.name} is not measured by {name!r}; known: {', '.join(known)}"
            )
    return settings.protocols or known[:1]


def _on_synthetic(
    network: nn.Module, recipe: SyntheticRecipe, root: Path, settings: EvaluationSettings
) -> str:
    """The table of a network on synthetic people; the rules of photographs do not apply."""
    if settings.boxes or settings.flip:
        raise ValueError(
            "synthetic people are measured by their true boxes and without mirroring: leave boxes "
            "and flip out, or pass --protocol coco or mpii"
        )
    tested = replace(recipe, decoder=settings.decoder or recipe.decoder)
    test = SyntheticTest(tested, root, settings.split or "test")
    return test.measure(network.to(settings.device)).as_markdown()


def _origin(path: Path, recipe: Recipe) -> str:
    lines = [f"# {recipe.name}", "", f"Weights: `{path.name}`. Recipe: {recipe.source}."]
    if not is_published(recipe):
        lines.append("Trained with other settings than the recipe's of that name.")
    lines += [f"Note: {note}." for note in recipe.notes]
    lines += [f"Published: {promise}." for promise in promises(recipe)]
    return "\n".join(lines) + "\n"
