"""How far a detector's 2D joints lie from the truth, and how the error behaves over time.

Renders people whose joints are known exactly, runs a detector over the clips as a video (with
tracking), and writes the statistics that training needs to imitate the detector:

    python benchmarks/detector_noise.py --clips 120 --motions train.npz --out noise.json

All errors are divided by the person's size in the picture: the root-mean-square distance of the 12
limb joints (hips to ankles, shoulders to wrists) to their centroid, in pixels, of the true joints.
A standing adult of 400 pixels has a size of about 110 pixels. The fields of the file are described
in docs/benchmarks/detector_noise.md.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np

from lithepose.arrays import Floats
from lithepose.cameras import Camera
from lithepose.detect import create_detector
from lithepose.skeletons import LIMB_JOINTS, SKELETONS, convert, skeleton_named
from lithepose.synthetic.appearance import random_appearance
from lithepose.synthetic.bodies import BONES, Body, random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.movements import MOTIONS, motion
from lithepose.synthetic.posing import bone_rotations, rebone
from lithepose.synthetic.scenes import Clip, random_scene

SKELETON = skeleton_named("h36m17")
MIRROR = list(SKELETON.mirror)
LEGS, ARMS = (1, 2, 3, 4, 5, 6), (11, 12, 13, 14, 15, 16)
LEFT = {4, 5, 6, 11, 12, 13}
VIEWS = ("front", "side", "back")  # within 45 degrees of frontal, of profile, of the back
# The bone whose axes a joint's systematic offset is expressed in.
OFFSET_BONE = (
    "pelvis", "pelvis", "r_thigh", "r_shin", "pelvis", "l_thigh", "l_shin", "waist", "chest",
    "head", "head", "chest", "l_upper_arm", "l_forearm", "chest", "r_upper_arm", "r_forearm",
)  # fmt: skip
CONFIDENCE_EDGES = (0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 0.97, 0.99, 1.0)
MAX_LAG_S = 0.5
WHOLE_GROSS = 1.0  # mean limb error in sizes above which the detector is not on the person

PARENTS = SKELETONS["h36m17"].parents


@dataclass
class Record:
    """One clip: truth and detections, T frames; `keypoints` and `detected` in pixels."""

    fps: float
    keypoints: Floats  # (T, 17, 2)
    visible: np.ndarray  # (T, 17) bool
    detected: Floats  # (T, 17, 2), nan where the detector found nobody
    confidence: Floats  # (T, 17)
    axes: Floats  # (T, 17, 2, 3) sizes per stature: image x, y of the offset bone's axes
    azimuth: Floats  # (T,) radians, 0: the chest faces the camera, +-pi: the back does
    image_size: np.ndarray  # (2,)

    @property
    def size(self) -> Floats:
        """(T,) pixels."""
        limbs = self.keypoints[:, list(LIMB_JOINTS)]
        return np.sqrt(((limbs - limbs.mean(1, keepdims=True)) ** 2).sum(-1).mean(-1))

    @property
    def inside(self) -> np.ndarray:
        """(T, 17) bool, the true joint lies in the picture."""
        inside = (self.keypoints >= 0) & (self.keypoints < self.image_size)
        return np.asarray(inside.all(-1))


# --- rendering and detecting -----------------------------------------------------------------


def load_motions(path: Path | None) -> list[tuple[Floats, float]]:
    """(joints (T, 17, 3), fps) of every segment of a motion file, or the built-in motions."""
    if path is None:
        return []
    data = np.load(path, allow_pickle=False)
    starts = data["clip_start"]
    return [
        (data["pos"][a:b], float(data["fps"]))
        for a, b in pairwise(starts)
        if b - a > 1.2 * float(data["fps"])
    ]


def resample(joints: Floats, fps: float, new_fps: float, frames: int) -> Floats:
    """`frames` poses at another rate, linear between the given ones."""
    at = np.arange(frames) * fps / new_fps
    at = at[at <= len(joints) - 1]
    low = np.minimum(at.astype(int), len(joints) - 2)
    share = (at - low)[:, None, None]
    return joints[low] * (1 - share) + joints[low + 1] * share


def draw_motion(
    motions: list[tuple[Floats, float]],
    body: Body,
    fps: float,
    seconds: float,
    rng: np.random.Generator,
) -> Floats:
    """(T, 17, 3) a piece of motion on a body, centred over the origin, standing on the floor."""
    if motions:
        source, source_fps = motions[rng.integers(len(motions))]
        need = int(seconds * source_fps) + 2
        start = int(rng.integers(max(len(source) - need, 0) + 1))
        joints = resample(
            source[start : start + need].astype(float), source_fps, fps, int(seconds * fps)
        )
        if rng.random() < 0.5:
            joints = joints[:, MIRROR] * (-1, 1, 1)
        joints = rebone(joints, body)
    else:
        name = sorted(MOTIONS)[rng.integers(len(MOTIONS))]
        joints = motion(name, seconds, fps, body, rng)
    middle = (joints[:, 0].min(0) + joints[:, 0].max(0)) / 2
    joints = joints - middle * (1, 1, 0)
    lowest = float(np.percentile(joints[:, [3, 6], 2].min(1), 3))
    if abs(lowest - body.ankle_height) < 0.3:  # else the motion is meant to be off the floor
        joints = joints + (0, 0, body.ankle_height - lowest)
    return joints


def draw_camera(joints: Floats, rng: np.random.Generator) -> Camera:
    """A phone's or a laboratory's camera somewhere around the motion."""
    kind = rng.random()
    if kind < 0.4:  # phone or webcam, landscape
        image_size, focal = (960, 540), 960 * rng.uniform(0.70, 1.0)
    elif kind < 0.6:  # phone, portrait
        image_size, focal = (540, 960), 960 * rng.uniform(0.70, 1.0)
    else:  # laboratory: the field of view of the Human3.6M cameras
        image_size, focal = (720, 720), 720 * rng.uniform(1.05, 1.35)
    centre = np.median(joints[:, 0], axis=0)
    spread = float(np.abs(joints[..., :2] - centre[:2]).max())
    # Far enough for the whole motion to fit with little cut off, as people usually film.
    narrow = min(image_size) / 2 / focal
    near = np.clip(0.8 * spread / narrow + 0.3, 2.2, 7.0)
    distance = rng.uniform(near, max(near + 0.5, min(2.2 * near, 8.0)))
    yaw = rng.uniform(0, 2 * np.pi)
    height = rng.uniform(0.5, 2.2)
    position = centre * (1, 1, 0) + (distance * np.cos(yaw), distance * np.sin(yaw), height)
    free = 0.10 * distance
    target = centre + (*rng.uniform(-free, free, 2), rng.uniform(-0.25, 0.25))
    return Camera.looking_from(
        position, target, focal_px=focal, image_size=image_size, roll_deg=rng.normal(0, 2.0)
    )


def record_clip(
    number: int, seed: int, motions: list[tuple[Floats, float]], seconds: float, detector
) -> Record:
    rng = np.random.default_rng([seed, number])
    body = random_body(rng)
    fps = float(rng.choice([25.0, 30.0]))
    joints = draw_motion(motions, body, fps, seconds, rng)
    camera = draw_camera(joints, rng)
    scene = random_scene(camera, rng, boxes=int(rng.random() < 0.25))
    figure = build_figure(body, random_appearance(rng))
    clip = Clip([(figure, joints)], scene, fps, seed=number)
    truth = clip.truth()
    detected = np.full((len(clip), 17, 2), np.nan)
    confidence = np.zeros((len(clip), 17))
    detector.reset()
    for t, frame in enumerate(clip):
        found = detector.detect(frame, t / fps)
        if len(found):
            points, sure, _ = convert(
                found.keypoints[0], found.confidence[0], found.skeleton, "h36m17"
            )
            detected[t], confidence[t] = points, sure
    axes, azimuth = body_axes(body, joints, camera)
    record = Record(
        fps=fps,
        keypoints=truth.keypoints,
        visible=truth.visible,
        detected=detected,
        confidence=confidence,
        axes=axes,
        azimuth=azimuth,
        image_size=np.array(camera.image_size),
    )
    record.axes = axes * body.stature / record.size[:, None, None, None]
    return record


def body_axes(body: Body, joints: Floats, camera: Camera) -> tuple[Floats, Floats]:
    """Image directions of each joint's bone axes, pixels per metre, and the azimuth of the chest.

    Returns:
        (T, 17, 2, 3): columns outward (to the joint's own side), forward, up (towards the parent
        joint, for limbs); and (T,) radians.
    """
    numbers = [BONES.index(name) for name in OFFSET_BONE]
    axes = np.zeros((len(joints), 17, 2, 3))
    azimuth = np.zeros(len(joints))
    for t, (pose, rotation) in enumerate(zip(joints, bone_rotations(body, joints), strict=True)):
        local = camera.world_to_camera(pose)
        for joint, number in enumerate(numbers):
            frame = rotation[number].copy()
            if joint in (2, 3, 5, 6, 12, 13, 15, 16):
                up = pose[PARENTS[joint]] - pose[joint]
                up /= np.linalg.norm(up)
                forward = frame[:, 1] - (frame[:, 1] @ up) * up
                forward /= np.linalg.norm(forward)
                frame = np.stack([np.cross(forward, up), forward, up], -1)
            if joint in LEFT:
                frame[:, 0] *= -1
            seen = camera.rotation @ frame  # camera axes
            x, y, z = local[joint]
            jacobian = camera.focal_px[0] / z * np.array([[1, 0, -x / z], [0, 1, -y / z]])
            axes[t, joint] = jacobian @ seen
        facing = camera.rotation @ rotation[BONES.index("chest")][:, 1]
        to_camera = -local[8] / np.linalg.norm(local[8])
        side = np.cross(to_camera, (0.0, 1.0, 0.0))
        azimuth[t] = np.arctan2(facing @ side, facing @ to_camera)
    return axes, azimuth


# --- statistics ------------------------------------------------------------------------------


def robust_sigma(values: Floats) -> float:
    """1.48 times the median absolute value around the median: the sigma of the core."""
    values = values[np.isfinite(values)]
    return float(1.4826 * np.median(np.abs(values - np.median(values)))) if len(values) else 0.0


def view_of(azimuth: Floats) -> np.ndarray:
    """(T,) index into `VIEWS`."""
    return np.digitize(np.abs(azimuth), (np.pi / 4, 3 * np.pi / 4))


def exchanged(record: Record, joints: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
    """(T,) whether left and right of these joints are taken for each other, and whether one could
    tell: the truth has left and right far enough apart in the picture."""
    size = record.size[:, None]
    normal = np.linalg.norm(record.detected - record.keypoints, axis=-1) / size
    mirrored = np.linalg.norm(record.detected[:, MIRROR] - record.keypoints, axis=-1) / size
    apart = np.linalg.norm(record.keypoints[:, MIRROR] - record.keypoints, axis=-1) / size
    index = list(joints)
    n, m, a = (x[:, index].mean(-1) for x in (normal, mirrored, apart))
    with np.errstate(invalid="ignore"):
        return (m < 0.6 * n) & (n - m > 0.10), np.isfinite(n) & (a > 0.2)


def bursts(state: np.ndarray) -> list[tuple[int, int, bool]]:
    """(start, length, whether both ends lie in the clip) of the runs of True."""
    edge = np.diff(np.concatenate([[0], state.astype(int), [0]]))
    starts, ends = np.flatnonzero(edge == 1), np.flatnonzero(edge == -1)
    return [
        (int(a), int(b - a), bool(a > 0 and b < len(state)))
        for a, b in zip(starts, ends, strict=True)
    ]


def quantiles(values, at=(0.1, 0.25, 0.5, 0.75, 0.9)) -> list[float]:
    return [round(float(np.quantile(values, q)), 4) for q in at] if len(values) else []


def event_statistics(states: list[np.ndarray], records: list[Record], possible=None) -> dict:
    """Rate, share and burst lengths of an on/off event, also by view."""
    possible = possible or [np.ones(len(s), bool) for s in states]
    lengths, views = [], [[0, 0.0, 0] for _ in VIEWS]  # onsets, seconds, frames on
    seconds, onsets, on = 0.0, 0, 0
    for state, able, record in zip(states, possible, records, strict=True):
        view = view_of(record.azimuth)
        seconds += float(able.sum()) / record.fps
        on += int((state & able).sum())
        for start, length, _ in bursts(state & able):
            onsets += 1
            lengths.append(length / record.fps)
            views[view[start]][0] += 1
        for index in range(len(VIEWS)):
            here = able & (view == index)
            views[index][1] += float(here.sum()) / record.fps
            views[index][2] += int((state & here).sum())
    frames = sum(int(able.sum()) for able in possible)
    return {
        "seconds": round(float(seconds), 1),
        "onsets_per_s": round(onsets / max(float(seconds), 1e-9), 4),
        "share_of_frames": round(on / max(frames, 1), 4),
        "burst_s_quantiles_10_25_50_75_90": quantiles(lengths),
        "burst_s_mean": round(float(np.mean(lengths)), 4) if lengths else 0.0,
        "by_view": {
            name: {
                "seconds": round(s, 1),
                "onsets_per_s": round(n / s, 4) if s else 0.0,
                "share_of_seconds": round(f / max(s * 27.5, 1e-9), 4),
            }
            for name, (n, s, f) in zip(VIEWS, views, strict=True)
        },
    }


def split_in_time(series: list[tuple[Floats, np.ndarray, float]]) -> dict:
    """Split errors into a slow and a white part.

    Args:
        series: (error (T, 2), valid (T,), fps) of each clip.

    The model is white noise of variance w^2 plus a first-order autoregression of variance s^2 and
    correlation exp(-lag / tau), around an offset that is constant in the clip. It is fitted to the
    variogram, half the mean squared change over a lag, w^2 + s^2 (1 - exp(-lag / tau)), for this
    does not depend on the offset, which short clips don't tell apart from slow changes.
    """
    squares: dict[float, float] = {}
    counts: dict[float, int] = {}
    for error, valid, fps in series:
        for lag in range(1, int(MAX_LAG_S * fps) + 1):
            both = valid[lag:] & valid[:-lag]
            change = error[lag:][both] - error[:-lag][both]
            key = round(lag / fps, 4)
            squares[key] = squares.get(key, 0.0) + float((change**2).sum()) / 2
            counts[key] = counts.get(key, 0) + 2 * int(both.sum())
    lags = np.array(sorted(key for key, count in counts.items() if count >= 100))
    if len(lags) < 6:
        return {}
    variogram = np.array([squares[key] / counts[key] for key in lags])
    weight = 1 / variogram  # relative errors: the short lags decide what is white
    best = (np.inf, 0.0, 0.0, 0.0)
    for tau in np.geomspace(0.02, 1.0, 60):
        rise = 1 - np.exp(-lags / tau)
        matrix = np.stack([np.ones_like(rise), rise], -1) * weight[:, None]
        white, slow = np.linalg.lstsq(matrix, np.ones_like(rise), rcond=None)[0]
        if white < 0:
            white, slow = 0.0, float((rise * weight).sum() / ((rise * weight) ** 2).sum())
        if slow < 0:
            white, slow = float(weight.sum() / (weight**2).sum()), 0.0
        misfit = float((((white + slow * rise) * weight - 1) ** 2).sum())
        if misfit < best[0]:
            best = (misfit, tau, slow, white)
    _, tau, slow, white = best
    return {
        "slow_sigma": round(float(slow) ** 0.5, 4),
        "slow_tau_s": round(float(tau), 3),
        "white_sigma": round(float(white) ** 0.5, 4),
    }


@dataclass
class _Sample:
    """One joint in one clip: errors and bone in sizes, everything mirrored to the right side."""

    error: Floats  # (T, 2)
    axes: Floats  # (T, 2, 3)
    along: Floats  # (T, 2) unit vector from the parent
    across: Floats  # (T, 2) square to it
    length: Floats  # (T,) of the bone in the picture
    valid: np.ndarray  # (T,)
    hidden: np.ndarray  # (T,)
    confidence: Floats  # (T,)
    view: np.ndarray  # (T,)
    fps: float


def samples_of(joint: int, records: list[Record], usable: list[np.ndarray]) -> list[_Sample]:
    samples = []
    for record, ok in zip(records, usable, strict=True):
        error = (record.detected - record.keypoints) / record.size[:, None, None]
        parent = PARENTS[joint] if joint else 8
        bone = record.keypoints[:, joint] - record.keypoints[:, parent]
        length = np.linalg.norm(bone, axis=-1, keepdims=True)
        along = bone / np.maximum(length, 1e-9)
        across = np.stack([-along[:, 1], along[:, 0]], -1) * (-1 if joint in LEFT else 1)
        samples.append(
            _Sample(
                error=error[:, joint],
                axes=record.axes[:, joint],
                along=along,
                across=across,
                length=length[:, 0] / record.size,
                valid=ok[:, joint] & record.inside[:, joint],
                hidden=~record.visible[:, joint],
                confidence=record.confidence[:, joint],
                view=view_of(record.azimuth),
                fps=record.fps,
            )
        )
    return samples


def fit_offset(samples: list[_Sample]) -> Floats:
    """(3,) offset in statures, constant in the axes of the body: trimmed least squares."""
    axes = np.concatenate([s.axes for s in samples])
    error = np.concatenate([s.error for s in samples])
    valid = np.concatenate([s.valid for s in samples])
    rest, limit, offset = error, 0.4, np.zeros(3)
    for _ in range(5):
        good = valid & (np.linalg.norm(rest, axis=-1) < limit)
        offset = np.linalg.lstsq(axes[good].reshape(-1, 3), error[good].reshape(-1), rcond=None)[0]
        rest, limit = error - axes @ offset, 0.25
    return offset


def joint_statistics(samples: list[_Sample]) -> dict:
    """Bias, spread and behaviour over time of one joint."""
    error = np.concatenate([s.error for s in samples])
    valid = np.concatenate([s.valid for s in samples])
    hidden = np.concatenate([s.hidden for s in samples])
    confidence = np.concatenate([s.confidence for s in samples])
    view = np.concatenate([s.view for s in samples])
    if valid.sum() < 100:
        return {"frames": int(valid.sum())}
    norm = np.linalg.norm(error, axis=-1)
    offset = fit_offset(samples)
    rest = error - np.concatenate([s.axes for s in samples]) @ offset
    core = valid & (norm < 0.4)
    long = np.concatenate([s.length for s in samples]) > 0.3

    def on_bone(directions: list[Floats]) -> float | None:
        mask = core & long
        if mask.sum() < 50:
            return None
        return round(float(np.median((error * np.concatenate(directions)).sum(-1)[mask])), 4)

    row = {
        "frames": int(valid.sum()),
        "median_error": round(float(np.median(norm[valid])), 4),
        "p90_error": round(float(np.quantile(norm[valid], 0.9)), 4),
        "bias_image": np.round(np.median(error[core], axis=0), 4).tolist(),
        "bias_bone": [on_bone([s.along for s in samples]), on_bone([s.across for s in samples])],
        "body_offset": np.round(offset, 5).tolist(),
        "sigma_after_offset": round(robust_sigma(rest[valid].ravel()), 4),
        "visible": class_statistics(samples, offset, hidden=False),
        "hidden": class_statistics(samples, offset, hidden=True),
        "by_view": {},
    }
    for name, mask in (("visible", valid & ~hidden), ("hidden", valid & hidden)):
        if mask.any():
            row[name]["median_error"] = round(float(np.median(norm[mask])), 4)
            row[name]["confidence_quantiles_5_25_50_75_95"] = quantiles(
                confidence[mask], (0.05, 0.25, 0.5, 0.75, 0.95)
            )
    for index, name in enumerate(VIEWS):
        mask = valid & (view == index)
        if mask.sum() > 50:
            row["by_view"][name] = {
                "median_error": round(float(np.median(norm[mask])), 4),
                "bias_image": np.round(np.median(error[mask], axis=0), 4).tolist(),
                "hidden_share": round(float(hidden[mask].mean()), 3),
            }
    return row


def class_statistics(samples: list[_Sample], offset: Floats, *, hidden: bool) -> dict:
    """Offset of the clip, slow and white part, and heavy tail of a joint while seen or hidden."""
    middles, series, residuals, totals, tail_bursts = [], [], [], [], []
    share = np.concatenate([s.hidden[s.valid] for s in samples]).mean()
    row: dict = {"share": round(float(share if hidden else 1 - share), 3)}
    for s in samples:
        rest = s.error - s.axes @ offset
        use = s.valid & (s.hidden == hidden)
        near = use & (np.linalg.norm(rest, axis=-1) < 0.5)
        if near.sum() < 12:
            continue
        middle = np.median(rest[near], axis=0)
        middles.append(middle)
        residual = rest - middle
        residuals.append(residual[use])
        totals.append(rest[use])
        series.append((np.nan_to_num(residual), use, s.fps))
    if len(middles) < 5:
        return row
    pooled = np.concatenate(residuals)
    core_sigma = robust_sigma(pooled.ravel())
    limit = 4 * core_sigma
    far = np.linalg.norm(pooled, axis=-1) > limit
    clipped = []
    for residual, use, fps in series:
        away = use & (np.linalg.norm(residual, axis=-1) > limit)
        tail_bursts += [length / fps for _, length, _ in bursts(away)]
        # The tail is told apart below: leave it out of the split.
        clipped.append((residual, use & ~away, fps))
    split = split_in_time(clipped)
    # Whatever the slow and the white part leave of the whole spread is constant in a clip. The
    # spread of the clips' middles alone would count slow changes of short clips as constant.
    total = np.concatenate(totals)
    total = total[np.linalg.norm(total, axis=-1) < 4 * robust_sigma(total.ravel())]
    variance = float((total**2).mean())
    moving = split.get("slow_sigma", 0.0) ** 2 + split.get("white_sigma", 0.0) ** 2
    return {
        **row,
        "clips": len(middles),
        "sigma": round(variance**0.5, 4),
        "clip_sigma": round(max(variance - moving, 0.0) ** 0.5, 4),
        "core_sigma": round(core_sigma, 4),
        **split,
        "tail_share": round(float(far.mean()), 4),
        "tail_sigma": round(float(np.sqrt((pooled[far] ** 2).mean())), 4) if far.any() else 0.0,
        "tail_burst_s_mean": round(float(np.mean(tail_bursts)), 3) if tail_bursts else 0.0,
    }


def confidence_table(records: list[Record], usable: list[np.ndarray], offsets: dict) -> list[dict]:
    """Error of all seen limb joints and the nose by reported confidence."""
    sure, rest, hidden = [], [], []
    for record, ok in zip(records, usable, strict=True):
        error = (record.detected - record.keypoints) / record.size[:, None, None]
        for joint in (*LIMB_JOINTS, 9):
            mask = ok[:, joint] & record.inside[:, joint]
            offset = np.asarray(offsets.get(SKELETON.joints[joint], (0, 0, 0)))
            rest.append((error[:, joint] - record.axes[:, joint] @ offset)[mask])
            sure.append(record.confidence[mask, joint])
            hidden.append(~record.visible[mask, joint])
    sure, rest, hidden = np.concatenate(sure), np.concatenate(rest), np.concatenate(hidden)
    rows = []
    for low, high in pairwise(CONFIDENCE_EDGES):
        mask = (sure >= low) & ((sure < high) | (high == 1.0))
        if mask.sum() < 20:
            continue
        norm = np.linalg.norm(rest[mask], axis=-1)
        rows.append({
            "from": low, "to": high, "share": round(float(mask.mean()), 4),
            "sigma": round(robust_sigma(rest[mask].ravel()), 4),
            "median_error": round(float(np.median(norm)), 4),
            "p90_error": round(float(np.quantile(norm, 0.9)), 4),
            "hidden_share": round(float(hidden[mask].mean()), 3),
        })  # fmt: skip
    return rows


def analyse(records: list[Record]) -> dict:
    """All statistics of the recorded clips, ready for JSON."""
    missing = [~np.isfinite(r.detected[:, 2, 0]) for r in records]
    limbs = list(LIMB_JOINTS)
    astray, whole, legs, arms, usable = [], [], [], [], []
    able = {"whole": [], "legs": [], "arms": []}
    for record, gone in zip(records, missing, strict=True):
        error = np.linalg.norm(record.detected - record.keypoints, axis=-1) / record.size[:, None]
        with np.errstate(invalid="ignore"):
            lost = error[:, limbs].mean(-1) > WHOLE_GROSS
        legs_x, legs_able = exchanged(record, LEGS)
        arms_x, arms_able = exchanged(record, ARMS)
        both_x, both_able = exchanged(record, LEGS + ARMS)
        both = (legs_x & arms_x) | (both_x & (legs_x | arms_x))
        astray.append(lost)
        whole.append(both & ~lost)
        legs.append(legs_x & ~both & ~lost)
        arms.append(arms_x & ~both & ~lost)
        able["whole"].append(both_able)
        able["legs"].append(legs_able)
        able["arms"].append(arms_able)
        ok = np.repeat((~gone & ~lost & ~both)[:, None], 17, axis=1)
        ok[:, LEGS] &= ~legs_x[:, None]
        ok[:, ARMS] &= ~arms_x[:, None]
        usable.append(ok)
    # Left and right are one sample: what is measured on one side holds for the other.
    joints = {}
    for number, name in enumerate(SKELETON.joints):
        pair = sorted({number, MIRROR[number]})
        joints[name] = joint_statistics(
            [sample for joint in pair for sample in samples_of(joint, records, usable)]
        )
    offsets = {name: row["body_offset"] for name, row in joints.items() if "body_offset" in row}
    frames = sum(len(r.keypoints) for r in records)
    found = frames - sum(int(g.sum()) for g in missing)
    cut = [1 - r.inside[:, limbs].mean(-1) for r in records]
    full = np.concatenate([c == 0 for c in cut])
    gone = np.concatenate(missing)
    return {
        "recall": {
            "frames": frames,
            "found_share": round(found / frames, 4),
            "found_share_all_joints_in_picture": round(float((~gone)[full].mean()), 4),
            "clips_never_found": int(sum(g.all() for g in missing)),
            "astray_share": round(float(np.concatenate(astray).mean()), 4),
        },
        "size_px_quantiles_10_25_50_75_90": quantiles(np.concatenate([r.size for r in records])),
        "joints": joints,
        "confidence": confidence_table(records, usable, offsets),
        "dropped_frames": event_statistics(missing, records),
        "exchanges": {
            "whole": event_statistics(whole, records, able["whole"]),
            "legs": event_statistics(legs, records, able["legs"]),
            "arms": event_statistics(arms, records, able["arms"]),
        },
    }


# --- files -----------------------------------------------------------------------------------


def save_records(path: Path, records: list[Record]) -> None:
    arrays = {}
    for number, record in enumerate(records):
        for name, value in vars(record).items():
            arrays[f"{number}/{name}"] = np.asarray(value)
    np.savez_compressed(path, count=len(records), **arrays)


def load_records(path: Path) -> list[Record]:
    records = []
    with np.load(path, allow_pickle=False) as data:
        for number in range(int(data["count"])):
            arrays: dict = {name: data[f"{number}/{name}"] for name in Record.__dataclass_fields__}
            arrays["fps"] = float(arrays["fps"])
            records.append(Record(**arrays))
    return records


# --- pictures --------------------------------------------------------------------------------


def draw_examples(path: Path, detector_name: str, seed: int) -> None:
    """A sheet of built-in motions with the true joints (circles) and the detected ones (lines)."""
    detector = create_detector(detector_name)
    tiles = []
    for number in range(8):
        rng = np.random.default_rng([seed, 1000 + number])
        body = random_body(rng)
        pose = draw_motion([], body, 25.0, 2.0, rng)[25]
        pose = pose - pose[0] * (1, 1, 0)
        yaw = 2 * np.pi * number / 8
        position = (2.9 * np.sin(yaw), 2.9 * np.cos(yaw), rng.uniform(0.8, 1.9))
        camera = Camera.looking_from(position, (0, 0, 0.92), focal_px=560, image_size=(320, 420))
        scene = random_scene(camera, rng)
        figure = build_figure(body, random_appearance(rng))
        frame = Clip([(figure, pose[None])], scene, 25.0, seed=number).frame(0)
        detector.reset()
        for repeat in range(2):  # the crop settles on the person
            detector.detect(frame, repeat / 25)
        found = detector.detect(frame, 2 / 25)
        frame = frame.copy()
        points = camera.project(pose)
        limbs = [*LIMB_JOINTS, 9]
        for x, y in points[limbs]:
            cv2.circle(frame, (round(float(x)), round(float(y))), 4, (60, 255, 60), 1, cv2.LINE_AA)
        if len(found):
            seen = convert(found.keypoints, found.confidence, found.skeleton, "h36m17")[0][0]
            for joint in limbs:
                a, b = (tuple(round(float(v)) for v in p[joint]) for p in (points, seen))
                cv2.line(frame, a, b, (255, 40, 40), 2, cv2.LINE_AA)
        tiles.append(frame)
    sheet = np.vstack([np.hstack(tiles[:4]), np.hstack(tiles[4:])])
    sheet = cv2.resize(sheet, None, fx=0.75, fy=0.75, interpolation=cv2.INTER_AREA)
    quality = [cv2.IMWRITE_JPEG_QUALITY, 82]
    path.write_bytes(cv2.imencode(".jpg", sheet[..., ::-1], quality)[1].tobytes())


def draw_errors(path: Path, result: dict) -> None:
    """Bars of the median error of each joint, seen and hidden, in person sizes."""
    names = ("right_shoulder", "right_elbow", "right_wrist", "right_hip", "right_knee",
             "right_ankle", "nose", "pelvis", "thorax", "spine", "head_top")  # fmt: skip
    picture = np.full((40 * len(names) + 70, 760, 3), 255, np.uint8)
    scale = 2000  # pixels per size
    font = cv2.FONT_HERSHEY_SIMPLEX

    def text(label: str, x: int, y: int) -> None:
        cv2.putText(picture, label, (x, y), font, 0.45, (40, 40, 40), 1, cv2.LINE_AA)

    for mark in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3):
        x = 130 + int(mark * scale)
        cv2.line(picture, (x, 40), (x, picture.shape[0] - 25), (225, 225, 225), 1)
        text(f"{mark:g}", x - 10, picture.shape[0] - 8)
    text("median error in person sizes: seen (blue), hidden (orange)", 130, 24)
    for row, name in enumerate(names):
        y = 50 + 40 * row
        text(name.removeprefix("right_").replace("_", " "), 10, y + 18)
        for part, shift, colour in (("visible", 0, (60, 110, 190)), ("hidden", 13, (230, 140, 50))):
            value = result["joints"][name].get(part, {}).get("median_error")
            if value is None or result["joints"][name][part]["share"] < 0.01:
                continue
            end = (130 + int(min(value, 0.31) * scale), y + shift + 11)
            cv2.rectangle(picture, (130, y + shift), end, colour, -1)
    path.write_bytes(cv2.imencode(".png", picture[..., ::-1])[1].tobytes())


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a detector's errors on rendered people.")
    parser.add_argument("--clips", type=int, default=120)
    parser.add_argument("--seconds", type=float, default=2.5, help="length of a clip")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--detector", default="blazepose")
    parser.add_argument("--motions", type=Path, help="npz of joints; without it built-in motions")
    parser.add_argument("--out", type=Path, help="JSON to write")
    parser.add_argument("--keep", type=Path, help="npz of truth and detections to write")
    parser.add_argument("--reuse", type=Path, help="npz of --keep: analyse it, render nothing")
    parser.add_argument("--pictures", type=Path, help="folder for the pictures of the page")
    parser.add_argument("--date", default="", help="day of the measurement, for the file")
    parser.add_argument("--machine", default="", help="where it ran, for the file")
    arguments = parser.parse_args()

    if arguments.reuse:
        records = load_records(arguments.reuse)
    else:
        motions = load_motions(arguments.motions)
        detector = create_detector(arguments.detector)
        records = []
        started = time.monotonic()
        for number in range(arguments.clips):
            records.append(
                record_clip(number, arguments.seed, motions, arguments.seconds, detector)
            )
            found = np.isfinite(records[-1].detected[:, 2, 0]).mean()
            spent = time.monotonic() - started
            print(
                f"clip {number + 1}/{arguments.clips}: found {found:.2f}, {spent:.0f} s", flush=True
            )
            if arguments.keep and (number % 10 == 9 or number + 1 == arguments.clips):
                save_records(arguments.keep, records)
    result = {
        "schema": 1,
        "meta": {
            "command": f"python benchmarks/detector_noise.py --clips {len(records)} --seconds "
            f"{arguments.seconds:g} --seed {arguments.seed} --detector {arguments.detector}"
            + (" --motions <training motions>" if arguments.motions else ""),
            "detector": arguments.detector,
            "skeleton": "h36m17",
            "clips": len(records),
            "frames": sum(len(r.keypoints) for r in records),
            "seed": arguments.seed,
            "date": arguments.date,
            "machine": arguments.machine,
            "unit": "errors in person sizes: RMS distance of the 12 limb joints to their centroid; "
            "body_offset in statures",
        },
        **analyse(records),
    }
    if arguments.pictures:
        arguments.pictures.mkdir(parents=True, exist_ok=True)
        draw_examples(arguments.pictures / "detector_noise.jpg", arguments.detector, arguments.seed)
        draw_errors(arguments.pictures / "detector_noise_joints.png", result)
    text = json.dumps(result, indent=1)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    print_table(result)


def print_table(result: dict) -> None:
    print(json.dumps(result["recall"]))
    print(
        f"{'joint':16s} frames   med   p90 | seen: clip  slow   tau white  tail |"
        " hidden: share   med  clip  slow | offset outward forward up"
    )
    for name, row in result["joints"].items():
        if "body_offset" not in row:
            continue

        def number(part: str, key: str, row: dict = row) -> float:
            return row[part].get(key) or 0.0

        print(
            f"{name:16s} {row['frames']:6d} {row['median_error']:.3f} {row['p90_error']:.3f} | "
            f"     {number('visible', 'clip_sigma'):.3f} {number('visible', 'slow_sigma'):.3f} "
            f"{number('visible', 'slow_tau_s'):5.2f} {number('visible', 'white_sigma'):.3f} "
            f"{number('visible', 'tail_share'):.3f} |         {number('hidden', 'share'):.3f} "
            f"{number('hidden', 'median_error'):.3f} {number('hidden', 'clip_sigma'):.3f} "
            f"{number('hidden', 'slow_sigma'):.3f} | {np.round(row['body_offset'], 4)}"
        )
    for row in result["confidence"]:
        print(row)
    print("dropped", result["dropped_frames"])
    for name, row in result["exchanges"].items():
        print(name, row)


if __name__ == "__main__":
    main()
