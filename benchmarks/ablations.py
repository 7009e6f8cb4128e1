"""What window length, noise, confidence and varied bodies each bring, on a small budget.

    python benchmarks/ablations.py MOTIONS OUT [--windows 150000]

Trains a narrow network (96 channels) once per row, each with one thing changed, and scores it on
windows of the validation subjects, with exact 2D and with the measured detector noise. The scores
are of the middle frame of each window, without flip averaging or merging, so they are higher than
those of the measuring rule; only their differences matter here. Rows done before are not repeated.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
from torch import nn

from lithepose.mocap.motions import read_motions
from lithepose.mocap.noise import DetectorNoise
from lithepose.mocap.windows import Batch
from lithepose.train.recipes.shipped import DEFAULT, ShippedRecipe
from lithepose.train.runs import follow
from lithepose.train.settings import RunSettings
from lithepose.train.tasks.shipped import score, trained_lifter, validation_windows


def window(frames: int) -> ShippedRecipe:
    """The base with another number of frames."""
    base = ROWS["as shipped"]
    return replace(
        base,
        overrides={**base.overrides, "frames": frames, "kept_frames": 9},
        clips=replace(base.clips, frames=frames),
    )


def without_confidence(batch: Batch) -> Batch:
    """Every joint that is seen counts as sure."""
    values = batch.values.copy()
    values[..., 2] = values[..., 2] > 0
    return batch._replace(values=values)


BATCH = 256
NARROW = {**DEFAULT.overrides, "channels": 96}
ROWS: dict[str, ShippedRecipe] = {"as shipped": replace(DEFAULT, overrides=NARROW)}
_base = ROWS["as shipped"]
ROWS |= {
    "27 frames": window(27),
    "243 frames": window(243),
    "no noise": replace(_base, noise=False),
    "bodies as recorded": replace(_base, clips=replace(_base.clips, redraw_bodies=False)),
    "arms and limbs as recorded": replace(
        _base, clips=replace(_base.clips, exchange_arms=0.0, bend=0.0)
    ),
    "recorded speed": replace(_base, clips=replace(_base.clips, fps=(25.0, 25.0001))),
    "no velocity loss": replace(_base, velocity_weight=0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Train small variants and compare them.")
    parser.add_argument("motions", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--windows", type=int, default=150_000)
    parser.add_argument("--only", help="one row")
    arguments = parser.parse_args()

    val_set = read_motions(arguments.motions / "cmu17_val.npz")
    results_file = arguments.out / "ablations.json"
    arguments.out.mkdir(parents=True, exist_ok=True)
    results = json.loads(results_file.read_text()) if results_file.exists() else {}
    for name, row in ROWS.items():
        if name in results or arguments.only not in (None, name):
            continue
        steps = arguments.windows // BATCH
        brief = replace(row.optimisation, steps=steps, batch=BATCH, average=0.99)
        recipe = replace(row, optimisation=brief)
        settings = RunSettings(device="cpu", workers=0, save_every=200)
        out = arguments.out / name.replace(" ", "-")
        follow(recipe, arguments.motions, out, settings)
        model = trained_lifter(out / "last.safetensors", recipe)
        results[name] = scores(model, recipe, val_set)
        results_file.write_text(json.dumps(results, indent=1))
        print(name, results[name], flush=True)


def scores(model: nn.Module, recipe: ShippedRecipe, val_set) -> dict[str, float]:
    """Errors in millimetres on exact and noisy windows, and the latter without confidences."""
    exact = validation_windows(val_set, recipe, None)
    noisy = validation_windows(val_set, recipe, DetectorNoise.measured())
    found = {f"exact {k}": v for k, v in score(model, exact).items()}
    found |= {f"noisy {k}": v for k, v in score(model, noisy).items()}
    found["noisy, confidence hidden: mpjpe"] = score(model, without_confidence(noisy))["mpjpe"]
    return {k: float(np.round(v, 2)) for k, v in found.items()}


if __name__ == "__main__":
    main()
