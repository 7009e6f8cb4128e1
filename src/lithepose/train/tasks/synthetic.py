"""Train a pose network on synthetic people, drawn where it trains.

No picture is ever stored: worker processes draw poses and cameras, the device that trains turns
them into pictures (`lithepose.synthetic.render`) and targets, so a run never sees a picture twice.

    lithepose train hevitpose-t-coco-synthetic --data mocap --out runs/synthetic --workers 8
    lithepose eval runs/synthetic --data mocap

Source: the targets and the loss are those of `lithepose.train.tasks.images`; the rest is our own.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lithepose.detect.heatmaps import heatmap_targets
from lithepose.detect.sizes import create_pose_network
from lithepose.synthetic.render import RenderAssets, open_assets, render
from lithepose.train.evaluation.synthetic import PARTS, SyntheticTest, crops_of, motion_file
from lithepose.train.losses import heatmap_loss
from lithepose.train.networks import begin_pose_network, normalised
from lithepose.train.recipes.synthetic import SyntheticRecipe


class SyntheticImageTask:
    """A recipe as the training engine takes it.

    Args:
        recipe: what to train.
        root: folder with `cmu17_train.npz` and `cmu17_val.npz` (docs/data/mocap.md); None trains
            and tests on poses by code alone.
        start: weights of an earlier run to begin with.
        processes: that build the people; by default one per processor.
    Raises:
        FileNotFoundError: a motion file, or `start`, is missing.
    """

    higher_is_better = True
    score = "pck_0.05"

    def __init__(
        self,
        recipe: SyntheticRecipe,
        root: Path | None,
        start: Path | None = None,
        *,
        processes: int | None = None,
    ):
        if start is not None and not start.is_file():
            raise FileNotFoundError(f"no weights at {start} to begin with")
        motion_file(root, "train")
        self.recipe, self.start = recipe, start
        self.test = SyntheticTest(recipe, root, "val", processes=processes)
        self.examples, self.bank = crops_of(recipe, root, "train", processes)
        self._studio: RenderAssets | None = None

    def build(self) -> nn.Module:
        network = create_pose_network(self.recipe.network, **self.recipe.overrides)
        if self.start is not None:
            begin_pose_network(network, self.start, self.recipe.network)
        return network

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the heatmaps of pictures drawn now."""
        settings = self.examples.settings
        device = batch["figure"].device
        if self._studio is None or self._studio.device != device:
            self._studio = open_assets(
                self.bank, device, backdrops=self.recipe.backdrops, seed=PARTS["train"][1]
            )
        images, joints, visible = render(
            self._studio, batch, generator, size=settings.size, skeleton=settings.skeleton
        )
        # Heatmaps count pixels from the centre of the first one.
        target, weights = heatmap_targets(
            torch,
            joints.float() - 0.5,
            visible > 0,
            settings.size,
            self.recipe.encoding,
            device=joints.device,
        )
        return heatmap_loss(network(normalised(images)), target, weights)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Scores of `SyntheticResults` on the part `val`."""
        return self.test.measure(network).scores()
