"""LitheBench: lifters trained alike on motion capture that anyone can get, and what came of it.

`SIZES` say how large the networks are and what each of them gets, `entries` names them, `QUESTIONS`
are the papers' claims that the comparison answers. `train_entry` trains one network with one seed
and measures it on the test subjects; every finished run leaves one small JSON file, so that a
broken-off benchmark goes on where it was. `lithepose.bench.report` makes the page of results
from those files.

The definition in words, with what it leaves out: docs/benchmark.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.bench.rule import View, seen_by_detector, views
from lithepose.deploy.profiling import machine
from lithepose.files import atomic_write
from lithepose.lifters import create_lifter
from lithepose.lifters.weights import save_weights
from lithepose.lifters.windows import (
    CHANNELS,
    LIFT_FPS,
    LIMBS,
    look_at_person,
    mirror_sides,
    unrotate,
)
from lithepose.metrics.pose3d import mpjpe, mpjve, p_mpjpe
from lithepose.mocap.device_windows import DeviceWindows
from lithepose.mocap.motions import Motions, read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import WindowSettings
from lithepose.train.engine import LOG, kept_weights, read_log, run
from lithepose.train.poseclr import PoseCLRSettings, encoder_state
from lithepose.train.pretraining import motion_task
from lithepose.train.settings import Optimisation, RunSettings, found_device
from lithepose.train.supervised import Endless, weighted_loss

VERSION = 2  # of the definition: results of different versions are not compared
TRACKS = ("exact", "detector")
ENDS = (3, 6, 13, 16)  # ankles and wrists
_EVALUATION_BATCH = 512
_DATA = "CMU motion capture (mocap.cs.cmu.edu), seen by virtual cameras"


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
    return Entry(
        lifter=lifter,
        settings={"in_channels": CHANNELS, **_NO_DROPOUT[lifter], **settings},
        frames=frames,
        targets=targets,
    )


def _host(size: Size, family: str) -> Entry:
    entry = _of_frames(
        size.frames, size.frames, family, {"frames": size.frames, **size.hosts[family]}
    )
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


@dataclass(frozen=True, kw_only=True)
class Question:
    """A paper's claim.

    Attributes:
        claim: what the paper says.
        source: where.
        first, second: entries compared; the claim is about the second beside the first.
        score: the column the claim is about.
        remark: what the comparison leaves open.
    """

    claim: str
    source: str
    first: str
    second: str
    score: str = "mpjpe"
    remark: str = ""


_ONE_MODULE = (
    "HTNet's paper says of its whole method that end joints improve by 18.7 %, and its abstract "
    "does not say beside what: networks with and without the one module do not answer that."
)
_BOTH_KINDS = (
    "AMPose beside networks of one kind of blocks shows that having both kinds helps, not that "
    "alternating them does: both kinds unmixed, all blocks of one before those of the other, were "
    "not run."
)
QUESTIONS = (
    Question(
        claim="HoT keeps MotionBERT's accuracy with about 50 % fewer FLOPs",
        source="Li et al., HoT (arXiv 2311.12028)",
        first="motionbert",
        second="hot-motionbert",
    ),
    Question(
        claim="HoT keeps MixSTE's accuracy with about 40 % fewer FLOPs",
        source="Li et al., HoT (arXiv 2311.12028)",
        first="mixste",
        second="hot-mixste",
    ),
    Question(
        claim="HoT keeps MotionAGFormer's accuracy",
        source="Li et al., HoT, extended (arXiv 2311.12028)",
        first="motionagformer",
        second="hot-motionagformer",
    ),
    Question(
        claim="HoT keeps MHFormer's accuracy",
        source="Li et al., HoT (arXiv 2311.12028)",
        first="mhformer",
        second="hot-mhformer",
    ),
    Question(
        claim="the intra-part constraint lowers the error of end joints",
        source="Cai et al., HTNet (arXiv 2302.09790)",
        first="htnet-without-ipc",
        second="htnet",
        score="end_joints",
        remark=_ONE_MODULE,
    ),
    Question(
        claim="the intra-part constraint lowers it with as many parameters in all",
        source="ours, beside the claim of HTNet",
        first="htnet-without-ipc-wide",
        second="htnet",
        score="end_joints",
    ),
    Question(
        claim="PoseCLR pre-training helps NanoHTNet",
        source="Cai et al., NanoHTNet (arXiv 2501.15763)",
        first="nanohtnet",
        second="nanohtnet+poseclr",
    ),
    Question(
        claim="PoseCLR pre-training helps more than training NanoHTNet for as long",
        source="ours, beside the claim before",
        first="nanohtnet-twice",
        second="nanohtnet+poseclr",
    ),
    Question(
        claim="ConvFormer matches networks of more parameters",
        source="Diaz-Arias and Shin, ConvFormer (arXiv 2304.02147)",
        first="mhformer",
        second="convformer",
    ),
    Question(
        claim="both kinds of blocks, in turn, beat encoders alone at equal size",
        source="Lin et al., AMPose (arXiv 2210.04216)",
        first="ampose-encoders",
        second="ampose",
        remark=_BOTH_KINDS,
    ),
    Question(
        claim="both kinds of blocks, in turn, beat graph convolutions alone at equal size",
        source="Lin et al., AMPose (arXiv 2210.04216)",
        first="ampose-graphs",
        second="ampose",
        remark=_BOTH_KINDS,
    ),
)

_ZERO_TOKENS = (
    "HoT's recovering attention starts from tokens of zero, as in its authors' code, so that all "
    "its queries are equal. In so short a training they stay nearly so, and a window's poses move "
    "too little: around MixSTE they are almost one and the same (MPJVE beside the host's). That "
    "says something of this start, and nothing of the method."
)
_ONLY_DROPOUT = (
    "MHFormer trained with a dropout of 0.25 on the embedded frames, which its authors have for "
    "clips of up to 27 frames. Every other network trained without any."
)


def faults(entry: Mapping[str, Any]) -> tuple[str, ...]:
    """Why runs of an entry are withdrawn, if they are: their numbers stand, but answer no claim.

    Args:
        entry: what a result says of it under `definition`, of these or of earlier settings.
    """
    settings = entry["settings"]
    found = []
    if entry["lifter"] == "hot" and settings["recoverer"] == "attention":
        found.append(_ZERO_TOKENS)
    network = settings.get("host", entry["lifter"])
    own = settings.get("host_settings", settings)
    if network == "mhformer" and own.get("short_clip_dropout") != 0.0:
        found.append(_ONLY_DROPOUT)
    return tuple(found)


def clip_settings(entry: Entry) -> WindowSettings:
    """How training windows of an entry are drawn."""
    return WindowSettings(frames=entry.frames, targets=entry.targets)


class BenchTask:
    """An entry's training as a task of `lithepose.train.engine`.

    Windows are drawn where the network is trained; nothing is validated, because nothing is chosen:
    the weights after the last step are measured.
    """

    score = "none"
    higher_is_better = False

    def __init__(
        self,
        entry: Entry,
        train: Motions,
        *,
        encoder: Mapping[str, Tensor] | None = None,
        compiled: bool = False,
    ):
        self.entry, self.encoder = entry, encoder
        self.examples = Endless(len(train.positions))
        self.clips = DeviceWindows(train, clip_settings(entry), DetectorNoise.measured())
        self.make = torch.compile(self.clips.make) if compiled else self.clips.make
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
        self.clips.to(device)
        with torch.no_grad(), torch.autocast(device.type, enabled=False):
            values, target = self.make(*self.clips.numbers(len(batch["index"]), generator))
        return self.error(self.entry.answer(network, values).float(), target)

    def validate(self, network: nn.Module) -> dict[str, float]:
        del network
        return {self.score: float("nan")}


class TestViews:
    """Test motions as the measuring rule's cameras see them, at about 25 frames per second.

    Args:
        motions: the clips; each is seen by four cameras (`lithepose.bench.rule.views`).
        step: one of so many of those views is kept.
    """

    __test__ = False  # its name begins as pytest's classes do

    def __init__(self, motions: Motions, step: int = 1):
        skip = max(1, round(motions.fps / LIFT_FPS))
        rays: dict[str, list[NDArray[Any]]] = {track: [] for track in TRACKS}
        sure: dict[str, list[NDArray[Any]]] = {track: [] for track in TRACKS}
        truth, first, scale = [], [0], []
        for view in islice(views(motions), None, None, step):
            for track, (seen, confidence) in _tracks(view).items():
                rays[track].append(seen[::skip])
                sure[track].append(confidence[::skip])
            joints = view.joints_camera[::skip]
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


def test_views(data: Path, size: str) -> TestViews:
    """The test motions in the folder `data`, as a size measures on them."""
    return TestViews(read_motions(data / "cmu17_test.npz"), SIZES[size].view_step)


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
        both = torch.cat([values, mirror_sides(values)])
        straight, turned = entry.answer(network, both).float().chunk(2)
        pose = unrotate((straight + mirror_sides(turned)) / 2, rotation)
        poses[frames[start : start + _EVALUATION_BATCH]] = pose.cpu().numpy()
    poses = poses[:-1]
    return poses - (poses[:, 1:2] + poses[:, 4:5]) / 2


def result_file(folder: Path, size: str, name: str, seed: int) -> Path:
    """Where a run's result lies."""
    return folder / size / f"{name}-seed{seed}.json"


def train_entry(
    name: str,
    size: str,
    seed: int,
    data: Path,
    folder: Path,
    settings: RunSettings,
    *,
    test: TestViews | None = None,
    report: Callable[[str], None] = lambda _: None,
) -> dict[str, Any]:
    """Train one network with one seed and measure it, unless that is done already.

    Args:
        name: key of `entries`.
        size: key of `SIZES`.
        data: folder with `cmu17_train.npz`, `cmu17_val.npz`, `cmu17_test.npz`.
        folder: of the results; checkpoints lie below it, and a broken-off run goes on from there.
        test: the views to measure on, if they are at hand.
        report: is told what happens.

    The network is kept beside the result, as a weights file.

    Returns:
        The result: `scores` (track -> score -> mm), `parameters`, `seconds`, and what was done.

    Raises:
        ValueError: no such network, size or device, no settled precision, or the finished result
            is of another definition.
    """
    if size not in SIZES:
        raise ValueError(f"no size named {size!r}; known: {', '.join(SIZES)}")
    known = entries(SIZES[size])
    if name not in known:
        raise ValueError(f"no network named {name!r}; known: {', '.join(known)}")
    found_device(settings.device)
    if settings.precision == "auto":
        raise ValueError("say in which precision to train: results of 32 and bf16 are not compared")
    path = result_file(folder, size, name, seed)
    entry = known[name]
    budget = SIZES[size].budget
    optimisation = replace(budget, steps=(budget.steps or 0) * entry.share, seed=seed)
    definition = {
        "version": VERSION,
        "entry": json.loads(json.dumps(asdict(entry))),
        "optimisation": json.loads(json.dumps(asdict(optimisation))),
        "view_step": SIZES[size].view_step,
        "precision": settings.precision,
    }
    if path.is_file():
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["definition"] != definition:
            raise ValueError(
                f"{path} is of another definition of {name}: take it away, or use another folder"
            )
        return result
    run_folder = folder / size / "runs" / f"{name}-seed{seed}"
    train = read_motions(data / "cmu17_train.npz")
    settings = replace(
        settings, chunk=optimisation.batch, workers=0, validate_every=10**9, tensorboard=False
    )
    encoder = None
    seconds = 0.0
    if entry.pretrained:
        folder_of_encoder = run_folder / "encoder"
        encoder = _pretrained(entry, optimisation, train, data, folder_of_encoder, settings)
        seconds, _ = _logged(folder_of_encoder)
        report(f"{name}, seed {seed}: pre-trained in {seconds:.0f} s")
    task = BenchTask(entry, train, encoder=encoder, compiled=settings.compiled)
    for progress in run(task, optimisation, settings, run_folder, described=definition["entry"]):
        report(
            f"{name}, seed {seed}: step {progress.step} of {progress.steps}, "
            f"loss {progress.loss:.4f}, {progress.examples_per_s:.0f} windows/s"
        )
    # Of the log, which has the steps before a kill, too.
    trained_for, loss = _logged(run_folder)
    seconds += trained_for
    network = entry.build()
    network.load_state_dict(kept_weights(run_folder / "last.safetensors"))
    network.to(found_device(settings.device))
    scores = measure(network, entry, test or test_views(data, size))
    result = {
        "definition": definition,
        "name": name,
        "size": size,
        "seed": seed,
        "parameters": sum(p.numel() for p in network.parameters()),
        "windows": (optimisation.steps or 0) * optimisation.batch,
        "loss": loss,
        "seconds": seconds,
        "device": torch.cuda.get_device_name() if next(network.parameters()).is_cuda else machine(),
        "scores": scores,
    }
    said = {"bench": definition, "seed": seed, "scores": scores, "data": _DATA}
    save_weights(path.with_suffix(".safetensors"), network.cpu(), said)
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    shutil.rmtree(run_folder)
    return result


def _logged(folder: Path) -> tuple[float, float]:
    """Seconds that a run has trained, and its last loss."""
    rows = read_log(folder / LOG)
    seconds, done = 0.0, 0
    for row in rows:
        examples = int(row["examples"])
        seconds += (examples - done) / (float(row["examples_per_s"]) or 1.0)
        done = examples
    return seconds, float(rows[-1]["loss"])


def _pretrained(
    entry: Entry,
    optimisation: Optimisation,
    train: Motions,
    data: Path,
    folder: Path,
    settings: RunSettings,
) -> dict[str, Tensor]:
    """The encoder's weights after PoseCLR on the training motions, for as many steps."""
    task = motion_task(
        entry.lifter,
        entry.settings,
        # A bank that short runs fill, and an encoder that follows in as few steps.
        PoseCLRSettings(bank=4096, momentum=0.99),
        train,
        read_motions(data / "cmu17_val.npz"),
        noise=DetectorNoise.measured(),
        on_device=found_device(settings.device) != "cpu",
    )
    plain = replace(settings, cuda_graphs=False)  # the bank is a queue: every step differs
    for _ in run(task, optimisation, plain, folder, described={"poseclr": asdict(entry)}):
        pass
    return encoder_state(kept_weights(folder / "last.safetensors"))


def train_all(
    names: Sequence[str],
    size: str,
    seeds: Sequence[int],
    data: Path,
    folder: Path,
    settings: RunSettings,
    *,
    report: Callable[[str], None] = lambda _: None,
) -> None:
    """`train_entry` for every name (all without any) and seed, one seed after the other.

    Raises:
        ValueError: no such network, size or device.
    """
    known = entries(SIZES[size])
    for name in names:
        if name not in known:
            raise ValueError(f"no network named {name!r}; known: {', '.join(known)}")
    found_device(settings.device)
    test: TestViews | None = None
    for seed in seeds:
        for name in names or known:
            if test is None and not result_file(folder, size, name, seed).is_file():
                report("seeing the test motions through the rule's cameras")
                test = test_views(data, size)
            result = train_entry(name, size, seed, data, folder, settings, test=test, report=report)
            scores = ", ".join(
                f"{track} 2D {result['scores'][track]['mpjpe']:.1f} mm MPJPE" for track in TRACKS
            )
            report(f"{name}, seed {seed}: {scores}")
