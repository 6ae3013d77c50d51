"""Questions and answers through a tunnel, one after the other: pings at intervals, sockperf's ping-pong.

A ping with time before the next one shows the cost of a lone packet; sockperf (Debian's package of this name)
sends the next question as soon as it has the answer, as netperf's TCP_RR and UDP_RR do.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from comparison.figures import percentile
from comparison.machine import cpu_seconds
from pytinc.lab.namespaces import Host, LabError
from pytinc.lab.node import PATIENCE_S, wait_until
from pytinc.lab.traffic import ping_times

FEWEST: Final = 10
"""Pings of a measurement, however short it is."""
MOST: Final = 2000
PASSES: Final = 4
"""A ping passes so many times through a daemon: out and in at each end."""
SOCKPERF_PORT: Final = 11111
ATTEMPTS: Final = 3

_VALID: Final = re.compile(
    r"\[Valid Duration\] RunTime=([\d.]+) sec; SentMessages=\d+; ReceivedMessages=(\d+)"
)


@dataclass(frozen=True, slots=True)
class RoundTrips:
    """The times of the pings of one measurement, and the daemons' CPU time for one of their passes."""

    p50_ms: float
    p99_ms: float
    cpu_us: float
    """Everything that both daemons have done meanwhile, shared out over the passes."""


def count_of(interval_ms: float, seconds: float) -> int:
    """Return how many pings fit into a measurement."""
    return min(max(int(seconds * 1000 / interval_ms), FEWEST), MOST)


def round_trips(
    client: Host, address: str, interval_ms: float, count: int, pids: Callable[[], list[int]]
) -> RoundTrips:
    """Ping an address; ``pids`` are those of the daemons. Raises LabError if nothing is answered."""
    before = cpu_seconds(pids())
    times = list(ping_times(client, address, count, interval=interval_ms / 1000).times_ms.values())
    if not times:
        raise LabError("no ping was answered")
    used = cpu_seconds(pids()) - before
    return RoundTrips(percentile(times, 50), percentile(times, 99), used * 1e6 / len(times) / PASSES)


def transactions(client: Host, server: Host, address: str, seconds: int, *, tcp: bool) -> float:
    """Return the transactions a second of sockperf's ping-pong with messages of 14 bytes.

    The first 0.4 s are a warm-up and do not count. sockperf takes two seconds more than it is told, and waits
    in vain for a datagram that is lost; such a run has no result and is repeated, up to `ATTEMPTS` times.
    Raises LabError if sockperf is missing or fails.
    """
    options = ("-i", address, "-p", str(SOCKPERF_PORT), *(("--tcp",) if tcp else ()))
    listening = "-Htln" if tcp else "-Huln"
    process = server.spawn("sockperf", "server", *options, output=subprocess.DEVNULL)
    try:
        own = f"sport = :{SOCKPERF_PORT}"
        wait_until(
            lambda: process.poll() is not None or server.run("ss", listening, own).stdout,
            PATIENCE_S, "sockperf listens", interval=0.05,
        )  # fmt: skip
        command = ("sockperf", "ping-pong", *options, "--mps=max", "-t", str(seconds))
        for attempt in range(1, ATTEMPTS + 1):
            done = client.run(*command, check=False, timeout=seconds + PATIENCE_S)
            try:
                return parse_sockperf(done.stdout + done.stderr)
            except LabError:
                if attempt == ATTEMPTS or process.poll() is not None:
                    raise
        raise AssertionError("unreachable")
    finally:
        process.terminate()
        process.wait()


def parse_sockperf(text: str) -> float:
    """Return the transactions a second from the report of a ping-pong. Raises LabError if it is none."""
    found = _VALID.search(text)
    if found is None or float(found[1]) <= 0 or int(found[2]) == 0:
        # The first lines tell the version and the address.
        lines = [line.removeprefix("sockperf: ").strip() for line in text.splitlines() if line.strip()]
        raise LabError(f"sockperf: {' / '.join(lines[-2:]) or 'no report'}")
    return int(found[2]) / float(found[1])
