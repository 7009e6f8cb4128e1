"""The training engine: resuming, what it refuses, what it writes, and that it learns."""

from __future__ import annotations

import csv
import errno
import importlib.util
import json
import logging
import os
import pickle
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("lightning_fabric")

from safetensors import safe_open  # noqa: E402

from lithepose import __version__  # noqa: E402
from lithepose.train import checkpoints, engine  # noqa: E402
from lithepose.train.checkpoints import kept_weights  # noqa: E402
from lithepose.train.engine import Batches  # noqa: E402
from lithepose.train.optimisers import make_optimisers  # noqa: E402

PROGRAM = Path(__file__).with_name("tiny_training.py")
_spec = importlib.util.spec_from_file_location("tiny_training", PROGRAM)
assert _spec is not None
assert _spec.loader is not None
tiny_training: Any = importlib.util.module_from_spec(_spec)
sys.modules["tiny_training"] = tiny_training  # dataclasses and pickle look there
_spec.loader.exec_module(tiny_training)

Fit, Points = tiny_training.Fit, tiny_training.Points
OPTIMISATION, train = tiny_training.OPTIMISATION, tiny_training.train
same_tensors = tiny_training.same_tensors


class Killed(Exception):
    pass


class Dying(Fit):
    """A task that ends at one of its losses, or has one of another value there."""

    def __init__(self, at: int, value: float | None = None, **options: Any):
        super().__init__(**options)
        self.left, self.value = at, value

    def loss(self, network: Any, batch: Any, generator: Any) -> Any:
        self.left -= 1
        loss = super().loss(network, batch, generator)
        if self.left == 0:
            if self.value is None:
                raise Killed
            return loss * self.value
        return loss


class Scored(Fit):
    """A task with given scores."""

    def __init__(self, *scores: float, higher: bool = False):
        super().__init__()
        self.scores, self.higher_is_better = list(scores), higher
        self.seen: list[dict[str, Any]] = []

    def validate(self, network: Any) -> dict[str, float]:
        assert not network.training
        assert not torch.is_grad_enabled()
        self.seen.append({k: v.clone() for k, v in network.state_dict().items()})
        return {"error": self.scores.pop(0)}


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / "log.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def header(path: Path) -> dict[str, str]:
    with safe_open(path, framework="pt") as file:
        return file.metadata()


# --- resuming ---------------------------------------------------------------------------------


# One test, because its program imports PyTorch and Fabric once for all processes.
def test_killed_runs_and_pairs_of_processes_end_like_one_that_is_left_alone(tmp_path: Path):
    done = subprocess.run(
        [sys.executable, str(PROGRAM), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=300,
        env=os.environ | {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""},
    )
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout.splitlines()[-1])
    killed, pair = result["killed"], result["pair"]
    assert killed["kills"] == 2
    assert killed["same"] == {"last.safetensors": True, "best.safetensors": True}
    assert killed["log"]
    assert len(pair["one"]) == 20
    # Gradients are summed in another order.
    np.testing.assert_allclose(pair["two"], pair["one"], rtol=1e-5)
    assert pair["one"][-1] < 0.6 * pair["one"][0]
    assert pair["weights_apart"] < 1e-5


@pytest.mark.parametrize(
    "changes",
    [
        {"workers": 1},
        {"optimiser": "muon", "weight_decay": 0.02},
        {"optimiser": "adam", "amsgrad": True, "average": None, "schedule": "cosine"},
        {"precision": "bf16"},
    ],
)
def test_an_interrupted_run_that_is_resumed_ends_with_exactly_the_same_weights(
    tmp_path: Path, changes: dict[str, Any]
):
    train(tmp_path / "whole", **changes)
    with pytest.raises(Killed):  # one step after the checkpoint of the second
        train(tmp_path / "part", Dying(4), **changes)
    torch.manual_seed(99)  # nothing may hang on what was drawn before
    progress = train(tmp_path / "part", **changes)
    assert [p.step for p in progress] == [4, 6]
    for name in ("last.safetensors", "best.safetensors"):
        assert same_tensors(tmp_path / "whole" / name, tmp_path / "part" / name)


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@needs_cuda
@pytest.mark.parametrize("changes", [{}, {"cuda_graphs": True}, {"precision": "bf16"}])
def test_a_run_on_a_gpu_resumes_exactly_too(tmp_path: Path, changes: dict[str, Any]):
    changes = {"device": "cuda", "deterministic": True, "steps": 30, "optimiser": "muon"} | changes
    train(tmp_path / "whole", **changes)
    train(tmp_path / "part", **(changes | {"steps": 12}))  # steps are captured from the fourth on
    train(tmp_path / "part", **changes)
    for name in ("last.safetensors", "best.safetensors"):
        assert same_tensors(tmp_path / "whole" / name, tmp_path / "part" / name)


@needs_cuda
@pytest.mark.parametrize("optimiser", ["adam", "muon"])
def test_a_captured_step_trains_as_any_other_does(tmp_path: Path, optimiser: str):
    options = {"device": "cuda", "steps": 30, "save_every": 1, "optimiser": optimiser}
    options |= {"schedule": "cosine", "warmup": 5}
    plain, captured = (
        [p.loss for p in train(tmp_path / str(graphs), cuda_graphs=graphs, **options)]
        for graphs in (False, True)
    )
    np.testing.assert_allclose(captured, plain, rtol=1e-3)


def test_a_finished_run_is_left_as_it_is_and_can_be_made_longer(tmp_path: Path):
    train(tmp_path)
    before = kept_weights(tmp_path / "last.safetensors")
    assert train(tmp_path) == []
    after = kept_weights(tmp_path / "last.safetensors")
    assert all(torch.equal(before[k], after[k]) for k in before)
    assert [p.step for p in train(tmp_path, steps=8)] == [8]
    assert [row["step"] for row in rows(tmp_path)] == ["2", "4", "6", "8"]


@pytest.mark.parametrize(
    ("name", "before", "now"),
    [("batch", 8, 5), ("seed", 5, 6), ("optimiser", "adamw", "muon"), ("average", 0.9, None)],
)
def test_a_run_of_another_recipe_is_not_continued(tmp_path: Path, name: str, before: Any, now: Any):
    train(tmp_path)
    message = f"is of a run with optimisation.{name} = {before}, not {now}: resume with that"
    with pytest.raises(ValueError, match=message):
        train(tmp_path, **{name: now})


def test_a_run_of_another_description_is_not_continued(tmp_path: Path):
    def follow(loss: dict[str, float]) -> None:
        described = {"network": "tiny", "loss": loss}
        list(engine.run(Fit(), OPTIMISATION, tiny_training.SETTINGS, tmp_path, described=described))

    follow({"limbs": 2.0})
    with pytest.raises(ValueError, match=r"recipe\.loss\.limbs = 2\.0, not None: .*another folder"):
        follow({})


def test_a_checkpoint_of_another_network_is_not_loaded(tmp_path: Path):
    train(tmp_path)
    with pytest.raises(ValueError, match="is of another network: train into another folder"):
        train(tmp_path, Fit(norm=False), steps=8)


def test_a_damaged_checkpoint_says_so(tmp_path: Path):
    train(tmp_path)
    last = tmp_path / "last.safetensors"
    last.write_bytes(last.read_bytes()[:100])
    with pytest.raises(ValueError, match=r"is damaged or no safetensors file .*to start anew"):
        train(tmp_path)
    with pytest.raises(FileNotFoundError, match="no checkpoint at"):
        kept_weights(tmp_path / "none.safetensors")


# --- data -------------------------------------------------------------------------------------


class Watched(Points):
    """Points that remember what was drawn."""

    def __init__(self, size: int = 20):
        super().__init__(size)
        object.__setattr__(self, "seen", [])

    def draw(self, indices: Any, random: Any) -> Any:
        chunk = super().draw(indices, random)
        self.seen.append(chunk)  # type: ignore[attr-defined]
        return chunk


def drawn(examples: Any, **fields: Any) -> list[Any]:
    """The batches of six steps of a process."""
    place = {"chunk": 3, "rank": 0, "world": 1} | fields
    return [Batches(examples, OPTIMISATION, **place)[step] for step in range(6)]


def test_every_epoch_visits_every_example_once_in_another_order():
    batches = drawn(Points(12))  # six batches of eight are four epochs of twelve
    epochs = torch.cat([batch["index"] for batch in batches]).reshape(4, 12)
    assert all(sorted(epoch.tolist()) == list(range(12)) for epoch in epochs)
    assert len({tuple(epoch.tolist()) for epoch in epochs}) == 4


def test_a_batch_may_be_larger_than_the_set():
    batches = drawn(Points(3))
    assert all(len(batch["index"]) == 8 for batch in batches)
    counts = np.bincount(torch.cat([batch["index"] for batch in batches]).numpy())
    assert counts.tolist() == [16, 16, 16]


@pytest.mark.parametrize("world", [2, 3])
def test_any_number_of_processes_sees_the_same_batch(world: int):
    whole = drawn(Points())
    shares = [drawn(Points(), rank=rank, world=world) for rank in range(world)]
    for step, batch in enumerate(whole):
        parts = [share[step]["x"].split(3) for share in shares]
        order = [parts[c % world][c // world] for c in range(3)]
        assert torch.equal(torch.cat(order), batch["x"])


def test_the_seed_decides_the_data_of_every_step(tmp_path: Path):
    sets = [Watched(), Watched(), Watched()]
    for number, (examples, seed) in enumerate(zip(sets, (5, 5, 6), strict=True)):
        train(tmp_path / str(number), Fit(examples=examples), seed=seed)
    first, again, other = ([chunk["x"] for chunk in examples.seen] for examples in sets)
    assert len(first) == 18  # six steps of three chunks
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a, b) for a, b in zip(first, other, strict=True))
    assert len({chunk.tobytes() for chunk in first}) == 18


def test_batches_can_be_sent_to_processes_that_are_started_anew():
    batches = Batches(Points(), OPTIMISATION, 3, 0, 1)
    sent = pickle.loads(pickle.dumps(batches))
    assert torch.equal(sent[4]["x"], batches[4]["x"])


def test_a_set_without_examples_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match="there are no examples to train on"):
        train(tmp_path, Fit(examples=Points(0)))


# --- scores -----------------------------------------------------------------------------------


def test_validation_sees_the_averaged_weights_and_changes_nothing(tmp_path: Path):
    rare, often = Scored(1.0), Scored(*[1.0] * 6)
    train(tmp_path / "rare", rare, save_every=6)
    train(tmp_path / "often", often, save_every=1)
    paths = [tmp_path / name / "last.safetensors" for name in ("rare", "often")]
    assert same_tensors(*paths)
    kept = kept_weights(paths[0])
    assert all(torch.equal(often.seen[-1][k], kept[k]) for k in kept)
    assert not torch.equal(often.seen[1]["head.weight"], often.seen[2]["head.weight"])


def test_validation_can_be_rarer_than_checkpoints(tmp_path: Path):
    task = Scored(2.0, 1.0)
    progress = train(tmp_path, task, save_every=2, validate_every=4)
    assert [(p.step, p.scores, p.best) for p in progress] == [
        (2, {}, False),
        (4, {"error": 2.0}, True),
        (6, {"error": 1.0}, True),
    ]
    assert [row["error"] for row in rows(tmp_path)] == ["", "2", "1"]


@pytest.mark.parametrize(
    ("scores", "higher", "step"),
    [((3.0, 1.0, 2.0), False, 4), ((3.0, 1.0, 2.0), True, 2), ((float("nan"), 2.0, 1.0), True, 4)],
)
def test_the_best_checkpoint_is_kept(
    tmp_path: Path, scores: tuple[float, ...], higher: bool, step: int
):
    task = Scored(*scores, higher=higher)
    train(tmp_path, task)
    best = tmp_path / "best.safetensors"
    assert header(best)["step"] == str(step)
    kept = kept_weights(best)
    assert all(torch.equal(kept[k], task.seen[step // 2 - 1][k]) for k in kept)


def test_the_best_checkpoint_stays_right_over_resumes(tmp_path: Path):
    train(tmp_path, Scored(3.0, 1.0), steps=4)
    train(tmp_path, Scored(2.0, 1.5), steps=8)
    assert header(tmp_path / "best.safetensors")["step"] == "4"
    train(tmp_path, Scored(0.5), steps=10)
    assert header(tmp_path / "best.safetensors")["step"] == "10"


def test_a_new_run_does_not_mind_the_best_of_an_old_one(tmp_path: Path):
    train(tmp_path, Scored(1.0, 1.0, 1.0))
    (tmp_path / "last.safetensors").unlink()
    train(tmp_path, Scored(3.0, 2.0, 2.5))
    assert header(tmp_path / "best.safetensors")["step"] == "4"


def test_a_score_that_is_missing_says_what_there_is(tmp_path: Path):
    class Wrong(Fit):
        score = "mpjpe"

    with pytest.raises(ValueError, match=r"validation gave no 'mpjpe'.*but error"):
        train(tmp_path, Wrong())


# --- what goes wrong --------------------------------------------------------------------------


def test_a_loss_that_is_not_finite_stops_the_run_before_the_checkpoint(tmp_path: Path):
    with pytest.raises(FloatingPointError, match=r"not finite at step 3: .*lower learning rate"):
        train(tmp_path, Dying(4, float("nan")))
    saved = kept_weights(tmp_path / "last.safetensors")
    assert header(tmp_path / "last.safetensors")["step"] == "2"
    assert all(bool(torch.isfinite(value).all()) for value in saved.values())


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path):
    class Endless(Fit):
        """A finite loss with a gradient that is not, in the step before a checkpoint."""

        left = 4

        def loss(self, network: Any, batch: Any, generator: Any) -> Any:
            self.left -= 1
            loss = super().loss(network, batch, generator)
            return loss if self.left else loss + (loss - loss.detach()).abs().sqrt()

    with pytest.raises(FloatingPointError, match="weights are not finite after step 3"):
        train(tmp_path, Endless(), clip=None)
    assert header(tmp_path / "last.safetensors")["step"] == "2"


def test_a_full_disk_leaves_the_last_good_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    train(tmp_path / "whole")
    write = Path.write_bytes
    written = 0

    def full(path: Path, data: bytes) -> int:
        nonlocal written
        written += 1
        if written == 4:  # best and last of step 2, best of step 4, and then
            write(path, data[: len(data) // 2])
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(path, data)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="cannot write: the disk is full"):
            train(tmp_path / "part")
    assert header(tmp_path / "part" / "last.safetensors")["step"] == "2"
    assert not [path for path in (tmp_path / "part").iterdir() if path.name.startswith(".")]
    assert [p.step for p in train(tmp_path / "part")] == [4, 6]
    for name in ("last.safetensors", "best.safetensors"):
        assert same_tensors(tmp_path / "whole" / name, tmp_path / "part" / name)
    assert [row["step"] for row in rows(tmp_path / "part")] == ["2", "4", "6"]


def test_a_folder_that_cannot_be_is_told_before_anything_is_trained(tmp_path: Path):
    (tmp_path / "file").touch()
    task = Dying(1)
    with pytest.raises(OSError, match="a part of that path is a file, not a folder"):
        train(tmp_path / "file" / "run", task)
    assert task.left == 1


def test_a_missing_fabric_names_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(ModuleNotFoundError, match=r'pip install "lithepose\[train\]"'):
        train(tmp_path)


def test_a_batch_with_too_few_chunks_for_the_processes_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    made = engine._fabric

    def of_four(settings: Any) -> Any:
        fabric = made(settings)
        monkeypatch.setattr(type(fabric), "world_size", property(lambda self: 4))
        return fabric

    monkeypatch.setattr(engine, "_fabric", of_four)
    message = "a batch of 8 is 3 chunks of 3, fewer than the 4 processes: take chunks of 2 at most"
    with pytest.raises(ValueError, match=message):
        train(tmp_path)
    with pytest.raises(ValueError, match="take 2 processes at most, or a larger batch"):
        train(tmp_path, batch=2)


def test_cuda_graphs_are_for_a_gpu(tmp_path: Path):
    with pytest.raises(ValueError, match="cuda_graphs is for one CUDA device: train without it"):
        train(tmp_path, cuda_graphs=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_missing_gpu_says_so(tmp_path: Path):
    with pytest.raises(ValueError, match="PyTorch finds no CUDA device"):
        train(tmp_path, device="cuda")


# --- what is written --------------------------------------------------------------------------


def test_progress_and_log_tell_the_same(tmp_path: Path):
    progress = train(tmp_path, schedule="exponential", gamma=0.5)
    assert [(p.step, p.steps, p.epoch) for p in progress] == [(2, 6, 0.8), (4, 6, 1.6), (6, 6, 2.4)]
    assert [p.learning_rate for p in progress] == [0.01, 0.005, 0.0025]
    assert all(p.examples_per_s > 0 and p.scores["error"] > 0 for p in progress)
    log = rows(tmp_path)
    assert [row["examples"] for row in log] == ["16", "32", "48"]
    assert [float(row["loss"]) for row in log] == pytest.approx(
        [p.loss for p in progress], rel=1e-5
    )
    assert [float(row["error"]) for row in log] == pytest.approx(
        [p.scores["error"] for p in progress], rel=1e-5
    )


def test_the_loss_told_is_the_mean_since_the_report_before(tmp_path: Path):
    every = [p.loss for p in train(tmp_path / "every", save_every=1)]
    assert [p.loss for p in train(tmp_path / "three", save_every=3)] == pytest.approx(
        [np.mean(every[:3]), np.mean(every[3:])]
    )


@pytest.mark.parametrize("text", [b"\xff\xfe,1\n", b"step,loss\nhalf,1\n", b"loss\n1\n"])
def test_a_damaged_log_says_which_file_it_is(tmp_path: Path, text: bytes):
    train(tmp_path, steps=3, save_every=3)
    (tmp_path / "log.csv").write_bytes(text)
    with pytest.raises(ValueError, match=r"log\.csv is damaged .*take it away"):
        train(tmp_path)


def test_the_recipe_and_the_commit_are_written(tmp_path: Path):
    train(tmp_path)
    said = json.loads((tmp_path / "recipe.json").read_text())
    assert said["recipe"] == {"network": "tiny"}
    assert said["optimisation"]["batch"] == 8
    assert said["settings"]["chunk"] == 3
    # Where it ran, and not what was asked for.
    assert said["settings"]["device"] == "cpu"
    assert said["settings"]["precision"] == "32"
    assert said["settings"]["processes"] == 1
    assert said["version"] == __version__
    for name in ("last", "best"):
        told = header(tmp_path / f"{name}.safetensors")
        assert json.loads(told["described"])["optimisation"]["seed"] == 5
        assert told["commit"] == said["commit"]
    # An installed copy is in no checkout, wherever its tests are.
    if (Path(engine.__file__).parents[3] / ".git").exists():
        assert len(said["commit"].split()[0]) == 40


def test_there_is_no_commit_outside_a_checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(checkpoints, "__file__", str(tmp_path / "engine.py"))
    assert checkpoints.commit_of_code.__wrapped__() == ""


def test_asking_for_the_commit_writes_nothing_into_the_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def git(*arguments: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b.invalid")
        subprocess.run(["git", "-C", str(tmp_path), *who, *arguments], check=True)

    if shutil.which("git") is None:
        pytest.skip("needs git")
    code = tmp_path / "engine.py"
    code.touch()
    git("init", "-q")
    git("add", "engine.py")
    git("commit", "-q", "-m", "engine")
    os.utime(code, (0, 0))  # git looks at the file again, and would note its new time in the index
    index = (tmp_path / ".git" / "index").read_bytes()
    monkeypatch.setattr(checkpoints, "__file__", str(code))
    assert len(checkpoints.commit_of_code.__wrapped__()) == 40
    assert (tmp_path / ".git" / "index").read_bytes() == index


def test_files_are_complete_or_absent(tmp_path: Path):
    train(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "best.safetensors",
        "last.safetensors",
        "log.csv",
        "recipe.json",
    ]


def test_what_a_killed_run_was_writing_is_cleared_away(tmp_path: Path):
    for name in (".last-0123abcd.safetensors", ".log-00000000.csv", ".last-mine.safetensors"):
        (tmp_path / name).touch()
    train(tmp_path)
    left = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert left == [".last-mine.safetensors"]


def test_without_an_average_the_weights_themselves_are_kept(tmp_path: Path):
    task = Scored(2.0, 1.5, 1.0)
    train(tmp_path, task, average=None)
    for name in ("last", "best"):
        kept = kept_weights(tmp_path / f"{name}.safetensors")
        assert kept.keys() == task.seen[-1].keys()
        assert all(torch.equal(kept[k], task.seen[-1][k]) for k in kept)


def test_tied_weights_are_saved_and_resumed(tmp_path: Path):
    class Tied(Fit):
        def build(self) -> Any:
            network = super().build()
            network.blocks[1][0].weight = network.blocks[0][0].weight
            return network

    train(tmp_path / "whole", Tied())
    train(tmp_path / "part", Tied(), steps=4)
    train(tmp_path / "part", Tied())
    assert same_tensors(*(tmp_path / name / "last.safetensors" for name in ("whole", "part")))
    kept = kept_weights(tmp_path / "part" / "last.safetensors")
    assert torch.equal(kept["blocks.0.0.weight"], kept["blocks.1.0.weight"])


def test_tensorboard_is_written_where_it_is_installed(tmp_path: Path):
    pytest.importorskip("tensorboard")
    train(tmp_path, tensorboard=True)
    (events,) = tmp_path.glob("events.out.tfevents.*")
    content = events.read_bytes()
    assert b"train/loss" in content
    assert b"validation/error" in content


def test_without_tensorboard_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with caplog.at_level(logging.INFO, "lithepose"):
        train(tmp_path, tensorboard=True)
    assert [r.message for r in caplog.records] == [
        "no TensorBoard events: it is not installed (pip install tensorboard)"
    ]


# --- optimisers -------------------------------------------------------------------------------


@pytest.mark.parametrize("optimiser", ["adam", "adamw", "muon"])
def test_a_small_set_is_learned_by_heart(tmp_path: Path, optimiser: str):
    task = Fit(examples=Points(size=8, noise=0.0), dropout=0.0, norm=False)
    progress = train(tmp_path, task, optimiser=optimiser, steps=60, save_every=15)
    assert progress[-1].loss < 0.2 * progress[0].loss


def test_muon_has_the_matrices_of_the_blocks_and_adamw_the_rest():
    network = Fit().build()
    muon, plain = make_optimisers(network, replace(OPTIMISATION, optimiser="muon"))
    names = {parameter: name for name, parameter in network.named_parameters()}
    hidden = [names[p] for group in muon.param_groups for p in group["params"]]
    assert hidden == ["blocks.0.0.weight", "blocks.1.0.weight"]
    decaying, other = ([names[p] for p in group["params"]] for group in plain.param_groups)
    assert decaying == ["embed.weight", "head.weight"]
    assert len(other) == len(names) - 4
    assert plain.param_groups[1]["weight_decay"] == 0


def test_muon_without_blocks_says_what_to_take():
    with pytest.raises(ValueError, match=r"Linear has no matrices inside blocks.*adamw"):
        make_optimisers(torch.nn.Linear(2, 2), replace(OPTIMISATION, optimiser="muon"))


def test_the_code_of_the_guide_trains(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    guide = Path(__file__).parents[2] / "docs" / "guides" / "training.md"
    (code,) = re.findall(r"```python\n(.*?)```", guide.read_text(encoding="utf-8"), re.DOTALL)
    monkeypatch.chdir(tmp_path)
    scope: dict[str, Any] = {}
    exec(code, scope)
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["40", "80"]
    assert float(lines[-1].split()[1]) < float(lines[0].split()[1])
    assert scope["weights"].keys() == {"weight", "bias"}
