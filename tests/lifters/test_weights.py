"""Weights files: same output after a round trip, and errors that name the file and the reason."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import save_file  # noqa: E402

from lithepose import lifters  # noqa: E402
from lithepose.lifters import create_lifter, weights  # noqa: E402


def small(**overrides: Any) -> Any:
    torch.manual_seed(5)
    settings = {"frames": 9, "kept_frames": 3, "layers": 1, "channels": 48, "hidden": 32}
    return create_lifter("nanohtnet", **{**settings, **overrides}).eval()


def test_a_saved_lifter_comes_back_with_the_same_output(tmp_path: Path) -> None:
    model, clip = small(in_channels=4), torch.randn(2, 9, 17, 4)
    weights.save_weights(tmp_path / "a.safetensors", model, {"epochs": 3, "data": ["x", None]})
    again: Any = weights.load_lifter(tmp_path / "a.safetensors")
    assert again.config == model.config
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again(clip), model(clip))
    held = weights.load_weights(tmp_path / "a.safetensors")
    assert held.network == "nanohtnet"
    assert held.metadata == {"epochs": 3, "data": ["x", None]}


def test_half_precision_takes_half_the_space_and_comes_back_as_float32(tmp_path: Path) -> None:
    model = small()
    with torch.no_grad():
        model.spatial_position[0, 0, 0] = 1e6  # beyond half precision: this tensor stays whole
    weights.save_weights(tmp_path / "whole.safetensors", model)
    weights.save_weights(tmp_path / "half.safetensors", model, half=True)
    whole, half = ((tmp_path / f"{n}.safetensors").stat().st_size for n in ("whole", "half"))
    assert half < 0.6 * whole
    state = weights.load_weights(tmp_path / "half.safetensors").state
    for name, tensor in model.state_dict().items():
        assert state[name].dtype == torch.float32
        torch.testing.assert_close(state[name], tensor, rtol=1e-3, atol=1e-6)
    assert state["spatial_position"][0, 0, 0] == 1e6


def test_loading_into_a_model_ignores_settings_without_weights(tmp_path: Path) -> None:
    model = small()
    weights.save_weights(tmp_path / "a.safetensors", model, {"seed": 5})
    other = small(drop_path=(0.0, 0.0), spatial_dropout=0.0)
    with torch.no_grad():
        other.spatial_embed.weight.zero_()
    assert weights.load_into(other, tmp_path / "a.safetensors") == {"seed": 5}
    assert torch.equal(other.spatial_embed.weight, model.spatial_embed.weight)


def test_weights_of_another_size_or_network_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights.save_weights(path, small())
    with pytest.raises(ValueError, match=r"frames: 9 in the file, 27 in the model"):
        weights.load_into(small(frames=27), path)
    with pytest.raises(ValueError, match="for the network 'nanohtnet', not for 'htnet'"):
        weights.load_into(create_lifter("htnet", layers=1, channels=48, hidden=32), path)


def test_missing_damaged_and_foreign_files_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        weights.load_weights(tmp_path / "none.safetensors")

    damaged = tmp_path / "damaged.safetensors"
    weights.save_weights(damaged, small())
    damaged.write_bytes(damaged.read_bytes()[:-100])
    with pytest.raises(ValueError, match="damaged or no safetensors file"):
        weights.load_weights(damaged)

    foreign = tmp_path / "foreign.safetensors"
    save_file({"x": torch.zeros(2)}, foreign)
    with pytest.raises(ValueError, match="does not say which network"):
        weights.load_weights(foreign)


def test_only_lifters_of_the_package_can_be_saved(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no lifter of this package"):
        weights.save_weights(tmp_path / "a.safetensors", torch.nn.Linear(2, 2))


def test_a_failed_save_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    weights.save_weights(path, small())
    before = path.read_bytes()
    with pytest.raises(TypeError, match="JSON"):
        weights.save_weights(path, small(), {"when": object()})
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_the_shipped_lifter_loads_by_its_name_and_any_other_by_its_file(tmp_path: Path):
    shipped = lifters.load_lifter("lithepose-81-9")
    assert not shipped.training
    weights.save_weights(tmp_path / "a.safetensors", shipped)
    again: Any = lifters.load_lifter(tmp_path / "a.safetensors")
    for name, tensor in shipped.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[name])
    with pytest.raises(FileNotFoundError, match="no weights file"):
        lifters.load_lifter("lithepose-81-8")
