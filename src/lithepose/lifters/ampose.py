"""AMPose: attention among all joints, then graph convolution along the bones, in turn.

Attention lets every joint read every other, but knows no skeleton. The graph convolution knows
the skeleton, and keeps one weight matrix each for a joint itself, for messages from joints further
out, and for messages from joints further in: limbs and trunk do not move alike.

**This is a reconstruction.** Source: Lin, Chiu and Wu, "AMPose: Alternately Mixed Global-Local
Attention Model for 3D Human Pose Estimation" (arXiv 2210.04216), of which abstract and introduction
were at hand, no table, no equation and no code. From there: single frames, encoder and graph blocks
that alternate, one weight matrix for all joints as the fault to avoid. Everything else is inferred,
and whatever is inferred and could be otherwise is a field of `AMPoseConfig`. The graph follows Cai
et al., "Exploiting Spatial-Temporal Relationships for 3D Pose Estimation via Graph Convolutional
Networks" (2019). No published figure has been reproduced.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn

from lithepose.lifters.blocks import (
    JOINTS,
    SKELETON,
    TransformerBlock,
    bone_graph,
    check_clips,
    check_counts,
    check_heads,
    check_probabilities,
    drop_path_rates,
    full_precision,
)

# Bones between each joint and the spine (joint 7), from which in and out are told apart.
BONES_TO_CENTRE = (1, 2, 3, 4, 2, 3, 4, 0, 1, 2, 3, 2, 3, 4, 2, 3, 4)
BLOCK_KINDS = {
    "encoder-graph": ("encoder", "graph"),
    "graph-encoder": ("graph", "encoder"),
    "encoder-only": ("encoder", "encoder"),
    "graph-only": ("graph", "graph"),
}
GROUPED_ORDERS = {
    "encoders-then-graphs": ("encoder", "graph"),
    "graphs-then-encoders": ("graph", "encoder"),
}


@dataclass(frozen=True, kw_only=True)
class AMPoseConfig:
    """Size, regularisation and all inferred choices of an AMPose.

    From the paper are single frames, (x, y) as input and blocks that alternate. **Every other
    default here is inferred.**

    Attributes:
        frames: 1 lifts frame by frame. More is an extension of ours, not the paper's: each joint's
            token holds its positions in all frames of a short window, whose centre frame is lifted.
        in_channels: numbers per joint and frame.
        channels: width C, a multiple of `heads`.
        pairs: N; there are 2N blocks in every order.
        order: how encoder and graph blocks follow each other; the alternation `"encoder-graph"` and
            `"graph-encoder"`, or for comparison one kind only, or all of one kind first.
        heads: of the attention.
        mlp_ratio: width of the encoder's MLP, in multiples of C.
        joint_embedding: add a learned vector per joint to the tokens.
        convolutions: graph convolutions in a graph block, 1 or 2, under one residual.
        neighbour_classes: weight matrices of a graph convolution. 1: one for all, the ordinary
            graph convolution. 2: self, neighbours. 3: self, from outside, from inside. 4: also
            the same joint of the other side, which is no bone.
        learned_edges: scale every edge of every class by a learned number.
        graph_norm: after a graph convolution, over batch and joints or over channels.
        graph_activation: after it.
        head_norm: a layer norm before the output layer.
        dropout: in the encoder, and after each graph convolution.
        drop_path: probability of dropping an encoder's branch in the first and in the last encoder.
    """

    frames: int = 1
    in_channels: int = 2
    channels: int = 512
    pairs: int = 5
    order: Literal[
        "encoder-graph",
        "graph-encoder",
        "encoder-only",
        "graph-only",
        "encoders-then-graphs",
        "graphs-then-encoders",
    ] = "encoder-graph"
    heads: int = 8
    mlp_ratio: int = 2
    joint_embedding: bool = True
    convolutions: int = 2
    neighbour_classes: int = 3
    learned_edges: bool = False
    graph_norm: Literal["batch", "layer"] = "batch"
    graph_activation: Literal["gelu", "relu"] = "gelu"
    head_norm: bool = False
    dropout: float = 0.1
    drop_path: tuple[float, float] = (0.0, 0.1)

    def __post_init__(self) -> None:
        if self.frames < 1 or self.frames % 2 == 0:
            raise ValueError(f"frames must be odd, so that a window has a centre: {self.frames}")
        check_counts(self, "in_channels", "channels", "pairs", "heads", "mlp_ratio")
        check_heads(self)
        allowed = {
            "order": (*BLOCK_KINDS, *GROUPED_ORDERS),
            "convolutions": (1, 2),
            "neighbour_classes": (1, 2, 3, 4),
            "graph_norm": ("batch", "layer"),
            "graph_activation": ("gelu", "relu"),
        }
        for name, values in allowed.items():
            if getattr(self, name) not in values:
                known = ", ".join(map(str, values))
                raise ValueError(f"{name} must be one of {known}: {getattr(self, name)}")
        check_probabilities(self, "dropout")

    def block_kinds(self) -> list[str]:
        """Kind of each block, `"encoder"` or `"graph"`, from first to last."""
        if self.order in GROUPED_ORDERS:
            return [kind for kind in GROUPED_ORDERS[self.order] for _ in range(self.pairs)]
        return list(BLOCK_KINDS[self.order]) * self.pairs


def neighbour_matrices(classes: int) -> Tensor:
    """How much of joint v reaches joint w, by the class of the edge.

    The bones of the 17 joints and the joints themselves, each weighted so that what reaches a joint
    is the mean over its neighbourhood, itself included, and then split into classes.

    Args:
        classes: 1 to 4; see `AMPoseConfig.neighbour_classes`.

    Returns:
        (classes, 17, 17), row v, column w, float32. The columns of their sum add up to one.
    """
    edges = torch.eye(JOINTS) + bone_graph()
    if classes == 4:
        for left, right in SKELETON.pairs:
            edges[right, left] = edges[left, right] = 1.0
    edges /= edges.sum(dim=0)
    if classes == 1:
        return edges.unsqueeze(0)
    own = torch.eye(JOINTS)
    if classes == 2:
        supports = [own, 1.0 - own]
    else:
        distance = torch.tensor(BONES_TO_CENTRE)
        outward = distance[:, None] - distance  # how much further out v is than w
        supports = [own, (outward > 0).float(), (outward < 0).float()]
        if classes == 4:
            supports.append((outward == 0).float() - own)
    return torch.stack([edges * support for support in supports])


class ClassGraphConvolution(nn.Module):
    """Graph convolution with one weight matrix per class of neighbours: (B, 17, C) to
    (B, 17, C)."""

    matrices: Tensor

    def __init__(self, dim: int, classes: int, learned_edges: bool):
        super().__init__()
        self.classes = classes
        self.transform = nn.Linear(dim, classes * dim)  # outputs: class 0, class 1, ...
        self.edge_scale = (
            nn.Parameter(torch.ones(classes, JOINTS, JOINTS)) if learned_edges else None
        )
        self.register_buffer("matrices", neighbour_matrices(classes), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        matrices = self.matrices if self.edge_scale is None else self.matrices * self.edge_scale
        edges = matrices.permute(2, 1, 0).flatten(1)  # (17 targets, 17 sources · classes)
        messages = self.transform(x).unflatten(-1, (self.classes, -1)).flatten(1, 2)
        return torch.matmul(edges, messages)  # (17, 17K) times (B, 17K, C)


class GraphLayer(nn.Module):
    """A graph convolution with the norm, activation and dropout after it."""

    def __init__(self, config: AMPoseConfig):
        super().__init__()
        dim, classes = config.channels, config.neighbour_classes
        self.convolution = ClassGraphConvolution(dim, classes, config.learned_edges)
        self.norm = nn.BatchNorm1d(dim) if config.graph_norm == "batch" else nn.LayerNorm(dim)
        self.activation = nn.GELU() if config.graph_activation == "gelu" else nn.ReLU()
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x)
        x = self.norm(x.flatten(0, 1)).view_as(x)  # batch statistics over clips and joints
        return self.dropout(self.activation(x))


class GraphBlock(nn.Module):
    """One or two graph layers as a residual branch."""

    def __init__(self, config: AMPoseConfig):
        super().__init__()
        self.layers = nn.Sequential(*(GraphLayer(config) for _ in range(config.convolutions)))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class AMPose(nn.Module):
    """Lift single frames, or the centre of short windows; see the module's docstring."""

    Config = AMPoseConfig

    def __init__(self, config: AMPoseConfig):
        super().__init__()
        self.config = config
        dim = config.channels
        self.embed = nn.Linear(config.frames * config.in_channels, dim)
        self.joint_embedding = (
            nn.Parameter(torch.zeros(1, JOINTS, dim)) if config.joint_embedding else None
        )
        kinds = config.block_kinds()
        drop_paths = iter(drop_path_rates(*config.drop_path, kinds.count("encoder")))
        hidden, dropout = config.mlp_ratio * dim, config.dropout
        self.blocks = nn.ModuleList(
            GraphBlock(config)
            if kind == "graph"
            else TransformerBlock(
                dim, config.heads, hidden, dropout=dropout, drop_path=next(drop_paths)
            )
            for kind in kinds
        )
        self.head_norm = nn.LayerNorm(dim, eps=1e-6) if config.head_norm else nn.Identity()
        self.head = nn.Linear(dim, 3)

    def forward(self, joints_2d: Tensor) -> Tensor:
        """Lift frames, or windows to their centre frames.

        Args:
            joints_2d: image width mapped to [-1, 1]. With `frames` 1: (B, T, 17, in_channels), any
                T, every frame by itself. Otherwise (B, frames, 17, in_channels).

        Returns:
            (B, T, 17, 3) or (B, 1, 17, 3), metres, camera axes, relative to the root joint.

        Raises:
            ValueError: the input has another shape.
        """
        frames, channels = self.config.frames, self.config.in_channels
        length = joints_2d.shape[1] if frames == 1 and joints_2d.dim() == 4 else frames
        check_clips(joints_2d, max(length, 1), channels)
        # (B·T, 17, c), or (B, 17, frames·c), frame by frame
        window = joints_2d.transpose(1, 2).flatten(2) if frames > 1 else joints_2d.flatten(0, 1)
        with full_precision(joints_2d):
            x = self.embed(window.float())
            if self.joint_embedding is not None:
                x = x + self.joint_embedding
        for block in self.blocks:
            x = block(x)
        with full_precision(joints_2d):
            poses = self.head(self.head_norm(x.float()))
        return poses.unsqueeze(1) if frames > 1 else poses.unflatten(0, joints_2d.shape[:2])
