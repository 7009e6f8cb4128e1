"""Train lifters on the research data sets, by the recipes of `lithepose.train.recipes.lifting`."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lithepose.metrics.evaluate import evaluate
from lithepose.metrics.protocols import protocol_named
from lithepose.train.evaluation.lifters import lift_sequences, stated_protocol
from lithepose.train.losses import LOSSES
from lithepose.train.networks import begin_lifter, lifter_of, network_of_recipe
from lithepose.train.recipes import LiftingRecipe
from lithepose.train.sequences import NetworkSequence, read_sequences
from lithepose.train.windows import SequenceExamples

# While training, one centre frame in so many is measured: the best checkpoint is found as surely,
# and a window for each of half a million frames takes longer than an epoch.
VALIDATION_STEP = 16


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
