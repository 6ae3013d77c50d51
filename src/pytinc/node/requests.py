"""Dispatches the meta requests of activated connections (docs/protocol-meta.md, "Requests").

A handler returns normally when it has acted on the request or ignores it; it raises `ProtocolError` when the
connection must be closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pytinc.errors import LimitError, UnexpectedRequest
from pytinc.node.core import Core
from pytinc.node.records import Connection
from pytinc.node.requests_edge import EdgeRequests
from pytinc.node.requests_key import KeyRequests
from pytinc.node.requests_misc import MiscRequests
from pytinc.node.requests_subnet import SubnetRequests
from pytinc.wire.requests import (
    AddEdge,
    AddSubnet,
    AnsKey,
    DelEdge,
    DelSubnet,
    KeyChanged,
    MtuInfo,
    Ping,
    Pong,
    ReqKey,
    Request,
    TermReq,
    UdpInfo,
)


class Requests:
    """Hands each request to its handler."""

    def __init__(
        self, core: Core, edges: EdgeRequests, subnets: SubnetRequests, keys: KeyRequests, misc: MiscRequests
    ) -> None:
        self._core = core
        self._handlers: dict[type[Request], Callable[[Connection, Any, str, float], None]] = {
            TermReq: misc.on_termreq,
            Ping: misc.on_ping,
            Pong: misc.on_pong,
            AddSubnet: subnets.on_add_subnet,
            DelSubnet: subnets.on_del_subnet,
            AddEdge: edges.on_add_edge,
            DelEdge: edges.on_del_edge,
            KeyChanged: keys.on_key_changed,
            ReqKey: keys.on_req_key,
            AnsKey: keys.on_ans_key,
            UdpInfo: misc.on_udp_info,
            MtuInfo: misc.on_mtu_info,
        }

    def handle(self, connection: Connection, request: Request, line: str, now: float) -> None:
        """Act on a request; ``line`` is its text for forwarding."""
        handler = self._handlers.get(type(request))
        if handler is None:
            raise UnexpectedRequest(f"{type(request).__name__} after the login")
        try:
            handler(connection, request, line, now)
        except LimitError as error:
            # Without the peer's words: it could have as many different ones as it likes.
            self._core.complain(f"{connection.name} announces too much, ignoring that ({error})", now)
