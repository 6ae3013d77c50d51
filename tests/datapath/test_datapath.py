"""The parts put together: the switch or the router, frames of the device in order, frames of the guard."""

from __future__ import annotations

import pytest

from datapath.four_nodes import FAR, LOST, NEAR, NEW, NOW, OWN, World, frame
from datapath.super_frames import frame_run
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import BROADCAST_MAC, ForwardingTable, SwitchRules
from pytinc.wire.subnet import parse_subnet

PACKET = bytes.fromhex("4500001c00000000401100000a0000010a000002").ljust(28, b"x")


@pytest.fixture
def world() -> World:
    return World()


@pytest.mark.parametrize("router", [False, True])
def test_a_frame_finds_its_owner_by_mac_or_by_address(router: bool) -> None:
    table = ForwardingTable(PeerSlot("a", is_me=True), SwitchRules(router=router))
    for name in ("by mac", "by address"):
        slot = table.add(name)
        slot.reachable, slot.connection = True, 1
        table.set_route(slot, slot, slot)
    table.macs[NEAR] = table.slots["by mac"]
    table.routes.add(parse_subnet("10.0.0.2"), table.slots["by address"])
    out = Output()

    DataPath(table).frames_from_device([NEAR + OWN + b"\x08\x00" + PACKET], NOW, out)

    ((slot, _),) = out.upcalls.packets
    assert slot.name == ("by address" if router else "by mac")


def test_runs_and_single_frames_of_one_wake_up_keep_their_order_and_are_counted(world: World) -> None:
    single = [frame(NEAR, OWN, 100, fill=number) for number in range(3)]
    run = [frame(NEAR, OWN, 200, fill=number) for number in range(10)]

    world.datapath.frames_from_device([single[0], frame_run(run), *single[1:]], NOW, world.out)

    assert world.sent_to("b") == [single[0], *run, *single[1:]]
    assert (world.me.in_packets, world.me.in_bytes) == (13, 3 * 100 + 10 * 200)
    assert (world.b.out_packets, world.b.out_bytes) == (13, 3 * 100 + 10 * 200)


def test_a_batch_that_ends_with_a_run_leaves_nothing_behind(world: World) -> None:
    run = [frame(NEAR, OWN, 200, fill=number) for number in range(10)]

    world.datapath.frames_from_device([frame_run(run)], NOW, world.out)

    assert world.sent_to("b") == run
    world.out.clear()
    world.datapath.frames_from_device([], NOW, world.out)
    assert world.out.datagrams == []


@pytest.mark.parametrize(
    ("to", "device", "peers"),
    [(OWN, 1, ""), (NEAR, 0, "b"), (FAR, 0, "c"), (BROADCAST_MAC, 1, "bc"), (NEW, 1, "bc")],
)
def test_an_injected_frame_goes_where_its_destination_is_and_teaches_nothing(
    world: World, to: bytes, device: int, peers: str
) -> None:
    injected = frame(to, NEW)

    world.datapath.inject(injected, NOW, world.out)

    assert world.out.frames == [injected] * device
    assert {name: world.sent_to(name) for name in "bc"} == {
        name: [injected] if name in peers else [] for name in "bc"
    }
    assert not world.out.upcalls
    assert world.me.in_packets == 0


def test_an_injected_frame_for_a_node_that_is_gone_is_dropped(world: World) -> None:
    world.d.reachable = False

    world.datapath.inject(frame(LOST, NEW), NOW, world.out)

    assert (world.out.datagrams, world.d.drops.unreachable) == ([], 1)
