"""The log of a run: `log.csv`, and the same for TensorBoard."""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lithepose.files import atomic_write

log = logging.getLogger(__name__)

LOG = "log.csv"


@dataclass(frozen=True, kw_only=True)
class Progress:
    """Where a run stands.

    Attributes:
        step: steps done.
        steps: steps of the whole run.
        epoch: passes over the examples done, with the part of the one begun.
        loss: mean since the last report.
        learning_rate: of the last step.
        examples_per_s: over all processes, since the last report.
        scores: what `Task.validate` gave; empty where the network was not validated.
        best: whether these scores are the best so far.
    """

    step: int
    steps: int
    epoch: float
    loss: float
    learning_rate: float
    examples_per_s: float
    scores: dict[str, float]
    best: bool


def read_log(path: Path) -> list[dict[str, str]]:
    """The rows of a `log.csv`.

    Raises:
        ValueError: it is damaged.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        for row in rows:
            int(row["step"])
    except (ValueError, KeyError, TypeError, csv.Error) as error:
        raise ValueError(
            f"{path} is damaged ({error}): take it away, the training goes on without its rows"
        ) from error
    return rows


class Log:
    """The rows of `log.csv`, and the same for TensorBoard."""

    def __init__(self, folder: Path, tensorboard: bool):
        self.folder, self.tensorboard = folder, tensorboard
        self.rows: list[dict[str, str]] = []
        self.writer: Any = None

    def begin(self, step: int) -> None:
        """Go on after `step`: rows beyond it are of steps that will be done again."""
        path = self.folder / LOG
        if path.exists():
            self.rows = [row for row in read_log(path) if int(row["step"]) <= step]
        if not self.tensorboard:
            return
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            log.info("no TensorBoard events: it is not installed (pip install tensorboard)")
            return
        self.writer = SummaryWriter(str(self.folder), purge_step=step + 1 if step else None)

    def append(self, progress: Progress, batch: int) -> None:
        row = {
            "step": str(progress.step),
            "examples": str(progress.step * batch),
            "epoch": f"{progress.epoch:.4g}",
            "learning_rate": f"{progress.learning_rate:.3g}",
            "loss": f"{progress.loss:.6g}",
            "examples_per_s": f"{progress.examples_per_s:.6g}",
            **{k: f"{v:.6g}" for k, v in progress.scores.items()},
        }
        self.rows.append(row)
        text = io.StringIO()
        names = list(dict.fromkeys(name for row in self.rows for name in row))
        writer = csv.DictWriter(text, names, restval="")
        writer.writeheader()
        writer.writerows(self.rows)
        with atomic_write(self.folder / LOG) as temporary:
            temporary.write_text(text.getvalue(), encoding="utf-8", newline="")
        if self.writer is not None:
            for name in ("loss", "learning_rate", "examples_per_s"):
                self.writer.add_scalar(f"train/{name}", getattr(progress, name), progress.step)
            for name, value in progress.scores.items():
                self.writer.add_scalar(f"validation/{name}", value, progress.step)
            self.writer.flush()

    def close(self) -> None:
        if self.writer is not None:
            self.writer.close()
