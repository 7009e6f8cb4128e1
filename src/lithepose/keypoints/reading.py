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

The layout is inferred from the content; the caller gives what the file does not. Nothing is
unpickled.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from lithepose.arrays import Floats
from lithepose.files import natural_order
from lithepose.keypoints import arrays, coco, mediapipe, mmpose, openpose, ultralytics
from lithepose.keypoints.content import FramePeople, KeypointClip, load_json, load_table, numbers
from lithepose.poses import LEAST_FPS, LONGEST_S, Detections, Track2D
from lithepose.skeletons import ONLY_SET_OF, PARTS_OF_LARGER, SKELETONS, joint_set
from lithepose.track import build_tracks

logger = logging.getLogger(__name__)


class Layout(NamedTuple):
    """How one kind of file is told from the others and read.

    Attributes:
        name: for whoever asks what a file was taken for.
        recognise: whether a file's content is of this kind.
        read: the clip of content and path.
    """

    name: str
    recognise: Callable[[Any], bool]
    read: Callable[[Any, str], KeypointClip]


# What a file's content may be, the first that fits, by the suffix of the file. The last of each are
# taken for want of a better, and say what they lack.
LAYOUTS: dict[str, tuple[Layout, ...]] = {
    ".npz": (Layout("arrays", lambda _: True, arrays.read),),
    ".json": (
        Layout("OpenPose", openpose.recognise, openpose.read),
        Layout("COCO annotations", coco.recognise_annotations, coco.read_annotations),
        Layout("Ultralytics JSON", ultralytics.recognise, ultralytics.read),
        Layout("MediaPipe JSON", mediapipe.recognise, mediapipe.read),
        Layout("MMPose", mmpose.recognise, mmpose.read),
        Layout("AlphaPose", coco.recognise_alphapose, coco.read_results),
        Layout("COCO results", lambda content: isinstance(content, list), coco.read_results),
        Layout("arrays", lambda content: isinstance(content, dict), arrays.read),
    ),
    ".csv": (
        Layout("MediaPipe CSV", mediapipe.recognise_table, mediapipe.read_table),
        Layout("CSV", lambda _: True, arrays.read_table),
    ),
}

_FRAMES_SNIFFED = 5  # files of a folder that are looked into to tell what it holds


def is_keypoints(source: str | os.PathLike[str]) -> bool:
    """Whether a path is a file of keypoints rather than a video, told by its name; or a folder of
    them rather than of images, told by what is in its files."""
    path = Path(source)
    if not path.is_dir():
        return path.suffix.lower() in LAYOUTS
    if _label_files(path):
        return True
    files = _in_order(path, "*.json")
    # Without images, nothing else is likely; beside them JSON may be anything.
    return bool(files) and (not _has_images(path) or any(map(_is_frame, _readable(files))))


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
    layout, clip, origin = _read(path, skeleton)
    logger.info("%s is read as %s", origin, layout)
    everyone = (*clip.people.values(), *(points for people in clip.frames for _, points in people))
    counts = {points.shape[-2] for points in everyone}
    if not counts:
        raise ValueError(f"{origin} holds no keypoints: no person in any frame")
    if len(counts) > 1:
        raise ValueError(f"{origin} mixes people of {sorted(counts)} joints")
    usual, part = PARTS_OF_LARGER.get(joints := counts.pop(), (None, range(joints)))
    given = skeleton or clip.skeleton or usual
    name = joint_set(len(part), given or ONLY_SET_OF.get(len(part)), origin)
    size = _image_size(clip.image_size if image_size is None else image_size, origin)
    length = len(clip.frames) or len(next(iter(clip.people.values())))
    time_s, rate = _timing(clip, fps, length, origin)
    scale = np.array([*size, 1.0] if clip.normalised else [1.0] * 3)

    def adapted(points: Floats) -> Floats:
        return points[..., list(part), :] * scale

    frames = [[(who, adapted(points)) for who, points in people] for people in clip.frames]
    people = {person: adapted(points) for person, points in clip.people.items()}
    people = people or _by_identity(frames)
    if not people and max(len(found) for found in frames) > 1:
        detections = [_detections(found, name, origin) for found in frames]
        _check_content(np.concatenate([found.keypoints for found in detections]), origin)
        return build_tracks(detections, time_s=time_s, image_size=size, fps=rate)
    if not people:
        nobody = np.full((len(part), 3), np.nan)
        people = {0: np.stack([found[0][1] if found else nobody for found in frames])}

    tracks = []
    for person, points in people.items():
        keypoints, confidence = _clean(points, origin)
        tracks.append(
            Track2D(
                person=person,
                keypoints=keypoints,
                confidence=confidence,
                skeleton=name,
                time_s=time_s,
                fps=rate,
                image_size=size,
                world=None if clip.world is None else clip.world[:, list(part)],
            )
        )
    _check_content(np.concatenate([track.keypoints for track in tracks]), origin)
    return tracks


def _by_identity(frames: Sequence[FramePeople]) -> dict[int, Floats]:
    """(T, J, 3) of each person; empty where the file tells nobody from the others."""
    tracks: dict[int, Floats] = {}
    for frame, people in enumerate(frames):
        identities = [identity for identity, _ in people]
        # Programs that don't track write -1 or give everybody the same number.
        if identities and (min(identities) < 0 or len(set(identities)) < len(identities)):
            return {}
        for identity, points in people:
            if identity not in tracks:
                tracks[identity] = np.full((len(frames), *points.shape), np.nan)
            tracks[identity][frame] = points
    return tracks


def _detections(people: FramePeople, skeleton: str, origin: str) -> Detections:
    points = np.array([points for _, points in people]).reshape(-1, len(SKELETONS[skeleton]), 3)
    keypoints, confidence = _clean(points, origin)
    seen = confidence.any(axis=1)
    return Detections(
        keypoints=keypoints[seen],
        confidence=confidence[seen],
        score=confidence[seen].mean(axis=1),
        skeleton=skeleton,
    )


# What the file doesn't say


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


def _timing(
    clip: KeypointClip, fps: float | None, frames: int, origin: str
) -> tuple[Floats, float]:
    """Time stamps from 0 and the mean rate; the caller's rate goes before all the file says."""
    if fps is None and clip.time_s is not None:
        time_s = numbers(clip.time_s, "time_s", origin)
        if time_s.shape != (frames,) or not np.isfinite(time_s).all():
            raise ValueError(
                f"{origin}: time_s must be {frames} times in seconds, one per frame; "
                f"found shape {time_s.shape}"
            )
        if (np.diff(time_s) <= 0).any():
            raise ValueError(f"{origin}: time_s does not ascend")
        time_s = time_s - time_s[0]
        if time_s[-1] > LONGEST_S:
            raise ValueError(f"{origin}: time_s spans {time_s[-1]:g} s: are these seconds?")
        if clip.fps is None and frames == 1:
            raise ValueError(f"{origin}: one frame has no frame rate: pass fps=")
        rate = (frames - 1) / time_s[-1] if clip.fps is None else clip.fps
        return time_s, _rate(rate, origin)
    rate = clip.fps if fps is None else fps
    if rate is None:
        raise ValueError(f"{origin} does not give the frame rate: pass fps= frames per second")
    rate = _rate(rate, origin)
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
) -> tuple[str, KeypointClip, str]:
    """The name of the layout, the clip, and what messages call the file.

    Args:
        skeleton: the caller's, which tells a CSV file what its names mean.
    """
    if not isinstance(path, str | os.PathLike):
        files = [Path(file) for file in path]
        if not files:
            raise ValueError("the list of OpenPose files is empty")
        return "OpenPose", openpose.read_files(files), f"{files[0]} and the files after it"
    path = Path(path)
    if not path.exists():
        raise FileNotFoundError(f"no keypoints at {path}: check the path")
    if path.is_dir():
        return _read_folder(path, skeleton)
    match suffix := path.suffix.lower():
        case ".npz":
            content = arrays.load_npz(path)
        case ".json":
            content = load_json(path)
        case ".csv":
            content = load_table(path, skeleton)
        case _:
            raise ValueError(
                f"cannot read keypoints from {path}: known are {', '.join(LAYOUTS)} and folders of "
                "OpenPose, Ultralytics or MediaPipe files"
            )
    layout = next((each for each in LAYOUTS[suffix] if each.recognise(content)), None)
    if layout is None:
        raise ValueError(f"{path} holds a JSON {type(content).__name__}, not keypoints")
    return layout.name, layout.read(content, str(path)), str(path)


def _read_folder(path: Path, skeleton: str | None) -> tuple[str, KeypointClip, str]:
    """A folder of one file per frame."""
    if labels := _label_files(path):
        clip = ultralytics.read_labels(labels, skeleton, str(path))
        return "Ultralytics labels", clip, str(path)
    files = _in_order(path, "*.json")
    if not files:
        raise ValueError(
            f"{path} holds no keypoints: give the folder that OpenPose wrote its .json files to, "
            "or the one with Ultralytics' .txt files of a pose model"
        )
    first = [load_json(file) for file in files[:_FRAMES_SNIFFED]]
    if any(ultralytics.recognise(frame) or mediapipe.recognise(frame) for frame in first):
        content = [load_json(file) for file in files]
        if ultralytics.recognise(content):
            return "Ultralytics JSON", ultralytics.read(content, str(path)), str(path)
        return "MediaPipe JSON", mediapipe.read(content, str(path)), str(path)
    return "OpenPose", openpose.read_files(files), str(path)


def _is_frame(content: Any) -> bool:
    kinds = (openpose.is_frame, ultralytics.recognise, mediapipe.recognise)
    return any(recognise(content) for recognise in kinds)


def _in_order(folder: Path, pattern: str) -> list[Path]:
    return sorted(folder.glob(pattern), key=lambda file: natural_order(file.name))


def _readable(files: Sequence[Path]) -> Iterator[Any]:
    for file in files[:_FRAMES_SNIFFED]:
        with contextlib.suppress(ValueError):
            yield load_json(file)


def _has_images(folder: Path) -> bool:
    from lithepose.video import IMAGE_SUFFIXES

    return any(file.suffix.lower() in IMAGE_SUFFIXES for file in folder.iterdir())


def _label_files(folder: Path) -> list[Path]:
    """Ultralytics' label files of a folder or of `labels` in it; empty if there are none."""
    for place in (folder, folder / "labels"):
        files = _in_order(place, "*.txt")
        for file in files[:_FRAMES_SNIFFED]:
            with contextlib.suppress(UnicodeDecodeError):
                if ultralytics.recognise_labels(file.read_text(encoding="utf-8-sig")):
                    return files
    return []
