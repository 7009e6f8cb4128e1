"""A result as a NumPy archive: `numpy.load(path)` gives the arrays of `record.RECORD` by name.

Besides those arrays: `schema` names the version of the layout, `metadata` is JSON text.
"""

from __future__ import annotations

import json
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.files import atomic_write
from lithepose.formats.record import SCHEMA, check_schema, json_ready, record_of, track_of
from lithepose.poses import Track3D


def write_npz(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one person's motion, as float32 (times as float64); see `lithepose.formats.FORMATS`."""
    arrays: dict[str, Any] = {
        "schema": np.array(SCHEMA),
        "metadata": np.array(json.dumps(json_ready(track.metadata), ensure_ascii=False)),
        **record_of(track),
    }
    with atomic_write(path) as temporary, temporary.open("wb") as file:
        # Through an open file, because given a name NumPy appends .npz to it where that is missing.
        np.savez_compressed(file, **arrays)


def read_npz(path: str | os.PathLike[str]) -> Track3D:
    """Read what `write_npz` wrote; see `lithepose.formats.READERS`."""
    path = Path(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable .npz archive: {error}") from error
    check_schema(str(values.get("schema", "none")), str(path))
    try:
        metadata = json.loads(str(values.get("metadata", "{}")))
    except json.JSONDecodeError as error:
        raise ValueError(f"{path}: metadata is not JSON text: {error}") from error
    return track_of(values, metadata, str(path))
