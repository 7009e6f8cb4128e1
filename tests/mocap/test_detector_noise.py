"""The measured noise of the detector, and the statistics it is measured with."""

from __future__ import annotations

import importlib.util
import json
import sys
from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from lithepose.skeletons import skeleton_named


@pytest.fixture(scope="module")
def benchmark():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "detector_noise.py"
    spec = importlib.util.spec_from_file_location("benchmark_detector_noise", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # its dataclasses look themselves up there
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_the_measured_file_has_plausible_numbers_for_every_joint():
    text = (resources.files("lithepose.mocap") / "detector_noise.json").read_text("utf-8")
    measured = json.loads(text)
    assert measured["schema"] == 1
    assert measured["recall"]["found_share"] > 0.9
    joints = skeleton_named("h36m17").joints
    assert list(measured["joints"]) == list(joints)
    for name, row in measured["joints"].items():
        assert 0.01 < row["median_error"] < row["p90_error"] < 1, name
        assert np.abs(row["body_offset"]).max() < 0.05, name
        seen = row["visible"]
        parts = [seen[part] for part in ("clip_sigma", "slow_sigma", "white_sigma")]
        assert np.linalg.norm(parts) == pytest.approx(seen["sigma"], rel=0.1), name
        assert seen["tail_share"] < 0.2, name
    for name in joints:
        if name.startswith("left_"):
            other = name.replace("left_", "right_")
            assert measured["joints"][name] == measured["joints"][other]


def noisy_clips(rng, slow, tau_s, white, constant, clips=80):
    """(error, valid, fps) of clips with errors of known make-up."""
    series = []
    for _ in range(clips):
        fps = float(rng.choice([25.0, 30.0]))
        frames = int(2.5 * fps)
        keep = np.exp(-1 / fps / tau_s)
        error = np.zeros((frames, 2))
        error[0] = slow * rng.normal(size=2)
        for t in range(1, frames):
            change = slow * np.sqrt(1 - keep**2) * rng.normal(size=2)
            error[t] = keep * error[t - 1] + change
        error += constant * rng.normal(size=2) + white * rng.normal(size=error.shape)
        series.append((error, rng.random(frames) > 0.1, fps))
    return series


def test_slow_and_white_noise_are_told_apart_whatever_is_constant(benchmark):
    series = noisy_clips(np.random.default_rng(0), slow=0.03, tau_s=0.2, white=0.01, constant=0.1)
    found = benchmark.split_in_time(series)
    assert found["slow_sigma"] == pytest.approx(0.03, rel=0.15)
    assert found["slow_tau_s"] == pytest.approx(0.2, rel=0.3)
    assert found["white_sigma"] == pytest.approx(0.01, rel=0.3)


def test_purely_white_noise_has_no_slow_part(benchmark):
    series = noisy_clips(np.random.default_rng(1), slow=0.0, tau_s=0.2, white=0.02, constant=0.1)
    found = benchmark.split_in_time(series)
    total = np.hypot(found["slow_sigma"], found["white_sigma"])
    assert total == pytest.approx(0.02, rel=0.05)
    # A correlation that has died out after one frame is as good as none.
    assert found["slow_sigma"] < 0.006 or found["slow_tau_s"] < 0.03


def test_too_little_data_gives_no_split(benchmark):
    assert benchmark.split_in_time([(np.zeros((3, 2)), np.ones(3, bool), 30.0)]) == {}


def test_a_constant_offset_of_the_body_is_recovered_from_all_sides(benchmark):
    rng = np.random.default_rng(2)
    offset = np.array([0.01, -0.02, 0.015])
    samples = []
    for _ in range(20):
        frames = 40
        axes, _ = np.linalg.qr(rng.normal(size=(3, 3)))
        axes = np.repeat(3.8 * axes[None, :2], frames, axis=0)  # sizes per stature
        error = axes @ offset + 0.01 * rng.normal(size=(frames, 2))
        error[:3] += 1.0  # gross errors must not matter
        flat = np.zeros((frames, 2))
        samples.append(
            benchmark._Sample(
                error=error,
                axes=axes,
                along=flat,
                across=flat,
                length=np.zeros(frames),
                valid=np.ones(frames, bool),
                hidden=np.zeros(frames, bool),
                confidence=np.ones(frames),
                view=np.zeros(frames, int),
                fps=30.0,
            )
        )
    np.testing.assert_allclose(benchmark.fit_offset(samples), offset, atol=0.001)


def test_exchanged_sides_are_noticed_and_their_bursts_counted(benchmark):
    rng = np.random.default_rng(3)
    keypoints = np.repeat(100 * rng.normal(size=(1, 17, 2)), 30, axis=0)
    detected = keypoints.copy()
    detected[10:14] = keypoints[10:14][:, benchmark.MIRROR]
    record = benchmark.Record(
        fps=30.0,
        keypoints=keypoints,
        visible=np.ones((30, 17), bool),
        detected=detected,
        confidence=np.ones((30, 17)),
        axes=np.zeros((30, 17, 2, 3)),
        azimuth=np.full(30, np.pi),
        image_size=np.array([640, 480]),
    )
    state, possible = benchmark.exchanged(record, benchmark.LEGS)
    assert benchmark.bursts(state) == [(10, 4, True)]
    assert possible.all()
    counted = benchmark.event_statistics([state], [record], [possible])
    assert counted["onsets_per_s"] == pytest.approx(1.0)
    assert counted["burst_s_mean"] == pytest.approx(4 / 30, abs=1e-3)
    assert counted["by_view"]["back"]["onsets_per_s"] == pytest.approx(1.0)


def test_without_motions_the_built_in_ones_are_drawn(benchmark):
    rng = np.random.default_rng(4)
    body = benchmark.random_body(rng)
    joints = benchmark.draw_motion([], body, 25.0, 1.0, rng)
    assert joints.shape == (25, 17, 3)
    camera = benchmark.draw_camera(joints, rng)
    axes, azimuth = benchmark.body_axes(body, joints, camera)
    assert axes.shape == (25, 17, 2, 3)
    assert np.abs(azimuth).max() <= np.pi
