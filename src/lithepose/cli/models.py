"""`lithepose models`: the networks there are, checkpoints from elsewhere, the detector's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from lithepose.cli.report import failing_clearly
from lithepose.cli.training import needing_extras

_FOLDER = click.option(
    "--models",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the model files  [default: $LITHEPOSE_MODELS, else the user's cache folder]",
)


@click.group(invoke_without_command=True)
@click.pass_context
def models(context: click.Context) -> None:
    """List the networks; import checkpoints; fetch and check the detector's files.

    Without a command, the tables of lifters and of pose networks.
    """
    if context.invoked_subcommand is None:
        context.invoke(table)


@models.command()
@click.option("--markdown", is_flag=True, help="As a Markdown table.")
def table(markdown: bool) -> None:
    """List the lifters: frames in and out of a clip, parameters, MACs per clip and per output
    frame, licences, source. Then the pose networks: width and height of a crop in pixels, joint
    set, parameters, MACs per crop and what publications of such networks count, licences, source.

    A MAC is one multiply-add of a matrix product or convolution, attention and graph convolutions
    included.
    """
    from lithepose.detect import sizes as pose_networks
    from lithepose.lifters import table as lifters

    lines = lifters.table()
    click.echo(lifters.as_markdown(lines) if markdown else lifters.as_text(lines))
    click.echo()
    click.echo(pose_networks.as_markdown() if markdown else pose_networks.as_text())


def _option(context: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> Any:
    del context, parameter
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals:
            raise click.BadParameter(f"{text!r} is not NAME=VALUE")
        try:
            options[name] = json.loads(value)
        except json.JSONDecodeError:
            options[name] = value
    return options


@models.command("import")
@click.argument("file", type=click.Path(path_type=Path))
@click.option(
    "--as", "name", required=True, metavar="NAME", help="The lifter, as in the table; or a network."
)
@click.option(
    "-o", "--out", required=True, type=click.Path(path_type=Path), help="The file to write."
)
@click.option(
    "--option",
    "options",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_option,
    help="An option of the authors' program that it was trained with, where --as names a network "
    "such as mixste and not a size of it. May be repeated.",
)
def import_checkpoint(file: Path, name: str, out: Path, options: dict[str, Any]) -> None:
    """Convert a checkpoint of a network's authors (.pth, .pth.tr, .bin) to a weights file.

    Every tensor must be there and no other; the file cannot run code. Needs the extra "train".
    """
    with failing_clearly():
        with needing_extras("importing"):
            from lithepose.lifters.checkpoints import import_weights
        imported = import_weights(file, name, out, **options)
        click.echo(f"{out}: {imported.network}, {imported.parameters:,} parameters")


@models.command()
@_FOLDER
@click.option(
    "--wheel",
    type=click.Path(path_type=Path),
    help="Take the files from this mediapipe 0.10.21 wheel (any platform); nothing is downloaded.",
)
def fetch(folder: Path | None, wheel: Path | None) -> None:
    """Get the model files through pip or uv (36 MB are transferred, 9.4 MB kept)."""
    from lithepose.assets import ModelsError, fetch_models

    try:
        fetch_models(folder, wheel, report=click.echo)
    except (ModelsError, OSError) as error:
        raise click.ClickException(str(error)) from error


@models.command()
@_FOLDER
def path(folder: Path | None) -> None:
    """Print the folder that model files are read from."""
    from lithepose.assets import models_folder

    click.echo(models_folder(folder))


@models.command("list")
@_FOLDER
def list_models(folder: Path | None) -> None:
    """List the model files: name, size in MB, and whether the file is there and intact."""
    from lithepose.assets import MODELS, file_state, models_folder

    place = models_folder(folder)
    click.echo(place)
    for name, model in MODELS.items():
        click.echo(f"{name:20} {model.size / 1e6:5.1f} MB  {file_state(name, place)}")
