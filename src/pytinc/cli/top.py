"""top: the nodes and their traffic on a full screen, refreshed every second, and tabs for other lists.

See docs/tinc-program.md, "log, pcap and top".

The keys of tinc have the same effect as there. tinc shows traffic alone; here the first view has the paths to
the nodes, and the key ``d`` switches to tinc's table. For a C daemon, only the data of its lists is shown.

`pytinc.cli.top_views` makes the lines; only `top` and `_Screen` know curses.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Final, NamedTuple

import click

from pytinc.cli import top_views as views
from pytinc.cli.events import NOT_TOLD as NO_EVENTS
from pytinc.cli.events import past_events_if_known
from pytinc.cli.lists import dump_edges, dump_nodes, dump_subnets
from pytinc.cli.shared import headline, shared_addresses
from pytinc.cli.statistics import statistics
from pytinc.cli.top_views import Events, Line, Table
from pytinc.control import vips
from pytinc.control.messages import NOT_PARSED, Request, TrafficRow
from pytinc.errors import ControlError, DecodeError

if TYPE_CHECKING:
    import curses

    from pytinc.cli.session import Session
    from pytinc.control.client import ControlClient
    from pytinc.control.shared import Shared

MIN_DELAY_S: Final = 0.1
MAX_DELAY_S: Final = 3600.0
_FIRST_ROW: Final = 3
_LEGEND_ROWS: Final = 2
_LEAST_ROWS: Final = 8
"""Rows of a screen from which on there is a legend."""
_SORTS: Final = "n i I o O t T r x sort  b k M G unit  c total  d traffic  "
_COMMON: Final = "s delay  h help  q quit"
HELP: Final = (
    "1 2 3 4    show nodes, edges, addresses, events; the tabulator key shows the next of them",
    "Up Down    scroll by a line; PageUp and PageDown by a page, Home to the top",
    "",
    "n          sort by name",
    "i I        sort by bytes, packets received",
    "o O        sort by bytes, packets sent",
    "t T        sort by bytes, packets in both directions",
    "r          sort by round trip time",
    "x          sort by dropped packets",
    "b k M G    show numbers as they are, in thousands, millions, billions",
    "c          show totals since the daemon's start, or what passes each second",
    "d          show paths, or traffic alone as tinc does",
    "",
    "s          set the delay between two looks",
    "h          show this help, or end it",
    "q          quit",
)


class _Tab(NamedTuple):
    """A view that can be chosen."""

    label: str
    poll: Callable[[], None]
    heading: Callable[[], str]
    lines: Callable[[], list[Line]]
    keys: str = ""
    """The legend of its own keys."""


class Model:
    """Asks the daemon for the data of the chosen tab, and holds it."""

    def __init__(
        self, client: ControlClient, netname: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.table = Table(netname)
        self.events = Events()
        self.shows_help = False
        self.offset = 0
        """Lines that are scrolled away."""
        self.chosen = 0
        """The index of the tab."""
        self._client = client
        self._clock = clock
        self._shared: Shared | None = None
        self._reports_shared = self._reports_statistics = self._reports_vips = self._reports_events = True
        self._edges: list[Line] = []
        self._addresses: list[Line] = []
        self.tabs = (
            _Tab("nodes", self._poll_paths, self.table.heading, self.table.lines, _SORTS),
            _Tab("edges", self._poll_edges, lambda: views.EDGE_HEADING, lambda: self._edges),
            _Tab("addresses", self._poll_addresses, lambda: views.ADDRESS_HEADING, lambda: self._addresses),
            _Tab("events", self._poll_events, lambda: views.EVENT_HEADING, self._event_lines),
        )

    @property
    def tab(self) -> _Tab:
        """The chosen tab."""
        return self.tabs[self.chosen]

    def poll(self) -> None:
        """Ask for the data of the chosen tab. Raises `ControlError`."""
        try:
            rows = [TrafficRow.parse(line) for line in self._client.dump(Request.DUMP_TRAFFIC)]
        except DecodeError as error:
            raise ControlError(NOT_PARSED) from error
        self.table.update(rows, self._clock())
        self._poll_shared()
        self.tab.poll()

    def press(self, key: str) -> bool:
        """Act on a key; return False if it ends the program."""
        if key == "h":
            self.shows_help = not self.shows_help
        elif key == "\t":
            self._choose((self.chosen + 1) % len(self.tabs))
        elif key in "1234":
            self._choose(int(key) - 1)
        else:
            self.table.press(key)
        return key != "q"

    def scroll(self, lines: int) -> None:
        """Scroll down by so many lines, or up."""
        self.offset = max(self.offset + lines, 0)

    def _choose(self, index: int) -> None:
        self.chosen, self.offset, self.shows_help = index, 0, False

    def second_line(self) -> str:
        """Return the line below the title: about a shared address, if there is one."""
        return "" if self._shared is None else headline(self._shared)

    def lines(self, room: int) -> list[Line]:
        """Return the lines that are shown in so many rows."""
        every = [("normal", line) for line in HELP] if self.shows_help else self.tab.lines()
        self.offset = max(min(self.offset, len(every) - room), 0)
        return every[self.offset : self.offset + max(room, 0)]

    # -- the requests of each tab --

    def _poll_shared(self) -> None:
        if self._reports_shared:
            self._shared = shared_addresses(self._client)
            self._reports_shared = self._shared is not None  # else it never will

    def _poll_paths(self) -> None:
        if not self.table.shows_paths:
            return
        if self._reports_statistics:
            reported = statistics(self._client)
            if reported is not None:
                self.table.update_paths(views.paths_of_statistics(reported))
                return
            self._reports_statistics = False
        self.table.update_paths(views.paths_of_rows(dump_nodes(self._client), dump_subnets(self._client)))

    def _poll_edges(self) -> None:
        self._edges = views.edge_lines(dump_edges(self._client))

    def _poll_addresses(self) -> None:
        told = None
        if self._reports_vips:
            told = self._client.parsed_dump_if_known(Request.DUMP_VIPS, vips.parse_rows)
            self._reports_vips = told is not None
        self._addresses = views.address_lines(told, self._shared)

    def _poll_events(self) -> None:
        if self._reports_events:
            found = past_events_if_known(self._client, self.events.last)
            self._reports_events = found is not None
            self.events.add(found or [])

    def _event_lines(self) -> list[Line]:
        return self.events.lines() if self._reports_events else [("dim", NO_EVENTS)]


def top(session: Session, words: list[str]) -> int:
    """Show the table until ``q`` is pressed."""
    try:
        import curses
    except ImportError as error:
        raise click.ClickException("This Python has no curses: top cannot be shown.") from error
    model = Model(session.client(), session.netname or "")
    try:
        curses.wrapper(lambda window: _Screen(window, model).run())
    except curses.error as error:
        raise click.ClickException(f"Cannot use this terminal: {error}") from error
    except KeyboardInterrupt:
        return 0
    return 0


class _Screen:
    """Polls, draws and reads keys."""

    def __init__(self, window: curses.window, model: Model) -> None:
        import curses

        self._window = window
        self._model = model
        self._delay_s = 1.0
        self._next_poll = 0.0
        self._styles = {"bold": curses.A_BOLD, "dim": curses.A_DIM, "normal": curses.A_NORMAL}
        self._reverse = curses.A_REVERSE
        self._room = 1
        window.keypad(True)
        self._scrolls: dict[int, Callable[[], int]] = {
            curses.KEY_UP: lambda: -1,
            curses.KEY_DOWN: lambda: 1,
            curses.KEY_PPAGE: lambda: -self._room,
            curses.KEY_NPAGE: lambda: self._room,
            curses.KEY_HOME: lambda: -self._model.offset,
        }

    def run(self) -> None:
        """Refresh after each delay, and at once after a key.

        Scrolling asks nothing: a key that is held down comes 30 times a second, and the daemon forwards no
        packets while it answers.
        """
        running = True
        while running:
            if time.monotonic() >= self._next_poll:
                self._model.poll()
                self._next_poll = time.monotonic() + self._delay_s
            self._draw()
            running = self._read_key()

    def _draw(self) -> None:
        height, _ = self._window.getmaxyx()
        legend = _LEGEND_ROWS if height >= _LEAST_ROWS else 0
        self._room = max(height - _FIRST_ROW - legend, 0)
        self._window.erase()
        model, normal = self._model, self._styles["normal"]
        self._put(0, model.table.title(), normal)
        self._put(1, model.second_line(), normal)
        self._put(2, f"{model.tab.heading():<{self._width()}}", self._reverse)
        for row, (style, text) in enumerate(model.lines(self._room), _FIRST_ROW):
            self._put(row, text, self._styles[style])
        if legend:
            self._draw_tabs(height - 2)
            self._put(height - 1, model.tab.keys + _COMMON, self._styles["dim"])
        self._window.refresh()

    def _draw_tabs(self, row: int) -> None:
        column = 0
        for index, tab in enumerate(self._model.tabs):
            text = f" {index + 1} {tab.label} "
            style = self._reverse if index == self._model.chosen else self._styles["normal"]
            self._put(row, text, style, column)
            column += len(text) + 1
        self._put(row, "Tab next  Up/Down scroll", self._styles["dim"], column + 1)

    def _width(self) -> int:
        return self._window.getmaxyx()[1]

    def _put(self, row: int, text: str, style: int, column: int = 0) -> None:
        height, width = self._window.getmaxyx()
        shown = "".join(each if each.isprintable() else "?" for each in text)
        if row < height and column < width - 1:
            # curses raises an error when the last cell of the screen is written.
            self._window.addnstr(row, column, shown, width - 1 - column, style)

    def _read_key(self) -> bool:
        self._window.timeout(math.ceil(max(self._next_poll - time.monotonic(), 0) * 1000))
        code = self._window.getch()
        if code in self._scrolls:
            self._model.scroll(self._scrolls[code]())
            return True
        if not 0 <= code < 128:
            return True
        self._next_poll = 0.0
        if code == ord("s"):
            self._ask_delay()
            return True
        return self._model.press(chr(code))

    def _ask_delay(self) -> None:
        import curses

        question = f"Change delay from {self._delay_s:.1f}s to: "
        self._put(1, f"{question:<{self._width()}}", self._styles["normal"])
        self._window.move(1, min(len(question), self._width() - 1))
        self._window.timeout(-1)
        curses.echo()
        try:
            answer = self._window.getstr(8).decode("ascii", "replace")
        finally:
            curses.noecho()
        self._delay_s = delay_of(answer, self._delay_s)


def delay_of(answer: str, before: float) -> float:
    """Return the delay in seconds that a person has typed; ``before`` if it is none."""
    try:
        delay = float(answer)
    except ValueError:
        return before
    return min(max(delay, MIN_DELAY_S), MAX_DELAY_S) if math.isfinite(delay) else before
