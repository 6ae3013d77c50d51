"""Member records: they come back as they were, fit their bound, and nothing else is taken for one."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import DecodeError
from pytinc.wire.vip_record import (
    MAX_SIZE,
    MAX_TERM,
    MEMBER_RECORD,
    NO_HOLDER,
    Claim,
    Entry,
    EntryState,
    MemberRecord,
    parse_record,
    portions,
)
from pytinc.wire.virtual_ip import Balance

U32 = st.integers(0, (1 << 32) - 1)
IDS = st.binary(min_size=6, max_size=6)
MACS = IDS.map(lambda mac: bytes((mac[0] & 0xFE,)) + mac[1:])
ADDRESSES = st.one_of(st.binary(min_size=4, max_size=4), st.binary(min_size=16, max_size=16))
CLAIMS = st.builds(Claim, U32, IDS, st.integers(0, 255), st.booleans())
ENTRIES = st.builds(
    Entry,
    ADDRESSES,
    st.sampled_from(EntryState),
    st.integers(1, 255),
    MACS,
    CLAIMS,
    st.booleans(),
    st.sampled_from(Balance),
    st.integers(1, 255),
    IDS,
)
ENTRY = Entry(bytes((10, 1, 1, 10)), EntryState.ACTIVE, 100, b"\x02\0\0\0\0\x05", Claim(7, b"node_2", 90))


def test_a_record_has_the_documented_layout() -> None:
    record = MemberRecord(0x01020304, 5, (ENTRY,)).pack()
    assert record.hex() == (
        "0302010203040000000501"
        "040a01010a046400020000000005000000075a6e6f64655f320a000000000000"
    )  # fmt: skip


def test_flags_are_independent_of_each_other() -> None:
    frozen = replace(ENTRY, claim=ENTRY.claim._replace(frozen=True))
    entries = (frozen, replace(ENTRY, hears_holder=True), replace(frozen, hears_holder=True))
    assert parse_record(MemberRecord(1, 2, entries).pack()).entries == entries
    assert [entry.pack()[7] for entry in entries] == [1, 2, 3]
    balanced = replace(frozen, balance=Balance.FLOW)
    assert parse_record(MemberRecord(1, 2, (balanced,)).pack()).entries == (balanced,)
    assert balanced.pack()[7] == 9


@given(U32, U32, st.lists(ENTRIES, max_size=40))
def test_every_portion_fits_and_comes_back_as_it_was(boot: int, sequence: int, entries: list[Entry]) -> None:
    found: list[Entry] = []
    for portion in portions(entries):
        payload = MemberRecord(boot, sequence, portion).pack()
        assert len(payload) <= MAX_SIZE
        assert payload[0] == MEMBER_RECORD
        record = parse_record(payload)
        assert (record.boot, record.sequence) == (boot, sequence)
        found += record.entries
    assert found == entries


def test_entries_beyond_one_record_go_into_the_next() -> None:
    assert list(portions([])) == []
    many = list(portions([ENTRY] * 40))
    assert sum(len(portion) for portion in many) == 40
    assert len(many) == 4
    sizes = [len(MemberRecord(1, 2, portion).pack()) for portion in many]
    assert max(sizes) <= MAX_SIZE < max(sizes) + ENTRY.size


def test_terms_go_in_a_circle_and_a_claim_without_holder_comes_before_all_others() -> None:
    one, other = Claim(7, b"node_2"), Claim(8, b"node_3")
    assert other.is_later(one)
    assert not one.is_later(other)
    assert not one.is_later(one)
    last = Claim(MAX_TERM, b"node_2")
    following = Claim(last.next_term, b"node_3")
    assert following.term == 0
    assert following.is_later(last)
    assert not last.is_later(following)
    nobody = Claim(0, NO_HOLDER)
    assert last.is_later(nobody)
    assert not nobody.is_later(last)
    assert not nobody.is_later(nobody)


def test_a_record_that_is_too_long_is_an_error() -> None:
    with pytest.raises(DecodeError):
        parse_record(MemberRecord(1, 2, (ENTRY,)).pack().ljust(MAX_SIZE + 1, b"x"))


def test_bytes_behind_the_last_entry_are_ignored() -> None:
    payload = MemberRecord(1, 2, (ENTRY,)).pack()
    assert parse_record(payload + b"later").entries == (ENTRY,)


@given(st.binary(max_size=MAX_SIZE + 1))
def test_random_bytes_are_a_record_or_an_error(payload: bytes) -> None:
    for data in (payload, bytes((3, 2)) + payload):
        with contextlib.suppress(DecodeError):
            parse_record(data)


@pytest.mark.parametrize("end", range(1, 26))
def test_a_record_that_is_cut_off_is_an_error(end: int) -> None:
    with pytest.raises(DecodeError):
        parse_record(MemberRecord(1, 2, (ENTRY,)).pack()[:-end])


@pytest.mark.parametrize(
    ("offset", "value"),
    [(0, 0), (1, 1), (11, 5), (16, 7), (17, 0), (18, 12), (19, 1), (36, 0)],
    ids=[
        "kind",
        "version",
        "length of the address",
        "state",
        "priority",
        "balance",
        "group address",
        "weight",
    ],
)
def test_a_wrong_field_is_an_error(offset: int, value: int) -> None:
    payload = bytearray(MemberRecord(1, 2, (ENTRY,)).pack())
    payload[offset] = value
    with pytest.raises(DecodeError):
        parse_record(bytes(payload))
