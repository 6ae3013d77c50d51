"""Everything a node can ask of its shell. The shell carries them out in order (net/shell.py).

Connections are numbered by the node; a number is never used twice in one run. Sockets are numbered
by their index in the list of listening addresses: TCP and UDP socket ``i`` share address and port.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from pytinc.wire.address import Address, SockAddr


@dataclass(frozen=True, slots=True)
class Dial:
    """Open a TCP connection; answer with `Node.meta_connected` or `Node.meta_closed`.

    The node gives up by itself after PingTimeout with `CloseMeta`.
    """

    connection: int
    peer: str
    address: Address


@dataclass(frozen=True, slots=True)
class Resolve:
    """Look up ``host`` without blocking; answer with `Node.resolved` (an empty list on failure)."""

    peer: str
    host: str
    port: str


@dataclass(frozen=True, slots=True)
class SendMeta:
    """Write bytes to a meta connection, in order, buffered without limit of the shell's own."""

    connection: int
    data: bytes


@dataclass(frozen=True, slots=True)
class CloseMeta:
    """Close a meta connection. ``tarpit``: keep the socket open but silent, as tinc does with offenders."""

    connection: int
    tarpit: bool


@dataclass(frozen=True, slots=True)
class SendDatagram:
    """Send one UDP datagram that is not part of the batch path (a probe). ``socket`` is the socket's index.

    Answer EMSGSIZE by `Node.datagram_too_big`. ``peer`` names the node whose path is tried.
    """

    socket: int
    address: SockAddr
    data: bytes
    peer: str


@dataclass(frozen=True, slots=True)
class RunScript:
    """Run a script of the configuration directory; a missing one is skipped.

    See docs/tinc-program.md, "Scripts".

    The shell adds NETNAME, NAME, DEVICE, INTERFACE and DEBUG. Scripts run one after the other, in order.
    """

    name: str
    environment: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class AppendPublicKey:
    """Append a learned Ed25519 public key (43 characters) to the existing host file of ``peer``."""

    peer: str
    key: str


@dataclass(frozen=True, slots=True)
class SaveAddressCache:
    """Replace the address cache file of ``peer``; most recent address first, at most eight."""

    peer: str
    addresses: tuple[Address, ...]


@dataclass(frozen=True, slots=True)
class Withdrawn:
    """`Node.withdraw` is over: the node may stop."""


@dataclass(frozen=True, slots=True)
class Log:
    """Write a log line. ``level`` is tinc's debug level, ``priority`` a syslog word.

    See docs/tinc-program.md, "Log".
    """

    level: int
    priority: str
    message: str


Action: TypeAlias = (
    Dial
    | Resolve
    | SendMeta
    | CloseMeta
    | SendDatagram
    | RunScript
    | AppendPublicKey
    | SaveAddressCache
    | Withdrawn
    | Log
)
