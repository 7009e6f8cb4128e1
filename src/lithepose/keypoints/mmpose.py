"""MMPose's predictions of a video: for each frame `frame_id` and `instances`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from lithepose.keypoints.content import (
    FramePeople,
    KeypointClip,
    identity_of,
    in_frames,
    numbers,
    usual_skeleton,
    with_confidence,
)


def recognise(content: Any) -> bool:
    """Whether JSON is a results file, or a list of the frames of one."""
    if isinstance(content, dict):
        return isinstance(content.get("instance_info"), list)
    return isinstance(content, list) and any(
        isinstance(frame, dict) and "instances" in frame for frame in content
    )


def read(content: Any, origin: str) -> KeypointClip:
    """The frames, with the joint set if the file's `meta_info` names the joints."""
    names = None
    if isinstance(content, dict):
        names = (content.get("meta_info") or {}).get("keypoint_id2name")
        content = content["instance_info"]
    found: list[tuple[int, FramePeople]] = []
    for row, frame in enumerate(content):
        if not isinstance(frame, dict) or not isinstance(frame.get("instances"), list):
            raise ValueError(f"{origin} is not a file of MMPose: every frame needs its instances")
        people = []
        for person in frame["instances"]:
            if not isinstance(person, dict) or "keypoints" not in person:
                raise ValueError(f"{origin}: an instance has no keypoints")
            scores = person.get("keypoint_scores")
            scores = None if scores is None else [scores]
            (points,) = with_confidence([person["keypoints"]], scores, origin)
            people.append((identity_of(person, ("track_id",), origin), points))
        found.append((int(numbers(frame.get("frame_id", row), "frame_id", origin)), people))
    if not found:
        raise ValueError(f"{origin} holds no keypoints: it has no frames")
    # Counted from 0 or from 1.
    frames = in_frames(found, min(number for number, _ in found), origin)
    if isinstance(names, Mapping):
        names = [names[key] for key in sorted(names, key=int)]
    return KeypointClip(frames=frames, skeleton=usual_skeleton(frames, names))
