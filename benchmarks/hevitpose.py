"""Cost of HEViTPose beside HRNet-W32's: parameters, operations, and time on this CPU.

    python benchmarks/hevitpose.py [--seconds 6] [--rounds 3] [--out FILE.md]

HRNet-W32 is that of timm, with the head of the pose network: the last fusion gives the finest map
only, and a 1x1 convolution makes the heatmaps. Needs timm, and the torchvision that belongs to this
PyTorch. All networks have random weights, take a crop of 256x256 and give 16 joints; both are
exported with their batch normalisation folded into the convolutions and run by ONNX Runtime on one
thread. The networks take turns, so that other work on the machine meets all of them alike.
"""

from __future__ import annotations

import argparse
import datetime
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from lithepose.deploy.cost import MMCV, Cost, count_cost
from lithepose.deploy.export import export_pose_network
from lithepose.deploy.latency import machine
from lithepose.detect.sizes import create_pose_network
from lithepose.onnx import OnnxModel, onnx_runtime

JOINTS, SIDE = 16, 256
BATCHES = (1, 8)
NAMES = ("hevitpose-t-mpii", "hevitpose-s-mpii", "hevitpose-b-mpii")
# What the authors print of HRNet-W32, and of HEViTPose-B against it.
PRINTED_PARAMETERS, PRINTED_GFLOPS = 28.02, 9.85
PRINTED_FEWER = {"parameters": 62.1, "operations": 43.4}


class HRNetPose(nn.Module):
    """HRNet-W32 as the pose network is: (B, 3, H, W) to (B, joints, H / 4, W / 4)."""

    def __init__(self) -> None:
        super().__init__()
        import timm  # pyright: ignore[reportMissingImports]

        # Without the wider maps of the classifier; of the four resolutions, the finest is given.
        features: Any = timm.create_model(
            "hrnet_w32", features_only=True, feature_location="", out_indices=(1,)
        )
        last = features.stage4[-1]
        last.fuse_layers = last.fuse_layers[:1]
        self.features = features
        self.heatmaps = nn.Conv2d(32, JOINTS, 1)

    def forward(self, images: Tensor) -> Tensor:
        return self.heatmaps(self.features(images)[0])


@dataclass(kw_only=True)
class Measured:
    """A network, its counts of one crop, and the seconds of each call by batch size.

    CPU seconds leave out the time in which other processes had the core.
    """

    name: str
    cost: Cost
    run: OnnxModel
    wall: dict[int, list[float]] = field(default_factory=lambda: {batch: [] for batch in BATCHES})
    cpu: dict[int, list[float]] = field(default_factory=lambda: {batch: [] for batch in BATCHES})

    @property
    def operations(self) -> int:
        assert MMCV.operations is not None
        return MMCV.operations(self.cost)

    def time(self, batch: int, seconds: float) -> None:
        images = np.random.default_rng(0).normal(size=(batch, 3, SIDE, SIDE)).astype(np.float32)
        self.run(images)
        end = time.perf_counter() + seconds
        while time.perf_counter() < end:
            wall, cpu = time.perf_counter(), time.process_time()
            self.run(images)
            self.cpu[batch].append(time.process_time() - cpu)
            self.wall[batch].append(time.perf_counter() - wall)


def export_plainly(model: nn.Module, path: Path) -> None:
    """By PyTorch's exporter, whose own optimiser and ONNX Runtime fold the normalisation."""
    program = torch.onnx.export(
        model.eval(),
        (torch.zeros(2, 3, SIDE, SIDE),),
        input_names=["images"],
        output_names=["heatmaps"],
        dynamo=True,
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        verbose=False,
    )
    assert program is not None
    program.save(path)


def prepare(folder: Path) -> list[Measured]:
    found = []
    for name in NAMES:
        model = create_pose_network(name)
        path = folder / f"{name}.onnx"
        export_pose_network(model, path, torch.randn(2, 3, SIDE, SIDE))
        cost = count_cost(model, (3, SIDE, SIDE))
        found.append(Measured(name=name, cost=cost, run=OnnxModel(path)))
    model, path = HRNetPose(), folder / "hrnet-w32.onnx"
    export_plainly(model, path)
    cost = count_cost(model, (3, SIDE, SIDE))
    return [*found, Measured(name="HRNet-W32 (timm)", cost=cost, run=OnnxModel(path))]


def to_markdown(found: list[Measured]) -> str:
    lines = [
        "| network | parameters | MACs | as MMCV counts "
        + "".join(f"| batch {batch}: CPU ms a crop, min, median | ratio " for batch in BATCHES)
        + "|",
        "|---|---|---|---|" + "---|---|" * len(BATCHES),
    ]
    hrnet = found[-1]
    for row in found:
        line = f"| {row.name} | {row.cost.parameters:,} | {row.cost.macs / 1e9:.3f} G "
        line += f"| {row.operations / 1e9:.3f} GFLOPs "
        for batch in BATCHES:
            ms = [1000 * s / batch for s in row.cpu[batch]]
            line += f"| {min(ms):.1f}, {statistics.median(ms):.1f} "
            line += f"| {min(hrnet.cpu[batch]) / min(row.cpu[batch]):.2f} "
        lines.append(line + "|")
    big = found[-2]

    def fewer(ours: float, theirs: float) -> str:
        return f"{100 * (1 - ours / theirs):.1f} %"

    lines += [
        "",
        f"B against HRNet-W32: {fewer(big.cost.parameters, hrnet.cost.parameters)} fewer "
        f"parameters (printed {PRINTED_FEWER['parameters']} %), "
        f"{fewer(big.operations, hrnet.operations)} fewer operations as MMCV counts (printed "
        f"{PRINTED_FEWER['operations']} %), {fewer(big.cost.macs, hrnet.cost.macs)} fewer MACs. "
        f"With the {PRINTED_PARAMETERS} M and {PRINTED_GFLOPS} G that the authors print of "
        f"HRNet-W32: {fewer(big.cost.parameters, PRINTED_PARAMETERS * 1e6)} and "
        f"{fewer(big.operations, PRINTED_GFLOPS * 1e9)}.",
        "",
        f"Ratio: HRNet-W32's least time by the network's. {machine()}; ONNX Runtime "
        f"{onnx_runtime().__version__}, 1 thread; {datetime.date.today()}.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=6.0, help="per network and batch size")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each network")
    parser.add_argument("--out", type=Path, help="write there as well")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        found = prepare(Path(folder))
        for _ in range(options.rounds):
            for batch in BATCHES:
                for row in found:
                    row.time(batch, options.seconds / options.rounds)
    text = to_markdown(found)
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
