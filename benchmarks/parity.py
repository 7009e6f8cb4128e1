"""Compare our networks with recordings of their authors' own code.

    python benchmarks/parity.py FOLDER [--only PREFIX]

FOLDER holds `.npz` files with the arrays `state/<authors' name of a tensor>`, `input`, `output` and
`meta`, a JSON text: `network`, `variant`, `arguments` (the authors' options), `tolerance`,
`parameter_count`. Each network is built from these options, loads the authors' tensors (all of
them, and no others), and has to give the recorded output within the recorded tolerance. Where
`meta` has a `weight_formula`, the file holds `state_names` (a JSON list of name and shape) instead
of tensors, and `weight_salt` belongs to the formula. Recordings of what is no network (`PARTS`
below) hold other arrays. A file that this program does not understand counts as failed. The exit
status is 0 if none failed.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lithepose.lifters import convert_state_dict, create_lifter

# The 17 joints in a mirror: left and right change places.
MIRRORED = [0, 4, 5, 6, 1, 2, 3, 7, 8, 9, 10, 14, 15, 16, 11, 12, 13]


@dataclass(frozen=True, kw_only=True)
class Recording:
    """One file: tensors by the authors' names, the other arrays, and the description."""

    state: dict[str, Tensor]
    arrays: dict[str, np.ndarray]
    meta: dict[str, Any]

    def tensor(self, name: str) -> Tensor:
        if name not in self.arrays:
            raise ValueError(f"no array {name!r} in it")
        return torch.from_numpy(self.arrays[name])

    @property
    def arguments(self) -> dict[str, Any]:
        return self.meta["arguments"]


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What our network gave for a recording, on the recording's axes, and its parameters."""

    output: Tensor
    parameters: int


class Mismatch(Exception):
    """Our network differs from the recording; the text says how."""


def splitmix64(x: np.ndarray) -> np.ndarray:
    """The finaliser of the random number generator SplitMix64, of unsigned 64-bit numbers."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def formula_tensor(name: str, shape: list[int], salt: int) -> Tensor:
    """A tensor whose values follow from its authors' name; recordings state the formula."""
    size = math.prod(shape)
    seed = (zlib.crc32(name.encode()) + salt) % 2**32
    bits = splitmix64(np.uint64(seed << 32) + np.arange(size, dtype=np.uint64))
    u = 2.0 * (bits >> np.uint64(11)).astype(np.float64) / 2.0**53 - 1.0  # from -1 to 1
    kind = name.rpartition(".")[2]
    if kind == "num_batches_tracked":
        return torch.tensor(7)
    if kind == "running_var":
        u = 1.15 + 0.65 * u
    elif kind == "running_mean":
        u = 0.5 * u
    elif kind in ("layer_scale_1", "layer_scale_2"):
        u = 0.6 + 0.5 * u
    elif kind == "bias":
        u = 0.35 * u
    elif kind == "weight":
        u = 1.0 + 0.5 * u if len(shape) == 1 else u * math.sqrt(3.0 * shape[0] / size)
    else:  # positions and tokens
        u = 0.8 * u
    return torch.from_numpy(u.astype(np.float32).reshape(shape))


def read_recording(path: Path) -> Recording:
    """Read a recording.

    Raises:
        ValueError: the file lacks a part of what makes a recording.
    """
    with np.load(path, allow_pickle=False) as file:
        arrays = {name: file[name] for name in file.files}
    if "meta" not in arrays:
        raise ValueError("no array 'meta' in it")
    meta = json.loads(str(arrays.pop("meta")))
    for name in ("network", "variant", "arguments", "tolerance"):
        if name not in meta:
            raise ValueError(f"no {name!r} in its description")
    if "weight_formula" in meta:
        listed = json.loads(str(arrays.pop("state_names")))
        state = {name: formula_tensor(name, shape, meta["weight_salt"]) for name, shape in listed}
    else:
        state = {
            name.removeprefix("state/"): torch.from_numpy(arrays.pop(name))
            for name in list(arrays)
            if name.startswith("state/")
        }
    return Recording(state=state, arrays=arrays, meta=meta)


def parameter_count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def mirror(poses: Tensor) -> Tensor:
    """Mirror (..., 17, 2 or 3) from left to right."""
    poses = poses[..., MIRRORED, :].clone()
    poses[..., 0] *= -1
    return poses


def build(network: str, recording: Recording, state: dict[str, Tensor] | None = None) -> nn.Module:
    """Our network with the recording's options and the authors' tensors, ready to evaluate."""
    given = recording.state if state is None else state
    config, converted = convert_state_dict(network, given, **recording.arguments)
    model = create_lifter(network, **config).eval()
    model.load_state_dict(converted)
    return model


def lift(model: nn.Module, recording: Recording) -> Tensor:
    """Run on the recorded input, with the average over the mirrored view where there is one."""
    clips = recording.tensor("input")
    if recording.meta["variant"] == "flip":
        return (model(clips[:, 0]) + mirror(model(clips[:, 1]))) / 2
    return model(clips)


def run_nanohtnet(recording: Recording) -> Outcome:
    model = build("nanohtnet", recording)
    return Outcome(output=lift(model, recording), parameters=parameter_count(model))


def run_motionbert(recording: Recording) -> Outcome:
    model = build("motionbert", recording)
    return Outcome(output=lift(model, recording), parameters=parameter_count(model))


def run_motionagformer(recording: Recording) -> Outcome:
    model = build("motionagformer", recording)
    return Outcome(output=lift(model, recording), parameters=parameter_count(model))


def run_htnet(recording: Recording) -> Outcome:
    from lithepose.lifters.htnet import PoseRefiner, back_project, refiner_from_authors

    part = "post_refine."
    network = {name: t for name, t in recording.state.items() if not name.startswith(part)}
    model = build("htnet", recording, network)
    poses = lift(model, recording).flatten(0, 1).unsqueeze(1)  # the authors merge clips and frames
    if recording.meta["variant"] == "refine":
        refiner = PoseRefiner().eval()
        gate = {name: t for name, t in recording.state.items() if name.startswith(part)}
        refiner.load_state_dict(refiner_from_authors(gate))
        expected = recording.meta["refine_parameter_count"]
        if parameter_count(refiner) != expected:
            raise Mismatch(f"refinement: {parameter_count(refiner)} parameters, not {expected}")
        camera = recording.tensor("input_camera").unsqueeze(1)  # (B, 1, 9): focal, centre, lens
        root_depth = recording.tensor("input_gt_3D")[:, :, 0, 2]
        keypoints = recording.tensor("input")
        on_rays = back_project(poses, keypoints, root_depth, camera[..., :2], camera[..., 2:4])
        poses = refiner(poses, on_rays)
    return Outcome(output=poses, parameters=parameter_count(model))


def run_mixste(recording: Recording) -> Outcome:
    model = build("mixste", recording)
    return Outcome(output=lift(model, recording), parameters=parameter_count(model))


def run_mhformer(recording: Recording) -> Outcome:
    model = build("mhformer", recording)
    return Outcome(output=lift(model, recording), parameters=parameter_count(model))


def run_pruned(host: str, recording: Recording) -> Outcome:
    """A network of HoT. Where the choice of frames is stable, ours must be the recorded one;
    elsewhere it is decided by rounding, and the recorded frames are taken."""
    from lithepose.lifters.hot import Hourglass

    config, converted = convert_state_dict("hot", recording.state, host=host, **recording.arguments)
    model = create_lifter("hot", **config).eval()
    assert isinstance(model, Hourglass)
    model.load_state_dict(converted)
    indices, noise = recording.tensor("indices"), recording.tensor("noise")
    stable = recording.meta["tpc"].get(
        "selection_same_in_float64_and_float32_exact_and_mm_distances", True
    )
    clips = recording.tensor("input")
    lifted = model.lift(clips, noise=noise) if stable else model.lift(clips, kept=[indices])
    if not torch.equal(lifted.kept[-1], indices):
        raise Mismatch(f"frames {lifted.kept[-1].tolist()} kept, not {indices.tolist()}")
    return Outcome(output=lifted.poses, parameters=parameter_count(model))


# Network to (how to run it, the variants it knows).
NETWORKS: dict[str, tuple[Callable[[Recording], Outcome], set[str]]] = {
    "hot_mixste": (partial(run_pruned, "mixste"), {"plain"}),
    "hot_motionagformer": (partial(run_pruned, "motionagformer"), {"plain"}),
    "hot_motionbert": (partial(run_pruned, "motionbert"), {"plain"}),
    "htnet": (run_htnet, {"plain", "flip", "refine"}),
    "mhformer": (run_mhformer, {"plain"}),
    "motionagformer": (run_motionagformer, {"plain"}),
    "motionbert": (run_motionbert, {"plain"}),
    "mixste": (run_mixste, {"plain"}),
    "nanohtnet": (run_nanohtnet, {"plain", "flip", "pretrain"}),
    "tpc_mhformer": (partial(run_pruned, "mhformer"), {"plain"}),
    "tpc_mixste": (partial(run_pruned, "mixste"), {"plain"}),
}


def differences(output: Tensor, expected: Tensor) -> dict[str, float]:
    """The quantities that a tolerance may bound, by the names it has for them."""
    distance = (output.double() - expected.double()).abs()
    return {
        "max_abs": distance.max().item(),
        "mean_abs": distance.mean().item(),
        "fraction_within_1e_3": (distance <= 1e-3).double().mean().item(),
    }


def check_selection(recording: Recording) -> str:
    """The choice of frames by itself: densities, scores and the frames with the highest ones."""
    from lithepose.lifters.hot import DensityPruner, density_peaks

    tolerance = recording.meta["tolerance"]
    if tolerance.keys() != {"indices", "density"} or tolerance["indices"] != "equal":
        raise ValueError(f"tolerance {tolerance} is not understood")
    features, noise = recording.tensor("features"), recording.tensor("noise")
    density, score = density_peaks(features, noise)
    off = (density.double() - recording.tensor("density")).abs().max().item()
    if not off <= tolerance["density"]:
        raise Mismatch(f"density off by {off:.2e}, allowed {tolerance['density']:g}")
    expected_score = recording.tensor("score")
    ranked = expected_score.isfinite()  # the centre is not
    off_score = (score.double() - expected_score)[ranked].abs().max().item()

    count, centre = recording.meta["selected"], recording.meta["center"]
    expected = recording.tensor("indices")
    if centre is not None:  # theirs lists the frames beside the centre
        count += 1
        middle = torch.full((len(expected), 1), centre)
        expected = torch.cat([expected, middle], dim=1).sort(dim=1).values
    pruner = DensityPruner(count, keep_centre=centre is not None)
    places = torch.full((len(features),), -1 if centre is None else centre)
    kept = pruner(features, features, places, noise)
    if not torch.equal(kept, expected):
        raise Mismatch(f"frames {kept.tolist()} kept, not {expected.tolist()}")
    return f"same frames, density within {off:.1e}, score within {off_score:.1e}"


def check_losses(recording: Recording) -> str:
    """Losses of the video lifters and their gradients, and the Procrustes distance."""
    from lithepose.metrics.pose3d import p_mpjpe
    from lithepose.train import losses

    target, confidence = recording.tensor("target"), recording.tensor("conf")
    weight = torch.tensor(recording.meta["joint_weights"])
    ours: dict[str, Callable[[Tensor], Tensor]] = {
        "mixste_weighted_mpjpe": lambda p: losses.joint_distance(p, target, weight),
        "mixste_temporal_consistency": lambda p: losses.step_energy(p, weight),
        "mixste_velocity": lambda p: losses.mean_velocity_distance(p, target),
        "mixste_total": lambda p: losses.mixste_loss(p, target),
        "mpjpe": lambda p: losses.mean_distance(p, target),
        "mb_mpjpe": lambda p: losses.mean_distance(p, target),
        "mb_n_mpjpe": lambda p: losses.scaled_distance(p, target),
        "mb_velocity": lambda p: losses.mean_velocity_distance(p, target),
        "mb_limb_var": losses.limb_variance,
        "mb_limb_gt": lambda p: losses.limb_difference(p, target),
        "mb_angle": lambda p: losses.angle_difference(p, target),
        "mb_angle_velocity": lambda p: losses.angle_velocity_difference(p, target),
        "mb_2d_weighted": lambda p: losses.image_distance(p, target, confidence),
        "mb_total_h36m": lambda p: losses.motionbert_loss(p, target),
    }
    values = recording.meta["values"]
    if values.keys() != ours.keys() or recording.meta["tolerance"].keys() != {"relative"}:
        raise ValueError(f"these losses are not understood: {sorted(values.keys() ^ ours.keys())}")
    bound = recording.meta["tolerance"]["relative"]
    worst = 0.0
    for name, loss in ours.items():
        predicted = recording.tensor("pred").requires_grad_()
        value = loss(predicted)
        (gradient,) = torch.autograd.grad(value, predicted)
        expected = recording.tensor(f"grad/{name}")
        off = abs(value.item() / values[name] - 1.0)
        off_gradient = ((gradient - expected).abs().max() / expected.abs().max()).item()
        if not max(off, off_gradient) <= bound:
            raise Mismatch(f"{name} off by {off:.1e}, gradient {off_gradient:.1e} of the largest")
        worst = max(worst, off, off_gradient)
    pred64, target64 = (
        recording.tensor(name).flatten(0, 1).numpy() for name in ("pred64", "target64")
    )
    distances = p_mpjpe(pred64, target64)
    off = np.abs(distances / recording.arrays["p_mpjpe"] - 1.0).max()
    if not off <= bound:
        raise Mismatch(f"p_mpjpe off by {off:.1e}")
    return f"{len(ours)} losses and their gradients within {worst:.1e}, p_mpjpe within {off:.1e}"


# What is no network, to how it is checked.
PARTS: dict[str, Callable[[Recording], str]] = {
    "losses": check_losses,
    "tpc_select": check_selection,
}


def check(recording: Recording) -> str:
    """Run our network and compare.

    Returns:
        What was measured, for the table.

    Raises:
        Mismatch: the recording and our network differ.
        ValueError: the recording is not understood.
    """
    network, variant = recording.meta["network"], recording.meta["variant"]
    if network in PARTS:
        return PARTS[network](recording)
    if network not in NETWORKS:
        known = ", ".join(sorted(NETWORKS.keys() | PARTS.keys()))
        raise ValueError(f"network {network!r} is not one of {known}")
    run, variants = NETWORKS[network]
    if variant not in variants:
        raise ValueError(f"variant {variant!r} of {network} is not one of {sorted(variants)}")
    with torch.inference_mode():
        outcome = run(recording)

    expected_parameters = recording.meta.get("parameter_count")
    if expected_parameters is None:
        raise ValueError("no 'parameter_count' in its description")
    if outcome.parameters != expected_parameters:
        raise Mismatch(f"{outcome.parameters} parameters, not {expected_parameters}")
    expected = recording.tensor("output")
    if outcome.output.shape != expected.shape:
        raise Mismatch(f"shape {tuple(outcome.output.shape)}, not {tuple(expected.shape)}")
    if not bool(torch.isfinite(outcome.output).all()):
        raise Mismatch("the output holds nan or infinity")
    found = differences(outcome.output, expected)
    # "why" is a text about bounds that are wide.
    bounds = {name: b for name, b in recording.meta["tolerance"].items() if name != "why"}
    if not bounds:
        raise ValueError("it states no tolerance")
    for name, bound in bounds.items():
        if name not in found:
            raise ValueError(f"tolerance {name!r} is not understood")
        good = found[name] >= bound if name.startswith("fraction") else found[name] <= bound
        if not good:
            raise Mismatch(f"{name} {found[name]:.2e}, allowed {bound:g}")
    within = "fraction_within_1e_3"
    share = f"{100 * found[within]:.2f} % within 1e-3, " if within in bounds else ""
    return f"max {found['max_abs']:.1e}, {share}{outcome.parameters:,} parameters"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", type=Path, help="folder with recordings (.npz)")
    parser.add_argument("--only", default="", help="take the files whose names start so")
    options = parser.parse_args(arguments)
    paths = sorted(options.folder.glob(f"{options.only}*.npz"))
    if not paths:
        print(f"no {options.only}*.npz in {options.folder}", file=sys.stderr)
        return 2

    width = max(len(path.stem) for path in paths)
    passed = 0
    for path in paths:
        try:
            line = f"ok      {check(read_recording(path))}"
            passed += 1
        except Mismatch as error:
            line = f"FAILED  {error}"
        # The border of the program: whatever is wrong with one file, the others are still checked.
        except Exception as error:
            line = f"FAILED  {type(error).__name__}: {error}"
        print(f"{path.stem:<{width}}  {line}", flush=True)
    failed = len(paths) - passed
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
