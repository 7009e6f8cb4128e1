"""How much faster NanoHTNet runs here than its published sequence of operations.

    python benchmarks/baseline_nanohtnet.py [--frames 243] [--kept 9] [--rounds 20] [--onnx]

The baseline below does every step of the published network as one eager PyTorch operation after
another: the transform by FFT, two products per graph convolution with the adjacency symmetrised at
each call, limbs as strided convolutions over gathered joints, joints written back one by one. Its
tensors have the authors' names, and the program first checks that all networks give the same
poses. Times are of one window, with the networks taking turns, so that a busy machine is unfair to
none of them. `--onnx` adds the exported network in ONNX Runtime.
"""

from __future__ import annotations

import argparse
import math
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from lithepose.lifters import convert_state_dict, create_lifter
from lithepose.lifters.folded import fold

JOINTS = 17
HIDDEN = 384  # of the graph convolutions
HEADS = 8
WARM_UP, CALLS = 10, 20  # of a turn
BONES = [(0, 1), (1, 2), (2, 3), (0, 4), (4, 5), (5, 6), (0, 7), (7, 8), (8, 9), (9, 10)]
BONES += [(8, 11), (11, 12), (12, 13), (8, 14), (14, 15), (15, 16)]
LIMBS = [(1, 2, 3), (4, 5, 6), (11, 12, 13), (14, 15, 16)]


def joint_graph() -> Tensor:
    """Bones, each row divided by its number of neighbours, and ones on the diagonal. (17, 17)."""
    graph = torch.zeros(JOINTS, JOINTS)
    for a, b in BONES:
        graph[a, b] = graph[b, a] = 1.0
    graph = graph / graph.sum(1, keepdim=True)
    graph.fill_diagonal_(1.0)
    return graph


def frequency_graph(kept: int) -> Tensor:
    """Ones on the diagonal and beside it. (kept, kept)."""
    return torch.ones(kept, kept).tril(1).triu(-1)


def dct_by_fft(series: Tensor) -> Tensor:
    """The DCT-II along the last axis, with the factor 2 and no scaling, by one FFT."""
    length = series.shape[-1]
    flat = series.reshape(-1, length)
    reordered = torch.cat([flat[:, ::2], flat[:, 1::2].flip(1)], dim=1)
    spectrum = torch.view_as_real(torch.fft.fft(reordered, dim=1))
    angle = -torch.arange(length, dtype=series.dtype)[None, :] * math.pi / (2 * length)
    result = spectrum[:, :, 0] * torch.cos(angle) - spectrum[:, :, 1] * torch.sin(angle)
    return 2 * result.view(series.shape)


class GraphConvolution(nn.Module):
    def __init__(self, in_dim: int, out_dim: int, graph: Tensor):
        super().__init__()
        self.graph = graph
        self.W = nn.Parameter(torch.empty(2, in_dim, out_dim))
        self.M = nn.Parameter(torch.empty(len(graph), out_dim))
        self.adj2 = nn.Parameter(torch.empty_like(graph))
        self.bias = nn.Parameter(torch.empty(out_dim))

    def forward(self, x: Tensor) -> Tensor:
        own = torch.matmul(x, self.W[0])
        sent = torch.matmul(x, self.W[1])
        graph = self.graph + self.adj2
        graph = (graph.T + graph) / 2
        diagonal = torch.eye(len(graph))
        mixed = torch.matmul(graph * diagonal, self.M * own)
        mixed = mixed + torch.matmul(graph * (1 - diagonal), self.M * sent)
        return mixed + self.bias.view(1, 1, -1)


class JointLevel(nn.Module):
    def __init__(self, dim: int, graph: Tensor):
        super().__init__()
        self.norm_gcn1 = nn.LayerNorm(dim)
        self.gcn1 = GraphConvolution(dim, HIDDEN, graph)
        self.act = nn.GELU()
        self.gcn2 = GraphConvolution(HIDDEN, dim, graph)
        self.norm_gcn2 = nn.LayerNorm(dim)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        branch = self.gcn2(self.act(self.gcn1(self.norm_gcn1(x))))
        return x + self.drop_path(self.norm_gcn2(branch))


class TwoLayers(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.fc1 = nn.Linear(dim, hidden)
        self.act = nn.GELU()
        self.fc2 = nn.Linear(hidden, dim)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.drop(self.act(self.fc1(x)))
        return self.drop(self.fc2(x))


class PartLevel(nn.Module):
    def __init__(self, dim: int, hidden: int):
        super().__init__()
        self.norm_conv1 = nn.LayerNorm(dim)
        self.conv1 = nn.Conv1d(dim, dim, kernel_size=3, stride=3)
        self.norm_conv1_mlp = nn.LayerNorm(dim)
        self.mlp_down_1 = TwoLayers(dim, hidden)
        self.norm_conv2 = nn.LayerNorm(dim)
        self.conv2 = nn.Conv1d(dim, dim, kernel_size=2, stride=2)
        self.norm_conv2_mlp = nn.LayerNorm(dim)
        self.mlp_down_2 = TwoLayers(dim, hidden)
        self.act = nn.GELU()
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor, joint: Tensor) -> Tensor:
        x = x + joint
        three = self.norm_conv1(x)
        gathered = three[:, [j for limb in LIMBS for j in limb]].transpose(1, 2)
        limbs = self.drop_path(self.act(self.conv1(gathered))).transpose(1, 2)
        limbs = limbs + self.drop_path(self.mlp_down_1(self.norm_conv1_mlp(limbs)))
        three = three.clone()
        for number, (_, middle, end) in enumerate(LIMBS):
            three[:, middle] = limbs[:, number]
            three[:, end] = limbs[:, number]
        two = self.norm_conv2(x)
        gathered = two[:, [j for limb in LIMBS for j in limb[1:]]].transpose(1, 2)
        limbs = self.drop_path(self.act(self.conv2(gathered))).transpose(1, 2)
        limbs = limbs + self.drop_path(self.mlp_down_2(self.norm_conv2_mlp(limbs)))
        two = two.clone()
        for number, (_, _, end) in enumerate(LIMBS):
            two[:, end] = limbs[:, number]
        return x + three + two


class SelfAttention(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.scale = (dim // HEADS) ** -0.5
        self.qkv = nn.Linear(dim, 3 * dim)
        self.attn_drop = nn.Dropout(0.0)
        self.proj = nn.Linear(dim, dim)
        self.proj_drop = nn.Dropout(0.1)

    def forward(self, x: Tensor) -> Tensor:
        clips, tokens, dim = x.shape
        qkv = self.qkv(x).reshape(clips, tokens, 3, HEADS, dim // HEADS).permute(2, 0, 3, 1, 4)
        q, k, v = qkv[0], qkv[1], qkv[2]
        weights = (q @ k.transpose(-2, -1)) * self.scale
        weights = self.attn_drop(weights.softmax(dim=-1))
        mixed = (weights @ v).transpose(1, 2).reshape(clips, tokens, dim)
        return self.proj_drop(self.proj(mixed))


class BodyLevel(nn.Module):
    def __init__(self, dim: int):
        super().__init__()
        self.norm_attn = nn.LayerNorm(dim)
        self.attn = SelfAttention(dim)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor, below: Tensor) -> Tensor:
        x = x + below
        return x + self.drop_path(self.attn(self.norm_attn(x)))


class SpatialBlock(nn.Module):
    def __init__(self, dim: int, hidden: int, graph: Tensor):
        super().__init__()
        self.lgc = JointLevel(dim // 3, graph)
        self.ipc = PartLevel(dim // 3, hidden)
        self.gbi = BodyLevel(dim // 3)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = TwoLayers(dim, hidden)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        joint, part, body = torch.split(x, x.shape[-1] // 3, dim=-1)
        joint = self.lgc(joint)
        part = self.ipc(part, joint)
        body = self.gbi(body, part)
        x = torch.cat([joint, part, body], dim=-1)
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class TemporalBlock(nn.Module):
    def __init__(self, dim: int, hidden: int, graph: Tensor):
        super().__init__()
        self.lgc = JointLevel(dim // 2, graph)
        self.gbi = BodyLevel(dim // 2)
        self.norm_mlp = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = TwoLayers(dim, hidden)
        self.drop_path = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        local, whole = torch.split(x, x.shape[-1] // 2, dim=-1)
        local = self.lgc(local)
        whole = self.gbi(whole, local)
        x = torch.cat([local, whole], dim=-1)
        return x + self.drop_path(self.mlp(self.norm_mlp(x)))


class Stream(nn.Module):
    def __init__(self, blocks: list[nn.Module], dim: int):
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.Temporal_norm = nn.LayerNorm(dim, eps=1e-6)

    def forward(self, x: Tensor) -> Tensor:
        for block in self.blocks:
            x = block(x)
        return self.Temporal_norm(x)


class Baseline(nn.Module):
    """The published network with the authors' tensor names: (B, F, 17, 2) to (B, K, 17, 3)."""

    def __init__(
        self,
        frames: int = 243,
        kept: int = 9,
        layers: int = 3,
        dim: int = 240,
        hidden: int = 256,
        features: int = 8,
    ):
        super().__init__()
        self.kept, self.features = kept, features
        self.tem_pos_embed = nn.Parameter(torch.empty(1, kept, dim))
        self.pos_embed = nn.Parameter(torch.empty(1, JOINTS, dim))
        self.tem_patch_embed = nn.Linear(2 * JOINTS, dim)
        temporal = [TemporalBlock(dim, hidden, frequency_graph(kept)) for _ in range(layers)]
        self.tem_Transformer = Stream(list(temporal), dim)
        self.fcn_tem = nn.Linear(dim, JOINTS * features)
        self.patch_embed = nn.Linear(2 * frames, dim)
        spatial = [SpatialBlock(dim, hidden, joint_graph()) for _ in range(layers)]
        self.Transformer = Stream(list(spatial), dim)
        self.fcn_spa = nn.Linear(dim, kept * features)
        self.fc = nn.Linear(2 * features, 3)

    def forward(self, x: Tensor) -> Tensor:
        clips, frames = x.shape[:2]
        series = x.permute(0, 2, 3, 1)  # (B, 17, 2, F)
        low = dct_by_fft(series)[..., : self.kept]
        low = low.permute(0, 3, 1, 2).reshape(clips, self.kept, 2 * JOINTS)
        temporal = self.tem_patch_embed(low) + self.tem_pos_embed
        temporal = self.fcn_tem(self.tem_Transformer(temporal))
        temporal = temporal.reshape(clips, self.kept, JOINTS, self.features)
        spatial = x.permute(0, 2, 1, 3).reshape(clips, JOINTS, 2 * frames)
        spatial = self.patch_embed(spatial) + self.pos_embed
        spatial = self.fcn_spa(self.Transformer(spatial))
        spatial = spatial.reshape(clips, JOINTS, self.kept, self.features).permute(0, 2, 1, 3)
        return self.fc(torch.cat([spatial, temporal], dim=-1))


def seeded_baseline(frames: int, kept: int) -> Baseline:
    """The baseline with random weights that keep activations of order one."""
    generator = torch.Generator().manual_seed(1)
    model = Baseline(frames, kept).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            values = torch.rand(parameter.shape, generator=generator) * 2 - 1
            if name.endswith("weight") and parameter.dim() == 1:
                values = 1 + 0.2 * values
            elif parameter.dim() > 1:
                fan_in = parameter.shape[-2] if name.endswith("W") else parameter[0].numel()
                values = values * math.sqrt(3 / fan_in)
            else:
                values = values * 0.1
            parameter.copy_(values)
    return model


def in_onnx_runtime(model: nn.Module, frames: int) -> Callable[[Tensor], Tensor]:
    from lithepose.deploy.export import export_onnx
    from lithepose.onnx import OnnxModel

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "nanohtnet.onnx"
        export_onnx(model, path, torch.randn(2, frames, JOINTS, 2), half_weights=False)
        exported = OnnxModel(path)
    return lambda clip: torch.from_numpy(exported(clip.numpy()))


def take_turns(
    runs: dict[str, Callable[[Tensor], Tensor]], clip: Tensor, rounds: int
) -> dict[str, list[float]]:
    """CPU milliseconds of each call, the networks taking turns of `CALLS` calls."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    with torch.inference_mode():
        for _ in range(rounds):
            for name, run in runs.items():
                for call in range(WARM_UP + CALLS):
                    start = time.process_time_ns()
                    run(clip)
                    if call >= WARM_UP:  # the first calls bring the weights back into the cache
                        times[name].append((time.process_time_ns() - start) / 1e6)
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--frames", type=int, default=243)
    parser.add_argument("--kept", type=int, default=9)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--onnx", action="store_true", help="time ONNX Runtime as well")
    options = parser.parse_args()
    torch.set_num_threads(1)

    baseline = seeded_baseline(options.frames, options.kept)
    config, state = convert_state_dict(
        "nanohtnet", baseline.state_dict(), frames=options.frames, keep_frames=options.kept
    )
    ours = create_lifter("nanohtnet", **config).eval()
    ours.load_state_dict(state)
    runs: dict[str, Callable[[Tensor], Tensor]] = {
        "baseline": baseline,
        "NanoHTNet": ours,
        "NanoHTNet, folded": fold(ours),
    }

    if options.onnx:
        runs["ONNX Runtime"] = in_onnx_runtime(ours, options.frames)

    clip = torch.randn(1, options.frames, JOINTS, 2, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = baseline(clip)
        for name, run in runs.items():
            difference = (run(clip) - expected).abs().max().item()
            if difference > 1e-4:
                raise SystemExit(f"{name} differs from the baseline by {difference:.2e}")

    times = take_turns(runs, clip, options.rounds)
    load = f"load {os.getloadavg()[0]:.1f}, " if hasattr(os, "getloadavg") else ""
    print(f"{options.frames} frames, {options.kept} kept, batch 1, 1 thread, float32, {load}CPU ms")
    print(f"{'':20}{'min':>8}{'median':>8}   faster (min, median)")
    slowest = times["baseline"]
    for name, found in times.items():
        least, middle = min(found), statistics.median(found)
        gain = f"{min(slowest) / least:.2f}, {statistics.median(slowest) / middle:.2f}"
        print(f"{name:20}{least:8.2f}{middle:8.2f}   {gain}")


if __name__ == "__main__":
    main()
