from __future__ import annotations

import asyncio
import json
import os
import socket
import stat
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from pytinc.control.messages import ConnectionRow, Greeting, Request
from pytinc.control.vips import Move, Order, format_order
from pytinc.errors import DeviceError, PolicyError
from pytinc.net import control
from pytinc.net.control import ControlServer, bind_control_socket, is_socket_in_use
from pytinc.net.events import PORTION
from pytinc.node.event_ring import EventRing

if TYPE_CHECKING:
    from net.conftest import OnLoop

COOKIE = "9D43B81CF40ABAD0E9C3DE0F2722365FF3FEBD4CDC922AE9900DA093657CD1DE"
HELLO = f"0 ^{COOKIE} 0\n".encode()
GREETING = b"0 alpha 17.7\n4 0 77\n"


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


@dataclass
class Target:
    calls: list[str] = field(default_factory=list)
    level: int = 3
    dump_size: int = 2
    events: EventRing = field(default_factory=lambda: EventRing(1000.5))

    def greeting(self) -> Greeting:
        return Greeting("alpha", 7, 77)

    def stop(self) -> None:
        self.calls.append("stop")

    def reload(self) -> int:
        self.calls.append("reload")
        return 22

    def purge(self) -> None:
        self.calls.append("purge")

    def retry(self) -> None:
        self.calls.append("retry")

    def disconnect(self, name: str) -> bool:
        self.calls.append(f"disconnect {name}")
        return name == "beta"

    def set_debug(self, level: int) -> int:
        before = self.level
        if level >= 0:
            self.level = level
        return before

    def vip_order(self, order: Order) -> None:
        self.calls.append(" ".join(["vip", *format_order(order)]))
        if isinstance(order, Move):
            raise PolicyError(f"{order.node} is no member")

    def dump(self, request: Request, control_rows: list[tuple[float, ConnectionRow]]) -> list[str]:
        if request is Request.DUMP_CONNECTIONS:
            return [row.format() for _, row in control_rows]
        return [f"18 {request:d} row {number}" for number in range(self.dump_size)]

    def streams_changed(self) -> None:
        self.calls.append("streams changed")


@dataclass
class World:
    server: ControlServer
    target: Target
    path: str

    async def connect(self, first: bytes = HELLO) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        writer.write(first)
        if first == HELLO:
            assert await reader.readexactly(len(GREETING)) == GREETING
        return reader, writer


@asynccontextmanager
async def world(tmp_path: Path, *, login_timeout: float = 60.0) -> AsyncIterator[World]:
    path = str(tmp_path / "tinc.socket")
    loop = asyncio.get_running_loop()
    target = Target()
    server = ControlServer(loop, target, COOKIE, clock=loop.time)
    await server.start(bind_control_socket(path), login_timeout=login_timeout)
    try:
        yield World(server, target, path)
    finally:
        server.close()
        await asyncio.sleep(0.01)


def test_each_request_gets_its_answer(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await w.connect()
            for request, answer in {
                "18 1": "18 1 22",
                "18 2": "18 -1",
                "18 3 ignored": "18 3 row 0\n18 3 row 1\n18 3",
                "18 4": "18 4 row 0\n18 4 row 1\n18 4",
                "18 7": "18 -1",
                "18 8": "18 8 0",
                "18 9 5": "18 9 3",
                "18 9 -1": "18 9 5",
                "18 10": "18 10 0",
                "18 11 beta": "18 -1",
                "18 12 beta": "18 12 0",
                "18 12 nosuch": "18 12 -2",
                "18 12": "18 12 -1",
                "18 13": "18 13 row 0\n18 13 row 1\n18 13",
                "18 4096": "18 4096 row 0\n18 4096 row 1\n18 4096",
                "18 4097": "18 4097 row 0\n18 4097 row 1\n18 4097",
                "18 4098": "18 4098 row 0\n18 4098 row 1\n18 4098",
                "18 4099 drain": "18 4099 0",
                "18 4099 move 10.1.1.10 beta": "18 4099 -2 beta is no member",
                "18 4099": "18 4099 -2 unknown order, or a wrong number of words",
                "18 4099 freeze 10.1.1.10/24": "18 4099 -2 not an IP address",
                "18 99": "18 -1",
                "18 -7": "18 -1",
            }.items():
                writer.write(f"{request}\n".encode())
                expected = f"{answer}\n".encode()
                assert await reader.readexactly(len(expected)) == expected
            assert w.target.calls == [
                "reload",
                "purge",
                "retry",
                "disconnect beta",
                "disconnect nosuch",
                "vip drain",
                "vip move 10.1.1.10 beta",
            ]
            writer.close()

    on_loop(main)


def test_requests_sent_at_once_are_answered_in_order_even_to_a_half_closed_client(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await asyncio.open_unix_connection(w.path)
            writer.write(HELLO + b"18 9 1\n18 1\n18 8\n")
            writer.write_eof()
            assert await reader.read() == GREETING + b"18 9 3\n18 1 22\n18 8 0\n"
            writer.close()

    on_loop(main)


def test_the_request_of_a_client_that_closes_at_once_is_carried_out(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            _, writer = await asyncio.open_unix_connection(w.path)
            writer.write(HELLO + b"18 1\n")
            writer.close()
            await until(lambda: w.target.calls)
            assert w.target.calls == ["reload"]

    on_loop(main)


def test_stop_is_not_answered(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await w.connect()
            writer.write(b"18 0\n")
            await until(lambda: w.target.calls)
            w.server.close()
            assert await reader.read() == b""
            writer.close()

    on_loop(main)


@pytest.mark.parametrize(
    "first",
    [
        HELLO.lower(),
        b"0 ^" + b"0" * 64 + b" 0\n",
        f"0 ^{COOKIE}\n".encode(),
        f"0 ^{COOKIE} 1\n".encode(),
        b"18 1\n",
        b"\n",
        b"\xff\xfe\x00\n",
        b"x" * 3000,
        b"0 alpha 17.7\n",
    ],
)
def test_a_client_without_the_cookie_is_disconnected_silently(
    on_loop: OnLoop, tmp_path: Path, first: bytes
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await w.connect(first)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            assert w.target.calls == []
            writer.close()

    on_loop(main)


@pytest.mark.parametrize(
    "line", [b"18\n", b"18 x\n", b"8\n", b"hello\n", b"18 9\n", b"18 9 x\n", b"y" * 2300]
)
def test_a_malformed_line_ends_the_connection(on_loop: OnLoop, tmp_path: Path, line: bytes) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await w.connect()
            writer.write(line)
            with suppress(ConnectionResetError):
                assert await reader.read() == b""
            writer.close()

    on_loop(main)


def test_a_silent_client_is_disconnected_after_a_while(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            patient, writer_2 = await w.connect()
            w.server.login_timeout = 0.05
            silent, writer = await asyncio.open_unix_connection(w.path)
            assert await silent.read() == b""
            writer_2.write(b"18 8\n")
            assert await patient.readline() == b"18 8 0\n"
            writer.close()
            writer_2.close()

    on_loop(main)


def test_log_lines_go_to_the_clients_that_want_their_level(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            plain, writer_1 = await w.connect()
            coloured, writer_2 = await w.connect()
            writer_1.write(b"18 15 -1 0\n")
            writer_2.write(b"18 15 99 1\n")
            await until(lambda: w.target.calls == ["streams changed"] * 2)
            assert w.server.log_level(3) == 10
            w.server.write_log(4, 3, b"not for the first", b"c4")
            w.server.write_log(3, 3, b"plain three", b"c3")
            w.server.write_log(0, 3, b"x" * 2000, b"c0")
            assert await plain.readexactly(20) == b"18 15 11\nplain three"
            assert await plain.readexactly(11) == b"18 15 1024\n"
            assert await coloured.readexactly(27) == b"18 15 2\nc418 15 2\nc318 15 2"
            writer_2.close()
            await until(lambda: len(w.target.calls) >= 3)
            assert w.server.log_level(3) == 3
            assert w.server.log_level(5) == 5
            writer_1.close()

    on_loop(main)


def test_a_log_line_that_sending_produces_is_not_sent(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await w.connect()
            writer.write(b"18 15\n18 8\n")
            assert await reader.readline() == b"18 8 0\n"
            (client,) = w.server._clients
            send_frame = client.send_frame

            def noisy(kind: Request, payload: bytes) -> None:
                w.server.write_log(0, 0, b"inner", b"inner")
                send_frame(kind, payload)

            monkeypatch.setattr(client, "send_frame", noisy)
            w.server.write_log(0, 0, b"outer", b"outer")
            writer.write(b"18 8\n")
            assert await reader.readline() == b"18 15 5\n"
            assert await reader.readexactly(12) == b"outer18 8 0\n"
            writer.close()

    on_loop(main)


def test_captured_frames_are_cut_to_the_snap_length(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            whole, writer_1 = await w.connect()
            short, writer_2 = await w.connect()
            assert not w.server.wants_frames
            writer_1.write(b"18 14\n")
            writer_2.write(b"18 14 4\n")
            await until(lambda: w.target.calls == ["streams changed"] * 2)
            assert w.server.wants_frames
            w.server.write_frames([b"a frame", b"two"])
            assert await whole.readexactly(26) == b"18 14 7\na frame18 14 3\ntwo"
            assert await short.readexactly(23) == b"18 14 4\na fr18 14 3\ntwo"
            writer_1.close()
            writer_2.close()

    on_loop(main)


def test_a_stream_client_that_does_not_read_loses_frames_beyond_the_limit(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            _, writer = await w.connect()
            writer.write(b"18 14\n")
            await until(lambda: w.server.wants_frames)
            cast(asyncio.Transport, writer.transport).pause_reading()
            frame = bytes(1500)
            for _ in range(40):
                w.server.write_frames([frame] * 64)
                await asyncio.sleep(0)
            (client,) = w.server._clients
            assert client._transport is not None
            assert client._transport.get_write_buffer_size() <= control.MAX_STREAM_BACKLOG + 2000
            writer.close()

    on_loop(main)


def test_events_are_a_dump_or_a_stream(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.target.events.add(1000.75, "node-up", {"node": "beta"})
            w.target.events.add(1001.0, "node-down", {"node": "beta"})
            reader, writer = await w.connect()
            ring = b'18 4100 ring {"started":1000.5,"first":1,"last":2}\n'
            down = b'18 4100 event {"seq":2,"time":1001.0,"kind":"node-down","node":"beta"}\n'
            writer.write(b"18 4100 1 0\n")
            assert [await reader.readline() for _ in range(3)] == [ring, down, b"18 4100\n"]
            writer.write(b"18 4100\n")
            assert [await reader.readline() for _ in range(4)][3] == b"18 4100\n"
            writer.write(b"18 4100 1 1\n")
            assert [await reader.readline() for _ in range(2)] == [ring, down]
            w.target.events.add(1002.0, "reload", {})
            w.server.events_added()
            assert await reader.readline() == b'18 4100 event {"seq":3,"time":1002.0,"kind":"reload"}\n'
            writer.close()

    on_loop(main)


@pytest.mark.parametrize("follow", [0, 1])
def test_many_events_leave_in_portions_between_which_others_are_served(
    on_loop: OnLoop, tmp_path: Path, follow: int
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            for number in range(3000):
                w.target.events.add(1.0, f"kind-{number % 20}", {})
            reader, writer = await w.connect()
            (client,) = w.server._clients
            portions: list[str] = []
            send = client._send

            def noting(text: str) -> None:
                portions.append(text)
                send(text)

            client._send = noting  # type: ignore[method-assign]
            turns = 0

            async def count_turns() -> None:
                nonlocal turns
                while True:
                    await asyncio.sleep(0)
                    turns += 1

            counter = asyncio.ensure_future(count_turns())
            writer.write(b"18 4100 0 %d\n18 3\n" % follow)
            numbers: list[int] = []
            while len(numbers) < 3000:
                words = (await reader.readline()).decode().split(" ", 3)
                if words[2:3] == ["event"]:
                    numbers.append(json.loads(words[3])["seq"])
            counter.cancel()
            assert numbers == list(range(1, 3001))
            assert max(text.count("\n") + 1 for text in portions) <= PORTION
            assert turns > 3000 // PORTION
            if not follow:
                assert await reader.readline() == b"18 4100\n"
                assert (await reader.readline()).startswith(b"18 3 ")
            writer.close()

    on_loop(main)


def test_a_slow_follower_makes_nothing_grow_and_finds_a_gap(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await w.connect()
            writer.write(b"18 4100 0 1\n")
            assert (await reader.readline()).startswith(b"18 4100 ring ")
            transport = cast(asyncio.Transport, writer.transport)
            transport.pause_reading()
            (client,) = w.server._clients
            for _ in range(200):
                for _ in range(100):
                    w.target.events.add(1.0, "mac-moved", {"text": "x" * 100})
                w.server.events_added()
                await asyncio.sleep(0)
            assert client._transport is not None
            assert client._transport.get_write_buffer_size() < 200_000
            transport.resume_reading()
            numbers = [0]
            while numbers[-1] < 20_000:
                row = (await reader.readline()).decode()
                numbers.append(json.loads(row.split(" ", 3)[3])["seq"])
            assert numbers == sorted(numbers)
            assert len(numbers) < 20_000
            w.target.events.add(2.0, "reload", {})
            w.server.events_added()
            assert b'"seq":20001' in await reader.readline()
            writer.close()

    on_loop(main)


def test_a_client_that_does_not_read_answers_is_served_again_when_it_reads(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            w.target.dump_size = 1000
            reader, writer = await w.connect()
            transport = cast(asyncio.Transport, writer.transport)
            transport.pause_reading()
            count = 100  # 1.2 MB, more than all buffers hold
            writer.write(b"18 3\n" * count)
            await asyncio.sleep(0.1)
            (client,) = w.server._clients
            assert client._transport is not None
            assert client._transport.get_write_buffer_size() < 200_000
            transport.resume_reading()
            ends = 0
            while ends < count:
                ends += await reader.readline() == b"18 3\n"
            writer.close()

    on_loop(main)


def test_the_number_of_clients_is_bounded(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_CLIENTS", 2)

    async def main() -> None:
        async with world(tmp_path) as w:
            first, second = await w.connect(), await w.connect()
            reader, writer = await asyncio.open_unix_connection(w.path)
            assert await reader.read() == b""
            first[1].close()
            await until(lambda: len(w.server._clients) == 1)
            third = await w.connect()
            for _, each in (second, third, (reader, writer)):
                each.close()

    on_loop(main)


def test_clients_that_do_not_log_in_keep_nobody_out(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(control, "MAX_CLIENTS", 2)

    async def main() -> None:
        async with world(tmp_path) as w:
            silent = [await asyncio.open_unix_connection(w.path) for _ in range(2)]
            first, second = await w.connect(), await w.connect()
            for reader, _ in silent:
                assert await reader.read() == b""
            for _, each in (first, second, *silent):
                each.close()

    on_loop(main)


def test_the_list_of_connections_includes_control_connections(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            reader, writer = await w.connect()
            writer.write(b"18 14 0\n18 15 0 1\n18 6\n")
            line = (await reader.readline()).decode().split()
            assert line[:7] == ["18", "6", "<control>", "localhost", "port", "unix", "0"]
            assert int(line[7]) > 2
            assert line[8] == "1e00"
            writer.close()

    on_loop(main)


def test_the_cookie_is_not_in_the_repr(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            assert COOKIE not in repr(w.server)

    on_loop(main)


# -- the file --


def test_only_the_owner_may_use_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "tinc.socket"
    before = os.umask(0)
    try:
        bind_control_socket(str(path)).close()
        assert os.umask(0) == 0
    finally:
        os.umask(before)
    assert stat.S_IMODE(path.stat().st_mode) == 0o700


def test_a_stale_socket_is_replaced(tmp_path: Path) -> None:
    path = str(tmp_path / "tinc.socket")
    bind_control_socket(path).close()
    assert not is_socket_in_use(path)
    with bind_control_socket(path):
        assert is_socket_in_use(path)


def test_the_socket_of_a_running_daemon_is_kept_even_if_its_backlog_is_full(tmp_path: Path) -> None:
    path = str(tmp_path / "tinc.socket")
    with bind_control_socket(path):
        waiting = []
        for _ in range(6):
            client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            client.setblocking(False)
            with suppress(BlockingIOError):
                client.connect(path)
            waiting.append(client)
        with pytest.raises(DeviceError, match="still in use"):
            bind_control_socket(path)
        for client in waiting:
            client.close()


def test_the_error_for_a_path_that_is_too_long_names_it(tmp_path: Path) -> None:
    path = str(tmp_path / ("x" * 120))
    with pytest.raises(DeviceError, match="is too long"):
        bind_control_socket(path)


@pytest.mark.skipif(not Path("/usr/sbin/tinc").exists(), reason="needs the C program tinc")
def test_the_c_command_works_with_it(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        async with world(tmp_path) as w:
            (tmp_path / "tinc.conf").write_text("Name = alpha\n")
            (tmp_path / "pid").write_text(f"{os.getpid()} {COOKIE} 127.0.0.1 port 655\n")
            (tmp_path / "pid.socket").symlink_to(w.path)
            command = ["/usr/sbin/tinc", "-c", str(tmp_path), f"--pidfile={tmp_path}/pid", "debug", "5"]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, timeout=60
            )
            assert done.returncode == 0, done.stderr
            assert w.target.level == 5

    on_loop(main)
