"""The how-to itself: five hosts, the commands a person types on them, and the results that person expects.

    node_1        the entry: made with init; all others join with an invitation from it
    node_2 .. 4   the holders: have the virtual address 10.1.1.10 as well as addresses of their own
    node_5        the client, which uses the virtual address

Everything goes through `howto.machines.Machine`: the steps do not know on what kind of machines they are
played, and see only what commands print and what a person could read on the machine.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Final

from howto.machines import Backend, Machine
from pytinc.lab.namespaces import LabError
from pytinc.lab.node import PATIENCE_S, Kind, parse_labels, parse_nodes, wait_until
from pytinc.lab.traffic import parse_ping, ping_command

NET: Final = "mynet"
VIP: Final = "10.1.1.10"
PORT: Final = 6655  # not tinc's default, so that it must be in the invitation's URL
ENTRY: Final = "node_1"
CLIENT: Final = "node_5"
HOLDERS: Final = ("node_2", "node_3", "node_4")
NODES: Final = (ENTRY, *HOLDERS, CLIENT)
ADDRESSES: Final = {
    ENTRY: ["10.1.1.1"],
    **{name: [f"10.1.1.10{number}", VIP] for number, name in enumerate(HOLDERS, 2)},
    CLIENT: ["10.1.1.2"],
}
TAKEOVER_LIMIT_S: Final = 120.0  # the kernel's neighbour entry lasts at most 45 s, and 8 s of probes follow
LOG: Final = f"/var/log/tinc.{NET}.log"
LOG_TAIL_LINES: Final = 15
# No daemon of either kind may log this.
BUG: Final = re.compile(r"Traceback|Unexpected \w+(Error|Exception)")
_URL: Final = re.compile(rf"\S+:{PORT}/[\w-]{{48}}")

CASTS: Final = {
    "CCCCC": "all C",
    "CPPPP": "entry C",
    "PCCCP": "holders C",
    "PPPPC": "client C",
    "CPCPP": "entry and one holder C",
    "PPPPP": "all pytinc",
}
"""Casts and their titles: a letter for each of NODES, C for tinc, P for pytinc. The first is the control."""
KINDS: Final = {"C": Kind.C, "P": Kind.PY}


@dataclass(frozen=True, slots=True)
class StepResult:
    """The result of one step. ``detail`` is what was seen, or what went wrong."""

    name: str
    passed: bool
    seconds: float
    detail: str


@dataclass(slots=True)
class Outcome:
    """One play of the how-to: the steps that were reached, in order."""

    backend: str
    cast: str
    steps: list[StepResult] = field(default_factory=list)
    lost_s: float | None = None
    """Seconds without an answer during the failover, or None if it was not reached."""
    failure: str = ""
    logs: str = ""
    """The last lines of the daemons' logs, after a failure only."""

    @property
    def passed(self) -> bool:
        """Whether every step was reached and passed."""
        return len(self.steps) == len(STEPS) and all(step.passed for step in self.steps)


class Howto:
    """One play: the machines, and the steps as methods that return what they saw or raise LabError."""

    def __init__(self, backend: Backend, cast: str) -> None:
        self.machines: dict[str, Machine] = {
            name: backend.machine(name, KINDS[letter]) for name, letter in zip(NODES, cast, strict=True)
        }
        self.urls: dict[str, str] = {}
        self.owner = ""
        self.lost_s: float | None = None

    @property
    def entry(self) -> Machine:
        """The machine that all others join."""
        return self.machines[ENTRY]

    @property
    def client(self) -> Machine:
        """The machine that uses the virtual address."""
        return self.machines[CLIENT]

    @property
    def joiners(self) -> Iterator[Machine]:
        """All machines that join with an invitation."""
        return (machine for name, machine in self.machines.items() if name != ENTRY)

    # -- the steps --

    def init(self) -> str:
        """``tinc -n mynet init node_1``."""
        self.entry.tinc("-n", NET, "init", ENTRY)
        return f"{ENTRY} has its keys"

    def edit_files(self) -> str:
        """Write Mode, Port, Address and tinc-up into the files by hand."""
        self.entry.append(f"/etc/tinc/{NET}/tinc.conf", "Mode = switch\n")
        own = f"/etc/tinc/{NET}/hosts/{ENTRY}"
        self.entry.append(own, f"Address = {self.entry.address}\nPort = {PORT}\n")
        self._write_tinc_up(self.entry)
        seen = self.entry.tinc("-n", NET, "get", "Mode").stdout.strip()
        if seen != "switch":
            raise LabError(f"get Mode says {seen!r}")
        return "Mode, Port, Address, tinc-up"

    def start(self) -> str:
        """``tinc -n mynet start`` on the entry."""
        return f"pid {self._start(self.entry)}"

    def invite(self) -> str:
        """``tinc -n mynet invite node_2`` and so on: one URL each."""
        for machine in self.joiners:
            printed = self.entry.tinc("-n", NET, "invite", machine.name).stdout
            match = _URL.search(printed)
            if match is None:
                raise LabError(f"invite {machine.name} printed no usable URL: {printed.strip()!r}")
            self.urls[machine.name] = match[0]
        return f"{len(self.urls)} URLs"

    def join(self) -> str:
        """``tinc join URL``: the invitation names the network and the node."""
        for machine in self.joiners:
            machine.tinc("join", self.urls[machine.name])
            name = machine.tinc("-n", NET, "get", "Name").stdout.strip()
            if name != machine.name:
                raise LabError(f"{machine.name} joined as {name!r}")
        return f"{len(self.urls)} nodes"

    def bring_up(self) -> str:
        """Write tinc-up by hand and run ``tinc -n mynet start`` on the four others."""
        for machine in self.joiners:
            self._write_tinc_up(machine)
            self._start(machine)
        return f"VIP {VIP} on {', '.join(HOLDERS)}"

    def dump_nodes(self) -> str:
        """``tinc -n mynet dump nodes``: every node sees all nodes."""
        took = wait_until(lambda: all(map(self._sees_all, self.machines.values())), PATIENCE_S,
                          "every node sees every other")  # fmt: skip
        return f"all see all after {took:.1f} s"

    def ping(self) -> str:
        """Ping each node's own address, then the virtual one."""
        own = [ADDRESSES[machine.name][0] for machine in self.machines.values() if machine is not self.client]
        for address in (*own, VIP):
            wait_until(partial(self._answers, address), PATIENCE_S, f"{address} answers")
        return f"{len(own)} own addresses and {VIP}"

    def info(self) -> str:
        """``tinc -n mynet info MAC`` for the MAC address that answered."""
        self.owner, mac = self._find_owner()
        return f"{mac} is {self.owner}'s"

    def kill_owner(self) -> str:
        """Kill the daemon of the holder that answers, so that it cannot tell its neighbours."""
        if not self._answers(VIP):
            raise LabError(f"{VIP} does not answer, although no daemon has been killed yet")
        machine = self.machines[self.owner]
        pid = machine.tinc("-n", NET, "pid").stdout.strip()
        machine.run(
            "sh", "-c", 'kill -KILL "$1"', "sh", pid
        )  # kill is part of every shell, but not always a program
        self._killed_at = time.monotonic()
        return f"{self.owner}, pid {pid}"

    def ping_on(self) -> str:
        """Ping until another holder answers."""
        wait_until(lambda: self._answers(VIP), TAKEOVER_LIMIT_S, f"{VIP} answers again", interval=0)
        self.lost_s = time.monotonic() - self._killed_at
        return f"{self.lost_s:.1f} s without an answer"

    def info_again(self) -> str:
        """``tinc -n mynet info MAC`` again: the MAC address that answers now belongs to another node."""
        before = self.owner
        self.owner, mac = self._find_owner()
        if self.owner == before:
            raise LabError(f"{mac} still belongs to {before}, which was killed")
        return f"{mac} is {self.owner}'s"

    # -- parts of the steps --

    def _write_tinc_up(self, machine: Machine) -> None:
        lines = ["#!/bin/sh", 'ip link set dev "$INTERFACE" up']
        lines += [f'ip address add {address}/24 dev "$INTERFACE"' for address in ADDRESSES[machine.name]]
        path = f"/etc/tinc/{NET}/tinc-up"
        machine.write(path, "\n".join(lines) + "\n", executable=True)

    def _start(self, machine: Machine) -> str:
        machine.tinc("-n", NET, "start", "-d3", f"--logfile={LOG}")
        return machine.tinc("-n", NET, "pid").stdout.strip()

    def _sees_all(self, machine: Machine) -> bool:
        views = parse_nodes(machine.tinc("-n", NET, "dump", "nodes").stdout)
        return set(views) == set(NODES) and all(view.reachable for view in views.values())

    def _answers(self, address: str) -> bool:
        done = self.client.run(*ping_command(address, 1, 1, 0.5, 56), check=False)
        return parse_ping(done.stdout).received == 1

    def _find_owner(self) -> tuple[str, str]:
        """Return the owner of the MAC address that the client has for the virtual address, and that MAC."""
        words = self.client.run("ip", "neigh", "show", VIP).stdout.split()
        if "lladdr" not in words:
            raise LabError(f"the client has no MAC address for {VIP}")
        mac = words[words.index("lladdr") + 1]
        found: dict[str, str] = {}

        def known() -> bool:
            found.update(parse_labels(self.client.tinc("-n", NET, "info", mac).stdout))
            return "Owner" in found

        # A node announces a MAC address when it learns it; the announcement may still be on its way.
        wait_until(known, PATIENCE_S, f"the network knows who owns {mac}")
        if found["Owner"] not in HOLDERS:
            raise LabError(f"{mac}, which answers for {VIP}, belongs to {found['Owner']}")
        return found["Owner"], mac

    def check_logs(self) -> None:
        """Raise LabError if a daemon logged a bug."""
        for machine in self.machines.values():
            if BUG.search(machine.read(LOG)):
                raise LabError(f"{machine.name} logged a bug")

    def log_tails(self) -> str:
        """Return the last lines of all logs."""
        tails = (
            (machine, machine.read(LOG).splitlines()[-LOG_TAIL_LINES:]) for machine in self.machines.values()
        )
        return "\n".join(
            f"--- {machine.name} ({machine.kind.title})\n" + "\n".join(tail) for machine, tail in tails
        )


STEPS: Final[tuple[tuple[str, Callable[[Howto], str]], ...]] = (
    ("init", Howto.init),
    ("files by hand", Howto.edit_files),
    ("start", Howto.start),
    ("invite x 4", Howto.invite),
    ("join URL x 4", Howto.join),
    ("VIP and start x 4", Howto.bring_up),
    ("dump nodes", Howto.dump_nodes),
    ("ping", Howto.ping),
    ("info MAC", Howto.info),
    ("kill the owner", Howto.kill_owner),
    ("ping on", Howto.ping_on),
    ("info MAC again", Howto.info_again),
)
"""The how-to, in order, with the names used in the report."""


def play(
    make_backend: Callable[[], Backend], cast: str, tell: Callable[[str], None] | None = None
) -> Outcome:
    """Play the how-to with a cast; a step that fails ends it. ``tell`` is called with a line for each step.

    Raises LabError only if the machines cannot be made.
    """
    with make_backend() as backend:
        howto = Howto(backend, cast)
        outcome = Outcome(backend.title, cast)
        try:
            for name, step in STEPS:
                result = _timed(name, step, howto)
                outcome.steps.append(result)
                if tell is not None:
                    tell(f"{backend.title} {cast} {name}: {result.detail}")
                if not result.passed:
                    raise LabError(f"{name}: {result.detail}")
            howto.check_logs()
        except LabError as error:
            outcome.failure = str(error)
            outcome.logs = howto.log_tails()
        outcome.lost_s = howto.lost_s
        return outcome


def play_all(
    make_backend: Callable[[], Backend], casts: Sequence[str], tell: Callable[[str], None] | None = None
) -> list[Outcome]:
    """Play several casts at the same time, because a play mostly waits for the client's kernel."""
    with ThreadPoolExecutor(max(1, len(casts))) as pool:
        return list(pool.map(lambda cast: play(make_backend, cast, tell), casts))


def _timed(name: str, step: Callable[[Howto], str], howto: Howto) -> StepResult:
    start = time.monotonic()
    try:
        detail, passed = step(howto), True
    except LabError as error:
        detail, passed = str(error), False
    return StepResult(name, passed, time.monotonic() - start, detail)
