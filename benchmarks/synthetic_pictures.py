"""How fast synthetic training pictures are drawn, and what they look like.

    python benchmarks/synthetic_pictures.py --motions mocap/cmu17_train.npz \
        --sheet docs/pictures/synthetic_pictures.jpg
    python benchmarks/synthetic_pictures.py --device cuda --batch 256

Times the drawing of numbers (worker processes do that) and of pictures apart, after a first batch
that is not counted: processor time of one thread, or on a GPU the time that passes. The sheet shows
pictures as a network sees them above, and below the same ones with their joints: green where seen,
red where hidden.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import cv2
import numpy as np
import torch
from torch import Tensor

from lithepose.skeletons import SKELETONS
from lithepose.synthetic.crops import crops_from
from lithepose.synthetic.figure_bank import build_bank
from lithepose.synthetic.render import VISIBLE, open_assets, render

COLUMNS, ROWS, CELL = 9, 3, 128  # of the sheet: pictures across and down, pixels of each


def drawn_joints(picture: np.ndarray, joints: np.ndarray, visible: np.ndarray) -> np.ndarray:
    """A picture (H, W, 3) with its limbs and joints in COCO's order."""
    out = picture.copy()
    for start, end in SKELETONS["coco17"].limbs:
        if visible[start] and visible[end]:
            first, last = (np.round(16 * (joints[i] - 0.5)).astype(int).tolist()
                           for i in (start, end))  # fmt: skip
            cv2.line(out, first, last, (255, 220, 0), 1, cv2.LINE_AA, 4)
    for at, seen in zip(joints, visible, strict=True):
        if seen:
            colour = (0, 220, 0) if seen == VISIBLE else (230, 30, 30)
            centre = np.round(16 * (at - 0.5)).astype(int).tolist()
            cv2.circle(out, centre, 32, colour, -1, cv2.LINE_AA, 4)
    return out


def write_sheet(path: Path, images: Tensor, joints: Tensor, visible: Tensor) -> None:
    pictures = (255 * images.permute(0, 2, 3, 1)).round().byte().cpu().numpy()
    cells = [(p, drawn_joints(p, j, v)) for p, j, v in
             zip(pictures, joints.cpu().numpy(), visible.cpu().numpy(), strict=True)]  # fmt: skip
    rows = []
    for row in range(ROWS):
        here = cells[row * COLUMNS : (row + 1) * COLUMNS]
        for kind in (0, 1):
            small = [
                cv2.resize(cell[kind], (CELL, CELL), interpolation=cv2.INTER_AREA) for cell in here
            ]
            rows.append(np.concatenate(small, axis=1))
    sheet = cv2.cvtColor(np.concatenate(rows), cv2.COLOR_RGB2BGR)
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), sheet, [cv2.IMWRITE_JPEG_QUALITY, 82])


def main() -> None:
    parser = argparse.ArgumentParser(description="Speed and looks of synthetic pictures.")
    parser.add_argument("--motions", type=Path, help="a motion file; without it poses are made")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--figures", type=int, default=32, help="people")
    parser.add_argument("--backdrops", type=int, default=48)
    parser.add_argument("--batch", type=int, default=16, help="pictures")
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--processes", type=int, default=1, help="that build the people")
    parser.add_argument("--seed", type=int, default=4)
    parser.add_argument("--sheet", type=Path, help="write a sheet of pictures (.jpg)")
    args = parser.parse_args()
    torch.set_num_threads(1)
    device = torch.device(args.device)

    def waited() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
            return time.perf_counter()
        return time.process_time()  # of this process alone, whatever else runs

    start = waited()
    bank = build_bank(args.figures, 1, processes=args.processes)
    print(f"people: {(waited() - start) / args.figures:.2f} s each")
    start = waited()
    assets = open_assets(bank, device, backdrops=args.backdrops)
    print(f"backdrops: {(waited() - start) / args.backdrops:.3f} s each")
    crops = crops_from(bank, motions=args.motions, made=2000, seed=1)

    def draw(count: int, seed: int) -> dict[str, Tensor]:
        numbers = crops.draw(np.arange(count), np.random.default_rng(seed))
        return {name: torch.from_numpy(value).to(device) for name, value in numbers.items()}

    draw(64, 0)
    start = waited()
    draw(64, 1)
    print(f"numbers: {64 / (waited() - start):.0f} pictures/s in one process")
    batch = draw(args.batch, 2)
    generator = torch.Generator(device=device).manual_seed(args.seed)
    render(assets, batch, generator)
    start = waited()
    for _ in range(args.batches):
        render(assets, batch, generator)
    speed = args.batch * args.batches / (waited() - start)
    print(f"pictures: {speed:.1f} pictures/s of 256 x 256 on {device}")
    if device.type == "cuda":
        print(f"memory: {torch.cuda.max_memory_allocated() / 2**30:.1f} GiB at most")
    if args.sheet:
        batch = draw(COLUMNS * ROWS, args.seed)
        write_sheet(args.sheet, *render(assets, batch, generator))
        print(args.sheet)


if __name__ == "__main__":
    main()
