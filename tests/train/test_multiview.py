"""Views of one instant: that they are of one instant, and that nothing else is the same."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.cameras import Camera, look_at
from lithepose.datasets.sequences import PoseSequence
from lithepose.lifters.windows import LIMBS, MIRROR, look_at_person, with_midpoints
from lithepose.mocap import windows as clips
from lithepose.mocap.motions import BONE_OF_JOINT, Motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import WindowSettings
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion
from lithepose.train.tasks.poseclr import (
    RECORDINGS_APART,
    SCREEN_FOCAL,
    Centres,
    SynchronisedViews,
    VirtualViews,
    instants_of,
    recordings_of,
)

SMALL = WindowSettings(frames=9, targets=1)


def recorded(trial: str = "Walking", views: int = 4, frames: int = 30, fps: float = 50.0) -> Any:
    """A trial before cameras on a circle; each begins to run on a few frames more."""
    random = np.random.default_rng(len(trial))
    joints = motion("walk", frames / 50, 50, random_body(random), random)
    sequences = []
    for i in range(views):
        angle = 2 * np.pi * i / views
        place = np.array([4 * np.cos(angle), 4 * np.sin(angle), 1.5])
        camera = Camera(
            focal_px=(1100.0, 1100.0),
            centre_px=(510.0, 500.0),
            image_size=(1000, 1000),
            rotation=look_at(place, np.array([0.0, 0.0, 1.0])),
            position=place,
        )
        local = camera.world_to_camera(joints)
        sequences.append(
            PoseSequence(
                subject="S1",
                action=trial.split()[0],
                trial=trial,
                view=str(i),
                keypoints=camera.project(joints),
                keypoints_skeleton="h36m17",
                joints_camera=(local - local[:, :1]).astype(np.float32),
                root_camera=local[:, 0],
                skeleton="h36m17",
                counted=np.ones(frames, bool),
                image_size=(1000, 1000),
                fps=fps,
                camera=camera,
            )
        )
    return sequences


@pytest.fixture(scope="module")
def sequences() -> list[PoseSequence]:
    return [*recorded("Walking"), *recorded("Eating 1", frames=20)]


@pytest.fixture(scope="module")
def motions() -> Motions:
    random = np.random.default_rng(0)
    body = random_body(random)
    parts = [motion(name, 1.0, 50, body, random) for name in ("walk", "wave")]
    return Motions(
        positions=np.concatenate(parts).astype(np.float32),
        start=np.array([0, 50, 100]),
        fps=50.0,
        clip=np.array(["a", "b"]),
        subject=np.array(["1", "1"]),
        lengths=np.full((2, len(BONE_OF_JOINT)), 0.3, np.float32),
        height=np.array([1.7, 1.7], np.float32),
    )


def draw(examples: Any, indices: Any, seed: int = 0) -> dict[str, np.ndarray]:
    return examples.draw(np.asarray(indices), np.random.default_rng(seed))


def test_instants_of_a_recording_differ_by_frames_and_recordings_lie_apart():
    numbers = instants_of(np.array([0, 30, 50]), np.array([0, 1, 29, 30, 49]))
    assert numbers.dtype == np.int32
    assert np.diff(numbers).tolist() == [1, 28, RECORDINGS_APART + 1, 19]


def test_views_of_real_cameras_show_one_stretch_of_time(sequences: list[PoseSequence]):
    examples = SynchronisedViews(sequences, frames=5, channels=2, mirror=0.0)
    assert (len(examples), examples.views) == (50, 4)
    drawn = draw(examples, [0, 12, 35, 49])
    assert drawn["views"].shape == (4, 4, 5, 17, 2)
    assert drawn["views"].dtype == np.float32
    # Frames before the first and after the last one stand still.
    frames = [[0, 0, 0, 1, 2], [10, 11, 12, 13, 14], [3, 4, 5, 6, 7], [17, 18, 19, 19, 19]]
    for row, (trial, of) in enumerate(zip((0, 0, 1, 1), frames, strict=True)):
        expected = [s.keypoints_screen[of] for s in sequences[4 * trial : 4 * trial + 4]]
        found = [
            int(np.argmin([np.abs(view - e).max() for e in expected]))
            for view in drawn["views"][row]
        ]
        assert sorted(found) == [0, 1, 2, 3]  # every camera once
        for view, camera in zip(drawn["views"][row], found, strict=True):
            np.testing.assert_allclose(view, expected[camera], atol=1e-6)
    assert drawn["instants"].tolist() == [0, 12, 35 + RECORDINGS_APART, 49 + RECORDINGS_APART]


def test_any_camera_may_be_the_anchor_and_fewer_views_take_turns(sequences: list[PoseSequence]):
    examples = SynchronisedViews(sequences, frames=1, channels=2, views=2, mirror=0.0)
    views = draw(examples, np.full(64, 7))["views"][:, :, 0]
    expected = np.stack([s.keypoints_screen[7] for s in sequences[:4]])
    apart = np.abs(views[:, :, None] - expected).max((-1, -2))  # (64, 2, 4)
    cameras = apart.argmin(-1)
    assert set(cameras[:, 0]) == set(cameras[:, 1]) == {0, 1, 2, 3}
    assert (cameras[:, 0] != cameras[:, 1]).all()


def test_all_views_of_an_instant_are_mirrored_or_none(sequences: list[PoseSequence]):
    plain = SynchronisedViews(sequences, frames=1, channels=2, mirror=0.0)
    half = SynchronisedViews(sequences, frames=1, channels=2, mirror=0.5)
    straight, maybe = (draw(e, np.full(40, 9))["views"] for e in (plain, half))
    turned = straight[..., MIRROR, :] * np.array([-1, 1], np.float32)
    same = (maybe == straight).all((1, 2, 3, 4))
    mirrored = (maybe == turned).all((1, 2, 3, 4))
    assert (same ^ mirrored).all()
    assert 8 < mirrored.sum() < 32


def test_windows_that_look_at_the_person_come_from_calibrated_rays(
    sequences: list[PoseSequence],
):
    examples = SynchronisedViews(sequences, frames=3, channels=4, views=2, mirror=0.0)
    views = draw(examples, [10])["views"][0]
    assert views.shape == (2, 3, 17, 4)
    expected = []
    for sequence in sequences[:4]:
        # 50 frames per second are taken at 25, the rate that these lifters are trained for.
        local = sequence.absolute_camera[[8, 10, 12]]
        rays, sure = with_midpoints(local[..., :2] / local[..., 2:], np.ones((3, 17)))
        expected.append(look_at_person(rays[None], sure[None]).values[0])
    for view in views:
        assert min(np.abs(view - e).max() for e in expected) < 2e-4


def test_three_channels_add_a_confidence(sequences: list[PoseSequence]):
    views = draw(SynchronisedViews(sequences, frames=1, channels=3), [3])["views"]
    assert views.shape == (1, 4, 1, 17, 3)
    assert (views[..., 2] == 1).all()


def test_joints_of_other_sets_are_converted(sequences: list[PoseSequence]):
    odd = [replace(s, keypoints_skeleton="coco17") for s in sequences]
    seen = recordings_of(odd, 2)[0].seen
    assert seen.shape == (4, 30, 17, 2)
    # The pelvis is built from the hips, which are numbers 11 and 12 there.
    hips = sequences[0].keypoints_screen[:, [11, 12]].mean(1)
    np.testing.assert_allclose(seen[0, :, 0], hips, atol=1e-5)


def test_what_one_camera_saw_is_left_out(sequences: list[PoseSequence]):
    lonely = [*sequences, *recorded("Sitting", views=1)]
    assert len(SynchronisedViews(lonely, frames=1, channels=2)) == 50


def test_cameras_that_run_on_are_cut(sequences: list[PoseSequence]):
    longer, *others = sequences[:4]
    shorter = [
        replace(s, keypoints=s.keypoints[:-3], joints_camera=s.joints_camera[:-3]) for s in others
    ]
    assert len(SynchronisedViews([longer, *shorter], frames=1, channels=2)) == 27


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: s[:1], "no trial was seen by two cameras"),
        (lambda s: [], "no trial was seen by two cameras"),
        (lambda s: [*s, s[0]], "two sequences S1 Walking 0"),
        (lambda s: [replace(s[0], fps=60.0), *s[1:]], "different frame rates"),
        (
            lambda s: [replace(s[0], keypoints=np.full_like(s[0].keypoints, np.nan)), *s[1:]],
            "do not give all joints",
        ),
        (lambda s: [replace(s[0], camera=None), *s[1:]], "take one with 2"),
    ],
)
def test_sequences_that_do_not_serve_are_refused(
    sequences: list[PoseSequence], change: Callable[[Any], Any], message: str
):
    with pytest.raises(ValueError, match=message):
        SynchronisedViews(change(sequences[:4]), frames=3, channels=4)


def test_numbers_of_views_and_channels_are_checked(sequences: list[PoseSequence], motions: Motions):
    for views in (1, 5):
        with pytest.raises(ValueError, match=f"{views} views were asked for"):
            SynchronisedViews(sequences, frames=1, channels=2, views=views)
    with pytest.raises(ValueError, match="views must be at least 2"):
        VirtualViews(motions=motions, settings=SMALL, channels=4, views=1)
    with pytest.raises(ValueError, match="not 5"):
        VirtualViews(motions=motions, settings=SMALL, channels=5)
    with pytest.raises(ValueError, match="not 1"):
        SynchronisedViews(sequences, frames=1, channels=1)


@pytest.fixture
def cameras_seen(monkeypatch: pytest.MonkeyPatch) -> list[np.ndarray]:
    """What virtual cameras are shown, (B·V, F, 17, 3), collected."""
    seen: list[np.ndarray] = []
    observe = clips.observe

    def collecting(camera: np.ndarray, *others: Any) -> Any:
        seen.append(camera)
        return observe(camera, *others)

    monkeypatch.setattr(clips, "observe", collecting)
    return seen


def test_virtual_cameras_see_one_motion_from_different_sides(
    motions: Motions, cameras_seen: list[np.ndarray]
):
    examples = VirtualViews(motions=motions, settings=SMALL, channels=4, views=3)
    drawn = draw(examples, np.arange(0, 100, 5))
    assert drawn["views"].shape == (20, 3, 9, 17, 4)
    assert np.isfinite(drawn["views"]).all()
    camera = cameras_seen[0].reshape(20, 3, 9, 17, 3)
    shape = np.linalg.norm(camera[..., None, :, :] - camera[..., :, None, :], axis=-1)
    np.testing.assert_allclose(shape[:, 1:], shape[:, :1].repeat(2, 1), atol=1e-4)
    between = np.abs(camera[:, 0] - camera[:, 1]).max((1, 2, 3))
    assert (between > 0.05).all()  # other places of the camera
    first, last = drawn["instants"][[0, -1]]
    assert (first, last) == (0, 95 + RECORDINGS_APART)


def test_the_middle_of_a_window_is_its_instant(motions: Motions, cameras_seen: list[np.ndarray]):
    plain = replace(SMALL, redraw_bodies=False, exchange_arms=0.0, bend=0.0, mirror=0.0)
    draw(VirtualViews(motions=motions, settings=plain, channels=4), [25, 60])
    camera = cameras_seen[0][:, 4]  # (4, 17, 3)
    recorded_pose = motions.positions[[25, 25, 60, 60]]
    expected, found = (
        np.linalg.norm(p[:, None] - p[:, :, None], axis=-1) for p in (recorded_pose, camera)
    )
    # Bodies are scaled to the standard height, a little more than these have.
    np.testing.assert_allclose(found, expected * 1.71 / 1.7, atol=1e-4)


def test_every_view_has_its_own_detector_errors(motions: Motions):
    noise, settings = DetectorNoise.measured(), replace(SMALL, clean=0.0)
    examples = VirtualViews(motions=motions, settings=settings, channels=3, noise=noise)
    views = draw(examples, [10, 20])["views"]
    sure = views[..., LIMBS, 2]
    assert ((sure > 0) & (sure < 1)).mean() > 0.9
    assert (sure[:, 0] != sure[:, 1]).mean() > 0.9
    assert (views[views[..., 2] == 0][:, :2] == 0).all()


def test_views_on_the_screen_are_rays_times_a_focal_length(
    motions: Motions, cameras_seen: list[np.ndarray]
):
    views = draw(VirtualViews(motions=motions, settings=SMALL, channels=2), [30, 40])["views"]
    local = cameras_seen[0].reshape(2, 2, 9, 17, 3)[..., 2, :]  # a knee, which nothing moves
    focal = views[..., 2, :] / (local[..., :2] / local[..., 2:])
    assert focal.std((2, 3)).max() < 1e-3
    assert (SCREEN_FOCAL[0] - 1e-3 < focal).all()
    assert (focal < SCREEN_FOCAL[1] + 1e-3).all()


def test_single_frames_can_be_drawn(motions: Motions):
    examples = VirtualViews(motions=motions, settings=replace(SMALL, frames=1), channels=2)
    assert draw(examples, [3])["views"].shape == (1, 2, 1, 17, 2)


def test_the_seed_decides_all_views(motions: Motions, sequences: list[PoseSequence]):
    for examples in (
        VirtualViews(motions=motions, settings=SMALL, channels=4),
        SynchronisedViews(sequences, frames=3, channels=2),
    ):
        first, again, other = (draw(examples, [4, 44], seed)["views"] for seed in (1, 1, 2))
        np.testing.assert_array_equal(first, again)
        assert not np.array_equal(first, other)


def test_centres_are_the_same_instants_without_views(motions: Motions):
    drawn = draw(Centres(motions=motions), [3, 60])
    assert set(drawn) == {"centres", "instants"}
    assert drawn["centres"].tolist() == [3, 60]
    views = draw(VirtualViews(motions=motions, settings=SMALL, channels=4), [3, 60])
    np.testing.assert_array_equal(drawn["instants"], views["instants"])
    assert len(Centres(motions=motions)) == 100


def test_the_four_cameras_of_human36m_pretrain_a_network(
    write_human36m: Callable[..., Path], tmp_path: Path
):
    pytest.importorskip("lightning_fabric")
    from lithepose.train.poseclr import PoseCLRSettings, encoder_weights
    from lithepose.train.settings import RunSettings
    from lithepose.train.tasks.poseclr import OPTIMISATION, camera_task, pretrain

    folder = write_human36m()
    tiny: dict[str, Any] = {"channels": 24, "hidden": 16, "layers": 1}
    settings = PoseCLRSettings(bank=64, feature_dim=2)
    task = camera_task("htnet", tiny, settings, folder, "gt")
    assert len(task.examples) == 60 + 40  # S1's frames
    assert task.validation.shape == (30 + 50 + 20, 2, 1, 17, 2)  # S9's, and S11's that serve
    encoder = pretrain(
        "htnet",
        folder,
        tmp_path / "run",
        overrides=tiny,
        poseclr=settings,
        optimisation=replace(OPTIMISATION, steps=2, batch=8),
        settings=RunSettings(device="cpu", workers=0, tensorboard=False),
    )
    assert "embed.weight" in encoder_weights(encoder)
