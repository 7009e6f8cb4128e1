"""Motion capture from its originals: the recipe by hand, files of our own, and CMU's."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.anthropometry import SEGMENTS
from lithepose.mocap.figures import (
    FIGURES,
    Limbs,
    guess_figure,
    limbs_of,
    on_the_floor,
    positions17,
    read_limbs,
    usable_stretches,
)
from lithepose.mocap.importing import import_motions, import_split, write_motions
from lithepose.mocap.motions import FILE_NAMES, read_motions
from lithepose.mocap.trials import listed_trials, of_split, read_trial_list, trial_named

LENGTHS = {
    "height": 1.7, "thigh": 0.4, "shin": 0.5, "hip_width": 0.2, "trunk": 0.6,
    "shoulder_width": 0.3, "upper_arm": 0.25, "forearm": 0.2,
    "neck": 0.1, "head": 0.15, "nose_forward": 0.08, "nose_up": 0.02,
}  # fmt: skip
DOWN, UP, LEFT, RIGHT, AHEAD = (
    np.array(v, float) for v in ((0, -1, 0), (0, 1, 0), (1, 0, 0), (-1, 0, 0), (0, 0, 1))
)


def standing(frames: int = 3, fps: float = 120.0) -> Limbs:
    """A figure with legs of 1 m, arms held out to the sides, facing +z: what a T-pose is."""

    def always(values: Any) -> np.ndarray:
        return np.tile(np.asarray(values, float), (frames, *[1] * np.ndim(values)))

    return Limbs(
        fps=fps,
        pelvis=always(UP + 2 * LEFT + 3 * AHEAD),
        leg_m=1.0,
        hips=always(LEFT),
        trunk=always(0.5 * UP),
        spine=always(0.2 * UP),
        shoulders=always(0.4 * LEFT),
        head=always(np.eye(3)),
        directions=always([[DOWN, DOWN, RIGHT, RIGHT], [DOWN, DOWN, LEFT, LEFT]]),
    )


# ---- The recipe ----------------------------------------------------------------------------------


def test_a_t_pose_is_built_as_worked_out_by_hand():
    # Legs of 0.9 m on one of 1 m: the pelvis is at 0.9 times its place. z up: ahead is -y.
    x, y, z = 1.8, -2.7, 0.9
    expected = np.array(
        [
            [x, y, z],
            [x - 0.1, y, z], [x - 0.1, y, z - 0.4], [x - 0.1, y, z - 0.9],
            [x + 0.1, y, z], [x + 0.1, y, z - 0.4], [x + 0.1, y, z - 0.9],
            [x, y, z + 0.47 * 0.6], [x, y, z + 0.6],
            [x, y - 0.08, z + 0.6 + 0.1 + 0.02], [x, y, z + 0.6 + 0.1 + 0.15],
            [x + 0.15, y, z + 0.6], [x + 0.4, y, z + 0.6], [x + 0.6, y, z + 0.6],
            [x - 0.15, y, z + 0.6], [x - 0.4, y, z + 0.6], [x - 0.6, y, z + 0.6],
        ]
    )  # fmt: skip
    np.testing.assert_allclose(positions17(standing(), LENGTHS), np.tile(expected, (3, 1, 1)))


def test_a_turned_head_takes_nose_and_vertex_along():
    # Tipped forward by a quarter turn about +x: up is ahead, ahead is down. The neck halves it.
    tipped = np.array([[1.0, 0, 0], [0, 0, -1], [0, 1, 0]])
    joints = positions17(replace(standing(), head=np.tile(tipped, (3, 1, 1))), LENGTHS)
    half = 0.1 * np.sqrt(0.5)
    np.testing.assert_allclose(
        joints[0, 10] - joints[0, 8], [0, -half - 0.15, half], atol=1e-12
    )  # fmt: skip
    np.testing.assert_allclose(
        joints[0, 9] - joints[0, 8], [0, -half - 0.02, half - 0.08], atol=1e-12
    )


def test_lengths_of_limbs_are_the_body_s_whatever_the_figure_s():
    random = np.random.default_rng(0)
    directions = random.normal(size=(50, 2, 4, 3))
    directions /= np.linalg.norm(directions, axis=-1, keepdims=True)
    joints = positions17(replace(standing(50), directions=directions), LENGTHS)
    for child, parent, name in (
        (2, 1, "thigh"),
        (6, 5, "shin"),
        (12, 11, "upper_arm"),
        (16, 15, "forearm"),
    ):
        lengths = np.linalg.norm(joints[:, child] - joints[:, parent], axis=-1)
        np.testing.assert_allclose(lengths, LENGTHS[name])


def test_shoulders_and_trunk_keep_their_motion_around_the_body_s_lengths():
    wide = standing(100)
    shoulders = wide.shoulders * np.linspace(0.9, 1.1, 100)[:, None]
    trunk = wide.trunk * np.linspace(0.5, 1, 100)[:, None]
    joints = positions17(replace(wide, shoulders=shoulders, trunk=trunk), LENGTHS)
    widths = np.linalg.norm(joints[:, 11] - joints[:, 14], axis=-1)
    assert np.median(widths) == pytest.approx(0.3)
    assert widths[-1] / widths[0] == pytest.approx(1.1 / 0.9)
    assert np.percentile(joints[:, 8, 2] - joints[:, 0, 2], 90) == pytest.approx(0.6)


def test_another_frame_rate_keeps_first_frame_and_directions_of_length_one():
    limbs = standing(13)
    turn = np.radians(np.linspace(0, 90, 13))  # the left forearm swings from +x to +y
    directions = limbs.directions.copy()
    directions[:, 1, 3] = np.stack([np.cos(turn), np.sin(turn), 0 * turn], -1)
    head = np.tile(np.eye(3), (13, 1, 1))
    head[:, 0, 0] = head[:, 1, 1] = np.cos(turn)
    head[:, 1, 0], head[:, 0, 1] = np.sin(turn), -np.sin(turn)
    found = replace(limbs, directions=directions, head=head).resampled(50)
    # Twelve steps of 1/120 s are five of 1/50 s.
    assert len(found) == 6
    assert found.fps == 50
    np.testing.assert_allclose(np.linalg.norm(found.directions, axis=-1), 1)
    np.testing.assert_allclose(found.directions[[0, 5], 1, 3], [LEFT, UP], atol=1e-12)
    angles = np.degrees(np.arctan2(found.head[:, 1, 0], found.head[:, 0, 0]))
    np.testing.assert_allclose(angles, np.linspace(0, 90, 6), atol=1e-9)
    # Up to 0.01 degrees: a straight line between two directions is not quite an arc.
    angles = np.degrees(np.arctan2(found.directions[:, 1, 3, 1], found.directions[:, 1, 3, 0]))
    np.testing.assert_allclose(angles, np.linspace(0, 90, 6), atol=0.01)


def test_one_frame_stays_one_frame():
    assert len(standing(1).resampled(50)) == 1


def test_all_stretches_of_a_clip_stand_on_one_floor_and_start_over_the_origin():
    one = positions17(standing(40), LENGTHS)
    high = one + [1, 1, 2]
    floored = on_the_floor([one, high], 1.71)
    assert floored[0][0, 6, 2] == pytest.approx(0.083)
    np.testing.assert_allclose(floored[0][0, 0, :2], 0, atol=1e-12)
    np.testing.assert_allclose(floored[1] - floored[0], np.broadcast_to([1, 1, 2], one.shape))


# ---- What is fit to use --------------------------------------------------------------------------


def test_a_leap_of_a_limb_splits_the_recording_with_a_margin():
    limbs = standing(400)
    limbs.directions[200:, 1, 3] = UP  # 90 degrees from frame 199 to 200
    # Frames 199 and 200 go, and a fortieth of a second (3 frames) before and after them.
    assert usable_stretches(limbs) == [(0, 196), (204, 400)]
    assert usable_stretches(limbs, 11) == [(11, 196), (204, 400)]


def test_a_leap_of_the_pelvis_splits_the_recording():
    limbs = standing(400)
    limbs.pelvis[200:] += 0.1 * AHEAD  # 12 m/s
    assert usable_stretches(limbs) == [(0, 196), (204, 400)]


def test_a_knee_bent_the_wrong_way_is_left_out_and_one_bent_the_right_way_is_not():
    for sign, expected in ((-1, [(0, 400)]), (1, [(0, 180), (220, 400)])):
        limbs = standing(400)
        bend = np.radians(np.interp(np.arange(400), [150, 200, 250], [0, 60, 0]))
        limbs.directions[:, 0, 1] = np.stack([0 * bend, -np.cos(bend), sign * np.sin(bend)], -1)
        found = usable_stretches(limbs)
        assert len(found) == len(expected)
        np.testing.assert_allclose(np.ravel(found), np.ravel(expected), atol=6)


def test_stretches_shorter_than_six_tenths_of_a_second_are_left_out():
    limbs = standing(200)
    limbs.pelvis[70:] += AHEAD
    assert usable_stretches(limbs) == [(74, 200)]
    assert usable_stretches(standing(71)) == []
    assert usable_stretches(standing(72)) == [(0, 72)]


def test_recordings_of_few_frames_a_second_have_a_lower_limit_and_no_margin():
    limbs = standing(100, fps=30.0)
    turn = np.radians(88)  # in one frame of 30 a second, 2640 degrees a second
    limbs.directions[50:, 1, 3] = [np.cos(turn), np.sin(turn), 0]
    assert usable_stretches(limbs) == [(0, 49), (51, 100)]
    assert usable_stretches(replace(limbs, fps=60.0)) != [(0, 100)]


# ---- The kinds of files --------------------------------------------------------------------------


def figure_nodes(kind: str) -> list[str]:
    extra = {"max": ["Chest2"]}.get(kind, [])
    return sorted(FIGURES[kind].nodes()) + extra


def figure_places(kind: str) -> np.ndarray:
    """(2, N, 3) metres: a figure standing with its arms out, as a file of that kind has it."""
    figure = FIGURES[kind]
    at = {figure.head: (0, 1.6, 0), "Chest2": (0, 1.2, 0)} | dict.fromkeys(
        figure.spine, (0, 1.1, 0)
    )
    for side, x in (("left", 1), ("right", -1)):
        spots = ((0.1, 0.9), (0.1, 0.5), (0.1, 0.1), (0.2, 1.4), (0.5, 1.4), (0.7, 1.4))
        for number, (out, height) in enumerate(spots):
            at[figure.joint(number, side)] = (x * out, height, 0)
    return np.tile(np.array([at[name] for name in figure_nodes(kind)], float), (2, 1, 1))


@pytest.mark.parametrize("kind", FIGURES)
def test_every_kind_of_file_is_recognised_and_gives_the_same_limbs(kind):
    names, places = figure_nodes(kind), figure_places(kind)
    turns = np.tile(np.eye(3), (2, len(names), 1, 1))
    assert guess_figure(reversed(names)) == kind
    limbs = limbs_of(places, turns, names, fps=120.0)
    expected = standing(2)
    # The puppet's limbs lie up to 9 degrees off the axes of its joints.
    tolerance = 0.15 if kind == "daz" else 1e-9
    np.testing.assert_allclose(limbs.directions, expected.directions, atol=tolerance)
    np.testing.assert_allclose(limbs.hips, expected.hips)
    np.testing.assert_allclose(limbs.pelvis, [[0, 0.9, 0]] * 2)
    np.testing.assert_allclose(limbs.shoulders, [[0.4, 0, 0]] * 2)
    # amc2bvh leaves the thorax bone out: 2.068 units of 1 / 0.45 inch.
    missing = 2.068 * 0.0254 / 0.45 if kind == "max" else 0
    np.testing.assert_allclose(limbs.trunk, [[0, 0.5 + missing, 0]] * 2)
    np.testing.assert_allclose(limbs.spine, [[0, 0.2, 0]] * 2)
    assert limbs.leg_m == pytest.approx(0.8)
    # All but the Daz figure look up by 15.8 degrees at rest.
    gaze = 0.0 if kind == "daz" else 15.8
    assert np.degrees(np.arcsin(limbs.head[0, 1, 2])) == pytest.approx(gaze, abs=0.1)


def test_a_figure_of_no_known_kind_is_refused():
    with pytest.raises(ValueError, match=r"none of the known kinds.*amc \(lhipjoint"):
        guess_figure(["Hips", "LeftUpLeg"])
    names, places = figure_nodes("daz"), figure_places("daz")
    turns = np.tile(np.eye(3), (2, len(names), 1, 1))
    with pytest.raises(ValueError, match=r"no kind of file is called 'dax'; known: amc"):
        limbs_of(places, turns, names, fps=120.0, figure="dax")
    with pytest.raises(ValueError, match="a file of kind iclone has the joints CC_Base_Head"):
        limbs_of(places, turns, names, fps=120.0, figure="iclone")
    with pytest.raises(ValueError, match="there are no frames in it"):
        limbs_of(places[:0], turns[:0], names, fps=120.0)
    with pytest.raises(ValueError, match="have no length"):
        limbs_of(0 * places, turns, names, fps=120.0)


# ---- Trials and bodies ---------------------------------------------------------------------------


def test_the_list_has_the_splits_of_the_documentation():
    splits = {name: listed_trials(name) for name in ("train", "val", "test", "all")}
    assert {name: len(trials) for name, trials in splits.items()} == {
        "train": 154, "val": 32, "test": 31, "all": 217,
    }  # fmt: skip
    subjects = {name: {trial.subject for trial in trials} for name, trials in splits.items()}
    assert subjects["val"] == {"02", "07", "43", "49", "131"}
    assert subjects["test"] == {"03", "06", "11", "94", "139", "140"}
    assert not subjects["train"] & (subjects["val"] | subjects["test"])
    assert not subjects["all"] & {"05", "09", "12", "85", "90"}
    assert not {trial.name for trial in splits["all"]} & {"07_12", "09_10", "14_36"}
    for trial in splits["all"]:
        assert set(trial.body) == set(FILE_NAMES)
        ends = np.ravel(trial.stretches)
        assert (np.diff(ends) > 0).all()
    with pytest.raises(ValueError, match="no split is called 'dev'; known: train, val"):
        listed_trials("dev")


def test_trials_are_found_by_any_spelling_of_their_number():
    assert trial_named("2_1") == trial_named("002_01") == trial_named("02_01")
    assert trial_named("02_01").stretches == ((0, 343),)
    assert trial_named("127_24").fps == 30
    for name in ("02", "02-01", "walk", "", "02_01_03"):
        with pytest.raises(ValueError, match="is no trial; expected subject and number"):
            trial_named(name)


def test_an_unlisted_subject_always_gets_the_same_body():
    trial, again, other = (trial_named(name) for name in ("20_01", "20_02", "21_01"))
    assert trial.split == "train"
    assert trial.stretches == ()
    assert trial.body == again.body
    assert trial.body != other.body
    for number in range(200, 260):
        body = trial_named(f"{number}_01").body
        assert 1.5 <= body["height"] <= 1.95
        for name, mean in SEGMENTS.items():
            assert body[name] / body["height"] == pytest.approx(mean, rel=0.3)
    assert trial_named("05_02").split == "held back"
    assert [t.name for t in of_split([trial, trial_named("05_02")], "train")] == ["20_01"]
    assert trial_named("02_99").body == trial_named("02_01").body


def test_a_list_of_trials_is_read(tmp_path):
    text = "\ufeff# walking\n02_01  # subject 02\n\n 35_1\n"
    (tmp_path / "list.txt").write_text(text, encoding="utf-8")
    assert [trial.name for trial in read_trial_list(tmp_path / "list.txt")] == ["02_01", "35_01"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("# nothing\n", "names no trial"),
        ("02_01\n2_01\n", "line 2: 02_01 is named twice"),
        ("02_01\n02_01.amc\n", "line 2: '02_01.amc' is no trial"),
        ("\xff", "is no text file"),
    ],
)
def test_a_wrong_list_of_trials_is_refused(tmp_path, text, message):
    (tmp_path / "list.txt").write_bytes(text.encode("latin-1"))
    with pytest.raises(ValueError, match=message):
        read_trial_list(tmp_path / "list.txt")


# ---- Folders of originals, written here ----------------------------------------------------------

# name, parent, direction and length of bones as CMU's skeletons have them, in units.
BONES = [
    ("lowerback", "root", (0, 1, 0), 2), ("upperback", "lowerback", (0, 1, 0), 2),
    ("thorax", "upperback", (0, 1, 0), 2), ("head", "thorax", (0, 1, 0), 3),
]  # fmt: skip
for _side, _x in (("l", 1), ("r", -1)):
    BONES += [
        (f"{_side}hipjoint", "root", (_x, 0, 0), 2),
        (f"{_side}femur", f"{_side}hipjoint", (0, -1, 0), 7),
        (f"{_side}tibia", f"{_side}femur", (0, -1, 0), 7),
        (f"{_side}clavicle", "thorax", (_x, 0, 0), 3),
        (f"{_side}humerus", f"{_side}clavicle", (_x, 0, 0), 5),
        (f"{_side}radius", f"{_side}humerus", (_x, 0, 0), 4),
    ]


def write_asf(path: Path) -> None:
    bones = "".join(
        f"begin\nname {name}\ndirection {x} {y} {z}\nlength {length}\naxis 0 0 0 XYZ\n"
        f"{'' if name.endswith('joint') else 'dof rx ry rz'}\nend\n"
        for name, _, (x, y, z), length in BONES
    )
    tree = "".join(f"{parent} {name}\n" for name, parent, _, _ in BONES)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        ":units\nlength 0.45\nangle deg\n:root\norder TX TY TZ RX RY RZ\naxis XYZ\n"
        f":bonedata\n{bones}:hierarchy\nbegin\n{tree}end\n"
    )


def write_amc(path: Path, frames: int) -> None:
    """Somebody who slides along +z and swings the left forearm up and down."""
    text = ":DEGREES\n"
    for frame in range(frames):
        text += f"{frame + 1}\nroot 0 15 {frame / 20} 0 0 0\n"
        for name, *_ in BONES:
            if not name.endswith("joint"):
                turn = 60 * np.sin(frame / 30) if name == "lradius" else 0
                text += f"{name} 0 0 {turn:.6f}\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def write_bvh(path: Path, frames: int) -> None:
    """The same, without the swing, as amc2bvh names its joints."""
    tree = {
        "Hips": [((0, 2, 0), "Chest"), ((2, 0, 0), "LeftHip"), ((-2, 0, 0), "RightHip")],
        "Chest": [((0, 2, 0), "Chest2")],
        "Chest2": [((0, 2, 0), "Head"), ((3, 0, 0), "LeftShoulder"), ((-3, 0, 0), "RightShoulder")],
    }  # fmt: skip
    for side, x in (("Left", 1), ("Right", -1)):
        tree |= {
            f"{side}Hip": [((0, -7, 0), f"{side}Knee")],
            f"{side}Knee": [((0, -7, 0), f"{side}Ankle")],
            f"{side}Shoulder": [((5 * x, 0, 0), f"{side}Elbow")],
            f"{side}Elbow": [((4 * x, 0, 0), f"{side}Wrist")],
        }
    count = 0

    def joint(name: str, offset: tuple[int, int, int], title: str) -> str:
        nonlocal count
        count += 1
        channels = "3 Zrotation Yrotation Xrotation"
        if title == "ROOT":
            channels = "6 Xposition Yposition Zposition Zrotation Yrotation Xrotation"
        below = "".join(joint(child, at, "JOINT") for at, child in tree.get(name, []))
        at = " ".join(map(str, offset))
        return f"{title} {name}\n{{\nOFFSET {at}\nCHANNELS {channels}\n{below}}}\n"

    text = "HIERARCHY\n" + joint("Hips", (0, 0, 0), "ROOT")
    text += f"MOTION\nFrames: {frames}\nFrame Time: {1 / 120:.8f}\n"
    for frame in range(frames):
        text += f"0 15 {frame / 20} " + "0 " * (3 * count) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    """A folder as CMU's: 02_01 as long as listed, and 20_01, which is not listed."""
    folder = tmp_path / "cmu"
    for subject, trial, frames in (("02", "01", 343), ("20", "01", 241)):
        write_asf(folder / f"subjects/{subject}/{subject}.asf")
        write_amc(folder / f"subjects/{subject}/{subject}_{trial}.amc", frames)
    return folder


def named(*names: str) -> list:
    return [trial_named(name) for name in names]


def test_trials_are_imported_from_a_folder_as_cmu_has_it(originals, tmp_path):
    steps = []
    imported = import_motions(
        originals, named("02_01", "20_01", "35_01"), report=lambda *step: steps.append(step)
    )
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert imported.missing == ["35_01"]
    assert imported.refused == {}
    assert imported.found == 2
    assert [len(clip.joints) for clip in imported.clips] == [143, 101]
    assert imported.seconds == pytest.approx(244 / 50)
    listed, unlisted = imported.clips
    assert listed.source == "subjects/02/02_01.amc"
    assert listed.frames == (0, 343)
    assert unlisted.frames == (0, 241)
    # 20 units a second on a leg of 14 units become metres on the body's leg.
    leg = unlisted.trial.body["thigh"] + unlisted.trial.body["shin"]
    way = unlisted.joints[-1, 0] - unlisted.joints[0, 0]
    np.testing.assert_allclose(way, [0, -2 * 6 * leg / 14, 0], atol=1e-4)

    write_motions(tmp_path / "m.npz", imported.clips)
    motions = read_motions(tmp_path / "m.npz")
    assert motions.clip.tolist() == ["02_01", "20_01"]
    assert motions.subject.tolist() == ["02", "20"]
    assert motions.fps == 50
    assert motions.height[0] == pytest.approx(1.7009444)
    thighs = np.linalg.norm(motions.positions[:, 2] - motions.positions[:, 1], axis=-1)
    np.testing.assert_allclose(thighs[[0, -1]], motions.lengths[:, 2], rtol=1e-4)


def test_bvh_files_count_their_frames_without_the_added_t_pose(originals):
    (originals / "subjects/02/02_01.amc").unlink()
    write_bvh(originals / "elsewhere/cmu_2_1.bvh", 344)
    (clip,) = import_motions(originals, named("02_01")).clips
    assert clip.figure == "max"
    assert clip.source == "elsewhere/cmu_2_1.bvh"
    assert clip.frames == (2, 343)


def test_of_two_files_of_a_trial_the_listed_kind_is_taken_then_amc(originals):
    write_bvh(originals / "bvh/02_01.bvh", 344)
    assert [clip.figure for clip in import_motions(originals, named("02_01")).clips] == ["amc"]
    write_bvh(originals / "bvh/131_01.bvh", 994)
    write_amc(originals / "131_01.amc", 993)
    assert [clip.figure for clip in import_motions(originals, named("131_01")).clips] == ["max"]
    write_bvh(originals / "bvh/20_01.bvh", 242)
    assert [clip.figure for clip in import_motions(originals, named("20_01")).clips] == ["amc"]


def test_files_that_cannot_be_used_are_refused_with_the_reason(originals):
    subjects = originals / "subjects"
    write_amc(subjects / "35/35_01.amc", 100)  # no skeleton
    write_asf(subjects / "36/36.asf")
    (subjects / "36/36_01.amc").write_text("1\nroot 0 0\n")
    write_amc(subjects / "36/36_02.amc", 60)  # half a second
    write_amc(subjects / "36/copy/36_02.amc", 60)
    write_amc(subjects / "36/36_03.amc", 60)
    write_amc(subjects / "02/02_03.amc", 100)  # 173 are listed
    (subjects / "02/02_04.bvh").write_text("HIERARCHY\n")
    imported = import_motions(
        originals,
        named("35_01", "36_01", "36_02", "36_03", "02_03", "02_04", "14_36", "02_01"),
    )
    assert [clip.trial.name for clip in imported.clips] == ["02_01"]
    expected = {
        "35_01": r"35_01\.amc needs its subject's skeleton beside it: put 35\.asf into",
        "36_01": r"36_01\.amc is not a readable AMC file, line 2: 'root' takes 6 numbers",
        "36_02": r"36_02\.amc and .*36_02\.amc are both of it: keep one of them",
        "36_03": r"36_03\.amc has no 0\.6 s of motion",
        "02_03": r"the list uses 173 frames of it, the file has 100",
        "02_04": r"02_04\.bvh is not a readable BVH file",
        "14_36": r"a copy of 14_31, so it is left out",
    }
    assert set(imported.refused) == set(expected)
    for name, why in expected.items():
        assert re.search(why, imported.refused[name]), imported.refused[name]


def test_a_skeleton_elsewhere_in_the_folder_serves_too(originals):
    (originals / "subjects/20/20.asf").rename(originals / "20.asf")
    assert import_motions(originals, named("20_01")).found == 1
    write_asf(originals / "more/020.asf")
    refused = import_motions(originals, named("20_01")).refused
    assert "there are 2, put 20.asf into the same folder" in refused["20_01"]


def test_a_missing_folder_says_where_the_originals_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"docs/data/mocap_import.md"):
        import_motions(tmp_path / "none", named("02_01"))


def test_nothing_is_written_without_clips(tmp_path):
    with pytest.raises(ValueError, match="no clip to write"):
        write_motions(tmp_path / "m.npz", [])
    assert list(tmp_path.iterdir()) == []


def test_a_motion_without_a_skeleton_or_of_another_figure_is_refused(originals):
    amc = originals / "subjects/20/20_01.amc"
    with pytest.raises(ValueError, match=r"without its skeleton: give the \.asf file"):
        read_limbs(amc)
    with pytest.raises(ValueError, match=r"20_01\.amc: a file of kind daz has the joints"):
        read_limbs(amc, skeleton=amc.with_name("20.asf"), figure="daz")


# ---- CMU's files ---------------------------------------------------------------------------------

RAW = {
    **{name: f"asfamc_{name}" for name in ("01_08", "02_01", "02_03", "02_04", "03_01")},
    **{name: name for name in (
        "daz_02_01", "daz_02_04", "daz_06_06", "daz_07_01", "daz_08_02", "daz_10_04", "daz_13_11",
        "daz_13_39", "daz_14_37", "daz_60_10", "daz_135_04", "iclone_02_01", "iclone_07_01",
        "amc2bvh_131_01", "amc2bvh_131_03",
    )},
}  # fmt: skip


def read_raw(shared: Any, name: str) -> tuple[Limbs, str]:
    if RAW[name] == name:
        return read_limbs(shared(f"mocap/raw/{name}.bvh"))
    return read_limbs(
        shared(f"mocap/raw/{name}.amc"), skeleton=shared(f"mocap/raw/{name[:2]}.asf")
    )  # fmt: skip


@pytest.mark.parametrize("name", RAW)
def test_the_recipe_gives_the_expected_positions(shared, name):
    limbs, _ = read_raw(shared, name)
    mean = {part: 1.71 * share for part, share in SEGMENTS.items()}
    with np.load(shared(f"mocap/raw/{RAW[name]}.expected.npz")) as expected:
        first = int(expected["first_frame_used"])
        found = positions17(limbs[first:], mean)[expected["frames17"] - first]
        # The tolerance of the expected files is 2 mm; the constants here are nearer than that.
        np.testing.assert_allclose(found, expected["pos17"], atol=1e-4)


@pytest.mark.parametrize("name", RAW)
def test_the_stretches_fit_to_use_are_those_of_the_list(shared, name):
    limbs, kind = read_raw(shared, name)
    figure, trial = FIGURES[kind], trial_named(re.sub(r"^[a-z0-9]+_(?=.*_)", "", name))
    found = [
        (first - figure.rest, end - figure.rest)
        for first, end in usable_stretches(limbs, figure.lead)
    ]
    if kind == trial.figure:
        assert found == list(trial.stretches)
    else:
        assert len(found) == 1


def test_imported_trials_equal_those_of_the_prepared_files(shared):
    prepared = {}
    for split in ("train", "val", "test"):
        with np.load(shared(f"mocap/cmu17_{split}.npz")) as file:
            arrays = {name: file[name] for name in file}
        for at, name in enumerate(arrays["clip"]):
            start, end = arrays["clip_start"][at : at + 2]
            key = (str(name), int(arrays["segment"][at]))
            prepared[key] = (arrays["pos"][start:end], arrays["source_kind"][at], split)
    imported = import_motions(shared("mocap/raw"), listed_trials())
    assert imported.found == 16
    same_kind = 0
    for clip in imported.clips:
        positions, kind, split = prepared[clip.trial.name, clip.segment]
        assert clip.trial.split == split
        if clip.figure == kind:
            same_kind += 1
            assert len(clip.joints) == len(positions)
            # amc2bvh's missing thorax bone is known to a tenth of a millimetre.
            tolerance = 2e-4 if kind == "max" else 5e-6
            np.testing.assert_allclose(clip.joints, positions, atol=tolerance)
    assert same_kind == 11


def test_prepared_files_are_taken_for_complete_and_kept(shared):
    folder = shared("mocap")
    for split, trials in (("train", 154), ("val", 32), ("test", 31)):
        made = import_split(folder, folder, split)
        assert made.imported is None
        assert (made.path.name, made.trials, made.problem) == (f"cmu17_{split}.npz", trials, "")


def test_the_bodies_are_those_of_the_prepared_files(shared):
    for split in ("train", "val", "test"):
        with np.load(shared(f"mocap/cmu17_{split}.npz")) as file:
            assert tuple(file["body_names"]) == tuple(FILE_NAMES.values())
            trials = {trial.name: trial for trial in listed_trials(split)}
            named = [at for at, subject in enumerate(file["subject"]) if subject != "unknown"]
            assert {str(file["clip"][at]) for at in named} == set(trials)
            for at in named:
                body = list(trials[str(file["clip"][at])].body.values())
                np.testing.assert_array_equal(np.array(body, np.float32), file["body"][at])
