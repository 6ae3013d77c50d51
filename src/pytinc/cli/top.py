"""top: traffic of all nodes on a full screen, refreshed every second.

See docs/tinc-program.md, "log, pcap and top".

With pytinc's daemon, the key ``d`` shows the paths to the nodes instead of traffic, and the line below the
title, empty in tinc, shows a shared address. tinc has neither.

`Table` computes what is shown; only `top` and `_Screen` know curses.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from pytinc.cli.shared import headline, shared_addresses
from pytinc.cli.statistics import statistics
from pytinc.control.messages import NOT_PARSED, Request, TrafficRow
from pytinc.control.objects import Values
from pytinc.control.statistics import Statistics
from pytinc.errors import ControlError, DecodeError

if TYPE_CHECKING:
    import curses

    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient

MIN_DELAY_S: Final = 0.1
_FIRST_ROW: Final = 3
_PATH_COLUMNS: Final = (
    ("path", 10),
    ("RTT ms", 10),
    ("PMTU", 5),
    ("key age s", 10),
    ("tag", 5),
    ("dropped", 10),
)
"""Headings and widths. The tag is the one of the data that we send."""
_TAGS: Final = {True: "fast", False: "usual", None: "-"}
NO_PATHS: Final = "This daemon does not report paths: it is not pytinc's."


class Rates(NamedTuple):
    """The numbers of one node in the order of the columns: totals, or rates per second."""

    in_packets: float = 0.0
    in_bytes: float = 0.0
    out_packets: float = 0.0
    out_bytes: float = 0.0


_NOTHING: Final = Rates()


class SortKey(NamedTuple):
    """A way to sort: its name on the screen, and the columns whose sum is compared."""

    label: str
    columns: tuple[int, ...]


class Unit(NamedTuple):
    """What numbers are divided by, and the words for it in the headings."""

    bytes_word: str
    bytes_divisor: float
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
UNITS: Final = {
    "b": Unit("bytes", 1, "pkts", 1),
    "k": Unit("kbyte", 1e3, "pkts", 1),
    "M": Unit("Mbyte", 1e6, "kpkt", 1e3),
    "G": Unit("Gbyte", 1e9, "Mpkt", 1e6),
}


@dataclass(slots=True)
class _Traffic:
    total: Rates
    rate: Rates = _NOTHING
    known: bool = True
    path: Values | None = None
    """The node's statistics, while the screen shows them and the daemon knows the node."""


class Table:
    """The counters of all nodes seen so far."""

    def __init__(self, netname: str) -> None:
        self.cumulative = False
        self.shows_paths = False
        self.sort = SORT_KEYS["n"]
        self.unit = UNITS["b"]
        self.note = ""
        """A remark for the line below the title; it takes the place of the shared address."""
        self.shared = ""
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
                node.rate = Rates(*((new - old) / elapsed for new, old in pairs))
            node.total = total
            node.known = True

    def update_paths(self, reported: Statistics | None) -> None:
        """Take the statistics; with None (the daemon has none), show traffic again."""
        if reported is None:
            self.shows_paths = False
            self.note = NO_PATHS
            return
        for name, node in self._nodes.items():
            node.path = reported.nodes.get(name)

    def press(self, key: str) -> bool:
        """Act on a key; return False if it ends the program."""
        self.note = ""
        if key in SORT_KEYS:
            self.sort = SORT_KEYS[key]
        elif key in UNITS:
            self.unit = UNITS[key]
        elif key == "c":
            self.cumulative = not self.cumulative
        elif key == "d":
            self.shows_paths = not self.shows_paths
        return key != "q"

    def title(self) -> str:
        """Return the first line of the screen."""
        count = sum(node.known for node in self._nodes.values())
        mode = "Cumulative" if self.cumulative else "Current"
        return f"Tinc {self._netname:<16}  Nodes: {count:4}  Sort: {self.sort.label:<10}  {mode}"

    def second_line(self) -> str:
        """Return the line below the title."""
        return self.note or self.shared

    def heading(self) -> str:
        """Return the line above the columns."""
        if self.shows_paths:
            return f"{'Node':<16}" + "".join(f" {word:>{width}}" for word, width in _PATH_COLUMNS) + "  via"
        words = (
            f"{way} {word}"
            for way in ("IN", "OUT")
            for word in (self.unit.packets_word, self.unit.bytes_word)
        )
        return f"{'Node':<16}" + "".join(f" {word:>10}" for word in words)

    def lines(self) -> list[tuple[str, str]]:
        """Return (style, text) of each node in order; style is ``bold``, ``dim`` or ``normal``."""
        names = sorted(self._nodes)
        if self.sort.columns:
            names.sort(key=lambda name: sum(self._shown(name)[i] for i in self.sort.columns), reverse=True)
        return [(self._style(self._nodes[name]), self._line(name)) for name in names]

    def _shown(self, name: str) -> Rates:
        node = self._nodes[name]
        return node.total if self.cumulative else node.rate

    def _line(self, name: str) -> str:
        if self.shows_paths:
            return f"{name:<16}" + _path_columns(self._nodes[name].path)
        packets, size = self.unit.packets_divisor, self.unit.bytes_divisor
        divisors = (packets, size, packets, size)
        numbers = (value / by for value, by in zip(self._shown(name), divisors, strict=True))
        return f"{name:<16}" + "".join(f" {number:10.0f}" for number in numbers)

    @staticmethod
    def _style(node: _Traffic) -> str:
        if not node.known:
            return "dim"
        return "bold" if node.rate.in_packets or node.rate.out_packets else "normal"


def _path_columns(path: Values | None) -> str:
    if path is None:
        return ""
    rtt = path["rtt_us"]
    values = (
        path["path"],
        "-" if rtt is None else f"{rtt / 1000:.3f}",
        _number(path["pmtu"]),
        _number(path["key_age_s"]),
        _TAGS[path["fast_tag_sending"]],
        _number(sum(path["drops"].values())),
    )
    columns = zip(values, _PATH_COLUMNS, strict=True)
    line = "".join(f" {value:>{width}}" for value, (_, width) in columns)
    return line + (f"  {path['relay']}" if path["relay"] else "")


def _number(value: int | None) -> str:
    return "-" if value is None else str(value)


def top(session: Session, words: list[str]) -> int:
    """Show the table until ``q`` is pressed."""
    try:
        import curses
    except ImportError as error:
        raise click.ClickException("This Python has no curses: top cannot be shown.") from error
    client = session.client()
    table = Table(session.netname or "")
    try:
        curses.wrapper(lambda window: _Screen(window, table, client).run())
    except curses.error as error:
        raise click.ClickException(f"Cannot use this terminal: {error}") from error
    except KeyboardInterrupt:
        return 0
    return 0


class _Screen:
    """Polls, draws and reads keys."""

    def __init__(self, window: curses.window, table: Table, client: ControlClient) -> None:
        import curses

        self._window = window
        self._table = table
        self._client = client
        self._delay_s = 1.0
        self._reports_shared = True
        self._styles = {"bold": curses.A_BOLD, "dim": curses.A_DIM, "normal": curses.A_NORMAL}
        self._reverse = curses.A_REVERSE

    def run(self) -> None:
        """Refresh after each delay, and at once after a key."""
        running = True
        while running:
            self._table.update(self._poll(), time.monotonic())
            if self._table.shows_paths:
                self._table.update_paths(statistics(self._client))
            self._poll_shared()
            self._draw()
            running = self._read_key()

    def _poll(self) -> list[TrafficRow]:
        try:
            return [TrafficRow.parse(line) for line in self._client.dump(Request.DUMP_TRAFFIC)]
        except DecodeError as error:
            raise ControlError(NOT_PARSED) from error

    def _poll_shared(self) -> None:
        if not self._reports_shared:
            return
        shared = shared_addresses(self._client)
        if shared is None:  # it never will
            self._reports_shared = False
        self._table.shared = "" if shared is None else headline(shared)

    def _draw(self) -> None:
        height, _ = self._window.getmaxyx()
        self._window.erase()
        self._put(0, self._table.title(), self._styles["normal"])
        self._put(1, self._table.second_line(), self._styles["normal"])
        self._put(2, self._table.heading(), self._reverse)
        for row, (style, text) in enumerate(self._table.lines()[: max(height - _FIRST_ROW, 0)], _FIRST_ROW):
            self._put(row, text, self._styles[style])
        self._window.refresh()

    def _put(self, row: int, text: str, style: int) -> None:
        height, width = self._window.getmaxyx()
        if row < height:
            # curses raises an error when the last cell of a line is written.
            self._window.addnstr(row, 0, text, width - 1, style)

    def _read_key(self) -> bool:
        self._window.timeout(int(self._delay_s * 1000))
        code = self._window.getch()
        if code == ord("s"):
            self._ask_delay()
            return True
        return self._table.press(chr(code)) if 0 <= code < 128 else True

    def _ask_delay(self) -> None:
        import curses

        self._put(1, f"Change delay from {self._delay_s:.1f}s to: ", self._styles["normal"])
        self._window.timeout(-1)
        curses.echo()
        try:
            answer = self._window.getstr(8).decode("ascii", "replace")
        finally:
            curses.noecho()
        try:
            self._delay_s = max(float(answer), MIN_DELAY_S)
        except ValueError:
            return
