"""Train the default lifter from motion capture seen by virtual cameras.

    lithepose train lithepose-81-9 --data FOLDER --out runs/default

`Recipe` says everything that decides the result, `fit` follows it, and `finish` writes the weights
as they are shipped. On a GPU the windows are drawn there (`lithepose.mocap.device_windows`), on a
processor by NumPy in processes of their own (`lithepose.mocap.windows`): the same windows, but for
the random numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.lifters import create_lifter
from lithepose.lifters.weights import load_into
from lithepose.lifters.windows import CHANNELS, LIMBS
from lithepose.metrics.pose3d import mpjpe, p_mpjpe
from lithepose.mocap.device_windows import DeviceWindows
from lithepose.mocap.motions import Motions, read_motions, without_clips
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import Batch, WindowSettings, draw_batch
from lithepose.train.engine import Progress, kept_weights, run
from lithepose.train.losses import joint_distance, velocity_distance
from lithepose.train.settings import Optimisation, RunSettings


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """Everything that decides a trained lifter.

    Attributes:
        lifter: name in `lithepose.lifters.LIFTERS`.
        overrides: fields of its config that differ from the table.
        clips: how windows are drawn; `frames` and `targets` must be the lifter's.
        optimisation: how long and how to train; an example is a window.
        limb_weight: weight of the twelve limb joints in the loss, beside 1 for the others.
        velocity_weight: weight of the loss on steps from frame to frame.
        noise: add the measured detector noise.
        without: clips of the training motions that are left out.
    """

    lifter: str = "nanohtnet-81-9"
    overrides: Mapping[str, Any] = field(default_factory=dict)
    clips: WindowSettings = field(default_factory=WindowSettings)
    optimisation: Optimisation
    limb_weight: float = 2.0
    velocity_weight: float = 0.5
    noise: bool = True
    without: tuple[str, ...] = ()


# The shipped model's. Dropout is off: with every window drawn anew nothing is seen twice.
DEFAULT = Recipe(
    overrides={
        "in_channels": CHANNELS,
        "drop_path": (0.0, 0.0),
        "spatial_dropout": 0.0,
        "temporal_dropout": 0.0,
        "attention_dropout": 0.0,
    },
    optimisation=Optimisation(
        optimiser="muon",
        learning_rate=3e-3,
        betas=(0.9, 0.98),
        weight_decay=0.02,
        schedule="trapezoid",
        decay=0.4,
        steps=20_000,
        batch=1024,
        warmup=200,
        clip=1.0,
        average=0.999,
    ),
    # Elbows bent backwards in the first two, heads upside down in the others.
    without=("13_18", "14_23", "60_06", "60_07"),
)


def validation_windows(
    motions: Motions, recipe: Recipe, noise: DetectorNoise | None, count: int = 2048
) -> Batch:
    """Windows of other people, the same for every run: recorded bodies and limbs, known lens."""
    settings = replace(
        recipe.clips,
        redraw_bodies=False,
        exchange_arms=0.0,
        bend=0.0,
        focal_known=1.0,
        clean=0.0,
        fps=(25.0, 25.0001),
    )
    return draw_batch(motions, count, settings, noise, np.random.default_rng(20261121))


@torch.no_grad()
def score(model: nn.Module, batch: Batch) -> dict[str, float]:
    """MPJPE and P-MPJPE over the limb joints in millimetres, height known."""
    weight = next(model.parameters(), None)
    device = torch.device("cpu") if weight is None else weight.device
    parts = torch.from_numpy(batch.values).split(256)
    answers = [model(part.to(device)).float().cpu() for part in parts]
    predicted = torch.cat(answers).numpy()[..., LIMBS, :]
    middle = predicted.shape[1] // 2
    predicted, target = predicted[:, middle], batch.targets[:, middle][..., LIMBS, :]
    return {
        "mpjpe": 1000 * float(mpjpe(predicted, target).mean()),
        "p_mpjpe": 1000 * float(p_mpjpe(predicted, target).mean()),
    }


def weighted_loss(
    *, limb_weight: float, velocity_weight: float
) -> Callable[[Tensor, Tensor], Tensor]:
    """A loss of predicted and target poses (B, K, 17, 3); the fields of `Recipe` say what counts.

    The weights of the joints have mean 1.
    """
    weight = torch.ones(17)
    weight[torch.from_numpy(LIMBS)] = limb_weight
    weight[0] = 0  # the root is the origin of both
    weight *= len(weight) / weight.sum()
    # Moved to a device once: a recorded step must not move anything.
    moved: dict[torch.device, Tensor] = {}

    def loss(predicted: Tensor, target: Tensor) -> Tensor:
        if predicted.device not in moved:
            moved[predicted.device] = weight.to(predicted.device)
        at = moved[predicted.device]
        error = joint_distance(predicted, target, at)
        if predicted.shape[1] < 2:
            return error
        return error + velocity_weight * velocity_distance(predicted, target, at)

    return loss


@dataclass(frozen=True)
class _Drawn:
    """Windows drawn by NumPy; a class, so that it can be sent to another process."""

    motions: Motions
    settings: WindowSettings
    noise: DetectorNoise | None

    def __len__(self) -> int:
        return len(self.motions.positions)

    def draw(
        self, indices: NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        batch = draw_batch(self.motions, len(indices), self.settings, self.noise, random)
        return {"values": batch.values, "targets": batch.targets}


@dataclass(frozen=True)
class Endless:
    """Examples of a task that draws them on the device: only how many there are.

    Attributes:
        count: examples of a nominal epoch.
    """

    count: int

    def __len__(self) -> int:
        return self.count

    def draw(
        self, indices: NDArray[np.int64], random: np.random.Generator
    ) -> dict[str, NDArray[Any]]:
        del random
        return {"index": indices}


class LifterTask:
    """A recipe as a task of `lithepose.train.engine`.

    Args:
        train, validation: motions; without `validation` nothing is scored.
        weights: a file of `save_weights` to begin with instead of random weights.
        on_device: draw windows on the device that trains.
        compiled: compile the drawing on the device.
    """

    higher_is_better = False

    def __init__(
        self,
        recipe: Recipe,
        train: Motions,
        validation: Motions,
        *,
        weights: Path | None = None,
        on_device: bool,
        compiled: bool = False,
    ):
        self.recipe, self.weights = recipe, weights
        noise = DetectorNoise.measured() if recipe.noise else None
        self.score = "noisy_mpjpe" if noise else "mpjpe"
        self.clips: DeviceWindows | None = None
        if on_device:
            self.examples: Endless | _Drawn = Endless(len(train.positions))
            self.clips = DeviceWindows(train, recipe.clips, noise)
            self.make = torch.compile(self.clips.make) if compiled else self.clips.make
        else:
            self.examples = _Drawn(train, recipe.clips, noise)
        self.exact = validation_windows(validation, recipe, None)
        self.noisy = validation_windows(validation, recipe, noise) if noise else None
        self.error = weighted_loss(
            limb_weight=recipe.limb_weight, velocity_weight=recipe.velocity_weight
        )

    def build(self) -> nn.Module:
        model = create_lifter(self.recipe.lifter, **self.recipe.overrides)
        if self.weights is not None:
            load_into(model, self.weights)
        return model

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        if self.clips is None:
            values, targets = batch["values"], batch["targets"]
        else:
            self.clips.to(generator.device)
            with torch.no_grad(), torch.autocast(generator.device.type, enabled=False):
                numbers = self.clips.numbers(len(batch["index"]), generator)
                values, targets = self.make(*numbers)
        return self.error(network(values).float(), targets)

    def validate(self, network: nn.Module) -> dict[str, float]:
        scores = score(network, self.exact)
        if self.noisy is not None:
            scores |= {f"noisy_{k}": v for k, v in score(network, self.noisy).items()}
        return scores


def fit(
    motions: Path,
    out: Path,
    recipe: Recipe = DEFAULT,
    settings: RunSettings | None = None,
    *,
    weights: Path | None = None,
    threads: int = 1,
    report: Callable[[Progress], None] = lambda _: None,
) -> nn.Module:
    """Train by a recipe, resuming what `out` holds.

    Args:
        motions: folder with `cmu17_train.npz` and `cmu17_val.npz` (docs/data/mocap.md).
        out: folder for the checkpoint and the log.
        settings: where to train; the defaults without it.
        weights: a file of `save_weights` to begin with instead of random weights; of no effect on
            a run that is resumed.
        threads: CPU threads of the network. One is best while anything else runs.
        report: called after every validation.
    Returns:
        The network with averaged weights, in evaluation mode.
    Raises:
        ValueError: `weights` are of another network, or what `out` holds is of another run.
    """
    torch.set_num_threads(threads)
    settings = settings or RunSettings()
    train = without_clips(read_motions(motions / "cmu17_train.npz"), recipe.without)
    device = settings.device
    on_device = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    task = LifterTask(
        recipe,
        train,
        read_motions(motions / "cmu17_val.npz"),
        weights=weights,
        on_device=on_device,
        compiled=on_device and settings.compiled,
    )
    described = {k: v for k, v in asdict(recipe).items() if k != "optimisation"}
    for progress in run(task, recipe.optimisation, settings, out, described=described):
        report(progress)
    model = create_lifter(recipe.lifter, **recipe.overrides)
    model.load_state_dict(kept_weights(out / "last.safetensors"))
    return model.eval()


def finish(model: nn.Module, out: Path, recipe: Recipe = DEFAULT) -> list[Path]:
    """Write a trained lifter as it is shipped: safetensors and ONNX, stored in half precision.

    Args:
        model: as `fit` returns it.
        out: folder of the files.
    Returns:
        The files.
    """
    from lithepose.deploy.export import export_onnx
    from lithepose.lifters.default import WEIGHTS
    from lithepose.lifters.weights import save_weights

    metadata = {
        "name": WEIGHTS,
        "input": "x, y, confidence, log angular size; see lithepose.lifters.windows",
        "output": f"metres around the mid-hips for a stature of {STANDARD_HEIGHT_M} m",
        "recipe": asdict(recipe),
        "data": "mocap.cs.cmu.edu, created with funding from NSF EIA-0196217",
        "licence": "Apache-2.0",
    }
    weights, network = out / f"{WEIGHTS}.safetensors", out / f"{WEIGHTS}.onnx"
    save_weights(weights, model, metadata, half=True)
    example = torch.zeros(2, recipe.clips.frames, 17, CHANNELS)
    example[..., :2] = torch.randn(
        2, recipe.clips.frames, 17, 2, generator=torch.Generator().manual_seed(1)
    )
    example[..., 2] = 1
    export_onnx(model, network, example, metadata)
    return [weights, network]


class TrainedLifter:
    """A network in PyTorch as a lifter of windows (`lithepose.lifters.windows.WindowLifter`)."""

    def __init__(self, model: nn.Module, frames: int, targets: int):
        self.model, self.frames, self.targets = model.eval(), frames, targets

    def __call__(self, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        with torch.no_grad():
            return self.model(torch.from_numpy(values)).numpy()


def lifter_of_checkpoint(checkpoint: Path, recipe: Recipe = DEFAULT) -> TrainedLifter:
    """The weights of a run (`last.safetensors` or `best.safetensors`) as a lifter of windows."""
    model = create_lifter(recipe.lifter, **recipe.overrides)
    model.load_state_dict(kept_weights(checkpoint))
    return TrainedLifter(model, recipe.clips.frames, recipe.clips.targets)
