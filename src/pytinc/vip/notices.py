"""Guards tell each other which client uses which holder, because only one node sees the client's frames.

A *notice* is a question in the client's name, addressed to the MAC address of the guards: switches send it to
all nodes, no host accepts it, and every guard learns the client from it as from any question. It carries the
MAC address of the holder that the client uses, if that is known.

A node with a holder reports clients behind C nodes when they begin to use it; clients of pytinc nodes need no
other guard. When a node that holds or guards the address joins or comes back, the nodes that know clients
report them to it, because it has missed the earlier questions.
"""

from __future__ import annotations

import math
from typing import Final

from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.core import Core
from pytinc.wire import neighbour
from pytinc.wire.neighbour import GUARD_MAC, NO_NOTE

NEWCOMER_DELAYS: Final = ((0.1, 0.5), (1.0, 2.0), (4.0, 6.0))
"""Seconds from the arrival of a node to the notices for it, chosen at random between these: its keys and
paths may take a while."""
HEARD_REST: Final = 0.7
"""Seconds for which a client need not be reported again after another guard has reported it."""
PER_SECOND: Final = 100.0
MAX_WAITING: Final = 1024
STEP: Final = 0.05
"""Seconds between two batches."""


class Notices:
    """The notices to send, and when."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[tuple[bytes, bytes], float] = {}
        """When to report a client (MAC address) of an address."""
        self._newcomers: list[tuple[float, bytes]] = []
        """When to report all clients of an address."""
        self._due = math.inf

    def used(self, record: AddressRecord, client: Client, holder: bytes, now: float) -> None:
        """A client behind another node began to use a holder: if it is ours, only we know, so report it."""
        core = self._core
        if core.mesh.owner(holder) != core.me or core.is_local(client):
            return
        if core.is_balanced(record.address) or not core.is_guarded(client):
            self._put(record, client, now)

    def asked(self, record: AddressRecord, client: Client) -> None:
        """A station behind our device asks for an address: report it where the members share the clients.

        One of the members must know the address of the station, and the question does not always contain it
        when it leaves (`pytinc.datapath.guard`).
        """
        core = self._core
        governed = core.governed.get(record.address)
        if governed is not None and governed.balanced and governed.owner != core.me:
            core.send(neighbour.question(client.mac, client.address, record.address, to=GUARD_MAC))
            core.count(notices=1)

    def newcomer(self, record: AddressRecord, now: float) -> None:
        """A node joined that should know the clients of an address."""
        if len(self._newcomers) < MAX_WAITING and all(record.address != each for _, each in self._newcomers):
            self._newcomers += [(now + self._core.between(ends), record.address) for ends in NEWCOMER_DELAYS]
            self._wake(now)

    def heard(self, record: AddressRecord, client: Client, now: float) -> None:
        """Another guard reported a client."""
        client.noticed = now
        self._waiting.pop((record.address, client.mac), None)

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return self._due

    def tick(self, now: float) -> None:
        """Send the notices that are due, at a limited rate."""
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
