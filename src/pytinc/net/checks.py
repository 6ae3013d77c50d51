"""Runs the health checks of virtual IPs periodically beside the loop, and reports each result.

It does not know the consequences of a result, nor the state of a check: `pytinc.vip.health` decides, and the
node tells when a check must run again. A run that takes longer than its timeout has failed. Each check is a
task; no more than `AT_ONCE` run at the same time, and none of them twice. See docs/virtual-ip.md, "Health
checks".
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
import socket
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any, Final, NamedTuple, TypeAlias

from pytinc.net.http_check import HttpChecks, target
from pytinc.net.log import LogFunction, reason
from pytinc.net.loop import OwnTasks
from pytinc.net.own_addresses import is_own
from pytinc.net.resolver import Resolver
from pytinc.net.script_check import CheckProcess, meaning
from pytinc.vip.health import RECHECK, Outcome
from pytinc.wire.address import Address
from pytinc.wire.virtual_ip import Check, ExecCheck, HttpCheck, TcpCheck, VirtualIP

AT_ONCE: Final = 8
"""Runs at the same time; more would make the host busy with itself. Further ones wait for their turn."""
MAX_ADDRESSES: Final = 4
"""Addresses of a host name that are tried."""
MAX_DETAIL: Final = 200
"""Most characters of a run's finding, because parts of it may come from the network."""
DEBUG_LEVEL: Final = 5
"""Level at which each result is logged: there may be several a second."""

Key: TypeAlias = tuple[bytes, str | None]
"""Identifies a line of the configuration: `VirtualIP.key`."""
OnResult: TypeAlias = Callable[[Key, Check, Outcome], None]
"""Gets each result: the line, its check and the finding."""
NextRun: TypeAlias = Callable[[Key, Check], float]
"""Returns in how many seconds a check of a line is due: 0 before its first run."""
StartScript: TypeAlias = Callable[[str, Mapping[str, str]], CheckProcess | None]
"""Starts a script of the configuration directory, with variables in its environment; None if there is no such
script. Raises `OSError`."""


class _Finding(NamedTuple):
    well: bool
    detail: str
    drain: bool = False


@dataclass(slots=True)
class _Running:
    """A check that runs periodically."""

    task: asyncio.Task[None]
    timing: tuple[float, float]
    """Interval and timeout."""


class HealthChecks:
    """All checks of this node."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        *,
        on_result: OnResult,
        script: StartScript,
        resolver: Resolver,
        log: LogFunction,
    ) -> None:
        self._loop = loop
        self._on_result = on_result
        self._script = script
        self._resolver = resolver
        self._log = log
        self._tasks = OwnTasks(loop)
        self._running: dict[tuple[Key, Check], _Running] = {}
        self._next_run: NextRun = lambda key, check: math.inf
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._http = HttpChecks(loop)
        self._scripts: dict[tuple[Key, Check], CheckProcess] = {}
        """The last run of each script, which may have survived being killed."""

    def set(self, virtual_ips: Sequence[VirtualIP], next_run: NextRun) -> None:
        """Run these checks from now on. Those that ran already, at the same pace, are not disturbed."""
        self._next_run = next_run
        wanted = {(vip.key, check): vip for vip in virtual_ips for check in vip.checks}
        for key, running in list(self._running.items()):
            vip = wanted.get(key)
            if vip is None or running.timing != (vip.interval, vip.timeout):
                running.task.cancel()
                del self._running[key]
            if vip is None:
                self._scripts.pop(key, None)
        for key, vip in wanted.items():
            if key not in self._running:
                check = key[1]
                task = self._tasks.spawn(f"check {check}", self._repeat(vip, check))
                self._running[key] = _Running(task, (vip.interval, vip.timeout))

    def stop(self) -> None:
        """Stop all checks; a script that runs is killed."""
        for running in self._running.values():
            running.task.cancel()
        self._running.clear()

    async def _repeat(self, vip: VirtualIP, check: Check) -> None:
        took = 0.0
        while True:
            pause = self._next_run(vip.key, check)
            # The interval is from start to start, but there is a pause after a slow run.
            await asyncio.sleep(max(pause - took, min(pause, RECHECK)))
            async with self._slots:
                outcome = await self._run(vip, check)
            took = outcome.seconds
            self._log(
                DEBUG_LEVEL,
                "debug",
                f"Check {check} of {text_of(vip.address)}: {outcome.detail} ({took * 1000:.1f} ms)",
            )
            self._on_result(vip.key, check, outcome)

    async def _run(self, vip: VirtualIP, check: Check) -> Outcome:
        begun = self._loop.time()
        try:
            async with asyncio.timeout(vip.timeout):
                finding = await self._find(vip, check)
        except TimeoutError:
            finding = _Finding(False, f"no answer within {vip.timeout:g} s")
        seconds = self._loop.time() - begun
        return Outcome(finding.well, finding.drain, _printable(finding.detail), seconds)

    async def _find(self, vip: VirtualIP, check: Check) -> _Finding:
        try:
            match check:
                case TcpCheck():
                    return await self._tcp(vip, check)
                case HttpCheck():
                    return await self._ask(vip, check)
                case ExecCheck():
                    return await self._exec(vip, check)
        except OSError as error:
            return _Finding(False, _words(error))
        except ImportError:
            return _Finding(False, "the Python library httpx is not installed")
        except ValueError as error:  # names and URLs that the libraries refuse
            return _Finding(False, str(error))

    async def _tcp(self, vip: VirtualIP, check: TcpCheck) -> _Finding:
        host = text_of(vip.address) if check.host is None else check.host

        async def connect(address: Address) -> _Finding:
            transport, _ = await self._loop.create_connection(
                asyncio.Protocol, address.host, int(address.port)
            )
            transport.close()
            return _Finding(True, "connected")

        return await self._try_all(vip, host, str(check.port), connect)

    async def _ask(self, vip: VirtualIP, check: HttpCheck) -> _Finding:
        async def ask(address: Address) -> _Finding:
            return _Finding(*await self._http.ask(check, address))

        return await self._try_all(vip, *target(check.url), ask)

    async def _try_all(
        self,
        vip: VirtualIP,
        host: str,
        port: str,
        attempt: Callable[[Address], Coroutine[Any, Any, _Finding]],
    ) -> _Finding:
        """Try the addresses of a host until one accepts the connection. Raises the error of the last one."""
        failure = OSError(f"no address found for {host}")
        for address in (await self._look_up(host, port))[:MAX_ADDRESSES]:
            is_shared = ip_address(address.host).packed == vip.address
            if is_shared and (vip.node is not None or not is_own(vip.address)):
                # The answer would come from another member.
                where = "this host" if vip.node is None else f"{vip.node} alone"
                failure = OSError(f"{text_of(vip.address)} is not on {where}")
                continue
            try:
                return await attempt(address)
            except OSError as error:
                failure = error
        raise failure

    async def _look_up(self, host: str, port: str) -> tuple[Address, ...]:
        given = Address(host, port)
        if given.family != 0:
            return (given,)
        found: asyncio.Future[tuple[Address, ...]] = self._loop.create_future()

        def answer(addresses: tuple[Address, ...]) -> None:
            if not found.done():  # nobody waits any more after the timeout
                found.set_result(addresses)

        self._resolver.resolve(host, port, socket.AF_UNSPEC, answer)
        return await found

    async def _exec(self, vip: VirtualIP, check: ExecCheck) -> _Finding:
        key = (vip.key, check)
        if (before := self._scripts.get(key)) is not None:
            await before.end()
            if before.status is None:
                return _Finding(False, "its last run does not end, although it was killed")
        ward = {} if vip.node is None else {"NODE": vip.node}
        script = self._script(check.script, {"VIP": text_of(vip.address)} | ward)
        if script is None:
            return _Finding(False, "there is no such script")
        self._scripts[key] = script
        try:
            well, drain, words = meaning(await script.exited())
        finally:
            await script.end()
        return _Finding(well, words, drain)


def text_of(address: bytes) -> str:
    """Return the text of an address of 4 or 16 bytes."""
    return socket.inet_ntop(socket.AF_INET if len(address) == 4 else socket.AF_INET6, address)


def _words(error: OSError) -> str:
    """Return the system's words for an error; asyncio has others, with an address in them."""
    if error.errno is not None and error.errno in errno.errorcode:
        return os.strerror(error.errno)
    return reason(error)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "?" for c in text[:MAX_DETAIL])
