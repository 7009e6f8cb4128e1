"""ConvFormer and AMPose beside a plain sequence of the operations that their papers describe.

    python benchmarks/baseline_unpublished.py [--rounds 15]

No code of theirs was published, so the baselines follow the descriptions: ConvFormer's
convolutions one by one with their outputs mixed, each frame mapped to a pose before the sum over
frames; AMPose's classes of neighbours one by one. Both use the weights of our network and must give
its output. One thread, eager float32, batch 1, the two taking turns; CPU time.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from lithepose.lifters import create_lifter
from lithepose.lifters.ampose import GraphBlock
from lithepose.lifters.convformer import MixedConvolution


def plain_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    scores = torch.matmul(q, k.transpose(-1, -2)) * q.shape[-1] ** -0.5
    return torch.matmul(torch.softmax(scores, dim=-1), v)


def plain_mlp(mlp: Any, x: Tensor) -> Tensor:
    return mlp.contract(functional.gelu(mlp.expand(x)))


def mixed_outputs(layer: MixedConvolution, x: Tensor) -> list[Tensor]:
    """Queries, keys and values of (B, C, L), each the mixture of every kernel's output."""
    assert layer.mixture is not None
    shares = torch.softmax(layer.mixture, dim=-1)
    parts = []
    for part in range(3):
        total = torch.zeros_like(x)
        for i, (weight, bias) in enumerate(zip(layer.weights, layer.biases, strict=True)):
            own, constant = weight.chunk(3)[part], bias.chunk(3)[part]
            total = total + shares[part, i] * functional.conv1d(
                x, own, constant, padding=weight.shape[-1] // 2
            )
        parts.append(total)
    return parts


def convformer(model: Any, clip: Tensor) -> Tensor:
    batch, frames, joints, _ = clip.shape
    x = model.embed(clip.reshape(batch * frames, joints, -1)) + model.spatial_position
    for block in model.spatial_blocks:
        heads = block.attention.heads
        parts = mixed_outputs(block.attention.qkv, block.attention_norm(x).permute(0, 2, 1))
        q, k, v = (p.reshape(len(p), heads, -1, joints).permute(0, 1, 3, 2) for p in parts)
        mixed = plain_attention(q, k, v).permute(0, 2, 1, 3).reshape(x.shape)
        x = x + block.attention.project(mixed)
        x = x + plain_mlp(block.mlp, block.mlp_norm(x))
    x = x.reshape(batch, frames, -1) + model.temporal_position
    for block in model.temporal_blocks:
        heads = block.attention.heads
        parts = mixed_outputs(block.attention.qkv, block.attention_norm(x))
        q, k, v = (p.reshape(batch, frames, heads, -1).permute(0, 2, 1, 3) for p in parts)
        mixed = plain_attention(q, k, v).permute(0, 1, 3, 2).reshape(batch, -1, frames)
        x = x + block.attention.project(mixed).permute(0, 2, 1)
        x = x + plain_mlp(block.mlp, block.mlp_norm(x))
    poses = model.head.pose(x)  # (B, T, 3J)
    return model.head.over_frames(poses.permute(0, 2, 1)).reshape(batch, 1, joints, 3)


def ampose(model: Any, clip: Tensor) -> Tensor:
    x = model.embed(clip.reshape(-1, *clip.shape[2:]))
    if model.joint_embedding is not None:
        x = x + model.joint_embedding
    for block in model.blocks:
        if isinstance(block, GraphBlock):
            y = x
            layers: Any = block.layers
            for layer in layers:
                convolution = layer.convolution
                weights = convolution.transform.weight.chunk(convolution.classes)
                biases = convolution.transform.bias.chunk(convolution.classes)
                total = torch.zeros_like(y)
                for i, (weight, bias) in enumerate(zip(weights, biases, strict=True)):
                    matrix = convolution.matrices[i]
                    if convolution.edge_scale is not None:
                        matrix = matrix * convolution.edge_scale[i]
                    message = functional.linear(y, weight, bias)
                    total = total + torch.matmul(matrix.transpose(0, 1), message)
                batch, joints, dim = total.shape
                y = layer.norm(total.reshape(-1, dim)).reshape(batch, joints, dim)
                y = layer.activation(y)
            x = x + y
            continue
        batch, joints, dim = x.shape
        heads = block.attention.heads
        qkv = block.attention.qkv(block.attention_norm(x))
        q, k, v = qkv.reshape(batch, joints, 3, heads, -1).permute(2, 0, 3, 1, 4)
        mixed = plain_attention(q, k, v).permute(0, 2, 1, 3).reshape(x.shape)
        x = x + block.attention.project(mixed)
        x = x + plain_mlp(block.mlp, block.mlp_norm(x))
    return model.head(model.head_norm(x)).reshape(*clip.shape[:2], 17, 3)


CASES: dict[str, Callable] = {
    "convformer-27": convformer,
    "convformer-81": convformer,
    "ampose-s": ampose,
    "ampose": ampose,
}


def main() -> None:
    parser = argparse.ArgumentParser(description="Time ConvFormer and AMPose beside baselines.")
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    print("| network | baseline, CPU ms, median (min) | ours | ratio of medians | difference |")
    print("|---|--:|--:|--:|--:|")
    for name, baseline in CASES.items():
        torch.manual_seed(1)
        model: Any = create_lifter(name).eval()
        clip = torch.randn(1, model.config.frames, 17, model.config.in_channels)
        with torch.no_grad():
            difference = float((baseline(model, clip) - model(clip)).abs().max())
            if difference > 1e-4:
                raise SystemExit(f"{name}: the baseline gives another output, by {difference:.1e}")
            times: tuple[list[float], list[float]] = ([], [])
            for turn in range(rounds + 2):
                for which in (0, 1) if turn % 2 else (1, 0):
                    begin = time.process_time()
                    for _ in range(5):
                        baseline(model, clip) if which == 0 else model(clip)
                    if turn >= 2:
                        times[which].append((time.process_time() - begin) / 5 * 1000)
        plain, ours = (statistics.median(t) for t in times)
        print(
            f"| `{name}` | {plain:.1f} ({min(times[0]):.1f}) | {ours:.1f} ({min(times[1]):.1f}) "
            f"| {plain / ours:.2f} | {difference:.0e} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
