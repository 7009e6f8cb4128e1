"""Motion without gaps."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from lithepose.formats import format_writer
from lithepose.formats.bvh import read_bvh
from lithepose.formats.figure import Y_UP, even_rate, motion_of, note_of_holes, turned_y_up
from lithepose.poses import Track3D
from lithepose.rotations import from_quaternions, to_quaternions
from lithepose.world.rig import rig_points


def test_frames_with_the_person_are_left_as_they_are(make_walker):
    track = make_walker(missing=(0, 11, 12, 29))
    motion = motion_of(track.world, track.time_s)
    world = track.world
    points = rig_points(world.offsets, world.markers, motion.root, motion.rotations)
    assert np.flatnonzero(~motion.present).tolist() == [0, 11, 12, 29]
    np.testing.assert_allclose(points[motion.present], world.points[motion.present], atol=1e-6)


def test_gaps_are_bridged_evenly_in_time_and_ends_hold(make_walker):
    track = make_walker(missing=(0, 1, 10, 11, 29))
    motion = motion_of(track.world, track.time_s)
    assert np.isfinite(motion.rotations).all()
    np.testing.assert_array_equal(motion.root[:2], motion.root[[2, 2]])
    np.testing.assert_allclose(motion.rotations[29], motion.rotations[28], atol=1e-12)
    # Frames 10 and 11 are one and two thirds of the way from 9 to 12.
    for frame, share in ((10, 1 / 3), (11, 2 / 3)):
        np.testing.assert_allclose(
            motion.root[frame], motion.root[9] + share * (motion.root[12] - motion.root[9])
        )
        whole = np.arccos(np.clip((motion.rotations[9] * motion.rotations[12]).sum(-1), -1, 1))
        part = np.arccos(np.clip((motion.rotations[9] * motion.rotations[frame]).sum(-1), -1, 1))
        np.testing.assert_allclose(part, share * whole, atol=1e-6)
    later = track.time_s + 0.02 * (np.arange(30) > 10)
    uneven = motion_of(track.world, later)
    np.testing.assert_allclose(  # 1, 3.. of 3.5 frames
        uneven.root[11], uneven.root[9] + 2.5 / 3.5 * (uneven.root[12] - uneven.root[9])
    )


def test_signs_of_quaternions_do_not_matter(make_walker):
    track = make_walker(missing=(4, 5))
    flipped = track.world.rotations.copy()
    flipped[::3] *= -1
    motion = motion_of(track.world, track.time_s)
    other = motion_of(replace(track.world, rotations=flipped), track.time_s)
    np.testing.assert_allclose(
        from_quaternions(other.rotations), from_quaternions(motion.rotations), atol=1e-6
    )
    assert ((motion.rotations[1:] * motion.rotations[:-1]).sum(-1) > 0).all()


def test_turns_about_y_up_axes_are_the_same_turns():
    rng = np.random.default_rng(5)
    quaternions = rng.normal(size=(20, 4))
    expected = Y_UP @ from_quaternions(quaternions) @ Y_UP.T
    np.testing.assert_allclose(from_quaternions(turned_y_up(quaternions)), expected, atol=1e-12)
    assert np.linalg.det(Y_UP) == pytest.approx(1)
    np.testing.assert_allclose(from_quaternions(to_quaternions(expected)), expected, atol=1e-12)


def with_hole(track: Track3D, hole_s: float, at: int = 10) -> Track3D:
    time_s = np.asarray(track.time_s) + np.where(np.arange(len(track.time_s)) < at, 0, hole_s)
    return replace(track, time_s=time_s, fps=(len(time_s) - 1) / float(time_s[-1]))


@pytest.mark.parametrize("hole_s", [3600.0, 30 * 3600.0, 1e9])
def test_a_hole_in_time_does_not_change_the_one_rate_of_a_file(
    make_walker: Callable[..., Track3D], tmp_path: Path, hole_s: float
):
    whole = make_walker()
    track = with_hole(whole, hole_s)
    assert even_rate(whole) == whole.fps
    assert even_rate(track) == pytest.approx(whole.fps)
    for name in ("bvh", "c3d", "trc", "glb"):
        format_writer(name)(tmp_path / f"walk.{name}", track)
    assert read_bvh(tmp_path / "walk.bvh").frame_time_s == pytest.approx(1 / whole.fps)
    header = (tmp_path / "walk.trc").read_text(encoding="utf-8").split("\n")[2]
    assert float(header.split("\t")[0]) == pytest.approx(whole.fps)
    said = note_of_holes(track, ["npz", "bvh", "c3d"])
    assert said is not None
    assert "BVH and C3D cannot hold" in said
    assert note_of_holes(track, ["npz", "trc"]) is None
    assert note_of_holes(whole, ["bvh", "c3d", "glb"]) is None


def test_a_slow_clip_has_no_holes(make_walker: Callable[..., Track3D]):
    track = make_walker()
    slow = replace(track, time_s=np.arange(len(track.time_s)) * 10.0, fps=0.1)
    assert even_rate(slow) == 0.1
    assert note_of_holes(slow, ["bvh"]) is None
