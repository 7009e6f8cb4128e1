"""Muon: steps along the orthogonalised momentum of a matrix's gradient, many matrices at once.

Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024); the scaling
of the step to AdamW's is of Liu et al., Muon is scalable for LLM training (2025). PyTorch's own
does the same one matrix after the other; here matrices of one shape go through one batched product,
which is what makes it quick on small matrices.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)  # of the quintic, steepest at zero
ITERATIONS = 5


def is_bfloat16_fast(device: torch.device) -> bool:
    """Whether products in bfloat16 are faster there than in float32; emulated they are slower."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if device.type == "cpu":
        return torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AMX"))
    return False


def orthogonalised(matrices: Tensor, dtype: torch.dtype) -> Tensor:
    """Matrices with about the same singular vectors and all singular values near one.

    Args:
        matrices: (matrices, rows, columns).
        dtype: of the products; bfloat16 is exact enough.
    """
    a, b, c = COEFFICIENTS
    x = matrices.to(dtype)
    tall = x.shape[-2] > x.shape[-1]
    if tall:
        x = x.mT
    x = x / x.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    for _ in range(ITERATIONS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.mT if tall else x


class Muon(torch.optim.Optimizer):
    """Muon with Nesterov momentum, decoupled weight decay and steps of AdamW's size."""

    def __init__(
        self,
        parameters: Iterable[nn.Parameter],
        lr: float,
        weight_decay: float = 0.0,
        momentum: float = 0.95,
    ):
        super().__init__(parameters, {"lr": lr, "weight_decay": weight_decay, "momentum": momentum})
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.ndim != 2:
                    raise ValueError(
                        f"Muon is for matrices, not for shape {tuple(parameter.shape)}"
                    )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        assert closure is None
        for group in self.param_groups:
            alike: dict[tuple[Any, ...], list[nn.Parameter]] = {}
            for parameter in group["params"]:
                if parameter.grad is not None:
                    key = (parameter.shape, parameter.device, parameter.dtype)
                    alike.setdefault(key, []).append(parameter)
            for parameters in alike.values():
                self._step(parameters, group)

    def _step(self, parameters: list[nn.Parameter], group: dict[str, Any]) -> None:
        """One step of parameters of one shape."""
        gradients = [p.grad for p in parameters if p.grad is not None]
        for parameter in parameters:
            if "momentum_buffer" not in self.state[parameter]:
                self.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        buffers = [self.state[p]["momentum_buffer"] for p in parameters]
        stacked = torch.stack(gradients)  # (matrices, rows, columns)
        momenta = torch.stack(buffers).lerp_(stacked, 1 - group["momentum"])
        fast = torch.bfloat16 if is_bfloat16_fast(stacked.device) else torch.float32
        update = orthogonalised(stacked.lerp(momenta, group["momentum"]), fast)
        rows, columns = parameters[0].shape
        rate = group["lr"] * 0.2 * math.sqrt(max(rows, columns))
        decay = 1 - group["lr"] * group["weight_decay"]
        # Products and not `alpha`: in a recorded step the rate is a tensor.
        parts = list((update.to(stacked.dtype) * rate).unbind())
        torch._foreach_copy_(buffers, list(momenta.unbind()))  # pyright: ignore[reportPrivateImportUsage]
        weights: list[Tensor] = list(parameters)
        torch._foreach_mul_(weights, decay)  # pyright: ignore[reportPrivateImportUsage]
        torch._foreach_sub_(weights, parts)  # pyright: ignore[reportPrivateImportUsage]
