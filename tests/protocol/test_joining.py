"""The joiner's machine against a small inviter built on a stream session (docs/protocol-invitations.md)."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto.keys import PrivateKey, key_hash
from pytinc.errors import AuthenticationError, DecodeError, ProtocolError, UsageError
from pytinc.protocol import joining
from pytinc.protocol.joining import InvitationReceived, InviterGreeted, JoinAccepted, Joiner
from pytinc.protocol.sptps.handshake import Role
from pytinc.protocol.sptps.stream import StreamSession
from pytinc.wire import b64
from pytinc.wire.records import TYPE_HANDSHAKE, Record

KEY = PrivateKey.from_seed(b"i" * 32)
THROW_AWAY = PrivateKey.from_seed(b"t" * 32)
NODE_KEY = PrivateKey.from_seed(b"n" * 32)
COOKIE = bytes(range(18))
DATA = b"Name = beta\n" + b"x" * 2683


def counting(seed: bytes) -> Callable[[int], bytes]:
    """Random bytes that are the same in each run."""
    count = 0

    def random_bytes(size: int) -> bytes:
        nonlocal count
        count += 1
        return hashlib.shake_128(seed + bytes([count])).digest(size)

    return random_bytes


def new_joiner(hash_: bytes | None = None) -> Joiner:
    return Joiner(key_hash(KEY.public.text) if hash_ is None else hash_, COOKIE, THROW_AWAY, counting(b"j"))


class Inviter:
    """The other end, as far as the tests need it."""

    def __init__(self, joiner: Joiner) -> None:
        self.joiner = joiner
        self.session = StreamSession(
            Role.RESPONDER, KEY, THROW_AWAY.public, b"tinc invitation", counting(b"i")
        )
        self.records: list[Record] = []

    def greeting(self) -> bytes:
        return f"0 alpha 17.7\n4 {KEY.public.text}\n".encode() + self.session.start()

    def hear(self) -> bytes:
        """Handle the joiner's bytes; return the answer of the handshake."""
        self.session.feed(self.joiner.take_output())
        while (record := self.session.next_record()) is not None:
            self.records.append(record)
        return self.session.take_output()

    def handshake(self) -> None:
        """Run the exchange until the cookie has arrived."""
        assert self.joiner.take_output() == f"0 ?{THROW_AWAY.public.text} 17.1\n".encode()
        self.joiner.feed(self.greeting())
        assert self.joiner.next_event() == InviterGreeted("alpha")
        assert self.joiner.next_event() is None
        self.joiner.feed(self.hear())
        assert self.joiner.next_event() is None
        self.joiner.feed(self.hear())
        assert self.joiner.next_event() is None
        self.hear()

    def send(self, *records: tuple[int, bytes]) -> None:
        self.joiner.feed(b"".join(self.session.send(type_, data) for type_, data in records))


def test_the_exchange_runs_from_the_greeting_to_accepted() -> None:
    joiner = new_joiner()
    inviter = Inviter(joiner)
    inviter.handshake()
    assert inviter.records == [Record(TYPE_HANDSHAKE, b""), Record(0, COOKIE)]
    inviter.send((0, DATA[:1024]), (0, DATA[1024:2048]))
    assert joiner.next_event() is None
    inviter.send((0, DATA[2048:]), (1, b""))
    assert joiner.next_event() == InvitationReceived(DATA)
    joiner.register(NODE_KEY.public)
    inviter.hear()
    assert inviter.records[2:] == [Record(1, NODE_KEY.public.text.encode())]
    inviter.send((2, b""))
    assert joiner.next_event() == JoinAccepted()
    assert joiner.take_output() == b""


def test_it_makes_no_difference_how_the_bytes_are_cut() -> None:
    joiner = new_joiner()
    inviter = Inviter(joiner)
    joiner.take_output()
    events = []
    outgoing = inviter.greeting()
    while outgoing:
        for byte in outgoing:
            joiner.feed(bytes([byte]))
            while (event := joiner.next_event()) is not None:
                events.append(event)
        outgoing = inviter.hear()
    inviter.hear()
    assert events == [InviterGreeted("alpha")]
    assert inviter.records[-1] == Record(0, COOKIE)


def test_the_sizes_on_the_wire_equal_those_of_the_trace() -> None:
    joiner = new_joiner()
    inviter = Inviter(joiner)
    sizes = [len(joiner.take_output())]
    joiner.feed(inviter.greeting())
    joiner.next_event()
    for _ in range(2):
        output = joiner.take_output()
        sizes.append(len(output))
        inviter.session.feed(output)
        while inviter.session.next_record() is not None:
            pass
        joiner.feed(inviter.session.take_output())
        joiner.next_event()
    # KEX; then SIG, which waits only for the inviter's KEX; last the cookie.
    assert sizes[0] == 52
    assert sum(sizes[1:]) + len(joiner.take_output()) == 68 + 67 + 37


def test_the_key_of_the_trace_matches_the_hash_in_its_url() -> None:
    joiner = new_joiner(b64.decode("wE45Nf153qZjlVDD_oHRpmwh"))
    joiner.feed(b"0 inviter 17.7\n4 5+2UK1r6dybdvNVAKM5+FpAMCUWhzr+d7S8LOX2APkO\n")
    assert joiner.next_event() == InviterGreeted("inviter")


def test_a_peer_with_another_key_is_refused() -> None:
    joiner = new_joiner(bytes(18))
    joiner.feed(Inviter(joiner).greeting())
    with pytest.raises(AuthenticationError, match="key is not the one in the invitation"):
        joiner.next_event()
    assert joiner.take_output().count(b"\n") == 1


@pytest.mark.parametrize(
    ("hashed", "why"), [("A" * 42, "wrong length"), ("=" * 43, "base64"), ("A" * 44, "wrong length")]
)
def test_an_invalid_key_is_refused_even_if_its_hash_matches(hashed: str, why: str) -> None:
    joiner = new_joiner(key_hash(hashed))
    joiner.feed(f"0 alpha 17.7\n4 {hashed}\n".encode())
    with pytest.raises(DecodeError, match=why):
        joiner.next_event()


@pytest.mark.parametrize(
    "greeting",
    [
        b"HTTP/1.1 400 Bad Request\r\n",
        b"\n",
        b"0\n",
        b"0 alpha\n",
        b"0 a-b 17.7\n",
        b"0 alpha 18.0\n",
        b"1 alpha 17.7\n",
        b"00 alpha 17.7\n",
        b"0 alpha 17.7\n0 alpha 17.7\n",
        b"0 alpha 17.7\n4\n",
        b"0 alpha 17.7\n4 a b\n",
        b"0 \xff 17.7\n",
        b"x" * 3000,
    ],
)
def test_a_peer_that_does_not_greet_like_an_inviter_is_refused(greeting: bytes) -> None:
    joiner = new_joiner()
    joiner.feed(greeting)
    with pytest.raises(DecodeError):
        joiner.next_event()


@pytest.mark.parametrize("record", [(1, b""), (0, b"more"), (2, b""), (3, b"")])
def test_no_record_may_arrive_before_our_key(record: tuple[int, bytes]) -> None:
    joiner = new_joiner()
    inviter = Inviter(joiner)
    inviter.handshake()
    inviter.send((0, DATA), (1, b""))
    assert joiner.next_event() == InvitationReceived(DATA)
    inviter.send(record)
    with pytest.raises(ProtocolError):
        joiner.next_event()


def test_accepted_may_arrive_only_after_our_key() -> None:
    joiner = new_joiner()
    inviter = Inviter(joiner)
    inviter.handshake()
    inviter.send((2, b""))
    with pytest.raises(ProtocolError, match="type 2 while we wait for the invitation"):
        joiner.next_event()


def test_a_key_can_be_registered_only_once_and_after_the_invitation() -> None:
    joiner = new_joiner()
    with pytest.raises(UsageError):
        joiner.register(NODE_KEY.public)
    inviter = Inviter(joiner)
    inviter.handshake()
    inviter.send((1, b""))
    assert joiner.next_event() == InvitationReceived(b"")
    joiner.register(NODE_KEY.public)
    with pytest.raises(UsageError):
        joiner.register(NODE_KEY.public)


def test_an_endless_invitation_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joining, "MAX_INVITATION_SIZE", 2000)
    joiner = new_joiner()
    inviter = Inviter(joiner)
    inviter.handshake()
    inviter.send((0, bytes(1000)), (0, bytes(1000)))
    assert joiner.next_event() is None
    inviter.send((0, b"x"))
    with pytest.raises(DecodeError, match="longer than 2000"):
        joiner.next_event()


def test_a_later_key_exchange_does_not_send_the_cookie_again() -> None:
    joiner = new_joiner()
    inviter = Inviter(joiner)
    inviter.handshake()
    joiner.feed(inviter.session.force_rekey())
    for _ in range(3):
        assert joiner.next_event() is None
        joiner.feed(inviter.hear())
    assert [record.type for record in inviter.records] == [TYPE_HANDSHAKE, 0, TYPE_HANDSHAKE]
    inviter.send((1, b""))
    assert joiner.next_event() == InvitationReceived(b"")


@given(st.binary(max_size=200), st.integers(0, 300))
def test_damaged_bytes_raise_protocol_errors_only(junk: bytes, position: int) -> None:
    joiner = new_joiner()
    inviter = Inviter(joiner)
    joiner.feed((inviter.greeting()[:position] + junk).ljust(600, b"\0"))
    try:
        while joiner.next_event() is not None:
            pass
    except ProtocolError:
        return


def test_repr_shows_no_secret() -> None:
    joiner = new_joiner()
    assert repr(joiner) == "<Joiner waits for its name>"
