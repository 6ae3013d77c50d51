"""Nobody on the path reads a frame, not even a relay, and an expelled node does not return.

What each part does is in its own tests; here is what they promise together (SECURITY.md).
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from typing import Any

import pytest

from pytinc.crypto.aead import RecordCipher
from sim.simulator import Mesh, SimNode, ethernet

ONE, TWO = b"\2\0\0\0\0\1", b"\2\0\0\0\0\2"
SECRET = b"nobody but two may read this" * 4


class Wiretap:
    """Notes all bytes on the wire, and what each node opens."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.wire: list[bytes] = []
        self.opened: defaultdict[str, list[bytes]] = defaultdict(list)
        self._at = ""
        write, datagram, event = SimNode._write, SimNode._send_datagram, SimNode._if_running

        def spy_write(node: SimNode, number: int, data: bytes) -> None:
            self.wire.append(data)
            write(node, number, data)

        def spy_datagram(node: SimNode, address: tuple[str, int], data: bytes, relay: str) -> None:
            self.wire.append(bytes(data))
            datagram(node, address, data, relay)

        def spy_event(node: SimNode, function: object) -> None:
            self._at = node.name
            event(node, function)  # type: ignore[arg-type]

        monkeypatch.setattr(SimNode, "_write", spy_write)
        monkeypatch.setattr(SimNode, "_send_datagram", spy_datagram)
        monkeypatch.setattr(SimNode, "_if_running", spy_event)
        for name in ("open", "open_strict", "open_fast"):
            monkeypatch.setattr(RecordCipher, name, self._noting(getattr(RecordCipher, name)))

    def _noting(self, function: object) -> object:
        def opened(cipher: RecordCipher, seqno: int, sealed: bytes) -> bytes | None:
            plain: bytes | None = function(cipher, seqno, sealed)  # type: ignore[operator]
            if plain is not None:
                self.opened[self._at].append(bytes(plain))
            return plain

        return opened


def two_leaves(**settings: Any) -> tuple[Mesh, SimNode, SimNode, SimNode]:
    """A hub, and two leaves that it alone connects."""
    mesh = Mesh(7)
    hub = mesh.add("hub", **settings)
    one = mesh.add("one", connect_to=["hub"], **settings)
    two = mesh.add("two", connect_to=["hub"], **settings)
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    return mesh, hub, one, two


@pytest.mark.parametrize("way", ["straight", "by a relay", "by TCP"])
def test_a_frame_can_be_read_by_the_two_nodes_alone(monkeypatch: pytest.MonkeyPatch, way: str) -> None:
    wiretap = Wiretap(monkeypatch)
    mesh, hub, one, two = two_leaves(tcp_only=way == "by TCP")
    if way == "by a relay":
        mesh.underlay.no_udp.add(frozenset(("one", "two")))
    one.send_frame(ethernet(b"\xff" * 6, ONE))
    two.send_frame(ethernet(b"\xff" * 6, TWO))
    for _ in range(5):
        one.send_frame(ethernet(TWO, ONE, b"warm-up"))
        mesh.run(1)
    hub.frames.clear()
    two.frames.clear()
    paths = one.node.peers["two"].slot.paths
    assert [path.relay.name for path in paths[:1]] == {"straight": ["two"], "by a relay": ["hub"]}.get(
        way, []
    )
    one.send_frame(ethernet(TWO, ONE, SECRET))
    mesh.run(1)
    assert two.frames == [ethernet(TWO, ONE, SECRET)]
    assert any(SECRET in plain for plain in wiretap.opened["two"])
    assert not any(SECRET in plain for plain in wiretap.opened["hub"])
    assert not any(SECRET in data for data in wiretap.wire)
    assert hub.frames == []


def test_an_expelled_node_is_out_and_stays_out() -> None:
    mesh, hub, one, two = two_leaves()
    del hub.hosts.files["one"]
    hub.call(lambda node, now: node.reload(node.settings, now))
    mesh.run(1)
    assert not hub.node.peers["one"].is_neighbour
    assert not two.node.peers["one"].reachable
    # It knocks again and again, and tries under a name that it has made up as well.
    mesh.run(120)
    other = mesh.add("other", connect_to=["hub"])
    other.key = one.key
    del hub.hosts.files["other"]
    other.start()
    mesh.run(120)
    assert not hub.node.peers["one"].is_neighbour
    assert not two.node.peers["one"].reachable
    assert "other" not in hub.node.peers
    assert "one" not in hub.hosts.files


def test_a_node_whose_key_was_changed_by_the_operator_needs_the_new_one() -> None:
    mesh, hub, _, two = two_leaves()
    # Somebody has stolen the key of one; its operator has made a new one and told the hub.
    hub.hosts.files["one"] = replace(hub.hosts.files["one"], public_key=two.key.public.raw)
    hub.hosts.mtimes["one"] = 1.0
    hub.call(lambda node, now: node.reload(node.settings, now))
    mesh.run(120)
    assert not hub.node.peers["one"].is_neighbour
