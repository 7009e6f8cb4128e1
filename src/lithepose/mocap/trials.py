"""The trials of the CMU database: which split and body each has, and what of it is used.

The bodies of the subjects, the split and the trials with the stretches used are data beside this
module (cmu_trials.json), so that everyone who imports the same originals gets the same motion file.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.anthropometry import (
    DRAWN_HEIGHTS_M,
    HEIGHT_SPREAD_M,
    SEGMENTS,
    STANDARD_HEIGHT_M,
)
from lithepose.mocap.figures import CMU_FPS
from lithepose.mocap.motions import FILE_NAMES


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A recording to import.

    Attributes:
        name: CMU's, such as `13_26`.
        subject: CMU's number of the person, such as `13`.
        split: `train`, `val`, `test` or `held back` (for acceptance tests).
        body: stature and segments in metres, by the names of `FILE_NAMES`.
        figure: the kind of file its stretches were chosen on; empty for an unlisted trial.
        fps: of that file.
        stretches: (first frame, frame after the last) of the recording, counted without added
            T-poses; none where it isn't listed.
    """

    name: str
    subject: str
    split: str
    body: Mapping[str, float]
    figure: str = ""
    fps: float = CMU_FPS
    stretches: tuple[tuple[int, int], ...] = ()


SPLITS = ("train", "val", "test", "all")
_TRIAL = re.compile(r"0*(\d+)_0*(\d+)")
# Files that the list was made from besides those of `FIGURES`: exponential maps of CMU's own
# figure, and DeepMimic's at 30 frames a second.
_LISTED_FPS = {"dm": 30.0}


@cache
def _table() -> dict[str, Any]:
    return json.loads((files("lithepose.mocap") / "cmu_trials.json").read_text("utf-8"))


def trial_name(name: str) -> str | None:
    """CMU's spelling of a trial: `2_1` and `002_01` are `02_01`."""
    match = _TRIAL.fullmatch(name)
    return f"{int(match[1]):02d}_{int(match[2]):02d}" if match else None


def left_out(name: str) -> str:
    """Why a trial is in no split; empty for one that may be used."""
    return _table()["left_out"].get(name, "")


def trial_named(name: str) -> Trial:
    """A trial by CMU's name, listed or not; an unlisted subject has a body drawn by its number.

    Raises:
        ValueError: that is no name of a trial.
    """
    found, table = trial_name(name), _table()
    if found is None:
        raise ValueError(f"{name!r} is no trial; expected subject and number, such as 13_26")
    subject = found.partition("_")[0]
    listed = table["trials"].get(found)
    if known := table["subjects"].get(subject):
        split, body = known["split"], dict(zip(FILE_NAMES, known["body"], strict=True))
    else:
        split = "held back" if subject in table["held_back"] else "train"
        body = _drawn_body(int(subject))
    trial = Trial(name=found, subject=subject, split=split, body=body)
    if listed is None:
        return trial
    return replace(
        trial,
        figure=listed["flavour"],
        fps=_LISTED_FPS.get(listed["flavour"], CMU_FPS),
        stretches=tuple((first, end) for first, end in listed["stretches"]),
    )


def _drawn_body(subject: int) -> dict[str, float]:
    random = np.random.default_rng(subject)
    height = float(np.clip(random.normal(STANDARD_HEIGHT_M, HEIGHT_SPREAD_M), *DRAWN_HEIGHTS_M))
    body = {"height": height}
    for name, mean in SEGMENTS.items():
        spread = 0.07 if name in ("hip_width", "shoulder_width") else 0.035
        body[name] = height * mean * (1 + spread * random.standard_normal())
    return body


def listed_trials(split: str = "all") -> list[Trial]:
    """The trials that the shipped model was trained, validated and tested on, of a split.

    Raises:
        ValueError: no such split.
    """
    return of_split([trial_named(name) for name in _table()["trials"]], split)


def of_split(trials: Iterable[Trial], split: str) -> list[Trial]:
    """Those of a split (`all`: every one). Subjects that no list names are of `train`.

    Raises:
        ValueError: no such split.
    """
    if split not in SPLITS:
        raise ValueError(f"no split is called {split!r}; known: {', '.join(SPLITS)}")
    return [trial for trial in trials if split in ("all", trial.split)]


def read_trial_list(path: str | os.PathLike[str]) -> list[Trial]:
    """Read a text file that names a trial in every line; what follows a # is a comment.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a line is no name of a trial or names one again, or none is named.
    """
    path = Path(path)
    trials: dict[str, Trial] = {}
    try:
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no text file: {error}") from error
    for number, line in enumerate(text.splitlines(), 1):
        name = line.partition("#")[0].strip()
        if not name:
            continue
        try:
            trial = trial_named(name)
            if trial.name in trials:
                raise ValueError(f"{trial.name} is named twice")
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        trials[trial.name] = trial
    if not trials:
        raise ValueError(f"{path} names no trial")
    return list(trials.values())
