"""Runs the scripts of the configuration directory, one after the other, beside the data path.

See docs/tinc-program.md, "Scripts".

tinc does nothing else while a script runs. Here scripts keep their order, but frames and requests go on; only
the start and the end of the daemon wait for scripts (`ScriptRunner.idle`).
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pytinc.net.log import LogFunction, reason

MAX_WAITING: Final = 4096
"""Limit of waiting scripts. A mesh that changes faster than its scripts run would fill the memory; beyond
this limit new scripts are skipped, which is logged."""
_SHELL: Final = "/bin/sh"


@dataclass(frozen=True, slots=True)
class ScriptContext:
    """What applies to all scripts of this daemon."""

    confbase: str
    extension: str
    interpreter: str | None
    environment: Mapping[str, str]
    """NETNAME, NAME, DEVICE and INTERFACE, as far as known."""


class ScriptRunner:
    """The queue of scripts. Spawn `run_forever` as a task; `context` may be replaced at any time."""

    def __init__(self, context: ScriptContext, log: LogFunction, debug_level: Callable[[], int]) -> None:
        self.context = context
        self._log = log
        self._debug_level = debug_level
        self._waiting: deque[tuple[str, Mapping[str, str]]] = deque()
        self._work = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._skipped = 0
        self._ended = False

    def run(self, name: str, environment: Mapping[str, str]) -> None:
        """Run the script ``name`` after those before it; a script that does not exist is skipped."""
        if self._ended:
            return
        if len(self._waiting) >= MAX_WAITING:
            self._skipped += 1
            if self._skipped == 1:
                self._log(0, "error", f"Too many scripts are waiting: {name} and further ones are skipped")
            return
        if not self._waiting and self._idle.is_set() and not self._exists(name):
            return  # the usual case: no script, and so no task switch
        self._waiting.append((name, environment))
        self._idle.clear()
        self._work.set()

    async def idle(self) -> None:
        """Wait until all queued scripts have run, including those queued meanwhile."""
        await self._idle.wait()

    async def run_forever(self) -> None:
        """Run the scripts of the queue until cancelled; after that no script runs and nobody waits."""
        try:
            while True:
                await self._work.wait()
                while self._waiting:
                    await self._execute(*self._waiting.popleft())
                self._skipped = 0
                self._work.clear()
                self._idle.set()
        finally:
            self._ended = True
            self._idle.set()

    def _path(self, name: str) -> str:
        return f"{self.context.confbase}/{name}{self.context.extension}"

    def _exists(self, name: str) -> bool:
        return os.access(self._path(name), os.F_OK)

    def command(self, name: str, environment: Mapping[str, str]) -> tuple[str, dict[str, str]] | None:
        """Return what the shell must run for a script, and its whole environment; None if there is none."""
        if not self._exists(name):
            return None
        command = f'"{self._path(name)}"'
        if self.context.interpreter:
            command = f"{self.context.interpreter} {command}"
        everything = {
            **os.environ,
            **self.context.environment,
            "DEBUG": str(self._debug_level()),
            **environment,
        }
        return command, everything

    async def _execute(self, name: str, environment: Mapping[str, str]) -> None:
        found = self.command(name, environment)
        if found is None:
            return
        command, everything = found
        self._log(2, "info", f"Executing script {name}")
        try:
            process = await asyncio.create_subprocess_exec(_SHELL, "-c", command, env=everything)
            status = await process.wait()
        except OSError as error:
            self._log(0, "error", f"Could not run script {name}: {reason(error)}")
            return
        self._report(name, status)

    def _report(self, name: str, status: int) -> None:
        if status < 0:
            description = signal.strsignal(-status) or "unknown"
            self._log(0, "error", f"Script {name} was killed by signal {-status} ({description})")
        elif status > 0:
            self._log(0, "error", f"Script {name} exited with non-zero status {status}")
