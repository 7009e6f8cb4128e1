"""What networks cost: counts against closed formulas, recorded sizes and publications."""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.lifters import LIFTERS, create_lifter
from lithepose.lifters.default import SHIPPED
from lithepose.lifters.table import recorded_sizes

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lithepose.deploy.cost import (  # noqa: E402  # it imports torch
    CONVENTIONS,
    PUBLISHED,
    count_cost,
    lifter_cost,
    pose_network_cost,
)

cost_of = cache(lifter_cost)  # once for all tests of a network


class Tiny(nn.Module):
    """A linear layer, fused attention over frames, a convolution, a product with a bare matrix."""

    def __init__(self) -> None:
        super().__init__()
        self.qkv = nn.Linear(34, 3 * 8)
        self.norm = nn.LayerNorm(8)
        self.convolution = nn.Conv1d(8, 8, 3, padding=1, groups=2)
        self.edges = nn.Parameter(torch.zeros(5, 5))

    def forward(self, x):  # (B, 5, 17, 2)
        q, k, v = self.qkv(x.flatten(2)).unflatten(-1, (3, 2, 4)).permute(2, 0, 3, 1, 4)
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, 2 heads, 5, 4)
        mixed = self.norm(mixed.transpose(1, 2).flatten(2))  # (B, 5, 8)
        mixed = self.convolution(mixed.transpose(1, 2)).transpose(1, 2)
        return torch.matmul(self.edges, mixed)


def test_counts_follow_the_closed_formula() -> None:
    cost = count_cost(Tiny(), (5, 17, 2))
    linear = 5 * 34 * 24
    attention = 2 * (5 * 5 * 8)  # queries with keys, weights with values
    convolution = 5 * 8 * (8 // 2) * 3
    graph = 5 * 5 * 8
    assert cost.convolution_biases == 5 * 8
    assert cost.rectified == 0
    assert cost.layer_macs == linear + convolution
    assert cost.macs == linear + attention + convolution + graph
    assert cost.flops == 2 * cost.macs
    assert cost.normalised == 5 * 8
    layers = (34 * 24 + 24) + (8 + 8) + (8 * 4 * 3 + 8)
    assert cost.layer_parameters == layers
    assert cost.parameters == layers + 25


def test_encoder_layers_of_pytorch_are_counted_whole_in_evaluation() -> None:
    # Fused in evaluation, a layer hides its parts from every counter.
    layer = nn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=16, batch_first=True)
    cost = count_cost(nn.Sequential(nn.Linear(4, 8), layer), (5, 4))
    attention = 4 * 5 * 8 * 8 + 2 * 5 * 5 * 8  # in and out; queries with keys, weights with values
    assert cost.macs == 5 * 4 * 8 + attention + 2 * 5 * 8 * 16
    assert torch.backends.mha.get_fastpath_enabled()


def test_the_pruned_network_of_the_guide_is_counted_by_the_closed_formula() -> None:
    guide = Path(__file__).parents[2] / "docs" / "guides" / "prune_your_own.md"
    programs = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), flags=re.S)
    names: dict[str, Any] = {"print": lambda *_: None, "__name__": "guide"}
    for program in programs[:2]:
        exec(program, names)
    frames, kept, dim, mlp = 81, 27, 64, 128

    def layer(count: int) -> int:
        return count * (4 * dim * dim + 2 * count * dim + 2 * dim * mlp)

    choice = frames * frames * dim  # distances between frames
    recovery = (2 * frames + 2 * kept) * dim * dim + 2 * frames * kept * dim
    ends = frames * dim * (2 * 17 + 3 * 17)
    expected = 2 * layer(frames) + 4 * layer(kept) + choice + recovery + ends
    assert count_cost(names["pruned"], (frames, 17, 2)).macs == expected == 12_925_440


def test_images_are_counted_by_the_closed_formula_and_as_mmcv_counts() -> None:
    # 4 x 6 pixels of 3 channels, to 8 x 12 pixels of 5.
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.ConvTranspose2d(4, 5, 4, stride=2, padding=1, bias=False),
    )
    cost = count_cost(model, (3, 4, 6))
    macs = 24 * 3 * 4 * 9 + 24 * 4 * 5 * 16  # the transposed one by the pixels that go in
    assert cost.macs == cost.layer_macs == macs
    biases, normalised, rectified = 24 * 4, 24 * 4, 24 * 4
    assert CONVENTIONS["hevitpose"].operations is not None
    counted = CONVENTIONS["hevitpose"].operations(cost)
    assert counted == macs + biases + 2 * normalised + rectified


@pytest.mark.parametrize("name", POSE_NETWORKS)
def test_a_pose_network_costs_what_its_table_says_and_about_what_was_published(name: str) -> None:
    cost, row = pose_network_cost(name), POSE_NETWORKS[name]
    assert CONVENTIONS["hevitpose"].operations is not None
    counted = CONVENTIONS["hevitpose"].operations(cost)
    assert (cost.parameters, cost.macs, counted) == (row.parameters, row.macs, row.mmcv)
    if name in PUBLISHED:
        published, unit = PUBLISHED[name].split()
        assert unit == "G"
        assert counted / 1e9 == pytest.approx(float(published), rel=0.01)


# A network of each convention that is small.
@pytest.mark.parametrize("name", ["htnet", "nanohtnet-27-3", "convformer-9"])
def test_a_lifter_that_computes_costs_what_it_costs_where_nothing_is_computed(name: str) -> None:
    row = LIFTERS[name]
    assert count_cost(create_lifter(name), (row.frames_in, 17, row.in_channels)) == cost_of(name)


def test_a_pose_network_that_computes_costs_the_same() -> None:
    name, small = "hevitpose-t-coco-256x192", {"widths": (16, 32, 48), "depths": (1, 1, 1)}
    with torch.device("meta"):
        pretended = create_pose_network(name, **small)
    computed = create_pose_network(name, **small)
    assert count_cost(computed, (3, 256, 192)) == count_cost(pretended, (3, 256, 192))


def test_counting_leaves_the_model_as_it_was() -> None:
    model = Tiny().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    count_cost(model, (5, 17, 2))
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(module._forward_hooks for module in model.modules())


def test_mixste_follows_its_closed_formula() -> None:
    frames, dim, hidden, blocks, joints = 27, 512, 1024, 8, 17
    tokens = frames * joints
    layers = blocks * 2 * (3 * dim * dim + dim * dim + 2 * dim * hidden)  # per token
    attention = blocks * 2 * dim * (joints + frames)  # per token: over joints and over frames
    assert cost_of("mixste-27").macs == tokens * (2 * dim + layers + attention + 3 * dim)


# From runs of the authors' programs, or what they print: parameters, operations.
PRINTED = {
    "htnet": (2_648_979, 30_864_240),
    "mhformer-351": (30_941_187, None),
    "nanohtnet-243-9": (1_521_331, None),
    "nanohtnet-27-3": (1_406_083, None),
}


@pytest.mark.parametrize("name", PRINTED)
def test_as_their_publications_count_the_numbers_are_theirs(name: str) -> None:
    cost, convention = cost_of(name), CONVENTIONS[LIFTERS[name].family]
    parameters, operations = PRINTED[name]
    assert convention.parameters(cost) == parameters
    assert convention.operations is not None
    assert operations in (None, convention.operations(cost))


@pytest.mark.parametrize(
    "name",
    [
        name
        for name in PUBLISHED
        if name in LIFTERS and CONVENTIONS[LIFTERS[name].family].operations
    ],
)
def test_published_operations_come_out_to_their_last_digit(name: str) -> None:
    operations = CONVENTIONS[LIFTERS[name].family].operations
    assert operations is not None
    printed, unit = PUBLISHED[name].split()
    assert unit == "G"
    digits = len(printed.partition(".")[2])
    assert f"{operations(cost_of(name)) / 1e9:.{digits}f}" == printed


def test_every_lifter_has_a_recorded_size() -> None:
    assert list(recorded_sizes()) == [SHIPPED, *LIFTERS], "run benchmarks/profiles.py --sizes"


@pytest.mark.parametrize("name", [SHIPPED, *LIFTERS])
def test_the_recorded_size_is_what_is_counted(name: str) -> None:
    cost = cost_of(name)
    assert recorded_sizes()[name] == {"parameters": cost.parameters, "macs": cost.macs}
