"""Targets: a whole node, attacked by a stranger or an insider, and its effect on other nodes."""

from __future__ import annotations

import functools
import gc
import itertools
import re
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Final
from unittest import mock

from fuzz.registry import TESTS, literals, target
from fuzz.sessions import COOKIE, END_OF_STEP, FILE_NAME, ONE, THREE, TWO, lines, script, steps
from node.conftest import FarEnd, Scripted, Stage
from pytinc.config.settings import Mode
from pytinc.crypto.keys import format_private_key, key_hash
from pytinc.datapath import guard as datapath_guard
from pytinc.datapath import short_way
from pytinc.errors import ProtocolError
from pytinc.node import admission, core, corrections, flood, vip_rights
from pytinc.node.actions import RunScript
from pytinc.node.event_ring import EventRing
from pytinc.node.node import Node
from pytinc.protocol import graph, subnet_table
from pytinc.protocol.joining import Joiner
from pytinc.protocol.meta import State
from pytinc.vip import (
    addresses,
    asking,
    hearing,
    members,
    notices,
    picture,
    review,
    stations,
    watch,
)
from pytinc.vip import corrections as vip_corrections
from pytinc.wire.address import Address
from pytinc.wire.arp import Arp, format_arp
from pytinc.wire.assignment_record import Assigned, AssignmentRecord
from pytinc.wire.capabilities import Capability, format_block
from pytinc.wire.datagram import node_id
from pytinc.wire.names import is_valid_name
from pytinc.wire.requests import MAX_LINE_LENGTH
from pytinc.wire.vip_record import Claim, Entry, EntryState, MemberRecord
from pytinc.wire.virtual_ip import Balance, VirtualIP
from sim.simulator import WALL_START, SimHosts

VIP: Final = bytes((10, 0, 0, 9))
"""An address that some of the nodes serve."""
SETTINGS: Final[tuple[dict[str, object], ...]] = (
    {},
    {"mode": Mode.ROUTER},
    {"tunnel_server": True, "strict_subnets": True},
    {"direct_only": True, "local_discovery": False, "auto_connect": True},
    {"virtual_ips": (VirtualIP(VIP, 32),)},
    {"virtual_ips": (VirtualIP(VIP, 32, balance=Balance.CLIENT),)},
)
"""The first byte of a script chooses one."""
LIMITS: Final = {
    graph: ("MAX_NODES", "MAX_EDGES"),
    subnet_table: ("MAX_SUBNETS_PER_OWNER", "MAX_SUBNETS", "MAX_LEARNED"),
    flood: ("MAX_ENTRIES", "MAX_ENDINGS"),
    corrections: ("MAX_THINGS",),
    core: ("MAX_COMPLAINTS",),
    vip_rights: ("MAX_UNLISTED",),
    admission: ("MAX_HALF_OPEN", "MAX_SOURCES"),
    datapath_guard: ("MAX_MESSAGES", "MAX_USES"),
    short_way: ("MAX_WAYS",),
    addresses: ("MAX_ADDRESSES", "MAX_HOLDERS", "MAX_CLIENTS", "MAX_ALL_CLIENTS", "MAX_CALLERS"),
    asking: ("MAX_CLAIMS",),
    members: ("MAX_MEMBERS",),
    notices: ("MAX_WAITING",),
    picture: ("MAX_CLIENTS",),
    hearing: ("MAX_ADDRESSES", "MAX_ADDRESSES_OF_NODE"),
    review: ("MAX_REPORTS", "MAX_WARM"),
    stations: ("MAX_STATIONS", "MAX_ADDRESSES"),
    vip_corrections: ("MAX_WAITING",),
    watch: ("MAX_WATCHED",),
}
LOW_LIMIT: Final = 6
"""Of each of these tables in the target that fills them."""
_NO_STATE: Final = (type, ModuleType, FunctionType, BuiltinFunctionType, MethodType, CodeType)


def held(node: Node) -> int:
    """Return how many objects a node holds."""
    seen: set[int] = set()
    waiting: list[object] = [node]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, _NO_STATE):
            seen.add(id(one))
            waiting += gc.get_referents(one)
    return len(seen)


class Insider:
    """A node with two neighbours: one is honest, the other says what a script has it say."""

    def __init__(self, choice: int) -> None:
        self.stage = Stage("alpha", ("evil", "one", "two"), ping_interval=10**6, **SETTINGS[choice])
        self.honest = self.stage.neighbour("one")
        self.log_in()

    def log_in(self) -> None:
        """Have the insider dial; it may be refused if it does so too often."""
        self.evil = self.stage.peer("evil")
        self.far = FarEnd(self.evil)
        if self.is_in:
            self.evil.link("evil", "alpha")

    @property
    def is_in(self) -> bool:
        """The insider is logged in, or was until it said something wrong."""
        return self.evil.meta.state is State.ACTIVE

    def do(self, kind: str, payload: bytes) -> None:
        """Carry out one step."""
        stage, evil, far = self.stage, self.evil, self.far
        match kind:
            case "n":
                self.log_in()
            case "d":
                stage.read(payload)
            case "t":
                stage.run(len(payload))
            case "T":
                stage.call(lambda node, now: node.datagram_too_big("evil", len(payload), now))
            case _ if not self.is_in:
                pass
            case "l":
                evil.say(payload.decode("ascii", "replace").replace("\ufffd", "?")[:MAX_LINE_LENGTH])
            case "b":
                evil.meta._send_record(payload)
                evil.flush()
            case "f":
                evil.meta.send_frame(payload)
                evil.flush()
            case "p":
                evil.meta.send_sptps_packet(payload)
                evil.flush()
            case "o" if not evil.closed:
                far.open()
            case "a" if any(line.startswith("15 alpha evil 15 ") for line in evil.lines):
                far.answer()
            case "k" if far.session is not None and far.session.can_send and not far.session.in_handshake:
                far.session.force_rekey()
                far.say_records(far.session.take_output())
            case "u" if payload and far.session is not None and far.session.can_send:
                far.send(payload[0] % 128, payload[1:])
            case "v" if payload and far.session is not None and far.session.can_send:
                far.send(payload[0] % 128, payload[1:], by="one")
            case "g":  # from the address of the honest one
                stage.call(lambda node, now: node.datagrams([payload], [("10.99.0.3", 655)], 0, now))

    def check(self) -> None:
        """The honest neighbour is still there, and logs and scripts get printable text only."""
        assert not self.honest.closed
        assert self.honest.say("8") == ["9"]
        assert self.stage.node.peers["one"].is_neighbour
        values = [value for run in self.stage.asked(RunScript) for value in run.environment.values()]
        assert all(
            text.isprintable() and len(text) <= MAX_LINE_LENGTH for text in self.stage.logged() + values
        )


@functools.cache
def held_at_first(choice: int) -> int:
    """Return how many objects the node holds before a script begins."""
    return held(Insider(choice).stage.node)


NAMES: Final = {b"beta|hub": b"evil", b"gamma|a": b"one", b"delta|b": b"two"}
"""Those of the tests' nodes, and ours in their place; alpha is the node in both."""


def lines_of_tests(folder: str) -> Iterator[list[bytes]]:
    """Yield the requests in the tests of a folder, a few in each list, with our names."""
    for path in sorted((TESTS / folder).glob("test_*.py")):
        found = [line for line in literals(path) if re.match(rb"(1[0-9]|2[0-3]|[0-9]) ", line)]
        for old, new in NAMES.items():
            found = [re.sub(rb"\b(%b)\b" % old, new, line) for line in found]
        yield from (found[start : start + 4] for start in range(0, len(found), 4))


def insider_scripts() -> Iterator[bytes]:
    """Yield scripts of what an insider can do."""
    for number, some in enumerate((*lines_of_tests("node"), *lines_of_tests("wire"), *lines_of_tests("sim"))):
        lines = [b"l" + line for line in some]
        yield script(bytes((number % len(SETTINGS),)), b"o", *lines, b"t" + bytes(6), b"n", *lines)
    member = Entry(VIP, EntryState.ACTIVE, 100, b"\2\0\0\0\0\1", Claim(2, node_id("evil"), 100))
    assigned = Assigned(b"\2\0\0\0\0\2", bytes((10, 0, 0, 2)), node_id("evil"))
    probe = b"u\4\0" + format_block(~Capability.NONE) + bytes(20)
    reply = b"u\4\2\0\x22" + bytes(15)
    for payload in (
        MemberRecord(1, 2, (member,)).pack(),
        AssignmentRecord(1, 2, VIP, 2, node_id("evil"), (assigned,)).pack(),
        bytes(40),
        b"\1" + bytes(17),
        b"\2\5\0" + bytes(15),
    ):
        for choice in range(len(SETTINGS)):
            yield script(
                bytes((choice,)), b"o", probe, reply, b"u\4" + payload, b"t" + bytes(3), b"v\4" + payload
            )
    packet = Arp(b"\0\1", b"\2\0\0\0\0\1", bytes((10, 0, 0, 1)), bytes(6), VIP)
    arp = b"\xff" * 6 + b"\2\0\0\0\0\1\x08\6" + format_arp(packet)
    for choice in range(len(SETTINGS)):
        frames = (way + arp for way in (b"d", b"u\2", b"f", b"g"))
        yield script(bytes((choice,)), b"o", probe, reply, *frames, b"a", b"k", b"T", b"t" + bytes(9))


@target(insider_scripts, smoke=20)
def insiders(data: bytes) -> None:
    """An insider's requests, packets and datagrams: no error, and the honest neighbour notices nothing."""
    first, *rest = steps(data)
    choice = ord(first[0] or "\0") % len(SETTINGS)
    world = Insider(choice)
    for kind, payload in rest[:30]:
        world.do(kind, payload)
    world.check()
    assert held(world.stage.node) - held_at_first(choice) <= 2000 + 20 * len(data)


def single_lines() -> Iterator[bytes]:
    """Yield scripts with one request each, and those with a session."""
    for number, line in enumerate(itertools.chain(*lines_of_tests("node"), *lines_of_tests("wire"))):
        yield script(bytes((number % len(SETTINGS),)), b"l" + line)
    yield from (one for one in insider_scripts() if b"pytinc" in one)


@target(single_lines, smoke=8)
def crowds(data: bytes) -> None:
    """A script that an insider repeats with other names and numbers: what the node holds stops to grow."""
    first, *rest = steps(data)
    with ExitStack() as stack:
        for module, names in LIMITS.items():
            for name in names:
                stack.enter_context(mock.patch.object(module, name, LOW_LIMIT))
        world = Insider(ord(first[0] or "\0") % len(SETTINGS))
        world.stage.node.history.ring = EventRing(0.0, LOW_LIMIT)
        sizes = []
        for number in range(8 * LOW_LIMIT):
            for kind, payload in rest[:5]:
                if number == 0 or kind not in "on":
                    world.do(kind, numbered(payload, number) if kind in "luvd" else payload)
            if number % LOW_LIMIT == 0:
                sizes.append(held(world.stage.node))
        # A key exchange or a queue holds a few more or less; what leaks holds more each time.
        assert sizes[7] - sizes[3] <= 3 * LOW_LIMIT


def numbered(payload: bytes, number: int) -> bytes:
    """Return the payload with two digits in place of each zero, but not in the number of a request."""
    return payload[:3] + payload[3:].replace(b"0", b"%d" % (10 + number))


@target("protocol/test_meta.py", lines, smoke=80)
def strangers(data: bytes) -> None:
    """Bytes on TCP and UDP from somebody who has no key."""
    stage = Stage("alpha", ("one",))
    peer = stage.peer("one")
    remote = Address("192.0.2.7", "4000")
    number = stage.node.meta_accepted(remote, Address("10.99.0.1", "655"), stage.now)
    stage.scripted[number] = Silent(stage, "stranger", number)
    for kind, payload in steps(data):
        stage.node.datagrams([payload], [("192.0.2.7", 4000)], 0, stage.now)
        if not stage.scripted[number].closed:
            stage.node.meta_data(number, payload, stage.now)
        stage.run(len(kind) / 2)
    assert peer.say("8") == ["9"]
    assert stage.frames == []
    assert "stranger" not in stage.node.peers


class Silent(Scripted):
    """A peer that does not read."""

    def __init__(self, stage: Stage, name: str, number: int) -> None:
        stage.keys[name] = THREE
        super().__init__(stage, name, number, dials=True)

    def take(self, data: bytes) -> None:
        pass


class Inviter(SimHosts):
    """The files of a node with one invitation in them."""

    def __init__(self, content: bytes) -> None:
        super().__init__()
        self.content: bytes | None = content

    def invitation_key_text(self) -> str:
        return format_private_key(TWO)

    def take_invitation(self, file_name: str) -> tuple[bytes, float] | None:
        assert file_name == FILE_NAME
        content, self.content = self.content, None
        return None if content is None else (content, WALL_START)

    def add_host(self, name: str, public_key: str) -> bool:
        assert is_valid_name(name)
        assert self.content is None
        return name not in self.files


class Guest(Silent):
    """A joiner with the right URL."""

    def __init__(self, stage: Stage, number: int) -> None:
        super().__init__(stage, "guest", number)
        self.joiner = Joiner(key_hash(TWO.public.text), COOKIE, ONE, stage.rng.randbytes)

    def take(self, data: bytes) -> None:
        self.joiner.feed(data)
        with suppress(ProtocolError):
            while self.joiner.next_event() is not None:
                pass


def invitations() -> list[bytes]:
    """Return invitations, and what a joiner does with them."""
    key = b"s\1" + THREE.public.text.encode()
    return [
        script(content, b"j", b"j", b"j", key, key)
        for content in (
            b"Name = guest\n",
            b"name=one",
            b"Name = alpha\n",
            b"# x\nName = guest\n",
            bytes(3000),
        )
    ]


@target(invitations, smoke=100)
def inviters(data: bytes) -> None:
    """An invitation's file, and a joiner that has its URL and sends what it likes: used once at most."""
    content, *rest = data.split(END_OF_STEP)
    stage = Stage("alpha", ("one",))
    hosts = Inviter(content)
    hosts.files = stage.hosts.files
    stage.node.hosts = hosts
    stage.reload()
    number = stage.node.meta_accepted(Address("192.0.2.7", "4000"), Address("10.99.0.1", "655"), stage.now)
    guest = Guest(stage, number)
    stage.scripted[number] = guest
    for kind, payload in steps(END_OF_STEP.join(rest)):
        session, sent = guest.joiner._session, b""
        match kind:
            case "j":
                sent = guest.joiner.take_output()
            case "s" if session is not None and payload:
                sent = session._frame(payload[0], payload[1:])
            case "r":
                sent = payload
        if not guest.closed:
            stage.call(lambda node, now, sent=sent: node.meta_data(number, sent, now))  # type: ignore[misc]
    assert len(stage.asked(RunScript)) <= 1
