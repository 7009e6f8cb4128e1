"""What networks cost: parameters and multiply-adds, in our convention and in those of publications.

One convention throughout: a MAC is one multiply-add of a matrix product or a convolution, wherever
it stands, in a layer, in a graph convolution or between queries, keys and values; FLOPs are twice
the MACs; normalisation, activations and additions are left out. Publications mostly count less,
because their tools see certain kinds of layers only: `Convention` says what, and `PUBLISHED` what
they print.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.lifters import LIFTERS, create_lifter
from lithepose.lifters.blocks import ModulatedGraphConvolution
from lithepose.lifters.default import SHIPPED, SHIPPED_FAMILY, SHIPPED_SETTINGS

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one clip costs, or one crop of an image network.

    Attributes:
        parameters: all that are trained.
        macs: multiply-adds of all matrix products and convolutions.
        layer_parameters: of linear, convolution and normalisation layers, which is what the usual
            tools see: neither positions nor the matrices of graph convolutions.
        layer_macs: of linear and convolution layers, without attention and graph products.
        normalised: numbers that go through normalisation layers.
        convolution_biases: numbers to which convolutions, by those layers, add a bias.
        rectified: numbers that go through ReLU layers.
    """

    parameters: int
    macs: int
    layer_parameters: int
    layer_macs: int
    normalised: int
    convolution_biases: int
    rectified: int

    @property
    def flops(self) -> int:
        return 2 * self.macs


@contextmanager
def _unfused() -> Iterator[None]:
    """Attention as products that a counter sees: not PyTorch's fused kernels, nor its fast path for
    whole encoder layers in evaluation."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def count_cost(model: nn.Module, clip_shape: Sequence[int]) -> Cost:
    """Count parameters and operations of one clip or crop; the model stays as it is.

    Args:
        model: a lifter or pose network, on the CPU or on the meta device, which computes nothing.
        clip_shape: (T, J, C) of a lifter's input, (3, H, W) of a pose network's.
    """
    # Products that stand for bare matrices of the authors, which their tools do not see.
    bare = {part.transform for part in model.modules() if type(part) is ModulatedGraphConvolution}
    seen = [
        layer
        for layer in model.modules()
        if isinstance(layer, (*LAYERS, *NORMS, nn.ReLU)) and layer not in bare
    ]
    counts: Counter[str] = Counter()

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        if isinstance(layer, NORMS):
            counts["normalised"] += inputs[0].numel()
        elif isinstance(layer, nn.ReLU):
            counts["rectified"] += output.numel()
        elif isinstance(layer, nn.Linear):
            counts["layer_macs"] += output.numel() * layer.in_features
        elif isinstance(layer, LAYERS):
            # A transposed convolution spreads each number that goes in over its kernel.
            positions = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
            counts["layer_macs"] += positions.numel() * layer.weight[0].numel()
            counts["convolution_biases"] += output.numel() if layer.bias is not None else 0

    hooks = [layer.register_forward_hook(count) for layer in seen]
    training = model.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), _unfused(), counter:
            model.eval()(torch.zeros(1, *clip_shape, device=next(model.parameters()).device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=counter.get_total_flops() // 2,
        layer_parameters=sum(p.numel() for layer in seen for p in layer.parameters()),
        layer_macs=counts["layer_macs"],
        normalised=counts["normalised"],
        convolution_biases=counts["convolution_biases"],
        rectified=counts["rectified"],
    )


def lifter_cost(name: str) -> Cost:
    """Count a lifter of the table, or the default model; nothing is computed, so large ones are
    counted as well.

    Raises:
        ValueError: there is no such lifter.
    """
    shape, settings = clip_shape(name), SHIPPED_SETTINGS if name == SHIPPED else {}
    with torch.device("meta"):
        model = create_lifter(SHIPPED_FAMILY if name == SHIPPED else name, **settings)
        return count_cost(model, shape)


def clip_shape(name: str) -> tuple[int, int, int]:
    """(T, J, C) of a lifter's clip, (3, H, W) of a pose network's crop.

    Raises:
        ValueError: there is no such network.
    """
    if name in POSE_NETWORKS:
        width, height = POSE_NETWORKS[name].config.image_size
        return 3, height, width
    if name == SHIPPED:
        return SHIPPED_SETTINGS["frames"], 17, SHIPPED_SETTINGS["in_channels"]
    if name not in LIFTERS:
        known = ", ".join(sorted([*LIFTERS, *POSE_NETWORKS]))
        raise ValueError(f"no network named {name!r}; known: {known}")
    return LIFTERS[name].frames_in, 17, LIFTERS[name].in_channels


def pose_network_cost(name: str) -> Cost:
    """Count a pose network of the table; nothing is computed.

    Raises:
        ValueError: there is no such pose network.
    """
    with torch.device("meta"):
        return count_cost(create_pose_network(name), clip_shape(name))


# --- as publications count ----------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How a family's publications count.

    Attributes:
        name: short.
        says: what is counted, in words.
        parameters: their count of parameters, from ours.
        operations: their count of operations, from ours; None where ours does not contain it.
        unit: what they call one of them.
    """

    name: str
    says: str
    parameters: Callable[[Cost], int]
    operations: Callable[[Cost], int] | None
    unit: Literal["MACs", "FLOPs"]


THOP = Convention(
    name="thop",
    says="linear and convolution layers, and four per normalised number",
    parameters=lambda cost: cost.layer_parameters,
    # Version 0.1.1 takes a normalisation with scale and shift for four operations per number.
    operations=lambda cost: cost.layer_macs + 4 * cost.normalised,
    unit="MACs",
)
# NanoHTNet's program prints twice the MACs of thop.
THOP_DOUBLED = replace(
    THOP,
    name="twice thop",
    says="two per multiply-add of linear and convolution layers, and eight per normalised number",
    operations=lambda cost: 2 * (cost.layer_macs + 4 * cost.normalised),
    unit="FLOPs",
)
LAYERS_DOUBLED = Convention(
    name="layers",
    says="two per multiply-add of linear and convolution layers",
    parameters=lambda cost: cost.parameters,
    operations=lambda cost: 2 * cost.layer_macs,
    unit="FLOPs",
)
KERNELS_APART = replace(
    LAYERS_DOUBLED,
    name="kernels apart",
    says="two per multiply-add of linear and convolution layers, every mixed kernel by itself",
    operations=None,  # the kernels are mixed before they are applied here
)
# What MMPose's `get_flops` prints of image networks; it does not see attention. It counts a bias of
# convolutions and not of linear layers, transposed convolutions at what goes in.
MMCV = Convention(
    name="MMCV",
    says="linear and convolution layers, one per bias of a convolution, two per normalised number, "
    "one per ReLU",
    parameters=lambda cost: cost.parameters,
    operations=lambda cost: (
        cost.layer_macs + cost.convolution_biases + 2 * cost.normalised + cost.rectified
    ),
    unit="FLOPs",
)
CONVENTIONS = {
    "convformer": KERNELS_APART,
    "hevitpose": MMCV,
    "hot": LAYERS_DOUBLED,
    "htnet": THOP,
    "mhformer": THOP,
    "mixste": THOP,
    "motionagformer": THOP,
    "motionbert": THOP,
    "nanohtnet": THOP_DOUBLED,
}

# Name -> operations of a clip as printed in publications, in the conventions above. Those of
# HEViTPose are its authors', from which our reconstruction differs by up to 1 %.
PUBLISHED = {
    "convformer-9": "100 M",
    "convformer-27": "360 M",
    "convformer-81": "1600 M",
    "convformer-143": "4220 M",
    "convformer-243": "10000 M",
    "hevitpose-t-mpii": "1.75 G",
    "hevitpose-s-mpii": "3.64 G",
    "hevitpose-b-mpii": "5.58 G",
    "mhformer-351": "7.096 G",
    "mixste-243": "139.0 G",
    "motionagformer-xs": "1.0 G",
    "motionagformer-s": "6.6 G",
    "motionagformer-b": "48.3 G",
    "motionagformer-l": "78.3 G",
    "motionbert": "174.8 G",
    "tpc-mixste-243": "251 G",
}


def convention_of(name: str) -> Convention | None:
    """How the publications of a network of the tables count; None where they print nothing."""
    return CONVENTIONS.get("hevitpose" if name in POSE_NETWORKS else LIFTERS[name].family)
