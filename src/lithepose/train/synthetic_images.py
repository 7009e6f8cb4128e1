"""Train a pose network on synthetic people, drawn where it trains.

`SyntheticRecipe` says everything that decides the result; `SYNTHETIC_RECIPES` loads without
PyTorch. No picture is ever stored: worker processes draw poses and cameras, the device that trains
turns them into pictures (`lithepose.synthetic.render`) and targets, so a run never sees a picture
twice. Training, validation (`val`) and `test` have people, backdrops and recorded motions of their
own.

    lithepose train hevitpose-t-coco-synthetic --data mocap --out runs/synthetic --workers 8
    lithepose eval runs/synthetic --data mocap

Source: the targets and the loss are those of `lithepose.train.images`; the rest is our own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np
from numpy.typing import NDArray

from lithepose.arrays import Floats
from lithepose.detect.heatmaps import (
    MEAN_RGB,
    SIGMA,
    STD_RGB,
    STRIDE,
    WINDOW,
    Decoder,
    Encoding,
    decode,
    geometry_of,
)
from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.metrics.pose2d import pck
from lithepose.skeletons import skeleton_named
from lithepose.synthetic.crops import PLAIN, CropSettings, SyntheticCrops, crops_from
from lithepose.synthetic.figure_bank import FigureBank, build_bank
from lithepose.train.images import begin_with, heatmap_loss
from lithepose.train.recipe_parts import check_choices, crop_size
from lithepose.train.settings import Optimisation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from lithepose.synthetic.render import RenderAssets


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


@dataclass(frozen=True, kw_only=True)
class SyntheticRecipe:
    """How a pose network is trained and tested on synthetic people.

    Attributes:
        name: key in `SYNTHETIC_RECIPES`.
        network: key in `lithepose.detect.sizes.POSE_NETWORKS`; it fixes joints and crop size.
        overrides: fields of its config that differ from the table's.
        figures: people to train on; each costs a fifth of a second of processor time at the start,
            on all processors, and 0.5 MB.
        backdrops: textures to train with.
        made_poses: poses by code, a quarter of those drawn where there are recorded ones.
        test_figures, test_pictures: size of the validation and of the test.
        encoding: of the targets, "msra" or "dark".
        decoder: of the heatmaps when tested, "quarter" or "dark".
        flip_test: average with the heatmaps of the mirrored crop when tested on photographs.
        optimisation: how it is trained; its batch counts pictures.
        epoch: pictures that are called an epoch.
        expected: published results; there are none.
        source: where the recipe is from.
        notes: what else a reader must know.
    """

    name: str
    network: str
    overrides: Mapping[str, Any] = field(default_factory=dict)
    figures: int = 768
    backdrops: int = 768
    made_poses: int = 20_000
    test_figures: int = 96
    test_pictures: int = 1024
    encoding: Encoding = "dark"
    decoder: Decoder = "dark"
    flip_test: bool = True
    optimisation: Optimisation
    epoch: int = 100_000
    expected: tuple[()] = ()
    source: str = "our own; docs/models/hevitpose.md has what it gives"
    notes: tuple[str, ...] = ()
    task: str = "lithepose.train.synthetic_images:SyntheticImageTask"

    def __post_init__(self) -> None:
        check_choices(
            ("pose network", self.network, POSE_NETWORKS),
            ("encoding", self.encoding, get_args(Encoding)),
            ("decoder", self.decoder, get_args(Decoder)),
        )
        if "udp" in (geometry_of(self.encoding), geometry_of(self.decoder)):
            raise ValueError('synthetic targets are "msra" or "dark", not "udp"')
        for name in ("figures", "backdrops", "made_poses", "test_figures", "test_pictures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the crops, pixels."""
        return crop_size(self.network, self.overrides)


# 1.15 million pictures; an H100 that it shared drew and trained 380 to 741 a second.
_OPTIMISATION = Optimisation(
    optimiser="adamw",
    learning_rate=1e-3,
    weight_decay=0.01,
    schedule="trapezoid",
    decay=0.5,
    steps=4500,
    batch=256,
    warmup=200,
    clip=1.0,
    average=0.999,
)
SYNTHETIC_RECIPES = {
    recipe.name: recipe
    for recipe in (
        SyntheticRecipe(name=f"{network}-synthetic", network=network, optimisation=_OPTIMISATION)
        for network in ("hevitpose-t-coco", "hevitpose-t-mpii")
    )
}


def _motions(root: Path | None, part: str) -> Path | None:
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


def _crops(
    recipe: SyntheticRecipe, root: Path | None, part: str, processes: int | None
) -> tuple[SyntheticCrops, FigureBank]:
    """What draws the pictures of a part, and its people."""
    motions, seed = _motions(root, part), PARTS[part][1]
    trained = part == "train"
    settings = replace(
        CropSettings() if trained else PLAIN,
        size=recipe.image_size,
        skeleton=POSE_NETWORKS[recipe.network].skeleton,
    )
    bank = build_bank(
        recipe.figures if trained else recipe.test_figures,
        seed,
        processes=processes or os.cpu_count() or 1,
    )
    crops = crops_from(
        bank,
        motions=motions,
        made=recipe.made_poses if trained else recipe.test_pictures,
        seed=seed,
        settings=settings,
        epoch=recipe.epoch,
    )
    return crops, bank


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
        _motions(root, "train")
        self.recipe, self.start = recipe, start
        self.test = SyntheticTest(recipe, root, "val", processes=processes)
        self.examples, self.bank = _crops(recipe, root, "train", processes)
        self._assets: RenderAssets | None = None

    def build(self) -> nn.Module:
        network = create_pose_network(self.recipe.network, **self.recipe.overrides)
        if self.start is not None:
            begin_with(network, self.start, self.recipe.network)
        return network

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the heatmaps of pictures drawn now."""
        from lithepose.synthetic.render import open_assets, render

        settings = self.examples.settings
        device = batch["figure"].device
        if self._assets is None or self._assets.device != device:
            self._assets = open_assets(
                self.bank, device, backdrops=self.recipe.backdrops, seed=PARTS["train"][1]
            )
        images, joints, visible = render(
            self._assets, batch, generator, size=settings.size, skeleton=settings.skeleton
        )
        target, weights = heatmap_targets(joints, visible, settings.size, self.recipe.encoding)
        return heatmap_loss(network(normalised(images)), target, weights)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """Scores of `SyntheticResults` on the part `val`."""
        return self.test.measure(network).scores()


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
        names = [f"PCK@{t:g} (%)" for t in THRESHOLDS]
        lines = [
            f"| joint | {' | '.join(names)} | counted |",
            f"| --- | {' | '.join(['---:'] * len(names))} | ---: |",
        ]
        for at, joint in enumerate(skeleton_named(self.skeleton).joints):
            each = " | ".join(f"{self.joints[t][at]:.1f}" for t in THRESHOLDS)
            lines.append(f"| {joint} | {each} | {self.counts[at]} |")
        for name, values in (("all", self.mean), ("all that are seen", self.mean_seen)):
            each = " | ".join(f"{values[t]:.1f}" for t in THRESHOLDS)
            lines.append(f"| {name} | {each} | {self.counts.sum() if name == 'all' else ''} |")
        rules = (
            f"{self.pictures} pictures",
            f"mean distance {self.error:.1f} % of the box's longer side, {self.error_px:.1f} "
            "pixels of the crop",
            *self.rules,
        )
        return "\n".join(
            ["**Synthetic people**", "", *lines, "", *(f"- {rule}" for rule in rules), ""]
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
        self.examples, self.bank = _crops(recipe, root, part, processes)
        self._pictures: SyntheticPictures | None = None

    def measure(self, network: nn.Module) -> SyntheticResults:
        """Scores of a network in evaluation mode, on its device."""
        import torch

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
        import torch

        from lithepose.synthetic.render import open_assets, render

        settings, seed = self.examples.settings, PARTS[self.part][1]
        backdrops = min(_TEST_BACKDROPS, self.recipe.backdrops)
        assets = open_assets(self.bank, device, backdrops=backdrops, seed=seed)
        generator = torch.Generator(device=device).manual_seed(seed)
        images, joints, visible, boxes = [], [], [], []
        for start in range(0, self.recipe.test_pictures, _TEST_BATCH):
            count = min(_TEST_BATCH, self.recipe.test_pictures - start)
            random = np.random.default_rng((seed, start))
            drawn = self.examples.draw(np.arange(count), random)
            batch = {name: torch.from_numpy(value).to(device) for name, value in drawn.items()}
            picture, at, seen = render(
                assets, batch, generator, size=settings.size, skeleton=settings.skeleton
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


def normalised(images: Tensor) -> Tensor:
    """Pictures (B, 3, H, W) in [0, 1] as the network's input, by ImageNet's mean and deviation."""
    mean = images.new_tensor(MEAN_RGB)[:, None, None]
    std = images.new_tensor(STD_RGB)[:, None, None]
    return (images - mean) / std


def heatmap_targets(
    joints: Tensor, visible: Tensor, size: tuple[int, int], encoding: Encoding
) -> tuple[Tensor, Tensor]:
    """Target heatmaps on the device: `lithepose.detect.heatmaps.encode` in PyTorch.

    Args:
        joints: (B, J, 2) pixels of the crop, the centre of the first pixel at (0.5, 0.5).
        visible: (B, J), 0 where a joint is outside the picture: its weight is then 0.
        size: (width, height) of the crop.
        encoding: "msra" or "dark".
    Returns:
        heatmaps (B, J, H / 4, W / 4) and weights (B, J), float32.
    """
    import torch

    weights = (visible > 0).float()
    # Heatmaps count pixels from the centre of the first one.
    middle = torch.where(weights[..., None] > 0, (joints.float() - 0.5) / STRIDE, 0.0)
    rounded = torch.floor(middle + 0.5)
    anchor = middle if encoding == "dark" else rounded
    sides = (size[0] // STRIDE, size[1] // STRIDE)
    limits = anchor.new_tensor(sides)
    weights = weights * ((anchor + WINDOW >= 0) & (anchor - WINDOW < limits)).all(-1)
    profiles = []  # the Gaussian is the product of its profiles in x and in y
    for axis, side in enumerate(sides):
        away = torch.arange(side, device=joints.device) - anchor[..., axis, None]
        profile = torch.exp(-(away**2) / (2 * SIGMA**2))
        if encoding == "msra":
            profile = profile * (away.abs() <= WINDOW)
        profiles.append(profile)
    along_x, along_y = profiles
    along_y = along_y * (weights > 0)[..., None]
    return along_y[..., :, None] * along_x[..., None, :], weights
