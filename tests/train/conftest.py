"""A network and data small enough to train in a test."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.mocap.motions import FRACTIONS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small operators wait for each other when they are shared among threads."""
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(1)


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


@pytest.fixture(scope="session")
def motion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of motion files with two short clips of formula-made motion each."""
    folder = tmp_path_factory.mktemp("motions")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        body = random_body(random)
        parts = [motion(name, 0.8, 50, body, random) for name in ("walk", "wave")]
        fractions = [1.0, *(mean for mean, _ in FRACTIONS.values())]
        np.savez(
            folder / f"cmu17_{split}.npz",
            pos=np.concatenate(parts).astype(np.float32),
            clip_start=np.array([0, 40, 80]),
            fps=np.float32(50),
            clip=np.array(["a", "b"]),
            subject=np.array(["1", "1"]),
            body=np.tile(body.stature * np.array(fractions, np.float32), (2, 1)),
            body_names=np.array(["H", *FRACTIONS]),
        )
    return folder
