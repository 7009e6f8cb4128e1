"""An ONNX file that answers about pictures: its shapes, its outputs by name, its checksum."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats, Image
from lithepose.detect.heatmaps import MEAN_255, STD_255, normalise_images
from lithepose.onnx import OnnxSession

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


GREY = 114  # of the part of a picture that the frame leaves, in all families


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """How a family of networks is fed.

    Attributes:
        colours: order of the channels.
        mean, std: subtracted from and dividing the channels, in that order, of 0 to 255.
    """

    colours: Literal["rgb", "bgr"] = "rgb"
    mean: Sequence[float] = MEAN_255
    std: Sequence[float] = STD_255

    def __call__(self, pictures: Image) -> NDArray[np.float32]:
        """Pictures (B, H, W, 3) RGB as input (B, 3, H, W)."""
        return normalise_images(pictures, self.mean, self.std, bgr=self.colours == "bgr")


class PictureNetwork(OnnxSession):
    """A network with one picture, or a batch of them, as input and any outputs.

    Args:
        path: the ONNX file.
        input_size: (width, height) for a file that takes any size.
        default_size: the same, where the caller gives none.
        threads: CPU threads of one call.

    Attributes:
        path, metadata: as of `OnnxSession`.
        facts: what a result notes of the file: its name and checksum.
        input_size: (width, height) of the pictures it gets.
        sized: whether the file or the caller said so, else it is the default.
        batched: whether it takes several pictures at once.
        shapes: of each output for one black picture, by name, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file cannot be run, has another input than (B, 3, H, W) of floats, or takes
            another size than was asked for, or any size where none was given.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        input_size: tuple[int, int] | None = None,
        default_size: tuple[int, int] | None = None,
        threads: int = 1,
    ):
        super().__init__(path, threads)
        self.facts = file_facts(self.path)
        inputs = self.inputs
        if len(inputs) != 1 or inputs[0].type not in _TYPES or len(inputs[0].shape) != 4:
            raise ValueError(
                f"{self.path} must have one input (B, 3, H, W) of floats, but has "
                f"{', '.join(f'{i.name} {i.type} {i.shape}' for i in inputs)}"
            )
        self._type = _TYPES[inputs[0].type]
        batch, channels, height, width = inputs[0].shape
        if channels != 3 and isinstance(channels, int):
            raise ValueError(
                f"{self.path} takes pictures of shape {inputs[0].shape}, not (B, 3, H, W): export "
                "it with the colours before height and width"
            )
        self.batched = not isinstance(batch, int)
        fixed = [side if isinstance(side, int) else None for side in (width, height)]
        self.sized = input_size is not None or None not in fixed
        if not self.sized and default_size is None:
            raise self.unsized()
        # A default gives way to what the file says, the caller's word does not.
        defaults = zip(fixed, default_size or (0, 0), strict=True)
        across, down = input_size or (own or default for own, default in defaults)
        if fixed[0] not in (None, across) or fixed[1] not in (None, down):
            raise ValueError(
                f"{self.path.name} takes pictures of {fixed[0]}x{fixed[1]}, not {across}x{down}"
            )
        self.input_size = across, down
        black = np.zeros((1, 3, self.input_size[1], self.input_size[0]), np.float32)
        self.shapes = {name: values.shape for name, values in self(black).items()}
        self.batched = self.batched and self._takes_two(black)

    @property
    def outputs_listed(self) -> str:
        """Names and shapes of the outputs, for messages."""
        return ", ".join(f"{name} {shape}" for name, shape in self.shapes.items())

    def unsized(self) -> ValueError:
        """The error for a file of any size, where that of its training matters."""
        return ValueError(
            f"{self.path.name} takes pictures of any size: say which it was trained for with "
            "input_size=(width, height), or --input-size"
        )

    def _takes_two(self, black: Floats) -> bool:
        """Whether a file that promises any number of pictures keeps it: not all exports do."""
        try:
            answers = self(np.concatenate([black, black]))
        except ValueError:
            return False
        return all(len(values) == 2 for values in answers.values())

    def __call__(self, pictures: Floats) -> dict[str, NDArray[Any]]:
        """Outputs by name for (B, 3, H, W) pictures; run one by one where the file demands it."""
        pictures = np.ascontiguousarray(pictures, dtype=self._type)
        parts = (
            [pictures] if self.batched or len(pictures) == 1 else np.split(pictures, len(pictures))
        )
        try:
            answers = [self.run(part) for part in parts]
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise ValueError(
                f"{self.path.name} cannot be run on pictures of shape {pictures.shape}: {error}"
            ) from error
        joined = [np.concatenate(values) for values in zip(*answers, strict=True)]
        return {output.name: values for output, values in zip(self.outputs, joined, strict=True)}

    def operators_on_input(self) -> set[str]:
        """Names of the operators that the picture goes into first."""
        return {
            bytes(operator).decode()
            for graph in _fields(self.path.read_bytes(), _GRAPH)
            for node in _fields(graph, _NODE)
            if self.inputs[0].name.encode() in map(bytes, _fields(node, _NODE_INPUT))
            for operator in _fields(node, _OPERATOR)
        }


def file_facts(path: Path) -> dict[str, Any]:
    """What a result notes of a file: its name and its checksum in hexadecimal."""
    with path.open("rb") as file:
        return {"file": path.name, "sha256": hashlib.file_digest(file, "sha256").hexdigest()}


def letterbox(
    frame: Image, size: tuple[int, int], *, centred: bool
) -> tuple[Image, float, tuple[int, int]]:
    """The whole frame in a picture of another shape, the rest of it grey.

    Args:
        frame: (H, W, 3).
        size: (width, height) of the picture.
        centred: whether the frame is in the middle, else at the upper left.

    Returns:
        The picture; the factor, and the shift in pixels to the right and down, by which points of
        the frame move: picture = frame * factor + shift, counted from corners of pixels.
    """
    height, width = frame.shape[:2]
    factor = min(size[0] / width, size[1] / height)
    inner = max(1, round(width * factor)), max(1, round(height * factor))
    shift = ((size[0] - inner[0]) // 2, (size[1] - inner[1]) // 2) if centred else (0, 0)
    picture = np.full((size[1], size[0], 3), GREY, np.uint8)
    x, y = shift
    picture[y : y + inner[1], x : x + inner[0]] = cv2.resize(
        frame, inner, interpolation=cv2.INTER_LINEAR
    )
    return picture, factor, shift


# ONNX files are Protocol Buffers: numbered fields one after the other. Three numbers are all that
# is needed to see what happens to the picture first, which no runtime tells.
_GRAPH, _NODE, _NODE_INPUT, _OPERATOR = 7, 1, 1, 4


def _fields(message: bytes | memoryview, wanted: int) -> Iterator[memoryview]:
    """The contents of the fields of one number that are texts or messages."""
    view, at = memoryview(message), 0
    while at < len(view):
        key, at = _varint(view, at)
        match key & 7:
            case 0:
                _, at = _varint(view, at)
            case 1:
                at += 8
            case 2:
                length, at = _varint(view, at)
                if key >> 3 == wanted:
                    yield view[at : at + length]
                at += length
            case 5:
                at += 4
            case other:
                raise ValueError(f"no ONNX file: a field of type {other}")


def _varint(view: memoryview, at: int) -> tuple[int, int]:
    value, shift = 0, 0
    while True:
        byte = view[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
