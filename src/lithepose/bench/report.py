"""The page of LitheBench's results: a table, the papers' claims answered, and a plot.

Reads the JSON files that `lithepose.bench.run.train_entry` leaves. Costs are counted and timed
here, on the machine that writes the page, so that all times are of one run.
"""

from __future__ import annotations

import datetime
import json
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from lithepose.bench.networks import SIZES, Entry, entries
from lithepose.bench.run import TRACKS, VERSION
from lithepose.deploy.cost import count_cost
from lithepose.deploy.latency import machine, measure_latency
from lithepose.files import atomic_write
from lithepose.tables import markdown


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
_HOT = "Li et al., HoT (arXiv 2311.12028)"
_HOT_EXTENDED = "Li et al., HoT, extended (arXiv 2311.12028)"
QUESTIONS = (
    *(
        Question(claim=f"HoT keeps {claim}", source=source, first=host, second=f"hot-{host}")
        for host, claim, source in (
            ("motionbert", "MotionBERT's accuracy with about 50 % fewer FLOPs", _HOT),
            ("mixste", "MixSTE's accuracy with about 40 % fewer FLOPs", _HOT),
            ("motionagformer", "MotionAGFormer's accuracy", _HOT_EXTENDED),
            ("mhformer", "MHFormer's accuracy", _HOT),
        )
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


SCORES = ("mpjpe", "p_mpjpe", "mpjve", "end_joints")
_ROUNDS = 3  # of timing, all networks in each: other work on the machine comes and goes
_WITHDRAWN = "†"
_NUMBERS = {"32": "float32", "bf16": "bfloat16"}
_HEADINGS: dict[str, str] = dict(
    zip(SCORES, ("MPJPE", "P-MPJPE", "MPJVE", "end joints"), strict=True)
)


@dataclass(frozen=True, kw_only=True)
class Expense:
    """What a network costs per frame that it gives.

    Attributes:
        parameters: all that are trained.
        macs: multiply-adds of a frame.
        ms: milliseconds of a frame on one thread of this processor (PyTorch, one window at a time,
            the least of many).
    """

    parameters: int
    macs: float
    ms: float


def expense(entry: Entry, *, seconds: float = 1.0) -> Expense:
    """Count and time a network with random weights."""
    network = entry.build().eval()
    clip = torch.randn(1, entry.frames, 17, entry.settings.get("in_channels", 4)) * 0.3
    cost = count_cost(network, clip.shape[1:])
    latency = measure_latency(network, clip, threads=1, seconds=seconds)
    return Expense(
        parameters=cost.parameters,
        macs=cost.macs / entry.targets,
        ms=latency.cpu_min_ms / entry.targets,
    )


def read_results(folder: Path, size: str) -> dict[str, list[dict[str, Any]]]:
    """Finished runs of a size by network, in the order of `entries`, by rising seed.

    Raises:
        FileNotFoundError: there is none.
        ValueError: a result is of another version of the definition, or some are of float32 and
            some of bfloat16.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in entries(SIZES[size])}
    for path in sorted((folder / size).glob("*-seed*.json")):
        result = json.loads(path.read_text(encoding="utf-8"))
        if result["definition"]["version"] != VERSION:
            raise ValueError(
                f"{path} is of version {result['definition']['version']} of the benchmark, this is "
                f"version {VERSION}: take it away"
            )
        if result["name"] in found:
            found[result["name"]].append(result)
    found = {name: sorted(runs, key=lambda r: r["seed"]) for name, runs in found.items() if runs}
    if not found:
        raise FileNotFoundError(f"no results of size {size!r} in {folder}: run lithepose bench")
    if len(precisions := _precisions(found)) > 1:
        raise ValueError(
            f"{folder / size} has results of precision {' and '.join(precisions)}, which are not "
            "compared: give each a folder"
        )
    return found


def _precisions(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    return sorted({run["definition"]["precision"] for of in results.values() for run in of})


def _faults(runs: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Why any of these runs are withdrawn."""
    return tuple(dict.fromkeys(f for run in runs for f in faults(run["definition"]["entry"])))


def _spread(values: Sequence[float]) -> tuple[float, float]:
    """Mean and standard deviation; nan of a single value."""
    return statistics.mean(values), statistics.stdev(values) if len(values) > 1 else math.nan


def _cell(values: Sequence[float], digits: int = 1) -> str:
    mean, spread = _spread(values)
    return f"{mean:.{digits}f}" + ("" if math.isnan(spread) else f" ± {spread:.{digits}f}")


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What the runs say to a claim, on one track.

    Attributes:
        question: the claim.
        track: key of `TRACKS`.
        first, second: errors by seed, in millimetres, of the seeds that both have.
        macs: multiply-adds of the second over the first's.
        parameters: parameters of the second over the first's.
        withdrawn: something is known to be wrong with runs of either.
    """

    question: Question
    track: str
    first: tuple[float, ...]
    second: tuple[float, ...]
    macs: float
    parameters: float
    withdrawn: bool = False

    @property
    def differences(self) -> tuple[float, ...]:
        """Second minus first, seed by seed."""
        return tuple(b - a for a, b in zip(self.first, self.second, strict=True))

    @property
    def verdict(self) -> str:
        """`"lower"` or `"higher"` if every seed says so and the mean is more than two standard
        errors from zero; else `"no clear difference"`. `"withdrawn"` before all else."""
        if self.withdrawn:
            return "withdrawn"
        mean, spread = _spread(self.differences)
        if len(self.differences) < 2:
            return "one seed only"
        clear = abs(mean) > 2 * spread / math.sqrt(len(self.differences))
        if clear and all(d < 0 for d in self.differences):
            return "lower"
        if clear and all(d > 0 for d in self.differences):
            return "higher"
        return "no clear difference"


def answers(
    results: Mapping[str, Sequence[Mapping[str, Any]]], expenses: Mapping[str, Expense]
) -> list[Answer]:
    """The answers to all claims whose networks have run with seeds in common."""
    given = []
    for question in QUESTIONS:
        names = (question.first, question.second)
        if not results.keys() >= set(names):
            continue
        runs = [{r["seed"]: r for r in results[name]} for name in names]
        seeds = sorted(runs[0].keys() & runs[1].keys())
        if not seeds:
            continue
        costs = [expenses[name] for name in names]
        for track in TRACKS:
            first, second = (
                tuple(run[seed]["scores"][track][question.score] for seed in seeds) for run in runs
            )
            given.append(
                Answer(
                    question=question,
                    track=track,
                    first=first,
                    second=second,
                    macs=costs[1].macs / costs[0].macs,
                    parameters=costs[1].parameters / costs[0].parameters,
                    withdrawn=any(_faults(results[n]) for n in names),
                )
            )
    return given


def as_markdown(
    size: str,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    expenses: Mapping[str, Expense],
    *,
    date: datetime.date,
    plot: str | None = None,
) -> str:
    """The page of results.

    Args:
        date: when the page is written.
        plot: address of the picture, if there is one.
    """
    budget = SIZES[size].budget
    runs = [run for of in results.values() for run in of]
    lines = [
        f"# LitheBench {VERSION}, size {size}: results",
        "",
        f"Every network got {budget.steps} steps of {budget.batch} windows "
        f"({(budget.steps or 0) * budget.batch:,} windows drawn anew; nanohtnet-twice twice as "
        "many), with one optimiser, one learning rate and one loss. Errors are millimetres on the "
        "test subjects over twelve limb joints (MPJVE: millimetres per frame at 25 frames per "
        "second; end joints: ankles and wrists), mean ± standard deviation over seeds. "
        "[What exactly is measured](../benchmark.md).",
        "",
    ]
    if plot:
        lines += [f"![Error against multiply-adds and against time per frame]({plot})", ""]
    heads = ["network", "seeds", "parameters", "MACs/frame", "ms/frame"]
    heads += [f"{_HEADINGS[s]}, {track} 2D" for track in TRACKS for s in SCORES]
    rows = []
    for name, of in results.items():
        cost = expenses[name]
        mark = f" {_WITHDRAWN}" if _faults(of) else ""
        cells = [name + mark, str(len(of)), f"{cost.parameters:,}", f"{cost.macs / 1e6:.2f} M"]
        cells.append(f"{cost.ms:.2f}")
        for track in TRACKS:
            for score in SCORES:
                values = [run["scores"][track][score] for run in of]
                cells.append(_cell(values, 2 if score == "mpjve" else 1))
        rows.append(cells)
    lines += [markdown(heads, rows, numbers=len(heads) - 1), "", *_withdrawals(results)]
    lines += ["## The papers' claims on this data", ""]
    heads = ["claim", "compared", "2D", "first", "second", "second − first by seed", "is"]
    heads += ["MACs", "parameters"]
    rows = []
    given = answers(results, expenses)
    for answer in given:
        question = answer.question
        cells = [f"{question.claim} ({question.source})"]
        cells += [f"{question.first} → {question.second}, {_HEADINGS[question.score]}"]
        cells += [answer.track, _cell(answer.first), _cell(answer.second)]
        cells += [", ".join(f"{d:+.1f}" for d in answer.differences), answer.verdict]
        cells += [f"× {answer.macs:.2f}", f"× {answer.parameters:.2f}"]
        rows.append(cells)
    devices = sorted({run["device"] for run in runs})
    hours = sum(run["seconds"] for run in runs) / 3600
    lines += [
        markdown(heads, rows),
        "",
        '"Lower" or "higher" error: in every seed, and on average by more than two standard '
        "errors. MACs and parameters are the second's over the first's.",
        "",
        *(
            line
            for remark in dict.fromkeys(a.question.remark for a in given if a.question.remark)
            for line in (remark, "")
        ),
        f"{len(runs)} runs, {hours:.1f} hours in all, trained in "
        f"{' and '.join(_NUMBERS[p] for p in _precisions(results))} on: {'; '.join(devices)}. "
        f"Times per frame: PyTorch, one thread, one window at a time, least of {_ROUNDS} rounds, "
        f"on: {machine()}. Written by `lithepose bench --size {size}` on {date.isoformat()}.",
        "",
    ]
    return "\n".join(lines)


def _withdrawals(results: Mapping[str, Sequence[Mapping[str, Any]]]) -> list[str]:
    """Which networks' runs are withdrawn and why, in lines of the page."""
    names: dict[str, list[str]] = {}
    for name, of in results.items():
        for fault in _faults(of):
            names.setdefault(fault, []).append(name)
    if not names:
        return []
    return [
        f"{_WITHDRAWN} **Withdrawn until run again**: the numbers stay, and answer no claim.",
        "",
        *(f"- {', '.join(who)}: {fault}" for fault, who in names.items()),
        "",
    ]


def draw(
    path: Path,
    results: Mapping[str, Sequence[Mapping[str, Any]]],
    expenses: Mapping[str, Expense],
) -> None:
    """Plot the error with the detector's 2D against the cost of a frame; needs Matplotlib.

    Raises:
        ModuleNotFoundError: Matplotlib is not installed.
    """
    try:
        import matplotlib
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            'the plot needs Matplotlib: pip install "lithepose[plot]"', name=error.name
        ) from error
    matplotlib.use("Agg")
    from matplotlib import pyplot

    # The same file from the same numbers.
    matplotlib.rcParams["svg.hashsalt"] = "lithepose"
    figure, axes = pyplot.subplots(1, 2, figsize=(12, 5), sharey=True, layout="constrained")
    for axis, what, label in (
        (axes[0], "macs", "multiply-adds per frame"),
        (axes[1], "ms", "milliseconds per frame, one thread"),
    ):
        for index, (name, of) in enumerate(results.items()):
            mean, spread = _spread([run["scores"]["detector"]["mpjpe"] for run in of])
            axis.errorbar(
                getattr(expenses[name], what),
                mean,
                yerr=0.0 if math.isnan(spread) else spread,
                fmt="os^D"[index // 10 % 4],
                color=f"C{index % 10}",
                label=f"{name} (withdrawn)" if _faults(of) else name,
            )
        axis.set_xscale("log")
        axis.set_xlabel(label)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("MPJPE, mm (detector's 2D)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="svg", metadata={"Date": None})
    pyplot.close(figure)


def write_report(
    folder: Path, size: str, page: Path, *, report: Callable[[str], None] = lambda _: None
) -> list[Path]:
    """Write the page of results, its plot beside it, and all results as one JSON file.

    Args:
        folder: of the results.
        page: the Markdown file to write; the plot and the JSON have its name with other endings.
        report: is told which network is being timed.

    Returns:
        The files written.
    """
    results = read_results(folder, size)
    known = entries(SIZES[size])
    expenses: dict[str, Expense] = {}
    for number in range(1, _ROUNDS + 1):
        for name in results:
            report(f"timing {name}, round {number} of {_ROUNDS}")
            cost = expense(known[name])
            if name not in expenses or cost.ms < expenses[name].ms:
                expenses[name] = cost
    page.parent.mkdir(parents=True, exist_ok=True)
    plot, data = page.with_suffix(".svg"), page.with_suffix(".json")
    draw(plot, results, expenses)
    with atomic_write(page) as temporary:
        text = as_markdown(size, results, expenses, date=datetime.date.today(), plot=plot.name)
        temporary.write_text(text, encoding="utf-8")
    everything = {
        "version": VERSION,
        "precision": _precisions(results)[0],
        "entries": {name: runs[0]["definition"]["entry"] for name, runs in results.items()},
        "expenses": {name: asdict(cost) for name, cost in expenses.items()},
        "runs": [
            {k: v for k, v in run.items() if k != "definition"}
            for of in results.values()
            for run in of
        ],
    }
    with atomic_write(data) as temporary:
        temporary.write_text(json.dumps(everything, indent=1) + "\n", encoding="utf-8")
    return [page, plot, data]
