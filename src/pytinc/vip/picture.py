"""Makes the view of the guard that `pytinc.vip.views` describes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Final

from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.core import Core, address_text, mac_text
from pytinc.vip.detector import State
from pytinc.vip.views import (
    AddressView,
    ClientView,
    GuardCounters,
    GuardSummary,
    GuardView,
    HolderState,
    HolderView,
)

MAX_CLIENTS: Final = 256
"""Most clients of one address that are shown: those that asked last."""
PROBE_SIZE: Final = 51
"""Bytes of UDP payload of a probe."""
_STATES: Final = {
    State.ALIVE: HolderState.ALIVE,
    State.SUSPECT: HolderState.SUSPECT,
    State.SILENT: HolderState.SILENT,
}


def guard_summary(core: Core, *, last_failover_s: float | None) -> GuardSummary:
    """Return the numbers of the guard without the addresses."""
    shared = sum(map(core.is_shared, core.table))
    return GuardSummary(len(core.watch), shared, last_failover_s, _counters(core))


def guard_view(core: Core, now: float, *, enabled: bool, last_failover_s: float | None) -> GuardView:
    """Return the whole view."""
    views = [_address(core, record, now) for record in core.table]
    return GuardView(
        enabled,
        core.watch.interval,
        len(core.watch),
        last_failover_s,
        _counters(core),
        tuple(sorted(views, key=lambda view: (not view.shared, len(view.address), view.address))),
    )


def _counters(core: Core) -> GuardCounters:
    watch = core.watch
    return replace(
        core.counters, stalls=watch.stalls, probes=watch.probes, probe_bytes=watch.probes * PROBE_SIZE
    )


def _address(core: Core, record: AddressRecord, now: float) -> AddressView:
    failover = record.failover
    latest = list(islice(reversed(record.clients.values()), MAX_CLIENTS))
    return AddressView(
        address_text(record.address),
        core.is_shared(record),
        tuple(_holders(core, record, now)),
        tuple(_client(core, record, client, now) for client in latest),
        len(record.clients),
        None if failover is None else replace(failover, ago_s=now - record.failover_at),
    )


def _holders(core: Core, record: AddressRecord, now: float) -> Iterator[HolderView]:
    for mac in sorted(record.holders):
        holder, owner = record.holders[mac], core.mesh.owner(mac)
        detector = None if owner is None else core.watch.get(core.mesh.first_hop(owner) or owner)
        if owner == core.me:
            state = HolderState.OWN
        elif owner is None or not core.mesh.is_reachable(owner):
            state = HolderState.UNREACHABLE
        elif detector is None:
            state = HolderState.UNWATCHED
        else:
            state = _STATES[detector.state]
        rtt = None if detector is None else detector.srtt
        yield HolderView(mac_text(mac), owner, state, rtt, now - holder.answered)


def _client(core: Core, record: AddressRecord, client: Client, now: float) -> ClientView:
    holder = core.holder_of(record, client, now)
    return ClientView(
        mac_text(client.mac),
        address_text(client.address),
        core.mesh.owner(client.mac),
        None if holder is None else mac_text(holder),
        now - max(client.seen, core.last_use(record, client)[0]),
    )
