"""`lithepose models`: fetch the detector's model files and look after them."""

from __future__ import annotations

from pathlib import Path

import click

_FOLDER = click.option(
    "--models",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="Folder of the model files  [default: $LITHEPOSE_MODELS, else the user's cache folder]",
)


@click.group()
def models() -> None:
    """Fetch, find and check the files of the default detector."""


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
