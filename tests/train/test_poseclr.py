"""PoseCLR: loss, bank and slow encoder by hand; encoders of every network; encoders in files."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional  # noqa: E402

from lithepose.lifters import convert_state_dict, create_lifter  # noqa: E402
from lithepose.lifters.weights import load_lifter, save_weights  # noqa: E402
from lithepose.train.poseclr import (  # noqa: E402
    HEADS,
    PoseCLR,
    PoseCLRSettings,
    contrastive_encoder,
    embed,
    encoder_state,
    encoder_weights,
    info_nce,
    retrieval,
    save_encoder,
    take_over,
)

# Small networks of every family that has a contrastive head: overrides, frames, channels.
SMALL: dict[str, tuple[dict[str, Any], int]] = {
    "htnet": ({"channels": 24, "hidden": 16, "layers": 1}, 3),
    "mixste": ({"frames": 3, "channels": 16, "heads": 2, "hidden": 16, "layers": 1}, 3),
    "motionagformer": ({"frames": 9, "channels": 16, "layers": 1}, 9),
    "motionbert": ({"frames": 3, "in_channels": 2, "channels": 16, "heads": 2, "layers": 1}, 3),
    "nanohtnet": (
        {"frames": 9, "kept_frames": 3, "channels": 48, "hidden": 16, "layers": 1},
        9,
    ),
}
QUIET: dict[str, Any] = {"drop_path": (0.0, 0.0), "dropout": 0.0, "attention_dropout": 0.0}


def small(network: str, **more: Any) -> Any:
    torch.manual_seed(0)
    return create_lifter(network, **SMALL[network][0], **more)


def windows(count: int, frames: int = 1, channels: int = 2, views: int = 2, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, views, frames, 17, channels, generator=generator)


def small_poseclr(**settings: Any) -> PoseCLR:
    return PoseCLR(small("htnet", **QUIET), PoseCLRSettings(feature_dim=2, **settings))


def instants(*numbers: int) -> Any:
    return torch.tensor(numbers, dtype=torch.int32)


# --- loss -------------------------------------------------------------------------------------


def test_the_loss_by_hand():
    anchor = torch.tensor([[1.0, 0.0]])
    positive = torch.tensor([[[0.6, 0.8]]])
    bank = torch.tensor([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
    negative = torch.tensor([[True, True, False]])
    # Similarities 0.6 and 1, 0 over τ = 1/2: e^1.2 beside e^2 and e^0.
    expected = -math.log(math.exp(1.2) / (math.exp(1.2) + math.exp(2) + 1))
    assert float(info_nce(anchor, positive, bank, negative, 0.5)) == pytest.approx(expected)


def test_several_positives_are_averaged_each_by_itself():
    generator = torch.Generator().manual_seed(1)
    anchors, bank = torch.randn(3, 4, generator=generator), torch.randn(7, 4, generator=generator)
    positives = torch.randn(3, 2, 4, generator=generator)
    negative = torch.ones(3, 7, dtype=torch.bool)
    one_by_one = [
        info_nce(anchors[i : i + 1], positives[i : i + 1, p : p + 1], bank, negative[:1], 0.3)
        for i in range(3)
        for p in range(2)
    ]
    both = info_nce(anchors, positives, bank, negative, 0.3)
    torch.testing.assert_close(both, torch.stack(one_by_one).mean())


def test_with_equal_similarities_the_loss_is_the_logarithm_of_how_many_there_are():
    same = functional.normalize(torch.ones(1, 8), dim=-1)
    negative = torch.ones(4, 100, dtype=torch.bool)
    anchors, positives, bank = same.expand(4, 8), same.expand(4, 3, 8), same.expand(100, 8)
    assert float(info_nce(anchors, positives, bank, negative, 0.07)) == pytest.approx(math.log(101))
    # So it is at a temperature at which nothing differs.
    generator = torch.Generator().manual_seed(2)
    bank = functional.normalize(torch.randn(100, 8, generator=generator), dim=-1)
    assert float(info_nce(anchors, positives, bank, negative, 1e6)) == pytest.approx(
        math.log(101), abs=1e-4
    )


def test_without_negatives_the_loss_is_zero_and_has_a_gradient():
    anchors = torch.ones(2, 3, requires_grad=True)
    loss = info_nce(anchors, torch.ones(2, 1, 3), torch.ones(5, 3), torch.zeros(2, 5).bool(), 0.5)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(anchors.grad).all()


# --- bank and slow encoder --------------------------------------------------------------------


def test_the_bank_is_a_ring_whose_oldest_rows_give_way():
    network = small_poseclr(bank=5)
    seen = []
    for step in range(4):
        views = windows(2, seed=step)
        network(views, instants(10 * step, 10 * step + 1))
        seen.append(embed(network.slow_encoder, views[:, 1]))
    # Steps 0 to 3 wrote rows 0 1, 2 3, 4 0, 1 2.
    assert network.bank_instants.tolist() == [21, 30, 31, 11, 20]
    assert int(network.next_row) == 3
    torch.testing.assert_close(network.bank[[1, 2]], seen[3])
    torch.testing.assert_close(network.bank.norm(dim=-1), torch.ones(5))


def test_all_positives_of_an_instant_go_into_the_bank_under_its_number():
    network = small_poseclr(bank=6)
    network(windows(2, views=3), instants(7, 9))
    assert network.bank_instants.tolist() == [7, 7, 9, 9, -1, -1]


def test_views_of_the_anchors_own_instant_are_no_negatives():
    network = small_poseclr(bank=8).eval()
    views = windows(1)
    network.bank[:2] = embed(network.slow_encoder, windows(2, seed=5)[:, 0])
    network.bank_instants[:2] = instants(40, 44)

    def loss(instant: int, near: int = 0) -> float:
        object.__setattr__(network.settings, "near_frames", near)
        with torch.no_grad():
            return float(network(views, instants(instant)))

    both, one, other = loss(99), loss(40), loss(44)
    assert 0 < one < both
    assert 0 < other < both
    assert loss(42) == pytest.approx(both)
    assert loss(42, near=1) == pytest.approx(both)
    assert loss(42, near=2) == 0
    assert loss(43, near=1) == pytest.approx(other)
    # Each row alone, and both: x / (x + n) multiply no further than by hand.
    assert math.expm1(both) == pytest.approx(math.expm1(one) + math.expm1(other), rel=1e-4)


def test_empty_rows_of_the_bank_count_for_nothing():
    network = small_poseclr(bank=100)
    assert float(network(windows(4), instants(0, 1, 2, 3)).detach()) == 0
    first = float(network(windows(4, seed=1), instants(4, 5, 6, 7)).detach())
    assert 0 < first < math.log(1 + 4 * math.e**2)


def test_the_slow_encoder_follows_by_the_momentum():
    network = small_poseclr(bank=4, momentum=0.75)
    with torch.no_grad():
        for parameter in network.encoder.parameters():
            parameter.add_(1.0)
    fast = {n: p.detach().clone() for n, p in network.encoder.named_parameters()}
    network(windows(1), instants(0))
    slow = dict(network.slow_encoder.named_buffers())
    for name, value in fast.items():
        torch.testing.assert_close(slow[name], value - 0.75)  # 3/4 of value - 1, 1/4 of value
    network(windows(1), instants(1))
    for name, value in fast.items():
        torch.testing.assert_close(slow[name], value - 0.75**2)


def test_the_gradient_reaches_the_encoder_alone():
    network = small_poseclr(bank=16)
    assert not list(network.slow_encoder.parameters())
    assert set(dict(network.named_parameters())) == {
        f"encoder.{n}" for n, _ in network.encoder.named_parameters()
    }
    network(windows(8), torch.arange(8, dtype=torch.int32))
    network(windows(8, seed=1), torch.arange(8, 16, dtype=torch.int32)).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().max() > 0, name


def test_at_first_both_encoders_are_the_same_and_the_slow_one_drops_nothing():
    network = PoseCLR(small("htnet", dropout=0.9), PoseCLRSettings(feature_dim=2, bank=4))
    assert network.encoder.training
    assert not network.slow_encoder.training
    x = windows(3)[:, 0]
    first, again = embed(network.slow_encoder, x), embed(network.slow_encoder, x)
    torch.testing.assert_close(first, again)
    torch.testing.assert_close(first, embed(network.eval().encoder, x))


def test_evaluation_changes_nothing():
    network = small_poseclr(bank=4).eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    network(windows(2), instants(0, 1))
    for name, value in network.state_dict().items():
        assert torch.equal(value, before[name]), name


def test_the_state_holds_all_that_changes():
    first, second = small_poseclr(bank=6), small_poseclr(bank=6)
    first(windows(2), instants(0, 1))
    with torch.no_grad():
        first.encoder.position.add_(0.1)  # type: ignore[union-attr, operator]
    second.load_state_dict(first.state_dict())
    views = windows(2, seed=3)
    assert torch.equal(first(views, instants(2, 3)), second(views, instants(2, 3)))
    for name, value in first.state_dict().items():
        assert torch.equal(value, second.state_dict()[name]), name


def test_processes_share_what_goes_into_the_bank(tmp_path: Path):
    alone, one_of_one = small_poseclr(bank=6), small_poseclr(bank=6)
    alone(windows(2), instants(3, 4))
    torch.distributed.init_process_group(
        "gloo", init_method=f"file://{tmp_path / 'meeting'}", rank=0, world_size=1
    )
    try:
        one_of_one(windows(2), instants(3, 4))
    finally:
        torch.distributed.destroy_process_group()
    assert torch.equal(alone.bank, one_of_one.bank)
    assert torch.equal(alone.bank_instants, one_of_one.bank_instants)


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="8 positives and the bank 6 rows"):
        small_poseclr(bank=6)(windows(4, views=3), instants(0, 1, 2, 3))
    with pytest.raises(ValueError, match="needs two views"):
        small_poseclr(bank=6)(windows(4, views=1), instants(0, 1, 2, 3))
    for name, value in (
        ("bank", 0),
        ("momentum", 1.0),
        ("temperature", 0.0),
        ("views", 1),
        ("near_frames", -1),
        ("feature_dim", 0),
    ):
        with pytest.raises(ValueError, match=f"{name} = "):
            PoseCLRSettings(**{name: value})


def test_the_guide_has_the_settings_as_they_are():
    guide = Path(__file__).parents[2] / "docs" / "guides" / "pretraining.md"
    text = guide.read_text(encoding="utf-8")
    for field in fields(PoseCLRSettings):
        value = "all, or 2 virtual ones" if field.default is None else field.default
        assert f"| `{field.name}` | {value} |" in text


# --- encoders ---------------------------------------------------------------------------------


@pytest.mark.parametrize("network", HEADS)
def test_every_encoder_is_its_lifter_but_for_the_head(network: str):
    lifter = small(network)
    body = {n: t for n, t in lifter.state_dict().items() if not n.startswith("head.")}
    channels, frames = lifter.config.in_channels, SMALL[network][1]
    encoder = contrastive_encoder(small(network), 5).eval()
    found = {n: t for n, t in encoder.state_dict().items() if not n.startswith("head.")}
    assert body.keys() == found.keys()
    x = windows(2, frames, channels)[:, 0]
    features = encoder(x)
    assert features.shape[::2] == (2, 17)
    assert features.shape[1:] in {(1, 17, 5), (frames, 17, 5)}
    vectors = embed(encoder, x)
    assert vectors.shape == (2, 85)
    torch.testing.assert_close(vectors.norm(dim=-1), torch.ones(2))
    by_hand = features.mean(1).flatten(1)
    torch.testing.assert_close(vectors, by_hand / by_hand.norm(dim=-1, keepdim=True))


def test_a_network_without_contrastive_head_says_which_have_one():
    with pytest.raises(ValueError, match=r"no contrastive head for 'ampose'.*nanohtnet"):
        contrastive_encoder(create_lifter("ampose", channels=24), 8)


def test_the_recorded_contrastive_network_is_reproduced(shared: Callable[[str], Path]):
    with np.load(shared("golden/nanohtnet-f27-k9-pretrain.npz"), allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    meta = json.loads(str(arrays["meta"]))
    state = {
        name.removeprefix("state/"): torch.from_numpy(array)
        for name, array in arrays.items()
        if name.startswith("state/")
    }
    config, ours = convert_state_dict("nanohtnet", state, **meta["arguments"])
    encoder = contrastive_encoder(
        create_lifter("nanohtnet", **{**config, "pretrain": False}), config["feature_dim"]
    ).eval()
    encoder.load_state_dict(ours)
    with torch.no_grad():
        x = torch.from_numpy(arrays["input"])
        features, vectors = encoder(x), embed(encoder, x)
    expected = torch.from_numpy(arrays["output"])
    assert expected.shape[1:] == (1, 17, 8)
    torch.testing.assert_close(features, expected, atol=meta["tolerance"]["max_abs"], rtol=0)
    flat = expected.flatten(1)
    torch.testing.assert_close(vectors, flat / flat.norm(dim=-1, keepdim=True), atol=1e-4, rtol=0)


class AsGiven(torch.nn.Module):
    """An encoder that embeds a window as its own numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.ones(()))

    def forward(self, x: Any) -> Any:
        return x * self.scale


def test_retrieval_counts_views_that_find_each_other():
    # 1 and 2 find each other's views, 0 and 3 their own; all own ones are among the best five.
    pose = torch.eye(4)[:, None, None, None, :].expand(4, 1, 1, 17, 4)
    second = pose[[0, 2, 1, 3]]
    scores = retrieval(AsGiven(), torch.cat([pose, second], 1))
    assert scores == pytest.approx(
        {"retrieval": 0.5, "retrieval_5": 1.0, "alike": 0.5, "unlike": 2 / 12}
    )


def test_a_collapsed_encoder_finds_nothing():
    scores = retrieval(AsGiven(), torch.ones(10, 2, 1, 17, 3))
    assert scores["retrieval"] == scores["retrieval_5"] == 0
    assert scores["alike"] == scores["unlike"] == pytest.approx(1)


# --- encoders in files ------------------------------------------------------------------------


@pytest.fixture
def encoder_file(tmp_path: Path) -> tuple[Path, PoseCLR]:
    network = PoseCLR(small("nanohtnet"), PoseCLRSettings(feature_dim=2, bank=4))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.5)
    path = tmp_path / "encoder.safetensors"
    save_encoder(path, small("nanohtnet"), network.state_dict(), {"lifter": "nanohtnet"})
    return path, network


def test_an_encoder_is_taken_over_exactly_and_the_head_left(
    encoder_file: tuple[Path, PoseCLR],
):
    path, network = encoder_file
    lifter = small("nanohtnet", temporal_dropout=0.0)  # a setting without weights
    head = {n: p.clone() for n, p in lifter.head.state_dict().items()}
    assert take_over(lifter, path) == {"lifter": "nanohtnet", "part": "encoder"}
    taught = dict(network.encoder.named_parameters())
    for name, parameter in lifter.named_parameters():
        if not name.startswith("head."):
            assert torch.equal(parameter, taught[name]), name
    for name, value in lifter.head.state_dict().items():
        assert torch.equal(value, head[name])
    state = encoder_weights(path)
    assert state.keys() == encoder_state(network.state_dict()).keys()
    assert not [name for name in state if name.startswith("head")]


def test_an_encoder_of_another_network_or_size_is_refused(encoder_file: tuple[Path, PoseCLR]):
    path, _ = encoder_file
    with pytest.raises(ValueError, match="for the network 'nanohtnet', not for 'htnet'"):
        take_over(small("htnet"), path)
    wider = create_lifter("nanohtnet", **{**SMALL["nanohtnet"][0], "channels": 96, "frames": 27})
    with pytest.raises(ValueError, match=r"frames: 9 in the file, 27 in the model; channels: 48"):
        take_over(wider, path)
    with pytest.raises(ValueError, match="does not fit"):
        load_lifter(path)  # without a head it is no lifter


def test_a_whole_lifter_is_no_encoder(tmp_path: Path):
    save_weights(tmp_path / "whole.safetensors", small("nanohtnet"))
    with pytest.raises(ValueError, match="holds a whole lifter"):
        take_over(small("nanohtnet"), tmp_path / "whole.safetensors")
    with pytest.raises(FileNotFoundError, match="no weights file at"):
        encoder_weights(tmp_path / "none.safetensors")
