"""MotionBERT: numbers recorded from the authors' code and from ours, its steps, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import blocks, convert_state_dict, create_lifter, motionbert  # noqa: E402
from lithepose.lifters.weights import authors_name  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {
    "frames": 9, "layers": 2, "channels": 16, "heads": 4, "hidden": 24, "representation": 20
}  # fmt: skip
ARGUMENTS = {
    "maxlen": 9, "depth": 2, "dim_feat": 16, "num_heads": 4, "mlp_ratio": 1.5, "dim_rep": 20
}  # fmt: skip


def small(**settings: Any) -> Any:
    torch.manual_seed(0)
    return create_lifter("motionbert", **{**SMALL, **settings}).eval()


def clips(batch: int = 2, frames: int = 9, channels: int = 3) -> Any:
    return torch.randn(batch, frames, 17, channels, generator=torch.Generator().manual_seed(1))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["t27-d32-l3", "t27-d32-l3-smallact", "t20of27-d32-l2"])
def test_agrees_with_the_authors_network(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/motionbert-{name}.npz")))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["motionbert", "motionbert_lite"])
def test_agrees_with_the_authors_network_of_full_size(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/full-{name}-t243.npz")))


def test_gives_the_recorded_output(set_weights: Callable[[Any], None]) -> None:
    # Recorded from this network when it agreed with all of the authors' recordings.
    recorded = np.load(RECORDED / "motionbert.npz")
    model = small()
    set_weights(model)
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded["input"])).numpy()
    np.testing.assert_allclose(output, recorded["output"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"), [("motionbert", 42_466_317), ("motionbert-lite", 16_001_549)]
)
def test_has_as_many_parameters_as_the_authors_network(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_lifter(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_every_parameter_gets_a_gradient() -> None:
    model = small()
    model(clips()).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_clip_gives_the_same_alone_and_in_a_batch() -> None:
    model, batch = small(), clips(4)
    with torch.inference_mode():
        torch.testing.assert_close(model(batch[2:3]), model(batch)[2:3], atol=1e-6, rtol=0)


def test_under_bfloat16_autocast_poses_are_float32_and_near(
    set_weights: Callable[[Any], None],
) -> None:
    model, batch = small(), clips(4)
    set_weights(model)
    expected = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        poses = model(batch)
    assert poses.dtype == torch.float32
    assert (poses - expected).abs().max() < 0.05 * expected.abs().max()
    poses.square().sum().backward()


def test_starts_with_both_streams_alike_and_small_weights() -> None:
    model = small(channels=64)
    layer = model.blocks[0]
    one, other = torch.randn(2, 3, 5, 17, 64)
    torch.testing.assert_close(layer.fusion(one, other), (one + other) / 2)
    assert layer.joints_first.attention.qkv.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert not layer.joints_first.attention.qkv.bias.any()
    assert bool((layer.joints_first.mlp_norm.weight == 1).all())
    assert model.frame_position.std().item() == pytest.approx(0.02, rel=0.1)


def test_fusion_weighs_the_streams_by_hand() -> None:
    fusion = blocks.AdaptiveFusion(1)
    with torch.no_grad():
        fusion.weigh.weight.copy_(torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
        fusion.weigh.bias.zero_()
    # Streams 0 and ln 3: softmax gives 1/4 and 3/4, so 1/4·0 + 3/4·ln 3.
    three = torch.log(torch.tensor([[3.0]]))
    torch.testing.assert_close(fusion(torch.zeros(1, 1), three), 0.75 * three)


def test_both_streams_reach_all_joints_and_frames_by_different_ways() -> None:
    model = small(layers=1)
    layer, tokens = model.blocks[0], torch.randn(1, 9, 17, 16)
    changed = tokens.clone()
    changed[0, 3, 5] = torch.randn(16)
    for mix, block, rows in (
        (blocks.mix_joints, layer.joints_first, {(3, j) for j in range(17)}),
        (blocks.mix_frames, layer.frames_first, {(t, 5) for t in range(9)}),
    ):
        with torch.inference_mode():
            moved = (mix(block, tokens) != mix(block, changed)).any(-1)[0]
        assert {tuple(place) for place in moved.nonzero().tolist()} == rows
    with torch.inference_mode():
        assert bool((layer(tokens) != layer(changed)).any(-1).all())


def test_forward_is_its_steps_and_blocks_take_any_number_of_frames() -> None:
    model = small()
    with torch.inference_mode():
        tokens = model.embed(clips())
        assert tokens.shape == (2, 9, 17, model.token_dim)
        assert model.run_block(0, tokens[:, ::4]).shape == (2, 3, 17, 16)
        for index in range(2):
            tokens = model.run_block(index, tokens)
        assert torch.equal(model.head(model.finish(tokens)), model(clips()))


def test_shorter_clips_take_the_first_positions_and_others_are_refused() -> None:
    model = small()
    with torch.inference_mode():
        torch.testing.assert_close(model.embed(clips())[:, :4], model.embed(clips()[:, :4]))
        assert model(clips(frames=1)).shape == (2, 1, 17, 3)
    for wrong in (
        clips(frames=10), clips(frames=0), clips(channels=2), clips()[0], clips()[:, :, :16],
        clips(0),
    ):  # fmt: skip
        with pytest.raises(ValueError, match="clips"):
            model(wrong)
    assert small(in_channels=2)(clips(channels=2)).shape == (2, 9, 17, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 0}, "frames must be at least 1"),
        ({"representation": -1}, "representation must be at least 1: -1"),
        ({"channels": 20, "heads": 8}, r"channels must be a multiple of heads \(8\): 20"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        motionbert.MotionBERTConfig(**settings)


def authors_state(model: Any) -> dict[str, Any]:
    """A checkpoint with the authors' names, from one of ours."""
    return {authors_name(k, motionbert.NAMES): v for k, v in model.state_dict().items()}


def mmpose_name(name: str) -> str:
    """The name that MMPose's copy gives a tensor."""
    if name.startswith("pre_logits."):
        return f"head.{name}"
    if name.startswith("head."):
        return name.replace("head.", "head.fc.")
    for ours, theirs in (
        ("pos_embed", "spat_embed"), ("ts_attn", "attn_regress"),
        ("mlp_s.fc1", "mlp_s.0"), ("mlp_s.fc2", "mlp_s.2"),
        ("mlp_t.fc1", "mlp_t.0"), ("mlp_t.fc2", "mlp_t.2"),
    ):  # fmt: skip
        name = name.replace(ours, theirs)
    return f"backbone.{name}"


def test_authors_tensors_come_back_as_ours_also_from_the_wrapper_and_from_mmpose() -> None:
    model = small()
    state = authors_state(model)
    assert len(authors_state(create_lifter("motionbert", channels=16, hidden=16))) == 260
    for rename in (lambda n: n, lambda n: f"module.{n}", mmpose_name):
        given = {rename(name): tensor for name, tensor in state.items()}
        config, converted = convert_state_dict("motionbert", given, **ARGUMENTS)
        assert motionbert.MotionBERTConfig(**config) == model.config
        assert converted.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(converted[name], tensor), name


def test_missing_and_surplus_tensors_and_unpublished_options_are_named() -> None:
    state = authors_state(small())
    del state["blocks_ts.1.mlp_t.fc2.bias"]
    state["x_token"] = torch.zeros(1)
    with pytest.raises(ValueError, match="does not fit MotionBERT") as caught:
        convert_state_dict("motionbert", state, **ARGUMENTS)
    assert "missing: blocks_ts.1.mlp_t.fc2.bias" in str(caught.value)
    assert "not part of the model: x_token" in str(caught.value)
    for option in ({"num_joints": 15}, {"att_fuse": False}, {"norm_eps": 1e-5}, {"dim_out": 2}):
        with pytest.raises(ValueError, match="as published"):
            convert_state_dict("motionbert", state, **ARGUMENTS, **option)
