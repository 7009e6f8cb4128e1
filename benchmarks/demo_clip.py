"""Make the clip of `lithepose demo` and its truth.

    python benchmarks/demo_clip.py [FOLDER]

Someone walks up, turns, waves and squats before a phone: six seconds of 960 x 540 at 30 frames per
second. Without a folder the files of the package are made anew.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from lithepose.cameras import Camera
from lithepose.pipeline.demo import FILES
from lithepose.synthetic.appearance import Appearance, Cloth
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.figures import build_figure
from lithepose.synthetic.movements import demo_motion
from lithepose.synthetic.scenes import Clip, random_scene
from lithepose.video import VideoWriter

IMAGE_SIZE, FPS = (960, 540), 30.0


def demo_clip() -> Clip:
    """Always the same six seconds."""
    rng = np.random.default_rng(11)
    body = replace(random_body(rng), girth=1.0, bust=0.2, belly=1.0, muscle=1.0)
    look = Appearance(
        skin=(0.82, 0.62, 0.50), hair=(0.20, 0.12, 0.07), lips=(0.70, 0.40, 0.38),
        eyes=(0.15, 0.09, 0.05), shoes=(0.85, 0.85, 0.86), sleeve=0.65, leg=1.97, loose=0.009,
        shirt=Cloth(colour=(0.16, 0.42, 0.52), second=(0.85, 0.80, 0.62), pattern="print"),
        trousers=Cloth(colour=(0.17, 0.19, 0.26), second=(0.3, 0.3, 0.3)), shirt_hem=0.05,
    )  # fmt: skip
    camera = Camera.looking_from(
        (0.35, -3.5, 1.35),
        (-0.25, 0.0, 0.93),
        focal_px=0.78 * IMAGE_SIZE[0],
        image_size=IMAGE_SIZE,
        roll_deg=0.6,
    )
    scene = replace(
        random_scene(camera, np.random.default_rng(5), outdoors=False),
        light_strength=0.6,
        ambient=0.5,
        noise=1.5,
        jpeg_quality=None,
        light=np.array([0.45, -0.55, 0.70]) / np.linalg.norm([0.45, -0.55, 0.70]),
    )
    return Clip([(build_figure(body, look), demo_motion(body, FPS))], scene, FPS, seed=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the clip of `lithepose demo` and its truth.")
    parser.add_argument("folder", nargs="?", type=Path, default=Path(str(FILES)))
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    clip = demo_clip()
    with VideoWriter(folder / "demo.mp4", size=IMAGE_SIZE, fps=FPS) as writer:
        for frame in clip:
            writer.write(frame)
    truth, camera = clip.truth(), clip.scene.camera
    np.savez_compressed(
        folder / "truth.npz",
        joints_3d_world=truth.joints_world.astype(np.float32),
        joints_3d_camera=truth.joints_camera.astype(np.float32),
        keypoints_2d=truth.keypoints.astype(np.float32),
        visible=truth.visible,
        fps=FPS,
        height_m=clip.people[0][0].body.stature,
        focal_px=np.array(camera.focal_px),
        centre_px=np.array(camera.centre_px),
        image_size=np.array(camera.image_size),
        camera_rotation=camera.rotation,
        camera_position=camera.position,
    )


if __name__ == "__main__":
    main()
