"""One tinc node on a lab host: its configuration, its daemon, and what its control program prints about it.

A node runs C's ``tincd`` or pytinc's ``pytincd``, and is controlled through its own command line. The kinds
differ here only in the names of the two programs. Used by ``lab.network``, the demo and the interop tests.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Final

from pytinc.lab.namespaces import Completed, Host, LabError

PATIENCE_S: Final = 60.0
"""How long to wait for what normally comes soon: a busy machine may take long."""
REACHABLE: Final = 0x10  # node status bits, control protocol
UDP_CONFIRMED: Final = 0x80
CONTROL_CONNECTION: Final = 0x200
LOG_TAIL_LINES: Final = 40


PATH: Final = os.environ.get("PATH", "") + ":/usr/sbin:/sbin"

Settings = Iterable[tuple[str, str]]
"""Variables and their values, in file order."""


class Kind(Enum):
    """Which implementation a node runs."""

    C = "c"
    PY = "py"

    @property
    def title(self) -> str:
        """The name of the daemon in tables."""
        return "tincd (C)" if self is Kind.C else "pytincd"

    def programs(self) -> tuple[str, str]:
        """Return the paths of control program and daemon. Raises LabError if they are not installed."""
        names = ("tinc", "tincd") if self is Kind.C else ("pytinc", "pytincd")
        # Look for ours beside the running interpreter, so that a virtual environment need not be activated.
        path = PATH if self is Kind.C else f"{Path(sys.executable).parent}:{PATH}"
        found = [shutil.which(name, path=path) for name in names]
        if found[0] is None or found[1] is None:
            hint = "interop/install-tincd.sh installs it" if self is Kind.C else "make venv installs it"
            raise LabError(f"{names[0]} and {names[1]} are not installed ({hint})")
        return found[0], found[1]


@dataclass(frozen=True, slots=True)
class NodeView:
    """A line of ``dump nodes``: how one node sees another."""

    name: str
    address: str
    port: str
    options: int
    status: int
    nexthop: str
    via: str
    distance: int
    pmtu: int
    min_mtu: int
    max_mtu: int

    @property
    def reachable(self) -> bool:
        """Whether there is a route to the node."""
        return bool(self.status & REACHABLE)

    @property
    def by_udp(self) -> bool:
        """Whether UDP to the node is confirmed, and a lower bound of its path MTU is known."""
        return bool(self.status & UDP_CONFIRMED) and self.min_mtu > 0

    @property
    def mtu_known(self) -> bool:
        """Whether path MTU discovery is finished."""
        return self.by_udp and self.min_mtu == self.max_mtu


@dataclass(frozen=True, slots=True)
class EdgeView:
    """A line of ``dump edges``."""

    start: str
    end: str
    address: str
    port: str
    weight: int


@dataclass(frozen=True, slots=True)
class ConnectionView:
    """A line of ``dump connections``: a meta connection to a peer."""

    name: str
    address: str
    port: str
    status: int


_NODE: Final = re.compile(
    r"(?P<name>\w+) id \w+ at (?P<address>\S+) port (?P<port>\S+) .*options (?P<options>[0-9a-f]+)"
    r" status (?P<status>[0-9a-f]+) nexthop (?P<nexthop>\S+) via (?P<via>\S+) distance (?P<distance>-?\d+)"
    r" pmtu (?P<pmtu>\d+) \(min (?P<min>\d+) max (?P<max>\d+)\)"
)
_EDGE: Final = re.compile(r"(\w+) to (\w+) at (\S+) port (\S+) .*weight (-?\d+)")
_CONNECTION: Final = re.compile(r"(\S+) at (\S+) port (\S+) options \w+ socket -?\d+ status ([0-9a-f]+)")


def parse_nodes(text: str) -> dict[str, NodeView]:
    """Parse what ``dump nodes`` printed, by node name. Raises LabError for a line of another form."""
    views = {}
    for line in text.splitlines():
        match = _NODE.match(line)
        if match is None:
            raise LabError(f"unexpected line of dump nodes: {line}")
        part = match.groupdict()
        views[part["name"]] = NodeView(
            part["name"],
            part["address"],
            part["port"],
            int(part["options"], 16),
            int(part["status"], 16),
            part["nexthop"],
            part["via"],
            *(int(part[key]) for key in ("distance", "pmtu", "min", "max")),
        )
    return views


def parse_edges(text: str) -> list[EdgeView]:
    """Parse what ``dump edges`` printed. Raises LabError for a line of another form."""
    views = []
    for line in text.splitlines():
        match = _EDGE.match(line)
        if match is None:
            raise LabError(f"unexpected line of dump edges: {line}")
        start, end, address, port, weight = match.groups()
        views.append(EdgeView(start, end, address, port, int(weight)))
    return views


def parse_connections(text: str) -> list[ConnectionView]:
    """Parse what ``dump connections`` printed, without control connections.

    Raises LabError for a line of another form.
    """
    views = []
    for line in text.splitlines():
        match = _CONNECTION.match(line)
        if match is None:
            raise LabError(f"unexpected line of dump connections: {line}")
        name, address, port, status = match.groups()
        if not int(status, 16) & CONTROL_CONNECTION:
            views.append(ConnectionView(name, address, port, int(status, 16)))
    return views


def parse_labels(text: str) -> dict[str, str]:
    """Parse the ``Label: value`` lines of ``info``; the first of several equal labels counts."""
    labels: dict[str, str] = {}
    for line in text.splitlines():
        label, colon, value = line.partition(":")
        if colon:
            labels.setdefault(label, value.strip())
    return labels


def wait_until(condition: Callable[[], object], timeout: float, what: str, interval: float = 0.2) -> float:
    """Wait until ``condition()`` is true and return how many seconds that took.

    Raises LabError with ``what`` after ``timeout`` seconds. A LabError in the condition means "not yet".
    """
    start = time.monotonic()
    last = ""
    while True:
        try:
            if condition():
                return time.monotonic() - start
            last = ""
        except LabError as error:
            last = f" (last: {error})"
        if time.monotonic() - start > timeout:
            raise LabError(f"not within {timeout:g} s: {what}{last}")
        time.sleep(interval)


@dataclass(eq=False)
class Node:
    """A tinc node on a host. ``mac`` and ``addresses`` (with prefix lengths) are those of its tap."""

    host: Host
    name: str
    kind: Kind
    mac: str
    addresses: list[str]
    mtu: int = 1500
    debug: int = 3
    interface: str = "vpn"
    confbase: Path = field(init=False)
    started: bool = field(init=False, default=False)

    def __post_init__(self) -> None:
        self.confbase = self.host.lab.directory / self.name
        self._program, self._daemon = self.kind.programs()
        self._reader = shutil.which("tinc", path=PATH) or self._program

    @property
    def address(self) -> str:
        """The node's first address inside the VPN."""
        return self.addresses[0].partition("/")[0]

    @property
    def tinc_program(self) -> str:
        """The path of the control program."""
        return self._program

    @property
    def tincd_program(self) -> str:
        """The path of the daemon program."""
        return self._daemon

    @property
    def log_path(self) -> Path:
        """The daemon's log file; each start appends to it."""
        return self.confbase / "log"

    @property
    def pidfile(self) -> Path:
        """The daemon's pid file."""
        return self.confbase / "pid"

    @property
    def globals(self) -> tuple[str, ...]:
        """The options that tell either program where this node lives."""
        return ("-c", str(self.confbase), f"--pidfile={self.pidfile}")

    def tinc(
        self, *words: str, stdin: str | None = None, check: bool = True, timeout: float = PATIENCE_S
    ) -> Completed:
        """Run the control program of the node's kind on its host, like `pytinc.lab.namespaces.run`."""
        return self.host.run(self._program, *self.globals, *words, stdin=stdin, check=check, timeout=timeout)

    def dump(self, what: str) -> str:
        """Return what ``dump`` prints.

        C's program asks either daemon, and starts thirty times as fast as ours; tests ask many times.
        """
        return self.host.run(self._reader, *self.globals, "dump", what).stdout

    def init(self, settings: Settings = (), host_settings: Settings = ()) -> None:
        """Make keys and configuration: ``settings`` in tinc.conf, ``host_settings`` in its own host file."""
        self.tinc("-b", "init", self.name)
        (self.confbase / "cache").mkdir(exist_ok=True)  # the init of 1.1pre18 does not make it
        self.add_lines("tinc.conf", settings)
        self.add_lines(f"hosts/{self.name}", [("Address", self.host.address), *host_settings])
        self.write_tinc_up()

    def write_tinc_up(self) -> None:
        """Write the script that gives the tap its MAC address, MTU and addresses."""
        lines = ["#!/bin/sh", f'ip link set dev "$INTERFACE" address {self.mac} mtu {self.mtu} up']
        lines += [f'ip address add {address} dev "$INTERFACE"' for address in self.addresses]
        script = self.confbase / "tinc-up"
        script.write_text("\n".join(lines) + "\n")
        script.chmod(0o755)

    def add_lines(self, file: str, settings: Settings) -> None:
        """Append settings to a file under confbase, without any check."""
        with (self.confbase / file).open("a") as stream:
            stream.writelines(f"{name} = {value}\n" for name, value in settings)

    def host_file(self) -> str:
        """Return the text of the node's own host file, which its peers need."""
        return (self.confbase / "hosts" / self.name).read_text()

    def knows(self, other: Node) -> None:
        """Give this node the host file of another."""
        (self.confbase / "hosts" / other.name).write_text(other.host_file())

    def start(self, *options: str, check: bool = True) -> Completed:
        """Run ``tinc start``, and return when the daemon is ready (or, without ``check``, has failed)."""
        words = ("start", f"-d{self.debug}", f"--logfile={self.log_path}", *options)
        done = self.tinc(*words, check=check, timeout=PATIENCE_S)
        self.started = done.returncode == 0
        return done

    def stop(self) -> None:
        """Stop the daemon with ``tinc stop``, and return when it is gone."""
        self.tinc("stop")
        self.started = False

    def pid(self) -> int | None:
        """Return the daemon's process id from its pid file, or None if there is none."""
        try:
            return int(self.pidfile.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return None

    def running(self) -> bool:
        """Return whether the daemon's process exists."""
        pid = self.pid()
        return pid is not None and Path(f"/proc/{pid}").exists()

    def kill(self) -> None:
        """Kill the daemon with SIGKILL: it cannot say goodbye, and its pid file stays behind."""
        pid = self.pid()
        if pid is None:
            raise LabError(f"{self.name} does not run")
        os.kill(pid, signal.SIGKILL)
        self.started = False
        wait_until(lambda: not self.running(), PATIENCE_S, f"{self.name} is gone", interval=0.02)

    def nodes(self) -> dict[str, NodeView]:
        """Return what ``dump nodes`` prints, by name."""
        return parse_nodes(self.dump("nodes"))

    def edges(self) -> list[EdgeView]:
        """Return what ``dump edges`` prints."""
        return parse_edges(self.dump("edges"))

    def connections(self) -> list[ConnectionView]:
        """Return what ``dump connections`` prints, without control connections."""
        return parse_connections(self.dump("connections"))

    def info(self, what: str) -> dict[str, str]:
        """Return what ``info`` prints about a node, subnet or address, by label.

        Raises LabError if ``what`` is unknown.
        """
        return parse_labels(self.tinc("info", what).stdout)

    def sees(self, others: Iterable[Node]) -> bool:
        """Return whether all of these nodes are reachable from this one."""
        views = self.nodes()
        return all(other.name in views and views[other.name].reachable for other in others)

    def log(self) -> str:
        """Return everything that the daemon has logged so far."""
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def log_tail(self) -> str:
        """Return the last lines of the log, for the report of a failure."""
        return "\n".join(self.log().splitlines()[-LOG_TAIL_LINES:])
