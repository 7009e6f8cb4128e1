"""The values the stages hand on: detections of a frame, a person in 2D, a person in 3D.

Shapes use T frames, P people, J joints. 2D is in pixels of the upright frame (x right, y down,
the centre of the top-left pixel at (0.5, 0.5)); 3D is in metres, camera axes (x right, y down,
z forward). A missing joint is nan with confidence 0.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Flags, Floats

# Frames further apart in time than this belong to different segments: what happened between them
# is not known, and filling it in would cost as much as the hole is long.
MAX_GAP_S = 0.5
# Long clips are worked on in parts.
PART_FRAMES, OVERLAP_FRAMES = 4000, 200
# A frame in thirty years: slower is a slip, and such times lose the seconds.
LEAST_FPS = 1e-9
LONGEST_S = 1e12


def shapes(**arrays: Any) -> str:
    """`name=(T, J, C)` of every array that is there, for a value that shows itself in a line."""
    return ", ".join(f"{name}={np.shape(a)}" for name, a in arrays.items() if a is not None)


def usual_step(time_s: Floats) -> float:
    """Seconds from frame to frame, the median; 0 for a single frame."""
    return float(np.median(np.diff(time_s))) if len(time_s) > 1 else 0.0


def segments(flags: Flags, time_s: Floats | None = None) -> list[slice]:
    """The segments of True in a line of flags (T,).

    Args:
        time_s: (T,) seconds, ascending; with it, no segment reaches over a step longer than
            `MAX_GAP_S`.
    """
    begins, ends = flags.copy(), flags.copy()
    apart = np.zeros(max(len(flags) - 1, 0), bool) if time_s is None else holes_in(time_s)
    begins[1:] &= ~flags[:-1] | apart
    ends[:-1] &= ~flags[1:] | apart
    pairs = zip(np.flatnonzero(begins), np.flatnonzero(ends), strict=True)
    return [slice(int(first), int(last) + 1) for first, last in pairs]


def holes_in(time_s: Floats) -> Flags:
    """(T - 1,) which steps of time are longer than `MAX_GAP_S`; half a second exactly is not."""
    return np.diff(np.asarray(time_s, dtype=np.float64)) > MAX_GAP_S + 1e-6


def overlapping_parts(frames: int) -> Iterator[tuple[slice, slice, slice]]:
    """Parts of a long clip, so that an hour takes no more memory than a minute. They overlap so far
    that what is smooth within a second shows no seam.

    Yields:
        The frames to look at; of these, those to keep; and where in the clip they belong.
    """
    for start in range(0, frames, PART_FRAMES):
        stop, low = min(frames, start + PART_FRAMES), max(0, start - OVERLAP_FRAMES)
        wide = slice(low, min(frames, stop + OVERLAP_FRAMES))
        yield wide, slice(start - low, stop - low), slice(start, stop)


@dataclass(frozen=True, kw_only=True)
class Detections:
    """The people a detector found in one frame.

    Attributes:
        keypoints: (P, J, 2) pixels of the upright frame; nan where a joint is missing.
        confidence: (P, J) in [0, 1]; 0 where a joint is missing.
        score: (P,) in [0, 1], how sure the detector is that this is a person.
        skeleton: name of the joint set, a key of `lithepose.skeletons.SKELETONS`.
        world: (P, J, 3) metres, the detector's own 3D in camera axes around the mid-hips, or None
            for a detector that has none.
        person: (P,) who each is, the same number throughout the clip, or None where that is not
            known, as with nearly all detectors.
    """

    keypoints: Floats
    confidence: Floats
    score: Floats
    skeleton: str
    world: Floats | None = None
    person: NDArray[np.integer[Any]] | None = None

    def __len__(self) -> int:
        return len(self.keypoints)

    def __repr__(self) -> str:
        arrays = shapes(keypoints=self.keypoints, world=self.world, person=self.person)
        return f"Detections({self.skeleton}, {arrays})"


@dataclass(frozen=True, kw_only=True)
class Track2D:
    """One person over a clip in 2D.

    Attributes:
        person: identity, stable over the clip: a number from 1, or what a file of keypoints says.
        keypoints: (T, J, 2) pixels; nan where missing. T counts every frame of the clip.
        confidence: (T, J) in [0, 1]; 0 where missing.
        skeleton: name of the joint set.
        time_s: (T,) time stamps of the frames in seconds, ascending, from 0.
        fps: mean frame rate in frames per second.
        image_size: (width, height) of the upright frame in pixels.
        world: (T, J, 3) metres, the detector's own 3D around the mid-hips, or None.
    """

    person: int
    keypoints: Floats
    confidence: Floats
    skeleton: str
    time_s: Floats
    fps: float
    image_size: tuple[int, int]
    world: Floats | None = None

    def __repr__(self) -> str:
        width, height = self.image_size
        arrays = shapes(keypoints=self.keypoints, world=self.world)
        return (
            f"Track2D(person {self.person}, {self.skeleton}, {arrays}, {self.fps:.4g} frames/s, "
            f"{width}x{height})"
        )


@dataclass(frozen=True, kw_only=True)
class World:
    """One person's motion in the world, and the figure that moves so.

    World axes: z up, the floor at z = 0, metres; the origin is on the floor under the camera, y
    points the way the camera looks, x to its right. All people of a clip share one world.

    Attributes:
        points: (T, 31, 3) metres, the joints of `lithepose31`; nan where there was no person.
            `lithepose.world.rig.rig_points` of the fields below gives the same points.
        offsets: (N, 3) metres, the rig's rest pose: each node seen from its parent.
        markers: (31, 3) metres, each point of `lithepose31` seen from its node, in the rest pose.
        rotations: (T, N, 4) unit quaternions w, x, y, z, each node's rotation against its parent;
            nan where there was no person. `lithepose.world.rig` says which nodes there are.
        contact: (T, 2) bool, whether the left and the right foot stand.
        camera_rotation: (3, 3), world axes to camera axes.
        camera_position: (3,) metres.
        has_path: whether the person's way through the world is known. Where it is not (the camera
            moved), the person moves on the spot, at x = y = 0.
    """

    points: Floats
    offsets: Floats
    markers: Floats
    rotations: Floats
    contact: Flags
    camera_rotation: Floats
    camera_position: Floats
    has_path: bool = True

    def __repr__(self) -> str:
        arrays = shapes(points=self.points, rotations=self.rotations)
        return f"World({arrays}, {'with' if self.has_path else 'without'} a path)"


@dataclass(frozen=True, kw_only=True)
class Track3D:
    """One person over a clip in 3D.

    Attributes:
        person: number in the clip, from 1.
        joints_camera: (T, 17, 3) metres, camera axes, absolute (the root has a distance), joints in
            the Human3.6M-17 order; nan where there was no person.
        confidence: (T, 17) in [0, 1].
        keypoints_2d: (T, 17, 2) pixels, the observed joints in the same order; nan where missing.
        derived: (17,) bool, the joints whose 2D was derived from others, not seen by the detector.
        time_s, fps, image_size: as in `Track2D`.
        focal_px: focal length in pixels that places the person before the camera.
        points_camera: (T, 31, 3) metres, camera axes, the joints of `lithepose31`, whose first 17
            are `joints_camera`; or None.
        confidence_3d: (T, 31) in [0, 1], how far each of these points can be trusted; or None.
        world: the motion in the world, or None.
        metadata: what was assumed and measured (height, focal length, model, errors), JSON-ready.
    """

    person: int
    joints_camera: Floats
    confidence: Floats
    keypoints_2d: Floats
    derived: Flags
    time_s: Floats
    fps: float
    image_size: tuple[int, int]
    focal_px: float
    points_camera: Floats | None = None
    confidence_3d: Floats | None = None
    world: World | None = None
    metadata: dict[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        width, height = self.image_size
        arrays = shapes(
            joints_camera=self.joints_camera,
            points_camera=self.points_camera,
            world=None if self.world is None else self.world.points,
        )
        return (
            f"Track3D(person {self.person}, {arrays}, {self.fps:.4g} frames/s, {width}x{height}, "
            f"focal {self.focal_px:.0f} px)"
        )
