"""How long networks take on this CPU, and how much memory."""

from __future__ import annotations

import os
import platform
import statistics
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode


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
def cpu_threads(number: int) -> Iterator[None]:
    """PyTorch on so many threads."""
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
    with torch.inference_mode(), cpu_threads(threads):
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
