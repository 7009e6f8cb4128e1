"""A clip to files: lift it, and write what was found."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lithepose.formats import check_formats, write_result
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
        WriteError: the folder or a file cannot be written. Checked before the work begins too.
        As `lithepose.lift` otherwise.
    """
    source, out = Path(source), Path(out)
    check_formats(formats)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    _check_writable(out)
    result = lift(source, image_size=size, report=report, **options)
    files: list[Path] = []
    try:
        for number, person in enumerate(result.people, 1):
            name = source.stem if number == 1 else f"{source.stem}-{number}"
            files += write_result(out / name, person, formats)
        if video and not is_keypoints(source):
            begin = time.perf_counter()
            files.append(_overlay(source, out, result, report, options))
            result.seconds["video"] = time.perf_counter() - begin
    except OSError as error:
        raise WriteError(str(error)) from error
    return Written(result=result, files=files)


def _check_writable(out: Path) -> None:
    """Find out now, not after minutes of work, that the folder cannot be written."""
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
    source: Path, out: Path, result: Result, report: Report | None, options: dict[str, Any]
) -> Path:
    from lithepose.video import open_video
    from lithepose.view.draw import write_overlay

    path = out / f"{source.stem}.overlay.mp4"

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
