"""Keypoints that another program found, read from its files as tracks.

`read_keypoints` takes:

- `.npz`, `.json` with `keypoints` (or `kp2d`, `keypoints_2d`) of one person, (T, J, 2 or 3), and
  beside it `confidence` (or `visibility`), `image_size`, `fps`, `time_s`, `skeleton`, `person`,
  `world`, each optional; a result of lithepose is such a file;
- `.csv` with a row per joint and frame: `frame`, `joint`, `u_px`, `v_px`, and optional
  `confidence`, `person`, `time_s`;
- OpenPose: the folder of its JSON files, one per frame, or a list of them;
- AlphaPose: its results JSON, with 17 (COCO) or 26 (Halpe) joints.

What a file doesn't say, the caller does. Nothing is unpickled.
"""

from __future__ import annotations

import csv
import json
import os
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

from lithepose.poses import Detections, Floats, Track2D
from lithepose.skeletons import SKELETONS, skeleton_named

# Joint counts that only one set in use has. 17 is COCO, Human3.6M or MPI-INF-3DHP; 15 has rivals
# outside this package: neither is guessed.
_SKELETON_OF_COUNT = {33: "blazepose33", 26: "halpe26", 25: "body25", 16: "mpii16"}
_KEYPOINT_NAMES = ("keypoints", "kp2d", "keypoints_2d")
_CONFIDENCE_NAMES = ("confidence", "visibility")
# A day at 100 frames per second: a larger frame number is a slip, and would fill the memory.
_MAX_FRAMES = 24 * 3600 * 100


@dataclass(kw_only=True)
class _Clip:
    """What a file says, before the caller's options and the checks.

    `people`: person -> (T, J, 3), pixels and confidence. `unnamed` instead where the people of a
    frame carry no identity: (P, J, 3) for each frame.
    """

    origin: str
    people: dict[int, Floats] = field(default_factory=dict)
    unnamed: list[Floats] | None = None
    skeleton: str | None = None
    image_size: Any = None
    fps: Any = None
    time_s: Any = None
    world: Floats | None = None


def read_keypoints(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    skeleton: str | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
) -> list[Track2D]:
    """Read a file of 2D keypoints as one track per person.

    Coordinates are pixels of the upright frame and are taken as they stand. A joint is missing
    where a coordinate is not finite, the confidence is 0, or, in a file without confidence, at
    exactly (0, 0). Where the people of a frame carry no identity, they are followed by
    `lithepose.track.build_tracks`.

    Args:
        path: the file, OpenPose's folder, or its files in order.
        skeleton: joint set, a key of `SKELETONS`; replaces what the file says. Without either it
            is guessed from the number of joints where only one set has that many.
        image_size: (width, height) of the upright frame in pixels; replaces what the file says.
        fps: frames per second; replaces the rate and the time stamps of the file.

    Returns:
        The tracks, all over the same T frames.

    Raises:
        FileNotFoundError: there is nothing at the path.
        ValueError: an unknown layout or skeleton, arrays of the wrong shape, no joint at all, or a
            size, rate or joint set that neither the file nor the caller gives.
    """
    clip = _read(path, skeleton)
    if clip.unnamed is not None:
        shapes = {people.shape[1] for people in clip.unnamed if len(people)}
        frames = len(clip.unnamed)
    else:
        shapes = {points.shape[1] for points in clip.people.values()}
        frames = max((len(points) for points in clip.people.values()), default=0)
    if frames == 0 or not shapes:
        raise ValueError(f"{clip.origin} holds no keypoints: no person in any frame")
    if len(shapes) > 1:
        raise ValueError(f"{clip.origin} mixes people of {sorted(shapes)} joints")
    name = _skeleton(skeleton or clip.skeleton, shapes.pop(), clip.origin)
    size = _image_size(clip.image_size if image_size is None else image_size, clip.origin)
    time_s, rate = _timing(clip, fps, frames)

    if clip.unnamed is not None and max(len(people) for people in clip.unnamed) > 1:
        return _follow(clip.unnamed, name, size, time_s, rate, clip.origin)
    if clip.unnamed is not None:
        joints = len(SKELETONS[name])
        nobody = np.full((joints, 3), np.nan)
        points = np.stack([people[0] if len(people) else nobody for people in clip.unnamed])
        clip.people = {0: points}

    tracks = []
    for person, points in clip.people.items():
        keypoints, confidence = _clean(points, clip.origin)
        tracks.append(
            Track2D(
                person=person,
                keypoints=keypoints,
                confidence=confidence,
                skeleton=name,
                time_s=time_s,
                fps=rate,
                image_size=size,
                world=clip.world,
            )
        )
    _check_content(np.concatenate([track.keypoints for track in tracks]), clip.origin)
    return tracks


def _follow(
    unnamed: list[Floats],
    skeleton: str,
    image_size: tuple[int, int],
    time_s: Floats,
    fps: float,
    origin: str,
) -> list[Track2D]:
    # Here alone detection needs the stage after it: a file stands for detector and tracker.
    from lithepose.track import build_tracks

    detections = []
    joints = len(SKELETONS[skeleton])
    for people in unnamed:
        keypoints, confidence = _clean(people.reshape(-1, joints, 3), origin)
        seen = confidence.any(axis=1)
        detections.append(
            Detections(
                keypoints=keypoints[seen],
                confidence=confidence[seen],
                score=confidence[seen].mean(axis=1),
                skeleton=skeleton,
            )
        )
    everyone = np.concatenate([frame.keypoints for frame in detections])
    _check_content(everyone, origin)
    return build_tracks(detections, time_s=time_s, image_size=image_size, fps=fps)


# What the file doesn't say


def _skeleton(name: str | None, joints: int, origin: str) -> str:
    if name is None:
        name = _SKELETON_OF_COUNT.get(joints)
    if name is None:
        fitting = [s.name for s in SKELETONS.values() if len(s) == joints]
        if not fitting:
            raise ValueError(
                f"{origin} has {joints} joints, which no known joint set has: "
                + ", ".join(f"{s.name} {len(s)}" for s in SKELETONS.values())
            )
        raise ValueError(
            f"{origin} does not say which {joints} joints it has: pass skeleton= one of "
            f"{', '.join(fitting)}"
        )
    expected = len(skeleton_named(name))
    if expected != joints:
        raise ValueError(f"{origin} has {joints} joints, but {name} has {expected}")
    return name


def _image_size(value: Any, origin: str) -> tuple[int, int]:
    if value is None:
        raise ValueError(
            f"{origin} does not give the size of the frames: pass image_size=(width, height) in "
            "pixels"
        )
    size = _numbers(value, "image_size", origin)
    if size.shape != (2,) or not np.isfinite(size).all() or (size < 1).any():
        raise ValueError(f"{origin}: image_size must be (width, height) in pixels; found {value}")
    return int(size[0]), int(size[1])


def _timing(clip: _Clip, fps: float | None, frames: int) -> tuple[Floats, float]:
    """Time stamps from 0 and the mean rate; the caller's rate goes before all the file says."""
    if fps is None and clip.time_s is not None:
        time_s = _numbers(clip.time_s, "time_s", clip.origin)
        if time_s.shape != (frames,) or not np.isfinite(time_s).all():
            raise ValueError(
                f"{clip.origin}: time_s must be {frames} times in seconds, one per frame; "
                f"found shape {time_s.shape}"
            )
        if (np.diff(time_s) <= 0).any():
            raise ValueError(f"{clip.origin}: time_s does not ascend")
        time_s = time_s - time_s[0]
        if clip.fps is None and frames == 1:
            raise ValueError(f"{clip.origin}: one frame has no frame rate: pass fps=")
        rate = (frames - 1) / time_s[-1] if clip.fps is None else clip.fps
        return time_s, _rate(rate, clip.origin)
    rate = clip.fps if fps is None else fps
    if rate is None:
        raise ValueError(f"{clip.origin} does not give the frame rate: pass fps= frames per second")
    rate = _rate(rate, clip.origin)
    return np.arange(frames) / rate, rate


def _rate(value: Any, origin: str) -> float:
    rate = _numbers(value, "fps", origin)
    if rate.size != 1 or not np.isfinite(rate).all() or (rate <= 0).any():
        raise ValueError(f"{origin}: fps must be one positive number; found {value}")
    return float(rate.reshape(()))


# Checks


def _numbers(value: Any, name: str, origin: str) -> NDArray[np.float64]:
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: {name} is not an array of numbers: {error}") from error


def _clean(points: Floats, origin: str) -> tuple[Floats, Floats]:
    """Split (..., J, 3) into keypoints and confidence, with missing joints as nan and 0."""
    keypoints, confidence = points[..., :2], np.nan_to_num(points[..., 2], nan=0.0)
    if (confidence < 0).any():
        raise ValueError(f"{origin}: a confidence is negative; it must be in [0, 1]")
    present = np.isfinite(keypoints).all(axis=-1) & (confidence > 0)
    # Some programs give scores a little above 1.
    confidence = np.where(present, np.minimum(confidence, 1.0), 0.0)
    keypoints = np.where(present[..., None], keypoints, np.nan)
    return keypoints.astype(np.float32), confidence.astype(np.float32)


def _check_content(keypoints: Floats, origin: str) -> None:
    seen = keypoints[np.isfinite(keypoints).all(axis=-1)]
    if len(seen) == 0:
        raise ValueError(f"{origin} holds no keypoints: every joint of every frame is missing")
    if np.abs(seen).max() <= 2:
        raise ValueError(
            f"{origin}: all coordinates lie in {seen.min():.2f}..{seen.max():.2f}, so they look "
            "normalised; multiply them by the frame's width and height to get pixels"
        )


def _with_confidence(keypoints: Any, confidence: Any, origin: str) -> Floats:
    """(T, J, 3) of the fields of a file."""
    points = _numbers(keypoints, "keypoints", origin)
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
        sure = _numbers(confidence, "confidence", origin)
        if sure.shape == (*points.shape[:2], 1):
            sure = sure[..., 0]
        if sure.shape != points.shape[:2]:
            raise ValueError(
                f"{origin}: confidence must be {points.shape[:2]}, one value per keypoint; "
                f"found {sure.shape}"
            )
    return np.concatenate([points[..., :2], sure[..., None]], axis=-1)


# The layouts


def _read(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], skeleton: str | None
) -> _Clip:
    """The content of the file; `skeleton`, the caller's, tells a CSV file what its names mean."""
    if not isinstance(path, str | os.PathLike):
        files = [Path(file) for file in path]
        if not files:
            raise ValueError("the list of OpenPose files is empty")
        return _read_openpose(files, f"{files[0]} and the files after it")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no keypoints at {path}: check the path")
    if path.is_dir():
        files = sorted(path.glob("*.json"), key=_natural)
        if not files:
            raise ValueError(f"{path} holds no .json files: give the folder OpenPose wrote to")
        return _read_openpose(files, str(path))
    match path.suffix.lower():
        case ".npz":
            return _read_npz(path)
        case ".json":
            return _read_json(path)
        case ".csv":
            return _read_csv(path, skeleton)
    raise ValueError(
        f"cannot read keypoints from {path}: known are .npz, .json, .csv and a folder of OpenPose "
        "files"
    )


def _natural(path: Path) -> list[tuple[int, str]]:
    """Sorts frame_10 after frame_9."""
    return [(int(part), "") if part.isdigit() else (-1, part) for part in _digits(path.name)]


def _digits(text: str) -> list[str]:
    return re.split(r"([0-9]+)", text)


def _read_npz(path: Path) -> _Clip:
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable .npz archive: {error}") from error
    for name in ("skeleton", "schema"):
        if name in values:
            values[name] = str(values[name])
    return _from_fields(values, str(path))


def _load_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error


def _read_json(path: Path) -> _Clip:
    content = _load_json(path)
    if isinstance(content, list):
        return _from_alphapose(content, str(path))
    if isinstance(content, dict) and "people" in content:
        return _read_openpose([path], str(path))
    if isinstance(content, dict):
        return _from_fields(content, str(path))
    raise ValueError(f"{path} holds a JSON {type(content).__name__}, not keypoints")


def _first(values: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((values[name] for name in names if values.get(name) is not None), None)


def _from_fields(values: Mapping[str, Any], origin: str) -> _Clip:
    keypoints = _first(values, _KEYPOINT_NAMES)
    if keypoints is None:
        raise ValueError(
            f"{origin} has none of {', '.join(_KEYPOINT_NAMES)}; found {', '.join(values) or '{}'}"
        )
    points = _with_confidence(keypoints, _first(values, _CONFIDENCE_NAMES), origin)
    skeleton = values.get("skeleton")
    if skeleton is None and str(values.get("schema", "")).startswith("lithepose/"):
        skeleton = "h36m17"
    world = values.get("world")
    if world is not None:
        world = _numbers(world, "world", origin)
        if world.shape != (*points.shape[:2], 3):
            raise ValueError(
                f"{origin}: world must be {(*points.shape[:2], 3)}; found {world.shape}"
            )
    person = _numbers(values.get("person", 0), "person", origin)
    if person.size != 1:
        raise ValueError(f"{origin}: person must be one number; found {values['person']}")
    return _Clip(
        origin=origin,
        people={int(person.reshape(())): points},
        skeleton=skeleton,
        image_size=values.get("image_size"),
        fps=values.get("fps"),
        time_s=values.get("time_s"),
        world=world,
    )


def _read_openpose(files: Sequence[Path], origin: str) -> _Clip:
    """One JSON file per frame; a frame without people has a file, too."""
    frames: list[list[tuple[int, Floats]]] = []
    for file in files:
        content = _load_json(file)
        if not isinstance(content, dict) or not isinstance(content.get("people"), list):
            raise ValueError(f"{file} is not an OpenPose frame: it has no list of people")
        people = []
        for person in content["people"]:
            flat = person.get("pose_keypoints_2d") if isinstance(person, dict) else None
            if not flat:  # a face or a hand without a body
                continue
            identity = np.ravel(_numbers(person.get("person_id", -1), "person_id", str(file)))
            people.append((int(identity[0]) if identity.size else -1, _triples(flat, str(file))))
        frames.append(people)
    return _Clip(origin=origin, **_by_identity(frames, origin))


def _from_alphapose(content: list[Any], origin: str) -> _Clip:
    """A list of people, each with the image they are in; images without people are left out."""
    if not content:
        raise ValueError(f"{origin} holds no keypoints: the list is empty")
    found: list[tuple[str, int, Floats]] = []
    for entry in content:
        if not isinstance(entry, dict) or "image_id" not in entry or "keypoints" not in entry:
            raise ValueError(
                f"{origin} is not an AlphaPose result: every entry needs image_id and keypoints"
            )
        identity = np.ravel(_numbers(entry.get("idx", -1), "idx", origin))
        person = int(identity[0]) if identity.size else -1
        found.append((str(entry["image_id"]), person, _triples(entry["keypoints"], origin)))

    numbers = [_frame_number(image, origin) for image, _, _ in found]
    # Frames of a video are named 0.jpg, 1.jpg, ...; pictures of a folder may count from anywhere.
    of_video = all(re.fullmatch(r"(0|[1-9][0-9]*)(\.\w+)?", image) for image, _, _ in found)
    start = 0 if of_video else min(numbers)
    frames: list[list[tuple[int, Floats]]] = [
        [] for _ in range(_frame_count(max(numbers) - start, origin))
    ]
    for number, (_, person, points) in zip(numbers, found, strict=True):
        frames[number - start].append((person, points))
    joints = {len(points) for _, _, points in found}
    skeleton = {17: "coco17", 26: "halpe26"}.get(next(iter(joints))) if len(joints) == 1 else None
    return _Clip(origin=origin, skeleton=skeleton, **_by_identity(frames, origin))


def _frame_number(image: str, origin: str) -> int:
    numbers = [part for part in _digits(Path(image).stem) if part.isdigit()]
    if not numbers:
        raise ValueError(f"{origin}: image_id {image!r} has no frame number in it")
    return int(numbers[-1])


def _frame_count(last: int, origin: str) -> int:
    if last >= _MAX_FRAMES:
        raise ValueError(f"{origin}: frame number {last} is more than a day of video: check it")
    return last + 1


def _triples(flat: Any, origin: str) -> Floats:
    """(J, 3) of a flat list x, y, confidence, x, y, ..."""
    values = _numbers(flat, "keypoints", origin)
    if values.ndim != 1 or values.size % 3:
        raise ValueError(
            f"{origin}: the keypoints of a person must be a flat list of x, y, confidence; "
            f"found shape {values.shape}"
        )
    return values.reshape(-1, 3)


def _by_identity(frames: list[list[tuple[int, Floats]]], origin: str) -> dict[str, Any]:
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


def _read_csv(path: Path, wanted: str | None) -> _Clip:
    """A row per joint, frame and person; rows of missing joints may be left out."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = list(reader.fieldnames or [])
            rows = list(reader)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable CSV file: {error}") from error
    lacking = [name for name in ("frame", "joint", "u_px", "v_px") if name not in columns]
    if lacking:
        raise ValueError(
            f"{path} lacks the columns {', '.join(lacking)}; found {', '.join(columns) or 'none'}"
        )
    if not rows:
        raise ValueError(f"{path} holds no keypoints: it has no rows")

    frames = [_cell_index(row, "frame", path) for row in rows]
    people = [_cell_index(row, "person", path) if row.get("person") else 0 for row in rows]
    skeleton, joints, count = _csv_joints([row["joint"] or "" for row in rows], wanted, path)
    frame_count = _frame_count(max(frames), str(path))
    places = list(zip(frames, people, joints, strict=True))
    if len(set(places)) < len(places):
        frame, person, _ = Counter(places).most_common(1)[0][0]
        raise ValueError(f"{path} has two rows for one joint of person {person} in frame {frame}")
    tracks: dict[int, Floats] = {}
    times = np.full(frame_count, np.nan)
    for row, (frame, person, joint) in zip(rows, places, strict=True):
        track = tracks.setdefault(person, np.full((frame_count, count, 3), np.nan))
        u, v = _cell(row, "u_px", path), _cell(row, "v_px", path)
        unsaid = 0.0 if u == v == 0 else 1.0  # as in files of arrays without confidence
        sure = _cell(row, "confidence", path) if "confidence" in columns else unsaid
        track[frame, joint] = u, v, sure
        if "time_s" in columns:
            times[frame] = _cell(row, "time_s", path)
    known = np.isfinite(times)
    if known.any():  # frames without a row lie between those with one
        times = _filled_times(times, known)
    return _Clip(
        origin=str(path),
        people=dict(sorted(tracks.items())),
        skeleton=skeleton,
        time_s=times if known.any() and (len(times) > 1) else None,
    )


def _filled_times(times: Floats, known: NDArray[np.bool_]) -> Floats:
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


def _cell(row: Mapping[str, str | None], column: str, path: Path) -> float:
    text = row[column]
    if not text:
        return float("nan")
    try:
        return float(text)
    except ValueError as error:
        raise ValueError(f"{path}: {column} holds {text!r}, which is not a number") from error


def _cell_index(row: Mapping[str, str | None], column: str, path: Path) -> int:
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
