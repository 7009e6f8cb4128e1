"""Fixtures for the networks."""

from __future__ import annotations

import importlib.util
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """PyTorch's threads wait for each other at every small operator: on a busy machine a second
    thread makes these tests a hundred times slower."""
    try:
        import torch
    except ModuleNotFoundError:
        return
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def parity() -> ModuleType:
    """The program benchmarks/parity.py, which compares networks with recordings."""
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "parity.py"
    spec = importlib.util.spec_from_file_location("parity", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["parity"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def set_weights() -> Callable[[Any], None]:
    """Set every weight of a network by a formula of its name and index, so that recorded outputs
    need no recorded weights. The values look random and keep activations of order one."""
    import torch

    def set_all(model: Any) -> None:
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                index = np.arange(parameter.numel(), dtype=np.float64)
                phase = zlib.crc32(name.encode()) % 997
                # Uniform in [-1, 1): fractional parts of multiples of the golden ratio.
                values = 2.0 * ((index * 0.6180339887498949 + phase * 0.7548776662466927) % 1.0) - 1
                if parameter.dim() > 1:
                    values *= (3.0 / parameter.shape[-1]) ** 0.5
                elif "norm" in name and name.endswith("weight"):
                    values = 1.0 + 0.2 * values
                else:
                    values *= 0.1
                parameter.copy_(torch.from_numpy(values.reshape(tuple(parameter.shape))))

    return set_all
