"""``PriorityInheritance = yes``: a datagram gets the priority of the packet that it carries.

The shell cuts a batch from the device into groups with the same mark, and sends each group's datagrams with
it. tinc marks only datagrams of the legacy protocol (docs/protocol-data.md, "Type of service"). Only the
class (DSCP) is copied. If the two ECN bits were copied too, routers would mark our datagrams instead of
dropping some, and no receiver would read the marks (RFC 6040).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import TYPE_CHECKING

from pytinc.wire.ethernet import ETHERTYPE, HEADER_SIZE, IPV4, IPV6

if TYPE_CHECKING:
    from pytinc.datapath.runs import FrameRun

_DSCP = 0xFC


def mark_of(frame: bytes | FrameRun) -> int:
    """Return the class of the IP packet in a frame, as in the TOS byte; 0 for all other frames.

    A packet behind a VLAN tag counts as another frame, as in tinc. All frames of a run are alike.
    """
    if not isinstance(frame, bytes):
        frame = frame.top
    kind = frame[ETHERTYPE]
    if len(frame) > HEADER_SIZE + 1:
        if kind == IPV4:
            return frame[HEADER_SIZE + 1] & _DSCP
        if kind == IPV6:
            return (frame[HEADER_SIZE] << 4 | frame[HEADER_SIZE + 1] >> 4) & _DSCP
    return 0


def groups_by_mark(frames: Sequence[bytes | FrameRun]) -> Iterator[tuple[int, list[bytes | FrameRun]]]:
    """Cut a batch into groups of frames with the same mark; yield each mark and its group."""
    for mark, group in groupby(frames, mark_of):
        yield mark, list(group)
