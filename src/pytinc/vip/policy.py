"""Virtual IPs by policy: decides which member serves an address, and lets all nodes know.

The members of an address (``VirtualIP`` in their configuration) tell all pytinc nodes about themselves in
member records; every node finds the same owner by the rule of `pytinc.vip.members`. The member that finds
itself to be the owner claims the address and tells the clients (`pytinc.vip.speaker`). The hosts of the
other members keep the address on their interfaces, but their answers for it do not leave their nodes
(`Policy.withheld`).

Nodes that are not members learn the owner as well, and lead their own stations to it alone.

For members that run tinc's daemon another node does all this, their guardian (`pytinc.vip.wards`).

The parts: `pytinc.vip.membership` has the addresses and our own part in each, `pytinc.vip.telling` sends our
records, `pytinc.vip.hearing` takes in those of others, `pytinc.vip.election` chooses, `pytinc.vip.speaker`
tells the clients, `pytinc.vip.sharing` assigns them to members with ``balance=client``, and
`pytinc.vip.orders` carries out move, freeze, thaw and rebalance.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final

from pytinc.vip.actions import KeepWarm, ServiceChanged
from pytinc.vip.addresses import AddressRecord
from pytinc.vip.allowance import Allowance
from pytinc.vip.core import Core, address_text, stretches
from pytinc.vip.election import Election, Reason
from pytinc.vip.health import Outcome
from pytinc.vip.hearing import Hearing
from pytinc.vip.members import FAR_RECORD_LIFE, HAND_OVER_TIME, RECORD_LIFE, UNFIT, Address, Member
from pytinc.vip.membership import Leader, Membership
from pytinc.vip.orders import Orders
from pytinc.vip.own_member import OwnMember
from pytinc.vip.policy_picture import STATES, virtual_ip_view
from pytinc.vip.sharing import Sharing
from pytinc.vip.speaker import Speaker
from pytinc.vip.telling import INTERVAL
from pytinc.vip.views import PolicyView, VirtualIpView
from pytinc.wire.vip_record import NO_HOLDER, Entry, EntryState
from pytinc.wire.virtual_ip import DEFAULT_INTERVAL, Balance, Check, VirtualIP

INIT_INTERVAL: Final = 0.1
"""Seconds between two looks for new nodes, while this node listens at its start."""
LEAST_INTERVAL: Final = 0.01
"""Least seconds between two updates that only the clock causes."""
DOUBT_INTERVAL: Final = 0.05
"""Seconds between two looks while all nodes are silent."""
WARM_INTERVAL: Final = 2.0
"""Seconds between two looks at keys and paths to nodes that may be members."""
NEWS_BURST: Final = 100
"""Records with news that are processed at once in a burst; ..."""
NEWS_RATE: Final = 50.0
"""... further ones per second; ..."""
NEWS_PAUSE: Final = 0.1
"""... the rest wait so many seconds and are processed together, because a node may flood us with records."""
LONE_TIME: Final = 30.0
"""Seconds after a takeover from which on this node trusts that it was connected when it took over: otherwise
the pings of its meta connections would have failed by then."""
MEMORY: Final = 600.0
"""Seconds for which a member that is not heard any more is remembered."""
LEAST_STOP: Final = 0.35
"""Least seconds from the order to stop to the end: frames are on their way."""
LONGEST_STOP: Final = 1.3
"""Most seconds, as long as a client uses this node."""
QUIET_TIME: Final = 0.2
"""Seconds without a frame of any client after which no client uses this node any more."""


class Policy:
    """All addresses with members."""

    def __init__(self, core: Core, leader: Leader) -> None:
        self._core = core
        self._leader = leader
        self.sharing = Sharing(core)
        self._announcing = self.sharing.announcing
        self._membership = Membership(core, leader)
        self._election = Election(core, self._membership, leader)
        self._speaker = Speaker(core, self._membership, self.sharing)
        self._hearing = Hearing(core, self._membership, self._speaker)
        self.orders = Orders(core, self._membership, self.sharing, self.update)
        self._next_warm = -math.inf
        self._was_alone = False
        """No other node could be reached."""
        self._news = Allowance(NEWS_BURST, NEWS_RATE)
        self._draining = False
        self._stopped_at = math.inf
        self._has_changed = False

    # -- life --

    def configure(self, virtual_ips: Sequence[VirtualIP], now: float) -> None:
        """Take over the settings of the addresses of which this node is a member, or guardian of a member."""
        wanted = {config.address: config for config in virtual_ips if config.node is None}
        for address in self._membership.own.keys() - wanted.keys():
            self._leave(address, now)
        for address, config in wanted.items():
            own = self._membership.own.get(address)
            if own is not None:
                own.reconfigure(config)
                continue
            own = self._membership.own[address] = OwnMember(config, now)
            own.id = self._core.my_id
            self._membership.addresses.setdefault(address, Address(address)).others.pop(self._core.me, None)
            self._has_changed = True
        for address, own in self._membership.own.items():
            own.permitted = self._core.mesh.may_hold(self._core.me, address, now)
        self._configure_wards(virtual_ips, now)
        for address, known in self._membership.addresses.items():
            takes_part = self._membership.takes_part(address)
            known.life = RECORD_LIFE if takes_part else FAR_RECORD_LIFE
            if not takes_part:
                self.sharing.forget(address)
            else:
                self._core.table.use(address, now).has_members = True
        self._membership.telling.kept(self._membership.entries())
        self._membership.change(now)
        self.update(now)

    def _leave(self, address: bytes, now: float) -> None:
        own = self._membership.own.pop(address)
        entry = Entry(
            address,
            EntryState.REMOVED,
            own.config.priority,
            NO_HOLDER,
            self._membership.addresses[address].claim,
        )
        self._membership.telling.removed(entry)
        if own.serving:
            self._serve(address, own, serving=False, reason="no longer configured")

    def _configure_wards(self, virtual_ips: Sequence[VirtualIP], now: float) -> None:
        for node, entry in self._membership.wards.configure(virtual_ips, now):
            self._membership.telling.removed(entry)
            said = self._membership.addresses[entry.address].others.get(node)
            if said is not None and said.guardian == self._core.me:
                del self._membership.addresses[entry.address].others[node]
        for address in self._membership.wards.addresses():
            self._membership.addresses.setdefault(address, Address(address))

    def drain(self, now: float, *, on: bool) -> None:
        """Serve nothing, or serve again."""
        if self._draining is not on:
            self._draining = on
            self._core.log(0, "notice", "Draining: other members serve" if on else "Serving again")
            self.update(now)

    def stop(self, now: float) -> None:
        """The node is about to stop: let others take over. `has_stopped` is true when they have."""
        self._stopped_at = now
        self.update(now)

    def has_stopped(self, now: float) -> bool:
        """Tell whether no client uses this node any more, or no other member can take over."""
        served = any(own.serving for own in self._membership.own.values())
        if not self._membership.own or (served and not self._has_successors(now)):
            return True
        busy = served or self.sharing.is_used(now, QUIET_TIME)
        return now >= self._stopped_at + (LONGEST_STOP if busy else LEAST_STOP)

    def _has_successors(self, now: float) -> bool:
        serving = [
            self._membership.addresses[address]
            for address, own in self._membership.own.items()
            if own.serving
        ]
        return any(known.choose(self._membership.present(known, now)) is not None for known in serving)

    # -- what happens --

    def assignment_record(self, node: str, payload: bytes, now: float) -> bool:
        """Take an assignment record of another node; tell whether it counts. DecodeError if malformed."""
        return self.sharing.record(node, payload, now)

    def record(self, node: str, node_id: bytes, payload: bytes, now: float) -> bool:
        """Take a member record of another node; tell whether there is news. DecodeError if malformed."""
        news = self._hearing.record(node, node_id, payload, now)
        if not news:
            return False
        if self._news.take(now):
            for address in news:
                self._update(self._membership.addresses[address], None, now)
            self._note_updated(now)
        else:
            self._membership.update_due = min(self._membership.update_due, now + NEWS_PAUSE)
        return True

    def reachability(self, node: str, now: float, *, reachable: bool) -> None:
        """A node joined the graph, or left it."""
        if reachable:
            self._membership.telling.forget(node)
            self._next_warm = now
            self._speaker.welcome(node, now)
            for part in self._membership.listeners():
                part.contact(now)
            if self._was_alone:
                self._come_back(now)
        elif self._core.mesh.is_alone():
            self._was_alone = True
            for known in self._membership.addresses.values():
                if now - known.taken_at > LONE_TIME:
                    known.before_alone = None
        self.update(now)
        if reachable:
            self.sharing.came_back(node, now)
        else:
            self._speaker.take_clients_of(node, now)

    def _come_back(self, now: float) -> None:
        """Drop the claims to addresses that this node took over because it was cut off or suspended.

        The member that had such an address still serves all other nodes, and would have to give way to the
        higher claim of this node.
        """
        self._was_alone = False
        for address, own in self._membership.own.items():
            known = self._membership.addresses[address]
            if known.before_alone is not None and known.claim.holder == self._core.my_id:
                known.claim = known.before_alone
                own.listen_again(now)
            known.before_alone = None

    def checked(self, key: tuple[bytes, str | None], check: Check, outcome: Outcome, now: float) -> None:
        """Take the result of a health check; ``key`` as `VirtualIP.key`."""
        part = self._membership.part(key)
        if part is not None:
            part.feed(check, outcome, now)
            self.update(now)

    def next_check(self, key: tuple[bytes, str | None], check: Check) -> float:
        """Return in how many seconds a check must run again; a check that was removed is stopped soon."""
        part = self._membership.part(key)
        if part is None or check not in part.checks:
            return DEFAULT_INTERVAL
        return part.checks[check].next_run(part.config.interval)

    def present(self, address: bytes, now: float, *, present: bool) -> None:
        """The own host got the address, or gave it up."""
        own = self._membership.own.get(address)
        if own is not None and own.present is not present:
            own.present = present
            self.update(now)

    def excuse(self, delay: float, now: float) -> None:
        """This node was suspended for ``delay`` seconds."""
        for known in self._membership.addresses.values():
            known.shift(delay, now)

    # -- the choice --

    def update(self, now: float, reason: Reason | None = None) -> None:
        """Find the member that serves each address, and act on the result."""
        for known in list(self._membership.addresses.values()):
            self._update(known, reason, now)
        self._note_updated(now)

    def _note_updated(self, now: float) -> None:
        self._core.governed = {
            address: self._membership.governed(known)
            for address, known in self._membership.addresses.items()
            if self._membership.is_governed(known, now)
        }
        self._membership.update_due = self._find_next_update(now)
        if any(self._election.is_in_doubt(known, now) for known in self._membership.addresses.values()):
            self._membership.update_due = min(self._membership.update_due, now + DOUBT_INTERVAL)

    def _update(self, known: Address, reason: Reason | None, now: float) -> None:
        before, own = known.owner, self._membership.own.get(known.address)
        if own is not None:
            self._set_state(known, own, now)
        self._speak(known, now)
        members, parts = self._membership.all_present(known, now), self._membership.parts(known)
        owner = self._election.find_owner(known, members, parts, now)
        eager = self._election.preempting(known, parts, owner, members, now)
        if eager is not None:
            owner, reason = eager, Reason("preempt", "it has a higher priority")
            parts[eager].preempts(now)
        if owner in parts and known.claim.holder != parts[owner].id:
            self._claim(known, parts[owner], is_alone=owner == self._core.me and len(members) == 1, now=now)
        if own is not None:
            self._set_state(known, own, now)
        self._speak(known, now)
        members = self._membership.all_present(known, now)
        if owner != before:
            reason = reason or self._election.reason(known, before, owner)
        self._govern(known, owner, members, now)
        if owner != before and reason is not None:
            self._note_owner(known, before, parts, reason, now)
        known.forget_former(members)
        if own is not None:
            self._set_serving(known, own, "" if reason is None else reason.text, now)
        self._speaker.update(known, now)
        if self._membership.takes_part(known.address):
            self.sharing.update(known, members, now)
        record = self._core.table.get(known.address)
        if known.balanced or record is None:
            return  # the node that assigns the clients tells them
        if owner not in (before, None, self._core.me) and owner is not None:
            self._leader.owner_changed(record, before, owner, now)

    def _claim(self, known: Address, part: OwnMember, *, is_alone: bool, now: float) -> None:
        """Claim the address for a member; ``is_alone``: no other member is heard."""
        if is_alone and known.claim.holder != NO_HOLDER:
            known.before_alone, known.taken_at = known.claim, now
        known.take_over(part.id, part.config.priority)
        self._membership.change(now)

    def _govern(self, known: Address, owner: str | None, members: Sequence[Member], now: float) -> None:
        """Let the other parts of the guard know which member serves."""
        governed, address = self._core.governed, known.address
        is_new = known.set_owner(owner, members)
        found = self._membership.governed(known) if self._membership.is_governed(known, now) else None
        if not is_new and governed.get(address) == found:
            return
        governed.pop(address, None)
        if found is not None:
            governed[address] = found
        self._has_changed = True

    def _note_owner(
        self, known: Address, before: str | None, parts: Mapping[str, OwnMember], reason: Reason, now: float
    ) -> None:
        """Record that a member other than ``before`` serves."""
        core, former = self._core, None
        if before == core.me and known.address in self._membership.own:
            former = core.my_id
        elif known.owner == core.me and before in known.others:
            former = known.others[before].id
        if former != core.my_id or not known.goes_back(now):
            known.former = None if former is None else (former, now + HAND_OVER_TIME)
        self._tell(known, before, reason, now)
        for part in parts.values():
            part.ready_since = now

    def _speak(self, known: Address, now: float) -> None:
        """Update what this node says about its wards."""
        if self._membership.wards.speak(known, now):
            self._membership.change(now)
        record = self._core.table.get(known.address)
        if record is not None and self._membership.wards.needs_look(known.address, now):
            self._leader.find_holders(record, now)

    def _set_state(self, known: Address, own: OwnMember, now: float) -> None:
        holds = known.claim.holder == self._core.my_id
        drains = self._draining or self._stopped_at < math.inf
        before, own.state = own.state, own.find_state(now, holds=holds, drains=drains)
        if own.state is not before:
            self._core.tell_state(known.address, self._core.me, own.state, before, own.trouble())
            own.ready_since = now
            self._membership.change(now)

    def _set_serving(self, known: Address, own: OwnMember, reason: str, now: float) -> None:
        # A holder in trouble serves until another member has claimed the address.
        holds = known.claim.holder == self._core.my_id
        serves = self._core.me in known.serving if known.balanced else holds
        serving = serves and own.state not in UNFIT
        if serving is own.serving:
            return
        self._serve(known.address, own, serving=serving, reason=reason)
        if known.balanced and serving:
            self.sharing.tell_all(known.address, now)
        elif known.balanced:
            self._announcing.stop(known.address)

    def _serve(self, address: bytes, own: OwnMember, *, serving: bool, reason: str) -> None:
        own.serving = serving
        self._has_changed = True
        known = self._membership.addresses[address]
        self._core.actions.append(
            ServiceChanged(
                "vip-up" if serving else "vip-down",
                {
                    "VIP": address_text(address),
                    "STATE": STATES[own.state].value,
                    "REASON": reason,
                    "OWNER": known.owner or "",
                    "TERM": str(known.claim.term),
                },
            )
        )

    def _tell(self, known: Address, before: str | None, reason: Reason, now: float) -> None:
        own = self._membership.own.get(known.address)
        known.note(now, None if own is None else own.state, reason.text, reason.kind)
        text = address_text(known.address)
        self._core.tell(
            "vip-owner",
            address=text,
            from_node=before,
            to_node=known.owner,
            reason=reason.kind,
            text=reason.text,
            term=known.claim.term,
            **self._silence(before, reason, now),
        )
        if known.owner is None:
            self._core.log(0, "warning", f"{text}: nobody serves; {reason.text}")
        else:
            # On a node without a member of the address, this line is of little interest.
            level = 0 if own is not None else 2
            self._core.log(level, "notice", f"{text}: {known.owner} serves; {reason.text}")

    def _silence(self, before: str | None, reason: Reason, now: float) -> dict[str, int | None]:
        """Return how long the member that served was silent, and for how much of that it was suspected."""
        detector = None if before is None else self._core.watch.get(before)
        if before is None or detector is None or reason.kind != "silent":
            return stretches(None, None)
        return stretches(now - detector.last_heard, self._core.detection(before, now))

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        parts = self._announcing.next_deadline(), self.sharing.next_deadline()
        warm = self._next_warm if self._membership.own or self._membership.wards else math.inf
        return min(self._membership.update_due, warm, *parts, self._membership.telling.next_deadline())

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._membership.update_due:
            self._wait_for_strangers(now)
            self.update(now)
        if self._membership.listeners() and now >= self._next_warm:
            self._next_warm = now + WARM_INTERVAL
            possible = self._core.mesh.possible_members(self._membership.concerned())
            self._core.actions += [KeepWarm(node) for node in sorted(possible)]
        self._membership.send_due(now)
        self._announcing.tick(now)
        self.sharing.tick(now)

    def _wait_for_strangers(self, now: float) -> None:
        """Listen a little longer while this node does not know of all nodes whether they are members."""
        starting = [part for part in self._membership.listeners() if now < part.init_until]
        mesh, concerned = self._core.mesh, self._membership.concerned()
        if starting and any(mesh.is_stranger(node) for node in mesh.possible_members(concerned)):
            for part in starting:
                part.contact(now)

    def _find_next_update(self, now: float) -> float:
        addresses = self._membership.addresses.values()
        dues = [known.next_expiry(now) for known in addresses]
        for part in self._membership.listeners():
            dues += [due for due in (part.init_until, part.preemption_due()) if due > now]
            dues.append(now + (INIT_INTERVAL if now < part.init_until else INTERVAL))
        dues += [known.vouched_until for known in addresses if known.vouched_until > now]
        return max(min(dues, default=math.inf), now + LEAST_INTERVAL)

    def prune(self, now: float) -> None:
        """Forget what is over."""
        for address, known in list(self._membership.addresses.items()):
            known.prune(now, MEMORY)
            if not known.others and not self._membership.takes_part(address):
                del self._membership.addresses[address]
                self._core.governed.pop(address, None)
                record = self._core.table.get(address)
                if record is not None:
                    record.has_members = False
        self._membership.telling.prune(now, MEMORY)

    # -- for the others --

    def take_changed(self) -> bool:
        """Tell whether an owner or `withheld` has changed since the last call."""
        changed, self._has_changed = self._has_changed, False
        return changed

    def flow_members(self, now: float) -> dict[bytes, list[Member]]:
        """Return the members that can be reached of each address whose flows are shared."""
        return {
            address: self._membership.all_present(known, now)
            for address, known in self._membership.addresses.items()
            if known.balance is Balance.FLOW and address in self._core.governed
        }

    @property
    def withheld(self) -> frozenset[bytes]:
        """Addresses for which the answers of our host do not leave this node."""
        return frozenset(
            address
            for address, own in self._membership.own.items()
            if not (own.serving or self._membership.addresses[address].balanced)
        )

    def taken_over(self, now: float) -> dict[bytes, tuple[bytes, float]]:
        """Return the addresses that were handed over lately, to this node or by it.

        The keys are addresses or, where clients are shared, a client's MAC address followed by the address.
        The values are the MAC address of the former member's host (ours or another one) and the time until
        which the entry counts.
        """
        found: dict[bytes, tuple[bytes, float]] = {}
        for address in self._membership.own:
            known = self._membership.addresses[address]
            members = self._membership.all_present(known, now)
            present = {member.id: member.mac for member in members if any(member.mac)}
            if known.balanced:
                found |= self.sharing.taken_over(known, present, now)
            elif known.former is not None and now < known.former[1] and known.former[0] in present:
                found[address] = present[known.former[0]], known.former[1]
        return found

    def answered(self, record: AddressRecord) -> frozenset[bytes] | None:
        """Return the clients that our host answers for an address; None: it answers all or none."""
        return self.sharing.answered(record) if record.address in self._membership.own else None

    def watched(self) -> set[str]:
        """Return the nodes whose silence matters to us as a member."""
        return self._membership.watched()

    def view(self, now: float) -> PolicyView:
        """Return a view of all addresses with members."""
        addresses = self._membership.addresses
        return PolicyView(
            self._draining, tuple(self._view_of(addresses[address], now) for address in sorted(addresses))
        )

    def _view_of(self, known: Address, now: float) -> VirtualIpView:
        record = self._core.table.get(known.address)
        return virtual_ip_view(
            known,
            self._membership.own.get(known.address),
            list(self._membership.wards.of(known.address).values()),
            {member.node for member in self._membership.present(known, now)},
            0 if record is None else len(record.clients),
            partial(self.sharing.clients_of, known.address),
            self._core.me,
            now,
        )
