"""Compare pairs of nodes in network namespaces: two C tincds, two pytincds, mixed ones, other VPNs.

    .venv/bin/python benchmarks/pairs.py [--quick] [--rounds N] [--seconds N] [--only PAIR] [--measure WHAT]

Absolute figures of a shared machine vary by half from hour to hour; only ratios within one run count. So all
pairs run at the same time and take turns at every measurement, and each round has its own ratio.
``docs/performance.md`` explains the rows. The report goes to ``benchmarks/results/``; it lists the cells that
are slower than in the last committed results (`comparison.changes`).
"""

from __future__ import annotations

import argparse
import functools
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from comparison.changes import Changes, since_commit
from comparison.figures import BASE, INTERVALS_MS, Results, memory_mib, ping_row, share_percent
from comparison.http import connections_per_second, listens, requests_per_second, serve_http
from comparison.machine import about_process, commit, cpu_seconds, processor
from comparison.report import as_json, markdown, plot
from comparison.round_trips import count_of, round_trips, transactions
from comparison.tunnels import BUILDERS, SPOKES, Pair, SkippedError, build, installed
from pytinc.lab.echo import MIN_SIZE, ping
from pytinc.lab.namespaces import Host, Lab, LabError
from pytinc.lab.privileges import ensure_root
from pytinc.lab.traffic import IPERF_PORT, IperfReport, iperf, udp_flood

RESULTS: Final = Path(__file__).parent / "results"
STREAMS: Final = 20
UDP_SIZES: Final = (64, 1390, 1400)
"""Bytes of payload. Over a link of 1,500, tinc carries 1,397 in one frame: 1,400 go as two fragments."""
LOADED_PING_INTERVAL_S: Final = 0.01
MEASURES: Final = ("ping", "load", "tcp", "udp", "requests", "http", "peers")
"""What ``--measure`` can choose; the memory of the daemons is always measured."""
PROGRAMS: Final = {"requests": ("sockperf",), "http": ("nginx", "wrk")}
"""What a measurement needs besides the tools of the lab."""
ROUNDS, SECONDS = 3, 3
QUICK_SECONDS: Final = 1
SLOWER: Final = 3
"""The exit status of ``--check``."""

Step = Callable[[Pair, int], None]


class Measurement:
    """One run: the pairs, the length of each measurement, and the results."""

    def __init__(
        self,
        lab: Lab,
        pairs: list[Pair],
        rounds: int,
        seconds: int,
        measures: Sequence[str],
        notes: list[str],
    ) -> None:
        self.lab = lab
        self.pairs = pairs
        self.rounds = rounds
        self.seconds = seconds
        self.measures = measures
        self.notes = notes
        self.results = Results(rounds, [pair.name for pair in pairs])

    def run(self) -> None:
        """Run all measurements; those that fail are noted and left out."""
        self._take_turns(self.memory_at_rest, self.pairs, 0)
        pings = [functools.partial(self.pings, interval_ms=interval) for interval in INTERVALS_MS]
        measures: dict[str, Sequence[Step]] = {
            "ping": pings,
            "tcp": (self.tcp,),
            "load": (self.loaded_ping,),
            "udp": (self.udp,),
            "requests": (self.requests,),
        }
        chosen = [name for name in self.measures if self._has_programs(name)]
        steps = [step for name, each in measures.items() if name in chosen for step in each]
        for number in range(self.rounds):
            for step in steps:
                self._take_turns(step, self.pairs, number)
        self._take_turns(self.memory_peak, self.pairs, 0)
        if "http" in chosen:
            self.http()
        if "peers" in chosen:
            self.peers()

    def _has_programs(self, measure: str) -> bool:
        try:
            for program in PROGRAMS.get(measure, ()):
                installed(program)
        except SkippedError as error:
            self.notes.append(f"{measure}: {error}")
            return False
        return True

    def _take_turns(self, step: Step, pairs: Sequence[Pair], number: int) -> None:
        # Every other round is reversed, so that no pair always follows the same one.
        for pair in pairs if number % 2 == 0 else reversed(pairs):
            with self._noted(pair, f"round {number + 1}"):
                step(pair, number)

    @contextmanager
    def _noted(self, pair: Pair, when: str) -> Iterator[None]:
        """Note that a measurement is left out, and why, instead of failing."""
        try:
            yield
        except LabError as error:
            note = f"{pair.name}, {when}: {str(error).splitlines()[0]}"
            if note not in self.notes:
                self.notes.append(note)
            print(f"{when}: {pair.name}: {error}", file=sys.stderr)

    def put(self, row: str, pair: Pair, number: int, figure: float) -> None:
        """Record a figure and print it."""
        self.results.put(row, pair.name, number, figure)
        print(f"round {number + 1}: {pair.name:20} {row:18} {figure:12.2f}", file=sys.stderr)

    def pings(self, pair: Pair, number: int, interval_ms: float) -> None:
        """Measure pings without other traffic, and what they cost the daemons."""
        count = count_of(interval_ms, self.seconds)
        trips = round_trips(pair.client, pair.address, interval_ms, count, pair.pids)
        self.put(ping_row(interval_ms, "p50"), pair, number, trips.p50_ms)
        self.put(ping_row(interval_ms, "p99"), pair, number, trips.p99_ms)
        if pair.pids():
            self.put(ping_row(interval_ms, "cpu"), pair, number, trips.cpu_us)

    def loaded_ping(self, pair: Pair, number: int) -> None:
        """Measure pings during one TCP stream."""
        with ThreadPoolExecutor(1) as workers:
            stream = workers.submit(iperf, pair.client, pair.server, pair.address, self.seconds + 2)
            # By then iperf3 has started.
            time.sleep(1)
            try:
                count = int(self.seconds / LOADED_PING_INTERVAL_S)
                interval_ms = LOADED_PING_INTERVAL_S * 1000
                trips = round_trips(pair.client, pair.address, interval_ms, count, pair.pids)
            finally:
                stream.result()
        self.put("ping_load_p50", pair, number, trips.p50_ms)
        self.put("ping_load_p99", pair, number, trips.p99_ms)

    def tcp(self, pair: Pair, number: int) -> None:
        """Measure a stream in each direction, the daemons' CPU time for it, and many streams right after."""
        before = cpu_seconds(pair.pids())
        up = self._stream(pair)
        down = self._stream(pair, reverse=True)
        self.put("tcp_up", pair, number, up.megabits)
        self.put("tcp_down", pair, number, down.megabits)
        gigabytes = (sum(up.intervals) + sum(down.intervals)) / 1e9
        if pair.pids() and gigabytes:
            self.put("cpu_per_gb", pair, number, (cpu_seconds(pair.pids()) - before) / gigabytes)
        rate = self._stream(pair, streams=STREAMS).megabits
        self.put("tcp_20", pair, number, rate)
        share = share_percent(rate, up.megabits)
        if share is not None:
            self.put("tcp_20_share", pair, number, share)

    def _stream(self, pair: Pair, *, reverse: bool = False, streams: int = 1) -> IperfReport:
        return iperf(pair.client, pair.server, pair.address, self.seconds, reverse=reverse, streams=streams)

    def udp(self, pair: Pair, number: int) -> None:
        """Measure floods of small and of large packets."""
        for size in UDP_SIZES:
            # The ping learns the path MTU. Without it, the first packet that does not fit ends iperf3 with an
            # error.
            ping(pair.client, pair.address, 2, size=max(size, MIN_SIZE), wait=1)
            report = udp_flood(pair.client, pair.server, pair.address, self.seconds, size)
            self.put(f"udp_{size}", pair, number, report.packets_per_second)
            self.put(f"udp_{size}_loss", pair, number, report.loss_percent)

    def requests(self, pair: Pair, number: int) -> None:
        """Measure questions and answers, one after the other, over TCP and over UDP."""
        for row, tcp in (("rr_tcp", True), ("rr_udp", False)):
            rate = transactions(pair.client, pair.server, pair.address, self.seconds, tcp=tcp)
            self.put(row, pair, number, rate)

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

    def http(self) -> None:
        """Measure HTTP and new connections over a virtual address.

        This comes after the other rounds, which are without virtual addresses and their guard.
        """
        addresses: dict[str, str] = {}

        def step(pair: Pair, number: int) -> None:
            address = addresses[pair.name]
            for row, kept in (("http_kept", True), ("http_new", False)):
                rate = requests_per_second(pair.client, address, self.seconds, kept=kept)
                self.put(row, pair, number, rate)
            rate = connections_per_second(pair.client, address, self.seconds)
            self.put("connections", pair, number, rate)

        with ExitStack() as stack:
            for pair in self.pairs:
                with self._noted(pair, "HTTP"):
                    server = pair.server
                    directory = self.lab.directory / f"nginx-{server.name}"
                    served = functools.partial(listens, server)
                    stack.callback(serve_http(server, server.name, directory, served).terminate)
                    addresses[pair.name] = stack.enter_context(pair.virtual_address())
            pairs = [pair for pair in self.pairs if pair.name in addresses]
            for number in range(self.rounds):
                self._take_turns(step, pairs, number)

    def peers(self) -> None:
        """Measure several clients that send to the server at once, as a percentage of one client alone.

        This comes last, because the additional daemons disturb everything else.
        """
        clients: dict[str, list[Host]] = {}
        for pair in self.pairs:
            with self._noted(pair, f"{SPOKES} peers"):
                spokes = pair.add_spokes()
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
    parser.add_argument("--rounds", type=int, help=f"how often everything is measured ({ROUNDS})")
    parser.add_argument("--seconds", type=int, help=f"of each measurement ({SECONDS})")
    parser.add_argument(
        "--quick", action="store_true", help="one round of a second, unless other options say otherwise"
    )
    parser.add_argument(
        "--only",
        action="append",
        metavar="PAIR",
        choices=list(BUILDERS),
        help=f"only this pair and {BASE}; may be given again: {', '.join(BUILDERS)}",
    )
    parser.add_argument(
        "--measure",
        action="append",
        metavar="WHAT",
        choices=MEASURES,
        help=f"only this; may be given again: {', '.join(MEASURES)}",
    )
    parser.add_argument(
        "--check",
        action="store_true",
        help=f"exit status {SLOWER} if a pair with pytinc is slower than in the committed results",
    )
    parser.add_argument("--results", type=Path, default=RESULTS, help="directory for the report")
    options = parser.parse_args(arguments)
    options.rounds = options.rounds or (1 if options.quick else ROUNDS)
    options.seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    if options.rounds < 1 or options.seconds < 1:
        parser.error("--rounds and --seconds start at 1")
    return options


def compare(
    names: Sequence[str], rounds: int, seconds: int, measures: Sequence[str]
) -> tuple[Results, list[str]]:
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
        measurement = Measurement(lab, pairs, rounds, seconds, measures, notes)
        measurement.run()
    return measurement.results, notes


def main(arguments: Sequence[str]) -> int:
    """Measure, print and write the report; return the exit status."""
    options = parse(arguments)
    names = [name for name in BUILDERS if not options.only or name in (BASE, *options.only)]
    about = facts(options.rounds, options.seconds)
    try:
        ensure_root([sys.executable, __file__, *arguments])
        results, notes = compare(names, options.rounds, options.seconds, options.measure or MEASURES)
    except LabError as error:
        print(f"pairs: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    options.results.mkdir(parents=True, exist_ok=True)
    changes = since_commit(about, results)
    text = markdown(about, results, notes, changes)
    (options.results / "latest.md").write_text(text)
    (options.results / "latest.json").write_text(as_json(about, results, notes))
    print(text)
    picture = options.results / "latest.png"
    # A plot of an earlier run does not belong to these figures.
    picture.unlink(missing_ok=True)
    trouble = plot(picture, about, results)
    if trouble is not None:
        print(f"pairs: {trouble}", file=sys.stderr)
    slower = changes.slower if isinstance(changes, Changes) else []
    for change in slower:
        print(f"pairs: slower than before: {change}", file=sys.stderr)
    return SLOWER if options.check and slower else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
