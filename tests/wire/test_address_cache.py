"""The address cache file: docs/protocol-meta.md, "Address cache"."""

from __future__ import annotations

import contextlib
import struct
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.address import UNSPEC, Address
from pytinc.wire.address_cache import FILE_SIZE, MAX_ADDRESSES, pack_addresses, unpack_addresses

PORTS = st.integers(1, 65535).map(str)
# Not IPv4-mapped ones: these come back as IPv4, as everywhere in pytinc.
IPV6_HOSTS = st.ip_addresses(v=6).map(str).filter(lambda host: not host.startswith("::ffff:"))
ADDRESSES = st.builds(Address, st.one_of(st.ip_addresses(v=4).map(str), IPV6_HOSTS), PORTS)


def header(version: int, count: int) -> bytes:
    return struct.pack("=II", version, count)


@pytest.mark.skipif(sys.byteorder != "little", reason="the example is little endian")
def test_the_file_has_tincs_layout() -> None:
    packed = pack_addresses([Address("10.99.0.2", "655")])
    assert packed.hex().startswith("01000000010000000200028f0a63000200")
    assert len(packed) == FILE_SIZE
    assert packed[16:] == bytes(FILE_SIZE - 16)


def test_an_ipv6_address_with_a_scope_survives() -> None:
    addresses = (Address("fe80::1%3", "655"), Address("fd00::1", "7"))
    packed = pack_addresses(addresses)
    assert unpack_addresses(packed) == addresses
    assert struct.unpack_from("=I", packed, 8 + 24) == (3,)


def test_an_ipv4_mapped_address_is_read_as_ipv4() -> None:
    assert unpack_addresses(pack_addresses([Address("::ffff:10.0.0.1", "655")])) == (
        Address("10.0.0.1", "655"),
    )


def test_no_addresses_give_an_empty_file_of_the_full_size() -> None:
    assert pack_addresses([]) == header(1, 0) + bytes(256)
    assert unpack_addresses(header(1, 0) + bytes(256)) == ()


def test_addresses_that_nothing_can_be_sent_to_are_omitted() -> None:
    addresses = [Address("example.org", "655"), UNSPEC, Address("10.0.0.1", "0"), Address("10.0.0.1", "5")]
    assert unpack_addresses(pack_addresses(addresses)) == (Address("10.0.0.1", "5"),)


def test_only_the_first_eight_are_kept() -> None:
    addresses = tuple(Address(f"10.0.0.{i}", "655") for i in range(1, 12))
    assert unpack_addresses(pack_addresses(addresses)) == addresses[:MAX_ADDRESSES]


@pytest.mark.parametrize("data", [b"", bytes(FILE_SIZE - 1), bytes(FILE_SIZE + 1), header(2, 0) + bytes(256)])
def test_another_size_or_version_is_refused(data: bytes) -> None:
    with pytest.raises(DecodeError):
        unpack_addresses(data)


def test_a_count_above_eight_means_no_addresses() -> None:
    packed = bytearray(pack_addresses([Address("10.0.0.1", "655")]))
    packed[:8] = header(1, 9)
    assert unpack_addresses(bytes(packed)) == ()


def test_a_slot_of_an_unknown_family_is_skipped() -> None:
    packed = bytearray(pack_addresses([Address("10.0.0.1", "655"), Address("10.0.0.2", "655")]))
    packed[8:10] = struct.pack("=H", 1)
    assert unpack_addresses(bytes(packed)) == (Address("10.0.0.2", "655"),)


@given(st.lists(ADDRESSES, max_size=MAX_ADDRESSES))
def test_what_is_packed_is_unpacked(addresses: list[Address]) -> None:
    assert unpack_addresses(pack_addresses(addresses)) == tuple(addresses)


@given(st.integers(0, 10), st.binary(min_size=256, max_size=256), st.binary(max_size=300))
def test_other_bytes_raise_nothing_but_decode_error(count: int, slots: bytes, data: bytes) -> None:
    assert len(unpack_addresses(header(1, count) + slots)) <= MAX_ADDRESSES
    with contextlib.suppress(DecodeError):
        unpack_addresses(data)
