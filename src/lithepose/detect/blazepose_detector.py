"""BlazePose's detector network: who is in a square of the frame, and the crop around each.

Source: see `lithepose.detect.blazepose`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from lithepose.arrays import Floats, Image
from lithepose.assets import model_path
from lithepose.detect.iou import iou
from lithepose.detect.litert import LiteRTNetwork

_OUTPUTS = ("Identity", "Identity_1")  # their names in the file: boxes with points, scores
_SIZE = 224  # pixels, side of the picture that the network sees
CROP_MARGIN = 1.25  # the circle around hips and alignment keypoint, enlarged to hold hands and feet
SEARCH_INTERVAL = 10  # frames from one search in tiles to the next
_MIN_SCORE = 0.5
_NMS_IOU = 0.3


@dataclass(frozen=True)
class Crop:
    """A square of the frame, possibly tilted and reaching over the border.

    Attributes:
        x, y: centre, pixels of the frame.
        side: length of a side, pixels of the frame.
        angle: radians, clockwise on the screen; 0 has the crop's upper side level.
    """

    x: float
    y: float
    side: float
    angle: float = 0.0

    @classmethod
    def around(cls, hips: Floats, alignment: Floats) -> Crop:
        """The crop of a person.

        Args:
            hips: (2,) middle of the hips, pixels.
            alignment: (2,) point at the end of the body's radius, straight above the hips in the
                crop.
        """
        dx, dy = float(alignment[0] - hips[0]), float(alignment[1] - hips[1])
        side = 2 * CROP_MARGIN * float(np.hypot(dx, dy))
        return cls(float(hips[0]), float(hips[1]), side, float(np.arctan2(dx, -dy)))

    def matrix(self, size: int) -> Floats:
        """(2, 3) affine map from continuous pixels of the `size` x `size` crop to the frame."""
        scale = self.side / size
        cos, sin = scale * np.cos(self.angle), scale * np.sin(self.angle)
        half = size / 2
        return np.array(
            [
                [cos, -sin, self.x - (cos - sin) * half],
                [sin, cos, self.y - (sin + cos) * half],
            ]
        )

    def to_frame(self, points: Floats, size: int) -> Floats:
        """(..., 2) points in pixels of the `size` x `size` crop -> pixels of the frame."""
        matrix = self.matrix(size)
        return points @ matrix[:, :2].T + matrix[:, 2]

    def cut(self, frame: Image, size: int) -> Image:
        """The (size, size, 3) picture in the crop; black where it leaves the frame."""
        matrix = self.matrix(size)
        # OpenCV counts from the centre of the first pixel, these coordinates from its corner.
        matrix[:, 2] += matrix[:, :2].sum(axis=1) * 0.5 - 0.5
        return cv2.warpAffine(
            frame,
            matrix,
            (size, size),
            flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
            borderMode=cv2.BORDER_CONSTANT,
            borderValue=(0, 0, 0),
        )  # type: ignore[return-value]


def detector_anchors() -> Floats:
    """(2254, 2) anchor centres of the network, as fractions of its picture.

    Cells of 8, 16 and 32 pixels in this order, row by row, with 2, 2 and 6 anchors each.
    """
    centres = []
    for stride, repeats in ((8, 2), (16, 2), (32, 6)):
        cells = _SIZE // stride
        middle = (np.arange(cells) + 0.5) / cells
        y, x = np.meshgrid(middle, middle, indexing="ij")
        centres.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), repeats, axis=0))
    return np.concatenate(centres)


def decode_people(raw: Floats, logits: Floats, anchors: Floats) -> tuple[Floats, Floats]:
    """People from the output of the network, best score first, without duplicates.

    Args:
        raw: (A, 12) in pixels of the network's picture relative to the anchor: box centre x, y,
            width, height, then four points, of which the first is the hips, the second the
            alignment keypoint.
        logits: (A,) score before the sigmoid.
        anchors: (A, 2) from `detector_anchors`.

    Returns:
        (P, 2, 2) hips and alignment keypoint in pixels of the network's picture, and (P,) scores in
        [0, 1].
    """
    scores = sigmoid(logits)
    kept = np.flatnonzero(scores >= _MIN_SCORE)
    kept = kept[np.argsort(-scores[kept], kind="stable")]
    origin = anchors[kept] * _SIZE
    centre = raw[kept, 0:2] + origin
    half = raw[kept, 2:4] / 2
    boxes = np.concatenate([centre - half, centre + half], axis=1)  # left, top, right, bottom
    points = raw[kept, 4:8].reshape(-1, 2, 2) + origin[:, None]
    scores = scores[kept]

    people, people_scores = [], []
    left = np.arange(len(kept))
    while len(left):
        same = iou(boxes[left[:1]], boxes[left])[0] > _NMS_IOU
        same[0] = True  # also where a box has no area
        cluster = left[same]
        # Boxes of one person vote on where its points are: steadier than the best box alone.
        people.append(np.average(points[cluster], axis=0, weights=scores[cluster]))
        people_scores.append(scores[left[0]])
        left = left[~same]
    return np.array(people).reshape(-1, 2, 2), np.array(people_scores)


def search_tiles(width: int, height: int, fine: bool) -> list[Crop]:
    """Overlapping squares that cover a frame, for finding people too small in the whole picture.

    Squares of the frame's short side, and, if `fine` or if the frame is itself nearly square, also
    squares of 0.6 of it.
    """
    short = min(width, height)
    sides: list[float] = [short] if max(width, height) > 1.2 * short else []
    if fine or not sides:
        sides.append(0.6 * short)
    tiles = []
    for side in sides:
        # Neighbours share at least 40 %, so that a person lies whole in one of them.
        across, down = (int(np.ceil((n - side) / (0.6 * side) - 1e-6)) + 1 for n in (width, height))
        tiles += [
            Crop(float(x), float(y), side)
            for y in np.linspace(side / 2, height - side / 2, down)
            for x in np.linspace(side / 2, width - side / 2, across)
        ]
    return tiles


def are_hips_shared(crop: Crop, other: Crop) -> bool:
    """Whether two crops of one frame have hips so close that they are of one person."""
    apart = np.hypot(crop.x - other.x, crop.y - other.y)
    return bool(apart < 0.15 * min(crop.side, other.side))


class PersonDetector:
    """The network on pictures cut from a frame; arguments and errors as of `BlazePose`."""

    def __init__(self, models: Path | None = None, threads: int = 1):
        path = model_path("pose_detection", models)
        self._network = LiteRTNetwork(path, outputs=_OUTPUTS, threads=threads)
        self._anchors = detector_anchors()

    def find(self, frame: Image, square: Crop) -> list[tuple[Crop, float]]:
        """Crops of the people in a square of the frame, with scores."""
        picture = square.cut(frame, _SIZE)
        self._network.run(picture.astype(np.float32) / 127.5 - 1.0)  # black borders become -1
        raw, logits = (self._network.output(name) for name in _OUTPUTS)
        points, scores = decode_people(raw, logits[:, 0], self._anchors)
        return [
            (Crop.around(hips, alignment), float(score))
            for (hips, alignment), score in zip(square.to_frame(points, _SIZE), scores, strict=True)
        ]


def sigmoid(x: Floats) -> Floats:
    return 1.0 / (1.0 + np.exp(-np.clip(x, -50.0, 50.0)))
