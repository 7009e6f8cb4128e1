"""The table of lifters as people read it: sizes, costs and licences, without PyTorch.

Parameters and multiply-adds are recorded in `sizes.json`, written by `benchmarks/profiles.py` from
the networks themselves (see `lithepose.deploy.cost` for what is counted).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.resources import files

from lithepose.lifters import LIFTERS

# Our own default, which comes with its weights; its inputs: `lithepose.lifters.windows`.
SHIPPED = "lithepose-81-9"
SHIPPED_SETTINGS = {"frames": 81, "kept_frames": 9, "in_channels": 4}
SHIPPED_FAMILY = "nanohtnet"

_HUMAN36M = "research only (Human3.6M)"  # the licence of the data that they were trained on
_NONE = "none published"


@dataclass(frozen=True, kw_only=True)
class Licence:
    """Of a method and its weights, as far as its authors say.

    Attributes:
        code: of the authors' own code; ours is Apache-2.0 throughout.
        weights: of their weights.
    """

    code: str
    weights: str


LICENCES = {
    "ampose": Licence(code=_NONE, weights=_NONE),
    "convformer": Licence(code="none published; US patents", weights=_NONE),
    "hot": Licence(code="MIT", weights=_HUMAN36M),
    "htnet": Licence(code="MIT", weights=_HUMAN36M),
    "mhformer": Licence(code="MIT", weights=_HUMAN36M),
    "mixste": Licence(code="not stated", weights=_HUMAN36M),
    "motionagformer": Licence(code="Apache-2.0", weights=_HUMAN36M),
    "motionbert": Licence(code="Apache-2.0", weights=_HUMAN36M),
    "nanohtnet": Licence(code="MIT", weights=_HUMAN36M),
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
        parameters: all that are trained.
        macs: multiply-adds of a clip: every matrix product and convolution.
        licence: of the method and of the weights there are.
    """

    name: str
    source: str
    frames_in: int
    frames_out: int
    parameters: int
    macs: int
    licence: Licence


def recorded_sizes() -> dict[str, dict[str, int]]:
    """`parameters` and `macs` by name of the lifter."""
    text = (files("lithepose.lifters") / "sizes.json").read_text(encoding="utf-8")
    return json.loads(text)


def table() -> list[Line]:
    """Every lifter, the default model first.

    Raises:
        ValueError: a lifter's size is not recorded.
    """
    recorded = recorded_sizes()
    missing = [name for name in (SHIPPED, *LIFTERS) if name not in recorded]
    if missing:
        raise ValueError(
            f"no size is recorded for {', '.join(missing)}: run benchmarks/profiles.py --sizes"
        )
    shipped = Line(
        name=SHIPPED,
        source="ours, docs/models/lithepose-81-9.md",
        frames_in=81,
        frames_out=9,
        licence=Licence(code="Apache-2.0", weights="Apache-2.0, shipped"),
        **recorded[SHIPPED],
    )
    lines = [
        Line(
            name=name,
            source=row.source,
            frames_in=row.frames_in,
            frames_out=row.frames_out,
            licence=_licence(name),
            **recorded[name],
        )
        for name, row in LIFTERS.items()
    ]
    return [shipped, *lines]


def _licence(name: str) -> Licence:
    licence = LICENCES[LIFTERS[name].family]
    return replace(licence, weights=_NONE) if name in WITHOUT_WEIGHTS else licence


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
        f"{line.parameters:,}",
        short(line.macs),
        short(line.macs / line.frames_out),
        line.licence.code,
        line.licence.weights,
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
