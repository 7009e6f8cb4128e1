"""The values the stages hand on: detections of a frame, a person in 2D, a person in 3D.

Shapes use T frames, P people, J joints. 2D is in pixels of the upright frame (x right, y down,
the centre of the top-left pixel at (0.5, 0.5)); 3D is in metres, camera axes (x right, y down,
z forward). A missing joint is nan with confidence 0.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats


def shapes(**arrays: Any) -> str:
    """`name=(T, J, C)` of every array that is there, for a value that shows itself in a line."""
    return ", ".join(f"{name}={np.shape(a)}" for name, a in arrays.items() if a is not None)


# A frame in thirty years: slower is a slip, and such times lose the seconds.
LEAST_FPS = 1e-9
LONGEST_S = 1e12


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
        rotations: (T, N, 4) unit quaternions w, x, y, z, each node's turn against its parent;
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
    contact: NDArray[np.bool_]
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
    derived: NDArray[np.bool_]
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
