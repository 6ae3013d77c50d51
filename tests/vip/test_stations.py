"""Which sender the questions of our own hosts get instead of a shared address."""

from __future__ import annotations

import ipaddress

from pytinc.vip.stations import MAX_ADDRESSES, MAX_STATIONS, OwnStations
from pytinc.wire.neighbour import NOBODY

ONE, TWO = (bytes((2, 0, 0, 0, 0, number)) for number in (1, 2))


def ip(text: str) -> bytes:
    return ipaddress.ip_address(text).packed


VIP, VIP6 = ip("10.1.1.10"), ip("fd00::10")


def station(*addresses: str) -> OwnStations:
    own = OwnStations()
    for address in addresses:
        own.note(ONE, ip(address), 0.0)
    return own


def test_the_nearest_own_address_of_a_host_replaces_the_shared_one() -> None:
    own = station("10.1.200.1", "10.1.1.3", "10.1.2.1")
    assert own.other_address(ONE, VIP, {VIP}) == ip("10.1.1.3")


def test_an_address_of_another_network_does_not_replace_the_shared_one() -> None:
    own = station("192.168.7.3", "10.2.1.10")
    assert own.other_address(ONE, VIP, {VIP}) == NOBODY


def test_another_shared_address_or_another_hosts_address_does_not_replace_it() -> None:
    own = station("10.1.1.10", "10.1.1.11")
    own.note(TWO, ip("10.1.1.3"), 0.0)
    assert own.other_address(ONE, VIP, {VIP, ip("10.1.1.11")}) == NOBODY


def test_a_link_local_address_is_preferred_for_ipv6_and_there_may_be_none() -> None:
    assert station("fd00::3", "fe80::3", "10.1.1.3").other_address(ONE, VIP6, {VIP6}) == ip("fe80::3")
    assert station("fd00::3", "fd00::10").other_address(ONE, VIP6, {VIP6}) == ip("fd00::3")
    assert station("fd00::10").other_address(ONE, VIP6, {VIP6}) == NOBODY
    assert OwnStations().other_address(ONE, VIP6, set()) == NOBODY


def test_an_address_that_was_not_used_for_long_is_forgotten() -> None:
    own = station("10.1.1.3", "10.1.1.4")
    own.note(ONE, ip("10.1.1.3"), 500.0)
    own.prune(700.0)
    assert own.addresses() == {ip("10.1.1.3")}
    own.prune(1200.0)
    assert own.addresses() == set()


def test_hosts_and_their_addresses_are_bounded() -> None:
    own = OwnStations()
    for number in range(2 * MAX_STATIONS):
        for last in range(3 * MAX_ADDRESSES):
            own.note(bytes((2, 0, 0, 0)) + number.to_bytes(2, "big"), bytes((10, 1, number, last)), 0.0)
    assert own.is_full
    assert len(own.addresses()) == MAX_STATIONS * MAX_ADDRESSES


def test_a_known_host_can_add_addresses_to_a_full_table_and_its_latest_ones_are_kept() -> None:
    own = station("10.1.1.3")
    for number in range(2 * MAX_STATIONS):
        own.note(bytes((6, 0, 0, 0)) + number.to_bytes(2, "big"), ip("10.9.9.9"), 0.0)
    for last in range(100, 100 + MAX_ADDRESSES):
        own.note(ONE, bytes((10, 1, 1, last)), 1.0)
    assert ip("10.1.1.3") not in own.addresses()
    assert bytes((10, 1, 1, 100)) in own.addresses()
