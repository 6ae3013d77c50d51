"""Round trips through two daemons at four intervals, and the CPU time of a ping: two C tincds, two pytincds.

    .venv/bin/python benchmarks/latency.py [--pairs PAIR,...] [--rounds N] [--pings N]

The pairs run at the same time and take turns. A ping passes four times through a daemon (out and in at each
end), so the CPU time of a pass is a quarter of what both daemons used for a ping. Only ratios within one run
count (docs/performance.md). "Bare Python" is a loop that does nothing but seal and open
(`comparison/bare.py`): no daemon in Python can be faster. `pairs.py` measures the same for all pairs, for a
shorter time; this is for looking again after a change.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from statistics import median
from typing import Final

from comparison.figures import BASE, INTERVALS_MS
from comparison.round_trips import RoundTrips, count_of, round_trips
from comparison.tunnels import BARE, Pair, build
from pytinc.lab.namespaces import Lab, LabError
from pytinc.lab.privileges import ensure_root

SECONDS: Final = 10
"""The longest measurement."""


def run(names: Sequence[str], rounds: int, pings: int) -> None:
    """Measure, and print a table of the medians over the rounds."""
    with Lab() as lab:
        pairs: list[Pair] = []
        for built in build(lab, names):
            if not isinstance(built, Pair):
                raise LabError(": ".join(built))
            pairs.append(built)
        header = (f"{name}: p50, p99, CPU of a pass | ratio of p50" for name in names)
        print(f"| interval | {' | '.join(header)} |")
        print(f"|---{'|---|---' * len(names)}|")
        for interval in INTERVALS_MS:
            count = min(count_of(interval, SECONDS), pings)
            figures: dict[str, list[RoundTrips]] = {pair.name: [] for pair in pairs}
            for number in range(rounds):
                for pair in pairs if number % 2 == 0 else reversed(pairs):
                    trips = round_trips(pair.client, pair.address, interval, count, pair.pids)
                    figures[pair.name].append(trips)
            base = figures[pairs[0].name]
            cells = []
            for name in names:
                p50, p99 = (
                    median(each.p50_ms for each in figures[name]),
                    median(each.p99_ms for each in figures[name]),
                )
                cpu = median(each.cpu_us for each in figures[name])
                ratio = median(
                    one.p50_ms / other.p50_ms for one, other in zip(figures[name], base, strict=True)
                )
                cells.append(f"{p50:.3f} ms, {p99:.3f} ms, {cpu:.0f} µs | {ratio:.2f}")
            print(f"| {interval:g} ms | {' | '.join(cells)} |", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Return the exit status."""
    parser = argparse.ArgumentParser(description="Measure round trips through two daemons.")
    parser.add_argument("--pairs", type=lambda text: text.split(","), default=[BASE, "py-py", BARE])
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
