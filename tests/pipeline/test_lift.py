"""From keypoints or video to 3D, with the shipped weights."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose import DetectorOptions, NoPersonError, WorldOptions, lift, lift_keypoints
from lithepose.bones import bones
from lithepose.formats import read_result, write_result
from lithepose.lifters.default import DefaultLifter, default_lifter
from lithepose.metrics.pose3d import mpjpe
from lithepose.pipeline import Result, lift_track, track_from_arrays
from lithepose.pipeline.lift import MAX_GAP_S, guessed_focal
from lithepose.poses import Track2D
from lithepose.skeletons import LIMB_JOINTS, SKELETONS
from lithepose.video import CameraMotion
from lithepose.world.solve import solve_world

Film = Callable[..., Any]
LIMBS = list(LIMB_JOINTS)
MIRROR = list(SKELETONS["h36m17"].mirror)


def lifted(scene: Any, **changes: Any) -> np.ndarray:
    """`lift_keypoints` of a scene, everything about it known."""
    known = {
        "keypoints": scene.keypoints,
        "image_size": scene.image_size,
        "fps": scene.fps,
        "height": scene.height_m,
        "focal": scene.focal_px,
    } | changes
    return lift_keypoints(known.pop("keypoints"), **known).people[0].joints_camera


def error_mm(found: np.ndarray, true: np.ndarray) -> float:
    found, true = (pose - (pose[:, 1:2] + pose[:, 4:5]) / 2 for pose in (found, true))
    return 1000 * float(mpjpe(found[:, LIMBS], true[:, LIMBS]).mean())


# --- what comes out ---------------------------------------------------------------------------


def test_a_result_shows_itself_in_a_few_lines(film: Film, tmp_path: Path):
    scene = film()
    path = tmp_path / "walk.npz"
    np.savez(
        path,
        keypoints=scene.keypoints,
        fps=scene.fps,
        image_size=scene.image_size,
        skeleton="h36m17",
    )
    result = replace(lift(path), problem="the file ends early")
    lines = repr(result).splitlines()
    assert re.fullmatch(
        r"Result\(1 person, 50 frames, 25 frames/s, 640x480, keypoints [.\d]+ s, 3D [.\d]+ s, "
        r"world [.\d]+ s\)",
        lines[0],
    )
    assert lines[1:] == [
        f"  {result.people[0]!r}",
        "  problem: the file ends early",
        *(f"  warning: {warning}" for warning in result.warnings),
    ]
    assert len(result.warnings) == 2
    assert max(map(len, lines)) < 200
    nobody = Result(people=[], frames=3, fps=12.5, image_size=(64, 48))
    assert repr(nobody) == "Result(0 people, 3 frames, 12.5 frames/s, 64x48)"


def test_joints_have_the_promised_shape_type_and_axes(film: Film):
    scene = film()
    joints = lifted(scene)
    assert joints.shape == (50, 17, 3)
    assert joints.dtype == np.float32
    assert np.isfinite(joints).all()
    assert joints[:, 10, 1].mean() < joints[:, 3, 1].mean()  # y goes down: the head is above
    assert (joints[..., 2] > 1).all()


@pytest.mark.parametrize("name", ["walk", "wave", "squat", "turn"])
def test_made_up_motion_is_near_the_truth(film: Film, name: str):
    scene = film(name)
    joints = lifted(scene)
    assert error_mm(joints, scene.joints_camera) < 120
    away = np.linalg.norm(joints[:, 0] - scene.joints_camera[:, 0], axis=-1)
    assert np.median(away) < 0.3  # at four metres


def test_the_joints_project_onto_the_observed_ones(film: Film):
    scene = film()
    joints = lifted(scene)
    centre = np.array(scene.image_size) / 2
    projected = joints[..., :2] / joints[..., 2:] * scene.focal_px + centre
    miss = np.linalg.norm(projected - scene.keypoints, axis=-1)[:, LIMBS]
    size = np.ptp(scene.keypoints[..., 1], axis=1).mean()
    assert np.median(miss) < 0.04 * size


def test_bones_are_constant_and_the_same_on_both_sides(film: Film):
    lengths = np.linalg.norm(bones(lifted(film())), axis=-1)
    assert np.ptp(lengths, axis=0).max() < 1e-4
    np.testing.assert_allclose(lengths, lengths[:, MIRROR], atol=1e-4)


def test_the_height_scales_the_result(film: Film):
    scene = film()
    small, tall = lifted(scene, height=1.5), lifted(scene, height=1.8)
    # Distances too, but for the acceleration allowed to the root, which is in metres.
    np.testing.assert_allclose(tall - tall[:, :1], 1.2 * (small - small[:, :1]), atol=1e-4)
    np.testing.assert_allclose(tall, 1.2 * small, rtol=0.02, atol=0.01)


def test_without_a_height_the_standard_one_is_assumed(film: Film):
    scene = film()
    np.testing.assert_array_equal(lifted(scene, height=None), lifted(scene, height=1.71))


def test_without_a_lens_the_guessed_one_is_assumed(film: Film):
    scene = film()
    guess = guessed_focal(scene.image_size)
    np.testing.assert_array_equal(lifted(scene, focal=None), lifted(scene, focal=guess))


def test_the_resolution_of_the_picture_changes_nothing(film: Film):
    scene = film()
    width, height = scene.image_size
    double = lifted(
        scene,
        keypoints=2 * scene.keypoints,
        image_size=(2 * width, 2 * height),
        focal=2 * scene.focal_px,
    )
    np.testing.assert_allclose(double, lifted(scene), atol=1e-4)


def test_the_mirrored_picture_gives_the_mirrored_motion(film: Film):
    scene = film("wave")
    mirrored = scene.keypoints[:, MIRROR].copy()
    mirrored[..., 0] = scene.image_size[0] - mirrored[..., 0]
    expected = lifted(scene)[:, MIRROR]
    expected[..., 0] *= -1
    np.testing.assert_allclose(lifted(scene, keypoints=mirrored), expected, atol=1e-4)


def test_twice_the_frame_rate_gives_the_same_motion(film: Film):
    slow, fast = film("squat", fps=25.0), film("squat", fps=50.0)
    assert error_mm(lifted(fast)[::2], lifted(slow)) < 25


def test_the_same_input_gives_the_same_output(film: Film):
    scene = film()
    kept = scene.keypoints.copy()
    np.testing.assert_array_equal(lifted(scene), lifted(scene))
    np.testing.assert_array_equal(scene.keypoints, kept)


@pytest.mark.parametrize("frames", [1, 2, 10])
def test_short_clips_are_lifted(film: Film, frames: int):
    scene = film()
    joints = lifted(scene, keypoints=scene.keypoints[:frames])
    assert joints.shape == (frames, 17, 3)
    assert error_mm(joints, scene.joints_camera[:frames]) < 200


@pytest.mark.parametrize("fps", [5.0, 24.0, 30.0, 60.0, 120.0])
def test_clips_of_any_rate_are_lifted(film: Film, fps: float):
    scene = film("squat", seconds=1.5, fps=fps)
    assert error_mm(lifted(scene), scene.joints_camera) < 140


# --- missing joints ---------------------------------------------------------------------------


def test_a_short_absence_is_bridged_and_a_long_one_stays_nan(film: Film):
    scene = film(seconds=3.0)
    keypoints = scene.keypoints.copy()
    keypoints[10:20] = np.nan  # 11 steps of 0.04 s between the frames around it
    keypoints[40:60] = np.nan
    assert 11 / 25 <= MAX_GAP_S < 21 / 25
    joints = lifted(scene, keypoints=keypoints)
    gone = np.isnan(joints).all((1, 2))
    assert np.flatnonzero(gone).tolist() == list(range(40, 60))
    assert np.isfinite(joints[~gone]).all()
    assert error_mm(joints[~gone], scene.joints_camera[~gone]) < 130


def test_someone_who_comes_later_is_nan_before(film: Film):
    scene = film()
    keypoints = scene.keypoints.copy()
    keypoints[:5] = keypoints[-3:] = np.nan
    gone = np.isnan(lifted(scene, keypoints=keypoints)).all((1, 2))
    assert np.flatnonzero(gone).tolist() == [0, 1, 2, 3, 4, 47, 48, 49]


def test_a_joint_that_is_never_seen_is_filled_in_by_the_network(film: Film):
    scene = film()
    keypoints = scene.keypoints.copy()
    keypoints[:, [7, 9, 10, 16]] = np.nan
    joints = lifted(scene, keypoints=keypoints)
    assert np.isfinite(joints).all()
    assert error_mm(joints, scene.joints_camera) < 150


def test_nan_and_confidence_0_both_mean_missing(film: Film):
    scene = film()
    nan, zero = scene.keypoints.copy(), scene.keypoints.copy()
    nan[:, 16] = np.nan
    zero[:, 16] = -1e6
    sure = np.ones(zero.shape[:2])
    sure[:, 16] = 0
    expected = lifted(scene, keypoints=nan)
    np.testing.assert_array_equal(lifted(scene, keypoints=zero, confidence=sure), expected)
    together = np.concatenate([zero, sure[..., None]], -1)
    np.testing.assert_array_equal(lifted(scene, keypoints=together), expected)


def test_a_face_alone_is_nobody(film: Film):
    scene = film()
    keypoints = np.full_like(scene.keypoints, np.nan)
    keypoints[:, [8, 9, 10, 11, 14]] = scene.keypoints[:, [8, 9, 10, 11, 14]]
    with pytest.raises(NoPersonError, match="6 of the 12 joints"):
        lifted(scene, keypoints=keypoints)


# --- other joint sets -------------------------------------------------------------------------


@pytest.mark.parametrize("skeleton", ["coco17", "blazepose33", "halpe26"])
def test_other_joint_sets_are_converted(film: Film, skeleton: str):
    scene = film()
    theirs = SKELETONS[skeleton]
    keypoints = np.full((50, len(theirs), 2), np.nan)
    ours = SKELETONS["h36m17"].joints
    for index, joint in enumerate(theirs.joints):
        if joint in ours:
            keypoints[:, index] = scene.keypoints[:, ours.index(joint)]
    joints = lifted(scene, keypoints=keypoints, skeleton=skeleton)
    assert joints.shape == (50, 17, 3)
    assert error_mm(joints, scene.joints_camera) < 140


# --- what is refused --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"keypoints": np.full((5, 17, 2), np.nan)}, "every keypoint is nan"),
        ({"keypoints": np.zeros((17, 2))}, r"shape \(17, 2\)"),
        ({"keypoints": np.zeros((0, 17, 2))}, "T at least 1"),
        ({"keypoints": np.zeros((5, 17, 4))}, r"shape \(5, 17, 4\)"),
        ({"keypoints": np.zeros((5, 16, 2))}, "16 joints, h36m17 has 17"),
        ({"keypoints": np.zeros((5, 20, 2))}, "20 joints, h36m17 has 17"),
        ({"skeleton": "coco19"}, "no skeleton named 'coco19'; known"),
        ({"skeleton": "blazepose33"}, "17 joints, blazepose33 has 33"),
        ({"confidence": np.ones((50, 16))}, r"confidence has shape \(50, 16\)"),
        ({"fps": 0}, "fps is 0"),
        ({"fps": -25}, "fps is -25"),
        ({"fps": np.nan}, "fps is nan"),
        ({"fps": np.inf}, "fps is inf"),
        ({"image_size": (0, 480)}, "image_size"),
        ({"image_size": (640, np.nan)}, "image_size"),
        ({"image_size": (640, np.inf)}, "image_size"),
        ({"image_size": (640, 480, 3)}, "image_size"),
        ({"height": 180}, "height 180 m is not a person's"),
        ({"height": 0.0}, r"height 0.0 m is not a person's"),
        ({"height": np.nan}, "height nan m"),
        ({"focal": 10.0}, "focal length 10 px is not a camera's"),
        ({"focal": -500.0}, "focal length -500 px"),
        ({"focal": np.nan}, "focal length nan px"),
    ],
)
def test_what_cannot_be_right_is_refused_with_a_reason(
    film: Film, changes: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        lifted(film(), **changes)


def test_wild_confidences_are_brought_into_range(film: Film):
    scene = film()
    sure = np.ones(scene.keypoints.shape[:2])
    wild = sure.copy()
    wild[3], wild[:, 16], wild[:, 13] = 7.0, -1.0, np.nan
    sure[:, [13, 16]] = 0
    expected = lifted(scene, confidence=sure)
    np.testing.assert_array_equal(lifted(scene, confidence=wild), expected)


# --- tracks -----------------------------------------------------------------------------------


def test_a_track_says_what_was_assumed_and_measured(film: Film):
    scene = film(seconds=3.0)
    keypoints = scene.keypoints.copy()
    keypoints[40:60] = np.nan
    track = track_from_arrays(
        keypoints, image_size=scene.image_size, fps=25, skeleton="h36m17", confidence=None
    )
    lifter = default_lifter()
    person = lift_track(track, lifter, height_m=1.8)
    facts = person.metadata
    assert json.loads(json.dumps(facts)) == facts
    assert person.person == 1
    assert facts["height_m"] == 1.8
    assert facts["height_known"] is True
    assert facts["focal_known"] is False
    assert person.focal_px == guessed_focal(scene.image_size)
    assert facts["lifter"] == lifter.name
    assert facts["frames_with_person"] == 55
    assert facts["gaps"] == 1
    assert facts["frames_exchanged"] == 0
    assert facts["mean_confidence"] == 1.0
    assert 0 < facts["reprojection_px"] < 20
    assert not person.confidence[40:60].any()
    np.testing.assert_allclose(person.keypoints_2d[:40], keypoints[:40], rtol=1e-5)
    assert not person.derived.any()


def test_left_and_right_exchanged_for_a_few_frames_are_put_right(film: Film):
    scene = film("squat")
    wrong = scene.keypoints.copy()
    wrong[20:24] = wrong[20:24, MIRROR]
    np.testing.assert_allclose(lifted(scene, keypoints=wrong), lifted(scene), atol=1e-3)


def test_the_shipped_lifter_is_loaded_once_and_says_its_name():
    lifter = default_lifter()
    assert isinstance(lifter, DefaultLifter)
    assert default_lifter() is lifter
    assert lifter.name
    values = np.zeros((3, lifter.frames, 17, 4))
    answer = lifter(values)
    assert answer.shape == (3, lifter.targets, 17, 3)
    assert answer.dtype == np.float32


# --- files of keypoints -----------------------------------------------------------------------


def keypoint_file(path: Path, scene: Any, **changes: Any) -> Path:
    fields = {
        "keypoints": scene.keypoints,
        "fps": scene.fps,
        "image_size": scene.image_size,
        "skeleton": "h36m17",
    } | changes
    np.savez(path, **{name: value for name, value in fields.items() if value is not None})
    return path


def test_a_file_of_keypoints_gives_the_same_as_its_arrays(film: Film, tmp_path: Path):
    scene = film()
    path = keypoint_file(tmp_path / "walk.npz", scene)
    stages: list[tuple[str, int, int | None]] = []
    result = lift(
        path,
        height=scene.height_m,
        focal=scene.focal_px,
        report=lambda *stage: stages.append(stage),
    )
    assert (result.frames, result.fps, result.image_size) == (50, 25.0, (640, 480))
    assert result.problem is None
    assert stages[-1] == ("3D", 1, 1)
    assert set(result.seconds) == {"keypoints", "3D", "world"}
    np.testing.assert_allclose(result.people[0].joints_camera, lifted(scene), atol=2e-3)


def test_what_a_file_does_not_say_the_caller_does(film: Film, tmp_path: Path):
    scene = film()
    path = keypoint_file(tmp_path / "a.npz", scene, fps=None, image_size=None, skeleton=None)
    with pytest.raises(ValueError, match="pass "):
        lift(path)
    result = lift(path, skeleton="h36m17", image_size=(640, 480), fps=25)
    assert result.frames == 50


def test_a_result_can_be_lifted_again(film: Film, tmp_path: Path):
    scene = film()
    first = lift(keypoint_file(tmp_path / "walk.npz", scene)).people[0]
    (again,) = write_result(tmp_path / "again", first, ["npz"])
    second = lift(again).people[0]
    np.testing.assert_allclose(second.joints_camera, first.joints_camera, atol=2e-3)
    assert read_result(again).metadata == first.metadata


def test_a_field_of_view_says_the_focal_length(film: Film, tmp_path: Path):
    path = keypoint_file(tmp_path / "walk.npz", film())
    person = lift(path, fov=90).people[0]
    assert person.focal_px == pytest.approx(320)
    assert person.metadata["focal_known"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"people": "two"}, "known are one, largest, all"),
        ({"focal": 600.0, "fov": 60.0}, "give one of them"),
        ({"start": 1.0}, "start and end are for videos"),
        ({"height": 180.0}, "height 180.0 m"),
        ({"fov": 180.0}, "field of view"),
        ({"fov": 1.0}, "focal length 36668.* px is not a camera's"),
    ],
)
def test_options_that_cannot_be_right_are_refused(
    film: Film, tmp_path: Path, options: dict[str, Any], message: str
):
    with pytest.raises(ValueError, match=message):
        lift(keypoint_file(tmp_path / "walk.npz", film()), **options)


def test_a_file_of_faces_is_nobody(film: Film, tmp_path: Path):
    scene = film()
    keypoints = scene.keypoints.copy()
    keypoints[:, LIMBS] = np.nan
    with pytest.raises(NoPersonError, match=r"nobody can be lifted from .*walk.npz"):
        lift(keypoint_file(tmp_path / "walk.npz", scene, keypoints=keypoints))


# --- video ------------------------------------------------------------------------------------


def test_a_video_is_detected_tracked_and_lifted(film: Film, make_video: Any, detecting: Any):
    scene = film(seconds=1.6)
    detectors = detecting(scene.keypoints[:, None])
    path = make_video(40, 25, scene.image_size)
    stages: list[tuple[str, int, int | None]] = []
    result = lift(
        path,
        height=scene.height_m,
        focal=scene.focal_px,
        detector=DetectorOptions(threads=1),
        report=lambda *stage: stages.append(stage),
    )
    assert detectors[0].options == {"threads": 1, "people": "one"}
    assert detectors[0].frames == list(range(40))
    assert (result.frames, result.image_size) == (40, scene.image_size)
    assert result.fps == pytest.approx(25)
    assert ("2D", 40, 40) in stages
    (person,) = result.people
    assert error_mm(person.joints_camera, scene.joints_camera) < 120
    np.testing.assert_allclose(person.time_s, np.arange(40) / 25, atol=1e-6)


def test_a_part_of_a_video_counts_from_its_start(film: Film, make_video: Any, detecting: Any):
    scene = film(seconds=2.0)
    detectors = detecting(scene.keypoints[:, None])
    result = lift(make_video(50, 25, scene.image_size), start=0.4, end=1.2)
    assert detectors[0].frames == list(range(10, 30))
    (person,) = result.people
    assert person.time_s[0] == 0
    np.testing.assert_allclose(person.keypoints_2d, scene.keypoints[10:30], atol=1e-2)


def test_someone_who_leaves_and_returns_is_nan_in_between(
    film: Film, make_video: Any, detecting: Any
):
    scene = film(seconds=2.4)
    people = scene.keypoints[:, None].copy()
    people[20:40] = np.nan  # 0.84 s
    detecting(people)
    result = lift(make_video(60, 25, scene.image_size))
    (person,) = result.people
    gone = np.isnan(person.joints_camera).all((1, 2))
    assert np.flatnonzero(gone).tolist() == list(range(20, 40))
    assert person.metadata["gaps"] == 1


def test_of_several_people_one_the_largest_or_all_are_lifted(
    film: Film, make_video: Any, detecting: Any
):
    scene = film(seconds=1.6)
    far = (scene.keypoints - (320, 240)) * 0.5 + (120, 260)
    detectors = detecting(np.stack([far, scene.keypoints], 1))
    path = make_video(40, 25, scene.image_size)
    assert len(lift(path, people="all").people) == 2
    assert detectors[0].options["people"] == 6
    (largest,) = lift(path, people="largest").people
    np.testing.assert_allclose(largest.keypoints_2d, scene.keypoints, atol=1e-2)


def test_a_video_of_nobody_says_so(film: Film, make_video: Any, detecting: Any):
    scene = film(seconds=0.4)
    detecting(np.full((10, 1, 17, 2), np.nan))
    with pytest.raises(NoPersonError, match="nobody was found in"):
        lift(make_video(10, 25, scene.image_size))


@pytest.mark.parametrize("wrong", [{"height": 17.0}, {"fov": 0.0}, {"focal": 5.0}])
def test_wrong_options_are_found_before_the_work_on_a_video(
    film: Film, make_video: Any, detecting: Any, wrong: dict[str, float]
):
    detectors = detecting(film(seconds=0.4).keypoints[:, None])
    path = make_video(10, 25, (640, 480))
    with pytest.raises(ValueError, match=r"height|field of view|focal"):
        lift(path, **wrong)  # type: ignore[arg-type]
    assert detectors == []


def test_a_video_of_one_frame_is_lifted(film: Film, make_video: Any, detecting: Any):
    scene = film(seconds=0.4)
    detecting(scene.keypoints[:, None])
    result = lift(make_video(1, 25, scene.image_size))
    assert result.frames == 1
    assert np.isfinite(result.people[0].joints_camera).all()


@pytest.mark.parametrize("kind", ["still", "moving", "cut"])
def test_a_camera_that_moves_or_a_cut_leaves_no_path_and_is_said(
    film: Film, make_video: Any, detecting: Any, monkeypatch: pytest.MonkeyPatch, kind: str
):
    scene = film(seconds=0.8)
    detecting(scene.keypoints[:, None])
    motion = CameraMotion(
        kind="moving" if kind == "moving" else "still",
        share=0.1,
        displacement_px=64,
        degrees=5,
        path_error_m=0.3,
        at_s=0.4,
        cuts=(0.4,) if kind == "cut" else (),
        steady_s=(0.0, 0.4),
        looks=4,
        seen=4,
        reason="what the camera did",
    )
    monkeypatch.setattr("lithepose.video.camera_motion.CameraWatch.finish", lambda self: motion)
    result = lift(make_video(20, 25, scene.image_size), height=1.7, focal=600.0)
    assert result.camera is motion
    world = result.people[0].world
    assert world is not None
    assert world.has_path == (kind == "still")
    said = ["what the camera did", "--start 0.0 --end 0.4 keeps a part with a path"]
    assert result.warnings == ([] if kind == "still" else said)
    assert result.people[0].metadata["camera"]["reason"] == "what the camera did"


# --- holes in time ----------------------------------------------------------------------------


class Counting:
    """The default lifter, counting what it is given."""

    def __init__(self) -> None:
        self.lifter = default_lifter()
        self.frames, self.targets = self.lifter.frames, self.lifter.targets
        self.windows = 0

    def __call__(self, values: np.ndarray, /) -> np.ndarray:
        self.windows += len(values)
        return self.lifter(values)


def track_at(scene: Any, time_s: np.ndarray) -> Track2D:
    track = track_from_arrays(
        scene.keypoints[: len(time_s)],
        image_size=scene.image_size,
        fps=scene.fps,
        skeleton="h36m17",
        confidence=None,
    )
    return replace(track, time_s=time_s, fps=(len(time_s) - 1) / float(time_s[-1] - time_s[0]))


@pytest.mark.parametrize("hole_s", [1.0, 3600.0, 1e9])
def test_parts_around_a_hole_in_time_are_lifted_apart(film: Film, hole_s: float):
    scene = film()
    even_s = np.arange(50) / 25
    counting = Counting()
    joints = lift_track(
        track_at(scene, even_s + np.where(np.arange(50) < 20, 0, hole_s)), counting
    ).joints_camera
    assert counting.windows <= 100
    whole = lift_track(track_at(scene, even_s), counting).joints_camera
    # Only what was seen across the hole is gone.
    assert 1000 * float(mpjpe(joints, whole).mean()) < 60
    assert np.isfinite(joints).all()


@pytest.mark.parametrize("fps", [1.0, 0.1, 0.01, 1e-5, 1e-9])
def test_slow_clips_are_lifted_frame_by_frame(film: Film, fps: float):
    scene = film(seconds=0.4)
    counting = Counting()
    (person,) = solve_world([lift_track(track_at(scene, np.arange(10) / fps), counting)])
    assert counting.windows == 20  # each as it is and mirrored
    assert person.metadata["gaps"] == 0
    assert error_mm(person.joints_camera, scene.joints_camera) < 200
    assert person.world is not None
    assert np.isfinite(person.world.points).all()


def test_a_rate_that_no_clip_has_is_refused(film: Film):
    with pytest.raises(ValueError, match="fps"):
        lifted(film(seconds=0.4), fps=1e-300)


# --- keypoints and frames in memory -----------------------------------------------------------


def test_keypoints_give_the_same_result_as_their_file(film: Film, tmp_path: Path):
    scene = film()
    known = {"height": scene.height_m, "fov": 50.0, "world": WorldOptions(smooth_hz=None)}
    result = lift_keypoints(scene.keypoints, image_size=scene.image_size, fps=scene.fps, **known)
    again = lift(keypoint_file(tmp_path / "walk.npz", scene), **known)
    person, other = result.people[0], again.people[0]
    assert person.person == other.person == 1
    assert person.world is not None
    assert other.world is not None
    np.testing.assert_allclose(person.world.points, other.world.points, atol=2e-3)
    assert (result.frames, result.fps, result.image_size) == (50, 25.0, (640, 480))
    assert result.warnings == again.warnings == []
    bare = lift_keypoints(scene.keypoints, image_size=scene.image_size, fps=25, world=None)
    assert bare.people[0].world is None


def grey_frames(count: int, image_size: tuple[int, int]) -> np.ndarray:
    """What `make_video` writes."""
    levels = (10 + 3 * np.arange(count)).astype(np.uint8)
    return np.broadcast_to(levels[:, None, None, None], (count, *image_size[::-1], 3))


def test_an_array_and_an_iterator_are_lifted_as_their_video(
    film: Film, make_video: Any, detecting: Any
):
    scene = film(seconds=1.6)
    detectors = detecting(scene.keypoints[:, None])
    known = {"height": scene.height_m, "focal": scene.focal_px, "start": 0.2, "end": 1.2}
    expected = lift(make_video(40, 25, scene.image_size), **known)
    frames = grey_frames(40, scene.image_size)
    ahead: list[int] = []

    def one_by_one() -> Any:
        for index, frame in enumerate(frames):
            ahead.append(index - 5 - len(detectors[-1].frames) if len(detectors) == 3 else 0)
            yield frame

    for source in (frames, one_by_one()):
        result = lift(source, fps=25, **known)
        assert detectors[-1].frames == list(range(5, 30))
        assert (result.frames, result.fps, result.image_size) == (25, 25.0, scene.image_size)
        np.testing.assert_array_equal(
            result.people[0].joints_camera, expected.people[0].joints_camera
        )
    assert len(ahead) <= 31
    assert max(ahead) <= 1  # no frame waits in memory


@pytest.mark.parametrize(
    ("frames", "options", "message"),
    [
        (np.zeros((3, 8, 8, 3), np.uint8), {}, "give how many of the frames are a second"),
        (np.zeros((3, 8, 8, 3), np.uint8), {"fps": 0}, "fps is 0"),
        (np.zeros((3, 17, 3)), {"fps": 25}, r"\(3, 17, 3\) float64: .*go to lift_keypoints"),
        (np.zeros((3, 8, 8, 4), np.uint8), {"fps": 25}, r"\(8, 8, 4\) uint8"),
        (np.zeros((0, 8, 8, 3), np.uint8), {"fps": 25}, "no frame to lift"),
        ([], {"fps": 25}, "no frame to lift"),
        ([np.zeros((8, 8, 3), np.uint8)], {"fps": 25, "start": 1.0}, "end before the start"),
        (
            [np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9, 3), np.uint8)],
            {"fps": 25},
            "9x8, those before are 8x8",
        ),
    ],
)
def test_frames_that_make_no_clip_are_refused(
    detecting: Any, frames: Any, options: dict[str, Any], message: str
):
    detecting(np.full((9, 1, 17, 2), np.nan))
    with pytest.raises(ValueError, match=message):
        lift(frames, **options, world=None)


def test_keywords_that_moved_say_where_to():
    for name in ("threads", "boxes", "preset", "box_interval", "input_size", "models"):
        with pytest.raises(TypeError, match=rf"give detector=DetectorOptions\({name}="):
            lift("a.mp4", **{name: 1})  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"no keyword 'hieght'$"):
        lift("a.mp4", hieght=1.8)  # type: ignore[call-arg]
