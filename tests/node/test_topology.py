"""Known and reachable nodes, runs of the graph, and two nodes with one name."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import HostPort, HostSettings
from pytinc.errors import LimitError
from pytinc.node.actions import Log
from pytinc.node.changes import Change, RoutesChanged
from pytinc.node.meta_output import MetaOutput
from pytinc.node.topology import CONTRADICTION_LIMIT, DUPLICATE_RUNS, MAX_WORD, MIN_PAUSE, Topology
from pytinc.protocol.graph import Edge, Route
from pytinc.wire.address import UNSPEC, Address

if TYPE_CHECKING:
    from node.conftest import MakeCore, MakeStage
    from pytinc.node.core import Core

ADDRESS = Address("10.0.0.2", "655")


class Told:
    """A topology alone, and the changes that it tells of."""

    def __init__(self, core: Core) -> None:
        self.core = core
        self.topology = Topology(core, MetaOutput(core))
        self.changes: list[Change] = []
        core.changes.tell = self.tell

    def tell(self, change: Change, now: float) -> None:
        self.changes.append(change)
        if isinstance(change, RoutesChanged):
            for peer, address in change.addresses:
                peer.address = address

    def link(self, one: str, other: str, address: Address = ADDRESS) -> None:
        for source, target in ((one, other), (other, one)):
            for name in (source, target):
                self.topology.peer(name)
            self.topology.graph.set_edge(Edge(source, target, address, None, 0x0700000C, 1))

    def settle(self, now: float = 0.0) -> list[RoutesChanged]:
        """Finish an event; return what it has changed."""
        self.topology.settle(now)
        self.core.changes.settle(now)
        changes, self.changes = self.changes, []
        return [change for change in changes if isinstance(change, RoutesChanged)]


@pytest.fixture
def told(core: MakeCore) -> Told:
    return Told(core())


# -- nodes --


def test_a_node_is_made_once_and_forgotten_everywhere(told: Told) -> None:
    beta = told.topology.peer("beta")
    assert told.topology.peer("beta") is beta
    assert told.core.table.slots["beta"] is beta.slot
    told.topology.remove(beta)
    assert "beta" not in told.core.peers
    assert "beta" not in told.core.table.slots
    assert "beta" not in told.topology.graph.nodes
    assert told.topology.peer("beta") is not beta


def test_nodes_beyond_the_limit_are_refused_but_those_of_the_own_configuration(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytinc.protocol.graph.MAX_NODES", 2)
    told.topology.peer("beta")
    with pytest.raises(LimitError):
        told.topology.peer("gamma")
    assert "gamma" not in told.core.peers
    assert "gamma" not in told.core.table.slots
    assert told.topology.peer("gamma", limited=False).name == "gamma"


def test_invented_nodes_do_not_keep_a_reload_from_dialling_a_new_one(
    stage: MakeStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytinc.protocol.graph.MAX_NODES", 20)
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say(*(f"10 {number:x} ghost{number} 10.0.{number}.0/24" for number in range(30)))
    assert len(alpha.node.peers) == 20
    alpha.hosts.files["new"] = HostSettings("new", addresses=(HostPort("10.0.0.9"),))
    alpha.reload(connect_to=("new",))
    assert [dial.peer for dial in alpha.dialled] == ["new"]


def test_host_files_make_nodes_known_and_tell_which_can_be_dialled(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    alpha.hosts.files["gamma"] = replace(alpha.hosts.files["gamma"], addresses=())
    alpha.hosts.files["delta"] = HostSettings("delta", addresses=(HostPort("10.0.0.9"),))
    alpha.reload()
    assert {name: peer.has_address for name, peer in alpha.node.peers.items() if name != "alpha"} == {
        "beta": True,
        "gamma": False,
        "delta": True,
    }
    del alpha.hosts.files["beta"]
    alpha.reload()
    assert not alpha.node.peers["beta"].has_address


@pytest.mark.parametrize(("length", "fits"), [(MAX_WORD, True), (MAX_WORD + 1, False)])
def test_words_of_which_a_line_could_grow_too_long_are_refused(length: int, fits: bool) -> None:
    words = ("beta", "x" * length, "655")
    if fits:
        Topology.check_words(*words)
    else:
        with pytest.raises(LimitError):
            Topology.check_words(*words)


# -- the graph --


def test_a_run_tells_who_became_reachable_and_their_addresses_and_only_once(told: Told) -> None:
    told.link("alpha", "beta")
    told.link("beta", "gamma", UNSPEC)
    beta, gamma = told.core.peers["beta"], told.core.peers["gamma"]
    (change,) = told.settle()
    assert list(change.flipped) == [beta, gamma]
    assert list(change.addresses) == [(beta, ADDRESS), (gamma, UNSPEC)]
    assert beta.reachable
    assert (told.core.me.route and told.core.me.route.via) == "alpha"
    assert (gamma.route and gamma.route.nexthop, gamma.options) == ("beta", 0x0700000C)
    assert told.settle() == []
    told.topology.graph.delete_edge("gamma", "beta")
    (change,) = told.settle()
    assert list(change.flipped) == [gamma]
    assert list(change.addresses) == []
    assert gamma.route is None


def test_an_address_that_no_packet_can_be_sent_to_gives_way_to_a_good_one(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say("12 1 beta ghost unspec unspec 700000c 1", "12 2 ghost beta 10.0.0.9 655 700000c 1")
    assert alpha.node.peers["ghost"].reachable
    beta.say("12 3 beta ghost 10.0.0.9 655 700000c 1")
    assert alpha.node.peers["ghost"].slot.address == ("10.0.0.9", 655)
    beta.say("12 4 beta ghost 10.0.0.10 655 700000c 1")  # a good one is not given up for another
    assert alpha.node.peers["ghost"].slot.address == ("10.0.0.9", 655)


def test_all_changes_of_one_event_are_one_run(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    runs = 0
    run = alpha.node.topology.graph.run

    def counted() -> dict[str, Route]:
        nonlocal runs
        runs += 1
        return run()

    monkeypatch.setattr(alpha.node.topology.graph, "run", counted)
    for number in range(10):
        for line in (
            f"12 {number}a beta n{number} 10.0.0.9 655 c 1",
            f"12 {number}b n{number} beta 10.0.0.9 655 c 1",
        ):
            beta.meta.send_line(line)
    beta.flush()
    assert runs == 1
    assert alpha.node.peers["n9"].reachable


def test_a_large_mesh_rests_after_a_run_unless_a_request_needs_to_know(
    told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pytinc.node.core.SMALL_MESH", 2)
    monkeypatch.setattr("pytinc.node.topology.REST_PER_NODE", 1.0)
    monkeypatch.setattr("pytinc.node.topology.MAX_REST", 10.0)
    told.link("alpha", "beta")
    told.link("alpha", "gamma")
    assert len(told.settle(10.0)) == 1
    assert told.topology.next_deadline() == math.inf
    told.link("beta", "delta")
    assert told.settle(12.9) == []
    assert told.topology.next_deadline() == 13.0
    told.topology.settle(13.0)
    assert told.core.peers["delta"].reachable
    told.link("beta", "epsilon")
    told.topology.update(13.1)
    assert told.core.peers["epsilon"].reachable


def test_a_small_mesh_does_not_rest(told: Told) -> None:
    told.link("alpha", "beta")
    assert len(told.settle(10.0)) == 1
    told.link("beta", "delta")
    assert len(told.settle(10.0)) == 1


@pytest.mark.parametrize(("server", "told"), [(False, ["13 * gamma alpha"]), (True, [])])
def test_a_node_that_is_cut_off_loses_its_edge_to_us_of_which_a_tunnel_server_says_nothing(
    stage: MakeStage, server: bool, told: list[str]
) -> None:
    alpha = stage("beta", "gamma", tunnel_server=server)
    beta = alpha.neighbour("beta")
    beta.link("beta", "gamma")
    beta.say("12 5 gamma alpha 10.99.0.1 655 c 1")
    assert beta.say("13 6 beta gamma") == told
    assert alpha.node.topology.graph.edge("gamma", "alpha") is None


def test_a_link_that_ends_before_the_last_one_to_a_part_leaves_no_edge_behind(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta")
    beta, gamma, delta = (alpha.neighbour(name) for name in ("beta", "gamma", "delta"))
    beta.link("beta", "gamma")
    gamma.say("13 1 beta alpha")  # cut off from us, but not from gamma
    beta.say("12 2 beta alpha 10.99.0.1 655 c 1")
    alpha.call(lambda node, now: node.meta_closed(beta.number, "EOF", now))
    assert alpha.node.peers["beta"].reachable
    assert alpha.node.topology.graph.edge("beta", "alpha") is not None
    delta.heard()
    alpha.call(lambda node, now: node.meta_closed(gamma.number, "EOF", now))
    assert alpha.node.topology.graph.edge("beta", "alpha") is None
    assert "13 * beta alpha" in delta.heard()


def test_a_link_that_is_back_keeps_its_edge(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    beta.link("beta", "gamma")
    alpha.call(lambda node, now: node.meta_closed(beta.number, "EOF", now))
    again = alpha.neighbour("beta")
    again.say("12 7 beta alpha 10.99.0.1 655 c 1")
    gamma.heard()
    alpha.call(lambda node, now: node.meta_closed(gamma.number, "EOF", now))
    assert alpha.node.topology.graph.edge("beta", "alpha") is not None
    assert "13 * beta alpha" not in again.heard()


# -- words --


def test_a_young_edge_is_told_in_its_own_words_and_an_old_one_in_new_ones(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", "delta", "epsilon", ping_interval=60)
    beta = alpha.neighbour("beta")
    line = "12 abcdef beta omega 10.0.0.9 655 c 1"
    beta.say(line)
    alpha.now += 59
    assert line in alpha.peer("gamma").lines
    alpha.now += 1
    told = alpha.peer("delta").lines
    assert line not in told
    (new,) = (one for one in told if one.endswith(" beta omega 10.0.0.9 655 c 1"))
    assert new in alpha.peer("epsilon").lines  # the new words are young now


# -- two nodes with one name --


def contradict(topology: Topology, adds: int, deletes: int, now: float) -> bool:
    """Have so many corrections counted, and the check made; tell whether corrections are paused now."""
    topology.contradicting_adds, topology.contradicting_deletes = adds, deletes
    topology.check_contradictions(now)
    return topology.is_paused(now)


def test_far_too_many_corrections_of_both_kinds_stop_them_for_longer_each_time(told: Told) -> None:
    many, few = CONTRADICTION_LIMIT + 1, CONTRADICTION_LIMIT
    topology = told.topology
    assert not contradict(topology, many, few, 0.0)
    assert not contradict(topology, few, many, 5.0)
    assert contradict(topology, many, many, 10.0)
    assert topology.is_paused(10.0 + MIN_PAUSE - 0.1)
    assert not topology.is_paused(10.0 + MIN_PAUSE)
    assert contradict(topology, many, many, 100.0)
    assert contradict(topology, many, many, 200.0)
    assert topology.is_paused(200.0 + 2 * MIN_PAUSE - 0.1)


def test_two_machines_that_run_as_one_node_are_named_also_if_they_correct_each_other_seldom(
    told: Told,
) -> None:
    def is_named() -> bool:
        return any(
            "Another machine" in action.message
            for action in told.core.take_actions()
            if isinstance(action, Log)
        )

    now = 0.0
    for corrections in [3, 3, 0, *[3] * (DUPLICATE_RUNS - 1)]:
        now += 5.0
        assert not contradict(told.topology, corrections, corrections, now)
        assert not is_named()
    contradict(told.topology, 3, 3, now + 5.0)
    assert is_named()


def test_the_pause_is_shorter_again_after_quiet_rounds_and_counting_begins_anew(told: Told) -> None:
    many, topology = CONTRADICTION_LIMIT + 1, told.topology
    now = 0.0
    for _ in range(3):
        assert contradict(topology, many, many, now)
        now += 1000.0
    for _ in range(10):
        now += 5.0
        assert not contradict(topology, 0, 0, now)
    assert contradict(topology, many, many, now)
    assert not topology.is_paused(now + MIN_PAUSE)
    assert (topology.contradicting_adds, topology.contradicting_deletes) == (0, 0)
