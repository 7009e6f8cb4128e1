"""A result as text: JSON with everything, CSV with the joints.

Numbers are rounded to what they can mean: metres to 6 places (a micrometre), pixels and seconds to
3 and 6, confidence to 4. Missing values are null in JSON and empty cells in CSV.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from lithepose.formats.atomic import atomic_write
from lithepose.formats.record import SCHEMA, SKELETON, check_schema, json_ready, record_of, track_of
from lithepose.poses import Track3D

_PLACES = {"joints_3d_camera": 6, "keypoints_2d": 3, "confidence": 4, "time_s": 6}
# Of one joint in one frame: camera axes in metres, pixels, confidence.
_COLUMNS = ("x_m", "y_m", "z_m", "u_px", "v_px", "confidence")
_COLUMN_PLACES = (6, 6, 6, 3, 3, 4)


def write_json(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one person's motion as one JSON object, with the names of `record.RECORD`.

    Args:
        path: the file to write, with its suffix; replaced if it exists.
        track: the motion.

    Raises:
        ValueError: an array of the track has the wrong shape, or the metadata is not JSON-ready.
        OSError: the place cannot be written to; nothing is left behind.
    """
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
    """Read what `write_json` wrote.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a result file, a damaged one, or one of a later version.
    """
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
    confidence.

    x, y, z are camera axes, absolute; u, v the observed pixel. Every joint of every frame has its
    row, with empty cells where it is missing.

    Args:
        path: the file to write, with its suffix; replaced if it exists.
        track: the motion.

    Raises:
        ValueError: an array of the track has the wrong shape.
        OSError: the place cannot be written to; nothing is left behind.
    """
    frames = _frames(track)
    with atomic_write(path) as temporary, _open_csv(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("frame", "time_s", "person", "joint", *_COLUMNS))
        for start, cells in frames:
            writer.writerows(
                (*start, joint, *row) for joint, row in zip(SKELETON.joints, cells, strict=True)
            )


def write_csv_wide(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one row per frame: frame, time_s, person, then the columns of `write_csv` for each
    joint with its name in front, such as `left_knee_x_m`.

    Args:
        path: the file to write, with its suffix; replaced if it exists.
        track: the motion.

    Raises:
        ValueError: an array of the track has the wrong shape.
        OSError: the place cannot be written to; nothing is left behind.
    """
    frames = _frames(track)
    with atomic_write(path) as temporary, _open_csv(temporary) as file:
        writer = csv.writer(file, lineterminator="\n")
        names = (f"{joint}_{column}" for joint in SKELETON.joints for column in _COLUMNS)
        writer.writerow(("frame", "time_s", "person", *names))
        for start, cells in frames:
            writer.writerow((*start, *(cell for row in cells for cell in row)))


def _frames(track: Track3D) -> Iterator[tuple[tuple[Any, ...], list[list[str]]]]:
    """(frame, time_s, person) and the cells (17, 6) of each frame, as text."""
    record = record_of(track)
    values = np.concatenate(
        [record["joints_3d_camera"], record["keypoints_2d"], record["confidence"][..., None]],
        axis=-1,
    )  # (T, 17, 6)
    times = _rounded(record["time_s"], _PLACES["time_s"])

    def rows() -> Iterator[tuple[tuple[Any, ...], list[list[str]]]]:
        for frame, (time_s, joints) in enumerate(zip(times, values.tolist(), strict=True)):
            cells = [
                # x != x holds for nan alone.
                ["" if x != x else f"{x:.{n}f}" for x, n in zip(row, _COLUMN_PLACES, strict=True)]
                for row in joints
            ]
            yield (frame, time_s, track.person), cells

    return rows()


def _open_csv(path: Path) -> TextIO:
    # newline="": the csv module ends the rows itself.
    return path.open("w", encoding="utf-8", newline="")


def _rounded(array: NDArray[Any], places: int) -> list[Any]:
    """Nested lists of plain floats, None where not finite."""
    array = np.round(array.astype(np.float64), places)
    plain = array.astype(object)
    plain[~np.isfinite(array)] = None
    return plain.tolist()
