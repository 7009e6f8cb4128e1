"""`lithepose convert`: a result to a file for another program."""

from __future__ import annotations

from pathlib import Path

import click

from lithepose.cli.report import failing_clearly, printable
from lithepose.formats import FORMATS, format_of, format_writer, read_result


@click.command()
@click.argument("result", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--format",
    "name",
    type=click.Choice(list(FORMATS)),
    help="What to write.  [default: what the name of OUT ends in]",
)
def convert(result: Path, out: Path, name: str | None) -> None:
    """Convert a result (.npz or .json) to a file for another program, such as walk.bvh.

    TRC, BVH and GLB are in metres, C3D in millimetres. Exit codes: 2 wrong use or unreadable input,
    4 not written.
    """
    with failing_clearly():
        from lithepose.formats.figure import note_of_holes
        from lithepose.pipeline import WriteError

        name = name or format_of(out)
        write = format_writer(name)
        if out.exists() and result.exists() and out.samefile(result):
            raise WriteError(f"{out} is the file to read: choose another name for the result")
        track = read_result(result)
        try:
            write(out, track)
        except OSError as error:
            raise WriteError(str(error)) from error
        click.echo(printable(out))
        lost = note_of_holes(track, [name])
        if lost is not None:
            click.echo(f"note: {lost}", err=True)
        if name not in ("npz", "json") and track.world is not None and not track.world.has_path:
            click.echo("note: the person's way is not known, so they move on the spot", err=True)
