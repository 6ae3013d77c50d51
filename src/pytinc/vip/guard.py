"""The guard of shared addresses: the front door of this package (docs/virtual-ip.md).

Several hosts of a switched network have one address. A client uses the host whose answer it believed, and
goes on for up to a minute after that host has died. The guard notices which client uses which host and
watches the nodes of these hosts. When a node falls silent, the guard asks for the address in the clients'
names, and the clients believe the answer of a surviving host. Nothing has to be configured, and neither
members nor clients need to be pytinc nodes.

Events go in, `take_actions` returns what to do, `next_deadline` when to call `tick`. The guard asks
`pytinc.vip.actions.Mesh` for facts about the mesh. Who does the work:

* the clients' own node, for stations behind its own device: it sees which holder they use;
* for clients behind C nodes, a few guards of the mesh (`pytinc.vip.asking`);
* a member that stops, or whose host gives up the address, for its own clients.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Final

from pytinc.vip.actions import Action, AskMeta, Gone, Mesh, Rules, SetSilent
from pytinc.vip.addresses import AddressRecord, AddressTable, Client
from pytinc.vip.asking import Asking
from pytinc.vip.core import LOCAL_USE, Core, Silenced, stretches
from pytinc.vip.corrections import Corrections
from pytinc.vip.detector import LONG_DELAY, State
from pytinc.vip.failover import WITHDRAWAL_STEP, Failovers
from pytinc.vip.notices import Notices
from pytinc.vip.picture import guard_summary, guard_view
from pytinc.vip.policy import Policy
from pytinc.vip.review import Review
from pytinc.vip.stations import OwnStations
from pytinc.vip.views import GuardSummary, GuardView
from pytinc.wire.ethernet import is_group
from pytinc.wire.neighbour import GUARD_ADDRESS, GUARD_MAC, NO_NOTE, NOBODY, Kind, Message
from pytinc.wire.times import milliseconds
from pytinc.wire.virtual_ip import VirtualIP

DOUBT_TIME: Final = 1.0
"""Seconds after a long delay in which arriving frames may be old."""
HEARTBEAT: Final = 0.2
"""Seconds between two ticks at the most while a shared address has a holder behind the own device."""
ASSERTION_REST: Final = 0.02
"""Least seconds between two announcements or misleading questions about one address that count as news."""
_IPV6_SIZE: Final = 16
_LINK_LOCAL: Final = b"\xfe\x80"
_FIRST_MULTICAST: Final = 224
"""First byte of the lowest IPv4 address that no host can have."""


class Guard:
    """The guard of shared addresses: it makes all parts and hands each event to those it concerns."""

    def __init__(self, me: str, my_id: bytes, mesh: Mesh, random_float: Callable[[], float]) -> None:
        self._core = Core(me, my_id, mesh, random_float)
        self._make_parts()
        self._enabled = False
        self._has_addresses = False
        self._told_gone = False
        self._due = math.inf
        """When `tick` should have been called."""
        self._next_beat = math.inf
        self._ticked = -math.inf
        self._doubt_until = -math.inf
        """Until then, frames that arrive may have waited while this node was suspended."""

    def _make_parts(self) -> None:
        core = self._core
        core.table, core.own = AddressTable(), OwnStations()
        core.left.clear()
        core.returned.clear()
        core.governed = {}
        self._asking = Asking(core)
        self._failovers = Failovers(core, self._asking)
        self._corrections = Corrections(core, self._asking)
        self._notices = Notices(core)
        self._policy = Policy(core, self._failovers)
        self._review = Review(core, self._asking, self._failovers, self._policy)
        parts = (self._asking, self._failovers, self._corrections, self._notices, self._review, self._policy)
        self._deadlines = (core.watch.next_deadline, *(part.next_deadline for part in parts))

    # -- life --

    def configure(
        self,
        now: float,
        *,
        enabled: bool,
        addresses: bool,
        interval: float,
        virtual_ips: Sequence[VirtualIP] = (),
    ) -> None:
        """Take over settings; ``addresses``: guard addresses as well (switch mode), not only subnets."""
        self._core.watch.set_interval(interval)
        self._has_addresses = enabled and addresses
        self._enabled = enabled
        if not enabled:
            self._core.watch.set_wanted((), now)
            self._apply_changes(now)
        if not self._has_addresses:
            self._policy.configure((), now)
            self._policy.tick(now)  # the others hear that this node is no longer a member
            self._review.set_rules(Rules())
            self._make_parts()
            if self._core.withdrawing:
                self._say_gone()  # the caller of `withdraw` waits for it
        else:
            self._policy.configure(virtual_ips, now)
            self._apply_policy(now)
        if enabled:
            self._review.soon(now)

    @property
    def rules(self) -> Rules:
        """What the data path must do now."""
        return self._review.rules

    def take_actions(self) -> list[Action]:
        """Return what is to be done, in order, and forget it."""
        actions, self._core.actions = self._core.actions, []
        return actions

    def withdraw(self, now: float) -> None:
        """Lead our own clients elsewhere before the node stops. The action `Gone` tells when that is done."""
        if not self._core.withdrawing:
            self._failovers.withdraw(now)
            self._policy.stop(now)
            if self._enabled:
                self._review_now(now)
                self._failovers.tick(now)
                self._policy.tick(now)
            self._see_whether_gone(now)

    def _see_whether_gone(self, now: float) -> None:
        if not self._core.withdrawing or self._told_gone:
            return
        if self._failovers.withdrawal_over and self._policy.has_stopped(now):
            self._say_gone()

    def _say_gone(self) -> None:
        self._told_gone = True
        self._core.actions.append(Gone())

    def known_addresses(self) -> list[bytes]:
        """Return all addresses in use. Any of them may become shared when the own host gets it."""
        return [record.address for record in self._core.table]

    def address_added(self, address: bytes, now: float) -> None:
        """The host got an address: make it answer, so that all guards know it as a holder."""
        self._policy.present(address, now, present=True)
        record = self._core.table.get(address)
        if record is None or self._core.withdrawing:
            return
        self._failovers.address_added(record)
        if self._asking.may_ask_about(record, now):
            self._asking.ask(record, now)
        else:
            self._asking.doubt(record, now)

    def address_removed(self, address: bytes, macs: frozenset[bytes], now: float) -> None:
        """The host, which has these MAC addresses, gave up an address: lead its clients elsewhere."""
        self._policy.present(address, now, present=False)
        record = self._core.table.get(address)
        if record is not None and not self._core.withdrawing:
            self._failovers.address_removed(record, macs, now)
            self._review.soon(now)
            self._failovers.tick(now)

    # -- what happens in the mesh --

    def probe_answered(self, node: str, nonce: bytes, now: float) -> bool:
        """Take the answer to a probe; False if it is none of ours."""
        known = self._core.watch.answered(node, nonce, now)
        self._apply_changes(now)
        return known

    def heard(self, node: str, now: float) -> None:
        """An authentic datagram without a frame came from a node."""
        self._core.watch.heard(node, now)
        self._apply_changes(now)

    def meta_answered(self, node: str, now: float) -> None:
        """A node answered over meta connections."""
        self._failovers.meta_answered(node, now)
        self._policy.update(now)
        self._apply_policy(now)

    def connection_closed(self, node: str, now: float) -> None:
        """A meta connection with a node ended."""
        self._core.watch.hurry(node, now)
        self._apply_changes(now)

    def reachability(self, node: str, now: float, *, reachable: bool) -> None:
        """A node joined the graph, or left it."""
        if not self._enabled:
            return
        self._review.soon(now)
        if reachable:
            self._core.came_back(node, now)
            self._on_return(node, now)
            self._policy.reachability(node, now, reachable=True)
            self._apply_policy(now)
            return
        detector = self._core.watch.get(node)
        silence = now - detector.last_heard if detector is not None and detector.proved else 0.0
        self._core.watch.forget(node)
        self._apply_changes(now)
        if len(self._core.table):
            self._failovers.holder_gone(node, "unreachable", silence, now)
            self._policy.reachability(node, now, reachable=False)
            self._review_now(now)

    def _on_return(self, node: str, now: float) -> None:
        """A node has joined the mesh: if it guards or holds an address, it does not know the clients yet."""
        core = self._core
        for record in core.table:
            if not core.is_shared(record):
                self._asking.newcomer(record, now)
            elif any(core.mesh.owner(mac) == node for mac in record.holders) or any(
                core.mesh.name_of(node_id) == node for node_id in record.callers
            ):
                self._notices.newcomer(record, now)

    def member_record(self, node: str, node_id: bytes, payload: bytes, now: float) -> None:
        """Take a member record; DecodeError if it is malformed."""
        self.heard(node, now)
        if self._has_addresses and self._policy.record(node, node_id, payload, now):
            self.act_now(now)

    def assignment_record(self, node: str, payload: bytes, now: float) -> None:
        """Take an assignment record; DecodeError if it is malformed."""
        self.heard(node, now)
        if self._has_addresses and self._policy.assignment_record(node, payload, now):
            self._review.soon(now)

    def act_now(self, now: float) -> None:
        """A command or a check may have changed which member serves: act on it at once."""
        self._policy.tick(now)
        self._apply_policy(now)
        self._failovers.tick(now)

    def rebalance(self, address: bytes, now: float) -> None:
        """Move clients from members that have too many; PolicyError says why that is impossible."""
        self._policy.orders.rebalance(address, now)
        self._review.soon(now)  # our host must not answer the clients that it has lost

    def _apply_policy(self, now: float) -> None:
        if self._policy.take_changed():
            self._review_now(now)

    @property
    def policy(self) -> Policy:
        """The policy of virtual IPs, for commands, checks and views."""
        return self._policy

    # -- what passes through the switch --

    def message(self, message: Message, now: float, *, from_device: bool) -> None:
        """Take ARP or neighbour discovery; ``from_device``: a station behind our device sent it."""
        if not self._has_addresses:
            return
        match message.kind:
            case Kind.QUESTION | Kind.PROBE if message.mac == GUARD_MAC:
                self._on_lone_question(message, now)
            case Kind.QUESTION if message.to == GUARD_MAC and message.target != GUARD_ADDRESS:
                self._on_notice(message, now)
            case Kind.QUESTION if message.target == GUARD_ADDRESS:
                self._asking.looked_for(message, now)
            case Kind.QUESTION:
                self._on_question(message, now, from_device=from_device)
            case Kind.ENQUIRY:
                self._on_changed_question(message, now)
            case Kind.PROBE if self._core.mesh.name_of(message.note) is not None:
                self._on_changed_question(message, now)
            case Kind.PROBE:
                if from_device and len(message.target) == _IPV6_SIZE:
                    self._note_own(message, now)
                self._asking.claimed(message.target, now)
            case _:
                self._on_answer(message, now, from_device=from_device)

    def used(self, holder: bytes, client: bytes, own: bytes, address: bytes, now: float) -> None:
        """A station with address ``own`` began to send to ``address`` at a holder that is watched."""
        if now - self._due > LONG_DELAY or now < self._doubt_until:
            return  # the frame may be old: it may have waited while this node was suspended
        record = self._core.table.get(address)
        if record is not None and holder in record.holders:
            user = self._core.table.client(record, client, own, now)
            user.believe(holder, now)
            self._notices.used(record, user, holder, now)
            self._policy.sharing.used(record, user, holder, now)
            self._review.soon(now)

    def _on_question(self, message: Message, now: float, *, from_device: bool) -> None:
        if from_device:
            self._note_own(message, now)
        else:
            self._on_assertion(message, now)
        if not _may_be_shared(message.target):
            return
        table = self._core.table
        record = table.use(message.target, now)
        client = table.client(record, message.mac, message.address, now)
        if is_group(message.to):
            client.believe(None, now)
            self._corrections.on_question(record, client, now)
            if from_device:
                # Answers of hosts on its own LAN do not pass here.
                self._asking.begin_round(record, now, self._core.own_holders(record))
        elif message.to in record.holders:
            client.believe(message.to, now)  # the client checks that this holder is still there
        self._asking.used(record, now)
        self._share(record, client, message, now)
        if from_device and is_group(message.to):
            self._notices.asked(record, client)

    def _share(self, record: AddressRecord, client: Client, message: Message, now: float) -> None:
        """A client has asked for an address, or another guard has reported it: give it a member if needed."""
        if self._policy.sharing.asked(record, client, message.to, message.note, now):
            self._review.soon(now)

    def _on_assertion(self, message: Message, now: float) -> None:
        """A question of another node's host names an address as its sender, and so may mislead clients."""
        station = self._core.own.station(message.target)
        if station is not None and _may_be_shared(message.address):
            # Our station learns the address from the question, and may use it without ever asking for it.
            record = self._core.table.use(message.address, now)
            self._core.table.client(record, station, message.target, now)
            self._asking.used(record, now)
        self._corrections.on_assertion(message, now)

    def _on_notice(self, message: Message, now: float) -> None:
        """Another guard has reported a client."""
        if not _may_be_shared(message.target):
            return
        record = self._core.table.use(message.target, now)
        client = self._core.table.client(record, message.mac, message.address, now)
        if message.note != NO_NOTE and not self._core.is_local(client):
            client.believe(message.note, now)
        self._notices.heard(record, client, now)
        self._asking.used(record, now)
        self._share(record, client, message, now)

    def _on_changed_question(self, message: Message, now: float) -> None:
        """A host asks in a question from which its node has removed the sender (`pytinc.datapath.guard`)."""
        record = self._core.table.get(message.target)
        if record is not None:
            self._asking.used(record, now)

    def _on_answer(self, message: Message, now: float, *, from_device: bool) -> None:
        if from_device:
            self._note_own(message, now)
        record = self._core.table.get(message.address)
        if record is None or message.mac == GUARD_MAC:
            return
        self._failovers.answered(message.mac, now)
        if record.answer(message.mac, now):
            self._review.soon(now)  # the address may have become shared
        if message.kind is Kind.ANNOUNCEMENT:
            if now - record.asserted > ASSERTION_REST:
                record.asserted = now
                for client in record.clients.values():
                    client.believe(message.mac, now)
                self._failovers.announced(record, message.mac)
        else:
            self._failovers.heard_answer(record, message, now)

    def _on_lone_question(self, message: Message, now: float) -> None:
        record = self._core.table.get(message.target)
        if record is not None and message.note != self._core.my_id:
            if self._asking.heard(record, message, now):
                self._notices.newcomer(record, now)
            if self._core.mesh.name_of(message.note) is not None:  # not a holder that leaves
                self._failovers.heard_caller(record)

    def _note_own(self, message: Message, now: float) -> None:
        """A host behind our device has an address."""
        if message.mac == GUARD_MAC:
            return
        # An address that is only claimed must not become the replacement sender of this host's questions.
        self._core.own.note(message.mac, message.address or message.target, now)
        if message.address == NOBODY:
            return
        if not _may_be_shared(message.address):
            return
        if self._core.own.is_full and self._core.table.get(message.address) is None:
            return
        record = self._core.table.use(message.address, now)
        record.own_seen = now
        self._asking.used(record, now)

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        if not self._enabled:
            self._due = math.inf
            return self._due
        due = min([next_deadline() for next_deadline in self._deadlines])
        if self._core.withdrawing and not self._told_gone:
            due = min(due, self._ticked + WITHDRAWAL_STEP)
        # A host that was suspended must not answer old questions: the data path checks the time of our last
        # tick.
        self._due = min(due, self._next_beat) if self.rules.own else due
        return self._due

    def tick(self, now: float) -> None:
        """Do what is due."""
        if not self._enabled:
            return
        core = self._core
        self._next_beat, self._ticked = now + HEARTBEAT, now
        if now > self._due:
            core.watch.excuse(now, now - self._due)
            if now - self._due > LONG_DELAY:
                self._doubt_until = now + DOUBT_TIME
            self._policy.excuse(now - self._due, now)
        core.actions += core.watch.tick(now)
        self._apply_changes(now)
        if self._asking.tick(now):
            self._review.soon(now)
        self._policy.tick(now)
        self._apply_policy(now)
        self._review.tick(now)
        self._apply_changes(now)
        self._failovers.tick(now)
        self._corrections.tick(now)
        self._notices.tick(now)
        self._see_whether_gone(now)

    def _apply_changes(self, now: float) -> None:
        """Act on the changes that the detectors found."""
        for node, before, after in self._core.watch.take_changes():
            self._review.soon(now)
            if after is State.SUSPECT:
                self._core.count(suspicions=1)
                self._core.actions.append(AskMeta(node))
                self._core.tell("suspect", node=node)
                self._core.log(3, "debug", f"{node} does not answer probes")
            elif after is State.SILENT:
                self._on_silence(node, now)
            elif before is State.SILENT:
                self._on_end_of_silence(node, now, answers=after is State.ALIVE)
            elif after is State.ALIVE:
                self._core.count(false_suspicions=1)
                detector = self._core.watch.get(node)
                since = now if detector is None else detector.suspect_since
                self._core.tell("cleared", node=node, after_ms=milliseconds(now - since))

    def _on_end_of_silence(self, node: str, now: float, *, answers: bool) -> None:
        """A silent peer answers again, or is not watched any more."""
        core = self._core
        behind = core.silenced.pop(node, {})
        freed = [freed for freed in sorted(behind) if not core.is_silenced(freed)]
        core.actions += [SetSilent(silent, silent=False) for silent in freed]
        self._policy.update(now)
        self._apply_policy(now)
        if not answers:
            return
        core.log(2, "info", f"{node} answers again")
        since = behind[node].at if node in behind else now
        core.tell("answers", node=node, after_ms=milliseconds(now - since))
        for alive in freed:
            if core.mesh.is_reachable(alive):
                self._failovers.back(alive, now)

    def _on_silence(self, node: str, now: float) -> None:
        detector = self._core.watch.get(node)
        silence = now - detector.last_heard if detector is not None else 0.0
        self._core.log(2, "info", f"{node} is silent for {silence:.2f} s")
        since = now - silence - LOCAL_USE
        core, behind = self._core, sorted(self._behind(node, since))
        core.actions += [SetSilent(silent, silent=True) for silent in behind if not core.is_silenced(silent)]
        core.tell("silent", node=node, **stretches(silence, core.detection(node, now)), behind=behind)
        core.silenced[node] = {silent: Silenced(now, core.mesh.received(silent)) for silent in behind}
        for silent in behind:
            self._failovers.holder_gone(silent, "silent", silence, now, hop=node)
        self._policy.update(now)
        self._failovers.relay_gone(node, silence, since, now)
        # This must happen at once: the data path must let the answers through.
        self._review_now(now)

    def _review_now(self, now: float) -> None:
        self._review.now(now)
        self._next_beat = now + HEARTBEAT

    def _behind(self, hop: str, since: float) -> set[str]:
        """Return the nodes that are as silent as ``hop``: itself, and those for which it relays."""
        core = self._core
        return {hop} | {node for node in core.wanted if hop in core.hops(node, since)}

    # -- views --

    def summary(self) -> GuardSummary:
        """Return the numbers of the guard without the addresses."""
        return guard_summary(self._core, last_failover_s=self._failovers.last_s)

    def view(self, now: float) -> GuardView:
        """Return a view of the guard and all addresses."""
        return guard_view(self._core, now, enabled=self._enabled, last_failover_s=self._failovers.last_s)


def _may_be_shared(address: bytes) -> bool:
    """Tell whether an address can be a virtual IP: an address of a host that is not link-local.

    Each host has a link-local IPv6 address of its own.
    """
    if len(address) == _IPV6_SIZE:
        return not address.startswith(_LINK_LOCAL) and any(address)
    return 0 < address[0] < _FIRST_MULTICAST
