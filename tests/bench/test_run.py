"""LitheBench in small: entries, training, measuring, and the page of results."""

from __future__ import annotations

import datetime
import json
import math
from copy import copy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch import Tensor  # noqa: E402

from lithepose.anthropometry import STANDARD_HEIGHT_M  # noqa: E402
from lithepose.bench import networks  # noqa: E402
from lithepose.bench import report as bench_report  # noqa: E402
from lithepose.bench import run as bench  # noqa: E402
from lithepose.bench.networks import SIZES, entries  # noqa: E402
from lithepose.bench.report import QUESTIONS  # noqa: E402
from lithepose.bench.rule import LENSES  # noqa: E402
from lithepose.bench.run import TestViews, measure  # noqa: E402
from lithepose.lifters.weights import load_lifter  # noqa: E402
from lithepose.lifters.windows import LIMBS  # noqa: E402
from lithepose.mocap.motions import Motions, read_motions  # noqa: E402
from lithepose.train.settings import RunSettings  # noqa: E402

SETTINGS = RunSettings(device="cpu", precision="32", save_every=2)


@pytest.fixture(scope="module")
def motions(motion_folder: Path) -> Motions:
    return read_motions(motion_folder / "cmu17_val.npz")


@pytest.fixture(scope="module")
def test_views(motions: Motions) -> TestViews:
    return TestViews(motions)


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, motion_folder: Path, tmp_path: Path) -> Path:
    """A folder of data with a test split, and a size that trains in a moment."""
    small = SIZES["small"]
    budget = replace(small.budget, steps=2, batch=8, warmup=1)
    monkeypatch.setitem(SIZES, "tiny", replace(small, budget=budget))
    data = tmp_path / "data"
    data.mkdir()
    for split, source in (("train", "train"), ("val", "val"), ("test", "val")):
        (data / f"cmu17_{split}.npz").write_bytes(
            (motion_folder / f"cmu17_{source}.npz").read_bytes()
        )
    return data


@pytest.mark.parametrize("size", sorted(SIZES))
def test_claims_are_about_entries_and_pruned_networks_cost_less(size: str):
    known = entries(SIZES[size])
    for question in QUESTIONS:
        assert {question.first, question.second} <= known.keys()
        assert question.score in bench_report.SCORES
    for name, entry in known.items():
        assert entry.frames % 2 == 1
        assert entry.targets % 2 == 1
        if name.startswith("hot-"):
            assert entry.targets == known[name.removeprefix("hot-")].targets


@pytest.mark.parametrize("size", sorted(SIZES))
def test_networks_said_to_be_of_equal_size_are(size: str):
    known = entries(SIZES[size])

    def parameters(name: str) -> int:
        with torch.device("meta"):
            return sum(p.numel() for p in known[name].build().parameters())

    for name in ("ampose-encoders", "ampose-graphs"):
        assert parameters(name) == pytest.approx(parameters("ampose"), rel=0.05)
    assert parameters("htnet-without-ipc-wide") == pytest.approx(parameters("htnet"), rel=0.2)
    assert parameters("mhformer") > 1.5 * parameters("convformer")


@pytest.mark.parametrize("name", sorted(entries(SIZES["small"])))
def test_every_entry_answers_for_its_targets(name: str):
    entry = entries(SIZES["small"])[name]
    network = entry.build().eval()
    with torch.no_grad():
        poses = entry.answer(network, torch.randn(2, entry.frames, 17, 4))
    assert poses.shape == (2, entry.targets, 17, 3)


@pytest.mark.parametrize("size", sorted(SIZES))
def test_nothing_is_dropped_in_training(size: str):
    for name, entry in entries(SIZES[size]).items():
        with torch.device("meta"):
            parts = entry.build().named_modules()
        assert not {f"{name}: {part}" for part, m in parts if getattr(m, "p", 0.0)}


@pytest.mark.parametrize("name", sorted(entries(SIZES["small"])))
def test_a_network_in_training_answers_twice_alike(name: str):
    entry = entries(SIZES["small"])[name]
    network = entry.build().train()
    clips = torch.randn(2, entry.frames, 17, 4)
    with torch.no_grad():
        first, second = (entry.answer(network, clips) for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-6)


class Middle(torch.nn.Module):
    """Gives back the middle frames of what it is given."""

    def __init__(self, targets: int):
        super().__init__()
        self.parameter = torch.nn.Parameter(torch.zeros(1))
        self.targets = targets

    def forward(self, values: Tensor) -> Tensor:
        first = values.shape[1] // 2 - self.targets // 2
        return values[:, first : first + self.targets]


@pytest.mark.parametrize(("frames", "targets"), [(9, 9), (9, 1), (1, 1), (9, 3)])
def test_a_perfect_network_has_no_error(
    test_views: TestViews, frames: int, targets: int, monkeypatch: pytest.MonkeyPatch
):
    """A network that is shown the truth, turned by another rotation in every window."""
    random = torch.Generator().manual_seed(0)

    def turned(poses: Tensor, sure: Tensor) -> tuple[Tensor, Tensor]:
        del sure
        rotation = torch.linalg.qr(torch.randn(len(poses), 3, 3, generator=random)).Q
        return (poses.flatten(1, 2) @ rotation).view(poses.shape), rotation

    monkeypatch.setattr(bench, "look_at_person", turned)
    told = copy(test_views)
    truth = (test_views.truth / test_views.scale[:, None, None]).astype(np.float32)
    told.rays = dict.fromkeys(told.rays, truth)
    entry = networks.Entry(lifter="nanohtnet", frames=frames, targets=targets)
    scores = measure(Middle(targets), entry, told)
    for track in bench.TRACKS:
        for value in scores[track].values():
            assert value == pytest.approx(0, abs=1e-2)


def test_views_are_root_centred_and_know_the_stature(test_views: TestViews, motions: Motions):
    hips = test_views.truth[:, [1, 4]].mean(1)
    np.testing.assert_allclose(hips, 0, atol=1e-9)
    assert len(test_views) == test_views.first[-1] == len(test_views.rays["exact"])
    assert len(test_views.first) == 4 * len(motions) + 1
    assert test_views.scale[0] == pytest.approx(float(motions.height[0]) / STANDARD_HEIGHT_M)
    assert (test_views.sure["exact"][:, LIMBS] == 1).all()
    for track in bench.TRACKS:
        assert (test_views.sure[track][:, [7, 10]] == 0).all()


def test_every_third_view_is_of_the_same_views(test_views: TestViews, motions: Motions):
    """Two clips through four cameras: the first, the fourth and the seventh view are left."""
    third = TestViews(motions, 3)
    parts = [np.arange(*test_views.first[i : i + 2]) for i in (0, 3, 6)]
    kept = np.concatenate(parts)
    np.testing.assert_array_equal(third.truth, test_views.truth[kept])
    np.testing.assert_array_equal(np.diff(third.first), [len(part) for part in parts])
    for track in bench.TRACKS:
        np.testing.assert_array_equal(third.rays[track], test_views.rays[track][kept])
        np.testing.assert_array_equal(third.sure[track], test_views.sure[track][kept])


@pytest.mark.parametrize("size", sorted(SIZES))
def test_no_camera_is_left_out(size: str):
    step = SIZES[size].view_step
    assert step < len(LENSES)
    assert math.gcd(step, len(LENSES)) == 1


def test_a_run_leaves_one_result_and_is_not_done_again(tiny: Path, tmp_path: Path):
    out = tmp_path / "out"
    said: list[str] = []
    first = bench.train_entry("htnet", "tiny", 1, tiny, out, SETTINGS, report=said.append)
    assert said
    assert first["windows"] == 16
    assert set(first["scores"]) == set(bench.TRACKS)
    assert all(0 < v < 5000 for of in first["scores"].values() for v in of.values())
    assert not (out / "tiny" / "runs" / "htnet-seed1").exists()
    network = load_lifter(out / "tiny" / "htnet-seed1.safetensors")
    assert sum(p.numel() for p in network.parameters()) == first["parameters"]
    said.clear()
    again = bench.train_entry("htnet", "tiny", 1, tiny, out, SETTINGS, report=said.append)
    assert again == json.loads(bench.result_file(out, "tiny", "htnet", 1).read_text())
    assert not said


def test_a_run_that_was_trained_and_not_measured_is_only_measured(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def killed(*arguments: object) -> None:
        raise KeyboardInterrupt

    whole = bench.measure
    monkeypatch.setattr(bench, "measure", killed)
    with pytest.raises(KeyboardInterrupt):
        bench.train_entry("htnet", "tiny", 1, tiny, tmp_path, SETTINGS)
    monkeypatch.setattr(bench, "measure", whole)
    result = bench.train_entry("htnet", "tiny", 1, tiny, tmp_path, SETTINGS)
    assert math.isfinite(result["loss"])
    assert result["seconds"] > 0


def test_results_are_of_a_settled_precision(tiny: Path, tmp_path: Path):
    with pytest.raises(ValueError, match="say in which precision"):
        bench.train_entry("htnet", "tiny", 1, tiny, tmp_path, RunSettings(device="cpu"))


def test_a_result_of_another_definition_is_refused(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "out"
    bench.train_entry("ampose", "tiny", 1, tiny, out, SETTINGS)
    size = SIZES["tiny"]
    monkeypatch.setitem(
        SIZES, "tiny", replace(size, budget=replace(size.budget, learning_rate=0.5))
    )
    with pytest.raises(ValueError, match="another definition of ampose"):
        bench.train_entry("ampose", "tiny", 1, tiny, out, SETTINGS)


def test_pretraining_and_the_page_of_results(tiny: Path, tmp_path: Path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "out"
    names = ("nanohtnet", "nanohtnet+poseclr")
    bench.train_all(names, "tiny", (1, 2), tiny, out, SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            bench_report,
            "expense",
            lambda entry: bench_report.Expense(parameters=1000, macs=2e6, ms=0.5),
        )
        files = bench_report.write_report(out, "tiny", tmp_path / "page" / "results.md")
    assert [file.suffix for file in files] == [".md", ".svg", ".json"]
    page = files[0].read_text(encoding="utf-8")
    assert "| nanohtnet+poseclr | 2 | 1,000 | 2.00 M | 0.50 |" in page
    assert "PoseCLR pre-training helps NanoHTNet" in page
    assert "HoT keeps" not in page
    assert "![" in page
    assert "trained in float32 on" in page
    assert "`lithepose bench --size tiny` on 20" in page
    assert len(json.loads(files[2].read_text())["runs"]) == 4
    path = bench.result_file(out, "tiny", "nanohtnet", 2)
    path.write_text(path.read_text().replace('"precision": "32"', '"precision": "bf16"'))
    with pytest.raises(ValueError, match="precision 32 and bf16, which are not compared"):
        bench_report.read_results(out, "tiny")


def _answer(first: tuple[float, ...], second: tuple[float, ...]) -> bench_report.Answer:
    return bench_report.Answer(
        question=QUESTIONS[0], track="exact", first=first, second=second, macs=0.5, parameters=1.0
    )


def test_verdicts_need_every_seed_and_two_standard_errors():
    assert _answer((50, 51, 50), (45, 46, 44)).verdict == "lower"
    assert _answer((45, 46, 44), (50, 51, 50)).verdict == "higher"
    assert _answer((50, 51, 50), (49, 52, 50)).verdict == "no clear difference"
    # Every seed lower, but by amounts that differ more than their mean.
    assert _answer((50, 51, 50), (49.9, 41, 49.9)).verdict == "no clear difference"
    assert _answer((50,), (45,)).verdict == "one seed only"


def test_withdrawn_runs_give_no_verdict():
    assert replace(_answer((50, 51, 50), (45, 46, 44)), withdrawn=True).verdict == "withdrawn"
    assert replace(_answer((50,), (45,)), withdrawn=True).verdict == "withdrawn"


def test_runs_are_withdrawn_by_how_they_were_trained():
    known = {name: asdict(entry) for name, entry in entries(SIZES["small"]).items()}
    faulty = {name for name, entry in known.items() if bench_report.faults(entry)}
    assert faulty == {"hot-mixste", "hot-motionbert", "hot-motionagformer"}
    # As MHFormer was trained before its dropout could be switched off.
    del known["mhformer"]["settings"]["short_clip_dropout"]
    del known["hot-mhformer"]["settings"]["host_settings"]["short_clip_dropout"]
    for name in ("mhformer", "hot-mhformer"):
        (reason,) = bench_report.faults(known[name])
        assert "dropout of 0.25" in reason


PUBLISHED = Path(__file__).resolve().parents[2] / "docs" / "benchmarks" / "lithebench-small.json"


def test_the_published_page_is_what_its_numbers_give(monkeypatch: pytest.MonkeyPatch):
    data = json.loads(PUBLISHED.read_text(encoding="utf-8"))
    assert data["version"] == bench.VERSION
    results: dict[str, list[dict[str, Any]]] = {name: [] for name in data["entries"]}
    for run in data["runs"]:
        definition = {"entry": data["entries"][run["name"]], "precision": data["precision"]}
        results[run["name"]].append({**run, "definition": definition})
    expenses = {n: bench_report.Expense(**cost) for n, cost in data["expenses"].items()}
    monkeypatch.setattr(bench_report, "machine", lambda: data["runs"][0]["device"])
    text = bench_report.as_markdown(
        "small", results, expenses, date=datetime.date(2026, 11, 26), plot="lithebench-small.svg"
    )
    assert text == PUBLISHED.with_suffix(".md").read_text(encoding="utf-8")
    verdicts = {(a.question.first, a.question.second): a.verdict for a in
                bench_report.answers(results, expenses)}  # fmt: skip
    assert {pair for pair, verdict in verdicts.items() if verdict == "withdrawn"} == {
        ("mhformer", "convformer"),
        *((host, f"hot-{host}") for host in SIZES["small"].hosts),
    }
    assert text.count("| withdrawn |") == 10


def test_unknown_names_say_what_is_known(tmp_path: Path):
    with pytest.raises(ValueError, match="known: small"):
        bench.train_entry("htnet", "huge", 1, tmp_path, tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="known: nanohtnet"):
        bench.train_entry("htnett", "small", 1, tmp_path, tmp_path, SETTINGS)
    with pytest.raises(ValueError, match="known: nanohtnet"):
        bench.train_all(["x"], "small", [1], tmp_path, tmp_path, SETTINGS)
    with pytest.raises(FileNotFoundError, match="run lithepose bench"):
        bench_report.read_results(tmp_path, "small")
