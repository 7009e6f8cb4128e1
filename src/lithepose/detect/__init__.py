"""Detectors: a frame in, the people in it as 2D keypoints out.

A detector is an object with `skeleton`, `detect` and `reset`. `DETECTORS` names those that come
with the package; anything else that fulfils the `Detector` protocol works in its place.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from lithepose.poses import Detections

# Name -> where the class is: a path, so that the table loads without any inference library.
DETECTORS = {"blazepose": "lithepose.detect.blazepose:BlazePose"}


class Detector(Protocol):
    """What the stages behind a detector rely on.

    Attributes:
        skeleton: joint set of the keypoints, a key of `lithepose.skeletons.SKELETONS`.
    """

    skeleton: str

    def detect(self, frame: NDArray[np.uint8], time_s: float) -> Detections:
        """Find the people in one frame.

        Frames of a clip are given in order; a detector may carry knowledge from one to the next.

        Args:
            frame: (H, W, 3) RGB, upright.
            time_s: time stamp in seconds, ascending within a clip.
        """
        ...

    def reset(self) -> None:
        """Forget the clip so far, before frames that do not continue it."""
        ...


def create_detector(name: str = "blazepose", **options: Any) -> Detector:
    """Build a detector by name; `options` go to its constructor.

    Raises:
        ValueError: there is no detector of that name.
    """
    if name not in DETECTORS:
        raise ValueError(f"no detector named {name!r}; known: {', '.join(sorted(DETECTORS))}")
    module, attribute = DETECTORS[name].split(":")
    return getattr(import_module(module), attribute)(**options)
