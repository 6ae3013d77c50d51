"""A guard on a virtual clock: events go in, frames and other actions come out, and servers answer questions.

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

from pytinc.vip.actions import Action, Notice, SendFrame, SendProbe, SendRecord
from pytinc.vip.guard import Guard
from pytinc.vip.views import AddressView, VirtualIpView
from pytinc.wire.neighbour import GUARD_MAC, NOBODY, Kind, Message, parse
from pytinc.wire.vip_record import NO_HOLDER, Claim, Entry, EntryState, MemberRecord, parse_record
from pytinc.wire.virtual_ip import VirtualIP

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
    mac: bytes | None = None
    """The MAC address of the own device."""
    pytinc_nodes: set[str] = field(default_factory=set)
    """Nodes that take member records."""
    without_right: set[str] = field(default_factory=set)
    neighbours: list[str] = field(default_factory=list)

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

    def own_mac(self) -> bytes | None:
        return self.mac

    def record_peers(self) -> Iterable[str]:
        return self.pytinc_nodes - self.unreachable

    def witnesses(self) -> Iterable[str]:
        return self.neighbours

    def is_stranger(self, node: str) -> bool:
        return False

    def may_hold(self, node: str, address: bytes, now: float) -> bool:
        return node not in self.without_right

    def possible_members(self, addresses: Iterable[bytes]) -> Iterable[str]:
        return self.pytinc_nodes - self.unreachable

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


# -- virtual IPs with members ------------------------------------------------------------------------------

MINE = b"\x02\0\0\0\0\x99"
NO_CLAIM = Claim(0, NO_HOLDER)
NODES = [f"node{number}" for number in range(5)]
MACS = {"alpha": ALPHA, "beta": BETA} | dict.fromkeys(NODES, ALPHA)


def id_of(node: str) -> bytes:
    return node.encode().ljust(6, b"-")[:6]


class Members(World):
    """This node is a member with alpha and beta, which say what the test has them say."""

    def __init__(self, *, member: bool = True, **config: object) -> None:
        super().__init__()
        self.mesh.mac = MINE
        self.mesh.owners[MINE] = "me"
        self.mesh.pytinc_nodes |= {"alpha", "beta", "pyclient"}
        self.servers = {}
        self.sequences = dict.fromkeys(MACS, 0)
        if member:
            self.configure(VirtualIP(VIP, 32, **config))  # type: ignore[arg-type]

    def configure(self, *virtual_ips: VirtualIP) -> None:
        self.guard.configure(self.now, enabled=True, addresses=True, interval=0.1, virtual_ips=virtual_ips)
        self.take()

    def says(
        self,
        node: str,
        state: EntryState = EntryState.BACKUP,
        *,
        claim: Claim = NO_CLAIM,
        priority: int = 100,
        address: bytes = VIP,
    ) -> None:
        self.says_entry(node, Entry(address, state, priority, MACS[node], claim))

    def says_entry(self, node: str, entry: Entry) -> None:
        self.sequences[node] += 1
        payload = MemberRecord(7, self.sequences[node], (entry,)).pack()
        self.guard.member_record(node, id_of(node), payload, self.now)
        self.take()

    def keep_saying(self, until: float, **words: tuple[EntryState, Claim]) -> None:
        """Have members say the same twice a second."""
        while self.now < until:
            for node, (state, claim) in words.items():
                self.says(node, state, claim=claim)
            self.until(min(self.now + 0.5, until))

    @property
    def virtual(self) -> VirtualIpView:
        (view,) = self.guard.policy.view(self.now).addresses
        return view

    def records(self, node: str, *, after: float = -1.0) -> list[tuple[float, MemberRecord]]:
        return [
            (at, parse_record(action.payload))
            for at, action in self.actions
            if isinstance(action, SendRecord) and action.node == node and at > after
        ]

    def claim(self) -> Claim:
        """Return what this node said last."""
        return self.records("alpha")[-1][1].entries[0].claim

    @property
    def serves(self) -> bool:
        return VIP not in self.guard.policy.withheld
