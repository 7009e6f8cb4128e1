"""The optimisers of recipes, among them Muon.

Muon steps along the orthogonalised momentum of a matrix's gradient.

Source: Jordan et al., Muon: an optimizer for hidden layers in neural networks (2024); the scaling
of the step to AdamW's is of Liu et al., Muon is scalable for LLM training (2025). PyTorch's own
(`torch.optim.Muon`) does the same one matrix after the other, and always in bfloat16, which most
processors emulate; here matrices of one shape go through one batched product, which is what makes
it quick on small matrices, and its rate may be a tensor, as a captured CUDA graph needs it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lithepose.train.settings import Optimisation

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
        # Products and not `alpha`: in a captured step the rate is a tensor.
        parts = update.to(stacked.dtype) * rate
        for parameter, buffer, momentum, part in zip(
            parameters, buffers, momenta, parts, strict=True
        ):
            buffer.copy_(momentum)
            parameter.mul_(decay).sub_(part)


def make_optimisers(
    network: nn.Module, settings: Optimisation, captured: bool = False
) -> list[torch.optim.Optimizer]:
    """The optimisers of a recipe; `captured` ones keep all they count on the device.

    Muon is for maps between hidden spaces. Embeddings, heads, norms, biases and the element-wise
    tables of graph convolutions are none; AdamW has them. Muon's step is scaled to AdamW's, so one
    learning rate serves both.
    """
    named = [(n, p) for n, p in network.named_parameters() if p.requires_grad]
    shared: dict[str, Any] = {
        "lr": settings.learning_rate,
        "betas": settings.betas,
        "amsgrad": settings.amsgrad,
        "fused": all(p.device.type in ("cpu", "cuda") for _, p in named),
        "capturable": captured,
    }
    if settings.optimiser != "muon":
        kind = torch.optim.Adam if settings.optimiser == "adam" else torch.optim.AdamW
        return [kind([p for _, p in named], weight_decay=settings.weight_decay, **shared)]
    hidden, other = [], []
    for name, parameter in named:
        maps = parameter.ndim == 2 and "blocks" in name and name.endswith("weight")
        (hidden if maps else other).append(parameter)
    if not hidden:
        raise ValueError(
            f"{type(network).__name__} has no matrices inside blocks, which is what Muon is for: "
            "train it with adamw"
        )
    plain = torch.optim.AdamW(
        [
            {"params": [p for p in other if p.ndim == 2]},
            {"params": [p for p in other if p.ndim != 2], "weight_decay": 0.0},
        ],
        weight_decay=settings.weight_decay,
        **shared,
    )
    muon = Muon(hidden, lr=settings.learning_rate, weight_decay=settings.weight_decay)
    return [muon, plain]
