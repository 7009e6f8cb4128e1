"""Trained networks measured as papers do."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class EvaluationSettings:
    """How a network is measured.

    Attributes:
        protocols: of a lifter, keys in `PROTOCOLS`; the recipe's own if there are none. Of a pose
            network trained on synthetic people "synthetic", or the data set of photographs that has
            its joints, "coco" or "mpii"; "synthetic" if there are none.
        flip: average with the prediction of the mirrored input; None: as the recipe says.
        windows: of a lifter that gives all frames of a window, how sequences are cut into them:
            "last", "padded" or "inside" (`lithepose.metrics.protocols.WINDOWS`); None: as the
            recipe says.
        split: of a pose network, the part of the data set; None: the one that papers report, of
            synthetic people "test".
        boxes: of a pose network on COCO, a file of detected boxes in place of the annotated ones.
        decoder: of a pose network's heatmaps; None: as the recipe says.
        device: "cpu", "cuda", "cuda:1", "mps", or "auto": a GPU if there is one.
    """

    protocols: tuple[str, ...] = ()
    flip: bool | None = None
    windows: Literal["last", "padded", "inside"] | None = None
    split: str | None = None
    boxes: Path | None = None
    decoder: Literal["quarter", "dark", "udp"] | None = None
    device: str = "cpu"
