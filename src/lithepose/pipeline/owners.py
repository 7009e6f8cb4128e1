"""Whose results stand in a folder, so that those of one input do not replace those of another.

Results carry a fingerprint of the file they were made of: npz and JSON in their metadata, a page
among its facts. Files of other programs' formats have no place for one: a small hidden file beside
them notes it, `.<name>.lithepose`. What neither tells nor is noted is not known to be ours.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import mmap
import re
import zipfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from lithepose.files import atomic_write
from lithepose.video import IMAGE_SUFFIXES

TELLING = (".npz", ".json", ".html")
PAGE_CLIP = ".page.mp4"
_ENDS = 1 << 20  # bytes at the beginning and the end of a file that its fingerprint is made of


def fingerprint_of(source: Path) -> str:
    """What tells an input from others, wherever it lies: of a file its size, beginning and end; of
    a folder the names and sizes of its files, and beginning and end of the first and last."""
    digest = hashlib.sha256()
    files = _files_in(source) if source.is_dir() else [source]
    for file in files:
        name = file.name if source.is_dir() else ""
        digest.update(f"{name}\0{file.stat().st_size}\0".encode("utf-8", "surrogateescape"))
    for path in dict.fromkeys([*files[:1], *files[-1:]]):
        if not path.is_file():  # a pipe would wait for a writer
            continue
        # What cannot be read is for the reader of the clip to complain about.
        with contextlib.suppress(OSError), path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, path.stat().st_size - _ENDS))
            digest.update(file.read(_ENDS))
    return digest.hexdigest()[:32]


def _files_in(folder: Path) -> list[Path]:
    """The files of a clip; results may lie beside them, and are not part of it."""
    own = re.compile(re.escape(folder.resolve().name) + r"(-\d+)?\.(json|npz|csv)")
    files = [
        file
        for place in (folder, folder / "labels")
        if place.is_dir()
        for file in sorted(place.iterdir())
        if file.is_file() and not file.name.startswith(".") and not own.fullmatch(file.name)
    ]
    pictures = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    return pictures or [file for file in files if file.suffix.lower() in (".json", ".txt")]


def first_of_another(
    fingerprint: str, out: Path, name: str, endings: Sequence[str], *, numbered: bool
) -> Path | None:
    """The first file that would be replaced and is not known to be of this input; None if there is
    none.

    Args:
        fingerprint: of the input.
        out, name: folder and name of its results.
        endings: what is appended to the name in the files to be written.
        numbered: whether further people get files too, `name-2` and so on.
    """
    stems = [name]
    if numbered and out.is_dir():
        ends = "|".join(map(re.escape, endings))
        ours = re.compile(rf"({re.escape(name)}-\d+)({ends})")
        found = (ours.fullmatch(file.name) for file in sorted(out.iterdir()))
        stems += dict.fromkeys(match[1] for match in found if match)
    noted = _noted(out, name)
    for stem in stems:
        for ending in endings:
            target = out / (stem + ending)
            if not target.is_file():
                continue
            # A long clip's pictures lie beside their page, which tells for both.
            teller = out / (stem + (".html" if ending == PAGE_CLIP else ending))
            tells = teller.suffix in TELLING and _tells(teller, fingerprint)
            if not tells and noted.get(target.name) != fingerprint:
                return target
    return None


def note(fingerprint: str, out: Path, name: str, files: Iterable[str]) -> None:
    """Note whose these files of a folder are, or will be."""
    noted = _noted(out, name) | dict.fromkeys(files, fingerprint)
    if noted:
        with atomic_write(_note_at(out, name)) as temporary:
            temporary.write_text(json.dumps(noted, indent=1), encoding="utf-8")


def _note_at(out: Path, name: str) -> Path:
    return out / f".{name[:100]}.lithepose"


def _noted(out: Path, name: str) -> dict[str, str]:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        noted = json.loads(_note_at(out, name).read_text(encoding="utf-8"))
        if isinstance(noted, dict):
            return noted
    return {}


def _tells(path: Path, fingerprint: str) -> bool:
    """Whether a result says that it is of this input."""
    if not path.is_file():
        return False
    try:
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                return fingerprint in str(archive["metadata"])
        # The fingerprint is found nowhere by chance; a long result is not read as a whole.
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as text:
            return text.find(fingerprint.encode()) >= 0
    except (OSError, ValueError, KeyError, EOFError, TypeError, zipfile.BadZipFile):
        return False
