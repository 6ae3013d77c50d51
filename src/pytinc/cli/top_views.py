"""The tabs of `top`: nodes, edges, addresses and events, as lines of text with a style.

`pytinc.cli.top` asks the daemon and draws; nothing here knows a screen or a daemon.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, TypeAlias

from pytinc.cli.events import describe
from pytinc.cli.reach import Reach, reach_of
from pytinc.cli.times import clock_time, local_milliseconds, seconds
from pytinc.control.messages import EdgeRow, NodeRow, Options, SubnetRow, TrafficRow
from pytinc.control.objects import Values
from pytinc.control.shared import Shared
from pytinc.control.statistics import Statistics
from pytinc.control.vips import Vips
from pytinc.errors import ControlError

Line: TypeAlias = tuple[str, str]
"""A style, ``bold``, ``dim`` or ``normal``, and a text."""

_TAGS: Final = {True: "fast", False: "usual", None: "-"}
_NOTHING: Final = "-"


# -- nodes -------------------------------------------------------------------------------------------------


class Rates(NamedTuple):
    """The numbers of one node in the order of the columns: totals, or rates per second."""

    in_packets: float = 0.0
    in_bytes: float = 0.0
    out_packets: float = 0.0
    out_bytes: float = 0.0


_NO_TRAFFIC: Final = Rates()


class SortKey(NamedTuple):
    """A way to sort: its name on the screen, and the columns whose sum is compared."""

    label: str
    columns: tuple[int, ...]


class Unit(NamedTuple):
    """What numbers are divided by, and the words for it in the headings."""

    bytes_word: str
    bits_word: str
    divisor: float
    """Of bytes and bits."""
    packets_word: str
    packets_divisor: float


SORT_KEYS: Final = {
    "n": SortKey("name", ()),
    "i": SortKey("in bytes", (1,)),
    "I": SortKey("in pkts", (0,)),
    "o": SortKey("out bytes", (3,)),
    "O": SortKey("out pkts", (2,)),
    "t": SortKey("tot bytes", (1, 3)),
    "T": SortKey("tot pkts", (0, 2)),
}
"""The keys of tinc."""
ROUND_TRIP: Final = SortKey("round trip", ())
DROPPED: Final = SortKey("dropped", ())
PATH_SORT_KEYS: Final = {"r": ROUND_TRIP, "x": DROPPED}
"""Keys that tinc does not have."""
UNITS: Final = {
    "b": Unit("bytes", "bit/s", 1, "pkts", 1),
    "k": Unit("kbyte", "kbit/s", 1e3, "pkts", 1),
    "M": Unit("Mbyte", "Mbit/s", 1e6, "kpkt", 1e3),
    "G": Unit("Gbyte", "Gbit/s", 1e9, "Mpkt", 1e6),
}


class Path(NamedTuple):
    """How frames get to a node now. None: the daemon does not tell."""

    words: str
    rtt_us: int | None = None
    dropped: int | None = None
    macs: int | None = None
    pmtu: int | None = None
    key_age_s: int | None = None
    fast_tag: bool | None = None


def paths_of_statistics(reported: Statistics) -> dict[str, Path]:
    """Return what pytinc's daemon reports."""
    return {
        name: Path(
            _words(values["path"], values["relay"]),
            values["rtt_us"],
            sum(values["drops"].values()),
            values["macs"],
            values["pmtu"],
            values["key_age_s"],
            values["fast_tag_sending"],
        )
        for name, values in reported.nodes.items()
    }


def _words(path: str, relay: str | None) -> str:
    match path:
        case "udp":
            return "UDP"
        case "relayed":
            return f"via {relay}"
        case "tcp":
            return "TCP" if relay is None else f"TCP by {relay}"
        case "none":
            return _NOTHING
    return path


_REACH_WORDS: Final = {
    Reach.SELF: "self",
    Reach.UNREACHABLE: _NOTHING,
    Reach.UNKNOWN: _NOTHING,
    Reach.UDP: "UDP",
    Reach.TCP: "TCP",
}


def paths_of_rows(nodes: Iterable[NodeRow], subnets: Iterable[SubnetRow]) -> dict[str, Path]:
    """Return the data from the lists that every daemon has: no drops."""
    macs = Counter(row.owner for row in subnets if row.subnet.count(":") == 5 and "/" not in row.subnet)
    return {row.name: _path_of_row(row, macs[row.name]) for row in nodes}


def _path_of_row(row: NodeRow, macs: int) -> Path:
    match reach_of(row):
        case Reach.RELAYED:
            words = f"via {row.via}"
        case Reach.FORWARDED:
            words = f"TCP by {row.nexthop}"
        case reach:
            words = _REACH_WORDS[reach]
    by_udp = row.min_mtu > 0
    return Path(words, None if row.rtt_us < 0 else row.rtt_us, macs=macs, pmtu=row.pmtu if by_udp else None)


@dataclass(slots=True)
class _Traffic:
    total: Rates
    rate: Rates = _NO_TRAFFIC
    known: bool = True
    path: Path | None = None
    """None: not told yet, or the node is gone."""


_PATH_COLUMNS: Final = (("dropped", 8), ("IN", 11), ("OUT", 11), ("MACs", 5), ("PMTU", 5), ("key age s", 9))


class Table:
    """The counters of all nodes seen so far, and the paths to them."""

    def __init__(self, netname: str) -> None:
        self.cumulative = False
        self.shows_paths = True
        """Else the table of tinc, with nothing but traffic."""
        self.sort = SORT_KEYS["n"]
        self.unit = UNITS["b"]
        self._netname = netname
        self._nodes: dict[str, _Traffic] = {}
        self._polled_at = 0.0

    def update(self, rows: list[TrafficRow], now: float) -> None:
        """Take the counters reported at ``now``; rates are per second since the last poll."""
        elapsed = now - self._polled_at
        self._polled_at = now
        for known in self._nodes.values():
            known.known = False
        for row in rows:
            total = Rates(row.rx_packets, row.rx_bytes, row.tx_packets, row.tx_bytes)
            node = self._nodes.get(row.name)
            if node is None:
                self._nodes[row.name] = _Traffic(total)
                continue
            if elapsed > 0:
                pairs = zip(total, node.total, strict=True)
                # A daemon that was restarted counts from 0 again.
                node.rate = Rates(*(max(new - old, 0) / elapsed for new, old in pairs))
            node.total = total
            node.known = True

    def update_paths(self, paths: Mapping[str, Path]) -> None:
        """Take the paths reported."""
        for name, node in self._nodes.items():
            node.path = paths.get(name)

    def press(self, key: str) -> None:
        """Act on a key."""
        if key in SORT_KEYS:
            self.sort = SORT_KEYS[key]
        elif key in PATH_SORT_KEYS:
            self.sort = PATH_SORT_KEYS[key]
        elif key in UNITS:
            self.unit = UNITS[key]
        elif key == "c":
            self.cumulative = not self.cumulative
        elif key == "d":
            self.shows_paths = not self.shows_paths

    def title(self) -> str:
        """Return the first line of the screen."""
        count = sum(node.known for node in self._nodes.values())
        mode = "Cumulative" if self.cumulative else "Current"
        return f"Tinc {self._netname:<16}  Nodes: {count:4}  Sort: {self.sort.label:<10}  {mode}"

    def heading(self) -> str:
        """Return the line above the columns."""
        if self.shows_paths:
            unit = self.unit.bytes_word if self.cumulative else self.unit.bits_word
            words = (f"{word} {unit}" if word in ("IN", "OUT") else word for word, _ in _PATH_COLUMNS)
            columns = zip(words, (width for _, width in _PATH_COLUMNS), strict=True)
            text = "".join(f" {word:>{width}}" for word, width in columns)
            return f"{'Node':<16} {'path':<13} {'RTT ms':>8}{text} {'tag':>5}"
        words = (
            f"{way} {word}"
            for way in ("IN", "OUT")
            for word in (self.unit.packets_word, self.unit.bytes_word)
        )
        return f"{'Node':<16}" + "".join(f" {word:>10}" for word in words)

    def lines(self) -> list[Line]:
        """Return a line for each node, in order."""
        names = sorted(self._nodes)
        if self.sort is ROUND_TRIP:
            names.sort(key=lambda name: self._path_number(name, "rtt_us"), reverse=True)
        elif self.sort is DROPPED:
            names.sort(key=lambda name: self._path_number(name, "dropped"), reverse=True)
        elif self.sort.columns:
            names.sort(key=lambda name: sum(self._shown(name)[i] for i in self.sort.columns), reverse=True)
        return [(self._style(self._nodes[name]), self._line(name)) for name in names]

    def _path_number(self, name: str, field: str) -> int:
        value = getattr(self._nodes[name].path, field, None)
        return -1 if value is None else int(value)

    def _shown(self, name: str) -> Rates:
        node = self._nodes[name]
        return node.total if self.cumulative else node.rate

    def _line(self, name: str) -> str:
        if self.shows_paths:
            return f"{name:<16}{self._path_columns(name)}"
        packets, size = self.unit.packets_divisor, self.unit.divisor
        divisors = (packets, size, packets, size)
        numbers = (value / by for value, by in zip(self._shown(name), divisors, strict=True))
        return f"{name:<16}" + "".join(f" {number:10.0f}" for number in numbers)

    def _path_columns(self, name: str) -> str:
        path = self._nodes[name].path or Path(_NOTHING)
        rtt = _NOTHING if path.rtt_us is None else f"{path.rtt_us / 1000:.3f}"
        values = (
            _number(path.dropped),
            self._amount(self._shown(name).in_bytes),
            self._amount(self._shown(name).out_bytes),
            _number(path.macs),
            _number(path.pmtu),
            _number(path.key_age_s),
        )
        columns = zip(values, (width for _, width in _PATH_COLUMNS), strict=True)
        text = "".join(f" {value:>{width}}" for value, width in columns)
        return f" {path.words:<13} {rtt:>8}{text} {_TAGS[path.fast_tag]:>5}"

    def _amount(self, count: float) -> str:
        """Return bytes in total, or bits a second."""
        value = (count if self.cumulative else count * 8) / self.unit.divisor
        return f"{value:.0f}" if self.unit.divisor == 1 else f"{value:.2f}"

    @staticmethod
    def _style(node: _Traffic) -> str:
        if not node.known:
            return "dim"
        return "bold" if node.rate.in_packets or node.rate.out_packets else "normal"


def _number(value: int | None) -> str:
    return _NOTHING if value is None else str(value)


# -- edges -------------------------------------------------------------------------------------------------

EDGE_HEADING: Final = f"{'From':<16}     {'To':<16} {'weight':>6}  {'address':<45}  options"
_FLAGS: Final = {Options.INDIRECT: "indirect", Options.TCPONLY: "TCP only"}


def edge_lines(rows: Iterable[EdgeRow]) -> list[Line]:
    """Return a line for each link; one that only one end tells of is dim."""
    edges = {(row.from_name, row.to_name): row for row in rows}
    found: list[Line] = []
    for (one, other), row in sorted(edges.items()):
        both = (other, one) in edges
        if both and other < one:
            continue
        flags = ", ".join(word for bit, word in _FLAGS.items() if row.options & bit)
        text = (
            f"{one:<16} {'<->' if both else '-->'} {other:<16} {row.weight:>6}  {row.address!s:<45}  {flags}"
        )
        found.append(("normal" if both else "dim", text.rstrip()))
    return found


# -- addresses ---------------------------------------------------------------------------------------------

ADDRESS_HEADING: Final = f"{'Address, holders':<32} {'state':<12} {'clients':>7}  remarks"
NO_ADDRESSES: Final = "No virtual or shared addresses are known."
NOT_TOLD: Final = "This daemon does not report addresses: it is not pytinc's, or an older one."


def address_lines(vips: Vips | None, shared: Shared | None) -> list[Line]:
    """Return lines for each virtual IP and each shared address: itself, then its members or holders."""
    if vips is None and shared is None:
        return [("dim", NOT_TOLD)]
    governed = () if vips is None else vips.addresses
    found = [line for address in governed for line in _vip_lines(address)]
    known = {address["address"] for address in governed}
    for address in () if shared is None else shared.addresses:
        if address["shared"] and address["address"] not in known:
            found += _shared_lines(address)
    return found or [("dim", NO_ADDRESSES)]


def _address_line(name: str, state: str, clients: int | None, remarks: str) -> str:
    return f"{name:<32} {state:<12} {_number(clients):>7}  {remarks}".rstrip()


def _vip_lines(address: Values) -> list[Line]:
    last = address["transitions"][0] if address["transitions"] else None
    changed = "" if last is None else f"; {clock_time(last['ago_ms'], '%H:%M:%S')} {last['reason']}"
    remarks = (
        f"{address['balance']}, term {address['term']}{', frozen' if address['frozen'] else ''}{changed}"
    )
    owner = "by nobody" if address["owner"] is None else f"by {address['owner']}"
    style = "dim" if address["owner"] is None else "bold"
    lines: list[Line] = [
        (style, _address_line(f"{address['address']} {owner}", "virtual IP", address["clients"], remarks))
    ]
    for member in address["members"]:
        words = f"priority {member['priority']}, weight {member['weight']}"
        if member["guardian"] is not None:
            words += f", guardian {member['guardian']}"
        if member["heard_ms"] is not None:
            words += f", heard {seconds(member['heard_ms'])} s ago"
        clients = member["clients"] if member["flows"] is None else member["flows"]
        state = member["state"] if member["alive"] else "silent"
        style = "normal" if member["alive"] else "dim"
        lines.append((style, _address_line(f"    {member['node']}", state, clients, words)))
    return lines


def _shared_lines(address: Values) -> list[Line]:
    failover, remarks = address["failover"], ""
    if failover is not None:
        took = failover["silent_ms"] if failover["took_ms"] is None else failover["took_ms"]
        to = failover["to_node"] or "nobody"
        remarks = (
            f"{clock_time(failover['ago_ms'], '%H:%M:%S')} {failover['from_node']} {failover['reason']}, "
            f"to {to} in {seconds(took)} s"
        )
    lines: list[Line] = [
        ("bold", _address_line(address["address"], "shared", address["clients_total"], remarks))
    ]
    for holder in address["holders"]:
        rtt = "" if holder["rtt_us"] is None else f", round trip {holder['rtt_us'] / 1000:.3f} ms"
        style = "normal" if holder["state"] in ("own", "alive", "unwatched") else "dim"
        name = f"    {holder['node'] or 'behind no known node'}"
        lines.append((style, _address_line(name, holder["state"], holder["clients"], holder["mac"] + rtt)))
    return lines


# -- events ------------------------------------------------------------------------------------------------

EVENT_HEADING: Final = f"{'Time':<12}  {'kind':<15} what happened"
MAX_EVENTS: Final = 1000
"""Most events that are kept."""
_BAD: Final = ("node-down", "silent", "failover", "vip-owner", "drops", "storm", "loop")


class Events:
    """The events seen so far."""

    def __init__(self) -> None:
        self.last = 0
        """The number of the latest one."""
        self._lines: deque[Line] = deque(maxlen=MAX_EVENTS)

    def add(self, found: Sequence[Values]) -> None:
        """Take new events, in order."""
        for event in found:
            if self.last and event["seq"] > self.last + 1:
                self._lines.append(("dim", f"({event['seq'] - self.last - 1} events are forgotten)"))
            self.last = event["seq"]
            style = "bold" if event["kind"] in _BAD else "normal"
            text = f"{_clock(event['time'])}  {event['kind']:<15} {describe(event)}"
            self._lines.append((style, text))

    def lines(self) -> list[Line]:
        """Return a line for each event, the latest first."""
        return list(reversed(self._lines))


def _clock(when: float) -> str:
    try:
        return local_milliseconds(when, "%H:%M:%S")
    except ControlError:
        return "?"
