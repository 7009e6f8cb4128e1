"""Data sets' people in the numbers that a lifter takes and gives, and windows of them.

`read_sequences` gives every person before every camera (`NetworkSequence`) of a part of a recipe's
data set, `cut_windows` says which frames make the windows, and `SequenceExamples` draws batches of
them to train on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from lithepose.arrays import Flags, Floats, Indices
from lithepose.cameras import normalise_pixels
from lithepose.datasets import human36m, humaneva, mpi_inf_3dhp
from lithepose.datasets.human36m import ImageSpaceSplit, read_human36m, read_image_space
from lithepose.datasets.humaneva import read_humaneva
from lithepose.datasets.mpi_inf_3dhp import read_test, read_training
from lithepose.datasets.sequences import PoseSequence
from lithepose.lifters.hot import centre_of
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
    image_space = recipe.dataset == "mpi-inf-3dhp-image"
    return [
        network_sequence(sequence, recipe.skeleton, recipe.channels, image_space=image_space)
        for sequence in found
    ]


def mirrored(values: Floats, skeleton: str) -> Floats:
    """Inputs or poses (..., J, C) of the mirrored person: x negated, sides exchanged."""
    turned = values[..., SKELETONS[skeleton].mirror, :].copy()
    turned[..., 0] *= -1
    return turned


@dataclass(frozen=True, kw_only=True, eq=False)
class Windows:
    """Which frames make the windows of some sequences.

    Attributes:
        frames: T, frames of a window.
        start: (W,) its first frame, counted in the sequence; below 0 where the first frame is
            repeated.
        span: (W,) frames from its first to its last; less than T where it is stretched.
        sequence: (W,) which sequence it is of.
    """

    frames: int
    start: Indices
    span: Indices
    sequence: Indices

    def __len__(self) -> int:
        return len(self.start)

    def index(
        self, chosen: Indices, lengths: Indices, random: np.random.Generator | None = None
    ) -> Indices:
        """Frames of chosen windows, counted in their sequences: (n, T).

        Beyond the ends the first and the last frame are repeated. In a stretched window each place
        has the frame before it, or with `random` by chance the one after.
        """
        span = self.span[chosen, None]
        steps = np.arange(self.frames)[None]
        if (span < self.frames).any():
            even = steps * (span / self.frames)
            steps = np.floor(even).astype(np.int64)
            if random is not None:
                # Sorted, so that time never runs backwards.
                up = random.integers(2, size=steps.shape) * (even > steps)
                steps = np.sort(np.minimum(steps + up, span - 1), axis=1)
        frames = self.start[chosen, None] + steps
        return np.clip(frames, 0, lengths[self.sequence[chosen], None] - 1)


def cut_windows(lengths: Sequence[int], frames: int, stride: int, kind: str) -> Windows:
    """The windows of sequences of some lengths.

    Args:
        frames: T.
        stride: frames from a window to the next.
        kind: `"per_frame"`: one around each frame, or each `stride`th. `"padded"`: so many as cover
            the sequence, what hangs over shared by both ends (MixSTE's training, HoT). `"last"`:
            from the first frame on, the last window being the last T frames (MixSTE's test).
            `"inside"`: from the first frame on while they fit, the rest left out; a sequence
            shorter than a window is stretched to one (MotionBERT). `"inside-rest"`: as before, and
            the rest is stretched to a window too (MotionAGFormer on MPI-INF-3DHP).

    Raises:
        ValueError: another kind, or a stride below 1.
    """
    if stride < 1:
        raise ValueError(f"stride must be at least 1; found {stride}")
    starts, spans, owners = [], [], []
    for number, length in enumerate(lengths):
        span = None
        if kind == "per_frame":
            start = np.arange(0, length, stride) - centre_of(frames)
        elif kind == "padded":
            count = max(-(-(length - frames) // stride) + 1, 1)
            over = (count - 1) * stride + frames - length
            start = np.arange(count) * stride - over // 2
        elif kind == "last":
            start = np.arange(0, max(length - frames, 0) + 1, stride)
            if start[-1] + frames < length:
                start = np.append(start, length - frames)
        elif kind in ("inside", "inside-rest"):
            start = np.arange(0, length - frames + 1, stride)
            rest = start[-1] + stride if len(start) else 0
            if (kind == "inside-rest" and rest < length) or not len(start):
                span = np.full(len(start) + 1, frames)
                span[-1] = min(length - rest, frames)
                start = np.append(start, rest)
        else:
            known = "per_frame, padded, last, inside, inside-rest"
            raise ValueError(f"no windows of the kind {kind!r}; known: {known}")
        starts.append(start)
        spans.append(np.full(len(start), frames) if span is None else span)
        owners.append(np.full(len(start), number))
    return Windows(
        frames=frames,
        start=np.concatenate(starts).astype(np.int64),
        span=np.concatenate(spans).astype(np.int64),
        sequence=np.concatenate(owners).astype(np.int64),
    )


class SequenceExamples:
    """Training windows of sequences, one after another in memory.

    With `flip` "doubled" every window comes twice in an epoch, as it is and mirrored; with
    "random" once, mirrored by chance.

    Args:
        sequences: at least one, all with the same joints.
        recipe: its windows, stride, flip, and which frames of a window have targets.

    Raises:
        ValueError: there is nothing to cut windows from.
    """

    def __init__(self, sequences: Sequence[NetworkSequence], recipe: LiftingRecipe):
        if not sequences:
            raise ValueError("no sequences to train on: is it the training part of the data set?")
        self.skeleton, self.flip = recipe.skeleton, recipe.flip
        self.frames, self.targets_of_window = recipe.frames, recipe.targets
        self.rounded_by_chance = recipe.windows == "inside"
        self.lengths = np.array([len(sequence) for sequence in sequences])
        self.offset = np.concatenate([[0], np.cumsum(self.lengths)[:-1]])
        self.windows = cut_windows(
            self.lengths.tolist(), recipe.frames, recipe.stride, recipe.windows
        )
        # (2N, J, C), the second half mirrored: exchanging joints in every window takes longer than
        # all else.
        self.inputs = _both_ways([sequence.inputs for sequence in sequences], self.skeleton)
        self.targets = _both_ways([sequence.targets for sequence in sequences], self.skeleton)
        self.lens = lenses(sequences) if recipe.refine else None

    def __len__(self) -> int:
        return len(self.windows) * (2 if self.flip == "doubled" else 1)

    def draw(self, indices: Indices, random: np.random.Generator) -> dict[str, Floats]:
        """Windows by number.

        Returns:
            inputs (n, T, J, C) and targets (n, K, J, 3), the K frames in the middle; for a recipe
            with refinement also root_depth (n, T), focal (n, T, 2) and centre (n, T, 2).
        """
        indices = np.asarray(indices)
        window = indices % len(self.windows)
        chance = random if self.rounded_by_chance else None
        frames = self.windows.index(window, self.lengths, chance)
        sequence = self.windows.sequence[window]
        frames += self.offset[sequence, None]
        turned = indices >= len(self.windows)
        if self.flip == "random":
            turned = random.random(len(indices)) < 0.5
        first = (self.frames - self.targets_of_window) // 2
        middle = slice(first, first + self.targets_of_window)
        way = frames + (len(self.inputs) // 2) * turned[:, None]
        batch = {"inputs": self.inputs[way], "targets": self.targets[way[:, middle]]}
        if self.lens is not None:
            focal, centre, root_depth = self.lens
            centre = np.repeat(centre[sequence, None], self.frames, 1)
            centre[turned, :, 0] *= -1
            batch["focal"] = np.repeat(focal[sequence, None], self.frames, 1)
            batch["centre"] = centre
            batch["root_depth"] = root_depth[frames]
        return batch


def _both_ways(parts: Sequence[Floats], skeleton: str) -> Floats:
    """Sequences (T, J, C) one after another, and all of them once more mirrored: (2N, J, C)."""
    return np.concatenate([*parts, *(mirrored(part, skeleton) for part in parts)])


def lenses(sequences: Sequence[NetworkSequence]) -> tuple[Floats, Floats, Floats]:
    """Focal lengths (S, 2), principal points (S, 2) and depths of the root (N,)."""
    found: list[Lens] = []
    for sequence in sequences:
        if sequence.lens is None:
            raise ValueError(
                f"refinement needs calibrated cameras, and that of {sequence.subject} "
                f"{sequence.trial} is not known: train the recipe without it"
            )
        found.append(sequence.lens)
    return (
        np.stack([lens.focal for lens in found]),
        np.stack([lens.centre for lens in found]),
        np.concatenate([lens.root_depth for lens in found]),
    )
