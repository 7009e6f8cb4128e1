"""The content of a result file: the same names and shapes in every format.

`RECORD` is the schema. `docs/conventions.md` explains it to users; its names don't change within
`lithepose/1`, because other people's scripts read them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.poses import Track3D
from lithepose.skeletons import SKELETONS

SCHEMA = "lithepose/1"
SKELETON = SKELETONS["h36m17"]
_J = len(SKELETON)

# Name -> (shape, type); T is the number of frames. What a reader may count on.
RECORD: dict[str, tuple[tuple[int | str, ...], type[np.generic]]] = {
    "joints_3d_camera": (("T", _J, 3), np.float32),
    "keypoints_2d": (("T", _J, 2), np.float32),
    "confidence": (("T", _J), np.float32),
    "fps": ((), np.float64),
    "time_s": (("T",), np.float64),
    "image_size": ((2,), np.int64),
    "focal_px": ((), np.float64),
    "joint_names": ((_J,), np.str_),
    "parents": ((_J,), np.int64),
    "derived": ((_J,), np.bool_),
    "person": ((), np.int64),
}


def record_of(track: Track3D) -> dict[str, NDArray[Any]]:
    """The arrays of a result file, by the names of `RECORD`.

    Raises:
        ValueError: an array of the track has the wrong shape, or the track has no frames.
    """
    values = {
        "joints_3d_camera": track.joints_camera,
        "keypoints_2d": track.keypoints_2d,
        "confidence": track.confidence,
        "fps": track.fps,
        "time_s": track.time_s,
        "image_size": track.image_size,
        "focal_px": track.focal_px,
        "joint_names": SKELETON.joints,
        "parents": SKELETON.parents,
        "derived": track.derived,
        "person": track.person,
    }
    record = {name: np.asarray(values[name], dtype=kind) for name, (_, kind) in RECORD.items()}
    _check_shapes(record, "the track")
    return record


def track_of(values: dict[str, Any], metadata: Any, origin: str) -> Track3D:
    """The track in the values of a result file.

    Args:
        values: at least the names of `RECORD`; arrays, or nested lists with None for nan.
        metadata: the JSON object stored with them.
        origin: the file, for messages.

    Raises:
        ValueError: a name is missing, or a value has the wrong type or shape.
    """
    missing = [name for name in RECORD if name not in values]
    if missing:
        raise ValueError(f"{origin} is not a complete result: it lacks {', '.join(missing)}")
    record: dict[str, NDArray[Any]] = {}
    for name, (_, kind) in RECORD.items():
        try:
            record[name] = np.asarray(values[name], dtype=kind)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{origin}: {name} is not an array of numbers: {error}") from error
    _check_shapes(record, origin)
    if tuple(record["joint_names"].tolist()) != SKELETON.joints:
        raise ValueError(
            f"{origin}: the joints are not those of {SKELETON.name} in their order; "
            f"found {', '.join(record['joint_names'].tolist())}"
        )
    if not isinstance(metadata, dict):
        raise ValueError(f"{origin}: metadata must be a JSON object; found {metadata!r}")
    width, height = record["image_size"].tolist()
    return Track3D(
        person=int(record["person"]),
        joints_camera=record["joints_3d_camera"],
        confidence=record["confidence"],
        keypoints_2d=record["keypoints_2d"],
        derived=record["derived"],
        time_s=record["time_s"],
        fps=float(record["fps"]),
        image_size=(width, height),
        focal_px=float(record["focal_px"]),
        metadata=metadata,
    )


def check_schema(schema: Any, origin: str) -> None:
    """Refuse files of other kinds and of later versions.

    Raises:
        ValueError: `schema` is not `SCHEMA`.
    """
    if schema != SCHEMA:
        raise ValueError(
            f"{origin} has schema {schema!r}, this version reads {SCHEMA!r}: if it was written by "
            "a later version of lithepose, update; otherwise it is not a result file"
        )


def _check_shapes(record: dict[str, NDArray[Any]], origin: str) -> None:
    frames = len(record["joints_3d_camera"]) if record["joints_3d_camera"].ndim else 0
    if frames == 0:
        raise ValueError(f"{origin} has no frames")
    for name, (shape, _) in RECORD.items():
        expected = tuple(frames if size == "T" else size for size in shape)
        if record[name].shape != expected:
            raise ValueError(
                f"{origin}: {name} must be {expected} with {frames} frames; "
                f"found {record[name].shape}"
            )


def json_ready(value: Any) -> Any:
    """The same value in plain Python types that any JSON reader takes: numpy becomes numbers and
    lists, nan and infinity become None, paths and other objects are refused.

    Raises:
        ValueError: a value of a type that JSON has not.
    """
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): json_ready(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [json_ready(inner) for inner in value]
    raise ValueError(
        f"metadata must be JSON-ready; found {value!r} of type {type(value).__name__}: store text "
        "or numbers instead"
    )
