"""Segments of TCP connections in a simulated mesh: each stays at one host, whichever member serves."""

from __future__ import annotations

from functools import partial

import pytest

from pytinc.wire.ip import TCP_ACK, TCP_SYN
from sim import test_sharing, test_virtual_ips
from sim.hosts import Host
from sim.test_virtual_ips import CHECK, UNWELL, WELL

INTERVAL = 0.005


class Streams:
    """Connections that send one segment after the other, and the nodes whose hosts got them."""

    def __init__(self, vip: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
        self.vip = vip
        self.reached: dict[int, list[str]] = {}
        """By the client's port: the nodes, without those that come twice in a row."""
        receive = Host.receive

        def noting(host: Host, frame: bytes) -> None:
            if frame[12:14] == b"\x08\0" and frame[23] == 6:
                nodes = self.reached.setdefault(int.from_bytes(frame[34:36]), [])
                nodes += [host.sim.name] if nodes[-1:] != [host.sim.name] else []
            else:
                receive(host, frame)

        monkeypatch.setattr(Host, "receive", noting)

    def begin(self, client: Host, port: int, flags: int = TCP_SYN) -> None:
        """Have a client send from a port from now on."""
        segment = port.to_bytes(2, "big") + b"\0\x50" + bytes(8) + b"\x50" + bytes((flags,)) + bytes(6)
        ends = client.addresses[0] + self.vip
        head = b"\x45\0" + (20 + len(segment)).to_bytes(2, "big") + b"\0\0\x40\0\x40\x06\0\0"
        client.sim.send_frame(client.entries[self.vip].mac + client.mac + b"\x08\0" + head + ends + segment)
        client.mesh.at(client.mesh.now + INTERVAL, partial(self.begin, client, port, TCP_ACK))


def test_connections_stay_where_they_are_when_the_address_comes_back(monkeypatch: pytest.MonkeyPatch) -> None:
    world = test_virtual_ips.build("pytinc", priorities=(150, 120, 110), preempt=1.0, checks=(CHECK,))
    streams, client, mesh = Streams(world.vip, monkeypatch), world.hosts["n5"], world.mesh
    streams.begin(client, 1000)
    mesh.run(1)
    world.check("n2", UNWELL)
    mesh.run(3)
    assert world.settled() == "n3"
    streams.begin(client, 2000)
    mesh.run(1)
    world.check("n2", WELL)
    mesh.run(4)
    assert world.settled() == "n2"
    streams.begin(client, 3000)
    mesh.run(1)
    assert streams.reached == {1000: ["n2"], 2000: ["n3"], 3000: ["n2"]}


def test_connections_stay_where_they_are_when_clients_get_other_members(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    world = test_sharing.build(3, 12)
    mesh, before, owner = world.mesh, world.used(), world.owner()
    streams = Streams(world.vip, monkeypatch)
    drained = next(name for name in world.members if name != owner)
    clients = [client for client in world.clients if before[client.mac] == drained]
    for number, client in enumerate(clients):
        streams.begin(client, 1000 + number)
        for more in range(1, 14):
            begin = partial(streams.begin, client, 1000 * (1 + more) + number)
            mesh.at(mesh.now + 0.5 + more * 0.03, begin)
    mesh.run(0.5)
    world.call(drained, "vip_drain")
    mesh.run(2)
    assert set(world.counts()) == set(world.members) - {drained}
    assert {client.mac for client in clients if world.used()[client.mac] != owner}, "the owner knows at once"
    assert all(streams.reached[1000 + number] == [drained] for number in range(len(clients)))
    assert {port: nodes for port, nodes in streams.reached.items() if len(nodes) != 1} == {}
