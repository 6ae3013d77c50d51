"""A client that pings its server and connects to it all the time; ``lab.outage`` runs it on a lab host.

    python -m pytinc.lab.probe watch ADDRESS PORT    ping and connect, until it is ended
    python -m pytinc.lab.probe serve PORT            answer those connections

A watcher sends an ICMP echo every 10 ms, starts a TCP connection every 20 ms, and prints a line for each
event. Times are those of the monotonic clock, which all processes of a machine share:

    ping NUMBER TIME      an echo request was sent (or could not be sent, which counts as lost)
    pong NUMBER TIME      its answer came
    tcp STARTED ENDED     a connection was made, and a byte came back through it

It is a program of its own, so that nothing else in its process delays it, and it imports little, so that it
starts quickly.
"""

from __future__ import annotations

import argparse
import contextlib
import errno
import os
import selectors
import socket
import struct
import sys
import time
from collections.abc import Sequence
from typing import Final

PING_INTERVAL_S: Final = 0.01
CONNECT_EVERY: Final = 2
"""One TCP connection is started for this many pings."""
CONNECT_TIMEOUT_S: Final = 0.2
SERVED_S: Final = 2.0
"""A client that has connected and sends nothing is dropped after this time."""
BYTE: Final = b"?"
PAYLOAD: Final = struct.Struct("!Q")
_HEADER: Final = struct.Struct("!BBHHH")
_REQUEST: Final = {4: 8, 6: 128}
_REPLY: Final = {4: 0, 6: 129}
_BACKLOG: Final = 128
_RESET_ON_CLOSE: Final = struct.pack("ii", 1, 0)
"""SO_LINGER with no time: fifty connections a second must not pile up in TIME_WAIT."""


def checksum(data: bytes) -> int:
    """Return the Internet checksum (RFC 1071) of an even number of bytes."""
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def echo_request(version: int, identifier: int, number: int) -> bytes:
    """Return an ICMP or ICMPv6 echo request that carries a number; the kernel adds the checksum of ICMPv6."""
    payload = PAYLOAD.pack(number)
    plain = _HEADER.pack(_REQUEST[version], 0, 0, identifier, number & 0xFFFF) + payload
    if version == 6:
        return plain
    return _HEADER.pack(_REQUEST[4], 0, checksum(plain), identifier, number & 0xFFFF) + payload


def echo_number(version: int, identifier: int, packet: bytes) -> int | None:
    """Return the number in an answer to one of our requests, or None for any other packet.

    A raw socket hands over an IPv4 packet with its header, and an ICMPv6 message without one.
    """
    message = packet[(packet[0] & 0xF) * 4 :] if version == 4 and packet else packet
    if len(message) != _HEADER.size + PAYLOAD.size:
        return None
    kind, code, _, owner, _ = _HEADER.unpack_from(message)
    if (kind, code, owner) != (_REPLY[version], 0, identifier):
        return None
    return int(PAYLOAD.unpack_from(message, _HEADER.size)[0])


class Watcher:
    """Pings and connects in one loop; ``lines`` are the lines that it prints next."""

    def __init__(self, address: str, port: int) -> None:
        self._version = 6 if ":" in address else 4
        self._family = socket.AF_INET6 if self._version == 6 else socket.AF_INET
        self._place = (address, port)
        self._identifier = os.getpid() & 0xFFFF
        self._selector = selectors.DefaultSelector()
        self._ticks = 0
        self._connecting: dict[socket.socket, float] = {}
        """Connections under way, oldest first, and when each was started."""
        protocol = socket.IPPROTO_ICMPV6 if self._version == 6 else socket.IPPROTO_ICMP
        self._echoes = socket.socket(self._family, socket.SOCK_RAW, protocol)
        self._echoes.setblocking(False)
        self._echoes.connect((address, 0))
        self._selector.register(self._echoes, selectors.EVENT_READ)
        self.lines: list[str] = []

    def run(self) -> None:
        """Ping and connect for ever."""
        start = time.monotonic()
        while True:
            due = start + self._ticks * PING_INTERVAL_S
            now = time.monotonic()
            if now >= due:
                self._tick(now)
                # Pings that were missed in a stall are skipped, because a burst would measure nothing.
                self._ticks = max(self._ticks, int((now - start) / PING_INTERVAL_S)) + 1
            for key, _ in self._selector.select(max(0.0, due - now)):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._echoes:
                    self._read_answers()
                else:
                    self._go_on(key.fileobj)
            if self.lines:
                sys.stdout.write("".join(self.lines))
                sys.stdout.flush()
                self.lines.clear()

    def _tick(self, now: float) -> None:
        number = self._ticks
        with contextlib.suppress(OSError):
            self._echoes.send(echo_request(self._version, self._identifier, number))
        self.lines.append(f"ping {number} {now:.6f}\n")
        for connection, started in list(self._connecting.items()):
            if now - started < CONNECT_TIMEOUT_S:
                break
            self._give_up(connection)
        if number % CONNECT_EVERY == 0:
            self._connect(now)

    def _read_answers(self) -> None:
        while True:
            try:
                packet = self._echoes.recv(2048)
            except OSError as error:
                # EAGAIN: no more answers. Other errors come from ICMP messages that the address is
                # unreachable.
                if error.errno == errno.EAGAIN:
                    return
                continue
            number = echo_number(self._version, self._identifier, packet)
            if number is not None:
                self.lines.append(f"pong {number} {time.monotonic():.6f}\n")

    def _connect(self, now: float) -> None:
        connection = socket.socket(self._family, socket.SOCK_STREAM)
        connection.setblocking(False)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET_ON_CLOSE)
        if connection.connect_ex(self._place) not in (0, errno.EINPROGRESS):
            connection.close()
            return
        self._connecting[connection] = now
        self._selector.register(connection, selectors.EVENT_WRITE)

    def _go_on(self, connection: socket.socket) -> None:
        """Send a byte when the connection is made, and note the connection when the byte comes back."""
        try:
            if self._selector.get_key(connection).events == selectors.EVENT_WRITE:
                connection.send(BYTE)
                self._selector.modify(connection, selectors.EVENT_READ)
                return
            done = connection.recv(1) == BYTE
        except OSError:
            done = False
        if done:
            self.lines.append(f"tcp {self._connecting[connection]:.6f} {time.monotonic():.6f}\n")
        self._give_up(connection)

    def _give_up(self, connection: socket.socket) -> None:
        del self._connecting[connection]
        self._selector.unregister(connection)
        connection.close()


def serve(port: int) -> None:
    """Send each client back what it sends first, and close; on all addresses, even those added later."""
    selector = selectors.DefaultSelector()
    listener = socket.create_server(
        ("::", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=_BACKLOG
    )
    listener.setblocking(False)
    selector.register(listener, selectors.EVENT_READ)
    clients: dict[socket.socket, float] = {}

    def drop(client: socket.socket) -> None:
        del clients[client]
        selector.unregister(client)
        client.close()

    sys.stdout.write("listening\n")
    sys.stdout.flush()
    while True:
        for key, _ in selector.select(SERVED_S):
            assert isinstance(key.fileobj, socket.socket)
            with contextlib.suppress(OSError):
                if key.fileobj is listener:
                    client = listener.accept()[0]
                    client.setblocking(False)
                    clients[client] = time.monotonic()
                    selector.register(client, selectors.EVENT_READ)
                    continue
                key.fileobj.send(key.fileobj.recv(64))
            if key.fileobj is not listener:
                drop(key.fileobj)
        limit = time.monotonic() - SERVED_S
        for client in [client for client, since in clients.items() if since < limit]:
            drop(client)


def main(words: Sequence[str] | None = None) -> None:
    """Watch or serve until a signal ends this process."""
    parser = argparse.ArgumentParser(prog="python -m pytinc.lab.probe")
    roles = parser.add_subparsers(dest="role", required=True)
    watch = roles.add_parser("watch", help="ping and connect")
    watch.add_argument("address")
    watch.add_argument("port", type=int)
    roles.add_parser("serve", help="answer connections").add_argument("port", type=int)
    options = parser.parse_args(words)
    if options.role == "watch":
        Watcher(options.address, options.port).run()
    else:
        serve(options.port)


if __name__ == "__main__":
    main()
