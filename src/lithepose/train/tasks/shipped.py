"""Train the default lifter from motion capture seen by virtual cameras.

    lithepose train lithepose-81-9 --data FOLDER --out runs/default

`finish` writes the weights as they are shipped. On a GPU the windows are drawn there
(`lithepose.mocap.device_windows`), on a processor by NumPy in processes of their own
(`lithepose.mocap.windows`): the same windows, but for the random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.lifters import create_lifter
from lithepose.lifters.windows import CHANNELS, LIMBS
from lithepose.metrics.pose3d import mpjpe, p_mpjpe
from lithepose.mocap.device_windows import DeviceWindows
from lithepose.mocap.motions import Motions, read_motions, without_clips
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import Batch, WindowSettings, draw_batch
from lithepose.train.checkpoints import LAST, kept_weights
from lithepose.train.losses import joint_distance, velocity_distance
from lithepose.train.networks import begin_lifter
from lithepose.train.recipes.shipped import DEFAULT, ShippedRecipe
from lithepose.train.settings import RunSettings


def validation_windows(
    motions: Motions, recipe: ShippedRecipe, noise: DetectorNoise | None, count: int = 2048
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
    # Moved to a device once: a captured step must not move anything.
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


class WindowsOnDevice:
    """Windows drawn where the network is trained.

    Args:
        compiled: compile the drawing.
    """

    def __init__(
        self,
        motions: Motions,
        settings: WindowSettings,
        noise: DetectorNoise | None,
        compiled: bool,
    ):
        self.examples = Endless(len(motions.positions))
        self.clips = DeviceWindows(motions, settings, noise)
        self.make = torch.compile(self.clips.make) if compiled else self.clips.make

    @torch.no_grad()
    def draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Values and targets of so many windows, in float32."""
        self.clips.to(generator.device)
        with torch.autocast(generator.device.type, enabled=False):
            return self.make(*self.clips.numbers(count, generator))


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
        recipe: ShippedRecipe,
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
        self.windows: WindowsOnDevice | None = None
        if on_device:
            self.windows = WindowsOnDevice(train, recipe.clips, noise, compiled)
        drawn = _Drawn(train, recipe.clips, noise)
        self.examples: Endless | _Drawn = self.windows.examples if self.windows else drawn
        self.exact = validation_windows(validation, recipe, None)
        self.noisy = validation_windows(validation, recipe, noise) if noise else None
        self.error = weighted_loss(
            limb_weight=recipe.limb_weight, velocity_weight=recipe.velocity_weight
        )

    def build(self) -> nn.Module:
        model = create_lifter(self.recipe.network, **self.recipe.overrides)
        if self.weights is not None:
            begin_lifter(model, self.weights)
        return model

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        if self.windows is None:
            values, targets = batch["values"], batch["targets"]
        else:
            values, targets = self.windows.draw(len(batch["index"]), generator)
        return self.error(network(values).float(), targets)

    def validate(self, network: nn.Module) -> dict[str, float]:
        scores = score(network, self.exact)
        if self.noisy is not None:
            scores |= {f"noisy_{k}": v for k, v in score(network, self.noisy).items()}
        return scores


def task_on(
    recipe: ShippedRecipe, motions: Path, start: Path | None, settings: RunSettings
) -> LifterTask:
    """The task on a folder with `cmu17_train.npz` and `cmu17_val.npz` (docs/data/mocap.md).

    Windows are drawn on a GPU if the settings train on one. Sets the network's threads on a
    processor to one, which is best while anything else runs.
    """
    torch.set_num_threads(1)
    device = settings.device
    on_device = device.startswith("cuda") or (device == "auto" and torch.cuda.is_available())
    return LifterTask(
        recipe,
        without_clips(read_motions(motions / "cmu17_train.npz"), recipe.without),
        read_motions(motions / "cmu17_val.npz"),
        weights=start,
        on_device=on_device,
        compiled=on_device and settings.compiled,
    )


def trained_lifter(checkpoint: Path, recipe: ShippedRecipe = DEFAULT) -> nn.Module:
    """The weights of a run (`last.safetensors` or `best.safetensors`) as a lifter, in evaluation
    mode; its moving average, if there is one."""
    model = create_lifter(recipe.network, **recipe.overrides)
    model.load_state_dict(kept_weights(checkpoint))
    return model.eval()


def finish(recipe: ShippedRecipe, out: Path) -> list[Path]:
    """Write the lifter that a run ended with as it is shipped: safetensors and ONNX, stored in half
    precision.

    Args:
        out: folder of the run and of the files.
    Returns:
        The files.
    """
    from lithepose.deploy.export import export_onnx
    from lithepose.lifters.default import WEIGHTS
    from lithepose.lifters.weights import save_weights

    model = trained_lifter(out / LAST, recipe)
    metadata = {
        "name": WEIGHTS,
        "input": "x, y, confidence, log angular size; see lithepose.lifters.windows",
        "output": f"metres around the mid-hips for a stature of {STANDARD_HEIGHT_M} m",
        "recipe": {**recipe.described(), "optimisation": asdict(recipe.optimisation)},
        "data": "mocap.cs.cmu.edu, created with funding from NSF EIA-0196217",
        "licence": "Apache-2.0",
    }
    weights, network = out / f"{WEIGHTS}.safetensors", out / f"{WEIGHTS}.onnx"
    save_weights(weights, model, metadata, half=True)
    example = torch.zeros(2, recipe.clips.frames, 17, CHANNELS)
    generator = torch.Generator().manual_seed(1)
    example[..., :2] = torch.randn(2, recipe.clips.frames, 17, 2, generator=generator)
    example[..., 2] = 1
    export_onnx(model, network, example, metadata)
    return [weights, network]
