"""Model files: where they come from, where they are kept, and that they are the right ones.

The two BlazePose networks are part of the Apache-2.0 wheel `mediapipe` 0.10.21. They are not
shipped with this package: `fetch_models` lets the user's own installer (pip or uv, with whatever
index it is configured for) get that one wheel without its dependencies, opens it as the zip file
it is, and keeps the two files. Nothing of the wheel is installed or run.

Folders, first match wins: an explicit `folder` argument, the folder named by the environment
variable LITHEPOSE_MODELS, the user's cache folder. Only the last is filled on demand.
"""

from __future__ import annotations

import hashlib
import importlib.util
import logging
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from lithepose.files import atomic_write

logger = logging.getLogger(__name__)

WHEEL_PROJECT = "mediapipe"
WHEEL_VERSION = "0.10.21"  # the last releases with models inside; 0.10.30 and later have none
FOLDER_VARIABLE = "LITHEPOSE_MODELS"


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """A model file inside the wheel."""

    file: str  # its name in a models folder
    member: str  # its path inside the wheel
    size: int  # bytes
    sha256: str  # in hexadecimal


MODELS = {
    "pose_detection": ModelFile(
        file="pose_detection.tflite",
        member="mediapipe/modules/pose_detection/pose_detection.tflite",
        size=2_959_046,
        sha256="9ba9dd3d42efaaba86b4ff0122b06f29c4122e756b329d89dca1e297fd8f866c",
    ),
    "pose_landmark_full": ModelFile(
        file="pose_landmark_full.tflite",
        member="mediapipe/modules/pose_landmark/pose_landmark_full.tflite",
        size=6_440_512,
        sha256="e9a5c5cb17f736fafd4c2ec1da3b3d331d6edbe8a0d32395855aeb2cdfd64b9f",
    ),
}

# One wheel per platform holds the same two files. It is only read as a zip, so any will do, and an
# index that lacks one may have another. (tag for pip, platform name for uv)
_PLATFORMS = (
    ("manylinux_2_28_x86_64", "x86_64-manylinux_2_28"),
    ("manylinux2014_x86_64", "x86_64-manylinux2014"),
    ("win_amd64", "x86_64-pc-windows-msvc"),
    ("macosx_11_0_universal2", "x86_64-apple-darwin"),
)


class ModelsError(RuntimeError):
    """Model files are absent, damaged or could not be fetched; the message says what to do."""


def models_folder(folder: Path | None = None) -> Path:
    """The folder that model files are read from: `folder`, else LITHEPOSE_MODELS, else the cache.

    The folder need not exist.
    """
    if folder is not None:
        return Path(folder)
    if named := os.environ.get(FOLDER_VARIABLE):
        return Path(named)
    from platformdirs import user_cache_path

    return user_cache_path("lithepose", appauthor=False) / "models"


def model_path(name: str, folder: Path | None = None, fetch: bool = True) -> Path:
    """Path of a checked model file, fetched into the cache folder first if it is not there.

    Args:
        name: a key of `MODELS`.
        folder: folder that holds the file; by default as `models_folder` says.
        fetch: whether an absent file may be fetched. Only the cache folder is ever filled this
            way; a folder that the user named is used as it is.

    Raises:
        ValueError: there is no model of that name.
        ModelsError: the file is absent (and not fetched), or its checksum is wrong.
    """
    model = _model(name)
    place = models_folder(folder)
    path = place / model.file
    named_by_user = folder is not None or bool(os.environ.get(FOLDER_VARIABLE))
    if not path.is_file():
        if named_by_user or not fetch:
            option = f' --models "{place}"' if folder is not None else ""
            raise ModelsError(
                f"no model file at {path}: run `lithepose models fetch{option}`, or, without a "
                f"network, get the {WHEEL_PROJECT} {WHEEL_VERSION} wheel elsewhere and run "
                f"`lithepose models fetch{option} --wheel FILE`"
            )
        fetch_models()
    if file_state(name, place) == "damaged":
        raise ModelsError(
            f"{path} is not the expected model file (SHA-256 differs from {model.sha256}): delete "
            "it and run `lithepose models fetch`"
        )
    return path


def file_state(name: str, place: Path) -> Literal["intact", "absent", "damaged"]:
    """What is in a folder under the file name of model `name`, by size and SHA-256."""
    model = _model(name)
    path = place / model.file
    if not path.is_file():
        return "absent"
    right = path.stat().st_size == model.size
    right = right and hashlib.sha256(path.read_bytes()).hexdigest() == model.sha256
    return "intact" if right else "damaged"


def fetch_models(
    folder: Path | None = None,
    wheel: Path | None = None,
    report: Callable[[str], None] | None = None,
) -> list[Path]:
    """Put all model files into a folder; those already there and intact are left alone.

    Several processes may do this at once: one fetches, the others wait for it. A file appears in
    the folder complete and checked, or not at all.

    Args:
        folder: where to; by default as `models_folder` says.
        wheel: a `mediapipe` 0.10.21 wheel (any platform) already on disk; nothing is downloaded.
        report: called with one line of text per step, for progress.

    Returns:
        The paths, in the order of `MODELS`.

    Raises:
        FileNotFoundError: there is no file at `wheel`.
        ModelsError: the wheel could not be had, or is not the expected one.
    """
    from filelock import FileLock

    report = report or logger.info
    place = models_folder(folder)
    if wheel is not None and not Path(wheel).is_file():
        raise FileNotFoundError(
            f"no wheel at {wheel}: pass the path of a {WHEEL_PROJECT} {WHEEL_VERSION} wheel file"
        )
    place.mkdir(parents=True, exist_ok=True)
    with FileLock(place / ".fetch.lock"):
        paths = [place / model.file for model in MODELS.values()]
        wanted = [name for name in MODELS if file_state(name, place) != "intact"]
        if not wanted:
            report(f"all model files are in {place}")
            return paths
        with tempfile.TemporaryDirectory(prefix="lithepose-") as scratch:
            source = Path(wheel) if wheel is not None else _download(Path(scratch), report)
            for name in wanted:
                path = place / MODELS[name].file
                with atomic_write(path) as temporary:
                    temporary.write_bytes(_read_member(source, name))
                report(f"{path} ({MODELS[name].size / 1e6:.1f} MB, checksum right)")
    return paths


def _model(name: str) -> ModelFile:
    if name not in MODELS:
        raise ValueError(f"no model file named {name!r}; known: {', '.join(sorted(MODELS))}")
    return MODELS[name]


def _read_member(source: Path, name: str) -> bytes:
    """The bytes of a model from a wheel, or from a folder that a wheel was unpacked into."""
    model = MODELS[name]
    try:
        if source.is_dir():
            data = (source / model.member).read_bytes()
        else:
            with zipfile.ZipFile(source) as archive:
                data = archive.read(model.member)
    except (KeyError, FileNotFoundError) as error:
        raise ModelsError(
            f"{source} has no {model.member}: it has to be {WHEEL_PROJECT} {WHEEL_VERSION}; later "
            "releases come without the models"
        ) from error
    except zipfile.BadZipFile as error:
        raise ModelsError(
            f"{source} is not a readable wheel ({error}): download {WHEEL_PROJECT} "
            f"{WHEEL_VERSION} again"
        ) from error
    found = hashlib.sha256(data).hexdigest()
    if found != model.sha256:
        raise ModelsError(
            f"{model.member} in {source} has SHA-256 {found}, expected {model.sha256}: pass a "
            f"wheel of {WHEEL_PROJECT} {WHEEL_VERSION}"
        )
    return data


def _download(scratch: Path, report: Callable[[str], None]) -> Path:
    """Have pip or uv get the wheel into `scratch`; a wheel file, or the folder uv unpacked."""
    requirement = f"{WHEEL_PROJECT}=={WHEEL_VERSION}"
    report(f"getting {requirement} (36 MB, without its dependencies)")
    wanted = ["--no-deps", "--only-binary=:all:", "--python-version", "3.11"]
    attempts: list[tuple[list[str | Path], Path]] = []
    if importlib.util.find_spec("pip") is not None:
        pip = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check", *wanted]
        pip += ["--implementation", "cp", "--abi", "cp311"]
        for tag, _ in _PLATFORMS:
            target = scratch / f"pip-{tag}"
            attempts.append(([*pip, "--platform", tag, "--dest", target, requirement], target))
    if uv := shutil.which("uv"):
        # uv may be run from outside of any environment.
        command = [uv, "pip", "install", *wanted, "--python", sys.executable]
        for _, tag in _PLATFORMS:
            target = scratch / f"uv-{tag}"
            where = ["--python-platform", tag, "--target", target, requirement]
            attempts.append(([*command, *where], target))
    by_hand = (
        f"get the {WHEEL_PROJECT} {WHEEL_VERSION} wheel for any platform on a machine that can, "
        "and run `lithepose models fetch --wheel FILE`"
    )
    if not attempts:
        raise ModelsError(
            f"neither pip nor uv is there to download {requirement}: install one, or {by_hand}"
        )
    complaint = ""
    for command, target in attempts:
        target.mkdir()
        logger.debug("running %s", command)
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode == 0:
            wheels = sorted(target.glob("*.whl"))
            return wheels[0] if wheels else target
        # The first complaint is about the likeliest wheel; later ones only say the same.
        complaint = complaint or done.stderr.strip()
    raise ModelsError(
        f"{requirement} could not be downloaded. Check the network and the package index settings "
        f"of pip or uv and run `lithepose models fetch` again, or {by_hand}. The installer said:\n"
        f"{complaint}"
    )
