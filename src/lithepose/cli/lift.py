"""`lithepose lift`: a video, or 2D keypoints, to files of 3D joints."""

from __future__ import annotations

from dataclasses import fields
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


@click.command()
@click.argument("source", metavar="VIDEO|KEYPOINTS", type=click.Path(path_type=Path))
@click.option(
    "--out",
    default=Path("lithepose-out"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Folder for the results.",
)
@click.option(
    "--format",
    "formats",
    default="npz",
    show_default=True,
    callback=_formats,
    help=f"Files to write, separated by commas: {', '.join(FORMATS)}.",
)
@click.option(
    "--overwrite",
    is_flag=True,
    help="Also replace files that are not results of this input; its own are always replaced.",
)
@click.option(
    "--people",
    default="one",
    show_default=True,
    type=click.Choice(["one", "largest", "all"]),
    help="The person the clip shows most; the largest of several; or everyone.",
)
@click.option("--height", type=float, help="The person's height in metres.  [default: 1.71]")
@click.option("--focal", type=float, help="Focal length in pixels, instead of --fov.")
@click.option(
    "--fov",
    type=float,
    help="Horizontal field of view in degrees.  [default: what the video notes, else guessed]",
)
@click.option("--start", type=float, help="Leave out what is before this time, in seconds.")
@click.option("--end", type=float, help="Leave out what is after this time, in seconds.")
@click.option(
    "--video/--no-video", default=True, help="Also write an MP4 with the 3D beside the clip."
)
@click.option(
    "--page/--no-page",
    default=None,
    help="Also write a page to look at in a browser.  [default: as --video]",
)
@click.option(
    "--camera",
    default="auto",
    show_default=True,
    type=click.Choice(["auto", "still", "moving"]),
    help="Whether the camera stands still; a moving one leaves no path through the world.",
)
@click.option(
    "--pitch",
    "pitch_deg",
    type=float,
    help="How far the camera looks above the horizon, in degrees.  "
    "[default: estimated; 0 beside --roll]",
)
@click.option(
    "--roll",
    "roll_deg",
    type=float,
    help="How far the picture is turned clockwise, in degrees.  "
    "[default: estimated; 0 beside --pitch]",
)
@click.option(
    "--camera-height",
    "camera_height_m",
    type=float,
    help="Height of the camera over the floor in metres.  [default: estimated]",
)
@click.option(
    "--smooth",
    "smooth_hz",
    default=6.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Cut-off in Hz of the smoothing of the motion in the world; 0 for none.",
)
@click.option("--plant/--no-plant", "plant_feet", default=True, help="Hold standing feet still.")
@click.option(
    "--limits/--no-limits",
    "limit_joints",
    default=True,
    help="Keep joint rotations inside anatomical limits.",
)
@click.option(
    "--detector",
    default="blazepose",
    show_default=True,
    metavar="NAME|FILE.onnx",
    help="What finds the joints in a video: blazepose, or a pose network.",
)
@click.option(
    "--boxes",
    type=click.Path(path_type=Path),
    metavar="FILE|MODEL.onnx",
    help="Where a pose network looks for people: a network that finds them, or a file of boxes.  "
    "[default: BlazePose's detector]",
)
@click.option("--preset", help="How a pose network's input is made.  [default: by the file]")
@click.option(
    "--box-interval",
    type=click.IntRange(1),
    help="Frames from one look for boxes to the next.  [default: 1]",
)
@click.option(
    "--input-size",
    callback=_size,
    help="WIDTHxHEIGHT in pixels, for a pose network that takes any.",
)
@click.option(
    "--skeleton", help="Joint set of a keypoint file or pose network that does not name its own."
)
@click.option("--image-size", callback=_size, help="WIDTHxHEIGHT in pixels, for a keypoint file.")
@click.option("--size", callback=_size, hidden=True)  # what --image-size was called
@click.option("--fps", type=float, help="Frames per second of a keypoint file or image folder.")
@click.option(
    "--models",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder of BlazePose's files.  [default: fetched once and kept]",
)
@click.option("--threads", type=click.IntRange(1), help="CPU threads of the 2D stage.")
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
