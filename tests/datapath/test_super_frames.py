"""Super-frames that travel as they are; what the data path does with them is in `test_twin.py` as well."""

from __future__ import annotations

import itertools
import os
from functools import partial
from itertools import pairwise

import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from datapath.sessions import established_between
from datapath.super_frames import TAGS, Super, super_frame, super_frames
from pytinc.crypto.keys import PrivateKey
from pytinc.datapath.coalesce import coalesce_run
from pytinc.datapath.runs import DatagramRun
from pytinc.datapath.segment_reference import segment
from pytinc.datapath.super_frames import Assembly, Sealed, SuperFrame, take
from pytinc.datapath.super_frames_reference import frames_in
from pytinc.errors import DecodeError
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.wire.datagram import DATAGRAM_OVERHEAD, PREFIX_SIZE, TYPE_MAC, node_id
from pytinc.wire.super_frame import HEAD, MAX_PIECES, MAX_SUPER_FRAME, PIECE_HEAD_SIZE, SUPER_FRAME_ID
from pytinc.wire.virtio import HEADER

ME = node_id("me")
LIMIT = 1439


def established(*, accepts: bool = True) -> tuple[DatagramSession, DatagramSession]:
    one, two = (PrivateKey.from_seed(os.urandom(32)) for _ in range(2))
    ours, theirs = established_between(one, two, os.urandom)
    if accepts:
        theirs.accept_super_frames()
        ours.peer_accepts_super_frames = True
    return ours, theirs


def tcp(data: int = 60000, mss: int = 1387, *, is_ipv4: bool = True, tags: bytes = b"") -> Super:
    return super_frame(payload=os.urandom(data), gso_size=mss, flags=0x18, is_ipv4=is_ipv4, tags=tags)


def whole(made: Super) -> SuperFrame:
    taken = take(*made)
    assert isinstance(taken, SuperFrame)
    return taken


def in_pieces(session: DatagramSession, made: Super, limit: int = LIMIT) -> DatagramRun:
    pieces = whole(made).in_pieces(session, ME, limit)
    assert pieces is not None
    return pieces


def opened(complete: list[Sealed], session: DatagramSession) -> list[list[bytes]]:
    super_frames = [sealed.open(session) for sealed in complete]
    assert all(super_frames)
    return [each.frames() for each in super_frames if each is not None]


# -- a super-frame is a run --


@given(super_frames())
def test_what_the_host_gave_comes_out_as_without_offload(made: Super) -> None:
    taken = take(*made)
    frames = taken if isinstance(taken, list) else taken.frames()
    assert frames == segment(*made)
    if isinstance(taken, SuperFrame):
        assert len(taken) == len(frames)
        assert taken.total == sum(map(len, frames))
        assert {len(frame) for frame in frames[:-1]} == {taken.size}
        assert (taken.last, taken.header) == (len(frames[-1]), frames[0][:14])


@pytest.mark.parametrize("is_ipv4", [True, False])
@pytest.mark.parametrize("tags", [b"", b"\x81\x00\x00\x05"])
def test_the_device_gets_it_back_as_it_was(is_ipv4: bool, tags: bytes) -> None:
    made = tcp(is_ipv4=is_ipv4, tags=tags)
    ((header, frame),) = coalesce_run(whole(made))
    assert segment(header, bytes(frame)) == segment(*made)
    assert bytes(frame) == made.frame


@pytest.mark.parametrize(
    "made",
    [
        super_frame(payload=bytes(3000), gso_size=1000, is_tcp=False),
        super_frame(payload=bytes(3000), gso_size=1000, ip_options=bytes(4)),
        super_frame(payload=bytes(3000), gso_size=1000, is_ipv4=False, extensions=((60, bytes(6)),)),
        super_frame(payload=bytes(3000), gso_size=1000, flags=0x38),
        super_frame(payload=bytes(3000), gso_size=1600, flags=0x10),
        super_frame(payload=bytes(900), gso_size=1000, flags=0x10),
        super_frame(payload=bytes(900), flags=0x10),
    ],
    ids=["UDP", "IP options", "IPv6 extension", "urgent", "long frames", "one frame", "no super-frame"],
)
def test_what_is_not_plain_tcp_is_cut(made: Super) -> None:
    taken = take(*made)
    assert not isinstance(taken, SuperFrame)
    assert (taken if isinstance(taken, list) else taken.frames()) == segment(*made)


# -- over the wire --


@given(
    data=st.integers(2000, 60000),
    limit=st.integers(1000, 1518),
    cuts=st.lists(st.integers(0, 255), max_size=5),
    is_ipv4=st.booleans(),
)
def test_it_arrives_in_whatever_portions_the_kernel_gives(
    data: int, limit: int, cuts: list[int], is_ipv4: bool
) -> None:
    ours, theirs = established()
    made = tcp(data, is_ipv4=is_ipv4)
    pieces = in_pieces(ours, made, limit)
    datagrams = pieces.datagrams()
    assert max(map(len, datagrams)) <= limit + DATAGRAM_OVERHEAD
    assert {datagram[:12] for datagram in datagrams} == {SUPER_FRAME_ID + ME}
    assembly, complete = Assembly(), []
    places = sorted({0, len(datagrams), *(cut for cut in cuts if cut < len(datagrams))})
    for start, end in pairwise(places):
        portion = datagrams[start:end]
        run = DatagramRun(memoryview(bytearray(b"".join(portion))), len(portion[0]))
        complete += assembly.add(run if end - start > 1 else portion)
        run.data[:] = bytes(len(run.data))  # the buffer is the caller's again
    assert opened(complete, theirs) == [segment(*made)]
    assert assembly.incomplete == 0


@given(st.data())
def test_what_lacks_a_piece_is_given_up_and_the_next_one_taken(data: st.DataObject) -> None:
    ours, theirs = established()
    first, second = tcp(9000), tcp(7000)
    pieces = in_pieces(ours, first).datagrams()
    lost = data.draw(st.sets(st.integers(0, len(pieces) - 1), min_size=1, max_size=len(pieces) - 1))
    left = [piece for number, piece in enumerate(pieces) if number not in lost]
    assembly = Assembly()
    assert assembly.add(left) == []
    assert opened(assembly.add(in_pieces(ours, second)), theirs) == [segment(*second)]
    assert assembly.incomplete == 1


def test_pieces_in_another_order_are_no_super_frame() -> None:
    ours, _ = established()
    pieces = in_pieces(ours, tcp(9000)).datagrams()
    assembly = Assembly()
    assert assembly.add([pieces[1], pieces[0], *pieces[2:]]) == []
    assert assembly.incomplete == 1


def test_one_run_may_hold_the_end_of_one_and_the_beginning_of_the_next() -> None:
    ours, theirs = established()
    made = [tcp(5600 - 54 - HEAD.size - 16) for _ in range(3)]
    datagrams = [each for one in made for each in in_pieces(ours, one, 1400 - 15).datagrams()]
    assert len({len(each) for each in datagrams}) == 1
    assembly = Assembly()
    complete = []
    for start, end in ((0, 3), (3, 9), (9, len(datagrams))):
        data = memoryview(b"".join(datagrams[start:end]))
        complete += assembly.add(DatagramRun(data, len(datagrams[0])))
    assert opened(complete, theirs) == [segment(*each) for each in made]


def test_numbers_are_shared_with_ordinary_records() -> None:
    ours, theirs = established()
    for _ in range(5):
        (sealed,) = Assembly().add(in_pieces(ours, tcp()))
        assert sealed.open(theirs) is not None
        assert theirs.receive(ours.seal(TYPE_MAC, b"after")) == (TYPE_MAC, b"after")
        assert sealed.open(theirs) is None  # again


def test_what_overtakes_it_does_not_keep_it_out() -> None:
    ours, theirs = established()
    pieces = in_pieces(ours, tcp())
    for _ in range(3):
        assert theirs.receive(ours.seal(TYPE_MAC, b"urgent")) is not None
    (sealed,) = Assembly().add(pieces)
    assert sealed.open(theirs) is not None
    assert sealed.open(theirs) is None
    assert theirs.receive(ours.seal(TYPE_MAC, b"after")) is not None


def test_one_under_the_old_key_that_the_new_one_overtakes_is_taken_once() -> None:
    ours, theirs = established()
    pieces = in_pieces(ours, tcp())
    ours.force_rekey()
    records = ours.take_output()
    for end in (theirs, ours, theirs, ours, theirs):
        for record in records:
            assert end.receive_handshake(record)
        records = end.take_output()
    assert theirs.key_changes == 2
    (sealed,) = Assembly().add(pieces)
    assert sealed.open(theirs) is not None
    assert sealed.open(theirs) is None


def test_many_that_stay_incomplete_keep_out_nothing_that_follows() -> None:
    ours, theirs = established()
    for _ in range(9):
        in_pieces(ours, tcp())
    for number in range(3):
        assert theirs.receive(ours.seal(TYPE_MAC, bytes((number,)))) is not None


def test_a_few_that_were_lost_are_no_reason_to_doubt_the_next() -> None:
    ours, theirs = established()
    late = ours.seal(TYPE_MAC, b"late")
    for _ in range(9):
        in_pieces(ours, tcp())  # 42 numbers each, more than the replay window has
    in_time = ours.seal(TYPE_MAC, b"in time")
    (sealed,) = Assembly().add(in_pieces(ours, tcp()))
    assert sealed.open(theirs) is not None
    assert theirs.receive(in_time) == (TYPE_MAC, b"in time")
    assert theirs.receive(in_time) is None
    assert theirs.receive(late) is None


@settings(max_examples=50)
@given(st.data())
def test_damage_keeps_it_shut_and_the_session_as_it_was(data: st.DataObject) -> None:
    ours, theirs = established()
    pieces = in_pieces(ours, tcp(4000))
    buffer, step = bytearray(pieces.data), pieces.step
    # The ids that each piece begins with belong to no record: they are not sealed.
    at = data.draw(st.integers(0, len(buffer) - 1).filter(lambda at: at % step >= PREFIX_SIZE))
    buffer[at] ^= 1 << data.draw(st.integers(0, 7))
    for sealed in Assembly().add(DatagramRun(memoryview(buffer), step)):
        assert sealed.open(theirs) is None
    assert theirs.window.next == established()[1].window.next


def test_none_is_sealed_or_opened_without_both_having_agreed() -> None:
    ours, theirs = established(accepts=False)
    assert whole(tcp()).in_pieces(ours, ME, LIMIT) is None
    ours.peer_accepts_super_frames = True
    (sealed,) = Assembly().add(in_pieces(ours, tcp()))
    assert sealed.open(theirs) is None
    theirs.accept_super_frames()
    assert sealed.open(theirs) is not None


def test_a_new_key_begins_without() -> None:
    ours, theirs = established()
    ours.force_rekey()
    records = ours.take_output()
    for end in (theirs, ours, theirs, ours):
        for record in records:
            end.receive(record)
        records = end.take_output()
    assert ours.key_changes == 2
    assert whole(tcp()).in_pieces(ours, ME, LIMIT) is None


@pytest.mark.parametrize("limit", [0, 100, 200, 240])
def test_a_path_for_short_datagrams_only_gets_none(limit: int) -> None:
    ours, _ = established()
    before = ours.seal(TYPE_MAC, b"")[:4]
    assert whole(tcp()).in_pieces(ours, ME, limit) is None
    assert int.from_bytes(ours.seal(TYPE_MAC, b"")[:4], "big") == int.from_bytes(before, "big") + 1


# -- what a peer, or anyone, may send --


@given(st.lists(st.binary(max_size=200), max_size=20), st.booleans())
def test_any_pieces_are_looked_at_without_harm(bodies: list[bytes], as_run: bool) -> None:
    _, theirs = established()
    datagrams = [SUPER_FRAME_ID + ME + body for body in bodies]
    assembly = Assembly()
    if as_run and datagrams and len(b"".join(datagrams)) > len(datagrams[0]):
        complete = assembly.add(DatagramRun(memoryview(b"".join(datagrams)), len(datagrams[0])))
    else:
        complete = assembly.add(datagrams)
    assert all(sealed.open(theirs) is None for sealed in complete)


@pytest.mark.parametrize("first", [2**32 - 1, 2**32 - 4, 2**32 - 9])
def test_numbers_at_their_end_are_looked_at_without_harm(first: int) -> None:
    _, theirs = established()
    datagrams = [
        SUPER_FRAME_ID + ME + ((first + index) % 2**32).to_bytes(4, "big") + bytes((index, 9)) + bytes(100)
        for index in range(9)
    ]
    for portion in (datagrams, DatagramRun(memoryview(b"".join(datagrams)), len(datagrams[0]))):
        assert all(sealed.open(theirs) is None for sealed in Assembly().add(portion))


def test_pieces_that_never_end_are_not_kept() -> None:
    assembly = Assembly()
    for number in range(3 * MAX_PIECES):
        index = number % MAX_PIECES
        place = index.to_bytes(4, "big") + bytes((index, MAX_PIECES))
        assert assembly.add([SUPER_FRAME_ID + ME + place + bytes(1533)]) == []
        assert assembly._size <= MAX_SUPER_FRAME + 16 + 1533
    assert assembly.incomplete > 0


@given(st.binary(max_size=300), st.binary(min_size=5, max_size=5))
def test_any_plaintext_is_a_super_frame_or_none(body: bytes, head: bytes) -> None:
    try:
        made = SuperFrame(bytearray(head + body))
    except DecodeError:
        assert frames_in(head + body) is None
        return
    assert len(made.frames()) == len(made)
    assert made.frames() == frames_in(head + body)


@st.composite
def nearly_plain(draw: st.DrawFn) -> Super:
    """Mostly what may travel as it is."""
    return super_frame(
        tags=draw(TAGS),
        is_ipv4=draw(st.booleans()),
        tcp_options=draw(st.integers(0, 3)) * b"\x01\x01\x08\x0a",
        flags=draw(st.sampled_from((0x10, 0x18, 0x19, 0x50, 0x90, 0x12, 0x30))),
        payload=bytes(draw(st.integers(500, 20_000))),
        gso_size=draw(st.integers(250, 1460)),
    )


def test_the_plain_twin_meets_super_frames_of_all_kinds() -> None:
    def is_taken(made: Super, *, tagged: bool, is_ipv4: bool) -> bool:
        _, kind, _, mss, transport, _ = HEADER.unpack(made.header)
        network = 18 if tagged else 14
        return (
            transport == network + (20 if is_ipv4 else 40)
            and frames_in(HEAD.pack(kind, mss, transport) + made.frame) is not None
        )

    for tagged, is_ipv4 in itertools.product((False, True), repeat=2):
        find(nearly_plain(), partial(is_taken, tagged=tagged, is_ipv4=is_ipv4))


@given(
    nearly_plain(),
    st.sampled_from([1, 4, 0x81, 0x84, 0, 3]),
    st.integers(-1, 1),
    st.dictionaries(st.integers(0, 80), st.integers(0, 255), max_size=1),
)
def test_the_plain_twin_takes_and_refuses_the_same(
    made: Super, kind: int, shift: int, changes: dict[int, int]
) -> None:
    _, sound, _, mss, transport, _ = HEADER.unpack(made.header)
    frame = bytearray(made.frame)
    for at, value in changes.items():
        frame[at % len(frame)] = value
    for of_kind, at in ((sound, transport), (kind, transport + shift)):
        plaintext = HEAD.pack(of_kind & 0xFF, mss, max(at, 0)) + bytes(frame)
        expected = frames_in(plaintext)
        if expected is None:
            with pytest.raises(DecodeError):
                SuperFrame(bytearray(plaintext))
        else:
            taken = SuperFrame(bytearray(plaintext)).frames()
            # What the checksum was made of may be what changed: the fast way trusts the sum it gets.
            assert [zeroed(each, at) for each in taken] == [zeroed(each, at) for each in expected]
            assert changes or taken == expected


def zeroed(frame: bytes, transport: int) -> bytes:
    """The frame without its TCP checksum."""
    return frame[: transport + 16] + bytes(2) + frame[transport + 18 :]


def plain(made: Super, **changes: int) -> bytearray:
    frame = bytearray(made.frame)
    for place, value in changes.items():
        frame[int(place[2:])] = value
    return bytearray(HEAD.pack(1, 1000, 34)) + frame


GOOD = super_frame(payload=bytes(3000), gso_size=1000, flags=0x10)


@pytest.mark.parametrize(
    "plaintext",
    [
        plain(GOOD, at47=0x12),
        plain(GOOD, at47=0x14),
        plain(GOOD, at47=0x00),
        plain(GOOD, at20=0x20),
        plain(GOOD, at21=0x01),
        plain(GOOD, at17=0x00),
        plain(GOOD, at23=17),
        plain(GOOD, at46=0x40),
        plain(GOOD, at46=0xF0)[: 5 + 90],
        bytearray(HEAD.pack(1, 0, 34)) + GOOD.frame,
        bytearray(HEAD.pack(1, 1500, 34)) + GOOD.frame,
        bytearray(HEAD.pack(1, 255, 34)) + GOOD.frame,
        bytearray(HEAD.pack(1, 3000, 34)) + GOOD.frame,
        bytearray(HEAD.pack(4, 1000, 34)) + GOOD.frame,
        bytearray(HEAD.pack(5, 1000, 34)) + GOOD.frame,
        bytearray(HEAD.pack(0, 1000, 34)) + GOOD.frame,
        bytearray(HEAD.pack(1, 1000, 30)) + GOOD.frame,
        bytearray(HEAD.pack(1, 1000, 60000)) + GOOD.frame,
        bytearray(HEAD.pack(1, 1000, 34)),
        bytearray(HEAD.pack(1, 1000, 34)) + GOOD.frame + bytes(70000),
        bytearray(2),
    ],
    ids=[
        "SYN",
        "RST",
        "no ACK",
        "more fragments",
        "fragment",
        "lying length",
        "not TCP",
        "short TCP header",
        "no data",
        "no data in a frame",
        "long frames",
        "hardly any data in a frame",
        "one frame",
        "IPv6 that is IPv4",
        "UDP",
        "nothing to cut",
        "TCP elsewhere",
        "TCP beyond the end",
        "no frame",
        "too long",
        "hardly anything",
    ],
)
def test_what_is_not_plain_is_no_super_frame_whoever_says_so(plaintext: bytearray) -> None:
    assert len(SuperFrame(plain(GOOD))) == 3
    assert frames_in(bytes(plain(GOOD))) == segment(*GOOD)
    assert frames_in(bytes(plaintext)) is None
    with pytest.raises(DecodeError):
        SuperFrame(plaintext)


def test_pieces_are_as_long_as_documented() -> None:
    assert (PIECE_HEAD_SIZE, HEAD.size, len(SUPER_FRAME_ID)) == (18, 5, 6)
