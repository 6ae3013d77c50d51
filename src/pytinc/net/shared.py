"""The guard of shared addresses as rows of the control socket: the node's report, cut to fit.

`pytinc.net.shell` asks the node for the view; `pytinc.control.shared` defines the rows.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict

from pytinc.control.objects import Values
from pytinc.control.shared import (
    MAX_ADDRESSES,
    MAX_CLIENTS,
    MAX_CLIENTS_IN_ALL,
    MAX_HOLDERS,
    format_address,
    format_guard,
)
from pytinc.vip.views import AddressView, ClientView, FailoverView, GuardView, HolderView
from pytinc.wire.times import milliseconds


def rows(view: GuardView) -> list[str]:
    """Return the rows of DUMP_SHARED: first the guard, then each address."""
    made = [format_guard(_guard(view))]
    room = MAX_CLIENTS_IN_ALL
    for address in view.addresses[:MAX_ADDRESSES]:
        clients = sorted(address.clients, key=lambda client: client.idle_s)[: min(MAX_CLIENTS, room)]
        room -= len(clients)
        made.append(format_address(_address(address, clients)))
    return made


def _guard(view: GuardView) -> Values:
    return {
        "enabled": view.enabled,
        "interval_ms": milliseconds(view.interval_s),
        "watched": view.watched,
        "last_failover_ms": None if view.last_failover_s is None else milliseconds(view.last_failover_s),
        "addresses_total": len(view.addresses),
        **asdict(view.counters),
    }


def _address(view: AddressView, clients: list[ClientView]) -> Values:
    used = Counter(client.holder for client in view.clients)
    holders = view.holders
    if len(holders) > MAX_HOLDERS:
        holders = tuple(sorted(holders, key=lambda holder: holder.answered_s)[:MAX_HOLDERS])
    return {
        "address": view.address,
        "shared": view.shared,
        "holders_total": len(view.holders),
        "holders": [_holder(holder, used[holder.mac]) for holder in holders],
        "clients_total": view.clients_total,
        "clients": [_client(client) for client in clients],
        "failover": None if view.failover is None else _failover(view.failover),
    }


def _holder(view: HolderView, clients: int) -> Values:
    return {
        "mac": view.mac,
        "node": view.node,
        "state": view.state.value,
        "rtt_us": None if view.rtt_s is None else round(view.rtt_s * 1e6),
        "answered_ms": milliseconds(view.answered_s),
        "clients": clients,
    }


def _client(view: ClientView) -> Values:
    return {
        "mac": view.mac,
        "address": view.address,
        "node": view.node,
        "holder": view.holder,
        "idle_ms": milliseconds(view.idle_s),
    }


def _failover(view: FailoverView) -> Values:
    return {
        "ago_ms": milliseconds(view.ago_s),
        "reason": view.reason,
        "from_node": view.from_node,
        "to_node": view.to_node,
        "silent_ms": milliseconds(view.silent_s),
        "took_ms": None if view.seconds is None else milliseconds(view.seconds),
        "clients": view.clients,
    }
