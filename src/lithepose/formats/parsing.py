"""What readers of other programs' text files share: lines, numbers, errors that name the line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from lithepose.arrays import Floats


class LineError(Exception):
    """What is wrong in a line; `naming` makes it an error of the file."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(f"line {line}: {message}")


@contextmanager
def naming(path: Path, kind: str) -> Iterator[None]:
    """Turn a `LineError` into a ValueError of a file that should be of a kind, such as "BVH"."""
    try:
        yield
    except LineError as error:
        raise ValueError(f"{path} is not a readable {kind} file, {error}") from error


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, whatever program wrote it."""
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # old programs; every byte is a letter there
    return re.split("\r\n|\n|\r", text)


def number(line: int, word: str) -> float:
    """A finite number."""
    try:
        value = float(word)
    except ValueError:
        value = np.nan
    if not np.isfinite(value):
        raise LineError(line, f"a number expected; found {word!r}")
    return value


def fill_row(row: Floats, line: int, words: list[str]) -> None:
    """Write as many finite numbers into `row`: fast, for the many lines of a motion."""
    try:
        row[:] = words
    except ValueError as error:
        raise LineError(line, str(error)) from error
    if not np.isfinite(row).all():
        raise LineError(line, "a number expected; found nan or infinity")
