"""The demonstration: a rendered film of someone whose joints are known."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from lithepose.assets import MODELS, ModelsError, model_path
from lithepose.pipeline import demo
from lithepose.pipeline.demo import run_demo
from lithepose.pipeline.files import WriteError
from lithepose.poses import Detections
from lithepose.synthetic.bodies import random_body
from lithepose.video import open_video

FRAMES, SIZE, FPS = 25, (480, 270), 25.0


@pytest.fixture
def short_clip(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The demonstration's first frames only: all six seconds take a minute to draw."""
    make = demo.demo_clip

    def shorten(**options: Any) -> Any:
        clip, truth = make(**options)
        figure, motion = clip.people[0]
        clip.people = [(figure, motion[:FRAMES])]
        short = {name: getattr(truth, name)[:FRAMES] for name in ("joints_camera", "keypoints")}
        return clip, SimpleNamespace(**short)

    monkeypatch.setattr(demo, "demo_clip", shorten)
    return shorten(image_size=SIZE, fps=FPS)[1]


def test_the_clip_is_drawn_lifted_and_compared_with_the_truth(
    short_clip: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Perfect:
        skeleton = "h36m17"
        seen = 0

        def detect(self, frame: np.ndarray, time_s: float) -> Detections:
            found = short_clip.keypoints[self.seen][None]
            self.seen += 1
            sure = np.ones((1, 17))
            return Detections(
                keypoints=found, confidence=sure, score=np.ones(1), skeleton=self.skeleton
            )

    monkeypatch.setattr("lithepose.pipeline.lift.create_detector", lambda *_, **__: Perfect())
    stages: list[tuple[str, int, int | None]] = []
    shown = run_demo(
        tmp_path / "demo",
        image_size=SIZE,
        fps=FPS,
        video=False,
        report=lambda *stage: stages.append(stage),
    )
    found = sorted(path.name for path in (tmp_path / "demo").iterdir())
    assert found == [
        "demo.bvh",
        "demo.csv",
        "demo.glb",
        "demo.json",
        "demo.mp4",
        "demo.npz",
        "demo.trc",
    ]
    assert ("render", FRAMES, FRAMES) in stages
    with open_video(tmp_path / "demo" / "demo.mp4") as video:
        assert video.size == SIZE
        assert len(list(video)) == FRAMES
    assert shown.p_mpjpe_mm <= shown.mpjpe_mm < 120
    (person,) = shown.lifted.result.people
    assert person.metadata["height_known"] is True
    assert person.metadata["focal_known"] is True
    assert person.metadata["height_m"] == random_body(np.random.default_rng(11)).stature
    assert person.focal_px == pytest.approx(0.78 * SIZE[0])


@pytest.mark.models
@pytest.mark.slow
def test_with_the_default_detector_the_result_is_near_the_truth(short_clip: Any, tmp_path: Path):
    try:
        for name in MODELS:
            model_path(name, fetch=False)
    except ModelsError:
        pytest.skip("needs the BlazePose model files: lithepose models fetch")
    shown = run_demo(tmp_path, image_size=SIZE, fps=FPS)
    assert (tmp_path / "demo.overlay.mp4").exists()
    (person,) = shown.lifted.result.people
    assert person.metadata["frames_with_person"] >= 0.9 * FRAMES
    assert shown.mpjpe_mm < 140
    assert shown.p_mpjpe_mm < 90


def test_a_folder_that_cannot_be_written_is_found_before_drawing(tmp_path: Path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(WriteError, match="choose another folder with --out"):
        run_demo(taken)
