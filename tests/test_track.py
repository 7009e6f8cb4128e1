"""Who is who over a clip, and which side is left."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lithepose.poses import Detections, Track2D
from lithepose.skeletons import SKELETONS
from lithepose.track import (
    body_size,
    build_tracks,
    fill_gaps,
    join_tracks,
    repair_left_right,
    select_people,
)

FPS = 30.0
H36M = SKELETONS["h36m17"]


def walker(
    frames: int,
    yaw: float | np.ndarray = 0.0,
    *,
    cadence_hz: float = 1.0,
    noise_px: float = 3.0,
    seed: int = 0,
) -> np.ndarray:
    """(T, 17, 2) pixels of a person of 1.7 m, about 400 pixels tall, who walks on the spot.

    Hips and knees swing; `yaw` is the direction walked to: 0 to the camera, pi / 2 to the right.
    """
    t = np.arange(frames) / FPS
    joints = np.zeros((frames, 17, 3))  # x to the person's left, y up, z to the front; metres
    at = {name: index for index, name in enumerate(H36M.joints)}
    for name, height in (("pelvis", 0.9), ("spine", 1.15), ("thorax", 1.4)):
        joints[:, at[name]] = (0, height, 0)
    joints[:, at["nose"]] = (0, 1.55, 0.1)
    joints[:, at["head_top"]] = (0, 1.7, 0)
    for side, sign in (("left", 1), ("right", -1)):
        phase = 2 * np.pi * cadence_hz * t + (0 if side == "left" else np.pi)
        hip, knee = 0.45 * np.sin(phase), 0.5 + 0.4 * np.cos(phase)
        thigh = np.stack([0 * t, -np.cos(hip), np.sin(hip)], axis=1)
        shin = np.stack([0 * t, -np.cos(hip - knee), np.sin(hip - knee)], axis=1)
        arm = np.stack([0 * t, -np.cos(hip), -np.sin(hip)], axis=1)  # against its leg
        joints[:, at[f"{side}_hip"]] = (0.11 * sign, 0.9, 0)
        joints[:, at[f"{side}_knee"]] = joints[:, at[f"{side}_hip"]] + 0.42 * thigh
        joints[:, at[f"{side}_ankle"]] = joints[:, at[f"{side}_knee"]] + 0.42 * shin
        joints[:, at[f"{side}_shoulder"]] = (0.18 * sign, 1.4, 0)
        joints[:, at[f"{side}_elbow"]] = joints[:, at[f"{side}_shoulder"]] + 0.3 * arm
        joints[:, at[f"{side}_wrist"]] = joints[:, at[f"{side}_elbow"]] + 0.25 * arm
    cos, sin = np.cos(yaw), np.sin(yaw)
    x = (joints[..., 0].T * cos + joints[..., 2].T * sin).T
    z = (joints[..., 2].T * cos - joints[..., 0].T * sin).T
    scale = 235 / (1 - 0.2 * z)  # a person to the front is nearer to the camera
    pixels = np.stack([640 + scale * x, 560 - scale * joints[..., 1]], axis=-1)
    return pixels + np.random.default_rng(seed).normal(0, noise_px, pixels.shape)


def track_of(keypoints: np.ndarray, person: int = 0) -> Track2D:
    seen = np.isfinite(keypoints).all(axis=-1)
    return Track2D(
        person=person,
        keypoints=keypoints,
        confidence=np.where(seen, 0.9, 0.0),
        skeleton="h36m17",
        time_s=np.arange(len(keypoints)) / FPS,
        fps=FPS,
        image_size=(1280, 720),
    )


def detections_of(people: list[np.ndarray]) -> Detections:
    return Detections(
        keypoints=np.array(people).reshape(-1, 17, 2),
        confidence=np.full((len(people), 17), 0.9),
        score=np.full(len(people), 0.9),
        skeleton="h36m17",
    )


def tracks_of(frames: list[list[np.ndarray]], **options) -> list[Track2D]:
    return build_tracks(
        [detections_of(people) for people in frames],
        time_s=np.arange(len(frames)) / FPS,
        image_size=(1280, 720),
        fps=FPS,
        **options,
    )


# --- tracks ---------------------------------------------------------------------------------------


def test_two_people_who_pass_each_other_keep_their_identities():
    count = 60
    shift = np.stack([np.linspace(-400, 400, count), np.zeros(count)], axis=1)[:, None]
    a, b = walker(count, np.pi / 2) + shift, walker(count, -np.pi / 2, seed=1) - shift
    order = np.random.default_rng(2).integers(0, 2, count)
    frames = [[a[t], b[t]] if order[t] else [b[t], a[t]] for t in range(count)]
    tracks = tracks_of(frames)
    assert sorted(track.person for track in tracks) == [1, 2]
    first, second = tracks if tracks[0].keypoints[0, 0, 0] < 640 else tracks[::-1]
    np.testing.assert_allclose(first.keypoints, a, atol=1e-3)
    np.testing.assert_allclose(second.keypoints, b, atol=1e-3)


def test_when_one_person_is_wanted_the_one_who_returns_late_is_the_same():
    body = walker(120)
    frames = [[body[t]] if t < 40 or t >= 80 else [] for t in range(120)]
    tracks = tracks_of(frames, max_gap_s=0.5)
    assert len(tracks) == 2
    joined = join_tracks(tracks)
    assert len(joined) == 1
    seen = np.isfinite(joined[0].keypoints).all(axis=(1, 2))
    np.testing.assert_array_equal(seen, [t < 40 or t >= 80 for t in range(120)])


def test_people_seen_together_or_of_another_size_are_not_joined():
    body = walker(120)
    far = 640 + (body - 640) * 0.3
    both = tracks_of([[body[t], body[t] + 500] for t in range(120)])
    assert len(join_tracks(both)) == 2
    other = tracks_of([[body[t]] if t < 50 else [far[t]] if t >= 70 else [] for t in range(120)])
    assert len(join_tracks(other)) == len(other) == 2


def test_a_person_back_within_the_gap_is_the_same_and_later_is_a_new_one():
    body = walker(120)
    frames = [[body[t]] if t < 30 or 45 <= t < 70 or t >= 110 else [] for t in range(120)]
    tracks = tracks_of(frames, max_gap_s=1.0)
    assert [track.person for track in tracks] == [1, 2]
    assert [len(track.keypoints) for track in tracks] == [120, 120]
    seen = np.isfinite(tracks[0].keypoints).all(axis=(1, 2))
    np.testing.assert_array_equal(np.flatnonzero(seen), [*range(30), *range(45, 70)])
    assert not tracks[0].confidence[~seen].any()
    assert np.isfinite(tracks[1].keypoints[110:]).all()
    assert len(tracks_of(frames, max_gap_s=2.0)) == 1


def test_a_walk_across_the_frame_goes_on_behind_a_short_gap():
    body = walker(60, np.pi / 2) + np.stack([np.arange(60) * 8.0, np.zeros(60)], axis=1)[:, None]
    frames = [[] if 30 <= t < 38 else [body[t]] for t in range(60)]
    assert len(tracks_of(frames)) == 1


def test_a_short_false_track_is_dropped_but_a_short_clip_is_not():
    body = walker(60)
    frames = [[body[t]] + ([body[t] * 0.3] if 10 <= t < 14 else []) for t in range(60)]
    assert len(tracks_of(frames)) == 1
    assert len(tracks_of([[body[0]]])) == 1


def test_an_exchange_of_left_and_right_does_not_break_a_track():
    body = walker(60)
    body[20:25] = body[20:25, list(H36M.mirror)]
    assert len(tracks_of([[pose] for pose in body])) == 1


def test_a_person_elsewhere_is_a_new_track():
    body = walker(60)
    frames = [[body[t] + (500 if t >= 30 else 0)] for t in range(60)]
    assert [track.person for track in tracks_of(frames)] == [1, 2]


def test_the_detectors_3d_goes_with_the_person():
    body = walker(10)
    frames = [
        replace(detections_of([pose]), world=np.full((1, 17, 3), float(t)))
        for t, pose in enumerate(body)
    ]
    frames[4] = replace(detections_of([]), world=np.zeros((0, 17, 3)))
    (track,) = build_tracks(frames, time_s=np.arange(10) / FPS, image_size=(1280, 720), fps=FPS)
    assert track.world is not None
    np.testing.assert_array_equal(track.world[:, 0, 0], [0, 1, 2, 3, np.nan, 5, 6, 7, 8, 9])


def test_a_clip_without_people_has_no_tracks():
    assert tracks_of([[] for _ in range(5)]) == []
    assert tracks_of([]) == []


def test_time_stamps_that_do_not_fit_are_refused():
    frames = [detections_of([])] * 3
    options = {"image_size": (1280, 720), "fps": FPS}
    with pytest.raises(ValueError, match=r"3 frames but time stamps of shape \(2,\)"):
        build_tracks(frames, time_s=np.arange(2.0), **options)
    with pytest.raises(ValueError, match=r"frame 2 is at 1\.0 s, the one before at 1\.0 s"):
        build_tracks(frames, time_s=np.array([0.0, 1.0, 1.0]), **options)


def test_a_change_of_skeleton_within_a_clip_is_refused():
    frames = [detections_of([]), replace(detections_of([]), skeleton="coco17")]
    with pytest.raises(ValueError, match=r"several skeletons: \['coco17', 'h36m17'\]"):
        build_tracks(frames, time_s=np.arange(2.0), image_size=(1280, 720), fps=FPS)


# --- choosing people ------------------------------------------------------------------------------


def test_one_is_whom_the_clip_shows_most_and_largest_who_is_largest_while_there():
    body = walker(60)
    passer_by = body * 1.4
    passer_by[10:] = np.nan
    tracks = [track_of(body * 0.5, 0), track_of(body, 1), track_of(passer_by, 2)]
    assert [track.person for track in select_people(tracks, "one")] == [1]
    assert [track.person for track in select_people(tracks, "largest")] == [2]
    assert [track.person for track in select_people(tracks, "all")] == [0, 1, 2]
    assert select_people([], "one") == []
    with pytest.raises(ValueError, match="known: all, largest, one"):
        select_people(tracks, "tallest")  # type: ignore[arg-type]


def test_body_size_is_the_diagonal_and_nan_without_joints():
    points = np.array([[[0.0, 0], [3, 4], [np.nan, np.nan]], [[np.nan] * 2] * 3])
    np.testing.assert_array_equal(body_size(points), [5.0, np.nan])


# --- gaps -----------------------------------------------------------------------------------------


def test_short_gaps_are_filled_in_a_line_with_half_the_confidence_and_long_ones_stay():
    points = np.arange(20.0)[:, None, None] * np.ones((20, 17, 2))
    points[3:5] = np.nan
    points[8:16, 2] = np.nan
    points[19] = np.nan
    track = track_of(points)
    filled = fill_gaps(track, max_gap_s=0.2)
    np.testing.assert_allclose(filled.keypoints[3:5, 0], [[3, 3], [4, 4]])
    np.testing.assert_allclose(filled.confidence[3:5], 0.45)
    assert np.isnan(filled.keypoints[8:16, 2]).all()
    assert np.isfinite(filled.keypoints[8:16, 3]).all()
    assert np.isnan(filled.keypoints[19]).all()
    assert np.isnan(track.keypoints[3:5]).all()  # the input is left alone


def test_filling_follows_the_time_stamps_when_frames_are_not_evenly_spaced():
    points = np.zeros((3, 17, 2))
    points[1], points[2] = np.nan, 10.0
    track = replace(track_of(points), time_s=np.array([0.0, 0.02, 0.1]))
    np.testing.assert_allclose(fill_gaps(track).keypoints[1], 2.0)


# --- left and right -------------------------------------------------------------------------------

VIEWS = {"front": 0.0, "three-quarter": np.pi / 4, "side": np.pi / 2, "other side": -np.pi / 2}


def exchange(keypoints: np.ndarray, frames: list[int] | np.ndarray) -> np.ndarray:
    changed = keypoints.copy()
    changed[frames] = changed[frames][:, list(H36M.mirror)]
    return changed


@pytest.mark.parametrize("yaw", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("cadence_hz", [0.8, 1.4])
@pytest.mark.parametrize("noise_px", [1.0, 5.0])
def test_a_clean_walk_is_left_alone(yaw, cadence_hz, noise_px):
    track = track_of(walker(150, yaw, cadence_hz=cadence_hz, noise_px=noise_px))
    repaired, exchanged = repair_left_right(track)
    assert not exchanged.any()
    assert repaired is track


@pytest.mark.parametrize("turns", [0.5, -1.0])
def test_turning_around_is_no_exchange(turns):
    yaw = np.pi / 2 + 2 * np.pi * turns * np.clip((np.arange(150) - 40) / 60, 0, 1)
    _, exchanged = repair_left_right(track_of(walker(150, yaw)))
    assert not exchanged.any()


@pytest.mark.parametrize("yaw", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("length", [1, 2, 5, 15, 40])
def test_a_burst_of_exchanged_frames_is_undone(yaw, length):
    body = walker(150, yaw)
    wrong = np.arange(57, 57 + length)
    repaired, exchanged = repair_left_right(track_of(exchange(body, wrong)))
    np.testing.assert_array_equal(np.flatnonzero(exchanged), wrong)
    np.testing.assert_array_equal(repaired.keypoints, body)


def test_several_bursts_among_missing_joints_and_frames_are_undone():
    body = walker(240, np.pi / 2.5)
    rng = np.random.default_rng(3)
    body[rng.random(body.shape[:2]) < 0.1] = np.nan
    body[100:105] = np.nan
    wrong = np.r_[20:23, 60:75, 103:112, 180:210]
    _, exchanged = repair_left_right(track_of(exchange(body, wrong)))
    seen = np.isfinite(body).all(axis=-1).any(axis=1)
    np.testing.assert_array_equal(np.flatnonzero(exchanged), wrong[seen[wrong]])


def test_a_frame_halfway_between_the_readings_does_not_turn_the_rest():
    body = walker(120)
    body[17] = (body[17] + body[17, list(H36M.mirror)]) / 2
    _, exchanged = repair_left_right(track_of(body))
    assert not np.delete(exchanged, 17).any()


def test_each_side_of_a_long_absence_is_voted_on_by_itself():
    body = exchange(walker(160), np.r_[10:25, 95:130])
    body[60:95] = np.nan  # 1.2 s; the second stretch then begins with an exchange of 35 frames
    body = np.concatenate([body, walker(40, seed=5)])
    _, exchanged = repair_left_right(track_of(body))
    np.testing.assert_array_equal(np.flatnonzero(exchanged), [*range(10, 25), *range(95, 130)])


def test_confidence_and_3d_are_exchanged_with_the_joints():
    body = walker(60)
    left = np.array([name.startswith("left") for name in H36M.joints])
    confidence = np.broadcast_to(np.where(left, 0.9, 0.5), (60, 17)).copy()
    world = np.broadcast_to(left[:, None] * 1.0, (60, 17, 3)).copy()
    track = replace(
        track_of(exchange(body, [30, 31])),
        confidence=exchange(confidence[..., None], [30, 31])[..., 0],
        world=exchange(world, [30, 31]),
    )
    repaired, _ = repair_left_right(track)
    np.testing.assert_array_equal(repaired.confidence, confidence)
    np.testing.assert_array_equal(repaired.world, world)


@pytest.mark.parametrize("frames", [1, 2, 3, 4])
def test_clips_too_short_to_judge_pass_unchanged(frames):
    track = track_of(walker(frames))
    assert repair_left_right(track)[0] is track


def test_a_track_without_any_joint_passes_unchanged():
    track = track_of(np.full((10, 17, 2), np.nan))
    repaired, exchanged = repair_left_right(track)
    assert repaired is track
    assert not exchanged.any()


# --- holes in time, slow clips ------------------------------------------------------------------


def seen(people: np.ndarray) -> list[Detections]:
    """Detections of (T, P, 17, 2)."""
    sure = np.full(people.shape[1:3], 0.9)
    return [
        Detections(keypoints=frame, confidence=sure, score=sure[:, 0], skeleton="h36m17")
        for frame in people
    ]


def tracked(people: np.ndarray, time_s: np.ndarray) -> list[Track2D]:
    fps = (len(time_s) - 1) / (time_s[-1] - time_s[0])
    return build_tracks(seen(people), time_s=time_s, image_size=(1280, 720), fps=fps)


def test_someone_who_stays_through_a_hole_in_time_keeps_the_identity():
    time_s = np.arange(30) / FPS + np.where(np.arange(30) < 15, 0, 3600)
    (track,) = tracked(walker(30)[:, None], time_s)
    assert np.isfinite(track.keypoints).all()


@pytest.mark.parametrize("fps", [0.9, 0.1, 1e-5])
def test_people_of_slow_clips_are_followed_wherever_they_are(fps: float):
    time_s = np.arange(8) / fps
    shift = np.random.default_rng(1).uniform(-400, 400, (8, 1, 2))
    (track,) = tracked((walker(8) + shift)[:, None], time_s)
    assert np.isfinite(track.keypoints).all()


def test_someone_in_one_frame_of_a_slow_clip_is_somebody():
    people = seen(walker(8)[:, None])
    people = [frame if index == 5 else seen(np.zeros((1, 0, 17, 2)))[0] for index, frame in
              enumerate(people)]  # fmt: skip
    tracks = build_tracks(people, time_s=np.arange(8) * 10.0, image_size=(1280, 720), fps=0.1)
    assert [np.isfinite(track.keypoints).all((1, 2)).sum() for track in tracks] == [1]


def test_a_long_slow_clip_of_passers_by_does_not_fill_the_memory():
    empty = seen(np.zeros((1, 0, 17, 2)))[0]
    people = [one if index % 2 else empty for index, one in enumerate(seen(walker(400)[:, None]))]
    tracks = build_tracks(people, time_s=np.arange(400) * 10.0, image_size=(1280, 720), fps=0.1)
    assert len(tracks) == 50


def test_a_false_track_beside_a_hole_in_time_is_dropped_as_elsewhere():
    people = seen(walker(60)[:, None])
    false = walker(60) * 0.3
    for frame in (10, 11, 12):
        people[frame] = seen(np.stack([walker(60), false], 1))[frame]
    time_s = np.arange(60) / FPS + np.where(np.arange(60) < 30, 0, 3600)
    tracks = build_tracks(people, time_s=time_s, image_size=(1280, 720), fps=60 / 3602)
    assert len(tracks) == 1
