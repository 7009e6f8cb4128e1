"""The protocols of the published tables and the evaluation by them."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import FrozenInstanceError, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.metrics.evaluate import LiftedSequence, Results, evaluate
from lithepose.metrics.pose3d import mpjpe, mpjve, n_mpjpe, p_mpjpe
from lithepose.metrics.protocols import (
    H36M17_FROM_3DHP,
    METRICS,
    PROTOCOLS,
    SWITCHES,
    Protocol,
    protocol_named,
)
from lithepose.skeletons import SKELETONS

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "protocols.md"
HUMAN36M = PROTOCOLS["human36m"]
INF_3DHP = PROTOCOLS["mpi-inf-3dhp"]
HUMANEVA = PROTOCOLS["humaneva-i"]
MPJPE_ONLY = replace(HUMAN36M, metrics=("mpjpe",))


def person(frames: int, skeleton: str = "h36m17", seed: int = 0) -> np.ndarray:
    """A moving cloud of joints of a person's size, its root at the origin: (T, J, 3) metres."""
    rng = np.random.default_rng(seed)
    joints = SKELETONS[skeleton]
    poses = 0.4 * rng.normal(size=(1, len(joints), 3)) + 0.03 * rng.normal(
        size=(frames, len(joints), 3)
    )
    return poses - poses[:, joints.root, None]


def off_by(millimetres: float, frames: int, trial: str, **other: Any) -> LiftedSequence:
    """A sequence whose 16 joints beside the root are all off by the same distance."""
    skeleton = other.pop("skeleton", "h36m17")
    target = person(frames, skeleton)
    predicted = target + [0, 0, millimetres / 1000]
    predicted[:, SKELETONS[skeleton].root] = 0
    return LiftedSequence(
        **{"subject": "S9", "camera": "1"} | other, trial=trial, predicted=predicted, target=target
    )


def noisy(subject: str, trial: str, frames: int = 6, seed: int = 0, **other: Any) -> LiftedSequence:
    skeleton = other.pop("skeleton", "h36m17")
    target = person(frames, skeleton, seed)
    noise = np.random.default_rng(seed + 1000).normal(size=target.shape)
    return LiftedSequence(
        subject=subject, trial=trial, target=target, predicted=target + 0.03 * noise, **other
    )


def all_actions() -> list[LiftedSequence]:
    """Fifteen actions of unequal length, both subjects, two cameras."""
    return [
        noisy(subject, f"{action} 1", 4 + i, seed=100 * i + ord(subject[-1]) + ord(view),
              camera=view, fps=50.0)
        for i, action in enumerate(HUMAN36M.groups)
        for subject in ("S9", "S11")
        for view in "ab"
    ]  # fmt: skip


def numbers(results: Results) -> dict[str, Any]:
    return {"totals": results.totals, "groups": results.groups, "frames": results.frames}


# --- by hand ----------------------------------------------------------------------------------


def test_the_total_is_the_plain_mean_of_actions_each_the_mean_of_its_frames():
    # Joints are off by 17 mm and the root by none, so a pose by 16. Walking: one frame of 16 and
    # three of 32: 28. Eating: one of 64. Actions: (28 + 64) / 2 = 46; frames: (16 + 96 + 64) / 5
    # = 35.2; sequences: (16 + 32 + 64) / 3 = 37.33.
    results = evaluate(
        MPJPE_ONLY,
        [off_by(17, 1, "Walking"), off_by(34, 3, "Walking 1"), off_by(68, 1, "Eating")],
    )
    assert results.groups["mpjpe"] == pytest.approx({"Eating": 64, "Walking": 28})
    assert results.totals["mpjpe"] == pytest.approx(46)
    assert results.means["mpjpe"] == pytest.approx(
        {"groups": 46, "frames": 35.2, "sequences": 112 / 3}
    )
    assert results.frames == {"Eating": 1, "Walking": 4}


def test_both_averages_are_in_the_table_under_their_own_names():
    sequences = [off_by(17, 4, "Walking"), off_by(34, 1, "Eating")]
    for average, total in (("groups", 24), ("frames", 19.2), ("sequences", 24)):
        protocol = replace(MPJPE_ONLY, average=average)
        results = evaluate(protocol, sequences)
        assert results.totals["mpjpe"] == pytest.approx(total)
        table = results.as_markdown()
        assert SWITCHES["average"][average] in table
        assert "not the total: mean of all frames: MPJPE 19.2" in table or average == "frames"


def test_tables_by_joint_are_averaged_like_the_totals():
    # Only the left knee is off, by 170 mm in one frame of Eating and 0 in three of Walking: the
    # mean of the two actions is 85 for the knee and 85 / 17 = 5 for the pose.
    sequences = [off_by(0, 1, "Eating"), off_by(0, 3, "Walking")]
    sequences[0].predicted[:, 5, 0] += 0.170
    results = evaluate(MPJPE_ONLY, sequences)
    assert results.joints["mpjpe"]["left_knee"] == pytest.approx(85)
    assert results.joints["mpjpe"]["right_knee"] == pytest.approx(0)
    assert results.totals["mpjpe"] == pytest.approx(5)
    assert results.end_joints["mpjpe"] == pytest.approx(0)
    sequences[0].predicted[:, 6, 0] += 0.340
    # Ankles and wrists: one of the four is off by 340 in one of the two actions.
    results = evaluate(MPJPE_ONLY, sequences)
    assert results.end_joints["mpjpe"] == pytest.approx(340 / 2 / 4)
    assert "| left_knee | 85.0 |" in results.joints_as_markdown()
    assert "| ankles and wrists | 42.5 |" in results.joints_as_markdown()


def test_velocities_are_weighed_by_frames_or_by_steps():
    # A sequence of 2 frames in which the 17 joints but the root step by 17 mm too far (16 on
    # average), one of 5 frames without any error. By frames: 16 * 2 / 7; by steps: 16 * 1 / 5.
    short, long = off_by(0, 2, "Walking"), off_by(0, 5, "Walking 1")
    short.predicted[1, 1:, 2] += 0.017
    protocol = replace(HUMAN36M, metrics=("mpjve",))
    by_frames = evaluate(protocol, [short, long])
    by_steps = evaluate(replace(protocol, velocity_weight="steps"), [short, long])
    assert by_frames.totals["mpjve"] == pytest.approx(32 / 7)
    assert by_steps.totals["mpjve"] == pytest.approx(16 / 5)


def test_batches_credit_their_mean_to_every_frame_of_theirs():
    # Frames of P-MPJPE e1 e2 | e3 e4 with Eating = e1, e2, e3 and Walking = e4: in batches of two
    # frames, Eating has (m12 + m12 + m34) / 3 and Walking m34, with m the means of the batches.
    eating, walking = noisy("S9", "Eating", 3, 1), noisy("S9", "Walking", 1, 2)
    e1, e2, e3 = 1000 * p_mpjpe(*zeroed(eating))
    (e4,) = 1000 * p_mpjpe(*zeroed(walking))
    protocol = replace(HUMAN36M, metrics=("p_mpjpe",), p_mpjpe_batch=2)
    results = evaluate(protocol, [eating, walking])
    m34 = (e3 + e4) / 2
    assert results.groups["p_mpjpe"] == pytest.approx(
        {"Eating": (e1 + e2 + m34) / 3, "Walking": m34}
    )
    assert results.means["p_mpjpe"]["frames"] == pytest.approx((e1 + e2 + e3 + e4) / 4)


def zeroed(sequence: LiftedSequence) -> tuple[np.ndarray, np.ndarray]:
    predicted = sequence.predicted.copy()
    predicted[:, 0] = 0
    return predicted, sequence.target


def test_scores_of_mpi_inf_3dhp_count_14_joints_and_its_errors_17():
    # The two wrists are off by 340 mm, the head, which is not counted in PCK, by 200 mm.
    sequence = off_by(0, 1, "", subject="TS1", skeleton="mpi_inf_3dhp17", camera="")
    sequence.predicted[:, [4, 7], 0] += 0.340
    sequence.predicted[:, 16, 0] += 0.200
    results = evaluate(INF_3DHP, [sequence])
    assert results.totals["pck"] == pytest.approx(100 * 12 / 14)
    assert results.totals["auc"] == pytest.approx(100 * 12 / 14 * 30 / 31)
    assert results.totals["mpjpe"] == pytest.approx((2 * 340 + 200) / 17)
    assert results.joints["pck"]["left_wrist"] == 0
    assert "head" not in results.joints["pck"]
    everything = replace(INF_3DHP, pck_joints=())
    assert evaluate(everything, [sequence]).totals["pck"] == pytest.approx(100 * 14 / 17)


def test_scenes_pool_the_frames_of_their_sequences():
    # TS1: 1 frame of 16 mm; TS2: 3 of 32; TS5: 4 of 64. GS = (16 + 96) / 4; all = (112 + 256) / 8.
    sequences = [
        off_by(mm, frames, "", subject=subject, skeleton="mpi_inf_3dhp17", camera="")
        for subject, mm, frames in (("TS1", 17, 1), ("TS2", 34, 3), ("TS5", 68, 4))
    ]
    results = evaluate(INF_3DHP, sequences)
    assert results.pools["mpjpe"] == pytest.approx({"GS": 28, "Outdoor": 64})
    assert results.totals["mpjpe"] == pytest.approx(46)
    assert results.means["mpjpe"]["groups"] == pytest.approx((16 + 32 + 64) / 3)
    assert results.missing == ["TS3", "TS4", "TS6"]
    assert "TS1 has 603 valid frames, 1 were given" in results.as_markdown()


def test_cells_of_humaneva_pool_chunks_and_cameras():
    sequences = [
        noisy(f"Validate/{subject}", f"{action} 1 chunk{chunk}", 2 + chunk, seed=seed,
              skeleton="humaneva15", camera=view)
        for seed, (subject, action, chunk, view) in enumerate(
            [("S1", "Walking", 0, "C1"), ("S1", "Walking", 2, "C1"), ("S1", "Walking", 0, "C2"),
             ("S2", "Walking", 0, "C1"), ("S3", "Box", 1, "C3")]
        )
    ]  # fmt: skip
    results = evaluate(HUMANEVA, sequences)
    assert results.frames == {"Walking S1": 2 + 4 + 2, "Walking S2": 2, "Box S3": 3}
    errors = [1000 * p_mpjpe(s.predicted, s.target) for s in sequences]
    assert results.groups["p_mpjpe"]["Walking S1"] == pytest.approx(
        np.concatenate(errors[:3]).mean()
    )
    assert results.groups["p_mpjpe"]["Box S3"] == pytest.approx(errors[4].mean())
    assert results.totals["p_mpjpe"] == pytest.approx(
        np.mean(list(results.groups["p_mpjpe"].values()))
    )
    assert "| Walk S1 | Walk S2 | Walk S3 | Jog S1 |" in results.as_markdown()


# --- properties -------------------------------------------------------------------------------


def test_totals_are_those_of_the_metrics_by_themselves():
    sequences = all_actions()
    results = evaluate(HUMAN36M, sequences)
    for name, metric in {"mpjpe": mpjpe, "p_mpjpe": p_mpjpe, "n_mpjpe": n_mpjpe}.items():
        by_action = [
            np.concatenate(
                [1000 * metric(*zeroed(s)) for s in sequences if s.trial == f"{action} 1"]
            ).mean()
            for action in HUMAN36M.groups
        ]
        assert results.totals[name] == pytest.approx(np.mean(by_action))
        assert list(results.groups[name].values()) == pytest.approx(by_action)
    by_action = [
        np.average(
            [1000 * mpjve(*zeroed(s)).mean() for s in sequences if s.trial == f"{action} 1"],
            weights=[len(s.target) for s in sequences if s.trial == f"{action} 1"],
        )
        for action in HUMAN36M.groups
    ]
    assert results.totals["mpjve"] == pytest.approx(np.mean(by_action))


@pytest.mark.parametrize("average", SWITCHES["average"])
def test_the_mean_over_joints_is_the_total(average):
    protocol = replace(
        HUMAN36M,
        metrics=("mpjpe", "p_mpjpe", "mpjve", "acceleration", "pck", "auc"),
        average=average,
        p_mpjpe_batch=7,
    )
    results = evaluate(protocol, all_actions())
    for metric, joints in results.joints.items():
        assert np.mean(list(joints.values())) == pytest.approx(results.totals[metric])


def test_the_order_of_the_sequences_does_not_matter():
    sequences = all_actions()
    turned = [sequences[i] for i in np.random.default_rng(0).permutation(len(sequences))]
    for protocol in (HUMAN36M, replace(HUMAN36M, average="frames")):
        first, second = evaluate(protocol, sequences), evaluate(protocol, turned)
        for metric in protocol.metrics:
            assert first.totals[metric] == pytest.approx(second.totals[metric], rel=1e-12)


def test_a_generator_is_read_once_and_inputs_are_left_alone():
    sequences = all_actions()
    copies = [(s.predicted.copy(), s.target.copy()) for s in sequences]
    assert numbers(evaluate(HUMAN36M, iter(sequences))) == numbers(evaluate(HUMAN36M, sequences))
    for sequence, (predicted, target) in zip(sequences, copies, strict=True):
        np.testing.assert_array_equal(sequence.predicted, predicted)
        np.testing.assert_array_equal(sequence.target, target)


def test_targets_may_be_absolute():
    sequences = all_actions()
    moved = [replace(s, target=s.target + [0.5, 1.0, 4.0]) for s in sequences]
    first, second = evaluate(HUMAN36M, sequences), evaluate(HUMAN36M, moved)
    for metric in HUMAN36M.metrics:
        assert second.totals[metric] == pytest.approx(first.totals[metric])


def test_frames_that_do_not_count_are_not_read():
    sequence = noisy("S9", "Walking", 8, fps=50.0)
    valid = np.array([True, True, True, False, False, True, True, True])
    broken = replace(sequence, predicted=sequence.predicted.copy(), valid=valid)
    broken.predicted[~valid] = np.nan
    results = evaluate(HUMAN36M, [broken])
    predicted, target = zeroed(sequence)
    assert results.totals["mpjpe"] == pytest.approx(1000 * mpjpe(predicted, target)[valid].mean())
    # Steps 2-3, 3-4 and 4-5 touch a frame that does not count.
    steps = 1000 * mpjve(predicted, target)[[0, 1, 5, 6]]
    assert results.totals["mpjve"] == pytest.approx(steps.mean())
    assert results.frames == {"Walking": 6}


def test_a_sequence_without_a_valid_frame_weighs_nothing():
    empty = replace(noisy("S9", "Eating", 5), valid=np.zeros(5, dtype=bool))
    full = noisy("S9", "Walking", 5)
    results = evaluate(HUMAN36M, [full, empty])
    assert results.totals == evaluate(HUMAN36M, [full]).totals
    assert "Eating" in results.missing


def test_a_sequence_of_one_frame_has_no_velocity_and_spoils_no_mean():
    results = evaluate(HUMAN36M, [noisy("S9", "Walking", 1), noisy("S9", "Walking 1", 4)])
    alone = evaluate(HUMAN36M, [noisy("S9", "Walking 1", 4)])
    assert results.totals["mpjve"] == pytest.approx(alone.totals["mpjve"])
    assert results.means["mpjve"]["sequences"] == pytest.approx(alone.totals["mpjve"])
    assert np.isnan(evaluate(HUMAN36M, [noisy("S9", "Walking", 1)]).totals["mpjve"])


# --- each switch changes what it says and nothing else ----------------------------------------


def compare(change: dict[str, Any], sequences: Iterable[LiftedSequence]) -> tuple[Results, Results]:
    """Results by the rule and by the other value of a switch; the table must state the change."""
    metrics = ("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve", "acceleration", "pck", "auc")
    protocol = replace(HUMAN36M, metrics=metrics)
    sequences = list(sequences)
    first, second = evaluate(protocol, sequences), evaluate(replace(protocol, **change), sequences)
    assert first.as_markdown() != second.as_markdown()
    return first, second


def same_but(changed: set[str], first: Results, second: Results) -> None:
    for metric in first.protocol.metrics:
        alike = first.totals[metric] == pytest.approx(second.totals[metric], rel=1e-12)
        assert alike == (metric not in changed), metric


def test_keeping_the_predicted_root_adds_its_error():
    first, second = compare({"predicted_root": "keep"}, all_actions())
    assert second.joints["mpjpe"]["pelvis"] > first.joints["mpjpe"]["pelvis"] == 0
    for joint in ("left_hip", "nose", "right_wrist"):
        assert second.joints["mpjpe"][joint] == pytest.approx(first.joints["mpjpe"][joint])
    assert second.totals["mpjpe"] > first.totals["mpjpe"]
    assert second.frames == first.frames


def test_subtracting_the_root_takes_absolute_poses():
    sequences = all_actions()
    rooted = [replace(s, predicted=s.predicted - s.predicted[:, :1]) for s in sequences]
    absolute = [replace(s, predicted=s.predicted + [0.3, 0.2, 4.0]) for s in rooted]
    protocol = replace(HUMAN36M, predicted_root="subtract")
    expected = evaluate(HUMAN36M, rooted)
    assert evaluate(protocol, absolute).totals == pytest.approx(expected.totals)


def test_the_average_changes_totals_and_no_column():
    sequences = all_actions()
    for average in ("frames", "sequences"):
        first, second = compare({"average": average}, sequences)
        assert first.groups == second.groups
        assert first.means == second.means
        assert second.totals == {m: second.means[m][average] for m in second.means}


def test_prefixes_let_sitting_take_sitting_down():
    first, second = compare({"group_names": "prefix"}, all_actions())
    assert second.frames["Sitting"] == first.frames["Sitting"] + first.frames["SittingDown"]
    for metric, columns in first.groups.items():
        if metric == "pck":  # all joints of these sequences are within 150 mm
            continue
        for action, value in columns.items():
            alike = second.groups[metric][action] == pytest.approx(value, rel=1e-12)
            assert alike == (action != "Sitting")
        # Every frame is still counted once.
        assert second.means[metric]["frames"] == pytest.approx(first.means[metric]["frames"])


def test_batches_change_columns_of_p_mpjpe_and_no_mean_of_frames():
    first, second = compare({"p_mpjpe_batch": 50}, all_actions())
    same_but({"p_mpjpe"}, first, second)
    assert second.means["p_mpjpe"]["frames"] == pytest.approx(first.means["p_mpjpe"]["frames"])
    # In batches of one frame nothing is blurred.
    same_but(set(), *compare({"p_mpjpe_batch": 1}, all_actions()))


def test_the_weight_of_velocities_changes_velocities_alone():
    sequences = [noisy("S9", "Walking", 3, 1), noisy("S9", "Walking 1", 30, 2)]
    same_but({"mpjve", "acceleration"}, *compare({"velocity_weight": "steps"}, sequences))


def test_velocities_per_second_are_those_per_frame_times_the_rate():
    first, second = compare({"velocity_unit": "per_second"}, all_actions())
    same_but({"mpjve", "acceleration"}, first, second)
    assert second.totals["mpjve"] == pytest.approx(50 * first.totals["mpjve"])
    assert second.totals["acceleration"] == pytest.approx(2500 * first.totals["acceleration"])
    assert "MPJVE (mm/s)" in second.as_markdown()
    assert "Acceleration (mm/s²)" in second.as_markdown()


def test_windows_as_given_count_the_frames_of_an_overlap_twice():
    # Two windows of three frames over four: frames 1 and 2 count twice.
    whole = noisy("S9", "Walking", 4)
    windows = [
        replace(whole, predicted=whole.predicted[part], target=whole.target[part])
        for part in (slice(0, 3), slice(1, 4))
    ]
    with pytest.raises(ValueError, match=r'S9 Walking comes twice.*windows="as_given"'):
        evaluate(MPJPE_ONLY, windows)
    results = evaluate(replace(MPJPE_ONLY, windows="as_given"), windows)
    errors = 1000 * mpjpe(*zeroed(whole))
    assert results.totals["mpjpe"] == pytest.approx(np.average(errors, weights=[1, 2, 2, 1]))
    assert results.frames == {"Walking": 6}


def test_excluded_sequences_are_skipped_and_named():
    corrupted = noisy("S11", "Directions", 5, 7)
    kept = [noisy("S9", "Directions", 5, 8), noisy("S11", "Directions 1", 5, 9)]
    results = evaluate(HUMAN36M, [corrupted, *kept])
    assert results.totals == evaluate(HUMAN36M, kept).totals
    assert results.left_out == 1
    assert "left out: S11 Directions" in results.as_markdown()
    everything = evaluate(replace(HUMAN36M, excluded=()), [corrupted, *kept])
    assert everything.frames["Directions"] == 15


def test_motionbert_leaves_out_three_drifting_sequences_of_s9():
    trials = ("Greeting", "Greeting 1", "SittingDown", "SittingDown 1", "Waiting", "Waiting 1")
    sequences = [noisy("S9", trial, 3, i, fps=50.0) for i, trial in enumerate(trials)]
    kept = evaluate(PROTOCOLS["human36m-motionbert"], sequences)
    titles = [score.title for score in kept.sequences]
    assert titles == ["S9 Greeting 1", "S9 SittingDown", "S9 Waiting"]
    assert len(evaluate(HUMAN36M, sequences).sequences) == 6


def test_one_frame_in_64_are_the_first_and_every_64th_after_it():
    sequence = noisy("S9", "Walking", 130)
    results = evaluate(PROTOCOLS["human36m-64"], [sequence])
    errors = 1000 * mpjpe(*zeroed(sequence))
    assert results.totals["mpjpe"] == pytest.approx(errors[[0, 64, 128]].mean())


def test_chosen_cameras_leave_out_the_others():
    sequences = all_actions()
    results = evaluate(replace(HUMAN36M, cameras=("a",)), sequences)
    assert results.left_out == 30
    only = evaluate(HUMAN36M, [s for s in sequences if s.camera == "a"])
    assert results.totals == only.totals
    assert "cameras: a" in results.as_markdown()


def test_fewer_joints_are_aligned_and_averaged_by_themselves():
    protocol = PROTOCOLS["human36m-14"]
    sequence = noisy("S9", "Walking", 5)
    chosen = [SKELETONS["h36m17"].index(joint) for joint in protocol.joints]
    results = evaluate(protocol, [sequence])
    assert results.totals["p_mpjpe"] == pytest.approx(
        1000 * p_mpjpe(sequence.predicted[:, chosen], sequence.target[:, chosen]).mean()
    )
    assert "14 joints (h36m17), root pelvis\n" in results.as_markdown()
    # What the other joints hold does not matter.
    broken = replace(sequence, predicted=sequence.predicted.copy())
    broken.predicted[:, [7, 9]] = np.nan
    assert evaluate(protocol, [broken]).totals == results.totals


def test_a_network_of_16_joints_may_say_nothing_of_joint_9():
    sequence = noisy("S9", "Walking", 5)
    broken = replace(sequence, predicted=sequence.predicted.copy())
    broken.predicted[:, 9] = np.nan
    results = evaluate(PROTOCOLS["human36m-16"], [broken])
    assert "16 joints (h36m17), root pelvis counted" in results.as_markdown()
    counted = np.delete(1000 * mpjpe(*(poses[:, :, None] for poses in zeroed(sequence))), 9, 1)
    assert results.totals["mpjpe"] == pytest.approx(counted.mean())


def test_statements_about_the_input_change_the_text_alone():
    for change in ({"flip_test": False}, {"keypoints": "projected"}):
        first, second = compare(change, all_actions())
        assert numbers(first) == numbers(second)


def test_a_model_in_h36m_order_is_scored_on_the_same_14_joints():
    native, cross = INF_3DHP, PROTOCOLS["mpi-inf-3dhp-cross"]
    names = {"thorax": "neck"}
    assert {names.get(j, j) for j in cross.pck_joints} == set(native.pck_joints)
    assert len(native.pck_joints) == 14
    assert not {"pelvis", "spine", "head", "nose"} & {*native.pck_joints, *cross.pck_joints}


def test_poses_of_3dhp_keep_their_scores_in_the_order_of_human36m():
    renamed = {"thorax": "neck", "nose": "head"}
    order = [SKELETONS["mpi_inf_3dhp17"].joints[joint] for joint in H36M17_FROM_3DHP]
    assert order == [renamed.get(joint, joint) for joint in SKELETONS["h36m17"].joints]
    native = noisy("TS1", "", 20, skeleton="mpi_inf_3dhp17")
    native.predicted[:, 3:9] += 0.1
    turned = replace(
        native,
        predicted=native.predicted[:, H36M17_FROM_3DHP],
        target=native.target[:, H36M17_FROM_3DHP],
    )
    expected = evaluate(INF_3DHP, [native])
    assert 50 < expected.totals["pck"] < 100
    found = evaluate(PROTOCOLS["mpi-inf-3dhp-cross"], [turned])
    assert found.totals == pytest.approx(expected.totals)


# --- the table of protocols -------------------------------------------------------------------


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_protocol_runs_and_states_its_rules(name):
    protocol = PROTOCOLS[name]
    assert protocol.name == name
    subject = protocol.test[0]
    trial = "" if protocol.group_by == "subject" else f"{protocol.groups[0].split()[0]} 1"
    sequence = noisy(subject, trial, 5, skeleton=protocol.skeleton)
    results = evaluate(protocol, [sequence])
    assert set(results.totals) == set(protocol.metrics)
    assert all(np.isfinite(value) for value in results.totals.values())
    table = results.as_markdown()
    for rule in protocol.rules():
        assert f"- {rule}\n" in table
    for metric in protocol.metrics:
        assert METRICS[metric].label in table
    assert "not the published total" in table
    width = {line.count("|") for line in table.splitlines() if line.startswith("|")}
    assert len(width) == 1
    with pytest.raises(FrozenInstanceError):
        protocol.average = "frames"  # pyright: ignore


def test_the_documentation_of_protocols_names_every_field():
    text = Protocol.__doc__ or ""
    assert [f.name for f in fields(Protocol) if f"\n        {f.name}: " not in text] == []


def test_a_complete_evaluation_makes_no_reservation():
    results = evaluate(HUMAN36M, all_actions())
    assert results.missing == []
    assert "not the published total" not in results.as_markdown()
    header = results.as_markdown().splitlines()[2]
    assert header == (
        "|  | Dir. | Disc. | Eat | Greet | Phone | Photo | Pose | Purch. | Sit | SitD. | Smoke | "
        "Wait | WalkD. | Walk | WalkT. | Avg. |"
    )


# --- bad input --------------------------------------------------------------------------------


def test_nan_in_a_frame_that_counts_is_refused_with_its_place():
    sequence = noisy("S9", "Walking", 6, camera="2")
    sequence.predicted[3, 5] = np.nan
    with pytest.raises(ValueError, match=r"S9 Walking 2: nan .* in 1 frames that count.*first 3"):
        evaluate(HUMAN36M, [sequence])
    sequence.predicted[3, 5] = np.inf
    with pytest.raises(ValueError, match="infinite"):
        evaluate(HUMAN36M, [sequence])
    other = noisy("S9", "Walking", 6)
    other.target[0] = np.nan
    with pytest.raises(ValueError, match="1 frames that count, the first 0"):
        evaluate(HUMAN36M, [other])


def test_nothing_to_measure_is_refused():
    with pytest.raises(ValueError, match="no frame to measure: 0 sequences"):
        evaluate(HUMAN36M, [])
    dead = replace(noisy("S9", "Walking", 4), valid=np.zeros(4, dtype=bool))
    with pytest.raises(ValueError, match="no frame to measure: 1 sequences without a valid frame"):
        evaluate(HUMAN36M, [dead])
    with pytest.raises(ValueError, match="1 left out by human36m"):
        evaluate(HUMAN36M, [noisy("S11", "Directions")])


@pytest.mark.parametrize(
    ("predicted", "target"),
    [((4, 16, 3), (4, 16, 3)), ((4, 17, 3), (5, 17, 3)), ((0, 17, 3), (0, 17, 3)),
     ((17, 3), (17, 3)), ((4, 17, 2), (4, 17, 2)), ((1, 4, 17, 3), (1, 4, 17, 3))],
)  # fmt: skip
def test_shapes_that_do_not_fit_are_refused(predicted, target):
    sequence = LiftedSequence(
        subject="S9", trial="Eating", predicted=np.zeros(predicted), target=np.zeros(target)
    )
    with pytest.raises(ValueError, match=r"S9 Eating: .* \(T, 17, 3\).*found \("):
        evaluate(HUMAN36M, [sequence])


def test_masks_that_do_not_fit_are_refused():
    sequence = noisy("S9", "Walking", 4)
    for valid in (np.ones(5, dtype=bool), np.ones((4, 17), dtype=bool), np.ones(4)):
        with pytest.raises(ValueError, match="valid must be 4 booleans"):
            evaluate(HUMAN36M, [replace(sequence, valid=valid)])


def test_subjects_and_actions_outside_the_test_set_are_refused():
    with pytest.raises(ValueError, match="human36m tests S9, S11; found 'S1'"):
        evaluate(HUMAN36M, [noisy("S1", "Walking")])
    with pytest.raises(ValueError, match="no column for 'S9 Juggling'; its columns: Directions"):
        evaluate(HUMAN36M, [noisy("S9", "Juggling")])
    with pytest.raises(ValueError, match=r"tests Validate/S1.*found 'Train/S1'"):
        evaluate(HUMANEVA, [noisy("Train/S1", "Walking 1", skeleton="humaneva15")])


def test_poses_in_millimetres_and_absolute_poses_are_refused():
    sequence = noisy("S9", "Walking")
    in_mm = replace(sequence, predicted=1000 * sequence.predicted, target=1000 * sequence.target)
    with pytest.raises(ValueError, match="divide millimetres by 1000"):
        evaluate(HUMAN36M, [in_mm])
    absolute = replace(sequence, predicted=sequence.predicted + [0, 0, 4.0])
    with pytest.raises(ValueError, match=r'poses are absolute.*predicted_root="subtract"'):
        evaluate(HUMAN36M, [absolute])


def test_velocities_at_another_frame_rate_are_refused():
    sequence = noisy("S9", "Walking", fps=25.0)
    with pytest.raises(ValueError, match=r"velocities at 50 frames per second, this has 25.*mpjve"):
        evaluate(HUMAN36M, [sequence])
    evaluate(MPJPE_ONLY, [sequence])
    unknown = noisy("S9", "Walking")
    with pytest.raises(ValueError, match="needs the fps"):
        evaluate(replace(HUMAN36M, velocity_unit="per_second"), [unknown])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"average": "median"}, "average must be one of groups, frames, sequences; found 'median'"),
        ({"predicted_root": "zeroed"}, "predicted_root must be one of zero, subtract, keep"),
        ({"metrics": ("mpjpe", "pckh")}, "no metric named 'pckh'; known: mpjpe"),
        ({"metrics": ()}, "at least one metric"),
        ({"skeleton": "h36m"}, "no skeleton named 'h36m'"),
        ({"joints": ("pelvis", "tail")}, "no joint 'tail'"),
        ({"joints": ("pelvis",), "pck_joints": ("nose",)}, "not among joints: nose"),
        ({"pools": (("indoor", ("Eating", "Skiing")),)}, "unknown columns: Skiing"),
        ({"frame_step": 0}, "at least 1"),
        ({"p_mpjpe_batch": -1}, "at least 1"),
        ({"frame_step": 64}, "velocities need consecutive frames"),
    ],
)
def test_a_protocol_that_cannot_be_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(HUMAN36M, **change)


def test_a_misspelt_protocol_is_answered_with_the_known_ones():
    assert protocol_named("human36m") is HUMAN36M
    with pytest.raises(ValueError, match=r"no protocol named 'h36m'; known: human36m, human36m-"):
        protocol_named("h36m")


# --- the guide --------------------------------------------------------------------------------


def test_the_example_of_the_guide_prints_what_the_guide_shows():
    text = GUIDE.read_text(encoding="utf-8")
    (program,) = re.findall(r"```python\n(.*?)```", text, flags=re.S)
    (expected,) = re.findall(r"```markdown\n(.*?)```", text, flags=re.S)
    printed: list[str] = []
    exec(program, {"print": lambda value: printed.append(str(value)), "__name__": "guide"})
    assert "\n".join(printed).strip() == expected.strip()


def test_the_guide_names_every_protocol_and_every_switch():
    text = GUIDE.read_text(encoding="utf-8")
    assert [name for name in PROTOCOLS if f"`{name}`" not in text] == []
    switches = {*SWITCHES, "p_mpjpe_batch", "pck_joints", "excluded", "frame_step", "flip_test"}
    assert [name for name in switches if f"`{name}`" not in text] == []
