"""UPnP: asks the router of the local network to make our port reachable (UPnP = yes).

The daemon's service spawns `PortMapper.run_forever`. At start and then every UPnPRefreshPeriod seconds it
looks for the router and maps our ports for twice this time, as tinc does. So a router that was restarted or
changed is found again, and a mapping outlives the daemon by two periods at most: like tinc, pytinc does not
remove it. A separate process talks to the router, see `pytinc.net.igd`; the loop only waits for it. Nothing
depends on its success: a failure is logged once, and the attempt is repeated.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from pytinc.net.log import LogFunction, reason

MAX_OUTPUT: Final = 16384
"""Bytes of the process's output that are read: it prints some hundred for each of a few ports."""
MAX_LEASE: Final = 604800
"""Seconds: the longest lease of a router of version 2 (WANIPConnection:2, 2.3.8)."""
MAX_WORDS: Final = 200
"""Characters of a text from the network that a log line contains at most."""
TIMEOUT: Final = 60.0
"""Seconds beyond the wait for answers: routers are slow, but one that sends for ever must not block us."""
_PROGRAM: Final = "pytinc.net.igd"


def missing_library() -> str | None:
    """Return a message for the user if miniupnpc is not installed, otherwise None."""
    if importlib.util.find_spec("miniupnpc") is not None:
        return None
    return (
        "UPnP was requested, but needs the Python library miniupnpc, which is not installed: "
        "install pytinc[upnp]; no ports are mapped"
    )


@dataclass(frozen=True, slots=True)
class Plan:
    """What to map, and how often."""

    ports: tuple[str, ...]
    """In the form ``655/tcp``."""
    wait: int
    """Seconds to wait for routers to answer (UPnPDiscoverWait)."""
    period: int
    """Seconds between two mappings (UPnPRefreshPeriod)."""

    @property
    def lease(self) -> int:
        """Seconds for which the router must keep a mapping."""
        return min(2 * self.period, MAX_LEASE)


def plan(ports: Iterable[str], *, udp_only: bool, wait: int, period: int) -> Plan:
    """Return the plan for the ports of the IPv4 listening sockets, in their order."""
    protocols = ("udp",) if udp_only else ("tcp", "udp")
    return Plan(
        tuple(f"{port}/{protocol}" for port in dict.fromkeys(ports) for protocol in protocols), wait, period
    )


class PortMapper:
    """Keeps our ports mapped. `run_forever` must be spawned; `stop` must be awaited before the loop ends."""

    def __init__(self, plan: Plan, log: LogFunction, *, command: Sequence[str] | None = None) -> None:
        self._plan = plan
        self._log = log
        self._command = command or (sys.executable, "-P", "-m", _PROGRAM)
        self._known: dict[str, str] = {}
        """The last message about each subject; a message is repeated only when it changes."""
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = asyncio.Event()
        self._ended = asyncio.Event()

    async def run_forever(self) -> None:
        """Map the ports again and again until `stop`."""
        clock = asyncio.get_running_loop().time
        try:
            while not self._stopping.is_set():
                due = clock() + self._plan.period
                await self._refresh()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._stopping.wait(), max(0.0, due - clock()))
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """End the process if there is one, and wait until it is gone."""
        self._stopping.set()
        self._kill()
        await self._ended.wait()

    async def _refresh(self) -> None:
        self._log(3, "debug", "UPnP: looking for a router")
        plan = self._plan
        words = (*self._command, str(plan.wait * 1000), str(plan.lease), *plan.ports)
        try:
            process = self._process = await asyncio.create_subprocess_exec(
                *words,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.DEVNULL,
            )
        except OSError as error:
            self._say("", "warning", f"UPnP: could not run {words[0]}: {reason(error)}")
            return
        output = None
        try:
            if not self._stopping.is_set():
                async with asyncio.timeout(plan.wait + TIMEOUT):
                    output = await _read(process)
        except TimeoutError:
            self._say("", "warning", f"UPnP: the router took more than {plan.wait + TIMEOUT:g} seconds")
        finally:
            self._kill()
            await _drain(process)
            status = await process.wait()
            self._process = None
        if output is not None and not self._stopping.is_set():
            self._report(output, status)

    def _kill(self) -> None:
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    def _report(self, output: bytes, status: int) -> None:
        """Log the results of the process."""
        reports = [report for line in output.splitlines() if (report := _report_of(line)) is not None]
        for report in reports:
            if "port" in report:
                self._report_port(_words(report["port"]), report.get("error"))
            elif "router" in report:
                self._say("", "info", f"UPnP: the router's address is {_words(report['router'])}")
            else:
                self._say("", "warning", f"UPnP: {_words(report.get('error'))}; no ports are mapped")
        if not reports:
            self._say("", "warning", f"UPnP: the program that talks to the router failed (status {status})")

    def _report_port(self, port: str, error: object) -> None:
        if error is None:
            self._say(port, "info", f"UPnP: mapped port {port} for {self._plan.lease} seconds at a time")
        else:
            self._say(port, "warning", f"UPnP: the router refused to map port {port}: {_words(error)}")

    def _say(self, subject: str, priority: str, text: str) -> None:
        if self._known.get(subject) == text:
            return
        if not subject and priority == "warning":
            self._known.clear()  # after this failure everything is logged again
        self._known[subject] = text
        self._log(0 if priority == "warning" else 1, priority, text)


async def _read(process: asyncio.subprocess.Process) -> bytes:
    """Return the output of a process, up to the bound; do not wait for more."""
    assert process.stdout is not None
    output = b""
    while len(output) < MAX_OUTPUT and (data := await process.stdout.read(MAX_OUTPUT - len(output))):
        output += data
    return output


async def _drain(process: asyncio.subprocess.Process) -> None:
    """Read the rest of an ended process's output; the loop closes the pipe only after this."""
    assert process.stdout is not None
    while await process.stdout.read(MAX_OUTPUT):
        pass


def _report_of(line: bytes) -> dict[str, Any] | None:
    try:
        report = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return report if isinstance(report, dict) else None


def _words(text: object) -> str:
    """Return a text from the network in a form that is safe in a log line."""
    return "".join(char if char.isprintable() else "?" for char in str(text)[:MAX_WORDS])
