"""One network of the demo: five hosts on a switch. Three hold one address, and one is a client that pings it.

The network has the same shape for both kinds of daemons, so that the demo can compare them. node_1 is the
entry that all others connect to, node_2 to node_4 hold the virtual address next to their own, and node_5 is
the client.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Self

from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Lab, LabError
from pytinc.lab.network import WORKERS, Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until
from pytinc.lab.outage import Watch, serve
from pytinc.lab.pulse import Marks, Outcome, draw, measure, quiet
from pytinc.lab.traffic import neighbour

VIP: Final = "10.1.1.10"
ENTRY: Final = "node_1"
CLIENT: Final = "node_5"
HOLDERS: Final = ("node_2", "node_3", "node_4")
ADDRESSES: Final = {
    ENTRY: ["10.1.1.1/24"],
    **{name: [f"10.1.1.10{number}/24", f"{VIP}/24"] for number, name in enumerate(HOLDERS, 2)},
    CLIENT: ["10.1.1.2/24"],
}
PORT: Final = 7007
LOOK_S: Final = 0.5
"""Seconds between two readings of the client's neighbour table."""
QUIET_S: Final = 0.15
"""The line of pings mentions a silence that is longer than this."""


def roles() -> dict[str, str]:
    """Return the role of each node, by name."""
    return {ENTRY: "entry", **dict.fromkeys(HOLDERS, "holder"), CLIENT: "client"}


class Stage:
    """The network and the client's pings. Use it in ``with``."""

    def __init__(self, kind: Kind) -> None:
        self.kind = kind
        self.kept = False
        self.lab = Lab()
        self.network = Network(self.lab)
        self._watch: Watch | None = None
        self._answering: str | None = None
        self._looked = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def close(self) -> None:
        """End the pings, and take the lab down unless it is kept."""
        self.stop_watching()
        self.lab.close()

    def keep(self) -> None:
        """Leave the network up, without pings."""
        self.stop_watching()
        self.lab.keep()
        self.kept = True

    @property
    def client(self) -> Node:
        """The node that uses the virtual address."""
        return self.network[CLIENT]

    @property
    def watch(self) -> Watch:
        """The client's pings. Raises LabError if the client does not ping."""
        if self._watch is None:
            raise LabError("the client does not ping")
        return self._watch

    # Building

    def build(self, detail: Callable[[str], None]) -> None:
        """Make hosts, keys and configuration; ``detail`` is called with the name of each node."""
        for name, addresses in ADDRESSES.items():
            detail(name)
            self.network.add(name, self.kind, addresses, [] if name == ENTRY else [ENTRY])
        self.network.exchange_keys()

    def start(self, detail: Callable[[str], None]) -> None:
        """Start the daemons, and on the holders a server for the client's connections."""
        detail(ENTRY)
        self.network[ENTRY].start()
        others = [node for node in self.network if node.name != ENTRY]
        detail(", ".join(node.name for node in others))
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(Node.start, others))
        for name in HOLDERS:
            serve(self.network[name].host, PORT)

    def warm_up(self) -> None:
        """Ping each other node from the client until it answers once."""
        others = [node.address for node in self.network if node is not self.client]
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(self.wait_for_answer, others))

    def wait_for_answer(self, address: str) -> None:
        """Ping from the client until there is an answer."""
        wait_until(lambda: answers(self.client.host, address), PATIENCE_S, f"{address} answers")

    # The client's pings

    def start_watching(self) -> None:
        """Let the client ping the virtual address and connect to it, until `stop_watching`."""
        self._watch = Watch(self.client.host, VIP, PORT)

    def stop_watching(self) -> None:
        """End the client's pings."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def served(self, since: float) -> bool:
        """Return whether the client is served well, judged by what it started after ``since``."""
        return self.watch.steady(since)

    def line(self, count: int, marks: Marks) -> str:
        """Return the last pings as ``count`` marks, with the node that answers or the time of silence."""
        now = time.monotonic()
        pings, silence = self.watch.ask(lambda trace: (draw(trace, now, count, marks), quiet(trace, now)))
        if silence > QUIET_S:
            return f"{pings}  silent for {silence:.1f} s"
        return f"{pings}  {self._who(now)} answers"

    def _who(self, now: float) -> str:
        if now - self._looked > LOOK_S:
            self._looked = now
            self._answering = self.answering()
        return self._answering or "somebody"

    def answering(self) -> str | None:
        """Return the node that the client sends to: the one whose MAC address is in its neighbour table."""
        mac, _ = neighbour(self.client.host, VIP)
        return next((node.name for node in self.network if node.mac == mac), None)

    def served_by(self) -> str | None:
        """Return the node that serves the client well now, or None."""
        return self.answering() if self.served(0) else None

    def holder(self) -> Node:
        """Return the node that answers the client. Raises LabError if there is none."""
        name = self.answering()
        if name is None:
            raise LabError(f"the client's neighbour table has no MAC address for {VIP}")
        return self.network[name]

    # Faults

    def cut(self, node: Node) -> float:
        """Cut a node off, and return when that was."""
        begin = time.monotonic()
        self.lab.cut_off(node.host)
        return begin

    def outcome(self, fault: str, holder: Node, since: float, limit: float) -> Outcome:
        """Return the outcome of a fault of a holder, seen for at most ``limit`` seconds."""
        until = min(time.monotonic(), since + limit)
        successor = self.answering() if self.served(since) else None
        return self.watch.ask(measure(fault, self.kind.title, (holder.name, successor), since, until))

    def log_sizes(self) -> dict[str, int]:
        """Return the length of each daemon's log, by name."""
        return {node.name: len(node.log()) for node in self.network}

    def log_lines(self, sizes: dict[str, int], about: str) -> list[tuple[str, str]]:
        """Return the lines with this text that were logged since `log_sizes` returned ``sizes``.

        Each is a pair of the node and the line without date and program.
        """
        return [
            (node.name, line.partition("]: ")[2] or line)
            for node in self.network
            for line in node.log()[sizes[node.name] :].splitlines()
            if about in line
        ]
