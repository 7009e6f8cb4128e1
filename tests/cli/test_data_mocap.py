"""lithepose data import-mocap: originals to motion files, and what the command says of them."""

from __future__ import annotations

import shlex
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lithepose.cli import main
from lithepose.cli.data_mocap import import_mocap
from lithepose.datasets.inventory import take_inventory
from lithepose.mocap import trials as listed
from lithepose.mocap.importing import import_split
from lithepose.mocap.motions import read_motions
from lithepose.mocap.trials import SPLITS

DOCS = Path(__file__).parents[2] / "docs"

BONES = {
    "root": "lowerback lhipjoint rhipjoint", "lowerback": "thorax",
    "thorax": "head lclavicle rclavicle", "lhipjoint": "lfemur", "rhipjoint": "rfemur",
    "lfemur": "ltibia", "rfemur": "rtibia", "lclavicle": "lhumerus", "rclavicle": "rhumerus",
    "lhumerus": "lradius", "rhumerus": "rradius",
}  # fmt: skip


def write_trial(folder: Path, name: str, frames: int) -> None:
    """Somebody who stands still, as ASF/AMC; only the root has data."""
    folder.mkdir(parents=True, exist_ok=True)
    bones = ""
    for bone in " ".join(BONES.values()).split():
        x = 1 if bone[0] == "l" and bone != "lowerback" else -1
        sideways = bone[1:] in ("hipjoint", "clavicle", "humerus", "radius")
        direction = f"{x} 0 0" if sideways else f"0 {-1 if bone[1:] in ('femur', 'tibia') else 1} 0"
        bones += f"begin\nname {bone}\ndirection {direction}\nlength 5\naxis 0 0 0 XYZ\nend\n"
    tree = "\n".join(f"{parent} {children}" for parent, children in BONES.items())
    (folder / f"{name.partition('_')[0]}.asf").write_text(
        f":units\nlength 0.45\n:root\norder TX TY TZ RX RY RZ\n:bonedata\n{bones}"
        f":hierarchy\nbegin\n{tree}\nend\n"
    )
    still = "".join(f"{frame + 1}\nroot 0 10 0 0 0 0\n" for frame in range(frames))
    (folder / f"{name}.amc").write_text(":DEGREES\n" + still)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(import_mocap, [str(argument) for argument in arguments])


@pytest.fixture
def originals(tmp_path: Path) -> Path:
    folder = tmp_path / "cmu"
    write_trial(folder / "subjects/02", "02_01", 343)
    write_trial(folder / "subjects/08", "08_01", 300)
    write_trial(folder / "subjects/03", "03_01", 100)  # 432 are listed
    write_trial(folder / "subjects/20", "20_01", 100)
    return folder


def test_a_split_becomes_a_motion_file(originals, tmp_path):
    result = run(originals, tmp_path / "new/val.npz", "--split", "val")
    assert result.exit_code == 0, result.output
    assert "1 of 32 trials found: 1 clips, 0.0 minutes" in result.output
    assert "missing: 02_02 02_03" in result.stderr
    assert str(tmp_path / "new/val.npz") in result.output
    motions = read_motions(tmp_path / "new/val.npz")
    assert motions.clip.tolist() == ["02_01"]
    assert np.ptp(motions.positions, axis=0).max() < 1e-5


def test_the_split_is_train_unless_another_is_asked_for(originals, tmp_path):
    assert "1 of 154 trials" in run(originals, tmp_path / "m.npz").output
    assert read_motions(tmp_path / "m.npz").clip.tolist() == ["08_01"]
    result = run(originals, tmp_path / "m.npz", "--split", "all")
    assert "2 of 217 trials found" in result.output
    assert "refused 03_01: the list uses 432 frames of it, the file has 100" in result.stderr


def test_a_list_replaces_the_built_in_one_and_can_be_narrowed_to_a_split(originals, tmp_path):
    (tmp_path / "list.txt").write_text("02_01\n20_01\n05_01\n")
    result = run(originals, tmp_path / "m.npz", "--list", tmp_path / "list.txt")
    assert "2 of 3 trials found" in result.output
    assert "missing: 05_01" in result.stderr
    assert "subjects 05 are held back for acceptance tests" in result.stderr
    result = run(
        originals, tmp_path / "m.npz", "--list", tmp_path / "list.txt", "--split", "train"
    )  # fmt: skip
    assert "1 of 1 trials found" in result.output
    assert "held back" not in result.stderr
    assert read_motions(tmp_path / "m.npz").clip.tolist() == ["20_01"]


def test_no_trial_found_is_an_error_and_writes_nothing(tmp_path):
    (tmp_path / "empty").mkdir()
    result = run(tmp_path / "empty", tmp_path / "m.npz")
    assert result.exit_code == 2
    assert "no clip to write: no trial was found" in result.stderr
    assert not (tmp_path / "m.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("none", "m.npz"), 2, "no folder of originals at none"),
        (("cmu", "m.csv"), 2, "m.csv must be named .npz"),
        (("cmu", "m.npz", "--list", "none.txt"), 2, "none.txt"),
        (("cmu", "m.npz", "--split", "dev"), 2, "'dev' is not one of"),
        (("cmu", "cmu/subjects/02/02.asf/m.npz"), 4, "choose another OUT"),
    ],
)
def test_wrong_use_is_told(originals, tmp_path, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_place_that_cannot_be_written_to_keeps_its_code(originals, tmp_path):
    (tmp_path / "m.npz").mkdir()
    result = run(originals, tmp_path / "m.npz")
    assert result.exit_code == 4
    assert "that is a folder" in result.stderr


def test_the_splits_offered_are_those_of_the_library():
    (option,) = (each for each in import_mocap.params if each.name == "split")
    assert tuple(option.type.choices) == SPLITS


# ---- The files of all splits ---------------------------------------------------------------------


@pytest.fixture
def short_list(monkeypatch) -> None:
    """A list of four trials: two to train on, one to validate, one to test."""
    table = listed._table()
    stretches = {"08_01": [[0, 300]], "10_04": [[0, 90]], "02_01": [[0, 343]], "03_01": [[0, 100]]}
    trials = {
        name: {**table["trials"][name], "stretches": used} for name, used in stretches.items()
    }
    monkeypatch.setattr(listed, "_table", lambda: {**table, "trials": trials})


@pytest.fixture
def downloads(originals, short_list, tmp_path, monkeypatch) -> Path:
    """All four of them in the folder DOWNLOADS, where the commands run."""
    write_trial(originals / "subjects/10", "10_04", 90)
    monkeypatch.chdir(tmp_path)
    return originals.rename("DOWNLOADS")


def clips_in(folder: Path) -> dict[str, list[str]]:
    return {path.name: read_motions(path).clip.tolist() for path in sorted(folder.iterdir())}


EVERYTHING = {
    "cmu17_test.npz": ["03_01"], "cmu17_train.npz": ["08_01", "10_04"], "cmu17_val.npz": ["02_01"],
}  # fmt: skip


@pytest.mark.parametrize("page", ["benchmark.md", "data/mocap_import.md"])
def test_the_command_of_the_documentation_makes_the_files_of_all_splits(downloads, page):
    lines = (DOCS / page).read_text(encoding="utf-8").splitlines()
    (line,) = (line for line in lines if "import-mocap DOWNLOADS --out" in line)
    program, *arguments = shlex.split(line, comments=True)
    assert program == "lithepose"
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    (folder,) = (Path(name) for name in arguments if Path(name).is_dir() and name != "DOWNLOADS")
    assert clips_in(folder) == EVERYTHING
    assert not take_inventory(folder).missing("cmu")
    for split, found in (("train", "2 of 2"), ("val", "1 of 1"), ("test", "1 of 1")):
        assert f"{split} ...\n" in result.stderr
        assert f"{found} trials found" in result.stdout
        assert f"\n{folder / f'cmu17_{split}.npz'}\n" in result.stdout


def test_finished_files_are_kept_and_said_to_be(downloads):
    assert run("DOWNLOADS", "--out", "mocap").exit_code == 0
    val, train = Path("mocap/cmu17_val.npz"), Path("mocap/cmu17_train.npz")
    train.write_bytes(train.read_bytes()[:1000])
    before = val.read_bytes()
    (downloads / "subjects/02/02_01.amc").unlink()  # what is kept needs no originals
    result = run("DOWNLOADS", "--out", "mocap")
    assert result.exit_code == 0, result.output
    assert result.stdout.count("kept, with all 1 trials (remove it to make it again):") == 2
    assert "note: mocap/cmu17_train.npz lacked trials or was damaged and is replaced" in (
        result.stderr.replace("\\", "/")
    )
    assert val.read_bytes() == before
    assert clips_in(Path("mocap")) == EVERYTHING


def test_a_file_that_would_lack_trials_is_not_written_and_they_are_named(downloads):
    (downloads / "subjects/10/10_04.amc").unlink()
    write_trial(downloads / "subjects/08", "08_01", 50)
    (downloads / "subjects/03/03_01.amc").unlink()
    result = run("DOWNLOADS", "--out", "mocap")
    assert result.exit_code == 2
    assert clips_in(Path("mocap")) == {"cmu17_val.npz": ["02_01"]}
    said = result.stderr.replace("\\", "/")
    assert "cmu17_train.npz is not written: 1 of its 2 trials are missing: 10_04; " in said
    assert "1 of its 2 trials are refused: 08_01 (the list uses 300 frames of it" in said
    assert (
        "cmu17_test.npz is not written: none of its 1 trials was found, such as 03_01.amc" in said
    )
    # The way out that the message names works, and what it made is not taken for complete.
    write_trial(downloads / "subjects/08", "08_01", 300)
    line = "lithepose data import-mocap DOWNLOADS mocap/cmu17_train.npz --split train"
    assert f"\n  {line}\n" in said
    assert CliRunner().invoke(main, shlex.split(line)[1:]).exit_code == 0
    assert clips_in(Path("mocap"))["cmu17_train.npz"] == ["08_01"]
    assert "10_04" in run("DOWNLOADS", "--out", "mocap").stderr
    write_trial(downloads / "subjects/10", "10_04", 90)
    write_trial(downloads / "subjects/03", "03_01", 100)
    assert run("DOWNLOADS", "--out", "mocap").exit_code == 0
    assert clips_in(Path("mocap")) == EVERYTHING


def test_one_split_can_be_asked_for(downloads):
    assert run("DOWNLOADS", "--out", "mocap", "--split", "val").exit_code == 0
    assert clips_in(Path("mocap")) == {"cmu17_val.npz": ["02_01"]}
    with pytest.raises(ValueError, match="no file is for the split 'all'; known: train, val, test"):
        import_split("DOWNLOADS", "mocap", "all")


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("DOWNLOADS",), 2, "say where to write: --out FOLDER"),
        (("DOWNLOADS", "m.npz", "--out", "mocap"), 2, "say where to write: --out FOLDER"),
        (("DOWNLOADS", "mocap"), 2, "a folder for the files of all splits goes with --out"),
        (("DOWNLOADS", "--out", "m.npz"), 2, "--out is a folder: for the single file m.npz"),
        (("DOWNLOADS", "--out", "mocap", "--split", "all"), 2, "name a single OUT.npz instead"),
        (("DOWNLOADS", "--out", "mocap", "--list", "l.txt"), 2, "name a single OUT.npz instead"),
        (("none", "--out", "mocap"), 2, "no folder of originals at none"),
        (("all.zip", "--out", "mocap"), 2, "all.zip is a file: unpack it and name the folder"),
        (("DOWNLOADS", "--out", "all.zip"), 4, "choose another folder with --out"),
        (("DOWNLOADS", "--out", "taken"), 4, "cmu17_train.npz"),
    ],
)
def test_wrong_use_of_out_is_told(downloads, arguments, code, message):
    Path("all.zip").write_bytes(b"PK")
    Path("taken/cmu17_train.npz").mkdir(parents=True)
    result = run(*arguments)
    assert result.exit_code == code
    assert message in result.stderr
    assert not Path("mocap").exists()
