"""Write a network as an ONNX file, compared with PyTorch before it is left in its place."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import Tensor, nn

from lithepose.detect.hevitpose import fold
from lithepose.files import atomic_write
from lithepose.lifters.weights import network_of
from lithepose.onnx import OnnxModel, onnx_runtime

OPSET = 20  # the first with a GELU of its own
LARGE = 1024  # numbers in a tensor from which half precision saves enough to be worth a Cast
TOLERANCE = 1e-4  # metres, or parts of a heatmap's peak, between ONNX Runtime and PyTorch


class ExportError(RuntimeError):
    """The exported file does not do what the network does; no file was left."""


def halve_weights(model: nn.Module) -> nn.Module:
    """A copy of a model whose large weights are rounded to what half precision can hold.

    They stay float32 tensors. Tensors with numbers beyond the range of half precision are not
    rounded.
    """
    model = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            rounded = parameter.half().float()
            if parameter.numel() >= LARGE and bool(torch.isfinite(rounded).all()):
                parameter.copy_(rounded)
    return model


def export_onnx(
    model: nn.Module,
    path: str | os.PathLike[str],
    example: Tensor,
    metadata: Mapping[str, Any] | None = None,
    *,
    half_weights: bool = True,
) -> float:
    """Export a lifter to an ONNX file of any batch size; the file is complete or absent.

    Args:
        model: made by `create_lifter`; exported as in evaluation.
        path: the file to write.
        example: (B, T, J, C) float32, a realistic input: the written file is compared with PyTorch
            on it, and on its first clip alone.
        metadata: stored in the file as texts, those that are no text already as JSON. The keys
            `network` and `config` (JSON) are added.
        half_weights: store large weights in half precision, half the size; the arithmetic is in
            float32. The comparison is with the rounded weights.

    Returns:
        The largest difference to PyTorch.

    Raises:
        ExportError: ONNX Runtime and PyTorch differ by more than `TOLERANCE`.
        TypeError: the model is no lifter of this package.
        ValueError: `metadata` gives a key that is added.
        OSError: the file cannot be written.
    """
    texts = _texts(network_of(model), model, metadata or {})
    model = (halve_weights(model) if half_weights else copy.deepcopy(model)).cpu().eval()
    example = example.detach().cpu().float()
    graph_file = _graph_file(model, example, ("joints_2d", "joints_3d"), texts, half_weights)
    return write_checked(graph_file, path, model, example)


def export_pose_network(
    model: nn.Module,
    path: str | os.PathLike[str],
    example: Tensor,
    metadata: Mapping[str, Any] | None = None,
    *,
    half_weights: bool = False,
) -> float:
    """Export a pose network, folded, to an ONNX file of any batch size; complete or absent.

    Args:
        model: made by `create_pose_network`; exported as in evaluation.
        path: the file to write.
        example: (B, 3, H, W) float32, normalised crops of the size that the file will take: the
            written file is compared with PyTorch on them, and on the first alone.
        metadata: as of `export_onnx`; `skeleton` tells a detector the joint set, and the key
            `preset` (how crops are prepared, see `lithepose.detect.onnx_pose`) is added as well.
        half_weights: as of `export_onnx`; the comparison is then with the folded network.

    Returns:
        The largest difference to PyTorch, to the network as it is, not folded.

    Raises:
        TypeError: the model is no HEViTPose; else as of `export_onnx`.
    """
    folded = fold(model).cpu()
    texts = _texts("hevitpose", model, metadata or {}, preset="hevitpose")
    if half_weights:
        folded = halve_weights(folded)
    example = example.detach().cpu().float()
    graph_file = _graph_file(folded, example, ("images", "heatmaps"), texts, half_weights)
    reference = folded if half_weights else copy.deepcopy(model).cpu().eval()
    return write_checked(graph_file, path, reference, example)


def _texts(
    network: str, model: nn.Module, metadata: Mapping[str, Any], **added: str
) -> dict[str, str]:
    texts = {
        "network": network,
        "config": json.dumps(dataclasses.asdict(model.config)),  # type: ignore[arg-type]
        **added,
    }
    for key, value in metadata.items():
        if key in texts:
            raise ValueError(f"the metadata key {key!r} is set by the export itself")
        texts[key] = value if isinstance(value, str) else json.dumps(value)
    return texts


def _graph_file(
    model: nn.Module,
    example: Tensor,
    names: tuple[str, str],
    texts: Mapping[str, str],
    half_weights: bool,
) -> onnx.ModelProto:
    """The network as a checked ONNX model; `names` are those of its input and output."""
    onnx_runtime()  # silenced here, before the exporter's own checks may load it
    # A batch of one would be taken for a constant.
    traced = example if len(example) > 1 else example.repeat(2, *(1,) * (example.dim() - 1))
    program = torch.onnx.export(
        model,
        (traced,),
        input_names=names[:1],
        output_names=names[1:],
        opset_version=OPSET,
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None  # only the older exporter returns nothing
    graph_file = program.model_proto
    if half_weights:
        store_in_half_precision(graph_file)
    del graph_file.metadata_props[:]
    strip_notes(graph_file)
    helper.set_model_props(graph_file, dict(texts))
    onnx.checker.check_model(graph_file, full_check=True)
    return graph_file


def write_checked(
    graph_file: onnx.ModelProto, path: str | os.PathLike[str], model: nn.Module, example: Tensor
) -> float:
    """Write an ONNX file if ONNX Runtime gives what the model gives.

    Args:
        graph_file: one float32 input, one float32 output, both of any batch size.
        path: the file to write; complete or absent.
        model: in evaluation mode.
        example: (B, ...) float32: both run on it, and on its first clip alone.

    Returns:
        The largest difference.

    Raises:
        ExportError: they differ by more than `TOLERANCE`, or the batch size is fixed.
        OSError: the file cannot be written.
    """
    worst = 0.0
    with atomic_write(path) as temporary:
        temporary.write_bytes(graph_file.SerializeToString())
        exported = OnnxModel(temporary)
        if exported.input_shape[0] is not None:
            raise ExportError(
                f"the exporter took the batch size {exported.input_shape[0]} for a constant: the "
                "forward of the network must not turn it into a Python number, as len(x) does"
            )
        for clips in (example, example[:1]):
            with torch.inference_mode():
                expected = model(clips).numpy()
            difference = float(np.abs(exported(clips.numpy()) - expected).max())
            if not difference <= TOLERANCE:  # nan is no agreement
                raise ExportError(
                    f"on {len(clips)} clips, ONNX Runtime and PyTorch differ by {difference:.2e}, "
                    f"allowed {TOLERANCE:g}; nothing was written to {path}"
                )
            worst = max(worst, difference)
    return worst


def store_in_half_precision(model: onnx.ModelProto) -> None:
    """Store large float32 constants as float16 and a Cast, where that loses nothing; in place.

    ONNX Runtime casts them once, when it loads the file.
    """
    graph = model.graph
    casts = []
    for constant in graph.initializer:
        if constant.data_type != TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(constant)
        if values.size < LARGE or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = constant.name
        constant.CopyFrom(numpy_helper.from_array(half, f"{name}_half"))
        casts.append(
            helper.make_node("Cast", [f"{name}_half"], [name], f"{name}_cast", to=TensorProto.FLOAT)
        )
    nodes = [*casts, *graph.node]  # constants first: the nodes must be in order
    del graph.node[:]
    graph.node.extend(nodes)


def strip_notes(model: onnx.ModelProto) -> None:
    """Remove what the exporter notes about each node (stack traces, paths of source files)."""
    graph = model.graph
    parts: list[Any] = [graph, *graph.input, *graph.output, *graph.value_info]
    parts += [*graph.initializer, *graph.node]
    for function in model.functions:
        parts += [function, *function.node]
    model.doc_string = ""
    for part in parts:
        part.doc_string = ""
        del part.metadata_props[:]
