"""The demonstration: a clip of a rendered person whose joints are known, lifted like any other.

The clip and its truth are files of the package, made by `benchmarks/demo_clip.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.cameras import Camera
from lithepose.files import atomic_write
from lithepose.metrics.pose3d import mpjpe, p_mpjpe
from lithepose.pipeline.files import LiftedFiles, WriteError, check_writable, lift_to_files
from lithepose.pipeline.options import DetectorOptions, Report
from lithepose.skeletons import LIMB_JOINTS

FILES = files("lithepose") / "demo"  # demo.mp4 and truth.npz


@dataclass(frozen=True, kw_only=True)
class DemoTruth:
    """Exact truth of the person in the clip.

    Attributes:
        joints_world, joints_camera: (T, 17, 3) metres.
        keypoints: (T, 17, 2) pixels.
        visible: (T, 17), in the picture and not hidden by the own body.
        fps: frames per second.
        height_m: of the person, metres.
        camera: the camera.
    """

    joints_world: Floats
    joints_camera: Floats
    keypoints: Floats
    visible: Flags
    fps: float
    height_m: float
    camera: Camera


def read_truth() -> DemoTruth:
    """The truth of the clip that the package brings."""
    with (FILES / "truth.npz").open("rb") as file, np.load(file, allow_pickle=False) as data:
        camera = Camera(
            focal_px=tuple(data["focal_px"].tolist()),
            centre_px=tuple(data["centre_px"].tolist()),
            image_size=tuple(data["image_size"].tolist()),
            rotation=data["camera_rotation"],
            position=data["camera_position"],
        )
        return DemoTruth(
            joints_world=data["joints_3d_world"],
            joints_camera=data["joints_3d_camera"],
            keypoints=data["keypoints_2d"],
            visible=data["visible"],
            fps=float(data["fps"]),
            height_m=float(data["height_m"]),
            camera=camera,
        )


@dataclass(frozen=True, kw_only=True)
class DemoResult:
    """What the demonstration wrote and how far it is from the truth, in millimetres."""

    lifted: LiftedFiles
    mpjpe_mm: float
    p_mpjpe_mm: float


def run_demo(
    out: Path,
    *,
    models: Path | None = None,
    video: bool = True,
    report: Report | None = None,
) -> DemoResult:
    """Copy the clip to `out/demo.mp4`, lift it and compare with the truth.

    The height and the lens are told, as a user who knows them would tell them.

    Args:
        out: folder, made if it is not there.
        models: folder of the detector's model files.
        video: also write the overlay.
        report: is told of the progress.
    Raises:
        WriteError: the folder or a file cannot be written.
        lithepose.assets.ModelsError: the detector's model files are absent.
    """
    check_writable(out)
    path = out / "demo.mp4"
    try:
        with atomic_write(path) as temporary:
            temporary.write_bytes((FILES / "demo.mp4").read_bytes())
    except OSError as error:
        raise WriteError(str(error)) from error
    truth = read_truth()
    lifted = lift_to_files(
        path,
        out=out,
        formats=("npz", "json", "csv", "trc", "bvh", "glb"),
        video=video,
        overwrite=True,  # of an older version's demonstration
        height=truth.height_m,
        focal=float(np.mean(truth.camera.focal_px)),
        detector=DetectorOptions(models=models),
        report=report,
    )
    joints = lifted.result.people[0].joints_camera
    seen = np.isfinite(joints).all((1, 2))
    found, true = (
        (each - each[:, :1])[seen][:, list(LIMB_JOINTS)] for each in (joints, truth.joints_camera)
    )
    return DemoResult(
        lifted=lifted,
        mpjpe_mm=1000 * float(mpjpe(found, true).mean()),
        p_mpjpe_mm=1000 * float(p_mpjpe(found, true).mean()),
    )
