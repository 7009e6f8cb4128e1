"""What the command leaves outside its output folder, and whom it calls: nothing and nobody."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lithepose.assets import FOLDER_VARIABLE, ModelsError, model_path
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion

# openat(AT_FDCWD</current/folder>, "path", O_WRONLY|O_CREAT..., as strace -y writes it
_OPENED = re.compile(
    r'(?:openat|mkdirat|open|mkdir)\((?:(?:AT_FDCWD|\d+)<([^>]*)>, )?"([^"]*)", ([^,) ]*)'
)
_CHANGES = ("O_WRONLY", "O_RDWR", "O_CREAT")
_EVERY_PROCESS = ("/dev", "/proc", "/sys")  # devices, and what the system says of a process


@pytest.fixture(scope="module")
def traced() -> list[str]:
    """The start of a command line that notes calls and cannot reach any network."""
    strace = shutil.which("strace")
    if strace is None or not works([strace, "-o", os.devnull, "true"]):
        pytest.skip("needs strace, and a system that allows it")
    apart = ["unshare", "--map-root-user", "--net"]
    return [*(apart if works([*apart, "true"]) else []), strace, "--follow-forks", "-y"]


def works(command: list[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True).returncode == 0
    except OSError:
        return False


def lift_watched(
    traced: list[str], source: Path, folder: Path, *options: str, models: Path | None = None
) -> list[str]:
    """Run `lithepose lift` as a new user.

    Args:
        folder: gets the user's home, results and notes.

    Returns:
        What was left or asked of the system that should not have been.
    """
    home, scratch, out = folder / "home", folder / "scratch", folder / "out"
    for made in (home, scratch):
        made.mkdir()
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    # Without CI: libraries that report to their makers are quiet there.
    environment = kept | {
        "HOME": str(home),
        "TMPDIR": str(scratch),
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
    }
    if models is not None:
        environment[FOLDER_VARIABLE] = str(models)
    notes = folder / "calls.txt"
    done = subprocess.run(
        [*traced, "-o", str(notes), "-e", "trace=%network,openat,mkdirat,?open,?mkdir"]
        + [sys.executable, "-m", "lithepose", "lift", str(source), "--out", str(out)]
        + ["--format", "npz,bvh,glb,c3d,trc,json,csv", *options],
        env=environment,
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert (out / f"{source.stem}.npz").is_file()
    left = [str(path) for place in (home, scratch) for path in place.rglob("*")]
    calls = notes.read_text(errors="replace").splitlines()
    called = [line for line in calls if "AF_INET" in line]
    return left + called + outside(calls, folder, out, scratch)


def outside(calls: list[str], current: Path, *allowed: Path) -> list[str]:
    """Which files and folders were made, or opened to be changed, other than in those allowed."""
    found = []
    for line in calls:
        match = _OPENED.search(line)
        if match is None or " = -1 E" in line:
            continue
        changes = "mkdir" in line or any(flag in match[3] for flag in _CHANGES)
        path = Path(current, match[1] or "", match[2])
        if changes and not any(path.is_relative_to(place) for place in (*allowed, *_EVERY_PROCESS)):
            found.append(line)
    return found


def test_lifting_keypoints_calls_nobody_and_leaves_only_the_results(
    traced: list[str], tmp_path: Path
):
    random = np.random.default_rng(3)
    joints = motion("wave", 0.8, 25, random_body(random), random)
    ahead = 4.0 - joints[..., 1]
    points = [160 - 300 * joints[..., 0] / ahead, 120 - 300 * (joints[..., 2] - 0.9) / ahead]
    source = tmp_path / "waver.npz"
    np.savez(
        source,
        keypoints=np.stack(points, -1),
        fps=25,
        image_size=(320, 240),
        skeleton="h36m17",
    )
    assert lift_watched(traced, source, tmp_path) == []


@pytest.mark.models
@pytest.mark.shared
def test_lifting_a_video_calls_nobody_and_leaves_only_the_results(
    traced: list[str], tmp_path: Path, shared
):
    source = shared("video/walk_single.mp4")
    try:
        models = model_path("pose_detection", fetch=False).parent
    except ModelsError:
        pytest.skip("needs the model files: lithepose models fetch")
    assert lift_watched(traced, source, tmp_path, "--end", "0.4", models=models) == []


def test_what_is_written_elsewhere_is_noticed(traced: list[str], tmp_path: Path):
    notes = tmp_path / "calls.txt"
    program = (
        "import os, pathlib, socket\n"
        "pathlib.Path('here').mkdir()\n"
        "os.open('kept', os.O_CREAT | os.O_WRONLY)\n"
        "os.open('kept', os.O_RDONLY)\n"
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).connect_ex(('127.0.0.1', 9))\n"
    )
    subprocess.run(
        [*traced, "-o", str(notes), "-e", "trace=%network,openat,mkdirat,?open,?mkdir"]
        + [sys.executable, "-B", "-c", program],
        cwd=tmp_path,
        check=True,
    )
    calls = notes.read_text(errors="replace").splitlines()
    assert len(outside(calls, tmp_path)) == 2, outside(calls, tmp_path)
    assert outside(calls, tmp_path, tmp_path) == []
    assert any("AF_INET" in line for line in calls)
