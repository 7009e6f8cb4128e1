"""How fast the other lifters run here beside their published sequences of operations.

    python benchmarks/baseline_video.py [NAME ...] [--rounds 11] [--hourglass]

Each baseline below does every step of a published network as one eager PyTorch operation after
another: a call per layer, tokens regrouped with `reshape` and `permute`, attention as product,
scaling, softmax and product. Its tensors have the authors' names, so that our network loads the
very same weights through `convert_state_dict`, and the program first checks that both give the
same poses. Times are CPU milliseconds of one clip on one thread; the two take turns, and change
who goes first, so that a busy machine is unfair to neither. `--hourglass` times MixSTE of 243
frames beside itself in an hourglass (HoT), each with our code.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from baseline_nanohtnet import BONES, JOINTS, SpatialBlock, Stream, TwoLayers, joint_graph
from lithepose.deploy.cost import lifter_cost
from lithepose.lifters import LIFTERS, convert_state_dict, create_lifter

TOLERANCE = 1e-4
TURN_MS = 250.0  # a turn has as many calls as fit, at least one


class SelfAttention(nn.Module):
    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        rows, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(rows, tokens, 3, self.heads, dim // self.heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1)) * self.scale
        weights = self.attn_drop(weights.softmax(dim=-1))
        x = (weights @ v).transpose(1, 2).reshape(rows, tokens, dim)
        return self.proj_drop(self.proj(x))


class Block(nn.Module):
    """The pre-norm block of MixSTE and of MHFormer's first stage."""

    def __init__(self, dim: int, heads: int, hidden: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = SelfAttention(dim, heads)
        self.drop_path = nn.Identity()
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = TwoLayers(dim, hidden)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attn(self.norm1(x)))
        return x + self.drop_path(self.mlp(self.norm2(x)))


# --- HTNet ------------------------------------------------------------------------------------


class HTNet(nn.Module):
    def __init__(self, dim: int = 240, hidden: int = 1024, layers: int = 3):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, JOINTS, dim))
        self.patch_embed = nn.Linear(2, dim)
        blocks = [SpatialBlock(dim, hidden, joint_graph()) for _ in range(layers)]
        self.Hiremixer = Stream(list(blocks), dim)
        self.fcn = nn.Linear(dim, 3)

    def forward(self, x: Tensor) -> Tensor:
        clips, frames = x.shape[:2]
        x = x.reshape(clips * frames, JOINTS, 2)
        x = self.patch_embed(x)
        x = x + self.pos_embed
        x = self.fcn(self.Hiremixer(x))
        return x.reshape(clips, frames, JOINTS, 3)


# --- MixSTE -----------------------------------------------------------------------------------


class MixSTE(nn.Module):
    def __init__(self, frames: int, dim: int = 512, depth: int = 8, heads: int = 8):
        super().__init__()
        self.Spatial_patch_to_embedding = nn.Linear(2, dim)
        self.Spatial_pos_embed = nn.Parameter(torch.empty(1, JOINTS, dim))
        self.Temporal_pos_embed = nn.Parameter(torch.empty(1, frames, dim))
        self.pos_drop = nn.Dropout(0.0)
        self.STEblocks = nn.ModuleList(Block(dim, heads, 2 * dim) for _ in range(depth))
        self.TTEblocks = nn.ModuleList(Block(dim, heads, 2 * dim) for _ in range(depth))
        self.Spatial_norm = nn.LayerNorm(dim, eps=1e-6)
        self.Temporal_norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, 3))

    def forward(self, x: Tensor) -> Tensor:
        clips, frames = x.shape[:2]
        x = x.reshape(clips * frames, JOINTS, -1)
        x = self.Spatial_patch_to_embedding(x)
        x = self.pos_drop(x + self.Spatial_pos_embed)
        for number, (over_joints, over_frames) in enumerate(
            zip(self.STEblocks, self.TTEblocks, strict=True)
        ):
            x = self.Spatial_norm(over_joints(x))
            x = x.reshape(clips, frames, JOINTS, -1).permute(0, 2, 1, 3)
            x = x.reshape(clips * JOINTS, frames, -1)
            if number == 0:
                x = self.pos_drop(x + self.Temporal_pos_embed)
            x = self.Temporal_norm(over_frames(x))
            x = x.reshape(clips, JOINTS, frames, -1).permute(0, 2, 1, 3)
            x = x.reshape(clips * frames, JOINTS, -1)
        return self.head(x).reshape(clips, frames, JOINTS, 3)


# --- MotionBERT -------------------------------------------------------------------------------


class AxisAttention(nn.Module):
    """Attention of tokens (B·T, 17, C) over the joints, or over the frames, for which queries, keys
    and values are regrouped."""

    def __init__(self, dim: int, heads: int, axis: str):
        super().__init__()
        self.heads = heads
        self.axis = axis
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor, frames: int) -> Tensor:
        rows, joints, dim = x.shape
        qkv = self.qkv(x).reshape(rows, joints, 3, self.heads, dim // self.heads)
        qkv = qkv.permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]  # (B·T, heads, 17, C/heads)
        if self.axis == "t":
            q, k, v = (
                part.reshape(-1, frames, self.heads, joints, dim // self.heads).permute(
                    0, 2, 3, 1, 4
                )  # (B, heads, 17, T, C/heads)
                for part in (q, k, v)
            )
        weights = (q @ k.transpose(-2, -1)) * self.scale
        weights = self.attn_drop(weights.softmax(dim=-1))
        x = weights @ v
        x = x.permute(0, 3, 2, 1, 4) if self.axis == "t" else x.transpose(1, 2)
        x = x.reshape(rows, joints, dim)
        return self.proj_drop(self.proj(x))


class FourStepBlock(nn.Module):
    """Attention and MLP along one axis, then along the other; `order` is "st" or "ts"."""

    def __init__(self, dim: int, heads: int, hidden: int, order: str):
        super().__init__()
        self.order = order
        self.norm1_s, self.norm2_s, self.norm1_t, self.norm2_t = (
            nn.LayerNorm(dim, eps=1e-6) for _ in range(4)
        )
        self.attn_s, self.attn_t = (AxisAttention(dim, heads, axis) for axis in "st")
        self.mlp_s, self.mlp_t = TwoLayers(dim, hidden), TwoLayers(dim, hidden)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor, frames: int) -> Tensor:
        for axis in self.order:
            if axis == "s":
                x = x + self.drop_path(self.attn_s(self.norm1_s(x), frames))
                x = x + self.drop_path(self.mlp_s(self.norm2_s(x)))
            else:
                x = x + self.drop_path(self.attn_t(self.norm1_t(x), frames))
                x = x + self.drop_path(self.mlp_t(self.norm2_t(x)))
        return x


class Representation(nn.Module):
    def __init__(self, dim: int, representation: int):
        super().__init__()
        self.fc = nn.Linear(dim, representation)
        self.act = nn.Tanh()

    def forward(self, x: Tensor) -> Tensor:
        return self.act(self.fc(x))


class MotionBERT(nn.Module):
    def __init__(
        self, frames: int, dim: int = 256, hidden: int = 1024, depth: int = 5, heads: int = 8
    ):
        super().__init__()
        self.joints_embed = nn.Linear(3, dim)
        self.pos_embed = nn.Parameter(torch.empty(1, JOINTS, dim))
        self.temp_embed = nn.Parameter(torch.empty(1, frames, 1, dim))
        self.pos_drop = nn.Dropout(0.0)
        self.blocks_st = nn.ModuleList(
            FourStepBlock(dim, heads, hidden, "st") for _ in range(depth)
        )
        self.blocks_ts = nn.ModuleList(
            FourStepBlock(dim, heads, hidden, "ts") for _ in range(depth)
        )
        self.ts_attn = nn.ModuleList(nn.Linear(2 * dim, 2) for _ in range(depth))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.pre_logits = Representation(dim, 512)
        self.head = nn.Linear(512, 3)

    def forward(self, x: Tensor) -> Tensor:
        clips, frames = x.shape[:2]
        x = x.reshape(-1, JOINTS, 3)
        x = self.joints_embed(x)
        x = x + self.pos_embed
        x = x.reshape(clips, frames, JOINTS, -1) + self.temp_embed[:, :frames]
        x = self.pos_drop(x.reshape(clips * frames, JOINTS, -1))
        for one, other, fusion in zip(self.blocks_st, self.blocks_ts, self.ts_attn, strict=True):
            a, b = one(x, frames), other(x, frames)
            weights = fusion(torch.cat([a, b], dim=-1)).softmax(dim=-1)
            x = a * weights[:, :, 0:1] + b * weights[:, :, 1:2]
        x = self.norm(x)
        x = self.pre_logits(x.reshape(clips, frames, JOINTS, -1))
        return self.head(x)


# --- MHFormer ---------------------------------------------------------------------------------


class TrajectoryEncoder(nn.Module):
    def __init__(self, frames: int):
        super().__init__()
        self.pos_embed = nn.Parameter(torch.empty(1, 2 * JOINTS, frames))
        self.pos_drop = nn.Dropout(0.1)
        self.blocks = nn.ModuleList(Block(frames, 9, 2 * frames) for _ in range(4))
        self.norm = nn.LayerNorm(frames, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.pos_drop(x + self.pos_embed)
        for block in self.blocks:
            x = block(x)
        return self.norm(x)


class CrossAttention(nn.Module):
    def __init__(self, dim: int, heads: int = 8):
        super().__init__()
        self.heads = heads
        self.scale = (dim // heads) ** -0.5
        self.linear_q, self.linear_k, self.linear_v = (nn.Linear(dim, dim) for _ in range(3))
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.1)

    def forward(self, x_q: Tensor, x_k: Tensor, x_v: Tensor) -> Tensor:
        clips, tokens, dim = x_q.shape
        shape = (clips, tokens, self.heads, dim // self.heads)
        q = self.linear_q(x_q).reshape(shape).permute(0, 2, 1, 3)
        k = self.linear_k(x_k).reshape(shape).permute(0, 2, 1, 3)
        v = self.linear_v(x_v).reshape(shape).permute(0, 2, 1, 3)
        weights = (q @ k.transpose(-2, -1)) * self.scale
        weights = self.attn_drop(weights.softmax(dim=-1))
        x = (weights @ v).transpose(1, 2).reshape(clips, tokens, dim)
        return self.proj_drop(self.proj(x))


def thirds(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    dim = x.shape[2] // 3
    return x[:, :, :dim], x[:, :, dim : 2 * dim], x[:, :, 2 * dim :]


class RefinementBlock(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.norm1_1, self.norm1_2, self.norm1_3 = (nn.LayerNorm(dim, eps=1e-6) for _ in range(3))
        self.attn_1, self.attn_2, self.attn_3 = (SelfAttention(dim, 8) for _ in range(3))
        self.norm2 = nn.LayerNorm(3 * dim, eps=1e-6)
        self.mlp = TwoLayers(3 * dim, hidden)
        self.drop_path = nn.Identity()

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a = a + self.drop_path(self.attn_1(self.norm1_1(a)))
        b = b + self.drop_path(self.attn_2(self.norm1_2(b)))
        c = c + self.drop_path(self.attn_3(self.norm1_3(c)))
        x = torch.cat([a, b, c], dim=2)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return thirds(x)


class InteractionBlock(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.norm3_11, self.norm3_12, self.norm3_13 = (
            nn.LayerNorm(dim, eps=1e-6) for _ in range(3)
        )
        self.norm3_21, self.norm3_22, self.norm3_23 = (
            nn.LayerNorm(dim, eps=1e-6) for _ in range(3)
        )
        self.norm3_31, self.norm3_32, self.norm3_33 = (
            nn.LayerNorm(dim, eps=1e-6) for _ in range(3)
        )
        self.attn_1, self.attn_2, self.attn_3 = (CrossAttention(dim) for _ in range(3))
        self.norm2 = nn.LayerNorm(3 * dim, eps=1e-6)
        self.mlp = TwoLayers(3 * dim, hidden)
        self.drop_path = nn.Identity()

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        crossed = self.attn_1(self.norm3_11(b), self.norm3_12(c), self.norm3_13(a))
        a = a + self.drop_path(crossed)
        crossed = self.attn_2(self.norm3_21(a), self.norm3_22(c), self.norm3_23(b))
        b = b + self.drop_path(crossed)
        crossed = self.attn_3(self.norm3_31(a), self.norm3_32(b), self.norm3_33(c))
        c = c + self.drop_path(crossed)
        x = torch.cat([a, b, c], dim=2)
        x = x + self.drop_path(self.mlp(self.norm2(x)))
        return thirds(x)


class HypothesisStages(nn.Module):
    def __init__(self, frames: int, dim: int, hidden: int, layers: int):
        super().__init__()
        self.pos_embed_1, self.pos_embed_2, self.pos_embed_3 = (
            nn.Parameter(torch.empty(1, frames, dim)) for _ in range(3)
        )
        self.pos_drop = nn.Dropout(0.1)
        self.SHR_blocks = nn.ModuleList(RefinementBlock(dim, hidden) for _ in range(layers - 1))
        self.CHI_blocks = nn.ModuleList([InteractionBlock(dim, hidden)])
        self.norm = nn.LayerNorm(3 * dim, eps=1e-6)

    def forward(self, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
        a = self.pos_drop(a + self.pos_embed_1)
        b = self.pos_drop(b + self.pos_embed_2)
        c = self.pos_drop(c + self.pos_embed_3)
        for block in self.SHR_blocks:
            a, b, c = block(a, b, c)
        a, b, c = self.CHI_blocks[0](a, b, c)
        return self.norm(torch.cat([a, b, c], dim=2))


class MHFormer(nn.Module):
    """For clips of more than 27 frames."""

    def __init__(self, frames: int, dim: int = 512, hidden: int = 1024, layers: int = 3):
        super().__init__()
        self.norm_1, self.norm_2, self.norm_3 = (nn.LayerNorm(frames) for _ in range(3))
        self.Transformer_encoder_1, self.Transformer_encoder_2, self.Transformer_encoder_3 = (
            TrajectoryEncoder(frames) for _ in range(3)
        )
        self.embedding_1, self.embedding_2, self.embedding_3 = (
            nn.Conv1d(2 * JOINTS, dim, kernel_size=1) for _ in range(3)
        )
        self.Transformer_hypothesis = HypothesisStages(frames, dim, hidden, layers)
        self.regression = nn.Sequential(
            nn.BatchNorm1d(3 * dim), nn.Conv1d(3 * dim, 3 * JOINTS, kernel_size=1)
        )

    def forward(self, x: Tensor) -> Tensor:
        clips, frames = x.shape[:2]
        x = x.permute(0, 2, 3, 1).reshape(clips, 2 * JOINTS, frames)
        a = x + self.Transformer_encoder_1(self.norm_1(x))
        b = a + self.Transformer_encoder_2(self.norm_2(a))
        c = b + self.Transformer_encoder_3(self.norm_3(b))
        a = self.embedding_1(a).permute(0, 2, 1).contiguous()
        b = self.embedding_2(b).permute(0, 2, 1).contiguous()
        c = self.embedding_3(c).permute(0, 2, 1).contiguous()
        x = self.Transformer_hypothesis(a, b, c)
        x = self.regression(x.permute(0, 2, 1).contiguous())  # (B, 51, T)
        return x.permute(0, 2, 1).contiguous().reshape(clips, frames, JOINTS, 3)


# --- MotionAGFormer ---------------------------------------------------------------------------


class GridAttention(nn.Module):
    """Attention of tokens (B, T, 17, C) over the joints or over the frames."""

    def __init__(self, dim: int, heads: int, over: str):
        super().__init__()
        self.heads = heads
        self.over = over
        self.scale = (dim // heads) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.0)

    def forward(self, x: Tensor) -> Tensor:
        clips, frames, joints, dim = x.shape
        qkv = self.qkv(x).reshape(clips, frames, joints, 3, self.heads, dim // self.heads)
        qkv = qkv.permute(3, 0, 4, 1, 2, 5)
        q, k, v = qkv[0], qkv[1], qkv[2]  # (B, heads, T, 17, C/heads)
        if self.over == "frames":
            q, k, v = q.transpose(2, 3), k.transpose(2, 3), v.transpose(2, 3)
        weights = (q @ k.transpose(-2, -1)) * self.scale
        weights = self.attn_drop(weights.softmax(dim=-1))
        x = weights @ v
        x = x.permute(0, 3, 2, 1, 4) if self.over == "frames" else x.permute(0, 2, 3, 1, 4)
        return self.proj_drop(self.proj(x.reshape(clips, frames, joints, dim)))


def skeleton_rows() -> Tensor:
    """Which joints each joint receives from, as published: not symmetric. (17, 17)."""
    graph = torch.zeros(JOINTS, JOINTS)
    for a, b in BONES:
        graph[a, b] = graph[b, a] = 1.0
    graph[0, 4] = graph[8, 11] = graph[8, 14] = 0.0
    return graph


class GraphMixer(nn.Module):
    """Graph convolution of tokens (B, T, 17, C) along bones or between similar frames."""

    def __init__(self, dim: int, over: str, nodes: int, neighbours: int = 2):
        super().__init__()
        self.over = over
        self.neighbours = neighbours
        self.skeleton = skeleton_rows()
        self.U = nn.Linear(dim, dim)
        self.V = nn.Linear(dim, dim)
        self.batch_norm = nn.BatchNorm1d(nodes)
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        clips, frames, joints, dim = x.shape
        if self.over == "frames":
            x = x.transpose(1, 2).reshape(clips * joints, frames, dim)
            similarity = x @ x.transpose(1, 2)
            last = similarity.topk(self.neighbours, dim=-1, largest=True).values[..., -1:]
            graph = (similarity >= last).float()
        else:
            x = x.reshape(clips * frames, joints, dim)
            graph = self.skeleton.repeat(clips * frames, 1, 1)
        # The published count of multiply-adds has both products with the diagonal matrix.
        scale = torch.eye(x.shape[1]) * (graph.sum(dim=-1) ** -0.5).unsqueeze(-1)
        graph = torch.bmm(torch.bmm(scale, graph), scale)
        received = graph @ self.V(x)
        x = self.relu(x + self.batch_norm(received + self.U(x)))
        if self.over == "frames":
            return x.reshape(clips, joints, frames, dim).transpose(1, 2)
        return x.reshape(clips, frames, joints, dim)


class ScaledUnit(nn.Module):
    def __init__(self, dim: int, mixer: nn.Module):
        super().__init__()
        self.norm1 = nn.LayerNorm(dim)
        self.mixer = mixer
        self.norm2 = nn.LayerNorm(dim)
        self.mlp = TwoLayers(dim, 4 * dim)
        self.drop_path = nn.Identity()
        self.layer_scale_1 = nn.Parameter(torch.empty(dim))
        self.layer_scale_2 = nn.Parameter(torch.empty(dim))

    def forward(self, x: Tensor) -> Tensor:
        scale_1 = self.layer_scale_1.unsqueeze(0).unsqueeze(0)
        scale_2 = self.layer_scale_2.unsqueeze(0).unsqueeze(0)
        x = x + self.drop_path(scale_1 * self.mixer(self.norm1(x)))
        return x + self.drop_path(scale_2 * self.mlp(self.norm2(x)))


class TwoBranches(nn.Module):
    def __init__(self, dim: int, frames: int, heads: int):
        super().__init__()
        self.att_spatial = ScaledUnit(dim, GridAttention(dim, heads, "joints"))
        self.att_temporal = ScaledUnit(dim, GridAttention(dim, heads, "frames"))
        self.graph_spatial = ScaledUnit(dim, GraphMixer(dim, "joints", JOINTS))
        self.graph_temporal = ScaledUnit(dim, GraphMixer(dim, "frames", frames))
        self.fusion = nn.Linear(2 * dim, 2)

    def forward(self, x: Tensor) -> Tensor:
        attended = self.att_temporal(self.att_spatial(x))
        convolved = self.graph_temporal(self.graph_spatial(x))
        weights = self.fusion(torch.cat((attended, convolved), dim=-1)).softmax(dim=-1)
        return attended * weights[..., 0:1] + convolved * weights[..., 1:2]


class MotionAGFormer(nn.Module):
    def __init__(self, frames: int, layers: int, dim: int = 64, heads: int = 8):
        super().__init__()
        self.joints_embed = nn.Linear(3, dim)
        self.pos_embed = nn.Parameter(torch.empty(1, JOINTS, dim))
        self.layers = nn.ModuleList(TwoBranches(dim, frames, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(dim)
        self.rep_logit = Representation(dim, 512)
        self.head = nn.Linear(512, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.joints_embed(x)
        x = x + self.pos_embed
        for layer in self.layers:
            x = layer(x)
        return self.head(self.rep_logit(self.norm(x)))


# --- the comparison ---------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Case:
    """A baseline, the authors' options that build the same network here, and the clip."""

    baseline: Callable[[], nn.Module]
    network: str
    frames: int
    channels: int = 2
    options: dict[str, Any] = field(default_factory=dict)


CASES = {
    "htnet": Case(baseline=HTNet, network="htnet", frames=1),
    "mixste-27": Case(
        baseline=lambda: MixSTE(27), network="mixste", frames=27, options={"frames": 27}
    ),
    "mixste-243": Case(
        baseline=lambda: MixSTE(243), network="mixste", frames=243, options={"frames": 243}
    ),
    "motionbert-lite": Case(
        baseline=lambda: MotionBERT(81),
        network="motionbert",
        frames=81,
        channels=3,
        options={"dim_feat": 256, "mlp_ratio": 4, "maxlen": 81},
    ),
    "mhformer-81": Case(
        baseline=lambda: MHFormer(81), network="mhformer", frames=81, options={"frames": 81}
    ),
    "motionagformer-xs": Case(
        baseline=lambda: MotionAGFormer(27, 12),
        network="motionagformer",
        frames=27,
        channels=3,
        options={"n_layers": 12, "dim_feat": 64, "n_frames": 27},
    ),
    "motionagformer-s": Case(
        baseline=lambda: MotionAGFormer(81, 26),
        network="motionagformer",
        frames=81,
        channels=3,
        options={"n_layers": 26, "dim_feat": 64, "n_frames": 81},
    ),
}


def randomise(model: nn.Module) -> None:
    """Give every tensor random values, seeded, that keep activations of order one."""
    generator = torch.Generator().manual_seed(1)

    def uniform(shape: torch.Size) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    with torch.no_grad():
        for name, tensor in (*model.named_parameters(), *model.named_buffers()):
            values = uniform(tensor.shape)
            if not tensor.is_floating_point():
                continue
            if "layer_scale" in name:  # 1e-5 before training, which would hide the branches
                values = 0.3 * (1 + 0.2 * values)
            elif name.endswith("running_var") or (name.endswith("weight") and tensor.dim() == 1):
                values = 1 + 0.2 * values
            elif "embed" in name and not name.endswith(("weight", "bias")):
                values = 0.5 * values
            elif tensor.dim() > 1:
                fan_in = tensor.shape[-2] if name.endswith(".W") else tensor[0].numel()
                values = values * math.sqrt(3 / fan_in)
            else:
                values = 0.1 * values
            tensor.copy_(values)


def take_turns(
    runs: dict[str, Callable[[], object]], rounds: int, turn_ms: float = TURN_MS
) -> dict[str, list[float]]:
    """CPU milliseconds of each call, the networks taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    calls: dict[str, int] = {}

    def once(name: str) -> float:
        start = time.process_time_ns()
        runs[name]()
        return (time.process_time_ns() - start) / 1e6

    with torch.inference_mode():
        for name in runs:
            once(name)
            calls[name] = max(1, round(turn_ms / max(once(name), 1e-3)))
        most = max(calls.values())  # as many for each, or the quicker has more chances of a minimum
        for number in range(rounds):
            order = list(runs) if number % 2 == 0 else list(runs)[::-1]
            for name in order:
                for call in range(-min(3, most - 1), most):
                    spent = once(name)
                    if call >= 0:  # the first calls bring the weights back into the cache
                        times[name].append(spent)
    return times


def compare(name: str, rounds: int) -> str:
    """A line of the table: time of the baseline and ours, after a check that they agree."""
    case = CASES[name]
    baseline = case.baseline().eval()
    randomise(baseline)
    config, state = convert_state_dict(case.network, baseline.state_dict(), **case.options)
    ours = create_lifter(case.network, **config).eval()
    ours.load_state_dict(state)
    generator = torch.Generator().manual_seed(2)
    clip = torch.randn(1, case.frames, JOINTS, case.channels, generator=generator)
    with torch.inference_mode():
        difference = (ours(clip) - baseline(clip)).abs().max().item()
    if not difference <= TOLERANCE:
        raise SystemExit(f"our {name} differs from the baseline by {difference:.2e}")
    times = take_turns({"baseline": lambda: baseline(clip), "ours": lambda: ours(clip)}, rounds)
    theirs, own = times["baseline"], times["ours"]
    calls = len(own) // rounds
    turns = [slice(start, start + calls) for start in range(0, len(own), calls)]
    ratios = [statistics.median(theirs[t]) / statistics.median(own[t]) for t in turns]
    low, _, high = statistics.quantiles(ratios, n=4)
    cells = [
        f"`{name}`",
        str(case.frames),
        f"{statistics.median(theirs):.1f} ({min(theirs):.1f})",
        f"{statistics.median(own):.1f} ({min(own):.1f})",
        f"{statistics.median(theirs) / statistics.median(own):.2f}",
        f"{low:.2f} to {high:.2f}",
        f"{min(theirs) / min(own):.2f}",
        str(len(own)),
        f"{difference:.0e}",
    ]
    return f"| {' | '.join(cells)} |"


def compare_hourglass(rounds: int) -> str:
    """MixSTE of 243 frames, whole and in an hourglass with the same host."""
    names = ("mixste-243", "hot-mixste-243")
    models = {name: create_lifter(name).eval() for name in names}
    clip = torch.randn(
        1, LIFTERS[names[0]].frames_in, JOINTS, 2, generator=torch.Generator().manual_seed(2)
    )
    times = take_turns(
        {name: lambda model=model: model(clip) for name, model in models.items()}, rounds
    )
    macs = {name: lifter_cost(name).macs for name in names}
    lines = [
        "| network | GMAC | CPU ms, median (min) | fewer multiply-adds | less time, median (min) |",
        "|---|--:|--:|--:|--:|",
    ]
    whole = names[0]
    for name in names:
        found, all_frames = times[name], times[whole]
        fewer = 1 - macs[name] / macs[whole]
        middle = 1 - statistics.median(found) / statistics.median(all_frames)
        least = 1 - min(found) / min(all_frames)
        saved = ("", "") if name == whole else (f"{fewer:.1%}", f"{middle:.1%} ({least:.1%})")
        lines.append(
            f"| `{name}` | {macs[name] / 1e9:.1f} | {statistics.median(found):.0f} "
            f"({min(found):.0f}) | {saved[0]} | {saved[1]} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(CASES)}")
    parser.add_argument("--rounds", type=int, default=11, help="turns of each network")
    parser.add_argument("--hourglass", action="store_true", help="MixSTE beside HoT, three rounds")
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in CASES]
    if options.rounds < 2:
        parser.error(
            f"--rounds must be at least 2, to tell how much the turns differ: {options.rounds}"
        )
    if unknown:
        parser.error(f"no baseline for {', '.join(unknown)}; known: {', '.join(CASES)}")
    torch.set_num_threads(1)

    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    print(f"PyTorch {torch.__version__}, eager float32, batch 1, 1 thread{load}\n")
    if options.hourglass:
        print(compare_hourglass(rounds=3))
        return
    print(
        "| network | frames | baseline, CPU ms, median (min) | ours | ratio of medians "
        "| middle half of the turns | ratio of minima | calls each | largest difference |"
    )
    print("|---|--:|--:|--:|--:|--:|--:|--:|--:|")
    for name in options.names or CASES:
        print(compare(name, options.rounds), flush=True)


if __name__ == "__main__":
    main()
