"""Train a pose network on synthetic people, drawn where it trains, and measure it on others.

No picture is ever stored: worker processes draw poses and cameras, the device that trains turns
them into pictures (`lithepose.synthetic.render`) and targets, so a run never sees a picture twice.

    lithepose train hevitpose-t-coco-synthetic --data mocap --out runs/synthetic --workers 8
    lithepose eval runs/synthetic --data mocap

Training, validation (`val`) and `test` have people, backdrops and recorded motions of their own.

Source: the targets and the loss are those of `lithepose.train.tasks.images`; the rest is our own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.arrays import Floats
from lithepose.detect.heatmaps import STRIDE, decode, heatmap_targets
from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.metrics.pose2d import pck
from lithepose.skeletons import skeleton_named
from lithepose.synthetic.crops import PLAIN, CropSettings, SyntheticCrops, crops_from
from lithepose.synthetic.figure_bank import FigureBank, build_bank
from lithepose.synthetic.render import RenderAssets, open_assets, render
from lithepose.tables import markdown
from lithepose.train.evaluation import EvaluationSettings
from lithepose.train.losses import heatmap_loss
from lithepose.train.networks import begin_pose_network, normalised
from lithepose.train.recipes.images import DATASETS, SyntheticRecipe
from lithepose.train.tasks.images import photograph_table

# Part -> the file of its motions (docs/data/mocap.md), and the seed of its people, poses by code
# and backdrops: nobody and nothing is in two parts.
PARTS = {
    "train": ("cmu17_train.npz", 20261126),
    "val": ("cmu17_val.npz", 7),
    "test": ("cmu17_test.npz", 11),
}
THRESHOLDS = (0.05, 0.1)  # shares of the longer side of a person's box
_TEST_BATCH = 64
_TEST_BACKDROPS = 64


def motion_file(root: Path | None, part: str) -> Path | None:
    """The motion file of a part in the folder; None without a folder.

    Raises:
        FileNotFoundError: it is not there. Told before people are built, which takes minutes.
    """
    if root is None:
        return None
    path = root / PARTS[part][0]
    if not path.is_file():
        raise FileNotFoundError(f"no motion file at {path}: docs/data/mocap.md says how to get it")
    return path


def crops_of(
    recipe: SyntheticRecipe, root: Path | None, part: str, processes: int | None
) -> tuple[SyntheticCrops, FigureBank]:
    """What draws the pictures of a part, and its people."""
    motions, seed = motion_file(root, part), PARTS[part][1]
    trained = part == "train"
    settings = replace(
        CropSettings() if trained else PLAIN,
        size=recipe.image_size,
        skeleton=POSE_NETWORKS[recipe.network].skeleton,
    )
    figures = recipe.figures if trained else recipe.test_figures
    bank = build_bank(figures, seed, processes=processes or os.cpu_count() or 1)
    crops = crops_from(
        bank,
        motions=motions,
        made=recipe.made_poses if trained else recipe.test_pictures,
        seed=seed,
        settings=settings,
        epoch=recipe.epoch,
    )
    return crops, bank


@dataclass(frozen=True, kw_only=True)
class SyntheticResults:
    """How well joints are placed in synthetic pictures.

    Joints count where they are in the picture, hidden ones too. PCK is the percentage of joints
    whose distance is within a share of the longer side of the person's box.

    Attributes:
        skeleton: the joint set.
        pictures: how many, each with one person who counts.
        mean: threshold of `THRESHOLDS` -> PCK over all joints.
        mean_seen: the same of joints that nothing hides.
        joints: threshold -> (J,) PCK of each joint, nan where none counts.
        counts: (J,) how many of each joint count.
        error: mean distance in percent of the box's longer side.
        error_px: mean distance in pixels of the crop.
        rules: what a reader must know, a line each.
    """

    skeleton: str
    pictures: int
    mean: Mapping[float, float]
    mean_seen: Mapping[float, float]
    joints: Mapping[float, Floats]
    counts: NDArray[np.int64]
    error: float
    error_px: float
    rules: tuple[str, ...] = ()

    def scores(self) -> dict[str, float]:
        """ "pck_0.05" and "pck_0.1", the same with "_seen", "error" and "error_px"."""
        return {
            **{f"pck_{t:g}": value for t, value in self.mean.items()},
            **{f"pck_{t:g}_seen": value for t, value in self.mean_seen.items()},
            "error": self.error,
            "error_px": self.error_px,
        }

    def as_markdown(self) -> str:
        """A row for each joint and one for all, and beneath them the rules."""
        rows = [
            (joint, {t: self.joints[t][at] for t in THRESHOLDS}, str(self.counts[at]))
            for at, joint in enumerate(skeleton_named(self.skeleton).joints)
        ]
        rows += [("all", self.mean, str(self.counts.sum()))]
        rows += [("all that are seen", self.mean_seen, "")]
        table = markdown(
            ["joint", *(f"PCK@{t:g} (%)" for t in THRESHOLDS), "counted"],
            [(name, *(f"{of[t]:.1f}" for t in THRESHOLDS), count) for name, of, count in rows],
            numbers=len(THRESHOLDS) + 1,
        )
        rules = (
            f"{self.pictures} pictures",
            f"mean distance {self.error:.1f} % of the box's longer side, {self.error_px:.1f} "
            "pixels of the crop",
            *self.rules,
        )
        return "\n".join(
            ["**Synthetic people**", "", table, "", *(f"- {rule}" for rule in rules), ""]
        )


@dataclass(frozen=True, kw_only=True)
class SyntheticPictures:
    """Pictures of a test with their truth.

    Attributes:
        images: (B, 3, H, W) bytes, on the device that drew them.
        joints: (B, J, 2) pixels, the centre of the first pixel at (0.5, 0.5).
        visible: (B, J) 2 seen, 1 hidden, 0 outside the picture.
        box: (B,) longer side of the person's box, pixels.
    """

    images: Tensor
    joints: Floats
    visible: NDArray[np.int64]
    box: Floats


class SyntheticTest:
    """Pictures of people who were not trained on, cut out by their boxes, the same each time.

    Args:
        recipe: what is tested; it says how many pictures and people, and the decoder.
        root: folder of the motion files; None for poses by code alone.
        part: "val" or "test", see `PARTS`.
        processes: that build the people; by default one per processor.
    Raises:
        FileNotFoundError: the motion file is missing.
        ValueError: there is no such part.
    """

    def __init__(
        self,
        recipe: SyntheticRecipe,
        root: Path | None,
        part: str = "test",
        *,
        processes: int | None = None,
    ):
        known = tuple(name for name in PARTS if name != "train")
        if part not in known:
            raise ValueError(f"no part {part!r} of synthetic pictures; known: {', '.join(known)}")
        self.recipe, self.part = recipe, part
        self.examples, self.bank = crops_of(recipe, root, part, processes)
        self._pictures: SyntheticPictures | None = None

    def measure(self, network: nn.Module) -> SyntheticResults:
        """Scores of a network in evaluation mode, on its device."""
        device = next(network.parameters()).device
        pictures = self.pictures(device)
        found = []
        with torch.no_grad():
            for part in pictures.images.split(_TEST_BATCH):
                heatmaps = network(normalised(part.to(device).float() / 255))
                points, _ = decode(heatmaps.float().cpu().numpy(), self.recipe.decoder)
                found.append(points * STRIDE + 0.5)
        results = self.score(np.concatenate(found), pictures)
        return replace(results, rules=(*results.rules, f"decoder: {self.recipe.decoder}"))

    def score(self, predicted: Floats, pictures: SyntheticPictures) -> SyntheticResults:
        """Scores of joints (B, J, 2) that anything has placed, in pixels as the pictures' are."""
        truth, visible, size = pictures.joints, pictures.visible, pictures.box
        counted = visible > 0
        within = {t: pck(predicted, truth, counted, size, t) for t in THRESHOLDS}
        distance = np.linalg.norm(predicted - truth, axis=-1)
        return SyntheticResults(
            skeleton=self.examples.settings.skeleton,
            pictures=len(truth),
            mean={t: mean for t, (mean, _) in within.items()},
            mean_seen={t: pck(predicted, truth, visible == 2, size, t)[0] for t in THRESHOLDS},
            joints={t: each for t, (_, each) in within.items()},
            counts=counted.sum(0),
            error=100 * float((distance / size[:, None])[counted].mean()),
            error_px=float(distance[counted].mean()),
            rules=(
                f"part {self.part}: people and backdrops of seed {PARTS[self.part][1]}, which the "
                "training has not seen",
                "crops by the true boxes; joints in the picture count, hidden ones too",
            ),
        )

    def pictures(self, device: torch.device) -> SyntheticPictures:
        """The pictures, drawn when they are first asked for."""
        if self._pictures is None:
            self._pictures = self._draw(device)
        return self._pictures

    def _draw(self, device: torch.device) -> SyntheticPictures:
        settings, seed = self.examples.settings, PARTS[self.part][1]
        backdrops = min(_TEST_BACKDROPS, self.recipe.backdrops)
        studio = open_assets(self.bank, device, backdrops=backdrops, seed=seed)
        generator = torch.Generator(device=device).manual_seed(seed)
        images, joints, visible, boxes = [], [], [], []
        for start in range(0, self.recipe.test_pictures, _TEST_BATCH):
            count = min(_TEST_BATCH, self.recipe.test_pictures - start)
            random = np.random.default_rng((seed, start))
            drawn = self.examples.draw(np.arange(count), random)
            batch = {name: torch.from_numpy(value).to(device) for name, value in drawn.items()}
            picture, at, seen = render(
                studio, batch, generator, size=settings.size, skeleton=settings.skeleton
            )
            images.append((255 * picture).round().to(torch.uint8))
            joints.append(at.cpu().numpy())
            visible.append(seen.cpu().numpy())
            boxes.append(drawn["box"])
        return SyntheticPictures(
            images=torch.cat(images),
            joints=np.concatenate(joints),
            visible=np.concatenate(visible).astype(np.int64),
            box=np.concatenate(boxes).astype(np.float64),
        )


# --- training ---------------------------------------------------------------------------------


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
        places, encoding = joints.float() - 0.5, self.recipe.encoding
        target, weights = heatmap_targets(
            torch, places, visible > 0, settings.size, encoding, device=joints.device
        )
        return heatmap_loss(network(normalised(images)), target, weights)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Scores of `SyntheticResults` on the part `val`."""
        return self.test.measure(network).scores()


def synthetic_tables(
    network: nn.Module, recipe: SyntheticRecipe, root: Path, settings: EvaluationSettings
) -> Iterator[str]:
    """The tables of a network trained on synthetic people, on such people or on photographs.

    Raises:
        ValueError: a protocol that its joints do not fit, or a setting that is of others.
    """
    joints = POSE_NETWORKS[recipe.network].skeleton
    known = ("synthetic", *(name for name, (own, *_) in DATASETS.items() if own == joints))
    if unknown := [name for name in settings.protocols if name not in known]:
        raise ValueError(
            f"{recipe.name} is not measured by {unknown[0]!r}; known: {', '.join(known)}"
        )
    for name in settings.protocols or known[:1]:
        if name != "synthetic":
            yield photograph_table(network, recipe, root, name, settings)
            continue
        # The rules of photographs do not apply.
        if settings.boxes or settings.flip:
            raise ValueError(
                "synthetic people are measured by their true boxes and without mirroring: leave "
                "boxes and flip out, or pass --protocol coco or mpii"
            )
        tested = replace(recipe, decoder=settings.decoder or recipe.decoder)
        test = SyntheticTest(tested, root, settings.split or "test")
        yield test.measure(network.to(settings.device)).as_markdown()
