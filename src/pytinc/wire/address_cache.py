"""The address cache file of one peer: up to eight socket addresses, most recent first.

See docs/protocol-meta.md, "Address cache".

The file has the byte order and the socket structures of the machine, so that tincd on the same machine can
use it. `pytinc.config.store` reads and writes it a few times a day, so `construct` is fast enough here.
"""

from __future__ import annotations

import functools
import ipaddress
from collections.abc import Iterable
from typing import Any, Final

from pytinc.errors import DecodeError
from pytinc.wire.address import Address

MAX_ADDRESSES: Final = 8
"""Slots in the file."""
FILE_SIZE: Final = 264
_VERSION: Final = 1
_SLOT_SIZE: Final = 32
_AF_INET: Final = 2
_AF_INET6: Final = 10  # Linux


@functools.cache
def _layout() -> Any:
    """Return the layout of the file. It is built on demand because `construct` is slow to import."""
    from construct import Array, Bytes, FixedSized, Int16ub, Int16un, Int32ub, Int32un, Struct, Switch, this

    sockaddr_in = Struct("port" / Int16ub, "address" / Bytes(4))
    sockaddr_in6 = Struct("port" / Int16ub, "flow" / Int32ub, "address" / Bytes(16), "scope" / Int32un)
    slot = Struct(
        "family" / Int16un,
        "body" / Switch(this.family, {_AF_INET: sockaddr_in, _AF_INET6: sockaddr_in6}),
    )
    return Struct(
        "version" / Int32un,
        "count" / Int32un,
        "slots" / Array(MAX_ADDRESSES, FixedSized(_SLOT_SIZE, slot)),
    )


def _slot(address: Address) -> dict[str, Any]:
    ip = ipaddress.ip_address(address.host)
    port = int(address.port)
    if ip.version == 4:
        return {"family": _AF_INET, "body": {"port": port, "address": ip.packed}}
    scope = ip.scope_id or "0"
    body = {
        "port": port,
        "flow": 0,
        "address": ip.packed,
        "scope": int(scope) % 2**32 if scope.isdecimal() else 0,
    }
    return {"family": _AF_INET6, "body": body}


def pack_addresses(addresses: Iterable[Address]) -> bytes:
    """Return the file's content for ``addresses``, most recent first.

    Addresses that nothing can be sent to are omitted, and those after the eighth.
    """
    slots = [_slot(address) for address in addresses if address.is_usable][:MAX_ADDRESSES]
    empty = {"family": 0, "body": None}
    content = {
        "version": _VERSION,
        "count": len(slots),
        "slots": slots + [empty] * (MAX_ADDRESSES - len(slots)),
    }
    packed: bytes = _layout().build(content)
    return packed


def _address(slot: Any) -> Address | None:
    if slot.body is None:
        return None
    host = ipaddress.ip_address(slot.body.address)
    if isinstance(host, ipaddress.IPv6Address):
        scope = slot.body.scope
        host = host.ipv4_mapped or ipaddress.ip_address(f"{host}%{scope}" if scope else str(host))
    return Address(str(host), str(slot.body.port))


def unpack_addresses(data: bytes) -> tuple[Address, ...]:
    """Return the addresses in a cache file; slots of an unknown kind are skipped.

    Raises `DecodeError` if the size or version is wrong. A count above eight means no addresses, as in tinc.
    """
    if len(data) != FILE_SIZE:
        raise DecodeError("address cache of another size")
    content = _layout().parse(data)
    if content.version != _VERSION:
        raise DecodeError("address cache of another version")
    if content.count > MAX_ADDRESSES:
        return ()
    found = (_address(slot) for slot in content.slots[: content.count])
    return tuple(address for address in found if address is not None and address.is_usable)
