"""The table of lifters, and what every lifter in it has to keep."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.lifters import FAMILIES, LIFTERS, convert_state_dict, create_lifter
from lithepose.lifters.windows import mirror_sides

torch = pytest.importorskip("torch")


def clips(name: str, batch: int) -> Any:
    row = LIFTERS[name]
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, row.frames_in, 17, row.in_channels, generator=generator) * 0.3


def seeded(name: str, **overrides: Any) -> Any:
    torch.manual_seed(3)
    return create_lifter(name, **overrides).eval()


# What makes a size small, frames apart: those shape a network.
SMALL: dict[str, dict[str, Any]] = {
    "ampose": {"channels": 16, "pairs": 1, "heads": 4},
    "convformer": {"channels": 8, "spatial_blocks": 1, "temporal_blocks": 1, "heads": 2},
    "htnet": {"layers": 1, "channels": 48, "hidden": 32},
    "mhformer": {"channels": 16, "hidden": 24, "layers": 2},
    "mixste": {"layers": 2, "channels": 16, "heads": 4, "hidden": 24},
    "motionagformer": {"layers": 2, "channels": 16, "heads": 4, "representation": 24},
    "motionbert": {
        "layers": 2,
        "channels": 16,
        "heads": 4,
        "hidden": 24,
        "representation": 24,
    },
    "nanohtnet": {"layers": 1, "channels": 48, "hidden": 32},
}


def small_settings(name: str) -> dict[str, Any]:
    """What makes a row of the table small."""
    row = LIFTERS[name]
    if row.family != "hot":
        return SMALL.get(row.family, {})
    host_settings = row.settings["host_settings"] | SMALL[row.settings["host"]]
    ((_, kept),) = row.settings["prune"]
    return {"host_settings": host_settings, "prune": ((1, kept),), "heads": 4}


# Rows that differ in their sizes alone are the same network when small: one of them is enough.
DISTINCT = list(
    {
        (row.family, repr(sorted({**row.settings, **small_settings(name)}.items()))): name
        for name, row in reversed(LIFTERS.items())
    }.values()
)[::-1]


@pytest.fixture(scope="module")
def small(set_weights: Callable[[Any], None]) -> Callable[[str], Any]:
    """Builds a size of the table with its frames and its kind, otherwise small; with weights as
    after training, for zeros and tiny ones at the start hide what depends on them. Each is built
    once for all tests, which leave its weights alone."""

    @cache
    def build(name: str) -> Any:
        with torch.inference_mode(mode=False):  # whatever the test that builds it is in
            model = seeded(name, **small_settings(name))
            set_weights(model)
        return model

    def fresh(name: str) -> Any:
        build(name).zero_grad()
        return build(name)

    return fresh


@pytest.mark.parametrize("name", LIFTERS)
def test_output_has_the_shape_in_the_table(name: str, small: Callable[[str], Any]) -> None:
    row = LIFTERS[name]
    with torch.inference_mode():
        poses = small(name)(clips(name, 2))
    assert poses.shape == (2, row.frames_out, 17, 3)
    assert poses.dtype == torch.float32
    assert bool(poses.isfinite().all())


@pytest.mark.parametrize("name", DISTINCT)
def test_every_parameter_gets_a_gradient(name: str, small: Callable[[str], Any]) -> None:
    model = small(name)
    # One long clip is enough, one short clip may leave a unit at zero.
    batch = 1 if LIFTERS[name].frames_in > 27 else 3
    model(clips(name, batch)).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    ]
    assert without == []


@pytest.mark.parametrize("name", DISTINCT)
def test_a_clip_gives_the_same_alone_and_in_a_batch(name: str, small: Callable[[str], Any]) -> None:
    model, batch = small(name), clips(name, 2)
    with torch.inference_mode():
        together = model(batch)
        allowed = 2e-5 * together.abs().max().item()
        torch.testing.assert_close(model(batch[1:2]), together[1:2], atol=allowed, rtol=0)


@pytest.mark.parametrize("name", DISTINCT)
def test_saved_and_loaded_it_gives_the_same(
    name: str, small: Callable[[str], Any], tmp_path: Path
) -> None:
    from lithepose.lifters.weights import load_lifter, save_weights

    model, batch = small(name), clips(name, 1)
    save_weights(tmp_path / "x.safetensors", model)
    loaded = load_lifter(tmp_path / "x.safetensors")
    assert loaded.config == model.config
    with torch.inference_mode():
        torch.testing.assert_close(loaded(batch), model(batch), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", DISTINCT)
def test_the_flip_average_of_a_mirrored_clip_is_the_mirrored_flip_average(
    name: str, small: Callable[[str], Any]
) -> None:
    model, batch = small(name), clips(name, 1).numpy()

    def lift(values: Any) -> Any:
        with torch.inference_mode():
            return model(torch.from_numpy(values)).numpy()

    def flip_average(values: Any) -> tuple[Any, Any, Any]:
        straight, mirrored = np.split(lift(np.concatenate([values, mirror_sides(values)])), 2)
        return (straight + mirror_sides(mirrored)) / 2, straight, mirrored

    average, straight, mirrored = flip_average(batch)
    assert np.abs(average).max() > 1e-3
    again, _, _ = flip_average(mirror_sides(batch))
    np.testing.assert_allclose(again, mirror_sides(average), atol=1e-5)
    # It is not symmetric by itself, else the test would say nothing.
    assert np.abs(mirrored - mirror_sides(straight)).max() > 1e-4


@pytest.mark.parametrize("name", DISTINCT)
def test_a_training_step_under_bfloat16_autocast_stays_near_float32(
    name: str, small: Callable[[str], Any]
) -> None:
    model, batch = small(name), clips(name, 1)
    with torch.no_grad():
        expected = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        poses = model(batch)
    assert poses.dtype == expected.dtype == torch.float32
    assert (poses - expected).abs().mean() < 0.05 * expected.abs().max()
    poses.square().sum().backward()
    assert all(bool(p.grad.isfinite().all()) for p in model.parameters() if p.grad is not None)


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


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_clips_that_cannot_be_read_are_refused(family: str, small: Callable[[str], Any]) -> None:
    import torch

    name = next(name for name, row in LIFTERS.items() if row.family == family)
    lifter, good = small(name), clips(name, 2)
    wrong = {
        "nan": torch.full_like(good, float("nan")),
        "no clips": good[:0],
        "a joint less": good[:, :, 1:],
        "a number more": torch.cat([good, good[..., :1]], -1),
        "no batch": good[0],
    }
    for what, bad in wrong.items():
        with pytest.raises(ValueError, match="clips"):
            pytest.fail(f"{what}: {tuple(lifter(bad).shape)}")
