"""Layouts of keypoint files in pixels: our own, OpenPose's, AlphaPose's, COCO's and MMPose's.

Each reader gives a `Clip`, what the file says and nothing more; `lithepose.keypoints.reading` adds
what the caller says and checks the whole. Nothing is unpickled.
"""

from __future__ import annotations

import csv
import json
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.skeletons import SKELETONS, skeleton_named

KEYPOINT_NAMES = ("keypoints", "kp2d", "keypoints_2d")
_CONFIDENCE_NAMES = ("confidence", "visibility")
_WHOLE_BODY = ("foot_kpts", "lefthand_kpts", "righthand_kpts")  # of COCO-WholeBody
# A day at 100 frames per second: a larger frame number is a slip, and would fill the memory.
_MAX_FRAMES = 24 * 3600 * 100
Found = list[tuple[int, Floats]]  # people of one frame: identity, or -1, and (J, 3)


@dataclass(kw_only=True)
class Clip:
    """What a file says, before the caller's options and the checks.

    `people`: person -> (T, J, 3), pixels and confidence. `unnamed` instead where the people of a
    frame carry no identity: (P, J, 3) for each frame. `normalised`: the coordinates are shares of
    the frame's width and height instead of pixels.
    """

    origin: str
    layout: str  # its name, for whoever asks what a file was taken for
    normalised: bool = False
    people: dict[int, Floats] = field(default_factory=dict)
    unnamed: list[Floats] | None = None
    skeleton: str | None = None
    image_size: Any = None
    fps: Any = None
    time_s: Any = None
    world: Floats | None = None


def numbers(value: Any, name: str, origin: str) -> NDArray[np.float64]:
    """The value as an array of float64; null becomes nan."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: {name} is not an array of numbers: {error}") from error


def _with_confidence(keypoints: Any, confidence: Any, origin: str) -> Floats:
    """(T, J, 3) of the fields of a file."""
    points = numbers(keypoints, "keypoints", origin)
    if points.ndim != 3 or points.shape[-1] not in (2, 3):
        raise ValueError(
            f"{origin}: keypoints must be (frames, joints, 2 or 3); found {points.shape}"
        )
    if len(points) == 0:
        raise ValueError(f"{origin} holds no keypoints: it has no frames")
    if confidence is None:
        if points.shape[-1] == 3:
            return points
        # Without any confidence, (0, 0) is the customary mark of a joint that was not found.
        sure = (points != 0).any(axis=-1).astype(np.float64)
    else:
        sure = numbers(confidence, "confidence", origin)
        if sure.shape == (*points.shape[:2], 1):
            sure = sure[..., 0]
        if sure.shape != points.shape[:2]:
            raise ValueError(
                f"{origin}: confidence must be {points.shape[:2]}, one value per keypoint; "
                f"found {sure.shape}"
            )
    return np.concatenate([points[..., :2], sure[..., None]], axis=-1)


def natural_order(path: Path) -> list[tuple[int, str]]:
    """Sorts frame_10 after frame_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in digits(path.name)]


def digits(text: str) -> list[str]:
    return re.split(r"([0-9]+)", text)


def read_npz(path: Path) -> Clip:
    """An archive of the fields that `from_fields` knows."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable .npz archive: {error}") from error
    for name in ("skeleton", "schema"):
        if name in values:
            values[name] = str(values[name])
    return from_fields(values, str(path))


def load_json(path: Path) -> Any:
    """The content of a JSON file, with or without a byte order mark."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error


def _first(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def from_fields(values: Mapping[str, Any], origin: str) -> Clip:
    """One person's arrays by name; a result of lithepose is such a set."""
    keypoints = _first(values, KEYPOINT_NAMES)
    if keypoints is None:
        raise ValueError(
            f"{origin} has none of {', '.join(KEYPOINT_NAMES)}; found {', '.join(values) or '{}'}"
        )
    points = _with_confidence(keypoints, _first(values, _CONFIDENCE_NAMES), origin)
    skeleton = values.get("skeleton")
    if skeleton is None and str(values.get("schema", "")).startswith("lithepose/"):
        skeleton = "h36m17"
    world = values.get("world")
    if world is not None:
        world = numbers(world, "world", origin)
        if world.shape != (*points.shape[:2], 3):
            raise ValueError(
                f"{origin}: world must be {(*points.shape[:2], 3)}; found {world.shape}"
            )
    person = numbers(values.get("person", 0), "person", origin)
    if person.size != 1:
        raise ValueError(f"{origin}: person must be one number; found {values['person']}")
    return Clip(
        origin=origin,
        layout="arrays",
        people={int(person.reshape(())): points},
        skeleton=skeleton,
        image_size=values.get("image_size"),
        fps=values.get("fps"),
        time_s=values.get("time_s"),
        world=world,
    )


def read_openpose(files: Sequence[Path], origin: str) -> Clip:
    """One JSON file per frame; a frame without people has a file, too."""
    frames: list[Found] = []
    for file in files:
        content = load_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("people"), list):
            raise ValueError(f"{file} is not an OpenPose frame: it has no list of people")
        people = []
        for person in content["people"]:
            flat = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
            if not flat:  # a face or a hand without a body
                continue
            people.append(
                (identity_of(person, ("person_id",), str(file)), triples(flat, str(file)))
            )
        frames.append(people)
    return Clip(
        origin=origin,
        layout="OpenPose",
        skeleton=_usual_skeleton(frames),
        **by_identity(frames, origin),
    )


def from_results(content: list[Any], origin: str) -> Clip:
    """A list of people, each with the image they are in; images without people are left out.

    AlphaPose names the image by its file, a results file of COCO by a number: the lowest of these
    is the first frame.
    """
    if not content:
        raise ValueError(f"{origin} holds no keypoints: the list is empty")
    found: list[tuple[str, int, Floats]] = []
    for entry in content:
        if not isinstance(entry, dict) or "image_id" not in entry or "keypoints" not in entry:
            raise ValueError(
                f"{origin} is not an AlphaPose result: every entry needs image_id and keypoints"
            )
        person = identity_of(entry, ("idx", "track_id"), origin)
        found.append((str(entry["image_id"]), person, triples(entry["keypoints"], origin)))

    counted = [frame_number(image, origin) for image, _, _ in found]
    named = any(isinstance(entry["image_id"], str) for entry in content)
    # Frames of a video are named 0.jpg, 1.jpg, ...; pictures of a folder may count from anywhere.
    of_video = named and all(
        re.fullmatch(r"(0|[1-9][0-9]*)(\.\w+)?", image) for image, _, _ in found
    )
    start = 0 if of_video else min(counted)
    frames: list[Found] = [[] for _ in range(frame_count(max(counted) - start, origin))]
    for number, (_, person, points) in zip(counted, found, strict=True):
        frames[number - start].append((person, points))
    return Clip(
        origin=origin,
        layout="AlphaPose" if named else "COCO results",
        skeleton=_usual_skeleton(frames),
        **by_identity(frames, origin),
    )


def from_coco(content: Mapping[str, Any], origin: str) -> Clip:
    """An annotation file of COCO: its images, in the order of their names, are the frames.

    The marks 1 (labelled though hidden) and 2 (visible) both count as sure. Of a whole-body file
    the feet and the outer knuckles are read as well.
    """
    images, annotations = content.get("images"), content["annotations"]
    if not isinstance(images, list) or not images or not isinstance(annotations, list):
        raise ValueError(
            f"{origin} is not a COCO annotation file: it needs lists of images and annotations"
        )
    if not all(isinstance(entry, dict) and "id" in entry for entry in (*images, *annotations)):
        raise ValueError(f"{origin}: every image and every annotation needs an id")
    images = sorted(images, key=lambda image: natural_order(Path(str(image.get("file_name", "")))))
    rows = {image["id"]: row for row, image in enumerate(images)}
    sizes = {(image.get("width"), image.get("height")) for image in images}
    if len(sizes) > 1:
        raise ValueError(
            f"{origin}: its images have several sizes ({sorted(sizes, key=str)[:3]}, ...), so they "
            "are no frames of one clip"
        )
    frames: list[Found] = [[] for _ in images]
    people = [e for e in annotations if e.get("keypoints") and not e.get("iscrowd")]
    whole = all(entry.get(part) for entry in people for part in _WHOLE_BODY)
    for entry in people:
        if entry.get("image_id") not in rows:
            raise ValueError(f"{origin}: annotation {entry['id']} is of no image in the file")
        points = triples(entry["keypoints"], origin)
        if whole:
            feet, left, right = (triples(entry[part], origin) for part in _WHOLE_BODY)
            if len(feet) != 6 or len(left) != 21 or len(right) != 21:
                raise ValueError(f"{origin}: a whole body has 6 points of feet and 21 of each hand")
            points = np.concatenate([points, feet, left[[5, 17]], right[[5, 17]]])
        if points[:, 2].any():
            person = identity_of(entry, ("track_id",), origin)
            frames[rows[entry["image_id"]]].append((person, points))
    names = next(
        (
            category["keypoints"]
            for category in content.get("categories") or []
            if isinstance(category, dict) and category.get("keypoints")
        ),
        None,
    )
    width, height = next(iter(sizes))
    return Clip(
        origin=origin,
        layout="COCO annotations",
        skeleton=_usual_skeleton(frames, names),
        image_size=None if width is None or height is None else (width, height),
        **by_identity(frames, origin),
    )


def from_mmpose(content: list[Any], names: Any, origin: str) -> Clip:
    """MMPose's predictions: for each frame `frame_id` and `instances`.

    Args:
        names: joint names by index, from the file's `meta_info`, or None.
    """
    found: list[tuple[int, Found]] = []
    for row, frame in enumerate(content):
        if not isinstance(frame, dict) or not isinstance(frame.get("instances"), list):
            raise ValueError(f"{origin} is not a file of MMPose: every frame needs its instances")
        people = []
        for person in frame["instances"]:
            if not isinstance(person, dict) or "keypoints" not in person:
                raise ValueError(f"{origin}: an instance has no keypoints")
            points = _with_confidence(
                [person["keypoints"]],
                None if person.get("keypoint_scores") is None else [person["keypoint_scores"]],
                origin,
            )
            people.append((identity_of(person, ("track_id",), origin), points[0]))
        found.append((int(numbers(frame.get("frame_id", row), "frame_id", origin)), people))
    if not found:
        raise ValueError(f"{origin} holds no keypoints: it has no frames")
    start = min(number for number, _ in found)  # counted from 0 or from 1
    frames: list[Found] = [[] for _ in range(frame_count(max(n for n, _ in found) - start, origin))]
    for number, people in found:
        frames[number - start] += people
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names, key=int)]
    return Clip(
        origin=origin,
        layout="MMPose",
        skeleton=_usual_skeleton(frames, names),
        **by_identity(frames, origin),
    )


def _usual_skeleton(frames: Sequence[Found], names: Any = None) -> str | None:
    """The set that has these names; else what COCO's layouts hold as a rule, by the number."""
    joints = {len(points) for people in frames for _, points in people}
    if isinstance(names, Sequence) and joints == {len(names)}:
        plain = tuple(str(name).lower().replace(" ", "_").replace("-", "_") for name in names)
        for skeleton in SKELETONS.values():
            if skeleton.joints == plain:
                return skeleton.name
        if len(plain) == 17:
            return None  # three sets have so many, and by its names it is not COCO's
    usual = {17: "coco17", 26: "halpe26", 27: "wholebody27"}
    return usual.get(next(iter(joints))) if len(joints) == 1 else None


def identity_of(entry: Mapping[str, Any], names: Sequence[str], origin: str) -> int:
    """Who somebody is by the first of these fields that is there; -1 if none is."""
    value = next((entry[name] for name in names if entry.get(name) is not None), -1)
    identity = np.ravel(numbers(value, names[0], origin))
    return int(identity[0]) if identity.size and np.isfinite(identity[0]) else -1


def frame_number(image: str, origin: str) -> int:
    """The last number in the name of an image."""
    counted = [part for part in digits(Path(image).stem) if part.isdigit()]
    if not counted:
        raise ValueError(f"{origin}: image_id {image!r} has no frame number in it")
    return int(counted[-1])


def frame_count(last: int, origin: str) -> int:
    """Frames of a clip that ends with this one."""
    if last >= _MAX_FRAMES:
        raise ValueError(f"{origin}: frame number {last} is more than a day of video: check it")
    return last + 1


def triples(flat: Any, origin: str) -> Floats:
    """(J, 3) of a flat list x, y, confidence, x, y, ..."""
    values = numbers(flat, "keypoints", origin)
    if values.ndim != 1 or values.size % 3:
        raise ValueError(
            f"{origin}: the keypoints of a person must be a flat list of x, y, confidence; "
            f"found shape {values.shape}"
        )
    return values.reshape(-1, 3)


def by_identity(frames: Sequence[Found], origin: str) -> dict[str, Any]:
    """People by their identity where the file gives one, else frame by frame."""
    counts = {len(points) for people in frames for _, points in people}
    if len(counts) > 1:
        raise ValueError(f"{origin} mixes people of {sorted(counts)} joints")
    # Programs that don't track write -1 or give everybody the same number.
    named = all(
        min(identities) >= 0 and len(set(identities)) == len(identities)
        for people in frames
        if (identities := [identity for identity, _ in people])
    )
    if not counts or not named:
        return {
            "unnamed": [
                np.stack([points for _, points in people]) if people else np.zeros((0, 0, 3))
                for people in frames
            ]
        }
    shape = (len(frames), counts.pop(), 3)
    tracks: dict[int, Floats] = {}
    for frame, people in enumerate(frames):
        for identity, points in people:
            tracks.setdefault(identity, np.full(shape, np.nan))[frame] = points
    return {"people": tracks}


def read_rows(path: Path) -> tuple[list[str], list[dict[str, str | None]]]:
    """The column names and the rows of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            return columns, list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable CSV file: {error}") from error


def from_rows(
    columns: Sequence[str], rows: list[dict[str, str | None]], wanted: str | None, path: Path
) -> Clip:
    """A row per joint, frame and person; rows of missing joints may be left out."""
    lacking = [name for name in ("frame", "joint", "u_px", "v_px") if name not in columns]
    if lacking:
        raise ValueError(
            f"{path} lacks the columns {', '.join(lacking)}; found {', '.join(columns) or 'none'}"
        )
    if not rows:
        raise ValueError(f"{path} holds no keypoints: it has no rows")

    frames = [cell_index(row, "frame", path) for row in rows]
    people = [cell_index(row, "person", path) if row.get("person") else 0 for row in rows]
    skeleton, joints, count = _csv_joints([row["joint"] or "" for row in rows], wanted, path)
    length = frame_count(max(frames), str(path))
    places = list(zip(frames, people, joints, strict=True))
    if len(set(places)) < len(places):
        frame, person, _ = Counter(places).most_common(1)[0][0]
        raise ValueError(f"{path} has two rows for one joint of person {person} in frame {frame}")
    tracks: dict[int, Floats] = {}
    times = np.full(length, np.nan)
    for row, (frame, person, joint) in zip(rows, places, strict=True):
        track = tracks.setdefault(person, np.full((length, count, 3), np.nan))
        u, v = cell(row, "u_px", path), cell(row, "v_px", path)
        unsaid = 0.0 if u == v == 0 else 1.0  # as in files of arrays without confidence
        sure = cell(row, "confidence", path) if "confidence" in columns else unsaid
        track[frame, joint] = u, v, sure
        if "time_s" in columns:
            times[frame] = cell(row, "time_s", path)
    known = np.isfinite(times)
    if known.any():  # frames without a row lie between those with one
        times = filled_times(times, known)
    return Clip(
        origin=str(path),
        layout="CSV",
        people=dict(sorted(tracks.items())),
        skeleton=skeleton,
        time_s=times if known.any() and (len(times) > 1) else None,
    )


def filled_times(times: Floats, known: NDArray[np.bool_]) -> Floats:
    """Times of the frames that have none, at the rate of the others."""
    at = np.flatnonzero(known)
    if len(at) == 1:
        return times
    filled = np.interp(np.arange(len(times)), at, times[at])
    step = (times[at[-1]] - times[at[0]]) / (at[-1] - at[0])
    before, after = np.arange(len(times)) < at[0], np.arange(len(times)) > at[-1]
    filled[before] = times[at[0]] + step * (np.flatnonzero(before) - at[0])
    filled[after] = times[at[-1]] + step * (np.flatnonzero(after) - at[-1])
    return filled


def cell(row: Mapping[str, str | None], column: str, path: Path) -> float:
    """A number of a CSV file; nan where the cell is empty."""
    text = row[column]
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path}: {column} holds {text!r}, which is not a number") from error


def cell_index(row: Mapping[str, str | None], column: str, path: Path) -> int:
    """A whole number, 0 or more, of a CSV file."""
    text = row[column] or ""
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{path}: {column} holds {text!r}; it must be a count from 0")
    return int(text)


def _csv_joints(
    names: list[str], wanted: str | None, path: Path
) -> tuple[str | None, list[int], int]:
    """The joint set if the names tell it, the index of each row's joint, the number of joints."""
    distinct = set(names)
    known = list(SKELETONS.values()) if wanted is None else [skeleton_named(wanted)]
    if all(re.fullmatch(r"[0-9]+", name) for name in distinct):
        indices = [int(name) for name in names]
        count = max(indices) + 1 if wanted is None else len(known[0])
        if max(indices) >= min(count, 1000):
            raise ValueError(f"{path}: joint {max(indices)} is no index of a joint")
        return None, indices, count
    fitting = [s for s in known if distinct == set(s.joints)]
    if not fitting:  # a joint that is never seen may have no rows
        fitting = [s for s in known if distinct <= set(s.joints)]
    if not fitting:
        closest = min(known, key=lambda s: len(distinct - set(s.joints)))
        strange = sorted(distinct - set(closest.joints))
        raise ValueError(
            f"{path}: the joints fit no known set; {closest.name} lacks {', '.join(strange)}"
        )
    if len(fitting) > 1:
        raise ValueError(
            f"{path}: the joints {', '.join(sorted(distinct))} fit several sets "
            f"({', '.join(s.name for s in fitting)}): pass skeleton= one of them"
        )
    skeleton = fitting[0]
    return skeleton.name, [skeleton.joints.index(name) for name in names], len(skeleton)
