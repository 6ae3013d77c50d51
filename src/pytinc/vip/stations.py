"""The hosts behind the own device and their addresses, to give their questions a harmless sender."""

from __future__ import annotations

from typing import Final

from pytinc.wire.neighbour import NOBODY

MAX_STATIONS: Final = 64
"""MAC addresses that are remembered. A device that is bridged to a large network may have more; the questions
of the others leave unchanged."""
MAX_ADDRESSES: Final = 16
"""Most addresses of one station."""
LIFE: Final = 600.0
"""Seconds for which an address is remembered."""
_IPV4_SIZE: Final = 4
_LEAST_PREFIX: Final = 2
"""Bytes that two IPv4 addresses of a host must have in common for one to stand for the other."""


class OwnStations:
    """Addresses by station."""

    def __init__(self) -> None:
        self._addresses: dict[bytes, dict[bytes, float]] = {}

    @property
    def is_full(self) -> bool:
        """The table of stations is full."""
        return len(self._addresses) >= MAX_STATIONS

    @property
    def has_more(self) -> bool:
        """There may be stations or addresses that are not remembered."""
        return self.is_full or any(len(known) >= MAX_ADDRESSES for known in self._addresses.values())

    def note(self, mac: bytes, address: bytes, now: float) -> None:
        """Note an address that a station has shown."""
        if mac not in self._addresses and self.is_full:
            return
        known = self._addresses.setdefault(mac, {})
        known.pop(address, None)
        if len(known) >= MAX_ADDRESSES:
            del known[next(iter(known))]
        known[address] = now

    def forget(self, mac: bytes, address: bytes) -> None:
        """Forget an address that a station no longer has."""
        self._addresses.get(mac, {}).pop(address, None)

    def station(self, address: bytes) -> bytes | None:
        """Return the MAC address of the station that has an address; None if it is none of ours."""
        return next((mac for mac, known in self._addresses.items() if address in known), None)

    def addresses(self) -> set[bytes]:
        """Return all addresses."""
        return {address for known in self._addresses.values() for address in known}

    def other_address(self, mac: bytes, address: bytes, shared: set[bytes]) -> bytes:
        """Return the sender that replaces a shared address in a station's question.

        It is an address of the station itself: for IPv4 one of the same network, for IPv6 preferably a
        link-local one; `NOBODY` if the station has shown none.
        """
        others = [
            other
            for other in self._addresses.get(mac, ())
            if len(other) == len(address) and other not in shared
        ]
        if len(address) == _IPV4_SIZE:
            near = [other for other in others if other[:_LEAST_PREFIX] == address[:_LEAST_PREFIX]]
            return max(near, key=lambda other: _common(other, address), default=NOBODY)
        return min(others, key=lambda other: (not other.startswith(b"\xfe\x80"), other), default=NOBODY)

    def prune(self, now: float) -> None:
        """Forget addresses that were not shown for a long time."""
        for mac, known in list(self._addresses.items()):
            for address in [address for address, seen in known.items() if now - seen > LIFE]:
                del known[address]
            if not known:
                del self._addresses[mac]


def _common(one: bytes, other: bytes) -> int:
    """Return how many leading bits two addresses have in common."""
    difference = int.from_bytes(one, "big") ^ int.from_bytes(other, "big")
    return 8 * len(one) - difference.bit_length()
