"""A client that looks at the frames sees those of flows that go the short way already."""

from __future__ import annotations

from pytinc.wire.ethernet import IPV4
from sim.simulator import Mesh

ONE, OTHER = bytes((2, 0, 0, 0, 0, 1)), bytes((2, 0, 0, 0, 0, 2))
PACKET = IPV4 + bytes.fromhex("4500003000000000401100000a0000010a000002") + bytes(28)


def test_frames_of_a_running_flow_are_captured_at_once() -> None:
    mesh = Mesh(1)
    a, b = mesh.add("a"), mesh.add("b", connect_to=["a"])
    mesh.start()
    mesh.run(5)
    for host, mac in ((a, ONE), (b, OTHER)):
        host.send_frame(b"\xff" * 6 + mac + PACKET)

    def both_ways() -> None:
        a.send_frame(OTHER + ONE + PACKET)
        b.send_frame(ONE + OTHER + PACKET)
        mesh.run(0.02)

    for _ in range(20):
        both_ways()
        mesh.run(0.3)
    both_ways()
    assert a.node.table.frame_ways
    assert a.node.table.datagram_ways
    a.node.capture = []
    both_ways()
    assert a.node.capture == [OTHER + ONE + PACKET, ONE + OTHER + PACKET]
