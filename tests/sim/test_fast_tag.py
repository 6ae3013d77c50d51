"""The fast tag in a mesh: probes negotiate it, data by UDP has it, it ends cleanly (docs/protocol.md)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import pytest

from pytinc.crypto.aead import RecordCipher
from pytinc.node.probes import FAST_TAG_PROBES
from pytinc.wire.address import SockAddr
from pytinc.wire.datagram import PREFIX_SIZE, TYPE_MAC, TYPE_PROBE
from sim.simulator import Mesh, SimNode, ethernet

MACS = {"one": bytes((2, 0, 0, 0, 0, 1)), "two": bytes((2, 0, 0, 0, 0, 2))}


class Sent(NamedTuple):
    """One record by UDP, opened with its sender's own key."""

    at: float
    sender: str
    type: int
    fast: bool
    key: RecordCipher
    size: int


@dataclass
class Wire:
    """Two nodes with a steady exchange of frames, and all records between them by UDP."""

    mesh: Mesh
    sent: list[Sent]
    lose_probes_of: str = ""

    def __init__(self, one: dict[str, Any] | None = None, two: dict[str, object] | None = None) -> None:
        mesh = self.mesh = Mesh(3)
        mesh.add("one", **(one or {}))
        mesh.add("two", connect_to=["one"], **(two or {}))
        self.sent = []
        for sim in mesh.nodes.values():
            self._listen(sim)
        mesh.start()
        mesh.run_until(mesh.converged, 30)

    def _listen(self, sim: SimNode) -> None:
        deliver = sim._send_datagram

        def send(sockaddr: SockAddr, data: bytes, relay: str) -> None:
            record = self._read(sim, data)
            self.sent.append(record)
            if self.lose_probes_of != sim.name or record.type != TYPE_PROBE:
                deliver(sockaddr, data, relay)

        sim._send_datagram = send  # type: ignore[method-assign]

    def _read(self, sim: SimNode, datagram: bytes) -> Sent:
        (peer,) = (peer for peer in sim.node.peers.values() if peer.name != sim.name)
        session = peer.slot.session
        assert session is not None
        sealer = session._sealer
        assert sealer is not None
        number = int.from_bytes(datagram[PREFIX_SIZE : PREFIX_SIZE + 4], "big")
        sealed = datagram[PREFIX_SIZE + 4 :]
        usual, fast = sealer.open(number, sealed), sealer.open_fast(number, sealed)
        assert (usual is None) is not (fast is None)
        plaintext = usual or fast or b""
        return Sent(self.mesh.now, sim.name, plaintext[0], fast is not None, sealer, len(plaintext) - 1)

    def node(self, name: str) -> SimNode:
        return self.mesh.nodes[name]

    def chat(self, seconds: float) -> list[Sent]:
        """Let both send a frame every tenth of a second; all must arrive. Return the records."""
        start, before = len(self.sent), {name: len(self.node(name).frames) for name in MACS}
        rounds = round(seconds * 10)
        for _ in range(rounds):
            self.node("one").send_frame(ethernet(MACS["two"], MACS["one"], bytes(700)))
            self.node("two").send_frame(ethernet(MACS["one"], MACS["two"], bytes(700)))
            self.mesh.run(0.1)
        assert {name: len(self.node(name).frames) - before[name] for name in MACS} == dict.fromkeys(
            MACS, rounds
        )
        return self.sent[start:]

    def rejected(self) -> int:
        return sum(sim.node.table.total_drops().not_authentic for sim in self.mesh.nodes.values())

    def reload(self, name: str, *, fast_tag: bool) -> None:
        settings = replace(self.node(name).settings, fast_tag=fast_tag)
        self.node(name).call(lambda node, now: node.reload(settings, now))


def tags(records: list[Sent], sender: str = "") -> set[bool]:
    """Return the tags of the data."""
    return {each.fast for each in records if each.type == TYPE_MAC and sender in ("", each.sender)}


def settled(**settings: Any) -> Wire:
    wire = Wire(settings, settings)
    wire.chat(1)
    return wire


def test_two_nodes_agree_within_the_first_probes() -> None:
    wire = settled()
    assert tags(wire.chat(25)) == {True}
    data = [each for each in wire.sent if each.type == TYPE_MAC]
    probes = [each for each in wire.sent if each.type == TYPE_PROBE]
    assert data[0].at <= probes[0].at + 0.3
    assert {each.sender for each in data} == set(MACS)
    assert wire.rejected() == 0


def test_probes_keep_the_tag_of_tinc() -> None:
    wire = settled()
    wire.chat(65)
    probes = [each for each in wire.sent if each.type == TYPE_PROBE]
    assert {each.sender for each in probes} == set(MACS)
    assert {each.fast for each in probes} == {False}


def test_the_path_mtu_is_found_with_the_same_probes() -> None:
    sizes = {}
    for fast in (True, False):
        wire = settled(fast_tag=fast)
        sizes[fast] = [(each.sender, each.size) for each in wire.sent if each.type == TYPE_PROBE]
        assert wire.node("one").node.peers["two"].slot.minmtu == 1439
    assert sizes[True] == sizes[False]


@pytest.mark.parametrize("refuser", ["one", "two"])
def test_no_node_uses_it_with_a_node_that_does_not_announce_it(refuser: str) -> None:
    """It behaves like a C node, which echoes part of our block in its replies."""
    wire = Wire(**{refuser: {"fast_tag": False}})  # type: ignore[arg-type]
    wire.chat(40)
    assert tags(wire.sent) == {False}
    assert wire.rejected() == 0


def test_each_new_key_starts_with_the_tag_of_tinc() -> None:
    wire = settled(key_expire=17)  # never at the time of a probe, which would precede the data
    wire.chat(70)
    assert wire.rejected() == 0
    for name in MACS:
        by_key: dict[RecordCipher, list[bool]] = {}
        for each in wire.sent:
            if each.type == TYPE_MAC and each.sender == name:
                by_key.setdefault(each.key, []).append(each.fast)
        later = list(by_key.values())[1:]
        assert not any(forms[0] for forms in later)
        # There is one change and none back. Keys that the other side's exchange replaces at once have none.
        assert all(forms == sorted(forms) for forms in later)
        assert sum(forms[-1] for forms in later) >= 3


def test_a_node_that_stops_announcing_gets_the_tag_of_tinc_again_without_loss() -> None:
    wire = settled()
    wire.reload("two", fast_tag=False)
    wire.chat(12)
    assert tags(wire.chat(30)) == {False}
    assert wire.rejected() == 0
    wire.reload("two", fast_tag=True)
    wire.chat(12)
    assert tags(wire.chat(12)) == {True}


def test_a_peer_that_falls_silent_gets_the_tag_of_tinc_again() -> None:
    wire = settled(udp_discovery_timeout=600)
    patience = FAST_TAG_PROBES * wire.node("one").settings.udp_discovery_keepalive_interval
    wire.lose_probes_of = "two"
    assert tags(wire.chat(patience - 15), "one") == {True}
    wire.chat(20)
    last = wire.chat(3)
    assert tags(last, "one") == {False}
    assert tags(last, "two") == {True}
    wire.lose_probes_of = ""
    wire.chat(12)
    assert tags(wire.chat(3)) == {True}


def test_a_restarted_node_starts_with_the_tag_of_tinc() -> None:
    wire = settled()
    two = wire.node("two")
    two.crash()
    wire.mesh.run(2)
    two.start()
    wire.mesh.run_until(wire.mesh.converged, 60)
    start = len(wire.sent)
    wire.mesh.run(15)
    two.send_frame(ethernet(b"\xff" * 6, MACS["two"]))
    wire.mesh.run(1)
    wire.node("one").send_frame(ethernet(b"\xff" * 6, MACS["one"]))
    wire.mesh.run(5)
    wire.chat(12)
    assert tags(wire.chat(3)) == {True}
    first = {
        name: next(each.fast for each in wire.sent[start:] if each.sender == name and each.type == TYPE_MAC)
        for name in MACS
    }
    assert set(first) == set(MACS)
