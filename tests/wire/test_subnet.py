"""Subnets in text form: docs/protocol-meta.md, "Subnets"."""

from __future__ import annotations

import contextlib
import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.subnet import DEFAULT_BROADCAST_SUBNETS, Subnet, SubnetKind, parse_subnet

MAC_ADDRESSES = st.binary(min_size=6, max_size=6)
WEIGHTS = st.integers(-(2**31), 2**31 - 1)
SUBNETS = st.one_of(
    st.builds(Subnet, st.just(SubnetKind.MAC), MAC_ADDRESSES, st.just(48), WEIGHTS),
    st.builds(
        Subnet, st.just(SubnetKind.IPV4), st.binary(min_size=4, max_size=4), st.integers(0, 32), WEIGHTS
    ),
    st.builds(
        Subnet, st.just(SubnetKind.IPV6), st.binary(min_size=16, max_size=16), st.integers(0, 128), WEIGHTS
    ),
)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("1.2.3.4", "1.2.3.4"),
        ("1.2.3.4/32#10", "1.2.3.4"),
        ("1.2.3.4#10", "1.2.3.4"),
        ("10.0.0.0/8#5", "10.0.0.0/8#5"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("10.0.0.0/8#-3", "10.0.0.0/8#-3"),
        ("FD00:3::/64#5", "fd00:3::/64#5"),
        ("fe80:0:0:0:0:0:0:1/128", "fe80::1"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"),
        ("::ffff:1.2.3.4", "::ffff:102:304"),
        ("::ffff:0:0/96", "::ffff:0:0/96"),
        ("::1.2.3.4", "::102:304"),
        ("::1:2", "::1:2"),
        ("64:ff9b::1.2.3.04", "64:ff9b::102:304"),
        ("010.0.00.0/08#0005", "10.0.0.0/8#5"),
        ("00001::/64", "1::/64"),
        ("1:2:3:4:005:006", "01:02:03:04:05:06"),
        ("::1", "::1"),
        ("::/0", "::/0"),
        ("2:0:5E:0:0:1", "02:00:5e:00:00:01"),
        ("cb:0c:1b:60:ed:7a#20", "cb:0c:1b:60:ed:7a#20"),
        ("10.0.0.1/8", "10.0.0.1/8"),
    ],
)
def test_a_subnet_is_written_in_its_shortest_form(text: str, written: str) -> None:
    assert str(parse_subnet(text)) == written


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1.1.1",
        "1:2:3:4:5:",
        "1:2:3:4:5:::6",
        "1:2:3:4:5:6:7:8:9",
        "256.256.256.256",
        "1:2:3:4:5:6:7:8.123",
        "1:2:3:4:5:6:7:1.2.3.4",
        "a:b:c:d:e:f:g:h",
        "1.2.3.0/",
        "1.2.3.0/42",
        "1.2.3.0/-1",
        "1.2.3.0/MASK",
        "1.2.3.0/24x",
        "fe80::/129",
        "fe80::1%eth0",
        "cb:0c:1b:60:ed:7a/1",
        "cb:0c:1b:60:ed:7a/48",
        "cb:0c:1b:60:ed:123",
        "1.2.3.4#",
        "1.2.3.4#WEIGHT",
        "1.2.3.4#5x",
        "1.2.3.4#99999999999",
        "1.2.3.4#2147483648",
        "1.2.3.0x4",
        "１.2.3.4",
    ],
)
def test_a_malformed_subnet_is_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        parse_subnet(text)


def test_only_the_first_63_characters_are_read() -> None:
    longest = "1.2.3.4#" + "0" * 54 + "7"
    assert parse_subnet(longest + "garbage").weight == 7


@pytest.mark.parametrize(
    ("text", "set_"),
    [
        ("10.0.0.1/8", True),
        ("1.1.1.1/0", True),
        ("10.0.0.0/8", False),
        ("1.1.1.1", False),
        ("fe80::1/64", True),
        ("fe80::/64", False),
        ("02:00:00:00:00:01", False),
    ],
)
def test_host_bits_are_those_below_the_prefix(text: str, set_: bool) -> None:
    assert parse_subnet(text).has_host_bits is set_


@pytest.mark.parametrize(
    ("text", "address", "inside"),
    [
        ("10.0.0.0/8", "10.255.0.1", True),
        ("10.0.0.0/8", "11.0.0.0", False),
        ("0.0.0.0/0", "1.2.3.4", True),
        ("224.0.0.0/4", "239.1.2.3", True),
        ("fd00:3::/64", "fd00:3::99", True),
        ("fd00:3::/64", "fd00:3:0:1::", False),
        ("::/0", "1.2.3.4", False),
    ],
)
def test_a_subnet_contains_the_addresses_that_share_its_prefix(text: str, address: str, inside: bool) -> None:
    assert parse_subnet(text).contains(ipaddress.ip_address(address).packed) is inside


def test_a_mac_subnet_contains_only_its_own_address() -> None:
    subnet = Subnet.mac(b"\2\0\0\0\0\1")
    assert str(subnet) == "02:00:00:00:00:01"
    assert subnet.contains(b"\2\0\0\0\0\1")
    assert not subnet.contains(b"\2\0\0\0\0\2")


def test_scripts_get_the_form_without_the_weight() -> None:
    assert parse_subnet("10.0.0.0/8#5").text_without_weight == "10.0.0.0/8"
    assert parse_subnet("10.0.0.1#5").text_without_weight == "10.0.0.1"


def test_subnets_sort_by_kind_then_longer_prefix_then_address_then_weight() -> None:
    wanted = [
        "02:00:00:00:00:01",
        "02:00:00:00:00:01#20",
        "02:00:00:00:00:02#1",
        "10.20.0.1",
        "255.255.255.255",
        "10.21.0.0/16#20",
        "224.0.0.0/4",
        "fd00:1::/64",
        "ff00::/8",
    ]
    shuffled = sorted(wanted, key=lambda text: text[::-1])
    assert [str(s) for s in sorted(map(parse_subnet, shuffled), key=lambda s: s.sort_key)] == wanted


def test_the_default_broadcast_subnets_are_the_four_of_the_control_dump() -> None:
    assert [str(s) for s in DEFAULT_BROADCAST_SUBNETS] == [
        "ff:ff:ff:ff:ff:ff",
        "255.255.255.255",
        "224.0.0.0/4",
        "ff00::/8",
    ]


@given(SUBNETS)
def test_what_is_written_is_read_as_the_same_subnet(subnet: Subnet) -> None:
    assert parse_subnet(str(subnet)) == subnet


@given(MAC_ADDRESSES)
def test_a_mac_subnet_made_from_bytes_equals_the_parsed_one(address: bytes) -> None:
    assert parse_subnet(address.hex(":")) == Subnet.mac(address)


@given(st.one_of(st.text(), st.text(alphabet="0123456789abcdef:./#-%", max_size=70)))
def test_any_other_text_raises_nothing_but_decode_error(text: str) -> None:
    with contextlib.suppress(DecodeError):
        parse_subnet(text)
