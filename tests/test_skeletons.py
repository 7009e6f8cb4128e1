"""Joint sets and their conversions."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from lithepose.skeletons import (
    LIMB_JOINTS,
    RULES,
    SKELETONS,
    conversion,
    convert,
)

NAMES = sorted(SKELETONS)
PAIRS = list(itertools.product(NAMES, NAMES))


def random_person(name: str, dims: int, seed: int = 0, frames: int = 5) -> np.ndarray:
    shape = (frames, len(SKELETONS[name]), dims)
    return np.random.default_rng(seed).normal(size=shape)


def side(joint: str) -> str:
    return joint.split("_")[0] if joint.startswith(("left_", "right_")) else "middle"


@pytest.mark.parametrize("name", NAMES)
def test_a_joint_set_is_a_tree_with_unique_names_and_limbs_inside(name):
    skeleton = SKELETONS[name]
    count = int("".join(filter(str.isdigit, name[-2:])))
    assert len(skeleton) == len(skeleton.parents) == len(set(skeleton.joints)) == count
    assert skeleton.parents.count(-1) == 1
    assert skeleton.parents[skeleton.root] == -1
    for joint in range(len(skeleton)):
        steps = 0
        while joint != skeleton.root:
            joint = skeleton.parents[joint]
            steps += 1
            assert steps < len(skeleton)
    assert all(0 <= i < len(skeleton) for limb in skeleton.limbs for i in limb)
    # Every joint is drawn.
    assert {i for limb in skeleton.limbs for i in limb} == set(range(len(skeleton)))


@pytest.mark.parametrize("name", NAMES)
def test_left_and_right_joints_pair_up_and_bones_mirror(name):
    skeleton = SKELETONS[name]
    for left, right in skeleton.pairs:
        assert skeleton.joints[left].removeprefix("left_") == skeleton.joints[right].removeprefix(
            "right_"
        )
    sided = [j for j in skeleton.joints if side(j) != "middle"]
    assert 2 * len(skeleton.pairs) == len(sided)
    mirror = np.array(skeleton.mirror)
    assert (mirror[mirror] == np.arange(len(skeleton))).all()
    for joint, parent in enumerate(skeleton.parents):
        mirrored_parent = skeleton.parents[mirror[joint]]
        assert mirrored_parent == (mirror[parent] if parent >= 0 else -1)
    edges = {frozenset(limb) for limb in skeleton.limbs}
    assert {frozenset(int(mirror[i]) for i in edge) for edge in edges} == edges


def test_published_indices_stand_where_the_data_sets_put_them():
    blaze, coco, body25 = SKELETONS["blazepose33"], SKELETONS["coco17"], SKELETONS["body25"]
    assert [blaze.index(j) for j in ("left_shoulder", "right_hip", "left_foot_index")] == [
        11,
        24,
        31,
    ]
    assert [coco.index(j) for j in ("left_shoulder", "right_ankle")] == [5, 16]
    assert [body25.index(j) for j in ("pelvis", "right_ankle", "left_heel")] == [8, 11, 21]
    h36m = SKELETONS["h36m17"]
    assert h36m.parents == (-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15)
    assert h36m.mirror == (0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13)
    assert {h36m.joints[i].split("_")[1] for i in LIMB_JOINTS} == {
        "hip",
        "knee",
        "ankle",
        "shoulder",
        "elbow",
        "wrist",
    }
    assert SKELETONS["mpi_inf_3dhp17"].root == 14


def test_rules_move_with_the_person_and_never_raise_confidence():
    for joint, rules in RULES.items():
        for rule in rules:
            assert sum(rule.weights.values()) == pytest.approx(1.0), joint
            assert 0 < rule.trust <= 1
            # A rule of one side mixes no joint of the other.
            if side(joint) != "middle":
                assert {side(part) for part in rule.weights} == {side(joint)}


@pytest.mark.parametrize(("source", "target"), PAIRS)
def test_a_shared_joint_is_taken_over_by_name_and_nothing_else_is(source, target):
    plan = conversion(source, target)
    given, wanted = SKELETONS[source], SKELETONS[target]
    for row, joint in enumerate(wanted.joints):
        if joint in given.joints:
            expected = np.zeros(len(given))
            expected[given.index(joint)] = 1
            assert (plan.weights[row] == expected).all()
            assert plan.trust[row] == 1
            assert not plan.derived[row]
        else:
            total = plan.weights[row].sum()
            assert total == pytest.approx(1.0 if plan.derived[row] else 0.0)


@pytest.mark.parametrize(("source", "target"), PAIRS)
@pytest.mark.parametrize("dims", [2, 3])
def test_a_mirrored_person_converts_to_the_mirrored_result(source, target, dims):
    person = random_person(source, dims)
    flip = np.array([-1.0] + [1.0] * (dims - 1))
    confidence = np.random.default_rng(1).uniform(size=person.shape[:-1])
    order = list(SKELETONS[source].mirror)
    straight, sure, _ = convert(person, confidence, source, target)
    mirrored, sure_mirrored, _ = convert(
        person[..., order, :] * flip, confidence[..., order], source, target
    )
    order = list(SKELETONS[target].mirror)
    np.testing.assert_allclose(mirrored, straight[..., order, :] * flip, atol=1e-12)
    np.testing.assert_allclose(sure_mirrored, sure[..., order], atol=1e-12)


@pytest.mark.parametrize("name", NAMES)
def test_converting_to_the_same_set_changes_nothing(name):
    person = random_person(name, 2).astype(np.float32)
    person[2, 3] = np.nan
    confidence = np.isfinite(person[..., 0]).astype(np.float32) * np.float32(0.7)
    result, sure, derived = convert(person, confidence, name, name)
    np.testing.assert_array_equal(result, person)
    np.testing.assert_array_equal(sure, confidence)
    assert result.dtype == sure.dtype == np.float32
    assert not derived.any()


@pytest.mark.parametrize("other", NAMES)
def test_limb_joints_survive_a_round_trip(other):
    person = random_person("h36m17", 3)
    there, sure, _ = convert(person, None, "h36m17", other)
    back, _, derived = convert(there, sure, other, "h36m17")
    limbs = list(LIMB_JOINTS)
    np.testing.assert_array_equal(back[:, limbs], person[:, limbs])
    assert not derived[limbs].any()


@pytest.mark.parametrize("source", NAMES)
def test_every_set_gives_all_joints_of_h36m17(source):
    result, sure, _ = convert(random_person(source, 2), None, source, "h36m17")
    assert np.isfinite(result).all()
    assert (sure > 0).all()


def test_trunk_joints_from_coco_are_the_stated_points():
    # Hips at x = 0 and 2, shoulders at x = 0 and 4, heights 0 and 1: pelvis (1, 0), thorax (2, 1),
    # spine 0.47 of the way between: (1.47, 0.47).
    coco = SKELETONS["coco17"]
    person = np.zeros((17, 2))
    person[coco.index("right_hip")] = (2, 0)
    person[coco.index("left_shoulder")] = (0, 1)
    person[coco.index("right_shoulder")] = (4, 1)
    confidence = np.full(17, 0.8)
    confidence[coco.index("right_hip")] = 0.5
    result, sure, derived = convert(person, confidence, "coco17", "h36m17")
    np.testing.assert_allclose(result[[0, 8, 7]], [(1, 0), (2, 1), (1.47, 0.47)])
    # The lowest source is the right hip's 0.5; mid-points keep it, the spine's rule takes 0.8.
    np.testing.assert_allclose(sure[[0, 8, 7]], [0.5, 0.8, 0.4])
    assert [SKELETONS["h36m17"].joints[i] for i in np.flatnonzero(derived)] == [
        "pelvis",
        "spine",
        "thorax",
        "head_top",
    ]


def test_the_vertex_lies_above_the_ears_of_an_upright_head():
    # Metres, y down: shoulders at 1.42 m height, ears at 1.62 m and 0.04 m before them, nose
    # 0.10 m before the ears. By the rule: ears + 0.64 (0, -0.20, -0.04) + 0.443 (0, -0.02, 0.10).
    coco = SKELETONS["coco17"]
    person = np.zeros((17, 3))
    person[coco.index("left_shoulder")] = (0.17, -1.42, 0)
    person[coco.index("right_shoulder")] = (-0.17, -1.42, 0)
    person[coco.index("left_ear")] = (0.07, -1.62, -0.04)
    person[coco.index("right_ear")] = (-0.07, -1.62, -0.04)
    person[coco.index("nose")] = (0, -1.60, -0.14)
    top = convert(person, None, "coco17", "h36m17")[0][10]
    np.testing.assert_allclose(top, (0, -1.757, -0.021), atol=0.001)


def test_a_missing_source_joint_loses_only_what_needs_it():
    person = random_person("coco17", 2)
    person[1, SKELETONS["coco17"].index("left_hip"), 1] = np.nan
    result, sure, _ = convert(person, None, "coco17", "h36m17")
    missing = np.isnan(result).all(axis=-1)
    expected = np.zeros_like(missing)
    expected[1, [0, 4, 7]] = True  # pelvis, left hip, spine
    np.testing.assert_array_equal(missing, expected)
    np.testing.assert_array_equal(sure == 0, expected)


def test_joints_that_no_geometry_gives_are_nan_with_confidence_0():
    result, sure, derived = convert(random_person("h36m17", 2), None, "h36m17", "coco17")
    ears = [SKELETONS["coco17"].index(j) for j in ("left_ear", "right_ear")]
    assert np.isnan(result[:, ears]).all()
    assert (sure[:, ears] == 0).all()
    assert not derived[ears].any()


def test_convert_leaves_its_input_alone():
    person = random_person("coco17", 2)
    person[0, 0] = np.nan
    before = person.copy()
    result, _, derived = convert(person, None, "coco17", "coco17")
    result[:] = 0
    derived[:] = True
    np.testing.assert_array_equal(person, before)
    assert not convert(person, None, "coco17", "coco17")[2].any()


def test_convert_says_what_is_wrong():
    with pytest.raises(ValueError, match=r"known:.*coco17"):
        convert(np.zeros((17, 2)), None, "coco", "h36m17")
    with pytest.raises(ValueError, match=r"blazepose33 has 33 joints.*found \(17, 2\)"):
        convert(np.zeros((17, 2)), None, "blazepose33", "h36m17")
    with pytest.raises(ValueError, match=r"one value per keypoint, \(17,\); found \(16,\)"):
        convert(np.zeros((17, 2)), np.ones(16), "coco17", "h36m17")
    with pytest.raises(ValueError, match="h36m17 has no joint 'tail'; known: pelvis"):
        SKELETONS["h36m17"].index("tail")


def test_the_conventions_page_lists_the_joints_as_they_are():
    page = Path(__file__).parents[1] / "docs" / "conventions.md"
    cells = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in page.read_text(encoding="utf-8").splitlines()
    ]
    header = next(row for row in cells if "`blazepose33`" in row)
    assert {name.strip("`") for name in header[1:]} == set(NAMES)
    rows = [row for row in cells if len(row) == len(header) and row[0].isdigit()]
    for column, name in enumerate(header[1:], start=1):
        listed = [row[column] for row in rows if row[column]]
        assert tuple(listed) == SKELETONS[name.strip("`")].joints
