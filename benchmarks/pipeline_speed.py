"""How fast the whole command is, beside the bare detector, and how much memory it takes.

    python benchmarks/pipeline_speed.py VIDEO [--threads 2]

Lifts the video without the overlay, runs detector and decoder alone over it, and then lifts it with
overlay and page, in one run.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

from lithepose import DetectorOptions, lift
from lithepose.detect import create_detector
from lithepose.lifters.default import default_lifter
from lithepose.pipeline import lift_to_files
from lithepose.video import open_video


def main() -> None:
    parser = argparse.ArgumentParser(description="Time the whole command and the bare detector.")
    parser.add_argument("video", type=Path)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()

    default_lifter()
    begin = time.perf_counter()
    blazepose = DetectorOptions(threads=arguments.threads)
    result = lift(arguments.video, detector=blazepose)
    whole = time.perf_counter() - begin
    memory = peak_memory_mb()
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        shown = lift_to_files(arguments.video, out=folder, detector=blazepose).result
        with_views = (time.perf_counter() - begin) / shown.frames
    memory_with_views = peak_memory_mb()

    begin = time.perf_counter()
    with open_video(arguments.video) as video:
        frames = [(frame.image, frame.time_s) for frame, _ in zip(video, range(60), strict=False)]
    decoding = (time.perf_counter() - begin) / len(frames)
    detector = create_detector("blazepose", threads=arguments.threads)
    begin = time.perf_counter()
    for image, time_s in frames:
        detector.detect(image, time_s)
    bare = (time.perf_counter() - begin) / len(frames)

    per_frame = whole / result.frames
    lifting = result.seconds["3D"] / whole
    print(f"{result.frames} frames of {result.image_size}, {arguments.threads} threads")
    print(f"whole command   {1000 * per_frame:6.1f} ms/frame  {1 / per_frame:6.1f} frames/s")
    print(f"bare detector   {1000 * bare:6.1f} ms/frame  {1 / bare:6.1f} frames/s")
    print(f"bare decoding   {1000 * decoding:6.1f} ms/frame")
    print(f"lifting         {100 * lifting:6.1f} % of the whole")
    print(f"world           {100 * result.seconds['world'] / whole:6.1f} % of the whole")
    print(f"with views      {1000 * with_views:6.1f} ms/frame  {1 / with_views:6.1f} frames/s")
    print(f"peak memory     {memory:6.0f} MB without views, {memory_with_views:.0f} MB with them")


def peak_memory_mb() -> float:
    """Highest memory of this process so far, in MB; nan where the system does not tell."""
    try:
        import resource
    except ImportError:  # not on Windows
        return float("nan")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1e6 if sys.platform == "darwin" else 1e3)


if __name__ == "__main__":
    main()
