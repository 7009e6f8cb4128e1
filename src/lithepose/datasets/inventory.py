"""What a folder holds of the data sets that can be read here: found, broken, missing, allowed.

Files are recognised by their names and, where someone renamed them, npz files by their contents.
Every one that is found is read in full, so that damage shows before a training begins.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, groupby
from pathlib import Path
from typing import Any

from lithepose.datasets import coco, human36m, humaneva, mpi_inf_3dhp, mpii
from lithepose.datasets.pickles import array_names, read_arrays
from lithepose.datasets.videopose3d import Positions
from lithepose.mocap.motions import read_motions

Facts = dict[str, Any]

# Folder of pictures -> how the pictures in it are named, by which it is told from other folders of
# its name, and how many there are where that is known.
PICTURES = {
    "train2017": (re.compile(r"\d{12}\.jpg"), 118_287),
    "val2017": (re.compile(r"\d{12}\.jpg"), 5_000),
    "images": (re.compile(r"\d{9}\.jpg"), None),
}

# Parsing takes ten times a JSON file's size in memory; of larger ones only the ends are looked at.
LARGEST_JSON = 100_000_000


@dataclass(frozen=True)
class Part:
    """A file of a data set, or a folder of its pictures.

    Attributes:
        file: its usual name; a folder's ends with a slash.
        purpose: what it holds and what it is for.
        origin: where it comes from.
        names: regular expression of the names under which it goes; empty for its usual one alone.
    """

    file: str
    purpose: str
    origin: str
    names: str = ""


@dataclass(frozen=True, kw_only=True)
class DataSet:
    """A data set, what it consists of, and what its terms allow.

    Attributes:
        title: its name in papers.
        parts: key -> file, what others are checked against first.
        terms: its terms of use in short. The terms themselves decide, not this line.
        weights: whether weights trained on it may be shipped with software.
        guide: the page that says how to get it; empty where there is none.
    """

    title: str
    parts: dict[str, Part]
    terms: str
    weights: str
    guide: str = ""


_RESEARCH_WEIGHTS = (
    "no: train your own and keep them for research, unless the owners allow more in writing"
)
# Origins of several parts.
_VIDEOPOSE3D = "the repository of VideoPose3D (its DATASETS.md), from"
_DETECTIONS = "the authors of VideoPose3D"
_PSTMO = "the repository of P-STMO, from vcai.mpi-inf.mpg.de/3dhp-dataset"
_CMU = "mocap.cs.cmu.edu, whose files `lithepose data import-mocap` converts"
_COCO, _WHOLE_BODY = "cocodataset.org", "the repository of COCO-WholeBody"
_HRNET = "human-pose.mpi-inf.mpg.de, converted as for HRNet"
_IN_THE_ROOM = "3D joints in the room: training targets and ground truth"
_PROJECTED = "2D joints projected from 3D: input for ground-truth results"
_DETECTED = "2D joints as a detector finds them: input for the usual results"
_FEET_AND_HANDS = "133 joints, feet and hands among them: for"


def _parts(*rows: tuple[str, ...]) -> dict[str, Part]:
    """Rows of key, file, purpose, origin and, where it goes under others, a pattern of names."""
    return {key: Part(*fields) for key, *fields in rows}


DATA_SETS = {
    "human36m": DataSet(
        title="Human3.6M",
        parts=_parts(
            ("positions", human36m.POSITIONS_FILE, _IN_THE_ROOM,
             f"{_VIDEOPOSE3D} the poses at vision.imar.ro/human3.6m, after registration"),
            ("exact 2D", "data_2d_h36m_gt.npz", _PROJECTED, "made along with data_3d_h36m.npz"),
            ("detected 2D", "data_2d_h36m_cpn_ft_h36m_dbb.npz", _DETECTED, _DETECTIONS,
             r"data_2d_h36m_(?!gt\.).+\.npz"),
            ("image space", human36m.IMAGE_SPACE_FILE,
             "MotionBERT's preparation: for results of MotionBERT and MotionAGFormer",
             "the authors of MotionBERT", r"h36m_\w*cam_source\w*\.pkl"),
        ),
        terms="academic use by registered users only; not to be passed on",
        weights=_RESEARCH_WEIGHTS,
        guide=human36m.GUIDE,
    ),
    "mpi_inf_3dhp": DataSet(
        title="MPI-INF-3DHP",
        parts=_parts(
            ("train", mpi_inf_3dhp.TRAIN_FILE,
             "2D and 3D joints of eight subjects: for training", _PSTMO),
            ("test", mpi_inf_3dhp.TEST_FILE,
             "2D and 3D joints of six recordings: for testing", _PSTMO),
        ),
        terms="non-commercial research; not to be passed on",
        weights=_RESEARCH_WEIGHTS,
        guide=mpi_inf_3dhp.GUIDE,
    ),
    "humaneva": DataSet(
        title="HumanEva-I",
        parts=_parts(
            ("positions", humaneva.POSITIONS_FILE, _IN_THE_ROOM,
             f"{_VIDEOPOSE3D} humaneva.is.tue.mpg.de, after registration"),
            ("exact 2D", "data_2d_humaneva15_gt.npz", _PROJECTED,
             "made along with data_3d_humaneva15.npz"),
            ("detected 2D", "data_2d_humaneva15_detectron_pt_coco.npz", _DETECTED, _DETECTIONS,
             r"data_2d_humaneva15_(?!gt\.).+\.npz"),
        ),
        terms="research only; not to be passed on",
        weights=_RESEARCH_WEIGHTS,
        guide=humaneva.GUIDE,
    ),
    "cmu": DataSet(
        title="CMU motion capture",
        parts=_parts(
            ("train", "cmu17_train.npz", "motions to train the default lifter on", _CMU),
            ("val", "cmu17_val.npz", "motions to watch the training by", _CMU),
            ("test", "cmu17_test.npz", "motions that are only measured on", _CMU),
        ),
        terms="free for all uses; the motions themselves may not be sold",
        weights="yes, also for commercial use",
        guide="docs/data/mocap_import.md",
    ),
    "coco": DataSet(
        title="COCO keypoints",
        parts=_parts(
            ("train", "person_keypoints_train2017.json",
             "17 joints of people in pictures: for training 2D detectors", _COCO),
            ("val", "person_keypoints_val2017.json",
             "17 joints of people in pictures: for testing 2D detectors", _COCO),
            ("train pictures", "train2017/", "the pictures to train on", _COCO),
            ("val pictures", "val2017/", "the pictures to test on", _COCO),
            ("val boxes", coco.BOXES_FILE,
             "people that a detector finds in val2017: for the usual results",
             "the authors of HRNet (Simple Baselines)"),
            ("whole-body train", "coco_wholebody_train_v1.0.json", f"{_FEET_AND_HANDS} training",
             _WHOLE_BODY),
            ("whole-body val", "coco_wholebody_val_v1.0.json", f"{_FEET_AND_HANDS} testing",
             _WHOLE_BODY),
        ),
        terms="annotations CC BY 4.0, COCO-WholeBody's for research only; each picture belongs to "
        "its photographer",
        weights="commonly done for COCO alone; COCO-WholeBody: ask its authors",
        guide=coco.GUIDE,
    ),
    "mpii": DataSet(
        title="MPII Human Pose",
        parts=_parts(
            ("train", "mpii_train.json",
             "16 joints of people in pictures: for training 2D detectors", _HRNET),
            ("val", "mpii_val.json",
             "16 joints of people in pictures: for testing 2D detectors", _HRNET),
            ("train and val", "mpii_trainval.json", "mpii_train.json and mpii_val.json in one",
             _HRNET),
            ("test", "mpii_test.json", "places of people without joints: for results that the "
             "data set's authors measure", _HRNET),
            ("heads", mpii.HEADS_FILE, "head boxes of the val persons: for PCKh", _HRNET),
            ("pictures", "images/", "the pictures of all parts", "human-pose.mpi-inf.mpg.de"),
        ),
        terms="research; ask the authors for other uses",
        weights="ask the authors; the pictures are from videos of others",
        guide=mpii.GUIDE,
    ),
}  # fmt: skip


@dataclass(frozen=True)
class FoundFile:
    """A file that belongs to a data set.

    Attributes:
        path: where it is.
        data_set, part: keys of `DATA_SETS` and its parts.
        facts: what it holds, JSON-ready; empty if it is broken.
        problem: why it cannot be used; empty if it can.
        notes: what is odd about it though it can be used.
    """

    path: Path
    data_set: str
    part: str
    facts: Facts = field(default_factory=dict)
    problem: str = ""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Inventory:
    """What a folder holds.

    Attributes:
        root: the folder.
        found: the files, by data set and part.
        unread: folders that could not be looked into.
    """

    root: Path
    found: tuple[FoundFile, ...]
    unread: tuple[Path, ...] = ()

    def files(self, data_set: str) -> list[FoundFile]:
        """The files of one data set."""
        return [found for found in self.found if found.data_set == data_set]

    def missing(self, data_set: str) -> list[Part]:
        """The parts of one data set of which no usable file was found."""
        usable = {found.part for found in self.files(data_set) if not found.problem}
        return [part for key, part in DATA_SETS[data_set].parts.items() if key not in usable]

    @property
    def broken(self) -> list[FoundFile]:
        """The files that cannot be used."""
        return [found for found in self.found if found.problem]


def take_inventory(
    root: str | Path, depth: int = 4, report: Callable[[str], None] = lambda _: None
) -> Inventory:
    """Look for files of data sets in a folder and read them.

    Args:
        depth: how many folders deep; 0 looks into the folder alone.
        report: is told of each file before it is read.

    Raises:
        FileNotFoundError: there is no such folder.
    """
    root = Path(root)
    if not root.is_dir():
        raise FileNotFoundError(f"no folder at {root}: pass the one that your data sets are in")
    unread: list[Path] = []
    kinds = [
        (path, kind)
        for path in _files(root, depth, unread)
        if (kind := _by_name(path) or _by_content(path))
    ]
    order = [(name, part) for name, data_set in DATA_SETS.items() for part in data_set.parts]
    kinds.sort(key=lambda item: (order.index(item[1]), item[0]))
    # 2D files are checked against the 3D file beside them, which comes first in this order.
    beside: dict[tuple[str, Path], Positions] = {}
    found = []
    for path, (data_set, part) in kinds:
        report(str(path))
        found.append(_examine(path, data_set, part, beside))
    return Inventory(root=root, found=tuple(found), unread=tuple(unread))


def _files(root: Path, depth: int, unread: list[Path]) -> Iterator[Path]:
    """Files that may be of a data set. Links to folders are followed: data often lies on another
    disk, and the depth ends loops."""

    def note(error: OSError) -> None:
        unread.append(Path(error.filename))

    for folder, folders, files in os.walk(root, onerror=note, followlinks=True):
        here = Path(folder)
        deep = len(here.relative_to(root).parts) >= depth
        folders[:] = [] if deep else sorted(name for name in folders if not name.startswith("."))
        if here.name in PICTURES and any(map(PICTURES[here.name][0].fullmatch, files)):
            yield here
        for name in sorted(files):
            if name.endswith((".npz", ".pkl", ".json", ".mat")):
                yield here / name


def _by_name(path: Path) -> tuple[str, str] | None:
    usual = f"{path.name}/" if path.is_dir() else path.name
    for name, data_set in DATA_SETS.items():
        for key, part in data_set.parts.items():
            if re.fullmatch(part.names or re.escape(part.file), usual):
                return name, key
    return None


def _by_content(path: Path) -> tuple[str, str] | None:
    """The kind of an npz file under another name; None for one that is not of these data sets."""
    if path.suffix != ".npz":
        return None
    try:
        names = set(array_names(path))
        if {"pos", "clip_start", "body_names"} <= names:
            return "cmu", "train"
        key = next((k for k in ("positions_3d", "positions_2d", "data") if k in names), None)
        stored = read_arrays(path, [key])[key] if key else None
    except (ValueError, OSError):
        return None  # without a known name it is not ours to judge
    if not isinstance(stored, dict) or not stored:
        return None
    first = str(next(iter(stored)))
    if key == "data":
        kinds = {"train": r"S\d Seq\d", "test": r"TS\d"}
        part = next((part for part, names in kinds.items() if re.fullmatch(names, first)), None)
        return ("mpi_inf_3dhp", part) if part else None
    data_set = "humaneva" if "/" in first else "human36m"
    return data_set, "positions" if key == "positions_3d" else "detected 2D"


def _examine(
    path: Path, data_set: str, part: str, beside: dict[tuple[str, Path], Positions]
) -> FoundFile:
    notes, facts, problem = [], {}, ""
    if _by_name(path) is None:
        notes.append(f"its usual name is {DATA_SETS[data_set].parts[part].file}")
    try:
        if data_set in ("human36m", "humaneva") and part != "image space":
            facts = _of_videopose3d(path, data_set, part, beside, notes)
        else:
            facts = _READERS[data_set, part](path, notes)
    except (ValueError, OSError) as error:
        # The library's messages begin with the path, which stands beside this one already.
        problem = str(error).removeprefix(f"{path}").lstrip(": ")
    return FoundFile(path, data_set, part, facts, problem, tuple(notes))


def _of_videopose3d(
    path: Path,
    data_set: str,
    part: str,
    beside: dict[tuple[str, Path], Positions],
    notes: list[str],
) -> Facts:
    reader = human36m if data_set == "human36m" else humaneva
    if part == "positions":
        positions = reader.read_positions(path)
        beside[data_set, path.parent] = positions
        lacking = [subject for subject in reader.TRAIN + reader.TEST if subject not in positions]
        if lacking:
            notes.append(f"lacks the subjects {', '.join(lacking)}")
        lengths = [len(points) for trials in positions.values() for points in trials.values()]
        return {"subjects": list(positions), "trials": len(lengths), "frames": sum(lengths)}
    keypoints = reader.read_keypoints(path)
    positions = beside.get((data_set, path.parent))
    if positions is None:
        notes.append("no usable 3D file lies beside it to check it against")
    else:
        reader.join(positions, keypoints)
    trials = chain.from_iterable(trials.values() for trials in keypoints.tracks.values())
    return {
        "subjects": list(keypoints.tracks),
        "joints": keypoints.skeleton,
        "frames of all cameras": sum(
            len(view) for views in trials for view in views if view is not None
        ),
    }


def _image_space_facts(path: Path, notes: list[str]) -> Facts:
    del notes
    read = human36m.read_image_space(path)
    return {
        "training frames": len(read.train),
        "test frames": len(read.test),
        "videos": len(read.train.videos) + len(read.test.videos),
    }


def _mpi_train_facts(path: Path, notes: list[str]) -> Facts:
    recordings = mpi_inf_3dhp.read_training(path).recordings
    published = {" ".join(name): count for name, count in mpi_inf_3dhp.TRAIN_FRAMES.items()}
    frames = {f"{each.subject} {each.trial}": len(each.joints_camera) for each in recordings}
    lacking = [name for name in published if name not in frames]
    other = [name for name, count in frames.items() if count != published[name]]
    if lacking:
        notes.append(f"lacks {', '.join(lacking)}")
    if other:
        notes.append(f"another number of frames than published in {', '.join(other)}")
    return {
        "subjects": list(dict.fromkeys(each.subject for each in recordings)),
        "cameras": sorted({each.camera for each in recordings}),
        "frames of all cameras": sum(len(each.joints_camera) for each in recordings),
    }


def _mpi_test_facts(path: Path, notes: list[str]) -> Facts:
    data = mpi_inf_3dhp.read_test(path)
    valid = {recording.subject: int(recording.valid.sum()) for recording in data.recordings}
    for name, known in mpi_inf_3dhp.KNOWN_TEST.items():
        if name not in valid:
            notes.append(f"lacks {name}")
        elif valid[name] != known.valid_frames:
            notes.append(
                f"{name} has {valid[name]} valid frames, not the published {known.valid_frames}"
            )
    return {
        "recordings": list(valid),
        "frames": sum(len(recording.joints_camera) for recording in data.recordings),
        "valid frames": sum(valid.values()),
    }


def _motion_facts(path: Path, notes: list[str]) -> Facts:
    del notes
    motions = read_motions(path)
    return {
        "subjects": sorted({str(subject) for subject in motions.subject}),
        "clips": len(motions),
        "minutes": round(len(motions.positions) / motions.fps / 60, 1),
    }


def _json_content(path: Path, notes: list[str]) -> Any:
    """What a JSON file holds; None for a large one, of which only the ends are looked at."""
    size = path.stat().st_size
    if size <= LARGEST_JSON:
        return coco.read_json(path)
    with path.open("rb") as file:
        begins = file.read(64).lstrip()[:1]
        file.seek(size - 64)
        ends = file.read().rstrip()[-1:]
    if begins + ends not in (b"{}", b"[]"):
        raise ValueError("is cut off, or no JSON: get it again")
    notes.append(f"of {size / 1e6:.0f} MB, so not counted")
    return None


def _coco_facts(path: Path, notes: list[str]) -> Facts:
    content = _json_content(path, notes)
    if content is None:
        return {}
    try:
        images, people = content["images"], content["annotations"]
        with_joints = sum(max(person["keypoints"][2::3], default=0) > 0 for person in people)
    except (KeyError, TypeError) as error:
        raise ValueError(
            "should hold images, and annotations with keypoints: it is another file of COCO"
        ) from error
    return {"pictures": len(images), "people": len(people), "people with joints": with_joints}


def _box_facts(path: Path, notes: list[str]) -> Facts:
    content = _json_content(path, notes)
    if content is None:
        return {}
    try:
        people = [box for box in content if box["category_id"] == coco.PERSON]
        whole = [box for box in people if len(box["bbox"]) == 4 and box["score"] >= 0]
        pictures = {box["image_id"] for box in whole}
    except (KeyError, TypeError) as error:
        raise ValueError(
            "should be a list of image_id, category_id, bbox and score: it is another file"
        ) from error
    return {"pictures": len(pictures), "boxes of people": len(people)}


def _mpii_facts(path: Path, notes: list[str]) -> Facts:
    if path.stat().st_size > LARGEST_JSON:
        _json_content(path, notes)
        return {}
    people = mpii.read_people(path, path.parent)
    return {"pictures": len(set(people.files)), "people": len(people)}


def _head_facts(path: Path, notes: list[str]) -> Facts:
    with path.open("rb") as file:
        begins = file.read(10)
    if not begins.startswith(b"MATLAB 5.0"):
        raise ValueError("is no MATLAB file: get it again")
    try:
        heads = mpii.read_heads(path)
    except ImportError:
        notes.append("its contents are not looked at, which needs SciPy (lithepose[eval])")
        return {}
    return {"people": len(heads.sizes)}


def _picture_facts(path: Path, notes: list[str]) -> Facts:
    names, expected = PICTURES[path.name]
    with os.scandir(path) as entries:
        count = sum(names.fullmatch(entry.name) is not None for entry in entries)
    if expected is not None and count != expected:
        notes.append(f"the whole set has {expected}")
    return {"pictures": count}


_READERS: dict[tuple[str, str], Callable[[Path, list[str]], Facts]] = {
    ("human36m", "image space"): _image_space_facts,
    ("mpi_inf_3dhp", "train"): _mpi_train_facts,
    ("mpi_inf_3dhp", "test"): _mpi_test_facts,
    **{("cmu", part): _motion_facts for part in DATA_SETS["cmu"].parts},
    **{("coco", part): _coco_facts for part in DATA_SETS["coco"].parts},
    **{("mpii", part): _mpii_facts for part in DATA_SETS["mpii"].parts},
    ("mpii", "heads"): _head_facts,
    ("coco", "val boxes"): _box_facts,
    ("coco", "train pictures"): _picture_facts,
    ("coco", "val pictures"): _picture_facts,
    ("mpii", "pictures"): _picture_facts,
}


def describe(found: FoundFile) -> str:
    """The facts of a file, or why it cannot be used, and what is odd about it, in one line."""
    parts = [found.problem] if found.problem else [_fact(*item) for item in found.facts.items()]
    return "; ".join([*parts, *found.notes])


def _fact(name: str, value: Any) -> str:
    text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
    return f"{name} {text}" if isinstance(value, list | str) else f"{text} {name}"


def as_text(inventory: Inventory) -> str:
    """The inventory as plain text: data sets of which something is there, then the others."""
    lines: list[str] = []
    for title, rows, terms in sections(inventory):
        lines.append(title)
        for file, state, purpose, note in rows:
            lines.append(f"  {'BROKEN' if state == 'broken' else state:7} {file}: {purpose}")
            lines += [f"          {note}"] if note else []
        lines += [*(f"  {line}" for line in terms), ""]
    lines += [f"could not look into {path}" for path in inventory.unread]
    return "\n".join(lines).rstrip()


def sections(
    inventory: Inventory,
) -> Iterator[tuple[str, list[tuple[str, str, str, str]], list[str]]]:
    """What there is to say of each data set, those of which something was found first: title; rows
    of file, state (found, broken or missing), purpose and a line on it, maybe empty; terms."""
    for name, data_set in sorted(DATA_SETS.items(), key=lambda item: not inventory.files(item[0])):
        files, rows = inventory.files(name), []
        for found in files:
            file = str(found.path.relative_to(inventory.root))
            state = "broken" if found.problem else "found"
            rows.append((file, state, data_set.parts[found.part].purpose, describe(found)))
        for part, origin in _with_origins(inventory.missing(name)):
            rows.append((part.file, "missing", part.purpose, origin))
        yield data_set.title + ("" if files else ": nothing found"), rows, _terms_of(data_set)


def _with_origins(parts: Sequence[Part]) -> list[tuple[Part, str]]:
    """Parts with a line on their origin; of parts in a row from one place, only the last has it."""
    told: list[tuple[Part, str]] = []
    for origin, group in groupby(parts, key=lambda part: part.origin):
        *others, last = group
        of = f" of these {len(others) + 1}" if others else ""
        told += [*((part, "") for part in others), (last, f"origin{of}: {origin}")]
    return told


def _terms_of(data_set: DataSet) -> list[str]:
    """Terms, weights and guide of a data set, a line each."""
    lines = [
        f"terms:   {data_set.terms}",
        f"weights trained on it may be shipped: {data_set.weights}",
    ]
    return [*lines, f"guide:   {data_set.guide}"] if data_set.guide else lines


def as_record(inventory: Inventory) -> dict[str, Any]:
    """The inventory as a JSON-ready value; every data set has an entry."""
    return {
        "root": str(inventory.root),
        "unread": [str(path) for path in inventory.unread],
        "data_sets": {
            name: {
                "title": data_set.title,
                "found": [
                    {
                        "file": str(found.path.relative_to(inventory.root)),
                        "part": found.part,
                        "purpose": data_set.parts[found.part].purpose,
                        "facts": found.facts,
                        "problem": found.problem or None,
                        "notes": list(found.notes),
                    }
                    for found in inventory.files(name)
                ],
                "missing": [
                    {"file": part.file, "purpose": part.purpose, "origin": part.origin}
                    for part in inventory.missing(name)
                ],
                "terms": data_set.terms,
                "weights_may_be_shipped": data_set.weights,
                "guide": data_set.guide or None,
            }
            for name, data_set in DATA_SETS.items()
        },
    }
