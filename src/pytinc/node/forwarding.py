"""Writes paths and owners, which follow from routes and subnets, into the forwarding table.

Other parts write the facts that they know first: session, compression and `upkeep_due` by `sessions` and
`tunnels`, the address by `addresses`, MTUs and confirmation by `pytinc.protocol.pmtu`, an MTU from a relay
by `path_info`, the connection by `activation` and `connections`, slots and reachability by `topology`, own
MACs by `subnets`, silence, the guard's table and the flows by `guard`, the state of loops by `loops`, rules
by `core`, and whether UDP packets may leave as segments by the shell.
"""

from __future__ import annotations

from pytinc.datapath.peer_slot import PeerSlot
from pytinc.node.core import Core
from pytinc.node.topology import Topology
from pytinc.protocol.subnet_table import SubnetTable
from pytinc.wire.bits import OptionBits
from pytinc.wire.neighbour import GUARD_MAC
from pytinc.wire.subnet import Subnet, SubnetKind


class Forwarding:
    """Keeps the forwarding table up to date."""

    def __init__(self, core: Core, topology: Topology, subnets: SubnetTable) -> None:
        self._core = core
        self._topology = topology
        self._subnets = subnets

    def write_routes(self) -> None:
        """Take over the graph's result for every node: next hops, options, spanning tree, owners of MACs."""
        core, table = self._core, self._core.table
        our_tcp_only = core.settings.tcp_only
        slots = table.slots
        changed: list[PeerSlot] = []
        concerns_all = False
        """A fact about a node has changed that may be the relay of other nodes."""
        for peer in core.peers.values():
            slot = peer.slot
            route = peer.route
            if slot.is_me:
                continue
            before = slot.relay, slot.nexthop
            if route is None:
                table.set_route(slot, None, None)
            else:
                table.set_route(slot, slots[route.via], slots[route.nexthop])
            if before != (slot.relay, slot.nexthop):
                changed.append(slot)
            options = peer.options
            tcp_only = our_tcp_only or bool(options & OptionBits.TCPONLY)
            concerns_all = concerns_all or tcp_only is not slot.tcp_only or slot.minmtu != slot.routed_minmtu
            slot.tcp_only = tcp_only
            slot.clamp_mss = bool(options & OptionBits.CLAMP_MSS)
        connected = {peer.name for peer in core.peers.values() if peer.is_neighbour}
        in_tree = self._topology.graph.tree_neighbours(core.me.name, connected)
        table.tree = tuple(slots[name] for name in sorted(in_tree))
        table.direct = tuple(
            slot for slot in slots.values() if not slot.is_me and slot.reachable and slot.relay is slot
        )
        if concerns_all:
            table.refresh_all()
        else:
            for slot in changed:
                table.refresh(slot)
        self.write_owners()

    # -- owners --

    def write_owners(self) -> None:
        """Work out all owners anew, after the reachability or the silence of nodes has changed."""
        table = self._core.table
        table.routes.flush()
        table.macs = {
            mac: owner for mac in self._subnets.macs() if (owner := self._mac_owner(mac)) is not None
        }

    def write_subnet(self, owner: str | None, subnet: Subnet, *, exists: bool) -> None:
        """Take over a subnet that was added, or deleted; the owner of a broadcast subnet is None."""
        core = self._core
        if subnet.kind is not SubnetKind.MAC:
            slot = None if owner is None else core.peers[owner].slot
            if exists:
                core.table.routes.add(subnet, slot)
            else:
                core.table.routes.delete(subnet, slot)
        elif owner is not None:
            best = self._mac_owner(subnet.address)
            if best is None:
                core.table.macs.pop(subnet.address, None)
            else:
                core.table.macs[subnet.address] = best

    def _mac_owner(self, mac: bytes) -> PeerSlot | None:
        """Return the node that frames for ``mac`` go to; None for broadcast and unknown ones.

        A silent node owns it only if all other reachable claimants are silent, too. No node can own the MAC
        of the guards, not even by announcing it.
        """
        if mac == GUARD_MAC:
            return None
        peers = self._core.peers
        owner = self._subnets.mac_owner(
            mac, lambda name: peers[name].reachable and not peers[name].slot.silent
        )
        if owner is not None and peers[owner].slot.silent:
            owner = self._subnets.mac_owner(mac, lambda name: peers[name].reachable)
        return None if owner is None else peers[owner].slot
