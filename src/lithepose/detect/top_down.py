"""People in two steps: boxes around them, then the joints of each in a crop of their own."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lithepose.arrays import Flags, Floats, Image, Indices
from lithepose.detect import check_counts, check_frame
from lithepose.detect.boxes import BoxSource, PersonBoxes, create_boxes
from lithepose.detect.iou import corners_of, iou
from lithepose.detect.onnx_file import PictureNetwork
from lithepose.detect.onnx_pose import MOST_OF_A_FRAME, OnnxOneStage, OnnxPose, kind_of
from lithepose.poses import Detections

_SEEN = 0.3  # confidence of a joint that tells where a person is
_LEAST_SEEN = 4  # joints without which nobody can be followed
_WHOLE = 0.75  # of the joints: of whom fewer are seen, a part may lie outside the box by joints
_MIN_SCORE = 0.1  # mean confidence times the score of the box, below which there is nobody
_SAME_BOX = 0.3  # overlap of a box with a followed person's, above which they are one
_SAME_MIDDLE = 0.2  # of a rough box's height, between its middle and that of somebody followed
_SAME_POSE = 0.05  # of the box's size, the median distance of joints of one person found twice
_AROUND_JOINTS = 0.1  # of the extent of the joints, on each side, up to where the body reaches


class TopDown:
    """A source of boxes and a pose network as one detector.

    Between runs of the source, and for somebody it missed, the box is where the person's joints
    were in the frame before. Where the source's boxes are rough, the joints of somebody new are
    placed twice, the second time in a box around those found first.

    Attributes:
        skeleton: joint set of the keypoints.
        facts: what a result notes of both.
    """

    def __init__(
        self,
        pose: OnnxPose,
        boxes: BoxSource,
        *,
        people: int | Literal["one"] = "one",
        box_interval: int = 1,
    ):
        """Join them.

        Args:
            people: the most people of a frame, by size and score; with "one", several are still
                given, so that the clip decides who it is about.
            box_interval: frames from one run of the source to the next. More is faster, but who
                comes into the picture is noticed later.

        Raises:
            ValueError: `people` or `box_interval` is below 1, or the source is a file, which is to
                be followed in every frame.
        """
        most = MOST_OF_A_FRAME if people == "one" else people
        check_counts(people=most, box_interval=box_interval)
        if boxes.complete and box_interval > 1:
            raise ValueError("a file of boxes is read in every frame: leave box_interval at 1")
        self.skeleton = pose.skeleton
        self.facts: dict[str, Any] = {**pose.facts, "boxes": boxes.facts}
        self._pose, self._source = pose, boxes
        self._most, self._interval = most, box_interval
        self.reset()

    def reset(self) -> None:
        """Forget the people followed so far, and count frames from 0."""
        self._index = 0
        self._followed = np.empty((0, 4))
        self._whole = np.empty(0, dtype=bool)  # of whom nearly all joints were seen

    def detect(self, frame: Image, time_s: float) -> Detections:
        """Find the people in the next frame of a clip.

        Raises:
            ValueError: the frame is not (H, W, 3) of uint8.
        """
        del time_s
        check_frame(frame)
        boxes, rough = self._boxes(frame)
        self._index += 1
        keypoints, confidence = self._pose.place(frame, boxes.boxes)
        if rough.any():
            closer = _boxes_around(keypoints, confidence, frame.shape[:2])
            again = np.flatnonzero(rough & np.isfinite(closer).all(axis=1))
            boxes.boxes[again] = closer[again]
            keypoints[again], confidence[again] = self._pose.place(frame, closer[again])
        score = boxes.score * (confidence.mean(axis=1) if len(boxes) else 0.0)
        kept = np.flatnonzero(score >= _MIN_SCORE)
        if not self._source.complete:
            kept = _without_doubles(kept, keypoints, boxes.boxes, score)
        keypoints, confidence = keypoints[kept], confidence[kept]
        followed = _boxes_around(keypoints, confidence, frame.shape[:2])
        there = np.isfinite(followed).all(axis=1)
        self._followed = followed[there]
        self._whole = (confidence >= _SEEN).mean(axis=1)[there] >= _WHOLE
        return Detections(
            keypoints=keypoints.astype(np.float32),
            confidence=confidence.astype(np.float32),
            score=score[kept].astype(np.float32),
            skeleton=self.skeleton,
            person=None if boxes.person is None else boxes.person[kept],
        )

    def _boxes(self, frame: Image) -> tuple[PersonBoxes, Flags]:
        """Where to look in this frame, and (P,) which of the boxes are rough."""
        followed, source = self._followed, self._source
        if not source.complete and self._index % self._interval and len(followed):
            return PersonBoxes(boxes=followed, score=np.ones(len(followed))), np.zeros(
                len(followed), dtype=bool
            )
        found = source.find(frame, self._index)
        boxes, score = found.boxes, found.score
        rough = np.full(len(boxes), source.rough)
        if not source.complete and len(followed):
            # A box by the joints of a whole person is better than a rough one; any other box of the
            # source is better than that, so that who was half outside the last one comes back in.
            better = self._whole if source.rough else np.zeros(len(followed), dtype=bool)
            alike = (_hold if source.rough else _overlap)(boxes, followed)
            new = ~alike[better].any(axis=0)
            kept = better | ~alike.any(axis=1)
            boxes = np.concatenate([boxes[new], followed[kept]])
            score = np.concatenate([score[new], np.ones(int(kept.sum()))])
            rough = np.concatenate([rough[new], np.zeros(int(kept.sum()), dtype=bool)])
        prominent = np.sqrt(boxes[:, 2:].prod(axis=1)) * score
        first = np.sort(np.argsort(-prominent, kind="stable")[: self._most])
        person = None if found.person is None else found.person[first]
        return PersonBoxes(boxes=boxes[first], score=score[first], person=person), rough[first]


def _overlap(boxes: Floats, followed: Floats) -> Flags:
    """(F, P) which boxes (P, 4) are of which people followed (F, 4)."""
    return iou(corners_of(followed), corners_of(boxes)) > _SAME_BOX


def _hold(boxes: Floats, followed: Floats) -> Flags:
    """The same of rough boxes, which overlap slender people little."""
    middles = [each[:, :2] + each[:, 2:] / 2 for each in (followed, boxes)]
    apart = np.linalg.norm(middles[0][:, None] - middles[1][None], axis=-1)
    return apart < _SAME_MIDDLE * boxes[:, 3]


def _without_doubles(kept: Indices, keypoints: Floats, boxes: Floats, score: Floats) -> Indices:
    """Of people with their joints in the same places, whom two boxes led to, the best scored."""
    unlike: list[int] = []
    for row in kept[np.argsort(-score[kept], kind="stable")]:
        size = float(np.hypot(*boxes[row, 2:]))
        apart = [np.linalg.norm(keypoints[row] - keypoints[other], axis=1) for other in unlike]
        if all(
            not np.isfinite(each).any() or np.nanmedian(each) > _SAME_POSE * size for each in apart
        ):
            unlike.append(int(row))
    return np.array(sorted(unlike), dtype=np.int64)


def _boxes_around(keypoints: Floats, confidence: Floats, shape: tuple[int, ...]) -> Floats:
    """(P, 4) boxes of people by the joints that are seen; nan where too few are, or none is in the
    frame.

    Args:
        shape: (H, W) of the frame.
    """
    boxes = np.full((len(keypoints), 4), np.nan)
    for row, (points, scores) in enumerate(zip(keypoints, confidence, strict=True)):
        seen = points[scores >= _SEEN]
        if len(seen) < _LEAST_SEEN:
            continue
        low, high = seen.min(axis=0), seen.max(axis=0)
        margin = _AROUND_JOINTS * np.maximum(high - low, 1.0)
        low, high = low - margin, high + margin
        if (high > 0).all() and (low < shape[::-1]).all():
            boxes[row] = np.concatenate([low, high - low])
    return boxes


def open_onnx_detector(
    path: str | os.PathLike[str],
    *,
    boxes: str | os.PathLike[str] | None = None,
    people: int | Literal["one"] = "one",
    skeleton: str | None = None,
    preset: str | None = None,
    input_size: tuple[int, int] | None = None,
    box_interval: int = 1,
    models: Path | None = None,
    threads: int = 1,
) -> TopDown | OnnxOneStage:
    """The detector of an ONNX file: alone if it sees whole frames, else with a source of boxes.

    Args:
        path: a pose network.
        boxes: where the boxes come from, as of `lithepose.detect.boxes.create_boxes`.
        people, box_interval: as of `TopDown`.
        skeleton, preset, input_size: as of `OnnxPose`.
        models: folder of BlazePose's files, if boxes come from it.
        threads: CPU threads of each network.

    Raises:
        FileNotFoundError, ValueError: a file cannot be read, is of no known family, or boxes were
            given to a network that needs none.
        lithepose.assets.ModelsError: boxes are to come from BlazePose, whose files are absent.
    """
    # Networks of whole frames may take any size, and are trained at this one.
    network = PictureNetwork(
        path, input_size=input_size, default_size=OnnxOneStage.DEFAULT_SIZE, threads=threads
    )
    given: dict[str, Any] = {"skeleton": skeleton, "preset": preset}
    if kind_of(network)[0] in OnnxOneStage.KINDS:
        if boxes is not None or box_interval != 1:
            raise ValueError(f"{network.path.name} finds people by itself: leave the boxes out")
        return OnnxOneStage(network, people=people, **given)
    if not network.sized:
        raise network.unsized()
    pose = OnnxPose(network, **given)
    most = 1 if people == "one" else people
    source = create_boxes(boxes, models=models, threads=threads, people=most)
    return TopDown(pose, source, people=people, box_interval=box_interval)
