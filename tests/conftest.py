"""Fixtures that every test may use."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

# Every core has a test of its own to run: a library's second thread only waits for a core, at
# every small operator. Libraries read this when they load, programs that tests start inherit it.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Path of a file of the data folder, which is not part of the repository; skips without it."""
    default = Path(__file__).resolve().parents[2] / "shared"
    root = Path(os.environ.get("LITHEPOSE_SHARED", default))

    def find(name: str) -> Path:
        path = root / name
        if not path.exists():
            pytest.skip(f"needs {name} in the folder named by LITHEPOSE_SHARED")
        return path

    return find
