"""Which way frames for a node take now."""

from __future__ import annotations

from pytinc.datapath.peer_slot import PeerSlot, UdpPath
from pytinc.node.path_kind import PathKind, path_of


def test_a_relay_is_named() -> None:
    slot, relay = PeerSlot("far"), PeerSlot("relay")
    slot.reachable = True
    assert path_of(slot) == (PathKind.NONE, None)
    slot.session = object()  # type: ignore[assignment]
    slot.nexthop = relay
    assert path_of(slot) == (PathKind.TCP, "relay")
    slot.paths = (UdpPath(1400, 0, ("192.0.2.1", 655), b"", relay),)
    assert path_of(slot) == (PathKind.RELAYED, "relay")
    slot.connection = 1
    assert path_of(slot) == (PathKind.TCP, None)
    slot.session = None
    assert path_of(slot) == (PathKind.TCP, None)
