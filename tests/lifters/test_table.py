"""The printed table of lifters."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.resources import files

import pytest
from click.testing import CliRunner

from lithepose.cli import main
from lithepose.detect.sizes import POSE_NETWORKS
from lithepose.lifters import FAMILIES, LIFTERS, table
from lithepose.lifters.default import SHIPPED, SHIPPED_FAMILY, SHIPPED_SETTINGS


def test_every_lifter_is_in_the_table_with_its_licence() -> None:
    assert [row[0] for row in table.rows()] == [SHIPPED, *LIFTERS]
    assert table.LICENCES.keys() == FAMILIES.keys()
    assert LIFTERS.keys() >= table.WITHOUT_WEIGHTS


def test_a_line_has_macs_per_clip_and_per_output_frame() -> None:
    row = next(row for row in table.rows() if row[0] == "nanohtnet-27-3")
    assert row[:6] == ("nanohtnet-27-3", "27", "3", "2,365,375", "19.91 M", "6.64 M")


def test_counts_are_shortened_to_three_or_four_digits() -> None:
    found = [table.short(n) for n in (999, 1500, 28_950_000, 147_422_633_472, 7.1e9)]
    assert found == ["999", "1.50 k", "28.95 M", "147.4 G", "7.10 G"]


def test_a_lifter_without_a_recorded_size_is_listed_without_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(LIFTERS, "new-27", LIFTERS["htnet"])
    assert table.rows()[-1][:6] == ("new-27", "1", "1", "-", "-", "-")
    done = CliRunner().invoke(main, ["models"])
    assert done.exit_code == 0, done.output
    assert "new-27" in done.output


def test_the_shipped_model_is_of_the_recorded_size() -> None:
    path = files("lithepose") / "weights" / f"{SHIPPED}.onnx"
    if not path.is_file():
        pytest.skip("needs the shipped weights")
    from lithepose.lifters.default import WEIGHTS, default_lifter

    metadata = default_lifter().model.metadata
    config = json.loads(metadata["config"])
    assert SHIPPED == WEIGHTS
    assert metadata["network"] == SHIPPED_FAMILY
    assert {name: config[name] for name in SHIPPED_SETTINGS} == SHIPPED_SETTINGS
    assert (config["layers"], config["channels"], config["hidden"]) == (3, 240, 256)


def test_the_command_prints_the_table_without_pytorch() -> None:
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from lithepose.cli import main\n"
        "main(['models'], standalone_mode=False)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].split()[:4] == ["lifter", "in", "out", "parameters"]
    blank = lines.index("")
    assert blank == 2 + len(LIFTERS)
    assert lines[blank + 1].split()[:5] == ["pose", "network", "crop", "joints", "parameters"]
    assert len(lines) == blank + 2 + len(POSE_NETWORKS)
    assert any(line.startswith("mixste-243 ") and "147.4 G" in line for line in lines)


def test_the_table_is_also_markdown_and_the_older_commands_stay() -> None:
    done = CliRunner().invoke(main, ["models", "table", "--markdown"])
    assert done.output.splitlines()[1].startswith("| --- |")
    assert "pose_landmark" in CliRunner().invoke(main, ["models", "list"]).output
