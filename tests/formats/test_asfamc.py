"""ASF/AMC: kinematics worked out by hand, CMU's own files, and damaged ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from lithepose.formats.asfamc import INCH_M, read_amc, read_asf

# An arm of three bones. A unit is two inches, since lengths are stored times 0.5.
ASF = """\
# an arm
:version 1.10
:name ARM
:units
  mass 1.0
  length 0.5
  angle deg
:documentation
  Written by hand: begin, end and dof mean nothing here.
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name fixed
    direction 0 1 0
    length 1
    axis 0 0 0 XYZ
  end
  begin
    id 2
    name upper
    direction 2 0 0   # not of length 1
    length 3
    axis 0 0 90 XYZ
    dof rx ry rz
    limits (-180 180)
           (-90 90)
           (-180 180)
  end
  begin
    id 3
    name lower
    direction 1 0 0
    length 2
    axis 0 0 0 XYZ
    dof rz
    limits (0 150)
  end
:hierarchy
  begin
    root fixed
    fixed upper
    upper lower
  end
"""
STILL = "root 0 0 0 0 0 0\nupper 0 0 0\nlower 0\n"
UNIT_M = 2 * INCH_M


def places(tmp_path: Path, amc: str, asf: str = ASF) -> np.ndarray:
    """(T, 4, 3) where root and bones end, in units of the file."""
    (tmp_path / "a.asf").write_bytes(asf.encode())
    (tmp_path / "a.amc").write_bytes(amc.encode())
    motion = read_amc(tmp_path / "a.amc", read_asf(tmp_path / "a.asf"))
    return motion.places()[0] / UNIT_M


def one_frame(root: str = "0 0 0 0 0 0", upper: str = "0 0 0", lower: str = "0") -> str:
    return f":FULLY-SPECIFIED\n:DEGREES\n1\nroot {root}\nupper {upper}\nlower {lower}\n"


def test_at_rest_bones_lie_along_their_directions(tmp_path):
    np.testing.assert_allclose(
        places(tmp_path, one_frame())[0], [[0, 0, 0], [0, 1, 0], [3, 1, 0], [5, 1, 0]], atol=1e-12
    )


def test_a_bone_turns_about_its_own_axes_and_carries_what_hangs_on_it(tmp_path):
    # The axes are turned by 90 degrees about z, so the bone's x is the file's y: a quarter turn
    # about y takes +x to -z.
    np.testing.assert_allclose(
        places(tmp_path, one_frame(upper="90 0 0"))[0, 2:], [[0, 1, -3], [0, 1, -5]], atol=1e-12
    )


def test_the_first_angle_turns_first(tmp_path):
    asf = ASF.replace("axis 0 0 90 XYZ", "axis 0 0 0 XYZ").replace(
        "direction 2 0 0", "direction 0 1 0"
    )
    # About x: +y to +z. About y: +z to +x. About z: +x to +y, where it was.
    np.testing.assert_allclose(
        places(tmp_path, one_frame(upper="90 90 90"), asf)[0, 2], [0, 4, 0], atol=1e-12
    )
    # The other way round, about z first: +y to -x; about y: -x to +z; about x: +z to -y.
    asf = asf.replace("dof rx ry rz", "dof rz ry rx")
    np.testing.assert_allclose(
        places(tmp_path, one_frame(upper="90 90 90"), asf)[0, 2], [0, -2, 0], atol=1e-12
    )


@pytest.mark.parametrize(
    ("order", "direction"),
    [
        # The bone's z becomes -y about x, then +x about z: a quarter turn about it takes +y to +z.
        ("XYZ", "0 1 0"),
        # The bone's z stays about z, then becomes -y about x, and that takes +x to +z.
        ("ZYX", "1 0 0"),
    ],
)
def test_the_axes_of_a_bone_turn_in_the_order_listed(tmp_path, order, direction):
    asf = ASF.replace("axis 0 0 90 XYZ", f"axis 90 0 90 {order}")
    asf = asf.replace("direction 2 0 0", f"direction {direction}")
    found = places(tmp_path, one_frame(upper="0 0 90"), asf)[0, 2]
    np.testing.assert_allclose(found, [0, 1, 3], atol=1e-12)


def test_the_root_moves_and_turns_the_whole_figure(tmp_path):
    np.testing.assert_allclose(
        places(tmp_path, one_frame(root="1 2 3 0 90 0"))[0],
        [[1, 2, 3], [1, 3, 3], [1, 3, 0], [1, 3, -2]],
        atol=1e-12,
    )
    asf = ASF.replace("order TX TY TZ RX RY RZ", "order RY TZ RX TY RZ TX")
    np.testing.assert_allclose(
        places(tmp_path, one_frame(root="90 3 0 2 0 1"), asf)[0, 3], [1, 3, -2], atol=1e-12
    )


def test_radians_are_those_of_the_skeleton_unless_the_motion_says_otherwise(tmp_path):
    asf = ASF.replace("angle deg", "angle rad").replace("0 0 90 XYZ", f"0 0 {np.pi / 2} XYZ")
    for header, angle in ((":DEGREES", 90), (":RADIANS", np.pi / 2), ("", np.pi / 2)):
        amc = f"{header}\n1\nroot 0 0 0 0 0 0\nupper {angle} 0 0\nlower 0\n"
        np.testing.assert_allclose(places(tmp_path, amc, asf)[0, 2], [0, 1, -3], atol=1e-12)


def test_windows_line_ends_comments_and_marks_make_no_difference(tmp_path):
    frames = f"1\n{STILL}2\n{STILL}".replace("lower 0", "lower 90 # bent")
    plain = places(tmp_path, ":DEGREES\n" + frames)
    assert plain.shape == (2, 4, 3)
    odd = "\ufeff#!OML:ASF C:\\arm.asf\n:FULLY-SPECIFIED\n:DEGREES\n\n" + frames
    found = places(tmp_path, odd.replace("\n", "\r\n"), ASF.replace("\n", "\r\n"))
    np.testing.assert_array_equal(found, plain)


def test_frames_may_list_their_bones_in_any_order_and_begin_at_any_number(tmp_path):
    mixed = "7\nlower 0\nupper 90 0 0\nroot 0 0 0 0 0 0\n8\n" + STILL
    np.testing.assert_allclose(places(tmp_path, mixed)[:, 2], [[0, 1, -3], [3, 1, 0]], atol=1e-12)


def test_metres_follow_the_unit_the_skeleton_was_measured_in(tmp_path):
    (tmp_path / "a.asf").write_text(ASF)
    skeleton = read_asf(tmp_path / "a.asf", measure_m=0.01)
    assert skeleton.names == ("root", "fixed", "upper", "lower")
    assert skeleton.parents == (-1, 0, 1, 2)
    assert skeleton.dof[1:] == ((), ("RX", "RY", "RZ"), ("RZ",))
    np.testing.assert_allclose(skeleton.offsets[2], [0.06, 0, 0])
    (tmp_path / "a.amc").write_text(one_frame(root="1 0 0 0 0 0"))
    motion = read_amc(tmp_path / "a.amc", skeleton)
    np.testing.assert_allclose(motion.root, [[0.02, 0, 0]])
    assert motion.fps is None
    (tmp_path / "a.amc").write_text(":SAMPLES-PER-SECOND 60\n" + one_frame())
    assert read_amc(tmp_path / "a.amc", skeleton).fps == 60


@pytest.mark.parametrize("clip", ["01_08", "02_01", "02_03", "02_04", "03_01"])
def test_cmu_s_files_give_the_expected_places(shared, clip):
    skeleton = read_asf(shared(f"mocap/raw/{clip[:2]}.asf"))
    motion = read_amc(shared(f"mocap/raw/{clip}.amc"), skeleton)
    found, turns = motion.places()
    with np.load(shared(f"mocap/raw/asfamc_{clip}.expected.npz")) as expected:
        assert len(found) == expected["n_frames"]
        order = [skeleton.names.index(name) for name in expected["joint_names"]]
        at = expected["frames"]
        np.testing.assert_allclose(found[at][:, order], expected["positions"], atol=1e-5)
    np.testing.assert_allclose(np.linalg.det(turns), 1, atol=1e-9)


# ---- Damaged files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (ASF, "", "line 1: a keyword with a colon"),
        (ASF, "HIERARCHY\nROOT hip\n", "line 1: a keyword with a colon.*HIERARCHY"),
        (ASF, "\0\0", "zero bytes"),
        (ASF[ASF.index(":hierarchy") :], "", "line 42: the file ends without :hierarchy"),
        (":units", ":units\n:units", "line 5: a second :units; the first is in line 4"),
        ("length 0.5", "length 0", "line 6: length must be above 0"),
        ("length 0.5", "length half", "line 6: a number expected; found 'half'"),
        ("angle deg", "angle gon", "line 7: the unit of angles is deg or rad; found 'gon'"),
        ("order TX", "order TW", "line 11: 'TW' is no way to move here"),
        ("order TX TY", "order TX TX", "line 11: one way to move is listed twice"),
        ("orientation 0 0 0", "orientation 0 90 0", "line 14: a root turned in the rest pose"),
        ("  position", "  place", "line 13: order, axis, position or orientation"),
        ("position 0 0 0", "position 0 0", "line 13: position takes 3 numbers; found 2"),
        ("direction 0 1 0", "direction 0 0 0", "line 19: a direction of length 0"),
        ("direction 0 1 0", "direction 0 1 nan", "line 19: a number expected; found 'nan'"),
        ("length 1\n", "length -1\n", "line 20: a bone's length must not be below 0"),
        ("length 1\n", "\n", "line 16: this bone has no length"),
        ("axis 0 0 90 XYZ", "axis 0 0 90 XYX", "line 28: an order of axes such as XYZ"),
        ("dof rz", "dof rz l", "line 40: 'l' is no way to move here.*change their length"),
        ("dof rz", "dof tx rz", "line 40: 'tx' is no way to move here"),
        ("    limits (0 150)\n  end", "", "line 34: this bone has no end"),
        ("  end\n  begin\n    id 2", "  begin\n    id 2", "line 22: begin inside of the bone"),
        ("name lower", "name upper", "second bone 'upper'|no bone 'lower'"),
        ("    upper lower", "    upper hand", "line 47: :bonedata has no bone 'hand'"),
        ("    upper lower", "", "line 34: :hierarchy gives the bone 'lower' no parent"),
        ("    upper lower", "    upper lower\n    fixed lower", "line 48: 'lower' has a parent"),
        ("    root fixed", "    lower fixed", "line 16: the bone 'fixed' does not hang"),
    ],
)  # fmt: skip
def test_a_damaged_skeleton_is_refused_with_its_line(tmp_path, old, new, message):
    assert old in ASF
    (tmp_path / "a.asf").write_text(ASF.replace(old, new, 1))
    with pytest.raises(ValueError, match=rf"a\.asf is not a readable ASF file, .*({message})"):
        read_asf(tmp_path / "a.asf")


@pytest.mark.parametrize(
    ("amc", "message"),
    [
        ("", "line 1: the number of the first frame expected; there is no frame"),
        (":DEGREES\n", "there is no frame"),
        (":DEGREE\n1\n" + STILL, "line 1: no keyword of an AMC file: :DEGREE"),
        (":SAMPLES-PER-SECOND 0\n1\n" + STILL, "line 1: samples per second must be above 0"),
        (STILL + "1\n" + STILL, "line 1: the number of the first frame expected; found 'root'"),
        ("1\n" + STILL + "3\n" + STILL, "line 5: frame 2 expected; found 3"),
        ("1\n" + STILL + "2\nroot 0 0 0 0 0 0\n", "line 5: frame 2 lacks lower, upper"),
        ("1\nroot 0 0 0 0 0 0\n2\n" + STILL, "line 1: frame 1 lacks lower, upper"),
        ("1\n" + STILL + "lower 0\n", "line 5: frame 1 has the bone 'lower' twice"),
        ("1\n" + STILL + "hand 0\n", "line 5: the bone 'hand' is not in the skeleton.*same sub"),
        ("1\n" + STILL + "fixed 0\n", "line 5: the bone 'fixed' has no way to move"),
        ("1\nroot 0 0 0 0 0\n", "line 2: 'root' takes 6 numbers; found 5"),
        ("1\nroot 0 0 0 0 0 left\n", "line 2: could not convert"),
        ("1\nroot 0 0 0 0 0 inf\n", "line 2: a number expected; found nan or infinity"),
    ],
)
def test_a_damaged_motion_is_refused_with_its_line(tmp_path, amc, message):
    (tmp_path / "a.asf").write_text(ASF)
    (tmp_path / "a.amc").write_text(amc)
    skeleton = read_asf(tmp_path / "a.asf")
    with pytest.raises(ValueError, match=rf"a\.amc is not a readable AMC file, .*{message}"):
        read_amc(tmp_path / "a.amc", skeleton)


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_asf(tmp_path / "none.asf")
