"""Record what the lifters of the table cost, and measure them.

    python benchmarks/profiles.py --sizes
    python benchmarks/profiles.py [NAME ...] [--threads 1] [--seconds 2] [--out FILE]

With `--sizes`, parameters and multiply-adds of every lifter are written to
`src/lithepose/lifters/sizes.json`, which `lithepose models table` prints. Otherwise the named
lifters, or all, are profiled one by one, each in a process of its own, so that the peak memory of
one is not that of another, and printed as Markdown (or written, as Markdown or JSON).
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from lithepose.deploy.cost import lifter_cost
from lithepose.deploy.report import profile_network, to_markdown, write_profiles
from lithepose.lifters import LIFTERS
from lithepose.lifters.default import SHIPPED

SIZES = Path(__file__).resolve().parents[1] / "src" / "lithepose" / "lifters" / "sizes.json"


def record_sizes() -> None:
    rows = []
    for name in (SHIPPED, *LIFTERS):
        cost = lifter_cost(name)
        numbers = json.dumps({"parameters": cost.parameters, "macs": cost.macs})
        rows.append(f"  {json.dumps(name)}: {numbers}")
    SIZES.write_text("{\n" + ",\n".join(rows) + "\n}\n", encoding="utf-8")
    print(f"{len(rows)} sizes in {SIZES}")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help="lifters; all by default")
    parser.add_argument("--sizes", action="store_true", help="write the recorded sizes, no more")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=2.0, help="of measuring, per lifter")
    parser.add_argument("--out", type=Path, help="a file, .md or .json")
    options = parser.parse_args(arguments)
    if options.sizes:
        record_sizes()
        return 0
    run = partial(profile_network, threads=options.threads, seconds=options.seconds)
    profiles = []
    with get_context("spawn").Pool(1, maxtasksperchild=1) as pool:
        for profile in pool.imap(run, options.names or list(LIFTERS)):
            profiles.append(profile)
            print(profile.name, flush=True, file=sys.stderr)
    if options.out:
        write_profiles(options.out, profiles)
    else:
        print(to_markdown(profiles))
    return 0


if __name__ == "__main__":
    sys.exit(main())
