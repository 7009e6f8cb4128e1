"""Ultralytics' label files, which YOLO data sets have too, and the JSON of its results."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.keypoints.content import (
    FramePeople,
    KeypointClip,
    are_shares,
    identity_of,
    in_frames,
    last_number,
    marked_by_origin,
    numbers,
    usual_skeleton,
)
from lithepose.skeletons import skeleton_named


def recognise_labels(text: str) -> bool:
    """Whether a line of a text can be a person: a class, a box in shares of the frame, and at
    least six joints."""
    return any(_is_person(line.split()) for line in text.splitlines())


def _is_person(parts: list[str]) -> bool:
    if len(parts) < 5 + 2 * 6:
        return False
    try:
        values = [float(part) for part in parts]
    except ValueError:
        return False
    return values[0].is_integer() and all(-0.5 <= value <= 1.5 for value in values[1:5])


def read_labels(files: Sequence[Path], skeleton: str | None, origin: str) -> KeypointClip:
    """Label files, one per frame: `class x y w h`, then x, y (and visibility) of each joint.

    What `save_txt` writes of a video is named `<video>_1.txt`, `<video>_2.txt`, ..., without a file
    for a frame without people. Other names count from the lowest number. After the joints may come
    the confidence of the box and an identity. Only class 0 is read.

    Args:
        skeleton: the caller's joint set; COCO's 17 joints without it.
    """
    skeleton = skeleton or "coco17"
    joints = len(skeleton_named(skeleton))
    counted = [number for file in files if (number := last_number(file.stem)) is not None]
    start = 0
    if len(counted) < len(files):
        counted = list(range(len(files)))
    else:
        padded = any(re.search(r"(?<![0-9])0[0-9]+$", file.stem) for file in files)
        start = min(counted) if padded or min(counted) == 0 else 1
    people = (_label_people(file, joints) for file in files)
    frames = in_frames(zip(counted, people, strict=True), start, origin)
    return KeypointClip(frames=frames, normalised=True, skeleton=skeleton)


def _label_people(file: Path, joints: int) -> FramePeople:
    try:
        lines = [line.split() for line in file.read_text(encoding="utf-8-sig").splitlines()]
        rows = [[float(part) for part in line] for line in lines if line]
    except (UnicodeDecodeError, ValueError) as error:
        raise ValueError(f"{file} is no label file: {error}") from error
    people: FramePeople = []
    for row in rows:
        if row[0] != 0:
            continue
        rest = np.array(row[5:])
        width = next((w for w in (3, 2) if 0 <= len(rest) - w * joints <= 2), None)
        if width is None:
            raise ValueError(
                f"{file}: a line of {len(row)} numbers is no person of {joints} joints, which has "
                f"{5 + 2 * joints} or {5 + 3 * joints} and at most two more: give the joint set "
                "with skeleton="
            )
        extra = len(rest) - width * joints
        points = rest[: width * joints].reshape(joints, width)
        # A confidence comes before the identity; alone, a number above 1 is an identity.
        named = extra == 2 or (extra == 1 and rest[-1] > 1)
        points = marked_by_origin(points) if width == 2 else points
        people.append((int(rest[-1]) if named else -1, points))
    return people


def recognise(content: Any) -> bool:
    """Whether JSON is what `to_json` of a frame gives, or a list of that for several frames."""
    if not isinstance(content, list):
        return False
    entries = [e for frame in content for e in (frame if isinstance(frame, list) else [frame])]
    return bool(entries) and all(
        isinstance(entry, dict) and "box" in entry and isinstance(entry.get("keypoints"), dict)
        for entry in entries
    )


def read(content: list[Any], origin: str) -> KeypointClip:
    """People as `to_json` writes them: `keypoints` with lists x, y and visible."""
    if isinstance(content[0], dict):  # one frame
        content = [content]
    frames: list[FramePeople] = [
        [(identity_of(entry, ("track_id",), origin), _points(entry, origin)) for entry in entries]
        for entries in content
    ]
    skeleton, normalised = usual_skeleton(frames), are_shares(frames)
    return KeypointClip(frames=frames, normalised=normalised, skeleton=skeleton)


def _points(entry: dict[str, Any], origin: str) -> np.ndarray:
    fields = entry["keypoints"]
    names = ["x", "y", *(["visible"] if fields.get("visible") is not None else [])]
    parts = [numbers(fields.get(name), f"keypoints {name}", origin) for name in names]
    if len({part.shape for part in parts}) > 1 or parts[0].ndim != 1:
        raise ValueError(
            f"{origin}: x, y and visible of a person must be lists of one length; found "
            f"{', '.join(str(part.shape) for part in parts)}"
        )
    points = np.stack(parts, axis=1)
    return points if len(names) == 3 else marked_by_origin(points)
