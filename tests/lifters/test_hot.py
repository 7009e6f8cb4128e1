"""Hourglass: which frames are kept, how all come back, around known and unknown networks."""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.lifters import (  # noqa: E402
    LIFTERS,
    convert_state_dict,
    create_lifter,
    hot,
    mixste,
    weights,
)
from lithepose.lifters.hot import (  # noqa: E402
    AttentionRecoverer,
    DensityPruner,
    Hourglass,
    PoseInterpolation,
    Pruner,
    UniformPruner,
)
from lithepose.lifters.weights import authors_name  # noqa: E402

RECORDED = Path(__file__).parent / "recorded"
GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "prune_your_own.md"
HOST = {"frames": 9, "layers": 3, "channels": 16, "heads": 4, "hidden": 24}
SMALL = {"host": "mixste", "host_settings": HOST, "prune": ((1, 5),), "heads": 4}


def clips(batch: int = 2, frames: int = 9) -> Any:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, frames, 17, 2, generator=generator).cumsum(1) * 0.1


def small(**settings: Any) -> Any:
    torch.manual_seed(0)
    return create_lifter("hot", **{**SMALL, **settings}).eval()


def choose(pruner: Pruner, features: Any, centre: int = 0, noise: Any = None) -> Any:
    return pruner(features, features, torch.full((len(features),), centre), noise)


# --- agreement with the authors ---------------------------------------------------------------


@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "hot_mixste-t27-d32-l4-n2-k9",
        "hot_motionagformer-t27-d32-l4-n2-k9",
        "hot_motionbert-t27-d32-l3-n1-k9",
        "tpc_mhformer-t45-d32-n1-k15",
        "tpc_mixste-t27-d32-l4-n3-k7",
        "tpc_select-n243-c64-k81",
        "tpc_select-n27-c32-k9",
        "tpc_select_center-n81-c32-k27",
    ],
)
def test_agrees_with_the_authors_networks(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/{name}.npz")))


@pytest.mark.slow
@pytest.mark.shared
@pytest.mark.parametrize(
    "name",
    [
        "hot_mixste-t243-n3-k81",
        "hot_motionagformer-t243-n7-k81",
        "hot_motionbert-t243-n1-k81",
        "tpc_mhformer-t351-n1-k117",
        "tpc_mixste-t243-n7-k61",
    ],
)
def test_agrees_with_the_authors_networks_of_full_size(
    name: str, parity: ModuleType, shared: Callable[[str], Path]
) -> None:
    parity.check(parity.read_recording(shared(f"golden/full-{name}.npz")))


@pytest.mark.parametrize("case", ["attention", "interpolation", "none"])
def test_gives_the_recorded_output(case: str, set_weights: Callable[[Any], None]) -> None:
    # Recorded from this wrapper when it agreed with all of the authors' recordings.
    recorded = np.load(RECORDED / "hot.npz")
    model = small(recoverer=case)
    set_weights(model)
    with torch.inference_mode():
        lifted = model.lift(torch.from_numpy(recorded["input"]))
    np.testing.assert_array_equal(lifted.kept[0].numpy(), recorded[f"{case}.kept"])
    np.testing.assert_allclose(lifted.poses.numpy(), recorded[f"{case}.output"], atol=1e-5)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("hot-mixste-243", 35_000_323),
        ("hot-motionagformer-243", 11_828_031),
        ("hot-motionbert-243", 16_347_661),
        ("tpc-mhformer-351", 31_516_125),
        ("tpc-mixste-243", 33_783_811),
    ],
)
def test_has_as_many_parameters_as_the_authors_network(name: str, parameters: int) -> None:
    with torch.device("meta"):
        model = create_lifter(name)
    assert sum(parameter.numel() for parameter in model.parameters()) == parameters


def test_rows_give_all_frames_or_the_centre() -> None:
    rows = [row for row in LIFTERS.values() if row.family == "hot"]
    assert len(rows) == 5
    for row in rows:
        centre_only = row.settings["recoverer"] == "none"
        assert (row.frames_out == 1, row.which_frames == "centre") == (centre_only, centre_only)


# --- which frames are kept --------------------------------------------------------------------


def test_density_and_score_of_four_features_by_hand() -> None:
    # On a line at 0, 1, 1.5 and 4, width 1. Squared distances to the nearest other: 1, 0.25, 0.25,
    # 6.25. Density exp(-half of that): 0.6065, 0.8825, 0.8825, 0.0439. The noise makes the third
    # denser than the second. Distance to a denser one: 1, 0.5, none, so the largest of all, 4, and
    # 2.5.
    features = torch.tensor([[[0.0], [1.0], [1.5], [4.0]]])
    noise = torch.tensor([0.0, 0.0, 1.0, 0.0])
    density, score = hot.density_peaks(features, noise)
    expected = np.exp([-0.5, -0.125, -0.125, -3.125])
    np.testing.assert_allclose(density[0], expected, atol=2e-6)
    assert density[0, 2] > density[0, 1]
    np.testing.assert_allclose(score[0], expected * [1.0, 0.5, 4.0, 2.5], atol=1e-5)
    assert choose(DensityPruner(2), features, noise=noise).tolist() == [[0, 2]]


def test_one_frame_of_each_crowd_is_kept() -> None:
    generator = torch.Generator().manual_seed(0)
    middles = torch.randn(3, 8, generator=generator)
    crowds = torch.tensor([0] * 5 + [1] * 7 + [2] * 4)
    features = middles[crowds] + 0.01 * torch.randn(16, 8, generator=generator)
    kept = choose(DensityPruner(3), features.unsqueeze(0))
    assert crowds[kept[0]].tolist() == [0, 1, 2]


def test_distances_are_exactly_symmetric_and_zero_on_the_diagonal() -> None:
    features = torch.randn(2, 60, 48, generator=torch.Generator().manual_seed(0)) + 30.0
    squared = hot.squared_distances(features)
    assert torch.equal(squared, squared.transpose(1, 2))
    assert not squared.diagonal(dim1=1, dim2=2).any()
    exact = (features.double().unsqueeze(1) - features.double().unsqueeze(2)).square().mean(-1)
    torch.testing.assert_close(squared.double(), exact, atol=1e-6, rtol=1e-6)


def test_neighbours_differ_in_the_noise_that_breaks_ties() -> None:
    noise = hot.even_noise(351)
    assert bool(((noise >= 0) & (noise < 1)).all())
    assert noise.diff().abs().min() > 0.38


def test_a_clip_keeps_the_same_frames_in_every_run_and_in_any_batch() -> None:
    model, batch = small().train(), clips(6)
    with torch.no_grad():
        first, again = model.lift(batch).kept[0], model.lift(batch).kept[0]
        alone = model.lift(batch[4:5]).kept[0]
    assert torch.equal(first, again)
    assert torch.equal(first[4:5], alone)


def test_random_noise_changes_the_choice_and_is_drawn_by_itself_in_training_only() -> None:
    # Pairs of equal frames: which of the two is kept is chance alone.
    features = torch.randn(1, 20, 8, generator=torch.Generator().manual_seed(0))
    features = features.repeat_interleave(2, dim=1)
    plain, random = DensityPruner(20), DensityPruner(20, random_ties=True)
    fixed = choose(plain.train(), features)
    assert torch.equal(choose(random.eval(), features), fixed)
    torch.manual_seed(0)
    draws = {tuple(choose(random.train(), features)[0].tolist()) for _ in range(5)}
    given = {tuple(choose(plain, features, noise=torch.rand(1, 40))[0].tolist()) for _ in range(5)}
    assert len(draws) > 1
    assert len(given) > 1
    assert all(len({i // 2 for i in kept}) == 20 for kept in draws | given)


@pytest.mark.parametrize("pruner", [DensityPruner, UniformPruner])
@pytest.mark.parametrize("kept", [1, 2, 5, 9])
def test_the_centre_is_kept_where_it_must_be_and_frames_rise(
    pruner: type[Pruner], kept: int
) -> None:
    features = torch.randn(3, 9, 4, generator=torch.Generator().manual_seed(2))
    for centre in range(9):
        chosen = choose(pruner(kept, keep_centre=True), features, centre)
        assert chosen.shape == (3, kept)
        assert bool((chosen == centre).any(1).all())
        assert bool((chosen.diff(dim=1) > 0).all())
        assert chosen.min() >= 0
        assert chosen.max() < 9


def test_even_steps_take_both_ends_and_the_middle() -> None:
    features = torch.zeros(2, 9, 4)
    assert choose(UniformPruner(5), features).tolist() == [[0, 2, 4, 6, 8]] * 2
    assert choose(UniformPruner(4), features).tolist() == [[0, 3, 5, 8]] * 2  # 2.67, 5.33
    assert choose(UniformPruner(3), torch.zeros(1, 243, 4)).tolist() == [[0, 121, 242]]


# --- how the frames come back -----------------------------------------------------------------


def test_interpolated_poses_by_hand() -> None:
    # Kept are frames 1, 3 and 4 of 6, at 10, 30 and 0.
    poses = torch.tensor([10.0, 30.0, 0.0]).reshape(1, 3, 1, 1).expand(1, 3, 17, 3)
    all_frames = PoseInterpolation().recover_poses(poses, torch.tensor([[1, 3, 4]]), 6)
    assert all_frames.shape == (1, 6, 17, 3)
    assert all_frames[0, :, 5, 2].tolist() == [10.0, 10.0, 20.0, 30.0, 0.0, 0.0]
    single = PoseInterpolation().recover_poses(poses[:, :1], torch.tensor([[2]]), 4)
    assert torch.equal(single, poses[:, :1].expand(1, 4, 17, 3))


def test_attention_brings_back_each_joint_by_itself() -> None:
    torch.manual_seed(0)
    recoverer = AttentionRecoverer(8, frames=6, heads=2)
    torch.nn.init.normal_(recoverer.frame_token)
    tokens, kept = torch.randn(2, 3, 5, 8), torch.tensor([[0, 2, 4]] * 2)
    together = recoverer.recover_tokens(tokens, kept, 6)
    assert together.shape == (2, 6, 5, 8)
    # Tokens without an axis of joints are those of a single joint.
    alone = recoverer.recover_tokens(tokens[:, :, 3], kept, 6)
    torch.testing.assert_close(alone, together[:, :, 3])
    # By hand, for one query: softmax of scaled products per head, over the kept frames.
    q = recoverer.query(recoverer.frame_token[0, 4])[:4]
    k, v = (layer(tokens[1, :, 3])[:, :4] for layer in (recoverer.key, recoverer.value))
    head = torch.softmax(k @ q / 2.0, dim=0) @ v
    recoverer.project = torch.nn.Identity()  # shows the heads
    shown = recoverer.recover_tokens(tokens, kept, 6)[1, 4, 3] - recoverer.frame_token[0, 4]
    torch.testing.assert_close(shown[:4], head)
    with pytest.raises(ValueError, match="built for clips of 6 frames, not 9"):
        recoverer.recover_tokens(tokens, kept, 9)


# --- the wrapper ------------------------------------------------------------------------------


class Recorder(torch.nn.Module):
    """A network the library has never seen: one token per frame, plain layers; it notes how many
    frames each block sees."""

    token_dim = 12

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.enter = torch.nn.Linear(34, 12)
        self.blocks = torch.nn.ModuleList(torch.nn.Linear(12, 12) for _ in range(4))
        self.norm = torch.nn.LayerNorm(12)
        self.leave = torch.nn.Linear(12, 51)
        self.seen: list[int] = []

    def embed(self, joints_2d: Any) -> Any:
        self.seen = []
        return self.enter(joints_2d.flatten(2))

    def run_block(self, index: int, tokens: Any) -> Any:
        self.seen.append(tokens.shape[1])
        return tokens + torch.tanh(self.blocks[index](tokens))

    def finish(self, tokens: Any) -> Any:
        return self.norm(tokens)

    def head(self, tokens: Any) -> Any:
        return self.leave(tokens).unflatten(-1, (17, 3))

    def forward(self, joints_2d: Any) -> Any:
        tokens = self.embed(joints_2d)
        for index in range(4):
            tokens = self.run_block(index, tokens)
        return self.head(self.finish(tokens))


def test_a_network_the_library_has_never_seen_is_pruned_and_recovered() -> None:
    host = Recorder()
    model = Hourglass(
        host, {2: DensityPruner(5)}, AttentionRecoverer(12, 9, heads=3), slot_positions=True
    )
    lifted = model.lift(clips())
    assert host.seen == [9, 9, 5, 5]
    assert lifted.poses.shape == (2, 9, 17, 3)
    assert torch.equal(model(clips()), lifted.poses)
    # Zero at the start: the queries, which all ask the same, and the positions.
    with torch.no_grad():
        for parameter in model.parameters():
            if not parameter.any():
                parameter.normal_()
    model(clips()).square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    # A bias of the keys moves all products of a query alike, which the softmax does not see.
    assert set(without) <= {"recoverer.key.bias"}


def test_the_network_of_the_guide_runs_and_prints_what_the_guide_says() -> None:
    text = GUIDE.read_text(encoding="utf-8")
    program = "\n".join(re.findall(r"```python\n(.*?)```", text, flags=re.S))
    expected = re.findall(r"print\(.*\)  # (.*)", program)
    printed: list[str] = []
    exec(program, {"print": lambda value: printed.append(str(value)), "__name__": "guide"})
    assert printed == expected
    assert len(printed) == 5


@pytest.mark.parametrize("kind", ["mixste", "unseen"])
def test_keeping_all_frames_gives_what_the_host_gives(kind: str) -> None:
    host: Any = Recorder() if kind == "unseen" else create_lifter("mixste", **HOST).eval()
    whole = Hourglass(host, {1: UniformPruner(9)}, PoseInterpolation())
    centre = Hourglass(host, {1: UniformPruner(5, keep_centre=True)})
    with torch.inference_mode():
        expected = host(clips())
        torch.testing.assert_close(whole(clips()), expected)
        assert torch.equal(Hourglass(host, {})(clips()), expected[:, 4:5])
        if kind == "unseen":  # its frames do not know each other, so leaving some out is harmless
            torch.testing.assert_close(centre(clips()), expected[:, 4:5])
        assert centre(clips()).shape == (2, 1, 17, 3)


def test_several_pruners_make_a_pyramid_of_frames_of_the_whole_clip() -> None:
    host = Recorder()
    pruners = {
        1: DensityPruner(7, keep_centre=True),
        2: UniformPruner(4, keep_centre=True),
        3: DensityPruner(2, keep_centre=True),
    }
    model = Hourglass(host, pruners)
    with torch.inference_mode():
        lifted = model.lift(clips(5))
        assert host.seen == [9, 7, 4, 2]
        for earlier, later in itertools.pairwise(lifted.kept):
            for a, b in zip(earlier.tolist(), later.tolist(), strict=True):
                assert set(b) <= set(a)
                assert 4 in b
        # The poses belong to the frames that are named, since these frames see no others.
        torch.testing.assert_close(lifted.poses, hot.take_frames(host(clips(5)), lifted.kept[-1]))
        torch.testing.assert_close(model(clips(5)), host(clips(5))[:, 4:5])
        again = model.lift(clips(5), kept=lifted.kept)
        assert torch.equal(again.poses, lifted.poses)
        noise = torch.rand(5, 9, generator=torch.Generator().manual_seed(5))
        assert model.lift(clips(5), noise=noise).poses.shape == (5, 2, 17, 3)


def test_given_frames_replace_the_choice_and_are_checked() -> None:
    model = small()
    frames = torch.tensor([[0, 1, 2, 3, 8], [1, 2, 4, 6, 7]])
    with torch.inference_mode():
        assert torch.equal(model.lift(clips(), kept=[frames]).kept[0], frames)
        for wrong, message in (
            ([frames, frames], "2 tensors for 1 pruners"),
            ([frames[:1]], r"must be \(2, 5\), clips and frames, not \(1, 5\)"),
            ([frames.flip(1)], "must rise"),
            ([frames + 1], "among those left of the 9 frames"),
        ):
            with pytest.raises(ValueError, match=message):
                model.lift(clips(), kept=wrong)
        centre_only = small(recoverer="none")
        with pytest.raises(ValueError, match="must include the centre, 4"):
            centre_only.lift(clips(), kept=[frames])


def test_pruners_that_do_not_fit_are_refused() -> None:
    host = Recorder()
    for pruners, recoverer, message in (
        ({4: DensityPruner(3)}, None, "no block 4 to prune before: the host has 0 to 3"),
        (
            {1: DensityPruner(3), 2: DensityPruner(5)},
            PoseInterpolation(),
            r"5 frames .* where only 3 are left",
        ),
        ({1: DensityPruner(3)}, None, "pass keep_centre=True"),
    ):
        with pytest.raises(ValueError, match=message):
            Hourglass(host, pruners, recoverer)
    model = Hourglass(host, {1: DensityPruner(10)}, PoseInterpolation())
    with pytest.raises(ValueError, match=r"10 frames .* the clip has 9"):
        model(clips())
    with pytest.raises(ValueError, match="at least one frame"):
        DensityPruner(0)
    with pytest.raises(ValueError, match=r"\(12\) must be a multiple of heads: 5"):
        AttentionRecoverer(12, 9, heads=5)


# --- the lifter of the table ------------------------------------------------------------------


@pytest.mark.parametrize("recoverer", ["attention", "interpolation", "none"])
@pytest.mark.parametrize("pruner", ["density", "uniform"])
def test_a_saved_lifter_comes_back(pruner: str, recoverer: str, tmp_path: Path) -> None:
    model = small(pruner=pruner, recoverer=recoverer, prune=((1, 7), (2, 5)))
    weights.save_weights(tmp_path / "a.safetensors", model)
    loaded = weights.load_lifter(tmp_path / "a.safetensors")
    assert loaded.config == model.config
    with torch.inference_mode():
        poses = model(clips())
        assert torch.equal(loaded(clips()), poses)
    assert poses.shape == (2, 1 if recoverer == "none" else 9, 17, 3)


def test_under_bfloat16_autocast_poses_are_float32_and_near() -> None:
    model = small()
    expected = model.lift(clips())
    with torch.autocast("cpu", torch.bfloat16):
        lifted = model.lift(clips(), kept=expected.kept)
        assert model(clips()).dtype == torch.float32
    assert lifted.poses.dtype == torch.float32
    assert (lifted.poses - expected.poses).abs().max() < 0.05 * expected.poses.abs().max()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"host": "nanohtnet"}, "no host named 'nanohtnet'; known: mhformer, mixste"),
        ({"prune": ()}, "pairs"),
        ({"prune": ((2, 5), (1, 3))}, "rising blocks"),
        ({"pruner": "best"}, "pruner must be one of .*'best'"),
        ({"recoverer": "magic"}, "recoverer must be one of .*'magic'"),
        ({"heads": 0}, "heads must be at least 1"),
    ],
)
def test_config_says_what_it_allows(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hot.HourglassConfig(**settings)


def authors_state(model: Any) -> dict[str, Any]:
    """A checkpoint with the authors' names around MixSTE, from one of ours."""
    names = {f"host.{ours}": theirs for ours, theirs in mixste.NAMES.items()}
    names |= {"slot_positions.1": "pos_embed_token", **hot.RECOVERER_NAMES}
    return {authors_name(k, names): v for k, v in model.state_dict().items()}


ARGUMENTS = {"frames": 9, "depth": 3, "channel": 16, "num_heads": 4, "d_hid": 24,
             "layer_index": 1, "token_num": 5}  # fmt: skip


@pytest.mark.parametrize("recoverer", ["attention", "none"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_authors_tensors_come_back_as_ours(recoverer: str, prefix: str) -> None:
    model = small(recoverer=recoverer)
    state = {prefix + name: tensor for name, tensor in authors_state(model).items()}
    config, converted = convert_state_dict("hot", state, host="mixste", **ARGUMENTS)
    built: Any = create_lifter("hot", **config)
    assert built.config.recoverer == recoverer
    assert built.config.prune == ((1, 5),)
    assert converted.keys() == model.state_dict().keys()
    built.load_state_dict(converted)
    for name, tensor in model.state_dict().items():
        assert torch.equal(built.state_dict()[name], tensor), name


def test_missing_tensors_unknown_hosts_and_unpublished_pairs_are_named() -> None:
    state = authors_state(small())
    del state["cross_attention.proj.bias"]
    with pytest.raises(ValueError, match=r"missing: cross_attention\.proj\.bias"):
        convert_state_dict("hot", state, host="mixste", **ARGUMENTS)
    with pytest.raises(ValueError, match="no host named 'htnet'; known: mhformer"):
        convert_state_dict("hot", state, host="htnet")
    with pytest.raises(ValueError, match="no pruned motionbert without recovering is published"):
        convert_state_dict("hot", {}, host="motionbert")


@pytest.mark.slow
@pytest.mark.parametrize("recoverer", ["attention", "interpolation", "none"])
def test_an_exported_file_agrees_with_the_network(recoverer: str, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    from lithepose.deploy.export import export_onnx

    host = {**HOST, "layers": 2}  # the exporter takes seconds for each block
    model = small(recoverer=recoverer, host_settings=host)
    export_onnx(model, tmp_path / "a.onnx", clips(3))
