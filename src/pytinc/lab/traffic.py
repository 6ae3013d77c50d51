"""Traffic between lab hosts by ping and iperf3, and what their reports say.

Used by the demo, the interop tests and ``benchmarks/pairs.py``.
"""

from __future__ import annotations

import contextlib
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from pytinc.lab.namespaces import Host, LabError
from pytinc.lab.node import PATIENCE_S, wait_until

IPERF_PORT: Final = 5201
IPERF_SLACK_S: Final = PATIENCE_S  # beyond the measured time: connecting, and a report from a busy machine

_PING: Final = re.compile(r"(\d+) packets transmitted, (\d+) received")
_REPLY: Final = re.compile(r"icmp_seq=(\d+) ttl=\d+ time=([\d.]+)")


@dataclass(frozen=True, slots=True)
class PingReport:
    """The end of a ping: how many went out and came back, and round-trip times by sequence number."""

    sent: int
    received: int
    times_ms: dict[int, float]

    @property
    def lost(self) -> int:
        """How many got no answer."""
        return self.sent - self.received


def parse_ping(text: str) -> PingReport:
    """What ping printed; LabError when that is no report."""
    match = _PING.search(text)
    if match is None:
        raise LabError(f"not a report of ping: {text.strip()}")
    times = {int(number): float(time) for number, time in _REPLY.findall(text)}
    return PingReport(int(match[1]), int(match[2]), times)


def ping_command(address: str, count: int, interval: float, wait: float, size: int) -> tuple[str, ...]:
    """The ping command; ``wait`` is how many seconds the first echo may take. Later ones get less."""
    return ("ping", "-n", "-c", str(count), "-i", str(interval), "-W", str(wait), "-s", str(size), address)


def ping_times(host: Host, address: str, count: int, *, interval: float = 0.2) -> PingReport:
    """Ping an address from a host to measure round trips.

    What comes late is lost, see ``lab.echo``, where there is patience.
    """
    command = ping_command(address, count, interval, 1, 56)
    return parse_ping(host.run(*command, check=False, timeout=count * interval + PATIENCE_S).stdout)


def neighbour(host: Host, address: str) -> tuple[str | None, str]:
    """The MAC address a host has for an address, or None, and the state of the entry ("NONE": no entry)."""
    words = host.run("ip", "neigh", "show", address).stdout.split()
    if not words:
        return None, "NONE"
    mac = words[words.index("lladdr") + 1] if "lladdr" in words else None
    return mac, words[-1]


@dataclass(frozen=True, slots=True)
class IperfReport:
    """A TCP run of iperf3: what arrived (bit/s; bytes of each second) and how much was sent again."""

    bits_per_second: float
    intervals: tuple[float, ...]
    retransmits: int

    @property
    def megabits(self) -> float:
        """The rate in Mbit/s."""
        return self.bits_per_second / 1e6


def parse_iperf(text: str) -> IperfReport:
    """The JSON report of an iperf3 client; LabError when the run failed."""
    try:
        report = json.loads(text)
        if "error" in report:
            raise LabError(f"iperf3: {report['error']}")
        return IperfReport(
            float(report["end"]["sum_received"]["bits_per_second"]),
            tuple(float(interval["sum"]["bytes"]) for interval in report["intervals"]),
            int(report["end"]["sum_sent"].get("retransmits", 0)),
        )
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"not a report of iperf3: {text.strip()[:500]}") from error


@dataclass(frozen=True, slots=True)
class UdpReport:
    """A UDP run of iperf3: packets sent and packets that arrived, in how many seconds."""

    sent: int
    delivered: int
    seconds: float

    @property
    def packets_per_second(self) -> float:
        """The rate at which packets arrived."""
        return self.delivered / self.seconds

    @property
    def loss_percent(self) -> float:
        """The share of the sent packets that did not arrive."""
        return 100 * (1 - self.delivered / self.sent) if self.sent else 0.0


def parse_iperf_udp(text: str, size: int) -> UdpReport:
    """The JSON report of an iperf3 client that sent UDP packets of ``size`` bytes; LabError when it failed.

    What arrived is counted in bytes: iperf3's own count of losses misses those at the end of a run.
    """
    try:
        report = json.loads(text)
        if "error" in report:
            raise LabError(f"iperf3: {report['error']}")
        sent, received = report["end"]["sum_sent"], report["end"]["sum_received"]
        return UdpReport(int(sent["packets"]), int(received["bytes"]) // size, float(sent["seconds"]))
    except (ValueError, KeyError, TypeError) as error:
        raise LabError(f"not a report of iperf3: {text.strip()[:500]}") from error


@contextlib.contextmanager
def _listener(server: Host, port: int) -> Iterator[None]:
    """An iperf3 server that listens, for one run."""
    listener = server.spawn("iperf3", "--server", "--one-off", "--port", str(port), output=subprocess.DEVNULL)
    try:
        listening = f"sport = :{port}"
        wait_until(
            lambda: server.run("ss", "-Htln", listening).stdout, PATIENCE_S, "iperf3 listens", interval=0.05
        )
        yield
    finally:
        listener.terminate()
        listener.wait()


def _run_client(client: Host, address: str, port: int, seconds: int, *options: str) -> str:
    command = ("iperf3", "--client", address, "--port", str(port), "--time", str(seconds), "--json", *options)
    return client.run(*command, check=False, timeout=seconds + IPERF_SLACK_S).stdout


def iperf(
    client: Host,
    server: Host,
    address: str,
    seconds: int,
    *,
    reverse: bool = False,
    streams: int = 1,
    port: int = IPERF_PORT,
) -> IperfReport:
    """Send TCP from one host to an address of another for some seconds; ``reverse``: the other way."""
    options = ["--parallel", str(streams), *(["--reverse"] if reverse else [])]
    with _listener(server, port):
        return parse_iperf(_run_client(client, address, port, seconds, *options))


def udp_flood(client: Host, server: Host, address: str, seconds: int, size: int) -> UdpReport:
    """Send UDP packets with ``size`` bytes of payload as fast as the client can."""
    with _listener(server, IPERF_PORT):
        options = ("--udp", "--bitrate", "0", "--length", str(size))
        return parse_iperf_udp(_run_client(client, address, IPERF_PORT, seconds, *options), size)
