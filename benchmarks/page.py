"""How large the page is and how long it takes to make.

    python benchmarks/page.py

Puts the six seconds of the demonstration clip (960 x 540, 30 frames/s) into a page, and writes a
page for half an hour of that motion without a video. The sizes of the motion do not depend on its
values. Times are processor time of this program, its threads together.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

import numpy as np

from lithepose.arrays import Image
from lithepose.pipeline.demo import FILES, DemoTruth, read_truth
from lithepose.poses import Track3D, World
from lithepose.skeletons import SKELETONS
from lithepose.video import open_video
from lithepose.view import PageVideo, write_page
from lithepose.world import NODES

FPS = 30.0
LONG = 54_000  # frames: half an hour
POINTS = len(SKELETONS["lithepose31"])


def person_of(truth: DemoTruth, frames: int) -> Track3D:
    """The truth as a result with a world, again and again until there are so many frames."""
    at = np.arange(frames) % len(truth.joints_camera)
    # The 14 further points and the rotations only have to be there.
    points = np.resize(np.arange(17), POINTS)
    rng = np.random.default_rng(0)
    turns = rng.normal([1, 0, 0, 0], 0.1, (frames, len(NODES), 4))
    world = World(
        points=truth.joints_world[at][:, points],
        offsets=np.zeros((len(NODES), 3)),
        markers=np.zeros((POINTS, 3)),
        rotations=turns / np.linalg.norm(turns, axis=-1, keepdims=True),
        contact=rng.random((frames, 2)) < 0.5,
        camera_rotation=truth.camera.rotation,
        camera_position=truth.camera.position,
    )
    return Track3D(
        person=0,
        joints_camera=truth.joints_camera[at],
        confidence=np.ones((frames, 17)),
        keypoints_2d=truth.keypoints[at],
        derived=np.zeros(17, bool),
        time_s=np.arange(frames) / FPS,
        fps=FPS,
        image_size=truth.camera.image_size,
        focal_px=float(np.mean(truth.camera.focal_px)),
        points_camera=truth.joints_camera[at][:, points],
        confidence_3d=np.ones((frames, POINTS)),
        world=world,
    )


def page_size(folder: Path, truth: DemoTruth, frames: int) -> int:
    """Bytes of a page of one person without a video."""
    page = folder / f"{frames}.html"
    write_page(page, [person_of(truth, frames)], title="walk")
    return page.stat().st_size


def add_clip(page: Path, clip: list[Image], truth: DemoTruth) -> tuple[float, int]:
    """Seconds per frame that `PageVideo.add` took, and the bytes of the page."""
    spent = 0.0
    with PageVideo(page, size=truth.camera.image_size, fps=FPS) as video:
        for index, image in enumerate(clip):
            begin = time.process_time()
            video.add(image, index / FPS)
            spent += time.process_time() - begin
        begin = time.process_time()
        video.close()  # the encoder still has some frames
        spent += time.process_time() - begin
        write_page(page, [person_of(truth, len(clip))], video=video, title="walk")
    return spent / len(clip), page.stat().st_size


def main() -> None:
    truth = read_truth()
    with open_video(str(FILES / "demo.mp4")) as video:
        clip = [frame.image for frame in video]
    frames = len(clip)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        short, whole = (page_size(folder, truth, count) for count in (1, frames))
        per_frame = (whole - short) / (frames - 1)
        add_s, with_video = add_clip(folder / "walk.html", clip, truth)
        minutes = frames / FPS / 60
        people = [person_of(truth, LONG)]
        begin = time.process_time()
        write_page(folder / "long.html", people, title="walk")
        long_s = time.process_time() - begin
        long_size = (folder / "long.html").stat().st_size
    print(f"the page itself       {(short - per_frame) / 1e6:.2f} MB")
    print(f"motion                {per_frame / 1e3:.2f} kB per person and frame")
    print(f"video in the page     {(with_video - whole) / 1e6 / minutes:.1f} MB a minute")
    print(f"PageVideo.add         {1e3 * add_s:.1f} ms a frame")
    print(f"{LONG} frames          {long_size / 1e6:.0f} MB, written in {long_s:.1f} s")


if __name__ == "__main__":
    main()
