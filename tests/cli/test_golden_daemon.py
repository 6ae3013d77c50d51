"""pytinc and the real `tinc` asking the same scripted daemon: dump and info, byte for byte."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from cli.conftest import ScriptedDaemon

TINC = shutil.which("tinc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
pytestmark = [
    pytest.mark.tincd,
    pytest.mark.skipif(TINC is None, reason="the real tinc is not installed"),
]

STATUSES = (0x0, 0x10, 0x12, 0x1A, 0x20, 0x32, 0x5A, 0x8DA, 0x1FFF)
KINDS = (
    # via, nexthop, address, min MTU, last change, round trip time, options
    ("self", "x", "10.1.2.3 port 655", 1400, 1795377436, 1234567, 0x700000F),
    ("other", "other", "fe80::1 port 12", 0, 0, -1, 0),
    ("-", "-", "MYSELF port 655", 0, 1, 0, 0xFF000003),
    ("next", "NAME", "10.1.2.3 port 655", 0, 1795377436, 999, 0x2000004),
)
NODES = "".join(
    f"18 3 {name} 0123456789ab {address} 91 64 4 9 {options:x} {status:x} "
    f"{nexthop.replace('NAME', name)} {name if via in ('self', 'next') else via} 1 1451 {min_mtu} 1518 "
    f"{when} {rtt} 18446744073709551615 4 5 {status}\n"
    for status in STATUSES
    for via, nexthop, address, min_mtu, when, rtt, options in KINDS
    for name in [f"n{status:x}_{via.replace('-', 'none')}"]
)
WEIGHTS = (0, 1, 2, 3, 7, 10, 255, 299, 300, 1000, 4095, 65535, 65536, 65537, 99991, 2147483647, -5)
EDGES = "".join(
    f"18 4 {a} {b} 10.0.0.1 port 1 {local} 7000004 {weight}\n"
    for weight in WEIGHTS
    for a, b, local in (("x", "n8da_self", "unspec port unspec"), ("n8da_self", f"y{weight}", "::1 port 5"))
)
SUBNETS = "".join(
    f"18 5 {subnet}\n"
    for subnet in (
        "2:0:0:0:0:1 n8da_self",
        "02:00:00:00:00:01#5 other",
        "ff:ff:ff:ff:ff:ff (broadcast)",
        "10.0.0.1 n8da_self",
        "10.0.0.1#10 n8da_self",
        "10.0.0.0/24#3 other",
        "10.0.0.0/8 n8da_self",
        "0.0.0.0/0 other",
        "fd00::1 n8da_self",
        "fd00::/64#100 n8da_self",
        "ff00::/8 (broadcast)",
    )
)
CONNECTIONS = "18 6 beta ::1 port 5 700000c 4 100\n18 6 <control> localhost port unix 0 15 200\n"
ASKED = [
    "dump nodes",
    "dump reachable nodes",
    "dump edges",
    "dump subnets",
    "dump connections",
    "dump graph",
    "dump digraph",
    "list Nodes",
    "dump traffic",
    "dump reachable",
    "info n8da_self",
    "info nosuch",
    *(f"info n{status:x}_{kind}" for status in STATUSES for kind in ("self", "other", "none", "next")),
    "info 10.0.0.1",
    "info 10.0.0.1#3",
    "info 10.0.0.1/32",
    "info 10.0.0.0/24",
    "info 10.0.0.0/24#4",
    "info 10.0.0.0/25",
    "info fd00::2",
    "info fd00::/64",
    "info 2:0:0:0:0:1",
    "info 02:00:00:00:00:01#5",
    "info ff:ff:ff:ff:ff:ff",
    "info ff00::",
    "info 1.2.3",
    "info 1.2.3.4.5",
    "info a-b",
    "pid",
    "debug 3",
    "debug -1",
    "reload",
    "retry",
    "purge",
    "connect beta",
    "disconnect beta",
    "disconnect gamma",
]


def ask(program: list[str], daemon: ScriptedDaemon, words: str) -> tuple[object, ...]:
    daemon.requests.clear()
    done = subprocess.run(
        [*program, "-c", str(Path(daemon.pidfile).parent), f"--pidfile={daemon.pidfile}", *words.split()],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"], "TZ": "Europe/Paris", "LANG": "C.UTF-8"},
    )
    err = done.stderr.replace(f"`{TINC} ", "`tinc ").replace("pytinc", "tinc")
    return done.returncode, done.stdout, err


@pytest.mark.parametrize("words", ASKED)
def test_both_print_the_same(daemon: ScriptedDaemon, words: str) -> None:
    assert TINC is not None
    daemon.answers = {
        "1": "18 1 0\n",
        "3": NODES + "18 3\n",
        "4": EDGES + "18 4\n",
        "5": SUBNETS + "18 5\n",
        "6": CONNECTIONS + "18 6\n",
        "8": "18 8 1\n",
        "9": "18 9 2\n",
        "10": "18 10 0\n",
        "11": "18 -1\n",
        "12": "18 12 -2\n",
        "4097": "18 -1\n",
    }
    theirs = ask([TINC], daemon, words)
    requests = list(daemon.requests)
    ours = ask([sys.executable, "-m", "pytinc"], daemon, words)
    assert ours == theirs
    # tinc names the node it wants to know about; a daemon sends all the same. Of shared addresses it does not
    # know.
    asked = [line.split()[:2] for line in daemon.requests if line != "18 4097"]
    assert asked == [line.split()[:2] for line in requests]
