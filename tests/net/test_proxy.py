"""Connections through proxies, with small proxies of the test's own on loopback.

See docs/protocol-meta.md, "Proxies".
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import ProxySettings, Settings
from pytinc.net.meta import MetaStreams
from pytinc.net.resolver import Answer, Resolver
from pytinc.wire.address import UNSPEC, Address

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop

TARGET = Address("192.0.2.1", "655")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class Events:
    connected: list[tuple[int, Address]] = field(default_factory=list)
    received: bytes = b""
    closed: list[str] = field(default_factory=list)

    def meta_accepted(self, remote: Address, local: Address, add: Callable[[int], None]) -> None:
        raise AssertionError("nobody comes in")

    def meta_connected(self, connection: int, local: Address) -> None:
        self.connected.append((connection, local))

    def meta_data(self, connection: int, data: bytes) -> None:
        assert self.connected
        self.received += data

    def meta_closed(self, connection: int, reason: str) -> None:
        self.closed.append(reason)


class Names(Resolver):
    """Knows one name, which has these addresses."""

    def __init__(self, loop: asyncio.AbstractEventLoop, *addresses: Address) -> None:
        super().__init__(loop)
        self._addresses = addresses

    def resolve(self, host: str, port: str, family: int, answer: Answer) -> None:
        asyncio.get_running_loop().call_soon(answer, self._addresses)


def streams_with(
    proxy: ProxySettings, events: Events, log: LogLines, resolver: Resolver | None = None
) -> MetaStreams:
    loop = asyncio.get_running_loop()
    return MetaStreams(
        loop,
        events,
        Settings("alpha", proxy=proxy),
        resolver=resolver or Resolver(loop),
        netname="mynet",
        log=log,
        clock=loop.time,
    )


@asynccontextmanager
async def proxy_server(serve: Serve) -> AsyncIterator[str]:
    """A proxy; its port."""

    open_ = 0

    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal open_
        open_ += 1
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            await serve(reader, writer)
        with contextlib.suppress(OSError):
            writer.close()
            await writer.wait_closed()
        open_ -= 1

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    async with server:
        yield str(server.sockets[0].getsockname()[1])
        await until(lambda: open_ == 0)


async def until(condition: Callable[[], object]) -> None:
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


async def willing_http(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"CONNECT 192.0.2.1:655 HTTP/1.1\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nVia: test\r\n\r\n0 peer 17.7\n")
    assert await reader.readexactly(5) == b"hello"
    writer.write(b"answer")
    await reader.read()


async def willing_socks5(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    assert await reader.readexactly(3) == b"\x05\x01\x02"
    writer.write(b"\x05\x02")
    assert await reader.readexactly(11) == b"\x01\x02me\x06secret"
    writer.write(b"\x01\x00")
    assert await reader.readexactly(10) == b"\x05\x01\x00\x01\xc0\x00\x02\x01\x02\x8f"
    writer.write(b"\x05\x00\x00\x01\0\0\0\0\0\0" + b"0 peer 17.7\n")
    assert await reader.readexactly(5) == b"hello"
    writer.write(b"answer")
    await reader.read()


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize(("kind", "serve"), [("http", willing_http), ("socks5", willing_socks5)])
def test_a_connection_is_up_once_the_proxy_has_made_it(
    on_loop: OnLoop, log: LogLines, kind: str, serve: Serve, host: str
) -> None:
    async def main() -> None:
        async with proxy_server(serve) as port:
            events = Events()
            streams = streams_with(ProxySettings(kind, host, port, "me", "secret"), events, log)
            streams.dial(1, "peer", TARGET)
            await until(lambda: events.received or events.closed)
            assert events.received == b"0 peer 17.7\n"
            streams.send(1, b"hello")
            await until(lambda: events.received.endswith(b"answer"))
            assert [number for number, _ in events.connected] == [1]
            streams.close_all()

    on_loop(main)


@pytest.mark.parametrize(
    ("answer", "complaint"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", "403 Forbidden"),
        (b"nonsense\r\n\r\n", "does not speak HTTP"),
        (b"", "the proxy closed it"),
        (b"HTTP/1.1 2", "the proxy closed it"),
    ],
)
def test_a_refusal_by_the_proxy_fails_the_dial_with_its_reason(
    on_loop: OnLoop, log: LogLines, answer: bytes, complaint: str
) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)

    async def main() -> None:
        async with proxy_server(serve) as port:
            events = Events()
            streams = streams_with(ProxySettings("http", "127.0.0.1", port), events, log)
            streams.dial(1, "peer", TARGET)
            await until(lambda: events.closed)
            assert complaint in events.closed[0]
            assert events.connected == []

    on_loop(main)


@pytest.mark.parametrize(
    ("proxy", "target", "complaint"),
    [
        (ProxySettings("http", "no.such.host.invalid", "80"), TARGET, "cannot look up the proxy"),
        (ProxySettings("socks4", "127.0.0.1", "80"), Address("2001:db8::1", "655"), "IPv4 addresses only"),
    ],
)
def test_an_unusable_proxy_fails_the_dial(
    on_loop: OnLoop, log: LogLines, proxy: ProxySettings, target: Address, complaint: str
) -> None:
    async def main() -> None:
        events = Events()
        streams_with(proxy, events, log).dial(1, "peer", target)
        await until(lambda: events.closed)
        assert complaint in events.closed[0]

    on_loop(main)


def test_every_address_of_the_proxy_is_tried_until_one_answers(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        with socket.socket() as deaf:
            deaf.bind(("127.0.0.1", 0))
            closed = Address("127.0.0.1", str(deaf.getsockname()[1]))
            async with proxy_server(willing_http) as port:
                events = Events()
                names = Names(loop, Address("no address", "1"), closed, Address("127.0.0.1", port))
                streams = streams_with(ProxySettings("http", "proxy", "1"), events, log, names)
                streams.dial(1, "peer", TARGET)
                await until(lambda: events.received or events.closed)
                assert events.received == b"0 peer 17.7\n"
                streams.send(1, b"hello")
                await until(lambda: events.received.endswith(b"answer"))
                streams.close_all()
            events = Events()
            names = Names(loop, closed, closed)
            streams = streams_with(ProxySettings("http", "proxy", "1"), events, log, names)
            streams.dial(2, "peer", TARGET)
            await until(lambda: events.closed)
            assert events.closed == ["Connection refused"]
            streams.close_all()

    on_loop(main)


def test_a_dial_closed_during_the_look_up_of_the_proxy_is_not_made(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        events = Events()
        with socket.create_server(("127.0.0.1", 0)) as listening:
            listening.setblocking(False)
            port = str(listening.getsockname()[1])
            streams = streams_with(ProxySettings("http", "localhost", port), events, log)
            streams.dial(1, "peer", TARGET)
            streams.close(1, tarpit=False)
            await asyncio.sleep(0.2)
            with pytest.raises(BlockingIOError):
                listening.accept()
        assert not events.connected
        assert not events.closed

    on_loop(main)


def test_a_command_carries_the_connection_and_knows_its_target(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        events = Events()
        command = 'echo "$NAME $NODE $REMOTEADDRESS $REMOTEPORT $NETNAME"; exec cat'
        streams = streams_with(ProxySettings("exec", command=command), events, log)
        streams.dial(1, "peer", TARGET)
        await until(lambda: events.received.endswith(b"\n"))
        assert events.received == b"alpha peer 192.0.2.1 655 mynet\n"
        assert events.connected == [(1, UNSPEC)]
        streams.send(1, b"echo")
        await until(lambda: events.received.endswith(b"echo"))
        streams.close(1, tarpit=False)

    on_loop(main)


def test_a_command_ends_the_connection_when_it_ends_and_is_killed_otherwise(
    on_loop: OnLoop, log: LogLines, tmp_path: Path
) -> None:
    async def main() -> None:
        events = Events()
        streams = streams_with(ProxySettings("exec", command="exit 1"), events, log)
        streams.dial(1, "peer", TARGET)
        await until(lambda: events.closed)
        pid_file = tmp_path / "pid"
        stubborn = ProxySettings("exec", command=f"echo $$ >{pid_file}; sleep 1000; sleep 1000")
        streams = streams_with(stubborn, events, log)
        streams.dial(2, "peer", TARGET)
        await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        pid = int(pid_file.read_text())
        streams.close(2, tarpit=False)
        await until(lambda: not _is_alive(pid))

    on_loop(main)


def test_a_stubborn_command_is_killed_when_everything_is_closed(
    on_loop: OnLoop, log: LogLines, tmp_path: Path
) -> None:
    async def main() -> None:
        pid_file = tmp_path / "pid"
        stubborn = ProxySettings("exec", command=f"trap '' TERM; echo $$ >{pid_file}; sleep 1000; sleep 1000")
        streams = streams_with(stubborn, Events(), log)
        streams.dial(1, "peer", TARGET)
        await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        pid = int(pid_file.read_text())
        assert _is_alive(pid)
        streams.close_all()
        # At once, because the daemon ends now and has no later opportunity.
        assert not _is_alive(pid)

    on_loop(main)


def test_processes_that_a_command_has_started_end_with_it(
    on_loop: OnLoop, log: LogLines, tmp_path: Path
) -> None:
    async def main() -> None:
        pid_file = tmp_path / "pid"
        # The shell ends when asked to; the process that it has started does not.
        child = f"trap '' TERM; echo $(exec sh -c 'echo $PPID') >{pid_file}; sleep 1000; sleep 1000"
        stubborn = ProxySettings("exec", command=f"({child}) & wait")
        streams = streams_with(stubborn, Events(), log)
        streams.dial(1, "peer", TARGET)
        await until(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
        pid = int(pid_file.read_text())
        assert _is_alive(pid)
        streams.close_all()
        # A child of the command becomes a child of process 1, which may be slow to reap the zombie.
        await until(lambda: not _is_alive(pid))

    on_loop(main)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False
