"""SPTPS over datagrams: a recorded session, bad deliveries, disorder, changes of keys.

See docs/protocol-sptps.md, "Datagram sessions" to "Worn-out keys".
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.sptps.vectors import STATES, Script, negative_cases, vectors
from pytinc.crypto import aead
from pytinc.crypto.aead import Rows
from pytinc.crypto.keys import PrivateKey
from pytinc.errors import UsageError
from pytinc.protocol.sptps import datagram as module
from pytinc.protocol.sptps.datagram import DatagramSession
from pytinc.protocol.sptps.handshake import KEY_LIMIT, REKEY_AFTER, Role, State
from pytinc.wire.records import Record, SptpsCipher

VECTORS = vectors("datagram")
NEGATIVE = negative_cases("datagram")
HANDSHAKE_TAKEN = Record(128, b"")
OTHERS = {"initiator": "responder", "responder": "initiator"}
Pair = tuple[DatagramSession, DatagramSession]


def make_pair(setup: dict[str, Any]) -> tuple[dict[str, DatagramSession], Script]:
    script = Script()
    keys = {who: PrivateKey.from_seed(bytes.fromhex(setup[f"{who}_key_seed"])) for who in OTHERS}
    label = bytes.fromhex(setup["label"])
    return {
        who: DatagramSession(
            Role(who), keys[who], keys[OTHERS[who]].public, label, script, setup["replay_window"]
        )
        for who in OTHERS
    }, script


def established(replay_window: int = 16, cipher: SptpsCipher = SptpsCipher.CHACHA20_POLY1305) -> Pair:
    keys = [PrivateKey.from_seed(bytes((i,)) * 32) for i in range(2)]
    roles = (Role.INITIATOR, Role.RESPONDER)
    a, b = (
        DatagramSession(
            role, keys[i], keys[1 - i].public, b"label", random.Random(i).randbytes, replay_window, cipher
        )
        for i, role in enumerate(roles)
    )
    (kex_a,), (kex_b,) = a.start(), b.start()
    assert b.receive(kex_a) == a.receive(kex_b) == HANDSHAKE_TAKEN
    settle(a, b)
    return a, b


def settle(a: DatagramSession, b: DatagramSession) -> None:
    """Carry handshake datagrams both ways until both ends are silent."""
    while (from_a := a.take_output()) + (from_b := b.take_output()):
        assert all(b.receive_handshake(each) for each in from_a)
        assert all(a.receive_handshake(each) for each in from_b)


def rekey(a: DatagramSession, b: DatagramSession) -> None:
    a.force_rekey()
    settle(a, b)


def at_the_acks(a: DatagramSession, b: DatagramSession) -> bytes:
    """Change keys up to the point where ``b`` waits for the ACK of ``a``, and return that ACK."""
    a.force_rekey()
    assert b.receive_handshake(*a.take_output())
    for each in b.take_output():
        a.receive_handshake(each)
    *sig, last = a.take_output()
    if a.role is Role.INITIATOR:
        assert b.receive_handshake(last)
        for each in b.take_output():
            a.receive_handshake(each)
        (last,) = a.take_output()
    else:
        for each in sig:
            b.receive_handshake(each)
        assert a.receive_handshake(*b.take_output())
    assert b.state is State.REKEY_ACK
    return last


# -- vectors --

# Records that pytinc accepts and tinc does not, by step: the result, then state and next expected number.
MORE_LENIENT = {
    "new-key record before the ACK: rejected, changes nothing": (
        [Record(0, b"new-key")],
        "SECONDARY_KEX",
        26,
    ),
    "the ACK": ([HANDSHAKE_TAKEN], "SECONDARY_KEX", 26),
    "old-key record after the ACK: rejected": ([Record(0, b"old-key")], "SECONDARY_KEX", 26),
    # It was accepted already, before the ACK.
    "the same new-key record after the ACK: accepted": ([], "SECONDARY_KEX", 26),
}


def perform(session: DatagramSession, step: dict[str, Any]) -> tuple[list[bytes], Record | None]:
    """Carry out a step of the vectors; return the datagrams sent and the record received."""
    match step["do"]:
        case "start":
            return session.start(), None
        case "force_kex":
            session.force_rekey()
            return session.take_output(), None
        case "send_record":
            return [session.seal(step["type"], bytes.fromhex(step["data"]))], None
        case _:
            record = session.receive(bytes.fromhex(step["data"]))
            return session.take_output(), record


def test_a_recorded_session_with_rekeys_and_disorder_is_reproduced_exactly() -> None:
    sessions, script = make_pair(VECTORS["setup"])
    lenient = set()
    for step in VECTORS["steps"]:
        where = f"step {step['n']}, {step['about']}"
        session = sessions[step["who"]]
        script.values = [bytes.fromhex(value) for value in step.get("random", [])]
        expected = [Record(item["type"], bytes.fromhex(item["data"])) for item in step["records"]]
        state, following = step["after"]["state"], step["after"]["inseqno"]
        if step["about"] in MORE_LENIENT:
            lenient.add(step["about"])
            expected, state, following = MORE_LENIENT[step["about"]]
        if not step["ok"] and step["do"] != "deliver":
            with pytest.raises(UsageError):
                perform(session, step)
        else:
            sent, record = perform(session, step)
            assert [item.hex() for item in sent] == [item["bytes"] for item in step["sent"]], where
            if record == HANDSHAKE_TAKEN and session.in_handshake:
                assert expected == [], (
                    where
                )  # a step of the handshake, which tinc does not report to the application
            else:
                assert ([] if record is None else [record]) == expected, where
        assert not script.values, where
        assert STATES[session.state] == (state, step["after"]["outstate"]), where
        assert session.window.next == following, where
        assert session.can_send is step["after"]["outstate"], where
    assert lenient == set(MORE_LENIENT)


def reach(delivered: int) -> dict[str, DatagramSession]:
    """Deliver the first messages of the recorded handshake."""
    sessions, script = make_pair(VECTORS["setup"])
    starts = [step for step in VECTORS["steps"] if step["do"] == "start"]
    script.values = [bytes.fromhex(value) for step in starts for value in step["random"]]
    queues = {step["who"]: sessions[step["who"]].start() for step in starts}
    for to in ("responder", "initiator", "responder", "initiator")[:delivered]:
        assert sessions[to].receive(queues[OTHERS[to]].pop(0)) == HANDSHAKE_TAKEN
        queues[to] += sessions[to].take_output()
    return sessions


@pytest.mark.parametrize("case", NEGATIVE, ids=lambda case: case["about"])
def test_a_single_delivery_has_the_result_of_the_vectors(case: dict[str, Any]) -> None:
    session, data = reach(case["delivered_before"])[case["who"]], bytes.fromhex(case["data"])
    before, is_plain = session.window.next, not session.can_send
    record = session.receive(data)
    assert (record is not None) is case["ok"]
    assert STATES[session.state] == (case["after"]["state"], case["after"]["instate"])
    if not case["ok"]:
        assert session.take_output() == []
    if is_plain and not case["ok"]:
        # In tinc the number is used up, so that a forged record keeps out the true one.
        assert session.window.next == before
    else:
        assert session.window.next == case["after"]["inseqno"]
    batch = reach(case["delivered_before"])[case["who"]]
    assert batch.open_batch([b"prefix" + data], 6) == [record]
    by_tcp = reach(case["delivered_before"])[case["who"]]
    assert by_tcp.receive_handshake(data) is (record == HANDSHAKE_TAKEN)


# -- order, loss, replay --


def test_records_may_be_lost_reordered_and_repeated() -> None:
    a, b = established()
    sent = [a.seal(2, bytes((i,))) for i in range(6)]
    got = [b.receive(sent[i]) for i in (0, 3, 1, 3, 5, 0, 4)]
    taken = [None if record is None else record.data[0] for record in got]
    assert taken == [0, 3, 1, None, 5, None, 4]


def test_a_window_of_zero_accepts_replays() -> None:
    a, b = established(replay_window=0)
    sent = a.seal(0, b"again")
    assert b.receive(sent) == b.receive(sent) == Record(0, b"again")


@pytest.mark.parametrize("type_", [-1, 128, 129, 255])
def test_a_reserved_type_is_refused_locally(type_: int) -> None:
    a, _ = established()
    with pytest.raises(UsageError):
        a.seal(type_, b"")
    with pytest.raises(UsageError):
        a.seal_batch(b"", type_, [b""])


def test_nothing_is_sealed_before_keys_are_in_force() -> None:
    session = make_pair(VECTORS["setup"])[0]["initiator"]
    assert not session.can_send
    assert session.in_handshake
    assert session.seal_batch(b"", 0, [b"x"]) == []
    with pytest.raises(UsageError):
        session.seal(0, b"x")


@given(st.integers(0, 4), st.sampled_from(list(OTHERS)), st.lists(st.binary(max_size=120), max_size=4))
def test_no_datagram_raises_an_error_and_garbage_does_not_move_the_window(
    delivered: int, who: str, datagrams: list[bytes]
) -> None:
    session = reach(delivered)[who]
    encrypted, before = not session.in_handshake, session.window.next
    for each in datagrams:
        session.receive(each)
        session.receive_handshake(each)
        session.open_batch([each], 0)
    if encrypted:
        assert session.window.next == before
        assert session.state is State.ESTABLISHED


@given(st.integers(0, 7), st.integers(0, 400))
def test_a_record_with_a_changed_bit_is_never_accepted(bit: int, at: int) -> None:
    a, b = established()
    damaged = bytearray(a.seal(3, bytes(40)))
    damaged[at % len(damaged)] ^= 1 << bit
    assert b.receive(bytes(damaged)) is None


# -- around a change of keys --


@pytest.mark.parametrize("who", [0, 1], ids=["initiator", "responder"])
def test_a_record_under_the_new_key_before_the_ack_also_counts_as_the_ack(who: int) -> None:
    pair = established()
    a, b = pair[who], pair[1 - who]
    ack = at_the_acks(a, b)
    early = a.seal(0, b"early")
    assert b.receive(early) == Record(0, b"early")
    assert b.receive(early) is None
    assert not b.in_handshake
    assert b.receive_handshake(ack), "the late ACK does no harm"
    assert not b.in_handshake
    assert b.receive(a.seal(0, b"next")) == Record(0, b"next")


def test_a_record_that_the_window_refuses_does_not_count_as_the_ack() -> None:
    a, b = established()
    at_the_acks(a, b)
    a.seal_batch(b"", 0, [b"lost"] * 500)
    assert b.receive(a.seal(0, b"far ahead")) is None
    assert b.state is State.REKEY_ACK


def test_garbage_does_not_count_as_the_ack() -> None:
    a, b = established()
    at_the_acks(a, b)
    assert not b.receive_handshake(bytes(21))
    assert b.receive(bytes(21)) is None
    assert b.state is State.REKEY_ACK


@pytest.mark.parametrize("who", [0, 1], ids=["initiator", "responder"])
def test_any_number_of_records_may_overtake_the_ack(who: int) -> None:
    pair = established()
    a, b = pair[who], pair[1 - who]
    ack = at_the_acks(a, b)
    assert all(b.receive(a.seal(0, b"early")) for _ in range(1000))
    assert b.receive_handshake(ack)
    settle(a, b)
    rekey(b, a)
    assert b.receive(a.seal(0, b"next")) == Record(0, b"next")


@pytest.mark.parametrize("who", [0, 1], ids=["initiator", "responder"])
def test_a_lost_ack_does_not_stop_the_next_change_of_keys(who: int) -> None:
    pair = established()
    a, b = pair[who], pair[1 - who]
    at_the_acks(a, b)
    settle(a, b)
    rekey(a, b)
    assert not a.in_handshake
    assert not b.in_handshake
    assert b.receive(a.seal(0, b"next")) == Record(0, b"next")


def before_the_sig(a: DatagramSession, b: DatagramSession, starter: DatagramSession) -> list[bytes]:
    """Change keys up to the point where ``b``, the responder, has sent SIG and ACK; return these."""
    starter.force_rekey()
    if starter is a:
        assert b.receive_handshake(*a.take_output())
    assert a.receive_handshake(*b.take_output())
    assert all(b.receive_handshake(each) for each in a.take_output())
    sig, ack = b.take_output()
    assert (a.state, b.state) == (State.REKEY_SIG, State.REKEY_ACK)
    return [sig, ack]


@pytest.mark.parametrize("who", [0, 1], ids=["initiator starts", "responder starts"])
@pytest.mark.parametrize("count", [1, 1000])
def test_data_under_the_new_key_may_overtake_the_sig(who: int, count: int) -> None:
    pair = a, b = established()
    late = b.seal(0, b"late")
    sig, ack = before_the_sig(a, b, pair[who])
    for _ in range(count):
        early = b.seal(0, b"early")
        assert a.receive(early) == Record(0, b"early")
        assert a.receive(early) is None
    assert a.state is State.REKEY_SIG, "only the SIG proves who the peer is"
    assert a.receive(late) == (Record(0, b"late") if count == 1 else None), "the old key is still in force"
    assert b.receive(a.seal(0, b"back")) == Record(0, b"back")
    assert a.receive_handshake(sig)
    assert a.receive(b.seal(0, b"signed")) == Record(0, b"signed")
    assert a.receive_handshake(ack)
    settle(a, b)
    assert not a.in_handshake
    assert not b.in_handshake
    assert a.key_changes == b.key_changes == 2
    for x, y in ((a, b), (b, a)):
        assert y.receive(x.seal(0, b"next")) == Record(0, b"next")


@pytest.mark.parametrize("type_", [128, 129, 255])
def test_only_data_is_accepted_under_a_key_that_is_not_signed(type_: int) -> None:
    a, b = established()
    sig, ack = before_the_sig(a, b, a)
    for data in (b"", bytes(64), bytes(65)):
        record = b._frame(type_, data)
        assert a.receive(record) is None
        assert not a.receive_handshake(record)
    assert a.state is State.REKEY_SIG
    assert a.receive_handshake(sig)
    assert a.receive_handshake(ack)


def test_a_sig_that_is_not_valid_leaves_the_keys_as_they_were() -> None:
    a, b = established()
    sig, _ = before_the_sig(a, b, a)
    old = a.seal(0, b"before")
    opener = b._opener
    assert opener is not None
    # Somebody who has the keys in force, but not the private key, can only send more under these keys.
    forged = b._frame(128, bytes(64))
    assert not a.receive_handshake(forged)
    assert (a.state, a.key_changes) == (State.REKEY_SIG, 1)
    assert b.receive(old) == Record(0, b"before")
    assert b.receive(a.seal(0, b"after")) == Record(0, b"after")
    assert opener is b._opener
    assert a.receive_handshake(sig)


def test_nothing_is_accepted_before_the_sig_of_the_first_handshake() -> None:
    keys = [PrivateKey.from_seed(bytes((i,)) * 32) for i in range(2)]
    a, b = (
        DatagramSession(role, keys[i], keys[1 - i].public, b"label", random.Random(i).randbytes)
        for i, role in enumerate((Role.INITIATOR, Role.RESPONDER))
    )
    (kex_a,), (kex_b,) = a.start(), b.start()
    assert b.receive(kex_a) == a.receive(kex_b) == HANDSHAKE_TAKEN
    assert b.receive_handshake(*a.take_output())
    (sig,) = b.take_output()
    assert a.receive(b.seal(0, b"early")) is None
    assert a.receive_handshake(sig)


def test_more_data_than_the_window_holds_may_overtake_handshake_records_by_tcp() -> None:
    a, b = established()
    for starter, other in ((a, b), (b, a)):
        starter.force_rekey()
        while waiting := starter.take_output() + other.take_output():
            for session, peer in ((a, b), (b, a)):
                for _ in range(300):
                    peer.receive(session.seal(0, b"data"))
            for each in waiting:
                assert a.receive_handshake(each) or b.receive_handshake(each)
        assert not a.in_handshake
        assert not b.in_handshake


def test_handshake_records_by_tcp_may_be_far_ahead_of_data_that_is_all_lost() -> None:
    a, b = established()
    a.seal_batch(b"", 0, [b"lost"] * 5000)
    rekey(a, b)
    assert not b.in_handshake
    # For data the window's rule holds: after four such records it accepts the gap.
    assert [b.receive(a.seal(0, b"heard again")) for _ in range(5)][-1] == Record(0, b"heard again")


def test_the_window_applies_to_handshake_records_by_udp() -> None:
    a, b = established()
    a.force_rekey()
    (kex,) = a.take_output()
    for _ in range(200):
        b.receive(a.seal(0, b"data"))
    assert b.receive(kex) is None
    assert b.state is State.ESTABLISHED


def test_a_repeated_handshake_record_has_no_effect() -> None:
    a, b = established()
    a.force_rekey()
    seen: list[bytes] = []
    while (from_a := a.take_output()) + (from_b := b.take_output()):
        for each in from_a:
            assert b.receive_handshake(each)
            seen.append(each)
        for each in from_b:
            assert a.receive_handshake(each)
    ack = seen.pop()
    states = (b.state, b.window.next)
    assert not any(b.receive_handshake(each) for each in seen)
    assert b.receive_handshake(ack), "no effect"
    assert (b.state, b.window.next, b.take_output()) == (*states, [])
    assert b.receive(ack) is None


def test_data_is_refused_on_the_path_of_the_handshake() -> None:
    a, b = established()
    sealed = a.seal(0, b"data")
    assert not b.receive_handshake(sealed)
    assert b.receive(sealed) == Record(0, b"data"), "its number was not used up"


@pytest.mark.parametrize("who", [0, 1], ids=["initiator", "responder"])
def test_a_record_under_the_old_key_that_fills_a_gap_is_accepted_once(who: int) -> None:
    pair = established()
    a, b = pair[who], pair[1 - who]
    late = a.seal(0, b"late")
    rekey(a, b)
    assert b.receive(late) == Record(0, b"late")
    assert b.receive(late) is None


def test_a_record_under_the_old_key_never_moves_the_window() -> None:
    a, b = established()
    a._out_seqno = 2**32 - 40
    b.window.next = 2**32 - 40
    replays = [a.seal(0, b"old") for _ in range(20)]
    assert all(b.receive(each) for each in replays)
    rekey(a, b)
    assert b.receive(a.seal(0, b"new")) is not None
    for _ in range(60):
        b.receive(a.seal(0, b"past the last number"))
    assert b.window.next < 100
    # All of them look far ahead now; the ordinary rule accepts the fifth such record.
    assert [b.receive(each) for each in replays] == [None] * 20
    assert b.window.next < 100


def test_no_record_under_the_old_key_is_accepted_with_a_window_of_zero() -> None:
    a, b = established(replay_window=0)
    late = a.seal(0, b"late")
    rekey(a, b)
    assert b.receive(late) is None


def test_the_old_key_is_forgotten_after_a_fixed_number_of_records(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OLD_KEY_RECORDS", 10)
    a, b = established()
    first, second = a.seal(0, b"1"), a.seal(0, b"2")
    rekey(a, b)
    for _ in range(10):
        assert b.receive(a.seal(0, b"new")) is not None
    assert b.receive(first) == Record(0, b"1")
    assert b.receive(a.seal(0, b"new")) is not None
    assert b.receive(second) is None
    b.open_batch([], 0)
    assert b._old_opener is None


def test_a_record_under_an_unknown_key_fills_no_gap() -> None:
    a, b = established()
    late = a.seal(0, b"late")
    rekey(a, b)
    assert b.receive(late[:-1] + bytes((late[-1] ^ 1,))) is None
    assert b.receive(late) == Record(0, b"late")


@pytest.mark.parametrize("type_", [128, 129, 255])
def test_only_application_records_and_an_ack_are_accepted_under_the_old_key(type_: int) -> None:
    a, b = established()
    late = a._frame(type_, b"data")
    rekey(a, b)
    assert b.receive(late) is None
    assert not b.receive_handshake(late)


class Network:
    """Carries handshake records in order, as TCP does, and data in any order, with losses and replays."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.ends = established()
        self.tcp: list[list[bytes]] = [[], []]
        self.udp: list[list[bytes]] = [[], []]
        self.taken: list[list[bytes]] = [[], []]
        self.sent = 0

    def step(self) -> None:
        i = self.rng.randrange(2)
        session = self.ends[i]
        match self.rng.randrange(8):
            case 0 if not session.in_handshake and not self.rng.randrange(4):
                session.force_rekey()
            case 1 | 2 if self.tcp[i]:
                assert session.receive_handshake(self.tcp[i].pop(0))
            case 3 | 4 if self.udp[i]:
                at = self.rng.randrange(len(self.udp[i]))
                record = session.receive(self.udp[i][at])  # it stays, so that it can be replayed
                if record is not None:
                    self.taken[i].append(record.data)
            case _:
                self.sent += 1
                self.udp[1 - i].append(session.seal(0, b"%d" % self.sent))
        self.tcp[1 - i] += session.take_output()


@given(st.randoms(use_true_random=False))
def test_keys_change_under_any_disorder_and_no_number_is_accepted_twice(rng: random.Random) -> None:
    network = Network(rng)
    for _ in range(300):
        network.step()
    for taken in network.taken:
        assert len(taken) == len(set(taken))
    while any(network.tcp):
        for i, session in enumerate(network.ends):
            while network.tcp[i]:
                assert session.receive_handshake(network.tcp[i].pop(0))
            network.tcp[1 - i] += session.take_output()
    a, b = network.ends
    assert not a.in_handshake
    assert not b.in_handshake
    for x, y in ((a, b), (b, a)):
        # Five, because the window accepts a far number only after four of them.
        assert [y.receive(x.seal(0, b"last")) for _ in range(5)][-1] == Record(0, b"last")


# -- worn-out keys --


def test_a_session_reports_that_new_keys_are_due_and_finally_seals_nothing() -> None:
    a, b = established()
    assert not a.needs_rekey
    a._out_count = REKEY_AFTER
    assert a.needs_rekey
    a._out_count = KEY_LIMIT - 2
    assert len(a.seal_batch(b"", 0, [b"", b"", b""])) == 0
    assert len(a.seal_batch(b"", 0, [b"", b""])) == 2
    assert not a.can_send
    assert a.seal_batch(b"", 0, [b""]) == []
    with pytest.raises(UsageError):
        a.seal(0, b"")
    rekey(a, b)
    assert a.can_send
    assert not a.needs_rekey


def test_sequence_numbers_wrap_around() -> None:
    a, b = established()
    a._out_seqno = b.window.next = 2**32 - 2
    sealed = [*a.seal_batch(b"", 0, [b""] * 3), a.seal(0, b"")]
    numbers = [int.from_bytes(each[:4], "big") for each in sealed]
    assert numbers == [2**32 - 2, 2**32 - 1, 0, 1]


# -- the fast path and its twin --


def one_at_a_time(session: DatagramSession, datagrams: Sequence[bytes]) -> list[Record | None]:
    return [session.receive(each) for each in datagrams]


@given(st.binary(max_size=12), st.integers(0, 127), st.lists(st.binary(max_size=50), max_size=6))
def test_sealing_a_batch_equals_sealing_one_at_a_time(
    prefix: bytes, type_: int, payloads: list[bytes]
) -> None:
    (a, _), (twin, _) = established(), established()
    expected = [prefix + twin.seal(type_, payload) for payload in payloads]
    assert a.seal_batch(prefix, type_, payloads) == expected
    assert a.seal(0, b"next") == twin.seal(0, b"next")


@given(st.binary(max_size=12), st.integers(0, 127), st.binary(max_size=50), st.booleans())
def test_sealing_one_equals_sealing_a_batch_of_one(
    prefix: bytes, type_: int, payload: bytes, fast: bool
) -> None:
    (a, _), (twin, _) = established(), established()
    a.peer_accepts_fast = twin.peer_accepts_fast = fast
    for _ in range(2):
        assert [a.seal_one(prefix, bytes((type_,)), payload)] == twin.seal_batch(prefix, type_, [payload])


@pytest.mark.parametrize("fast", [False, True])
def test_one_record_at_a_time_goes_from_end_to_end(fast: bool) -> None:
    a, b = with_fast_tag() if fast else established()
    for number in range(3):
        datagram = a.seal_one(b"prefix", b"\2", b"%d" % number)
        assert datagram is not None
        assert opened(b, datagram, 6) == (2, b"%d" % number)
        assert opened(b, datagram, 6) is None
    late = a.seal_one(b"", b"\2", b"under the old key")
    assert late is not None
    ack = at_the_acks(a, b)
    assert opened(b, ack, 0) == HANDSHAKE_TAKEN
    assert opened(b, late, 0) == (2, b"under the old key")
    new = a.seal_one(b"", b"\0", b"under the new key")
    assert new is not None
    assert opened(b, new, 0) == (0, b"under the new key")
    assert opened(b, b"short", 0) is None


def test_one_is_not_sealed_without_a_usable_key() -> None:
    a, _ = established()
    a._out_count = KEY_LIMIT - 1
    assert a.seal_one(b"", b"\0", b"the last") is not None
    assert a.seal_one(b"", b"\0", b"one more") is None
    keys = [PrivateKey.from_seed(bytes((i,)) * 32) for i in range(2)]
    new = DatagramSession(Role.INITIATOR, keys[0], keys[1].public, b"label", random.Random(0).randbytes)
    assert new.seal_one(b"", b"\0", b"too early") is None


@given(st.lists(st.binary(max_size=50), max_size=6), st.binary(max_size=12))
def test_what_one_side_seals_in_a_batch_the_other_opens(payloads: list[bytes], prefix: bytes) -> None:
    a, b = established()
    sealed = a.seal_batch(prefix, 2, payloads)
    assert b.open_batch(sealed, len(prefix)) == [(2, payload) for payload in payloads]
    assert b.open_batch(sealed, len(prefix)) == [None] * len(payloads)


def mixed_traffic(a: DatagramSession, b: DatagramSession, rng: random.Random) -> list[bytes]:
    """Return datagrams for ``b`` around a change of keys that ``a`` starts: all by UDP, in disorder."""
    traffic = a.seal_batch(b"", 2, [b"%d" % i for i in range(20)])
    a.force_rekey()
    for _ in range(3):
        handshake = a.take_output()
        traffic += [*handshake, a.seal(0, b"between"), a._frame(130, b"invalid"), rng.randbytes(40), b"short"]
        # The twin of b answers here, so that b itself has not seen anything yet.
        for each in handshake:
            b.receive(each)
        for each in b.take_output():
            a.receive(each)
    traffic += a.seal_batch(b"", 4, [b"new"] * 10)
    for _ in range(12):
        i, j = rng.randrange(len(traffic)), rng.randrange(len(traffic))
        traffic[i], traffic[j] = traffic[j], traffic[i]
    return traffic + rng.choices(traffic, k=10)


@given(st.randoms(use_true_random=False), st.integers(1, 70), st.sampled_from([0, 12]))
def test_opening_a_batch_equals_receiving_one_at_a_time(rng: random.Random, size: int, offset: int) -> None:
    (a, peer), (_, single), (_, batch), (_, alone) = (established() for _ in range(4))
    traffic = mixed_traffic(a, peer, rng)
    for start in range(0, len(traffic), size):
        part = traffic[start : start + size]
        expected = one_at_a_time(single, part)
        assert batch.open_batch([bytes(offset) + each for each in part], offset) == expected
        assert [opened(alone, bytes(offset) + each, offset) for each in part] == expected
        assert batch.take_output() == (output := single.take_output())
        assert alone.take_output() == output
        assert batch.state is alone.state is single.state
        seen = (single.window.next, single.window.far)
        assert (batch.window.next, batch.window.far) == (alone.window.next, alone.window.far) == seen
    assert batch.seal(0, b"") == alone.seal(0, b"") == single.seal(0, b"")


def opened(session: DatagramSession, datagram: bytes, offset: int) -> tuple[int, bytes] | None:
    """Return what `open_one` gives, in the form of `receive`."""
    record = session.open_one(datagram, offset)
    return (record[0], record[1:]) if isinstance(record, bytes) else record


def test_the_whole_handshake_can_come_in_batches() -> None:
    session, steps = reach(0)["responder"], VECTORS["steps"]
    kex, sig, data = (bytes.fromhex(steps[n]["sent"][0]["bytes"]) for n in (0, 4, 8))
    expected = [HANDSHAKE_TAKEN, HANDSHAKE_TAKEN, (0, bytes.fromhex(steps[8]["data"]))]
    assert session.open_batch([kex, sig, data], 0) == expected
    assert not session.in_handshake


def test_a_handshake_record_in_a_batch_takes_effect_for_the_next_record() -> None:
    a, b = established()
    ack = at_the_acks(a, b)
    batch = [ack, *a.seal_batch(b"", 0, [b"new"])]
    assert b.open_batch(batch, 0) == [HANDSHAKE_TAKEN, (0, b"new")]
    assert not b.in_handshake


# -- the fast tag --


def with_fast_tag(replay_window: int = 16) -> Pair:
    """Return two ends that have both announced it to each other."""
    a, b = established(replay_window)
    for session in (a, b):
        session.accept_fast()
        session.peer_accepts_fast = True
    return a, b


def fast_record(session: DatagramSession, data: bytes) -> bytes:
    return session.seal(0, data, may_be_fast=True)


def test_both_tags_are_accepted_in_any_order() -> None:
    a, b = with_fast_tag()
    records = [a.seal(0, b"%d" % i, may_be_fast=bool(i & 5)) for i in range(40)]
    random.Random(1).shuffle(records)
    taken = [b.receive(each) for each in records]
    assert {each.data for each in taken if each} == {b"%d" % i for i in range(40)}
    assert one_at_a_time(b, records) == [None] * 40


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 8))
def test_a_batch_of_both_tags_equals_one_at_a_time(forms: list[bool], size: int) -> None:
    (a, single), (_, batch), (_, alone) = with_fast_tag(), with_fast_tag(), with_fast_tag()
    records = [a.seal(0, b"%d" % i, may_be_fast=fast) for i, fast in enumerate(forms)]
    for start in range(0, len(records), size):
        part = records[start : start + size]
        assert batch.open_batch(part, 0) == (expected := one_at_a_time(single, part)) != [None] * len(part)
        assert [opened(alone, each, 0) for each in part] == expected
        assert batch._fast_seen is single._fast_seen is forms[min(start + size, len(forms)) - 1]
        assert alone._fast_seen is single._fast_seen


def test_a_session_that_announced_nothing_refuses_the_fast_tag() -> None:
    a, b = established()
    a.peer_accepts_fast = True
    assert not b.accepts_fast
    assert b.receive(fast_record(a, b"no")) is None
    assert b.open_batch(a.seal_batch(b"", 2, [b"no"]), 0) == [None]
    assert b.receive(a.seal(0, b"yes")) == Record(0, b"yes")
    b.accept_fast()
    assert b.accepts_fast
    assert b.receive(fast_record(a, b"now")) == Record(0, b"now")


def test_nothing_gets_the_fast_tag_unless_the_peer_announced_it() -> None:
    (a, _), (twin, _) = established(), established()
    a.accept_fast()
    assert a.seal_batch(b"", 2, [b"x"]) == twin.seal_batch(b"", 2, [b"x"])
    assert fast_record(a, b"y") == twin.seal(0, b"y")


def test_only_records_that_may_be_fast_get_the_fast_tag() -> None:
    (a, _), (twin, _) = with_fast_tag(), established()
    assert a.seal(4, b"probe") == twin.seal(4, b"probe")
    (fast,), (usual,) = a.seal_batch(b"", 2, [b"data"]), twin.seal_batch(b"", 2, [b"data"])
    assert fast[:-16] == usual[:-16]
    assert fast[-16:] != usual[-16:]
    assert fast_record(a, b"data")[-16:] != twin.seal(0, b"data")[-16:]
    a.force_rekey()
    twin.force_rekey()
    assert a.take_output() == twin.take_output()


def test_each_number_is_sealed_once_whatever_the_tag() -> None:
    a, _ = with_fast_tag()
    records = [*a.seal_batch(b"", 2, [b"1", b"2"]), a.seal(4, b"probe"), fast_record(a, b"3")]
    a.peer_accepts_fast = False
    records += a.seal_batch(b"", 2, [b"4"])
    numbers = [int.from_bytes(each[:4], "big") for each in records]
    assert numbers == list(range(numbers[0], numbers[0] + 5))


def test_the_replay_window_treats_both_tags_alike() -> None:
    (a, b), (c, d) = with_fast_tag(2), established(2)
    order = [0, 3, 1, 1, 40, 4, 24, 23, 39, 41, 3]
    fast = a.seal_batch(b"", 2, [b"%d" % i for i in range(42)])
    usual = c.seal_batch(b"", 2, [b"%d" % i for i in range(42)])
    assert b.open_batch([fast[i] for i in order], 0) == d.open_batch([usual[i] for i in order], 0)
    assert (b.window.next, b.window.far) == (d.window.next, d.window.far)


@pytest.mark.parametrize("likely", [False, True])
def test_an_attacker_cannot_lengthen_a_fast_record(likely: bool) -> None:
    """The RFC's tag is tinc's tag over ciphertext, padding and lengths, so these must not form a record."""
    a, b = with_fast_tag()
    if likely:
        assert b.receive(fast_record(a, b"before"))
    record = fast_record(a, b"data")
    number, ciphertext, tag = record[:4], record[4:-16], record[-16:]
    longer = ciphertext + bytes(-len(ciphertext) % 16 + 8) + len(ciphertext).to_bytes(8, "little")
    assert b.receive(number + longer + tag) is None
    assert b.open_batch([number + longer + tag], 0) == [None]
    assert b.receive(record) == Record(0, b"data")


@given(st.integers(0, 7), st.integers(0, 27))
def test_a_fast_record_with_a_changed_bit_is_never_accepted(bit: int, at: int) -> None:
    a, b = with_fast_tag()
    record = bytearray(fast_record(a, b"1234567"))
    record[at] ^= 1 << bit
    assert b.receive(bytes(record)) is None
    assert b.open_batch([bytes(record)], 0) == [None]
    assert b.window.far == 0


@pytest.mark.parametrize("who", [0, 1])
def test_a_new_key_starts_with_the_tag_of_tinc(who: int) -> None:
    pair = with_fast_tag()
    a, b = pair[who], pair[1 - who]
    assert b.receive(fast_record(a, b"before"))
    rekey(a, b)
    assert not a.peer_accepts_fast
    assert not b.peer_accepts_fast
    assert not b._fast_seen
    a.peer_accepts_fast = True
    assert b.receive(fast_record(a, b"after")) == Record(0, b"after")


@pytest.mark.parametrize("who", [0, 1])
def test_early_and_late_fast_records_around_a_change_of_keys_are_accepted(who: int) -> None:
    pair = with_fast_tag()
    a, b = pair[who], pair[1 - who]
    late = fast_record(a, b"late")
    ack = at_the_acks(a, b)
    a.peer_accepts_fast = True
    early = fast_record(a, b"early")
    assert b.receive(early) == Record(0, b"early")
    assert not b.in_handshake
    assert b.receive(late) == Record(0, b"late")
    assert b.receive(late) is None
    assert b.receive_handshake(ack)


# -- many records in one buffer --

ROWS = Rows(records=3, size=41, last=9, plain=64, plain_step=105, sealed=68, sealed_step=77)
PLAINTEXTS = [b"\2" + b"first" * 8, b"\2" + b"other" * 8, b"\2" + b"the last"]


def plain_rows() -> bytearray:
    buffer = bytearray(ROWS.plain + ROWS.plain_step * ROWS.records)
    for number, text in enumerate(PLAINTEXTS):
        at = ROWS.plain + number * ROWS.plain_step
        buffer[at : at + len(text)] = text
    return buffer


def sealed_rows(session: DatagramSession) -> tuple[int | None, bytearray]:
    """Seal `PLAINTEXTS` in rows; return the first number, and the buffer with the numbers filled in."""
    buffer = bytearray(ROWS.sealed + ROWS.sealed_step * ROWS.records)
    first = session.seal_rows(memoryview(plain_rows()), memoryview(buffer), ROWS)
    for number in range(ROWS.records if first is not None else 0):
        at = ROWS.sealed + number * ROWS.sealed_step
        buffer[at - 4 : at] = ((first or 0) + number).to_bytes(4, "big")
    return first, buffer


def datagrams_of(buffer: bytearray) -> list[bytes]:
    begins = range(ROWS.sealed, len(buffer), ROWS.sealed_step)
    sizes = [ROWS.size, ROWS.size, ROWS.last]
    return [bytes(buffer[at - 4 : at + size + 16]) for at, size in zip(begins, sizes, strict=True)]


def open_rows(session: DatagramSession, first: int, buffer: bytearray) -> bytearray | None:
    opened = bytearray(len(plain_rows()))
    return opened if session.open_rows(first, memoryview(buffer), memoryview(opened), ROWS) else None


@pytest.mark.parametrize("pair", [established, with_fast_tag], ids=["tag of tinc", "fast tag"])
def test_sealing_rows_equals_sealing_a_batch(pair: Callable[[], Pair]) -> None:
    (a, b), (twin, _) = pair(), pair()
    first, buffer = sealed_rows(a)
    assert first is not None
    assert datagrams_of(buffer) == twin.seal_batch(b"", 2, [text[1:] for text in PLAINTEXTS])
    assert a.seal(0, b"next") == twin.seal(0, b"next"), "their numbers are used up"
    assert b.open_batch(datagrams_of(buffer), 0) == [(2, text[1:]) for text in PLAINTEXTS]


@pytest.mark.parametrize("pair", [established, with_fast_tag], ids=["tag of tinc", "fast tag"])
def test_rows_are_opened_together_and_accepted_once(pair: Callable[[], Pair]) -> None:
    a, b = pair()
    assert b.receive(a.seal(0, b"tells which tag is the likely one", may_be_fast=True))
    first, buffer = sealed_rows(a)
    assert first is not None
    assert open_rows(b, first, buffer) == plain_rows()
    assert b.window.next == first, "nothing is accepted before it is examined"
    b.accept_rows(first, ROWS.records)
    assert b.window.next == first + ROWS.records
    assert open_rows(b, first, buffer) is None
    assert b.receive(datagrams_of(buffer)[1]) is None
    assert b.receive(a.seal(0, b"next")) == Record(0, b"next")


def test_rows_with_the_other_tag_are_left_to_the_batch() -> None:
    a, b = with_fast_tag()
    first, buffer = sealed_rows(a)
    assert first is not None
    assert open_rows(b, first, buffer) is None
    assert b.open_batch(datagrams_of(buffer), 0) == [(2, text[1:]) for text in PLAINTEXTS]


def test_nothing_is_sealed_or_opened_in_rows_without_a_key() -> None:
    session = reach(0)["initiator"]
    assert sealed_rows(session)[0] is None
    assert open_rows(session, 0, sealed_rows(established()[0])[1]) is None


def test_rows_that_the_library_cannot_seal_use_up_no_numbers(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (a, _), (twin, _) = established(), established()
    monkeypatch.setattr(aead, "HAS_ROWS", False)
    assert sealed_rows(a)[0] is None
    assert a.seal(0, b"x") == twin.seal(0, b"x")


# -- super-frames --


SUPER = bytearray(b"super" * 600)


def with_super_frames() -> Pair:
    a, b = established()
    assert not b.accepts_super_frames
    b.accept_super_frames()
    assert b.accepts_super_frames
    a.peer_accepts_super_frames = True
    return a, b


def sealed_super_frame(session: DatagramSession, pieces: int = 3) -> tuple[int | None, bytearray]:
    sealed = bytearray(3016)
    return session.seal_super_frame(SUPER, pieces, memoryview(sealed)), sealed


def test_a_super_frame_uses_a_number_per_piece_and_is_accepted_once() -> None:
    a, b = with_super_frames()
    before = int.from_bytes(a.seal(0, b"before")[:4], "big")
    number, sealed = sealed_super_frame(a)
    assert number == before + 1
    after = a.seal(0, b"after")
    assert int.from_bytes(after[:4], "big") == number + 3
    assert b.open_super_frame(number, 3, memoryview(sealed)) == SUPER
    assert b.open_super_frame(number, 3, memoryview(sealed)) is None
    assert b.receive(after) == Record(0, b"after")


def test_a_damaged_super_frame_uses_up_no_number() -> None:
    a, b = with_super_frames()
    number, sealed = sealed_super_frame(a)
    assert number is not None
    sealed[7] ^= 1
    assert b.open_super_frame(number, 3, memoryview(sealed)) is None
    sealed[7] ^= 1
    assert b.open_super_frame(number, 3, memoryview(sealed)) == SUPER


def test_super_frames_need_the_announcement_of_the_other_side() -> None:
    a, b = established()
    assert sealed_super_frame(a)[0] is None
    a.peer_accepts_super_frames = True
    number, sealed = sealed_super_frame(a)
    assert number is not None
    assert b.open_super_frame(number, 3, memoryview(sealed)) is None
    b.accept_super_frames()
    b.accept_super_frames()
    assert b.open_super_frame(number, 3, memoryview(sealed)) is not None
    rekey(a, b)
    assert sealed_super_frame(a)[0] is None, "the announcement was for the old key"


def test_a_super_frame_from_the_far_future_is_accepted_at_once() -> None:
    """All earlier ones, each of which used many numbers, were lost."""
    a, b = with_super_frames()
    for _ in range(100):
        number, sealed = sealed_super_frame(a)
    assert number is not None
    assert b.open_super_frame(number, 3, memoryview(sealed)) is not None
    assert b.receive(a.seal(0, b"next")) == Record(0, b"next")


def test_a_super_frame_under_the_old_key_is_accepted_where_it_fills_a_gap() -> None:
    a, b = with_super_frames()
    lost, sealed = sealed_super_frame(a)
    assert lost is not None
    rekey(a, b)
    assert b.receive(a.seal(0, b"new")) == Record(0, b"new")
    assert b.open_super_frame(lost, 3, memoryview(sealed[::-1])) is None, "under neither key"
    assert b.open_super_frame(lost, 3, memoryview(sealed)) == SUPER
    assert b.open_super_frame(lost, 3, memoryview(sealed)) is None
    assert b.open_super_frame(b.window.next, 3, memoryview(sealed)) is None, "it must not move the window"


def test_a_super_frame_may_overtake_the_sig_and_the_ack() -> None:
    a, b = established()
    a.accept_super_frames()
    sig, ack = before_the_sig(a, b, a)
    b.peer_accepts_super_frames = True
    for waits_for in (State.REKEY_SIG, State.ESTABLISHED):
        number, sealed = sealed_super_frame(b)
        assert number is not None
        assert a.open_super_frame(number, 3, memoryview(sealed)) == SUPER
        assert a.open_super_frame(number, 3, memoryview(sealed)) is None
        assert a.state is waits_for, "signed, it counts as the ACK"
        if waits_for is State.REKEY_SIG:
            assert a.receive_handshake(sig)
    assert a.receive_handshake(ack)


# -- AES-256-GCM --


def test_super_frames_get_aes_after_its_announcement_and_both_are_accepted() -> None:
    a, b = with_super_frames()
    assert [session.super_frames_cipher for session in (a, b)] == [SptpsCipher.CHACHA20_POLY1305, None]
    _, before = sealed_super_frame(a)
    a.peer_accepts_aes = True
    assert [session.super_frames_cipher for session in (a, b)] == [SptpsCipher.AES_256_GCM, None]
    number, sealed = sealed_super_frame(a)
    assert number is not None
    assert b.open_super_frame(number, 3, memoryview(sealed)) is None, "not yet announced"
    b.accept_aes()
    assert b.open_super_frame(number, 3, memoryview(sealed)) == SUPER
    for aes in (True, False, False, True):
        a.peer_accepts_aes = aes
        number, sealed = sealed_super_frame(a)
        assert number is not None
        assert b.open_super_frame(number, 3, memoryview(sealed[::-1])) is None
        assert b.open_super_frame(number, 3, memoryview(sealed)) == SUPER
    a.peer_accepts_aes = True
    lost, sealed = sealed_super_frame(a)
    assert lost is not None
    rekey(a, b)
    assert not a.peer_accepts_aes, "the announcement was for the old key"
    assert b.receive(a.seal(0, b"new")) == Record(0, b"new")
    assert b.open_super_frame(lost, 3, memoryview(sealed)) == SUPER, "under the old key"
    assert before != sealed


def test_a_session_with_aes_has_one_form_of_records() -> None:
    a, b = established(cipher=SptpsCipher.AES_256_GCM)
    for session in (a, b):
        session.accept_fast()
        session.accept_super_frames()
        session.accept_aes()
        assert not session.accepts_fast
    usual = a.seal_batch(b"", 0, [b"usual"])
    a.peer_accepts_fast = a.peer_accepts_super_frames = a.peer_accepts_aes = True
    fast = a.seal_batch(b"", 0, [b"fast"])
    assert b.open_batch(usual + fast, 0) == [(0, b"usual"), (0, b"fast")]
    assert b.open_batch(usual + fast, 0) == [None, None]
    number, sealed = sealed_super_frame(a)
    assert number is not None
    assert b.open_super_frame(number, 3, memoryview(sealed)) == SUPER
    first, buffer = sealed_rows(a)
    assert first is not None
    assert open_rows(b, first, buffer) is not None
    rekey(a, b)
    assert b.receive(a.seal(0, b"new")) == Record(0, b"new")


def test_nodes_with_different_ciphers_get_no_keys() -> None:
    keys = [PrivateKey.from_seed(bytes((i,)) * 32) for i in range(2)]
    a, b = (
        DatagramSession(role, keys[i], keys[1 - i].public, b"label", random.Random(i).randbytes, 16, cipher)
        for i, (role, cipher) in enumerate(zip(Role, SptpsCipher, strict=True))
    )
    (kex_a,), (kex_b,) = a.start(), b.start()
    assert b.receive(kex_a) == a.receive(kex_b) == HANDSHAKE_TAKEN
    (sig,) = a.take_output()
    assert b.receive(sig) is None
    assert not a.can_send
    assert not b.can_send


def test_repr_shows_no_key() -> None:
    a, _ = established()
    assert repr(a) == "<DatagramSession <Handshake initiator, waits for nothing: keys are in force>>"
    assert a.role is Role.INITIATOR
