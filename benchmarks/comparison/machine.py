"""The lines of a report about the machine, and about the measured program."""

from __future__ import annotations

import platform
import subprocess
from pathlib import Path


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
