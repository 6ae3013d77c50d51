"""The actions of the guard, which `pytinc.node.guard` carries out, and the facts that it needs from there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final, NamedTuple, Protocol, TypeAlias

NO_HOLDER: Final = b""
"""Stands in place of a holder's MAC address where the holders differ."""


class Mesh(Protocol):
    """The facts about the mesh that the guard reads. It knows nodes by name; MAC addresses are 6 bytes."""

    def owner(self, mac: bytes) -> str | None:
        """Return the node that owns a MAC address; None if none does."""

    def is_reachable(self, node: str) -> bool:
        """Tell whether the graph reaches a node; it always reaches the own node."""

    def is_alone(self) -> bool:
        """Tell whether no other node can be reached."""

    def first_hop(self, node: str) -> str | None:
        """Return the node that frames for ``node`` are sent to; None if it takes no UDP."""

    def last_hop(self, node: str, since: float) -> str | None:
        """Return the relay that brought the last frame of ``node``.

        None: the frame came directly, or before ``since``.
        """

    def received(self, node: str) -> int:
        """Return how many frames came from a node so far, in authentic datagrams."""

    def last_use(self, holder: bytes, client: bytes, address: bytes) -> float:
        """Return when a client's last frame to an address at a holder passed this node.

        Minus infinity if none did.
        """

    def is_guard(self, node: str) -> bool:
        """Tell whether a node has said that it guards its own clients."""

    def name_of(self, node_id: bytes) -> str | None:
        """Return the node with this id."""

    def own_mac(self) -> bytes | None:
        """Return the MAC address of the own device; None if it has none."""

    def record_peers(self) -> Iterable[str]:
        """Return the nodes that take member records and can be reached by UDP."""

    def witnesses(self) -> Iterable[str]:
        """Return nodes that can be probed and are likely to answer as long as this node is connected."""

    def is_stranger(self, node: str) -> bool:
        """Tell whether no probe of a node has come yet, so that it may be one that takes member records."""

    def may_hold(self, node: str, address: bytes, now: float) -> bool:
        """Tell whether a node has the right to serve an address."""

    def possible_members(self, addresses: Iterable[bytes]) -> Iterable[str]:
        """Return the reachable nodes that may be members of one of these addresses."""

    def has_rivals(self) -> bool:
        """Tell whether any subnet has more than one owner."""

    def rivals(self, now: float) -> Iterable[str]:
        """Return the nodes in use that own a subnet which another node owns as well."""


@dataclass(frozen=True, slots=True)
class SendProbe:
    """Send a UDP probe with these four bytes in it; the answer brings them back."""

    node: str
    nonce: bytes


@dataclass(frozen=True, slots=True)
class AskMeta:
    """Ask a node over the meta connections whether it is alive."""

    node: str


@dataclass(frozen=True, slots=True)
class KeepWarm:
    """Keep the key and the UDP path of a node ready, as if there were traffic."""

    node: str


@dataclass(frozen=True, slots=True)
class SendFrame:
    """Send an Ethernet frame to where its destination is."""

    frame: bytes


@dataclass(frozen=True, slots=True)
class SetSilent:
    """Prefer the other owners of a node's subnets, or stop preferring them."""

    node: str
    silent: bool


@dataclass(frozen=True, slots=True)
class Notice:
    """Write a log line at tinc's debug ``level``."""

    level: int
    priority: str
    message: str


@dataclass(frozen=True, slots=True)
class Changed:
    """Run the script ``vip-changed``."""

    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Happened:
    """Report an event to the programs that watch the node (docs/json.md, "events")."""

    kind: str
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SendRecord:
    """Send a record of virtual IPs (member or assignment) to a pytinc node."""

    node: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class ServiceChanged:
    """This node's host starts to serve a virtual address (script ``vip-up``), or stops (``vip-down``)."""

    script: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class NewRules:
    """`Guard.rules` has changed."""


@dataclass(frozen=True, slots=True)
class Gone:
    """The withdrawal that was asked for is over."""


Action: TypeAlias = (
    SendProbe
    | AskMeta
    | KeepWarm
    | SendFrame
    | SetSilent
    | Notice
    | Changed
    | Happened
    | SendRecord
    | ServiceChanged
    | NewRules
    | Gone
)


class FlowShares(NamedTuple):
    """The members that get the flows to one address with ``balance=flow``."""

    members: tuple[tuple[str, bytes, int], ...]
    """Node, MAC and weight of each member that gets new flows."""
    kept: frozenset[bytes]
    """MACs of members that keep the flows that they have."""
    macs: frozenset[bytes]
    """MACs to which stations may send packets for the address."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What the data path must do: the fields of `pytinc.datapath.guard_table.GuardTable`, and `flows`."""

    macs: frozenset[bytes] = frozenset()
    addresses: frozenset[bytes] = frozenset()
    senders: Mapping[bytes, bytes] = field(default_factory=dict)
    known: frozenset[bytes] = frozenset()
    withheld: frozenset[bytes] = frozenset()
    answered: Mapping[bytes, frozenset[bytes]] = field(default_factory=dict)
    left: frozenset[bytes] = frozenset()
    absent: frozenset[bytes] = frozenset()
    answering: Mapping[bytes, frozenset[str]] = field(default_factory=dict)
    own: frozenset[bytes] = frozenset()
    taken_over: Mapping[bytes, tuple[bytes, float]] = field(default_factory=dict)
    in_use: Mapping[bytes, bytes] = field(default_factory=dict)
    lenient: bool = False
    flows: Mapping[bytes, FlowShares] = field(default_factory=dict)
