"""Errors and scores of 2D poses: PCKh of MPII, OKS and average precision of COCO, PCK.

Coordinates are pixels, predicted and true ones counted alike (0-based here). Results are in
percent, as papers print them, but OKS itself is in [0, 1].

Source: Andriluka et al., MPII Human Pose, CVPR 2014 (PCKh); Lin et al., Microsoft COCO, ECCV 2014,
and cocodataset.org/#keypoints-eval (OKS, AP); Papandreou et al., Towards accurate multi-person pose
estimation in the wild, CVPR 2017 (OKS-NMS).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Flags, Floats
from lithepose.skeletons import SKELETONS
from lithepose.tables import markdown

# --- MPII ---------------------------------------------------------------------------------------

# Column -> joints of mpii16 whose percentages are averaged, left and right alike.
PCKH_COLUMNS = {
    "Head": (9,),
    "Sho": (12, 13),
    "Elb": (11, 14),
    "Wri": (10, 15),
    "Hip": (2, 3),
    "Knee": (1, 4),
    "Ank": (0, 5),
}
# Pelvis and thorax: in no column and not in the mean. The upper neck is in the mean only.
NOT_IN_MEAN = (6, 7)


@dataclass(frozen=True, kw_only=True)
class PckhResults:
    """PCKh of MPII.

    Attributes:
        threshold: share of the head's length within which a joint counts as found.
        joints: (16,) percent, in the order of mpii16; nan where none counts.
        counts: (16,) how many of each joint count.
        people: how many people.
        rules: what a reader must know about how the predictions were made, a line each.
        predictions: what was scored, ready for JSON; empty where only numbers were given.
    """

    threshold: float
    joints: Floats
    counts: NDArray[np.int64]
    people: int
    rules: tuple[str, ...] = ()
    predictions: tuple[Mapping[str, Any], ...] = ()

    @property
    def columns(self) -> dict[str, float]:
        """Percent of each column of the papers' tables: plain means of left and right."""
        return {name: float(np.mean(self.joints[list(at)])) for name, at in PCKH_COLUMNS.items()}

    @property
    def mean(self) -> float:
        """Percent over all joints but pelvis and thorax, each weighted by its count."""
        weights = self.counts.astype(float)
        weights[list(NOT_IN_MEAN)] = 0
        there = weights > 0
        if not there.any():
            return float("nan")
        return float(np.average(self.joints[there], weights=weights[there]))

    def scores(self) -> dict[str, float]:
        """The mean as "pckh", and the columns."""
        return {"pckh": self.mean} | {f"pckh_{k.lower()}": v for k, v in self.columns.items()}

    def as_markdown(self, name: str = "") -> str:
        """The table of the papers, and beneath it the rules."""
        row = [*self.columns.values(), self.mean]
        title = f"**MPII, PCKh@{self.threshold:g} (%)**"
        table = _table(name, [*self.columns, "Mean"], row)
        rules = (f"{self.people} people", *self.rules)
        return "\n".join([title, "", table, "", *(f"- {rule}" for rule in rules)])

    def joints_as_markdown(self) -> str:
        """A row for each of the 16 joints."""
        rows = zip(SKELETONS["mpii16"].joints, self.joints, self.counts, strict=True)
        texts = [(joint, f"{value:.1f}", str(count)) for joint, value, count in rows]
        return markdown(("joint", f"PCKh@{self.threshold:g} (%)", "people"), texts, numbers=2)


def pckh(
    predicted: Floats,
    target: Floats,
    counted: Flags,
    head_sizes: Floats,
    threshold: float = 0.5,
) -> PckhResults:
    """PCKh: how many joints lie within a share of the head's length of their true place.

    Args:
        predicted: (N, 16, 2) pixels, in the order of mpii16.
        target: the same of the truth; anything where not counted.
        counted: (N, 16) which joints are annotated.
        head_sizes: (N,) pixels, 0.6 of the head box's diagonal
            (`lithepose.datasets.mpii.read_heads`).
        threshold: 0.5 is the standard, 0.1 the strict one. A joint exactly on it counts.

    Raises:
        ValueError: shapes differ, a prediction is not finite, or a head has no size.
    """
    _check_shapes(predicted, target, counted, len(SKELETONS["mpii16"]))
    if head_sizes.shape != (len(predicted),) or not (head_sizes > 0).all():
        raise ValueError("head sizes must be one number above 0 for each person")
    hits = (_errors(predicted, target, counted) / head_sizes[:, None] <= threshold) & counted
    counts = counted.sum(0)
    return PckhResults(
        threshold=threshold,
        joints=_percent(hits.sum(0), counts),
        counts=counts.astype(np.int64),
        people=len(predicted),
    )


# --- PCK ----------------------------------------------------------------------------------------


def pck(
    predicted: Floats, target: Floats, counted: Flags, sizes: Floats, threshold: float
) -> tuple[float, Floats]:
    """PCK: how many joints lie within a share of the person's size of their true place.

    Args:
        predicted, target: (N, J, 2) pixels.
        counted: (N, J) which joints count.
        sizes: (N,) pixels, such as the longer side of the box or `torso_sizes`.
        threshold: share of the size.
    Returns:
        Percent over all joints that count, and of each joint (J,); nan where none counts.
    Raises:
        ValueError: shapes differ, a prediction is not finite, or a person has no size.
    """
    _check_shapes(predicted, target, counted, predicted.shape[1])
    if sizes.shape != (len(predicted),) or not (sizes > 0).all():
        raise ValueError("sizes must be one number above 0 for each person")
    hits = (_errors(predicted, target, counted) <= threshold * sizes[:, None]) & counted
    each = _percent(hits.sum(0), counted.sum(0))
    return float(_percent(hits.sum(), counted.sum())), each


def torso_sizes(joints: Floats, skeleton: str = "coco17") -> Floats:
    """Length from the left shoulder to the right hip: (N, J, 2) to (N,), pixels."""
    named = SKELETONS[skeleton]
    ends = joints[:, named.index("left_shoulder")] - joints[:, named.index("right_hip")]
    return np.linalg.norm(ends, axis=-1)


# --- COCO ---------------------------------------------------------------------------------------

# In the order of the official tool. M and L are people with areas of 32² to 96² pixels and more.
AP_NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR", "AR50", "AR75", "ARM", "ARL")
AP_COLUMNS = ("AP", "AP50", "AP75", "APM", "APL", "AR")
MOST_DETECTIONS = 20  # of a picture, by score
NMS_OKS = 0.9
# How far annotators scatter, as a share of the person's size, by joint of coco17. Source: COCO's
# keypoint evaluation, cocodataset.org/#keypoints-eval.
OKS_SIGMAS = (
    0.026, 0.025, 0.025, 0.035, 0.035, 0.079, 0.079, 0.072, 0.072, 0.062, 0.062, 0.107, 0.107,
    0.087, 0.087, 0.089, 0.089,
)  # fmt: skip
LOWEST_JOINT_SCORE = 0.2  # joints that are less sure do not enter a person's score


@dataclass(frozen=True, kw_only=True)
class CocoResults:
    """Average precision and recall of COCO keypoints.

    Attributes:
        values: name of `AP_NAMES` -> percent; nan where no person of that size is in the truth.
        people: how many detections were scored.
        rules: what a reader must know about how the predictions were made, a line each.
        predictions: the detections, ready for JSON, as COCO's server takes them.
    """

    values: dict[str, float]
    people: int
    rules: tuple[str, ...] = ()
    predictions: tuple[Mapping[str, Any], ...] = ()

    def scores(self) -> dict[str, float]:
        """The values with names in small letters."""
        return {name.lower(): value for name, value in self.values.items()}

    def as_markdown(self, name: str = "") -> str:
        """The table of the papers, and beneath it the rules."""
        table = _table(name, AP_COLUMNS, [self.values[column] for column in AP_COLUMNS])
        rules = (f"{self.people} detections", *self.rules)
        return "\n".join(["**COCO keypoints (%)**", "", table, "", *(f"- {r}" for r in rules)])


def oks(
    predicted: Floats,
    target: Floats,
    visible: Flags,
    areas: Floats,
    boxes: Floats,
    sigmas: Sequence[float] = OKS_SIGMAS,
) -> Floats:
    """Object keypoint similarity of every prediction to every person.

    Of people without a labelled joint, the distance to their box, enlarged to three times its size,
    counts in place of the distance to joints.

    Args:
        predicted: (D, J, 2) pixels.
        target: (G, J, 2) pixels; anything where not visible.
        visible: (G, J) which joints are labelled.
        areas: (G,) of the people's outlines, pixels².
        boxes: (G, 4) left, top, width, height.
        sigmas: J constants of the joints.
    Returns:
        (D, G) in [0, 1].
    """
    spread = 2 * np.asarray(sigmas, float)
    away = predicted[:, None] - np.where(visible[..., None], target, 0)  # (D, G, J, 2)
    corner, extent = boxes[:, None, :2], boxes[:, None, 2:]
    below = corner - extent - predicted[:, None]
    above = predicted[:, None] - (corner + 2 * extent)
    unlabelled = np.logical_not(visible.any(-1))
    away = np.where(
        np.reshape(unlabelled, (-1, 1, 1)), np.maximum(0, np.maximum(below, above)), away
    )
    counts = visible | np.reshape(unlabelled, (-1, 1))
    # The official tool adds this to areas, against those of 0.
    scaled = areas[:, None] + np.spacing(1)
    similar = np.exp(-(away**2).sum(-1) / (2 * scaled * spread**2)) * counts
    return similar.sum(-1) / counts.sum(-1)


def person_scores(joint_scores: Floats, box_scores: Floats) -> Floats:
    """How sure a person is: the mean of its joints' scores above 0.2, times its box's score.

    Args:
        joint_scores: (N, J) maxima of the heatmaps.
        box_scores: (N,).
    Returns:
        (N,); 0 where no joint is above.
    """
    sure = joint_scores > LOWEST_JOINT_SCORE
    total = np.where(sure, joint_scores, 0).sum(-1)
    return box_scores * total / np.maximum(1, sure.sum(-1))


def oks_nms(
    keypoints: Floats,
    scores: Floats,
    areas: Floats,
    threshold: float = NMS_OKS,
    sigmas: Sequence[float] = OKS_SIGMAS,
) -> NDArray[np.int64]:
    """Drop people found twice in one picture: those too similar to a surer one that is kept.

    Args:
        keypoints: (N, J, 2) pixels.
        scores: (N,).
        areas: (N,) of the crops, pixels², padding included.
        threshold: OKS, with the mean of both areas, above which two are the same person.
    Returns:
        Indices of those kept, surest first.
    """
    spread = (2 * np.asarray(sigmas, float)) ** 2
    away = ((keypoints[:, None] - keypoints[None]) ** 2).sum(-1)  # (N, N, J)
    area = (areas[:, None] + areas[None]) / 2
    similar = np.exp(-away / (2 * spread * area[..., None])).mean(-1)
    kept: list[int] = []
    for index in np.argsort(-scores, kind="stable"):
        if not kept or similar[index, kept].max() <= threshold:
            kept.append(int(index))
    return np.array(kept, np.int64)


def coco_ap(
    annotations: str | Path | dict[str, Any], detections: Sequence[Mapping[str, Any]]
) -> CocoResults:
    """Average precision by the official rules.

    Args:
        annotations: the annotation file, or what it holds.
        detections: image_id, category_id 1, keypoints (17 x (x, y, score), flat) and score each, at
            most 20 of a picture by score count. Pictures that the annotations lack are an error.

    Raises:
        ValueError: a detection is of a picture that is not annotated, or is not as above.
        ImportError: faster-coco-eval is not installed.
    """
    try:
        from faster_coco_eval import COCO, COCOeval_faster
    except ModuleNotFoundError as error:
        raise ImportError(
            'COCO\'s evaluation needs faster-coco-eval: pip install "lithepose[eval]"'
        ) from error
    truth = COCO(annotations if isinstance(annotations, dict) else str(annotations))
    known = set(truth.getImgIds())
    for detection in detections:
        if detection["image_id"] not in known:
            raise ValueError(
                f"a detection is of picture {detection['image_id']}, which the annotations lack: "
                "score it against its own split"
            )
        values = np.asarray(detection["keypoints"], float)
        if values.shape != (51,) or not np.isfinite(values).all():
            raise ValueError("a detection needs 17 keypoints of x, y and score, none of them nan")
    if not detections:  # the tool cannot read an empty list
        return CocoResults(values=dict.fromkeys(AP_NAMES, 0.0), people=0)
    found = truth.loadRes([dict(detection) for detection in detections])
    tool = COCOeval_faster(truth, found, iouType="keypoints")
    tool.params.maxDets = [MOST_DETECTIONS]
    tool.evaluate()
    tool.accumulate()
    tool.summarize()
    values = np.array(tool.stats[: len(AP_NAMES)], float)
    percent = np.where(values < 0, np.nan, 100 * values)  # -1: nobody of that size
    return CocoResults(
        values=dict(zip(AP_NAMES, map(float, percent), strict=True)), people=len(detections)
    )


# --- shared -------------------------------------------------------------------------------------


def _check_shapes(predicted: Floats, target: Floats, counted: Flags, joints: int) -> None:
    shape = (len(predicted), joints, 2)
    if predicted.shape != shape or target.shape != shape or counted.shape != shape[:2]:
        raise ValueError(
            f"predicted and target should be (people, {joints}, 2) and counted (people, {joints}), "
            f"not {predicted.shape}, {target.shape} and {counted.shape}"
        )
    if not np.isfinite(predicted).all():
        raise ValueError("a predicted joint is not finite: every joint needs a place")


def _errors(predicted: Floats, target: Floats, counted: Flags) -> Floats:
    return np.linalg.norm(predicted - np.where(counted[..., None], target, predicted), axis=-1)


def _percent(hits: Any, counts: Any) -> Floats:
    """Share in percent; nan of nothing."""
    counts = np.asarray(counts, float)
    return np.where(counts > 0, 100 * np.asarray(hits, float) / np.maximum(counts, 1), np.nan)


def _table(name: str, columns: Sequence[str], values: Sequence[float]) -> str:
    """A markdown table of one row, its name in front if it has one."""
    cells = ["-" if np.isnan(value) else f"{value:.1f}" for value in values]
    if name:
        columns, cells = ["model", *columns], [name, *cells]
    return markdown(columns, [cells], numbers=len(values))
