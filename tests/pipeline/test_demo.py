"""The demonstration: a film of a rendered person whose joints are known."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lithepose.assets import MODELS, ModelsError, model_path
from lithepose.detect import create_detector
from lithepose.pipeline.demo import FILES, read_truth, run_demo
from lithepose.pipeline.files import WriteError
from lithepose.poses import Detections
from lithepose.skeletons import LIMB_JOINTS, convert
from lithepose.video import open_video

FRAMES, SIZE = 180, (960, 540)


def test_the_truth_is_the_same_in_the_world_the_camera_and_the_picture():
    truth = read_truth()
    assert truth.joints_world.shape == (FRAMES, 17, 3)
    assert truth.fps == 30
    camera = truth.camera
    assert camera.image_size == SIZE
    np.testing.assert_allclose(
        camera.world_to_camera(truth.joints_world), truth.joints_camera, atol=1e-5
    )
    np.testing.assert_allclose(camera.project(truth.joints_world), truth.keypoints, atol=1e-2)
    assert ((truth.keypoints > 0) & (truth.keypoints < SIZE)).all()
    assert 0.7 < truth.visible.mean() < 1


def test_the_files_are_small():
    assert sum(len((FILES / name).read_bytes()) for name in ("demo.mp4", "truth.npz")) < 1e6


def test_the_clip_is_lifted_and_compared_with_the_truth(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    keypoints = iter(read_truth().keypoints)

    class Perfect:
        skeleton = "h36m17"

        def detect(self, frame: np.ndarray, time_s: float) -> Detections:
            return Detections(
                keypoints=next(keypoints)[None],
                confidence=np.ones((1, 17)),
                score=np.ones(1),
                skeleton=self.skeleton,
            )

    monkeypatch.setattr("lithepose.pipeline.lift.create_detector", lambda *_, **__: Perfect())
    result = run_demo(tmp_path / "demo", video=False)
    found = sorted(path.name for path in (tmp_path / "demo").glob("demo.*"))
    assert found == ["demo.bvh", "demo.csv", "demo.glb", "demo.json", "demo.mp4", "demo.npz",
                     "demo.trc"]  # fmt: skip
    with open_video(tmp_path / "demo" / "demo.mp4") as video:
        assert video.size == SIZE
        assert len(list(video)) == FRAMES
    assert result.p_mpjpe_mm <= result.mpjpe_mm < 80
    (person,) = result.lifted.result.people
    truth = read_truth()
    assert person.metadata["height_known"] is True
    assert person.metadata["focal_known"] is True
    assert person.metadata["height_m"] == truth.height_m
    assert person.focal_px == pytest.approx(0.78 * SIZE[0])


def test_the_clip_and_its_truth_need_no_pytorch():
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from lithepose.pipeline.demo import read_truth, run_demo\n"
        "print(len(read_truth().joints_world))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == [str(FRAMES)], done.stderr


@pytest.mark.models
@pytest.mark.slow
def test_with_the_default_detector_the_result_is_near_the_truth(tmp_path: Path):
    try:
        for name in MODELS:
            model_path(name, fetch=False)
    except ModelsError:
        pytest.skip("needs the BlazePose model files: lithepose models fetch")
    result = run_demo(tmp_path)
    assert (tmp_path / "demo.overlay.mp4").exists()
    (person,) = result.lifted.result.people
    assert person.metadata["frames_with_person"] >= 0.95 * FRAMES
    assert result.mpjpe_mm < 65
    assert result.p_mpjpe_mm < 50


@pytest.mark.models
def test_the_detector_finds_the_joints_where_the_truth_has_them():
    try:
        detector = create_detector("blazepose")
    except ModelsError as error:
        pytest.skip(str(error))
    truth, limbs = read_truth(), list(LIMB_JOINTS)
    errors = []
    with open_video(str(FILES / "demo.mp4")) as video:
        for frame, true in list(zip(video, truth.keypoints[:, limbs], strict=True))[::12]:
            people = detector.detect(frame.image, frame.time_s)
            if len(people):
                points = convert(people.keypoints, people.confidence, people.skeleton, "h36m17")[0]
                size = np.sqrt(((true - true.mean(0)) ** 2).sum(-1).mean())
                errors.append(np.linalg.norm(points[0][limbs] - true, axis=-1) / size)
    assert len(errors) >= 14
    assert np.median(errors) < 0.1


def test_a_folder_that_cannot_be_written_is_found_before_lifting(tmp_path: Path):
    taken = tmp_path / "taken"
    taken.write_text("a file")
    with pytest.raises(WriteError, match="choose another folder with --out"):
        run_demo(taken)
