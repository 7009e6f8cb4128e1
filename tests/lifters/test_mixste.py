"""MixSTE: numbers recorded from the authors' code and from ours, its steps, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import convert_state_dict, create_lifter, mixste  # noqa: E402
from lithepose.lifters.weights import authors_name  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {"frames": 9, "layers": 2, "channels": 16, "heads": 4, "hidden": 24}
ARGUMENTS = {"frames": 9, "depth": 2, "channel": 16, "num_heads": 4, "d_hid": 24}


def small(**settings: Any) -> Any:
    torch.manual_seed(0)
    return create_lifter("mixste", **{**SMALL, **settings}).eval()


def clips(batch: int = 2, frames: int = 9, channels: int = 2) -> Any:
    return torch.randn(batch, frames, 17, channels, generator=torch.Generator().manual_seed(1))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["t27-d32-l3", "t27-d32-l3-smallact"])
def test_agrees_with_the_authors_network(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/mixste-{name}.npz")))


@pytest.mark.slow
@pytest.mark.shared
def test_agrees_with_the_authors_network_of_full_size(
    parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared("golden/full-mixste-t243.npz")))


def test_gives_the_recorded_output(set_weights: Callable[[Any], None]) -> None:
    # Recorded from this network when it agreed with all of the authors' recordings.
    recorded = np.load(RECORDED / "mixste.npz")
    model = small()
    set_weights(model)
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded["input"])).numpy()
    np.testing.assert_allclose(output, recorded["output"], atol=1e-5)


@pytest.mark.parametrize(
    ("frames", "parameters"), [(27, 33_673_219), (81, 33_700_867), (243, 33_783_811)]
)
def test_has_as_many_parameters_as_the_authors_network(frames: int, parameters: int) -> None:
    with torch.device("meta"):
        model = create_lifter(f"mixste-{frames}")
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_every_parameter_gets_a_gradient() -> None:
    model = small()
    model(clips()).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_clip_gives_the_same_alone_and_in_a_batch() -> None:
    model, batch = small(), clips(4)
    with torch.inference_mode():
        torch.testing.assert_close(model(batch[2:3]), model(batch)[2:3], atol=1e-5, rtol=0)


def test_under_bfloat16_autocast_poses_are_float32_and_near() -> None:
    model, batch = small(), clips(4)
    expected = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        poses = model(batch)
    assert poses.dtype == torch.float32
    assert (poses - expected).abs().max() < 0.05 * expected.abs().max()
    poses.square().sum().backward()


def test_drop_path_acts_in_training_only_and_rises_from_the_first_block() -> None:
    model, batch = small(layers=3, drop_path=(0.0, 0.4)), clips(4)
    rates = [block.over_joints.drop_path.p for block in model.blocks]
    assert rates == pytest.approx([0.0, 0.2, 0.4])
    assert [block.over_frames.drop_path.p for block in model.blocks] == rates
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))


def test_the_first_half_of_a_block_stays_within_frames_and_the_second_within_joints() -> None:
    model = small(layers=1)
    base, changed = clips(1), clips(1)
    changed[0, 3, 5] += 1.0
    with torch.inference_mode():
        one, two = model(base), model(changed)
    moved = ((one - two).abs() > 1e-6).any(-1)[0]
    # Joint 5 of frame 3 reaches all joints of frame 3, and each of these all of its frames.
    assert bool(moved.all())
    block = model.blocks[0].over_joints
    with torch.inference_mode():
        tokens = [block(model.embed(x).flatten(0, 1)) for x in (base, changed)]
    rows = (tokens[0] != tokens[1]).flatten(1).any(1)
    assert rows.nonzero().flatten().tolist() == [3]


def test_forward_is_its_steps_and_later_blocks_take_any_number_of_frames() -> None:
    model = small()
    with torch.inference_mode():
        tokens = model.run_block(0, model.embed(clips()))
        assert tokens.shape == (2, 9, 17, model.token_dim)
        poses = model.head(model.finish(model.run_block(1, tokens)))
        assert torch.equal(poses, model(clips()))
        assert model.run_block(1, tokens[:, ::4]).shape == (2, 3, 17, 16)
        with pytest.raises(ValueError, match="got 3 frames: leave frames out from block 1 on"):
            model.run_block(0, tokens[:, ::4])


def test_clips_of_another_shape_are_refused() -> None:
    for wrong in (clips(frames=8), clips(channels=3), clips()[0], clips()[:, :, :16], clips(0)):
        with pytest.raises(ValueError, match="clips"):
            small()(wrong)
    assert small(in_channels=3)(clips(channels=3)).shape == (2, 9, 17, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "frames must be at least 1"),
        ({"channels": 20, "heads": 8}, r"channels must be a multiple of heads \(8\): 20"),
        ({"drop_path": (0.1,)}, "first block, last block"),
        ({"drop_path": (0.0, 1.0)}, "drop_path must be from 0 to below 1"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mixste.MixSTEConfig(**settings)


def authors_state(model: Any) -> dict[str, Any]:
    """A checkpoint with the authors' names, from one of ours."""
    return {authors_name(k, mixste.NAMES): v for k, v in model.state_dict().items()}


def test_authors_tensors_come_back_as_ours_with_or_without_the_wrappers_prefix() -> None:
    model = small()
    for prefix in ("", "module."):
        given = {prefix + name: tensor for name, tensor in authors_state(model).items()}
        config, converted = convert_state_dict("mixste", given, **ARGUMENTS)
        assert mixste.MixSTEConfig(**config) == model.config
        assert converted.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(converted[name], tensor), name


def test_missing_and_surplus_tensors_and_other_joints_are_named() -> None:
    state = authors_state(small())
    del state["TTEblocks.1.mlp.fc2.bias"]
    state["x_token"] = torch.zeros(1)
    with pytest.raises(ValueError, match="does not fit MixSTE") as caught:
        convert_state_dict("mixste", state, **ARGUMENTS)
    assert "missing: TTEblocks.1.mlp.fc2.bias" in str(caught.value)
    assert "not part of the model: x_token" in str(caught.value)
    with pytest.raises(ValueError, match="n_joints=17, as published, not for n_joints=15"):
        convert_state_dict("mixste", state, **ARGUMENTS, n_joints=15)
