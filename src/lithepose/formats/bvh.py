"""Skeletal animation as BVH: read from any program, written for Blender and the like.

Written files: the rig's nodes as joints, y up, metres; the rest pose is a T-pose facing +z with the
left arm along +x. A frame per frame of the clip; those without the person are filled (see
`figure`). BVH knows one frame time, so uneven times become even.

How a file is read, and meant when written: rotation channels apply in the order they are listed,
R = R1 R2 R3, each about its own axis, in degrees; position channels replace the joint's offset.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lithepose.arrays import Floats
from lithepose.bones import forward_kinematics
from lithepose.files import atomic_write
from lithepose.formats.figure import Y_UP, even_rate, motion_of, turned_y_up, world_of
from lithepose.formats.parsing import LineError, fill_row, naming, number, read_lines
from lithepose.poses import Track3D
from lithepose.rotations import from_euler, from_quaternions
from lithepose.world import NODE_PARENTS, NODES

_AXES = "XYZ"
_CHANNELS = tuple(f"{axis}{kind}" for kind in ("position", "rotation") for axis in _AXES)
_END = "End"  # of a joint's name: its end site
# The order that most programs write, so the one that all of them read.
_ORDER = "ZXY"


@dataclass(frozen=True, kw_only=True)
class Bvh:
    """An animated tree of joints, in the file's axes and unit of length.

    Attributes:
        names: N joints, parents before their children. An end site, which carries no rotation, is
            called after its parent: `HeadEnd`.
        parents: index of each joint's parent, -1 for the root.
        offsets: (N, 3), each joint seen from its parent in the rest pose.
        channels: for each joint its channels in the file's order, such as `Xrotation`.
        frame_time_s: seconds from frame to frame.
        positions: (T, N, 3), each joint seen from its parent: the offset, where no position channel
            replaces it.
        rotations: (T, N, 3, 3), each joint's rotation against its parent; acts on column vectors.
    """

    names: tuple[str, ...]
    parents: tuple[int, ...]
    offsets: Floats
    channels: tuple[tuple[str, ...], ...]
    frame_time_s: float
    positions: Floats
    rotations: Floats

    def places(self) -> tuple[Floats, Floats]:
        """Forward kinematics: where the joints are (T, N, 3) and how they are turned
        (T, N, 3, 3), both against the file's axes."""
        return forward_kinematics(self.parents, self.positions, self.rotations)


# ---- Reading -------------------------------------------------------------------------------------


def read_bvh(path: str | os.PathLike[str]) -> Bvh:
    """Read a BVH file of any program: any tree, any channels in any order.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not a BVH file, or a damaged one; with the number of the line.
    """
    path = Path(path)
    with naming(path, "BVH"):
        return _parse(read_lines(path))


def _parse(lines: list[str]) -> Bvh:
    tokens = _Tokens(lines)
    tokens.expect("HIERARCHY")
    names: list[str] = []
    parents: list[int] = []
    offsets: list[list[float]] = []
    channels: list[tuple[str, ...]] = []
    open_joints = [-1]  # the way from the root to the joint being read
    word = tokens.expect("ROOT")
    while True:
        if word == "}":
            open_joints.pop()
            if len(open_joints) == 1:
                break
        else:
            parent = open_joints[-1]
            if word == "END":
                tokens.expect("SITE")
            # Some programs give end sites a name of their own.
            unnamed = word == "END" and tokens.peek()[1] == "{"
            name = names[parent] + _END if unnamed else tokens.rest_of_line()
            tokens.expect("{")
            tokens.expect("OFFSET")
            open_joints.append(len(names))
            names.append(name)
            parents.append(parent)
            offsets.append([tokens.number() for _ in range(3)])
            channels.append(tokens.channels())
        word = tokens.expect("JOINT", "END", "}")
    tokens.expect("MOTION")
    frames, frame_time_s, first = _read_motion_header(lines, tokens.line)
    values = _read_values(lines, first, frames, sum(len(each) for each in channels))

    positions = np.tile(np.array(offsets), (frames, 1, 1))
    rotations = np.tile(np.eye(3), (frames, len(names), 1, 1))
    column = 0
    for joint, each in enumerate(channels):
        for channel in each:
            if channel.endswith("position"):
                positions[:, joint, _AXES.index(channel[0])] = values[:, column]
            else:
                turns = from_euler(np.radians(values[:, column, None]), channel[0].lower())
                rotations[:, joint] = rotations[:, joint] @ turns
            column += 1
    return Bvh(
        names=tuple(names),
        parents=tuple(parents),
        offsets=np.array(offsets),
        channels=tuple(channels),
        frame_time_s=frame_time_s,
        positions=positions,
        rotations=rotations,
    )


class _Tokens:
    """The words of the hierarchy one after the other, wherever the lines break."""

    def __init__(self, lines: list[str]) -> None:
        self._last, self.line = len(lines), 1
        words = (
            (at, word)
            for at, line in enumerate(lines, 1)
            for word in re.findall(r"[{}]|[^\s{}]+", line)
        )
        self._words, self._next = words, next(words, None)

    def peek(self) -> tuple[int, str]:
        if self._next is None:
            raise LineError(self._last, "the file ends in the middle of the hierarchy")
        return self._next

    def take(self) -> str:
        self.line, word = self.peek()
        self._next = next(self._words, None)
        return word

    def expect(self, *wanted: str) -> str:
        word = self.take()
        if word.upper() not in wanted:
            raise LineError(self.line, f"{' or '.join(wanted)} expected; found {word!r}")
        return word.upper()

    def rest_of_line(self) -> str:
        """A name, which may have blanks in it."""
        words = [self.take()]
        while self.peek()[1] != "{" and self.peek()[0] == self.line:
            words.append(self.take())
        if words == ["{"]:
            raise LineError(self.line, "a joint's name expected; found '{'")
        return " ".join(words)

    def number(self) -> float:
        word = self.take()
        return number(self.line, word)

    def channels(self) -> tuple[str, ...]:
        if self.peek()[1].upper() != "CHANNELS":
            return ()
        self.take()
        word = self.take()
        if not word.isdecimal():
            raise LineError(self.line, f"the number of channels expected; found {word!r}")
        found = tuple(self.take().capitalize() for _ in range(int(word)))
        for channel in found:
            if channel not in _CHANNELS:
                known = ", ".join(_CHANNELS)
                raise LineError(self.line, f"no channel is called {channel!r}; known: {known}")
        return found


def _read_motion_header(lines: list[str], line: int) -> tuple[int, float, int]:
    """Number of frames, seconds from frame to frame, and the number of the line after these."""
    found = []
    for name, pattern in (("Frames:", r"\d+"), ("Frame Time:", r"\S+")):
        line += 1
        while line <= len(lines) and not lines[line - 1].strip():
            line += 1
        text = lines[line - 1].strip() if line <= len(lines) else "the end of the file"
        wanted = name.replace(" ", r"\s+").replace(":", r"\s*:\s*")
        match = re.fullmatch(f"{wanted}({pattern})", text, re.IGNORECASE)
        if match is None:
            shown = text if len(text) < 40 else text[:37] + "..."
            at = min(line, len(lines))
            raise LineError(at, f"'{name}' and a number expected; found {shown!r}")
        found.append(match[1])
    try:
        frame_time_s = float(found[1])
    except ValueError:
        frame_time_s = np.nan
    if not (np.isfinite(frame_time_s) and frame_time_s > 0):
        raise LineError(line, f"the frame time must be a number above 0; found {found[1]!r}")
    return int(found[0]), frame_time_s, line + 1


def _read_values(lines: list[str], first: int, frames: int, width: int) -> Floats:
    """(frames, width), from the line numbered `first` on."""
    if frames > len(lines):  # before room is made for what a damaged number says
        raise LineError(len(lines), f"{frames} frames were announced; there are fewer lines")
    rows = np.empty((frames, width))
    row = 0
    for at, line in enumerate(lines[first - 1 :], first):
        cells = line.split()
        if not cells:
            continue
        if row == frames:
            raise LineError(at, f"{frames} frames were announced, here is another one")
        if len(cells) != width:
            raise LineError(at, f"a frame has {width} numbers; found {len(cells)}")
        fill_row(rows[row], at, cells)
        row += 1
    if row < frames:
        raise LineError(len(lines), f"{frames} frames were announced; found {row}")
    return rows


# ---- Writing -------------------------------------------------------------------------------------


def write_bvh(path: str | os.PathLike[str], track: Track3D) -> None:
    """Write one person's figure and motion; see `lithepose.formats.FORMATS`."""
    world = world_of(track, "BVH")
    motion = motion_of(world, track.time_s)
    turning = [node for node, name in enumerate(NODES) if not name.endswith(_END)]
    turns = from_quaternions(turned_y_up(motion.rotations[:, turning]))
    angles = np.degrees(_euler_zxy(turns))  # (T, joints, 3)
    values = np.concatenate([motion.root @ Y_UP.T, angles.reshape(len(angles), -1)], axis=1)
    offsets = np.asarray(world.offsets, dtype=np.float64) @ Y_UP.T
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        file.write("\n".join(("HIERARCHY", *_hierarchy(0, "", offsets), "MOTION")) + "\n")
        file.write(f"Frames: {len(values)}\nFrame Time: {1 / even_rate(track):.9g}\n")
        for row in values:
            place = " ".join(f"{value:.6f}" for value in row[:3])
            # A ten-thousandth of a degree moves a hand by a few micrometres.
            file.write(place + " " + " ".join(f"{value:.4f}" for value in row[3:]) + "\n")


def _hierarchy(node: int, indent: str, offsets: Floats) -> Iterator[str]:
    end = NODES[node].endswith(_END)
    title = "End Site" if end else f"{'JOINT' if node else 'ROOT'} {NODES[node]}"
    # Programs disagree whether a root's position adds to its offset: at zero, both are the same.
    offset = offsets[node] if node else np.zeros(3)
    rotations = " ".join(f"{axis}rotation" for axis in _ORDER)
    yield f"{indent}{title}"
    yield f"{indent}{{"
    inner = indent + "  "
    yield f"{inner}OFFSET {' '.join(f'{value:.6f}' for value in offset)}"
    if node == 0:
        yield f"{inner}CHANNELS 6 Xposition Yposition Zposition {rotations}"
    elif not end:
        yield f"{inner}CHANNELS 3 {rotations}"
    for child, parent in enumerate(NODE_PARENTS):
        if parent == node:
            yield from _hierarchy(child, inner, offsets)
    yield f"{indent}}}"


def _euler_zxy(turns: Floats) -> Floats:
    """Angles (T, J, 3) in radians about z, x and y, R = Rz Rx Ry, of rotations (T, J, 3, 3).

    They run on over time without jumps: of the two triples that give the same rotation, and of all
    whole turns, each frame has the nearest to the frame before, so that a program that interpolates
    between frames does not spin the joint.
    """
    x = np.arctan2(turns[..., 2, 1], np.hypot(turns[..., 0, 1], turns[..., 1, 1]))
    z = np.arctan2(-turns[..., 0, 1], turns[..., 1, 1])
    y = np.arctan2(-turns[..., 2, 0], turns[..., 2, 2])
    # With x at a right angle only the sum or difference of z and y is known: z stays as it was.
    lost = np.hypot(turns[..., 0, 1], turns[..., 1, 1]) < 1e-6
    frame = np.arange(len(turns))[:, None]
    regular = np.maximum.accumulate(np.where(lost, -1, frame), axis=0)
    kept = np.take_along_axis(z, np.maximum(regular, 0), axis=0)
    z = np.where(lost, np.where(regular >= 0, kept, 0), z)
    side = np.where(x > 0, 1, -1)
    both = np.arctan2(turns[..., 1, 0], turns[..., 0, 0])  # z + y at x = 90 degrees, else z - y
    y = np.where(lost, side * (both - z), y)

    first = np.stack([z, x, y], -1)
    second = np.stack([z + np.pi, np.pi - x, y + np.pi], -1)
    same = _circular(first[1:] - first[:-1]).sum(-1)
    other = _circular(second[1:] - first[:-1]).sum(-1)
    # Staying is as far from the one triple as from the other, and so is changing: each step can be
    # decided by itself.
    changed = np.cumsum(other < same, axis=0) % 2 == 1
    angles = first.copy()
    angles[1:] = np.where(changed[..., None], second[1:], first[1:])
    return np.unwrap(angles, axis=0)


def _circular(difference: Floats) -> Floats:
    return np.abs((difference + np.pi) % (2 * np.pi) - np.pi)
