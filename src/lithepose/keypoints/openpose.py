"""OpenPose's JSON files, one per frame."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lithepose.keypoints.content import (
    FramePeople,
    KeypointClip,
    identity_of,
    load_json,
    triples,
    usual_skeleton,
)


def recognise(content: Any) -> bool:
    """Whether JSON is meant as a frame of OpenPose."""
    return isinstance(content, dict) and "people" in content


def is_frame(content: Any) -> bool:
    """Whether JSON is a frame of OpenPose."""
    return recognise(content) and isinstance(content["people"], list)


def read(content: Any, origin: str) -> KeypointClip:
    """A single frame."""
    return _clip([_people(content, origin)])


def read_files(files: Sequence[Path]) -> KeypointClip:
    """One file per frame; a frame without people has a file, too."""
    return _clip([_people(load_json(file), str(file)) for file in files])


def _clip(frames: list[FramePeople]) -> KeypointClip:
    return KeypointClip(frames=frames, skeleton=usual_skeleton(frames))


def _people(content: Any, origin: str) -> FramePeople:
    if not is_frame(content):
        raise ValueError(f"{origin} is not an OpenPose frame: it has no list of people")
    return [
        (identity_of(person, ("person_id",), origin), triples(person["pose_keypoints_2d"], origin))
        for person in content["people"]
        # A face or a hand may come without a body.
        if isinstance(person, dict) and person.get("pose_keypoints_2d")
    ]
