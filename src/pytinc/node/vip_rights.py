"""Decides which nodes may serve a virtual IP, by the host files (variable ``VirtualIP``).

With ``StrictVirtualIPs``, only nodes whose local host file lists the address may serve it. Otherwise, every
node may serve an address that no local host file lists; other addresses are limited to the listed nodes.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from pytinc.node.core import Core
from pytinc.vip.core import address_text
from pytinc.vip.rendezvous import weight

MAX_UNLISTED: Final = 64
"""Most possible members whose paths are kept ready, where no host file lists the members."""


class VipRights:
    """The rights by host file, read at the start and at a reload."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._listed: dict[bytes, set[str]] = {}

    def load(self) -> None:
        """Take over what the host files say, as `Topology.load_hosts` has read them."""
        self._listed = {}
        for peer in self._core.peers.values():
            for address in peer.virtual_ips:
                self._listed.setdefault(address, set()).add(peer.name)

    def may_hold(self, node: str, address: bytes, now: float) -> bool:
        """Tell whether a node may serve an address; a node without the right is reported once."""
        listed = self._listed.get(address)
        if listed is None and not self._core.settings.strict_virtual_ips:
            return True
        if listed is not None and node in listed:
            return True
        self._core.complain(
            f"{node} claims the virtual IP {address_text(address)}, which hosts/{node} does not allow", now
        )
        return False

    def possible_members(self, addresses: Iterable[bytes]) -> set[str]:
        """Return the reachable nodes that may be members of one of these addresses."""
        core = self._core
        reachable = {peer.name for peer in core.peers.values() if peer.reachable and peer is not core.me}
        found: set[str] = set()
        for address in addresses:
            listed = self._listed.get(address)
            if listed is not None:
                found |= listed & reachable
            elif not core.settings.strict_virtual_ips:
                found |= set(sorted(reachable, key=lambda name: weight(name.encode()))[:MAX_UNLISTED])
        return found
