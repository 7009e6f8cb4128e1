"""MediaPipe's 33 landmarks, as the JSON or the CSV that people make of them."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lithepose.arrays import Floats
from lithepose.keypoints.content import (
    KeypointClip,
    Table,
    are_shares,
    cell,
    cell_index,
    filled_times,
    frame_count,
    numbers,
)
from lithepose.skeletons import SKELETONS

_PEOPLE = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
_LANDMARKS = SKELETONS["blazepose33"].joints
# MediaPipe's own names where they differ from the joint set's.
_OTHER_NAMES = {"mouth_left": "left_mouth", "mouth_right": "right_mouth"}
_LANDMARK_COLUMNS = {"landmark", *(f"landmark_{n}" for n in ("name", "id", "index", "idx", "no"))}
_TIMES = {"time_s": 1.0, "timestamp_ms": 1e-3}  # seconds of each unit
_FRAME_COLUMNS = ("frame", "frame_id", "frame_number", "frame_num", "frame_idx", "frame_index")


def recognise(content: Any) -> bool:
    """Whether JSON is what MediaPipe found in a frame, or a list of that for several frames."""
    if isinstance(content, dict) and isinstance(content.get("frames"), list):
        content = content["frames"]
    for _ in range(4):  # a clip, its frame, the people in it, the landmarks of one
        if isinstance(content, dict):
            return _is_landmark(content) or any(name in content for name in _PEOPLE)
        if not isinstance(content, list):
            return False
        content = next((part for part in content if part), None)
    return False


def _is_landmark(value: Any) -> bool:
    return isinstance(value, dict) and "x" in value and "y" in value


def read(content: Any, origin: str) -> KeypointClip:
    """The landmarks of a clip, or of one frame.

    A frame is a list of 33 landmarks with x, y and maybe visibility and presence; or a list of such
    people; or an object that has either under `pose_landmarks`, `landmarks` or `landmark`. Frames
    may carry `time_s` or `timestamp_ms`. Confidence is visibility times presence.
    """
    fields: Mapping[str, Any] = {}
    if isinstance(content, dict):
        fields = content if "frames" in content else {}
        content = content.get("frames", [content])
    elif _is_landmark(next((part for part in content if part), None)):
        content = [content]
    frames = [[(-1, points) for points in _people(frame, origin)] for frame in content]
    times = [_time(frame) for frame in content]
    return KeypointClip(
        frames=frames,
        normalised=are_shares(frames),
        skeleton="blazepose33",
        image_size=fields.get("image_size"),
        fps=fields.get("fps"),
        time_s=times if len(times) > 1 and None not in times else None,
    )


def _people(frame: Any, origin: str, levels: int = 4) -> list[Floats]:
    """(33, 3) of each person of a frame, whose landmarks may be so many levels deep."""
    if frame is None or frame == []:
        return []
    if isinstance(frame, dict):
        value = next((frame[name] for name in _PEOPLE if name in frame), None)
        return _people(value, origin, levels - 1)
    if not isinstance(frame, list) or levels == 0:
        raise ValueError(f"{origin}: a frame holds {type(frame).__name__}, not landmarks")
    if not _is_landmark(frame[0]):
        return [person for part in frame for person in _people(part, origin, levels - 1)]
    if len(frame) != len(_LANDMARKS):
        raise ValueError(
            f"{origin}: a person has {len(frame)} landmarks, but a body of MediaPipe has "
            f"{len(_LANDMARKS)}: faces and hands cannot be lifted"
        )
    rows = []
    for landmark in frame:
        if not _is_landmark(landmark):
            raise ValueError(f"{origin}: a landmark has no x and y")
        scores = [landmark.get(name) for name in ("visibility", "presence")]
        scores = [1.0 if score is None else score for score in scores]
        rows.append([landmark["x"], landmark["y"], *scores])
    values = numbers(rows, "landmarks", origin)
    return [np.column_stack([values[:, :2], values[:, 2] * values[:, 3]])]


def _time(frame: Any) -> float | None:
    if isinstance(frame, dict):
        for name, unit in _TIMES.items():
            if isinstance(frame.get(name), int | float):
                return frame[name] * unit
    return None


def recognise_table(table: Table) -> bool:
    """Whether columns of a CSV file are those of MediaPipe's landmarks, long or wide."""
    return _long_columns(table.columns) is not None or len(_wide_columns(table.columns)) > 0


def read_table(table: Table, origin: str) -> KeypointClip:
    """Landmarks of one person from the rows of a CSV file.

    Either a row per frame and landmark (`frame`, `landmark` by name or number, `x`, `y`, maybe
    `visibility` and `presence`), or a row per frame with columns such as `left_knee_x` or `x25`,
    where landmarks may count from 0 or from 1, and without a `frame` column rows are frames.
    """
    columns, rows = table.columns, table.rows
    if not rows:
        raise ValueError(f"{origin} holds no keypoints: it has no rows")
    frame_column = next((name for name in columns if name.lower() in _FRAME_COLUMNS), None)
    at = list(range(len(rows)))
    if frame_column is not None:
        at = [cell_index(row, frame_column, origin) for row in rows]
        start = min(*at, 1)  # counted from 0 or from 1
        at = [number - start for number in at]
    length = frame_count(max(at), origin)
    points = np.full((length, len(_LANDMARKS), 4), np.nan)  # x, y, visibility, presence
    points[..., 2:] = 1.0
    for frame, row, cells in zip(at, rows, _cells(table, origin), strict=True):
        for joint, axis, column in cells:
            points[frame, joint, axis] = cell(row, column, origin)
    times = np.full(length, np.nan)
    for name, unit in _TIMES.items():
        if name in columns and not np.isfinite(times).any():
            for frame, row in zip(at, rows, strict=True):
                times[frame] = cell(row, name, origin) * unit
    known = np.isfinite(times)
    person = np.concatenate([points[..., :2], points[..., 2:].prod(-1, keepdims=True)], axis=-1)
    return KeypointClip(
        people={0: person},
        normalised=are_shares([[(0, frame)] for frame in person]),
        skeleton="blazepose33",
        time_s=filled_times(times, known) if known.sum() > 1 else None,
    )


def _cells(table: Table, origin: str) -> list[list[tuple[int, int, str]]]:
    """(landmark, axis, column) of the cells of each row."""
    if long := _long_columns(table.columns):
        landmark, fields = long
        names = [row[landmark] or "" for row in table.rows]
        return [
            [(joint, axis, column) for axis, column in fields.items()]
            for joint in _landmark_indices(names, origin)
        ]
    wide = _wide_columns(table.columns)
    indices = _landmark_indices([name for name, _, _ in wide], origin)
    cells = [(joint, axis, column) for joint, (_, axis, column) in zip(indices, wide, strict=True)]
    return [cells] * len(table.rows)


_AXES = {"x": 0, "y": 1, "v": 2, "visibility": 2, "confidence": 2, "presence": 3}


def _long_columns(columns: Sequence[str]) -> tuple[str, dict[int, str]] | None:
    """The column that names the landmark, and the columns of x, y, visibility and presence."""
    landmark = next((name for name in columns if name.lower() in _LANDMARK_COLUMNS), None)
    fields = {_AXES[name.lower()]: name for name in columns if name.lower() in _AXES}
    return None if landmark is None or not {0, 1} <= fields.keys() else (landmark, fields)


def _wide_columns(columns: Sequence[str]) -> list[tuple[str, int, str]]:
    """(landmark, axis, column) of each column of a row per frame; empty if there are not all x and
    y of 33 landmarks."""
    axes = "|".join(_AXES)
    found = []
    for column in columns:
        name = column.strip().lower().replace(" ", "_")
        match = re.fullmatch(rf"(?P<name>.*?[a-z0-9])_?[_.-](?P<axis>{axes})", name)
        match = match or re.fullmatch(rf"(?P<axis>{axes})_?(?P<name>[0-9]+)", name)
        if match:
            found.append((match["name"], _AXES[match["axis"]], column))
    placed = {name for name, axis, _ in found if axis == 0}
    placed &= {name for name, axis, _ in found if axis == 1}
    if len(placed) != len(_LANDMARKS):
        return []
    return [entry for entry in found if entry[0] in placed]


def _landmark_indices(names: Sequence[str], origin: str) -> list[int]:
    """Index of each landmark, given by name, by number, or with a number in its name."""
    plain = [re.sub(r"[ -]+", "_", name.strip().lower()) for name in names]
    plain = [_OTHER_NAMES.get(name, name) for name in plain]
    if all(name in _LANDMARKS for name in plain):
        return [_LANDMARKS.index(name) for name in plain]
    counted = [re.search(r"([0-9]+)$", name) for name in plain]
    if all(counted):
        indices = [int(match[1]) for match in counted if match]
        # From 1 to 33, or from 0 to 32.
        start = 1 if max(indices) == len(_LANDMARKS) and min(indices) > 0 else 0
        if max(indices) - start < len(_LANDMARKS):
            return [index - start for index in indices]
    strange = sorted({name for name in plain if name not in _LANDMARKS and not name.isdigit()})
    strange = strange or sorted({name for name in plain if int(name) >= len(_LANDMARKS)})
    raise ValueError(
        f"{origin}: {', '.join(strange[:5])} are no landmarks of MediaPipe's body: use its 33 "
        "names, or numbers from 0 to 32"
    )
