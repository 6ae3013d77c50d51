"""Addresses as the meta protocol writes them: a host and a port, both text.

See docs/protocol-meta.md, "Addresses".

A pair that is not numeric is *opaque*: it is kept, compared and forwarded unchanged, and never
sent to.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final, NamedTuple, TypeAlias

SockAddr: TypeAlias = tuple[str, int] | tuple[str, int, int, int]
"""An address as `socket` takes and returns it: two items for IPv4, four for IPv6."""


class Address(NamedTuple):
    """Host and port of one end of a path. ``host`` is numeric unless the pair is opaque."""

    host: str
    port: str

    def __str__(self) -> str:
        """Return tinc's form in logs and dumps: ``10.0.0.1 port 655``."""
        return f"{self.host} port {self.port}"

    @property
    def family(self) -> int:
        """4 or 6 for a numeric host with a numeric port; 0 for an opaque pair."""
        return _family(self.host, self.port)

    @property
    def is_usable(self) -> bool:
        """Return whether packets can be sent to it: it is numeric and the port is not 0."""
        return _is_usable(self.host, self.port)

    def sockaddr(self) -> SockAddr:
        """Return the form `socket` takes. Only for numeric addresses."""
        if self.family == 6:
            host, _, scope = self.host.partition("%")
            return (host, int(self.port), 0, int(scope) if scope.isdecimal() else 0)
        return (self.host, int(self.port))

    def with_port(self, port: str) -> Address:
        """Return the same host with another port."""
        return Address(self.host, port)


_BYTE: Final = "(?:25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_IPV4: Final = re.compile(rf"{_BYTE}(?:\.{_BYTE}){{3}}")
"""An IPv4 address in canonical form. Nearly all addresses are; `ipaddress` would take ten times as long."""


@lru_cache(maxsize=4096)
def _family(host: str, port: str) -> int:
    if not port.isascii() or not port.isdecimal() or len(port) > 5 or int(port) > 65535:
        return 0
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return 0


@lru_cache(maxsize=4096)
def _is_usable(host: str, port: str) -> bool:
    return _family(host, port) != 0 and int(port) != 0


UNSPEC: Final = Address("unspec", "unspec")
"""No address, in dumps of edges and in ADD_EDGE."""
UNKNOWN: Final = Address("unknown", "unknown")
"""No address, in dumps of nodes."""


def from_sockaddr(sockaddr: tuple[str | int, ...]) -> Address:
    """Turn what `socket` gives into an `Address`; IPv4-mapped IPv6 becomes IPv4, a scope is removed."""
    host = str(sockaddr[0]).partition("%")[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return Address(host, str(sockaddr[1]))


def normalise(host: str, port: str) -> Address:
    """Return the address with its host in canonical text form; an opaque pair is left alone."""
    if _IPV4.fullmatch(host) is not None:
        return Address(host, port)
    bare = host.partition("%")[0]
    try:
        return Address(str(ipaddress.ip_address(bare)), port)
    except ValueError:
        return Address(host, port)
