"""Three hosts send each other the same kinds of requests and datagrams, whether they run tincd or pytincd.

    left ──> middle <── right          left pings middle, later right, over every kind of path

A network of C nodes goes through `STEPS`, and so does a network in which some nodes are pytinc's. In some
steps the lab's switch blocks UDP, so that the path of the frames does not depend on which node is faster.
Datagrams are captured, and told apart by their addresses, the node ids in front and their lengths. Meta
requests are read from the logs (debug level 5) of their receivers. The kinds must be the same except for
those that `missing` lists; docs/compatibility.md explains these and the counts. All counts are written to
``results/capture-CAST.md``.
"""

from __future__ import annotations

import hashlib
import re
import struct
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeAlias

import pytest

from pytinc.lab.echo import answers, wait_steady
from pytinc.lab.namespaces import Lab, missing_means
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = ("PCP", "CPC")
ROLES = ("middle", "left", "right")
RESULTS = Path(__file__).parent / "results"

KEY_EXPIRE_S = 40
SETTINGS = (
    ("PingInterval", "5"),
    ("PingTimeout", "3"),
    ("MaxTimeout", "3"),
    ("KeyExpire", str(KEY_EXPIRE_S)),
    ("UDPDiscoveryInterval", "1"),
)
STEPS = (
    "login", "frames by TCP", "frames by UDP", "a node joins", "records by TCP", "relayed by UDP", "direct",
    "new keys", "a node leaves",
)  # fmt: skip
LARGE = 1200
OVERHEAD = 33  # bytes around a record's payload: two node ids, sequence number, record type and tag
PROBE = 18  # the length of small probes, and of all replies
# The lengths of all frames that occur (IPv6 is off): ARP, an echo of 56 bytes, an echo of LARGE bytes.
FRAMES = {42: "small frame", 98: "small frame", LARGE + 42: "large frame"}

Saying: TypeAlias = tuple[str, str, str]
"""Sender, receiver, and the kind of request or datagram."""


PROBE_BY_TCP = "PACKET with a probe"
ABSENT = {
    "KEY_CHANGED": "it concerns legacy keys only",
    PROBE_BY_TCP: "tinc sends such a probe while there is no key yet, although it can measure nothing",
}
"""The kinds that pytinc never sends, and why."""
BY_CHANCE = "REQ_KEY"


def missing(kinds: Mapping[str, Kind]) -> set[Saying]:
    """Return what pytinc nodes do not send although C nodes in their place do."""
    links = (("left", "middle"), ("right", "middle"), ("middle", "left"), ("middle", "right"))
    return {(one, other, what) for one, other in links if kinds[one] is Kind.PY for what in ABSENT}


@dataclass
class Recording:
    """How often each kind was sent in each step."""

    counts: Counter[tuple[Saying, str]] = field(default_factory=Counter)
    sent: Counter[Saying] = field(default_factory=Counter)
    """Requests that pytinc nodes sent, according to their own logs."""

    def kinds(self) -> set[Saying]:
        return {kind for kind, _ in self.counts}

    def links_with(self, what: str) -> set[frozenset[str]]:
        """Return the pairs of nodes between which a kind was sent, in either direction."""
        return {frozenset((one, other)) for one, other, kind in self.kinds() if kind == what}

    def rows(self) -> Iterator[tuple[Saying, list[int]]]:
        for kind in sorted(self.kinds(), key=lambda kind: (kind[2], kind)):
            yield kind, [self.counts[kind, step] for step in STEPS]


# -- datagrams --


def node_id(name: str) -> bytes:
    return hashlib.sha512(name.encode()).digest()[:6]


def datagrams(pcap: bytes) -> Iterator[tuple[float, str, bytes]]:
    """Yield the UDP datagrams of an Ethernet capture (IPv4 without options): time, destination, contents."""
    position = 24
    while position + 16 <= len(pcap):
        seconds, micros, length = struct.unpack_from("<III", pcap, position)
        frame = pcap[position + 16 : position + 16 + length]
        position += 16 + length
        yield seconds + micros / 1e6, ".".join(map(str, frame[30:34])), frame[42:]


def kind_of_datagram(data: bytes) -> str:
    """Return whether a datagram is direct or relayed, and what its record is, judged by its length."""
    relayed = {node_id(name): f"relayed to {name}" for name in ROLES}
    relayed[bytes(6)] = "direct"
    length = len(data) - OVERHEAD
    what = "small probe or reply" if length == PROBE else FRAMES.get(length, "MTU probe")
    return f"UDP {relayed.get(data[:6], 'to nobody')}: {what}"


class Sniffer:
    """tcpdump on one host; it captures the datagrams that the host sends."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._path = node.confbase / "sent.pcap"
        self._process = node.host.spawn(
            "tcpdump", "-Z", "root", "-i", "eth0", "-Q", "out", "-U", "--immediate-mode",
            "-w", str(self._path), "udp port 655",
        )  # fmt: skip
        wait_until(
            lambda: self._path.exists() and self._path.stat().st_size >= 24, PATIENCE_S, "tcpdump captures"
        )

    def stop(self) -> Iterator[tuple[float, str, bytes]]:
        self._process.terminate()
        try:
            self._process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return datagrams(self._path.read_bytes())


# -- requests --

GOT = re.compile(r"Got ([A-Z_]+) from (\S+) \(\S+ port \d+\): \d+ ?(\S*)")
SENDING = re.compile(r"Sending ([A-Z_]+) to (\S+) \(\S+ port \d+\): ")


def requests_got(lines: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield sender and name of the requests in a log, except those of control programs."""
    for line in lines:
        found = GOT.search(line)
        if found is None:
            continue
        name, sender, word = found.groups()
        if sender == "<unknown>" and name == "ID":
            sender = word
        if name == "PACKET" and word == str(PROBE):
            name = PROBE_BY_TCP
        if sender in ROLES:
            yield sender, name


# -- the play --


class Play:
    """A network that goes through the steps."""

    def __init__(self, network: Network) -> None:
        self.network = network
        self.recording = Recording()
        self._ends: list[float] = []
        self._all_started = 0.0
        self._lines = dict.fromkeys(ROLES, 0)

    def run(self) -> Recording:
        sniffers = {node.name: Sniffer(node) for node in self.network}
        steps: tuple[Callable[[], None], ...] = (
            self._login, self._frames_by_tcp, self._frames_by_udp, self._join, self._records_by_tcp,
            self._relayed_by_udp, self._direct, self._new_keys, self._leave,
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
                for request, receiver in SENDING.findall(node.log()):
                    self.recording.sent[node.name, receiver, request] += 1
        return self.recording

    def _end_step(self, name: str) -> None:
        time.sleep(1.5)  # wait for everything that the step caused
        self._ends.append(time.time())
        for node in self.network:
            lines = node.log().splitlines()
            for sender, request in requests_got(lines[self._lines[node.name] :]):
                self.recording.counts[(sender, node.name, request), name] += 1
            self._lines[node.name] = len(lines)

    def _udp(self, one: str, other: str, *, on: bool) -> None:
        lab = self.network.lab
        (lab.unblock_udp if on else lab.block_udp)(self.network[one].host, self.network[other].host)

    def _ping(self, target: str, size: int = 56) -> None:
        """Ping from left until an answer comes, then three more times without loss."""
        here, address = self.network["left"].host, self.network[target].address
        wait_until(partial(answers, here, address), PATIENCE_S, f"{target} answers left")
        wait_steady(here, address, 3, interval=0.2, size=size)

    def _until_measured(self, *links: tuple[str, str], target: str) -> None:
        """Ping until both ends of each link reach each other by UDP and know the MTU of the link."""

        def measured() -> bool:
            answers(self.network["left"].host, self.network[target].address)
            views = [self.network[one].nodes()[other] for link in links for one, other in (link, link[::-1])]
            return all(view.by_udp and view.mtu_known for view in views)

        wait_until(measured, PATIENCE_S, f"the MTU of {links} is known")

    def _login(self) -> None:
        self._udp("left", "middle", on=False)
        # It starts with debug level 0; the level is raised while it runs, which tests that as well.
        self.network["middle"].start("-d0")
        self.network["middle"].tinc("debug", "5")
        self.network["left"].start("-d5")
        self.network.wait_converged()

    def _frames_by_tcp(self) -> None:
        self._ping("middle")
        self._ping("middle", LARGE)

    def _frames_by_udp(self) -> None:
        self._udp("left", "middle", on=True)
        self._until_measured(("left", "middle"), target="middle")
        self._ping("middle", LARGE)

    def _join(self) -> None:
        self._udp("right", "middle", on=False)
        self._udp("right", "left", on=False)
        self.network["right"].start("-d5")
        self._all_started = time.monotonic()
        self.network.wait_converged()

    def _records_by_tcp(self) -> None:
        self._ping("right")
        self._ping("right", LARGE)

    def _relayed_by_udp(self) -> None:
        self._udp("right", "middle", on=True)
        self._until_measured(("left", "middle"), ("middle", "right"), target="right")
        self._ping("right", LARGE)

    def _direct(self) -> None:
        self._udp("right", "left", on=True)
        self._until_measured(("left", "right"), target="right")
        self._ping("right", LARGE)

    def _new_keys(self) -> None:
        # Each daemon counts KeyExpire from its own start. PingInterval passes several times meanwhile.
        while time.monotonic() < self._all_started + KEY_EXPIRE_S + 3:
            self._ping("right")
            time.sleep(1)

    def _leave(self) -> None:
        self.network["right"].stop()
        wait_until(lambda: not self.network["left"].nodes()["right"].reachable, PATIENCE_S, "right is gone")


def play(lab: Lab, kinds: Iterable[Kind]) -> Recording:
    network = Network(lab, [*SETTINGS, ("NeighbourGuard", "no")])
    for name, kind in zip(ROLES, kinds, strict=True):
        node = network.add(name, kind, connect_to=() if name == "middle" else ("middle",))
        node.host.run("sysctl", "-qw", "net.ipv6.conf.default.disable_ipv6=1")
        # With GSO, tcpdump would see the datagrams of a batch as one, and its length would fit no frame.
        node.host.run("ethtool", "-K", "eth0", "tx-udp-segmentation", "off")
    network.exchange_keys()
    return Play(network).run()


# -- tests --


@pytest.fixture(scope="session")
def reference() -> Iterator[Future[Recording]]:
    """The recording of C nodes alone, which is made at the same time as that of the first cast."""
    means = missing_means()
    if means is not None:
        pytest.skip(means)

    def play_alone() -> Recording:
        with Lab() as lab:
            return play(lab, [Kind.C] * len(ROLES))

    with ThreadPoolExecutor(1) as worker:
        yield worker.submit(play_alone)


@pytest.fixture(scope="module")
def recording(reference: Future[Recording], lab: Lab, cast: tuple[Kind, ...]) -> Recording:
    return play(lab, cast)


def table(recordings: Mapping[str, Recording]) -> list[str]:
    """Return the lines of a Markdown table of all kinds, with their counts by step."""
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
    reference: Future[Recording], recording: Recording, cast: tuple[Kind, ...]
) -> None:
    alone = reference.result()
    letters = "".join("C" if kind is Kind.C else "P" for kind in cast)
    report = [f"## On the wire, {letters}", "", *table({"CCC": alone, letters: recording})]
    print("\n".join(report))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / f"capture-{letters}.md").write_text("\n".join(report) + "\n")
    # Chance decides which of two nodes asks the other for its key: the one that has a frame first.
    assert recording.links_with(BY_CHANCE) == alone.links_with(BY_CHANCE)
    kinds = dict(zip(ROLES, cast, strict=True))
    # Chance also decides whether a C node has a key before its first probe. pytinc sends no probes by TCP.
    assert not [kind for kind in recording.kinds() if kind[2] == PROBE_BY_TCP and kinds[kind[0]] is Kind.PY]
    chance = (BY_CHANCE, PROBE_BY_TCP)
    both = [{kind for kind in each.kinds() if kind[2] not in chance} for each in (recording, alone)]
    assert both[0] == both[1] - missing(kinds)


def test_pytinc_logs_as_sent_what_others_received(recording: Recording, cast: tuple[Kind, ...]) -> None:
    got: Counter[Saying] = Counter()
    for (kind, _), count in recording.counts.items():
        got[kind] += count
    assert bool(recording.sent) == (Kind.PY in cast)
    # Requests that are under way at the end of a recording may be missing on one side.
    for kind, count in recording.sent.items():
        assert abs(got[kind] - count) <= 2, kind
