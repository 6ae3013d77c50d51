"""Changes of the mesh: a list of plain facts that the parts of the node are told of.

Events and requests change the mesh: graph, subnets, connections. The part that changes it notes a fact here
and does not know which parts it concerns. `Changes.settle` then reports all facts in the order in which they
were noted. `pytinc.node.followers.Followers` alone determines which parts are told, and in which
order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from pytinc.node.records import Connection, Peer
from pytinc.wire.address import Address
from pytinc.wire.subnet import Subnet


@dataclass(frozen=True, slots=True)
class RoutesChanged:
    """The graph was run. The routes are in the records of the peers."""

    flipped: Sequence[Peer]
    """Nodes that became reachable or unreachable."""
    addresses: Sequence[tuple[Peer, Address]]
    """UDP addresses from edges, for nodes without a usable one and for nodes that became reachable."""


@dataclass(frozen=True, slots=True)
class SubnetAdded:
    """A subnet is new; the owner of a broadcast subnet is None."""

    owner: str | None
    subnet: Subnet


@dataclass(frozen=True, slots=True)
class SubnetDeleted:
    """A subnet is gone."""

    owner: str | None
    subnet: Subnet


@dataclass(frozen=True, slots=True)
class MacMoved:
    """A MAC address was announced or learned while another node owned it."""

    mac: bytes
    before: str
    owner: str


@dataclass(frozen=True, slots=True)
class ConnectionActivated:
    """The login of a meta connection is complete."""

    connection: Connection


@dataclass(frozen=True, slots=True)
class ConnectionEnded:
    """A meta connection has ended, or was never established. No table contains it any more."""

    connection: Connection
    peer: Peer | None
    """The node at the other end, if this was its current connection; another one may have taken its place."""


@dataclass(frozen=True, slots=True)
class Slept:
    """The machine or the process was suspended for so long that all peers consider this node gone."""


@dataclass(frozen=True, slots=True)
class PeerForgotten:
    """A node was purged. No table contains its record any more."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Happened:
    """An event for `pytinc.node.history` that concerns no other part of the node."""

    kind: str
    fields: Mapping[str, object]


Change: TypeAlias = (
    RoutesChanged
    | SubnetAdded
    | SubnetDeleted
    | MacMoved
    | ConnectionActivated
    | ConnectionEnded
    | Slept
    | PeerForgotten
    | Happened
)


class Changes:
    """Changes that have not been reported yet."""

    def __init__(self) -> None:
        self._noted: list[Change] = []
        self.tell: Callable[[Change, float], None] = _nobody_listens
        """Tells the parts that a change concerns; the node sets this once all its parts are made."""

    def note(self, change: Change) -> None:
        """Remember a change until the next `settle`."""
        self._noted.append(change)

    def settle(self, now: float) -> None:
        """Report all changes, including those that the reports cause."""
        while self._noted:
            noted, self._noted = self._noted, []
            for change in noted:
                self.tell(change, now)


def _nobody_listens(change: Change, now: float) -> None:
    raise AssertionError("the node is not complete yet")
