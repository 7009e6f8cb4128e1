"""The file layout of VideoPose3D, in which Human3.6M and HumanEva-I are passed on.

`data_3d_*.npz` holds `positions_3d`: subject -> trial -> (T, J, 3), world axes, metres.
`data_2d_*.npz` holds `positions_2d`: subject -> trial -> a list with an array (T', J, 2) of pixels
for each camera, T' >= T, and `metadata`: how many joints, and which are left and right.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lithepose.arrays import Floats
from lithepose.cameras import Camera, world_to_camera
from lithepose.datasets.pickles import read_arrays
from lithepose.datasets.sequences import PoseSequence, checked_array, chosen, relative_to_root
from lithepose.skeletons import SKELETONS

Positions = dict[str, dict[str, Floats]]  # subject -> trial -> (T, J, 3) metres, world axes

# The joint sets of 2D files that occur; a file says which one by its left and right joints.
LAYOUTS = ("h36m17", "coco17", "humaneva15")


@dataclass(frozen=True, kw_only=True)
class Preparation:
    """What VideoPose3D's files of one data set have in common.

    Attributes:
        guide: the page that says how to get them.
        skeleton: name of the joint set of poses.
        fps: frames per second.
        actions: names in result tables, in their order.
        cameras: names in the order of the 2D files.
        action_of: trial -> its action; None for one that no table has.
        placed: subject and camera -> its rotation and position, as `world_to_camera` takes them, in
            metres; width and height of its picture; the camera with its lens, where that is known.
    """

    guide: str
    skeleton: str
    fps: float
    actions: Collection[str]
    cameras: tuple[str, ...]
    action_of: Callable[[str], str | None]
    placed: Callable[[str, str], tuple[Floats, Floats, tuple[int, int], Camera | None]]

    def file(self, path: str | Path) -> Path:
        """A file of the data set, which must be there.

        Raises:
            FileNotFoundError: there is no such file.
        """
        path = Path(path)
        if not path.is_file():
            raise FileNotFoundError(
                f"no {path.name} in {path.parent}: {self.guide} says how to get it; pass the "
                "folder it is in"
            )
        return path


@dataclass(frozen=True, kw_only=True)
class Keypoints:
    """2D joints of a data set.

    Attributes:
        path: where they are from.
        tracks: subject -> trial -> for each camera (T', J, 2) pixels, or None where a camera has
            none.
        skeleton: name of the joint set.
    """

    path: Path
    tracks: dict[str, dict[str, tuple[Floats | None, ...]]]
    skeleton: str


def read_positions(path: Path, joints: int) -> Positions:
    """Read a file of 3D positions.

    Args:
        joints: J, joints of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or not in the layout (see also `lithepose.datasets.pickles`).
    """
    stored = _subjects(read_arrays(path, ["positions_3d"])["positions_3d"], "positions_3d", path)
    return {
        subject: {
            trial: checked_array(points, (None, joints, 3), f"{path}: {subject} {trial}")
            for trial, points in trials.items()
        }
        for subject, trials in stored.items()
    }


def read_keypoints(path: Path, cameras: int) -> Keypoints:
    """Read a file of 2D joints.

    Args:
        cameras: how many cameras each trial has.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or not in the layout, or has joints that are not known.
    """
    file = read_arrays(path, ["positions_2d", "metadata"])
    skeleton = _layout(file["metadata"], path)
    joints = len(SKELETONS[skeleton])
    tracks = {}
    for subject, trials in _subjects(file["positions_2d"], "positions_2d", path).items():
        tracks[subject] = {}
        for trial, views in trials.items():
            what = f"{path}: {subject} {trial}"
            if not isinstance(views, list | tuple | np.ndarray) or len(views) != cameras:
                n = len(views) if hasattr(views, "__len__") else type(views).__name__
                raise ValueError(f"{what} should be {cameras} arrays, one per camera; found {n}")
            tracks[subject][trial] = tuple(
                None if view is None else _pixels(view, joints, f"{what}, camera {i}")
                for i, view in enumerate(views)
            )
    return Keypoints(path=path, tracks=tracks, skeleton=skeleton)


def _pixels(view: Any, joints: int, what: str) -> Floats:
    view = np.asarray(view)
    # Some detectors' files carry a score behind x and y.
    if view.ndim == 3 and view.shape[-1] == 3:
        view = view[..., :2]
    return checked_array(view, (None, joints, 2), what)


def _subjects(stored: Any, name: str, path: Path) -> dict[str, dict[str, Any]]:
    subjects = stored.values() if isinstance(stored, dict) else ()
    if not subjects or not all(isinstance(trials, dict) for trials in subjects):
        raise ValueError(f"{path}: {name} should map subjects to trials; it is of another layout")
    return {
        str(subject): {str(trial): values for trial, values in trials.items()}
        for subject, trials in stored.items()
    }


def _layout(metadata: Any, path: Path) -> str:
    try:
        joints = int(metadata["num_joints"])
        left, right = ([int(joint) for joint in side] for side in metadata["keypoints_symmetry"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ValueError(
            f"{path}: metadata should tell num_joints and keypoints_symmetry (left and right)"
        ) from error
    for name in LAYOUTS:
        pairs = SKELETONS[name].pairs
        if joints == len(SKELETONS[name]) and set(zip(left, right, strict=False)) == set(pairs):
            return name
    raise ValueError(
        f"{path} has {joints} joints, left {left}, right {right}: none of {', '.join(LAYOUTS)}. "
        "Detections of 16 joints (stacked hourglass, HRNet) are not read"
    )


def matching_keypoints(
    keypoints: Keypoints, subject: str, trial: str, frames: int
) -> tuple[Floats | None, ...]:
    """The 2D joints of a trial, cut to the frames that have 3D: videos run on after the capture.

    Raises:
        ValueError: the file lacks the trial, or has fewer frames of it than there are in 3D.
    """
    views = keypoints.tracks.get(subject, {}).get(trial)
    if views is None:
        raise ValueError(f"{keypoints.path} has no {subject} {trial}, which the 3D file has")
    for i, view in enumerate(views):
        if view is not None and len(view) < frames:
            raise ValueError(
                f"{keypoints.path}: {subject} {trial}, camera {i} has {len(view)} frames, fewer "
                f"than the {frames} in 3D: the two files do not belong together"
            )
    return tuple(None if view is None else view[:frames] for view in views)


@dataclass(frozen=True, kw_only=True, eq=False)
class PosesAndKeypoints:
    """3D positions and 2D joints that belong together.

    Attributes:
        preparation: the data set.
        positions: subject -> trial -> (T, J, 3) float32, metres, world axes.
        keypoints: 2D joints of the same trials, cameras in the order of the preparation's.
    """

    preparation: Preparation
    positions: Positions
    keypoints: Keypoints

    def sequences(
        self,
        subjects: Iterable[str] | None = None,
        actions: Iterable[str] | None = None,
        cameras: Iterable[str] | None = None,
    ) -> Iterator[PoseSequence]:
        """Every trial before every camera.

        Args:
            subjects: such as the data set's `TRAIN` or `TEST`; None takes all of the file.
            actions: of its `ACTIONS`, matched whole ("Sitting" is not "SittingDown"); None takes
                all of these.
            cameras: of its `CAMERAS`; None takes all.

        Raises:
            ValueError: a name is not known, or not in the file.
        """
        known, path = self.preparation, self.keypoints.path
        subjects = list(chosen(subjects, self.positions, "subject", path))
        actions = list(chosen(actions, known.actions, "action", path))
        cameras = list(chosen(cameras, known.cameras, "camera", path))
        for subject in subjects:
            for trial, points in self.positions[subject].items():
                action = known.action_of(trial)
                if action not in actions:
                    continue
                views = matching_keypoints(self.keypoints, subject, trial, len(points))
                for name in cameras:
                    view = views[known.cameras.index(name)]
                    if view is None:
                        continue
                    rotation, position, image_size, camera = known.placed(subject, name)
                    local = world_to_camera(points, rotation, position)
                    joints, root = relative_to_root(local, known.skeleton)
                    yield PoseSequence(
                        subject=subject,
                        action=action,
                        trial=trial,
                        view=name,
                        keypoints=view,
                        keypoints_skeleton=self.keypoints.skeleton,
                        joints_camera=joints,
                        root_camera=root,
                        skeleton=known.skeleton,
                        counted=np.ones(len(points), bool),
                        image_size=image_size,
                        fps=known.fps,
                        camera=camera,
                    )
