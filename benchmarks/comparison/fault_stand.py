"""The mesh on which ``benchmarks/faults.py`` makes faults, and how one run is measured.

Four nodes of one kind: ``victim`` in the middle, and ``peer``, ``third`` and ``fourth``, which connect to it.
A probe on the peer's host pings the victim every 10 ms through the VPN. A fifth host has no node: attackers
run there.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Self

from pytinc.lab.namespaces import Host, Lab, LabError, run
from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.outage import Trace, Watch, serve

PORT: Final = 7007
CONFBASE_BYTES: Final = 2 << 20
SETTLE_S: Final = 3.0
"""Seconds without a fault before it, so that the path MTU is known."""
AFTER_S: Final = 3.0
GIVE_UP_S: Final = 60.0
SAMPLE_S: Final = 0.1
TICKS: Final = os.sysconf("SC_CLK_TCK")
ATTACKS: Final = Path(__file__).with_name("fault_attacks.py")


@dataclass
class Figures:
    """What one fault did to one kind of daemon."""

    lost: int
    """Pings without an answer within a second, from the fault on."""
    back_s: float | None
    """From the end of the fault to the first ping after the last lost one; None: not within a minute."""
    cpu_percent: float
    """CPU of the victim's daemon, of one core, over the whole time."""
    memory_mb: float
    """The most memory (RSS) that the daemon had."""
    notes: list[str]


class Sampler:
    """Follows CPU time and memory of a node's daemon, from one process to the next. Use it in ``with``."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        self.memory_mb = 0.0

    def __enter__(self) -> Self:
        pid = self._node.pid()
        if pid is not None:
            self._look(pid, is_new=False)
        self._thread.start()
        return self

    def __exit__(self, *_error: object) -> None:
        self._ended.set()
        self._thread.join()

    @property
    def cpu_s(self) -> float:
        """CPU seconds since the beginning; a process that began later counts with all of its own."""
        return sum(self._last[pid] - self._first[pid] for pid in self._last) / TICKS

    def _run(self) -> None:
        while not self._ended.wait(SAMPLE_S):
            pid = self._node.pid()
            if pid is not None:
                self._look(pid, is_new=True)

    def _look(self, pid: int, *, is_new: bool) -> None:
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        except OSError:
            return
        used = int(fields[11]) + int(fields[12])
        self._first.setdefault(pid, 0 if is_new else used)
        self._last[pid] = used
        self.memory_mb = max(self.memory_mb, pages * os.sysconf("SC_PAGE_SIZE") / 1e6)


@dataclass
class Stand:
    """The mesh of one run."""

    kind: Kind
    lab: Lab
    network: Network
    outsider: Host
    notes: list[str] = field(default_factory=list)

    @property
    def victim(self) -> Node:
        """The node that has the fault."""
        return self.network["victim"]

    @property
    def third(self) -> Node:
        """A neighbour that may be restarted; nothing is measured there."""
        return self.network["third"]

    @property
    def log_path(self) -> Path:
        """The victim's log, outside of its configuration."""
        return self.lab.directory / "victim.log"

    def start_victim(self, *before: str) -> None:
        """Start the victim's daemon, as argument of a command if there is one ``before``."""
        victim = self.victim
        words = ("start", "-d3", f"--logfile={self.log_path}")
        victim.host.run(*before, victim.tinc_program, *victim.globals, *words)
        victim.started = True

    def start_if_ended(self) -> None:
        """Start the victim again if it has ended by itself, and note that."""
        if not self.victim.running():
            self.notes.append("the daemon ends and must be started again")
            self.victim.started = False
            self.start_victim()

    def restart_third(self) -> None:
        """Kill and start the third node, and note how long it takes until it sees the victim again."""
        self.third.kill()
        start = time.monotonic()
        self.third.start()
        try:
            wait_until(self.third_is_back, GIVE_UP_S, "the third node is back", interval=0.1)
        except LabError:
            self.notes.append(f"a peer that restarts is not back within {GIVE_UP_S:.0f} s")
            return
        self.notes.append(f"a peer that restarts is back after {time.monotonic() - start:.1f} s")

    def third_is_back(self) -> bool:
        """Tell whether the third node sees the victim."""
        return self.third.sees([self.victim])

    @contextmanager
    def attack(self, host: Host, *words: str) -> Iterator[None]:
        """Run an attack on a host while the block runs."""
        process = host.spawn(sys.executable, str(ATTACKS), *words)
        assert process.stdout is not None
        line = process.stdout.readline()
        if line != "begun\n":
            raise LabError(f"the attack does not begin: {line}{process.stdout.read()}")
        try:
            yield
        finally:
            process.kill()
            process.wait()


@contextmanager
def standing(kind: Kind) -> Iterator[Stand]:
    """Build the mesh of daemons of one kind, and start them. The victim's configuration is a small disk."""
    with ExitStack() as stack:
        lab = stack.enter_context(Lab())
        network = Network(lab)
        disk = lab.directory / "victim"
        disk.mkdir()
        run("mount", "-t", "tmpfs", "-o", f"size={CONFBASE_BYTES},mode=755", "none", str(disk))
        stack.callback(run, "umount", "--lazy", str(disk), check=False)
        network.add("victim", kind)
        for name in ("peer", "third", "fourth"):
            network.add(name, kind, connect_to=["victim"])
        network.exchange_keys()
        stand = Stand(kind, lab, network, lab.host("outsider"))
        stand.start_victim()
        for node in network:
            if not node.started:
                node.start()
        network.wait_converged()
        serve(stand.victim.host, PORT)
        stack.callback(stand.victim.host.end_processes)  # before the disk goes
        yield stand


Fault = Callable[[Stand], AbstractContextManager[None]]


def measure(kind: Kind, fault: Fault, seconds: float) -> Figures:
    """Make a mesh and a fault that lasts so long, and measure until the victim answers again."""
    with standing(kind) as stand, Watch(stand.network["peer"].host, stand.victim.address, PORT) as watch:
        watch.wait_steady(0.0, GIVE_UP_S)
        time.sleep(SETTLE_S)
        with Sampler(stand.victim) as sampler:
            start = time.monotonic()
            with fault(stand):
                time.sleep(seconds)
            end = time.monotonic()
            back: float | None = None
            with contextlib.suppress(LabError):
                watch.wait_steady(end, GIVE_UP_S)
                time.sleep(AFTER_S)
                back = watch.ask(lambda trace: back_after(trace, end))
            until = time.monotonic()
        lost = watch.ask(lambda trace: trace.lost(start, until))
        cpu = 100 * sampler.cpu_s / (until - start)
        return Figures(lost, back, cpu, sampler.memory_mb, stand.notes)


def back_after(trace: Trace, end: float) -> float:
    """Return how many seconds after ``end`` the last ping was lost; 0 if none was."""
    lost = [when for number, when in trace.sent.items() if when >= end and not trace.in_time(number)]
    # What was sent in the last second may still be answered.
    newest = max(trace.sent.values(), default=end) - 1
    return max((when - end for when in lost if when < newest), default=0.0)


def load() -> str:
    """Return the machine's load averages."""
    return " ".join(f"{value:.1f}" for value in os.getloadavg())


def version(kind: Kind) -> str:
    """Return what the daemon of a kind says about its version."""
    daemon = kind.programs()[1]
    return subprocess.run((daemon, "--version"), capture_output=True, text=True, check=True).stdout.split(
        "\n"
    )[0]
