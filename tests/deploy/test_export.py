"""ONNX files agree with PyTorch, at any batch size, and are there only if they do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")

from lithepose.deploy import export  # noqa: E402
from lithepose.lifters import create_lifter  # noqa: E402
from lithepose.onnx import OnnxModel  # noqa: E402

torch.set_num_threads(1)
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")


@pytest.fixture(scope="module")
def model() -> Any:
    torch.manual_seed(1)
    settings = {"frames": 9, "kept_frames": 3, "layers": 1, "channels": 48, "hidden": 32}
    return create_lifter("nanohtnet", in_channels=4, **settings).train()


@pytest.fixture(scope="module")
def exported(model: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("onnx") / "small.onnx"
    metadata = {"name": "small", "trained": {"steps": 3}}
    difference = export.export_onnx(model, path, torch.randn(2, 9, 17, 4), metadata)
    assert difference < 1e-5
    return path


def test_the_file_agrees_with_pytorch_at_other_batch_sizes(model: Any, exported: Path) -> None:
    rounded = export.halve_weights(model).eval()
    run = OnnxModel(exported)
    assert run.input_shape == (None, 9, 17, 4)
    assert run.output_shape == (None, 3, 17, 3)
    for batch in (1, 3, 64):
        clips = torch.randn(batch, 9, 17, 4)
        with torch.inference_mode():
            expected = rounded(clips).numpy()
        np.testing.assert_allclose(run(clips.numpy()), expected, atol=1e-5)


def test_rounding_the_weights_moves_the_output_by_little(model: Any) -> None:
    clips = torch.randn(4, 9, 17, 4)
    model.eval()
    with torch.inference_mode():
        whole, rounded = model(clips), export.halve_weights(model)(clips)
    model.train()
    assert 0 < (whole - rounded).abs().max() < 5e-3


def test_the_file_carries_its_config_and_metadata(model: Any, exported: Path) -> None:
    metadata = OnnxModel(exported).metadata
    config = json.loads(metadata.pop("config"))
    assert type(model.config)(**config) == model.config
    assert metadata == {"network": "nanohtnet", "name": "small", "trained": '{"steps": 3}'}


def test_large_weights_take_two_bytes_each_and_no_paths_are_left(
    model: Any, exported: Path
) -> None:
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert exported.stat().st_size < 2.0 * parameters + 100_000
    assert b".py" not in exported.read_bytes()


def test_the_network_itself_is_left_as_it_was(model: Any, exported: Path) -> None:
    assert model.training
    rounded: Any = export.halve_weights(model)
    assert not torch.equal(model.spatial_embed.weight, rounded.spatial_embed.weight)


def test_a_file_that_disagrees_is_not_left(model: Any, exported: Path, tmp_path: Path) -> None:
    other: Any = export.halve_weights(model).eval()
    with torch.no_grad():
        other.head.pose.bias += 0.01
    with pytest.raises(export.ExportError, match=r"differ by 1\.00e-02, allowed 0\.0001"):
        export.write_checked(
            onnx.load(exported), tmp_path / "a.onnx", other, torch.randn(1, 9, 17, 4)
        )
    assert list(tmp_path.iterdir()) == []


def test_a_file_for_one_batch_size_is_not_left(model: Any, exported: Path, tmp_path: Path) -> None:
    graph_file = onnx.load(exported)
    graph_file.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 1
    with pytest.raises(export.ExportError, match="took the batch size 1 for a constant"):
        export.write_checked(graph_file, tmp_path / "a.onnx", model, torch.randn(1, 9, 17, 4))
    assert list(tmp_path.iterdir()) == []


def test_metadata_may_not_replace_the_config(model: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="'config' is set by the export"):
        export.export_onnx(model, tmp_path / "a.onnx", torch.randn(1, 9, 17, 4), {"config": "x"})


def test_other_networks_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no lifter of this package"):
        export.export_onnx(torch.nn.Linear(2, 2), tmp_path / "a.onnx", torch.randn(1, 2))
