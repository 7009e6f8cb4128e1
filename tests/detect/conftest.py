"""ONNX files with the outputs of known families, whose answers can be worked out: they look for
colours. Joint 0 is where the picture is reddest, 1 greenest, 2 bluest, 3 reddest again, ..."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

COLOURS = np.eye(3)  # red, green, blue


def draw_dots(
    size: tuple[int, int], places: np.ndarray, spread: float, peak: float = 255.0
) -> np.ndarray:
    """(H, W, 3) RGB, black with a red, a green and a blue Gaussian of this sigma.

    Args:
        places: (3, 2) pixels from the corner of the first.
    """
    y, x = np.mgrid[: size[1], : size[0]] + 0.5
    frame = np.zeros((size[1], size[0], 3))
    for colour, (u, v) in zip(COLOURS, places, strict=True):
        frame += peak * colour * np.exp(-((x - u) ** 2 + (y - v) ** 2) / (2 * spread**2))[..., None]
    return np.round(frame.clip(0, 255)).astype(np.uint8)


def write_onnx(
    path: Path, nodes: list[Any], inputs: list[Any], outputs: list[str], constants: dict[str, Any]
) -> Path:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    graph = helper.make_graph(
        nodes,
        "test",
        inputs,
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(v), name) for name, v in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.save(model, path)
    return path


def picture_input(size: tuple[int | str, int | str], batch: int | str = "batch") -> Any:
    from onnx import TensorProto, helper

    return helper.make_tensor_value_info("input", TensorProto.FLOAT, [batch, 3, size[1], size[0]])


@pytest.fixture(scope="session")
def pose_file() -> Callable[..., Path]:
    """Write a pose network that looks for dots.

    `kind` is simcc, heatmaps or udp; mean, std (0 to 255, in the network's order) and `colours` are
    what it expects of its input: with another, the scores are not those of the picture.
    """

    def write(
        path: Path,
        kind: str = "heatmaps",
        *,
        size: tuple[int, int] = (96, 128),
        joints: int = 17,
        mean: tuple[float, ...] = (123.675, 116.28, 103.53),
        std: tuple[float, ...] = (58.395, 57.12, 57.375),
        colours: str = "rgb",
        batch: int | str = "batch",
        names: tuple[str, str] = ("simcc_x", "simcc_y"),
        fixed: bool = True,
    ) -> Path:
        from onnx import helper

        order = np.arange(joints) % 3
        if colours == "bgr":
            order = 2 - order
        constants = {
            "std": np.array(std, np.float32).reshape(1, 3, 1, 1) / 255,
            "mean": np.array(mean, np.float32).reshape(1, 3, 1, 1) / 255,
            "order": order.astype(np.int64),
        }
        nodes = [
            helper.make_node("Mul", ["input", "std"], ["scaled"]),
            helper.make_node("Add", ["scaled", "mean"], ["shares"]),  # 0 to 1 again
            helper.make_node("Gather", ["shares", "order"], ["dots"], axis=1),
        ]
        if kind == "simcc":
            constants["twice"] = np.array([1, 1, 2], np.float32)
            for name, axis in zip(names, (2, 3), strict=True):
                nodes += [
                    helper.make_node(
                        "ReduceMax", ["dots"], [f"{name}_max"], axes=[axis], keepdims=0
                    ),
                    helper.make_node(
                        "Resize",
                        [f"{name}_max", "", "twice"],
                        [name],
                        mode="linear",
                        coordinate_transformation_mode="asymmetric",
                    ),
                ]
            outputs = list(names)
        elif kind == "heatmaps":  # every fourth pixel
            for name, value in (("from", 0), ("to", 10**6), ("step", 4)):
                constants[name] = np.array([value, value], np.int64)
            constants["axes"] = np.array([2, 3], np.int64)
            nodes.append(
                helper.make_node("Slice", ["dots", "from", "to", "axes", "step"], ["maps"])
            )
            outputs = ["maps"]
        else:  # from the first pixel's centre to the last one's, as UDP counts
            constants["share"] = np.array([1, 1, 0.25, 0.25], np.float32)
            nodes.append(
                helper.make_node(
                    "Resize",
                    ["dots", "", "share"],
                    ["maps"],
                    mode="linear",
                    coordinate_transformation_mode="align_corners",
                )
            )
            outputs = ["maps"]
        shown = size if fixed else ("width", "height")
        return write_onnx(path, nodes, [picture_input(shown, batch)], outputs, constants)

    return write


@pytest.fixture(scope="session")
def answer_file() -> Callable[..., Path]:
    """Write a network that always gives the same answers, but scores by the picture.

    Args:
        answers: name of each output -> its values for one picture.
        scored: output -> index in its last axis that holds the score, which is multiplied with the
            first channel of the pixel `probe` (x, y), in shares of 255 after `mean` and `std`.
        first: the operator that the picture goes into: Conv (a copy), Slice, or Identity.
    """

    def write(
        path: Path,
        answers: dict[str, np.ndarray],
        *,
        size: tuple[int, int] = (64, 64),
        scored: dict[str, int] | None = None,
        probe: tuple[int, int] = (0, 0),
        mean: float = 0.0,
        std: float = 1.0,
        first: str = "Conv",
        batch: int | str = 1,
    ) -> Path:
        from onnx import helper

        x, y = probe
        constants: dict[str, Any] = {
            "from": np.array([0, y, x], np.int64),
            "to": np.array([1, y + 1, x + 1], np.int64),
            "axes": np.array([1, 2, 3], np.int64),
            "std": np.array(std / 255, np.float32),
            "mean": np.array(mean / 255, np.float32),
            "flat": np.array([1], np.int64),
            "copy": np.eye(3, dtype=np.float32).reshape(3, 3, 1, 1),
            "start": np.array([0], np.int64),
            "end": np.array([10**6], np.int64),
            "row": np.array([2], np.int64),
        }
        inner = {
            "Conv": helper.make_node("Conv", ["input", "copy"], ["picture"]),
            "Slice": helper.make_node("Slice", ["input", "start", "end", "row"], ["picture"]),
            "Identity": helper.make_node("Identity", ["input"], ["picture"]),
        }
        nodes = [
            inner[first],
            helper.make_node("Slice", ["picture", "from", "to", "axes"], ["pixel"]),
            helper.make_node("Mul", ["pixel", "std"], ["scaled"]),
            helper.make_node("Add", ["scaled", "mean"], ["share"]),
            helper.make_node("Reshape", ["share", "flat"], ["level"]),
        ]
        for name, values in answers.items():
            constants[f"{name}_values"] = values.astype(np.float32)
            factor = np.zeros(values.shape[-1], np.float32)
            if scored and name in scored:
                factor[scored[name]] = 1
            constants[f"{name}_scored"], constants[f"{name}_plain"] = factor, 1 - factor
            nodes += [
                helper.make_node("Mul", ["level", f"{name}_scored"], [f"{name}_by_picture"]),
                helper.make_node(
                    "Add", [f"{name}_by_picture", f"{name}_plain"], [f"{name}_factor"]
                ),
                helper.make_node("Mul", [f"{name}_values", f"{name}_factor"], [name]),
            ]
        return write_onnx(path, nodes, [picture_input(size, batch)], list(answers), constants)

    return write


@pytest.fixture(scope="session")
def dots() -> Callable[..., np.ndarray]:
    """`draw_dots` for tests."""
    return draw_dots
