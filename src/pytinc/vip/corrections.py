"""Leads clients back that a host has led away without meaning it.

A host that has the virtual IP as its first address names it as the sender of its own questions, and everybody
who hears one takes over the MAC address (docs/virtual-ip.md). pytinc members do not let such questions out.
For C members, the first guard of an address tells each client where it was, 20 ms later, by a question for
its own address: a kernel believes that at any time. Stations behind our own device do not hear such questions
at all.
"""

from __future__ import annotations

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
"""Seconds between two misleading questions about one address that are looked at: there may be thousands of
clients to look at."""
RESTS: Final = (1.0, 10.0, 30.0)
"""Seconds from one correction of a client to the next."""
FORGIVEN: Final = 60.0
"""Seconds after which the shortest rest counts again."""
MAX_WAITING: Final = 1024


class _Correction(NamedTuple):
    due: float
    address: bytes
    client: bytes
    holder: bytes


class Corrections:
    """Corrections that are under way."""

    def __init__(self, core: Core, asking: Asking) -> None:
        self._core = core
        self._asking = asking
        self._waiting: list[_Correction] = []

    def on_assertion(self, message: Message, now: float) -> None:
        """A question of another node's host says by the way that its sender has an address."""
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
        leads = self._leads(record, now)
        for client in record.clients.values():
            if client.mac == message.mac or core.is_local(client) or core.is_guarded(client):
                continue
            holder = core.holder_of(record, client, now)
            if holder is None or not core.serves(record, holder):
                client.believe(message.mac, now)
            elif holder != message.mac and leads:
                self._correct_soon(record, client, holder, now)

    def _leads(self, record: AddressRecord, now: float) -> bool:
        """Tell whether it is this node that corrects: who gives the clients out, or the first guard."""
        if self._core.is_balanced(record.address):
            return self._core.governed[record.address].owner == self._core.me
        return self._asking.rank(record, now) == 0

    def _on_claim(self, record: AddressRecord, message: Message, now: float) -> None:
        """One client is told who has the address."""
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
        """Tell clients what is due."""
        core = self._core
        while self._waiting and now >= self._waiting[0].due:
            _, address, mac, holder = self._waiting.pop(0)
            record = core.table.get(address)
            client = None if record is None else record.clients.get(mac)
            if record is not None and client is not None and core.serves(record, holder):
                core.send(neighbour.claim(holder, address, client.mac, client.address))
                core.count(corrections=1)

    def _correct_soon(self, record: AddressRecord, client: Client, holder: bytes, now: float) -> None:
        since = now - client.corrected
        if since > FORGIVEN:
            client.corrections = 0
        elif since < RESTS[min(client.corrections, len(RESTS)) - 1]:
            return
        if len(self._waiting) >= MAX_WAITING:
            return
        client.corrected, client.corrections = now, client.corrections + 1
        self._waiting.append(_Correction(now + DELAY, record.address, client.mac, holder))
