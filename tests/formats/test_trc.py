"""Markers for OpenSim and Pose2Sim."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from lithepose.formats.trc import MARKERS, read_trc, write_trc
from lithepose.skeletons import SKELETONS, convert

HALPE = SKELETONS["halpe26"]


def test_markers_come_back_in_their_axes(tmp_path, make_walker):
    track = make_walker()
    write_trc(tmp_path / "walk.trc", track)
    result = read_trc(tmp_path / "walk.trc")
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
    result = read_trc(tmp_path / "arm.trc")
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
    result = read_trc(tmp_path / "walk.trc")
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
    assert len(read_trc(tmp_path / "walk.trc").frames) == 30


def lines_of(path):
    return path.read_text(encoding="utf-8").split("\n")


def test_files_of_other_programs_are_read(tmp_path):
    text = (
        "PathFileType\t4\t(X/Y/Z)\tx.trc\r\n"
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\tOrigDataRate\tOrigDataStartFrame"
        "\tOrigNumFrames\r\n"
        "100.00\t100.00\t2\t2\tmm\t100.00\t1\t2\r\n"
        "Frame#\tTime\tA\t\t\tB\t\t\t\r\n"
        "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\t\r\n"
        "\r\n"
        "1\t0.0\t1000\t2000\t3000\t\t\t\t\r\n"
        "2\t0.01\t1\t2\t3\t4\t5\t6\t\r\n"
    )
    (tmp_path / "x.trc").write_bytes(text.encode())
    result = read_trc(tmp_path / "x.trc")
    assert result.names == ("A", "B")
    np.testing.assert_allclose(result.positions[0, 0], [1, 2, 3])
    assert np.isnan(result.positions[0, 1]).all()
    np.testing.assert_allclose(result.positions[1, 1], [0.004, 0.005, 0.006])


@pytest.mark.parametrize(
    ("number", "line", "message"),
    [
        (1, "hello", "line 1 must begin with PathFileType"),
        (3, "25\t25", "line 3: there must be a value for each"),
        (3, "x\t25\t30\t22\tm\t25\t1\t30", "line 3: could not convert"),
        (
            3,
            "25\t25\t30\t22\tinch\t25\t1\t30",
            "line 3: units must be one of m, cm, mm; found inch",
        ),
        (4, "Frame#\tTime\tHip", "line 4: 22 marker names expected; found 1"),
        (9, "3\t0.1\tabc", "line 9: could not convert"),
        (9, "1\t" * 70, "line 9: more than 3 numbers"),
        (9, "", "is cut off or damaged: 30 frames expected; 29 found"),
    ],
)
def test_damaged_files_are_refused_by_line(tmp_path, make_walker, number, line, message):
    path = tmp_path / "walk.trc"
    write_trc(path, make_walker())
    lines = lines_of(path)
    lines[number - 1] = line
    path.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_trc(path)


@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00\x80", b"PathFileType\t4"])
def test_other_files_are_no_trc(tmp_path, content):
    (tmp_path / "x.trc").write_bytes(content)
    with pytest.raises(ValueError, match=r"x\.trc is not a TRC file"):
        read_trc(tmp_path / "x.trc")


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
@pytest.mark.parametrize("name", ["w\udce4lk.trc", "two\nlines.trc", "a\ttab.trc"])
def test_names_that_are_no_text_do_not_break_the_file(tmp_path, make_walker, name):
    write_trc(tmp_path / name, make_walker())
    assert len(read_trc(tmp_path / name).names) == 22
