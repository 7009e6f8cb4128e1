"""MotionAGFormer: lift a clip of 2D skeletons with attention and graph convolutions side by side.

Every joint of every frame is a token. Each layer has two branches on the same tokens, attention for
what is far apart and graph convolutions for what is near; both go over the joints of each frame and
then over the frames of each joint, and each token weighs what they give. The graph of the joints is
the skeleton; that of the frames joins each frame to the most similar ones.

Source: Mehraban, Adeli and Taati, "MotionAGFormer: Enhancing 3D Human Pose Estimation with a
Transformer-GCNFormer Network" (arXiv 2310.16288), and the authors' code, with its skeleton that
lacks three edges in one direction. Differences from the code: similar frames are found with less
rounding; any number of input channels; under autocast the first and last layers and the search for
similar frames stay in float32.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn

from lithepose.lifters.blocks import (
    JOINTS,
    AdaptiveFusion,
    Attention,
    Mlp,
    RepresentationHead,
    VideoTransformer,
    bone_graph,
    check_clips,
    check_counts,
    check_heads,
    full_precision,
    mix_frames,
    mix_joints,
)
from lithepose.lifters.weights import authors_config, prefixed, translate

MLP_RATIO = 4  # width of the MLPs over that of the tokens


@dataclass(frozen=True, kw_only=True)
class MotionAGFormerConfig:
    """Size of a MotionAGFormer; the defaults are its published base size (B).

    Attributes:
        frames: T, frames of a clip.
        in_channels: numbers per joint and frame; 3 in the paper (x, y, confidence).
        layers: number of layers, each with two branches.
        channels: C, the width, a multiple of `heads`.
        heads: of the attention.
        neighbours: frames that each frame is joined to, itself among them as a rule.
        representation: numbers per joint and frame that the head passes through.
        layer_frames: frames that each layer sees, where frames are left out between layers; its
            norms are made for their number. None: all layers see all frames.
    """

    frames: int = 243
    in_channels: int = 3
    layers: int = 16
    channels: int = 128
    heads: int = 8
    neighbours: int = 2
    representation: int = 512
    layer_frames: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        check_counts(self, *(name for name in vars(self) if name != "layer_frames"))
        check_heads(self)
        if self.layer_frames is not None:
            # A tuple read back from JSON is a list; configs compare by value.
            object.__setattr__(self, "layer_frames", tuple(self.layer_frames))
        counts = self.frames_of_layers
        if len(counts) != self.layers:
            raise ValueError(
                f"layer_frames must say how many frames each of the {self.layers} layers sees: "
                f"{len(counts)} numbers"
            )
        if any(after > before for before, after in pairwise((self.frames, *counts))):
            raise ValueError(
                f"layer_frames cannot exceed frames ({self.frames}), nor rise from layer to layer: "
                f"{counts}"
            )
        if counts[-1] < self.neighbours:
            raise ValueError(
                f"neighbours must be at most the frames that a layer sees ({counts[-1]}): "
                f"{self.neighbours}"
            )

    @property
    def frames_of_layers(self) -> tuple[int, ...]:
        """How many frames each layer sees."""
        return (self.frames,) * self.layers if self.layer_frames is None else self.layer_frames


class BiaslessAttention(Attention):
    """Multi-head self-attention whose queries, keys and values have no bias."""

    def __init__(self, dim: int, heads: int):
        super().__init__(dim, heads)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)


def directed_skeleton() -> Tensor:
    """Which joints each joint (row) receives from: 0 or 1, (17, 17), float32.

    The pelvis does not receive from the left hip, nor the thorax from the shoulders, although they
    receive from it: so it is in the authors' code, and their weights are trained for that.
    """
    edges = bone_graph()
    edges[0, 4] = edges[8, 11] = edges[8, 14] = 0.0
    return edges


def similar_frames(x: Tensor, neighbours: int) -> Tensor:
    """Which frames each frame receives from: those with the largest dot products with it.

    Args:
        x: (N, T, C), features of the frames.
        neighbours: how many; more where several dot products equal the last one that counts.

    Returns:
        (N, T, T), 0 or 1, float32, rows receive; without gradient.
    """
    x = x.detach()
    # Half precision would choose among near equals at random.
    with full_precision(x):
        x = x.float()
        # Without the mean of the frames every product of a row is less by the same number, which
        # changes no choice. But neighbouring frames are alike: what is left of them is small, and
        # so is the rounding, which chooses other frames than exact arithmetic otherwise.
        apart = x - x.mean(dim=1, keepdim=True)
        similarity = torch.matmul(x, apart.transpose(1, 2))  # (N, T, T)
    last = similarity.topk(neighbours, dim=-1).values[..., -1:]
    return (similarity >= last).float()


def normalise_edges(edges: Tensor) -> Tensor:
    """Divide each edge by the roots of the degrees of both its ends; (..., N, N). The degree of a
    node is the number of nodes it receives from."""
    scale = edges.sum(dim=-1).rsqrt()  # (..., N)
    return scale.unsqueeze(-1) * edges * scale.unsqueeze(-2)


class NodeConvolution(nn.Module):
    """Graph convolution with a batch norm per node, in a residual branch.

    Args:
        dim: C, features per node.
        nodes: N. The statistics of a node are over the batch and the features.
    """

    def __init__(self, dim: int, nodes: int):
        super().__init__()
        self.own = nn.Linear(dim, dim)
        self.received = nn.Linear(dim, dim)
        self.node_norm = nn.BatchNorm1d(nodes)
        for linear in (self.own, self.received):
            nn.init.normal_(linear.weight, std=math.sqrt(2.0 / dim))

    def forward(self, x: Tensor, edges: Tensor) -> Tensor:
        """Convolve (B, N, C) over normalised edges, (N, N) or (B, N, N)."""
        nodes = self.node_norm.num_features
        if x.shape[1] != nodes:
            raise ValueError(
                f"the layer was built for {nodes} frames and got {x.shape[1]}: say in layer_frames "
                "how many each layer will see"
            )
        mixed = torch.matmul(edges.to(x.dtype), self.received(x)) + self.own(x)
        return torch.relu(x + self.node_norm(mixed))


class JointGraph(nn.Module):
    """Graph convolution along the bones: (N, 17, C) to (N, 17, C)."""

    edges: Tensor

    def __init__(self, dim: int):
        super().__init__()
        self.convolution = NodeConvolution(dim, JOINTS)
        self.register_buffer("edges", normalise_edges(directed_skeleton()), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x, self.edges)


class FrameGraph(nn.Module):
    """Graph convolution between similar frames: (N, T, C) to (N, T, C)."""

    def __init__(self, dim: int, frames: int, neighbours: int):
        super().__init__()
        self.convolution = NodeConvolution(dim, frames)
        self.neighbours = neighbours

    def forward(self, x: Tensor) -> Tensor:
        return self.convolution(x, normalise_edges(similar_frames(x, self.neighbours)))


class ScaledBlock(nn.Module):
    """A mixer, then an MLP: residual branches with a norm before and a learned scale per channel
    after. The scales start near zero. (N, tokens, C) to the same."""

    def __init__(self, dim: int, mixer: nn.Module):
        super().__init__()
        self.mixer_norm = nn.LayerNorm(dim)
        self.mixer = mixer
        self.mixer_scale = nn.Parameter(torch.full((dim,), 1e-5))
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, MLP_RATIO * dim)
        self.mlp_scale = nn.Parameter(torch.full((dim,), 1e-5))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.mixer_scale * self.mixer(self.mixer_norm(x))
        return x + self.mlp_scale * self.mlp(self.mlp_norm(x))


class AttentionGraphLayer(nn.Module):
    """Both branches over (B, T, 17, C) tokens, and their fusion. `frames` is T."""

    def __init__(self, dim: int, heads: int, neighbours: int, frames: int):
        super().__init__()
        self.joint_attention = ScaledBlock(dim, BiaslessAttention(dim, heads))
        self.frame_attention = ScaledBlock(dim, BiaslessAttention(dim, heads))
        self.joint_graph = ScaledBlock(dim, JointGraph(dim))
        self.frame_graph = ScaledBlock(dim, FrameGraph(dim, frames, neighbours))
        self.fusion = AdaptiveFusion(dim)

    def forward(self, x: Tensor) -> Tensor:
        attended = mix_frames(self.frame_attention, mix_joints(self.joint_attention, x))
        convolved = mix_frames(self.frame_graph, mix_joints(self.joint_graph, x))
        return self.fusion(attended, convolved)


class MotionAGFormer(VideoTransformer):
    """Lift clips of 2D poses; see the module's docstring for the idea.

    Tokens are (B, T, 17, C), one per joint and frame. A layer takes as many frames as it was built
    for, so with `layer_frames` the network works in an `Hourglass` only. Poses are in metres and
    camera axes if it was trained so; the authors' weights give the image's axes in half widths of
    it, see docs/models/motionbert.md.
    """

    Config = MotionAGFormerConfig

    def __init__(self, config: MotionAGFormerConfig):
        super().__init__()
        self.config = config
        dim = config.channels
        self.joint_embed = nn.Linear(config.in_channels, dim)
        # Frames have no position: the order of the frames of a clip changes nothing but the norms.
        self.joint_position = nn.Parameter(torch.zeros(1, JOINTS, dim))
        self.blocks = nn.ModuleList(
            AttentionGraphLayer(dim, config.heads, config.neighbours, frames)
            for frames in config.frames_of_layers
        )
        self.norm = nn.LayerNorm(dim)
        self.head = RepresentationHead(dim, config.representation)

    def embed(self, joints_2d: Tensor) -> Tensor:
        """Tokens of (B, T, 17, in_channels) joints: (B, T, 17, C)."""
        check_clips(joints_2d, self.config.frames, self.config.in_channels)
        with full_precision(joints_2d):
            return self.joint_embed(joints_2d.float()) + self.joint_position


# Our names to the authors'; see `translate`.
SCALED_BLOCK_NAMES = {
    "mixer_norm": "norm1",
    "mixer_scale": "layer_scale_1",
    "mlp_norm": "norm2",
    "mlp.expand": "mlp.fc1",
    "mlp.contract": "mlp.fc2",
    "mlp_scale": "layer_scale_2",
    "mixer.qkv": "mixer.qkv",
    "mixer.project": "mixer.proj",
    "mixer.convolution.own": "mixer.U",
    "mixer.convolution.received": "mixer.V",
    "mixer.convolution.node_norm": "mixer.batch_norm",
}
NAMES = {
    "joint_embed": "joints_embed",
    "joint_position": "pos_embed",
    "norm": "norm",
    "head.represent": "rep_logit.fc",
    "head.pose": "head",
    **prefixed("blocks.#.joint_attention", "layers.#.att_spatial", SCALED_BLOCK_NAMES),
    **prefixed("blocks.#.frame_attention", "layers.#.att_temporal", SCALED_BLOCK_NAMES),
    **prefixed("blocks.#.joint_graph", "layers.#.graph_spatial", SCALED_BLOCK_NAMES),
    **prefixed("blocks.#.frame_graph", "layers.#.graph_temporal", SCALED_BLOCK_NAMES),
    "blocks.#.fusion.weigh": "layers.#.fusion",
}
# Fields of our config to the options of the authors' program.
AUTHORS_OPTIONS = {
    "frames": "n_frames",
    "in_channels": "dim_in",
    "layers": "n_layers",
    "channels": "dim_feat",
    "heads": "num_heads",
    "neighbours": "neighbour_num",
    "representation": "dim_rep",
}
PUBLISHED = {
    "dim_out": 3,
    "mlp_ratio": MLP_RATIO,
    "use_temporal_similarity": True,
    "use_layer_scale": True,
    "use_adaptive_fusion": True,
    "qkv_bias": False,
}


def from_authors(
    state: Mapping[str, Tensor], **options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint, in their files the tensors under `model`; see
    `convert_state_dict`. How many frames each layer sees is read from the tensors: in a HoT, later
    layers see fewer.
    """
    config = authors_config(
        MotionAGFormerConfig, AUTHORS_OPTIONS, options, PUBLISHED, ("layer_scale_init_value",)
    )
    given = {name.removeprefix("module."): tensor for name, tensor in state.items()}
    norms = [f"layers.{i}.graph_temporal.mixer.batch_norm.weight" for i in range(config["layers"])]
    if all(norm in given for norm in norms):
        seen = tuple(len(given[norm]) for norm in norms)
        # The authors leave frames out after the first layer at the earliest.
        if seen[0] == config["frames"] != seen[-1]:
            config["layer_frames"] = seen
    with torch.device("meta"):
        model = MotionAGFormer(MotionAGFormerConfig(**config))
    return config, translate(given, model, NAMES)
