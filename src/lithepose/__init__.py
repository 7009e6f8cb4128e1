"""Ordinary video to 3D human motion on small machines.

    import lithepose
    result = lithepose.lift("video.mp4", height=1.80)
    result.people[0].joints_camera  # (T, 17, 3) metres

The names below load on first use, so that `import lithepose` stays fast.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lithepose.lazy import attach
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
    "formats": "read_result write_result",
    "lifters": "convert_state_dict create_lifter load_lifter",
    "pipeline.lift": "lift lift_keypoints",
    "pipeline.options": "DetectorOptions",
    "pipeline.result": "NoPersonError Result",
    "poses": "Detections Track2D Track3D World",
    "world.solve": "WorldOptions",
}
__getattr__, __dir__ = attach(__name__, _WHERE)

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
