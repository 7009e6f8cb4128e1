"""The stages joined: from a video, frames or keypoints to people in 3D, and to files of them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lithepose.pipeline.demo import DemoResult, run_demo
    from lithepose.pipeline.files import LiftedFiles, WriteError, check_writable, lift_to_files
    from lithepose.pipeline.lift import lift_keypoints, lift_track
    from lithepose.pipeline.options import DetectorOptions, Report
    from lithepose.pipeline.result import NoPersonError, Result
    from lithepose.pipeline.sources import track_from_arrays

_WHERE = {
    "DemoResult": "demo",
    "DetectorOptions": "options",
    "LiftedFiles": "files",
    "NoPersonError": "result",
    "Report": "options",
    "Result": "result",
    "WriteError": "files",
    "check_writable": "files",
    "lift_keypoints": "lift",
    "lift_to_files": "files",
    "lift_track": "lift",
    "run_demo": "demo",
    "track_from_arrays": "sources",
}

__all__ = [
    "DemoResult",
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
    "run_demo",
    "track_from_arrays",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
