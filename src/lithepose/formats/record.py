"""The content of a result file: the same names and shapes in every format.

`RECORD` is the schema, `OPTIONAL` what a file may hold besides. The documentation explains both to
users; their names don't change within `lithepose/1`, because other people's scripts read them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.poses import Track3D, World
from lithepose.skeletons import SKELETONS
from lithepose.world import NODE_PARENTS, NODES

SCHEMA = "lithepose/1"
SKELETON = SKELETONS["h36m17"]
BODY = SKELETONS["lithepose31"]  # the 17 joints first, then head, feet and hands
_J, _K, _N = len(SKELETON), len(BODY), len(NODES)

_Schema = dict[str, tuple[tuple[int | str, ...], type[np.generic]]]

# Name -> (shape, type); T is the number of frames. What a reader may count on.
RECORD: _Schema = {
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

# What a file may lack. Each line of `_GROUPS` is complete in a file or absent from it.
OPTIONAL: _Schema = {
    "points_3d_camera": (("T", _K, 3), np.float32),
    "confidence_3d": (("T", _K), np.float32),
    "point_names": ((_K,), np.str_),
    "joints_3d_world": (("T", _J, 3), np.float32),
    "points_3d_world": (("T", _K, 3), np.float32),
    "rig_nodes": ((_N,), np.str_),
    "rig_parents": ((_N,), np.int64),
    "rig_offsets": ((_N, 3), np.float64),
    "rig_markers": ((_K, 3), np.float64),
    "rig_rotations": (("T", _N, 4), np.float32),
    "contact": (("T", 2), np.bool_),
    "camera_rotation": ((3, 3), np.float64),
    "camera_position": ((3,), np.float64),
    "world_has_path": ((), np.bool_),
}
_GROUPS = (("points_3d_camera",), ("confidence_3d",), tuple(OPTIONAL)[3:])
# Name in the file -> field of the track, and of its world. The other names follow from these.
_TRACK = {
    "joints_3d_camera": "joints_camera",
    **{name: name for name in RECORD if name not in ("joints_3d_camera", "joint_names", "parents")},
}
_WORLD = {
    "points_3d_world": "points",
    "rig_offsets": "offsets",
    "rig_markers": "markers",
    "rig_rotations": "rotations",
    "contact": "contact",
    "camera_rotation": "camera_rotation",
    "camera_position": "camera_position",
    "world_has_path": "has_path",
}


def record_of(track: Track3D) -> dict[str, NDArray[Any]]:
    """The arrays of a result file, by the names of `RECORD`, and of `OPTIONAL` where there are any.

    Raises:
        ValueError: an array of the track has the wrong shape, or the track has no frames.
    """
    values: dict[str, Any] = {name: getattr(track, field) for name, field in _TRACK.items()}
    values |= {"joint_names": SKELETON.joints, "parents": SKELETON.parents}
    if track.points_camera is not None:
        values["points_3d_camera"] = track.points_camera
    if track.confidence_3d is not None:
        values["confidence_3d"] = track.confidence_3d
    if track.world is not None:
        values |= {name: getattr(track.world, field) for name, field in _WORLD.items()}
        values |= {"rig_nodes": NODES, "rig_parents": NODE_PARENTS}
        values["joints_3d_world"] = np.asarray(track.world.points)[:, :_J]
    if len(values) > len(RECORD):
        values["point_names"] = BODY.joints
    record = {
        name: np.asarray(values[name], dtype=kind)
        for name, (_, kind) in (RECORD | OPTIONAL).items()
        if name in values
    }
    _check_shapes(record, "the track")
    return record


def track_of(values: dict[str, Any], metadata: Any, origin: str) -> Track3D:
    """The track in the values of a result file.

    Args:
        values: at least the names of `RECORD`; arrays, or nested lists with None for nan. What
            they lack of `OPTIONAL` is None in the track; other names are left alone.
        metadata: the JSON object stored with them.
        origin: the file, for messages.

    Raises:
        ValueError: a name is missing, or a value has the wrong type or shape.
    """
    groups = [group for group in _GROUPS if any(name in values for name in group)]
    wanted = [*RECORD, *(name for group in groups for name in group)]
    if groups:
        wanted.append("point_names")
    missing = [name for name in wanted if name not in values]
    if missing:
        raise ValueError(f"{origin} is not a complete result: it lacks {', '.join(missing)}")
    record: dict[str, NDArray[Any]] = {}
    for name, (_, kind) in (RECORD | OPTIONAL).items():
        if name not in wanted:
            continue
        try:
            record[name] = np.asarray(values[name], dtype=kind)
        except (TypeError, ValueError, OverflowError) as error:
            raise ValueError(f"{origin}: {name} is not an array of numbers: {error}") from error
    _check_shapes(record, origin)
    _check_names(record, "joint_names", SKELETON.joints, f"the joints of {SKELETON.name}", origin)
    _check_names(record, "point_names", BODY.joints, f"the joints of {BODY.name}", origin)
    if not isinstance(metadata, dict):
        raise ValueError(f"{origin}: metadata must be a JSON object; found {metadata!r}")
    fields: dict[str, Any] = {field: record[name] for name, field in _TRACK.items()}
    fields |= {name: fields[name].item() for name in ("person", "fps", "focal_px")}
    fields["image_size"] = tuple(record["image_size"].tolist())
    return Track3D(
        **fields,
        points_camera=record.get("points_3d_camera"),
        confidence_3d=record.get("confidence_3d"),
        world=_world_of(record, origin) if "rig_nodes" in record else None,
        metadata=metadata,
    )


def _world_of(record: dict[str, NDArray[Any]], origin: str) -> World:
    _check_names(record, "rig_nodes", NODES, "the rig's nodes", origin)
    if tuple(record["rig_parents"].tolist()) != NODE_PARENTS:
        raise ValueError(f"{origin}: rig_parents is another tree than this version's rig")
    fields: dict[str, Any] = {field: record[name] for name, field in _WORLD.items()}
    fields["rotations"] = _normalised(fields["rotations"], origin)
    fields["has_path"] = bool(fields["has_path"])
    return World(**fields)


def _normalised(quaternions: Floats, origin: str) -> Floats:
    """Unit quaternions again after rounding; nan stays."""
    length = np.linalg.norm(quaternions.astype(np.float64), axis=-1, keepdims=True)
    if (np.abs(length - 1) > 0.01).any():
        raise ValueError(f"{origin}: rig_rotations must be unit quaternions, w, x, y, z")
    return (quaternions / length).astype(np.float32)


def _check_names(
    record: dict[str, NDArray[Any]], name: str, known: tuple[str, ...], what: str, origin: str
) -> None:
    if name in record and tuple(record[name].tolist()) != known:
        found = ", ".join(record[name].tolist())
        raise ValueError(f"{origin}: {name} are not {what} in their order; found {found}")


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
    for name, array in record.items():
        shape, _ = (RECORD | OPTIONAL)[name]
        expected = tuple(frames if size == "T" else size for size in shape)
        if array.shape != expected:
            raise ValueError(
                f"{origin}: {name} must be {expected} with {frames} frames; found {array.shape}"
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
