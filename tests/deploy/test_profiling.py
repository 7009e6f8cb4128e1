"""What lifters cost: counts against closed formulas and publications, time and memory."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

import pytest
from click.testing import CliRunner

from lithepose.cli import main
from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.lifters import LIFTERS, create_lifter
from lithepose.lifters.table import SHIPPED, recorded_sizes, short

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402
from torch.nn import functional  # noqa: E402

from lithepose.deploy.profiling import (  # noqa: E402  # it imports torch
    CONVENTIONS,
    PUBLISHED,
    Cost,
    count_cost,
    lifter_cost,
    measure_latency,
    measure_memory,
    pose_network_cost,
    profile_network,
    to_json,
    to_markdown,
)

# Counted by running every operator without numbers: some take a second or two of that.
SLOW = {"motionagformer-b", "motionagformer-l", "hot-motionagformer-243"}
QUICK = ["htnet", "nanohtnet-27-3", "mixste-27", "mhformer-27", "convformer-27"]
SMALL_MACS = 10e9  # below, running a network is quicker than pretending to


@cache  # once for all tests of a network
def cost_of(name: str) -> Cost:
    """As `lifter_cost` counts the shipped, the quick and the large; others are run for it."""
    if name in (SHIPPED, *QUICK) or recorded_sizes()[name]["macs"] > SMALL_MACS:
        return lifter_cost(name)
    row = LIFTERS[name]
    return count_cost(create_lifter(name), (row.frames_in, 17, row.in_channels))


@pytest.fixture(scope="module", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


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


@pytest.mark.parametrize("name", ["hevitpose-t-mpii", "hevitpose-s-mpii", "hevitpose-b-mpii"])
def test_a_pose_network_costs_what_its_table_says_and_about_what_was_published(name: str) -> None:
    cost, row = pose_network_cost(name), POSE_NETWORKS[name]
    assert CONVENTIONS["hevitpose"].operations is not None
    counted = CONVENTIONS["hevitpose"].operations(cost)
    assert (cost.parameters, cost.macs, counted) == (row.parameters, row.macs, row.mmcv)
    published, unit = PUBLISHED[name].split()
    assert unit == "G"
    assert counted / 1e9 == pytest.approx(float(published), rel=0.01)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in POSE_NETWORKS if "coco" in name])
def test_every_pose_network_costs_what_its_table_says(name: str) -> None:
    row = POSE_NETWORKS[name]
    width, height = row.config.image_size
    cost = count_cost(create_pose_network(name), (3, height, width))  # run, not pretended
    assert CONVENTIONS["hevitpose"].operations is not None
    counted = CONVENTIONS["hevitpose"].operations(cost)
    assert (cost.parameters, cost.macs, counted) == (row.parameters, row.macs, row.mmcv)


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
        pytest.param(name, marks=pytest.mark.slow if name in SLOW else ())
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


def test_every_lifter_has_a_recorded_size_with_its_parameters() -> None:
    recorded = recorded_sizes()
    assert list(recorded) == [SHIPPED, *LIFTERS], "run benchmarks/profiles.py --sizes"
    with torch.device("meta"):
        for name in LIFTERS:
            parameters = sum(p.numel() for p in create_lifter(name).parameters())
            assert recorded[name]["parameters"] == parameters, name


@pytest.mark.parametrize("name", [SHIPPED, *QUICK])
def test_the_recorded_size_is_what_is_counted(name: str) -> None:
    cost = cost_of(name)
    assert recorded_sizes()[name] == {"parameters": cost.parameters, "macs": cost.macs}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LIFTERS if name not in QUICK])
def test_every_recorded_size_is_what_is_counted(name: str) -> None:
    cost = cost_of(name)
    assert recorded_sizes()[name] == {"parameters": cost.parameters, "macs": cost.macs}


def test_memory_follows_tensors_until_they_are_freed() -> None:
    class Steps(nn.Module):
        def forward(self, x):  # 4 kB
            doubled = x * 2  # 4 kB
            wide = torch.cat([doubled, doubled], dim=1)  # 8 kB: with x, 16 kB at one time
            del doubled
            return wide.view(2, 1000)[:1] + 1  # 4 kB: with x and wide, 16 kB

    memory = measure_memory(Steps(), torch.zeros(1, 1000))
    assert memory.activations == 16_000
    assert memory.weights == 0
    assert memory.process is None or memory.process > 10_000_000
    assert measure_memory(nn.Linear(10, 10), torch.zeros(1, 10)).weights == 440


def test_latency_is_measured_on_the_threads_asked_for() -> None:
    seen, before = [], torch.get_num_threads()
    latency = measure_latency(
        lambda clip: seen.append(torch.get_num_threads()), torch.zeros(1), threads=2, seconds=0.01
    )
    assert set(seen) == {2}
    assert torch.get_num_threads() == before
    assert latency.calls == len(seen) - 3 >= 5
    assert 0 <= latency.min_ms <= latency.median_ms
    assert latency.cpu_min_ms <= latency.cpu_median_ms
    with pytest.raises(ValueError, match="above 0: 0, 1"):
        measure_latency(lambda clip: None, torch.zeros(1), threads=0, seconds=1)


def test_a_profile_is_written_as_markdown_and_json() -> None:
    profile = profile_network("nanohtnet-27-3", seconds=0.01)
    markdown = to_markdown([profile])
    assert "| `nanohtnet-27-3` | 27, 3 | 2,365,375 | 19.91 M | 6.64 M | 39.82 M | " in markdown
    assert "| twice thop, 22.37 M FLOPs, 1.41 M parameters |" in markdown
    (row,) = json.loads(to_json([profile]))
    assert row["cost"]["flops"] == 2 * row["cost"]["macs"] == 39_824_868
    assert row["publications_count"]["unit"] == "FLOPs"
    assert row["latency"]["threads"] == 1


def test_the_command_prints_and_writes(tmp_path: Path) -> None:
    written = tmp_path / "profile.json"
    done = CliRunner().invoke(
        main, ["profile", "convformer-9", "--seconds", "0.01", "-o", str(written)]
    )
    assert done.exit_code == 0, done.output
    assert "| `convformer-9` | 9, 1 | 2,559,381 | " in done.output
    assert json.loads(written.read_text())[0]["name"] == "convformer-9"


def test_the_command_shows_both_ways_of_counting_a_pose_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def create_narrow(name: str) -> nn.Module:  # whose calls are cheaper to time
        return create_pose_network(name, widths=(16, 32, 48), head_filters=(8, 8))

    monkeypatch.setattr("lithepose.deploy.profiling.create_pose_network", create_narrow)
    written = tmp_path / "profile.json"
    done = CliRunner().invoke(
        main, ["profile", "hevitpose-t-mpii", "--seconds", "0.01", "-o", str(written)]
    )
    assert done.exit_code == 0, done.output
    (profile,) = json.loads(written.read_text())
    cost, counted = profile["cost"], profile["publications_count"]
    row = f"| `hevitpose-t-mpii` | a crop of 256×256 | {cost['parameters']:,} "
    row += f"| {short(cost['macs'])} | {short(cost['macs'])} | {short(cost['flops'])} "
    row += f"| MMCV, {short(counted['operations'])} FLOPs, printed 1.75 G FLOPs, "
    assert row in done.output
    assert "*MMCV*: linear and convolution layers, one per bias" in done.output
    assert cost["layer_macs"] < counted["operations"]
    assert cost["layer_macs"] < cost["macs"]  # by attention


def test_the_command_says_what_is_wrong_before_it_measures() -> None:
    done = CliRunner().invoke(main, ["profile", "htnet", "-o", "profile.csv"])
    assert done.exit_code == 2
    assert "as .md or .json, not as '.csv'" in done.output
    done = CliRunner().invoke(main, ["profile", "htnett"])
    assert done.exit_code == 2
    assert "no network named 'htnett'; known: ampose, " in done.output
