"""A node alone with peers that say exactly what a test has them say, and keep every line they are told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import replace
from itertools import pairwise
from typing import Protocol, TypeVar

import pytest

from pytinc.config.settings import HostPort, HostSettings, Mode, Settings
from pytinc.crypto.keys import PrivateKey
from pytinc.node import actions
from pytinc.node.core import Core
from pytinc.node.node import Node
from pytinc.node.sessions import udp_label
from pytinc.protocol.meta import Authenticated, FrameReceived, MetaConnection, Received, SptpsPacketReceived
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire import b64
from pytinc.wire.address import Address, SockAddr
from pytinc.wire.datagram import NULL_ID, PREFIX_SIZE, TYPE_MAC, TYPE_PROBE, node_id
from pytinc.wire.records import Record
from pytinc.wire.requests import Ack, AnsKey, ReqKey, Request
from sim.simulator import WALL_START, SimHosts

A = TypeVar("A", bound=actions.Action)


class Scripted:
    """A peer that dialled the node, or was dialled by it."""

    def __init__(self, stage: Stage, name: str, number: int, *, dials: bool) -> None:
        self.stage, self.name, self.number = stage, name, number
        self.meta = MetaConnection(
            name,
            stage.name if dials else None,
            stage.keys[name],
            lambda _: stage.keys[stage.name].public,
            stage.rng.randbytes,
        )
        self.ack = Ack("655", 7, 0x0700000C)
        self.bursts: list[bytes] = []
        """What the node wrote, as one piece for each event."""
        self.wrote: list[bytes] = []
        """The same of ourselves."""
        self.lines: list[str] = []
        self.frames: list[bytes] = []
        self.packets: list[bytes] = []
        self.closed = False

    def take(self, data: bytes) -> None:
        """Read what the node wrote, and log in by the way."""
        self.bursts.append(data)
        self.meta.feed(data)
        while (event := self.meta.next_event()) is not None:
            match event:
                case Authenticated():
                    self.meta.send(self.ack)
                case Received(request, line):
                    self.lines.append(line)
                    if isinstance(request, Ack):
                        self.meta.activate()
                case FrameReceived(frame):
                    self.frames.append(frame)
                case SptpsPacketReceived(packet):
                    self.packets.append(packet)
        self.flush()

    def say(self, *lines: str | Request) -> list[str]:
        """Send lines; return what the node answers, nonces replaced by ``*``."""
        before = len(self.lines)
        for line in lines:
            self.meta.send_line(line if isinstance(line, str) else line.format())
            self.flush()
        return [without_nonce(line) for line in self.lines[before:]]

    def heard(self) -> list[str]:
        """Return all lines after the login that the node has sent by now, without nonces; forget them."""
        lines, self.lines = self.lines, []
        return [without_nonce(line) for line in lines if not line.startswith("4 ")]

    def link(self, *ends: str) -> None:
        """Tell of a link: an edge in each direction between every two names that follow each other."""
        for one, other in pairwise(ends):
            for source, target in ((one, other), (other, one)):
                nonce, host = self.stage.rng.getrandbits(32), self.stage.host(target)
                self.say(f"12 {nonce:x} {source} {target} {host} 655 700000c 1")

    def hang_up(self) -> None:
        """Close the connection."""
        self.stage.call(lambda node, now: node.meta_closed(self.number, "EOF", now))

    def flush(self) -> None:
        data = self.meta.take_output()
        if data and not self.closed:
            self.wrote.append(data)
            self.stage.call(lambda node, now: node.meta_data(self.number, data, now))


def without_nonce(line: str) -> str:
    """Return a flooded request with ``*`` for its nonce, anything else as it is."""
    words = line.split(" ")
    return " ".join([words[0], "*", *words[2:]]) if words[0] in ("10", "11", "12", "13", "14") else line


class Stage:
    """The node under test, its clock and its peers."""

    def __init__(self, name: str, peers: Iterable[str], **changes: object) -> None:
        """Start a node that knows some peers.

        ``changes`` are its settings; ``takes_super_frames`` is about its device.
        """
        takes_super_frames = bool(changes.pop("takes_super_frames", False))
        self.name = name
        self.now = 0.0
        self.rng = random.Random(3)
        self.keys = {one: PrivateKey.from_seed(self.rng.randbytes(32)) for one in (name, *peers)}
        self.hosts = SimHosts()
        for index, one in enumerate(self.keys):
            address = HostPort(f"10.99.0.{index + 1}")
            self.hosts.files[one] = HostSettings(
                one, addresses=(address,), public_key=self.keys[one].public.raw
            )
        defaults: dict[str, object] = {"mode": Mode.SWITCH, "auto_connect": False}
        self.queued = 0
        """Bytes in the output of every meta connection."""
        self.chance = 0.5
        """What the node draws from 0 to 1 when it leaves something to chance."""
        self.actions: list[actions.Action] = []
        self.frames: list[bytes] = []
        """Frames for the device."""
        self.datagrams: list[tuple[SockAddr, bytes]] = []
        """Datagrams with frames in them, and whither they went."""
        self.scripted: dict[int, Scripted] = {}
        self.dialled: list[actions.Dial] = []
        self.node = Node(
            Settings(name=name, **(defaults | changes)),  # type: ignore[arg-type]
            self.keys[name],
            self.hosts,
            random_bytes=self.rng.randbytes,
            random_float=lambda: self.chance,
            path_mtu=lambda address: 1500,
            queued=lambda number: self.queued,
            wall_clock=lambda: WALL_START + self.now,
            takes_super_frames=takes_super_frames,
        )
        self.node.set_sockets([(4, Address("0.0.0.0", "655"))])
        self.call(lambda node, now: node.start(now))

    def call(self, function: Callable[[Node, float], object]) -> None:
        """Run something on the node and carry out what it asks for."""
        function(self.node, self.now)
        output = self.node.output
        self.frames += [frame for frame in output.frames if isinstance(frame, bytes)]
        for path, run in output.datagrams:
            datagrams = run if isinstance(run, list) else run.datagrams()
            self.datagrams += [(path.address, datagram) for datagram in datagrams]
        output.clear()
        for action in self.node.take_actions():
            self.actions.append(action)
            match action:
                case actions.SendMeta(number, data):
                    self.scripted[number].take(data)
                case actions.CloseMeta(number):
                    if number in self.scripted:
                        self.scripted[number].closed = True
                case actions.Dial():
                    self.dialled.append(action)

    def host(self, name: str) -> str:
        """Return the IP address of a peer; that of one that nobody knows is made up."""
        return f"10.99.0.{list(self.keys).index(name) + 1}" if name in self.keys else "10.99.1.1"

    def run(self, seconds: float) -> None:
        """Let the clock go on, and the node do what is due meanwhile."""
        end = self.now + seconds
        for _ in range(10_000):
            due = max(self.node.next_deadline(), self.now)
            if due > end:
                self.now = end
                return
            self.now = due
            self.call(lambda node, now: node.tick(now))
        raise AssertionError("the node does not come to rest")

    def read(self, *frames: bytes) -> None:
        """Have the node read frames from its device."""
        self.call(lambda node, now: node.frames(list(frames), now))

    def asked(self, kind: type[A]) -> list[A]:
        """Return what the node asked for, of one kind."""
        return [action for action in self.actions if isinstance(action, kind)]

    def reload(self, **changes: object) -> None:
        """Have the node take over changed settings."""
        settings = replace(self.node.settings, **changes)  # type: ignore[arg-type]
        self.call(lambda node, now: node.reload(settings, now))

    def peer(self, name: str, *, slow: float = 0, ack: Ack | None = None) -> Scripted:
        """Have a peer dial us and log in; without its own edge, so that it is not reachable yet.

        It greets ``slow`` seconds after it has connected.
        """
        address = Address(self.host(name), "40000")
        number = self.node.meta_accepted(address, Address("10.99.0.1", "655"), self.now)
        peer = self.scripted[number] = Scripted(self, name, number, dials=True)
        peer.ack = ack or peer.ack
        self.now += slow
        peer.meta.connected()
        peer.flush()
        return peer

    def neighbour(self, name: str) -> Scripted:
        """Have a peer log in, tell of its edge, and forget what it was told meanwhile."""
        peer = self.peer(name)
        peer.say(f"12 {self.rng.getrandbits(32):x} {name} {self.name} 10.99.0.1 655 700000c 1")
        peer.heard()
        return peer

    def answer_dial(self) -> Scripted:
        """Be the node that was dialled last."""
        dial = self.dialled[-1]
        peer = self.scripted[dial.connection] = Scripted(self, dial.peer, dial.connection, dials=False)
        self.call(lambda node, now: node.meta_connected(dial.connection, Address("10.99.0.1", "41000"), now))
        return peer

    def logged(self, level: int = 10) -> list[str]:
        """Return what was logged up to a level."""
        return [
            action.message
            for action in self.actions
            if isinstance(action, actions.Log) and action.level <= level
        ]


class FarEnd:
    """The other end of a tunnel with the node: a peer's keys, and what it sends and gets by UDP.

    Its handshake goes by way of ``neighbour``, a peer that is connected.
    """

    def __init__(self, neighbour: Scripted, name: str | None = None) -> None:
        self.neighbour, self.name = neighbour, name or neighbour.name
        self.stage = neighbour.stage
        self.address: SockAddr = (self.stage.host(self.name), 655)
        self.session: DatagramSession | None = None
        self.seen: Address | None = None
        """The address that a relay adds to our answers."""
        self._read = 0

    def open(self) -> FarEnd:
        """Start a session with the node, and finish the handshake."""
        first = self.make(Role.INITIATOR).start()
        self.say(ReqKey(self.name, self.stage.name, 15, b64.encode(first[0])))
        return self.finish()

    def answer(self) -> FarEnd:
        """Answer the node's last REQ_KEY, and finish the handshake."""
        start = f"15 {self.stage.name} {self.name} 15 "
        request = next(line for line in reversed(self.neighbour.lines) if line.startswith(start))
        session = self.make(Role.RESPONDER)
        records = session.start()
        assert session.receive_handshake(b64.decode(request.removeprefix(start)))
        self.say_records([*records, *session.take_output()])
        return self.finish()

    def finish(self) -> FarEnd:
        """Take what the node has answered so far, and go on with the handshake."""
        while self.step():
            pass
        return self

    def step(self) -> bool:
        """Take the node's next answer, and reply to it; False if there is none."""
        start = f"16 {self.stage.name} {self.name} "
        while self._read < len(self.neighbour.lines):
            line = self.neighbour.lines[self._read]
            self._read += 1
            if line.startswith(start):
                assert self.session is not None
                assert self.session.receive_handshake(b64.decode(line.split()[3]))
                self.say_records(self.session.take_output())
                return True
        return False

    def make(self, role: Role) -> DatagramSession:
        """Begin anew with an end of a session in which nothing has been said."""
        me, peer = self.name, self.stage.name
        label = udp_label(me, peer) if role is Role.INITIATOR else udp_label(peer, me)
        keys = self.stage.keys[me], self.stage.keys[peer].public
        self.session = DatagramSession(role, *keys, label, self.stage.rng.randbytes)
        self._read = len(self.neighbour.lines)
        return self.session

    def say(self, request: ReqKey | AnsKey) -> None:
        self.neighbour.say(request)

    def say_records(self, records: Iterable[bytes]) -> None:
        for record in records:
            self.say(AnsKey(self.name, self.stage.name, b64.encode(record), -1, -1, -1, 0, self.seen))

    def send(
        self, type_: int, payload: bytes, *, by: str | None = None, source: SockAddr | None = None
    ) -> bytes:
        """Send one record by UDP, straight or ``by`` a relay; return the datagram."""
        assert self.session is not None
        to = NULL_ID if by is None else node_id(self.stage.name)
        datagram = to + node_id(self.name) + self.session.seal(type_, payload)
        address = source or (self.address if by is None else (self.stage.host(by), 655))
        self.stage.call(lambda node, now: node.datagrams([datagram], [address], 0, now))
        return datagram

    def send_frame(self, frame: bytes, *, by: str | None = None, source: SockAddr | None = None) -> bytes:
        return self.send(TYPE_MAC, frame, by=by, source=source)

    def probe(self, size: int = 18, *, source: SockAddr | None = None) -> None:
        """Ask whether UDP works."""
        self.send(TYPE_PROBE, bytes(14) + self.stage.rng.randbytes(size - 14), source=source)

    def reply(self, length: int = 18, *, source: SockAddr | None = None) -> None:
        """Answer a probe of so many bytes."""
        self.send(TYPE_PROBE, b"\2" + length.to_bytes(2, "big") + bytes(15), source=source)

    def heard(self) -> list[tuple[SockAddr, Record]]:
        """Return what the node has sent us by itself by UDP, and whither; forget it."""
        assert self.session is not None
        found = [one for one in self.stage.asked(actions.SendDatagram) if one.peer == self.name]
        self.stage.actions = [one for one in self.stage.actions if one not in found]
        records = [(one.address, self.session.receive(one.data[PREFIX_SIZE:])) for one in found]
        return [(address, record) for address, record in records if record is not None]


class MakeStage(Protocol):
    """The type of the fixture ``stage``."""

    def __call__(self, *peers: str, **changes: object) -> Stage: ...


@pytest.fixture
def stage() -> MakeStage:
    """Make the node alpha, which knows some peers; keyword arguments are its settings."""

    def make(*peers: str, **changes: object) -> Stage:
        return Stage("alpha", peers, **changes)

    return make


class MakeCore(Protocol):
    """The type of the fixture ``core``."""

    def __call__(self, **changes: object) -> Core: ...


@pytest.fixture
def core() -> MakeCore:
    """Make a core of the node alpha without any part; keyword arguments are its settings."""

    def make(**changes: object) -> Core:
        rng = random.Random(5)
        made = Core(
            Settings(**({"name": "alpha", "mode": Mode.SWITCH} | changes)),  # type: ignore[arg-type]
            PrivateKey.from_seed(bytes(32)),
            SimHosts(),
            random_bytes=rng.randbytes,
            random_float=lambda: 0.5,
            path_mtu=lambda address: 1500,
            queued=lambda number: 0,
            wall_clock=lambda: WALL_START,
            insecure=False,
            takes_super_frames=False,
            prefers_aes=False,
        )
        made.sockets = ((4, Address("0.0.0.0", "655")),)
        return made

    return make
