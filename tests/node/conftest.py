"""A node alone with peers that say exactly what a test has them say, and keep every line they are told."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from typing import Protocol

import pytest

from pytinc.config.settings import HostPort, HostSettings, Mode, Settings
from pytinc.crypto.keys import PrivateKey
from pytinc.node import actions
from pytinc.node.node import Node
from pytinc.protocol.meta import Authenticated, FrameReceived, MetaConnection, Received, SptpsPacketReceived
from pytinc.wire.address import Address
from pytinc.wire.requests import Ack, Request
from sim.simulator import WALL_START, SimHosts


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
        )
        self.node.set_sockets([(4, Address("0.0.0.0", "655"))])
        self.call(lambda node, now: node.start(now))

    def call(self, function: Callable[[Node, float], object]) -> None:
        """Run something on the node and carry out what it asks for."""
        function(self.node, self.now)
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

    def peer(self, name: str, *, slow: float = 0, ack: Ack | None = None) -> Scripted:
        """Have a peer dial us and log in; without its own edge, so that it is not reachable yet.

        It greets ``slow`` seconds after it has connected.
        """
        address = Address(f"10.99.0.{list(self.keys).index(name) + 1}", "40000")
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


class MakeStage(Protocol):
    """The type of the fixture ``stage``."""

    def __call__(self, *peers: str, **changes: object) -> Stage: ...


@pytest.fixture
def stage() -> MakeStage:
    """Make the node alpha, which knows some peers; keyword arguments are its settings."""

    def make(*peers: str, **changes: object) -> Stage:
        return Stage("alpha", peers, **changes)

    return make
