"""How far metres, floor, path and standing feet are from the truth, on rendered people.

    python benchmarks/world.py CACHE --motions MOTIONS.npz [--clips 20] [--seed 2027]

Renders people who walk, turn, squat, wave and move as in MOTIONS, runs the detector on the frames
(kept in the folder CACHE, since drawing takes minutes), lifts them, compares with the truth. Both
worlds have their origin on the floor under the camera, so nothing is aligned before comparing.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from detector_noise import draw_camera, draw_motion, load_motions
from lithepose.arrays import Floats
from lithepose.cameras import Camera
from lithepose.detect import create_detector
from lithepose.lifters.default import default_lifter
from lithepose.metrics.pose3d import mpjpe, p_mpjpe
from lithepose.pipeline import lift_track
from lithepose.poses import Track2D, Track3D, segments
from lithepose.skeletons import LIMB_JOINTS
from lithepose.synthetic.appearance import random_appearance
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.movements import motion
from lithepose.synthetic.scenes import Clip, random_scene
from lithepose.track import build_tracks, join_tracks
from lithepose.world import WorldOptions, solve_world
from lithepose.world.ground import ANKLES, Ground

FPS = 30.0
SECONDS = 5.0
KINDS = (
    *("walk", "walk", "recorded", "turn", "walk"),
    *("squat", "recorded", "walk", "wave", "recorded"),
)
LIMBS = list(LIMB_JOINTS)
# A true foot is planted while it moves slower than this and its ankle is this near to its height
# over the sole.
PLANTED_SPEED, PLANTED_HEIGHT_M = 0.15, 0.03


@dataclass(frozen=True, kw_only=True)
class Filmed:
    """A person whom the detector has seen, and the truth."""

    kind: str
    track: Track2D
    joints_world: Floats  # (T, 17, 3) metres, z up, floor at 0
    camera: Camera
    stature: float
    ankle_height: float


def film(number: int, motions: list, seconds: float, cache: Path, seed: int = 2026) -> Filmed:
    """One clip, rendered and detected, or read from the cache."""
    rng = np.random.default_rng([seed, number])
    body = random_body(rng)
    kind = KINDS[number % len(KINDS)]
    if kind == "recorded":
        joints = draw_motion(motions, body, FPS, seconds, rng)
    else:
        joints = motion(kind, seconds, FPS, body, rng)
        middle = (joints[:, 0].min(0) + joints[:, 0].max(0)) / 2
        joints = joints - middle * (1, 1, 0)
    camera = draw_camera(joints, rng)
    path = cache / f"{number}.npz"
    if not path.exists():
        figure = build_figure(body, random_appearance(rng))
        clip = Clip([(figure, joints)], random_scene(camera, rng), FPS, seed=number)
        detector = create_detector("blazepose")
        found = [detector.detect(frame, i / FPS) for i, frame in enumerate(clip)]
        time_s = np.arange(len(found)) / FPS
        tracks = build_tracks(found, time_s=time_s, image_size=camera.image_size, fps=FPS)
        track = max(join_tracks(tracks), key=lambda each: np.isfinite(each.keypoints).sum())
        cache.mkdir(parents=True, exist_ok=True)
        np.savez(path, keypoints=track.keypoints, confidence=track.confidence)
    with np.load(path) as kept:
        track = Track2D(
            person=0,
            keypoints=kept["keypoints"],
            confidence=kept["confidence"],
            skeleton="blazepose33",
            time_s=np.arange(len(joints)) / FPS,
            fps=FPS,
            image_size=camera.image_size,
        )
    return Filmed(
        kind=kind,
        track=track,
        joints_world=joints,
        camera=camera,
        stature=body.stature,
        ankle_height=body.ankle_height,
    )


def accelerations(points: Floats) -> Floats:
    return np.linalg.norm(np.diff(points, n=2, axis=0), axis=-1) * FPS**2


def compare(filmed: Filmed, track: Track3D) -> dict[str, float]:
    """Errors in the world, in millimetres, degrees and m/s²; nan where there is nothing."""
    assert track.world is not None
    camera = filmed.camera
    truth = Ground(up=camera.rotation[:, 2], camera_height_m=float(camera.position[2]), cues={})
    true = truth.to_world(camera.world_to_camera(filmed.joints_world))
    found = track.world.points[:, :17].astype(float)
    seen = np.asarray(np.isfinite(found).all((1, 2)))
    walked = float(np.linalg.norm(np.diff(true[:, 0, :2], axis=0), axis=-1).sum())
    root = np.linalg.norm(found[seen, 0] - true[seen, 0], axis=-1)

    ankles = true[:, ANKLES]
    speed = np.linalg.norm(np.gradient(ankles, axis=0), axis=-1) * FPS
    planted = (speed < PLANTED_SPEED) & (ankles[..., 2] < filmed.ankle_height + PLANTED_HEIGHT_M)
    planted &= np.asarray(seen)[:, None]
    slides, soles = [], []
    for side, ankle in enumerate(ANKLES):
        for run in segments(planted[:, side]):
            if run.stop - run.start >= 5:
                foot = found[run, ankle]
                slides.append(np.linalg.norm(foot - np.median(foot, axis=0), axis=-1).max())
                soles += (foot[:, 2] - filmed.ankle_height).tolist()

    steady = seen[2:] & seen[1:-1] & seen[:-2]
    miss = accelerations(found - true)[steady][:, LIMBS]

    def relative(joints: Floats) -> Floats:
        return (joints - (joints[:, 1:2] + joints[:, 4:5]) / 2)[seen][:, LIMBS]

    up = float(np.clip(track.world.camera_rotation[:, 2] @ truth.up, -1, 1))
    return {
        "up_deg": float(np.degrees(np.arccos(up))),
        "camera_height_mm": 1000 * abs(float(track.world.camera_position[2]) - camera.position[2]),
        "walked_m": walked,
        "root_mm": 1000 * float(root.mean()),
        "root_share": float(root.mean()) / walked if walked > 2 else float("nan"),
        "hips_height_mm": 1000 * float(np.abs(found[seen, 0, 2] - true[seen, 0, 2]).mean()),
        "soles_mm": 1000 * float(np.abs(soles).mean()) if soles else float("nan"),
        "slide_median_mm": 1000 * float(np.median(slides)) if slides else float("nan"),
        "slides_under_10_mm": float(np.mean(np.array(slides) < 0.01)) if slides else float("nan"),
        "acceleration_error": float(miss.mean()),
        "acceleration_true": float(accelerations(true)[steady][:, LIMBS].mean()),
        "mpjpe_mm": 1000 * float(mpjpe(relative(found), relative(true)).mean()),
        "p_mpjpe_mm": 1000 * float(p_mpjpe(relative(found), relative(true)).mean()),
    }


VARIANTS = {
    "all steps": WorldOptions(),
    "no smoothing": WorldOptions(smooth_hz=None),
    "feet not held": WorldOptions(plant_feet=False),
    "no joint limits": WorldOptions(limit_joints=False),
    "none of these": WorldOptions(smooth_hz=None, plant_feet=False, limit_joints=False),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the world on rendered people.")
    parser.add_argument("cache", type=Path)
    parser.add_argument("--motions", type=Path, required=True)
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seed", type=int, default=2027)
    arguments = parser.parse_args()
    motions = load_motions(arguments.motions)
    lifter = default_lifter()
    rows: dict[str, list[dict[str, float]]] = {}
    kinds = []
    for number in range(arguments.clips):
        filmed = film(number, motions, SECONDS, arguments.cache, arguments.seed)
        kinds.append(filmed.kind)
        focal = float(filmed.camera.focal_px[0])
        known = lift_track(filmed.track, lifter, height_m=filmed.stature, focal_px=focal)
        for name, options in VARIANTS.items():
            rows.setdefault(name, []).append(compare(filmed, solve_world([known], options)[0]))
        guessed = lift_track(filmed.track, lifter, height_m=filmed.stature)
        rows.setdefault("lens guessed", []).append(compare(filmed, solve_world([guessed])[0]))
        print(f"clip {number + 1} of {arguments.clips}: {filmed.kind}", flush=True)

    columns = list(rows["all steps"][0])
    print("| |", " | ".join(columns), "|")
    print("| --- |", " | ".join("---:" for _ in columns), "|")

    def line(name: str, chosen: list[dict[str, float]]) -> None:
        means = [np.nanmean([row[column] for row in chosen] or [np.nan]) for column in columns]
        print(f"| {name} |", " | ".join(f"{mean:.3g}" for mean in means), "|")

    for kind in sorted(set(kinds)):
        of_kind = zip(rows["all steps"], kinds, strict=True)
        line(kind, [row for row, each in of_kind if each == kind])
    for name, each in rows.items():
        line(name, each)


if __name__ == "__main__":
    main()
