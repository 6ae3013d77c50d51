"""Leads clients back after a host's own question has misled them.

A host that has the virtual IP as its first address names it as the sender of its own questions, and every
host that hears one takes over the MAC address (docs/virtual-ip.md). pytinc members do not let such questions
out. For C members, the first guard of an address tells each client where it was, 20 ms later, by a question
for its own address: a kernel believes that at any time. Stations behind our own device do not hear such
questions at all.

For an address with members, the node that speaks for the owner tells the clients which member serves. It does
so after each question of a client as well, because the hosts of C members answer every question.
"""

from __future__ import annotations

import heapq
import math
from typing import Final, NamedTuple

from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.asking import Asking
from pytinc.vip.core import Core
from pytinc.wire import neighbour
from pytinc.wire.ethernet import is_group
from pytinc.wire.neighbour import Message

DELAY: Final = 0.02
REST: Final = 0.02
"""Least seconds between two misleading questions about one address that are acted on: each may concern
thousands of clients."""
RESTS: Final = (1.0, 10.0, 30.0)
"""Seconds from one correction of a client to the next."""
FORGIVEN: Final = 60.0
"""Seconds without a correction after which the shortest interval applies again."""
AFTER_QUESTION: Final = (0.02, 0.1, 1.1)
"""Seconds after a client's question at which it is told which member serves: the wrong answers have come by
then. There are several because a frame may be lost."""
MAX_WAITING: Final = 1024


class _Correction(NamedTuple):
    due: float
    address: bytes
    client: bytes
    holder: bytes | None
    """None: the member that serves at that time."""


class Corrections:
    """Corrections that are under way."""

    def __init__(self, core: Core, asking: Asking) -> None:
        self._core = core
        self._asking = asking
        self._waiting: list[_Correction] = []

    def on_assertion(self, message: Message, now: float) -> None:
        """A question of another node's host names an address as its sender, and so may mislead clients."""
        core = self._core
        record = core.table.get(message.address)
        if record is None or not core.is_shared(record):
            return
        if not is_group(message.to):
            self._on_claim(record, message, now)
            return
        if message.mac not in record.holders:
            self._asking.doubt(record, now)
            return
        if now - record.asserted <= REST:
            return
        record.asserted = now
        if record.address in core.governed:
            self._on_misleading(record, message.mac, now)
            return
        leads = self._asking.rank(record, now) == 0
        for client in record.clients.values():
            if client.mac == message.mac or core.is_local(client) or core.is_guarded(client):
                continue
            holder = core.holder_of(record, client, now)
            if holder is None or not core.serves(record, holder):
                client.believe(message.mac, now)
            elif holder != message.mac and leads:
                self._correct_soon(record, client, holder, now)

    def _on_misleading(self, record: AddressRecord, mac: bytes, now: float) -> None:
        """A host names an address with members as the sender of a question."""
        core = self._core
        for client in record.clients.values():
            if client.mac == mac or self._is_cared_for(record, client):
                continue
            if core.chosen(record, client) in (None, mac):
                client.believe(mac, now)
            elif core.speaks(record.address) and now - client.corrected >= RESTS[0]:
                client.corrected = now
                self._wait(now + DELAY, record, client, None)

    def on_question(self, record: AddressRecord, client: Client, now: float) -> None:
        """A client asks all hosts for an address: the hosts of C members answer as well."""
        core = self._core
        if not core.speaks(record.address) or not core.is_contested(record):
            return
        if not self._is_cared_for(record, client) and client.mac not in record.holders:
            for delay in AFTER_QUESTION:
                self._wait(now + delay, record, client, None)

    def _is_cared_for(self, record: AddressRecord, client: Client) -> bool:
        """Tell whether a client's own node drops wrong answers.

        It cannot where the members share the clients, because it does not know which member serves this
        client.
        """
        core = self._core
        return not core.is_balanced(record.address) and (core.is_local(client) or core.is_guarded(client))

    def _wait(self, due: float, record: AddressRecord, client: Client, holder: bytes | None) -> None:
        if len(self._waiting) < MAX_WAITING:
            heapq.heappush(self._waiting, _Correction(due, record.address, client.mac, holder))

    def _on_claim(self, record: AddressRecord, message: Message, now: float) -> None:
        """Tell one client which host has the address."""
        client = record.clients.get(message.to)
        if client is None or message.mac not in record.holders:
            return
        # Our own host does not hear of a holder that is silent (`pytinc.datapath.guard`).
        if not self._core.is_local(client) or self._core.serves(record, message.mac):
            client.believe(message.mac, now)

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return self._waiting[0].due if self._waiting else math.inf

    def tick(self, now: float) -> None:
        """Send the corrections that are due."""
        core = self._core
        while self._waiting and now >= self._waiting[0].due:
            _, address, mac, holder = heapq.heappop(self._waiting)
            record = core.table.get(address)
            client = None if record is None else record.clients.get(mac)
            if record is None or client is None:
                continue
            if holder is None and core.speaks(address):
                holder = core.chosen(record, client)
            if holder is not None and core.serves(record, holder):
                core.send(neighbour.claim(holder, address, client.mac, client.address))
                client.believe(holder, now)
                core.count(corrections=1)

    def _correct_soon(self, record: AddressRecord, client: Client, holder: bytes, now: float) -> None:
        since = now - client.corrected
        if since > FORGIVEN:
            client.corrections = 0
        elif since < RESTS[min(client.corrections, len(RESTS)) - 1]:
            return
        client.corrected, client.corrections = now, client.corrections + 1
        self._wait(now + DELAY, record, client, holder)
