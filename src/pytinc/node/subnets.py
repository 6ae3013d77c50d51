"""Subnets and their owners; learning and ageing of own MACs (tinc: subnet.c, route.c learn_mac()).

Additions and deletions come out as `SubnetAdded` and `SubnetDeleted`; the forwarding table and the scripts
follow.
"""

from __future__ import annotations

from collections.abc import Iterable

from pytinc.node.changes import MacMoved, SubnetAdded, SubnetDeleted
from pytinc.node.core import Core
from pytinc.node.flood import Endings
from pytinc.node.meta_output import MetaOutput
from pytinc.node.topology import Topology
from pytinc.protocol.subnet_table import SubnetTable
from pytinc.wire.requests import AddSubnet, DelSubnet
from pytinc.wire.subnet import DEFAULT_BROADCAST_SUBNETS, Subnet, SubnetKind


class Subnets:
    """All subnets this node knows, its own among them."""

    def __init__(self, core: Core, topology: Topology, meta_output: MetaOutput) -> None:
        self._core = core
        self._topology = topology
        self._meta_output = meta_output
        self.table = SubnetTable()
        self.endings = Endings()
        """By owner and subnet."""
        self.learned = 0
        """MACs learned from the own device since the start."""
        self.moved = 0
        """How often a MAC was announced or learned while another node owned it."""
        self.claimed = 0
        """How often a node was found to claim the MAC of another with a lower weight."""
        self._broadcast: tuple[Subnet, ...] = ()
        self._lines: dict[tuple[str, Subnet], tuple[str, float, int | None]] = {}
        """The ADD_SUBNET that told of each subnet, when, and on which connection (None: our own)."""

    # -- life --

    def start(self) -> None:
        """Take up the configured subnets."""
        core = self._core
        self._set_broadcast()
        for subnet in core.settings.subnets:
            self.add(core.me.name, subnet, limited=False)
        if core.settings.strict_subnets:
            for name in [name for name in core.peers if name != core.me.name]:
                for subnet in self._of_host_file(name):
                    self.add(name, subnet, limited=False)

    def reload(self) -> None:
        """Announce subnets that are new in the configuration and withdraw those that are gone."""
        core = self._core
        self._set_broadcast()
        wanted = {core.me.name: set(core.settings.subnets)}
        if core.settings.strict_subnets:
            for name in core.hosts.host_names():
                if name != core.me.name:
                    wanted[name] = set(self._of_host_file(name))
        for name, subnets in sorted(wanted.items()):
            self._topology.peer(name, limited=False)
            had = {
                subnet
                for subnet in self.table.of(name)
                if not (name == core.me.name and self.table.is_learned(subnet))
            }
            for subnet in sorted(subnets - had, key=lambda subnet: subnet.sort_key):
                self.add(name, subnet, limited=False)
                self._meta_output.broadcast(self.announce(name, subnet))
            for subnet in sorted(had - subnets, key=lambda subnet: subnet.sort_key):
                self._meta_output.broadcast(self.withdraw(name, subnet))
                self.delete(name, subnet)

    def _of_host_file(self, name: str) -> tuple[Subnet, ...]:
        host = self._core.hosts.host_settings(name)
        return () if host is None else host.subnets

    def _set_broadcast(self) -> None:
        for subnet in self._broadcast:
            self.delete(None, subnet)
        self._broadcast = tuple(
            dict.fromkeys(DEFAULT_BROADCAST_SUBNETS + self._core.settings.broadcast_subnets)
        )
        for subnet in self._broadcast:
            self.add(None, subnet, limited=False)

    # -- the table --

    def announce(self, owner: str, subnet: Subnet) -> AddSubnet:
        """Return the ADD_SUBNET that tells of a subnet."""
        return AddSubnet(self._core.nonce(), owner, subnet)

    def introduction(self, owner: str, subnet: Subnet, now: float) -> str:
        """Return the line that tells a new neighbour of a subnet; see `Topology.introduction`."""
        line, announced, origin = self._lines.get((owner, subnet), (None, 0.0, None))
        if line is None or now - announced >= self._core.settings.ping_interval:
            line = self.announce(owner, subnet).format()
            self.note_line(owner, subnet, line, origin, now)
        return line

    def announce_own(self, subnet: Subnet, now: float) -> None:
        """Tell all neighbours of a subnet of ours that is new."""
        line = self.announce(self._core.me.name, subnet).format()
        self.note_line(self._core.me.name, subnet, line, None, now)
        self._meta_output.broadcast_line(line, None)

    def note_line(self, owner: str, subnet: Subnet, line: str, origin: int | None, now: float) -> None:
        """Remember the line that announced a subnet, and its connection, for as long as the subnet exists."""
        self._lines[owner, subnet] = (line, now, origin)

    def line_of(self, owner: str, subnet: Subnet) -> str | None:
        """Return the line that announced a subnet, if there is one."""
        return self._lines.get((owner, subnet), (None,))[0]

    def came_from(self, owner: str, subnet: Subnet, connection: int) -> bool:
        """Tell whether a subnet was announced on this connection."""
        known = self._lines.get((owner, subnet))
        return known is not None and known[2] == connection

    def withdraw(self, owner: str, subnet: Subnet) -> DelSubnet:
        """Return the DEL_SUBNET that tells of its end."""
        request = DelSubnet(self._core.nonce(), owner, subnet)
        self.endings.note((owner, subnet), request.format())
        return request

    def add(self, owner: str | None, subnet: Subnet, *, limited: bool = True) -> bool:
        """Add a subnet; False if it was there. `LimitError` when there are too many.

        Subnets of our own configuration are not ``limited``, as in `Topology.peer`.
        """
        added = self.table.add(owner, subnet, limited=limited)
        if added:
            if owner is not None and subnet.kind is SubnetKind.MAC:
                self._note_move(owner, subnet.address)
            self._core.changes.note(SubnetAdded(owner, subnet))
        return added

    def _note_move(self, owner: str, mac: bytes) -> None:
        before = self._core.table.macs.get(mac)
        if before is not None and before.name != owner:
            self.moved += 1
            self._core.changes.note(MacMoved(mac, before.name, owner))

    def check_claims(self, mac: bytes, now: float) -> None:
        """Log a complaint if a node takes over the frames for this MAC from another one by a lower weight."""
        claim = self.table.outweighed(mac)
        if claim is not None:
            self.claimed += 1
            (weight, name), (larger, other) = claim
            self._core.complain(
                f"{name} claims the MAC address {mac.hex(':')} of {other} with weight {weight} instead of "
                f"{larger}: frames for it go to {name}",
                now,
            )

    def delete(self, owner: str | None, subnet: Subnet) -> bool:
        """Delete a subnet; False if it was not there."""
        deleted = self.table.delete(owner, subnet)
        if owner is not None:
            self._lines.pop((owner, subnet), None)
        if deleted:
            if owner == self._core.me.name and subnet.kind is SubnetKind.MAC:
                self._core.table.own_macs.pop(subnet.address, None)
            self._core.changes.note(SubnetDeleted(owner, subnet))
        return deleted

    # -- learning --

    def learn(self, macs: Iterable[bytes], now: float) -> None:
        """Own the source MACs of frames from the device, and tell all neighbours of new ones."""
        core = self._core
        for mac in macs:
            core.table.own_macs[mac] = now
            new, evicted = self.table.learn(core.me.name, mac, now)
            for subnet in evicted:
                self._withdraw_learned(subnet)
            if new:
                self.learned += 1
                self._note_move(core.me.name, mac)
                subnet = Subnet.mac(mac)
                core.changes.note(SubnetAdded(core.me.name, subnet))
                self.announce_own(subnet, now)
                self.check_claims(mac, now)

    def age(self, now: float) -> None:
        """Withdraw learned MACs that were not seen for MACExpire (tinc: age_subnets())."""
        core = self._core
        for mac, seen in core.table.own_macs.items():
            self.table.renew(mac, seen)
        for subnet in self.table.expire(core.me.name, now, core.settings.mac_expire):
            self._withdraw_learned(subnet)

    def _withdraw_learned(self, subnet: Subnet) -> None:
        """Tell that a learned MAC is gone; the table has forgotten it already."""
        me = self._core.me.name
        self._core.table.own_macs.pop(subnet.address, None)
        self._lines.pop((me, subnet), None)
        self._core.changes.note(SubnetDeleted(me, subnet))
        self._meta_output.broadcast(self.withdraw(me, subnet))

    def hand_over(self, mac: bytes) -> None:
        """Another node announces a MAC that we own by learning: withdraw ours at the next ageing."""
        self.table.hand_over(mac)
        self._core.table.own_macs.pop(mac, None)
