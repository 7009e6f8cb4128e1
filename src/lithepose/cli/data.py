"""`lithepose data`: data sets on this machine."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from lithepose.cli import LazyGroup
from lithepose.cli.report import failing_clearly

if TYPE_CHECKING:
    from lithepose.datasets.inventory import Inventory

# Name of the command -> where it is, as in `lithepose.cli`.
COMMANDS = {
    "check": "lithepose.cli.data:check",
    "import-mocap": "lithepose.cli.data_mocap:import_mocap",
}


@click.group(cls=LazyGroup, table=COMMANDS)
def data() -> None:
    """Look after data sets: check what is there, import motion capture."""


@click.command()
@click.argument("root", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@click.option(
    "--depth", default=4, show_default=True, type=click.IntRange(0), help="Folders to go down."
)
def check(root: Path, as_json: bool, depth: int) -> None:
    """Say which data sets the folder ROOT holds, what is broken or missing, and what they allow.

    Knows Human3.6M, MPI-INF-3DHP, HumanEva-I, CMU motion capture, COCO and MPII. Every file found
    is read in full; nothing in it is run. Exit codes: 2 if a file is broken, or nothing is found.
    """
    with failing_clearly():
        from lithepose.datasets.inventory import as_record, as_text, take_inventory

        inventory = take_inventory(root, depth)
        if as_json:
            click.echo(json.dumps(as_record(inventory), indent=2))
        elif sys.stdout.isatty():
            _print_tables(inventory)
        else:
            click.echo(as_text(inventory))
        if inventory.broken:
            files = ", ".join(str(found.path) for found in inventory.broken)
            raise ValueError(f"cannot be used: {files}")
        if not inventory.found:
            raise ValueError(f"nothing of these data sets in {root}, {depth} folders deep")


def _print_tables(inventory: Inventory) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from lithepose.datasets.inventory import sections

    console, colours = Console(), {"found": "green", "broken": "red", "missing": "yellow"}
    for title, rows, terms in sections(inventory):
        table = Table("file", "", "what", title=title, title_justify="left")
        for file, state, purpose, note in rows:
            what = Text(f"{purpose}\n{note}" if note else purpose)
            table.add_row(Text(file), Text(state, colours[state]), what)
        console.print(table)
        console.print(Text("\n".join([*terms, ""])))
    for path in inventory.unread:
        console.print(Text(f"could not look into {path}"))
