"""Keys with other nodes: asked for, answered, crossing, renewed, and what bad records lead to.

See docs/protocol-meta.md, "Sessions between nodes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd, Stage
from pytinc.config.settings import HostSettings
from pytinc.crypto.keys import EphemeralKey, PrivateKey
from pytinc.node.actions import AppendPublicKey
from pytinc.node.records import ANSWER_BURST
from pytinc.node.sessions import (
    COLLISION_WINDOW,
    CROSSED_RETRY,
    KEY_ANSWER_WINDOW,
    REKEY_SPACING,
    SESSION_RETRY,
    SILENCE,
    udp_label,
)
from pytinc.protocol.sptps.handshake import Role
from pytinc.wire import b64
from pytinc.wire.address import Address
from pytinc.wire.capabilities import Capability, format_block
from pytinc.wire.datagram import TYPE_PROBE
from pytinc.wire.records import TYPE_HANDSHAKE, format_kex
from pytinc.wire.requests import AnsKey, ReqKey

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted
    from pytinc.node.records import Peer

FRAME = bytes.fromhex("ffffffffffff02000000000b88b5") + bytes(50)


def request(alpha: Stage, name: str) -> None:
    """Have the node ask for a key, unless it waits for one."""
    peer = alpha.node.peers[name]
    alpha.call(lambda node, now: node.sessions.request(peer, now))
    alpha.call(lambda node, now: node.meta_output.flush(now))


def requests(peer: Scripted, name: str | None = None) -> int:
    """Return how often a key was asked for since the last time."""
    return sum(line.startswith(f"15 {peer.stage.name} {name or peer.name} 15 ") for line in peer.heard())


def works(alpha: Stage, far: FarEnd) -> bool:
    """Tell whether frames pass in both directions."""
    peer = alpha.node.peers[far.name]
    session = peer.slot.session
    assert far.session is not None
    if session is None or far.session.receive(session.seal(0, b"from alpha")) is None:
        return False
    before = len(alpha.frames)
    far.send_frame(FRAME)
    return len(alpha.frames) == before + 1


def test_the_label_names_initiator_and_responder_and_ends_with_a_nul_byte() -> None:
    assert udp_label("alpha", "beta") == b"tinc UDP key expansion alpha beta\0"


# -- asking --


def test_a_request_is_answered_and_frames_pass(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    request(alpha, "beta")
    peer = alpha.node.peers["beta"]
    assert peer.waiting_for_key
    assert not peer.valid_key
    assert works(alpha, FarEnd(beta).answer())
    assert not peer.waiting_for_key
    assert "SPTPS key exchange with beta successful" in alpha.logged(3)


def test_a_request_without_an_answer_is_repeated_after_2_4_8_and_then_every_10_seconds(
    stage: MakeStage,
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    times = []
    for tick in range(400):
        alpha.now = tick / 10
        request(alpha, "beta")
        if requests(beta):
            times.append(alpha.now)
    assert times == [0.0, 2.0, 6.0, 14.0, 24.0, 34.0]


def test_a_node_that_knows_no_sptps_is_not_asked(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say("12 1 beta legacy 10.0.0.9 655 100000c 1", "12 2 legacy beta 10.0.0.9 655 100000c 1")
    request(alpha, "legacy")
    assert requests(beta, "legacy") == 0
    assert not alpha.node.peers["legacy"].waiting_for_key


# -- public keys --

STRANGER = PrivateKey.from_seed(bytes(range(32)))


@pytest.fixture
def unknown(stage: MakeStage) -> tuple[Stage, Scripted]:
    """Alpha with the neighbour beta, behind which is a node whose key nobody knows here."""
    alpha = stage("beta")
    alpha.hosts.files["stranger"] = HostSettings("stranger")
    beta = alpha.neighbour("beta")
    beta.link("beta", "stranger")
    beta.heard()
    return alpha, beta


ASK = "15 alpha stranger 19"


def test_an_unknown_key_is_asked_for_once_a_second_and_then_used_and_saved(
    unknown: tuple[Stage, Scripted],
) -> None:
    alpha, beta = unknown
    for now in (0.0, 0.5, 0.9, 1.0, 1.5):
        alpha.now = now
        request(alpha, "stranger")
    assert beta.heard() == [ASK, ASK]
    beta.say(f"15 stranger alpha 20 {STRANGER.public.text}")
    assert alpha.asked(AppendPublicKey) == [AppendPublicKey("stranger", STRANGER.public.text)]
    request(alpha, "stranger")
    assert requests(beta, "stranger") == 1


def test_the_key_of_a_node_without_a_host_file_serves_for_its_session_but_is_not_saved(
    unknown: tuple[Stage, Scripted],
) -> None:
    alpha, beta = unknown
    del alpha.hosts.files["stranger"]
    beta.say("15 stranger alpha 19", f"15 stranger alpha 20 {STRANGER.public.text}")
    assert alpha.asked(AppendPublicKey) == []
    beta.heard()
    request(alpha, "stranger")
    assert requests(beta, "stranger") == 1


@pytest.mark.parametrize(("wait", "taken"), [(KEY_ANSWER_WINDOW, 1), (KEY_ANSWER_WINDOW + 0.1, 0)])
def test_an_answer_that_comes_too_late_is_not_taken(
    unknown: tuple[Stage, Scripted], wait: float, taken: int
) -> None:
    alpha, beta = unknown
    request(alpha, "stranger")
    alpha.now += wait
    beta.say(f"15 stranger alpha 20 {STRANGER.public.text}")
    assert len(alpha.asked(AppendPublicKey)) == taken


@pytest.mark.parametrize(
    ("name", "asked", "text"),
    [
        ("stranger", False, STRANGER.public.text),
        ("stranger", True, "short"),
        ("beta", True, STRANGER.public.text),  # its key is in its host file
    ],
)
def test_a_key_that_nobody_needs_and_a_bad_one_are_not_taken(
    unknown: tuple[Stage, Scripted], name: str, asked: bool, text: str
) -> None:
    alpha, beta = unknown
    if asked:
        request(alpha, name)
    beta.say(f"15 {name} alpha 20 {text}")
    assert alpha.asked(AppendPublicKey) == []
    assert alpha.node.peers[name].learned_key is None
    assert not beta.closed


def test_a_node_that_asks_for_our_key_is_asked_for_its_own_first(unknown: tuple[Stage, Scripted]) -> None:
    alpha, beta = unknown
    assert beta.say("15 stranger alpha 19") == [
        ASK,
        f"15 alpha stranger 20 {alpha.keys['alpha'].public.text}",
    ]


# -- answering --


def test_a_node_that_asks_for_a_key_gets_one(stage: MakeStage) -> None:
    alpha = stage("beta")
    far = FarEnd(alpha.neighbour("beta")).open()
    assert works(alpha, far)


def test_a_new_session_replaces_the_old_one_at_once_when_the_peer_has_signed_it(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    old, new = FarEnd(beta).open(), FarEnd(beta)
    new.say(ReqKey("beta", "alpha", 15, b64.encode(new.make(Role.INITIATOR).start()[0])))
    assert works(alpha, old)
    assert works(alpha, new.finish())
    assert not works(alpha, old)


def forged(alpha: Stage) -> bytes:
    """Return a first handshake record of which nobody can tell that it is not the peer's."""
    kex = format_kex(alpha.rng.randbytes(32), EphemeralKey(alpha.rng.randbytes(32)).public)
    return bytes(4) + bytes([TYPE_HANDSHAKE]) + kex


def test_forged_requests_neither_harm_the_session_nor_pile_up(stage: MakeStage) -> None:
    alpha = stage("beta", "evil")
    beta, evil = alpha.neighbour("beta"), alpha.neighbour("evil")
    far = FarEnd(beta).open()
    beta.heard()
    alpha.now += 1.0
    for _ in range(1000):
        evil.say(ReqKey("beta", "alpha", 15, b64.encode(forged(alpha))))
    assert works(alpha, far)
    assert sum(line.startswith("16 ") for line in beta.heard()) == ANSWER_BURST
    peer = alpha.node.peers["beta"]
    assert (peer.asking, peer.waiting_for_key) == (None, False)
    # The true peer is answered again soon.
    alpha.now += 1.0
    assert works(alpha, FarEnd(beta).open())


def test_forged_requests_do_not_keep_us_from_asking_for_a_key(stage: MakeStage) -> None:
    alpha = stage("beta", "evil")
    beta, evil = alpha.neighbour("beta"), alpha.neighbour("evil")
    asked = 0
    for tick in range(100):
        alpha.now = tick / 10
        evil.say(ReqKey("beta", "alpha", 15, b64.encode(forged(alpha))))
        request(alpha, "beta")
        asked += requests(beta)
    assert asked >= 2
    assert works(alpha, FarEnd(beta).open())


def test_a_request_with_a_bad_record_changes_nothing(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    assert beta.say(f"15 beta alpha 15 {b64.encode(bytes(20))}") == []
    assert works(alpha, far)


def test_the_compression_that_a_peer_asks_for_is_noted(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta)
    first = far.make(Role.INITIATOR).start()
    beta.say(ReqKey("beta", "alpha", 15, b64.encode(first[0])))
    assert far.session is not None
    for line in [line for line in beta.lines if line.startswith("16 alpha beta ")]:
        assert far.session.receive_handshake(b64.decode(line.split(" ")[3]))
    for record in far.session.take_output():
        beta.say(AnsKey("beta", "alpha", b64.encode(record), -1, -1, -1, 9))
    peer = alpha.node.peers["beta"]
    assert (peer.out_compression, peer.slot.compression) == (9, 9)


@pytest.mark.parametrize("asked", [False, True])
def test_an_answer_that_proves_nothing_changes_nothing(stage: MakeStage, asked: bool) -> None:
    alpha = stage("beta", "evil")
    beta, evil = alpha.neighbour("beta"), alpha.neighbour("evil")
    far = FarEnd(beta)
    if asked:
        request(alpha, "beta")  # so that a first record is taken
    else:
        far.open()
    peer = alpha.node.peers["beta"]
    address = peer.address
    for record in (bytes(70), bytes(3), bytes(4) + b"\0data", forged(alpha)):
        seen = Address("10.6.6.6", "666")
        evil.say(AnsKey("beta", "alpha", b64.encode(record), -1, -1, -1, 9, seen))
    assert (peer.out_compression, peer.slot.compression, peer.address) == (0, 0, address)
    if not asked:
        assert works(alpha, far)


def test_a_node_that_answers_a_forged_request_gets_new_keys_at_once(stage: MakeStage) -> None:
    """A C node drops its keys for it, and then waits for ten seconds."""
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    for _ in range(3):
        alpha.now += 0.2
        beta.heard()
        far.say_records([forged(alpha)])
        assert works(alpha, far)
        alpha.call(lambda node, now: node.meta_output.flush(now))
        far = FarEnd(beta).answer()
        assert works(alpha, far)


def test_a_pytinc_node_keeps_its_keys_and_needs_no_new_ones(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    far.send(TYPE_PROBE, b"\0" + format_block(Capability.FAST_TAG) + bytes(20))
    beta.heard()
    far.say_records([forged(alpha)])
    assert restarts(alpha, beta) == 0
    assert works(alpha, far)


def test_a_bad_first_answer_does_not_keep_out_the_true_one(stage: MakeStage) -> None:
    alpha = stage("beta", "evil")
    beta, evil = alpha.neighbour("beta"), alpha.neighbour("evil")
    request(alpha, "beta")
    for record in (bytes(4) + b"\0data", bytes(4) + b"\x80short"):
        evil.say(AnsKey("beta", "alpha", b64.encode(record), -1, -1, -1, 0))
    assert works(alpha, FarEnd(beta).answer())


# -- requests that cross --


def crossed(name: str) -> tuple[Stage, Scripted]:
    """A node that has just asked its neighbour for a key."""
    node = Stage(name, ("beta",))
    beta = node.neighbour("beta")
    request(node, "beta")
    return node, beta


def test_the_node_whose_name_sorts_first_keeps_its_own_request() -> None:
    alpha, beta = crossed("alpha")
    ours = FarEnd(beta)
    theirs = FarEnd(beta).open()
    assert not any(line.startswith("16 ") for line in beta.lines)
    assert not works(alpha, theirs)
    assert works(alpha, ours.answer())


def tick(node: Stage) -> None:
    node.call(lambda node, now: node.tick(now))


def test_a_request_that_crossed_and_was_lost_is_repeated_soon() -> None:
    alpha, beta = crossed("alpha")
    FarEnd(beta).open()  # a request, which alpha ignores
    beta.heard()
    alpha.now += CROSSED_RETRY - 0.01
    tick(alpha)
    assert requests(beta) == 0
    alpha.now += 0.01
    assert alpha.node.sessions.next_deadline() == pytest.approx(alpha.now)
    tick(alpha)
    assert works(alpha, FarEnd(beta).answer())


def test_a_request_that_crossed_and_was_answered_is_not_repeated() -> None:
    alpha, beta = crossed("alpha")
    ours = FarEnd(beta)
    FarEnd(beta).open()
    assert works(alpha, ours.answer())
    beta.heard()
    alpha.now += CROSSED_RETRY
    tick(alpha)
    assert requests(beta) == 0


def test_asking_again_does_not_disturb_a_session_that_is_almost_ready() -> None:
    omega, beta = crossed("omega")
    theirs = FarEnd(beta)
    first = theirs.make(Role.INITIATOR).start()
    beta.say(ReqKey("beta", "omega", 15, b64.encode(first[0])))
    peer = omega.node.peers["beta"]
    omega.call(lambda node, now: node.sessions.start(peer, now))
    assert works(omega, theirs.finish())


@pytest.mark.parametrize("peer_yields", [True, False])
def test_the_other_one_holds_both_sessions_until_the_peer_shows_which_it_goes_on_with(
    peer_yields: bool,
) -> None:
    omega, beta = crossed("omega")
    theirs = FarEnd(beta)
    first = theirs.make(Role.INITIATOR).start()
    beta.say(ReqKey("beta", "omega", 15, b64.encode(first[0])))
    far = FarEnd(beta).answer() if peer_yields else theirs.finish()
    assert works(omega, far)
    peer = omega.node.peers["beta"]
    assert (peer.asking, peer.answering) == (None, None)


def test_a_request_that_comes_later_does_not_cross() -> None:
    alpha, beta = crossed("alpha")
    alpha.now += COLLISION_WINDOW
    assert works(alpha, FarEnd(beta).open())


# -- new keys --


def rekeys(peer: Scripted) -> int:
    """Return how many handshake records a peer got since the last time."""
    return sum(line.startswith("16 ") for line in peer.heard())


def test_expired_keys_are_renewed_one_peer_after_the_other(stage: MakeStage) -> None:
    names = ("beta", "gamma", "delta", "epsilon")
    alpha = stage(*names, key_expire=3600)
    peers = [alpha.neighbour(name) for name in names]
    ends = [FarEnd(peer).open() for peer in peers[:3]]
    for peer in peers:
        peer.heard()
    sessions = alpha.node.sessions
    sessions.rekey_all(10.0)
    assert sessions.next_deadline() == 10.0
    counts = []
    for now in (10.0, 10.0 + REKEY_SPACING - 0.01, 10.0 + REKEY_SPACING, 10.0 + 2 * REKEY_SPACING):
        alpha.now = now
        alpha.call(lambda node, now: node.tick(now))
        counts.append([rekeys(peer) for peer in peers])
    # In the order in which the nodes became known, which is that of their names.
    assert counts == [[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0]]
    assert sessions.next_deadline() == float("inf")
    assert all(works(alpha, far) for far in ends)  # under the old key, until the peer has answered


def test_many_keys_are_renewed_within_a_quarter_of_key_expire(stage: MakeStage) -> None:
    names = ("beta", "gamma", "delta", "epsilon")
    alpha = stage(*names, key_expire=1)
    peers = [alpha.neighbour(name) for name in names]
    for peer in peers:
        FarEnd(peer).open()
        peer.heard()
    alpha.node.sessions.rekey_all(0.0)
    alpha.now = 0.25
    alpha.call(lambda node, now: node.sessions.tick(now))
    alpha.call(lambda node, now: node.meta_output.flush(now))
    assert [rekeys(peer) for peer in peers] == [1, 1, 1, 1]


def test_a_peer_that_was_forgotten_meanwhile_or_has_no_key_is_passed_over(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    for peer in (beta, gamma):
        FarEnd(peer).open()
    alpha.node.sessions.rekey_all(0.0)
    beta.hang_up()
    gamma.heard()
    alpha.now = 1.0
    alpha.call(lambda node, now: node.sessions.tick(now))
    alpha.call(lambda node, now: node.meta_output.flush(now))
    assert rekeys(gamma) == 1
    alpha.node.sessions.rekey_all(2.0)
    assert alpha.node.sessions.next_deadline() == 2.0


def test_after_the_exchange_the_new_key_is_in_force(stage: MakeStage) -> None:
    alpha = stage("beta")
    far = FarEnd(alpha.neighbour("beta")).open()
    assert far.session is not None
    alpha.node.sessions.rekey_all(0.0)
    alpha.call(lambda node, now: node.tick(now))
    far.finish()
    assert far.session.key_changes == 2
    assert works(alpha, far)


def test_a_key_is_renewed_before_it_has_sealed_too_many_records(
    stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    FarEnd(beta).open()
    peer = alpha.node.peers["beta"]
    beta.heard()
    for limit, count in ((1000, 0), (0, 1), (0, 0)):  # once it is under way there is no second one
        monkeypatch.setattr("pytinc.protocol.sptps.datagram.REKEY_AFTER", limit)
        alpha.call(lambda node, now: node.sessions.renew_worn_key(peer, now))
        alpha.call(lambda node, now: node.meta_output.flush(now))
        assert rekeys(beta) == count


def test_a_change_of_keys_whose_records_are_lost_gives_way_to_a_new_session(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    peer = alpha.node.peers["beta"]

    def upkeep(now: float) -> None:
        alpha.now = now
        alpha.call(lambda node, now: node.sessions.renew_worn_key(peer, now))
        alpha.call(lambda node, now: node.meta_output.flush(now))

    for number in range(1, 4):  # exchanges that end are no reason, however far apart the looks are
        alpha.node.sessions.rekey_all(alpha.now)
        alpha.call(lambda node, now: node.sessions.tick(now))
        upkeep(100.0 * number)
        far.finish()
        assert far.session is not None
        assert far.session.key_changes == 1 + number
    assert restarts(alpha, beta) == 0
    alpha.node.sessions.rekey_all(alpha.now)
    alpha.call(lambda node, now: node.sessions.tick(now))
    for after, expected in ((0.0, 0), (SESSION_RETRY, 0), (SESSION_RETRY + 0.1, 1), (15.0, 0)):
        upkeep(400.0 + after)
        assert restarts(alpha, beta) == expected
    assert works(alpha, far), "the old keys serve until there are new ones"


# -- bad records --


def restarts(alpha: Stage, beta: Scripted) -> int:
    alpha.call(lambda node, now: node.meta_output.flush(now))
    return requests(beta)


def fail(alpha: Stage, peer: Peer, now: float) -> None:
    alpha.now = now
    alpha.call(lambda node, now: node.sessions.failed(peer, now))


def test_a_new_key_is_asked_for_when_only_bad_records_came_for_three_seconds(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    peer = alpha.node.peers["beta"]
    for now in (20.0, 21.0, 20.0 + SILENCE):
        fail(alpha, peer, now)
        assert restarts(alpha, beta) == 0
    fail(alpha, peer, 20.1 + SILENCE)
    assert restarts(alpha, beta) == 1
    assert works(alpha, far)  # a forger may have made the bad ones
    alpha.now += 2.0
    alpha.call(lambda node, now: node.tunnels.upkeep(peer, now, search_mtu=False))
    alpha.call(lambda node, now: node.meta_output.flush(now))
    new = FarEnd(beta).answer()  # to a second request
    assert works(alpha, new)


def test_something_good_in_between_saves_them(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    peer = alpha.node.peers["beta"]
    for now in (20.0, 22.0, 24.0, 26.0, 28.0):
        fail(alpha, peer, now)
        far.send_frame(FRAME)
    assert restarts(alpha, beta) == 0
    assert works(alpha, far)


@pytest.mark.parametrize(("wait", "count"), [(SESSION_RETRY, 0), (SESSION_RETRY + 0.1, 1)])
def test_a_bad_answer_repeats_the_request_unless_it_has_just_been_sent(
    stage: MakeStage, wait: float, count: int
) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    request(alpha, "beta")
    alpha.now += wait
    beta.heard()
    FarEnd(beta).say_records([bytes(60)])
    assert restarts(alpha, beta) == count


def test_bad_answers_while_a_key_is_in_use_count_like_bad_records(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    far = FarEnd(beta).open()
    beta.heard()
    counts = []
    for now in (20.0, 20.0 + SILENCE, 20.1 + SILENCE, 30.0 + SILENCE, 30.2 + SILENCE):
        alpha.now = now
        far.say_records([bytes(60)])
        counts.append(restarts(alpha, beta))
    assert counts == [0, 0, 1, 0, 0]


def test_an_answer_without_a_question_is_ignored(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    FarEnd(beta).say_records([bytes(60)])
    assert restarts(alpha, beta) == 0
    assert not alpha.node.peers["beta"].waiting_for_key


def test_a_node_that_comes_back_has_no_keys_and_is_asked_at_once(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    FarEnd(beta).open()
    peer = alpha.node.peers["beta"]
    beta.hang_up()
    assert not peer.valid_key
    assert not peer.waiting_for_key
    again = alpha.neighbour("beta")
    request(alpha, "beta")
    assert requests(again) == 1
