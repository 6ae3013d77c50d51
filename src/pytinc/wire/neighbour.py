"""ARP and neighbour discovery: questions, answers and announcements about the MAC address of an address.

Both families become one `Message` (RFC 826 and 5227 for IPv4; RFC 4861 for IPv6), because the guard of shared
addresses (`pytinc.vip`) treats them alike; the layout of the packets is in `pytinc.wire.arp`. Only untagged
Ethernet frames are understood. `parse` never raises: it returns None for a frame that is malformed or says
nothing about an address.

`question` makes the frames that the guard sends, `claim` those that correct a client, and `with_sender`
changes the question of a host that would lead clients away.
"""

from __future__ import annotations

import enum
from typing import Final, NamedTuple

from pytinc.wire import arp, ip
from pytinc.wire.arp import IPV6_BODY, NO_IPV4, NO_IPV6, NO_MAC, OPTIONS_AT, Arp
from pytinc.wire.ethernet import ARP, DESTINATION, HEADER_SIZE, IPV4, IPV6, SOURCE, is_group

GUARD_MAC: Final = bytes.fromhex("027079746e63")
"""The MAC address from which every guard asks. It is locally administered ("pytnc"), and no station has it:
tinc's switches do not know it and send the answers to all nodes, so that one question serves all guards."""
GUARD_ADDRESS: Final = bytes.fromhex("fe80000000000000007079fffe746e63")
"""The link-local IPv6 address that is derived from `GUARD_MAC` (RFC 4291, appendix A)."""
NOBODY: Final = b""
"""The address of a sender that has none yet or hides it (0.0.0.0, ::)."""
NOTE_SIZE: Final = 6
"""Bytes of the note: a guard's question carries the id of its node in a field that hosts ignore."""
NO_NOTE: Final = bytes(NOTE_SIZE)

_BROADCAST: Final = b"\xff" * 6
_ALL_NODES: Final = bytes.fromhex("ff02") + bytes(13) + b"\x01"
_ALL_NODES_MAC: Final = bytes.fromhex("333300000001")
_MAX_ND_SIZE: Final = 512
"""No real neighbour message has so many options that it is longer than this."""
_MULTICAST: Final = 0xFF
"""First byte of a multicast IPv6 address."""


class Kind(enum.Enum):
    """What a message says."""

    QUESTION = enum.auto()
    """Who has ``target``? ``mac`` asks, and its question implies that it has ``address``."""
    PROBE = enum.auto()
    """Who has ``target``? Asked without a sender address: a host checks that nobody has the address
    (RFC 5227, 2.1.1; RFC 4862, 5.4)."""
    ENQUIRY = enum.auto()
    """A question that changes no table: a solicitation with the address but not the MAC of its sender."""
    ANSWER = enum.auto()
    """``mac`` has ``address``; an answer to ``target``."""
    ANNOUNCEMENT = enum.auto()
    """``mac`` has ``address``; sent to all without a question (RFC 5227, 2.3; RFC 4861, 7.2.6)."""


class Message(NamedTuple):
    """One ARP packet or neighbour message."""

    kind: Kind
    mac: bytes
    """The subject of the message: the asker, or the holder of the address."""
    address: bytes
    """4 or 16 bytes; `NOBODY` in a probe."""
    target: bytes
    """The address that is asked for; in an answer, the address of the asker."""
    to: bytes
    """The destination MAC address of the frame: a group, or one station."""
    note: bytes = NO_NOTE
    """The note of the guard that sent a question."""


def parse(frame: bytes) -> Message | None:
    """Read an untagged frame; None if it is not a well-formed message about an address."""
    kind = frame[12:14]
    if kind == ARP:
        return _parse_arp(frame)
    if kind == IPV6 and frame[20:21] == bytes((ip.PROTOCOL_ICMPV6,)):
        return _parse_nd(frame)
    return None


def _parse_arp(frame: bytes) -> Message | None:
    packet = arp.parse_arp(frame)
    if packet is None or is_group(packet.mac):
        return None
    operation, mac, address, note, target = packet
    to = frame[DESTINATION]
    if operation == arp.REQUEST:
        if address == NO_IPV4:
            return Message(Kind.PROBE, mac, NOBODY, target, to, note)
        if address == target:
            return Message(Kind.ANNOUNCEMENT, mac, address, target, to)
        return Message(Kind.QUESTION, mac, address, target, to, note)
    if operation != arp.REPLY or address == NO_IPV4:
        return None
    kind = Kind.ANNOUNCEMENT if address == target or is_group(to) else Kind.ANSWER
    return Message(kind, mac, address, target, to)


def _parse_nd(frame: bytes) -> Message | None:
    if int.from_bytes(frame[18:20], "big") > _MAX_ND_SIZE or frame[21:22] != bytes((arp.HOPS,)):
        return None
    packet = arp.parse_neighbour(frame)
    if packet is None or packet.target[0] == _MULTICAST:
        return None
    options = arp.first_options(packet.options)
    if options is None:
        return None
    to = frame[DESTINATION]
    if packet.type == arp.SOLICITATION:
        mac = options.get(arp.SOURCE_LINK_LAYER, frame[SOURCE])
        note = options.get(arp.NONCE, NO_NOTE)
        if is_group(mac):
            return None
        if packet.source == NO_IPV6:
            return Message(Kind.PROBE, mac, NOBODY, packet.target, to, note)
        kind = Kind.QUESTION if arp.SOURCE_LINK_LAYER in options else Kind.ENQUIRY
        return Message(kind, mac, packet.source, packet.target, to, note)
    mac = options.get(arp.TARGET_LINK_LAYER, frame[SOURCE])
    if is_group(mac):
        return None
    kind = Kind.ANNOUNCEMENT if is_group(to) else Kind.ANSWER
    return Message(kind, mac, packet.target, packet.destination, to)


# -- frames to send --


def question(
    mac: bytes, address: bytes, target: bytes, *, to: bytes | None = None, note: bytes = NO_NOTE
) -> bytes:
    """Return the question "who has ``target``?" that ``mac`` with ``address`` asks.

    ``address`` may be `NOBODY` for IPv4 only: such a question is answered and changes no table. ``to`` is the
    MAC address of the one station that is asked; None: all are. The frame always comes from
    `GUARD_MAC`, so that no switch learns a client in the wrong place.
    """
    if len(target) == 4:
        packet = arp.format_arp(Arp(arp.REQUEST, mac, address or NO_IPV4, note, target))
        return (to or _BROADCAST) + GUARD_MAC + ARP + packet
    options = arp.option(arp.SOURCE_LINK_LAYER, mac)
    if note != NO_NOTE:
        options += arp.option(arp.NONCE, note)
    group = arp.solicited_group(target)
    packet = arp.solicitation(address, group, target, options)
    return (to or b"\x33\x33" + group[12:]) + GUARD_MAC + IPV6 + packet


def claim(mac: bytes, address: bytes, client_mac: bytes, client: bytes) -> bytes:
    """Return a question to ``client`` for its own address, which tells it that ``mac`` has ``address``.

    A host that is asked for its own address always takes over the sender, even if its entry is recent.
    """
    if len(address) == 4:
        packet = arp.format_arp(Arp(arp.REQUEST, mac, address, NO_MAC, client))
        return client_mac + GUARD_MAC + ARP + packet
    packet = arp.solicitation(address, client, client, arp.option(arp.SOURCE_LINK_LAYER, mac))
    return client_mac + GUARD_MAC + IPV6 + packet


def announcement(mac: bytes, address: bytes) -> bytes:
    """Return the announcement to all that ``mac`` has ``address`` (RFC 5227, 2.3; RFC 4861, 7.2.6)."""
    if len(address) == 4:
        packet = arp.format_arp(Arp(arp.REQUEST, mac, address, NO_MAC, address))
        return _BROADCAST + GUARD_MAC + ARP + packet
    packet = arp.advertisement(address, mac, _ALL_NODES, arp.OVERRIDE)
    return _ALL_NODES_MAC + GUARD_MAC + IPV6 + packet


def guard_answer(to: bytes, address: bytes) -> bytes:
    """Return the neighbour advertisement for `GUARD_ADDRESS` to ``address``, whose MAC address is ``to``.

    A host that answered a guard's question later checks that the guard is still there.
    """
    flags = arp.SOLICITED | arp.OVERRIDE
    return to + GUARD_MAC + IPV6 + arp.advertisement(GUARD_ADDRESS, GUARD_MAC, address, flags)


def without_sender(frame: bytes) -> bytes:
    """Return the question in ``frame`` in a form that changes no table of a receiver.

    An ARP request loses its sender address. A solicitation loses the option with its MAC address, so the host
    that answers first asks for that address (RFC 4861, 4.3).
    """
    if frame[12:14] == ARP:
        return with_sender(frame, NOBODY, NO_NOTE)
    body = frame[IPV6_BODY : IPV6_BODY + OPTIONS_AT]
    packet = arp.message_packet(frame[22:38], frame[38:54], body[:2] + bytes(2) + body[4:])
    return frame[:14] + packet


def with_sender(frame: bytes, address: bytes, note: bytes) -> bytes:
    """Return the question in ``frame``, asked from another address of the asker.

    ``address`` may be `NOBODY` for IPv4: the question is still answered, and it changes no table. An ARP
    request gets the ``note``, so that other guards do not take it for that of a host which claims an address.
    """
    if frame[12:14] == ARP:
        return frame[:28] + (address or NO_IPV4) + note + frame[38:]
    length = int.from_bytes(frame[18:20], "big")
    body = bytearray(frame[IPV6_BODY : IPV6_BODY + length])
    body[2:4] = bytes(2)
    pseudo = ip.pseudo_header_v6(address, frame[38:54], length, ip.PROTOCOL_ICMPV6)
    body[2:4] = ip.checksum(pseudo + bytes(body)).to_bytes(2, "big")
    return frame[:22] + address + frame[38:IPV6_BODY] + bytes(body) + frame[IPV6_BODY + length :]


def ends_of(head: bytes) -> tuple[bytes, bytes] | None:
    """Return the source and destination address of the IP packet in a frame; None if there is no IP packet.

    ``head`` is the first 54 bytes of the frame or more, or all of a shorter frame.
    """
    kind = head[12:14]
    if kind == IPV4 and len(head) >= HEADER_SIZE + ip.IPV4_HEADER_SIZE:
        return head[26:30], head[30:34]
    if kind == IPV6 and len(head) >= IPV6_BODY:
        return head[22:38], head[38:54]
    return None
