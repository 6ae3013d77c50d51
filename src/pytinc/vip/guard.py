"""The guard of shared addresses: the front door of this package (docs/virtual-ip.md).

Several hosts of a switched network have one address; a client uses the one whose answer it believed, and believes
it for up to a minute after that host died. The guard notices who uses what, watches the nodes that matter, and
when one falls silent asks for the address in the clients' names: what a surviving host answers is what clients
believe from then on. Nothing has to be configured, and neither members nor clients need to be pytinc nodes.

Events go in, `take_actions` tells what to do, `next_deadline` when to come back. Facts about the mesh are asked
for (`pytinc.vip.actions.Mesh`). Who does the work:

* the clients' own node, for stations behind its own device: it sees whom they use;
* for clients behind C nodes, up to `CALLERS` guards of the mesh that ask for the address now and then (callers).
  They hear each other's questions, and those of lower rank stand by;
* a member that stops, for its own clients.
"""

from __future__ import annotations

import hashlib
import ipaddress
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import Final, NamedTuple

from pytinc.vip.actions import (
    Action,
    AskMeta,
    Changed,
    Gone,
    KeepWarm,
    Mesh,
    NewRules,
    Notice,
    Rules,
    SendFrame,
    SetSilent,
)
from pytinc.vip.addresses import CALLER_LIFE, AddressRecord, AddressTable, Client
from pytinc.vip.detector import State
from pytinc.vip.healing import Healing
from pytinc.vip.stations import OwnStations
from pytinc.vip.views import (
    AddressView,
    ClientView,
    FailoverView,
    GuardCounters,
    GuardView,
    HolderState,
    HolderView,
)
from pytinc.vip.watch import Change, Watch
from pytinc.wire import neighbour
from pytinc.wire.ethernet import is_group
from pytinc.wire.neighbour import GUARD_ADDRESS, GUARD_MAC, NOBODY, Kind, Message

CALLERS: Final = 3
"""Guards that work for clients behind C nodes, for each address."""
REVIEW_INTERVAL: Final = 1.0
"""Seconds between two looks at who is to be watched."""
PRUNE_INTERVAL: Final = 30.0
LOCAL_USE: Final = 10.0
"""Seconds after its last frame for which a station behind the own device uses a holder."""
RECENT_USE: Final = 60.0
"""Seconds for which the last frame tells which holder a station would use."""
GRACE: Final = 60.0
"""Seconds for which a client is remembered whose MAC address nobody owns."""
CLIENT_LIFE: Final = 86_400.0
"""Seconds after its last question for which a client counts whose MAC address is still announced: a kernel may
live on one answer for as long as it has traffic."""
IDLE_LIFE: Final = 600.0
"""Seconds for which an address is remembered that nobody uses."""
FIRST_QUESTION: Final = (0.2, 0.7)
"""Seconds after its first use until we ask for an address, chosen at random between these."""
SHARED_REST: Final = 30.0
"""Seconds between two questions of one guard for a shared address."""
FIRST_REST: Final = 60.0
LONGEST_REST: Final = 600.0
"""Seconds between two questions for an address that is not shared; twice as long each time."""
SPREAD: Final = (0.75, 1.25)
"""These times are multiplied by a number chosen at random between these."""
QUESTIONS_PER_SECOND: Final = 10.0
QUESTION_BURST: Final = 20.0
CLAIM_TIME: Final = 10.0
"""Seconds for which nothing is asked about an address that a host is claiming (RFC 5227: 5 to 7)."""
MAX_CLAIMS: Final = 256
REMOTE_DELAY: Final = (0.01, 0.05)
"""Seconds after the verdict until we ask for clients of other nodes, chosen at random between these."""
CORRECTION_DELAY: Final = 0.02
CORRECTION_RESTS: Final = (1.0, 10.0, 30.0)
"""Seconds between corrections of one client."""
MAX_CORRECTIONS: Final = 1024
WARM_INTERVAL: Final = 8.0
MAX_WARM: Final = 256
"""Nodes of clients to which a caller keeps a path."""
EVIDENCE_TIME: Final = 1.0
"""Seconds after which a failover is told without having seen the new holder."""
FORGET_HEALING: Final = 10.0
SHORTEST_WITHDRAWAL: Final = 0.35
LONGEST_WITHDRAWAL: Final = 1.3
QUIET_TIME: Final = 0.2
"""Seconds without a frame of a client after which a withdrawal is over."""
WITHDRAWAL_STEP: Final = 0.05
PROBE_SIZE: Final = 51
"""Bytes of UDP payload of a probe."""
_IPV4_SIZE: Final = 4
_LINK_LOCAL: Final = b"\xfe\x80"
_NONCES: Final = 1 << 32


class _Correction(NamedTuple):
    due: float
    address: bytes
    client: bytes
    holder: bytes


class Guard:
    """Everything about shared addresses."""

    def __init__(self, me: str, my_id: bytes, mesh: Mesh, random_float: Callable[[], float]) -> None:
        self._me = me
        self._my_id = my_id
        self._mesh = mesh
        self._random = random_float
        self._actions: list[Action] = []
        self._table = AddressTable()
        self._own = OwnStations()
        self._watch = Watch(mesh, int(random_float() * _NONCES))
        self._healings: list[Healing] = []
        self._corrections: list[_Correction] = []
        self._left: dict[str, float] = {}
        """Nodes whose clients were led elsewhere, and when, until they are back."""
        self._meta_answers: dict[str, float] = {}
        self._claims: dict[bytes, float] = {}
        self._credit = QUESTION_BURST
        self._credit_at = -math.inf
        self._enabled = False
        self._has_addresses = False
        self._withdrawing: float | None = None
        """Since when; None: we are not."""
        self._withdrawal_due = math.inf
        self._gone = False
        self._asked_v6 = -math.inf
        self._due = math.inf
        """When `tick` wanted to be called."""
        self._record_due = math.inf
        self._next_review = math.inf
        self._next_prune = -math.inf
        self._next_warm = -math.inf
        self._counters = GuardCounters()
        self._last_failover_s: float | None = None
        self.rules = Rules()
        """What the data path is to do now."""

    # -- life --

    def configure(self, now: float, *, enabled: bool, addresses: bool, interval: float) -> None:
        """Take over settings; ``addresses``: there is ARP to listen to (switch mode), not only subnets."""
        self._watch.set_interval(interval)
        self._has_addresses = enabled and addresses
        self._enabled = enabled
        if enabled:
            self._next_review = now
            return
        self._watch.set_wanted((), now)
        self._apply_changes(now)
        self._table, self._own = AddressTable(), OwnStations()
        self._healings.clear()
        self._corrections.clear()
        self._left.clear()
        self._record_due = self._next_review = math.inf
        self._set_rules(Rules())

    def take_actions(self) -> list[Action]:
        """Return what is to be done, in order, and forget it."""
        actions, self._actions = self._actions, []
        return actions

    def withdraw(self, now: float) -> None:
        """Lead our own clients elsewhere before the node stops. `Gone` tells when that is done."""
        if self._withdrawing is not None:
            return
        self._withdrawing = now
        for record in list(self._table):
            self._withdraw_from(record, now)
        if not self._healings:
            self._end_withdrawal()
        self._review(now)
        self._ask_due(now)

    # -- what happens in the mesh --

    def probe_answered(self, node: str, nonce: bytes, now: float) -> bool:
        """Take the answer to a probe; False if it is none of ours."""
        known = self._watch.answered(node, nonce, now)
        self._apply_changes(now)
        return known

    def heard(self, node: str, now: float) -> None:
        """An authentic datagram that is no frame came from a node."""
        self._watch.heard(node, now)
        self._apply_changes(now)

    def meta_answered(self, node: str, now: float) -> None:
        """A node answered over meta connections."""
        if node in self._watch:
            self._meta_answers[node] = now

    def connection_closed(self, node: str, now: float) -> None:
        """A meta connection with a node ended."""
        self._watch.hurry(node, now)
        self._apply_changes(now)

    def reachability(self, node: str, now: float, *, reachable: bool) -> None:
        """A node joined the graph, or left it."""
        if not self._enabled:
            return
        self._next_review = now
        if reachable:
            self._left.pop(node, None)
            return
        detector = self._watch.get(node)
        silence = now - detector.last_heard if detector is not None and detector.proved else 0.0
        self._watch.forget(node)
        self._apply_changes(now)
        self._holder_gone(node, "unreachable", silence, now)

    # -- what passes through the switch --

    def message(self, message: Message, now: float, *, from_device: bool) -> None:
        """Take ARP or neighbour discovery that passed; ``from_device``: a station behind our device sent it."""
        if not self._has_addresses:
            return
        match message.kind:
            case Kind.QUESTION | Kind.PROBE if message.mac == GUARD_MAC:
                self._on_lone_question(message, now)
            case Kind.QUESTION if message.target == GUARD_ADDRESS:
                if now - self._asked_v6 < SHARED_REST:
                    self._send(neighbour.guard_answer(message.mac, message.address))
            case Kind.QUESTION:
                self._on_question(message, now, from_device=from_device)
            case Kind.PROBE:
                self._on_claim(message, now)
            case _:
                self._on_answer(message, now, from_device=from_device)

    def used(self, holder: bytes, client: bytes, own: bytes, address: bytes, now: float) -> None:
        """A station with address ``own`` began to send to ``address`` at a holder that is watched."""
        record = self._table.get(address)
        if record is not None and holder in record.holders:
            self._table.client(record, client, own, now).holder = holder
            self._next_review = now

    def _on_question(self, message: Message, now: float, *, from_device: bool) -> None:
        if from_device:
            self._note_own(message, now)
        else:
            self._on_assertion(message, now)
        if message.target.startswith(_LINK_LOCAL) and len(message.target) > _IPV4_SIZE:
            return
        record = self._table.use(message.target, now)
        client = self._table.client(record, message.mac, message.address, now)
        if is_group(message.to):
            if from_device:
                record.begin_round(now)
                self._wake(record.round_end())
        elif message.to in record.holders:
            client.holder = message.to  # it makes sure that this one is still there
        self._schedule_first(record, now)

    def _on_claim(self, message: Message, now: float) -> None:
        self._claims.pop(message.target, None)
        if len(self._claims) >= MAX_CLAIMS:
            del self._claims[next(iter(self._claims))]
        self._claims[message.target] = now + CLAIM_TIME

    def _on_answer(self, message: Message, now: float, *, from_device: bool) -> None:
        if from_device:
            self._note_own(message, now)
        record = self._table.get(message.address)
        if record is None or message.mac == GUARD_MAC:
            return
        record.answer(message.mac, now)
        if record.verified and not record.reported and record.is_shared(self._mesh.owner):
            self._next_review = now
        if message.kind is Kind.ANNOUNCEMENT:
            for client in record.clients.values():
                client.holder = message.mac
            return
        for healing in self._healings:
            if (
                healing.record is record
                and now >= healing.begin
                and message.mac not in healing.gone
                and (message.to in healing.waiting or message.mac == healing.chosen)
            ):
                self._note_evidence(healing, message.mac, now)

    def _on_lone_question(self, message: Message, now: float) -> None:
        """Another guard wants to know who has an address."""
        record = self._table.get(message.target)
        if record is None or message.note == self._my_id:
            return
        record.heard_caller(message.note, now)
        record.begin_round(now)
        self._wake(record.round_end())
        for healing in self._healings:
            if healing.record is record and healing.remote:
                healing.hush()
        if not record.is_shared(self._mesh.owner):
            record.next_question = now + self._rest(record)

    def _on_assertion(self, message: Message, now: float) -> None:
        """A question of another node's host says that its sender has an address: hosts that hear it believe it."""
        record = self._table.get(message.address)
        if record is None or not record.is_shared(self._mesh.owner):
            return
        if not is_group(message.to):
            client = record.clients.get(message.to)
            if client is not None and message.mac in record.holders:
                client.holder = message.mac
            return
        if message.mac not in record.holders:
            record.next_question = min(record.next_question, now + FIRST_QUESTION[1])
            self._wake(record.next_question)
            return
        leads = self._rank(record, now) == 0
        for client in record.clients.values():
            if client.mac == message.mac or self._is_local(client):
                continue
            if client.holder is None or not self._serves(record, client.holder, now):
                client.holder = message.mac
            elif client.holder != message.mac and leads:
                self._correct_soon(record, client, now)

    def _note_own(self, message: Message, now: float) -> None:
        """A host behind our device has an address."""
        if message.address == NOBODY or message.mac == GUARD_MAC:
            return
        self._own.note(message.mac, message.address, now)
        if message.address.startswith(_LINK_LOCAL) and len(message.address) > _IPV4_SIZE:
            return
        if self._own.is_full and self._table.get(message.address) is None:
            return
        record = self._table.use(message.address, now)
        record.own_seen = now
        self._schedule_first(record, now)

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        if not self._enabled:
            self._due = math.inf
            return math.inf
        due = min(self._watch.next_deadline(), self._record_due, self._next_review)
        for healing in self._healings:
            due = min(due, healing.next_deadline(), self._tell_due(healing))
        for correction in self._corrections:
            due = min(due, correction.due)
        if self._withdrawing is not None and not self._gone:
            due = min(due, self._withdrawal_due)
        self._due = due
        return due

    def tick(self, now: float) -> None:
        """Do what is due."""
        if not self._enabled:
            return
        if now > self._due:
            self._watch.excuse(now, now - self._due)
        self._actions += self._watch.tick(now)
        self._apply_changes(now)
        if now >= self._record_due:
            self._tick_records(now)
        if now >= self._next_review:
            self._review(now)
        self._ask_due(now)
        self._correct_due(now)

    def _apply_changes(self, now: float) -> None:
        for change in self._watch.take_changes():
            self._on_change(change, now)

    def _on_change(self, change: Change, now: float) -> None:
        node, detector = change.node, self._watch.get(change.node)
        match change.after:
            case State.SUSPECT:
                self._count(suspicions=1)
                self._next_review = now
                self._actions.append(AskMeta(node))
                self._log(3, "debug", f"{node} does not answer probes")
            case State.SILENT:
                self._actions.append(SetSilent(node, silent=True))
                silence = now - detector.last_heard if detector is not None else 0.0
                self._log(2, "info", f"{node} is silent for {silence:.2f} s")
                for silent in self._behind(node):
                    self._holder_gone(silent, "silent", silence, now)
            case None:
                # Whoever is not watched does not count as silent.
                self._actions.append(SetSilent(node, silent=False))
            case State.ALIVE:
                if change.before is State.SUSPECT:
                    self._count(false_suspicions=1)
                else:
                    self._actions.append(SetSilent(node, silent=False))
                    self._log(2, "info", f"{node} answers again")
                for alive in self._behind(node):
                    if self._mesh.is_reachable(alive):
                        self._left.pop(alive, None)
                    for healing in self._healings:
                        if healing.node == alive and healing.reason == "silent":
                            healing.end()
                self._next_review = now

    def _behind(self, hop: str) -> list[str]:
        """Return the nodes that are as silent as ``hop``: itself, and those that it relays to."""
        nodes = {
            owner
            for record in self._table
            for holder in record.holders
            if (owner := self._mesh.owner(holder)) is not None and self._mesh.first_hop(owner) == hop
        }
        return sorted({hop} | nodes)

    # -- who is asked for what, and watched --

    def _schedule_first(self, record: AddressRecord, now: float) -> None:
        if record.next_question == math.inf:
            record.next_question = now + self._between(FIRST_QUESTION)
        self._wake(record.next_question)

    def _wake(self, due: float) -> None:
        self._record_due = min(self._record_due, due)

    def _tick_records(self, now: float) -> None:
        """End rounds, and ask for addresses in our own name."""
        due = math.inf
        for record in self._table:
            if now >= record.round_end():
                record.end_round(now)
                self._next_review = now
            if now >= record.next_question:
                self._ask_alone_if_useful(record, now)
            due = min(due, record.round_end(), record.next_question)
        self._record_due = due

    def _ask_alone_if_useful(self, record: AddressRecord, now: float) -> None:
        claimed = self._claims.get(record.address, -math.inf)
        shared = record.is_shared(self._mesh.owner)
        if now < claimed:
            record.next_question = claimed
        elif not self._is_used(record, now):
            record.next_question = math.inf
        elif shared and self._rank(record, now) >= CALLERS:
            record.next_question = now + self._between(SPREAD) * SHARED_REST
        elif not self._spend(now):
            record.next_question = now + 1 / QUESTIONS_PER_SECOND
        else:
            self._ask_alone(record, now)
            record.next_question = now + self._rest(record)

    def _rest(self, record: AddressRecord) -> float:
        if record.is_shared(self._mesh.owner):
            record.rest = 0.0
            return self._between(SPREAD) * SHARED_REST
        record.rest = min(max(2 * record.rest, FIRST_REST), LONGEST_REST)
        return self._between(SPREAD) * record.rest

    def _ask_alone(self, record: AddressRecord, now: float) -> None:
        """Ask for an address in no client's name; every guard hears the question and all answers."""
        address = NOBODY if len(record.address) == _IPV4_SIZE else GUARD_ADDRESS
        self._send(neighbour.question(GUARD_MAC, address, record.address, note=self._my_id))
        if address:
            self._asked_v6 = now
        record.asked = now
        record.begin_round(now)
        self._wake(record.round_end())
        self._count(lone_questions=1)

    def _spend(self, now: float) -> bool:
        """Take leave to ask one more question in our own name."""
        self._credit = min(
            QUESTION_BURST, self._credit + max(now - self._credit_at, 0.0) * QUESTIONS_PER_SECOND
        )
        self._credit_at = now
        if self._credit < 1:
            return False
        self._credit -= 1
        return True

    def _rank(self, record: AddressRecord, now: float) -> int:
        """Return how many guards that ask for the address come before us."""

        def key(node_id: bytes) -> bytes:
            return hashlib.blake2b(record.address + node_id, digest_size=8).digest()

        mine = key(self._my_id)
        return sum(
            key(node_id) < mine
            for node_id in record.present_callers(now)
            if (name := self._mesh.name_of(node_id)) is not None
            and self._mesh.is_reachable(name)
            and name not in self._left
        )

    def _is_caller(self, record: AddressRecord, now: float) -> bool:
        return now - record.asked < CALLER_LIFE and self._rank(record, now) < CALLERS

    def _is_local(self, client: Client) -> bool:
        return self._mesh.owner(client.mac) == self._me

    def _is_used(self, record: AddressRecord, now: float) -> bool:
        """Tell whether anybody uses an address."""
        if now - record.own_seen < IDLE_LIFE:
            return True
        return any(self._uses(record, client, now) for client in record.clients.values())

    def _uses(self, record: AddressRecord, client: Client, now: float) -> bool:
        if self._is_local(client):
            return now - max(client.seen, self._last_use(record, client)[0]) < LOCAL_USE
        return now - client.seen < GRACE or self._mesh.owner(client.mac) is not None

    def _last_use(self, record: AddressRecord, client: Client) -> tuple[float, bytes | None]:
        """Return when frames of a client last passed us on their way to a holder, and which one."""
        uses = [(self._mesh.last_use(holder, client.mac), holder) for holder in record.holders]
        return max(uses, default=(-math.inf, None))

    def _review(self, now: float) -> None:
        """Look anew at what is shared, who is to be watched, and what the data path is to do."""
        self._next_review = now + REVIEW_INTERVAL if len(self._table) or self._watch else math.inf
        if now >= self._next_prune:
            self._next_prune = now + PRUNE_INTERVAL
            self._prune(now)
        shared = [record for record in self._table if record.is_shared(self._mesh.owner)]
        wanted = set(self._mesh.rivals(now))
        warm: set[str] = set()
        for record in shared:
            if not record.reported:
                self._report_shared(record)
            wanted |= self._wanted(record, now)
            if self._is_caller(record, now):
                warm |= {owner for mac in record.clients if (owner := self._mesh.owner(mac)) is not None}
        wanted.discard(self._me)
        hops = {hop for node in wanted if (hop := self._mesh.first_hop(node)) is not None}
        # Whoever is silent stays watched, even where its frames go another way meanwhile.
        hops |= {node for node in wanted if node in self._watch and self._mesh.is_reachable(node)}
        self._watch.set_wanted(hops, now)
        self._apply_changes(now)
        self._keep_warm(wanted, warm - wanted - {self._me}, now)
        self._healings = [
            healing
            for healing in self._healings
            if not (healing.is_over and healing.told and now > healing.begin + FORGET_HEALING)
        ]
        self._set_rules(self._make_rules(shared, now))
        if wanted:
            self._next_review = now + REVIEW_INTERVAL

    def _wanted(self, record: AddressRecord, now: float) -> set[str]:
        """Return the nodes behind a shared address of which we must know whether they are there."""
        nodes = {
            mac: owner for mac in record.holders if (owner := self._mesh.owner(mac)) not in (None, self._me)
        }
        everyone = {owner for owner in nodes.values() if owner is not None}
        used: set[str] = set()
        is_caller = self._is_caller(record, now)
        for client in record.clients.values():
            if self._is_local(client):
                since, holder = self._last_use(record, client)
                owner = nodes.get(holder) if holder is not None else None
                if now - since < LOCAL_USE and owner is not None:
                    used.add(owner)
            elif is_caller and self._uses(record, client, now) and not self._is_guarded(client):
                return everyone
        used |= everyone & self._left.keys()
        suspect = any(
            (detector := self._watch.get(node)) is not None and detector.state is not State.ALIVE
            for node in used - self._left.keys()
        )
        # Whom to ask instead matters only while somebody is suspect.
        return everyone if suspect else used

    def _is_guarded(self, client: Client) -> bool:
        """Tell whether the client's own node takes care of it."""
        owner = self._mesh.owner(client.mac)
        return owner is not None and owner != self._me and self._mesh.is_guard(owner)

    def _keep_warm(self, watched: Iterable[str], others: Iterable[str], now: float) -> None:
        self._actions += [KeepWarm(node) for node in sorted(watched)]
        if now >= self._next_warm:
            self._next_warm = now + WARM_INTERVAL
            self._actions += [KeepWarm(node) for node in sorted(others)[:MAX_WARM]]

    def _prune(self, now: float) -> None:
        for record in list(self._table):
            for client in list(record.clients.values()):
                age = now - client.seen
                if age > CLIENT_LIFE or (age > GRACE and self._mesh.owner(client.mac) is None):
                    self._table.drop_client(record, client.mac)
            if not record.clients and now - max(record.seen, record.own_seen) > IDLE_LIFE:
                self._table.forget(record)
        for claimed in [address for address, until in self._claims.items() if now >= until]:
            del self._claims[claimed]
        for node in [node for node, since in self._left.items() if now - since > IDLE_LIFE]:
            if node not in self._watch:
                del self._left[node]
        self._own.prune(now)

    def _report_shared(self, record: AddressRecord) -> None:
        record.reported = True
        holders = " and ".join(
            f"{self._mesh.owner(holder.mac) or 'nobody'} ({_mac_text(holder.mac)})"
            for holder in record.present()
        )
        self._log(
            0,
            "notice",
            f"{_text(record.address)} is held by {holders}: guarded as a shared address. "
            "If it is no virtual IP, these hosts have the same address by mistake.",
        )

    # -- rules for the data path --

    def _make_rules(self, shared: list[AddressRecord], now: float) -> Rules:
        senders: dict[bytes, bytes] = {}
        in_use: dict[bytes, bytes] = {}
        macs: set[bytes] = set()
        addresses = {record.address for record in shared}
        for record in shared:
            macs.update(record.holders)
            own = next((mac for mac in record.holders if self._mesh.owner(mac) == self._me), None)
            if own is not None:
                sender = self._own.other_address(own, record.address, addresses)
                if sender is not None:
                    senders[record.address] = sender
                continue
            used = [
                self._last_use(record, client) for client in record.clients.values() if self._is_local(client)
            ]
            since, holder = max(used, default=(-math.inf, None))
            if holder is not None and now - since < RECENT_USE and self._serves(record, holder, now):
                in_use[record.address] = holder
        known = {
            address
            for address in self._own.addresses()
            if address not in addresses and self._is_verified(address)
        }
        withheld = {healing.record.address for healing in self._healings if healing.reason == "withdrawn"}
        return Rules(frozenset(macs), senders, frozenset(known), frozenset(withheld), in_use)

    def _is_verified(self, address: bytes) -> bool:
        """Tell whether it is known who has an address, or nobody is going to find out."""
        record = self._table.get(address)
        return record is None or record.verified

    def _set_rules(self, rules: Rules) -> None:
        if rules != self.rules:
            self.rules = rules
            self._actions.append(NewRules())

    # -- a holder is gone --

    def _holder_gone(self, node: str, reason: str, silence: float, now: float) -> None:
        """Lead the clients of a node's holders elsewhere."""
        if not self._has_addresses or node in self._left or node == self._me:
            return
        self._left[node] = now
        alive_by_meta = self._spoke_over_meta(node)
        for record in list(self._table):
            gone = frozenset(mac for mac in record.holders if self._mesh.owner(mac) == node)
            if not gone or not record.is_shared(self._mesh.owner):
                continue
            local, remote = self._clients_of(record, gone, node, now)
            if local:
                self._heal(record, node, gone, local, reason, silence, now, remote=False)
            direct = self._mesh.first_hop(node) in (node, None)
            if remote and not alive_by_meta and (direct or reason != "silent"):
                own = any(self._mesh.owner(mac) == self._me for mac in record.holders)
                begin = now if own else now + self._between(REMOTE_DELAY)
                self._heal(record, node, gone, remote, reason, silence, begin, remote=True)
        self._next_review = now

    def _spoke_over_meta(self, node: str) -> bool:
        """Tell whether a silent node answered over meta connections: only our UDP path to it is broken."""
        detector = self._watch.get(node)
        answered = self._meta_answers.get(node, -math.inf)
        return detector is not None and answered >= detector.suspect_since > -math.inf

    def _clients_of(
        self, record: AddressRecord, gone: frozenset[bytes], node: str, now: float
    ) -> tuple[list[Client], list[Client]]:
        """Return the clients that may use a holder that is gone: our own, and those we care for."""
        local: list[Client] = []
        remote: list[Client] = []
        is_caller = self._is_caller(record, now)
        for client in record.clients.values():
            owner = self._mesh.owner(client.mac)
            if client.mac in record.holders or owner is None or owner == node:
                continue
            since, used = self._last_use(record, client)
            holder = used if now - since < RECENT_USE else client.holder
            if holder is not None and holder not in gone and self._serves(record, holder, now):
                continue
            if owner == self._me:
                local.append(client)
            elif is_caller and self._mesh.is_reachable(owner) and not self._is_guarded(client):
                remote.append(client)
        return local, remote

    def _heal(
        self,
        record: AddressRecord,
        node: str,
        gone: frozenset[bytes],
        clients: list[Client],
        reason: str,
        silence: float,
        begin: float,
        *,
        remote: bool,
    ) -> None:
        self._healings.append(
            Healing(record, node, gone, clients, reason=reason, silent_s=silence, begin=begin, remote=remote)
        )
        self._count(failovers=1)

    def _ask_due(self, now: float) -> None:
        """Ask in the clients' names what is due, and see whether they have moved."""
        for healing in self._healings:
            self._look_for_moves(healing, now)
            first = healing.asked == 0
            questions = healing.questions(now, partial(self._candidates, healing, now))
            if questions and first and healing.remote and self._spend(now):
                self._ask_alone(healing.record, now)
            for client, to in questions:
                self._send(neighbour.question(client.mac, client.address, healing.record.address, to=to))
                if to is not None:
                    client.holder = to
            self._count(questions=len(questions))
            if not healing.told and now >= self._tell_due(healing):
                self._tell(healing)
        if self._withdrawing is not None and not self._gone:
            self._look_for_end(now)

    def _candidates(self, healing: Healing, now: float, client: Client) -> list[bytes]:
        """Return the holders to which a client may be led: those known to be well if there are any."""
        record = healing.record
        serving = [
            holder.mac
            for holder in record.present()
            if holder.mac not in healing.gone
            and holder.mac != client.mac
            and self._serves(record, holder.mac, now)
        ]
        steady = [mac for mac in serving if self._is_steady(mac, now)]
        return steady or serving

    def _serves(self, record: AddressRecord, mac: bytes, now: float) -> bool:
        """Tell whether a holder can be expected to serve."""
        owner = self._mesh.owner(mac)
        if mac not in record.holders or owner is None or owner in self._left:
            return False
        if owner == self._me:
            return self._withdrawing is None
        hop = self._mesh.first_hop(owner)
        detectors = [self._watch.get(node) for node in (owner, hop) if node is not None]
        return self._mesh.is_reachable(owner) and all(
            detector is None or detector.state is State.ALIVE for detector in detectors
        )

    def _is_steady(self, mac: bytes, now: float) -> bool:
        owner = self._mesh.owner(mac)
        detector = self._watch.get(owner) if owner is not None else None
        return owner == self._me or (detector is not None and detector.proved and detector.is_steady(now))

    def _look_for_moves(self, healing: Healing, now: float) -> None:
        """Take the frames of clients to other holders as what was wanted."""
        for client in list(healing.waiting.values()):
            since, holder = self._last_use(healing.record, client)
            if holder is not None and since >= healing.begin and holder not in healing.gone:
                client.holder = holder
                self._note_evidence(healing, holder, since)
                healing.moved(client.mac)

    def _note_evidence(self, healing: Healing, holder: bytes, seen: float) -> None:
        if healing.new_holder is None and healing.asked:
            healing.new_holder = holder
            healing.seconds = seen - healing.begin + healing.silent_s
            if not healing.told:
                self._tell(healing)

    # -- telling --

    @staticmethod
    def _tell_due(healing: Healing) -> float:
        return math.inf if healing.told else healing.begin + EVIDENCE_TIME

    def _tell(self, healing: Healing) -> None:
        healing.told = True
        if not healing.asked:
            return
        record = healing.record
        to = healing.new_holder or healing.chosen
        node = None if to is None else self._mesh.owner(to)
        count = "1 client" if healing.asked == 1 else f"{healing.asked} clients"
        what = {
            "silent": f"{healing.node} is silent for {healing.silent_s:.2f} s",
            "unreachable": f"{healing.node} has left the mesh",
            "withdrawn": f"{healing.node} withdraws",
        }[healing.reason]
        if healing.new_holder is not None:
            end = f"{node or 'nobody known'} answers"
        else:
            end = "all holders were asked" if node is None else f"{node} was asked"
        self._log(0, "notice", f"{_text(record.address)}: {what}; {count} asked; {end}")
        record.failover_at = healing.begin
        record.failover = FailoverView(
            0.0, healing.reason, healing.node, node, healing.silent_s, healing.seconds, healing.asked
        )
        self._last_failover_s = healing.silent_s if healing.seconds is None else healing.seconds
        self._actions.append(
            Changed(
                {
                    "VIP": _text(record.address),
                    "OLDNODE": healing.node,
                    "NODE": node or "",
                    "REASON": healing.reason,
                    "CLIENTS": str(healing.asked),
                    "SILENCE": f"{healing.silent_s:.3f}",
                }
            )
        )

    # -- corrections --

    def _correct_soon(self, record: AddressRecord, client: Client, now: float) -> None:
        rest = (
            CORRECTION_RESTS[min(client.corrections, len(CORRECTION_RESTS)) - 1] if client.corrections else 0
        )
        if now - client.corrected > RECENT_USE:
            client.corrections = 0
        elif now - client.corrected < rest:
            return
        if len(self._corrections) >= MAX_CORRECTIONS or client.holder is None:
            return
        client.corrected = now
        client.corrections += 1
        self._corrections.append(
            _Correction(now + CORRECTION_DELAY, record.address, client.mac, client.holder)
        )

    def _correct_due(self, now: float) -> None:
        due = [correction for correction in self._corrections if now >= correction.due]
        if not due:
            return
        self._corrections = [correction for correction in self._corrections if now < correction.due]
        for correction in due:
            record = self._table.get(correction.address)
            client = None if record is None else record.clients.get(correction.client)
            if record is None or client is None or client.holder != correction.holder:
                continue
            if self._serves(record, correction.holder, now):
                self._send(neighbour.claim(correction.holder, record.address, client.mac, client.address))
                self._count(corrections=1)

    # -- withdrawal --

    def _withdraw_from(self, record: AddressRecord, now: float) -> None:
        own = frozenset(mac for mac in record.holders if self._mesh.owner(mac) == self._me)
        if not own or not record.is_shared(self._mesh.owner):
            return
        if not any(self._serves(record, holder.mac, now) for holder in record.present()):
            return
        clients = [
            client
            for client in record.clients.values()
            if client.mac not in record.holders
            and not self._is_local(client)
            and (client.holder is None or client.holder in own or self._used_lately(own, client, now))
        ]
        self._heal(record, self._me, own, clients, "withdrawn", 0.0, now, remote=False)

    def _used_lately(self, holders: Iterable[bytes], client: Client, now: float) -> bool:
        return any(now - self._mesh.last_use(mac, client.mac) < RECENT_USE for mac in holders)

    def _look_for_end(self, now: float) -> None:
        """End the withdrawal when no client sends to us any more, or some may for ever."""
        since = self._withdrawing
        assert since is not None
        self._withdrawal_due = now + WITHDRAWAL_STEP
        if now < since + SHORTEST_WITHDRAWAL:
            return
        busy = any(
            now - self._mesh.last_use(mac, client) < QUIET_TIME
            for healing in self._healings
            for mac in healing.gone
            for client in healing.record.clients
        )
        if not busy or now >= since + LONGEST_WITHDRAWAL:
            self._end_withdrawal()

    def _end_withdrawal(self) -> None:
        self._gone = True
        for healing in self._healings:
            if not healing.told:
                self._tell(healing)
        self._actions.append(Gone())

    # -- to look at --

    def view(self, now: float) -> GuardView:
        """Take a picture."""
        views = [self._address_view(record, now) for record in self._table]
        return GuardView(
            self._enabled,
            self._watch.interval,
            len(self._watch),
            self._last_failover_s,
            replace(
                self._counters,
                stalls=self._watch.stalls,
                probes=self._watch.probes,
                probe_bytes=self._watch.probes * PROBE_SIZE,
            ),
            tuple(sorted(views, key=lambda view: (not view.shared, len(view.address), view.address))),
        )

    def _address_view(self, record: AddressRecord, now: float) -> AddressView:
        failover = record.failover
        return AddressView(
            _text(record.address),
            record.is_shared(self._mesh.owner),
            tuple(self._holder_views(record, now)),
            tuple(self._client_view(record, client, now) for client in record.clients.values()),
            None if failover is None else replace(failover, ago_s=now - record.failover_at),
        )

    def _holder_views(self, record: AddressRecord, now: float) -> Iterator[HolderView]:
        for mac in sorted(record.holders):
            holder, owner = record.holders[mac], self._mesh.owner(mac)
            detector = None if owner is None else self._watch.get(self._mesh.first_hop(owner) or owner)
            if owner == self._me:
                state = HolderState.OWN
            elif owner is None or not self._mesh.is_reachable(owner):
                state = HolderState.UNREACHABLE
            elif detector is None:
                state = HolderState.UNWATCHED
            else:
                state = _STATES[detector.state]
            rtt = None if detector is None else detector.srtt
            yield HolderView(_mac_text(mac), owner, state, rtt, now - holder.answered)

    def _client_view(self, record: AddressRecord, client: Client, now: float) -> ClientView:
        since, used = self._last_use(record, client)
        holder = used if now - since < RECENT_USE else client.holder
        return ClientView(
            _mac_text(client.mac),
            _text(client.address),
            self._mesh.owner(client.mac),
            None if holder is None else _mac_text(holder),
            now - max(client.seen, since),
        )

    # -- small things --

    def _send(self, frame: bytes) -> None:
        self._actions.append(SendFrame(frame))

    def _log(self, level: int, priority: str, text: str) -> None:
        self._actions.append(Notice(level, priority, text))

    def _count(self, **increments: int) -> None:
        values = {name: getattr(self._counters, name) + by for name, by in increments.items()}
        self._counters = replace(self._counters, **values)

    def _between(self, ends: tuple[float, float]) -> float:
        low, high = ends
        return low + self._random() * (high - low)


_STATES: Final = {
    State.ALIVE: HolderState.ALIVE,
    State.SUSPECT: HolderState.SUSPECT,
    State.SILENT: HolderState.SILENT,
}


def _text(address: bytes) -> str:
    return str(ipaddress.ip_address(address))


def _mac_text(mac: bytes) -> str:
    return mac.hex(":")
