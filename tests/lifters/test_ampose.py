"""AMPose, as reconstructed: the graph by hand, the variants, sizes of ours, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import ampose, blocks, convert_state_dict, create_lifter  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {"channels": 16, "pairs": 2}
OFF = {"dropout": 0.0, "drop_path": (0.0, 0.0)}
ORDERS = get_args(get_type_hints(ampose.AMPoseConfig)["order"])
VARIANTS: list[dict[str, Any]] = [
    {},
    {"frames": 3},
    {"neighbour_classes": 4, "learned_edges": True, "convolutions": 1},
    {"graph_norm": "layer", "graph_activation": "relu", "head_norm": True},
    {"order": "graph-only", "joint_embedding": False},
]


def small(**settings: Any) -> Any:
    torch.manual_seed(5)
    return create_lifter("ampose", **{**SMALL, **settings}).eval()


def clips(batch: int, frames: int = 1) -> Any:
    generator = torch.Generator().manual_seed(7)
    return torch.randn(batch, frames, 17, 2, generator=generator) * 0.3


def parameters(**settings: Any) -> int:
    with torch.device("meta"):
        model = create_lifter("ampose", **settings)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize("classes", [1, 2, 3, 4])
def test_classes_share_no_edge_and_each_joint_receives_a_mean(classes: int) -> None:
    matrices = ampose.neighbour_matrices(classes)
    assert matrices.shape == (classes, 17, 17)
    assert int((matrices > 0).sum(0).max()) == 1
    torch.testing.assert_close(matrices.sum((0, 1)), torch.ones(17))


def test_edges_have_the_weights_of_their_target() -> None:
    own, from_outside, from_inside = ampose.neighbour_matrices(3)
    # A joint of n bones takes 1/(n + 1) from itself and from each neighbour: pelvis three bones,
    # thorax four, ends one, all others two.
    share = torch.full((17,), 1 / 3)
    share[0], share[8], share[[3, 6, 10, 13, 16]] = 1 / 4, 1 / 5, 1 / 2
    torch.testing.assert_close(own, torch.diag(share))
    # (joint further from the spine, joint nearer to it), by hand.
    bones = [(0, 7), (1, 0), (4, 0), (8, 7), (9, 8), (11, 8), (14, 8), (2, 1), (3, 2), (5, 4),
             (6, 5), (10, 9), (12, 11), (13, 12), (15, 14), (16, 15)]  # fmt: skip
    for matrix, edges in ((from_outside, bones), (from_inside, [(b, a) for a, b in bones])):
        expected = torch.zeros(17, 17)
        for source, target in edges:
            expected[source, target] = share[target]
        torch.testing.assert_close(matrix, expected)


def test_distances_to_the_spine_are_those_of_the_tree() -> None:
    steps = torch.zeros(17, 17)
    for joint, parent in enumerate(blocks.SKELETON.parents):
        if parent >= 0:
            steps[joint, parent] = steps[parent, joint] = 1.0
    reached = torch.eye(17)[7]
    for joint_distance in range(5):
        joints = {j for j, d in enumerate(ampose.BONES_TO_CENTRE) if d <= joint_distance}
        assert joints == set(torch.nonzero(reached).flatten().tolist())
        reached = reached + reached @ steps


def test_the_fourth_class_joins_left_and_right() -> None:
    matrix = ampose.neighbour_matrices(4)[3]
    assert {tuple(edge) for edge in torch.nonzero(matrix).tolist()} == {
        edge for a, b in blocks.SKELETON.pairs for edge in ((a, b), (b, a))
    }
    assert matrix[3, 6].item() == pytest.approx(1 / 3)  # ankle: itself, the knee, the other ankle


def test_one_class_is_the_ordinary_graph_convolution() -> None:
    torch.manual_seed(0)
    layer = ampose.ClassGraphConvolution(4, 1, learned_edges=False)
    x = torch.randn(2, 17, 4)
    edges = ampose.neighbour_matrices(1)[0]
    expected = torch.zeros(2, 17, 4)
    for v in range(17):
        for w in range(17):
            expected[:, w] += edges[v, w] * layer.transform(x[:, v])
    torch.testing.assert_close(layer(x), expected)


@pytest.mark.parametrize("learned_edges", [False, True])
def test_classes_have_their_own_matrices(learned_edges: bool) -> None:
    torch.manual_seed(0)
    layer: Any = ampose.ClassGraphConvolution(4, 3, learned_edges)
    edges = ampose.neighbour_matrices(3)
    if learned_edges:
        torch.nn.init.uniform_(layer.edge_scale)
        edges = edges * layer.edge_scale
    x = torch.randn(2, 17, 4)
    expected = torch.zeros(2, 17, 4)
    for k in range(3):
        weight, bias = layer.transform.weight[4 * k : 4 * k + 4], layer.transform.bias[4 * k :][:4]
        for v in range(17):
            for w in range(17):
                expected[:, w] += edges[k, v, w] * (x[:, v] @ weight.T + bias)
    torch.testing.assert_close(layer(x), expected)


def test_a_graph_convolution_reaches_along_one_bone_and_an_encoder_everywhere() -> None:
    model = small()
    encoder, graph = model.blocks[0], model.blocks[1]
    x = torch.randn(1, 17, 16)

    def reach(layer: Any) -> Any:
        jacobian = torch.autograd.functional.jacobian(layer, x)  # (1, 17, C, 1, 17, C)
        return jacobian.abs().amax((0, 2, 3, 5)) > 0

    assert torch.equal(reach(graph.layers[0].convolution), ampose.neighbour_matrices(1)[0].T > 0)
    assert bool(reach(encoder).all())


@pytest.mark.parametrize("order", ORDERS)
def test_orders_have_equally_many_blocks_of_the_kinds_they_name(order: Any) -> None:
    kinds = ampose.AMPoseConfig(order=order, pairs=3).block_kinds()
    letters = "".join(kind[0] for kind in kinds)
    expected = {
        "encoder-graph": "egegeg",
        "graph-encoder": "gegege",
        "encoder-only": "eeeeee",
        "graph-only": "gggggg",
        "encoders-then-graphs": "eeeggg",
        "graphs-then-encoders": "gggeee",
    }
    assert letters == expected[order]
    model = small(order=order)
    encoders = [isinstance(block, blocks.TransformerBlock) for block in model.blocks]
    assert encoders == [kind == "encoder" for kind in model.config.block_kinds()]
    if "only" not in order:
        assert parameters(order=order, **SMALL) == parameters(**SMALL)
    with torch.inference_mode():
        assert bool(torch.isfinite(model(clips(2))).all())


@pytest.mark.parametrize(
    ("settings", "count"),
    [
        ({}, 18_415_619),
        ({"channels": 64, "pairs": 3, "convolutions": 1}, 139_715),
        ({"channels": 128}, 1_163_267),
        ({"channels": 256}, 4_620_291),
        ({"channels": 256, "pairs": 4}, 3_697_411),
        ({"mlp_ratio": 4}, 23_663_619),
        ({"neighbour_classes": 4}, 21_042_179),
        ({"neighbour_classes": 2}, 15_789_059),
        ({"neighbour_classes": 1}, 13_162_499),
        ({"learned_edges": True}, 18_424_289),
        ({"joint_embedding": False}, 18_415_619 - 17 * 512),
    ],
)
def test_sizes_are_those_of_the_reconstruction(settings: dict[str, Any], count: int) -> None:
    assert parameters(**settings) == count


@pytest.mark.parametrize(("name", "channels"), [("ampose-s", 128), ("ampose-b", 256)])
def test_smaller_rows_differ_in_width(name: str, channels: int) -> None:
    with torch.device("meta"):
        assert create_lifter(name).config == ampose.AMPoseConfig(channels=channels)


@pytest.mark.parametrize(("case", "settings"), list(enumerate(VARIANTS)))
def test_gives_the_recorded_output(
    case: int, settings: dict[str, Any], set_weights: Callable[[Any], None]
) -> None:
    recorded = np.load(RECORDED / "ampose.npz")
    model = small(**settings)
    set_weights(model)
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded[f"{case}.input"])).numpy()
    np.testing.assert_allclose(output, recorded[f"{case}.output"], atol=1e-5)


def test_frames_are_lifted_one_by_one() -> None:
    model, clip = small(), clips(2, 5)
    with torch.inference_mode():
        whole, single = model(clip), model(clip[:, 3:4])
    assert whole.shape == (2, 5, 17, 3)
    torch.testing.assert_close(whole[:, 3:4], single, atol=1e-5, rtol=0)


def test_a_short_window_gives_its_centre_and_reads_every_frame() -> None:
    model = small(frames=3)
    window = clips(1, 3).requires_grad_()
    poses = model(window)
    assert poses.shape == (1, 1, 17, 3)
    poses.square().sum().backward()
    assert bool((window.grad.abs().amax((0, 2, 3)) > 0).all())


@pytest.mark.parametrize("settings", VARIANTS)
def test_every_parameter_gets_a_gradient(settings: dict[str, Any]) -> None:
    model = small(**settings)
    model(clips(8, settings.get("frames", 1))).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    ]
    assert without == []


@pytest.mark.parametrize("settings", VARIANTS)
def test_a_frame_gives_the_same_alone_and_in_a_batch(settings: dict[str, Any]) -> None:
    model, batch = small(**settings), clips(5, settings.get("frames", 1))
    with torch.inference_mode():
        torch.testing.assert_close(model(batch[3:4]), model(batch)[3:4], atol=1e-5, rtol=0)


def test_a_training_step_under_bfloat16_autocast_stays_near_float32() -> None:
    model, batch = small(), clips(4)
    expected = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        poses = model(batch)
    assert poses.dtype == torch.float32
    assert (poses - expected).abs().max() < 0.05 * expected.abs().max()
    poses.square().sum().backward()


def test_regularisation_acts_in_training_only_and_can_be_turned_off() -> None:
    model, batch = small(), clips(4)
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))
    plain = small(**OFF).train()
    assert torch.equal(plain(batch), plain(batch))


def test_there_are_no_checkpoints_to_convert() -> None:
    with pytest.raises(ValueError, match="'ampose' have published no checkpoints"):
        convert_state_dict("ampose", {})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("frames", [1, 3])
def test_its_onnx_file_agrees_with_it(frames: int, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from lithepose.deploy.export import export_onnx

    model = small(frames=frames, pairs=1)  # the exporter takes seconds for each block
    assert export_onnx(model, tmp_path / "small.onnx", clips(2, frames)) < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 2}, "frames must be odd"),
        ({"channels": 100}, r"multiple of heads \(8\): 100"),
        ({"pairs": 0}, "pairs must be at least 1"),
        ({"order": "te-gcn"}, "order must be one of encoder-graph, "),
        ({"convolutions": 3}, "convolutions must be one of 1, 2: 3"),
        ({"neighbour_classes": 5}, "neighbour_classes must be one of"),
        ({"graph_norm": "group"}, "graph_norm must be one of batch, layer"),
        ({"graph_activation": "tanh"}, "graph_activation must be one of"),
        ({"drop_path": (0.1,)}, "first block, last block"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ampose.AMPoseConfig(**settings)


@pytest.mark.parametrize(
    ("frames", "shape"),
    [
        (1, (1, 1, 16, 2)),
        (1, (1, 1, 17, 3)),
        (1, (1, 17, 2)),
        (1, (0, 1, 17, 2)),
        (1, (2, 0, 17, 2)),
        (1, (2,)),
        (3, (1, 1, 17, 2)),
        (3, (1, 5, 17, 2)),
    ],
)
def test_clips_of_another_shape_are_refused(frames: int, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="clips"):
        small(frames=frames)(torch.zeros(shape))
