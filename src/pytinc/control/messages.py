"""Requests and replies of the control socket as values (docs/protocol-control.md). Pure text, no I/O.

The client (`pytinc.control.client`) parses what the daemon's server side (`pytinc.net.control`) formats,
and the other way round. Lines are passed without their newline. Parsers raise only `DecodeError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from typing import Final

from pytinc.errors import DecodeError
from pytinc.wire.address import Address
from pytinc.wire.bits import OptionBits
from pytinc.wire.version import PROTOCOL_MAJOR

CONTROL: Final = 18
"""The meta request number of every control request and reply."""
CONTROL_VERSION: Final = 0
"""The control protocol version."""
NOT_PARSED: Final = "Unable to parse dump from tincd."
NOT_IMPLEMENTED: Final = f"{CONTROL} -1"
"""The answer to a request the daemon does not know."""

MAX_LOG_PAYLOAD: Final = 1024
"""The C client refuses longer LOG frames."""
MAX_PCAP_PAYLOAD: Final = 9018
"""The C client refuses longer PCAP frames: a jumbo frame."""

_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,20}", re.ASCII)
_HEXADECIMAL: Final = re.compile(r"[0-9A-Fa-f]{1,16}", re.ASCII)
_COOKIE: Final = re.compile(r"[0-9A-F]{64}", re.ASCII)


class Request(IntEnum):
    """The requests of a client (docs/protocol-control.md, "Control requests")."""

    STOP = 0
    RELOAD = 1
    RESTART = 2
    DUMP_NODES = 3
    DUMP_EDGES = 4
    DUMP_SUBNETS = 5
    DUMP_CONNECTIONS = 6
    DUMP_GRAPH = 7
    PURGE = 8
    SET_DEBUG = 9
    RETRY = 10
    CONNECT = 11
    DISCONNECT = 12
    DUMP_TRAFFIC = 13
    PCAP = 14
    LOG = 15
    DUMP_STATISTICS = 4096
    """Only in pytinc, with a number far from those that tinc may use one day: `pytinc.control.statistics`."""
    DUMP_SHARED = 4097
    """Only in pytinc: `pytinc.control.shared`."""
    DUMP_VIPS = 4098
    """Only in pytinc: `pytinc.control.vips`."""
    VIP_ORDER = 4099
    """Only in pytinc: `pytinc.control.vips.Order`."""
    EVENTS = 4100
    """Only in pytinc: `pytinc.control.events`."""


class Options(IntFlag):
    """Option bits of nodes, edges and connections. Bits 24-31: `pytinc.wire.bits.options_version`.

    See docs/protocol-control.md, "Status bits".
    """

    INDIRECT = OptionBits.INDIRECT
    TCPONLY = OptionBits.TCPONLY
    PMTU_DISCOVERY = OptionBits.PMTU_DISCOVERY
    CLAMP_MSS = OptionBits.CLAMP_MSS


# -- The handshake and single requests ---------------------------------------------------------------------


def format_hello(cookie: str) -> str:
    """Return the first line that a client sends."""
    return f"0 ^{cookie} {CONTROL_VERSION}"


def parse_hello(line: str) -> str:
    """Return the cookie of a client's first line. The caller compares it (in constant time)."""
    words = line.split()
    if (
        len(words) < 3
        or words[0] != "0"
        or not words[1].startswith("^")
        or not _COOKIE.fullmatch(words[1][1:])
    ):
        raise DecodeError("not the first line of a control connection")
    if _decimal(words[2].partition(".")[0]) != CONTROL_VERSION:
        raise DecodeError("unknown control protocol version")
    return words[1][1:]


@dataclass(frozen=True, slots=True)
class Greeting:
    """The daemon's two lines after a valid `parse_hello`."""

    name: str
    minor: int
    pid: int

    def format(self) -> str:
        """Return both lines, with a newline between them and none at the end."""
        return f"0 {self.name} {PROTOCOL_MAJOR}.{self.minor}\n4 {CONTROL_VERSION} {self.pid}"


def parse_greeting_id(line: str) -> tuple[str, int]:
    """Return name and minor version of the daemon's first line."""
    words = line.split()
    if len(words) != 3 or words[0] != "0":
        raise DecodeError("not a greeting of a daemon")
    _, dot, minor = words[2].partition(".")
    return words[1], _decimal(minor) if dot else 0


def parse_greeting_ack(line: str) -> int:
    """Return the pid of the daemon's second line."""
    words = line.split()
    if len(words) != 3 or words[0] != "4" or _decimal(words[1]) != CONTROL_VERSION:
        raise DecodeError("not an acknowledgement of a daemon")
    return _decimal(words[2])


def format_request(request: int, *arguments: str | int) -> str:
    """Return a client's request line: ``18 TYPE [ARGS]``."""
    return " ".join([str(CONTROL), str(int(request)), *map(str, arguments)])


def parse_request(line: str) -> tuple[int, list[str]]:
    """Split a request line into its type and arguments. The type need not be one of `Request`.

    Raises `DecodeError` where the daemon must close the connection (docs/protocol-control.md,
    "Control requests").
    """
    words = line.split()
    if len(words) < 2 or words[0] != str(CONTROL):
        raise DecodeError("not a control request")
    return _decimal(words[1]), words[2:]


def format_result(request: int, result: int) -> str:
    """Return the daemon's answer to a request other than a dump."""
    return f"{CONTROL} {int(request)} {result}"


def parse_result(line: str, request: int) -> int:
    """Return the result of an answer to ``request``; -1 if the daemon does not implement it."""
    if line == NOT_IMPLEMENTED:
        return -1
    words = line.split()
    if len(words) != 3 or words[:2] != [str(CONTROL), str(int(request))]:
        raise DecodeError("not an answer to the request")
    return _decimal(words[2])


def format_end(request: int) -> str:
    """Return the line after the last row of a dump."""
    return f"{CONTROL} {int(request)}"


def format_frame(request: int, payload: bytes) -> bytes:
    """Return one frame of a LOG or PCAP stream: there is no newline after the payload.

    See docs/protocol-control.md, "Streams".
    """
    return b"%d %d %d\n%b" % (CONTROL, int(request), len(payload), payload)


# -- Rows of dumps -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeRow:
    """A row of DUMP_NODES (docs/protocol-control.md, "Dumps")."""

    name: str
    node_id: str
    """12 lower case hexadecimal digits."""
    address: Address
    """The host is ``MYSELF`` for the local node; `pytinc.wire.address.UNKNOWN` if it was never known."""
    cipher: int = 0
    digest: int = 0
    mac_length: int = 0
    compression: int = 0
    options: int = 0
    status: int = 0
    nexthop: str = "-"
    via: str = "-"
    distance: int = -1
    pmtu: int
    min_mtu: int
    max_mtu: int
    last_state_change: int = 0
    """Seconds since 1970; 0: never."""
    rtt_us: int = -1
    """Microseconds; -1: unknown."""
    rx_packets: int = 0
    rx_bytes: int = 0
    tx_packets: int = 0
    tx_bytes: int = 0

    @property
    def is_self(self) -> bool:
        """Whether this is the daemon's own node."""
        return self.address.host == "MYSELF"

    def format(self) -> str:
        """Return the daemon's line."""
        return (
            f"{CONTROL} {Request.DUMP_NODES:d} {self.name} {self.node_id} {self.address} {self.cipher} "
            f"{self.digest} {self.mac_length} {self.compression} {self.options:x} {self.status:x} "
            f"{self.nexthop} {self.via} {self.distance} {self.pmtu} {self.min_mtu} {self.max_mtu} "
            f"{self.last_state_change} {self.rtt_us} "
            f"{self.rx_packets} {self.rx_bytes} {self.tx_packets} {self.tx_bytes}"
        )

    @classmethod
    def parse(cls, line: str) -> NodeRow:
        """Parse the daemon's line."""
        words = _row(line, Request.DUMP_NODES, 25)
        return cls(
            name=words[2],
            node_id=words[3],
            address=_address(words, 4),
            cipher=_decimal(words[7]),
            digest=_decimal(words[8]),
            mac_length=_decimal(words[9]),
            compression=_decimal(words[10]),
            options=_hexadecimal(words[11]),
            status=_hexadecimal(words[12]),
            nexthop=words[13],
            via=words[14],
            distance=_decimal(words[15]),
            pmtu=_decimal(words[16]),
            min_mtu=_decimal(words[17]),
            max_mtu=_decimal(words[18]),
            last_state_change=_decimal(words[19]),
            rtt_us=_decimal(words[20]),
            rx_packets=_decimal(words[21]),
            rx_bytes=_decimal(words[22]),
            tx_packets=_decimal(words[23]),
            tx_bytes=_decimal(words[24]),
        )


@dataclass(frozen=True, slots=True)
class EdgeRow:
    """A row of DUMP_EDGES. `pytinc.wire.address.UNSPEC` stands for an unknown address.

    See docs/protocol-control.md, "Dumps".
    """

    from_name: str
    to_name: str
    address: Address
    local_address: Address
    options: int
    weight: int

    def format(self) -> str:
        """Return the daemon's line."""
        return (
            f"{CONTROL} {Request.DUMP_EDGES:d} {self.from_name} {self.to_name} {self.address} "
            f"{self.local_address} {self.options:x} {self.weight}"
        )

    @classmethod
    def parse(cls, line: str) -> EdgeRow:
        """Parse the daemon's line."""
        words = _row(line, Request.DUMP_EDGES, 12)
        return cls(
            words[2],
            words[3],
            _address(words, 4),
            _address(words, 7),
            _hexadecimal(words[10]),
            _decimal(words[11]),
        )


@dataclass(frozen=True, slots=True)
class SubnetRow:
    """A row of DUMP_SUBNETS (docs/protocol-control.md, "Dumps"). ``subnet`` is text without ``#10``."""

    subnet: str
    owner: str = "(broadcast)"

    def format(self) -> str:
        """Return the daemon's line."""
        return f"{CONTROL} {Request.DUMP_SUBNETS:d} {self.subnet} {self.owner}"

    @classmethod
    def parse(cls, line: str) -> SubnetRow:
        """Parse the daemon's line."""
        words = _row(line, Request.DUMP_SUBNETS, 4)
        return cls(words[2].removesuffix("#10"), words[3])


@dataclass(frozen=True, slots=True)
class ConnectionRow:
    """A row of DUMP_CONNECTIONS (docs/protocol-control.md, "Dumps")."""

    name: str
    """A node name, ``<control>`` or ``<unknown>``."""
    address: Address
    options: int
    socket: int
    """The file descriptor's number."""
    status: int

    def format(self) -> str:
        """Return the daemon's line."""
        return (
            f"{CONTROL} {Request.DUMP_CONNECTIONS:d} {self.name} {self.address} "
            f"{self.options:x} {self.socket} {self.status:x}"
        )

    @classmethod
    def parse(cls, line: str) -> ConnectionRow:
        """Parse the daemon's line."""
        words = _row(line, Request.DUMP_CONNECTIONS, 9)
        return cls(
            words[2], _address(words, 3), _hexadecimal(words[6]), _decimal(words[7]), _hexadecimal(words[8])
        )


LOCAL_CLIENT: Final = Address("localhost", "unix")
"""The address of a control connection over the UNIX socket."""


@dataclass(frozen=True, slots=True)
class TrafficRow:
    """A row of DUMP_TRAFFIC (docs/protocol-control.md, "Dumps"): counters since the daemon's start."""

    name: str
    rx_packets: int
    rx_bytes: int
    tx_packets: int
    tx_bytes: int

    def format(self) -> str:
        """Return the daemon's line."""
        return (
            f"{CONTROL} {Request.DUMP_TRAFFIC:d} {self.name} "
            f"{self.rx_packets} {self.rx_bytes} {self.tx_packets} {self.tx_bytes}"
        )

    @classmethod
    def parse(cls, line: str) -> TrafficRow:
        """Parse the daemon's line."""
        words = _row(line, Request.DUMP_TRAFFIC, 7)
        return cls(words[2], *map(_decimal, words[3:]))


def _row(line: str, request: Request, count: int) -> list[str]:
    words = line.split()
    if len(words) != count or words[0] != str(CONTROL) or words[1] != str(int(request)):
        raise DecodeError(f"malformed row of {request.name}")
    return words


def _address(words: list[str], index: int) -> Address:
    if words[index + 1] != "port":
        raise DecodeError("malformed address")
    return Address(words[index], words[index + 2])


def _decimal(word: str) -> int:
    if not _INTEGER.fullmatch(word):
        raise DecodeError("not a decimal number")
    return int(word)


def _hexadecimal(word: str) -> int:
    if not _HEXADECIMAL.fullmatch(word):
        raise DecodeError("not a hexadecimal number")
    return int(word, 16)
