"""Leads clients elsewhere when a holder goes, and reports it.

A holder goes because its node falls silent, leaves the mesh, or is this node and stops, or because this
node's host gives up the address. `Healing` asks the questions; this module finds the clients, looks for signs
of success, and logs the outcome.
"""

from __future__ import annotations

import math
from functools import partial
from typing import Final

from pytinc.vip.actions import Changed
from pytinc.vip.addresses import AddressRecord, Client
from pytinc.vip.asking import WITHDRAWAL_MEMORY, Asking
from pytinc.vip.core import Core, address_text, stretches
from pytinc.vip.healing import Healing, choose
from pytinc.vip.views import FailoverView
from pytinc.wire import neighbour
from pytinc.wire.neighbour import GUARD_MAC, Message
from pytinc.wire.times import milliseconds

REMOTE_DELAY: Final = (0.01, 0.05)
"""Seconds after the verdict until we ask for clients whose frames we do not see, chosen at random between
these."""
DOUBT_DELAY: Final = (0.3, 0.4)
"""The same for clients that use another holder according to what this node has heard."""
SURE_USE: Final = 1.5
"""Seconds without a frame after which a client of our own holder may have changed to another one."""
ANSWER_TIME: Final = 0.25
"""Seconds that a holder is given to answer a question."""
SECOND_QUESTION: Final = 0.05
"""Seconds after which a question counts as a new one and not as the first one repeated."""
EVIDENCE_TIME: Final = 1.0
"""Seconds after which a failover is reported even if the new holder has not been seen."""
FORGET_HEALING: Final = 60.0
"""Seconds for which a move is remembered, and with it that its old holder may still send old answers."""
SHORTEST_WITHDRAWAL: Final = 0.35
LONGEST_WITHDRAWAL: Final = 1.3
QUIET_TIME: Final = 0.2
"""Seconds without a frame of a client after which a withdrawal is over."""
WITHDRAWAL_STEP: Final = 0.05


class Failovers:
    """All moves of clients that are under way."""

    def __init__(self, core: Core, asking: Asking) -> None:
        self._core = core
        self._asking = asking
        self._healings: list[Healing] = []
        self._meta_answers: dict[str, float] = {}
        self._withdrawn_since = -math.inf
        self._withdrawal_due = math.inf
        self.withdrawal_over = False
        """A withdrawal has begun and ended."""
        self.last_s: float | None = None
        """How long the last failover took, as far as this node saw it."""

    # -- what happens --

    def holder_gone(
        self, node: str, reason: str, silence: float, now: float, *, hop: str | None = None
    ) -> None:
        """Lead the clients of a node's holders elsewhere; ``hop``: the peer that is silent, it or a relay."""
        core = self._core
        if node in core.left or node == core.me or core.mesh.is_alone():
            return  # a node that reaches nobody knows nothing about others
        core.left[node] = now
        for record in list(core.table):
            gone = frozenset(mac for mac in record.holders if core.mesh.owner(mac) == node)
            if not gone or not core.is_shared(record) or record.address in core.governed:
                continue
            cares = self._cares(record, node, reason, hop, now)
            begin = partial(Healing, record, node, gone, detection_s=core.detection(hop or node, now))
            seen, unseen, doubted = self._clients_of(record, gone, node, cares, now)
            if seen:
                healing = begin(seen, reason, silence, now)
                self._keep(healing, now)
                self._heal(healing)
            if unseen:
                healing = begin(unseen, reason, silence, now, remote=True)
                self._keep(healing, now)
                # Let a guard that sees the clients' frames go first, if there is one.
                healing.postpone(now + core.between(REMOTE_DELAY))
                self._heal(healing)
            if doubted:
                healing = begin(doubted, reason, silence, now, remote=True)
                self._keep(healing, now)
                healing.postpone(now + core.between(DOUBT_DELAY))
                healing.told = bool(seen or unseen)
                self._healings.append(healing)

    def relay_gone(self, hop: str, silence: float, since: float, now: float) -> None:
        """A relay is silent: lead the clients behind it, whose frames it loses, to other holders than ours.

        What it brought from ``since`` on counts as behind it.
        """
        core = self._core
        for record in list(core.table):
            own = core.own_holders(record)
            if not own or not core.is_shared(record) or record.address in core.governed:
                continue
            clients = [
                client
                for client in record.clients.values()
                if core.holder_of(record, client, now) in own and self._is_behind(client, hop, since)
            ]
            if clients:
                detection = core.detection(hop, now)
                self._heal(
                    Healing(
                        record, hop, own, clients, "silent", silence, now, detection_s=detection, remote=True
                    )
                )

    def look_for_relapses(self, now: float) -> None:
        """Lead stations behind the own device away again if they went back to a holder that is gone.

        A node that did not know of the failure yet may have sent them back.
        """
        for healing in list(self._healings):
            for client in healing.take_relapsed(partial(self._core.last_use, healing.record)):
                self._lead_away_again(healing, client, now)

    def _lead_away_again(self, healing: Healing, client: Client, now: float) -> None:
        core, record = self._core, healing.record
        if healing.node not in core.left or not core.is_local(client):
            return
        text = f"{address_text(record.address)}: a client went back to {healing.node}, which is gone"
        core.log(2, "debug", text)
        again = Healing(record, healing.node, healing.gone, [client], healing.reason, 0.0, now)
        again.told = True
        self._healings.append(again)

    def _is_behind(self, client: Client, hop: str, since: float) -> bool:
        core = self._core
        owner = core.mesh.owner(client.mac)
        return owner is not None and owner not in (core.me, hop) and hop in core.hops(owner, since)

    def owner_changed(self, record: AddressRecord, before: str | None, owner: str, now: float) -> None:
        """Another member serves an address (`pytinc.vip.policy`): lead our own stations there.

        Lead the clients of our own holder there as well. The member tells all clients that it knows.
        """
        core = self._core
        macs = frozenset(mac for mac in record.holders if core.mesh.owner(mac) == owner)
        gone, ours = frozenset(record.holders) - macs, core.own_holders(record)
        for healing in self._healings:
            if healing.record is record:
                healing.end()
        clients = [
            client
            for client in record.clients.values()
            if client.mac not in record.holders
            and (holder := core.holder_of(record, client, now)) not in macs
            and (core.is_local(client) or holder in ours)
        ]
        if macs and gone and clients:
            detector = None if before is None else core.watch.get(before)
            silence = 0.0 if detector is None or detector.is_there else now - detector.last_heard
            reason = "silent" if silence else "moved"
            detection = None if before is None else core.detection(before, now)
            node = before or "nobody"
            self._heal(Healing(record, node, gone, clients, reason, silence, now, detection_s=detection))

    def is_gone(self, node: str) -> bool:
        """Tell whether a node is silent, and does not answer over meta connections either."""
        core = self._core
        if not core.is_silenced(node):
            return False
        detector = core.watch.get(node)
        answered = self._meta_answers.get(node, -math.inf)
        return detector is None or answered < detector.suspect_since

    def find_holders(self, record: AddressRecord, now: float) -> None:
        """Ask which hosts have an address."""
        if self._asking.may_ask_about(record, now):
            self._asking.ask(record, now)

    def back(self, node: str, now: float) -> None:
        """A node that was silent answers: its clients stay where they are."""
        self._core.came_back(node, now)
        for healing in self._healings:
            if healing.node == node and healing.reason == "silent":
                healing.end()

    def answered(self, holder: bytes, now: float) -> None:
        """A holder answered: its node is there, even if this node does not watch it."""
        core = self._core
        owner = core.mesh.owner(holder)
        if (
            owner in core.left
            and owner is not None
            and owner not in core.watch
            and core.mesh.is_reachable(owner)
        ):
            self.back(owner, now)

    def meta_answered(self, node: str, now: float) -> None:
        """A node answered over meta connections."""
        if node in self._core.watch:
            self._meta_answers[node] = now

    def heard_caller(self, record: AddressRecord) -> None:
        """Another guard asks for an address: leave the clients that it takes care of to it."""
        for healing in self._healings:
            if healing.record is record and healing.remote:
                healing.hush()

    def announced(self, record: AddressRecord, holder: bytes) -> None:
        """A holder announced to all that it has the address: no client needs to be led anywhere else."""
        for healing in self._healings:
            if healing.record is record and holder not in healing.gone:
                healing.end()

    def heard_answer(self, record: AddressRecord, message: Message, now: float) -> None:
        """A holder answered: this may show that a move has succeeded."""
        for healing in self._healings:
            if healing.record is not record or message.mac in healing.gone:
                continue
            to_client = message.to in healing.waiting
            to_guards = message.to == GUARD_MAC and message.mac == healing.chosen
            if healing.asked and (to_client or to_guards):
                self._note_evidence(healing, message.mac, now)

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        if not self._healings:
            return self._withdrawal_due
        dues = [healing.next_deadline() for healing in self._healings]
        dues += [healing.begin + EVIDENCE_TIME for healing in self._healings if not healing.told]
        return min([*dues, self._withdrawal_due])

    def tick(self, now: float) -> None:
        """Ask the questions that are due in the clients' names, and see whether the clients have moved."""
        for healing in self._healings:
            self._look_for_moves(healing)
            candidates = partial(self._candidates, healing.record, healing.gone, now, since=healing.begin)
            questions = healing.questions(now, candidates)
            if questions and self._must_ask(healing, now) and self._asking.may_ask_about(healing.record, now):
                self._asking.ask(healing.record, now)
            for client, to in questions:
                self._ask(healing, client, to, now)
            self._core.count(questions=len(questions))
            if not healing.told and now >= healing.begin + EVIDENCE_TIME:
                self._tell(healing)
        if now >= self._withdrawal_due:
            self._look_for_end(now)

    def prune(self, now: float) -> None:
        """Forget moves that are over."""
        self._healings = [
            healing
            for healing in self._healings
            if not (healing.is_over and healing.told and now > healing.begin + FORGET_HEALING)
        ]

    def _must_ask(self, healing: Healing, now: float) -> bool:
        """Tell whether to find out which holders answer, since holders may have gone unnoticed.

        Where the clients' frames pass here, this node sees whether they move, and asks late, because the
        question of one guard keeps other guards from asking for their clients. Otherwise it asks at once, and
        a second time if the answer of a holder may have been lost.
        """
        record, begin = healing.record, healing.begin
        if not healing.remote:
            return now >= begin + ANSWER_TIME and record.asked < begin
        if healing.rounds_begun == 1:
            return record.asked < begin
        is_second = healing.rounds_begun == 2 and record.asked < begin + SECOND_QUESTION
        return is_second and any(
            holder.answered < begin for holder in record.present() if holder.mac not in healing.gone
        )

    def _ask(self, healing: Healing, client: Client, to: bytes | None, now: float) -> None:
        """Ask in a client's name; ``to``: the holder that is asked."""
        address = healing.record.address
        self._core.send(neighbour.question(client.mac, client.address, address, to=to))
        if to is None:
            return
        if healing.rounds_begun > 1 and self._must_be_told(healing, to):
            self._core.send(neighbour.claim(to, address, client.mac, client.address))
        led_from: frozenset[bytes] = frozenset()
        if healing.remote:
            led_from = healing.gone | (client.led_from if client.holder == to else led_from)
        client.believe(to, now, led_from=led_from - {to})

    def _must_be_told(self, healing: Healing, holder: bytes) -> bool:
        """Tell whether a client may have refused the answer that its new holder has given.

        For a second after a change of its entry, even if only of the entry's state, Linux ignores an answer
        that names another MAC address (locktime of ARP; IPv6 has none). It always accepts a question for its
        own address.
        """
        known = healing.record.holders.get(holder)
        return len(healing.record.address) == 4 and known is not None and known.answered >= healing.begin

    # -- the clients of a move --

    def _cares(self, record: AddressRecord, node: str, reason: str, hop: str | None, now: float) -> bool:
        """Tell whether we lead clients of other nodes away from ``node``."""
        if not self._asking.is_caller(record, now):
            return False
        if reason != "silent":
            # A node that withdraws leads its clients away itself, and knows them better.
            return now - record.withdrawn.get(node, -math.inf) > WITHDRAWAL_MEMORY
        if hop != node:
            return False  # a relay is silent: that says nothing about their path
        detector = self._core.watch.get(node)
        answered = self._meta_answers.get(node, -math.inf)
        # One that answers over meta connections is there; only our UDP path to it is broken.
        return detector is None or answered < detector.suspect_since

    def _clients_of(
        self, record: AddressRecord, gone: frozenset[bytes], node: str, cares: bool, now: float
    ) -> tuple[list[Client], list[Client], list[Client]]:
        """Return the clients that may use a holder that is gone; ``cares``: those of C nodes as well.

        The first list has the clients whose frames will pass here, because they are ours or get our own
        holder; the second the others; the third those that use another holder according to hearsay alone.
        """
        core = self._core
        own = core.own_holders(record)
        seen: list[Client] = []
        unseen: list[Client] = []
        doubted: list[Client] = []
        for client in record.clients.values():
            owner = core.mesh.owner(client.mac)
            if client.mac in record.holders or owner is None or owner == node:
                continue
            holder = core.holder_of(record, client, now)
            if holder is not None and holder not in gone and core.serves(record, holder):
                # Asking the holder that the client should use changes nothing if the client uses it.
                if not cares or owner == core.me or core.is_guarded(client):
                    continue
                if self._is_doubtful(record, client, holder, gone, now):
                    (seen if holder in own else unseen).append(client)
                elif holder not in own:
                    doubted.append(client)
                continue
            if owner == core.me:
                seen.append(client)
            elif cares and core.mesh.is_reachable(owner) and not core.is_guarded(client):
                chosen = choose(record.address, client.mac, self._candidates(record, gone, now, client))
                (seen if chosen in own else unseen).append(client)
        return seen, unseen, doubted

    def _is_doubtful(
        self, record: AddressRecord, client: Client, holder: bytes, gone: frozenset[bytes], now: float
    ) -> bool:
        """Tell whether a client may use a holder that is gone instead of the one that it seems to use."""
        if holder in self._core.own_holders(record):
            # A client that sent to our holder may have changed while this node was cut off.
            since, _ = self._core.last_use(record, client)
            return now - since >= SURE_USE
        return not client.led_from.isdisjoint(gone)

    def _keep(self, healing: Healing, now: float) -> None:
        """Prefer the holder that each client seems to use: if the client uses it, nothing changes."""
        for client in healing.waiting.values():
            holder = self._core.holder_of(healing.record, client, now)
            if holder is not None and holder not in healing.gone:
                healing.prefer(client, holder)

    def _heal(self, healing: Healing) -> None:
        self._healings.append(healing)
        self._core.count(failovers=1)

    def _candidates(
        self,
        record: AddressRecord,
        gone: frozenset[bytes],
        now: float,
        client: Client,
        *,
        since: float = math.inf,
    ) -> list[bytes]:
        """Return the holders to which a client may be led: those known to be well if there are any.

        From `ANSWER_TIME` after ``since``, when the questions were asked, only holders that have answered
        count.
        """
        core = self._core
        others = [
            holder.mac
            for holder in record.holders.values()
            if holder.mac not in gone and holder.mac != client.mac and core.serves(record, holder.mac)
        ]
        present = {holder.mac for holder in record.present()}
        # A holder that is not expected to answer is better than none: it may have the address again.
        serving = [mac for mac in others if mac in present] or others
        if now >= since + ANSWER_TIME:
            serving = [mac for mac in serving if record.holders[mac].answered >= since] or serving
        settled = [mac for mac in serving if not core.is_new(mac, now)]
        return [mac for mac in settled if core.is_well(mac)] or settled or serving

    # -- signs of success --

    def _look_for_moves(self, healing: Healing) -> None:
        """Take frames of clients to other holders as a sign that they have moved."""
        if not healing.asked:
            return
        for client in list(healing.waiting.values()):
            since, holder = self._core.last_use(healing.record, client)
            if holder is not None and since >= healing.begin and holder not in healing.gone:
                client.believe(holder, since)
                self._note_evidence(healing, holder, since)
                healing.moved(client, since)

    def _note_evidence(self, healing: Healing, holder: bytes, seen: float) -> None:
        if healing.new_holder is None:
            healing.new_holder = holder
            healing.seconds = seen - healing.noticed + healing.silent_s
            if not healing.told:
                self._tell(healing)

    def _tell(self, healing: Healing) -> None:
        healing.told = True
        if not healing.asked:
            return
        core, record = self._core, healing.record
        to = healing.new_holder or healing.chosen
        node = None if to is None else core.mesh.owner(to)
        address = address_text(record.address)
        core.log(0, "notice", f"{address}: {_what(healing)}; {_end(healing, node)}")
        record.failover_at = healing.begin
        record.failover = FailoverView(
            0.0, healing.reason, healing.node, node, healing.silent_s, healing.seconds, healing.asked
        )
        self.last_s = healing.silent_s if healing.seconds is None else healing.seconds
        core.tell("failover", address=address, **_facts(healing, node))
        core.actions.append(
            Changed(
                {
                    "VIP": address,
                    "OLDNODE": healing.node,
                    "NODE": node or "",
                    "REASON": healing.reason,
                    "CLIENTS": str(healing.asked),
                    "SILENCE": f"{healing.silent_s:.3f}",
                }
            )
        )

    # -- withdrawal --

    def withdraw(self, now: float) -> None:
        """Lead our own clients elsewhere; `withdrawal_over` is true at the end."""
        core = self._core
        found = [
            moved
            for record in core.table
            if record.address not in core.governed
            and (moved := self._withdrawal(record, core.own_holders(record), "withdrawn", now)) is not None
        ]
        core.withdrawing = True
        for healing in found:
            self._healings.append(healing)
            if self._asking.may_ask_about(healing.record, now):
                self._asking.ask(healing.record, now, leaving=True)
            if healing.waiting:
                core.count(failovers=1)
            else:
                healing.end()
        self._withdrawn_since = now
        if any(healing.waiting for healing in found):
            self._withdrawal_due = now + WITHDRAWAL_STEP
        else:
            self._end_withdrawal()

    @property
    def withdrawn(self) -> frozenset[bytes]:
        """Addresses for which nothing behind the own device answers any more."""
        return frozenset(
            healing.record.address for healing in self._healings if healing.reason == "withdrawn"
        )

    @property
    def gone(self) -> frozenset[bytes]:
        """MAC addresses of holders that clients were led away from lately."""
        return frozenset().union(
            *(healing.gone for healing in self._healings if healing.reason != "withdrawn")
        )

    def address_removed(self, record: AddressRecord, macs: frozenset[bytes], now: float) -> None:
        """Our host, which has these MAC addresses, no longer has an address: lead its clients elsewhere."""
        core, gone = self._core, self._core.own_holders(record) & macs
        if not gone:
            return
        governed = record.address in core.governed
        healing = None if governed else self._withdrawal(record, gone, "removed", now)
        for mac in gone:
            del record.holders[mac]
            core.own.forget(mac, record.address)
        if not core.own_holders(record):
            record.own_seen = -math.inf
        if healing is None:
            return
        if self._asking.may_ask_about(record, now):
            self._asking.ask(record, now, leaving=True)
        if healing.waiting:
            self._heal(healing)

    def address_added(self, record: AddressRecord) -> None:
        """Our host has the address, perhaps again: stop leading clients away from it."""
        for healing in self._healings:
            if healing.record is record and healing.reason == "removed":
                healing.end()

    def _withdrawal(
        self, record: AddressRecord, gone: frozenset[bytes], reason: str, now: float
    ) -> Healing | None:
        """Return the move of all clients from holders of ours; None if there is no other holder."""
        core = self._core
        others = any(core.serves(record, holder.mac) for holder in record.present() if holder.mac not in gone)
        if not gone or not others or not core.is_shared(record):
            return None
        clients = [
            client
            for client in record.clients.values()
            if client.mac not in record.holders
            and (reason == "removed" or not core.is_local(client))
            and self._may_use(record, client, gone, now)
        ]
        return Healing(record, core.me, gone, clients, reason, 0.0, now)

    def _may_use(self, record: AddressRecord, client: Client, gone: frozenset[bytes], now: float) -> bool:
        """Tell whether a client uses one of these holders of ours, or used one and nothing newer is known."""
        core = self._core
        holder = core.holder_of(record, client, now)
        if holder is not None and (holder in gone or core.serves(record, holder)):
            return holder in gone
        return any(core.mesh.last_use(mac, client.mac, record.address) > -math.inf for mac in gone)

    def _look_for_end(self, now: float) -> None:
        """End the withdrawal when no client sends to us any more, or when it has taken long enough."""
        self._withdrawal_due = now + WITHDRAWAL_STEP
        if now < self._withdrawn_since + SHORTEST_WITHDRAWAL:
            return
        busy = any(
            now - self._core.mesh.last_use(mac, client, healing.record.address) < QUIET_TIME
            for healing in self._healings
            for mac in healing.gone
            for client in healing.record.clients
        )
        if not busy or now >= self._withdrawn_since + LONGEST_WITHDRAWAL:
            self._end_withdrawal()

    def _end_withdrawal(self) -> None:
        self._withdrawal_due = math.inf
        for healing in self._healings:
            if not healing.told:
                self._tell(healing)
        self.withdrawal_over = True


def _facts(healing: Healing, node: str | None) -> dict[str, object]:
    """Return the event fields that describe a move of clients to a node."""
    is_silent = healing.silent_s > 0.0
    times = stretches(healing.silent_s if is_silent else None, healing.detection_s)
    healing_ms, total = None, None
    if healing.seconds is not None:
        healing_ms = milliseconds(healing.seconds - healing.silent_s)
        total = sum(each or 0 for each in times.values()) + healing_ms
    return {
        "reason": healing.reason,
        "from_node": healing.node,
        "to_node": node,
        "clients": healing.asked,
        **times,
        "healing_ms": healing_ms,
        "total_ms": total,
    }


def _what(healing: Healing) -> str:
    match healing.reason:
        case "silent":
            return f"{healing.node} is silent for {healing.silent_s:.2f} s"
        case "removed":
            return f"{healing.node} no longer has it"
        case "unreachable":
            return f"{healing.node} has left the mesh"
        case "moved":
            return f"{healing.node} does not serve it any more"
        case _:
            return f"{healing.node} withdraws"


def _end(healing: Healing, node: str | None) -> str:
    asked = "1 client" if healing.asked == 1 else f"{healing.asked} clients"
    if healing.new_holder is not None:
        return f"{asked} asked; {node or 'a holder of no known node'} answers"
    return f"{asked} asked; {'all holders were' if node is None else f'{node} was'} asked"
