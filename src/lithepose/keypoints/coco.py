"""COCO's annotation and results files, and AlphaPose's, which is a results file with file names."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.files import natural_order
from lithepose.keypoints.content import (
    FramePeople,
    KeypointClip,
    identity_of,
    in_frames,
    last_number,
    triples,
    usual_skeleton,
)

_WHOLE_BODY = {"foot_kpts": 6, "lefthand_kpts": 21, "righthand_kpts": 21}  # of COCO-WholeBody
_KNUCKLES = [5, 17]  # of a hand: the outer ones


def recognise_annotations(content: Any) -> bool:
    """Whether JSON is meant as an annotation file."""
    return isinstance(content, dict) and "annotations" in content


def read_annotations(content: Mapping[str, Any], origin: str) -> KeypointClip:
    """An annotation file: its images, in the order of their names, are the frames.

    The marks 1 (labelled though hidden) and 2 (visible) both count as confidence 1. Of a whole-body
    file the feet and the outer knuckles are read as well.
    """
    images, annotations = content.get("images"), content["annotations"]
    if not isinstance(images, list) or not images or not isinstance(annotations, list):
        raise ValueError(
            f"{origin} is not a COCO annotation file: it needs lists of images and annotations"
        )
    if not all(isinstance(entry, dict) and "id" in entry for entry in (*images, *annotations)):
        raise ValueError(f"{origin}: every image and every annotation needs an id")
    images = sorted(images, key=lambda image: natural_order(str(image.get("file_name", ""))))
    rows = {image["id"]: row for row, image in enumerate(images)}
    sizes = {(image.get("width"), image.get("height")) for image in images}
    if len(sizes) > 1:
        raise ValueError(
            f"{origin}: its images have several sizes ({sorted(sizes, key=str)[:3]}, ...), so they "
            "are no frames of one clip"
        )
    frames: list[FramePeople] = [[] for _ in images]
    people = [e for e in annotations if e.get("keypoints") and not e.get("iscrowd")]
    whole = all(entry.get(part) for entry in people for part in _WHOLE_BODY)
    for entry in people:
        if entry.get("image_id") not in rows:
            raise ValueError(f"{origin}: annotation {entry['id']} is of no image in the file")
        points = triples(entry["keypoints"], origin)
        if whole:
            parts = [triples(entry[part], origin) for part in _WHOLE_BODY]
            if [len(part) for part in parts] != list(_WHOLE_BODY.values()):
                raise ValueError(f"{origin}: a whole body has 6 points of feet and 21 of each hand")
            feet, left, right = parts
            points = np.concatenate([points, feet, left[_KNUCKLES], right[_KNUCKLES]])
        if points[:, 2].any():
            person = identity_of(entry, ("track_id",), origin)
            frames[rows[entry["image_id"]]].append((person, points))
    categories = [c for c in content.get("categories") or [] if isinstance(c, dict)]
    names = next((c["keypoints"] for c in categories if c.get("keypoints")), None)
    (size,) = sizes
    size = None if None in size else size
    return KeypointClip(frames=frames, skeleton=usual_skeleton(frames, names), image_size=size)


def recognise_alphapose(content: Any) -> bool:
    """Whether JSON is a list of people whose images have names."""
    return isinstance(content, list) and any(
        isinstance(entry, dict) and isinstance(entry.get("image_id"), str) for entry in content
    )


def read_results(content: list[Any], origin: str) -> KeypointClip:
    """A list of people, each with the image they are in; images without people are left out.

    AlphaPose names the image by its file, a results file of COCO by a number: the lowest of these
    is the first frame.
    """
    if not content:
        raise ValueError(f"{origin} holds no keypoints: the list is empty")
    found: list[FramePeople] = []
    for entry in content:
        if not isinstance(entry, dict) or "image_id" not in entry or "keypoints" not in entry:
            raise ValueError(
                f"{origin} is not an AlphaPose result: every entry needs image_id and keypoints"
            )
        person = identity_of(entry, ("idx", "track_id"), origin)
        found.append([(person, triples(entry["keypoints"], origin))])
    images = [str(entry["image_id"]) for entry in content]
    counted = [_frame_number(image, origin) for image in images]
    # Frames of a video are named 0.jpg, 1.jpg, ...; pictures of a folder may count from anywhere.
    of_video = recognise_alphapose(content) and all(
        re.fullmatch(r"(0|[1-9][0-9]*)(\.\w+)?", image) for image in images
    )
    start = 0 if of_video else min(counted)
    frames = in_frames(zip(counted, found, strict=True), start, origin)
    return KeypointClip(frames=frames, skeleton=usual_skeleton(frames))


def _frame_number(image: str, origin: str) -> int:
    number = last_number(Path(image).stem)
    if number is None:
        raise ValueError(f"{origin}: image_id {image!r} has no frame number in it")
    return number
