"""Files that are complete or absent, written beside their place and then moved onto it; and the
order of numbered names."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path

_NO_PERMISSION = "no permission to write there: write elsewhere, or close the program that uses it"
_ADVICE = {
    errno.ENOSPC: "the disk is full: free some space or write elsewhere",
    errno.EDQUOT: "the disk quota is used up: free some space or write elsewhere",
    errno.EACCES: _NO_PERMISSION,
    errno.EPERM: _NO_PERMISSION,
    errno.EROFS: "the disk is read-only: write elsewhere",
    errno.ENAMETOOLONG: "the name is too long: shorten it",
    errno.EISDIR: "that is a folder: name a file",
    errno.ENOTDIR: "a part of that path is a file, not a folder: write elsewhere",
    errno.EEXIST: "a part of that path is a file, not a folder: write elsewhere",
}


def natural_order(name: str) -> list[tuple[int, str]]:
    """Sort key of a file's name, whose numbers count as numbers: `2.png` comes before `10.png`."""
    parts = re.split(r"(\d+)", name.lower())
    key = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    # Names that differ in capitals or leading zeros only are in the same order on every disk.
    return [*key, (-2, name)]


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path to write to, which takes the place of `path` when the block ends well.

    The temporary file lies in the same folder, because only a move within one disk is a single
    step, and keeps the suffix, because writers choose their container by it. When the block fails
    for any reason the temporary file is removed, and a file that stood at `path` before stays as
    it was.

    Args:
        path: the file to write. Its folder is made if need be.

    Yields:
        The temporary path: an empty file to overwrite.

    Raises:
        OSError: the place cannot be written to or the disk is full; with the errno of the system's
            error, in words that say what to do. Whatever the block raises passes through.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.stem[:40]}-{secrets.token_hex(4)}{path.suffix}")
    with _explained(path):
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.open("xb").close()
    try:
        with _explained(path, about={None, str(temporary), str(path)}):
            yield temporary
            # On the disk before it has its name: else a power cut may leave an empty file there.
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
            temporary.replace(path)
    except BaseException:  # an interrupt, too, must leave no half a file
        # The failure that brought us here is the one to report, not a failed removal.
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise


@contextlib.contextmanager
def _explained(path: Path, about: set[str | None] | None = None) -> Iterator[None]:
    """Turn a system error into one that names the file to write and the way out.

    `about`: the file names that an error may carry to be about this file; None takes every error.
    """
    try:
        yield
    except OSError as error:
        ours = about is None or error.filename in about
        if not ours or error.errno not in _ADVICE:
            raise
        # OSError picks the subclass that belongs to the number.
        raise OSError(error.errno, f"cannot write: {_ADVICE[error.errno]}", str(path)) from error
