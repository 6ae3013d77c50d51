"""The handshake machine without framing: every state against every message.

See docs/protocol-sptps.md, "Handshake".
"""

from __future__ import annotations

import gc
import json
import random
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.crypto.keys import EphemeralKey, PrivateKey
from pytinc.crypto.prf import prf
from pytinc.errors import AuthenticationError, DecodeError, ProtocolError, UnexpectedRequest, UsageError
from pytinc.protocol.sptps import handshake
from pytinc.protocol.sptps.handshake import Handshake, Role, State, Step
from pytinc.wire.records import KEX_SIZE, SIG_SIZE, format_kex

FOLDER = Path(__file__).parents[2] / "data/vectors"
KEYS = {
    Role.INITIATOR: PrivateKey.from_seed(b"\xa1" * 32),
    Role.RESPONDER: PrivateKey.from_seed(b"\xb2" * 32),
}
OTHER = {Role.INITIATOR: Role.RESPONDER, Role.RESPONDER: Role.INITIATOR}
LABEL = b"sptps_test"
SIZES = {"KEX": KEX_SIZE, "SIG": SIG_SIZE, "ACK": 0}


def machine(role: Role, label: bytes = LABEL, seed: int = 0) -> Handshake:
    source = random.Random(f"{role} {seed}")
    return Handshake(role, KEYS[role], KEYS[OTHER[role]].public, label, source.randbytes)


class Pair:
    """Two machines; keeps the messages that each must send, and the keys that each uses."""

    def __init__(self, **arguments: Any) -> None:
        self.ends = {role: machine(role, **arguments) for role in Role}
        self.queues: dict[Role, list[bytes]] = {role: [self.ends[role].start()] for role in Role}
        self.out: dict[Role, bytes | None] = dict.fromkeys(Role)
        self.into: dict[Role, bytes | None] = dict.fromkeys(Role)
        self.done = dict.fromkeys(Role, 0)

    def force(self, role: Role) -> None:
        self.queues[role].append(self.ends[role].force())

    def deliver(self, to: Role) -> Step:
        step = self.ends[to].receive(self.queues[OTHER[to]].pop(0))
        self.queues[to] += step.send
        self.out[to] = step.new_out or self.out[to]
        self.into[to] = step.new_in or self.into[to]
        self.done[to] += step.done
        return step

    def settle(self, choose: Callable[[list[Role]], Role] = lambda ready: ready[0]) -> None:
        while ready := [role for role in Role if self.queues[OTHER[role]]]:
            self.deliver(choose(ready))

    def assert_agreed(self, exchanges: int) -> None:
        assert all(end.state is State.ESTABLISHED for end in self.ends.values())
        assert self.done == dict.fromkeys(Role, exchanges)
        initiator, responder = Role
        assert self.out[initiator] == self.into[responder] is not None
        assert self.out[responder] == self.into[initiator] is not None
        assert self.out[initiator] != self.out[responder]


@pytest.mark.parametrize("name", ["sptps_stream", "sptps_datagram"])
def test_signed_messages_and_derived_keys_equal_the_vectors(name: str) -> None:
    vectors = json.loads((FOLDER / f"{name}.json").read_text())
    steps = vectors["steps"]
    signed = [(step["who"], step["signed"]) for step in steps if "signed" in step]
    derived = [step["derived"] for step in steps if "derived" in step]
    assert len(signed) == len(derived) >= 6
    for who, case in signed:
        key = PrivateKey.from_seed(bytes.fromhex(vectors["setup"][f"{who}_key_seed"]))
        assert key.sign(bytes.fromhex(case["message"])).hex() == case["signature"]
    for case in derived:
        material = prf(bytes.fromhex(case["shared"]), bytes.fromhex(case["seed"]), 128)
        assert material.hex() == case["key0"] + case["key1"]


def test_the_first_handshake_gives_both_ends_the_same_keys() -> None:
    pair = Pair()
    pair.settle()
    pair.assert_agreed(1)


@given(st.lists(st.sampled_from(["initiator", "responder", "both"]), max_size=3), st.randoms())
def test_both_ends_agree_after_any_key_exchanges_in_any_order_of_delivery(
    starters: list[str], rng: random.Random
) -> None:
    pair = Pair()
    pair.settle(rng.choice)
    seen = {pair.out[Role.INITIATOR]}
    for starter in starters:
        for role in Role:
            if starter in (role.value, "both"):
                pair.force(role)
        pair.settle(rng.choice)
        seen.add(pair.out[Role.INITIATOR])
    pair.assert_agreed(1 + len(starters))
    assert len(seen) == 1 + len(starters), "every exchange gives new keys"


def test_nothing_that_outlives_a_handshake_gives_its_keys_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[weakref.ref[EphemeralKey]] = []

    class Watched(EphemeralKey):
        def __init__(self, private: bytes) -> None:
            super().__init__(private)
            made.append(weakref.ref(self))

    monkeypatch.setattr(handshake, "EphemeralKey", Watched)
    pair, other = Pair(seed=1), Pair(seed=2)
    assert len([key for key in made if key() is not None]) == 4
    for each in (pair, other):
        each.settle()
        each.assert_agreed(1)
    gc.collect()
    assert [key() for key in made] == [None] * 4
    # The same long-term keys, and nothing in common.
    assert not {pair.out[role] for role in Role} & {other.out[role] for role in Role}


def reach(state: State, role: Role) -> Handshake:
    """Return a machine of ``role`` in ``state``."""
    if state is State.NEW:
        return machine(role)
    pair = Pair()
    end = pair.ends[role]
    if state is State.FIRST_KEX:
        return end
    if state is State.FIRST_SIG:
        pair.deliver(role)
        return end
    pair.settle()
    if state is not State.ESTABLISHED:
        pair.force(role)
        order = [OTHER[role], role, OTHER[role], role]
        while end.state is not state:
            to = order.pop(0)
            if pair.queues[OTHER[to]]:
                pair.deliver(to)
    return end


EXPECTED = {
    State.FIRST_KEX: "KEX",
    State.FIRST_SIG: "SIG",
    State.ESTABLISHED: "KEX",
    State.REKEY_KEX: "KEX",
    State.REKEY_SIG: "SIG",
    State.REKEY_ACK: "ACK",
}


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize("message", SIZES)
@pytest.mark.parametrize("state", State)
def test_each_state_accepts_only_its_message_and_an_error_changes_nothing(
    state: State, message: str, role: Role
) -> None:
    end = reach(state, role)
    assert end.state is state
    data = bytes(SIZES[message])
    if EXPECTED.get(state) == message and message != "SIG":
        end.receive(data)
        assert end.state is not state
    else:  # a message out of turn, or a SIG that does not verify
        with pytest.raises(ProtocolError):
            end.receive(data)
        assert end.state is state


@pytest.mark.parametrize("state", [state for state in State if state is not State.ESTABLISHED])
def test_a_key_exchange_can_be_forced_only_in_the_established_state(state: State) -> None:
    with pytest.raises(UsageError):
        reach(state, Role.INITIATOR).force()


def test_starting_twice_is_a_usage_error_and_an_early_record_a_protocol_error() -> None:
    end = machine(Role.INITIATOR)
    with pytest.raises(UnexpectedRequest):
        end.receive(bytes(KEX_SIZE))
    end.start()
    with pytest.raises(UsageError):
        end.start()


@pytest.mark.parametrize("role", Role)
def test_our_kex_is_made_after_the_peers_kex_was_checked(role: Role) -> None:
    def no_more(size: int) -> bytes:
        raise AssertionError("randomness was drawn for an invalid KEX")

    end = reach(State.ESTABLISHED, role)
    end._random_bytes = no_more
    for bad in (b"", bytes(64), b"\1" + bytes(64)):
        with pytest.raises(DecodeError):
            end.receive(bad)
    assert end.state is State.ESTABLISHED


def test_another_label_makes_the_signature_invalid() -> None:
    initiator, responder = machine(Role.INITIATOR, b"one"), machine(Role.RESPONDER, b"two")
    kex = initiator.start()
    (sig,) = initiator.receive(responder.start()).send
    responder.receive(kex)
    with pytest.raises(AuthenticationError):
        responder.receive(sig)


def test_a_kex_reflected_to_its_sender_ends_in_an_invalid_signature() -> None:
    end = machine(Role.INITIATOR)
    (sig,) = end.receive(end.start()).send
    with pytest.raises(AuthenticationError):
        end.receive(sig)


@pytest.mark.parametrize("point", [bytes(32), b"\1" + bytes(31)], ids=["order 4", "neutral element"])
def test_an_all_zero_shared_secret_fails_the_handshake(point: bytes) -> None:
    end, peer_kex = machine(Role.RESPONDER), format_kex(bytes(32), point)
    own_kex = end.start()
    end.receive(peer_kex)
    sig = KEYS[Role.INITIATOR].sign(b"\1" + peer_kex + own_kex + LABEL)
    with pytest.raises(AuthenticationError, match="small order"):
        end.receive(sig)
    assert end.state is State.FIRST_SIG


@given(
    st.sampled_from(State), st.sampled_from(Role), st.one_of(st.binary(), st.binary(min_size=64, max_size=65))
)
def test_arbitrary_data_raises_only_protocol_errors(state: State, role: Role, data: bytes) -> None:
    end = reach(state, role)
    try:
        end.receive(data)
    except ProtocolError:
        assert end.state is state


def test_repr_shows_no_key() -> None:
    pair = Pair()
    step = Step(send=(b"abc",), new_out=b"\xaa" * 64, new_in=b"\xbb" * 64, pending_in=b"\xcc" * 64, done=True)
    assert repr(step) == "<Step sends 1, done>"
    assert repr(pair.ends[Role.INITIATOR]) == "<Handshake initiator, waits for first KEX>"
