"""ONNX files: same call as the network, and errors that name the file and the reason."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lithepose.onnx import OnnxModel

# The model of `doubling`, serialised: the package reads ONNX files without the library that makes
# them. One node Add(values, values), input (batch, 2), metadata name=double.
DOUBLING = bytes.fromhex(
    "08083a690a1e0a0676616c7565730a0676616c7565731207646f75626c656422034164641208646f75626c69"
    "6e675a1d0a0676616c75657312130a110801120d0a07120562617463680a020802621e0a07646f75626c6564"
    "12130a110801120d0a07120562617463680a02080242040a001014720e0a046e616d651206646f75626c65"
)


@pytest.fixture
def doubling(tmp_path: Path) -> Path:
    """A model that doubles its input of shape (any, 2)."""
    path = tmp_path / "doubling.onnx"
    path.write_bytes(DOUBLING)
    return path


def test_runs_a_file_like_a_function(doubling: Path) -> None:
    model = OnnxModel(doubling, threads=1)
    assert model.input_shape == (None, 2)
    assert model.output_shape == (None, 2)
    assert model.metadata == {"name": "double"}
    values = np.array([[1.0, 2.0], [3.0, -4.0], [0.5, 0.0]])
    doubled = model(values)  # float64 is converted
    assert doubled.dtype == np.float32
    np.testing.assert_array_equal(doubled, 2 * values)
    np.testing.assert_array_equal(model(values[::2]), 2 * values[::2])  # not contiguous


def test_an_array_of_another_shape_is_refused(doubling: Path) -> None:
    model = OnnxModel(doubling)
    with pytest.raises(ValueError, match=r"takes an array of shape \(any, 2\), not \(1, 3\)"):
        model(np.zeros((1, 3), np.float32))
    with pytest.raises(ValueError, match=r"not \(2,\)"):
        model(np.zeros(2, np.float32))


def test_missing_and_damaged_files_are_told_apart(doubling: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no ONNX model at"):
        OnnxModel(tmp_path / "none.onnx")
    doubling.write_bytes(DOUBLING[: len(DOUBLING) // 2])
    with pytest.raises(ValueError, match=r"cannot read .*doubling\.onnx"):
        OnnxModel(doubling)
    doubling.write_bytes(b"")
    with pytest.raises(ValueError, match=r"cannot read .*doubling\.onnx"):
        OnnxModel(doubling)


def test_a_model_of_other_numbers_is_refused(doubling: Path) -> None:
    # Element type 1 (float32) of input and output becomes 11 (float64).
    doubling.write_bytes(DOUBLING.replace(b"\x11\x08\x01", b"\x11\x08\x0b"))
    with pytest.raises(ValueError, match="one float32 input and one float32 output"):
        OnnxModel(doubling)


def test_threads_must_be_positive(doubling: Path) -> None:
    with pytest.raises(ValueError, match="threads is 0: pass a whole number, 1 or more"):
        OnnxModel(doubling, threads=0)


def test_running_a_file_does_not_need_pytorch(doubling: Path) -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "import numpy as np\n"
        "from lithepose.onnx import OnnxModel\n"
        f"print(OnnxModel({str(doubling)!r})(np.ones((1, 2)))[0, 0])\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "2.0", done.stderr


def test_the_library_is_loaded_with_its_telemetry_off_whatever_was_set(doubling: Path) -> None:
    program = (
        "import os\n"
        "from lithepose.onnx import OnnxModel, onnx_runtime\n"
        f"OnnxModel({str(doubling)!r})\n"
        "print(os.environ['ORT_DISABLE_TELEMETRY'], onnx_runtime().__name__)\n"
    )
    environment = os.environ | {"ORT_DISABLE_TELEMETRY": "0"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split() == ["1", "onnxruntime"], done.stderr
