"""The protocols of the published tables, as values.

Two numbers may stand in one column only if they were measured alike. A `Protocol` says how: which
part of which data, which joints, which metrics, what is averaged over what, and the points on which
public evaluators disagree, each a field of its own whose default is the official rule or, where
there is none, the exact one. `PROTOCOLS` has those of the papers; `replace(PROTOCOLS[...], ...)`
makes others. `lithepose.metrics.evaluate` measures by them, `docs/guides/protocols.md` tells which
protocol belongs to which paper.

Source: the public code of VideoPose3D, MixSTE, MotionBERT, HoT, HTNet, GraphMLP and P-STMO, and the
evaluation tool of MPI-INF-3DHP.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from lithepose.arrays import Floats
from lithepose.metrics.pose3d import (
    AUC_MILLIMETRE_THRESHOLDS_M,
    AUC_THRESHOLDS_M,
    PCK_THRESHOLD_M,
    align_scale,
    align_similarity,
    joint_errors,
    share_of_thresholds,
    step_errors,
)
from lithepose.skeletons import LIMB_JOINTS, SKELETONS, skeleton_named

MM = 1000.0
# For each joint of h36m17 the joint of mpi_inf_3dhp17 that stands for it when poses of MPI-INF-3DHP
# are compared with those of networks for Human3.6M: `poses[..., H36M17_FROM_3DHP, :]`. Its neck
# stands for the thorax and its head for joint 9, where `skeletons.convert`, which goes by the
# points' true places, would take the mid-point of the shoulders. As GraphMLP stores the data.
H36M17_FROM_3DHP = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)


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


def _score(label: str, thresholds_m: Sequence[float] | Floats) -> Metric:
    def joint_values(predicted: Floats, target: Floats) -> Floats:
        return share_of_thresholds(joint_errors(predicted, target), thresholds_m)

    return Metric(label, "%", "none", joint_values, is_score=True)


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
    "pck": _score("PCK@150", [PCK_THRESHOLD_M]),
    "auc": _score("AUC", AUC_THRESHOLDS_M),
    "auc_by_millimetre": _score("AUC (0-149 mm by 1)", AUC_MILLIMETRE_THRESHOLDS_M),
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
        "stacked_hourglass": "2D from a fine-tuned stacked hourglass",
        "hrnet": "2D from HRNet",
        "mask_rcnn": "2D from Mask R-CNN (COCO)",
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
        "cpn", "stacked_hourglass", "hrnet", "mask_rcnn", "projected", "orthographic", "annotated"
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

    @property
    def scored_joints(self) -> tuple[str, ...]:
        """Names of the joints that count in PCK and AUC."""
        return self.pck_joints or self.counted_joints

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
            names = ", ".join(self.scored_joints)
            lines.append(f"PCK and AUC over {len(self.scored_joints)} joints: {names}")
        if self.excluded:
            left_out = ", ".join(f"{subject} {name}" for subject, name in self.excluded)
            lines.append(f"left out: {left_out}")
        return [*lines, *self.notes]


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
    "per_frame": "a window around every frame, the sequence's ends repeated",
    "padded": "windows centred on the sequence, its ends repeated",
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
            notes=(WINDOWS["padded"], "P-MPJPE's batches are of 4 windows"),
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
            keypoints="stacked_hourglass",
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
            keypoints="stacked_hourglass",
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
