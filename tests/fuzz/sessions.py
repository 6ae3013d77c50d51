"""Targets: SPTPS, the login, invitations and proxies, in every state that a peer can lead them to.

An input is a script of steps. The peer that carries it out knows the keys, because bytes at random never pass
the first tag: what it seals is authentic, and still whatever the input says.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from typing import Final

from fuzz.registry import TESTS, literals, target
from pytinc.crypto.keys import PrivateKey, invitation_file_name, key_hash
from pytinc.errors import ProtocolError
from pytinc.protocol.invitation import InvitationClaimed, InvitationServer
from pytinc.protocol.joining import InvitationReceived, Joiner
from pytinc.protocol.meta import Authenticated, MetaConnection
from pytinc.protocol.proxy import MAX_HTTP_ANSWER, ProxyHandshake
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import Role, State
from pytinc.protocol.sptps.stream import StreamSession
from pytinc.wire.address import Address
from pytinc.wire.invitation import COOKIE_SIZE, LABEL, MAX_INVITATION_SIZE
from pytinc.wire.records import TYPE_HANDSHAKE, Record

ONE, TWO, THREE = (PrivateKey.from_seed(bytes((number,)) * 32) for number in (1, 2, 3))
COOKIE: Final = bytes(range(COOKIE_SIZE))
FILE_NAME: Final = invitation_file_name(COOKIE, TWO.public.text)
END_OF_STEP: Final = b"\xff\n"
MAX_ANSWER: Final = 1000
"""Bytes that a step may be answered with, beside what it asks for."""


def steps(data: bytes) -> Iterator[tuple[str, bytes]]:
    """Yield the steps of a script: a letter, and what belongs to it."""
    for step in data.split(END_OF_STEP):
        yield chr(step[0]) if step else "", step[1:]


def script(*parts: bytes) -> bytes:
    """Return the script with these steps."""
    return END_OF_STEP.join(parts)


def scripts() -> list[bytes]:
    """Return scripts of all kinds of steps."""
    record = bytes((TYPE_HANDSHAKE,)) + bytes(65)
    return [
        *(script(*[b"d"] * number, b"r" + bytes(40)) for number in range(6)),
        script(*[b"d"] * 4, b"s\0" + b"8\n", b"s\x02abc", b"k", b"d", b"d", b"a", b"s\x80", b"s" + record),
        script(*[b"d"] * 4, b"k", b"K", *[b"d"] * 6, b"s\0again", b"a", b"o\1", b"f\2fast"),
        script(b"g", *[b"d"] * 4, b"s\0Name = one\n", b"s\1", b"d", b"s\2"),
        script(*[b"d"] * 4, b"c", b"d", b"s\1" + THREE.public.text.encode()),
    ]


def stream_pair() -> tuple[StreamSession, StreamSession]:
    """Return the peer and the session under test."""
    rng = random.Random(1)
    return (
        StreamSession(Role.INITIATOR, ONE, TWO.public, b"fuzz", rng.randbytes),
        StreamSession(Role.RESPONDER, TWO, ONE.public, b"fuzz", rng.randbytes),
    )


@target("data/vectors/sptps_stream.json", "data/vectors/sptps_negative.json", scripts, smoke=400)
def sptps_streams(data: bytes) -> None:
    """A stream session, from the first byte to a change of keys."""
    peer, session = stream_pair()
    to_session, to_peer = bytearray(peer.start()), bytearray(session.start())
    for kind, payload in steps(data):
        fed = bytes(payload) if kind == "r" else b""
        with suppress(ProtocolError):
            match kind:
                case "d":
                    peer.feed(bytes(to_peer))
                    to_peer.clear()
                    while peer.next_record() is not None:
                        pass
                    to_session += peer.take_output()
                    fed = bytes(to_session)
                    to_session.clear()
                case "s" if payload:
                    fed = peer._frame(payload[0], payload[1:])
                case "k" if peer.state is State.ESTABLISHED:
                    to_session += peer.force_rekey()
                case "K" if session.state is State.ESTABLISHED:
                    to_peer += session.force_rekey()
        session.feed(fed)
        try:
            while session.next_record() is not None:
                pass
        except ProtocolError:
            return
        answer = session.take_output()
        assert len(answer) <= MAX_ANSWER + 4 * len(fed)
        to_peer += answer


def datagram_trio() -> tuple[DatagramSession, DatagramSession, DatagramSession]:
    """Return the peer, and the session under test twice."""

    def end(role: Role, own: PrivateKey, other: PrivateKey) -> DatagramSession:
        rng = random.Random(role.value)
        made = DatagramSession(role, own, other.public, b"fuzz", rng.randbytes)
        made.accept_fast()
        return made

    return end(Role.INITIATOR, ONE, TWO), end(Role.RESPONDER, TWO, ONE), end(Role.RESPONDER, TWO, ONE)


@target("data/vectors/sptps_datagram.json", "data/vectors/sptps_negative.json", scripts, smoke=400)
def sptps_datagrams(data: bytes) -> None:
    """A datagram session: one gets records one by one, its twin in batches; no record is accepted twice."""
    peer, single, twin = datagram_trio()
    to_us, to_peer, accepted = peer.start(), single.start(), set[bytes]()
    assert twin.start() == to_peer
    sent = list(to_us)
    for kind, payload in steps(data):
        batch: list[bytes] = []
        with suppress(ProtocolError):
            match kind:
                case "r":
                    batch = [payload, payload]
                case "d":
                    for datagram in to_peer:
                        peer.receive(datagram)
                    batch, to_peer = to_us + peer.take_output(), []
                    to_us = []
                case "s" if payload:
                    batch = [peer._frame(payload[0], payload[1:])]
                case "f" if payload and peer.can_send:
                    batch = [peer._frame(payload[0], payload[1:], fast=True)]
                case "a":
                    batch = sent[-64:]
                case "o" if payload:
                    batch = [sent[number % len(sent)] for number in payload[:64]]
                case "h":
                    assert single.receive_handshake(payload) == twin.receive_handshake(payload)
                case "k" if peer.can_send and not peer.in_handshake:
                    peer.force_rekey()
                    to_us += peer.take_output()
                case "K" if single.can_send and not single.in_handshake:
                    single.force_rekey()
                    twin.force_rekey()
        sent += batch
        opened = [single.receive(datagram) for datagram in batch]
        assert [record and Record(*record) for record in twin.open_batch(batch, 0)] == opened
        for datagram, record in zip(batch, opened, strict=True):
            if record is not None and record.type < TYPE_HANDSHAKE:
                assert datagram not in accepted
                accepted.add(datagram)
        answers = single.take_output()
        assert twin.take_output() == answers
        assert len(answers) <= 2 * len(batch) + 1
        to_peer += answers


def lines() -> list[bytes]:
    """Return scripts in which an insider sends what the tests send."""
    known = literals(TESTS / "wire/test_requests.py")
    return [script(b"n", b"l" + line) for line in known if line[:1].isdigit()] + [
        script(b"r0 alpha 17.7\n"),
        script(b"n", b"f" + bytes(60), b"p" + bytes(40), b"l8"),
    ]


@target("protocol/test_meta.py", lines, smoke=400)
def meta_connections(data: bytes) -> None:
    """A meta connection: a stranger's bytes, or an insider's after the login."""
    rng = random.Random(2)
    peer = MetaConnection("alpha", "beta", ONE, lambda _: TWO.public, rng.randbytes)
    meta = MetaConnection("beta", None, TWO, lambda _: ONE.public, rng.randbytes)
    peer.connected()
    for kind, payload in steps(data):
        fed = bytes(payload) if kind == "r" else b""
        with suppress(ProtocolError):
            match kind:
                case "n":
                    log_in(peer, meta)
                case "l":
                    peer.send_line(payload.decode("ascii", "replace").replace("\ufffd", "?"))
                case "f":
                    peer.send_frame(payload)
                case "p":
                    peer.send_sptps_packet(payload)
                case "s" if payload and peer._session is not None and peer._session.established:
                    fed = peer._session._frame(payload[0], payload[1:])
        meta.feed(fed + (peer.take_output() if kind in "lfp" else b""))
        try:
            while meta.next_event() is not None:
                pass
        except ProtocolError:
            return
        assert len(meta.take_output()) <= MAX_ANSWER


def log_in(peer: MetaConnection, meta: MetaConnection) -> None:
    """Carry bytes between both until both are authenticated."""
    for _ in range(4):
        for one, other in ((peer, meta), (meta, peer)):
            other.feed(one.take_output())
            while (event := other.next_event()) is not None:
                if isinstance(event, Authenticated):
                    other.activate()


@target("protocol/test_invitation.py", scripts, smoke=400)
def invitation_servers(data: bytes) -> None:
    """The inviter: what a joiner sends, which has the URL and does what it likes."""
    rng = random.Random(3)
    peer = StreamSession(Role.INITIATOR, ONE, TWO.public, LABEL, rng.randbytes)
    server = InvitationServer(TWO, ONE.public, rng.randbytes)
    to_server = bytearray(peer.start())
    for kind, payload in steps(data):
        fed = bytes(payload) if kind == "r" else b""
        with suppress(ProtocolError):
            match kind:
                case "d":
                    peer.feed(server.take_output())
                    while peer.next_record() is not None:
                        pass
                    fed = bytes(to_server) + peer.take_output()
                    to_server.clear()
                case "c" if peer.established:
                    fed = peer.send(0, COOKIE)
                case "s" if payload:
                    fed = peer._frame(payload[0], payload[1:])
        server.feed(fed)
        try:
            while (event := server.next_event()) is not None:
                if isinstance(event, InvitationClaimed):
                    assert (kind == "c") == (event.file_name == FILE_NAME)
                    server.offer(b"Name = one\n")
                else:
                    server.accept()
        except ProtocolError:
            return


@target("protocol/test_joining.py", scripts, smoke=400)
def joiners(data: bytes) -> None:
    """The joiner: what an inviter sends, which has the right key and does what it likes."""
    rng = random.Random(4)
    joiner = Joiner(key_hash(TWO.public.text), COOKIE, ONE, rng.randbytes)
    peer = StreamSession(Role.RESPONDER, TWO, ONE.public, LABEL, rng.randbytes)
    greeting = f"0 two 17.7\n4 {TWO.public.text}\n".encode() + peer.start()
    joiner.take_output()
    for kind, payload in steps(data):
        fed = bytes(payload) if kind == "r" else b""
        with suppress(ProtocolError):
            match kind:
                case "g":
                    fed = greeting
                case "d":
                    peer.feed(joiner.take_output())
                    while peer.next_record() is not None:
                        pass
                    fed = peer.take_output()
                case "s" if payload:
                    fed = peer._frame(payload[0], payload[1:])
        joiner.feed(fed)
        try:
            while (event := joiner.next_event()) is not None:
                if isinstance(event, InvitationReceived):
                    assert len(event.data) <= MAX_INVITATION_SIZE
                    joiner.register(THREE.public)
        except ProtocolError:
            return


@target("protocol/test_proxy.py", "net/test_proxy.py")
def proxies(data: bytes) -> None:
    """The answers of a proxy of each kind, in pieces."""
    for kind in ("socks4", "socks4a", "socks5", "http"):
        handshake = ProxyHandshake(kind, Address("192.0.2.1", "655"), "user", "password")
        with suppress(ProtocolError):
            for piece in data.split(END_OF_STEP):
                if handshake.feed(piece)[1] is not None:
                    break
                assert len(handshake._input) <= MAX_HTTP_ANSWER + len(piece)
