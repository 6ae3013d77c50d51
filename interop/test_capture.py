"""What three hosts say to each other, step by step, is of the same kinds whoever plays them.

    left ──> middle <── right          left also pings right, at first by way of middle, then directly

Each cast goes through the same steps: login, first ping, a time without traffic, the end of right. The datagrams
are read from the network, the meta requests from the logs of both ends. tinc alone comes first and is what all
others are compared with; `DIFFERENCES` lists what may differ, and why (docs/protocol.md has the same table).

``PYTINC_INTEROP_CAPTURE_IDLE`` is the length of the idle time in seconds. The counts are printed and left in
``results/capture.md``.
"""

from __future__ import annotations

import hashlib
import os
import re
import struct
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from pytinc.lab.network import Network
from pytinc.lab.node import Kind, Node, wait_until
from pytinc.lab.traffic import answers, ping

CASTS = ("CCC", "PCP", "CPC", "PPP")
ROLES = ("middle", "left", "right")
IDLE_S = float(os.environ.get("PYTINC_INTEROP_CAPTURE_IDLE", "30"))
RESULT = Path(__file__).parent / "results" / "capture.md"

STEPS = ("login", "first ping", "idle", "stop")
OVERHEAD = 33  # two ids, sequence number, record type and tag around a record's payload
FRAMES = {42: "ARP", 98: "echo"}  # the only frames there are: IPv6 is off, and nobody else speaks
PROBE = 18

Saying = tuple[str, str, str]
"""Who says it (role), in which step, and what kind it is."""

_seen: dict[str, Counter[Saying]] = {}


def node_id(name: str) -> bytes:
    return hashlib.sha512(name.encode()).digest()[:6]


@dataclass(frozen=True)
class Datagram:
    when: float
    sender: str
    data: bytes


def datagrams(pcap: bytes) -> Iterator[Datagram]:
    """The UDP datagrams of a capture of an Ethernet (IPv4 without options), with their senders' addresses."""
    position = 24
    while position + 16 <= len(pcap):
        seconds, micros, length = struct.unpack_from("<III", pcap, position)
        frame = pcap[position + 16 : position + 16 + length]
        position += 16 + length
        yield Datagram(seconds + micros / 1e6, ".".join(map(str, frame[26:30])), frame[42:])


def kind_of_datagram(data: bytes) -> str:
    """Direct or relayed, and what its length tells about its record."""
    ids = {node_id(name): name for name in ROLES}
    where = "direct" if data[:6] == bytes(6) else f"relayed to {ids[data[:6]]}"
    length = len(data) - OVERHEAD
    if length == PROBE:
        what = "probe"
    elif length in FRAMES:
        what = FRAMES[length]
    else:
        what = "MTU probe" if length > 400 else f"{length} bytes"
    return f"UDP {where}: {what}"


SENT = re.compile(r"^(\S+ \S+) .*Sending (\w+) to (\w+) \(")
