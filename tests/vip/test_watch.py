"""All watched peers: probes, reported changes, and the bound of their number."""

from __future__ import annotations

import math
from collections.abc import Iterable

import pytest

from pytinc.vip.detector import State
from pytinc.vip.watch import MAX_WATCHED, Change, Watch


class Facts:
    """A mesh in which each node has sent some frames."""

    def __init__(self) -> None:
        self.frames: dict[str, int] = {}

    def owner(self, mac: bytes) -> str | None:
        return None

    def is_reachable(self, node: str) -> bool:
        return True

    def is_alone(self) -> bool:
        return False

    def first_hop(self, node: str) -> str | None:
        return node

    def last_hop(self, node: str, since: float) -> str | None:
        return None

    def received(self, node: str) -> int:
        return self.frames.get(node, 0)

    def last_use(self, holder: bytes, client: bytes, address: bytes) -> float:
        return -math.inf

    def is_guard(self, node: str) -> bool:
        return False

    def name_of(self, node_id: bytes) -> str | None:
        return None

    def own_mac(self) -> bytes | None:
        return None

    def record_peers(self) -> Iterable[str]:
        return ()

    def witnesses(self) -> Iterable[str]:
        return ()

    def is_stranger(self, node: str) -> bool:
        return False

    def may_hold(self, node: str, address: bytes, now: float) -> bool:
        return False

    def possible_members(self, addresses: Iterable[bytes]) -> Iterable[str]:
        return ()

    def has_rivals(self) -> bool:
        return False

    def rivals(self, now: float) -> Iterable[str]:
        return ()


class World:
    def __init__(self, *nodes: str) -> None:
        self.mesh = Facts()
        self.watch = Watch(self.mesh, 2**32 - 3)
        self.watch.set_wanted(nodes, 0.0)
        self.now = 0.0
        self.dead: set[str] = set()
        self.probes: dict[str, int] = {}
        self.nonces: list[bytes] = []
        self.changes: list[Change] = []

    def until(self, end: float) -> World:
        while (due := self.watch.next_deadline()) <= end:
            self.now = max(due, self.now)
            for probe in self.watch.tick(self.now):
                self.probes[probe.node] = self.probes.get(probe.node, 0) + 1
                self.nonces.append(probe.nonce)
                if probe.node not in self.dead:
                    assert self.watch.answered(probe.node, probe.nonce, self.now)
            self.changes += self.watch.take_changes()
        self.now = end
        return self

    def states(self) -> list[tuple[str, State | None]]:
        return [(node, after) for node, _, after in self.changes]


def test_every_wanted_peer_is_probed_ten_times_a_second_and_nobody_else() -> None:
    world = World("b", "c").until(9.95)
    assert world.probes == {"b": 100, "c": 100}
    assert world.watch.probes == 200
    assert "d" not in world.watch


def test_there_is_nothing_to_do_if_no_peer_is_wanted() -> None:
    world = World()
    assert world.watch.next_deadline() == math.inf
    world.watch.set_wanted(["b"], 0.0)
    world.until(1.0)
    world.watch.set_wanted([], 1.0)
    assert world.watch.next_deadline() == math.inf
    assert len(world.watch) == 0


def test_no_two_probes_have_the_same_nonce_of_four_bytes() -> None:
    world = World("b", "c", "d").until(20.0)
    assert len(set(world.nonces)) == len(world.nonces) >= 600
    assert {len(nonce) for nonce in world.nonces} == {4}


def test_each_state_of_a_peer_that_dies_and_returns_is_reported_once() -> None:
    world = World("b", "c").until(1.0)
    world.dead.add("b")
    world.until(5.0)
    world.dead.clear()
    world.until(10.0)
    assert world.states() == [("b", State.SUSPECT), ("b", State.SILENT), ("b", State.ALIVE)]


def test_frames_of_a_peer_are_signs_of_life_while_it_answers_from_time_to_time() -> None:
    world = World("b").until(1.0)
    world.dead.add("b")
    for step in range(9):
        world.mesh.frames["b"] = step + 1
        world.until(1.1 + step / 10)
    assert world.states() == []
    for step in range(10):
        world.mesh.frames["b"] = step + 100
        world.until(2.1 + step / 10)
    assert world.states()[-1] == ("b", State.SILENT)


def test_frames_from_before_the_watch_are_not_signs_of_life() -> None:
    world = World()
    world.mesh.frames["b"] = 1000
    world.dead.add("b")
    world.watch.set_wanted(["b"], 0.0)
    world.until(10.0)
    detector = world.watch.get("b")
    assert detector is not None
    assert not detector.proved
    assert world.states() == []


def test_the_answer_of_one_peer_does_not_count_for_another() -> None:
    world = World("b", "c")
    (probe, *_) = world.watch.tick(0.0)
    other = "c" if probe.node == "b" else "b"
    assert not world.watch.answered(other, probe.nonce, 0.01)
    assert not world.watch.answered("stranger", probe.nonce, 0.01)
    assert world.watch.answered(probe.node, probe.nonce, 0.01)


def test_a_peer_that_is_no_longer_watched_is_reported_as_neither_silent_nor_answering() -> None:
    world = World("b", "c").until(1.0)
    world.dead.add("b")
    world.until(3.0)
    world.changes.clear()
    world.watch.set_wanted(["c"], 3.0)
    assert world.watch.take_changes() == [Change("b", State.SILENT, None)]
    world.watch.forget("c")
    assert world.watch.take_changes() == []


def test_the_state_of_a_peer_that_stays_wanted_is_kept() -> None:
    world = World("b").until(5.0)
    before = world.watch.get("b")
    world.watch.set_wanted(["b", "c"], 5.0)
    assert world.watch.get("b") is before


def test_a_closed_connection_or_a_sign_of_life_of_a_stranger_does_nothing() -> None:
    world = World("b").until(1.0)
    world.watch.hurry("stranger", 1.0)
    world.watch.heard("stranger", 1.0)
    assert world.watch.take_changes() == []
    world.watch.hurry("b", 1.0)
    assert world.watch.take_changes() == [Change("b", State.ALIVE, State.SUSPECT)]
    world.watch.heard("b", 1.0)
    assert world.watch.take_changes() == [Change("b", State.SUSPECT, State.ALIVE)]


@pytest.mark.parametrize(("delay", "stalls"), [(0.04, 0), (0.2, 0), (0.3, 1), (5.0, 1)])
def test_only_our_own_long_stalls_are_counted(delay: float, stalls: int) -> None:
    world = World("b").until(1.0)
    world.watch.excuse(1.0 + delay, delay)
    assert world.watch.stalls == stalls


def test_our_own_stall_clears_all_suspects() -> None:
    world = World("b", "c").until(1.0)
    world.watch.hurry("b", 1.0)
    world.watch.take_changes()
    world.watch.excuse(4.0, 3.0)
    assert world.watch.take_changes() == [Change("b", State.SUSPECT, State.ALIVE)]


def test_a_new_interval_applies_to_peers_that_are_watched_already() -> None:
    world = World("b").until(1.0)
    world.watch.set_interval(0.5)
    world.watch.set_wanted(["b", "c"], 1.0)
    world.probes.clear()
    world.until(11.0)
    assert all(20 <= count <= 22 for count in world.probes.values())
    assert set(world.probes) == {"b", "c"}


def test_the_number_of_watched_peers_is_bounded() -> None:
    world = World(*(f"node{number}" for number in range(3 * MAX_WATCHED)))
    assert len(world.watch) == MAX_WATCHED
    world.until(0.95)
    assert sum(world.probes.values()) == 10 * MAX_WATCHED
