"""ARP and neighbour discovery: who asks for the MAC address of an address, who answers, who announces.

Both families come out as one `Message` (RFC 826 and 5227 for IPv4; RFC 4861 for IPv6), because the guard of
shared addresses (`pytinc.vip`) treats them alike. Only untagged Ethernet frames are understood. A frame that
is malformed, or says nothing about an address, is no message: `parse` returns None and never raises.

`question` makes the frames that the guard sends, `claim` those that correct a client, and `with_sender`
changes the question of a host that would lead clients away.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from pytinc.wire import ip
from pytinc.wire.ethernet import ARP, DESTINATION, HEADER_SIZE, IPV4, IPV6, SOURCE, is_group

GUARD_MAC: Final = bytes.fromhex("027079746e63")
"""The MAC address in which every guard asks: locally administered ("pytnc"), and nobody's. tinc's switches do
not know it and send the answers to all nodes, so that one question serves all guards."""
GUARD_ADDRESS: Final = bytes.fromhex("fe80000000000000007079fffe746e63")
"""The link-local IPv6 address that goes with it (RFC 4291, appendix A)."""
NOBODY: Final = b""
"""The address of a sender that has none yet, or does not tell it (0.0.0.0, ::)."""
NOTE_SIZE: Final = 6
"""Bytes that a question of a guard carries where no host looks: it names the guard's node."""
NO_NOTE: Final = bytes(NOTE_SIZE)

_BROADCAST: Final = b"\xff" * 6
_ARP_HEAD: Final = bytes((0, 1, 8, 0, 6, 4))
"""Ethernet, IPv4, and the lengths of their addresses."""
_ARP_SIZE: Final = HEADER_SIZE + 28
_REQUEST: Final = b"\0\1"
_REPLY: Final = b"\0\2"
_NO_IPV4: Final = bytes(4)
_NO_IPV6: Final = bytes(16)
_IPV6_BODY: Final = HEADER_SIZE + ip.IPV6_HEADER_SIZE
_SOLICITATION: Final = 135
_ADVERTISEMENT: Final = 136
_SOLICITATION_SIZE: Final = 24
"""Type, code, checksum, reserved or flags (4), target (16)."""
_MAX_ND_SIZE: Final = 512
"""Longer neighbour messages carry more options than anybody sends."""
_HOPS: Final = 255
_MULTICAST: Final = 0xFF
"""First byte of a multicast IPv6 address."""
_OPTION_UNIT: Final = 8
_SOURCE_LINK_LAYER: Final = 1
_TARGET_LINK_LAYER: Final = 2
_NONCE: Final = 14
"""RFC 3971, 5.3.2: the answer copies it or leaves it out, and hosts that do neither ignore it."""
_OVERRIDE: Final = 0x20


class Kind(enum.Enum):
    """What a message says."""

    QUESTION = enum.auto()
    """Who has ``target``? ``mac`` wants to know, and says by the way that ``address`` is its own."""
    PROBE = enum.auto()
    """Who has ``target``? Asked without an address: a host makes sure that nobody has it (RFC 5227, 2.1.1;
    RFC 4862, 5.4)."""
    ENQUIRY = enum.auto()
    """The same in a form that changes no table: a solicitation from an address, without the sender's MAC."""
    ANSWER = enum.auto()
    """``mac`` has ``address``; told to ``target``."""
    ANNOUNCEMENT = enum.auto()
    """``mac`` has ``address``; told to all, unasked (RFC 5227, 2.3; RFC 4861, 7.2.6)."""


class Message(NamedTuple):
    """One ARP packet or neighbour message."""

    kind: Kind
    mac: bytes
    """Of whom the message speaks: the asker, or the holder of the address."""
    address: bytes
    """4 or 16 bytes; `NOBODY` in a probe."""
    target: bytes
    """The address that is asked for; in an answer, the address of the asker."""
    to: bytes
    """The destination MAC address of the frame: a group, or one station."""
    note: bytes = NO_NOTE
    """Of a question: what a guard wrote into it."""


def parse(frame: bytes) -> Message | None:
    """Read an untagged frame; None if it is not a well-formed message about an address."""
    kind = frame[12:14]
    if kind == ARP:
        return _parse_arp(frame)
    if kind == IPV6 and frame[20:21] == bytes((ip.PROTOCOL_ICMPV6,)):
        return _parse_nd(frame)
    return None


def _parse_arp(frame: bytes) -> Message | None:
    if len(frame) < _ARP_SIZE or frame[14:20] != _ARP_HEAD:
        return None
    operation, mac, address, note, target = (
        frame[20:22],
        frame[22:28],
        frame[28:32],
        frame[32:38],
        frame[38:42],
    )
    to = frame[DESTINATION]
    if is_group(mac):
        return None
    if operation == _REQUEST:
        if address == _NO_IPV4:
            return Message(Kind.PROBE, mac, NOBODY, target, to, note)
        if address == target:
            return Message(Kind.ANNOUNCEMENT, mac, address, target, to)
        return Message(Kind.QUESTION, mac, address, target, to, note)
    if operation != _REPLY or address == _NO_IPV4:
        return None
    kind = Kind.ANNOUNCEMENT if address == target or is_group(to) else Kind.ANSWER
    return Message(kind, mac, address, target, to)


def _parse_nd(frame: bytes) -> Message | None:
    length = int.from_bytes(frame[18:20], "big")
    body = frame[_IPV6_BODY : _IPV6_BODY + length]
    if not _SOLICITATION_SIZE <= length == len(body) <= _MAX_ND_SIZE or frame[21] != _HOPS or body[1] != 0:
        return None
    type_, source, target = body[0], frame[22:38], body[8:24]
    if type_ not in (_SOLICITATION, _ADVERTISEMENT) or target[0] == _MULTICAST:
        return None
    pseudo = ip.pseudo_header_v6(source, frame[38:54], length, ip.PROTOCOL_ICMPV6)
    options = _options(body)
    if options is None or ip.checksum(pseudo + body) != 0:
        return None
    to = frame[DESTINATION]
    if type_ == _SOLICITATION:
        mac = options.get(_SOURCE_LINK_LAYER, frame[SOURCE])
        note = options.get(_NONCE, NO_NOTE)
        if is_group(mac):
            return None
        if source == _NO_IPV6:
            return Message(Kind.PROBE, mac, NOBODY, target, to, note)
        kind = Kind.QUESTION if _SOURCE_LINK_LAYER in options else Kind.ENQUIRY
        return Message(kind, mac, source, target, to, note)
    mac = options.get(_TARGET_LINK_LAYER, frame[SOURCE])
    if is_group(mac):
        return None
    kind = Kind.ANNOUNCEMENT if is_group(to) else Kind.ANSWER
    return Message(kind, mac, target, frame[38:54], to)


def _options(body: bytes) -> dict[int, bytes] | None:
    """Return the first six bytes of each option, by its type; None if they are malformed."""
    options: dict[int, bytes] = {}
    at = _SOLICITATION_SIZE
    while at < len(body):
        size = _OPTION_UNIT * body[at + 1] if at + 1 < len(body) else 0
        if size == 0 or at + size > len(body):
            return None
        options.setdefault(body[at], body[at + 2 : at + 8])
        at += size
    return options


# -- frames to send --


def question(
    mac: bytes, address: bytes, target: bytes, *, to: bytes | None = None, note: bytes = NO_NOTE
) -> bytes:
    """Return the question "who has ``target``?" that ``mac`` with ``address`` asks.

    ``address`` may be `NOBODY` for IPv4 only: such a question is answered and changes no table. ``to`` is the
    MAC address of the one station that is asked; None: all are. The frame comes from `GUARD_MAC`, whoever
    asks, so that no switch learns a client in a wrong place.
    """
    if len(target) == 4:
        body = _ARP_HEAD + _REQUEST + mac + (address or _NO_IPV4) + note + target
        return (to or _BROADCAST) + GUARD_MAC + ARP + body
    options = bytes((_SOURCE_LINK_LAYER, 1)) + mac
    if note != NO_NOTE:
        options += bytes((_NONCE, 1)) + note
    group = bytes.fromhex("ff0200000000000000000001ff") + target[13:]
    body = bytes((_SOLICITATION, 0, 0, 0)) + bytes(4) + target + options
    return (to or b"\x33\x33" + group[12:]) + GUARD_MAC + _ipv6(address, group, body)


def claim(mac: bytes, address: bytes, client_mac: bytes, client: bytes) -> bytes:
    """Return the question to ``client`` for its own address that tells it that ``mac`` has ``address``.

    Every host takes over the sender of a question for itself, however young its entry is.
    """
    if len(address) == 4:
        body = _ARP_HEAD + _REQUEST + mac + address + NO_NOTE + client
        return client_mac + GUARD_MAC + ARP + body
    body = bytes((_SOLICITATION, 0, 0, 0)) + bytes(4) + client + bytes((_SOURCE_LINK_LAYER, 1)) + mac
    return client_mac + GUARD_MAC + _ipv6(address, client, body)


def guard_answer(to: bytes, address: bytes) -> bytes:
    """Return the neighbour advertisement for `GUARD_ADDRESS` to ``address``, whose MAC address is ``to``.

    A host that answered a guard's question makes sure later that the guard still is there.
    """
    body = bytes((_ADVERTISEMENT, 0, 0, 0, 0x40 | _OVERRIDE, 0, 0, 0)) + GUARD_ADDRESS
    body += bytes((_TARGET_LINK_LAYER, 1)) + GUARD_MAC
    return to + GUARD_MAC + _ipv6(GUARD_ADDRESS, address, body)


def without_sender(frame: bytes) -> bytes:
    """Return the question in ``frame`` in a form that changes no table of whoever hears it.

    An ARP request loses its sender. A solicitation loses the option with its MAC address: who answers looks
    for that anew (RFC 4861, 4.3).
    """
    if frame[12:14] == ARP:
        return with_sender(frame, NOBODY, NO_NOTE)
    body = frame[_IPV6_BODY : _IPV6_BODY + _SOLICITATION_SIZE]
    return frame[:12] + _ipv6(frame[22:38], frame[38:54], body[:2] + bytes(2) + body[4:])


def with_sender(frame: bytes, address: bytes, note: bytes) -> bytes:
    """Return the question in ``frame`` as asked from another address of the asker.

    ``address`` may be `NOBODY` for IPv4: then the answer comes all the same, and changes no table. An ARP
    request gets the ``note``: so other guards can tell it from that of a host which claims an address.
    """
    if frame[12:14] == ARP:
        return frame[:28] + (address or _NO_IPV4) + note + frame[38:]
    length = int.from_bytes(frame[18:20], "big")
    body = bytearray(frame[_IPV6_BODY : _IPV6_BODY + length])
    body[2:4] = bytes(2)
    pseudo = ip.pseudo_header_v6(address, frame[38:54], length, ip.PROTOCOL_ICMPV6)
    body[2:4] = ip.checksum(pseudo + bytes(body)).to_bytes(2, "big")
    return frame[:22] + address + frame[38:_IPV6_BODY] + bytes(body) + frame[_IPV6_BODY + length :]


def _ipv6(source: bytes, destination: bytes, body: bytes) -> bytes:
    """Return ethertype and packet of an ICMPv6 message whose checksum (bytes 2 and 3) is still zero."""
    return IPV6 + ip.packet_icmpv6(source, destination, body, _HOPS)


def ends_of(head: bytes) -> tuple[bytes, bytes] | None:
    """Return source and destination address of the IP packet that a frame begins with; None if it has none.

    ``head`` is at least the first 54 bytes of the frame, or all of a shorter one.
    """
    kind = head[12:14]
    if kind == IPV4 and len(head) >= HEADER_SIZE + ip.IPV4_HEADER_SIZE:
        return head[26:30], head[30:34]
    if kind == IPV6 and len(head) >= _IPV6_BODY:
        return head[22:38], head[38:54]
    return None
