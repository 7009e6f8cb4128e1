"""`lithepose data import-mocap`: originals of motion capture to a motion file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lithepose.cli.report import failing_clearly, progress_of

if TYPE_CHECKING:
    from lithepose.data.importing import Imported, Trial

_SPLITS = ("train", "val", "test", "all")


@click.command("import-mocap")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("out", type=click.Path(path_type=Path))
@click.option(
    "--split",
    type=click.Choice(_SPLITS),
    help="Trials of which subjects to import.  [default: train; all with --list]",
)
@click.option(
    "--list",
    "trial_list",
    type=click.Path(path_type=Path),
    help="Text file with a trial such as 13_26 in every line, instead of the trials that the "
    "shipped model was trained on.",
)
def import_mocap(folder: Path, out: Path, split: str | None, trial_list: Path | None) -> None:
    """Rebuild motions of 17 joints from the CMU database's originals in FOLDER (.asf with .amc, or
    .bvh) and write the motion file OUT (.npz): metres, z up, 50 frames/s.

    docs/data/mocap_import.md says where the originals are. Exit codes: 2 wrong use, unreadable
    input or no trial found, 4 not written.
    """
    with failing_clearly():
        from lithepose.data.importing import (
            import_motions,
            listed_trials,
            of_split,
            read_trial_list,
            write_motions,
        )
        from lithepose.pipeline.files import WriteError, check_writable

        if out.suffix != ".npz":
            raise ValueError(f"{out} must be named .npz, the only form motions are written in")
        try:
            check_writable(out.parent)
        except WriteError as error:
            raise WriteError(f"cannot write to {out.parent}: choose another OUT") from error
        if trial_list is None:
            trials = listed_trials(split or "train")
        else:
            trials = of_split(read_trial_list(trial_list), split or "all")
        with progress_of() as report:
            imported = import_motions(
                folder, trials, report=lambda done, total: report("trials", done, total)
            )
        _print_report(imported, trials)
        try:
            write_motions(out, imported.clips)
        except OSError as error:
            raise WriteError(str(error)) from error
        click.echo(out)


def _print_report(imported: Imported, trials: list[Trial]) -> None:
    click.echo(
        f"{imported.found} of {len(trials)} trials found: {len(imported.clips)} clips, "
        f"{imported.seconds / 60:.1f} minutes"
    )
    if imported.missing:
        click.echo(f"missing: {' '.join(imported.missing)}", err=True)
    for trial, why in imported.refused.items():
        click.echo(f"refused {trial}: {why}", err=True)
    kept_apart = sorted({t.subject for t in trials if t.split == "held back"})
    if kept_apart:
        click.echo(
            f"note: subjects {' '.join(kept_apart)} are held back for acceptance tests; "
            "don't train on them",
            err=True,
        )
