"""Runs as such; what the data path does with them is in `test_twin.py`."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from datapath.sessions import established_between
from datapath.super_frames import frame_run, super_frame
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.clamp import clamp_mss
from pytinc.datapath.runs import DatagramRun
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.datagram import NULL_ID, TYPE_MAC

PREFIX = NULL_ID + b"sender"
HEADER = bytes(range(12)) + b"\x88\xb5"


def established() -> tuple[DatagramSession, DatagramSession]:
    one, two = (PrivateKey.from_seed(os.urandom(32)) for _ in range(2))
    return established_between(one, two, os.urandom)


def frames(count: int, size: int = 200, last: int | None = None) -> list[bytes]:
    made = [HEADER + bytes((number,)) * (size - 14) for number in range(count)]
    return [*made[:-1], made[-1][: size if last is None else last]]


def sealed(session: DatagramSession, count: int = 9, last: int | None = None) -> bytearray:
    run = frame_run(frames(count, last=last)).seal(session, PREFIX, TYPE_MAC)
    assert run is not None
    assert len(run) == count
    return bytearray(run.data)


@pytest.mark.parametrize("last", [None, 14, 199])
def test_what_was_sealed_as_a_run_opens_as_a_run_and_one_by_one(last: int | None) -> None:
    ours, theirs = established()
    run = DatagramRun(memoryview(sealed(ours, last=last)), 233)
    assert run.prefix() == PREFIX
    opened = run.open(theirs, TYPE_MAC)
    assert opened is not None
    assert opened.frames() == frames(9, last=last)
    again = DatagramRun(memoryview(sealed(ours, last=last)), 233).datagrams()
    assert [record and record[1] for record in theirs.open_batch(again, 12)] == frames(9, last=last)


def test_a_run_with_the_tag_of_tinc_opens_whole_where_the_other_one_is_taken_as_well() -> None:
    ours, theirs = established()
    theirs.accept_fast()
    for is_fast in (False, False, True, True, False):
        ours.peer_accepts_fast = is_fast
        run = DatagramRun(memoryview(sealed(ours)), 233)
        opened = run.open(theirs, TYPE_MAC)
        if opened is None:  # the tag has changed: the first ones tell, one by one
            assert all(theirs.open_batch(run.datagrams(), 12))
        else:
            assert opened.frames() == frames(9)
        again = DatagramRun(memoryview(sealed(ours)), 233).open(theirs, TYPE_MAC)
        assert again is not None


def test_a_record_that_someone_made_longer_keeps_a_run_shut() -> None:
    ours, theirs = established()
    theirs.accept_fast()
    ours.peer_accepts_fast = True
    run = DatagramRun(memoryview(sealed(ours)), 233)
    # By tinc's rule alone the tag of RFC 8439 is right for all that it covers (docs/protocol.md).
    size = 233 - 12 - 4 - 16
    covered = bytes(-size % 16) + bytes(8) + size.to_bytes(8, "little")
    longer = [datagram[:-16] + covered + datagram[-16:] for datagram in run.datagrams()]
    assert DatagramRun(memoryview(b"".join(longer)), len(longer[0])).open(theirs, TYPE_MAC) is None
    theirs._accepts_fast = False
    assert DatagramRun(memoryview(b"".join(longer)), len(longer[0])).open(theirs, TYPE_MAC) is not None


def test_a_run_opens_only_once() -> None:
    ours, theirs = established()
    run = DatagramRun(memoryview(sealed(ours)), 233)
    assert run.open(theirs, TYPE_MAC) is not None
    assert run.open(theirs, TYPE_MAC) is None


@given(data=st.data())
def test_damage_keeps_a_run_shut_and_the_session_as_it_was(data: st.DataObject) -> None:
    ours, theirs = established()
    buffer = sealed(ours)
    at = data.draw(st.integers(12, len(buffer) - 1).filter(lambda at: at % 233 >= 12))
    buffer[at] ^= 1 << data.draw(st.integers(0, 7))
    before = theirs.window.next
    assert DatagramRun(memoryview(buffer), 233).open(theirs, TYPE_MAC) is None
    assert theirs.window.next == before
    good = theirs.open_batch(DatagramRun(memoryview(buffer), 233).datagrams(), 12)
    assert sum(record is not None for record in good) == 8


@given(st.binary(min_size=2, max_size=4000), st.integers(1, 2000))
def test_any_bytes_are_looked_at_without_harm(data: bytes, step: int) -> None:
    _, theirs = established()
    run = DatagramRun(memoryview(data), min(step, len(data)))
    assert b"".join(run.datagrams()) == data
    assert b"".join(bytes(part.data) for part in run.parts(3)) == data
    assert all(len(part) <= 3 for part in run.parts(3))
    if run.prefix() is not None:
        assert run.open(theirs, TYPE_MAC) is None


@pytest.mark.parametrize("first", [2**32 - 1, 2**32 - 5])
def test_numbers_at_their_end_are_no_run(first: int) -> None:
    _, theirs = established()
    datagrams = [PREFIX + ((first + n) % 2**32).to_bytes(4, "big") + bytes(217) for n in range(9)]
    assert DatagramRun(memoryview(b"".join(datagrams)), 233).open(theirs, TYPE_MAC) is None


def test_a_copy_does_not_change_with_the_buffer() -> None:
    buffer = bytearray(b"a" * 50)
    copy = DatagramRun(memoryview(buffer), 10).copy()
    buffer[:] = b"b" * 50
    assert copy.datagrams() == [b"a" * 10] * 5


MAYBE = st.sampled_from


@given(
    ethertype=MAYBE((b"\x08\x00", b"\x86\xdd", b"\x81\x00", b"\x88\xb5")),
    packets=st.lists(
        st.tuples(
            MAYBE((0x45, 0x46, 0x60)),
            MAYBE((6, 17, 4, 41, 0, 60)),
            MAYBE((0x02, 0x10, 0x12)),
            MAYBE((0, 0x20)),
        ),
        min_size=2,
        max_size=5,
    ),
    size=st.integers(14, 200),
)
def test_a_run_that_has_no_syn_has_nothing_to_clamp(
    ethertype: bytes, packets: list[tuple[int, int, int, int]], size: int
) -> None:
    made = []
    for first, protocol, flags, fragment in packets:
        packet = bytearray(bytes(range(4, 256)))
        packet[0], packet[6 if first == 0x60 else 9] = first, protocol
        at = 40 if first == 0x60 else 20
        packet[6 if first != 0x60 else 7] = fragment
        packet[at : at + 24] = bytes(12) + bytes((0x60, flags)) + bytes(6) + b"\x02\x04\xff\xff"
        made.append((bytes(12) + ethertype + bytes(packet))[:size])
    if not frame_run(made).may_have_syn():
        assert all(clamp_mss(frame, 500) is frame for frame in made)


@pytest.mark.parametrize("is_ipv4", [True, False])
def test_plain_datagrams_and_acknowledgements_are_known_to_have_no_syn(is_ipv4: bool) -> None:
    datagram = super_frame(is_tcp=False, is_ipv4=is_ipv4, payload=bytes(64)).frame
    answer = super_frame(is_ipv4=is_ipv4, flags=0x10).frame
    opening = super_frame(is_ipv4=is_ipv4, flags=0x02).frame
    assert not frame_run([datagram] * 9).may_have_syn()
    assert not frame_run([answer] * 9).may_have_syn()
    assert frame_run([*[answer] * 8, opening]).may_have_syn()


@pytest.mark.parametrize("last", [None, 14])
@pytest.mark.parametrize(("low", "high"), [(2, 11), (4, 100), (0, 5), (50, 60)])
def test_a_run_is_split_by_its_numbers_unless_all_are_inside(low: int, high: int, last: int | None) -> None:
    ours, _ = established()
    run = DatagramRun(memoryview(sealed(ours, last=last)), 233)
    inside, outside = run.split(low, high)
    if (low, high) == (2, 11):
        assert (inside, outside) == ([], [])
        return
    is_inside = [low <= int.from_bytes(one[12:16], "big") < high for one in run.datagrams()]
    assert inside == [one for one, is_in in zip(run.datagrams(), is_inside, strict=True) if is_in]
    assert outside == [one for one, is_in in zip(run.datagrams(), is_inside, strict=True) if not is_in]
