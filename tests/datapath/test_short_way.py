"""A lone frame or datagram has the effect that it has in a batch, whatever is unusual about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from typing import Any

import pytest

from datapath.four_nodes import (
    FAR,
    LOST,
    MULTICAST,
    NEAR,
    NEW,
    NOW,
    OWN,
    STRANGER,
    World,
    counters,
    one_by_one,
)
from pytinc.datapath.doubt import Doubt
from pytinc.datapath.flow_table import FlowMember, FlowRule, FlowTable
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.short_way import MAX_WAYS
from pytinc.protocol.sptps.handshake import KEY_LIMIT
from pytinc.wire.datagram import NULL_ID, TYPE_COMPRESSED, TYPE_MAC, TYPE_PACKET, TYPE_PROBE, node_id
from pytinc.wire.ethernet import ARP, IPV4, IPV6

B_ADDRESS = ("192.0.2.1", 655)
HERE, THERE = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
HERE6, THERE6 = (bytes.fromhex("fd00") + bytes(13) + bytes((number,)) for number in (1, 2))
TCP, UDP, ICMP, IPIP, ICMPV6 = 6, 17, 1, 4, 58
ACK, SYN = 0x10, 0x02
MSS_1460 = bytes.fromhex("020405b4")

Change = Callable[[World], None]


def tcp(flags: int, size: int = 0) -> bytes:
    """A segment; a SYN asks for more than the path carries."""
    options = MSS_1460 if flags & SYN else b""
    head = bytes(12) + bytes(((20 + len(options)) << 2, flags)) + bytes(6)
    return head + options + bytes(size)


def ipv4(protocol: int, body: bytes, *, first: int = 0x45, destination: bytes = THERE) -> bytes:
    head = bytes((first, 0)) + (20 + len(body)).to_bytes(2, "big") + bytes(4) + bytes((64, protocol, 0, 0))
    return head + HERE + destination + body


def ipv6(protocol: int, body: bytes) -> bytes:
    return b"\x60\0\0\0" + len(body).to_bytes(2, "big") + bytes((protocol, 255)) + HERE6 + THERE6 + body


def arp(operation: int) -> bytes:
    return bytes.fromhex("0001080006040000") + bytes((operation,)) + NEW + HERE + bytes(6) + THERE


SOLICITATION = bytes((135, 0, 0, 0)) + bytes(4) + THERE6 + bytes((1, 1)) + NEW
PACKETS = {
    "udp": IPV4 + ipv4(UDP, bytes(40)),
    "ping": IPV4 + ipv4(ICMP, bytes(64)),
    "ack": IPV4 + ipv4(TCP, tcp(ACK)),
    "data": IPV4 + ipv4(TCP, tcp(ACK, 1000)),
    "syn": IPV4 + ipv4(TCP, tcp(SYN)),
    "long syn": IPV4 + ipv4(TCP, tcp(SYN, 200)),
    "syn in a tunnel": IPV4 + ipv4(IPIP, ipv4(TCP, tcp(SYN))),
    "syn behind options": IPV4 + ipv4(TCP, bytes(4) + tcp(SYN), first=0x46),
    "half a tcp header": IPV4 + ipv4(TCP, tcp(ACK)[:13]),
    "half an ip header": IPV4 + ipv4(UDP, b"")[:15],
    "tagged syn": b"\x81\x00\x00\x05" + IPV4 + ipv4(TCP, tcp(SYN)),
    "udp6": IPV6 + ipv6(UDP, bytes(40)),
    "ack6": IPV6 + ipv6(TCP, tcp(ACK)),
    "syn6": IPV6 + ipv6(TCP, tcp(SYN)),
    "half a tcp header, 6": IPV6 + ipv6(TCP, tcp(ACK)[:13]),
    "solicitation": IPV6 + ipv6(ICMPV6, SOLICITATION),
    "echo6": IPV6 + ipv6(ICMPV6, bytes(64)),
    "arp question": ARP + arp(1),
    "arp answer": ARP + arp(2),
    "no type": b"\0\0" + bytes(60),
    "other": b"\x88\xb5" + bytes(60),
    "nearly too long": IPV4 + ipv4(UDP, bytes(1340)),
    "longer than proved": IPV4 + ipv4(UDP, bytes(1380)),
    "longer than the path": IPV4 + ipv4(UDP, bytes(1440)),
    "longer than a frame": IPV4 + ipv4(UDP, bytes(1500)),
    "nothing": b"",
}
SHORT = {"udp", "ping", "ack", "data", "long syn", "udp6", "ack6", "nearly too long"}
"""Packets that go the short way."""


def changed(**values: Any) -> Change:
    def change(world: World) -> None:
        for name, value in values.items():
            setattr(world.b, name, value)

    return change


def ruled(**values: Any) -> Change:
    def change(world: World) -> None:
        for name, value in values.items():
            setattr(world.table.rules, name, value)

    return change


def nothing(_: World) -> None:
    """Everything is as usual."""


def behind_c(world: World) -> None:
    world.table.set_route(world.b, world.c, world.c)
    world.table.refresh_all()


def only_straight_behind_c(world: World) -> None:
    world.table.rules.direct_only = True
    behind_c(world)


def without_path(world: World) -> None:
    world.b.minmtu = 0
    world.b.connection = None
    world.table.refresh_all()


def long_path_of_neighbour(world: World) -> None:
    """The path was better when it was worked out."""
    world.b.mtu = 1500
    world.b.minmtu = 1300


def capturing(world: World) -> None:
    world.table.capture = []


def sharing_flows(world: World) -> None:
    flows = world.table.flows = FlowTable()
    members = (FlowMember("c", FAR, 1),)
    flows.configure({THERE: FlowRule(members, frozenset(), frozenset((NEAR, FAR)))}, 0.0)


def clamping(world: World) -> None:
    world.me.clamp_mss = world.b.clamp_mss = True


def guarding(world: World) -> None:
    shared = frozenset((THERE, THERE6))
    world.table.guard = GuardTable(macs=frozenset((OWN, NEAR)), addresses=shared, senders={HERE: b""})


def taking_over(world: World) -> None:
    world.table.guard = GuardTable(taken_over={THERE: (FAR, NOW + 10)})


def moved_to_us(world: World) -> None:
    world.table.own_macs[NEAR] = 0.0


def owned_by_us(world: World) -> None:
    world.table.macs[NEAR] = world.me


def ours_by_subnet(world: World) -> None:
    world.table.own_macs = {}


def learned_only(world: World) -> None:
    del world.table.macs[OWN]


def doubted(world: World) -> None:
    world.b.doubt = Doubt(NOW)


def elsewhere(world: World) -> None:
    world.table.set_address(world.b, STRANGER, 0)


def without_key(world: World) -> None:
    world.b.session = None


CHANGES: dict[str, Change] = {
    "usual": nothing,
    "unreachable": changed(reachable=False),
    "upkeep": changed(upkeep_due=NOW),
    "compressed": changed(compression=1),
    "no neighbour": changed(connection=None),
    "small mtu": changed(mtu=1000),
    "other socket": changed(socket=1),
    "no way": changed(relay=None),
    "unconfirmed": changed(confirmed=False),
    "hub": ruled(hub=True),
    "kernel": ruled(kernel=True),
    "no forwarding": ruled(forward=False),
    "direct only": ruled(direct_only=True),
    "compression asked": ruled(compression=1),
    "behind c": behind_c,
    "direct only, behind c": only_straight_behind_c,
    "no path": without_path,
    "less proved than possible": changed(mtu=1500, connection=None),
    "path got worse": long_path_of_neighbour,
    "capture": capturing,
    "flows": sharing_flows,
    "clamping": clamping,
    "guard": guarding,
    "taken over": taking_over,
    "moved to us": moved_to_us,
    "owned by us": owned_by_us,
    "not learned": ours_by_subnet,
    "only learned": learned_only,
    "doubted": doubted,
    "elsewhere": elsewhere,
    "no key": without_key,
}


def outcome(world: World) -> dict[str, Any]:
    """Return everything that a frame may have changed, and forget what came out."""
    upcalls, table = world.out.upcalls, world.table
    # The keys are the same in both worlds, and so is what is sealed.
    sent = [(path.relay.name, path.address, one_by_one(datagrams)) for path, datagrams in world.out.datagrams]
    frames = list(world.out.frames)
    world.out.clear()
    world.out.take_upcalls()
    return {
        "frames": frames,
        "sent": sent,
        "upcalls": {name: repr(getattr(upcalls, name)) for name in upcalls.__slots__},
        "counters": {slot.name: (counters(slot), asdict(slot.drops)) for slot in table.slots.values()},
        "drops": asdict(table.drops),
        "own": table.own_macs,
        "uses": None if table.guard is None else table.guard.uses,
        "capture": table.capture,
    }


def two_worlds(change: Change) -> tuple[World, World]:
    """One takes the short way where it can, the other never does."""
    worlds = World(), World()
    for world in worlds:
        change(world)
    worlds[1].datapath.short_way = None
    return worlds


def same_in(worlds: tuple[World, World]) -> None:
    one, other = map(outcome, worlds)
    assert one == other


def sealed(world: World, type_: int, body: bytes, prefix: bytes = NULL_ID + node_id("b")) -> bytes:
    (datagram,) = world.far["b"].seal_batch(prefix, type_, [body])
    return datagram


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_lone_frame_of_the_device_has_the_effect_of_one_in_a_batch(change: Change) -> None:
    worlds = two_worlds(change)
    headers = [destination + OWN for destination in (NEAR, FAR, LOST, OWN, NEW, MULTICAST)]
    for header in (*headers, NEAR + NEW):
        for packet in PACKETS.values():
            for world in worlds:
                world.send(header + packet)
            same_in(worlds)


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_lone_datagram_has_the_effect_of_one_in_a_batch(change: Change) -> None:
    worlds = two_worlds(change)
    for destination in (OWN, NEAR, FAR, NEW, MULTICAST):
        for packet in PACKETS.values():
            for world in worlds:
                world.take(sealed(world, TYPE_MAC, destination + NEAR + packet), address=B_ADDRESS)
            same_in(worlds)


ORDINARY = OWN + NEAR + PACKETS["udp"]
ODD: dict[str, Callable[[World], bytes]] = {
    "probe": lambda world: sealed(world, TYPE_PROBE, bytes(100)),
    "packet of a router": lambda world: sealed(world, TYPE_PACKET, PACKETS["udp"][2:]),
    "damaged compression": lambda world: sealed(world, TYPE_MAC | TYPE_COMPRESSED, ORDINARY),
    "forged": lambda world: sealed(world, TYPE_MAC, ORDINARY)[:-1] + b"?",
    "short frame": lambda world: sealed(world, TYPE_MAC, ORDINARY[:13]),
    "long frame": lambda world: sealed(world, TYPE_MAC, ORDINARY + bytes(1500)),
    "our id": lambda world: sealed(world, TYPE_MAC, ORDINARY, NULL_ID + node_id("a")),
    "unknown id": lambda world: sealed(world, TYPE_MAC, ORDINARY, NULL_ID + node_id("?")),
    "relayed": lambda world: sealed(world, TYPE_MAC, ORDINARY, node_id("a") + node_id("b")),
    "to be relayed": lambda world: sealed(world, TYPE_MAC, ORDINARY, node_id("c") + node_id("b")),
    "garbage": lambda _: bytes(40),
    "empty": lambda _: b"",
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_lone_datagram_that_is_odd_has_the_effect_of_one_in_a_batch(change: Change) -> None:
    worlds = two_worlds(change)
    for make in ODD.values():
        for address in (B_ADDRESS, STRANGER):
            for world in worlds:
                world.take(make(world), address=address)
            same_in(worlds)


def test_the_same_datagram_is_taken_once() -> None:
    worlds = two_worlds(nothing)
    for world in worlds:
        datagram = sealed(world, TYPE_MAC, ORDINARY)
        for _ in range(2):
            world.take(datagram, address=B_ADDRESS)
        assert world.out.frames == [ORDINARY]
    same_in(worlds)


def test_a_key_that_is_used_up_seals_nothing() -> None:
    worlds = two_worlds(nothing)
    for world in worlds:
        assert world.b.session is not None
        world.b.session._out_count = KEY_LIMIT
        world.send(NEAR + OWN + PACKETS["udp"])
        assert world.out.datagrams == []
    same_in(worlds)


def test_only_an_ordinary_packet_goes_the_short_way() -> None:
    world = World()
    way = world.datapath.short_way
    assert way is not None
    short = {name for name, packet in PACKETS.items() if way.frame(NEAR + OWN + packet, NOW)}
    assert short == SHORT


def test_lone_packets_that_wait_for_the_shell_go_out_together() -> None:
    world = World()
    for _ in range(2):
        world.send(NEAR + OWN + PACKETS["udp"])
    ((_, datagrams),) = world.out.datagrams
    assert len(datagrams) == 2


def test_what_was_found_out_holds_until_the_table_changes() -> None:
    worlds = two_worlds(nothing)
    for change in (nothing, behind_c, capturing, guarding, taking_over, owned_by_us):
        for world in worlds:
            change(world)
            world.table.forget_ways()
        for _ in range(2):
            for world in worlds:
                world.send(NEAR + OWN + PACKETS["udp"])
                world.take(sealed(world, TYPE_MAC, ORDINARY), address=B_ADDRESS)
            same_in(worlds)


def test_another_socket_is_used_at_once() -> None:
    worlds = two_worlds(nothing)
    for world in worlds:
        world.send(NEAR + OWN + PACKETS["udp"])
        world.table.use_socket(world.b, 1)
        world.send(NEAR + OWN + PACKETS["udp"])
        assert [path.socket for path, _ in world.out.datagrams] == [0, 1]
    same_in(worlds)


def test_few_ways_are_kept() -> None:
    world = World()
    for number in range(MAX_WAYS + 10):
        source = (0x020000000000 + number).to_bytes(6, "big")
        world.table.own_macs[source] = 0.0
        world.send(NEAR + source + PACKETS["udp"])
        world.take(sealed(world, TYPE_MAC, source + NEAR + PACKETS["udp"]), address=B_ADDRESS)
    assert 0 < len(world.table.frame_ways) <= MAX_WAYS
    assert 0 < len(world.table.datagram_ways[NULL_ID + node_id("b")].stations) <= MAX_WAYS
