"""Hosts for experiments on one machine: network namespaces joined by a bridge, with faults on demand.

This is the lowest layer of the lab. ``lab.node`` and ``lab.network`` put tinc nodes on these hosts; the demo
and the interop tests use them. Everything is done from outside with ``ip`` and ``nft``; nothing here knows
tinc.

Faults are made in the switch and not in the hosts, so that a dropped packet vanishes as on a real network. A
rule in the host itself would give the sender an error.

A lab cleans up after itself: at the end of the ``with`` block, at exit, and on SIGTERM and SIGHUP. If the
process was killed, the next lab finds its record under ``/run`` and removes what is left. Only namespaces
that a lab has recorded are touched, and the processes inside them, which are ended by process id.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import itertools
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType, TracebackType
from typing import IO, Final, Self

from pytinc.errors import PytincError

RECORDS: Final = Path("/run/pytinc-lab")
UNDERLAY: Final = "192.0.2"  # TEST-NET-1: these addresses exist nowhere else
SWITCH: Final = "switch"
MAX_HOSTS: Final = 200
TERM_GRACE_S: Final = 2.0  # between SIGTERM and SIGKILL for a process in a namespace
COMMAND_TIMEOUT_S: Final = 60.0
GRO_FLUSH_NS: Final = 200_000  # as with a card that delays its interrupts
TUN: Final = Path("/dev/net/tun")
NAMESPACES: Final = Path("/run/netns")  # where ip keeps named namespaces
_CLONE_NEWNET: Final = 0x40000000
TOOLS: Final = {"ip": "iproute2", "nft": "nftables"}


class LabError(PytincError):
    """The lab cannot be built or used: something is missing here, or a command failed."""


Completed = subprocess.CompletedProcess[str]


def run(
    *command: str, stdin: str | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
) -> Completed:
    """Run a command, wait for its end, and return its exit status and what it printed.

    Raises LabError if it is missing, takes longer than ``timeout`` seconds, or (with ``check``) fails.
    """
    try:
        done = subprocess.run(
            command,
            input=stdin if stdin is not None else "",
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except FileNotFoundError as error:
        raise LabError(f"{command[0]} is not installed") from error
    except subprocess.TimeoutExpired as error:
        raise LabError(f"no end after {timeout:g} s: {' '.join(command)}") from error
    if check and done.returncode != 0:
        raise LabError(
            f"{' '.join(command)}\nexit status {done.returncode}\n{done.stdout}{done.stderr}".rstrip()
        )
    return done


def missing_means() -> str | None:
    """Return why this process cannot build a lab, as a sentence for the user, or None if it can."""
    if os.geteuid() != 0:
        return "network namespaces need root (or user namespaces, see pytinc.lab.privileges)"
    for tool, package in TOOLS.items():
        if shutil.which(tool) is None:
            return (
                f"{tool} is not installed (Debian's package {package}; as root, interop/setup.sh installs it)"
            )
    if not TUN.exists():
        return f"{TUN} does not exist (modprobe tun; in a container, pass the device in)"
    try:
        os.close(os.open(TUN, os.O_RDWR | os.O_CLOEXEC))
    except OSError as error:
        return f"{TUN} cannot be opened: {error.strerror}"
    probe = run("unshare", "--net", "true", check=False)
    if probe.returncode != 0:
        return f"this system does not let us make network namespaces: {probe.stderr.strip()}"
    return None


class Host:
    """One machine of the lab: a namespace with ``eth0`` on the lab's switch."""

    def __init__(self, lab: Lab, name: str, number: int) -> None:
        self.lab = lab
        self.name = name
        self.namespace = f"{lab.tag}-{name}"
        self.address = f"{UNDERLAY}.{number}"
        self._processes: list[subprocess.Popen[str]] = []

    def command(self, *command: str) -> tuple[str, ...]:
        """Return the command line that runs ``command`` on this host, from outside."""
        return ("ip", "netns", "exec", self.namespace, *command)

    def run(
        self, *command: str, stdin: str | None = None, check: bool = True, timeout: float = COMMAND_TIMEOUT_S
    ) -> Completed:
        """Run a command on this host and wait for its end, like `run`."""
        return run(*self.command(*command), stdin=stdin, check=check, timeout=timeout)

    def spawn(self, *command: str, output: IO[str] | int = subprocess.PIPE) -> subprocess.Popen[str]:
        """Start a command on this host and return at once; closing the lab ends it at the latest."""
        process = subprocess.Popen(
            self.command(*command),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._processes.append(process)
        return process

    def open_socket(self, make: Callable[[], socket.socket]) -> socket.socket:
        """Return the socket that ``make()`` opens on this host. Raises LabError if the host is gone.

        A thread enters the namespace for it and ends at once, so that no program has to be started.
        """

        def enter_and_make() -> socket.socket:
            try:
                handle = os.open(NAMESPACES / self.namespace, os.O_RDONLY)
            except OSError as error:
                raise LabError(f"cannot enter {self.namespace}: {error.strerror}") from error
            try:
                if ctypes.CDLL(None, use_errno=True).setns(handle, _CLONE_NEWNET) < 0:
                    raise LabError(f"cannot enter {self.namespace}: {os.strerror(ctypes.get_errno())}")
            finally:
                os.close(handle)
            return make()

        with ThreadPoolExecutor(1) as thread:
            return thread.submit(enter_and_make).result()

    def set_link_mtu(self, mtu: int) -> None:
        """Set the MTU of the link between this host and the switch; larger frames to the host are lost."""
        self.run("ip", "link", "set", "dev", "eth0", "mtu", str(mtu))
        run("ip", "-n", self.lab.switch, "link", "set", "dev", self.name, "mtu", str(mtu))

    def crash(self) -> None:
        """Act as if the power failed: take the link down and kill all processes, without a sign to others."""
        # The link goes first, so that the kernel cannot tell the peers of the processes that these have
        # ended.
        self.run("ip", "link", "set", "dev", "eth0", "down")
        for pid in processes_in(self.namespace):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self._reap()

    def boot(self) -> None:
        """Take the link up again after `crash`; the caller has to start the processes."""
        self.run("ip", "link", "set", "dev", "eth0", "up")

    def end_processes(self) -> None:
        """End all processes on this host, those that `spawn` started as well as daemons that detached."""
        end_processes_in(self.namespace)
        self._reap()

    def _reap(self) -> None:
        for process in self._processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(TERM_GRACE_S)
            if process.stdout is not None:
                process.stdout.close()
        self._processes.clear()


class Faults:
    """The faults of the switch, and the nftables rules that make them."""

    def __init__(self) -> None:
        self.udp_blocked: set[frozenset[str]] = set()
        self.cut_off: set[str] = set()
        self.muted: set[str] = set()
        self.loss_percent: dict[str, int] = {}

    def ruleset(self, addresses: dict[str, str]) -> str:
        """Return the rules for nft, for hosts ``{name: address}``; loading them replaces the old rules."""
        lines = ["table netdev lab {}", "delete table netdev lab", "table netdev lab {"]
        for name, address in addresses.items():
            # The ingress hook of a port sees what its host sends.
            lines.append(f"  chain from_{name.replace('-', '_')} {{")
            lines.append(f'    type filter hook ingress device "{name}" priority 0; policy accept;')
            lines += [f"    {rule}" for rule in self._rules_for_sender(name, address, addresses)]
            lines.append("  }")
        lines.append("}")
        return "\n".join(lines) + "\n"

    def _rules_for_sender(self, name: str, address: str, addresses: dict[str, str]) -> Iterator[str]:
        if name in self.cut_off | self.muted:
            yield "drop"
            return
        for other in sorted(self.cut_off):
            yield f"ip daddr {addresses[other]} drop"
        for pair in sorted(self.udp_blocked, key=sorted):
            if name in pair:
                (other,) = pair - {name}
                yield f"ip saddr {address} ip daddr {addresses[other]} meta l4proto udp drop"
        if self.loss_percent.get(name):
            yield f"numgen random mod 100 < {self.loss_percent[name]} drop"


class Lab:
    """A switch and the hosts on it; use it as a context manager."""

    _numbers = itertools.count()

    def __init__(self) -> None:
        means = missing_means()
        if means is not None:
            raise LabError(means)
        sweep()
        number = next(self._numbers)
        self.tag = f"pt{os.getpid()}" + (f".{number}" if number else "")
        self.switch = f"{self.tag}-{SWITCH}"
        self.hosts: dict[str, Host] = {}
        self.directory = Path(tempfile.mkdtemp(prefix=f"{self.tag}-"))
        # A daemon that has given up its privileges must still reach its configuration in this directory.
        self.directory.chmod(0o755)
        self._link = ("ip", "-n", self.switch, "link")
        self._faults = Faults()
        self._closed = False
        self._record = Record(self.tag, os.getpid(), str(self.directory), [])
        _open_labs.append(self)
        _install_handlers()
        try:
            self._add_namespace(self.switch)
            run("ip", "-n", self.switch, "link", "add", "br0", "type", "bridge")
            run("ip", "-n", self.switch, "link", "set", "dev", "br0", "up")
        except BaseException:
            self.close()
            raise

    def _add_namespace(self, name: str) -> None:
        # Record it first, so that it is known even if this process is killed right after making it.
        self._record.namespaces.append(name)
        self._record.write()
        run("ip", "netns", "add", name)
        run("ip", "-n", name, "link", "set", "dev", "lo", "up")

    def host(self, name: str) -> Host:
        """Add a host. Its port on the switch gets its name: up to 15 letters, digits and dashes."""
        if len(self.hosts) >= MAX_HOSTS:
            raise LabError(f"a lab has at most {MAX_HOSTS} hosts")
        host = Host(self, name, len(self.hosts) + 1)
        self._add_namespace(host.namespace)
        run(
            "ip", "-n", host.namespace, "link", "add", "eth0", "type", "veth", "peer", "name", name, "netns",
            self.switch,
        )  # fmt: skip
        run("ip", "-n", self.switch, "link", "set", "dev", name, "master", "br0", "up")
        run("ip", "-n", host.namespace, "address", "add", f"{host.address}/24", "dev", "eth0")
        run("ip", "-n", host.namespace, "link", "set", "dev", "eth0", "up")
        self.hosts[name] = host
        return host

    def block_udp(self, one: Host, other: Host) -> None:
        """Drop all UDP packets between two hosts, in both directions."""
        self._faults.udp_blocked.add(frozenset((one.name, other.name)))
        self._apply_faults()

    def unblock_udp(self, one: Host, other: Host) -> None:
        """Undo `block_udp`."""
        self._faults.udp_blocked.discard(frozenset((one.name, other.name)))
        self._apply_faults()

    def cut_off(self, host: Host) -> None:
        """Drop everything from and to a host; its link stays up, so nobody is notified."""
        self._faults.cut_off.add(host.name)
        self._apply_faults()

    def reconnect(self, host: Host) -> None:
        """Undo `cut_off`."""
        self._faults.cut_off.discard(host.name)
        self._apply_faults()

    def mute(self, host: Host) -> None:
        """Drop everything that a host sends; what others send to it still arrives."""
        self._faults.muted.add(host.name)
        self._apply_faults()

    def unmute(self, host: Host) -> None:
        """Undo `mute`."""
        self._faults.muted.discard(host.name)
        self._apply_faults()

    def set_loss(self, host: Host, percent: int) -> None:
        """Drop this share of what a host sends, at random."""
        self._faults.loss_percent[host.name] = percent
        self._apply_faults()

    def clear_faults(self) -> None:
        """End all faults of the switch; MTUs and delays stay."""
        self._faults = Faults()
        self._apply_faults()

    @contextlib.contextmanager
    def impair(self, host: Host, *, loss: float, reorder: float, seed: int = 1) -> Iterator[dict[str, int]]:
        """While the block runs, lose and reorder a part of what a host sends and receives (in per cent).

        A program carries the frames (`pytinc.lab.impair`); the dictionary has its report after the block.
        During the block, the host's frames are as on a wire, not joined and with checksums, the host joins
        what it receives (GRO), and the faults that nftables makes do not apply to it. Raises LabError if the
        program does not work.
        """
        number = list(self.hosts).index(host.name)
        middle, bridged = f"impair{number}", f"impair{number}b"
        ends = ((host.namespace, "eth0"), (self.switch, host.name))
        run(*self._link, "add", "name", middle, "type", "veth", "peer", "name", bridged)
        try:
            for namespace, interface in (*ends, (self.switch, bridged)):
                _set_offloads(namespace, interface, on=False)
            _join_received(host, on=True)
            run(*self._link, "set", "dev", host.name, "nomaster")
            run(*self._link, "set", "dev", middle, "addrgenmode", "none", "up")
            run(*self._link, "set", "dev", bridged, "master", "br0", "up")
            report: dict[str, int] = {}
            faults = (f"--loss={loss}", f"--reorder={reorder}", f"--seed={seed}")
            with self._carrier(host.name, middle, *faults) as carrier:
                yield report
                carrier.terminate()
                report |= json.loads(carrier.communicate(timeout=COMMAND_TIMEOUT_S)[0])
        finally:
            run(*self._link, "del", "dev", middle)
            run(*self._link, "set", "dev", host.name, "master", "br0")
            for namespace, interface in ends:
                _set_offloads(namespace, interface, on=True)
            _join_received(host, on=False)

    @contextlib.contextmanager
    def _carrier(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        command = ("ip", "netns", "exec", self.switch, sys.executable, "-m", "pytinc.lab.impair", *words)
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            try:
                assert process.stdout is not None
                line = process.stdout.readline()
                if line != "carrying\n":
                    raise LabError(f"no program to impair the network: {line}{process.stdout.read()}")
                yield process
            finally:
                process.kill()

    def _apply_faults(self) -> None:
        rules = self._faults.ruleset({host.name: host.address for host in self.hosts.values()})
        run("ip", "netns", "exec", self.switch, "nft", "-f", "-", stdin=rules)

    def keep(self) -> None:
        """Leave the lab up when this process ends; ``sweep(kept=True)`` in a later process takes it down."""
        self._record.kept = True
        self._record.write()
        self._closed = True
        _open_labs.remove(self)

    def close(self) -> None:
        """End every process of the lab and remove its namespaces and files. May be called more than once."""
        if self._closed:
            return
        self._closed = True
        with _uninterrupted():
            for host in self.hosts.values():
                host.end_processes()
            self._record.remove_all()
            if self in _open_labs:
                _open_labs.remove(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _set_offloads(namespace: str, interface: str, *, on: bool) -> None:
    """Allow joined frames without checksums on an interface, or only frames as on a wire."""
    words = ("tx", "tso", "gso", "tx-udp-segmentation")
    switch = [word for name in words for word in (name, "on" if on else "off")]
    run("ip", "netns", "exec", namespace, "ethtool", "-K", interface, *switch)


def _join_received(host: Host, *, on: bool) -> None:
    """Have the kernel join what a host receives (GRO), as with a real card that collects frames for a while.

    A veth does so only if its other end sends frames as on a wire.
    """
    host.run("ethtool", "-K", "eth0", "gro", "on" if on else "off")
    flush = "/sys/class/net/eth0/gro_flush_timeout"
    # This is refused in a user namespace; the kernel then joins only frames that come at once.
    host.run("sh", "-c", f"echo {GRO_FLUSH_NS if on else 0} > {flush}", check=False)


class Record:
    """A record of what one lab has made on this machine, in a file that outlives the process."""

    def __init__(
        self, tag: str, pid: int, directory: str, namespaces: list[str], *, kept: bool = False
    ) -> None:
        self.tag = tag
        self.pid = pid
        self.started = process_start(pid)
        self.directory = directory
        self.namespaces = namespaces
        self.kept = kept

    @property
    def path(self) -> Path:
        """The file of the record."""
        return RECORDS / f"{self.tag}.json"

    def write(self) -> None:
        """Write the record to its file."""
        RECORDS.mkdir(mode=0o755, exist_ok=True)
        new = self.path.with_suffix(".new")
        new.write_text(json.dumps(self.__dict__))
        new.replace(self.path)

    @classmethod
    def read(cls, path: Path) -> Record | None:
        """Return the record in a file, or None if it is damaged or not written by this module."""
        try:
            fields = json.loads(path.read_text())
            record = cls(
                str(fields["tag"]),
                int(fields["pid"]),
                str(fields["directory"]),
                [str(name) for name in fields["namespaces"]],
                kept=bool(fields["kept"]),
            )
            record.started = fields["started"]
        except (OSError, ValueError, TypeError, KeyError):
            return None
        # The namespaces of these names will be deleted, so accept only names that this module makes.
        if not all(name.startswith(f"{record.tag}-") for name in record.namespaces):
            return None
        return record

    def is_abandoned(self) -> bool:
        """Return whether the process that made the lab is gone."""
        return self.started is None or process_start(self.pid) != self.started

    def remove_all(self) -> None:
        """End the processes and remove the namespaces, the directory and the record itself; never raises."""
        for name in self.namespaces:
            end_processes_in(name)
            run("ip", "netns", "delete", name, check=False)
        if Path(self.directory).name.startswith(f"{self.tag}-"):
            shutil.rmtree(self.directory, ignore_errors=True)
        self.path.unlink(missing_ok=True)


def records() -> list[Record]:
    """Return the records of all labs on this machine."""
    return [record for path in sorted(RECORDS.glob("pt*.json")) if (record := Record.read(path)) is not None]


def sweep(*, kept: bool = False) -> list[str]:
    """Take down the labs whose process is gone, and return their tags.

    Labs that were left up on purpose are taken down only with ``kept``.
    """
    swept = []
    for record in records():
        if record.is_abandoned() and (kept or not record.kept):
            record.remove_all()
            swept.append(record.tag)
    return swept


def process_start(pid: int) -> str | None:
    """Return when a process was started, in kernel ticks, or None if it does not exist.

    Together with the pid this identifies a process, even when pids are used again.
    """
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return None


def processes_in(namespace: str) -> list[int]:
    """Return the ids of the processes in a namespace; none if there is no such namespace."""
    done = run("ip", "netns", "pids", namespace, check=False)
    return [int(word) for word in done.stdout.split()]


def end_processes_in(namespace: str) -> None:
    """Send SIGTERM to all processes in a namespace, and SIGKILL to those that do not end."""
    for number, patience in ((signal.SIGTERM, TERM_GRACE_S), (signal.SIGKILL, TERM_GRACE_S)):
        pids = processes_in(namespace)
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
        deadline = time.monotonic() + patience
        while pids and time.monotonic() < deadline:
            time.sleep(0.05)
            pids = processes_in(namespace)
        if not pids:
            return


_open_labs: list[Lab] = []
_ENDING_SIGNALS: Final[Sequence[signal.Signals]] = (signal.SIGTERM, signal.SIGHUP)


def _close_all() -> None:
    for lab in list(_open_labs):
        lab.close()


def _on_ending_signal(number: int, _frame: FrameType | None) -> None:
    _close_all()
    signal.signal(number, signal.SIG_DFL)
    os.kill(os.getpid(), number)


def _install_handlers() -> None:
    """Close the labs when a signal ends this process; SIGINT needs no handler (KeyboardInterrupt)."""
    atexit.register(_close_all)
    if threading.current_thread() is not threading.main_thread():
        return
    for number in _ENDING_SIGNALS:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, _on_ending_signal)


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """Block signals that end this process while the block runs, so that a teardown is always complete."""
    numbers = {signal.SIGINT, *_ENDING_SIGNALS}
    old = signal.pthread_sigmask(signal.SIG_BLOCK, numbers)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)
