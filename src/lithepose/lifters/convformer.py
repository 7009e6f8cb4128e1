"""ConvFormer: attention whose queries, keys and values are convolutions.

In the spatial stage the joints of each frame attend to each other, in the temporal stage the
frames. Queries, keys and values are convolutions instead of linear layers. Those of the spatial
stage slide along the joints. Those of the temporal stage slide along the features of a frame and
take **the frames as channels**: each value is a sum over all frames of a small neighbourhood of
features, so time is already fused when attention starts, and weights belong to one clip length.
Several kernels are mixed by learned weights.

The weights of the mixture do not depend on the input, and convolution is linear: a mixture of
convolutions *is* one convolution, with the mixed kernel. The network computes it so, in training as
well; `fold` makes a network that holds the mixed kernels only.

Patents: the method is the subject of granted US patents; docs/models/convformer.md has the notice.
Nothing else in this package depends on this module.

Source: Diaz-Arias and Shin, "ConvFormer: Parameter Reduction in Transformer Models for 3D Human
Pose Estimation by Leveraging Dynamic Multi-Headed Convolutional Attention" (arXiv 2304.02147).
There is no code of the authors. What the paper leaves open (output layer of the attention, width of
the MLPs, heads as splits) is chosen so that all published sizes come out; the page says what.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn
from torch.nn import functional

from lithepose.lifters.blocks import (
    DropPath,
    Mlp,
    attend,
    check_counts,
    check_finite,
    check_heads,
    check_probabilities,
    drop_path_rates,
    full_precision,
)

MLP_RATIO = 2


@dataclass(frozen=True, kw_only=True)
class ConvFormerConfig:
    """Size and regularisation of a ConvFormer; the defaults are the paper's best.

    Attributes:
        frames: T, frames of a clip, odd. Weights belong to one T.
        joints: J; 17 on Human3.6M, 15 on HumanEva.
        in_channels: numbers per joint and frame; 2 in the paper (x, y).
        channels: width d of a joint's token, a multiple of `heads`. A frame's token is J·d wide.
        spatial_blocks, temporal_blocks: blocks of the two stages.
        heads: of the attention in both stages.
        kernels: odd sizes of the convolutions that are mixed; one size is not mixed.
        dropout: on queries, keys and values.
        drop_path: probability of dropping a branch in the first and in the last block of a stage.
    """

    frames: int = 243
    joints: int = 17
    in_channels: int = 2
    channels: int = 32
    spatial_blocks: int = 2
    temporal_blocks: int = 2
    heads: int = 8
    kernels: tuple[int, ...] = (7, 7, 7)
    dropout: float = 0.2
    drop_path: tuple[float, float] = (0.0, 0.2)

    def __post_init__(self) -> None:
        # A tuple read back from JSON is a list; configs compare by value.
        object.__setattr__(self, "kernels", tuple(self.kernels))
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"frames must be odd, so that a clip has a centre: {self.frames}")
        counts = ("joints", "in_channels", "channels", "spatial_blocks", "temporal_blocks", "heads")
        check_counts(self, *counts)
        check_heads(self)
        if not self.kernels or any(size < 1 or size % 2 == 0 for size in self.kernels):
            raise ValueError(f"kernels must be odd sizes, at least one: {self.kernels}")
        check_probabilities(self, "dropout")


class MixedConvolution(nn.Module):
    """Queries, keys and values, each a mixture of convolutions of several sizes: (B, C, L) to
    three times (B, C, L).

    The weights of each mixture are positive and add up to one; before training they are equal.
    """

    def __init__(self, channels: int, kernels: tuple[int, ...]):
        super().__init__()
        # Initialised as PyTorch's convolutions; outputs of each: q, k, v.
        layers = [nn.Conv1d(channels, 3 * channels, size) for size in kernels]
        self.weights = nn.ParameterList(layer.weight for layer in layers)
        self.biases = nn.ParameterList(layer.bias for layer in layers)
        self.mixture = nn.Parameter(torch.zeros(3, len(kernels))) if len(kernels) > 1 else None

    def mixed(self) -> tuple[Tensor, Tensor]:
        """Weight (3C, C, largest kernel) and bias (3C,) of the one convolution that gives the
        mixture."""
        if self.mixture is None:
            return self.weights[0], self.biases[0]
        shares = self.mixture.softmax(dim=-1)  # (3, kernels)
        shares = shares.repeat_interleave(len(self.biases[0]) // 3, dim=0)  # (3C, kernels)
        largest = max(weight.shape[-1] for weight in self.weights)
        weights, biases = [], []
        for i, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            margin = (largest - weight.shape[-1]) // 2  # smaller kernels sit in the middle
            weights.append(shares[:, i, None, None] * functional.pad(weight, (margin, margin)))
            biases.append(shares[:, i] * bias)
        return torch.stack(weights).sum(dim=0), torch.stack(biases).sum(dim=0)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        weight, bias = self.mixed()
        # The margin keeps the length.
        q, k, v = functional.conv1d(x, weight, bias, padding=weight.shape[-1] // 2).chunk(3, dim=1)
        return q, k, v


class SpatialAttention(nn.Module):
    """Attention among joints, convolutions along the joints: (B·T, J, d) to (B·T, J, d)."""

    def __init__(self, config: ConvFormerConfig):
        super().__init__()
        self.heads = config.heads
        self.qkv = MixedConvolution(config.channels, config.kernels)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(config.channels, config.channels)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            # (B·T, d, J) to (B·T, heads, J, d/heads)
            self.dropout(part).unflatten(1, (self.heads, -1)).transpose(2, 3)
            for part in self.qkv(x.transpose(1, 2))
        )
        return self.project(attend(q, k, v).transpose(1, 2).flatten(2))


class TemporalAttention(nn.Module):
    """Attention among frames, convolutions along the features with frames as channels: (B, T, D)
    to (B, T, D)."""

    def __init__(self, config: ConvFormerConfig):
        super().__init__()
        self.heads = config.heads
        self.qkv = MixedConvolution(config.frames, config.kernels)
        self.dropout = nn.Dropout(config.dropout)
        self.project = nn.Linear(config.frames, config.frames)  # over frames, not over features

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = (
            # (B, T, D) to (B, heads, T, D/heads)
            self.dropout(part).unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in self.qkv(x)
        )
        mixed = attend(q, k, v).permute(0, 1, 3, 2).flatten(1, 2)  # (B, D, T)
        return self.project(mixed).transpose(1, 2)


class ConvFormerBlock(nn.Module):
    """Pre-norm attention of the given kind, then a pre-norm MLP, each a residual branch."""

    def __init__(self, attention: nn.Module, dim: int, drop_path: float):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = attention
        self.mlp_norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, MLP_RATIO * dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class CentreHead(nn.Module):
    """A weighted sum of a clip's frames as the pose of its centre: (B, T, D) to (B, 1, J, 3).

    The paper maps frames to poses and then sums them. Summing first gives the same and costs a T-th
    of it, if the constant of the map is scaled by the sum of the weights.
    """

    def __init__(self, config: ConvFormerConfig):
        super().__init__()
        self.joints = config.joints
        self.pose = nn.Linear(config.joints * config.channels, config.joints * 3)
        self.over_frames = nn.Linear(config.frames, 1)

    def forward(self, x: Tensor) -> Tensor:
        weights = self.over_frames.weight  # (1, T)
        summed = torch.matmul(weights, x)  # (B, 1, D)
        poses = functional.linear(summed, self.pose.weight)
        poses = poses + self.pose.bias * weights.sum() + self.over_frames.bias
        return poses.unflatten(-1, (self.joints, 3))


class ConvFormer(nn.Module):
    """Lift the centre frame of clips of a fixed length; see the module's docstring."""

    Config = ConvFormerConfig

    def __init__(self, config: ConvFormerConfig):
        super().__init__()
        self.config = config
        dim = config.joints * config.channels
        self.embed = nn.Linear(config.in_channels, config.channels)
        self.spatial_position = nn.Parameter(torch.zeros(1, config.joints, config.channels))
        self.spatial_blocks = nn.ModuleList(
            ConvFormerBlock(SpatialAttention(config), config.channels, p)
            for p in drop_path_rates(*config.drop_path, config.spatial_blocks)
        )
        self.temporal_position = nn.Parameter(torch.zeros(1, config.frames, dim))
        self.temporal_blocks = nn.ModuleList(
            ConvFormerBlock(TemporalAttention(config), dim, p)
            for p in drop_path_rates(*config.drop_path, config.temporal_blocks)
        )
        self.head = CentreHead(config)

    def forward(self, joints_2d: Tensor) -> Tensor:
        """Lift the centre frames of clips.

        Args:
            joints_2d: (B, T, J, in_channels), image width mapped to [-1, 1].

        Returns:
            (B, 1, J, 3), metres, camera axes, relative to the root joint.

        Raises:
            ValueError: the clips have another shape, or there are none.
        """
        config, shape = self.config, tuple(joints_2d.shape)
        wanted = (config.frames, config.joints, config.in_channels)
        if len(shape) != 4 or shape[1:] != wanted or shape[0] == 0:
            raise ValueError(
                f"the lifter takes clips, at least one, of {wanted[0]} frames, {wanted[1]} joints "
                f"and {wanted[2]} numbers per joint, not {shape}: cut or pad the clips, or build "
                "and train the lifter for this length"
            )
        check_finite(joints_2d)
        with full_precision(joints_2d):
            x = self.embed(joints_2d.float().flatten(0, 1)) + self.spatial_position  # (B·T, J, d)
        for block in self.spatial_blocks:
            x = block(x)
        x = x.flatten(1).unflatten(0, shape[:2])  # (B, T, J·d), joint by joint
        x = x + self.temporal_position
        for block in self.temporal_blocks:
            x = block(x)
        with full_precision(joints_2d):
            return self.head(x.float())


def fold(model: ConvFormer) -> ConvFormer:
    """A network with the same output that holds one convolution where `model` mixes several.

    It is an ordinary `ConvFormer` with one kernel, the largest: smaller, as fast, and with less to
    compute after loading. Export and deploy this one; training it further is possible, but the
    mixture is gone.

    Args:
        model: trained; it stays as it is.

    Returns:
        The folded network in the same mode (training or evaluation), on the same device.
    """
    folded = ConvFormer(replace(model.config, kernels=(max(model.config.kernels),)))
    state = model.state_dict()
    for name, part in model.named_modules():
        if isinstance(part, MixedConvolution):
            for key in [key for key in state if key.startswith(f"{name}.")]:
                del state[key]
            weight, bias = part.mixed()
            state[f"{name}.weights.0"] = weight.detach()
            state[f"{name}.biases.0"] = bias.detach()
    folded.load_state_dict(state)
    return folded.to(model.embed.weight.device).train(model.training)
