"""Lists and reports laid out for people, with rich. Loaded only when standard output is a terminal.

What programs read is made elsewhere: `pytinc.cli.dump` prints tinc's lines, `pytinc.cli.machine` JSON.
Colours follow NO_COLOR; PYTINC_PLAIN=1 keeps this module out (`Session.pretty`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text

from pytinc.cli.dump import milliseconds
from pytinc.cli.reach import Reach, reach_of
from pytinc.control.messages import ConnectionRow, EdgeRow, NodeRow, Options, SubnetRow
from pytinc.wire.address import UNKNOWN, UNSPEC, Address

STYLES: Final = {
    Reach.SELF: "bold green",
    Reach.UNREACHABLE: "red",
    Reach.RELAYED: "yellow",
    Reach.UNKNOWN: "dim",
    Reach.UDP: "green",
    Reach.TCP: "cyan",
    Reach.FORWARDED: "yellow",
}
_DIM: Final = "dim"
_NOTHING: Final = Text("-", _DIM)
_UNITS: Final = ("", "K", "M", "G", "T", "P", "E")


class _Column(NamedTuple):
    title: str
    right: bool = False


class _Layout(NamedTuple):
    columns: tuple[_Column, ...]
    cells: Callable[[Any], list[Text]]


def print_list(what: str, rows: list[Any]) -> None:
    """Print one of the lists of `dump`: nodes, edges, subnets or connections."""
    layout = _LAYOUTS[what]
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in layout.columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=True)
    for row in rows:
        table.add_row(*layout.cells(row))
    _console().print(table)


def print_report(lines: list[str], reach: Reach) -> None:
    """Print the lines of `info` about a node, with its labels set off and its state coloured."""
    console = _console()
    for line in lines:
        label, colon, value = line.partition(":")
        text = Text(label + colon, "bold")
        plain = label in ("Node", "Reachability", "Status", "Online since", "Last seen")
        text.append(value, STYLES[reach] if plain else "")
        console.print(text, soft_wrap=True)


def _console() -> Console:
    # Names and addresses come from other machines: nothing in them is markup or an emoji.
    return Console(markup=False, emoji=False, highlight=False)


def _node(row: NodeRow) -> list[Text]:
    reach = reach_of(row)
    style = STYLES[reach]
    return [
        Text(row.name, style),
        Text(_how(row, reach), style),
        _address(row.address, own=row.is_self),
        _number(str(row.pmtu)) if reach is Reach.UDP else _NOTHING,
        _NOTHING if row.rtt_us < 0 else Text(f"{milliseconds(row.rtt_us)} ms"),
        _number(_amount(row.rx_bytes)),
        _number(_amount(row.tx_bytes)),
    ]


def _how(row: NodeRow, reach: Reach) -> str:
    match reach:
        case Reach.SELF:
            return "this node"
        case Reach.RELAYED:
            return f"via {row.via}"
        case Reach.FORWARDED:
            return f"TCP via {row.nexthop}"
        case Reach.UDP | Reach.TCP:
            return str(reach.value).upper()
        case _:
            return str(reach.value)


def _edge(row: EdgeRow) -> list[Text]:
    return [
        Text(row.from_name),
        Text(row.to_name),
        _address(row.address),
        _address(row.local_address),
        _number(str(row.weight)),
        _options(row.options),
    ]


def _subnet(row: SubnetRow) -> list[Text]:
    broadcast = row.owner.startswith("(")
    return [Text(row.subnet), Text(row.owner, _DIM if broadcast else "")]


def _connection(row: ConnectionRow) -> list[Text]:
    style = _DIM if row.name.startswith("<") else ""
    return [
        Text(row.name, style),
        Text(str(row.address), style),
        _options(row.options),
        _number(str(row.socket)),
        _number(f"{row.status:x}"),
    ]


def _address(address: Address, *, own: bool = False) -> Text:
    if address in (UNSPEC, UNKNOWN):
        return _NOTHING
    return Text(f"port {address.port}", _DIM) if own else Text(str(address))


def _options(options: int) -> Text:
    words = [str(bit.name).lower() for bit in Options if bit & options]
    return Text(" ".join(words), _DIM)


def _number(text: str) -> Text:
    return Text(text, _DIM) if text in ("0", "0 B") else Text(text)


def _amount(count: int) -> str:
    """Return a number of bytes with three digits and a unit of 1000s."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.5 else 1
    return f"{value:.{digits}f} {_UNITS[unit]}B"


_LAYOUTS: Final = {
    "nodes": _Layout(
        (
            _Column("Node"),
            _Column("Reached"),
            _Column("Address"),
            _Column("PMTU", right=True),
            _Column("RTT", right=True),
            _Column("Received", right=True),
            _Column("Sent", right=True),
        ),
        _node,
    ),
    "edges": _Layout(
        (
            _Column("From"),
            _Column("To"),
            _Column("Address"),
            _Column("Local address"),
            _Column("Weight", right=True),
            _Column("Options"),
        ),
        _edge,
    ),
    "subnets": _Layout((_Column("Subnet"), _Column("Owner")), _subnet),
    "connections": _Layout(
        (
            _Column("Name"),
            _Column("Address"),
            _Column("Options"),
            _Column("Socket", right=True),
            _Column("Status", right=True),
        ),
        _connection,
    ),
}
