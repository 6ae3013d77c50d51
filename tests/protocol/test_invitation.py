"""The inviter's machine behind a meta connection, against our own joiner (docs/protocol-invitations.md)."""

from __future__ import annotations

import random

import pytest

from pytinc.crypto.keys import PrivateKey, PublicKey, invitation_file_name, key_hash
from pytinc.errors import ProtocolError, UsageError
from pytinc.protocol.invitation import InvitationClaimed, InviteeKey
from pytinc.protocol.joining import InvitationReceived, InviterGreeted, JoinAccepted, Joiner, JoinEvent
from pytinc.protocol.meta import MetaConnection, MetaEvent, State
from pytinc.protocol.sptps.handshake import Role
from pytinc.protocol.sptps.stream import StreamSession

NODE_KEY = PrivateKey.from_seed(b"n" * 32)
INVITATION_KEY = PrivateKey.from_seed(b"i" * 32)
THROW_AWAY = PrivateKey.from_seed(b"t" * 32)
NEW_KEY = PrivateKey.from_seed(b"k" * 32)
COOKIE = bytes(range(18))
FILE_NAME = invitation_file_name(COOKIE, INVITATION_KEY.public.text)


def unknown(name: str) -> PublicKey | None:
    raise AssertionError(f"a joiner is not looked up, but {name} was")


def inviter(key: PrivateKey | None = INVITATION_KEY, *, dialled: str | None = None) -> MetaConnection:
    return MetaConnection(
        "inviter", dialled, NODE_KEY, unknown, random.Random(1).randbytes, invitation_key=key
    )


def new_joiner(cookie: bytes = COOKIE) -> Joiner:
    hash_ = key_hash(INVITATION_KEY.public.text)
    return Joiner(hash_, cookie, THROW_AWAY, random.Random(2).randbytes)


def talk(
    meta: MetaConnection, joiner: Joiner, step: int | None = None
) -> tuple[list[MetaEvent], list[JoinEvent]]:
    """Carry bytes, in pieces of ``step``, until both ends are silent; return the events of each."""
    seen: list[MetaEvent] = []
    heard: list[JoinEvent] = []
    while (data := joiner.take_output()) or (answer := meta.take_output()):
        if data:
            size = step or len(data)
            for start in range(0, len(data), size):
                meta.feed(data[start : start + size])
                while (event := meta.next_event()) is not None:
                    seen.append(event)
        else:
            size = step or len(answer)
            for start in range(0, len(answer), size):
                joiner.feed(answer[start : start + size])
                while (said := joiner.next_event()) is not None:
                    heard.append(said)
    return seen, heard


@pytest.mark.parametrize("step", [None, 1, 2, 7, 100])
@pytest.mark.parametrize("size", [1, 1023, 1024, 1025, 5000])
def test_the_exchange_works_however_the_bytes_are_cut(step: int | None, size: int) -> None:
    content = random.Random(3).randbytes(size)
    meta, joiner = inviter(), new_joiner()
    seen, heard = talk(meta, joiner, step)
    assert seen == [InvitationClaimed(FILE_NAME)]
    assert heard == [InviterGreeted("inviter")]
    meta.invitation.offer(content)
    assert talk(meta, joiner, step) == ([], [InvitationReceived(content)])
    joiner.register(NEW_KEY.public)
    assert talk(meta, joiner, step) == ([InviteeKey(NEW_KEY.public)], [])
    meta.invitation.accept()
    assert talk(meta, joiner, step) == ([], [JoinAccepted()])


def test_name_key_and_kex_leave_in_one_write_as_the_c_joiner_requires() -> None:
    meta = inviter()
    meta.feed(new_joiner().take_output())
    assert meta.next_event() is None
    burst = meta.take_output()
    lines = f"0 inviter 17.7\n4 {INVITATION_KEY.public.text}\n".encode()
    assert burst.startswith(lines)
    assert len(burst) == 129 - 15 - 46 + len(lines)
    assert burst[len(lines) :].startswith(b"\x00\x41\x80\x00")
    assert meta.state is State.INVITATION


def test_a_long_invitation_is_sent_in_pieces_of_1024_bytes() -> None:
    meta, joiner = inviter(), new_joiner()
    talk(meta, joiner)
    meta.invitation.offer(b"x" * 2695)
    assert len(meta.take_output()) == 1024 + 1024 + 647 + 3 * 19 + 19


def test_a_joiner_is_not_answered_without_an_invitation_key() -> None:
    meta = inviter(None)
    meta.feed(new_joiner().take_output())
    with pytest.raises(ProtocolError, match="have an invitation key"):
        meta.next_event()
    assert meta.take_output() == b""


@pytest.mark.parametrize(
    "greeting",
    [
        b"0 ? 17.1\n",
        b"0 ?short 17.1\n",
        b"0 ?" + b"!" * 43 + b" 17.1\n",
        b"0 ?" + b"A" * 44 + b" 17.1\n",
        b"0 ?" + THROW_AWAY.public.text.encode() + b" 17.2\n",
        b"0 ?" + THROW_AWAY.public.text.encode() + b" 17.7\n",
        b"0 ?" + THROW_AWAY.public.text.encode() + b" 18.1\n",
        b"0 ?" + THROW_AWAY.public.text.encode() + b"\n",
    ],
)
def test_a_malformed_greeting_is_refused_without_an_answer(greeting: bytes) -> None:
    meta = inviter()
    meta.feed(greeting)
    with pytest.raises(ProtocolError):
        meta.next_event()
    assert meta.take_output() == b""


def test_a_node_that_we_dialled_cannot_turn_into_a_joiner() -> None:
    meta = inviter(dialled="beta")
    meta.connected()
    meta.feed(new_joiner().take_output())
    with pytest.raises(ProtocolError, match="instead of being beta"):
        meta.next_event()


class RawJoiner:
    """A joiner that sends whatever records it likes once the handshake is done."""

    def __init__(self, meta: MetaConnection) -> None:
        self.meta = meta
        self.session = StreamSession(
            Role.INITIATOR, THROW_AWAY, INVITATION_KEY.public, b"tinc invitation", random.Random(3).randbytes
        )
        meta.feed(f"0 ?{THROW_AWAY.public.text} 17.1\n".encode() + self.session.start())
        assert meta.next_event() is None
        self.session.feed(meta.take_output().split(b"\n", 2)[2])
        self.session.next_record()
        meta.feed(self.session.take_output())
        assert meta.next_event() is None
        self.session.feed(meta.take_output())
        self.session.next_record()

    def say(self, type_: int, data: bytes) -> MetaEvent | None:
        self.meta.feed(self.session.take_output() + self.session.send(type_, data))
        return self.meta.next_event()


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        (0, b""),
        (0, COOKIE[:-1]),
        (0, COOKIE + b"x"),
        (1, NEW_KEY.public.text.encode()),
        (2, b""),
        (7, COOKIE),
    ],
)
def test_the_first_record_must_be_a_cookie(type_: int, data: bytes) -> None:
    joiner = RawJoiner(inviter())
    with pytest.raises(ProtocolError):
        joiner.say(type_, data)


@pytest.mark.parametrize(
    ("type_", "data"),
    [
        (0, COOKIE),
        (1, b""),
        (1, NEW_KEY.public.text.encode() + b"\n"),
        (1, NEW_KEY.public.text.encode()[:-1]),
        (1, b"\xff" * 43),
        (1, b"A" * 40 + b"\nB="),
        (2, b""),
    ],
)
def test_after_the_invitation_only_a_key_is_accepted(type_: int, data: bytes) -> None:
    joiner = RawJoiner(inviter())
    assert joiner.say(0, COOKIE) == InvitationClaimed(FILE_NAME)
    joiner.meta.invitation.offer(b"Name = beta\n")
    with pytest.raises(ProtocolError):
        joiner.say(type_, data)


def test_a_cookie_and_a_key_are_accepted_only_once() -> None:
    joiner = RawJoiner(inviter())
    joiner.say(0, COOKIE)
    with pytest.raises(ProtocolError):
        joiner.say(1, NEW_KEY.public.text.encode())  # no invitation was sent yet
    joiner = RawJoiner(inviter())
    joiner.say(0, COOKIE)
    joiner.meta.invitation.offer(b"Name = beta\n")
    assert joiner.say(1, NEW_KEY.public.text.encode()) == InviteeKey(NEW_KEY.public)
    with pytest.raises(ProtocolError):
        joiner.say(1, NEW_KEY.public.text.encode())


def test_a_connection_without_a_joiner_has_no_invitation() -> None:
    with pytest.raises(UsageError):
        _ = inviter().invitation


def test_the_file_name_equals_the_one_of_the_documented_trace() -> None:
    from pytinc.wire import b64

    cookie = b64.decode("tasU-rTGw7nhXAcwtwBbrJYZ")
    name = invitation_file_name(cookie, "5+2UK1r6dybdvNVAKM5+FpAMCUWhzr+d7S8LOX2APkO")
    assert name == "xMG5pkHtOxegCJ94heha2U4g"
