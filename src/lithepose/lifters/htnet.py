"""HTNet: lift single 2D skeletons, at joint, limb and body level in every block.

Each block splits the channels in three: a graph convolution along the bones, a convolution along
the limbs, and attention over the whole body, each fed by the one before it.

Source: Cai et al., "HTNet: Human Topology Aware Network for 3D Human Pose Estimation"
(arXiv 2302.09790), and the authors' code, which decides where the two differ. The wiring of the
refinement, which that code leaves out, is that of Modulated GCN. Differences from the code: frames
of a clip keep their axis in the output; the input may have more channels than x and y; under
autocast the first and last layers stay in float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lithepose.lifters.blocks import (
    HIERARCHICAL_MIXER_NAMES,
    JOINTS,
    RESHAPE_FROM_AUTHORS,
    HierarchicalMixer,
    check_clips,
    check_counts,
    check_probabilities,
    drop_path_rates,
    full_precision,
)
from lithepose.lifters.weights import authors_config, prefixed, translate


@dataclass(frozen=True, kw_only=True)
class HTNetConfig:
    """Size and regularisation of an HTNet; the defaults are the published ones.

    Attributes:
        in_channels: numbers per joint and frame; 2 in the paper (x, y).
        layers: number of blocks.
        channels: width, a multiple of 24.
        hidden: width of every MLP.
        drop_path: probability of dropping a branch in the first and in the last block.
        dropout: in the MLPs.
        attention_dropout: after the attention.
        part_constraint: the part level; without it, joints pass that level as they are, which is
            the paper's ablation of the intra-part constraint.
    """

    in_channels: int = 2
    layers: int = 3
    channels: int = 240
    hidden: int = 1024
    drop_path: tuple[float, float] = (0.1, 0.3)
    dropout: float = 0.1
    attention_dropout: float = 0.1
    part_constraint: bool = True

    def __post_init__(self) -> None:
        if self.channels < 24 or self.channels % 24:
            raise ValueError(
                f"channels must be a multiple of 24 (three levels, eight heads): {self.channels}"
            )
        check_counts(self, "in_channels", "layers", "hidden")
        check_probabilities(self, "dropout", "attention_dropout")


class HTNet(nn.Module):
    """Lift 2D poses frame by frame; see the module's docstring for the idea."""

    Config = HTNetConfig

    def __init__(self, config: HTNetConfig):
        super().__init__()
        self.config = config
        self.embed = nn.Linear(config.in_channels, config.channels)
        self.position = nn.Parameter(torch.zeros(1, JOINTS, config.channels))
        self.blocks = nn.ModuleList(
            HierarchicalMixer(config, config.dropout, p)
            for p in drop_path_rates(*config.drop_path, config.layers)
        )
        if not config.part_constraint:
            for block in self.blocks:
                block.part = nn.Identity()
        self.norm = nn.LayerNorm(config.channels, eps=1e-6)
        self.head = nn.Linear(config.channels, 3)

    def forward(self, joints_2d: Tensor) -> Tensor:
        """Lift each frame of (B, T, 17, in_channels), image width mapped to [-1, 1], to
        (B, T, 17, 3), metres, camera axes, relative to the root joint."""
        length = joints_2d.shape[1] if joints_2d.ndim == 4 else 1
        check_clips(joints_2d, max(length, 1), self.config.in_channels)
        with full_precision(joints_2d):
            x = self.embed(joints_2d.float().flatten(0, 1)) + self.position  # (B·T, 17, C)
        for block in self.blocks:
            x = block(x)
        with full_precision(joints_2d):
            poses = self.head(self.norm(x.float()))  # (B·T, 17, 3)
        return poses.unflatten(0, joints_2d.shape[:2])


def back_project(
    poses: Tensor, joints_2d: Tensor, root_depth: Tensor, focal: Tensor, centre: Tensor
) -> Tensor:
    """Poses that lie exactly on the rays of their 2D joints, with the depths of lifted poses.

    Args:
        poses: (..., J, 3), metres, camera axes, relative to the root (joint 0).
        joints_2d: (..., J, 2), image width mapped to [-1, 1].
        root_depth: (...), metres from the camera to the root along its axis. The published results
            take the true depth; for a plain video there is only an estimate.
        focal: (..., 2), focal lengths on the scale of `joints_2d`.
        centre: (..., 2), principal point on the scale of `joints_2d`.

    Returns:
        (..., J, 3), metres, relative to the root.
    """
    # Whatever the network says of the root itself is dropped: its depth is the given one.
    below_root = poses[..., 1:, 2:] + root_depth[..., None, None]
    depth = torch.cat([root_depth[..., None, None], below_root], dim=-2)  # (..., J, 1)
    lateral = (joints_2d - centre.unsqueeze(-2)) * depth / focal.unsqueeze(-2)
    absolute = torch.cat([lateral, depth], dim=-1)
    return absolute - absolute[..., :1, :]


class PoseRefiner(nn.Module):
    """Weigh a lifted pose against the one on its 2D rays, per joint and for x and y each.

    Needs the depth of the root and the camera's intrinsics (see `back_project`), so the results
    "with refinement" of the paper belong to another protocol than those without.
    """

    hidden = 1024

    def __init__(self):
        super().__init__()
        self.gate = nn.Sequential(
            nn.Linear(JOINTS * 6, self.hidden),
            nn.ReLU(),
            nn.Dropout(0.5),
            nn.Linear(self.hidden, JOINTS * 2),
            nn.Sigmoid(),
        )

    def forward(self, lifted: Tensor, on_rays: Tensor) -> Tensor:
        """Mix two poses of (..., 17, 3) in metres; the depth is that of `lifted`."""
        both = torch.cat([lifted, on_rays], dim=-1).flatten(-2)  # (..., 102), joint by joint
        gate = self.gate(both).unflatten(-1, (JOINTS, 2))  # (..., 17, 2)
        lateral = gate * lifted[..., :2] + (1.0 - gate) * on_rays[..., :2]
        return torch.cat([lateral, lifted[..., 2:]], dim=-1)


# Our names to the authors'; see `translate`.
NAMES = {
    "embed": "patch_embed",
    "position": "pos_embed",
    "norm": "Hiremixer.Temporal_norm",
    "head": "fcn",
    **prefixed("blocks.#", "Hiremixer.blocks.#", HIERARCHICAL_MIXER_NAMES),
}
# Fields of our config to the options of the authors' program.
AUTHORS_OPTIONS = {"layers": "layers", "channels": "channel", "hidden": "d_hid"}
PUBLISHED = {"n_joints": JOINTS, "out_joints": JOINTS}


def from_authors(
    state: Mapping[str, Tensor], **options: Any
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Translate an authors' checkpoint; see `convert_state_dict`."""
    # Their data loader reads `frames`, their network does not.
    config = authors_config(HTNetConfig, AUTHORS_OPTIONS, options, PUBLISHED, ignored=("frames",))
    with torch.device("meta"):
        model = HTNet(HTNetConfig(**config))
    return config, translate(state, model, NAMES, RESHAPE_FROM_AUTHORS)


def refiner_from_authors(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate an authors' checkpoint of the refinement, a file of its own.

    Raises:
        ValueError: the tensors are not those of the refinement.
    """
    names = {"gate.0": "post_refine.0", "gate.3": "post_refine.3"}
    with torch.device("meta"):
        model = PoseRefiner()
    return translate(state, model, names)
