"""The networks of LitheBench, and what each of them gets.

`SIZES` say how large the networks are and what each of them gets, `entries` names them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from torch import Tensor, nn

from lithepose.lifters import create_lifter
from lithepose.lifters.windows import CHANNELS
from lithepose.train.settings import Optimisation


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network of the benchmark.

    Attributes:
        lifter: what `create_lifter` takes.
        settings: fields of its config; dropout is off throughout, because no window is drawn twice.
        frames: F, frames of a window.
        targets: K, frames in its middle that are scored and trained.
        only_centre: the network answers for more frames than its paper scores: take the centre.
        pretrained: its encoder is pre-trained by PoseCLR first, for as many steps as the budget's.
        share: of the budget's steps that it is trained for.
    """

    lifter: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    frames: int
    targets: int
    only_centre: bool = False
    pretrained: bool = False
    share: int = 1

    def build(self) -> nn.Module:
        """The network, untrained."""
        return create_lifter(self.lifter, **self.settings)

    def answer(self, network: nn.Module, values: Tensor) -> Tensor:
        """(B, F, 17, 4) to (B, K, 17, 3)."""
        poses = network(values)
        if self.only_centre:
            middle = poses.shape[1] // 2
            poses = poses[:, middle : middle + 1]
        return poses


@dataclass(frozen=True, kw_only=True)
class Size:
    """How large the networks are and what each of them gets.

    Attributes:
        frames: of the windows of all but the single-frame networks, a multiple of 9.
        long_frames: of the longer NanoHTNet's.
        budget: one optimiser and one rate for all: the papers' own recipes differ in both, and
            tuning each would compare the tuning.
        view_step: one of so many test views is measured: 1, or 3, with which all four cameras still
            come up equally often and every clip does.
        nanohtnet, htnet, convformer: fields of their configs.
        htnet_wide: channels with which HTNet without its part level is about as large as with it.
        ampose: channels of the alternation, and of encoders alone and graphs alone, which have
            about as many parameters with them.
        hosts: fields of the configs of HoT's hosts.
        pruned_before: block before which HoT keeps a third of the frames, at the published share of
            the depth.
    """

    frames: int
    long_frames: int
    budget: Optimisation
    view_step: int
    nanohtnet: Mapping[str, Any]
    htnet: Mapping[str, Any]
    htnet_wide: int
    ampose: tuple[int, int, int]
    convformer: Mapping[str, Any]
    hosts: Mapping[str, Mapping[str, Any]]
    pruned_before: Mapping[str, int]


_BUDGET = Optimisation(
    optimiser="muon",
    learning_rate=3e-3,
    betas=(0.9, 0.98),
    weight_decay=0.02,
    schedule="trapezoid",
    decay=0.5,
    steps=1500,
    batch=256,
    warmup=100,
    clip=1.0,
    average=0.995,
)
# "small" fits a processor; HoT's hosts take most of the time.
# "standard" is for a GPU; its single-frame networks, NanoHTNet, ConvFormer and MotionAGFormer have
# published widths.
SIZES: dict[str, Size] = {
    "small": Size(
        frames=9,
        long_frames=27,
        budget=replace(_BUDGET, learning_rate=1e-2, steps=600, batch=32, warmup=60, average=0.98),
        view_step=3,
        nanohtnet={"channels": 96, "hidden": 128, "layers": 2},
        htnet={"channels": 96, "hidden": 192},
        htnet_wide=120,
        ampose=(96, 88, 104),
        convformer={"channels": 16},
        hosts={
            "mixste": {"channels": 32, "hidden": 64, "layers": 5},
            "motionbert": {"channels": 32, "hidden": 64, "representation": 64},
            "motionagformer": {"channels": 32, "layers": 4, "representation": 64},
            "mhformer": {"channels": 128, "hidden": 256},
        },
        pruned_before={"mixste": 2, "motionbert": 1, "motionagformer": 2, "mhformer": 1},
    ),
    "standard": Size(
        frames=27,
        long_frames=81,
        budget=_BUDGET,
        view_step=1,
        nanohtnet={},
        htnet={},
        htnet_wide=312,
        ampose=(128, 120, 136),
        convformer={},
        hosts={
            "mixste": {"channels": 128, "hidden": 256},
            "motionbert": {"channels": 128, "hidden": 256, "representation": 128},
            "motionagformer": {"channels": 64, "layers": 12},
            "mhformer": {"channels": 256, "hidden": 512},
        },
        pruned_before={"mixste": 3, "motionbert": 1, "motionagformer": 5, "mhformer": 1},
    ),
}
_NO_DROPOUT: dict[str, dict[str, Any]] = {
    "nanohtnet": {
        "drop_path": (0.0, 0.0),
        "spatial_dropout": 0.0,
        "temporal_dropout": 0.0,
        "attention_dropout": 0.0,
    },
    "htnet": {"drop_path": (0.0, 0.0), "dropout": 0.0, "attention_dropout": 0.0},
    "ampose": {"drop_path": (0.0, 0.0), "dropout": 0.0},
    "convformer": {"drop_path": (0.0, 0.0), "dropout": 0.0},
    "mixste": {"drop_path": (0.0, 0.0)},
    "mhformer": {"drop_path": (0.0, 0.0), "dropout": 0.0, "short_clip_dropout": 0.0},
    "motionbert": {},
    "motionagformer": {},
}


def _of_frames(frames: int, targets: int, lifter: str, settings: Mapping[str, Any]) -> Entry:
    settings = {"in_channels": CHANNELS, **_NO_DROPOUT[lifter], **settings}
    return Entry(lifter=lifter, settings=settings, frames=frames, targets=targets)


def _host(size: Size, family: str) -> Entry:
    settings = {"frames": size.frames, **size.hosts[family]}
    entry = _of_frames(size.frames, size.frames, family, settings)
    if family == "mhformer":  # gives all frames, and is scored at the centre
        entry = replace(entry, targets=1, only_centre=True)
    return entry


def _pruned(size: Size, family: str) -> Entry:
    centre = family == "mhformer"  # HoT recovers no frames there: only the centre is asked for
    settings: dict[str, Any] = {
        "host": family,
        "host_settings": _host(size, family).settings,
        "prune": ((size.pruned_before[family], size.frames // 3),),
        "recoverer": "none" if centre else "attention",
    }
    if family == "motionagformer":
        settings["bias"] = False
    targets = 1 if centre else size.frames
    return Entry(lifter="hot", settings=settings, frames=size.frames, targets=targets)


def entries(size: Size) -> dict[str, Entry]:
    """The benchmark's networks by name."""

    def nanohtnet(frames: int) -> Entry:
        settings = {"frames": frames, "kept_frames": 9, **size.nanohtnet}
        return _of_frames(frames, 9, "nanohtnet", settings)

    def htnet(**settings: Any) -> Entry:
        return _of_frames(1, 1, "htnet", {**size.htnet, **settings})

    def ampose(number: int, **settings: Any) -> Entry:
        return _of_frames(1, 1, "ampose", {"channels": size.ampose[number], **settings})

    return {
        "nanohtnet": nanohtnet(size.frames),
        "nanohtnet+poseclr": replace(nanohtnet(size.frames), pretrained=True),
        # What pre-training costs, spent on training instead.
        "nanohtnet-twice": replace(nanohtnet(size.frames), share=2),
        "nanohtnet-long": nanohtnet(size.long_frames),
        "htnet": htnet(),
        "htnet-without-ipc": htnet(part_constraint=False),
        "htnet-without-ipc-wide": htnet(part_constraint=False, channels=size.htnet_wide),
        "ampose": ampose(0),
        "ampose-encoders": ampose(1, order="encoder-only"),
        "ampose-graphs": ampose(2, order="graph-only"),
        "convformer": _of_frames(
            size.frames, 1, "convformer", {"frames": size.frames, **size.convformer}
        ),
        **{family: _host(size, family) for family in size.hosts},
        **{f"hot-{family}": _pruned(size, family) for family in size.hosts},
    }
