"""From the originals of motion capture (ASF/AMC, BVH) to motion files of 17 joints.

What is recorded is how limbs are directed; what a copy of the database says of their lengths is
often a puppet's. So poses are rebuilt: directions from the file, lengths from a body. The bodies of
the subjects, the split and the trials with the stretches used are data beside this module
(cmu_trials.json), so that everyone who imports the same originals gets the same motion file.

Source axes are y up; figures face +z in their rest pose. Made positions are z up.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.anthropometry import (
    ANKLE_HEIGHT,
    DRAWN_HEIGHTS_M,
    HEIGHT_SPREAD_M,
    SEGMENTS,
    STANDARD_HEIGHT_M,
)
from lithepose.arrays import Floats
from lithepose.files import atomic_write
from lithepose.formats.asfamc import INCH_M, read_amc, read_asf
from lithepose.formats.bvh import read_bvh
from lithepose.mocap.motions import FILE_NAMES, read_motions
from lithepose.rotations import from_quaternions, slerp, to_quaternions

MOTION_FPS = 50.0  # of the files made
_CMU_FPS = 120.0  # of AMC files, which don't say
_SIDES = ("right", "left")
_LIMBS = ("thigh", "shin", "upper_arm", "forearm")


# ---- The four kinds of figures -------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class _Figure:
    """Where a kind of file has what the recipe needs.

    Attributes:
        unit_m: metres of a unit of length, for BVH files, which don't say.
        joints: the nodes at hip, knee, ankle, shoulder, elbow and wrist, {} for the side.
        sides: what stands there for right and left.
        spine: the spine point is the middle of these nodes.
        head: the node that is turned as the head is.
        lead: frames of the file before the first that can be used: an added T-pose and what
            blends from it.
        rest: frames added to the recording at its beginning, so that frame `rest` is the
            recording's first.
    """

    unit_m: float
    joints: tuple[str, ...]
    sides: tuple[str, str]
    spine: tuple[str, ...]
    head: str
    lead: int
    rest: int

    def joint(self, at: int, side: str) -> str:
        return self.joints[at].format(self.sides[_SIDES.index(side)])

    def nodes(self) -> set[str]:
        named = {self.joint(at, side) for at in range(len(self.joints)) for side in _SIDES}
        return named | {*self.spine, self.head}


FIGURES = {
    # CMU's own. Its bones are named by the joint they begin at; here by the one they end at.
    "amc": _Figure(
        unit_m=INCH_M / 0.45,
        joints=("{}hipjoint", "{}femur", "{}tibia", "{}clavicle", "{}humerus", "{}radius"),
        sides=("r", "l"), spine=("lowerback",), head="head", lead=0, rest=0,
    ),
    # BVH made by amc2bvh.
    "max": _Figure(
        unit_m=INCH_M / 0.45,
        joints=("{}Hip", "{}Knee", "{}Ankle", "{}Shoulder", "{}Elbow", "{}Wrist"),
        sides=("Right", "Left"), spine=("Chest",), head="Head", lead=3, rest=1,
    ),
    # The "Daz-friendly" BVH release.
    "daz": _Figure(
        unit_m=0.01,
        joints=("{}Thigh", "{}Shin", "{}Foot", "{}Shldr", "{}ForeArm", "{}Hand"),
        sides=("r", "l"), spine=("abdomen", "chest"), head="head", lead=11, rest=1,
    ),
    # BVH of Reallusion's figure; the T-pose stands in the place of the first two frames.
    "iclone": _Figure(
        unit_m=0.01,
        joints=tuple(f"CC_Base_{{}}_{name}" for name in
                     ("Thigh", "Calf", "Foot", "Upperarm", "Forearm", "Hand")),
        sides=("R", "L"), spine=("CC_Base_Spine02",), head="CC_Base_Head", lead=2, rest=0,
    ),
}  # fmt: skip
# The puppet's joints lie beside the limbs' axes, so limbs are directed as these vectors of the
# joints' own axes. Measured against the same recordings as ASF/AMC, subjects 01 to 03.
_DAZ_LIMBS = {
    "left": ((-0.01317, -0.99587, -0.08983), (-0.01403, -0.99587, -0.08974),
             (0.98969, -0.14323, -0.00032), (0.98997, -0.14129, 0.00054)),
    "right": ((0.00577, -0.99579, -0.09143), (0.00613, -0.99615, -0.08744),
              (-0.98981, -0.14237, -0.00275), (-0.98941, -0.14511, -0.00128)),
}  # fmt: skip
# amc2bvh leaves out the thorax bone: this many units along the Y axis of the node before it.
_MAX_THORAX = 2.068
_MAX_CHEST = "Chest2"
# From CMU's head to one that looks ahead: 15.8 degrees down, and 0.4 degrees to the side that came
# with the subjects it was measured on.
_GAZE = np.array(
    [[0.99997, 0.00721, -0.00254], [-0.00624, 0.96235, 0.27175], [0.00441, -0.27173, 0.96236]]
)


def guess_figure(names: Iterable[str]) -> str:
    """Which of `FIGURES` has such nodes.

    Raises:
        ValueError: none has.
    """
    found = set(names)
    for name, figure in FIGURES.items():
        if figure.nodes() <= found:
            return name
    raise ValueError(
        "its joints are named as in none of the known kinds of files: "
        + "; ".join(f"{name} ({figure.joint(0, 'left')} ...)" for name, figure in FIGURES.items())
    )


@dataclass(frozen=True, kw_only=True)
class Limbs:
    """What the recipe takes from a recording, T frames; y up, metres of the source's figure.

    Attributes:
        fps: frames per second.
        pelvis: (T, 3) the middle of the hips.
        leg_m: thigh and shin of the figure, which scales its way over the floor.
        hips: (T, 3) unit vectors from the right hip to the left.
        trunk: (T, 3) from the middle of the hips to the middle of the shoulders.
        spine: (T, 3) from the middle of the hips to the spine point.
        shoulders: (T, 3) from the right shoulder to the left.
        head: (T, 3, 3) turn of the head; at rest it faces +z with the vertex along +y.
        directions: (T, 2, 4, 3) unit vectors along thigh, shin, upper arm and forearm of the right
            and left side.
    """

    fps: float
    pelvis: Floats
    leg_m: float
    hips: Floats
    trunk: Floats
    spine: Floats
    shoulders: Floats
    head: Floats
    directions: Floats

    def __len__(self) -> int:
        return len(self.pelvis)

    def __getitem__(self, frames: slice) -> Limbs:
        return self._each(lambda values: values[frames])

    def _each(self, change: Callable[[Floats], Floats]) -> Limbs:
        names = ("pelvis", "hips", "trunk", "spine", "shoulders", "head", "directions")
        return replace(self, **{name: change(getattr(self, name)) for name in names})

    def resampled(self, fps: float) -> Limbs:
        """At another frame rate: directions between two frames are interpolated linearly, the
        head along the shortest turn."""
        count = int((len(self) - 1) * fps / self.fps) + 1
        at = np.arange(count) * self.fps / fps
        # The last frame pairs with itself, so that a clip of one frame is no exception.
        before = np.minimum(at.astype(int), len(self) - 1)
        after = np.minimum(before + 1, len(self) - 1)
        share = at - before

        def between(values: Floats) -> Floats:
            weight = share.reshape(-1, *[1] * (values.ndim - 1))
            return values[before] * (1 - weight) + values[after] * weight

        mixed = self._each(between)
        heads = to_quaternions(self.head)
        return replace(
            mixed,
            fps=fps,
            hips=_unit(mixed.hips),
            directions=_unit(mixed.directions),
            head=from_quaternions(slerp(heads[before], heads[after], share[:, None])),
        )


def _unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def limbs_of(
    places: Floats,
    turns: Floats,
    names: Sequence[str],
    *,
    fps: float,
    figure: str | None = None,
) -> Limbs:
    """What the recipe takes from a figure after forward kinematics.

    Args:
        places: (T, N, 3) metres, y up: for `amc` the ends of the bones, for others the joints.
        turns: (T, N, 3, 3) how the nodes are turned against the file's axes.
        names: of the N nodes.
        fps: frames per second.
        figure: which of `FIGURES` it is; guessed from the names where it isn't told.

    Raises:
        ValueError: no such figure, nodes are missing, there is no frame, or a limb has no length.
    """
    figure = figure or guess_figure(names)
    if figure not in FIGURES:
        raise ValueError(f"no kind of file is called {figure!r}; known: {', '.join(FIGURES)}")
    known = FIGURES[figure]
    missing = sorted(known.nodes() - set(names))
    if missing:
        raise ValueError(f"a file of kind {figure} has the joints {', '.join(missing)} too")
    if not len(places):
        raise ValueError("there are no frames in it")
    index = {name: at for at, name in enumerate(names)}

    def place(name: str) -> Floats:
        return places[:, index[name]]

    # (T, 2 sides, 6 joints, 3)
    joints = np.stack(
        [
            np.stack([place(known.joint(at, side)) for at in range(6)], axis=1)
            for side in _SIDES
        ],
        axis=1,
    )  # fmt: skip
    if figure == "max":
        thorax = turns[:, index[_MAX_CHEST], :, 1] * _MAX_THORAX * known.unit_m
        joints[:, :, 3:] += thorax[:, None, None]
    links = joints[:, :, [1, 2, 4, 5]] - joints[:, :, [0, 1, 3, 4]]
    if figure == "daz":
        directions = np.stack(
            [
                np.stack(
                    [
                        turns[:, index[known.joint(at, side)]] @ np.array(own)
                        for at, own in zip((0, 1, 3, 4), _DAZ_LIMBS[side], strict=True)
                    ],
                    axis=1,
                )
                for side in _SIDES
            ],
            axis=1,
        )
    else:
        directions = links
    head = turns[:, index[known.head]]
    hips, shoulders = joints[:, 1, 0] - joints[:, 0, 0], joints[:, 1, 3] - joints[:, 0, 3]
    pelvis, middle = joints[:, :, 0].mean(1), joints[:, :, 3].mean(1)
    spine = np.mean([place(name) for name in known.spine], axis=0) - pelvis
    for vectors in (links, hips, shoulders, middle - pelvis, spine):
        if (np.linalg.norm(vectors, axis=-1) < 1e-6).any():
            raise ValueError("a limb, the trunk, the hips or the shoulders have no length")
    # Of the left leg alone, as in the files that the shipped model was trained on.
    leg = np.linalg.norm(links[:, 1, :2], axis=-1).sum(-1)
    return Limbs(
        fps=fps,
        pelvis=pelvis,
        leg_m=float(np.median(leg)),
        hips=_unit(hips),
        trunk=middle - pelvis,
        spine=spine,
        shoulders=shoulders,
        head=head if figure == "daz" else head @ _GAZE,
        directions=_unit(directions),
    )


def read_limbs(
    path: str | os.PathLike[str],
    *,
    skeleton: str | os.PathLike[str] | None = None,
    figure: str | None = None,
) -> tuple[Limbs, str]:
    """Read a recording: what the recipe takes from it, and which of `FIGURES` it is.

    Args:
        path: an .amc or .bvh file.
        skeleton: the .asf file of an .amc file.
        figure: which of `FIGURES` it is; guessed from the names of its joints.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it can't be read, or is of no known kind.
    """
    path = Path(path)
    if path.suffix.lower() == ".amc":
        if skeleton is None:
            raise ValueError(f"{path} is a motion without its skeleton: give the .asf file too")
        motion = read_amc(path, read_asf(skeleton))
        names, fps, unit_m = motion.skeleton.names, motion.fps or _CMU_FPS, 1.0
    else:
        motion = read_bvh(path)
        names, fps = motion.names, 1 / motion.frame_time_s
        unit_m = 0.0
    try:
        figure = figure or guess_figure(names)
        if not unit_m and figure in FIGURES:
            unit_m = FIGURES[figure].unit_m
        places, turns = motion.places()
        return limbs_of(places * unit_m, turns, names, fps=fps, figure=figure), figure
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


# ---- The recipe ----------------------------------------------------------------------------------


def positions17(limbs: Limbs, body: Mapping[str, float]) -> Floats:
    """Put a recording on a body: (T, 17, 3) metres in the order `h36m17`, z up, not yet on the
    floor.

    Shoulders and spine keep their motion against the trunk, so those distances vary; their middle
    values are the body's.

    Args:
        limbs: the recording.
        body: stature and segments by name, metres, as in `FILE_NAMES`.
    """
    pelvis = limbs.pelvis * ((body["thigh"] + body["shin"]) / limbs.leg_m)
    trunk, spine, shoulders = (
        vectors * (length / reduce(np.linalg.norm(vectors, axis=-1)))
        for vectors, length, reduce in (
            # Nearly the longest it gets: a bent back brings hips and shoulders nearer.
            (limbs.trunk, body["trunk"], lambda lengths: np.percentile(lengths, 90)),
            (limbs.spine, 0.47 * body["trunk"], np.median),
            (limbs.shoulders, body["shoulder_width"], np.median),
        )
    )
    thorax = pelvis + trunk
    up, ahead = limbs.head[..., 1], limbs.head[..., 2]
    skull = thorax + body["neck"] * _unit(_unit(trunk) + up)
    joints = np.empty((len(limbs), 17, 3))
    joints[:, 0], joints[:, 7], joints[:, 8] = pelvis, pelvis + spine, thorax
    joints[:, 9] = skull + body["nose_forward"] * ahead + body["nose_up"] * up
    joints[:, 10] = skull + body["head"] * up
    thigh, shin, upper_arm, forearm = np.moveaxis(limbs.directions, 2, 0)  # each (T, 2, 3)
    for side, (hip, shoulder, sign) in enumerate(((1, 14, -0.5), (4, 11, 0.5))):
        joints[:, hip] = pelvis + sign * body["hip_width"] * limbs.hips
        joints[:, hip + 1] = joints[:, hip] + body["thigh"] * thigh[:, side]
        joints[:, hip + 2] = joints[:, hip + 1] + body["shin"] * shin[:, side]
        joints[:, shoulder] = thorax + sign * shoulders
        joints[:, shoulder + 1] = joints[:, shoulder] + body["upper_arm"] * upper_arm[:, side]
        joints[:, shoulder + 2] = joints[:, shoulder + 1] + body["forearm"] * forearm[:, side]
    return np.stack([joints[..., 0], -joints[..., 2], joints[..., 1]], -1)


def on_the_floor(stretches: Sequence[Floats], height_m: float) -> list[Floats]:
    """Shift the stretches (T, 17, 3) of one clip together: the floor at z = 0, where the ankles
    nearly at their lowest say it is, and the first pelvis over the origin."""
    together = np.concatenate(stretches)
    lowest = np.percentile(together[:, [3, 6], 2].min(1), 3)
    shift = np.append(-together[0, 0, :2], ANKLE_HEIGHT * height_m - lowest)
    return [joints + shift for joints in stretches]


# ---- What of a recording is fit to use -----------------------------------------------------------

_FASTEST_DEG_S, _FASTEST_M_S = 3000.0, 10.0
_SLOW_FPS, _FASTEST_SLOW_DEG_S = 45.0, 2600.0  # few frames a second round fast turns off
_KNEE_DEG = 35.0
_MARGIN_S, _SHORTEST_S = 0.025, 0.6


def usable_stretches(limbs: Limbs, first: int = 0) -> list[tuple[int, int]]:
    """The stretches (first frame, frame after the last) of a recording that show a body's motion.

    Left out, with a fortieth of a second to both sides: limbs that turn faster than 3000 degrees a
    second (2600 below 45 frames a second), a pelvis faster than 10 m/s, knees bent more than 35
    degrees the wrong way. Stretches shorter than 0.6 s are left out, too.

    Args:
        limbs: the recording.
        first: frames at the beginning to leave out in any case.
    """
    flat = limbs.directions.reshape(len(limbs), -1, 3)
    cosine = np.clip((flat[1:] * flat[:-1]).sum(-1), -1, 1)
    turning = np.degrees(np.arccos(cosine)).max(1, initial=0) * limbs.fps
    moving = np.linalg.norm(np.diff(limbs.pelvis, axis=0), axis=-1) * limbs.fps
    fastest = _FASTEST_DEG_S if limbs.fps > _SLOW_FPS else _FASTEST_SLOW_DEG_S
    leap = (turning > fastest) | (moving > _FASTEST_M_S)
    # Knees bend about the hips' axis; positive is the right way.
    thigh, shin = limbs.directions[:, :, 0], limbs.directions[:, :, 1]
    bend = (np.cross(thigh, shin) * limbs.hips[:, None]).sum(-1)
    bad = (bend < -np.sin(np.radians(_KNEE_DEG))).any(1)
    bad[1:] |= leap
    bad[:-1] |= leap
    spread = np.ones(2 * int(_MARGIN_S * limbs.fps) + 1)
    bad = np.convolve(bad, spread)[len(spread) // 2 :][: len(bad)] > 0
    bad[:first] = True
    edges = np.flatnonzero(np.diff(np.concatenate([[True], bad, [True]]).astype(int)))
    return [
        (int(start), int(end))
        for start, end in edges.reshape(-1, 2)
        if end - start >= _SHORTEST_S * limbs.fps
    ]


# ---- The list of trials --------------------------------------------------------------------------


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
    fps: float = _CMU_FPS
    stretches: tuple[tuple[int, int], ...] = ()


SPLITS = ("train", "val", "test", "all")
_TRIAL = re.compile(r"0*(\d+)_0*(\d+)")
# Files that the list was made from besides those of `FIGURES`: exponential maps of CMU's own
# figure, and DeepMimic's at 30 frames a second.
_LISTED_FPS = {"dm": 30.0}


@cache
def _table() -> dict[str, Any]:
    return json.loads((files("lithepose.mocap") / "cmu_trials.json").read_text("utf-8"))


def _canonical(name: str) -> str | None:
    """CMU's spelling of a trial: `2_1` and `002_01` are `02_01`."""
    match = _TRIAL.fullmatch(name)
    return f"{int(match[1]):02d}_{int(match[2]):02d}" if match else None


def trial_named(name: str) -> Trial:
    """A trial by CMU's name, listed or not; an unlisted subject has a body drawn by its number.

    Raises:
        ValueError: that is no name of a trial.
    """
    found, table = _canonical(name), _table()
    if found is None:
        raise ValueError(f"{name!r} is no trial; expected subject and number, such as 13_26")
    subject = found.partition("_")[0]
    listed = table["trials"].get(found)
    known = table["subjects"].get(subject)
    listed_body = dict(zip(FILE_NAMES, known["body"], strict=True)) if known else None
    body = listed_body or _drawn_body(int(subject))
    held_back = subject in table["held_back"]
    split = known["split"] if known else "held back" if held_back else "train"
    trial = Trial(name=found, subject=subject, split=split, body=body)
    if listed is None:
        return trial
    return replace(
        trial,
        figure=listed["flavour"],
        fps=_LISTED_FPS.get(listed["flavour"], _CMU_FPS),
        stretches=tuple((first, end) for first, end in listed["stretches"]),
    )


def _drawn_body(subject: int) -> dict[str, float]:
    random = np.random.default_rng(subject)
    drawn = random.normal(STANDARD_HEIGHT_M, HEIGHT_SPREAD_M)
    height = float(np.clip(drawn, *DRAWN_HEIGHTS_M))
    return {"height": height} | {
        name: height * mean * (1 + _spread(name) * random.standard_normal())
        for name, mean in SEGMENTS.items()
    }


def _spread(name: str) -> float:
    return 0.07 if name in ("hip_width", "shoulder_width") else 0.035


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
        except ValueError as error:
            raise ValueError(f"{path}, line {number}: {error}") from error
        if trial.name in trials:
            raise ValueError(f"{path}, line {number}: {trial.name} is named twice")
        trials[trial.name] = trial
    if not trials:
        raise ValueError(f"{path} names no trial")
    return list(trials.values())


# ---- Finding and importing -----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Clip:
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
class Imported:
    """What became of a list of trials.

    Attributes:
        clips: of all trials found, in the list's order.
        missing: names of trials without a file.
        refused: name of each trial whose file can't be used -> why.
    """

    clips: list[Clip] = field(default_factory=list)
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
) -> Imported:
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
    imported = Imported()
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
    motions: dict[str, list[Path]] = {}
    skeletons: dict[str, list[Path]] = {}
    for path in sorted(folder.rglob("*")):
        kind = path.suffix.lower()
        if kind == ".asf" and path.stem.isdecimal():
            skeletons.setdefault(f"{int(path.stem):02d}", []).append(path)
        elif kind in (".amc", ".bvh"):
            # Some releases put a word in front, such as `daz_02_01.bvh`.
            match = re.search(r"(?:^|[^0-9])([0-9]+_[0-9]+)$", path.stem)
            name = _canonical(match[1]) if match else None
            if name:
                motions.setdefault(name, []).append(path)
    return motions, skeletons


def _choose(trial: Trial, paths: list[Path]) -> Path | None:
    why = _table()["left_out"].get(trial.name)
    if why:
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


def _clips(trial: Trial, path: Path, skeletons: dict[str, list[Path]], folder: Path) -> list[Clip]:
    skeleton = _skeleton_of(path, skeletons.get(trial.subject, []))
    limbs, figure = read_limbs(path, skeleton=skeleton)
    known = FIGURES[figure]
    if trial.stretches:
        stretches = _in_file(trial, limbs, figure)
    else:
        stretches = usable_stretches(limbs, known.lead)
    # A clip needs two frames, which only a listed stretch at the end of a cut file can lack.
    shortest = 1 + int(limbs.fps / MOTION_FPS)
    stretches = [(first, end) for first, end in stretches if end - first > shortest]
    if not stretches:
        raise ValueError(f"{path} has no 0.6 s of motion without leaps")
    joints = on_the_floor(
        [
            positions17(limbs[first:end].resampled(MOTION_FPS), trial.body)
            for first, end in stretches
        ],
        trial.body["height"],
    )
    return [
        Clip(
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
    beside = [skeleton for skeleton in skeletons if skeleton.parent == path.parent]
    found = beside or skeletons
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
        (
            round(first * ratio) + known.rest,
            round((end - 1) * ratio) + 1 + known.rest,
        )
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


def write_motions(path: str | os.PathLike[str], clips: Sequence[Clip]) -> None:
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
    imported: Imported | None = None
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
    problem = _lacking(imported, len(trials))
    replaced = not problem and path.exists()
    if not problem:
        write_motions(path, imported.clips)
    return SplitFile(
        path=path, trials=len(trials), imported=imported, replaced=replaced, problem=problem
    )


def _has_all(path: Path, trials: Sequence[Trial]) -> bool:
    """Whether a motion file is there that can be read and has these trials, maybe among others."""
    try:
        return {trial.name for trial in trials} <= set(read_motions(path).clip.tolist())
    except (ValueError, OSError):
        return False


def _lacking(imported: Imported, count: int) -> str:
    if len(imported.missing) == count:
        return f"none of its {count} trials was found, such as {imported.missing[0]}.amc"
    parts = []
    if imported.missing:
        parts.append(
            f"{len(imported.missing)} of its {count} trials are missing: "
            + " ".join(imported.missing)
        )
    if imported.refused:
        parts.append(
            f"{len(imported.refused)} of its {count} trials are refused: "
            + "; ".join(f"{trial} ({why})" for trial, why in imported.refused.items())
        )
    return "; ".join(parts)
