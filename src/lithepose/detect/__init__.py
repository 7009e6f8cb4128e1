"""Detectors: a frame in, the people in it as 2D keypoints out.

A detector is an object with `skeleton`, `detect` and `reset`. `DETECTORS` names those that come
with the package; the path of an ONNX file stands for the pose network in it, and anything else that
fulfils the `Detector` protocol works in its place.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from lithepose.arrays import Image
from lithepose.lazy import located
from lithepose.poses import Detections

__all__ = [
    "DETECTORS",
    "Detector",
    "check_counts",
    "check_frame",
    "create_detector",
    "facts_of",
    "is_onnx",
]

# Name -> where the class is: a path, so that the table loads without any inference library.
DETECTORS = {"blazepose": "lithepose.detect.blazepose:BlazePose"}


class Detector(Protocol):
    """What the stages behind a detector rely on.

    Attributes:
        skeleton: joint set of the keypoints, a key of `lithepose.skeletons.SKELETONS`.
    """

    skeleton: str

    def detect(self, frame: Image, time_s: float) -> Detections:
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


def create_detector(name: str | os.PathLike[str] = "blazepose", **options: Any) -> Detector:
    """Build a detector by name, or from an ONNX file by its path.

    Args:
        name: a key of `DETECTORS`, or the path of a pose network (see
            `lithepose.detect.top_down.open_onnx_detector`, which takes the options then).
        options: go to the detector's constructor.

    Raises:
        ValueError: there is no detector of that name, or the file is no pose network.
        FileNotFoundError: there is no file at the path.
    """
    if is_onnx(name):
        from lithepose.detect.top_down import open_onnx_detector

        return open_onnx_detector(name, **options)
    if str(name) not in DETECTORS:
        raise ValueError(
            f"no detector named {str(name)!r}; known: {', '.join(sorted(DETECTORS))}, and the path "
            "of an ONNX file"
        )
    return located(DETECTORS[str(name)])(**options)


def facts_of(detector: Detector) -> dict[str, Any]:
    """What a result notes of a detector: name or file, and checksums.

    One that is not ours may have `facts` of its own, else its class has a name.
    """
    return dict(getattr(detector, "facts", {"name": type(detector).__name__}))


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Whether a path is that of an ONNX file, by its name."""
    return Path(path).suffix.lower() == ".onnx"


def check_counts(**counts: object) -> None:
    """Refuse options, by name, that are no whole numbers of 1 or more.

    Raises:
        ValueError: one is not.
    """
    for name, value in counts.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{name} is {value!r}: pass a whole number, 1 or more")


def check_frame(frame: Image) -> None:
    """Refuse what is no picture.

    Raises:
        ValueError: the frame is not (H, W, 3) of uint8.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"frame is {frame.dtype} of shape {frame.shape}: pass (H, W, 3) uint8 RGB")
