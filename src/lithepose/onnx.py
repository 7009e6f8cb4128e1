"""The one place that runs ONNX files: ONNX Runtime made silent, a session, and `OnnxModel`.

`OnnxModel` runs a file behind the same call as the network it was exported from.
"""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats


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


class OnnxSession:
    """An ONNX file of one input and any outputs, run by ONNX Runtime on the CPU.

    Args:
        path: the ONNX file.
        threads: of one call, at least 1. One is fastest for small networks, whose operators are too
            short to be worth sharing.

    Attributes:
        path: the file.
        metadata: the texts stored in the file, by name.
        inputs, outputs: what ONNX Runtime says of them: `name`, `type`, `shape`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: `threads` is below 1, or the file is damaged, no ONNX model, or needs an
            operator that this ONNX Runtime does not have.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1):
        self.path = Path(path)
        if not self.path.is_file():
            raise FileNotFoundError(f"no ONNX model at {path}: check the path")
        if threads < 1:
            raise ValueError(f"threads is {threads}: pass a whole number, 1 or more")
        runtime = onnx_runtime()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4  # silent: what fails is said in our own errors
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:  # ONNX Runtime's errors have no common class of their own
            raise ValueError(
                f"ONNX Runtime {runtime.__version__} cannot read {path}: {error}. The file may be "
                "damaged, or be made for a newer version"
            ) from error
        self.metadata: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)
        self.inputs: list[Any] = self._session.get_inputs()
        self.outputs: list[Any] = self._session.get_outputs()

    def run(self, values: NDArray[Any]) -> list[NDArray[Any]]:
        """The outputs, in the order of the file, for an input as the file takes it."""
        names = [output.name for output in self.outputs]
        return self._session.run(names, {self.inputs[0].name: values})


class OnnxModel(OnnxSession):
    """A network of one input and one output, both float32.

    Attributes:
        input_shape: axes of the input; None where any length goes.
        output_shape: axes of the output; None where the length depends on the input.

    Raises:
        FileNotFoundError, ValueError: as of `OnnxSession`, or the file has other ends.
    """

    def __init__(self, path: str | os.PathLike[str], threads: int = 1):
        super().__init__(path, threads)
        types = [end.type for end in (*self.inputs, *self.outputs)]
        if len(self.inputs) != 1 or types != ["tensor(float)"] * 2:
            raise ValueError(
                f"{self.path} must have one float32 input and one float32 output, but has the "
                f"inputs {[(end.name, end.type) for end in self.inputs]} and the outputs "
                f"{[(end.name, end.type) for end in self.outputs]}"
            )
        self.input_shape = _lengths(self.inputs[0].shape)
        self.output_shape = _lengths(self.outputs[0].shape)

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
        return self.run(np.ascontiguousarray(values, dtype=np.float32))[0]


def _lengths(shape: list[int | str | None]) -> tuple[int | None, ...]:
    return tuple(length if isinstance(length, int) else None for length in shape)
