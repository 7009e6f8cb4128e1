"""The folded form of HTNet and NanoHTNet."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from lithepose.lifters import create_lifter

torch = pytest.importorskip("torch")

from lithepose.lifters.folded import fold  # noqa: E402  # it imports torch

GUIDE = Path(__file__).parents[2] / "docs" / "guides" / "models.md"
SMALL = {
    "htnet": ({"layers": 2, "channels": 48, "hidden": 64}, (2, 17, 2)),
    "nanohtnet": (
        {"frames": 9, "kept_frames": 5, "layers": 2, "channels": 48, "hidden": 32, "features": 4},
        (9, 17, 2),
    ),
}


@pytest.mark.parametrize("clips", [1, 3])
@pytest.mark.parametrize("name", SMALL)
def test_the_folded_form_gives_the_same_poses(
    name: str, clips: int, set_weights: Callable[[Any], None]
) -> None:
    config, shape = SMALL[name]
    model = create_lifter(name, **config).eval()
    set_weights(model)
    x = torch.randn(clips, *shape, generator=torch.Generator().manual_seed(5))
    given = x.clone()
    with torch.inference_mode():
        expected, found = model(x), fold(model)(x)
    assert torch.equal(x, given)
    assert expected.abs().max() > 0.1
    torch.testing.assert_close(found, expected, atol=2e-5, rtol=0)


def test_the_published_size_folds_to_the_same_poses(set_weights: Callable[[Any], None]) -> None:
    model = create_lifter("nanohtnet-81-9").eval()
    set_weights(model)
    x = torch.randn(2, 81, 17, 2, generator=torch.Generator().manual_seed(5))
    with torch.inference_mode():
        torch.testing.assert_close(fold(model)(x), model(x), atol=2e-5, rtol=0)


def test_training_the_network_further_leaves_the_folded_form_alone() -> None:
    config, shape = SMALL["nanohtnet"]
    model = create_lifter("nanohtnet", **config).eval()
    x = torch.randn(1, *shape)
    folded = fold(model)
    with torch.inference_mode():
        before = folded(x)
        for parameter in model.parameters():
            parameter.mul_(1.5)
        assert torch.equal(folded(x), before)
    assert not before.requires_grad


def test_what_cannot_be_folded_is_named() -> None:
    with pytest.raises(TypeError, match=r"only HTNet and NanoHTNet .* not Linear"):
        fold(torch.nn.Linear(2, 2))
    with pytest.raises(ValueError, match="contrastive head"):
        fold(create_lifter("nanohtnet", **SMALL["nanohtnet"][0], pretrain=True))


def test_another_clip_length_is_refused() -> None:
    folded = fold(create_lifter("nanohtnet", **SMALL["nanohtnet"][0]))
    with pytest.raises(ValueError, match=r"not .*8, 17, 2"):
        folded(torch.zeros(1, 8, 17, 2))


def test_the_example_of_the_guide_runs() -> None:
    examples = re.findall(r"```python\n(.*?)```", GUIDE.read_text(encoding="utf-8"), re.DOTALL)
    (example,) = [code for code in examples if "fold(" in code]
    exec(example, {})
