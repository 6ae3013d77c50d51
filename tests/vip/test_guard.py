"""The guard through its front door: events in, frames and other actions out, on a virtual clock.

Three servers hold one address: ``alpha``, ``beta`` and ``gamma``. The guard's node is ``me``; ``cee`` is a C
node.
"""

from __future__ import annotations

import heapq
import itertools
import math
import random
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

import pytest

from pytinc.vip.actions import (
    Action,
    Changed,
    Gone,
    KeepWarm,
    NewRules,
    Notice,
    SendFrame,
    SendProbe,
    SetSilent,
)
from pytinc.vip.addresses import MAX_ADDRESSES, MAX_ALL_CLIENTS
from pytinc.vip.asking import MAX_CLAIMS
from pytinc.vip.guard import Guard
from pytinc.vip.healing import choose
from pytinc.vip.views import AddressView, HolderState
from pytinc.wire.neighbour import GUARD_ADDRESS, GUARD_MAC, NO_NOTE, NOBODY, Kind, Message, parse

BROADCAST = b"\xff" * 6
VIP = bytes((10, 1, 1, 10))
VIP6 = bytes.fromhex("fd00") + bytes(13) + b"\x10"
ALPHA, BETA, GAMMA, LOCAL, REMOTE, OTHER = (bytes((2, 0, 0, 0, 0, number)) for number in range(1, 7))
OWNERS = {ALPHA: "alpha", BETA: "beta", GAMMA: "gamma", LOCAL: "me", REMOTE: "cee", OTHER: "cee"}
SERVERS = (ALPHA, BETA, GAMMA)
A = TypeVar("A", bound=Action)


def ip_of(mac: bytes) -> bytes:
    return bytes((10, 1, 2, mac[5]))


def ip6_of(mac: bytes) -> bytes:
    return VIP6[:8] + bytes(6) + mac[4:]


def asks(mac: bytes, target: bytes = VIP, *, address: bytes | None = None, to: bytes = BROADCAST) -> Message:
    own = ip_of(mac) if len(target) == 4 else ip6_of(mac)
    return Message(Kind.QUESTION, mac, own if address is None else address, target, to)


def answers(mac: bytes, to: bytes, address: bytes = VIP, target: bytes = bytes(4)) -> Message:
    return Message(Kind.ANSWER, mac, address, target, to)


def announces(mac: bytes, address: bytes = VIP) -> Message:
    return Message(Kind.ANNOUNCEMENT, mac, address, address, BROADCAST)


def lone(node_id: bytes, address: bytes = VIP) -> Message:
    """The question of another guard."""
    return Message(Kind.PROBE, GUARD_MAC, NOBODY, address, BROADCAST, node_id)


class Sent(NamedTuple):
    at: float
    message: Message
    source: bytes


@dataclass
class Mesh:
    """The facts that the guard asks for."""

    owners: dict[bytes, str] = field(default_factory=lambda: dict(OWNERS))
    unreachable: set[str] = field(default_factory=set)
    hops: dict[str, str | None] = field(default_factory=dict)
    relayed: dict[str, tuple[str | None, float]] = field(default_factory=dict)
    """Who brought a node's last datagram that did not come straight, and when."""
    frames: dict[str, int] = field(default_factory=dict)
    uses: dict[tuple[bytes, bytes, bytes], float] = field(default_factory=dict)
    guards: set[str] = field(default_factory=set)
    ids: dict[bytes, str] = field(default_factory=dict)
    rival_nodes: set[str] = field(default_factory=set)
    alone: bool = False

    def owner(self, mac: bytes) -> str | None:
        return self.owners.get(mac)

    def is_reachable(self, node: str) -> bool:
        return node not in self.unreachable

    def is_alone(self) -> bool:
        return self.alone

    def first_hop(self, node: str) -> str | None:
        return None if node in self.unreachable else self.hops.get(node, node)

    def last_hop(self, node: str, since: float) -> str | None:
        relay, at = self.relayed.get(node, (None, -math.inf))
        return relay if at >= since else None

    def received(self, node: str) -> int:
        return self.frames.get(node, 0)

    def last_use(self, holder: bytes, client: bytes, address: bytes) -> float:
        return self.uses.get((holder, client, address), -math.inf)

    def is_guard(self, node: str) -> bool:
        return node in self.guards

    def name_of(self, node_id: bytes) -> str | None:
        return self.ids.get(node_id)

    def has_rivals(self) -> bool:
        return bool(self.rival_nodes)

    def rivals(self, now: float) -> Iterable[str]:
        return self.rival_nodes


class World:
    """A guard, its clock, peers that answer its probes, and servers that answer its questions."""

    def __init__(self, me: str = "me", *, addresses: bool = True, seed: int = 1) -> None:
        self.mesh = Mesh()
        self.id = me.encode().ljust(6, b"-")[:6]
        self.guard = Guard(me, self.id, self.mesh, random.Random(seed).random)
        self.now = 0.0
        self.dead: set[str] = set()
        self.servers: dict[bytes, tuple[bytes, ...]] = {VIP: SERVERS}
        """Who answers for each address, as long as its node is not dead."""
        self.deaf: set[bytes] = set()
        """Clients that do not take over what they are told."""
        self.streams: dict[bytes, bytes] = {}
        """Local clients that send a frame every 10 ms, and the holder they send it to."""
        self.sent: list[Sent] = []
        self.actions: list[tuple[float, Action]] = []
        self._events: list[tuple[float, int, Message | tuple[str, bytes]]] = []
        self._numbers = itertools.count()
        self._next_stream = 0.0
        self._asleep_until = 0.0
        self.guard.configure(0.0, enabled=True, addresses=addresses, interval=0.1)
        self.take()

    # -- the clock --

    def until(self, end: float) -> World:
        while True:
            event = self._events[0][0] if self._events else math.inf
            stream = self._next_stream if self.streams else math.inf
            due = self.guard.next_deadline()
            if min(event, stream, due) > end or self._asleep_until > end:
                self.now = max(self.now, end)
                return self
            self.now = max(self.now, min(event, stream, due), self._asleep_until)
            if due <= self.now:
                self.guard.tick(self.now)
                self.take()
            if self.streams and self._next_stream <= self.now:
                self._stream()
            while self._events and self._events[0][0] <= self.now:
                self._happen(heapq.heappop(self._events)[2])

    def sleep(self, seconds: float) -> None:
        """The guard's node stands still."""
        self._asleep_until = self.now + seconds

    def _stream(self) -> None:
        self._next_stream = self.now + 0.01
        for client, holder in self.streams.items():
            for address in self.servers:
                new = (holder, client, address) not in self.mesh.uses
                self.mesh.uses[holder, client, address] = self.now
                if new:
                    own = ip_of(client) if len(address) == 4 else ip6_of(client)
                    self.guard.used(holder, client, own, address, self.now)
        self.take()

    def _happen(self, event: Message | tuple[str, bytes]) -> None:
        if isinstance(event, Message):
            self.guard.message(event, self.now, from_device=self.mesh.owner(event.mac) == "me")
        else:
            self.guard.probe_answered(*event, self.now)
        self.take()

    def later(self, seconds: float, event: Message | tuple[str, bytes]) -> None:
        heapq.heappush(self._events, (self.now + seconds, next(self._numbers), event))

    def hear(self, message: Message, at: float | None = None) -> None:
        if at is not None:
            self.until(at)
        self._happen(message)

    # -- what comes out --

    def take(self) -> None:
        for action in self.guard.take_actions():
            self.actions.append((self.now, action))
            if isinstance(action, SendProbe):
                if action.node not in self.dead:
                    self.later(0.002, (action.node, action.nonce))
            elif isinstance(action, SendFrame):
                message = parse(action.frame)
                assert message is not None
                self.sent.append(Sent(self.now, message, action.frame[6:12]))
                self._answer(message)

    def _answer(self, message: Message) -> None:
        """Servers answer, and clients that are asked for in our own sight believe it."""
        for server in self.servers.get(message.target, ()):
            for_it = message.to in (BROADCAST, server) or message.to[:2] == b"\x33\x33"
            if self.mesh.owners[server] in self.dead or not for_it:
                continue
            seen_here = message.mac == GUARD_MAC or "me" in (
                self.mesh.owner(message.mac),
                self.mesh.owner(server),
            )
            if seen_here:
                self.later(0.005, answers(server, message.mac, message.target, message.address or bytes(4)))
            if message.mac in self.streams and message.mac not in self.deaf:
                self.streams[message.mac] = server

    def all(self, kind: type[A]) -> list[A]:
        return [action for _, action in self.actions if isinstance(action, kind)]

    def in_names(self, *, after: float = -1.0) -> list[Sent]:
        """Questions in clients' names."""
        return [
            sent
            for sent in self.sent
            if sent.at >= after
            and sent.message.kind is Kind.QUESTION
            and sent.message.target in self.servers
            and GUARD_MAC not in (sent.message.mac, sent.message.to)
        ]

    def lone(self, address: bytes = VIP) -> list[Sent]:
        return [s for s in self.sent if s.message.mac == GUARD_MAC and s.message.target == address]

    def claims(self) -> list[Sent]:
        """Corrections: questions to one client for its own address."""
        return [s for s in self.sent if s.message.kind is Kind.QUESTION and s.message.address in self.servers]

    def probed(self, *, after: float) -> set[str]:
        return {a.node for at, a in self.actions if isinstance(a, SendProbe) and at >= after}

    def notices(self) -> list[str]:
        return [notice.message for notice in self.all(Notice) if notice.level == 0]

    def view(self, address: str = "10.1.1.10") -> AddressView:
        return next(view for view in self.guard.view(self.now).addresses if view.address == address)

    @property
    def counters(self) -> dict[str, int]:
        counters = self.guard.view(self.now).counters
        return {name: getattr(counters, name) for name in counters.__slots__}

    # -- scenes --

    def local_client(self, holder: bytes = ALPHA, until: float = 5.0) -> World:
        """A station behind our device asked for the address and uses it."""
        self.hear(asks(LOCAL))
        for server in self.servers[VIP]:
            self.later(0.003, answers(server, LOCAL, VIP, ip_of(LOCAL)))
        self.until(self.now + 0.02)
        self.streams[LOCAL] = holder
        return self.until(until)

    def remote_client(self, holder: bytes | None = None, until: float = 5.0) -> World:
        """A station behind the C node asked for the address."""
        self.hear(asks(REMOTE))
        self.until(until)
        if holder is not None:
            self.hear(asks(REMOTE, to=holder))
        return self

    def kill(self, node: str) -> None:
        self.dead.add(node)


# -- who shares what --


def test_an_address_that_a_local_station_asks_for_and_two_nodes_answer_is_shared() -> None:
    world = World().local_client()
    view = world.view()
    assert view.shared
    assert [holder.node for holder in view.holders] == ["alpha", "beta", "gamma"]
    assert [client.address for client in view.clients] == ["10.1.2.4"]
    (notice,) = world.notices()
    assert notice.startswith("10.1.1.10 is held by alpha (02:00:00:00:00:01) and beta")


def test_an_address_that_a_station_elsewhere_asks_for_is_asked_for_in_our_own_name() -> None:
    world = World().remote_client()
    sent = world.lone()[0]
    assert 0.2 <= sent.at <= 0.7
    assert sent.message.note == world.id
    assert sent.message.address == NOBODY
    assert sent.source == GUARD_MAC
    assert world.view().shared


def test_one_mac_that_answers_for_many_addresses_makes_nothing_shared() -> None:
    """Proxy ARP."""
    world = World()
    addresses = [bytes((10, 1, 3, last)) for last in range(30)]
    world.servers = dict.fromkeys(addresses, (ALPHA,))
    for address in addresses:
        world.hear(asks(LOCAL, address))
        world.hear(answers(ALPHA, LOCAL, address))
    world.until(30.0)
    assert not any(view.shared for view in world.guard.view(30.0).addresses)
    assert world.notices() == []


def test_one_host_with_two_macs_makes_nothing_shared() -> None:
    world = World()
    world.mesh.owners[BETA] = "alpha"
    world.servers[VIP] = (ALPHA, BETA)
    world.local_client(until=40.0)
    assert not world.view().shared
    assert world.notices() == []
    assert world.probed(after=0.0) == set()


def test_an_address_that_moves_is_not_shared() -> None:
    world = World()
    world.servers[VIP] = (ALPHA,)
    world.local_client(until=300.0)
    world.servers[VIP] = (BETA,)
    world.hear(announces(BETA))
    world.streams[LOCAL] = BETA
    world.until(1200.0)
    assert not world.view().shared
    assert world.notices() == []
    assert world.in_names() == []


def test_an_address_that_nobody_uses_is_asked_for_no_more() -> None:
    world = World().local_client()
    world.streams.clear()
    world.until(700.0)
    before = len(world.lone())
    world.until(3000.0)
    assert len(world.lone()) == before
    assert world.probed(after=100.0) == set()


def test_an_address_that_is_not_shared_is_asked_for_ever_less_often() -> None:
    world = World()
    world.servers[VIP] = (ALPHA,)
    world.local_client(until=3600.0)
    asked = world.lone()
    assert 8 <= len(asked) <= 16
    assert asked[-1].at - asked[-2].at > 400


def test_a_shared_address_is_asked_for_every_half_minute() -> None:
    world = World().local_client(until=300.0)
    assert 8 <= len(world.lone()) <= 14


def test_a_lone_question_for_ipv6_comes_from_the_guards_address_and_is_answered_for_later() -> None:
    world = World()
    world.servers = {VIP6: SERVERS}
    world.hear(asks(REMOTE, VIP6))
    world.until(2.0)
    sent = world.lone(VIP6)[0]
    assert sent.message.address == GUARD_ADDRESS
    assert world.view("fd00::10").shared
    world.hear(asks(ALPHA, GUARD_ADDRESS, to=GUARD_MAC))
    assert world.sent[-1].message[:4] == (Kind.ANSWER, GUARD_MAC, GUARD_ADDRESS, ip6_of(ALPHA))


def test_link_local_addresses_are_not_asked_for() -> None:
    world = World()
    world.hear(asks(LOCAL, bytes.fromhex("fe80") + bytes(13) + b"\x07", address=ip6_of(LOCAL)))
    world.until(5.0)
    assert all(s.message.target[:2] != b"\xfe\x80" for s in world.sent)


# -- who is watched --


def test_only_the_node_of_the_holder_that_a_local_client_uses_is_watched() -> None:
    world = World().local_client(BETA, until=10.0)
    assert world.probed(after=1.0) == {"beta"}
    probes = [at for at, action in world.actions if isinstance(action, SendProbe) and at > 5.0]
    assert 45 <= len(probes) <= 55


def test_nobody_is_watched_when_the_client_is_idle() -> None:
    world = World().local_client(BETA, until=10.0)
    world.streams.clear()
    world.until(40.0)
    assert world.probed(after=25.0) == set()


def test_the_relay_is_probed_for_a_node_that_is_behind_it() -> None:
    world = World()
    world.mesh.hops["beta"] = "relay"
    world.local_client(BETA, until=10.0)
    assert world.probed(after=1.0) == {"relay"}
    world.kill("relay")
    world.until(11.0)
    (first, *_) = world.in_names()
    assert first.message.to in (ALPHA, GAMMA)


def test_the_relay_that_brings_a_holders_answers_is_probed_as_well() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", math.inf)
    world.until(10.0)
    assert world.probed(after=5.0) == {"beta", "relay"}
    world.kill("relay")
    world.until(11.0)
    (first, *_) = world.in_names()
    assert first.message.to in (ALPHA, GAMMA)
    assert world.streams[LOCAL] == first.message.to
    world.until(20.0)
    assert len(world.in_names()) == 1


def test_a_relay_that_brought_nothing_lately_takes_nobody_with_it() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", 4.0)
    world.until(15.0)
    assert world.probed(after=5.0) == {"beta", "relay"}
    world.kill("relay")
    world.until(25.0)
    assert world.in_names() == []
    assert world.all(SetSilent) == []


def silences(world: World, node: str) -> list[bool]:
    """What the node was told of one, in order."""
    return [action.silent for action in world.all(SetSilent) if action.node == node]


def test_a_node_that_a_relay_leads_to_after_it_fell_silent_is_there_again() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    assert silences(world, "alpha") == [True]
    world.mesh.hops["alpha"] = "relay"
    world.until(20.0)
    assert silences(world, "alpha") == [True, False]
    states = {holder.node: holder.state for holder in world.view().holders}
    assert states["alpha"] is not HolderState.SILENT


def test_a_station_that_uses_such_a_node_again_is_not_moved_when_another_one_dies() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    world.mesh.hops["alpha"] = "relay"
    world.until(20.0)
    world.streams[LOCAL] = ALPHA
    world.until(30.0)
    world.kill("beta")
    world.kill("gamma")
    world.until(40.0)
    assert world.in_names(after=30.0) == []
    assert world.streams[LOCAL] == ALPHA


def test_a_client_that_was_led_away_is_asked_for_again_only_when_the_holder_dies_that_it_had() -> None:
    world = World().remote_client(ALPHA)
    world.kill("alpha")
    world.until(12.0)
    first = world.in_names()[0].message.to
    world.dead.remove("alpha")
    world.until(20.0)
    third = next(mac for mac in (BETA, GAMMA) if mac != first)
    world.kill(OWNERS[third])
    world.until(30.0)
    assert world.in_names(after=20.0) == []
    world.kill("alpha")
    world.until(35.0)
    assert {sent.message.to for sent in world.in_names(after=30.0)} == {first}


def test_a_client_is_told_of_the_holder_that_answered_from_the_second_question_on() -> None:
    world = World().remote_client(ALPHA)
    world.kill("alpha")
    world.until(12.0)
    asked = world.in_names()
    claims = world.claims()
    assert claims
    assert {claim.message.mac for claim in claims} == {asked[0].message.to}
    assert {claim.message.to for claim in claims} == {REMOTE}
    assert min(claim.at for claim in claims) == asked[1].at


@pytest.mark.parametrize("end", ["leaves the mesh", "falls silent"])
def test_a_holder_that_says_it_will_leave_is_watched_over_until_it_has_left(end: str) -> None:
    """With two holders, too: its own questions may be lost."""
    world = World()
    world.servers[VIP] = (ALPHA, BETA)
    world.mesh.ids[b"alpha-"] = "alpha"
    world.local_client(ALPHA, until=10.0)
    world.kill("alpha")
    world.hear(lone(bytes(byte ^ 0xFF for byte in b"alpha-")))
    if end == "leaves the mesh":
        world.until(10.1)
        world.mesh.unreachable.add("alpha")
        world.guard.reachability("alpha", world.now, reachable=False)
        world.take()
    world.until(12.0)
    assert world.streams[LOCAL] == BETA


def test_a_node_that_is_silent_itself_stays_so_when_a_relay_of_its_frames_answers_again() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", math.inf)
    world.until(10.0)
    world.kill("relay")
    world.kill("beta")
    world.until(12.0)
    world.dead.remove("relay")
    world.until(20.0)
    assert silences(world, "relay") == [True, False]
    assert silences(world, "beta") == [True]
    world.dead.remove("beta")
    world.until(30.0)
    assert silences(world, "beta") == [True, False]


def test_a_node_whose_frames_a_silent_relay_brought_stays_silent_until_it_comes_another_way() -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", 9.9)
    world.until(10.0)
    world.kill("relay")
    world.until(60.0)
    assert silences(world, "beta") == [True]
    # A frame that came straight.
    world.mesh.frames["beta"] = 1
    world.until(65.0)
    assert silences(world, "beta") == [True, False]
    assert world.streams[LOCAL] in (ALPHA, GAMMA)


@pytest.mark.parametrize("end", ["answers again", "leaves the mesh"])
def test_a_node_behind_a_silent_relay_is_freed_by_the_relays_end(end: str) -> None:
    world = World().local_client(BETA, until=4.0)
    world.mesh.relayed["beta"] = ("relay", 9.9)
    world.until(10.0)
    world.kill("relay")
    world.until(20.0)
    assert silences(world, "beta") == [True]
    if end == "answers again":
        world.dead.remove("relay")
    else:
        world.mesh.unreachable.add("relay")
        world.guard.reachability("relay", world.now, reachable=False)
        world.take()
    world.until(30.0)
    assert silences(world, "beta") == [True, False]
    states = {holder.node: holder.state for holder in world.view().holders}
    assert states["beta"] is not HolderState.SILENT


def test_who_does_not_answer_any_more_is_not_asked_for_ever() -> None:
    """Its host lost the address, or stopped to answer, and nobody has noticed."""
    world = World().local_client(ALPHA)
    world.kill("alpha")
    chosen = choose(VIP, LOCAL, (BETA, GAMMA))
    world.servers[VIP] = tuple(mac for mac in SERVERS if mac != chosen)
    world.until(8.0)
    assert world.streams[LOCAL] == next(mac for mac in (BETA, GAMMA) if mac != chosen)


def test_a_client_moves_when_the_relay_dies_that_brings_its_frames_to_our_host() -> None:
    world = World()
    world.mesh.owners[ALPHA] = "me"
    world.remote_client(ALPHA)
    world.mesh.relayed["cee"] = ("relay", math.inf)
    world.streams[REMOTE] = ALPHA
    world.until(10.0)
    assert "relay" in world.probed(after=5.0)
    world.kill("relay")
    world.until(11.0)
    (first, *_) = world.in_names()
    assert 10.0 < first.at < 10.5
    assert first.message.mac == REMOTE
    assert first.message.to in (BETA, GAMMA)


# -- a holder falls silent: local clients --


def test_a_local_client_is_asked_for_at_one_of_the_other_holders_and_moves() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    (sent,) = world.in_names()
    assert 5.0 < sent.at <= 5.4
    assert sent.message[:4] == (Kind.QUESTION, LOCAL, ip_of(LOCAL), VIP)
    assert sent.message.to in (BETA, GAMMA)
    assert sent.source == GUARD_MAC
    assert sent.message.note == NO_NOTE
    assert world.streams[LOCAL] == sent.message.to
    assert world.counters["failovers"] == world.counters["questions"] == 1


def test_a_person_and_the_script_are_told_who_fell_silent_and_who_answers() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    to = OWNERS[world.streams[LOCAL]]
    notice = world.notices()[-1]
    assert notice.startswith("10.1.1.10: alpha is silent for 0.2")
    assert "1 client" in notice
    assert notice.endswith(f"{to} answers")
    (changed,) = world.all(Changed)
    assert changed.environment["VIP"] == "10.1.1.10"
    assert (changed.environment["OLDNODE"], changed.environment["NODE"]) == ("alpha", to)
    assert (changed.environment["REASON"], changed.environment["CLIENTS"]) == ("silent", "1")
    failover = world.view().failover
    assert failover is not None
    assert failover.seconds is not None
    assert 0.2 <= failover.seconds <= 0.4
    assert world.guard.view(world.now).last_failover_s == failover.seconds


def test_a_client_that_does_not_move_is_asked_for_again_for_three_seconds_at_the_same_holder() -> None:
    world = World()
    world.deaf.add(LOCAL)
    world.local_client(ALPHA)
    world.kill("alpha")
    world.until(30.0)
    asked = world.in_names()
    begin = asked[0].at
    times = [round(sent.at - begin, 2) for sent in asked]
    assert {0, 0.1, 0.3, 1.1, 3.0} <= set(times)
    assert len(times) <= 12
    assert times[-1] == 3.0
    assert len({sent.message.to for sent in asked}) == 1


def test_the_new_holders_death_moves_the_client_again() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(20.0)
    second = world.streams[LOCAL]
    world.kill(OWNERS[second])
    world.until(30.0)
    assert {world.streams[LOCAL], second, ALPHA} == set(SERVERS)
    assert len(world.in_names()) == 2


def test_where_no_other_holder_is_left_all_are_asked() -> None:
    world = World().local_client(ALPHA)
    world.mesh.unreachable |= {"beta", "gamma"}
    world.dead |= {"alpha", "beta", "gamma"}
    world.until(6.0)
    assert {sent.message.to for sent in world.in_names()} == {BROADCAST}
    assert world.streams[LOCAL] == ALPHA


def test_the_client_is_not_led_to_a_holder_that_died_at_the_same_time() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.kill("beta")
    world.until(12.0)
    assert world.streams[LOCAL] == GAMMA


def test_a_node_that_leaves_the_graph_counts_at_once() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.mesh.unreachable.add("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.take()
    world.until(5.05)
    (sent,) = world.in_names()
    assert sent.at <= 5.03
    world.until(10.0)
    assert "alpha has left the mesh" in world.notices()[-1]


def test_a_closed_connection_hurries_the_verdict_about_a_dead_node_only() -> None:
    world = World().local_client(ALPHA)
    world.guard.connection_closed("alpha", world.now)
    world.take()
    world.until(6.0)
    assert world.in_names() == []
    world.kill("alpha")
    world.guard.connection_closed("alpha", world.now)
    world.take()
    world.until(8.0)
    (sent,) = world.in_names()
    assert sent.at <= 6.35


def test_clients_of_other_holders_stay_where_they_are() -> None:
    world = World()
    world.mesh.owners[OTHER] = "me"
    world.hear(asks(OTHER))
    world.until(0.5)
    world.local_client(ALPHA, until=1.0)
    world.streams[OTHER] = BETA
    world.until(5.0)
    world.kill("alpha")
    world.until(10.0)
    assert [sent.message.mac for sent in world.in_names()] == [LOCAL]
    assert world.streams[OTHER] == BETA


def test_a_holder_of_ipv6_is_left_as_well() -> None:
    world = World()
    world.servers = {VIP6: SERVERS}
    world.hear(asks(LOCAL, VIP6, to=b"\x33\x33\xff\0\0\x10"))
    for server in SERVERS:
        world.later(0.003, answers(server, LOCAL, VIP6))
    world.until(1.0)
    world.mesh.uses[ALPHA, LOCAL, VIP6] = 1.0
    world.guard.used(ALPHA, LOCAL, ip6_of(LOCAL), VIP6, 1.0)
    world.until(3.0)
    world.kill("alpha")
    world.until(4.0)
    first = world.in_names()[0]
    assert first.message[:4] == (Kind.QUESTION, LOCAL, ip6_of(LOCAL), VIP6)
    assert first.message.to in (BETA, GAMMA)


# -- a holder falls silent: clients behind C nodes --


@pytest.mark.parametrize("seed", range(5))
def test_a_caller_asks_for_a_client_elsewhere_after_a_short_random_wait(seed: int) -> None:
    world = World(seed=seed).remote_client(ALPHA)
    world.until(8.0)
    assert world.probed(after=2.0) == {"alpha", "beta", "gamma"}
    world.kill("alpha")
    world.until(9.0)
    silent = next(at for at, action in world.actions if action == SetSilent("alpha", silent=True))
    (first, *_) = world.in_names()
    assert 0.01 <= first.at - silent <= 0.051
    assert first.message[:4] == (Kind.QUESTION, REMOTE, ip_of(REMOTE), VIP)
    assert first.message.to in (BETA, GAMMA)
    # Everybody hears that somebody has asked.
    assert [sent.at for sent in world.lone()][-1] == first.at


def test_a_client_of_a_guarded_node_or_of_another_holder_is_left_to_itself() -> None:
    world = World()
    world.mesh.guards.add("cee")
    world.remote_client(ALPHA)
    world.kill("alpha")
    world.until(10.0)
    assert world.in_names() == []
    assert world.probed(after=0.0) == set()
    second = World().remote_client(BETA)
    second.until(8.0)
    second.kill("alpha")
    second.until(12.0)
    assert second.in_names() == []


def test_another_guards_question_in_that_wait_leaves_the_first_rounds_to_it() -> None:
    world = World().remote_client(ALPHA, until=8.0)
    world.kill("alpha")
    while not any(action == SetSilent("alpha", silent=True) for _, action in world.actions):
        world.until(world.now + 0.001)
    verdict = world.now
    world.mesh.ids[b"other-"] = "other"
    world.hear(lone(b"other-"))
    world.until(verdict + 1.0)
    assert world.in_names() == []
    world.until(verdict + 10.0)
    assert len(world.in_names()) == 2


def test_three_guards_of_many_care_and_the_others_stand_by() -> None:
    worlds = {f"guard{number}": World(f"guard{number}", seed=number) for number in range(8)}
    for world in worlds.values():
        world.mesh.ids = {other.id: name for name, other in worlds.items()}
        assert len(world.mesh.ids) == 8
        world.hear(asks(REMOTE))
    # Every guard hears the lone questions of all others.
    heard = dict.fromkeys(worlds, 0)
    for step in range(1, 800):
        for name, world in worlds.items():
            world.until(step / 10)
            asked = world.lone()
            for sent in asked[heard[name] :]:
                for other in worlds.values():
                    if other is not world:
                        other.hear(sent.message)
                        for server in SERVERS:
                            other.later(0.005, answers(server, GUARD_MAC))
            heard[name] = len(asked)
    watching = {name for name, world in worlds.items() if world.probed(after=78.0)}
    assert len(watching) == 3
    for world in worlds.values():
        world.kill("alpha")
        world.until(85.0)
    # Without hearing each other now, the three ask, and nobody else.
    assert {name for name, world in worlds.items() if world.in_names(after=79.0)} == watching
    # And all of them lead the client to the same holder.
    assert len({s.message.to for world in worlds.values() for s in world.in_names(after=79.0)}) == 1


def test_a_silent_node_that_answers_over_meta_connections_has_not_gone() -> None:
    world = World().remote_client(ALPHA, until=8.0)
    world.kill("alpha")
    world.until(8.25)
    assert world.counters["suspicions"] == 1
    world.guard.meta_answered("alpha", world.now)
    world.until(15.0)
    assert world.in_names() == []


def test_a_local_client_of_it_is_moved_all_the_same() -> None:
    """Its own frames go by UDP, too."""
    world = World().local_client(ALPHA, until=8.0)
    world.kill("alpha")
    world.until(8.25)
    world.guard.meta_answered("alpha", world.now)
    world.until(9.0)
    assert len(world.in_names()) == 1


# -- false alarms --


def test_a_false_suspicion_is_counted_and_harmless() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    while not world.counters["suspicions"]:
        assert world.now < 6.0
        world.until(world.now + 0.01)
    world.dead.clear()
    world.until(20.0)
    assert world.counters["false_suspicions"] == 1
    assert world.in_names() == []
    assert world.counters["failovers"] == 0
    assert world.all(Changed) == []


def test_a_wrong_verdict_ends_with_the_first_answer() -> None:
    world = World()
    world.deaf.add(LOCAL)
    world.local_client(ALPHA)
    world.kill("alpha")
    world.until(5.5)
    assert 1 <= len(world.in_names()) <= 4
    world.dead.clear()
    world.until(5.7)
    asked = len(world.in_names())
    world.until(20.0)
    assert len(world.in_names()) == asked
    assert world.streams[LOCAL] == ALPHA
    silent = [action.silent for action in world.all(SetSilent)]
    assert silent == [True, False]


@pytest.mark.parametrize("seconds", [0.4, 2.0, 30.0])
def test_when_the_own_node_stood_still_nobody_is_asked(seconds: float) -> None:
    world = World().local_client(ALPHA)
    world.sleep(seconds)
    world.until(5.0 + seconds + 10.0)
    assert world.in_names() == []
    assert world.counters["stalls"] == 1
    assert world.counters["failovers"] == 0


def test_a_node_that_reaches_nobody_concludes_nothing() -> None:
    world = World().local_client(ALPHA)
    world.mesh.alone = True
    world.dead |= {"alpha", "beta", "gamma"}
    world.until(20.0)
    assert world.in_names() == []


def test_a_holder_that_returns_moves_nobody() -> None:
    world = World().local_client(ALPHA)
    world.kill("alpha")
    world.until(20.0)
    new = world.streams[LOCAL]
    asked, corrected = len(world.in_names()), len(world.claims())
    world.dead.clear()
    world.until(60.0)
    world.guard.reachability("alpha", 60.0, reachable=True)
    world.take()
    world.until(120.0)
    assert world.streams[LOCAL] == new
    assert len(world.in_names()) == asked
    assert len(world.claims()) == corrected


# -- withdrawal --


def member(*, clients: bool = True) -> World:
    """We hold the address ourselves, with alpha and beta; a client of the C node uses us."""
    world = World()
    world.servers[VIP] = (LOCAL, ALPHA, BETA)
    world.hear(asks(REMOTE))
    world.until(2.0)
    assert world.view().shared
    if clients:
        world.hear(asks(REMOTE, to=LOCAL))
        world.mesh.uses[LOCAL, REMOTE, VIP] = 2.0
        world.guard.used(LOCAL, REMOTE, ip_of(REMOTE), VIP, 2.0)
        world.take()
    return world.until(3.0)


def test_a_member_that_stops_leads_its_clients_away_and_withholds_its_answers() -> None:
    world = member()
    world.mesh.uses[LOCAL, REMOTE, VIP] = world.now
    world.guard.withdraw(world.now)
    world.take()
    (sent,) = world.in_names()
    assert sent.at == 3.0
    assert sent.message.mac == REMOTE
    assert sent.message.to in (ALPHA, BETA)
    assert VIP in world.guard.rules.withheld
    assert world.all(NewRules)
    assert world.all(Gone) == []
    world.until(10.0)
    gone = [at for at, action in world.actions if isinstance(action, Gone)]
    assert len(gone) == 1
    assert 3.3 <= gone[0] <= 3.6
    assert "me withdraws" in world.notices()[-1]


def test_a_withdrawal_waits_for_clients_that_go_on_sending_but_not_for_ever() -> None:
    world = member()
    world.guard.withdraw(world.now)
    world.take()
    for step in range(300):
        world.mesh.uses[LOCAL, REMOTE, VIP] = world.now
        world.until(3.0 + step / 100)
    gone = [at for at, action in world.actions if isinstance(action, Gone)]
    assert len(gone) == 1
    assert 4.0 < gone[0] < 4.5


def test_a_withdrawal_without_other_holders_ends_at_once_and_withholds_nothing() -> None:
    world = World()
    world.servers[VIP] = (LOCAL,)
    world.hear(asks(REMOTE))
    world.until(3.0)
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1
    assert world.guard.rules.withheld == frozenset()
    assert world.in_names() == []


def test_a_withdrawal_with_only_dead_holders_beside_ends_at_once_and_withholds_nothing() -> None:
    world = member()
    world.mesh.unreachable |= {"alpha", "beta"}
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1
    assert world.guard.rules.withheld == frozenset()


def test_a_node_with_no_address_stops_at_once() -> None:
    world = World().local_client(ALPHA)
    world.guard.withdraw(world.now)
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1


def test_a_member_without_clients_withholds_and_ends_at_once() -> None:
    world = member(clients=False)
    world.guard.withdraw(world.now)
    world.take()
    world.until(10.0)
    assert len(world.all(Gone)) == 1


# -- corrections --


def misled(world: World, at: float, by: bytes = BETA) -> None:
    """A server's question for somebody names the address as its sender: all who hear it move."""
    world.hear(asks(by, bytes((10, 1, 2, 99)), address=VIP), at)


def test_a_client_that_was_led_away_is_told_where_it_was_after_20_ms() -> None:
    world = World().remote_client(ALPHA)
    misled(world, 8.0)
    world.until(9.0)
    (claim,) = world.claims()
    assert claim.at == pytest.approx(8.02, abs=0.005)
    assert claim.message == Message(Kind.QUESTION, ALPHA, VIP, ip_of(REMOTE), REMOTE)
    assert claim.source == GUARD_MAC
    assert world.counters["corrections"] == 1


def test_corrections_of_one_client_rest_longer_and_longer() -> None:
    world = World().remote_client(ALPHA)
    for step in range(600):
        misled(world, 8.0 + step / 10)
    world.until(69.0)
    gaps = [later.at - sooner.at for sooner, later in itertools.pairwise(world.claims())]
    assert gaps == pytest.approx([1.0, 10.0, 30.0], abs=0.3)


def test_local_clients_and_those_of_the_asker_are_not_corrected() -> None:
    world = World().local_client(ALPHA)
    world.remote_client(BETA, until=8.0)
    misled(world, 8.0, by=BETA)
    world.until(9.0)
    assert world.claims() == []


def test_nobody_is_led_back_to_a_holder_that_is_gone() -> None:
    world = World().remote_client(ALPHA)
    world.until(8.0)
    world.mesh.unreachable.add("alpha")
    misled(world, 8.0)
    world.until(9.0)
    assert world.claims() == []


def test_an_insider_who_says_to_have_the_address_is_not_followed_nor_helped() -> None:
    world = World().remote_client(ALPHA, until=8.0)
    for step in range(50):
        misled(world, 8.0 + step / 10, by=OTHER)
    assert world.claims() == []
    # But somebody looks soon who answers, and not as often as the insider wants.
    assert 1 <= len([sent for sent in world.lone() if sent.at >= 8.0]) <= 8


# -- addresses that are being claimed --


def test_a_host_that_makes_sure_that_nobody_has_an_address_is_not_disturbed() -> None:
    world = World()
    world.hear(Message(Kind.PROBE, OTHER, NOBODY, VIP, BROADCAST))
    world.hear(asks(REMOTE))
    world.until(9.9)
    assert world.lone() == []
    world.until(12.0)
    assert 10.0 <= world.lone()[0].at <= 10.1


def test_made_up_claims_are_bounded() -> None:
    world = World()
    for number in range(100_000):
        world.hear(Message(Kind.PROBE, OTHER, NOBODY, number.to_bytes(4, "big"), BROADCAST))
    assert len(world.guard._asking._claims) <= MAX_CLAIMS


# -- rules for the data path --


def test_a_member_asks_from_its_other_address_when_its_first_one_is_shared() -> None:
    world = World()
    world.servers |= {VIP: (LOCAL, ALPHA), ip_of(LOCAL): (LOCAL,)}
    world.hear(asks(LOCAL, bytes((10, 1, 2, 7)), address=VIP))
    world.hear(asks(LOCAL, bytes((10, 1, 2, 7)), address=ip_of(LOCAL)))
    world.hear(answers(LOCAL, REMOTE, VIP))
    world.hear(asks(REMOTE))
    world.until(5.0)
    assert world.guard.rules.senders == {VIP: ip_of(LOCAL)}
    assert VIP in world.guard.rules.own
    assert ip_of(LOCAL) in world.guard.rules.known
    assert VIP not in world.guard.rules.known


def test_an_address_of_a_host_is_known_when_nobody_else_answers_for_it() -> None:
    world = World()
    world.servers[ip_of(LOCAL)] = (LOCAL,)
    world.hear(asks(LOCAL, bytes((10, 1, 2, 7))))
    assert world.guard.rules.known == frozenset()
    world.until(3.0)
    assert world.guard.rules.known == {ip_of(LOCAL)}
    assert len(world.lone(ip_of(LOCAL))) <= 3


def test_the_holder_that_our_stations_use_and_all_holders_macs_are_in_the_rules() -> None:
    world = World().local_client(BETA)
    assert world.guard.rules.in_use == {VIP: BETA}
    assert world.guard.rules.macs == set(SERVERS)
    world.kill("beta")
    world.until(10.0)
    assert world.guard.rules.in_use == {VIP: world.streams[LOCAL]}


def test_at_the_verdict_the_data_path_lets_the_answers_through() -> None:
    world = World()
    world.deaf.add(LOCAL)
    world.local_client(BETA)
    world.kill("beta")
    while not world.in_names():
        world.until(world.now + 0.001)
    assert VIP not in world.guard.rules.in_use


def test_a_member_ticks_often_so_that_a_pause_is_noticed() -> None:
    world = member()
    assert world.guard.next_deadline() - world.now <= 0.2


# -- floods --


def test_an_insider_who_floods_announcements_and_questions_keeps_all_tables_bounded() -> None:
    world = World().local_client(ALPHA)
    for number in range(40_000):
        mac = b"\x06" + (number % 20_000).to_bytes(5, "big")
        address = (0x0B000000 + number).to_bytes(4, "big")
        world.guard.message(announces(mac, address), world.now, from_device=False)
        world.guard.message(
            Message(Kind.QUESTION, mac, address, address[:3] + b"\1", BROADCAST), world.now, from_device=False
        )
        world.guard.message(
            Message(Kind.QUESTION, mac, address, VIP, BROADCAST), world.now, from_device=False
        )
        world.guard.message(lone(mac), world.now, from_device=False)
    view = world.guard.view(world.now)
    assert len(view.addresses) <= MAX_ADDRESSES
    assert sum(len(address.clients) for address in view.addresses) <= MAX_ALL_CLIENTS
    assert world.view().shared
    # What it costs others is bounded, too.
    before = len(world.sent)
    world.until(15.0)
    assert len(world.sent) - before <= 20 + 10 * 10
    assert world.probed(after=0.0) <= {"alpha", "beta", "gamma"}


def test_a_flood_does_not_keep_a_client_from_being_moved() -> None:
    world = World().local_client(ALPHA)
    for number in range(20_000):
        mac = b"\x06" + number.to_bytes(5, "big")
        world.guard.message(announces(mac), world.now, from_device=False)
        scanned = (0x0B000000 + number % 60).to_bytes(4, "big")
        world.guard.message(asks(mac, scanned), world.now, from_device=False)
    world.until(10.0)
    world.kill("alpha")
    world.until(15.0)
    assert world.streams[LOCAL] in (BETA, GAMMA)


# -- settings --


def test_a_guard_that_is_switched_off_forgets_everything() -> None:
    world = World().local_client(ALPHA)
    world.guard.configure(world.now, enabled=False, addresses=False, interval=0.1)
    world.take()
    assert world.guard.next_deadline() == math.inf
    view = world.guard.view(world.now)
    assert not view.enabled
    assert view.addresses == ()
    assert view.watched == 0
    assert not world.guard.rules.macs
    before = len(world.actions)
    world.hear(asks(LOCAL))
    world.kill("alpha")
    world.guard.reachability("alpha", world.now, reachable=False)
    world.until(30.0)
    assert len(world.actions) == before
    world.guard.withdraw(world.now)
    world.take()
    assert len(world.all(Gone)) == 1


def test_a_guard_that_is_switched_on_again_begins_anew() -> None:
    world = World().local_client(ALPHA)
    world.guard.configure(world.now, enabled=False, addresses=False, interval=0.1)
    world.guard.configure(world.now, enabled=True, addresses=True, interval=0.1)
    world.take()
    world.local_client(ALPHA, until=10.0)
    world.kill("alpha")
    world.until(15.0)
    assert world.streams[LOCAL] in (BETA, GAMMA)


def test_in_router_mode_rivals_are_watched_and_silence_is_told() -> None:
    world = World(addresses=False)
    world.mesh.rival_nodes = {"alpha", "me"}
    world.hear(asks(LOCAL))
    world.until(5.0)
    assert world.probed(after=0.0) == {"alpha"}
    assert any(isinstance(action, KeepWarm) for _, action in world.actions)
    world.kill("alpha")
    world.until(6.0)
    world.dead.clear()
    world.until(8.0)
    assert world.all(SetSilent) == [SetSilent("alpha", silent=True), SetSilent("alpha", silent=False)]
    assert world.sent == []
    assert world.guard.view(world.now).addresses == ()


def test_a_rival_that_is_used_no_more_does_not_count_as_silent() -> None:
    world = World(addresses=False)
    world.mesh.rival_nodes = {"alpha"}
    world.until(5.0)
    world.kill("alpha")
    world.until(6.0)
    world.mesh.rival_nodes = set()
    world.until(9.0)
    assert world.all(SetSilent) == [SetSilent("alpha", silent=True), SetSilent("alpha", silent=False)]
    assert world.probed(after=8.0) == set()


# -- to look at --


def test_the_picture_tells_who_holds_and_who_is_silent() -> None:
    world = World().local_client(ALPHA)
    states = {holder.node: holder.state for holder in world.view().holders}
    assert states == {
        "alpha": HolderState.ALIVE,
        "beta": HolderState.UNWATCHED,
        "gamma": HolderState.UNWATCHED,
    }
    world.mesh.unreachable.add("gamma")
    world.kill("alpha")
    world.until(5.8)
    states = {holder.node: holder.state for holder in world.view().holders}
    assert (states["alpha"], states["gamma"]) == (HolderState.SILENT, HolderState.UNREACHABLE)
    (client,) = world.view().clients
    assert client.node == "me"
    assert client.holder == BETA.hex(":")
