"""What changed in the mesh, as a list of plain facts that the parts of the node are told of.

Events and requests change the mesh: graph, subnets, connections. Whoever changes it notes a fact here and
does not know whom it concerns. `Changes.settle` then tells them all, in the order in which they were noted.
Who is told, and in which order, is written in one place: `pytinc.node.node.Node`.
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
    """UDP addresses that edges tell, of nodes without a usable one and of those that became reachable."""


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
    """A meta connection is over, or was never made. It is in no table any more."""

    connection: Connection
    peer: Peer | None
    """The node at the other end, if this was its current connection; another one may have taken its place."""


@dataclass(frozen=True, slots=True)
class Slept:
    """The machine was suspended, or the process stopped, for so long that all peers have given us up."""


@dataclass(frozen=True, slots=True)
class PeerForgotten:
    """A node was purged. Its record is in no table any more."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class Happened:
    """Something that concerns only those who watch the node: an event for `pytinc.node.history`."""

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
        """Tells those whom a change concerns; the node sets it once all its parts are made."""

    def note(self, change: Change) -> None:
        """Remember a change until the next `settle`."""
        self._noted.append(change)

    def settle(self, now: float) -> None:
        """Report all changes, including those that reporting causes."""
        while self._noted:
            noted, self._noted = self._noted, []
            for change in noted:
                self.tell(change, now)


def _nobody_listens(change: Change, now: float) -> None:
    raise AssertionError("the node is not complete yet")
