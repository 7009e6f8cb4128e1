"""MHFormer: make three hypotheses of a clip, refine each, and let them correct each other.

Seen from one side many 3D poses look the same, so the network keeps three candidate
representations apart for most of its depth. The first stage derives them from the 2D trajectories,
each from the one before it. In the second every hypothesis attends over its own frames, and in the
third each is rewritten with the help of the other two. One head reads all three.

Source: Li et al., "MHFormer: Multi-Hypothesis Transformer for 3D Human Pose Estimation"
(arXiv 2111.12707), and the authors' code. Differences from the code: the input may have more
channels than x and y; under autocast the first and last layers stay in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lithepose.lifters.blocks import (
    JOINTS,
    TRANSFORMER_BLOCK_NAMES,
    Attention,
    DropPath,
    Mlp,
    TransformerBlock,
    VideoTransformer,
    attend,
    check_clips,
    check_counts,
    check_probabilities,
    drop_path_rates,
    full_precision,
)
from lithepose.lifters.weights import authors_config, prefixed, translate

HYPOTHESES = 3
GENERATOR_HEADS = 9  # over trajectories; so the number of frames is a multiple of 9
GENERATOR_BLOCKS = 4
HEADS = 8  # over frames
SHORT_CLIP = 27  # up to this many frames the authors normalise and drop the embedded frames


@dataclass(frozen=True, kw_only=True)
class MHFormerConfig:
    """Size and regularisation of an MHFormer; the defaults are the authors' largest.

    Attributes:
        frames: frames of a clip, a multiple of 9. All published numbers are odd; the centre frame
            of an even one is the earlier of the two in the middle.
        in_channels: numbers per joint and frame; 2 in the paper (x, y).
        channels: width C of each hypothesis, a multiple of 8.
        hidden: width of the MLPs over frames; those over trajectories have twice the frames.
        layers: blocks over frames; the last lets the hypotheses interact, the others refine each.
        drop_path: probability of dropping a branch in the first and in the last block, both of
            those over trajectories and of those over frames.
        dropout: after every attention, in the MLPs and on the tokens with their positions.
        short_clip_dropout: on the embedded frames of clips of up to 27 frames.
    """

    frames: int = 351
    in_channels: int = 2
    channels: int = 512
    hidden: int = 1024
    layers: int = 3
    drop_path: tuple[float, float] = (0.0, 0.2)
    dropout: float = 0.1
    short_clip_dropout: float = 0.25

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % GENERATOR_HEADS:
            raise ValueError(
                f"frames must be a multiple of {GENERATOR_HEADS} (heads): {self.frames}"
            )
        if self.channels < 1 or self.channels % HEADS:
            raise ValueError(f"channels must be a multiple of {HEADS} (heads): {self.channels}")
        if self.layers < 2:
            raise ValueError(f"layers must be at least 2 (refine, interact): {self.layers}")
        check_counts(self, "in_channels", "hidden")
        check_probabilities(self, "dropout", "short_clip_dropout")


class TrajectoryEncoder(nn.Module):
    """Attention over trajectories: (B, N, T) to (B, N, T), a token being one coordinate of one
    joint over all frames."""

    def __init__(self, tokens: int, config: MHFormerConfig):
        super().__init__()
        frames = config.frames
        self.position = nn.Parameter(torch.zeros(1, tokens, frames))
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(
            TransformerBlock(
                frames, GENERATOR_HEADS, 2 * frames, dropout=config.dropout, drop_path=p
            )
            for p in drop_path_rates(*config.drop_path, GENERATOR_BLOCKS)
        )
        self.norm = nn.LayerNorm(frames, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(x + self.position)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class HypothesisGenerator(nn.Module):
    """Multi-hypothesis generation (MHG): trajectories (B, N, T) to three versions of them, each
    a correction of the one before."""

    def __init__(self, tokens: int, config: MHFormerConfig):
        super().__init__()
        # eps is PyTorch's 1e-5 here and 1e-6 in all other layer norms, as in the authors' code.
        self.norms = nn.ModuleList(nn.LayerNorm(config.frames) for _ in range(HYPOTHESES))
        self.encoders = nn.ModuleList(TrajectoryEncoder(tokens, config) for _ in range(HYPOTHESES))

    def forward(self, x: Tensor) -> list[Tensor]:
        hypotheses: list[Tensor] = []
        for norm, encoder in zip(self.norms, self.encoders, strict=True):
            x = x + encoder(norm(x))
            hypotheses.append(x)
        return hypotheses


class FrameEmbedding(nn.Module):
    """Frames of one hypothesis to tokens: (B, T, N) to (B, T, C)."""

    def __init__(self, in_dim: int, config: MHFormerConfig):
        super().__init__()
        self.linear = nn.Linear(in_dim, config.channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x)


class ShortClipEmbedding(FrameEmbedding):
    """The embedding for clips of up to 27 frames, with batch norm, ReLU and dropout."""

    def __init__(self, in_dim: int, config: MHFormerConfig):
        super().__init__(in_dim, config)
        self.norm = nn.BatchNorm1d(config.channels)
        self.dropout = nn.Dropout(config.short_clip_dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.linear(x).transpose(1, 2)).transpose(1, 2)  # over clips and frames
        return self.dropout(functional.relu(x))


class RefinementBlock(nn.Module):
    """Self-hypothesis refinement (SHR): each hypothesis attends over its own frames, then one MLP
    reads the three side by side. (B, T, 3C) to (B, T, 3C)."""

    def __init__(self, config: MHFormerConfig, drop_path: float):
        super().__init__()
        dim = config.channels
        self.attention_norms = nn.ModuleList(nn.LayerNorm(dim, eps=1e-6) for _ in range(HYPOTHESES))
        self.attentions = nn.ModuleList(
            Attention(dim, HEADS, config.dropout) for _ in range(HYPOTHESES)
        )
        self.mlp_norm = nn.LayerNorm(HYPOTHESES * dim, eps=1e-6)
        self.mlp = Mlp(HYPOTHESES * dim, config.hidden, config.dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        parts = zip(x.chunk(HYPOTHESES, -1), self.attention_norms, self.attentions, strict=True)
        x = torch.cat([own + self.drop_path(mix(norm(own))) for own, norm, mix in parts], dim=-1)
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class CrossHypothesisAttention(nn.Module):
    """Multi-head attention in which query, key and value come from three different hypotheses,
    each normalised by itself: three times (B, T, C) to (B, T, C)."""

    def __init__(self, dim: int, dropout: float):
        super().__init__()
        self.query_norm, self.key_norm, self.value_norm = (
            nn.LayerNorm(dim, eps=1e-6) for _ in range(3)
        )
        self.query, self.key, self.value = (nn.Linear(dim, dim) for _ in range(3))
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        query = self.query(self.query_norm(query))
        key = self.key(self.key_norm(key))
        value = self.value(self.value_norm(value))
        # (B, heads, T, C/heads) each
        q, k, v = (x.unflatten(-1, (HEADS, -1)).transpose(1, 2) for x in (query, key, value))
        mixed = attend(q, k, v).transpose(1, 2).flatten(2)  # (B, T, C)
        return self.dropout(self.project(mixed))


class InteractionBlock(nn.Module):
    """Cross-hypothesis interaction (CHI): each hypothesis is corrected by attention between the
    other two, then one MLP reads the three side by side. (B, T, 3C) to (B, T, 3C)."""

    def __init__(self, config: MHFormerConfig, drop_path: float):
        super().__init__()
        dim = config.channels
        self.attentions = nn.ModuleList(
            CrossHypothesisAttention(dim, config.dropout) for _ in range(HYPOTHESES)
        )
        self.mlp_norm = nn.LayerNorm(HYPOTHESES * dim, eps=1e-6)
        self.mlp = Mlp(HYPOTHESES * dim, config.hidden, config.dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        first, second, third = x.chunk(HYPOTHESES, dim=-1)
        correct_first, correct_second, correct_third = self.attentions
        # One after the other: each step reads what the steps before it have corrected.
        first = first + self.drop_path(correct_first(second, third, first))
        second = second + self.drop_path(correct_second(first, third, second))
        third = third + self.drop_path(correct_third(first, second, third))
        x = torch.cat([first, second, third], dim=-1)
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


class PoseHead(nn.Module):
    """Tokens to poses: (B, T, 3C) to (B, T, 17, 3)."""

    def __init__(self, dim: int):
        super().__init__()
        self.norm = nn.BatchNorm1d(dim)
        self.pose = nn.Linear(dim, JOINTS * 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(x.transpose(1, 2)).transpose(1, 2)  # statistics over clips and frames
        return self.pose(x).unflatten(-1, (JOINTS, 3))


class MHFormer(VideoTransformer):
    """Lift clips of a fixed length; see the module's docstring for the idea.

    Tokens are (B, T, 3C), one per frame: the three hypotheses side by side. All frames come out;
    the published errors are those of the centre frame.
    """

    Config = MHFormerConfig

    def __init__(self, config: MHFormerConfig):
        super().__init__()
        self.config = config
        tokens = JOINTS * config.in_channels
        embedding = ShortClipEmbedding if config.frames <= SHORT_CLIP else FrameEmbedding
        drop_paths = drop_path_rates(*config.drop_path, config.layers)

        self.generate = HypothesisGenerator(tokens, config)
        self.embeddings = nn.ModuleList(embedding(tokens, config) for _ in range(HYPOTHESES))
        self.positions = nn.ParameterList(
            torch.zeros(1, config.frames, config.channels) for _ in range(HYPOTHESES)
        )
        self.position_dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(RefinementBlock(config, p) for p in drop_paths[:-1])
        self.blocks.append(InteractionBlock(config, drop_paths[-1]))
        self.norm = nn.LayerNorm(HYPOTHESES * config.channels, eps=1e-6)
        self.head = PoseHead(HYPOTHESES * config.channels)

    @property
    def token_dim(self) -> int:
        """3C, the width of the tokens between the steps."""
        return HYPOTHESES * self.config.channels

    def embed(self, joints_2d: Tensor) -> Tensor:
        """Clips (B, T, 17, in_channels), image width mapped to [-1, 1], to tokens (B, T, 3C).

        Raises:
            ValueError: the clips have another shape.
        """
        check_clips(joints_2d, self.config.frames, self.config.in_channels)
        trajectories = joints_2d.float().flatten(2).transpose(1, 2)  # (B, 17·c, T), joint by joint
        hypotheses = self.generate(trajectories)
        with full_precision(joints_2d):
            parts = zip(hypotheses, self.embeddings, self.positions, strict=True)
            tokens = [
                self.position_dropout(embedding(hypothesis.float().transpose(1, 2)) + position)
                for hypothesis, embedding, position in parts
            ]
        return torch.cat(tokens, dim=-1)  # (B, T, 3C)


def authors_names(config: MHFormerConfig) -> dict[str, str]:
    """Our names to the authors', who number the hypotheses from 1; see `translate`."""
    stages, short = "Transformer_hypothesis", config.frames <= SHORT_CLIP
    names = {"norm": f"{stages}.norm", "head.norm": "regression.0", "head.pose": "regression.1"}
    # Of both kinds of blocks: what one kind alone has, the other never asks for.
    block = {"mlp_norm": "norm2", "mlp.expand": "mlp.fc1", "mlp.contract": "mlp.fc2"}
    for i, number in enumerate(range(1, HYPOTHESES + 1)):
        ours, theirs = f"generate.encoders.{i}", f"Transformer_encoder_{number}"
        names |= {
            f"generate.norms.{i}": f"norm_{number}",
            f"{ours}.position": f"{theirs}.pos_embed",
            f"{ours}.norm": f"{theirs}.norm",
            **prefixed(f"{ours}.blocks.#", f"{theirs}.blocks.#", TRANSFORMER_BLOCK_NAMES),
            f"embeddings.{i}.linear": f"embedding_{number}.0" if short else f"embedding_{number}",
            f"embeddings.{i}.norm": f"embedding_{number}.1",
            f"positions.{i}": f"{stages}.pos_embed_{number}",
        }
        block |= {
            f"attention_norms.{i}": f"norm1_{number}",
            f"attentions.{i}.qkv": f"attn_{number}.qkv",
            f"attentions.{i}.query_norm": f"norm3_{number}1",
            f"attentions.{i}.key_norm": f"norm3_{number}2",
            f"attentions.{i}.value_norm": f"norm3_{number}3",
            f"attentions.{i}.query": f"attn_{number}.linear_q",
            f"attentions.{i}.key": f"attn_{number}.linear_k",
            f"attentions.{i}.value": f"attn_{number}.linear_v",
            f"attentions.{i}.project": f"attn_{number}.proj",
        }
    names |= prefixed("blocks.#", f"{stages}.SHR_blocks.#", block)
    return names | prefixed(f"blocks.{config.layers - 1}", f"{stages}.CHI_blocks.0", block)


# Fields of our config to the options of the authors' program.
AUTHORS_OPTIONS = {"frames": "frames", "channels": "channel", "hidden": "d_hid", "layers": "layers"}
PUBLISHED = {
    "heads_mhg": GENERATOR_HEADS,
    "heads_shr_chi": HEADS,
    "n_joints": JOINTS,
    "out_joints": JOINTS,
}


def from_authors(
    state: Mapping[str, Tensor], **options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint; see `convert_state_dict`. The two numbers of heads are
    fixed in their code.
    """
    config = authors_config(MHFormerConfig, AUTHORS_OPTIONS, options, PUBLISHED)
    parsed = MHFormerConfig(**config)
    reshape = {
        # 1×1 convolutions over frames, (out, in, 1), as linear layers.
        "linear.weight": lambda w: w.flatten(1),
        "head.pose.weight": lambda w: w.flatten(1),
    }
    with torch.device("meta"):
        model = MHFormer(parsed)
    return config, translate(state, model, authors_names(parsed), reshape)
