"""Rendered people with exactly known joints.

Who they are and how they stand is NumPy: `bodies`, `appearance`, `figures` and `figure_bank` (made
of `solids` and `surface`), `movements`, `posing`, `crops`. What they look like is PyTorch:
`rasteriser` finds what is seen of posed people, `paint` colours it; `render` makes training
pictures of that (with `backdrops` and `camera_effects`), `scenes` makes clips (in `rooms`).
The names below load on first use: some need PyTorch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from lithepose.lazy import attach

if TYPE_CHECKING:
    from lithepose.synthetic.appearance import random_appearance
    from lithepose.synthetic.bodies import random_body
    from lithepose.synthetic.crops import CropSettings, SyntheticCrops, crops_from
    from lithepose.synthetic.figure_bank import build_bank
    from lithepose.synthetic.figures import build_figure
    from lithepose.synthetic.movements import MOTIONS, motion
    from lithepose.synthetic.posing import rebone
    from lithepose.synthetic.render import open_assets
    from lithepose.synthetic.scenes import Box, Clip, Scene, random_scene

_WHERE = {
    "appearance": "random_appearance",
    "bodies": "random_body",
    "crops": "CropSettings SyntheticCrops crops_from",
    "figure_bank": "build_bank",
    "figures": "build_figure",
    "movements": "MOTIONS motion",
    "posing": "rebone",
    "render": "open_assets",
    "scenes": "Box Clip Scene random_scene",
}
__getattr__, __dir__ = attach(__name__, _WHERE)

__all__ = [
    "MOTIONS",
    "Box",
    "Clip",
    "CropSettings",
    "Scene",
    "SyntheticCrops",
    "build_bank",
    "build_figure",
    "crops_from",
    "motion",
    "open_assets",
    "random_appearance",
    "random_body",
    "random_scene",
    "rebone",
]
