"""Traffic between lab hosts by ping and iperf3, and parsers of their reports.

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
IPERF_SLACK_S: Final = PATIENCE_S  # time to connect, and for the report of a busy machine

_PING: Final = re.compile(r"(\d+) packets transmitted, (\d+) received")
_REPLY: Final = re.compile(r"icmp_seq=(\d+) ttl=\d+ time=([\d.]+)")


@dataclass(frozen=True, slots=True)
class PingReport:
    """The report of ping: how many echoes were sent and answered, and round-trip times by sequence number."""

    sent: int
    received: int
    times_ms: dict[int, float]

    @property
    def lost(self) -> int:
        """How many echoes got no answer."""
        return self.sent - self.received


def parse_ping(text: str) -> PingReport:
    """Parse what ping printed. Raises LabError if it is not a report."""
    match = _PING.search(text)
    if match is None:
        raise LabError(f"not a report of ping: {text.strip()}")
    times = {int(number): float(time) for number, time in _REPLY.findall(text)}
    return PingReport(int(match[1]), int(match[2]), times)


def ping_command(address: str, count: int, interval: float, wait: float, size: int) -> tuple[str, ...]:
    """Return the ping command; ``wait`` is how many seconds the first echo may take. Later ones get less."""
    return ("ping", "-n", "-c", str(count), "-i", str(interval), "-W", str(wait), "-s", str(size), address)


def ping_times(host: Host, address: str, count: int, *, interval: float = 0.2) -> PingReport:
    """Ping an address from a host to measure round trips.

    A late answer counts as lost; ``lab.echo`` waits longer.
    """
    command = ping_command(address, count, interval, 1, 56)
    return parse_ping(host.run(*command, check=False, timeout=count * interval + PATIENCE_S).stdout)


def neighbour(host: Host, address: str) -> tuple[str | None, str]:
    """Return the MAC address that a host has for an address, or None, and the state of its neighbour entry.

    The state is "NONE" if there is no entry.
    """
    words = host.run("ip", "neigh", "show", address).stdout.split()
    if not words:
        return None, "NONE"
    mac = words[words.index("lladdr") + 1] if "lladdr" in words else None
    return mac, words[-1]


@dataclass(frozen=True, slots=True)
class IperfReport:
    """The report of iperf3 for TCP: the rate, the bytes of each second, and the segments sent again."""

    bits_per_second: float
    intervals: tuple[float, ...]
    retransmits: int

    @property
    def megabits(self) -> float:
        """The rate in Mbit/s."""
        return self.bits_per_second / 1e6


def parse_iperf(text: str) -> IperfReport:
    """Parse the JSON report of an iperf3 client. Raises LabError if the run failed."""
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
    """The report of iperf3 for UDP: packets sent, packets that arrived, and the duration."""

    sent: int
    delivered: int
    seconds: float

    @property
    def packets_per_second(self) -> float:
        """The rate of packets that arrived."""
        return self.delivered / self.seconds

    @property
    def loss_percent(self) -> float:
        """The share of the sent packets that did not arrive, in per cent."""
        return 100 * (1 - self.delivered / self.sent) if self.sent else 0.0


def parse_iperf_udp(text: str, size: int) -> UdpReport:
    """Parse the JSON report of an iperf3 client that sent UDP packets of ``size`` bytes.

    Packets that arrived are counted by their bytes, because iperf3's own count of losses misses those at the
    end of a run. Raises LabError if the run failed.
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
    """Run an iperf3 server that listens, for one run of a client."""
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
    """Send TCP from ``client`` to an address of ``server``, or with ``reverse`` the other way.

    Raises LabError if the run fails.
    """
    options = ["--parallel", str(streams), *(["--reverse"] if reverse else [])]
    with _listener(server, port):
        return parse_iperf(_run_client(client, address, port, seconds, *options))


def udp_flood(client: Host, server: Host, address: str, seconds: int, size: int) -> UdpReport:
    """Send UDP packets of ``size`` bytes as fast as the client can. Raises LabError if the run fails."""
    with _listener(server, IPERF_PORT):
        options = ("--udp", "--bitrate", "0", "--length", str(size))
        return parse_iperf_udp(_run_client(client, address, IPERF_PORT, seconds, *options), size)
