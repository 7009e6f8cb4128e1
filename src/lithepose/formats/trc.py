"""Marker trajectories for OpenSim and Pose2Sim: TRC, tab-separated text in metres, y up.

Axes: x forward, y up, z right, made from the world's by the cyclic exchange that Pose2Sim uses:
(x, y, z)_world -> (y, z, x). Forward is the way the camera looks. The markers are those of
Pose2Sim's HALPE_26 skeleton by name and order, so that its models and set-up files fit.

OpenSim 4.6 refuses rows that end in empty cells, and its inverse kinematics fails at a frame
without any marker. So a file begins with the first frame with the person and ends with the last,
and frames without the person between them are filled (see `figure`). `Frame#` and `Time` stay those
of the clip.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lithepose.files import atomic_write
from lithepose.formats.figure import even_rate, motion_of, world_of
from lithepose.poses import Track3D
from lithepose.skeletons import SKELETONS, convert
from lithepose.world import rig_points

# Name in the file -> joint of Halpe-26. Head is the top of the head, Neck the base of the neck.
MARKERS = {
    "Hip": "pelvis",
    "RHip": "right_hip", "RKnee": "right_knee", "RAnkle": "right_ankle",
    "RBigToe": "right_big_toe", "RSmallToe": "right_small_toe", "RHeel": "right_heel",
    "LHip": "left_hip", "LKnee": "left_knee", "LAnkle": "left_ankle",
    "LBigToe": "left_big_toe", "LSmallToe": "left_small_toe", "LHeel": "left_heel",
    "Neck": "neck", "Head": "head_top", "Nose": "nose",
    "RShoulder": "right_shoulder", "RElbow": "right_elbow", "RWrist": "right_wrist",
    "LShoulder": "left_shoulder", "LElbow": "left_elbow", "LWrist": "left_wrist",
}  # fmt: skip
_KEYS = (
    "DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate",
    "OrigDataStartFrame", "OrigNumFrames",
)  # fmt: skip
_FORWARD_UP_RIGHT = (1, 2, 0)  # y, z, x of the world


def _in_a_cell(name: str) -> str:
    """A file's name without what would break the line, or is no text."""
    text = name.encode("utf-8", "replace").decode("utf-8")
    return "".join(letter if letter.isprintable() else " " for letter in text)


def write_trc(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one person's markers; see `lithepose.formats.FORMATS`."""
    world = world_of(track, "TRC")
    motion = motion_of(world, track.time_s)
    points = rig_points(world.offsets, world.markers, motion.root, motion.rotations)
    points = np.where(motion.present[:, None, None], world.points, points)
    halpe, _, _ = convert(points, None, "lithepose31", "halpe26")
    order = [SKELETONS["halpe26"].index(joint) for joint in MARKERS.values()]
    markers = halpe[:, order][..., _FORWARD_UP_RIGHT].reshape(len(points), -1)

    seen = np.flatnonzero(motion.present)
    frames = range(seen[0], seen[-1] + 1)
    rate = f"{even_rate(track):.6g}"
    values = (rate, rate, len(frames), len(MARKERS), "m", rate, seen[0] + 1, len(track.time_s))
    numbers = range(1, len(MARKERS) + 1)
    lines = [
        f"PathFileType\t4\t(X/Y/Z)\t{_in_a_cell(Path(path).name)}",
        "\t".join(_KEYS),
        "\t".join(str(value) for value in values),
        "Frame#\tTime\t" + "\t".join(f"{name}\t\t" for name in MARKERS),
        "\t\t" + "\t".join(f"X{n}\tY{n}\tZ{n}" for n in numbers),
        "",
    ]
    for frame in frames:
        cells = "\t".join(f"{value:.6f}" for value in markers[frame])
        lines.append(f"{frame + 1}\t{track.time_s[frame]:.6f}\t{cells}")
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write("\n".join(lines) + "\n")
