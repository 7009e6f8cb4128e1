"""Lithepose's own fields in `.npz` and `.json`, and its CSV files of a row per joint."""

from __future__ import annotations

import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.keypoints.content import (
    KeypointClip,
    Table,
    cell,
    cell_index,
    filled_times,
    frame_count,
    numbers,
    with_confidence,
)
from lithepose.skeletons import SKELETONS, skeleton_named

_KEYPOINTS = ("keypoints", "kp2d", "keypoints_2d")
_CONFIDENCE = ("confidence", "visibility")


def load_npz(path: Path) -> dict[str, Any]:
    """The arrays of an archive by name; nothing is unpickled."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            values = {name: archive[name] for name in archive.files}
    except (ValueError, EOFError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is not a readable .npz archive: {error}") from error
    return {n: str(v) if n in ("skeleton", "schema") else v for n, v in values.items()}


def read(content: Mapping[str, Any], origin: str) -> KeypointClip:
    """One person's arrays by name; a result of lithepose is such a set."""

    def first(names: Sequence[str]) -> Any:
        return next((content[name] for name in names if content.get(name) is not None), None)

    keypoints = first(_KEYPOINTS)
    if keypoints is None:
        raise ValueError(
            f"{origin} has none of {', '.join(_KEYPOINTS)}; found {', '.join(content) or '{}'}"
        )
    points = with_confidence(keypoints, first(_CONFIDENCE), origin)
    skeleton = content.get("skeleton")
    if skeleton is None and str(content.get("schema", "")).startswith("lithepose/"):
        skeleton = "h36m17"
    world = content.get("world")
    if world is not None:
        world, expected = numbers(world, "world", origin), (*points.shape[:2], 3)
        if world.shape != expected:
            raise ValueError(f"{origin}: world must be {expected}; found {world.shape}")
    person = numbers(content.get("person", 0), "person", origin)
    if person.size != 1:
        raise ValueError(f"{origin}: person must be one number; found {content['person']}")
    return KeypointClip(
        people={int(person.reshape(())): points},
        skeleton=skeleton,
        image_size=content.get("image_size"),
        fps=content.get("fps"),
        time_s=content.get("time_s"),
        world=world,
    )


def read_table(table: Table, origin: str) -> KeypointClip:
    """A row per joint, frame and person; rows of missing joints may be left out."""
    columns, rows = table.columns, table.rows
    lacking = [name for name in ("frame", "joint", "u_px", "v_px") if name not in columns]
    if lacking:
        raise ValueError(
            f"{origin} lacks the columns {', '.join(lacking)}; found {', '.join(columns) or 'none'}"
        )
    if not rows:
        raise ValueError(f"{origin} holds no keypoints: it has no rows")

    frames = [cell_index(row, "frame", origin) for row in rows]
    people = [cell_index(row, "person", origin) if row.get("person") else 0 for row in rows]
    names = [row["joint"] or "" for row in rows]
    skeleton, joints, count = _joints(names, table.skeleton, origin)
    length = frame_count(max(frames), origin)
    places = list(zip(frames, people, joints, strict=True))
    (frame, person, _), most = Counter(places).most_common(1)[0]
    if most > 1:
        raise ValueError(f"{origin} has two rows for one joint of person {person} in frame {frame}")
    tracks = {person: np.full((length, count, 3), np.nan) for person in sorted(set(people))}
    times = np.full(length, np.nan)
    for row, (frame, person, joint) in zip(rows, places, strict=True):
        u, v = cell(row, "u_px", origin), cell(row, "v_px", origin)
        unsaid = 0.0 if u == v == 0 else 1.0  # as in files of arrays without confidence
        confidence = cell(row, "confidence", origin) if "confidence" in columns else unsaid
        tracks[person][frame, joint] = u, v, confidence
        if "time_s" in columns:
            times[frame] = cell(row, "time_s", origin)
    known = np.isfinite(times)
    timed = known.any() and length > 1
    times = filled_times(times, known) if timed else None  # also of frames without a row
    return KeypointClip(people=tracks, skeleton=skeleton, time_s=times)


def _joints(names: list[str], wanted: str | None, origin: str) -> tuple[str | None, list[int], int]:
    """The joint set if the names tell it, the index of each row's joint, the number of joints."""
    distinct = set(names)
    known = list(SKELETONS.values()) if wanted is None else [skeleton_named(wanted)]
    if all(re.fullmatch(r"[0-9]+", name) for name in distinct):
        indices = [int(name) for name in names]
        count = max(indices) + 1 if wanted is None else len(known[0])
        if max(indices) >= min(count, 1000):
            raise ValueError(f"{origin}: joint {max(indices)} is no index of a joint")
        return None, indices, count
    # A joint that is never seen may have no rows.
    fitting = [s for s in known if distinct <= set(s.joints)]
    fitting = [s for s in fitting if distinct == set(s.joints)] or fitting
    if not fitting:
        closest = min(known, key=lambda s: len(distinct - set(s.joints)))
        strange = sorted(distinct - set(closest.joints))
        raise ValueError(
            f"{origin}: the joints fit no known set; {closest.name} lacks {', '.join(strange)}"
        )
    if len(fitting) > 1:
        raise ValueError(
            f"{origin}: the joints {', '.join(sorted(distinct))} fit several sets "
            f"({', '.join(s.name for s in fitting)}): pass skeleton= one of them"
        )
    skeleton = fitting[0]
    return skeleton.name, [skeleton.joints.index(name) for name in names], len(skeleton)
