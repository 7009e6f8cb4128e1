"""Measure a lifter by the measuring rule: motion capture seen by fixed cameras.

    python benchmarks/lifting.py MOTIONS.npz [--noise] [--guess-focal] [--weights FILE]

Prints a Markdown table in millimetres, overall and per subject, and writes it as JSON with --json.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.arrays import Floats
from lithepose.bench.rule import View, measure, seen_by_detector
from lithepose.lifters.windows import WindowLifter
from lithepose.mocap.motions import read_motions
from lithepose.pipeline import lift_track, track_from_arrays


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure a lifter by the measuring rule.")
    parser.add_argument("motions", type=Path)
    parser.add_argument("--noise", action="store_true", help="add the measured detector noise")
    parser.add_argument("--guess-focal", action="store_true", help="do not tell the focal length")
    parser.add_argument("--limbs-only", action="store_true", help="no spine, nose and head top")
    parser.add_argument("--weights", type=Path, help="a checkpoint of training instead of ours")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()

    lifter = ours() if arguments.weights is None else Trained(arguments.weights)

    def lift(view: View) -> Floats:
        keypoints, confidence = view.keypoints, None
        if arguments.noise:
            keypoints, confidence = seen_by_detector(view)
        if arguments.limbs_only:
            keypoints = keypoints.copy()
            keypoints[:, [7, 9, 10]] = np.nan
        track = track_from_arrays(
            keypoints,
            image_size=view.camera.image_size,
            fps=view.fps,
            skeleton="h36m17",
            confidence=confidence,
        )
        focal = None if arguments.guess_focal else view.camera.focal_px[0]
        return lift_track(track, lifter, height_m=view.height_m, focal_px=focal).joints_camera

    begin = time.perf_counter()
    scores = measure(read_motions(arguments.motions), lift, STANDARD_HEIGHT_M)
    spent = time.perf_counter() - begin
    print("| subject | frames | MPJPE | without height | N-MPJPE | P-MPJPE |")
    print("| --- | ---: | ---: | ---: | ---: | ---: |")
    for who, score in scores.items():
        print(
            f"| {who} | {score.frames} | {score.mpjpe:.1f} | {score.mpjpe_no_height:.1f} "
            f"| {score.n_mpjpe:.1f} | {score.p_mpjpe:.1f} |"
        )
    print(f"\n{spent:.0f} s, {1000 * spent / scores['all'].frames:.2f} ms per frame")
    if arguments.json:
        arguments.json.write_text(json.dumps({w: asdict(s) for w, s in scores.items()}, indent=1))


def ours() -> WindowLifter:
    """The shipped lifter."""
    from lithepose.lifters.default import default_lifter

    return default_lifter()


class Trained:
    """The lifter of a training checkpoint, its moving average if it has one, run by PyTorch."""

    def __init__(self, checkpoint: Path):
        from lithepose.train.recipes.shipped import DEFAULT
        from lithepose.train.tasks.shipped import trained_lifter

        self.network = trained_lifter(checkpoint, DEFAULT)
        self.frames, self.targets = DEFAULT.clips.frames, DEFAULT.clips.targets

    def __call__(self, values: np.ndarray) -> np.ndarray:
        import torch

        with torch.no_grad():
            return self.network(torch.from_numpy(values)).numpy()


if __name__ == "__main__":
    main()
