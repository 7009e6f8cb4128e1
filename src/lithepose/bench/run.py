"""LitheBench: lifters trained alike on motion capture that anyone can get, and what came of it.

`lithepose.bench.networks` are what is compared, `lithepose.bench.report` the papers' claims that
the comparison answers. `train_entry` trains one network with one seed and measures it on the test
subjects; every finished run leaves one small JSON file, so that a broken-off benchmark goes on
where it was. `lithepose.bench.report` makes the page of results from those files.

The definition in words, with what it leaves out: docs/benchmark.md.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.anthropometry import STANDARD_HEIGHT_M
from lithepose.bench.networks import SIZES, Entry, entries
from lithepose.bench.rule import View, seen_by_detector, views
from lithepose.deploy.latency import machine
from lithepose.files import atomic_write
from lithepose.lifters.weights import save_weights
from lithepose.lifters.windows import LIFT_FPS, LIMBS, look_at_person, mirror_sides, unrotate
from lithepose.metrics.pose3d import mpjpe, mpjve, p_mpjpe
from lithepose.mocap.motions import Motions, read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import WindowSettings
from lithepose.train.checkpoints import LAST, LOG, kept_weights, read_log
from lithepose.train.engine import run
from lithepose.train.poseclr import PoseCLRSettings, encoder_state
from lithepose.train.settings import Optimisation, RunSettings, found_device
from lithepose.train.tasks.poseclr import motion_task
from lithepose.train.tasks.shipped import WindowsOnDevice, weighted_loss

VERSION = 2  # of the definition: results of different versions are not compared
TRACKS = ("exact", "detector")
ENDS = (3, 6, 13, 16)  # ankles and wrists
_EVALUATION_BATCH = 512
_DATA = "CMU motion capture (mocap.cs.cmu.edu), seen by virtual cameras"


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
        noise = DetectorNoise.measured()
        self.windows = WindowsOnDevice(train, clip_settings(entry), noise, compiled)
        self.examples = self.windows.examples
        self.error = weighted_loss(limb_weight=2.0, velocity_weight=0.5)

    def build(self) -> nn.Module:
        network = self.entry.build()
        if self.encoder is not None:
            network.load_state_dict({**network.state_dict(), **self.encoder})
        return network

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        values, target = self.windows.draw(len(batch["index"]), generator)
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
        lifted = _lift(network, entry, test, track, device) * test.scale[:, None, None]
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
    encoder, seconds = None, 0.0
    if entry.pretrained:
        encoder = _pretrained(entry, optimisation, train, data, run_folder / "encoder", settings)
        seconds, _ = _logged(run_folder / "encoder")
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
    network.load_state_dict(kept_weights(run_folder / LAST))
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
    return encoder_state(kept_weights(folder / LAST))


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
