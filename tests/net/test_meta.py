from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import HostPort, Settings
from pytinc.errors import UsageError
from pytinc.net import meta
from pytinc.net.meta import TARPIT_SIZE, MetaStreams
from pytinc.net.resolver import Resolver
from pytinc.net.sockets import Listener, open_listeners
from pytinc.wire.address import Address

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop


@dataclass
class Events:
    """Records the reports of the streams."""

    accepted: list[tuple[int, Address, Address]] = field(default_factory=list)
    connected: list[tuple[int, Address]] = field(default_factory=list)
    received: dict[int, bytes] = field(default_factory=dict)
    closed: list[tuple[int, str]] = field(default_factory=list)
    refuse: bool = False
    streams: MetaStreams | None = None

    def meta_accepted(self, remote: Address, local: Address, add: Callable[[int], None]) -> None:
        number = 100 + len(self.accepted)
        self.accepted.append((number, remote, local))
        add(number)
        if self.refuse:
            assert self.streams is not None
            self.streams.close(number, tarpit=True)

    def meta_connected(self, connection: int, local: Address) -> None:
        self.connected.append((connection, local))

    def meta_data(self, connection: int, data: bytes) -> None:
        self.received[connection] = self.received.get(connection, b"") + data

    def meta_closed(self, connection: int, reason: str) -> None:
        self.closed.append((connection, reason))


@dataclass
class World:
    streams: MetaStreams
    events: Events
    listener: Listener

    @property
    def address(self) -> Address:
        return self.listener.address


@asynccontextmanager
async def world(log: LogLines, *, bind_to_address: tuple[HostPort, ...] = ()) -> AsyncIterator[World]:
    settings = Settings(
        "a", port="0", listen_address=(HostPort("127.0.0.1"),), bind_to_address=bind_to_address
    )
    listeners = open_listeners(settings, log)
    loop = asyncio.get_running_loop()
    events = Events()
    streams = MetaStreams(
        loop, events, settings, resolver=Resolver(loop), netname="mynet", log=log, clock=loop.time
    )
    events.streams = streams
    streams.listen(listeners)
    try:
        yield World(streams, events, listeners[-1])
    finally:
        streams.close_all()
        for listener in listeners:
            listener.close()


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_both_ends_report_a_connection_and_exchange_bytes(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.streams.dial(1, "peer", w.address)
            await until(lambda: w.events.connected and w.events.accepted)
            number, remote, local = w.events.accepted[0]
            assert w.events.connected == [(1, remote)]
            assert local == w.address
            w.streams.send(1, b"hello ")
            w.streams.send(1, b"there")
            w.streams.send(number, b"answer")
            await until(lambda: w.events.received.get(number) == b"hello there" and 1 in w.events.received)
            assert w.events.received[1] == b"answer"
            assert w.streams.describe(1)[0] > 2

    on_loop(main)


def test_a_refused_dial_is_reported_with_the_text_of_the_system(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        with socket.create_server(("127.0.0.1", 0)) as unused:
            port = str(unused.getsockname()[1])
        async with world(log) as w:
            w.streams.dial(1, "peer", Address("127.0.0.1", port))
            await until(lambda: w.events.closed)
            assert w.events.closed == [(1, "Connection refused")]
            assert w.streams.describe(1) == (-1, 0.0)

    on_loop(main)


@pytest.mark.parametrize("address", [Address("host.example", "655"), Address("192.0.2.1", "x")])
def test_a_dial_to_an_opaque_address_fails_later_and_not_at_once(
    on_loop: OnLoop, log: LogLines, address: Address
) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.streams.dial(1, "peer", address)
            assert w.events.closed == []
            await until(lambda: w.events.closed)
            assert w.events.closed == [(1, f"{address} is not a numeric address")]

    on_loop(main)


def test_a_dial_that_is_closed_early_is_never_reported(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.streams.dial(1, "peer", w.address)
            w.streams.close(1, tarpit=True)
            await asyncio.sleep(0.05)
            assert w.events.connected == []
            assert 1 not in dict(w.events.closed)

    on_loop(main)


def test_sending_while_dialling_is_an_error(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.streams.dial(1, "peer", w.address)
            with pytest.raises(UsageError):
                w.streams.send(1, b"too early")

    on_loop(main)


def test_the_end_of_a_connection_is_reported_once_and_later_calls_have_no_effect(
    on_loop: OnLoop, log: LogLines
) -> None:
    async def main() -> None:
        async with world(log) as w:
            with socket.create_connection((w.address.host, int(w.address.port))):
                await until(lambda: w.events.accepted)
            await until(lambda: w.events.closed)
            assert w.events.closed == [(100, "the peer closed it")]
            w.streams.send(100, b"nobody")
            w.streams.close(100, tarpit=False)
            assert w.streams.queued(100) == 0
            await asyncio.sleep(0.02)
            assert len(w.events.closed) == 1

    on_loop(main)


def test_output_waits_while_the_peer_does_not_read_and_arrives_complete(
    on_loop: OnLoop, log: LogLines
) -> None:
    async def main() -> None:
        async with world(log) as w:
            with socket.create_connection((w.address.host, int(w.address.port))) as peer:
                await until(lambda: w.events.accepted)
                data = bytes(range(256)) * 40_000  # 10 MB: more than the kernel buffers
                for start in range(0, len(data), 1_000_000):
                    w.streams.send(100, data[start : start + 1_000_000])
                assert 0 < w.streams.queued(100) < len(data)
                peer.setblocking(False)
                received = bytearray()
                while len(received) < len(data):
                    received += await asyncio.get_running_loop().sock_recv(peer, 1 << 20)
                assert received == data
                assert w.streams.queued(100) == 0

    on_loop(main)


def test_a_peer_that_never_reads_is_disconnected_at_the_limit(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(meta, "MAX_QUEUED", 100_000)

    async def main() -> None:
        async with world(log) as w:
            with socket.create_connection((w.address.host, int(w.address.port))):
                await until(lambda: w.events.accepted)
                for _ in range(200):
                    w.streams.send(100, bytes(100_000))
                    # The report comes from the loop, never from inside send.
                    assert w.events.closed == []
                assert w.streams.queued(100) <= 200_000
                await until(lambda: w.events.closed)
                assert w.events.closed == [(100, "the peer does not read")]

    on_loop(main)


def test_a_failed_write_is_reported_by_the_loop(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            peer = socket.create_connection((w.address.host, int(w.address.port)))
            await until(lambda: w.events.accepted)
            peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            peer.close()  # a reset
            w.streams.send(100, b"x")
            w.streams.send(100, b"x")
            assert w.events.closed == []
            await until(lambda: w.events.closed)
            assert w.events.closed[0][0] == 100
            assert len(w.events.closed) == 1

    on_loop(main)


def test_the_tarpit_is_silent_and_keeps_the_newest_ten(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.events.refuse = True
            peers = []
            for _ in range(TARPIT_SIZE + 2):
                peers.append(socket.create_connection((w.address.host, int(w.address.port))))
                await until(lambda: len(w.events.accepted) == len(peers))
            await asyncio.sleep(0.02)
            for peer in peers:
                peer.setblocking(False)
            for peer in peers[:2]:
                assert peer.recv(10) == b""
            for peer in peers[2:]:
                with pytest.raises(BlockingIOError):
                    peer.recv(10)
            peers[5].send(b"anybody there?")
            await asyncio.sleep(0.02)
            assert w.events.received == {}
            assert w.events.closed == []
            for peer in peers:
                peer.close()

    on_loop(main)


def test_a_single_bind_to_address_of_the_family_is_the_source(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log, bind_to_address=(HostPort("127.0.0.3"),)) as w:
            w.streams.dial(1, "peer", w.address)
            await until(lambda: w.events.accepted)
            assert w.events.accepted[0][1].host == "127.0.0.3"

    on_loop(main)


def test_with_two_bind_to_addresses_the_system_chooses(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log, bind_to_address=(HostPort("127.0.0.3"), HostPort("127.0.0.4"))) as w:
            w.streams.dial(1, "peer", w.address)
            await until(lambda: w.events.accepted)
            assert w.events.accepted[0][1].host == "127.0.0.1"

    on_loop(main)
