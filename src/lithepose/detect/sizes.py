"""Pose networks: a crop of one person in, one heatmap per joint out.

`POSE_NETWORKS` lists the sizes with what they cost; it loads without PyTorch, the networks
themselves need it (`pip install "lithepose[train]"`).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from lithepose.lazy import located, needing_torch
from lithepose.skeletons import skeleton_named
from lithepose.tables import aligned, markdown

if TYPE_CHECKING:
    from torch import nn

STRIDES = (4, 8, 16)  # of HEViTPose's three stages; its heatmaps have stride 4
QK_DIVISOR = 2  # queries and keys are narrower than values by this factor [inferred]
FFN_EXPANSION = 2  # hidden width of the feed-forward part [inferred]
SUBSAMPLE_EXPANSION = 4  # hidden width of the embeddings of stages 2 and 3 [inferred]


@dataclass(frozen=True, kw_only=True)
class HEViTPoseConfig:
    """Size of a HEViTPose; the defaults are T on MPII.

    [known] settings stand in the authors' figure or tables. [inferred] ones are our reconstruction,
    chosen so that parameters and operations come out as published; docs/models/hevitpose.md says
    how well. A correction by the authors is a correction here.

    Some choices have no field, since no other was ever built: `QK_DIVISOR`, `FFN_EXPANSION` and
    `SUBSAMPLE_EXPANSION`; the embeddings' norm is LayerNorm over the channels [inferred], its
    epsilon PyTorch's, a guess; subsampling has no squeeze-and-excite [inferred], and attention has
    neither positions nor a bias of relative positions [known: none are drawn].
    """

    joints: int = 16
    # (width, height) in pixels of the crops that it is made for. The same weights run on any
    # multiple of `HEViTPose.multiple`. 256 x 256 is [known] for MPII and COCO; 192 x 256 is ours.
    image_size: tuple[int, int] = (256, 256)
    # Per stage, at strides 4, 8 and 16.
    widths: tuple[int, int, int] = (64, 128, 192)  # [inferred], T and B strongly
    depths: tuple[int, int, int] = (1, 2, 3)  # blocks [inferred], T and B strongly
    # PEOW, the pixels that neighbouring patches of an embedding share: kernel minus stride
    # [inferred]. The first is [known], the others are those of a 3x3 kernel [inferred].
    overlaps: tuple[int, int, int] = (3, 1, 1)
    # CGSR-MHA: parts of the channels, each of which also reads what the part before gave. That
    # there are parts is [known], their number is [inferred], weakly for S.
    groups: tuple[int, int, int] = (4, 4, 4)
    # CGSR-MHA: keys and values come from a map reduced by this factor in height and width. That it
    # is reduced is [known], the factors and that a strided convolution does it are [inferred].
    reductions: tuple[int, int, int] = (8, 4, 2)
    # CGSR-MHA: heads of each part. They change no count and are a guess, 16 channels each.
    heads: tuple[int, int, int] = (1, 2, 3)
    head_filters: tuple[int, ...] = (192, 96)  # the transposed convolutions [inferred, strongly]

    def __post_init__(self) -> None:
        # Tuples read back from JSON are lists; configs compare by value.
        for name in ("image_size", *_PER_STAGE, "head_filters"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        for name in _PER_STAGE:
            if len(getattr(self, name)) != len(STRIDES):
                raise ValueError(f"{name} has one number per stage, three: {getattr(self, name)}")
        for name in ("joints", *_PER_STAGE):
            value = getattr(self, name)
            least = 0 if name == "overlaps" else 1
            if min(value if isinstance(value, tuple) else (value,)) < least:
                raise ValueError(f"{name} must be at least {least}: {value}")
        if len(self.head_filters) != 2 or min(self.head_filters) < 1:
            raise ValueError(
                "the head has two transposed convolutions, from stride 16 to stride 4: "
                f"{self.head_filters}"
            )
        for width, groups, heads in zip(self.widths, self.groups, self.heads, strict=True):
            if width % (groups * heads * QK_DIVISOR):
                raise ValueError(
                    f"a width of {width} does not divide into {groups} groups of {heads} heads "
                    f"with queries of 1/{QK_DIVISOR} of the channels"
                )
        multiple = self.multiple
        if len(self.image_size) != 2 or any(n < 1 or n % multiple for n in self.image_size):
            raise ValueError(
                f"image_size is a width and a height in multiples of {multiple}: {self.image_size}"
            )

    @property
    def multiple(self) -> int:
        """What height and width of a crop must be multiples of, so that every map reduces."""
        return math.lcm(*(s * r for s, r in zip(STRIDES, self.reductions, strict=True)))


_PER_STAGE = ("widths", "depths", "overlaps", "groups", "reductions", "heads")


@dataclass(frozen=True, kw_only=True)
class PoseNetwork:
    """A pose network of the table.

    Attributes:
        config: what it is built from; `config.image_size` is the size of its crops.
        skeleton: the joints of its heatmaps, a key of `lithepose.skeletons.SKELETONS`.
        parameters: all that are trained.
        macs: multiply-adds of one crop: convolutions, linear layers and attention.
        mmcv: operations of one crop as MMCV's counter counts them, which publications of this field
            print as FLOPs (`lithepose.deploy.cost.MMCV`).
    """

    config: HEViTPoseConfig
    skeleton: str
    parameters: int
    macs: int
    mmcv: int


# The authors publish T, S and B.
T = HEViTPoseConfig()
S = HEViTPoseConfig(widths=(128, 192, 224), groups=(2, 3, 2), heads=(4, 4, 7))
B = HEViTPoseConfig(widths=(128, 256, 384), heads=(2, 4, 6))


def _row(
    config: HEViTPoseConfig, skeleton: str, width: int, parameters: int, macs: int, mmcv: int
) -> PoseNetwork:
    joints = len(skeleton_named(skeleton))
    config = replace(config, joints=joints, image_size=(width, 256))
    return PoseNetwork(
        config=config, skeleton=skeleton, parameters=parameters, macs=macs, mmcv=mmcv
    )


# Skeleton, width of a crop 256 high, parameters, MACs, and operations as MMCV counts them.
POSE_NETWORKS = {
    "hevitpose-t-mpii": _row(T, "mpii16", 256, 3_211_600, 1_775_583_232, 1_744_134_144),
    "hevitpose-s-mpii": _row(S, "mpii16", 256, 5_844_080, 3_722_534_912, 3_672_213_504),
    "hevitpose-b-mpii": _row(B, "mpii16", 256, 10_631_760, 5_627_871_232, 5_563_138_048),
    "hevitpose-t-coco": _row(T, "coco17", 256, 3_211_697, 1_775_976_448, 1_744_531_456),
    "hevitpose-s-coco": _row(S, "coco17", 256, 5_844_177, 3_722_928_128, 3_672_610_816),
    "hevitpose-b-coco": _row(B, "coco17", 256, 10_631_857, 5_628_264_448, 5_563_535_360),
    "hevitpose-t-coco-256x192": _row(T, "coco17", 192, 3_211_697, 1_319_890_944, 1_308_398_592),
    "hevitpose-s-coco-256x192": _row(S, "coco17", 192, 5_844_177, 2_772_584_448, 2_754_458_112),
    "hevitpose-b-coco-256x192": _row(B, "coco17", 192, 10_631_857, 4_197_015_552, 4_172_651_520),
}

# Name -> the class, a path so that the table loads without PyTorch.
POSE_FAMILIES = {"hevitpose": "lithepose.detect.hevitpose:HEViTPose"}


def create_pose_network(name: str, **overrides: Any) -> nn.Module:
    """Build a pose network, untrained.

    It takes crops (B, 3, H, W), RGB normalised by the mean and deviation of ImageNet, and gives
    heatmaps (B, joints, H / 4, W / 4).

    Args:
        name: a key of `POSE_NETWORKS`, or of `POSE_FAMILIES` for a network with its default config.
        overrides: replace fields of its config.

    Raises:
        ValueError: there is no such network, or the config does not allow a value.
        TypeError: the config has no such field.
        ImportError: PyTorch is not installed.
    """
    if name not in POSE_NETWORKS and name not in POSE_FAMILIES:
        known = ", ".join([*POSE_FAMILIES, *POSE_NETWORKS])
        raise ValueError(f"no pose network named {name!r}; known: {known}")
    config = POSE_NETWORKS[name].config if name in POSE_NETWORKS else HEViTPoseConfig()
    config = replace(config, **overrides)
    with needing_torch(f"the network {name!r}"):
        network = located(POSE_FAMILIES[name.partition("-")[0]])
    return network(config)


HEADINGS = (
    "pose network", "crop", "joints", "parameters", "MACs", "as MMCV counts", "authors' code",
    "weights", "source",
)  # fmt: skip
# Said of every row: the authors published neither, and this is what they published.
_LICENCE = ("none published", "none published")
_SOURCE = "our reconstruction of HEViTPose (Wu et al., arXiv 2311.13615), docs/models/hevitpose.md"


def rows() -> list[tuple[str, ...]]:
    """The table's texts under `HEADINGS`: crops in pixels, MACs and operations of one crop."""
    return [
        (
            name,
            "x".join(str(length) for length in network.config.image_size),
            network.skeleton,
            f"{network.parameters:,}",
            f"{network.macs / 1e9:.3f} G",
            f"{network.mmcv / 1e9:.3f} GFLOPs",
            *_LICENCE,
            _SOURCE,
        )
        for name, network in POSE_NETWORKS.items()
    ]


def as_text() -> str:
    """The table in columns, numbers to the right."""
    return aligned(HEADINGS, rows(), numbers=range(3, 6))


def as_markdown() -> str:
    """The table in Markdown."""
    return markdown(HEADINGS, rows())
