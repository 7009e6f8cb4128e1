"""Pre-training from motion files to an encoder, in small: resumed runs, devices, the command."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from click.testing import CliRunner  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

from lithepose.cli.pretrain import pretrain as command  # noqa: E402
from lithepose.lifters import create_lifter  # noqa: E402
from lithepose.mocap.device_windows import DeviceWindows  # noqa: E402
from lithepose.mocap.motions import read_motions  # noqa: E402
from lithepose.mocap.noise import DetectorNoise  # noqa: E402
from lithepose.mocap.windows import WindowSettings  # noqa: E402
from lithepose.train.checkpoints import LAST, Progress  # noqa: E402
from lithepose.train.engine import run  # noqa: E402
from lithepose.train.poseclr import PoseCLR, PoseCLRSettings, take_over  # noqa: E402
from lithepose.train.settings import RunSettings  # noqa: E402
from lithepose.train.tasks import poseclr as pretraining  # noqa: E402
from lithepose.train.tasks.poseclr import (  # noqa: E402
    OPTIMISATION,
    PretrainingTask,
    changed,
    motion_task,
    pretrain,
    shared_motion,
)

SETTINGS = PoseCLRSettings(bank=50, feature_dim=2, momentum=0.9, temperature=0.2)
SHORT = replace(OPTIMISATION, steps=6, batch=16)
HERE = RunSettings(
    device="cpu", precision="32", workers=0, save_every=3, chunk=8, tensorboard=False
)


@pytest.fixture(scope="module")
def fitted(
    tiny: dict[str, Any], motion_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[Progress]]:
    """The encoder of a finished run, and what the run reported."""
    out = tmp_path_factory.mktemp("pretraining")
    progress: list[Progress] = []
    encoder = pretrain(
        "nanohtnet",
        motion_folder,
        out,
        overrides=tiny,
        poseclr=SETTINGS,
        optimisation=SHORT,
        settings=HERE,
        report=progress.append,
    )
    return encoder, progress


def test_a_run_reports_how_well_views_find_each_other(fitted: tuple[Path, list[Progress]]):
    encoder, progress = fitted
    assert encoder.name == "encoder.safetensors"
    assert [p.step for p in progress] == [3, 6]
    for p in progress:
        assert set(p.scores) == {"retrieval", "retrieval_5", "alike", "unlike"}
        assert 0 <= p.scores["retrieval"] <= p.scores["retrieval_5"] <= 1
    assert 0 < progress[1].loss < np.log(1 + 50 * np.exp(1 / 0.2))


def test_the_encoder_begins_a_training(fitted: tuple[Path, list[Progress]], tiny: dict[str, Any]):
    encoder, _ = fitted
    lifter = create_lifter("nanohtnet", **tiny)
    said = take_over(lifter, encoder)
    assert said["pretraining"] == "poseclr"
    assert said["settings"]["temperature"] == 0.2
    kept = load_file(encoder.parent / LAST)
    state = lifter.state_dict()
    for name in ("spatial_embed.weight", "temporal_position", "spatial_features.bias"):
        assert torch.equal(state[name], kept[f"model.encoder.{name}"])


def test_a_run_that_was_broken_off_goes_on_as_if_it_was_not(
    fitted: tuple[Path, list[Progress]], tiny: dict[str, Any], motion_folder: Path, tmp_path: Path
):
    encoder, _ = fitted

    class Killed(Exception):
        pass

    def go(report: Any = lambda _: None) -> None:
        pretrain(
            "nanohtnet",
            motion_folder,
            tmp_path,
            overrides=tiny,
            poseclr=SETTINGS,
            optimisation=SHORT,
            settings=HERE,
            report=report,
        )

    def kill(progress: Progress) -> None:
        raise Killed

    with pytest.raises(Killed):
        go(kill)
    assert not (tmp_path / "encoder.safetensors").exists()
    go()
    whole, resumed = load_file(encoder.parent / LAST), load_file(tmp_path / LAST)
    assert whole.keys() == resumed.keys()
    assert {"model.bank", "model.next_row", "model.slow_encoder.temporal_position"} <= whole.keys()
    for name, value in whole.items():
        assert torch.equal(value, resumed[name]), name
    with pytest.raises(ValueError, match=r"temperature = 0\.2, not 0\.5"):
        pretrain(
            "nanohtnet",
            motion_folder,
            tmp_path,
            overrides=tiny,
            poseclr=replace(SETTINGS, temperature=0.5),
            optimisation=SHORT,
            settings=HERE,
        )


def test_training_brings_views_of_one_instant_together(tiny: dict[str, Any], motion_folder: Path):
    motions = read_motions(motion_folder / "cmu17_train.npz")
    settings = replace(SETTINGS, feature_dim=8)
    task = motion_task("nanohtnet", tiny, settings, motions, motions)
    torch.manual_seed(0)
    network = task.build().train()
    assert isinstance(network, PoseCLR)
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)
    random, generator = np.random.default_rng(0), torch.Generator()
    losses = []
    for _ in range(40):
        drawn = task.examples.draw(random.permutation(len(task.examples))[:16], random)
        loss = task.loss(network, {k: torch.from_numpy(v) for k, v in drawn.items()}, generator)
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
        losses.append(float(loss.detach()))
    assert np.mean(losses[-5:]) < np.mean(losses[4:9]) - 0.3  # the bank is full from step 4 on
    scores = task.validate(network.eval())
    assert scores["alike"] > scores["unlike"] + 0.1  # and not by all becoming the same


def test_views_drawn_on_the_device_share_the_motion(motion_folder: Path):
    motions = read_motions(motion_folder / "cmu17_train.npz")
    # Arms of other windows, too, must be the same in all views.
    settings = WindowSettings(frames=9, targets=9, exchange_arms=1.0)
    clips = DeviceWindows(motions, settings, DetectorNoise.measured())
    generator = torch.Generator().manual_seed(4)
    centres = torch.tensor([5, 30, 61])
    values, poses = clips.make(*shared_motion(clips, centres, 3, generator))
    between = (poses[..., None, :, :] - poses[..., :, None, :]).norm(dim=-1).view(3, 3, 9, 17, 17)
    torch.testing.assert_close(between[:, 1:], between[:, :1].expand(3, 2, 9, 17, 17))
    for other in (1, 2):
        assert (between[0] - between[other]).abs().max() > 0.05  # other windows move otherwise
    sides = values.view(3, 3, 9, 17, 4)
    assert (sides[:, 0] - sides[:, 1]).abs().amax((1, 2, 3)).min() > 0.1


def test_a_task_can_draw_its_views_on_the_device(
    tiny: dict[str, Any], motion_folder: Path, tmp_path: Path
):
    motions = read_motions(motion_folder / "cmu17_train.npz")
    task = motion_task("nanohtnet", tiny, SETTINGS, motions, motions, on_device=True)
    assert set(task.examples.draw(np.arange(3), np.random.default_rng(0))) == {
        "centres",
        "instants",
    }
    optimisation = replace(SHORT, steps=2)
    progress = list(run(task, optimisation, HERE, tmp_path, described={}))
    assert progress[-1].step == 2
    stored = load_file(tmp_path / LAST)
    assert int((stored["model.bank_instants"] >= 0).sum()) == 32
    with pytest.raises(ValueError, match="not drawn on the device"):
        motion_task(
            "htnet",
            {"channels": 24, "hidden": 16, "layers": 1},
            SETTINGS,
            motions,
            motions,
            on_device=True,
        )


@pytest.mark.parametrize("lifter", ["htnet", "mixste"])
def test_networks_of_two_channels_take_motion_capture_on_the_screen(
    lifter: str, motion_folder: Path
):
    motions = read_motions(motion_folder / "cmu17_val.npz")
    overrides = {"channels": 24, "hidden": 16, "layers": 1}
    overrides |= {"frames": 3} if lifter == "mixste" else {}
    task = motion_task(lifter, overrides, SETTINGS, motions, motions)
    assert isinstance(task, PretrainingTask)
    batch = task.examples.draw(np.arange(4), np.random.default_rng(0))
    assert batch["views"].shape == (4, 2, overrides.get("frames", 1), 17, 2)
    network = task.build()
    task.loss(network, {k: torch.from_numpy(v) for k, v in batch.items()}, torch.Generator())
    assert set(task.validate(network.eval())) >= {"retrieval"}


def test_the_folder_of_the_data_says_where_views_come_from(motion_folder: Path, tmp_path: Path):
    with pytest.raises(FileNotFoundError, match=r"neither cmu17_train.npz .* nor data_3d_h36m"):
        pretrain("htnet", tmp_path, tmp_path / "run")
    both = shutil.copytree(motion_folder, tmp_path / "both")
    (both / "data_3d_h36m.npz").touch()
    with pytest.raises(ValueError, match="holds both"):
        pretrain("htnet", both, tmp_path / "run")
    with pytest.raises(ValueError, match="no contrastive head for 'convformer'"):
        pretrain("convformer-9", motion_folder, tmp_path / "run")


def test_settings_are_changed_by_name():
    network, poseclr, optimisation = changed(
        ["temperature=0.07", "network.in_channels=4", "optimiser=adamw", "steps=9"]
    )
    assert network == {"in_channels": 4}
    assert poseclr == PoseCLRSettings(temperature=0.07)
    assert optimisation == replace(OPTIMISATION, optimiser="adamw", steps=9)
    assert changed(["epochs=3"])[2] == replace(OPTIMISATION, epochs=3, steps=None)
    for change, message in (
        ("tau=1", "no field 'tau'; known: feature_dim, bank"),
        ("bank", "takes field=value"),
        ("bank=", "takes field=value"),
        ("bank=many", "bank takes a whole number, not 'many'"),
        ("bank=1.5", "bank takes a whole number, not 1.5"),
        ("views=x", "views takes a whole number or null, not 'x'"),
        ("momentum=2", r"momentum = 2\.0 is out of range"),
        ("seed=1.5", "seed takes a whole number, not 1.5"),
        ("betas=[0.9]", "betas takes a list of 2 numbers"),
    ):
        # The other setting is a good one, and the message does not blame it.
        with pytest.raises(ValueError, match=message) as caught:
            changed(["temperature=0.07", change])
        assert "0.07" not in str(caught.value)


def test_what_a_pretraining_cannot_do_is_refused_before_it_begins(
    motion_folder: Path, tmp_path: Path
):
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"overrides": {"foo": 1}}, "the network has no setting 'foo'; known: network.frames"),
        ({"overrides": {"layers": "x"}}, "network.layers takes a whole number, not 'x'"),
        ({"settings": RunSettings(device="foo")}, "no device named 'foo'; known: auto"),
    ]
    for options, message in wrong:
        with pytest.raises(ValueError, match=message):
            pretrain("nanohtnet-27-9", motion_folder, tmp_path / "run", **options)
    assert not (tmp_path / "run").exists()


def test_a_batch_of_more_instants_than_real_cameras_saw_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    class Few:
        examples = range(5)

    (tmp_path / "data_3d_h36m.npz").touch()
    monkeypatch.setattr(pretraining, "camera_task", lambda *parts: Few())
    with pytest.raises(ValueError, match="16 is more than the 5 examples"):
        pretrain("nanohtnet-27-9", tmp_path, tmp_path / "run", optimisation=SHORT, settings=HERE)


def test_the_command_pretrains(tiny: dict[str, Any], motion_folder: Path, tmp_path: Path):
    arguments = ["nanohtnet", "--data", str(motion_folder), "--out", str(tmp_path / "run")]
    for name, value in tiny.items():
        arguments += ["--set", f"network.{name}={list(value) if name == 'drop_path' else value}"]
    arguments += ["--steps", "2", "--batch", "4", "--device", "cpu", "--workers", "0"]
    result = CliRunner().invoke(command, arguments)
    assert result.exit_code == 0, result.output
    assert "step 2 of 2: loss" in result.output
    assert "other view found for" in result.output
    assert result.output.rstrip().endswith("encoder.safetensors")
    wrong = CliRunner().invoke(command, [*arguments, "--set", "tau=1"])
    assert wrong.exit_code == 2
    assert "no field 'tau'" in wrong.output
    for setting, message in (
        ("network.foo=1", "no setting 'foo'"),
        ("network.layers=x", "network.layers takes a whole number"),
        ("betas=[0.9]", "betas takes a list of 2 numbers"),
    ):
        wrong = CliRunner().invoke(command, [*arguments, "--set", setting])
        assert (wrong.exit_code, wrong.output.count("\n")) == (2, 1), wrong.output
        assert message in wrong.output
    unknown = CliRunner().invoke(command, ["nanohtnet-28", *arguments[1:]])
    assert unknown.exit_code == 2
    assert "known:" in unknown.output
