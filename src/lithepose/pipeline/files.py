"""A clip to files: lift it, and write what was found."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lithepose.formats import FORMATS, check_formats, check_without_world, write_result
from lithepose.formats.figure import note_of_holes
from lithepose.pipeline.lift import Report, Result, is_keypoints, lift
from lithepose.pipeline.owners import TELLING, fingerprint_of, first_of_another, forget, note

if TYPE_CHECKING:
    from lithepose.arrays import Image
    from lithepose.view.html import PageVideo


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
    page: bool | None = None,
    size: tuple[int, int] | None = None,
    overwrite: bool = False,
    report: Report | None = None,
    **options: Any,
) -> Written:
    """Lift a clip and write each person's motion as `out/<name of the source>` plus suffix.

    Args:
        out: folder, made if it is not there. Further people get `-2`, `-3`, ... in their names.
        formats: names from `lithepose.formats.FORMATS`.
        video: also write `<name>.overlay.mp4`; not for a file of keypoints, which has no pictures.
        page: also write `<name>.html`, a page to look at in a browser; None: as `video` says.
        size: (width, height) of a file of keypoints.
        overwrite: also replace files that are not results of this source. Its own are always
            replaced.
        options: as of `lithepose.lift`.
    Raises:
        WriteError: the folder or a file cannot be written, or would replace the source itself or,
            without `overwrite`, what is not known to be a result of it. Checked before the work
            begins too.
        As `lithepose.lift` otherwise.
    """
    source, out = Path(source), Path(out)
    check_formats(formats)
    if options.get("world", True) is None:
        check_without_world(formats)
    if not source.exists():
        raise FileNotFoundError(f"there is no file or folder {source}")
    check_writable(out)
    name = _name_of(source)
    endings = [FORMATS[each][0] for each in formats]
    _check_spares(source, [out / (name + ending) for ending in endings])
    views = (video and not is_keypoints(source), video if page is None else page)
    endings += [".overlay.mp4"] * views[0] + [".html", ".page.mp4"] * views[1]
    fingerprint = fingerprint_of(source)
    several = options.get("people") == "all"
    if not overwrite:
        _check_owner(source, fingerprint, out, name, endings, numbered=several)
    result = lift(source, image_size=size, report=report, **options)
    result = _with_source(result, source, fingerprint, formats)
    stems = [
        name if number == 1 else f"{name}-{number}" for number in range(1, len(result.people) + 1)
    ]
    silent = [stem + each for stem in stems for each in endings if each not in TELLING]
    files: list[Path] = []
    try:
        if not {"npz", "json"} & {*formats}:  # before the first file: the page comes last
            note(fingerprint, out, name, silent)
        for stem, person in zip(stems, result.people, strict=True):
            files += write_result(out / stem, person, formats)
        begin = time.perf_counter()
        files += _views(source, out / name, result, views, report, options)
        if any(views):
            result.seconds["views"] = time.perf_counter() - begin
        if any(file.suffix in TELLING for file in files):
            forget(out, name, silent)
    except OSError as error:
        raise WriteError(str(error)) from error
    return Written(result=result, files=files)


def _name_of(source: Path) -> str:
    """What the results are called: the file's name without its suffix, or the folder's name."""
    if source.is_dir():
        # "." and ".." have no name of their own.
        return source.name if source.name not in ("", "..") else source.resolve().name
    return source.stem


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


def _check_owner(
    source: Path, fingerprint: str, out: Path, name: str, endings: Sequence[str], *, numbered: bool
) -> None:
    found = first_of_another(fingerprint, out, name, endings, numbered=numbered)
    if found is not None:
        raise WriteError(
            f"{found} is not known to be a result of {source} and would be lost: choose another "
            "folder with --out, or replace it with --overwrite"
        )


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
        # Another machine's process of that number may have looked at the same time.
        probe.unlink(missing_ok=True)
    except OSError as error:
        raise WriteError(
            f"cannot write to {out} ({error.strerror or error}): choose another folder with --out"
        ) from error


def _views(
    source: Path,
    stem: Path,
    result: Result,
    views: tuple[bool, bool],
    report: Report | None,
    options: dict[str, Any],
) -> list[Path]:
    """Write the overlay video and the page, as `views` asks for; the clip is decoded once."""
    from lithepose.video import open_video
    from lithepose.view.html import PageVideo, write_page
    from lithepose.view.overlay import OverlayVideo, resized

    with_overlay, with_page = views
    overlay = stem.with_name(f"{stem.name}.overlay.mp4")
    page = stem.with_name(f"{stem.name}.html")
    if is_keypoints(source):
        return write_page(page, result.people, title=stem.name) if with_page else []
    if not with_overlay and not with_page:
        return []

    def progress(done: int) -> None:
        if report is not None:
            report("views", done, result.frames)

    with ExitStack() as stack:
        reader = stack.enter_context(
            open_video(
                source,
                start_s=options.get("start"),
                end_s=options.get("end"),
                fps=options.get("fps") if source.is_dir() else None,
            )
        )
        shown, clip = None, None
        if with_page:
            clip = stack.enter_context(PageVideo(page, size=reader.size, fps=reader.fps))
        if with_overlay:
            shown = stack.enter_context(
                OverlayVideo(overlay, result.people, size=reader.size, fps=reader.fps)
            )
        # Of most clips both show pictures of one size, which are made once.
        alike = shown is not None and clip is not None and shown.clip_size == clip.size
        size = clip.size if clip is not None and alike else reader.size
        with _Aside(clip) if clip is not None else nullcontext() as aside:
            for done, frame in enumerate(reader, 1):
                image = resized(frame.image, size)
                if aside is not None:
                    aside.add(image, frame.time_s)
                if shown is not None:
                    shown.add(image, frame.time_s)
                progress(done)
        written = write_page(page, result.people, video=clip, title=stem.name) if clip else []
    return [*([overlay] if with_overlay else []), *written]


class _Aside:
    """Adds frames to a page's clip in another thread, while the next overlay is painted.

    Leaving the `with` block waits for what is still to be added; errors come out at the next call.
    """

    MOST = 4  # frames that wait

    def __init__(self, clip: PageVideo):
        self.clip = clip
        self._thread = ThreadPoolExecutor(1)
        self._waiting: deque[Future[None]] = deque()

    def add(self, image: Image, time_s: float) -> None:
        self._waiting.append(self._thread.submit(self.clip.add, image, time_s))
        if len(self._waiting) > self.MOST:
            self._waiting.popleft().result()

    def __enter__(self) -> _Aside:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._thread.shutdown(wait=True, cancel_futures=kind is not None)
        if kind is None:
            for frame in self._waiting:
                frame.result()
