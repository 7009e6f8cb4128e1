"""MHFormer: numbers recorded from the authors' code and from ours, its steps, errors."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import convert_state_dict, create_lifter, mhformer  # noqa: E402
from lithepose.lifters.weights import authors_name  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
SMALL = {"frames": 9, "channels": 16, "hidden": 24}
LONG = {**SMALL, "frames": 45}  # long enough for the embedding without batch norm
OFF = {"dropout": 0.0, "drop_path": (0.0, 0.0)}


def small(**settings: Any) -> Any:
    torch.manual_seed(5)
    return create_lifter("mhformer", **{**SMALL, **settings}).eval()


def clips(model: Any, batch: int) -> Any:
    generator = torch.Generator().manual_seed(7)
    config = model.config
    shape = (batch, config.frames, 17, config.in_channels)
    return torch.randn(shape, generator=generator) * 0.3


@pytest.mark.shared
@pytest.mark.parametrize("name", ["t27-d32", "t27-d32-smallact", "t45-d32"])
def test_agrees_with_the_authors_network(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/mhformer-{name}.npz")))


@pytest.mark.shared
@pytest.mark.slow
def test_agrees_with_the_authors_network_at_full_size(
    parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared("golden/full-mhformer-t351.npz")))


@pytest.mark.parametrize(
    ("case", "settings"),
    [("short", SMALL), ("long", LONG), ("four_channels", {**SMALL, "in_channels": 4, "layers": 2})],
)
def test_gives_the_recorded_output(
    case: str, settings: dict[str, Any], set_weights: Callable[[Any], None]
) -> None:
    # Recorded from this network when it agreed with all of the authors' recordings.
    recorded = np.load(RECORDED / "mhformer.npz")
    model = small(**settings)
    set_weights(model)
    with torch.inference_mode():
        output = model(torch.from_numpy(recorded[f"{case}.input"])).numpy()
    # Processors add in different orders: the long case on AVX2 is 5e-5 off the one on AVX-512.
    np.testing.assert_allclose(output, recorded[f"{case}.output"], atol=1e-4)


# --- a second network, by the paper's equations and the authors' names ------------------------


def authors_shapes(frames: int, channels: int, hidden: int, layers: int) -> dict[str, list[int]]:
    """Names and shapes of the authors' tensors."""
    shapes: dict[str, list[int]] = {}

    def add(name: str, *shape: int) -> None:
        shapes[f"{name}.weight"] = list(shape)
        shapes[f"{name}.bias"] = [shape[0]]

    def add_batch_norm(name: str, width: int) -> None:
        add(name, width)
        shapes[f"{name}.running_mean"] = shapes[f"{name}.running_var"] = [width]
        shapes[f"{name}.num_batches_tracked"] = []

    three = 3 * channels
    stages = "Transformer_hypothesis"
    for m in (1, 2, 3):
        add(f"norm_{m}", frames)
        encoder = f"Transformer_encoder_{m}"
        shapes[f"{encoder}.pos_embed"] = [1, 34, frames]
        for i in range(4):
            block = f"{encoder}.blocks.{i}"
            add(f"{block}.norm1", frames)
            add(f"{block}.norm2", frames)
            add(f"{block}.attn.qkv", 3 * frames, frames)
            add(f"{block}.attn.proj", frames, frames)
            add(f"{block}.mlp.fc1", 2 * frames, frames)
            add(f"{block}.mlp.fc2", frames, 2 * frames)
        add(f"{encoder}.norm", frames)
        if frames <= 27:
            add(f"embedding_{m}.0", channels, 34, 1)
            add_batch_norm(f"embedding_{m}.1", channels)
        else:
            add(f"embedding_{m}", channels, 34, 1)
        shapes[f"{stages}.pos_embed_{m}"] = [1, frames, channels]
        for i in range(layers - 1):
            block = f"{stages}.SHR_blocks.{i}"
            add(f"{block}.norm1_{m}", channels)
            add(f"{block}.attn_{m}.qkv", three, channels)
            add(f"{block}.attn_{m}.proj", channels, channels)
        for part in (1, 2, 3):
            add(f"{stages}.CHI_blocks.0.norm3_{m}{part}", channels)
        for part in ("linear_q", "linear_k", "linear_v", "proj"):
            add(f"{stages}.CHI_blocks.0.attn_{m}.{part}", channels, channels)
    for block in [*(f"SHR_blocks.{i}" for i in range(layers - 1)), "CHI_blocks.0"]:
        add(f"{stages}.{block}.norm2", three)
        add(f"{stages}.{block}.mlp.fc1", hidden, three)
        add(f"{stages}.{block}.mlp.fc2", three, hidden)
    add(f"{stages}.norm", three)
    add_batch_norm("regression.0", three)
    add("regression.1", 51, three, 1)
    return shapes


def by_the_equations(state: dict[str, Any], x: Any, layers: int, kept: Any = None) -> Any:
    """The paper's network in evaluation, on authors' tensors: (B, T, 17, 2) to (B, T, 17, 3), or
    with the frames `kept` (B, f) alone from the second block on to (B, f, 17, 3)."""
    f = torch.nn.functional

    def linear(name: str, y: Any) -> Any:
        return f.linear(y, state[f"{name}.weight"].flatten(1), state[f"{name}.bias"])

    def norm(name: str, y: Any, eps: float = 1e-6) -> Any:
        return f.layer_norm(y, y.shape[-1:], state[f"{name}.weight"], state[f"{name}.bias"], eps)

    def batch_norm(name: str, y: Any) -> Any:
        spread = (state[f"{name}.running_var"] + 1e-5).sqrt()
        y = (y - state[f"{name}.running_mean"]) / spread
        return y * state[f"{name}.weight"] + state[f"{name}.bias"]

    def attention(name: str, q: Any, k: Any, v: Any, heads: int) -> Any:
        width = q.shape[-1] // heads
        mixed = []
        for part in (slice(h * width, (h + 1) * width) for h in range(heads)):
            scores = q[..., part] @ k[..., part].mT / width**0.5
            mixed.append(scores.softmax(-1) @ v[..., part])
        return linear(f"{name}.proj", torch.cat(mixed, -1))

    def own(name: str, y: Any, heads: int) -> Any:
        return attention(name, *linear(f"{name}.qkv", y).chunk(3, -1), heads)

    def mlp(block: str, y: Any) -> Any:
        inner = f.gelu(linear(f"{block}.mlp.fc1", norm(f"{block}.norm2", y)))
        return y + linear(f"{block}.mlp.fc2", inner)

    z = x.permute(0, 2, 3, 1).flatten(1, 2)  # (B, 34, T)
    stages = "Transformer_hypothesis"
    hypotheses = []
    for m in (1, 2, 3):
        y = norm(f"norm_{m}", z, 1e-5) + state[f"Transformer_encoder_{m}.pos_embed"]
        for block in (f"Transformer_encoder_{m}.blocks.{i}" for i in range(4)):
            y = mlp(block, y + own(f"{block}.attn", norm(f"{block}.norm1", y), 9))
        z = z + norm(f"Transformer_encoder_{m}.norm", y)
        if x.shape[1] <= 27:
            embedded = batch_norm(f"embedding_{m}.1", linear(f"embedding_{m}.0", z.mT)).relu()
        else:
            embedded = linear(f"embedding_{m}", z.mT)
        hypotheses.append(embedded + state[f"{stages}.pos_embed_{m}"])
    for i in range(layers - 1):
        block = f"{stages}.SHR_blocks.{i}"
        if i == 1 and kept is not None:
            hypotheses = [h.gather(1, kept[..., None].expand(-1, -1, 16)) for h in hypotheses]
        hypotheses = [
            h + own(f"{block}.attn_{m}", norm(f"{block}.norm1_{m}", h), 8)
            for m, h in enumerate(hypotheses, 1)
        ]
        hypotheses = list(mlp(block, torch.cat(hypotheses, -1)).chunk(3, -1))
    block = f"{stages}.CHI_blocks.0"
    for m, sources in enumerate(((1, 2, 0), (0, 2, 1), (0, 1, 2)), 1):
        q, k, v = (
            linear(
                f"{block}.attn_{m}.linear_{part}",
                norm(f"{block}.norm3_{m}{number}", hypotheses[source]),
            )
            for number, part, source in zip((1, 2, 3), "qkv", sources, strict=True)
        )
        hypotheses[m - 1] = hypotheses[m - 1] + attention(f"{block}.attn_{m}", q, k, v, 8)
    tokens = norm(f"{stages}.norm", mlp(block, torch.cat(hypotheses, -1)))
    return linear("regression.1", batch_norm("regression.0", tokens)).unflatten(-1, (17, 3))


@pytest.mark.parametrize("frames", [18, 27, 36, 54])
def test_clips_of_even_and_odd_lengths_follow_the_equations(
    frames: int, parity: ModuleType
) -> None:
    shapes = authors_shapes(frames, 16, 24, 3)
    state = {name: parity.formula_tensor(name, shape, 0) for name, shape in shapes.items()}
    options = {"frames": frames, "channel": 16, "d_hid": 24}
    config, converted = convert_state_dict("mhformer", state, **options)
    model: Any = create_lifter("mhformer", **config).eval()
    model.load_state_dict(converted)
    trained = [n for n in state if ".running_" not in n and "num_batches" not in n]
    assert sum(p.numel() for p in model.parameters()) == sum(state[n].numel() for n in trained)
    batch = clips(model, 2)
    poses = model(batch)
    assert poses.shape == (2, frames, 17, 3)
    torch.testing.assert_close(poses, by_the_equations(state, batch, 3), atol=2e-5, rtol=0)
    poses.square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in model.parameters())

    # The same pruned before its second block for the centre frame (TPC).
    options |= {"layer_index": 1, "token_num": 9}
    config, converted = convert_state_dict("hot", state, host="mhformer", **options)
    pruned: Any = create_lifter("hot", **config).eval()
    pruned.load_state_dict(converted)
    centre = {18: 8, 27: 13, 36: 17, 54: 26}[frames]  # (T - 1) / 2, rounded down
    with torch.inference_mode():
        lifted = pruned.lift(batch)
        (kept,) = lifted.kept
        assert bool((kept == centre).any(1).all())
        expected = by_the_equations(state, batch, 3, kept)
        torch.testing.assert_close(lifted.poses, expected, atol=2e-5, rtol=0)
        assert torch.equal(pruned(batch), lifted.poses[kept == centre].unsqueeze(1))


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("mhformer-27", 19_184_517),
        ("mhformer-81", 19_837_545),
        ("mhformer-243", 25_165_077),
        ("mhformer-351", 31_516_125),
    ],
)
def test_has_as_many_parameters_as_the_authors_network(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_lifter(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_the_whole_is_its_steps_and_those_after_the_first_take_fewer_frames() -> None:
    model = small(**LONG)
    batch = clips(model, 2)
    with torch.inference_mode():
        tokens = model.embed(batch)
        assert tokens.shape == (2, 45, 3 * 16)
        kept = tokens[:, 3:40:4]
        for i in range(len(model.blocks)):
            tokens, kept = model.run_block(i, tokens), model.run_block(i, kept)
        assert torch.equal(model.head(model.finish(tokens)), model(batch))
        assert model.head(model.finish(kept)).shape == (2, 10, 17, 3)


def test_each_hypothesis_is_made_from_the_one_before_it() -> None:
    model = small()
    trajectories = clips(model, 2).flatten(2).transpose(1, 2)
    before = model.generate(trajectories)
    with torch.no_grad():
        model.generate.encoders[1].norm.bias += 1.0
    after = model.generate(trajectories)
    assert torch.equal(before[0], after[0])
    torch.testing.assert_close(after[1], before[1] + 1.0)
    assert (after[2] - before[2]).abs().max() > 0.5  # its input moved


def test_refining_keeps_hypotheses_apart_but_for_the_mlp() -> None:
    block = small(**OFF).blocks[0]
    torch.nn.init.zeros_(block.mlp.contract.weight)
    tokens = torch.randn(2, 9, 48)
    changed = tokens.clone()
    changed[..., 32:] += 1.0 + torch.rand(16)
    assert torch.equal(block(tokens)[..., :32], block(changed)[..., :32])
    assert not torch.equal(block(tokens)[..., 32:], block(changed)[..., 32:])


def test_interaction_corrects_one_hypothesis_after_the_other() -> None:
    block = small(**OFF).blocks[-1]
    torch.nn.init.zeros_(block.mlp.contract.weight)
    torch.nn.init.zeros_(block.mlp.contract.bias)
    first, second, third = torch.randn(3, 2, 9, 16)
    one, two, three = block(torch.cat([first, second, third], dim=-1)).chunk(3, dim=-1)
    attend = block.attentions  # (query, key, value); `one` and `two` are corrected already
    torch.testing.assert_close(one, first + attend[0](second, third, first))
    torch.testing.assert_close(two, second + attend[1](one, third, second))
    torch.testing.assert_close(three, third + attend[2](one, two, third))


@pytest.mark.parametrize("settings", [SMALL, LONG])
def test_every_parameter_gets_a_gradient(settings: dict[str, Any]) -> None:
    model = small(**settings)
    model(clips(model, 3)).square().sum().backward()
    without = [
        name
        for name, parameter in model.named_parameters()
        if parameter.grad is None or not bool(parameter.grad.abs().max() > 0)
    ]
    assert without == []


def test_a_clip_gives_the_same_alone_and_in_a_batch() -> None:
    model = small()
    batch = clips(model, 5)
    with torch.inference_mode():
        torch.testing.assert_close(model(batch[3:4]), model(batch)[3:4], atol=1e-5, rtol=0)


def test_a_training_step_under_bfloat16_autocast_stays_near_float32() -> None:
    model = small()
    batch = clips(model, 4)
    expected = model(batch)
    with torch.autocast("cpu", torch.bfloat16):
        poses = model(batch)
    assert poses.dtype == torch.float32
    assert (poses - expected).abs().max() < 0.05 * expected.abs().max()
    poses.square().sum().backward()


def test_regularisation_acts_in_training_only_and_can_be_turned_off() -> None:
    model = small(**LONG)
    batch = clips(model, 4)
    assert torch.equal(model(batch), model(batch))
    model.train()
    assert not torch.equal(model(batch), model(batch))
    plain = small(**LONG, **OFF).train()
    assert torch.equal(plain(batch), plain(batch))


def authors_state(model: Any) -> dict[str, Any]:
    """A checkpoint with the authors' names and shapes, from one of ours."""
    names = mhformer.authors_names(model.config)
    state = {}
    for name, tensor in model.state_dict().items():
        if name.endswith(("linear.weight", "head.pose.weight")):
            tensor = tensor.unsqueeze(-1)
        state[authors_name(name, names)] = tensor
    return state


@pytest.mark.parametrize(("settings", "tensors"), [(SMALL, 288), (LONG, 273)])
def test_authors_tensors_come_back_as_ours(settings: dict[str, Any], tensors: int) -> None:
    model = small(**settings)
    state = authors_state(model)
    assert len(state) == tensors
    arguments = {"frames": settings["frames"], "channel": 16, "d_hid": 24}
    config, converted = convert_state_dict("mhformer", state, **arguments)
    assert mhformer.MHFormerConfig(**config) == model.config
    assert converted.keys() == model.state_dict().keys()
    assert all(torch.equal(converted[name], t) for name, t in model.state_dict().items())


def test_conversion_reports_options_that_do_not_fit() -> None:
    state = authors_state(small())
    arguments = {"frames": 9, "channel": 16, "d_hid": 24}
    with pytest.raises(ValueError, match=r"missing: Transformer_hypothesis\.SHR_blocks\.2"):
        convert_state_dict("mhformer", state, **arguments, layers=4)
    with pytest.raises(ValueError, match=r"embedding_1\.0\.weight \(16, 34, 1\) does not fit our"):
        convert_state_dict("mhformer", state, **{**arguments, "channel": 24})
    with pytest.raises(ValueError, match="built for n_joints=17"):
        convert_state_dict("mhformer", state, **arguments, n_joints=16)
    with pytest.raises(ValueError, match="heads_mhg=9"):
        convert_state_dict("mhformer", state, **arguments, heads_mhg=8)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")
@pytest.mark.parametrize("settings", [SMALL, LONG])
def test_its_onnx_file_agrees_with_it(settings: dict[str, Any], tmp_path: Path) -> None:
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    from lithepose.deploy.export import export_onnx

    model = small(**settings, layers=2)  # the exporter takes seconds for each block
    assert export_onnx(model, tmp_path / "small.onnx", clips(model, 2)) < 1e-5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"frames": 80}, "multiple of 9"),
        ({"frames": 0}, "multiple of 9"),
        ({"channels": 100}, "multiple of 8"),
        ({"layers": 1}, "at least 2"),
        ({"in_channels": 0}, "in_channels must be at least 1"),
        ({"drop_path": (0.1,)}, "first block, last block"),
        ({"drop_path": (0.0, 1.0)}, "drop_path must be from 0 to below 1"),
        ({"dropout": -0.1}, "dropout must be from 0 to below 1"),
        ({"short_clip_dropout": 1.0}, "short_clip_dropout must be from 0 to below 1"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        mhformer.MHFormerConfig(**settings)


@pytest.mark.parametrize("shape", [(1, 8, 17, 2), (1, 9, 16, 2), (1, 9, 17, 3), (9, 17, 2)])
def test_clips_of_another_shape_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(clips, 9, 17, 2\)"):
        small()(torch.zeros(shape))


def test_a_batch_without_clips_is_refused() -> None:
    with pytest.raises(ValueError, match="no clips"):
        small()(torch.zeros(0, 9, 17, 2))
