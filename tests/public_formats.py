"""Small files in the public formats of the research data sets, with made-up motion in them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lithepose.cameras import project, world_to_camera
from lithepose.datasets import human36m, humaneva
from lithepose.skeletons import SKELETONS, convert
from lithepose.synthetic.bodies import random_body
from lithepose.synthetic.movements import motion

Write = Callable[..., Path]


def walk(frames: int, seed: int = 0, name: str = "walk") -> np.ndarray:
    """(T, 17, 3) metres, world axes, h36m17."""
    random = np.random.default_rng(seed)
    return motion(name, frames / 50, 50, random_body(random), random)


def symmetry(skeleton: str) -> list[list[int]]:
    pairs = SKELETONS[skeleton].pairs
    return [[left for left, _ in pairs], [right for _, right in pairs]]


def save(path: Path, **values: Any) -> Path:
    """Write as the authors do: dictionaries become arrays of one object."""
    np.savez_compressed(path, **values)
    return path


def human36m_motions() -> dict[str, dict[str, np.ndarray]]:
    """Subject -> trial -> (T, 17, 3)."""
    return {
        "S1": {"Directions": walk(60, 1, "wave"), "Walking 1": walk(40, 2)},
        "S9": {"Sitting": walk(30, 3, "sit"), "SittingDown 1": walk(50, 4, "sit")},
        "S11": {"Directions": walk(30, 5), "Directions 1": walk(20, 6)},
    }


def of_32_joints(joints: np.ndarray) -> np.ndarray:
    """The recorded 32 joints: the places that nobody uses hold nonsense."""
    full = np.random.default_rng(0).standard_normal((len(joints), 32, 3)).astype(np.float32)
    full[:, human36m.JOINTS] = joints
    return full


def seen_by_four(subject: str, joints: np.ndarray) -> list[np.ndarray]:
    cameras = [human36m.camera(subject, name) for name in human36m.CAMERAS]
    return [camera.project(joints).astype(np.float32) for camera in cameras]


@pytest.fixture
def write_human36m(tmp_path: Path) -> Write:
    """Write the three files of VideoPose3D; keyword arguments replace what they hold."""

    def write(
        positions: Any = None, exact: Any = None, detected: Any = None, metadata: Any = None
    ) -> Path:
        motions = human36m_motions()
        positions = positions or {
            subject: {trial: of_32_joints(joints) for trial, joints in trials.items()}
            for subject, trials in motions.items()
        }
        projected = {
            subject: {trial: seen_by_four(subject, joints) for trial, joints in trials.items()}
            for subject, trials in motions.items()
        }
        random = np.random.default_rng(8)
        detected = detected or {
            # Videos run on after the capture, by a few frames and not all by as many.
            subject: {
                trial: [
                    np.pad(view + random.normal(0, 3, view.shape), ((0, i), (0, 0), (0, 0)))
                    for i, view in enumerate(views)
                ]
                for trial, views in trials.items()
            }
            for subject, trials in projected.items()
        } | {"S2": {"Directions": [np.zeros((9, 17, 2), np.float32)] * 4}}
        metadata = metadata or {"num_joints": 17, "keypoints_symmetry": symmetry("h36m17")}
        save(tmp_path / "data_3d_h36m.npz", positions_3d=positions)
        save(tmp_path / "data_2d_h36m_gt.npz", positions_2d=exact or projected, metadata=metadata)
        save(
            tmp_path / "data_2d_h36m_cpn_ft_h36m_dbb.npz",
            positions_2d=detected,
            metadata={"layout_name": "h36m", **metadata},
        )
        return tmp_path

    return write


def image_space() -> dict[str, dict[str, Any]]:
    """The content of MotionBERT's file: poses in the picture, z in pixels at the root's depth."""
    content = {}
    for split, subject, number in (("train", "S1", 1), ("test", "S9", 9)):
        parts: list[dict[str, Any]] = []
        for act, frames in ((2, 60), (5, 25)):
            joints = walk(frames, act)
            for index, name in enumerate(human36m.CAMERAS[:2]):
                camera = human36m.camera(subject, name)
                local = 1000 * camera.world_to_camera(joints)
                factor = local[:, 0, 2] / camera.focal_px[0]  # mm per pixel
                image = np.array(local)
                image -= image[:, :1]
                image /= factor[:, None, None]
                image[..., :2] += camera.project(joints)[:, :1]
                source = f"s_{number:02d}_act_{act:02d}_subact_02_ca_{index + 1:02d}"
                parts.append(
                    {
                        "joint_2d": image[..., :2] + 1.0,
                        "confidence": np.full((frames, 17, 1), 0.5),
                        "joint3d_image": image,
                        "2.5d_factor": factor,
                        "joints_2.5d_image": image * factor[:, None, None],
                        "source": [source] * frames,
                        "action": [str(act)] * frames,
                        "camera_name": [name] * frames,
                    }
                )
        whole = {
            name: list(chain(*(part[name] for part in parts)))
            if isinstance(parts[0][name], list)
            else np.concatenate([part[name] for part in parts])
            for name in parts[0]
        }
        if split == "train":
            del whole["2.5d_factor"], whole["joints_2.5d_image"]
        content[split] = whole
    return content


def mpi_poses(frames: int, seed: int, size: tuple[int, int]) -> dict[str, np.ndarray]:
    """Poses in millimetres before a camera, and where it sees them."""
    joints, _, _ = convert(walk(frames, seed), None, "h36m17", "mpi_inf_3dhp17")
    local = np.stack([joints[..., 0], 1 - joints[..., 2], joints[..., 1] + 4], -1)
    pixels = project(local, 1500.0, (size[0] / 2, size[1] / 2))
    return {"data_2d": pixels.astype(np.float64), "data_3d": 1000 * local}


@pytest.fixture
def write_mpi_inf_3dhp(tmp_path: Path) -> Write:
    """Write both files; keyword arguments replace what they hold."""

    def write(train: Any = None, test: Any = None) -> Path:
        train = train or {
            "S1 Seq1": [{str(c): mpi_poses(30, c, (2048, 2048)) for c in (0, 1, 8)}, 25],
            "S3 Seq2": [{str(c): mpi_poses(40, c, (2048, 2048)) for c in (0, 4)}, 50],
        }
        test = test or {
            name: mpi_poses(20, i, size) | {"valid": (np.arange(20.0) % 3 == 0).astype(float)}
            for i, (name, size) in enumerate((("TS1", (2048, 2048)), ("TS6", (1920, 1080))))
        }
        save(tmp_path / "data_train_3dhp.npz", data=train)
        save(tmp_path / "data_test_3dhp.npz", data=test)
        return tmp_path

    return write


def humaneva_motions() -> dict[str, dict[str, np.ndarray]]:
    """Part and subject -> chunk -> (T, 15, 3) metres, world axes."""

    def joints(frames: int, seed: int) -> np.ndarray:
        return convert(walk(frames, seed), None, "h36m17", "humaneva15")[0].astype(np.float32)

    return {
        "Train/S1": {"Walking 1 chunk0": joints(30, 1), "Gestures 1 chunk0": joints(20, 2)},
        "Validate/S1": {"Box 1 chunk0": joints(12, 5)},
        "Validate/S2": {"Jog 1 chunk0": joints(25, 3), "Jog 1 chunk2": joints(15, 4)},
        "Validate/S3": {"Walking 1 chunk1": joints(18, 6)},
    }


def seen_by_three(subject: str, joints: np.ndarray) -> list[np.ndarray]:
    places = [humaneva.camera_place(subject, name) for name in humaneva.CAMERAS]
    return [
        project(world_to_camera(joints, *place), 800.0, (320.0, 240.0)).astype(np.float32)
        for place in places
    ]


@pytest.fixture
def write_humaneva(tmp_path: Path) -> Write:
    """Write the 3D file, exact 2D joints and detections; keyword arguments replace content."""

    def write(positions: Any = None, exact: Any = None, metadata: Any = None) -> Path:
        motions = humaneva_motions()
        exact = exact or {
            subject: {trial: seen_by_three(subject, joints) for trial, joints in trials.items()}
            for subject, trials in motions.items()
        }
        detected = {
            subject: {trial: [np.zeros((40, 17, 2), np.float32), None, None] for trial in trials}
            for subject, trials in motions.items()
        } | {"Unlabeled/S4": {"Box 1": [np.zeros((9, 17, 2), np.float32)] * 3}}
        metadata = metadata or {
            "layout_name": "humaneva15",
            "num_joints": 15,
            "keypoints_symmetry": symmetry("humaneva15"),
        }
        save(tmp_path / "data_3d_humaneva15.npz", positions_3d=positions or motions)
        save(tmp_path / "data_2d_humaneva15_gt.npz", positions_2d=exact, metadata=metadata)
        save(
            tmp_path / "data_2d_humaneva15_detectron_pt_coco.npz",
            positions_2d=detected,
            metadata={
                "layout_name": "coco",
                "num_joints": 17,
                "keypoints_symmetry": symmetry("coco17"),
            },
        )
        return tmp_path

    return write


@pytest.fixture
def human36m_content() -> dict[str, dict[str, np.ndarray]]:
    return human36m_motions()


@pytest.fixture
def image_space_content() -> dict[str, dict[str, Any]]:
    return image_space()


@pytest.fixture
def humaneva_content() -> dict[str, dict[str, np.ndarray]]:
    return humaneva_motions()
