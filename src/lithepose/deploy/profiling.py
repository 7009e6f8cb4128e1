"""What networks cost: parameters, multiply-adds, latency and memory.

One convention throughout: a MAC is one multiply-add of a matrix product or a convolution, wherever
it stands, in a layer, in a graph convolution or between queries, keys and values; FLOPs are twice
the MACs; normalisation, activations and additions are left out. Publications mostly count less,
because their tools see certain kinds of layers only: `Convention` says what, and `PUBLISHED` what
they print.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from lithepose.detect.sizes import POSE_NETWORKS, create_pose_network
from lithepose.files import atomic_write
from lithepose.lifters import LIFTERS, LifterSpec, create_lifter
from lithepose.lifters.blocks import ModulatedGraphConvolution
from lithepose.lifters.table import SHIPPED, SHIPPED_FAMILY, SHIPPED_SETTINGS, short

LAYERS = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.ConvTranspose2d)
NORMS = (nn.LayerNorm, nn.BatchNorm1d, nn.BatchNorm2d)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one clip costs, or one crop of an image network.

    Attributes:
        parameters: all that are trained.
        macs: multiply-adds of all matrix products and convolutions.
        layer_parameters: of linear, convolution and normalisation layers, which is what the usual
            tools see: neither positions nor the matrices of graph convolutions.
        layer_macs: of linear and convolution layers, without attention and graph products.
        normalised: numbers that go through normalisation layers.
        convolution_biases: numbers to which convolutions, by those layers, add a bias.
        rectified: numbers that go through ReLU layers.
    """

    parameters: int
    macs: int
    layer_parameters: int
    layer_macs: int
    normalised: int
    convolution_biases: int
    rectified: int

    @property
    def flops(self) -> int:
        return 2 * self.macs


@dataclass(frozen=True, kw_only=True)
class Convention:
    """How a family's publications count.

    Attributes:
        name: short.
        says: what is counted, in words.
        parameters: their count of parameters, from ours.
        operations: their count of operations, from ours; None where ours does not contain it.
        unit: what they call one of them.
    """

    name: str
    says: str
    parameters: Callable[[Cost], int]
    operations: Callable[[Cost], int] | None
    unit: Literal["MACs", "FLOPs"]


# thop 0.1.1 takes a normalisation with scale and shift for four operations per number.
def _thop(cost: Cost) -> int:
    return cost.layer_macs + 4 * cost.normalised


THOP = Convention(
    name="thop",
    says="linear and convolution layers, and four per normalised number",
    parameters=lambda cost: cost.layer_parameters,
    operations=_thop,
    unit="MACs",
)
# NanoHTNet's program prints twice the MACs of thop.
THOP_DOUBLED = Convention(
    name="twice thop",
    says="two per multiply-add of linear and convolution layers, and eight per normalised number",
    parameters=lambda cost: cost.layer_parameters,
    operations=lambda cost: 2 * _thop(cost),
    unit="FLOPs",
)
LAYERS_DOUBLED = Convention(
    name="layers",
    says="two per multiply-add of linear and convolution layers",
    parameters=lambda cost: cost.parameters,
    operations=lambda cost: 2 * cost.layer_macs,
    unit="FLOPs",
)
KERNELS_APART = Convention(
    name="kernels apart",
    says="two per multiply-add of linear and convolution layers, every mixed kernel by itself",
    parameters=lambda cost: cost.parameters,
    operations=None,  # the kernels are mixed before they are applied here
    unit="FLOPs",
)
# What MMPose's `get_flops` prints of image networks; it does not see attention. It counts a bias of
# convolutions and not of linear layers, transposed convolutions at what goes in.
MMCV = Convention(
    name="MMCV",
    says="linear and convolution layers, one per bias of a convolution, two per normalised number, "
    "one per ReLU",
    parameters=lambda cost: cost.parameters,
    operations=lambda cost: (
        cost.layer_macs + cost.convolution_biases + 2 * cost.normalised + cost.rectified
    ),
    unit="FLOPs",
)
CONVENTIONS = {
    "convformer": KERNELS_APART,
    "hevitpose": MMCV,
    "hot": LAYERS_DOUBLED,
    "htnet": THOP,
    "mhformer": THOP,
    "mixste": THOP,
    "motionagformer": THOP,
    "motionbert": THOP,
    "nanohtnet": THOP_DOUBLED,
}

# Name -> operations of a clip as printed in publications, in the conventions above. Those of
# HEViTPose are its authors', from which our reconstruction differs by up to 1 %.
PUBLISHED = {
    "convformer-9": "100 M",
    "convformer-27": "360 M",
    "convformer-81": "1600 M",
    "convformer-143": "4220 M",
    "convformer-243": "10000 M",
    "hevitpose-t-mpii": "1.75 G",
    "hevitpose-s-mpii": "3.64 G",
    "hevitpose-b-mpii": "5.58 G",
    "mhformer-351": "7.096 G",
    "mixste-243": "139.0 G",
    "motionagformer-xs": "1.0 G",
    "motionagformer-s": "6.6 G",
    "motionagformer-b": "48.3 G",
    "motionagformer-l": "78.3 G",
    "motionbert": "174.8 G",
    "tpc-mixste-243": "251 G",
}


def count_cost(model: nn.Module, clip_shape: Sequence[int]) -> Cost:
    """Count parameters and operations of one clip or crop; the model stays as it is.

    Args:
        model: a lifter on the CPU, or a pose network there or on the meta device.
        clip_shape: (T, J, C) of a lifter's input, (3, H, W) of a pose network's.
    """
    device = next(model.parameters()).device
    # Products that stand for bare matrices of the authors, which their tools do not see.
    bare = {part.transform for part in model.modules() if type(part) is ModulatedGraphConvolution}
    layer_macs = normalised = convolution_biases = rectified = layer_parameters = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal layer_macs, normalised, convolution_biases, rectified
        if isinstance(layer, NORMS):
            normalised += inputs[0].numel()
        elif isinstance(layer, nn.ReLU):
            rectified += output.numel()
        elif isinstance(layer, nn.Linear):
            layer_macs += output.numel() * layer.in_features
        elif isinstance(layer, LAYERS):
            # A transposed convolution spreads each number that goes in over its kernel.
            positions = inputs[0] if isinstance(layer, nn.ConvTranspose2d) else output
            layer_macs += positions.numel() * layer.weight[0].numel()
            convolution_biases += output.numel() if layer.bias is not None else 0

    hooks = []
    for layer in model.modules():
        if isinstance(layer, (*LAYERS, *NORMS, nn.ReLU)) and layer not in bare:
            hooks.append(layer.register_forward_hook(count))
            layer_parameters += sum(parameter.numel() for parameter in layer.parameters())
    training = model.training
    # PyTorch's counter knows the products, but not its own fused attention on CPU tensors.
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), counter:
            model.eval()(torch.zeros(1, *clip_shape, device=device))
    finally:
        model.train(training)
        for hook in hooks:
            hook.remove()
    return Cost(
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        macs=counter.get_total_flops() // 2,
        layer_parameters=layer_parameters,
        layer_macs=layer_macs,
        normalised=normalised,
        convolution_biases=convolution_biases,
        rectified=rectified,
    )


def _row(name: str) -> LifterSpec:
    if name not in LIFTERS:
        raise ValueError(f"no lifter named {name!r}; known: {', '.join(sorted(LIFTERS))}")
    return LIFTERS[name]


def lifter_cost(name: str) -> Cost:
    """Count a lifter of the table, or the default model; nothing is computed, so large ones are
    counted as well.

    Raises:
        ValueError: there is no such lifter.
    """
    with torch.device("meta"):  # where initialising costs nothing
        if name == SHIPPED:
            model = create_lifter(SHIPPED_FAMILY, **SHIPPED_SETTINGS)
            shape = (SHIPPED_SETTINGS["frames"], 17, SHIPPED_SETTINGS["in_channels"])
        else:
            row = _row(name)
            model = create_lifter(name)
            shape = (row.frames_in, 17, row.in_channels)
    model = model.to_empty(device="cpu")  # memory that nobody touches is never taken
    # Pretended CPU tensors: autocast knows no meta device.
    with FakeTensorMode(allow_non_fake_inputs=True):
        return count_cost(model, shape)


def _crop_shape(name: str) -> tuple[int, int, int]:
    width, height = POSE_NETWORKS[name].config.image_size
    return 3, height, width


def pose_network_cost(name: str) -> Cost:
    """Count a pose network of the table; nothing is computed.

    Raises:
        ValueError: there is no such pose network.
    """
    with torch.device("meta"):
        return count_cost(create_pose_network(name), _crop_shape(name))


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Time of one call in milliseconds, after calls to warm up.

    The minimum is what the machine can do, the median what it did beside its other work. CPU time
    adds up all threads; on a busy machine it says more than the time on the clock.
    """

    threads: int
    calls: int
    min_ms: float
    median_ms: float
    cpu_min_ms: float
    cpu_median_ms: float


@contextmanager
def _threads(number: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(number)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def measure_latency(
    run: Callable[[Tensor], Any], clip: Tensor, *, threads: int = 1, seconds: float = 2.0
) -> Latency:
    """Time calls on this CPU.

    Args:
        run: what to time.
        clip: its argument.
        threads: of PyTorch, during the measurement.
        seconds: about how long to measure; at least five calls are made, at most a thousand.
    """
    if threads < 1 or seconds <= 0:
        raise ValueError(f"threads and seconds must be above 0: {threads}, {seconds}")
    wall: list[float] = []
    cpu: list[float] = []
    with torch.inference_mode(), _threads(threads):
        for _ in range(3):
            run(clip)
        end = time.perf_counter() + seconds
        while len(wall) < 5 or (time.perf_counter() < end and len(wall) < 1000):
            wall_start, cpu_start = time.perf_counter_ns(), time.process_time_ns()
            run(clip)
            cpu.append((time.process_time_ns() - cpu_start) / 1e6)
            wall.append((time.perf_counter_ns() - wall_start) / 1e6)
    return Latency(
        threads=threads,
        calls=len(wall),
        min_ms=min(wall),
        median_ms=statistics.median(wall),
        cpu_min_ms=min(cpu),
        cpu_median_ms=statistics.median(cpu),
    )


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Memory of one call in bytes.

    Attributes:
        weights: parameters and constants.
        activations: the most that tensors made on the way take at one time, input and output
            included. What an operator needs inside itself is not seen.
        process: the most this process has taken so far, with PyTorch itself; None where the system
            does not tell.
    """

    weights: int
    activations: int
    process: int | None


class _Storages(TorchDispatchMode):
    """Follows the memory of tensors that operators make, until they are freed."""

    def __init__(self, known: Iterable[Tensor]):
        super().__init__()
        # By address: a freed one may come back as another tensor's.
        self.known = {tensor.untyped_storage().data_ptr() for tensor in known}
        self.alive: dict[int, int] = {}
        self.now = self.peak = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        del types
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, (tuple, list)) else (result,):
            if not isinstance(tensor, Tensor):
                continue
            storage = tensor.untyped_storage()
            address = storage.data_ptr()
            if address in self.known or address in self.alive:
                continue
            self.alive[address] = storage.nbytes()
            self.now += storage.nbytes()
            self.peak = max(self.peak, self.now)
            weakref.finalize(storage, self._freed, address).atexit = False
        return result

    def _freed(self, address: int) -> None:
        self.now -= self.alive.pop(address)


def measure_memory(model: nn.Module, clip: Tensor) -> Memory:
    """Follow the tensors of one call on the CPU."""
    own = [*model.parameters(), *model.buffers()]
    with torch.no_grad(), _Storages([*own, clip]) as storages:
        model(clip)
    return Memory(
        weights=sum(tensor.nbytes for tensor in own),
        activations=clip.nbytes + storages.peak,
        process=_process_peak(),
    )


def _process_peak() -> int | None:
    try:
        import resource
    except ModuleNotFoundError:  # Windows has no such module
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if platform.system() == "Darwin" else peak * 1024


def machine() -> str:
    """The CPU, its number of logical cores, and PyTorch, in words."""
    name = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {os.cpu_count()} logical cores, PyTorch {torch.__version__}"


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
    if name in POSE_NETWORKS:
        cost, crop, frames = pose_network_cost(name), POSE_NETWORKS[name].config.image_size, (1, 1)
        model, shape = create_pose_network(name), _crop_shape(name)
    elif name in LIFTERS:
        row = LIFTERS[name]
        cost, crop, frames = lifter_cost(name), None, (row.frames_in, row.frames_out)
        model, shape = create_lifter(name), (row.frames_in, 17, row.in_channels)
    else:
        raise ValueError(
            f"no network named {name!r}; known: {', '.join(sorted([*LIFTERS, *POSE_NETWORKS]))}"
        )
    model = model.eval()
    clip = torch.randn(1, *shape) * 0.3
    latency = measure_latency(model, clip, threads=threads, seconds=seconds)
    with _threads(threads):
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


def convention_of(name: str) -> Convention | None:
    """How the publications of a network of the tables count; None where they print nothing."""
    return CONVENTIONS.get("hevitpose" if name in POSE_NETWORKS else LIFTERS[name].family)


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
