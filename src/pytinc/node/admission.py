"""Decides who may open a meta connection: strangers are limited, addresses of known nodes have own room.

See docs/protocol-meta.md, "Connections".

A stranger is a client at an address from which no node has logged in, and which neither a host file nor an
address cache names. One address that connects too often stops only itself; many addresses together stop only
strangers.
"""

from __future__ import annotations

import ipaddress
from typing import Final, TypeVar

from pytinc.node.core import Core
from pytinc.node.records import NEVER
from pytinc.wire.address import Address

T = TypeVar("T")

MAX_HALF_OPEN: Final = 512
"""Most connections of strangers that have not finished their login. Further ones are refused, so that they
cannot use up memory in the PingTimeout seconds that each has. Known addresses have the same limit for
themselves."""
MAX_SOURCES: Final = 4096
"""Most addresses that are remembered because of their connections; the one that was quiet for longest goes
first."""


class Burst:
    """A leaky bucket that limits the rate of connections: it loses one connection a second."""

    def __init__(self) -> None:
        self._level = 0.0
        self._last = NEVER

    def is_exceeded(self, limit: int, now: float, *, unforgiving: bool = False) -> bool:
        """Count one connection; tell whether it is one too many.

        Refused connections do not count, because a host that keeps trying must not keep the bucket full for
        others. In an ``unforgiving`` bucket they count, so that no connection gets through until the attempts
        cease.
        """
        self._level = max(0.0, self._level - (now - self._last))
        self._last = now
        if self._level + 1 > limit:
            if unforgiving:
                self._level = min(self._level + 1, limit + 1)
            return True
        self._level += 1
        return False


class Admission:
    """Decides about every incoming connection."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._strangers = Burst()
        """The bucket of all strangers together (MaxConnectionBurst)."""
        self._bursts: dict[str, Burst] = {}
        """The bucket of each address; the most recent one is last."""
        self._configured: set[str] = set()
        """The addresses of nodes with a host file, from their host files and address caches."""
        self._logins: dict[str, str] = {}
        """Addresses from which a node has logged in, and its name; the most recent one is last."""

    def load(self) -> None:
        """Take over what host files and address caches say. Nodes without a host file are strangers again."""
        core = self._core
        names = set(core.hosts.host_names())
        hosts = [address.host for peer in core.peers.values() for address in peer.host_addresses]
        hosts += [address.host for name in names for address in core.hosts.load_address_cache(name)]
        self._configured = {source_of(host) for host in hosts}
        self._logins = {source: name for source, name in self._logins.items() if name in names}

    def logged_in(self, name: str, remote: Address) -> None:
        """Remember the address from which a node has logged in."""
        _renew(self._logins, source_of(remote.host), name)

    def is_known(self, remote: Address) -> bool:
        """Tell whether an address is one of those that strangers cannot keep out."""
        source = source_of(remote.host)
        return source in self._logins or source in self._configured or _is_loopback(remote)

    def admits(self, remote: Address, now: float) -> bool:
        """Count a connection, and tell whether it is accepted."""
        is_known = self.is_known(remote)
        if not _is_loopback(remote):
            limit = self._core.settings.max_connection_burst
            source = source_of(remote.host)
            burst = self._bursts.get(source) or Burst()
            _renew(self._bursts, source, burst)
            if burst.is_exceeded(limit, now, unforgiving=not is_known):
                return False
            if not is_known and self._strangers.is_exceeded(limit, now):
                return False
        return self._has_room(known=is_known)

    def _has_room(self, *, known: bool) -> bool:
        connections = self._core.connections.values()
        if len(connections) < MAX_HALF_OPEN:
            return True
        waiting = [connection.remote for connection in connections if not connection.activated]
        return sum(self.is_known(remote) is known for remote in waiting) < MAX_HALF_OPEN


def source_of(host: str) -> str:
    """Return the key by which connections are counted: 64 bits of an IPv6 address, or else the whole host."""
    if ":" not in host:
        return host
    try:
        return ipaddress.IPv6Address(host.partition("%")[0]).packed[:8].hex()
    except ValueError:
        return host


def _renew(table: dict[str, T], key: str, value: T) -> None:
    """Put an entry last, and forget the first one of too many."""
    table.pop(key, None)
    table[key] = value
    if len(table) > MAX_SOURCES:
        del table[next(iter(table))]


def _is_loopback(address: Address) -> bool:
    return address.host.startswith("127.") or address.host == "::1"
