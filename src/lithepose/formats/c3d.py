"""Marker trajectories for biomechanics programs: C3D, binary, millimetres, z up.

The points are those of `lithepose31` under their own names, in world axes. A frame without the
person has every point marked as missing (residual -1); nothing is filled. C3D knows one frame rate
and no time stamps, so uneven times become even, and holes in time are closed.

Written directly, as 32-bit floats: the layout is small and public (the C3D user guide), and what
this needs of it is a header, parameters and a table.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence

import numpy as np

from lithepose.files import atomic_write
from lithepose.formats.figure import even_rate, world_of
from lithepose.poses import Track3D
from lithepose.skeletons import SKELETONS
from lithepose.version import __version__

_BLOCK = 512  # everything begins at a multiple of this many bytes
_LIMIT = 65535  # frames that the old 16-bit fields can count
_INTEL = 84  # little-endian numbers
_TEXT, _INT16, _FLOAT = -1, 2, 4


def write_c3d(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one person's points; see `lithepose.formats.FORMATS`."""
    world = world_of(track, "C3D")
    points = np.asarray(world.points)
    seen = np.asarray(np.isfinite(points).all(-1))  # (T, 31)
    table = np.zeros((*seen.shape, 4), "<f4")  # x, y, z in millimetres, residual
    table[..., :3] = np.where(seen[..., None], 1000 * points, 0)
    table[..., 3] = np.where(seen, 0, -1)

    frames, rate = len(points), even_rate(track)
    # The parameters name the block where the data begin, which depends on their own length only.
    data_block = 2 + len(_parameters(frames, rate, 0)) // _BLOCK
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        file.write(_header(frames, rate, data_block))
        file.write(_parameters(frames, rate, data_block))
        file.write(_filled(table.tobytes()))


def _header(frames: int, fps: float, data_block: int) -> bytes:
    """The first block: what old programs read instead of the parameters."""
    joints = len(SKELETONS["lithepose31"])
    # First parameter block and the mark of a C3D file; points, analog values; first and last frame;
    # gap that was interpolated; scale, negative for floats; data block, analog rate; frame rate.
    return _filled(
        struct.pack(
            "<BBHHHHHfHHf", 2, 0x50, joints, 0, 1, min(frames, _LIMIT), 0, -1, data_block, 0, fps
        )
    )


def _parameters(frames: int, fps: float, data_block: int) -> bytes:
    joints = SKELETONS["lithepose31"].joints
    low, high = frames % 65536, frames // 65536
    groups = {
        "POINT": [
            _integers("USED", len(joints)),
            _floats("SCALE", -1),
            _floats("RATE", fps),
            _integers("DATA_START", data_block),
            _integers("FRAMES", min(frames, _LIMIT)),
            _texts("LABELS", joints),
            _texts("DESCRIPTIONS", [joint.replace("_", " ") for joint in joints]),
            _texts("UNITS", "mm"),
            _texts("X_SCREEN", "+X"),
            _texts("Y_SCREEN", "+Z"),
            _floats("LONG_FRAMES", frames),
        ],
        "TRIAL": [
            _integers("ACTUAL_START_FIELD", [1, 0]),
            _integers("ACTUAL_END_FIELD", [low, high]),
            _floats("CAMERA_RATE", fps),
        ],
        # Many readers look for these two even where there is nothing.
        "ANALOG": [_integers("USED", 0), _floats("RATE", 0), _floats("GEN_SCALE", 1)],
        "FORCE_PLATFORM": [_integers("USED", 0)],
        "MANUFACTURER": [_texts("SOFTWARE", f"lithepose {__version__}")],
    }
    section = b""
    for number, (group, parameters) in enumerate(groups.items(), 1):
        name = group.encode("ascii")
        # Name, then the distance to the next entry from here on, then no description.
        section += struct.pack("<bb", len(name), -number) + name + struct.pack("<hB", 3, 0)
        for parameter, content in parameters:
            name = parameter.encode("ascii")
            section += struct.pack("<bb", len(name), number) + name
            section += struct.pack("<h", 2 + len(content) + 1) + content + b"\0"
    section += b"\0\0"  # an entry without a name ends the list
    blocks = math.ceil((4 + len(section)) / _BLOCK)
    return _filled(struct.pack("<BBBB", 1, 0x50, blocks, _INTEL) + section)


_Parameter = tuple[str, bytes]


def _integers(name: str, values: int | Sequence[int]) -> _Parameter:
    """16 bits each; above 32767 they are to be read without a sign."""
    return name, _shape(_INT16, np.shape(values)) + np.array(values, "<u2").tobytes()


def _floats(name: str, value: float) -> _Parameter:
    return name, _shape(_FLOAT, ()) + struct.pack("<f", value)


def _texts(name: str, values: str | Sequence[str]) -> _Parameter:
    """Text of one length, padded with blanks."""
    lines = [values] if isinstance(values, str) else list(values)
    width = max(len(line) for line in lines)
    sizes = (width,) if isinstance(values, str) else (width, len(lines))
    return name, _shape(_TEXT, sizes) + "".join(line.ljust(width) for line in lines).encode("ascii")


def _shape(kind: int, sizes: Sequence[int]) -> bytes:
    """Type, number of dimensions and their sizes, the fastest first."""
    return struct.pack(f"<bB{len(sizes)}B", kind, len(sizes), *sizes)


def _filled(data: bytes) -> bytes:
    return data + b"\0" * (-len(data) % _BLOCK)
