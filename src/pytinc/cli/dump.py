"""dump (also list): what the daemon knows, one line each (docs/tinc-program.md, "dump and info").

The lines are byte for byte those of tinc. On a terminal `pytinc.cli.tables` lays the same rows out for
people, with ``--json`` `pytinc.cli.machine` writes them for programs, and `pytinc.cli.draw` makes pictures.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import click

from pytinc.cli.lists import dump_connections, dump_edges, dump_nodes, dump_subnets
from pytinc.cli.reach import Reach, reach_of
from pytinc.cli.session import say
from pytinc.cli.times import milliseconds
from pytinc.control.messages import ConnectionRow, EdgeRow, NodeRow, SubnetRow
from pytinc.wire.bits import NodeStatus
from pytinc.wire.names import is_valid_name

if TYPE_CHECKING:
    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient

_INVITATION_FILE: Final = re.compile(r"[A-Za-z0-9+/_-]{24}", re.ASCII)
_MAX_INVITATION_LINE: Final = 4096


class _List(NamedTuple):
    """One of the daemon's lists: how to ask for it, and how tinc prints a row."""

    ask: Callable[[ControlClient], list[Any]]
    line: Callable[[Any], str]


def dump(session: Session, words: list[str]) -> int:
    """Print nodes, edges, subnets, connections, shared addresses, a graph or outstanding invitations."""
    what = [word.lower() for word in words]
    only_reachable = what[:1] == ["reachable"] and len(what) > 1
    if only_reachable:
        what, words = what[1:], words[1:]
        if what[0] != "nodes":
            raise click.UsageError("`reachable' only supported for nodes.")
    if what[:1] in (["graph"], ["digraph"]):
        return _dump_graph(session, words)
    if len(what) != 1:
        raise click.UsageError("Invalid number of arguments.")
    if what[0] == "invitations":
        return _dump_invitations(session, Path(session.confbase) / "invitations")
    if what[0] == "shared":
        from pytinc.cli.shared import dump_shared

        return dump_shared(session)
    client = session.client()
    known = _LISTS.get(what[0])
    if known is None:
        raise click.UsageError(f"Unknown dump type '{words[0]}'.")
    rows = known.ask(client)
    if only_reachable:
        rows = [row for row in rows if row.status & NodeStatus.REACHABLE]
    _show(session, what[0], rows)
    return 0


def _show(session: Session, what: str, rows: list[Any]) -> None:
    if session.json:
        from pytinc.cli import machine

        machine.print_json([machine.ROWS[what](row) for row in rows])
    elif session.pretty:
        from pytinc.cli.tables import print_list

        print_list(what, rows)
    else:
        for row in rows:
            print(_LISTS[what].line(row))


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


def subnet_line(row: SubnetRow) -> str:
    """Return the line of a subnet."""
    return f"{row.subnet} owner {row.owner}"


def connection_line(row: ConnectionRow) -> str:
    """Return the line of a connection."""
    return f"{row.name} at {row.address} options {row.options:x} socket {row.socket} status {row.status:x}"


_LISTS: Final = {
    "nodes": _List(dump_nodes, node_line),
    "edges": _List(dump_edges, edge_line),
    "subnets": _List(dump_subnets, subnet_line),
    "connections": _List(dump_connections, connection_line),
}


# -- Graphs ------------------------------------------------------------------------------------------------


def _dump_graph(session: Session, words: list[str]) -> int:
    """Print a graph for Graphviz, or draw it with ``--svg FILE`` or ``--png FILE``."""
    if session.json:
        raise click.UsageError("`--json' does not apply to graphs: dump nodes and edges.")
    if len(words) == 3 and words[1] in ("--svg", "--png"):
        from pytinc.cli.draw import draw

        return draw(session, words[1].removeprefix("--"), words[2])
    if len(words) == 2 and words[1] in ("--svg", "--png"):
        raise click.UsageError(f"`dump {words[0]} {words[1]}' needs the name of a file to write.")
    if len(words) != 1:
        raise click.UsageError("Invalid number of arguments.")
    client = session.client()
    directed = words[0].lower() == "digraph"
    for line in graph_lines(dump_nodes(client), dump_edges(client), directed=directed):
        print(line)
    return 0


def graph_lines(nodes: list[NodeRow], edges: list[EdgeRow], *, directed: bool) -> list[str]:
    """Return a graph for Graphviz. In an undirected graph each pair of edges is one line."""
    lines = ["digraph {" if directed else "graph {"]
    lines += [_graph_node(row) for row in nodes]
    arrow = "->" if directed else "--"
    for row in edges:
        if directed or row.from_name > row.to_name:
            weight = _graph_weight(row.weight)
            lines.append(f' "{row.from_name}" {arrow} "{row.to_name}" [w = {weight}, weight = {weight}];')
    lines.append("}")
    return lines


_COLOURS: Final = {
    Reach.SELF: "green",
    Reach.UNREACHABLE: "red",
    Reach.RELAYED: "orange",
    Reach.UDP: "green",
}


def _graph_node(row: NodeRow) -> str:
    style = ', style = "filled"' if row.is_self else ""
    return f' "{row.name}" [label = "{row.name}", color = "{_colour(row)}"{style}];'


def _colour(row: NodeRow) -> str:
    return _COLOURS.get(reach_of(row), "black")


def _graph_weight(weight: int) -> str:
    """Return 1 + 65536 / weight, computed and printed as C does in single precision."""
    if weight == 0:
        return "inf"
    return f"{_single(1.0 + _single(65536.0 / weight)):f}"


def _single(value: float) -> float:
    (rounded,) = struct.unpack("f", struct.pack("f", value))
    return float(rounded)


# -- Invitations -------------------------------------------------------------------------------------------


def _dump_invitations(session: Session, directory: Path) -> int:
    try:
        files = list(directory.iterdir())
    except FileNotFoundError:
        files = []
    except OSError as error:
        raise click.ClickException(f"Cannot not read directory {directory}: {error.strerror}") from error
    files = [file for file in files if _INVITATION_FILE.match(file.name)]
    found = [(file.name, name) for file in files if (name := _invited_node(file)) is not None]
    if session.json:
        from pytinc.cli.machine import print_json

        print_json([{"file": file, "node": name} for file, name in found])
        return 0
    for file, name in found:
        print(f"{file} {name}")
    if not found:
        say("No outstanding invitations.")
    return 0


def _invited_node(file: Path) -> str | None:
    """Return the node that an invitation is for; None, with a complaint, if the file is not valid."""
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
