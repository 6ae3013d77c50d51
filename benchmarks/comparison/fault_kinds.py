"""The faults of ``benchmarks/faults.py``: each a context manager that lasts as long as its ``with`` block."""

from __future__ import annotations

import hashlib
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

from comparison.fault_stand import Fault, Stand
from pytinc.lab.namespaces import LabError, run
from pytinc.lab.node import Node

FEW_DESCRIPTORS: Final = 40
SPARE_MEMORY: Final = 4 << 20
FLAPS: Final = 10
FLAP_S: Final = 0.5
YEARS_S: Final = 10 * 365 * 86400
IDLE: Final = 200
GUESTS: Final = 50
FORGED_PER_S: Final = 20_000
MACS: Final = 20_000
MACS_PER_S: Final = 2_000
STORM_PER_S: Final = 30_000
LAN_PER_S: Final = 10


def pid_of(node: Node) -> int:
    """Return the process id of a daemon that runs."""
    pid = node.pid()
    if pid is None:
        raise LabError(f"{node.name} does not run")
    return pid


# -- the process --


@contextmanager
def killed(stand: Stand) -> Iterator[None]:
    """The daemon is killed with SIGKILL, and started again at the end."""
    stand.victim.kill()
    yield
    stand.start_victim()


@contextmanager
def stopped(stand: Stand) -> Iterator[None]:
    """The daemon gets SIGSTOP, and SIGCONT at the end: a suspended virtual machine."""
    os.kill(pid_of(stand.victim), signal.SIGSTOP)
    yield
    os.kill(pid_of(stand.victim), signal.SIGCONT)


@contextmanager
def few_descriptors(stand: Stand) -> Iterator[None]:
    """The daemon may have 40 descriptors (RLIMIT_NOFILE), and somebody opens 100 connections."""
    pid = pid_of(stand.victim)
    before = limits_of(pid, "nofile")
    run("prlimit", f"--pid={pid}", f"--nofile={FEW_DESCRIPTORS}:{before[1]}")
    with stand.attack(stand.outsider, "idle", stand.victim.host.address, "100"):
        answers = stand.victim.tinc("dump", "connections", check=False, timeout=10).returncode == 0
        stand.notes.append("the command still works" if answers else "the command no longer works")
        yield
    if stand.victim.running():
        run("prlimit", f"--pid={pid}", f"--nofile={before[0]}:{before[1]}")
    stand.start_if_ended()


@contextmanager
def little_memory(stand: Stand) -> Iterator[None]:
    """The daemon may have only 4 MiB more memory (RLIMIT_AS); there are 200 connections and new MACs."""
    pid = pid_of(stand.victim)
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
    run("prlimit", f"--pid={pid}", f"--as={pages * os.sysconf('SC_PAGE_SIZE') + SPARE_MEMORY}:unlimited")
    with (
        stand.attack(stand.outsider, "idle", stand.victim.host.address, str(IDLE)),
        stand.attack(stand.victim.host, "macs", stand.victim.interface, str(MACS), str(MACS_PER_S)),
    ):
        yield
    if stand.victim.running():
        run("prlimit", f"--pid={pid}", "--as=unlimited:unlimited")
    stand.start_if_ended()


def limits_of(pid: int, resource: str) -> tuple[str, str]:
    """Return the soft and the hard limit of a process."""
    words = run("prlimit", f"--pid={pid}", f"--{resource}", "--output=SOFT,HARD", "--noheadings").stdout
    soft, hard = words.split()
    return soft, hard


@contextmanager
def other_clock(stand: Stand) -> Iterator[None]:
    """The daemon restarts where the machine has been up for ten years more (a time namespace), and back."""
    stand.victim.stop()
    stand.start_victim("unshare", "--time", f"--boottime={YEARS_S}", f"--monotonic={YEARS_S}")
    yield
    stand.victim.stop()
    stand.start_victim()


# -- the disk --


@contextmanager
def full_disk(stand: Stand) -> Iterator[None]:
    """The disk with the configuration is full while the daemon and the command want to write."""
    before = contents(stand)
    filler = stand.victim.confbase / "filler"
    with filler.open("wb", buffering=0) as stream, suppress(OSError):
        while True:
            stream.write(bytes(512))
    change_files(stand)
    yield
    filler.unlink()
    compare(stand, before)
    stand.start_if_ended()


@contextmanager
def read_only(stand: Stand) -> Iterator[None]:
    """The configuration becomes read-only for the daemon while it wants to write."""
    before = contents(stand)
    enter = ("nsenter", f"--target={pid_of(stand.victim)}", "--mount")
    place = str(stand.victim.confbase)
    run(*enter, "mount", "-o", "remount,bind,ro", place)
    stand.victim.tinc("reload", check=False)
    stand.restart_third()
    yield
    if stand.victim.running():
        run(*enter, "mount", "-o", "remount,bind,rw", place)
    compare(stand, before)
    stand.start_if_ended()


def change_files(stand: Stand) -> None:
    """Do what writes to the configuration; it may fail."""
    victim = stand.victim
    for words in (
        ("set", "PingInterval", "59"),
        ("add", "third.Address", "192.0.2.99"),
        ("invite", "guest"),
        ("reload",),
    ):
        victim.tinc(*words, check=False)
    stand.restart_third()


def contents(stand: Stand) -> dict[str, str]:
    """Return a digest of each file of the configuration that a node cannot do without."""
    base = stand.victim.confbase
    files = [base / "tinc.conf", base / "ed25519_key.priv", *sorted((base / "hosts").iterdir())]
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files if file.is_file()}


def compare(stand: Stand, before: dict[str, str]) -> None:
    """Note which files have become another; nothing could be written in full."""
    after = contents(stand)
    changed = sorted(name for name in before if after.get(name) != before[name])
    files = stand.victim.confbase.rglob("*")
    empty = sum(file.is_file() and not file.stat().st_size for file in files)
    stand.notes.append(f"damaged: {', '.join(changed)}" if changed else "all files intact")
    if empty:
        stand.notes.append(f"{empty} files left empty")


# -- the network --


@contextmanager
def tap_deleted(stand: Stand) -> Iterator[None]:
    """The VPN's interface is deleted; at the end the daemon is started anew."""
    victim = stand.victim
    victim.host.run("ip", "link", "del", victim.interface)
    yield
    if victim.running():
        stand.notes.append("the daemon goes on without its interface")
        victim.stop()
    else:
        stand.notes.append("the daemon ends")
    stand.start_victim()


@contextmanager
def address_removed(stand: Stand) -> Iterator[None]:
    """The host loses its address inside the VPN, and gets it back at the end."""
    victim = stand.victim
    for verb in ("del", "add"):
        victim.host.run("ip", "address", verb, victim.addresses[0], "dev", victim.interface)
        if verb == "del":
            yield


@contextmanager
def flapping(stand: Stand) -> Iterator[None]:
    """The host's link goes down and up ten times."""
    for _ in range(FLAPS):
        for state in ("down", "up"):
            stand.victim.host.run("ip", "link", "set", "dev", "eth0", state)
            time.sleep(FLAP_S)
    yield


# -- others --


@contextmanager
def idle_connections(stand: Stand) -> Iterator[None]:
    """A stranger holds 200 connections open; a peer restarts meanwhile."""
    with stand.attack(stand.outsider, "idle", stand.victim.host.address, str(IDLE)):
        stand.restart_third()
        yield


@contextmanager
def bad_guests(stand: Stand) -> Iterator[None]:
    """50 invitation clients send a byte a second, and 20 others a second guess; a peer restarts meanwhile."""
    stand.victim.tinc("invite", "guest")
    with stand.attack(stand.outsider, "guests", stand.victim.host.address, str(GUESTS)):
        stand.restart_third()
        yield


@contextmanager
def forged(stand: Stand) -> Iterator[None]:
    """A stranger sends 20,000 datagrams a second in the name of the peer."""
    with stand.attack(stand.outsider, "forge", stand.victim.host.address, "peer", str(FORGED_PER_S)):
        yield


@contextmanager
def many_macs(stand: Stand) -> Iterator[None]:
    """20,000 stations appear behind the victim's device in ten seconds."""
    with stand.attack(stand.victim.host, "macs", stand.victim.interface, str(MACS), str(MACS_PER_S)):
        yield


@contextmanager
def storm(stand: Stand) -> Iterator[None]:
    """A station at the third node sends 30,000 broadcasts a second."""
    with stand.attack(stand.third.host, "shout", stand.third.interface, str(STORM_PER_S)):
        yield


@contextmanager
def bridge_loop(stand: Stand) -> Iterator[None]:
    """Third and fourth are bridged to one LAN, on which a station sends 10 broadcasts a second."""
    third, fourth = stand.third, stand.network["fourth"]
    ends = [third.host.namespace, fourth.host.namespace]
    run("ip", "-n", ends[0], "link", "add", "lan", "type", "veth", "peer", "name", "lan", "netns", ends[1])
    for node in (third, fourth):
        link = ("ip", "-n", node.host.namespace, "link")
        run(*link, "add", "bridge", "type", "bridge")
        for port in (node.interface, "lan"):
            run(*link, "set", "dev", port, "master", "bridge", "up")
        run(*link, "set", "bridge", "up")
    with stand.attack(third.host, "shout", "bridge", str(LAN_PER_S)):
        yield
        run("ip", "-n", ends[0], "link", "del", "lan")


class Kind(NamedTuple):
    """A fault, how long it lasts in seconds, and its name in the table."""

    title: str
    fault: Fault
    seconds: float


FAULTS: Final = {
    "kill": Kind("kill -9, started again after 3 s", killed, 3),
    "stop": Kind("SIGSTOP for 30 s", stopped, 30),
    "disk": Kind("full disk, 5 s", full_disk, 5),
    "read-only": Kind("configuration read-only, 5 s", read_only, 5),
    "descriptors": Kind("40 descriptors and 100 connections, 10 s", few_descriptors, 10),
    "memory": Kind("4 MiB of memory left, 200 connections and 20,000 MACs, 10 s", little_memory, 10),
    "tap": Kind("interface deleted, daemon started anew after 5 s", tap_deleted, 5),
    "address": Kind("address removed for 5 s", address_removed, 5),
    "flaps": Kind("link down and up 10 times in 10 s", flapping, 0),
    "clock": Kind("two restarts, between them a clock 10 years ahead for 5 s", other_clock, 5),
    "idle": Kind("200 idle connections, 5 s", idle_connections, 5),
    "guests": Kind("slow invitation clients and guesses, 10 s", bad_guests, 10),
    "forged": Kind("20,000 forged datagrams a second, 10 s", forged, 10),
    "macs": Kind("20,000 new MACs in 10 s", many_macs, 10),
    "storm": Kind("30,000 broadcasts a second at a neighbour, 10 s", storm, 10),
    "loop": Kind("two neighbours bridged to one LAN, 10 s", bridge_loop, 10),
}
