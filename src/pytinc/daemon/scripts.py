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

from pytinc.daemon.helper import Helper
from pytinc.daemon.helper_process import script_command
from pytinc.net.log import LogFunction, reason
from pytinc.net.script_check import CheckProcess, ScriptCheck

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
        self.helper: Helper | None = None
        """Runs the scripts from now on: this process is in the sandbox."""
        self.is_forbidden = False
        """No script runs any more (``Sandbox = high``)."""
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
        if self._ended or self.is_forbidden:
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

    def _file(self, name: str) -> str:
        return f"{name}{self.context.extension}"

    def _path(self, name: str) -> str:
        return f"{self.context.confbase}/{self._file(name)}"

    def _exists(self, name: str) -> bool:
        return os.access(self._path(name), os.F_OK)

    def start_check(self, name: str, environment: Mapping[str, str]) -> CheckProcess | None:
        """Start the script of a health check, beside the queue; None if there is none. Raises `OSError`."""
        if not self._exists(name):
            return None
        if self.helper is not None:
            return self.helper.start_check(self._file(name), self._variables(environment))
        return ScriptCheck(asyncio.get_running_loop(), self._command(name), self._environment(environment))

    def _command(self, name: str) -> str:
        return script_command(self._path(name), self.context.interpreter)

    def _variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {"DEBUG": str(self._debug_level()), **environment}

    def _environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, **self.context.environment, **self._variables(environment)}

    async def _execute(self, name: str, environment: Mapping[str, str]) -> None:
        if not self._exists(name):
            return
        self._log(2, "info", f"Executing script {name}")
        try:
            if self.helper is not None:
                status = await self.helper.run_script(self._file(name), self._variables(environment))
            else:
                process = await asyncio.create_subprocess_exec(
                    _SHELL, "-c", self._command(name), env=self._environment(environment)
                )
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
