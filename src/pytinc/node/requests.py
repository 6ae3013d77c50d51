"""Which function handles which meta request of an activated connection (meta.md 2).

A handler returns normally when the request was acted on or is to be ignored; it raises
`ProtocolError` when the connection must be closed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pytinc.errors import LimitError, UnexpectedRequest
from pytinc.node import requests_edge, requests_key, requests_misc, requests_subnet
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

if TYPE_CHECKING:
    from pytinc.node.connections import Connection
    from pytinc.node.node import Node

_HANDLERS: Final[dict[type[Request], Callable[[Node, Connection, Any, str, float], None]]] = {
    TermReq: requests_misc.on_termreq,
    Ping: requests_misc.on_ping,
    Pong: requests_misc.on_pong,
    AddSubnet: requests_subnet.on_add_subnet,
    DelSubnet: requests_subnet.on_del_subnet,
    AddEdge: requests_edge.on_add_edge,
    DelEdge: requests_edge.on_del_edge,
    KeyChanged: requests_key.on_key_changed,
    ReqKey: requests_key.on_req_key,
    AnsKey: requests_key.on_ans_key,
    UdpInfo: requests_misc.on_udp_info,
    MtuInfo: requests_misc.on_mtu_info,
}


def handle(node: Node, connection: Connection, request: Request, line: str, now: float) -> None:
    """Act on a request; ``line`` is its text for forwarding."""
    handler = _HANDLERS.get(type(request))
    if handler is None:
        raise UnexpectedRequest(f"{type(request).__name__} after the login")
    try:
        handler(node, connection, request, line, now)
    except LimitError as error:
        # Without the peer's words: it could have as many different ones as it likes.
        node.complain(f"{connection.name} tells of more than fits: ignoring that ({error})", now)
