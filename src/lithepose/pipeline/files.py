"""A clip to files: lift it, and write what was found."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lithepose.formats import FORMATS, check_formats, write_result
from lithepose.pipeline.offline import Report, Result, is_keypoints, lift


class WriteError(OSError):
    """The results cannot be written."""


@dataclass(frozen=True, kw_only=True)
class Written:
    """A lifted clip and the files made of it, complete or absent."""

    result: Result
    files: list[Path]


def lift_to_files(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    formats: Sequence[str] = ("npz",),
    video: bool = True,
    size: tuple[int, int] | None = None,
    report: Report | None = None,
    **options: Any,
) -> Written:
    """Lift a clip and write each person's motion as `out/<name of the source>` plus suffix.

    Args:
        out: folder, made if it is not there. Further people get `-2`, `-3`, ... in their names.
        formats: names from `lithepose.formats.FORMATS`.
        video: also write `<name>.overlay.mp4`; not for a file of keypoints, which has no pictures.
        size: (width, height) of a file of keypoints.
        options: as of `lithepose.lift`.
    Raises:
        WriteError: the folder or a file cannot be written, or would replace the source itself.
            Checked before the work begins too.
        As `lithepose.lift` otherwise.
    """
    source, out = Path(source), Path(out)
    check_formats(formats)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    check_writable(out)
    name = _name_of(source)
    _check_spares(source, [out / (name + FORMATS[each][0]) for each in formats])
    result = lift(source, image_size=size, report=report, **options)
    files: list[Path] = []
    try:
        for number, person in enumerate(result.people, 1):
            stem = out / (name if number == 1 else f"{name}-{number}")
            files += write_result(stem, person, formats)
        if video and not is_keypoints(source):
            begin = time.perf_counter()
            files.append(_overlay(source, out / f"{name}.overlay.mp4", result, report, options))
            result.seconds["video"] = time.perf_counter() - begin
    except OSError as error:
        raise WriteError(str(error)) from error
    return Written(result=result, files=files)


def _name_of(source: Path) -> str:
    """What the results are called: the file's name without its suffix, or the folder's name."""
    if source.is_dir():
        # "." and ".." have no name of their own.
        return source.name if source.name not in ("", "..") else source.resolve().name
    return source.stem


def _check_spares(source: Path, targets: list[Path]) -> None:
    for target in targets:
        if target.exists() and target.samefile(source):
            raise WriteError(f"{target} is the file to read: choose another folder with --out")


def check_writable(out: Path) -> None:
    """Make a folder, and find out now, not after minutes of work, whether it can be written to.

    Raises:
        WriteError: it cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".lithepose-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise WriteError(
            f"cannot write to {out} ({error.strerror or error}): choose another folder with --out"
        ) from error


def _overlay(
    source: Path, path: Path, result: Result, report: Report | None, options: dict[str, Any]
) -> Path:
    from lithepose.video import open_video
    from lithepose.view.draw import write_overlay

    def progress(done: int) -> None:
        if report is not None:
            report("video", done, result.frames)

    with open_video(
        source,
        start_s=options.get("start"),
        end_s=options.get("end"),
        fps=options.get("fps") if source.is_dir() else None,
    ) as reader:
        write_overlay(path, reader, result.people, progress=progress)
    return path
