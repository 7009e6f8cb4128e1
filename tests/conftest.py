"""Fixtures that every test may use."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

# Every core has a test of its own to run: a library's second thread only waits for a core, at
# every small operator. Libraries read this when they load, programs that tests start inherit it.
for _library in ("OMP", "OPENBLAS", "MKL"):
    os.environ.setdefault(f"{_library}_NUM_THREADS", "1")
# What makes any output a terminal's, and any process one of several that train together.
for _variable in ("FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE", "LOCAL_WORLD_SIZE"):
    os.environ.pop(_variable, None)


@pytest.hookimpl(tryfirst=True)  # before the fixtures, which draw, too
def pytest_runtest_setup() -> None:
    """Every test draws the same numbers, whichever tests its process ran before."""
    random.seed(0)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(0)


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
