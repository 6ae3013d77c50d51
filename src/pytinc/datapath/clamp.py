"""Lowers the TCP maximum segment size to the path MTU (docs/protocol-data.md, "MSS clamping")."""

from __future__ import annotations

from typing import Final

from pytinc.wire import ethernet, ip

LONGEST_SYN: Final = 200
"""A longer frame is not checked, to save time: a SYN has headers and at most 40 bytes of options. One that
carries data (TCP Fast Open) keeps its MSS, and ICMP tells the other end."""
PLAIN_FLAGS: Final = ethernet.HEADER_SIZE + ip.IPV4_HEADER_SIZE + 13
"""Where a TCP packet has its flags if it has neither VLAN tag nor IP options."""
_KIND_END: Final = 0
_KIND_NOP: Final = 1
_KIND_MSS: Final = 2


def clamp_mss(frame: bytes, mtu: int) -> bytes:
    """Return the frame with the MSS option of its SYN lowered to what fits in ``mtu`` (frame bytes).

    Any other frame comes back as it is, as does one whose headers lie about their lengths.
    """
    if (
        len(frame) > PLAIN_FLAGS
        and frame[14] == ip.PLAIN_IPV4
        and frame[ethernet.ETHERTYPE] == ethernet.IPV4
        and (
            frame[23] == ip.PROTOCOL_UDP
            or (frame[23] == ip.PROTOCOL_TCP and not frame[PLAIN_FLAGS] & ip.TCP_SYN)
        )
    ):
        return frame  # HOT PATH: small packets of UDP, and the acknowledgements of a download
    start = _tcp_offset(frame)
    if start is None or not frame[start + 13] & ip.TCP_SYN or len(frame) > LONGEST_SYN:
        return frame
    position = _mss_offset(frame, start)
    limit = mtu - start - ip.TCP_HEADER_SIZE
    if position is None or limit <= 0:
        return frame
    present = int.from_bytes(frame[position : position + 2], "big")
    if present <= limit:
        return frame
    changed = bytearray(frame)
    changed[position : position + 2] = limit.to_bytes(2, "big")
    if (position - start) % 2:
        # The value straddles two of the words that the checksum adds up.
        before, after = _swap(present), _swap(limit)
    else:
        before, after = present, limit
    checksum = int.from_bytes(frame[start + 16 : start + 18], "big")
    changed[start + 16 : start + 18] = ip.update_checksum(checksum, before, after).to_bytes(2, "big")
    return bytes(changed)


def _swap(value: int) -> int:
    return (value & 0xFF) << 8 | value >> 8


def _tcp_offset(frame: bytes) -> int | None:
    """Return where the TCP header of an unfragmented TCP packet begins."""
    start = ethernet.payload_offset(frame)
    kind = ethernet.ethertype(frame, start)
    if kind == ethernet.IPV4:
        if len(frame) > start + ip.IPV4_HEADER_SIZE and frame[start + 9] == ip.PROTOCOL_IPIP:
            start += ip.IPV4_HEADER_SIZE
        if len(frame) <= start + ip.IPV4_HEADER_SIZE or frame[start + 9] != ip.PROTOCOL_TCP:
            return None
        if int.from_bytes(frame[start + 6 : start + 8], "big") & ip.OFFSET_MASK:
            return None
        header_size = (frame[start] & 0x0F) * 4
        if header_size < ip.IPV4_HEADER_SIZE:
            return None
        start += header_size
    elif kind == ethernet.IPV6:
        if len(frame) <= start + ip.IPV6_HEADER_SIZE or frame[start + 6] != ip.PROTOCOL_TCP:
            return None
        start += ip.IPV6_HEADER_SIZE
    else:
        return None
    return start if len(frame) >= start + ip.TCP_HEADER_SIZE else None


def _mss_offset(frame: bytes, start: int) -> int | None:
    """Return where the MSS value stands among the TCP options."""
    end = start + (frame[start + 12] >> 4) * 4
    if end > len(frame):
        return None
    position = start + ip.TCP_HEADER_SIZE
    while position < end:
        kind = frame[position]
        if kind == _KIND_END:
            return None
        if kind == _KIND_NOP:
            position += 1
            continue
        length = frame[position + 1] if position + 1 < end else 0
        if length < 2 or position + length > end:
            return None
        if kind == _KIND_MSS:
            return position + 2 if length == 4 else None
        position += length
    return None
