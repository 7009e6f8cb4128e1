"""ConvFormer: published sizes, the mixture of kernels and its folding, parts by hand, errors."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from lithepose.lifters import convert_state_dict, convformer, create_lifter  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {"frames": 9, "channels": 8, "heads": 4, "kernels": (3, 5, 1)}
OFF = {"dropout": 0.0, "drop_path": (0.0, 0.0)}


def small(**settings: Any) -> Any:
    """A small network whose mixtures are uneven, as after training."""
    torch.manual_seed(5)
    model = create_lifter("convformer", **{**SMALL, **settings}).eval()
    for part in model.modules():
        if isinstance(part, convformer.MixedConvolution) and part.mixture is not None:
            torch.nn.init.normal_(part.mixture)
    return model


def clips(batch: int) -> Any:
    return torch.randn(batch, 9, 17, 2, generator=torch.Generator().manual_seed(7)) * 0.3


def parameters(**settings: Any) -> int:
    with torch.device("meta"):
        model = create_lifter("convformer", **settings)
    return sum(parameter.numel() for parameter in model.parameters())


@pytest.mark.parametrize(
    ("frames", "count", "published"),
    [
        (9, 2_559_381, 2.56e6),
        (27, 2_652_495, 2.65e6),
        (81, 3_429_501, 3.43e6),
        (143, 5_242_195, 5.24e6),
        (243, 10_239_495, 10.24e6),
    ],
)
def test_is_as_large_as_published(frames: int, count: int, published: float) -> None:
    with torch.device("meta"):
        model = create_lifter(f"convformer-{frames}")
    assert sum(parameter.numel() for parameter in model.parameters()) == count
    assert count == pytest.approx(published, rel=1e-3)


@pytest.mark.parametrize(
    ("kernels", "count", "published"),
    [
        ((3,), 2_439_513, 2.44),
        ((3, 3), 2_459_673, 2.46),
        ((3, 3, 3), 2_479_821, 2.48),
        ((5, 5), 2_486_193, 2.49),
        ((5, 5, 5), 2_519_601, 2.52),
        ((7,), 2_466_033, 2.47),
        ((7, 7), 2_512_713, 2.51),
        ((9,), 2_479_293, 2.48),
        ((9, 9), 2_539_233, 2.54),
        ((9, 9, 9), 2_599_161, 2.60),
        ((3, 5, 7), 2_519_601, 2.52),
        ((5, 7, 9), 2_559_381, 2.56),
    ],
)
def test_sizes_with_other_kernels_round_to_the_published_ones(
    kernels: tuple[int, ...], count: int, published: float
) -> None:
    assert parameters(frames=9, kernels=kernels) == count
    assert round(count / 1e6, 2) == published


@pytest.mark.parametrize(
    ("settings", "count", "published"),
    [
        ({"channels": 16, "temporal_blocks": 4}, 1_264_571, 1.26),
        ({"channels": 16, "spatial_blocks": 4}, 693_703, 0.69),
        ({"temporal_blocks": 4}, 4_945_051, 4.95),
        ({"spatial_blocks": 4}, 2_699_751, 2.70),
        ({"heads": 1}, 2_559_381, 2.56),
        # These two are published with other kernels than the paper's best, as it seems.
        ({"channels": 16, "kernels": (5, 5, 5)}, 646_193, 0.65),
        ({"channels": 64, "kernels": (5, 5, 5)}, 9_971_249, 9.97),
    ],
)
def test_sizes_of_other_widths_and_depths_round_to_the_published_ones(
    settings: dict[str, Any], count: int, published: float
) -> None:
    assert parameters(frames=9, **settings) == count
    assert round(count / 1e6, 2) == published


def test_gives_the_recorded_output(set_weights: Callable[[Any], None]) -> None:
    recorded = np.load(RECORDED / "convformer.npz")
    model = small()
    set_weights(model)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 3 and "weights" in name:  # convolutions: keep their output small
                parameter /= parameter.shape[1] ** 0.5
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded["input"])).numpy()
    np.testing.assert_allclose(output, recorded["output"], atol=1e-5)


def test_a_mixture_is_the_weighted_sum_of_its_convolutions() -> None:
    torch.manual_seed(0)
    part = convformer.MixedConvolution(4, (3, 7, 1))
    torch.nn.init.normal_(part.mixture)
    x = torch.randn(2, 4, 11)
    separate = [
        functional.conv1d(x, weight, bias, padding=size // 2).unflatten(1, (3, 4))  # q, k, v
        for weight, bias, size in zip(part.weights, part.biases, (3, 7, 1), strict=True)
    ]
    shares = part.mixture.softmax(dim=1)  # rows: q, k, v
    expected = sum(shares[:, i, None, None] * out for i, out in enumerate(separate))
    torch.testing.assert_close(torch.stack(part(x), dim=1), expected)


def test_shares_start_equal_and_add_up_to_one_after_a_step() -> None:
    model = create_lifter("convformer", **SMALL)
    part: Any = model.temporal_blocks[0].attention.qkv
    assert torch.equal(part.mixture, torch.zeros(3, 3))
    optimiser = torch.optim.SGD(model.parameters(), lr=10.0)
    model(clips(2)).square().sum().backward()
    optimiser.step()
    assert part.mixture.abs().max() > 0
    torch.testing.assert_close(part.mixture.softmax(dim=1).sum(dim=1), torch.ones(3))


@pytest.mark.parametrize("kernels", [(3, 5, 1), (7, 7, 7), (5,)])
def test_the_folded_network_gives_the_same(kernels: tuple[int, ...]) -> None:
    model = small(kernels=kernels)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = convformer.fold(model)
    assert folded.config.kernels == (max(kernels),)
    assert not folded.training
    with torch.inference_mode():
        torch.testing.assert_close(folded(clips(3)), model(clips(3)), atol=1e-5, rtol=0)
    assert all(torch.equal(before[name], t) for name, t in model.state_dict().items())


@pytest.mark.parametrize(("frames", "count"), [(9, 2_466_033), (81, 2_790_969), (243, 5_190_027)])
def test_the_folded_network_is_smaller(frames: int, count: int) -> None:
    assert parameters(frames=frames, kernels=(7,)) == count


def test_attention_over_two_joints_by_hand() -> None:
    # One feature, one head, kernel 1, q = k = v = x = (0, 1). Joint 0 scores (0, 0): the mean, 1/2.
    # Joint 1 scores (0, 1): weights 1/(1 + e) and e/(1 + e) of the values 0 and 1.
    config = convformer.ConvFormerConfig(joints=2, channels=1, heads=1, kernels=(1,), **OFF)
    attention = convformer.SpatialAttention(config)
    with torch.no_grad():
        attention.qkv.weights[0].fill_(1.0)
        attention.qkv.biases[0].zero_()
        attention.project.weight.fill_(1.0)
        attention.project.bias.zero_()
    found = attention(torch.tensor([[[0.0], [1.0]]]))
    expected = torch.tensor([[[0.5], [math.e / (1 + math.e)]]])
    torch.testing.assert_close(found, expected)


def test_spatial_blocks_keep_frames_apart_and_temporal_queries_read_all_of_them() -> None:
    model = small()
    frames = torch.randn(9, 17, 8)
    changed = frames.clone()
    changed[4] += 1.0
    spatial = model.spatial_blocks[0]
    differ = (spatial(frames) - spatial(changed)).abs().amax((1, 2)) > 0
    assert differ.tolist() == [i == 4 for i in range(9)]

    clip = torch.randn(1, 9, 17 * 8)
    changed = clip.clone()
    changed[:, 4] += 1.0
    convolve = model.temporal_blocks[0].attention.qkv
    query, changed_query = convolve(clip)[0], convolve(changed)[0]
    assert bool(((query - changed_query).abs().amax(2) > 1e-3).all())


def test_summing_frames_before_the_poses_gives_the_same_as_after() -> None:
    torch.manual_seed(0)
    head = small().head
    tokens = torch.randn(2, 9, 17 * 8)
    poses = head.pose(tokens)  # (B, T, 3J), the paper's order
    expected = head.over_frames(poses.transpose(1, 2)).transpose(1, 2).unflatten(-1, (17, 3))
    torch.testing.assert_close(head(tokens), expected)


def test_every_parameter_gets_a_gradient() -> None:
    model = small()
    model(clips(3)).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    ]
    assert without == []


def test_a_clip_gives_the_same_alone_and_in_a_batch() -> None:
    model, batch = small(), clips(5)
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


def test_takes_the_joints_of_humaneva() -> None:
    model = small(joints=15, channels=32, heads=8, kernels=(7, 7, 7))
    assert sum(parameter.numel() for parameter in model.parameters()) == 2_027_407
    with torch.inference_mode():
        assert model(torch.zeros(1, 9, 15, 2)).shape == (1, 1, 15, 3)


def test_no_other_module_of_the_package_imports_it() -> None:
    package = Path(convformer.__file__).parents[1]
    table = package / "lifters" / "__init__.py"
    others = [
        path for path in package.rglob("*.py") if path not in (table, Path(convformer.__file__))
    ]
    assert len(others) > 20
    imports = re.compile(r"^\s*(from|import)\b.*convformer", re.MULTILINE | re.IGNORECASE)
    assert [str(path) for path in others if imports.search(path.read_text("utf-8"))] == []


def test_there_are_no_checkpoints_to_convert() -> None:
    with pytest.raises(ValueError, match="'convformer' have published no checkpoints"):
        convert_state_dict("convformer", {})


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("folded", [False, True])
def test_its_onnx_file_agrees_with_it(folded: bool, tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from lithepose.deploy.export import export_onnx

    model = small(spatial_blocks=1, temporal_blocks=1)  # the exporter takes seconds for each block
    model = convformer.fold(model) if folded else model
    assert export_onnx(model, tmp_path / "small.onnx", clips(2)) < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 80}, "frames must be odd"),
        ({"channels": 20}, r"multiple of heads \(8\): 20"),
        ({"temporal_blocks": 0}, "temporal_blocks must be at least 1"),
        ({"kernels": (3, 4)}, "kernels must be odd"),
        ({"kernels": ()}, "at least one"),
        ({"drop_path": (0.1,)}, "first block, last block"),
        ({"dropout": 1.0}, "dropout must be from 0 to below 1"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        convformer.ConvFormerConfig(**settings)


@pytest.mark.parametrize(
    "shape", [(1, 27, 17, 2), (1, 9, 16, 2), (1, 9, 17, 3), (9, 17, 2), (0, 9, 17, 2)]
)
def test_clips_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="at least one, of 9 frames, 17 joints"):
        small()(torch.zeros(shape))
