"""What the guard of shared addresses has the data path do: note who uses what, and screen ARP and ND.

`pytinc.node.guard` writes a `GuardTable`; `outbound` and its twin ask it. Without one, a batch pays one test.
With one, a frame pays a look-up of its destination, and ARP and neighbour discovery are looked at.

* Every message is reported to the node (`Upcalls.messages`).
* An answer of the own host for an address that this node is withdrawing ends here.
* A question of the own host that names a shared address as its sender would lead all clients of that address
  to this host: it goes out with another sender (docs/virtual-ip.md). So does the first question from an
  address of which nobody knows yet whether it is shared.
* Such a question of another node's host goes to the own device without sender.

Cold path, but for `note_use`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from pytinc.wire import neighbour
from pytinc.wire.ethernet import is_group
from pytinc.wire.neighbour import GUARD_MAC, NOBODY, Kind, Message

if TYPE_CHECKING:
    from pytinc.datapath.output import Output
    from pytinc.datapath.table import PeerSlot

MAX_MESSAGES: Final = 256
"""Reported of one batch. What a flood has beyond that is switched like any frame, and told to nobody."""
MAX_USES: Final = 16_384
"""Pairs of stations noted between two prunings: as many as the node learns MACs."""
_IPV4_SIZE: Final = 4


@dataclass(slots=True)
class GuardTable:
    """What the guard told the data path."""

    macs: frozenset[bytes] = frozenset()
    """Holders' MACs whose use is noted."""
    uses: dict[bytes, float] = field(default_factory=dict)
    """When a frame went from one station to a MAC of `macs` last, by destination and source MAC."""
    senders: Mapping[bytes, bytes] = field(default_factory=dict)
    """Shared addresses with a holder behind the own device: who is to be the sender of its questions."""
    known: frozenset[bytes] = frozenset()
    """Other addresses of hosts behind the own device: their questions go out as they are."""
    withheld: frozenset[bytes] = frozenset()
    """Addresses for which nothing on our side answers any more."""
    in_use: Mapping[bytes, bytes] = field(default_factory=dict)
    """Shared addresses, and the MAC that stations behind the own device use for each."""
    rewritten: int = 0
    """Questions whose sender was changed."""
    answers_withheld: int = 0


def screen(
    guard: GuardTable, source: PeerSlot, frames: list[bytes], out: Output
) -> tuple[list[bytes], list[bytes]]:
    """Look at frames that may be ARP or neighbour discovery.

    Returns what is left of them, and the form in which they go to the own device if they are for all. Both
    are ``frames`` itself where there is nothing to change.
    """
    messages = [neighbour.parse(frame) for frame in frames]
    if not any(messages):
        return frames, frames
    told = out.upcalls.messages
    told += [(source, message) for message in messages if message][: max(MAX_MESSAGES - len(told), 0)]
    if not source.is_me:
        arriving = [_arriving(guard, *pair) for pair in zip(frames, messages, strict=True)]
        return frames, arriving
    left = [
        frame for pair in zip(frames, messages, strict=True) if (frame := _leaving(guard, *pair)) is not None
    ]
    return left, left


def _leaving(guard: GuardTable, frame: bytes, message: Message | None) -> bytes | None:
    """Return what goes out of a frame of the own device."""
    if message is None or message.mac == GUARD_MAC:
        return frame
    if message.kind in (Kind.ANSWER, Kind.ANNOUNCEMENT):
        if message.address in guard.withheld:
            guard.answers_withheld += 1
            return None
        return frame
    if message.kind is Kind.PROBE or not is_group(message.to) or message.address in guard.known:
        return frame
    sender = guard.senders.get(message.address)
    if sender is None:
        if len(message.address) != _IPV4_SIZE:
            return frame
        sender = NOBODY
    guard.rewritten += 1
    return neighbour.with_sender(frame, sender)


def _arriving(guard: GuardTable, frame: bytes, message: Message | None) -> bytes:
    """Return the form in which a frame of another node, meant for all, goes to the own device."""
    if (
        message is None
        or message.kind is not Kind.QUESTION
        or len(message.address) != _IPV4_SIZE
        or guard.in_use.get(message.address, message.mac) == message.mac
    ):
        return frame
    guard.rewritten += 1
    return neighbour.with_sender(frame, NOBODY)


def note_use(guard: GuardTable, head: bytes, now: float, out: Output) -> None:
    """Note that a frame goes to a MAC of `GuardTable.macs`; ``head`` is how the frame begins."""
    key, uses = head[:12], guard.uses
    if key in uses:
        uses[key] = now
    elif len(uses) < MAX_USES:
        uses[key] = now
        out.upcalls.uses.append((key, head[:54]))
