"""What can be checked of a real clip without its truth.

    python benchmarks/real_clips.py VIDEO ...

Lifts each video and its mirror image. Prints the reprojection error, how constant the bones are,
how steady the joints are, and how far the mirrored result is from the result mirrored.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

import numpy as np

from lithepose import lift
from lithepose.bones import bones
from lithepose.lifters.windows import mirror_sides
from lithepose.video import VideoWriter, open_video


def mirrored(path: Path, folder: Path) -> Path:
    """The clip mirrored left to right, with the same time stamps."""
    target = folder / f"{path.stem}-mirrored.mp4"
    with (
        open_video(path) as video,
        VideoWriter(target, size=(video.size[0] & ~1, video.size[1] & ~1), fps=video.fps) as writer,
    ):
        width, height = video.size[0] & ~1, video.size[1] & ~1
        for frame in video:
            image = frame.image[:height, :width]
            writer.write(np.ascontiguousarray(image[:, ::-1]), frame.time_s)
    return target


def main() -> None:
    parser = argparse.ArgumentParser(description="Check a real clip without its truth.")
    parser.add_argument("videos", nargs="+", type=Path)
    arguments = parser.parse_args()
    print(
        "| clip | frames | with person | reprojection px | size px | bones mm | acceleration "
        "| mirror mm |"
    )
    print("| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    for path in arguments.videos:
        person = lift(path).people[0]
        with tempfile.TemporaryDirectory() as folder:
            other = lift(mirrored(path, Path(folder))).people[0]
        joints = person.joints_camera.astype(float)
        length = np.linalg.norm(bones(joints), axis=-1)
        spread = 1000 * float(np.nanstd(length, axis=0).max())
        poses = joints - joints[:, :1]
        back = mirror_sides(other.joints_camera - other.joints_camera[:, :1])
        apart = 1000 * float(np.nanmedian(np.linalg.norm(poses - back, axis=-1)))
        # Accelerations of the joints about the root, m/s².
        second = np.diff(poses, 2, axis=0) * person.fps**2
        shaking = float(np.nanmedian(np.linalg.norm(second, axis=-1)))
        tall = np.nanmax(person.keypoints_2d[..., 1], 1) - np.nanmin(person.keypoints_2d[..., 1], 1)
        print(
            f"| {path.stem} | {len(joints)} | {person.metadata['frames_with_person']} "
            f"| {person.metadata['reprojection_px']:.1f} | {np.nanmedian(tall):.0f} "
            f"| {spread:.3f} | {shaking:.1f} m/s² | {apart:.1f} |"
        )


if __name__ == "__main__":
    main()
