"""Compare pairs of nodes in network namespaces: two C tincds, two pytincds, mixed ones, other VPNs.

    .venv/bin/python benchmarks/pairs.py [--quick] [--rounds N] [--seconds N] [--only PAIR,...]

Absolute figures of a shared machine vary by half from hour to hour; only ratios within one run count. So all
pairs run at the same time and take turns at every measurement, and each round has its own ratio.
``docs/performance.md`` explains the rows. The report goes to ``benchmarks/results/``.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from comparison.figures import BASE, Results, memory_mib, percentile, share_percent
from comparison.machine import about_process, commit, processor, ticks
from comparison.report import as_json, markdown, plot
from comparison.tunnels import BUILDERS, SPOKES, Pair, build
from pytinc.lab.echo import MIN_SIZE, ping
from pytinc.lab.namespaces import Host, Lab, LabError
from pytinc.lab.privileges import ensure_root
from pytinc.lab.traffic import IPERF_PORT, IperfReport, iperf, ping_times, udp_flood

RESULTS: Final = Path(__file__).parent / "results"
STREAMS: Final = 20
UDP_SIZES: Final = (64, 1390, 1400)
"""Bytes of payload. Over a link of 1,500, tinc carries 1,397 in one frame: 1,400 go as two fragments."""
PING_INTERVAL_S: Final = 0.01
CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")


class Measurement:
    """One run: the pairs, the length of each measurement, and the results."""

    def __init__(self, pairs: list[Pair], rounds: int, seconds: int, notes: list[str]) -> None:
        self.pairs = pairs
        self.rounds = rounds
        self.seconds = seconds
        self.notes = notes
        self.results = Results(rounds, [pair.name for pair in pairs])

    def run(self) -> None:
        """Run all measurements; those that fail are noted and left out."""
        self._take_turns(self.memory_at_rest, self.pairs, 0)
        for number in range(self.rounds):
            for step in (self.idle_ping, self.tcp, self.many_streams, self.loaded_ping, self.udp):
                self._take_turns(step, self.pairs, number)
        self._take_turns(self.memory_peak, self.pairs, 0)
        self.peers()

    def _take_turns(self, step: Callable[[Pair, int], None], pairs: Sequence[Pair], number: int) -> None:
        # Every other round is reversed, so that no pair always follows the same one.
        for pair in pairs if number % 2 == 0 else reversed(pairs):
            try:
                step(pair, number)
            except LabError as error:
                self.notes.append(f"{pair.name}, round {number + 1}: {str(error).splitlines()[0]}")
                print(f"round {number + 1}: {pair.name}: {error}", file=sys.stderr)

    def put(self, row: str, pair: Pair, number: int, figure: float) -> None:
        """Record a figure and print it."""
        self.results.put(row, pair.name, number, figure)
        print(f"round {number + 1}: {pair.name:20} {row:18} {figure:12.2f}", file=sys.stderr)

    def idle_ping(self, pair: Pair, number: int) -> None:
        """Measure pings without other traffic."""
        self._ping(pair, number, "ping_idle")

    def loaded_ping(self, pair: Pair, number: int) -> None:
        """Measure pings during one TCP stream."""
        with ThreadPoolExecutor(1) as workers:
            stream = workers.submit(iperf, pair.client, pair.server, pair.address, self.seconds + 2)
            # By then iperf3 has started.
            time.sleep(1)
            try:
                self._ping(pair, number, "ping_load")
            finally:
                stream.result()

    def _ping(self, pair: Pair, number: int, row: str) -> None:
        count = int(self.seconds / PING_INTERVAL_S)
        report = ping_times(pair.client, pair.address, count, interval=PING_INTERVAL_S)
        times = list(report.times_ms.values())
        if not times:
            raise LabError("no ping was answered")
        for percent in (50, 99):
            self.put(f"{row}_p{percent}", pair, number, percentile(times, percent))

    def tcp(self, pair: Pair, number: int) -> None:
        """Measure one stream in each direction, and the daemons' CPU time for it."""
        before = ticks(pair.pids())
        up = self._stream(pair)
        down = self._stream(pair, reverse=True)
        self.put("tcp_up", pair, number, up.megabits)
        self.put("tcp_down", pair, number, down.megabits)
        gigabytes = (sum(up.intervals) + sum(down.intervals)) / 1e9
        if pair.pids() and gigabytes:
            seconds = (ticks(pair.pids()) - before) / CLOCK_TICKS
            self.put("cpu_per_gb", pair, number, seconds / gigabytes)

    def _stream(self, pair: Pair, *, reverse: bool = False, streams: int = 1) -> IperfReport:
        return iperf(pair.client, pair.server, pair.address, self.seconds, reverse=reverse, streams=streams)

    def many_streams(self, pair: Pair, number: int) -> None:
        """Measure many TCP streams at once, also as a percentage of the one stream of this round."""
        rate = self._stream(pair, streams=STREAMS).megabits
        self.put("tcp_20", pair, number, rate)
        share = share_percent(rate, self.results.get("tcp_up", pair.name)[number])
        if share is not None:
            self.put("tcp_20_share", pair, number, share)

    def udp(self, pair: Pair, number: int) -> None:
        """Measure floods of small and of large packets."""
        for size in UDP_SIZES:
            # The ping learns the path MTU. Without it, the first packet that does not fit ends iperf3 with an
            # error.
            ping(pair.client, pair.address, 2, size=max(size, MIN_SIZE), wait=1)
            report = udp_flood(pair.client, pair.server, pair.address, self.seconds, size)
            self.put(f"udp_{size}", pair, number, report.packets_per_second)
            self.put(f"udp_{size}_loss", pair, number, report.loss_percent)

    def memory_at_rest(self, pair: Pair, number: int) -> None:
        """Return the memory of the larger daemon before any traffic."""
        self._memory(pair, number, "memory_rest", "VmRSS")

    def memory_peak(self, pair: Pair, number: int) -> None:
        """Return the peak memory of the larger daemon."""
        self._memory(pair, number, "memory_load", "VmHWM")

    def _memory(self, pair: Pair, number: int, row: str, name: str) -> None:
        sizes = [memory_mib(about_process(pid, "status"), name) for pid in pair.pids()]
        if sizes:
            self.put(row, pair, number, max(sizes))

    def peers(self) -> None:
        """Measure several clients that send to the server at once, as a percentage of one client alone.

        This comes last, because the additional daemons disturb everything else.
        """
        clients: dict[str, list[Host]] = {}
        for pair in self.pairs:
            try:
                spokes = pair.add_spokes()
            except LabError as error:
                self.notes.append(f"{pair.name}, {SPOKES} peers: {str(error).splitlines()[0]}")
                continue
            if spokes is not None:
                clients[pair.name] = spokes

        def step(pair: Pair, number: int) -> None:
            alone = self._stream(pair).megabits
            with ThreadPoolExecutor(SPOKES) as workers:
                streams = [
                    workers.submit(
                        iperf, client, pair.server, pair.address, self.seconds, port=IPERF_PORT + index
                    )
                    for index, client in enumerate(clients[pair.name])
                ]
                rate = sum(stream.result().megabits for stream in streams)
            self.put("tcp_4_peers", pair, number, rate)
            share = share_percent(rate, alone)
            if share is not None:
                self.put("tcp_4_peers_share", pair, number, share)

        pairs = [pair for pair in self.pairs if pair.name in clients]
        for number in range(self.rounds):
            self._take_turns(step, pairs, number)


def facts(rounds: int, seconds: int) -> dict[str, str]:
    """Return where, when and how long the figures are measured."""
    load = ", ".join(f"{each:.1f}" for each in os.getloadavg())
    return {
        "Date": time.strftime("%Y-%m-%d %H:%M %Z"),
        "Machine": f"{os.cpu_count()} x {processor()}, load before: {load}",
        "System": f"Linux {platform.release()}, Python {platform.python_version()}",
        "pytinc": f"commit {commit() or 'unknown'}",
        "Run": f"{rounds} rounds, {seconds} s each measurement",
    }


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Parse the options; end the program if they are wrong."""
    parser = argparse.ArgumentParser(description="Compare pairs of nodes in network namespaces")
    parser.add_argument("--rounds", type=int, help="how often everything is measured (3)")
    parser.add_argument("--seconds", type=int, help="of each measurement (5)")
    parser.add_argument(
        "--quick", action="store_true", help="one round of two seconds, unless other options say otherwise"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PAIR",
        choices=list(BUILDERS),
        help=f"only this pair and {BASE}; may be given again: {', '.join(BUILDERS)}",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for the report")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else 3)
    options.seconds = options.seconds or (2 if options.quick else 5)
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds start at 1")
    return options


def compare(names: Sequence[str], rounds: int, seconds: int) -> tuple[Results, list[str]]:
    """Build the pairs, measure, and remove everything; return the figures and notes about missing ones."""
    notes: list[str] = []
    with Lab() as lab:
        pairs: list[Pair] = []
        for built in build(lab, names):
            if isinstance(built, Pair):
                pairs.append(built)
                print(f"{built.name}: up ({built.title})", file=sys.stderr)
            else:
                name, reason = built
                notes.append(f"{name}: {reason.splitlines()[0]}")
                print(f"{name}: skipped: {reason}", file=sys.stderr)
        if not pairs:
            raise LabError("there is nothing to measure")
        measurement = Measurement(pairs, rounds, seconds, notes)
        measurement.run()
    return measurement.results, notes


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write the report; return the exit status."""
    options = parse(arguments)
    names = [name for name in BUILDERS if not options.only or name in (BASE, *options.only)]
    about = facts(options.rounds, options.seconds)
    try:
        ensure_root([sys.executable, __file__, *arguments])
        results, notes = compare(names, options.rounds, options.seconds)
    except LabError as error:
        print(f"pairs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    options.results.mkdir(parents=True, exist_ok=True)
    text = markdown(about, results, notes)
    (options.results / "latest.md").write_text(text)
    (options.results / "latest.json").write_text(as_json(about, results, notes))
    print(text)
    picture = options.results / "latest.png"
    # A plot of an earlier run does not belong to these figures.
    picture.unlink(missing_ok=True)
    trouble = plot(picture, about, results)
    if trouble is not None:
        print(f"pairs: {trouble}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
