"""Four nodes of a mesh for the tests of the data path: what a sends to b, b opens."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from datapath.sessions import established_between
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import (
    NULL_ID,
    PREFIX_SIZE,
    TYPE_MAC,
    node_id,
)

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun

KEYS = {name: PrivateKey.from_seed(name.encode() * 32) for name in "abcd"}
OWN, NEAR, FAR, LOST = (bytes((2, 0, 0, 0, 0, number)) for number in range(1, 5))
NEW = bytes((2, 0, 0, 0, 0, 9))
MULTICAST = bytes.fromhex("01005e000001")
STRANGER = ("198.51.100.1", 9)
NOW = 1.0


def frame(
    destination: bytes, source: bytes, size: int = 100, kind: bytes = b"\x88\xb5", fill: int = 0
) -> bytes:
    return (destination + source + kind + bytes((fill,)) * size)[:size]


def single(frame: bytes | FrameRun) -> bytes:
    """Return an entry of `Output.frames`, which must be one frame and not a run."""
    assert isinstance(frame, bytes)
    return frame


def one_by_one(datagrams: list[bytes] | DatagramRun) -> list[bytes]:
    """Return the datagrams of an entry of `Output.datagrams`, whether or not they are a run."""
    return datagrams if isinstance(datagrams, list) else datagrams.datagrams()


def counters(slot: PeerSlot) -> tuple[int, ...]:
    """What the data path has counted and noted of a node, but for what went nowhere."""
    return (
        slot.in_packets,
        slot.in_bytes,
        slot.out_packets,
        slot.out_bytes,
        slot.maxrecentlen,
        slot.socket,
    )


def established(name: str) -> tuple[DatagramSession, DatagramSession]:
    return established_between(KEYS["a"], KEYS[name], random.Random(1).randbytes)


def meet_others(table: ForwardingTable) -> dict[str, DatagramSession]:
    """Make b and c neighbours of a, and d known behind c; return the sessions of their ends.

    Everyone has keys and a proved path of 1,400 bytes. `ForwardingTable.refresh_all` must follow.
    """
    far: dict[str, DatagramSession] = {}
    for number, name in enumerate("bcd", 1):
        slot = table.add(name)
        slot.reachable = True
        table.set_route(slot, slot, slot)
        slot.minmtu, slot.mtu, slot.upkeep_due = 1400, 1400, 1e9
        slot.session, far[name] = established(name)
        slot.confirmed = True
        table.set_address(slot, (f"192.0.2.{number}", 655), 0)
    b, c, d = (table.slots[name] for name in "bcd")
    b.connection, c.connection = 1, 2
    table.set_route(d, d, c)
    table.tree = table.direct = (b, c)
    return far


class World:
    """Node a with neighbours b and c; d is behind c. Everyone has keys and a proved path of 1,400 bytes."""

    def __init__(self) -> None:
        self.table = ForwardingTable(PeerSlot("a", is_me=True))
        self.me = self.table.me
        self.far = meet_others(self.table)
        self.b, self.c, self.d = (self.table.slots[name] for name in "bcd")
        self.table.macs = {OWN: self.me, NEAR: self.b, FAR: self.c, LOST: self.d}
        self.table.own_macs = {OWN: 0.0}
        self.table.refresh_all()
        self.out = Output()
        self.datapath = DataPath(self.table)
        self.inbound = self.datapath.inbound

    def send(self, *frames: bytes, now: float = NOW) -> None:
        self.datapath.frames_from_device(frames, now, self.out)

    def receive(self, name: str, *frames: bytes, type_: int = TYPE_MAC) -> None:
        """Frames of a peer, sent straight."""
        slot = self.table.slots[name]
        assert slot.address is not None
        datagrams = self.far[name].seal_batch(NULL_ID + slot.id, type_, frames)
        self.take(*datagrams, address=slot.address)

    def take(self, *datagrams: bytes, address: SockAddr = STRANGER, socket: int = 0) -> None:
        self.datapath.datagrams(datagrams, [address] * len(datagrams), socket, NOW, self.out)

    def sent_to(self, name: str) -> list[bytes]:
        """Frames that a node can open, in the order of the datagrams."""
        frames = []
        for path, datagrams in self.out.datagrams:
            for datagram in one_by_one(datagrams):
                if path.relay.name == name and datagram[:6] in (NULL_ID, node_id(name)):
                    record = self.far[name].receive(datagram[PREFIX_SIZE:])
                    assert record is not None
                    frames.append(record.data)
        return frames
