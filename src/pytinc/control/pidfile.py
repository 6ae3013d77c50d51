"""The daemon's pid file as a value. Written by the daemon, read by the command.

See docs/tinc-program.md, "Pid file".

It holds the cookie that authenticates control connections: anybody who can read it controls the daemon.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from pytinc.errors import DecodeError

COOKIE_SIZE: Final = 32
"""Random bytes in a cookie, written as 64 upper case hexadecimal digits."""
MAX_PIDFILE_SIZE: Final = 4096
"""Longer files are not pid files: a pid file has five words, and the longest is the cookie."""


@dataclass(frozen=True, slots=True)
class PidFile:
    """``PID COOKIE HOST port PORT``: the process, its secret, and its first listening TCP socket."""

    pid: int
    cookie: str = field(repr=False)
    host: str
    port: str

    def format(self) -> str:
        """Return the file's content, one line with its newline."""
        return f"{self.pid} {self.cookie} {self.host} port {self.port}\n"

    @classmethod
    def parse(cls, text: str) -> PidFile:
        """Parse the file's content: exactly five words. Raises `DecodeError`."""
        words = text.split()
        if len(words) != 5 or words[3] != "port":
            raise DecodeError("not a pid file")
        pid, cookie, host, _, port = words
        if not (pid.isascii() and pid.isdecimal() and len(pid) <= 10):
            raise DecodeError("no pid in the pid file")
        if not cookie.isascii() or not cookie.isalnum() or len(cookie) != 2 * COOKIE_SIZE:
            raise DecodeError("no cookie in the pid file")
        return cls(int(pid), cookie, host, port)
