"""From folders of originals of motion capture (ASF/AMC, BVH) to motion files of 17 joints."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.arrays import Floats
from lithepose.files import atomic_write
from lithepose.mocap.figures import (
    FIGURES,
    Limbs,
    guess_figure,
    on_the_floor,
    positions17,
    read_limbs,
    usable_stretches,
)
from lithepose.mocap.motions import FILE_NAMES, read_motions
from lithepose.mocap.trials import Trial, left_out, listed_trials, trial_name

MOTION_FPS = 50.0  # of the files made

# ---- Finding and importing -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ImportedClip:
    """A stretch of a trial as 17 joints.

    Attributes:
        trial: where it is from.
        segment: its number within the trial.
        joints: (T, 17, 3) metres, z up, at `MOTION_FPS`.
        figure: which of `FIGURES` the file was.
        source: the file, seen from the folder of originals.
        source_fps: its frames per second.
        frames: (first, after the last) of the recording, counted without added T-poses.
    """

    trial: Trial
    segment: int
    joints: Floats
    figure: str
    source: str
    source_fps: float
    frames: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ImportedTrials:
    """What became of a list of trials.

    Attributes:
        clips: of all trials found, in the list's order.
        missing: names of trials without a file.
        refused: name of each trial whose file can't be used -> why.
    """

    clips: list[ImportedClip] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    refused: dict[str, str] = field(default_factory=dict)

    @property
    def found(self) -> int:
        """Trials that were imported."""
        return len({clip.trial.name for clip in self.clips})

    @property
    def seconds(self) -> float:
        return sum(len(clip.joints) for clip in self.clips) / MOTION_FPS


def originals_folder(folder: str | os.PathLike[str]) -> Path:
    """The folder of originals, which must be there.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file, such as a packed archive.
    """
    folder = Path(folder)
    if folder.is_file():
        raise NotADirectoryError(f"{folder} is a file: unpack it and name the folder")
    if not folder.is_dir():
        raise FileNotFoundError(
            f"no folder of originals at {folder}: see docs/data/mocap_import.md"
        )
    return folder


def import_motions(
    folder: str | os.PathLike[str],
    trials: Sequence[Trial],
    report: Callable[[int, int], None] | None = None,
) -> ImportedTrials:
    """Find trials among originals, and put them on bodies.

    Files may lie at any depth, as in CMU's `subjects/02/02_01.amc` with `subjects/02/02.asf`; what
    counts is that a name ends in subject and trial. Of several files of a trial, the one of the
    kind that the list was made from is taken, else AMC before BVH.

    Args:
        folder: the originals.
        trials: what to import.
        report: called with the number of trials done and that of all.

    Raises:
        FileNotFoundError: there is no such folder.
        NotADirectoryError: it is a file, such as a packed archive.
    """
    folder = originals_folder(folder)
    motions, skeletons = _index(folder)
    imported = ImportedTrials()
    for done, trial in enumerate(trials, 1):
        try:
            path = _choose(trial, motions.get(trial.name, []))
            if path is None:
                imported.missing.append(trial.name)
            else:
                imported.clips.extend(_clips(trial, path, skeletons, folder))
        except (ValueError, OSError) as error:
            imported.refused[trial.name] = str(error)
        if report is not None:
            report(done, len(trials))
    return imported


def _index(folder: Path) -> tuple[dict[str, list[Path]], dict[str, list[Path]]]:
    """The motion files of each trial and the skeletons of each subject."""
    motions, skeletons = defaultdict(list), defaultdict(list)
    for path in sorted(folder.rglob("*")):
        kind = path.suffix.lower()
        if kind == ".asf" and path.stem.isdecimal():
            skeletons[f"{int(path.stem):02d}"].append(path)
        elif kind in (".amc", ".bvh"):
            # Some releases put a word in front, such as `daz_02_01.bvh`.
            match = re.search(r"(?:^|[^0-9])([0-9]+_[0-9]+)$", path.stem)
            if match and (name := trial_name(match[1])):
                motions[name].append(path)
    return motions, skeletons


def _choose(trial: Trial, paths: list[Path]) -> Path | None:
    if why := left_out(trial.name):
        raise ValueError(f"{why}, so it is left out")
    if len(paths) < 2:
        return paths[0] if paths else None
    kinds = {path: _peek(path) for path in paths}
    for kind in sorted(FIGURES, key=lambda kind: kind != trial.figure):
        fitting = [path for path in paths if kinds[path] == kind]
        if len(fitting) > 1:
            raise ValueError(f"{fitting[0]} and {fitting[1]} are both of it: keep one of them")
        if fitting:
            return fitting[0]
    return paths[0]  # of no known kind, which reading it will say


def _peek(path: Path) -> str:
    """Which of `FIGURES` a file seems to be, without reading its motion."""
    if path.suffix.lower() == ".amc":
        return "amc"
    with path.open("rb") as file:
        head = file.read(1 << 16).decode("latin-1").partition("MOTION")[0]
    try:
        return guess_figure(re.findall(r"(?:ROOT|JOINT)\s+(\S+)", head))
    except ValueError:
        return ""


def _clips(
    trial: Trial, path: Path, skeletons: dict[str, list[Path]], folder: Path
) -> list[ImportedClip]:
    skeleton = _skeleton_of(path, skeletons.get(trial.subject, []))
    limbs, figure = read_limbs(path, skeleton=skeleton)
    known = FIGURES[figure]
    listed = trial.stretches
    stretches = _in_file(trial, limbs, figure) if listed else usable_stretches(limbs, known.lead)
    # A clip needs two frames, which only a listed stretch at the end of a cut file can lack.
    shortest = 1 + int(limbs.fps / MOTION_FPS)
    stretches = [(first, end) for first, end in stretches if end - first > shortest]
    if not stretches:
        raise ValueError(f"{path} has no 0.6 s of motion without leaps")
    resampled = [limbs[first:end].resampled(MOTION_FPS) for first, end in stretches]
    positions = [positions17(each, trial.body) for each in resampled]
    joints = on_the_floor(positions, trial.body["height"])
    return [
        ImportedClip(
            trial=trial,
            segment=number,
            joints=each.astype(np.float32),
            figure=figure,
            source=path.relative_to(folder).as_posix(),
            source_fps=limbs.fps,
            frames=(first - known.rest, end - known.rest),
        )
        for number, (each, (first, end)) in enumerate(zip(joints, stretches, strict=True))
    ]


def _skeleton_of(path: Path, skeletons: list[Path]) -> Path | None:
    if path.suffix.lower() != ".amc":
        return None
    found = [each for each in skeletons if each.parent == path.parent] or skeletons
    if len(found) != 1:
        several = f"there are {len(found)}, " if found else ""
        raise ValueError(
            f"{path} needs its subject's skeleton beside it: {several}"
            f"put {path.stem.rpartition('_')[0]}.asf into the same folder"
        )
    return found[0]


def _in_file(trial: Trial, limbs: Limbs, figure: str) -> list[tuple[int, int]]:
    """The listed stretches in frames of this file, which may be of another kind and rate."""
    known = FIGURES[figure]
    # 120.00005 in one file and 120 in another are the same rate.
    ratio = limbs.fps / trial.fps
    ratio = 1.0 if abs(ratio - 1) < 1e-3 else ratio
    stretches = [
        (round(first * ratio) + known.rest, round((end - 1) * ratio) + 1 + known.rest)
        for first, end in trial.stretches
    ]
    last = stretches[-1][1]
    # Conversions lose a frame or two at the end.
    if last > len(limbs) + 0.1 * limbs.fps:
        raise ValueError(
            f"the list uses {last} frames of it, the file has {len(limbs)}: it is another trial, "
            "or cut"
        )
    return [(max(first, known.lead), min(end, len(limbs))) for first, end in stretches]


# ---- Writing -------------------------------------------------------------------------------------


def write_motions(path: str | os.PathLike[str], clips: Sequence[ImportedClip]) -> None:
    """Write clips as a motion file, which `lithepose.mocap.motions.read_motions` reads.

    Raises:
        ValueError: there are no clips.
        OSError: the place cannot be written to; nothing is left behind.
    """
    if not clips:
        raise ValueError("there is no clip to write: no trial was found that can be used")
    lengths = [len(clip.joints) for clip in clips]
    arrays: dict[str, Any] = {
        "pos": np.concatenate([clip.joints for clip in clips]).astype(np.float32),
        "clip_start": np.cumsum([0, *lengths], dtype=np.int64),
        "fps": np.array(MOTION_FPS, np.float32),
        "clip": np.array([clip.trial.name for clip in clips]),
        "segment": np.array([clip.segment for clip in clips]),
        "subject": np.array([clip.trial.subject for clip in clips]),
        "source_kind": np.array([clip.figure for clip in clips]),
        "source_path": np.array([clip.source for clip in clips]),
        "source_fps": np.array([clip.source_fps for clip in clips], np.float32),
        "source_frames": np.array([clip.frames for clip in clips]),
        "body_names": np.array(list(FILE_NAMES.values())),
        "body": np.array(
            [[clip.trial.body[name] for name in FILE_NAMES] for clip in clips], np.float32
        ),
    }
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **arrays)


# ---- The files of all splits ---------------------------------------------------------------------

# Each is a motion file under the name by which training and benchmark look for it.
FILE_SPLITS = ("train", "val", "test")
_SPLIT_FILE = "cmu17_{}.npz"


@dataclass(frozen=True, kw_only=True)
class SplitFile:
    """What became of the motion file of a split.

    Attributes:
        path: where it belongs.
        trials: how many it must hold.
        imported: what was found; None if a complete file was there already, which is kept.
        replaced: whether it took the place of a file that lacked trials or was damaged.
        problem: why it is not written; empty if it is there.
    """

    path: Path
    trials: int
    imported: ImportedTrials | None = None
    replaced: bool = False
    problem: str = ""


def import_split(
    folder: str | os.PathLike[str],
    out: str | os.PathLike[str],
    split: str,
    report: Callable[[int, int], None] | None = None,
) -> SplitFile:
    """Write `cmu17_<split>.npz` with all listed trials of a split, unless it is there.

    A number measured on some of the trials compares with nothing, so a file that would lack one is
    not written.

    Args:
        folder: the originals.
        out: the folder of motion files.
        split: one of `FILE_SPLITS`.
        report: called with the number of trials done and that of all.

    Raises:
        FileNotFoundError: there is no folder of originals.
        NotADirectoryError: it is a file, such as a packed archive.
        ValueError: no such split.
        OSError: the file cannot be written; nothing is left behind.
    """
    if split not in FILE_SPLITS:
        raise ValueError(f"no file is for the split {split!r}; known: {', '.join(FILE_SPLITS)}")
    path = Path(out) / _SPLIT_FILE.format(split)
    trials = listed_trials(split)
    if _has_all(path, trials):
        return SplitFile(path=path, trials=len(trials))
    imported = import_motions(folder, trials, report)
    if problem := _lacking(imported, len(trials)):
        return SplitFile(path=path, trials=len(trials), imported=imported, problem=problem)
    replaced = path.exists()
    write_motions(path, imported.clips)
    return SplitFile(path=path, trials=len(trials), imported=imported, replaced=replaced)


def _has_all(path: Path, trials: Sequence[Trial]) -> bool:
    """Whether a motion file is there that can be read and has these trials, maybe among others."""
    try:
        return {trial.name for trial in trials} <= set(read_motions(path).clip.tolist())
    except (ValueError, OSError):
        return False


def _lacking(imported: ImportedTrials, count: int) -> str:
    if len(imported.missing) == count:
        return f"none of its {count} trials was found, such as {imported.missing[0]}.amc"
    refused = "; ".join(f"{trial} ({why})" for trial, why in imported.refused.items())
    states = {
        "missing": (imported.missing, " ".join(imported.missing)),
        "refused": (imported.refused, refused),
    }
    return "; ".join(
        f"{len(trials)} of its {count} trials are {state}: {said}"
        for state, (trials, said) in states.items()
        if trials
    )
