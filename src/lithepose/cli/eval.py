"""`lithepose eval`: measure a trained network by the protocols of the published tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lithepose.cli.report import failing_clearly
from lithepose.lazy import needing_torch


class _Windows(click.Choice):  # type: ignore[type-arg]
    """Also takes the former name of padded windows."""

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        return super().convert("padded" if value == "centred" else value, param, ctx)


@click.command("eval")
@click.argument("weights", metavar="WEIGHTS|RUN_DIR", type=click.Path(path_type=Path))
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, exists=True),
    help="Folder of the data set's files (docs/data/).",
)
@click.option(
    "--protocol",
    "protocols",
    multiple=True,
    metavar="NAME",
    help="A table of docs/guides/protocols.md; of a pose network trained on synthetic people: "
    "synthetic, coco, mpii. May be repeated.  [default: the recipe's]",
)
@click.option(
    "--recipe",
    "name",
    help="The recipe of weights that do not say theirs, such as converted ones of authors.",
)
@click.option(
    "--flip/--no-flip",
    default=None,
    help="Average with the prediction of the mirrored input.  [default: as the recipe says]",
)
@click.option(
    "--windows",
    type=_Windows(["last", "padded", "inside"]),
    help="How a lifter of all frames of a window cuts sequences: the last window at the end (as "
    "MixSTE), padded at both ends (as HoT), or full ones only.  [default: as the recipe says]",
)
@click.option("--split", help="Part of the pictures.  [default: the one that papers report]")
@click.option(
    "--boxes",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="COCO: a file of detected boxes (JSON).  [default: the annotated ones]",
)
@click.option(
    "--decoder",
    type=click.Choice(["quarter", "dark", "udp"]),
    help="How joints are read from heatmaps.  [default: as the recipe says]",
)
@click.option("--device", default="cpu", show_default=True, help="PyTorch device, such as cuda.")
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the tables there as well (Markdown).",
)
def evaluate(
    weights: Path, data: Path, name: str | None, out: Path | None, **settings: Any
) -> None:
    """Measure a trained network on a data set's test part.

    Prints the table as papers have it, errors in millimetres and scores in percent, and beneath it
    all that the numbers depend on. --windows is for lifters, --protocol for lifters and pose
    networks trained on synthetic people; --split, --boxes and --decoder for pose networks. Needs
    the extra "train".
    """
    with failing_clearly():
        from lithepose.files import atomic_write
        from lithepose.train.recipes import LiftingRecipe, recipe_named

        recipe = recipe_named(name) if name is not None else None
        if recipe is not None and not isinstance(recipe, LiftingRecipe):
            raise ValueError(f"--recipe names a recipe of a lifter, and {name} is none")
        try:
            with needing_torch("evaluation", ValueError):
                from lithepose.train.runs import EvaluationSettings, evaluate_run

                tables = evaluate_run(weights, data, EvaluationSettings(**settings), recipe)
        except ModuleNotFoundError as error:
            raise ValueError(str(error)) from error  # it names the extra
        click.echo(tables, nl=False)
        if out is not None:
            with atomic_write(out) as temporary:
                temporary.write_text(tables, encoding="utf-8")
