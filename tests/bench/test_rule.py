"""The measuring rule: the same views always, and errors by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from lithepose.bench.rule import (
    DISTANCE_M,
    HEIGHT_M,
    LENSES,
    View,
    measure,
    score_view,
    views,
)
from lithepose.mocap.motions import Motions
from lithepose.skeletons import LIMB_JOINTS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion


@pytest.fixture(scope="module")
def motions() -> Motions:
    random = np.random.default_rng(0)
    bodies = [random_body(random) for _ in range(3)]
    names = ("walk", "wave", "squat")
    parts = [motion(n, 0.6, 50, b, random) for n, b in zip(names, bodies, strict=True)]
    return Motions(
        positions=np.concatenate(parts).astype(np.float32),
        start=np.array([0, 30, 60, 90]),
        fps=50.0,
        clip=np.array(["a", "b", "b"]),
        subject=np.array(["2", "1", "1"]),
        lengths=np.ones((3, 17), np.float32),
        height=np.array([b.stature for b in bodies], np.float32),
    )


def test_every_clip_is_seen_through_every_lens(motions: Motions):
    found = list(views(motions))
    assert [view.name for view in found] == [f"{c} {lens}" for c in "abb" for lens in LENSES]
    assert [view.camera.image_size for view in found[:4]] == [size for size, _ in LENSES.values()]
    for view in found:
        assert view.joints_camera.shape == (30, 17, 3)
        assert view.keypoints.shape == (30, 17, 2)
        assert view.fps == 50


def test_views_are_always_the_same(motions: Motions):
    for first, again in zip(views(motions), views(motions), strict=True):
        np.testing.assert_array_equal(first.keypoints, again.keypoints)
    # Recorded once: a changed draw would make old and new tables incomparable.
    first = next(iter(views(motions)))
    assert first.camera.focal_px[0] / 1920 == pytest.approx(0.7248, abs=1e-3)


def test_clips_of_one_name_have_cameras_of_their_own(motions: Motions):
    positions = [view.camera.position for view in views(motions)]
    assert len({tuple(np.round(position, 6)) for position in positions}) == 12


def test_cameras_stand_where_people_film_from(motions: Motions):
    for view in views(motions):
        (width, height), (low, high) = LENSES[view.name.split(maxsplit=1)[1]]
        assert low <= view.camera.focal_px[0] / max(width, height) <= high
        assert view.camera.focal_px[0] == view.camera.focal_px[1]
        floor = motions.positions[..., 2].min()
        above = view.camera.position[2] - floor
        assert HEIGHT_M[0] - 0.1 <= above <= HEIGHT_M[1] + 0.1
        across = np.linalg.norm(view.camera.position[:2])
        assert DISTANCE_M[0] - 0.2 <= across <= DISTANCE_M[1] + 1.0
        assert view.joints_camera[..., 2].min() > 1
        truth = view.joints_camera[..., :2] / view.joints_camera[..., 2:]
        pixels = truth * view.camera.focal_px + np.array(view.camera.centre_px)
        np.testing.assert_allclose(pixels, view.keypoints, atol=1e-6)


def perfect(view: View) -> Any:
    return view.joints_camera


def test_the_truth_has_no_error(motions: Motions):
    scores = measure(motions, perfect, 1.71)
    assert list(scores) == ["1", "2", "all"]
    assert scores["all"].frames == 4 * 90
    assert scores["1"].frames == 4 * 60
    for score in scores.values():
        assert score.mpjpe == pytest.approx(0, abs=1e-6)
        assert score.p_mpjpe == pytest.approx(0, abs=1e-6)
        assert score.mpjpe_no_height > 1  # nobody is of the assumed stature


def test_errors_are_taken_around_the_mid_hips_over_the_limbs(motions: Motions):
    view = next(iter(views(motions)))
    lifted = view.joints_camera + (3.0, 2.0, 1.0)  # a shift of everything is no error
    lifted[:, [0, 7, 8, 9, 10]] += 5.0  # nor are joints that are not of the limbs
    assert score_view(view, lifted, 1.71)["mpjpe"].max() < 1e-6
    lifted[:, 16] += (0.0, 0.12, 0.0)  # a wrist by 120 mm: 10 mm over twelve joints
    np.testing.assert_allclose(score_view(view, lifted, 1.71)["mpjpe"], 120 / len(LIMB_JOINTS))


def test_a_wrong_scale_shows_in_the_plain_error_only(motions: Motions):
    view = next(iter(views(motions)))
    errors = score_view(view, 1.1 * view.joints_camera, 1.71)
    assert errors["mpjpe"].min() > 10
    assert errors["n_mpjpe"].max() < 1e-6
    assert errors["p_mpjpe"].max() < 1e-6


def test_without_a_height_the_result_is_scaled_to_the_assumed_one(motions: Motions):
    view = next(iter(views(motions)))
    errors = score_view(view, view.joints_camera, 1.05 * view.height_m)
    limbs = list(LIMB_JOINTS)
    relative = view.joints_camera - view.joints_camera[:, [1, 4]].mean(1, keepdims=True)
    size = np.linalg.norm(relative[:, limbs], axis=-1).mean(-1)
    np.testing.assert_allclose(errors["mpjpe_no_height"], 1000 * 0.05 * size, rtol=1e-6)


def test_the_mean_is_over_frames_and_every_view_is_reported(motions: Motions):
    longer = replace(motions, start=np.array([0, 30, 60, 90]), subject=np.array(["x", "y", "y"]))
    told: list[str] = []

    def off(view: View) -> Any:
        moved = view.joints_camera.copy()
        moved[:, 16, 0] += 0.12 if view.subject == "x" else 0.24
        return moved

    scores = measure(longer, off, 1.71, told.append)
    assert scores["x"].mpjpe == pytest.approx(10)
    assert scores["y"].mpjpe == pytest.approx(20)
    assert scores["all"].mpjpe == pytest.approx((30 * 10 + 60 * 20) / 90)
    assert len(told) == 12


def test_a_view_that_was_not_lifted_whole_has_no_score(motions: Motions):
    def broken(view: View) -> Any:
        lifted = view.joints_camera.copy()
        lifted[3] = np.nan
        return lifted

    assert np.isnan(measure(motions, broken, 1.71)["all"].mpjpe)
