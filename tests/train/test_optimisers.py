"""Muon on many matrices at once, beside PyTorch's, which takes one after the other."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from lithepose.train.optimisers import Muon, orthogonalised  # noqa: E402

SHAPES = [(8, 12), (8, 12), (12, 8), (5, 5)]


def matrices(seed: int = 0) -> list[Any]:
    generator = torch.Generator().manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape, generator=generator)) for shape in SHAPES]


def test_steps_are_those_of_pytorch(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("lithepose.train.optimisers.is_bfloat16_fast", lambda device: True)
    ours, theirs = matrices(), matrices()
    settings = {"lr": 0.01, "weight_decay": 0.1}
    one = Muon(ours, **settings)
    other = torch.optim.Muon(theirs, momentum=0.95, adjust_lr_fn="match_rms_adamw", **settings)
    for step in range(5):
        for a, b in zip(ours, theirs, strict=True):
            a.grad = torch.randn(a.shape, generator=torch.Generator().manual_seed(step))
            b.grad = a.grad.clone()
        one.step()
        other.step()
    for a, b, start in zip(ours, theirs, matrices(), strict=True):
        # Products are in bfloat16, whose last digit is 0.4 %: five steps of it add up.
        moved = float((b - start).detach().norm())
        assert float((a - b).detach().norm()) < 0.01 * moved


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(3, 6, 10), (3, 10, 6)])
def test_singular_values_come_near_one_and_vectors_stay(shape: tuple[int, ...], dtype: Any):
    given = torch.randn(shape, generator=torch.Generator().manual_seed(1))
    made = orthogonalised(given, dtype).float()
    values = torch.linalg.svdvals(made)
    assert 0.5 < float(values.min()) < float(values.max()) < 1.4
    left, _, right = torch.linalg.svd(given, full_matrices=False)
    inner = left.mT @ made @ right.mT
    off = inner - torch.diag_embed(torch.diagonal(inner, dim1=-2, dim2=-1))
    assert float(off.abs().max()) < (1e-4 if dtype == torch.float32 else 0.1)


def test_matrices_without_a_gradient_stay():
    first, *others = matrices()
    before = first.detach().clone()
    optimiser = Muon([first, *others], lr=0.1, weight_decay=0.1)
    for other in others:
        other.grad = torch.ones_like(other)
    optimiser.step()
    assert torch.equal(first, before)


def test_only_matrices_are_taken():
    with pytest.raises(ValueError, match=r"Muon is for matrices, not for shape \(3,\)"):
        Muon([torch.nn.Parameter(torch.zeros(3))], lr=0.1)
