"""MixSTE: lift a clip of 2D skeletons, with attention over joints and over frames in turn.

Every joint of every frame is a token. Each block mixes the joints of each frame, then the frames of
each joint, and the head reads a 3D joint from each token.

Source: Zhang et al., "MixSTE: Seq2seq Mixed Spatio-Temporal Encoder for 3D Human Pose Estimation in
Video" (arXiv 2203.00859), and the authors' code. Differences from the code: the input may have more
channels than x and y; under autocast the first and last layers stay in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lithepose.lifters.blocks import (
    JOINTS,
    TRANSFORMER_BLOCK_NAMES,
    TransformerBlock,
    VideoTransformer,
    check_clips,
    check_counts,
    check_heads,
    check_probabilities,
    drop_path_rates,
    full_precision,
    mix_frames,
    mix_joints,
)
from lithepose.lifters.weights import authors_config, prefixed, translate


@dataclass(frozen=True, kw_only=True)
class MixSTEConfig:
    """Size and regularisation of a MixSTE; the defaults are the published ones.

    Attributes:
        frames: T, frames of a clip; the positions in time are learned for this number.
        in_channels: numbers per joint and frame; 2 in the paper (x, y).
        layers: number of blocks, each over joints and over frames.
        channels: C, the width, a multiple of `heads`.
        heads: of the attention.
        hidden: width of the MLPs.
        drop_path: probability of dropping a branch in the first and in the last block.
    """

    frames: int = 243
    in_channels: int = 2
    layers: int = 8
    channels: int = 512
    heads: int = 8
    hidden: int = 1024
    drop_path: tuple[float, float] = (0.0, 0.1)

    def __post_init__(self) -> None:
        check_counts(self, "frames", "in_channels", "layers", "channels", "heads", "hidden")
        check_heads(self)
        check_probabilities(self)


class MixedBlock(nn.Module):
    """Mix the joints of each frame, then the frames of each joint.

    The norms after the two halves and the position in time are not part of it: blocks share them.
    """

    def __init__(self, dim: int, heads: int, hidden: int, drop_path: float):
        super().__init__()
        self.over_joints = TransformerBlock(dim, heads, hidden, drop_path=drop_path)
        self.over_frames = TransformerBlock(dim, heads, hidden, drop_path=drop_path)


class MixSTE(VideoTransformer):
    """Lift clips of 2D poses; see the module's docstring for the idea.

    Tokens are (B, T, 17, C), one per joint and frame.
    """

    Config = MixSTEConfig

    def __init__(self, config: MixSTEConfig):
        super().__init__()
        self.config = config
        dim = config.channels
        self.joint_embed = nn.Linear(config.in_channels, dim)
        self.joint_position = nn.Parameter(torch.zeros(1, JOINTS, dim))
        self.frame_position = nn.Parameter(torch.zeros(1, config.frames, dim))
        self.blocks = nn.ModuleList(
            MixedBlock(dim, config.heads, config.hidden, p)
            for p in drop_path_rates(*config.drop_path, config.layers)
        )
        # One norm after the joint half of every block, and one after the frame half of every block.
        self.joint_norm = nn.LayerNorm(dim, eps=1e-6)
        self.frame_norm = nn.LayerNorm(dim, eps=1e-6)
        # eps is PyTorch's 1e-5 here and 1e-6 in all other norms, as in the authors' code.
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3))

    def embed(self, joints_2d: Tensor) -> Tensor:
        """Tokens of (B, T, 17, in_channels) joints: (B, T, 17, C)."""
        check_clips(joints_2d, self.config.frames, self.config.in_channels)
        with full_precision(joints_2d):
            return self.joint_embed(joints_2d.float()) + self.joint_position

    def run_block(self, index: int, tokens: Tensor) -> Tensor:
        """Run a block on (B, N, 17, C) tokens of any N frames, but of all frames in block 0."""
        block = self.blocks[index]
        assert isinstance(block, MixedBlock)
        x = self.joint_norm(mix_joints(block.over_joints, tokens))
        if index == 0:
            if tokens.shape[1] != self.config.frames:
                raise ValueError(
                    f"block 0 gives each of the {self.config.frames} frames its position in time, "
                    f"and got {tokens.shape[1]} frames: leave frames out from block 1 on"
                )
            x = x + self.frame_position.unsqueeze(2)  # the same for all joints
        return self.frame_norm(mix_frames(block.over_frames, x))

    def finish(self, tokens: Tensor) -> Tensor:
        """Nothing: the last block ends with a norm. Networks of this kind have a step here."""
        return tokens


# Our names to the authors'; see `translate`.
NAMES = {
    "joint_embed": "Spatial_patch_to_embedding",
    "joint_position": "Spatial_pos_embed",
    "frame_position": "Temporal_pos_embed",
    "joint_norm": "Spatial_norm",
    "frame_norm": "Temporal_norm",
    "head.0": "head.0",
    "head.1": "head.1",
    **prefixed("blocks.#.over_joints", "STEblocks.#", TRANSFORMER_BLOCK_NAMES),
    **prefixed("blocks.#.over_frames", "TTEblocks.#", TRANSFORMER_BLOCK_NAMES),
}
# Fields of our config to the options of the authors' program.
AUTHORS_OPTIONS = {
    "frames": "frames",
    "layers": "depth",
    "channels": "channel",
    "heads": "num_heads",
    "hidden": "d_hid",
}


def from_authors(
    state: Mapping[str, Tensor], **options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint, in their files the tensors under `model_pos`; see
    `convert_state_dict`. The options have the names of the later code of HoT, which has the same
    network.
    """
    config = authors_config(MixSTEConfig, AUTHORS_OPTIONS, options, {"n_joints": JOINTS})
    with torch.device("meta"):
        model = MixSTE(MixSTEConfig(**config))
    return config, translate(state, model, NAMES)
