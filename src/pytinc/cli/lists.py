"""Asking the daemon for tinc's lists: nodes, edges, subnets and connections.

Each function returns the rows of one list, or raises `ControlError` if it cannot parse what the daemon sent.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final, TypeVar

from pytinc.control.messages import ConnectionRow, EdgeRow, NodeRow, Request, SubnetRow
from pytinc.errors import ControlError, DecodeError
from pytinc.wire.subnet import Subnet, parse_subnet

if TYPE_CHECKING:
    from pytinc.control.client import ControlClient

BROADCAST_OWNER: Final = "(broadcast)"
"""In the place of the node that owns a subnet whose packets go to all."""
_Row = TypeVar("_Row")


def dump_nodes(client: ControlClient) -> list[NodeRow]:
    """Ask for all nodes."""
    return _rows(client, Request.DUMP_NODES, NodeRow.parse)


def dump_edges(client: ControlClient) -> list[EdgeRow]:
    """Ask for all edges."""
    return _rows(client, Request.DUMP_EDGES, EdgeRow.parse)


def dump_subnets(client: ControlClient) -> list[SubnetRow]:
    """Ask for all subnets."""
    return _rows(client, Request.DUMP_SUBNETS, SubnetRow.parse)


def dump_connections(client: ControlClient) -> list[ConnectionRow]:
    """Ask for all connections, including control connections."""
    return _rows(client, Request.DUMP_CONNECTIONS, ConnectionRow.parse)


def _rows(client: ControlClient, request: Request, parse: Callable[[str], _Row]) -> list[_Row]:
    try:
        return [parse(line) for line in client.dump(request)]
    except DecodeError as error:
        kind = request.name.removeprefix("DUMP_").lower().removesuffix("s")
        raise ControlError(f"Unable to parse {kind} dump from tincd.") from error


def subnet_of(row: SubnetRow) -> Subnet:
    """Return the subnet of a row. Raises `ControlError` if it cannot be parsed."""
    try:
        return parse_subnet(row.subnet)
    except DecodeError as error:
        raise ControlError("Unable to parse subnet dump from tincd.") from error
