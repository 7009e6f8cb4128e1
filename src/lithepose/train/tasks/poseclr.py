"""Pre-train a lifter by PoseCLR, from a data set's files to an encoder in a file.

    lithepose pretrain nanohtnet-27-9 --data FOLDER --out runs/poseclr

The method is `lithepose.train.poseclr`, the views come from `lithepose.train.multiview`, and
`lithepose.train.engine` trains.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from lithepose.anthropometry import TRAINING_SPREAD
from lithepose.datasets.human36m import POSITIONS_FILE, TEST, TRAIN, read_human36m
from lithepose.lifters import create_lifter
from lithepose.lifters.windows import CHANNELS
from lithepose.mocap.device_windows import DeviceWindows
from lithepose.mocap.motions import Motions, read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import WindowSettings
from lithepose.train.batches import Examples
from lithepose.train.checkpoints import LAST, kept_weights
from lithepose.train.engine import run
from lithepose.train.fields import check_config, kinds_of, read_changes
from lithepose.train.log import Progress
from lithepose.train.multiview import Centres, SynchronisedViews, VirtualViews
from lithepose.train.poseclr import (
    PoseCLR,
    PoseCLRSettings,
    contrastive_encoder,
    retrieval,
    save_encoder,
)
from lithepose.train.settings import Optimisation, RunSettings, found_device

MOTIONS_FILE = "cmu17_{}.npz"
ENCODER_FILE = "encoder.safetensors"
VALIDATION_INSTANTS = 1000

# Adam and its rate are the authors'. Batch and length are not known: the batch is that of their
# supervised training, the length is ours.
OPTIMISATION = Optimisation(optimiser="adam", learning_rate=1e-3, batch=256, steps=20_000)


def changed(changes: Iterable[str]) -> tuple[dict[str, Any], PoseCLRSettings, Optimisation]:
    """Settings with values replaced.

    Args:
        changes: `FIELD=VALUE`: a field of `PoseCLRSettings` or `Optimisation`, or `network.FIELD`
            for one of the lifter's config, which is looked at where it is built; values as in
            JSON.

    Returns:
        Fields of the lifter's config, the pre-training's settings, the optimisation.

    Raises:
        ValueError: no such field, or a value that it does not allow.
    """
    found = read_changes(changes, kinds_of(PoseCLRSettings), kinds_of(Optimisation))
    optimisation = replace(OPTIMISATION, **found.optimisation)
    return found.network, PoseCLRSettings(**found.own), optimisation


# --- views drawn on the device ----------------------------------------------------------------

# The first random numbers of a window in `DeviceWindows.make` are those of its motion: frame rate,
# exchanged arms and mirroring; then turns of eight limbs (axis, angle) and lengths of the bones.
_MOTION_UNIFORMS = 3
_MOTION_NORMALS = 8 * (3 + 1) + len(TRAINING_SPREAD)


def shared_motion(
    clips: DeviceWindows, centres: Tensor, views: int, generator: torch.Generator
) -> tuple[Tensor, ...]:
    """Random numbers for `clips.make` with which every `views` windows show the same motion.

    Args:
        centres: (B,) recorded frames in the middle of the windows.
        generator: on the device of `clips`.

    Returns:
        What `clips.make` takes, for B·V windows, those of one instant in a row.
    """
    count = len(centres)
    _, _, uniform, normal, per_frame, slips = clips.numbers(count * views, generator)
    partner = torch.randperm(count, generator=generator, device=centres.device)
    for numbers, of_motion in ((uniform, _MOTION_UNIFORMS), (normal, _MOTION_NORMALS)):
        first = numbers[::views, :of_motion].repeat_interleave(views, 0)
        numbers[:, :of_motion] = first
    return (
        centres.repeat_interleave(views),
        (partner * views).repeat_interleave(views),
        uniform,
        normal,
        per_frame,
        slips,
    )


# --- the task ---------------------------------------------------------------------------------


class PretrainingTask:
    """A pre-training as a task of `lithepose.train.engine`.

    Args:
        lifter: what `create_lifter` takes, with `overrides` of its config.
        examples: `SynchronisedViews`, `VirtualViews` or `Centres`.
        validation: (N, 2, F, 17, C) two views of N instants, of people not trained on.
        clips: with `Centres`, what draws their views on the device that trains.
        compiled: compile that drawing too.
    """

    score = "retrieval"
    higher_is_better = True

    def __init__(
        self,
        lifter: str,
        overrides: Mapping[str, Any],
        settings: PoseCLRSettings,
        examples: Examples,
        validation: NDArray[np.floating[Any]],
        *,
        clips: DeviceWindows | None = None,
        compiled: bool = False,
    ):
        self.lifter, self.overrides, self.settings = lifter, dict(overrides), settings
        self.examples, self.validation = examples, torch.from_numpy(validation)
        self.clips = clips
        if clips is not None:
            self._make = torch.compile(clips.make) if compiled else clips.make

    def build(self) -> nn.Module:
        return PoseCLR(create_lifter(self.lifter, **self.overrides), self.settings)

    def loss(
        self, network: nn.Module, batch: dict[str, Tensor], generator: torch.Generator
    ) -> Tensor:
        views = batch["views"] if self.clips is None else self._views(batch["centres"], generator)
        return network(views, batch["instants"])

    @torch.no_grad()
    def _views(self, centres: Tensor, generator: torch.Generator) -> Tensor:
        assert self.clips is not None
        if self.clips.positions.device != generator.device:
            self.clips.to(generator.device)
        count = self.settings.views or 2
        values, _ = self._make(*shared_motion(self.clips, centres, count, generator))
        return values.unflatten(0, (len(centres), count))

    def validate(self, network: nn.Module) -> dict[str, float]:
        assert isinstance(network, PoseCLR)
        return retrieval(network.encoder, self.validation)


def motion_task(
    lifter: str,
    overrides: Mapping[str, Any],
    settings: PoseCLRSettings,
    train: Motions,
    validation: Motions,
    *,
    clips: WindowSettings | None = None,
    noise: DetectorNoise | None = None,
    on_device: bool = False,
    compiled: bool = False,
) -> PretrainingTask:
    """Pre-training on motion capture seen by virtual cameras.

    Args:
        clips: how windows are drawn; `frames` and `targets` follow the lifter.
        noise: a detector's errors; None leaves the 2D exact.
        on_device: draw the views where the network is, which on a GPU is far faster. Only for
            networks of four channels.
        compiled: compile the drawing on the device too.

    Raises:
        ValueError: the lifter's channels do not fit.
    """
    frames, channels = _window_of(lifter, overrides)
    drawn = replace(clips or WindowSettings(), frames=frames, targets=1)
    count = settings.views or 2
    held_out = VirtualViews(
        motions=validation, settings=drawn, channels=channels, views=2, noise=noise
    )
    if on_device and channels != CHANNELS:
        raise ValueError(
            f"views of {channels} channels are not drawn on the device: leave on_device out"
        )
    examples = (
        Centres(motions=train)
        if on_device
        else VirtualViews(
            motions=train, settings=drawn, channels=channels, views=count, noise=noise
        )
    )
    return PretrainingTask(
        lifter,
        overrides,
        settings,
        examples,
        _validation_views(held_out),
        clips=DeviceWindows(train, drawn, noise) if on_device else None,
        compiled=compiled,
    )


def camera_task(
    lifter: str,
    overrides: Mapping[str, Any],
    settings: PoseCLRSettings,
    folder: Path,
    keypoints: str,
) -> PretrainingTask:
    """Pre-training on Human3.6M's four cameras: the training subjects, no 3D pose being used.

    The test subjects' views only say how it goes. The encoder that is handed on is the last one,
    whatever they say.

    Args:
        folder, keypoints: as for `lithepose.datasets.human36m.read_human36m`.
    """
    frames, channels = _window_of(lifter, overrides)
    data = read_human36m(folder, keypoints)

    def views(subjects: tuple[str, ...], count: int | None) -> SynchronisedViews:
        present = [subject for subject in subjects if subject in data.positions]
        sequences = data.sequences(present)
        return SynchronisedViews(sequences, frames=frames, channels=channels, views=count)

    examples, held_out = views(TRAIN, settings.views), views(TEST, 2)
    return PretrainingTask(lifter, overrides, settings, examples, _validation_views(held_out))


def _window_of(lifter: str, overrides: Mapping[str, Any]) -> tuple[int, int]:
    """Frames and channels of the windows a lifter takes; refuses one without contrastive head, and
    overrides that its config does not take."""
    with torch.device("meta"):
        check_config(type(cast(Any, create_lifter(lifter).config)), overrides)
        network = contrastive_encoder(create_lifter(lifter, **overrides), 1)
    config = cast(Any, network.config)
    return getattr(config, "frames", 1), config.in_channels


def _validation_views(examples: Examples) -> NDArray[np.floating[Any]]:
    """Two views of up to 1,000 instants spread over the examples, the same for every run."""
    count = min(VALIDATION_INSTANTS, len(examples))
    indices = np.linspace(0, len(examples) - 1, count).astype(np.int64)
    return examples.draw(indices, np.random.default_rng(20261126))["views"]


# --- from data to an encoder ------------------------------------------------------------------


def pretrain(
    lifter: str,
    data: Path,
    out: Path,
    *,
    overrides: Mapping[str, Any] | None = None,
    poseclr: PoseCLRSettings | None = None,
    optimisation: Optimisation = OPTIMISATION,
    settings: RunSettings | None = None,
    keypoints: str = "cpn_ft_h36m_dbb",
    report: Callable[[Progress], None] = lambda _: None,
) -> Path:
    """Pre-train a lifter's encoder, resuming what `out` holds.

    Args:
        lifter: what `create_lifter` takes, with `overrides` of its config.
        data: a folder with `cmu17_train.npz` and `cmu17_val.npz` (docs/data/mocap.md): virtual
            cameras; or with Human3.6M's files (docs/data/human36m.md): its real ones.
        out: folder of the run.
        keypoints: of Human3.6M, see `read_human36m`.
        report: called after every checkpoint.

    Returns:
        `out/encoder.safetensors`, for `take_over`.

    Raises:
        FileNotFoundError: `data` holds neither.
        ValueError: `data` holds both, the network has no contrastive head, `overrides` are not of
            it, the device is not there, the batch is more than all instants of real cameras, or
            `out` holds another run.
    """
    overrides, poseclr = overrides or {}, poseclr or PoseCLRSettings()
    settings = settings or RunSettings()
    found_device(settings.device, settings.devices)
    real = (data / POSITIONS_FILE).exists()
    virtual = (data / MOTIONS_FILE.format("train")).exists()
    if real and virtual:
        raise ValueError(f"{data} holds both Human3.6M and motion capture: give each its folder")
    if not real and not virtual:
        raise FileNotFoundError(
            f"{data} holds neither {MOTIONS_FILE.format('train')} (docs/data/mocap.md) nor "
            f"{POSITIONS_FILE} (docs/data/human36m.md)"
        )
    if real:
        task = camera_task(lifter, overrides, poseclr, data, keypoints)
        optimisation.check_batch(len(task.examples))
    else:
        on_gpu = settings.device != "cpu" and torch.cuda.is_available()
        task = motion_task(
            lifter,
            overrides,
            poseclr,
            read_motions(data / MOTIONS_FILE.format("train")),
            read_motions(data / MOTIONS_FILE.format("val")),
            noise=DetectorNoise.measured(),
            on_device=on_gpu and _window_of(lifter, overrides)[1] == CHANNELS,
            compiled=settings.compiled,
        )
    described = {
        "pretraining": "poseclr",
        "lifter": lifter,
        "overrides": dict(overrides),
        "settings": asdict(poseclr),
        "source": f"Human3.6M, {keypoints}" if real else "motion capture, virtual cameras",
    }
    for progress in run(task, optimisation, settings, out, described=described):
        report(progress)
    return finish(task, out, described)


def finish(task: PretrainingTask, folder: Path, described: Mapping[str, Any]) -> Path:
    """Write the encoder of a run's last checkpoint to `folder/encoder.safetensors`."""
    state = kept_weights(folder / LAST)
    path = folder / ENCODER_FILE
    save_encoder(path, create_lifter(task.lifter, **task.overrides), state, described)
    return path
