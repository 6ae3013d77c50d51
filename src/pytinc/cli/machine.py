"""What ``--json`` prints (docs/json.md): rows of the daemon's lists as dictionaries, and their output.

The commands call these functions instead of those that make tinc's lines. Programs rely on the names and
types of fields: a field may be added, none is renamed or changes its type (tests/cli/test_machine.py compares
the document with the program).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from pytinc.cli.lists import BROADCAST_OWNER, subnet_of
from pytinc.cli.reach import reach_of
from pytinc.control.messages import ConnectionRow, EdgeRow, NodeRow, Options, SubnetRow
from pytinc.control.shared import Shared
from pytinc.control.statistics import Statistics
from pytinc.control.vips import Vips
from pytinc.wire.address import UNKNOWN, UNSPEC, Address
from pytinc.wire.bits import NodeStatus, options_version
from pytinc.wire.subnet import SubnetKind

Json: TypeAlias = dict[str, Any]

_NOBODY: Final = "-"
_KINDS: Final = {"<control>": "control", "<unknown>": "unknown"}


def print_json(document: Json | list[Json]) -> None:
    """Write one document and a newline. Only ASCII, so that bytes that are not UTF-8 do no harm."""
    print(json.dumps(document, indent=2))


def node(row: NodeRow) -> Json:
    """Return a node."""
    host, port = _endpoint(row.address)
    return {
        "name": row.name,
        "id": row.node_id,
        "self": row.is_self,
        "reachable": bool(row.status & NodeStatus.REACHABLE),
        "reach": reach_of(row).value,
        "host": None if row.is_self else host,
        "port": port,
        "nexthop": _name(row.nexthop),
        "via": _name(row.via),
        "distance": None if row.distance < 0 else row.distance,
        "pmtu": row.pmtu,
        "min_mtu": row.min_mtu,
        "max_mtu": row.max_mtu,
        "rtt_us": None if row.rtt_us < 0 else row.rtt_us,
        "last_state_change": row.last_state_change or None,
        "rx_packets": row.rx_packets,
        "rx_bytes": row.rx_bytes,
        "tx_packets": row.tx_packets,
        "tx_bytes": row.tx_bytes,
        "status": row.status,
        "status_words": _words(NodeStatus(row.status)),
        **_options(row.options),
        "cipher": row.cipher,
        "digest": row.digest,
        "mac_length": row.mac_length,
        "compression": row.compression,
    }


def statistics_of(row: NodeRow, statistics: Statistics | None) -> Json:
    """Return what `info` adds about a node; only nulls if the daemon has no statistics."""
    if statistics is None:
        return {"stats": None, "daemon": None}
    return {
        "stats": statistics.nodes.get(row.name),
        "daemon": statistics.daemon if row.is_self else None,
    }


def shared(answer: Shared) -> Json:
    """Return the facts about shared addresses."""
    return {**answer.guard, "addresses": list(answer.addresses)}


def vips(answer: Vips) -> Json:
    """Return the facts about virtual IPs by policy."""
    return {**answer.policy, "addresses": list(answer.addresses)}


def edge(row: EdgeRow) -> Json:
    """Return an edge."""
    host, port = _endpoint(row.address)
    local_host, local_port = _endpoint(row.local_address)
    return {
        "from": row.from_name,
        "to": row.to_name,
        "host": host,
        "port": port,
        "local_host": local_host,
        "local_port": local_port,
        "weight": row.weight,
        **_options(row.options),
    }


def subnet(row: SubnetRow) -> Json:
    """Return a subnet with its owner."""
    parsed = subnet_of(row)
    return {
        "subnet": row.subnet,
        "kind": parsed.kind.name.lower(),
        "address": parsed.text_without_weight.partition("/")[0],
        "prefix": None if parsed.kind is SubnetKind.MAC else parsed.prefix,
        "weight": parsed.weight,
        "broadcast": row.owner == BROADCAST_OWNER,
        "owner": None if row.owner == BROADCAST_OWNER else row.owner,
    }


def owners(found: list[SubnetRow], shared: Json | None, virtual: Json | None) -> Json:
    """Return the owner of a subnet or an address."""
    return {
        "kind": "subnets",
        "subnets": [subnet(row) for row in found],
        "mac": None,
        "interface": None,
        "virtual_ip": virtual,
        "shared": shared,
    }


def connection(row: ConnectionRow) -> Json:
    """Return a meta connection or a control connection."""
    host, port = _endpoint(row.address)
    kind = _KINDS.get(row.name, "node")
    return {
        "kind": kind,
        "name": row.name if kind == "node" else None,
        "host": host,
        "port": port,
        "socket": row.socket,
        "status": row.status,
        **_options(row.options),
    }


ROWS: Final[dict[str, Callable[[Any], Json]]] = {
    "nodes": node,
    "edges": edge,
    "subnets": subnet,
    "connections": connection,
}
"""For each list of ``dump``, the function that makes an object of a row."""


def _endpoint(address: Address) -> tuple[str | None, str | None]:
    return (None, None) if address in (UNSPEC, UNKNOWN) else (address.host, address.port)


def _name(word: str) -> str | None:
    return None if word == _NOBODY else word


def _options(options: int) -> Json:
    return {
        "options": options,
        "option_words": _words(Options(options)),
        "protocol_minor": options_version(options),
    }


def _words(bits: NodeStatus | Options) -> list[str]:
    """Return the names of the bits that are set, lowest first, without those that have no name."""
    return [str(bit.name).lower() for bit in type(bits) if bit in bits]
