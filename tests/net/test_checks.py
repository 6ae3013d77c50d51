"""Health checks on the loop: real sockets on the loopback, real scripts."""

from __future__ import annotations

import asyncio
import os
import socket
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.net import http_check, resolver
from pytinc.net.checks import AT_ONCE, HealthChecks, Key
from pytinc.net.resolver import Resolver
from pytinc.net.script_check import ScriptCheck
from pytinc.vip.health import CheckState, Outcome
from pytinc.wire.address import Address
from pytinc.wire.virtual_ip import Check, ExecCheck, HttpCheck, TcpCheck, VirtualIP

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop

HERE = socket.inet_aton("127.0.0.1")
ELSEWHERE = socket.inet_aton("192.0.2.77")
"""An address that this host does not have."""
NEVER = 3600.0


class Results:
    """Runs checks, and collects their results."""

    def __init__(self, log: LogLines, scripts: Path) -> None:
        loop = asyncio.get_running_loop()
        self.found: dict[tuple[bytes, Check], list[Outcome]] = defaultdict(list)
        self.states: dict[tuple[bytes, Check], CheckState] = defaultdict(lambda: CheckState(1, 1))
        self.pace: float = NEVER
        self._scripts = scripts
        self._told = asyncio.Event()
        self.checks = HealthChecks(
            loop, on_result=self._note, script=self._start, resolver=Resolver(loop), log=log
        )

    def set(self, *virtual_ips: VirtualIP) -> None:
        self.checks.set(virtual_ips, self._next_run)

    def _next_run(self, key: Key, check: Check) -> float:
        return self.states[key[0], check].next_run(self.pace)

    def _note(self, key: Key, check: Check, outcome: Outcome) -> None:
        self.found[key[0], check].append(outcome)
        self.states[key[0], check].feed(outcome, 0.0)
        self._told.set()

    def _start(self, name: str, environment: Mapping[str, str]) -> ScriptCheck | None:
        path = self._scripts / name
        if not path.exists():
            return None
        return ScriptCheck(asyncio.get_running_loop(), f'"{path}"', {**os.environ, **environment})

    async def until(self, condition: Callable[[], object]) -> None:
        """Wait until the results so far satisfy a condition."""
        while not condition():
            self._told.clear()
            await self._told.wait()

    async def first(self, vip: VirtualIP) -> Outcome:
        """Run the only check of an address once."""
        key = (vip.address, vip.checks[0])
        self.found.pop(key, None)
        self.states.pop(key, None)
        self.set()
        self.set(vip)
        await self.until(lambda: self.found[key])
        return self.found[key][0]


@asynccontextmanager
async def results(log: LogLines, scripts: Path = Path("/nowhere")) -> AsyncIterator[Results]:
    made = Results(log, scripts)
    try:
        yield made
    finally:
        made.checks.stop()


def vip(check: Check, *more: Check, address: bytes = HERE, timeout: float = 60.0) -> VirtualIP:
    return VirtualIP(address, 8 * len(address), checks=(check, *more), timeout=timeout)


def said(outcome: Outcome) -> tuple[bool, bool, str]:
    return outcome.well, outcome.drain, outcome.detail


def closed_port(family: socket.AddressFamily = socket.AF_INET) -> int:
    with socket.create_server(("", 0), family=family) as unused:
        return int(unused.getsockname()[1])


def script(path: Path, *lines: str) -> None:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)


@pytest.mark.parametrize("family", [socket.AF_INET, socket.AF_INET6])
def test_a_tcp_check_connects_to_the_virtual_address_in_its_family(
    on_loop: OnLoop, log: LogLines, family: socket.AddressFamily
) -> None:
    host = "127.0.0.1" if family == socket.AF_INET else "::1"
    try:
        listening = socket.create_server((host, 0), family=family)
    except OSError:
        pytest.skip("no IPv6 on this host")

    async def main() -> None:
        async with results(log) as r:
            own = vip(TcpCheck(listening.getsockname()[1]), address=socket.inet_pton(family, host))
            outcome = await r.first(own)
            assert said(outcome) == (True, False, "connected")
            assert 0 <= outcome.seconds < 60
            listening.close()
            assert said(await r.first(own)) == (False, False, "Connection refused")

    on_loop(main)


@pytest.mark.parametrize("check", [TcpCheck(80), HttpCheck("http://192.0.2.77/")])
def test_a_virtual_address_that_is_not_here_is_not_asked(
    on_loop: OnLoop, log: LogLines, check: Check
) -> None:
    async def main() -> None:
        async with results(log) as r:
            outcome = await r.first(vip(check, address=ELSEWHERE))
            assert said(outcome) == (False, False, "192.0.2.77 is not on this host")

    on_loop(main)


def test_all_addresses_of_a_name_are_tried(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def look_up(host: str, port: str, family: int) -> tuple[Address, ...]:
        assert (host, family) == ("service.example", socket.AF_UNSPEC)
        return (Address("127.0.0.1", str(closed_port())), Address("127.0.0.1", port))

    monkeypatch.setattr(resolver, "look_up", look_up)

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            async with results(log) as r:
                check = TcpCheck(listening.getsockname()[1], "service.example")
                assert said(await r.first(vip(check))) == (True, False, "connected")

    on_loop(main)


def test_a_name_without_an_address_fails(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resolver, "look_up", lambda host, port, family: ())

    async def main() -> None:
        async with results(log) as r:
            outcome = await r.first(vip(TcpCheck(80, "nowhere.example")))
            assert said(outcome) == (False, False, "no address found for nowhere.example")

    on_loop(main)


def test_a_service_that_does_not_answer_in_time_fails(on_loop: OnLoop, log: LogLines, tmp_path: Path) -> None:
    pytest.importorskip("httpx")
    script(tmp_path / "hangs", "sleep 600")

    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            port = listening.getsockname()[1]
            async with results(log, tmp_path) as r:
                for check in (HttpCheck(f"http://127.0.0.1:{port}/"), ExecCheck("hangs")):
                    outcome = await r.first(vip(check, timeout=0.5))
                    assert said(outcome) == (False, False, "no answer within 0.5 s")
                    assert outcome.seconds >= 0.5

    on_loop(main)


def test_http_checks_say_what_the_answer_was(on_loop: OnLoop, log: LogLines) -> None:
    pytest.importorskip("httpx")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        request = await reader.readuntil(b"\r\n\r\n")
        status = request.split()[1][1:]
        writer.write(b"HTTP/1.1 " + status + b" Any\r\nContent-Length: 4\r\n\r\nfine")
        await reader.read()
        writer.close()

    async def main() -> None:
        web = await asyncio.start_server(serve, "127.0.0.1", 0)
        url = f"http://127.0.0.1:{web.sockets[0].getsockname()[1]}"
        async with results(log) as r:
            outcome = await r.first(vip(HttpCheck(f"{url}/200", text="fine")))
            assert said(outcome) == (True, False, "status 200")
            outcome = await r.first(vip(HttpCheck(f"{url}/500")))
            assert said(outcome) == (False, False, "status 500")
            outcome = await r.first(vip(HttpCheck("http://[::1/")))
            assert outcome.well is False
        web.close()

    on_loop(main)


def test_without_the_library_an_http_check_fails(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'httpx'")

    monkeypatch.setattr(http_check, "load_library", missing)

    async def main() -> None:
        async with results(log) as r:
            outcome = await r.first(vip(HttpCheck("http://127.0.0.1:9/")))
            assert said(outcome) == (False, False, "the Python library httpx is not installed")

    on_loop(main)


@pytest.mark.parametrize(
    ("line", "result"),
    [
        ("exit 0", (True, False, "exit status 0")),
        ("exit 2", (True, True, "exit status 2")),
        ("exit 3", (False, False, "exit status 3")),
    ],
)
def test_the_exit_status_of_a_script_is_the_result(
    on_loop: OnLoop, log: LogLines, tmp_path: Path, line: str, result: tuple[bool, bool, str]
) -> None:
    script(tmp_path / "check", line)

    async def main() -> None:
        async with results(log, tmp_path) as r:
            assert said(await r.first(vip(ExecCheck("check")))) == result

    on_loop(main)


def test_a_script_knows_the_address(on_loop: OnLoop, log: LogLines, tmp_path: Path) -> None:
    out = tmp_path / "out"
    script(tmp_path / "check", f'echo "$VIP" > {out}')

    async def main() -> None:
        async with results(log, tmp_path) as r:
            address = socket.inet_pton(socket.AF_INET6, "fd00:1::10")
            assert (await r.first(vip(ExecCheck("check"), address=address))).well

    on_loop(main)
    assert out.read_text() == "fd00:1::10\n"


def test_a_missing_script_fails(on_loop: OnLoop, log: LogLines, tmp_path: Path) -> None:
    async def main() -> None:
        async with results(log, tmp_path) as r:
            outcome = await r.first(vip(ExecCheck("nosuch")))
            assert said(outcome) == (False, False, "there is no such script")

    on_loop(main)


def test_hanging_scripts_leave_no_process(on_loop: OnLoop, log: LogLines, tmp_path: Path) -> None:
    script(
        tmp_path / "hangs",
        f"sleep 600 & echo $! >> {tmp_path}/pids; sleep 600 & echo $! >> {tmp_path}/pids; wait",
    )

    def alive() -> list[int]:
        written = tmp_path / "pids"
        pids = [int(line) for line in written.read_text().split()] if written.exists() else []
        return [pid for pid in pids if Path(f"/proc/{pid}/cmdline").exists() and _cmdline(pid)]

    async def main() -> None:
        async with results(log, tmp_path) as r:
            r.pace = 0.0
            check = ExecCheck("hangs")
            r.set(vip(check, timeout=0.3))
            await r.until(lambda: len(r.found[HERE, check]) >= 5)
            assert not any(outcome.well for outcome in r.found[HERE, check])
        while alive():  # noqa: ASYNC110
            await asyncio.sleep(0.005)

    on_loop(main)


def _cmdline(pid: int) -> bytes:
    """Return nothing for a process that has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def test_a_script_that_cannot_be_killed_is_not_started_again(
    on_loop: OnLoop, log: LogLines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script(tmp_path / "hangs", f"echo >> {tmp_path}/starts; exec sleep 600")

    async def main() -> None:
        with monkeypatch.context() as patch:
            patch.setattr(os, "killpg", lambda pid, number: None)
            async with results(log, tmp_path) as r:
                r.pace = 0.0
                check = ExecCheck("hangs")
                r.set(vip(check, timeout=2.0))
                await r.until(lambda: len(r.found[HERE, check]) >= 3)
                hanging = r.checks._scripts[(HERE, None), check]
                details = [outcome.detail for outcome in r.found[HERE, check]]
                while not (tmp_path / "starts").exists():  # noqa: ASYNC110
                    await asyncio.sleep(0.005)
        assert details[:2] == ["no answer within 2 s", "its last run does not end, although it was killed"]
        await hanging.end()
        assert hanging.status is not None

    on_loop(main)
    assert (tmp_path / "starts").read_text() == "\n"


def test_a_stop_ends_scripts_and_tells_nothing_more(on_loop: OnLoop, log: LogLines, tmp_path: Path) -> None:
    script(tmp_path / "hangs", f"sleep 600 & echo $! > {tmp_path}/pid; wait")

    async def main() -> None:
        async with results(log, tmp_path) as r:
            r.set(vip(ExecCheck("hangs")))
            pid = tmp_path / "pid"
            while not pid.exists() or not pid.read_text().endswith("\n"):  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        while _cmdline(int(pid.read_text())):  # noqa: ASYNC110
            await asyncio.sleep(0.005)
        assert not any(r.found.values())

    on_loop(main)


def test_only_so_many_checks_run_at_once(on_loop: OnLoop, log: LogLines, tmp_path: Path) -> None:
    script(
        tmp_path / "waits",
        f"echo >> {tmp_path}/begun-$VIP; until [ -e {tmp_path}/go-on ]; do sleep 0.02; done",
    )
    addresses = [socket.inet_aton(f"192.0.2.{number}") for number in range(AT_ONCE + 3)]

    def begun() -> int:
        return len(list(tmp_path.glob("begun-*")))

    async def main() -> None:
        async with results(log, tmp_path) as r:
            r.set(*(vip(ExecCheck("waits"), address=address) for address in addresses))
            while begun() < AT_ONCE:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            for _ in range(20):  # time for one too many
                await asyncio.sleep(0.005)
            assert begun() == AT_ONCE
            (tmp_path / "go-on").touch()
            await r.until(lambda: len(r.found) == len(addresses) and all(r.found.values()))

    on_loop(main)


def test_checks_repeat_at_the_pace_that_the_state_asks_for(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            check = TcpCheck(listening.getsockname()[1])
            async with results(log) as r:
                r.pace = 0.01
                r.set(vip(check))
                await r.until(lambda: len(r.found[HERE, check]) >= 3)
                r.pace = NEVER
                await r.until(lambda: len(r.found[HERE, check]) >= 4)

    on_loop(main)


def test_a_reload_leaves_checks_alone_that_stay_and_ends_the_others(
    on_loop: OnLoop, log: LogLines, tmp_path: Path
) -> None:
    script(
        tmp_path / "stays", f"echo >> {tmp_path}/starts; until [ -e {tmp_path}/go-on ]; do sleep 0.01; done"
    )

    async def main() -> None:
        starts = tmp_path / "starts"
        stays, goes = ExecCheck("stays"), TcpCheck(closed_port())
        async with results(log, tmp_path) as r:
            r.set(vip(stays, goes))
            await r.until(lambda: r.found[HERE, goes])
            while not starts.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            r.pace = 0.01
            new = ExecCheck("nosuch")
            r.set(VirtualIP(HERE, 24, priority=200, checks=(new, stays), timeout=60.0))
            await r.until(lambda: r.found[HERE, new])
            count = len(r.found[HERE, goes])
            (tmp_path / "go-on").touch()
            await r.until(lambda: len(r.found[HERE, stays]) >= 1)
            assert r.found[HERE, stays][0].well
            assert starts.read_text().count("\n") >= 1
            await r.until(lambda: len(r.found[HERE, new]) >= 3)
            assert len(r.found[HERE, goes]) == count

    on_loop(main)


def test_a_reload_that_changes_the_timeout_begins_a_check_anew(
    on_loop: OnLoop, log: LogLines, tmp_path: Path
) -> None:
    script(tmp_path / "hangs", f"echo >> {tmp_path}/starts; sleep 600")

    async def main() -> None:
        starts, check = tmp_path / "starts", ExecCheck("hangs")
        async with results(log, tmp_path) as r:
            r.set(vip(check, timeout=600.0))
            while not starts.exists():  # noqa: ASYNC110
                await asyncio.sleep(0.005)
            r.set(vip(check, timeout=0.1))
            await r.until(lambda: r.found[HERE, check])
            assert r.found[HERE, check][0].detail == "no answer within 0.1 s"

    on_loop(main)


def test_the_log_shows_each_result_to_those_who_want_it_all(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as listening:
            check = TcpCheck(listening.getsockname()[1])
            async with results(log) as r:
                await r.first(vip(check))
                assert log.messages[-1].startswith(f"Check {check} of 127.0.0.1: connected (")

    on_loop(main)


def test_a_result_that_nobody_can_take_is_reported_as_an_error(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        errors: asyncio.Queue[str] = asyncio.Queue()
        loop.set_exception_handler(lambda _, context: errors.put_nowait(str(context["exception"])))

        def refuse(key: Key, check: Check, outcome: Outcome) -> None:
            raise RuntimeError("broken")

        made = HealthChecks(
            loop, on_result=refuse, script=lambda name, environment: None, resolver=Resolver(loop), log=log
        )
        made.set([vip(ExecCheck("nosuch"))], lambda key, check: 0.0)
        assert await errors.get() == "broken"
        made.stop()

    on_loop(main)
