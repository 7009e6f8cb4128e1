"""MotionBERT: lift a clip of 2D skeletons in two streams, joints first and frames first.

Every joint of every frame is a token. Each layer runs two streams on the same tokens, one that
mixes the joints of each frame and then the frames of each joint, one the other way round, and each
token weighs what they give. The head passes through a bounded representation of the motion, which
other tasks can read as well.

Source: Zhu et al., "MotionBERT: A Unified Perspective on Learning Human Motion Representations"
(arXiv 2210.06551; the network is called DSTformer there), and the authors' code. Differences from
the code: any number of input channels; under autocast the first and last layers stay in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lithepose.lifters.blocks import (
    JOINTS,
    AdaptiveFusion,
    RepresentationHead,
    TransformerBlock,
    VideoTransformer,
    check_clips,
    check_counts,
    check_heads,
    full_precision,
    mix_frames,
    mix_joints,
)
from lithepose.lifters.weights import authors_config, prefixed, translate


@dataclass(frozen=True, kw_only=True)
class MotionBERTConfig:
    """Size of a MotionBERT; the defaults are the larger of the two published ones.

    Attributes:
        frames: the most frames of a clip, for which there are learned positions in time.
        in_channels: numbers per joint and frame; 3 in the paper (x, y, confidence).
        layers: number of layers, each with two streams.
        channels: C, the width, a multiple of `heads`.
        heads: of the attention.
        hidden: width of the MLPs.
        representation: R, numbers per joint and frame that represent the motion.
    """

    frames: int = 243
    in_channels: int = 3
    layers: int = 5
    channels: int = 512
    heads: int = 8
    hidden: int = 1024
    representation: int = 512

    def __post_init__(self) -> None:
        check_counts(self, *vars(self))
        check_heads(self)


class DualStreamLayer(nn.Module):
    """Two streams over (B, N, 17, C) tokens, with weights of their own, and their fusion."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.joints_first = TransformerBlock(dim, heads, hidden)
        self.frames_second = TransformerBlock(dim, heads, hidden)
        self.frames_first = TransformerBlock(dim, heads, hidden)
        self.joints_second = TransformerBlock(dim, heads, hidden)
        self.fusion = AdaptiveFusion(dim)

    def forward(self, x: Tensor) -> Tensor:
        one = mix_frames(self.frames_second, mix_joints(self.joints_first, x))
        other = mix_joints(self.joints_second, mix_frames(self.frames_first, x))
        return self.fusion(one, other)


class MotionBERT(VideoTransformer):
    """Lift clips of 2D poses; see the module's docstring for the idea.

    Takes clips of 1 to `frames` frames. Tokens are (B, T, 17, C), one per joint and frame. Poses
    are in metres and camera axes if it was trained so; the authors' weights give the image's axes
    in half widths of it, see docs/models/motionbert.md.
    """

    Config = MotionBERTConfig

    def __init__(self, config: MotionBERTConfig):
        super().__init__()
        self.config = config
        dim = config.channels
        self.joint_embed = nn.Linear(config.in_channels, dim)
        self.joint_position = nn.Parameter(torch.empty(1, JOINTS, dim))
        self.frame_position = nn.Parameter(torch.empty(1, config.frames, 1, dim))
        self.blocks = nn.ModuleList(
            DualStreamLayer(dim, config.heads, config.hidden) for _ in range(config.layers)
        )
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = RepresentationHead(dim, config.representation)

        for name, parameter in self.named_parameters():
            if ".fusion." in name or "norm" in name:
                continue  # both streams count the same at first
            if name.endswith(".bias"):
                nn.init.zeros_(parameter)
            else:
                nn.init.trunc_normal_(parameter, std=0.02)

    def embed(self, joints_2d: Tensor) -> Tensor:
        """Tokens of (B, T, 17, in_channels) joints, T up to `frames`: (B, T, 17, C)."""
        check_clips(joints_2d, self.config.frames, self.config.in_channels, shorter=True)
        positions = self.joint_position + self.frame_position[:, : joints_2d.shape[1]]
        with full_precision(joints_2d):
            return self.joint_embed(joints_2d.float()) + positions


def _block_names(axis: str) -> dict[str, str]:
    return {
        "attention_norm": f"norm1_{axis}",
        "attention.qkv": f"attn_{axis}.qkv",
        "attention.project": f"attn_{axis}.proj",
        "mlp_norm": f"norm2_{axis}",
        "mlp.expand": f"mlp_{axis}.fc1",
        "mlp.contract": f"mlp_{axis}.fc2",
    }


# Our names to the authors'; see `translate`. "s" is over joints, "t" over frames.
NAMES = {
    "joint_embed": "joints_embed",
    "joint_position": "pos_embed",
    "frame_position": "temp_embed",
    "norm": "norm",
    "head.represent": "pre_logits.fc",
    "head.pose": "head",
    **prefixed("blocks.#.joints_first", "blocks_st.#", _block_names("s")),
    **prefixed("blocks.#.frames_second", "blocks_st.#", _block_names("t")),
    **prefixed("blocks.#.frames_first", "blocks_ts.#", _block_names("t")),
    **prefixed("blocks.#.joints_second", "blocks_ts.#", _block_names("s")),
    "blocks.#.fusion.weigh": "ts_attn.#",
}
# Parts of names in MMPose's copies of the checkpoints, to the authors'; the order matters.
MMPOSE_NAMES = (
    ("head.pre_logits.", "pre_logits."),
    ("head.fc.", "head."),
    ("backbone.", ""),
    ("spat_embed", "pos_embed"),
    ("attn_regress.", "ts_attn."),
    ("mlp_s.0.", "mlp_s.fc1."),
    ("mlp_s.2.", "mlp_s.fc2."),
    ("mlp_t.0.", "mlp_t.fc1."),
    ("mlp_t.2.", "mlp_t.fc2."),
)
# Fields of our config to the options of the authors' program.
AUTHORS_OPTIONS = {
    "frames": "maxlen",
    "in_channels": "dim_in",
    "layers": "depth",
    "channels": "dim_feat",
    "heads": "num_heads",
    "representation": "dim_rep",
}
PUBLISHED = {
    "dim_out": 3,
    "num_joints": JOINTS,
    "att_fuse": True,
    "qkv_bias": True,
    "norm_eps": 1e-6,
}


def from_authors(
    state: Mapping[str, Tensor], **options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint (in their files, the tensors under `model_pos`), or MMPose's
    copy of one (the tensors under `state_dict`).

    See `convert_state_dict`. The defaults are those of the larger network; the smaller one has
    `dim_feat=256, mlp_ratio=4`.
    """
    mlp_ratio = options.pop("mlp_ratio", 2)
    config = authors_config(MotionBERTConfig, AUTHORS_OPTIONS, options, PUBLISHED)
    config["hidden"] = int(config["channels"] * mlp_ratio)
    if any(name.startswith("backbone.") for name in state):
        for theirs, authors in MMPOSE_NAMES:
            state = {name.replace(theirs, authors): tensor for name, tensor in state.items()}
    with torch.device("meta"):
        model = MotionBERT(MotionBERTConfig(**config))
    return config, translate(state, model, NAMES)
