"""The protocols of the published tables, as values, and the evaluation by one of them.

Two numbers may stand in one column only if they were measured alike. A `Protocol` says how: which
part of which data, which joints, which metrics, what is averaged over what, and the points on which
public evaluators disagree, each a field of its own whose default is the official rule or, where
there is none, the exact one. `PROTOCOLS` has those of the papers; `replace(PROTOCOLS[...], ...)`
makes others, and every table states the rules it was made by.

    results = evaluate(PROTOCOLS["human36m"], sequences)
    table = results.as_markdown()

Sequences are in metres, results in millimetres and percent. `docs/guides/protocols.md` tells which
protocol belongs to which paper.

Source: the public code of VideoPose3D, MixSTE, MotionBERT, HoT, HTNet, GraphMLP and P-STMO, and the
evaluation tool of MPI-INF-3DHP.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.metrics.pose3d import (
    AUC_MILLIMETRE_THRESHOLDS_M,
    AUC_THRESHOLDS_M,
    PCK_THRESHOLD_M,
    align_scale,
    align_similarity,
    joint_errors,
    limb_steps,
    root_relative,
    share_of_thresholds,
    step_errors,
)
from lithepose.skeletons import LIMB_JOINTS, SKELETONS, skeleton_named

MM = 1000.0
# Root-relative networks leave their root within centimetres of the origin; further off the poses
# are absolute, and setting their root to the origin would tear it off the body.
ROOT_REACH_M = 0.5
# No joint is further from the pelvis; beyond it the poses are not in metres.
BODY_REACH_M = 3.0

# For each joint of h36m17 the joint of mpi_inf_3dhp17 that stands for it when poses of MPI-INF-3DHP
# are compared with those of networks for Human3.6M: `poses[..., H36M17_FROM_3DHP, :]`. Its neck
# stands for the thorax and its head for joint 9, where `skeletons.convert`, which goes by the
# points' true places, would take the mid-point of the shoulders. As GraphMLP stores the data.
H36M17_FROM_3DHP = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)


class FarRootError(ValueError):
    """The predicted root is far from the origin, where poses relative to it have it."""


@dataclass(frozen=True)
class Metric:
    """One row of a table.

    Attributes:
        label: as papers print it.
        unit: of the result.
        alignment: what is done to each predicted pose first: nothing, scale, similarity.
        order: how many frames a difference in time reads beyond the first.
        is_score: whether it counts joints within thresholds, over the protocol's `pck_joints`.
        joint_values: predicted and target (T, J, 3) metres -> (T - order, J); their mean over
            frames and joints is the metric.
    """

    label: str
    unit: str
    alignment: Literal["none", "scale", "similarity"]
    joint_values: Callable[[Floats, Floats], Floats]
    order: int = 0
    is_score: bool = False


METRICS: dict[str, Metric] = {
    "mpjpe": Metric("MPJPE", "mm", "none", lambda p, g: MM * joint_errors(p, g)),
    "p_mpjpe": Metric(
        "P-MPJPE", "mm", "similarity", lambda p, g: MM * joint_errors(align_similarity(p, g), g)
    ),
    "n_mpjpe": Metric(
        "N-MPJPE", "mm", "scale", lambda p, g: MM * joint_errors(align_scale(p, g), g)
    ),
    "mpjve": Metric("MPJVE", "mm/frame", "none", lambda p, g: MM * step_errors(p, g, 1), order=1),
    "acceleration": Metric(
        "Acceleration", "mm/frame²", "none", lambda p, g: MM * step_errors(p, g, 2), order=2
    ),
    "pck": Metric(
        "PCK@150",
        "%",
        "none",
        lambda p, g: share_of_thresholds(joint_errors(p, g), [PCK_THRESHOLD_M]),
        is_score=True,
    ),
    "auc": Metric(
        "AUC",
        "%",
        "none",
        lambda p, g: share_of_thresholds(joint_errors(p, g), AUC_THRESHOLDS_M),
        is_score=True,
    ),
    "auc_by_millimetre": Metric(
        "AUC (0-149 mm by 1)",
        "%",
        "none",
        lambda p, g: share_of_thresholds(joint_errors(p, g), AUC_MILLIMETRE_THRESHOLDS_M),
        is_score=True,
    ),
}

# Field -> value -> what it says under a table. `Protocol` tells who uses which.
SWITCHES: dict[str, dict[str, str]] = {
    "predicted_root": {
        "zero": "the predicted root is set to the origin before the metrics",
        "subtract": "the predicted root is subtracted from all joints",
        "keep": "the predicted root is compared as predicted, with a target at the origin",
    },
    "average": {
        "groups": "total = plain mean of the columns, each the mean of its frames",
        "frames": "total = mean of all frames",
        "sequences": "total = plain mean of the sequences' means",
    },
    "group_names": {
        "exact": "a sequence's action is its name up to the first space",
        "prefix": "an action's column takes every sequence whose name begins with it",
    },
    "windows": {
        "whole": "every frame counts once",
        "as_given": "frames count as often as the network's windows show them",
    },
    "velocity_weight": {
        "frames": "MPJVE is averaged over sequences by their frames",
        "steps": "MPJVE is averaged over sequences by their steps between frames",
    },
    "velocity_unit": {
        "per_frame": "velocities are per frame",
        "per_second": "velocities are per second",
    },
    "keypoints": {
        "cpn": "2D from CPN fine-tuned on Human3.6M, as in VideoPose3D's file",
        "hourglass": "2D from a fine-tuned stacked hourglass",
        "hrnet": "2D from HRNet",
        "mask_rcnn": "2D from Flags R-CNN (COCO)",
        "projected": "ground-truth 2D, projected with lens distortion",
        "orthographic": "ground-truth 2D, taken from the scaled 3D target (orthographic)",
        "annotated": "ground-truth 2D of the data set",
    },
}


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a published number is measured.

    Attributes:
        name: key in `PROTOCOLS`.
        table: the tables it belongs to.
        dataset: the data set by its usual name.
        train: what the network may have learnt from; a statement, it cannot be checked here.
        test: the subjects that are measured, as sequences name them.
        skeleton: joint set and order of all poses, key in `SKELETONS`.
        joints: names of the joints that count in errors and in alignments; empty for all of the
            skeleton. The root counts like any other: its error is 0 or small, so a mean over 16
            joints without it is about 6 % larger. State the number of joints with every result.
        pck_joints: names of the joints that count in PCK and AUC; empty for `joints`. Officially
            14 on MPI-INF-3DHP, without pelvis, spine and head. GraphMLP, NanoHTNet and the code of
            HTNet count all 17: the three more are almost always right, which raises the score.
        root: name of the joint that all poses are relative to.
        metrics: keys in `METRICS`, in the order of the rows. "auc" has the official 31 thresholds,
            "auc_by_millimetre" those of GraphMLP and NanoHTNet, which give more.
        group_by: what a column of the table is.
        groups: the columns in the order of the table.
        pools: (name, columns) of further columns, each over the frames of several.
        average: how the total is made. Papers on Human3.6M take the plain mean of the 15 actions
            ("groups"), MMPose prints the mean of all "frames" beside it (0.5 mm more for
            MotionBERT), and MPI-INF-3DHP's tool pools the frames. `Results.means` has all three.
        fps: frame rate of the data; None if it varies. MPJVE per frame means nothing at another.
        frame_step: every how many frames one is measured. Papers before 2018 took each 64th, or
            one `cameras`: not comparable.
        cameras: those that are measured; empty for all.
        flip_test: whether predictions are averaged with those of the mirrored input; a statement,
            it cannot be checked here. All tables of video lifting models do.
        keypoints: where the 2D input is from; a statement. Hourglass and HRNet give lower errors
            than CPN, projected and orthographic ground truth differ: never in one column.
        predicted_root: "zero" (HoT, MHFormer, GraphMLP, HTNet) sets the predicted root to the
            origin; "keep" (VideoPose3D, PoseFormer, MixSTE) compares it as predicted, which adds
            its error to the mean and moves the alignments a little; "subtract" moves the pose so
            that its root is at the origin, the only choice for absolute poses.
        group_names: "exact" takes the name up to the first space. "prefix", the filter of
            VideoPose3D and its relatives for chosen actions, lets "Sitting" take the sequences of
            SittingDown too and raises that column.
        p_mpjpe_batch: None gives every frame its own P-MPJPE. The code of HoT, HTNet and GraphMLP
            computes one mean per test batch and credits it to the action of each frame, so that
            columns mix where a batch spans two actions: their batch size in frames does the same,
            for sequences in their order. The mean of all frames stays.
        velocity_weight: "frames" (VideoPose3D) weighs each sequence's MPJVE by its frames;
            "steps" by its frames less one, which is the mean of all steps. The difference is in
            the third digit.
        velocity_unit: "per_frame" as in all tables; "per_second" needs each sequence's fps.
        windows: "whole" refuses a sequence that comes twice. "as_given" (MixSTE, HoT) takes the
            network's windows one by one: frames in the overlap of the last window (MixSTE) and
            repeated frames at the ends (HoT) count as often as they come; it shows in the second
            decimal.
        excluded: (subject, trial) pairs that are left out. On Human3.6M everyone drops the
            corrupted first Directions of S11; MotionBERT and MotionAGFormer also three of S9 whose
            truth drifts, and so have lower errors.
        frames_expected: (column, valid frames), where the data set states them.
        notes: whatever else a reader of the number must know.
    """

    name: str
    table: str
    dataset: str
    train: str
    test: tuple[str, ...]
    skeleton: str
    joints: tuple[str, ...] = ()
    pck_joints: tuple[str, ...] = ()
    root: str = "pelvis"
    metrics: tuple[str, ...]
    group_by: Literal["action", "subject", "action and subject"] = "action"
    groups: tuple[str, ...]
    pools: tuple[tuple[str, tuple[str, ...]], ...] = ()
    average: Literal["groups", "frames", "sequences"] = "groups"
    fps: float | None = None
    frame_step: int = 1
    cameras: tuple[str, ...] = ()
    flip_test: bool = True
    keypoints: Literal[
        "cpn", "hourglass", "hrnet", "mask_rcnn", "projected", "orthographic", "annotated"
    ]
    predicted_root: Literal["zero", "subtract", "keep"] = "zero"
    group_names: Literal["exact", "prefix"] = "exact"
    p_mpjpe_batch: int | None = None
    velocity_weight: Literal["frames", "steps"] = "frames"
    velocity_unit: Literal["per_frame", "per_second"] = "per_frame"
    windows: Literal["whole", "as_given"] = "whole"
    excluded: tuple[tuple[str, str], ...] = ()
    frames_expected: tuple[tuple[str, int], ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for field, choices in SWITCHES.items():
            if (value := getattr(self, field)) not in choices:
                raise ValueError(f"{field} must be one of {', '.join(choices)}; found {value!r}")
        skeleton = skeleton_named(self.skeleton)
        for joint in (self.root, *self.joints, *self.pck_joints):
            skeleton.index(joint)
        if outside := set(self.pck_joints) - set(self.counted_joints):
            raise ValueError(f"pck_joints that are not among joints: {', '.join(sorted(outside))}")
        if unknown := [metric for metric in self.metrics if metric not in METRICS]:
            raise ValueError(f"no metric named {unknown[0]!r}; known: {', '.join(METRICS)}")
        if not self.metrics or not self.groups:
            raise ValueError("a protocol needs at least one metric and one column (groups)")
        if unknown := {g for _, pool in self.pools for g in pool} - set(self.groups):
            raise ValueError(f"pools of unknown columns: {', '.join(sorted(unknown))}")
        if self.frame_step < 1 or (self.p_mpjpe_batch or 1) < 1:
            raise ValueError("frame_step and p_mpjpe_batch must be at least 1")
        if self.frame_step > 1 and any(METRICS[metric].order for metric in self.metrics):
            raise ValueError("velocities need consecutive frames: set frame_step=1 or drop them")

    @property
    def counted_joints(self) -> tuple[str, ...]:
        """Names of the joints that count in errors, in the order of the tables by joint."""
        return self.joints or SKELETONS[self.skeleton].joints

    def rules(self) -> list[str]:
        """What the numbers depend on, one sentence each."""
        joints = f"{len(self.counted_joints)} joints ({self.skeleton}), root {self.root}"
        if self.root in self.counted_joints:
            joints += " counted with the others"
        lines = [
            f"{self.dataset}; trained on {self.train}; tested on {', '.join(self.test)}",
            joints,
            SWITCHES["predicted_root"][self.predicted_root],
            SWITCHES["average"][self.average],
        ]
        if "action" in self.group_by:
            lines.append(SWITCHES["group_names"][self.group_names])
        lines.append(SWITCHES["windows"][self.windows])
        if self.frame_step > 1:
            lines.append(f"one frame in {self.frame_step}")
        lines.append(f"cameras: {', '.join(self.cameras)}" if self.cameras else "all cameras")
        lines.append(SWITCHES["keypoints"][self.keypoints])
        lines.append(
            "averaged with the prediction of the mirrored input"
            if self.flip_test
            else "no averaging with the mirrored input"
        )
        for metric in self.metrics:
            if (alignment := METRICS[metric].alignment) != "none":
                lines.append(f"{METRICS[metric].label}: each pose aligned by {alignment}")
        if "p_mpjpe" in self.metrics and self.p_mpjpe_batch:
            lines.append(
                f"P-MPJPE is credited by batches of {self.p_mpjpe_batch} frames, not by frame"
            )
        if "mpjve" in self.metrics:
            lines.append(SWITCHES["velocity_weight"][self.velocity_weight])
        if any(METRICS[metric].order for metric in self.metrics):
            rate = f" of {self.fps:g} per second" if self.fps else ""
            lines.append(SWITCHES["velocity_unit"][self.velocity_unit] + rate)
        if any(METRICS[metric].is_score for metric in self.metrics):
            names = self.pck_joints or self.counted_joints
            lines.append(f"PCK and AUC over {len(names)} joints: {', '.join(names)}")
        if self.excluded:
            left_out = ", ".join(f"{subject} {name}" for subject, name in self.excluded)
            lines.append(f"left out: {left_out}")
        return [*lines, *self.notes]


@dataclass(frozen=True, kw_only=True, eq=False)
class LiftedSequence:
    """What a network said about one sequence of a data set, and the truth.

    Attributes:
        subject: as the data set's files name it: "S9", "TS1", "Validate/S1".
        trial: the recording's full name there: "Directions 1", "Walking 1 chunk0"; its action is
            the first word. Empty where the subject says all.
        camera: the camera's name; empty where there is one.
        predicted: (T, J, 3) metres, camera axes, in the joint order of the protocol's skeleton.
        target: same shape; absolute or relative to the root, which is subtracted here.
        valid: (T,) booleans, frames that count; all without it. Others may hold nan.
        fps: frames per second of the sequence, if known.
    """

    subject: str
    trial: str = ""
    camera: str = ""
    predicted: Floats
    target: Floats
    valid: Flags | None = None
    fps: float | None = None

    @property
    def title(self) -> str:
        """Subject, trial and camera: unlike any other sequence's of the data set."""
        return " ".join(part for part in (self.subject, self.trial, self.camera) if part)


@dataclass(frozen=True, kw_only=True, eq=False)
class SequenceScore:
    """The metrics of one sequence.

    Attributes:
        title: subject, trial and camera.
        groups: columns that it belongs to.
        frames: how many of its frames counted.
        joints: metric -> (J,) mean over its frames for each joint of the metric.
        weights: metric -> the weight of that mean; 0 where the sequence has none.
    """

    title: str
    groups: tuple[str, ...]
    frames: int
    joints: dict[str, Floats]
    weights: dict[str, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Results:
    """What an evaluation found: millimetres and percent, keyed by metric first.

    Attributes:
        protocol: the rules.
        totals: metric -> the number that is quoted.
        groups: metric -> column -> mean; only columns with data.
        pools: metric -> pooled column -> mean over its frames.
        means: metric -> "groups", "frames" and "sequences" -> the total by that average.
        joints: metric -> joint -> mean, averaged like the totals: the mean of a row is its total.
        end_joints: metric -> mean over ankles and wrists, of those that the metric counts.
        frames: column -> frames that counted.
        sequences: the scores of each sequence, in the order they came.
        left_out: how many sequences the protocol excludes, by name or by camera.
    """

    protocol: Protocol
    totals: dict[str, float]
    groups: dict[str, dict[str, float]]
    pools: dict[str, dict[str, float]]
    means: dict[str, dict[str, float]]
    joints: dict[str, dict[str, float]]
    end_joints: dict[str, float]
    frames: dict[str, int]
    sequences: tuple[SequenceScore, ...]
    left_out: int

    @property
    def missing(self) -> list[str]:
        """Columns of the table without a frame: with any, the totals are not the published ones."""
        return [group for group in self.protocol.groups if not self.frames.get(group)]

    def as_markdown(self, digits: int = 1) -> str:
        """The table as papers print it, and beneath it the rules that it was made by."""
        columns = [*self.protocol.groups, *(name for name, _ in self.protocol.pools)]
        header = ["", *(_short(column) for column in columns), _TOTAL[self.protocol.average]]
        rows = []
        for metric in self.protocol.metrics:
            found = {**self.groups[metric], **self.pools[metric]}
            values = [found.get(column, np.nan) for column in columns]
            rows.append([_title(self.protocol, metric), *values, self.totals[metric]])
        count = sum(score.frames for score in self.sequences)
        measured = f"{count} frames of {len(self.sequences)} sequences"
        if self.left_out:
            measured += f", {self.left_out} sequences left out"
        lines = [measured, *self.protocol.rules()]
        for average in self.means[self.protocol.metrics[0]]:
            if average != self.protocol.average:
                numbers = ", ".join(
                    f"{METRICS[metric].label} {self.means[metric][average]:.{digits}f}"
                    for metric in self.protocol.metrics
                )
                lines.append(f"not the total: {SWITCHES['average'][average][8:]}: {numbers}")
        for group, expected in self.protocol.frames_expected:
            if (found := self.frames.get(group, 0)) not in (0, expected):
                lines.append(f"**{group} has {expected} valid frames, {found} were given**")
        if self.missing:
            lines.append(f"**not the published total, nothing of: {', '.join(self.missing)}**")
        listed = "\n".join(f"- {line}" for line in lines)
        return f"**{self.protocol.table}** (`{self.protocol.name}`)\n\n" + (
            f"{_table(header, rows, digits)}\n\n{listed}\n"
        )

    def joints_as_markdown(self, digits: int = 1) -> str:
        """A row for each joint, one for the ends of the limbs, and the totals."""
        metrics = self.protocol.metrics
        header = ["", *(_title(self.protocol, metric) for metric in metrics)]
        rows = [
            [joint, *(self.joints[metric].get(joint, np.nan) for metric in metrics)]
            for joint in self.protocol.counted_joints
        ]
        rows.append(["ankles and wrists", *(self.end_joints[metric] for metric in metrics)])
        rows.append(["all", *(self.totals[metric] for metric in metrics)])
        return _table(header, rows, digits) + "\n"


def evaluate(protocol: Protocol, sequences: Iterable[LiftedSequence]) -> Results:
    """Measure a network's poses by the rules of a protocol.

    Sequences are read one at a time, so a generator of a whole test set is welcome. Everything is
    summed in float64, per sequence.

    Args:
        protocol: the rules, of `PROTOCOLS` or made from one with `dataclasses.replace`.
        sequences: what the network said; each once, in any order (in the order of the original
            evaluator for `p_mpjpe_batch`). Those that the protocol leaves out are skipped.

    Returns:
        Totals and tables. With columns missing the totals are over those that are there, and
        `Results.missing` and the table say so.

    Raises:
        ValueError: a sequence does not fit the protocol (subject, trial, joints, shape, frame
            rate), comes twice, or has nan in a frame that counts; or no frame counts at all.
    """
    scores: list[SequenceScore] = []
    aligned: list[Floats] = []  # (frames, J) P-MPJPE of each sequence, kept for the batches only
    seen: set[str] = set()
    left_out = 0
    for sequence in sequences:
        groups = _columns(protocol, sequence)
        if (sequence.subject, sequence.trial) in protocol.excluded or (
            protocol.cameras and sequence.camera not in protocol.cameras
        ):
            left_out += 1
            continue
        if protocol.windows == "whole" and sequence.title in seen:
            raise ValueError(
                f"{sequence.title} comes twice: pass every sequence once, or set "
                'windows="as_given" to count the windows of a network as they come'
            )
        seen.add(sequence.title)
        frames, values = _joint_values(protocol, sequence)
        if protocol.p_mpjpe_batch and "p_mpjpe" in values:
            aligned.append(values["p_mpjpe"])
        scores.append(
            SequenceScore(
                title=sequence.title,
                groups=groups,
                frames=frames,
                joints={name: _mean_of_frames(per_joint) for name, per_joint in values.items()},
                weights={
                    name: _weight(protocol, METRICS[name], frames, len(per_joint))
                    for name, per_joint in values.items()
                },
            )
        )
    if not any(score.frames for score in scores):
        raise ValueError(
            f"no frame to measure: {len(scores)} sequences without a valid frame, {left_out} left "
            f"out by {protocol.name}; pass the test set of {protocol.dataset}"
        )
    if aligned and protocol.p_mpjpe_batch:
        for score, values in zip(scores, _credited(aligned, protocol.p_mpjpe_batch), strict=True):
            score.joints["p_mpjpe"] = _mean_of_frames(values)
    return _results(protocol, scores, left_out)


def _columns(protocol: Protocol, sequence: LiftedSequence) -> tuple[str, ...]:
    """The columns that a sequence belongs to."""
    if sequence.subject not in protocol.test:
        raise ValueError(
            f"{protocol.name} tests {', '.join(protocol.test)}; found {sequence.subject!r}"
        )
    subject = sequence.subject.rpartition("/")[2]
    if protocol.group_by == "subject":
        return (subject,)
    action = sequence.trial.partition(" ")[0]
    found = []
    for group in protocol.groups:
        name = group.removesuffix(f" {subject}") if protocol.group_by != "action" else group
        exact = protocol.group_names == "exact"
        if name == action if exact else action.startswith(name):
            found.append(group)
    if not found:
        raise ValueError(
            f"{protocol.name} has no column for {sequence.title!r}; its columns: "
            f"{', '.join(protocol.groups)}"
        )
    return tuple(found)


def _joint_values(protocol: Protocol, sequence: LiftedSequence) -> tuple[int, dict[str, Floats]]:
    """How many frames count, and metric -> (frames or steps that count, J)."""
    predicted, target, valid = _checked(protocol, sequence)
    skeleton = SKELETONS[protocol.skeleton]
    root = skeleton.index(protocol.root)
    target = root_relative(target, root)
    if valid.any() and np.median(_length(target[valid])) > BODY_REACH_M:
        raise ValueError(
            f"{sequence.title}: the joints are more than {BODY_REACH_M:g} m from the "
            f"{protocol.root}; poses must be in metres, divide millimetres by 1000"
        )
    if protocol.predicted_root == "subtract":
        predicted = root_relative(predicted, root)
    elif valid.any() and np.median(_length(predicted[valid, root])) > ROOT_REACH_M:
        raise FarRootError(
            f"{sequence.title}: the predicted {protocol.root} is more than {ROOT_REACH_M} m from "
            "the origin, so the poses are absolute (or not in metres): make them relative to it "
            'or set predicted_root="subtract"'
        )
    elif protocol.predicted_root == "zero":
        predicted = predicted.copy()
        predicted[:, root] = 0.0
    joints = [skeleton.index(joint) for joint in protocol.counted_joints]
    predicted, target = predicted[:, joints], target[:, joints]
    lost = valid & ~(np.isfinite(predicted) & np.isfinite(target)).all(axis=(1, 2))
    if lost.any():
        raise ValueError(
            f"{sequence.title}: nan or infinite joints in {int(lost.sum())} frames that count, the "
            f"first {int(lost.argmax())}: fill them, or mark the frames as not valid"
        )
    columns = [protocol.counted_joints.index(joint) for joint in _score_joints(protocol)]
    values: dict[str, Floats] = {}
    for name in protocol.metrics:
        metric = METRICS[name]
        counted = valid
        for _ in range(metric.order):
            counted = counted[1:] & counted[:-1]
        if not counted.any():
            values[name] = np.empty((0, len(columns) if metric.is_score else len(joints)))
            continue
        per_joint = metric.joint_values(predicted, target)[counted]
        if metric.order and protocol.velocity_unit == "per_second":
            per_joint = per_joint * _rate(sequence) ** metric.order
        values[name] = per_joint[:, columns] if metric.is_score else per_joint
    return int(valid.sum()), values


def _checked(protocol: Protocol, sequence: LiftedSequence) -> tuple[Floats, Floats, Flags]:
    """Poses in float64 and the frames that count, every `frame_step`th."""
    predicted = np.asarray(sequence.predicted, dtype=np.float64)
    target = np.asarray(sequence.target, dtype=np.float64)
    joints = len(SKELETONS[protocol.skeleton])
    if predicted.shape != target.shape or predicted.shape[1:] != (joints, 3) or not len(predicted):
        raise ValueError(
            f"{sequence.title}: predicted and target must both be (T, {joints}, 3), the joints of "
            f"{protocol.skeleton}, with at least one frame; found {predicted.shape} and "
            f"{target.shape}"
        )
    valid = np.ones(len(predicted), bool) if sequence.valid is None else np.asarray(sequence.valid)
    if valid.dtype != bool or valid.shape != predicted.shape[:1]:
        raise ValueError(
            f"{sequence.title}: valid must be {len(predicted)} booleans, one for each frame; found "
            f"{valid.dtype} of shape {valid.shape}"
        )
    timed = any(METRICS[metric].order for metric in protocol.metrics)
    if timed and protocol.fps and sequence.fps and not np.isclose(sequence.fps, protocol.fps):
        raise ValueError(
            f"{sequence.title}: {protocol.name} compares velocities at {protocol.fps:g} frames per "
            f"second, this has {sequence.fps:g}: resample it, or leave out "
            f"{', '.join(metric for metric in protocol.metrics if METRICS[metric].order)}"
        )
    step = protocol.frame_step
    return predicted[::step], target[::step], valid[::step]


def _length(vectors: Floats) -> Floats:
    return np.linalg.norm(vectors, axis=-1)


def _rate(sequence: LiftedSequence) -> float:
    if not sequence.fps:
        raise ValueError(f"{sequence.title}: velocity per second needs the fps of the sequence")
    return sequence.fps


def _score_joints(protocol: Protocol) -> tuple[str, ...]:
    return protocol.pck_joints or protocol.counted_joints


def _mean_of_frames(values: Floats) -> Floats:
    return values.mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)


def _weight(protocol: Protocol, metric: Metric, frames: int, counted: int) -> float:
    """The weight of a sequence's mean over `counted` frames, or steps between its `frames`."""
    if metric.order and counted and protocol.velocity_weight == "frames":
        return float(frames)
    return float(counted)


def _credited(values: list[Floats], batch: int) -> list[Floats]:
    """Every frame's values replaced by the mean of its batch of consecutive frames."""
    frames = np.concatenate(values)
    starts = np.arange(0, len(frames), batch)
    counts = np.diff(np.append(starts, len(frames)))
    means = np.add.reduceat(frames, starts) / counts[:, None]
    ends = np.cumsum([len(part) for part in values])[:-1]
    return np.split(np.repeat(means, counts, axis=0), ends)


def _pooled(scores: Sequence[SequenceScore], metric: str) -> Floats:
    """(J,) weighted mean of sequences; nan where none has this metric."""
    kept = [score for score in scores if score.weights[metric] > 0]
    if not kept:
        return np.full(scores[0].joints[metric].shape, np.nan)
    weights = [score.weights[metric] for score in kept]
    return np.average([score.joints[metric] for score in kept], axis=0, weights=weights)


def _results(protocol: Protocol, scores: list[SequenceScore], left_out: int) -> Results:
    members = {
        group: [score for score in scores if group in score.groups and score.frames]
        for group in protocol.groups
    }
    members = {group: inside for group, inside in members.items() if inside}
    measured = [score for score in scores if score.frames]
    totals: dict[str, float] = {}
    end_joints: dict[str, float] = {}
    groups, pools, means, joints = ({m: {} for m in protocol.metrics} for _ in range(4))
    for metric in protocol.metrics:
        columns = {group: _pooled(inside, metric) for group, inside in members.items()}
        # A sequence of one frame has no velocity; where none has, the mean is nan.
        timed = [score for score in measured if score.weights[metric]] or measured
        averages = {
            "groups": np.mean(list(columns.values()), axis=0),
            "frames": _pooled(measured, metric),
            "sequences": np.mean([score.joints[metric] for score in timed], axis=0),
        }
        groups[metric] = {group: float(mean.mean()) for group, mean in columns.items()}
        means[metric] = {name: float(mean.mean()) for name, mean in averages.items()}
        for name, pool in protocol.pools:
            if inside := [score for group in pool for score in members.get(group, [])]:
                pools[metric][name] = float(_pooled(inside, metric).mean())
        per_joint = averages[protocol.average]
        totals[metric] = float(per_joint.mean())
        names = _score_joints(protocol) if METRICS[metric].is_score else protocol.counted_joints
        joints[metric] = dict(zip(names, per_joint.tolist(), strict=True))
        ends = [value for name, value in joints[metric].items() if _is_end(protocol, name)]
        end_joints[metric] = float(np.mean(ends)) if ends else float("nan")
    return Results(
        protocol=protocol,
        totals=totals,
        groups=groups,
        pools=pools,
        means=means,
        joints=joints,
        end_joints=end_joints,
        frames={group: sum(s.frames for s in inside) for group, inside in members.items()},
        sequences=tuple(scores),
        left_out=left_out,
    )


def _is_end(protocol: Protocol, joint: str) -> bool:
    skeleton = SKELETONS[protocol.skeleton]
    return limb_steps(skeleton)[skeleton.index(joint)] == 3


_TOTAL = {"groups": "Avg.", "frames": "All", "sequences": "Avg."}
_SHORT = {
    "Directions": "Dir.", "Discussion": "Disc.", "Eating": "Eat", "Greeting": "Greet",
    "Phoning": "Phone", "Posing": "Pose", "Purchases": "Purch.", "Sitting": "Sit",
    "SittingDown": "SitD.", "Smoking": "Smoke", "Waiting": "Wait", "WalkDog": "WalkD.",
    "Walking": "Walk", "WalkTogether": "WalkT.",
}  # fmt: skip


def _short(column: str) -> str:
    action, space, rest = column.partition(" ")
    return _SHORT.get(action, action) + space + rest


def _title(protocol: Protocol, metric: str) -> str:
    unit = METRICS[metric].unit
    if protocol.velocity_unit == "per_second":
        unit = unit.replace("frame", "s")
    return f"{METRICS[metric].label} ({unit})"


def _table(header: list[str], rows: list[list[Any]], digits: int) -> str:
    """A Markdown table: text first, then numbers, with a dash for what there is none of."""
    lines = [header, ["---"] + ["---:"] * (len(header) - 1)]
    for name, *values in rows:
        lines.append([name, *("-" if np.isnan(v) else f"{v:.{digits}f}" for v in values)])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


_ACTIONS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Photo", "Posing", "Purchases",
    "Sitting", "SittingDown", "Smoking", "Waiting", "WalkDog", "Walking", "WalkTogether",
)  # fmt: skip
_H36M_LIMBS = tuple(SKELETONS["h36m17"].joints[joint] for joint in LIMB_JOINTS)
# The corrupted recording that nobody counts, and those of S9 whose ground truth drifts away from
# the video: s_09_act_05_subact_02, s_09_act_10_subact_02 and s_09_act_13_subact_01, by their names.
_CORRUPTED = (("S11", "Directions"),)
_DRIFTING = (("S9", "Greeting"), ("S9", "SittingDown 1"), ("S9", "Waiting 1"))

_HUMAN36M = Protocol(
    name="human36m",
    table="Human3.6M, protocols 1 and 2",
    dataset="Human3.6M",
    train="S1, S5, S6, S7, S8",
    test=("S9", "S11"),
    skeleton="h36m17",
    metrics=("mpjpe", "p_mpjpe", "n_mpjpe", "mpjve"),
    groups=_ACTIONS,
    fps=50.0,
    keypoints="cpn",
    excluded=_CORRUPTED,
)
_3DHP_VALID = (("TS1", 603), ("TS2", 540), ("TS3", 505), ("TS4", 553), ("TS5", 276), ("TS6", 452))
_3DHP = Protocol(
    name="mpi-inf-3dhp",
    table="MPI-INF-3DHP, trained on it",
    dataset="MPI-INF-3DHP",
    train="S1-S8, cameras 0, 1, 2, 4, 5, 6, 7, 8, univ_annot3",
    test=tuple(sequence for sequence, _ in _3DHP_VALID),
    skeleton="mpi_inf_3dhp17",
    pck_joints=SKELETONS["mpi_inf_3dhp17"].joints[:14],
    metrics=("pck", "auc", "mpjpe"),
    group_by="subject",
    groups=tuple(sequence for sequence, _ in _3DHP_VALID),
    pools=(("GS", ("TS1", "TS2")), ("no GS", ("TS3", "TS4")), ("Outdoor", ("TS5", "TS6"))),
    average="frames",
    keypoints="annotated",
    frames_expected=_3DHP_VALID,
    notes=("targets are univ_annot3, the skeleton of universal height",),
)
_3DHP_CROSS = replace(
    _3DHP,
    name="mpi-inf-3dhp-cross",
    table="MPI-INF-3DHP, trained on Human3.6M only",
    train="Human3.6M only",
    skeleton="h36m17",
    pck_joints=("head_top", "thorax", *_H36M_LIMBS),
    notes=(
        *_3DHP.notes,
        "poses in the order of Human3.6M, with the neck as thorax and the head as joint 9",
        "the joints of the two data sets are not quite the same points of the body",
    ),
)

# How tests cut a sequence into windows (`lithepose.train.windows.cut_windows`). A protocol notes
# how its authors do it, a result how it was done.
WINDOWS = {
    "centre": "a window around every frame, the sequence's ends repeated",
    "centred": "windows centred on the sequence, its ends repeated",
    "last": "windows from the start, the last one is the last T frames of the sequence",
    "inside": "windows from the start, frames after the last full one are not measured",
}

PROTOCOLS: dict[str, Protocol] = {
    protocol.name: protocol
    for protocol in (
        _HUMAN36M,
        replace(
            _HUMAN36M,
            name="human36m-videopose3d",
            table="Human3.6M as VideoPose3D, PoseFormer and ConvFormer",
            predicted_root="keep",
            notes=(
                "ConvFormer's protocol III is MPJVE, VideoPose3D's protocol 3 is N-MPJPE",
                "that ConvFormer keeps the root is inferred from the code it builds on",
            ),
        ),
        replace(
            _HUMAN36M,
            name="human36m-mixste",
            table="Human3.6M as MixSTE",
            predicted_root="keep",
            windows="as_given",
            notes=(WINDOWS["last"],),
        ),
        replace(
            _HUMAN36M,
            name="human36m-hot",
            table="Human3.6M as HoT around MixSTE",
            metrics=("mpjpe", "p_mpjpe"),
            windows="as_given",
            p_mpjpe_batch=4 * 243,
            notes=(WINDOWS["centred"], "P-MPJPE's batches are of 4 windows"),
        ),
        replace(
            _HUMAN36M,
            name="human36m-htnet",
            table="Human3.6M as HTNet",
            metrics=("mpjpe", "p_mpjpe"),
            p_mpjpe_batch=512,
        ),
        replace(
            _HUMAN36M,
            name="human36m-motionbert",
            table="Human3.6M as MotionBERT",
            metrics=("mpjpe", "p_mpjpe"),
            keypoints="hourglass",
            excluded=(*_CORRUPTED, *_DRIFTING),
            notes=(
                "targets from its own preparation (2.5D, scaled to millimetres by frame)",
                "frames after the last full window of 243 are not measured: mark them not valid",
            ),
        ),
        replace(
            _HUMAN36M,
            name="human36m-motionagformer",
            table="Human3.6M as MotionAGFormer",
            metrics=("mpjpe", "p_mpjpe", "acceleration"),
            keypoints="hourglass",
            excluded=(*_CORRUPTED, *_DRIFTING),
            notes=("targets from MotionBERT's preparation",),
        ),
        replace(
            _HUMAN36M,
            name="human36m-16",
            table="Human3.6M, 16 of the 17 joints",
            joints=tuple(joint for joint in SKELETONS["h36m17"].joints if joint != "nose"),
            keypoints="hrnet",
            # Poses still have 17 joints, of which joint 9 may be nan; files of 16 are not read.
            notes=("joint 9 is left out, as papers with 2D of 16 joints (hourglass, HRNet) do",),
        ),
        replace(
            _HUMAN36M,
            name="human36m-14",
            table="Human3.6M, the 14 joints of mesh recovery",
            joints=(*_H36M_LIMBS, "thorax", "head_top"),
            metrics=("mpjpe", "p_mpjpe"),
            average="frames",
            flip_test=False,
        ),
        replace(
            _HUMAN36M,
            name="human36m-64",
            table="Human3.6M, one frame in 64",
            metrics=("mpjpe", "p_mpjpe"),
            frame_step=64,
            flip_test=False,
        ),
        _3DHP,
        replace(
            _3DHP,
            name="mpi-inf-3dhp-graphmlp",
            table="MPI-INF-3DHP as GraphMLP and NanoHTNet",
            skeleton="h36m17",
            pck_joints=(),
            metrics=("pck", "auc_by_millimetre", "mpjpe"),
            notes=(
                *_3DHP.notes,
                "poses in the order of Human3.6M, with the neck as thorax and the head as joint 9",
            ),
        ),
        _3DHP_CROSS,
        replace(
            _3DHP_CROSS,
            name="mpi-inf-3dhp-htnet",
            table="MPI-INF-3DHP as the code of HTNet, trained on Human3.6M only",
            pck_joints=(),
        ),
        Protocol(
            name="humaneva-i",
            table="HumanEva-I, P-MPJPE",
            dataset="HumanEva-I",
            train="the Train part of S1, S2, S3, trial 1, all actions together",
            test=("Validate/S1", "Validate/S2", "Validate/S3"),
            skeleton="humaneva15",
            metrics=("p_mpjpe",),
            group_by="action and subject",
            groups=tuple(
                f"{action} {subject}"
                for action in ("Walking", "Jog", "Box")
                for subject in ("S1", "S2", "S3")
            ),
            fps=60.0,
            keypoints="mask_rcnn",
            predicted_root="keep",
            notes=("the truth of Walk S3 is corrupted in part: quote the cells with the mean",),
        ),
    )
}


def protocol_named(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        ValueError: there is none.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"no protocol named {name!r}; known: {', '.join(PROTOCOLS)}")
    return PROTOCOLS[name]
