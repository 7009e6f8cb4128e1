"""Motion capture: originals, motion files, and the training windows drawn from them.

`lithepose.mocap.device_windows` draws windows with PyTorch.
"""

from __future__ import annotations

from lithepose.mocap.importing import import_motions, import_split, write_motions
from lithepose.mocap.motions import Motions, read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import Batch, WindowSettings, draw_batch, draw_views

__all__ = [
    "Batch",
    "DetectorNoise",
    "Motions",
    "WindowSettings",
    "draw_batch",
    "draw_views",
    "import_motions",
    "import_split",
    "read_motions",
    "write_motions",
]
