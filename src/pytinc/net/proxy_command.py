"""The command that carries a connection (``Proxy = exec``): it runs as a process group of its own."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Final, Protocol, TypeAlias

PROXY_END: Final = 2.0
"""Seconds that a proxy command has to end; then it is killed with all processes it has started."""
PROXY_LOOK: Final = 0.02
"""Seconds between two checks whether a proxy command has ended."""


class ProxyProcess(Protocol):
    """A command that runs."""

    @property
    def has_ended(self) -> bool:
        """Whether no process of it is left after `end`, or the helper takes care of that."""

    def end(self) -> None:
        """Start to end it with all processes it has started; do not wait."""

    def wait(self) -> None:
        """Wait for the end, for a limited time."""


StartProxy: TypeAlias = Callable[[str, Mapping[str, str], socket.socket], ProxyProcess]
"""Starts a command with variables in its environment, and with a socket as standard input and output. Raises
`OSError`."""


class ProxyCommand:
    """A command that runs as a child of this process. Raises `OSError`."""

    def __init__(self, command: str, environment: Mapping[str, str], stream: socket.socket) -> None:
        self._process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            stdin=stream.fileno(),
            stdout=stream.fileno(),
            env={**os.environ, **environment},
            start_new_session=True,
        )
        # Ending waits, and so needs a thread.
        self._ending = threading.Thread(target=self._end, daemon=True)

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it is left after `end`."""
        return not self._ending.is_alive()

    def end(self) -> None:
        """Start to end it with all processes it has started."""
        self._ending.start()

    def wait(self) -> None:
        """Wait for the end, for a limited time."""
        self._ending.join(2 * PROXY_END)

    def _end(self) -> None:
        # These errors occur if SIGCHLD is ignored, which is inherited: then the system reaps children itself.
        with contextlib.suppress(ProcessLookupError, ChildProcessError):
            os.killpg(self._process.pid, signal.SIGTERM)
            until = time.monotonic() + PROXY_END
            # WNOWAIT leaves the ended process unreaped, so that its process group number is not reused.
            look = os.WEXITED | os.WNOHANG | os.WNOWAIT
            while os.waitid(os.P_PID, self._process.pid, look) is None and time.monotonic() < until:
                time.sleep(PROXY_LOOK)
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
