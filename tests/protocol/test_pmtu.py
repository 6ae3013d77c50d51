"""UDP discovery and path MTU search, on a simulated path.

See docs/protocol-data.md, "Probes" and "Path MTU search".
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pytinc.datapath.peer_slot import PeerSlot
from pytinc.protocol.pmtu import (
    MIN_PROBE_SIZE,
    SEARCH_PROBES,
    UNANSWERED_CHECKS,
    WITHHELD_FIRST,
    WITHHELD_LONGEST,
    PathMtu,
    PathSettings,
    ProbeOut,
    ProbeResult,
    Search,
)
from pytinc.wire.capabilities import Capability
from pytinc.wire.datagram import MIN_MTU, MTU_MAX

VERSION = 7
RANDOM = b"\xaa\xbb\xcc\xdd"


def random_bytes(count: int) -> bytes:
    return (RANDOM * (count // 4 + 1))[:count]


def reply_of(length: int) -> bytes:
    """The reply of a current peer to a request of ``length`` bytes."""
    return b"\x02" + length.to_bytes(2, "big") + bytes(11) + RANDOM


class Path:
    """A simulated path to a peer that answers.

    Probes longer than ``kernel`` are refused at once (EMSGSIZE), probes longer than ``limit`` vanish.
    ``lost`` can lose more. The kernel reports its MTU if ``kernel_tells``.
    """

    def __init__(self, limit: int = MTU_MAX, kernel: int = MTU_MAX, **settings: float) -> None:
        self.limit = limit
        self.kernel = kernel
        self.kernel_tells = True
        self.lost: Callable[[], bool] = lambda: False
        self.now = 1000.0
        self.facts = PeerSlot("peer")
        self.mtu = PathMtu(PathSettings(**settings), self.facts)  # type: ignore[arg-type]
        self.sizes: list[int] = []
        """Lengths of all probes that were tried, including refused ones."""
        self.refused = 0

    def upkeep(self, *, search_mtu: bool = True, pmtu_option: bool = True) -> list[ProbeOut]:
        return self.mtu.upkeep(
            self.now,
            search_mtu=search_mtu,
            pmtu_option=pmtu_option,
            version=VERSION,
            random_bytes=random_bytes,
            initial_maximum=lambda: self.kernel if self.kernel_tells else None,
            has_local_edge=False,
        )

    def step(self) -> None:
        """Send the probes that are due, as the node does per packet; repeat a step the kernel refused."""
        probes = self.upkeep()
        while probes:
            probe = probes.pop(0)
            self.sizes.append(len(probe.payload))
            if len(probe.payload) > self.kernel:
                self.refused += 1
                self.mtu.too_big(len(probe.payload), self.now)
                probes += self.upkeep()
            elif len(probe.payload) <= self.limit and not self.lost():
                self.answer(probe.payload)

    def prove(self) -> Path:
        """Let traffic flow until both ends know that the path is good."""
        self.run(0.2)
        return self

    def answer(self, payload: bytes) -> None:
        if payload[0] == 0:
            self.mtu.on_probe(reply_of(len(payload)), self.now, VERSION)

    def run(self, seconds: float, interval: float = 0.05) -> None:
        """Let traffic flow for ``seconds``."""
        end = self.now + seconds
        while self.now < end:
            self.mtu.timeout(self.now)
            self.step()
            self.now += interval

    def searched(self) -> list[int]:
        """Return the lengths that the search tried (all except discovery's pings)."""
        return [size for size in self.sizes if size != MIN_PROBE_SIZE]

    @property
    def state(self) -> tuple[int, int, int, Search]:
        return self.facts.minmtu, self.mtu.maxmtu, self.facts.mtu, self.mtu.search


# -- queries of the node --


def test_a_search_is_under_way_until_it_ends_in_a_fixed_mtu() -> None:
    path = Path(limit=1339, kernel=1439)
    assert not path.mtu.is_searching
    path.run(1)
    assert path.mtu.is_searching
    assert not path.mtu.is_fixed
    path.run(7)
    assert not path.mtu.is_searching
    assert path.mtu.is_fixed


def test_an_mtu_below_the_minimum_is_not_reported() -> None:
    path = Path(limit=100, kernel=100)
    path.run(60)
    assert path.facts.minmtu == path.mtu.maxmtu
    assert not path.mtu.is_fixed


# -- the search --


@pytest.mark.parametrize(
    ("maximum", "cycle"),
    [
        (1439, [1439, 861, 644, 562, 531, 519, 515, 513]),
        (1419, [1419, 855, 642, 561, 531, 519, 515, 513]),
        (1518, [1330, 826, 632, 558, 530, 519, 515, 513]),
    ],
)
def test_sizes_fall_exponentially_again_and_again_without_an_answer(maximum: int, cycle: list[int]) -> None:
    path = Path(limit=100, kernel=maximum)
    path.run(7)
    assert path.searched()[:20] == (cycle * 3)[:20]


def test_one_probe_is_enough_if_the_kernel_knows_the_path_mtu() -> None:
    path = Path(limit=1439, kernel=1439).prove()
    assert path.searched() == [1439]
    assert path.state == (1439, 1439, 1439, Search.FIXED)


def test_twenty_probes_find_a_hidden_limit_approximately() -> None:
    path = Path(limit=1339, kernel=1439)
    path.run(8)
    assert path.searched()[:4] == [1439, 861, 955, 989]
    assert path.state == (1333, 1333, 1333, Search.FIXED)
    assert len(path.searched()) == 20


def test_the_search_goes_upwards_when_the_path_has_grown() -> None:
    path = Path(limit=1339, kernel=1439)
    path.run(8)
    path.limit = MTU_MAX
    path.sizes.clear()
    path.run(62)
    assert path.searched() == [1333, 1334, 1410, 1436, 1448, 1440, 1438, 1439]
    assert path.state == (1439, 1439, 1439, Search.FIXED)


@pytest.mark.parametrize("kernel_tells", [True, False])
def test_a_smaller_local_mtu_is_found_at_once(kernel_tells: bool) -> None:
    path = Path(limit=1439, kernel=1439).prove()
    path.kernel, path.kernel_tells = 1239, kernel_tells
    path.sizes.clear()
    path.mtu.too_big(1439, path.now)
    assert path.facts.minmtu == 0, "TCP carries all frames until a size is proved"
    path.step()
    assert path.searched()[-1] == 1239 or not kernel_tells
    path.run(8)
    assert path.state[0] == path.state[1] <= 1239
    assert path.state[0] >= 1239 - (0 if kernel_tells else 5)


def test_a_refused_growth_probe_changes_nothing() -> None:
    path = Path(limit=1400, kernel=1400)
    path.run(3)
    path.run(61)
    assert path.refused > 0
    assert path.state == (1400, 1400, 1400, Search.FIXED)


def test_three_lost_checks_show_that_the_path_has_shrunk() -> None:
    path = Path(limit=1439, kernel=1439)
    path.run(1)
    path.limit = 1000
    path.run(59)
    assert path.state == (1439, 1439, 1439, Search.FIXED)
    path.run(6)
    assert path.facts.minmtu < 1439, "frames of the old size go by TCP now"
    path.run(8)
    assert 980 <= path.facts.mtu == path.facts.minmtu <= 1000


def test_a_fixed_mtu_is_checked_once_per_ping_interval() -> None:
    path = Path(limit=1439, kernel=1439, ping_interval=30)
    path.run(5)
    path.sizes.clear()
    path.run(100)
    assert path.searched() == [1439, 1440] * 3


def test_a_failed_search_leaves_large_packets_to_tcp() -> None:
    path = Path(limit=40, kernel=1439)
    path.run(8)
    assert path.facts.confirmed
    assert path.state == (18, 18, MTU_MAX, Search.FIXED)


def test_a_failed_search_is_repeated_each_ping_interval() -> None:
    path = Path(limit=40, kernel=1439)
    path.run(8)
    path.sizes.clear()
    path.run(57)
    assert path.searched() == []
    path.run(68)
    assert 15 < len(path.searched()) < 40
    path.limit = 1439
    path.run(80)
    assert path.state == (1439, 1439, 1439, Search.FIXED)


def test_an_unanswered_search_does_not_leave_an_mtu_of_zero() -> None:
    path = Path(limit=1439, kernel=1439).prove()
    path.mtu.reset()
    path.mtu.on_probe(reply_of(18), path.now, VERSION)
    path.limit = 0
    path.run(8)
    assert path.facts.mtu == MTU_MAX


def test_the_search_tries_nothing_below_the_minimum() -> None:
    path = Path(limit=1439, kernel=300)
    path.kernel_tells = False
    path.run(8)
    assert all(size >= MIN_MTU for size in path.searched())
    assert path.state == (18, 18, MTU_MAX, Search.FIXED)


def test_a_useless_mtu_from_the_kernel_is_ignored() -> None:
    path = Path(limit=1439, kernel=MTU_MAX)
    maxima = itertools.cycle((100, None, 0, 9000))
    for maximum in itertools.islice(maxima, 4):
        path.mtu.reset()
        path.mtu.on_probe(reply_of(18), path.now, VERSION)
        path.mtu.upkeep(
            path.now,
            search_mtu=True,
            pmtu_option=True,
            version=VERSION,
            random_bytes=random_bytes,
            initial_maximum=lambda maximum=maximum: maximum,  # type: ignore[misc]
            has_local_edge=False,
        )
        assert path.mtu.maxmtu == MTU_MAX


@pytest.mark.parametrize(("search_mtu", "pmtu_option"), [(False, True), (True, False)])
def test_there_is_no_search_without_traffic_or_the_peers_consent(search_mtu: bool, pmtu_option: bool) -> None:
    path = Path()
    path.mtu.on_probe(reply_of(18), path.now, VERSION)
    probes = path.upkeep(search_mtu=search_mtu, pmtu_option=pmtu_option)
    assert [len(probe.payload) for probe in probes] == [18, 18]  # the longest received length, and a ping


def test_there_is_no_search_before_udp_works() -> None:
    path = Path(limit=0)
    path.run(10)
    assert path.searched() == []
    assert path.state == (0, MTU_MAX, MTU_MAX, Search.FRESH)


def test_an_early_refusal_does_not_replace_the_mtu_of_the_kernel() -> None:
    path = Path(limit=1439, kernel=1439)
    path.mtu.too_big(1500, path.now)
    path.run(1)
    assert path.searched()[0] == 1439


@given(limit=st.integers(600, MTU_MAX), kernel=st.integers(600, MTU_MAX), tells=st.booleans())
def test_the_search_finds_the_largest_size_approximately(limit: int, kernel: int, tells: bool) -> None:
    path = Path(limit=limit, kernel=kernel, ping_interval=20)
    path.kernel_tells = tells
    path.run(200, interval=0.1)
    truth = min(limit, kernel)
    assert path.facts.minmtu == path.mtu.maxmtu == path.facts.mtu
    assert 0.98 * truth <= path.facts.mtu <= truth


@given(st.lists(st.booleans(), min_size=20, max_size=200))
def test_losses_never_prove_a_size_that_does_not_pass(losses: list[bool]) -> None:
    path = Path(limit=1200, kernel=1439)
    fates: Iterator[bool] = itertools.cycle(losses)
    path.lost = lambda: next(fates)
    for _ in range(60):
        path.run(1, interval=0.1)
        assert path.facts.minmtu <= 1200


# -- discovery --


def test_an_unproved_peer_is_probed_every_2_seconds_and_a_proved_one_every_10() -> None:
    path = Path(limit=0, ping_interval=1e9)
    path.run(9.9)
    assert path.sizes == [18] * 5
    path.limit = 18
    path.run(1)
    assert path.facts.confirmed
    path.sizes.clear()
    path.run(40)
    requests = [size for size in path.sizes if size == 18]
    assert 4 <= len(requests) <= 4 + 4 + 2  # requests, unrequested replies, checks of an MTU of 18


def test_a_request_is_fourteen_zeros_and_random_bytes() -> None:
    (probe,) = Path().upkeep()
    assert probe == ProbeOut(bytes(14) + RANDOM, local=False)


def test_an_unproved_peer_is_also_probed_in_its_own_network() -> None:
    path = Path()

    def probes() -> list[bool]:
        found = path.mtu.upkeep(
            path.now,
            search_mtu=False,
            pmtu_option=True,
            version=VERSION,
            random_bytes=random_bytes,
            initial_maximum=lambda: None,
            has_local_edge=True,
        )
        return [probe.local for probe in found]

    assert probes() == [False, True]
    path.mtu.on_probe(reply_of(18), path.now, VERSION)
    path.facts.maxrecentlen = 0
    path.now += 10
    assert probes() == [False]
    path.mtu.reset()
    path.mtu.settings = PathSettings(local_discovery=False)
    assert probes() == [False]


def test_a_proved_peer_is_told_the_longest_received_length() -> None:
    path = Path(ping_interval=1e9)
    path.mtu.on_probe(reply_of(18), path.now, VERSION)
    path.upkeep(search_mtu=False)
    path.mtu.on_probe(bytes(1400), path.now, VERSION)
    path.now += 8.9
    assert path.upkeep(search_mtu=False) == []
    path.now += 0.2
    assert path.upkeep(search_mtu=False) == [ProbeOut(reply_of(1400))]
    path.now += 0.9
    assert [probe.payload[0] for probe in path.upkeep(search_mtu=False)] == [0]
    path.now += 10
    assert [probe.payload[0] for probe in path.upkeep(search_mtu=False)] == [0], "nothing arrived since"


def test_an_old_peer_gets_no_unrequested_replies() -> None:
    path = Path()
    path.mtu.on_probe(b"\x01" + bytes(17), path.now, 2)
    probes = path.mtu.upkeep(
        path.now,
        search_mtu=False,
        pmtu_option=False,
        version=2,
        random_bytes=random_bytes,
        initial_maximum=lambda: None,
        has_local_edge=False,
    )
    assert [probe.payload[0] for probe in probes] == [0]
    assert path.mtu.next_upkeep(path.now) == path.now + 10


def test_the_search_alone_proves_the_path_without_discovery() -> None:
    path = Path(limit=1439, kernel=1439, udp_discovery=False)
    path.step()
    assert path.sizes[0] == 1439
    assert path.facts.confirmed
    assert path.mtu.next_deadline() == math.inf
    assert path.facts.mtu == 1439
    assert path.mtu.next_upkeep(path.now) == path.now + 60


# -- received probes --


def test_a_reply_has_the_length_and_the_random_bytes_of_the_request() -> None:
    path = Path()
    result = path.mtu.on_probe(bytes(14) + RANDOM + bytes(1421), path.now, VERSION)
    assert result.reply == b"\x02" + (1439).to_bytes(2, "big") + bytes(11) + RANDOM
    assert not result.confirmed
    assert path.facts.maxrecentlen == 1439
    assert not path.facts.confirmed


def test_the_recorded_request_gets_the_recorded_reply() -> None:
    """docs/protocol-data.md, "Captured datagrams"."""
    request = bytes.fromhex("00" * 14 + "f022b070")
    reply = bytes.fromhex("020012" + "00" * 11 + "f022b070")
    assert Path().mtu.on_probe(request, 0, VERSION).reply == reply


def test_an_old_peer_gets_its_request_back() -> None:
    request = bytes(14) + RANDOM + bytes(500)
    assert Path().mtu.on_probe(request, 0, 2).reply == b"\x01" + request[1:]


# -- the capability block --

BLOCK = bytes.fromhex("7079 7469 6e63 01 0001")


def announcing(capabilities: Capability = Capability.FAST_TAG) -> PathMtu:
    return PathMtu(PathSettings(capabilities=capabilities), PeerSlot("peer"))


def c_reply(request: bytes) -> bytes:
    """Return a C node's reply: the first 18 bytes, with kind and length overwritten.

    See docs/protocol-data.md, "Probes".
    """
    return b"\x02" + len(request).to_bytes(2, "big") + request[3:18]


@pytest.mark.parametrize("size", [18, 513, 1439])
def test_every_probe_contains_the_block_and_keeps_its_size(size: int) -> None:
    request = announcing().make_request(random_bytes, size)
    assert request == b"\0" + BLOCK + bytes(4) + random_bytes(size - 14)
    reply = announcing().on_probe(request, 0, VERSION).reply
    assert reply == b"\x02" + size.to_bytes(2, "big") + BLOCK + bytes(2) + RANDOM


def test_an_unrequested_reply_has_the_block_too() -> None:
    mtu = announcing()
    mtu.facts.confirmed, mtu.facts.maxrecentlen, mtu.udp_ping_sent = True, 700, 0
    (probe,) = mtu.upkeep(
        1,
        search_mtu=False,
        pmtu_option=False,
        version=VERSION,
        random_bytes=random_bytes,
        initial_maximum=lambda: None,
        has_local_edge=False,
    )
    assert probe.payload == b"\x02" + (700).to_bytes(2, "big") + BLOCK + bytes(2) + RANDOM


def test_super_frames_are_announced_only_from_a_proved_address_and_not_while_withheld() -> None:
    both = Capability.FAST_TAG | Capability.SUPER_FRAMES
    path = Path(capabilities=both)
    assert path.mtu.capabilities == Capability.FAST_TAG
    path.prove()
    assert path.mtu.capabilities == both
    path.mtu.withhold_super_frames(path.now)
    assert path.mtu.capabilities == Capability.FAST_TAG


def withheld_for(path: Path) -> float:
    """Withhold super-frames now, and return the seconds until they are announced again."""
    path.mtu.withhold_super_frames(path.now)
    before = path.now
    while Capability.SUPER_FRAMES not in path.mtu.capabilities:
        path.mtu.withhold_super_frames(path.now)  # more losses before the peer knows do not prolong the time
        path.now += 1
        path.upkeep()
    return path.now - before


def test_super_frames_are_withheld_for_longer_each_time_until_the_path_is_good() -> None:
    path = Path(capabilities=Capability.SUPER_FRAMES).prove()
    times = [withheld_for(path) for _ in range(12)]
    assert times[:3] == [WITHHELD_FIRST, 2 * WITHHELD_FIRST, 4 * WITHHELD_FIRST]
    assert times[-1] == WITHHELD_LONGEST
    path.now += WITHHELD_LONGEST + 1
    assert withheld_for(path) == WITHHELD_FIRST


def test_both_ends_learn_from_one_request_and_its_reply() -> None:
    request = announcing().make_request(random_bytes)
    taken = announcing().on_probe(request, 0, VERSION)
    assert taken.capabilities == Capability.FAST_TAG
    assert taken.reply is not None
    assert announcing().on_probe(taken.reply, 0, VERSION).capabilities == Capability.FAST_TAG


@pytest.mark.parametrize("size", [18, 513, 1439])
def test_our_block_in_a_reply_of_a_c_node_is_not_taken_for_its_own(size: int) -> None:
    mtu = announcing()
    request = mtu.make_request(random_bytes, size)
    assert mtu.on_probe(c_reply(request), 0, VERSION).capabilities == Capability.NONE
    # An old node sends the whole request back. This proves nothing, not even that it is not a pytinc node.
    assert mtu.on_probe(b"\x01" + request[1:], 0, 2).capabilities is None


@pytest.mark.parametrize("size", [18, 513, 1439])
def test_a_node_that_announces_nothing_echoes_no_block(size: int) -> None:
    silent, mtu = Path().mtu, announcing()
    reply = silent.on_probe(mtu.make_request(random_bytes, size), 0, VERSION).reply
    assert reply is not None
    assert mtu.on_probe(reply, 0, VERSION).capabilities == Capability.NONE


def test_the_first_reply_of_either_kind_proves_udp() -> None:
    for reply, length in ((reply_of(700), 700), (b"\x01" + bytes(699), 700)):
        mtu = Path().mtu
        assert mtu.on_probe(reply, 0, VERSION).confirmed
        assert not mtu.on_probe(reply, 1, VERSION).confirmed
        assert mtu.facts.confirmed
        assert mtu.facts.minmtu == length


def test_round_trip_time_is_measured_in_microseconds() -> None:
    path = Path()
    path.upkeep()
    assert path.mtu.ping_sent
    path.mtu.on_probe(reply_of(18), path.now + 0.0123, VERSION)
    assert path.mtu.udp_ping_rtt == 12300
    assert not path.mtu.ping_sent
    path.mtu.on_probe(reply_of(18), path.now + 5, VERSION)
    assert path.mtu.udp_ping_rtt == 12300


@pytest.mark.parametrize("payload", [b"", b"\x02", b"\x02\x05"])
def test_a_probe_that_is_too_short_is_ignored(payload: bytes) -> None:
    mtu = Path().mtu
    assert mtu.on_probe(payload, 0, VERSION) == ProbeResult()
    assert not mtu.facts.confirmed


def test_a_peer_cannot_claim_more_than_the_longest_frame() -> None:
    mtu = Path().mtu
    mtu.on_probe(reply_of(65535), 0, VERSION)
    assert mtu.facts.minmtu == mtu.maxmtu == MTU_MAX


def test_a_claim_beyond_the_limit_of_the_kernel_is_not_believed() -> None:
    path = Path(limit=1239, kernel=1239)
    path.mtu.on_probe(reply_of(1400), path.now, VERSION)
    path.step()
    assert path.facts.minmtu <= path.mtu.maxmtu <= 1239
    path.run(8)
    assert path.facts.mtu == 1239


# -- timeouts, resets, deadlines --


def test_udp_counts_as_broken_after_thirty_seconds_without_a_reply() -> None:
    path = Path(limit=1439, kernel=1439).prove()
    deadline = path.mtu.next_deadline()
    assert 29 < deadline - path.now <= 30
    assert not path.mtu.timeout(deadline - 0.1)
    assert path.mtu.timeout(deadline)
    assert not path.facts.confirmed
    assert path.state == (0, MTU_MAX, 1439, Search.FRESH)
    assert path.mtu.udp_ping_rtt == -1
    assert path.mtu.next_deadline() == math.inf
    assert not path.mtu.timeout(deadline + 1e6)


def test_every_reply_postpones_the_timeout() -> None:
    path = Path(limit=1439, kernel=1439)
    path.run(120)
    assert path.facts.confirmed
    path.limit = 0
    path.run(31)
    assert not path.facts.confirmed
    path.limit = 1439
    path.run(3)
    assert path.state == (1439, 1439, 1439, Search.FIXED)


def test_a_new_address_must_be_proved_again() -> None:
    path = Path(limit=1439, kernel=1439).prove()
    path.mtu.reset_path()
    assert not path.facts.confirmed
    assert path.state == (0, MTU_MAX, 1439, Search.FRESH)
    assert path.mtu.next_deadline() == math.inf


def test_a_node_that_returns_is_probed_at_once() -> None:
    path = Path(limit=1439, kernel=1439).prove()
    path.mtu.reset()
    assert not path.mtu.ping_sent
    assert path.mtu.udp_ping_rtt == -1
    assert path.mtu.next_upkeep(path.now) == path.now
    assert len(path.upkeep()) == 1


def test_a_configured_limit_only_lowers_the_mtu() -> None:
    mtu = Path().mtu
    mtu.limit_mtu(1300)
    mtu.limit_mtu(1400)
    assert (mtu.facts.mtu, mtu.maxmtu) == (1300, MTU_MAX)


@pytest.mark.parametrize("pmtu_option", [True, False])
@pytest.mark.parametrize("limit", [0, 18, 1000, 1439])
def test_nothing_is_sent_before_upkeep_is_due(limit: int, pmtu_option: bool) -> None:
    """Of two equal paths one is served only when due. Both send the same at the same time."""
    eager, lazy = Path(limit, 1439), Path(limit, 1439)
    calls = 0
    for _ in range(2000):
        now = eager.now
        eager_probes = eager.upkeep(pmtu_option=pmtu_option)
        lazy_probes: list[ProbeOut] = []
        if lazy.mtu.next_upkeep(now) <= now:
            calls += 1
            lazy_probes = lazy.upkeep(pmtu_option=pmtu_option)
        assert eager_probes == lazy_probes
        for path in (eager, lazy):
            path.mtu.timeout(now)
            for probe in eager_probes:
                if len(probe.payload) <= limit:
                    path.answer(probe.payload)
            path.now += 0.05
        assert eager.state == lazy.state
    assert calls < 300, "the hot path is spared most calls"


# -- any order of events --


class PathMachine(RuleBasedStateMachine):
    """Whatever happens in whatever order, the bounds hold and each exchange ends."""

    def __init__(self) -> None:
        super().__init__()
        self.path = Path()

    @rule(seconds=st.sampled_from([0.0, 0.1, 0.34, 1.0, 2.0, 9.0, 31.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.path.now += seconds

    @rule(seconds=st.floats(0.1, 8))
    def traffic(self, seconds: float) -> None:
        self.path.run(seconds, interval=0.2)

    @rule()
    def step(self) -> None:
        tried, refused = len(self.path.sizes), self.path.refused
        self.path.step()
        assert self.path.refused - refused <= MTU_MAX
        assert len(self.path.sizes) - tried <= MTU_MAX + 5
        # Everything that can be sent at this time was sent, unless an answer makes new work.
        for _ in range(4):
            self.path.step()
        assert self.path.upkeep() == []

    @rule(limit=st.sampled_from([0, 18, 400, 513, 1000, 1339, 1518]))
    def path_changes(self, limit: int) -> None:
        self.path.limit = limit

    @rule(kernel=st.sampled_from([300, 512, 600, 1239, 1439, 1518]), tells=st.booleans())
    def kernel_changes(self, kernel: int, tells: bool) -> None:
        self.path.kernel, self.path.kernel_tells = kernel, tells

    @rule(size=st.integers(0, 1600))
    def frame_refused(self, size: int) -> None:
        self.path.mtu.too_big(size, self.path.now)

    @rule(
        payload=st.one_of(st.binary(max_size=40), st.integers(0, 65535).map(reply_of), st.just(bytes(1518)))
    )
    def probe_comes(self, payload: bytes) -> None:
        self.path.mtu.on_probe(payload, self.path.now, VERSION)

    @rule()
    def address_changes(self) -> None:
        self.path.mtu.reset_path()

    @rule()
    def reachability_changes(self) -> None:
        self.path.mtu.reset()

    @precondition(lambda self: self.path.mtu.next_deadline() < math.inf)
    @rule()
    def silence(self) -> None:
        self.path.now = max(self.path.now, self.path.mtu.next_deadline())
        assert self.path.mtu.timeout(self.path.now)
        assert not self.path.facts.confirmed

    @invariant()
    def bounds_hold(self) -> None:
        mtu = self.path.mtu
        assert 0 <= mtu.facts.minmtu <= mtu.maxmtu <= MTU_MAX
        assert MIN_MTU <= mtu.facts.mtu <= MTU_MAX
        assert 0 <= mtu.facts.maxrecentlen <= MTU_MAX
        is_over = mtu.search in (Search.FIXED, Search.UNANSWERED)
        assert not is_over or mtu.facts.minmtu == mtu.maxmtu
        assert 0 <= mtu._tried <= SEARCH_PROBES
        assert (mtu._tried > 0) is (mtu.search is Search.SEARCHING)
        assert 0 <= mtu._unanswered <= UNANSWERED_CHECKS
        assert (mtu._unanswered > 0) is (mtu.search is Search.UNANSWERED)
        assert mtu.next_upkeep(self.path.now) >= self.path.now
        assert mtu.facts.confirmed or mtu.next_deadline() == math.inf


TestPathMachine = PathMachine.TestCase
