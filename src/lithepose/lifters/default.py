"""The lifter that the command uses: our own weights, as an ONNX file inside the package."""

from __future__ import annotations

import json
from functools import cache
from importlib.resources import as_file, files

import numpy as np

from lithepose.arrays import Floats
from lithepose.onnx import OnnxModel

SHIPPED = "lithepose-81-9"
SHIPPED_SETTINGS = {"frames": 81, "kept_frames": 9, "in_channels": 4}
SHIPPED_FAMILY = "nanohtnet"
WEIGHTS = SHIPPED


class DefaultLifter:
    """A lifter of windows (see `lithepose.lifters.windows`) run by ONNX Runtime.

    Attributes:
        frames: F, frames of a window.
        targets: K, frames in its middle that come out.
        name: of the weights, which results cite.
    """

    def __init__(self, model: OnnxModel):
        config = json.loads(model.metadata["config"])
        self.model = model
        self.name = model.metadata.get("name", WEIGHTS)
        self.frames: int = config["frames"]
        self.targets: int = config["kept_frames"]

    def __call__(self, values: Floats) -> Floats:
        """(B, frames, 17, 4) -> (B, targets, 17, 3), float32."""
        return self.model(values.astype(np.float32, copy=False))


@cache
def default_lifter() -> DefaultLifter:
    """The shipped lifter, loaded once."""
    with as_file(files("lithepose") / "weights" / f"{WEIGHTS}.onnx") as path:
        return DefaultLifter(OnnxModel(path, threads=1))
