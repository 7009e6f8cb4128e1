"""Markers for OpenSim and Pose2Sim."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from lithepose.formats.trc import MARKERS, write_trc
from lithepose.skeletons import SKELETONS, convert

HALPE = SKELETONS["halpe26"]


class Markers(NamedTuple):
    names: list[str]
    rate: float
    frames: np.ndarray  # (T,)
    time_s: np.ndarray  # (T,)
    positions: np.ndarray  # (T, M, 3) metres, the file's axes


def read(path: Path) -> Markers:
    """What a TRC file says, taken at its word."""
    lines = path.read_text(encoding="utf-8").split("\n")
    header, names = lines[2].split("\t"), lines[3].split("\t")[2::3]
    table = np.array([[float(cell) for cell in line.split("\t")] for line in lines[6:-1]])
    assert (int(header[2]), int(header[3])) == (len(table), len(names))
    positions = table[:, 2:].reshape(len(table), len(names), 3)
    return Markers(names, float(header[0]), table[:, 0], table[:, 1], positions)


def test_markers_come_back_in_their_axes(tmp_path, make_walker):
    track = make_walker()
    write_trc(tmp_path / "walk.trc", track)
    result = read(tmp_path / "walk.trc")
    halpe, _, _ = convert(track.world.points, None, "lithepose31", "halpe26")
    for marker, joint in MARKERS.items():
        x, y, z = halpe[:, HALPE.index(joint)].T
        found = result.positions[:, result.names.index(marker)]
        np.testing.assert_allclose(found, np.stack([y, z, x], -1), atol=1e-6, err_msg=marker)
    np.testing.assert_allclose(result.time_s, track.time_s, atol=1e-6)
    assert result.frames.tolist() == list(range(1, 31))
    assert result.rate == 25


def test_a_raised_left_arm_is_up_on_the_left(tmp_path, left_arm_raised):
    write_trc(tmp_path / "arm.trc", left_arm_raised)
    result = read(tmp_path / "arm.trc")
    # The person faces the camera, which looks forward (+x): their left is the camera's right (+z).
    np.testing.assert_allclose(
        result.positions[0, result.names.index("LWrist")], [3, 2.04, 0.18], atol=1e-6
    )
    np.testing.assert_allclose(
        result.positions[0, result.names.index("Head")], [2.98, 1.80, 0], atol=1e-6
    )


def test_the_header_is_as_opensim_and_pose2sim_write_it(tmp_path, make_walker):
    write_trc(tmp_path / "größe.trc", make_walker(missing=(0, 29)))
    lines = (tmp_path / "größe.trc").read_text(encoding="utf-8").split("\n")
    assert lines[0] == "PathFileType\t4\t(X/Y/Z)\tgröße.trc"
    assert lines[1].split("\t") == [
        "DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units", "OrigDataRate",
        "OrigDataStartFrame", "OrigNumFrames",
    ]  # fmt: skip
    assert lines[2].split("\t") == ["25", "25", "28", "22", "m", "25", "2", "30"]
    names = lines[3].split("\t")
    assert names[:2] == ["Frame#", "Time"]
    assert names[2::3] == [
        "Hip", "RHip", "RKnee", "RAnkle", "RBigToe", "RSmallToe", "RHeel", "LHip", "LKnee",
        "LAnkle", "LBigToe", "LSmallToe", "LHeel", "Neck", "Head", "Nose", "RShoulder", "RElbow",
        "RWrist", "LShoulder", "LElbow", "LWrist",
    ]  # fmt: skip
    assert lines[4].split("\t")[:6] == ["", "", "X1", "Y1", "Z1", "X2"]
    assert lines[4].split("\t")[-1] == "Z22"
    assert lines[5] == ""
    # OpenSim wants exactly two cells and three for each marker in every row, and none of them nan.
    assert all(len(line.split("\t")) == 2 + 66 and "nan" not in line for line in lines[6:34])
    assert lines[34:] == [""]


def test_frames_without_the_person_are_left_out_at_the_ends_and_filled_between(
    tmp_path, make_walker
):
    write_trc(tmp_path / "walk.trc", make_walker(missing=(0, 1, 10, 11, 29)))
    result = read(tmp_path / "walk.trc")
    assert result.frames.tolist() == list(range(3, 30))
    assert result.time_s[0] == pytest.approx(0.08)
    assert np.isfinite(result.positions).all()
    # Filled with the figure, not with points on lines: the shin keeps its length.
    knee, ankle = (result.names.index(name) for name in ("LKnee", "LAnkle"))
    length = np.linalg.norm(result.positions[:, knee] - result.positions[:, ankle], axis=-1)
    np.testing.assert_allclose(length, 0.44, atol=1e-5)


def test_a_person_on_the_spot_is_written(tmp_path, make_walker):
    track = make_walker()
    world = replace(track.world, has_path=False)
    write_trc(tmp_path / "walk.trc", replace(track, world=world))
    assert len(read(tmp_path / "walk.trc").frames) == 30


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
@pytest.mark.parametrize("name", ["w\udce4lk.trc", "two\nlines.trc", "a\ttab.trc"])
def test_names_that_are_no_text_do_not_break_the_file(tmp_path, make_walker, name):
    write_trc(tmp_path / name, make_walker())
    assert len(read(tmp_path / name).names) == 22
