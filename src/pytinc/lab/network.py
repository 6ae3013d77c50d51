"""A whole tinc network in the lab: one node per host, their connections, and the exchange of their keys.

Used by the demo, the interop tests and ``benchmarks/pairs.py``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from pytinc.lab.namespaces import Lab
from pytinc.lab.node import PATIENCE_S, Kind, Node, Settings, wait_until

# AutoConnect would add connections that a test has not asked for.
BASE_SETTINGS: Final = (
    ("Mode", "switch"),
    ("DeviceType", "tap"),
    ("AutoConnect", "no"),
    ("AddressFamily", "ipv4"),
)
WORKERS: Final = 4  # a slow machine gains nothing by starting more programs at once


class Network:
    """Nodes by name, in the order in which they were added, on hosts of the same names."""

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

        Node number N gets a MAC address that ends in N, and without ``addresses`` the address 10.1.1.N/24.
        ``connect_to`` names the nodes that it connects to; they may be added later.
        """
        number = len(self.nodes) + 1
        # A node name has underscores where a host name has dashes.
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
        """Start all daemons, one after the other, in the order in which they were added.

        A node that runs before others connect to it saves them a retry. Raises LabError if one fails.
        """
        for node in self.nodes.values():
            node.start()

    def stop(self) -> None:
        """Stop all daemons that run, with ``tinc stop``."""
        with ThreadPoolExecutor(WORKERS) as workers:
            list(workers.map(Node.stop, [node for node in self.nodes.values() if node.started]))

    def converged(self) -> bool:
        """Return whether every started node sees every other. Raises LabError if one has died."""
        started = [node for node in self.nodes.values() if node.started]
        return all(node.sees(started) for node in started)

    def wait_converged(self, timeout: float = PATIENCE_S) -> float:
        """Wait until all started nodes see each other, and return how many seconds that took."""
        return wait_until(self.converged, timeout, "all nodes see each other")

    def logs(self) -> str:
        """Return the last lines of all logs, for the report of a failure."""
        return "\n".join(
            f"--- {node.name} ({node.kind.title})\n{node.log_tail()}" for node in self.nodes.values()
        )
