"""The fast data path does what its plain twin does, whatever comes, whatever the table says."""

from __future__ import annotations

import itertools
import random
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from typing import Any, TypeVar

import pytest
from hypothesis import Phase, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import HypothesisWarning, NoSuchExample

from datapath.four_nodes import counters
from datapath.sessions import established_between
from datapath.super_frames import Super, frame_run, super_frame
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath import flows, inbound
from pytinc.datapath.compression import compress, expand
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.flow_table import FlowMember, FlowRule, FlowTable
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.output import Output, Upcalls
from pytinc.datapath.peer_slot import Drops, PeerSlot
from pytinc.datapath.reference import Reference
from pytinc.datapath.runs import DatagramRun, FrameRun
from pytinc.datapath.segment_reference import segment
from pytinc.datapath.short_way import ShortWay
from pytinc.datapath.super_frames import Assembly, take
from pytinc.datapath.table import ForwardingTable, SwitchRules
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.replay import ReplayWindow
from pytinc.wire import ip
from pytinc.wire.datagram import NULL_ID, PREFIX_SIZE, TYPE_COMPRESSED, TYPE_MAC, TYPE_PACKET, node_id
from pytinc.wire.ethernet import HEADER_OF_IP
from pytinc.wire.neighbour import GUARD_MAC, NOBODY, Kind, ends_of, without_sender
from pytinc.wire.subnet import Subnet, parse_subnet
from pytinc.wire.super_frame import HEAD, SUPER_FRAME_ID
from pytinc.wire.virtio import HEADER

T = TypeVar("T")


@pytest.fixture(scope="module", autouse=True)
def _nobody_is_doubted() -> Iterator[None]:
    """Check every record, as the twin does, however many are bad."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(inbound, "TRUSTED", 1_000_000)
        yield


_choices: dict[tuple[object, ...], st.SearchStrategy[Any]] = {}


def sampled(choices: Sequence[T]) -> st.SearchStrategy[T]:
    """Return `st.sampled_from`, the same object for the same choices.

    hypothesis looks through every strategy that it has not met before: most of the time went there.
    """
    key = tuple((type(choice), choice) for choice in choices)
    known = _choices.get(key)
    if known is None:
        known = _choices[key] = st.sampled_from(choices)
    return known


PEERS = ("b", "c", "d")
KEYS = {name: PrivateKey.from_seed(name.encode() * 32) for name in ("a", *PEERS)}
ADDRESSES = {name: (f"192.0.2.{number}", 655) for number, name in enumerate(PEERS, 1)}
STRANGER = ("198.51.100.1", 4000)
MACS = tuple(bytes((2, 0, 0, 0, 0, number)) for number in range(6))
GROUPS = (b"\xff" * 6, b"\x01\x00\x5e\x00\x00\x01", bytes(6))
NEVER = 1e9
SUBNETS = tuple(
    map(
        parse_subnet,
        ("10.0.0.0/8", "10.0.0.1", "10.1.0.0/16", "10.1.0.0/16#5", "fd00::/16", "fd00::1", "::/0"),
    )
)
BROADCAST_SUBNETS = (parse_subnet("224.0.0.0/4"), parse_subnet("ff00::/8"))
V4 = tuple(map(bytes, ((10, 0, 0, 1), (10, 1, 0, 1), (10, 2, 0, 1), (224, 0, 0, 1), (192, 0, 2, 1))))
V6 = tuple(bytes((first, 0)) + bytes(13) + bytes((last,)) for first in (0xFD, 0xFF, 0x20) for last in (1, 2))
SHARED = (V4[0], V4[1], bytes((10, 0, 0, 9)), V6[4], V6[5])
"""Addresses that stations have, and that the guard has something to say about."""
IP_ID = b"\x12\x34"
"""ICMP errors made by the data path have 0 there."""


# -- one world, built twice --


@dataclass
class PeerPlan:
    reachable: bool
    session: bool
    neighbour: bool
    via: str
    nexthop: str
    minmtu: int
    mtu: int
    tcp_only: bool
    address: bool
    confirmed: bool
    clamp: bool
    upkeep_due: float
    socket: int
    fast_tag: bool
    super_frames: bool
    aes: bool
    compression: int


@dataclass
class GuardPlan:
    macs: set[bytes]
    addresses: set[bytes]
    senders: dict[bytes, bytes]
    known: set[bytes]
    withheld: set[bytes]
    in_use: dict[bytes, bytes]
    left: set[bytes]
    own: set[bytes]
    asked: dict[bytes, float]
    heartbeat: float
    doubt_until: float
    taken_over: dict[bytes, tuple[bytes, float]]

    def table(self) -> GuardTable:
        return GuardTable(
            macs=frozenset(self.macs),
            addresses=frozenset(self.addresses),
            senders=self.senders,
            known=frozenset(self.known),
            withheld=frozenset(self.withheld),
            in_use=self.in_use,
            left=frozenset(self.left),
            own=frozenset(self.own),
            asked=dict(self.asked),
            heartbeat=self.heartbeat,
            doubt_until=self.doubt_until,
            taken_over=self.taken_over,
        )


@dataclass
class Plan:
    peers: dict[str, PeerPlan]
    rules: dict[str, Any]
    clamp: bool
    macs: dict[bytes, str]
    own_macs: set[bytes]
    subnets: set[tuple[Subnet, str]]
    hwaddr: bytes | None
    tree: list[str]
    direct: list[str]
    capture: bool
    flows: dict[bytes, FlowRule] | None = None
    """Members share the flows to these addresses; the step "members" says who does from then on."""
    guard: GuardPlan | None = None
    """Heeded only where ARP passes the node: see `pytinc.node.rules.hears_neighbours`."""

    @property
    def hears_neighbours(self) -> bool:
        rules = self.rules
        return not (rules["router"] or rules["hub"] or rules["kernel"] or rules["broadcast"] == "no")


def established(name: str) -> tuple[DatagramSession, DatagramSession]:
    """Our end and the peer's, the same bytes every time."""
    return established_between(KEYS["a"], KEYS[name], random.Random(name).randbytes)


@dataclass
class World:
    plan: Plan
    far: dict[str, DatagramSession] = field(default_factory=dict)

    def __post_init__(self) -> None:
        plan = self.plan
        table = self.table = ForwardingTable(PeerSlot("a", is_me=True), SwitchRules(**plan.rules))
        table.me.clamp_mss = plan.clamp
        table.capture = [] if plan.capture else None
        if plan.guard is not None and plan.hears_neighbours:
            table.guard = plan.guard.table()
        if plan.flows is not None:
            table.flows = FlowTable()
            table.flows.configure(plan.flows, 0.0)
        for name in PEERS:
            table.add(name)
        for number, (name, peer) in enumerate(plan.peers.items()):
            slot = table.slots[name]
            slot.reachable = peer.reachable
            if peer.reachable:
                table.set_route(slot, table.slots[peer.via], table.slots[peer.nexthop])
            if peer.session:
                slot.session, self.far[name] = established(name)
                for session in (slot.session, self.far[name]):
                    if peer.fast_tag:
                        session.accept_fast()
                        session.peer_accepts_fast = True
                    if peer.fast_tag and peer.super_frames and not plan.rules["router"]:
                        session.accept_super_frames()
                        session.peer_accepts_super_frames = True
                        if peer.aes:
                            session.accept_aes()
                            session.peer_accepts_aes = True
            slot.connection = number if peer.neighbour else None
            slot.compression = peer.compression
            slot.minmtu, slot.mtu, slot.tcp_only = peer.minmtu, peer.mtu, peer.tcp_only
            slot.clamp_mss, slot.upkeep_due = peer.clamp, peer.upkeep_due
            address = ADDRESSES[name] if peer.address else None
            slot.confirmed = peer.confirmed
            table.set_address(slot, address, peer.socket)
        table.macs = {mac: table.slots[owner] for mac, owner in plan.macs.items()}
        table.own_macs = dict.fromkeys(plan.own_macs, 0.0)
        for subnet, name in plan.subnets:
            table.routes.add(subnet, table.slots[name])
        for subnet in BROADCAST_SUBNETS:
            table.routes.add(subnet, None)
        table.hwaddr = plan.hwaddr
        table.tree = tuple(table.slots[name] for name in plan.tree)
        table.direct = tuple(table.slots[name] for name in plan.direct)
        table.refresh_all()
        self.out = Output()
        self.datapath = DataPath(self.table)
        self.inbound = self.datapath.inbound
        self.reference = Reference(table)
        self.sent: dict[str, list[bytes]] = {name: [] for name in PEERS}

    def _compressed(self, body: bytes) -> bytes:
        """Return ``body`` as we have asked for it; else, or if that makes it no shorter, with zlib."""
        level = self.table.rules.compression
        return (compress(level, body) if level else None) or zlib.compress(body)

    def datagram(self, spec: DatagramSpec) -> bytes:
        """What a peer (or somebody else) sends."""
        peer, body = spec.peer, spec.body
        prefix = spec.destination + node_id(spec.source or peer)
        far = self.far.get(peer)
        match spec.kind:
            case "replay" if self.sent[peer]:
                return self.sent[peer][len(body) % len(self.sent[peer])]
            case "record" | "tampered" | "replay" | "lost" if far is not None and far.can_send:
                type_ = spec.type_
                if type_ in (TYPE_MAC, TYPE_PACKET) and len(body) % 3 == 0:
                    type_, body = type_ | TYPE_COMPRESSED, self._compressed(body)[: 1400 - len(body) % 7]
                datagram = prefix + far.seal(type_, body, may_be_fast=len(body) % 2 == 0)
            case "handshake" if far is not None and not far.in_handshake:
                far.force_rekey()
                (record,) = far.take_output()
                datagram = prefix + record
            case _:
                return prefix + body
        if spec.kind == "tampered":
            return datagram[:-1] + bytes((datagram[-1] ^ 1,))
        self.sent[peer].append(datagram)
        return datagram

    def pieces(self, spec: PiecesSpec) -> list[bytes]:
        """The datagrams in which a peer sends a super-frame, but for what happens to them on the way."""
        far = self.far.get(spec.peer)
        plain = bytearray(HEAD.pack(1, spec.mss, 34 if spec.good else 35) + spec.frame)
        sealed = bytearray(len(plain) + 16)
        number = None if far is None else far.seal_super_frame(plain, spec.count, memoryview(sealed))
        if number is None:
            number = 5
        if spec.tampered:
            sealed[9] ^= 1
        part = -(-len(sealed) // spec.count)
        made = [
            SUPER_FRAME_ID
            + node_id(spec.peer)
            + (number + index).to_bytes(4, "big")
            + bytes((index, spec.count))
            + sealed[index * part : (index + 1) * part]
            for index in range(spec.count)
        ]
        return [made[index % len(made)] for index in spec.order or range(len(made))]


@dataclass(frozen=True)
class PiecesSpec:
    peer: str
    frame: bytes
    mss: int
    count: int
    good: bool
    tampered: bool
    order: list[int] | None
    """Which pieces come, if not all of them in order."""
    address: tuple[str, int]


@dataclass(frozen=True)
class DatagramSpec:
    kind: str
    peer: str
    source: str | None
    """Whose id stands in front; None: the peer's."""
    destination: bytes
    type_: int
    body: bytes
    address: tuple[str, int]


# -- what comes out, told so that only what matters is compared --


def is_error(frame: bytes) -> bool:
    """An ICMP error made here: the generated packets have another id, and smaller hop limits."""
    start = 18 if frame[12:14] == b"\x81\x00" else 14
    kind = frame[start - 2 : start]
    if kind == b"\x08\x00":
        return frame[start + 4 : start + 6] == b"\0\0" and frame[start + 9 : start + 10] == b"\x01"
    return kind == b"\x86\xdd" and frame[start + 6 : start + 8] == b"\x3a\xff"


class Told:
    """The outputs of a world in a form that two worlds can be compared by.

    ICMP errors are only counted: which frames of a batch are answered depends on the order in which their
    owners are served. The socket of a run is left out: it may change in the middle of a batch. The tag of a
    record is a part of its way.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self.ways: dict[object, list[object]] = {}
        self.errors: Counter[str] = Counter()
        self.error_bytes: Counter[str] = Counter()
        self.whole_runs = 0
        self.whole_super_frames = 0
        out = world.out
        self.frame_runs = sum(not isinstance(frame, bytes) for frame in out.frames)
        for frame in out.frames:
            for each in (frame,) if isinstance(frame, bytes) else frame.frames():
                self._frame("device", "a", each)
        for path, datagrams in out.datagrams:
            assert datagrams
            if not isinstance(datagrams, list):
                self.whole_runs += 1
                if bytes(datagrams.data[:6]) == SUPER_FRAME_ID:
                    self._pieces(path.address, path.relay.name, datagrams)
                    continue
            for datagram in datagrams if isinstance(datagrams, list) else datagrams.datagrams():
                self._sealed(("udp", path.address, path.relay.name), datagram[:PREFIX_SIZE], datagram[12:])
        upcalls = out.upcalls
        for target, source, record in upcalls.sptps_packets:
            self._sealed(("tcp", target.name), target.id + source.id, record)
        for slot, frame in upcalls.packets:
            self._frame(("packet", slot.name), slot.name, frame)
        self.upcalls = told_upcalls(upcalls)
        self.upcalls_at_all = bool(upcalls)

    def _pieces(self, address: object, name: str, pieces: DatagramRun) -> None:
        """A super-frame is told as its frames, as those would have gone."""
        (sealed,) = Assembly().add(pieces)
        self.whole_super_frames += 1
        opened = sealed.open(self.world.far[name])
        assert opened is not None
        way = ("udp", address, name)
        for frame in opened.frames():
            self._frame((way, NULL_ID + self.world.table.me.id, "fast tag"), name, frame)

    def _sealed(self, way: tuple[object, ...], prefix: bytes, record: bytes) -> None:
        table = self.world.table
        if prefix[6:] != table.me.id:
            self.ways.setdefault(way, []).append((prefix, record))
            return
        slot = table.by_id.get(prefix[:6])
        name = slot.name if slot is not None else str(way[2])
        far = self.world.far[name]
        opened = far.receive(record)
        assert opened is not None
        router = table.rules.router
        type_, data = opened
        if type_ & TYPE_COMPRESSED:
            expanded = expand(table.slots[name].compression, data, 1518)
            assert expanded is not None
            data = expanded
        assert type_ & ~TYPE_COMPRESSED == (TYPE_PACKET if router else TYPE_MAC)
        frame = HEADER_OF_IP[data[:1]] + data if router else data
        self._frame((way, prefix, "fast tag" if far._fast_seen else "usual tag"), name, frame)

    def _frame(self, way: object, name: str, frame: bytes) -> None:
        if is_error(frame):
            self.errors[name] += 1
            self.error_bytes[name] += len(frame)
        else:
            self.ways.setdefault(way, []).append(frame)

    def counters(self) -> dict[str, tuple[int, ...]]:
        """Those of every slot, the bytes of ICMP errors among them."""
        return {name: counters(slot) for name, slot in self.world.table.slots.items()}


def told_upcalls(upcalls: Upcalls) -> dict[str, object]:
    return {
        "learn": set(upcalls.learn),
        "touched": {slot.name for slot in upcalls.touched},
        "probes": [(probe.source.name, *probe[1:]) for probe in upcalls.probes],
        "handshakes": {slot.name for slot in upcalls.handshakes},
        "incomplete": {slot.name for slot in upcalls.incomplete},
        "failed": {slot.name for slot in upcalls.failed},
        "no_session": {slot.name for slot in upcalls.no_session},
        "other_mode": {slot.name for slot in upcalls.other_mode},
        "moved": {slot.name: where for slot, where in upcalls.moved.items()},
        "relayed": {tuple(slot.name for slot in three) for three in upcalls.relayed},
        "messages": [(slot.name, message) for slot, message in upcalls.messages],
        "uses": [(key, ends_of(head)) for key, head in upcalls.uses],
        "storms": {slot.name for slot in upcalls.storms},
        "returned": {slot.name: mac for slot, mac in upcalls.returned.items()},
    }


def told_flows(flows: FlowTable | None) -> object:
    if flows is None:
        return None
    known = [(name, flow.mac, flow.life, flow.due) for name, flow in flows._flows.items()]
    return known, list(flows._fragmented.items()), flows.macs, flows.evicted


def assert_same(fast: World, plain: World, error_bytes: list[Counter[str]]) -> None:
    one, two = Told(fast), Told(plain)
    assert one.ways == two.ways
    assert one.upcalls == two.upcalls
    assert one.upcalls_at_all == two.upcalls_at_all
    assert one.errors == two.errors
    assert fast.table.drops == plain.table.drops
    slots = fast.table.slots
    assert {name: slots[name].held for name in slots} == {n: s.held for n, s in plain.table.slots.items()}
    assert {name: slots[name].drops for name in slots} == {n: s.drops for n, s in plain.table.slots.items()}
    assert fast.table.capture == plain.table.capture
    assert fast.table.own_macs == plain.table.own_macs
    assert fast.table.hwaddr == plain.table.hwaddr
    assert fast.table.guard == plain.table.guard
    assert told_flows(fast.table.flows) == told_flows(plain.table.flows)
    for told, total in zip((one, two), error_bytes, strict=True):
        total.update(told.error_bytes)
        told.world.out.clear()
        told.world.out.take_upcalls()
    left, right = (
        {
            name: (*values[:3], values[3] - total[name], *values[4:])
            for name, values in told.counters().items()
        }
        for told, total in zip((one, two), error_bytes, strict=True)
    )
    assert left == right


# -- generated tables and packets --

sizes = sampled((0, 64, 200, 590, 600, 1300, 1438, 1518))


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    mostly = sampled((True, True, True, False))
    rarely = sampled((True, False, False, False))
    peers = {}
    for name in PEERS:
        own_way = draw(st.booleans())
        neighbour = draw(st.booleans())
        address = draw(mostly)
        peers[name] = PeerPlan(
            reachable=draw(mostly),
            session=draw(mostly),
            neighbour=neighbour,
            via=name if own_way else draw(sampled(("a", *PEERS))),
            nexthop=name if neighbour else draw(sampled(PEERS)),
            minmtu=draw(sizes),
            mtu=draw(sampled((100, 512, 600, 1300, 1438, 1518))),
            tcp_only=draw(rarely),
            address=address,
            confirmed=address and draw(mostly),
            clamp=draw(st.booleans()),
            upkeep_due=draw(sampled((0.0, NEVER))),
            socket=draw(sampled((0, 0, 1))),
            fast_tag=draw(st.booleans()),
            super_frames=draw(st.booleans()),
            aes=draw(st.booleans()),
            compression=draw(sampled((0, 0, 1, 9, 10, 12))),
        )
    rules = {
        "router": draw(st.booleans()),
        "hub": draw(rarely),
        "forward": draw(st.booleans()),
        "kernel": draw(rarely),
        "direct_only": draw(st.booleans()),
        "decrement_ttl": draw(st.booleans()),
        "compression": draw(sampled((0, 0, 0, 1, 11, 12))),
        "broadcast": draw(sampled(("mst", "mst", "direct", "no"))),
    }
    return Plan(
        peers,
        rules,
        clamp=draw(st.booleans()),
        macs=draw(st.dictionaries(sampled(MACS[:5]), sampled(("a", *PEERS)), max_size=5)),
        subnets=draw(st.sets(st.tuples(sampled(SUBNETS), sampled(("a", *PEERS))), min_size=2, max_size=9)),
        hwaddr=draw(sampled((None, MACS[0]))),
        own_macs=draw(st.sets(sampled(MACS), max_size=2)),
        tree=draw(st.lists(sampled(PEERS), unique=True)),
        direct=draw(st.lists(sampled(PEERS), unique=True)),
        capture=draw(st.booleans()),
    )


@st.composite
def limited(draw: st.DrawFn, plans: st.SearchStrategy[Plan]) -> Plan:
    """Plans in which a node may send only so much to all."""
    plan = draw(plans)
    return replace(plan, rules=plan.rules | {"broadcast_limit": draw(sampled((0, 1, 3)))})


@st.composite
def tcp_headers(draw: st.DrawFn) -> bytes:
    flags = draw(sampled((0x02, 0x12, 0x10, 0x18)))
    mss = b"\x02\x04" + draw(st.integers(0, 0xFFFF)).to_bytes(2, "big")
    parts = sampled((b"\x01", b"\x03\x03\x07", mss, mss, b"\x02\x03\x05", b"\x08\x00", b"\x00"))
    options = b"".join(draw(st.lists(parts, max_size=6)))[:40]
    options += bytes(-len(options) % 4)
    words = draw(sampled((5 + len(options) // 4,) * 4 + (0, 4, 15)))
    return bytes(12) + bytes((words << 4, flags)) + b"\xff\xff\x12\x34\0\0" + options


@st.composite
def ip_packets(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Ethertype and packet."""
    hops = draw(sampled((0, 1, 2, 64, 64)))
    payload = draw(tcp_headers()) + bytes(draw(sampled((0, 0, 0, 40, 130, 500, 1250, 1400, 1440, 8000))))
    protocol = draw(sampled((6, 6, 6, 17, 4, 1)))
    if draw(st.booleans()):
        header = b"\x60\0\0\0" + len(payload).to_bytes(2, "big") + bytes((protocol, hops))
        header += draw(sampled(V6)) + draw(sampled(V6))
        return b"\x86\xdd", header + payload
    inner = b""
    if protocol == 4:
        inner = b"\x45\0\0\x40" + IP_ID + b"\0\0\x40\x06\0\0" + bytes(8)
    flags = draw(sampled((b"\x40\0", b"\0\0", b"\x20\0", b"\x20\x03")))
    first = draw(sampled((0x45, 0x45, 0x45, 0x46, 0x40, 0x4F)))
    options = bytes(4) if first == 0x46 else b""
    lie = draw(sampled((0, 0, 0, -1, 7)))
    total = max(20 + len(options) + len(inner) + len(payload) + lie, 0)
    header = bytes((first, 0)) + total.to_bytes(2, "big") + IP_ID + flags + bytes((hops, protocol))
    addresses = draw(sampled(V4)) + draw(sampled(V4))
    return b"\x08\x00", header + b"\0\0" + addresses + options + inner + payload


@st.composite
def questions(draw: st.DrawFn) -> tuple[bytes, bytes]:
    """Ethertype and packet of a question for a MAC, or of what looks like one."""
    mac = draw(sampled(MACS + GROUPS))
    cut = draw(sampled((None, None, None, 20, 54)))
    if draw(st.booleans()):
        sender, target = draw(sampled(V4)), draw(sampled(V4))
        operation = draw(sampled((b"\1", b"\1", b"\1", b"\2")))
        packet = b"\0\1\x08\0\6\4\0" + operation + mac + sender + bytes(6) + target
        return b"\x08\x06", packet[:cut]
    sender, target = draw(sampled((*V6, bytes(16)))), draw(sampled(V6))
    option = draw(sampled((b"", b"\1\1" + mac, b"\1\1" + mac, b"\2\1" + mac, b"\1\1")))
    body = bytearray(b"\x87\0\0\0" + bytes(4) + target + option)
    if draw(sampled((True, True, True, False))):
        pseudo = ip.pseudo_header_v6(sender, target, len(body), 58)
        body[2:4] = ip.checksum(pseudo + bytes(body)).to_bytes(2, "big")
    header = b"\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x3a\xff" + sender + target
    return b"\x86\xdd", (header + body)[:cut]


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    macs = sampled(MACS + MACS + GROUPS)
    header = draw(macs) + draw(macs)
    match draw(sampled(("ip", "ip", "ip", "question", "other", "short", "no type"))):
        case "question":
            return header + b"".join(draw(questions()))
        case "ip":
            kind, packet = draw(ip_packets())
            tag = draw(sampled((b"", b"", b"\x81\x00\x00\x05")))
            cut = draw(sampled((None, None, None, 4, 20, 30, 50)))
            return header + tag + kind + packet[:cut]
        case "other":
            return header + b"\x88\xb5" + bytes(draw(sampled((0, 50, 400, 1286, 1500, 1504, 1600))))
        case "no type":
            return header + b"\0\0" + bytes(draw(sampled((0, 4, 1400))))
        case _:
            return (header + b"\x08")[: draw(st.integers(0, 13))]


@st.composite
def datagrams(draw: st.DrawFn) -> DatagramSpec:
    peer = draw(sampled(PEERS))
    kind = draw(sampled(("record",) * 6 + ("replay", "tampered", "garbage", "handshake")))
    body = draw(frames())
    if kind == "garbage":
        body = bytes(draw(sampled((0, 20, 21, 100, 700, 1539, 1540, 1600))))
    type_ = draw(sampled((2,) * 6 + (0, 0, 0, 3, 4, 4, 5)))
    if type_ == 0 and kind != "garbage" and draw(st.booleans()):
        body = draw(ip_packets())[1]
    destination = draw(sampled((NULL_ID,) * 5 + tuple(node_id(name) for name in ("a", *PEERS, "?"))))
    return DatagramSpec(
        kind,
        peer,
        source=draw(sampled((None,) * 6 + ("a", "c", "?"))),
        destination=destination,
        type_=type_,
        body=body,
        address=draw(sampled((ADDRESSES[peer],) * 4 + (ADDRESSES["b"], STRANGER))),
    )


@st.composite
def frame_runs(draw: st.DrawFn) -> list[bytes]:
    """Frames of one length with one header; the last may be shorter."""
    frame = draw(frames().filter(lambda frame: len(frame) >= 14))
    count = draw(st.integers(1, 12))
    last = draw(sampled((len(frame),) * 2 + (14, len(frame) // 2, 90)))
    run = [frame[:-1] + bytes((number,)) if len(frame) > 14 else frame for number in range(count)]
    return [*run[:-1], run[-1][: max(last, 14)]]


@st.composite
def datagram_runs(draw: st.DrawFn) -> list[DatagramSpec]:
    """Datagrams of one peer, most of them with bodies of one length."""
    spec = draw(datagrams())
    if draw(st.booleans()):
        macs = sampled(MACS)
        body = draw(macs) + draw(macs) + b"\x88\xb5" + bytes(draw(sampled((400, 401, 1286))))
        spec = replace(spec, kind="record", type_=TYPE_MAC, source=None, body=body)
    kinds = sampled((spec.kind,) * 20 + ("replay", "tampered", "handshake", "lost"))
    odd = draw(sampled((0, 0, 0, 1)))
    types = sampled((spec.type_,) * 20 + (2, 4, 5))
    run = [
        replace(spec, kind=draw(kinds) if odd else spec.kind, type_=draw(types) if odd else spec.type_)
        for _ in range(draw(st.integers(2, 12)))
    ]
    last = draw(sampled((len(spec.body),) * 2 + (14, 0, len(spec.body) // 2, 90)))
    return [*run[:-1], replace(run[-1], body=spec.body[:last])]


@st.composite
def tcp_super_frames(draw: st.DrawFn) -> Super:
    """Such as go whole."""
    macs = sampled(MACS)
    made = super_frame(
        payload=draw(st.binary(min_size=100, max_size=100)) * draw(st.integers(2, 60)),
        gso_size=draw(sampled((99, 500, 1000, 1400, 1500))),
        flags=draw(sampled((0x10, 0x18, 0x19, 0xD0))),
        tags=draw(sampled((b"", b"", b"\x81\x00\x00\x05"))),
        is_ipv4=draw(st.booleans()),
    )
    return Super(made.header, draw(macs) + draw(macs) + made.frame[12:])


@st.composite
def pieces(draw: st.DrawFn) -> PiecesSpec:
    made, peer = draw(tcp_super_frames()), draw(sampled(PEERS))
    count = len(made.frame) // 1500 + draw(st.integers(1, 4))
    often = sampled((True, True, True, True, False))
    return PiecesSpec(
        peer,
        made.frame,
        mss=HEADER.unpack(made.header)[3],
        count=count,
        good=draw(often),
        tampered=not draw(often),
        order=None if draw(often) else draw(st.lists(st.integers(0, count), min_size=1, max_size=9)),
        address=draw(sampled((ADDRESSES[peer],) * 6 + (ADDRESSES["b"], STRANGER))),
    )


steps = st.one_of(
    st.tuples(st.just("super"), st.lists(tcp_super_frames(), min_size=1, max_size=3)),
    st.tuples(st.just("pieces"), st.lists(pieces(), min_size=1, max_size=3)),
    st.tuples(st.just("run"), st.lists(frame_runs(), min_size=1, max_size=2)),
    st.tuples(st.just("udp run"), datagram_runs()),
    st.tuples(st.just("device"), st.lists(frames(), min_size=1, max_size=12)),
    st.tuples(st.just("repeat"), st.lists(frames(), min_size=1, max_size=3)),
    st.tuples(st.just("udp"), st.lists(datagrams(), min_size=1, max_size=12)),
    st.tuples(st.just("packet"), st.lists(frames(), min_size=1, max_size=3)),
    st.tuples(st.just("sptps"), st.lists(datagrams(), min_size=1, max_size=1)),
    st.tuples(st.just("key"), st.lists(sampled(PEERS), min_size=1, max_size=1)),
)


def runs_of(datagrams: list[bytes]) -> Iterator[DatagramRun]:
    """The datagrams in runs, as the kernel makes them: only the last of a run is shorter."""
    start = 0
    while start < len(datagrams):
        step = len(datagrams[start])
        end = start + 1
        while end < len(datagrams) and len(datagrams[end]) == step:
            end += 1
        if end < len(datagrams) and 0 < len(datagrams[end]) < step:
            end += 1
        yield DatagramRun(memoryview(b"".join(datagrams[start:end])), step)
        start = end


def push(fast: World, plain: World, kind: str, items: list[Any], now: float) -> None:
    """Give the same packets to both, to one in batches, to the other one by one."""
    match kind:
        case "members":
            for world in (fast, plain):
                assert world.table.flows is not None
                world.table.flows.configure(items[0], now)
        case "device" | "repeat":
            batch = items * (4 if kind == "repeat" else 1)
            fast.datapath.frames_from_device(batch, now, fast.out)
            for frame in batch:
                plain.reference.frame_from_device(frame, now, plain.out)
        case "run":
            fast.datapath.frames_from_device([frame_run(run) for run in items], now, fast.out)
            for frame in itertools.chain.from_iterable(items):
                plain.reference.frame_from_device(frame, now, plain.out)
        case "super":
            taken: list[bytes | FrameRun] = []
            for item in items:
                one = take(*item)
                taken += one if isinstance(one, list) else [one]
            fast.datapath.frames_from_device(taken, now, fast.out)
            for frame in itertools.chain.from_iterable(segment(*item) for item in items):
                plain.reference.frame_from_device(frame, now, plain.out)
        case "pieces":
            for spec in items:
                for run in runs_of(fast.pieces(spec)):
                    fast.inbound.datagram_run(run, spec.address, 0, now, fast.out)
                for datagram in plain.pieces(spec):
                    plain.reference.datagram(datagram, spec.address, 0, now, plain.out)
        case "udp run":
            both = [(fast.datagram(spec), plain.datagram(spec)) for spec in items]
            both = [pair for pair, spec in zip(both, items, strict=True) if spec.kind != "lost"]
            address = items[0].address
            for run in runs_of([one for one, _ in both]):
                fast.inbound.datagram_run(run, address, 0, now, fast.out)
            for _, datagram in both:
                plain.reference.datagram(datagram, address, 0, now, plain.out)
        case "udp":
            both = [(fast.datagram(spec), plain.datagram(spec)) for spec in items]
            assert all(one == two for one, two in both)
            addresses = [spec.address for spec in items]
            fast.datapath.datagrams([one for one, _ in both], addresses, 0, now, fast.out)
            for (_, datagram), address in zip(both, addresses, strict=True):
                plain.reference.datagram(datagram, address, 0, now, plain.out)
        case "packet":
            fast.inbound.frames_from_neighbour(fast.table.slots["b"], items, now, fast.out)
            for frame in items:
                plain.reference.frame_from_neighbour(plain.table.slots["b"], frame, now, plain.out)
        case "key":
            (name,) = items
            for world in (fast, plain):
                slot = world.table.slots[name]
                if slot.session is None:
                    slot.session, world.far[name] = established(name)
            fast.datapath.send_held(fast.table.slots[name], now, fast.out)
            plain.reference.send_held(plain.table.slots[name], now, plain.out)
        case _:
            fast.inbound.sptps_packet(fast.datagram(items[0]), now, fast.out)
            plain.reference.sptps_packet(plain.datagram(items[0]), now, plain.out)


@settings(max_examples=200)
@given(plan=limited(plans()), script=st.lists(steps, min_size=1, max_size=5))
def test_fast_and_plain_code_do_the_same(plan: Plan, script: list[tuple[str, list[Any]]]) -> None:
    fast, plain = World(plan), World(plan)
    error_bytes: list[Counter[str]] = [Counter(), Counter()]
    for number, (kind, items) in enumerate(script):
        push(fast, plain, kind, items, 1.0 + number / 2)
        assert_same(fast, plain, error_bytes)


def some(steps: st.SearchStrategy[tuple[str, list[Any]]]) -> st.SearchStrategy[list[tuple[str, list[Any]]]]:
    """Scripts of these steps."""
    return st.lists(steps, min_size=10, max_size=14)


def missing_in(
    plans: st.SearchStrategy[Plan],
    scripts: st.SearchStrategy[list[tuple[str, list[Any]]]],
    expected: set[str],
    look: Callable[[str, World], Iterable[str]],
    at_end: Callable[[World], Iterable[str]] = lambda _: (),
) -> set[str]:
    """Generate scripts until ``look`` has told of all that is expected; return what it has not told of.

    ``look`` is called after each step, ``at_end`` after each script. A comparison that never sees an ICMP
    error or a relayed datagram proves nothing about them.
    """
    missing = set(expected)

    def all_seen(example: tuple[Plan, list[tuple[str, list[Any]]]]) -> bool:
        plan, script = example
        fast, plain = World(plan), World(plan)
        for number, (kind, items) in enumerate(script):
            push(fast, plain, kind, items, 1.0 + number)
            missing.difference_update(look(kind, fast))
            fast.out.clear()
            fast.out.take_upcalls()
        missing.difference_update(at_end(fast))
        return not missing

    once = settings(max_examples=1000, database=None, derandomize=True, phases=[Phase.generate])
    with suppress(NoSuchExample), warnings.catch_warnings():
        warnings.simplefilter("ignore", HypothesisWarning)  # of its own words about what it found
        find(st.tuples(plans, scripts), all_seen, settings=once)
    return missing


def test_the_generated_tables_reach_every_way_and_every_drop() -> None:
    tags = {"fast tag", "usual tag"}
    ways = {"device", "udp", "tcp", "packet", *tags}
    expected = {*ways, "icmp", *asdict(Drops()), *told_upcalls(Upcalls())}
    expected -= {"incomplete", "messages", "uses", "returned"}  # below

    def look(_: str, fast: World) -> Iterator[str]:
        told = Told(fast)
        yield from (way for key in map(str, told.ways) for way in ways if way in key)
        yield from (name for name, value in told.upcalls.items() if value)
        if sum(told.errors.values()):
            yield "icmp"

    def drops(fast: World) -> Iterator[str]:
        return (name for name, value in asdict(fast.table.total_drops()).items() if value)

    assert missing_in(limited(plans()), some(steps), expected, look, drops) == set()


# -- runs, where nothing keeps them from going whole, or one thing does --


@st.composite
def ordinary_plans(draw: st.DrawFn) -> Plan:
    """Tables in which most peers can be reached straight, by UDP, in switch mode."""
    plan = draw(plans())
    seldom = draw(sampled((0, 0, 1)))
    peers = {
        name: replace(
            peer,
            reachable=True,
            session=True,
            via=peer.via if seldom else name,
            address=True,
            confirmed=peer.confirmed or not seldom,
            fast_tag=peer.fast_tag or peer.super_frames,
            tcp_only=False,
            minmtu=1518,
            mtu=draw(sampled((1518, 1518, 1300))),
            compression=peer.compression if seldom else 0,
        )
        for name, peer in plan.peers.items()
    }
    off = {} if seldom else {"decrement_ttl": False, "compression": 0, "direct_only": False}
    rules = plan.rules | {"router": False, "hub": False, "kernel": False, "forward": True} | off
    macs = {mac: ("a", *PEERS)[number % 4] for number, mac in enumerate(MACS)}
    return replace(plan, peers=peers, rules=rules, macs=macs, capture=False)


ordinary_steps = st.one_of(
    st.tuples(st.just("super"), st.lists(tcp_super_frames(), min_size=1, max_size=2)),
    st.tuples(st.just("pieces"), st.lists(pieces(), min_size=1, max_size=2)),
    st.tuples(st.just("run"), st.lists(frame_runs(), min_size=1, max_size=2)),
    st.tuples(st.just("udp run"), datagram_runs()),
    st.tuples(st.just("udp"), st.lists(datagrams(), min_size=1, max_size=3)),
)


@settings(max_examples=300)
@given(plan=ordinary_plans(), script=st.lists(ordinary_steps, min_size=1, max_size=5))
def test_runs_come_out_as_their_frames_one_by_one(plan: Plan, script: list[tuple[str, list[Any]]]) -> None:
    fast, plain = World(plan), World(plan)
    error_bytes: list[Counter[str]] = [Counter(), Counter()]
    for number, (kind, items) in enumerate(script):
        push(fast, plain, kind, items, 1.0 + number / 2)
        assert_same(fast, plain, error_bytes)
        for name in PEERS:
            one, two = (world.table.slots[name].session for world in (fast, plain))
            assert one is not None
            assert two is not None
            assert vars_of(one.window) == vars_of(two.window)


def vars_of(window: ReplayWindow) -> dict[str, int]:
    return {name: getattr(window, name) for name in ReplayWindow.__slots__}


# -- frames and datagrams that come alone --


@st.composite
def lone_plans(draw: st.DrawFn) -> Plan:
    """Tables with a station behind the own device, and mostly no upkeep that is due."""
    plan = draw(ordinary_plans())
    rested = draw(sampled((True, True, True, False)))
    peers = {
        name: replace(peer, upkeep_due=NEVER if rested else peer.upkeep_due)
        for name, peer in plan.peers.items()
    }
    return replace(plan, peers=peers, own_macs={*plan.own_macs, MACS[0]})


@st.composite
def ordinary_frames(draw: st.DrawFn) -> bytes:
    """IP packets of that station."""
    kind, packet = draw(ip_packets())
    return bytes(draw(sampled(MACS))) + MACS[0] + kind + packet


@st.composite
def ordinary_datagrams(draw: st.DrawFn) -> DatagramSpec:
    """IP packets of a peer, from where it is known to be."""
    spec, macs = draw(datagrams()), sampled(MACS)
    kind, packet = draw(ip_packets())
    return replace(
        spec,
        kind="record",
        source=None,
        destination=NULL_ID,
        type_=TYPE_MAC,
        body=draw(macs) + draw(macs) + kind + packet,
        address=ADDRESSES[spec.peer],
    )


lone_steps = st.one_of(
    st.tuples(st.just("device"), st.lists(frames(), min_size=1, max_size=1)),
    st.tuples(st.just("device"), st.lists(ordinary_frames(), min_size=1, max_size=1)),
    st.tuples(st.just("udp"), st.lists(ordinary_datagrams(), min_size=1, max_size=1)),
    st.tuples(st.just("udp"), st.lists(datagrams(), min_size=1, max_size=1)),
)


@settings(max_examples=300)
@given(
    plan=st.one_of(lone_plans(), limited(plans())),
    script=st.lists(lone_steps, min_size=1, max_size=12),
)
def test_a_lone_packet_is_treated_as_in_a_batch(plan: Plan, script: list[tuple[str, list[Any]]]) -> None:
    fast, plain = World(plan), World(plan)
    error_bytes: list[Counter[str]] = [Counter(), Counter()]
    for number, (kind, items) in enumerate(script):
        push(fast, plain, kind, items, 1.0 + number / 2)
        assert_same(fast, plain, error_bytes)


def test_a_lone_packet_goes_the_short_way(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: set[str] = set()

    def noted(name: str) -> Callable[..., bool]:
        way = getattr(ShortWay, name)

        def note(self: ShortWay, *arguments: Any) -> bool:
            done: bool = way(self, *arguments)
            if done:
                taken.add(name)
            return done

        return note

    expected = {"frame", "datagram", "_is_for_device"}
    for name in expected:
        monkeypatch.setattr(ShortWay, name, noted(name))
    assert missing_in(lone_plans(), some(lone_steps), expected, lambda *_: set(taken)) == set()


def test_the_generated_runs_go_whole_in_every_way() -> None:
    expected = {"run, sealed, fast tag", "run, sealed, usual tag", "udp run, to the device"}
    expected |= {"super-frame, sealed", "pieces, to the device", "incomplete"}

    def look(kind: str, fast: World) -> Iterator[str]:
        told = Told(fast)
        tags = {way[-1] for way in told.ways if told.whole_runs and isinstance(way, tuple)}
        yield from (f"{kind}, sealed, {tag}" for tag in tags)
        if told.frame_runs:
            yield f"{kind}, to the device"
        if told.whole_super_frames:
            yield "super-frame, sealed"
        if told.upcalls["incomplete"]:
            yield "incomplete"

    assert missing_in(ordinary_plans(), some(ordinary_steps), expected, look) == set()


# -- with a guard of shared addresses --


@st.composite
def guard_plans(draw: st.DrawFn) -> GuardPlan:
    shared = st.sets(sampled(SHARED), max_size=3)
    return GuardPlan(
        macs=draw(st.sets(sampled(MACS), max_size=4)),
        addresses=draw(st.sets(sampled((*V4, *V6, *SHARED)), max_size=8)),
        senders={
            address: draw(sampled((NOBODY, V4[2]) if len(address) == 4 else (V6[4],)))
            for address in draw(shared)
        },
        known=draw(shared),
        withheld=draw(shared),
        in_use=draw(st.dictionaries(sampled(SHARED), sampled(MACS), max_size=4)),
        left=draw(st.sets(sampled(MACS), max_size=4)),
        own=draw(shared),
        asked=draw(st.dictionaries(sampled(SHARED), sampled((-5.0, 0.5)), max_size=2)),
        heartbeat=draw(sampled((1e9, 1e9, 0.9))),
        doubt_until=draw(sampled((-1e9, -1e9, 1.6))),
        taken_over=draw(
            st.dictionaries(sampled((*V4, *V6)), st.tuples(sampled(MACS), sampled((1.5, 1e9))), max_size=4)
        ),
    )


def advertisement(mac: bytes, address: bytes, target: bytes) -> bytes:
    body = b"\x88\0\0\0\x60\0\0\0" + address + b"\2\1" + mac
    sum_ = ip.checksum(ip.pseudo_header_v6(address, target, len(body), 58) + body)
    body = body[:2] + sum_.to_bytes(2, "big") + body[4:]
    return b"\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x3a\xff" + address + target + body


def solicitation(mac: bytes, address: bytes, target: bytes) -> bytes:
    body = b"\x87\0\0\0" + bytes(4) + target + b"\1\1" + mac
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    sum_ = ip.checksum(ip.pseudo_header_v6(address, group, len(body), 58) + body)
    body = body[:2] + sum_.to_bytes(2, "big") + body[4:]
    return b"\x60\0\0\0" + len(body).to_bytes(2, "big") + b"\x3a\xff" + address + group + body


@st.composite
def messages(draw: st.DrawFn) -> bytes:
    """Well-formed ARP and neighbour discovery, mostly of stations that have the guard's addresses."""
    mac = draw(sampled((*MACS, GUARD_MAC)))
    to = draw(sampled((b"\xff" * 6, b"\xff" * 6, *MACS)))
    address, target = draw(sampled(SHARED)), draw(sampled(SHARED))
    is_answer = draw(st.booleans())
    if len(address) == 16:
        target = target if len(target) == 16 else V6[4]
        if not is_answer and draw(st.booleans()):
            address = bytes(16)
        made = (advertisement if is_answer else solicitation)(mac, address, target)
        frame = to + mac + b"\x86\xdd" + made
        bare = not is_answer and any(address) and draw(st.booleans())
        return without_sender(frame) if bare else frame
    target = target if len(target) == 4 else V4[0]
    if not is_answer and draw(st.booleans()):
        address = bytes(4)
    operation = b"\2" if is_answer else b"\1"
    return to + mac + b"\x08\x06\0\1\x08\0\6\4\0" + operation + mac + address + bytes(6) + target


@st.composite
def message_runs(draw: st.DrawFn) -> list[bytes]:
    """Messages in a run, all alike, or with other frames of the same header and length between them."""
    frame = draw(messages())
    other = frame[:20] + b"\x11" + frame[21:]
    return [draw(sampled((frame, frame, other))) for _ in range(draw(st.integers(8, 12)))]


@st.composite
def guarded_plans(draw: st.DrawFn) -> Plan:
    plan = draw(ordinary_plans())
    rules = plan.rules | {"broadcast": draw(sampled(("mst", "mst", "direct"))), "compression": 0}
    peers = {name: replace(peer, compression=0) for name, peer in plan.peers.items()}
    return replace(plan, peers=peers, rules=rules, guard=draw(guard_plans()))


def of_peer(peer: str, bodies: list[bytes]) -> list[DatagramSpec]:
    return [DatagramSpec("record", peer, None, NULL_ID, TYPE_MAC, body, ADDRESSES[peer]) for body in bodies]


some_frames = st.lists(messages() | messages() | frames(), min_size=1, max_size=8)
guarded_steps = st.one_of(
    st.tuples(st.just("device"), some_frames),
    st.tuples(st.just("run"), st.lists(message_runs() | frame_runs(), min_size=1, max_size=2)),
    st.tuples(st.just("packet"), some_frames),
    st.tuples(st.just("udp"), st.builds(of_peer, sampled(PEERS), some_frames)),
    st.tuples(st.just("udp run"), st.builds(of_peer, sampled(PEERS), message_runs())),
)


@settings(max_examples=300)
@given(plan=guarded_plans(), script=st.lists(guarded_steps, min_size=1, max_size=4))
def test_what_is_done_for_the_guard_is_the_same_in_both(
    plan: Plan, script: list[tuple[str, list[Any]]]
) -> None:
    fast, plain = World(plan), World(plan)
    error_bytes: list[Counter[str]] = [Counter(), Counter()]
    for number, (kind, items) in enumerate(script):
        push(fast, plain, kind, items, 1.0 + number)
        assert_same(fast, plain, error_bytes)


def test_the_generated_messages_are_told_changed_and_withheld() -> None:
    expected = {f"{kind.name} of {end}" for kind in Kind for end in ("device", "peer")}
    expected |= {"device", "run", "packet", "udp", "udp run", "uses", "rewritten", "withheld"}
    expected -= {"ENQUIRY of device"}  # too rare here; tests/datapath/test_guard.py has it

    def look(kind: str, fast: World) -> Iterator[str]:
        for source, message in fast.out.upcalls.messages:
            yield f"{message.kind.name} of {'device' if source.is_me else 'peer'}"
            yield kind
        if fast.out.upcalls.uses:
            yield "uses"

    def at_end(fast: World) -> Iterator[str]:
        guard = fast.table.guard
        assert guard is not None
        if guard.rewritten:
            yield "rewritten"
        if guard.answers_withheld:
            yield "withheld"

    assert missing_in(guarded_plans(), some(guarded_steps), expected, look, at_end) == set()


# -- with frames for all that come back, or are too many --


@st.composite
def loop_steps(draw: st.DrawFn) -> list[tuple[str, list[Any]]]:
    """A few frames, most of them for all, that come from the device and from peers, now and then again."""
    macs = sampled(MACS)
    made = [
        draw(sampled((*GROUPS, *MACS))) + draw(macs) + b"\x88\xb5" + bytes((number,)) * 50
        for number in range(draw(st.integers(1, 4)))
    ]
    some = st.lists(sampled(made), min_size=1, max_size=6)
    from_device = st.tuples(st.just("device"), some)
    from_peers = st.tuples(st.just("udp"), st.builds(of_peer, sampled(PEERS), some))
    return draw(st.lists(from_device | from_peers, min_size=2, max_size=6))


@settings(max_examples=200)
@given(plan=limited(ordinary_plans()), script=loop_steps(), sure=st.booleans())
def test_floods_that_come_back_are_the_same_in_both(
    plan: Plan, script: list[tuple[str, list[Any]]], sure: bool
) -> None:
    fast, plain = World(plan), World(plan)
    error_bytes: list[Counter[str]] = [Counter(), Counter()]
    for world in (fast, plain):
        world.table.floods.breaks_loops = sure
        world.table.floods.device_returned = 1.0
    for number, (kind, items) in enumerate(script):
        push(fast, plain, kind, items, 1.0 + number / 2)
        assert_same(fast, plain, error_bytes)
        assert fast.table.floods.returned == plain.table.floods.returned


def test_the_generated_floods_come_back_and_exceed_the_limit() -> None:
    expected = {"returned", "storms", "device", "udp"}

    def look(kind: str, fast: World) -> Iterator[str]:
        if fast.out.upcalls.returned:
            yield from ("returned", kind)
        if fast.out.upcalls.storms:
            yield "storms"

    assert missing_in(limited(ordinary_plans()), loop_steps(), expected, look) == set()


# -- with addresses whose members share the flows --

FLOWS_TO = (V4[0], V4[1], V6[4])
MEMBERS = tuple(FlowMember(f"node_{number}", mac, number + 1) for number, mac in enumerate(MACS[:4]))


@st.composite
def flow_rules(draw: st.DrawFn) -> dict[bytes, FlowRule]:
    rules = {}
    for address in draw(st.sets(sampled(FLOWS_TO), min_size=1)):
        members = draw(st.lists(sampled(MEMBERS), max_size=3, unique=True))
        kept = {member.mac for member in members} | draw(st.sets(sampled(MACS[:4]), max_size=2))
        macs = frozenset(kept) | draw(st.sets(sampled(MACS[:4])))
        rules[address] = FlowRule(tuple(sorted(members)), frozenset(kept), macs)
    return rules


def udp_or_tcp(draw: st.DrawFn) -> tuple[int, bytes]:
    """Protocol and packet."""
    ports = draw(sampled((1000, 1001))).to_bytes(2, "big") + b"\0\x50"
    if draw(st.booleans()):
        return 17, ports + bytes(4 + draw(sampled((0, 0, 100, 1000))))
    flags = draw(sampled((0x02, 0x10, 0x10, 0x10, 0x18, 0x11, 0x14)))
    return 6, ports + bytes(8) + bytes((0x50, flags)) + bytes(6 + draw(sampled((0, 0, 100, 1000))))


def v4_packet(draw: st.DrawFn, source: bytes, destination: bytes, protocol: int, body: bytes) -> bytes:
    place = draw(sampled((b"\x40\0",) * 6 + (b"\0\0", b"\x20\0", b"\x20\x03", b"\0\x03")))
    first, options = draw(sampled(((0x45, b""),) * 5 + ((0x46, bytes(4)), (0x44, b""), (0x65, b""))))
    head = bytes((first, 0)) + (20 + len(options) + len(body)).to_bytes(2, "big") + IP_ID + place
    return head + bytes((64, protocol, 0, 0)) + source + destination + options + body


def v6_packet(draw: st.DrawFn, source: bytes, destination: bytes, protocol: int, body: bytes) -> bytes:
    for kind in draw(st.lists(sampled((0, 60, 44)), max_size=2)) if draw(sampled((0, 0, 1))) else ():
        place = draw(sampled((b"\0\0", b"\0\1", b"\0\x09"))) if kind == 44 else b"\0\0"
        body = bytes((protocol, 0)) + place + IP_ID + b"\0\0" + body
        protocol = kind
    first = draw(sampled((0x60,) * 5 + (0x66, 0x40)))
    return (
        bytes((first, 0, 0, 0))
        + len(body).to_bytes(2, "big")
        + bytes((protocol, 64))
        + (source + destination + body)
    )


@st.composite
def flow_frames(draw: st.DrawFn) -> bytes:
    """Frames of stations, most of them to an address whose members share the flows."""
    header = draw(sampled(MACS)) + MACS[5]
    is_v4 = draw(st.booleans())
    source, destination = (
        (draw(sampled(V4[3:])), draw(sampled(V4[:3]))) if is_v4 else (V6[0], draw(sampled(V6[4:])))
    )
    kind, packet, icmp = (b"\x08\0", v4_packet, 1) if is_v4 else (b"\x86\xdd", v6_packet, 58)
    protocol, body = udp_or_tcp(draw)
    match draw(sampled(("transport",) * 6 + ("echo", "error", "neighbours", "other"))):
        case "echo":
            protocol, body = icmp, bytes((8 if is_v4 else 128, 0, 0, 0)) + IP_ID + bytes(10)
        case "error":
            about = packet(draw, destination, source, protocol, body)
            protocol, body = icmp, bytes((3 if is_v4 else 1,)) + bytes(7) + about
        case "neighbours" if not is_v4:
            protocol, body = 58, b"\x87" + bytes(7) + destination
        case "other":
            protocol = 47
    cut = draw(sampled((None,) * 6 + (20, 36, 40, 60)))
    return (header + kind + packet(draw, source, destination, protocol, body))[:cut]


@st.composite
def flow_runs(draw: st.DrawFn) -> list[bytes]:
    """Frames of one length: of one flow that goes on, or one of them is something else."""
    frame = draw(flow_frames())
    odd = bytearray(frame)
    at = draw(sampled((None, None, None, 20, 23, 29, 33, 35, 47, 57, 67)))
    if at is not None and at < len(frame):
        odd[at] ^= draw(sampled((1, 2, 4, 0x20)))
    count, place = draw(st.integers(8, 12)), draw(sampled((0, 3, 7)))
    last = draw(sampled((len(frame),) * 3 + (14, 36, 60)))
    run = [bytes(odd) if number == place else frame for number in range(count)]
    return [*run[:-1], run[-1][:last]]


@st.composite
def flow_super_frames(draw: st.DrawFn) -> Super:
    is_ipv4 = draw(st.booleans())
    made = super_frame(
        payload=bytes(draw(sampled((3000, 9000)))),
        gso_size=draw(sampled((1000, 1400))),
        flags=draw(sampled((0x10, 0x18, 0x11))),
        tags=draw(sampled((b"",) * 5 + (b"\x81\x00\x00\x05",))),
        is_ipv4=is_ipv4,
        addresses=(V4[4] + draw(sampled(V4[:3])) if is_ipv4 else V6[0] + V6[4]).ljust(32, b"\0"),
    )
    return Super(made.header, draw(sampled(MACS)) + MACS[5] + made.frame[12:])


flow_steps = st.one_of(
    st.tuples(st.just("device"), st.lists(flow_frames() | flow_frames() | frames(), min_size=1, max_size=8)),
    st.tuples(st.just("repeat"), st.lists(flow_frames(), min_size=1, max_size=3)),
    # The second time the flow is known.
    st.tuples(st.just("run"), st.lists(flow_runs(), min_size=1, max_size=2).map(lambda runs: runs * 2)),
    st.tuples(st.just("super"), st.lists(flow_super_frames(), min_size=1, max_size=3)),
    st.tuples(st.just("packet"), st.lists(flow_frames(), min_size=1, max_size=3)),
    st.tuples(st.just("members"), st.lists(flow_rules(), min_size=1, max_size=1)),
)


@st.composite
def flow_plans(draw: st.DrawFn) -> Plan:
    plan = draw(ordinary_plans())
    return replace(plan, flows=draw(flow_rules()), guard=draw(st.none() | guard_plans()))


@settings(max_examples=200)
@given(plan=flow_plans(), script=st.lists(flow_steps, min_size=1, max_size=6))
def test_flows_go_to_the_same_members_in_both(plan: Plan, script: list[tuple[str, list[Any]]]) -> None:
    fast, plain = World(plan), World(plan)
    error_bytes: list[Counter[str]] = [Counter(), Counter()]
    for number, (kind, items) in enumerate(script):
        push(fast, plain, kind, items, 1.0 + number * 20)
        assert_same(fast, plain, error_bytes)


def test_the_generated_flows_go_to_members_whole_and_one_by_one() -> None:
    expected = {"frame to another", "run, whole", "run, to another", "super-frame to another", "fragments"}
    seen: set[str] = set()

    def some_frames(table: FlowTable, groups: list[flows.Group], now: float) -> list[flows.Group]:
        made = to_members(table, groups, now)
        if [header for header, _ in made] != [header for header, _ in groups]:
            seen.add("frame to another")
        return made

    def one_run(table: FlowTable, run: FrameRun, now: float) -> bool:
        before = run.header
        whole = to_member_as_a_run(table, run, now)
        if whole and before[:6] in table.macs:
            seen.add("run, whole")
        if run.header != before:
            seen.add("super-frame to another" if run.is_data else "run, to another")
        return whole

    def look(_: str, fast: World) -> Iterator[str]:
        yield from seen
        if fast.table.flows is not None and fast.table.flows._fragmented:
            yield "fragments"

    to_members, to_member_as_a_run = flows.redirect, flows.redirect_run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(flows, "redirect", some_frames)
        patch.setattr(flows, "redirect_run", one_run)
        assert missing_in(flow_plans(), some(flow_steps), expected, look) == set()
