"""BVH: our files, those of other programs, and damaged ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from lithepose.formats.bvh import read_bvh, write_bvh
from lithepose.formats.figure import Y_UP, motion_of
from lithepose.world.rig import NODES, pose_nodes

RAW = [
    "amc2bvh_131_01", "amc2bvh_131_03", "daz_02_01", "daz_02_04", "daz_06_06", "daz_07_01",
    "daz_08_02", "daz_10_04", "daz_13_11", "daz_13_39", "daz_14_37", "daz_60_10", "daz_135_04",
    "iclone_02_01", "iclone_07_01",
]  # fmt: skip


def nodes_of(track) -> np.ndarray:
    """(T, 27, 3) metres, where the nodes should be in the file."""
    motion = motion_of(track.world, track.time_s)
    places, _ = pose_nodes(track.world.offsets, motion.root, motion.rotations)
    return places @ Y_UP.T


def test_positions_come_back_to_a_hundredth_of_a_millimetre(tmp_path, make_walker):
    track = make_walker(60, missing=(0, 20, 21, 59))
    write_bvh(tmp_path / "gang ü.bvh", track)
    result = read_bvh(tmp_path / "gang ü.bvh")
    assert [name.replace("BaseEnd", "End") for name in result.names] == list(NODES)
    assert result.frame_time_s == pytest.approx(1 / 25)
    places, _ = result.places()
    np.testing.assert_allclose(places, nodes_of(track), atol=1e-5)


def test_a_raised_left_arm_is_up_on_the_left(tmp_path, left_arm_raised):
    write_bvh(tmp_path / "arm.bvh", left_arm_raised)
    result = read_bvh(tmp_path / "arm.bvh")
    places, _ = result.places()
    hand = result.names.index("LeftHand")
    # The person faces the camera: with the world's y turned to -z, that is +z.
    np.testing.assert_allclose(places[0, hand], [0.18, 2.04, -3], atol=1e-5)
    rest = result.offsets[result.names.index("LeftForeArm")]
    np.testing.assert_allclose(rest, [0.30, 0, 0], atol=1e-6)
    assert result.offsets[result.names.index("LeftToeBase")][2] > 0.1
    assert result.channels[0][:3] == ("Xposition", "Yposition", "Zposition")


def test_an_independent_reader_finds_the_same_places(tmp_path, make_walker):
    bvhio = pytest.importorskip("bvhio", reason="needs the reader: pip install bvhio")
    track = make_walker()
    write_bvh(tmp_path / "walk.bvh", track)
    expected = nodes_of(track)
    root = bvhio.readAsHierarchy(str(tmp_path / "walk.bvh"))
    for frame in (0, 11, 29):
        root.loadPose(frame)
        found = {joint.Name: np.array(joint.PositionWorld) for joint, _, _ in root.layout()}
        assert len(found) == 22
        for name, place in found.items():
            np.testing.assert_allclose(place, expected[frame, NODES.index(name)], atol=1e-5)


def test_angles_run_on_without_jumps(tmp_path, make_walker):
    # Turning on the spot, head over heels and about the side, several times each.
    frames = 400
    track = make_walker(frames)
    angle = np.linspace(0, 6 * np.pi, frames)
    turns = track.world.rotations.copy()
    for node, axis in ((0, 1), (1, 2), (2, 3)):
        turns[:, node] = 0
        turns[:, node, 0] = np.cos(angle / 2)
        turns[:, node, axis] = np.sin(angle / 2)
    tumble = replace(track, world=replace(track.world, rotations=turns))
    write_bvh(tmp_path / "tumble.bvh", tumble)
    lines = (tmp_path / "tumble.bvh").read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if line.startswith("Frame Time"))
    values = np.array([line.split() for line in lines[first + 1 :]], dtype=float)
    # 2.7 degrees a frame about one axis; the other nodes sway by less than 20.
    assert np.abs(np.diff(values[:, 3:12], axis=0)).max() < 2.8
    assert np.abs(np.diff(values[:, 12:], axis=0)).max() < 20
    places, _ = read_bvh(tmp_path / "tumble.bvh").places()
    np.testing.assert_allclose(places, nodes_of(tumble), atol=2e-5)


@pytest.mark.parametrize("degrees", [90, -90])
def test_an_angle_at_which_two_axes_fall_together_keeps_the_pose(tmp_path, make_walker, degrees):
    frames = 5
    track = make_walker(frames)
    turns = track.world.rotations.copy()
    half = np.radians(degrees) / 2
    turns[:, 0] = [np.cos(half), np.sin(half), 0, 0]
    turned = replace(track, world=replace(track.world, rotations=turns))
    write_bvh(tmp_path / "lying.bvh", turned)
    places, _ = read_bvh(tmp_path / "lying.bvh").places()
    np.testing.assert_allclose(places, nodes_of(turned), atol=2e-5)


@pytest.mark.shared
@pytest.mark.parametrize("name", RAW)
def test_motion_capture_is_where_it_should_be(shared, name):
    result = read_bvh(shared(f"mocap/raw/{name}.bvh"))
    with np.load(shared(f"mocap/raw/{name}.expected.npz")) as expected:
        joints = [result.names.index(joint) for joint in expected["joint_names"].tolist()]
        # Centimetres, but CMU's own unit is an inch over 0.45.
        unit = 0.0254 / 0.45 if name.startswith("amc") else 0.01
        places, _ = result.places()
        assert len(places) == expected["n_frames"]
        assert 1 / result.frame_time_s == pytest.approx(float(expected["fps"]))
        found = unit * places[expected["frames"]][:, joints]
        np.testing.assert_allclose(found, expected["positions"], atol=1e-5)


SMALL = """HIERARCHY
ROOT hip
{
  OFFSET 1 2 3
  CHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation
  JOINT left leg {
    OFFSET 0 -4 0 CHANNELS 4 Yposition Xrotation Zrotation Yrotation
    End Site
    {
      OFFSET 0 -1 0
    }
  }
}
MOTION
Frames: 2
Frame Time: 0.5
10 20 30 0 0 0 -5 0 0 0
10 20 30 90 0 0 -5 90 0 0
"""


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("tabs", [False, True])
def test_trees_channels_and_line_ends_of_any_kind_are_read(tmp_path, ends, tabs):
    text = SMALL.replace("  ", "\t") if tabs else SMALL
    (tmp_path / "x.bvh").write_bytes(text.replace("\n", ends).encode())
    result = read_bvh(tmp_path / "x.bvh")
    assert result.names == ("hip", "left leg", "left legEnd")
    assert result.parents == (-1, 0, 1)
    assert result.channels[1] == ("Yposition", "Xrotation", "Zrotation", "Yrotation")
    assert result.frame_time_s == 0.5
    places, _ = result.places()
    # Frame 0: nothing turned; the leg's y position replaces its offset of -4.
    np.testing.assert_allclose(places[0], [[10, 20, 30], [10, 15, 30], [10, 14, 30]])
    # Frame 1: the hip is turned by 90 degrees about z, (0, -5, 0) -> (5, 0, 0); the leg by 90
    # degrees about its x, which takes its end (0, -1, 0) to (0, 0, -1), which z leaves alone.
    np.testing.assert_allclose(places[1], [[10, 20, 30], [15, 20, 30], [15, 20, 29]], atol=1e-12)


def test_rotations_apply_in_the_listed_order(tmp_path):
    (tmp_path / "x.bvh").write_text(SMALL.replace("90 0 0 -5 90 0 0", "90 0 90 -5 0 0 0"))
    _, turns = read_bvh(tmp_path / "x.bvh").places()
    # R = Rz Ry Rx with z = x = 90 degrees: (0, 1, 0) -> (0, 0, 1) by x, which z leaves alone.
    np.testing.assert_allclose(turns[1, 0] @ [0, 1, 0], [0, 0, 1], atol=1e-12)


def test_old_files_in_other_encodings_and_with_a_byte_order_mark_are_read(tmp_path):
    (tmp_path / "x.bvh").write_bytes(SMALL.replace("hip", "hüfte").encode("latin-1"))
    assert read_bvh(tmp_path / "x.bvh").names[0] == "hüfte"
    (tmp_path / "x.bvh").write_bytes(SMALL.replace("hip", "hüfte").encode("utf-8-sig"))
    assert read_bvh(tmp_path / "x.bvh").names[0] == "hüfte"


def test_a_file_of_300_channels_is_read(tmp_path):
    chain = [
        f"JOINT j{i} {{ OFFSET 0 1 0 CHANNELS 3 Zrotation Xrotation Yrotation" for i in range(99)
    ]
    text = (
        "HIERARCHY\nROOT r { OFFSET 0 0 0 CHANNELS 3 Xposition Yposition Zposition\n"
        + "\n".join(chain) + "\nEnd Site { OFFSET 0 1 0 }" + "}" * 100
        + "\nMOTION\nFrames:\t1\nFrame Time:\t.0083333\n" + "0 " * 300 + "\n\n"
    )  # fmt: skip
    (tmp_path / "x.bvh").write_text(text)
    places, _ = read_bvh(tmp_path / "x.bvh").places()
    np.testing.assert_allclose(places[0, -1], [0, 100, 0])


def without(number: int, replacement: str | None = None) -> str:
    lines = SMALL.splitlines()
    lines[number - 1 : number] = [] if replacement is None else [replacement]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: the file ends in the middle"),
        ("solid cube\nfacet", "line 1: HIERARCHY expected; found 'solid'"),
        (without(2, "JOINT hip"), "line 2: ROOT expected; found 'JOINT'"),
        (without(2, "ROOT"), "line 3: a joint's name expected"),
        (without(3), "line 3: { expected; found 'OFFSET'"),
        (without(4, "OFFSET 1 2"), "line 5: a number expected; found 'CHANNELS'"),
        (without(4, "OFFSET 1 2 nan"), "line 4: a number expected; found 'nan'"),
        (without(5, "CHANNELS x"), "line 5: the number of channels expected; found 'x'"),
        (without(5, "CHANNELS 1 Wrotation"), "line 5: no channel is called 'Wrotation'; known: X"),
        (without(8, "End Effector"), "line 8: SITE expected; found 'Effector'"),
        (without(13), r"line 13: JOINT or END or } expected; found 'MOTION'"),
        (without(14), "line 14: MOTION expected; found 'Frames:'"),
        (without(15), "line 15: 'Frames:' and a number expected; found 'Frame Time: 0.5'"),
        (without(16), "line 16: 'Frame Time:' and a number expected; found '10 20"),
        (without(16, "Frame Time: 0"), "line 16: the frame time must be a number above 0"),
        (without(16, "Frame Time: fast"), "line 16: the frame time must be .*; found 'fast'"),
        (without(17, "1 2 3"), "line 17: a frame has 10 numbers; found 3"),
        (without(17, "a " * 10), "line 17: could not convert"),
        (without(17, "nan " * 10), "line 17: a number expected; found nan"),
        (without(18), "line 17: 2 frames were announced; found 1"),
        (SMALL + "1 2 3\n", "line 19: 2 frames were announced, here is another one"),
        (without(15, "Frames: 99999999999"), "99999999999 frames were announced; there are fewer"),
        (
            "\n".join(SMALL.splitlines()[:15]),
            "line 15: 'Frame Time:' .* found 'the end of the file'",
        ),
    ],
)
def test_damaged_files_are_refused_by_line(tmp_path, text, message):
    (tmp_path / "x.bvh").write_text(text)
    with pytest.raises(ValueError, match=message) as caught:
        read_bvh(tmp_path / "x.bvh")
    assert "x.bvh is not a readable BVH file, line " in str(caught.value)


def test_a_missing_file_is_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_bvh(tmp_path / "none.bvh")
