"""ADD_SUBNET and DEL_SUBNET (tinc: protocol_subnet.c, meta.md 2.3-2.4)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pytinc.wire.requests import AddSubnet, DelSubnet
from pytinc.wire.subnet import SubnetKind

if TYPE_CHECKING:
    from pytinc.node.connections import Connection
    from pytinc.node.node import Node


def _is_foreign(node: Node, connection: Connection, owner: str) -> bool:
    """Tell whether a TunnelServer must not hear of ``owner`` from this peer."""
    return node.settings.tunnel_server and owner not in (node.me.name, connection.name)


def on_add_subnet(node: Node, connection: Connection, request: AddSubnet, line: str, now: float) -> None:
    """Take up a subnet of another node, or correct a claim about us."""
    if node.seen.seen(line, now) or _is_foreign(node, connection, request.owner):
        return
    node.topology.check_words(request.owner)
    owner, subnet = node.peer(request.owner), request.subnet
    if node.subnets.table.has(owner.name, subnet):
        return
    if owner is node.me:
        if not node.topology.is_paused(now) and node.corrections.may_speak((owner.name, subnet), now):
            node.connections.send(connection, node.subnets.withdraw(owner.name, subnet))
        return
    if node.settings.tunnel_server:
        return
    if node.settings.strict_subnets:
        node.connections.forward(line, connection)
        return
    node.subnets.add(owner.name, subnet)
    node.subnets.note_line(owner.name, subnet, line, connection.number, now)
    if owner.reachable:
        node.subnets.run_script(owner, subnet, up=True)
    node.connections.forward(line, connection)
    if subnet.kind is SubnetKind.MAC:
        node.subnets.hand_over(subnet.address)


def on_del_subnet(node: Node, connection: Connection, request: DelSubnet, line: str, now: float) -> None:
    """Forget a subnet of another node, or correct a claim about us."""
    words: str | None = line
    if node.seen.seen(line, now):
        if not node.subnets.came_from(request.owner, request.subnet, connection.number):
            return
        # As for edges (`on_del_edge`): who told us of it withdraws it.
        may_speak = node.corrections.may_speak((request.owner, request.subnet), now)
        words = node.subnets.withdraw(request.owner, request.subnet).format() if may_speak else None
    if _is_foreign(node, connection, request.owner):
        return
    owner, subnet = node.peers.get(request.owner), request.subnet
    if owner is None:
        return
    if not node.subnets.table.has(owner.name, subnet):
        if node.settings.strict_subnets or node.deletions.is_recent((owner.name, subnet), now):
            node.connections.forward(line, connection)
        return
    if owner is node.me:
        if not node.topology.is_paused(now) and node.corrections.may_speak((owner.name, subnet), now):
            node.connections.send(connection, node.subnets.announce(owner.name, subnet))
        return
    if node.settings.tunnel_server:
        return
    if words is not None:
        node.connections.forward(words, connection)
    if node.settings.strict_subnets:
        return
    if owner.reachable:
        node.subnets.run_script(owner, subnet, up=False)
    node.subnets.delete(owner.name, subnet)
    node.deletions.note((owner.name, subnet), now)
