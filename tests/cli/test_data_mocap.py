"""lithepose data import-mocap: originals to a motion file, and what the command says of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

from lithepose.cli.data_mocap import import_mocap
from lithepose.data.importing import SPLITS
from lithepose.data.mocap import read_motions

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
