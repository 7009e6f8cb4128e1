"""Acclaim motion capture: a skeleton (ASF) and its motion (AMC), as CMU publishes both.

How the files are meant: every bone turns about axes of its own, which `axis` places in the file's
axes, so its turn is C M C⁻¹ with C from `axis` and M from the motion's angles; the first angle
listed turns first, R = R3 R2 R1. A bone begins where its parent ends. Lengths and the root's
positions are stored multiplied by the skeleton's `length`; what they measured before that, the
files don't say. CMU's are inches.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.arrays import Floats
from lithepose.formats.parsing import LineError, fill_row, naming, number, read_lines
from lithepose.rotations import from_euler, unit

INCH_M = 0.0254
_AXES = "XYZ"
_TURNS = ("RX", "RY", "RZ")
_SHIFTS = ("TX", "TY", "TZ")


@dataclass(frozen=True, kw_only=True)
class Skeleton:
    """A tree of bones in the rest pose, in the file's axes.

    Attributes:
        names: N bones, parents before their children; the first is `root`, a point.
        parents: index of each bone's parent, -1 for the root.
        offsets: (N, 3) metres, each bone's end seen from its beginning; for the root its position
            in the rest pose.
        axes: (N, 3, 3) rotations from each bone's own axes to the file's.
        dof: for each bone its angles in the order of the motion file, such as `RX`; empty for a
            bone that is fixed to its parent. For the root positions, such as `TX`, as well.
        unit_m: metres of one of the file's units of length.
        degrees: whether angles are degrees; a motion file may say otherwise for its own.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Floats
    axes: Floats
    dof: tuple[tuple[str, ...], ...]
    unit_m: float
    degrees: bool


@dataclass(frozen=True, kw_only=True)
class Amc:
    """The motion of a skeleton, T frames.

    Attributes:
        skeleton: whose motion it is.
        fps: frames per second, None where the file doesn't say, as CMU's don't (theirs are 120,
            few 60).
        root: (T, 3) metres.
        rotations: (T, N, 3, 3) each bone's turn against its parent's, in the file's axes; acts on
            column vectors.
    """

    skeleton: Skeleton
    fps: float | None
    root: Floats
    rotations: Floats

    def places(self) -> tuple[Floats, Floats]:
        """Forward kinematics: where the bones end (T, N, 3) metres and how they are turned against
        the rest pose (T, N, 3, 3), in the file's axes. The root's end is the root itself."""
        turns = self.rotations.copy()
        places = np.empty((*turns.shape[:2], 3))
        for bone, parent in enumerate(self.skeleton.parents):
            if parent < 0:
                places[:, bone] = self.root
                continue
            turns[:, bone] = turns[:, parent] @ self.rotations[:, bone]
            places[:, bone] = places[:, parent] + turns[:, bone] @ self.skeleton.offsets[bone]
        return places, turns


# A line's number and its words.
_Line = tuple[int, list[str]]


def _lines(path: Path) -> list[_Line]:
    """The lines that say something, without comments."""
    lines = read_lines(path)
    if any("\0" in line for line in lines):
        raise LineError(1, "the file holds zero bytes, so it is no text")
    split = (line.partition("#")[0].split() for line in lines)
    return [(number, words) for number, words in enumerate(split, 1) if words]


def _numbers(line: int, words: list[str], count: int, what: str) -> Floats:
    if len(words) != count:
        raise LineError(line, f"{what} takes {count} numbers; found {len(words)}")
    return np.array([number(line, word) for word in words])


# ---- The skeleton --------------------------------------------------------------------------------


@dataclass(kw_only=True)
class _Bone:
    """What the file says of a bone."""

    line: int
    name: str
    direction: Floats
    length: float
    axis: tuple[Floats, str]  # angles, and the order of their axes
    dof: tuple[str, ...] = ()


@dataclass(kw_only=True)
class _Parts:
    """What the file says, as far as it has been read; else what holds where nothing is said."""

    length: float = 1.0
    degrees: bool = True
    order: tuple[str, ...] = (*_SHIFTS, *_TURNS)
    position: Floats = field(default_factory=lambda: np.zeros(3))
    bones: list[_Bone] = field(default_factory=list)
    parent_of: dict[str, str] = field(default_factory=dict)


def read_asf(path: str | os.PathLike[str], *, measure_m: float = INCH_M) -> Skeleton:
    """Read a skeleton.

    Args:
        path: the file.
        measure_m: metres of the unit in which the skeleton was measured, which the file doesn't
            say. CMU's were in inches.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an ASF file, or a damaged one, or one with bones that change their length
            or place; with the number of the line.
    """
    path = Path(path)
    with naming(path, "ASF"):
        return _skeleton(_parts(_lines(path)), measure_m)


def _parts(lines: list[_Line]) -> _Parts:
    parts = _Parts()
    readers = {
        ":units": _read_units,
        ":root": _read_root,
        ":bonedata": _read_bones,
        ":hierarchy": _read_hierarchy,
    }
    seen: dict[str, int] = {}
    for title, content in _sections(lines):
        name, line = title[1][0].lower(), title[0]
        if name in seen:
            raise LineError(line, f"a second {name}; the first is in line {seen[name]}")
        seen[name] = line
        if name in readers:  # the rest, such as :documentation and :skin, moves nothing
            readers[name](parts, content)
    last = lines[-1][0] if lines else 1
    for name in readers:
        if name not in seen and name != ":units":
            raise LineError(last, f"the file ends without {name}")
    return parts


def _sections(lines: list[_Line]) -> Iterator[tuple[_Line, list[_Line]]]:
    starts = [at for at, (_, words) in enumerate(lines) if words[0].startswith(":")]
    if not starts or starts[0] > 0:
        line, word = (lines[0][0], lines[0][1][0]) if lines else (1, "the end of the file")
        raise LineError(line, f"a keyword with a colon, such as :version, expected; found {word}")
    for start, end in zip(starts, [*starts[1:], len(lines)], strict=True):
        yield lines[start], lines[start + 1 : end]


def _read_units(parts: _Parts, lines: list[_Line]) -> None:
    for line, words in lines:
        if words[0].lower() == "length":
            parts.length = float(_numbers(line, words[1:], 1, "length")[0])
            if parts.length <= 0:
                raise LineError(line, f"length must be above 0; found {words[1]}")
        elif words[0].lower() == "angle":
            unit = " ".join(words[1:]).lower()
            if unit not in ("deg", "degrees", "rad", "radians"):
                raise LineError(line, f"the unit of angles is deg or rad; found {unit!r}")
            parts.degrees = unit.startswith("deg")


def _read_root(parts: _Parts, lines: list[_Line]) -> None:
    for line, words in lines:
        match words[0].lower():
            case "order":
                parts.order = _dof(line, words[1:], (*_SHIFTS, *_TURNS))
            case "axis":
                _axis_order(line, words[1:])
            case "position":
                parts.position = _numbers(line, words[1:], 3, "position")
            case "orientation":
                # Programs disagree on what it would turn; CMU's are all 0.
                if _numbers(line, words[1:], 3, "orientation").any():
                    raise LineError(line, "a root turned in the rest pose is not supported")
            case other:
                known = "order, axis, position or orientation of the root"
                raise LineError(line, f"{known} expected; found {other!r}")


def _dof(line: int, words: list[str], known: Iterable[str]) -> tuple[str, ...]:
    found = tuple(word.upper() for word in words)
    for word, name in zip(words, found, strict=True):
        if name not in known:
            raise LineError(
                line,
                f"{word!r} is no way to move here; known: {', '.join(known).lower()} "
                "(bones that change their length or place are not supported)",
            )
    if len(set(found)) < len(found):
        raise LineError(line, f"one way to move is listed twice: {' '.join(words)}")
    return found


def _axis_order(line: int, words: list[str]) -> str:
    order = "".join(words).upper()
    if sorted(order) != list(_AXES):
        raise LineError(line, f"an order of axes such as XYZ expected; found {' '.join(words)!r}")
    return order


def _read_bones(parts: _Parts, lines: list[_Line]) -> None:
    said: dict[str, Any] | None = None  # of the bone that is being read
    for line, words in lines:
        key = words[0].lower()
        if key == "begin":
            if said is not None:
                raise LineError(line, f"begin inside of the bone that began in line {said['line']}")
            said = {"line": line}
        elif said is None:
            raise LineError(line, f"begin of a bone expected; found {words[0]!r}")
        elif key == "end":
            for name in ("name", "direction", "length", "axis"):
                if name not in said:
                    raise LineError(said["line"], f"this bone has no {name}")
            parts.bones.append(_Bone(**said))
            said = None
        elif key == "name":
            if len(words) != 2:
                raise LineError(line, "a bone's name is one word")
            said["name"] = words[1]
        elif key == "direction":
            said["direction"] = _numbers(line, words[1:], 3, "direction")
            if np.linalg.norm(said["direction"]) < 1e-6:
                raise LineError(line, "a direction of length 0")
        elif key == "length":
            said["length"] = float(_numbers(line, words[1:], 1, "length")[0])
            if said["length"] < 0:
                raise LineError(line, f"a bone's length must not be below 0; found {words[1]}")
        elif key == "axis":
            angles = _numbers(line, words[1:4], 3, "axis")
            said["axis"] = (angles, _axis_order(line, words[4:]))
        elif key == "dof":
            said["dof"] = _dof(line, words[1:], _TURNS)
        # Limits, which run over several lines, masses and numbers of bones move nothing.
    if said is not None:
        raise LineError(said["line"], "this bone has no end")


def _read_hierarchy(parts: _Parts, lines: list[_Line]) -> None:
    known = {"root", *(bone.name for bone in parts.bones)}
    for line, words in lines:
        if words in (["begin"], ["end"]):
            continue
        for name in words:
            if name not in known:
                raise LineError(line, f":bonedata has no bone {name!r}")
        for child in words[1:]:
            if child in parts.parent_of or child == "root":
                raise LineError(line, f"{child!r} has a parent already")
            parts.parent_of[child] = words[0]
    for bone in parts.bones:
        if bone.name not in parts.parent_of:
            raise LineError(bone.line, f":hierarchy gives the bone {bone.name!r} no parent")


def _skeleton(parts: _Parts, measure_m: float) -> Skeleton:
    unit_m, degrees = measure_m / parts.length, parts.degrees
    bones: dict[str, _Bone] = {}
    for bone in parts.bones:
        if bone.name in bones or bone.name == "root":
            raise LineError(bone.line, f"a second bone {bone.name!r}")
        bones[bone.name] = bone
    names, parents = ["root"], [-1]
    for parent, name in enumerate(names):  # grows while it is walked along
        children = [child for child, above in parts.parent_of.items() if above == name]
        names += children
        parents += [parent] * len(children)
    for bone in parts.bones:
        if bone.name not in names:
            raise LineError(bone.line, f"the bone {bone.name!r} does not hang from the root")
    ordered = [bones[name] for name in names[1:]]
    ends = [unit(bone.direction) * bone.length * unit_m for bone in ordered]
    return Skeleton(
        names=tuple(names),
        parents=tuple(parents),
        offsets=np.array([parts.position * unit_m, *ends]),
        axes=np.array([np.eye(3), *(_rotations(*bone.axis, degrees) for bone in ordered)]),
        dof=(parts.order, *(bone.dof for bone in ordered)),
        unit_m=unit_m,
        degrees=degrees,
    )


def _rotations(angles: Floats, order: str, degrees: bool) -> Floats:
    """Rotations (..., 3, 3) by angles (..., len(order)) about the axes of `order`, the first
    first."""
    angles = np.radians(angles) if degrees else angles
    return from_euler(angles[..., ::-1], order[::-1].lower())


# ---- The motion ----------------------------------------------------------------------------------


def read_amc(path: str | os.PathLike[str], skeleton: Skeleton) -> Amc:
    """Read the motion of a skeleton.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not an AMC file, or a damaged one, or one of another skeleton; with the number
            of the line.
    """
    path = Path(path)
    with naming(path, "AMC"):
        return _motion(_lines(path), skeleton)


def _motion(lines: list[_Line], skeleton: Skeleton) -> Amc:
    degrees, fps, first = skeleton.degrees, None, 0
    for line, words in lines:
        if not words[0].startswith(":"):
            break
        first += 1
        key = words[0].upper()
        if key in (":DEGREES", ":RADIANS"):
            degrees = key == ":DEGREES"
        elif key == ":SAMPLES-PER-SECOND":
            fps = float(_numbers(line, words[1:], 1, key)[0])
            if fps <= 0:
                raise LineError(line, f"samples per second must be above 0; found {words[1]}")
        elif key != ":FULLY-SPECIFIED":
            raise LineError(
                line,
                f"no keyword of an AMC file: {words[0]}; known: :FULLY-SPECIFIED, :DEGREES, "
                ":RADIANS, :SAMPLES-PER-SECOND",
            )
    values = _values(lines[first:], skeleton)

    rotations = np.tile(np.eye(3), (len(values), len(skeleton.names), 1, 1))
    root = np.tile(skeleton.offsets[0], (len(values), 1))
    column = 0
    for bone, dof in enumerate(skeleton.dof):
        own = values[:, column : column + len(dof)]
        column += len(dof)
        turning = [at for at, name in enumerate(dof) if name in _TURNS]
        order = "".join(dof[at][1] for at in turning)
        turns, axes = _rotations(own[:, turning], order, degrees), skeleton.axes[bone]
        rotations[:, bone] = axes @ turns @ axes.T
        for at, name in enumerate(dof):
            if name in _SHIFTS:  # of the root alone
                root[:, _SHIFTS.index(name)] += own[:, at] * skeleton.unit_m
    return Amc(skeleton=skeleton, fps=fps, root=root, rotations=rotations)


def _values(lines: list[_Line], skeleton: Skeleton) -> Floats:
    """(T, angles and positions of all bones), in the skeleton's order."""
    columns, column = {}, 0
    for name, dof in zip(skeleton.names, skeleton.dof, strict=True):
        if dof:
            columns[name] = slice(column, column + len(dof))
            column += len(dof)
    frames = sum(len(words) == 1 and words[0].isdecimal() for _, words in lines)
    if not frames:
        line = lines[0][0] if lines else 1
        raise LineError(line, "the number of the first frame expected; there is no frame")
    rows = np.empty((frames, column))
    row, frame, begun = -1, 0, 0
    missing: set[str] = set()
    for line, words in lines:
        name = words[0]
        if len(words) == 1 and name.isdecimal():
            _check_frame(begun, frame, missing)
            if row >= 0 and int(name) != frame + 1:
                raise LineError(line, f"frame {frame + 1} expected; found {name}")
            row, frame, begun, missing = row + 1, int(name), line, set(columns)
            continue
        if row < 0:
            raise LineError(line, f"the number of the first frame expected; found {name!r}")
        if name not in missing:
            if name in columns:
                raise LineError(line, f"frame {frame} has the bone {name!r} twice")
            there = name in skeleton.names
            why = "has no way to move" if there else "is not in the skeleton"
            raise LineError(line, f"the bone {name!r} {why}: is the ASF file of the same subject?")
        own = rows[row, columns[name]]
        if len(words) - 1 != len(own):
            raise LineError(line, f"{name!r} takes {len(own)} numbers; found {len(words) - 1}")
        fill_row(own, line, words[1:])
        missing.remove(name)
    _check_frame(begun, frame, missing)
    return rows


def _check_frame(line: int, frame: int, missing: set[str]) -> None:
    if missing:
        raise LineError(line, f"frame {frame} lacks {', '.join(sorted(missing))}")
