"""Writes files in a thread of its own, so that packets do not wait for the disk.

The files are written one after the other, in order. If a file is to be written again before its turn, only
the newest content is written. So no more writes wait than there are files.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from pytinc.errors import ConfigError
from pytinc.net.log import LogFunction


@dataclass(frozen=True, slots=True)
class _Job:
    write: Callable[[], object]
    level: int
    priority: str

    def run(self) -> str | None:
        """Write the file; return what went wrong."""
        try:
            self.write()
        except ConfigError as error:
            return str(error)
        return None


class FileWriter:
    """The writes that wait, and the thread that makes them."""

    def __init__(self, loop: asyncio.AbstractEventLoop, log: LogFunction) -> None:
        self._loop = loop
        self._log = log
        self._thread = ThreadPoolExecutor(1, "files")
        self._waiting: dict[str, _Job] = {}
        self._is_busy = False

    def add(self, file: str, write: Callable[[], object], level: int, priority: str) -> None:
        """Call ``write`` in the thread, in place of an earlier one for ``file`` that still waits.

        The `ConfigError` that it raises is logged with ``level`` and ``priority``.
        """
        self._waiting[file] = _Job(write, level, priority)
        if not self._is_busy:
            self._start_next()

    def close(self) -> None:
        """Make all writes that wait, and end the thread."""
        self._thread.shutdown()
        for job in self._waiting.values():
            self._report(job, job.run())
        self._waiting.clear()

    def _start_next(self) -> None:
        job = self._waiting.pop(next(iter(self._waiting)))
        self._is_busy = True
        work = self._loop.run_in_executor(self._thread, job.run)
        work.add_done_callback(lambda done: self._finish(job, done))

    def _finish(self, job: _Job, done: asyncio.Future[str | None]) -> None:
        self._is_busy = False
        self._report(job, done.result())
        if self._waiting:
            self._start_next()

    def _report(self, job: _Job, problem: str | None) -> None:
        if problem is not None:
            self._log(job.level, job.priority, problem)
