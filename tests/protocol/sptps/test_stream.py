"""SPTPS over a stream: a recorded session, bad deliveries, any pieces, worn-out keys.

See docs/protocol-sptps.md, "Stream sessions".
"""

from __future__ import annotations

import hashlib
import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from protocol.sptps.vectors import STATES, Script, negative_cases, vectors
from pytinc.crypto.aead import RecordCipher
from pytinc.crypto.keys import PrivateKey
from pytinc.errors import AuthenticationError, DecodeError, ProtocolError, UsageError
from pytinc.protocol.sptps import stream
from pytinc.protocol.sptps.handshake import Role, State
from pytinc.protocol.sptps.stream import StreamSession
from pytinc.wire.records import MAX_RECORD_DATA, Record, SptpsCipher

VECTORS = vectors("stream")
NEGATIVE = negative_cases("stream")
KEYS_IN_FORCE = Record(128, b"")


def make_pair(setup: dict[str, Any]) -> tuple[dict[str, StreamSession], Script]:
    script = Script()
    keys = {
        who: PrivateKey.from_seed(bytes.fromhex(setup[f"{who}_key_seed"]))
        for who in ("initiator", "responder")
    }
    others = {"initiator": "responder", "responder": "initiator"}
    label = bytes.fromhex(setup["label"])
    return {
        who: StreamSession(Role(who), keys[who], keys[others[who]].public, label, script) for who in others
    }, script


def take_all(session: StreamSession) -> list[Record]:
    return list(iter(session.next_record, None))


def established() -> tuple[StreamSession, StreamSession]:
    keys = [PrivateKey.from_seed(bytes((i,)) * 32) for i in range(2)]
    initiator = StreamSession(Role.INITIATOR, keys[0], keys[1].public, b"label", random.Random(1).randbytes)
    responder = StreamSession(Role.RESPONDER, keys[1], keys[0].public, b"label", random.Random(2).randbytes)
    responder.feed(initiator.start())
    initiator.feed(responder.start())
    assert settle(initiator, responder) == [[KEYS_IN_FORCE], [KEYS_IN_FORCE]]
    return initiator, responder


def settle(a: StreamSession, b: StreamSession) -> list[list[Record]]:
    """Exchange handshake bytes until both ends are silent; return the records of each."""
    records: list[list[Record]] = [take_all(a), take_all(b)]
    while (from_a := a.take_output()) + (from_b := b.take_output()):
        b.feed(from_a)
        a.feed(from_b)
        records[0] += take_all(a)
        records[1] += take_all(b)
    return records


# -- vectors --


def perform(session: StreamSession, step: dict[str, Any]) -> tuple[bytes, list[Record]]:
    """Carry out a step of the vectors; return the bytes sent and the records received."""
    match step["do"]:
        case "start":
            return session.start(), []
        case "force_kex":
            return session.force_rekey(), []
        case "send_record":
            return session.send(step["type"], bytes.fromhex(step["data"])), []
        case _:
            session.feed(bytes.fromhex(step["data"]))
            records = take_all(session)
            return session.take_output(), records


def test_a_recorded_session_with_rekeys_by_either_side_is_reproduced_exactly() -> None:
    sessions, script = make_pair(VECTORS["setup"])
    for step in VECTORS["steps"]:
        where = f"step {step['n']}, {step['about']}"
        session = sessions[step["who"]]
        script.values = [bytes.fromhex(value) for value in step.get("random", [])]
        if step["ok"]:
            sent, records = perform(session, step)
            assert sent.hex() == "".join(item["bytes"] for item in step["sent"]), where
            expected = [Record(item["type"], bytes.fromhex(item["data"])) for item in step["records"]]
            assert records == expected, where
        else:
            with pytest.raises(UsageError):
                perform(session, step)
        assert not script.values, where
        after = step["after"]
        assert STATES[session.state] == (after["state"], after["outstate"]), where
        assert session.established is after["outstate"], where


def reach(delivered: int) -> dict[str, StreamSession]:
    """Deliver the first messages of the recorded handshake."""
    sessions, script = make_pair(VECTORS["setup"])
    starts = [step for step in VECTORS["steps"] if step["do"] == "start"]
    script.values = [bytes.fromhex(value) for step in starts for value in step["random"]]
    kex = {step["who"]: sessions[step["who"]].start() for step in starts}
    for to, data in [("responder", kex["initiator"]), ("initiator", kex["responder"])][:delivered]:
        sessions[to].feed(data)
        take_all(sessions[to])
    if delivered > 2:
        sessions["responder"].feed(sessions["initiator"].take_output())
        take_all(sessions["responder"])
    if delivered > 3:
        sessions["initiator"].feed(sessions["responder"].take_output())
        take_all(sessions["initiator"])
    return sessions


def delivery(case: dict[str, Any]) -> bytes:
    if "data" in case:
        return bytes.fromhex(case["data"])
    made = case["data_made_of"]
    record = reach(4)["initiator"].send(made["type"], bytes.fromhex(made["byte"]) * made["count"])
    assert (len(record), hashlib.sha256(record).hexdigest()) == (made["length"], made["sha256"])
    return record


@pytest.mark.parametrize("case", NEGATIVE, ids=lambda case: case["about"])
def test_a_single_delivery_has_the_result_of_the_vectors(case: dict[str, Any]) -> None:
    session = reach(case["delivered_before"])[case["who"]]
    session.feed(delivery(case))
    if not case["ok"]:
        with pytest.raises(ProtocolError):
            session.next_record()
        assert session.take_output() == b"", "after an error nothing is sent"
        return
    records = take_all(session)
    assert (session.take_raw(1) is None) is case["record_complete"]
    assert STATES[session.state] == (case["after"]["state"], case["after"]["instate"])
    if case["after"]["instate"]:
        assert len(records) == 1


# -- records and raw bytes --


@given(st.data())
def test_a_stream_may_be_cut_anywhere(data: st.DataObject) -> None:
    initiator, responder = established()
    sent = [
        Record(*record)
        for record in data.draw(st.lists(st.tuples(st.integers(0, 127), st.binary(max_size=40)), max_size=8))
    ]
    whole = b"".join(initiator.send(*record) for record in sent)
    got: list[Record] = []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        responder.feed(whole[:size])
        got += take_all(responder)
        whole = whole[size:]
    assert got == sent


def test_the_whole_first_handshake_and_data_may_arrive_in_one_read() -> None:
    sessions = reach(3)  # the responder's keys are in force; the initiator has not seen its SIG
    responder, initiator = sessions["responder"], sessions["initiator"]
    initiator.feed(responder.take_output() + responder.send(0, b"first") + responder.send(1, b""))
    assert take_all(initiator) == [KEYS_IN_FORCE, Record(0, b"first"), Record(1, b"")]


def test_raw_bytes_can_be_taken_between_two_records() -> None:
    initiator, responder = established()
    raw = b"outside SPTPS, and not a record \xff\xff"
    responder.feed(initiator.send(0, b"21 34") + raw[:10])
    assert responder.next_record() == Record(0, b"21 34")
    assert responder.take_raw(len(raw)) is None
    responder.feed(raw[10:] + initiator.send(0, b"next"))
    assert responder.take_raw(len(raw)) == raw
    assert responder.next_record() == Record(0, b"next")
    assert responder.take_raw(0) == b""
    assert responder.next_record() is None


def test_the_largest_record_passes_and_a_larger_one_is_refused_locally() -> None:
    initiator, responder = established()
    responder.feed(initiator.send(0, bytes(MAX_RECORD_DATA)))
    assert responder.next_record() == Record(0, bytes(MAX_RECORD_DATA))
    with pytest.raises(UsageError):
        initiator.send(0, bytes(MAX_RECORD_DATA + 1))
    responder.feed(initiator.send(0, b"the refused record used no number"))
    assert responder.next_record() is not None


@pytest.mark.parametrize("limit", [10**6, 5])
def test_many_records_leave_as_they_would_one_by_one(limit: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "REKEY_AFTER", limit)
    data = [bytes([number]) * number for number in range(4)]
    for _ in range(2):
        (one, two), (plain, _) = established(), established()
        for _ in range(3):
            together = one.send_all(7, data)
            assert together == b"".join([plain.send(7, each) for each in data])
            two.feed(together)
            found = [record for record in take_all(two) if record.type == 7]
            assert [record.data for record in found] == data
            assert one.send_all(7, []) == b""
    with pytest.raises(UsageError):
        one.send_all(0, [b"", bytes(MAX_RECORD_DATA + 1)])
    with pytest.raises(UsageError):
        one.send_all(128, [b""])


@pytest.mark.parametrize("type_", [-1, 128, 129, 255])
def test_a_reserved_type_is_refused_locally(type_: int) -> None:
    initiator, _ = established()
    with pytest.raises(UsageError):
        initiator.send(type_, b"")


@pytest.mark.parametrize("length", [0, 63, 64, 66, 65535])
def test_an_impossible_length_in_the_handshake_is_refused_before_the_record_is_read(length: int) -> None:
    session = reach(0)["responder"]
    session.feed(length.to_bytes(2, "big"))
    with pytest.raises(DecodeError):
        session.next_record()


def test_bytes_before_the_start_are_the_peers_fault() -> None:
    session = make_pair(VECTORS["setup"])[0]["responder"]
    session.feed(bytes(100))
    with pytest.raises(ProtocolError):
        session.next_record()


def test_a_caller_that_takes_all_records_leaves_less_than_one_in_the_buffer() -> None:
    initiator, responder = established()
    sent = b"".join(initiator.send(0, bytes(1000)) for _ in range(50))
    for start in range(0, len(sent), 777):
        responder.feed(sent[start : start + 777])
        take_all(responder)
        assert len(responder._input) < 1019


@given(
    st.integers(0, 4),
    st.sampled_from(["initiator", "responder"]),
    st.lists(st.binary(max_size=200), max_size=4),
)
def test_arbitrary_bytes_raise_only_protocol_errors(delivered: int, who: str, pieces: list[bytes]) -> None:
    session = reach(delivered)[who]
    try:
        for piece in pieces:
            session.feed(piece)
            take_all(session)
    except ProtocolError:
        pass


@given(st.integers(0, 7), st.integers(0, 200))
def test_a_record_with_a_changed_bit_is_never_accepted(bit: int, at: int) -> None:
    initiator, responder = established()
    record = bytearray(initiator.send(3, bytes(40)))
    record[2 + at % (len(record) - 2)] ^= 1 << bit
    responder.feed(bytes(record))
    with pytest.raises(AuthenticationError):
        responder.next_record()


# -- changes of keys --


@pytest.mark.parametrize("starters", [[0], [1], [0, 1]], ids=["initiator", "responder", "both"])
def test_data_flows_during_and_after_a_change_of_keys(starters: list[int]) -> None:
    pair = established()
    for i in starters:
        pair[1 - i].feed(pair[i].force_rekey())
    for i in range(2):
        pair[1 - i].feed(pair[i].send(0, b"during"))
    assert [sorted(records) for records in settle(*pair)] == [[Record(0, b"during"), KEYS_IN_FORCE]] * 2
    for i in range(2):
        pair[1 - i].feed(pair[i].send(0, b"after"))
        assert take_all(pair[1 - i]) == [Record(0, b"after")]


def test_a_session_changes_worn_out_keys_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    initiator, responder = established()
    monkeypatch.setattr(stream, "REKEY_AFTER", 3)
    sizes = []
    for _ in range(20):
        record = initiator.send(0, b"x")
        sizes.append(len(record))
        responder.feed(record)
        assert settle(initiator, responder)[1] in ([Record(0, b"x")], [Record(0, b"x"), KEYS_IN_FORCE])
    assert set(sizes) == {20, 20 + 84}, "now and then a KEX record precedes the data"
    assert sizes.count(20 + 84) > 3


def test_a_session_that_only_receives_also_asks_for_new_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    initiator, responder = established()
    monkeypatch.setattr(stream, "REKEY_AFTER", 3)
    for _ in range(2):
        responder.feed(initiator.send(0, b"x"))
        take_all(responder)
    assert len(responder.send(0, b"")) == 19
    responder.feed(initiator.send(0, b"x"))
    take_all(responder)
    assert len(responder.send(0, b"")) == 19 + 84
    assert responder.state is State.REKEY_KEX


def test_nothing_is_sent_under_a_key_that_is_used_up(monkeypatch: pytest.MonkeyPatch) -> None:
    initiator, _ = established()
    monkeypatch.setattr(stream, "REKEY_AFTER", 3)
    monkeypatch.setattr(stream, "KEY_LIMIT", 6)
    for _ in range(5):
        initiator.send(0, b"")
    with pytest.raises(ProtocolError, match="due"):
        initiator.send(0, b"")


def test_a_repeated_number_under_the_same_key_ends_the_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    initiator, responder = established()
    monkeypatch.setattr(stream, "_SEQNO_MASK", 7)
    records = [initiator.send(0, b"") for _ in range(9)]
    for record in records[:8]:
        responder.feed(record)
        assert responder.next_record() == Record(0, b"")
    responder.feed(records[8])
    with pytest.raises(ProtocolError, match="used up"):
        responder.next_record()


def test_sequence_numbers_wrap_around_under_new_keys() -> None:
    initiator, responder = established()
    initiator._out_seqno = responder._in_seqno = 2**32 - 2
    for data in (b"a", b"b", b"c"):
        responder.feed(initiator.send(0, data))
        assert responder.next_record() == Record(0, data)
    assert initiator._out_seqno == responder._in_seqno == 1


def test_the_sequence_number_is_authenticated() -> None:
    initiator, _ = established()
    record = initiator.send(5, b"abc")
    sealer = initiator._sealer
    assert isinstance(sealer, RecordCipher)
    assert record == b"\0\3" + sealer.seal(2, b"\5abc")


def test_repr_shows_no_key() -> None:
    initiator, _ = established()
    assert repr(initiator) == "<StreamSession <Handshake initiator, waits for nothing: keys are in force>>"


# -- SPTPSCipher --


def pair_with(one: SptpsCipher, two: SptpsCipher) -> tuple[StreamSession, StreamSession]:
    keys = [PrivateKey.from_seed(bytes((i,)) * 32) for i in range(2)]
    a, b = (
        StreamSession(role, keys[i], keys[1 - i].public, b"label", random.Random(i).randbytes, cipher)
        for i, (role, cipher) in enumerate(((Role.INITIATOR, one), (Role.RESPONDER, two)))
    )
    to_b, to_a = a.start(), b.start()
    b.feed(to_b)
    a.feed(to_a)
    return a, b


def test_two_ends_with_aes_exchange_records_and_change_keys() -> None:
    a, b = pair_with(SptpsCipher.AES_256_GCM, SptpsCipher.AES_256_GCM)
    for _ in range(2):
        for _ in range(3):
            a.next_record()
            b.feed(a.take_output())
            b.next_record()
            a.feed(b.take_output())
        assert a.state is b.state is State.ESTABLISHED
        b.feed(a.send(1, b"data"))
        assert b.next_record() == Record(1, b"data")
        b.feed(a.force_rekey())


@pytest.mark.parametrize("one", SptpsCipher)
def test_ends_with_different_ciphers_refuse_the_first_signature(one: SptpsCipher) -> None:
    """So that a node that does not know AES, such as a C node, never gets a record with it."""
    (two,) = (cipher for cipher in SptpsCipher if cipher is not one)
    a, b = pair_with(one, two)
    assert b.next_record() is None
    assert b.take_output() == b""
    assert a.next_record() is None
    b.feed(a.take_output())
    with pytest.raises(AuthenticationError, match="SPTPSCipher"):
        b.next_record()
    assert b.take_output() == b""
    assert not a.established
    assert not b.established


def test_the_label_carries_the_cipher_as_tincr_writes_it() -> None:
    assert [cipher.label_suffix for cipher in SptpsCipher] == [b"", b"\0\1"]
