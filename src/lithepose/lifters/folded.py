"""HTNet and NanoHTNet for inference: the same poses from fewer and larger operators.

At batch 1 these networks spend more time starting operators than in arithmetic. What does not
depend on the input is computed once here: the symmetrised adjacencies and the modulation of the
graph convolutions, the scale of the queries, and, of the parts, both normalisations of the same
joints, both limb convolutions (one matrix, with zeros for the joint that the shorter limb lacks)
and the joints that limbs replace (one matrix of zeros and ones). Dropout and stochastic depth are
left out. Matrices are stored the way they are read, tokens stay in one axis with the clips, and
the parts are plain objects, because looking a tensor up in a module takes as long as starting an
operator on it.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from lithepose.lifters.blocks import (
    JOINTS,
    LIMBS,
    BodyInteraction,
    HierarchicalMixer,
    JointConnection,
    Mlp,
    ModulatedGraphConvolution,
    PartConstraint,
    check_clips,
)
from lithepose.lifters.htnet import HTNet
from lithepose.lifters.nanohtnet import NanoHTNet, PoseHead, TemporalMixer


def constant(tensor: Tensor) -> Tensor:
    """A copy outside the autograd graph: training the network further must not change it."""
    return tensor.detach().clone(memory_format=torch.contiguous_format)


class FoldedLinear:
    def __init__(self, layer: nn.Linear):
        self.weight = constant(layer.weight.T)
        self.bias = constant(layer.bias)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.addmm(self.bias, x, self.weight)


class FoldedNorm:
    def __init__(self, norm: nn.LayerNorm):
        self.shape, self.eps = list(norm.normalized_shape), norm.eps
        self.weight, self.bias = constant(norm.weight), constant(norm.bias)

    def __call__(self, x: Tensor) -> Tensor:
        return torch.layer_norm(x, self.shape, self.weight, self.bias, self.eps)


class FoldedMlp:
    """The pre-norm MLP with its residual branch."""

    def __init__(self, norm: nn.LayerNorm, mlp: Mlp):
        self.norm = FoldedNorm(norm)
        self.expand, self.contract = FoldedLinear(mlp.expand), FoldedLinear(mlp.contract)

    def __call__(self, x: Tensor) -> Tensor:
        return self.contract(functional.gelu(self.expand(self.norm(x)))).add_(x)


class FoldedGraphConvolution:
    def __init__(self, graph: ModulatedGraphConvolution):
        edges = graph.adjacency + graph.learned_adjacency
        edges = (edges + edges.T) / 2.0
        # Column 2n takes what node n keeps, column 2n + 1 what it sends to its neighbours.
        edges = torch.stack([edges * graph.identity, edges * (1.0 - graph.identity)], dim=-1)
        self.edges = constant(edges.flatten(1).unsqueeze(0))  # (1, N, 2N)
        self.transform = constant(graph.transform.weight.T)
        self.modulation = constant(graph.modulation.repeat_interleave(2, dim=0))  # (2N, out)
        self.nodes, self.out_dim = graph.modulation.shape
        self.bias = constant(graph.bias)

    def __call__(self, x: Tensor) -> Tensor:
        """(B·N, in) to (B·N, out)."""
        parts = torch.mm(x, self.transform).view(-1, 2 * self.nodes, self.out_dim)
        parts.mul_(self.modulation)
        edges = self.edges.expand(parts.shape[0], -1, -1)
        return torch.baddbmm(self.bias, edges, parts).view(-1, self.out_dim)


class FoldedJointConnection:
    def __init__(self, joint: JointConnection):
        self.norm_in, self.norm_out = FoldedNorm(joint.norm_in), FoldedNorm(joint.norm_out)
        self.graph_in = FoldedGraphConvolution(joint.graph_in)
        self.graph_out = FoldedGraphConvolution(joint.graph_out)

    def __call__(self, x: Tensor) -> Tensor:
        branch = self.graph_out(functional.gelu(self.graph_in(self.norm_in(x))))
        return self.norm_out(branch).add_(x)


class FoldedBodyInteraction:
    def __init__(self, body: BodyInteraction, tokens: int):
        self.norm, attention = FoldedNorm(body.norm), body.attention
        dim = attention.project.in_features
        self.tokens, self.heads, self.dim = tokens, attention.heads, dim
        scale = torch.ones(3 * dim, device=attention.qkv.weight.device)
        scale[:dim] = (dim // self.heads) ** -0.5  # of the queries
        self.weight = constant((attention.qkv.weight * scale[:, None]).T)
        self.bias = constant(attention.qkv.bias * scale)
        self.project = FoldedLinear(attention.project)

    def __call__(self, x: Tensor) -> Tensor:
        """(B·N, C) to (B·N, C)."""
        head_dim = self.dim // self.heads
        qkv = torch.addmm(self.bias, self.norm(x), self.weight)
        qkv = qkv.view(-1, self.tokens, 3, self.heads, head_dim)
        # (3, B·heads, N, C/heads); of one clip, this is a view and nothing is copied.
        q, k, v = qkv.permute(2, 0, 3, 1, 4).flatten(1, 2).unbind(0)
        mixed = torch.bmm(torch.bmm(q, k.mT).softmax(dim=-1), v)
        mixed = mixed.view(-1, self.heads, self.tokens, head_dim).transpose(1, 2)
        return self.project(mixed.reshape(-1, self.dim)).add_(x)


class FoldedPartConstraint:
    """Both branches at once: one normalisation, limbs of three and of two side by side.

    The joints' own share is n·own_scale + own_shift, where n are the normalised joints; joints
    that a limb replaces have no scale there, and a one in `write_back`.
    """

    def __init__(self, part: PartConstraint):
        norms, limbs = (part.norm_three, part.norm_two), (part.three, part.two)
        dim = part.norm_three.normalized_shape[0]
        device = part.norm_three.weight.device
        self.shape, self.eps, self.limb_eps = [dim], norms[0].eps, limbs[0].mlp_norm.eps

        # The limbs read n·scale + shift: scale and shift go into the matrix and the bias.
        gathers, biases = [], []
        for norm, limb in zip(norms, limbs, strict=True):
            weight = limb.gather.weight.unflatten(1, (-1, dim))  # (C, joints, C)
            biases.append(limb.gather.bias + (weight * norm.bias).sum(dim=(1, 2)))
            missing = weight.new_zeros(dim, 3 - weight.shape[1], dim)  # the joint at the trunk
            gathers.append(torch.cat([missing, weight * norm.weight], dim=1).flatten(1))
        self.gather_weight = constant(torch.cat(gathers).T)  # (3C, 2C)
        self.gather_bias = constant(torch.cat(biases))
        self.members = torch.tensor(LIMBS, device=device).flatten()

        # The norm before a limb's MLP likewise goes into the MLP.
        expand = [limb.mlp.expand.weight * limb.mlp_norm.weight for limb in limbs]
        shifts = [limb.mlp.expand.weight @ limb.mlp_norm.bias for limb in limbs]
        shifts = [s + limb.mlp.expand.bias for s, limb in zip(shifts, limbs, strict=True)]
        self.expand_weight = constant(torch.stack(expand).mT)  # (2, C, hidden)
        self.expand_bias = constant(torch.stack(shifts).unsqueeze(1))
        self.contract_weight = constant(
            torch.stack([limb.mlp.contract.weight for limb in limbs]).mT
        )

        write_back = torch.zeros(JOINTS, 2 * len(LIMBS), device=device)
        own_scale = torch.zeros(JOINTS, dim, device=device)
        own_shift = torch.zeros(JOINTS, dim, device=device)
        for branch, index in enumerate((part.index_three, part.index_two)):
            for joint, source in enumerate(index.tolist()):
                if source < JOINTS:
                    own_scale[joint] += norms[branch].weight
                    own_shift[joint] += norms[branch].bias
                else:
                    write_back[joint, branch * len(LIMBS) + source - JOINTS] = 1.0
                    own_shift[joint] += limbs[branch].mlp.contract.bias
        self.write_back = write_back.unsqueeze(0)  # (1, 17, 8)
        self.own_scale, self.own_shift = constant(own_scale), constant(own_shift)

    def __call__(self, x: Tensor) -> Tensor:
        """(B·17, C) to (B·17, C)."""
        dim = self.shape[0]
        x = x.view(-1, JOINTS, dim)
        clips = x.shape[0]
        normed = torch.layer_norm(x, self.shape, None, None, self.eps)
        joints = normed.index_select(1, self.members).view(-1, 3 * dim)  # (B·4, 3C)
        limbs = functional.gelu(torch.addmm(self.gather_bias, joints, self.gather_weight))
        limbs = limbs.view(-1, 2, dim).transpose(0, 1)  # (2 branches, B·4, C)
        hidden = torch.layer_norm(limbs, self.shape, None, None, self.limb_eps)
        hidden = functional.gelu(torch.baddbmm(self.expand_bias, hidden, self.expand_weight))
        limbs = torch.baddbmm(limbs, hidden, self.contract_weight)
        limbs = limbs.view(2, clips, len(LIMBS), dim).transpose(0, 1).reshape(clips, -1, dim)
        own = torch.addcmul(self.own_shift, normed, self.own_scale).add_(x)
        write_back = self.write_back.expand(clips, -1, -1)
        return torch.baddbmm(own, write_back, limbs).view(-1, dim)


class FoldedHierarchicalMixer:
    def __init__(self, mixer: HierarchicalMixer):
        self.joint = FoldedJointConnection(mixer.joint)
        self.part = FoldedPartConstraint(mixer.part)
        self.body = FoldedBodyInteraction(mixer.body, JOINTS)
        self.mlp = FoldedMlp(mixer.mlp_norm, mixer.mlp)

    def __call__(self, x: Tensor) -> Tensor:
        joint, part, body = x.chunk(3, dim=-1)  # (B·17, C/3) each
        joint = self.joint(joint)
        part = self.part(part + joint)
        body = self.body(body + part)
        return self.mlp(torch.cat([joint, part, body], dim=-1))


class FoldedTemporalMixer:
    def __init__(self, mixer: TemporalMixer, tokens: int):
        self.local = FoldedJointConnection(mixer.local)
        self.whole = FoldedBodyInteraction(mixer.whole, tokens)
        self.mlp = FoldedMlp(mixer.mlp_norm, mixer.mlp)

    def __call__(self, x: Tensor) -> Tensor:
        local, whole = x.chunk(2, dim=-1)  # (B·K, C/2) each
        local = self.local(local)
        whole = self.whole(whole + local)
        return self.mlp(torch.cat([local, whole], dim=-1))


class FoldedHTNet:
    """As `HTNet`: (B, T, 17, in_channels) to (B, T, 17, 3)."""

    def __init__(self, model: HTNet):
        self.position = constant(model.position)
        self.embed, self.head = FoldedLinear(model.embed), FoldedLinear(model.head)
        blocks = [block for block in model.blocks if isinstance(block, HierarchicalMixer)]
        self.blocks = [FoldedHierarchicalMixer(block) for block in blocks]
        self.norm = FoldedNorm(model.norm)

    def __call__(self, joints_2d: Tensor) -> Tensor:
        shape = joints_2d.shape
        x = self.embed(joints_2d.flatten(0, 2)).view(-1, JOINTS, self.position.shape[-1])
        x = (x + self.position).flatten(0, 1)  # (B·T·17, C)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x)).view(*shape[:3], 3)


class FoldedNanoHTNet:
    """As `NanoHTNet`: (B, F, 17, in_channels) to (B, K, 17, 3)."""

    def __init__(self, model: NanoHTNet):
        if not isinstance(model.head, PoseHead):
            raise ValueError(
                "the contrastive head of pre-training is not folded: fine-tune the network with "
                "pretrain=False first"
            )
        config = model.config
        self.frames, self.in_channels = config.frames, config.in_channels
        self.kept, self.features = config.kept_frames, config.features
        self.dct = constant(model.dct)
        self.temporal_position = constant(model.temporal_position)
        self.spatial_position = constant(model.spatial_position)
        self.temporal_embed = FoldedLinear(model.temporal_embed)
        temporal = [block for block in model.temporal_blocks if isinstance(block, TemporalMixer)]
        self.temporal_blocks = [FoldedTemporalMixer(block, self.kept) for block in temporal]
        self.temporal_norm = FoldedNorm(model.temporal_norm)
        self.temporal_features = FoldedLinear(model.temporal_features)
        self.spatial_embed = FoldedLinear(model.spatial_embed)
        spatial = [block for block in model.spatial_blocks if isinstance(block, HierarchicalMixer)]
        self.spatial_blocks = [FoldedHierarchicalMixer(block) for block in spatial]
        self.spatial_norm = FoldedNorm(model.spatial_norm)
        self.spatial_features = FoldedLinear(model.spatial_features)
        self.pose = FoldedLinear(model.head.pose)

    def __call__(self, joints_2d: Tensor) -> Tensor:
        check_clips(joints_2d, self.frames, self.in_channels)
        clips, dim = joints_2d.shape[0], self.spatial_position.shape[-1]
        frequencies = torch.matmul(self.dct, joints_2d.flatten(2))  # (B, K, 17·c)
        temporal = self.temporal_embed(frequencies.flatten(0, 1)).view(-1, self.kept, dim)
        temporal = (temporal + self.temporal_position).flatten(0, 1)  # (B·K, C)
        for block in self.temporal_blocks:
            temporal = block(temporal)
        temporal = self.temporal_features(self.temporal_norm(temporal))  # (B·K, 17·E)

        trajectories = joints_2d.transpose(1, 2).reshape(clips * JOINTS, -1)  # (B·17, F·c)
        spatial = self.spatial_embed(trajectories).view(-1, JOINTS, dim)
        spatial = (spatial + self.spatial_position).flatten(0, 1)  # (B·17, C)
        for block in self.spatial_blocks:
            spatial = block(spatial)
        spatial = self.spatial_features(self.spatial_norm(spatial))  # (B·17, K·E)

        temporal = temporal.view(-1, self.kept, JOINTS, self.features)
        spatial = spatial.view(-1, JOINTS, self.kept, self.features).transpose(1, 2)
        both = torch.cat([spatial, temporal], dim=-1).flatten(0, 2)
        return self.pose(both).view(-1, self.kept, JOINTS, 3)


def fold(model: nn.Module) -> Callable[[Tensor], Tensor]:
    """A copy of an HTNet or NanoHTNet for inference: equal poses, fewer operators.

    It takes float32 on the network's device, under `torch.inference_mode()`. It cannot be trained
    or saved: keep the network's own weights.

    Args:
        model: a trained network; it stays as it is.

    Raises:
        TypeError: the model is another network.
        ValueError: it has the contrastive head of pre-training.
    """
    with torch.no_grad():
        if isinstance(model, NanoHTNet):
            return FoldedNanoHTNet(model)
        if isinstance(model, HTNet):
            return FoldedHTNet(model)
    raise TypeError(f"only HTNet and NanoHTNet have a folded form, not {type(model).__name__}")
