"""MotionAGFormer: numbers recorded from the authors' code and from ours, graphs by hand, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import convert_state_dict, create_lifter, motionagformer  # noqa: E402
from lithepose.lifters.weights import authors_name  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {"frames": 9, "layers": 2, "channels": 16, "heads": 4, "representation": 20}
ARGUMENTS = {"n_frames": 9, "n_layers": 2, "dim_feat": 16, "num_heads": 4, "dim_rep": 20}


def small(**settings: Any) -> Any:
    torch.manual_seed(0)
    return create_lifter("motionagformer", **{**SMALL, **settings}).eval()


def clips(batch: int = 2, frames: int = 9, channels: int = 3) -> Any:
    return torch.randn(batch, frames, 17, channels, generator=torch.Generator().manual_seed(1))


@pytest.mark.shared
@pytest.mark.parametrize("name", ["t27-d32-l3", "t27-d32-l3-smallact"])
def test_agrees_with_the_authors_network(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/motionagformer-{name}.npz")))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize("name", ["xs-t27", "s-t81", "b-t243", "l-t243"])
def test_agrees_with_the_authors_network_of_full_size(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/full-motionagformer_{name}.npz")))


def test_gives_the_recorded_output(set_weights: Callable[[Any], None]) -> None:
    # Recorded from this network when it agreed with all of the authors' recordings.
    recorded = np.load(RECORDED / "motionagformer.npz")
    model = small()
    set_weights(model)
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded["input"])).numpy()
    np.testing.assert_allclose(output, recorded["output"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "settings", "parameters"),
    [
        ("motionagformer-xs", {}, 2_241_531),
        ("motionagformer-s", {}, 4_817_119),
        ("motionagformer-b", {}, 11_723_811),
        ("motionagformer-l", {}, 19_007_111),
        ("motionagformer-b", {"layer_frames": (243,) * 7 + (81,) * 9}, 11_720_895),
    ],
)
def test_has_as_many_parameters_as_the_authors_network(
    name: str, settings: dict[str, Any], parameters: int
) -> None:
    # The last row by hand: the norms of nine layers have a weight and a bias for 162 frames less.
    with torch.device("meta"):
        model = create_lifter(name, **settings)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_every_parameter_gets_a_gradient() -> None:
    model = small()
    model(clips()).square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()] == []


def test_a_clip_gives_the_same_alone_and_in_a_batch(set_weights: Callable[[Any], None]) -> None:
    model, batch = small(), clips(4)
    set_weights(model)
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


def test_starts_with_both_branches_alike_and_layers_that_change_little() -> None:
    model = small(channels=64, heads=8)
    tokens = torch.randn(1, 9, 17, 64)
    with torch.inference_mode():
        torch.testing.assert_close(model.blocks[0](tokens), tokens, atol=1e-3, rtol=0)
    graph = model.blocks[0].frame_graph.mixer.convolution
    assert graph.own.weight.std().item() == pytest.approx(math.sqrt(2 / 64), rel=0.1)


def test_skeleton_lacks_the_edges_that_the_authors_code_lacks() -> None:
    receives = {
        0: [1, 7], 1: [0, 2], 2: [1, 3], 3: [2], 4: [0, 5], 5: [4, 6], 6: [5], 7: [0, 8], 8: [7, 9],
        9: [8, 10], 10: [9], 11: [8, 12], 12: [11, 13], 13: [12], 14: [8, 15], 15: [14, 16],
        16: [15],
    }  # fmt: skip
    edges = motionagformer.directed_skeleton()
    for joint, others in receives.items():
        assert edges[joint].nonzero().flatten().tolist() == others


def test_edges_are_divided_by_the_roots_of_both_degrees() -> None:
    # Node 0 receives from both, node 1 from node 0: degrees 2 and 1.
    edges = torch.tensor([[1.0, 1.0], [1.0, 0.0]])
    root = 1 / math.sqrt(2)
    expected = torch.tensor([[0.5, root], [root, 0.0]])
    torch.testing.assert_close(motionagformer.normalise_edges(edges), expected)


def test_similar_frames_have_the_largest_dot_products_and_ties_all_count() -> None:
    # Dot products of 1, 2, 2, -1 with 1: 1, 2, 2, -1; the two largest are equal. With -1 the
    # order turns round: -1, -2, -2, 1; the two largest are 1 and -1.
    x = torch.tensor([[[1.0], [2.0], [2.0], [-1.0]]])
    expected = torch.tensor([[0.0, 1, 1, 0], [0, 1, 1, 0], [0, 1, 1, 0], [1, 0, 0, 1]])
    assert torch.equal(motionagformer.similar_frames(x, 2)[0], expected)
    # All of three equal ones count, where two were asked for.
    x = torch.tensor([[[1.0], [1.0], [1.0], [0.5]]])
    assert motionagformer.similar_frames(x, 2)[0, 0].tolist() == [1, 1, 1, 0]


def test_similar_frames_are_those_of_exact_arithmetic_where_frames_are_nearly_alike() -> None:
    generator = torch.Generator().manual_seed(0)
    still = torch.randn(200, 1, 32, generator=generator)
    x = still + 1e-5 * torch.randn(200, 60, 32, generator=generator)
    exact = x.double() @ x.double().mT
    expected = exact >= exact.topk(2, dim=-1).values[..., -1:]
    assert torch.equal(motionagformer.similar_frames(x, 2), expected.float())
    rounded = x @ x.mT  # the plain product of the authors
    assert not torch.equal(rounded >= rounded.topk(2, dim=-1).values[..., -1:], expected)


def test_similar_frames_are_chosen_in_float32_under_autocast() -> None:
    x = torch.randn(3, 40, 16, generator=torch.Generator().manual_seed(0))
    with torch.autocast("cpu", torch.bfloat16):
        found = motionagformer.similar_frames(x, 2)
    assert torch.equal(found, motionagformer.similar_frames(x, 2))


def test_convolution_normalises_each_node_over_batch_and_features_by_hand() -> None:
    torch.manual_seed(0)
    layer = motionagformer.NodeConvolution(2, 3).train()
    x, edges = torch.randn(4, 3, 2), torch.rand(3, 3)
    mixed = torch.einsum("ij,bjc->bic", edges, layer.received(x)) + layer.own(x)
    mean = mixed.mean(dim=(0, 2), keepdim=True)
    deviation = (mixed.var(dim=(0, 2), keepdim=True, unbiased=False) + 1e-5).sqrt()
    expected = (x + (mixed - mean) / deviation).clamp(min=0)
    torch.testing.assert_close(layer(x, edges), expected)


def test_frames_have_no_position(set_weights: Callable[[Any], None]) -> None:
    # Turned round in time, a clip gives the same poses turned round: the norms per frame are the
    # same for all frames here, having the same weights.
    model = small()
    for layer in model.blocks:
        for scale in (layer.frame_attention.mixer_scale, layer.frame_graph.mixer_scale):
            torch.nn.init.constant_(scale, 0.5)
    with torch.inference_mode():
        torch.testing.assert_close(model(clips().flip(1)), model(clips()).flip(1))


def test_forward_is_its_steps() -> None:
    model = small()
    with torch.inference_mode():
        tokens = model.embed(clips())
        assert tokens.shape == (2, 9, 17, model.token_dim)
        for index in range(2):
            tokens = model.run_block(index, tokens)
        assert torch.equal(model.head(model.finish(tokens)), model(clips()))


def test_layers_take_the_frames_they_are_built_for() -> None:
    model = small(layers=3, layer_frames=[9, 4, 4])  # a list, as read back from JSON
    assert model.config == motionagformer.MotionAGFormerConfig(
        **{**SMALL, "layers": 3}, layer_frames=(9, 4, 4)
    )
    with torch.inference_mode():
        tokens = model.run_block(0, model.embed(clips()))
        assert model.run_block(1, tokens[:, ::2][:, :4]).shape == (2, 4, 17, 16)
        with pytest.raises(ValueError, match="built for 4 frames and got 9: say in layer_frames"):
            model(clips())


def test_clips_of_another_shape_are_refused() -> None:
    for wrong in (clips(frames=8), clips(channels=2), clips()[0], clips()[:, :, :16], clips(0)):
        with pytest.raises(ValueError, match="clips"):
            small()(wrong)
    assert small(in_channels=2)(clips(channels=2)).shape == (2, 9, 17, 3)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"layers": 0}, "layers must be at least 1"),
        ({"channels": 20}, r"channels must be a multiple of heads \(8\): 20"),
        ({"layers": 3, "layer_frames": (243, 81)}, "each of the 3 layers sees: 2 numbers"),
        ({"layers": 2, "layer_frames": (81, 243)}, "nor rise from layer to layer"),
        ({"layers": 1, "layer_frames": (244,)}, r"cannot exceed frames \(243\)"),
        ({"layers": 2, "layer_frames": (243, 1)}, r"at most the frames that a layer sees \(1\)"),
        ({"frames": 9, "neighbours": 10}, r"at most the frames that a layer sees \(9\): 10"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        motionagformer.MotionAGFormerConfig(**settings)


def authors_state(model: Any) -> dict[str, Any]:
    """A checkpoint with the authors' names, from one of ours."""
    return {authors_name(k, motionagformer.NAMES): v for k, v in model.state_dict().items()}


@pytest.mark.parametrize("layer_frames", [None, (9, 4)])
def test_authors_tensors_come_back_as_ours(layer_frames: tuple[int, ...] | None) -> None:
    model = small(layer_frames=layer_frames)
    for prefix in ("", "module."):
        given = {prefix + name: tensor for name, tensor in authors_state(model).items()}
        config, converted = convert_state_dict("motionagformer", given, **ARGUMENTS)
        assert motionagformer.MotionAGFormerConfig(**config) == model.config
        assert converted.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(converted[name], tensor), name


def test_a_checkpoint_of_the_base_size_has_1065_tensors() -> None:
    with torch.device("meta"):
        assert len(authors_state(create_lifter("motionagformer-b"))) == 1065


def test_missing_and_surplus_tensors_and_wrong_options_are_named() -> None:
    state = authors_state(small())
    with pytest.raises(ValueError, match=r"batch_norm\.weight \(9,\) does not fit our"):
        convert_state_dict("motionagformer", state, **{**ARGUMENTS, "n_frames": 27})
    del state["layers.1.graph_spatial.mixer.U.bias"]
    state["x_token"] = torch.zeros(1)
    with pytest.raises(ValueError, match="does not fit MotionAGFormer") as caught:
        convert_state_dict("motionagformer", state, **ARGUMENTS)
    assert "missing: layers.1.graph_spatial.mixer.U.bias" in str(caught.value)
    assert "not part of the model: x_token" in str(caught.value)
    for option in ({"qkv_bias": True}, {"mlp_ratio": 2}, {"use_temporal_similarity": False}):
        with pytest.raises(ValueError, match="as published"):
            convert_state_dict("motionagformer", state, **ARGUMENTS, **option)
