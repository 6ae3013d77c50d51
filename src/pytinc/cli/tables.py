"""Lists and reports laid out for people, with rich. Loaded only when standard output is a terminal.

For programs, `pytinc.cli.dump` prints tinc's lines and `pytinc.cli.machine` JSON. NO_COLOR switches colours
off; with PYTINC_PLAIN=1 this module is not used (`Session.pretty`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, NamedTuple, TypeAlias

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from pytinc.cli.reach import Reach, reach_of
from pytinc.cli.times import age, clock_time, milliseconds, seconds
from pytinc.cli.vip_report import good_checks, member_state
from pytinc.control.messages import ConnectionRow, EdgeRow, NodeRow, Options, SubnetRow
from pytinc.control.objects import Values
from pytinc.control.shared import Shared
from pytinc.control.vips import Vips
from pytinc.wire.address import UNKNOWN, UNSPEC, Address
from pytinc.wire.bits import ConnectionStatus

Picture: TypeAlias = RenderableType
"""What `redraw` shows."""

_DIM: Final = "dim"
STYLES: Final = {
    Reach.SELF: "bold green",
    Reach.UNREACHABLE: "red",
    Reach.RELAYED: "yellow",
    Reach.UNKNOWN: _DIM,
    Reach.UDP: "green",
    Reach.TCP: "cyan",
    Reach.FORWARDED: "yellow",
}
_STATES: Final = {
    "own": "bold green",
    "alive": "green",
    "suspect": "yellow",
    "silent": "red",
    "unreachable": "red",
}
"""The styles of holders by state; holders in other states are dim."""
_MEMBER_STYLES: Final = {
    "active": "bold green",
    "backup": "green",
    "init": _DIM,
    "drain": "yellow",
    "fault": "red",
    "absent": "red",
    "gone": "red",
}
"""The styles of members of virtual IPs by what they do."""
_CHECK_STYLES: Final = {False: "red", None: _DIM, True: "green"}
"""The styles of health checks by their result, the worst first."""
_MAX_NAMED: Final = 3
"""How many clients of a holder a table names, to limit its width; it counts the others."""
_MAX_MEMBERS: Final = 4
"""The same for members of a virtual IP, which has few."""
_NOTHING: Final = Text("-", _DIM)
_UNITS: Final = ("", "K", "M", "G", "T", "P", "E")


class _Column(NamedTuple):
    title: str
    right: bool = False
    wraps: bool = False
    """On a narrow terminal its cells may have several lines, so that those of others stay whole."""


class _Layout(NamedTuple):
    columns: tuple[_Column, ...]
    cells: Callable[[Any], list[Text]]


def print_list(what: str, rows: list[Any]) -> None:
    """Print one of the lists of `dump`: nodes, edges, subnets or connections."""
    layout = _LAYOUTS[what]
    _print_table(layout.columns, [layout.cells(row) for row in rows])


def _print_table(columns: tuple[_Column, ...], rows: list[list[Text]]) -> None:
    _console().print(_table(columns, rows))


def _table(columns: tuple[_Column, ...], rows: list[list[Text]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column.title, justify="right" if column.right else "left", no_wrap=not column.wraps)
    for row in rows:
        table.add_row(*row)
    return table


def print_shared(shared: Shared) -> None:
    """Print the holders of each address with their clients, and the last failovers if there were any."""
    _print_table(_HOLDER_COLUMNS, [row for address in shared.addresses for row in _holders(address)])
    failed_over = [address for address in shared.addresses if address["failover"] is not None]
    if failed_over:
        _console().print()
        _print_table(_FAILOVER_COLUMNS, [_failover(address) for address in failed_over])


def print_shared_report(lines: list[str], address: Values) -> None:
    """Print the lines of `info` about an address, with bold labels and coloured holders."""
    console = _console()
    states = iter([holder["state"] for holder in address["holders"]])
    for line in lines:
        label, colon, value = line.partition(":")
        style = _STATES.get(next(states, ""), _DIM) if label == "Held by" else ""
        console.print(Text(label + colon, "bold").append(value, style), soft_wrap=True)


def print_vips(known: Vips) -> None:
    """Print a row for each virtual IP."""
    _console().print(_vips(known))


def vips_picture(known: Vips, remarks: list[str]) -> Picture:
    """Return the same for `redraw`, with what must be said below it."""
    return Group(_vips(known), *(Text(remark) for remark in remarks))


def print_vip_report(lines: list[str], address: Values) -> None:
    """Print the lines of `vip` about an address, with bold labels and coloured members and checks."""
    _console().print(vip_picture(lines, address), soft_wrap=True)


def vip_picture(lines: list[str], address: Values) -> Picture:
    """Return the same for `redraw`."""
    members = iter([_MEMBER_STYLES.get(member_state(member), "") for member in address["members"]])
    checks = iter([_CHECK_STYLES[check["well"]] for check in address["checks"]])
    styles = {"Member": members, "Check": checks}
    text = Text()
    for number, line in enumerate(lines):
        label, colon, value = line.partition(":")
        text.append("\n" if number else "").append(label + colon, "bold")
        text.append(value, next(styles.get(label, iter(())), ""))
    return text


def redraw(pictures: Iterable[Picture]) -> None:
    """Show one picture after the other in the same place."""
    with Live(console=_console(), auto_refresh=False) as live:
        for picture in pictures:
            live.update(picture, refresh=True)


def print_report(lines: list[str], reach: Reach) -> None:
    """Print the lines of `info` about a node, with bold labels and a coloured state."""
    console = _console()
    for line in lines:
        label, colon, value = line.partition(":")
        text = Text(label + colon, "bold")
        plain = label in ("Node", "Reachability", "Status", "Online since", "Last seen")
        text.append(value, STYLES[reach] if plain else "")
        console.print(text, soft_wrap=True)


def _console() -> Console:
    # Names and addresses come from other machines: they must not be read as markup or emoji.
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
        Text(_status(row.status)),
    ]


def _status(status: int) -> str:
    """Return the words for what people may want to know of a connection."""
    words = {
        ConnectionStatus.CONNECTING: "connecting",
        ConnectionStatus.PINGED: "awaits PONG",
        ConnectionStatus.MST: "in the spanning tree",
        ConnectionStatus.CONTROL: "control",
        ConnectionStatus.PCAP: "pcap",
        ConnectionStatus.LOG: "log",
    }
    return ", ".join(word for bit, word in words.items() if status & bit) or "-"


def _holders(address: Values) -> list[list[Text]]:
    """Return a row for each holder of an address, and one for the clients without a known holder."""
    clients = address["clients"]
    rows = []
    for holder in address["holders"]:
        style = _STATES.get(holder["state"], _DIM)
        rows.append(
            [
                Text(holder["node"] or "nobody", style),
                Text(holder["mac"], _DIM),
                Text(holder["state"], style),
                _NOTHING if holder["rtt_us"] is None else Text(f"{milliseconds(holder['rtt_us'])} ms"),
                _clients([each for each in clients if each["holder"] == holder["mac"]], holder["clients"]),
            ]
        )
    others = address["clients_total"] - sum(holder["clients"] for holder in address["holders"])
    if others > 0 or not rows:
        listed = {holder["mac"] for holder in address["holders"]}
        unknown = [each for each in clients if each["holder"] not in listed]
        rows.append([_NOTHING, _NOTHING, _NOTHING, _NOTHING, _clients(unknown, max(others, len(unknown)))])
    heads = [[Text(address["address"]), Text("yes") if address["shared"] else Text("no", _DIM)]]
    heads += [[Text(), Text()]] * (len(rows) - 1)
    return [[*head, *row] for head, row in zip(heads, rows, strict=True)]


def _clients(clients: list[Values], total: int) -> Text:
    if total == 0:
        return _NOTHING
    named = [client["address"] or client["mac"] for client in clients[:_MAX_NAMED]]
    more = total - len(named)
    return Text(" ".join([*named, *([f"+{more}"] if more > 0 else [])]))


def _failover(address: Values) -> list[Text]:
    failover = address["failover"]
    return [
        Text(address["address"]),
        Text(clock_time(failover["ago_ms"], "%Y-%m-%d %H:%M:%S")),
        Text(failover["reason"]),
        Text(failover["from_node"]),
        _NOTHING if failover["to_node"] is None else Text(failover["to_node"]),
        Text(f"{seconds(failover['silent_ms'])} s"),
        _NOTHING if failover["took_ms"] is None else Text(f"{seconds(failover['took_ms'])} s"),
        _number(str(failover["clients"])),
    ]


def _vips(known: Vips) -> Table:
    return _table(_VIP_COLUMNS, [_vip(address) for address in known.addresses])


def _vip(address: Values) -> list[Text]:
    state, changes = address["state"], address["transitions"]
    return [
        Text(address["address"]),
        _owner(address),
        _NOTHING if state is None else Text(state, _MEMBER_STYLES.get(state, "")),
        _members(address),
        _checks(address),
        _number(str(address["clients"])),
        Text(age(changes[0]["ago_ms"])) if changes else _NOTHING,
        Text(changes[0]["reason"]) if changes else _NOTHING,
    ]


def _owner(address: Values) -> Text:
    text = Text("nobody", "red") if address["owner"] is None else Text(address["owner"], "bold green")
    return text.append(" frozen", "cyan") if address["frozen"] else text


def _members(address: Values) -> Text:
    """Return the members, highest priority first, each with its state unless it serves or is a backup."""
    text = Text()
    for member in address["members"][:_MAX_MEMBERS]:
        state = member_state(member)
        word = member["node"] if state in ("active", "backup") else f"{member['node']} {state}"
        text.append(", " if text else "").append(word, _MEMBER_STYLES.get(state, ""))
    more = address["members_total"] - min(len(address["members"]), _MAX_MEMBERS)
    return text.append(f" +{more}") if more > 0 else text


def _checks(address: Values) -> Text:
    results = [check["well"] for check in address["checks"]]
    if not results:
        return _NOTHING
    worst = next(style for result, style in _CHECK_STYLES.items() if result in results)
    return Text(f"{good_checks(address)}/{len(results)}", worst)


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
    """Return a number of bytes with up to three digits and a decimal unit (1 KB is 1000 B)."""
    value, unit = float(count), 0
    while value >= 999.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1000, unit + 1
    digits = 0 if unit == 0 or value >= 99.5 else 1
    return f"{value:.{digits}f} {_UNITS[unit]}B"


_HOLDER_COLUMNS: Final = (
    _Column("Address"),
    _Column("Shared"),
    _Column("Held by"),
    _Column("MAC address"),
    _Column("State"),
    _Column("RTT", right=True),
    _Column("Clients"),
)
_FAILOVER_COLUMNS: Final = (
    _Column("Address"),
    _Column("Last failover"),
    _Column("Reason"),
    _Column("From"),
    _Column("To"),
    _Column("Silent", right=True),
    _Column("Took", right=True),
    _Column("Clients", right=True),
)
_VIP_COLUMNS: Final = (
    _Column("Address"),
    _Column("Served by"),
    _Column("This node"),
    _Column("Members", wraps=True),
    _Column("Checks"),
    _Column("Clients", right=True),
    _Column("For", right=True),
    _Column("Reason", wraps=True),
)
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
            _Column("Status"),
        ),
        _connection,
    ),
}
