"""Train lifters on the research data sets, by the recipes of `lithepose.train.recipes.lifting`, and
measure them there as papers do.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lithepose.arrays import Flags, Floats, Indices
from lithepose.datasets import human36m
from lithepose.datasets.mpi_inf_3dhp import read_test
from lithepose.lifters.hot import Hourglass, centre_of
from lithepose.metrics.evaluate import ROOT_REACH_M, FarRootError, LiftedSequence, Results, evaluate
from lithepose.metrics.protocols import PROTOCOLS, WINDOWS, Protocol, protocol_named
from lithepose.skeletons import SKELETONS
from lithepose.train.evaluation import EvaluationSettings
from lithepose.train.losses import LOSSES
from lithepose.train.networks import RefinedLifter, begin_lifter, lifter_of, network_of_recipe
from lithepose.train.recipes import LiftingRecipe
from lithepose.train.windows import (
    NetworkSequence,
    SequenceExamples,
    Windows,
    cut_windows,
    lenses,
    mirrored,
    network_sequence,
    read_sequences,
    reordered,
)

# While training, one centre frame in so many is measured: the best checkpoint is found as surely,
# and a window for each of half a million frames takes longer than an epoch.
VALIDATION_STEP = 16
# Windows that are lifted at once when a network is measured, and frames of all of them: a batch of
# short windows can be larger than one of long ones.
TEST_WINDOWS, TEST_FRAMES = 512, 8192

# Recipe's 2D -> how a protocol calls it.
KEYPOINTS = {
    "cpn_ft_h36m_dbb": "cpn",
    "gt": "projected",
    "stacked_hourglass": "stacked_hourglass",
    "orthographic": "orthographic",
    "annotated": "annotated",
    "detectron_pt_coco": "mask_rcnn",
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
        if "mpjpe" not in quick:
            quick = ("mpjpe", *quick)
        # Only part of the frames of a test set is measured here, and after few steps a network may
        # still put the root anywhere.
        self.protocol = replace(rules, metrics=quick, frames_expected=(), predicted_root="zero")

    def build(self) -> nn.Module:
        network = network_of_recipe(self.recipe)
        if self.start is not None:
            begin_lifter(lifter_of(network), self.start)
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
        lifted = lift_sequences(network, self.recipe, self.test, protocol=self.protocol)
        return dict(evaluate(self.protocol, lifted).totals)


def _thinned(sequence: NetworkSequence, step: int) -> NetworkSequence:
    counted = np.zeros_like(sequence.counted)
    counted[np.flatnonzero(sequence.counted)[::step]] = True
    return replace(sequence, counted=counted)


# --- evaluation -------------------------------------------------------------------------------


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
    stated = replace(protocol, flip_test=recipe.flip_test, notes=notes)
    if trained.dataset != protocol.dataset:
        return replace(stated, train=f"{trained.dataset} only")
    return replace(stated, keypoints=KEYPOINTS.get(recipe.keypoints, protocol.keypoints))


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
        *lens, root_depth = lenses([sequence])
        focal, centre = (on_device(part).reshape(1, 1, 2).expand(*frames.shape, 2) for part in lens)
        poses = network.refine(poses, straight, on_device(root_depth[frames]), focal, centre)
    return poses.float().cpu().numpy()


def _averaged(straight: Tensor, turned: Tensor | None, skeleton: str) -> Tensor:
    if turned is None:
        return straight
    back = turned[..., list(SKELETONS[skeleton].mirror), :] * turned.new_tensor([-1.0, 1.0, 1.0])
    return (straight + back) / 2


def _stitched(poses: Floats, frames: Indices, length: int, mean: bool) -> tuple[Floats, Flags]:
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
    valid: Flags,
    protocol: Protocol,
    frames: Indices | None = None,
) -> LiftedSequence:
    """Poses in the network's unit and order as metres in the protocol's order."""
    whole = slice(None) if frames is None else frames
    metres, truth = sequence.metres[whole], sequence.truth[whole]
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


def lifter_tables(
    network: nn.Module, recipe: LiftingRecipe, root: Path, settings: EvaluationSettings
) -> Iterator[str]:
    """The tables of a lifter by the protocols asked for, or by its recipe's own.

    Raises:
        ValueError: a setting is of pose networks, or the network is hardly trained and the protocol
            compares its root.
        As `evaluate_lifter` otherwise.
    """
    if settings.split or settings.boxes or settings.decoder:
        raise ValueError(
            f"{recipe.name} is a lifter: split, boxes and decoder are of pose networks"
        )
    if settings.windows and recipe.test_windows == "per_frame":
        raise ValueError(
            f"{recipe.name} gives the centre of a window and is tested with one around every "
            "frame: leave windows out"
        )
    network = network.to(settings.device)
    tested = replace(
        recipe,
        flip_test=recipe.flip_test if settings.flip is None else settings.flip,
        test_windows=settings.windows or recipe.test_windows,
    )
    for name in settings.protocols or (recipe.protocol,):
        yield _by_protocol(network, tested, root, name)


def _by_protocol(network: nn.Module, recipe: LiftingRecipe, root: Path, name: str) -> str:
    """The table of a lifter by one protocol."""
    rules = protocol_named(name)
    try:
        return evaluate_lifter(network, recipe, root, name).as_markdown()
    except FarRootError as error:
        if rules.predicted_root != "keep":
            raise
        # Its own words are for whoever measures poses of their own; here the network gave them.
        alike = (other for other in PROTOCOLS.values() if other.dataset == rules.dataset)
        others = [other.name for other in alike if other.predicted_root == "zero"]
        instead = f", or measure it by {others[0]}, which sets the root to zero" if others else ""
        raise ValueError(
            f"{name} measures the root where the network puts it, and this one puts it more than "
            f"{ROOT_REACH_M} m from where it belongs, as it does after few steps of training: "
            f"train it longer{instead}"
        ) from error
