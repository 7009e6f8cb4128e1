"""What commands print: progress, a closing summary, and errors with an exit code."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from lithepose.pipeline import LiftedFiles

# Exit codes beside 0; 1 is left to crashes.
UNREADABLE, NOBODY, UNWRITTEN, INTERRUPTED = 2, 3, 4, 130


@contextmanager
def failing_clearly() -> Iterator[None]:
    """Turn the library's errors into a message on stderr and an exit code."""
    from lithepose.assets import ModelsError
    from lithepose.pipeline import NoPersonError, WriteError

    try:
        yield
    except NoPersonError as error:
        _stop(str(error), NOBODY)
    except WriteError as error:
        _stop(str(error), UNWRITTEN)
    except (ModelsError, ValueError, OSError, FloatingPointError) as error:
        _stop(str(error), UNREADABLE)
    except KeyboardInterrupt:
        _stop("interrupted; nothing half-written was left behind", INTERRUPTED)


def _stop(message: str, code: int) -> None:
    click.echo(f"lithepose: {message}", err=True)
    sys.exit(code)


def printable(path: Path) -> str:
    """A path as standard output can show it, which may know fewer letters than the disk."""
    encoding = sys.stdout.encoding or "utf-8"
    return str(path).encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def progress_of() -> Iterator[Callable[[str, int, int | None], None]]:
    """A bar per stage with its speed on a terminal; a line per stage elsewhere."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines()
        return
    columns = (
        TextColumn("{task.description:<8}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bars:
        tasks, began = {}, {}

        def report(stage: str, done: int, total: int | None) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total, speed="")
                began[stage] = time.perf_counter()
            elapsed = time.perf_counter() - began[stage]
            speed = f"{done / elapsed:.0f}/s" if elapsed > 0.5 else ""
            bars.update(tasks[stage], completed=done, total=total, speed=speed)

        yield report


class _Lines:
    """Progress for logs: says when a stage begins and every ten seconds after that."""

    def __init__(self) -> None:
        self.stage, self.began, self.said = "", 0.0, 0.0

    def __call__(self, stage: str, done: int, total: int | None) -> None:
        now = time.perf_counter()
        if stage != self.stage:
            self.stage, self.began, self.said = stage, now, now
            click.echo(f"{stage} ...", err=True)
        elif now - self.said > 10:
            self.said = now
            of = f" of {total}" if total else ""
            click.echo(f"{stage}: {done}{of}, {done / (now - self.began):.1f}/s", err=True)


def print_summary(lifted: LiftedFiles) -> None:
    """People, frames, gaps, confidence, speed and files of a finished clip."""
    result = lifted.result
    click.echo(
        f"{result.frames} frames of {result.image_size[0]}x{result.image_size[1]} at "
        f"{result.fps:.2f} frames/s"
    )
    for person in result.people:
        facts = person.metadata
        height = f"{facts['height_m']:.2f} m" + ("" if facts["height_known"] else " (assumed)")
        click.echo(
            f"person {person.person}: {facts['frames_with_person']} frames, "
            f"{facts['gaps']} gaps, "
            f"mean confidence {facts['mean_confidence']:.2f}, height {height}, "
            f"reprojection {facts['reprojection_px']} px"
        )
        if facts["frames_exchanged"]:
            click.echo(f"  left and right put right in {facts['frames_exchanged']} frames")
        if "world" in facts:
            world = facts["world"]
            path = "" if world["path"] else "; the camera moves, so there is no path"
            click.echo(
                f"  camera {world['camera_height_m']:.2f} m high, tilted {world['pitch_deg']:+.0f} "
                f"degrees against level; a foot stands in {100 * world['standing_share']:.0f} % of "
                f"the frames{path}"
            )
    for note in [result.problem, *result.warnings]:
        if note:
            click.echo(f"note: {note}", err=True)
    seconds = sum(result.seconds.values())
    stages = ", ".join(f"{stage} {spent:.1f} s" for stage, spent in result.seconds.items())
    click.echo(f"{result.frames / max(seconds, 1e-9):.1f} frames/s ({stages})")
    for path in lifted.files:
        click.echo(printable(path))
