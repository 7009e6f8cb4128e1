"""Measure a network's poses by the rules of a protocol, and print the table that papers print.

    results = evaluate(PROTOCOLS["human36m"], sequences)
    table = results.as_markdown()

Sequences are in metres, results in millimetres and percent. Every table states the rules that it
was made by.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.metrics.pose3d import limb_steps, root_relative
from lithepose.metrics.protocols import METRICS, SWITCHES, Metric, Protocol
from lithepose.skeletons import SKELETONS
from lithepose.tables import markdown

# Root-relative networks leave their root within centimetres of the origin; further off the poses
# are absolute, and setting their root to the origin would tear it off the body.
ROOT_REACH_M = 0.5
# No joint is further from the pelvis; beyond it the poses are not in metres.
BODY_REACH_M = 3.0


class FarRootError(ValueError):
    """The predicted root is far from the origin, where poses relative to it have it."""


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
    if valid.any() and np.median(np.linalg.norm(target[valid], axis=-1)) > BODY_REACH_M:
        raise ValueError(
            f"{sequence.title}: the joints are more than {BODY_REACH_M:g} m from the "
            f"{protocol.root}; poses must be in metres, divide millimetres by 1000"
        )
    if protocol.predicted_root == "subtract":
        predicted = root_relative(predicted, root)
    elif valid.any() and np.median(np.linalg.norm(predicted[valid, root], axis=-1)) > ROOT_REACH_M:
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
    columns = [protocol.counted_joints.index(joint) for joint in protocol.scored_joints]
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
            if not sequence.fps:
                raise ValueError(
                    f"{sequence.title}: velocity per second needs the fps of the sequence"
                )
            per_joint = per_joint * sequence.fps**metric.order
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
    measured = [score for score in scores if score.frames]
    members = {
        group: inside
        for group in protocol.groups
        if (inside := [score for score in measured if group in score.groups])
    }
    skeleton = SKELETONS[protocol.skeleton]
    steps = zip(skeleton.joints, limb_steps(skeleton), strict=True)
    limb_ends = {joint for joint, step in steps if step == 3}
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
        names = protocol.scored_joints if METRICS[metric].is_score else protocol.counted_joints
        joints[metric] = dict(zip(names, per_joint.tolist(), strict=True))
        ends = [value for name, value in joints[metric].items() if name in limb_ends]
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
    texts = [
        [name, *("-" if np.isnan(v) else f"{v:.{digits}f}" for v in values)]
        for name, *values in rows
    ]
    return markdown(header, texts, numbers=len(header) - 1)
