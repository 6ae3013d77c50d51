"""What a pcap client is shown: each frame that enters the switch of a real node, from both sides."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Lab, missing_means
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, wait_until
from sim.simulator import Mesh, SimNode, ethernet

FROM, TO = b"\x02\0\0\0\0\x01", b"\x02\0\0\0\0\x02"
BROADCAST = b"\xff" * 6
GLOBAL_HEADER, PACKET_HEADER = 24, 16


def taken(sim: SimNode) -> list[bytes]:
    """What the node kept; as the shell does, it is taken away."""
    frames, sim.node.capture = sim.node.capture or [], []
    return frames


def test_a_frame_is_captured_where_it_comes_from_the_device_and_where_it_comes_from_a_peer() -> None:
    mesh = Mesh(1)
    mesh.add("one")
    mesh.add("two", connect_to=["one"])
    mesh.start()
    mesh.run_until(mesh.converged, 30)
    one, two = mesh.nodes["one"], mesh.nodes["two"]
    by_tcp, by_udp = ethernet(BROADCAST, FROM, b"1"), ethernet(BROADCAST, FROM, b"2")
    one.send_frame(by_tcp)
    mesh.run(5)
    one.node.capture, two.node.capture = [], []

    one.send_frame(by_udp)
    mesh.run(1)
    two.node.inbound.frames_from_neighbour(two.node.peers["one"].slot, [by_tcp], mesh.now, two.node.output)

    assert (taken(one), taken(two)) == ([by_udp], [by_udp, by_tcp])
    one.node.capture = None
    one.send_frame(by_udp)
    assert one.node.capture is None


def frames_in(path: Path) -> Iterator[bytes]:
    """The packets of a pcap file, as far as it is written."""
    data = path.read_bytes()
    position = GLOBAL_HEADER
    while position + PACKET_HEADER <= len(data):
        (size,) = struct.unpack("<I", data[position + 8 : position + 12])
        position += PACKET_HEADER
        yield data[position : position + size]
        position += size


@pytest.mark.namespaces
def test_the_pcap_command_shows_both_directions_of_a_ping() -> None:
    means = missing_means()
    if means is not None:
        pytest.skip(means)
    with Lab() as lab:
        network = Network(lab)
        one = network.add("one", Kind.PY)
        two = network.add("two", Kind.PY, connect_to=["one"])
        network.exchange_keys()
        network.start()
        network.wait_converged()
        wait_until(lambda: answers(one.host, two.address), PATIENCE_S, "a first answer")
        file = one.confbase / "capture.pcap"
        with file.open("w") as output:
            client = one.host.spawn(one.tinc_program, *one.globals, "pcap", output=output)
            try:
                wait_until(lambda: file.stat().st_size >= GLOBAL_HEADER, PATIENCE_S, "the client listens")

                def both_ways() -> bool:
                    # The header is written when the request leaves; the daemon may have to read it yet.
                    answers(one.host, two.address)
                    return {frame[6:12].hex(":") for frame in pings(file)} == {one.mac, two.mac}

                wait_until(both_ways, PATIENCE_S, "a ping is captured both ways")
            finally:
                client.terminate()
                client.wait()


def pings(file: Path) -> list[bytes]:
    """ICMP frames among what was captured."""
    return [frame for frame in frames_in(file) if frame[12:14] == b"\x08\x00" and frame[23] == 1]
