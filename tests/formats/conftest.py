"""A small motion to write and read back, as fixtures that give functions."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from lithepose.poses import Track3D


def build_track(frames: int = 4, **changes) -> Track3D:
    """A seeded person whose left wrist is missing in frame 1 and who is away in the last frame."""
    rng = np.random.default_rng(0)
    joints = rng.normal((0, 0, 4), 0.5, size=(frames, 17, 3)).astype(np.float32)
    keypoints = rng.uniform(0, 1000, size=(frames, 17, 2)).astype(np.float32)
    confidence = rng.uniform(0.2, 1, size=(frames, 17)).astype(np.float32)
    if frames > 1:
        keypoints[1, 13] = np.nan
        confidence[1, 13] = 0
        joints[-1] = np.nan
        keypoints[-1] = np.nan
        confidence[-1] = 0
    derived = np.zeros(17, dtype=bool)
    derived[[0, 7, 8, 10]] = True
    values = {
        "person": 2,
        "joints_camera": joints,
        "confidence": confidence,
        "keypoints_2d": keypoints,
        "derived": derived,
        "time_s": np.arange(frames) / 29.97,
        "fps": 29.97,
        "image_size": (1280, 720),
        "focal_px": 1108.5,
        "metadata": {"model": "nanohtnet-243", "height_m": 1.75, "notes": ["ß", None]},
    }
    return Track3D(**{**values, **changes})


def compare_tracks(result: Track3D, expected: Track3D, atol: float = 0.0) -> None:
    for name in ("joints_camera", "keypoints_2d", "confidence", "derived", "time_s"):
        one, other = getattr(result, name), getattr(expected, name)
        places = {"keypoints_2d": 1e3, "confidence": 1e2}.get(name, 1.0) * atol
        np.testing.assert_allclose(one, other, rtol=0, atol=places, err_msg=name)
        assert one.dtype == other.dtype, name
    for name in ("person", "fps", "image_size", "focal_px", "metadata"):
        assert getattr(result, name) == getattr(expected, name)


@pytest.fixture
def make_track() -> Callable[..., Track3D]:
    """make_track(frames=4, **fields of Track3D)"""
    return build_track


@pytest.fixture
def assert_same_track() -> Callable[..., None]:
    """assert_same_track(result, expected, atol=0.0); atol in metres, other units in proportion."""
    return compare_tracks
