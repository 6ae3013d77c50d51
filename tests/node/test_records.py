"""What the records of nodes, connections and outgoing entries tell about themselves."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.node.records import Entry
from pytinc.protocol.outgoing import Candidate, Outgoing, Try, Wait
from pytinc.wire.address import Address

if TYPE_CHECKING:
    from node.conftest import MakeCore, MakeStage


@pytest.mark.parametrize(
    ("options", "version", "sptps", "tcp_only"),
    [
        (0, 0, False, False),
        (0x01000000, 1, False, False),
        (0x02000000, 2, True, False),
        (0x0700000C, 7, True, False),
        (0x07000003, 7, True, True),
        (0x07000001, 7, True, False),
    ],
)
def test_the_options_of_a_node_tell_its_version_and_whether_it_takes_udp(
    core: MakeCore, options: int, version: int, sptps: bool, tcp_only: bool
) -> None:
    alpha = core()
    beta = alpha.new_peer(alpha.table.add("beta"))
    beta.options = options
    assert (beta.version, beta.sptps, beta.tcp_only) == (version, sptps, tcp_only)


def test_a_neighbour_is_a_node_with_an_activated_connection(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    beta.link("beta", "gamma")
    peers = alpha.node.peers
    assert {name: (peer.reachable, peer.is_neighbour) for name, peer in peers.items()} == {
        "alpha": (True, False),
        "beta": (True, True),
        "gamma": (True, False),
    }


def test_the_age_of_a_key_begins_with_the_handshake_that_made_it(stage: MakeStage) -> None:
    alpha = stage("beta")
    far = FarEnd(alpha.neighbour("beta"))
    peer = alpha.node.peers["beta"]
    assert not peer.valid_key
    alpha.now = 3.0
    far.open()
    assert peer.valid_key
    assert peer.key_since == 3.0
    alpha.now = 20.0
    far.say_records([bytes(60)])
    assert peer.key_since == 3.0
    alpha.now = 40.0
    assert far.session is not None
    far.session.force_rekey()
    far.say_records(far.session.take_output())
    far.finish()
    assert peer.key_since == 40.0
    session = peer.slot.session
    assert session is not None
    peer.note_key(session, 50.0)
    assert peer.key_since == 40.0


def test_a_connection_has_no_name_before_the_greeting_and_shows_its_address(stage: MakeStage) -> None:
    alpha = stage("beta")
    remote = Address("10.99.0.2", "40000")
    number = alpha.node.meta_accepted(remote, Address("10.99.0.1", "655"), alpha.now)
    connection = alpha.node.core.connections[number]
    assert connection.describe() == "<unknown> (10.99.0.2 port 40000)"
    alpha.node.meta_data(number, b"0 beta 17.7\n", alpha.now)
    assert connection.describe() == "beta (10.99.0.2 port 40000)"
    assert not connection.activated
    assert not connection.dialled


def test_a_connection_that_we_opened_says_so_and_serves_its_entry(stage: MakeStage) -> None:
    alpha = stage("beta", connect_to=("beta",))
    alpha.answer_dial()
    (connection,) = alpha.node.core.activated
    assert connection.dialled
    assert connection.version == 7
    assert connection.outgoing is not None
    assert connection.outgoing.connection is connection


def test_records_show_names_and_no_secrets(core: MakeCore) -> None:
    alpha = core()
    assert repr(alpha.me) == "<Peer alpha>"


def test_an_entry_that_begins_anew_tries_the_cached_address_first_again() -> None:
    entry = Entry("beta", Outgoing("beta", 900))
    cached = Address("10.0.0.7", "655")
    known = Candidate(cached=(cached,), configured=(("10.0.0.8", "655"),))

    def first_of_round() -> str:
        found = entry.state.next(known)
        assert isinstance(found, Try)
        while not isinstance(entry.state.next(known), Wait):
            pass
        return found.address.host

    assert [first_of_round(), first_of_round()] == ["10.0.0.7", "10.0.0.8"]
    entry.restart_addresses()
    assert first_of_round() == "10.0.0.7"
