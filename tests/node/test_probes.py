"""UDP probes: times, destinations, announcements, and the effect of a peer's answers and requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.node.actions import SaveAddressCache, SendDatagram
from pytinc.node.probes import FAST_TAG_PROBES, INCOMPLETE_INTERVAL
from pytinc.protocol.sptps.handshake import State
from pytinc.wire.address import Address
from pytinc.wire.capabilities import IN_REQUEST, IN_SHORT_REPLY, Capability, format_block, parse_block
from pytinc.wire.datagram import DATAGRAM_OVERHEAD, NULL_ID, TYPE_PROBE, node_id

if TYPE_CHECKING:
    from node.conftest import MakeStage, Stage
    from pytinc.node.records import Peer

HOME = ("10.99.0.2", 655)
AWAY = ("10.7.0.1", 4000)


class Pair:
    """Alpha and the other end of its tunnel with beta."""

    def __init__(self, stage: MakeStage, *, takes_super_frames: bool = False) -> None:
        self.alpha: Stage = stage("beta", local_discovery=False, takes_super_frames=takes_super_frames)
        self.far = FarEnd(self.alpha.neighbour("beta")).open()
        self.peer: Peer = self.alpha.node.peers["beta"]

    def upkeep(self) -> None:
        """Have the node look after the tunnel, as it does when there is traffic."""
        self.alpha.call(lambda node, now: node.tunnels.upkeep(self.peer, now, search_mtu=True))

    def sizes(self) -> list[int]:
        """Return the lengths of the requests that came since the last time."""
        return [len(record.data) for _, record in self.far.heard() if record.data[:1] == b"\0"]

    def confirm(self) -> None:
        """Have UDP proved, and the path MTU found."""
        self.upkeep()
        self.far.reply()
        while sizes := self.sizes():
            self.far.reply(max(sizes))
        assert self.peer.slot.confirmed


@pytest.fixture
def pair(stage: MakeStage) -> Pair:
    return Pair(stage)


def test_a_probe_goes_straight_to_the_peer_with_zeros_for_its_id(pair: Pair) -> None:
    pair.upkeep()
    (probe,) = pair.alpha.asked(SendDatagram)
    assert (probe.socket, probe.peer) == (0, "beta")
    assert probe.data.startswith(NULL_ID + node_id("alpha"))
    ((address, record),) = pair.far.heard()
    assert address == HOME
    assert record.type == TYPE_PROBE
    assert len(record.data) == 18


def test_without_a_key_no_probe_is_sent(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.neighbour("beta")
    peer = alpha.node.peers["beta"]
    alpha.call(lambda node, now: node.probes.send_due(peer, now, search_mtu=True))
    assert alpha.asked(SendDatagram) == []


def test_the_first_answer_proves_udp_and_the_search_for_the_mtu_begins_at_once(pair: Pair) -> None:
    pair.upkeep()
    assert pair.sizes() == [18]
    pair.far.reply()
    assert pair.peer.slot.confirmed
    assert pair.alpha.node.table.confirmed == {HOME: pair.peer.slot}
    assert pair.alpha.asked(SaveAddressCache) == [SaveAddressCache("beta", (Address(*map(str, HOME)),))]
    assert any(line.startswith("UDP address of beta set to") for line in pair.alpha.logged(2))
    # What the kernel's path MTU of 1500 leaves: IPv4, UDP, ids, number, type and tag.
    assert pair.sizes() == [1500 - 20 - 8 - DATAGRAM_OVERHEAD]


def test_the_mtu_that_is_found_is_used_for_frames(pair: Pair) -> None:
    pair.confirm()
    assert pair.peer.path.is_fixed
    assert [path.limit for path in pair.peer.slot.paths] == [pair.peer.slot.minmtu]
    assert pair.peer.slot.minmtu > 1400


@pytest.mark.parametrize("source", [HOME, AWAY])
def test_a_request_is_answered_to_where_it_came_from(pair: Pair, source: tuple[str, int]) -> None:
    pair.far.probe(500, source=source)
    replies = [(address, record.data) for address, record in pair.far.heard() if record.data[:1] == b"\2"]
    ((address, reply),) = replies
    assert address == source
    assert int.from_bytes(reply[1:3], "big") == 500


def test_a_request_from_an_unproved_peer_has_us_ask_as_well(pair: Pair) -> None:
    pair.far.probe()
    assert pair.sizes() == [18]
    pair.far.reply()
    pair.sizes()
    pair.far.probe()
    assert pair.sizes() == []


# -- EMSGSIZE --


def test_a_datagram_refused_by_the_kernel_lowers_the_mtu_and_the_search_goes_on(pair: Pair) -> None:
    pair.confirm()
    alpha = pair.alpha
    alpha.call(lambda node, now: node.datagram_too_big("beta", 1300 + DATAGRAM_OVERHEAD, now))
    assert pair.peer.slot.mtu == 1299
    assert pair.peer.slot.paths == ()  # nothing is proved any more
    assert pair.sizes() != []


def test_a_refusal_of_what_was_not_thought_to_pass_or_of_a_node_that_is_gone_changes_nothing(
    pair: Pair,
) -> None:
    pair.confirm()
    before = pair.peer.slot.paths
    pair.alpha.call(lambda node, now: node.datagram_too_big("beta", 2000, now))
    pair.alpha.call(lambda node, now: node.datagram_too_big("nobody", 100, now))
    assert pair.sizes() == []
    assert pair.peer.slot.paths == before


# -- a peer that moves --


def test_an_unproved_peer_is_where_its_data_comes_from(pair: Pair) -> None:
    pair.far.send_frame(bytes(60), source=AWAY)
    assert pair.peer.slot.address == AWAY


def test_a_proved_address_is_given_up_only_when_the_new_one_has_answered(pair: Pair) -> None:
    pair.confirm()
    pair.far.send_frame(bytes(60), source=AWAY)
    assert pair.peer.slot.address == HOME
    assert [address for address, _ in pair.far.heard()] == [AWAY]
    pair.far.send_frame(bytes(60), source=AWAY)
    assert pair.far.heard() == []  # not again within a second
    pair.far.reply(source=AWAY)
    assert pair.peer.slot.address == AWAY
    assert pair.peer.slot.confirmed


def test_an_answer_from_an_address_that_was_not_asked_does_not_move_a_proved_peer(pair: Pair) -> None:
    pair.confirm()
    pair.far.reply(source=AWAY)
    assert pair.peer.slot.address == HOME
    assert [address for address, _ in pair.far.heard()] == [AWAY]  # now it is asked there
    pair.far.reply(source=AWAY)
    assert pair.peer.slot.address == AWAY


def test_an_answer_of_an_unproved_peer_from_another_address_proves_that_and_is_not_asked_for_again(
    pair: Pair,
) -> None:
    pair.upkeep()
    pair.far.heard()
    pair.far.reply(source=AWAY)
    assert pair.peer.slot.address == AWAY
    assert pair.peer.slot.confirmed
    assert len(pair.sizes()) == 1  # the search for the MTU begins


# -- the guard's probes --


def test_the_guard_s_probe_carries_its_nonce_and_goes_to_a_proved_address_only(pair: Pair) -> None:
    probes = pair.alpha.node.probes
    pair.alpha.call(lambda node, now: probes.send_guard_probe(pair.peer, b"abcd"))
    assert pair.far.heard() == []
    pair.confirm()
    pair.alpha.call(lambda node, now: probes.send_guard_probe(pair.peer, b"abcd"))
    ((address, record),) = pair.far.heard()
    assert address == HOME
    assert record.data[14:18] == b"abcd"


# -- what nodes announce --


def announce(pair: Pair, capabilities: Capability) -> None:
    """Have beta ask with a block in its request."""
    block = format_block(capabilities)
    pair.far.send(TYPE_PROBE, (bytes(IN_REQUEST) + block).ljust(18, b"\0"))


def test_our_probes_say_what_we_take(pair: Pair) -> None:
    pair.upkeep()
    ((_, record),) = pair.far.heard()
    expected = Capability.FAST_TAG | Capability.GUARD | Capability.MEMBER_RECORDS
    assert parse_block(record.data, IN_REQUEST) == expected
    assert pair.peer.slot.session is not None
    assert pair.peer.slot.session.accepts_fast
    assert not pair.peer.slot.session.accepts_super_frames


def test_a_peer_gets_what_it_takes_as_far_as_we_can_and_until_it_has_not_said_so_for_long(
    pair: Pair,
) -> None:
    session = pair.peer.slot.session
    assert session is not None
    announce(pair, Capability.FAST_TAG | Capability.SUPER_FRAMES | Capability.GUARD)
    assert session.peer_accepts_fast
    assert not session.peer_accepts_super_frames  # our device does not take them
    assert pair.peer.is_guard
    announce(pair, Capability.NONE)
    assert not session.peer_accepts_fast
    assert not pair.peer.is_guard
    announce(pair, Capability.FAST_TAG)
    interval = pair.alpha.node.settings.udp_discovery_keepalive_interval
    for wait, fast in ((FAST_TAG_PROBES * interval - 1, True), (1.0, False)):
        pair.alpha.now += wait
        pair.upkeep()
        assert session.peer_accepts_fast is fast


def test_super_frames_are_sent_while_the_peer_takes_them_and_told_to_a_proved_one(stage: MakeStage) -> None:
    pair = Pair(stage, takes_super_frames=True)
    session = pair.peer.slot.session
    assert session is not None
    for capabilities, whole in ((Capability.SUPER_FRAMES, True), (Capability.FAST_TAG, False)):
        announce(pair, capabilities)
        assert session.peer_accepts_super_frames is whole
    assert not session.accepts_super_frames
    pair.confirm()
    assert session.accepts_super_frames


def test_an_answer_tells_as_well(pair: Pair) -> None:
    session = pair.peer.slot.session
    assert session is not None
    block = format_block(Capability.FAST_TAG)
    pair.far.send(TYPE_PROBE, (b"\2\0\x12" + block).ljust(18, b"\0"))
    assert len(b"\2\0\x12") == IN_SHORT_REPLY
    assert session.peer_accepts_fast


def test_a_word_under_the_old_key_does_not_count_for_the_new_one(pair: Pair) -> None:
    session = pair.peer.slot.session
    assert session is not None
    assert pair.far.session is not None
    pair.far.session.force_rekey()
    pair.far.say_records(pair.far.session.take_output())
    assert pair.far.step()
    # We have the new key, of which beta does not know yet: its probe comes under the old one.
    assert session.state is State.REKEY_ACK
    announce(pair, Capability.FAST_TAG)
    assert not session.peer_accepts_fast
    pair.far.finish()
    announce(pair, Capability.FAST_TAG)
    assert session.peer_accepts_fast


def test_a_path_that_loses_pieces_is_asked_for_no_super_frames_at_most_five_times_a_second(
    pair: Pair,
) -> None:
    pair.confirm()
    counts = []
    for wait in (0.0, INCOMPLETE_INTERVAL - 0.01, 0.02):
        pair.alpha.now += wait
        pair.alpha.call(lambda node, now: node.probes.withhold_super_frames(pair.peer, now))
        counts.append(len(pair.far.heard()))
    assert counts == [1, 0, 1]
