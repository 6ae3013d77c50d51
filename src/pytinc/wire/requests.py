"""Meta requests: one class per request, with `parse` for received lines and `format` for lines to send.

The text forms are those of docs/protocol-meta.md. Lines are `str` without the newline. Parsers raise
`DecodeError` and nothing else, whatever the input. `pytinc.protocol.meta` and `pytinc.node` decide which
request is allowed when.
"""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass
from typing import ClassVar, Final, TypeAlias

from pytinc.errors import DecodeError
from pytinc.wire.address import Address, normalise
from pytinc.wire.datagram import MIN_MTU
from pytinc.wire.names import parse_name
from pytinc.wire.subnet import Subnet, parse_subnet

MAX_LINE_LENGTH: Final = 2175
"""Characters of a request without its newline; tinc can neither send nor buffer a longer one."""
MAX_STRING_LENGTH: Final = 2048
"""Characters of one field."""
MAX_PACKET_LENGTH: Final = 32767
"""PACKET and SPTPS_PACKET announce a signed 16-bit length."""

_INT32_MAX: Final = 2**31 - 1
_DECIMAL: Final = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)
_HEX: Final = re.compile(r"[0-9a-fA-F]{1,16}", re.ASCII)
_CONTROL: Final = re.compile(rb"[\x00-\x08\x0e-\x1f\x7f]")
"""Control characters other than white space: in an address they could reach logs and scripts."""
_VERSION: Final = re.compile(r"([0-9]{1,2})(?:\.([0-9]{1,3}))?(?![0-9])", re.ASCII)


class Number(enum.IntEnum):
    """Request numbers (tinc: request_t)."""

    ID = 0
    METAKEY = 1
    CHALLENGE = 2
    CHAL_REPLY = 3
    ACK = 4
    STATUS = 5
    ERROR = 6
    TERMREQ = 7
    PING = 8
    PONG = 9
    ADD_SUBNET = 10
    DEL_SUBNET = 11
    ADD_EDGE = 12
    DEL_EDGE = 13
    KEY_CHANGED = 14
    REQ_KEY = 15
    ANS_KEY = 16
    PACKET = 17
    CONTROL = 18
    REQ_PUBKEY = 19
    ANS_PUBKEY = 20
    SPTPS_PACKET = 21
    UDP_INFO = 22
    MTU_INFO = 23


def _decimal(text: str, what: str, low: int = -_INT32_MAX - 1, high: int = _INT32_MAX) -> int:
    if _DECIMAL.fullmatch(text) is None:
        raise DecodeError(f"bad {what}")
    value = int(text)
    if not low <= value <= high:
        raise DecodeError(f"{what} out of range")
    return value


def _hexadecimal(text: str, what: str) -> int:
    if _HEX.fullmatch(text) is None:
        raise DecodeError(f"bad {what}")
    return int(text, 16) & 0xFFFFFFFF


def _fields(line: str, what: str, least: int) -> list[str]:
    fields = line.split()[1:]
    if len(fields) < least:
        raise DecodeError(f"{what} with too few fields")
    if any(len(field) > MAX_STRING_LENGTH for field in fields):
        raise DecodeError(f"{what} with an overlong field")
    return fields


def parse_number(line: str) -> Number:
    """Return the request number at the start of a line. Raises `DecodeError` if there is no such request."""
    word = line.split(maxsplit=1)[0] if line.strip() else ""
    if not word.isascii() or not word.isdecimal() or len(word) > 9:
        raise DecodeError("request without a number")
    try:
        return Number(int(word))
    except ValueError:
        raise DecodeError(f"unknown request {int(word)}") from None


@dataclass(frozen=True, slots=True)
class Id:
    """Greeting: ``0 NAME MAJOR.MINOR``. ``name`` is not checked here: it may be ``^COOKIE`` or ``?KEY``."""

    number: ClassVar = Number.ID

    name: str
    major: int
    minor: int

    @classmethod
    def parse(cls, line: str) -> Id:
        """Read the line; a missing minor counts as 0."""
        fields = _fields(line, "ID", 2)
        version = _VERSION.match(fields[1])
        if version is None:
            raise DecodeError("ID with a bad version")
        return cls(fields[0], int(version[1]), int(version[2] or 0))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.name} {self.major}.{self.minor}"


@dataclass(frozen=True, slots=True)
class Ack:
    """``4 UDPPORT WEIGHT OPTIONS``: completes the login."""

    number: ClassVar = Number.ACK

    port: str
    weight: int
    options: int

    @classmethod
    def parse(cls, line: str) -> Ack:
        """Read the line."""
        fields = _fields(line, "ACK", 3)
        return cls(fields[0], _decimal(fields[1], "weight"), _hexadecimal(fields[2], "options"))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.port} {self.weight} {self.options:x}"


@dataclass(frozen=True, slots=True)
class TermReq:
    """``7``: the peer is about to close."""

    number: ClassVar = Number.TERMREQ

    @classmethod
    def parse(cls, line: str) -> TermReq:
        """Read the line."""
        return cls()

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d}"


@dataclass(frozen=True, slots=True)
class Ping:
    """``8``: the peer must answer with PONG at once."""

    number: ClassVar = Number.PING

    @classmethod
    def parse(cls, line: str) -> Ping:
        """Read the line."""
        return cls()

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d}"


@dataclass(frozen=True, slots=True)
class Pong:
    """``9``: answer to PING."""

    number: ClassVar = Number.PONG

    @classmethod
    def parse(cls, line: str) -> Pong:
        """Read the line."""
        return cls()

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d}"


@dataclass(frozen=True, slots=True)
class AddSubnet:
    """``10 NONCE OWNER SUBNET``."""

    nonce: int
    owner: str
    subnet: Subnet

    number: ClassVar = Number.ADD_SUBNET

    @classmethod
    def parse(cls, line: str) -> AddSubnet:
        """Read the line; host bits of the subnet are not checked, as in tinc."""
        fields = _fields(line, cls.number.name, 3)
        return cls(_hexadecimal(fields[0], "nonce"), parse_name(fields[1]), parse_subnet(fields[2]))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.nonce:x} {self.owner} {self.subnet}"


@dataclass(frozen=True, slots=True)
class DelSubnet:
    """``11 NONCE OWNER SUBNET``."""

    nonce: int
    owner: str
    subnet: Subnet

    number: ClassVar = Number.DEL_SUBNET

    @classmethod
    def parse(cls, line: str) -> DelSubnet:
        """Read the line."""
        fields = _fields(line, cls.number.name, 3)
        return cls(_hexadecimal(fields[0], "nonce"), parse_name(fields[1]), parse_subnet(fields[2]))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.nonce:x} {self.owner} {self.subnet}"


def _edge_ends(source: str, target: str) -> tuple[str, str]:
    if parse_name(source) == parse_name(target):
        raise DecodeError("edge from a node to itself")
    return source, target


@dataclass(frozen=True, slots=True)
class AddEdge:
    """``12 NONCE FROM TO ADDR PORT OPTIONS WEIGHT [LOCALADDR LOCALPORT]``.

    ``address`` is where FROM reaches TO by UDP; ``local_address`` is FROM's own address on that connection.
    """

    nonce: int
    source: str
    target: str
    address: Address
    options: int
    weight: int
    local_address: Address | None

    number: ClassVar = Number.ADD_EDGE

    @classmethod
    def parse(cls, line: str) -> AddEdge:
        """Read the line: six or eight fields after the nonce, seven are an error."""
        fields = _fields(line, cls.number.name, 7)
        if len(fields) == 8:
            raise DecodeError("ADD_EDGE with half a local address")
        source, target = _edge_ends(fields[1], fields[2])
        return cls(
            _hexadecimal(fields[0], "nonce"),
            source,
            target,
            normalise(fields[3], fields[4]),
            _hexadecimal(fields[5], "options"),
            _decimal(fields[6], "weight"),
            normalise(fields[7], fields[8]) if len(fields) > 8 else None,
        )

    def format(self) -> str:
        """Return the line. No field is ever empty, because tinc peers would refuse the line."""
        text = (
            f"{self.number:d} {self.nonce:x} {self.source} {self.target} "
            f"{self.address.host} {self.address.port} {self.options:x} {self.weight}"
        )
        if self.local_address is not None:
            text += f" {self.local_address.host} {self.local_address.port}"
        return text


@dataclass(frozen=True, slots=True)
class DelEdge:
    """``13 NONCE FROM TO``."""

    nonce: int
    source: str
    target: str

    number: ClassVar = Number.DEL_EDGE

    @classmethod
    def parse(cls, line: str) -> DelEdge:
        """Read the line."""
        fields = _fields(line, cls.number.name, 3)
        source, target = _edge_ends(fields[1], fields[2])
        return cls(_hexadecimal(fields[0], "nonce"), source, target)

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.nonce:x} {self.source} {self.target}"


@dataclass(frozen=True, slots=True)
class KeyChanged:
    """``14 NONCE NAME``: concerns keys of the legacy protocol only."""

    nonce: int
    name: str

    number: ClassVar = Number.KEY_CHANGED

    @classmethod
    def parse(cls, line: str) -> KeyChanged:
        """Read the line."""
        fields = _fields(line, cls.number.name, 2)
        return cls(_hexadecimal(fields[0], "nonce"), parse_name(fields[1]))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.nonce:x} {self.name}"


@dataclass(frozen=True, slots=True)
class ReqKey:
    """``15 FROM TO SUB [DATA]``. ``sub`` is 15, 19, 20 or 21, or one of ours (`node.half_edges`);
    0 is the legacy form without SUB."""

    source: str
    target: str
    sub: int
    data: str = ""

    number: ClassVar = Number.REQ_KEY

    @classmethod
    def parse(cls, line: str) -> ReqKey:
        """Read the line."""
        fields = _fields(line, cls.number.name, 2)
        sub = _decimal(fields[2], "sub-request", 0) if len(fields) > 2 else 0
        data = fields[3] if len(fields) > 3 else ""
        return cls(parse_name(fields[0]), parse_name(fields[1]), sub, data)

    def format(self) -> str:
        """Return the line."""
        text = f"{self.number:d} {self.source} {self.target} {self.sub}"
        return f"{text} {self.data}" if self.data else text


@dataclass(frozen=True, slots=True)
class AnsKey:
    """``16 FROM TO KEY CIPHER DIGEST MACLEN COMPRESSION [ADDR PORT]``; -1 -1 -1 for SPTPS."""

    source: str
    target: str
    key: str
    cipher: int
    digest: int
    mac_length: int
    compression: int
    address: Address | None = None

    number: ClassVar = Number.ANS_KEY

    @classmethod
    def parse(cls, line: str) -> AnsKey:
        """Read the line; a single surplus field is ignored."""
        fields = _fields(line, cls.number.name, 7)
        return cls(
            parse_name(fields[0]),
            parse_name(fields[1]),
            fields[2],
            _decimal(fields[3], "cipher"),
            _decimal(fields[4], "digest"),
            _decimal(fields[5], "MAC length"),
            _decimal(fields[6], "compression"),
            normalise(fields[7], fields[8]) if len(fields) > 8 else None,
        )

    def format(self) -> str:
        """Return the line."""
        text = (
            f"{self.number:d} {self.source} {self.target} {self.key} "
            f"{self.cipher} {self.digest} {self.mac_length} {self.compression}"
        )
        if self.address is not None:
            text += f" {self.address.host} {self.address.port}"
        return text


@dataclass(frozen=True, slots=True)
class Packet:
    """``17 LEN``: the next record is one plain Ethernet frame of that length."""

    length: int

    number: ClassVar = Number.PACKET

    @classmethod
    def parse(cls, line: str) -> Packet:
        """Read the line."""
        return cls(_decimal(_fields(line, cls.number.name, 1)[0], "length", 0, MAX_PACKET_LENGTH))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.length}"


@dataclass(frozen=True, slots=True)
class SptpsPacket:
    """``21 LEN``: that many raw bytes follow on the TCP stream, outside any record."""

    length: int

    number: ClassVar = Number.SPTPS_PACKET

    @classmethod
    def parse(cls, line: str) -> SptpsPacket:
        """Read the line; a length of 0 is allowed, a length of less than two node ids is an error."""
        length = _decimal(_fields(line, cls.number.name, 1)[0], "length", 0, MAX_PACKET_LENGTH)
        if 0 < length < 12:
            raise DecodeError("SPTPS_PACKET too short")
        return cls(length)

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.length}"


@dataclass(frozen=True, slots=True)
class UdpInfo:
    """``22 FROM TO ADDR PORT``: where FROM can be reached by UDP, for the nodes on the way to TO."""

    source: str
    target: str
    address: Address

    number: ClassVar = Number.UDP_INFO

    @classmethod
    def parse(cls, line: str) -> UdpInfo:
        """Read the line."""
        fields = _fields(line, cls.number.name, 4)
        return cls(parse_name(fields[0]), parse_name(fields[1]), normalise(fields[2], fields[3]))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.source} {self.target} {self.address.host} {self.address.port}"


@dataclass(frozen=True, slots=True)
class MtuInfo:
    """``23 FROM TO MTU``: the path MTU towards FROM as known on the way to TO."""

    source: str
    target: str
    mtu: int

    number: ClassVar = Number.MTU_INFO

    @classmethod
    def parse(cls, line: str) -> MtuInfo:
        """Read the line; less than 512 is an error."""
        fields = _fields(line, cls.number.name, 3)
        return cls(parse_name(fields[0]), parse_name(fields[1]), _decimal(fields[2], "MTU", MIN_MTU))

    def format(self) -> str:
        """Return the line."""
        return f"{self.number:d} {self.source} {self.target} {self.mtu}"


Request: TypeAlias = (
    Id
    | Ack
    | TermReq
    | Ping
    | Pong
    | AddSubnet
    | DelSubnet
    | AddEdge
    | DelEdge
    | KeyChanged
    | ReqKey
    | AnsKey
    | Packet
    | SptpsPacket
    | UdpInfo
    | MtuInfo
)

_CLASSES: Final[dict[Number, type[Request]]] = {
    Number.ID: Id,
    Number.ACK: Ack,
    Number.TERMREQ: TermReq,
    Number.PING: Ping,
    Number.PONG: Pong,
    Number.ADD_SUBNET: AddSubnet,
    Number.DEL_SUBNET: DelSubnet,
    Number.ADD_EDGE: AddEdge,
    Number.DEL_EDGE: DelEdge,
    Number.KEY_CHANGED: KeyChanged,
    Number.REQ_KEY: ReqKey,
    Number.ANS_KEY: AnsKey,
    Number.PACKET: Packet,
    Number.SPTPS_PACKET: SptpsPacket,
    Number.UDP_INFO: UdpInfo,
    Number.MTU_INFO: MtuInfo,
}


def parse_request(line: str) -> Request:
    """Parse a line of any request that has a class here. Raises `DecodeError` for all other lines."""
    number = parse_number(line)
    request = _CLASSES.get(number)
    if request is None:
        raise DecodeError(f"request {number.name} is not supported here")
    return request.parse(line)


def decode_line(data: bytes) -> str:
    """Decode the bytes of one request, without its newline, into text. Only printable ASCII is allowed."""
    if data.endswith(b"\n"):
        data = data[:-1]
    if len(data) > MAX_LINE_LENGTH:
        raise DecodeError("overlong request")
    if not data.isascii():
        raise DecodeError("request is not ASCII text")
    if _CONTROL.search(data):
        raise DecodeError("request with control characters")
    return data.decode("ascii")
