"""Shares the clients of an address among its members (``balance=client``).

The owner of the address assigns a member to each client, by `pytinc.vip.assignment`, and tells the client
when it asks for the address and when its member has gone. The hosts of the members answer only their own
clients (`Sharing.answered`). The owner tells the other members as well (`pytinc.wire.assignment_record`). So
each of them can become the owner without moving the clients, and can lead a client that uses another member
to its assigned one.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from typing import Final

from pytinc.errors import PolicyError
from pytinc.vip.actions import SendRecord
from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.announcing import Announcing
from pytinc.vip.assignment import choose, surplus
from pytinc.vip.core import LOCAL_USE, Core, address_text, stretches
from pytinc.vip.members import HAND_OVER_TIME, Address, Member
from pytinc.wire import neighbour
from pytinc.wire.assignment_record import Assigned, AssignmentRecord, parse_assignments, portions
from pytinc.wire.ethernet import is_group
from pytinc.wire.neighbour import GUARD_MAC
from pytinc.wire.virtual_ip import Balance

REPEATS: Final = 4
"""How often the other members are told of a change: a record may be lost."""
STEP: Final = 0.1
"""Seconds between two batches of records."""
PACE: Final = 1000
"""Clients in one batch."""
CYCLE: Final = 10.0
"""Seconds in which the other members are told of every client once, even without changes."""
CYCLE_STEP: Final = 1.0
"""Seconds between two batches of these."""
HEAD_START: Final = 0.25
"""Seconds from telling the members of a move to telling the client. Otherwise the new member would not know
yet to whose connections the client's first segments belong."""


class _Book:
    """One address of which this node, or a ward of it, is a member, and whose clients are shared."""

    def __init__(self, known: Address, now: float) -> None:
        self.known = known
        self.leads = False
        """This node assigns the clients."""
        self.serving: dict[bytes, Member] = {}
        """The members that serve, by id."""
        self.there: frozenset[bytes] = frozenset()
        """The ids of all members that can be reached."""
        self.followers: frozenset[str] = frozenset()
        """The other members that follow the assignments of this node."""
        self.heard: dict[str, tuple[int, int]] = {}
        """Boot and sequence of the last record of each node that assigned the clients."""
        self.fresh: dict[bytes, int] = {}
        """Clients that the others must be told of, and how many more times."""
        self.cycle: list[bytes] = []
        """Clients that the others must still be told of in this cycle."""
        self.next_cycle = now
        self.next_send = now

    def member_of(self, client: Client) -> Member | None:
        """Return the member that serves a client; None if it has none."""
        return None if client.member is None else self.serving.get(client.member)

    def tell(self, clients: Iterable[bytes], times: int) -> None:
        """Tell the others of clients (MAC addresses)."""
        for mac in clients:
            self.fresh[mac] = max(times, self.fresh.get(mac, 0))

    def due(self) -> float:
        """Return when the others are told next."""
        if not self.leads:
            return math.inf
        return self.next_send if self.fresh else max(self.next_cycle, self.next_send)


class Sharing:
    """All addresses of which this node, or a ward of it, is a member, and whose clients are shared."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self.announcing = Announcing(core, self._holder_of)
        """Tells clients who serves, even where one member serves all."""
        self._books: dict[bytes, _Book] = {}
        self._boot = core.nonce()
        self._sequence = 0

    # -- who serves --

    def update(self, known: Address, members: Collection[Member], now: float) -> None:
        """Something may have changed about an address of which this node is a member."""
        record = self._core.table.use(known.address, now)
        if not known.balanced:
            self.forget(known.address)
            return
        book = self._books.setdefault(known.address, _Book(known, now))
        serving = {
            member.id: member for member in members if member.node in known.serving and any(member.mac)
        }
        leads = known.speaker == self._core.me
        if book.leads and not leads:
            self.announcing.stop(known.address)
        changed = leads and (not book.leads or serving.keys() != book.serving.keys())
        book.leads, book.serving = leads, serving
        book.there = frozenset(member.id for member in members)
        followers = frozenset(
            said.guardian or node
            for node, said in known.others.items()
            if said.entry.claim.holder == known.claim.holder
        )
        if leads and not followers <= book.followers:
            book.tell(record.clients, REPEATS)
        book.followers = followers
        if changed:
            self._give_lost(book, record, now)
        for client in record.clients.values():
            if client.former not in book.there:
                client.former = None  # see `Address.forget_former`

    def forget(self, address: bytes) -> None:
        """The clients of an address are not shared any more, or this node is no member."""
        record = self._core.table.get(address)
        if self._books.pop(address, None) is not None and record is not None:
            for client in record.clients.values():
                record.take_away(client)

    def _give_lost(self, book: _Book, record: AddressRecord, now: float) -> None:
        """Give a new member to each reachable client whose member no longer serves.

        A client that cannot be reached waits: this node may be the one that is cut off, and then other nodes
        know better which member serves that client.
        """
        lost = [
            client.mac
            for client in record.clients.values()
            if book.member_of(client) is None and _is_client(record, client) and self._is_there(client)
        ]
        if lost and book.serving:
            self._tell_of_lost(record, lost, now)
            self._give(book, record, dict.fromkeys(lost), now)

    def _tell_of_lost(self, record: AddressRecord, lost: Iterable[bytes], now: float) -> None:
        """Report the clients that move to other members as events, one for each member that they had."""
        core, members = self._core, (record.clients[mac].member for mac in lost)
        for node_id, count in Counter(member for member in members if member is not None).items():
            node = core.mesh.name_of(node_id)
            if node is None:
                continue  # it was purged
            detector = core.watch.get(node)
            is_silent = core.is_silenced(node) and detector is not None
            reason = "silent" if is_silent else "moved" if core.mesh.is_reachable(node) else "unreachable"
            silence = now - detector.last_heard if is_silent and detector is not None else None
            core.tell(
                "failover",
                address=address_text(record.address),
                reason=reason,
                from_node=node,
                to_node=None,  # several
                clients=count,
                **stretches(silence, core.detection(node, now) if is_silent else None),
                healing_ms=None,
                total_ms=None,
            )

    def _is_there(self, client: Client) -> bool:
        node = self._core.mesh.owner(client.mac)
        return node is not None and self._core.mesh.is_reachable(node)

    def _give(
        self, book: _Book, record: AddressRecord, clients: Mapping[bytes, bytes | None], now: float
    ) -> None:
        """Assign clients to members, and tell all about it; None: to the member that each should have."""
        if not book.serving:
            return
        moved = [record.clients[mac] for mac in clients]
        for client in moved:
            record.give(client, clients[client.mac] or self._choose(book, record, client), now)
        served = [client for client in moved if client.former in book.there]
        self._tell(book, record, [client for client in moved if client.former not in book.there], now)
        self._tell(book, record, served, now, begin=now + HEAD_START)

    def _holder_of(self, record: AddressRecord, client: Client) -> bytes | None:
        book = self._books.get(record.address)
        member = None if book is None else book.member_of(client)
        return None if member is None else member.mac

    def _choose(self, book: _Book, record: AddressRecord, client: Client) -> bytes:
        total = record.shares.total() + (client.member is None)
        weights = {node_id: member.weight for node_id, member in book.serving.items()}
        return choose(record.address, client.mac, weights, record.shares, total)

    def _tell(
        self,
        book: _Book,
        record: AddressRecord,
        clients: Iterable[Client],
        now: float,
        *,
        begin: float | None = None,
    ) -> None:
        """Tell clients who serves them, and tell the other members if this node assigns the clients.

        ``begin``: when the clients are told first, if not now.
        """
        macs = [client.mac for client in clients]
        if macs:
            self.announcing.tell(record, macs, now if begin is None else begin, now)
            if book.leads:
                book.tell(macs, REPEATS)

    # -- what clients do --

    def asked(self, record: AddressRecord, client: Client, to: bytes, note: bytes, now: float) -> bool:
        """A client asked for the address; tell whether it got a member just now.

        ``to``: the MAC address that it asked; ``note``: in the notice of another guard, the one that it uses.
        """
        book = self._books.get(record.address)
        if book is None or not _is_client(record, client):
            return False
        is_new = self._take_in(book, record, client, note, now)
        member = book.member_of(client)
        if member is None or to == member.mac or note == member.mac:
            return is_new  # its member answers
        to_all = is_group(to) or to == GUARD_MAC
        if (book.leads and to_all) or to in self._core.own_holders(record):
            self._core.send(neighbour.claim(member.mac, record.address, client.mac, client.address))
            client.believe(member.mac, now)
        return is_new

    def used(self, record: AddressRecord, client: Client, holder: bytes, now: float) -> bool:
        """A client's frames show that it began to use a holder; tell whether that became its member."""
        book = self._books.get(record.address)
        if book is None or not _is_client(record, client):
            return False
        is_new = self._take_in(book, record, client, holder, now)
        self._lead_back(book, record, client, holder, now, begin=now)
        return is_new

    def _take_in(self, book: _Book, record: AddressRecord, client: Client, holder: bytes, now: float) -> bool:
        """Assign a member to a client without one; preferably the member that it uses already."""
        if not book.leads or not book.serving or book.member_of(client) is not None:
            return False
        used = (node_id for node_id, member in book.serving.items() if member.mac == holder)
        record.give(client, next(used, None) or self._choose(book, record, client), now)
        book.tell([client.mac], REPEATS)
        return True

    def _lead_back(
        self, book: _Book, record: AddressRecord, client: Client, holder: bytes, now: float, *, begin: float
    ) -> None:
        member = book.member_of(client)
        if member is not None and member.mac != holder and not self._sends_flows(book.known, client):
            self._tell(book, record, [client], now, begin=begin)

    def _sends_flows(self, known: Address, client: Client) -> bool:
        """Tell whether a client's own node sends its flows to all members (`pytinc.vip.flows`)."""
        core, is_flow = self._core, known.balance is Balance.FLOW
        return is_flow and (core.is_local(client) or core.is_guarded(client))

    def answered(self, record: AddressRecord) -> frozenset[bytes] | None:
        """Return the MAC addresses that our host answers for an address: its own clients, and guards.

        None: the clients of the address are not shared.
        """
        book, me = self._books.get(record.address), self._core.my_id
        if book is None:
            return None
        own = {client.mac for client in record.clients.values() if client.member == me}
        return frozenset(own | ({GUARD_MAC} if me in book.serving else set()))

    def taken_over(
        self, known: Address, present: Mapping[bytes, bytes], now: float
    ) -> dict[bytes, tuple[bytes, float]]:
        """Return the clients that moved to us or away lately; see `pytinc.vip.policy.Policy.taken_over`.

        ``present``: the MAC addresses of the hosts of reachable members, by id.
        """
        record, found = self._core.table.use(known.address, now), dict[bytes, tuple[bytes, float]]()
        for client in record.clients.values():
            until, former = client.moved + HAND_OVER_TIME, self._former(client)
            if former is None or former not in present or self._sends_flows(known, client):
                continue
            if now < until:
                found[client.mac + known.address] = present[former], until
        return found

    def _former(self, client: Client) -> bytes | None:
        """Return the member that a client's unnoted connections belong to; None if the client is not ours.

        If this node gave the client back, the connections still belong to its present member.
        """
        me = self._core.my_id
        if client.former == me and client.returned:
            return client.member
        return client.former if me in (client.member, client.former) else None

    def clients_of(self, address: bytes, node_id: bytes) -> int | None:
        """Return how many clients a member has; None if they are not shared, or this node is no member."""
        record = self._core.table.get(address)
        return None if address not in self._books or record is None else record.shares[node_id]

    def is_used(self, now: float, life: float) -> bool:
        """Tell whether a client has used our host within so many seconds."""
        core = self._core
        records = [record for record in core.table if record.address in self._books]
        return any(
            now - core.mesh.last_use(holder, mac, record.address) < life
            for record in records
            for holder in core.own_holders(record)
            for mac in record.clients
        )

    # -- orders --

    def tell_all(self, address: bytes, now: float) -> None:
        """Tell all clients of an address who serves them, because another node has told them otherwise."""
        book, record = self._books.get(address), self._core.table.use(address, now)
        if book is not None and book.leads:
            self._tell(book, record, record.clients.values(), now)

    def came_back(self, node: str, now: float) -> None:
        """A node is in the mesh again: tell its stations who serves them now, as they may have missed it."""
        owner = self._core.mesh.owner
        for address, book in self._books.items():
            record = self._core.table.use(address, now)
            if book.leads:
                self._give_lost(book, record, now)
                clients = [client for client in record.clients.values() if owner(client.mac) in (None, node)]
                self._tell(book, record, clients, now)

    def rebalance(self, address: bytes, now: float) -> None:
        """Move clients so that no member has more than its share; PolicyError says why that is impossible."""
        book, text = self._books.get(address), address_text(address)
        if book is None:
            raise PolicyError(f"one member serves all clients of {text}: its balance is failover")
        if not book.leads:
            raise PolicyError(f"{book.known.speaker or 'nobody'} gives the clients of {text} their members")
        record = self._core.table.use(address, now)
        clients = [(mac, client.member) for mac, client in record.clients.items() if client.member]
        weights = {node_id: member.weight for node_id, member in book.serving.items()}
        self._give(book, record, dict(surplus(address, clients, weights)), now)

    # -- records --

    def record(self, node: str, payload: bytes, now: float) -> bool:
        """Take an assignment record of another node; tell whether it counts. DecodeError if malformed."""
        told = parse_assignments(payload)
        book = self._books.get(told.address)
        if book is None or book.known.speaker != node:
            return False
        if book.known.claim[:2] != (told.term, told.holder):
            return False  # the two nodes do not agree on the owner yet, or no longer
        boot, sequence = book.heard.get(node, (None, 0))
        if boot == told.boot and told.sequence <= sequence:
            return False
        book.heard = {node: (told.boot, told.sequence)}
        core, record = self._core, self._core.table.use(told.address, now)
        for mac, address, member in told.clients:
            client = record.clients.get(mac) or core.table.client(record, mac, address, now)
            record.give(client, member, now)
            since, holder = core.last_use(record, client)
            if holder in core.own_holders(record) and max(client.told, now - LOCAL_USE) < since:
                self._lead_back(book, record, client, holder or b"", now, begin=now + HEAD_START)
        return True

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return min([book.due() for book in self._books.values()], default=math.inf)

    def tick(self, now: float) -> None:
        """Send the records that are due to the other members."""
        for book in self._books.values():
            if now >= book.due():
                record = self._core.table.use(book.known.address, now)
                self._continue_cycle(book, record, now)
                self._send(book, record, now)

    def _continue_cycle(self, book: _Book, record: AddressRecord, now: float) -> None:
        if now < book.next_cycle:
            return
        book.next_cycle = now + CYCLE_STEP
        self._give_lost(book, record, now)
        book.cycle = book.cycle or list(record.clients)
        size = math.ceil(len(record.clients) * CYCLE_STEP / CYCLE)
        lot, book.cycle = book.cycle[:size], book.cycle[size:]
        book.tell(lot, 1)

    def _send(self, book: _Book, record: AddressRecord, now: float) -> None:
        book.next_send = now + STEP
        assigned = []
        for mac in list(book.fresh)[:PACE]:
            client, times = record.clients.get(mac), book.fresh.pop(mac)
            if client is not None and client.member is not None:
                assigned.append(Assigned(mac, client.address, client.member))
                if times > 1:
                    book.fresh[mac] = times - 1  # moves to the end of the queue
        claim = book.known.claim
        targets = sorted(set(self._core.mesh.record_peers()).intersection(book.known.speakers))
        for portion in portions(len(record.address), assigned):
            self._sequence += 1
            payload = AssignmentRecord(
                self._boot, self._sequence, record.address, claim.term, claim.holder, portion
            ).pack()
            self._core.actions += [SendRecord(node, payload) for node in targets]


def _is_client(record: AddressRecord, client: Client) -> bool:
    """Tell whether a station needs a member: the hosts of members do not."""
    return client.mac not in record.holders
