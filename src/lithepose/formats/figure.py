"""What the writers of motion files share: a figure that moves without gaps, and y-up axes.

Animation and biomechanics programs have no notion of "not there". Frames without the person are
therefore filled: between two frames with the person the rotations follow the shortest way and the
root a straight line, evenly in time; before the first and after the last the pose holds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.poses import MAX_GAP_S, Track3D, World, usual_step
from lithepose.rotations import from_quaternions, slerp
from lithepose.world import MARKER_NODES, NODES

# World axes (z up) to those of animation files (y up): (x, y, z) -> (x, z, -y). The rest pose faces
# -y in the world, so here it faces +z; its left arm is along +x in both.
Y_UP = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.0, -1.0, 0.0]])


@dataclass(frozen=True, kw_only=True)
class Motion:
    """A rig's motion with a pose in every frame; world axes, z up.

    Attributes:
        root: (T, 3) metres, where the first node is.
        rotations: (T, N, 4) unit quaternions w, x, y, z, each node's rotation against its parent;
            the sign runs on from frame to frame, so that q and -q never alternate.
        present: (T,) bool, the frames with the person; the others are filled.
    """

    root: Floats
    rotations: Floats
    present: Flags


def world_of(track: Track3D, kind: str) -> World:
    """The track's motion in the world, checked for a file of that kind, such as "BVH".

    Raises:
        ValueError: there is none, nobody is in any frame of it, its arrays do not fit, or the frame
            rate is not a rate.
    """
    world = track.world
    if world is None:
        raise ValueError(
            f"a {kind} file holds motion in the world, which this result lacks: lift the clip "
            "again with a version of lithepose that gives it, or write npz, json or csv"
        )
    if not (np.isfinite(track.fps) and track.fps > 0):
        raise ValueError(f"a {kind} file needs a frame rate above 0; found {track.fps}")
    frames = len(track.time_s)
    expected = {
        "points": (frames, len(MARKER_NODES), 3),
        "offsets": (len(NODES), 3),
        "markers": (len(MARKER_NODES), 3),
        "rotations": (frames, len(NODES), 4),
    }
    for name, shape in expected.items():
        if np.shape(getattr(world, name)) != shape:
            raise ValueError(
                f"the world's {name} must be {shape} with {frames} frames; "
                f"found {np.shape(getattr(world, name))}"
            )
    if not _present(world).any():
        raise ValueError(f"there is nobody in any frame of this result: no {kind} file was written")
    return world


def motion_of(world: World, time_s: Floats) -> Motion:
    """The figure's motion with every frame filled.

    Args:
        world: of a track; at least one frame with the person.
        time_s: (T,) seconds, ascending.
    """
    present = _present(world)
    known = np.flatnonzero(present)
    rotations = np.array(world.rotations, dtype=np.float64)[known]
    rotations /= np.linalg.norm(rotations, axis=-1, keepdims=True)
    rotations = _with_steady_signs(rotations)
    # The root is the first node; the pelvis may sit on it with an offset of its own.
    points, markers = (np.asarray(a, dtype=np.float64) for a in (world.points, world.markers))
    root = points[known, 0] - from_quaternions(rotations[:, 0]) @ markers[0]

    frames, last = np.arange(len(present)), len(known) - 1
    after = np.clip(np.searchsorted(known, frames), 0, last)
    before = np.clip(np.searchsorted(known, frames, "right") - 1, 0, last)
    time_s = np.asarray(time_s, dtype=np.float64)
    span = time_s[known[after]] - time_s[known[before]]
    share = np.clip((time_s - time_s[known[before]]) / np.where(span > 0, span, 1), 0, 1)
    return Motion(
        root=root[before] + (root[after] - root[before]) * share[:, None],
        rotations=slerp(rotations[before], rotations[after], share[:, None, None]),
        present=present,
    )


def holes_of(time_s: Floats) -> Flags:
    """(T - 1,) which steps of time are holes: longer than `MAX_GAP_S` and than four usual steps. A
    slow clip has none."""
    time_s = np.asarray(time_s, dtype=np.float64)
    return np.diff(time_s) > max(MAX_GAP_S, 4 * usual_step(time_s))


def even_rate(track: Track3D) -> float:
    """Frames per second for a file that has one rate for all: the mean, holes left out."""
    holes = holes_of(track.time_s)
    if not holes.any():
        return track.fps
    return 1 / float(np.diff(track.time_s)[~holes].mean())


def closed_times(time_s: Floats) -> Floats:
    """The times (T,) with each hole closed to one usual step."""
    time_s = np.asarray(time_s, dtype=np.float64)
    steps, holes = np.diff(time_s), holes_of(time_s)
    steps[holes] = np.median(steps[~holes]) if holes.any() else 0
    return time_s[0] + np.concatenate([[0.0], np.cumsum(steps)])


def fits_single(time_s: Floats) -> bool:
    """Whether times still ascend in single precision."""
    return bool((np.diff(np.asarray(time_s, dtype=np.float32)) > 0).all())


def note_of_holes(track: Track3D, formats: Sequence[str]) -> str | None:
    """What to tell whoever has a track with holes in time written as `formats`; None if they hold
    it."""
    holes = holes_of(track.time_s)
    losing = [name for name in formats if name in ("bvh", "c3d")]
    if "glb" in formats and not fits_single(track.time_s):
        losing.append("glb")
    if not holes.any() or not losing:
        return None
    steps = np.where(holes, np.diff(track.time_s), 0)
    longest = int(np.argmax(steps))
    count = int(holes.sum())
    said = "the clip has a hole" if count == 1 else f"the clip has {count} holes, the longest one"
    names = " and ".join(name.upper() for name in losing)
    return (
        f"{said} of {steps[longest]:.6g} s after {track.time_s[longest]:.6g} s, which {names} "
        f"cannot hold: there the motion runs on, at {even_rate(track):.4g} frames/s"
    )


def turned_y_up(quaternions: Floats) -> Floats:
    """The same rotations about y-up axes, (..., 4), w, x, y, z."""
    w, x, y, z = np.moveaxis(quaternions, -1, 0)
    return np.stack([w, x, z, -y], -1)


def _present(world: World) -> Flags:
    points, rotations = np.isfinite(world.points), np.isfinite(world.rotations)
    return np.asarray(points.all((1, 2)) & rotations.all((1, 2)))


def _with_steady_signs(quaternions: Floats) -> Floats:
    """Each quaternion (T, ..., 4) or its negative, whichever is nearer to the frame before."""
    opposite = np.sum(quaternions[1:] * quaternions[:-1], -1) < 0
    sign = np.where(np.cumsum(opposite, axis=0) % 2, -1.0, 1.0)
    steady = quaternions.copy()
    steady[1:] *= sign[..., None]
    return steady
