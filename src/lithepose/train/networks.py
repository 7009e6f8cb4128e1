"""Networks as recipes train them: built, wrapped, begun with other weights, and their input."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from lithepose.detect.heatmaps import MEAN_RGB, STD_RGB
from lithepose.detect.weights import is_weights_file
from lithepose.lifters import create_lifter
from lithepose.lifters.hot import Hourglass
from lithepose.lifters.htnet import PoseRefiner, back_project
from lithepose.lifters.weights import load_into, load_weights
from lithepose.train.checkpoints import kept_weights
from lithepose.train.poseclr import take_over
from lithepose.train.recipes import LiftingRecipe


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


def begin_lifter(lifter: nn.Module, path: Path) -> None:
    """Load weights to begin with: of a whole lifter, or of an encoder that PoseCLR pre-trained."""
    encoder = load_weights(path).metadata.get("part") == "encoder"
    (take_over if encoder else load_into)(lifter, path)


def begin_pose_network(network: nn.Module, path: Path, name: str) -> None:
    """Load the weights of an earlier run, a checkpoint or the file it left, into a pose network.

    Args:
        name: the network's, for the error.

    Raises:
        FileNotFoundError, ValueError: there is no such file, or it does not fit.
    """
    state = load_weights(path).state if is_weights_file(path) else kept_weights(path)
    try:
        network.load_state_dict(state)
    except RuntimeError as error:
        raise ValueError(f"{path} does not fit {name}: {error}") from error


def normalised(images: Tensor) -> Tensor:
    """Crops (B, 3, H, W) in [0, 1] as a pose network's input, on their device."""
    # Numbers and not a tensor of them, which would have to be copied to the device, and waited for.
    channels = enumerate(zip(MEAN_RGB, STD_RGB, strict=True))
    return torch.stack([(images[:, c] - mean) / std for c, (mean, std) in channels], dim=1)
