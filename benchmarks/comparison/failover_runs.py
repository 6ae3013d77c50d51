"""One lane of the fail-over benchmark: the networks of one cast, in sequence, and the runs of one family.

A run waits until the client is served and its neighbour entry is REACHABLE, causes the fault at a random
moment, waits until the client is served again, repairs everything, and reports the result.
"""

from __future__ import annotations

import contextlib
import random
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from comparison.failover_figures import FAULTS, LIMIT_S, Flips, Run
from comparison.failover_lab import PLAYERS, PORT, TAIL_MEMBER, VIPS, Group, Topology, count_flips, flapping
from pytinc.lab.namespaces import Lab, LabError
from pytinc.lab.node import Node, wait_until
from pytinc.lab.outage import Watch

FLOW_S: Final = 1.5
"""Traffic before a fault, at least; up to PHASE_S more at random."""
PHASE_S: Final = 1.0
AFTER_S: Final = 1.5
"""A fault may take effect late (a daemon that stops slowly): the client is watched at least for this time."""
SERVED_TIMEOUT_S: Final = 15.0
SURE_TIMEOUT_S: Final = 15.0
TRIES: Final = 5
"""The number of attempts to find a moment at which the client is served."""
POLL_S: Final = 0.05
FAILURES: Final = 3
"""After this number of failed runs, the network is built again; after the same number again it is given
up."""

Tell = Callable[[str, Mapping[str, Any]], None]
"""Receives a report of a lane: its kind, and its fields."""


@dataclass(frozen=True, slots=True)
class Fault:
    """The functions that cause and undo a fault. Both get the faulty node."""

    inject: Callable[[Group, Node], None]
    repair: Callable[[Group, Node], None]
    topology: Topology = Topology.STAR


def _cut(group: Group, node: Node) -> None:
    group.lab.cut_off(node.host)


def _reconnect(group: Group, node: Node) -> None:
    group.lab.reconnect(node.host)


DEEDS: Final = {
    "stop": Fault(Group.stop, Group.restart),
    "kill": Fault(lambda _, node: node.kill(), Group.restart),
    "crash": Fault(Group.crash, Group.boot),
    "cut": Fault(_cut, _reconnect),
    "freeze": Fault(Group.freeze, lambda _group, _node: None),
    "mute": Fault(
        lambda group, node: group.lab.mute(node.host), lambda group, node: group.lab.unmute(node.host)
    ),
    "tail": Fault(_cut, _reconnect, Topology.TAIL),
    "relay": Fault(_cut, _reconnect, Topology.RELAY),
}
assert DEEDS.keys() == FAULTS.keys()


class Lane:
    """A cast and a family, and the measurements to make."""

    def __init__(
        self,
        cast: str,
        family: str,
        runs: Mapping[str, int],
        flips: float,
        tell: Tell,
    ) -> None:
        self._cast = PLAYERS[cast]
        self._family = family
        self._left = dict(runs)
        """Runs still to be done, by fault."""
        self._flips = flips
        self._tell = tell
        self._random = random.Random()

    def go(self) -> None:
        """Make all measurements. Those that fail are reported and left out."""
        for topology in Topology:
            faults = [fault for fault in self._left if DEEDS[fault].topology is topology]
            for _ in range(2):
                if any(self._left[fault] > 0 for fault in faults):
                    with self._trouble(topology.value), self._group(topology) as group:
                        self._take_turns(group, faults)
        if self._flips > 0 and not self._cast.keepalived:
            with self._trouble("flips"), self._group(Topology.STAR, vip_first=True) as group:
                self._tell("flips", asdict(self._count(group)))

    @contextlib.contextmanager
    def _trouble(self, what: str) -> Iterator[None]:
        try:
            yield
        except (LabError, OSError) as error:
            text = " / ".join(str(error).splitlines()[:3])
            self._tell("note", {"text": f"{self._cast.name}, {self._family}, {what}: {text}"})

    @contextlib.contextmanager
    def _group(self, topology: Topology, *, vip_first: bool = False) -> Iterator[Group]:
        with Lab() as lab:
            group = Group(lab, self._cast, topology, vip_first=vip_first)
            group.start()
            yield group

    def _take_turns(self, group: Group, faults: Sequence[str]) -> None:
        """Run each fault in turn until all runs are done or too many have failed."""
        failures = 0
        while any(self._left[fault] > 0 for fault in faults) and failures < FAILURES:
            for fault in faults:
                if self._left[fault] <= 0:
                    continue
                done = False
                with self._trouble(fault):
                    self._tell("run", asdict(self._run(group, fault)))
                    self._left[fault] -= 1
                    done = True
                if not done:
                    failures += 1
                    if failures >= FAILURES:
                        break
                    with self._trouble(f"{fault}, repair"):
                        group.mend()

    def _run(self, group: Group, fault: str) -> Run:
        deed = DEEDS[fault]
        vip = VIPS[self._family]
        group.draw_reachable_time(self._family)
        if deed.topology is not Topology.STAR:
            self._claim(group, group.network[TAIL_MEMBER])
        with Watch(group.client.host, vip, PORT) as watch:
            holder = self._wait_for_moment(group, watch, deed.topology)
            faulty = group.relay(holder) if fault == "relay" else holder
            start = time.monotonic()
            deed.inject(group, faulty)
            recovered = self._wait_for_service(watch, start)
            end = time.monotonic()
            successor, _ = group.entry_state(self._family)
            silence, wait, lost, tcp = watch.ask(
                lambda trace: (
                    trace.silence(start, end),
                    trace.wait(start, end),
                    trace.lost(start, end),
                    trace.connection_gap(start, end),
                )
            )
            deed.repair(group, faulty)
            gently = group.cure(faulty)
            well = time.monotonic()
            back = watch.ask(lambda trace: trace.silence(end, well)) if gently and recovered else None
        return Run(
            self._cast.name, fault, self._family, holder.name, successor.name if successor else "nobody",
            recovered, silence, wait, lost, tcp, back,
        )  # fmt: skip

    def _claim(self, group: Group, member: Node) -> None:
        if group.entry_state(self._family)[0] is not member or not group.well():
            group.claim(member, self._family)

    def _wait_for_moment(self, group: Group, watch: Watch, topology: Topology) -> Node:
        """Wait until the client has been served for a while, and choose a moment; return its server."""
        for _ in range(TRIES):
            since = time.monotonic()
            try:
                watch.wait_steady(since, SERVED_TIMEOUT_S)
            except LabError:
                # Its entry may name a node that has lost an election since.
                group.forget(self._family)
                continue
            time.sleep(max(0.0, since + FLOW_S - time.monotonic()) + self._random.uniform(0, PHASE_S))
            wait_until(
                lambda: group.entry_state(self._family)[1] == "REACHABLE",
                SURE_TIMEOUT_S,
                "the client is sure of its neighbour",
                interval=POLL_S,
            )
            holder, _ = group.entry_state(self._family)
            if topology is not Topology.STAR and holder is not group.network[TAIL_MEMBER]:
                group.claim(group.network[TAIL_MEMBER], self._family)
            elif holder is not None and watch.steady(since):
                return holder
        raise LabError("the client is not well served before the fault")

    def _wait_for_service(self, watch: Watch, start: float) -> bool:
        """Wait until the client is served after a fault; False if this takes longer than the limit."""
        shown = time.monotonic() + AFTER_S
        while True:
            now = time.monotonic()
            if now >= shown and watch.steady(start):
                return True
            if now - start >= LIMIT_S:
                return False
            time.sleep(POLL_S)

    def _count(self, group: Group) -> Flips:
        """Count the moves of the client's neighbour entry while the members ask the network all the time."""
        vip = VIPS[self._family]
        host = group.client.host
        for node in group.members:
            node.host.spawn("sh", "-c", flapping(self._family), output=subprocess.DEVNULL)
        with Watch(host, vip, PORT) as watch:
            watch.wait_steady(time.monotonic(), SERVED_TIMEOUT_S)
            monitor = host.spawn("ip", "monitor", "neigh", "dev", "vpn")
            start = time.monotonic()
            time.sleep(self._flips)
            end = time.monotonic()
            monitor.terminate()
            text = monitor.communicate()[0]
            silence = watch.ask(lambda trace: trace.silence(start, end))
        return Flips(self._cast.name, self._family, end - start, count_flips(text, vip), silence)


def narrate(kind: str, fields: Mapping[str, Any]) -> str:
    """Return a result of a lane as a line."""
    if kind == "note":
        return str(fields["text"])
    head = f"{fields['cast']:10} {fields.get('fault', 'flips'):6} {fields['family']}: "
    if kind == "flips":
        return f"{head}{fields['flips']} in {fields['seconds']:.0f} s, silence {fields['silence']:.3f} s"
    mark = "" if fields["recovered"] else "> "
    return (
        f"{head}silence {mark}{fields['silence']:.3f} s, {fields['lost']} lost, TCP {fields['tcp']:.3f} s, "
        f"{fields['holder']} -> {fields['successor']}"
    )
