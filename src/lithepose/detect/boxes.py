"""Boxes around the people of a frame: from a network, from a file, or from BlazePose's detector.

A pose network that looks at one person at a time (`lithepose.detect.top_down`) gets its crops from
one of these:

- `OnnxBoxes`: YOLOX, raw as its authors export it or with suppression inside as MMDeploy does, and
  RTMDet as MMDeploy exports it;
- `FileBoxes`: boxes that another program found or tracked;
- `BlazePoseBoxes`: the detector network of BlazePose, which needs no further file.

Source: Ge et al., YOLOX, 2021; Lyu et al., RTMDet, 2022; Bazarevsky et al., BlazePose, 2020; the
MOT Challenge's text format; COCO's results format.
"""

from __future__ import annotations

import csv
import json
import os
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np

from lithepose.arrays import Floats, Image, Indices
from lithepose.assets import MODELS
from lithepose.detect import is_onnx
from lithepose.detect.blazepose_detector import (
    CROP_MARGIN,
    SEARCH_INTERVAL,
    Crop,
    PersonDetector,
    are_hips_shared,
    search_tiles,
)
from lithepose.detect.iou import nms
from lithepose.detect.onnx_file import PictureNetwork, Preparation, file_facts, letterbox

_PERSON_CLASS = 0  # class of a person in COCO's 80 and in networks that know people alone


@dataclass(frozen=True, kw_only=True)
class PersonBoxes:
    """The people of one frame.

    Attributes:
        boxes: (P, 4) left, top, width, height in pixels of the upright frame.
        score: (P,) in [0, 1].
        person: (P,) identities, or None where the source knows none.
    """

    boxes: Floats
    score: Floats
    person: Indices | None = None

    def __len__(self) -> int:
        return len(self.boxes)


class BoxSource(Protocol):
    """What `TopDown` relies on.

    Attributes:
        complete: whether a person without a box is not there; else somebody followed may only have
            been missed.
        rough: whether boxes are much larger than people.
        facts: what a result notes of the source.
    """

    complete: bool
    rough: bool
    facts: dict[str, Any]

    def find(self, frame: Image, index: int) -> PersonBoxes:
        """The people of a frame.

        Args:
            frame: (H, W, 3) RGB, upright.
            index: position of the frame in the clip, from 0.
        """
        ...


def create_boxes(
    source: str | os.PathLike[str] | None = None,
    *,
    models: Path | None = None,
    threads: int = 1,
    people: int = 6,
) -> BoxSource:
    """The source of boxes that a name or a path stands for.

    Args:
        source: None or "blazepose", an ONNX file, or a file of boxes.
        models: folder of BlazePose's files.
        threads: CPU threads of a network.
        people: how many people are wanted; BlazePose searches longer for more.

    Raises:
        FileNotFoundError, ValueError: the file cannot be read.
        lithepose.assets.ModelsError: BlazePose's files are absent.
    """
    if source is None or str(source) == "blazepose":
        return BlazePoseBoxes(models=models, threads=threads, people=people)
    if is_onnx(source):
        return OnnxBoxes(source, threads=threads)
    return FileBoxes(source)


# Networks


BOX_PRESETS = {
    "yolox": Preparation(colours="bgr", mean=(0, 0, 0), std=(1, 1, 1)),
    "rtmdet": Preparation(
        colours="bgr", mean=(103.53, 116.28, 123.675), std=(57.375, 57.12, 58.395)
    ),
}
_STRIDES = (8, 16, 32)  # of YOLOX, pixels of the picture per cell


class OnnxBoxes:
    """People found by YOLOX or RTMDet."""

    complete = False
    rough = False
    MIN_SCORE = 0.4
    OVERLAP = 0.45  # of two people's boxes, above which they are one

    def __init__(
        self, path: str | os.PathLike[str], *, preset: str | None = None, threads: int = 1
    ):
        """Load the file; one that takes pictures of any size gets 640x640.

        Args:
            path: the ONNX file.
            preset: a name in `BOX_PRESETS`. By default inferred: a raw output is YOLOX's, and so
                is an input that is first cut into every other pixel.
            threads: CPU threads.

        Raises:
            FileNotFoundError, ValueError: the file cannot be read, is no such network, or its
                family cannot be inferred.
        """
        self._network = PictureNetwork(path, default_size=(640, 640), threads=threads)
        self._kind, self._read = self._outputs()
        name = preset or self._family()
        if name not in BOX_PRESETS:
            raise ValueError(f"no preset named {name!r}; known: {', '.join(BOX_PRESETS)}")
        self._prepare = BOX_PRESETS[name]
        self.facts: dict[str, Any] = {**self._network.facts, "preset": name}

    def _outputs(self) -> tuple[Literal["raw", "final"], list[str]]:
        shapes = self._network.shapes
        boxes = [n for n, shape in shapes.items() if len(shape) == 3 and shape[-1] == 5]
        labels = [n for n, shape in shapes.items() if len(shape) == 2]
        if len(boxes) == 1 and len(labels) == 1:
            return "final", [boxes[0], labels[0]]
        width, height = self._network.input_size
        cells = sum((width // stride) * (height // stride) for stride in _STRIDES)
        first = next(iter(shapes.values()))
        if len(shapes) == 1 and len(first) == 3 and first[1] == cells and first[2] >= 6:
            return "raw", list(shapes)
        raise ValueError(
            f"{self._network.path} finds no boxes in a way that is known here: its outputs are "
            f"{self._network.outputs_listed}. Known are boxes "
            f"(B, N, 5) with labels (B, N), and YOLOX's raw (B, {cells}, 5 + classes) for its "
            f"input of {width}x{height}; other detectors can write a file of boxes"
        )

    def _family(self) -> str:
        if self._kind == "raw":
            return "yolox"
        first = self._network.operators_on_input()
        if first and first <= {"Slice", "StridedSlice", "SpaceToDepth"}:
            return "yolox"
        if first == {"Conv"}:
            return "rtmdet"
        raise ValueError(
            f"{self._network.path} may be of any family (its picture goes into "
            f"{', '.join(sorted(first)) or 'nothing'}): pass preset= one of "
            f"{', '.join(BOX_PRESETS)}"
        )

    def find(self, frame: Image, index: int) -> PersonBoxes:
        """The people of a frame, best score first."""
        del index
        picture, factor, _ = letterbox(frame, self._network.input_size, centred=False)
        answers = self._network(self._prepare(picture[None]))
        values = [np.asarray(answers[name][0], np.float64) for name in self._read]
        if self._kind == "final":
            found, labels = values
            found = found[labels == _PERSON_CLASS]
            corners, scores = found[:, :4], found[:, 4]
        else:
            corners, scores = decode_yolox(values[0], self._network.input_size)
        kept = scores >= self.MIN_SCORE
        corners, scores = corners[kept] / factor, scores[kept]
        boxes = np.concatenate([corners[:, :2], corners[:, 2:] - corners[:, :2]], axis=1)
        sized = (boxes[:, 2:] > 1).all(axis=1) & np.isfinite(boxes).all(axis=1)
        corners, boxes, scores = corners[sized], boxes[sized], scores[sized]
        kept = nms(corners, scores, self.OVERLAP)
        return PersonBoxes(boxes=boxes[kept], score=np.clip(scores[kept], 0, 1))


def decode_yolox(raw: Floats, input_size: tuple[int, int]) -> tuple[Floats, Floats]:
    """People from the raw output of YOLOX.

    Args:
        raw: (N, 5 + classes), cells of 8, 16 and 32 pixels row by row: centre x, y from the cell's
            corner in cells, logarithm of width and height in cells, then in [0, 1] the presence of
            anything and the share of each class. Or, from exports that decode inside, centre and
            size in pixels of the picture.
        input_size: (width, height) of the picture.

    Returns:
        Corners (N, 4): left, top, right, bottom in pixels of the picture; scores (N,) of a person.
    """
    width, height = input_size
    cells, strides = [], []
    for stride in _STRIDES:
        y, x = np.meshgrid(np.arange(height // stride), np.arange(width // stride), indexing="ij")
        cells.append(np.stack([x.ravel(), y.ravel()], axis=1))
        strides.append(np.full((x.size, 1), stride))
    cell, stride = np.concatenate(cells), np.concatenate(strides)
    # Decoded, the centres are spread over the picture; raw, they are within a few cells of 0.
    if np.median(np.abs(raw[:, :2])) > _STRIDES[0]:
        middle, size = raw[:, :2], raw[:, 2:4]
    else:
        middle = (raw[:, :2] + cell) * stride
        # A cell without anything may hold any number; the bound keeps it finite.
        size = np.exp(np.minimum(raw[:, 2:4], 12.0)) * stride
    scores = raw[:, 4] * raw[:, 5 + _PERSON_CLASS]
    return np.concatenate([middle - size / 2, middle + size / 2], axis=1), scores


# BlazePose


class BlazePoseBoxes:
    """People found by the detector network of BlazePose: squares around the circle it gives."""

    complete = False
    rough = True  # squares, one and a half times as high as somebody who walks

    def __init__(self, *, models: Path | None = None, threads: int = 1, people: int = 6):
        """Load the network.

        Args:
            models, threads: as of `lithepose.detect.blazepose.BlazePose`.
            people: while fewer are found in the whole frame, it is also searched in tiles.

        Raises:
            lithepose.assets.ModelsError: the model files are absent and could not be fetched.
        """
        self._detector = PersonDetector(models=models, threads=threads)
        self._people = people
        model = MODELS["pose_detection"]
        self.facts = {"name": "blazepose", "file": model.file, "sha256": model.sha256}

    def find(self, frame: Image, index: int) -> PersonBoxes:
        """The people of a frame, best score first."""
        height, width = frame.shape[:2]
        found = self._detector.find(frame, Crop(width / 2, height / 2, max(width, height)))
        if len(found) < self._people and index % SEARCH_INTERVAL == 0:
            for tile in search_tiles(width, height, fine=self._people > 1):
                found += self._detector.find(frame, tile)
        found.sort(key=lambda candidate: -candidate[1])
        people: list[tuple[Crop, float]] = []
        for crop, score in found:
            if not any(are_hips_shared(crop, other) for other, _ in people):
                people.append((crop, score))
        # The crop is the circle with BlazePose's margin, which pose networks add again themselves.
        sides = np.array([crop.side for crop, _ in people]) / CROP_MARGIN
        middles = np.array([(crop.x, crop.y) for crop, _ in people]).reshape(-1, 2)
        corner = middles - sides[:, None] / 2
        return PersonBoxes(
            boxes=np.concatenate([corner, sides[:, None], sides[:, None]], axis=1),
            score=np.array([score for _, score in people], dtype=float),
        )


# Files


class FileBoxes:
    """Boxes that another program found, by frame.

    Read are `.csv` with `frame`, `x`, `y`, `w`, `h` and optional `score`, `person`, where frames
    count from 0; `.json`, a list of objects with the same names; the text files of the MOT
    Challenge (`frame, id, x, y, w, h, score, ...`), where frames count from 1 and an id of -1 is
    none; and COCO's results, a list of objects with `image_id`, `bbox`, `score`, where `image_id`
    counts frames from 0 and only category 1 is read. x and y are the upper left corner in pixels.
    """

    complete = True
    rough = False

    def __init__(self, path: str | os.PathLike[str]):
        """Read the file.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: its layout is not known, or a box has no size.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(f"no file of boxes at {path}: check the path")
        self.facts = file_facts(path)
        rows = np.array(_box_rows(path), dtype=float).reshape(-1, 7)
        if len(rows) == 0:
            raise ValueError(f"{path} holds no boxes")
        frame, boxes, score, person = rows[:, 0], rows[:, 1:5], rows[:, 5], rows[:, 6]
        wrong = ~np.isfinite(rows[:, :6]).all(axis=1) | (boxes[:, 2:] <= 0).any(axis=1)
        wrong |= frame < 0
        if wrong.any():
            row = int(wrong.argmax())
            raise ValueError(
                f"{path}: box {row + 1} is {boxes[row].tolist()} of frame {frame[row]:g}: give "
                "left, top, width and height in pixels, width and height above 0, frames from 0 "
                "(from 1 in MOT files)"
            )
        if (boxes.max(axis=1) <= 2).all():
            raise ValueError(
                f"{path}: all boxes are shares of the frame: multiply them by its width and height"
            )
        self._known = bool((person >= 0).all())
        self._rows: dict[int, list[int]] = defaultdict(list)  # of each frame
        for row, number in enumerate(frame):
            self._rows[int(number)].append(row)
        self._boxes, self._score = boxes, np.clip(score, 0, 1)
        self._person = person.astype(np.int64)
        for number, rows in self._rows.items():
            if self._known and len(np.unique(self._person[rows])) < len(rows):
                raise ValueError(f"{path}: frame {number} has two boxes of one person")

    def find(self, frame: Image, index: int) -> PersonBoxes:
        """The boxes of a frame, best score first."""
        del frame
        rows = np.array(self._rows.get(index, []), dtype=np.int64)
        rows = rows[np.argsort(-self._score[rows], kind="stable")]
        return PersonBoxes(
            boxes=self._boxes[rows],
            score=self._score[rows],
            person=self._person[rows] if self._known else None,
        )


def _box_rows(path: Path) -> list[list[float]]:
    """Frame from 0, x, y, width, height, score, person (-1: none) of each box."""
    try:
        match path.suffix.lower():
            case ".csv":
                with path.open(encoding="utf-8-sig", newline="") as file:
                    reader = csv.DictReader(file, skipinitialspace=True)
                    return [_named_row(row) for row in reader]
            case ".txt":
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                return [_mot_row(line) for line in lines if line.strip()]
            case ".json":
                content = json.loads(path.read_text(encoding="utf-8-sig"))
                if not isinstance(content, list):
                    raise ValueError("it holds no list")
                return [row for entry in content for row in _json_rows(entry)]
    except (csv.Error, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is no readable file of boxes: {error}") from error
    raise ValueError(
        f"cannot read boxes from {path}: known are .csv, .json, .txt (MOT) and .onnx networks"
    )


def _json_rows(entry: Any) -> list[list[float]]:
    if not isinstance(entry, dict):
        raise ValueError(f"an entry is no object but {type(entry).__name__}")
    if "bbox" not in entry:
        return [_named_row(entry)]
    if entry.get("category_id", 1) != 1:
        return []
    box, frame = entry["bbox"], entry.get("image_id", entry.get("frame"))
    if not isinstance(box, Sequence) or len(box) != 4 or not isinstance(frame, int):
        raise ValueError("every entry needs image_id, a whole number, and bbox of four numbers")
    person = entry.get("track_id", entry.get("person", -1))
    return [[frame, *(float(value) for value in box), float(entry.get("score", 1.0)), int(person)]]


def _named_row(row: Mapping[str, Any]) -> list[float]:
    given = {name: value for name, value in row.items() if value not in (None, "")}
    lacking = [name for name in ("frame", "x", "y", "w", "h") if name not in given]
    if lacking:
        raise ValueError(
            f"a box lacks {', '.join(lacking)}; found {', '.join(str(name) for name in row)}"
        )
    given = {"score": 1.0, "person": -1.0} | given
    return [float(given[name]) for name in ("frame", "x", "y", "w", "h", "score", "person")]


def _mot_row(line: str) -> list[float]:
    values = [float(part) for part in line.replace(",", " ").split()]
    if len(values) < 6:
        raise ValueError(f"the line {line!r} is not `frame, id, x, y, w, h, score`")
    score = values[6] if len(values) > 6 else 1.0
    return [values[0] - 1, *values[2:6], 1.0 if score < 0 else score, values[1]]
