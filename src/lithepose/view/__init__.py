"""What a person looks at: skeletons over pictures, figures in 3D, overlay videos and pages.

The drawing needs OpenCV, which loads on first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lithepose.view.facts import facts_of
    from lithepose.view.html import PageVideo, write_page
    from lithepose.view.overlay import OverlayVideo, draw_still, write_overlay
    from lithepose.view.scene3d import View3D, draw_pose_3d, fit_view
    from lithepose.view.skeleton2d import draw_skeleton

_WHERE = {
    "OverlayVideo": "overlay",
    "PageVideo": "html",
    "View3D": "scene3d",
    "draw_pose_3d": "scene3d",
    "draw_skeleton": "skeleton2d",
    "draw_still": "overlay",
    "facts_of": "facts",
    "fit_view": "scene3d",
    "write_overlay": "overlay",
    "write_page": "html",
}

__all__ = [
    "OverlayVideo",
    "PageVideo",
    "View3D",
    "draw_pose_3d",
    "draw_skeleton",
    "draw_still",
    "facts_of",
    "fit_view",
    "write_overlay",
    "write_page",
]


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_WHERE[name]}"), name)
