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

Floats = NDArray[np.floating[Any]]


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
    """

    keypoints: Floats
    confidence: Floats
    score: Floats
    skeleton: str
    world: Floats | None = None

    def __len__(self) -> int:
        return len(self.keypoints)


@dataclass(frozen=True, kw_only=True)
class Track2D:
    """One person over a clip in 2D.

    Attributes:
        person: identity, stable over the clip, counted from 0.
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


@dataclass(frozen=True, kw_only=True)
class Track3D:
    """One person over a clip in 3D.

    Attributes:
        person: identity, as in the `Track2D` it came from.
        joints_camera: (T, 17, 3) metres, camera axes, absolute (the root has a distance), joints in
            the Human3.6M-17 order; nan where there was no person.
        confidence: (T, 17) in [0, 1].
        keypoints_2d: (T, 17, 2) pixels, the observed joints in the same order; nan where missing.
        derived: (17,) bool, the joints whose 2D was derived from others, not seen by the detector.
        time_s, fps, image_size: as in `Track2D`.
        focal_px: focal length in pixels that places the person before the camera.
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
    metadata: dict[str, Any] = field(default_factory=dict)
