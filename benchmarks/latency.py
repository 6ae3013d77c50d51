"""Round trips through two daemons at four intervals, and what a ping costs them: two C tincds, two pytincds.

    .venv/bin/python benchmarks/latency.py [--pairs PAIR,...] [--rounds N] [--pings N]

The pairs run at the same time and take turns. A ping passes four times through a daemon (out and in at each
end), so the CPU time of a pass is a quarter of what both daemons used for a ping. Only ratios within one run
count (docs/performance.md).
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from statistics import median
from typing import Final

from comparison.figures import BASE, percentile
from comparison.machine import ticks
from comparison.tunnels import Pair, build
from pytinc.lab.namespaces import Lab, LabError
from pytinc.lab.privileges import ensure_root
from pytinc.lab.traffic import ping_times

INTERVALS_S: Final = (0.2, 0.02, 0.002, 0.0005)
PASSES: Final = 4
MICROSECONDS: Final = 1e6 / os.sysconf("SC_CLK_TCK")


def cpu_time(pair: Pair) -> float:
    """Return the microseconds of CPU that the daemons of a pair have used."""
    return MICROSECONDS * ticks(pair.pids())


def measure(pair: Pair, interval: float, pings: int) -> tuple[float, float]:
    """Return the median round trip in milliseconds, and the microseconds of CPU for a pass."""
    before = cpu_time(pair)
    times = list(ping_times(pair.client, pair.address, pings, interval=interval).times_ms.values())
    if not times:
        raise LabError(f"{pair.name}: no ping was answered")
    return percentile(times, 50), (cpu_time(pair) - before) / len(times) / PASSES


def run(names: Sequence[str], rounds: int, pings: int) -> None:
    """Measure, and print a table of the medians over the rounds."""
    with Lab() as lab:
        pairs: list[Pair] = []
        for built in build(lab, names):
            if not isinstance(built, Pair):
                raise LabError(": ".join(built))
            pairs.append(built)
        print(f"| interval | {' | '.join(f'{name}: p50, CPU of a pass | ratio' for name in names)} |")
        print(f"|---{'|---|---' * len(names)}|")
        for interval in INTERVALS_S:
            count = max(min(pings, int(10 / interval)), 20)
            figures: dict[str, list[tuple[float, float]]] = {pair.name: [] for pair in pairs}
            for number in range(rounds):
                for pair in pairs if number % 2 == 0 else reversed(pairs):
                    figures[pair.name].append(measure(pair, interval, count))
            base = figures[pairs[0].name]
            cells = []
            for name in names:
                trip, cpu = (median(each) for each in zip(*figures[name], strict=True))
                ratio = median(one[0] / other[0] for one, other in zip(figures[name], base, strict=True))
                cells.append(f"{trip:.3f} ms, {cpu:.0f} µs | {ratio:.2f}")
            print(f"| {interval * 1000:g} ms | {' | '.join(cells)} |", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Measure round trips through two daemons.")
    parser.add_argument("--pairs", type=lambda text: text.split(","), default=[BASE, "py-py"])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--pings", type=int, default=2000, help="pings of a measurement, at most")
    options = parser.parse_args(arguments)
    try:
        ensure_root([sys.executable, __file__, *arguments])
        run(options.pairs, options.rounds, options.pings)
    except LabError as error:
        print(f"latency: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
