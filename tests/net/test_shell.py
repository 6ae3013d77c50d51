from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest

from pytinc.config.settings import HostPort, Mode, Settings
from pytinc.control.messages import ConnectionRow, EdgeRow, NodeRow, Request
from pytinc.control.shared import parse_rows
from pytinc.control.vips import Freeze
from pytinc.control.vips import parse_rows as parse_vips
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot, UdpPath
from pytinc.errors import ConfigError, PolicyError
from pytinc.net import hostnames
from pytinc.net.batch import one_by_one
from pytinc.net.devices import DummyDevice
from pytinc.net.shell import HostFiles, Shell
from pytinc.net.sockets import Listener, open_listeners
from pytinc.net.udp import UdpSockets
from pytinc.node import views
from pytinc.node.actions import (
    Action,
    AppendPublicKey,
    CloseMeta,
    Dial,
    Log,
    Resolve,
    RunScript,
    SaveAddressCache,
    SendDatagram,
    SendMeta,
)
from pytinc.node.event_ring import EventRing
from pytinc.node.node import Node
from pytinc.vip.health import Outcome
from pytinc.wire.address import UNSPEC, Address, SockAddr
from pytinc.wire.bits import ConnectionStatus
from pytinc.wire.virtual_ip import Check, ExecCheck, VirtualIP
from sim.simulator import SimHosts

if TYPE_CHECKING:
    from net.conftest import LogLines, OnLoop
    from pytinc.datapath.runs import FrameRun


class NodeDouble:
    """Records the events it gets, and answers with given actions."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.output = Output()
        self.capture: list[bytes] | None = None
        self.events: list[tuple[object, ...]] = []
        self.actions: list[Action] = []
        self.deadline = math.inf
        self.at_work = False
        self.accepted_then: list[Action] = []
        self.check_due = 0.0
        self.history = SimpleNamespace(ring=EventRing(0.0))
        self.short_way: ShortWayDouble | None = None

    def __getattr__(self, name: str) -> Callable[..., None]:
        def event(*arguments: object, **named: object) -> None:
            assert not self.at_work, "the node was called while its actions were carried out"
            self.events.append((name, *arguments[:-1], *named.items()))

        if name.startswith("_"):
            raise AttributeError(name)
        return event

    def meta_accepted(self, remote: Address, local: Address, now: float) -> int:
        self.events.append(("meta_accepted", remote, local))
        self.actions += self.accepted_then
        return 7

    def network_came_up(self, now: float) -> None:
        """No event, since other processes make interfaces at any time."""

    def known_addresses(self) -> list[bytes]:
        return []

    def next_check(self, key: tuple[bytes, str | None], check: Check) -> float:
        return self.check_due

    def disconnect(self, name: str, now: float) -> bool:
        return name == "b"

    def take_actions(self) -> list[Action]:
        actions, self.actions = self.actions, []
        return actions

    def next_deadline(self) -> float:
        return self.deadline

    def names(self) -> list[object]:
        return [event[0] for event in self.events]


@dataclass
class ShortWayDouble:
    """Sends frames along ``path``, and takes datagrams as ``frame`` tells."""

    path: UdpPath
    sent: bytes | None = None
    frame_in_it: bytes | None = None

    def frame(self, frame: bytes, now: float) -> tuple[UdpPath, bytes] | None:
        return None if self.sent is None else (self.path, self.sent)

    def datagram(
        self, datagram: bytes, address: SockAddr, socket: int, now: float, out: Output
    ) -> bytes | None:
        return self.frame_in_it


class Device:
    """A device whose other end belongs to the test."""

    name = path = "pair"
    hwaddr = bytes(6)

    def __init__(self) -> None:
        self.host, self.ours = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.ours.setblocking(False)

    def fileno(self) -> int:
        return self.ours.fileno()

    def read_batch(self, limit: int) -> list[bytes]:
        return [self.ours.recv(2000)]

    def write(self, frame: bytes) -> None:
        self.ours.send(frame)

    def write_batch(self, frames: Sequence[bytes | FrameRun]) -> None:
        for frame in one_by_one(frames):
            self.write(frame)

    def close(self) -> None:
        self.host.close()
        self.ours.close()


@dataclass
class Files:
    done: list[tuple[object, ...]] = field(default_factory=list)
    broken: bool = False

    def append_public_key(self, name: str, key_text: str) -> None:
        if self.broken:
            raise ConfigError("disk full")
        self.done.append((name, key_text))

    def save_address_cache(self, name: str, addresses: tuple[Address, ...]) -> None:
        if self.broken:
            raise ConfigError("disk full")
        self.done.append((name, addresses))


@dataclass
class World:
    shell: Shell
    node: NodeDouble
    device: Device
    listener: Listener
    files: Files
    scripts: list[tuple[str, Mapping[str, str]]]
    captured: list[bytes]
    told: list[int]

    def do(self, *actions: Action) -> None:
        self.node.actions += actions
        self.shell.settle()


@asynccontextmanager
async def world(
    log: LogLines,
    *,
    is_open: bool = True,
    virtual_ips: tuple[VirtualIP, ...] = (),
    short_way: ShortWayDouble | None = None,
) -> AsyncIterator[World]:
    settings = Settings("a", port="0", listen_address=(HostPort("127.0.0.1"),), virtual_ips=virtual_ips)
    node, device, files = NodeDouble(settings), Device(), Files()
    node.short_way = short_way
    scripts: list[tuple[str, Mapping[str, str]]] = []
    captured: list[bytes] = []
    told: list[int] = []
    listeners = open_listeners(settings, lambda *_: None)
    shell = Shell(
        asyncio.get_running_loop(),
        cast(Node, node),
        device,
        listeners,
        files=cast(HostFiles, files),
        log=log,
        run_script=lambda name, environment: scripts.append((name, environment)),
        start_check=lambda name, environment: None,
        on_fatal=lambda text: log(0, "error", text),
        deliver_capture=captured.extend,
        events_added=lambda: told.append(node.history.ring.last),
    )
    shell.start()
    if is_open:
        shell.open()
    try:
        yield World(shell, node, device, listeners[0], files, scripts, captured, told)
    finally:
        shell.close()
        device.close()


async def until(condition: Callable[[], object]) -> None:
    """Poll for a condition that has no event."""
    while not condition():  # noqa: ASYNC110
        await asyncio.sleep(0.002)


def test_clients_are_told_when_there_are_events(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.do()
            assert w.told == []
            w.node.history.ring.add(1.0, "node-up", {})
            w.node.history.ring.add(1.0, "path", {})
            w.do()
            w.do()
            assert w.told == [2]
            w.node.history.ring.add(1.0, "script", {})
            w.shell.script_ended("host-up", 0, 0.5, None)
            assert w.node.events[-1][:3] == ("script_ended", "host-up", 0)
            assert w.told == [2, 3]

    on_loop(main)


def test_frames_of_the_device_go_to_the_node_and_its_frames_to_the_device(
    on_loop: OnLoop, log: LogLines
) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.device.host.send(b"from the host")
            await until(lambda: ("frames", [b"from the host"]) in w.node.events)
            w.node.output.frames += [b"one", b"two"]
            w.do()
            assert [w.device.host.recv(99) for _ in range(2)] == [b"one", b"two"]
            assert w.node.output.frames == []

    on_loop(main)


def test_an_ordinary_lone_packet_does_not_reach_the_node(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            way = ShortWayDouble(UdpPath(1400, 0, peer.getsockname(), b"", PeerSlot("relay")))
            async with world(log, short_way=way) as w:
                before = len(w.node.events)
                way.sent, way.frame_in_it = b"sealed", b"a frame"
                w.device.host.send(b"from the host")
                peer.sendto(b"datagram", w.listener.udp.getsockname())
                assert await asyncio.to_thread(peer.recv, 99) == b"sealed"
                assert await asyncio.to_thread(w.device.host.recv, 99) == b"a frame"
                assert w.node.events[before:] == []
                way.sent = bytes(66000)
                w.device.host.send(b"from the host")
                await until(lambda: ("datagram_too_big", "relay", 66000) in w.node.events)

    on_loop(main)


def test_packets_refused_by_the_short_way_go_to_the_node(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
            peer.bind(("127.0.0.1", 0))
            way = ShortWayDouble(UdpPath(1400, 0, peer.getsockname(), b"", PeerSlot("b")))
            async with world(log, short_way=way) as w:
                w.device.host.send(b"from the host")
                peer.sendto(b"datagram", w.listener.udp.getsockname())
                await until(lambda: {"frames", "datagrams"} <= set(w.node.names()))
                # It does not try the short way again.
                assert ("frames", (b"from the host",), ("refused", True)) in w.node.events
                sender = peer.getsockname()
                assert ("datagrams", (b"datagram",), (sender,), 0, ("refused", True)) in w.node.events
                # It was no frame for the device, so the node is asked what comes of it.
                way.frame_in_it = b""
                peer.sendto(b"datagram", w.listener.udp.getsockname())
                await until(lambda: "settle_packets" in w.node.names())
                # The mark of a datagram is that of its frame, which the short way does not look at.
                way.sent = b"sealed"
                w.node.settings = replace(w.node.settings, priority_inheritance=True)
                before = w.node.names().count("frames")
                w.device.host.send(bytes(12) + b"\x08\x00\x45" + bytes(19))
                await until(lambda: w.node.names().count("frames") > before)

    on_loop(main)


def test_priority_inheritance_gives_datagrams_the_mark_of_their_frames(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    head = bytes(12) + b"\x08\x00\x45"
    frames = [head + bytes((mark,)) + bytes(18) for mark in (0xB8, 0xB8, 0)]
    path = UdpPath(1400, 0, ("127.0.0.1", 9), b"", PeerSlot("b"))
    sent: list[tuple[int, list[bytes]]] = []

    def send_batch(udp: UdpSockets, index: int, address: SockAddr, datagrams: Sequence[bytes]) -> None:
        sent.append((udp.mark, list(datagrams)))

    monkeypatch.setattr(UdpSockets, "send_batch", send_batch)

    async def main() -> None:
        async with world(log) as w:
            w.node.settings = replace(w.node.settings, priority_inheritance=True)
            monkeypatch.setattr(
                w.node, "frames", lambda run, now: w.node.output.queue(path, list(run)), raising=False
            )
            monkeypatch.setattr(w.device, "read_batch", lambda limit: w.device.ours.recv(1) and frames)
            w.device.host.send(b"!")
            await until(lambda: len(sent) == 2)
            assert sent == [(0xB8, frames[:2]), (0, frames[2:])]
            w.node.output.queue(path, [b"later"])
            w.do()
            assert sent[2] == (0, [b"later"])

    on_loop(main)


def test_datagrams_go_to_the_node_with_their_senders_and_socket(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as peer:
                peer.bind(("127.0.0.1", 0))
                peer.sendto(b"datagram", w.listener.udp.getsockname())
                await until(lambda: "datagrams" in w.node.names())
                assert w.node.events[-1] == ("datagrams", [b"datagram"], [peer.getsockname()], 0)
                path = UdpPath(1400, 0, peer.getsockname(), bytes(12), PeerSlot("b"))
                w.node.output.datagrams.append((path, [b"x" * 50, b"y" * 50]))
                w.do(SendDatagram(0, peer.getsockname(), b"probe", "b"))
                assert [peer.recv(99) for _ in range(3)] == [b"x" * 50, b"y" * 50, b"probe"]

    on_loop(main)


def test_a_refused_size_is_reported_once_per_peer_and_from_the_loop(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            address = w.listener.udp.getsockname()
            path = UdpPath(70000, 0, address, bytes(12), PeerSlot("relay"))
            w.node.output.datagrams.append((path, [bytes(66000), bytes(65999)]))
            before = len(w.node.events)
            w.do(SendDatagram(0, address, bytes(65800), "b"), SendDatagram(0, address, bytes(65700), "b"))
            assert len(w.node.events) == before
            await until(lambda: len(w.node.events) >= before + 2)
            assert w.node.events[before:] == [
                ("datagram_too_big", "relay", 65999),
                ("datagram_too_big", "b", 65700),
            ]

    on_loop(main)


def test_a_dialled_connection_carries_bytes_both_ways_until_it_is_closed(
    on_loop: OnLoop, log: LogLines
) -> None:
    async def main() -> None:
        async with world(log) as w:
            with socket.create_server(("127.0.0.1", 0)) as peer:
                peer.setblocking(False)
                w.do(Dial(3, "b", Address("127.0.0.1", str(peer.getsockname()[1]))))
                stream, remote = await asyncio.get_running_loop().sock_accept(peer)
                with stream:
                    await until(lambda: "meta_connected" in w.node.names())
                    assert w.node.events[-1] == ("meta_connected", 3, Address(remote[0], str(remote[1])))
                    w.do(SendMeta(3, b"hello"))
                    assert w.shell.meta.queued(3) == 0
                    assert await asyncio.get_running_loop().sock_recv(stream, 99) == b"hello"
                    stream.send(b"answer")
                    await until(lambda: ("meta_data", 3, b"answer") in w.node.events)
                    w.do(CloseMeta(3, tarpit=False))
                    assert await asyncio.get_running_loop().sock_recv(stream, 99) == b""
                    assert "meta_closed" not in w.node.names()

    on_loop(main)


def test_a_connection_that_fails_while_actions_are_performed_is_reported_later(
    on_loop: OnLoop, log: LogLines
) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.node.at_work = True
            w.do(Dial(3, "b", Address("not numeric", "655")), SendMeta(99, b"to nobody"))
            w.node.at_work = False
            await until(lambda: "meta_closed" in w.node.names())

    on_loop(main)


def test_an_accepted_connection_may_be_refused_at_once(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.node.accepted_then = [CloseMeta(7, tarpit=True)]
            with socket.create_connection(w.listener.tcp.getsockname()) as peer:
                peer.send(b"hello?")
                await until(lambda: "meta_accepted" in w.node.names())
                await asyncio.sleep(0.02)
                peer.setblocking(False)
                with pytest.raises(BlockingIOError):
                    peer.recv(1)
                assert w.node.names()[-1] == "meta_accepted"

    on_loop(main)


SERVICE = ExecCheck("nosuch")
TEN = VirtualIP(socket.inet_aton("10.1.1.10"), 32, checks=(SERVICE,))


def results_of(node: NodeDouble) -> list[tuple[object, ...]]:
    return [event[1:] for event in node.events if event[0] == "check_result"]


def test_checks_run_while_the_shell_is_open_and_their_results_go_to_the_node(
    on_loop: OnLoop, log: LogLines
) -> None:
    async def main() -> None:
        async with world(log, virtual_ips=(TEN,)) as w:
            await until(lambda: len(results_of(w.node)) >= 2)
            key, check, outcome = results_of(w.node)[0]
            assert (key, check) == (TEN.key, SERVICE)
            assert isinstance(outcome, Outcome)
            assert (outcome.well, outcome.detail) == (False, "there is no such script")
        count = len(results_of(w.node))
        await asyncio.sleep(0.02)
        assert len(results_of(w.node)) == count

    on_loop(main)


def test_a_reload_begins_and_ends_checks(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            assert results_of(w.node) == []
            w.shell.reload(replace(w.node.settings, virtual_ips=(TEN,)))
            await until(lambda: results_of(w.node))
            w.shell.reload(w.node.settings)
            count = len(results_of(w.node))
            await asyncio.sleep(0.02)
            assert len(results_of(w.node)) == count

    on_loop(main)


def test_the_node_gets_the_answer_of_a_look_up(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.do(Resolve("b", "127.0.0.1", "655"))
            await until(lambda: "resolved" in w.node.names())
            assert w.node.events[-1] == ("resolved", "b", (Address("127.0.0.1", "655"),))

    on_loop(main)


def test_a_name_without_an_address_is_logged_with_the_peer(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.do(Resolve("b", "127.0.0.1", "no such service"))
            await until(lambda: ("resolved", "b", ()) in w.node.events)
            assert "No address found for 127.0.0.1 port no such service of b" in log.messages

    on_loop(main)


def test_nothing_is_dialled_or_read_before_the_shell_is_open(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log, is_open=False) as w:
            w.node.deadline = 0.0
            w.do(
                RunScript("subnet-up", {"SUBNET": "x"}),
                Dial(1, "b", Address("127.0.0.1", "1")),
                Dial(2, "c", Address("127.0.0.1", "1")),
                CloseMeta(2, tarpit=False),
                Resolve("d", "127.0.0.1", "1"),
            )
            w.device.host.send(b"early")
            await until(lambda: w.scripts)
            assert w.scripts == [("subnet-up", {"SUBNET": "x"})]
            assert w.node.names() == ["start"]
            w.node.deadline = math.inf
            w.shell.open()
            await until(lambda: {"frames", "resolved", "meta_closed"} <= set(w.node.names()))
            assert ("meta_closed", 1, "Connection refused") in w.node.events
            assert not any(event[:2] == ("meta_closed", 2) for event in w.node.events)

    on_loop(main)


def test_the_node_is_ticked_at_its_deadline(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.node.deadline = 0.0
            w.shell.settle()
            w.node.deadline = math.inf
            await until(lambda: "tick" in w.node.names())
            await asyncio.sleep(0.02)
            assert w.node.names().count("tick") == 1

    on_loop(main)


def test_files_and_log_lines_are_written_in_order(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            addresses = (Address("192.0.2.1", "655"),)
            w.do(AppendPublicKey("b", "KEY"), SaveAddressCache("b", addresses), Log(2, "info", "done"))
            assert log == [(2, "info", "done")]
            await until(lambda: w.files.done == [("b", "KEY"), ("b", addresses)])

    on_loop(main)


def test_logs_and_dumps_show_names_with_hostnames(
    on_loop: OnLoop, log: LogLines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hostnames, "look_up", lambda host: f"name-of-{host}.example")
    b = "192.0.2.7"
    edge = views.EdgeView("a", "b", Address(b, "655"), UNSPEC, 0, 1)
    monkeypatch.setattr(views, "edges", lambda node: [edge])

    async def main() -> None:
        async with world(log) as w:
            for _ in range(2):
                w.do(Log(1, "info", f"Connected to b ({b} port 655)"))
            assert log.messages == [f"Connected to b ({b} port 655)"] * 2
            assert w.shell.dump(Request.DUMP_EDGES, []) == [EdgeRow(*edge).format()]
            w.node.settings = replace(w.node.settings, hostnames=True)  # as after a reload
            w.do(Log(1, "info", f"Lost b ({b} port 655)"))
            named = edge._replace(address=Address(f"name-of-{b}.example", "655"))
            await until(lambda: w.shell.dump(Request.DUMP_EDGES, []) == [EdgeRow(*named).format()])
            w.do(Log(1, "info", f"Connected to b ({b} port 655)"))
            assert log.messages[-1] == f"Connected to b (name-of-{b}.example port 655)"

    on_loop(main)


def test_a_full_disk_is_only_reported(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.files.broken = True
            w.do(AppendPublicKey("b", "KEY"), SaveAddressCache("b", ()))
            await until(lambda: log == [(0, "error", "disk full"), (1, "warning", "disk full")])

    on_loop(main)


def test_an_address_learned_just_before_the_end_is_saved(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.do(AppendPublicKey("b", "KEY"), SaveAddressCache("b", ()))
        assert w.files.done == [("b", "KEY"), ("b", ())]

    on_loop(main)


def test_captured_frames_are_delivered_and_forgotten(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            w.shell.capture(wanted=True)
            assert w.node.capture == []
            w.node.capture += [b"frame"]
            w.shell.settle()
            assert (w.captured, w.node.capture) == ([b"frame"], [])
            w.shell.capture(wanted=True)
            w.shell.capture(wanted=False)
            assert w.node.capture is None

    on_loop(main)


def test_requests_reach_the_node(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        async with world(log) as w:
            settings = Settings("a", mode=Mode.HUB)
            w.shell.retry()
            w.shell.purge()
            w.shell.reload(settings)
            assert w.node.events[-3:] == [("retry",), ("purge",), ("reload", settings)]
            assert w.shell.disconnect("b")
            assert not w.shell.disconnect("c")

    on_loop(main)


# -- with the real node --


def test_dumps_of_a_real_node_have_the_form_of_the_control_protocol(on_loop: OnLoop, log: LogLines) -> None:
    async def main() -> None:
        settings = Settings("alpha", mode=Mode.SWITCH, port="0", listen_address=(HostPort("127.0.0.1"),))
        listeners = open_listeners(settings, log)
        node = Node(
            settings,
            PrivateKey.from_seed(bytes(32)),
            SimHosts(),
            random_bytes=bytes,
            random_float=lambda: 0.5,
            path_mtu=lambda address: None,
            queued=lambda connection: 0,
            wall_clock=lambda: 1795377436.0,
        )
        node.set_sockets([(listener.family, listener.address) for listener in listeners])
        shell = Shell(
            asyncio.get_running_loop(),
            node,
            DummyDevice(),
            listeners,
            files=cast(HostFiles, Files()),
            log=log,
            run_script=lambda name, environment: None,
            start_check=lambda name, environment: None,
            on_fatal=lambda text: None,
            deliver_capture=lambda frames: None,
            events_added=lambda: None,
        )
        shell.start()
        shell.open()
        try:
            (line,) = shell.dump(Request.DUMP_NODES, [])
            row = NodeRow.parse(line)
            assert (row.name, row.node_id, row.distance) == ("alpha", "ba3ce58667ca", 0)
            assert row.address == Address("MYSELF", listeners[0].address.port)
            assert shell.dump(Request.DUMP_EDGES, []) == []
            assert shell.dump(Request.DUMP_SUBNETS, []) == [
                "18 5 ff:ff:ff:ff:ff:ff (broadcast)",
                "18 5 255.255.255.255 (broadcast)",
                "18 5 224.0.0.0/4 (broadcast)",
                "18 5 ff00::/8 (broadcast)",
            ]
            assert shell.dump(Request.DUMP_TRAFFIC, []) == ["18 13 alpha 0 0 0 0"]
            shared = parse_rows(shell.dump(Request.DUMP_SHARED, []))
            assert (shared.guard["enabled"], shared.guard["interval_ms"]) == (True, 100)
            assert shared.addresses == ()
            vips = parse_vips(shell.dump(Request.DUMP_VIPS, []))
            assert (vips.policy["draining"], vips.addresses) == (False, ())
            with pytest.raises(PolicyError):
                shell.vip_order(Freeze(bytes((10, 1, 1, 10))))
            with socket.create_connection(listeners[0].tcp.getsockname()):
                await until(lambda: any("Connection from" in line for line in log.messages))
                mine = ConnectionRow(
                    "<control>", Address("localhost", "unix"), 0, 5, ConnectionStatus.CONTROL
                )
                control_rows: Sequence[tuple[float, ConnectionRow]] = [(0.0, mine), (1e12, mine)]
                lines = shell.dump(Request.DUMP_CONNECTIONS, list(control_rows))
                assert [line.split()[2] for line in lines] == ["<control>", "<unknown>", "<control>"]
                assert int(lines[1].split()[7]) > 2
        finally:
            shell.close()

    on_loop(main)
