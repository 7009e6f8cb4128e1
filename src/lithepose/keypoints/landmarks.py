"""Layouts of keypoint files in shares of the frame: Ultralytics' and MediaPipe's.

As in `lithepose.keypoints.layouts`, each reader gives what the file says. The size of the
frames, which turns shares into pixels, is in none of these files: the caller knows it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.arrays import Floats
from lithepose.keypoints.layouts import (
    Clip,
    Found,
    by_identity,
    cell,
    cell_index,
    digits,
    filled_times,
    frame_count,
    identity_of,
    load_json,
    numbers,
)
from lithepose.skeletons import SKELETONS, skeleton_named

# Shares reach a little beyond [0, 1] where a joint is placed outside the frame, pixels far.
_MOST_SHARE = 2.0

# Ultralytics


def is_label_line(line: str) -> bool:
    """Whether a line of text can be a person of an Ultralytics label file: a class, a box in
    shares of the frame, and at least six joints."""
    parts = line.split()
    if len(parts) < 5 + 2 * 6:
        return False
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return False
    return values[0].is_integer() and all(-0.5 <= value <= 1.5 for value in values[1:5])


def read_labels(files: Sequence[Path], skeleton: str | None, origin: str) -> Clip:
    """Label files, one per frame: `class x y w h`, then x, y (and visibility) of each joint.

    What `save_txt` writes of a video is named `<video>_1.txt`, `<video>_2.txt`, ..., without a file
    for a frame without people. Other names count from the lowest number. After the joints may come
    the confidence of the box and an identity. Only class 0 is read.

    Args:
        skeleton: the caller's joint set; COCO's 17 joints without it.
    """
    joints = len(skeleton_named(skeleton or "coco17"))
    numbered = [_label_number(file) for file in files]
    if any(number is None for number in numbered):
        counted = list(range(len(files)))
    else:
        counted = [int(number or 0) for number in numbered]
        padded = any(re.search(r"(?<![0-9])0[0-9]+$", file.stem) for file in files)
        start = min(counted) if padded or min(counted) == 0 else 1
        counted = [number - start for number in counted]
    frames: list[Found] = [[] for _ in range(frame_count(max(counted), origin))]
    for number, file in zip(counted, files, strict=True):
        frames[number] += _label_people(file, joints)
    return Clip(
        origin=origin,
        layout="Ultralytics labels",
        normalised=True,
        skeleton=skeleton or "coco17",
        **by_identity(frames, origin),
    )


def _label_number(file: Path) -> int | None:
    parts = [part for part in digits(file.stem) if part.isdigit()]
    return int(parts[-1]) if parts else None


def _label_people(file: Path, joints: int) -> Found:
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        rows = [[float(part) for part in line] for line in lines if line]
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} is no label file: {error}") from error
    people: Found = []
    for row in rows:
        if row[0] != 0:
            continue
        rest = np.array(row[5:])
        for width in (3, 2):
            extra = len(rest) - width * joints
            if 0 <= extra <= 2:
                break
        else:
            raise ValueError(
                f"{file}: a line of {len(row)} numbers is no person of {joints} joints, which has "
                f"{5 + 2 * joints} or {5 + 3 * joints} and at most two more: give the joint set "
                "with skeleton="
            )
        points = rest[: width * joints].reshape(joints, width)
        if width == 2:
            points = np.column_stack([points, (points != 0).any(axis=1)])
        # A confidence comes before the identity; alone, a number above 1 is an identity.
        named = extra == 2 or (extra == 1 and rest[-1] > 1)
        people.append((int(rest[-1]) if named else -1, points))
    return people


def is_ultralytics(content: Any) -> bool:
    """Whether JSON is what `to_json` of a frame gives, or a list of that for several frames."""
    if not isinstance(content, list):
        return False
    entries = [e for frame in content for e in (frame if isinstance(frame, list) else [frame])]
    return bool(entries) and all(
        isinstance(entry, dict) and "box" in entry and isinstance(entry.get("keypoints"), dict)
        for entry in entries
    )


def from_ultralytics(content: Sequence[list[Any]], origin: str) -> Clip:
    """People as `to_json` writes them: `keypoints` with lists x, y and visible.

    Args:
        content: for each frame the list of its people.
    """
    frames: list[Found] = []
    for entries in content:
        people: Found = []
        for entry in entries:
            parts = entry["keypoints"]
            points = [numbers(parts.get(axis), f"keypoints {axis}", origin) for axis in "xy"]
            visible = parts.get("visible")
            points.append(
                np.asarray((points[0] != 0) | (points[1] != 0), np.float64)
                if visible is None
                else numbers(visible, "keypoints visible", origin)
            )
            if len({part.shape for part in points}) > 1 or points[0].ndim != 1:
                raise ValueError(
                    f"{origin}: x, y and visible of a person must be lists of one length; found "
                    f"{', '.join(str(part.shape) for part in points)}"
                )
            people.append((identity_of(entry, ("track_id",), origin), np.stack(points, axis=1)))
        frames.append(people)
    joints = {len(points) for people in frames for _, points in people}
    return Clip(
        origin=origin,
        layout="Ultralytics JSON",
        normalised=_in_shares(frames),
        skeleton="coco17" if joints == {17} else None,
        **by_identity(frames, origin),
    )


def _in_shares(frames: Sequence[Found]) -> bool:
    """Whether the coordinates are shares of the frame: nearly all are far below two pixels."""
    seen = [points[points[:, 2] > 0, :2].ravel() for people in frames for _, points in people]
    values = np.concatenate([*seen, np.empty(0)])
    values = values[np.isfinite(values)]
    return len(values) > 0 and bool(np.quantile(np.abs(values), 0.95) <= _MOST_SHARE)


# MediaPipe

_PEOPLE_NAMES = ("pose_landmarks", "poseLandmarks", "landmarks", "landmark")
_LANDMARKS = SKELETONS["blazepose33"].joints
# MediaPipe's own names where they differ from the joint set's.
_OTHER_NAMES = {"mouth_left": "left_mouth", "mouth_right": "right_mouth"}
_LANDMARK_COLUMNS = (
    "landmark",
    "landmark_name",
    "landmark_id",
    "landmark_index",
    "landmark_idx",
    "landmark_no",
)
_FRAME_COLUMNS = ("frame", "frame_id", "frame_number", "frame_num", "frame_idx", "frame_index")


def is_mediapipe(content: Any) -> bool:
    """Whether JSON is what MediaPipe found in a frame, or a list of that for several frames."""
    if isinstance(content, dict) and isinstance(content.get("frames"), list):
        content = content["frames"]
    for _ in range(4):  # a clip, its frame, the people in it, the landmarks of one
        if isinstance(content, dict):
            return _is_landmark(content) or any(name in content for name in _PEOPLE_NAMES)
        if not isinstance(content, list):
            return False
        content = next((part for part in content if part), None)
    return False


def _is_landmark(value: Any) -> bool:
    return isinstance(value, dict) and "x" in value and "y" in value


def from_mediapipe(content: Any, origin: str) -> Clip:
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
    return Clip(
        origin=origin,
        layout="MediaPipe JSON",
        normalised=_in_shares(frames),
        skeleton="blazepose33",
        image_size=fields.get("image_size"),
        fps=fields.get("fps"),
        time_s=times if len(times) > 1 and None not in times else None,
        **by_identity(frames, origin),
    )


def _people(frame: Any, origin: str, levels: int = 4) -> list[Floats]:
    """(33, 3) of each person of a frame, whose landmarks may be so many levels deep."""
    if frame is None or frame == []:
        return []
    if isinstance(frame, dict):
        value = next((frame[name] for name in _PEOPLE_NAMES if name in frame), None)
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
        sure = [landmark.get(name) for name in ("visibility", "presence")]
        rows.append(
            [landmark["x"], landmark["y"], *(1.0 if value is None else value for value in sure)]
        )
    values = numbers(rows, "landmarks", origin)
    return [np.column_stack([values[:, :2], values[:, 2] * values[:, 3]])]


def _time(frame: Any) -> float | None:
    if isinstance(frame, dict):
        for name, unit in (("time_s", 1.0), ("timestamp_ms", 1e-3)):
            if isinstance(frame.get(name), int | float):
                return frame[name] * unit
    return None


def is_landmark_table(columns: Sequence[str]) -> bool:
    """Whether columns of a CSV file are those of MediaPipe's landmarks, long or wide."""
    return _long_columns(columns) is not None or len(_wide_columns(columns)) > 0


def from_landmark_rows(
    columns: Sequence[str], rows: list[dict[str, str | None]], path: Path
) -> Clip:
    """Landmarks from the rows of a CSV file of one person.

    Either a row per frame and landmark (`frame`, `landmark` by name or number, `x`, `y`, maybe
    `visibility` and `presence`), or a row per frame with columns such as `left_knee_x` or `x25`,
    where landmarks may count from 0 or from 1, and without a `frame` column rows are frames.
    """
    if not rows:
        raise ValueError(f"{path} holds no keypoints: it has no rows")
    long = _long_columns(columns)
    frame_column = next((name for name in columns if name.lower() in _FRAME_COLUMNS), None)
    if frame_column is None:
        at = list(range(len(rows)))
    else:
        counted = [cell_index(row, frame_column, path) for row in rows]
        start = min(min(counted), 1)  # counted from 0 or from 1
        at = [number - start for number in counted]
    length = frame_count(max(at), str(path))
    points = np.full((length, len(_LANDMARKS), 4), np.nan)  # x, y, visibility, presence
    points[..., 2:] = 1.0
    if long is not None:
        landmark, fields = long
        names = [str(row[landmark] or "") for row in rows]
        indices = _landmark_indices(names, str(path))
        for frame, joint, row in zip(at, indices, rows, strict=True):
            for axis, column in fields.items():
                points[frame, joint, axis] = cell(row, column, path)
    else:
        wide = _wide_columns(columns)
        indices = _landmark_indices([name for name, _, _ in wide], str(path))
        for frame, row in zip(at, rows, strict=True):
            for joint, (_, axis, column) in zip(indices, wide, strict=True):
                points[frame, joint, axis] = cell(row, column, path)
    times = np.full(length, np.nan)
    for name, unit in (("time_s", 1.0), ("timestamp_ms", 1e-3)):
        if name in columns and not np.isfinite(times).any():
            for frame, row in zip(at, rows, strict=True):
                times[frame] = cell(row, name, path) * unit
    known = np.isfinite(times)
    people = np.concatenate([points[..., :2], points[..., 2:].prod(-1, keepdims=True)], axis=-1)
    return Clip(
        origin=str(path),
        layout="MediaPipe CSV",
        normalised=_in_shares([[(0, frame)] for frame in people]),
        skeleton="blazepose33",
        people={0: people},
        time_s=filled_times(times, known) if known.sum() > 1 else None,
    )


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


def read_frames(files: Sequence[Path], origin: str) -> Clip:
    """A folder of JSON files, one per frame, of Ultralytics or MediaPipe."""
    content = [load_json(file) for file in files]
    if all(frame == [] or is_ultralytics(frame) for frame in content):
        return from_ultralytics(content, origin)
    return from_mediapipe(content, origin)
