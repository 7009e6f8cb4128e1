"""What a keypoint file says, and what its layouts share: numbers, cells, frames, identities."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Flags, Floats
from lithepose.skeletons import SKELETONS

# A day at 100 frames per second: a larger frame number is a slip, and would fill the memory.
_MAX_FRAMES = 24 * 3600 * 100
Row = Mapping[str, str | None]
# Shares reach a little beyond [0, 1] where a joint is placed outside the frame, pixels far.
_MOST_SHARE = 2.0
FramePeople = list[tuple[int, Floats]]  # of one frame: identity, or -1, and (J, 3)


@dataclass(frozen=True, kw_only=True)
class KeypointClip:
    """What a file says, before the caller's options and the checks.

    Attributes:
        people: person -> (T, J, 3), x, y and confidence; empty where `frames` are given.
        frames: the people of each frame, where the file goes frame by frame.
        normalised: the coordinates are shares of the frame's width and height, not pixels.
        world: (T, J, 3) metres.
    """

    people: Mapping[int, Floats] = field(default_factory=dict)
    frames: Sequence[FramePeople] = ()
    normalised: bool = False
    skeleton: str | None = None
    image_size: Any = None
    fps: Any = None
    time_s: Any = None
    world: Floats | None = None


class Table(NamedTuple):
    """A CSV file; `skeleton`, the caller's joint set, tells what its names of joints mean."""

    columns: list[str]
    rows: list[dict[str, str | None]]
    skeleton: str | None


def load_json(path: Path) -> Any:
    """The content of a JSON file, with or without a byte order mark."""
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error


def load_table(path: Path, skeleton: str | None) -> Table:
    """The column names and the rows of a CSV file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file, skipinitialspace=True)
            columns = [name.strip() for name in reader.fieldnames or []]
            reader.fieldnames = columns
            return Table(columns, list(reader), skeleton)
    except (csv.Error, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is not a readable CSV file: {error}") from error


def cell(row: Row, column: str, origin: str) -> float:
    """A number of a CSV file; nan where the cell is empty."""
    text = row[column]
    try:
        return float(text) if text else float("nan")
    except ValueError as error:
        raise ValueError(f"{origin}: {column} holds {text!r}, which is not a number") from error


def cell_index(row: Row, column: str, origin: str) -> int:
    """A whole number, 0 or more, of a CSV file."""
    text = row[column] or ""
    if not re.fullmatch(r"[0-9]+", text):
        raise ValueError(f"{origin}: {column} holds {text!r}; it must be a count from 0")
    return int(text)


def filled_times(times: Floats, known: Flags) -> Floats:
    """Times of the frames that have none, at the rate of the others."""
    at = np.flatnonzero(known)
    if len(at) == 1:
        return times
    frames = np.arange(len(times))
    step = (times[at[-1]] - times[at[0]]) / (at[-1] - at[0])
    filled = np.interp(frames, at, times[at])
    for end, outside in ((at[0], frames < at[0]), (at[-1], frames > at[-1])):
        filled[outside] = times[end] + step * (frames[outside] - end)
    return filled


def numbers(value: Any, name: str, origin: str) -> NDArray[np.float64]:
    """The value as an array of float64; null becomes nan."""
    try:
        return np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{origin}: {name} is not an array of numbers: {error}") from error


def triples(flat: Any, origin: str) -> Floats:
    """(J, 3) of a flat list x, y, confidence, x, y, ..."""
    values = numbers(flat, "keypoints", origin)
    if values.ndim != 1 or values.size % 3:
        raise ValueError(
            f"{origin}: the keypoints of a person must be a flat list of x, y, confidence; "
            f"found shape {values.shape}"
        )
    return values.reshape(-1, 3)


def with_confidence(keypoints: Any, confidence: Any, origin: str) -> Floats:
    """(T, J, 3) of the fields of a file."""
    points = numbers(keypoints, "keypoints", origin)
    if points.ndim != 3 or points.shape[-1] not in (2, 3):
        raise ValueError(
            f"{origin}: keypoints must be (frames, joints, 2 or 3); found {points.shape}"
        )
    if len(points) == 0:
        raise ValueError(f"{origin} holds no keypoints: it has no frames")
    if confidence is None:
        return points if points.shape[-1] == 3 else marked_by_origin(points)
    values = numbers(confidence, "confidence", origin)
    if values.shape == (*points.shape[:2], 1):
        values = values[..., 0]
    if values.shape != points.shape[:2]:
        raise ValueError(
            f"{origin}: confidence must be {points.shape[:2]}, one value per keypoint; "
            f"found {values.shape}"
        )
    return np.concatenate([points[..., :2], values[..., None]], axis=-1)


def marked_by_origin(points: Floats) -> Floats:
    """(..., 3) of points (..., 2) without confidence, where (0, 0) is the customary mark of a joint
    that was not found."""
    return np.concatenate([points, (points != 0).any(axis=-1, keepdims=True)], axis=-1)


def are_shares(frames: Iterable[FramePeople]) -> bool:
    """Whether coordinates are shares of the frame: nearly all are far below two pixels."""
    seen = [points[points[:, 2] > 0, :2].ravel() for people in frames for _, points in people]
    values = np.concatenate([*seen, np.empty(0)])
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool(np.quantile(np.abs(values), 0.95) <= _MOST_SHARE)


def identity_of(entry: Mapping[str, Any], names: Sequence[str], origin: str) -> int:
    """Who somebody is by the first of these fields that is there; -1 if none is."""
    value = next((entry[name] for name in names if entry.get(name) is not None), -1)
    identity = np.ravel(numbers(value, names[0], origin))
    return int(identity[0]) if identity.size and np.isfinite(identity[0]) else -1


def last_number(name: str) -> int | None:
    """The last number in a name."""
    found = re.findall(r"[0-9]+", name)
    return int(found[-1]) if found else None


def frame_count(last: int, origin: str) -> int:
    """Frames of a clip that ends with this one."""
    if last >= _MAX_FRAMES:
        raise ValueError(f"{origin}: frame number {last} is more than a day of video: check it")
    return last + 1


def in_frames(
    numbered: Iterable[tuple[int, FramePeople]], start: int, origin: str
) -> list[FramePeople]:
    """The people of each frame of a clip, of (frame number, people) in any order.

    Args:
        start: the number of the first frame.
    """
    numbered = list(numbered)
    last = max(number for number, _ in numbered) - start
    frames: list[FramePeople] = [[] for _ in range(frame_count(last, origin))]
    for number, people in numbered:
        frames[number - start] += people
    return frames


def usual_skeleton(frames: Sequence[FramePeople], names: Any = None) -> str | None:
    """The set that has these names; else COCO's, where there are as many joints."""
    joints = {len(points) for people in frames for _, points in people}
    if isinstance(names, Sequence) and joints == {len(names)}:
        plain = tuple(str(name).lower().replace(" ", "_").replace("-", "_") for name in names)
        for skeleton in SKELETONS.values():
            if skeleton.joints == plain:
                return skeleton.name
        if len(plain) == 17:
            return None  # three sets have so many, and by its names it is not COCO's
    return "coco17" if joints == {17} else None
