"""What a page shows, JSON-ready; `page/src/data.js` reads it."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.formats.record import json_ready
from lithepose.poses import Track3D, World
from lithepose.skeletons import SKELETONS
from lithepose.view.facts import facts_of
from lithepose.view.scene3d import fit_view
from lithepose.world import NODE_PARENTS, NODES, joint_angles

# Points that are only shown are stored as multiples of a step: half of this is the largest error.
_STEP_M = 0.0002
_MISSING = 65535  # in place of nan in arrays of steps
_ANGLE_STEP_DEG = 0.01
_QUATERNION_STEP = 1 / 32767  # a turn that is off by 0.01 degrees at most
# Camera axes turned upright: x stays, z becomes y, -y becomes z. World axes to camera axes.
_LEVEL = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])


def content_of(people: Sequence[Track3D]) -> dict[str, Any]:
    """What the page shows, JSON-ready; `page/src/data.js` reads it."""
    first = people[0]
    world = next((track.world for track in people if track.world is not None), None)
    if world is None:
        joints = np.stack([np.asarray(track.joints_camera, float) for track in people])
        rotation, position = _LEVEL, np.array([0.0, 0.0, fit_view(joints).floor_y])
    else:
        rotation, position = np.asarray(world.camera_rotation), np.asarray(world.camera_position)
    body = SKELETONS["h36m17"]
    return {
        "fps": float(first.fps),
        "image_size": [int(side) for side in first.image_size],
        "time_s": _stored(first.time_s, "float64"),
        "joint_names": list(SKELETONS["lithepose31"].joints),
        "parents": list(body.parents),
        "limbs": [list(limb) for limb in body.limbs],
        "rig_nodes": list(NODES),
        "rig_parents": list(NODE_PARENTS),
        "camera": {
            "rotation": np.asarray(rotation, float).tolist(),
            "position": np.asarray(position, float).tolist(),
            "known": world is not None,
        },
        "has_path": world is None or world.has_path,
        "people": [_person(track, rotation, position) for track in people],
    }


def _person(track: Track3D, rotation: Floats, position: Floats) -> dict[str, Any]:
    whole = track.points_camera is not None
    points = np.asarray(track.points_camera if whole else track.joints_camera, float)
    trust = track.confidence_3d if whole else track.confidence
    world = track.world
    angles = {} if world is None else joint_angles(world.rotations)
    if world is None:
        shown = points @ rotation + position  # the inverse of R (X - p)
    else:
        shown = np.asarray(world.points, float)[:, : points.shape[1]]
    return {
        "person": int(track.person),
        "focal_px": float(track.focal_px),
        "derived": np.asarray(track.derived, bool).tolist(),
        "points_camera": _stored(points, "float32"),
        "points_world": _stepped(shown, _STEP_M),
        "keypoints_2d": _stored(track.keypoints_2d, "float32"),
        "confidence": _shares(track.confidence),
        "confidence_3d": None if trust is None else _shares(trust),
        "contact": None if world is None else _stored(world.contact, "uint8"),
        "rig": None if world is None or not whole else _rig(world),
        "angles": {
            name: _stepped(values[:, None], _ANGLE_STEP_DEG) for name, values in angles.items()
        },
        "facts": facts_of(track),
        "warnings": [str(text) for text in np.atleast_1d(track.metadata.get("warnings") or [])],
        "metadata": json_ready(track.metadata),
    }


def _rig(world: World) -> dict[str, Any]:
    """What a result file says of the rig: the page doesn't draw it, but saves it."""
    return {
        "offsets": np.asarray(world.offsets, float).round(6).tolist(),
        "markers": np.asarray(world.markers, float).round(6).tolist(),
        "rotations": _stepped(world.rotations, _QUATERNION_STEP),
    }


def _stored(values: NDArray[Any], kind: str) -> dict[str, Any]:
    """An array as JSON: type, shape, and its little-endian bytes in base64."""
    array = np.ascontiguousarray(values, dtype=np.dtype(kind).newbyteorder("<"))
    data = base64.b64encode(array.tobytes()).decode("ascii")
    return {"type": kind, "shape": list(array.shape), "data": data}


def _shares(values: Floats) -> dict[str, Any]:
    """Values in [0, 1] in steps of 1/255; nan counts as 0."""
    return _stored(np.round(255 * np.clip(np.nan_to_num(values), 0, 1)), "uint8")


def _stepped(values: Floats, step: float) -> dict[str, Any]:
    """Values (..., C) as multiples of a step from the lowest of their channel, in 16 bits.

    Where the range is too wide for that they are stored as they are.
    """
    values = np.asarray(values, float)
    flat = values.reshape(-1, values.shape[-1])
    finite = np.isfinite(flat)
    low, high = (reduce(flat, axis=0, initial=0.0, where=finite) for reduce in (np.min, np.max))
    if (high - low).max(initial=0.0) / step >= _MISSING:
        return _stored(values, "float32")
    steps = np.where(finite, np.round((flat - low) / step), _MISSING)
    return _stored(steps.reshape(values.shape), "uint16") | {"step": step, "low": low.tolist()}
