"""Weights files of pose networks: same output after a round trip, errors that name the reason."""

from __future__ import annotations

from dataclasses import asdict, make_dataclass, replace
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lithepose.detect.sizes import HEViTPoseConfig, create_pose_network  # noqa: E402
from lithepose.detect.weights import (  # noqa: E402
    is_weights_file,
    load_pose_network,
    save_pose_network,
)
from lithepose.weights_file import load_weights, write_weights  # noqa: E402

SMALL = {"image_size": (64, 64), "widths": (16, 16, 16), "depths": (1, 1, 1), "groups": (1, 1, 1),
         "heads": (1, 1, 1), "head_filters": (8, 8)}  # fmt: skip


def test_a_saved_network_comes_back_with_the_same_output(tmp_path: Path) -> None:
    model, path = create_pose_network("hevitpose", **SMALL).eval(), tmp_path / "a.safetensors"
    save_pose_network(path, model, {"data": "none"})
    assert is_weights_file(path)
    again, images = load_pose_network(path), torch.randn(1, 3, 64, 64)
    assert again.config == model.config
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again(images), model(images))
    assert load_weights(path).metadata == {"data": "none"}


def test_weights_from_before_some_settings_became_constants_are_read(tmp_path: Path) -> None:
    model, path = create_pose_network("hevitpose", **SMALL), tmp_path / "a.safetensors"
    config = model.config
    constants = {"qk_divisor": 2, "ffn_expansion": 2, "subsample_expansion": 4, "norm_eps": 1e-5}
    fields = [(name, type(value)) for name, value in constants.items()]
    before: Any = make_dataclass(
        "Before", fields, bases=(HEViTPoseConfig,), frozen=True, kw_only=True
    )
    model.config = before(**asdict(config), **constants)
    write_weights(path, "hevitpose", model)
    assert load_pose_network(path).config == config
    model.config = replace(model.config, ffn_expansion=3)
    write_weights(path, "hevitpose", model)
    with pytest.raises(ValueError, match="as this version has it"):
        load_pose_network(path)


def test_what_is_no_pose_network_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    with pytest.raises(TypeError, match=r"known: lithepose\.detect\.hevitpose:HEViTPose"):
        save_pose_network(path, torch.nn.Linear(2, 2))
    assert not path.exists()
    model = create_pose_network("hevitpose", **SMALL)
    write_weights(path, "htnet", model)
    with pytest.raises(ValueError, match="'htnet', which is no pose network; known: hevitpose"):
        load_pose_network(path)
    model.config = replace(model.config, joints=17)
    write_weights(path, "hevitpose", model)
    with pytest.raises(ValueError, match="does not fit hevitpose as this version has it"):
        load_pose_network(path)
    assert not is_weights_file(tmp_path)
