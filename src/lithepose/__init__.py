"""Ordinary video to 3D human motion on small machines.

    import lithepose
    result = lithepose.lift("video.mp4", height=1.80)
    result.people[0].joints_camera  # (T, 17, 3) metres

The names below load on first use, so that `import lithepose` stays fast.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from lithepose.version import __version__ as __version__

if TYPE_CHECKING:
    from lithepose.formats import read_result, write_result
    from lithepose.lifters import convert_state_dict, create_lifter, load_lifter
    from lithepose.pipeline.lift import lift, lift_keypoints
    from lithepose.pipeline.options import DetectorOptions
    from lithepose.pipeline.result import NoPersonError, Result
    from lithepose.poses import Detections, Track2D, Track3D, World
    from lithepose.world.solve import WorldOptions

_WHERE = {
    "Detections": "lithepose.poses",
    "DetectorOptions": "lithepose.pipeline.options",
    "NoPersonError": "lithepose.pipeline.result",
    "Result": "lithepose.pipeline.result",
    "Track2D": "lithepose.poses",
    "Track3D": "lithepose.poses",
    "World": "lithepose.poses",
    "WorldOptions": "lithepose.world.solve",
    "convert_state_dict": "lithepose.lifters",
    "create_lifter": "lithepose.lifters",
    "lift": "lithepose.pipeline.lift",
    "lift_keypoints": "lithepose.pipeline.lift",
    "load_lifter": "lithepose.lifters",
    "read_result": "lithepose.formats",
    "write_result": "lithepose.formats",
}

__all__ = [
    "Detections",
    "DetectorOptions",
    "NoPersonError",
    "Result",
    "Track2D",
    "Track3D",
    "World",
    "WorldOptions",
    "convert_state_dict",
    "create_lifter",
    "lift",
    "lift_keypoints",
    "load_lifter",
    "read_result",
    "write_result",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'lithepose' has no attribute {name!r}")
    return getattr(importlib.import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
