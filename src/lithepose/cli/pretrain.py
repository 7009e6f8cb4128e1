"""`lithepose pretrain`: pre-train a lifter's encoder without labels (PoseCLR)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from lithepose.cli.report import failing_clearly, printable
from lithepose.cli.train import given_settings, needing_extras, run_options


@click.command()
@click.argument("network")
@click.option(
    "--data",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder with cmu17_train.npz and cmu17_val.npz (docs/data/mocap.md), or with Human3.6M's "
    "files (docs/data/human36m.md).",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder of the run; a run that was broken off goes on from there.  "
    "[default: runs/NETWORK-poseclr]",
)
@click.option(
    "--keypoints",
    default="cpn_ft_h36m_dbb",
    show_default=True,
    help="Which 2D joints of Human3.6M; gt for the projected true ones.",
)
@click.option(
    "--set",
    "changes",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Replace a setting: temperature=0.07, bank=4096, learning_rate=5e-4, "
    "network.in_channels=4. May be repeated.",
)
@click.option("--steps", type=click.IntRange(1), help="Steps to train.  [default: 20000]")
@click.option("--batch", type=click.IntRange(1), help="Instants of one step.  [default: 256]")
@click.option("--seed", type=click.IntRange(0), help="Of all that is random.  [default: 1]")
@run_options
def pretrain(
    network: str,
    data: Path,
    out: Path | None,
    keypoints: str,
    changes: tuple[str, ...],
    steps: int | None,
    batch: int | None,
    seed: int | None,
    **settings: Any,
) -> None:
    """Pre-train NETWORK (such as nanohtnet-27-9) to tell instants apart from any side (PoseCLR).

    Needs no 3D poses: views of one instant are enough, from synchronised cameras or from virtual
    ones around motion capture. Writes OUT/log.csv and OUT/last.safetensors as it goes, and at the
    end OUT/encoder.safetensors, with which a training of the network can begin. Needs the extra
    "train".
    """
    with failing_clearly():
        from lithepose.pipeline.files import check_writable

        out = out or Path("runs") / f"{network}-poseclr"
        check_writable(out)
        for name, value in (("steps", steps), ("batch", batch), ("seed", seed)):
            changes += () if value is None else (f"{name}={value}",)
        with needing_extras("pre-training"):
            from lithepose.train.tasks.poseclr import RunSettings, changed
            from lithepose.train.tasks.poseclr import pretrain as run

            overrides, poseclr, optimisation = changed(changes)
            encoder = run(
                network,
                data,
                out,
                overrides=overrides,
                poseclr=poseclr,
                optimisation=optimisation,
                settings=RunSettings(**given_settings(settings)),
                keypoints=keypoints,
                report=_print,
            )
        click.echo(printable(encoder))


def _print(progress: Any) -> None:
    scores = progress.scores
    click.echo(
        f"step {progress.step} of {progress.steps}: loss {progress.loss:.3f}, "
        f"{progress.examples_per_s:.0f} instants/s"
        + (
            f", other view found for {100 * scores['retrieval']:.1f} %, among the best five for "
            f"{100 * scores['retrieval_5']:.1f} %; similarity {scores['alike']:.2f} of one "
            f"instant, {scores['unlike']:.2f} of two"
            if scores
            else ""
        )
    )
