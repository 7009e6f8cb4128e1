"""Losses of lifters and of pose networks: pure functions.

Poses are (B, T, J, 3), relative to the root joint. Distances have the unit of the poses; each
result is a mean and has no axes.

Source: `mixste_loss`, Zhang et al., MixSTE (arXiv 2203.00859), as in the code of HoT;
`motionbert_loss`, Zhu et al., MotionBERT (arXiv 2210.06551), and its code, whose recipe for
Human3.6M gives its other losses (of limbs, angles and the image) no weight.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

# Legs and arms count more the further they are from the trunk. Not of mean 1, as published.
MIXSTE_JOINT_WEIGHTS = (1, 1, 2.5, 2.5, 1, 2.5, 2.5, 1, 1, 1, 1.5, 1.5, 4, 4, 1.5, 4, 4)

# (start, end) joints.
LIMBS = ((0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10),
         (8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16))  # fmt: skip
# Limbs between which an angle is read, by their place in LIMBS.
ANGLES = ((0, 3), (0, 6), (3, 6), (0, 1), (1, 2), (3, 4), (4, 5), (6, 7), (7, 10), (7, 13),
          (8, 13), (10, 13), (7, 8), (8, 9), (10, 11), (11, 12), (13, 14), (14, 15))  # fmt: skip
COSINE_MARGIN = 1e-7  # to ±1, where the slope of the angle is infinite


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


def limb_vectors(poses: Tensor) -> Tensor:
    """The 16 limbs of (..., 17, 3) poses as vectors: (..., 16, 3)."""
    start, end = zip(*LIMBS, strict=True)
    return poses[..., list(end), :] - poses[..., list(start), :]


def limb_variance(predicted: Tensor) -> Tensor:
    """Mean variance of the limbs' lengths over the frames of a clip, at least two."""
    return limb_vectors(predicted).norm(dim=-1).var(dim=1).mean()


def limb_difference(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean difference of the limbs' lengths."""
    own, true = (limb_vectors(poses).norm(dim=-1) for poses in (predicted, target))
    return (own - true).abs().mean()


def limb_angles(poses: Tensor) -> Tensor:
    """The 18 angles between limbs of (..., 17, 3) poses, radians: (..., 18)."""
    limbs = limb_vectors(poses)
    first, second = (limbs[..., list(side), :] for side in zip(*ANGLES, strict=True))
    cosine = torch.cosine_similarity(first, second, dim=-1)
    return torch.acos(cosine.clamp(-1.0 + COSINE_MARGIN, 1.0 - COSINE_MARGIN))


def angle_difference(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean difference of the angles between limbs, radians."""
    return (limb_angles(predicted) - limb_angles(target)).abs().mean()


def angle_velocity_difference(predicted: Tensor, target: Tensor) -> Tensor:
    """Mean difference of the steps of these angles from frame to frame, radians."""
    return (limb_angles(predicted).diff(dim=1) - limb_angles(target).diff(dim=1)).abs().mean()


def image_distance(predicted: Tensor, target: Tensor, confidence: Tensor) -> Tensor:
    """Mean distance of joints in the image, each weighted by the confidence of its 2D: for clips
    without 3D. `confidence` is (B, T, J, 1); only x and y of the poses are read."""
    return ((predicted[..., :2] - target[..., :2]) * confidence).norm(dim=-1).mean()
