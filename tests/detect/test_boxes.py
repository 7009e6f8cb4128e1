"""Boxes around people from networks, files and BlazePose's detector."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.detect.boxes import (
    BlazePoseBoxes,
    FileBoxes,
    OnnxBoxes,
    create_boxes,
    decode_yolox,
)
from lithepose.detect.iou import iou, nms

FRAME = np.zeros((90, 160, 3), np.uint8)
FRAME[..., 2] = 255  # blue; an input of 64x64 shows it at 64x36
# left, top, right, bottom and score, and the class: a person, the same again, a dog, another person
DETS = np.array(
    [[8, 4, 20, 30, 0.9], [8, 4, 21, 30, 0.8], [30, 5, 60, 20, 0.9], [40, 2, 60, 36, 0.5]]
)
LABELS = np.array([0, 0, 16, 0])
FOUND = np.array([[20, 10, 30, 65], [100, 5, 50, 85]])  # 2.5 times as large


def final_file(answer_file: Any, path: Path, **changes: Any) -> Path:
    answers = {"dets": DETS[None], "labels": LABELS[None].astype(float)}
    return answer_file(path, answers, **{"scored": {"dets": 4}, **changes})


def test_yolox_with_suppression_inside_sees_blue_green_red(tmp_path: Path, answer_file: Any):
    boxes = OnnxBoxes(final_file(answer_file, tmp_path / "a.onnx", first="Slice"))
    assert boxes.facts["preset"] == "yolox"
    found = boxes.find(FRAME, 0)
    np.testing.assert_allclose(found.boxes, FOUND, atol=1e-5)
    np.testing.assert_allclose(found.score, [0.9, 0.5], atol=1e-6)
    assert found.person is None
    assert len(boxes.find(FRAME[..., ::-1].copy(), 1)) == 0


def test_rtmdet_is_told_by_its_first_operator_and_fed_normalised(tmp_path: Path, answer_file: Any):
    # The file takes blue's mean and deviation back: with other ones the scores would be others.
    path = final_file(answer_file, tmp_path / "a.onnx", first="Conv", mean=103.53, std=57.375)
    boxes = OnnxBoxes(path)
    assert boxes.facts["preset"] == "rtmdet"
    np.testing.assert_allclose(boxes.find(FRAME, 0).score, [0.9, 0.5], atol=1e-6)
    np.testing.assert_allclose(boxes.find(FRAME, 0).boxes, FOUND, atol=1e-5)


def test_a_family_that_cannot_be_told_is_asked_for(tmp_path: Path, answer_file: Any):
    path = final_file(answer_file, tmp_path / "a.onnx", first="Identity")
    with pytest.raises(
        ValueError, match=r"goes into Identity\): pass preset= one of yolox, rtmdet"
    ):
        OnnxBoxes(path)
    assert OnnxBoxes(path, preset="yolox").find(FRAME, 0).score[0] == pytest.approx(0.9)
    with pytest.raises(ValueError, match="no preset named 'detr'; known: yolox, rtmdet"):
        OnnxBoxes(path, preset="detr")


def raw_yolox(decoded: bool) -> np.ndarray:
    """(84, 85) for 64x64: 64 cells of 8 pixels, 16 of 16, 4 of 32. A person in column 1 of row 2 of
    the cells of 8, whose box is 12 x 26 around (14, 17); something that is none beside it."""
    raw = np.zeros((84, 85))
    raw[:, :4] = 0.5
    row = 2 * 8 + 1
    # (14 / 8 - 1, 17 / 8 - 2), and the size as a logarithm
    raw[row, :4] = [0.75, 0.125, np.log(12 / 8), np.log(26 / 8)]
    raw[row, 4:6] = 0.9, 0.8
    raw[row + 1, 4], raw[row + 1, 5 + 16] = 0.9, 0.9
    if decoded:
        x, y = np.meshgrid(np.arange(8), np.arange(8))
        for start, stride in ((0, 8), (64, 16), (80, 32)):
            cells = 64 // stride
            part = slice(start, start + cells**2)
            x, y = np.meshgrid(np.arange(cells), np.arange(cells))
            raw[part, :2] = (raw[part, :2] + np.stack([x.ravel(), y.ravel()], 1)) * stride
            raw[part, 2:4] = np.exp(raw[part, 2:4]) * stride
    return raw


@pytest.mark.parametrize("decoded", [False, True])
def test_raw_yolox_by_hand(decoded: bool):
    corners, scores = decode_yolox(raw_yolox(decoded), (64, 64))
    best = int(scores.argmax())
    np.testing.assert_allclose(corners[best], [8, 4, 20, 30])
    assert scores[best] == pytest.approx(0.72)
    assert (scores > 0).sum() == 1


def test_raw_yolox_from_a_file(tmp_path: Path, answer_file: Any):
    path = answer_file(tmp_path / "yolox_tiny.onnx", {"output": raw_yolox(False)[None]})
    found = OnnxBoxes(path).find(FRAME, 0)
    np.testing.assert_allclose(found.boxes, FOUND[:1], atol=1e-4)
    np.testing.assert_allclose(found.score, [0.72], atol=1e-6)


def test_what_is_no_detector_is_explained(tmp_path: Path, answer_file: Any, pose_file: Any):
    with pytest.raises(
        ValueError, match=r"no boxes in a way .*YOLOX's raw \(B, 84, 5 \+ classes\)"
    ):
        OnnxBoxes(answer_file(tmp_path / "a.onnx", {"out": np.ones((1, 80, 85))}))
    with pytest.raises(ValueError, match="finds no boxes"):
        OnnxBoxes(pose_file(tmp_path / "b.onnx"))
    with pytest.raises(FileNotFoundError, match="no ONNX model"):
        create_boxes(tmp_path / "none.onnx")


def test_overlap_and_suppression_by_hand():
    boxes = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [0, 0, 10, 10], [30, 0, 35, 5]], float)
    # 50 of 150 pixels are shared.
    np.testing.assert_allclose(iou(boxes[:1], boxes), [[1, 1 / 3, 1, 0]])
    assert nms(boxes, np.array([0.5, 0.9, 0.8, 0.1]), 0.3).tolist() == [1, 3]
    assert nms(boxes, np.array([0.5, 0.9, 0.8, 0.1]), 0.4).tolist() == [1, 2, 3]
    assert nms(boxes[:0], np.empty(0), 0.4).tolist() == []


# Files


def written(tmp_path: Path, name: str, content: Any) -> Path:
    text = content if isinstance(content, str) else json.dumps(content)
    (tmp_path / name).write_text(text)
    return tmp_path / name


FILES: list[tuple[str, Any]] = [
    ("a.csv", "frame,x,y,w,h,score,person\n0,1,2,30,40,0.5,7\n2,5,6,70,80,0.9,8\n2,1,2,30,40,,7\n"),
    (
        "a.json",
        [
            {"frame": 0, "x": 1, "y": 2, "w": 30, "h": 40, "score": 0.5, "person": 7},
            {"frame": 2, "x": 5, "y": 6, "w": 70, "h": 80, "score": 0.9, "person": 8},
            {"frame": 2, "x": 1, "y": 2, "w": 30, "h": 40, "person": 7},
        ],
    ),
    # MOT counts from 1; the last three numbers are the place in the world.
    (
        "a.txt",
        "1,7,1,2,30,40,0.5,-1,-1,-1\n3,8,5,6,70,80,0.9,-1,-1,-1\n3,7,1,2,30,40,-1,-1,-1,-1\n",
    ),
    (
        "b.json",
        [
            {"image_id": 0, "category_id": 1, "bbox": [1, 2, 30, 40], "score": 0.5, "track_id": 7},
            {"image_id": 2, "category_id": 1, "bbox": [5, 6, 70, 80], "score": 0.9, "track_id": 8},
            {"image_id": 2, "category_id": 1, "bbox": [1, 2, 30, 40], "track_id": 7},
            {"image_id": 2, "category_id": 18, "bbox": [1, 2, 30, 40], "score": 1, "track_id": 9},
        ],
    ),
]


@pytest.mark.parametrize(("name", "content"), FILES)
def test_every_layout_says_the_same(tmp_path: Path, name: str, content: Any):
    boxes = create_boxes(written(tmp_path, name, content))
    assert boxes.complete
    first, none, third = (boxes.find(FRAME, index) for index in range(3))
    np.testing.assert_array_equal(first.boxes, [[1, 2, 30, 40]])
    np.testing.assert_array_equal(first.score, [0.5])
    assert len(none) == 0
    np.testing.assert_array_equal(third.boxes, [[1, 2, 30, 40], [5, 6, 70, 80]])  # surest first
    assert third.person is not None
    assert third.person.tolist() == [7, 8]
    assert len(boxes.find(FRAME, 99)) == 0
    assert (boxes.facts["file"], len(boxes.facts["sha256"])) == (name, 64)


def test_without_identities_there_are_none(tmp_path: Path):
    path = written(tmp_path, "a.txt", "1,-1,1,2,30,40,0.5\n1,-1,90,2,30,40,0.5\n")
    assert FileBoxes(path).find(FRAME, 0).person is None
    path = written(tmp_path, "a.csv", "frame,x,y,w,h\n0,1,2,30,40\n")
    found = FileBoxes(path).find(FRAME, 0)
    assert found.person is None
    assert found.score.tolist() == [1]


@pytest.mark.shared
def test_detections_of_the_coco_samples_are_read(shared):
    boxes = FileBoxes(shared("samples/coco/test_coco_det_AP_H_56.json"))
    counts = [len(boxes.find(FRAME, image)) for image in (785, 40083, 196141, 197388)]
    assert sum(counts) == 118
    assert min(counts) > 0


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", "frame,x,y,w\n0,1,2,3\n", "a box lacks h; found frame, x, y, w"),
        ("a.csv", "frame,x,y,w,h\n", "holds no boxes"),
        ("a.csv", "frame,x,y,w,h\n0,a,2,3,4\n", "could not convert string to float: 'a'"),
        ("a.csv", "frame,x,y,w,h\n0,1,2,0,4\n", r"box 1 is \[1.0, 2.0, 0.0, 4.0\] of frame 0"),
        ("a.csv", "frame,x,y,w,h\n0,0.1,0.2,0.3,0.4\n", "are shares of the frame: multiply"),
        ("a.csv", "frame,x,y,w,h,person\n0,1,2,3,4,1\n0,9,2,3,4,1\n", "two boxes of one person"),
        ("a.txt", "0,1,2,3,4,5\n", "frames from 0 .from 1 in MOT files."),
        ("a.txt", "1,2,3\n", "is not `frame, id, x, y, w, h, score`"),
        ("a.json", "{}", "it holds no list"),
        ("a.json", "[3]", "an entry is no object but int"),
        ("a.json", "[", "no readable file of boxes"),
        ("a.json", [{"image_id": "x", "bbox": [1, 2, 3, 4]}], "every entry needs image_id"),
        ("a.json", [{"image_id": 1, "bbox": [1, 2, 3]}], "bbox of four numbers"),
        ("a.yaml", "", "known are .csv, .json, .txt"),
    ],
)
def test_bad_files_are_explained(tmp_path: Path, name: str, content: Any, message: str):
    with pytest.raises(ValueError, match=message) as caught:
        FileBoxes(written(tmp_path, name, content))
    assert name in str(caught.value)
    with pytest.raises(FileNotFoundError, match="no file of boxes"):
        FileBoxes(tmp_path / "none.csv")


# BlazePose


@pytest.mark.models
@pytest.mark.shared
def test_blazepose_boxes_hold_the_person(shared):
    from lithepose.assets import ModelsError
    from lithepose.video import open_video

    try:
        boxes = BlazePoseBoxes(people=1)
    except ModelsError as error:
        pytest.skip(str(error))
    truth = np.load(shared("video/walk_single_mediapipe2d.npz"))["kp2d"]
    with open_video(shared("video/walk_single.mp4")) as video:
        for frame in video:
            if frame.index % 25 == 0:
                left, top, width, height = boxes.find(frame.image, frame.index).boxes[0]
                low, high = truth[frame.index].min(0), truth[frame.index].max(0)
                assert (low > (left - 10, top - 10)).all()
                assert (high < (left + width + 10, top + height + 10)).all()
                assert height < 1.7 * (high - low)[1]
