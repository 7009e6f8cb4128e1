"""Lift whole tracks: windows over a clip, merged; then bones, metres and a path of the root."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.lifters.windows import (
    LIMBS,
    STANDARD_HEIGHT_M,
    WindowLifter,
    lift_windows,
    with_midpoints,
)
from lithepose.poses import Track2D, Track3D
from lithepose.skeletons import convert
from lithepose.track import fill_gaps, repair_left_right
from lithepose.world import bone_lengths, fit_root_path, with_lengths

Floats = NDArray[np.floating[Any]]
log = logging.getLogger(__name__)

# Absences up to this long are interpolated; longer ones stay nan in the result.
MAX_GAP_S = 0.5
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
        lifter: the network, as `lithepose.pipeline.default_lifter` gives it.
        height_m: the person's stature in metres; `STANDARD_HEIGHT_M` is assumed without it.
        focal_px: focal length in pixels; guessed from the image size without it.
    Returns:
        Poses in metres, camera axes; nan in frames without a person. An absence of at most
        `MAX_GAP_S` is bridged.
    Raises:
        ValueError: height or focal length cannot be a person's or a camera's.
    """
    if height_m is not None and not HEIGHT_RANGE_M[0] <= height_m <= HEIGHT_RANGE_M[1]:
        raise ValueError(
            f"height {height_m} m is not a person's: give metres between "
            f"{HEIGHT_RANGE_M[0]} and {HEIGHT_RANGE_M[1]}"
        )
    long_side = max(track.image_size)
    if focal_px is not None and not (
        FOCAL_RANGE[0] * long_side <= focal_px <= FOCAL_RANGE[1] * long_side
    ):
        raise ValueError(
            f"focal length {focal_px} px is not a camera's for an image of {track.image_size}: "
            f"give pixels between {FOCAL_RANGE[0] * long_side:.0f} and "
            f"{FOCAL_RANGE[1] * long_side:.0f}"
        )
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
    stretches = _runs(present)
    for run in stretches:
        joints[run] = lift_windows(rays[run], told[run], track.time_s[run], lifter) * scale
    lengths = bone_lengths(joints)
    if stretches:
        joints = with_lengths(joints, lengths)
    for run in stretches:
        root = fit_root_path(joints[run], rays[run], told[run], track.time_s[run])
        joints[run] += root[:, None]

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
        metadata={
            "height_m": height_m or STANDARD_HEIGHT_M,
            "height_known": height_m is not None,
            "focal_known": focal_px is not None,
            "frames_with_person": int(present.sum()),
            "frames_exchanged": int(exchanged.sum()),
            "max_gap_s": MAX_GAP_S,
            "reprojection_px": _median(miss),
        },
    )


def _median(values: Floats) -> float | None:
    finite = values[np.isfinite(values)]
    return round(float(np.median(finite)), 3) if len(finite) else None


def _runs(present: NDArray[np.bool_]) -> list[slice]:
    """The stretches of True."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], present, [False]]).astype(np.int8)))
    return [slice(int(a), int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def lift_keypoints_track(
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
    keypoints = np.asarray(keypoints, dtype=np.float64)
    if keypoints.ndim == 3 and keypoints.shape[-1] == 3 and confidence is None:
        keypoints, confidence = keypoints[..., :2], keypoints[..., 2]
    if keypoints.ndim != 3 or keypoints.shape[-1] != 2 or len(keypoints) == 0:
        raise ValueError(
            f"keypoints have shape {keypoints.shape}: give (T, J, 2) pixels, or (T, J, 3) with "
            "confidence, T at least 1"
        )
    if not np.isfinite(fps) or fps <= 0:
        raise ValueError(f"fps is {fps}: give the clip's frames per second")
    width, height = image_size
    if not (width > 0 and height > 0):
        raise ValueError(f"image_size is {image_size}: give (width, height) in pixels")
    seen = np.isfinite(keypoints).all(-1)
    if not seen.any():
        raise ValueError("every keypoint is nan: there is nothing to lift")
    if confidence is None:
        confidence = seen.astype(np.float64)
    confidence = np.asarray(confidence, dtype=np.float64)
    if confidence.shape != keypoints.shape[:2]:
        raise ValueError(
            f"confidence has shape {confidence.shape}: give one value per joint, "
            f"{keypoints.shape[:2]}"
        )
    sure = np.where(seen & np.isfinite(confidence), np.clip(confidence, 0, 1), 0)
    return Track2D(
        person=0,
        keypoints=np.where(sure[..., None] > 0, keypoints, np.nan),
        confidence=sure,
        skeleton=skeleton,
        time_s=np.arange(len(keypoints)) / fps,
        fps=float(fps),
        image_size=(int(width), int(height)),
    )
