"""Super-frames in a mesh: probes negotiate them, and lost pieces end them (docs/protocol.md)."""

from __future__ import annotations

import os
from typing import Any

import pytest

from datapath.super_frames import super_frame
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.runs import FrameRun
from pytinc.datapath.super_frames import SuperFrame, take
from pytinc.protocol.pmtu import WITHHELD_FIRST, PathMtu, PathSettings
from pytinc.wire.address import SockAddr
from pytinc.wire.capabilities import Capability
from pytinc.wire.datagram import DATAGRAM_OVERHEAD
from pytinc.wire.super_frame import SUPER_FRAME_ID
from sim.simulator import Mesh, ethernet

MACS = {name: bytes((2, 0, 0, 0, 0, number)) for number, name in enumerate(("one", "two"))}
KEEPALIVE = 10.0


class Wire:
    """Two nodes, and the pieces that pass between them."""

    def __init__(
        self, *, takes: tuple[str, ...] = ("one", "two"), aes: tuple[str, ...] = (), **settings: Any
    ) -> None:
        mesh = self.mesh = Mesh(5)
        mesh.add("one")
        mesh.add("two", connect_to=["one"], **settings)
        self.pieces = 0
        self.longest = 0
        self.lose: int | None = None
        """The piece after this number of pieces is lost."""
        self.damage = False
        """Pieces arrive with other content."""
        for name, sim in mesh.nodes.items():
            sim.takes_super_frames, sim.prefers_aes = name in takes, name in aes
            deliver = sim._send_datagram

            def send(sockaddr: SockAddr, data: bytes, relay: str, deliver: object = deliver) -> None:
                if data.startswith(SUPER_FRAME_ID):
                    self.pieces += 1
                    self.longest = max(self.longest, len(data))
                    if self.damage:
                        data = data[:-1] + bytes((data[-1] ^ 1,))
                    if self.lose is not None:
                        self.lose -= 1
                        if self.lose == -1:
                            self.lose = None
                            return
                deliver(sockaddr, data, relay)  # type: ignore[operator]

            sim._send_datagram = send  # type: ignore[method-assign]
        mesh.start()
        mesh.run_until(mesh.converged, 30)
        self.chat(15)

    def chat(self, seconds: float) -> None:
        """Let both send a small frame now and then."""
        for _ in range(round(seconds * 2)):
            for name, other in (("one", "two"), ("two", "one")):
                self.mesh.nodes[name].send_frame(ethernet(MACS[other], MACS[name], bytes(700)))
            self.mesh.run(0.5)

    def send(self) -> bool:
        """Send a super-frame from one to two; return whether all of its frames arrive."""
        made = super_frame(payload=os.urandom(50_000), gso_size=1300, flags=0x18)
        run = take(made.header, MACS["two"] + MACS["one"] + made.frame[12:])
        assert isinstance(run, SuperFrame)
        two = self.mesh.nodes["two"]
        before = len(two.frames)
        self.mesh.nodes["one"].send_batch(run)
        self.mesh.run(0.3)
        return two.frames[before:] == run.frames()

    def went_whole(self) -> bool:
        """Send one, which must arrive; return whether it went in pieces."""
        before = self.pieces
        assert self.send()
        return self.pieces > before


def test_a_super_frame_travels_uncut_and_arrives_as_its_frames() -> None:
    wire = Wire()
    assert wire.went_whole()
    assert wire.pieces < 45


@pytest.mark.parametrize(
    "wire_of",
    [lambda: Wire(takes=("one",)), lambda: Wire(fast_tag=False)],
    ids=["no device for it", "FastTag=no"],
)
def test_a_node_that_does_not_accept_super_frames_gets_frames(wire_of: object) -> None:
    wire = wire_of()  # type: ignore[operator]
    assert not wire.went_whole()


@pytest.mark.parametrize(
    ("aes", "agreed"), [(("one", "two"), True), (("one",), False), (("two",), False), ((), False)]
)
def test_nodes_whose_cpus_are_fast_at_it_seal_super_frames_with_aes(
    aes: tuple[str, ...], agreed: bool
) -> None:
    wire = Wire(aes=aes)
    assert wire.went_whole()
    session = wire.mesh.nodes["one"].node.peers["two"].slot.session
    assert session is not None
    assert session.peer_accepts_aes is agreed
    wire.chat(1)
    assert wire.went_whole()


def test_a_run_of_other_frames_is_cut() -> None:
    wire = Wire()
    assert isinstance(take(*super_frame(payload=bytes(9000), gso_size=1000, is_tcp=False)), FrameRun)
    wire.chat(1)
    assert wire.pieces == 0


def test_a_path_that_loses_pieces_gets_no_super_frames_for_ever_longer_times() -> None:
    wire = Wire()
    assert wire.went_whole()
    for patience in (WITHHELD_FIRST, 2 * WITHHELD_FIRST, 4 * WITHHELD_FIRST):
        wire.lose = 20
        assert not wire.send()
        wire.send()  # at the latest this shows that a piece is missing
        wire.mesh.run(0.5)
        assert not wire.went_whole()
        wire.chat(patience - 3)
        assert not wire.went_whole()
        wire.chat(2 * KEEPALIVE)
        assert wire.went_whole()


def test_pieces_are_no_longer_than_the_frames_they_replace() -> None:
    wire = Wire()
    assert wire.went_whole()
    assert 1300 < wire.longest <= 14 + 20 + 20 + 1300 + DATAGRAM_OVERHEAD


def test_a_super_frame_that_does_not_fit_one_call_goes_in_frames() -> None:
    wire = Wire()
    wire.mesh.nodes["one"].node.table.segments = False
    assert not wire.went_whole()


def test_super_frames_that_cannot_be_opened_end_their_use() -> None:
    wire = Wire()
    wire.damage = True
    assert not wire.send()
    assert not wire.went_whole()
    wire.damage = False
    wire.chat(WITHHELD_FIRST + KEEPALIVE)
    assert wire.went_whole()


def test_a_super_frame_that_a_later_record_overtakes_arrives() -> None:
    wire = Wire()
    one, two = wire.mesh.nodes["one"], wire.mesh.nodes["two"]
    late: list[tuple[SockAddr, bytes, str]] = []
    deliver = one._send_datagram

    def hold(sockaddr: SockAddr, data: bytes, relay: str) -> None:
        if data.startswith(SUPER_FRAME_ID):
            late.append((sockaddr, data, relay))
        else:
            deliver(sockaddr, data, relay)

    one._send_datagram = hold  # type: ignore[method-assign]
    assert not wire.send()
    one.send_frame(ethernet(MACS["two"], MACS["one"], bytes(100)))
    wire.mesh.run(0.3)
    before = len(two.frames)
    for piece in late:
        deliver(*piece)
    wire.mesh.run(0.3)
    assert len(two.frames) - before == -(-50_000 // 1300)


def test_a_node_without_a_proved_address_of_the_peer_does_not_announce_them() -> None:
    slot = PeerSlot("peer")
    path = PathMtu(PathSettings(capabilities=Capability.FAST_TAG | Capability.SUPER_FRAMES), slot)
    assert path.capabilities == Capability.FAST_TAG
    slot.confirmed = True
    assert path.capabilities == Capability.FAST_TAG | Capability.SUPER_FRAMES


def test_a_super_frame_that_is_lost_altogether_changes_nothing() -> None:
    wire = Wire()
    wire.mesh.underlay.loss = 1.0
    for _ in range(4):
        assert not wire.send()
    wire.mesh.underlay.loss = 0.0
    assert wire.went_whole()
