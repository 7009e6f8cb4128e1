"""The one place that runs ONNX files: ONNX Runtime made silent, its sessions, and `OnnxModel`.

`OnnxModel` runs a file behind the same call as the network it was exported from.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from lithepose.arrays import Floats

if TYPE_CHECKING:
    from onnxruntime import InferenceSession


@cache
def onnx_runtime() -> ModuleType:
    """The library `onnxruntime`, loaded with its telemetry off.

    Its official builds report to their maker: loading the library alone leaves a `deviceid` and a
    database in the user's cache folder, and some seconds later it tries to connect. Nothing of a
    user's machine is ours to send, so this is off whatever the variable was set to, and nothing
    else in the package may load the library.
    """
    # Read once, when the library loads. Where the user's program loaded it first, the two files
    # are there and its first report is on its way; the call below still stops most later ones.
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    return onnxruntime


def open_session(
    path: str | os.PathLike[str], *, threads: int = 1, log_severity: int = 3
) -> InferenceSession:
    """An ONNX Runtime session on the CPU.

    Args:
        path: the ONNX file.
        threads: of one call, at least 1.
        log_severity: from which ONNX Runtime speaks on its own: 3 is errors (warnings are about
            the file's making), 4 only what ends the program.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: `threads` is below 1, or the file is damaged, no ONNX model, or needs an
            operator that this ONNX Runtime does not have.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no ONNX model at {path}: check the path")
    if threads < 1:
        raise ValueError(f"threads is {threads}: pass a whole number, 1 or more")
    onnxruntime = onnx_runtime()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = log_severity
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's errors have no common class of their own
        raise ValueError(
            f"ONNX Runtime {onnxruntime.__version__} cannot read {path}: {error}. The file may be "
            "damaged, or be made for a newer version"
        ) from error


class OnnxModel:
    """A network of one input and one output, run by ONNX Runtime on the CPU.

    Args:
        path: the ONNX file.
        threads: of one call. One is fastest for small networks, whose operators are too short to
            be worth sharing.

    Attributes:
        path: the file.
        metadata: the texts stored in the file, by name.
        input_shape: axes of the input; None where any length goes.
        output_shape: axes of the output; None where the length depends on the input.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is damaged or no ONNX model, needs an operator that this ONNX Runtime
            does not have, or is not from one float32 input to one float32 output.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1):
        self.path = Path(path)
        self._session = open_session(self.path, threads=threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        types = [end.type for end in (*inputs, *outputs)]
        if len(inputs) != 1 or len(outputs) != 1 or types != ["tensor(float)"] * 2:
            raise ValueError(
                f"{self.path} must have one float32 input and one float32 output, but has the "
                f"inputs {[(end.name, end.type) for end in inputs]} and the outputs "
                f"{[(end.name, end.type) for end in outputs]}"
            )
        self._input, self._output = inputs[0].name, outputs[0].name
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.input_shape = _lengths(inputs[0].shape)
        self.output_shape = _lengths(outputs[0].shape)

    def __call__(self, values: Floats) -> Floats:
        """Run on an array of `input_shape`, converted to float32 if it is not; gives float32.

        Raises:
            ValueError: the array has another shape.
        """
        expected = self.input_shape
        fits = values.ndim == len(expected) and all(
            want in (None, length) for want, length in zip(expected, values.shape, strict=True)
        )
        if not fits:
            wanted = ", ".join("any" if length is None else str(length) for length in expected)
            raise ValueError(
                f"{self.path.name} takes an array of shape ({wanted}), not {values.shape}"
            )
        values = np.ascontiguousarray(values, dtype=np.float32)
        return np.asarray(self._session.run([self._output], {self._input: values})[0])


def _lengths(shape: list[int | str | None]) -> tuple[int | None, ...]:
    return tuple(length if isinstance(length, int) else None for length in shape)
