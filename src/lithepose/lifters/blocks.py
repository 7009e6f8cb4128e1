"""Parts that two or more lifters use unchanged, from small to large.

The skeleton-aware parts (graph convolution, limbs) are for the 17 joints of Human3.6M.

Source: Cai et al., "HTNet: Human Topology Aware Network for 3D Human Pose Estimation" (2023) and
the authors' code; the modulated graph convolution is that of Zou and Tang, "Modulated Graph
Convolutional Network for 3D Human Pose Estimation" (2021).
"""

from __future__ import annotations

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lithepose.lifters.weights import prefixed
from lithepose.skeletons import SKELETONS

SKELETON = SKELETONS["h36m17"]
JOINTS = len(SKELETON)
# Right leg, left leg, left arm, right arm, each from the trunk outwards.
LIMBS = ((1, 2, 3), (4, 5, 6), (11, 12, 13), (14, 15, 16))


def check_counts(config: Any, *names: str) -> None:
    """Reject a config whose fields of these names are not at least 1."""
    for name in names:
        if getattr(config, name) < 1:
            raise ValueError(f"{name} must be at least 1: {getattr(config, name)}")


def check_heads(config: Any) -> None:
    """Reject a config whose channels cannot be shared among its heads."""
    if config.channels % config.heads:
        raise ValueError(
            f"channels must be a multiple of heads ({config.heads}): {config.channels}"
        )


def check_probabilities(config: Any, *names: str) -> None:
    """Reject a config whose `drop_path`, of the first and the last block, or whose fields of these
    names are not probabilities below 1."""
    # A tuple read back from JSON is a list; configs compare by value.
    object.__setattr__(config, "drop_path", tuple(config.drop_path))
    if len(config.drop_path) != 2:
        raise ValueError(f"drop_path is (first block, last block): {config.drop_path}")
    for name in ("drop_path", *names):
        value = getattr(config, name)
        if not all(0.0 <= p < 1.0 for p in (value if isinstance(value, tuple) else (value,))):
            raise ValueError(f"{name} must be from 0 to below 1: {value}")


def check_clips(joints: Tensor, frames: int, channels: int, *, shorter: bool = False) -> None:
    """Reject what a lifter of clips cannot read.

    Args:
        joints: the input, (B, frames, 17, channels).
        frames: of a clip.
        channels: numbers per joint and frame.
        shorter: whether clips of 1 to `frames` frames are taken as well.

    Raises:
        ValueError: the shape is another, there are no clips, or a number is not finite.
    """
    shape = tuple(joints.shape)
    wanted = f"(clips, {f'1 to {frames}' if shorter else frames}, {JOINTS}, {channels})"
    fits = len(shape) == 4 and shape[2:] == (JOINTS, channels)
    if not fits or not (1 <= shape[1] <= frames if shorter else shape[1] == frames):
        raise ValueError(
            f"the lifter takes clips, frames, joints and numbers per joint {wanted}, not {shape}: "
            "cut or pad the clips, or build the lifter for such clips"
        )
    if shape[0] == 0:
        raise ValueError("there are no clips in the batch: leave the call out")
    check_finite(joints)


def check_finite(joints: Tensor) -> None:
    """Reject clips that hold nan or infinity.

    Looks at the numbers on the CPU alone, where that costs nothing, and not while a network is
    traced.

    Raises:
        ValueError: a number is not finite.
    """
    # Exporters and counters pass stand-ins: subclasses of tensors, which hold no numbers.
    real = type(joints) is Tensor and joints.device.type == "cpu"
    if real and not torch.compiler.is_compiling() and not bool(torch.isfinite(joints).all()):
        raise ValueError(
            "the clips hold nan or infinity: fill the gaps of a track before lifting it, or give a "
            "missing joint the value 0"
        )


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Autocast turned off on the device of a tensor, for the first and last layers of a lifter: a
    pixel or a millimetre is finer than what bfloat16 resolves."""
    # The meta device, where networks are counted, has no autocast.
    device = x.device.type
    return nullcontext() if device == "meta" else torch.autocast(device, enabled=False)


def drop_path_rates(first: float, last: float, layers: int) -> list[float]:
    """Drop path of each block, rising evenly from the first to the last."""
    return [first + (last - first) * i / max(layers - 1, 1) for i in range(layers)]


class DropPath(nn.Module):
    """Zero whole samples in training, and scale the others so that the mean stays the same."""

    def __init__(self, p: float):
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0.0:
            return x
        kept = torch.rand(x.shape[0], *(1,) * (x.dim() - 1), device=x.device) >= self.p
        return x * (kept.to(x.dtype) / (1.0 - self.p))

    def extra_repr(self) -> str:
        return f"p={self.p:g}"


class Mlp(nn.Module):
    """Two linear layers with a GELU (the exact one) between them."""

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0):
        super().__init__()
        self.expand = nn.Linear(dim, hidden)
        self.contract = nn.Linear(hidden, dim)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = self.dropout(functional.gelu(self.expand(x)))
        return self.dropout(self.contract(x))


# Below about this many tokens, two batched products are two to four times as fast on a CPU as
# PyTorch's attention kernels, which are made for long sequences.
FEW_TOKENS = 32


def attend(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Scaled dot-product attention of (B, heads, N, C) queries, keys and values."""
    if q.shape[-2] > FEW_TOKENS:
        return functional.scaled_dot_product_attention(q, k, v)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, k.transpose(-1, -2))
    return torch.matmul(scores.softmax(dim=-1), v)


class Attention(nn.Module):
    """Multi-head self-attention over the tokens: (B, N, C) to (B, N, C)."""

    def __init__(self, dim: int, heads: int, dropout: float = 0.0):
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)  # outputs: q, k, v; each head 0, head 1, ...
        self.project = nn.Linear(dim, dim)
        self.dropout = nn.Dropout(dropout)  # after `project`

    def forward(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))  # (B, N, 3, heads, C/heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4).unbind(0)  # (B, heads, N, C/heads) each
        mixed = attend(q, k, v).transpose(1, 2).flatten(2)  # (B, N, C)
        return self.dropout(self.project(mixed))


class TransformerBlock(nn.Module):
    """Pre-norm attention, then a pre-norm MLP, each a residual branch: (B, N, C) to (B, N, C)."""

    def __init__(
        self, dim: int, heads: int, hidden: int, *, dropout: float = 0.0, drop_path: float = 0.0
    ):
        super().__init__()
        self.attention_norm = nn.LayerNorm(dim, eps=1e-6)
        self.attention = Attention(dim, heads, dropout)
        self.mlp_norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, hidden, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.drop_path(self.attention(self.attention_norm(x)))
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


def mix_joints(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block on the joints of each frame: tokens (B, T, J, C), the block (N, J, C)."""
    return block(x.flatten(0, 1)).unflatten(0, x.shape[:2])


def mix_frames(block: nn.Module, x: Tensor) -> Tensor:
    """Run a block on the frames of each joint: tokens (B, T, J, C), the block (N, T, C)."""
    x = x.transpose(1, 2)  # (B, J, T, C)
    return block(x.flatten(0, 1)).unflatten(0, x.shape[:2]).transpose(1, 2)


class VideoTransformer(nn.Module):
    """Lift clips in steps, between which an `Hourglass` (`lithepose.lifters.hot`) leaves frames
    out: `embed`, `run_block` for every block, `finish`, `head`.

    Subclasses make `blocks`, `head` and, if their `finish` is the usual one, `norm`, and give
    `embed`. Between the steps tokens are (B, N, ..., C) of N frames, in their order.
    """

    blocks: nn.ModuleList
    head: nn.Module
    norm: nn.Module
    config: Any

    @property
    def token_dim(self) -> int:
        """C, the width of the tokens."""
        return self.config.channels

    def embed(self, joints_2d: Tensor) -> Tensor:
        """Tokens of clips (B, T, 17, in_channels), with all that marks their places in them."""
        raise NotImplementedError(f"{type(self).__name__} does not say how clips become tokens")

    def run_block(self, index: int, tokens: Tensor) -> Tensor:
        """A block on the tokens of any N frames; keeps the shape."""
        return self.blocks[index](tokens)

    def finish(self, tokens: Tensor) -> Tensor:
        """What lies between the last block and the head: a norm."""
        return self.norm(tokens)

    def forward(self, joints_2d: Tensor) -> Tensor:
        """Lift all frames of clips.

        Args:
            joints_2d: (B, T, 17, in_channels), image width mapped to [-1, 1].

        Returns:
            (B, T, 17, 3), relative to the root joint; metres and camera axes, unless the class says
            otherwise.

        Raises:
            ValueError: the clips have another shape, or there are none.
        """
        tokens = self.embed(joints_2d)
        for index in range(len(self.blocks)):
            tokens = self.run_block(index, tokens)
        with full_precision(joints_2d):
            return self.head(self.finish(tokens.float()))


class AdaptiveFusion(nn.Module):
    """Mix two streams of tokens by weights that each token chooses: (..., C) twice to (..., C).

    The two weights are positive and sum to one; before training both are a half.
    """

    def __init__(self, dim: int):
        super().__init__()
        self.weigh = nn.Linear(2 * dim, 2)
        nn.init.zeros_(self.weigh.weight)
        nn.init.constant_(self.weigh.bias, 0.5)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        weights = self.weigh(torch.cat([first, second], dim=-1)).softmax(dim=-1)  # (..., 2)
        return first * weights[..., :1] + second * weights[..., 1:]


class RepresentationHead(nn.Module):
    """Tokens to a bounded representation of the motion, and from there to 3D: (..., C) to
    (..., 3)."""

    def __init__(self, dim: int, representation: int):
        super().__init__()
        self.represent = nn.Linear(dim, representation)
        self.pose = nn.Linear(representation, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.pose(torch.tanh(self.represent(x)))


def bone_graph() -> Tensor:
    """1 between the two ends of each bone, both ways: (17, 17), float32."""
    bones = torch.zeros(JOINTS, JOINTS)
    for joint, parent in enumerate(SKELETON.parents):
        if parent >= 0:
            bones[joint, parent] = bones[parent, joint] = 1.0
    return bones


def skeleton_adjacency() -> Tensor:
    """Bone graph of the 17 joints: each row divided by its number of neighbours, ones on the
    diagonal. (17, 17), float32. Not symmetric; the graph convolution symmetrises it."""
    bones = bone_graph()
    return bones / bones.sum(dim=1, keepdim=True) + torch.eye(JOINTS)


class ModulatedGraphConvolution(nn.Module):
    """Graph convolution whose edges are learned and whose nodes weigh their own features.

    A node's own features and those of its neighbours go through different matrices. Each node
    scales every feature it sends by a learned modulation. The adjacency is the given one plus a
    learned one, made symmetric.

    Args:
        in_dim, out_dim: features per node before and after.
        adjacency: (N, N) of the N nodes, a constant that is not saved with the weights.
    """

    adjacency: Tensor
    identity: Tensor

    def __init__(self, in_dim: int, out_dim: int, adjacency: Tensor):
        super().__init__()
        nodes = len(adjacency)
        # The outputs are the node's own part, then the part it sends to its neighbours.
        self.transform = nn.Linear(in_dim, 2 * out_dim, bias=False)
        self.modulation = nn.Parameter(torch.empty(nodes, out_dim))
        self.learned_adjacency = nn.Parameter(torch.full((nodes, nodes), 1e-6))
        self.bias = nn.Parameter(torch.empty(out_dim))
        self.register_buffer("adjacency", adjacency.clone(), persistent=False)
        self.register_buffer("identity", torch.eye(nodes), persistent=False)

        # Xavier with gain 1.414, for the authors' tensor of shape (2, in, out): PyTorch counts
        # in·out inputs and 2·out outputs for it.
        bound = 1.414 * math.sqrt(6.0 / (out_dim * (in_dim + 2)))
        nn.init.uniform_(self.transform.weight, -bound, bound)
        nn.init.xavier_uniform_(self.modulation, gain=1.414)
        nn.init.uniform_(self.bias, -1.0 / math.sqrt(out_dim), 1.0 / math.sqrt(out_dim))

    def forward(self, x: Tensor) -> Tensor:
        """Convolve (B, N, in_dim) to (B, N, out_dim)."""
        edges = self.adjacency + self.learned_adjacency
        edges = (edges + edges.T) / 2.0
        # Column 2n takes what node n keeps, column 2n + 1 what it sends to its neighbours.
        edges = torch.stack([edges * self.identity, edges * (1.0 - self.identity)], dim=-1)
        parts = self.transform(x).unflatten(-1, (2, -1)).flatten(1, 2)  # (B, 2N, out_dim)
        modulation = self.modulation.repeat_interleave(2, dim=0)  # (2N, out_dim)
        # Cast the small factors: under autocast, the large products would be widened otherwise.
        parts = parts * modulation.to(parts.dtype)
        mixed = torch.bmm(edges.flatten(1).expand(x.shape[0], -1, -1), parts)  # (B, N, out_dim)
        return mixed + self.bias.to(mixed.dtype)


class JointConnection(nn.Module):
    """Local joint-level connection (LJC): two graph convolutions in a residual branch."""

    hidden = 384

    def __init__(self, dim: int, adjacency: Tensor, drop_path: float):
        super().__init__()
        self.norm_in = nn.LayerNorm(dim)
        self.graph_in = ModulatedGraphConvolution(dim, self.hidden, adjacency)
        self.graph_out = ModulatedGraphConvolution(self.hidden, dim, adjacency)
        self.norm_out = nn.LayerNorm(dim)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        branch = self.graph_out(functional.gelu(self.graph_in(self.norm_in(x))))
        return x + self.drop_path(self.norm_out(branch))


class LimbFeatures(nn.Module):
    """One feature vector per limb, from a few of its joints in their order: (B, 17, C) to
    (B, 4, C). The same weights serve all four limbs."""

    members: Tensor

    def __init__(self, dim: int, hidden: int, joints: int, dropout: float, drop_path: float):
        super().__init__()
        self.gather = nn.Linear(joints * dim, dim)  # joint-major: a convolution over the limb
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = Mlp(dim, hidden, dropout)
        self.drop_path = DropPath(drop_path)
        members = torch.tensor([limb[-joints:] for limb in LIMBS]).flatten()
        self.register_buffer("members", members, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        joints = x.index_select(1, self.members)
        joints = joints.reshape(x.shape[0], len(LIMBS), -1)  # (B, 4, joints·C)
        limbs = self.drop_path(functional.gelu(self.gather(joints)))
        return limbs + self.drop_path(self.mlp(self.mlp_norm(limbs)))


def write_back_index(first: int) -> list[int]:
    """Where each joint takes its value from, in the 17 joints followed by the four limbs.

    Args:
        first: the first joint of each limb, counted from the trunk, that is replaced by its limb.
    """
    index = list(range(JOINTS))
    for number, limb in enumerate(LIMBS):
        for joint in limb[first:]:
            index[joint] = JOINTS + number
    return index


class PartConstraint(nn.Module):
    """Intra-part constraint (IPC): the outer joints of a limb take the features of the limb.

    One branch reads whole limbs (three joints), the other their outer two joints. Joints that no
    limb replaces contribute their normalised features, not zero.
    """

    index_three: Tensor
    index_two: Tensor

    def __init__(self, dim: int, hidden: int, dropout: float, drop_path: float):
        super().__init__()
        self.norm_three, self.norm_two = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.three = LimbFeatures(dim, hidden, 3, dropout, drop_path)
        self.two = LimbFeatures(dim, hidden, 2, dropout, drop_path)
        # Middle and end joints take the limb of three; end joints alone take the limb of two.
        self.register_buffer("index_three", torch.tensor(write_back_index(1)), persistent=False)
        self.register_buffer("index_two", torch.tensor(write_back_index(2)), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        three, two = self.norm_three(x), self.norm_two(x)  # (B, 17, C)
        three = torch.cat([three, self.three(three)], dim=1)  # (B, 17 + 4, C)
        two = torch.cat([two, self.two(two)], dim=1)
        three = three.index_select(1, self.index_three)
        two = two.index_select(1, self.index_two)
        return x + three + two  # (B, 17, C)


class BodyInteraction(nn.Module):
    """Global body-level interaction (GBI): pre-norm self-attention over all tokens."""

    heads = 8

    def __init__(self, dim: int, dropout: float, drop_path: float):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.attention = Attention(dim, self.heads, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.drop_path(self.attention(self.norm(x)))


class HierarchicalMixer(nn.Module):
    """A block over joints: joint level, part level, body level on a third of the channels each,
    every level fed by the one before it, then an MLP over all channels.

    Args:
        config: of the network: `channels`, a multiple of 24 (three levels, eight heads), `hidden`,
            the width of the MLPs, and `attention_dropout`, after the attention's output layer.
        dropout: in the MLPs.
        drop_path: probability that a sample skips a residual branch in training.
    """

    def __init__(self, config: Any, dropout: float, drop_path: float):
        super().__init__()
        dim, hidden = config.channels, config.hidden
        self.joint = JointConnection(dim // 3, skeleton_adjacency(), drop_path)
        self.part = PartConstraint(dim // 3, hidden, dropout, drop_path)
        self.body = BodyInteraction(dim // 3, config.attention_dropout, drop_path)
        # The authors set eps to 1e-6 here and leave PyTorch's 1e-5 inside the three levels.
        self.mlp_norm = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = Mlp(dim, hidden, dropout)
        self.drop_path = DropPath(drop_path)

    def forward(self, x: Tensor) -> Tensor:
        joint, part, body = x.chunk(3, dim=-1)  # (B, 17, C/3) each
        joint = self.joint(joint)
        part = self.part(part + joint)
        body = self.body(body + part)
        x = torch.cat([joint, part, body], dim=-1)  # (B, 17, C)
        return x + self.drop_path(self.mlp(self.mlp_norm(x)))


# Our names to the authors' for a TransformerBlock; MixSTE and MHFormer name it alike.
TRANSFORMER_BLOCK_NAMES = {
    "attention_norm": "norm1",
    "attention.qkv": "attn.qkv",
    "attention.project": "attn.proj",
    "mlp_norm": "norm2",
    "mlp.expand": "mlp.fc1",
    "mlp.contract": "mlp.fc2",
}
# The same for the parts of HTNet and NanoHTNet.
JOINT_CONNECTION_NAMES = {
    "norm_in": "norm_gcn1",
    "graph_in.transform.weight": "gcn1.W",
    "graph_in.modulation": "gcn1.M",
    "graph_in.learned_adjacency": "gcn1.adj2",
    "graph_in.bias": "gcn1.bias",
    "graph_out.transform.weight": "gcn2.W",
    "graph_out.modulation": "gcn2.M",
    "graph_out.learned_adjacency": "gcn2.adj2",
    "graph_out.bias": "gcn2.bias",
    "norm_out": "norm_gcn2",
}
BODY_INTERACTION_NAMES = {
    "norm": "norm_attn",
    "attention.qkv": "attn.qkv",
    "attention.project": "attn.proj",
}
BLOCK_MLP_NAMES = {"mlp_norm": "norm_mlp", "mlp.expand": "mlp.fc1", "mlp.contract": "mlp.fc2"}
HIERARCHICAL_MIXER_NAMES = {
    **prefixed("joint", "lgc", JOINT_CONNECTION_NAMES),
    "part.norm_three": "ipc.norm_conv1",
    "part.three.gather": "ipc.conv1",
    "part.three.mlp_norm": "ipc.norm_conv1_mlp",
    "part.three.mlp.expand": "ipc.mlp_down_1.fc1",
    "part.three.mlp.contract": "ipc.mlp_down_1.fc2",
    "part.norm_two": "ipc.norm_conv2",
    "part.two.gather": "ipc.conv2",
    "part.two.mlp_norm": "ipc.norm_conv2_mlp",
    "part.two.mlp.expand": "ipc.mlp_down_2.fc1",
    "part.two.mlp.contract": "ipc.mlp_down_2.fc2",
    **prefixed("body", "gbi", BODY_INTERACTION_NAMES),
    **BLOCK_MLP_NAMES,
}
RESHAPE_FROM_AUTHORS = {
    # (2, in, out) to (2·out, in): both matrices of a graph convolution as one linear layer.
    "transform.weight": lambda w: w.transpose(1, 2).flatten(0, 1),
    # (out, in, joints) to (out, joints·in): the limb convolution as a linear layer.
    "gather.weight": lambda w: w.transpose(1, 2).flatten(1),
}
