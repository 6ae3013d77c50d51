"""Pid file and control socket: made in the right order, removed only by the process that made them.

See docs/tinc-program.md, "Pid file".

Unlike in tinc, a second daemon notices the first one before it touches the first one's files.
"""

from __future__ import annotations

import contextlib
import os
import socket
from pathlib import Path
from typing import Final

from pytinc.config.store import write_atomic
from pytinc.control.pidfile import PidFile
from pytinc.errors import DeviceError
from pytinc.net.control import bind_control_socket, is_socket_in_use

_WILDCARDS: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104 - compared, not bound


class RunFiles:
    """The two files of a running daemon."""

    def __init__(self, pidfile: str, socket_path: str) -> None:
        self._pidfile = pidfile
        self._socket_path = socket_path
        self.made: list[tuple[str, tuple[int, int]]] = []
        """Path and identity (device, inode) of each file that exists because of us."""

    @classmethod
    def of(cls, files: list[tuple[str, tuple[int, int]]]) -> RunFiles:
        """Return the object that removes the `made` files of another process."""
        run_files = cls("", "")
        run_files.made = files
        return run_files

    def create(self, content: PidFile) -> socket.socket:
        """Write the pid file and return the listening control socket.

        Raises `DeviceError` or `ConfigError`, also if another daemon is running; its files stay untouched.
        """
        if is_socket_in_use(self._socket_path):
            raise DeviceError(f"UNIX socket {self._socket_path} is still in use!")
        with contextlib.suppress(OSError):  # a stale file may have the wrong mode, and now it gets a secret
            Path(self._pidfile).unlink()
        write_atomic(self._pidfile, content.format(), mode=0o600, durable=False)
        self.remember(self._pidfile)
        listening = bind_control_socket(self._socket_path)
        self.remember(self._socket_path)
        return listening

    def remove(self) -> None:
        """Remove the files that are still ours, as far as permissions allow."""
        for path, identity in reversed(self.made):
            with contextlib.suppress(OSError):
                if _identity(path) == identity:
                    Path(path).unlink()
        self.made.clear()

    def remember(self, path: str) -> None:
        """Remove this file, too, at the end, as long as it is the one that is there now."""
        self.made.append((path, _identity(path)))


def _identity(path: str) -> tuple[int, int]:
    found = os.lstat(path)
    return found.st_dev, found.st_ino


def contact_address(host: str) -> str:
    """Return the host by which this machine reaches a listening address."""
    return _WILDCARDS.get(host, host)
