"""Hosts behind simulated nodes: the kernel's part of ARP and neighbour discovery.

A `Host` behaves as Linux does (net/ipv4/arp.c, net/core/neighbour.c): it answers questions for its addresses,
learns the sender of a question for one of them, and updates an entry from any message of its address; but
within the `LOCKTIME` after a change only from a question for itself or an announcement. Entries do not
expire, because the guard must work without that.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise

from pytinc.wire import neighbour
from pytinc.wire.ethernet import IPV4, IPV6, is_group
from pytinc.wire.neighbour import Kind, Message
from sim.simulator import Mesh, SimNode, Station

LOCKTIME = 1.0
BROADCAST = b"\xff" * 6
KERNEL_DELAY = 0.0001


@dataclass
class Entry:
    mac: bytes
    updated: float


@dataclass
class Ping:
    """A stream of questions to one address, and when each was sent and answered."""

    target: bytes
    interval: float
    sent: list[float] = field(default_factory=list)
    answered: dict[int, float] = field(default_factory=dict)
    running: bool = True

    def longest_silence(self, since: float = 0.0) -> float:
        """The longest time between two answered pings, in seconds."""
        times = [self.sent[number] for number in sorted(self.answered) if self.sent[number] >= since]
        return max((later - earlier for earlier, later in pairwise(times)), default=float("inf"))

    def lost(self, since: float, until: float) -> int:
        """The number of unanswered pings in this time."""
        return sum(
            since <= sent < until and number not in self.answered for number, sent in enumerate(self.sent)
        )


class Lan:
    """Several hosts behind one node. They hear only the node, and not each other."""

    def __init__(self, *stations: Station) -> None:
        self.stations = stations

    def receive(self, frame: bytes) -> None:
        for station in self.stations:
            station.receive(frame)


class Host:
    """One host behind a node; there may be others."""

    def __init__(self, sim: SimNode, mac: bytes, *addresses: bytes) -> None:
        self.sim = sim
        self.mesh: Mesh = sim.mesh
        self.mac = mac
        self.addresses = list(addresses)
        """The own addresses first; the first of a family is the sender of its questions."""
        self.entries: dict[bytes, Entry] = {}
        self.moves: list[tuple[float, bytes, bytes]] = []
        """The changes of entries: time, address and new MAC."""
        self.pings: list[Ping] = []
        self.received: list[Message] = []
        self.alive = True
        sim.host = self if sim.host is None else Lan(sim.host, self)

    # -- what the host sends by itself --

    def ping(self, target: bytes, interval: float = 0.01) -> Ping:
        """Start to ping ``target``."""
        stream = Ping(target, interval)
        self.pings.append(stream)
        self._next_ping(stream)
        return stream

    def _next_ping(self, stream: Ping) -> None:
        if not stream.running:
            return
        number = len(stream.sent)
        stream.sent.append(self.mesh.now)
        entry = self.entries.get(stream.target)
        if entry is None:
            self.ask(stream.target)
        else:
            body = self._own(stream.target) + stream.target + number.to_bytes(4, "big") + b"?"
            self._transmit(entry.mac + self.mac + _packet(stream.target, body))
        self.mesh.at(self.mesh.now + stream.interval, lambda: self._next_ping(stream))

    def ask(self, target: bytes, sender: bytes | None = None) -> None:
        """Broadcast a question for the MAC address of ``target``."""
        frame = neighbour.question(self.mac, sender or self._own(target), target)
        self._transmit(frame[:6] + self.mac + frame[12:])

    def announce(self, address: bytes) -> None:
        """Announce an address (gratuitous ARP)."""
        body = bytes.fromhex("000108000604" + "0001") + self.mac + address + bytes(6) + address
        self._transmit(BROADCAST + self.mac + b"\x08\x06" + body)

    # -- what the host does with frames --

    def receive(self, frame: bytes) -> None:
        if not self.alive or (frame[:6] != self.mac and not is_group(frame[:6])):
            return
        message = neighbour.parse(frame)
        if message is not None:
            self.received.append(message)
            self._on_message(message)
        elif frame[12:14] in (IPV4, IPV6):
            self._on_packet(frame)

    def _on_message(self, message: Message) -> None:
        now = self.mesh.now
        for_me = message.target in self.addresses
        if message.kind in (Kind.QUESTION, Kind.ANNOUNCEMENT, Kind.ANSWER):
            entry = self.entries.get(message.address)
            forced = message.kind is Kind.ANNOUNCEMENT or (message.kind is Kind.QUESTION and for_me)
            if entry is None:
                if (forced and message.kind is Kind.QUESTION) or self._wants(message.address):
                    self._believe(message.address, message.mac)
            elif entry.mac != message.mac and (forced or now - entry.updated > LOCKTIME):
                self._believe(message.address, message.mac)
        if for_me and message.kind in (Kind.QUESTION, Kind.PROBE, Kind.ENQUIRY):
            self._answer(message)

    def _wants(self, address: bytes) -> bool:
        return any(stream.target == address for stream in self.pings)

    def _believe(self, address: bytes, mac: bytes) -> None:
        self.entries[address] = Entry(mac, self.mesh.now)
        self.moves.append((self.mesh.now, address, mac))

    def _answer(self, message: Message) -> None:
        if len(message.target) == 4:
            sender = message.address or bytes(4)
            body = bytes.fromhex("0001080006040002") + self.mac + message.target + message.mac + sender
            self._transmit(message.mac + self.mac + b"\x08\x06" + body)
        else:
            answer = neighbour.guard_answer(message.mac, message.address)
            self._transmit(message.mac + self.mac + _advertisement(answer, self.mac, message))

    def _on_packet(self, frame: bytes) -> None:
        ends = neighbour.ends_of(frame[:54])
        assert ends is not None
        source, destination = ends
        size = 20 if len(source) == 4 else 40
        number, kind = int.from_bytes(frame[14 + size : 18 + size], "big"), frame[18 + size : 19 + size]
        if kind == b"?" and destination in self.addresses:
            body = destination + source + number.to_bytes(4, "big") + b"!"
            self._transmit(frame[6:12] + self.mac + _packet(source, body))
        elif kind == b"!":
            for stream in self.pings:
                if stream.target == source and number < len(stream.sent):
                    stream.answered.setdefault(number, self.mesh.now)

    def _own(self, other: bytes) -> bytes:
        return next(address for address in self.addresses if len(address) == len(other))

    def _transmit(self, frame: bytes) -> None:
        def send() -> None:
            if self.alive:
                self.sim._if_running(lambda: self.sim.node.frames([frame], self.mesh.now))

        self.mesh.at(self.mesh.now + KERNEL_DELAY, send)


def _packet(to: bytes, body: bytes) -> bytes:
    """Return an IP packet of which only the addresses are read; ``body`` begins with both."""
    if len(to) == 4:
        return IPV4 + b"\x45" + bytes(11) + body
    return IPV6 + b"\x60" + bytes(5) + b"\x3b\x40" + body


def _advertisement(template: bytes, mac: bytes, message: Message) -> bytes:
    """Return a neighbour advertisement for the requested address, made from one of another address."""
    from pytinc.wire import ip

    body = bytearray(template[54:])
    body[8:24] = message.target
    body[26:32] = mac
    body[2:4] = bytes(2)
    pseudo = ip.pseudo_header_v6(message.target, message.address, len(body), ip.PROTOCOL_ICMPV6)
    body[2:4] = ip.checksum(pseudo + bytes(body)).to_bytes(2, "big")
    return template[12:22] + message.target + message.address + bytes(body)
