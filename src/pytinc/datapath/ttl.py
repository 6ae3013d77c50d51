"""DecrementTTL: a frame between two other nodes loses a hop (docs/protocol-data.md, "TTL").

Off by default, and cold: one frame at a time.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pytinc.datapath import icmp
from pytinc.datapath.icmp import ErrorLimit
from pytinc.wire import ethernet, ip
from pytinc.wire.datagram import NodeId

_TTL: Final = 8
_PROTOCOL_V4: Final = 9
_NEXT_HEADER: Final = 6
_HOP_LIMIT: Final = 7
_MULTICAST_V4: Final = 224
_MULTICAST_V6: Final = 0xFF
"""First bytes of addresses of no single host: these and above."""


class TimeToLive:
    """Decrements the TTL of frames that pass through the node ``me``."""

    def __init__(
        self, me: NodeId, limit: ErrorLimit, own_address: Callable[[bytes], bytes | None] | None = None
    ) -> None:
        self._me = me
        self._limit = limit
        self._own_address = own_address
        """Gives the address that this host, if it is a router, has towards another one."""

    def decrement(self, frame: bytes, now: float) -> tuple[bytes | None, bytes | None]:
        """Return the frame with one hop less (None: it is dropped), and the ICMP error for its sender.

        Frames other than IP pass as they are. A frame too short for its IP header is dropped silently.
        """
        start = ethernet.payload_offset(frame)
        kind = ethernet.ethertype(frame, start)
        if kind == ethernet.IPV4:
            return self._decrement_v4(frame, start, now)
        if kind == ethernet.IPV6:
            return self._decrement_v6(frame, start, now)
        return frame, None

    def _decrement_v4(self, frame: bytes, start: int, now: float) -> tuple[bytes | None, bytes | None]:
        end = start + ip.IPV4_HEADER_SIZE
        if len(frame) < end:
            return None, None
        ttl, protocol = frame[start + _TTL], frame[start + _PROTOCOL_V4]
        if ttl <= 1:
            is_same_error = protocol == ip.PROTOCOL_ICMP and frame[end : end + 1] == bytes(
                (ip.ICMP_TIME_EXCEEDED,)
            )
            to_many = frame[start + 16] >= _MULTICAST_V4
            if is_same_error or not self._may_answer(frame, to_many, now):
                return None, None
            return None, icmp.time_exceeded_v4(frame, start, self._towards(frame[start + 12 : start + 16]))
        changed = bytearray(frame)
        changed[start + _TTL] = ttl - 1
        checksum = int.from_bytes(frame[start + 10 : start + 12], "big")
        before, after = ttl << 8 | protocol, (ttl - 1) << 8 | protocol
        changed[start + 10 : start + 12] = ip.update_checksum(checksum, before, after).to_bytes(2, "big")
        return bytes(changed), None

    def _decrement_v6(self, frame: bytes, start: int, now: float) -> tuple[bytes | None, bytes | None]:
        end = start + ip.IPV6_HEADER_SIZE
        if len(frame) < end:
            return None, None
        if frame[start + _HOP_LIMIT] <= 1:
            is_same_error = frame[start + _NEXT_HEADER] == ip.PROTOCOL_ICMPV6 and frame[
                end : end + 1
            ] == bytes((ip.ICMPV6_TIME_EXCEEDED,))
            to_many = frame[start + 24] == _MULTICAST_V6
            if is_same_error or not self._may_answer(frame, to_many, now):
                return None, None
            return None, icmp.time_exceeded_v6(
                frame, start, self._me, self._towards(frame[start + 8 : start + 24])
            )
        changed = bytearray(frame)
        changed[start + _HOP_LIMIT] -= 1
        return bytes(changed), None

    def _towards(self, sender: bytes) -> bytes | None:
        return None if self._own_address is None else self._own_address(sender)

    def _may_answer(self, frame: bytes, to_many: bool, now: float) -> bool:
        """Tell whether an error may be made; never about what went to many (RFC 1122, 3.2.2)."""
        return not (to_many or ethernet.is_group(frame)) and self._limit.allows(now)
