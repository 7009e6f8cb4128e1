"""Pose networks of other projects, from their ONNX files.

The type of a network is inferred from its inputs and outputs:

- two outputs (B, J, width * s) and (B, J, height * s): SimCC, as RTMPose has it. Each joint is a
  pair of one-dimensional scores, in bins of 1 / s input pixels;
- one output (B, J, h, w): heatmaps, as HRNet, ViTPose and HEViTPose have them;
- (B, N, 5) boxes and (B, N, J, 3) keypoints: RTMO, which finds everyone in the whole frame at once;
- (B, 5 + 3 J, N) or (B, N, 6 + 3 J): the pose networks of the YOLO family, likewise.

The first two look at one person each and need boxes (`lithepose.detect.top_down`). ONNX files
do not record the preprocessing, so `PRESETS` supply it by family.

Source: Jiang et al., RTMPose, 2023; Lu et al., RTMO, CVPR 2024; Li et al., SimCC, ECCV 2022; Xu et
al., ViTPose, NeurIPS 2022; and the output layouts of MMDeploy's and Ultralytics' exports.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image
from lithepose.detect import check_frame
from lithepose.detect.heatmaps import (
    Decoder,
    crop,
    crop_matrix,
    decode,
    frame_boxes,
    geometry_of,
    to_picture,
)
from lithepose.detect.iou import nms
from lithepose.detect.onnx_file import PictureNetwork, Preparation, letterbox
from lithepose.poses import Detections
from lithepose.skeletons import ONLY_SET_OF, PARTS_OF_LARGER, joint_set, skeleton_named

MOST_OF_A_FRAME = 6  # people, where one is wanted: the clip decides later which
_BATCH = 8  # people per call: more bring no speed on a CPU, and take memory


@dataclass(frozen=True, kw_only=True)
class Preset(Preparation):
    """How a family of networks is fed and read.

    Attributes:
        decoder: of heatmaps; "udp" also cuts and returns in that geometry.
        centred: whether the frame is in the middle in networks that see the whole of it.
    """

    decoder: Decoder = "dark"
    centred: bool = False


# A file is taken for the family whose name is in its name, the first in this order; else, by its
# outputs, for the one in `_USUAL`.
PRESETS: dict[str, Preset] = {
    "hevitpose": Preset(),
    "vitpose": Preset(decoder="udp"),
    "hrnet": Preset(),
    "rtmpose": Preset(),
    "rtmo": Preset(colours="bgr", mean=(0, 0, 0), std=(1, 1, 1)),
    "yolo-pose": Preset(mean=(0, 0, 0), std=(255, 255, 255), centred=True),
}
Kind = Literal["simcc", "heatmaps", "rtmo", "yolo"]
_USUAL: dict[Kind, str] = {
    "simcc": "rtmpose",
    "heatmaps": "hrnet",
    "rtmo": "rtmo",
    "yolo": "yolo-pose",
}

# Joint sets that networks are trained on. With 17 joints they are COCO's, other sets of 17 being
# those of 3D data.
_USUAL_SET = {17: "coco17", **{joints: ONLY_SET_OF[joints] for joints in (16, 18, 25, 26)}}


def kind_of(network: PictureNetwork) -> tuple[Kind, list[str]]:
    """What a network answers with, and the outputs to read, in the order of `Kind`'s description.

    Raises:
        ValueError: the outputs are none of those known.
    """
    shapes = network.shapes
    by_rank = {
        rank: [name for name, shape in shapes.items() if len(shape) == rank] for rank in (3, 4)
    }
    boxes = [name for name in by_rank[3] if shapes[name][-1] == 5]
    points = [name for name in by_rank[4] if shapes[name][-1] == 3]
    if len(boxes) == 1 and len(points) == 1:
        return "rtmo", [boxes[0], points[0]]
    if len(by_rank[3]) == 2 and not by_rank[4]:
        return "simcc", _axes_of(network, by_rank[3])
    if len(by_rank[4]) == 1 and not by_rank[3]:
        return "heatmaps", by_rank[4]
    if len(by_rank[3]) == 1 and not by_rank[4] and _yolo_joints(shapes[by_rank[3][0]]):
        return "yolo", by_rank[3]
    raise ValueError(
        f"{network.path} is no pose network that is known here: its outputs are "
        f"{network.outputs_listed}. Known are SimCC (B, J, width * s) and (B, J, height * s), "
        "heatmaps (B, J, h, w), RTMO (B, N, 5) and (B, N, J, 3), YOLO (B, 5 + 3 J, N)"
    )


def _axes_of(network: PictureNetwork, names: list[str]) -> list[str]:
    """The outputs of x and of y."""
    first, second = names
    if "y" in first.lower().rsplit("_", 1)[-1] and "x" in second.lower().rsplit("_", 1)[-1]:
        first, second = second, first
    bins = [network.shapes[name][-1] for name in (first, second)]
    width, height = network.input_size
    if bins[0] * height != bins[1] * width and bins[0] * width == bins[1] * height:
        first, second, bins = second, first, bins[::-1]
    ratios = bins[0] / width, bins[1] / height
    joints = {network.shapes[name][1] for name in (first, second)}
    if ratios[0] != ratios[1] or ratios[0] < 1 or len(joints) > 1:
        raise ValueError(
            f"{network.path}: the outputs {network.outputs_listed} are no SimCC of an input of "
            f"{width}x{height}, which has the same number of bins per pixel in x and in y"
        )
    return [first, second]


def _yolo_joints(shape: tuple[int, ...]) -> int:
    """Joints of a YOLO output, raw (1, 5 + 3 J, N) or final (1, N, 6 + 3 J); 0 if it is neither."""
    if (shape[1] - 5) % 3 == 0 and shape[1] < shape[2] and shape[1] > 5:
        return (shape[1] - 5) // 3
    if (shape[2] - 6) % 3 == 0 and shape[2] > 6:
        return (shape[2] - 6) // 3
    return 0


def preset_of(network: PictureNetwork, kind: Kind, preset: str | None) -> str:
    """The preset's name: the caller's, that in the file's own texts, or the family's.

    Raises:
        ValueError: there is no preset of that name.
    """
    preset = preset or network.metadata.get("preset")
    if preset is None:
        name = network.path.name.lower().replace("_", "-")
        families = PRESETS if kind == "heatmaps" else ()
        preset = next((family for family in families if family in name), _USUAL[kind])
    if preset not in PRESETS:
        raise ValueError(f"no preset named {preset!r}; known: {', '.join(PRESETS)}")
    return preset


def _joint_set(
    network: PictureNetwork, joints: int, skeleton: str | None
) -> tuple[str, list[int] | None]:
    """The joint set's name, and which joints of the output make it if not all do."""
    given = skeleton or network.metadata.get("skeleton")
    larger, part = PARTS_OF_LARGER.get(joints, (None, ()))
    if larger is not None and given in (None, larger):
        return larger, list(part)
    return joint_set(joints, given or _USUAL_SET.get(joints), network.path.name), None


class _PoseFile:
    """What both kinds of detectors say of their file.

    Attributes:
        skeleton: joint set of the keypoints.
        facts: what a result notes: file, checksum, kind, preset, the decoder of heatmaps.
    """

    KINDS: ClassVar[tuple[Kind, ...]]
    DEFAULT_SIZE: ClassVar[tuple[int, int] | None] = None
    REFUSAL: ClassVar[str]

    def __init__(
        self,
        path: str | os.PathLike[str] | PictureNetwork,
        *,
        skeleton: str | None = None,
        preset: str | None = None,
        input_size: tuple[int, int] | None = None,
        threads: int = 1,
    ):
        """Load the file.

        Args:
            path: the ONNX file.
            skeleton: joint set, where it does not follow from the number of joints.
            preset: a name in `PRESETS`, where it follows neither from the file's name nor from its
                outputs.
            input_size: (width, height), for a file that takes any.
            threads: CPU threads.

        Raises:
            FileNotFoundError, ValueError: the file cannot be read, is no such network, or does not
                fit the skeleton or the preset.
        """
        if not isinstance(path, PictureNetwork):
            path = PictureNetwork(
                path, input_size=input_size, default_size=self.DEFAULT_SIZE, threads=threads
            )
        self._network = path
        self._kind, self._read = kind_of(path)
        if self._kind not in self.KINDS:
            raise ValueError(f"{path.path} {self.REFUSAL.format(kind=self._kind)}")
        shape = path.shapes[self._read[-1]]
        joints = {"yolo": _yolo_joints(shape), "rtmo": shape[2]}.get(self._kind, shape[1])
        self.skeleton, self._part = _joint_set(path, joints, skeleton)
        name = preset_of(path, self._kind, preset)
        self._preset = PRESETS[name]
        self.facts: dict[str, Any] = {**path.facts, "kind": self._kind, "preset": name}
        if self._kind == "heatmaps":
            self.facts["decoder"] = self._preset.decoder


class OnnxPose(_PoseFile):
    """A network that places the joints of one person in a crop."""

    KINDS = ("simcc", "heatmaps")
    REFUSAL = (
        "finds people in whole frames (its outputs are those of {kind}): use it as a detector "
        "without boxes"
    )

    @property
    def input_size(self) -> tuple[int, int]:
        """(width, height) of a crop in pixels."""
        return self._network.input_size

    def place(self, frame: Image, boxes: Floats) -> tuple[Floats, Floats]:
        """The joints of the people in boxes.

        Args:
            frame: (H, W, 3) RGB.
            boxes: (P, 4) left, top, width, height in pixels.

        Returns:
            Keypoints (P, J, 2) pixels, nan where a joint has no score; confidence (P, J) in [0, 1].
        """
        joints = len(skeleton_named(self.skeleton))
        keypoints, confidence = np.empty((len(boxes), joints, 2)), np.zeros((len(boxes), joints))
        for start in range(0, len(boxes), _BATCH):
            part = slice(start, start + _BATCH)
            keypoints[part], confidence[part] = self._place(frame, boxes[part])
        return keypoints, confidence

    def _place(self, frame: Image, boxes: Floats) -> tuple[Floats, Floats]:
        size = self._network.input_size
        centres, sizes = frame_boxes(np.asarray(boxes, float) - [0.5, 0.5, 0, 0], size)
        preset = self._preset
        geometry = geometry_of(preset.decoder) if self._kind == "heatmaps" else "standard"
        matrices = crop_matrix(centres, sizes, size, geometry=geometry)
        crops = np.stack([crop(frame, matrix, size) for matrix in matrices])
        answers = self._network(preset(crops))
        values = [np.asarray(answers[name], np.float32) for name in self._read]
        if self._part is not None:
            values = [value[:, self._part] for value in values]
        if self._kind == "simcc":
            points, scores = decode_simcc(values[0], values[1], size)
            points = to_picture(points, centres, sizes, size)
        else:
            (maps,) = values
            points, scores = decode(maps, preset.decoder)
            points = to_picture(points, centres, sizes, (maps.shape[3], maps.shape[2]), geometry)
        # Networks count from the centre of the first pixel, keypoints here from its corner.
        points = np.where(scores[..., None] > 0, points + 0.5, np.nan)
        return points, np.clip(scores, 0, 1)


def decode_simcc(
    x: NDArray[np.float32], y: NDArray[np.float32], input_size: tuple[int, int]
) -> tuple[Floats, Floats]:
    """Where the one-dimensional scores of each joint are highest.

    Args:
        x: (P, J, width * s).
        y: (P, J, height * s).
        input_size: (width, height) in pixels.

    Returns:
        Points (P, J, 2) in input pixels, from the centre of the first, and scores (P, J): the lower
        of the two maxima.
    """
    points = np.stack([x.argmax(-1), y.argmax(-1)], axis=-1)
    scores = np.minimum(x.max(-1), y.max(-1))
    if not np.isfinite(scores).all():
        raise ValueError("a score is nan or infinite: the network or its input is broken")
    return points * (np.array(input_size) / (x.shape[-1], y.shape[-1])), scores


class OnnxOneStage(_PoseFile):
    """A network that finds everyone with all joints in the whole frame, without boxes."""

    KINDS = ("rtmo", "yolo")
    DEFAULT_SIZE = (640, 640)
    REFUSAL = "looks at one person at a time: it needs boxes"
    MIN_SCORE = 0.3  # of a person
    OVERLAP = 0.65  # of the boxes of two people, above which they are one

    def __init__(
        self,
        path: str | os.PathLike[str] | PictureNetwork,
        *,
        people: int | Literal["one"] = "one",
        **options: Any,
    ):
        """Load the file; options and errors as of `_PoseFile`.

        Args:
            people: the most people of a frame, by score; with "one", several are still given, so
                that the clip decides who it is about.
        """
        super().__init__(path, **options)
        self._people = MOST_OF_A_FRAME if people == "one" else people

    def reset(self) -> None:
        """Nothing is carried from frame to frame."""

    def detect(self, frame: Image, time_s: float) -> Detections:
        """Find the people of one frame, best score first."""
        del time_s
        check_frame(frame)
        size, preset = self._network.input_size, self._preset
        picture, factor, shift = letterbox(frame, size, centred=preset.centred)
        answers = self._network(preset(picture[None]))
        values = [np.asarray(answers[name][0], np.float64) for name in self._read]
        if self._kind == "rtmo":
            corners, scores, points = values[0][:, :4], values[0][:, 4], values[1]
        else:
            corners, scores, points = _read_yolo(values[0])
        kept = np.flatnonzero(scores >= self.MIN_SCORE)
        kept = kept[nms(corners[kept], scores[kept], self.OVERLAP)][: self._people]
        points = points[kept]
        if self._part is not None:
            points = points[:, self._part]
        # RTMO counts from the centre of the first pixel, YOLO and keypoints here from its corner.
        corner = 0.5 if self._kind == "rtmo" else 0.0
        places = (points[..., :2] + corner - shift) / factor
        confidence = np.clip(np.nan_to_num(points[..., 2]), 0, 1)
        confidence[~np.isfinite(places).all(axis=-1)] = 0
        return Detections(
            keypoints=np.where(confidence[..., None] > 0, places, np.nan).astype(np.float32),
            confidence=confidence.astype(np.float32),
            score=np.clip(scores[kept], 0, 1).astype(np.float32),
            skeleton=self.skeleton,
        )


def _read_yolo(values: Floats) -> tuple[Floats, Floats, Floats]:
    """Corners (N, 4), scores (N,) and points (N, J, 3) in pixels of the picture."""
    if (values.shape[0] - 5) % 3 == 0 and values.shape[0] < values.shape[1]:  # raw, (5 + 3 J, N)
        values = values.T
        middle, half = values[:, :2], values[:, 2:4] / 2
        corners = np.concatenate([middle - half, middle + half], axis=1)
        return corners, values[:, 4], values[:, 5:].reshape(len(values), -1, 3)
    scores = np.where(values[:, 5] == 0, values[:, 4], 0.0)  # class 0 is the person
    return values[:, :4], scores, values[:, 6:].reshape(len(values), -1, 3)
