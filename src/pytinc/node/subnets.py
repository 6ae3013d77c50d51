"""Subnets and their owners; learning and ageing of own MACs (tinc: subnet.c, route.c learn_mac())."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from pytinc.datapath.peer_slot import PeerSlot
from pytinc.node import forwarding
from pytinc.node.actions import RunScript
from pytinc.node.peer import Peer
from pytinc.protocol.switch import SubnetTable
from pytinc.wire.neighbour import GUARD_MAC
from pytinc.wire.requests import AddSubnet, DelSubnet
from pytinc.wire.subnet import DEFAULT_BROADCAST_SUBNETS, Subnet, SubnetKind

if TYPE_CHECKING:
    from pytinc.node.node import Node


class Subnets:
    """All subnets this node knows, its own among them."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self.table = SubnetTable()
        self.learned = 0
        """MACs learned from the own device since the start."""
        self.moved = 0
        """How often a MAC was announced or learned while another node owned it."""
        self._broadcast: tuple[Subnet, ...] = ()
        self._lines: dict[tuple[str, Subnet], tuple[str, float, int | None]] = {}
        """The ADD_SUBNET that told of each subnet, when, and on which connection (None: our own)."""

    # -- life --

    def start(self, now: float) -> None:
        """Take up the configured subnets."""
        node = self._node
        self._set_broadcast()
        for subnet in self._configured():
            self._add_configured(node.me, subnet)
        if node.settings.strict_subnets:
            for peer in [peer for peer in node.peers.values() if peer is not node.me]:
                for subnet in self._of_host_file(peer.name):
                    self.add(peer.name, subnet, limited=False)

    def stop(self) -> None:
        """Run subnet-down for the own subnets, at the end of the node."""
        for subnet in self.table.of(self._node.me.name):
            self.run_script(self._node.me, subnet, up=False)

    def reload(self, now: float) -> None:
        """Announce subnets that are new in the configuration and withdraw those that are gone."""
        node = self._node
        self._set_broadcast()
        wanted = {node.me.name: set(self._configured())}
        if node.settings.strict_subnets:
            for name in node.hosts.host_names():
                if name != node.me.name:
                    wanted[name] = set(self._of_host_file(name))
        for name, subnets in sorted(wanted.items()):
            peer = node.peer(name, limited=False)
            had = {
                subnet
                for subnet in self.table.of(name)
                if not (peer is node.me and self.table.is_learned(subnet))
            }
            for subnet in sorted(subnets - had, key=lambda subnet: subnet.sort_key):
                self._add_configured(peer, subnet)
                node.broadcast(self.announce(name, subnet))
            for subnet in sorted(had - subnets, key=lambda subnet: subnet.sort_key):
                node.broadcast(self.withdraw(name, subnet))
                if peer.reachable:
                    self.run_script(peer, subnet, up=False)
                self.delete(name, subnet)

    def _configured(self) -> tuple[Subnet, ...]:
        return self._node.settings.subnets

    def _of_host_file(self, name: str) -> tuple[Subnet, ...]:
        host = self._node.hosts.host_settings(name)
        return () if host is None else host.subnets

    def _add_configured(self, peer: Peer, subnet: Subnet) -> None:
        self.add(peer.name, subnet, limited=False)
        if peer.reachable:
            self.run_script(peer, subnet, up=True)

    def _set_broadcast(self) -> None:
        for subnet in self._broadcast:
            self.delete(None, subnet)
        self._broadcast = tuple(
            dict.fromkeys(DEFAULT_BROADCAST_SUBNETS + self._node.settings.broadcast_subnets)
        )
        for subnet in self._broadcast:
            self.add(None, subnet, limited=False)

    # -- the table --

    def announce(self, owner: str, subnet: Subnet) -> AddSubnet:
        """Return the ADD_SUBNET that tells of a subnet."""
        return AddSubnet(self._node.nonce(), owner, subnet)

    def introduction(self, owner: str, subnet: Subnet, now: float) -> str:
        """Return the line that tells a new neighbour of a subnet; see `Topology.introduction`."""
        line, announced, _ = self._lines.get((owner, subnet), (None, 0.0, None))
        if line is not None and now - announced < self._node.settings.ping_interval:
            return line
        return self.announce(owner, subnet).format()

    def announce_own(self, subnet: Subnet, now: float) -> None:
        """Tell all neighbours of a subnet of ours that is new."""
        line = self.announce(self._node.me.name, subnet).format()
        self.note_line(self._node.me.name, subnet, line, None, now)
        self._node.connections.broadcast(line, None)

    def note_line(self, owner: str, subnet: Subnet, line: str, origin: int | None, now: float) -> None:
        """Remember the words in which a subnet was announced, and by which connection, while it exists."""
        self._lines[owner, subnet] = (line, now, origin)

    def came_from(self, owner: str, subnet: Subnet, connection: int) -> bool:
        """Tell whether it was this connection that told us of a subnet."""
        known = self._lines.get((owner, subnet))
        return known is not None and known[2] == connection

    def withdraw(self, owner: str, subnet: Subnet) -> DelSubnet:
        """Return the DEL_SUBNET that tells of its end."""
        return DelSubnet(self._node.nonce(), owner, subnet)

    def add(self, owner: str | None, subnet: Subnet, *, limited: bool = True) -> bool:
        """Add a subnet; False if it was there. `LimitError` when there are too many.

        Subnets of our own configuration are not ``limited``, as in `Node.peer`.
        """
        added = self.table.add(owner, subnet, limited=limited)
        if added:
            if owner is not None and subnet.kind is SubnetKind.MAC:
                self._note_move(owner, subnet.address)
            forwarding.write_subnet(self._node, owner, subnet, exists=True)
        return added

    def _note_move(self, owner: str, mac: bytes) -> None:
        before = self._node.table.macs.get(mac)
        if before is not None and before.name != owner:
            self.moved += 1

    def delete(self, owner: str | None, subnet: Subnet) -> bool:
        """Delete a subnet; False if it was not there."""
        deleted = self.table.delete(owner, subnet)
        if owner is not None:
            self._lines.pop((owner, subnet), None)
        if deleted:
            if owner == self._node.me.name and subnet.kind is SubnetKind.MAC:
                self._node.table.own_macs.pop(subnet.address, None)
            forwarding.write_subnet(self._node, owner, subnet, exists=False)
        return deleted

    def mac_owner(self, mac: bytes) -> PeerSlot | None:
        """Return the node that frames for ``mac`` go to; None for broadcast and unknown ones.

        A node that is silent has it only if all others that are reachable are so, too. That of the guards is
        nobody's, whoever announces it.
        """
        if mac == GUARD_MAC:
            return None
        peers = self._node.peers
        owner = self.table.mac_owner(mac, lambda name: peers[name].reachable and not peers[name].slot.silent)
        if owner is not None and peers[owner].slot.silent:
            owner = self.table.mac_owner(mac, lambda name: peers[name].reachable)
        return None if owner is None else peers[owner].slot

    def run_script(self, peer: Peer, subnet: Subnet, *, up: bool) -> None:
        """Run subnet-up or subnet-down for one subnet of ``peer`` (config.md 8)."""
        environment = {"NODE": peer.name}
        if peer is not self._node.me and peer.address is not None:
            environment |= {"REMOTEADDRESS": peer.address.host, "REMOTEPORT": peer.address.port}
        environment["SUBNET"] = subnet.text_without_weight
        environment["WEIGHT"] = "" if subnet.weight == 10 else str(subnet.weight)
        self._node.act(RunScript("subnet-up" if up else "subnet-down", environment))

    # -- learning --

    def learn(self, macs: Iterable[bytes], now: float) -> None:
        """Own the source MACs of frames from the device, and tell the peers of new ones."""
        node = self._node
        for mac in macs:
            node.table.own_macs[mac] = now
            new, evicted = self.table.learn(node.me.name, mac, now)
            for subnet in evicted:
                self._withdraw_learned(subnet)
            if new:
                self.learned += 1
                self._note_move(node.me.name, mac)
                subnet = Subnet.mac(mac)
                forwarding.write_mac(node, mac)
                self.run_script(node.me, subnet, up=True)
                self.announce_own(subnet, now)

    def age(self, now: float) -> None:
        """Withdraw learned MACs that were not seen for MACExpire (tinc: age_subnets())."""
        node = self._node
        for mac, seen in node.table.own_macs.items():
            self.table.renew(mac, seen)
        for subnet in self.table.expire(node.me.name, now, node.settings.mac_expire):
            self._withdraw_learned(subnet)

    def _withdraw_learned(self, subnet: Subnet) -> None:
        node = self._node
        node.table.own_macs.pop(subnet.address, None)
        self._lines.pop((node.me.name, subnet), None)
        forwarding.write_mac(node, subnet.address)
        self.run_script(node.me, subnet, up=False)
        node.broadcast(self.withdraw(node.me.name, subnet))

    def hand_over(self, mac: bytes) -> None:
        """Another node announces a MAC that we own by learning: withdraw ours at the next ageing."""
        self.table.hand_over(mac)
        self._node.table.own_macs.pop(mac, None)
