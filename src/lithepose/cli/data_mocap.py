"""`lithepose data import-mocap`: originals of motion capture to motion files."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from lithepose.cli.report import failing_clearly, printable, progress_of

if TYPE_CHECKING:
    from lithepose.mocap.importing import ImportedTrials, SplitFile
    from lithepose.mocap.trials import Trial

_SPLITS = ("train", "val", "test", "all")


@click.command("import-mocap")
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("file", metavar="[OUT.npz]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    help="Folder for cmu17_train.npz, cmu17_val.npz and cmu17_test.npz, the files of training and "
    "benchmark; complete ones that are there already are kept.",
)
@click.option(
    "--split",
    type=click.Choice(_SPLITS),
    help="Trials of which subjects to import.  [default: each into its file with --out; all with "
    "--list; else train]",
)
@click.option(
    "--list",
    "trial_list",
    type=click.Path(path_type=Path),
    help="Text file with a trial such as 13_26 in every line, instead of the trials that the "
    "shipped model was trained on; for OUT.npz.",
)
def import_mocap(
    folder: Path, file: Path | None, out: Path | None, split: str | None, trial_list: Path | None
) -> None:
    """Rebuild motions of 17 joints from the CMU database's originals in FOLDER (.asf with .amc, or
    .bvh) and write motion files: metres, z up, 50 frames/s.

    With --out come the files of all splits, each with every trial or not at all; OUT.npz is a
    single file of what is found. docs/data/mocap_import.md says where the originals are. Exit
    codes: 2 wrong use, unreadable input or trials not found, 4 not written.
    """
    with failing_clearly():
        if out is not None and file is None:
            _import_splits(folder, out, split, trial_list)
        elif file is not None and out is None:
            _import_file(folder, file, split, trial_list)
        else:
            raise ValueError(
                "say where to write: --out FOLDER for the files of all splits, or OUT.npz for one"
            )


def _import_splits(folder: Path, out: Path, split: str | None, trial_list: Path | None) -> None:
    from lithepose.mocap.importing import FILE_SPLITS, import_split, originals_folder
    from lithepose.pipeline import WriteError, check_writable

    if split == "all" or trial_list is not None:
        raise ValueError(
            "--out writes the listed trials, a file for each split: name a single OUT.npz instead "
            "for --split all or for --list"
        )
    if out.suffix == ".npz":
        raise ValueError(f"--out is a folder: for the single file {out}, leave out --out")
    originals_folder(folder)  # before anything is made or kept
    check_writable(out)
    unfinished: dict[str, SplitFile] = {}
    for name in [split] if split else FILE_SPLITS:
        try:
            with progress_of() as report:
                made = import_split(
                    folder, out, name, lambda done, total, name=name: report(name, done, total)
                )
        except OSError as error:
            raise WriteError(str(error)) from error
        if made.problem:
            unfinished[name] = made
        else:
            _print_split(made)
    if unfinished:
        raise ValueError(_advice(folder, unfinished))


def _print_split(made: SplitFile) -> None:
    path = printable(made.path)
    if made.imported is None:
        click.echo(f"kept, with all {made.trials} trials (remove it to make it again):")
    else:
        _print_found(made.imported, made.trials)
        if made.replaced:
            click.echo(f"note: {path} lacked trials or was damaged and is replaced", err=True)
    click.echo(path)


def _advice(folder: Path, unfinished: dict[str, SplitFile]) -> str:
    made = unfinished.values()
    lines = [f"{printable(each.path)} is not written: {each.problem}" for each in made]
    lines += [
        f"Complete {printable(folder)} and run this again: finished files are kept.",
        "A single file takes what is there, but numbers from it compare with nothing:",
    ]
    lines += [
        f"  lithepose data import-mocap {_argument(folder)} {_argument(made.path)} --split {name}"
        for name, made in unfinished.items()
    ]
    return "\n".join(lines)


def _argument(path: Path) -> str:
    """A path as it is typed."""
    text = printable(path)
    return f'"{text}"' if " " in text else text


def _import_file(folder: Path, out: Path, split: str | None, trial_list: Path | None) -> None:
    from lithepose.mocap.importing import import_motions, write_motions
    from lithepose.mocap.trials import listed_trials, of_split, read_trial_list
    from lithepose.pipeline import WriteError, check_writable

    if out.suffix != ".npz":
        raise ValueError(
            f"{out} must be named .npz, the only form motions are written in; a folder for the "
            "files of all splits goes with --out"
        )
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
    click.echo(printable(out))


def _print_report(imported: ImportedTrials, trials: list[Trial]) -> None:
    _print_found(imported, len(trials))
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


def _print_found(imported: ImportedTrials, trials: int) -> None:
    click.echo(
        f"{imported.found} of {trials} trials found: {len(imported.clips)} clips, "
        f"{imported.seconds / 60:.1f} minutes"
    )
