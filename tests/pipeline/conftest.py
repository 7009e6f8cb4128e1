"""Procedural people before a camera: exact 2D, exact 3D, and films for a made-up detector."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.poses import Detections
from lithepose.skeletons import SKELETONS
from lithepose.video import VideoWriter

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
