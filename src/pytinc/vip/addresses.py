"""Which stations use an address, and which hosts have it, as ARP and neighbour discovery show.

An `AddressRecord` is made when somebody asks for an address. Its holders are the MAC addresses that answer.
An address is *shared* only if two holders behind two nodes answered the same question; answers at different
times prove nothing. So a machine that moves, a new DHCP lease, or a virtual MAC address that VRRP moves does
not make an address shared.

Every table here is fed by the network and bounded.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from pytinc.vip.members import HAND_OVER_TIME
from pytinc.vip.views import FailoverView

MAX_ADDRESSES: Final = 1024
"""Addresses in use that are remembered. A scan of the network cannot push out shared addresses."""
MAX_HOLDERS: Final = 32
MAX_CLIENTS: Final = 4096
"""Of one address. The one not seen for longest gives way."""
MAX_ALL_CLIENTS: Final = 16_384
"""Of all addresses together."""
CROWD: Final = MAX_ALL_CLIENTS // MAX_ADDRESSES
"""An address with this many clients gives one up when the table is full; then one of that size exists."""
MAX_CALLERS: Final = 64
ROUND_TIME: Final = 1.0
"""Seconds in which a question is answered."""
MISSED_ROUNDS: Final = 3
"""A holder that leaves so many questions in a row unanswered ..."""
HOLDER_LIFE: Final = 75.0
"""... and has been silent for so many seconds is forgotten: a failover causes many questions at once."""
DOUBTFUL_ROUNDS: Final = 2
"""A holder that leaves so many questions unanswered is not asked for any client."""
CALLER_LIFE: Final = 75.0
"""Seconds after its question for which a guard counts as one that keeps asking."""


class Holder:
    """A MAC address that answers for an address."""

    __slots__ = ("answered", "leaving", "mac", "missed")

    def __init__(self, mac: bytes, now: float) -> None:
        self.mac = mac
        self.answered = now
        self.missed = 0
        """Rounds in a row in which it did not answer."""
        self.leaving = False
        """Its node has said that the holder will not answer any more."""


class Client:
    """A station that uses an address."""

    __slots__ = (
        "address",
        "corrected",
        "corrections",
        "former",
        "holder",
        "led_from",
        "mac",
        "member",
        "moved",
        "noticed",
        "owned",
        "returned",
        "seen",
        "told",
    )

    def __init__(self, mac: bytes, address: bytes, now: float) -> None:
        self.mac = mac
        self.address = address
        """Its own address, of the same family."""
        self.seen = now
        self.holder: bytes | None = None
        """The holder that it uses, judged by the questions and announcements that reached this node."""
        self.told = -math.inf
        """When the last of them came. Its frames from before that time prove nothing."""
        self.led_from: frozenset[bytes] = frozenset()
        """Holders that it may have gone back to; see `believe`."""
        self.owned = now
        """When a check last found a node that owns its MAC address."""
        self.noticed = -math.inf
        """When the last notice about it came."""
        self.member: bytes | None = None
        """The id of the node that serves it, if the members share the clients of the address; see
        `AddressRecord.give`."""
        self.former: bytes | None = None
        """The member before the last change, ..."""
        self.moved = -math.inf
        """... and the time of that change."""
        self.returned = False
        """That change took it back to the member that it had shortly before."""
        self.corrected = -math.inf
        self.corrections = 0

    def believe(self, holder: bytes | None, now: float, *, led_from: frozenset[bytes] = frozenset()) -> None:
        """Note which holder the client uses from now on; None: any of them.

        ``led_from``: the holders that the client was led away from, if this node asked ``holder`` to answer
        the client and has not seen the result. If one of them was only suspended, an old answer of it may
        lead the client back.
        """
        self.holder, self.told, self.led_from = holder, now, led_from


class AddressRecord:
    """One address in use."""

    def __init__(self, address: bytes, now: float) -> None:
        self.address = address
        self.seen = now
        """When somebody last asked for it."""
        self.own_seen = -math.inf
        """When a host behind the own device last used it as its own."""
        self.holders: dict[bytes, Holder] = {}
        self.clients: dict[bytes, Client] = {}
        self.withdrawn: dict[str, float] = {}
        """Nodes that said they would leave the address, and when."""
        self.callers: dict[bytes, float] = {}
        """Ids of the guards that asked for it, and when they did last."""
        self.next_question = math.inf
        """When this node asks next; infinite if it does not."""
        self.asked = -math.inf
        """When this node last asked."""
        self.newcomer_asked = -math.inf
        """When this node last asked because a node had joined."""
        self.rest = 0.0
        """Seconds between two questions while the address is not shared; grows."""
        self.asserted = -math.inf
        """When a host last announced, unasked, that it has the address."""
        self.verified = False
        """One round has shown which hosts answer, or several rounds that none does."""
        self._unanswered = 0
        self.called = False
        """It was found shared, and guards are asked to take care of it."""
        self.reported = False
        """The log has reported that it is shared."""
        self.has_members = False
        """It is a virtual IP by policy (`pytinc.vip.policy`)."""
        self.shares: Counter[bytes] = Counter()
        """How many clients each member has, by id (`pytinc.vip.sharing`)."""
        self.failover: FailoverView | None = None
        self.failover_at = -math.inf
        self._together = False
        """Two holders answered one question."""
        self._round_since = -math.inf
        self._spared: frozenset[bytes] = frozenset()
        self._answers: set[bytes] | None = None
        """The holders that answered in the open round; None: no round is open."""

    def give(self, client: Client, member: bytes, now: float) -> None:
        """Give a client to a member."""
        if client.member != member:
            client.returned = client.former == member and now < client.moved + HAND_OVER_TIME
            client.former, client.moved = client.member, now
            self.take_away(client)
            self.shares[member] += 1
            client.member = member

    def take_away(self, client: Client) -> None:
        """Give a client to nobody."""
        if client.member is not None:
            self.shares[client.member] -= 1
            if not self.shares[client.member]:
                del self.shares[client.member]  # other nodes may invent members
            client.member = None

    # -- holders --

    def begin_round(self, now: float, spared: frozenset[bytes] = frozenset()) -> None:
        """Begin a round: this node hears all answers to the question, except those of ``spared`` holders."""
        if self._answers is not None and now < self._round_since + ROUND_TIME:
            return  # answers to both cannot be told apart
        self.end_round(now)
        self._answers, self._round_since, self._spared = set(), now, spared

    def round_end(self) -> float:
        """Return when the open round ends."""
        return math.inf if self._answers is None else self._round_since + ROUND_TIME

    def end_round(self, now: float) -> None:
        """Draw the conclusions from a round that has ended."""
        answers = self._answers
        if answers is None or now < self._round_since + ROUND_TIME:
            return
        self._answers = None
        if not answers:
            # A question that was lost says nothing about the holders.
            self._unanswered += 1
            self.verified = self.verified or self._unanswered >= MISSED_ROUNDS
            return
        self.verified = True
        for mac, holder in list(self.holders.items()):
            if mac in self._spared:
                continue
            holder.missed = 0 if mac in answers else holder.missed + 1
            if holder.missed >= MISSED_ROUNDS and now - holder.answered > HOLDER_LIFE:
                del self.holders[mac]
        if len(answers) > 1:
            self._together = True
        elif len(self.holders) < 2:
            self._together = False

    def answer(self, mac: bytes, now: float) -> bool:
        """A MAC address answered or announced itself; tell whether it is the second in this round."""
        holder = self.holders.get(mac)
        if holder is None:
            if len(self.holders) >= MAX_HOLDERS:
                return False
            holder = self.holders[mac] = Holder(mac, now)
        holder.answered, holder.missed, holder.leaving = now, 0, False
        if self._answers is not None and now < self._round_since + ROUND_TIME:
            before = self._together
            self._answers.add(mac)
            if len(self._answers) > 1:
                self._together = self.verified = True
            return self._together and not before
        return False

    def add_holder(self, mac: bytes, now: float) -> None:
        """Note the MAC address at which a member's host has the address."""
        if mac not in self.holders and len(self.holders) < MAX_HOLDERS:
            self.holders[mac] = Holder(mac, now)

    def leave(self, holders: Iterable[bytes]) -> None:
        """Expect no answer of these holders until one comes."""
        for mac in holders:
            self.holders[mac].leaving = True

    def present(self) -> list[Holder]:
        """Return the holders that can be expected to answer."""
        return [holder for holder in self._answering() if not holder.leaving]

    def _answering(self) -> Iterator[Holder]:
        return (holder for holder in self.holders.values() if holder.missed < DOUBTFUL_ROUNDS)

    def is_shared(self, owner: Callable[[bytes], str | None]) -> bool:
        """Tell whether holders behind more than one node answered the same question."""
        if not self._together:
            return False
        # A holder that is leaving still has clients; one that does not answer now may answer again.
        return len({owner(mac) for mac in self.holders} - {None}) > 1

    # -- callers --

    def heard_caller(self, node_id: bytes, now: float) -> None:
        """Another guard asked for the address."""
        self.callers.pop(node_id, None)
        if len(self.callers) >= MAX_CALLERS:
            del self.callers[next(iter(self.callers))]
        self.callers[node_id] = now

    def present_callers(self, now: float) -> list[bytes]:
        """Return the guards that keep asking."""
        return [node_id for node_id, heard in self.callers.items() if now - heard < CALLER_LIFE]


class AddressTable:
    """All addresses in use."""

    def __init__(self) -> None:
        self._records: dict[bytes, AddressRecord] = {}
        self._crowded: AddressRecord | None = None
        """An address with many clients, found the last time that room was needed."""
        self._clients = 0

    def __iter__(self) -> Iterator[AddressRecord]:
        return iter(self._records.values())

    def __len__(self) -> int:
        return len(self._records)

    def get(self, address: bytes) -> AddressRecord | None:
        """Return what is known of an address; None if nobody uses it."""
        return self._records.get(address)

    def use(self, address: bytes, now: float) -> AddressRecord:
        """Return the record of an address that somebody uses, made if it is new."""
        record = self._records.pop(address, None)
        if record is None:
            if len(self._records) >= MAX_ADDRESSES:
                self._make_room()
            record = AddressRecord(address, now)
        # The most recently used ones are at the end.
        self._records[address] = record
        record.seen = now
        return record

    def _make_room(self) -> None:
        """Forget the address that was unused for longest; one that was never shared goes first."""
        found = next((record for record in self if not (record.reported or record.has_members)), None)
        self.forget(found or next(iter(self)))

    def forget(self, record: AddressRecord) -> None:
        """Forget an address."""
        del self._records[record.address]
        if self._crowded is record:
            self._crowded = None
        self._clients -= len(record.clients)

    def client(self, record: AddressRecord, mac: bytes, address: bytes, now: float) -> Client:
        """Return the client ``mac`` of an address, made if it is new; it is seen now."""
        client = record.clients.pop(mac, None)
        if client is None:
            if len(record.clients) >= MAX_CLIENTS or self._clients >= MAX_ALL_CLIENTS:
                self._drop_client(record)
            client = Client(mac, address, now)
            self._clients += 1
        record.clients[mac] = client
        client.address, client.seen = address, now
        return client

    def _drop_client(self, record: AddressRecord) -> None:
        """Make room for a client of ``record``: a crowded address gives up its oldest client."""
        crowded = record
        if len(record.clients) < MAX_CLIENTS:
            if self._crowded is None or len(self._crowded.clients) < CROWD:
                self._crowded = max(self, key=lambda record: len(record.clients))
            crowded = self._crowded
        self.drop_client(crowded, next(iter(crowded.clients)))

    def drop_client(self, record: AddressRecord, mac: bytes) -> None:
        """Forget a client."""
        record.take_away(record.clients.pop(mac))
        self._clients -= 1
