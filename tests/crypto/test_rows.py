"""Records in rows: the same bytes as one by one, and nothing opens that would not open alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto import aead
from pytinc.crypto.aead import ROOM_BEFORE_PLAIN, ROOM_BEFORE_SEALED, RecordCipher, Rows

KEY = bytes(range(64))
TAGS = pytest.mark.parametrize("fast", [False, True], ids=["tag of tinc", "fast tag"])


@st.composite
def layouts(draw: st.DrawFn) -> Rows:
    size = draw(st.integers(1, 200))
    return Rows(
        records=draw(st.integers(1, 9)),
        size=size,
        last=draw(st.integers(1, size)),
        plain=ROOM_BEFORE_PLAIN + draw(st.integers(0, 5)),
        plain_step=ROOM_BEFORE_PLAIN + size + draw(st.integers(0, 5)),
        sealed=ROOM_BEFORE_SEALED,
        sealed_step=16 + size + 16 + draw(st.integers(0, 5)),
    )


def plaintexts(rows: Rows) -> list[bytes]:
    sizes = [rows.size] * (rows.records - 1) + [rows.last]
    return [bytes((number + 1,)) * size for number, size in enumerate(sizes)]


def plain_buffer(rows: Rows) -> bytearray:
    buffer = bytearray(rows.plain + rows.plain_step * rows.records)
    for number, text in enumerate(plaintexts(rows)):
        at = rows.plain + number * rows.plain_step
        buffer[at : at + len(text)] = text
    return buffer


def sealed_in_rows(rows: Rows, first: int, *, fast: bool) -> bytearray:
    cipher = RecordCipher(KEY)
    buffer = bytearray(rows.sealed + rows.sealed_step * rows.records)
    seal = cipher.seal_rows_fast if fast else cipher.seal_rows
    assert seal(first, memoryview(plain_buffer(rows)), memoryview(buffer), rows)
    return buffer


def record(buffer: bytearray, rows: Rows, number: int) -> bytes:
    at = rows.sealed + number * rows.sealed_step
    return bytes(buffer[at : at + len(plaintexts(rows)[number]) + 16])


@TAGS
@given(rows=layouts(), first=st.integers(0, 2**32 - 20))
def test_each_record_equals_one_sealed_alone(fast: bool, rows: Rows, first: int) -> None:
    buffer = sealed_in_rows(rows, first, fast=fast)
    cipher = RecordCipher(KEY)
    seal = cipher.seal_fast if fast else cipher.seal
    alone = [seal(first + number, text) for number, text in enumerate(plaintexts(rows))]
    assert [record(buffer, rows, number) for number in range(rows.records)] == alone


@TAGS
@given(rows=layouts(), first=st.integers(0, 2**32 - 20))
def test_sealed_rows_open(fast: bool, rows: Rows, first: int) -> None:
    sealed, cipher = sealed_in_rows(rows, first, fast=fast), RecordCipher(KEY)
    opened = bytearray(rows.plain + rows.plain_step * rows.records)
    open_ = cipher.open_rows_fast if fast else cipher.open_rows
    assert open_(first, memoryview(sealed), memoryview(opened), rows)
    assert opened == plain_buffer(rows)


@TAGS
@given(rows=layouts(), data=st.data())
def test_one_wrong_bit_or_number_rejects_all_rows(fast: bool, rows: Rows, data: st.DataObject) -> None:
    sealed, cipher = sealed_in_rows(rows, 7, fast=fast), RecordCipher(KEY)
    number = data.draw(st.integers(0, rows.records - 1))
    at = rows.sealed + number * rows.sealed_step
    at += data.draw(st.integers(0, len(record(sealed, rows, number)) - 1))
    opened = bytearray(rows.plain + rows.plain_step * rows.records)
    open_ = cipher.open_rows_fast if fast else cipher.open_rows
    assert not open_(8, memoryview(sealed), memoryview(opened), rows)
    sealed[at] ^= 1 << data.draw(st.integers(0, 7))
    assert not open_(7, memoryview(sealed), memoryview(opened), rows)
    # The cipher goes on as if nothing had been.
    assert cipher.open(9, cipher.seal(9, b"next")) == b"next"


@pytest.mark.parametrize("missing", ["sodium", "HAS_ROWS"])
def test_nothing_is_written_if_the_library_is_too_old(monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    monkeypatch.setattr(aead, missing, None)
    rows = Rows(2, 10, 10, 64, 80, 64, 42)
    cipher, buffer = RecordCipher(KEY), bytearray(200)
    assert not cipher.seal_rows(0, memoryview(plain_buffer(rows)), memoryview(buffer), rows)
    assert not cipher.open_rows(0, memoryview(buffer), memoryview(bytearray(300)), rows)
    if missing == "HAS_ROWS":
        assert not cipher.seal_rows_fast(0, memoryview(plain_buffer(rows)), memoryview(buffer), rows)
        assert not cipher.open_rows_fast(0, memoryview(buffer), memoryview(bytearray(300)), rows)
    assert buffer == bytes(200)


THREE = Rows(records=3, size=40, last=9, plain=64, plain_step=104, sealed=64, sealed_step=72)


@TAGS
def test_three_records_of_which_the_last_is_shorter(fast: bool) -> None:
    sealed, cipher = sealed_in_rows(THREE, 5, fast=fast), RecordCipher(KEY)
    seal = cipher.seal_fast if fast else cipher.seal
    assert [record(sealed, THREE, number) for number in range(3)] == [
        seal(5, b"\1" * 40),
        seal(6, b"\2" * 40),
        seal(7, b"\3" * 9),
    ]
    opened = bytearray(len(plain_buffer(THREE)))
    open_ = cipher.open_rows_fast if fast else cipher.open_rows_strict
    assert open_(5, memoryview(sealed), memoryview(opened), THREE)
    assert opened == plain_buffer(THREE)
    sealed[THREE.sealed + THREE.sealed_step] ^= 1
    assert not open_(5, memoryview(sealed), memoryview(opened), THREE)


def test_a_record_in_rows_cannot_be_extended_by_the_padding_that_the_fast_tag_covers() -> None:
    cipher = RecordCipher(KEY)
    fast = cipher.seal_fast(5, b"x" * 16)
    longer = fast[:16] + bytes(8) + (16).to_bytes(8, "little") + fast[16:]
    rows = Rows(records=1, size=32, last=32, plain=64, plain_step=96, sealed=64, sealed_step=64)
    sealed, opened = bytearray(64) + longer, bytearray(96)
    # By tinc's rule alone it is authentic.
    assert cipher.open_rows(5, memoryview(sealed), memoryview(opened), rows)
    assert not cipher.open_rows_strict(5, memoryview(sealed), memoryview(opened), rows)
