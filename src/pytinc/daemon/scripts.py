"""Runs the scripts of the configuration directory, one after the other, beside the data path.

See docs/tinc-program.md, "Scripts".

tinc does nothing else while a script runs. Here scripts keep their order, but frames and requests go on; only
the start and the end of the daemon wait for scripts (`ScriptRunner.idle`).
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import re
import signal
import stat
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from pytinc.daemon.helper import Helper
from pytinc.daemon.helper_process import script_command
from pytinc.net.log import LogFunction, reason
from pytinc.net.script_check import CheckProcess, ScriptCheck
from pytinc.net.timers import uptime

MAX_WAITING: Final = 4096
"""Limit of waiting scripts. A mesh that changes faster than its scripts run would fill the memory; beyond
this limit new scripts are skipped, which is logged."""
MAX_WORDS: Final = 4096
"""Bytes of a script's output that reach the log: the last ones, which show why it ends."""
MAX_LINES: Final = 20
"""Lines of the output that reach the log."""
MAX_KEPT: Final = 1 << 20
"""Most bytes of a running script's output in memory; beyond this, all output so far is discarded."""
_LOOK_EVERY: Final = 1.0
"""Seconds between two checks of the size of a running script's output."""
_SHELL: Final = "/bin/sh"
_FIRST_LINE: Final = re.compile(rb"#![ \t]*([^ \t\n]+)")
_LONGEST_FIRST_LINE: Final = 256
"""Bytes of a script's first line that the kernel reads."""
_NOT_EXECUTABLE: Final = 126
_NOT_FOUND: Final = 127


@dataclass(frozen=True, slots=True)
class ScriptContext:
    """What applies to all scripts of this daemon."""

    confbase: str
    extension: str
    interpreter: str | None
    environment: Mapping[str, str]
    """NETNAME, NAME, DEVICE and INTERFACE, as far as known."""


class OnEnd(Protocol):
    """Called after a script has run."""

    def __call__(self, name: str, status: int | None, seconds: float, error: str | None, /) -> None:
        """``status`` is negative for a signal; None: it could not be started, and ``error`` tells why."""


class ScriptRunner:
    """The queue of scripts. Spawn `run_forever` as a task; `context` may be replaced at any time."""

    def __init__(self, context: ScriptContext, log: LogFunction, debug_level: Callable[[], int]) -> None:
        self.context = context
        self.helper: Helper | None = None
        """Runs the scripts from now on: this process is in the sandbox."""
        self.on_end: OnEnd | None = None
        self.is_forbidden = False
        """Scripts no longer run (``Sandbox = high``)."""
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

    def path(self, name: str) -> str:
        """Return where the script of this name is, or would be."""
        return f"{self.context.confbase}/{self._file(name)}"

    def _exists(self, name: str) -> bool:
        return os.access(self.path(name), os.F_OK)

    def start_check(self, name: str, environment: Mapping[str, str]) -> CheckProcess | None:
        """Start the script of a health check, beside the queue; None if there is none. Raises `OSError`."""
        if not self._exists(name):
            return None
        if self.helper is not None:
            return self.helper.start_check(self._file(name), self._variables(environment))
        return ScriptCheck(asyncio.get_running_loop(), self._command(name), self._environment(environment))

    def _command(self, name: str) -> str:
        return script_command(self.path(name), self.context.interpreter)

    def _variables(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {"DEBUG": str(self._debug_level()), **environment}

    def _environment(self, environment: Mapping[str, str]) -> dict[str, str]:
        return {**os.environ, **self.context.environment, **self._variables(environment)}

    async def _execute(self, name: str, environment: Mapping[str, str]) -> None:
        if not self._exists(name):
            return
        self._log(2, "info", f"Executing script {name}")
        errors, began = _Errors.open(), uptime()
        try:
            status = await self._status(name, environment, errors)
        except OSError as error:
            self._log(0, "error", f"Could not run script {name}: {reason(error)}")
            self._ended_with(name, None, began, reason(error))
            return
        finally:
            for line in errors.take():
                self._log(0, "warning", f"Script {name}: {line}")
        self._report(name, status)
        self._ended_with(name, status, began, None)

    def _ended_with(self, name: str, status: int | None, began: float, error: str | None) -> None:
        if self.on_end is not None:
            self.on_end(name, status, uptime() - began, error)

    async def _status(self, name: str, environment: Mapping[str, str], errors: _Errors) -> int:
        """Run a script to its end; return its status. Raises `OSError`."""
        if self.helper is not None:
            return await self.helper.run_script(
                self._file(name), self._variables(environment), *errors.descriptors
            )
        stderr = errors.descriptors[0] if errors.descriptors else None
        process = await asyncio.create_subprocess_exec(
            _SHELL, "-c", self._command(name), env=self._environment(environment), stderr=stderr
        )
        return await process.wait()

    def _report(self, name: str, status: int) -> None:
        if status < 0:
            description = signal.strsignal(-status) or "unknown"
            self._log(0, "error", f"Script {name} was killed by signal {-status} ({description})")
        elif status > 0:
            cause = self._cause(name, status)
            self._log(0, "error", f"Script {name} exited with non-zero status {status}{cause}")

    def _cause(self, name: str, status: int) -> str:
        """Return why the shell could not run the script; empty if that is not known."""
        if self.context.interpreter is not None:
            return ""
        path = self.path(name)
        if status == _NOT_EXECUTABLE and not os.access(path, os.X_OK):
            return f": it is not executable (`chmod +x {path}')"
        if status in (_NOT_EXECUTABLE, _NOT_FOUND) and (interpreter := _interpreter(path)):
            return f": there is no interpreter {interpreter!r}, which its first line names"
        return ""


class _Errors:
    """A script's standard error, if that of the daemon leads nowhere.

    It is a file in memory and no pipe: a background process of a script must not be killed because the pipe
    has no reader. (A shell's ``> /dev/stderr`` empties it, so of such lines only the last is left.)
    """

    def __init__(self, *descriptors: int) -> None:
        self.descriptors = descriptors
        """The file; none if the script writes where the daemon does."""
        self._timer: asyncio.TimerHandle | None = None
        if descriptors:
            self._look()

    @classmethod
    def open(cls) -> _Errors:
        """Make it."""
        try:
            if not _leads_nowhere(2):
                return cls()
            descriptor = os.memfd_create("script", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        except OSError:
            return cls()
        fcntl.fcntl(descriptor, fcntl.F_SETFL, os.O_APPEND)  # it may be emptied meanwhile
        return cls(descriptor)

    def _look(self) -> None:
        """Prevent a long-running script from filling the memory."""
        if os.fstat(self.descriptors[0]).st_size > MAX_KEPT:
            os.ftruncate(self.descriptors[0], 0)
        self._timer = asyncio.get_running_loop().call_later(_LOOK_EVERY, self._look)

    def take(self) -> list[str]:
        """Return the last lines, and close the file; processes that still write to it get an error."""
        if self._timer is None:
            return []
        self._timer.cancel()
        (descriptor,), self.descriptors = self.descriptors, ()
        try:
            fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW)
            size = os.fstat(descriptor).st_size
            words = os.pread(descriptor, MAX_WORDS, max(0, size - MAX_WORDS))
        finally:
            os.close(descriptor)
        lines = [line.strip() for line in words.decode("utf-8", "replace").splitlines() if line.strip()]
        return lines[-MAX_LINES:]


def _leads_nowhere(descriptor: int) -> bool:
    """Tell whether output to a descriptor is lost, as in a daemon in the background."""
    status = os.fstat(descriptor)
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == Path(os.devnull).stat().st_rdev


def _interpreter(path: str) -> str:
    """Return the interpreter that the first line of a script names, if it does not exist; else nothing."""
    try:
        with Path(path).open("rb") as file:
            first = file.readline(_LONGEST_FIRST_LINE)
    except OSError:
        return ""
    # The kernel takes the carriage return of a file from Windows for a part of the name.
    found = _FIRST_LINE.match(first)
    return "" if found is None or Path(os.fsdecode(found[1])).exists() else os.fsdecode(found[1])
