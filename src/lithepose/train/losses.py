"""Losses of lifters and of pose networks: pure functions.

Poses are (B, T, J, 3), relative to the root joint. Distances have the unit of the poses; each
result is a mean and has no axes.

Source: `mixste_loss`, Zhang et al., MixSTE (arXiv 2203.00859), as in the code of HoT;
`motionbert_loss`, Zhu et al., MotionBERT (arXiv 2210.06551), and its code, whose recipe for
Human3.6M gives its other losses (of limbs, angles and the image) no weight.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

# Legs and arms count more the further they are from the trunk. Not of mean 1, as published.
MIXSTE_JOINT_WEIGHTS = (1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4)


def joint_distance(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean distance of joints; `weight` (J,) should have mean 1."""
    return ((predicted - target).norm(dim=-1) * weight).mean()


def velocity_distance(predicted: Tensor, target: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean distance of the joints' steps from frame to frame."""
    return joint_distance(predicted.diff(dim=1), target.diff(dim=1), weight)


def mean_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean distance of joints (MPJPE)."""
    return joint_distance(predicted, target, predicted.new_ones(()))


def mean_velocity_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean distance of the joints' steps from frame to frame (MPJVE)."""
    return velocity_distance(predicted, target, predicted.new_ones(()))


def step_energy(predicted: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean square of the coordinates' steps from frame to frame: (J,) weights. Small
    where poses are smooth; knows no target."""
    return (predicted.diff(dim=1).square() * weight.unsqueeze(-1)).mean()


def mixste_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """The loss of MixSTE and of HoT around it: weighted distance, half the weighted step energy
    and twice the velocity distance, for 17 joints in metres.

    MixSTE's own training multiplies the gradient of this by its value; HoT's does not.
    """
    weight = predicted.new_tensor(MIXSTE_JOINT_WEIGHTS)
    return (
        joint_distance(predicted, target, weight)
        + 0.5 * step_energy(predicted, weight)
        + 2.0 * mean_velocity_distance(predicted, target)
    )


def motionbert_loss(predicted: Tensor, target: Tensor) -> Tensor:
    """The loss of MotionBERT on Human3.6M, and of MotionAGFormer: distance, half the distance
    after scaling and 20 times the velocity distance."""
    return (
        mean_distance(predicted, target)
        + 0.5 * scaled_distance(predicted, target)
        + 20.0 * mean_velocity_distance(predicted, target)
    )


def scaled_distance(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean distance of joints after each predicted pose is scaled to fit its target best
    (N-MPJPE)."""
    fit = (target * predicted).sum(dim=(-2, -1), keepdim=True)
    scale = fit / predicted.square().sum(dim=(-2, -1), keepdim=True)
    return mean_distance(scale * predicted, target)


def half_square_of_mixste(predicted: Tensor, target: Tensor) -> Tensor:
    """Half the square of MixSTE's loss: its gradient is the loss's times its value, which is what
    the authors' training follows."""
    return 0.5 * mixste_loss(predicted, target).square()


def heatmap_loss(predicted: Tensor, target: Tensor, weights: Tensor) -> Tensor:
    """Mean squared error over people, joints and pixels, squares weighted by joint.

    Joints of weight 0 count as zeros in the mean. So MMPose has it; HRNet's own code weights before
    it squares and takes a half.

    Args:
        predicted, target: (B, J, H, W).
        weights: (B, J).
    """
    return ((predicted.float() - target) ** 2 * weights[..., None, None]).mean()


# Name in recipes -> (predicted, target) (B, K, J, 3) -> scalar.
LOSSES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mpjpe": mean_distance,
    "mixste": mixste_loss,
    "mixste-squared": half_square_of_mixste,
    "motionbert": motionbert_loss,
}
