"""A whole mesh in memory: real nodes, virtual clock, and an underlay that can lose, delay and cut.

Each `SimNode` drives one `pytinc.node.node.Node` exactly as the daemon's shell does, but sending adds an
entry to the one event queue. Hours of protocol time pass in seconds.
"""

from __future__ import annotations

import functools
import heapq
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from pytinc.config.settings import HostPort, HostSettings, Mode, Settings
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.runs import FrameRun
from pytinc.net.batch import one_by_one
from pytinc.node import actions
from pytinc.node.node import Node
from pytinc.protocol.meta import RequestCounts
from pytinc.wire.address import Address, SockAddr
from pytinc.wire.requests import Number

WALL_START = 1_800_000_000.0
MAX_LOG = 2000


class SimHosts:
    """The host files of one node, in a dictionary."""

    def __init__(self) -> None:
        self.files: dict[str, HostSettings] = {}
        self.caches: dict[str, tuple[Address, ...]] = {}
        self.mtimes: dict[str, float] = {}

    def host_settings(self, name: str) -> HostSettings | None:
        return self.files.get(name)

    def host_names(self) -> list[str]:
        return list(self.files)

    def host_mtime(self, name: str) -> float | None:
        return self.mtimes.get(name, 0.0) if name in self.files else None

    def load_address_cache(self, name: str) -> tuple[Address, ...]:
        return self.caches.get(name, ())

    def invitation_key_text(self) -> str | None:
        return None

    def take_invitation(self, file_name: str) -> tuple[bytes, float] | None:
        return None

    def forget_taken(self, file_name: str) -> None:
        pass

    def add_host(self, name: str, public_key: str) -> bool:
        return False


@dataclass
class Pipe:
    """One TCP connection: two ends, each a node and its number for the connection."""

    ends: list[tuple[SimNode, int] | None]
    open: bool = True

    def other(self, node: SimNode, number: int) -> tuple[SimNode, int] | None:
        one, two = self.ends
        return two if one is not None and one[0] is node and one[1] == number else one


@dataclass
class Underlay:
    """The behaviour of the network between the hosts."""

    delay: float = 0.005
    loss: float = 0.0
    """The share of UDP datagrams that are lost."""
    mtu: int = 1500
    """The IP MTU of every path, known to the kernel of the sender (EMSGSIZE)."""
    hidden_mtu: int | None = None
    """A smaller MTU somewhere on the path: larger datagrams vanish."""
    no_udp: set[frozenset[str]] = field(default_factory=set)
    """Pairs of hosts between which no datagram passes."""
    mute: set[str] = field(default_factory=set)
    """Hosts from which nothing arrives, although they receive everything."""
    cut: set[str] = field(default_factory=set)
    """Hosts that neither send nor receive anything."""
    island: set[str] = field(default_factory=set)
    """Hosts that reach only each other."""
    slow: dict[str, float] = field(default_factory=dict)
    """Seconds by which everything that is sent to a host is delayed."""

    tcp_delay: float = 0.0
    """Seconds by which data on TCP connections is slower than datagrams."""

    def carries(self, one: str, two: str) -> bool:
        if one in self.cut or two in self.cut or one in self.mute:
            return False
        return (one in self.island) == (two in self.island)

    def delay_to(self, name: str) -> float:
        return self.delay + self.slow.get(name, 0.0)


class Station(Protocol):
    """A host behind a device, or several."""

    def receive(self, frame: bytes) -> None:
        """Receive a frame that the node wrote to its device."""


class SimNode:
    """A node and the thin shell around it."""

    def __init__(self, mesh: Mesh, name: str, ip: str, settings: Settings, key: PrivateKey) -> None:
        self.mesh = mesh
        self.name = name
        self.address = Address(ip, "655")
        self.sockaddr = self.address.sockaddr()
        self.settings = settings
        self.key = key
        self.hosts = SimHosts()
        self.running = False
        self.withdrawn = False
        self.asleep = False
        self.wall_offset = 0.0
        """Seconds by which the wall clock was set since the start."""
        self.takes_super_frames = False
        """Whether the device accepts super-frames; set before the start."""
        self.prefers_aes = False
        """Whether the CPU is faster with AES; set before the start."""
        self.frames: list[bytes] = []
        self.host: Station | None = None
        """The host behind the device; None: the test itself."""
        self.scripts: list[tuple[str, dict[str, str]]] = []
        self.logs: list[str] = []
        self.errors: list[str] = []
        self.pipes: dict[int, Pipe] = {}
        self._armed = float("inf")
        self._waiting: list[Callable[[], None]] = []
        """The events that arrived while the process was stopped."""

    def start(self) -> None:
        rng = self.mesh.rng
        self.node = Node(
            self.settings,
            self.key,
            self.hosts,
            random_bytes=rng.randbytes,
            random_float=rng.random,
            path_mtu=lambda address: self.mesh.underlay.mtu,
            queued=lambda number: 0,
            wall_clock=lambda: WALL_START + self.wall_offset + self.mesh.now,
            takes_super_frames=self.takes_super_frames,
            prefers_aes=self.prefers_aes,
        )
        self.node.set_sockets([(4, self.address)])
        self.running = True
        self._armed = float("inf")
        self.node.start(self.mesh.now)
        self.settle()

    def stop(self) -> None:
        """Stop in an orderly way: peers see the connections end."""
        self.node.stop(self.mesh.now)
        self.settle()
        self.running = False

    def crash(self) -> None:
        """End without notice; the kernel resets the connections."""
        self.running = False
        for number in list(self.pipes):
            self._hang_up(number)

    def sleep(self, seconds: float) -> None:
        """Suspend the host: it receives nothing and runs no timer, but its clock continues."""
        self.asleep = True
        self.mesh.underlay.cut.add(self.name)
        self.mesh.at(self.mesh.now + seconds, self._wake)

    def _wake(self) -> None:
        self.mesh.underlay.cut.discard(self.name)
        self._go_on()

    def stall(self, seconds: float) -> None:
        """Stop the process: events wait meanwhile, and no timer runs."""
        self.asleep = True
        self.mesh.at(self.mesh.now + seconds, self._go_on)

    def _go_on(self) -> None:
        self.asleep = False
        waiting, self._waiting = self._waiting, []
        self._tick(self._armed)
        for event in waiting:
            event()

    def send_frame(self, frame: bytes) -> None:
        self._settle_packets(more=self.node.frames([frame], self.mesh.now))

    def send_batch(self, run: FrameRun) -> None:
        """Send the frames that a device with offload returns at once."""
        self._settle_packets(more=self.node.frames([run], self.mesh.now))

    def call(self, function: Callable[[Node, float], object]) -> None:
        """Run something on the node and carry out its actions."""
        function(self.node, self.mesh.now)
        self.settle()

    def settle(self) -> None:
        """Settle as the daemon's shell does after every event."""
        self._send_output()
        for action in self.node.take_actions():
            self._perform(action)
        self._arm()

    def _settle_packets(self, *, more: bool) -> None:
        """Do what `settle` does, or only send if there are only packets, as the daemon's shell does."""
        if more:
            self.settle()
        else:
            self._send_output()

    def _send_output(self) -> None:
        output = self.node.output
        if not output.frames and not output.datagrams:
            return
        frames, runs = list(output.frames), list(output.datagrams)
        output.clear()
        self._deliver(one_by_one(frames))
        for path, datagrams in runs:
            for datagram in datagrams if isinstance(datagrams, list) else datagrams.datagrams():
                self._send_datagram(path.address, datagram, path.relay.name)

    def _deliver(self, frames: Iterable[bytes]) -> None:
        """Give frames to the host behind the device, or keep them for the test if there is none."""
        host = self.host
        if host is None:
            self.frames += frames
            return
        for frame in frames:
            self.mesh.at(self.mesh.now, functools.partial(host.receive, frame))

    def _arm(self) -> None:
        deadline = self.node.next_deadline()
        if deadline < self._armed:
            self._armed = deadline
            self.mesh.at(deadline, lambda: self._tick(deadline))

    def _tick(self, armed_for: float) -> None:
        if not self.running or self.asleep or armed_for != self._armed:
            return
        self._armed = float("inf")
        self.node.tick(self.mesh.now)
        self.settle()

    def _perform(self, action: actions.Action) -> None:
        match action:
            case actions.Log(level, priority, message):
                if len(self.logs) < MAX_LOG:
                    self.logs.append(f"{self.mesh.now:.3f} {level} {message}")
                if priority == "error" and level == 0 and len(self.errors) < MAX_LOG:
                    self.errors.append(message)
            case actions.Dial(number, _, address):
                self._dial(number, address)
            case actions.SendMeta(number, data):
                self._write(number, data)
            case actions.CloseMeta(number, tarpit):
                self._close(number, silent=tarpit)
            case actions.SendDatagram(_, sockaddr, data, peer):
                self._send_datagram(sockaddr, data, peer)
            case actions.Resolve(peer, host, port):
                now = self.mesh.now
                self.mesh.at(
                    now + 0.01,
                    lambda: self._if_running(
                        lambda: self.node.resolved(peer, [Address(host, port)], self.mesh.now)
                    ),
                )
            case actions.Withdrawn():
                self.withdrawn = True
            case actions.RunScript(name, environment):
                self.scripts.append((name, dict(environment)))
            case actions.AppendPublicKey(peer, key):
                from pytinc.crypto.keys import PublicKey

                raw = PublicKey.from_text(key).raw
                self.hosts.files[peer] = replace(self.hosts.files[peer], public_key=raw)
            case actions.SaveAddressCache(peer, addresses):
                self.hosts.caches[peer] = addresses

    def _if_running(self, function: Callable[[], object]) -> None:
        """Give the node an event now, or when the process runs again."""
        if self._runs_or_waits(functools.partial(self._if_running, function)):
            function()
            self.settle()

    def _receive(self, datagram: bytes, source: SockAddr) -> None:
        """Receive a datagram now, or when the process runs again."""
        if self._runs_or_waits(functools.partial(self._receive, datagram, source)):
            self._settle_packets(more=self.node.datagrams([datagram], [source], 0, self.mesh.now))

    def _runs_or_waits(self, event: Callable[[], None]) -> bool:
        """Tell whether the process runs; if it sleeps, the event waits until it runs again."""
        if self.running and self.asleep:
            self._waiting.append(event)
        return self.running and not self.asleep

    # -- TCP --

    def _dial(self, number: int, address: Address) -> None:
        mesh = self.mesh
        target = mesh.by_ip.get(address.host)
        delay = mesh.underlay.delay

        def refused() -> None:
            self._if_running(lambda: self.node.meta_closed(number, "Connection refused", mesh.now))

        def arrive() -> None:
            if target is None or not target.running:
                mesh.at(mesh.now + delay, refused)
                return
            if not mesh.underlay.carries(self.name, target.name):
                return  # lost, so the node times out
            local = Address(self.address.host, str(mesh.rng.randrange(20000, 60000)))
            pipe = Pipe([(self, number), None])
            self.pipes[number] = pipe
            theirs = target.node.meta_accepted(local, target.address, mesh.now)
            pipe.ends[1] = (target, theirs)
            target.pipes[theirs] = pipe
            target.settle()
            mesh.at(
                mesh.now + delay,
                lambda: self._if_running(lambda: self.node.meta_connected(number, local, mesh.now)),
            )

        mesh.at(mesh.now + delay, arrive)

    def _write(self, number: int, data: bytes) -> None:
        pipe = self.pipes.get(number)
        other = pipe.other(self, number) if pipe is not None and pipe.open else None
        if other is None:
            return
        peer, theirs = other
        mesh = self.mesh

        def arrive() -> None:
            # TCP retransmits data that a suspended host did not receive.
            if not (mesh.underlay.carries(self.name, peer.name) or peer.asleep):
                return
            if peer.running and theirs in peer.pipes:
                peer._if_running(lambda: peer.node.meta_data(theirs, data, mesh.now))

        underlay = mesh.underlay
        mesh.at(mesh.now + underlay.delay_to(peer.name) + underlay.tcp_delay, arrive)

    def _close(self, number: int, *, silent: bool) -> None:
        if silent:
            self.pipes.pop(number, None)
        else:
            self._hang_up(number)

    def _hang_up(self, number: int) -> None:
        pipe = self.pipes.pop(number, None)
        other = pipe.other(self, number) if pipe is not None else None
        if other is None:
            return
        peer, theirs = other
        mesh = self.mesh

        def arrive() -> None:
            if mesh.underlay.carries(self.name, peer.name) and peer.running and theirs in peer.pipes:
                peer.pipes.pop(theirs, None)
                peer.node.meta_closed(theirs, "EOF", mesh.now)
                peer.settle()

        mesh.at(mesh.now + mesh.underlay.delay_to(peer.name), arrive)

    # -- UDP --

    def _send_datagram(self, sockaddr: SockAddr, data: bytes, relay: str) -> None:
        mesh = self.mesh
        underlay = mesh.underlay
        if len(data) + 28 > underlay.mtu:
            now = mesh.now
            mesh.at(
                now, lambda: self._if_running(lambda: self.node.datagram_too_big(relay, len(data), mesh.now))
            )
            return
        target = mesh.by_ip.get(str(sockaddr[0]))
        if target is None or sockaddr[1] != 655 or not target.running:
            return
        if not underlay.carries(self.name, target.name):
            return
        if frozenset((self.name, target.name)) in underlay.no_udp or mesh.rng.random() < underlay.loss:
            return
        if underlay.hidden_mtu is not None and len(data) + 28 > underlay.hidden_mtu:
            return
        mesh.datagrams += 1
        arrive = functools.partial(target._receive, data, self.sockaddr)
        mesh.at(mesh.now + underlay.delay_to(target.name), arrive)


class Mesh:
    """All hosts, the clock, and the network between them."""

    def __init__(self, seed: int = 1) -> None:
        self.now = 0.0
        self.rng = random.Random(seed)
        self.underlay = Underlay()
        self.nodes: dict[str, SimNode] = {}
        self.by_ip: dict[str, SimNode] = {}
        self.datagrams = 0
        self._queue: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()

    def at(self, when: float, function: Callable[[], object]) -> None:
        heapq.heappush(self._queue, (max(when, self.now), next(self._order), function))

    def add(self, name: str, *, connect_to: Iterable[str] = (), **changes: Any) -> SimNode:
        """Add a host (not started); it and every other one know each other."""
        index = len(self.nodes) + 1
        ip = f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"
        defaults: dict[str, Any] = {
            "mode": Mode.SWITCH,
            "auto_connect": False,
            "connect_to": tuple(connect_to),
        }
        settings = Settings(name=name, **(defaults | changes))
        key = PrivateKey.from_seed(self.rng.randbytes(32))
        new = SimNode(self, name, ip, settings, key)
        file = HostSettings(name, addresses=(HostPort(ip),), public_key=key.public.raw)
        new.hosts.files = {other.name: self.file_of(other) for other in self.nodes.values()} | {name: file}
        for other in self.nodes.values():
            other.hosts.files[name] = file
        self.nodes[name] = self.by_ip[ip] = new
        return new

    @staticmethod
    def file_of(sim: SimNode) -> HostSettings:
        return sim.hosts.files[sim.name]

    def start(self) -> None:
        for sim in self.nodes.values():
            sim.start()

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._queue and self._queue[0][0] <= end:
            when, _, function = heapq.heappop(self._queue)
            self.now = when
            function()
        self.now = end

    def run_until(self, condition: Callable[[], bool], limit: float) -> float:
        """Let time pass until ``condition`` holds; return the duration, or fail.

        The condition is checked every hundredth of a second.
        """
        start = self.now
        while not condition():
            if self.now - start > limit:
                raise AssertionError(f"not within {limit} s; {self.story()}")
            self.run(0.01)
        return self.now - start

    def running(self) -> list[SimNode]:
        return [sim for sim in self.nodes.values() if sim.running]

    def converged(self) -> bool:
        """Return whether all running, uncut nodes reach exactly each other, and agree on the edges."""
        alive = [sim for sim in self.running() if sim.name not in self.underlay.cut]
        names = {sim.name for sim in alive}
        live_edges: list[set[tuple[str, str]]] = []
        for sim in alive:
            reachable = {name for name, peer in sim.node.peers.items() if peer.reachable}
            if reachable | {sim.name} != names:
                return False
            live_edges.append(
                {
                    (edge.source, edge.target)
                    for edge in sim.node.topology.graph.edges()
                    if edge.source in names and edge.target in names
                }
            )
        return all(edges == live_edges[0] for edges in live_edges[1:])

    def paths_agree(self) -> bool:
        """Return whether every running node counts exactly the live links as usable (with both edges).

        This is weaker than `converged`: half of a dead link may remain in some table, without effect.
        """
        links: set[frozenset[str]] = set()
        for sim in self.running():
            links |= {frozenset((sim.name, c.name)) for c in sim.node.core.activated}
        for sim in self.running():
            graph = sim.node.topology.graph
            usable = {
                frozenset((edge.source, edge.target))
                for edge in graph.edges()
                if graph.edge(edge.target, edge.source) is not None
            }
            if usable != links:
                return False
        return True

    def story(self) -> str:
        """Return the last log lines of every node, for a failed assertion."""
        return "\n".join(f"[{sim.name}]\n  " + "\n  ".join(sim.logs[-15:]) for sim in self.nodes.values())


_NUMBERS = {f"{number:d}": number for number in Number}


class RequestCounter:
    """Counts the requests that all nodes send, by kind; a context manager."""

    def __init__(self) -> None:
        self.sent: Counter[Number] = Counter()
        self.bytes = 0

    def __enter__(self) -> RequestCounter:
        self._original = RequestCounts.sending
        counter = self.sent
        original = self._original

        def sending(counts: RequestCounts, line: str) -> None:
            counter[_NUMBERS[line.split(" ", 1)[0]]] += 1
            self.bytes += len(line) + 1
            original(counts, line)

        RequestCounts.sending = sending  # type: ignore[method-assign,assignment]
        return self

    def __exit__(self, *exc: object) -> None:
        RequestCounts.sending = self._original  # type: ignore[method-assign]

    def take(self) -> Counter[Number]:
        """Return the counts so far and reset them."""
        sent = Counter(self.sent)
        self.sent.clear()
        return sent


def ethernet(destination: bytes, source: bytes, payload: bytes = b"", ethertype: int = 0x88B5) -> bytes:
    """Return a frame; the default ethertype is for local experiments."""
    return destination + source + ethertype.to_bytes(2, "big") + payload
