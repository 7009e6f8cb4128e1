"""Files of finished motion: one table of formats, and a function that writes several at once."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from lithepose.lazy import located
from lithepose.poses import Track3D

__all__ = ["FORMATS", "READERS", "format_of", "format_writer", "read_result", "write_result"]

# Name that the user types -> (what is appended to the file's name, where the writer is): a path to
# it, so that the table loads without any of the modules. Every writer takes (path, track): the file
# to write, with its suffix, which it replaces, and the motion; those `OF_THE_WORLD` need one, in
# which a person whose way is unknown moves on the spot. It raises
#   ValueError: the track lacks what the format holds, or an array of it has the wrong shape;
#   OSError: the place cannot be written to; nothing is left behind.
FORMATS: dict[str, tuple[str, str]] = {
    "npz": (".npz", "lithepose.formats.npz:write_npz"),
    "json": (".json", "lithepose.formats.text:write_json"),
    "csv": (".csv", "lithepose.formats.text:write_csv"),
    "csv-wide": (".wide.csv", "lithepose.formats.text:write_csv_wide"),
    "trc": (".trc", "lithepose.formats.trc:write_trc"),
    "c3d": (".c3d", "lithepose.formats.c3d:write_c3d"),
    "bvh": (".bvh", "lithepose.formats.bvh:write_bvh"),
    "glb": (".glb", "lithepose.formats.gltf:write_glb"),
}

# Those that hold nothing but the motion in the world.
OF_THE_WORLD = ("trc", "c3d", "bvh", "glb")

# The formats that keep everything, by suffix. Every reader takes a path and gives the track. It
# raises
#   FileNotFoundError: there is no such file;
#   ValueError: not a result file, a damaged one, or one of a later version.
READERS: dict[str, str] = {
    ".npz": "lithepose.formats.npz:read_npz",
    ".json": "lithepose.formats.text:read_json",
}


def check_formats(formats: Sequence[str]) -> None:
    """Refuse names that are not in `FORMATS`: worth a call before a long computation.

    Raises:
        ValueError: a name is unknown, or there is none at all.
    """
    known = ", ".join(FORMATS)
    if not formats:
        raise ValueError(f"no format to write; known: {known}")
    for name in formats:
        if name not in FORMATS:
            raise ValueError(f"no format named {name!r}; known: {known}")


def format_of(path: str | os.PathLike[str]) -> str:
    """The format that a file's name ends in, whatever its case.

    Raises:
        ValueError: it is the ending of none.
    """
    name = Path(path).name.lower()
    found = [each for each, (ending, _) in FORMATS.items() if name.endswith(ending)]
    if not found:
        endings = ", ".join(ending for ending, _ in FORMATS.values())
        raise ValueError(f"cannot tell the format of {path} from its name; known: {endings}")
    return max(found, key=lambda each: len(FORMATS[each][0]))  # .wide.csv before .csv


def check_without_world(formats: Sequence[str]) -> None:
    """Refuse formats that hold the motion in the world, for results that have none.

    Raises:
        ValueError: a name is in `OF_THE_WORLD`.
    """
    for name in formats:
        if name in OF_THE_WORLD:
            raise ValueError(
                f"{name} holds the motion in the world, which was left out: lift with a world, or "
                "write npz, json or csv"
            )


def format_writer(name: str) -> Callable[[str | os.PathLike[str], Track3D], None]:
    """The function (path, track) that writes a format.

    Raises:
        ValueError: there is no format of that name.
    """
    check_formats([name])
    return located(FORMATS[name][1])


def person_stem(stem: str | os.PathLike[str], number: int) -> Path:
    """The path of a person's files without their ending: the first has `stem` itself, further ones
    `stem-2` and so on."""
    stem = Path(stem)
    return stem if number == 1 else stem.with_name(f"{stem.name}-{number}")


def write_result(
    path: str | os.PathLike[str],
    people: Track3D | Sequence[Track3D],
    formats: Sequence[str] | None = None,
) -> list[Path]:
    """Write the motion of one person, or of the people of a clip, in one or more formats.

    Args:
        path: the file to write, such as `out/walk.bvh`; with `formats` the same without its ending:
            `out/walk` gives `out/walk.npz` and so on, and a dot in it is part of the name. Further
            people get `-2`, `-3`, ... in their names.
        people: the motion.
        formats: names from `FORMATS`; a repeated name is written once. None: what the name of the
            file ends in.

    Returns:
        The files, by person, each in the order of `formats`.

    Raises:
        ValueError: an unknown format (nothing has been written then), or a track whose arrays do
            not fit.
        OSError: a file cannot be written; the files before it are complete, it and those after it
            are absent.
    """
    path = Path(path)
    if formats is None:
        formats = [format_of(path)]
        path = path.with_name(path.name[: -len(FORMATS[formats[0]][0])])
    check_formats(formats)
    written = []
    for number, track in enumerate([people] if isinstance(people, Track3D) else people, 1):
        stem = person_stem(path, number)
        for name in dict.fromkeys(formats):
            written.append(stem.with_name(stem.name + FORMATS[name][0]))
            format_writer(name)(written[-1], track)
    return written


def read_result(path: str | os.PathLike[str]) -> Track3D:
    """Read a result that keeps everything: .npz or .json.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: another kind of file, a damaged one, or one of a later version.
    """
    path = Path(path)
    if path.suffix.lower() not in READERS:
        raise ValueError(f"cannot read a result from {path}: give the .npz or .json file of it")
    return located(READERS[path.suffix.lower()])(path)
