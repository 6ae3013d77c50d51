"""What the data path does for the guard of shared addresses, seen from outside.

Node a with neighbours b and c, which get every frame in plain (they have no keys yet), so that what goes out
is seen as it is. Whether the fast code equals its plain twin here, too, is told by test_twin.py.
"""

from __future__ import annotations

import struct

import pytest

from datapath.super_frames import frame_run
from pytinc.datapath import guard as guard_module
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.guard import MAX_MESSAGES, MAX_USES
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.table import ForwardingTable
from pytinc.wire import ip, neighbour
from pytinc.wire.datagram import node_id
from pytinc.wire.neighbour import GUARD_MAC, NOBODY, Kind

BROADCAST = b"\xff" * 6
OWN, NEAR, FAR, NEW = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2, 3, 9))
VIP, OWN_IP, NEAR_IP, FAR_IP, ELSE = (bytes((10, 1, 1, last)) for last in (10, 1, 2, 3, 99))
VIP6, OWN_IP6, NEAR_IP6 = (bytes.fromhex("fd00") + bytes(13) + bytes((last,)) for last in (10, 1, 2))
LOCAL6 = bytes.fromhex("fe80") + bytes(13) + b"\1"
NOW = 1.0


def arp(operation: int, mac: bytes, address: bytes, target: bytes, to: bytes = BROADCAST) -> bytes:
    packet = struct.pack("!HHBBH", 1, 0x0800, 6, 4, operation) + mac + address + bytes(6) + target
    return to + mac + b"\x08\x06" + packet


def asks(mac: bytes, address: bytes, target: bytes, to: bytes = BROADCAST) -> bytes:
    return arp(1, mac, address, target, to)


def answers(mac: bytes, address: bytes, target: bytes, to: bytes) -> bytes:
    return arp(2, mac, address, target, to)


def asks6(mac: bytes, address: bytes, target: bytes, to: bytes | None = None) -> bytes:
    """A solicitation of a host: from its own MAC."""
    frame = neighbour.question(mac, address, target, to=to)
    return frame[:6] + mac + frame[12:]


def advertises6(mac: bytes, address: bytes, to: bytes, target: bytes) -> bytes:
    body = b"\x88\0\0\0\x60\0\0\0" + address + b"\2\1" + mac
    sum_ = ip.checksum(ip.pseudo_header_v6(address, target, len(body), 58) + body)
    head = struct.pack("!IHBB", 6 << 28, len(body), 58, 255) + address + target
    return to + mac + b"\x86\xdd" + head + body[:2] + sum_.to_bytes(2, "big") + body[4:]


def udp(destination: bytes, source: bytes, size: int = 100) -> bytes:
    head = b"\x45\0" + (size - 14).to_bytes(2, "big") + bytes(5) + b"\x11\0\0" + OWN_IP + VIP
    return (destination + source + b"\x08\x00" + head).ljust(size, b"x")


class World:
    def __init__(self, guard: GuardTable | None) -> None:
        self.table = ForwardingTable(PeerSlot("a", is_me=True))
        self.table.guard = guard
        self.me = self.table.me
        for number, name in enumerate("bc", 1):
            slot = self.table.add(name)
            slot.reachable, slot.connection = True, number
            self.table.set_route(slot, slot, slot)
        self.b, self.c = self.table.slots["b"], self.table.slots["c"]
        self.table.tree = (self.b, self.c)
        self.table.macs = {OWN: self.me, NEAR: self.b, FAR: self.c}
        self.table.own_macs = {OWN: 0.0}
        self.table.refresh_all()
        self.datapath = DataPath(self.table)
        self.inbound = self.datapath.inbound
        self.out = Output()

    def send(self, *frames: bytes, now: float = NOW) -> dict[str, list[bytes]]:
        """The own host sends; return what each neighbour gets."""
        self.datapath.frames_from_device(frames, now, self.out)
        return self.take()

    def arrive(self, *frames: bytes, now: float = NOW) -> dict[str, list[bytes]]:
        """Frames come from b; return what the device (``a``) and the neighbours get."""
        self.inbound.frames_from_neighbour(self.b, list(frames), now, self.out)
        return self.take()

    def take(self) -> dict[str, list[bytes]]:
        got: dict[str, list[bytes]] = {"a": [], "b": [], "c": []}
        for item in self.out.frames:
            got["a"] += [item] if isinstance(item, bytes) else item.frames()
        for slot, frame in self.out.upcalls.packets:
            got[slot.name].append(frame)
        self.out.clear()
        self.out.upcalls.packets.clear()
        return got

    def told(self) -> list[tuple[str, Kind]]:
        return [(slot.name, message.kind) for slot, message in self.out.take_upcalls().messages]


def to_all(frame: bytes) -> dict[str, list[bytes]]:
    return {"a": [], "b": [frame], "c": [frame]}


def with_own_note(frame: bytes) -> bytes:
    """What tells other guards that it is node a which changed a question."""
    return frame[:32] + node_id("a") + frame[38:]


def past_a(frame: bytes, for_device: bytes) -> dict[str, list[bytes]]:
    """What becomes of a frame of b that is for all."""
    return {"a": [for_device], "b": [], "c": [frame]}


# -- what is told --


def test_every_message_is_told_with_the_node_that_it_came_from() -> None:
    world = World(GuardTable())
    world.send(asks(OWN, OWN_IP, VIP), udp(NEAR, OWN), asks(OWN, bytes(4), ELSE))
    world.arrive(answers(NEAR, VIP, OWN_IP, to=OWN), asks6(NEAR, NEAR_IP6, VIP6))
    assert world.told() == [
        ("a", Kind.QUESTION),
        ("a", Kind.PROBE),
        ("b", Kind.ANSWER),
        ("b", Kind.QUESTION),
    ]


def test_a_message_is_told_as_the_host_sent_it_whatever_goes_out() -> None:
    world = World(GuardTable(senders={VIP: OWN_IP}))
    world.send(asks(OWN, VIP, NEAR_IP))
    ((_, message),) = world.out.upcalls.messages
    assert message.address == VIP


def test_messages_between_other_nodes_that_pass_here_are_told_as_well() -> None:
    world = World(GuardTable())
    frame = answers(NEAR, NEAR_IP, FAR_IP, to=FAR)
    assert world.arrive(frame)["c"] == [frame]
    assert world.told() == [("b", Kind.ANSWER)]


def test_without_a_guard_nothing_is_told_and_nothing_changed() -> None:
    world = World(None)
    frame = asks(OWN, VIP, NEAR_IP)
    assert world.send(frame) == to_all(frame)
    assert world.told() == []


def test_a_flood_of_messages_is_switched_but_told_only_in_part() -> None:
    world = World(GuardTable())
    flood = [
        asks(NEAR, NEAR_IP, bytes((10, 2)) + number.to_bytes(2, "big")) for number in range(MAX_MESSAGES + 50)
    ]
    assert len(world.arrive(*flood)["a"]) == MAX_MESSAGES + 50
    world.arrive(*flood[:10])
    assert len(world.told()) == MAX_MESSAGES


# -- hosts that do not serve --


@pytest.mark.parametrize(
    ("frame", "passed"),
    [
        (answers(NEAR, VIP, OWN_IP, to=OWN), {"a": [], "b": [], "c": []}),
        (advertises6(NEAR, VIP6, OWN, OWN_IP6), {"a": [], "b": [], "c": []}),
        (answers(NEAR, VIP, VIP, to=BROADCAST), None),
        (asks(NEAR, VIP, VIP), None),
    ],
    ids=["answer", "advertisement", "gratuitous reply", "gratuitous request"],
)
def test_answers_of_a_host_that_does_not_serve_go_to_others_only(
    frame: bytes, passed: dict[str, list[bytes]] | None
) -> None:
    only_c = dict.fromkeys((VIP, VIP6), frozenset({"c"}))
    assert World(GuardTable(answering=only_c)).arrive(frame) == (passed or {"a": [], "b": [], "c": [frame]})
    also_b = dict.fromkeys((VIP, VIP6), frozenset({"b", "c"}))
    assert World(GuardTable(answering=also_b)).arrive(frame)["a"] == [frame]


def test_answers_of_a_host_that_does_not_serve_are_reported_and_go_to_other_nodes() -> None:
    world = World(GuardTable(answering={VIP: frozenset({"c"})}))
    frame = answers(NEAR, VIP, FAR_IP, to=FAR)
    assert world.arrive(frame)["c"] == [frame]
    world.arrive(answers(NEAR, VIP, OWN_IP, to=OWN))
    assert world.told() == [("b", Kind.ANSWER)] * 2


def test_a_host_that_no_node_owns_or_another_address_is_no_reason_to_believe_less_or_more() -> None:
    world = World(GuardTable(answering={VIP: frozenset({"b"})}))
    assert world.arrive(answers(NEW, VIP, OWN_IP, to=OWN))["a"] == []
    frame = answers(NEW, ELSE, OWN_IP, to=OWN)
    assert world.arrive(frame)["a"] == [frame]


def test_a_question_of_a_host_that_does_not_serve_reaches_ours_without_its_sender() -> None:
    world = World(GuardTable(answering={VIP: frozenset({"c"})}))
    frame = asks(NEAR, VIP, OWN_IP)
    assert world.arrive(frame) == past_a(frame, neighbour.without_sender(frame))
    of_server = asks(FAR, VIP, OWN_IP)
    assert world.arrive(of_server)["a"] == [of_server]


# -- answers that are withheld --


@pytest.mark.parametrize(
    "frame",
    [
        answers(OWN, VIP, NEAR_IP, to=NEAR),
        answers(OWN, VIP, VIP, to=BROADCAST),
        asks(OWN, VIP, VIP),
        advertises6(OWN, VIP6, to=NEAR, target=NEAR_IP6),
    ],
    ids=["answer", "gratuitous reply", "gratuitous request", "advertisement"],
)
def test_a_withheld_answer_of_the_own_host_ends_here(frame: bytes) -> None:
    guard = GuardTable(withheld=frozenset((VIP, VIP6)))
    world = World(guard)
    assert world.send(frame) == {"a": [], "b": [], "c": []}
    assert guard.answers_withheld == 1
    assert len(world.told()) == 1


def test_only_the_withheld_answer_of_several_is_dropped() -> None:
    world = World(GuardTable(withheld=frozenset((VIP,))))
    others = [answers(OWN, OWN_IP, NEAR_IP, to=NEAR), udp(NEAR, OWN), answers(OWN, ELSE, NEAR_IP, to=NEAR)]
    got = world.send(others[0], answers(OWN, VIP, NEAR_IP, to=NEAR), *others[1:])
    assert got == {"a": [], "b": others, "c": []}


def test_answers_of_other_nodes_are_never_withheld() -> None:
    world = World(GuardTable(withheld=frozenset((VIP,))))
    frame = answers(NEAR, VIP, FAR_IP, to=FAR)
    assert world.arrive(frame)["c"] == [frame]
    announcement = answers(NEAR, VIP, VIP, to=BROADCAST)
    assert world.arrive(announcement) == past_a(announcement, announcement)


# -- questions of the own host --


def test_a_question_that_names_a_shared_address_goes_out_with_the_other_sender() -> None:
    guard = GuardTable(senders={VIP: OWN_IP})
    got = World(guard).send(asks(OWN, VIP, NEAR_IP))
    assert got == to_all(with_own_note(asks(OWN, OWN_IP, NEAR_IP)))
    assert guard.rewritten == 1


def test_a_question_that_names_a_shared_address_goes_out_without_sender_where_there_is_no_other() -> None:
    got = World(GuardTable(senders={VIP: NOBODY})).send(asks(OWN, VIP, NEAR_IP))
    assert got == to_all(with_own_note(asks(OWN, bytes(4), NEAR_IP)))


def test_a_solicitation_that_names_a_shared_address_goes_out_with_the_other_sender() -> None:
    got = World(GuardTable(senders={VIP6: LOCAL6})).send(asks6(OWN, VIP6, NEAR_IP6))
    assert got == to_all(asks6(OWN, LOCAL6, NEAR_IP6))


def test_a_question_from_an_address_that_nobody_knows_yet_goes_out_without_sender() -> None:
    guard = GuardTable()
    expected = to_all(with_own_note(asks(OWN, bytes(4), NEAR_IP)))
    assert World(guard).send(asks(OWN, OWN_IP, NEAR_IP)) == expected
    assert guard.rewritten == 1


def test_a_solicitation_from_an_address_that_nobody_knows_yet_goes_out_as_it_is() -> None:
    """Without a source it would be a claim, which hosts do not answer to the asker."""
    frame = asks6(OWN, OWN_IP6, NEAR_IP6)
    assert World(GuardTable()).send(frame) == to_all(frame)


@pytest.mark.parametrize(
    "frame",
    [
        asks(OWN, OWN_IP, NEAR_IP),
        asks(OWN, bytes(4), NEAR_IP),
        asks(OWN, ELSE, ELSE),
        answers(OWN, VIP, VIP, to=BROADCAST),
        neighbour.question(GUARD_MAC, NOBODY, VIP, note=b"node-x"),
    ],
    ids=["of a known address", "probe", "announcement", "gratuitous reply", "of a guard"],
)
def test_what_misleads_nobody_goes_out_as_it_is(frame: bytes) -> None:
    guard = GuardTable(senders={VIP: OWN_IP}, known=frozenset((OWN_IP,)))
    assert World(guard).send(frame) == to_all(frame)
    assert guard.rewritten == 0


def test_a_question_to_one_station_does_not_lead_it_here_either() -> None:
    """The kernel makes sure of an entry: its station may have been led elsewhere meanwhile."""
    frame = asks(OWN, VIP, NEAR_IP, to=NEAR)
    got = World(GuardTable(senders={VIP: OWN_IP})).send(frame)
    assert got == {"a": [], "b": [with_own_note(asks(OWN, OWN_IP, NEAR_IP, to=NEAR))], "c": []}


def test_a_question_to_one_station_keeps_a_sender_of_which_nothing_is_known() -> None:
    frame = asks(OWN, OWN_IP, NEAR_IP, to=NEAR)
    assert World(GuardTable()).send(frame) == {"a": [], "b": [frame], "c": []}


def test_a_question_of_a_holder_that_is_not_in_use_reaches_our_host_without_sender() -> None:
    guard = GuardTable(in_use={VIP: FAR})
    frame = asks(NEAR, VIP, OWN_IP, to=OWN)
    assert World(guard).arrive(frame) == {"a": [asks(NEAR, bytes(4), OWN_IP, to=OWN)], "b": [], "c": []}
    frame = asks(FAR, VIP, OWN_IP, to=OWN)
    assert World(guard).arrive(frame) == {"a": [frame], "b": [], "c": []}


def test_frames_for_other_addresses_of_a_watched_mac_are_no_use() -> None:
    guard = GuardTable(macs=frozenset((NEAR,)), addresses=frozenset((ELSE,)))
    World(guard).send(udp(NEAR, OWN))
    assert guard.uses == {}


# -- questions of others' hosts --


def test_a_question_that_would_lead_our_clients_away_has_no_sender_for_the_device_only() -> None:
    guard = GuardTable(in_use={VIP: FAR})
    frame = asks(NEAR, VIP, ELSE)
    assert World(guard).arrive(frame) == past_a(frame, for_device=asks(NEAR, bytes(4), ELSE))
    assert guard.rewritten == 1


def test_a_solicitation_that_would_lead_our_clients_away_does_not_tell_its_senders_mac_to_the_device() -> (
    None
):
    frame = asks6(NEAR, VIP6, OWN_IP6)
    got = World(GuardTable(in_use={VIP6: FAR})).arrive(frame)
    assert got == past_a(frame, for_device=neighbour.without_sender(frame))


@pytest.mark.parametrize(
    "frame",
    [
        asks(FAR, VIP, ELSE),
        asks(NEAR, NEAR_IP, VIP),
        asks(NEAR, bytes(4), VIP),
        asks(NEAR, VIP, VIP),
        neighbour.without_sender(asks6(NEAR, VIP6, OWN_IP6)),
    ],
    ids=["of the one that is used", "from another address", "probe", "announcement", "bare solicitation"],
)
def test_other_messages_for_all_reach_the_device_unchanged(frame: bytes) -> None:
    guard = GuardTable(in_use={VIP: FAR, VIP6: FAR})
    assert World(guard).arrive(frame) == past_a(frame, for_device=frame)
    assert guard.rewritten == 0


def test_only_the_misleading_frame_of_those_with_one_header_is_changed() -> None:
    world = World(GuardTable(in_use={VIP: FAR}))
    good, bad, tail = asks(NEAR, NEAR_IP, VIP), asks(NEAR, VIP, ELSE), asks(NEAR, NEAR_IP, ELSE)
    got = world.arrive(good, bad, tail)
    assert got["a"] == [good, asks(NEAR, bytes(4), ELSE), tail]
    assert got["c"] == [good, bad, tail]


def test_an_answer_that_our_host_asked_for_is_not_changed() -> None:
    guard = GuardTable(
        in_use={VIP: FAR}, left=frozenset((NEAR,)), withheld=frozenset((VIP,)), senders={VIP: OWN_IP}
    )
    world = World(guard)
    world.send(asks(OWN, OWN_IP, VIP))
    frame = answers(NEAR, VIP, OWN_IP, to=OWN)
    assert world.arrive(frame, now=NOW + 1.5) == {"a": [frame], "b": [], "c": []}


def test_an_answer_that_nobody_of_us_asked_for_does_not_lead_our_host_back_to_a_holder_that_was_left() -> (
    None
):
    """It waited in a host that was stopped meanwhile."""
    frame = answers(NEAR, VIP, OWN_IP, to=OWN)
    world = World(GuardTable(in_use={VIP: FAR}, left=frozenset((NEAR,))))
    assert world.arrive(frame) == {"a": [], "b": [], "c": []}
    assert world.told() == [("b", Kind.ANSWER)]
    world.send(asks(OWN, OWN_IP, VIP), now=NOW)
    world.take()
    assert world.arrive(frame, now=NOW + 60) == {"a": [], "b": [], "c": []}


def test_answers_of_the_holder_in_use_and_those_for_other_nodes_always_pass() -> None:
    world = World(GuardTable(in_use={VIP: NEAR}, left=frozenset((NEAR, NEW))))
    of_the_holder = answers(NEAR, VIP, OWN_IP, to=OWN)
    assert world.arrive(of_the_holder)["a"] == [of_the_holder]
    for_others = answers(NEW, VIP, FAR_IP, to=FAR)
    assert world.arrive(for_others)["c"] == [for_others]
    of_another_address = answers(NEW, ELSE, OWN_IP, to=OWN)
    assert world.arrive(of_another_address)["a"] == [of_another_address]


def test_an_answer_that_a_guard_has_asked_for_in_our_hosts_name_passes() -> None:
    """By a new holder, while the data path still knows the one before."""
    frame = answers(NEAR, VIP, OWN_IP, to=OWN)
    world = World(GuardTable(in_use={VIP: FAR}, left=frozenset((FAR,))))
    assert world.arrive(frame)["a"] == [frame]


def test_a_question_in_the_name_of_a_silent_holder_does_not_lead_our_host_back_to_it() -> None:
    """Even where nothing is known of what our host uses."""
    guard = GuardTable(left=frozenset((NEAR,)), absent=frozenset((NEAR + VIP,)))
    world = World(guard)
    for_us = asks(NEAR, VIP, OWN_IP, to=OWN)
    assert world.arrive(for_us)["a"] == [asks(NEAR, bytes(4), OWN_IP, to=OWN)]
    assert guard.rewritten == 1
    for_another = asks(NEAR, VIP, FAR_IP, to=FAR)
    assert world.arrive(for_another)["c"] == [for_another]
    of_one_that_is_there = asks(NEW, VIP, OWN_IP, to=OWN)
    assert world.arrive(of_one_that_is_there)["a"] == [of_one_that_is_there]


# -- a node that was stopped --


def test_after_a_pause_old_answers_of_our_host_for_shared_addresses_are_withheld_for_a_second() -> None:
    guard = GuardTable(own=frozenset((VIP,)), known=frozenset((OWN_IP,)))
    world = World(guard)
    shared, plain = answers(OWN, VIP, NEAR_IP, to=NEAR), answers(OWN, OWN_IP, NEAR_IP, to=NEAR)
    guard.beat(10.0)
    guard.beat(10.4)
    assert world.send(shared, plain, now=10.4)["b"] == [shared, plain]
    # Stopped for two seconds: what is in the queue of the device comes before the guard's tick, or after it.
    assert world.send(shared, plain, now=12.4)["b"] == [plain]
    guard.beat(12.4)
    assert world.send(shared, plain, now=12.5)["b"] == [plain]
    guard.beat(12.9)
    assert world.send(shared, plain, now=13.3)["b"] == [plain]
    guard.beat(13.4)
    assert world.send(shared, plain, now=13.45)["b"] == [shared, plain]
    assert guard.answers_withheld == 3


def test_a_node_without_a_shared_address_may_rest_between_two_ticks() -> None:
    guard = GuardTable()
    world = World(guard)
    guard.beat(10.0)
    guard.beat(100.0)
    frame = answers(OWN, VIP, NEAR_IP, to=NEAR)
    assert world.send(frame, now=100.0)["b"] == [frame]


# -- who uses what --


def test_the_first_frame_to_a_watched_mac_is_told_and_later_ones_renew_it() -> None:
    guard = GuardTable(macs=frozenset((NEAR,)), addresses=frozenset((VIP,)))
    world = World(guard)
    frame = udp(NEAR, OWN)
    world.send(frame, frame, now=5.0)
    assert world.out.upcalls.uses == [(NEAR + OWN + VIP, frame[:54])]
    assert guard.uses == {NEAR + OWN + VIP: 5.0}
    world.out.take_upcalls()
    world.send(frame, now=7.0)
    assert world.out.upcalls.uses == []
    assert guard.uses == {NEAR + OWN + VIP: 7.0}


def test_frames_to_other_macs_and_for_all_are_no_use() -> None:
    guard = GuardTable(macs=frozenset((NEAR,)), addresses=frozenset((VIP,)))
    world = World(guard)
    world.send(udp(FAR, OWN), udp(BROADCAST, OWN), udp(NEW, OWN))
    assert guard.uses == {}


def test_use_is_noted_of_frames_of_other_nodes_on_their_way_to_our_device_as_well() -> None:
    guard = GuardTable(macs=frozenset((OWN,)), addresses=frozenset((VIP,)))
    world = World(guard)
    world.arrive(udp(OWN, NEAR), now=3.0)
    assert guard.uses == {OWN + NEAR + VIP: 3.0}


def test_a_run_of_frames_is_one_use() -> None:
    guard = GuardTable(macs=frozenset((OWN,)), addresses=frozenset((VIP,)))
    world = World(guard)
    frames = [udp(OWN, NEAR, 200)] * 12
    world.datapath.forwarder.forward_run(world.b, frame_run(frames), 4.0, world.out)
    assert not isinstance(world.out.frames[0], bytes)
    assert world.out.upcalls.uses == [(OWN + NEAR + VIP, frames[0][:54])]
    assert guard.uses == {OWN + NEAR + VIP: 4.0}


@pytest.mark.parametrize("as_run", [False, True], ids=["frames", "run"])
def test_the_shared_address_is_noted_behind_frames_for_another_address_of_the_holder(as_run: bool) -> None:
    guard = GuardTable(macs=frozenset((OWN,)), addresses=frozenset((VIP,)))
    world = World(guard)
    shared = udp(OWN, NEAR)
    other = shared[:30] + ELSE + shared[34:]
    frames = [other] * 6 + [shared] * 2 + [other] * 4
    if as_run:
        world.datapath.forwarder.forward_run(world.b, frame_run(frames), NOW, world.out)
    else:
        world.arrive(*frames)
    assert guard.uses == {OWN + NEAR + VIP: NOW}


def test_made_up_sources_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guard_module, "MAX_USES", 100)
    guard = GuardTable(macs=frozenset((OWN,)), addresses=frozenset((VIP,)))
    world = World(guard)
    world.arrive(udp(OWN, NEAR), now=1.0)
    flood = [udp(OWN, bytes((6, 0, 0, 0)) + number.to_bytes(2, "big")) for number in range(300)]
    assert len(world.arrive(*flood)["a"]) == 300
    assert len(guard.uses) == 100
    assert len(world.out.take_upcalls().uses) == guard_module.MAX_MESSAGES
    world.arrive(udp(OWN, NEAR), now=9.0)
    assert guard.uses[OWN + NEAR + VIP] == 9.0
    assert MAX_USES == 16_384


# -- the guard's own MAC --


def test_the_mac_of_the_guards_is_never_learned() -> None:
    """Another node on our LAN may bring a guard's question back to our device."""
    world = World(GuardTable())
    world.send(neighbour.question(GUARD_MAC, NOBODY, VIP), udp(NEAR, GUARD_MAC), udp(NEAR, NEW))
    assert list(world.out.upcalls.learn) == [NEW]


@pytest.mark.parametrize("to", [BROADCAST, NEAR, OWN])
def test_a_frame_of_the_guard_goes_where_its_destination_is(to: bytes) -> None:
    world = World(GuardTable(senders={VIP: NOBODY}, withheld=frozenset((VIP,)), macs=frozenset((NEAR,))))
    frame = neighbour.question(FAR, FAR_IP, VIP, to=None if to == BROADCAST else to)
    world.datapath.inject(frame, NOW, world.out)
    expected = {BROADCAST: ("a", "b", "c"), NEAR: ("b",), OWN: ("a",)}[to]
    assert world.take() == {name: [frame] if name in expected else [] for name in "abc"}
    assert not world.out.upcalls.messages
    assert not world.out.upcalls.uses


# -- runs --


def test_messages_that_come_as_a_run_are_screened_one_by_one() -> None:
    guard = GuardTable(withheld=frozenset((VIP,)))
    world = World(guard)
    run = [answers(OWN, (VIP, OWN_IP)[number % 2], NEAR_IP, to=NEAR) for number in range(12)]
    world.datapath.frames_from_device([frame_run(run)], NOW, world.out)
    assert world.take()["b"] == [answers(OWN, OWN_IP, NEAR_IP, to=NEAR)] * 6
    assert guard.answers_withheld == 6
    assert world.told() == [("a", Kind.ANSWER)] * 12


@pytest.mark.parametrize("at", [0, 5, 11])
def test_neighbour_discovery_anywhere_in_a_run_of_ipv6_is_screened(at: int) -> None:
    message = advertises6(OWN, VIP6, to=NEAR, target=NEAR_IP6)
    other = message[:20] + b"\x11" + message[21:]
    run = [other] * at + [message] + [other] * (11 - at)
    world = World(GuardTable(withheld=frozenset((VIP6,))))
    world.datapath.frames_from_device([frame_run(run)], NOW, world.out)
    assert world.take()["b"] == [other] * 11
    assert world.told() == [("a", Kind.ANSWER)]


def test_a_run_of_other_ipv6_is_not_taken_apart() -> None:
    message = asks6(NEAR, NEAR_IP6, OWN_IP6, to=OWN)
    world = World(GuardTable())
    other = message[:20] + b"\x11" + message[21:]
    world.datapath.forwarder.forward_run(world.b, frame_run([other] * 12), NOW, world.out)
    assert len(world.out.frames) == 1
    assert world.take()["a"] == [other] * 12


def test_messages_to_our_device_in_a_run_are_told() -> None:
    world = World(GuardTable())
    run = [answers(NEAR, VIP, OWN_IP, to=OWN)] * 9
    world.datapath.forwarder.forward_run(world.b, frame_run(run), NOW, world.out)
    assert world.take()["a"] == run
    assert world.told() == [("b", Kind.ANSWER)] * 9


# -- connections of the member that served before --


def tcp_segment(flags: int, port: int, *, to: bytes = OWN) -> bytes:
    segment = port.to_bytes(2, "big") + b"\0\x50" + bytes(8) + b"\x50" + bytes((flags,)) + bytes(6)
    head = b"\x45\0\0\x28\0\0\x40\0\x40\x06\0\0"
    return to + NEAR + b"\x08\x00" + head + bytes((10, 0, 0, 7)) + VIP + segment


def test_connections_that_did_not_begin_here_go_on_at_the_former_member() -> None:
    world = World(GuardTable(macs=frozenset((OWN,)), addresses=frozenset((VIP,))))
    assert world.table.guard is not None
    world.table.guard.taken_over = {VIP: (FAR, NOW + 30)}
    old, new, more = tcp_segment(0x10, 1), tcp_segment(0x02, 2), tcp_segment(0x10, 2)
    assert world.arrive(old, new, more) == {"a": [new, more], "b": [], "c": [FAR + old[6:]]}
    assert world.table.guard.uses, "the client uses our host all the same"


@pytest.mark.parametrize(
    "handed_over", [VIP, NEAR + VIP, bytes((10, 1, 1, 77))], ids=["all", "client", "other"]
)
def test_a_run_of_such_a_connection_goes_on_there_too(handed_over: bytes) -> None:
    world = World(GuardTable(taken_over={handed_over: (FAR, NOW + 30)}))
    run = [tcp_segment(0x10, 1)] * 12
    world.datapath.forwarder.forward_run(world.b, frame_run(run), NOW, world.out)
    got = world.take()
    ours = handed_over.endswith(bytes((77,)))
    assert (len(got["a"]), len(got["c"])) == ((12, 0) if ours else (0, 12))


def test_no_connection_goes_back_to_where_it_came_from() -> None:
    world = World(GuardTable(taken_over={VIP: (NEAR, NOW + 30)}))
    segment = tcp_segment(0x10, 1)
    assert world.arrive(segment)["a"] == [segment]


def test_without_forwarding_our_host_gets_all_connections() -> None:
    world = World(GuardTable(taken_over={VIP: (FAR, NOW + 30)}))
    world.table.rules.forward = False
    segment = tcp_segment(0x10, 1)
    assert world.arrive(segment) == {"a": [segment], "b": [], "c": []}
