"""Train a pose network on synthetic people, drawn where it trains.

`SyntheticRecipe` says everything that decides the result; `SYNTHETIC_RECIPES` loads without
PyTorch. No picture is ever stored: worker processes draw poses and cameras, the device that trains
turns them into pictures (`lithepose.data.rendering`) and targets, so a run never sees a picture
twice. The people and the recorded motions of the test are others than those of the training.

    from pathlib import Path
    from lithepose.train.engine import RunSettings, run
    from lithepose.train.synthetic_images import SYNTHETIC_RECIPES, SyntheticImageTask

    recipe = SYNTHETIC_RECIPES["hevitpose-t-coco-synthetic"]
    task = SyntheticImageTask(recipe, Path("mocap"))
    for progress in run(task, recipe.optimisation, RunSettings(workers=8), Path("runs/synthetic"),
                        described=described(recipe)):
        print(progress)

Source: the targets and the loss are those of `lithepose.train.images`; the rest is our own.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from lithepose.data.figure_bank import FigureBank, build_bank
from lithepose.data.synthetic_crops import PLAIN, CropSettings, SyntheticCrops, crops_from
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
from lithepose.train.images import heatmap_loss
from lithepose.train.settings import Optimisation

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from lithepose.data.rendering import Studio

TRAIN_MOTIONS, TEST_MOTIONS = "cmu17_train.npz", "cmu17_val.npz"
# Of people, poses by code and backdrops; nobody and nothing is in both.
TRAIN_SEED, TEST_SEED = 20261126, 7
_TEST_BATCH = 64


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
        test_figures, test_pictures: size of the test.
        encoding: of the targets, "msra" or "dark".
        decoder: of the heatmaps when tested, "quarter" or "dark".
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
    optimisation: Optimisation
    epoch: int = 100_000
    expected: tuple[()] = ()
    source: str = "ours"
    notes: tuple[str, ...] = ()
    task: str = "lithepose.train.synthetic_images:SyntheticImageTask"

    def __post_init__(self) -> None:
        for what, value, known in (
            ("pose network", self.network, tuple(POSE_NETWORKS)),
            ("encoding", self.encoding, get_args(Encoding)),
            ("decoder", self.decoder, get_args(Decoder)),
        ):
            if value not in known:
                raise ValueError(f"no {what} {value!r}; known: {', '.join(known)}")
        if "udp" in (geometry_of(self.encoding), geometry_of(self.decoder)):
            raise ValueError('synthetic targets are "msra" or "dark", not "udp"')
        for name in ("figures", "backdrops", "made_poses", "test_figures", "test_pictures"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")

    @property
    def image_size(self) -> tuple[int, int]:
        """Width and height of the crops, pixels."""
        width, height = self.overrides.get(
            "image_size", POSE_NETWORKS[self.network].config.image_size
        )
        return int(width), int(height)


# A million pictures in eight minutes of one H100, if it draws and trains 2500 a second.
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


def described(recipe: SyntheticRecipe) -> dict[str, Any]:
    """The recipe in values that JSON can hold; its `Optimisation` the engine writes itself."""
    values = asdict(recipe)
    del values["optimisation"]
    return values


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
        self.recipe, self.start = recipe, start
        processes = processes or os.cpu_count() or 1
        crops = CropSettings(
            size=recipe.image_size, skeleton=POSE_NETWORKS[recipe.network].skeleton
        )
        plain = replace(PLAIN, size=crops.size, skeleton=crops.skeleton)
        parts: dict[str, tuple[SyntheticCrops, FigureBank]] = {}
        for name, count, seed, settings in (
            (TRAIN_MOTIONS, recipe.figures, TRAIN_SEED, crops),
            (TEST_MOTIONS, recipe.test_figures, TEST_SEED, plain),
        ):
            motions = None if root is None else root / name
            bank = build_bank(count, seed, processes=processes)
            made = recipe.made_poses if settings is crops else recipe.test_pictures
            parts[name] = (
                crops_from(
                    bank, motions=motions, made=made, seed=seed, settings=settings,
                    epoch=recipe.epoch,
                ),
                bank,
            )  # fmt: skip
        self.examples, self.bank = parts[TRAIN_MOTIONS]
        self.test_examples, self.test_bank = parts[TEST_MOTIONS]
        self._studio: Studio | None = None
        self._test: tuple[Tensor, Tensor, Tensor, Tensor] | None = None

    def build(self) -> nn.Module:
        network = create_pose_network(self.recipe.network, **self.recipe.overrides)
        if self.start is not None:
            from lithepose.train.engine import kept_weights

            try:
                network.load_state_dict(kept_weights(self.start))
            except RuntimeError as error:
                raise ValueError(
                    f"{self.start} does not fit {self.recipe.network}: {error}"
                ) from error
        return network

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        """Mean squared error of the heatmaps of pictures drawn now."""
        from lithepose.data.rendering import open_studio, render

        settings = self.examples.settings
        device = batch["figure"].device
        if self._studio is None or self._studio.device != device:
            self._studio = open_studio(
                self.bank, device, backdrops=self.recipe.backdrops, seed=TRAIN_SEED
            )
        images, joints, visible = render(
            self._studio, batch, generator, size=settings.size, skeleton=settings.skeleton
        )
        target, weights = heatmap_targets(joints, visible, settings.size, self.recipe.encoding)
        return heatmap_loss(network(normalised(images)), target, weights)

    def validate(self, network: nn.Module) -> dict[str, float]:
        """On pictures of other people, the same each time, cut out by their boxes.

        Joints count where they are in the picture, hidden ones too.

        Returns:
            pck_0.05, pck_0.1: percent of joints within that share of the box's longer side;
            pck_0.05_seen: of those that nothing hides; error: mean distance in percent of it;
            error_px: in pixels of the crop.
        """
        import torch

        device = next(network.parameters()).device
        if self._test is None:
            self._test = self._draw_test(device)
        images, joints, visible, box = self._test
        found = []
        with torch.no_grad():
            for part in images.split(_TEST_BATCH):
                heatmaps = network(normalised(part.to(device).float() / 255))
                points, _ = decode(heatmaps.float().cpu().numpy(), self.recipe.decoder)
                found.append(points * STRIDE + 0.5)
        predicted = np.concatenate(found)
        truth, seen, size = joints.numpy(), visible.numpy(), box.numpy().astype(np.float64)
        counted = seen > 0
        distance = np.linalg.norm(predicted - truth, axis=-1)
        share = distance / size[:, None]
        return {
            "pck_0.05": pck(predicted, truth, counted, size, 0.05)[0],
            "pck_0.1": pck(predicted, truth, counted, size, 0.1)[0],
            "pck_0.05_seen": pck(predicted, truth, seen == 2, size, 0.05)[0],
            "error": 100 * float(share[counted].mean()),
            "error_px": float(distance[counted].mean()),
        }

    def _draw_test(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Images as bytes on the device; joints, visibility and boxes where NumPy reads them."""
        import torch

        from lithepose.data.rendering import open_studio, render

        settings = self.test_examples.settings
        backdrops = min(64, self.recipe.backdrops)
        studio = open_studio(self.test_bank, device, backdrops=backdrops, seed=TEST_SEED)
        generator = torch.Generator(device=device).manual_seed(TEST_SEED)
        images, joints, visible, boxes = [], [], [], []
        for start in range(0, self.recipe.test_pictures, _TEST_BATCH):
            count = min(_TEST_BATCH, self.recipe.test_pictures - start)
            random = np.random.default_rng((TEST_SEED, start))
            drawn = self.test_examples.draw(np.arange(count), random)
            batch = {name: torch.from_numpy(value).to(device) for name, value in drawn.items()}
            picture, at, seen = render(
                studio, batch, generator, size=settings.size, skeleton=settings.skeleton
            )
            images.append((255 * picture).round().to(torch.uint8))
            joints.append(at.cpu())
            visible.append(seen.cpu())
            boxes.append(batch["box"].cpu())
        return torch.cat(images), torch.cat(joints), torch.cat(visible), torch.cat(boxes)


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
