"""Procedural people before a camera: exact 2D, exact 3D, and films for a made-up detector."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.cameras import Camera, look_at
from lithepose.poses import Detections
from lithepose.skeletons import SKELETONS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion
from lithepose.video.read import VideoWriter


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


GREY_STEP = 3


@pytest.fixture
def make_video(tmp_path: Path) -> Callable[..., Path]:
    """Write a clip of grey frames, whose level tells `FakeDetector` which frame it sees."""

    def make(frames: int, fps: float, image_size: tuple[int, int], name: str = "clip.mp4") -> Path:
        assert frames * GREY_STEP < 230
        path = tmp_path / name
        width, height = image_size
        with VideoWriter(path, size=image_size, fps=fps) as writer:
            for index in range(frames):
                grey = np.uint8(10 + GREY_STEP * index)
                writer.write(np.full((height, width, 3), grey, np.uint8))
        return path

    return make


class FakeDetector:
    """Finds people of (T, P, 17, 2) keypoints; nan means that this person is not there."""

    skeleton = "h36m17"

    def __init__(self, people: np.ndarray, /, **options: Any):
        self.people, self.options = people, options
        self.frames: list[int] = []

    def detect(self, frame: np.ndarray, time_s: float) -> Detections:
        index = round((float(frame.mean()) - 10) / GREY_STEP)
        self.frames.append(index)
        there = self.people[index]
        there = there[np.isfinite(there).all((1, 2))]
        return Detections(
            keypoints=there,
            confidence=np.full((len(there), len(SKELETONS["h36m17"])), 0.9),
            score=np.full(len(there), 0.9),
            skeleton=self.skeleton,
        )

    def reset(self) -> None:
        pass


@pytest.fixture
def detecting(monkeypatch: pytest.MonkeyPatch) -> Callable[[np.ndarray], list[FakeDetector]]:
    """Let `lift` find these people (T, P, 17, 2); returns the list of detectors it will make."""

    def install(people: np.ndarray) -> list[FakeDetector]:
        made: list[FakeDetector] = []

        def create(name: str, **options: Any) -> FakeDetector:
            made.append(FakeDetector(people, **options))
            return made[-1]

        monkeypatch.setattr("lithepose.pipeline.lift.create_detector", create)
        return made

    return install
