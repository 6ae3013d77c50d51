"""Decides once a second which nodes to watch, what the data path must do, and what to forget."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Final

from pytinc.vip.actions import NO_HOLDER, FlowShares, KeepWarm, NewRules, Rules, SetSilent
from pytinc.vip.addresses import AddressRecord
from pytinc.vip.asking import Asking
from pytinc.vip.core import GRACE, IDLE_LIFE, LOCAL_USE, RECENT_USE, Core, Silenced, address_text, mac_text
from pytinc.vip.detector import State
from pytinc.vip.failover import Failovers
from pytinc.vip.flows import flow_shares
from pytinc.vip.policy import Policy

INTERVAL: Final = 1.0
IDLE_INTERVAL: Final = 10.0
"""Seconds between two reviews while nothing is guarded."""
SOON: Final = 0.02
"""Seconds from news to the review, which gathers news that follow."""
LEAST_INTERVAL: Final = 0.1
MAX_REPORTS: Final = 32
"""Shared addresses reported at level 0 within `REPORT_TIME`; the others at level 2."""
REPORT_TIME: Final = 600.0
PRUNE_INTERVAL: Final = 30.0
CLIENT_LIFE: Final = 86_400.0
"""Seconds after its last question for which a client counts as long as its MAC address is announced: a kernel
may keep one answer for as long as it has traffic."""
WARM_INTERVAL: Final = 8.0
MAX_WARM: Final = 256
"""Most nodes beside the watched ones whose paths are kept ready."""


class Review:
    """Reviews everything now and then."""

    def __init__(self, core: Core, asking: Asking, failovers: Failovers, policy: Policy) -> None:
        self._core = core
        self._asking = asking
        self._failovers = failovers
        self._policy = policy
        self._due = math.inf
        self._last = -math.inf
        self._next_prune = -math.inf
        self._next_warm = -math.inf
        self._reports: deque[float] = deque()
        self.rules = Rules()

    def soon(self, now: float) -> None:
        """Review soon, because something is new."""
        self._due = min(self._due, max(now + SOON, self._last + LEAST_INTERVAL))

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return self._due

    def tick(self, now: float) -> None:
        """Review if it is time."""
        if now >= self._due:
            self.now(now)

    def now(self, now: float) -> None:
        """Review everything now."""
        self._last = now
        core = self._core
        if now >= self._next_prune:
            self._next_prune = now + PRUNE_INTERVAL
            self._prune(now)
        shared = [record for record in core.table if core.is_shared(record)]
        for record in shared:
            if not record.reported and record.address not in core.governed and record.round_end() == math.inf:
                self._report(record, now)
            if not record.called:
                record.called = True
                self._asking.shared(record, now)
        flows = flow_shares(core, self._policy.flow_members(now))
        wanted = set(core.mesh.rivals(now)).union(*(self._wanted(record, flows, now) for record in shared))
        wanted |= self._policy.watched()
        wanted.discard(core.me)
        wanted = wanted.union(*(self._relayed(record, now) for record in shared))
        hops = set[str]().union(*(core.hops(node, now - LOCAL_USE) for node in wanted))
        # A peer that makes itself or others silent stays watched, even if frames avoid it now.
        hops |= {
            hop
            for hop, nodes in core.silenced.items()
            if core.mesh.is_reachable(hop) and not wanted.isdisjoint(nodes)
        }
        core.watch.set_wanted(hops, now)
        core.wanted = wanted
        self._welcome_back(now)
        self._keep_warm(wanted, shared, now)
        self._failovers.prune(now)
        self._failovers.look_for_relapses(now)
        self.set_rules(self._make_rules(shared, flows, now))
        has_work = core.governed or len(core.table) or len(core.watch) or core.mesh.has_rivals()
        self._due = now + (INTERVAL if has_work else IDLE_INTERVAL)

    # -- who is watched --

    def _relayed(self, record: AddressRecord, now: float) -> set[str]:
        """Return the nodes of clients that use a holder of ours with a relay on the way there or back."""
        core = self._core
        own = core.own_holders(record)
        if not own:
            return set()
        return {
            owner
            for client in record.clients.values()
            if (owner := core.mesh.owner(client.mac)) is not None
            and owner != core.me
            and core.hops(owner, now - LOCAL_USE) - {owner}
            and now - core.last_use(record, client)[0] < LOCAL_USE
            and core.holder_of(record, client, now) in own
        }

    def _welcome_back(self, now: float) -> None:
        """Find the nodes that are back, of all those whose clients were led elsewhere."""
        core = self._core
        for node in sorted(core.left.keys() | {node for nodes in core.silenced.values() for node in nodes}):
            if not self._is_there(node):
                continue
            if core.is_silenced(node):
                for nodes in core.silenced.values():
                    nodes.pop(node, None)
                core.actions.append(SetSilent(node, silent=False))
            self._failovers.back(node, now)

    def _is_there(self, node: str) -> bool:
        """Tell whether a node can be reached, and can reach this node, without a silent peer in between."""
        core = self._core
        hop = core.mesh.first_hop(node)
        detector = None if hop is None else core.watch.get(hop)
        return (
            detector is not None
            and detector.is_there
            and detector.last_heard > core.left.get(node, -math.inf)
            and core.mesh.is_reachable(node)
            and all(
                self._comes_without(node, relay, nodes[node])
                for relay, nodes in core.silenced.items()
                if node in nodes and node != relay
            )
        )

    def _comes_without(self, node: str, relay: str, silenced: Silenced) -> bool:
        """Tell whether the data that a node sends us avoids a relay that is silent."""
        mesh = self._core.mesh
        if mesh.received(node) != silenced.received:
            return mesh.last_hop(node, silenced.at) != relay
        # No data came since then: check whether this relay brought the data before.
        return mesh.last_hop(node, silenced.at - LOCAL_USE) != relay

    def _wanted(self, record: AddressRecord, flows: Mapping[bytes, FlowShares], now: float) -> set[str]:
        """Return the nodes behind a shared address that must be watched."""
        core = self._core
        owners = {mac: owner for mac in record.holders if (owner := core.mesh.owner(mac)) is not None}
        everyone = set(owners.values()) - {core.me}
        is_caller = self._asking.is_caller(record, now)
        governed = record.address in core.governed  # its members watch each other
        used = everyone & core.left.keys()
        for client in record.clients.values():
            if core.is_local(client):
                since, holder = core.last_use(record, client)
                if holder is None or now - since >= LOCAL_USE:
                    continue
                if record.address in flows:
                    return everyone  # the station uses all of them
                used |= {owners[holder]} & everyone if holder in owners else set()
            elif (
                is_caller and not governed and core.uses(record, client, now) and not core.is_guarded(client)
            ):
                return everyone
        # The other holders matter only while a used one is suspect.
        suspect = any(core.watch.state(node) not in (None, State.ALIVE) for node in used - core.left.keys())
        return everyone if suspect else used

    def _keep_warm(self, wanted: set[str], shared: list[AddressRecord], now: float) -> None:
        """Keep the keys and paths of nodes ready to which a question may have to go at once.

        They are the watched nodes, the nodes of the clients that this node takes care of, and all holders of
        addresses that our own stations use or that others use at our own holder.
        """
        core = self._core
        core.actions += [KeepWarm(node) for node in sorted(wanted)]
        if now < self._next_warm:
            return
        nodes = {
            owner
            for record in shared
            for mac in self._to_be_asked(record, now)
            if (owner := core.mesh.owner(mac)) is not None
        }
        if nodes:
            self._next_warm = now + WARM_INTERVAL
        core.actions += [KeepWarm(node) for node in sorted(nodes - wanted - {core.me})[:MAX_WARM]]

    def _to_be_asked(self, record: AddressRecord, now: float) -> Iterator[bytes]:
        core = self._core
        if self._asking.is_caller(record, now):
            yield from record.clients
        own = core.own_holders(record)
        if any(
            core.uses(record, client, now)
            if core.is_local(client)
            else core.holder_of(record, client, now) in own
            for client in record.clients.values()
        ):
            yield from record.holders

    # -- rules for the data path --

    def set_rules(self, rules: Rules) -> None:
        """Give the data path new rules."""
        if rules != self.rules:
            self.rules = rules
            self._core.actions.append(NewRules())

    def _make_rules(
        self, shared: list[AddressRecord], flows: Mapping[bytes, FlowShares], now: float
    ) -> Rules:
        core = self._core
        addresses = {record.address for record in shared}
        senders: dict[bytes, bytes] = {}
        in_use: dict[bytes, bytes] = {}
        for record in shared:
            own = core.own_holders(record)
            if not own and not core.is_balanced(record.address):
                self._note_use(record, in_use, now)
            for mac in own:
                senders[record.address] = core.own.other_address(mac, record.address, addresses)
        known = {
            address
            for address in core.own.addresses()
            if address not in addresses and self._is_verified(address)
        }
        macs = frozenset(mac for record in shared for mac in record.holders)
        moves = self._failovers
        return Rules(
            macs,
            frozenset(addresses),
            senders,
            frozenset(known),
            moves.withdrawn | self._policy.withheld,
            self._answered(shared),
            moves.gone,
            self._absent(shared),
            self._answering(),
            frozenset(senders),
            self._policy.taken_over(now),
            in_use,
            core.own.has_more,
            flows,
        )

    def _answered(self, shared: list[AddressRecord]) -> dict[bytes, frozenset[bytes]]:
        """Return the clients that our host answers, for each address whose clients are shared."""
        found = ((record.address, self._policy.answered(record)) for record in shared)
        return {address: clients for address, clients in found if clients is not None}

    def _absent(self, shared: list[AddressRecord]) -> frozenset[bytes]:
        """Return the pairs of holder and address that no question may name to our stations."""
        core = self._core
        return frozenset(
            mac + record.address
            for record in shared
            for mac in record.holders
            if core.mesh.owner(mac) in core.left or not core.may_serve(record.address, core.mesh.owner(mac))
        )

    def _answering(self) -> dict[bytes, frozenset[str]]:
        """Return the nodes whose hosts are believed, for each address that a member serves.

        The nodes of the other members hold back the answers of their hosts, but tinc's daemon does not.
        """
        return {
            address: governed.serving | governed.quiet
            for address, governed in self._core.governed.items()
            if governed.owner is not None
        }

    def _note_use(self, record: AddressRecord, in_use: dict[bytes, bytes], now: float) -> None:
        """Note the holder that our stations use; `NO_HOLDER` if they use different ones."""
        core = self._core
        uses = [core.last_use(record, client) for client in record.clients.values() if core.is_local(client)]
        holders = {
            holder
            for since, holder in uses
            if holder is not None and now - since < RECENT_USE and core.serves(record, holder)
        }
        if holders:
            in_use[record.address] = holders.pop() if len(holders) == 1 else NO_HOLDER

    def _is_verified(self, address: bytes) -> bool:
        """Tell whether the hosts that have an address are known, or nobody is going to find out."""
        record = self._core.table.get(address)
        return record is None or record.verified

    # -- telling and forgetting --

    def _report(self, record: AddressRecord, now: float) -> None:
        """Log a shared address, but not too often: anybody in the network can fake shared addresses."""
        record.reported = True
        while self._reports and now - self._reports[0] > REPORT_TIME:
            self._reports.popleft()
        if (level := 0 if len(self._reports) < MAX_REPORTS else 2) == 0:
            self._reports.append(now)
        mesh = self._core.mesh
        holders = [f"{mesh.owner(holder.mac)} ({mac_text(holder.mac)})" for holder in record.present()]
        self._core.log(
            level,
            "notice",
            f"{address_text(record.address)} is held by {' and '.join(sorted(holders))}: guarded as a shared "
            "address. If it is no virtual IP, these hosts have the same address by mistake.",
        )

    def _prune(self, now: float) -> None:
        core = self._core
        for record in list(core.table):
            for client in list(record.clients.values()):
                if core.mesh.owner(client.mac) is not None:
                    client.owned = now
                if now - client.seen > CLIENT_LIFE or now - client.owned > GRACE:
                    core.table.drop_client(record, client.mac)
            if (
                record.address not in core.governed
                and not record.clients
                and now - max(record.seen, record.own_seen) > IDLE_LIFE
            ):
                core.table.forget(record)
        for known in (core.left, core.returned):
            for node in [node for node, since in known.items() if now - since > IDLE_LIFE]:
                del known[node]
        self._asking.prune(now)
        self._policy.prune(now)
        core.own.prune(now)
