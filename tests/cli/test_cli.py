"""The command: what it prints, its exit codes, and what it leaves behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

from lithepose import __version__
from lithepose.assets import ModelsError
from lithepose.cli import COMMANDS, main
from lithepose.cli.report import progress_of
from lithepose.poses import Detections
from lithepose.skeletons import SKELETONS
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion
from lithepose.video import VideoWriter

SIZE, FPS, FRAMES = (320, 240), 25, 20
H36M = SKELETONS["h36m17"].joints


def run(*arguments: Any) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture
def keypoints() -> np.ndarray:
    """(T, 17, 2) pixels of someone who waves."""
    random = np.random.default_rng(3)
    joints = motion("wave", FRAMES / FPS, FPS, random_body(random), random)
    ahead = 4.0 - joints[..., 1]
    return np.stack(
        [160 - 300 * joints[..., 0] / ahead, 120 - 300 * (joints[..., 2] - 0.9) / ahead], -1
    )


@pytest.fixture
def keypoint_file(keypoints: np.ndarray, tmp_path: Path) -> Path:
    path = tmp_path / "waver.npz"
    np.savez(path, keypoints=keypoints, fps=FPS, image_size=SIZE, skeleton="h36m17")
    return path


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    with VideoWriter(path, size=SIZE, fps=FPS) as writer:
        for _ in range(FRAMES):
            writer.write(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    return path


@pytest.fixture
def detecting(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Let the command find these keypoints (T, 17, 2), and raise an error at some frame."""

    def install(
        people: np.ndarray, fails_at: int | None = None, error: type[BaseException] = OSError
    ) -> None:
        class Fake:
            skeleton = "h36m17"
            seen = 0

            def detect(self, frame: np.ndarray, time_s: float) -> Detections:
                if self.seen == fails_at:
                    raise error
                found = people[self.seen][None]
                found = found[np.isfinite(found).all((1, 2))]
                self.seen += 1
                return Detections(
                    keypoints=found,
                    confidence=np.full((len(found), 17), 0.8),
                    score=np.full(len(found), 0.8),
                    skeleton=self.skeleton,
                )

        monkeypatch.setattr("lithepose.pipeline.lift.create_detector", lambda *_, **__: Fake())

    return install


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lithepose")


# --- help and version -------------------------------------------------------------------------


@pytest.mark.parametrize("command", [[], *([name] for name in COMMANDS)])
def test_every_command_explains_itself(command: list[str]):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith("Usage: ")
    assert run(*command, "-h").stdout == result.stdout


def test_the_help_lists_the_commands_with_a_line_each():
    listed = run("--help").stdout.partition("Commands:")[2]
    for name in COMMANDS:
        (line,) = [line for line in listed.splitlines() if line.split()[:1] == [name]]
        assert len(line.split()) > 3


def test_options_state_their_units():
    text = " ".join(run("lift", "--help").stdout.split())
    for phrase in ("in metres", "in degrees", "in seconds", "in pixels", "Frames per second"):
        assert phrase in text
    assert "Exit codes: 2" in text


def test_an_option_that_was_renamed_still_works_and_is_not_listed():
    text = run("lift", "--help").stdout
    assert "--image-size" in text
    assert " --size" not in text


def test_help_loads_neither_networks_nor_pictures():
    program = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from lithepose.cli import COMMANDS, main\n"
        "for name in COMMANDS:\n"
        "    assert CliRunner().invoke(main, [name, '--help']).exit_code == 0\n"
        "heavy = {'torch', 'cv2', 'av', 'onnxruntime', 'ai_edge_litert', 'lap', 'rich'}\n"
        "print(heavy & set(sys.modules))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "set()", done.stderr


def test_the_module_runs_as_the_command():
    done = subprocess.run(
        [sys.executable, "-m", "lithepose", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"lithepose {__version__}\n")


def test_an_unknown_command_is_wrong_use():
    result = run("lfit")
    assert result.exit_code == 2
    assert "lfit" in result.stderr


# --- lift -------------------------------------------------------------------------------------


def test_lift_writes_the_files_and_says_what_it_found(
    clip: Path, keypoints: np.ndarray, detecting: Any, tmp_path: Path
):
    detecting(keypoints)
    out = tmp_path / "out"
    result = run("lift", clip, "--out", out, "--format", "npz, csv", "--height", "1.8")
    assert result.exit_code == 0, result.stderr
    assert names(out) == ["clip.csv", "clip.html", "clip.npz", "clip.overlay.mp4"]
    said = result.stdout
    assert "20 frames of 320x240 at 25.00 frames/s" in said
    assert "person 1: 20 frames, 0 gaps, mean confidence 0.80, height 1.80 m, reprojection " in said
    assert "frames/s (2D " in said
    for name in names(out):
        assert str(out / name) in said
    assert "camera " in said
    assert "a foot stands in" in said
    for stage in ("2D ...", "3D ...", "views ..."):
        assert stage in result.stderr


def test_an_assumed_height_is_said_to_be_assumed(keypoint_file: Path, tmp_path: Path):
    result = run("lift", keypoint_file, "--out", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert "height 1.71 m (assumed)" in result.stdout
    assert "note: the height is not known: 1.71 m is assumed" in result.stderr
    assert "note: the lens is not known" in result.stderr
    assert names(tmp_path / "out") == ["waver.html", "waver.npz"]


def test_what_is_known_of_the_scene_reaches_the_world(keypoint_file: Path, tmp_path: Path):
    result = run(
        *("lift", keypoint_file, "--out", tmp_path, "--no-page", "--format", "json"),
        *("--pitch", -4, "--roll", 1, "--camera-height", 1.1, "--smooth", 0),
        *("--no-plant", "--no-limits", "--camera", "still"),
    )
    assert result.exit_code == 0, result.stderr
    facts = json.loads((tmp_path / "waver.json").read_text())["metadata"]["world"]
    wanted = {
        "pitch_deg": -4.0,
        "roll_deg": 1.0,
        "camera_height_m": 1.1,
        "smooth_hz": None,
        "feet_held": False,
        "joints_limited": False,
        "path": True,
    }
    assert {name: facts[name] for name in wanted} == wanted
    moving = run("lift", keypoint_file, "--out", tmp_path / "moving", "--camera", "moving")
    assert "the camera moves, so there is no path" in moving.stdout


ALL_FORMATS = "npz,json,csv,csv-wide,trc,c3d,bvh,glb"


def everything(stem: str) -> list[str]:
    endings = ("bvh", "c3d", "csv", "glb", "html", "json", "npz", "trc", "wide.csv")
    return [f"{stem}.{ending}" for ending in endings]


@pytest.mark.parametrize("there", [slice(9, 10), slice(8, 11), slice(3, -3), slice(0, 1)])
def test_a_person_who_appears_for_moments_becomes_every_file(
    keypoints: np.ndarray, there: slice, tmp_path: Path
):
    points = np.full_like(keypoints, np.nan)
    points[there] = keypoints[there]
    path = tmp_path / "briefly.npz"
    np.savez(path, keypoints=points, fps=FPS, image_size=SIZE, skeleton="h36m17")
    result = run("lift", path, "--out", tmp_path / "out", "--format", ALL_FORMATS)
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == everything("briefly")
    with np.load(tmp_path / "out" / "briefly.npz") as archive:
        seen = np.isfinite(archive["joints_3d_world"]).all((1, 2))
        assert seen.sum() == len(keypoints[there])


def test_a_video_of_one_frame_becomes_every_file(
    keypoints: np.ndarray, detecting: Any, tmp_path: Path
):
    path = tmp_path / "moment.mp4"
    with VideoWriter(path, size=SIZE, fps=FPS) as writer:
        writer.write(np.full((SIZE[1], SIZE[0], 3), 90, np.uint8))
    detecting(keypoints)
    result = run("lift", path, "--out", tmp_path / "out", "--format", ALL_FORMATS)
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == sorted([*everything("moment"), "moment.overlay.mp4"])


@pytest.mark.parametrize(
    "stem",
    [
        "прыжок – 跳",
        pytest.param(
            "<script>alert('1')</script>".replace("/", "⁄"),
            marks=pytest.mark.skipif(sys.platform == "win32", reason="no such names there"),
        ),
    ],
)
def test_names_of_all_kinds_become_every_file(keypoint_file: Path, stem: str, tmp_path: Path):
    path = keypoint_file.rename(tmp_path / f"{stem}.npz")
    out = tmp_path / f"out {stem}"
    result = run("lift", path, "--out", out, "--format", ALL_FORMATS)
    assert result.exit_code == 0, result.output
    assert names(out) == everything(stem)
    assert "<script>alert" not in (out / f"{stem}.html").read_text(encoding="utf-8")


def test_results_are_reported_also_where_their_names_cannot_be_shown(
    keypoint_file: Path, tmp_path: Path
):
    path = keypoint_file.rename(tmp_path / "прыжок.npz")
    program = [sys.executable, "-m", "lithepose"]
    shown = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    lifted = subprocess.run(
        [*program, "lift", path, "--out", tmp_path / "out", "--no-page"],
        **{"env": shown, "capture_output": True},
    )
    assert lifted.returncode == 0, lifted.stderr
    assert b"\\u043f" in lifted.stdout
    converted = subprocess.run(
        [*program, "convert", tmp_path / "out" / "прыжок.npz", tmp_path / "прыжок.bvh"],
        **{"env": shown, "capture_output": True},
    )
    assert converted.returncode == 0, converted.stderr
    assert (tmp_path / "прыжок.bvh").is_file()


def test_people_are_numbered_as_their_files_are(tmp_path: Path, keypoints: np.ndarray):
    two = np.stack([np.full_like(keypoints, np.nan), keypoints, keypoints + (40, 0)], 1)
    two[:, 0, :3] = keypoints[:, :3]  # three joints are no person to lift
    rows = ["frame,person,joint,u_px,v_px"]
    for frame, person, joint in np.ndindex(two.shape[:3]):
        if np.isfinite(two[frame, person, joint]).all():
            u, v = two[frame, person, joint]
            rows.append(f"{frame},{person},{H36M[joint]},{u},{v}")
    path = tmp_path / "three.csv"
    path.write_text("\n".join(rows))
    result = run(
        *("lift", path, "--out", tmp_path / "out", "--image-size", "320x240", "--fps", FPS),
        *("--people", "all", "--skeleton", "h36m17", "--no-page"),
    )
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == ["three-2.npz", "three.npz"]
    assert "person 1: " in result.stdout
    assert "person 2: " in result.stdout
    assert "person 3: " not in result.stdout


def test_a_damaged_video_is_lifted_as_far_as_it_goes_with_a_note(
    clip: Path, keypoints: np.ndarray, detecting: Any, tmp_path: Path
):
    # The picture needs some detail, so that there is data to cut off.
    random = np.random.default_rng(0)
    noisy = tmp_path / "noisy.mp4"
    with VideoWriter(noisy, size=SIZE, fps=FPS) as writer:
        for _ in range(FRAMES):
            writer.write(random.integers(0, 255, (SIZE[1], SIZE[0], 3), dtype=np.uint8))
    data = noisy.read_bytes()
    noisy.write_bytes(data[: int(0.7 * len(data))])
    detecting(keypoints)
    with pytest.warns(UserWarning, match="frames were decoded"):
        result = run("lift", noisy, "--out", tmp_path / "out", "--no-video")
    assert result.exit_code == 0, result.stderr
    assert "note: " in result.stderr
    assert names(tmp_path / "out") == ["noisy.npz"]


def test_the_options_reach_the_library(keypoints: np.ndarray, tmp_path: Path):
    path = tmp_path / "bare.npz"
    np.savez(path, keypoints=keypoints)
    result = run(
        *("lift", path, "--out", tmp_path / "out", "--skeleton", "h36m17"),
        *("--size", "320X240", "--fps", 50, "--fov", 60, "--people", "all"),
    )
    assert result.exit_code == 0, result.stderr
    with np.load(tmp_path / "out" / "bare.npz") as archive:
        assert float(archive["fps"]) == 50
        assert archive["image_size"].tolist() == [320, 240]
        assert float(archive["focal_px"]) == pytest.approx(160 / np.tan(np.radians(30)))


# --- exit code 2: wrong use, unreadable input ---------------------------------------------------


def failed(result: Result, code: int) -> str:
    """The message of a run that failed as it should, without a traceback."""
    assert result.exit_code == code, (result.output, result.exception)
    assert isinstance(result.exception, SystemExit)
    assert "Traceback" not in result.output
    return result.stderr


def test_a_file_that_is_not_there_is_unreadable(tmp_path: Path):
    message = failed(run("lift", tmp_path / "none.mp4", "--out", tmp_path / "out"), 2)
    assert message.startswith("lithepose: ")
    assert "none.mp4" in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"This is a text.\n" * 50])
@pytest.mark.parametrize("name", ["clip.mp4", "points.npz", "points.json", "points.csv"])
def test_a_file_with_other_content_is_unreadable(name: str, content: bytes, tmp_path: Path):
    path = tmp_path / name
    path.write_bytes(content)
    message = failed(run("lift", path, "--out", tmp_path / "out"), 2)
    assert name in message
    assert names(tmp_path / "out") == []


def test_keypoints_that_are_all_nan_are_unreadable(tmp_path: Path):
    path = tmp_path / "nan.npz"
    points = np.full((5, 17, 2), np.nan)
    np.savez(path, keypoints=points, fps=25, image_size=SIZE, skeleton="h36m17")
    assert "missing" in failed(run("lift", path, "--out", tmp_path / "out"), 2)
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--format", "fbx"], "known formats are npz, json"),
        (["--format", ","], "known formats are npz"),
        (["--image-size", "1920"], "write WIDTHxHEIGHT, like 1920x1080"),
        (["--size", "1920x1080x3"], "write WIDTHxHEIGHT"),
        (["--size", "0x480"], "image_size"),
        (["--people", "two"], "'two' is not one of"),
        (["--height", "tall"], "not a valid float"),
        (["--height", "180"], "height 180.0 m is not a person's"),
        (["--fov", "200"], "field of view"),
        (["--threads", "0"], "threads"),
        (["--fps", "-1"], "fps"),
        (["--skeleton", "coco19"], "no skeleton named 'coco19'"),
        (["--start", "1"], "start and end are for videos"),
        (["--smooth", "-1"], "smooth"),
        (["--pitch", "95"], "pitch 95.0 is no tilt"),
        (["--camera-height", "4000"], "camera height 4000.0 m"),
        (["--camera", "flying"], "'flying' is not one of"),
        (["--height", "nan"], "height nan m is not a person's"),
        (["--fov", "0"], "field of view"),
        (["--focal", "5"], "focal length 5 px"),
        (["--focal", "500", "--fov", "60"], "give one of them"),
        (["--swing"], "No such option"),
    ],
)
def test_options_that_cannot_be_right_are_wrong_use(
    keypoint_file: Path, tmp_path: Path, options: list[str], message: str
):
    assert message in failed(run("lift", keypoint_file, "--out", tmp_path / "out", *options), 2)


def test_a_range_outside_the_clip_is_wrong_use(
    clip: Path, keypoints: np.ndarray, detecting: Any, tmp_path: Path
):
    detecting(keypoints)
    assert "end" in failed(run("lift", clip, "--out", tmp_path, "--start", 3, "--end", 2), 2)
    assert "start" in failed(run("lift", clip, "--out", tmp_path, "--start", 30), 2)


def test_models_that_are_not_there_are_said_to_be_missing(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def create(*_: Any, **__: Any) -> None:
        raise ModelsError("no model files: lithepose models fetch")

    monkeypatch.setattr("lithepose.pipeline.lift.create_detector", create)
    assert "lithepose models fetch" in failed(run("lift", clip, "--out", tmp_path / "out"), 2)


# --- exit codes 3, 4 and 130 ----------------------------------------------------------------------


def test_a_clip_of_nobody_has_its_own_exit_code(clip: Path, detecting: Any, tmp_path: Path):
    detecting(np.full((FRAMES, 17, 2), np.nan))
    assert "nobody was found" in failed(run("lift", clip, "--out", tmp_path / "out"), 3)
    assert names(tmp_path / "out") == []


@pytest.mark.parametrize("below", [".", "deep/er"])
@pytest.mark.parametrize("command", ["lift", "demo"])
def test_a_file_in_place_of_the_folder_is_not_written(
    command: str, below: str, keypoint_file: Path, tmp_path: Path
):
    taken = tmp_path / "taken"
    taken.write_text("precious")
    source = [keypoint_file] if command == "lift" else []
    message = failed(run(command, *source, "--out", taken / below), 4)
    assert "choose another folder with --out" in message
    assert taken.read_text() == "precious"


def test_the_source_is_not_replaced(keypoint_file: Path):
    before = keypoint_file.read_bytes()
    assert "is the file to read" in failed(
        run("lift", keypoint_file, "--out", keypoint_file.parent), 4
    )
    assert keypoint_file.read_bytes() == before


def test_ctrl_c_leaves_nothing_half_written(
    clip: Path, keypoints: np.ndarray, detecting: Any, tmp_path: Path
):
    detecting(keypoints, fails_at=7, error=KeyboardInterrupt)
    message = failed(run("lift", clip, "--out", tmp_path / "out"), 130)
    assert message.endswith("lithepose: interrupted; nothing half-written was left behind\n")
    assert names(tmp_path / "out") == []


@pytest.mark.skipif(sys.platform == "win32", reason="signals are sent otherwise there")
def test_a_real_interrupt_ends_a_real_process(clip: Path, tmp_path: Path):
    program = (
        "import sys, time\n"
        "import lithepose.pipeline.lift as offline\n"
        "from lithepose.cli import main\n"
        "class Slow:\n"
        "    skeleton = 'h36m17'\n"
        "    def detect(self, frame, time_s):\n"
        "        print('ready', flush=True)\n"
        "        time.sleep(600)\n"
        "offline.create_detector = lambda *_, **__: Slow()\n"
        "main(sys.argv[1:])\n"
    )
    out = tmp_path / "out"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "lift", str(clip), "--out", str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Tests that a shell runs in the background inherit that interrupts are ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGINT)
        _, message = process.communicate(timeout=120)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130
    assert "interrupted" in message
    assert "Traceback" not in message
    assert names(out) == []


# --- progress ---------------------------------------------------------------------------------


def test_in_a_log_progress_is_a_line_per_stage_and_one_every_ten_seconds(
    monkeypatch: pytest.MonkeyPatch,
):
    now = 0.0
    monkeypatch.setattr("lithepose.cli.report.time.perf_counter", lambda: now)

    @click.command()
    def command() -> None:
        nonlocal now
        with progress_of() as report:
            for done in range(1, 31):
                report("2D", done, 30)
                now += 1
            report("3D", 0, None)
            now += 11
            report("3D", 1, None)

    lines = CliRunner().invoke(command).stderr.splitlines()
    assert lines[:3] == ["2D ...", "2D: 12 of 30, 1.1/s", "2D: 23 of 30, 1.0/s"]
    assert lines[3:] == ["3D ...", "3D: 1, 0.1/s"]


def test_on_a_terminal_progress_is_a_bar(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FORCE_COLOR", "1")

    @click.command()
    def command() -> None:
        with progress_of() as report:
            for done in range(1, 4):
                report("2D", done, 3)
            report("3D", 1, None)

    shown = CliRunner().invoke(command)
    assert shown.exit_code == 0, shown.exception
