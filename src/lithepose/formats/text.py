"""A result as text: JSON with everything, CSV with the joints.

Numbers are rounded to what they can mean: metres to 6 places (a micrometre), pixels and seconds to
3 and 6, confidence to 4, quaternions to 6. Missing values are null in JSON and empty cells in CSV.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.files import atomic_write
from lithepose.formats.record import (
    BODY,
    SCHEMA,
    SKELETON,
    check_schema,
    json_ready,
    record_of,
    track_of,
)
from lithepose.poses import Track3D

_PLACES = {
    "keypoints_2d": 3, "confidence": 4, "confidence_3d": 4, "time_s": 6,
    "joints_3d_camera": 6, "points_3d_camera": 6, "joints_3d_world": 6, "points_3d_world": 6,
    "rig_offsets": 6, "rig_markers": 6, "rig_rotations": 6,
}  # fmt: skip
# Of one joint in one frame: camera axes in metres, pixels, confidence.
_COLUMNS = ("x_m", "y_m", "z_m", "u_px", "v_px", "confidence")
_COLUMN_PLACES = (6, 6, 6, 3, 3, 4)
# World axes in metres, where the motion in the world is known.
_WORLD_COLUMNS = ("world_x_m", "world_y_m", "world_z_m")
_WORLD_PLACES = (6, 6, 6)


def write_json(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one person's motion as one JSON object, with the names of `record.RECORD`; see
    `lithepose.formats.FORMATS`."""
    content: dict[str, Any] = {"schema": SCHEMA}
    for name, array in record_of(track).items():
        content[name] = _rounded(array, _PLACES[name]) if name in _PLACES else array.tolist()
    content["metadata"] = json_ready(track.metadata)
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        # One line per name: the whole stays small and the short values can be read at a glance.
        rows = (
            f"{json.dumps(name)}: {json.dumps(value, ensure_ascii=False, allow_nan=False)}"
            for name, value in content.items()
        )
        file.write("{\n" + ",\n".join(rows) + "\n}\n")


def read_json(path: str | os.PathLike[str]) -> Track3D:
    """Read what `write_json` wrote; see `lithepose.formats.READERS`."""
    path = Path(path)
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError, RecursionError) as error:
        raise ValueError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} is not a result: it holds a JSON {type(content).__name__}")
    check_schema(content.get("schema", "none"), str(path))
    return track_of(content, content.get("metadata", {}), str(path))


def write_csv(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one row per joint and frame: frame, time_s, person, joint, x_m, y_m, z_m, u_px, v_px,
    confidence, and world_x_m, world_y_m, world_z_m where the track has a world.

    x, y, z are camera axes, absolute; u, v the observed pixel. Every joint of every frame has its
    row, with empty cells where it is missing. A track with more points than the 17 joints has rows
    for them after these, without pixels and with the confidence of the 3D point.
    """
    joints, columns, frames = _table(track)
    rows = (
        (*start, joint, *row)
        for start, cells in frames
        for joint, row in zip(joints, cells, strict=True)
    )
    _write_rows(path, ("frame", "time_s", "person", "joint", *columns), rows)


def write_csv_wide(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one row per frame: frame, time_s, person, then the columns of `write_csv` for each
    joint with its name in front, such as `left_knee_x_m`; those of the world after all others.
    """
    joints, columns, frames = _table(track)

    def in_row(cells: list[list[str]]) -> list[str]:
        first = len(_COLUMNS)
        parts = [row[:first] for row in cells] + [row[first:] for row in cells]
        return [cell for part in parts for cell in part]

    names = in_row([[f"{joint}_{column}" for column in columns] for joint in joints])
    rows = ((*start, *in_row(cells)) for start, cells in frames)
    _write_rows(path, ("frame", "time_s", "person", *names), rows)


_Rows = Iterator[tuple[tuple[Any, ...], list[list[str]]]]


def _table(track: Track3D) -> tuple[tuple[str, ...], tuple[str, ...], _Rows]:
    """The joints; the columns of each; and for each frame (frame, time_s, person) and the cells
    (joints, columns) as text."""
    record = record_of(track)
    joints, columns, places = SKELETON.joints, _COLUMNS, _COLUMN_PLACES
    values = np.concatenate(
        [record["joints_3d_camera"], record["keypoints_2d"], record["confidence"][..., None]],
        axis=-1,
    )  # (T, 17, 6)
    if "point_names" in record:
        joints = BODY.joints
        further = np.full((len(values), len(BODY) - len(SKELETON), len(_COLUMNS)), np.nan)
        if "points_3d_camera" in record:
            further[..., :3] = record["points_3d_camera"][:, len(SKELETON) :]
        if "confidence_3d" in record:
            further[..., 5] = record["confidence_3d"][:, len(SKELETON) :]
        values = np.concatenate([values, further], axis=1)  # (T, 31, 6)
    if "points_3d_world" in record:
        columns, places = columns + _WORLD_COLUMNS, places + _WORLD_PLACES
        values = np.concatenate([values, record["points_3d_world"]], axis=-1)  # (T, 31, 9)
    times = _rounded(record["time_s"], _PLACES["time_s"])

    def rows() -> _Rows:
        for frame, (time_s, poses) in enumerate(zip(times, values.tolist(), strict=True)):
            cells = [
                # x != x holds for nan alone.
                ["" if x != x else f"{x:.{n}f}" for x, n in zip(row, places, strict=True)]
                for row in poses
            ]
            yield (frame, time_s, track.person), cells

    return joints, columns, rows()


def _write_rows(
    path: str | os.PathLike[str], header: Iterable[str], rows: Iterable[Iterable[Any]]
) -> None:
    # newline="": the csv module ends the rows itself.
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(chain([header], rows))


def _rounded(array: NDArray[Any], places: int) -> list[Any]:
    """Nested lists of plain floats, None where not finite."""
    array = np.round(array.astype(np.float64), places)
    plain = array.astype(object)
    plain[~np.isfinite(array)] = None
    return plain.tolist()
