"""Translates between the node and the guard of shared addresses (`pytinc.vip`).

What the data path reports and what happens to peers goes in; probes, questions and new rules for the data
path come out. The guard knows nodes by name and MAC addresses by their bytes, and knows nothing else about
the node.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from pytinc.config.settings import Mode
from pytinc.datapath.flow_table import FlowMember, FlowRule, FlowTable
from pytinc.datapath.guard_table import GuardTable
from pytinc.errors import DecodeError
from pytinc.node.actions import RunScript, Withdrawn
from pytinc.node.changes import Happened
from pytinc.node.core import Core
from pytinc.node.forwarding import Forwarding
from pytinc.node.meta_output import MetaOutput
from pytinc.node.probes import Probes
from pytinc.node.records import Peer
from pytinc.node.rules import hears_neighbours
from pytinc.node.tunnels import Tunnels
from pytinc.node.vip_rights import VipRights
from pytinc.protocol.subnet_table import SubnetTable
from pytinc.vip import actions
from pytinc.vip.core import address_text
from pytinc.vip.guard import Guard
from pytinc.wire import neighbour
from pytinc.wire.ethernet import DESTINATION, SOURCE
from pytinc.wire.requests import Number, ReqKey
from pytinc.wire.virtual_ip import Balance

if TYPE_CHECKING:
    from collections.abc import Callable

    from pytinc.datapath.output import Output, Upcalls
    from pytinc.vip.health import Outcome
    from pytinc.vip.views import GuardCounters, GuardSummary, GuardView, PolicyView
    from pytinc.wire.virtual_ip import Check

USES_LIFE: Final = 600.0
"""Seconds for which the node remembers that a station sent to a holder."""
USES_INTERVAL: Final = 10.0
RIVAL_USE: Final = 10.0
"""Seconds after the last frame for a node in which the node counts as used."""


class NodeGuard:
    """The guard of this node. It implements `pytinc.vip.actions.Mesh`."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        subnets: SubnetTable,
        forwarding: Forwarding,
        probes: Probes,
        tunnels: Tunnels,
        inject: Callable[[bytes, float, Output], None],
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._subnets = subnets
        self._forwarding = forwarding
        self._probes = probes
        self._tunnels = tunnels
        self._inject = inject
        """Sends a frame of our own into the switch."""
        self._rights = VipRights(core)
        self._guard = Guard(core.me.name, core.me.slot.id, self, core.random_float)
        self._flows = FlowTable()
        self._next_pruning = math.inf
        self._owners_changed = False
        """Nodes fell silent or answered again, and the owners of MACs and subnets are not updated yet."""
        self._traffic: dict[str, tuple[int, float]] = {}
        """The number of frames sent to each rival so far, and when it last changed."""
        self._perform: dict[type[actions.Action], Callable[[Any, float], None]] = {
            actions.SendProbe: self._send_probe,
            actions.AskMeta: self._ask_meta,
            actions.KeepWarm: self._keep_warm,
            actions.SendFrame: self._send_frame,
            actions.SetSilent: self._set_silent,
            actions.Notice: lambda action, now: core.log(action.level, action.priority, action.message),
            actions.Changed: lambda action, now: core.act(RunScript("vip-changed", action.environment)),
            actions.Happened: lambda action, now: core.changes.note(Happened(action.kind, action.fields)),
            actions.SendRecord: self._send_record,
            actions.ServiceChanged: lambda action, now: core.act(
                RunScript(action.script, action.environment)
            ),
            actions.NewRules: lambda action, now: self._write_rules(now),
            actions.Gone: lambda action, now: core.act(Withdrawn()),
        }

    # -- life --

    def configure(self, now: float) -> None:
        """Take over the settings: at the start, and at a reload."""
        settings = self._core.settings
        hears_all = hears_neighbours(settings)
        enabled = settings.neighbour_guard and settings.mode is not Mode.HUB
        table = self._core.table
        table.guard = (table.guard or GuardTable()) if enabled and hears_all else None
        self._rights.load()
        self._guard.configure(
            now,
            enabled=enabled,
            addresses=hears_all,
            interval=settings.guard_interval / 1000,
            virtual_ips=settings.virtual_ips,
        )
        self._next_pruning = now + USES_INTERVAL
        self._write_rules(now)
        self.settle(now)

    def withdraw(self, now: float) -> None:
        """Lead the clients of our own holders elsewhere; the action `Withdrawn` marks the end."""
        self._guard.withdraw(now)
        self.settle(now)

    def known_addresses(self) -> list[bytes]:
        """Return all addresses in use that the guard knows."""
        return self._guard.known_addresses()

    def address_added(self, address: bytes, now: float) -> None:
        """The host got an address."""
        self._guard.address_added(address, now)
        self.settle(now)

    def address_removed(self, address: bytes, macs: frozenset[bytes], now: float) -> None:
        """The host gave up an address."""
        self._guard.address_removed(address, macs, now)
        self.settle(now)

    # -- virtual IPs by policy --

    def policy_view(self, now: float) -> PolicyView:
        """Return a view of the virtual IPs with members."""
        view, counts = self._guard.policy.view(now), Counter[tuple[str, str | None]]()
        for (address, mac), count in self._flows.counts().items():
            counts[address_text(address), self.owner(mac)] += count
        addresses = tuple(
            replace(
                vip,
                members=tuple(
                    replace(member, flows=counts[vip.address, member.node]) for member in vip.members
                ),
            )
            if vip.balance == Balance.FLOW.word
            else vip
            for vip in view.addresses
        )
        return replace(view, addresses=addresses, flows=len(self._flows), flows_evicted=self._flows.evicted)

    def check_result(self, key: tuple[bytes, str | None], check: Check, outcome: Outcome, now: float) -> None:
        """A health check of ours has run; ``key`` as `VirtualIP.key`."""
        self._guard.policy.checked(key, check, outcome, now)
        self._after_command(now)

    def next_check(self, key: tuple[bytes, str | None], check: Check) -> float:
        """Return in how many seconds a health check is to run again."""
        return self._guard.policy.next_check(key, check)

    def drain(self, now: float, *, on: bool) -> None:
        """Serve nothing, or serve again."""
        self._guard.policy.drain(now, on=on)
        self._after_command(now)

    def move(self, address: bytes, target: str, now: float) -> None:
        """Make another member serve; PolicyError says why that is impossible."""
        self._guard.policy.orders.move(address, target, now)
        self._after_command(now)

    def freeze(self, address: bytes, now: float, *, on: bool) -> None:
        """Keep an address where it is, or let it move again; PolicyError says why that is impossible."""
        self._guard.policy.orders.freeze(address, now, on=on)
        self._after_command(now)

    def rebalance(self, address: bytes, now: float) -> None:
        """Move clients from members that have too many; PolicyError says why that is impossible."""
        self._guard.rebalance(address, now)
        self._after_command(now)

    def _after_command(self, now: float) -> None:
        self._guard.act_now(now)
        self.settle(now)

    def summary(self) -> GuardSummary:
        """Return the numbers of the guard without the addresses."""
        summary = self._guard.summary()
        return replace(summary, counters=self._completed(summary.counters))

    def view(self, now: float) -> GuardView:
        """Return a view of the guard and all addresses."""
        view = self._guard.view(now)
        return replace(view, counters=self._completed(view.counters))

    def _completed(self, counters: GuardCounters) -> GuardCounters:
        """Add what the data path counts."""
        table = self._core.table.guard
        if table is None:
            return counters
        return replace(counters, rewritten=table.rewritten, withheld=table.answers_withheld)

    # -- time --

    def next_deadline(self) -> float:
        """Return when `tick` has something to do."""
        return self._guard.next_deadline()

    def tick(self, now: float) -> None:
        """Do what is due."""
        table = self._core.table.guard
        if table is not None:
            table.beat(now)
        if table is not None and now >= self._next_pruning:
            self._next_pruning = now + USES_INTERVAL
            for key in [key for key, seen in table.uses.items() if now - seen > USES_LIFE]:
                del table.uses[key]
            self._flows.prune(now)
        self._guard.tick(now)
        self.settle(now)

    def settle(self, now: float) -> None:
        """Carry out what the guard asked for."""
        for action in self._guard.take_actions():
            self._perform[type(action)](action, now)
        self._write_owners()

    # -- what happens --

    def take(self, upcalls: Upcalls, now: float) -> None:
        """Take what the data path reported."""
        if not (upcalls.messages or upcalls.uses):
            return
        for source, message in upcalls.messages:
            self._guard.message(message, now, from_device=source.is_me)
        for key, head in upcalls.uses:
            ends = neighbour.ends_of(head)
            if ends is not None:
                self._guard.used(key[DESTINATION], key[SOURCE], *ends, now)
        self.settle(now)

    def probe_answered(self, peer: Peer, nonce: bytes, now: float) -> bool:
        """Take the answer to a probe; False if the guard did not ask."""
        known = self._guard.probe_answered(peer.name, nonce, now)
        if not known:
            self._guard.heard(peer.name, now)
        self.settle(now)
        return known

    def heard(self, peer: Peer, now: float) -> None:
        """A probe of a peer came."""
        self._guard.heard(peer.name, now)

    def member_record(self, peer: Peer, payload: bytes, now: float) -> None:
        """A member record came from a peer."""
        try:
            self._guard.member_record(peer.name, peer.slot.id, payload, now)
        except DecodeError as error:
            self._core.complain(f"{peer.name} sent {error}", now)
        self.settle(now)

    def assignment_record(self, peer: Peer, payload: bytes, now: float) -> None:
        """An assignment record came from a peer."""
        try:
            self._guard.assignment_record(peer.name, payload, now)
        except DecodeError as error:
            self._core.complain(f"{peer.name} sent {error}", now)
        self.settle(now)

    def meta_answered(self, peer: Peer, now: float) -> None:
        """A peer answered over meta connections."""
        self._guard.meta_answered(peer.name, now)

    def connection_closed(self, peer: Peer, now: float) -> None:
        """A meta connection with a peer ended."""
        self._guard.connection_closed(peer.name, now)

    def reachability(self, peer: Peer, now: float) -> None:
        """A peer became reachable, or unreachable."""
        self._guard.reachability(peer.name, now, reachable=peer.reachable)
        self.settle(now)

    # -- facts --

    def owner(self, mac: bytes) -> str | None:
        """Return the node that owns a MAC address."""
        slot = self._core.table.owner_of(mac)
        return None if slot is None else slot.name

    def is_reachable(self, node: str) -> bool:
        """Tell whether a node can be reached."""
        peer = self._core.peers.get(node)
        return peer is not None and peer.reachable

    def is_alone(self) -> bool:
        """Tell whether no other node can be reached."""
        return not any(peer.reachable for peer in self._core.peers.values() if peer is not self._core.me)

    def first_hop(self, node: str) -> str | None:
        """Return the node that frames for ``node`` are sent to, if it can be probed."""
        peer = self._core.peers.get(node)
        if peer is None or not peer.reachable:
            return None
        # Without UDP, frames go by TCP through the next hop, which may well answer probes itself.
        relay = peer.slot.paths[0].relay if peer.slot.paths else peer.slot.nexthop
        is_probed = relay is not None and relay.confirmed and relay.session is not None
        return relay.name if relay is not None and is_probed else None

    def last_hop(self, node: str, since: float) -> str | None:
        """Return the relay that brought the last frame of a node; None if it came directly."""
        peer = self._core.peers.get(node)
        if peer is None or peer.relayed_at < since or peer.relayed_packets != peer.slot.in_packets:
            return None
        return peer.last_relay

    def received(self, node: str) -> int:
        """Return how many frames came from a node."""
        peer = self._core.peers.get(node)
        return 0 if peer is None else peer.slot.in_packets

    def last_use(self, holder: bytes, client: bytes, address: bytes) -> float:
        """Return when the last frame went from a client to an address at a holder."""
        table = self._core.table.guard
        return -math.inf if table is None else table.uses.get(holder + client + address, -math.inf)

    def is_guard(self, node: str) -> bool:
        """Tell whether a node guards its own clients."""
        peer = self._core.peers.get(node)
        return peer is not None and peer.is_guard

    def name_of(self, node_id: bytes) -> str | None:
        """Return the node with this id."""
        slot = self._core.table.by_id.get(node_id)
        return None if slot is None else slot.name

    def own_mac(self) -> bytes | None:
        """Return the MAC address of the device."""
        return self._core.table.hwaddr

    def record_peers(self) -> Iterable[str]:
        """Return the nodes that take member records and can be reached by UDP."""
        return [
            peer.name
            for peer in self._core.peers.values()
            if peer.takes_records and peer.reachable and peer.slot.confirmed
        ]

    def witnesses(self) -> Iterable[str]:
        """Return the neighbours that can be probed; without any, other nodes."""
        probed = [peer for peer in self._core.peers.values() if self.first_hop(peer.name) == peer.name]
        neighbours = [peer.name for peer in probed if peer.connection is not None]
        return neighbours or [peer.name for peer in probed]

    def is_stranger(self, node: str) -> bool:
        """Tell whether no probe of a node has shown yet what the node supports."""
        peer = self._core.peers.get(node)
        return peer is not None and peer.reachable and not peer.slot.confirmed

    def may_hold(self, node: str, address: bytes, now: float) -> bool:
        """Tell whether a node may serve an address."""
        return self._rights.may_hold(node, address, now)

    def possible_members(self, addresses: Iterable[bytes]) -> Iterable[str]:
        """Return the reachable nodes that may be members of one of these addresses."""
        return self._rights.possible_members(addresses)

    def has_rivals(self) -> bool:
        """Tell whether any subnet has more than one owner."""
        return self._subnets.has_rivals

    def rivals(self, now: float) -> Iterable[str]:
        """Return the nodes in use that own a subnet which another node owns as well."""
        used = []
        traffic, self._traffic = self._traffic, {}
        for name in self._subnets.rivals():
            peer = self._core.peers.get(name)
            if peer is None or peer is self._core.me:
                continue
            sent = peer.slot.out_packets
            before, changed = traffic.get(name, (sent, -math.inf))
            if sent != before:
                changed = now
            self._traffic[name] = (sent, changed)
            # A silent node gets no frames, so it must not count as unused before it answers.
            if now - changed < RIVAL_USE or peer.slot.silent:
                used.append(name)
        return used

    # -- actions --

    def _send_probe(self, action: actions.SendProbe, now: float) -> None:
        peer = self._core.peers.get(action.node)
        if peer is not None:  # otherwise the node has just been purged
            self._probes.send_guard_probe(peer, action.nonce)

    def _ask_meta(self, action: actions.AskMeta, now: float) -> None:
        """Ask a node whether it is alive: a neighbour by PING, others for their public key."""
        me, peer = self._core.me.name, self._core.peers.get(action.node)
        if peer is None:
            return
        if peer.connection is not None:
            self._meta_output.ping(peer.connection, now)
        else:
            self._meta_output.send_towards(peer, ReqKey(me, peer.name, Number.REQ_PUBKEY).format())

    def _send_record(self, action: actions.SendRecord, now: float) -> None:
        peer = self._core.peers.get(action.node)
        if peer is not None:
            self._probes.send_vip_record(peer, action.payload)

    def _keep_warm(self, action: actions.KeepWarm, now: float) -> None:
        peer = self._core.peers.get(action.node)
        if peer is not None:
            self._tunnels.upkeep(peer, now, search_mtu=True)

    def _send_frame(self, action: actions.SendFrame, now: float) -> None:
        self._write_owners()
        self._inject(action.frame, now, self._core.output)

    def _set_silent(self, action: actions.SetSilent, now: float) -> None:
        peer = self._core.peers.get(action.node)
        if peer is not None and peer.slot.silent is not action.silent:
            peer.slot.silent = action.silent
            self._owners_changed = True

    def _write_owners(self) -> None:
        """Write the owners once for all nodes behind a relay: it takes as long for one as for a hundred."""
        if self._owners_changed:
            self._owners_changed = False
            self._forwarding.write_owners()

    def _write_rules(self, now: float) -> None:
        table, rules = self._core.table.guard, self._guard.rules
        self._write_flows(rules.flows, now)
        if table is None:
            return
        if not table.own:
            table.heartbeat = now  # `tick` had no reason to run until now
        table.macs, table.addresses = rules.macs, rules.addresses
        table.known, table.withheld, table.answered = rules.known, rules.withheld, rules.answered
        table.senders, table.in_use = rules.senders, rules.in_use
        table.left, table.absent = rules.left, rules.absent
        table.answering = rules.answering
        table.own, table.lenient = rules.own, rules.lenient
        table.taken_over = rules.taken_over
        if not rules.taken_over:
            table.begun.clear()
        for address in table.asked.keys() - rules.in_use.keys():
            del table.asked[address]

    def _write_flows(self, shares: Mapping[bytes, actions.FlowShares], now: float) -> None:
        self._flows.configure(
            {
                address: FlowRule(tuple(map(FlowMember._make, members)), kept, macs)
                for address, (members, kept, macs) in shares.items()
            },
            now,
        )
        self._core.table.flows = self._flows if shares else None
