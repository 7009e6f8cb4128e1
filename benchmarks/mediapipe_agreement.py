"""How far the landmarks of the default detector lie from recorded ones of MediaPipe, and its speed.

    python benchmarks/mediapipe_agreement.py VIDEO RECORDED.npz

RECORDED holds `kp2d` (T, 33, 2) in pixels, made by MediaPipe Pose 0.10.21 (complexity 1, tracking
mode) of the same video. MediaPipe smooths its landmarks over time (One-Euro) and so trails behind
the motion; the detector here does not smooth. Aim: a median of at most 3.5 px over the limb joints
in a picture 1768 px wide.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.detect.blazepose import BlazePose, Crop
from lithepose.video import open_video

JOINTS = {
    "left shoulder": 11,
    "right shoulder": 12,
    "left elbow": 13,
    "right elbow": 14,
    "left wrist": 15,
    "right wrist": 16,
    "left hip": 23,
    "right hip": 24,
    "left knee": 25,
    "right knee": 26,
    "left ankle": 27,
    "right ankle": 28,
}


def detect_clip(video: Path) -> tuple[Floats, NDArray[np.uint8]]:
    """(T, 33, 2) landmarks in pixels, nan where nobody was found, and the last frame."""
    detector = BlazePose()
    landmarks, image = [], None
    with open_video(video) as frames:
        for frame in frames:
            found = detector.detect(frame.image, frame.time_s)
            landmarks.append(found.keypoints[0] if len(found) else np.full((33, 2), np.nan))
            image = frame.image
    if image is None:
        raise SystemExit(f"{video} has no frames")
    return np.array(landmarks), image


def compare(ours: Floats, recorded: Floats) -> None:
    """Print the distances of two (T, 33, 2) sequences per limb joint."""
    if len(ours) != len(recorded):
        raise SystemExit(f"the video has {len(ours)} frames, the recording {len(recorded)}")
    distances = np.linalg.norm(ours - recorded, axis=-1)[:, list(JOINTS.values())]
    print(f"frames without a person: {int(np.isnan(distances).any(axis=1).sum())} of {len(ours)}")
    print(f"{'distance, px':16}{'median':>8}{'95 %':>8}")
    for joint, column in zip(JOINTS, distances.T, strict=True):
        print(f"{joint:16}{np.nanmedian(column):8.1f}{np.nanpercentile(column, 95):8.1f}")
    print(f"{'all':16}{np.nanmedian(distances):8.1f}{np.nanpercentile(distances, 95):8.1f}")


def measure_speed(image: NDArray[np.uint8], repeats: int = 40) -> None:
    """Print milliseconds per call: crop, network and decoding together.

    On a busy machine only the processor time of a single thread means something.
    """
    height, width = image.shape[:2]
    whole = Crop(width / 2, height / 2, float(max(width, height)))
    print(f"{'ms per call':16}{'threads':>8}{'best':>8}{'median':>8}{'CPU':>8}")
    for threads in (1, 2):
        detector = BlazePose(threads=threads)
        calls = {
            "find people": lambda d=detector: d.person_detector.find(image, whole),
            "place landmarks": lambda d=detector: d.place_landmarks(image, whole),
        }
        for name, call in calls.items():
            call()
            taken = []
            processor_start = time.process_time()
            for _ in range(repeats):
                start = time.perf_counter()
                call()
                taken.append(1e3 * (time.perf_counter() - start))
            processor = 1e3 * (time.process_time() - processor_start) / repeats
            wall = f"{min(taken):8.1f}{np.median(taken):8.1f}"
            print(f"{name:16}{threads:8}{wall}{processor:8.1f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Compare with recorded landmarks, and time.")
    parser.add_argument("video", type=Path)
    parser.add_argument("recorded", type=Path)
    arguments = parser.parse_args()
    landmarks, last_image = detect_clip(arguments.video)
    with np.load(arguments.recorded) as archive:
        compare(landmarks, archive["kp2d"])
    measure_speed(last_image)
