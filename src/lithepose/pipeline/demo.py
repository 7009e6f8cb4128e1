"""The demonstration: a rendered person whose joints are known, filmed and lifted like any other."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lithepose.metrics.pose3d import mpjpe, p_mpjpe
from lithepose.pipeline.files import LiftedFiles, WriteError, check_writable, lift_to_files
from lithepose.pipeline.options import DetectorOptions, Report
from lithepose.skeletons import LIMB_JOINTS
from lithepose.synthetic.scenes import demo_clip
from lithepose.video import VideoWriter


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
    image_size: tuple[int, int] = (960, 540),
    fps: float = 30.0,
    report: Report | None = None,
) -> DemoResult:
    """Render the demonstration clip into `out/demo.mp4`, lift it and compare with the truth.

    The height and the lens are told, as a user who knows them would tell them.

    Args:
        out: folder, made if it is not there.
        models: folder of the detector's model files.
        video: also write the overlay.
        image_size, fps: of the clip.
        report: is told of the progress.
    Raises:
        WriteError: the folder or a file cannot be written.
        lithepose.assets.ModelsError: the detector's model files are absent.
    """
    check_writable(out)
    clip, truth = demo_clip(image_size=image_size, fps=fps)
    path = out / "demo.mp4"
    try:
        with VideoWriter(path, size=image_size, fps=fps) as writer:
            for index, frame in enumerate(clip):
                writer.write(frame)
                if report is not None:
                    report("render", index + 1, len(clip))
    except OSError as error:
        raise WriteError(str(error)) from error
    camera, body = clip.scene.camera, clip.people[0][0].body
    lifted = lift_to_files(
        path,
        out=out,
        formats=("npz", "json", "csv", "trc", "bvh", "glb"),
        video=video,
        overwrite=True,  # of the demonstration in another size
        height=body.stature,
        focal=float(np.mean(camera.focal_px)),
        detector=DetectorOptions(models=models),
        report=report,
    )
    limbs = list(LIMB_JOINTS)
    joints = lifted.result.people[0].joints_camera
    seen = np.isfinite(joints).all((1, 2))
    found = (joints - joints[:, :1])[seen][:, limbs]
    true = (truth.joints_camera - truth.joints_camera[:, :1])[seen][:, limbs]
    return DemoResult(
        lifted=lifted,
        mpjpe_mm=1000 * float(mpjpe(found, true).mean()),
        p_mpjpe_mm=1000 * float(p_mpjpe(found, true).mean()),
    )
