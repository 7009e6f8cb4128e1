"""Motion capture as 17 joints.

The expected file is an npz of positions `pos` (N, 17, 3) in metres, world axes with z up, with the
segments' limits `clip_start`, `fps`, and per segment `clip`, `subject` and the segment lengths
`body` named by `body_names` (docs/data/mocap.md).
"""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lithepose.anthropometry import TRAINING_MEAN
from lithepose.arrays import Array, Floats, namespace
from lithepose.rotations import cross, dot, unit

# Which segment's length scales the bone that ends in each joint (the root has none).
BONE_OF_JOINT = (
    "",
    *("hip_width", "thigh", "shin"),
    *("hip_width", "thigh", "shin"),
    *("trunk", "trunk", "neck", "head"),
    *("shoulder_width", "upper_arm", "forearm"),
    *("shoulder_width", "upper_arm", "forearm"),
)
# What the file's `body_names` call the stature and the segments.
FILE_NAMES = {
    "height": "H", "thigh": "thigh", "shin": "shin", "hip_width": "hipw", "trunk": "trunk",
    "shoulder_width": "shw", "upper_arm": "ua", "forearm": "fa", "neck": "neck", "head": "headh",
    "nose_forward": "nosef", "nose_up": "noseu",
}  # fmt: skip
_OF_CLIPS = ("clip", "subject", "lengths", "height")
_ARRAYS = ("pos", "clip_start", "fps", "clip", "subject", "body", "body_names")


@dataclass(frozen=True, kw_only=True)
class Motions:
    """Motion clips of one split.

    Attributes:
        positions: (N, 17, 3) metres, world axes, z up.
        start: (S + 1,) clip i is `positions[start[i]:start[i + 1]]`.
        fps: frames per second.
        clip, subject: (S,) names.
        lengths: (S, 17) metres, the length that scales the bone ending in each joint; 1 at the
            root.
        height: (S,) stature in metres.
    """

    positions: Floats
    start: NDArray[np.int64]
    fps: float
    clip: NDArray[np.str_]
    subject: NDArray[np.str_]
    lengths: Floats
    height: Floats

    def __len__(self) -> int:
        return len(self.clip)


def read_motions(path: str | Path) -> Motions:
    """Read a motion file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: no npz file, or an array is missing or has another shape than the format says.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"no motion file at {path}: docs/data/mocap_import.md says how to make it from CMU's "
            "originals"
        )
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS if name in file}
    except (ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is no npz file, or a damaged one: {error}") from error
    missing = [name for name in _ARRAYS if name not in arrays]
    if missing:
        raise ValueError(f"{path} has no {', '.join(missing)}: see docs/data/mocap.md")
    positions = np.asarray(arrays["pos"], np.float32)
    start = np.asarray(arrays["clip_start"], np.int64)
    body = np.asarray(arrays["body"], np.float32)
    names = [str(name) for name in arrays["body_names"]]
    clips, fps = len(start) - 1, float(arrays["fps"])
    if positions.ndim != 3 or positions.shape[1:] != (17, 3):
        raise ValueError(f"{path}: pos has shape {positions.shape}, expected (frames, 17, 3)")
    if not np.isfinite(positions).all():
        raise ValueError(f"{path}: pos holds values that are not finite")
    if start[-1] != len(positions):
        raise ValueError(f"{path}: clip_start ends at {start[-1]}, pos at {len(positions)}")
    if clips < 1 or start[0] != 0 or (np.diff(start) < 1).any():
        raise ValueError(f"{path}: clip_start must rise from 0, every clip having a frame")
    if not (np.isfinite(fps) and fps > 0):
        raise ValueError(f"{path}: fps is {fps}, expected frames per second")
    for name in ("clip", "subject", "body"):
        if len(arrays[name]) != clips:
            raise ValueError(f"{path}: {name} is of {len(arrays[name])} clips, not of {clips}")
    needed = [FILE_NAMES[bone] for bone in ("height", *TRAINING_MEAN)]
    unnamed = sorted(set(needed) - set(names))
    if unnamed or body.shape != (clips, len(names)):
        raise ValueError(
            f"{path}: body has shape {body.shape} for the names {', '.join(names)}; expected a "
            f"column for each of {', '.join(needed)}"
        )
    lengths = [
        body[:, names.index(FILE_NAMES[bone])] if bone else np.ones(clips, np.float32)
        for bone in BONE_OF_JOINT
    ]
    return Motions(
        positions=positions,
        start=start,
        fps=fps,
        clip=arrays["clip"],
        subject=arrays["subject"],
        lengths=np.stack(lengths, 1),
        height=body[:, names.index(FILE_NAMES["height"])],
    )


def without_clips(motions: Motions, names: Sequence[str]) -> Motions:
    """Leave out clips by name; names that no clip has are ignored."""
    keep = np.flatnonzero(~np.isin(motions.clip, list(names)))
    if not len(keep):
        raise ValueError(f"all {len(motions)} clips would be left out")
    frames = [motions.positions[motions.start[i] : motions.start[i + 1]] for i in keep]
    start = np.cumsum([0, *map(len, frames)]).astype(np.int64)
    of_clips = {name: getattr(motions, name)[keep] for name in _OF_CLIPS}
    return replace(motions, positions=np.concatenate(frames), start=start, **of_clips)


def trunk_frame(joints: Array) -> Array:
    """Axes of the trunk, (..., 3, 3) with columns left, forward and up, of (..., 17, 3)."""
    up = unit(joints[..., 8, :] - joints[..., 0, :])
    left = joints[..., 11, :] - joints[..., 14, :]
    left = unit(left - dot(left, up)[..., None] * up)
    return namespace(joints).stack([left, cross(left, up), up], -1)
