"""LitheBench: lifters trained alike on motion capture that anyone can get, and what came of it.

`ENTRIES` are the networks, `BUDGET` is what each of them gets, `QUESTIONS` are the papers' claims
that the comparison answers. `train_entry` trains one network with one seed and measures it on the
test subjects; every finished run leaves one small JSON file, so that a broken-off benchmark goes on
where it was. `lithepose.train.bench_report` makes the page of results from those files.

The definition in words, with what it leaves out: docs/benchmark.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.data.clips import ClipSettings
from lithepose.data.mocap import Motions
from lithepose.lifters import create_lifter
from lithepose.lifters.windows import CHANNELS, LIFT_FPS, LIMBS, STANDARD_HEIGHT_M
from lithepose.metrics.pose3d import mpjpe, mpjve, p_mpjpe
from lithepose.metrics.protocols import View, views
from lithepose.train.device_clips import DeviceClips, look_at_person, mirrored
from lithepose.train.noise import DetectorNoise, seen_by_detector
from lithepose.train.settings import Optimisation
from lithepose.train.supervised import Endless, weighted_loss

VERSION = 1  # of the definition: results of different versions are not compared
TRACKS = ("exact", "detector")
ENDS = (3, 6, 13, 16)  # ankles and wrists
_EVALUATION_BATCH = 512


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A network of the benchmark.

    Attributes:
        lifter: what `create_lifter` takes.
        settings: fields of its config; dropout is off throughout, because no window is drawn twice.
        frames: F, frames of a window.
        targets: K, frames in its middle that are scored and trained.
        only_centre: the network answers for more frames than its paper scores: take the centre.
        pretrained: its encoder is pre-trained by PoseCLR on the same motions first.
    """

    lifter: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    frames: int
    targets: int
    only_centre: bool = False
    pretrained: bool = False

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


_NO_DROPOUT = {
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
    "mhformer": {"drop_path": (0.0, 0.0), "dropout": 0.0},
    "motionbert": {},
    "motionagformer": {},
}
# The hosts of HoT, small and of 27 frames, so that the same budget trains every network.
_HOSTS: dict[str, dict[str, Any]] = {
    "mixste": {"channels": 128, "hidden": 256},
    "motionbert": {"channels": 128, "hidden": 256, "representation": 128},
    "motionagformer": {"layers": 12, "channels": 64},
    "mhformer": {"channels": 128, "hidden": 256},
}
_FRAMES = 27
# Block before which HoT keeps a third of the frames: the published places (3 of 8, 1 of 5, 7 of 16,
# 1 of 3), for 12 layers of MotionAGFormer at the same share of its depth.
_PRUNED_BEFORE = {"mixste": 3, "motionbert": 1, "motionagformer": 5, "mhformer": 1}


def _host(family: str) -> dict[str, Any]:
    return {
        "frames": _FRAMES,
        "in_channels": CHANNELS,
        **_HOSTS[family],
        **_NO_DROPOUT[family],
    }


def _whole(family: str) -> Entry:
    centre = family == "mhformer"
    return Entry(
        lifter=family,
        settings=_host(family),
        frames=_FRAMES,
        targets=1 if centre else _FRAMES,
        only_centre=centre,
    )


def _pruned(family: str) -> Entry:
    centre = family == "mhformer"  # HoT recovers no frames there: only the centre is asked for
    settings: dict[str, Any] = {
        "host": family,
        "host_settings": _host(family),
        "prune": ((_PRUNED_BEFORE[family], _FRAMES // 3),),
        "recoverer": "none" if centre else "attention",
    }
    if family == "motionagformer":
        settings["bias"] = False
    return Entry(lifter="hot", settings=settings, frames=_FRAMES, targets=1 if centre else _FRAMES)


def _single(family: str, **settings: Any) -> Entry:
    return Entry(
        lifter=family,
        settings={"in_channels": CHANNELS, **_NO_DROPOUT[family], **settings},
        frames=1,
        targets=1,
    )


def _nanohtnet(frames: int, *, pretrained: bool = False) -> Entry:
    settings = {"frames": frames, "kept_frames": 9, "in_channels": CHANNELS}
    return Entry(
        lifter="nanohtnet",
        settings={**settings, **_NO_DROPOUT["nanohtnet"]},
        frames=frames,
        targets=9,
        pretrained=pretrained,
    )


ENTRIES: dict[str, Entry] = {
    "nanohtnet-27": _nanohtnet(27),
    "nanohtnet-27+poseclr": _nanohtnet(27, pretrained=True),
    "nanohtnet-81": _nanohtnet(81),
    "htnet": _single("htnet"),
    "htnet-without-ipc": _single("htnet", part_constraint=False),
    # Without the part level's parameters, but as many in all.
    "htnet-without-ipc-wide": _single("htnet", channels=312, part_constraint=False),
    "ampose": _single("ampose", channels=128),
    # As many parameters as the alternation, within 3 %.
    "ampose-encoders": _single("ampose", channels=120, order="encoder-only"),
    "ampose-graphs": _single("ampose", channels=136, order="graph-only"),
    "convformer-27": Entry(
        lifter="convformer",
        settings={"frames": 27, "in_channels": CHANNELS, **_NO_DROPOUT["convformer"]},
        frames=27,
        targets=1,
    ),
    **{f"{family}-27": _whole(family) for family in _HOSTS},
    **{f"hot-{family}-27": _pruned(family) for family in _HOSTS},
}


@dataclass(frozen=True, kw_only=True)
class Question:
    """A paper's claim.

    Attributes:
        claim: what the paper says.
        source: where.
        first, second: entries compared; the claim is about the second beside the first.
        score: the column the claim is about.
    """

    claim: str
    source: str
    first: str
    second: str
    score: str = "mpjpe"


QUESTIONS = (
    Question(
        claim="HoT keeps MotionBERT's accuracy with about 50 % fewer FLOPs",
        source="Li et al., HoT (arXiv 2311.12028)",
        first="motionbert-27",
        second="hot-motionbert-27",
    ),
    Question(
        claim="HoT keeps MixSTE's accuracy with about 40 % fewer FLOPs",
        source="Li et al., HoT (arXiv 2311.12028)",
        first="mixste-27",
        second="hot-mixste-27",
    ),
    Question(
        claim="HoT keeps MotionAGFormer's accuracy",
        source="Li et al., HoT, extended (arXiv 2311.12028)",
        first="motionagformer-27",
        second="hot-motionagformer-27",
    ),
    Question(
        claim="HoT keeps MHFormer's accuracy",
        source="Li et al., HoT (arXiv 2311.12028)",
        first="mhformer-27",
        second="hot-mhformer-27",
    ),
    Question(
        claim="the intra-part constraint lowers the error of end joints (18.7 % in the paper)",
        source="Cai et al., HTNet (arXiv 2302.09790)",
        first="htnet-without-ipc",
        second="htnet",
        score="end_joints",
    ),
    Question(
        claim="PoseCLR pre-training helps NanoHTNet",
        source="Cai et al., NanoHTNet (arXiv 2501.15763)",
        first="nanohtnet-27",
        second="nanohtnet-27+poseclr",
    ),
    Question(
        claim="ConvFormer matches networks of more parameters",
        source="Diaz-Arias and Shin, ConvFormer (arXiv 2304.02147)",
        first="mixste-27",
        second="convformer-27",
    ),
    Question(
        claim="alternating blocks beat encoders alone at equal size",
        source="Lin et al., AMPose (arXiv 2210.04216)",
        first="ampose-encoders",
        second="ampose",
    ),
    Question(
        claim="alternating blocks beat graph convolutions alone at equal size",
        source="Lin et al., AMPose (arXiv 2210.04216)",
        first="ampose-graphs",
        second="ampose",
    ),
)


# What every network gets. One optimiser and one rate for all: the papers' own recipes differ in
# both, and tuning each would compare the tuning.
BUDGET = Optimisation(
    optimiser="adamw",
    learning_rate=1e-3,
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


def clip_settings(entry: Entry) -> ClipSettings:
    """How training windows of an entry are drawn."""
    return ClipSettings(frames=entry.frames, targets=entry.targets)


class BenchTask:
    """An entry's training as a task of `lithepose.train.engine`; windows come from the device."""

    score = "detector_mpjpe"
    higher_is_better = False

    def __init__(
        self,
        entry: Entry,
        train: Motions,
        *,
        validation: Motions | None = None,
        encoder: Mapping[str, Tensor] | None = None,
        compiled: bool = False,
    ):
        self.entry, self.encoder = entry, encoder
        self.validation = validation
        self.examples = Endless(len(train.positions))
        self.clips = DeviceClips(train, clip_settings(entry), DetectorNoise.measured())
        self._make = torch.compile(self.clips.make) if compiled else self.clips.make
        self.error = weighted_loss(limb_weight=2.0, velocity_weight=0.5)

    def build(self) -> nn.Module:
        network = self.entry.build()
        if self.encoder is not None:
            network.load_state_dict({**network.state_dict(), **self.encoder})
        return network

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        device = generator.device
        if self.clips.positions.device != device:
            self.clips.to(device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            values, target = self._make(*self.clips.numbers(len(batch["index"]), generator))
        predicted = self.entry.answer(network, values).float()
        return self.error(predicted, target)

    @cached_property
    def _validation(self) -> TestViews | None:
        return None if self.validation is None else TestViews(self.validation)

    def validate(self, network: nn.Module) -> dict[str, float]:
        if self._validation is None:
            return {self.score: float("nan")}
        scores = measure(network, self.entry, self._validation)
        return {f"{track}_{k}": v for track in TRACKS for k, v in scores[track].items()}


class TestViews:
    """Test motions as the measuring rule's cameras see them, at about 25 frames per second.

    Args:
        motions: the clips; each is seen by four cameras (`lithepose.metrics.protocols.views`).
    """

    __test__ = False  # its name begins as pytest's classes do

    def __init__(self, motions: Motions):
        step = max(1, round(motions.fps / LIFT_FPS))
        rays: dict[str, list[NDArray[Any]]] = {track: [] for track in TRACKS}
        sure: dict[str, list[NDArray[Any]]] = {track: [] for track in TRACKS}
        truth, first, scale = [], [0], []
        for view in views(motions):
            for track, (seen, confidence) in _tracks(view).items():
                rays[track].append(seen[::step])
                sure[track].append(confidence[::step])
            joints = view.joints_camera[::step]
            truth.append(joints - (joints[:, 1:2] + joints[:, 4:5]) / 2)
            first.append(first[-1] + len(joints))
            scale.append(np.full(len(joints), view.height_m / STANDARD_HEIGHT_M))
        self.rays = {track: np.concatenate(rays[track]).astype(np.float32) for track in TRACKS}
        self.sure = {track: np.concatenate(sure[track]).astype(np.float32) for track in TRACKS}
        self.truth = np.concatenate(truth)  # (N, 17, 3) metres
        self.first = np.array(first)  # frames of view i: first[i] to first[i + 1]
        self.scale = np.concatenate(scale)  # the person's stature over the standard one

    def __len__(self) -> int:
        return len(self.truth)


def _tracks(view: View) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """Rays and confidences of a view in both tracks; spine and head top are known in neither."""
    centre, focal = np.array(view.camera.centre_px), view.camera.focal_px[0]
    seen = {
        "exact": (view.keypoints, np.ones(view.keypoints.shape[:2])),
        "detector": seen_by_detector(view),
    }
    result = {}
    for track, (keypoints, confidence) in seen.items():
        confidence = confidence.copy()
        confidence[:, [7, 10]] = 0
        result[track] = ((keypoints - centre) / focal, confidence)
    return result


@torch.no_grad()
def measure(network: nn.Module, entry: Entry, test: TestViews) -> dict[str, dict[str, float]]:
    """Lift every view in both tracks and score it.

    Windows follow each other without overlap, each is also lifted mirrored, and the person's
    stature is known.

    Returns:
        track -> score -> millimetres (MPJVE: millimetres per frame), over the twelve limb joints.
    """
    device = next(network.parameters()).device
    network.eval()
    result = {}
    for track in TRACKS:
        lifted = _lift(network, entry, test, track, device)
        lifted = lifted * test.scale[:, None, None]
        found, true = lifted[:, LIMBS], test.truth[:, LIMBS]
        ends = [list(LIMBS).index(joint) for joint in ENDS]
        velocity = [
            mpjve(found[a:b], true[a:b])
            for a, b in zip(test.first[:-1], test.first[1:], strict=True)
            if b - a > 1
        ]
        result[track] = {
            "mpjpe": 1000 * float(mpjpe(found, true).mean()),
            "p_mpjpe": 1000 * float(p_mpjpe(found, true).mean()),
            "mpjve": 1000 * float(np.concatenate([np.atleast_1d(v) for v in velocity]).mean()),
            "end_joints": 1000 * float(mpjpe(found[:, ends], true[:, ends]).mean()),
        }
    return result


def _lift(
    network: nn.Module, entry: Entry, test: TestViews, track: str, device: torch.device
) -> NDArray[np.float64]:
    """(N, 17, 3) metres around the mid-hips for a body of standard stature, camera axes."""
    reach, half = entry.frames // 2, entry.targets // 2
    index, frame = [], []
    for first, end in zip(test.first[:-1], test.first[1:], strict=True):
        centre = np.arange(first + half, end + half, entry.targets)
        index.append(np.clip(centre[:, None] + np.arange(-reach, reach + 1), first, end - 1))
        # Past a view's end the last windows answer for nothing.
        frames = centre[:, None] + np.arange(-half, entry.targets - half)
        frame.append(np.where(frames < end, frames, len(test)))
    windows, frames = np.concatenate(index), np.concatenate(frame)
    rays = torch.from_numpy(test.rays[track]).to(device)
    sure = torch.from_numpy(test.sure[track]).to(device)
    poses = np.empty((len(test) + 1, 17, 3))
    for start in range(0, len(windows), _EVALUATION_BATCH):
        part = torch.from_numpy(windows[start : start + _EVALUATION_BATCH]).to(device)
        values, rotation = look_at_person(rays[part], sure[part])
        both = torch.cat([values, mirrored(values)])
        straight, turned = entry.answer(network, both).float().chunk(2)
        pose = (straight + mirrored(turned)) / 2
        pose = (pose.flatten(1, 2) @ rotation.transpose(-1, -2)).view(pose.shape)
        poses[frames[start : start + _EVALUATION_BATCH]] = pose.cpu().numpy()
    poses = poses[:-1]
    return poses - (poses[:, 1:2] + poses[:, 4:5]) / 2
