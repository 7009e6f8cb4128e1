"""C3D, as two independent readers see it."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest

from lithepose.formats.c3d import write_c3d
from lithepose.skeletons import SKELETONS

JOINTS = SKELETONS["lithepose31"].joints


@pytest.fixture
def ezc3d():
    return pytest.importorskip("ezc3d", reason="needs the reader: pip install ezc3d")


@pytest.fixture
def c3d():
    return pytest.importorskip("c3d", reason="needs the reader: pip install c3d")


def test_ezc3d_reads_points_rate_labels_and_axes(tmp_path, make_walker, ezc3d):
    track = make_walker(missing=(0, 1, 10, 29))
    write_c3d(tmp_path / "walk.c3d", track)
    file = ezc3d.c3d(str(tmp_path / "walk.c3d"))
    point = file["parameters"]["POINT"]
    assert point["RATE"]["value"] == [25]
    assert point["LABELS"]["value"] == list(JOINTS)
    assert point["UNITS"]["value"] == ["mm"]
    assert (point["X_SCREEN"]["value"], point["Y_SCREEN"]["value"]) == (["+X"], ["+Z"])
    assert point["FRAMES"]["value"] == [30]
    assert (file["header"]["points"]["first_frame"], file["header"]["points"]["last_frame"]) == (
        0,
        29,
    )
    found = file["data"]["points"][:3].transpose(2, 1, 0)  # (T, 31, 3) millimetres
    np.testing.assert_allclose(found, 1000 * track.world.points, atol=1e-3)
    residual = file["data"]["meta_points"]["residuals"][0].T  # (T, 31)
    assert np.flatnonzero((residual < 0).all(1)).tolist() == [0, 1, 10, 29]
    assert (residual[2:10] == 0).all()


def test_the_pure_python_reader_agrees(tmp_path, make_walker, c3d):
    track = make_walker(missing=(3,))
    write_c3d(tmp_path / "walk.c3d", track)
    with (tmp_path / "walk.c3d").open("rb") as handle, warnings.catch_warnings():
        warnings.filterwarnings("ignore", "No analog data")
        reader = c3d.Reader(handle)
        frames = [(number, points) for number, points, _ in reader.read_frames()]
        labels = [label.strip() for label in reader.point_labels]
    assert labels == list(JOINTS)
    assert reader.point_rate == 25
    assert [number for number, _ in frames] == list(range(1, 31))
    found = np.stack([points for _, points in frames])
    assert (found[3, :, 3] == -1).all()
    kept = [frame for frame in range(30) if frame != 3]
    np.testing.assert_allclose(found[kept, :, :3], 1000 * track.world.points[kept], atol=1e-3)


def test_a_raised_left_arm_is_up_on_the_left(tmp_path, left_arm_raised, ezc3d):
    write_c3d(tmp_path / "arm.c3d", left_arm_raised)
    points = ezc3d.c3d(str(tmp_path / "arm.c3d"))["data"]["points"]
    wrist, top = JOINTS.index("left_wrist"), JOINTS.index("head_top")
    np.testing.assert_allclose(points[:3, wrist, 0], [180, 3000, 2040], atol=0.01)
    np.testing.assert_allclose(points[:3, top, 0], [0, 2980, 1800], atol=0.01)


def test_points_may_be_missing_one_by_one(tmp_path, make_walker, ezc3d):
    track = make_walker(3)
    points = track.world.points.copy()
    points[1, 5] = np.nan
    write_c3d(tmp_path / "walk.c3d", replace(track, world=replace(track.world, points=points)))
    file = ezc3d.c3d(str(tmp_path / "walk.c3d"))
    missing = file["data"]["meta_points"]["residuals"][0] < 0
    assert np.argwhere(missing).tolist() == [[5, 1]]


@pytest.mark.slow
def test_clips_longer_than_16_bits_can_count_are_whole(tmp_path, make_walker, ezc3d):
    one = make_walker(1)
    frames = 66000
    points = np.repeat(one.world.points, frames, 0)
    points[-1] += 1
    rotations = np.broadcast_to(one.world.rotations, (frames, 27, 4))
    world = replace(one.world, points=points, rotations=rotations)
    track = replace(one, world=world, time_s=np.arange(frames) / 25)
    write_c3d(tmp_path / "long.c3d", track)
    found = ezc3d.c3d(str(tmp_path / "long.c3d"))["data"]["points"]
    assert found.shape == (4, 31, frames)
    np.testing.assert_allclose(found[:3, 0, -1], 1000 * points[-1, 0], atol=1e-3)
