"""The results of one batch: packets for the shell, and upcalls for the node (docs/architecture.md).

The data path appends to plain lists and never decides anything about peers. Frames and datagrams stay until
the shell has sent them; `pytinc.node.upcalls` takes the upcalls after each batch. Every list is bounded by
the batch that fills it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from pytinc.datapath.peer_slot import PeerSlot, UdpPath
from pytinc.wire.address import SockAddr

if TYPE_CHECKING:
    from pytinc.datapath.runs import DatagramRun, FrameRun
    from pytinc.wire.neighbour import Message


class Probe(NamedTuple):
    """A record of type 4 that opened."""

    source: PeerSlot
    payload: bytes
    address: SockAddr
    socket: int
    direct: bool
    """It was addressed to us by its source, not passed on by a relay."""

    @property
    def is_reply(self) -> bool:
        """Byte 0 of a request is 0."""
        return self.payload[:1] not in (b"", b"\0")


class Upcalls:
    """Everything the data path could not decide by itself."""

    __slots__ = (
        "failed",
        "handshakes",
        "incomplete",
        "learn",
        "messages",
        "moved",
        "no_session",
        "other_mode",
        "packets",
        "probes",
        "relayed",
        "returned",
        "sptps_packets",
        "storms",
        "touched",
        "uses",
    )

    def __init__(self) -> None:
        self.packets: list[tuple[PeerSlot, bytes]] = []
        """Plain frames for the meta connection of a neighbour (PACKET)."""
        self.sptps_packets: list[tuple[PeerSlot, PeerSlot, bytes]] = []
        """Destination, source and sealed record, for TCP along the mesh (SPTPS_PACKET)."""
        self.learn: dict[bytes, None] = {}
        """Source MACs from the device that the own node does not own yet."""
        self.touched: dict[PeerSlot, None] = {}
        """Peers that had traffic and whose tunnel upkeep is due."""
        self.probes: list[Probe] = []
        self.handshakes: dict[PeerSlot, None] = {}
        """Peers whose session took a handshake record by UDP: its answer waits in the session."""
        self.failed: dict[PeerSlot, None] = {}
        """Peers of which a record did not open: from where they are known to be, by a relay, or by TCP."""
        self.incomplete: dict[PeerSlot, None] = {}
        """Peers whose super-frames arrived with pieces missing."""
        self.no_session: dict[PeerSlot, None] = {}
        """Peers that sent us a record although we have no key with them."""
        self.other_mode: dict[PeerSlot, None] = {}
        """Peers that sent a packet without Ethernet header to a switch or hub, or one that is not IP to a
        router: their Mode differs."""
        self.moved: dict[PeerSlot, tuple[SockAddr, int]] = {}
        """Peers whose authentic direct datagram came from another address, and which socket took it."""
        self.messages: list[tuple[PeerSlot, Message]] = []
        """ARP and neighbour discovery for the guard, each with the node it came from (the own node: the
        device)."""
        self.uses: list[tuple[bytes, bytes]] = []
        """Stations that began to use a shared address at a MAC that the guard watches: destination MAC,
        source MAC and address, and the first bytes of the frame."""
        self.relayed: dict[tuple[PeerSlot, PeerSlot, PeerSlot], None] = {}
        """Sender, source and destination of datagrams that came by way of a relay."""
        self.returned: dict[PeerSlot, bytes] = {}
        """Nodes from which flooded frames come back, each with the source MAC of one; once a second."""
        self.storms: dict[PeerSlot, None] = {}
        """Nodes that send too many frames to all; each is reported once a second."""

    def __bool__(self) -> bool:
        """Tell whether anything was reported."""
        # Asked after every event: written out, it costs a tenth of a loop over the names.
        return bool(
            self.touched
            or self.learn
            or self.packets
            or self.sptps_packets
            or self.probes
            or self.handshakes
            or self.failed
            or self.incomplete
            or self.no_session
            or self.other_mode
            or self.moved
            or self.relayed
            or self.messages
            or self.uses
            or self.storms
            or self.returned
        )


class Output:
    """Packets to send, and the upcalls collected since the node last took them."""

    __slots__ = ("datagrams", "frames", "upcalls")

    def __init__(self) -> None:
        self.frames: list[bytes | FrameRun] = []
        """Ethernet frames for the device, in order."""
        self.datagrams: list[tuple[UdpPath, list[bytes] | DatagramRun]] = []
        """Datagrams for the sockets, in order; each entry has the datagrams for one path."""
        self.upcalls = Upcalls()

    def queue(self, path: UdpPath, datagrams: list[bytes]) -> None:
        """Send ``datagrams`` (the caller gives the list away) along a path, after what is queued already."""
        queued = self.datagrams
        if queued and queued[-1][0] is path and isinstance(last := queued[-1][1], list):
            last.extend(datagrams)
        else:
            queued.append((path, datagrams))

    def queue_run(self, path: UdpPath, run: DatagramRun) -> None:
        """Send datagrams that lie in one buffer along a path, after what is queued already."""
        self.datagrams.append((path, run))

    def take_upcalls(self) -> Upcalls:
        """Return the upcalls and begin a new collection."""
        upcalls, self.upcalls = self.upcalls, Upcalls()
        return upcalls

    def clear(self) -> None:
        """Forget the packets: the shell has sent them."""
        self.frames.clear()
        self.datagrams.clear()
