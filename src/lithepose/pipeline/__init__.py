"""The stages joined: from a video, frames or keypoints to people in 3D, and to files of them.

`lithepose.lift` is `pipeline.lift.lift`; the demonstration is in `pipeline.demo`.
"""

from lithepose.pipeline.files import LiftedFiles, WriteError, check_writable, lift_to_files
from lithepose.pipeline.lift import lift_keypoints, lift_track
from lithepose.pipeline.options import DetectorOptions, Report
from lithepose.pipeline.result import NoPersonError, Result
from lithepose.pipeline.sources import track_from_arrays

__all__ = [
    "DetectorOptions",
    "LiftedFiles",
    "NoPersonError",
    "Report",
    "Result",
    "WriteError",
    "check_writable",
    "lift_keypoints",
    "lift_to_files",
    "lift_track",
    "track_from_arrays",
]
