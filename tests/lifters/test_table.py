"""The table of lifters, and what every lifter in it has to keep."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest

from lithepose.lifters import FAMILIES, LIFTERS, convert_state_dict, create_lifter

torch = pytest.importorskip("torch")


def clips(name: str, batch: int) -> Any:
    row = LIFTERS[name]
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, row.frames_in, 17, row.in_channels, generator=generator) * 0.3


def seeded(name: str, **overrides: Any) -> Any:
    torch.manual_seed(3)
    return create_lifter(name, **overrides).eval()


@pytest.mark.parametrize("name", LIFTERS)
def test_output_has_the_shape_in_the_table(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from torch._subclasses.fake_tensor import FakeTensorMode

    # It looks at the numbers it has drawn, and here there are none.
    monkeypatch.setattr(torch.nn.init, "trunc_normal_", lambda tensor, **_: tensor)

    row = LIFTERS[name]
    with FakeTensorMode():  # shapes without numbers: some networks are large
        clip = torch.zeros(2, row.frames_in, 17, row.in_channels)
        poses = create_lifter(name).eval()(clip)
    assert poses.shape == (2, row.frames_out, 17, 3)
    assert poses.dtype == torch.float32


@pytest.mark.parametrize("name", ["htnet", "nanohtnet-27-9"])
def test_every_parameter_gets_a_gradient(name: str) -> None:
    model = seeded(name)
    model(clips(name, 3)).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    ]
    assert without == []


@pytest.mark.parametrize("name", ["htnet", "nanohtnet-27-9"])
def test_a_clip_gives_the_same_alone_and_in_a_batch(name: str) -> None:
    model, batch = seeded(name), clips(name, 5)
    with torch.inference_mode():
        torch.testing.assert_close(model(batch[3:4]), model(batch)[3:4], atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", ["htnet", "nanohtnet-27-9"])
def test_a_training_step_under_bfloat16_autocast_stays_near_float32(name: str) -> None:
    model, batch = seeded(name), clips(name, 4)
    expected = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        poses = model(batch)
    assert poses.dtype == torch.float32
    assert (poses - expected).abs().max() < 0.05 * expected.abs().max()
    poses.square().sum().backward()


@pytest.mark.parametrize("name", ["htnet", "nanohtnet-27-9"])
def test_regularisation_acts_in_training_only_and_can_be_turned_off(name: str) -> None:
    batch = clips(name, 4)
    model = seeded(name)
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))
    off = {"drop_path": (0.0, 0.0), "attention_dropout": 0.0}
    if name == "htnet":
        off |= {"dropout": 0.0}
    else:
        off |= {"spatial_dropout": 0.0, "temporal_dropout": 0.0}
    plain = seeded(name, **off).train()
    assert torch.equal(plain(batch), plain(batch))


def test_overrides_replace_settings_of_the_row() -> None:
    config: Any = create_lifter("nanohtnet-27-9", layers=1, in_channels=4).config
    assert (config.frames, config.kept_frames, config.layers, config.in_channels) == (27, 9, 1, 4)
    config = create_lifter("nanohtnet", frames=9, kept_frames=3, layers=1).config
    assert (config.frames, config.kept_frames, config.channels) == (9, 3, 240)


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match=r"known: .*nanohtnet-243-9"):
        create_lifter("nanohtnet-7-9")
    with pytest.raises(ValueError, match="known: ampose, "):
        convert_state_dict("nanohtnet-27-9", {})


def test_a_misspelt_override_fails() -> None:
    with pytest.raises(TypeError, match="chanels"):
        create_lifter("nanohtnet-27-9", chanels=48)


def test_rows_name_families_of_the_table() -> None:
    assert {row.family for row in LIFTERS.values()} <= FAMILIES.keys()


def test_without_pytorch_the_table_loads_and_building_names_the_extra() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from lithepose.lifters import LIFTERS, create_lifter\n"
        "assert 'nanohtnet-243-9' in LIFTERS\n"
        "try: create_lifter('nanohtnet-243-9')\n"
        "except ImportError as error: print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert 'pip install "lithepose[train]"' in done.stdout, done.stderr
