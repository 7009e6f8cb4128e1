"""Train and evaluate lifters on the research data sets, by `lithepose.train.recipes`.

Data take three steps: `read_sequences` gives every person before every camera in the numbers that a
network takes and gives (`NetworkSequence`), `cut_windows` says which frames make the windows, and
`SequenceExamples` draws batches of them. `LiftingTask` is what the training engine is handed, and
`lift_sequences` lifts whole sequences for `lithepose.metrics.evaluate`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.arrays import Floats, Indices
from lithepose.cameras import normalise_pixels
from lithepose.datasets import human36m, humaneva, mpi_inf_3dhp
from lithepose.datasets.human36m import ImageSpaceSplit, read_human36m, read_image_space
from lithepose.datasets.humaneva import read_humaneva
from lithepose.datasets.mpi_inf_3dhp import read_test, read_training
from lithepose.datasets.sequences import PoseSequence
from lithepose.lifters import create_lifter
from lithepose.lifters.hot import Hourglass, centre_of
from lithepose.lifters.htnet import PoseRefiner, back_project
from lithepose.lifters.weights import load_into, load_weights
from lithepose.metrics.evaluate import LiftedSequence, Results, evaluate
from lithepose.metrics.protocols import (
    H36M17_FROM_3DHP,
    PROTOCOLS,
    WINDOWS,
    Protocol,
    protocol_named,
)
from lithepose.skeletons import SKELETONS, convert
from lithepose.train.poseclr import take_over
from lithepose.train.recipes import LiftingRecipe
from lithepose.train.video_losses import mean_distance, mixste_loss, motionbert_loss

log = logging.getLogger(__name__)

MM = 1000.0
# Windows that are lifted at once when a network is measured, and frames of all of them: a batch of
# short windows can be larger than one of long ones.
TEST_WINDOWS, TEST_FRAMES = 512, 8192
# While training, one centre frame in so many is measured: the best checkpoint is found as surely,
# and a window for each of half a million frames takes longer than an epoch.
VALIDATION_STEP = 16


# --- sequences in the numbers of a network ----------------------------------------------------


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
    counted: NDArray[np.bool_]
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


# --- windows ----------------------------------------------------------------------------------


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


def mirrored(values: Floats, skeleton: str) -> Floats:
    """Inputs or poses (..., J, C) of the mirrored person: x negated, sides exchanged."""
    turned = values[..., SKELETONS[skeleton].mirror, :].copy()
    turned[..., 0] *= -1
    return turned


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
        self.lens: tuple[Floats, Floats, Floats] | None = None
        if recipe.refine:
            self.lens = _lenses(sequences)

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


def _lenses(sequences: Sequence[NetworkSequence]) -> tuple[Floats, Floats, Floats]:
    """Focal lengths (S, 2), principal points (S, 2) and depths of the root (N,)."""
    lenses = []
    for sequence in sequences:
        if sequence.lens is None:
            raise ValueError(
                f"refinement needs calibrated cameras, and that of {sequence.subject} "
                f"{sequence.trial} is not known: train the recipe without it"
            )
        lenses.append(sequence.lens)
    return (
        np.stack([lens.focal for lens in lenses]),
        np.stack([lens.centre for lens in lenses]),
        np.concatenate([lens.root_depth for lens in lenses]),
    )


# --- networks as they are trained -------------------------------------------------------------


class KeptFrames(nn.Module):
    """An hourglass for the centre frame as it is trained: all kept frames have a loss.

    Source: HoT (arXiv 2311.12028), "TPC".
    """

    def __init__(self, lifter: Hourglass):
        super().__init__()
        self.lifter = lifter

    def forward(self, joints_2d: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, J, C) to the poses of f kept frames (B, f, J, 3) and which they are (B, f)."""
        lifted = self.lifter.lift(joints_2d)
        return lifted.poses, lifted.kept[-1]


class RefinedLifter(nn.Module):
    """A lifter of single frames with the refinement of HTNet, both trained.

    The refinement reads the true depth of the root and the camera: results of another protocol
    than those without.
    """

    def __init__(self, lifter: nn.Module):
        super().__init__()
        self.lifter = lifter
        self.refiner = PoseRefiner()

    def refine(
        self, poses: Tensor, joints_2d: Tensor, root_depth: Tensor, focal: Tensor, centre: Tensor
    ) -> Tensor:
        """Lifted poses (..., J, 3) refined by their 2D joints (..., J, 2)."""
        on_rays = back_project(poses, joints_2d[..., :2], root_depth, focal, centre)
        return self.refiner(poses, on_rays)

    def forward(
        self, joints_2d: Tensor, root_depth: Tensor, focal: Tensor, centre: Tensor
    ) -> Tensor:
        """(B, T, J, C) to (B, T, J, 3) metres; the others as of `back_project`."""
        return self.refine(self.lifter(joints_2d), joints_2d, root_depth, focal, centre)


def network_of_recipe(recipe: LiftingRecipe) -> nn.Module:
    """The network as the recipe trains it: a lifter, or one in `KeptFrames` or `RefinedLifter`.

    Raises:
        ValueError: the recipe's changes do not fit its network.
    """
    try:
        lifter = create_lifter(recipe.network, **recipe.overrides)
    except TypeError as error:
        raise ValueError(f"{recipe.name}: {error}") from error
    if recipe.refine:
        return RefinedLifter(lifter)
    if isinstance(lifter, Hourglass) and lifter.recoverer is None:
        return KeptFrames(lifter)
    return lifter


def lifter_of(network: nn.Module) -> nn.Module:
    """The lifter itself of a network as it is trained."""
    return network.lifter if isinstance(network, KeptFrames | RefinedLifter) else network  # type: ignore[return-value]


def half_square_of_mixste(predicted: Tensor, target: Tensor) -> Tensor:
    """Half the square of MixSTE's loss: its gradient is the loss's times its value, which is what
    the authors' training follows."""
    return 0.5 * mixste_loss(predicted, target).square()


# Name in recipes -> (predicted, target) (B, K, J, 3) -> scalar.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mpjpe": mean_distance,
    "mixste": mixste_loss,
    "mixste-squared": half_square_of_mixste,
    "motionbert": motionbert_loss,
}


class LiftingTask:
    """A recipe on a folder of data, as the training engine takes it.

    Args:
        recipe: what to train.
        root: folder of the data set's files.
        start: a weights file of `lithepose.lifters.weights.save_weights` to begin with, or an
            encoder that was pre-trained by `lithepose.train.poseclr`.

    Raises:
        FileNotFoundError: a file of the data set, or `start`, is missing.
        ValueError: the recipe, the data or `start` do not fit each other.
    """

    score = "mpjpe"
    higher_is_better = False

    def __init__(self, recipe: LiftingRecipe, root: Path, start: Path | None = None):
        if recipe.loss not in LOSSES:
            raise ValueError(f"no loss named {recipe.loss!r}; known: {', '.join(LOSSES)}")
        self.recipe, self.start = recipe, start
        self.examples = SequenceExamples(read_sequences(recipe, root, "train"), recipe)
        self.test = read_sequences(recipe, root, "test")
        if recipe.test_windows == "per_frame":
            self.test = [_thinned(sequence, VALIDATION_STEP) for sequence in self.test]
        rules = stated_protocol(recipe, protocol_named(recipe.protocol))
        quick = tuple(m for m in rules.metrics if m not in ("n_mpjpe", "mpjve", "acceleration"))
        # Only part of the frames of a test set is measured here, and after few steps a network may
        # still put the root anywhere.
        self.protocol = replace(
            rules, metrics=_with_mpjpe(quick), frames_expected=(), predicted_root="zero"
        )

    def build(self) -> nn.Module:
        network = network_of_recipe(self.recipe)
        if self.start is not None:
            encoder = load_weights(self.start).metadata.get("part") == "encoder"
            (take_over if encoder else load_into)(lifter_of(network), self.start)
        return network

    def loss(self, network: nn.Module, batch: dict[str, Tensor], generator: Any) -> Tensor:
        """Mean over the batch; chance is in the examples and the network, so `generator` is not
        read."""
        del generator
        target = batch["targets"]
        if self.recipe.refine:
            lens = (batch[name] for name in ("root_depth", "focal", "centre"))
            predicted = network(batch["inputs"], *lens)
        else:
            predicted = network(batch["inputs"])
        if isinstance(predicted, tuple):  # of KeptFrames
            predicted, kept = predicted
            target = torch.gather(target, 1, kept[..., None, None].expand_as(predicted))
        if predicted.shape != target.shape:
            raise ValueError(
                f"{self.recipe.name}: the network gives {tuple(predicted.shape)}, the windows have "
                f"targets {tuple(target.shape)}"
            )
        return LOSSES[self.recipe.loss](predicted.float(), target)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Totals of the recipe's protocol in millimetres and percent, over the test part: as the
        published recipes do, it also decides which checkpoint is the best."""
        results = evaluate(
            self.protocol,
            lift_sequences(network, self.recipe, self.test, protocol=self.protocol),
        )
        return dict(results.totals)


def _thinned(sequence: NetworkSequence, step: int) -> NetworkSequence:
    counted = np.zeros_like(sequence.counted)
    there = np.flatnonzero(sequence.counted)[::step]
    counted[there] = True
    return replace(sequence, counted=counted)


def _with_mpjpe(metrics: tuple[str, ...]) -> tuple[str, ...]:
    return metrics if "mpjpe" in metrics else ("mpjpe", *metrics)


# --- evaluation -------------------------------------------------------------------------------

# Recipe's 2D -> how a protocol calls it.
KEYPOINTS = {
    "cpn_ft_h36m_dbb": "cpn",
    "gt": "projected",
    "stacked_hourglass": "stacked_hourglass",
    "orthographic": "orthographic",
    "annotated": "annotated",
    "detectron_pt_coco": "mask_rcnn",
}


def stated_protocol(recipe: LiftingRecipe, protocol: Protocol) -> Protocol:
    """The protocol with what it states of a result put right: 2D, flip averaging, training data,
    windows, and, for a recipe with refinement, that it knows the camera and the depth of the root.
    """
    trained = PROTOCOLS[recipe.protocol]
    notes = tuple(note for note in protocol.notes if note not in WINDOWS.values())
    if recipe.frames > 1:
        notes = (WINDOWS[recipe.test_windows], *notes)
    if recipe.refine:
        notes = (*notes, "refined with the true depth of the root and the camera's intrinsics")
    if recipe.dataset == "human36m-image" and recipe.keypoints == "orthographic":
        notes = (*notes, "2D and 3D are the same numbers in x and y")
    return replace(
        protocol,
        keypoints=KEYPOINTS.get(recipe.keypoints, protocol.keypoints)
        if trained.dataset == protocol.dataset
        else protocol.keypoints,
        flip_test=recipe.flip_test,
        train=protocol.train if trained.dataset == protocol.dataset else f"{trained.dataset} only",
        notes=notes,
    )


def read_for_protocol(
    recipe: LiftingRecipe, protocol: Protocol, root: Path
) -> list[NetworkSequence]:
    """The test part of the protocol's data set in the numbers of the recipe's network.

    Raises:
        FileNotFoundError: a file of the data set is missing.
        ValueError: the network cannot be measured on it: it gives other joints or another target.
    """
    trained = PROTOCOLS[recipe.protocol]
    if protocol.dataset == trained.dataset:
        return read_sequences(recipe, root, "test")
    if protocol.dataset != "MPI-INF-3DHP" or recipe.skeleton != human36m.SKELETON:
        raise ValueError(
            f"{recipe.name} was trained on {trained.dataset} with the joints of {recipe.skeleton}: "
            f"it cannot be measured by {protocol.name}, on {protocol.dataset}"
        )
    if recipe.dataset.endswith("-image"):
        raise ValueError(
            f"{recipe.name} gives poses in the scale of the picture, which only its own data set "
            f"turns into metres: it cannot be measured by {protocol.name}"
        )
    return [
        network_sequence(sequence, recipe.skeleton, recipe.channels)
        for sequence in read_test(root).sequences()
    ]


@torch.no_grad()
def lift_sequences(
    network: nn.Module,
    recipe: LiftingRecipe,
    sequences: Iterable[NetworkSequence],
    *,
    protocol: Protocol | None = None,
) -> Iterator[LiftedSequence]:
    """Lift whole sequences as the recipe's tests do: its windows, averaged with the mirrored input
    if it says so.

    Args:
        network: as the recipe trains it or the lifter alone, in evaluation mode, on any device.
        sequences: of `read_sequences` or `read_for_protocol`.
        protocol: gives the joint order, and whether windows are measured one by one
            (`windows="as_given"`) or every frame once; the recipe's own by default.

    Yields:
        One per sequence, or one per window, in the order given: metres, relative to the root.
        Frames that no window covers are not valid.
    """
    protocol = protocol or protocol_named(recipe.protocol)
    for sequence in sequences:
        windows, places = _test_windows(sequence, recipe)
        if not len(windows):
            poses = np.zeros_like(sequence.truth)
            yield _lifted(sequence, poses, np.zeros(len(sequence), bool), protocol)
            continue
        frames = windows.index(np.arange(len(windows)), np.array([len(sequence)]))  # (W, T)
        size = max(1, min(TEST_WINDOWS, TEST_FRAMES // recipe.frames))
        parts = [
            _lift_windows(network, recipe, sequence, frames[i : i + size])
            for i in range(0, len(frames), size)
        ]
        poses = np.concatenate(parts)  # (W, K, J, 3)
        if places is not None:
            # One frame of each window counts, the middle one.
            whole = np.zeros_like(sequence.truth)
            whole[places] = poses[:, centre_of(poses.shape[1])]
            valid = np.zeros(len(sequence), bool)
            valid[places] = True
            yield _lifted(sequence, whole, valid & sequence.counted, protocol)
        elif protocol.windows == "as_given":
            for index, pose in zip(frames, poses, strict=True):
                yield _lifted(sequence, pose, sequence.counted[index], protocol, index)
        else:
            whole, valid = _stitched(poses, frames, len(sequence), recipe.test_windows == "inside")
            yield _lifted(sequence, whole, valid & sequence.counted, protocol)


def _test_windows(
    sequence: NetworkSequence, recipe: LiftingRecipe
) -> tuple[Windows, Indices | None]:
    """Windows to lift, and for those around single frames which frames these are."""
    stride = 1 if recipe.test_windows == "per_frame" else recipe.frames
    windows = cut_windows([len(sequence)], recipe.frames, stride, recipe.test_windows)
    if recipe.test_windows != "per_frame":
        return windows, None
    places = np.flatnonzero(sequence.counted)
    return replace(
        windows,
        start=windows.start[places],
        span=windows.span[places],
        sequence=windows.sequence[places],
    ), places


def _lift_windows(
    network: nn.Module, recipe: LiftingRecipe, sequence: NetworkSequence, frames: Indices
) -> Floats:
    """Poses (W, K, J, 3) in the network's unit of windows of frames (W, T)."""
    device = next(network.parameters()).device
    values = sequence.inputs[frames]
    lifter = lifter_of(network)

    def on_device(array: Floats) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array, np.float32)).to(device)

    straight = on_device(values)
    turned = on_device(mirrored(values, sequence.skeleton)) if recipe.flip_test else None
    if isinstance(lifter, Hourglass) and lifter.recoverer is None:
        # The mirrored clip keeps the same frames, so that the poses can be averaged one by one.
        lifted = lifter.lift(straight)
        poses = _averaged(
            lifted.poses,
            None if turned is None else lifter.lift(turned, kept=lifted.kept).poses,
            sequence.skeleton,
        )
        centre = (lifted.kept[-1] < centre_of(recipe.frames)).sum(dim=1)
        poses = poses[torch.arange(len(poses), device=device), centre].unsqueeze(1)
    else:
        poses = _averaged(
            lifter(straight), None if turned is None else lifter(turned), sequence.skeleton
        )
    if isinstance(network, RefinedLifter):
        focal, centre, root_depth = _lenses([sequence])
        depth = on_device(root_depth[frames])
        one = (1, 1, 2)
        poses = network.refine(
            poses,
            straight,
            depth,
            on_device(focal).reshape(one).expand(*frames.shape, 2),
            on_device(centre).reshape(one).expand(*frames.shape, 2),
        )
    return poses.float().cpu().numpy()


def _averaged(straight: Tensor, turned: Tensor | None, skeleton: str) -> Tensor:
    if turned is None:
        return straight
    back = turned[..., list(SKELETONS[skeleton].mirror), :] * turned.new_tensor([-1.0, 1.0, 1.0])
    return (straight + back) / 2


def _stitched(
    poses: Floats, frames: Indices, length: int, mean: bool
) -> tuple[Floats, NDArray[np.bool_]]:
    """Windows (W, T, J, 3) of frames (W, T) as one sequence, and which frames are covered.

    Where windows overlap, the mean counts, or the earlier window.
    """
    flat, index = poses.reshape(-1, *poses.shape[2:]), frames.ravel()
    whole = np.zeros((length, *poses.shape[2:]), np.float32)
    count = np.bincount(index, minlength=length)
    if mean:
        np.add.at(whole, index, flat)
        whole /= np.maximum(count, 1)[:, None, None]
    else:
        whole[index[::-1]] = flat[::-1]  # of several writes to one place the last one stays
    return whole, count > 0


def _lifted(
    sequence: NetworkSequence,
    poses: Floats,
    valid: NDArray[np.bool_],
    protocol: Protocol,
    frames: Indices | None = None,
) -> LiftedSequence:
    """Poses in the network's unit and order as metres in the protocol's order."""
    metres = sequence.metres if frames is None else sequence.metres[frames]
    truth = sequence.truth if frames is None else sequence.truth[frames]
    metric = poses * metres[:, None, None]
    if protocol.predicted_root == "zero":
        metric[:, SKELETONS[sequence.skeleton].root] = 0
    return LiftedSequence(
        subject=sequence.subject,
        trial=sequence.trial,
        camera=sequence.view,
        predicted=reordered(metric, sequence.skeleton, protocol.skeleton),
        target=reordered(truth, sequence.skeleton, protocol.skeleton),
        valid=valid,
        fps=sequence.fps,
    )


def evaluate_lifter(
    network: nn.Module, recipe: LiftingRecipe, root: Path, protocol: str | None = None
) -> Results:
    """Measure a network of a recipe by a protocol of the published tables.

    Args:
        network: as the recipe trains it, or the lifter alone, in evaluation mode.
        root: folder with the files of the protocol's data set.
        protocol: key in `PROTOCOLS`; the recipe's own by default.

    Raises:
        FileNotFoundError: a file of the data set is missing.
        ValueError: no such protocol, or the network cannot be measured by it.
    """
    rules = protocol_named(protocol or recipe.protocol)
    sequences = read_for_protocol(recipe, rules, root)
    stated = stated_protocol(recipe, rules)
    return evaluate(stated, lift_sequences(network, recipe, sequences, protocol=stated))
