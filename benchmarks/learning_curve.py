"""Draw the learning curve of a training run.

python benchmarks/learning_curve.py runs/default/log.csv curve.png      (needs matplotlib)
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

LINES = {
    "mpjpe": ("exact 2D, MPJPE", "C0", "-"),
    "p_mpjpe": ("exact 2D, P-MPJPE", "C0", "--"),
    "noisy_mpjpe": ("with detector noise, MPJPE", "C1", "-"),
    "noisy_p_mpjpe": ("with detector noise, P-MPJPE", "C1", "--"),
}


def main() -> None:
    import matplotlib.pyplot as plt  # pyright: ignore[reportMissingImports]

    parser = argparse.ArgumentParser(description="Draw the learning curve of a training run.")
    parser.add_argument("log", type=Path)
    parser.add_argument("picture", type=Path)
    arguments = parser.parse_args()
    with arguments.log.open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["mpjpe"]]  # where it was validated
    windows = [float(row["examples"]) / 1e6 for row in rows]
    figure, axes = plt.subplots(figsize=(7, 4), dpi=110)
    for name, (label, colour, style) in LINES.items():
        values = [float(row[name]) for row in rows]
        axes.plot(windows, values, color=colour, linestyle=style, marker=".", label=label)
    axes.set(xlabel="windows seen, millions", ylabel="mm, validation subjects", ylim=(20, 75))
    axes.grid(alpha=0.3)
    axes.legend()
    figure.tight_layout()
    figure.savefig(arguments.picture)


if __name__ == "__main__":
    main()
