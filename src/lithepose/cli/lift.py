"""`lithepose lift`: a video, or 2D keypoints, to files of 3D joints."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import click

from lithepose.cli.report import failing_clearly, print_summary, progress_of
from lithepose.formats import FORMATS


def _formats(ctx: click.Context, param: click.Parameter, value: str) -> list[str]:
    del ctx, param
    names = [name.strip() for name in value.split(",") if name.strip()]
    unknown = [name for name in names if name not in FORMATS]
    if unknown or not names:
        raise click.BadParameter(f"{value!r}: known formats are {', '.join(FORMATS)}")
    return names


def _size(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int] | None:
    del ctx, param
    if value is None:
        return None
    try:
        width, height = (int(part) for part in value.lower().split("x"))
    except ValueError:
        raise click.BadParameter(f"{value!r}: write WIDTHxHEIGHT, like 1920x1080") from None
    return width, height


_path = click.Path(path_type=Path)
_option = click.option
_shown = partial(click.option, show_default=True)
_switch = partial(click.option, default=True)


@click.command()
@click.argument("source", metavar="VIDEO|KEYPOINTS", type=_path)
@_shown("--out", default=Path("lithepose-out"), type=_path, help="Folder for the results.")
@_shown(
    "--format",
    "formats",
    default="npz",
    callback=_formats,
    help=f"Files to write, separated by commas: {', '.join(FORMATS)}.",
)
@_option(
    "--overwrite",
    is_flag=True,
    help="Also replace files that are not results of this input; its own are always replaced.",
)
@_shown(
    "--people",
    default="one",
    type=click.Choice(["one", "largest", "all"]),
    help="The person the clip shows most; the largest of several; or everyone.",
)
@_option("--height", type=float, help="The person's height in metres.  [default: 1.71]")
@_option("--focal", type=float, help="Focal length in pixels, instead of --fov.")
@_option(
    "--fov",
    type=float,
    help="Horizontal field of view in degrees.  [default: what the video notes, else guessed]",
)
@_option("--start", type=float, help="Leave out what is before this time, in seconds.")
@_option("--end", type=float, help="Leave out what is after this time, in seconds.")
@_switch("--video/--no-video", help="Also write an MP4 with the 3D beside the clip.")
@_option(
    "--page/--no-page",
    default=None,
    help="Also write a page to look at in a browser.  [default: as --video]",
)
@_shown(
    "--camera",
    default="auto",
    type=click.Choice(["auto", "still", "moving"]),
    help="Whether the camera stands still; a moving one leaves no path through the world.",
)
@_option(
    "--pitch",
    "pitch_deg",
    type=float,
    help="How far the camera looks above the horizon, in degrees.  "
    "[default: estimated; 0 beside --roll]",
)
@_option(
    "--roll",
    "roll_deg",
    type=float,
    help="How far the picture is turned clockwise, in degrees.  "
    "[default: estimated; 0 beside --pitch]",
)
@_option(
    "--camera-height",
    "camera_height_m",
    type=float,
    help="Height of the camera over the floor in metres.  [default: estimated]",
)
@_shown(
    "--smooth",
    "smooth_hz",
    default=6.0,
    type=click.FloatRange(0),
    help="Cut-off in Hz of the smoothing of the motion in the world; 0 for none.",
)
@_switch("--plant/--no-plant", "plant_feet", help="Hold standing feet still.")
@_switch(
    "--limits/--no-limits", "limit_joints", help="Keep joint rotations inside anatomical limits."
)
@_shown(
    "--detector",
    default="blazepose",
    metavar="NAME|FILE.onnx",
    help="What finds the joints in a video: blazepose, or a pose network.",
)
@_option(
    "--boxes",
    type=_path,
    metavar="FILE|MODEL.onnx",
    help="Where a pose network looks for people: a network that finds them, or a file of boxes.  "
    "[default: BlazePose's detector]",
)
@_option("--preset", help="How a pose network's input is made.  [default: by the file]")
@_option(
    "--box-interval",
    type=click.IntRange(1),
    help="Frames from one look for boxes to the next.  [default: 1]",
)
@_option(
    "--input-size",
    callback=_size,
    help="WIDTHxHEIGHT in pixels, for a pose network that takes any.",
)
@_option(
    "--skeleton", help="Joint set of a keypoint file or pose network that does not name its own."
)
@_option("--image-size", callback=_size, help="WIDTHxHEIGHT in pixels, for a keypoint file.")
@_option("--size", callback=_size, hidden=True)  # what --image-size was called
@_option("--fps", type=float, help="Frames per second of a keypoint file or image folder.")
@_option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of BlazePose's files.  [default: fetched once and kept]",
)
@_option("--threads", type=click.IntRange(1), help="CPU threads of the 2D stage.")
def lift(source: Path, size: tuple[int, int] | None, **options: Any) -> None:
    """Lift the people of a video, or of a file of 2D keypoints, to 3D joints in metres.

    The motion is given before the camera and in a world with a floor, with joint rotations.
    Writes OUT/<name of the video>.npz (and other formats), with -2, -3, ... in the name for further
    people. Exit codes: 2 wrong use or unreadable input, 3 nobody found, 4 not written.
    """
    with failing_clearly():
        from lithepose.pipeline import DetectorOptions, lift_to_files
        from lithepose.world import WorldOptions

        options["image_size"] = options["image_size"] or size
        options["smooth_hz"] = options["smooth_hz"] or None
        for name, record in (("world", WorldOptions), ("detector", DetectorOptions)):
            options[name] = record(**{each.name: options.pop(each.name) for each in fields(record)})
        with progress_of() as report:
            lifted = lift_to_files(source, report=report, **options)
        print_summary(lifted)
