"""Subnets in tinc's text form, as configuration files and ADD_SUBNET have it: the addresses a node serves.

The configuration, the meta requests, the switch and the control rows use them. A subnet here is a value
without an owner or a life time. For the text form see docs/protocol-meta.md, "Subnets".
"""

from __future__ import annotations

import enum
import ipaddress
import re
from dataclasses import dataclass
from typing import Final

from pytinc.errors import DecodeError

MAX_TEXT_LENGTH: Final = 63
"""tinc reads this many characters of a subnet; the longest sensible one has 61."""
DEFAULT_WEIGHT: Final = 10
_MIN_WEIGHT: Final = -(2**31)
_MAX_WEIGHT: Final = 2**31 - 1

_MAC: Final = re.compile(r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5}", re.ASCII)
_INTEGER: Final = re.compile(r"[+-]?[0-9]+", re.ASCII)
_LEADING_ZEROS: Final = re.compile(r"\b0+(?=[0-9A-Fa-f])", re.ASCII)


class SubnetKind(enum.IntEnum):
    """Type of a subnet; the order is that of dumps and scripts."""

    MAC = 0
    IPV4 = 1
    IPV6 = 2


_ADDRESS_BITS: Final = {SubnetKind.MAC: 48, SubnetKind.IPV4: 32, SubnetKind.IPV6: 128}


@dataclass(frozen=True, slots=True)
class Subnet:
    """An address block and its weight. ``address`` has 6, 4 or 16 bytes; a MAC address has prefix 48."""

    kind: SubnetKind
    address: bytes
    prefix: int
    weight: int = DEFAULT_WEIGHT

    @classmethod
    def mac(cls, address: bytes) -> Subnet:
        """Return the subnet of one MAC address (6 bytes), with the default weight."""
        return cls(SubnetKind.MAC, address, _ADDRESS_BITS[SubnetKind.MAC])

    def __str__(self) -> str:
        """Return the form for the wire and for dumps, which omits full prefixes and the default weight."""
        weight = "" if self.weight == DEFAULT_WEIGHT else f"#{self.weight}"
        return self.text_without_weight + weight

    @property
    def text_without_weight(self) -> str:
        """The address, and the prefix unless it is the full one (SUBNET in scripts)."""
        text = _FORMAT[self.kind](self.address)
        return text if self.prefix == _ADDRESS_BITS[self.kind] else f"{text}/{self.prefix}"

    @property
    def has_host_bits(self) -> bool:
        """Return whether a bit below the prefix is set, which configuration files must not have."""
        below = _ADDRESS_BITS[self.kind] - self.prefix
        return int.from_bytes(self.address, "big") & ((1 << below) - 1) != 0

    @property
    def sort_key(self) -> tuple[int, int, bytes, int]:
        """The sort key of subnets: longer prefixes first. Equal subnets are sorted by the owner's name.

        See docs/protocol-meta.md, "Subnets".
        """
        return (self.kind, -self.prefix, self.address, self.weight)

    def contains(self, address: bytes) -> bool:
        """Return whether ``address`` (packed) is in this subnet; an address of another kind never is."""
        if len(address) != len(self.address):
            return False
        below = _ADDRESS_BITS[self.kind] - self.prefix
        return int.from_bytes(address, "big") >> below == int.from_bytes(self.address, "big") >> below


def _format_mac(address: bytes) -> str:
    return address.hex(":")


def _format_ipv4(address: bytes) -> str:
    return ".".join(map(str, address))


def _format_ipv6(address: bytes) -> str:
    """Format an address in its shortest form, as tinc never with a dotted quad at its end."""
    if address[:12] == bytes(10) + b"\xff\xff":
        # From Python 3.13 on, ipaddress writes these with a dotted quad.
        return f"::ffff:{int.from_bytes(address[12:14], 'big'):x}:{int.from_bytes(address[14:], 'big'):x}"
    return str(ipaddress.IPv6Address(address))


_FORMAT: Final = {
    SubnetKind.MAC: _format_mac,
    SubnetKind.IPV4: _format_ipv4,
    SubnetKind.IPV6: _format_ipv6,
}


def _parse_integer(text: str, what: str, lowest: int, highest: int) -> int:
    if _INTEGER.fullmatch(text) is None or not lowest <= int(text) <= highest:
        raise DecodeError(f"invalid {what} of a subnet")
    return int(text)


def _parse_address(text: str) -> tuple[SubnetKind, bytes]:
    # As in tinc numbers of a dotted quad are decimal, whatever they begin with; ipaddress refuses such zeros.
    text = _LEADING_ZEROS.sub("", text)
    if _MAC.fullmatch(text) is not None:
        return SubnetKind.MAC, bytes(int(group, 16) for group in text.split(":"))
    if "%" in text:
        raise DecodeError("a subnet has no scope")
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        raise DecodeError("invalid address of a subnet") from None
    return (SubnetKind.IPV4 if address.version == 4 else SubnetKind.IPV6), address.packed


def parse_subnet(text: str) -> Subnet:
    """Parse ``ADDRESS[/PREFIX][#WEIGHT]``. Raises `DecodeError` for any other form.

    Host bits below the prefix may be set; the parser of configuration files checks `Subnet.has_host_bits`.
    """
    rest, hash_sign, weight_text = text[:MAX_TEXT_LENGTH].partition("#")
    address_text, slash, prefix_text = rest.partition("/")
    weight = DEFAULT_WEIGHT
    if hash_sign:
        weight = _parse_integer(weight_text, "weight", _MIN_WEIGHT, _MAX_WEIGHT)
    kind, address = _parse_address(address_text)
    prefix = _ADDRESS_BITS[kind]
    if slash:
        if kind is SubnetKind.MAC:
            raise DecodeError("a MAC address has no prefix length")
        prefix = _parse_integer(prefix_text, "prefix length", 0, prefix)
    return Subnet(kind, address, prefix, weight)


DEFAULT_BROADCAST_SUBNETS: Final = tuple(
    parse_subnet(text) for text in ("ff:ff:ff:ff:ff:ff", "255.255.255.255", "224.0.0.0/4", "ff00::/8")
)
"""Packets to these are broadcast even without BroadcastSubnet (docs/protocol-control.md, "Dumps")."""
