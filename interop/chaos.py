"""Random faults of nine hosts, C and pytinc mixed, pings between them, and which fault explains a lost ping.

A fault must explain every ping without an answer: either a fault of an end of its path, which takes until
that end finds its peers again, or one of a host that may have relayed it, which takes the much shorter time
until the others notice. All other pings must be answered.

    n1 ──> n2 ──> n3 ──> ... ──> n9 ──> n1        and the chords n1 ──> n4 ──> n7 ──> n1, n2 ──> n6
"""

from __future__ import annotations

import itertools
import json
import os
import re
import subprocess
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

NAMES = tuple(f"n{number}" for number in range(1, 10))
CHORDS = (("n1", "n4"), ("n4", "n7"), ("n7", "n1"), ("n2", "n6"))
LINKS = (*zip(NAMES, (*NAMES[1:], NAMES[0]), strict=True), *CHORDS)
# Pairs of neighbours and of distant hosts, with each combination of kinds in both directions.
PAIRS = (
    ("n1", "n5"), ("n5", "n1"), ("n2", "n7"), ("n4", "n8"), ("n3", "n9"), ("n9", "n2"),
    ("n6", "n3"), ("n8", "n6"), ("n7", "n4"), ("n1", "n2"), ("n5", "n6"), ("n8", "n9"),
)  # fmt: skip

PING_EVERY_S = 0.2
PING_INTERVAL_S, PING_TIMEOUT_S, MAX_TIMEOUT_S = 10, 2, 3  # tinc's variables of these names
BUSY_S = 3  # everything may be late by this much on a busy machine
KEY_RETRY_S = 10  # tinc's own limit: a lost key request is repeated only after this time
ARP_RETRY_S = 1
# An echo takes milliseconds, or a second if it waits for ARP.
UNDER_WAY_S = ARP_RETRY_S + BUSY_S
# The time from "the daemon is ready" to the last lost ping, for a path that ends at the restarted host. All
# of these may happen one after the other: at the first attempt to connect, the neighbour still has the old
# connection (PingTimeout), or it does not run and is tried again later (MaxTimeout); a key request gets lost;
# and ARP asks once a second.
END_RECOVERS_S = PING_TIMEOUT_S + MAX_TIMEOUT_S + KEY_RETRY_S + ARP_RETRY_S + BUSY_S
# The same for a host that is only a relay: its neighbours see at once that their TCP connections are closed,
# and the graph has other paths, so only what was in its queues is lost. The time counts from the moment the
# host goes down, because nobody waits for its return; and again from its return, because shorter paths then
# lead through it before it knows all others. A key request is lost only if the relay goes down while an end
# of the path is coming back.
RELAY_RECOVERS_S = PING_TIMEOUT_S + ARP_RETRY_S + BUSY_S

PINGER = """
import json, select, signal, socket, struct, sys, time
interval, names = float(sys.argv[1]), sys.argv[2:]
here = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
here.setblocking(False)
ended = []
signal.signal(signal.SIGTERM, lambda *_: ended.append(1))
sent = {name: {} for name in names}
answered = {name: {} for name in names}

def echo(number, sequence):
    def packet(checksum):
        return struct.pack("!BBHHH", 8, 0, checksum, number, sequence) + bytes(48)
    total = sum(struct.unpack("!28H", packet(0)))
    total = (total & 0xffff) + (total >> 16)
    return packet(~((total & 0xffff) + (total >> 16)) & 0xffff)

def receive():
    while True:
        try:
            data, (sender, _) = here.recvfrom(2048)
        except BlockingIOError:
            return
        head = (data[0] & 15) * 4
        kind, _, _, number, sequence = struct.unpack_from("!BBHHH", data, head)
        if kind == 0 and number < len(names) and names[number] == sender:
            answered[sender].setdefault(sequence, time.monotonic())

sequence, due, stop_at = 0, time.monotonic(), None
while stop_at is None or time.monotonic() < stop_at:
    if ended and stop_at is None:
        stop_at = time.monotonic() + 5
    left = due - time.monotonic()
    if left > 0:
        if select.select([here], [], [], left)[0]:
            receive()
        continue
    due = max(due + interval, time.monotonic())
    if stop_at is not None:
        continue
    sequence += 1
    for number, name in enumerate(names):
        sent[name][sequence] = time.monotonic()
        try:
            here.sendto(echo(number, sequence), (name, 0))
        except OSError:
            pass
print(json.dumps([sent, answered]))
"""


@dataclass(frozen=True)
class Fault:
    """One fault of a host: when it began, and when it was over (monotonic seconds).

    A restart is over when the new daemon is ready. ``unnoticed_s`` is how much longer it may take than after
    a restart until all have noticed the fault and its end, since no TCP connection is closed.
    """

    name: str
    how: str
    began: float
    over: float
    unnoticed_s: float = 0.0


@dataclass
class Flow:
    """The pings of one pair, by sequence number: when each was sent, and when it was answered, if it was."""

    sent: dict[int, float] = field(default_factory=dict)
    answered: dict[int, float] = field(default_factory=dict)

    @property
    def lost(self) -> dict[int, float]:
        """The pings without an answer, with the times at which they were sent."""
        return {number: when for number, when in self.sent.items() if number not in self.answered}


def neighbours(links: Iterable[tuple[str, str]]) -> dict[str, set[str]]:
    graph: dict[str, set[str]] = {}
    for one, other in links:
        graph.setdefault(one, set()).add(other)
        graph.setdefault(other, set()).add(one)
    return graph


def distances(graph: Mapping[str, set[str]], start: str) -> dict[str, int]:
    found, waiting = {start: 0}, deque([start])
    while waiting:
        name = waiting.popleft()
        for other in sorted(graph[name] - set(found)):
            found[other] = found[name] + 1
            waiting.append(other)
    return found


def possible_relays(one: str, other: str, without: set[str]) -> set[str]:
    """Return the hosts on all shortest paths between two hosts; tinc relays along the one with least weight.

    Hosts in ``without`` count as down.
    """
    graph = neighbours(link for link in LINKS if not without.intersection(link))
    if one not in graph or other not in graph:
        return set()
    there, back = distances(graph, one), distances(graph, other)
    if other not in there:
        return set()
    return {name for name in there if there[name] + back[name] == there[other]} - {one, other}


class Causes:
    """Finds the faults that explain lost pings.

    ``stall`` is the longest delay of a ping in seconds, caused by the load of the machine: everything else
    may have been as late.
    """

    def __init__(self, done: list[Fault], stall: float) -> None:
        self.done, self.stall = done, stall
        self._known: dict[tuple[tuple[str, str], float], Fault | None] = {}

    def is_recovering(self, fault: Fault, when: float) -> bool:
        """Whether paths that end at the host of the fault may be broken at this time."""
        ends = fault.over + END_RECOVERS_S + fault.unnoticed_s + self.stall
        return fault.began - UNDER_WAY_S - self.stall <= when <= ends

    def relay_explains(self, fault: Fault, pair: tuple[str, str], when: float) -> bool:
        """Whether a ping may have been lost because the host of the fault relayed it.

        It is a possible relay if it is on a shortest path between all hosts, or between those that were up.
        """
        gone = {other.name for other in self.done if self.is_recovering(other, when)} - {fault.name, *pair}
        if fault.name not in possible_relays(*pair, set()) | possible_relays(*pair, gone):
            return False
        for start in (fault.began, fault.over):
            asks = any(other.name in pair and self.is_recovering(other, start) for other in self.done)
            ends = start + RELAY_RECOVERS_S + (KEY_RETRY_S if asks else 0) + fault.unnoticed_s + self.stall
            if start - UNDER_WAY_S - self.stall <= when <= ends:
                return True
        return False

    def of(self, pair: tuple[str, str], when: float) -> Fault | None:
        """Return the fault that best explains a lost ping, or None.

        The fault of an end is preferred to that of a relay, and a later fault to an earlier one.
        """
        if (pair, when) not in self._known:
            self._known[pair, when] = self._find(pair, when)
        return self._known[pair, when]

    def _find(self, pair: tuple[str, str], when: float) -> Fault | None:
        found = [
            fault
            for fault in self.done
            if (
                self.is_recovering(fault, when)
                if fault.name in pair
                else self.relay_explains(fault, pair, when)
            )
        ]
        return max(found, key=lambda fault: (fault.name in pair, fault.began), default=None)


def worst_stall(flows: Iterable[Flow]) -> float:
    """Return the longest delay of a ping in seconds."""
    gaps = [0.0]
    for flow in flows:
        times = sorted(flow.sent.values())
        gaps += [later - earlier - PING_EVERY_S for earlier, later in itertools.pairwise(times)]
    return max(gaps)


def build(new_network: Callable[..., Network], cast: Iterable[Kind], *settings: tuple[str, str]) -> Network:
    """Start the nine hosts, and wait until all pairs answer each other."""
    network = new_network(
        ("PingInterval", str(PING_INTERVAL_S)),
        ("PingTimeout", str(PING_TIMEOUT_S)),
        ("MaxTimeout", str(MAX_TIMEOUT_S)),
        *settings,
    )
    for name, kind in zip(NAMES, cast, strict=True):
        network.add(name, kind, connect_to=[other for one, other in LINKS if one == name])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for one, other in PAIRS:
        is_answered = partial(answers, network[one].host, network[other].address)
        wait_until(is_answered, PATIENCE_S, f"{one} is answered by {other}")
    return network


class Pings:
    """Regular pings between all pairs, with one process per sending host."""

    def __init__(self, network: Network) -> None:
        self._network = network
        targets: dict[str, list[str]] = {}
        for one, other in PAIRS:
            targets.setdefault(one, []).append(network[other].address)
        self._processes: dict[str, subprocess.Popen[str]] = {
            name: network[name].host.spawn(sys.executable, "-c", PINGER, str(PING_EVERY_S), *addresses)
            for name, addresses in targets.items()
        }

    def stop(self) -> dict[tuple[str, str], Flow]:
        """End the processes and return the pings of each pair."""
        for process in self._processes.values():
            process.terminate()
        flows = {}
        names = {node.address: node.name for node in self._network}
        for sender, process in self._processes.items():
            sent, answered = json.loads(process.communicate(timeout=PATIENCE_S)[0])
            for address, times in sent.items():
                flows[sender, names[address]] = Flow(
                    {int(number): when for number, when in times.items()},
                    {int(number): when for number, when in answered[address].items()},
                )
        return flows


def bring_down(node: Node, how: str) -> None:
    if how == "stop":
        node.stop()
    elif how == "kill":
        node.kill()
    else:
        # Ask the daemon to stop, and kill it before it has ended, as an impatient service manager does.
        pid = node.pid()
        assert pid is not None
        os.kill(pid, 15)
        os.kill(pid, 9)
        node.started = False
        wait_until(lambda: not node.running(), PATIENCE_S, f"{node.name} is gone", interval=0.02)


def table(
    flows: Mapping[tuple[str, str], Flow], known: Causes, zero: float, cast: Mapping[str, Kind]
) -> tuple[list[str], list[str]]:
    """Return the rows of the report, and the lost pings that no fault explains."""
    lines = ["| pair | kinds | sent | lost | explained by |", "| --- | --- | --- | --- | --- |"]
    unexplained = []
    for pair, flow in sorted(flows.items()):
        causes: Counter[str] = Counter()
        for number, when in flow.lost.items():
            best = known.of(pair, when)
            if best is not None:
                role = "" if best.name in pair else " as relay"
                causes[f"{best.name} {best.how} at {best.began - zero:.1f}{role}"] += 1
            else:
                causes["NOTHING"] += 1
                unexplained.append(f"{pair[0]} to {pair[1]}: number {number}, sent at {when - zero:.1f}")
        kinds = "".join("C" if cast[name] is Kind.C else "P" for name in pair)
        why = ", ".join(f"{cause}: {count}" for cause, count in causes.items()) or "none lost"
        lines.append(f"| {pair[0]}-{pair[1]} | {kinds} | {len(flow.sent)} | {len(flow.lost)} | {why} |")
    return lines, unexplained


def recoveries(
    flows: Mapping[tuple[str, str], Flow], known: Causes
) -> Iterator[tuple[Fault, tuple[str, str], float]]:
    """For each fault and each pair with that host, yield the seconds from its end to the last lost ping."""
    for fault in known.done:
        for pair, flow in flows.items():
            if fault.name in pair:
                lost = [when for when in flow.lost.values() if known.of(pair, when) is fault]
                yield fault, pair, max(0, *lost, fault.over) - fault.over


def report(
    flows: Mapping[tuple[str, str], Flow], done: list[Fault], zero: float, cast: Mapping[str, Kind]
) -> tuple[list[str], list[str]]:
    """Return the whole report in lines, and the lost pings that no fault explains."""
    known = Causes(done, worst_stall(flows.values()))
    rows, unexplained = table(flows, known, zero, cast)
    times = sorted(recoveries(flows, known), key=lambda found: found[2])
    sent, lost = (sum(len(getattr(flow, what)) for flow in flows.values()) for what in ("sent", "lost"))
    slowest = [
        f"{fault.name} {fault.how} at {fault.began - zero:.1f}: {'-'.join(pair)} {seconds:.1f} s"
        for fault, pair, seconds in times[-5:]
    ]
    summary = "No faults: the time is too short."
    if times:
        summary = (
            f"{len(done)} faults; {sent} pings sent, {lost} lost, {len(unexplained)} of them unexplained; "
            f"the machine was late by {known.stall:.1f} s at most. From the end of a fault to the last lost "
            f"ping: median {times[len(times) // 2][2]:.1f} s, slowest {'; '.join(reversed(slowest))}."
        )
    return [*rows, "", summary, *(f"Unexplained: {line}" for line in unexplained)], unexplained


def reachable(node: Node) -> list[str]:
    return sorted(line.split()[0] for line in node.tinc("dump", "reachable", "nodes").stdout.splitlines())


BAD = re.compile(r"Traceback|Invalid|bogus", re.IGNORECASE)
CROSSING = re.compile(r"Invalid packet seqno: (0 != 1|\d+ != 0) from")
"""A C node logs the first when its key request crosses with that of another node, and ignores the request
(docs/architecture.md). Restarts and regular pings sometimes cause it. It logs the second when it begins a new
session, as at KeyExpire, and datagrams of the old one arrive."""
