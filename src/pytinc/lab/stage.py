"""One network of the demo: five hosts on a switch, and a client that pings an address of three of them.

The same shape for either kind of daemon, so that the demo can show one beside the other. node_1 is the entry
everyone connects to, node_2 to node_4 each hold the virtual address next to their own, node_5 is the client.
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
"""Seconds between two looks at the client's neighbour table."""
QUIET_S: Final = 0.15
"""A silence that is worth a word."""


def roles() -> dict[str, str]:
    """What each node is in the story."""
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
        """Take everything down that is not kept."""
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
        """The client's pings; LabError when there are none."""
        if self._watch is None:
            raise LabError("the client does not ping")
        return self._watch

    # Building

    def build(self, detail: Callable[[str], None]) -> None:
        """Make hosts, keys and configuration."""
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
        """One answered ping from the client to each other node."""
        others = [node.address for node in self.network if node is not self.client]
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(self.wait_for_answer, others))

    def wait_for_answer(self, address: str) -> None:
        """Ping from the client until there is an answer."""
        wait_until(lambda: answers(self.client.host, address), PATIENCE_S, f"{address} answers")

    # The client's pings

    def start_watching(self) -> None:
        """Let the client ping the virtual address, and connect to it, without end."""
        self._watch = Watch(self.client.host, VIP, PORT)

    def stop_watching(self) -> None:
        """End that."""
        if self._watch is not None:
            self._watch.close()
            self._watch = None

    def served(self, since: float) -> bool:
        """Whether the client has been served well for a while that began after ``since``."""
        return self.watch.steady(since)

    def line(self, count: int, marks: Marks) -> str:
        """The last pings, and who answers them."""
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
        """The node that the client believes in: the one whose MAC address its neighbour table has."""
        mac, _ = neighbour(self.client.host, VIP)
        return next((node.name for node in self.network if node.mac == mac), None)

    def served_by(self) -> str | None:
        """The node that has served the client well of late; None if there is none."""
        return self.answering() if self.served(0) else None

    def holder(self) -> Node:
        """The node that answers the client; LabError if there is none."""
        name = self.answering()
        if name is None:
            raise LabError(f"the client's neighbour table has no MAC address for {VIP}")
        return self.network[name]

    # Faults

    def cut(self, node: Node) -> float:
        """Cut a node off without a word to anybody; when that was."""
        begin = time.monotonic()
        self.lab.cut_off(node.host)
        return begin

    def outcome(self, fault: str, holder: Node, since: float, limit: float) -> Outcome:
        """What a fault of a holder was like; nothing after ``limit`` seconds counts."""
        until = min(time.monotonic(), since + limit)
        successor = self.answering() if self.served(since) else None
        return self.watch.ask(measure(fault, self.kind.title, (holder.name, successor), since, until))

    def log_sizes(self) -> dict[str, int]:
        """How much each daemon has logged."""
        return {node.name: len(node.log()) for node in self.network}

    def log_lines(self, sizes: dict[str, int], about: str) -> list[tuple[str, str]]:
        """What was logged about something since then: the node, and its line without date and program."""
        return [
            (node.name, line.partition("]: ")[2] or line)
            for node in self.network
            for line in node.log()[sizes[node.name] :].splitlines()
            if about in line
        ]
