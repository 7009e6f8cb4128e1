"""PoseCLR: teach a lifter, without labels, that views of one instant show one pose.

An encoder f, a lifter whose pose head is replaced by a contrastive one, embeds a window as one
camera saw it (the anchor). A second encoder, whose weights follow f's slowly (the momentum
encoder), embeds what the other cameras saw (the positives) and fills a queue, the bank, with
embeddings of other instants (the negatives). The InfoNCE loss draws the anchor to its positives and
away from the bank. Then f begins the supervised training of the lifter, with a new pose head.

Source: Cai et al., NanoHTNet (arXiv 2501.15763): the abstract, a figure, and options of the
authors' code, which has no trainer. The form of loss, momentum and bank is that of MoCo (He et al.,
arXiv 1911.05722). Comments mark what is the authors' and what is ours.

The figure draws an own momentum encoder for each camera. Begun alike and following f alike, their
weights would always be the same, so here is one.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from lithepose.lifters.blocks import JOINTS
from lithepose.lifters.nanohtnet import ContrastiveHead
from lithepose.lifters.weights import load_into, load_weights, network_of, save_weights

RECORDINGS_APART = 1000  # between the numbers of instants of two recordings
_EMBEDDED_AT_ONCE = 256  # windows


@dataclass(frozen=True, kw_only=True)
class PoseCLRSettings:
    """What decides a pre-training, beside its data and its optimisation.

    Attributes:
        feature_dim: numbers per joint of the embedding, which has 17 times as many.
        bank: embeddings in the queue.
        momentum: m; after every step the momentum encoder is m times itself and 1 - m times f.
        temperature: τ, by which similarities are divided.
        near_frames: embeddings of the anchor's recording within so many frames of its instant are
            no negatives; 0 leaves out those of its own instant.
        views: cameras of an instant, the anchor's among them; None takes all of a data set, and
            two virtual ones.
    """

    feature_dim: int = 8  # the authors' option; 3 in an older file of theirs
    bank: int = 20_480  # the authors' option
    momentum: float = 0.999  # the authors' option
    temperature: float = 0.5  # the authors' option; 0.07 in a comment of theirs
    near_frames: int = 0  # the authors skip views of the anchor's own instant
    views: int | None = None  # all others are positives in the authors' figure

    def __post_init__(self) -> None:
        allowed = {
            "feature_dim": self.feature_dim >= 1,
            "bank": self.bank >= 1,
            "momentum": 0 <= self.momentum < 1,
            "temperature": self.temperature > 0,
            "near_frames": 0 <= self.near_frames < RECORDINGS_APART,
            "views": self.views is None or self.views >= 2,
        }
        for name, well in allowed.items():
            if not well:
                raise ValueError(f"{name} = {getattr(self, name)} is out of range")


# --- encoders ---------------------------------------------------------------------------------


def _head_of_joints(config: Any, feature_dim: int) -> nn.Sequential:
    """For tokens (..., 17, C), one per joint."""
    return nn.Sequential(nn.LayerNorm(config.channels), nn.Linear(config.channels, feature_dim))


# Network -> what takes the place of its `head`: (B, T, 17, 3) becomes (B, T', 17, feature_dim).
# The heads of nanohtnet, htnet and mixste are the authors', with ReLU at the end of the first two.
HEADS: dict[str, Callable[[Any, int], nn.Module]] = {
    "htnet": lambda config, dim: nn.Sequential(*_head_of_joints(config, dim), nn.ReLU()),
    "mixste": _head_of_joints,
    "motionagformer": _head_of_joints,
    "motionbert": _head_of_joints,
    "nanohtnet": lambda config, dim: ContrastiveHead(config.features, config.kept_frames, dim),
}


def contrastive_encoder(lifter: nn.Module, feature_dim: int) -> nn.Module:
    """Replace a lifter's pose head by a contrastive one; the lifter changes in place.

    Raises:
        ValueError: there is no contrastive head for this network.
    """
    network = network_of(lifter)
    if network not in HEADS:
        raise ValueError(
            f"there is no contrastive head for {network!r}: pre-train one of {', '.join(HEADS)}, "
            "or add a head to HEADS in lithepose.train.poseclr"
        )
    lifter.head = HEADS[network](lifter.config, feature_dim)
    return lifter


def embed(encoder: nn.Module, windows: Tensor) -> Tensor:
    """Unit vectors (B, 17·feature_dim) of windows (B, F, 17, C).

    What an encoder tells of several frames is averaged: the instant is the window's, and so every
    frame that will be lifted learns (ours; NanoHTNet's head joins the frames itself).
    """
    features = encoder(windows).float().mean(1)  # (B, 17, D)
    return functional.normalize(features.flatten(1), dim=-1)


def freeze_into_buffers(module: nn.Module) -> None:
    """Make buffers of a module's parameters: saved and moved as before, but not trained."""
    for part in module.modules():
        for name, parameter in list(part.named_parameters(recurse=False)):
            delattr(part, name)
            part.register_buffer(name, parameter.detach())


# --- loss -------------------------------------------------------------------------------------


def info_nce(
    anchors: Tensor, positives: Tensor, bank: Tensor, negative: Tensor, temperature: float
) -> Tensor:
    """InfoNCE with several positives, each by itself against the bank.

    -log(exp(a·p / τ) / (exp(a·p / τ) + Σ_n exp(a·n / τ))), averaged over positives and anchors.
    With N negatives as similar to the anchor as its positive it is log(1 + N); with none, 0.

    Args:
        anchors: (B, E) unit vectors.
        positives: (B, P, E) unit vectors.
        bank: (N, E) unit vectors.
        negative: (B, N) bool, which of the bank's are negatives of which anchor.
        temperature: τ.

    Returns:
        A scalar.
    """
    # Similarities over a small τ need more than bfloat16's two to three digits.
    with torch.autocast(anchors.device.type, enabled=False):
        scores = (anchors @ bank.T) / temperature  # (B, N)
        # Not minus infinity, whose gradient is not a number where an anchor has no negative.
        against = scores.masked_fill(~negative, -1e4).logsumexp(-1, keepdim=True)  # (B, 1)
        alike = (anchors[:, None] * positives).sum(-1) / temperature  # (B, P)
        return functional.softplus(against - alike).mean()


class PoseCLR(nn.Module):
    """The two encoders and the bank; called in training it gives the loss and moves on.

    All that changes from step to step is a parameter or a buffer, so a checkpoint has it all, and
    nothing of it is ever read by the processor.
    """

    bank: Tensor
    bank_instants: Tensor
    next_row: Tensor

    def __init__(self, lifter: nn.Module, settings: PoseCLRSettings):
        super().__init__()
        self.settings = settings
        self.encoder = contrastive_encoder(lifter, settings.feature_dim)
        self.slow_encoder = copy.deepcopy(self.encoder)
        freeze_into_buffers(self.slow_encoder)
        size = settings.bank
        self.register_buffer("bank", torch.zeros(size, JOINTS * settings.feature_dim))
        self.register_buffer("bank_instants", torch.full((size,), -1, dtype=torch.int32))
        self.register_buffer("next_row", torch.zeros((), dtype=torch.int64))
        self._batch_checked = False
        self.train()

    def train(self, mode: bool = True) -> PoseCLR:
        """As of any module; the momentum encoder never drops anything out (ours)."""
        super().train(mode)
        self.slow_encoder.eval()
        return self

    def forward(self, views: Tensor, instants: Tensor) -> Tensor:
        """The loss of a batch, a scalar.

        In training the momentum encoder first follows the encoder, and in the end the positives go
        into the bank.

        Args:
            views: (B, V, F, 17, C) windows of V cameras, the anchor's first.
            instants: (B,) int32, see `lithepose.train.tasks.poseclr`.

        Raises:
            ValueError: there is one view only, or more positives than the bank holds.
        """
        if views.shape[1] < 2:
            raise ValueError("an instant needs two views, an anchor and a positive: there is one")
        with torch.no_grad():
            if self.training:
                self._follow()
            others = views[:, 1:]
            positives = embed(self.slow_encoder, others.flatten(0, 1))  # (B·P, E)
            positives = positives.unflatten(0, others.shape[:2])
        anchors = embed(self.encoder, views[:, 0])
        apart = (self.bank_instants - instants[:, None]).abs() > self.settings.near_frames
        negative = apart & (self.bank_instants >= 0)  # empty rows are at -1
        # The gradient needs the bank as it is now.
        bank = self.bank.clone() if self.training else self.bank
        loss = info_nce(anchors, positives, bank, negative, self.settings.temperature)
        if self.training:
            self._push(positives, instants)
        return loss

    @torch.no_grad()
    def _follow(self) -> None:
        slow = dict(self.slow_encoder.named_buffers())
        for name, weight in self.encoder.named_parameters():
            slow[name].lerp_(weight, 1 - self.settings.momentum)

    @torch.no_grad()
    def _push(self, positives: Tensor, instants: Tensor) -> None:
        """Put the positives of all processes into the bank, in place of the oldest."""
        if torch.distributed.is_available() and torch.distributed.is_initialized():
            positives, instants = self._gathered(positives), self._gathered(instants)
        rows, count = self.settings.bank, positives.shape[0] * positives.shape[1]
        if count > rows:
            raise ValueError(
                f"a batch has {count} positives and the bank {rows} rows: make the bank larger or "
                "the batch smaller"
            )
        at = (self.next_row + torch.arange(count, device=self.next_row.device)) % rows
        self.bank[at] = positives.flatten(0, 1)
        self.bank_instants[at] = instants.repeat_interleave(positives.shape[1])
        self.next_row.add_(count).remainder_(rows)

    def _gathered(self, own: Tensor) -> Tensor:
        """The rows of all processes, in the order of their ranks."""
        world = torch.distributed.get_world_size()
        if not self._batch_checked:
            sizes = [torch.zeros_like(self.next_row) for _ in range(world)]
            torch.distributed.all_gather(sizes, torch.full_like(self.next_row, len(own)))
            if len({int(size) for size in sizes}) > 1:
                raise ValueError(
                    "the processes have unlike shares of the batch: make it a multiple of the "
                    "chunk times the number of processes"
                )
            self._batch_checked = True
        parts = [torch.empty_like(own) for _ in range(world)]
        torch.distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)


@torch.no_grad()
def retrieval(encoder: nn.Module, views: Tensor) -> dict[str, float]:
    """How well two views of an instant find each other among those of other instants.

    Args:
        views: (N, 2, F, 17, C) windows of N instants.

    Returns:
        `retrieval` and `retrieval_5`: share of first views whose most similar second view, or one
        of the five most similar, is of their own instant. `alike` and `unlike`: mean similarity
        (cosine) of views of one instant, and of two; where both are near 1 the embedding has
        collapsed and tells nothing.
    """
    device = next(encoder.parameters()).device
    first, second = (
        torch.cat(
            [embed(encoder, part.to(device)) for part in views[:, i].split(_EMBEDDED_AT_ONCE)]
        )
        for i in range(2)
    )
    similar = first @ second.T  # (N, N)
    own = similar.diagonal()
    # Ties, up to rounding, count against: with an embedding that is the same for all, nothing is
    # found.
    better = (similar > own[:, None] - 1e-5).sum(-1) - 1
    count = len(views)
    return {
        "retrieval": float((better < 1).float().mean()),
        "retrieval_5": float((better < 5).float().mean()),
        "alike": float(own.mean()),
        "unlike": float((similar.sum() - own.sum()) / max(count * (count - 1), 1)),
    }


# --- encoders in files --------------------------------------------------------------------------


def encoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Of the state dict of a `PoseCLR`, the encoder's tensors by the lifter's names, without those
    of the contrastive head."""
    own = {n.removeprefix("encoder."): t for n, t in state.items() if n.startswith("encoder.")}
    return {name: tensor for name, tensor in own.items() if not name.startswith("head.")}


def save_encoder(
    path: str | os.PathLike[str],
    lifter: nn.Module,
    state: Mapping[str, Tensor],
    metadata: Mapping[str, Any],
) -> None:
    """Write the encoder of a `PoseCLR` as `save_weights` writes a lifter, but without a head.

    Args:
        lifter: the network it is for; only its config is read.
        state: the state dict of a `PoseCLR`.
        metadata: anything JSON can hold.
    """
    encoder = copy.deepcopy(lifter)
    encoder.head = nn.Identity()
    encoder.load_state_dict(encoder_state(state))
    save_weights(path, encoder, {**metadata, "part": "encoder"})


def encoder_weights(path: str | os.PathLike[str]) -> dict[str, Tensor]:
    """The tensors of a pre-trained encoder by the lifter's names: all but those of its head.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, or holds no encoder.
    """
    weights = load_weights(path)
    if weights.metadata.get("part") != "encoder":
        raise ValueError(
            f"{path} holds a whole lifter and not an encoder alone: load it with load_into"
        )
    return weights.state


def take_over(lifter: nn.Module, path: str | os.PathLike[str]) -> dict[str, Any]:
    """Give a lifter a pre-trained encoder; its head stays as it is. The lifter changes in place.

    Settings without weights, such as dropout, may differ.

    Returns:
        The metadata in the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it is damaged, holds no encoder, or one of another network or size.
    """
    encoder_weights(path)  # refuses what is no encoder
    head, lifter.head = lifter.head, nn.Identity()
    try:
        return load_into(lifter, path)
    finally:
        lifter.head = head
