"""More cores: would it pay to share the peers of a node out over several processes?

    .venv/bin/python benchmarks/shards.py [--only PART,...] [--processes N] [--rounds N] [--seconds N]

pytinc has one process. This script examines several processes with existing code: one daemon that serves N
peers against N daemons that serve one each, pinned to cores (``daemons``, and ``daemons-c`` with peers that
run tincd); and the pieces that such a node would need: the same work on several cores at a time (``cores``),
datagrams that find the process of their peer (``datagrams``: SO_REUSEPORT), frames that may not (``frames``:
a TAP device with several queues), and what it costs to hand a packet to another process (``handover``).
docs/performance.md, "More cores", draws the conclusions.
"""

from __future__ import annotations

import argparse
import ctypes
import fcntl
import multiprocessing
import os
import resource
import select
import socket
import struct
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from statistics import median
from typing import Final

import micro_offload
import micro_sptps
from comparison.machine import commit, cpu_seconds, processor
from pytinc.datapath.super_frames import SuperFrame, take
from pytinc.lab.echo import answers
from pytinc.lab.namespaces import Host, Lab, LabError
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.privileges import ensure_root
from pytinc.lab.traffic import IPERF_PORT, iperf

READY_S: Final = 60.0
SEGMENTS, PAYLOAD = 44, 1373
"""A super-frame stands for so many frames with so many bytes of TCP each."""
MTU: Final = 1439
SENDERS: Final = 64
COPIES: Final = 20
DATAGRAM: Final = 1450
SUPER_FRAME: Final = 60_000
LOOPS: Final = 20_000
PEERS, FLOWS = 8, 8
SILENCE_S: Final = 7.0
"""Twice the time for which the kernel remembers the queue of a flow, and a second."""

SO_ATTACH_REUSEPORT_CBPF: Final = 51
BPF_LD_W_ABS, BPF_MOD_K, BPF_RET_A = 0x20, 0x94, 0x16
SOURCE_ID_END: Final = 8
"""The last four bytes of the source id, which tells from whom a datagram is (docs/protocol-data.md)."""

TUNSETIFF: Final = 0x400454CA
IFF_TAP, IFF_NO_PI, IFF_MULTI_QUEUE = 0x0002, 0x1000, 0x0100


# -- one daemon for all peers, or one for each --


@dataclass(slots=True)
class Side:
    """Daemons that serve, and the peers of each, which send to it or are sent to."""

    hubs: list[Node]
    peers: list[tuple[Node, Node]]
    """Each peer with its hub."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What one run has shown: Mbit/s of all peers together, and seconds of CPU for a gigabyte."""

    rate: float
    hubs: float
    peers: float
    iperf: float
    busiest: float
    """The share of the time in which the busiest hub ran, in per cent."""


def build(lab: Lab, tag: str, kind: Kind, hubs: int, peers: int) -> Side:
    """Start a network of hubs, which share the peers of a kind out among them."""
    network = Network(lab)
    first = f"{tag}_hub_0"
    servers = [
        network.add(f"{tag}_hub_{number}", Kind.PY, connect_to=[first] if number else [])
        for number in range(hubs)
    ]
    clients = []
    for number in range(peers):
        hub = servers[number % hubs]
        clients.append((network.add(f"{tag}_{number}", kind, connect_to=[hub.name]), hub))
    for node in network:
        node.debug = 0
    network.exchange_keys()
    network.start()
    network.wait_converged()
    for client, hub in clients:
        _wait_path(client, hub)
    return Side(servers, clients)


def _wait_path(client: Node, hub: Node) -> None:
    def known() -> bool:
        return client.nodes()[hub.name].mtu_known and hub.nodes()[client.name].mtu_known

    what = f"{client.name} reaches {hub.name}"
    wait_until(lambda: answers(client.host, hub.address), READY_S, what)
    wait_until(known, READY_S, f"{what}: the MTU")


def _pid(node: Node) -> int:
    pid = node.pid()
    if pid is None:
        raise LabError(f"{node.name} has died")
    return pid


def pin(node: Node, cpus: Sequence[int]) -> None:
    """Let a daemon run on these CPUs only."""
    for thread in Path(f"/proc/{_pid(node)}/task").iterdir():
        os.sched_setaffinity(int(thread.name), cpus)


def _iperf_cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def load(side: Side, seconds: int, *, reverse: bool) -> Figures:
    """Run one stream of TCP for each peer at the same time."""
    hubs = [_pid(hub) for hub in side.hubs]
    peers = [_pid(peer) for peer, _ in side.peers]
    before = ([cpu_seconds([pid]) for pid in hubs], cpu_seconds(peers), _iperf_cpu())
    with ThreadPoolExecutor(len(peers)) as workers:
        streams = [
            workers.submit(
                iperf, peer.host, hub.host, hub.address, seconds, reverse=reverse, port=IPERF_PORT + number
            )
            for number, (peer, hub) in enumerate(side.peers)
        ]
        reports = [stream.result() for stream in streams]
    used = [cpu_seconds([pid]) - start for pid, start in zip(hubs, before[0], strict=True)]
    gigabytes = sum(sum(report.intervals) for report in reports) / 1e9
    return Figures(
        sum(report.megabits for report in reports),
        sum(used) / gigabytes,
        (cpu_seconds(peers) - before[1]) / gigabytes,
        (_iperf_cpu() - before[2]) / gigabytes,
        100 * max(used) / seconds,
    )


def daemons(processes: int, rounds: int, seconds: int, kind: Kind = Kind.PY) -> None:
    """One daemon for all peers against one for each, with all else pinned alike."""
    cpus = sorted(os.sched_getaffinity(0))
    apart = cpus[processes:] or cpus[1:]
    print(f'CPUs {cpus}; "apart": all but the hubs on {apart}; "free": all but the hubs anywhere\n')
    own = [cpus[number % len(cpus)] for number in range(processes)]
    first = [cpus[0]] * processes
    with Lab() as lab:
        one = build(lab, "one", kind, 1, processes)
        many = build(lab, "many", kind, processes, processes)
        arrangements: dict[str, tuple[Side, list[int], list[int]]] = {
            "one process, apart": (one, first[:1], apart),
            f"{processes} processes on one core, apart": (many, first, apart),
            f"{processes} processes on {len(set(own))} cores, apart": (many, own, apart),
            "one process, free": (one, first[:1], cpus),
            f"{processes} processes on {len(set(own))} cores, free": (many, own, cpus),
        }
        found: dict[tuple[str, bool], list[Figures]] = {}
        try:
            for number in range(rounds):
                order = list(arrangements.items())
                for name, (side, places, rest) in order if number % 2 == 0 else reversed(order):
                    for hub, cpu in zip(side.hubs, places, strict=True):
                        pin(hub, [cpu])
                    for peer, _ in side.peers:
                        pin(peer, rest)
                    # iperf3 inherits this.
                    os.sched_setaffinity(0, rest)
                    for reverse in (False, True):
                        figures = load(side, seconds, reverse=reverse)
                        found.setdefault((name, reverse), []).append(figures)
        finally:
            os.sched_setaffinity(0, cpus)
    print("| hubs | direction | Mbit/s | to one process | CPU of hubs | of peers | of iperf3 | busiest hub |")
    print("|---|---|---|---|---|---|---|---|")
    for (name, reverse), runs in found.items():
        base = found["one process, " + name.rpartition(", ")[2], reverse]
        ratio = median(run.rate / other.rate for run, other in zip(runs, base, strict=True))
        middle = [
            median(getattr(run, what) for run in runs)
            for what in ("rate", "hubs", "peers", "iperf", "busiest")
        ]
        way = "from the hubs" if reverse else "to the hubs"
        print(
            f"| {name} | {way} | {middle[0]:.0f} | {ratio:.2f} | {middle[1]:.2f} s/GB | {middle[2]:.2f} |"
            f" {middle[3]:.2f} | {middle[4]:.0f} % |"
        )
    print()


# -- the same work on one core and on several --


def _seal(cpu: int, seconds: float, start: float, rates: multiprocessing.Queue[float]) -> None:
    """Seal super-frames on a CPU for a time, and tell how many in a second of its time."""
    os.sched_setaffinity(0, [cpu])
    ours, theirs = micro_sptps.established()
    theirs.accept_super_frames()
    ours.peer_accepts_super_frames = True
    micro_offload.PAYLOAD = PAYLOAD
    header, frame = micro_offload.super_frame(SEGMENTS)
    while time.monotonic() < start:
        pass
    count, used = 0, time.process_time()
    while time.monotonic() < start + seconds:
        run = take(header, frame)
        assert isinstance(run, SuperFrame)
        assert run.in_pieces(ours, b"source", MTU) is not None
        count += 1
    rates.put(count / (time.process_time() - used))


def cores(processes: int, rounds: int, seconds: int) -> None:
    """Seal on one core and on several at a time: what caches and memory that they share take away.

    The rates are per second of CPU time, so that other programs take nothing but their share of the caches.
    """
    cpus = sorted(os.sched_getaffinity(0))[:processes]
    found: dict[int, list[float]] = {}
    for _ in range(rounds):
        for chosen in ([cpus[0]], cpus):
            rates: multiprocessing.Queue[float] = multiprocessing.Queue()
            # They must all be ready by then.
            start = time.monotonic() + 1
            workers = [
                multiprocessing.Process(target=_seal, args=(cpu, seconds, start, rates)) for cpu in chosen
            ]
            for worker in workers:
                worker.start()
            found.setdefault(len(chosen), []).append(sum(rates.get(timeout=READY_S) for _ in workers))
            for worker in workers:
                worker.join()
    for count, sums in found.items():
        gigabits = median(sums) * SEGMENTS * PAYLOAD * 8 / 1e9
        ratio = median(each / one for each, one in zip(sums, found[1], strict=True))
        print(f"{count} at a time: {median(sums):.0f} super-frames/s, {gigabits:.1f} Gbit/s, {ratio:.2f} x")
    print()


# -- datagrams: SO_REUSEPORT --


@contextmanager
def group(count: int, *, by_source: bool) -> Iterator[list[socket.socket]]:
    """Bind sockets to one port; datagrams go by the kernel's hash, or ``by_source`` id (by classic BPF)."""
    with ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) for _ in range(count)
        ]
        for each in sockets:
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            each.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
            each.setblocking(False)
            each.bind(("127.0.0.1", sockets[0].getsockname()[1] if each is not sockets[0] else 0))
        if by_source:
            code = b"".join(
                struct.pack("=HBBI", *instruction)
                for instruction in (
                    (BPF_LD_W_ABS, 0, 0, SOURCE_ID_END), (BPF_MOD_K, 0, 0, count), (BPF_RET_A, 0, 0, 0)
                )
            )  # fmt: skip
            buffer = ctypes.create_string_buffer(code)
            program = struct.pack("HxxxxxxP", len(code) // 8, ctypes.addressof(buffer))
            sockets[0].setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
        yield sockets


def _datagram(source: int) -> bytes:
    """Return a datagram of a node as the kernel sees it; its id is some hash of its number."""
    source_id = (source * 0x9E3779B97F4A7C15 % 2**64).to_bytes(8, "big")[:6]
    return bytes(6) + source_id + bytes(DATAGRAM - 12)


def _receivers(sockets: Sequence[socket.socket], sender: socket.socket, source: int) -> set[int]:
    """Send some datagrams and return which of the sockets had them."""
    for _ in range(COPIES):
        sender.sendto(_datagram(source), sockets[0].getsockname())
    found: Counter[int] = Counter()
    while found.total() < COPIES and (ready := select.select(sockets, [], [], 1)[0]):
        for each in ready:
            each.recv(65536)
            found[sockets.index(each)] += 1
    return set(found)


def datagrams(processes: int, rounds: int, _seconds: int) -> None:
    """Where the datagrams of a peer go, before and after its address changes; and what choosing costs."""
    for by_source in (False, True):
        how = "by the source id (classic BPF)" if by_source else "by the kernel's hash of the addresses"
        with group(processes, by_source=by_source) as sockets:
            places: list[int] = []
            moved = parted = 0
            for source in range(SENDERS):
                had = []
                # Two sockets: the peer has two addresses, one after the other.
                for _ in range(2):
                    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
                        had.append(_receivers(sockets, sender, source))
                parted += any(len(each) > 1 for each in had)
                moved += had[0] != had[1]
                places += had[0]
            spread = [places.count(number) for number in range(processes)]
            print(
                f"{how}: {SENDERS} peers with two addresses each fall on {processes} sockets as {spread};"
                f" peers on more than one with one address: {parted}; on another with the other one: {moved}"
            )
    costs: dict[str, list[float]] = {}
    for _ in range(rounds):
        for name, count, by_source in (
            ("one socket", 1, False), ("hash", processes, False), ("source id", processes, True)
        ):  # fmt: skip
            with (
                group(count, by_source=by_source) as sockets,
                socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender,
            ):
                (place,) = _receivers(sockets, sender, 1)
                sender.connect(sockets[0].getsockname())
                costs.setdefault(name, []).append(_cost(sender, sockets[place], _datagram(1)))
    each = ", ".join(f"{name} {median(found):.2f}" for name, found in costs.items())
    print(f"µs to send and receive {DATAGRAM} bytes: {each}\n")


def _cost(sender: socket.socket, taker: socket.socket, data: bytes) -> float:
    """Return the microseconds of CPU to send and receive a message."""
    start = time.process_time()
    for _ in range(LOOPS):
        sender.send(data)
        taker.recv(65536)
    return (time.process_time() - start) / LOOPS * 1e6


# -- frames: a TAP device with several queues --


def frames(processes: int, _rounds: int, _seconds: int) -> None:
    """Which queue has the frames to a peer, before and after the peer's own queue has written an answer."""
    with Lab() as lab, ExitStack() as stack:
        host = lab.host("mq")
        queues = [stack.enter_context(_queue(host)) for _ in range(processes)]
        host.run("ip", "link", "set", "dev", "mq0", "up")
        host.run("ip", "address", "add", "10.9.0.1/24", "dev", "mq0")
        for peer in range(PEERS):
            host.run(
                "ip", "neigh", "add", f"10.9.0.{peer + 2}", "lladdr", _mac(peer).hex(":"), "dev", "mq0"
            )  # fmt: skip
        flows = []
        for _ in range(PEERS * FLOWS):
            opened = host.open_socket(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            flows.append(stack.enter_context(closing(opened)))
        first = _queues_of(queues, flows)
        print(f"{PEERS} peers, {FLOWS} flows to each, {processes} queues:")
        print(f"the kernel's choice: frames to a peer in queues {_counted(first)}")
        for number, seen in first.items():
            peer = number // FLOWS
            frame = seen[0][1]
            os.write(queues[peer % processes], _answer(frame))
        second = _queues_of(queues, flows)
        print(f"after a frame of each flow was written to queue peer % {processes}: {_counted(second)}")
        right = sum(
            queue == number // FLOWS % processes for number, seen in second.items() for queue, _ in seen
        )
        total = sum(len(seen) for seen in second.values())
        print(f"frames in the queue of their peer's process: {right} of {total}")
        time.sleep(SILENCE_S)
        print(f"after {SILENCE_S:g} s of silence: {_counted(_queues_of(queues, flows))}\n")


@contextmanager
def _queue(host: Host) -> Iterator[int]:
    opened = []

    def make() -> socket.socket:
        descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        fcntl.ioctl(
            descriptor, TUNSETIFF, struct.pack("16sH22x", b"mq0", IFF_TAP | IFF_NO_PI | IFF_MULTI_QUEUE)
        )  # fmt: skip
        opened.append(descriptor)
        return socket.socket(socket.AF_INET, socket.SOCK_DGRAM)

    # open_socket is the lab's way into a namespace; the socket itself is of no use.
    host.open_socket(make).close()
    try:
        yield opened[0]
    finally:
        os.close(opened[0])


def _mac(peer: int) -> bytes:
    return bytes((2, 0, 0, 0, 1, peer))


def _queues_of(queues: Sequence[int], flows: Sequence[socket.socket]) -> dict[int, list[tuple[int, bytes]]]:
    """Send two packets of each flow; return in which queues their frames are, with the frames."""
    seen: dict[int, list[tuple[int, bytes]]] = {}
    for number, flow in enumerate(flows):
        for _ in range(2):
            flow.sendto(number.to_bytes(4, "big"), (f"10.9.0.{number // FLOWS + 2}", 7))
        while sum(map(len, seen.values())) < 2 * (number + 1) and (
            ready := select.select(queues, [], [], 1)[0]
        ):
            for descriptor in ready:
                frame = os.read(descriptor, 65536)
                # Ethernet 14, IPv4 20, UDP 8; the host's own IPv6 chatter is none of ours.
                if frame[12:14] == b"\x08\x00" and frame[23] == socket.IPPROTO_UDP:
                    whose = int.from_bytes(frame[42:46], "big")
                    seen.setdefault(whose, []).append((queues.index(descriptor), frame))
    return seen


def _answer(frame: bytes) -> bytes:
    """Return the same packet on its way back; swapping addresses and ports does not change the check sums."""
    return (
        frame[6:12] + frame[:6] + frame[12:26] + frame[30:34] + frame[26:30]
        + frame[36:38] + frame[34:36] + frame[38:]
    )  # fmt: skip


def _counted(seen: dict[int, list[tuple[int, bytes]]]) -> str:
    by_peer: dict[int, Counter[int]] = {}
    for number, found in seen.items():
        by_peer.setdefault(number // FLOWS, Counter()).update(queue for queue, _ in found)
    return ", ".join(
        "/".join(str(by_peer[peer][queue]) for queue in range(1 + max(by_peer[peer])))
        for peer in sorted(by_peer)
    )


# -- handing over --


def handover(_processes: int, rounds: int, _seconds: int) -> None:
    """The CPU that it takes to give a packet to another process, and the time until that one has it."""
    for size in (DATAGRAM, SUPER_FRAME):
        near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with near, far:
            cost = median(_cost(near, far, bytes(size)) for _ in range(rounds))
        print(f"{size} bytes: {cost:.2f} µs of CPU", end="; ")
        print(f"there and back between two processes {_round_trip(bytes(size)):.0f} µs")
    print()


def _round_trip(data: bytes) -> float:
    """Return the median of the microseconds until another process on another CPU has returned a message."""
    cpus = sorted(os.sched_getaffinity(0))
    near, far = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)

    def echo() -> None:
        os.sched_setaffinity(0, [cpus[-1]])
        near.close()
        while received := far.recv(65536):
            far.send(received)

    worker = multiprocessing.get_context("fork").Process(target=echo)
    worker.start()
    far.close()
    os.sched_setaffinity(0, [cpus[0]])
    times = []
    try:
        with near:
            for _ in range(LOOPS // 10):
                start = time.perf_counter()
                near.send(data)
                near.recv(65536)
                times.append(time.perf_counter() - start)
    finally:
        os.sched_setaffinity(0, cpus)
        worker.join()
    return median(times) * 1e6


PARTS: Final[dict[str, Callable[[int, int, int], None]]] = {
    "daemons": daemons,
    "daemons-c": partial(daemons, kind=Kind.C),
    "cores": cores,
    "datagrams": datagrams,
    "frames": frames,
    "handover": handover,
}


def main(arguments: Sequence[str]) -> int:
    """Run the parts; return the exit status."""
    parser = argparse.ArgumentParser(description="Try what several processes for the data path would be like")
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(PARTS), metavar="PART,...")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=3, help="of each measurement")
    options = parser.parse_args(arguments)
    if unknown := [name for name in options.only if name not in PARTS]:
        parser.error(f"{unknown[0]} is none of {', '.join(PARTS)}")
    if options.processes < 2 or options.rounds < 1 or options.seconds < 1:
        parser.error("--processes starts at 2, --rounds and --seconds at 1")
    if len(os.sched_getaffinity(0)) < 2:
        parser.error("this needs two CPUs")
    try:
        ensure_root([sys.executable, __file__, *arguments])
        load_now = ", ".join(f"{each:.1f}" for each in os.getloadavg())
        print(f"{os.cpu_count()} x {processor()}, commit {commit()}, load before: {load_now}")
        for name in options.only:
            print(f"\n== {name}", flush=True)
            PARTS[name](options.processes, options.rounds, options.seconds)
    except LabError as error:
        print(f"shards: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
