"""The table of lifters as people read it: sizes, costs and licences, without PyTorch.

Parameters and multiply-adds are recorded in `sizes.json`, written by `benchmarks/profiles.py` from
the networks themselves (see `lithepose.deploy.cost` for what is counted).
"""

from __future__ import annotations

import json
from importlib.resources import files

from lithepose.lifters import LIFTERS
from lithepose.lifters.default import SHIPPED, SHIPPED_SETTINGS
from lithepose.tables import aligned, markdown

_HUMAN36M = "research only (Human3.6M)"  # the licence of the data that they were trained on
_NONE = "none published"
# Family -> licence of the authors' code and of their weights, as far as they say. Our code is
# Apache-2.0 throughout.
LICENCES = {
    "ampose": (_NONE, _NONE),
    "convformer": ("none published; US patents", _NONE),
    "hot": ("MIT", _HUMAN36M),
    "htnet": ("MIT", _HUMAN36M),
    "mhformer": ("MIT", _HUMAN36M),
    "mixste": ("not stated", _HUMAN36M),
    "motionagformer": ("Apache-2.0", _HUMAN36M),
    "motionbert": ("Apache-2.0", _HUMAN36M),
    "nanohtnet": ("MIT", _HUMAN36M),
}
# The authors published the networks, but neither weights nor the training.
WITHOUT_WEIGHTS = {"hot-motionagformer-243", "hot-motionbert-243"}


def recorded_sizes() -> dict[str, dict[str, int]]:
    """`parameters` and `macs` by name of the lifter."""
    text = (files("lithepose.lifters") / "sizes.json").read_text(encoding="utf-8")
    return json.loads(text)


HEADINGS = (
    "lifter", "in", "out", "parameters", "MACs/clip", "MACs/frame", "authors' code", "weights",
    "source",
)  # fmt: skip


def rows() -> list[tuple[str, ...]]:
    """The table's texts under `HEADINGS`, the default model first.

    MACs are multiply-adds, those of every matrix product and convolution, of a clip and per output
    frame. Counts that are not recorded are "-" (`benchmarks/profiles.py --sizes`).
    """
    frames = (SHIPPED_SETTINGS["frames"], SHIPPED_SETTINGS["kept_frames"])
    weights = "Apache-2.0, shipped"
    lifters = [(SHIPPED, frames, "Apache-2.0", weights, "ours, docs/models/lithepose-81-9.md")]
    for name, spec in LIFTERS.items():
        code, weights = LICENCES[spec.family]
        weights = _NONE if name in WITHOUT_WEIGHTS else weights
        lifters.append((name, (spec.frames_in, spec.frames_out), code, weights, spec.source))
    recorded, texts = recorded_sizes(), []
    for name, frames, *end in lifters:
        counts = ("-", "-", "-")
        if name in recorded:
            macs = recorded[name]["macs"]
            per_frame = short(macs / frames[1])
            counts = (f"{recorded[name]['parameters']:,}", short(macs), per_frame)
        texts.append((name, *map(str, frames), *counts, *end))
    return texts


def short(number: float) -> str:
    """A count with three or four digits: 28.95 M, 147.4 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            value = number / size
            return f"{value:.{2 if value < 100 else 1}f} {unit}"
    return f"{number:g}"


def as_text() -> str:
    """The table in columns, numbers to the right."""
    return aligned(HEADINGS, rows(), numbers=range(1, 6))


def as_markdown() -> str:
    """The table in Markdown."""
    return markdown(HEADINGS, rows())
