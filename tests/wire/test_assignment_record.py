"""Assignment records: they come back as they were, fit their bound, and nothing else is taken for one."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.assignment_record import (
    ASSIGNMENT_RECORD,
    MAX_SIZE,
    Assigned,
    AssignmentRecord,
    parse_assignments,
    portions,
)

U32 = st.integers(0, (1 << 32) - 1)
IDS = st.binary(min_size=6, max_size=6)
MACS = IDS.map(lambda mac: bytes((mac[0] & 0xFE,)) + mac[1:])
SIZES = st.sampled_from((4, 16))
CLIENT = Assigned(b"\x02\0\0\0\0\x05", bytes((10, 1, 1, 5)), b"node_2")
OTHER = Assigned(b"\x02\0\0\0\0\x06", bytes((10, 1, 1, 6)), b"node_3")
RECORD = AssignmentRecord(0x01020304, 5, bytes((10, 1, 1, 10)), 7, b"node_2", (CLIENT, OTHER, CLIENT))


def test_a_record_has_the_documented_layout() -> None:
    assert RECORD.pack().hex() == (
        "04010102030400000005"
        "040a01010a000000076e6f64655f32"
        "026e6f64655f326e6f64655f33"
        "03"
        "000200000000050a010105"
        "010200000000060a010106"
        "000200000000050a010105"
    )  # fmt: skip


@given(U32, U32, U32, IDS, SIZES, st.data())
def test_every_portion_fits_and_comes_back_as_it_was(
    boot: int, sequence: int, term: int, holder: bytes, size: int, data: st.DataObject
) -> None:
    addresses = st.binary(min_size=size, max_size=size)
    ids = data.draw(st.lists(IDS, min_size=1, max_size=40))
    clients = data.draw(st.lists(st.builds(Assigned, MACS, addresses, st.sampled_from(ids)), max_size=150))
    address, found = data.draw(addresses), list[Assigned]()
    for portion in portions(size, clients):
        record = AssignmentRecord(boot, sequence, address, term, holder, portion)
        payload = record.pack()
        assert len(payload) <= MAX_SIZE
        assert payload[0] == ASSIGNMENT_RECORD
        assert parse_assignments(payload) == record
        found += portion
    assert found == clients


def test_portions_are_as_large_as_a_record_allows() -> None:
    assert list(portions(4, [])) == []
    lots = list(portions(4, [CLIENT] * 100))
    assert [len(lot) for lot in lots] == [33, 33, 33, 1]


def test_bytes_behind_the_last_client_are_ignored() -> None:
    assert parse_assignments(RECORD.pack() + b"later") == RECORD


def test_a_record_that_is_too_long_is_an_error() -> None:
    with pytest.raises(DecodeError):
        parse_assignments(RECORD.pack().ljust(MAX_SIZE + 1, b"x"))


@given(st.binary(max_size=MAX_SIZE + 1))
def test_random_bytes_are_a_record_or_an_error(payload: bytes) -> None:
    for data in (payload, bytes((4, 1)) + payload, RECORD.pack()[:15] + payload):
        with contextlib.suppress(DecodeError):
            parse_assignments(data)


@pytest.mark.parametrize("size", range(len(RECORD.pack())))
def test_a_record_that_is_cut_off_is_an_error(size: int) -> None:
    with pytest.raises(DecodeError):
        parse_assignments(RECORD.pack()[:size])


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, 3), (1, 2), (10, 5), (39, 2), (40, 3)],
    ids=["kind", "version", "length of the address", "index", "group address"],
)
def test_a_wrong_field_is_an_error(offset: int, value: int) -> None:
    payload = bytearray(RECORD.pack())
    payload[offset] = value
    with pytest.raises(DecodeError):
        parse_assignments(bytes(payload))
