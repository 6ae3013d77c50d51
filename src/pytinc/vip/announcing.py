"""Tells clients which MAC address serves an address now: one for all clients, or one for each client.

Each known client is asked for its own address, in the name of the virtual one: a host that is asked for its
own address always takes over the sender's MAC address, even if its entry is recent. All other hosts hear an
announcement (RFC 5227, 2.3; RFC 4861, 7.2.6), unless the members share the clients. A client whose frames
arrive is not asked again. The clients of a node that joins the mesh, or comes back, are asked as well: they
missed the earlier announcements.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Final

from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.core import Core
from pytinc.vip.healing import PACE, PAUSE
from pytinc.wire import neighbour

ROUNDS: Final = (0.0, 0.1, 0.5, 1.1, 3.0)
"""Seconds after the beginning at which clients are told. A frame may be lost, and a Linux kernel ignores an
announcement if its entry changed within the last second (locktime)."""


@dataclass(slots=True)
class _Announcement:
    record: AddressRecord
    mac: bytes | None
    """The MAC address that serves all clients; None: each of ``clients`` has its own."""
    begin: float
    next: float
    nodes: frozenset[str] | None = None
    """The node whose clients are told; None: all clients are."""
    clients: frozenset[bytes] = frozenset()
    """The MAC addresses of the clients that are told, if not all are."""
    round: int = 0
    queue: list[Client] = field(default_factory=list)


class Announcing:
    """Announcements under way, by address."""

    def __init__(self, core: Core, holder_of: Callable[[AddressRecord, Client], bytes | None]) -> None:
        self._core = core
        self._own_holder_of = holder_of
        """Gives the MAC address that serves a client, if each client has its own."""
        self._open: dict[bytes, _Announcement] = {}
        self._welcomes: dict[bytes, _Announcement] = {}
        """The announcements for nodes that have just joined."""

    def start(self, record: AddressRecord, mac: bytes, now: float) -> None:
        """Tell all clients, now and in later rounds, that ``mac`` has the address."""
        self._open[record.address] = _Announcement(record, mac, now, now)

    def tell(self, record: AddressRecord, clients: Iterable[bytes], begin: float, now: float) -> None:
        """Tell some clients (MAC addresses), in rounds from ``begin`` on, which host serves each of them.

        A client that is being told already starts again with the first round.
        """
        before = self._open.get(record.address)
        told = frozenset(clients) | (frozenset() if before is None else before.clients)
        told &= record.clients.keys()  # without forgotten clients
        self._open[record.address] = _Announcement(record, None, begin, begin, clients=told)
        self.tick(now)

    def welcome(self, record: AddressRecord, mac: bytes, node: str, now: float) -> None:
        """Tell the clients of a node that has just joined, now and in later rounds."""
        before = self._welcomes.get(record.address)
        nodes = frozenset((node,)) if before is None or before.nodes is None else before.nodes | {node}
        self._welcomes[record.address] = _Announcement(record, mac, now, now, nodes)

    def stop(self, address: bytes) -> None:
        """Stop: another node serves the address."""
        self._open.pop(address, None)
        self._welcomes.pop(address, None)

    def _all(self) -> list[_Announcement]:
        return [*self._open.values(), *self._welcomes.values()]

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return min([each.next for each in self._all()], default=math.inf)

    def tick(self, now: float) -> None:
        """Send the announcements that are due."""
        for announcement in self._all():
            if now >= announcement.next:
                self._tell(announcement, now)

    def _tell(self, this: _Announcement, now: float) -> None:
        core, record = self._core, this.record
        if not this.queue:
            if this.mac is not None and this.nodes is None:
                core.send(neighbour.announcement(this.mac, record.address))
            this.queue = [client for client in record.clients.values() if self._is_to_be_told(this, client)]
            this.round += 1
        batch, this.queue = this.queue[:PACE], this.queue[PACE:]
        for client in batch:
            if (holder := self._holder_of(this, client)) is not None:
                core.send(neighbour.claim(holder, record.address, client.mac, client.address))
                client.believe(holder, now)
        core.count(questions=len(batch))
        if this.queue:
            this.next = now + PAUSE
        elif this.round < len(ROUNDS):
            this.next = max(this.begin + ROUNDS[this.round], now + PAUSE)
        else:
            (self._open if this.nodes is None else self._welcomes).pop(record.address)

    def _holder_of(self, this: _Announcement, client: Client) -> bytes | None:
        """Return the MAC address that a client is told; None if it is told nothing."""
        if this.mac is not None:
            return this.mac
        return self._own_holder_of(this.record, client) if client.mac in this.clients else None

    def _is_to_be_told(self, this: _Announcement, client: Client) -> bool:
        core, record = self._core, this.record
        owner, holder = core.mesh.owner(client.mac), self._holder_of(this, client)
        if owner is None or holder is None or client.mac in record.holders:
            return False
        if owner == core.me and this.mac is not None:
            return False  # it hears our host directly
        if this.nodes is not None and owner not in this.nodes:
            return False
        return core.mesh.last_use(holder, client.mac, record.address) < this.begin
