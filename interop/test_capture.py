"""What three hosts say to each other is of the same kinds whoever plays them.

    left ──> middle <── right          left pings middle, later right: first by way of middle, then directly

A network of C nodes goes through `STEPS`, then one in which pytinc plays some of them. Datagrams are read from
the network, by their addresses, the node ids in front and their lengths; meta requests from the logs (debug
level 5) of those who get them. Kinds that only one of the two networks shows must be in `DIFFERENCES`, which
docs/compatibility.md explains. All counts are printed and left in ``results/capture-CAST.md``.
"""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from pytinc.lab.namespaces import Lab, missing_means
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.traffic import answers, ping

CASTS = ("PCP", "CPC", "PPP")
ROLES = ("middle", "left", "right")
RESULTS = Path(__file__).parent / "results"

KEY_EXPIRE_S = 30
SETTINGS = (
    ("PingInterval", "5"),
    ("PingTimeout", "3"),
    ("MaxTimeout", "3"),
    ("KeyExpire", str(KEY_EXPIRE_S)),
)
STEPS = ("login", "small ping", "large ping", "a node joins", "new keys", "a node leaves")
LARGE = 1200
OVERHEAD = 33  # two ids, sequence number, record type and tag around a record's payload
PROBE = 18  # the length of small probes, and of all replies
FRAMES = {42: "ARP", 98: "small echo", LARGE + 42: "large echo"}  # all frames there are, as IPv6 is off

Kind_: TypeAlias = tuple[str, str, str]
"""Who says it, to whom, and what kind it is."""

# What may be in one network and not in the other.
DIFFERENCES: dict[str, str] = {}


@dataclass
class Recording:
    """How often everything was said, by kind and step."""

    counts: Counter[tuple[Kind_, str]] = field(default_factory=Counter)
    sent: Counter[Kind_] = field(default_factory=Counter)
    """Requests according to the logs of pytinc nodes that sent them."""

    def kinds(self) -> set[Kind_]:
        return {kind for kind, _ in self.counts}

    def rows(self) -> Iterator[tuple[Kind_, list[int]]]:
        for kind in sorted(self.kinds(), key=lambda kind: (kind[2], kind)):
            yield kind, [self.counts[kind, step] for step in STEPS]


# -- datagrams --


def node_id(name: str) -> bytes:
    return hashlib.sha512(name.encode()).digest()[:6]


def datagrams(pcap: bytes) -> Iterator[tuple[float, str, bytes]]:
    """The UDP datagrams of a capture of an Ethernet (IPv4 without options): time, destination, contents."""
    position = 24
    while position + 16 <= len(pcap):
        seconds, micros, length = struct.unpack_from("<III", pcap, position)
        frame = pcap[position + 16 : position + 16 + length]
        position += 16 + length
        yield seconds + micros / 1e6, ".".join(map(str, frame[30:34])), frame[42:]


def kind_of_datagram(data: bytes) -> str:
    """Direct or relayed, and what its length tells about its record."""
    relayed = {node_id(name): f"relayed to {name}" for name in ROLES}
    relayed[bytes(6)] = "direct"
    length = len(data) - OVERHEAD
    what = "small probe or reply" if length == PROBE else FRAMES.get(length, "MTU probe")
    return f"UDP {relayed.get(data[:6], 'to nobody')}: {what}"


class Sniffer:
    """tcpdump on one host, for what the host sends."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._path = node.confbase / "sent.pcap"
        self._process = node.host.spawn(
            "tcpdump", "-Z", "root", "-i", "eth0", "-Q", "out", "-U", "-w", str(self._path), "udp port 655"
        )
        wait_until(lambda: self._path.exists() and self._path.stat().st_size >= 24, 10, "tcpdump captures")

    def stop(self) -> Iterator[tuple[float, str, bytes]]:
        self._process.terminate()
        try:
            self._process.communicate(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return datagrams(self._path.read_bytes())


# -- requests --

GOT = re.compile(r"Got ([A-Z_]+) from (\S+) \(\S+ port \d+\): \d+ ?(\S*)")
SENDING = re.compile(r"Sending ([A-Z_]+) to (\S+) \(\S+ port \d+\): ")


def requests_got(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Sender and name of the requests that a log shows; without those of control programs."""
    for line in lines:
        found = GOT.search(line)
        if found is None:
            continue
        name, sender, word = found.groups()
        if sender == "<unknown>" and name == "ID":
            sender = word
        if sender in ROLES:
            yield sender, name


# -- the play --


class Play:
    """A network that goes through the steps."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.recording = Recording()
        self._ends: list[float] = []
        self._lines = dict.fromkeys(ROLES, 0)

    def run(self) -> Recording:
        sniffers = {node.name: Sniffer(node) for node in self.network}
        steps: tuple[Callable[[], None], ...] = (
            self._login, self._small_ping, self._large_ping, self._join, self._new_keys, self._leave,
        )  # fmt: skip
        for name, step in zip(STEPS, steps, strict=True):
            step()
            self._end_step(name)
        names = {node.host.address: node.name for node in self.network}
        for sender, sniffer in sniffers.items():
            for when, address, data in sniffer.stop():
                step_name = next(
                    (name for name, end in zip(STEPS, self._ends, strict=True) if when <= end), STEPS[-1]
                )
                kind = (sender, names[address], kind_of_datagram(data))
                self.recording.counts[kind, step_name] += 1
        for node in self.network:
            if node.kind is Kind.PY:
                for found in SENDING.finditer(node.log()):
                    self.recording.sent[node.name, found[2], found[1]] += 1
        return self.recording

    def _end_step(self, name: str) -> None:
        time.sleep(1.5)  # what the step has caused comes to its end
        self._ends.append(time.time())
        for node in self.network:
            lines = node.log().splitlines()
            for sender, request in requests_got(lines[self._lines[node.name] :]):
                self.recording.counts[(sender, node.name, request), name] += 1
            self._lines[node.name] = len(lines)

    def _node(self, name: str) -> Node:
        return self.network[name]

    def _login(self) -> None:
        for name in ("middle", "left"):
            # The level is raised while the daemon runs: requests must then appear without a restart.
            self._node(name).start("-d5")
        self.network.wait_converged()

    def _ping(self, target: str, size: int = 56) -> None:
        wait_until(
            partial(answers, self._node("left").host, self._node(target).address),
            30,
            f"{target} answers left",
        )
        ping(self._node("left").host, self._node(target).address, 3, size=size)

    def _is_direct(self, one: str, other: str) -> bool:
        """Whether both know that they reach each other by UDP, and with datagrams of which length."""
        views = self._node(one).nodes()[other], self._node(other).nodes()[one]
        return all(view.by_udp and view.mtu_known for view in views)

    def _small_ping(self) -> None:
        self._ping("middle")

    def _until_direct(self, target: str) -> None:
        def direct() -> bool:
            ping(self._node("left").host, self._node(target).address)
            return self._is_direct("left", target)

        wait_until(direct, 30, f"left and {target} know the MTU between them")

    def _large_ping(self) -> None:
        self._until_direct("middle")
        self._ping("middle", LARGE)

    def _join(self) -> None:
        self._node("right").start("-d5")
        self.network.wait_converged()
        self._ping("right")
        self._until_direct("right")
        self._ping("right", LARGE)

    def _new_keys(self) -> None:
        # Each daemon counts from its own start; PingInterval passes some times by the way.
        ends = time.monotonic() + KEY_EXPIRE_S + 3
        while time.monotonic() < ends:
            self._ping("right")
            time.sleep(1)

    def _leave(self) -> None:
        self._node("right").stop()
        wait_until(lambda: not self._node("left").nodes()["right"].reachable, 30, "right is gone")


def play(lab: Lab, kinds: Iterable[Kind]) -> Recording:
    network = Network(lab, SETTINGS)
    for name, kind in zip(ROLES, kinds, strict=True):
        node = network.add(name, kind, connect_to=() if name == "middle" else ("middle",))
        node.host.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
    network.exchange_keys()
    return Play(network).run()


# -- tests --


@pytest.fixture(scope="session")
def reference() -> Recording:
    """What C nodes alone say."""
    means = missing_means()
    if means is not None:
        pytest.skip(means)
    with Lab() as lab:
        return play(lab, [Kind.C] * len(ROLES))


@pytest.fixture(scope="module")
def recording(lab: Lab, cast: tuple[Kind, ...]) -> Recording:
    return play(lab, cast)


def table(recordings: Mapping[str, Recording]) -> list[str]:
    """All kinds with their counts by step."""
    lines = [
        "| from | to | kind | network | " + " | ".join(STEPS) + " |",
        "| --- | --- | --- | --- |" + " --- |" * len(STEPS),
    ]
    rows = [(kind, title, counts) for title, one in recordings.items() for kind, counts in one.rows()]
    for (sender, receiver, what), title, counts in sorted(rows, key=lambda row: (row[0][2], row[0], row[1])):
        numbers = " | ".join(str(count or "") for count in counts)
        lines.append(f"| {sender} | {receiver} | {what} | {title} | {numbers} |")
    return lines


def test_the_kinds_of_requests_and_datagrams_are_those_of_tinc_alone(
    reference: Recording, recording: Recording, cast: tuple[Kind, ...]
) -> None:
    letters = "".join("C" if kind is Kind.C else "P" for kind in cast)
    report = [f"## On the wire, {letters}", "", *table({"CCC": reference, letters: recording})]
    print("\n".join(report))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"capture-{letters}.md").write_text("\n".join(report) + "\n")
    different = reference.kinds() ^ recording.kinds()
    assert sorted(kind for kind in different if kind[2] not in DIFFERENCES) == []
