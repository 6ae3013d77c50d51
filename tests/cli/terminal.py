"""A program on a terminal of its own, and what it has drawn there."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import termios
import time
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

import pyte

PATIENCE_S = 60.0


class Terminal:
    """A terminal of so many rows and columns with one program on it."""

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str], rows: int = 24, columns: int = 110
    ) -> None:
        self._screen = pyte.Screen(columns, rows)
        self._stream = pyte.ByteStream(self._screen)
        self._end, other = pty.openpty()
        fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        # readline, which a test process may have loaded, puts the size of another terminal there.
        kept = {name: value for name, value in environment.items() if name not in ("LINES", "COLUMNS")}
        self.process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            env={**kept, "TERM": "linux"},
            start_new_session=True,
        )
        os.close(other)

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self._end)

    @property
    def lines(self) -> list[str]:
        """The rows as they are now, without the spaces at their ends."""
        return [line.rstrip() for line in self._screen.display]

    def is_reverse(self, row: int, column: int) -> bool:
        """Tell whether a cell is drawn with foreground and background exchanged."""
        return bool(self._screen.buffer[row % self._screen.lines][column].reverse)

    def press(self, keys: str) -> None:
        """Type."""
        os.write(self._end, keys.encode())

    def wait_for(self, condition: Callable[[list[str]], object]) -> list[str]:
        """Read what the program draws until a condition of the rows is true, and return them."""
        end = time.monotonic() + PATIENCE_S
        while not condition(self.lines):
            ready, _, _ = select.select([self._end], [], [], max(end - time.monotonic(), 0))
            assert ready, "\n".join(self.lines)
            try:
                self._stream.feed(os.read(self._end, 65536))
            except OSError:  # the program has ended
                assert condition(self.lines), "\n".join(self.lines)
        return self.lines

    def wait_for_text(self, text: str) -> list[str]:
        """Wait until a row has this text."""
        return self.wait_for(lambda lines: any(text in line for line in lines))
