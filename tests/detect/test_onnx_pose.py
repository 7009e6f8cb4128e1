"""Pose networks from ONNX files: what a file is, and that its answers land on the right pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.detect.boxes import BOX_PRESETS
from lithepose.detect.onnx_pose import PRESETS, OnnxOneStage, OnnxPose, decode_simcc

SIZE = (320, 240)
BOX = np.array([[100.0, 30.0, 80.0, 150.0]])
PLACES = np.array([[120.3, 60.8], [150.6, 100.1], [133.2, 155.7]])
# A crop of 187.5 pixels of height in 128: a heatmap pixel is 5.86 pixels, 2 of them the sigma.
SPREAD = 2 * 4 * 1.25 * 150 / 128


def of_joints(joints: int) -> np.ndarray:
    return PLACES[np.arange(joints) % 3]


@pytest.mark.parametrize(
    ("kind", "preset", "within"),
    # For SimCC the test's network sees whole input pixels, 1.46 here; the others go between them.
    [("simcc", None, 1.0), ("heatmaps", None, 0.06), ("udp", "vitpose", 0.12)],
)
def test_joints_land_where_the_picture_has_them(
    tmp_path: Path, pose_file: Any, dots: Any, kind: str, preset: str | None, within: float
):
    network = OnnxPose(pose_file(tmp_path / "a.onnx", kind), preset=preset)
    assert network.skeleton == "coco17"
    keypoints, confidence = network.place(dots(SIZE, PLACES, SPREAD), BOX)
    assert keypoints.shape == (1, 17, 2)
    assert np.abs(keypoints[0] - of_joints(17)).max() < within
    assert confidence.min() > 0.95


def test_the_other_geometry_would_be_seen(tmp_path: Path, pose_file: Any, dots: Any):
    # Half a heatmap pixel between the two, 2.9 pixels here, at the edges of the crop.
    network = OnnxPose(pose_file(tmp_path / "a.onnx", "udp"), preset="hrnet")
    keypoints, _ = network.place(dots(SIZE, PLACES, SPREAD), BOX)
    assert 0.5 < np.abs(keypoints[0] - of_joints(17)).max() < 3.5


def test_people_of_one_frame_are_cropped_each_by_their_box(
    tmp_path: Path, pose_file: Any, dots: Any
):
    shift = np.array([130.0, 10.0])
    frame = dots(SIZE, PLACES, SPREAD) + dots(SIZE, PLACES + shift, SPREAD)
    boxes = np.concatenate([BOX, BOX + [*shift, 0, 0]])
    boxes = np.concatenate([boxes] * 5)  # more than go into one call
    for batch in ("batch", 1):  # a file of one picture at a time is called once for each
        network = OnnxPose(pose_file(tmp_path / "a.onnx", batch=batch))
        keypoints, _ = network.place(frame, boxes)
        assert np.abs(keypoints[::2] - of_joints(17)).max() < 0.1
        assert np.abs(keypoints[1::2] - of_joints(17) - shift).max() < 0.1
    nobody, confidence = network.place(frame, np.empty((0, 4)))
    assert (nobody.shape, confidence.shape) == ((0, 17, 2), (0, 17))


def test_a_network_that_wants_blue_first_gets_it(
    tmp_path: Path, pose_file: Any, dots: Any, monkeypatch: pytest.MonkeyPatch
):
    path = pose_file(tmp_path / "a.onnx", mean=(0, 0, 0), std=(1, 1, 1), colours="bgr")
    monkeypatch.setitem(PRESETS, "blue", PRESETS["rtmo"])
    keypoints, confidence = OnnxPose(path, preset="blue").place(dots(SIZE, PLACES, SPREAD), BOX)
    assert np.abs(keypoints[0] - of_joints(17)).max() < 0.1
    assert confidence.min() > 0.95
    # In the other order, red and blue change places, and green stays.
    wrong, _ = OnnxPose(path, preset="yolo-pose").place(dots(SIZE, PLACES, SPREAD), BOX)
    assert np.abs(wrong[0, 0] - PLACES[2]).max() < 0.5


def test_a_file_that_promises_batches_and_takes_none_is_called_for_each(
    tmp_path: Path, pose_file: Any, dots: Any
):
    import onnx
    from onnx import helper, numpy_helper

    path = pose_file(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.initializer.append(
        numpy_helper.from_array(np.array([1, 3, 128, 96], np.int64), "one")
    )
    model.graph.node.insert(0, helper.make_node("Reshape", ["input", "one"], ["picture"]))
    model.graph.node[1].input[0] = "picture"
    onnx.save(model, path)
    keypoints, _ = OnnxPose(path).place(dots(SIZE, PLACES, SPREAD), np.repeat(BOX, 3, axis=0))
    assert np.abs(keypoints - of_joints(17)).max() < 0.06


def test_half_precision_is_fed_in_half_precision(tmp_path: Path, pose_file: Any, dots: Any):
    import onnx
    from onnx import TensorProto, helper

    path = pose_file(tmp_path / "a.onnx")
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT16
    model.graph.node.insert(
        0, helper.make_node("Cast", ["input"], ["picture"], to=TensorProto.FLOAT)
    )
    model.graph.node[1].input[0] = "picture"
    onnx.save(model, path)
    keypoints, _ = OnnxPose(path).place(dots(SIZE, PLACES, SPREAD), BOX)
    assert np.abs(keypoints[0] - of_joints(17)).max() < 0.1


def test_a_joint_without_a_score_is_missing(tmp_path: Path, pose_file: Any):
    # Black everywhere is a score of 0, or of a rounding error above it.
    path = pose_file(tmp_path / "a.onnx", mean=(0, 0, 0), std=(255, 255, 255))
    network = OnnxPose(path, preset="yolo-pose")
    keypoints, confidence = network.place(np.zeros((*SIZE[::-1], 3), np.uint8), BOX)
    assert np.isnan(keypoints).all()
    assert (confidence == 0).all()


def test_simcc_by_hand():
    # Input 4x6, two bins per pixel: bin 5 of x is pixel 2.5, bin 2 of y is pixel 1.
    x, y = np.zeros((1, 1, 8), np.float32), np.zeros((1, 1, 12), np.float32)
    x[0, 0, 5], y[0, 0, 2] = 0.9, 0.7
    points, scores = decode_simcc(x, y, (4, 6))
    np.testing.assert_allclose(points, [[[2.5, 1.0]]])
    np.testing.assert_allclose(scores, [[0.7]])  # the lower of both


def test_the_axes_of_simcc_are_told_by_name_else_by_length(
    tmp_path: Path, pose_file: Any, dots: Any
):
    frame = dots(SIZE, PLACES, SPREAD)
    for names, size in (
        (("x", "y"), (96, 128)),
        (("one", "two"), (96, 128)),
        (("y", "x"), (64, 64)),
    ):
        network = OnnxPose(pose_file(tmp_path / "a.onnx", "simcc", names=names, size=size))
        keypoints, _ = network.place(frame, BOX)
        error = np.abs(keypoints[0] - of_joints(17)).max()
        # The network of the last one calls its x "y": the name wins in a square.
        assert (error < 1.6) == (names != ("y", "x"))


@pytest.mark.parametrize(
    ("joints", "skeleton", "placed"),
    [
        (16, "mpii16", 16),
        (17, "coco17", 17),
        (26, "halpe26", 26),
        (133, "wholebody27", 27),
        (136, "halpe26", 26),
    ],
)
def test_the_number_of_joints_tells_the_set(
    tmp_path: Path, pose_file: Any, dots: Any, joints: int, skeleton: str, placed: int
):
    network = OnnxPose(pose_file(tmp_path / "a.onnx", "simcc", joints=joints))
    assert network.skeleton == skeleton
    keypoints, _ = network.place(dots(SIZE, PLACES, SPREAD), BOX)
    assert keypoints.shape == (1, placed, 2)
    if joints == 133:  # the knuckles are 96, 108, 117 and 129 of the network's points
        expected = of_joints(133)[[96, 108, 117, 129]]
        assert np.abs(keypoints[0, 23:] - expected).max() < 1.0


def test_the_family_is_told_by_the_name_of_the_file(tmp_path: Path, pose_file: Any):
    for name, preset in (
        ("vitpose-b-coco.onnx", "vitpose"),
        ("hevitpose_t.onnx", "hevitpose"),
        ("HRNet_w32.onnx", "hrnet"),
        ("mine.onnx", "hrnet"),
    ):
        assert OnnxPose(pose_file(tmp_path / name)).facts["preset"] == preset
    facts = OnnxPose(pose_file(tmp_path / "rtmpose-m.onnx", "simcc")).facts
    assert (facts["preset"], facts["kind"], facts["file"]) == ("rtmpose", "simcc", "rtmpose-m.onnx")
    assert len(facts["sha256"]) == 64


def test_the_file_itself_may_say_its_family_and_joints(tmp_path: Path, pose_file: Any):
    import onnx

    path = pose_file(tmp_path / "mine.onnx", joints=16)
    model = onnx.load(path)
    onnx.helper.set_model_props(model, {"preset": "vitpose", "skeleton": "mpii16"})
    onnx.save(model, path)
    network = OnnxPose(path)
    assert (network.facts["preset"], network.skeleton) == ("vitpose", "mpii16")
    assert OnnxPose(path, preset="hrnet").facts["preset"] == "hrnet"


def test_the_guide_lists_the_presets_as_they_are():
    page = Path(__file__).parents[2] / "docs" / "guides" / "detectors.md"
    rows = [line.strip("|").split("|") for line in page.read_text(encoding="utf-8").splitlines()]
    listed = {row[0].strip().split("`")[1]: row for row in rows if row[1:] and "`" in row[0]}
    for name, preset in {**PRESETS, **BOX_PRESETS}.items():
        _, colours, mean, std, reading = (cell.strip() for cell in listed[name])
        assert colours.lower() == preset.colours
        assert tuple(float(value) for value in mean.split(",")) == preset.mean
        assert tuple(float(value) for value in std.split(",")) == preset.std
        if reading.startswith("heatmaps"):
            assert reading.lower().endswith(PRESETS[name].decoder)


def test_a_file_of_any_size_needs_one(tmp_path: Path, pose_file: Any):
    path = pose_file(tmp_path / "a.onnx", fixed=False)
    with pytest.raises(ValueError, match=r"any size: say which .* input_size="):
        OnnxPose(path)
    assert OnnxPose(path, input_size=(96, 128)).input_size == (96, 128)
    with pytest.raises(ValueError, match="pictures of 96x128, not 64x64"):
        OnnxPose(pose_file(tmp_path / "b.onnx"), input_size=(64, 64))


def test_files_that_are_no_pose_network_are_explained(
    tmp_path: Path, pose_file: Any, answer_file: Any
):
    (tmp_path / "broken.onnx").write_bytes(b"nonsense")
    with pytest.raises(ValueError, match="may be damaged"):
        OnnxPose(tmp_path / "broken.onnx")
    with pytest.raises(FileNotFoundError, match="no ONNX model at"):
        OnnxPose(tmp_path / "none.onnx")
    with pytest.raises(ValueError, match=r"no pose network that is known here.*scores \(1, 10\)"):
        OnnxPose(answer_file(tmp_path / "a.onnx", {"scores": np.ones((1, 10))}))
    odd = {"x": np.ones((1, 17, 128)), "y": np.ones((1, 17, 100))}
    with pytest.raises(ValueError, match="no SimCC of an input of 64x64"):
        OnnxPose(answer_file(tmp_path / "b.onnx", odd))
    with pytest.raises(
        ValueError, match=r"c\.onnx has 14 joints, which no known joint set has: .*coco17 17"
    ):
        OnnxPose(pose_file(tmp_path / "c.onnx", joints=14))
    with pytest.raises(ValueError, match=r"27 joints.*pass skeleton= one of wholebody27"):
        OnnxPose(pose_file(tmp_path / "d.onnx", joints=27))
    path = pose_file(tmp_path / "e.onnx")
    with pytest.raises(ValueError, match="17 joints, but halpe26 has 26"):
        OnnxPose(path, skeleton="halpe26")
    with pytest.raises(ValueError, match="no preset named 'coco'; known: hevitpose"):
        OnnxPose(path, preset="coco")
    with pytest.raises(ValueError, match="finds people in whole frames"):
        OnnxPose(rtmo_file(answer_file, tmp_path / "rtmo.onnx"))
    with pytest.raises(ValueError, match="needs boxes"):
        OnnxOneStage(path)


# One stage

FRAME = np.zeros((90, 160, 3), np.uint8)
FRAME[..., 2] = 255  # blue
POINTS = np.stack([np.arange(17) * 2.0 + 10, np.arange(17) + 5.0, np.full(17, 0.8)], axis=1)


def rtmo_file(answer_file: Any, path: Path, **changes: Any) -> Path:
    """An input of 80x80: a frame of 160x90 is halved to 80x45 and stands at the top."""
    # The second box overlaps the first, the third is unsure, the fourth somebody else.
    dets = np.array(
        [[8, 4, 50, 30, 0.9], [9, 4, 50, 30, 0.8], [60, 5, 75, 40, 0.2], [60, 5, 78, 40, 0.5]]
    )
    points = np.stack([POINTS, POINTS + 1, POINTS, POINTS + [20, 0, 0]])
    return answer_file(
        path,
        {"dets": dets[None], "keypoints": points[None]},
        **{"size": (80, 80), "scored": {"dets": 4}, **changes},
    )


def test_rtmo_sees_the_whole_frame_in_blue_green_red(tmp_path: Path, answer_file: Any):
    detector = OnnxOneStage(rtmo_file(answer_file, tmp_path / "rtmo.onnx"))
    found = detector.detect(FRAME, 0.0)
    assert found.skeleton == "coco17"
    # Blue is the first channel of a picture in that order: the scores are the file's.
    np.testing.assert_allclose(found.score, [0.9, 0.5], atol=1e-6)
    np.testing.assert_allclose(found.keypoints[0], (POINTS[:, :2] + 0.5) * 2, atol=1e-5)
    np.testing.assert_allclose(found.keypoints[1] - found.keypoints[0], [[40, 0]] * 17, atol=1e-5)
    np.testing.assert_allclose(found.confidence, 0.8, atol=1e-6)
    assert len(OnnxOneStage(tmp_path / "rtmo.onnx", people=1).detect(FRAME, 0.0)) == 1
    assert len(detector.detect(FRAME[..., ::-1].copy(), 0.0)) == 0
    assert detector.facts["preset"] == "rtmo"


def test_points_that_are_nan_are_missing(tmp_path: Path, answer_file: Any):
    points = np.stack([POINTS] * 2)
    points[0, 3], points[0, 4, 2] = np.nan, np.nan
    dets = np.array([[8, 4, 50, 30, 0.9], [0, 0, 1, 1, np.nan]])
    answers = {"dets": dets[None], "keypoints": points[None]}
    found = OnnxOneStage(answer_file(tmp_path / "rtmo.onnx", answers)).detect(FRAME, 0.0)
    assert len(found) == 1
    assert np.flatnonzero(found.confidence[0] == 0).tolist() == [3, 4]
    assert np.isnan(found.keypoints[0, 3:5]).all()


def test_what_the_frame_leaves_of_the_picture_is_grey(tmp_path: Path, answer_file: Any):
    # Row 60 is below the 45 rows of the frame: 114 of 255 is left of the scores.
    path = rtmo_file(answer_file, tmp_path / "rtmo.onnx", probe=(40, 60))
    found = OnnxOneStage(path).detect(FRAME, 0.0)
    np.testing.assert_allclose(found.score, [0.9 * 114 / 255], atol=1e-6)


def test_yolo_is_read_raw_and_final(tmp_path: Path, answer_file: Any):
    # In the middle of a picture of 80x80 the frame begins at row 17.
    expected = np.stack([POINTS[:, 0] * 2, (POINTS[:, 1] - 17) * 2], axis=1)
    raw = np.zeros((1, 56, 100))
    raw[0, :5, 7], raw[0, 5:, 7] = [29, 17, 42, 26, 0.9], POINTS.ravel()
    final = np.zeros((1, 30, 57))
    final[0, 2, :6], final[0, 2, 6:] = [8, 4, 50, 30, 0.9, 0], POINTS.ravel()
    final[0, 3] = final[0, 2]
    final[0, 3, 5] = 3  # of another class
    for values in (raw, final):
        path = answer_file(tmp_path / "yolo.onnx", {"output0": values}, size=(80, 80))
        found = OnnxOneStage(path).detect(FRAME, 0.0)
        np.testing.assert_allclose(found.keypoints, expected[None], atol=1e-5)
        np.testing.assert_allclose(found.score, [0.9], atol=1e-6)


def test_what_is_no_frame_is_refused(tmp_path: Path, answer_file: Any):
    detector = OnnxOneStage(rtmo_file(answer_file, tmp_path / "rtmo.onnx"))
    with pytest.raises(ValueError, match="pass \\(H, W, 3\\) uint8 RGB"):
        detector.detect(FRAME[..., 0], 0.0)
