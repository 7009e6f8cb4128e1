"""`lithepose data check`: what it prints and its exit codes."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lithepose.cli import main
from lithepose.cli.data import COMMANDS
from lithepose.skeletons import convert
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, ["data", *map(str, arguments)])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a test file of MPI-INF-3DHP two folders down."""
    random = np.random.default_rng(0)
    joints = motion("walk", 1, 30, random_body(random), random)
    joints = convert(joints, None, "h36m17", "mpi_inf_3dhp17")[0]
    test: Any = {"TS1": {"data_2d": 300 * joints[..., :2] + 500, "data_3d": 1000 * joints,
                         "valid": np.ones(30)}}  # fmt: skip
    place = tmp_path / "sets" / "mpi [inf]"
    place.mkdir(parents=True)
    np.savez_compressed(place / "data_test_3dhp.npz", data=test)
    return tmp_path


def test_it_says_what_is_there_missing_and_allowed(folder: Path):
    result = run("check", folder)
    assert result.exit_code == 0, result.output
    place = Path("sets") / "mpi [inf]" / "data_test_3dhp.npz"
    assert f"  found   {place}: 2D and 3D joints of six recordings: for testing" in result.stdout
    assert "\n          recordings TS1; 30 frames; 30 valid frames; TS1 has 30" in result.stdout
    assert "missing data_train_3dhp.npz: 2D and 3D joints of eight subjects" in result.stdout
    assert "terms:   non-commercial research" in result.stdout
    assert "weights trained on it may be shipped: no" in result.stdout
    assert "Human3.6M: nothing found\n  missing data_3d_h36m.npz: 3D joints" in result.stdout


def test_json_is_json(folder: Path):
    result = run("check", folder, "--json")
    assert result.exit_code == 0
    record = json.loads(result.stdout)
    (found,) = record["data_sets"]["mpi_inf_3dhp"]["found"]
    assert found["facts"]["valid frames"] == 30


def test_a_broken_file_fails_with_its_reason(folder: Path):
    (path,) = folder.rglob("*.npz")
    path.write_bytes(path.read_bytes()[:500])
    for option in ([], ["--json"]):
        result = run("check", folder, *option)
        assert result.exit_code == 2
        assert "is damaged or cut off" in result.stdout
        assert f"lithepose: cannot be used: {path}" in result.stderr
    json.loads(result.stdout)


def test_an_empty_folder_and_a_missing_one_fail(folder: Path, tmp_path: Path):
    result = run("check", folder, "--depth", "1")
    assert result.exit_code == 2
    assert "nothing of these data sets in" in result.stderr
    assert "COCO keypoints: nothing found" in result.stdout
    assert "terms:   annotations CC BY 4.0" in result.stdout
    assert "guide:   docs/data/coco.md" in result.stdout
    result = run("check", tmp_path / "nowhere")
    assert result.exit_code == 2
    assert "no folder at" in result.stderr
    assert "Traceback" not in result.output


def test_a_terminal_gets_tables(folder: Path, monkeypatch: pytest.MonkeyPatch):
    from lithepose.cli.data import check

    monkeypatch.setenv("COLUMNS", "120")
    (folder / "mpii_val.json").write_text("[")
    with CliRunner().isolation() as (out, *_):
        monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
        with pytest.raises(SystemExit) as stopped:
            check.main([str(folder)], standalone_mode=False)
        shown = out.getvalue().decode()
    assert stopped.value.code == 2
    for phrase in ("MPI-INF-3DHP", "mpi [inf]", "found", "broken", "missing", "valid frames"):
        assert phrase in shown
    # Data sets of which nothing is there have tables and terms, too.
    for phrase in ("COCO keypoints: nothing found", "the pictures to train on", "CC BY 4.0"):
        assert phrase in shown


def test_every_command_of_the_group_is_there_and_explains_itself():
    for name, where in COMMANDS.items():
        module, attribute = where.split(":")
        assert isinstance(getattr(importlib.import_module(module), attribute), click.Command)
        result = run(name, "--help")
        assert result.exit_code == 0
        assert result.stdout.startswith("Usage: ")
    assert run("no-such").exit_code == 2
