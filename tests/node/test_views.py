"""The bits and fields that dumps show of nodes, edges, subnets and connections.

See docs/protocol-control.md, "Dumps".
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from pytinc.node import views
from pytinc.wire.address import UNKNOWN, UNSPEC, Address
from pytinc.wire.subnet import parse_subnet
from sim.simulator import Mesh

if TYPE_CHECKING:
    from node.conftest import MakeStage, Stage

VALIDKEY, WAITING, VISITED, REACHABLE = 0x2, 0x4, 0x8, 0x10
INDIRECT, SPTPS, UDP_CONFIRMED, HAS_ADDRESS = 0x20, 0x40, 0x80, 0x800
PINGED, CONNECTING, MST = 0x1, 0x4, 0x100


def status(alpha: Stage, name: str) -> int:
    return {view.name: view.status for view in views.nodes(alpha.node)}[name]


def test_the_own_node_is_reachable_and_shows_its_port(stage: MakeStage) -> None:
    alpha = stage("beta")
    me, beta = views.nodes(alpha.node)
    assert me.status == VISITED | REACHABLE | SPTPS | HAS_ADDRESS
    assert (me.name, me.address, me.options) == ("alpha", Address("MYSELF", "655"), 0x0700000C)
    assert (me.nexthop, me.via, me.distance) == ("alpha", "alpha", 0)
    assert me.id.hex() == id_of("alpha")
    assert beta.id.hex() == id_of("beta")


def id_of(name: str) -> str:
    return hashlib.sha512(name.encode()).hexdigest()[:12]


def test_a_node_that_is_only_known_has_no_route_and_counts_as_indirect(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    alpha.hosts.files["gamma"] = replace(alpha.hosts.files["gamma"], addresses=())
    alpha.call(lambda node, now: node.reload(node.settings, now))
    beta = views.nodes(alpha.node)[1]
    assert (beta.nexthop, beta.via, beta.distance, beta.address) == ("-", "-", -1, UNKNOWN)
    assert beta.status == INDIRECT | HAS_ADDRESS
    assert status(alpha, "gamma") == INDIRECT


def test_the_bits_of_a_neighbour_follow_its_way_to_a_key(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    known = VISITED | REACHABLE | SPTPS | HAS_ADDRESS
    assert status(alpha, "beta") == known
    alpha.call(lambda node, now: node.tunnels.upkeep(node.peers["beta"], now, search_mtu=True))
    assert status(alpha, "beta") == known | WAITING
    alpha.call(lambda node, now: node.meta_closed(beta.number, "EOF", now))
    assert status(alpha, "beta") == INDIRECT | HAS_ADDRESS


def test_between_nodes_that_talk_by_udp_key_and_path_are_shown() -> None:
    mesh = Mesh(4)
    one, two = mesh.add("one"), mesh.add("two", connect_to=["one"])
    mesh.start()
    mesh.run(40)
    (view,) = [view for view in views.nodes(one.node) if view.name == "two"]
    assert view.status & (VALIDKEY | WAITING | UDP_CONFIRMED | INDIRECT) == VALIDKEY | UDP_CONFIRMED
    assert view.address == two.address
    assert view.minmtu == view.maxmtu == view.mtu > 1300


def test_a_node_behind_an_indirect_edge_is_marked(stage: MakeStage) -> None:
    alpha = stage("beta")
    beta = alpha.neighbour("beta")
    beta.say("12 1 beta gamma 10.0.0.3 655 700000d 4", "12 2 gamma beta 10.0.0.2 655 700000c 4")
    (gamma,) = [view for view in views.nodes(alpha.node) if view.name == "gamma"]
    assert gamma.status == VISITED | REACHABLE | INDIRECT | SPTPS
    assert (gamma.nexthop, gamma.via, gamma.distance, gamma.options) == ("beta", "beta", 2, 0x0700000D)


def test_edges_are_listed_by_their_ends_and_an_unknown_local_address_is_unspec(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.neighbour("beta")
    assert views.edges(alpha.node) == [
        ("alpha", "beta", Address("10.99.0.2", "655"), Address("10.99.0.1", "655"), 0x0700000C, 3),
        ("beta", "alpha", Address("10.99.0.1", "655"), UNSPEC, 0x0700000C, 1),
    ]


def test_subnets_are_listed_by_kind_and_the_longer_prefix_first(stage: MakeStage) -> None:
    alpha = stage("beta", subnets=(parse_subnet("10.1.0.0/24#5"),))
    alpha.neighbour("beta").say("10 1 beta 02:00:00:00:00:0b", "10 2 beta fd00::/64")
    assert views.subnets(alpha.node) == [
        ("02:00:00:00:00:0b", "beta"),
        ("ff:ff:ff:ff:ff:ff", "(broadcast)"),
        ("255.255.255.255", "(broadcast)"),
        ("10.1.0.0/24#5", "alpha"),
        ("224.0.0.0/4", "(broadcast)"),
        ("fd00::/64", "beta"),
        ("ff00::/8", "(broadcast)"),
    ]


def test_connections_show_how_far_they_are(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma", connect_to=("gamma",))
    (dialled,) = views.connections(alpha.node)
    assert (dialled.name, dialled.status) == ("gamma", CONNECTING)
    beta = alpha.neighbour("beta")
    (view,) = [view for view in views.connections(alpha.node) if view.name == "beta"]
    assert (view.number, view.address) == (beta.number, Address("10.99.0.2", "40000"))
    assert (view.options, view.status) == (0x0700000C, MST)
    stranger = alpha.node.meta_accepted(Address("10.8.8.8", "1"), Address("10.99.0.1", "655"), alpha.now)
    (view,) = [view for view in views.connections(alpha.node) if view.number == stranger]
    assert (view.name, view.status) == ("<unknown>", 0)


def test_a_neighbour_that_owes_a_pong_is_marked(stage: MakeStage) -> None:
    alpha = stage("beta", ping_interval=20, ping_timeout=5)
    beta = alpha.neighbour("beta")
    alpha.now = 21.0
    alpha.node.connections.check_all(alpha.now)  # the PING has not reached beta yet
    (view,) = views.connections(alpha.node)
    assert view.status == PINGED | MST
    alpha.call(lambda node, now: node.tick(now))
    assert beta.lines[-1] == "8"
    beta.say("9")
    (view,) = views.connections(alpha.node)
    assert view.status == MST


def test_status_bits_are_plain_numbers(stage: MakeStage) -> None:
    # An IntFlag is equal to one, but to combine its members takes fifteen times as long.
    alpha = stage("beta")
    alpha.neighbour("beta")
    assert {type(view.status) for view in views.nodes(alpha.node)} == {int}
    assert {type(view.status) for view in views.connections(alpha.node)} == {int}
