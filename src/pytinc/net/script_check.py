"""Runs the script of a health check: beside the loop, for a limited time, and so that no process is left.

Unlike the scripts that tell of events (`pytinc.daemon.scripts`), these do not wait for each other, several
run at once, and each is a process group of its own. The group is killed at the end, which ends a script that
hangs and background processes of a script. (A process that makes itself a new session escapes.) The process
is reaped only after its group has been killed; until then its number cannot go to another process.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Mapping
from typing import Final, Protocol

WELL: Final = 0
"""Exit status of a script whose service is well."""
DRAIN: Final = 2
"""Exit status of a script whose service works, but wants no new clients."""
GONE_WITHIN: Final = 0.5
"""Seconds to wait for the end of a killed script. One that waits for a broken disk may take longer."""
_POLL: Final = 0.02
"""Seconds between looks at a process that has no descriptor."""
_SHELL: Final = "/bin/sh"


class CheckProcess(Protocol):
    """The script of a health check that runs."""

    @property
    def status(self) -> int | None:
        """The exit status, a negative signal, or None while the script runs."""

    async def exited(self) -> int:
        """Wait for the end; return the exit status or the negative number of the signal. Raises `OSError`."""

    async def end(self) -> None:
        """Kill the processes that still run, and wait for their end for a limited time."""


class ScriptCheck:
    """A script that runs now. It begins when the object is made; raises `OSError` if that fails."""

    def __init__(self, loop: asyncio.AbstractEventLoop, command: str, environment: Mapping[str, str]) -> None:
        """``command`` is for the shell, as all scripts' (docs/tinc-program.md, "Scripts")."""
        self._loop = loop
        self._process = subprocess.Popen(
            [_SHELL, "-c", command], env=environment, stdin=subprocess.DEVNULL, start_new_session=True
        )
        self._exited = asyncio.Event()
        self._descriptor: int | None = None
        try:
            self._descriptor = os.pidfd_open(self._process.pid)
        except (AttributeError, OSError):
            self._poll()
        else:
            loop.add_reader(self._descriptor, self._gone)

    @property
    def status(self) -> int | None:
        """The exit status, a negative signal, or None while the script runs."""
        return self._process.returncode

    async def exited(self) -> int:
        """Wait for the end; return the exit status or the negative number of the signal."""
        await self._exited.wait()
        assert self._process.returncode is not None
        return self._process.returncode

    async def end(self) -> None:
        """Kill the processes that still run, and wait for their end for a limited time."""
        if self._process.returncode is not None:
            return
        self._kill_group()
        try:
            await asyncio.wait_for(self._exited.wait(), GONE_WITHIN)
        except TimeoutError:
            pass
        except asyncio.CancelledError:
            # The loop ends, and will not report the exit any more.
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(GONE_WITHIN)
                self._forget()
            raise

    def _poll(self) -> None:
        if self._exited.is_set():
            return
        # The process is not reaped yet: see the module's docstring.
        if os.waitid(os.P_PID, self._process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            self._loop.call_later(_POLL, self._poll)
        else:
            self._gone()

    def _gone(self) -> None:
        self._kill_group()
        self._process.wait()
        self._forget()

    def _forget(self) -> None:
        if self._descriptor is not None:
            self._loop.remove_reader(self._descriptor)
            os.close(self._descriptor)
            self._descriptor = None
        self._exited.set()

    def _kill_group(self) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)


def meaning(status: int) -> tuple[bool, bool, str]:
    """Return what an exit status says: whether the service is well, whether it drains, and words."""
    if status < 0:
        return False, False, f"killed by signal {-status} ({signal.strsignal(-status) or 'unknown'})"
    return status in (WELL, DRAIN), status == DRAIN, f"exit status {status}"
