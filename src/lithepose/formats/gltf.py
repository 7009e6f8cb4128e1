"""Skeletal animation with a body as glTF 2.0 in one binary file (GLB): y up, metres.

The rig's nodes as joints, a key per frame of the clip at its own time, and a body of capsules
around the bones that is skinned to them: the left orange, the right blue, the middle grey. The rest
pose stands on the floor, a T-pose facing +z with the left arm along +x. Frames without the person
are filled (see `figure`).
"""

from __future__ import annotations

import json
import math
import os
import struct
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.files import atomic_write
from lithepose.formats.figure import (
    Y_UP,
    closed_times,
    fits_single,
    motion_of,
    turned_y_up,
    world_of,
)
from lithepose.poses import Track3D
from lithepose.rotations import axes_along, unit
from lithepose.version import __version__
from lithepose.world import MARKER_NODES, NODE_PARENTS, NODES, pose_nodes

# The colours of `view.strokes`, which loads OpenCV, as linear RGB of its 8-bit sRGB.
_COLOURS = {
    "left": (0.922, 0.323, 0.040),
    "right": (0.084, 0.392, 0.871),
    "middle": (0.617, 0.651, 0.701),
}
# Radius of the capsule around the bone that ends in a node, as a share of the rest pose's height;
# about a person's flesh. Left and right share a line; a node not listed has no capsule.
_RADII = {
    "Spine1": 0.060, "Chest": 0.062, "Head": 0.030, "HeadEnd": 0.050,
    "Arm": 0.034, "ForeArm": 0.029, "Hand": 0.023, "HandEnd": 0.020,
    "UpLeg": 0.054, "Leg": 0.048, "Foot": 0.033, "ToeBase": 0.021, "ToeEnd": 0.015,
}  # fmt: skip
_MATT = {"metallicFactor": 0, "roughnessFactor": 0.7}
_SIDES = 10  # of a capsule
_RINGS = 3  # of each of its round ends, the pole not counted
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_BYTE, _SHORT, _FLOAT = 5121, 5123, 5126  # unsigned, unsigned, 32 bits


def write_glb(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one person's figure, body and motion; see `lithepose.formats.FORMATS`."""
    world = world_of(track, "GLB")
    time_s = np.asarray(track.time_s, dtype=np.float64)
    if not fits_single(time_s):  # after a hole of days, frames would fall together
        time_s = closed_times(time_s)
    time_s = time_s.astype(np.float32)
    if (np.diff(time_s) <= 0).any():
        raise ValueError("a GLB file needs time stamps that increase from frame to frame")
    motion = motion_of(world, track.time_s)
    offsets = np.asarray(world.offsets, dtype=np.float64)
    node_positions = _rest_positions(offsets, np.asarray(world.markers, dtype=np.float64)) @ Y_UP.T
    rotations = turned_y_up(motion.rotations)[..., [1, 2, 3, 0]]  # glTF: x, y, z, w

    file = _Buffer()
    times = file.add(time_s, limits=True)
    root = file.add(motion.root @ Y_UP.T)
    samplers = [{"input": times, "output": root}]
    channels = [{"sampler": 0, "target": {"node": 0, "path": "translation"}}]
    for node, name in enumerate(NODES):
        if name.endswith("End"):
            continue
        channels.append({"sampler": len(samplers), "target": {"node": node, "path": "rotation"}})
        samplers.append({"input": times, "output": file.add(rotations[:, node])})

    bind = np.tile(np.eye(4), (len(NODES), 1, 1))
    bind[:, :3, 3] = -node_positions
    inverse = file.add(bind.transpose(0, 2, 1).reshape(-1, 16))  # columns first
    content = {
        "asset": {"version": "2.0", "generator": f"lithepose {__version__}"},
        "scene": 0,
        # The body stands beside the skeleton, which alone moves it.
        "scenes": [{"nodes": [0, len(NODES)]}],
        "nodes": [*_nodes(node_positions), {"name": "Body", "mesh": 0, "skin": 0}],
        "skins": [{"joints": [*range(len(NODES))], "skeleton": 0, "inverseBindMatrices": inverse}],
        "meshes": [{"name": "Body", "primitives": _body(file, node_positions)}],
        "materials": [
            {"name": name, "pbrMetallicRoughness": {"baseColorFactor": [*colour, 1], **_MATT}}
            for name, colour in _COLOURS.items()
        ],
        "animations": [{"name": "motion", "samplers": samplers, "channels": channels}],
        "accessors": file.accessors,
        "bufferViews": file.views,
        "buffers": [{"byteLength": len(file.data)}],
    }
    text = json.dumps(content, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 4)
    length = 12 + 8 + len(text) + 8 + len(file.data)
    with atomic_write(path) as temporary, temporary.open("wb") as out:
        out.write(struct.pack("<4sII", b"glTF", 2, length))
        out.write(struct.pack("<I4s", len(text), b"JSON") + text)
        out.write(struct.pack("<I4s", len(file.data), b"BIN\0"))
        out.write(file.data)


class _Buffer:
    """The binary part, with the tables that say where in it is what."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.views: list[dict[str, int]] = []
        self.accessors: list[dict[str, Any]] = []

    def add(self, array: NDArray[Any], *, limits: bool = False, target: int | None = None) -> int:
        """Append numbers (count,) or (count, width), floats as 32 bits; returns the accessor.

        `limits`: state the smallest and largest numbers; `target`: what a mesh uses them for.
        """
        if array.dtype.kind == "f":
            array = array.astype("<f4")
        self.views.append({"buffer": 0, "byteOffset": len(self.data), "byteLength": array.nbytes})
        if target is not None:
            self.views[-1]["target"] = target
        width = 1 if array.ndim == 1 else array.shape[1]
        accessor: dict[str, Any] = {
            "bufferView": len(self.views) - 1,
            "componentType": {"f4": _FLOAT, "u2": _SHORT, "u1": _BYTE}[array.dtype.str[1:]],
            "count": len(array),
            "type": {1: "SCALAR", 3: "VEC3", 4: "VEC4", 16: "MAT4"}[width],
        }
        if limits:
            accessor["min"] = np.atleast_1d(array.min(axis=0)).tolist()
            accessor["max"] = np.atleast_1d(array.max(axis=0)).tolist()
        self.accessors.append(accessor)
        self.data += array.tobytes() + b"\0" * (-array.nbytes % 4)
        return len(self.accessors) - 1


def _rest_positions(offsets: Floats, markers: Floats) -> Floats:
    """The nodes (N, 3) of the rest pose, standing on the floor; world axes."""
    upright = np.zeros((1, len(NODES), 4))
    upright[..., 0] = 1
    node_positions = pose_nodes(offsets, np.zeros((1, 3)), upright)[0][0]
    soles = np.minimum(
        node_positions[:, 2].min(), (node_positions[list(MARKER_NODES)] + markers)[:, 2].min()
    )
    return node_positions - [0, 0, soles]


def _nodes(node_positions: Floats) -> list[dict[str, Any]]:
    """The rig in its rest pose, y up."""
    nodes: list[dict[str, Any]] = []
    for node, (name, parent) in enumerate(zip(NODES, NODE_PARENTS, strict=True)):
        place = node_positions[node] - (node_positions[parent] if parent >= 0 else 0)
        entry: dict[str, Any] = {"name": name, "translation": place.tolist()}
        children = [child for child, above in enumerate(NODE_PARENTS) if above == node]
        if children:
            entry["children"] = children
        nodes.append(entry)
    return nodes


def _body(file: _Buffer, node_positions: Floats) -> list[dict[str, Any]]:
    """The primitives of the mesh, one for each colour."""
    height = float(np.ptp(node_positions[:, 1]))
    primitives = []
    for material, side in enumerate(_COLOURS):
        positions, normals, carriers, triangles = [], [], [], []
        for node, name in enumerate(NODES):
            bare = name.removeprefix("Left").removeprefix("Right")
            if bare not in _RADII or side != (name.removesuffix(bare).lower() or "middle"):
                continue
            parent = NODE_PARENTS[node]
            start, end, radius = node_positions[parent], node_positions[node], _RADII[bare] * height
            if name.endswith("End"):  # the round end is the tip, not beyond it
                length = np.linalg.norm(end - start)
                end = start + (end - start) * (1 - radius / max(length, radius))
            points, outwards, faces = _capsule(start, end, radius)
            triangles.append(faces + sum(len(each) for each in positions))
            positions.append(points)
            normals.append(outwards)
            carriers.append(np.full(len(points), parent))
        weights = np.zeros((sum(len(each) for each in positions), 4))
        carried = np.zeros(weights.shape, "u1")
        weights[:, 0], carried[:, 0] = 1, np.concatenate(carriers)
        add = partial(file.add, target=_ARRAY_BUFFER)
        attributes = {
            "POSITION": add(np.concatenate(positions), limits=True),
            "NORMAL": add(np.concatenate(normals)),
            "JOINTS_0": add(carried),
            "WEIGHTS_0": add(weights),
        }
        corners = np.concatenate(triangles).astype("<u2").ravel()
        indices = file.add(corners, target=_ELEMENT_ARRAY_BUFFER)
        primitives.append({"attributes": attributes, "indices": indices, "material": material})
    return primitives


def _capsule(start: Floats, end: Floats, radius: float) -> tuple[Floats, Floats, NDArray[np.int64]]:
    """Vertices (V, 3), their normals (V, 3) and triangles (F, 3), which turn left from outside."""
    axis = unit(end - start, np.array([0.0, 1.0, 0.0]))
    aside = np.cross(axis, np.eye(3)[np.argmin(np.abs(axis))])
    across, along, axis = axes_along(axis, aside, "zx").T

    # From pole to pole: the rings of one end, up to its equator around `start`, then the other's.
    rise = np.linspace(-math.pi / 2, 0, _RINGS + 1)[1:]
    rises = np.concatenate([rise, -rise[::-1]])
    around = np.arange(_SIDES) * 2 * math.pi / _SIDES
    sideways = np.cos(around)[:, None] * across + np.sin(around)[:, None] * along  # (sides, 3)
    rings = np.cos(rises)[:, None, None] * sideways + np.sin(rises)[:, None, None] * axis
    normals = np.concatenate([-axis[None], rings.reshape(-1, 3), axis[None]])
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    centres = np.repeat([start, end], [1 + _RINGS * _SIDES] * 2, axis=0)

    step = np.arange(_SIDES)
    onwards = (step + 1) % _SIDES
    last = len(normals) - 1
    faces = [np.stack([np.zeros_like(step), 1 + onwards, 1 + step], 1)]
    for ring in range(2 * _RINGS - 1):
        lower, upper = 1 + ring * _SIDES, 1 + (ring + 1) * _SIDES
        faces.append(np.stack([lower + step, lower + onwards, upper + onwards], 1))
        faces.append(np.stack([lower + step, upper + onwards, upper + step], 1))
    top = last - _SIDES
    faces.append(np.stack([np.full_like(step, last), top + step, top + onwards], 1))
    return centres + radius * normals, normals, np.concatenate(faces)
