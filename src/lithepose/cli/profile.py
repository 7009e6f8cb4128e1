"""`lithepose profile`: what a network costs on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from lithepose.cli.report import failing_clearly
from lithepose.lazy import needing_torch


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@click.option("--threads", default=1, show_default=True, help="CPU threads of the network.")
@click.option(
    "--seconds", default=2.0, show_default=True, help="About how long to measure each, in seconds."
)
@click.option(
    "-o",
    "--out",
    multiple=True,
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write there as well: .md (Markdown) or .json. May be repeated.",
)
def profile(names: tuple[str, ...], threads: int, seconds: float, out: tuple[Path, ...]) -> None:
    """Count a network's parameters, MACs and FLOPs, and measure its latency (ms) and peak memory.

    NAME is a lifter or a pose network of `lithepose models`. Prints Markdown. A MAC is one
    multiply-add of a matrix product or convolution, attention and graph convolutions included;
    FLOPs are twice the MACs, and what the network's publications count stands beside them. Latency
    is of one clip, or one crop, on this CPU, with random weights. Needs the extra "train".
    """
    with failing_clearly():
        with needing_torch("profiling", ValueError):
            from lithepose.deploy import report
        for path in out:
            report.check_format(path)
        profiles = [
            report.profile_network(name, threads=threads, seconds=seconds) for name in names
        ]
        click.echo(report.to_markdown(profiles), nl=False)
        for path in out:
            report.write_profiles(path, profiles)
