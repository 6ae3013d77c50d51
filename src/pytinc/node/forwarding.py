"""Writes what follows from settings, routes and subnets into the forwarding table: rules, paths and owners.

Some attributes of a slot are written by the part that knows them first: session, address and `upkeep_due` by
`tunnels`, the connection by `connections`, reachability by `topology`, silence by `guard`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.config.settings import Broadcast, Forwarding, Mode, Settings
from pytinc.datapath.table import SwitchRules
from pytinc.wire.requests import OptionBits
from pytinc.wire.subnet import Subnet, SubnetKind

if TYPE_CHECKING:
    from pytinc.node.node import Node


def switch_rules(settings: Settings) -> SwitchRules:
    """Return the rules about frames that follow from the settings."""
    broadcast = Broadcast.NO if settings.tunnel_server else settings.broadcast
    return SwitchRules(
        router=settings.mode is Mode.ROUTER,
        hub=settings.mode is Mode.HUB,
        forward=settings.forwarding is not Forwarding.OFF,
        kernel=settings.forwarding is Forwarding.KERNEL,
        direct_only=settings.direct_only,
        decrement_ttl=settings.decrement_ttl,
        broadcast=broadcast.value,
        compression=settings.compression,
    )


def write_routes(node: Node) -> None:
    """Take over the graph's result for every node: next hops, options, spanning tree, owners of MACs."""
    table = node.table
    our_tcp_only = node.settings.tcp_only
    slots = table.slots
    for peer in node.peers.values():
        slot = peer.slot
        route = peer.route
        if slot.is_me:
            continue
        if route is None:
            table.set_route(slot, None, None)
        else:
            table.set_route(slot, slots[route.via], slots[route.nexthop])
        slot.tcp_only = our_tcp_only or peer.tcp_only
        slot.clamp_mss = bool(peer.options & OptionBits.CLAMP_MSS)
    connected = {peer.name for peer in node.peers.values() if peer.is_neighbour}
    in_tree = node.topology.graph.tree_neighbours(node.me.name, connected)
    table.tree = tuple(slots[name] for name in sorted(in_tree))
    table.direct = tuple(
        slot for slot in slots.values() if not slot.is_me and slot.reachable and slot.relay is slot
    )
    table.refresh_all()
    table.routes.flush()
    write_macs(node)


def write_owners(node: Node) -> None:
    """Work out all owners anew: a node fell silent, or answers again."""
    node.table.routes.flush()
    write_macs(node)


def write_macs(node: Node) -> None:
    """Work out the owner of every MAC anew: after reachability changed."""
    subnets = node.subnets
    node.table.macs = {
        mac: owner for mac in subnets.table.macs() if (owner := subnets.mac_owner(mac)) is not None
    }


def write_subnet(node: Node, owner: str | None, subnet: Subnet, *, exists: bool) -> None:
    """Take over a subnet that was added, or deleted; the owner of a broadcast subnet is None."""
    if subnet.kind is not SubnetKind.MAC:
        slot = None if owner is None else node.peers[owner].slot
        if exists:
            node.table.routes.add(subnet, slot)
        else:
            node.table.routes.delete(subnet, slot)
    elif owner is not None:
        write_mac(node, subnet.address)


def write_mac(node: Node, mac: bytes) -> None:
    """Work out the owner of one MAC anew: after it was announced or withdrawn."""
    owner = node.subnets.mac_owner(mac)
    if owner is None:
        node.table.macs.pop(mac, None)
    else:
        node.table.macs[mac] = owner
