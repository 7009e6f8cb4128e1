"""`lithepose demo`: lift a clip of a rendered person and compare with the truth."""

from __future__ import annotations

from pathlib import Path

import click

from lithepose.cli.report import failing_clearly, print_summary, progress_of


@click.command()
@click.option(
    "--out",
    default=Path("lithepose-demo"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the clip and the results.",
)
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the 2D model files.  [default: fetched once and kept]",
)
@click.option("--video/--no-video", default=True, help="Also write an MP4 with the 3D beside it.")
def demo(out: Path, models: Path | None, video: bool) -> None:
    """Lift six seconds of a rendered person as any video, and say how far off the result is."""
    with failing_clearly():
        from lithepose.pipeline.demo import run_demo

        with progress_of() as report:
            result = run_demo(out, models=models, video=video, report=report)
        print_summary(result.lifted)
        click.echo(
            f"against the exact truth: {result.mpjpe_mm:.0f} mm MPJPE, {result.p_mpjpe_mm:.0f} mm "
            "P-MPJPE over the twelve limb joints"
        )
