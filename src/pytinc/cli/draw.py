"""Pictures of the mesh: ``dump graph --svg FILE`` and ``--png FILE``, drawn by Graphviz.

A picture shows the meta connections, as tinc's graph does, and how packets get from this node to each other
one, which tinc's graph does not. `picture` is pure and makes the text; `draw` runs Graphviz's ``dot`` on it.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from pytinc.cli.lists import dump_edges, dump_nodes
from pytinc.cli.reach import Reach, reach_of
from pytinc.control.messages import EdgeRow, NodeRow, Options

if TYPE_CHECKING:
    from pytinc.cli.session import Session

TIMEOUT_S: Final = 120
"""A mesh of a thousand nodes takes seconds; after this time Graphviz is stuck."""


class Line(NamedTuple):
    """How a line of the picture looks, and its meaning in the legend."""

    colour: str
    style: str
    width: float
    sample: str
    meaning: str


DIRECT: Final = Line("#1a7f37", "solid", 2.5, "\u2501\u2501\u2501\u2501", "direct, UDP")
RELAYED: Final = Line("#d9730d", "dashed", 2, "\u2501 \u2501 \u2501", "relayed")
TCP: Final = Line("#0969da", "dotted", 2.5, "\u00b7 \u00b7 \u00b7 \u00b7", "TCP only")
OTHER: Final = Line("#8c959f", "solid", 1, "\u2500\u2500\u2500\u2500", "connection without our data")
LINES: Final = (DIRECT, RELAYED, TCP, OTHER)
"""The lines of the legend, in its order."""
OWN_COLOUR: Final = "#b7e4c7"
LOST_COLOUR: Final = "red"

_WAYS: Final = {
    Reach.UDP: DIRECT,
    Reach.RELAYED: RELAYED,
    Reach.FORWARDED: RELAYED,
    Reach.TCP: TCP,
}


def draw(session: Session, kind: str, file: str) -> int:
    """Draw the mesh as ``kind`` (svg or png) into ``file``; a failure leaves the file as it was."""
    dot = shutil.which("dot")
    if dot is None:
        raise click.ClickException(
            "Drawing needs Graphviz, but its program `dot' was not found. Install graphviz, or use "
            "`dump graph' alone and draw its output elsewhere."
        )
    client = session.client()
    text = picture(dump_nodes(client), dump_edges(client))
    try:
        done = subprocess.run(
            [dot, f"-T{kind}"], input=text.encode(), capture_output=True, check=False, timeout=TIMEOUT_S
        )
    except subprocess.TimeoutExpired as error:
        raise click.ClickException(f"Graphviz did not finish within {TIMEOUT_S} seconds.") from error
    if done.returncode != 0 or not done.stdout:
        complaint = done.stderr.decode(errors="replace").strip() or f"exit status {done.returncode}"
        raise click.ClickException(f"Graphviz failed: {complaint}")
    _write(file, done.stdout)
    return 0


def _write(file: str, image: bytes) -> None:
    from pytinc.config.store import write_atomic

    path = Path(file)
    if path.exists() and not path.is_file():
        path.write_bytes(image)  # a device or a pipe cannot be replaced
    else:
        write_atomic(file, image)


# -- The picture -------------------------------------------------------------------------------------------


def picture(nodes: list[NodeRow], edges: list[EdgeRow]) -> str:
    """Return the mesh in Graphviz's language, as the node of the daemon sees it."""
    ways = _ways(nodes)
    lines = ["graph mesh {", " layout = neato; overlap = false; splines = true; sep = 0.4;"]
    lines += [f" label = <{_legend()}>; labelloc = b;", ' fontname = "sans-serif";']
    lines += [' node [shape = ellipse, fontname = "sans-serif"];', " edge [len = 2];"]
    lines += [_node(row) for row in nodes]
    drawn = set()
    for edge in edges:
        pair = frozenset((edge.from_name, edge.to_name))
        if pair not in drawn:
            drawn.add(pair)
            lines.append(_line(edge.from_name, edge.to_name, _looks(edge, ways.get(pair))))
    # Packets also flow between nodes without a meta connection.
    for pair, way in ways.items():
        if pair not in drawn:
            one, other = sorted(pair)
            lines.append(_line(one, other, way))
    lines.append("}")
    return "\n".join(lines) + "\n"


def _ways(nodes: list[NodeRow]) -> dict[frozenset[str], Line]:
    """Return how packets get from this node to each node that they reach."""
    own = next((row.name for row in nodes if row.is_self), None)
    if own is None:
        return {}
    return {frozenset((own, row.name)): _WAYS[reach] for row in nodes if (reach := reach_of(row)) in _WAYS}


def _looks(edge: EdgeRow, way: Line | None) -> Line:
    """Return the line of a meta connection: our way to its other end, or what its options say."""
    if way is not None:
        return way
    return TCP if edge.options & Options.TCPONLY else OTHER


def _node(row: NodeRow) -> str:
    reach = reach_of(row)
    if reach is Reach.SELF:
        looks = f'shape = doublecircle, style = filled, fillcolor = "{OWN_COLOUR}"'
    elif reach is Reach.UNREACHABLE:
        looks = f'color = "{LOST_COLOUR}", fontcolor = "{LOST_COLOUR}"'
    else:
        looks = 'color = "#24292f"'
    tooltip = f"via {row.via}" if reach is Reach.RELAYED else reach.value
    return f" {_quoted(row.name)} [{looks}, tooltip = {_quoted(tooltip)}];"


def _line(one: str, other: str, line: Line) -> str:
    looks = f'color = "{line.colour}", style = {line.style}, penwidth = {line.width:g}'
    return f" {_quoted(one)} -- {_quoted(other)} [{looks}, tooltip = {_quoted(line.meaning)}];"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _legend() -> str:
    rows = [_legend_row(line.sample, line.colour, line.meaning) for line in LINES]
    rows.append(_legend_row("\u25ce", "black", "this node"))
    rows.append(_legend_row("\u25cb", LOST_COLOUR, "unreachable"))
    return f'<table border="0" cellspacing="2">{"".join(rows)}</table>'


def _legend_row(sample: str, colour: str, meaning: str) -> str:
    return (
        f'<tr><td align="right"><font color="{colour}">{sample}</font></td>'
        f'<td align="left">{meaning}</td></tr>'
    )
