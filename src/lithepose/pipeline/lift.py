"""Video or keypoints in, people in 3D out: the stages joined.

`lift` takes a video or a file of keypoints, `lift_keypoints` arrays; both end in `lift_track`,
which lifts one person's windows, holds the bones constant, scales to metres and finds the path of
the root. `lift` then places everyone in one world (`lithepose.world`).
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.bones import bone_lengths, with_lengths
from lithepose.cameras import focal_from_fov
from lithepose.detect import Detector, create_detector, facts_of, is_onnx
from lithepose.keypoints import is_keypoints, read_keypoints
from lithepose.lifters.windows import LIMBS, WindowLifter, lift_windows, with_midpoints
from lithepose.poses import LEAST_FPS, MAX_GAP_S, Detections, Track2D, Track3D, segments
from lithepose.skeletons import convert, skeleton_named
from lithepose.track import build_tracks, fill_gaps, join_tracks, repair_left_right, select_people
from lithepose.video import CameraMotion, CameraWatch, open_video
from lithepose.world import WorldOptions, fit_root_path, solve_world, with_extremities

log = logging.getLogger(__name__)

# Fewer visible limb joints than this are no person to lift.
LEAST_LIMBS = 6
# Without a known lens: between a phone's main camera (about 0.75) and a longer lens.
GUESSED_FOCAL = 1.0  # of the image's long side
HEIGHT_RANGE_M = (0.4, 2.6)
FOCAL_RANGE = (0.2, 20.0)  # of the image's long side


def guessed_focal(image_size: tuple[int, int]) -> float:
    """Focal length in pixels that is assumed when none is known."""
    return GUESSED_FOCAL * max(image_size)


def lift_track(
    track: Track2D,
    lifter: WindowLifter,
    *,
    height_m: float | None = None,
    focal_px: float | None = None,
) -> Track3D:
    """Lift one person's track.

    Args:
        track: in any skeleton that converts to `h36m17`.
        lifter: the network, as `lithepose.lifters.default.default_lifter` gives it.
        height_m: the person's stature in metres; `STANDARD_HEIGHT_M` is assumed without it.
        focal_px: focal length in pixels; guessed from the image size without it.
    Returns:
        Poses in metres, camera axes, with `points_camera` and without a world; nan in frames
        without a person. An absence of at most `MAX_GAP_S` is bridged; frames that are further
        apart than that are lifted apart.
    Raises:
        ValueError: height or focal length cannot be a person's or a camera's.
    """
    _check_height(height_m)
    _check_focal(focal_px, track.image_size)
    track, exchanged = repair_left_right(track)
    track = fill_gaps(track, MAX_GAP_S)
    points, confidence, derived = convert(
        track.keypoints, track.confidence, track.skeleton, "h36m17"
    )
    # A joint built from others tells the lifter nothing that they don't, and was trained as absent.
    told = np.where(derived, 0, confidence)
    told[~np.isfinite(points).all(-1)] = 0
    points_told, told = with_midpoints(points, told)

    focal = focal_px if focal_px is not None else guessed_focal(track.image_size)
    rays = (points_told - np.array(track.image_size) / 2) / focal
    frames = len(points)
    joints = np.full((frames, 17, 3), np.nan)
    scale = (height_m or STANDARD_HEIGHT_M) / STANDARD_HEIGHT_M
    present = (told[:, LIMBS] > 0).sum(1) >= LEAST_LIMBS
    # Over a hole in time no motion is known: each part is lifted by itself.
    runs = segments(np.asarray(present), track.time_s)
    for run in runs:
        joints[run] = lift_windows(rays[run], told[run], track.time_s[run], lifter) * scale
    lengths = bone_lengths(joints)
    if runs:
        joints = with_lengths(joints, lengths)
    for run in runs:
        root = fit_root_path(joints[run], rays[run], told[run], track.time_s[run])
        joints[run] += root[:, None]
    further, sure, _ = convert(track.keypoints, track.confidence, track.skeleton, "lithepose31")
    own = track.world
    if own is not None:
        own, _, _ = convert(own, None, track.skeleton, "lithepose31")
    points_camera, confidence_3d = with_extremities(
        joints, further, sure, track.time_s, focal, track.image_size, own, skeleton=track.skeleton
    )

    projected = joints[..., :2] / joints[..., 2:] * focal + np.array(track.image_size) / 2
    miss = np.linalg.norm(projected - points, axis=-1)[:, LIMBS]
    return Track3D(
        person=track.person,
        joints_camera=joints.astype(np.float32),
        confidence=np.where(present[:, None], confidence, 0).astype(np.float32),
        keypoints_2d=points.astype(np.float32),
        derived=derived,
        time_s=track.time_s,
        fps=track.fps,
        image_size=track.image_size,
        focal_px=float(focal),
        points_camera=points_camera.astype(np.float32),
        confidence_3d=confidence_3d.astype(np.float32),
        metadata={
            "height_m": height_m or STANDARD_HEIGHT_M,
            "height_known": height_m is not None,
            "focal_known": focal_px is not None,
            "lifter": getattr(lifter, "name", type(lifter).__name__),
            "frames_with_person": int(present.sum()),
            "gaps": max(0, len(segments(np.asarray(present))) - 1),
            "frames_exchanged": int(exchanged.sum()),
            "mean_confidence": _mean(confidence[present]),
            "max_gap_s": MAX_GAP_S,
            "reprojection_px": _median(miss),
        },
    )


def _check_height(height_m: float | None) -> None:
    if height_m is not None and not HEIGHT_RANGE_M[0] <= height_m <= HEIGHT_RANGE_M[1]:
        raise ValueError(
            f"height {height_m} m is not a person's: give metres between "
            f"{HEIGHT_RANGE_M[0]} and {HEIGHT_RANGE_M[1]}"
        )


def _check_focal(focal_px: float | None, image_size: tuple[int, int]) -> None:
    low, high = (share * max(image_size) for share in FOCAL_RANGE)
    if focal_px is not None and not low <= focal_px <= high:
        raise ValueError(
            f"focal length {focal_px:.6g} px is not a camera's for an image of "
            f"{image_size[0]}x{image_size[1]}: give pixels between {low:.0f} and {high:.0f}"
        )


def _plausible(focal_px: float | None, image_size: tuple[int, int]) -> float | None:
    """What a camera noted of its lens, if it can be."""
    low, high = (share * max(image_size) for share in FOCAL_RANGE)
    return focal_px if focal_px is not None and low <= focal_px <= high else None


def _focal_of(lens: tuple[float | None, float | None], image_size: tuple[int, int]) -> float | None:
    """The focal length in pixels of (focal length, field of view), checked; None if unknown."""
    focal_px, fov_deg = lens
    if fov_deg is not None:
        focal_px = focal_from_fov(fov_deg, image_size)
    _check_focal(focal_px, image_size)
    return focal_px


def _mean(values: Floats) -> float:
    return round(float(values.mean()), 3) if len(values) else 0.0


def _median(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return round(float(np.median(finite)), 3) if len(finite) else None


def track_from_arrays(
    keypoints: Floats,
    *,
    image_size: tuple[int, int],
    fps: float,
    skeleton: str,
    confidence: Floats | None,
) -> Track2D:
    """A `Track2D` from plain arrays, checked.

    Raises:
        ValueError: shapes, sizes or rate cannot be right, or every joint is missing.
    """
    joints = len(skeleton_named(skeleton))
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.ndim == 3 and keypoints.shape[-1] == 3 and confidence is None:
        keypoints, confidence = keypoints[..., :2], keypoints[..., 2]
    if keypoints.ndim != 3 or keypoints.shape[-1] != 2 or len(keypoints) == 0:
        raise ValueError(
            f"keypoints have shape {keypoints.shape}: give (T, J, 2) pixels, or (T, J, 3) with "
            "confidence, T at least 1"
        )
    if keypoints.shape[1] != joints:
        raise ValueError(
            f"keypoints have {keypoints.shape[1]} joints, {skeleton} has {joints}: give the "
            "skeleton that they are of"
        )
    if not np.isfinite(fps) or fps < LEAST_FPS:
        raise ValueError(f"fps is {fps}: give the clip's frames per second")
    if len(image_size) != 2 or not all(np.isfinite(side) and side >= 1 for side in image_size):
        raise ValueError(f"image_size is {image_size}: give (width, height) in pixels")
    width, height = image_size
    seen = np.isfinite(keypoints).all(-1)
    if not seen.any():
        raise ValueError("every keypoint is nan: there is nothing to lift")
    given = np.array(seen if confidence is None else confidence, dtype=np.float64)
    if given.shape != keypoints.shape[:2]:
        raise ValueError(
            f"confidence has shape {given.shape}: give one value per joint, {keypoints.shape[:2]}"
        )
    sure = np.where(seen & np.isfinite(given), np.clip(given, 0, 1), 0)
    return Track2D(
        person=0,
        keypoints=np.where(sure[..., None] > 0, keypoints, np.nan),
        confidence=sure,
        skeleton=skeleton,
        time_s=np.arange(len(keypoints)) / fps,
        fps=float(fps),
        image_size=(int(width), int(height)),
    )


class NoPersonError(ValueError):
    """Nobody was found in the whole clip."""


People = Literal["one", "largest", "all"]
# Called with the stage, how many frames of it are done, and how many there are (None: unknown).
Report = Callable[[str, int, int | None], None]
_WORLD = WorldOptions()
# The most people that are followed at once when not just one is wanted.
MOST_PEOPLE = 6


@dataclass(frozen=True, kw_only=True)
class Result:
    """What became of a clip.

    Attributes:
        people: by identity.
        frames: T, frames of the clip; every array of every person has as many.
        fps: mean frame rate.
        image_size: (width, height) of the upright frames in pixels.
        seconds: how long each stage took.
        problem: what of the video could not be decoded, or None.
        camera: what the camera did; None for keypoints, or where it was told.
        warnings: what was assumed, and what the result therefore is not.
    """

    people: list[Track3D]
    frames: int
    fps: float
    image_size: tuple[int, int]
    seconds: dict[str, float] = field(default_factory=dict)
    problem: str | None = None
    camera: CameraMotion | None = None
    warnings: list[str] = field(default_factory=list)

    def __repr__(self) -> str:
        width, height = self.image_size
        people = f"{len(self.people)} {'person' if len(self.people) == 1 else 'people'}"
        spent = "".join(f", {stage} {took:.1f} s" for stage, took in self.seconds.items())
        lines = [
            f"Result({people}, {self.frames} frames, {self.fps:.4g} frames/s, {width}x{height}"
            f"{spent})",
            *map(repr, self.people),
        ]
        if self.camera is not None:
            lines.append(f"camera: {self.camera.kind}")
        if self.problem is not None:
            lines.append(f"problem: {self.problem}")
        lines += [f"warning: {warning}" for warning in self.warnings]
        return "\n  ".join(lines)


def lift(
    source: str | os.PathLike[str],
    *,
    people: People = "one",
    height: float | None = None,
    focal: float | None = None,
    fov: float | None = None,
    start: float | None = None,
    end: float | None = None,
    skeleton: str | None = None,
    image_size: tuple[int, int] | None = None,
    fps: float | None = None,
    world: WorldOptions | None = _WORLD,
    detector: str | os.PathLike[str] | Detector = "blazepose",
    boxes: str | os.PathLike[str] | None = None,
    preset: str | None = None,
    box_interval: int | None = None,
    input_size: tuple[int, int] | None = None,
    models: str | os.PathLike[str] | None = None,
    threads: int | None = None,
    report: Report | None = None,
) -> Result:
    """Lift the people of a video, or of a file of 2D keypoints, to 3D.

    Args:
        source: a video file, a folder of images (with `fps`), or keypoints as `read_keypoints`
            reads them.
        people: "one" follows the person the clip shows most; "largest" and "all" look for several.
        height: the person's stature in metres, if known.
        focal: focal length in pixels, or
        fov: horizontal field of view in degrees, if known. Without either, what the camera wrote
            into the video is taken, or else a focal length of the image's long side.
        start, end: part of the video, in seconds.
        skeleton, image_size, fps: what a file of keypoints does not say itself; the first also of a
            pose network.
        world: what is known of the scene and what is done to the motion there; None leaves the
            people before the camera, without floor, rotations and a world path.
        detector: name in `lithepose.detect.DETECTORS`, the path of a pose network's ONNX file, or a
            detector of your own.
        boxes: where a pose network looks for people: an ONNX file that finds them, or a file of
            boxes; BlazePose's own detector without it.
        preset: how the network's input is made, a name in `lithepose.detect.onnx_pose.PRESETS`.
        box_interval: frames from one look for boxes to the next; 1 without it.
        input_size: (width, height) of the network's pictures, for a file that takes any.
        models: folder of BlazePose's model files; by default they are fetched once.
        threads: of the detector; by default two, or one on a single-core machine.
        report: is told of the progress.
    Raises:
        NoPersonError: nobody was found.
        FileNotFoundError, ValueError: the source cannot be read, or an option cannot be right.
        lithepose.assets.ModelsError: the detector's model files are absent.
    """
    if people not in ("one", "largest", "all"):
        raise ValueError(f"people is {people!r}: known are one, largest, all")
    if focal is not None and fov is not None:
        raise ValueError("focal and fov say the same thing twice: give one of them")
    _check_height(height)  # now, not after minutes of work
    lens = (focal, fov)
    tell = report or _silent
    watch = _Stopwatch()
    problem, camera, noted = None, None, None
    extras = {
        "boxes": boxes,
        "preset": preset,
        "box_interval": box_interval,
        "input_size": input_size,
    }
    extras = {name: value for name, value in extras.items() if value is not None}
    if is_keypoints(source):
        if start is not None or end is not None:
            raise ValueError("start and end are for videos: cut a file of keypoints beforehand")
        if detector != "blazepose" or extras:
            raise ValueError(f"{source} holds keypoints already: leave detector and boxes out")
        with watch("keypoints"):
            tracks = read_keypoints(source, skeleton=skeleton, image_size=image_size, fps=fps)
        seen_by: dict[str, Any] = {"name": "keypoints", "file": Path(source).name}
    else:
        with watch("2D"):
            options = {"models": None if models is None else Path(models), "threads": threads}
            when = (start, end)
            watched = world is not None and world.camera == "auto"
            make = partial(_as_detector, detector, people, skeleton, when, options, extras)
            tracks, problem, camera, noted, seen_by = _detect(
                source, people, lens, when, fps, make, watched, tell
            )
    tracks = [track for track in select_people(tracks, people) if _has_person(track)]
    if not tracks:
        raise _nobody_in(source)
    first = tracks[0]
    told = _focal_of(lens, first.image_size)
    focal = told or noted
    from lithepose.lifters.default import default_lifter

    lifter = default_lifter()
    lifted = []
    with watch("3D"):
        for done, track in enumerate(tracks):
            tell("3D", done, len(tracks))
            lifted.append(lift_track(track, lifter, height_m=height, focal_px=focal))
        tell("3D", len(tracks), len(tracks))
    lifted = [person for person in lifted if person.metadata["frames_with_person"]]
    if not lifted:
        raise _nobody_in(source)
    warnings = _warnings(height, focal, guessed_focal(first.image_size), camera)
    if world is not None:
        with watch("world"):
            lifted = solve_world(
                lifted, world, moves=camera is not None and _leaves_no_path(camera)
            )
    focal_from = "given" if told else "file" if noted else "guess"
    facts: dict[str, Any] = {
        "warnings": warnings,
        "focal_from": focal_from,
        "detector": {**seen_by, "skeleton": first.skeleton},
    }
    if camera is not None:
        facts["camera"] = asdict(camera)
    lifted = [replace(person, metadata={**person.metadata, **facts}) for person in lifted]
    return Result(
        people=lifted,
        frames=len(first.time_s),
        fps=first.fps,
        image_size=first.image_size,
        seconds=watch.seconds,
        problem=problem,
        camera=camera,
        warnings=warnings,
    )


def _leaves_no_path(camera: CameraMotion) -> bool:
    """Whether no place in one frame can be compared with those in all others."""
    return camera.moves or bool(camera.cuts)


def _warnings(
    height: float | None, focal_px: float | None, guess_px: float, camera: CameraMotion | None
) -> list[str]:
    """What a user should know before using the numbers."""
    said = []
    if height is None:
        said.append(
            f"the height is not known: {STANDARD_HEIGHT_M} m is assumed, and every length and "
            "distance is off by as much as the height is; give --height"
        )
    if focal_px is None:
        said.append(
            f"the lens is not known: a focal length of {guess_px:.0f} px is assumed, and the "
            "distance from the camera is off by as much as it is; give --fov"
        )
    if camera is not None and (camera.kind != "still" or camera.cuts):
        said.append(camera.reason)
        if _leaves_no_path(camera) and camera.steady_s is not None:
            begin, end = camera.steady_s
            said.append(f"--start {begin:.1f} --end {end:.1f} keeps a part with a path")
    return said


def lift_keypoints(
    keypoints: Floats,
    *,
    image_size: tuple[int, int],
    fps: float,
    skeleton: str = "h36m17",
    confidence: Floats | None = None,
    height: float | None = None,
    focal: float | None = None,
) -> Floats:
    """Lift one person's 2D keypoints to 3D.

    Args:
        keypoints: (T, J, 2) pixels of the upright video, nan where missing; or (T, J, 3) with
            confidence last.
        image_size: (width, height) in pixels.
        fps: frames per second.
        skeleton: the joints' order, a name in `lithepose.skeletons.SKELETONS`.
        confidence: (T, J) in [0, 1]; without it every joint that is not nan counts as sure.
        height: the person's stature in metres, if known.
        focal: focal length in pixels, if known.
    Returns:
        (T, 17, 3) float32 metres, camera axes (x right, y down, z forward), absolute, joints in
        the Human3.6M-17 order; nan where there is no person for longer than `MAX_GAP_S`.
    Raises:
        NoPersonError: no frame has enough joints to be a person.
        ValueError: the arrays, the height or the focal length cannot be right.
    """
    from lithepose.lifters.default import default_lifter

    track = track_from_arrays(
        keypoints, image_size=image_size, fps=fps, skeleton=skeleton, confidence=confidence
    )
    lifted = lift_track(track, default_lifter(), height_m=height, focal_px=focal)
    if not lifted.metadata["frames_with_person"]:
        raise NoPersonError(
            f"no frame shows {LEAST_LIMBS} of the {len(LIMBS)} joints of the limbs (hips, knees, "
            "ankles, shoulders, elbows, wrists), the least that can be lifted"
        )
    return lifted.joints_camera


def _nobody_in(source: str | os.PathLike[str]) -> NoPersonError:
    if is_keypoints(source):
        return NoPersonError(
            f"nobody can be lifted from {source}: no frame has {LEAST_LIMBS} of the {len(LIMBS)} "
            "joints of the limbs (hips, knees, ankles, shoulders, elbows, wrists)"
        )
    return NoPersonError(
        f"nobody was found in {source}: a person should be upright, lit, and fill at least a "
        "fifth of the picture's height"
    )


def _as_detector(
    detector: str | os.PathLike[str] | Detector,
    people: People,
    skeleton: str | None,
    when: tuple[float | None, float | None],
    options: dict[str, Any],
    extras: dict[str, Any],
) -> Detector:
    """The detector that was asked for, ready for the first frame of a clip."""
    if not isinstance(detector, str | os.PathLike):
        if extras:
            raise ValueError(f"{', '.join(extras)}: your detector knows where it looks, leave them")
        detector.reset()
        return detector
    options = {k: v for k, v in options.items() if v is not None}
    options.setdefault("threads", min(2, os.cpu_count() or 1))
    options["people"] = "one" if people == "one" else MOST_PEOPLE
    if is_onnx(detector):
        options |= extras
        if skeleton is not None:
            options["skeleton"] = skeleton
    elif extras:
        raise ValueError(
            f"{', '.join(extras)}: these belong to a pose network, given as detector=FILE.onnx; "
            f"{detector} finds people by itself"
        )
    if "boxes" in extras and not is_onnx(extras["boxes"]) and when != (None, None):
        raise ValueError(
            f"{extras['boxes']} counts the frames of the whole video: leave start and end out"
        )
    return create_detector(detector, **options)


def _detect(
    source: str | os.PathLike[str],
    people: People,
    lens: tuple[float | None, float | None],
    when: tuple[float | None, float | None],
    fps: float | None,
    make: Callable[[], Detector],
    watched: bool,
    tell: Report,
) -> tuple[list[Track2D], str | None, CameraMotion | None, float | None, dict[str, Any]]:
    found: list[Detections] = []
    times: list[float] = []
    with open_video(source, start_s=when[0], end_s=when[1], fps=fps) as video:
        focal_px = _focal_of(lens, video.size) or _plausible(video.focal_px, video.size)
        watch = CameraWatch(video.size, focal_px=focal_px) if watched else None
        finder = make()
        for frame in video:
            # The detector's own 3D brings nothing measurable, and would be half of the memory.
            found.append(replace(finder.detect(frame.image, frame.time_s), world=None))
            if watch is not None:
                watch.add(frame.image, frame.time_s, found[-1].keypoints)
            times.append(frame.time_s)
            tell("2D", len(times), video.frame_count)
        size, rate = video.size, video.fps
    span = times[-1] - times[0]
    if span > 0:
        rate = (len(times) - 1) / span
    tracks = build_tracks(found, time_s=np.array(times), image_size=size, fps=rate)
    tracks = join_tracks(tracks) if people == "one" else tracks
    motion = None if watch is None else watch.finish()
    return tracks, video.problem, motion, focal_px, facts_of(finder)


def _has_person(track: Track2D) -> bool:
    return bool(np.isfinite(track.keypoints).any())


def _silent(stage: str, done: int, total: int | None) -> None:
    del stage, done, total


class _Stopwatch:
    """Adds up the seconds spent in each stage."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin
