"""Checkpoints of the networks' authors: wrappers, strictness, safety."""

from __future__ import annotations

import importlib
import os
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner

from lithepose.cli import main
from lithepose.lifters import FAMILIES, LIFTERS, convert_state_dict, create_lifter, load_family

torch = pytest.importorskip("torch")

from lithepose.lifters.checkpoints import (  # noqa: E402  # it imports torch
    authors_options,
    convert_checkpoint,
    import_weights,
    read_checkpoint,
    recognise,
)
from lithepose.lifters.weights import authors_name, load_lifter, load_weights  # noqa: E402

# Network -> options of its authors for a small one, where not a size of the table.
SMALL: dict[str, dict[str, Any]] = {
    "hot": {
        "host": "mixste",
        "layer_index": 1,
        "token_num": 5,
        "frames": 9,
        "channel": 16,
        "depth": 2,
        "num_heads": 4,
        "d_hid": 24,
    },
    "htnet": {"layers": 1, "channel": 48, "d_hid": 32},
    "mhformer": {"frames": 27, "channel": 16, "d_hid": 32, "layers": 2},
    "mixste": {"frames": 9, "channel": 16, "depth": 2, "num_heads": 4, "d_hid": 24},
    "motionagformer": {"n_layers": 2, "dim_feat": 16, "dim_rep": 24, "n_frames": 9},
    "motionbert": {"dim_feat": 16, "dim_rep": 24, "depth": 1, "mlp_ratio": 3.0, "maxlen": 9},
    "nanohtnet": {"frames": 9, "keep_frames": 3, "layers": 1, "channel": 48, "d_hid": 32, "hid": 4},
}
# Tensors whose names make a HoT recover all frames.
RECOVERING = {"x_token": torch.zeros(1), "cross_attention.linear_q.bias": torch.zeros(1)}
# Our shapes back to the authors', by the endings in the tables of reshapes.
UNDO = {
    "transform.weight": lambda w: w.unflatten(0, (2, -1)).mT,
    "gather.weight": lambda w: w.unflatten(1, (-1, w.shape[0])).mT,
    "over_frames.weight": lambda w: w[..., None, None],
    "linear.weight": lambda w: w.unsqueeze(-1),
    "head.pose.weight": lambda w: w.unsqueeze(-1),
}


def name_tables(
    family: str, options: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch
) -> tuple[dict[str, Any], list[Any]]:
    """The config that authors' options give, and what is passed to `translate` on the way."""
    passed: list[Any] = []

    def spy(state: Any, model: Any, names: Any, reshape: Any = None) -> dict[str, Any]:
        passed.append((model, names, reshape or {}))
        return {}

    recovers = family == "hot" and options.get("host") != "mhformer"
    with monkeypatch.context() as patch:
        for known in {family, options.get("host", family)}:
            patch.setattr(
                importlib.import_module(FAMILIES[known].partition(":")[0]), "translate", spy
            )
        from_authors = load_family(family).from_authors
        with torch.device("meta"):  # names and shapes: no numbers, which take time to draw
            config, _ = from_authors(RECOVERING if recovers else {}, **options)
    return config, passed


def authors_state(family: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A small checkpoint with the authors' names and shapes, by the name tables backwards."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    _, passed = name_tables(family, SMALL[family], monkeypatch)
    for model, names, reshape in passed:
        for name, expected in model.state_dict().items():
            tensor = torch.rand(expected.shape, generator=generator).to(expected.dtype)
            for ending in reshape:
                tensor = UNDO[ending](tensor) if name.endswith(ending) else tensor
            state[authors_name(name, names)] = tensor.contiguous()
    return state


def wrapped(state: dict[str, Any]) -> dict[str, Any]:
    """With the prefix of a parallel wrapper, as `DataParallel` leaves it."""
    return {f"module.{name}": tensor for name, tensor in state.items()}


def training_state() -> Any:
    layer = torch.nn.Linear(2, 2)
    optimiser = torch.optim.Adam(layer.parameters(), amsgrad=True)
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return optimiser.state_dict()


# Network -> how its authors save: (ending of the file, what is saved).
SAVED: dict[str, tuple[str, Any]] = {
    "hot": (".pth", lambda state: state),
    "htnet": (".pth", lambda state: state),
    "mhformer": (".pth", lambda state: state),
    "mixste": (
        ".bin",
        lambda state: {
            "epoch": 3,
            "lr": 4e-5,
            "random_state": np.random.RandomState(1),
            "optimizer": training_state(),
            "model_pos": wrapped(state),
        },
    ),
    "motionagformer": (
        ".pth.tr",
        lambda state: {
            "epoch": 59,
            "lr": np.float64(5e-4),
            "optimizer": training_state(),
            "model": wrapped(state),
            "min_mpjpe": np.float32(38.4),
            "wandb_id": "abc",
        },
    ),
    "motionbert": (
        ".bin",
        lambda state: {
            "epoch": 1,
            "optimizer": training_state(),
            "model_pos": wrapped(state),
            "min_loss": np.mean(np.ones(3)),
        },
    ),
    "nanohtnet": (".pth", wrapped),
}


@pytest.mark.parametrize("family", SMALL)
def test_what_the_authors_save_imports(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = authors_state(family, monkeypatch)
    ending, save = SAVED[family]
    path, out = tmp_path / f"theirs{ending}", tmp_path / "ours.safetensors"
    torch.save(save(state), path)

    imported = import_weights(path, family, out, **SMALL[family])

    config, expected = convert_state_dict(family, state, **SMALL[family])
    assert imported.network == family
    assert imported.config == config
    found = load_lifter(out).state_dict()
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    origin = load_weights(out).metadata
    assert origin["imported_from"] == path.name
    assert len(origin["sha256"]) == 64
    assert recognise(read_checkpoint(path)) == family


@pytest.mark.parametrize(
    "name", [name for name, row in LIFTERS.items() if row.family not in ("ampose", "convformer")]
)
def test_the_options_of_a_published_size_give_its_config(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = LIFTERS[name]
    options = authors_options(name)
    config, _ = name_tables(row.family, options, monkeypatch)
    network = load_family(row.family).network
    wanted = network.Config(**row.settings)
    if row.family != "hot":
        assert network.Config(**config) == wanted
        return
    found = network.Config(**config)
    assert found.host == wanted.host
    assert tuple(found.prune) == tuple(wanted.prune)
    host = load_family(wanted.host).network
    assert host.Config(**found.host_settings) == host.Config(**wanted.host_settings)


def test_a_published_size_imports_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = create_lifter("nanohtnet-9-9")
    _, passed = name_tables("nanohtnet", authors_options("nanohtnet-9-9"), monkeypatch)
    _, names, reshape = passed[0]
    state = {}
    for name, tensor in model.state_dict().items():
        for ending in reshape:
            tensor = UNDO[ending](tensor) if name.endswith(ending) else tensor
        state[authors_name(name, names)] = tensor
    path = tmp_path / "model_12_4450.pth"
    torch.save(wrapped(state), path)
    family, config, converted = convert_checkpoint(path, "nanohtnet-9-9")
    again = create_lifter(family, **config)
    again.load_state_dict(converted)
    for name, tensor in again.state_dict().items():
        assert torch.equal(tensor, model.state_dict()[name]), name


def test_missing_and_surplus_tensors_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = authors_state("mixste", monkeypatch)
    del state["head.1.bias"]
    state["head.2.bias"] = torch.zeros(3)
    path = tmp_path / "broken.pth"
    torch.save(state, path)
    with pytest.raises(ValueError, match=r"broken.*missing: head.1.bias.*not part.*: head.2.bias"):
        import_weights(path, "mixste", tmp_path / "x.safetensors", **SMALL["mixste"])
    assert not (tmp_path / "x.safetensors").exists()


def test_a_checkpoint_of_another_network_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs.pth"
    torch.save(authors_state("motionbert", monkeypatch), path)
    with pytest.raises(ValueError, match=r"checkpoint of motionbert, not of mixste.*motionbert"):
        convert_checkpoint(path, "mixste-243")
    with pytest.raises(ValueError, match=r"checkpoint of motionbert, not of hot"):
        convert_checkpoint(path, "hot-mixste-243")
    with pytest.raises(ValueError, match="published no checkpoints"):
        convert_checkpoint(path, "convformer-9")


def test_a_checkpoint_of_another_size_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "theirs.pth"
    torch.save(authors_state("mixste", monkeypatch), path)
    with pytest.raises(ValueError, match="as mixste-243: the checkpoint does not fit MixSTE"):
        convert_checkpoint(path, "mixste-243")
    with pytest.raises(ValueError, match=r"published size .* 'mixste', with the options frames"):
        convert_checkpoint(path, "mixste-243", frames=9)
    with pytest.raises(ValueError, match=r"other options: .*chanel"):
        convert_checkpoint(path, "mixste", chanel=16)
    with pytest.raises(ValueError, match=r"no lifter named 'mixte'; known: "):
        convert_checkpoint(path, "mixte")


class Harmful:
    def __reduce__(self) -> Any:
        return (os.mkdir, ("ran",))


def test_a_file_that_would_run_code_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "harmful.pth"
    torch.save({"model": {"pos_embed": torch.zeros(1)}, "epoch": Harmful()}, path)
    with pytest.raises(ValueError, match=r"holds an object of (posix|nt)\.mkdir.*refused"):
        read_checkpoint(path)
    torch.save(torch.nn.Linear(1, 1), path)
    with pytest.raises(ValueError, match=r"Linear.*state_dict"):
        read_checkpoint(path)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_no_checkpoints_say_what_they_hold(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        read_checkpoint(tmp_path / "none.pth")
    path = tmp_path / "x.pth"
    path.write_bytes(b"PK\x03\x04 not really")
    with pytest.raises(ValueError, match=r"damaged or no file of torch.save"):
        read_checkpoint(path)
    for value, message in (
        ({"weights": {"a": torch.zeros(1)}}, "holds weights, which are no tensors"),
        (torch.zeros(1), "holds a Tensor where"),
        ({}, "holds nothing where"),
        ({"model": {}}, "holds nothing where"),
    ):
        torch.save(value, path)
        with pytest.raises(ValueError, match=message):
            read_checkpoint(path)


def test_prefixes_of_wrappers_go_in_any_order(tmp_path: Path) -> None:
    for prefix in ("module.", "_orig_mod.module.", "module._orig_mod.", "model.", "model_pos."):
        torch.save({"state_dict": {f"{prefix}fc.weight": torch.ones(2)}}, tmp_path / "x.pth")
        assert list(read_checkpoint(tmp_path / "x.pth")) == ["fc.weight"]
    # A prefix that only some names have belongs to the names.
    torch.save({"net.a": torch.ones(1), "b": torch.ones(1)}, tmp_path / "x.pth")
    assert set(read_checkpoint(tmp_path / "x.pth")) == {"net.a", "b"}


def test_the_command_writes_a_weights_file_or_says_why_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, out = tmp_path / "theirs.pth", tmp_path / "ours.safetensors"
    torch.save(authors_state("htnet", monkeypatch), path)
    command = ["models", "import", str(path), "--as", "htnet", "-o", str(out)]
    options = [f"--option={name}={value}" for name, value in SMALL["htnet"].items()]
    done = CliRunner().invoke(main, [*command, *options])
    assert done.exit_code == 0, done.output
    assert "htnet, " in done.output
    assert load_lifter(out)(torch.zeros(1, 1, 17, 2)).shape == (1, 1, 17, 3)
    done = CliRunner().invoke(main, command)
    assert done.exit_code == 2
    assert "does not fit HTNet" in done.output


@pytest.mark.shared
@pytest.mark.parametrize(
    "recording",
    [
        "htnet-base",
        "nanohtnet-f27-k9-l2c48",
        "mixste-t27-d32-l3",
        "motionbert-t27-d32-l3",
        "mhformer-t27-d32",
        "motionagformer-t27-d32-l3",
        "hot_mixste-t27-d32-l4-n2-k9",
    ],
)
def test_recorded_tensors_of_the_authors_import(
    recording: str, shared: Any, parity: ModuleType, tmp_path: Path
) -> None:
    found = parity.read_recording(shared(f"golden/{recording}.npz"))
    family, _, host = found.meta["network"].partition("_")
    torch.save({"model": wrapped(found.state)}, tmp_path / "x.pth")
    options = found.arguments | ({"host": host} if host else {})
    imported = import_weights(tmp_path / "x.pth", family, tmp_path / "x.safetensors", **options)
    assert imported.parameters == found.meta["parameter_count"]
    with torch.inference_mode():
        poses = parity.lift(load_lifter(tmp_path / "x.safetensors"), found)
    if host:  # which frames it keeps is decided by noise in the authors' code
        assert poses.shape == found.tensor("output").shape
        return
    torch.testing.assert_close(
        poses.flatten(0, 1), found.tensor("output").flatten(0, 1), atol=1e-3, rtol=0
    )
