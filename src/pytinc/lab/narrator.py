"""Prints what a program of the lab does: live in a terminal, as plain lines everywhere else.

The demo prints everything through it. Nothing here knows the lab.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from rich import box
from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.panel import Panel
from rich.rule import Rule
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

PLAIN_WIDTH: Final = 110
MAX_WIDTH: Final = 120  # wider tables are hard to read
REFRESH_PER_S: Final = 10
PLAIN_INTERVAL_S: Final = 5.0
"""Seconds between plain lines that would replace each other in a terminal."""
ACCENT: Final = "cyan"


class Narrator:
    """Prints steps, tables and results; styles take rich's markup."""

    def __init__(self, *, plain: bool = False) -> None:
        console = Console(highlight=False)
        self.live = console.is_terminal and not plain
        if not self.live:
            console = Console(
                highlight=False, width=PLAIN_WIDTH, no_color=True, force_terminal=False, soft_wrap=True
            )
        elif console.width > MAX_WIDTH:
            console = Console(highlight=False, width=MAX_WIDTH)
        self.console = console

    def title(self, text: str, below: str) -> None:
        """Print the title and the text below it."""
        if self.live:
            self.console.print(
                Panel(
                    f"[dim]{below}[/]", title=f"[bold {ACCENT}]{text}[/]", border_style=ACCENT, padding=(1, 2)
                )
            )
        else:
            self.say(f"{text}\n{below}")

    def chapter(self, text: str) -> None:
        """Print a heading."""
        self.console.print()
        if self.live:
            self.console.print(Rule(f"[bold]{text}[/]", style=ACCENT, align="left"))
        else:
            self.say(f"== {text}")

    def say(self, text: str) -> None:
        """Print text with rich's markup."""
        self.console.print(text if self.live else Text.from_markup(text).plain)

    def table(self, title: str, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
        """Print a table; its cells are plain text."""
        table = Table(
            title=title,
            title_justify="left",
            title_style="bold",
            box=box.ROUNDED if self.live else None,
            border_style="dim",
            header_style=f"bold {ACCENT}",
            pad_edge=self.live,
        )
        for column in columns:
            table.add_column(column, no_wrap=True)
        for row in rows:
            table.add_row(*(escape(cell) for cell in row))
        self.console.print(table)

    def result(self, text: str, *, good: bool = True) -> None:
        """Print what a chapter has shown, and whether it is good."""
        colour = "green" if good else "red"
        if self.live:
            self.console.print(Panel(text, border_style=colour, expand=False))
        else:
            self.say(("OK: " if good else "FAILED: ") + text)

    def note(self, text: str) -> None:
        """Print what a chapter has shown, if it is neither good nor bad."""
        if self.live:
            self.console.print(Panel(text, border_style="yellow", expand=False))
        else:
            self.say(f"NOTE: {text}")

    @contextmanager
    def lines(self) -> Iterator[Callable[[Sequence[str]], None]]:
        """Yield a function that prints lines, each time in place of those before; the last ones stay."""
        if self.live:
            with Live(console=self.console, auto_refresh=False) as live:
                yield lambda lines: live.update(_unwrapped(lines), refresh=True)
            return
        last: Sequence[str] = ()
        printed = time.monotonic()

        def show(lines: Sequence[str]) -> None:
            nonlocal last, printed
            last = lines
            if time.monotonic() - printed >= PLAIN_INTERVAL_S:
                printed = time.monotonic()
                self._say_all(lines)

        yield show
        self._say_all(last)

    def _say_all(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.say(line)

    @contextmanager
    def step(self, text: str) -> Iterator[Callable[[str], None]]:
        """Show a spinner while the block runs; yield a function that sets the text behind it."""
        start = time.monotonic()
        last = ""

        def elapsed() -> str:
            return f"[dim]{time.monotonic() - start:.1f} s[/]"

        if not self.live:

            def tell(detail: str) -> None:
                nonlocal last
                if detail != last:
                    self.say(f"  ... {detail}")
                last = detail

            self.say(f"- {text}")
            yield tell
            self.say(f"  done in {elapsed()}")
            return

        spinner = Spinner("dots", text=text, style=ACCENT)
        with Live(spinner, console=self.console, refresh_per_second=REFRESH_PER_S, transient=True):

            def show(detail: str) -> None:
                spinner.update(text=Text.from_markup(f"{text}  {detail}  {elapsed()}"))

            try:
                yield show
            except BaseException:
                self.console.print(f"[red]✗[/] {text}  {elapsed()}")
                raise
        self.console.print(f"[green]✓[/] {text}  {elapsed()}")


def _unwrapped(lines: Iterable[str]) -> Text:
    """Return text with one row of the terminal for each line, however narrow the terminal is."""
    text = Text.from_markup("\n".join(lines))
    text.no_wrap = True
    text.overflow = "crop"
    return text
