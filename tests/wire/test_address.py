"""Addresses of the meta protocol: docs/protocol-meta.md, "Addresses"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.wire.address import UNKNOWN, UNSPEC, Address, from_sockaddr, normalise


def test_an_address_is_shown_as_host_port_number() -> None:
    assert str(Address("10.0.0.1", "655")) == "10.0.0.1 port 655"
    assert str(UNKNOWN) == "unknown port unknown"
    assert str(UNSPEC) == "unspec port unspec"


@pytest.mark.parametrize(
    ("host", "port", "family"),
    [
        ("10.0.0.1", "655", 4),
        ("fd00::1", "655", 6),
        ("fe80::1%3", "655", 6),
        ("10.0.0.1", "65536", 0),
        ("10.0.0.1", "-1", 0),
        ("10.0.0.1", "http", 0),
        ("10.0.0.1", "", 0),
        ("10.0.0.1", "٣", 0),
        ("example.org", "655", 0),
        ("unspec", "unspec", 0),
    ],
)
def test_only_a_numeric_pair_has_a_family(host: str, port: str, family: int) -> None:
    assert Address(host, port).family == family


def test_port_zero_is_numeric_but_nothing_can_be_sent_there() -> None:
    address = Address("10.0.0.1", "0")
    assert address.family == 4
    assert not address.is_usable
    assert address.with_port("655").is_usable


def test_an_opaque_pair_is_not_usable() -> None:
    assert not UNSPEC.is_usable
    assert not Address("10.0.0.1", "tinc").is_usable


def test_the_socket_form_has_two_items_for_ipv4_and_four_for_ipv6() -> None:
    assert Address("10.0.0.1", "655").sockaddr() == ("10.0.0.1", 655)
    assert Address("fd00::1", "655").sockaddr() == ("fd00::1", 655, 0, 0)
    assert Address("fe80::1%3", "655").sockaddr() == ("fe80::1", 655, 0, 3)


@pytest.mark.parametrize(
    ("sockaddr", "address"),
    [
        (("10.0.0.1", 655), Address("10.0.0.1", "655")),
        (("fd00::1", 655, 0, 0), Address("fd00::1", "655")),
        (("fe80::1%eth0", 655, 0, 3), Address("fe80::1", "655")),
        (("::ffff:10.0.0.1", 655, 0, 0), Address("10.0.0.1", "655")),
    ],
)
def test_a_socket_address_becomes_a_bare_address(sockaddr: tuple[str | int, ...], address: Address) -> None:
    assert from_sockaddr(sockaddr) == address


def test_normalising_makes_the_host_canonical_and_removes_the_scope() -> None:
    assert normalise("FD00:0::1", "655") == Address("fd00::1", "655")
    assert normalise("fe80::1%eth0", "655") == Address("fe80::1", "655")


def test_normalising_leaves_an_opaque_pair_alone() -> None:
    assert normalise("Example.ORG", "tinc") == Address("Example.ORG", "tinc")
    assert normalise("unspec", "unspec") == UNSPEC


@given(st.ip_addresses(v=4).map(str), st.integers(0, 65535))
def test_an_ipv4_address_survives_the_way_through_a_socket(host: str, port: int) -> None:
    address = Address(host, str(port))
    assert from_sockaddr(address.sockaddr()) == address


@given(st.text(), st.text())
def test_properties_never_raise_whatever_the_pair(host: str, port: str) -> None:
    address = Address(host, port)
    assert address.family in (0, 4, 6)
    assert address.is_usable in (True, False)
    assert normalise(host, port).port == port


@pytest.mark.parametrize("port", ["0655359999", "65536", "000080", "99999999999999999999", "-1", "", "http"])
def test_an_address_with_an_absurd_port_is_not_usable(port: str) -> None:
    assert not Address("10.0.0.1", port).is_usable
