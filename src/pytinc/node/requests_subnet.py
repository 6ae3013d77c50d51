"""ADD_SUBNET and DEL_SUBNET (tinc: protocol_subnet.c; docs/protocol-meta.md, "ADD_SUBNET and DEL_SUBNET")."""

from __future__ import annotations

from pytinc.node.core import Core
from pytinc.node.corrections import Corrections
from pytinc.node.flood import SeenCache
from pytinc.node.meta_output import MetaOutput
from pytinc.node.records import Connection
from pytinc.node.subnets import Subnets
from pytinc.node.topology import Topology
from pytinc.wire.requests import AddSubnet, DelSubnet
from pytinc.wire.subnet import SubnetKind


class SubnetRequests:
    """Acts on announcements of subnets."""

    def __init__(
        self,
        core: Core,
        meta_output: MetaOutput,
        topology: Topology,
        subnets: Subnets,
        seen: SeenCache,
        corrections: Corrections,
    ) -> None:
        self._core = core
        self._meta_output = meta_output
        self._topology = topology
        self._subnets = subnets
        self._seen = seen
        self._corrections = corrections

    def _is_foreign(self, connection: Connection, owner: str) -> bool:
        """Tell whether a TunnelServer must not hear of ``owner`` from this peer."""
        return self._core.settings.tunnel_server and owner not in (self._core.me.name, connection.name)

    def on_add_subnet(self, connection: Connection, request: AddSubnet, line: str, now: float) -> None:
        """Take up a subnet of another node, or correct a claim about us."""
        self._meta_output.heard(connection, line)
        if self._seen.seen(line, now):
            thing, endings = (request.owner, request.subnet), self._subnets.endings
            if not self._subnets.table.has(*thing):
                self._meta_output.tell_of_end(connection, endings, thing, connection.endings[1], now)
            return
        if self._is_foreign(connection, request.owner):
            return
        self._topology.check_words(request.owner)
        owner, subnet = self._topology.peer(request.owner), request.subnet
        if self._subnets.table.has(owner.name, subnet):
            self._meta_output.heard_as(connection, self._subnets.line_of(owner.name, subnet))
            return
        if owner is self._core.me:
            if not self._topology.is_paused(now) and self._corrections.may_speak((owner.name, subnet), now):
                self._meta_output.correct(self._subnets.withdraw(owner.name, subnet), connection)
            return
        if self._core.settings.tunnel_server:
            return
        if self._core.settings.strict_subnets:
            self._meta_output.forward(line, connection)
            return
        self._subnets.add(owner.name, subnet)
        self._subnets.note_line(owner.name, subnet, line, connection.number, now)
        self._meta_output.forward(line, connection)
        if subnet.kind is SubnetKind.MAC:
            self._subnets.hand_over(subnet.address)
            self._subnets.check_claims(subnet.address, now)

    def on_del_subnet(self, connection: Connection, request: DelSubnet, line: str, now: float) -> None:
        """Forget a subnet of another node, or correct a claim about us."""
        thing = (request.owner, request.subnet)
        self._meta_output.heard(connection, line)
        self._meta_output.heard_as(connection, self._subnets.line_of(*thing))
        if not self._seen.seen(line, now):
            self._corrections.heard(thing)
        elif self._subnets.came_from(*thing, connection.number):
            # As for edges (`EdgeRequests.on_del_edge`): the peer that told us of it withdraws it.
            self._corrections.speak_later(thing, now)
        else:
            return
        if self._is_foreign(connection, request.owner):
            return
        owner, subnet = self._core.peers.get(request.owner), request.subnet
        if owner is None:
            return
        if not self._subnets.table.has(owner.name, subnet):
            if owner is not self._core.me:
                self._meta_output.forward(line, connection)  # as for edges
            return
        if owner is self._core.me:
            if not self._topology.is_paused(now) and self._corrections.may_speak((owner.name, subnet), now):
                self._meta_output.correct(self._subnets.announce(owner.name, subnet), connection)
            return
        if self._core.settings.tunnel_server:
            return
        self._meta_output.forward(line, connection)
        if self._core.settings.strict_subnets:
            return
        self._subnets.endings.note(thing, line)
        self._subnets.delete(owner.name, subnet)
