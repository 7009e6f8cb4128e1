"""HEViTPose: from the crop of one person to a heatmap per joint, by a small vision transformer.

Three stages at strides 4, 8 and 16. Their blocks mix neighbours by depthwise convolutions and the
whole map by attention over groups of channels, one group after the other, with keys and values of
a reduced map. Two transposed convolutions lead back to stride 4.

Source: Wu et al., "HEViTPose: High-Efficiency Vision Transformer for Human Pose Estimation" (arXiv
2311.13615; Scientific Reports, 2026), of which the figure of the network and the published counts
were read, and no code exists. This is a reconstruction from the published figure and counts, not
the authors' configuration. Every choice stands in `lithepose.detect.sizes.HEViTPoseConfig`.
"""

from __future__ import annotations

import copy
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import fuse_conv_bn_eval

from lithepose.detect.sizes import (
    FFN_EXPANSION,
    QK_DIVISOR,
    STRIDES,
    SUBSAMPLE_EXPANSION,
    HEViTPoseConfig,
)


class ConvNorm(nn.Module):
    """A convolution, or a transposed one, without bias, then batch normalisation."""

    def __init__(self, conv: nn.Conv2d | nn.ConvTranspose2d, *, starts_at_zero: bool = False):
        norm = nn.BatchNorm2d(conv.out_channels)
        if starts_at_zero:  # the last of a residual branch, which so begins as the identity
            nn.init.zeros_(norm.weight)
        super().__init__()
        self.conv, self.norm = conv, norm

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(self.conv(x))


def pointwise(inputs: int, outputs: int, *, starts_at_zero: bool = False) -> ConvNorm:
    return ConvNorm(nn.Conv2d(inputs, outputs, 1, bias=False), starts_at_zero=starts_at_zero)


class DepthwiseMixer(nn.Module):
    """Each channel mixes a pixel with its eight neighbours: x + DWConv(x), (B, C, H, W)."""

    def __init__(self, dim: int):
        super().__init__()
        conv = nn.Conv2d(dim, dim, 3, padding=1, groups=dim, bias=False)
        self.branch = ConvNorm(conv, starts_at_zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.branch(x)


class FeedForward(nn.Module):
    """Each pixel mixes its channels: x + FFN(x), (B, C, H, W)."""

    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.expand = pointwise(dim, hidden)
        self.activation = nn.ReLU()
        self.contract = pointwise(hidden, dim, starts_at_zero=True)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.contract(self.activation(self.expand(x)))


class LocalMixer(nn.Sequential):
    """A depthwise mixer, then a feed-forward part: one side of a block."""

    def __init__(self, dim: int):
        super().__init__(DepthwiseMixer(dim), FeedForward(dim, FFN_EXPANSION * dim))


def to_tokens(x: Tensor) -> Tensor:
    return x.flatten(2).transpose(1, 2)  # (B, C, H, W) -> (B, H·W, C)


def split_heads(tokens: Tensor, heads: int) -> Tensor:
    return tokens.unflatten(2, (heads, -1)).transpose(1, 2)  # (B, N, C) -> (B, heads, N, C/heads)


def to_map(tokens: Tensor, like: Tensor) -> Tensor:
    return tokens.transpose(1, 2).unflatten(2, like.shape[2:])  # (B, H·W, C) -> (B, C, H, W)


def patch_kernel(stride: int, overlap: int) -> tuple[int, int]:
    """Kernel and padding of an embedding whose neighbouring patches share `overlap` pixels (PEOW);
    a map of N pixels becomes one of N / stride."""
    kernel = stride + overlap
    return kernel, kernel // 2 if kernel % 2 else overlap // 2


class PatchEmbedding(nn.Module):
    """The image to tokens of stride 4: (B, 3, H, W) to (B, C, H / 4, W / 4)."""

    def __init__(self, dim: int, overlap: int):
        super().__init__()
        kernel, padding = patch_kernel(STRIDES[0], overlap)
        self.embed = nn.Conv2d(3, dim, kernel, STRIDES[0], padding)
        self.norm = nn.LayerNorm(dim)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).permute(0, 2, 3, 1)  # (B, H, W, C)
        return self.norm(x).permute(0, 3, 1, 2)


class GroupAttention(nn.Module):
    """Attention of one group of channels, keys and values from a reduced map: (B, c, H, W)."""

    def __init__(self, dim: int, reduction: int, heads: int, qk_divisor: int = QK_DIVISOR):
        super().__init__()
        self.heads = heads
        self.reduce = (
            nn.Conv2d(dim, dim, reduction, stride=reduction) if reduction > 1 else nn.Identity()
        )
        self.q_norm, self.k_norm, self.v_norm = (nn.LayerNorm(dim) for _ in range(3))
        # Outputs: head 0, head 1, ...
        self.q = nn.Linear(dim, dim // qk_divisor)
        self.k = nn.Linear(dim, dim // qk_divisor)
        self.v = nn.Linear(dim, dim)
        self.project = nn.Linear(dim, dim)
        self.out_norm = nn.LayerNorm(dim)
        for layer in (self.q, self.k, self.v, self.project):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Tensor) -> Tensor:
        tokens = to_tokens(x)  # (B, N, c)
        reduced = to_tokens(self.reduce(x))  # (B, M, c)
        q = split_heads(self.q(self.q_norm(tokens)), self.heads)
        k = split_heads(self.k(self.k_norm(reduced)), self.heads)
        v = split_heads(self.v(self.v_norm(reduced)), self.heads)
        mixed = functional.scaled_dot_product_attention(q, k, v)  # (B, heads, N, d)
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, N, c)
        return to_map(self.out_norm(self.project(mixed)), x)


class CascadedAttention(nn.Module):
    """CGSR-MHA, cascaded group attention with spatial reduction: x + branch(x), (B, C, H, W).

    Every group but the first reads the sum of its own channels and what the group before gave.
    """

    def __init__(self, dim: int, groups: int, reduction: int, heads: int):
        super().__init__()
        self.groups = nn.ModuleList(
            GroupAttention(dim // groups, reduction, heads) for _ in range(groups)
        )
        self.activation = nn.ReLU()
        self.project = pointwise(dim, dim, starts_at_zero=True)
        nn.init.trunc_normal_(self.project.conv.weight, std=0.02)

    def cascade(self, x: Tensor) -> list[Tensor]:
        """What each group gives, (B, C / groups, H, W) each."""
        given: list[Tensor] = []
        for group, own in zip(self.groups, x.chunk(len(self.groups), dim=1), strict=True):
            given.append(group(own + given[-1] if given else own))
        return given

    def forward(self, x: Tensor) -> Tensor:
        return x + self.project(self.activation(torch.cat(self.cascade(x), dim=1)))


class HEViTBlock(nn.Sequential):
    """Neighbours, the whole map, neighbours again: (B, C, H, W) to (B, C, H, W)."""

    def __init__(self, stage: int, config: HEViTPoseConfig):
        dim = config.widths[stage]
        super().__init__(
            LocalMixer(dim),
            CascadedAttention(
                dim, config.groups[stage], config.reductions[stage], config.heads[stage]
            ),
            LocalMixer(dim),
        )


class Subsample(nn.Sequential):
    """The overlapping embedding between two stages: (B, C, H, W) to (B, C', H / 2, W / 2)."""

    def __init__(self, stage: int, config: HEViTPoseConfig):
        before, after = config.widths[stage - 1], config.widths[stage]
        hidden = SUBSAMPLE_EXPANSION * before
        stride = STRIDES[stage] // STRIDES[stage - 1]
        kernel, padding = patch_kernel(stride, config.overlaps[stage])
        embed = nn.Conv2d(hidden, hidden, kernel, stride, padding, groups=hidden, bias=False)
        super().__init__(
            LocalMixer(before),
            pointwise(before, hidden),
            nn.ReLU(),
            ConvNorm(embed),
            nn.ReLU(),
            pointwise(hidden, after),
            LocalMixer(after),
        )


class HeatmapHead(nn.Sequential):
    """Two transposed convolutions, each doubling the map, and a heatmap per joint."""

    def __init__(self, dim: int, filters: tuple[int, ...], joints: int):
        layers: list[nn.Module] = []
        for inputs, outputs in pairwise((dim, *filters)):
            conv = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1, bias=False)
            nn.init.normal_(conv.weight, std=0.001)
            layers += [ConvNorm(conv), nn.ReLU()]
        last = nn.Conv2d(filters[-1], joints, 1)
        nn.init.normal_(last.weight, std=0.001)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        super().__init__(*layers, last)


class HEViTPose(nn.Module):
    """Heatmaps of the joints of one person; see the module's docstring for the idea."""

    Config = HEViTPoseConfig

    def __init__(self, config: HEViTPoseConfig):
        super().__init__()
        self.config = config
        self.stem = PatchEmbedding(config.widths[0], config.overlaps[0])
        self.stages = nn.ModuleList()
        for stage, depth in enumerate(config.depths):
            blocks = [HEViTBlock(stage, config) for _ in range(depth)]
            subsample = [Subsample(stage, config)] if stage > 0 else []
            self.stages.append(nn.Sequential(*subsample, *blocks))
        self.head = HeatmapHead(config.widths[-1], config.head_filters, config.joints)

    def forward(self, images: Tensor) -> Tensor:
        """Heatmaps of crops.

        Args:
            images: (B, 3, H, W), RGB normalised by the mean and deviation of ImageNet; H and W are
                multiples of `config.multiple`.

        Returns:
            (B, joints, H / 4, W / 4), trained towards Gaussians of peak 1; no activation.

        Raises:
            ValueError: the shape is another.
        """
        multiple = self.config.multiple
        shape = tuple(images.shape)
        if len(shape) != 4 or shape[1] != 3 or shape[2] % multiple or shape[3] % multiple:
            raise ValueError(
                f"the pose network takes crops (B, 3, H, W) with H and W in multiples of "
                f"{multiple}, not {shape}: resize the crops, or put the colours first"
            )
        x = self.stem(images)
        for stage in self.stages:
            x = stage(x)  # (B, C, H / stride, W / stride)
        return self.head(x)


def fold(model: nn.Module) -> nn.Module:
    """A copy of a network for inference: equal heatmaps, fewer and larger operators.

    Batch normalisation goes into the convolutions, the residual of a depthwise convolution into its
    middle weight, and what scales and shifts queries, keys and values into their linear layers, so
    that keys and values share one normalisation. The head's transposed convolutions become plain
    ones, which run faster on a CPU. The copy cannot be trained or saved: keep the network's own
    weights.

    Args:
        model: a trained network; it stays as it is.

    Raises:
        TypeError: the model is another network, or a folded one.
    """
    if not isinstance(model, HEViTPose):
        raise TypeError(f"this folds a HEViTPose, not {type(model).__name__}")
    if not any(isinstance(part, ConvNorm) for part in model.modules()):
        raise TypeError("this HEViTPose is folded already: fold the network that was trained")
    folded = copy.deepcopy(model).eval()
    with torch.no_grad():
        _fold_children(folded)
    return folded.requires_grad_(False)


def _fold_children(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, ConvNorm):
            setattr(module, name, folded_convolution(child))
        elif isinstance(child, DepthwiseMixer):
            conv = folded_convolution(child.branch)
            conv.weight[:, :, 1, 1] += 1.0
            setattr(module, name, conv)
        elif isinstance(child, GroupAttention):
            setattr(module, name, FoldedGroupAttention(child))
        elif isinstance(child, HeatmapHead):
            setattr(module, name, FoldedHead(child))
        else:
            _fold_children(child)


def folded_convolution(layer: ConvNorm) -> nn.Conv2d | nn.ConvTranspose2d:
    """One convolution with bias in place of a convolution and its batch normalisation."""
    return fuse_conv_bn_eval(layer.conv, layer.norm, isinstance(layer.conv, nn.ConvTranspose2d))


def kernels_by_place(conv: nn.ConvTranspose2d) -> Tensor:
    """The kernels of four 2x2 convolutions, padded by 1, that together are a transposed one.

    A transposed convolution of kernel 4, stride 2 and padding 1 makes four pixels of each, one per
    place (row, column) in a square of two by two; each reads two by two pixels. With maps of N + 1
    pixels, whose squares begin half a square early, the four read the same pixels:

        row 0 of the square: w[2] x[i - 1] + w[0] x[i], row 1: w[3] x[i - 1] + w[1] x[i]

    Returns:
        (2, 2, outputs, inputs, 2, 2): row and column of the square, then a kernel.
    """
    weight = conv.weight.transpose(0, 1)  # (outputs, inputs, 4, 4)
    pairs = torch.tensor([[2, 0], [3, 1]])
    rows = weight[:, :, pairs]  # (outputs, inputs, row, 2, 4)
    both = rows[..., pairs]  # (outputs, inputs, row, 2, column, 2)
    return both.permute(2, 4, 0, 1, 3, 5)


def of_squares(kernels: Tensor, bias: Tensor) -> nn.Conv2d:
    """The convolution whose channels are all outputs at all places; the kernels' first three axes
    are those two, the place having two."""
    weight = kernels.flatten(0, 2).contiguous()
    conv = nn.Conv2d(weight.shape[1], weight.shape[0], 2, padding=1)
    conv.weight, conv.bias = nn.Parameter(weight), nn.Parameter(bias)
    return conv


class FoldedHead(nn.Module):
    """As `HeatmapHead`: squares of two by two pixels stay in the channels as long as possible.

    The last convolution runs before the finest map is put together, so that there are only as many
    channels to put together as joints.
    """

    def __init__(self, head: HeatmapHead):
        super().__init__()
        first, second = (folded_convolution(part) for part in head if isinstance(part, ConvNorm))
        last = head[-1]
        assert isinstance(first, nn.ConvTranspose2d)
        assert isinstance(second, nn.ConvTranspose2d)
        assert isinstance(last, nn.Conv2d)
        assert first.bias is not None
        assert second.bias is not None
        assert last.bias is not None
        # Channels: output, then place, as pixel_shuffle takes them.
        kernels = kernels_by_place(first).permute(2, 0, 1, 3, 4, 5)
        self.first = of_squares(kernels, first.bias.repeat_interleave(4))
        # Channels: place, then output, so that each place is a group of the last convolution.
        self.second = of_squares(kernels_by_place(second), second.bias.repeat(4))
        self.last = nn.Conv2d(4 * last.in_channels, 4 * last.out_channels, 1, groups=4)
        self.last.weight = nn.Parameter(last.weight.repeat(4, 1, 1, 1))
        self.last.bias = nn.Parameter(last.bias.repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        x = functional.relu(self.first(x))  # (B, 4 C, H + 1, W + 1)
        x = functional.pixel_shuffle(x, 2)[:, :, 1:-1, 1:-1]  # (B, C, 2 H, 2 W)
        x = self.last(functional.relu(self.second(x)))  # (B, 4 joints, 2 H + 1, 2 W + 1)
        x = x.unflatten(1, (2, 2, -1)).permute(0, 3, 4, 1, 5, 2)  # (B, joints, H', row, W', column)
        return x.flatten(4, 5).flatten(2, 3)[:, :, 1:-1, 1:-1]  # (B, joints, 4 H, 4 W)


def folded_linear(layer: nn.Linear, norm: nn.LayerNorm, scale: float = 1.0) -> nn.Linear:
    """A linear layer that takes over the scale and shift of the normalisation before it."""
    folded = copy.deepcopy(layer)
    folded.bias.copy_((layer.bias + layer.weight @ norm.bias) * scale)
    folded.weight.copy_(layer.weight * norm.weight * scale)
    return folded


class FoldedGroupAttention(nn.Module):
    """As `GroupAttention`."""

    def __init__(self, group: GroupAttention):
        super().__init__()
        self.heads, self.reduce = group.heads, group.reduce
        self.norm = nn.LayerNorm(group.q.in_features, elementwise_affine=False)
        head_dim = group.q.out_features // group.heads
        self.q = folded_linear(group.q, group.q_norm, head_dim**-0.5)
        self.k = folded_linear(group.k, group.k_norm)
        self.v = folded_linear(group.v, group.v_norm)
        self.project, self.out_norm = group.project, group.out_norm

    def forward(self, x: Tensor) -> Tensor:
        tokens = self.norm(to_tokens(x))  # (B, N, c)
        reduced = self.norm(to_tokens(self.reduce(x)))  # (B, M, c)
        q = split_heads(self.q(tokens), self.heads)
        k = split_heads(self.k(reduced), self.heads)
        v = split_heads(self.v(reduced), self.heads)
        mixed = torch.matmul(torch.matmul(q, k.transpose(-1, -2)).softmax(dim=-1), v)
        mixed = mixed.transpose(1, 2).flatten(2)  # (B, N, c)
        return to_map(self.out_norm(self.project(mixed)), x)
