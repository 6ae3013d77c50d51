"""Guards tell each other which client uses which holder: who sees its frames knows, the others cannot.

A *notice* is a question in the client's name, addressed to the MAC address of the guards: switches send it
to all nodes, no host takes it, and every guard learns the client from it as from any question. It carries
the MAC address of the holder that the client uses, where that is known.

A node with a holder tells of clients behind C nodes when they begin to use it; clients of pytinc nodes need
no other guard. And when a node comes (back) that holds the address or guards it, those who know clients
tell it: it has not heard the questions that were asked before.
"""

from __future__ import annotations

import math
from typing import Final

from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.core import Core
from pytinc.wire import neighbour
from pytinc.wire.neighbour import GUARD_MAC, NO_NOTE

NEWCOMER_DELAYS: Final = ((0.1, 0.5), (1.0, 2.0), (4.0, 6.0))
"""Seconds after a newcomer was noticed at which clients are told, chosen at random between these: its keys
and paths may take a while."""
HEARD_REST: Final = 0.7
"""Seconds for which a client need not be told again, if somebody else did."""
PER_SECOND: Final = 100.0
MAX_WAITING: Final = 1024
STEP: Final = 0.05
"""Seconds between two portions."""


class Notices:
    """What is to be told, and when."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[tuple[bytes, bytes], float] = {}
        """When to tell of a client (MAC address) of an address."""
        self._newcomers: list[tuple[float, bytes]] = []
        """When to tell of all clients of an address."""
        self._due = math.inf

    def used(self, record: AddressRecord, client: Client, holder: bytes, now: float) -> None:
        """A client behind another node began to use a holder; if it is ours, only we know."""
        core = self._core
        if core.mesh.owner(holder) != core.me or core.is_local(client):
            return
        if core.is_balanced(record.address) or not core.is_guarded(client):
            self._put(record, client, now)

    def asked(self, record: AddressRecord, client: Client) -> None:
        """A station behind our device asks for an address.

        Where the members share the clients, one of them must know the address of the station, and that is not
        always in the question when it leaves (`pytinc.datapath.guard`).
        """
        core = self._core
        governed = core.governed.get(record.address)
        if governed is not None and governed.balanced and governed.owner != core.me:
            core.send(neighbour.question(client.mac, client.address, record.address, to=GUARD_MAC))
            core.count(notices=1)

    def newcomer(self, record: AddressRecord, now: float) -> None:
        """A node came that should know the clients of an address."""
        if len(self._newcomers) < MAX_WAITING and all(record.address != each for _, each in self._newcomers):
            self._newcomers += [(now + self._core.between(ends), record.address) for ends in NEWCOMER_DELAYS]
            self._wake(now)

    def heard(self, record: AddressRecord, client: Client, now: float) -> None:
        """Somebody else told of a client."""
        client.noticed = now
        self._waiting.pop((record.address, client.mac), None)

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return self._due

    def tick(self, now: float) -> None:
        """Tell what is due, no more than so many a second."""
        if now < self._due:
            return
        for due, address in [each for each in self._newcomers if now >= each[0]]:
            self._newcomers.remove((due, address))
            record = self._core.table.get(address)
            if record is not None:
                self._put_all(record, now)
        room = math.ceil(PER_SECOND * STEP)
        for key in [key for key, due in self._waiting.items() if now >= due][:room]:
            del self._waiting[key]
            self._tell(*key, now)
        dues = [*self._waiting.values(), *(due for due, _ in self._newcomers)]
        self._due = max(min(dues, default=math.inf), now + STEP)

    def _put_all(self, record: AddressRecord, now: float) -> None:
        core = self._core
        for client in record.clients.values():
            if client.mac not in record.holders and not core.is_local(client) and not core.is_guarded(client):
                self._put(record, client, now)

    def _put(self, record: AddressRecord, client: Client, now: float) -> None:
        if len(self._waiting) < MAX_WAITING and now - client.noticed > HEARD_REST:
            self._waiting.setdefault((record.address, client.mac), now)
            self._wake(now)

    def _tell(self, address: bytes, mac: bytes, now: float) -> None:
        record = self._core.table.get(address)
        client = None if record is None else record.clients.get(mac)
        if record is None or client is None:
            return
        client.noticed = now
        holder = self._core.holder_of(record, client, now)
        if holder is None or not self._core.serves(record, holder):
            holder = NO_NOTE
        self._core.send(neighbour.question(mac, client.address, address, to=GUARD_MAC, note=holder))
        self._core.count(notices=1)

    def _wake(self, now: float) -> None:
        self._due = min(self._due, now + STEP)
