"""A clip to files: lift it, and write what was found."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lithepose.formats import (
    FORMATS,
    check_formats,
    check_without_world,
    person_stem,
    write_result,
)
from lithepose.formats.figure import note_of_holes
from lithepose.keypoints.reading import is_keypoints
from lithepose.pipeline.lift import lift_source
from lithepose.pipeline.options import LiftOptions, Report
from lithepose.pipeline.owners import PAGE_CLIP, TELLING, fingerprint_of, first_of_another, note
from lithepose.pipeline.result import Result
from lithepose.pipeline.sources import open_clip


class WriteError(OSError):
    """The results cannot be written."""


@dataclass(frozen=True, kw_only=True)
class LiftedFiles:
    """A lifted clip and the files made of it, complete or absent."""

    result: Result
    files: list[Path]

    def __repr__(self) -> str:
        return "\n  ".join([f"LiftedFiles({self.result!r}", *map(str, self.files)]) + ")"


def lift_to_files(
    source: str | os.PathLike[str],
    *,
    out: str | os.PathLike[str],
    formats: Sequence[str] = ("npz",),
    video: bool = True,
    page: bool | None = None,
    overwrite: bool = False,
    report: Report | None = None,
    **options: Any,
) -> LiftedFiles:
    """Lift a clip and write each person's motion as `out/<name of the source>` plus suffix.

    Args:
        out: folder, made if it is not there. Further people get `-2`, `-3`, ... in their names.
        formats: names from `lithepose.formats.FORMATS`.
        video: also write `<name>.overlay.mp4`; not for a file of keypoints, which has no pictures.
        page: also write `<name>.html`, a page to look at in a browser; None: as `video` says.
        overwrite: also replace files that are not results of this source. Its own are always
            replaced.
        options: as of `lithepose.lift`.
    Raises:
        WriteError: the folder or a file cannot be written, or would replace the source itself or,
            without `overwrite`, what is not known to be a result of it. Checked before the work
            begins too.
        As `lithepose.lift` otherwise.
    """
    asked = LiftOptions.of(options)
    source, out = Path(source), Path(out)
    check_formats(formats)
    if asked.world is None:
        check_without_world(formats)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    check_writable(out)
    name = _name_of(source)
    with_page = video if page is None else page
    overlay = out / f"{name}.overlay.mp4" if video and not is_keypoints(source) else None
    html = out / f"{name}.html" if with_page else None
    endings = [FORMATS[each][0] for each in formats]
    for target in (out / (name + ending) for ending in endings):
        if target.exists() and target.samefile(source):
            raise WriteError(f"{target} is the file to read: choose another folder with --out")
    endings += [".overlay.mp4"] * (overlay is not None) + [".html", PAGE_CLIP] * with_page
    fingerprint = fingerprint_of(source)
    if not overwrite:
        several = asked.people == "all"
        other = first_of_another(fingerprint, out, name, endings, numbered=several)
        if other is not None:
            raise WriteError(
                f"{other} is not known to be a result of {source} and would be lost: choose "
                "another folder with --out, or replace it with --overwrite"
            )
    result = lift_source(source, asked, report)
    result = _with_source(result, source, fingerprint, formats)
    stems = [person_stem(name, person.person).name for person in result.people]
    silent = [each for each in endings if each not in (*TELLING, PAGE_CLIP)]
    try:
        # Before the first file, so that a run that is broken off knows its own.
        note(fingerprint, out, name, [stem + each for stem in stems for each in silent])
        files = write_result(out / name, result.people, formats)
        begin = time.perf_counter()
        files += _write_views(overlay, html, source, result, asked, report)
        if overlay is not None or with_page:
            result.seconds["views"] = time.perf_counter() - begin
    except OSError as error:
        raise WriteError(str(error)) from error
    return LiftedFiles(result=result, files=files)


def _name_of(source: Path) -> str:
    """What the results are called: the file's name without its suffix, or the folder's name."""
    # "." and ".." have no name of their own.
    named = source.resolve() if source.name in ("", "..") else source
    return named.name if source.is_dir() else named.stem


def _with_source(result: Result, source: Path, fingerprint: str, formats: Sequence[str]) -> Result:
    """The result, its people knowing what they were lifted from, and a warning of what the files
    will not hold."""
    # A name that is no Unicode text (bytes of another encoding) is noted with replacement signs.
    file = source.resolve().name.encode("utf-8", "replace").decode("utf-8")
    told = {"source": {"file": file, "fingerprint": fingerprint}}
    people = [replace(each, metadata={**each.metadata, **told}) for each in result.people]
    lost = note_of_holes(people[0], formats)
    warnings = [*result.warnings, *([] if lost is None else [lost])]
    return replace(result, people=people, warnings=warnings)


def check_writable(out: Path) -> None:
    """Make a folder, and find out now, not after minutes of work, whether it can be written to.

    Raises:
        WriteError: it cannot.
    """
    try:
        out.mkdir(parents=True, exist_ok=True)
        probe = out / f".lithepose-{os.getpid()}"
        probe.touch()
        # Another machine's process of that number may have looked at the same time.
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot write to {out} ({error.strerror or error}): choose another folder with --out"
        ) from error


def _write_views(
    overlay: Path | None,
    page: Path | None,
    source: Path,
    result: Result,
    options: LiftOptions,
    report: Report | None,
) -> list[Path]:
    """Write the overlay video and the page; the clip is decoded once for both."""
    if overlay is None and page is None:
        return []
    from lithepose.view import OverlayVideo, PageVideo, write_page
    from lithepose.view.overlay import resized

    title = _name_of(source)
    if page is not None and is_keypoints(source):
        return write_page(page, result.people, title=title)
    with ExitStack() as stack:
        reader = stack.enter_context(open_clip(source, options))
        size, rate = reader.size, reader.fps
        shown = clip = None
        if page is not None:
            clip = stack.enter_context(PageVideo(page, size=size, fps=rate))
        if overlay is not None:
            shown = OverlayVideo(overlay, result.people, size=size, fps=rate)
            stack.enter_context(shown)
        if clip is not None and shown is not None and shown.clip_size == clip.size:
            size = clip.size  # both show one picture, which is shrunk once
        # The page's frame is added while the overlay's is painted.
        aside = stack.enter_context(ThreadPoolExecutor(1))
        added: Future[None] | None = None
        for done, frame in enumerate(reader, 1):
            image = resized(frame.image, size)
            if added is not None:
                added.result()
            if clip is not None:
                added = aside.submit(clip.add, image, frame.time_s)
            if shown is not None:
                shown.add(image, frame.time_s)
            if report is not None:
                report("views", done, result.frames)
        if added is not None:
            added.result()
        written = [] if overlay is None else [overlay]
        if page is not None:
            written += write_page(page, result.people, video=clip, title=title)
    return written
