"""Where log lines go, and how they look; based on the standard library's logging.

See docs/tinc-program.md, "Log".

Every line is a record of the logger ``pytinc`` with two extra fields: tinc's debug level and the syslog word.
Records of other loggers (such as asyncio) are logged as well: errors at level 0, the rest at level 5.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import syslog
import time
from collections.abc import Callable
from typing import Final, Protocol, TextIO

MAX_MESSAGE: Final = 1023
"""Bytes of a message, as in tinc; the C client refuses longer frames of a LOG stream."""
TRACE_LEVEL: Final = 5
"""The debug level from which `trace_lines` of an unexpected error are logged."""

_NOTICE: Final = 25
_PRIORITIES: Final = {
    # word: (level of the logging module, syslog's, colour)
    "emergency": (logging.CRITICAL, syslog.LOG_EMERG, "\x1b[35;1m"),
    "alert": (logging.CRITICAL, syslog.LOG_ALERT, "\x1b[35;1m"),
    "critical": (logging.CRITICAL, syslog.LOG_CRIT, "\x1b[35;1m"),
    "error": (logging.ERROR, syslog.LOG_ERR, "\x1b[31;1m"),
    "warning": (logging.WARNING, syslog.LOG_WARNING, "\x1b[33;1m"),
    "notice": (_NOTICE, syslog.LOG_NOTICE, "\x1b[36;1m"),
    "info": (logging.INFO, syslog.LOG_INFO, "\x1b[32;1m"),
    "debug": (logging.DEBUG, syslog.LOG_DEBUG, "\x1b[34;1m"),
}
_GREY: Final = "\x1b[90m"
_PLAIN: Final = "\x1b[0m"
_FOREIGN_LEVEL: Final = 5


class LogStream(Protocol):
    """The clients of the control socket that want log lines."""

    def log_level(self, own_level: int) -> int:
        """Return the highest level that a client wants, -1 if there is no client."""

    def write_log(self, level: int, own_level: int, plain: bytes, coloured: bytes) -> None:
        """Send a line to the clients."""


class DaemonLog:
    """The daemon's log. Call it with level, priority and message: it writes to all targets that want it.

    Call `install` once, and `uninstall` in tests.
    """

    def __init__(self, ident: str, level: int = 0) -> None:
        self.ident = ident
        self._level = level
        self._highest = level
        self._stream: LogStream | None = None
        self._logger = logging.getLogger("pytinc")
        self._root = logging.getLogger()
        self._handlers: list[_Target] = []
        self.on_levels: Callable[[], None] | None = None
        """Called when the answer of `wants` may have changed."""

    # -- set-up --

    def install(self) -> None:
        """Take over the records of all loggers."""
        self._logger.setLevel(logging.DEBUG)
        self.add(_ToClients(self))

    def uninstall(self) -> None:
        """Undo `install` and close all targets."""
        for handler in list(self._handlers):
            self.remove(handler)

    def add(self, handler: _Target) -> None:
        """Add a target."""
        handler.addFilter(self._wanted_by_us if handler.own_level_only else self._wanted_by_anyone)
        self._handlers.append(handler)
        self._root.addHandler(handler)

    def remove(self, handler: _Target) -> None:
        """Remove a target and close it."""
        self._handlers.remove(handler)
        self._root.removeHandler(handler)
        handler.close()

    def open_files_with(self, opener: Callable[[str], int]) -> None:
        """Have ``opener`` open the log file from now on: it returns a descriptor or raises `OSError`."""
        for handler in self._handlers:
            if isinstance(handler, FileTarget):
                handler.opener = opener

    def reopen(self) -> None:
        """Reopen the log file, if there is one, after it was moved."""
        for handler in self._handlers:
            handler.reopen()

    # -- level --

    @property
    def level(self) -> int:
        """The debug level: lines of higher levels are not written."""
        return self._level

    @level.setter
    def level(self, level: int) -> None:
        self._level = level
        self.streams_changed()

    def attach_stream(self, stream: LogStream | None) -> None:
        """Send lines to the clients of a control server as well."""
        self._stream = stream
        self.streams_changed()

    def streams_changed(self) -> None:
        """Ask the clients again for the levels they want."""
        wanted = -1 if self._stream is None else self._stream.log_level(self._level)
        self._highest = max(self._level, wanted)
        if self.on_levels is not None:
            self.on_levels()

    def wants(self, level: int) -> bool:
        """Return whether any target wants lines of this level."""
        return level <= self._highest

    # -- writing --

    def __call__(self, level: int, priority: str, message: str, /) -> None:
        """Write a line."""
        if level <= self._highest:
            number = _PRIORITIES[priority][0]
            self._logger.log(number, "%s", message, extra={"tinc_level": level, "priority": priority})

    def write_to_stream(self, record: logging.LogRecord) -> None:
        """Send a record to the clients of the control socket."""
        if self._stream is not None:
            plain = console_line(record).encode("utf-8", "replace")
            coloured = console_line(record, coloured=True).encode("utf-8", "replace")
            self._stream.write_log(level_of(record), self._level, plain, coloured)

    def _wanted_by_us(self, record: logging.LogRecord) -> bool:
        return level_of(record) <= self._level

    def _wanted_by_anyone(self, record: logging.LogRecord) -> bool:
        return level_of(record) <= self._highest


# -- lines --


def level_of(record: logging.LogRecord) -> int:
    """Return tinc's debug level of a record."""
    level = getattr(record, "tinc_level", None)
    if isinstance(level, int):
        return level
    return 0 if record.levelno >= logging.ERROR else _FOREIGN_LEVEL


def priority_of(record: logging.LogRecord) -> str:
    """Return the syslog word of a record."""
    word = getattr(record, "priority", None)
    return word if isinstance(word, str) else record.levelname.lower()


def message_of(record: logging.LogRecord) -> str:
    """Return the text: one line without control characters, no longer than in tinc."""
    text = record.getMessage().removesuffix("\n")
    if not text.isprintable():
        text = "".join(letter if letter.isprintable() else "?" for letter in text)
    encoded = text.encode("utf-8", "replace")
    if len(encoded) > MAX_MESSAGE:
        text = encoded[:MAX_MESSAGE].decode("utf-8", "ignore")
    return text


def timestamp(record: logging.LogRecord) -> str:
    """Return the local time of a record."""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(record.created))


def console_line(record: logging.LogRecord, *, coloured: bool = False) -> str:
    """Return a line in the form of stderr, the umbilical and LOG streams."""
    priority = priority_of(record).upper()
    if not coloured:
        return f"{timestamp(record)} {priority:<7} {message_of(record)}"
    colour = _PRIORITIES.get(priority_of(record), _PRIORITIES["info"])[2]
    return f"{_GREY}{timestamp(record)} {colour}{priority:<7}{_PLAIN} {message_of(record)}"


def journal_line(record: logging.LogRecord) -> str:
    """Return a line for the journal, which notes the time itself: sd-daemon(3), "Logging"."""
    number = _PRIORITIES.get(priority_of(record), _PRIORITIES["info"])[1]
    return f"<{number}>{message_of(record)}"


# -- targets --


class _Target(logging.Handler):
    """A target for log lines. A line that cannot be written is not an error of the daemon."""

    own_level_only = True
    """Takes only lines up to the daemon's own level; if false, all lines that any target wants."""

    def reopen(self) -> None:
        """Reopen the target's file if it was moved."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write a line. Errors of the target are ignored: there is no other place to report them."""
        with contextlib.suppress(OSError, ValueError):
            self.write(record)

    def write(self, record: logging.LogRecord) -> None:
        """Write one record."""
        raise NotImplementedError


class StderrTarget(_Target):
    """Standard error, coloured on a terminal; without time and with priority if the journal reads it."""

    def __init__(self, stream: TextIO | None = None) -> None:
        super().__init__()
        self._stream = sys.stderr if stream is None else stream
        self._coloured = self._stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"
        self._in_journal = _is_journal(self._stream)

    def write(self, record: logging.LogRecord) -> None:
        """Write one record."""
        line = journal_line(record) if self._in_journal else console_line(record, coloured=self._coloured)
        self._stream.write(line + "\n")
        self._stream.flush()


def open_log_file(path: str) -> int:
    """Open or make a log file; return the descriptor. Raises `OSError`."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o666)


def _is_journal(stream: TextIO) -> bool:
    """Tell whether output goes to systemd's journal (systemd.exec(5), JOURNAL_STREAM)."""
    with contextlib.suppress(OSError):
        status = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False


class FileTarget(_Target):
    """A log file, appended to. Raises `OSError` if it cannot be opened."""

    def __init__(self, path: str, ident: str) -> None:
        super().__init__()
        self.opener: Callable[[str], int] = open_log_file
        self._path = path
        self._ident = ident
        self._descriptor = self.opener(path)

    def reopen(self) -> None:
        """Reopen the file; if that fails, keep the old one."""
        try:
            descriptor = self.opener(self._path)
        except OSError:
            return
        old, self._descriptor = self._descriptor, descriptor
        os.close(old)

    def write(self, record: logging.LogRecord) -> None:
        """Append one line, in one call."""
        line = f"{timestamp(record)} {self._ident}[{os.getpid()}]: {message_of(record)}\n"
        os.write(self._descriptor, line.encode("utf-8", "replace"))

    def close(self) -> None:
        """Close the file."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
        super().close()


class SyslogTarget(_Target):
    """The system's log, facility daemon; the console if there is none."""

    def __init__(self, ident: str) -> None:
        super().__init__()
        # Connect now: after a chroot the socket of the system's log cannot be reached.
        syslog.openlog(ident, syslog.LOG_PID | syslog.LOG_CONS | syslog.LOG_NDELAY, syslog.LOG_DAEMON)

    def write(self, record: logging.LogRecord) -> None:
        """Write one record."""
        priority = _PRIORITIES.get(priority_of(record), _PRIORITIES["info"])[1]
        syslog.syslog(priority, message_of(record))

    def close(self) -> None:
        """Close the connection."""
        syslog.closelog()
        super().close()


class UmbilicalTarget(_Target):
    """The pipe to the program that started the daemon (docs/tinc-program.md, "Umbilical")."""

    def __init__(self, write: Callable[[bytes], None], *, coloured: bool) -> None:
        super().__init__()
        self._write = write
        self._coloured = coloured

    def write(self, record: logging.LogRecord) -> None:
        """Write one record."""
        line = console_line(record, coloured=self._coloured) + "\n"
        self._write(line.encode("utf-8", "surrogateescape"))


class _ToClients(_Target):
    """The clients of LOG streams."""

    own_level_only = False

    def __init__(self, log: DaemonLog) -> None:
        super().__init__()
        self._log = log

    def write(self, record: logging.LogRecord) -> None:
        """Write one record."""
        self._log.write_to_stream(record)


def unexpected(error: BaseException) -> str:
    """Return one line about an unexpected error: its type, its text and where it was raised.

    The traceback comes from `trace_lines`, at a debug level at which the user asks for everything.
    """
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    trace = error.__traceback__
    place = "an unknown place"
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f"{code.co_filename}:{trace.tb_lineno} in {code.co_name}"
        trace = trace.tb_next
    return f"Unexpected {type(error).__name__}: {error} (at {place})"


def trace_lines(error: BaseException) -> list[str]:
    """Return the places of an error's traceback, innermost last, without source lines and values."""
    while isinstance(error, BaseExceptionGroup) and error.exceptions:
        error = error.exceptions[0]
    lines, trace = [], error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        lines.append(f"  {code.co_filename}:{trace.tb_lineno} in {code.co_name}")
        trace = trace.tb_next
    return lines
