"""`lithepose train`: train a network by a recipe; and what the commands that train have in common:
where a run computes, and the extra it needs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from lithepose.cli.report import failing_clearly, printable


def run_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that are fields of `lithepose.train.settings.RunSettings`.

    An option that is not given is None: `given_settings` leaves the default to `RunSettings`.
    """
    options = (
        click.option("--device", help="PyTorch device, such as cuda.  [default: a GPU if any]"),
        click.option(
            "--devices", type=click.IntRange(1), help="Devices of a machine.  [default: 1]"
        ),
        click.option("--nodes", type=click.IntRange(1), help="Machines.  [default: 1]"),
        click.option(
            "--precision",
            type=click.Choice(["auto", "32", "bf16"]),
            help="bf16: products in bfloat16; auto: bf16 where that is fast, but 32 for recipes "
            "of papers, which are trained so.  [default: auto]",
        ),
        click.option(
            "--workers",
            type=click.IntRange(0),
            help="Processes that draw batches ahead for each device.  [default: 1]",
        ),
        click.option(
            "--compile/--no-compile",
            "compiled",
            default=None,
            help="Compile the network: about a minute at the start, then faster.  [default: no]",
        ),
        click.option(
            "--chunk",
            type=click.IntRange(1),
            help="Examples that are drawn from one seed; a batch needs a chunk for every process. "
            "Another size draws other examples.  [default: 64; for recipes at most an eighth of "
            "the batch]",
        ),
        click.option("--save-every", type=click.IntRange(1), help="Steps between checkpoints."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def given_settings(options: dict[str, Any]) -> dict[str, Any]:
    """The options that were given."""
    return {name: value for name, value in options.items() if value is not None}


@contextmanager
def needing_extras(what: str, extras: str = "train") -> Iterator[None]:
    """Turns the lack of PyTorch or Lightning Fabric into a ValueError that says what to install.

    Args:
        what: the work that needs them, as the message begins.
        extras: of the package, separated by commas.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in ("torch", "lightning_fabric"):
            raise
        raise ValueError(
            f'{what} needs {error.name}, which is not installed: pip install "lithepose[{extras}]"'
        ) from error


@click.command()
@click.argument("name", required=False, metavar="RECIPE")
@click.option("--list", "listed", is_flag=True, help="Print the table of recipes and stop.")
@click.option(
    "--data",
    type=click.Path(path_type=Path),
    help="Folder of the data set's files (docs/data/).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run; a run that was broken off goes on from there.  [default: runs/RECIPE]",
)
@click.option(
    "--from",
    "start",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Weights (.safetensors) to begin with.  [default: random ones]",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Replace a value of the recipe: epochs=5, batch=64, network.layers=2. May be repeated.",
)
@run_options
@click.option(
    "--cuda-graphs",
    is_flag=True,
    default=None,
    help="On one GPU: capture a step's kernels once and replay them, several times faster for "
    "small networks.",
)
@click.option(
    "--validate-every",
    type=click.IntRange(1),
    help="Steps between validations.  [default: an epoch]",
)
def train(
    name: str | None,
    listed: bool,
    data: Path | None,
    out: Path | None,
    start: Path | None,
    changes: tuple[str, ...],
    **settings: Any,
) -> None:
    """Train a network by a recipe of the table (--list) on a data set that you have.

    Writes OUT/log.csv, OUT/recipe.json, the checkpoints OUT/last.safetensors and
    OUT/best.safetensors as it goes, and at the end the network as OUT/RECIPE.safetensors. Errors
    are in millimetres. Needs the extra "train".
    """
    with failing_clearly():
        from lithepose.train.recipes import as_markdown, recipe_named

        if listed:
            click.echo(as_markdown(), nl=False)
            return
        if name is None or data is None:
            raise ValueError(
                "say what to train and on which data: lithepose train RECIPE --data FOLDER; "
                "lithepose train --list shows the recipes"
            )
        recipe_named(name)  # before the slow imports
        from lithepose.pipeline.files import check_writable

        out = out or Path("runs") / name
        check_writable(out)
        with needing_extras("training"):
            from lithepose.train.runs import RunSettings, train_recipe

            files = train_recipe(
                name,
                data,
                out,
                RunSettings(**given_settings(settings)),
                changes=changes,
                start=start,
                report=_print,
            )
        for path in files:
            click.echo(printable(path))


def _print(progress: Any) -> None:
    scores = ", ".join(f"{k} {v:.1f}" for k, v in progress.scores.items())
    click.echo(
        f"step {progress.step} of {progress.steps}: loss {progress.loss:.4f}, "
        f"{progress.examples_per_s:.0f} examples/s"
        + (f", validation: {scores}{', the best' if progress.best else ''}" if scores else "")
    )
