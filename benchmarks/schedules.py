"""Random schedules of faults for virtual IPs by policy, in the simulator: how often is a rule broken?

    .venv/bin/python benchmarks/schedules.py [--count 10000] [--seed 0] [--jobs 2] [--results DIR]

tests/sim/schedules.py defines schedules and the rules. Each mesh goes through 25 schedules in turn. A
schedule after which a rule is broken for more than a second is printed with all its events; the same seed
repeats it. The script writes schedules.json into benchmarks/results.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from sim.schedules import QUIET, Result, results

OF_ONE_MESH = 25
MOMENTS = (0.0, 0.1, 0.25, 0.5, QUIET)


def run_mesh(seed: int) -> list[Result]:
    return list(results(seed, OF_ONE_MESH))


def summary(found: Iterable[Result]) -> dict[str, object]:
    """Return how many schedules there were, and for how long a rule was broken after each."""
    broken = sorted(result.broken_s for result in found)
    return {
        "schedules": len(broken),
        "settled within": {f"{limit:g} s": sum(each <= limit for each in broken) for limit in MOMENTS},
        "broken for longer": sum(each > QUIET for each in broken),
        "longest, s": round(broken[-1], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=0, help="of the first mesh")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results")
    arguments = parser.parse_args()
    seeds = range(arguments.seed, arguments.seed + -(-arguments.count // OF_ONE_MESH))
    begin, found = time.monotonic(), list[Result]()
    with ProcessPoolExecutor(arguments.jobs) as pool:
        for of_mesh in pool.map(run_mesh, seeds):
            found += of_mesh
            for result in of_mesh:
                if result.broken_s > QUIET:
                    print(
                        f"seed {result.seed}, schedule {result.number}: {result.rule}, "
                        f"for {result.broken_s:.2f} s: {'; '.join(result.story)}",
                        flush=True,
                    )
    told = summary(found) | {"took, s": round(time.monotonic() - begin)}
    print(json.dumps(told, indent=2))
    bad = [asdict(result) for result in found if result.broken_s > QUIET]
    arguments.results.mkdir(parents=True, exist_ok=True)
    text = json.dumps(told | {"broken": bad}, indent=2)
    (arguments.results / "schedules.json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
