"""The guard of shared addresses in the data path: notes uses of holders, and filters ARP and ND.

`pytinc.node.guard` writes a `GuardTable`; the switch and its twin ask it. Without one, a batch costs one
test. With one, each frame costs a look-up of its destination, and ARP and neighbour discovery are examined.

* Every message is reported to the node (`Upcalls.messages`).
* An answer of the own host for an address that this node is withdrawing ends here; so does one to a client of
  another member, where the members share the clients.
* A question of the own host that names a shared address as its sender would lead all clients of that address
  to this host: it goes out with another sender (docs/virtual-ip.md). So does the first question from an
  address that may turn out to be shared.
* Such a question of another node's host goes to the own device without sender, unless that host is the one in
  use there. So does a question that names a holder whose node is silent, because another guard may not know
  that yet.
* After this node was suspended (SIGSTOP, a suspended machine), its host may answer old questions for a shared
  address although the client has moved: such answers are dropped for a second.
* A message of another node's host about an address that a member serves does not go to the own device unless
  that node is in `GuardTable.answering`, because tinc's daemon lets its host answer at any time.
* An answer of a holder that stations were led away from lately, to a station of ours that did not ask and
  uses another holder, is dropped as well: it answers an old question.

Cold path, except `note_uses`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from pytinc.datapath.guard_table import LONG_PAUSE, GuardTable
from pytinc.wire import neighbour
from pytinc.wire.ethernet import is_group
from pytinc.wire.ip import DESTINATIONS
from pytinc.wire.neighbour import GUARD_MAC, NOBODY, Kind, Message

if TYPE_CHECKING:
    from pytinc.datapath.output import Output
    from pytinc.datapath.peer_slot import PeerSlot
    from pytinc.datapath.table import ForwardingTable

MAX_MESSAGES: Final = 256
"""Most messages reported per batch. Further ones of a flood are switched like any frame, without a report."""
MAX_USES: Final = 16_384
"""Most pairs of stations noted between two prunings: as many as the node learns MACs."""
ANSWER_TIME: Final = 2.0
"""Seconds within which a question is answered."""
_IPV4_SIZE: Final = 4


def screen(
    table: ForwardingTable, source: PeerSlot, frames: list[bytes], now: float, out: Output
) -> tuple[list[bytes], list[bytes]]:
    """Examine frames that may be ARP or neighbour discovery.

    Return the remaining frames, and the form in which broadcasts among them go to the own device. Both are
    ``frames`` itself if nothing changes, as is always the case without a guard. A broadcast that must not go
    to the own device is empty in the second form.
    """
    guard = table.guard
    if guard is None:
        return frames, frames
    messages = [neighbour.parse(frame) for frame in frames]
    if not any(messages):
        return frames, frames
    told = out.upcalls.messages
    told += [(source, message) for message in messages if message][: max(MAX_MESSAGES - len(told), 0)]
    pairs = zip(frames, messages, strict=True)
    if source.is_me:
        left = [kept for pair in pairs if (kept := _leaving(table, guard, *pair, now)) is not None]
        return left, left
    passed: list[bytes] = []
    arriving: list[bytes] = []
    for frame, message in pairs:
        own_form = frame if message is None else _arriving(table, guard, frame, message, now)
        if message is not None and is_group(message.to):
            passed.append(frame)
            arriving.append(own_form or b"")
        elif own_form is not None:
            # A message for this guard alone goes nowhere else.
            passed.append(own_form)
            arriving.append(own_form)
    return passed, arriving


def _leaving(
    table: ForwardingTable, guard: GuardTable, frame: bytes, message: Message | None, now: float
) -> bytes | None:
    """Return the form in which a frame of the own device leaves; None: it is dropped."""
    if message is None or message.mac == GUARD_MAC:
        return frame
    if message.kind in (Kind.ANSWER, Kind.ANNOUNCEMENT):
        doubtful = now < guard.doubt_until or now - guard.heartbeat > LONG_PAUSE
        answered = guard.answered.get(message.address)
        to_others = answered is not None and message.to not in answered
        if message.address in guard.withheld or to_others or (doubtful and message.address in guard.own):
            guard.answers_withheld += 1
            return None
        return frame
    if message.target in guard.in_use:
        guard.asked[message.target] = now
    if message.kind is not Kind.QUESTION or message.address in guard.known:
        return frame
    sender = guard.senders.get(message.address)
    if sender is None:
        # A question for one station with an undecided sender misleads that station at most.
        if guard.lenient or len(message.address) != _IPV4_SIZE or not is_group(message.to):
            return frame
        sender = NOBODY
    guard.rewritten += 1
    if sender == NOBODY and len(message.address) != _IPV4_SIZE:
        return neighbour.without_sender(frame)
    return neighbour.with_sender(frame, sender, table.me.id)


def _arriving(
    table: ForwardingTable, guard: GuardTable, frame: bytes, message: Message, now: float
) -> bytes | None:
    """Return the form in which a message of another node goes to the own device.

    None: it is dropped.
    """
    used = guard.in_use.get(message.address, message.mac)
    answering = guard.answering.get(message.address)
    is_false = answering is not None and not _is_of(table, message.mac, answering)
    misleads = (
        is_false
        or used != message.mac
        or (message.kind is Kind.QUESTION and message.mac + message.address in guard.absent)
    )
    if not misleads or not (is_group(message.to) or table.owner_of(message.to) is table.me):
        return frame
    if is_false and message.kind is not Kind.QUESTION:
        return None
    if message.kind is Kind.ANSWER:
        asked = now - guard.asked.get(message.address, -math.inf) <= ANSWER_TIME
        return None if message.mac in guard.left and not asked else frame
    if message.kind is not Kind.QUESTION:
        return frame
    guard.rewritten += 1
    return neighbour.without_sender(frame)


def _is_of(table: ForwardingTable, mac: bytes, nodes: frozenset[str]) -> bool:
    owner = table.owner_of(mac)
    return owner is not None and owner.name in nodes


def note_uses(guard: GuardTable, frames: list[bytes], now: float, out: Output) -> None:
    """Note that frames with one Ethernet header, to a MAC of `GuardTable.macs`, go to shared addresses.

    The first 54 bytes of each frame are enough.
    """
    where = DESTINATIONS.get(frames[0][12:14])
    if where is None:
        return
    last = b""
    for frame in frames:
        address = frame[where]
        if address != last:
            last = address
            if address in guard.addresses:
                _note_use(guard, frame[:54], address, now, out)


def note_known_use(guard: GuardTable, frame: bytes, now: float) -> bool:
    """Do what `note_uses` does for one frame. False: this use is new, and nothing is done."""
    where = DESTINATIONS.get(frame[12:14])
    if where is None:
        return True
    address = frame[where]
    if address not in guard.addresses:
        return True
    key = frame[:12] + address
    if key not in guard.uses:
        return False
    guard.uses[key] = now
    return True


def _note_use(guard: GuardTable, head: bytes, address: bytes, now: float, out: Output) -> None:
    uses, key = guard.uses, head[:12] + address
    if key in uses:
        uses[key] = now
    elif len(out.upcalls.uses) < MAX_MESSAGES:
        if len(uses) >= MAX_USES:
            del uses[next(iter(uses))]
        uses[key] = now
        out.upcalls.uses.append((key, head))
