"""Clients are told which member serves: some of them, all of them, and again until their frames arrive."""

from __future__ import annotations

from pytinc.vip.actions import SendFrame
from pytinc.vip.addresses import AddressRecord
from pytinc.vip.announcing import ROUNDS, Announcing
from pytinc.vip.core import Core
from pytinc.vip.healing import PACE, PAUSE
from pytinc.wire.neighbour import Kind, Message, parse
from vip.world import ALPHA, BROADCAST, LOCAL, OTHER, REMOTE, VIP, Mesh, ip_of

MINE = b"\x02\0\0\0\0\x99"


class Stage:
    """One address that this node serves, and its clients."""

    def __init__(self, *clients: bytes) -> None:
        self.mesh = Mesh()
        self.mesh.owners[MINE] = "me"
        self.core = Core("me", b"me----", self.mesh, lambda: 0.5)
        self.record: AddressRecord = self.core.table.use(VIP, 0.0)
        for mac in (MINE, ALPHA):
            self.record.answer(mac, 0.0)
        for mac in clients:
            self.core.table.client(self.record, mac, ip_of(mac), 0.0)
        self.members: dict[bytes, bytes] = {}
        """The MAC address that serves a client, by that of the client."""
        self.announcing = Announcing(self.core, lambda record, client: self.members.get(client.mac))

    def sent(self) -> list[Message]:
        actions, self.core.actions = self.core.actions, []
        messages = [parse(action.frame) for action in actions if isinstance(action, SendFrame)]
        return [message for message in messages if message is not None]

    def play(self, until: float = 10.0) -> dict[float, list[Message]]:
        told: dict[float, list[Message]] = {}
        while (now := self.announcing.next_deadline()) <= until:
            self.announcing.tick(now)
            told[round(now, 3)] = self.sent()
        return told


def test_every_client_is_asked_for_its_own_address_in_the_name_of_the_virtual_one() -> None:
    stage = Stage(REMOTE, OTHER)
    stage.announcing.start(stage.record, MINE, 1.0)
    told = stage.play()
    assert list(told) == [round(1.0 + delay, 3) for delay in ROUNDS]
    for messages in told.values():
        everybody, *clients = messages
        assert everybody[:3] == (Kind.ANNOUNCEMENT, MINE, VIP)
        assert everybody.to == BROADCAST
        assert {message.to for message in clients} == {REMOTE, OTHER}
        for message in clients:
            assert message[:4] == (Kind.QUESTION, MINE, VIP, ip_of(message.to))


def test_a_client_whose_frames_arrive_is_told_no_more() -> None:
    stage = Stage(REMOTE, OTHER)
    stage.announcing.start(stage.record, MINE, 1.0)
    stage.announcing.tick(1.0)
    stage.sent()
    stage.mesh.uses[MINE, REMOTE, VIP] = 1.05
    told = stage.play()
    assert {message.to for messages in told.values() for message in messages[1:]} == {OTHER}


def test_own_stations_other_holders_and_clients_of_nobody_are_not_told() -> None:
    stage = Stage(LOCAL, ALPHA, b"\x02\0\0\0\0\x77")
    stage.announcing.start(stage.record, MINE, 1.0)
    for messages in stage.play().values():
        assert [message.to for message in messages] == [BROADCAST]


def test_a_member_that_stops_serving_tells_no_client() -> None:
    stage = Stage(REMOTE)
    stage.announcing.start(stage.record, MINE, 1.0)
    stage.announcing.tick(1.0)
    stage.announcing.stop(VIP)
    stage.sent()
    assert stage.play() == {}


def test_many_clients_are_told_in_portions() -> None:
    clients = [b"\x02\0\0\1" + number.to_bytes(2, "big") for number in range(2 * PACE + 10)]
    stage = Stage(*clients)
    stage.mesh.owners |= dict.fromkeys(clients, "cee")
    stage.announcing.start(stage.record, MINE, 0.0)
    told = stage.play(3 * PAUSE - 0.01)
    assert [sum(message.to != BROADCAST for message in messages) for messages in told.values()] == [
        PACE,
        PACE,
        10,
    ]


def test_the_clients_of_a_node_that_has_come_are_told_and_nobody_else() -> None:
    stage = Stage(REMOTE, OTHER)
    stage.mesh.owners[OTHER] = "dee"
    stage.announcing.welcome(stage.record, MINE, "dee", 1.0)
    told = stage.play()
    assert list(told) == [round(1.0 + delay, 3) for delay in ROUNDS]
    for messages in told.values():
        assert [message.to for message in messages] == [OTHER]


def test_nodes_that_come_one_after_the_other_are_told_together() -> None:
    stage = Stage(REMOTE, OTHER)
    stage.mesh.owners[OTHER] = "dee"
    for node in ("cee", "dee"):
        stage.announcing.welcome(stage.record, MINE, node, 1.0)
    stage.announcing.tick(1.0)
    assert {message.to for message in stage.sent()} == {REMOTE, OTHER}


def test_nobody_is_welcomed_by_a_member_that_does_not_serve_any_more() -> None:
    stage = Stage(REMOTE)
    stage.announcing.welcome(stage.record, MINE, "cee", 1.0)
    stage.announcing.stop(VIP)
    assert stage.play() == {}


def test_each_client_can_be_told_another_holder_and_nobody_hears_an_announcement() -> None:
    stage = Stage(REMOTE, OTHER, LOCAL)
    stage.mesh.owners[LOCAL] = "me"
    stage.members = {REMOTE: ALPHA, OTHER: MINE, LOCAL: MINE}
    stage.announcing.tell(stage.record, [REMOTE, LOCAL], 1.0, 1.0)
    first = stage.sent()
    assert {message.to: message.mac for message in first} == {REMOTE: ALPHA, LOCAL: MINE}
    assert {message.kind for message in first} == {Kind.QUESTION}
    told = stage.play()
    assert list(told) == [round(1.0 + delay, 3) for delay in ROUNDS[1:]]
    assert all({message.to for message in messages} == {REMOTE, LOCAL} for messages in told.values())


def test_clients_that_are_forgotten_are_told_no_more_and_need_no_room() -> None:
    stage = Stage(REMOTE, OTHER)
    stage.members = {REMOTE: ALPHA, OTHER: ALPHA}
    stage.announcing.tell(stage.record, [REMOTE], 1.0, 1.0)
    stage.core.table.drop_client(stage.record, REMOTE)
    stage.announcing.tell(stage.record, [OTHER], 1.05, 1.05)
    stage.sent()
    # Another client comes with the same MAC address.
    stage.core.table.client(stage.record, REMOTE, ip_of(REMOTE), 1.1)
    told = stage.play()
    assert told
    assert all({message.to for message in messages} == {OTHER} for messages in told.values())


def test_a_client_is_told_who_serves_it_when_the_round_comes() -> None:
    stage = Stage(REMOTE, OTHER)
    stage.members = {REMOTE: ALPHA, OTHER: ALPHA}
    stage.announcing.tell(stage.record, [REMOTE], 1.0, 1.0)
    stage.announcing.tell(stage.record, [OTHER], 1.05, 1.05)
    stage.sent()
    stage.members = {REMOTE: MINE}
    stage.announcing.tick(1.2)
    assert {message.to: message.mac for message in stage.sent()} == {REMOTE: MINE}
