"""A LiteRT file as a network: only those outputs that are asked for, and what they need.

LiteRT runs every operator of a file for every picture, also those whose output nobody reads. So the
others are left out of the file's bytes before they reach it; the file itself stays as it is.

Source: the TensorFlow Lite schema (version 3), which only ever grows at the end of a table, and the
layout of FlatBuffers. A table begins with the distance back to its vtable, which holds, after two
sizes, how far into the table each field is (0: absent). A field that is a vector holds how far on
the vector's length is; its elements follow. Elements that are tables are such distances, too.
"""

from __future__ import annotations

import struct
from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats

# Numbers of the fields read here, in the order of the schema.
_MODEL_SUBGRAPHS = 2
_GRAPH_TENSORS, _GRAPH_OUTPUTS, _GRAPH_OPERATORS = 0, 2, 3
_OPERATOR_INPUTS, _OPERATOR_OUTPUTS = 1, 2
_TENSOR_NAME, _TENSOR_IS_VARIABLE = 3, 5


class LiteRTNetwork:
    """A LiteRT file with one picture as input, run on the CPU; outputs by name.

    Args:
        path: the file.
        outputs: names of the outputs that will be read; nothing else is computed.
        threads: of one call.

    Raises:
        OSError: the file cannot be read.
        ValueError: it has no output of such a name, or LiteRT cannot run it.
    """

    def __init__(self, path: Path, *, outputs: Collection[str], threads: int = 1):
        from ai_edge_litert.interpreter import Interpreter

        model = keep_outputs(path.read_bytes(), outputs)
        self._interpreter = Interpreter(model_content=model, num_threads=threads)
        self._interpreter.allocate_tensors()
        self._input = self._interpreter.get_input_details()[0]["index"]
        self._outputs = {
            details["name"]: details["index"] for details in self._interpreter.get_output_details()
        }

    def run(self, picture: NDArray[np.float32]) -> None:
        """Compute the outputs for a picture (H, W, 3) of the file's size."""
        self._interpreter.set_tensor(self._input, picture[None])
        self._interpreter.invoke()

    def output(self, name: str) -> Floats:
        """An output of the last picture."""
        return self._interpreter.get_tensor(self._outputs[name])[0]


def keep_outputs(model: bytes, wanted: Collection[str]) -> bytes:
    """A LiteRT model without its other outputs and without the operators that only they need.

    What remains gives bit by bit what it gave before. Operators that change a state (those without
    an output or with a variable) and the graphs that operators call are kept.

    Args:
        model: the bytes of a .tflite file.
        wanted: names of the outputs to keep.

    Raises:
        ValueError: the model has no output of such a name.
    """
    # Both vectors become shorter where they are: nothing moves, so all stays aligned as the file's
    # maker aligned it, and no library has to write the file anew.
    edited = bytearray(model)
    graph = _tables(edited, _u32(edited, 0), _MODEL_SUBGRAPHS)[0]  # the one that is run
    tensors = _tables(edited, graph, _GRAPH_TENSORS)
    outputs = {_name(edited, tensors[i]): i for i in _numbers(edited, graph, _GRAPH_OUTPUTS)}
    if absent := set(wanted) - set(outputs):
        raise ValueError(
            f"the model has no output {', '.join(sorted(absent))}; it has {', '.join(outputs)}"
        )
    kept_outputs = [i for name, i in outputs.items() if name in wanted]

    needed = set(kept_outputs)
    kept_operators = []
    # An operator comes after those that it needs.
    for operator in reversed(_tables(edited, graph, _GRAPH_OPERATORS)):
        inputs = _numbers(edited, operator, _OPERATOR_INPUTS)
        made = _numbers(edited, operator, _OPERATOR_OUTPUTS)
        changes_state = not made or any(
            i >= 0 and _field(edited, tensors[i], _TENSOR_IS_VARIABLE) for i in inputs
        )
        if changes_state or not needed.isdisjoint(made):
            needed.update(inputs)
            kept_operators.append(operator)

    start = _vector(edited, graph, _GRAPH_OUTPUTS)
    struct.pack_into(f"<{len(kept_outputs) + 1}i", edited, start, len(kept_outputs), *kept_outputs)
    start = _vector(edited, graph, _GRAPH_OPERATORS)
    struct.pack_into("<I", edited, start, len(kept_operators))
    for place, operator in enumerate(reversed(kept_operators), start=1):
        at = start + 4 * place
        struct.pack_into("<I", edited, at, operator - at)
    return bytes(edited)


def _u32(model: bytearray, at: int) -> int:
    return struct.unpack_from("<I", model, at)[0]


def _field(model: bytearray, table: int, number: int) -> int | None:
    """Where a field of a table is; None if it is absent and so has its default (0, or empty)."""
    vtable = table - struct.unpack_from("<i", model, table)[0]
    size = struct.unpack_from("<H", model, vtable)[0]
    entry = 4 + 2 * number
    offset = struct.unpack_from("<H", model, vtable + entry)[0] if entry < size else 0
    return table + offset if offset else None


def _vector(model: bytearray, table: int, number: int) -> int:
    """Where the length of a vector is; it must be there."""
    field = _field(model, table, number)
    if field is None:
        raise ValueError("the model's first graph has no outputs or no operators")
    return field + _u32(model, field)


def _numbers(model: bytearray, table: int, number: int) -> list[int]:
    """The elements of a vector of int32."""
    if _field(model, table, number) is None:
        return []
    start = _vector(model, table, number)
    return list(struct.unpack_from(f"<{_u32(model, start)}i", model, start + 4))


def _tables(model: bytearray, table: int, number: int) -> list[int]:
    """Where the tables of a vector of tables are."""
    offsets = _numbers(model, table, number)
    start = _vector(model, table, number) + 4 if offsets else 0
    return [start + 4 * i + offset for i, offset in enumerate(offsets)]


def _name(model: bytearray, tensor: int) -> str:
    start = _vector(model, tensor, _TENSOR_NAME)
    return model[start + 4 : start + 4 + _u32(model, start)].decode()
