"""The table of lifters as people read it: sizes, costs and licences, without PyTorch.

Parameters and multiply-adds are recorded in `sizes.json`, written by `benchmarks/profiles.py` from
the networks themselves (see `lithepose.deploy.cost` for what is counted).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from lithepose.lifters import LIFTERS
from lithepose.lifters.default import SHIPPED, SHIPPED_SETTINGS

# Our own default, which comes with its weights; its inputs: `lithepose.lifters.windows`.

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


@dataclass(frozen=True, kw_only=True)
class Line:
    """A lifter in the table.

    Attributes:
        name: what `create_lifter` takes, or the default model.
        source: where the size is published.
        frames_in, frames_out: of a clip.
        licence: of the authors' code and of their weights.
        parameters: all that are trained.
        macs: multiply-adds of a clip: every matrix product and convolution.

    Both counts are None where they are not recorded (`benchmarks/profiles.py --sizes`).
    """

    name: str
    source: str
    frames_in: int
    frames_out: int
    licence: tuple[str, str]
    parameters: int | None = None
    macs: int | None = None


def recorded_sizes() -> dict[str, dict[str, int]]:
    """`parameters` and `macs` by name of the lifter."""
    text = (files("lithepose.lifters") / "sizes.json").read_text(encoding="utf-8")
    return json.loads(text)


def table() -> list[Line]:
    """Every lifter, the default model first."""
    recorded = recorded_sizes()
    shipped = Line(
        name=SHIPPED,
        source="ours, docs/models/lithepose-81-9.md",
        frames_in=SHIPPED_SETTINGS["frames"],
        frames_out=SHIPPED_SETTINGS["kept_frames"],
        licence=("Apache-2.0", "Apache-2.0, shipped"),
        **recorded.get(SHIPPED, {}),
    )
    lines = [shipped]
    for name, spec in LIFTERS.items():
        code, weights = LICENCES[spec.family]
        lines.append(
            Line(
                name=name,
                source=spec.source,
                frames_in=spec.frames_in,
                frames_out=spec.frames_out,
                licence=(code, _NONE if name in WITHOUT_WEIGHTS else weights),
                **recorded.get(name, {}),
            )
        )
    return lines


def short(number: float) -> str:
    """A count with three or four digits: 28.95 M, 147.4 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            value = number / size
            return f"{value:.{2 if value < 100 else 1}f} {unit}"
    return f"{number:g}"


HEADINGS = (
    "lifter",
    "in",
    "out",
    "parameters",
    "MACs/clip",
    "MACs/frame",
    "authors' code",
    "weights",
    "source",
)


def cells(line: Line) -> tuple[str, ...]:
    """A line's texts under `HEADINGS`; the second MACs are per output frame."""
    return (
        line.name,
        str(line.frames_in),
        str(line.frames_out),
        "-" if line.parameters is None else f"{line.parameters:,}",
        "-" if line.macs is None else short(line.macs),
        "-" if line.macs is None else short(line.macs / line.frames_out),
        *line.licence,
        line.source,
    )


def as_text(lines: Sequence[Line]) -> str:
    """The table in columns, numbers to the right."""
    rows = [HEADINGS, *(cells(line) for line in lines)]
    widths = [max(len(row[i]) for row in rows) for i in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            text.rjust(width) if 1 <= i <= 5 else text.ljust(width)
            for i, (text, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def as_markdown(lines: Sequence[Line]) -> str:
    """The table in Markdown."""
    rows = [HEADINGS, ("---",) * len(HEADINGS), *(cells(line) for line in lines)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)
