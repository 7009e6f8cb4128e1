"""Drawings are tested by what a viewer relies on: where colours are, what is left alone, timing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lithepose.poses import Track3D
from lithepose.skeletons import SKELETONS
from lithepose.video import VideoError, VideoWriter, open_video
from lithepose.view import overlay as overlays
from lithepose.view.overlay import Overlay, draw_still, write_overlay
from lithepose.view.scene3d import View3D, ViewPath, draw_pose_3d, fit_view
from lithepose.view.skeleton2d import draw_skeleton
from lithepose.view.strokes import LEFT, RIGHT

BODY = SKELETONS["h36m17"]
# A person 1.7 m tall who faces the camera: x right, y down, z ahead, around the pelvis.
STANDING = np.array(
    [
        [0, 0, 0], [-0.13, 0, 0], [-0.13, 0.45, 0], [-0.13, 0.88, 0], [0.13, 0, 0],
        [0.13, 0.45, 0], [0.13, 0.88, 0], [0, -0.25, 0], [0, -0.5, 0], [0, -0.6, -0.1],
        [0, -0.75, 0], [0.17, -0.5, 0], [0.35, -0.3, 0], [0.5, -0.1, 0], [-0.17, -0.5, 0],
        [-0.35, -0.3, 0], [-0.5, -0.1, 0],
    ],
    float,
)  # fmt: skip
SIZE = (96, 64)
FRAMES = 8


def make_track(person: int = 0, *, shift: float = 0.0, frames: int = FRAMES, **changes) -> Track3D:
    """A person who walks to the right, 5 cm per frame, seen by a camera of focal length 90."""
    joints = STANDING[None] + np.array([shift, 0.0, 4.0])
    joints = joints + np.arange(frames)[:, None, None] * np.array([0.05, 0, 0])
    keypoints = 90 * joints[..., :2] / joints[..., 2:] + np.array(SIZE) / 2
    track = Track3D(
        person=person,
        joints_camera=np.asarray(joints, float),
        confidence=np.ones((frames, 17)),
        keypoints_2d=keypoints,
        derived=np.zeros(17, bool),
        time_s=np.arange(frames) / 20,
        fps=20.0,
        image_size=SIZE,
        focal_px=90.0,
    )
    return replace(track, **changes)


def make_clip(path: Path, times: list[float] | None = None) -> Path:
    times = [index / 20 for index in range(FRAMES)] if times is None else times
    with VideoWriter(path, size=SIZE, fps=20) as writer:
        for index, time_s in enumerate(times):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 30 + 20 * index, np.uint8), time_s)
    return path


def share_of(image: np.ndarray, colour: tuple[int, int, int], tolerance: int = 60) -> float:
    """Share of the pixels that have about this colour."""
    return float((np.abs(image.astype(int) - colour).max(axis=-1) < tolerance).mean())


# ---- 2D ------------------------------------------------------------------------------------------


def test_left_is_orange_right_is_blue_and_the_input_stays():
    image = np.zeros((400, 400, 3), np.uint8)
    keypoints = STANDING[:, :2] * 200 + 200
    drawn = draw_skeleton(image, keypoints, np.ones(17))
    assert not image.any()
    # The person faces us, so that their left half is the right half of the picture.
    assert share_of(drawn[:, 210:], LEFT) > 0.002
    assert share_of(drawn[:, 210:], RIGHT) == 0
    assert share_of(drawn[:, :190], RIGHT) > 0.002
    assert share_of(drawn[:, :190], LEFT) == 0


def test_a_joint_is_drawn_at_its_continuous_pixel():
    image = np.zeros((21, 21, 3), np.uint8)
    keypoints = np.full((17, 2), np.nan)
    keypoints[0] = (10.5, 10.5)  # the centre of pixel (10, 10)
    drawn = draw_skeleton(image, keypoints, np.ones(17), thickness=4).astype(float).sum(axis=2)
    rows, columns = np.mgrid[:21, :21]
    centre = (rows * drawn).sum() / drawn.sum(), (columns * drawn).sum() / drawn.sum()
    assert centre == pytest.approx((10, 10), abs=0.1)


def test_unsure_limbs_are_thinner_and_missing_ones_absent():
    image = np.zeros((400, 400, 3), np.uint8)
    keypoints = STANDING[:, :2] * 200 + 200
    confidence = np.ones(17)
    sure = share_of(draw_skeleton(image, keypoints, confidence), LEFT)
    confidence[[11, 12, 13]] = 0.2
    unsure = share_of(draw_skeleton(image, keypoints, confidence), LEFT)
    keypoints[[11, 12, 13]] = np.nan
    missing = share_of(draw_skeleton(image, keypoints, confidence), LEFT)
    assert sure > unsure > missing > 0
    nothing = draw_skeleton(image, np.full((17, 2), np.nan), np.zeros(17))
    assert not nothing.any()


@pytest.mark.parametrize("far", [1e6, -1e9, 1e300])
def test_joints_far_outside_the_picture_do_no_harm(far: float):
    keypoints = STANDING[:, :2] * 30 + 50
    keypoints[13] = far
    draw_skeleton(np.zeros((100, 100, 3), np.uint8), keypoints, np.ones(17))


@pytest.mark.parametrize("name", SKELETONS)
def test_every_joint_set_can_be_drawn(name: str):
    joints = len(SKELETONS[name])
    keypoints = np.random.default_rng(0).uniform(10, 90, (joints, 2))
    drawn = draw_skeleton(np.zeros((100, 100, 3), np.uint8), keypoints, np.ones(joints), name)
    assert drawn.any()


def test_arrays_that_do_not_fit_the_joint_set_say_so():
    image = np.zeros((10, 10, 3), np.uint8)
    with pytest.raises(ValueError, match="no joint set named 'h36m'; known: "):
        draw_skeleton(image, np.zeros((17, 2)), np.zeros(17), "h36m")
    with pytest.raises(ValueError, match=r"h36m17 needs keypoints \(17, 2\)"):
        draw_skeleton(image, np.zeros((33, 2)), np.zeros(33))


# ---- 3D ------------------------------------------------------------------------------------------


def test_the_centre_of_a_view_is_the_middle_of_the_picture_and_near_is_large():
    view = View3D(centre=(1.0, 2.0, 5.0), floor_y=3.0, azimuth_deg=0.0, elevation_deg=0.0)
    points = np.array([[1, 2, 5], [1.5, 2, 5], [1, 1.5, 5], [1, 2, 4], [1, 2, -99]], float)
    pixels, scale, before = view.project(points, (300, 200))
    assert pixels[0] == pytest.approx((150, 100))
    assert pixels[1][0] > 150  # right stays right
    assert pixels[2][1] < 100  # up stays up
    assert scale[3] > scale[0]
    assert before.tolist() == [True, True, True, True, False]


def test_a_viewer_above_sees_far_floor_higher_in_the_picture():
    view = View3D(centre=(0.0, 0.0, 5.0), floor_y=1.0, azimuth_deg=0.0)
    pixels, _, _ = view.project(np.array([[0, 1, 5], [0, 1, 6]], float), (200, 200))
    assert pixels[1][1] < pixels[0][1]


def test_the_viewer_stands_on_the_side_that_the_person_faces():
    def turned(degrees: float) -> np.ndarray:
        a = np.radians(degrees)
        about_y = np.array([[np.cos(a), 0, np.sin(a)], [0, 1, 0], [-np.sin(a), 0, np.cos(a)]])
        return STANDING @ about_y.T + [0, 0, 4]

    for degrees in (60, -60):
        joints = turned(degrees)
        nose_x = joints[9, 0] - joints[10, 0]  # the nose is ahead of the head top
        view = fit_view(joints)
        assert np.sign(view.azimuth_deg) == np.sign(nose_x)


def test_a_fitted_view_holds_the_person_and_the_floor_is_under_the_feet():
    joints = STANDING + [0, 0, 4]
    view = fit_view(joints)
    pixels, _, _ = view.project(joints, (300, 300))
    assert pixels.min() > 5
    assert pixels.max() < 295
    assert view.floor_y == pytest.approx(0.88 + 0.08)


def test_a_pose_in_3d_has_both_colours_and_missing_people_leave_the_floor():
    drawn = draw_pose_3d(STANDING + [0, 0, 4], (320, 240))
    assert drawn.shape == (240, 320, 3)
    assert share_of(drawn, LEFT) > 0.005
    assert share_of(drawn, RIGHT) > 0.005
    empty = draw_pose_3d(np.full((2, 17, 3), np.nan), (320, 240))
    assert share_of(empty, LEFT) == 0
    assert len(np.unique(empty.reshape(-1, 3), axis=0)) > 2  # the grid
    pair = np.stack([STANDING + [-0.6, 0, 4], STANDING + [0.6, 0, 4]])
    pale = draw_pose_3d(pair, (320, 240), confidence=np.zeros((2, 17)))
    assert share_of(draw_pose_3d(pair, (320, 240)), LEFT) > 0.005
    assert share_of(pale, LEFT) == 0
    with pytest.raises(ValueError, match="joints must be"):
        draw_pose_3d(np.zeros((33, 3)))


def test_the_nearer_limb_covers_the_farther_one():
    joints = np.full((17, 3), np.nan)
    joints[[1, 2]] = [[0, -0.3, 4.3], [0, 0.3, 4.3]]  # right thigh, behind
    joints[[4, 5]] = [[0, -0.3, 3.7], [0, 0.3, 3.7]]  # left thigh, in front
    view = View3D(centre=(0, 0, 4), floor_y=0.9, azimuth_deg=0, elevation_deg=0)
    drawn = draw_pose_3d(joints, (200, 200), view=view)
    assert share_of(drawn[95:105, 98:102], LEFT, 90) == 1


# ---- Overlay -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "max_lines"),
    [
        ((1768, 994), 720),
        ((1080, 1920), 720),
        ((1768, 564), 720),
        ((64, 48), 720),
        ((640, 480), 401),
    ],
)
def test_the_layout_is_even_and_no_higher_than_asked(size: tuple[int, int], max_lines: int):
    composer = overlays._Composer(size, [], max_lines, "observed")
    width, lines = composer.size
    assert width % 2 == 0
    assert lines % 2 == 0
    assert 360 <= lines <= max_lines
    assert composer.clip_size[0] / composer.clip_size[1] == pytest.approx(
        size[0] / size[1], rel=0.02
    )
    assert 0.7 * lines <= width - composer.clip_size[0] <= lines + 1


def test_an_overlay_keeps_every_frame_and_its_time(tmp_path: Path):
    times = [0.0, 0.05, 0.1, 0.3, 0.35, 0.4, 0.9, 0.95]
    clip = make_clip(tmp_path / "clip.mp4", times)
    gap = make_track()
    gap.joints_camera[3:5] = np.nan
    gap.keypoints_2d[3:5] = np.nan
    gap.confidence[3:5] = 0
    out = tmp_path / "overlay.mp4"
    tracks = [gap, make_track(1, shift=0.6)]
    assert write_overlay(out, clip, tracks, max_lines=360) == FRAMES
    with open_video(out) as reader:
        assert reader.size[1] == 360
        frames = list(reader)
    assert [frame.time_s for frame in frames] == pytest.approx(times, abs=1e-4)
    panel = slice(540, None)
    for frame in frames:
        assert share_of(frame.image[:, panel], LEFT, 90) > 0.001
    assert share_of(frames[0].image[:, :540], LEFT, 90) > 0.001


def test_a_still_shows_the_chosen_overlay():
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    seen = make_track()
    unseen = replace(seen, keypoints_2d=np.full((FRAMES, 17, 2), np.nan))

    def left_and_white(track: Track3D, overlay: Overlay) -> tuple[bool, bool]:
        still = draw_still(image, track, 2, max_lines=400, overlay=overlay)
        clip = still[60:, :540]  # below the label
        return share_of(clip, LEFT, 90) > 0, share_of(clip, (255, 255, 255), 25) > 0

    assert left_and_white(seen, "observed") == (True, False)
    assert left_and_white(seen, "both") == (True, True)
    assert left_and_white(unseen, "observed") == (False, False)
    assert left_and_white(unseen, "reprojected") == (True, False)
    assert left_and_white(unseen, "both") == (False, True)


def test_people_are_numbered_in_their_order(monkeypatch: pytest.MonkeyPatch):
    written: list[str] = []
    monkeypatch.setattr(overlays, "write_chip", lambda canvas, text, *_: written.append(text))
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    # Identities have gaps where someone could not be lifted.
    draw_still(image, [make_track(4), make_track(2, shift=0.4)], 2)
    assert written == ["person 1", "person 2", "1", "2"]


def test_reprojection_returns_the_pixels_the_person_was_seen_at():
    track = make_track()
    np.testing.assert_allclose(overlays._reproject(track, 3), track.keypoints_2d[3], atol=1e-9)
    track.joints_camera[3, :, 2] = -1
    assert np.isnan(overlays._reproject(track, 3)).all()


def test_the_view_follows_someone_who_walks_far_and_stays_with_someone_who_does_not():
    near = ViewPath([make_track()])
    assert near.at(0) == near.at(FRAMES - 1)
    frames = 200  # ten metres
    track = make_track(frames=frames)
    track.joints_camera[50:90] = np.nan
    far = ViewPath([track])
    assert far.at(0).radius_m == far.at(frames - 1).radius_m < 2
    for index in (0, 20, 120, frames - 1):
        root = track.joints_camera[index, 0]
        assert np.abs(np.array(far.at(index).centre) - root)[[0, 2]].max() < 1
    # No jump while nobody is there.
    steps = [far.at(i + 1).centre[0] - far.at(i).centre[0] for i in range(frames - 1)]
    assert max(np.abs(steps)) < 0.06


def test_an_overlay_without_people_is_still_a_video(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4")
    out = tmp_path / "overlay.mp4"
    assert write_overlay(out, clip, [], max_lines=360) == FRAMES
    nobody = make_track()
    nobody.joints_camera[:] = np.nan
    nobody.keypoints_2d[:] = np.nan
    assert write_overlay(out, clip, [nobody], max_lines=360) == FRAMES


def test_tracks_of_another_clip_are_refused(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4")
    out = tmp_path / "overlay.mp4"
    with pytest.raises(ValueError, match="different clips"):
        write_overlay(out, clip, [make_track(), make_track(1, frames=3)])
    with pytest.raises(ValueError, match="96 x 64"):
        write_overlay(out, clip, [make_track(image_size=(640, 480))])
    with pytest.raises(ValueError, match="at least 360 lines"):
        write_overlay(out, clip, [make_track()], max_lines=100)
    with pytest.raises(ValueError, match="not one of the track's 8 frames"):
        draw_still(np.zeros((64, 96, 3), np.uint8), make_track(), 8)
    with pytest.raises(FileNotFoundError, match="no video"):
        write_overlay(out, tmp_path / "none.mp4", [])
    (tmp_path / "text.mp4").write_text("words")
    with pytest.raises(VideoError):
        write_overlay(out, tmp_path / "text.mp4", [])
    assert not out.exists()
    with pytest.warns(UserWarning, match="8 frames, the people 5"):
        write_overlay(out, clip, [make_track(frames=5)], max_lines=360)


def test_a_range_of_a_clip_gives_the_overlay_of_that_range(tmp_path: Path):
    clip = make_clip(tmp_path / "clip.mp4")
    out = tmp_path / "overlay.mp4"
    track = make_track(frames=4)
    assert write_overlay(out, clip, [track], max_lines=360, start_s=0.1, end_s=0.3) == 4


@pytest.mark.shared
def test_a_real_clip_gets_an_overlay_of_all_frames(tmp_path: Path, shared: Callable[[str], Path]):
    clip = shared("video/walk_single.mp4")
    out = tmp_path / "overlay.mp4"
    assert write_overlay(out, clip, [], end_s=0.5) == 15
    with open_video(out) as reader:
        assert reader.size == (1364, 404)
