"""The commands `lithepose train` and `lithepose eval`; what they call has tests of its own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from lithepose.cli import main
from lithepose.train.recipes import as_markdown


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


def failed(result: Result, code: int) -> str:
    """The message of a run that failed as it should, without a traceback."""
    assert result.exit_code == code, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.stderr


def test_the_list_is_the_table_of_recipes():
    result = run("train", "--list")
    assert result.exit_code == 0, result.output
    assert result.stdout == as_markdown()


def test_training_asks_for_a_recipe_and_data(tmp_path: Path):
    assert "lithepose train --list" in failed(run("train"), 2)
    assert "--data FOLDER" in failed(run("train", "htnet-cpn", "--out", tmp_path), 2)


def test_an_unknown_recipe_or_field_names_the_known_ones(tmp_path: Path):
    pytest.importorskip("torch")
    message = failed(run("train", "htnet", "--data", tmp_path), 2)
    assert "known: " in message
    assert "htnet-cpn" in message
    out = tmp_path / "run"
    changed = run("train", "htnet-cpn", "--data", tmp_path, "--out", out, "--set", "epoch=3")
    assert "no field 'epoch'; known: " in failed(changed, 2)
    network = run("eval", tmp_path, "--data", tmp_path, "--recipe", "htnet")
    assert "htnet-cpn" in failed(network, 2)


@pytest.mark.parametrize(
    ("recipe", "guide"),
    [("lithepose-81-9", "docs/data/mocap"), ("htnet-cpn", "docs/data/human36m.md")],
)
def test_training_without_data_says_where_they_come_from(recipe: str, guide: str, tmp_path: Path):
    pytest.importorskip("torch")
    message = failed(run("train", recipe, "--data", tmp_path, "--out", tmp_path / "run"), 2)
    assert guide in message


def test_without_pytorch_both_name_the_extra(tmp_path: Path):
    program = (
        "import sys; sys.modules['torch'] = None\n"
        "from lithepose.cli import main\n"
        "for arguments in (['train', 'htnet-cpn', '--data', '.'], ['eval', '.', '--data', '.']):\n"
        "    try:\n"
        "        main(arguments)\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 2\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=tmp_path
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count('pip install "lithepose[train]"') == 2
    assert "Traceback" not in done.stderr


def test_training_refuses_a_folder_that_cannot_be_written(tmp_path: Path):
    pytest.importorskip("torch")
    taken = tmp_path / "taken"
    taken.write_text("")
    failed(run("train", "htnet-cpn", "--data", tmp_path, "--out", taken), 4)


def test_evaluation_of_nothing_says_so(tmp_path: Path):
    pytest.importorskip("torch")
    message = failed(run("eval", tmp_path, "--data", tmp_path), 2)
    assert "no checkpoint of a training" in message
    message = failed(run("eval", tmp_path / "none.safetensors", "--data", tmp_path), 2)
    assert "no weights file" in message


def test_a_table_is_printed_and_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    seen: list[Any] = []

    def measured(*arguments: Any) -> str:
        seen.extend(arguments)
        return "| MPJPE (mm) |\n"

    monkeypatch.setattr("lithepose.train.runs.evaluate_run", measured)
    result = run(
        *("eval", tmp_path, "--data", tmp_path, "--out", tmp_path / "table.md", "--no-flip"),
        *("--protocol", "human36m", "--protocol", "human36m-mixste"),
    )
    assert result.exit_code == 0, result.output
    assert result.stdout == (tmp_path / "table.md").read_text() == "| MPJPE (mm) |\n"
    assert seen[2].protocols == ("human36m", "human36m-mixste")
    assert seen[2].flip is False
    assert seen[3] is None


def test_a_run_is_reported_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    pytest.importorskip("torch")
    from lithepose.train.checkpoints import Progress

    seen: dict[str, Any] = {}

    def trained(name: str, root: Path, folder: Path, settings: Any, **others: Any) -> list[Path]:
        seen.update(others, name=name, settings=settings)
        others["report"](
            Progress(
                step=5,
                steps=10,
                epoch=0.5,
                loss=0.25,
                learning_rate=1e-3,
                examples_per_s=320,
                scores={"mpjpe": 61.25},
                best=True,
            )
        )
        return [folder / "htnet-cpn.safetensors"]

    monkeypatch.setattr("lithepose.train.runs.train_recipe", trained)
    result = run(
        *("train", "htnet-cpn", "--data", tmp_path, "--out", tmp_path / "run"),
        *("--set", "epochs=3", "--device", "cpu", "--workers", 0, "--precision", 32, "--compile"),
    )
    assert result.exit_code == 0, result.output
    first, last = result.stdout.splitlines()
    assert first == ("step 5 of 10: loss 0.2500, 320 examples/s, validation: mpjpe 61.2, the best")
    assert last.endswith("htnet-cpn.safetensors")
    assert seen["changes"] == ("epochs=3",)
    assert seen["settings"].compiled
    assert seen["settings"].workers == 0
    assert seen["start"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--set", "betas=[0.9]"), "betas takes a list of 2 numbers, not [0.9]"),
        (("--set", 'milestones=["x"]'), "milestones takes a list of whole numbers"),
        (("--set", "seed=null"), "seed takes a whole number"),
        (("--set", "seed=99999999999999999999999"), "out of range: 0 to 2**63 - 1"),
        (("--set", "batch=9999999"), "batch = 9999999 is out of range"),
        (("--set", "network.foo=1"), "no setting 'foo'; known: network."),
        (("--device", "foo"), "no device named 'foo'; known: "),
        (("--device", "cpu:1"), "no device named 'cpu:1'; known: "),
        (("--device", "mps"), "no Apple GPU"),
        (("--device", "cuda"), "no CUDA device"),
        (("--from", "none.safetensors"), "no weights file at none.safetensors"),
    ],
)
@pytest.mark.parametrize("recipe", ["htnet-cpn", "hevitpose-t-mpii", "lithepose-81-9"])
def test_training_says_in_one_line_what_it_cannot_do(
    recipe: str,
    options: tuple[str, str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    # Without data: all of this is found out before they are read.
    said = failed(run("train", recipe, "--data", tmp_path, "--out", tmp_path / "run", *options), 2)
    assert message in said
    assert said.count("\n") == 1


@pytest.mark.parametrize(
    ("device", "message"), [("foo", "no device named 'foo'; known: "), ("cuda", "no CUDA device")]
)
def test_evaluation_on_a_device_that_is_not_there_says_so(
    device: str, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    said = failed(run("eval", tmp_path, "--data", tmp_path, "--device", device), 2)
    assert message in said
    assert said.count("\n") == 1
