"""What a run leaves in its folder: checkpoints, which hold tensors and what they are of in one
safetensors file each, and `log.csv`, the same for TensorBoard."""

from __future__ import annotations

import csv
import functools
import io
import json
import logging
import os
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from lithepose.files import atomic_write

log = logging.getLogger(__name__)

LAST, BEST, LOG = "last.safetensors", "best.safetensors", "log.csv"
# How long a run is does not make it another run: it may be made longer.
_LENGTH = ("epochs", "steps")


def kept_weights(checkpoint: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The weights a checkpoint stands for, by the network's names.

    Args:
        checkpoint: a `last.safetensors`, of which it is the averaged weights if the run averages,
            or a `best.safetensors`.
    """
    checkpoint = Path(checkpoint)
    header, tensors = read_header(checkpoint), read_tensors(checkpoint)
    if header["kind"] == "best":
        return tensors
    first = "averaged." if any(name.startswith("averaged.") for name in tensors) else "model."
    return {n.removeprefix(first): t for n, t in tensors.items() if n.startswith(first)}


def write_checkpoint(path: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    """Write tensors and texts; the file is complete or absent."""
    held = {k: v.detach().cpu().contiguous() for k, v in tensors.items()}
    # Tied parameters have one storage, which the format refuses to hold twice.
    seen: set[int] = set()
    for name, tensor in held.items():
        if tensor.untyped_storage().data_ptr() in seen:
            held[name] = tensor.clone()
        seen.add(tensor.untyped_storage().data_ptr())
    with atomic_write(path) as temporary:
        # Not save_file, whose error for a full disk does not say so.
        temporary.write_bytes(save(held, dict(header)))


def _open(path: Path) -> Any:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}: train first")
    try:
        return safe_open(path, framework="pt")
    except SafetensorError as error:
        raise ValueError(
            f"{path} is damaged or no safetensors file ({error}): take it away to start anew"
        ) from error


def read_header(path: Path) -> dict[str, str]:
    """The texts in a checkpoint.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it is damaged or no checkpoint.
    """
    with _open(path) as file:
        header = file.metadata() or {}
    if header.get("kind") not in ("last", "best"):
        raise ValueError(f"{path} is no checkpoint of a training: take it away to start anew")
    return header


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors in a checkpoint."""
    with _open(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _differences(before: Any, now: Any, at: str = "") -> Iterator[tuple[str, Any, Any]]:
    """Where two values of JSON differ, by dotted path; the length of a run is left out."""
    if isinstance(before, dict) and isinstance(now, dict):
        for key in before.keys() | now.keys():
            if key not in _LENGTH:
                yield from _differences(before.get(key), now.get(key), f"{at}.{key}")
    elif before != now:
        yield at.removeprefix("."), before, now


def refuse_other(path: Path, header: Mapping[str, str], recipe: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another recipe.

    Raises:
        ValueError: it is of one; the message names the first difference.
    """
    for name, before, now in sorted(_differences(json.loads(header["described"]), recipe)):
        raise ValueError(
            f"{path} is of a run with {name} = {before}, not {now}: resume with that, or train "
            "into another folder"
        )


@functools.cache
def commit_of_code() -> str:
    """The commit this code is of, with a note if files were changed; empty outside a checkout."""
    here = Path(__file__).resolve()

    def git(*arguments: str) -> str:
        # Without the optional lock, so that asking never writes the checkout's index.
        command = ["git", "--no-optional-locks", "-C", str(here.parent), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()

    try:
        # An installed copy may lie inside somebody else's checkout.
        git("ls-files", "--error-unmatch", here.name)
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + (" with changes" if changed else "")
    except (OSError, subprocess.CalledProcessError):
        return ""


# --- the log ----------------------------------------------------------------------------------


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
