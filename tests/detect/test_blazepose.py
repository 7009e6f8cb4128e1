"""The default detector: its arithmetic without the networks, and the whole with them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.assets import ModelsError, model_path
from lithepose.detect import DETECTORS, Detector, blazepose, create_detector
from lithepose.detect.blazepose import (
    BlazePose,
    Candidate,
    is_followable,
    refine_with_heatmaps,
)
from lithepose.detect.blazepose_detector import (
    Crop,
    decode_people,
    detector_anchors,
    search_tiles,
)

# --- crops ------------------------------------------------------------------------------------


def test_a_crop_has_the_hips_in_its_middle_and_the_alignment_keypoint_straight_above():
    hips, far = np.array([400.0, 300.0]), np.array([480.0, 240.0])  # 100 pixels apart
    crop = Crop.around(hips, far)
    assert crop.side == pytest.approx(2 * 1.25 * 100)
    np.testing.assert_allclose(crop.to_frame(np.array([128.0, 128.0]), 256), hips)
    # 100 of 250 pixels up from the middle are 102.4 of 256.
    np.testing.assert_allclose(crop.to_frame(np.array([128.0, 128 - 102.4]), 256), far)


def test_a_level_crop_counts_pixels_as_the_frame_does():
    frame = np.arange(12 * 12 * 3, dtype=np.uint8).reshape(12, 12, 3)
    crop = Crop(5.0, 6.0, 8.0)  # columns 1 to 8, rows 2 to 9
    np.testing.assert_array_equal(crop.cut(frame, 8), frame[2:10, 1:9])
    np.testing.assert_allclose(crop.to_frame(np.array([0.5, 0.5]), 8), [1.5, 2.5])


def test_a_quarter_turn_of_the_crop_turns_the_picture():
    frame = np.random.default_rng(0).integers(0, 255, (8, 8, 3), dtype=np.uint8)
    turned = Crop(4.0, 4.0, 8.0, np.pi / 2).cut(frame, 8)  # the crop's top is the frame's right
    np.testing.assert_array_equal(turned, np.rot90(frame))


def test_a_wide_frame_is_letterboxed_with_black_above_and_below():
    frame = np.full((50, 100, 3), 200, np.uint8)
    picture = Crop(50.0, 25.0, 100.0).cut(frame, 100)
    assert (picture[25:75] == 200).all()
    assert not picture[:25].any()
    assert not picture[75:].any()


# --- the first network's output -----------------------------------------------------------------


def test_anchors_are_the_cells_of_three_grids():
    anchors = detector_anchors()
    assert anchors.shape == (2254, 2)  # 2 * 28 * 28 + 2 * 14 * 14 + 6 * 7 * 7
    np.testing.assert_allclose(anchors[:3], [[0.5 / 28] * 2, [0.5 / 28] * 2, [1.5 / 28, 0.5 / 28]])
    np.testing.assert_allclose(anchors[1568], [0.5 / 14] * 2)
    np.testing.assert_allclose(anchors[-1], [6.5 / 7] * 2)


def person_output(raw, logits, anchors, row, hips, far, box, logit):
    """Write one person, in pixels of the picture, at an anchor."""
    origin = anchors[row] * 224
    raw[row, 0:2], raw[row, 2:4] = np.add(hips, (0, -20)) - origin, box
    raw[row, 4:6], raw[row, 6:8] = hips - origin, far - origin
    logits[row] = logit


def test_boxes_of_one_person_are_merged_by_their_scores_and_other_people_kept():
    anchors = detector_anchors()
    raw, logits = np.zeros((2254, 12)), np.full(2254, -100.0)
    write = (raw, logits, anchors)
    person_output(*write, 40, np.array([60.0, 100]), np.array([60.0, 40]), (50, 50), np.log(9))
    person_output(*write, 900, np.array([64.0, 100]), np.array([64.0, 40]), (50, 50), np.log(9))
    person_output(*write, 2200, np.array([170.0, 120]), np.array([180.0, 60]), (40, 40), np.log(4))
    person_output(*write, 2000, np.array([20.0, 200]), np.array([20.0, 150]), (40, 40), -0.1)
    points, scores = decode_people(raw, logits, anchors)
    np.testing.assert_allclose(scores, [0.9, 0.8])  # the last one is below one half
    np.testing.assert_allclose(points[0], [[62, 100], [62, 40]])
    np.testing.assert_allclose(points[1], [[170, 120], [180, 60]])


def test_an_empty_picture_gives_arrays_of_no_people():
    points, scores = decode_people(np.zeros((2254, 12)), np.full(2254, -9.0), detector_anchors())
    assert (points.shape, scores.shape) == ((0, 2, 2), (0,))


# --- the second network's output ----------------------------------------------------------------


def test_a_clear_heatmap_moves_a_point_to_its_mass():
    heatmaps = np.full((64, 64, 2), -50.0)
    heatmaps[30, 20, 0] = heatmaps[30, 22, 0] = 2.0  # mean: column 21, row 30
    heatmaps[10, 10, 1] = 2.0  # outside of the second point's window
    points = np.array([[20.4 / 64, 31.7 / 64], [40.2 / 64, 40.9 / 64]])
    refined = refine_with_heatmaps(points, heatmaps)
    np.testing.assert_allclose(refined[0], [21 / 64, 30 / 64])
    np.testing.assert_allclose(refined[1], points[1])


def test_a_weak_heatmap_changes_nothing():
    points = np.array([[0.5, 0.5]])
    heatmaps = np.full((64, 64, 1), -0.1)  # all cells just below one half
    np.testing.assert_array_equal(refine_with_heatmaps(points, heatmaps), points)


def test_windows_end_at_the_border_and_points_may_lie_beyond_it():
    heatmaps = np.full((64, 64, 3), -50.0)
    heatmaps[0, 1, 0] = 3.0
    points = np.array([[0.001, 0.001], [-0.4, 1.6], [0.999, 0.5]])
    refined = refine_with_heatmaps(points, heatmaps)
    np.testing.assert_allclose(refined[0], [1 / 64, 0.0], atol=1e-9)
    np.testing.assert_array_equal(refined[1:], points[1:])


def found(crop: Crop, next_crop: Crop, presence: float = 1.0) -> Candidate:
    return Candidate(
        keypoints=np.full((33, 2), 50.0),
        confidence=np.ones(33),
        world=np.zeros((33, 3)),
        presence=presence,
        crop=crop,
        next_crop=next_crop,
    )


def test_a_person_is_lost_without_presence_or_when_the_crop_jumps_grows_or_leaves():
    here = Crop(200.0, 100.0, 150.0)
    shape = (240, 320)
    assert is_followable(found(here, Crop(210.0, 105.0, 160.0)), shape)
    assert not is_followable(found(here, here, presence=0.4), shape)
    assert not is_followable(found(here, Crop(280.0, 100.0, 150.0)), shape)
    assert not is_followable(found(here, Crop(200.0, 100.0, 310.0)), shape)
    assert not is_followable(found(here, Crop(200.0, 100.0, float("nan"))), shape)
    edge = Crop(-30.0, 100.0, 150.0)
    assert not is_followable(found(edge, Crop(-40.0, 100.0, 150.0)), shape)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1080, 1920), (640, 640), (1768, 564)])
@pytest.mark.parametrize("fine", [False, True])
def test_search_tiles_cover_the_frame_with_much_overlap(width, height, fine):
    tiles = search_tiles(width, height, fine)
    assert len(tiles) <= 32
    smallest = min(tile.side for tile in tiles)
    rng = np.random.default_rng(1)
    for x, y in rng.uniform(0, 1, (200, 2)) * (width, height):
        # A small person anywhere, kept from sticking out of the frame, lies whole in some tile.
        half = 0.15 * smallest
        x, y = np.clip(x, half, width - half), np.clip(y, half, height - half)
        assert any(max(abs(x - t.x), abs(y - t.y)) + half <= t.side / 2 + 1e-6 for t in tiles)


# --- the whole, without networks: a world of discs that the fake networks see --------------------


class Scene(BlazePose):
    """The detector with its two networks replaced by knowledge of where the people are."""

    def __init__(self, people: int, interval: int = 10, tiles_only: tuple[int, ...] = ()):
        self.people, self.search_interval = people, interval
        self.at: dict[int, tuple[float, float, float]] = {}  # who: x, y, side
        self.tiles_only, self.searched = tiles_only, 0
        self.person_detector: Any = self
        self.reset()

    def find(self, frame, square):
        self.searched += 1
        whole = square.side >= max(frame.shape[:2])
        return [
            (Crop(x, y, side), 0.9)
            for who, (x, y, side) in self.at.items()
            if max(abs(x - square.x), abs(y - square.y)) < square.side / 2
            and not (whole and who in self.tiles_only)
        ]

    def place_landmarks(self, frame, crop):
        def distance(person):
            return np.hypot(person[0] - crop.x, person[1] - crop.y)

        near = min(self.at.values(), key=distance, default=(0.0, 0.0, 1.0))
        present = distance(near) < 0.3 * near[2]
        x, y, side = near if present else (crop.x, crop.y, crop.side)
        spread = np.linspace(-0.3, 0.3, 33)[:, None] * side
        person = found(crop, Crop(x, y, side), float(present))
        return Candidate(**{**vars(person), "keypoints": np.array([x, y]) + spread})


FRAME = np.zeros((540, 960, 3), np.uint8)


def where(detections) -> list[int]:
    return [round(float(points.mean(axis=0)[0])) for points in detections.keypoints]


def test_the_largest_person_is_taken_first_and_kept_when_another_grows_larger():
    scene = Scene(1)
    scene.at = {0: (200, 300, 200), 1: (700, 300, 260)}
    assert where(scene.detect(FRAME, 0.0)) == [700]
    scene.at[0] = (200, 300, 400)
    assert where(scene.detect(FRAME, 0.1)) == [700]
    assert scene.detect(FRAME, 0.2).skeleton == "blazepose33"


def test_a_small_person_missed_in_the_whole_picture_is_found_in_a_tile_of_the_first_frame():
    scene = Scene(1, tiles_only=(0,))
    scene.at = {0: (200, 300, 100)}
    assert where(scene.detect(FRAME, 0.0)) == [200]


def test_while_following_nobody_is_searched():
    scene = Scene(1)
    scene.at = {0: (200, 300, 200)}
    scene.detect(FRAME, 0.0)
    before = scene.searched
    for frame in range(1, 30):
        scene.at[0] = (200 + 5 * frame, 300, 200)
        assert where(scene.detect(FRAME, frame / 30)) == [200 + 5 * frame]
    assert scene.searched == before


def test_a_lost_person_is_waited_for_before_somebody_else_is_taken():
    scene = Scene(1)
    scene.at = {0: (200, 300, 200), 1: (700, 300, 150)}
    assert where(scene.detect(FRAME, 0.0)) == [200]
    hidden = scene.at.pop(0)
    assert len(scene.detect(FRAME, 0.1)) == 0
    assert len(scene.detect(FRAME, 0.3)) == 0
    scene.at[0] = hidden
    assert where(scene.detect(FRAME, 0.4)) == [200]
    del scene.at[0]
    assert len(scene.detect(FRAME, 0.5)) == 0
    assert where(scene.detect(FRAME, 1.2)) == [700]


def test_after_a_hole_in_time_people_are_looked_for_everywhere_the_same_ones_first():
    scene = Scene(1, tiles_only=(0,))
    for frame, x in enumerate((200, 700, 120, 880, 480)):
        scene.at = {0: (x, 300, 150)}
        assert where(scene.detect(FRAME, 10.0 * frame)) == [x]
    scene.at = {0: (500, 300, 150), 1: (200, 300, 260)}
    assert where(scene.detect(FRAME, 60.0)) == [500]


def test_several_people_are_found_followed_and_not_doubled():
    scene = Scene(3, tiles_only=(1, 2))
    scene.at = {0: (200, 300, 200), 1: (500, 300, 150), 2: (800, 300, 100), 3: (60, 60, 50)}
    assert sorted(where(scene.detect(FRAME, 0.0))) == [200, 500, 800]
    scene.at[1] = (510, 300, 150)
    assert sorted(where(scene.detect(FRAME, 0.1))) == [200, 510, 800]


def test_a_newcomer_is_found_at_the_next_search():
    scene = Scene(2, interval=5)
    scene.at = {0: (200, 300, 200)}
    scene.detect(FRAME, 0.0)
    scene.at[1] = (700, 300, 200)
    counts = [len(scene.detect(FRAME, frame / 30)) for frame in range(1, 8)]
    assert counts == [1, 1, 1, 1, 2, 2, 2]


def test_two_crops_that_end_on_one_person_become_one():
    scene = Scene(2, interval=100)
    scene.at = {0: (200, 300, 200), 1: (260, 300, 200)}
    assert len(scene.detect(FRAME, 0.0)) == 2
    scene.at = {0: (230, 300, 200)}
    assert len(scene.detect(FRAME, 0.1)) == 1


def test_reset_forgets_the_people():
    scene = Scene(1)
    scene.at = {0: (200, 300, 200)}
    scene.detect(FRAME, 0.0)
    scene.at = {1: (700, 300, 100)}
    scene.reset()
    assert where(scene.detect(FRAME, 0.0)) == [700]


def test_an_empty_frame_gives_detections_of_no_people():
    empty = Scene(1).detect(FRAME, 0.0)
    assert len(empty) == 0
    assert (empty.keypoints.shape, empty.confidence.shape) == ((0, 33, 2), (0, 33))
    assert (empty.score.shape, empty.world.shape) == ((0,), (0, 33, 3))


def test_a_frame_of_another_form_is_refused():
    with pytest.raises(ValueError, match=r"float64 of shape \(4, 4\): pass \(H, W, 3\) uint8 RGB"):
        Scene(1).detect(np.zeros((4, 4)), 0.0)


@pytest.mark.parametrize("options", [{"people": 0}, {"threads": 0}, {"search_interval": 0.5}])
def test_senseless_options_are_refused_before_files_are_looked_for(options, tmp_path):
    with pytest.raises(ValueError, match=f"{next(iter(options))} is .* whole number"):
        BlazePose(**options, models=tmp_path)


def test_absent_model_files_are_an_error_that_says_what_to_run(tmp_path):
    with pytest.raises(ModelsError, match="lithepose models fetch"):
        create_detector("blazepose", models=tmp_path)


def test_an_unknown_detector_is_an_error_that_lists_the_known_ones():
    with pytest.raises(ValueError, match="known: blazepose"):
        create_detector("openpose")
    assert set(DETECTORS) == {"blazepose"}


# --- with the networks ---------------------------------------------------------------------------


@pytest.fixture(scope="module")
def models() -> Path:
    try:
        return model_path("pose_detection", fetch=False).parent
    except ModelsError:
        pytest.skip("needs the model files: lithepose models fetch")


def first_frames(path: Path, count: int) -> list[np.ndarray]:
    import av

    with av.open(os.fspath(path)) as container:
        frames = (frame.to_ndarray(format="rgb24") for frame in container.decode(video=0))
        return [frame for frame, _ in zip(frames, range(count), strict=False)]


@pytest.mark.models
def test_nobody_is_seen_in_noise(models):
    detector: Detector = create_detector(models=models)
    noise = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)
    assert len(detector.detect(noise, 0.0)) == 0


@pytest.mark.models
@pytest.mark.shared
def test_landmarks_lie_where_mediapipe_puts_them(models, shared):
    frames = first_frames(shared("video/walk_single.mp4"), 20)
    recorded = np.load(shared("video/walk_single_mediapipe2d.npz"))["kp2d"]
    detector = create_detector(models=models)
    ours = [detector.detect(frame, i / 30) for i, frame in enumerate(frames)]
    assert [len(found) for found in ours] == [1] * len(frames)
    limbs = [*range(11, 17), *range(23, 29)]
    keypoints = np.array([found.keypoints[0] for found in ours])
    # The first frames are left out: there the recording is from another start.
    distance = np.linalg.norm(keypoints[10:] - recorded[10:20], axis=-1)[:, limbs]
    assert np.median(distance) < 4.5


@pytest.mark.models
@pytest.mark.shared
def test_the_detectors_3d_is_upright_in_camera_axes_also_when_the_crop_is_tilted(models, shared):
    frame = first_frames(shared("video/walk_single.mp4"), 11)[-1]
    nose, ankles = 0, [27, 28]
    for quarter_turns, axis, sign in ((0, 1, -1), (1, 0, -1)):  # nose up; then to the left
        detector = create_detector(models=models)
        person = detector.detect(np.ascontiguousarray(np.rot90(frame, quarter_turns)), 0.0)
        assert len(person) == 1
        world = person.world[0]
        body = world[nose] - world[ankles].mean(axis=0)
        assert 1.0 < sign * body[axis] < 2.0
        assert len(world) == blazepose.LANDMARKS
