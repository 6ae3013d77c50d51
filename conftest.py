"""For both pytest runs (``tests`` and ``interop``): says at the end what was skipped, and why.

Signals do what they do by default, also where a shell has started pytest in the background or with nohup:
what the tests start inherits it.

The garbage collector is off while tests are collected: all of it lasts for the whole run, and looking through
it again and again took half of the time of the collection.

With PYTINC_TEST_REPORT set, the list is also appended to that file; ``make test`` prints it at its end.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import pytest

Handler = Callable[[int, FrameType | None], Any] | signal.Handlers
DEFAULTS: dict[signal.Signals, Handler] = {
    signal.SIGHUP: signal.SIG_DFL,
    signal.SIGINT: signal.default_int_handler,
    signal.SIGQUIT: signal.SIG_DFL,
    signal.SIGTERM: signal.SIG_DFL,
}
for _number, _handler in DEFAULTS.items():
    if signal.getsignal(_number) is signal.SIG_IGN:
        signal.signal(_number, _handler)

gc.disable()


def pytest_collection_finish() -> None:
    """Let the garbage collector begin."""
    gc.enable()


def _reason(report: pytest.TestReport | pytest.CollectReport) -> str:
    if isinstance(report.longrepr, tuple):
        return str(report.longrepr[2]).removeprefix("Skipped: ")
    return str(report.longrepr)


def _summary(reporter: pytest.TerminalReporter, roots: str) -> Iterator[str]:
    skipped = reporter.stats.get("skipped", [])
    passed = len(reporter.stats.get("passed", []))
    failed = len(reporter.stats.get("failed", [])) + len(reporter.stats.get("error", []))
    yield f"{roots}: {passed} passed, {failed} failed, {len(skipped)} skipped"
    for report in skipped:
        yield f"  skipped {report.nodeid}: {_reason(report)}"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the list of skipped tests, also when it is empty."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        return  # the process that has started us tells it all
    lines = list(_summary(terminalreporter, " ".join(config.args) or "tests"))
    terminalreporter.section("skipped tests")
    for line in lines:
        terminalreporter.write_line(line)
    file = os.environ.get("PYTINC_TEST_REPORT")
    if file:
        path = Path(file)
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a") as stream:
            stream.write("\n".join(lines) + "\n")
