"""NanoHTNet: numbers recorded from the authors' code and from ours, parts by hand, errors."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import blocks, convert_state_dict, create_lifter, nanohtnet  # noqa: E402  # noqa: E402
from lithepose.lifters.weights import authors_name  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {"frames": 9, "kept_frames": 3, "layers": 2, "channels": 48, "hidden": 32, "features": 4}


@pytest.mark.shared
@pytest.mark.parametrize(
    "name", ["f243-k9", "f27-k9-flip", "f27-k9-l2c48", "f27-k9-pretrain", "f27-k9-smallact",
             "f81-k27-l1c96"],
)  # fmt: skip
def test_agrees_with_the_authors_network(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/nanohtnet-{name}.npz")))


@pytest.mark.parametrize(
    ("case", "settings"),
    [
        ("pose", {}),
        ("four_channels", {"in_channels": 4}),
        ("contrastive", {"pretrain": True, "feature_dim": 5}),
    ],
)
def test_gives_the_recorded_output(
    case: str, settings: dict[str, Any], set_weights: Callable[[Any], None]
) -> None:
    # Recorded from this network when it agreed with all of the authors' recordings.
    recorded = np.load(RECORDED / "nanohtnet.npz")
    model = create_lifter("nanohtnet", **SMALL, **settings).eval()
    set_weights(model)
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded[f"{case}.input"])).numpy()
    np.testing.assert_allclose(output, recorded[f"{case}.output"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("nanohtnet-243-9", 2_491_567),
        ("nanohtnet-243-27", 2_561_695),
        ("nanohtnet-81-9", 2_413_807),
        ("nanohtnet-81-27", 2_483_935),
        ("nanohtnet-27-9", 2_387_887),
        ("nanohtnet-27-27", 2_458_015),
        ("nanohtnet-27-3", 2_365_375),
        ("nanohtnet-9-9", 2_379_247),
    ],
)
def test_has_as_many_parameters_as_the_authors_network(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_lifter(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_dct_of_three_samples_by_hand() -> None:
    # 2 cos(πk(2n + 1)/6): k = 0 gives 2 everywhere; k = 1 gives 2 cos 30°, 2 cos 90°, 2 cos 150°.
    root = math.sqrt(3.0)
    expected = torch.tensor([[2.0, 2.0, 2.0], [root, 0.0, -root]])
    torch.testing.assert_close(nanohtnet.dct_matrix(3, 2), expected)


def test_constant_clips_have_no_frequency_but_the_lowest() -> None:
    coefficients = nanohtnet.dct_matrix(81, 9) @ torch.full((81, 1), 0.5)
    assert coefficients[0].item() == pytest.approx(81.0)  # twice the sum
    assert coefficients[1:].abs().max() < 1e-4


def test_frequencies_are_joined_to_their_neighbours() -> None:
    expected = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    assert torch.equal(nanohtnet.frequency_adjacency(3), expected)


def test_skeleton_adjacency_has_the_values_of_the_degrees() -> None:
    adjacency = blocks.skeleton_adjacency()
    symmetric = (adjacency + adjacency.T) / 2
    assert torch.equal(symmetric.diagonal(), torch.ones(17))
    # Between joints of degree a and b the edge is (1/a + 1/b) / 2; the pelvis has three
    # neighbours, the thorax four, the ends one, all others two.
    for value, edges in {
        5 / 12: [(0, 1), (0, 4), (0, 7)],
        3 / 8: [(7, 8), (8, 9), (8, 11), (8, 14)],
        1 / 2: [(1, 2), (4, 5), (11, 12), (14, 15)],
        3 / 4: [(2, 3), (5, 6), (9, 10), (12, 13), (15, 16)],
    }.items():
        for a, b in edges:
            assert symmetric[a, b].item() == pytest.approx(value)
    assert int((symmetric != 0).sum()) == 17 + 2 * 16


def test_graph_convolution_is_the_sum_over_nodes_by_hand() -> None:
    torch.manual_seed(0)
    layer = blocks.ModulatedGraphConvolution(2, 3, nanohtnet.frequency_adjacency(4))
    with torch.no_grad():
        layer.learned_adjacency.uniform_(-0.5, 0.5)
    x = torch.randn(1, 4, 2)
    weight = layer.transform.weight
    edges = layer.adjacency + layer.learned_adjacency
    edges = (edges + edges.T) / 2
    expected = torch.zeros(1, 4, 3)
    for i in range(4):
        for j in range(4):
            matrix = weight[:3] if i == j else weight[3:]  # its own, or that for neighbours
            expected[0, i] += edges[i, j] * layer.modulation[j] * (matrix @ x[0, j])
    torch.testing.assert_close(layer(x), expected + layer.bias)


def test_limbs_replace_their_outer_joints() -> None:
    # Knee and ankle of the right leg (2, 3) take limb 0, which is row 17, and so on.
    three, two = blocks.write_back_index(1), blocks.write_back_index(2)
    assert three == [0, 1, 17, 17, 4, 18, 18, 7, 8, 9, 10, 11, 19, 19, 14, 20, 20]
    assert two == [0, 1, 2, 17, 4, 5, 18, 7, 8, 9, 10, 11, 12, 19, 14, 15, 20]


def test_attention_over_few_tokens_agrees_with_that_over_many() -> None:
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 2, 4, blocks.FEW_TOKENS, 10)
    kernel = torch.nn.functional.scaled_dot_product_attention(q, k, v)
    torch.testing.assert_close(blocks.attend(q, k, v), kernel)
    more = torch.randn(3, 2, 4, blocks.FEW_TOKENS + 1, 10)
    expected = torch.softmax(more[0] @ more[1].mT / math.sqrt(10), dim=-1) @ more[2]
    torch.testing.assert_close(blocks.attend(*more), expected)


def test_drop_path_drops_whole_samples_and_keeps_the_mean() -> None:
    torch.manual_seed(0)
    x = torch.ones(4000, 3, 2)
    dropped = blocks.DropPath(0.25).train()(x)
    assert dropped.unique().tolist() == pytest.approx([0.0, 4 / 3])
    assert torch.equal(dropped.amin((1, 2)), dropped.amax((1, 2)))
    assert dropped.mean().item() == pytest.approx(1.0, abs=0.03)
    assert blocks.drop_path_rates(0.1, 0.3, 3) == pytest.approx([0.1, 0.2, 0.3])
    assert blocks.drop_path_rates(0.1, 0.3, 1) == [0.1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 80}, "frames must be odd"),
        ({"kept_frames": 8}, "kept_frames must be odd"),
        ({"frames": 9, "kept_frames": 11}, r"from 1 to frames \(9\): 11"),
        ({"channels": 100}, "multiple of 48"),
        ({"layers": 0}, "layers must be at least 1"),
        ({"drop_path": (0.1, 0.2, 0.3)}, "first block, last block"),
        ({"drop_path": (0.1, 1.0)}, "drop_path must be from 0 to below 1"),
        ({"spatial_dropout": -0.1}, "spatial_dropout must be from 0 to below 1"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        nanohtnet.NanoHTNetConfig(**settings)


def authors_state(model: Any) -> dict[str, Any]:
    """A checkpoint with the authors' names and shapes, from one of ours."""
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("transform.weight"):
            tensor = tensor.unflatten(0, (2, -1)).transpose(1, 2)
        elif name.endswith("gather.weight"):
            tensor = tensor.unflatten(1, (-1, tensor.shape[0])).transpose(1, 2)
        state[authors_name(name, nanohtnet.NAMES)] = tensor
    return state


ARGUMENTS = {"frames": 9, "keep_frames": 3, "layers": 1, "channel": 48, "d_hid": 32, "hid": 4}


def small() -> tuple[Any, dict[str, Any]]:
    model = create_lifter("nanohtnet", **{**SMALL, "layers": 1})
    return model, authors_state(model)


def test_authors_tensors_come_back_as_ours_with_or_without_the_wrappers_prefix() -> None:
    model, state = small()
    for prefix in ("", "module."):
        given = {prefix + name: tensor for name, tensor in state.items()}
        config, converted = convert_state_dict("nanohtnet", given, **ARGUMENTS)
        assert nanohtnet.NanoHTNetConfig(**config) == model.config
        assert converted.keys() == model.state_dict().keys()
        for name, tensor in model.state_dict().items():
            assert torch.equal(converted[name], tensor), name


def test_missing_surplus_and_misshapen_tensors_are_named() -> None:
    _, state = small()
    del state["Transformer.blocks.0.lgc.gcn1.W"]
    state["extra.weight"] = torch.zeros(1)
    state["fcn_tem.bias"] = torch.zeros(3)
    with pytest.raises(ValueError, match="does not fit NanoHTNet") as caught:
        convert_state_dict("nanohtnet", state, **ARGUMENTS)
    message = str(caught.value)
    assert "missing: Transformer.blocks.0.lgc.gcn1.W" in message
    assert "not part of the model: extra.weight" in message
    assert "fcn_tem.bias (3,) does not fit our temporal_features.bias (68,)" in message


def test_conversion_rejects_options_and_joints_it_does_not_know() -> None:
    _, state = small()
    with pytest.raises(TypeError, match="kept_frames"):
        convert_state_dict("nanohtnet", state, kept_frames=3)
    with pytest.raises(ValueError, match="built for n_joints=17"):
        convert_state_dict("nanohtnet", state, **ARGUMENTS, n_joints=16)
