"""Virtual IPs by policy: decides which member serves an address, and lets all nodes know.

The members of an address (``VirtualIP`` in their configuration) tell all pytinc nodes about themselves in
member records; every node finds the same owner by the rule of `pytinc.vip.members`. The member that finds
itself to be the owner claims the address and tells the clients (`pytinc.vip.announcing`). The hosts of the
other members keep the address on their interfaces, but their answers for it do not leave their nodes
(`Policy.withheld`).

Nodes that are not members learn the owner as well, and lead their own stations to it alone.

For members that run tinc's daemon another node does all this, their guardian (`pytinc.vip.wards`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple, Protocol

from pytinc.errors import PolicyError
from pytinc.vip.actions import KeepWarm, ServiceChanged
from pytinc.vip.addresses import AddressRecord
from pytinc.vip.allowance import Allowance
from pytinc.vip.core import Core, Governed, address_text, stretches
from pytinc.vip.health import Outcome
from pytinc.vip.members import FAR_RECORD_LIFE, HAND_OVER_TIME, READY, RECORD_LIFE, UNFIT, Address, Member
from pytinc.vip.own_member import OwnMember
from pytinc.vip.policy_picture import STATES, virtual_ip_view
from pytinc.vip.sharing import Sharing
from pytinc.vip.telling import INTERVAL, Telling
from pytinc.vip.views import PolicyView, VirtualIpView
from pytinc.vip.wards import Wards
from pytinc.wire import neighbour
from pytinc.wire.vip_record import NO_HOLDER, Entry, EntryState, MemberRecord, parse_record
from pytinc.wire.virtual_ip import DEFAULT_INTERVAL, Balance, Check, VirtualIP

INIT_INTERVAL: Final = 0.1
"""Seconds between two looks for new nodes, while this node listens at its start."""
LEAST_INTERVAL: Final = 0.01
"""Least seconds between two updates that only the clock causes."""
DOUBT_INTERVAL: Final = 0.05
"""Seconds between two looks while all nodes are silent."""
DOUBT_TIME: Final = 0.3
"""Seconds after other nodes are heard again in which the holder may be heard as well, ..."""
DOUBT_TIME_OF_RECORDS: Final = 1.5
"""... and, once it is heard, seconds in which its next record may come."""
MAX_WITNESSES: Final = 2
"""Nodes watched beside the members, so that a member can notice that it is cut off itself."""
WARM_INTERVAL: Final = 2.0
"""Seconds between two looks at keys and paths to nodes that may be members."""
NEWS_BURST: Final = 100
"""Records with news that are processed at once in a burst; ..."""
NEWS_RATE: Final = 50.0
"""... further ones per second; ..."""
NEWS_PAUSE: Final = 0.1
"""... the rest wait so many seconds and are processed together, because a node may flood us with records."""
RIVAL_REST: Final = 1.0
"""Seconds between two announcements that answer another member's lower claim."""
REMINDER: Final = 10.0
"""Seconds between two announcements of the owner to all, where hosts of C members answer as well."""
LONE_TIME: Final = 30.0
"""Seconds after a takeover from which on this node trusts that it was connected when it took over: otherwise
the pings of its meta connections would have failed by then."""
MAX_ADDRESSES: Final = 256
"""Most addresses with members that are remembered: other nodes may invent them."""
MAX_ADDRESSES_OF_NODE: Final = 64
"""The same for one node, which cannot have more in its configuration."""
MEMORY: Final = 600.0
"""Seconds for which a member that is not heard any more is remembered."""
LEAST_STOP: Final = 0.35
"""Least seconds for which a node that stops waits after another one took over: frames are on their way."""
LONGEST_STOP: Final = 1.3
"""Most seconds for which it waits."""
QUIET_TIME: Final = 0.2
"""Seconds without a frame of any client after which no client uses this node any more."""


class Reason(NamedTuple):
    """Why another node serves."""

    kind: str
    """``first``, ``silent``, ``unreachable``, ``drain``, ``fault``, ``removed``, ``claim``, ``preempt`` or
    ``order``."""
    text: str
    """For people."""


class Leader(Protocol):
    """Leads the stations behind the own device to the owner of an address."""

    def owner_changed(self, record: AddressRecord, before: str | None, owner: str, now: float) -> None:
        """Another node serves an address."""

    def is_gone(self, node: str) -> bool:
        """Tell whether a node is silent, and does not answer over meta connections either."""

    def find_holders(self, record: AddressRecord, now: float) -> None:
        """Ask which hosts have an address."""


class Policy:
    """All addresses with members."""

    def __init__(self, core: Core, leader: Leader) -> None:
        self._core = core
        self._leader = leader
        self._addresses: dict[bytes, Address] = {}
        self._own: dict[bytes, OwnMember] = {}
        self._wards = Wards(core, self._is_there)
        self.sharing = Sharing(core)
        self._announcing = self.sharing.announcing
        self._telling = Telling(core)
        self._next_warm = -math.inf
        self._next_update = math.inf
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
        for address in self._own.keys() - wanted.keys():
            self._leave(address, now)
        for address, config in wanted.items():
            own = self._own.get(address)
            if own is not None:
                own.reconfigure(config)
                continue
            own = self._own[address] = OwnMember(config, now)
            own.id = self._core.my_id
            self._addresses.setdefault(address, Address(address)).others.pop(self._core.me, None)
            self._has_changed = True
        for address, own in self._own.items():
            own.permitted = self._core.mesh.may_hold(self._core.me, address, now)
        self._configure_wards(virtual_ips, now)
        for address, known in self._addresses.items():
            takes_part = self._takes_part(address)
            known.life = RECORD_LIFE if takes_part else FAR_RECORD_LIFE
            if not takes_part:
                self.sharing.forget(address)
            else:
                self._core.table.use(address, now).has_members = True
        self._telling.kept(self._entries())
        self._change(now)
        self.update(now)

    def _leave(self, address: bytes, now: float) -> None:
        own = self._own.pop(address)
        entry = Entry(
            address, EntryState.REMOVED, own.config.priority, NO_HOLDER, self._addresses[address].claim
        )
        self._telling.removed(entry)
        if own.serving:
            self._serve(address, own, serving=False, reason="no longer configured")

    def _configure_wards(self, virtual_ips: Sequence[VirtualIP], now: float) -> None:
        for node, entry in self._wards.configure(virtual_ips, now):
            self._telling.removed(entry)
            said = self._addresses[entry.address].others.get(node)
            if said is not None and said.guardian == self._core.me:
                del self._addresses[entry.address].others[node]
        for address in self._wards.addresses():
            self._addresses.setdefault(address, Address(address))

    def _takes_part(self, address: bytes) -> bool:
        return address in self._own or bool(self._wards.of(address))

    def _concerned(self) -> set[bytes]:
        """Return the addresses of which this node is a member, or guardian of a member."""
        return {*self._own, *self._wards.addresses()}

    def _parts(self, known: Address) -> dict[str, OwnMember]:
        """Return the members of an address for which this node speaks: itself and wards, by name."""
        parts: dict[str, OwnMember] = {}
        if known.address in self._own:
            parts[self._core.me] = self._own[known.address]
        for node, ward in self._wards.of(known.address).items():
            said = known.others.get(node)
            if said is not None and said.guardian == self._core.me:
                parts[node] = ward
        return parts

    def _listeners(self) -> list[OwnMember]:
        """Return all members for which this node speaks or may have to speak."""
        return [*self._own.values(), *self._wards]

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
        served = any(own.serving for own in self._own.values())
        if not self._own or (served and not self._has_successors(now)):
            return True
        busy = served or self.sharing.is_used(now, QUIET_TIME)
        return now >= self._stopped_at + (LONGEST_STOP if busy else LEAST_STOP)

    def _has_successors(self, now: float) -> bool:
        return any(
            self._addresses[address].choose(self._present(self._addresses[address], now)) is not None
            for address, own in self._own.items()
            if own.serving
        )

    # -- commands --

    def move(self, address: bytes, target: str, now: float) -> None:
        """Make another member serve an address; PolicyError says why that is impossible."""
        known = self._common_address(address, "move it from a member")
        text = address_text(address)
        members = {member.node: member for member in self._all(known, now)}
        member = members.get(target)
        if member is None:
            raise PolicyError(f"{target} is no member of {text} that can be reached")
        if member.state not in READY:
            raise PolicyError(f"{target} cannot serve {text}: its state is {STATES[member.state].value}")
        if known.claim.holder != member.id:
            known.take_over(member.id, member.priority)
            self._change(now)
            self.update(now, Reason("order", "an operator moved it"))

    def freeze(self, address: bytes, now: float, *, on: bool) -> None:
        """Keep an address where it is, or let it move again; PolicyError says why that is impossible."""
        known = self._common_address(address, "freeze it at a member")
        if known.claim.holder == NO_HOLDER:
            raise PolicyError(f"nobody serves {address_text(address)}")
        if known.claim.frozen is not on:
            known.take_over(known.claim.holder, known.claim.priority, frozen=on)
            self._change(now)
            self.update(now)

    def rebalance(self, address: bytes, now: float) -> None:
        """Move clients from members that have too many; PolicyError says why that is impossible."""
        self._common_address(address, "run this on a member")
        self.sharing.rebalance(address, now)

    def _common_address(self, address: bytes, advice: str) -> Address:
        """Return an address of which this node is a member; otherwise raise PolicyError with advice."""
        known, text = self._addresses.get(address), address_text(address)
        if known is None:
            raise PolicyError(f"{text} is no virtual IP with members")
        if not self._takes_part(address):
            raise PolicyError(f"{self._core.me} is no member of {text}; {advice}")
        return known

    # -- what happens --

    def assignment_record(self, node: str, payload: bytes, now: float) -> bool:
        """Take an assignment record of another node; tell whether it counts. DecodeError if malformed."""
        return self.sharing.record(node, payload, now)

    def record(self, node: str, node_id: bytes, payload: bytes, now: float) -> bool:
        """Take a member record of another node; tell whether there is news. DecodeError if malformed."""
        record = parse_record(payload)
        news = [
            entry.address
            for entry in record.entries
            if self._core.mesh.may_hold(node, entry.address, now)
            and self._hear(node, node_id, entry, record, now)
        ]
        if not news:
            return False
        if self._news.take(now):
            for address in news:
                self._update(self._addresses[address], None, now)
            self._note_updated(now)
        else:
            self._next_update = min(self._next_update, now + NEWS_PAUSE)
        return True

    def _hear(self, node: str, node_id: bytes, entry: Entry, record: MemberRecord, now: float) -> bool:
        about, guardian = self._subject(node, node_id, entry, now)
        if about is None:
            return False
        known = self._addresses.get(entry.address)
        if known is None or about not in known.others:
            if entry.state is EntryState.REMOVED or not self._has_room(node, known):
                return False
            known = self._addresses.setdefault(entry.address, Address(entry.address))
        is_new = about not in known.others
        before = None if is_new else known.others[about].entry.state
        if not known.hear(
            about,
            node_id if guardian is None else entry.member,
            entry,
            record.boot,
            record.sequence,
            now,
            guardian=guardian,
            is_alive=self._is_there,
        ):
            return False
        if entry.state is not before:
            self._core.tell_state(entry.address, about, entry.state, before, None)
        if any(entry.mac):
            shared = self._core.table.use(entry.address, now)
            shared.has_members = True
            shared.add_holder(entry.mac, now)
        if is_new and self._takes_part(entry.address):
            # The node has just joined, and knows nothing about us.
            self._telling.newcomer(node)
            self._next_update = min(self._next_update, now)
        if entry.state is EntryState.ACTIVE and entry.claim != known.claim:
            self._answer_rival(known, now)
        return True

    def _subject(self, node: str, node_id: bytes, entry: Entry, now: float) -> tuple[str | None, str | None]:
        """Return the member that an entry is about (None if the entry is not believable) and its guardian."""
        core = self._core
        if entry.member in (NO_HOLDER, node_id):
            return node, None
        about = core.mesh.name_of(entry.member)
        if about is None or (about == core.me and entry.address in self._own):
            return None, None  # an unknown node, or this node itself
        return (about if core.mesh.may_hold(about, entry.address, now) else None), node

    def _has_room(self, node: str, known: Address | None) -> bool:
        """Tell whether a node may bring one more member, itself or a ward, and perhaps one more address."""
        brought = sum(
            (said.guardian or name) == node
            for each in self._addresses.values()
            for name, said in each.others.items()
        )
        has_room = known is not None or len(self._addresses) < MAX_ADDRESSES
        return has_room and brought < MAX_ADDRESSES_OF_NODE

    def _answer_rival(self, known: Address, now: float) -> None:
        """Another member serves under a lower claim, as it does not know ours: tell it, and the clients."""
        if now - known.rival_answered < RIVAL_REST:
            return
        known.rival_answered = now
        if self._takes_part(known.address):
            self._change(now)
        speaking = self._speaking(known)
        if speaking is not None:
            self._announce(known.address, speaking, now)

    def reachability(self, node: str, now: float, *, reachable: bool) -> None:
        """A node joined the graph, or left it."""
        if reachable:
            self._telling.forget(node)
            self._next_warm = now
            self._welcome(node, now)
            for part in self._listeners():
                part.contact(now)
            if self._was_alone:
                self._come_back(now)
        elif self._core.mesh.is_alone():
            self._was_alone = True
            for known in self._addresses.values():
                if now - known.taken_at > LONE_TIME:
                    known.before_alone = None
        self.update(now)
        if reachable:
            self.sharing.came_back(node, now)
        else:
            self._take_clients_of(node, now)

    def _take_clients_of(self, node: str, now: float) -> None:
        """Tell all clients who serves: a member that has left may have served some of them unnoticed."""
        for known in self._addresses.values():
            speaking = None if known.balanced else self._speaking(known)
            if speaking is not None and node in known.others and known.announced < now:
                known.announced = now
                self._announce(known.address, speaking, now)

    def _come_back(self, now: float) -> None:
        """Drop the claims to addresses that this node took over because it was cut off or suspended.

        The member that had such an address still serves all other nodes, and would have to give way to the
        higher claim of this node.
        """
        self._was_alone = False
        for address, own in self._own.items():
            known = self._addresses[address]
            if known.before_alone is not None and known.claim.holder == self._core.my_id:
                known.claim = known.before_alone
                own.listen_again(now)
            known.before_alone = None

    def checked(self, key: tuple[bytes, str | None], check: Check, outcome: Outcome, now: float) -> None:
        """Take the result of a health check; ``key`` as `VirtualIP.key`."""
        part = self._part(key)
        if part is not None:
            part.feed(check, outcome, now)
            self.update(now)

    def next_check(self, key: tuple[bytes, str | None], check: Check) -> float:
        """Return in how many seconds a check must run again; a check that was removed is stopped soon."""
        part = self._part(key)
        if part is None or check not in part.checks:
            return DEFAULT_INTERVAL
        return part.checks[check].next_run(part.config.interval)

    def _part(self, key: tuple[bytes, str | None]) -> OwnMember | None:
        address, node = key
        return self._own.get(address) if node is None else self._wards.of(address).get(node)

    def present(self, address: bytes, now: float, *, present: bool) -> None:
        """The own host got the address, or gave it up."""
        own = self._own.get(address)
        if own is not None and own.present is not present:
            own.present = present
            self.update(now)

    def excuse(self, delay: float, now: float) -> None:
        """This node was suspended for ``delay`` seconds."""
        for known in self._addresses.values():
            known.shift(delay, now)

    # -- the choice --

    def _present(self, known: Address, now: float) -> list[Member]:
        """Return the other members that can be reached."""
        return known.present(self._is_there, now)

    def _is_there(self, node: str) -> bool:
        return self._core.mesh.is_reachable(node) and not self._leader.is_gone(node)

    def _all(self, known: Address, now: float) -> list[Member]:
        members = self._present(known, now)
        own = self._own.get(known.address)
        if own is not None:
            config = own.config
            members.append(
                Member(
                    self._core.me,
                    self._core.my_id,
                    own.state,
                    config.priority,
                    config.balance,
                    config.weight,
                    self._mac(known, self._core.me) or NO_HOLDER,
                )
            )
        return members

    def update(self, now: float, reason: Reason | None = None) -> None:
        """Find the member that serves each address, and act on the result."""
        for known in list(self._addresses.values()):
            self._update(known, reason, now)
        self._note_updated(now)

    def _note_updated(self, now: float) -> None:
        self._core.governed = {
            address: self._governed(known)
            for address, known in self._addresses.items()
            if self._is_governed(known, now)
        }
        self._next_update = self._find_next_update(now)
        if any(now < known.doubted + DOUBT_TIME_OF_RECORDS for known in self._addresses.values()):
            self._next_update = min(self._next_update, now + DOUBT_INTERVAL)

    def _is_governed(self, known: Address, now: float) -> bool:
        """Tell whether members decide who serves; an address of which none is heard is a shared one."""
        return known.address in self._own or known.is_heard(now)

    def _governed(self, known: Address) -> Governed:
        quiet = {node for node, said in known.others.items() if said.guardian is None}
        if known.address in self._own:
            quiet.add(self._core.me)
        return Governed(known.owner, known.serving, known.speaker, frozenset(quiet), known.balanced)

    def _update(self, known: Address, reason: Reason | None, now: float) -> None:
        before, own = known.owner, self._own.get(known.address)
        if own is not None:
            self._set_state(known, own, now)
        self._speak(known, now)
        members, parts = self._all(known, now), self._parts(known)
        owner = self._find_owner(known, members, parts, now)
        eager = self._preempting(known, parts, owner, members, now)
        if eager is not None:
            owner, reason = eager, Reason("preempt", "it has a higher priority")
            parts[eager].preempts(now)
        if owner in parts and known.claim.holder != parts[owner].id:
            self._claim(known, parts[owner], is_alone=owner == self._core.me and len(members) == 1, now=now)
        if own is not None:
            self._set_state(known, own, now)
        self._speak(known, now)
        members = self._all(known, now)
        if owner != before:
            reason = reason or self._reason(known, before, owner)
        self._govern(known, owner, members, now)
        if owner != before and reason is not None:
            self._note_owner(known, before, parts, reason, now)
        known.forget_former(members)
        if own is not None:
            self._set_serving(known, own, "" if reason is None else reason.text, now)
        self._set_speaking(known, now)
        if self._takes_part(known.address):
            self.sharing.update(known, members, now)
        record = self._core.table.get(known.address)
        if known.balanced or record is None:
            return  # the node that assigns the clients tells them
        if owner not in (before, None, self._core.me) and owner is not None:
            self._leader.owner_changed(record, before, owner, now)

    def _find_owner(
        self, known: Address, members: Sequence[Member], parts: Mapping[str, OwnMember], now: float
    ) -> str | None:
        """Return the member that should serve, as far as this node can tell.

        ``members``: all that can be reached; ``parts``: those for which this node speaks.
        """
        if not self._takes_part(known.address):
            known.follow({member.node for member in members})
        owner, holder = known.choose(members), self._core.mesh.name_of(known.claim.holder)
        for part in parts.values():
            self._set_hears_holder(known, part, members, owner, now)
        if self._is_out_of_earshot(known, holder, members, now):
            return holder
        if now < known.vouched_until and all(known.claim.holder != part.id for part in parts.values()):
            # No record of the holder has come yet: this node has only just met members that know it.
            return holder if owner in parts else owner
        if owner in parts and self._may_be_cut_off(holder):
            # Wait until the graph shows the failure or other nodes are heard again; the holder may be heard
            # soon after.
            known.doubted = now
            return holder
        if owner in parts and holder is not None and now < self._end_of_doubt(known, holder):
            return holder
        return owner

    def _claim(self, known: Address, part: OwnMember, *, is_alone: bool, now: float) -> None:
        """Claim the address for a member; ``is_alone``: no other member is heard."""
        if is_alone and known.claim.holder != NO_HOLDER:
            known.before_alone, known.taken_at = known.claim, now
        known.take_over(part.id, part.config.priority)
        self._change(now)

    def _govern(self, known: Address, owner: str | None, members: Sequence[Member], now: float) -> None:
        """Let the other parts of the guard know which member serves."""
        governed, address = self._core.governed, known.address
        is_new = known.set_owner(owner, members)
        found = self._governed(known) if self._is_governed(known, now) else None
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
        if before == core.me and known.address in self._own:
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
        if self._wards.speak(known, now):
            self._change(now)
        record = self._core.table.get(known.address)
        if record is not None and self._wards.needs_look(known.address, now):
            self._leader.find_holders(record, now)

    def _speaking(self, known: Address) -> str | None:
        """Return the member that serves and for which this node speaks: itself, or a ward."""
        return next(
            (
                node
                for node, part in self._parts(known).items()
                if part.id == known.claim.holder and part.state not in UNFIT
            ),
            None,
        )

    def _set_speaking(self, known: Address, now: float) -> None:
        """Tell the clients which single member serves now, if this node speaks for that member."""
        node = None if known.balanced else self._speaking(known)
        # The MAC address of a ward may change; for our own host the first one is enough.
        speaks_of = (
            None if node is None else (node, None if node == self._core.me else self._mac(known, node))
        )
        if speaks_of == known.speaks_of:
            self._remind(known, node, now)
            return
        known.speaks_of, known.announced = speaks_of, now
        if node is None:
            self._announcing.stop(known.address)
        else:
            self._announce(known.address, node, now)

    def _remind(self, known: Address, node: str | None, now: float) -> None:
        """Announce the owner again now and then if other hosts answer as well.

        This node may have missed the question of a client that believes one of them.
        """
        record = self._core.table.get(known.address)
        if node is None or record is None or now < known.announced + REMINDER:
            return
        mac = self._mac(known, node)
        if mac is not None and self._core.is_contested(record):
            known.announced = now
            self._core.send(neighbour.announcement(mac, known.address))

    def _is_out_of_earshot(
        self, known: Address, holder: str | None, members: Sequence[Member], now: float
    ) -> bool:
        """Tell whether only another member hears the holder: no UDP passes between the holder and this node.

        Without this check, two members that cannot hear each other would take the address from each other
        again and again.
        """
        nodes = {member.node for member in members}
        return (
            holder is not None
            and holder not in nodes
            and known.is_holder_heard(nodes)
            and self._core.mesh.is_reachable(holder)
            and not self._leader.is_gone(holder)
            and self._core.mesh.may_hold(holder, known.address, now)
        )

    def _may_be_cut_off(self, holder: str | None) -> bool:
        """Tell whether the holder fell silent together with all other nodes: then this node may be cut off.

        A node that knows no other node that could answer cannot tell, and believes what it sees.
        """
        core = self._core
        if holder is None or holder == core.me or not core.mesh.is_reachable(holder):
            return False
        if not self._leader.is_gone(holder):
            return False
        silent = core.watch.get(holder)
        since = silent.suspect_since if silent is not None else math.inf
        others = [core.watch.get(node) for node in self.watched() - {holder}]
        known = [detector for detector in others if detector is not None and detector.proved]
        return bool(known) and all(detector.last_heard <= since for detector in known)

    def _end_of_doubt(self, known: Address, holder: str) -> float:
        """Return until when this node waits for a holder after all nodes were silent."""
        if not self._core.mesh.is_reachable(holder):
            return -math.inf
        return known.doubted + (DOUBT_TIME if self._leader.is_gone(holder) else DOUBT_TIME_OF_RECORDS)

    def _set_hears_holder(
        self, known: Address, own: OwnMember, members: Sequence[Member], owner: str | None, now: float
    ) -> None:
        hears = any(member.id == known.claim.holder and member.node == owner for member in members)
        if own.hears_holder is not hears:
            own.hears_holder = hears
            self._change(now)

    def _set_state(self, known: Address, own: OwnMember, now: float) -> None:
        holds = known.claim.holder == self._core.my_id
        drains = self._draining or self._stopped_at < math.inf
        before, own.state = own.state, own.find_state(now, holds=holds, drains=drains)
        if own.state is not before:
            self._core.tell_state(known.address, self._core.me, own.state, before, own.trouble())
            own.ready_since = now
            self._change(now)

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
        known = self._addresses[address]
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

    @staticmethod
    def _preempting(
        known: Address, parts: dict[str, OwnMember], owner: str | None, members: Sequence[Member], now: float
    ) -> str | None:
        """Return the best member of ours that takes the address back from the owner; None if none does."""
        present = {member.node: member.priority for member in members}
        if owner not in present or known.claim.frozen:
            return None
        eager = [
            node
            for node, part in parts.items()
            if present.get(node, 0) > present[owner] and now >= part.preemption_due()
        ]
        return max(eager, key=present.__getitem__, default=None)

    def _reason(self, known: Address, before: str | None, owner: str | None) -> Reason:
        """Return why another node serves."""
        core, own = self._core, self._own.get(known.address)
        if before is None:
            return Reason("first", "nobody did")
        said = known.others.get(before)
        state, trouble = (EntryState.REMOVED if said is None else said.entry.state), None
        if before == core.me and own is not None:
            state, trouble = own.state, own.wants_drain() or own.trouble()
        elif before != core.me and not core.mesh.is_reachable(before):
            return Reason("unreachable", f"{before} has left the mesh")
        elif before != core.me and self._leader.is_gone(before):
            return Reason("silent", f"{before} is silent")
        match state:
            case EntryState.DRAIN:
                return Reason("drain", f"{before} drains")
            case EntryState.FAULT | EntryState.INIT | EntryState.ABSENT:
                return Reason("fault", f"{before} is not well" + (f": {trouble}" if trouble else ""))
            case EntryState.REMOVED:
                return Reason("removed", f"{before} is no member any more")
            case _:
                return Reason("claim", f"{owner} took over")

    def _tell(self, known: Address, before: str | None, reason: Reason, now: float) -> None:
        own = self._own.get(known.address)
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

    def _announce(self, address: bytes, node: str, now: float) -> None:
        """Tell the clients who serves: ``node``, for which this node speaks, or each client's own member."""
        record, mac = self._core.table.get(address), self._mac(self._addresses[address], node)
        if self._addresses[address].balanced:
            self.sharing.tell_all(address, now)
        elif record is not None and mac is not None:
            self._announcing.start(record, mac, now)
            self._announcing.tick(now)

    def _welcome(self, node: str, now: float) -> None:
        """Tell the clients of a node that has just joined who serves: they may have missed announcements."""
        for known in self._addresses.values():
            speaking, record = self._speaking(known), self._core.table.get(known.address)
            mac = None if speaking is None or known.balanced else self._mac(known, speaking)
            if record is not None and mac is not None:
                self._announcing.welcome(record, mac, node, now)

    def _mac(self, known: Address, node: str) -> bytes | None:
        """Return the MAC address of a member for which this node speaks."""
        record = self._core.table.get(known.address)
        mac = None if record is None else self._core.mac_of(record, node)
        return self._core.mesh.own_mac() if mac is None and node == self._core.me else mac

    # -- records --

    def _change(self, now: float) -> None:
        """Have the news sent to all nodes, several times."""
        if self._listeners() or self._telling.has_removed:
            self._telling.change(now)
            self._next_update = min(self._next_update, now)

    def _send_due(self, now: float) -> None:
        if not (self._listeners() or self._telling.has_removed):
            return
        if self._telling.send_due(self._entries, self._common_members(), now):
            for part in self._listeners():
                part.contact(now)

    def _entries(self) -> list[Entry]:
        entries = [self._entry(address, own) for address, own in self._own.items()]
        for address in self._wards.addresses():
            entries += self._wards.entries(self._addresses[address])
        return entries

    def _entry(self, address: bytes, own: OwnMember) -> Entry:
        mac = self._mac(self._addresses[address], self._core.me) or NO_HOLDER
        config = own.config
        return Entry(
            address,
            own.state,
            config.priority,
            mac,
            self._addresses[address].claim,
            own.hears_holder,
            config.balance,
            config.weight,
        )

    def _common_members(self) -> set[str]:
        """Return the nodes that share an address with this one: members, and guardians of members."""
        found = {
            name
            for address in self._concerned()
            for node, said in self._addresses[address].others.items()
            for name in (node, said.guardian)
        }
        return {name for name in found if name not in (None, self._core.me)}

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        parts = self._announcing.next_deadline(), self.sharing.next_deadline()
        warm = self._next_warm if self._own or self._wards else math.inf
        return min(self._next_update, warm, *parts, self._telling.next_deadline())

    def tick(self, now: float) -> None:
        """Do what is due."""
        if now >= self._next_update:
            self._wait_for_strangers(now)
            self.update(now)
        if self._listeners() and now >= self._next_warm:
            self._next_warm = now + WARM_INTERVAL
            possible = self._core.mesh.possible_members(self._concerned())
            self._core.actions += [KeepWarm(node) for node in sorted(possible)]
        self._send_due(now)
        self._announcing.tick(now)
        self.sharing.tick(now)

    def _wait_for_strangers(self, now: float) -> None:
        """Listen a little longer while this node does not know of all nodes whether they are members."""
        starting = [part for part in self._listeners() if now < part.init_until]
        mesh = self._core.mesh
        if starting and any(mesh.is_stranger(node) for node in mesh.possible_members(self._concerned())):
            for part in starting:
                part.contact(now)

    def _find_next_update(self, now: float) -> float:
        dues = [known.next_expiry(now) for known in self._addresses.values()]
        for part in self._listeners():
            dues += [due for due in (part.init_until, part.preemption_due()) if due > now]
            dues.append(now + (INIT_INTERVAL if now < part.init_until else INTERVAL))
        dues += [known.vouched_until for known in self._addresses.values() if known.vouched_until > now]
        return max(min(dues, default=math.inf), now + LEAST_INTERVAL)

    def prune(self, now: float) -> None:
        """Forget what is over."""
        for address, known in list(self._addresses.items()):
            known.prune(now, MEMORY)
            if not known.others and not self._takes_part(address):
                del self._addresses[address]
                self._core.governed.pop(address, None)
                record = self._core.table.get(address)
                if record is not None:
                    record.has_members = False
        self._telling.prune(now, MEMORY)

    # -- for the others --

    def take_changed(self) -> bool:
        """Tell whether an owner or `withheld` has changed since the last call."""
        changed, self._has_changed = self._has_changed, False
        return changed

    def flow_members(self, now: float) -> dict[bytes, list[Member]]:
        """Return the members that can be reached of each address whose flows are shared."""
        return {
            address: self._all(known, now)
            for address, known in self._addresses.items()
            if known.balance is Balance.FLOW and address in self._core.governed
        }

    @property
    def withheld(self) -> frozenset[bytes]:
        """Addresses for which the answers of our host do not leave this node."""
        return frozenset(
            address
            for address, own in self._own.items()
            if not (own.serving or self._addresses[address].balanced)
        )

    def taken_over(self, now: float) -> dict[bytes, tuple[bytes, float]]:
        """Return the addresses that were handed over lately, to this node or by it.

        The keys are addresses or, where clients are shared, a client's MAC address followed by the address.
        The values are the MAC address of the former member's host (ours or another one) and the time until
        which the entry counts.
        """
        found: dict[bytes, tuple[bytes, float]] = {}
        for address in self._own:
            known = self._addresses[address]
            present = {member.id: member.mac for member in self._all(known, now) if any(member.mac)}
            if known.balanced:
                found |= self.sharing.taken_over(known, present, now)
            elif known.former is not None and now < known.former[1] and known.former[0] in present:
                found[address] = present[known.former[0]], known.former[1]
        return found

    def answered(self, record: AddressRecord) -> frozenset[bytes] | None:
        """Return the clients that our host answers for an address; None: it answers all or none."""
        return self.sharing.answered(record) if record.address in self._own else None

    def watched(self) -> set[str]:
        """Return the nodes whose silence matters to this node as a member.

        They are the other members, and a few more nodes that show whether this node itself is cut off.
        """
        members = {node for node in self._common_members() if self._core.mesh.is_reachable(node)}
        witnesses = sorted(set(self._core.mesh.witnesses()) - members) if members else []
        return members.union(witnesses[:MAX_WITNESSES])

    def view(self, now: float) -> PolicyView:
        """Return a view of all addresses with members."""
        return PolicyView(
            self._draining,
            tuple(self._view_of(self._addresses[address], now) for address in sorted(self._addresses)),
        )

    def _view_of(self, known: Address, now: float) -> VirtualIpView:
        record = self._core.table.get(known.address)
        return virtual_ip_view(
            known,
            self._own.get(known.address),
            list(self._wards.of(known.address).values()),
            {member.node for member in self._present(known, now)},
            0 if record is None else len(record.clients),
            partial(self.sharing.clients_of, known.address),
            self._core.me,
            now,
        )
