"""A network small enough to train in a test."""

from __future__ import annotations

from typing import Any

import pytest

TINY: dict[str, Any] = {
    "frames": 9,
    "kept_frames": 3,
    "in_channels": 4,
    "channels": 48,
    "hidden": 32,
    "layers": 1,
    "drop_path": (0.0, 0.0),
    "spatial_dropout": 0.0,
    "temporal_dropout": 0.0,
    "attention_dropout": 0.0,
}


@pytest.fixture(scope="session")
def tiny() -> dict[str, Any]:
    """Fields of a small NanoHTNet without dropout."""
    return TINY
