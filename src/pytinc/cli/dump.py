"""dump (also list): what the daemon knows, one line each, for people and scripts (cli.md 7).

Byte for byte what tinc prints.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

import click

from pytinc.cli.session import say
from pytinc.control.messages import (
    ConnectionRow,
    EdgeRow,
    NodeRow,
    NodeStatus,
    Request,
    SubnetRow,
)
from pytinc.errors import ControlError, DecodeError
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient

_INVITATION_FILE: Final = re.compile(r"[A-Za-z0-9+/_-]{24}", re.ASCII)
_MAX_INVITATION_LINE: Final = 4096
_Row = TypeVar("_Row")


def dump(session: Session, words: list[str]) -> int:
    """Print nodes, edges, subnets, connections, a graph or outstanding invitations."""
    what = [word.lower() for word in words]
    only_reachable = what[:1] == ["reachable"] and len(what) > 1
    if only_reachable:
        what = what[1:]
        if what[0] != "nodes":
            raise click.UsageError("`reachable' only supported for nodes.")
    if len(what) != 1:
        raise click.UsageError("Invalid number of arguments.")
    if what[0] == "invitations":
        return _dump_invitations(Path(session.confbase) / "invitations")
    client = session.client()
    if what[0] in ("graph", "digraph"):
        lines = graph_lines(dump_nodes(client), dump_edges(client), directed=what[0] == "digraph")
    elif what[0] == "nodes":
        nodes = dump_nodes(client)
        lines = [node_line(row) for row in nodes if not only_reachable or row.status & NodeStatus.REACHABLE]
    elif what[0] == "edges":
        lines = [edge_line(row) for row in dump_edges(client)]
    elif what[0] == "subnets":
        lines = [f"{row.subnet} owner {row.owner}" for row in dump_subnets(client)]
    elif what[0] == "connections":
        rows = _rows(client, Request.DUMP_CONNECTIONS, ConnectionRow.parse)
        lines = [connection_line(row) for row in rows]
    else:
        raise click.UsageError(f"Unknown dump type '{words[0]}'.")
    for line in lines:
        print(line)
    return 0


# -- What the daemon knows ---------------------------------------------------------------------------------


def dump_nodes(client: ControlClient) -> list[NodeRow]:
    """Ask for all nodes."""
    return _rows(client, Request.DUMP_NODES, NodeRow.parse)


def dump_edges(client: ControlClient) -> list[EdgeRow]:
    """Ask for all edges."""
    return _rows(client, Request.DUMP_EDGES, EdgeRow.parse)


def dump_subnets(client: ControlClient) -> list[SubnetRow]:
    """Ask for all subnets."""
    return _rows(client, Request.DUMP_SUBNETS, SubnetRow.parse)


def _rows(client: ControlClient, request: Request, parse: Callable[[str], _Row]) -> list[_Row]:
    try:
        return [parse(line) for line in client.dump(request)]
    except DecodeError as error:
        kind = request.name.removeprefix("DUMP_").lower().removesuffix("s")
        raise ControlError(f"Unable to parse {kind} dump from tincd.") from error


# -- Lines -------------------------------------------------------------------------------------------------


def node_line(row: NodeRow) -> str:
    """Return the line of a node."""
    line = (
        f"{row.name} id {row.node_id} at {row.address} cipher {row.cipher} digest {row.digest} "
        f"maclength {row.mac_length} compression {row.compression} options {row.options:x} "
        f"status {row.status:04x} nexthop {row.nexthop} via {row.via} distance {row.distance} "
        f"pmtu {row.pmtu} (min {row.min_mtu} max {row.max_mtu}) "
        f"rx {row.rx_packets} {row.rx_bytes} tx {row.tx_packets} {row.tx_bytes}"
    )
    return line if row.rtt_us == -1 else f"{line} rtt {milliseconds(row.rtt_us)}"


def edge_line(row: EdgeRow) -> str:
    """Return the line of an edge."""
    return (
        f"{row.from_name} to {row.to_name} at {row.address} local {row.local_address} "
        f"options {row.options:x} weight {row.weight}"
    )


def connection_line(row: ConnectionRow) -> str:
    """Return the line of a connection."""
    return f"{row.name} at {row.address} options {row.options:x} socket {row.socket} status {row.status:x}"


def milliseconds(microseconds: int) -> str:
    """Return a time as milliseconds with three decimals."""
    return f"{microseconds // 1000}.{microseconds % 1000:03}"


# -- Graphs ------------------------------------------------------------------------------------------------


def graph_lines(nodes: list[NodeRow], edges: list[EdgeRow], *, directed: bool) -> list[str]:
    """Return a graph for Graphviz. Undirected, each pair of edges is one line."""
    lines = ["digraph {" if directed else "graph {"]
    lines += [_graph_node(row) for row in nodes]
    arrow = "->" if directed else "--"
    for row in edges:
        if directed or row.from_name > row.to_name:
            weight = _graph_weight(row.weight)
            lines.append(f' "{row.from_name}" {arrow} "{row.to_name}" [w = {weight}, weight = {weight}];')
    lines.append("}")
    return lines


def _graph_node(row: NodeRow) -> str:
    style = ', style = "filled"' if row.is_self else ""
    return f' "{row.name}" [label = "{row.name}", color = "{_colour(row)}"{style}];'


def _colour(row: NodeRow) -> str:
    if row.is_self:
        return "green"
    if not row.status & NodeStatus.REACHABLE:
        return "red"
    if row.via != row.name:
        return "orange"
    if not row.status & NodeStatus.VALIDKEY:
        return "black"
    return "green" if row.min_mtu > 0 else "black"


def _graph_weight(weight: int) -> str:
    """Return 1 + 65536 / weight, computed and printed as C does with single precision."""
    if weight == 0:
        return "inf"
    return f"{_single(1.0 + _single(65536.0 / weight)):f}"


def _single(value: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


# -- Invitations -------------------------------------------------------------------------------------------


def _dump_invitations(directory: Path) -> int:
    found = False
    try:
        files = list(directory.iterdir())
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise click.ClickException(f"Cannot not read directory {directory}: {error.strerror}") from error
    for file in files:
        if not _INVITATION_FILE.match(file.name):
            continue
        name = _invited_node(file)
        if name is not None:
            found = True
            print(f"{file.name} {name}")
    if not found:
        say("No outstanding invitations.")
    return 0


def _invited_node(file: Path) -> str | None:
    """Return the node an invitation is for; complain and return None if the file is not as it must be."""
    try:
        with file.open(encoding="utf-8", errors="surrogateescape", newline="\n") as opened:
            line = opened.readline(_MAX_INVITATION_LINE)
    except OSError as error:
        say(f"Cannot open {file}: {error.strerror}")
        return None
    name = line.removesuffix("\n").removeprefix("Name = ")
    if not line.startswith("Name = ") or not is_valid_name(name):
        say(f"Invalid invitation file {file}")
        return None
    return name
