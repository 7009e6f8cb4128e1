"""Boxes and a pose network as one detector, up to the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lithepose.detect import create_detector
from lithepose.detect.boxes import PersonBoxes, create_boxes
from lithepose.detect.onnx_pose import OnnxPose
from lithepose.detect.top_down import TopDown, open_onnx_detector
from lithepose.poses import Detections
from lithepose.track import build_tracks

SIZE = (320, 240)
BOX = np.array([30.0, 30.0, 80.0, 150.0])
PLACES = np.array([[50.3, 60.8], [80.6, 100.1], [63.2, 155.7]])
SPREAD = 2 * 4 * 1.25 * 150 / 128  # two heatmap pixels
ASIDE = np.array([130.0, 10.0])


class Scripted:
    """Gives these boxes, frame by frame, and notes when it was asked."""

    facts = {"name": "scripted"}  # noqa: RUF012

    def __init__(self, *frames: list[np.ndarray], complete: bool = False, rough: bool = False):
        self.frames, self.complete, self.rough = frames, complete, rough
        self.asked: list[int] = []

    def find(self, frame: np.ndarray, index: int) -> PersonBoxes:
        self.asked.append(index)
        boxes = np.array(self.frames[min(index, len(self.frames) - 1)]).reshape(-1, 4)
        return PersonBoxes(boxes=boxes, score=np.full(len(boxes), 0.9))


@pytest.fixture
def pose(tmp_path: Path, pose_file: Any) -> OnnxPose:
    return OnnxPose(pose_file(tmp_path / "pose.onnx"))


def of_joints(shift: Any = 0.0) -> np.ndarray:
    return PLACES[np.arange(17) % 3] + shift


def both(dots: Any, first: Any = 0.0) -> np.ndarray:
    return dots(SIZE, PLACES + first, SPREAD) + dots(SIZE, PLACES + ASIDE, SPREAD)


def beside() -> np.ndarray:
    return BOX + [*ASIDE, 0, 0]


def test_everyone_in_a_box_is_placed(pose: OnnxPose, dots: Any):
    found = TopDown(pose, Scripted([BOX, beside()])).detect(both(dots), 0.0)
    assert found.skeleton == "coco17"
    np.testing.assert_allclose(found.keypoints, [of_joints(), of_joints(ASIDE)], atol=0.1)
    # The score is the box's times the mean of the joints'.
    np.testing.assert_allclose(found.score, 0.9 * found.confidence.mean(1), atol=1e-6)
    assert found.score.min() > 0.87
    assert TopDown(pose, Scripted([BOX, beside()])).facts["boxes"] == {"name": "scripted"}


def test_a_box_around_nothing_is_nobody(pose: OnnxPose):
    black = np.zeros((*SIZE[::-1], 3), np.uint8)
    assert len(TopDown(pose, Scripted([BOX])).detect(black, 0.0)) == 0
    assert len(TopDown(pose, Scripted([])).detect(black, 0.0)) == 0


def test_two_boxes_of_one_person_are_one(pose: OnnxPose, dots: Any):
    loose = BOX + [-10, -10, 20, 25]
    assert len(TopDown(pose, Scripted([BOX, loose])).detect(both(dots), 0.0)) == 1
    # A file knows what it says.
    assert len(TopDown(pose, Scripted([BOX, loose], complete=True)).detect(both(dots), 0.0)) == 2


def test_between_looks_for_boxes_people_are_followed_by_their_joints(pose: OnnxPose, dots: Any):
    source = Scripted([BOX, beside()])
    detector = TopDown(pose, source, box_interval=4)
    for index in range(8):
        step = np.array([3.0 * index, 1.0 * index])
        found = detector.detect(both(dots, step), index / 30)
        nearest = found.keypoints[np.argmin(found.keypoints[:, 0, 0])]
        # The crops now are around the joints, of another size: the dots look wider or narrower.
        assert np.abs(nearest - of_joints(step)).max() < 1.0
        assert len(found) == 2
    assert source.asked == [0, 4]
    detector.reset()
    detector.detect(both(dots), 0.0)
    assert source.asked == [0, 4, 0]


def test_in_rough_boxes_somebody_new_is_placed_twice(
    pose: OnnxPose, dots: Any, monkeypatch: pytest.MonkeyPatch
):
    placed: list[np.ndarray] = []
    place = pose.place

    def noted(frame: np.ndarray, boxes: np.ndarray) -> Any:
        placed.append(boxes.copy())
        return place(frame, boxes)

    monkeypatch.setattr(pose, "place", noted)
    square = np.array([-70.0, -30.0, 280.0, 280.0])
    frame = dots(SIZE, PLACES, SPREAD)
    detector = TopDown(pose, Scripted([square], rough=True))
    assert len(detector.detect(frame, 0.0)) == 1
    # The second box is that of the dots, a tenth larger on each side.
    extent = np.ptp(PLACES, axis=0)
    expected = [*(PLACES.min(0) - 0.1 * extent), *(1.2 * extent)]
    np.testing.assert_array_equal(placed[0], [square])
    np.testing.assert_allclose(placed[1], [expected], atol=0.3)
    # From then on the box is that of the joints, although the square is found again.
    assert len(detector.detect(frame, 0.03)) == 1
    assert len(placed) == 3
    np.testing.assert_allclose(placed[2], [expected], atol=0.3)
    # Of whom a part is not seen, the square is looked at anew: the box may have cut it off.
    detector.detect(dots(SIZE, PLACES, SPREAD) * np.array([1, 1, 0], np.uint8), 0.07)
    detector.detect(frame, 0.1)
    np.testing.assert_array_equal(placed[4], [square])


def test_somebody_whom_the_source_misses_is_kept_and_who_left_is_not(pose: OnnxPose, dots: Any):
    source = Scripted([BOX, beside()], [BOX])
    detector = TopDown(pose, source)
    detector.detect(both(dots), 0.0)
    assert len(detector.detect(both(dots), 0.03)) == 2
    assert len(detector.detect(dots(SIZE, PLACES, SPREAD), 0.07)) == 1
    # A file that has no box says that nobody is there.
    detector = TopDown(pose, Scripted([BOX, beside()], [BOX], complete=True))
    detector.detect(both(dots), 0.0)
    assert len(detector.detect(both(dots), 0.03)) == 1


def test_no_more_people_than_asked_for_the_largest_first(pose: OnnxPose, dots: Any):
    found = TopDown(pose, Scripted([BOX * [1, 1, 0.9, 0.9], beside()]), people=1).detect(
        both(dots), 0.0
    )
    np.testing.assert_allclose(found.keypoints, [of_joints(ASIDE)], atol=0.1)


def test_identities_of_a_file_become_tracks(tmp_path: Path, pose: OnnxPose, dots: Any):
    # Two people exchange their places between two frames: only the file knows.
    rows = [
        f"{frame},{x},{y},80,150,{person}"
        for frame in range(6)
        for person, (x, y) in ((4, BOX[:2]), (9, BOX[:2] + ASIDE))
        for x, y in [((x, y) if frame < 3 else (2 * BOX[:2] + ASIDE - (x, y)))]
    ]
    (tmp_path / "boxes.csv").write_text("\n".join(["frame,x,y,w,h,person", *rows]))
    detector = TopDown(pose, create_boxes(tmp_path / "boxes.csv"))
    found = [detector.detect(both(dots), index / 30) for index in range(6)]
    tracks = build_tracks(found, time_s=np.arange(6) / 30, image_size=SIZE, fps=30)
    assert len(tracks) == 2
    for track, (before, after) in zip(tracks, ((0, ASIDE), (ASIDE, 0)), strict=True):
        np.testing.assert_allclose(track.keypoints[:3], [of_joints(before)] * 3, atol=0.1)
        np.testing.assert_allclose(track.keypoints[3:], [of_joints(after)] * 3, atol=0.1)


def test_options_that_cannot_be_right_are_refused(
    tmp_path: Path, pose: OnnxPose, pose_file: Any, answer_file: Any
):
    with pytest.raises(ValueError, match="box_interval is 0"):
        TopDown(pose, Scripted(), box_interval=0)
    with pytest.raises(ValueError, match="people is 0"):
        TopDown(pose, Scripted(), people=0)
    with pytest.raises(ValueError, match="read in every frame"):
        TopDown(pose, Scripted(complete=True), box_interval=2)
    with pytest.raises(ValueError, match="uint8 RGB"):
        TopDown(pose, Scripted()).detect(np.zeros((4, 4, 3)), 0.0)
    rtmo = answer_file(
        tmp_path / "rtmo.onnx",
        {"dets": np.ones((1, 2, 5)), "keypoints": np.ones((1, 2, 17, 3))},
    )
    with pytest.raises(ValueError, match="finds people by itself"):
        open_onnx_detector(rtmo, boxes="boxes.csv")
    with pytest.raises(ValueError, match="no detector named 'openpose'; known: blazepose, and"):
        create_detector("openpose")
    with pytest.raises(FileNotFoundError, match="no ONNX model"):
        create_detector(tmp_path / "none.onnx")


def test_only_networks_of_whole_frames_have_a_usual_size(
    tmp_path: Path, box_file: Path, pose_file: Any, dots: Any
):
    path = pose_file(tmp_path / "pose.onnx", fixed=False)
    with pytest.raises(ValueError, match="any size: say which"):
        open_onnx_detector(path, boxes=box_file)
    detector = open_onnx_detector(path, boxes=box_file, input_size=(96, 128))
    found = detector.detect(dots(SIZE, PLACES, SPREAD), 0.0)
    np.testing.assert_allclose(found.keypoints, [of_joints()], atol=0.1)


# From a video to a result


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory, dots: Any) -> Path:
    """Twelve frames: in each, the dots stand where a person's joints 0, 1 and 2 would."""
    from lithepose.video import VideoWriter

    path = tmp_path_factory.mktemp("clip") / "dots.mp4"
    with VideoWriter(path, size=SIZE, fps=25) as writer:
        for index in range(12):
            writer.write(dots(SIZE, PLACES + [2.0 * index, 0], SPREAD))
    return path


@pytest.fixture
def box_file(tmp_path: Path) -> Path:
    content = [
        {"frame": i, "x": 30 + 2 * i, "y": 30, "w": 80, "h": 150, "person": 3} for i in range(12)
    ]
    (tmp_path / "boxes.json").write_text(json.dumps(content))
    return tmp_path / "boxes.json"


def run(*arguments: Any) -> Any:
    from lithepose.cli import main

    return CliRunner().invoke(main, [str(each) for each in arguments])


def test_the_command_takes_a_network_and_boxes_and_notes_both(
    tmp_path: Path, clip: Path, box_file: Path, pose_file: Any
):
    path = pose_file(tmp_path / "rtmpose-s.onnx", "simcc")
    options = ("--detector", path, "--boxes", box_file, "--no-video", "--camera", "still")
    done = run("lift", clip, "--out", tmp_path / "out", *options)
    assert done.exit_code == 0, done.output
    with np.load(tmp_path / "out" / "dots.npz") as result:
        facts = json.loads(str(result["metadata"]))["detector"]
        seen = result["keypoints_2d"]
    assert (facts["file"], facts["preset"], facts["skeleton"]) == (path.name, "rtmpose", "coco17")
    assert facts["boxes"]["file"] == "boxes.json"
    assert len(facts["sha256"]) == len(facts["boxes"]["sha256"]) == 64
    # The left wrist is joint 9 of COCO, red; video loses some colour, and moves nothing.
    expected = PLACES[0] + 2.0 * np.arange(12)[:, None] * [1, 0]
    assert np.abs(seen[:, 13] - expected).max() < 2.5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--boxes", "BOXES"), "boxes: these belong to a pose network"),
        (("--detector", "POSE", "--boxes", "BOXES", "--start", "0.1"), "counts the frames of"),
        (("--detector", "POSE", "--boxes", "none.csv"), "no file of boxes"),
        (("--detector", "POSE", "--boxes", "POSE"), "finds no boxes"),
        (("--detector", "POSE", "--boxes", "BOXES", "--preset", "x"), "no preset named 'x'"),
        (("--detector", "POSE", "--boxes", "BOXES", "--skeleton", "halpe26"), "17 joints, but"),
        (("--detector", "POSE", "--boxes", "BOXES", "--box-interval", "3"), "leave box_interval"),
        (("--detector", "none.onnx"), "no ONNX model"),
        (("--detector", "POSE", "--boxes", "BOXES", "--input-size", "64x64"), "not 64x64"),
        (("--input-size", "64x64"), "input_size: these belong to a pose network"),
        (("--detector", "openpose"), "no detector named 'openpose'"),
    ],
)
def test_what_the_command_cannot_do_it_explains(
    tmp_path: Path, clip: Path, box_file: Path, pose_file: Any, options: Any, message: str
):
    paths = {"BOXES": box_file, "POSE": pose_file(tmp_path / "pose.onnx")}
    done = run(
        "lift", clip, "--out", tmp_path / "out", *(paths.get(each, each) for each in options)
    )
    assert done.exit_code == 2
    assert message in " ".join(done.output.split())


def test_a_detector_of_ones_own_is_taken_as_it_is(clip: Path):
    import lithepose

    class Mine:
        skeleton = "coco17"
        frames = 0

        def reset(self) -> None:
            self.frames = 0

        def detect(self, frame: np.ndarray, time_s: float) -> Detections:
            self.frames += 1
            return Detections(
                keypoints=of_joints([2.0 * self.frames, 0])[None],
                confidence=np.full((1, 17), 0.8),
                score=np.array([0.8]),
                skeleton="coco17",
            )

    mine = Mine()
    result = lithepose.lift(clip, detector=mine, world=None)
    assert (mine.frames, result.people[0].metadata["detector"]["name"]) == (12, "Mine")
    with pytest.raises(ValueError, match="your detector knows"):
        lithepose.lift(clip, detector=lithepose.DetectorOptions(mine, boxes="a.csv"))
    with pytest.raises(ValueError, match="holds keypoints already"):
        lithepose.lift("a.json", detector=mine)
