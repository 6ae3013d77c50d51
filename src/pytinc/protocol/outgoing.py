"""Which node to dial next, at which address, and how long to wait.

See docs/protocol-meta.md, "Dialling" to "AutoConnect".

tinc: address_cache.c, the outgoing part of net_socket.c, autoconnect.c. This module only decides: the node
passes in what it knows and carries out the decisions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

from pytinc.wire.address import Address, normalise

MAX_CACHED: Final = 8
"""Addresses in one cache file, at most."""
MAX_RESOLVED: Final = 16
"""Addresses tried for one host name, at most; a name server's answer can be longer than is useful."""
MAX_KNOWN: Final = 32
"""Cached addresses and addresses of the graph that are tried in one round, at most. Peers can announce any
number."""
BACKOFF_STEP: Final = 5
"""Seconds by which the wait grows after every failed round."""
QUICK_ROUNDS: Final = 8
"""Failed rounds after which the wait begins to grow for the only node that is missing: about half a minute,
in which a node starts again, or a cable finds its socket. If several are missing, we are probably cut off."""
WANTED_CONNECTIONS: Final = 3
"""The number of connections that AutoConnect aims at."""


class AddressCache:
    """Addresses at which a node was reached, most recent first."""

    def __init__(self, addresses: Iterable[Address] = ()) -> None:
        self.addresses: tuple[Address, ...] = tuple(addresses)[:MAX_CACHED]

    def add(self, address: Address) -> bool:
        """Put an address first; return whether the cache changed."""
        if self.addresses[:1] == (address,):
            return False
        others = tuple(known for known in self.addresses if known != address)
        self.addresses = (address, *others)[:MAX_CACHED]
        return True


class Try(NamedTuple):
    """Connect to this address now."""

    address: Address


class ResolveNext(NamedTuple):
    """Look this host up, then call `Outgoing.resolved` and ask again."""

    host: str
    port: str


class Wait(NamedTuple):
    """Nothing is left to try: ask again after this many seconds (plus jitter)."""

    seconds: float
    spread: bool = False
    """Any time between half of it and all of it will do: many nodes may have lost the same one at once."""


Next: TypeAlias = Try | ResolveNext | Wait


@dataclass(frozen=True, slots=True)
class Candidate:
    """The addresses at which a node might be reachable, as known now."""

    cached: tuple[Address, ...] = ()
    from_graph: tuple[Address, ...] = ()
    """Its address as each of its neighbours sees it, in descending order of the neighbours' names."""
    configured: tuple[tuple[str, str], ...] = ()
    """Host and port of each ``Address`` line."""
    for_command: bool = False
    """The addresses go to the command of ``Proxy = exec``, which need not use their port: it may be 0."""
    only_missing: bool = False
    """All other nodes that we dial are connected; so it is in a mesh with one way in."""

    def is_usable(self, address: Address) -> bool:
        """Return whether a connection can be tried at this address."""
        return address.is_usable or (self.for_command and address.family != 0)


@dataclass(slots=True)
class Outgoing:
    """The attempts to reach one node: an iterator over its addresses, and the back-off between rounds."""

    name: str
    max_timeout: int
    backoff: int = 0
    """Seconds waited after the last failed round."""
    _quick: int = 0
    """Failed rounds after which the wait did not grow."""
    _known_done: bool = False
    _tried: set[Address] = field(default_factory=set)
    _configured: int = 0
    """Index of the next ``Address`` line."""
    _has_configured: bool = False
    """An ``Address`` line gave an address in this round."""
    _resolved: list[Address] = field(default_factory=list)

    def next(self, candidate: Candidate) -> Next:
        """Return what to do next: cached addresses first, then those of the graph, then the configured ones.

        Later rounds begin with the configured ones, if there are any, until `restart`. If these are names
        that cannot be looked up now, only the known addresses are left, and they are tried again. (tinc does
        not try them and waits for the name server.)
        """
        while self._resolved:
            address = self._resolved.pop(0)
            usable = candidate.is_usable(address)
            self._has_configured |= usable
            if usable and address not in self._tried:
                return self._try(address)
        if not self._known_done:
            for address in candidate.cached + candidate.from_graph:
                usable = candidate.is_usable(address)
                if usable and address not in self._tried and len(self._tried) < MAX_KNOWN:
                    return self._try(address)
            self._known_done = True
        while self._configured < len(candidate.configured):
            host, port = candidate.configured[self._configured]
            self._configured += 1
            address = normalise(host, port)
            if not address.family:
                return ResolveNext(host, port)
            usable = candidate.is_usable(address)
            self._has_configured |= usable
            if usable and address not in self._tried:
                return self._try(address)
        return self._end_round(only_missing=candidate.only_missing)

    def _try(self, address: Address) -> Try:
        self._tried.add(address)
        return Try(address)

    def _end_round(self, *, only_missing: bool) -> Wait:
        self._known_done = self._has_configured
        self._begin_round()
        if only_missing and self._quick < QUICK_ROUNDS:
            self._quick += 1
            self.backoff = min(BACKOFF_STEP, self.max_timeout)
            return Wait(self.backoff, spread=True)
        self.backoff = min(self.backoff + BACKOFF_STEP, self.max_timeout)
        return Wait(self.backoff)

    def _begin_round(self) -> None:
        self._tried.clear()
        self._configured = 0
        self._has_configured = False

    def resolved(self, addresses: Sequence[Address]) -> None:
        """Take the result of a look-up; several addresses are tried in reverse order, as in tinc."""
        self._resolved = list(reversed(addresses))[:MAX_RESOLVED]

    def restart(self) -> None:
        """Start again with the cached addresses: the node was reached."""
        self._known_done = False
        self._begin_round()
        self._resolved.clear()

    def reset_backoff(self) -> None:
        """Reset the wait."""
        self.backoff = 0
        self._quick = 0


class Prospect(NamedTuple):
    """One node as AutoConnect sees it (never the own node)."""

    name: str
    connected: bool
    """An activated connection to it exists."""
    dialled: bool
    """That connection belongs to an outgoing entry."""
    has_entry: bool
    reachable: bool
    has_address: bool
    """Its host file has an ``Address``."""
    is_known: bool
    """It has a host file, without which it could not log in."""
    edges: int


class AutoConnect(NamedTuple):
    """What to change about the connections. Each part may be empty."""

    connect: str | None = None
    disconnect: str | None = None
    drop_waiting: bool = False
    """Give up every outgoing entry that has no connection."""


def auto_connect(prospects: Sequence[Prospect], random_float: Callable[[], float]) -> AutoConnect:
    """Decide one run of AutoConnect (docs/protocol-meta.md, "AutoConnect"; tinc: do_autoconnect())."""

    def choose(among: Sequence[Prospect]) -> Prospect | None:
        return among[int(random_float() * len(among)) % len(among)] if among else None

    count = sum(prospect.connected for prospect in prospects)
    if count < WANTED_CONNECTIONS:
        chosen = choose(
            [
                prospect
                for prospect in prospects
                if not prospect.connected
                and prospect.is_known
                and (prospect.reachable or prospect.has_address)
            ]
        )
        return AutoConnect(connect=chosen.name if chosen is not None and not chosen.has_entry else None)
    dropped = None
    if count > WANTED_CONNECTIONS:
        dropped = choose([prospect for prospect in prospects if prospect.dialled and prospect.edges >= 2])
    lost = choose(prospects)
    connect = (
        lost.name
        if lost is not None
        and not (lost.connected or lost.reachable or lost.has_entry)
        and lost.has_address
        and lost.is_known
        else None
    )
    return AutoConnect(connect, dropped.name if dropped is not None else None, drop_waiting=True)
