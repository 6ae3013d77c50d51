"""REQ_KEY, ANS_KEY and KEY_CHANGED: acted on if they are for us, else passed on towards their target."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.config.settings import Forwarding
from pytinc.wire import b64
from pytinc.wire.datagram import TYPE_MAC, node_id

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

FRAME = bytes.fromhex("ffffffffffff02000000000b88b5") + bytes(50)


@pytest.fixture
def pair(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    """Alpha with two neighbours; delta is behind gamma, and nobody reaches omega."""
    return make_pair(stage)


def make_pair(stage: MakeStage, **changes: object) -> tuple[Stage, Scripted, Scripted]:
    alpha = stage("beta", "gamma", "delta", "omega", **changes)
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.link("gamma", "delta")
    for peer in (beta, gamma):
        peer.heard()
    return alpha, beta, gamma


@pytest.mark.parametrize(
    "line",
    [
        "15 beta delta 15 AAAAAAIA",
        "15 beta delta 19",
        "15 beta delta 20 " + "k" * 43,
        "15 beta delta 77 what",
        "15 beta delta",
        "16 beta delta AAAAAAIA -1 -1 -1 0",
        "16 beta delta KEY 91 64 4 0",
        "16 beta delta AAAA -1 -1 -1 0 10.0.0.7 655",
    ],
)
def test_a_request_for_another_node_goes_to_its_next_hop_alone(
    pair: tuple[Stage, Scripted, Scripted], line: str
) -> None:
    _, beta, gamma = pair
    assert beta.say(line) == []
    assert gamma.lines == [line]


@pytest.mark.parametrize(
    "line",
    [
        "15 beta omega 15 AAAAAAIA",
        "16 beta omega AAAA -1 -1 -1 0",
        "15 nobody delta 19",
        "15 beta nobody 19",
        "16 nobody delta AAAA -1 -1 -1 0",
        "16 beta nobody AAAA -1 -1 -1 0",
        "15 alpha delta 19",
        "16 alpha delta AAAA -1 -1 -1 0",
        "15 omega alpha 19",
        "15 beta alpha 15",
        "15 beta alpha 15 !!!!",
        "15 beta alpha 21 !!!!",
        "15 beta alpha 77 what",
        "15 beta alpha",
        "16 beta alpha AAAA 91 64 4 0",
        "16 beta alpha AAAA -1 -1 -1 13",
        "16 beta alpha !!!! -1 -1 -1 0",
    ],
)
def test_a_senseless_request_is_ignored(pair: tuple[Stage, Scripted, Scripted], line: str) -> None:
    alpha, beta, gamma = pair
    assert beta.say(line) == []
    assert gamma.lines == []
    assert not beta.closed
    assert alpha.node.peers["beta"].slot.session is None


@pytest.mark.parametrize(
    "line", ["15 beta gamma 19", "15 beta gamma 15 AAAAAAIA", "16 beta gamma AAAAAAIA -1 -1 -1 0"]
)
def test_a_tunnel_server_passes_nothing_on(stage: MakeStage, line: str) -> None:
    alpha = stage("beta", "gamma", tunnel_server=True)
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.heard()
    beta.say(line)
    assert gamma.heard() == []
    assert not beta.closed


def test_our_public_key_is_told_to_who_asks(pair: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, gamma = pair
    assert beta.say("15 beta alpha 19") == [f"15 alpha beta 20 {alpha.keys['alpha'].public.text}"]
    assert gamma.say("15 delta alpha 19") == [f"15 alpha delta 20 {alpha.keys['alpha'].public.text}"]


@pytest.mark.parametrize(
    ("mtu", "line", "told"),
    [
        (1400, "16 beta delta AAAA -1 -1 -1 0", " 10.99.0.2 655"),
        (0, "16 beta delta AAAA -1 -1 -1 0", ""),  # delta's frames do not come to us by UDP
        (1400, "16 beta delta AAAA -1 -1 -1 0 10.0.0.7 655", ""),
    ],
)
def test_an_answer_on_its_way_is_told_the_address_of_its_sender(
    pair: tuple[Stage, Scripted, Scripted], mtu: int, line: str, told: str
) -> None:
    alpha, beta, gamma = pair
    alpha.node.peers["delta"].slot.minmtu = mtu
    beta.say(line)
    assert gamma.lines == [line + told]


def test_an_answer_that_would_grow_too_long_stays_as_it_is(stage: MakeStage) -> None:
    alpha, beta, gamma = make_pair(stage)
    name = "d" * 100
    gamma.link("gamma", name)
    alpha.node.peers[name].slot.minmtu = 1400
    gamma.heard()
    line = f"16 beta {name} {'A' * 2044} -1 -1 -1 0"
    beta.say(line)
    assert gamma.lines == [line]


def test_a_session_is_made_with_a_node_that_asks_and_its_records_are_opened(
    pair: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, gamma = pair
    far = FarEnd(gamma, "delta").open()
    assert alpha.node.peers["delta"].valid_key
    far.send_frame(FRAME)
    assert alpha.frames == [FRAME]


def test_a_record_as_text_is_opened(pair: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, _, gamma = pair
    far = FarEnd(gamma, "delta").open()
    assert far.session is not None
    gamma.say(f"15 delta alpha 21 {b64.encode(far.session.seal(TYPE_MAC, FRAME))}")
    assert alpha.frames == [FRAME]


@pytest.mark.parametrize(
    ("forwarding", "passed"), [(Forwarding.INTERNAL, 1), (Forwarding.OFF, 0), (Forwarding.KERNEL, 0)]
)
def test_a_record_as_text_for_another_node_is_passed_on_with_forwarding_internal_only(
    stage: MakeStage, forwarding: Forwarding, passed: int
) -> None:
    _, beta, gamma = make_pair(stage, forwarding=forwarding)
    beta.say(f"15 beta delta 21 {b64.encode(bytes(100))}")
    assert gamma.packets == [node_id("delta") + node_id("beta") + bytes(100)] * passed
    assert [line for line in gamma.lines if line.startswith("15 beta ")] == []


def test_key_changed_is_passed_on_once_and_for_legacy_nodes_only(
    pair: tuple[Stage, Scripted, Scripted],
) -> None:
    _, beta, gamma = pair
    beta.say("12 1 beta legacy 10.0.0.9 655 100000c 1", "12 2 legacy beta 10.0.0.9 655 100000c 1")
    gamma.heard()
    beta.say("14 3 legacy")
    assert gamma.heard() == ["14 * legacy"]
    beta.say("14 3 legacy", "14 4 beta", "14 5 nobody")
    assert gamma.heard() == []
