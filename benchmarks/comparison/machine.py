"""Facts of reports about the machine and the measured program, and the resources used by a process."""

from __future__ import annotations

import platform
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from pytinc.lab.namespaces import LabError

CPUCLOCK_SCHED: Final = 2


def commit() -> str:
    """The commit of this checkout; empty if git does not know it."""
    return subprocess.run(
        ("git", "describe", "--always", "--dirty"),
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    ).stdout.strip()


def processor() -> str:
    """The model of the processor."""
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    models = [line for line in cpuinfo if line.startswith("model name")]
    return models[0].partition(":")[2].strip() if models else platform.machine()


def about_process(pid: int, file: str) -> str:
    """Read a file of /proc/PID; LabError if the daemon has died."""
    try:
        return Path(f"/proc/{pid}/{file}").read_text()
    except OSError as error:
        raise LabError(f"a daemon is gone: {error}") from error


def cpu_seconds(pids: Sequence[int]) -> float:
    """Return the CPU time of all these processes so far, user and system; LabError if one has died."""
    return sum(_cpu_seconds(pid) for pid in pids)


def _cpu_seconds(pid: int) -> float:
    try:
        # As clock_getcpuclockid(3) makes it: the clock of all threads of a process, in nanoseconds. A tick of
        # /proc/PID/stat is 10 ms, more than some pings cost.
        return time.clock_gettime((~pid << 3) | CPUCLOCK_SCHED)
    except OSError as error:
        raise LabError(f"a daemon is gone: {error}") from error
