"""Video: frames in, frames out, and what the camera did.

PyAV loads with the first video that is opened or written, OpenCV with the first watch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lithepose.lazy import attach
from lithepose.video.frames import Frame, VideoError, VideoWarning
from lithepose.video.images import IMAGE_SUFFIXES
from lithepose.video.read import VideoReader, open_video
from lithepose.video.write import LONGEST_STEP_S, VideoWriter

if TYPE_CHECKING:
    from lithepose.video.camera_motion import CameraMotion, CameraWatch

__all__ = [
    "IMAGE_SUFFIXES",
    "LONGEST_STEP_S",
    "CameraMotion",
    "CameraWatch",
    "Frame",
    "VideoError",
    "VideoReader",
    "VideoWarning",
    "VideoWriter",
    "open_video",
]

__getattr__, __dir__ = attach(__name__, {"camera_motion": "CameraMotion CameraWatch"})
