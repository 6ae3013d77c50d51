"""What the page shows, as one JSON document, and the difference between two of them. Pure.

The document has sections. Those in `KEYED` are objects by key, such as nodes by name; a difference has only
their changed values. The others are small and are sent whole if they have changed. docs/view.md, "For
programs", describes the fields.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final, TypeAlias

from pytinc.cli.machine import connection as connection_object
from pytinc.cli.machine import node as node_object
from pytinc.cli.reach import Reach, reach_of
from pytinc.control.messages import EdgeRow, NodeRow, Options, SubnetRow
from pytinc.control.objects import Values
from pytinc.view.asking import Answers
from pytinc.wire.subnet import SubnetKind, parse_subnet

Json: TypeAlias = dict[str, Any]

KEYED: Final = ("nodes", "edges", "addresses")
MAX_NODES: Final = 2000
MAX_EDGES: Final = 10_000
MAX_ADDRESSES: Final = 64
MAX_CLIENTS: Final = 32
"""Clients of an address that are listed."""
MAX_SUBNETS: Final = 16
"""Subnets of a node that are listed."""
MAX_CONNECTIONS: Final = 500

_NODE_FIELDS: Final = (
    "name", "self", "reachable", "host", "port", "nexthop", "via", "distance", "rtt_us", "last_state_change",
    "rx_bytes", "tx_bytes", "rx_packets", "tx_packets",
)  # fmt: skip
_PATHS: Final = {
    Reach.SELF: "self",
    Reach.UNREACHABLE: "none",
    Reach.RELAYED: "relayed",
    Reach.UNKNOWN: "none",
    Reach.UDP: "udp",
    Reach.TCP: "tcp",
    Reach.FORWARDED: "tcp",
}
"""The path of a node as far as tinc's list tells it."""
_ANNOUNCEMENTS: Final = ("ADD_EDGE", "DEL_EDGE", "ADD_SUBNET", "DEL_SUBNET")


def picture(
    answers: Answers, before: Answers | None = None, silent: Collection[str] = (), netname: str = ""
) -> Json:
    """Return the document about these answers.

    Rates are those since ``before``. ``silent`` names the nodes that the guard finds silent, which are still
    in the daemon's graph.
    """
    nodes = answers.nodes[:MAX_NODES]
    stats = answers.statistics
    return {
        "about": {
            "name": answers.name,
            "net": netname,
            "pid": answers.pid,
            "program": "tincd" if stats is None else "pytincd",
            "uptime_s": None if stats is None else stats.daemon["uptime_s"],
            "nodes_total": len(answers.nodes),
            "edges_total": len(answers.edges),
            "addresses_total": _addresses_total(answers),
        },
        "nodes": _nodes(answers, before, silent, nodes),
        "edges": _edges(answers.edges, {row.name for row in nodes}),
        "addresses": _addresses(answers),
        "guard": None if answers.shared is None else answers.shared.guard,
        "policy": None if answers.vips is None else answers.vips.policy,
        "health": _health(answers),
        "connections": [
            each
            for row in answers.connections[:MAX_CONNECTIONS]
            if (each := connection_object(row))["kind"] != "control"
        ],
    }


# -- nodes and edges ---------------------------------------------------------------------------------------


def _nodes(
    answers: Answers, before: Answers | None, silent: Collection[str], rows: Iterable[NodeRow]
) -> dict[str, Json]:
    earlier = {} if before is None or before.pid != answers.pid else {row.name: row for row in before.nodes}
    elapsed = 0.0 if before is None else answers.at - before.at
    subnets, macs = _owned(answers.subnets)
    stats = {} if answers.statistics is None else answers.statistics.nodes
    made = {}
    for row in rows:
        told, found = node_object(row), stats.get(row.name)
        old = earlier.get(row.name)
        made[row.name] = {
            **{name: told[name] for name in _NODE_FIELDS},
            "path": _PATHS[reach_of(row)] if found is None or not told["reachable"] else found["path"],
            "relay": _relay(row, found),
            "pmtu": row.pmtu if found is None else found["pmtu"],
            "key_age_s": None if found is None else found["key_age_s"],
            "kind": _kind(row, found, is_pytinc=answers.statistics is not None),
            "drops": None if found is None else sum(found["drops"].values()),
            "silent": row.name in silent and told["reachable"],
            "rx_rate": _rate(row.rx_bytes, None if old is None else old.rx_bytes, elapsed),
            "tx_rate": _rate(row.tx_bytes, None if old is None else old.tx_bytes, elapsed),
            "subnets": subnets[row.name][:MAX_SUBNETS],
            "subnets_total": len(subnets[row.name]),
            "macs": macs[row.name],
        }
    return made


def _owned(rows: Iterable[SubnetRow]) -> tuple[dict[str, list[str]], dict[str, int]]:
    """Return each node's subnets, and how many MAC addresses it has."""
    subnets: dict[str, list[str]] = defaultdict(list)
    macs: dict[str, int] = defaultdict(int)
    for row in rows:
        if parse_subnet(row.subnet).kind is SubnetKind.MAC:
            macs[row.owner] += 1
        subnets[row.owner].append(row.subnet)
    return subnets, macs


def _relay(row: NodeRow, found: Values | None) -> str | None:
    """Return the node that frames for another one go to first, or None if they go directly."""
    if found is not None and found["relay"] is not None:
        return str(found["relay"])
    if reach_of(row) is Reach.RELAYED:
        return row.via
    return row.nexthop if reach_of(row) is Reach.FORWARDED else None


def _kind(row: NodeRow, found: Values | None, *, is_pytinc: bool) -> str | None:
    """Return what a node runs; None if the daemon does not know."""
    if row.is_self:
        return "pytinc" if is_pytinc else "tincd"
    known = None if found is None else found.get("runs_pytinc")
    return None if known is None else "pytinc" if known else "tincd"


def _rate(now: int, before: int | None, elapsed: float) -> float | None:
    """Return the rise a second; None if it is not known yet.

    A counter that went back belongs to a daemon that was started again.
    """
    if before is None or elapsed <= 0 or now < before:
        return None
    return round((now - before) / elapsed, 1)


def _edges(rows: Iterable[EdgeRow], names: Collection[str]) -> dict[str, Json]:
    """Return the links, one for both of its edges."""
    links: dict[str, Json] = {}
    for row in rows:
        if row.from_name not in names or row.to_name not in names:
            continue
        a, b = sorted((row.from_name, row.to_name))
        link = links.get(f"{a} {b}")
        if link is not None:
            link["edges"] += 1
            link["weight"] = min(link["weight"], row.weight)
        elif len(links) < MAX_EDGES:
            links[f"{a} {b}"] = {
                "a": a,
                "b": b,
                "weight": row.weight,
                "tcponly": bool(row.options & Options.TCPONLY),
                "edges": 1,
            }
    return links


# -- addresses ---------------------------------------------------------------------------------------------


def _addresses_total(answers: Answers) -> int:
    shared = 0 if answers.shared is None else sum(each["shared"] for each in answers.shared.addresses)
    return shared + (0 if answers.vips is None else answers.vips.policy["addresses_total"])


def _addresses(answers: Answers) -> dict[str, Json]:
    """Return shared addresses and virtual IPs, those with both kinds of facts as one."""
    made: dict[str, Json] = {}
    for vip in () if answers.vips is None else answers.vips.addresses[:MAX_ADDRESSES]:
        made[vip["address"]] = {"address": vip["address"], "vip": vip, "shared": None}
    for known in () if answers.shared is None else answers.shared.addresses:
        address = known["address"]
        told = {**known, "clients": known["clients"][:MAX_CLIENTS]}
        if address in made:
            made[address]["shared"] = told
        elif known["shared"] and len(made) < MAX_ADDRESSES:
            made[address] = {"address": address, "vip": None, "shared": told}
    return made


# -- health ------------------------------------------------------------------------------------------------


def _health(answers: Answers) -> Json | None:
    """Return counters and rates of the daemon; None if it has no statistics."""
    if answers.statistics is None:
        return None
    now = answers.statistics.daemon
    old: Values | None = None
    elapsed = 0.0
    if (before := answers.statistics_before) is not None and before.answer is not None:
        old, elapsed = before.answer.daemon, answers.statistics_at - before.asked_at
    told: Json = {
        name: now.get(name)
        for name in ("connections", "macs", "own_macs", "macs_moved", "frames_returned", "lag_max_us",
                     "lag_mean_us", "drops", "graph_runs")
    }  # fmt: skip
    told["announcements"] = announced(now)
    told["drop_rates"] = told["announcement_rate"] = told["graph_rate"] = None
    if old is not None and elapsed > 0:
        told["drop_rates"] = {
            reason: _rate(count, old["drops"].get(reason), elapsed) for reason, count in now["drops"].items()
        }
        if (count := announced(now)) is not None and (earlier := announced(old)) is not None:
            told["announcement_rate"] = _rate(count, earlier, elapsed)
        if (runs := now.get("graph_runs")) is not None and (earlier := old.get("graph_runs")) is not None:
            told["graph_rate"] = _rate(runs, earlier, elapsed)
    return told


def announced(daemon: Mapping[str, Any]) -> int | None:
    """Return how many announcements the daemon has received and sent; None if it does not count them."""
    counts = [daemon.get("requests_in"), daemon.get("requests_out")]
    if any(count is None for count in counts):
        return None
    return sum(int(count.get(kind, 0)) for count in counts if count is not None for kind in _ANNOUNCEMENTS)


# -- differences -------------------------------------------------------------------------------------------


def difference(old: Json, new: Json) -> Json:
    """Return what makes ``new`` of ``old``: ``set`` and ``gone`` for keyed sections, others whole."""
    changed: Json = {}
    for name, value in new.items():
        if name not in KEYED:
            if value != old.get(name):
                changed[name] = value
            continue
        before = old[name]
        found = {key: each for key, each in value.items() if before.get(key) != each}
        gone = [key for key in before if key not in value]
        if found or gone:
            changed[name] = {"set": found, "gone": gone}
    return changed
