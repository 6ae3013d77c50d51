"""One meta connection: the login, the framing, and everything that it must refuse.

See docs/protocol-meta.md, "Login" and "ACK".
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto.keys import PrivateKey, PublicKey
from pytinc.errors import AuthenticationError, DecodeError, ProtocolError, UnexpectedRequest
from pytinc.protocol.meta import (
    Authenticated,
    FrameReceived,
    Identified,
    MetaConnection,
    MetaEvent,
    Received,
    SptpsPacketReceived,
    State,
)
from pytinc.wire.requests import MAX_LINE_LENGTH, Ack, Number, Ping

ALPHA, BETA = (PrivateKey.from_seed(bytes([number]) * 32) for number in (1, 2))
KEYS = {"alpha": ALPHA.public, "beta": BETA.public}


def known(name: str) -> PublicKey | None:
    if name not in KEYS:
        raise AuthenticationError(f"unknown identity {name}")
    return KEYS[name]


def connection(
    me: str,
    dialled: str | None = None,
    *,
    peer_key: Callable[[str], PublicKey | None] = known,
    insecure: bool = False,
) -> MetaConnection:
    key = ALPHA if me == "alpha" else BETA
    return MetaConnection(me, dialled, key, peer_key, random.Random(me).randbytes, insecure=insecure)


def events(meta: MetaConnection, data: bytes = b"") -> list[MetaEvent]:
    meta.feed(data)
    found: list[MetaEvent] = []
    while (event := meta.next_event()) is not None:
        found.append(event)
        if isinstance(event, Authenticated):
            meta.send(Ack("655", 1, 0x700000C))
        if isinstance(event, Received) and isinstance(event.request, Ack):
            meta.activate()
    return found


def logged_in(*, insecure: bool = False, step: int | None = None) -> tuple[MetaConnection, MetaConnection]:
    """Two ends after the login; with ``step``, bytes cross in pieces of that size."""
    one = connection("alpha", "beta", insecure=insecure)
    two = connection("beta", insecure=insecure)
    one.connected()
    for _ in range(8):
        for sender, receiver in ((one, two), (two, one)):
            data = sender.take_output()
            size = step or max(len(data), 1)
            for start in range(0, len(data), size):
                events(receiver, data[start : start + size])
    assert one.state is two.state is State.ACTIVE
    return one, two


def test_the_dialling_side_greets_first_and_the_answer_includes_the_kex() -> None:
    one, two = connection("alpha", "beta"), connection("beta")
    assert two.take_output() == b""
    one.connected()
    greeting = one.take_output()
    assert greeting == b"0 alpha 17.7\n"
    assert events(two, greeting) == [Identified("alpha")]
    answer = two.take_output()
    assert answer.startswith(b"0 beta 17.7\n")
    assert len(answer) == 12 + 68


@pytest.mark.parametrize("step", [None, 1, 7, 67])
@pytest.mark.parametrize("insecure", [False, True])
def test_both_ends_become_active_however_the_bytes_are_cut(step: int | None, insecure: bool) -> None:
    one, two = logged_in(step=step, insecure=insecure)
    one.send(Ping())
    assert events(two, one.take_output()) == [Received(Ping(), "8")]


@pytest.mark.parametrize("insecure", [False, True])
def test_frames_and_sptps_packets_may_stand_between_requests(insecure: bool) -> None:
    one, two = logged_in(insecure=insecure)
    one.send(Ping())
    one.send_frame(b"f" * 60)
    one.send_sptps_packet(b"s" * 40)
    one.send_line("17 0")
    one.send_line("21 0")
    one.send(Ping())
    stream = one.take_output()
    found: list[MetaEvent] = []
    for start in range(0, len(stream), 5):
        found += events(two, stream[start : start + 5])
    assert found == [
        Received(Ping(), "8"),
        FrameReceived(b"f" * 60),
        SptpsPacketReceived(b"s" * 40),
        Received(Ping(), "8"),
    ]


@pytest.mark.parametrize(
    ("line", "error", "words"),
    [
        (b"0 beta 17.7", DecodeError, "own name"),
        (b"0 al-pha 17.7", DecodeError, "invalid"),
        (b"0 alpha", DecodeError, "few fields"),
        (b"0 gamma 17.7", AuthenticationError, "unknown identity"),
        (b"0 alpha 18.7", UnexpectedRequest, "incompatible protocol version"),
        (b"0 alpha 17.0", AuthenticationError, "legacy"),
        (b"0 alpha 17", AuthenticationError, "legacy"),
        (b"0 alpha 17.1", AuthenticationError, "does not know our Ed25519 public key"),
        (b"0 ^" + b"A" * 64 + b" 0", DecodeError, "invalid"),
        (b"4 655 1 700000c", UnexpectedRequest, "other than a greeting"),
        (b"GET / HTTP/1.1", DecodeError, "without a number"),
        (b"\xff\xfe\x00", DecodeError, "not ASCII"),
    ],
)
def test_an_invalid_greeting_is_refused(line: bytes, error: type[ProtocolError], words: str) -> None:
    meta = connection("beta")
    with pytest.raises(error, match=words):
        events(meta, line + b"\n")
    assert meta.take_output() == b""  # a stranger gets no answer


def test_the_peer_must_be_the_dialled_one() -> None:
    meta = connection("alpha", "beta")
    meta.connected()
    with pytest.raises(AuthenticationError, match="instead of beta"):
        events(meta, b"0 gamma 17.7\n")


def test_a_peer_without_a_known_key_is_refused_with_the_reason() -> None:
    meta = connection("beta", peer_key=lambda name: None)
    with pytest.raises(AuthenticationError, match="no Ed25519 public key of alpha"):
        events(meta, b"0 alpha 17.7\n")


def test_a_peer_with_another_key_cannot_log_in() -> None:
    one = connection("alpha", "beta")
    two = connection("beta", peer_key=lambda name: BETA.public)
    one.connected()
    with pytest.raises(AuthenticationError):  # noqa: PT012 - which step fails is not the point
        for _ in range(4):
            events(two, one.take_output())
            events(one, two.take_output())
    assert two.state is State.SPTPS


def test_a_legacy_login_in_the_middle_of_the_handshake_is_refused() -> None:
    meta = connection("beta")
    events(meta, b"0 alpha 17.7\n")
    with pytest.raises(ProtocolError):
        events(meta, b"1 427 672 0 0 " + b"AB" * 64 + b"\n")


def test_an_endless_greeting_is_refused() -> None:
    meta = connection("beta")
    assert events(meta, b"0" * 2000) == []
    with pytest.raises(DecodeError):
        events(meta, b"0" * 200)


@pytest.mark.parametrize("line", ["0 alpha 17.7", "4 655 1 c", "1 2 3", "18 3", "5", "x", "17 -1", "21 5"])
def test_a_login_request_after_the_login_is_refused(line: str) -> None:
    one, two = logged_in()
    one.send_line(line)
    with pytest.raises(ProtocolError):
        events(two, one.take_output())


def test_a_request_before_ack_is_refused() -> None:
    one, two = connection("alpha", "beta"), connection("beta")
    one.connected()
    for _ in range(2):
        two.feed(one.take_output())
        while (event := two.next_event()) is not None:
            pass
        one.feed(two.take_output())
        while (event := one.next_event()) is not None:
            if isinstance(event, Authenticated):
                one.send(Ping())
    two.feed(one.take_output())
    with pytest.raises(UnexpectedRequest):  # noqa: PT012
        while two.next_event() is not None:
            pass


def test_a_packet_of_the_wrong_length_is_refused() -> None:
    one, two = logged_in()
    one.send_line("17 60")
    one.send_line("8")
    with pytest.raises(DecodeError, match="length"):
        events(two, one.take_output())


def test_text_after_a_newline_within_a_record_is_ignored() -> None:
    one, two = logged_in()
    assert one._session is not None
    data = one._session.send(0, b"8\n9\n")
    assert events(two, data) == [Received(Ping(), "8")]
    with pytest.raises(DecodeError):
        events(two, one._session.send(0, b""))


@given(st.binary(max_size=300), st.booleans())
def test_arbitrary_bytes_before_the_login_raise_protocol_errors_only(data: bytes, dialled: bool) -> None:
    meta = connection("beta", "alpha" if dialled else None)
    if dialled:
        meta.connected()
    with contextlib.suppress(ProtocolError):
        events(meta, data)


@given(st.binary(max_size=200))
def test_arbitrary_bytes_in_the_handshake_raise_protocol_errors_only(data: bytes) -> None:
    meta = connection("beta")
    with contextlib.suppress(ProtocolError):
        events(meta, b"0 alpha 17.7\n" + data)


@given(st.binary(max_size=200), st.integers(0, 127))
def test_arbitrary_records_after_the_login_raise_protocol_errors_only(data: bytes, type_: int) -> None:
    one, two = logged_in()
    assert one._session is not None
    with contextlib.suppress(ProtocolError):
        events(two, one._session.send(type_, data))


def test_many_empty_packets_at_once_are_handled_one_by_one() -> None:
    one, two = logged_in(insecure=True)
    one.send_line("17 0")
    stream = one.take_output() * 5000
    one.send(Ping())
    assert events(two, stream + one.take_output()) == [Received(Ping(), "8")]


# -- optional features of a connection --


@pytest.mark.parametrize("insecure", [False, True])
def test_both_directions_of_every_request_are_traced(insecure: bool) -> None:
    one = connection("alpha", "beta", insecure=insecure)
    two = connection("beta", insecure=insecure)
    seen: list[tuple[str, str]] = []
    one.trace = lambda direction, line: seen.append((direction, line))
    one.connected()
    for _ in range(4):
        events(two, one.take_output())
        events(one, two.take_output())
    assert one.state is State.ACTIVE
    two.send(Ping())
    events(one, two.take_output())
    assert seen == [
        ("Sending", "0 alpha 17.7"),
        ("Got", "0 beta 17.7"),
        ("Sending", "4 655 1 700000c"),
        ("Got", "4 655 1 700000c"),
        ("Got", "8"),
    ]


def test_a_request_that_is_too_long_is_not_sent() -> None:
    one, two = logged_in()
    one.send_line("8 " + "x" * (MAX_LINE_LENGTH - 2))
    with pytest.raises(DecodeError, match="too long"):
        one.send_line("8 " + "x" * (MAX_LINE_LENGTH - 1))
    assert len(events(two, one.take_output())) == 1


@pytest.mark.parametrize("traced", [False, True])
@pytest.mark.parametrize("insecure", [False, True])
def test_many_lines_at_once_are_sent_as_one_by_one(insecure: bool, traced: bool) -> None:
    lines = ["8", "9", "12 1 alpha b 192.0.2.1 655 0 1", "8"]
    one, two = logged_in(insecure=insecure)
    seen: list[str] = []
    if traced:
        one.trace = lambda direction, line: seen.append(line)
    one.send_lines(lines)
    found = events(two, one.take_output())
    assert [event.line for event in found if isinstance(event, Received)] == lines
    assert seen == (lines if traced else [])
    assert (one.counts.sent[Number.PING], one.counts.sent[Number.ADD_EDGE]) == (2, 1)
    with pytest.raises(DecodeError, match="too long"):
        one.send_lines(["8", "8 " + "x" * (MAX_LINE_LENGTH - 1)])


def test_only_the_greeting_is_sent_in_plain_text() -> None:
    meta = connection("alpha", "beta")
    meta.connected()
    meta.take_output()
    with pytest.raises(ProtocolError, match="secure"):
        meta.send(Ping())
    assert meta.take_output() == b""


def test_a_change_of_keys_by_the_peer_gives_no_event() -> None:
    one, two = logged_in()
    assert one._session is not None
    data = one._session.force_rekey()
    while data:
        assert events(two, data) == []
        assert events(one, two.take_output()) == []
        data = one.take_output()
    one.send(Ping())
    assert events(two, one.take_output()) == [Received(Ping(), "8")]


def test_an_edge_that_arrived_before_is_not_parsed_again() -> None:
    one, two = logged_in()
    two.is_old_news = lambda line: line.startswith("12 0 ")
    traced: list[tuple[str, str]] = []
    two.trace = lambda direction, line: traced.append((direction, line))
    one.send_line("12 0 no edge at all, but known")
    one.send(Ping())
    assert events(two, one.take_output()) == [Received(Ping(), "8")]
    assert traced == [("Got", "12 0 no edge at all, but known"), ("Got", "8")]
    one.send_line("12 1 no edge at all, and news")
    with pytest.raises(DecodeError):
        events(two, one.take_output())


@pytest.mark.parametrize("insecure", [False, True])
def test_both_directions_of_every_request_after_the_greeting_are_counted(insecure: bool) -> None:
    one, other = logged_in(insecure=insecure)
    other.is_old_news = lambda line: "known" in line
    # A line is passed on as a peer has written it.
    lines = (
        "8",
        "12 1 known b 192.0.2.1 655 0 1",
        "12 2 new b 192.0.2.1 655 0 1",
        "  8",
        "012 3 c d 192.0.2.1 655 0 1",
    )
    for line in lines:
        one.send_line(line)
    one.send_frame(b"frame")
    events(other, one.take_output())
    expected = {Number.ACK: 1, Number.PING: 2, Number.ADD_EDGE: 3, Number.PACKET: 1}
    assert other.counts.received == expected
    # Of lines written in an odd way, some are not counted or for another request.
    sent = one.counts.sent
    assert (sent[Number.ACK], sent[Number.PING], sent[Number.ADD_EDGE], sent[Number.PACKET]) == (1, 1, 2, 1)
