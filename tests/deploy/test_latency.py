"""Time and memory of a call."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from lithepose.deploy.latency import measure_latency, measure_memory  # noqa: E402


def test_memory_follows_tensors_until_they_are_freed() -> None:
    class Steps(nn.Module):
        def forward(self, x):  # 4 kB
            doubled = x * 2  # 4 kB
            wide = torch.cat([doubled, doubled], dim=1)  # 8 kB: with x, 16 kB at one time
            del doubled
            return wide.view(2, 1000)[:1] + 1  # 4 kB: with x and wide, 16 kB

    memory = measure_memory(Steps(), torch.zeros(1, 1000))
    assert memory.activations == 16_000
    assert memory.weights == 0
    assert memory.process is None or memory.process > 10_000_000
    assert measure_memory(nn.Linear(10, 10), torch.zeros(1, 10)).weights == 440


def test_latency_is_measured_on_the_threads_asked_for() -> None:
    seen, before = [], torch.get_num_threads()
    latency = measure_latency(
        lambda clip: seen.append(torch.get_num_threads()), torch.zeros(1), threads=2, seconds=0.01
    )
    assert set(seen) == {2}
    assert torch.get_num_threads() == before
    assert latency.calls == len(seen) - 3 >= 5
    assert 0 <= latency.min_ms <= latency.median_ms
    assert latency.cpu_min_ms <= latency.cpu_median_ms
    with pytest.raises(ValueError, match="above 0: 0, 1"):
        measure_latency(lambda clip: None, torch.zeros(1), threads=0, seconds=1)
