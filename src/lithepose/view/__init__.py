"""What a person looks at: skeletons over pictures, figures in 3D, overlay videos and pages."""

from lithepose.view.facts import facts_of
from lithepose.view.html import PageVideo, write_page
from lithepose.view.overlay import OverlayVideo, draw_still, write_overlay
from lithepose.view.scene3d import View3D, draw_pose_3d, fit_view
from lithepose.view.skeleton2d import draw_skeleton

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
