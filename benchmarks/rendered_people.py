"""The whole command on rendered people whose joints are known, beside BlazePose's own 3D.

    python benchmarks/rendered_people.py [--clips 12] [--motions MOTIONS.npz]

Renders clips as MP4 files, lifts each as the command does, and compares with the exact truth over
the twelve limb joints about the mid-hips. Without --motions the people move by formula.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path

import numpy as np

from detector_noise import draw_camera, draw_motion, load_motions
from lithepose import lift
from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.detect import create_detector
from lithepose.metrics.pose3d import mpjpe, n_mpjpe, p_mpjpe
from lithepose.skeletons import LIMB_JOINTS, convert
from lithepose.synthetic.appearance import random_appearance
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.scenes import Clip, random_scene
from lithepose.video import VideoWriter, open_video

LIMBS = list(LIMB_JOINTS)


def render(number: int, seed: int, motions: list, seconds: float, folder: Path):
    """One clip as an MP4 file: (path, truth, stature in metres, focal length in pixels)."""
    rng = np.random.default_rng([seed, number])
    body = random_body(rng)
    fps = 30.0
    joints = draw_motion(motions, body, fps, seconds, rng)
    camera = draw_camera(joints, rng)
    figure = build_figure(body, random_appearance(rng))
    clip = Clip([(figure, joints)], random_scene(camera, rng), fps, seed=number)
    path = folder / f"{number}.mp4"
    with VideoWriter(path, size=camera.image_size, fps=fps) as writer:
        for frame in clip:
            writer.write(frame)
    return path, clip.truth().joints_camera, body.stature, float(camera.focal_px[0])


def about_hips(joints: Floats) -> Floats:
    return (joints - (joints[:, 1:2] + joints[:, 4:5]) / 2)[:, LIMBS]


def blazepose_3d(path: Path) -> Floats:
    """(T, 17, 3) metres, BlazePose's own 3D; nan where it found nobody."""
    detector = create_detector("blazepose")
    poses = []
    with open_video(path) as video:
        for frame in video:
            found = detector.detect(frame.image, frame.time_s)
            if len(found) and found.world is not None:
                poses.append(convert(found.world[0], None, found.skeleton, "h36m17")[0])
            else:
                poses.append(np.full((17, 3), np.nan))
    return np.stack(poses)


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure the whole command on rendered people.")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--seconds", type=float, default=4.0)
    parser.add_argument("--seed", type=int, default=100)
    parser.add_argument("--motions", type=Path, help="npz of joints; without it built-in motions")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    motions = load_motions(arguments.motions)
    errors: dict[str, dict[str, list[Floats]]] = {}
    roots = []

    def add(who: str, poses: Floats, true: Floats) -> None:
        seen = np.isfinite(poses).all((1, 2))
        a, b = about_hips(poses[seen]), about_hips(true[seen])
        row = errors.setdefault(who, {"mpjpe": [], "n_mpjpe": [], "p_mpjpe": []})
        for name, metric in (("mpjpe", mpjpe), ("n_mpjpe", n_mpjpe), ("p_mpjpe", p_mpjpe)):
            row[name].append(1000 * metric(a, b))

    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.clips):
            path, true, height, focal = render(
                number, arguments.seed, motions, arguments.seconds, Path(folder)
            )
            known = lift(path, height=height, focal=focal).people[0].joints_camera
            add("height and lens known", known, true)
            add("height unknown", known * STANDARD_HEIGHT_M / height, true)
            add("lens unknown", lift(path, height=height).people[0].joints_camera, true)
            add("BlazePose's own 3D", blazepose_3d(path), true)
            roots.append(np.nanmedian(np.linalg.norm(known[:, 0] - true[:, 0], axis=-1)))
            print(f"clip {number + 1} of {arguments.clips}", flush=True)

    table = {
        who: {k: round(float(np.concatenate(v).mean()), 1) for k, v in row.items()}
        for who, row in errors.items()
    }
    print("| 3D of | MPJPE | N-MPJPE | P-MPJPE |\n| --- | ---: | ---: | ---: |")
    for who, row in table.items():
        print(f"| {who} | {row['mpjpe']} | {row['n_mpjpe']} | {row['p_mpjpe']} |")
    frames = sum(len(x) for x in errors["height unknown"]["mpjpe"])
    print(f"{frames} frames; root off by {100 * np.median(roots):.0f} cm (median over clips)")
    if arguments.json:
        arguments.json.write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
