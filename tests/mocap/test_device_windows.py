"""Windows drawn on the device are those that NumPy draws, with other random numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from lithepose.mocap.device_windows import DeviceWindows  # noqa: E402
from lithepose.mocap.motions import Motions, read_motions  # noqa: E402
from lithepose.mocap.noise import DetectorNoise  # noqa: E402
from lithepose.mocap.windows import (  # noqa: E402
    WindowSettings,
    draw_batch,
    draw_focal_errors,
    draw_motion,
    draw_view,
    make_windows,
    tables_of,
)

SETTINGS = WindowSettings(frames=27, targets=9)


@pytest.fixture(scope="module")
def motions(motion_folder: Path) -> Motions:
    return read_motions(motion_folder / "cmu17_train.npz")


@pytest.fixture(scope="module")
def noise() -> DetectorNoise:
    return DetectorNoise.measured()


def drawn(clips: DeviceWindows, count: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    values, targets = clips(count, torch.Generator().manual_seed(seed))
    return values.numpy(), targets.numpy()


def on_torch(value: Any) -> Any:
    """Arrays in tuples as tensors, in single precision as on a device."""
    if isinstance(value, np.ndarray):
        tensor = torch.from_numpy(np.ascontiguousarray(value))
        return tensor.float() if tensor.is_floating_point() else tensor
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*map(on_torch, value))
    return value


@pytest.mark.parametrize("noisy", [False, True], ids=["exact", "noisy"])
def test_the_same_numbers_make_the_same_windows(
    motions: Motions, noise: DetectorNoise, noisy: bool
) -> None:
    # NumPy draws partners and noise for the windows that need them: here these are all.
    settings = WindowSettings(frames=27, targets=9, exchange_arms=1.0, clean=0.0)
    random, count = np.random.default_rng(4), 32
    centre = random.integers(0, len(motions.positions), count)
    motion = draw_motion(centre, settings, random)
    view, errors = draw_view(motion.rate, settings, noise if noisy else None, random)
    focal = draw_focal_errors(count, settings, random)
    parts = (motion, view, focal, tables_of(motions, settings), errors)
    expected = make_windows(*parts, settings)
    found = make_windows(*map(on_torch, parts), settings)
    for array, tensor in zip(expected, found, strict=True):
        assert tensor.dtype == torch.float32
        # Camera and person are up to ten metres apart, in single precision.
        np.testing.assert_allclose(tensor.numpy(), array, atol=2e-5)


def test_shapes_and_types_are_those_of_a_batch(motions: Motions, noise: DetectorNoise) -> None:
    values, targets = drawn(DeviceWindows(motions, SETTINGS, noise), 6)
    batch = draw_batch(motions, 6, SETTINGS, noise, np.random.default_rng(0))
    assert values.shape == batch.values.shape
    assert targets.shape == batch.targets.shape
    assert values.dtype == targets.dtype == np.float32
    assert np.isfinite(values).all()
    assert np.isfinite(targets).all()


def test_a_seed_gives_the_same_windows_again(motions: Motions, noise: DetectorNoise) -> None:
    clips = DeviceWindows(motions, SETTINGS, noise)
    np.testing.assert_array_equal(drawn(clips, 4, 3)[0], drawn(clips, 4, 3)[0])
    assert not np.array_equal(drawn(clips, 4, 3)[0], drawn(clips, 4, 4)[0])


def test_nothing_waits_for_a_value(motions: Motions, noise: DetectorNoise) -> None:
    """Tensors without values pass: no shape and no branch depends on one."""
    clips = DeviceWindows(motions, SETTINGS, noise)
    numbers = clips.numbers(6, torch.Generator())
    values, targets = clips.to("meta").make(*(number.to("meta") for number in numbers))
    assert values.shape == (6, 27, 17, 4)
    assert targets.shape == (6, 9, 17, 3)


@pytest.mark.slow
def test_the_compiler_sees_one_graph(motions: Motions, noise: DetectorNoise) -> None:
    clips = DeviceWindows(motions, SETTINGS, noise)
    numbers = clips.numbers(6, torch.Generator().manual_seed(1))
    make = torch.compile(clips.make, fullgraph=True, backend="eager")
    with torch.no_grad():
        for compiled, eager in zip(make(*numbers), clips.make(*numbers), strict=True):
            torch.testing.assert_close(compiled, eager)


@pytest.mark.parametrize("noisy", [False, True], ids=["exact", "noisy"])
def test_windows_are_spread_as_those_of_numpy(
    motions: Motions, noise: DetectorNoise, noisy: bool
) -> None:
    errors = noise if noisy else None
    values, targets = drawn(DeviceWindows(motions, SETTINGS, errors), 3000)
    batch = draw_batch(motions, 3000, SETTINGS, errors, np.random.default_rng(5))
    for ours, theirs in ((values, batch.values), (targets, batch.targets)):
        # 3,000 windows tell a mean to about 2 % of the spread, and the spread to about 2 %.
        spread = theirs.std((0, 1)).clip(0.02)
        assert np.abs(ours.mean((0, 1)) - theirs.mean((0, 1))).max() < 0.12 * spread.max()
        np.testing.assert_allclose(ours.std((0, 1)), theirs.std((0, 1)), rtol=0.12, atol=0.01)
    steps, their_steps = (np.diff(v[..., :2], axis=1).std((0, 1)) for v in (values, batch.values))
    np.testing.assert_allclose(steps, their_steps, rtol=0.15, atol=0.005)
    for share in (0.05, 0.5, 0.95):
        np.testing.assert_allclose(
            np.quantile(values[..., 2], share), np.quantile(batch.values[..., 2], share), atol=0.03
        )
