"""HumanEva-I, as VideoPose3D prepares it: 15 joints, three cameras of 60 frames per second.

The official validation part is measured on. Recordings are cut where the motion capture failed, so
a trial comes in chunks. `docs/data/humaneva.md` says how to get the files.

Source: Sigal et al., HumanEva, IJCV 2010. Cut and split: Pavllo et al., 3D human pose estimation in
video with temporal convolutions, CVPR 2019.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from lithepose.arrays import Floats
from lithepose.datasets import videopose3d
from lithepose.datasets.sequences import check_metres
from lithepose.datasets.videopose3d import Keypoints, PosesAndKeypoints, Positions, Preparation
from lithepose.rotations import from_quaternions

GUIDE = "docs/data/humaneva.md"
POSITIONS_FILE = "data_3d_humaneva15.npz"

TRAIN = ("Train/S1", "Train/S2", "Train/S3")
TEST = ("Validate/S1", "Validate/S2", "Validate/S3")
# Of result tables -> how the trials' names begin.
ACTIONS = {"Walk": "Walking", "Jog": "Jog", "Box": "Box"}
FPS = 60.0
SKELETON = "humaneva15"
IMAGE_SIZE = (640, 480)
CAMERAS = ("C1", "C2", "C3")

# Subject -> for each camera its orientation (quaternion w, x, y, z, camera axes to world axes) and
# its place in millimetres. No lens is published with them.
_FIRST = (
    ((0.424207, -0.4983646, -0.5802981, 0.4847012), (4062.227, 663.2477, 1528.397)),
    ((0.6503354, -0.7481602, -0.0919284, 0.0941766), (844.8131, -3805.2092, 1504.9929)),
    ((0.0664734, -0.0690535, 0.7416416, -0.6639132), (-797.67377, 3916.3174, 1433.6602)),
)
_PLACES = {
    "S1": _FIRST,
    "S2": (
        ((0.4214752, -0.4961493, -0.5838273, 0.4851187), (4112.9121, 626.4929, 1545.2988)),
        ((0.6501393, -0.7476588, -0.0954617, 0.0959808), (923.5740, -3877.9243, 1504.5518)),
        ((0.0699353, -0.0712403, 0.7421637, -0.662742), (-781.4915, 3838.8853, 1444.9929)),
    ),
    "S3": _FIRST,
}


def camera_place(subject: str, camera: str) -> tuple[Floats, Floats]:
    """How a camera stood before a subject.

    Args:
        subject: "S1", or with its part before it: "Train/S1".
        camera: of `CAMERAS`.

    Returns:
        Rotation (3, 3), world axes to camera axes, and position (3,) in metres, as
        `lithepose.cameras.world_to_camera` takes them.

    Raises:
        ValueError: an unknown subject or camera.
    """
    person = subject.rpartition("/")[2]
    if person not in _PLACES or camera not in CAMERAS:
        raise ValueError(
            f"no camera {camera!r} of subject {subject!r}; known: {', '.join(CAMERAS)} of "
            f"{', '.join(_PLACES)}"
        )
    orientation, translation_mm = _PLACES[person][CAMERAS.index(camera)]
    return from_quaternions(np.array(orientation)).T, np.array(translation_mm) / 1000


def action_of(trial: str) -> str | None:
    """The action of a trial, "Walking 1 chunk0" -> "Walk"; None for one that no table has."""
    begins = trial.split(" ")[0]
    return next((action for action, name in ACTIONS.items() if name == begins), None)


PREPARATION = Preparation(
    guide=GUIDE,
    skeleton=SKELETON,
    fps=FPS,
    actions=tuple(ACTIONS),
    cameras=CAMERAS,
    action_of=action_of,
    placed=lambda subject, camera: (*camera_place(subject, camera), IMAGE_SIZE, None),
)


def read_positions(path: str | Path) -> Positions:
    """Read `data_3d_humaneva15.npz`: part and subject -> chunk -> (T, 15, 3) float32, metres.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not this file (see also `lithepose.datasets.pickles`).
    """
    path = PREPARATION.file(path)
    positions = videopose3d.read_positions(path, joints=15)
    strange = sorted(set(positions) - set(TRAIN + TEST))
    if strange:
        raise ValueError(
            f"{path}: {', '.join(strange)} are none of {', '.join(TRAIN + TEST)}, the parts and "
            "subjects with 3D"
        )
    check_metres((p for trials in positions.values() for p in trials.values()), SKELETON, path)
    return {
        subject: {trial: points.astype(np.float32) for trial, points in trials.items()}
        for subject, trials in positions.items()
    }


def read_keypoints(path: str | Path) -> Keypoints:
    """Read `data_2d_humaneva15_*.npz`: exact or detected 2D joints in pixels.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or not such a file, or of joints that are not known.
    """
    return videopose3d.read_keypoints(PREPARATION.file(path), cameras=len(CAMERAS))


def join(positions: Positions, keypoints: Keypoints) -> PosesAndKeypoints:
    """Put 3D and 2D together.

    Raises:
        ValueError: the 2D file lacks a chunk or frames of it.
    """
    for subject, trials in positions.items():
        for trial, points in trials.items():
            videopose3d.matching_keypoints(keypoints, subject, trial, len(points))
    return PosesAndKeypoints(preparation=PREPARATION, positions=positions, keypoints=keypoints)


def read_humaneva(folder: str | Path, keypoints: str = "gt") -> PosesAndKeypoints:
    """Read the 3D file and one 2D file of a folder.

    Args:
        folder: holds `data_3d_humaneva15.npz` and `data_2d_humaneva15_<keypoints>.npz`.
        keypoints: "gt" for the exact 2D joints, "detectron_pt_coco" for detections (COCO joints).

    Raises:
        FileNotFoundError: a file is missing.
        ValueError: a file is damaged, of another layout, or does not belong to the other.
    """
    folder = Path(folder)
    positions = read_positions(folder / POSITIONS_FILE)
    return join(positions, read_keypoints(folder / f"data_2d_humaneva15_{keypoints}.npz"))
