"""Keypoints that another program found, read from its files as tracks.

`read_keypoints` takes:

- `.npz`, `.json` with `keypoints` (or `kp2d`, `keypoints_2d`) of one person, (T, J, 2 or 3), and
  beside it `confidence` (or `visibility`), `image_size`, `fps`, `time_s`, `skeleton`, `person`,
  `world`, each optional; a result of lithepose is such a file;
- `.csv` with a row per joint and frame: `frame`, `joint`, `u_px`, `v_px`, and optional
  `confidence`, `person`, `time_s`;
- OpenPose: the folder of its JSON files, one per frame, or a list of them;
- AlphaPose: its results JSON;
- COCO: an annotation file, whose images are the frames, or a results file;
- MMPose: its predictions of a video;
- Ultralytics: the folder of label files that `save_txt` writes, or the JSON of its results;
- MediaPipe: JSON or CSV of the 33 landmarks.

Which of these a file is, its content tells. What it doesn't say, the caller does. Nothing is
unpickled.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.arrays import Floats
from lithepose.keypoints.landmarks import (
    from_landmark_rows,
    from_mediapipe,
    from_ultralytics,
    is_label_line,
    is_landmark_table,
    is_mediapipe,
    is_ultralytics,
    read_frames,
    read_labels,
)
from lithepose.keypoints.layouts import (
    Clip,
    from_coco,
    from_fields,
    from_mmpose,
    from_results,
    from_rows,
    load_json,
    natural_order,
    numbers,
    read_npz,
    read_openpose,
    read_rows,
)
from lithepose.poses import LEAST_FPS, LONGEST_S, Detections, Track2D
from lithepose.skeletons import PARTS_OF_LARGER, SKELETONS, skeleton_named

logger = logging.getLogger(__name__)

# Joint counts that only one set in use has. 17 is COCO, Human3.6M or MPI-INF-3DHP; 15 has rivals
# outside this package: neither is guessed.
_SKELETON_OF_COUNT = {
    33: "blazepose33",
    27: "wholebody27",
    26: "halpe26",
    25: "body25",
    18: "openpose18",
    16: "mpii16",
}
_SUFFIXES = (".npz", ".json", ".csv")
_FRAMES_SNIFFED = 5  # files of a folder that are looked into to tell what it holds


def is_keypoints(source: str | os.PathLike[str]) -> bool:
    """Whether a path is a file of keypoints rather than a video, told by its name; or a folder of
    them rather than of images, told by what is in its files."""
    path = Path(source)
    if path.is_dir():
        return bool(_labels_in(path)) or _holds_json_frames(path)
    return path.suffix.lower() in _SUFFIXES


def read_keypoints(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    *,
    skeleton: str | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
) -> list[Track2D]:
    """Read a file of 2D keypoints as one track per person.

    Coordinates are pixels of the upright frame and are taken as they stand; Ultralytics' and
    MediaPipe's are shares of its width and height. A joint is missing
    where a coordinate is not finite, the confidence is 0, or, in a file without confidence, at
    exactly (0, 0). Where the people of a frame carry no identity, they are followed by
    `lithepose.track.build_tracks`.

    Args:
        path: the file, a folder of files, or OpenPose's files in order.
        skeleton: joint set, a key of `SKELETONS`; replaces what the file says. Without either it
            is guessed from the number of joints where only one set has that many. Of the 133 or
            136 points of a whole body, `PARTS_OF_LARGER` are read.
        image_size: (width, height) of the upright frame in pixels; replaces what the file says.
        fps: frames per second; replaces the rate and the time stamps of the file.

    Returns:
        The tracks, all over the same T frames.

    Raises:
        FileNotFoundError: there is nothing at the path.
        ValueError: an unknown layout or skeleton, arrays of the wrong shape, no joint at all, or a
            size, rate or joint set that neither the file nor the caller gives.
    """
    clip = _read(path, skeleton)
    logger.info("%s is read as %s", clip.origin, clip.layout)
    if clip.unnamed is not None:
        shapes = {people.shape[1] for people in clip.unnamed if len(people)}
        frames = len(clip.unnamed)
    else:
        shapes = {points.shape[1] for points in clip.people.values()}
        frames = max((len(points) for points in clip.people.values()), default=0)
    if frames == 0 or not shapes:
        raise ValueError(f"{clip.origin} holds no keypoints: no person in any frame")
    if len(shapes) > 1:
        raise ValueError(f"{clip.origin} mixes people of {sorted(shapes)} joints")
    joints = shapes.pop()
    if joints in PARTS_OF_LARGER:
        name, part = PARTS_OF_LARGER[joints]
        clip.skeleton = clip.skeleton or name
        _keep_joints(clip, list(part))
        joints = len(part)
    name = _skeleton(skeleton or clip.skeleton, joints, clip.origin)
    size = _image_size(clip.image_size if image_size is None else image_size, clip.origin)
    time_s, rate = _timing(clip, fps, frames)
    if clip.normalised:
        scale = np.array([*size, 1.0])
        clip.people = {person: points * scale for person, points in clip.people.items()}
        if clip.unnamed is not None:
            clip.unnamed = [people * scale for people in clip.unnamed]

    if clip.unnamed is not None and max(len(people) for people in clip.unnamed) > 1:
        return _follow(clip.unnamed, name, size, time_s, rate, clip.origin)
    if clip.unnamed is not None:
        joints = len(SKELETONS[name])
        nobody = np.full((joints, 3), np.nan)
        points = np.stack([people[0] if len(people) else nobody for people in clip.unnamed])
        clip.people = {0: points}

    tracks = []
    for person, points in clip.people.items():
        keypoints, confidence = _clean(points, clip.origin)
        tracks.append(
            Track2D(
                person=person,
                keypoints=keypoints,
                confidence=confidence,
                skeleton=name,
                time_s=time_s,
                fps=rate,
                image_size=size,
                world=clip.world,
            )
        )
    _check_content(np.concatenate([track.keypoints for track in tracks]), clip.origin)
    return tracks


def _keep_joints(clip: Clip, part: list[int]) -> None:
    clip.people = {person: points[:, part] for person, points in clip.people.items()}
    clip.world = None if clip.world is None else clip.world[:, part]
    if clip.unnamed is not None:
        clip.unnamed = [people[:, part] if len(people) else people for people in clip.unnamed]


def _follow(
    unnamed: list[Floats],
    skeleton: str,
    image_size: tuple[int, int],
    time_s: Floats,
    fps: float,
    origin: str,
) -> list[Track2D]:
    # Here alone detection needs the stage after it: a file stands for detector and tracker.
    from lithepose.track import build_tracks

    detections = []
    joints = len(SKELETONS[skeleton])
    for people in unnamed:
        keypoints, confidence = _clean(people.reshape(-1, joints, 3), origin)
        seen = confidence.any(axis=1)
        detections.append(
            Detections(
                keypoints=keypoints[seen],
                confidence=confidence[seen],
                score=confidence[seen].mean(axis=1),
                skeleton=skeleton,
            )
        )
    everyone = np.concatenate([frame.keypoints for frame in detections])
    _check_content(everyone, origin)
    return build_tracks(detections, time_s=time_s, image_size=image_size, fps=fps)


# What the file doesn't say


def _skeleton(name: str | None, joints: int, origin: str) -> str:
    if name is None:
        name = _SKELETON_OF_COUNT.get(joints)
    if name is None:
        fitting = [s.name for s in SKELETONS.values() if len(s) == joints]
        if not fitting:
            raise ValueError(
                f"{origin} has {joints} joints, which no known joint set has: "
                + ", ".join(f"{s.name} {len(s)}" for s in SKELETONS.values())
            )
        raise ValueError(
            f"{origin} does not say which {joints} joints it has: pass skeleton= one of "
            f"{', '.join(fitting)}"
        )
    expected = len(skeleton_named(name))
    if expected != joints:
        raise ValueError(f"{origin} has {joints} joints, but {name} has {expected}")
    return name


def _image_size(value: Any, origin: str) -> tuple[int, int]:
    if value is None:
        raise ValueError(
            f"{origin} does not give the size of the frames: pass image_size=(width, height) in "
            "pixels"
        )
    size = numbers(value, "image_size", origin)
    if size.shape != (2,) or not np.isfinite(size).all() or (size < 1).any():
        raise ValueError(f"{origin}: image_size must be (width, height) in pixels; found {value}")
    return int(size[0]), int(size[1])


def _timing(clip: Clip, fps: float | None, frames: int) -> tuple[Floats, float]:
    """Time stamps from 0 and the mean rate; the caller's rate goes before all the file says."""
    if fps is None and clip.time_s is not None:
        time_s = numbers(clip.time_s, "time_s", clip.origin)
        if time_s.shape != (frames,) or not np.isfinite(time_s).all():
            raise ValueError(
                f"{clip.origin}: time_s must be {frames} times in seconds, one per frame; "
                f"found shape {time_s.shape}"
            )
        if (np.diff(time_s) <= 0).any():
            raise ValueError(f"{clip.origin}: time_s does not ascend")
        time_s = time_s - time_s[0]
        if time_s[-1] > LONGEST_S:
            raise ValueError(f"{clip.origin}: time_s spans {time_s[-1]:g} s: are these seconds?")
        if clip.fps is None and frames == 1:
            raise ValueError(f"{clip.origin}: one frame has no frame rate: pass fps=")
        rate = (frames - 1) / time_s[-1] if clip.fps is None else clip.fps
        return time_s, _rate(rate, clip.origin)
    rate = clip.fps if fps is None else fps
    if rate is None:
        raise ValueError(f"{clip.origin} does not give the frame rate: pass fps= frames per second")
    rate = _rate(rate, clip.origin)
    return np.arange(frames) / rate, rate


def _rate(value: Any, origin: str) -> float:
    rate = numbers(value, "fps", origin)
    if rate.size != 1 or not np.isfinite(rate).all() or (rate < LEAST_FPS).any():
        raise ValueError(f"{origin}: fps must be one positive number; found {value}")
    return float(rate.reshape(()))


# Checks


def _clean(points: Floats, origin: str) -> tuple[Floats, Floats]:
    """Split (..., J, 3) into keypoints and confidence, with missing joints as nan and 0."""
    keypoints, confidence = points[..., :2], np.nan_to_num(points[..., 2], nan=0.0)
    if (confidence < 0).any():
        raise ValueError(f"{origin}: a confidence is negative; it must be in [0, 1]")
    present = np.isfinite(keypoints).all(axis=-1) & (confidence > 0)
    # Some programs give scores a little above 1.
    confidence = np.where(present, np.minimum(confidence, 1.0), 0.0)
    keypoints = np.where(present[..., None], keypoints, np.nan)
    return keypoints.astype(np.float32), confidence.astype(np.float32)


def _check_content(keypoints: Floats, origin: str) -> None:
    seen = keypoints[np.isfinite(keypoints).all(axis=-1)]
    if len(seen) == 0:
        raise ValueError(f"{origin} holds no keypoints: every joint of every frame is missing")
    if np.abs(seen).max() <= 2:
        raise ValueError(
            f"{origin}: all coordinates lie in {seen.min():.2f}..{seen.max():.2f}, so they look "
            "normalised; multiply them by the frame's width and height to get pixels"
        )


# Which layout it is


def _read(
    path: str | os.PathLike[str] | Sequence[str | os.PathLike[str]], skeleton: str | None
) -> Clip:
    """The content of the file; `skeleton`, the caller's, tells a CSV file what its names mean."""
    if not isinstance(path, str | os.PathLike):
        files = [Path(file) for file in path]
        if not files:
            raise ValueError("the list of OpenPose files is empty")
        return read_openpose(files, f"{files[0]} and the files after it")
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no keypoints at {path}: check the path")
    if path.is_dir():
        return _read_folder(path, skeleton)
    match path.suffix.lower():
        case ".npz":
            return read_npz(path)
        case ".json":
            return _read_json(path)
        case ".csv":
            columns, rows = read_rows(path)
            if is_landmark_table(columns):
                return from_landmark_rows(columns, rows, path)
            return from_rows(columns, rows, skeleton, path)
    raise ValueError(
        f"cannot read keypoints from {path}: known are {', '.join(_SUFFIXES)} and folders of "
        "OpenPose, Ultralytics or MediaPipe files"
    )


def _read_json(path: Path) -> Clip:
    content, origin = load_json(path), str(path)
    if isinstance(content, dict):
        if "people" in content:
            return read_openpose([path], origin)
        if "annotations" in content:
            return from_coco(content, origin)
        if isinstance(content.get("instance_info"), list):
            names = (content.get("meta_info") or {}).get("keypoint_id2name")
            return from_mmpose(content["instance_info"], names, origin)
        if is_mediapipe(content):
            return from_mediapipe(content, origin)
        return from_fields(content, origin)
    if not isinstance(content, list):
        raise ValueError(f"{path} holds a JSON {type(content).__name__}, not keypoints")
    if is_ultralytics(content):
        one_frame = isinstance(content[0], dict)
        return from_ultralytics([content] if one_frame else content, origin)
    if is_mediapipe(content):
        return from_mediapipe(content, origin)
    if any(isinstance(frame, dict) and "instances" in frame for frame in content):
        return from_mmpose(content, None, origin)
    return from_results(content, origin)


def _read_folder(path: Path, skeleton: str | None) -> Clip:
    """A folder of one file per frame."""
    if labels := _labels_in(path):
        return read_labels(labels, skeleton, str(path))
    files = sorted(path.glob("*.json"), key=natural_order)
    if not files:
        raise ValueError(
            f"{path} holds no keypoints: give the folder that OpenPose wrote its .json files to, "
            "or the one with Ultralytics' .txt files of a pose model"
        )
    first = [load_json(file) for file in files[:_FRAMES_SNIFFED]]
    if any(is_ultralytics(frame) or is_mediapipe(frame) for frame in first):
        return read_frames(files, str(path))
    return read_openpose(files, str(path))


def _holds_json_frames(folder: Path) -> bool:
    """Whether the JSON files of a folder are keypoints; without images, nothing else is likely."""
    from lithepose.video import IMAGE_SUFFIXES

    files = sorted(folder.glob("*.json"), key=natural_order)
    if not any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir()):
        return bool(files)
    for file in files[:_FRAMES_SNIFFED]:
        try:
            content = load_json(file)
        except ValueError:
            continue  # beside images it may be anything
        if isinstance(content, dict) and isinstance(content.get("people"), list):
            return True
        if is_ultralytics(content) or is_mediapipe(content):
            return True
    return False


def _labels_in(folder: Path) -> list[Path]:
    """Ultralytics' label files of a folder or of `labels` in it; empty if there are none."""
    for place in (folder, folder / "labels"):
        files = sorted(place.glob("*.txt"), key=natural_order) if place.is_dir() else []
        for file in files[:_FRAMES_SNIFFED]:
            try:
                lines = file.read_text(encoding="utf-8-sig").splitlines()
            except UnicodeDecodeError:
                continue
            if any(is_label_line(line) for line in lines):
                return files
    return []
