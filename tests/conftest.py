"""Fixtures that every test may use."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

pytest_plugins = ["public_formats"]

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


import numpy as np  # noqa: E402

from lithepose.anthropometry import SEGMENTS  # noqa: E402
from lithepose.cameras import Camera, look_at  # noqa: E402
from lithepose.mocap.motions import FILE_NAMES  # noqa: E402
from lithepose.synthetic.bodies import random_body  # noqa: E402
from lithepose.synthetic.movements import motion  # noqa: E402


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


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Small operators wait for each other when they are shared among threads."""
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def motion_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of motion files with two short clips of formula-made motion each."""
    folder = tmp_path_factory.mktemp("motions")
    random = np.random.default_rng(0)
    for split in ("train", "val"):
        body = random_body(random)
        parts = [motion(name, 0.8, 50, body, random) for name in ("walk", "wave")]
        fractions = [1.0, *SEGMENTS.values()]
        np.savez(
            folder / f"cmu17_{split}.npz",
            pos=np.concatenate(parts).astype(np.float32),
            clip_start=np.array([0, 40, 80]),
            fps=np.float32(50),
            clip=np.array(["a", "b"]),
            subject=np.array(["1", "1"]),
            body=np.tile(body.stature * np.array(fractions, np.float32), (2, 1)),
            body_names=np.array(list(FILE_NAMES.values())),
        )
    return folder


@dataclass
class Scene:
    """T frames of one person: (T, 17, 2) pixels, (T, 17, 3) metres in camera axes."""

    keypoints: np.ndarray
    joints_camera: np.ndarray
    focal_px: float
    height_m: float
    image_size: tuple[int, int]
    fps: float


def film_motion(
    name: str = "walk",
    seconds: float = 2.0,
    fps: float = 25.0,
    image_size: tuple[int, int] = (640, 480),
    seed: int = 3,
) -> Scene:
    random = np.random.default_rng(seed)
    body = random_body(random)
    joints = motion(name, seconds, fps, body, random)
    focal_px = 0.9 * max(image_size)
    camera = Camera(
        focal_px=(focal_px, focal_px),
        centre_px=(image_size[0] / 2, image_size[1] / 2),
        image_size=image_size,
        rotation=look_at((2.2, 3.6, 1.4), (0.1, 0.0, 0.9), 2.0),
        position=np.array([2.2, 3.6, 1.4]),
    )
    local = camera.world_to_camera(joints)
    return Scene(camera.project(joints), local, focal_px, body.stature, image_size, fps)


@pytest.fixture(scope="session")
def film() -> Callable[..., Scene]:
    """(name, seconds, fps, image_size, seed) -> `Scene`."""
    return film_motion
