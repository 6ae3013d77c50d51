"""Who uses which address, and who has it: what ARP and neighbour discovery tell to those who listen.

An `AddressRecord` is made when somebody asks for an address. Its holders are the MAC addresses that answer.
Who answers one and the same question is told from who answered at different times: only an address for which
two holders behind two nodes answered one question is *shared*. So a machine that moved, a new lease of DHCP,
or a virtual MAC address that VRRP moves, makes no shared address.

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
"""Addresses in use that are remembered. A scan fills the rest of the table, not the place of shared ones."""
MAX_HOLDERS: Final = 32
MAX_CLIENTS: Final = 4096
"""Of one address. The one not seen for longest gives way."""
MAX_ALL_CLIENTS: Final = 16_384
"""Of all addresses together."""
CROWD: Final = MAX_ALL_CLIENTS // MAX_ADDRESSES
"""Clients of an address from which room is made: there is one as crowded whenever the table is full."""
MAX_CALLERS: Final = 64
ROUND_TIME: Final = 1.0
"""Seconds in which a question is answered."""
MISSED_ROUNDS: Final = 3
"""A holder that did not answer so many questions in a row, ..."""
HOLDER_LIFE: Final = 75.0
"""... nor anything else for so many seconds, is none any more: a failover brings many questions at once."""
DOUBTFUL_ROUNDS: Final = 2
"""One that did not answer so many is asked for nothing."""
CALLER_LIFE: Final = 75.0
"""Seconds for which a guard that asked counts as one that goes on asking."""


class Holder:
    """A MAC address that answers for an address."""

    __slots__ = ("answered", "leaving", "mac", "missed")

    def __init__(self, mac: bytes, now: float) -> None:
        self.mac = mac
        self.answered = now
        self.missed = 0
        """Rounds in a row in which it did not answer."""
        self.leaving = False
        """Its node has said that it will answer no more."""


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
        """The holder that it uses, as far as questions and announcements that reached us tell."""
        self.told = -math.inf
        """When they told that. What its frames said before that is out of date."""
        self.led_from: frozenset[bytes] = frozenset()
        """Holders that it may have gone back to; see `believe`."""
        self.owned = now
        """When some node owned its MAC address last, as far as was looked."""
        self.noticed = -math.inf
        """When a notice told of it last."""
        self.member: bytes | None = None
        """The id of the node that serves it, if the members share the clients of the address; see
        `AddressRecord.give`."""
        self.former: bytes | None = None
        """The same before the last change, ..."""
        self.moved = -math.inf
        """... and when that was."""
        self.returned = False
        """It went back then to the member that it had shortly before."""
        self.corrected = -math.inf
        self.corrections = 0

    def believe(self, holder: bytes | None, now: float, *, led_from: frozenset[bytes] = frozenset()) -> None:
        """Something tells which holder the client uses from now on; None: any of them.

        ``led_from``: nobody saw that, it is the one that we asked to answer the client. An old answer of one
        of those that it was led away from, if that one only stood still, may have led it back.
        """
        self.holder, self.told, self.led_from = holder, now, led_from


class AddressRecord:
    """One address in use."""

    def __init__(self, address: bytes, now: float) -> None:
        self.address = address
        self.seen = now
        """When somebody asked for it last."""
        self.own_seen = -math.inf
        """When a host behind the own device used it as its own."""
        self.holders: dict[bytes, Holder] = {}
        self.clients: dict[bytes, Client] = {}
        self.withdrawn: dict[str, float] = {}
        """Nodes that said they would leave the address, and when."""
        self.callers: dict[bytes, float] = {}
        """Ids of the guards that asked for it, and when they did last."""
        self.next_question = math.inf
        """When we ask, if we do."""
        self.asked = -math.inf
        """When we asked ourselves."""
        self.newcomer_asked = -math.inf
        """When a newcomer was the reason to ask."""
        self.rest = 0.0
        """Seconds between two questions while the address is not shared; grows."""
        self.asserted = -math.inf
        """When a host said last, without being asked, that it has the address."""
        self.verified = False
        """A round has shown who answers, or several that nobody does."""
        self._unanswered = 0
        self.called = False
        """It was found shared, and guards are asked to take care of it."""
        self.reported = False
        """A person was told that it is shared."""
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
        """Who answered the question of the round that is open; None: none is."""

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
                del self.shares[client.member]  # others may make up members
            client.member = None

    # -- holders --

    def begin_round(self, now: float, spared: frozenset[bytes] = frozenset()) -> None:
        """A question was asked of which we hear every answer, but for those of ``spared`` holders."""
        if self._answers is not None and now < self._round_since + ROUND_TIME:
            return  # answers to both cannot be told apart
        self.end_round(now)
        self._answers, self._round_since, self._spared = set(), now, spared

    def round_end(self) -> float:
        """Return when the open round ends."""
        return math.inf if self._answers is None else self._round_since + ROUND_TIME

    def end_round(self, now: float) -> None:
        """Draw the conclusions of a round whose time is over."""
        answers = self._answers
        if answers is None or now < self._round_since + ROUND_TIME:
            return
        self._answers = None
        if not answers:
            # A lost question says nothing about the holders.
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
        """A MAC address answered, or announced itself; tell whether it is the second one to one question."""
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
        """A member told the MAC address at which its host has the address."""
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
        # One that is leaving still has clients, and one that does not answer now may do so again.
        return len({owner(mac) for mac in self.holders} - {None}) > 1

    # -- callers --

    def heard_caller(self, node_id: bytes, now: float) -> None:
        """Another guard asked for the address."""
        self.callers.pop(node_id, None)
        if len(self.callers) >= MAX_CALLERS:
            del self.callers[next(iter(self.callers))]
        self.callers[node_id] = now

    def present_callers(self, now: float) -> list[bytes]:
        """Return the guards that go on asking."""
        return [node_id for node_id, heard in self.callers.items() if now - heard < CALLER_LIFE]


class AddressTable:
    """All addresses in use."""

    def __init__(self) -> None:
        self._records: dict[bytes, AddressRecord] = {}
        self._crowded: AddressRecord | None = None
        """One with many clients, from the last time that room was needed."""
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
        # Those used last stand at the end.
        self._records[address] = record
        record.seen = now
        return record

    def _make_room(self) -> None:
        """Forget the address not used for longest, one that was never shared if there is any."""
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
        """Make room for a client: the address with most of them gives way, unless this one has its fill."""
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
