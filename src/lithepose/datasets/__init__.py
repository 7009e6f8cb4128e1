"""Readers of the research data sets' files.

`lithepose.datasets.inventory` says which of them a folder holds.
"""

from __future__ import annotations

from lithepose.datasets.coco import read_coco
from lithepose.datasets.human36m import read_human36m, read_image_space
from lithepose.datasets.humaneva import read_humaneva
from lithepose.datasets.images import People
from lithepose.datasets.mpi_inf_3dhp import read_test, read_training
from lithepose.datasets.mpii import read_mpii
from lithepose.datasets.sequences import PoseSequence

__all__ = [
    "People",
    "PoseSequence",
    "read_coco",
    "read_human36m",
    "read_humaneva",
    "read_image_space",
    "read_mpii",
    "read_test",
    "read_training",
]
