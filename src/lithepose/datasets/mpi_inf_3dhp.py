"""MPI-INF-3DHP, in the two npz files that P-STMO introduced.

Eight subjects with two recordings each before eight cameras to train on; six recordings of six
others to test on, three scenes of two. Poses are of a universal skeleton: scaled to one height.
`docs/data/mpi_inf_3dhp.md` says how to get the files.

Source: Mehta et al., Monocular 3D human pose estimation in the wild using improved CNN
supervision, 3DV 2017. Files: Shan et al., P-STMO, ECCV 2022.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.datasets.pickles import read_arrays
from lithepose.datasets.sequences import (
    PoseSequence,
    check_metres,
    checked_array,
    chosen,
    relative_to_root,
)

GUIDE = "docs/data/mpi_inf_3dhp.md"
TRAIN_FILE = "data_train_3dhp.npz"
TEST_FILE = "data_test_3dhp.npz"

SKELETON = "mpi_inf_3dhp17"
# Of the 28 joints of the original annotations, in the order of mpi_inf_3dhp17. The files hold these
# 17 already, and the original test set too.
JOINTS = (7, 5, 14, 15, 16, 9, 10, 11, 23, 24, 25, 18, 19, 20, 4, 3, 6)
# Of 14; the others hang overhead.
CAMERAS = ("0", "1", "2", "4", "5", "6", "7", "8")
TRAIN_SIZE = (2048, 2048)
_STUDIO, _OUTDOOR = (2048, 2048), (1920, 1080)


@dataclass(frozen=True)
class KnownRecording:
    """What is known of a recording of the test set.

    Attributes:
        scene: "green screen", "no green screen" or "outdoor"; results are also given by scene.
        image_size: (width, height) in pixels.
        valid_frames: how many frames are measured on.
    """

    scene: str
    image_size: tuple[int, int]
    valid_frames: int


KNOWN_TEST = {
    "TS1": KnownRecording("green screen", _STUDIO, 603),
    "TS2": KnownRecording("green screen", _STUDIO, 540),
    "TS3": KnownRecording("no green screen", _STUDIO, 505),
    "TS4": KnownRecording("no green screen", _STUDIO, 553),
    "TS5": KnownRecording("outdoor", _OUTDOOR, 276),
    "TS6": KnownRecording("outdoor", _OUTDOOR, 452),
}
# (subject, recording) -> frames of each camera.
TRAIN_FRAMES = {
    ("S1", "Seq1"): 6416, ("S1", "Seq2"): 12430, ("S2", "Seq1"): 6502, ("S2", "Seq2"): 6081,
    ("S3", "Seq1"): 12488, ("S3", "Seq2"): 12283, ("S4", "Seq1"): 6171, ("S4", "Seq2"): 6675,
    ("S5", "Seq1"): 12820, ("S5", "Seq2"): 12312, ("S6", "Seq1"): 6188, ("S6", "Seq2"): 6145,
    ("S7", "Seq1"): 6239, ("S7", "Seq2"): 6320, ("S8", "Seq1"): 6468, ("S8", "Seq2"): 6054,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True, eq=False)
class Recording:
    """A recording before one camera, as in the file but in metres.

    Attributes:
        subject: "S1" to "S8", or "TS1" to "TS6" in the test set.
        trial: "Seq1" or "Seq2"; empty in the test set.
        camera: a name of `CAMERAS`; empty in the test set.
        keypoints: (T, 17, 2) pixels.
        joints_camera: (T, 17, 3) metres, camera axes, absolute.
        valid: (T,) bool, the frames that are measured on; all in training.
        fps: frames per second; None in the test set.
    """

    subject: str
    trial: str
    camera: str
    keypoints: Floats
    joints_camera: Floats
    valid: NDArray[np.bool_]
    fps: float | None


@dataclass(frozen=True, kw_only=True, eq=False)
class MpiInf3dhp:
    """The recordings of one file.

    Attributes:
        path: the file.
        recordings: one per recording and camera.
    """

    path: Path
    recordings: tuple[Recording, ...]

    def sequences(
        self, subjects: Iterable[str] | None = None, cameras: Iterable[str] | None = None
    ) -> Iterator[PoseSequence]:
        """Every recording before every camera; the action is the recording, or the scene in the
        test set.

        Args:
            subjects: "S1" or "TS1" and the like; None takes all.
            cameras: of `CAMERAS`; None takes all. The test set has one, without a name.

        Raises:
            ValueError: a name is not in the file.
        """
        there = dict.fromkeys(recording.subject for recording in self.recordings)
        subjects = set(chosen(subjects, there, "subject", self.path))
        there = dict.fromkeys(recording.camera for recording in self.recordings)
        cameras = set(chosen(cameras, there, "camera", self.path))
        for recording in self.recordings:
            if recording.subject in subjects and recording.camera in cameras:
                yield _sequence(recording)


def _sequence(recording: Recording) -> PoseSequence:
    joints, root = relative_to_root(recording.joints_camera, SKELETON)
    test = KNOWN_TEST.get(recording.subject)
    return PoseSequence(
        subject=recording.subject,
        action=test.scene if test else recording.trial,
        trial=recording.trial,
        view=recording.camera,
        keypoints=recording.keypoints,
        keypoints_skeleton=SKELETON,
        joints_camera=joints,
        root_camera=root,
        skeleton=SKELETON,
        counted=recording.valid,
        image_size=test.image_size if test else TRAIN_SIZE,
        fps=recording.fps,
        camera=None,
    )


def read_training(path: str | Path) -> MpiInf3dhp:
    """Read `data_train_3dhp.npz`, or the folder it is in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or not in the layout (see also `lithepose.datasets.pickles`), or
            its joints are not in millimetres.
    """
    path, stored = _stored(Path(path), TRAIN_FILE)
    recordings = []
    for name, content in stored.items():
        subject, _, trial = str(name).partition(" ")
        if (subject, trial) not in TRAIN_FRAMES:
            raise ValueError(f"{path}: {name!r} is no training recording, such as 'S1 Seq1'")
        try:
            views, fps = content
            fps = float(fps)
            if not isinstance(views, dict) or not fps > 0:
                raise TypeError(f"found {type(views).__name__} and {fps}")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {name} should be the cameras and the frame rate") from error
        for view, arrays in views.items():
            what = f"{path}: {name}, camera {view}"
            if str(view) not in CAMERAS:
                raise ValueError(f"{what} is not one of {', '.join(CAMERAS)}")
            keypoints, joints = _poses(arrays, what)
            recordings.append(
                Recording(
                    subject=subject,
                    trial=trial,
                    camera=str(view),
                    keypoints=keypoints,
                    joints_camera=joints,
                    valid=np.ones(len(joints), bool),
                    fps=fps,
                )
            )
    return _checked(path, recordings)


def read_test(path: str | Path) -> MpiInf3dhp:
    """Read `data_test_3dhp.npz`, or the folder it is in.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged or not in the layout (see also `lithepose.datasets.pickles`), or
            its joints are not in millimetres.
    """
    path, stored = _stored(Path(path), TEST_FILE)
    recordings = []
    for name, arrays in stored.items():
        what = f"{path}: {name}"
        if name not in KNOWN_TEST:
            raise ValueError(f"{what} is not one of {', '.join(KNOWN_TEST)}")
        keypoints, joints = _poses(arrays, what)
        valid = np.asarray(arrays.get("valid", ())).ravel()
        if valid.shape != (len(joints),) or not np.isin(valid, (0, 1)).all():
            raise ValueError(f"{what}: valid should be 0 or 1 for each of {len(joints)} frames")
        recordings.append(
            Recording(
                subject=str(name),
                trial="",
                camera="",
                keypoints=keypoints,
                joints_camera=joints,
                valid=valid.astype(bool),
                fps=None,
            )
        )
    return _checked(path, recordings)


def _stored(path: Path, name: str) -> tuple[Path, dict[Any, Any]]:
    path = path / name if path.is_dir() else path
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}: {GUIDE} says how to get it")
    stored = read_arrays(path, ["data"])["data"]
    if not isinstance(stored, dict) or not stored:
        raise ValueError(f"{path}: data should map recordings to poses; it is of another layout")
    return path, stored


def _poses(arrays: Any, what: str) -> tuple[Floats, Floats]:
    """(T, 17, 2) pixels and (T, 17, 3) metres of a recording before a camera."""
    if not isinstance(arrays, dict) or not {"data_2d", "data_3d"} <= set(arrays):
        raise ValueError(f"{what} should have data_2d and data_3d")
    joints = checked_array(arrays["data_3d"], (None, 17, 3), f"{what}: data_3d")
    keypoints = checked_array(arrays["data_2d"], (None, 17, 2), f"{what}: data_2d")
    if len(joints) != len(keypoints):
        raise ValueError(f"{what} has {len(keypoints)} frames in 2D and {len(joints)} in 3D")
    # Screen coordinates would be within a few units of 0.
    if np.abs(keypoints).max() < 10:
        raise ValueError(f"{what}: data_2d is not in pixels")
    return keypoints.astype(np.float32), (joints / 1000).astype(np.float32)


def _checked(path: Path, recordings: list[Recording]) -> MpiInf3dhp:
    check_metres((r.joints_camera for r in recordings), SKELETON, path, stored_in="millimetres")
    return MpiInf3dhp(path=path, recordings=tuple(recordings))
