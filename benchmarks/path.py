"""The cost of the data path: microseconds per frame, outbound and inbound, with real sessions, no kernel.

    .venv/bin/python benchmarks/path.py [--profile outbound|inbound]

It uses frames of 1,450 and 64 bytes (TCP segments and bare acknowledgements) in batches of 1, 8 and 64.
"Sealing" and "opening" are the cost of the session alone for the same frames; the rest is the data path. A
second table shows the additional cost of the guard of shared addresses, a third one that of an address whose
members share the flows. Compare only figures of the same run on the same machine.
"""

from __future__ import annotations

import argparse
import cProfile
import os
import platform
import pstats
import statistics
import subprocess
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from pytinc.crypto.keys import PrivateKey
from pytinc.datapath import super_frames
from pytinc.datapath.datapath import DataPath
from pytinc.datapath.flow_table import FlowMember, FlowRule, FlowTable
from pytinc.datapath.guard_table import GuardTable
from pytinc.datapath.output import Output
from pytinc.datapath.peer_slot import PeerSlot
from pytinc.datapath.runs import FrameRun
from pytinc.datapath.table import ForwardingTable
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire.datagram import NULL_ID, PREFIX_SIZE, TYPE_MAC
from pytinc.wire.ip import TCP_CHECKSUM
from pytinc.wire.virtio import GSO_TCPV4, HEADER, NEEDS_CSUM

FRAMES = 1024
ROUNDS = 9
GUARD_ROUNDS = 25
SIZES = (1450, 64)
BATCHES = (1, 8, 64)
MTU = 1451
PATIENCE = 1e9
"""No upkeep is due during the run, because this is the node's work."""
MAC_HERE, MAC_THERE, MAC_ELSEWHERE = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2, 3))
SEGMENTS, SEGMENT = 44, 1396
"""How many frames a super-frame stands for, and the bytes of data in each."""
SUPER_FRAMES = 20
IP_THERE = bytes((10, 0, 0, 2))
"""The destination in all frames."""
ADDRESS = ("192.0.2.2", 655)

Step = Callable[[list[list[bytes]]], None]


class World:
    """Node a with its neighbour b behind a proved path, and b's end of their session."""

    def __init__(self) -> None:
        self.table = ForwardingTable(PeerSlot("a", is_me=True))
        self.table.me.clamp_mss = True
        self.b = self.table.add("b")
        self.b.session, self.far_end = established()
        self.b.connection, self.b.reachable, self.b.clamp_mss = 1, True, True
        self.table.set_route(self.b, self.b, self.b)
        self.b.mtu = self.b.minmtu = MTU
        self.b.upkeep_due = PATIENCE
        self.b.confirmed = True
        self.table.set_address(self.b, ADDRESS, 0)
        self.table.refresh_all()
        self.table.macs = {MAC_HERE: self.table.me, MAC_THERE: self.b}
        self.table.own_macs = {MAC_HERE: 0.0}
        self.datapath = DataPath(self.table)
        self.out = Output()
        self.prefix = NULL_ID + self.b.id

    def send(self, batches: list[list[bytes]]) -> None:
        """Handle frames of the device, as the shell passes them."""
        for batch in batches:
            self.datapath.frames_from_device(batch, 1.0, self.out)
            assert not self.out.upcalls
            self.out.clear()

    def send_super_frames(self, count: int) -> None:
        """Handle super-frames of the device, which b gets cut."""
        header = HEADER.pack(NEEDS_CSUM, GSO_TCPV4, 54, SEGMENT, 34, TCP_CHECKSUM)
        frame = tcp_frame(MAC_THERE, MAC_HERE, 54 + SEGMENTS * SEGMENT)
        frame = frame[:16] + (len(frame) - 14).to_bytes(2, "big") + frame[18:]
        for _ in range(count):
            taken = super_frames.take(header, frame)
            assert isinstance(taken, FrameRun)
            self.datapath.frames_from_device([taken], 1.0, self.out)
            assert not self.out.upcalls
            self.out.clear()

    def receive(self, batches: list[list[bytes]]) -> None:
        """Handle datagrams of b, as the shell passes them."""
        for batch in batches:
            self.datapath.datagrams(batch, [ADDRESS] * len(batch), 0, 1.0, self.out)
            assert not self.out.upcalls
            self.out.clear()

    def sealed_by_b(self, batches: list[list[bytes]]) -> list[list[bytes]]:
        """Return the same batches as datagrams from b."""
        return [self.far_end.seal_batch(self.prefix, TYPE_MAC, batch) for batch in batches]

    def seal(self, batches: list[list[bytes]]) -> None:
        """Only seal."""
        assert self.b.session is not None
        for batch in batches:
            self.b.session.seal_batch(self.prefix, TYPE_MAC, batch)

    def open(self, batches: list[list[bytes]]) -> None:
        """Only open."""
        assert self.b.session is not None
        for batch in batches:
            self.b.session.open_batch(batch, PREFIX_SIZE)


def established() -> tuple[DatagramSession, DatagramSession]:
    """Return two ends of a session whose keys are in force."""
    keys = [PrivateKey.from_seed(os.urandom(32)) for _ in range(2)]
    a = DatagramSession(Role.INITIATOR, keys[0], keys[1].public, b"benchmark", os.urandom)
    b = DatagramSession(Role.RESPONDER, keys[1], keys[0].public, b"benchmark", os.urandom)
    for kex_a, kex_b in zip(a.start(), b.start(), strict=True):
        b.receive(kex_a)
        a.receive(kex_b)
    b.receive(*a.take_output())
    a.receive(*b.take_output())
    return a, b


def tcp_frame(destination: bytes, source: bytes, size: int) -> bytes:
    """Return a TCP acknowledgement, filled up with data."""
    header = bytes.fromhex("4500000000004000400600000a0000010a000002") + bytes(12) + b"\x50\x10" + bytes(6)
    frame = destination + source + b"\x08\x00" + header
    return frame + bytes(size - len(frame))


def batches_of(frame: bytes, count: int) -> list[list[bytes]]:
    """Return FRAMES distinct frames in batches."""
    frames = [frame[:-2] + number.to_bytes(2, "big") for number in range(FRAMES)]
    return [frames[start : start + count] for start in range(0, FRAMES, count)]


def cost(run: Step, prepare: Callable[[], list[list[bytes]]]) -> float:
    """Return microseconds per frame, median of rounds."""
    costs = []
    for _ in range(ROUNDS):
        batches = prepare()
        start = time.perf_counter()
        run(batches)
        costs.append((time.perf_counter() - start) / FRAMES * 1e6)
    return statistics.median(costs)


def measure(world: World) -> None:
    """Print a table."""
    print("µs per frame     size  batch   all    of which the session")
    for size in SIZES:
        out = tcp_frame(MAC_THERE, MAC_HERE, size)
        into = tcp_frame(MAC_HERE, MAC_THERE, size)
        for count in BATCHES:
            frames, answers = batches_of(out, count), batches_of(into, count)
            all_, session = cost(world.send, partial(_same, frames)), cost(world.seal, partial(_same, frames))
            print(f"outbound        {size:5} {count:5}  {all_:6.2f}  {session:6.2f}")
            all_ = cost(world.receive, partial(world.sealed_by_b, answers))
            session = cost(world.open, partial(world.sealed_by_b, answers))
            print(f"inbound         {size:5} {count:5}  {all_:6.2f}  {session:6.2f}")


def guards() -> dict[str, GuardTable | None]:
    """Return the states: no guard, one without shared addresses, one that notes every frame as a use."""
    uses = {MAC_THERE + MAC_HERE + IP_THERE: 0.0, MAC_HERE + MAC_THERE + IP_THERE: 0.0}
    macs = frozenset((MAC_THERE, MAC_HERE))
    watching = GuardTable(macs=macs, addresses=frozenset((IP_THERE,)), uses=uses)
    return {"none": None, "idle": GuardTable(), "watching": watching}


def measure_guard(world: World) -> None:
    """Print the cost of the guard of shared addresses per frame; its states take turns in every round."""
    print("µs per frame     size  batch   " + "".join(f"{name + ' guard':>16}" for name in guards()))
    for size in SIZES:
        out, into = tcp_frame(MAC_THERE, MAC_HERE, size), tcp_frame(MAC_HERE, MAC_THERE, size)
        for count in BATCHES:
            frames, answers = batches_of(out, count), batches_of(into, count)
            sent, received = (
                _by_guard(world, world.send, partial(_same, frames)),
                _by_guard(world, world.receive, partial(world.sealed_by_b, answers)),
            )
            for name, costs in (("outbound", sent), ("inbound", received)):
                print(f"{name:15} {size:5} {count:5}   " + "".join(f"{cost:16.2f}" for cost in costs))
    world.table.guard = None


def flow_tables() -> dict[str, FlowTable | None]:
    """Return the states: no flows are shared; all frames keep their MAC; all get another one."""
    tables: dict[str, FlowTable | None] = {"no flows": None}
    for name, mac in (("same member", MAC_THERE), ("other member", MAC_ELSEWHERE)):
        made = tables[name] = FlowTable()
        members = (FlowMember("b", mac, 10),)
        rule = FlowRule(members, frozenset((mac,)), frozenset((MAC_THERE, MAC_ELSEWHERE)))
        made.configure({IP_THERE: rule}, 0.0)
    return tables


def measure_flows(world: World) -> None:
    """Print the cost of sharing flows per frame that goes out; the states take turns in every round."""
    world.table.macs[MAC_ELSEWHERE] = world.b
    tables = flow_tables()
    print("µs per frame     size  batch   " + "".join(f"{name:>16}" for name in tables))
    for size in SIZES:
        frame = tcp_frame(MAC_THERE, MAC_HERE, size)
        for count in BATCHES:
            costs = _by_flows(world, tables, partial(world.send, batches_of(frame, count)), FRAMES)
            print(f"{'outbound':15} {size:5} {count:5}   " + "".join(f"{cost:16.2f}" for cost in costs))
    costs = _by_flows(world, tables, partial(world.send_super_frames, SUPER_FRAMES), SUPER_FRAMES * SEGMENTS)
    print(f"{'super-frames':15} {SIZES[0]:5} {SEGMENTS:5}   " + "".join(f"{cost:16.2f}" for cost in costs))


def _by_flows(
    world: World, tables: dict[str, FlowTable | None], run: Callable[[], None], frames: int
) -> list[float]:
    costs: dict[str, list[float]] = {name: [] for name in tables}
    for _ in range(GUARD_ROUNDS):
        for name, flows in tables.items():
            world.table.flows = flows
            start = time.perf_counter()
            run()
            costs[name].append((time.perf_counter() - start) / frames * 1e6)
    world.table.flows = None
    return [statistics.median(of_one) for of_one in costs.values()]


def _same(batches: list[list[bytes]]) -> list[list[bytes]]:
    return batches


def _by_guard(world: World, run: Step, prepare: Callable[[], list[list[bytes]]]) -> list[float]:
    costs: dict[str, list[float]] = {name: [] for name in guards()}
    for _ in range(GUARD_ROUNDS):
        for name, guard in guards().items():
            world.table.guard = guard
            batches = prepare()
            start = time.perf_counter()
            run(batches)
            costs[name].append((time.perf_counter() - start) / FRAMES * 1e6)
    return [statistics.median(of_one) for of_one in costs.values()]


def profile(world: World, direction: str) -> None:
    """Profile single frames."""
    outbound = direction == "outbound"
    macs = (MAC_THERE, MAC_HERE) if outbound else (MAC_HERE, MAC_THERE)
    profiler = cProfile.Profile()
    for _ in range(ROUNDS):
        batches = batches_of(tcp_frame(*macs, SIZES[-1]), 1)
        if not outbound:
            batches = world.sealed_by_b(batches)
        profiler.enable()
        (world.send if outbound else world.receive)(batches)
        profiler.disable()
    pstats.Stats(profiler).sort_stats("tottime").print_stats(20)


def commit() -> str:
    """Return the commit that is checked out."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


def main() -> None:
    """Measure both directions, or profile one."""
    parser = argparse.ArgumentParser(description="Cost of the data path per frame")
    parser.add_argument("--profile", choices=("outbound", "inbound"))
    options = parser.parse_args()
    print(f"{platform.machine()}, Linux {platform.release()}, Python {platform.python_version()}, {commit()}")
    world = World()
    if options.profile:
        profile(world, options.profile)
    else:
        measure(world)
        measure_guard(world)
        measure_flows(world)


if __name__ == "__main__":
    main()
