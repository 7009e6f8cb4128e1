"""NanoHTNet: lift a window of 2D skeletons in two small streams, over joints and over frequencies.

The spatial stream has one token per joint, which holds the joint's whole 2D trajectory. The
temporal stream has one token per kept DCT coefficient of the window, which holds all joints. Each
stream gives a few features per joint and output frame, and one linear layer reads both.

Source: Cai et al., NanoHTNet (arXiv 2501.15763), and the authors' code, which decides where the two
differ. Differences from the code: the DCT is a matrix product; the input may have more channels
than x and y; the contrastive head takes any number of frames; under autocast the first and last
layers stay in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lithepose.lifters.blocks import (
    BLOCK_MLP_NAMES,
    BODY_INTERACTION_NAMES,
    HIERARCHICAL_MIXER_NAMES,
    JOINT_CONNECTION_NAMES,
    JOINTS,
    RESHAPE_FROM_AUTHORS,
    BodyInteraction,
    DropPath,
    HierarchicalMixer,
    JointConnection,
    Mlp,
    check_clips,
    check_counts,
    check_probabilities,
    drop_path_rates,
    full_precision,
)
from lithepose.lifters.weights import authors_config, prefixed, translate


@dataclass(frozen=True, kw_only=True)
class NanoHTNetConfig:
    """Size and regularisation of a NanoHTNet; the defaults are the authors' demo.

    Attributes:
        frames: receptive field F, odd.
        kept_frames: K, the number of DCT coefficients kept, of temporal tokens and of output
            frames, odd and at most `frames`.
        in_channels: numbers per joint and frame; 2 in the paper (x, y).
        layers: blocks in each stream.
        channels: width of both streams, a multiple of 48.
        hidden: width of every MLP.
        features: numbers per joint and frame that each stream hands to the head.
        drop_path: probability of dropping a branch in the first and in the last block.
        spatial_dropout, temporal_dropout: in the MLPs of the two streams.
        attention_dropout: after the attention of both streams.
        pretrain: replace the pose head by the contrastive head of PoseCLR.
        feature_dim: numbers per joint of the contrastive head.
    """

    frames: int = 243
    kept_frames: int = 9
    in_channels: int = 2
    layers: int = 3
    channels: int = 240
    hidden: int = 256
    features: int = 8
    drop_path: tuple[float, float] = (0.1, 0.3)
    spatial_dropout: float = 0.15
    temporal_dropout: float = 0.1
    attention_dropout: float = 0.1
    pretrain: bool = False
    feature_dim: int = 8

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"frames must be odd, so that a window has a centre: {self.frames}")
        if not 1 <= self.kept_frames <= self.frames or self.kept_frames % 2 == 0:
            raise ValueError(
                f"kept_frames must be odd and from 1 to frames ({self.frames}): {self.kept_frames}"
            )
        if self.channels < 48 or self.channels % 48:
            raise ValueError(
                "channels must be a multiple of 48 (halves and thirds, eight heads in each): "
                f"{self.channels}"
            )
        check_counts(self, "in_channels", "layers", "hidden", "features", "feature_dim")
        check_probabilities(self, "spatial_dropout", "temporal_dropout", "attention_dropout")


def dct_matrix(frames: int, kept: int) -> Tensor:
    """The first `kept` rows of the DCT-II of `frames` samples, with the factor 2 and no scaling:
    row k, column n is 2 cos(πk(2n + 1) / 2F). (kept, frames), float32."""
    k = torch.arange(kept, dtype=torch.float64).unsqueeze(1)
    n = torch.arange(frames, dtype=torch.float64)
    return (2.0 * torch.cos(math.pi * k * (2.0 * n + 1.0) / (2.0 * frames))).float()


def frequency_adjacency(kept: int) -> Tensor:
    """Graph of the temporal tokens: each frequency, the one below and the one above, all with
    weight 1. (kept, kept), float32."""
    index = torch.arange(kept)
    return ((index[:, None] - index).abs() <= 1).float()


class TemporalMixer(nn.Module):
    """A block over frequencies: graph convolution, then attention, on half of the channels each,
    then an MLP over all channels."""

    def __init__(self, config: NanoHTNetConfig, drop_path: float):
        super().__init__()
        dim = config.channels
        adjacency = frequency_adjacency(config.kept_frames)
        self.local = JointConnection(dim // 2, adjacency, drop_path)
        self.whole = BodyInteraction(dim // 2, config.attention_dropout, drop_path)
        # As in HierarchicalMixer: eps is 1e-6 here and 1e-5 inside the two parts.
        self.mlp_norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, config.hidden, config.temporal_dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        local, whole = x.chunk(2, dim=-1)  # (B, K, C/2) each
        local = self.local(local)
        whole = self.whole(whole + local)
        x = torch.cat([local, whole], dim=-1)  # (B, K, C)
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class PoseHead(nn.Module):
    """Features of both streams to a pose: (B, K, 17, 2E) to (B, K, 17, 3)."""

    def __init__(self, features: int):
        super().__init__()
        self.pose = nn.Linear(2 * features, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.pose(x)


class ContrastiveHead(nn.Module):
    """Features of both streams to one vector per joint: (B, K, 17, 2E) to (B, 1, 17, D)."""

    def __init__(self, features: int, frames: int, dim: int):
        super().__init__()
        self.norm_in = nn.LayerNorm(2 * features)
        self.reduce = nn.Linear(2 * features, dim)
        self.norm_out = nn.LayerNorm(dim)
        self.over_frames = nn.Linear(frames, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm_out(self.reduce(self.norm_in(x)))  # (B, K, 17, D)
        return torch.relu(self.over_frames(x.movedim(1, -1)).movedim(-1, 1))  # (B, 1, 17, D)


class NanoHTNet(nn.Module):
    """Lift windows of 2D poses; see the module's docstring for the idea."""

    Config = NanoHTNetConfig
    dct: Tensor

    def __init__(self, config: NanoHTNetConfig):
        super().__init__()
        self.config = config
        frames, kept, dim = config.frames, config.kept_frames, config.channels
        drop_paths = drop_path_rates(*config.drop_path, config.layers)

        self.register_buffer("dct", dct_matrix(frames, kept), persistent=False)
        self.temporal_embed = nn.Linear(JOINTS * config.in_channels, dim)
        self.temporal_position = nn.Parameter(torch.zeros(1, kept, dim))
        self.temporal_blocks = nn.ModuleList(TemporalMixer(config, p) for p in drop_paths)
        self.temporal_norm = nn.LayerNorm(dim, eps=1e-6)
        self.temporal_features = nn.Linear(dim, JOINTS * config.features)

        self.spatial_embed = nn.Linear(frames * config.in_channels, dim)
        self.spatial_position = nn.Parameter(torch.zeros(1, JOINTS, dim))
        self.spatial_blocks = nn.ModuleList(
            HierarchicalMixer(config, config.spatial_dropout, p) for p in drop_paths
        )
        self.spatial_norm = nn.LayerNorm(dim, eps=1e-6)
        self.spatial_features = nn.Linear(dim, kept * config.features)

        self.head = (
            ContrastiveHead(config.features, kept, config.feature_dim)
            if config.pretrain
            else PoseHead(config.features)
        )

    def forward(self, joints_2d: Tensor) -> Tensor:
        """Lift windows to the K frames around their centres.

        Args:
            joints_2d: (B, F, 17, in_channels), image width mapped to [-1, 1].

        Returns:
            (B, K, 17, 3), metres, camera axes, relative to the root joint; or (B, 1, 17,
            feature_dim), not negative, with the contrastive head.
        """
        check_clips(joints_2d, self.config.frames, self.config.in_channels)
        with full_precision(joints_2d):
            series = joints_2d.float().flatten(2)  # (B, F, 17·c), joint by joint
            frequencies = torch.matmul(self.dct, series)
            temporal = self.temporal_embed(frequencies) + self.temporal_position  # (B, K, C)
            trajectories = joints_2d.float().transpose(1, 2).flatten(2)  # (B, 17, F·c)
            spatial = self.spatial_embed(trajectories) + self.spatial_position  # (B, 17, C)

        for block in self.temporal_blocks:
            temporal = block(temporal)
        for block in self.spatial_blocks:
            spatial = block(spatial)

        with full_precision(joints_2d):
            temporal = self.temporal_features(self.temporal_norm(temporal.float()))  # (B, K, 17·E)
            spatial = self.spatial_features(self.spatial_norm(spatial.float()))  # (B, 17, K·E)
            kept, features = self.config.kept_frames, self.config.features
            temporal = temporal.unflatten(-1, (JOINTS, features))  # (B, K, 17, E)
            spatial = spatial.unflatten(-1, (kept, features)).transpose(1, 2)  # (B, K, 17, E)
            return self.head(torch.cat([spatial, temporal], dim=-1))


# Our names to the authors'; see `translate`.
NAMES = {
    "temporal_embed": "tem_patch_embed",
    "temporal_position": "tem_pos_embed",
    "temporal_norm": "tem_Transformer.Temporal_norm",
    "temporal_features": "fcn_tem",
    "spatial_embed": "patch_embed",
    "spatial_position": "pos_embed",
    "spatial_norm": "Transformer.Temporal_norm",
    "spatial_features": "fcn_spa",
    "head.pose": "fc",
    "head.norm_in": "fc.0",
    "head.reduce": "fc.1",
    "head.norm_out": "fc.2",
    "head.over_frames": "fc.3",
    **prefixed("temporal_blocks.#.local", "tem_Transformer.blocks.#.lgc", JOINT_CONNECTION_NAMES),
    **prefixed("temporal_blocks.#.whole", "tem_Transformer.blocks.#.gbi", BODY_INTERACTION_NAMES),
    **prefixed("temporal_blocks.#", "tem_Transformer.blocks.#", BLOCK_MLP_NAMES),
    **prefixed("spatial_blocks.#", "Transformer.blocks.#", HIERARCHICAL_MIXER_NAMES),
}
RESHAPE = {
    **RESHAPE_FROM_AUTHORS,
    "over_frames.weight": lambda w: w.flatten(1),  # a 1×1 convolution over frames, (1, K, 1, 1)
}
# Fields of our config to the options of the authors' program.
AUTHORS_OPTIONS = {
    "frames": "frames",
    "kept_frames": "keep_frames",
    "layers": "layers",
    "channels": "channel",
    "hidden": "d_hid",
    "features": "hid",
    "pretrain": "pretrain",
    "feature_dim": "feature_dim",
}
PUBLISHED = {"n_joints": JOINTS, "out_joints": JOINTS}


def from_authors(
    state: Mapping[str, Tensor], **options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint; see `convert_state_dict`."""
    config = authors_config(NanoHTNetConfig, AUTHORS_OPTIONS, options, PUBLISHED)
    with torch.device("meta"):
        model = NanoHTNet(NanoHTNetConfig(**config))
    return config, translate(state, model, NAMES, RESHAPE)
