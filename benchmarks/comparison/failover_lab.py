"""The networks of the fail-over benchmark: the roles of the nodes, queries, and faults.

There are three topologies, each with an entry (node_1), members that hold the virtual address (node_2 to
node_4) and a client (node_5):

* star: all other nodes connect only to the entry;
* tail: the client connects only to the member node_2 instead;
* relay: there is a second entry (node_7), all nodes connect to both, and no UDP passes between the client and
  the member node_2, so that one of the entries relays their traffic.

In the cast with a bystander, node_6 is an additional node that is neither member nor client.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import time
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Final

from comparison.failover_figures import CASTS
from comparison.failover_keepalived import FIRST_PRIORITY, Keepalived, configuration
from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Lab, LabError
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.outage import serve
from pytinc.lab.traffic import neighbour

VIPS: Final = {"ipv4": "10.1.1.10", "ipv6": "fd00:1::10"}
VIP_PREFIXES: Final = {"ipv4": "10.1.1.10/24", "ipv6": "fd00:1::10/64"}
PORT: Final = 7007
FREEZE_S: Final = 5.0
SETTLE_S: Final = 3.0
"""Seconds that a new network gets before the first fault, so that the guards learn the uses of addresses."""
START_TIMEOUT_S: Final = 40.0
CLAIM_TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.1
BASE_REACHABLE_MS: Final = 30000
"""The default of Linux."""
CURES: Final = (4.0, 12.0, 40.0)
"""Seconds until a network must work again after a fault: by itself, after a restart of the faulty node, and
after a restart of all nodes."""


class Topology(Enum):
    """How the meta connections run."""

    STAR = "star"
    TAIL = "tail"
    RELAY = "relay"


@dataclass(frozen=True, slots=True)
class Cast:
    """The implementation in each role."""

    name: str
    entry: Kind = Kind.C
    member: Kind = Kind.C
    client: Kind = Kind.C
    bystander: Kind | None = None
    keepalived: bool = False


PLAYERS: Final = {
    cast.name: cast
    for cast in (
        Cast("C"),
        Cast("keepalived", keepalived=True),
        Cast("bystander", bystander=Kind.PY),
        Cast("members", member=Kind.PY),
        Cast("client", client=Kind.PY),
        Cast("pytinc", Kind.PY, Kind.PY, Kind.PY),
    )
}
assert PLAYERS.keys() == CASTS.keys()


def own_addresses(number: int) -> dict[str, str]:
    """A node's own addresses inside the network."""
    return {"ipv4": f"10.1.1.{number}", "ipv6": f"fd00:1::{number}"}


def with_prefix(addresses: dict[str, str]) -> list[str]:
    """Addresses in the form of ``ip address add``. Without nodad, only the first member keeps the VIP."""
    return [f"{addresses['ipv4']}/24", f"{addresses['ipv6']}/64 nodad"]


MEMBERS: Final = {"node_2": own_addresses(102), "node_3": own_addresses(103), "node_4": own_addresses(104)}
TAIL_MEMBER: Final = "node_2"
"""The client's meta neighbour in the tail topology; in the relay topology, the member without UDP to it."""


class Group:
    """One network of a cast, built and running until its lab is closed."""

    def __init__(self, lab: Lab, cast: Cast, topology: Topology, *, vip_first: bool = False) -> None:
        self.lab = lab
        self.cast = cast
        self.topology = topology
        self.network = Network(lab)
        self._keepalived: dict[str, Keepalived] = {}
        self._add_nodes(vip_first)

    def _entries(self) -> list[str]:
        return ["node_1", "node_7"] if self.topology is Topology.RELAY else ["node_1"]

    def _add_nodes(self, vip_first: bool) -> None:
        add, cast = self.network.add, self.cast
        entries = self._entries()
        add("node_1", cast.entry, with_prefix(own_addresses(1)))
        for name, own in MEMBERS.items():
            parts = [own] if cast.keepalived else [VIPS, own] if vip_first else [own, VIPS]
            add(name, cast.member, [each for part in parts for each in with_prefix(part)], entries)
        neighbours = [TAIL_MEMBER] if self.topology is Topology.TAIL else entries
        add("node_5", cast.client, with_prefix(own_addresses(2)), neighbours)
        if cast.bystander is not None:
            add("node_6", cast.bystander, with_prefix(own_addresses(6)), entries)
        for name in entries[1:]:
            add(name, cast.entry, with_prefix(own_addresses(7)), entries[:1])
        self.network.exchange_keys()
        if cast.keepalived:
            for number, (name, own) in enumerate(MEMBERS.items()):
                others = [addresses for other, addresses in MEMBERS.items() if other != name]
                addresses = {family: [own[family], *(each[family] for each in others)] for family in VIPS}
                text = configuration(name, FIRST_PRIORITY - number, addresses, VIP_PREFIXES)
                self._keepalived[name] = Keepalived(self.network[name], text)

    @property
    def client(self) -> Node:
        """The node that uses the virtual address."""
        return self.network["node_5"]

    @property
    def members(self) -> list[Node]:
        """The nodes that hold it."""
        return [self.network[name] for name in MEMBERS]

    def start(self) -> None:
        """Start everything and wait until it works."""
        self._block_udp()
        self.network.start()
        for node in self.members:
            serve(node.host, PORT)
        wait_until(self.connected, START_TIMEOUT_S, "all nodes are connected")
        for keepalived in self._keepalived.values():
            keepalived.start()
        wait_until(self.well, START_TIMEOUT_S, "the network is well")
        time.sleep(SETTLE_S)

    def _block_udp(self) -> None:
        if self.topology is Topology.RELAY:
            self.lab.block_udp(self.client.host, self.network[TAIL_MEMBER].host)

    # Questions

    def connected(self) -> bool:
        """Return whether all nodes reach each other, and client and members use UDP; this sends pings."""
        started = [node.name for node in self.network if node.started]
        views = {name: self.network[name].nodes() for name in started}
        if not all(name in view and view[name].reachable for view in views.values() for name in started):
            return False
        entries = self._entries()
        linked = [
            views[name][entry].nexthop == entry
            for name in started
            for entry in entries
            if self.topology is Topology.RELAY and name not in entries
        ]
        if not all(linked):
            return False  # with only one relay, its death is another fault
        self._warm_up()
        client = self.client.name
        direct = [
            name
            for name in MEMBERS
            if (self.topology, name) != (Topology.RELAY, TAIL_MEMBER) and name in views
        ]
        return all(views[client][name].by_udp and views[name][client].by_udp for name in direct)

    def _warm_up(self) -> None:
        """One ping from the client to each member, and from each member to the next."""
        self._ping(self.client, list(MEMBERS.values()))
        if self.cast.keepalived:
            # Not in both directions at once: two C nodes that request each other's key then wait ten seconds.
            for index, node in enumerate(self.members):
                self._ping(node, list(MEMBERS.values())[index + 1 :])

    def _ping(self, node: Node, targets: list[dict[str, str]]) -> None:
        pings = " ".join(f"ping -n -c 1 -W 0.5 {each['ipv4']} &" for each in targets)
        node.host.run("sh", "-c", f"{pings} wait", check=False)

    def well(self) -> bool:
        """Whether the network is ready for a fault."""
        return self.connected() and all(self._one_master(family) for family in self._instances())

    def _instances(self) -> list[str]:
        return list(VIPS) if self.cast.keepalived else []

    def _one_master(self, family: str) -> bool:
        return len(self.masters(family)) == 1

    def masters(self, family: str) -> list[Node]:
        """The members that have the virtual address on their interface."""
        show = ("ip", "-br", "address", "show", "dev", "vpn")
        return [
            node
            for node in self.members
            if VIP_PREFIXES[family] in node.host.run(*show, check=False).stdout.split()
        ]

    def entry_state(self, family: str) -> tuple[Node | None, str]:
        """Return the holder in the client's neighbour entry, and the state of the entry."""
        mac, state = neighbour(self.client.host, VIPS[family])
        return next((node for node in self.members if node.mac == mac), None), state

    def relay(self, holder: Node) -> Node:
        """Return the node that relays the client's frames to a member."""
        view = self.client.nodes()[holder.name]
        if view.by_udp or view.nexthop == holder.name:
            raise LabError(f"nothing relays between {self.client.name} and {holder.name}")
        return self.network[view.nexthop]

    # Actions

    def forget(self, family: str) -> None:
        """Make the client ask again."""
        self.client.host.run("ip", "neigh", "del", VIPS[family], "dev", "vpn", check=False)

    def draw_reachable_time(self, family: str) -> None:
        """Make the client's kernel choose a new random time for which a neighbour is REACHABLE (15 to 45 s).

        By itself it does so only every five minutes, so consecutive runs would all be the same.
        """
        variable = f"net.{family}.neigh.vpn.base_reachable_time_ms"
        self.client.host.run("sysctl", "-qw", f"{variable}={BASE_REACHABLE_MS}")

    def claim(self, node: Node, family: str) -> None:
        """Make the client use a member: the others remove the virtual address while the client asks."""
        others = [other for other in self.members if other is not node]
        for other in others:
            self._let_go(other, family)
        try:

            def held() -> bool:
                self.forget(family)
                return answers(self.client.host, VIPS[family]) and self.entry_state(family)[0] is node

            wait_until(held, CLAIM_TIMEOUT_S, f"{node.name} holds the VIP", interval=POLL_S)
        finally:
            for other in others:
                self._take_up(other, family)

    def _let_go(self, node: Node, family: str) -> None:
        if self.cast.keepalived:
            self._keepalived[node.name].stop()
        else:
            node.host.run("ip", "address", "del", VIP_PREFIXES[family], "dev", "vpn")

    def _take_up(self, node: Node, family: str) -> None:
        if self.cast.keepalived:
            self._keepalived[node.name].start()
            return
        words = ("nodad",) if family == "ipv6" else ()
        node.host.run("ip", "address", "add", VIP_PREFIXES[family], "dev", "vpn", *words)

    def stop(self, node: Node) -> None:
        """A planned stop: services in the reverse order of their start, keepalived first."""
        if node.name in self._keepalived:
            self._keepalived[node.name].stop()
        node.stop()

    def freeze(self, node: Node) -> None:
        """Stop a daemon's process for a while, and continue it."""
        pid = node.pid()
        if pid is None:
            raise LabError(f"{node.name} does not run")
        os.kill(pid, signal.SIGSTOP)
        try:
            time.sleep(FREEZE_S)
        finally:
            os.kill(pid, signal.SIGCONT)

    def crash(self, node: Node) -> None:
        """Kill a host."""
        node.host.crash()
        node.started = False

    def restart(self, node: Node) -> None:
        """Start the stopped programs of a node, after ``boot`` if necessary."""
        if not node.started:
            node.start()
        if node.name in self._keepalived:
            # keepalived does not handle an interface that disappeared and returned.
            self._keepalived[node.name].restart()

    def boot(self, node: Node) -> None:
        """Restart a host that was killed."""
        node.host.boot()
        serve(node.host, PORT)
        self.restart(node)

    def cure(self, faulty: Node) -> bool:
        """Wait until the network works after a fault; return whether this needed no force."""
        for patience, victims in zip(CURES, ([], [faulty], list(self.network)), strict=True):
            for node in victims:
                self._afresh(node)
            with contextlib.suppress(LabError):
                wait_until(self.well, patience, "the network is well", interval=POLL_S)
                return not victims
        raise LabError("the network does not get well after the fault")

    def mend(self) -> None:
        """Undo all effects of a failed run, and restart every daemon."""
        self.lab.clear_faults()
        self._block_udp()
        for node in self.network:
            node.host.boot()
            if not node.running():
                node.started = False
        for node in self.members:
            if not node.host.run("ss", "-Htln", f"sport = :{PORT}").stdout:
                serve(node.host, PORT)
            for family in () if self.cast.keepalived else VIPS:
                with contextlib.suppress(LabError):
                    self._take_up(node, family)
        for node in self.network:
            self._afresh(node)
        wait_until(self.well, START_TIMEOUT_S, "the network is well", interval=POLL_S)

    def _afresh(self, node: Node) -> None:
        if node.running():
            node.kill()
        node.started = False
        self.restart(node)


FLAPPING: Final = """\
while :; do
    ip neigh flush dev vpn
    ping -n -c 1 -W 0.3 {source} {client} >/dev/null
    ping -n -c 1 -W 0.3 {source} {entry} >/dev/null
    sleep 0.1
done
"""


def flapping(family: str) -> str:
    """The actions of a member while flips are counted: it forgets its neighbours, and asks for them again.

    Like the how-to's members (there the VIP is the primary address), it asks with the VIP as sender.
    """
    # An IPv6 host may choose any address of the prefix as its source.
    source = f"-I {VIPS['ipv6']}" if family == "ipv6" else ""
    targets = {"client": own_addresses(2)[family], "entry": own_addresses(1)[family]}
    return FLAPPING.format(source=source, **targets)


_MONITORED: Final = re.compile(r"^(?!Deleted)(?P<address>\S+) .*lladdr (?P<mac>\S+)")


def count_flips(text: str, address: str) -> int:
    """Count the changes of an address's MAC address in the output of ``ip monitor neigh``."""
    matches = (_MONITORED.match(line) for line in text.splitlines())
    macs = [match["mac"] for match in matches if match is not None and match["address"] == address]
    return sum(before != after for before, after in pairwise(macs))
