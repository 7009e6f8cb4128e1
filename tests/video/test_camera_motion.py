"""Made-up cameras whose movements are known, and real clips filmed from a tripod."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import cache

import cv2
import numpy as np
import pytest

from lithepose.cameras import Camera, look_at
from lithepose.pipeline.demo import FILES
from lithepose.synthetic.rooms import render_room
from lithepose.video import CameraMotion, CameraWatch, VideoWriter, open_video

SIZE = (640, 360)
FPS = 20
NOBODY = np.zeros((0, 17, 2))


@cache
def textured(size=(1600, 1000), seed=0) -> np.ndarray:
    """A still of soft noise and boxes."""
    rng = np.random.default_rng(seed)
    width, height = size
    picture = np.full((height, width, 3), 128, np.float32)
    for cells in (8, 40):
        soft = rng.normal(0, 14, (cells, cells, 3)).astype(np.float32)
        picture += cv2.resize(soft, size, interpolation=cv2.INTER_CUBIC)
    for _ in range(width * height // 8000):
        x, y, w, h = rng.integers((0, 0, 8, 8), (width, height, 90, 90)).tolist()
        cv2.rectangle(picture, (x, y), (x + w, y + h), rng.integers(20, 236, 3).tolist(), -1)
    return np.clip(picture, 0, 255).astype(np.uint8)


@cache
def grain(size: tuple[int, int], noise: float) -> np.ndarray:
    """The noise of seven frames: another one for every frame that is looked at."""
    return np.random.default_rng(1).normal(0, noise, (7, *size[::-1], 3)).astype(np.int16)


def shift(x: float, y: float = 0.0) -> np.ndarray:
    return np.array([[1.0, 0, x], [0, 1, y]])


def about_middle(turn_deg: float = 0.0, zoom: float = 1.0, size=SIZE) -> np.ndarray:
    return cv2.getRotationMatrix2D((size[0] / 2, size[1] / 2), turn_deg, zoom)


def film(
    movement: Callable[[float], np.ndarray] | None = None,
    *,
    seconds: float = 3.0,
    size: tuple[int, int] = SIZE,
    noise: float = 2.0,
    gain: Callable[[float], float] = lambda _: 1.0,
    picture: np.ndarray | None = None,
) -> list[np.ndarray]:
    """What a camera sees of a still: (2, 3) of the time in seconds moves the picture."""
    picture = textured() if picture is None else picture
    middle = np.eye(3)
    middle[:2, 2] = (np.array(size) - picture.shape[1::-1]) / 2
    frames = []
    for index in range(round(seconds * FPS)):
        matrix = np.eye(3) if movement is None else np.vstack([movement(index / FPS), [0, 0, 1]])
        frame = cv2.warpAffine(picture, (matrix @ middle)[:2], size)
        frame = cv2.convertScaleAbs(frame, alpha=gain(index / FPS))
        frames.append(cv2.add(frame, grain(size, noise)[index % 7], dtype=cv2.CV_8U))
    return frames


def with_walker(frames: list[np.ndarray], wide: float = 0.25):
    """The frames with a striped block that crosses them, and joints (1, 17, 2) at its corners."""
    height, width = frames[0].shape[:2]
    block = textured((int(wide * width), int(0.8 * height)), seed=5)
    people = []
    for index, frame in enumerate(frames):
        left = int((width - block.shape[1]) * index / max(len(frames) - 1, 1))
        frame[-block.shape[0] :, left : left + block.shape[1]] = block
        joints = np.full((1, 17, 2), np.nan)
        joints[0, 3] = left, height - block.shape[0]
        joints[0, 9] = left + block.shape[1], height
        people.append(joints)
    return frames, people


def watch(
    frames: Iterable[np.ndarray],
    people: list[np.ndarray] | None = None,
    fps: float = FPS,
    focal_px=None,
) -> CameraMotion:
    watched = None
    for index, frame in enumerate(frames):
        watched = watched or CameraWatch(frame.shape[1::-1], focal_px=focal_px)
        watched.add(frame, index / fps, NOBODY if people is None else people[index])
    assert watched is not None
    return watched.finish()


def compressed(frames: list[np.ndarray], path) -> list[np.ndarray]:
    with VideoWriter(path, size=frames[0].shape[1::-1], fps=FPS) as writer:
        for frame in frames:
            writer.write(frame)
    with open_video(path) as video:
        return [frame.image for frame in video]


# --- a camera that stands still --------------------------------------------------------------


def assert_still(motion: CameraMotion) -> None:
    assert motion.kind == "still", motion.reason
    assert not motion.moves
    assert motion.cuts == ()
    assert motion.at_s is None
    assert motion.share < 0.0025
    assert "stands still" in motion.reason


@pytest.mark.parametrize("noise", [0, 2, 20])
def test_a_tripod_stands_still_whatever_the_sensors_noise(noise):
    motion = watch(film(noise=noise))
    assert_still(motion)
    assert motion.seen == motion.looks == 12
    assert motion.steady_s == (0.0, 2.75)


def test_a_tripod_stands_still_after_compression(tmp_path):
    assert_still(watch(compressed(film(), tmp_path / "clip.mp4")))


def test_flicker_and_exposure_are_no_movement():
    lamp = np.random.default_rng(3).uniform(0.75, 1.25, 60)
    assert_still(watch(film(gain=lambda t: lamp[round(t * FPS)])))
    assert_still(watch(film(gain=lambda t: 1 - 0.25 * t)))


def test_a_light_that_goes_out_is_no_cut():
    motion = watch(film(gain=lambda t: 0.01 if 1 < t < 2 else 1.0))
    assert_still(motion)
    assert motion.seen < motion.looks


def test_a_person_who_crosses_the_picture_is_no_movement():
    frames, people = with_walker(film(), wide=0.35)
    assert_still(watch(frames, people))
    # Nor is one whom nobody detected.
    assert_still(watch(frames))


def test_leaves_in_most_of_the_picture_are_no_movement():
    picture = textured()
    width, height = SIZE
    y, x = np.mgrid[:height, :width].astype(np.float32)
    phase = cv2.resize(np.random.default_rng(2).uniform(0, 6, (6, 10)).astype(np.float32), SIZE)
    frames = []
    for index, frame in enumerate(film(picture=picture)):
        wind = 4 * np.sin(phase + 0.3 * index) * (y < 0.7 * height)
        frames.append(cv2.remap(frame, x + wind, y, cv2.INTER_LINEAR))
    assert_still(watch(frames))


def test_a_knock_does_not_last():
    motion = watch(film(lambda t: shift(20 * (1 < t < 1.3))))
    assert_still(motion)


def test_a_hand_before_the_lens_is_no_cut():
    frames = film()
    hand = textured(SIZE, seed=9)
    frames[20:30] = [hand] * 10
    motion = watch(frames)
    assert_still(motion)
    assert motion.seen < motion.looks


def test_the_rendered_demonstration_stands_still():
    with open_video(str(FILES / "demo.mp4")) as video:
        frames = [cv2.resize(frame.image, (480, 270)) for frame in video][::8]
    assert_still(watch(frames, fps=4))


def test_an_upright_picture_is_watched_like_any_other():
    size = (360, 640)
    assert_still(watch(film(size=size)))
    motion = watch(film(lambda t: shift(20 * (t > 1)), size=size))
    assert motion.moves
    assert motion.share == pytest.approx(20 / 360, abs=0.002)


# --- a camera that moves ---------------------------------------------------------------------


@pytest.mark.parametrize(("x", "y"), [(25, 0), (0, -18), (-40, 30)])
def test_the_displacement_is_measured(x, y):
    motion = watch(film(lambda t: shift(x, y) if t > 1.5 else shift(0)))
    length = np.hypot(x, y)
    assert motion.moves
    assert motion.displacement_px == pytest.approx(length, abs=0.6)
    assert motion.share == pytest.approx(length / 640, abs=0.001)
    # The long side stands for the focal length: 640 px.
    assert motion.degrees == pytest.approx(np.degrees(np.arctan(length / 640)), abs=0.06)
    assert motion.path_error_m == pytest.approx(4 * length / 640, abs=0.005)
    assert motion.at_s == pytest.approx(1.75, abs=0.3)


def test_turn_and_zoom_move_the_picture_about_its_middle():
    # Of the nine points of the grid four are in the corners (320, 180), two at the sides (320),
    # two above and below (180) and one is in the middle:
    # mean square = (4 (320² + 180²) + 2 · 320² + 2 · 180²) / 9 = 6 (320² + 180²) / 9.
    spread = np.sqrt(6 * (320**2 + 180**2) / 9)  # 299.8 px
    rolled = watch(film(lambda t: about_middle(2.0 * (t > 1.5))))
    assert rolled.displacement_px == pytest.approx(2 * np.sin(np.radians(1)) * spread, rel=0.05)
    zoomed = watch(film(lambda t: about_middle(zoom=1 + 0.04 * (t > 1.5))))
    assert zoomed.displacement_px == pytest.approx(0.04 * spread, rel=0.05)
    assert rolled.moves
    assert zoomed.moves


def test_a_pan_too_slow_to_see_adds_up():
    # 0.16 pixels between two frames.
    motion = watch(film(lambda t: shift(3.2 * t), seconds=5))
    assert motion.moves
    assert motion.displacement_px == pytest.approx(3.2 * 4.5, abs=1.0)


def test_a_pan_is_followed_over_several_pictures():
    frames, people = with_walker(film(lambda t: shift(240 * (t - 1.5)), seconds=3))
    motion = watch(frames, people)
    assert motion.moves
    assert motion.cuts == ()
    assert motion.seen == motion.looks
    assert motion.displacement_px == pytest.approx(240 * 2.5, rel=0.1)


def test_a_fast_swing_is_a_movement_and_no_cut():
    motion = watch(film(lambda t: shift(470 * np.sin(2.5 * t))))
    assert motion.moves
    assert motion.cuts == ()


def test_compression_hides_no_pan(tmp_path):
    frames = compressed(film(lambda t: shift(6 * t)), tmp_path / "clip.mp4")
    assert watch(frames).displacement_px == pytest.approx(6 * 2.5, abs=2)


def test_a_small_sway_is_a_shake_and_a_large_one_a_movement():
    small = watch(film(lambda t: shift(2.5 * np.sin(2 * t))))
    assert small.kind == "shaking"
    assert not small.moves
    assert "carries a person 4 m away by" in small.reason
    large = watch(film(lambda t: shift(12 * np.sin(2 * t))))
    assert large.kind == "moving"
    # So fast that nothing of it lasts.
    assert watch(film(lambda t: shift(12 * np.sin(9 * t)))).moves


def test_the_threshold_is_an_angle_so_the_focal_length_counts():
    frames = film(lambda t: shift(12 * (t > 1.5)))
    # 4 m · 12 px / 640 px = 7.5 cm, more than 5 cm; through a lens of 2000 px it is 2.4 cm.
    assert watch(frames).kind == "moving"
    tele = watch(frames, focal_px=2000.0)
    assert tele.kind == "shaking"
    assert tele.path_error_m == pytest.approx(0.024, abs=0.001)


def test_a_camera_that_turns_in_a_room_is_told_its_angle():
    def seen(degrees):
        angle = np.radians(degrees)
        position = np.array([0.3, -3.4, 1.4])
        camera = Camera(
            focal_px=(500.0, 500.0),
            centre_px=(320.0, 180.0),
            image_size=SIZE,
            rotation=look_at(position, position + [np.sin(angle), np.cos(angle), -0.1]),
            position=position,
        )
        return render_room(camera, np.random.default_rng(3), outdoors=False)[0]

    still, turned = seen(0), seen(3)
    motion = watch([still] * 4 + [turned] * 4, fps=4, focal_px=500.0)
    assert motion.moves
    assert motion.cuts == ()
    assert motion.degrees == pytest.approx(3, abs=0.3)


def test_the_steady_stretch_ends_where_the_camera_is_picked_up():
    motion = watch(film(lambda t: shift(100 * max(0, t - 3)), seconds=4))
    assert motion.moves
    assert motion.at_s == pytest.approx(3.25, abs=0.26)
    assert motion.steady_s is not None
    assert motion.steady_s[0] == 0
    assert motion.steady_s[1] == pytest.approx(3.0, abs=0.3)


# --- cuts ------------------------------------------------------------------------------------


def test_a_cut_is_found_at_its_frame():
    first = film(seconds=1.6)
    second = film(seconds=2, picture=textured(seed=8))
    motion = watch(first + second)
    assert motion.cuts == (pytest.approx(1.6),)
    assert motion.kind == "still"
    assert motion.reason.endswith("another scene begins at 1.60 s")
    assert motion.steady_s == (pytest.approx(1.6), pytest.approx(3.5))


def test_a_cut_back_is_a_cut_too():
    scenes = [film(seconds=2, picture=textured(seed=seed)) for seed in (0, 8, 0)]
    motion = watch(frame for scene in scenes for frame in scene)
    assert motion.cuts == (pytest.approx(2.0), pytest.approx(4.0))


def test_a_fade_to_another_scene_is_not_taken_for_one_shot():
    first, second = film(seconds=4), film(seconds=4, picture=textured(seed=8))
    share = np.clip(np.arange(80) / FPS - 1.5, 0, 1)
    frames = [
        (a * (1 - s) + b * s).astype(np.uint8) for a, b, s in zip(first, second, share, strict=True)
    ]
    motion = watch(frames)
    assert motion.moves
    assert "a swing or a fade" in motion.reason
    assert 1.5 <= motion.at_s <= 2.5


# --- clips that tell nothing -----------------------------------------------------------------


def assert_unknown(motion: CameraMotion) -> None:
    assert motion.kind == "unknown", motion.reason
    assert not motion.moves
    assert motion.cuts == ()
    assert motion.reason.startswith("cannot tell whether the camera moves")


@pytest.mark.parametrize("noise", [0, 2, 20])
@pytest.mark.parametrize("grey", [3, 150])
def test_a_blank_picture_tells_nothing(grey, noise):
    picture = np.full((500, 900, 3), grey, np.uint8)
    assert_unknown(watch(film(picture=picture, noise=noise)))


def test_a_person_who_fills_the_picture_tells_nothing():
    frames, _ = with_walker(film(), wide=0.9)
    joints = np.full((1, 17, 2), np.nan)
    joints[0, :2] = (20, 10), (620, 350)
    assert_unknown(watch(frames, [joints] * len(frames)))


def test_one_frame_and_two_frames_are_too_short():
    frames = film(seconds=0.1)
    assert_unknown(watch(frames[:1]))
    assert "shorter than 0.25 s" in watch(frames).reason
    assert_unknown(CameraWatch(SIZE).finish())


def test_two_frames_far_apart_can_be_compared():
    frames = film(lambda t: shift(15 * (t > 0)), seconds=0.1)
    assert watch(frames, fps=1).moves
    assert watch(frames[:1] * 2, fps=1).kind == "still"


@pytest.mark.parametrize("size", [(1, 1), (8, 500), (500, 2), (40, 33), (161, 97)])
def test_small_pictures_do_no_harm(size):
    motion = watch(film(size=size, seconds=1))
    assert not motion.moves
    if min(size) < 32:
        assert_unknown(motion)


def test_pictures_without_any_order_do_no_harm():
    rng = np.random.default_rng(0)
    scenes = [film(seconds=0.1, picture=textured(seed=seed))[0] for seed in range(4)]
    scenes += [np.zeros_like(scenes[0]), rng.integers(0, 256, scenes[0].shape, np.uint8)]
    for rate in (2, 20):
        order = rng.integers(len(scenes), size=80)
        joints = rng.uniform(-200, 900, (80, 2, 17, 2))
        motion = watch((scenes[i] for i in order), list(joints), fps=rate)
        assert np.isfinite(motion.share)
        assert motion.kind in ("unknown", "still", "moving")


def test_a_person_with_no_joint_seen_is_nobody():
    frames = film(seconds=1)
    assert_still(watch(frames, [np.full((2, 17, 2), np.nan)] * len(frames)))


# --- the interface ---------------------------------------------------------------------------


def test_the_frames_are_not_kept():
    watched = CameraWatch(SIZE)
    buffer = np.empty((360, 640, 3), np.uint8)
    for index, frame in enumerate(film()):
        buffer[:] = frame
        watched.add(buffer, index / FPS, NOBODY)
        buffer[:] = 0
    assert_still(watched.finish())


def test_a_verdict_may_be_asked_for_at_any_time():
    frames = film(lambda t: shift(30 * (t > 1.5)))
    watched = CameraWatch(SIZE)
    for index, frame in enumerate(frames):
        watched.add(frame, index / FPS, NOBODY)
        if index == 25:
            assert_still(watched.finish())
    assert watched.finish() == watched.finish() == watch(frames)
    assert watched.finish().moves


def test_a_verdict_can_be_written_as_json():
    for frames in (film(seconds=1), film(lambda t: shift(30 * t)), film(seconds=0.1)):
        motion = watch(frames)
        assert json.loads(json.dumps(asdict(motion)))["kind"] == motion.kind


def test_wrong_frames_are_refused():
    watched = CameraWatch(SIZE)
    frame = film(seconds=0.1)[0]
    with pytest.raises(ValueError, match=r"must be \(360, 640, 3\) uint8, not \(360, 639, 3\)"):
        watched.add(frame[:, :-1], 0.0, NOBODY)
    with pytest.raises(ValueError, match=r"uint8, not .* float32"):
        watched.add(frame.astype(np.float32), 0.0, NOBODY)
    with pytest.raises(ValueError, match="P = 0 for nobody"):
        watched.add(frame, 0.0, np.zeros((17, 2)))
    watched.add(frame, 0.5, NOBODY)
    for time_s in (0.5, 0.1, np.nan, np.inf):
        with pytest.raises(ValueError, match="in the order they are shown"):
            watched.add(frame, time_s, NOBODY)


def test_wrong_sizes_and_lenses_are_refused():
    with pytest.raises(ValueError, match=r"give \(width, height\)"):
        CameraWatch((0, 360))
    for focal_px in (0.0, -5.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="focal_px"):
            CameraWatch(SIZE, focal_px=focal_px)


# --- real clips ------------------------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize("name", ["sports2d_demo.mp4", "walk_single.mp4"])
def test_real_clips_from_a_tripod_stand_still(shared, name):
    with open_video(shared(f"video/{name}")) as video:
        motion = watch((frame.image for frame in video), fps=video.fps)
    assert_still(motion)
    assert motion.share < 0.001


@pytest.mark.shared
@pytest.mark.parametrize("speed", [5, 40, 120])
def test_a_window_that_wanders_over_a_real_clip_moves(shared, speed):
    keypoints = np.load(shared("video/walk_single_mediapipe2d.npz"))["kp2d"]
    frames, people = [], []
    with open_video(shared("video/walk_single.mp4")) as video:
        fps = video.fps
        for frame, joints in zip(video, keypoints, strict=True):
            left = abs((speed * frame.time_s + 450) % 900 - 450)
            matrix = shift(-left)
            frames.append(cv2.warpAffine(frame.image, matrix, (1318, 564)))
            people.append(joints[None] - (left, 0))
    motion = watch(frames, people, fps=fps)
    assert motion.moves
    assert motion.cuts == ()
    # The clip lasts 4.2 s; at either end a quarter of a second does not last.
    assert motion.displacement_px == pytest.approx(speed * 3.7, rel=0.15)
