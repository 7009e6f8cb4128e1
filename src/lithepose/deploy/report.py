"""Profiles: what a network of the tables costs and takes on this machine, as Markdown and JSON."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from lithepose.deploy.cost import (
    PUBLISHED,
    Cost,
    clip_shape,
    convention_of,
    lifter_cost,
    pose_network_cost,
)
from lithepose.deploy.latency import (
    Latency,
    Memory,
    cpu_threads,
    machine,
    measure_latency,
    measure_memory,
)
from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.files import atomic_write
from lithepose.lifters import LIFTERS, create_lifter
from lithepose.lifters.table import short


@dataclass(frozen=True, kw_only=True)
class Profile:
    """What a network of the tables costs on this machine, batch 1, float32.

    Attributes:
        name: a key of `LIFTERS` or `POSE_NETWORKS`.
        crop: (width, height) of a pose network's crop, pixels; None of a lifter.
        frames_in, frames_out: of a clip; a crop is one frame.
        cost: of a clip.
        latency: of a clip.
        memory: of a clip.
        machine: where it was measured, and with which PyTorch.
        load: processes that were running or waiting, over the last minute and without this one's
            share taken off; None where the system does not tell.
    """

    name: str
    crop: tuple[int, int] | None
    frames_in: int
    frames_out: int
    cost: Cost
    latency: Latency
    memory: Memory
    machine: str
    load: float | None


def profile_network(name: str, *, threads: int = 1, seconds: float = 2.0) -> Profile:
    """Count and measure a network of the tables, with random weights.

    Args:
        name: a key of `LIFTERS` or `POSE_NETWORKS`.
        threads: of PyTorch.
        seconds: about how long to measure.

    Raises:
        ValueError: there is no such network, or a number is not above 0.
    """
    shape = clip_shape(name)
    if name in POSE_NETWORKS:
        model, cost = create_pose_network(name), pose_network_cost(name)
        crop, frames = POSE_NETWORKS[name].config.image_size, (1, 1)
    else:
        model, cost = create_lifter(name), lifter_cost(name)
        crop, frames = None, (LIFTERS[name].frames_in, LIFTERS[name].frames_out)
    model = model.eval()
    clip = torch.randn(1, *shape) * 0.3
    latency = measure_latency(model, clip, threads=threads, seconds=seconds)
    with cpu_threads(threads):
        memory = measure_memory(model, clip)
    return Profile(
        name=name,
        crop=crop,
        frames_in=frames[0],
        frames_out=frames[1],
        cost=cost,
        latency=latency,
        memory=memory,
        machine=machine(),
        load=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def to_json(profiles: Sequence[Profile]) -> str:
    """Profiles as JSON: counts of one clip, milliseconds, bytes."""
    rows = []
    for profile in profiles:
        row = asdict(profile)
        row["cost"]["flops"] = profile.cost.flops
        convention = convention_of(profile.name)
        row["publications_count"] = convention and {
            "convention": convention.name,
            "says": convention.says,
            "parameters": convention.parameters(profile.cost),
            "operations": convention.operations and convention.operations(profile.cost),
            "unit": convention.unit,
            "published": PUBLISHED.get(profile.name),
        }
        rows.append(row)
    return json.dumps(rows, indent=2) + "\n"


def _as_published(name: str, cost: Cost) -> str:
    convention = convention_of(name)
    if convention is None:
        return "–"
    texts = [convention.name]
    if convention.operations:
        texts.append(f"{short(convention.operations(cost))} {convention.unit}")
    if name in PUBLISHED:
        texts.append(f"printed {PUBLISHED[name]} {convention.unit}")
    texts.append(f"{short(convention.parameters(cost))} parameters")
    return ", ".join(texts)


def to_markdown(profiles: Sequence[Profile]) -> str:
    """Profiles as two Markdown tables: what is counted, and what was measured."""
    counts = [
        "| network | frames in, out | parameters | MACs per clip | MACs per output frame "
        "| FLOPs per clip | as its publications count |",
        "|---|---|---|---|---|---|---|",
    ]
    times = [
        "| network | threads | ms per clip: min, median | CPU ms: min, median "
        "| ms per output frame: min, median | weights | activations | process | load |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for profile in profiles:
        cost, latency, memory = profile.cost, profile.latency, profile.memory
        out = profile.frames_out
        taken = f"{profile.frames_in}, {out}"
        if profile.crop:
            taken = f"a crop of {profile.crop[0]}×{profile.crop[1]}"
        counts.append(
            f"| `{profile.name}` | {taken} | {cost.parameters:,} "
            f"| {short(cost.macs)} | {short(cost.macs / out)} | {short(cost.flops)} "
            f"| {_as_published(profile.name, cost)} |"
        )
        process = f"{memory.process / 1e6:.0f} MB" if memory.process else "not told"
        load = "not told" if profile.load is None else f"{profile.load:.1f}"
        times.append(
            f"| `{profile.name}` | {latency.threads} "
            f"| {latency.min_ms:.2f}, {latency.median_ms:.2f} "
            f"| {latency.cpu_min_ms:.2f}, {latency.cpu_median_ms:.2f} "
            f"| {latency.min_ms / out:.3f}, {latency.median_ms / out:.3f} "
            f"| {memory.weights / 1e6:.1f} MB | {memory.activations / 1e6:.1f} MB "
            f"| {process} | {load} |"
        )
    conventions = [convention_of(profile.name) for profile in profiles]
    legend = sorted({f"*{c.name}*: {c.says}" for c in conventions if c})
    machines = "; ".join(sorted({profile.machine for profile in profiles}))
    return (
        "\n".join(counts)
        + "\n\nA MAC is one multiply-add of a matrix product or convolution, attention and graph "
        "convolutions included; FLOPs are twice the MACs. A crop counts as a clip of one frame.\n"
        + "".join(f"{line}.\n" for line in legend)
        + "\n"
        + "\n".join(times)
        + f"\n\nBatch 1, float32, eager PyTorch, random weights; {machines}.\n"
    )


WRITERS = {".json": to_json, ".md": to_markdown}


def check_format(path: str | os.PathLike[str]) -> None:
    """Refuse a file name that `write_profiles` would refuse, before anything is measured."""
    suffix = Path(path).suffix.lower()
    if suffix not in WRITERS:
        raise ValueError(
            f"profiles are written as .md or .json, not as {suffix or os.fspath(path)!r}"
        )


def write_profiles(path: str | os.PathLike[str], profiles: Sequence[Profile]) -> None:
    """Write profiles to a file, `.json` or `.md`; it is complete or absent.

    Raises:
        ValueError: the suffix is another.
        OSError: the file cannot be written.
    """
    check_format(path)
    text = WRITERS[Path(path).suffix.lower()](profiles)
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
