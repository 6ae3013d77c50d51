"""Purge: edges and subnets of unreachable nodes are withdrawn, and nodes that may be forgotten are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from node.conftest import FarEnd
from pytinc.wire.subnet import parse_subnet

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage


def lost(stage: MakeStage, **changes: object) -> tuple[Stage, Scripted, Scripted]:
    """Alpha with two neighbours; gamma behind beta was reachable and is so no more."""
    alpha = stage("beta", "gamma", "epsilon", **changes)
    beta, epsilon = alpha.neighbour("beta"), alpha.neighbour("epsilon")
    beta.link("beta", "gamma")
    beta.say("10 1 gamma 10.3.0.0/24", "10 2 gamma 10.3.1.0/24", "10 3 beta 10.2.0.0/24")
    beta.say("13 4 beta gamma")
    for peer in (beta, epsilon):
        peer.heard()
    return alpha, beta, epsilon


def purge(alpha: Stage) -> None:
    alpha.call(lambda node, now: node.purge(now))


def test_peers_are_told_and_the_node_is_forgotten(stage: MakeStage) -> None:
    alpha, beta, epsilon = lost(stage)
    gamma = alpha.node.peers["gamma"]
    purge(alpha)
    words = ["11 * gamma 10.3.0.0/24", "11 * gamma 10.3.1.0/24", "13 * gamma beta"]
    assert beta.heard() == words
    assert epsilon.heard() == words
    assert set(alpha.node.peers) == {"alpha", "beta", "epsilon"}
    assert "gamma" not in alpha.node.table.slots
    assert alpha.node.subnets.table.of("gamma") == []
    assert [str(subnet) for subnet in alpha.node.subnets.table.of("beta")] == ["10.2.0.0/24"]
    assert gamma.slot.address is None
    purge(alpha)
    assert beta.heard() == []


def test_a_node_that_was_forgotten_can_come_back(stage: MakeStage) -> None:
    alpha, beta, _ = lost(stage)
    purge(alpha)
    beta.link("beta", "gamma")
    assert alpha.node.peers["gamma"].reachable
    far = FarEnd(beta, "gamma").open()
    far.send_frame(bytes(60))
    assert alpha.frames == [bytes(60)]


def test_with_auto_connect_nodes_are_emptied_and_kept(stage: MakeStage) -> None:
    alpha, beta, _ = lost(stage, auto_connect=True)
    purge(alpha)
    assert "13 * gamma beta" in beta.heard()
    assert "gamma" in alpha.node.peers
    assert alpha.node.topology.graph.edges_from("gamma") == []


def test_with_auto_connect_a_node_whose_host_file_was_removed_is_forgotten(stage: MakeStage) -> None:
    alpha, _, _ = lost(stage, auto_connect=True)
    del alpha.hosts.files["gamma"]
    purge(alpha)
    assert set(alpha.node.peers) == {"alpha", "beta", "epsilon"}


def test_with_auto_connect_nobody_is_forgotten_when_the_host_files_cannot_be_listed(stage: MakeStage) -> None:
    alpha, beta, _ = lost(stage, auto_connect=True)
    alpha.hosts.files.clear()  # so does ConfigTree: its list is empty then
    purge(alpha)
    assert "13 * gamma beta" in beta.heard()
    assert "gamma" in alpha.node.peers


def test_a_node_that_an_edge_still_leads_to_is_kept(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.neighbour("beta")
    beta.say("12 1 beta gamma 10.99.0.3 655 c 1")
    purge(alpha)
    assert "gamma" in alpha.node.peers
    beta.say("13 2 beta gamma")
    purge(alpha)
    assert "gamma" not in alpha.node.peers


def test_with_strict_subnets_a_node_with_subnets_is_kept_and_so_are_they(stage: MakeStage) -> None:
    alpha, beta, _ = lost(stage, strict_subnets=True)
    alpha.node.subnets.add("gamma", parse_subnet("10.3.0.0/24"))
    purge(alpha)
    assert beta.heard() == ["11 * gamma 10.3.0.0/24", "13 * gamma beta"]
    assert "gamma" in alpha.node.peers
    assert len(alpha.node.subnets.table.of("gamma")) == 1


def test_a_tunnel_server_deletes_edges_without_a_word(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", tunnel_server=True)
    beta = alpha.neighbour("beta")
    beta.say("12 1 beta gamma 10.99.0.3 655 c 1", "13 2 beta alpha")
    beta.heard()
    purge(alpha)
    assert beta.heard() == []
    assert alpha.node.topology.graph.edge("beta", "gamma") is None


def test_reachability_is_computed_first(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    beta = alpha.peer("beta")
    beta.link("beta", "gamma")
    beta.link("beta", "alpha")
    purge(alpha)
    assert set(alpha.node.peers) == {"alpha", "beta", "gamma"}
