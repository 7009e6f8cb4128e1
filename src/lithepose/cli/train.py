"""`lithepose train`: train the default lifter from motion capture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lithepose.cli.report import failing_clearly


@click.command()
@click.option(
    "--motions",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with cmu17_train.npz and cmu17_val.npz (docs/data/mocap.md).",
)
@click.option(
    "--out",
    default=Path("runs/default"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder of the run; a run that was broken off goes on from there.",
)
@click.option(
    "--from",
    "weights",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Weights (.safetensors) to begin with.  [default: random ones]",
)
@click.option("--windows", type=click.IntRange(1), help="Windows to train on in all.")
@click.option(
    "--learning-rate",
    type=click.FloatRange(0, min_open=True),
    help="The highest learning rate.  [default: 0.003]",
)
@click.option(
    "--decay",
    type=click.FloatRange(0, 1),
    help="Last share of the run, in which the learning rate falls to zero.  [default: 0.4]",
)
@click.option("--device", help="PyTorch device, such as cuda.  [default: cpu]")
@click.option(
    "--workers",
    type=click.IntRange(0),
    help="Processes that draw windows ahead; a GPU needs many.  [default: 1]",
)
@click.option(
    "--compile/--no-compile",
    "compiled",
    default=None,
    help="Compile the network: minutes at the start, on most machines faster afterwards.",
)
@click.option("--threads", default=1, show_default=True, help="CPU threads of the network.")
@click.option("--seed", type=int, help="Of the first weights and of all data.")
def train(motions: Path, out: Path, weights: Path | None, threads: int, **loop: Any) -> None:
    """Train the default lifter: virtual cameras over motion capture, with a detector's errors.

    Writes OUT/log.csv and OUT/checkpoint.safetensors as it goes, and at the end
    OUT/lithepose-81-9.safetensors and .onnx. Needs the extra "train".
    """
    with failing_clearly():
        try:
            from lithepose.train.supervised import finish, fit, recipe_with
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
            raise ValueError(
                'training needs PyTorch, which is not installed: pip install "lithepose[train]"'
            ) from error
        from lithepose.pipeline.files import check_writable

        check_writable(out)
        recipe = recipe_with({name: value for name, value in loop.items() if value is not None})

        def report(progress: Any) -> None:
            scores = ", ".join(f"{k} {v:.1f}" for k, v in progress.validation.items())
            click.echo(
                f"step {progress.step} of {progress.steps}: loss {progress.loss:.4f}, "
                f"{progress.windows_per_s:.0f} windows/s, validation in mm: {scores}"
            )

        model = fit(motions, out, recipe, weights=weights, threads=threads, report=report)
        for path in finish(model, out, recipe):
            click.echo(path)
