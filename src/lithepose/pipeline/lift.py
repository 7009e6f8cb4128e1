"""Video or keypoints in, people in 3D out: the stages joined.

`lift` takes frames or a file of keypoints, `lift_keypoints` arrays; both end in `lift_track`, which
lifts one person's windows, holds the bones constant, scales to metres and finds the path of the
root. Then everyone gets a motion in one world (`lithepose.world`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Never

import numpy as np

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.bones import bone_lengths, with_lengths
from lithepose.detect import Detector, create_detector, facts_of, is_onnx
from lithepose.keypoints import is_keypoints, read_keypoints
from lithepose.lifters.default import default_lifter
from lithepose.lifters.windows import LIMBS, WindowLifter, lift_windows, with_midpoints
from lithepose.pipeline.options import (
    DEFAULT_WORLD,
    DetectorOptions,
    LiftOptions,
    People,
    Report,
    check_focal,
    check_height,
    plausible_focal,
)
from lithepose.pipeline.result import NoPersonError, Result
from lithepose.pipeline.sources import Source, open_clip, track_from_arrays
from lithepose.poses import MAX_GAP_S, Detections, Track2D, Track3D, segments
from lithepose.skeletons import convert
from lithepose.track import build_tracks, fill_gaps, join_tracks, repair_left_right, select_people
from lithepose.video import CameraMotion, CameraWatch
from lithepose.world import WorldOptions, fit_root_path, solve_world, with_extremities

# Fewer visible limb joints than this are no person to lift.
LEAST_LIMBS = 6
# Without a known lens: between a phone's main camera (about 0.75) and a longer lens.
GUESSED_FOCAL = 1.0  # of the image's long side
# The most people that are followed at once when not just one is wanted.
MOST_PEOPLE = 6


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """What the 2D stage hands on: who was seen, by what, and what it learned of the clip."""

    tracks: list[Track2D]
    detector: dict[str, Any]
    named: bool = False  # whether `person` of the tracks is who a file says they are
    noted_focal_px: float | None = None
    camera: CameraMotion | None = None
    problem: str | None = None


@dataclass(frozen=True)
class _Watch:
    """Who is told of the progress, and the seconds spent in each stage."""

    report: Report | None
    seconds: dict[str, float] = field(default_factory=dict)

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        begin = time.perf_counter()
        yield
        self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begin

    def tell(self, stage: str, done: int, total: int | None) -> None:
        if self.report is not None:
            self.report(stage, done, total)


def lift(
    source: Source,
    *,
    people: People = "one",
    height: float | None = None,
    focal: float | None = None,
    fov: float | None = None,
    start: float | None = None,
    end: float | None = None,
    fps: float | None = None,
    image_size: tuple[int, int] | None = None,
    skeleton: str | None = None,
    world: WorldOptions | None = DEFAULT_WORLD,
    detector: str | os.PathLike[str] | Detector | DetectorOptions = "blazepose",
    report: Report | None = None,
    **moved: Never,
) -> Result:
    """Lift the people of a video, of frames in memory, or of a file of 2D keypoints, to 3D.

    Args:
        source: a video file; a folder of images, or frames as an array (T, H, W, 3) or an iterator
            of (H, W, 3), uint8 RGB, with `fps`; or keypoints as `read_keypoints` reads them. An
            iterator is read once, a frame at a time.
        people: "one" follows the person the clip shows most; "largest" and "all" look for several.
        height: the person's stature in metres, if known.
        focal: focal length in pixels, or
        fov: horizontal field of view in degrees, if known. Without either, what the camera wrote
            into the video is taken, or else a focal length of the image's long side.
        start, end: part of the frames, in seconds.
        fps: frames per second, where the source does not say.
        image_size: (width, height) of a file of keypoints that does not say.
        skeleton: joint set of a file of keypoints, or of a pose network, that does not say.
        world: what is known of the scene and what is done to the motion there; None leaves the
            people before the camera, without floor, rotations and a world path.
        detector: name in `lithepose.detect.DETECTORS`, the path of a pose network's ONNX file, a
            detector of your own, or `DetectorOptions` with more about it.
        report: is told of the progress.
    Returns:
        The people, numbered from 1.
    Raises:
        NoPersonError: nobody was found.
        FileNotFoundError, ValueError: the source cannot be read, or an option cannot be right.
        TypeError: there is no such keyword.
        lithepose.assets.ModelsError: the detector's model files are absent.
    """
    given = locals()  # the record has a field for every keyword
    named = {each.name: given[each.name] for each in fields(LiftOptions)}
    return lift_source(source, LiftOptions.of({**named, **moved}), report)


def lift_source(source: Source, options: LiftOptions, report: Report | None = None) -> Result:
    """`lift`, its keywords in a record."""
    watch = _Watch(report)
    is_path = isinstance(source, str | os.PathLike)
    if is_path and is_keypoints(source):
        if options.is_part:
            raise ValueError("start and end are for videos: cut a file of keypoints beforehand")
        if options.detecting.detector != "blazepose" or options.detecting.of_network():
            raise ValueError(f"{source} holds keypoints already: leave detector and boxes out")
        with watch("keypoints"):
            tracks = read_keypoints(
                source, skeleton=options.skeleton, image_size=options.image_size, fps=options.fps
            )
        facts = {"name": "keypoints", "file": Path(source).name}
        seen = _Seen(tracks=tracks, detector=facts, named=True)
        reason = f"nobody can be lifted from {source}: {_NO_LIMBS}"
    else:
        with watch("2D"):
            seen = _detect(source, options, watch)
        reason = (
            f"nobody was found in {source if is_path else 'the frames'}: a person should be "
            "upright, lit, and fill at least a fifth of the picture's height"
        )
    return _lift_seen(seen, options, watch, nobody=reason)


def lift_keypoints(
    keypoints: Floats,
    *,
    image_size: tuple[int, int],
    fps: float,
    skeleton: str = "h36m17",
    confidence: Floats | None = None,
    height: float | None = None,
    focal: float | None = None,
    fov: float | None = None,
    world: WorldOptions | None = DEFAULT_WORLD,
) -> Result:
    """Lift one person's 2D keypoints to 3D.

    Args:
        keypoints: (T, J, 2) pixels of the upright video, nan where missing; or (T, J, 3) with
            confidence last.
        image_size: (width, height) in pixels.
        fps: frames per second.
        skeleton: the joints' order, a name in `lithepose.skeletons.SKELETONS`.
        confidence: (T, J) in [0, 1]; without it every joint that is not nan counts as sure.
        height, focal, fov, world: as of `lift`.
    Returns:
        A result of one person. `result.people[0].joints_camera` is (T, 17, 3) float32 metres,
        camera axes (x right, y down, z forward), absolute, joints in the Human3.6M-17 order; nan
        where there is no person for longer than `MAX_GAP_S`.
    Raises:
        NoPersonError: no frame has enough joints to be a person.
        ValueError: the arrays or an option cannot be right.
    """
    options = LiftOptions(height=height, focal=focal, fov=fov, world=world)
    track = track_from_arrays(
        keypoints, image_size=image_size, fps=fps, skeleton=skeleton, confidence=confidence
    )
    seen = _Seen(tracks=[track], detector={"name": "keypoints"})
    return _lift_seen(seen, options, _Watch(None), nobody=f"nobody can be lifted: {_NO_LIMBS}")


_NO_LIMBS = (
    f"no frame has {LEAST_LIMBS} of the {len(LIMBS)} joints of the limbs (hips, knees, ankles, "
    "shoulders, elbows, wrists)"
)


def _lift_seen(seen: _Seen, options: LiftOptions, watch: _Watch, *, nobody: str) -> Result:
    """Everything behind the 2D stage."""
    tracks = select_people(seen.tracks, options.people)
    tracks = [track for track in tracks if np.isfinite(track.keypoints).any()]
    if not tracks:
        raise NoPersonError(nobody)
    first = tracks[0]
    given = options.focal_px(first.image_size)
    focal = given or seen.noted_focal_px
    with watch("3D"):
        lifter = default_lifter()
        lifted = []
        for done, track in enumerate(tracks):
            watch.tell("3D", done, len(tracks))
            lifted.append(lift_track(track, lifter, height_m=options.height, focal_px=focal))
        watch.tell("3D", len(tracks), len(tracks))
    lifted = [person for person in lifted if person.metadata["frames_with_person"]]
    if not lifted:
        raise NoPersonError(nobody)
    warnings = _warnings(options.height, focal, guessed_focal(first.image_size), seen.camera)
    if options.world is not None:
        with watch("world"):
            moves = seen.camera is not None and _leaves_no_path(seen.camera)
            lifted = solve_world(lifted, options.world, moves=moves)
    facts: dict[str, Any] = {
        "warnings": warnings,
        "focal_from": "given" if given else "file" if seen.noted_focal_px else "guess",
        "detector": {**seen.detector, "skeleton": first.skeleton},
    }
    if seen.camera is not None:
        facts["camera"] = asdict(seen.camera)
    people = []
    for number, person in enumerate(lifted, 1):
        own = {"identity": person.person} if seen.named else {}
        metadata = {**person.metadata, **facts, **own}
        people.append(replace(person, person=number, metadata=metadata))
    return Result(
        people=people,
        frames=len(first.time_s),
        fps=first.fps,
        image_size=first.image_size,
        seconds=watch.seconds,
        problem=seen.problem,
        camera=seen.camera,
        warnings=warnings,
    )


def _detect(source: Source, options: LiftOptions, watch: _Watch) -> _Seen:
    found: list[Detections] = []
    times: list[float] = []
    with open_clip(source, options) as clip:
        noted = plausible_focal(clip.focal_px, clip.size)
        focal_px = options.focal_px(clip.size) or noted
        watched = options.world is not None and options.world.camera == "auto"
        camera = CameraWatch(clip.size, focal_px=focal_px) if watched else None
        detector = _detector(options)
        for frame in clip:
            # The detector's own 3D brings nothing measurable, and would be half of the memory.
            found.append(replace(detector.detect(frame.image, frame.time_s), world=None))
            if camera is not None:
                camera.add(frame.image, frame.time_s, found[-1].keypoints)
            times.append(frame.time_s)
            watch.tell("2D", len(times), clip.frame_count)
        size, rate = clip.size, clip.fps
    span = times[-1] - times[0]
    if span > 0:
        rate = (len(times) - 1) / span
    tracks = build_tracks(found, time_s=np.array(times), image_size=size, fps=rate)
    return _Seen(
        tracks=join_tracks(tracks) if options.people == "one" else tracks,
        detector=facts_of(detector),
        noted_focal_px=noted,
        camera=None if camera is None else camera.finish(),
        problem=clip.problem,
    )


def _detector(options: LiftOptions) -> Detector:
    """The detector that was asked for, ready for the first frame of a clip."""
    asked = options.detecting
    of_network = asked.of_network()
    if not isinstance(asked.detector, str | os.PathLike):
        if of_network:
            raise ValueError(
                f"{', '.join(of_network)}: your detector knows where it looks, leave them"
            )
        asked.detector.reset()
        return asked.detector
    people = "one" if options.people == "one" else MOST_PEOPLE
    keywords: dict[str, Any] = {**asked.of_machine(), "people": people}
    if is_onnx(asked.detector):
        keywords |= of_network
        if options.skeleton is not None:
            keywords["skeleton"] = options.skeleton
    elif of_network:
        raise ValueError(
            f"{', '.join(of_network)}: these belong to a pose network, given as "
            f"detector=FILE.onnx; {asked.detector} finds people by itself"
        )
    if asked.boxes is not None and not is_onnx(asked.boxes) and options.is_part:
        raise ValueError(
            f"{asked.boxes} counts the frames of the whole video: leave start and end out"
        )
    return create_detector(asked.detector, **keywords)


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
    check_height(height_m)
    check_focal(focal_px, track.image_size)
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
    miss = miss[np.isfinite(miss)]
    mean = float(confidence[present].mean()) if present.any() else 0.0
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
            "mean_confidence": round(mean, 3),
            "max_gap_s": MAX_GAP_S,
            "reprojection_px": round(float(np.median(miss)), 3) if len(miss) else None,
        },
    )
