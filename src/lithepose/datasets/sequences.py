"""What the readers of data sets give: one person before one camera, 2D and 3D frame by frame."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.cameras import Camera, normalise_pixels
from lithepose.skeletons import skeleton_named

# Knee to ankle of a child and of a giant, in metres: what lies outside is in another unit.
SHIN_M = (0.15, 0.75)


@dataclass(frozen=True, kw_only=True, eq=False)
class PoseSequence:
    """One person before one camera.

    Attributes:
        subject: who moves, as the data set writes it.
        action: what they do, without the number of the trial; results are averaged over these.
        trial: the recording; its full name in the data set, empty where the subject's name says it.
        view: the camera's name, empty where there is one camera.
        keypoints: (T, J_2d, 2) pixels.
        keypoints_skeleton: name of the joint set of `keypoints`.
        joints_camera: (T, J, 3) metres, camera axes, relative to the root, which is at 0.
        root_camera: (T, 3) metres, camera axes, where the root is.
        skeleton: name of the joint set of `joints_camera`.
        counted: (T,) bool, the frames on which the data set measures; the rest may serve as
            context.
        image_size: (width, height) in pixels.
        fps: frames per second; None where the data set does not tell.
        camera: the calibrated camera; None where it is not known in full.
    """

    subject: str
    action: str
    trial: str
    view: str
    keypoints: Floats
    keypoints_skeleton: str
    joints_camera: Floats
    root_camera: Floats
    skeleton: str
    counted: NDArray[np.bool_]
    image_size: tuple[int, int]
    fps: float | None
    camera: Camera | None

    def __len__(self) -> int:
        return len(self.joints_camera)

    @property
    def name(self) -> str:
        """Subject, trial and camera: unlike any other sequence's of the data set."""
        return " ".join(part for part in (self.subject, self.trial, self.view) if part)

    @property
    def keypoints_screen(self) -> Floats:
        """(T, J_2d, 2), the width of this camera's picture scaled to [-1, 1]."""
        return normalise_pixels(self.keypoints, self.image_size)

    @property
    def absolute_camera(self) -> Floats:
        """(T, J, 3) metres, camera axes, with the root where it is."""
        return self.joints_camera + self.root_camera[:, None]


def relative_to_root(points: Floats, skeleton: str) -> tuple[Floats, Floats]:
    """Points (T, J, 3) as float32 relative to the root (T, J, 3), and the root (T, 3)."""
    root = points[:, skeleton_named(skeleton).root]
    return (points - root[:, None]).astype(np.float32), root.astype(np.float32)


def checked_array(
    value: Any, shape: tuple[int | None, ...], what: str, *, finite: bool = True
) -> Floats:
    """`value` as a floating-point array of a shape, None meaning any length.

    Raises:
        ValueError: it has another shape, no frames, no numbers, or values that are not finite.
    """
    array = np.asarray(value)
    wanted = "(" + ", ".join("frames" if n is None else str(n) for n in shape) + ")"
    fits = array.ndim == len(shape) and all(
        n is None or n == found for n, found in zip(shape, array.shape, strict=False)
    )
    if not fits or array.dtype.kind not in "fiu":
        raise ValueError(f"{what} is {array.dtype} of shape {array.shape}, expected {wanted}")
    if array.shape[0] == 0:
        raise ValueError(f"{what} has no frames")
    if finite and not np.isfinite(array).all():
        raise ValueError(f"{what} holds values that are not finite")
    return array if array.dtype.kind == "f" else array.astype(np.float32)


def check_metres(
    poses: Iterable[Floats], skeleton: str, path: Path, stored_in: str = "metres"
) -> None:
    """Refuse poses whose shins are not as long as a person's.

    Args:
        poses: arrays (T, J, 3), in metres if the file is in the unit that it should be in.
        stored_in: that unit.

    Raises:
        ValueError: the middle shin is shorter or longer than anyone's.
    """
    joints = skeleton_named(skeleton)
    ends = [(joints.index(f"{s}_knee"), joints.index(f"{s}_ankle")) for s in ("left", "right")]
    lengths = [
        np.linalg.norm(pose[::50, knee] - pose[::50, ankle], axis=-1)
        for pose in poses
        for knee, ankle in ends
    ]
    if not lengths:
        return
    middle = float(np.median(np.concatenate(lengths)))
    if not SHIN_M[0] <= middle <= SHIN_M[1]:
        raise ValueError(
            f"{path}: read as {stored_in}, shins are {middle:.3g} m long: the joints are in "
            f"another unit, or in another order than {skeleton}"
        )


def reprojection_px(sequence: PoseSequence, frames: slice = slice(None)) -> Floats:
    """How far the 2D joints lie from the projected 3D joints.

    Args:
        sequence: one with a camera and the same joints in 2D as in 3D.
        frames: which frames to look at.

    Returns:
        (T', J) pixels.

    Raises:
        ValueError: the camera is not known, or 2D and 3D have different joints.
    """
    if sequence.camera is None or sequence.keypoints_skeleton != sequence.skeleton:
        raise ValueError(f"{sequence.name} has no camera, or its 2D joints are not the 3D ones")
    points = sequence.camera.camera_to_world(sequence.absolute_camera[frames].astype(np.float64))
    return np.linalg.norm(sequence.camera.project(points) - sequence.keypoints[frames], axis=-1)


def chosen(
    wanted: Iterable[str] | None, known: Iterable[str], what: str, path: Path | str
) -> Iterator[str]:
    """The wanted names, or all that are known, in the order of the latter.

    Raises:
        ValueError: a wanted name is not known.
    """
    known = list(known)
    wanted = known if wanted is None else list(wanted)
    strange = [name for name in wanted if name not in known]
    if strange:
        raise ValueError(f"{path} has no {what} {', '.join(strange)}; known: {', '.join(known)}")
    return (name for name in known if name in wanted)
