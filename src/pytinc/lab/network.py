"""A whole tinc network in the lab: one node per host, who connects to whom, and everybody's keys exchanged.

Used by the demo, the interop tests and ``benchmarks/pairs.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pytinc.lab.namespaces import Lab
from pytinc.lab.node import PATIENCE_S, Kind, Node, Settings, wait_until

# A lab wants its topology as drawn and its faults noticed soon.
BASE_SETTINGS: Final = (
    ("Mode", "switch"),
    ("DeviceType", "tap"),
    ("AutoConnect", "no"),
    ("AddressFamily", "ipv4"),
)
WORKERS: Final = 4  # a slow machine gains nothing by starting more programs at once


class Network:
    """Nodes by name in the order they were added, on hosts of the same names."""

    def __init__(self, lab: Lab, settings: Settings = ()) -> None:
        self.lab = lab
        self.settings = [*BASE_SETTINGS, *settings]
        self.nodes: dict[str, Node] = {}

    def __getitem__(self, name: str) -> Node:
        return self.nodes[name]

    def __iter__(self) -> Iterator[Node]:
        return iter(self.nodes.values())

    def add(
        self, name: str, kind: Kind, addresses: Iterable[str] = (), connect_to: Iterable[str] = ()
    ) -> Node:
        """Add a node on a host of its own and make its configuration; nothing is started.

        Without ``addresses`` it gets 10.1.1.N/24 with N its number, and its MAC address ends in N.
        ``connect_to`` names nodes it shall connect to; they may be added later.
        """
        number = len(self.nodes) + 1
        # A host name may have a dash, a node name may not.
        node = Node(
            self.lab.host(name.replace("_", "-")),
            name,
            kind,
            mac=f"02:00:00:00:00:{number:02x}",
            addresses=list(addresses) or [f"10.1.1.{number}/24"],
        )
        connections = [("ConnectTo", peer) for peer in connect_to]
        node.init([*self.settings, ("Interface", node.interface), *connections])
        self.nodes[name] = node
        return node

    def exchange_keys(self) -> None:
        """Give every node the host file of every other."""
        for node in self.nodes.values():
            for other in self.nodes.values():
                if other is not node:
                    node.knows(other)

    def start(self) -> None:
        """Start all daemons in the order they were added; LabError when one fails.

        One after the other: a node that is up before those that connect to it saves them their first retry.
        """
        for node in self.nodes.values():
            node.start()

    def stop(self) -> None:
        """Stop all daemons that run, in an orderly way."""
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(Node.stop, [node for node in self.nodes.values() if node.started]))

    def converged(self) -> bool:
        """Whether every started node sees every other; LabError when one has died."""
        started = [node for node in self.nodes.values() if node.started]
        return all(node.sees(started) for node in started)

    def wait_converged(self, timeout: float = PATIENCE_S) -> float:
        """Wait until all started nodes see each other; the seconds it took."""
        return wait_until(self.converged, timeout, "all nodes see each other")

    def logs(self) -> str:
        """The ends of all logs, for a failure report."""
        return "\n".join(
            f"--- {node.name} ({node.kind.title})\n{node.log_tail()}" for node in self.nodes.values()
        )
