"""Data sets' people in the numbers that a lifter takes and gives.

`read_sequences` gives every person before every camera (`NetworkSequence`) of a part of a recipe's
data set; `lithepose.train.windows` cuts them.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import numpy as np

from lithepose.arrays import Flags, Floats
from lithepose.cameras import normalise_pixels
from lithepose.datasets import human36m, humaneva, mpi_inf_3dhp
from lithepose.datasets.human36m import ImageSpaceSplit, read_human36m, read_image_space
from lithepose.datasets.humaneva import read_humaneva
from lithepose.datasets.mpi_inf_3dhp import read_test, read_training
from lithepose.datasets.sequences import PoseSequence
from lithepose.metrics.protocols import H36M17_FROM_3DHP
from lithepose.skeletons import SKELETONS, convert
from lithepose.train.recipes import LiftingRecipe

log = logging.getLogger(__name__)

MM = 1000.0


@dataclass(frozen=True, kw_only=True, eq=False)
class Lens:
    """A camera as refinement needs it, on the scale of the screen (width in [-1, 1]).

    Attributes:
        focal: (2,) focal lengths.
        centre: (2,) principal point.
        root_depth: (T,) metres from the camera to the root along its axis, the true ones.
    """

    focal: Floats
    centre: Floats
    root_depth: Floats


@dataclass(frozen=True, kw_only=True, eq=False)
class NetworkSequence:
    """One person before one camera, in the numbers that a network takes and gives.

    Attributes:
        subject: as the data set names it.
        trial: the recording.
        view: the camera's name, empty where there is one.
        inputs: (T, J, C) float32: x and y with the width of the picture in [-1, 1], and for C = 3
            the confidence.
        targets: (T, J, 3) float32, relative to the root, in the network's unit; nan where a data
            set has no truth in it.
        metres: (T,) metres per unit of the network.
        truth: (T, J, 3) metres, relative to the root.
        skeleton: name of the joint set of all three.
        counted: (T,) bool, frames that the data set measures on.
        fps: frames per second, if known.
        lens: the camera; None where it is not known in full.
    """

    subject: str
    trial: str
    view: str
    inputs: Floats
    targets: Floats
    metres: Floats
    truth: Floats
    skeleton: str
    counted: Flags
    fps: float | None
    lens: Lens | None = None

    def __len__(self) -> int:
        return len(self.inputs)


def reordered(poses: Floats, source: str, target: str) -> Floats:
    """Joints (..., J, D) of one joint set in the order of another.

    Between MPI-INF-3DHP and Human3.6M joints are matched as the tables of both data sets do, the
    neck standing for the thorax and the head for joint 9; else by `lithepose.skeletons.convert`.
    """
    if source == target:
        return poses
    if (source, target) == (mpi_inf_3dhp.SKELETON, human36m.SKELETON):
        return poses[..., H36M17_FROM_3DHP, :]
    if (source, target) == (human36m.SKELETON, mpi_inf_3dhp.SKELETON):
        return poses[..., np.argsort(H36M17_FROM_3DHP), :]
    return convert(poses, None, source, target)[0]


def network_sequence(
    sequence: PoseSequence, skeleton: str, channels: int, *, image_space: bool = False
) -> NetworkSequence:
    """A sequence of a reader in the numbers of a network.

    Args:
        skeleton: joint set that the network works in.
        channels: C; 3 appends a confidence of 1, for data sets without any.
        image_space: targets are millimetres on the scale of the screen, 2 over the width in pixels
            (MotionAGFormer on MPI-INF-3DHP), and not metres.

    Raises:
        ValueError: joints of the skeleton cannot be had from the 2D joints of the sequence.
    """
    keypoints = reordered(sequence.keypoints, sequence.keypoints_skeleton, skeleton)
    screen = normalise_pixels(keypoints.astype(np.float32), sequence.image_size)
    if not np.isfinite(screen).all():
        raise ValueError(
            f"{sequence.name}: the 2D joints ({sequence.keypoints_skeleton}) do not give all "
            f"joints of {skeleton}"
        )
    if channels == 3:
        screen = np.concatenate([screen, np.ones_like(screen[..., :1])], -1)
    truth = reordered(sequence.joints_camera, sequence.skeleton, skeleton).astype(np.float32)
    metres = sequence.image_size[0] / 2 / MM if image_space else 1.0
    lens = None
    if sequence.camera is not None:
        camera = sequence.camera
        lens = Lens(
            focal=np.asarray(camera.focal_px, np.float32) * (2 / camera.image_size[0]),
            centre=normalise_pixels(np.asarray(camera.centre_px, np.float32), camera.image_size),
            root_depth=sequence.root_camera[:, 2].astype(np.float32),
        )
    return NetworkSequence(
        subject=sequence.subject,
        trial=sequence.trial,
        view=sequence.view,
        inputs=screen,
        targets=truth / np.float32(metres),
        metres=np.full(len(sequence), metres, np.float32),
        truth=truth,
        skeleton=skeleton,
        counted=sequence.counted,
        fps=sequence.fps,
        lens=lens,
    )


# Acts of the original files, from 2 on, in their order.
_ACTS = (
    "Directions", "Discussion", "Eating", "Greeting", "Phoning", "Posing", "Purchases", "Sitting",
    "SittingDown", "Smoking", "Photo", "Waiting", "Walking", "WalkDog", "WalkTogether",
)  # fmt: skip


def trial_of_source(source: str) -> tuple[str, str]:
    """Subject and trial of a video of MotionBERT's file by VideoPose3D's names.

    "s_09_act_05_subact_02_ca_01" -> ("S9", "Greeting"). The second of two recordings has the bare
    name; of S9's SittingDown the first.

    Raises:
        ValueError: it is no name of a video of Human3.6M.
    """
    try:
        s, subject, a, act, sub, take, *_ = source.split("_")
        action = _ACTS[int(act) - 2] if int(act) >= 2 else None
        if (s, a, sub) != ("s", "act", "subact") or action is None or int(take) not in (1, 2):
            raise ValueError(source)
    except (ValueError, IndexError):
        raise ValueError(
            f"{source!r} is no video of Human3.6M, such as 's_09_act_05_subact_02_ca_01'"
        ) from None
    who = f"S{int(subject)}"
    bare = 1 if (who, action) == ("S9", "SittingDown") else 2
    return who, action if int(take) == bare else f"{action} 1"


def image_space_sequences(
    split: ImageSpaceSplit, keypoints: str = "stacked_hourglass"
) -> Iterator[NetworkSequence]:
    """The videos of MotionBERT's file.

    Args:
        keypoints: "stacked_hourglass" for the detections and their confidence, "orthographic" for
            the x and y of the labels with confidence 1.
    """
    for first, after in split.videos:
        frames = np.arange(first, after)
        source = str(split.source[first])
        subject, trial = trial_of_source(source)
        labels = split.labels(frames).astype(np.float32)
        inputs = split.inputs(frames).astype(np.float32)
        if keypoints == "orthographic":
            inputs = np.concatenate([labels[..., :2], np.ones_like(labels[..., :1])], -1)
        truth = np.full_like(labels, np.nan) if split.joints is None else split.joints[frames]
        metres = np.full(len(frames), np.nan, np.float32)
        if split.metres_per_px is not None:
            metres = split.metres_per_px[frames] * split.image_size[frames, 0] / 2
        yield NetworkSequence(
            subject=subject,
            trial=trial,
            view=str(split.camera[first]),
            inputs=inputs,
            targets=labels - labels[:, :1],
            metres=metres.astype(np.float32),
            truth=truth - truth[:, :1],
            skeleton=human36m.SKELETON,
            counted=np.ones(len(frames), bool),
            fps=human36m.FPS,
        )


def _there(wanted: Sequence[str], known: Iterable[str], where: Path | str) -> list[str]:
    known = set(known)
    found = [subject for subject in wanted if subject in known]
    if not found:
        raise ValueError(
            f"{where} has none of the subjects {', '.join(wanted)}; it has "
            f"{', '.join(sorted(known))}"
        )
    if len(found) < len(wanted):
        missing = [subject for subject in wanted if subject not in known]
        log.warning("%s lacks %s: results are not comparable", where, ", ".join(missing))
    return found


def read_sequences(
    recipe: LiftingRecipe, root: Path, split: Literal["train", "test"]
) -> list[NetworkSequence]:
    """A part of the recipe's data set.

    Args:
        root: folder of the data set's files (docs/data/).

    Raises:
        FileNotFoundError: a file is missing; the message names the guide.
        ValueError: a file is damaged, or has no subject of this part.
    """
    training = split == "train"
    if recipe.dataset == "human36m-image":
        path = root if root.is_file() else root / human36m.IMAGE_SPACE_FILE
        both = read_image_space(path)
        return list(image_space_sequences(both.train if training else both.test, recipe.keypoints))
    if recipe.dataset == "human36m":
        data = read_human36m(root, recipe.keypoints)
        wanted = human36m.TRAIN if training else human36m.TEST
        found = data.sequences(_there(wanted, data.positions, root))
    elif recipe.dataset == "humaneva-i":
        data = read_humaneva(root, recipe.keypoints)
        wanted = humaneva.TRAIN if training else humaneva.TEST
        found = data.sequences(_there(wanted, data.positions, root))
    else:
        found = (read_training(root) if training else read_test(root)).sequences()
    convert_one = partial(
        network_sequence,
        skeleton=recipe.skeleton,
        channels=recipe.channels,
        image_space=recipe.dataset == "mpi-inf-3dhp-image",
    )
    return [convert_one(sequence) for sequence in found]


def mirrored(values: Floats, skeleton: str) -> Floats:
    """Inputs or poses (..., J, C) of the mirrored person: x negated, sides exchanged."""
    turned = values[..., SKELETONS[skeleton].mirror, :].copy()
    turned[..., 0] *= -1
    return turned
