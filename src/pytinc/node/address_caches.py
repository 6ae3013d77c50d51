"""The addresses at which nodes were reached before, most recent first (tinc: address_cache.c)."""

from __future__ import annotations

from pytinc.node.actions import SaveAddressCache
from pytinc.node.core import Core
from pytinc.node.records import Peer
from pytinc.protocol.outgoing import AddressCache
from pytinc.wire.address import Address


class AddressCaches:
    """The address cache of each node, kept in a file."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._caches: dict[str, AddressCache] = {}

    def of(self, name: str) -> AddressCache:
        """Return the address cache of a node, read from its file when first needed."""
        cache = self._caches.get(name)
        if cache is None:
            cache = self._caches[name] = AddressCache(self._core.hosts.load_address_cache(name))
        return cache

    def remember(self, peer: Peer, address: Address) -> None:
        """Put an address that worked first in the cache of ``peer``."""
        cache = self.of(peer.name)
        if address.is_usable and cache.add(address):
            self._core.act(SaveAddressCache(peer.name, cache.addresses))
