"""`lithepose bench`: train and compare lifters on open motion capture."""

from __future__ import annotations

from pathlib import Path

import click

from lithepose.cli.report import failing_clearly, printable
from lithepose.cli.train import needing_extras


@click.command()
@click.argument("networks", nargs=-1)
@click.option(
    "--data",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with cmu17_train.npz, cmu17_val.npz and cmu17_test.npz (docs/data/mocap_import.md "
    "says how to make them).  [default: only write the page of what is there]",
)
@click.option(
    "--out",
    default=Path("runs/bench"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the results; finished runs are not done again.",
)
@click.option(
    "--size",
    default="small",
    show_default=True,
    help="small fits a processor (about an hour of one core a seed), standard a GPU.",
)
@click.option("--seeds", default=3, show_default=True, type=click.IntRange(1), help="Seeds 1 to N.")
@click.option("--page", type=click.Path(path_type=Path), help="Page.  [default: OUT/SIZE.md]")
@click.option("--device", default="auto", show_default=True, help="PyTorch device, such as cuda.")
@click.option(
    "--precision",
    default="32",
    show_default=True,
    type=click.Choice(["32", "bf16"]),
    help="32, or bf16: products in bfloat16. Results of the two are not compared.",
)
@click.option("--cuda-graphs", is_flag=True, help="On a GPU: replay each step as one graph.")
@click.option("--list", "listed", is_flag=True, help="Only list the networks.")
def bench(
    networks: tuple[str, ...],
    data: Path | None,
    out: Path,
    size: str,
    seeds: int,
    page: Path | None,
    device: str,
    precision: str,
    cuda_graphs: bool,
    listed: bool,
) -> None:
    """Train NETWORKS (all without any) under one budget, measure them, and write the results.

    LitheBench is defined in docs/benchmark.md. A benchmark that was broken off goes on where it
    was. Needs the extras "train" and "plot".
    """
    with failing_clearly():
        with needing_extras("the benchmark", "train,plot"):
            from lithepose.bench.networks import SIZES, entries
            from lithepose.bench.report import write_report
            from lithepose.bench.run import train_all
            from lithepose.train.settings import RunSettings
        if size not in SIZES:
            raise ValueError(f"no size named {size!r}; known: {', '.join(SIZES)}")
        if listed:
            click.echo("\n".join(entries(SIZES[size])))
            return
        if data is not None:
            settings = RunSettings(device=device, precision=precision, cuda_graphs=cuda_graphs)
            train_all(networks, size, range(1, seeds + 1), data, out, settings, report=click.echo)
        for path in write_report(out, size, page or out / f"{size}.md", report=click.echo):
            click.echo(printable(path))
