"""Profiles as Markdown and JSON, and the command that makes them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from lithepose.cli import main
from lithepose.detect.sizes import create_pose_network
from lithepose.lifters.table import short

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from lithepose.deploy.report import (  # noqa: E402  # it imports torch
    profile_network,
    to_json,
    to_markdown,
)


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

    for module in ("cost", "report"):
        monkeypatch.setattr(f"lithepose.deploy.{module}.create_pose_network", create_narrow)
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
