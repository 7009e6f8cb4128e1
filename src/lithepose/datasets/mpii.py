"""MPII Human Pose: 16 joints of people in pictures, in the files converted for HRNet.

`docs/data/mpii.md` says how to get the files. They count pixels from 1, as MATLAB does; everything
here is brought to 0-based pixels.

Source: Andriluka et al., 2D human pose estimation: new benchmark and state of the art analysis,
CVPR 2014. Crops: HRNet's and MMPose 0.29's rules.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.datasets.coco import read_json
from lithepose.datasets.images import People

GUIDE = "docs/data/mpii.md"
SKELETON = "mpii16"
HEADS_FILE = "mpii_gt_val.mat"
UNIT_PX = 200  # a scale of 1 is a person 200 pixels high
# By which part of the scale's unit the annotated centre, the chest's, is moved down to the body's.
CENTRE_DOWN_PX = 15
# The official evaluation's bias between the head box's diagonal and the head's length.
HEAD_SHARE = 0.6

# Where the files may lie in the folder of the data set.
ANNOTATIONS = ("annot/mpii_{split}.json", "annotations/mpii_{split}.json", "mpii_{split}.json")
PICTURES = ("images",)


@dataclass(frozen=True, kw_only=True)
class Heads:
    """Ground truth of the val persons for PCKh, in the order of `mpii_val.json`.

    Attributes:
        joints: (N, 16, 2) 0-based pixels.
        counted: (N, 16) which of them count.
        sizes: (N,) length of the head in pixels: 0.6 of the head box's diagonal.
    """

    joints: Floats
    counted: NDArray[np.bool_]
    sizes: Floats


def read_people(path: str | Path, folder: str | Path) -> People:
    """Read `mpii_train.json`, `mpii_val.json`, `mpii_trainval.json` or `mpii_test.json`.

    A person's box is a square around the annotated centre, 200 pixels wide at scale 1; test persons
    have no joints. Pictures are not looked at.

    Args:
        folder: where the pictures are.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or no such file.
    """
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}: {GUIDE} says how to get it")
    content = read_json(path)
    try:
        if not isinstance(content, list):
            raise TypeError(f"found {type(content).__name__}")
        files = tuple(str(person["image"]) for person in content)
        scales = np.array([person["scale"] for person in content], float).reshape(-1)
        centres = np.array([person["center"] for person in content], float).reshape(-1, 2)
        unknown = [[[np.nan, np.nan]] * 16, [0] * 16]
        joints = np.array([p.get("joints", unknown[0]) for p in content], float).reshape(-1, 16, 2)
        seen = np.array([p.get("joints_vis", unknown[1]) for p in content], float).reshape(-1, 16)
        if not len(files) == len(scales) == len(centres) == len(joints) == len(seen):
            raise ValueError("another number of joints than 16")
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path}: should be a list of people with image, center, scale and 16 joints ({error})"
        ) from error
    if not (np.isfinite(centres).all() and np.isfinite(scales).all() and (scales > 0).all()):
        raise ValueError(f"{path}: a person has no centre, or no scale above 0")
    # A centre of -1 marks people without one.
    centres[:, 1] += np.where(centres[:, 0] != -1, CENTRE_DOWN_PX * scales, 0)
    centres -= 1
    sides = UNIT_PX * scales[:, None]
    visible = seen > 0
    people = len(files)
    return People(
        skeleton=SKELETON,
        folder=Path(folder),
        files=files,
        picture_ids=np.unique(files, return_inverse=True)[1].astype(np.int64).reshape(people),
        picture_sizes=np.zeros((people, 2), np.int64),
        boxes=np.concatenate([centres - sides / 2, sides, sides], axis=1),
        scores=np.ones(people),
        joints=np.where(visible[..., None], joints - 1, np.nan),
        visible=visible,
    )


def read_mpii(root: str | Path, split: str = "val") -> People:
    """Read a split of the data set from its folder.

    Args:
        root: holds `annot/mpii_<split>.json` and the pictures in `images/`.
        split: "train", "val", "trainval" or "test".

    Raises:
        FileNotFoundError: the annotations or the folder of the pictures are missing.
        ValueError: the file is damaged.
    """
    path = _find(Path(root), ANNOTATIONS, f"mpii_{split}.json", split)
    folder = Path(root) / PICTURES[0]
    if not folder.is_dir():
        raise FileNotFoundError(f"no {folder}: {GUIDE} says how to get and lay out the data set")
    return read_people(path, folder)


def find_heads(root: str | Path) -> Path:
    """The file of head boxes in the folder of the data set.

    Raises:
        FileNotFoundError: it is not there.
    """
    names = tuple(str(Path(name).with_name(HEADS_FILE)) for name in ANNOTATIONS)
    return _find(Path(root), names, HEADS_FILE, "")


def read_heads(path: str | Path) -> Heads:
    """Read `mpii_gt_val.mat`.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or another file.
        ImportError: SciPy is not installed.
    """
    try:
        from scipy.io import loadmat
    except ModuleNotFoundError as error:
        raise ImportError(
            'MPII\'s head boxes are a MATLAB file, which needs SciPy: pip install "lithepose[eval]"'
        ) from error
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no {path.name} in {path.parent}: {GUIDE} says how to get it")
    names = ("jnt_missing", "pos_gt_src", "headboxes_src")
    try:
        content = loadmat(path, variable_names=names)
    except Exception as error:  # SciPy raises whatever its parser stumbles over
        raise ValueError(f"{path}: is no MATLAB file, or damaged: get it again") from error
    try:
        missing, joints, boxes = (np.asarray(content[name], float) for name in names)
        people = missing.shape[-1]
        if (missing.shape, joints.shape, boxes.shape) != (
            (16, people),
            (16, 2, people),
            (2, 2, people),
        ):
            raise ValueError(f"shapes {missing.shape}, {joints.shape}, {boxes.shape}")
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{path}: should hold jnt_missing (16, n), pos_gt_src (16, 2, n) and headboxes_src "
            f"(2, 2, n) ({error}): it is another file"
        ) from error
    sizes = head_sizes(np.moveaxis(boxes, -1, 0))  # (person, corner, xy)
    return Heads(joints=np.moveaxis(joints, -1, 0) - 1, counted=missing.T == 0, sizes=sizes)


def head_sizes(boxes: Floats) -> Floats:
    """Length of the head, to which PCKh relates errors: boxes (..., 2 corners, 2) to (...)."""
    return HEAD_SHARE * np.linalg.norm(boxes[..., 1, :] - boxes[..., 0, :], axis=-1)


def _find(root: Path, names: tuple[str, ...], file: str, split: str) -> Path:
    for name in names:
        path = root / name.format(split=split)
        if path.is_file():
            return path
    raise FileNotFoundError(f"no {file} in {root} or its folder annot: {GUIDE} says how to get it")
