"""Shortest paths and spanning tree against the rules of docs/protocol-meta.md; bounds of the table."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pytinc.errors import LimitError, ProtocolError
from pytinc.protocol import graph as graph_module
from pytinc.protocol.graph import Edge, Graph
from pytinc.wire.address import Address
from pytinc.wire.bits import OptionBits

INDIRECT = int(OptionBits.INDIRECT)
# Byte order: digits, upper case, underscore, lower case; "n10" before "n9".
NAMES = ("a", "b", "me", "B", "_x", "0", "n10", "n9")


def edge(source: str, target: str, weight: int = 1, options: int = 0) -> Edge:
    return Edge(source, target, Address(f"{source}-{target}", "655"), None, options, weight)


def graph_of(*edges: Edge, me: str = "me") -> Graph:
    graph = Graph(me)
    for one in edges:
        graph.set_edge(one)
    return graph


def both_ways(one: str, other: str, weight: int = 1, options: int = 0) -> tuple[Edge, Edge]:
    return edge(one, other, weight, options), edge(other, one, weight, options)


# -- the documented rules, written out --


@dataclass
class NaiveNode:
    visited: bool = False
    indirect: bool = True
    distance: int = -1
    wdist: int = 0
    nexthop: str = ""
    via: str = ""
    options: int = 0
    address: Address | None = None


def naive_paths(edges: dict[tuple[str, str], Edge], me: str) -> dict[str, NaiveNode]:
    """docs/protocol-meta.md, "Shortest paths"."""
    nodes = {name: NaiveNode() for pair in edges for name in pair}
    nodes[me] = NaiveNode(visited=True, indirect=False, distance=0, wdist=0, nexthop=me, via=me)
    queue = deque([me])
    while queue:
        name = queue.popleft()
        n = nodes[name]
        for source, target in sorted(edges):
            if source != name or (target, source) not in edges or target == me:
                continue
            e, t = edges[source, target], nodes[target]
            ind = n.indirect or bool(e.options & INDIRECT)
            better = t.distance == n.distance + 1 and t.wdist > n.wdist + e.weight
            if t.visited and (not t.indirect or ind) and not better:
                continue
            if not t.visited or better:
                t.nexthop = target if n.nexthop == me else n.nexthop
                t.wdist = n.wdist + e.weight
            t.visited, t.indirect, t.address = True, ind, e.address
            t.via = n.via if ind else target
            t.options, t.distance = e.options, n.distance + 1
            queue.append(target)
    return {name: node for name, node in nodes.items() if node.visited}


def naive_tree(edges: dict[tuple[str, str], Edge], reachable: set[str]) -> set[frozenset[str]]:
    """docs/protocol-meta.md, "Spanning tree"."""
    in_order = sorted(edges.values(), key=lambda e: (e.weight, e.source, e.target))
    marked: set[str] = set()
    for e in in_order:
        if e.source in reachable:
            marked.add(e.source)
            break
    tree: set[frozenset[str]] = set()
    while True:
        for e in in_order:
            if (e.target, e.source) in edges and (e.source in marked) != (e.target in marked):
                marked |= {e.source, e.target}
                tree.add(frozenset((e.source, e.target)))
                break
        else:
            return tree


@st.composite
def random_edges(draw: st.DrawFn) -> dict[tuple[str, str], Edge]:
    """Draw few nodes and many edges; some INDIRECT, some without reverse, many of equal weight."""
    names = NAMES[: draw(st.integers(3, len(NAMES)))]
    weight = st.integers(*draw(st.sampled_from([(1, 2), (0, 9), (-4, 4), (1, 500)])))
    edges: dict[tuple[str, str], Edge] = {}
    for number, one in enumerate(names):
        for other in names[number + 1 :]:
            kind = draw(st.sampled_from(("none", "both", "both", "both", "there", "back")))
            for ends, wanted in (((one, other), ("both", "there")), ((other, one), ("both", "back"))):
                if kind in wanted:
                    options = draw(st.sampled_from((0, 0, INDIRECT)))
                    edges[ends] = edge(*ends, draw(weight), options)
    return edges


@given(random_edges())
def test_paths_equal_those_of_the_documented_rules(edges: dict[tuple[str, str], Edge]) -> None:
    routes = graph_of(*edges.values()).run()
    naive = naive_paths(edges, "me")
    assert routes.keys() == naive.keys()
    for name, route in routes.items():
        node = naive[name]
        assert route == (
            node.nexthop,
            node.via,
            node.distance,
            node.wdist,
            node.indirect,
            node.options,
            node.address,
        )


@given(random_edges())
def test_the_tree_equals_the_one_of_the_documented_rules(edges: dict[tuple[str, str], Edge]) -> None:
    graph = graph_of(*edges.values())
    reachable = set(naive_paths(edges, "me"))
    tree = naive_tree(edges, reachable)
    found = graph.tree()
    assert {frozenset(pair) for pair in found} == tree
    assert len(found) == len(tree) == len(reachable) - 1
    connected = {pair[1] for pair in edges if pair[0] == "me"}
    assert graph.tree_neighbours("me", connected) == {
        name for name in connected if frozenset(("me", name)) in tree
    }


@given(random_edges(), st.randoms(use_true_random=False))
def test_results_do_not_depend_on_the_order_in_which_edges_arrive(
    edges: dict[tuple[str, str], Edge], rng: Random
) -> None:
    shuffled = list(edges.values())
    rng.shuffle(shuffled)
    graph, other = graph_of(*edges.values()), graph_of(*shuffled)
    assert graph.run() == other.run()
    assert graph.tree() == other.tree()
    assert list(graph.edges()) == list(other.edges())


# -- single rules --


def test_the_own_node_is_reachable_at_distance_zero() -> None:
    graph = Graph("me")
    assert graph.run() == {"me": ("me", "me", 0, 0, False, 0, None)}
    assert graph.tree() == []


def test_an_edge_without_reverse_has_no_effect() -> None:
    graph = graph_of(edge("me", "a"))
    assert "a" not in graph.run()
    graph.set_edge(edge("a", "me"))
    assert graph.run()["a"].nexthop == "a"


def test_fewer_hops_win_over_smaller_weight_and_then_the_smaller_sum_wins() -> None:
    graph = graph_of(
        *both_ways("me", "a", 50), *both_ways("me", "b", 1), *both_ways("b", "a", 1),
        *both_ways("a", "z", 1), *both_ways("b", "z", 10),
    )  # fmt: skip
    routes = graph.run()
    assert (routes["a"].nexthop, routes["a"].weighted_distance) == ("a", 50)
    assert (routes["z"].nexthop, routes["z"].weighted_distance) == ("b", 11)


def test_equal_paths_go_to_the_neighbour_whose_name_sorts_first() -> None:
    graph = graph_of(*(e for name in ("b", "B", "_") for e in both_ways("me", name) + both_ways(name, "z")))
    assert graph.run()["z"].nexthop == "B"


def test_a_node_behind_an_indirect_edge_is_addressed_via_the_node_before_it() -> None:
    graph = graph_of(*both_ways("me", "a"), *both_ways("a", "b", options=INDIRECT), *both_ways("b", "c"))
    routes = graph.run()
    assert [routes[name].via for name in ("a", "b", "c")] == ["a", "a", "a"]
    assert [routes[name].indirect for name in ("a", "b", "c")] == [False, True, True]


def test_behind_an_own_indirect_edge_via_is_the_own_node() -> None:
    route = graph_of(*both_ways("me", "a", options=INDIRECT)).run()["a"]
    assert (route.via, route.nexthop) == ("me", "a")


def test_a_longer_direct_path_changes_via_but_not_the_next_hop() -> None:
    graph = graph_of(*both_ways("me", "t", 5, INDIRECT), *both_ways("me", "a", 5), *both_ways("a", "t", 5))
    route = graph.run()["t"]
    assert route == ("t", "t", 2, 5, False, 0, Address("a-t", "655"))


@pytest.mark.parametrize("limit", [0, 3, 100, 10_000])
def test_malicious_weights_cannot_prolong_a_run_or_make_a_node_unreachable(
    monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    # Each node of a layer offers better paths to the next layer than the one before: all are visited again.
    layers = [[f"layer{depth}_{number}" for number in range(12)] for depth in range(6)]
    made_up = [e for name in layers[0] for e in both_ways("evil", name, 1000 - 10 * int(name[7:]))]
    for near, far in pairwise(layers):
        for number, name in enumerate(far):
            made_up += [e for other in near for e in both_ways(other, name, 50 - number)]
    honest = [f"honest{number}" for number in range(12)]
    chain = [e for one, other in pairwise(["me", *honest]) for e in both_ways(one, other)]
    graph = graph_of(*both_ways("me", "evil"), *made_up, *chain)
    calm = graph_of(*chain).run()
    looked_at, edge_count = 0, sum(1 for _ in graph.edges())
    edges_from = graph.edges_from

    def counted(name: str) -> list[Edge]:
        nonlocal looked_at
        edges = edges_from(name)
        looked_at += len(edges)
        return edges

    monkeypatch.setattr(graph, "edges_from", counted)
    monkeypatch.setattr(graph_module, "MAX_STEPS", limit)
    routes = graph.run()
    assert routes.keys() == set(graph.nodes)
    assert {name: routes[name].nexthop for name in honest} == {name: calm[name].nexthop for name in honest}
    assert looked_at <= limit + 24 + edge_count


def test_the_tree_leaves_out_the_heaviest_edge_of_a_ring() -> None:
    graph = graph_of(
        *both_ways("me", "a", 1), *both_ways("a", "b", 2), *both_ways("b", "me", 9), *both_ways("b", "c", 3),
        edge("c", "nobody"), *both_ways("x", "y", 0),
    )  # fmt: skip
    assert {frozenset(pair) for pair in graph.tree()} == {
        frozenset(pair) for pair in (("me", "a"), ("a", "b"), ("b", "c"))
    }
    assert graph.tree_neighbours("me", {"a", "b"}) == {"a"}
    assert graph.tree_neighbours("a", {"me", "b"}) == {"me", "b"}
    assert graph.tree_neighbours("a", {"me"}) == {"me"}, "without a connection there is no neighbour"


def test_trees_of_any_size_grow_together() -> None:
    # Two trees of two and three nodes become one; the last edge of each ring is no part of it.
    graph = graph_of(
        *both_ways("me", "a", 1), *both_ways("c", "d", 2), *both_ways("d", "e", 3), *both_ways("c", "e", 4),
        *both_ways("a", "c", 5), *both_ways("me", "e", 6), *both_ways("b", "me", 7),
    )  # fmt: skip
    assert {frozenset(pair) for pair in graph.tree()} == {
        frozenset(pair) for pair in (("me", "a"), ("c", "d"), ("d", "e"), ("a", "c"), ("b", "me"))
    }


def test_the_lighter_of_two_paths_with_equal_hops_is_used_even_if_found_later() -> None:
    graph = graph_of(
        *both_ways("me", "a", 9), *both_ways("me", "b", 1), *both_ways("a", "z", 1), *both_ways("b", "z", 1)
    )
    route = graph.run()["z"]
    assert (route.nexthop, route.weighted_distance) == ("b", 2)


# -- the table --


def test_edges_are_listed_in_the_order_of_both_names() -> None:
    graph = graph_of(edge("b", "a"), edge("a", "c"), edge("a", "B"), edge("_", "a"))
    assert [(e.source, e.target) for e in graph.edges()] == [("_", "a"), ("a", "B"), ("a", "c"), ("b", "a")]
    assert [e.target for e in graph.edges_from("a")] == ["B", "c"]
    assert graph.edges_from("unknown") == []


def test_replacing_an_edge_takes_effect() -> None:
    graph = graph_of(*both_ways("me", "a", 7))
    assert graph.run()["a"].weighted_distance == 7
    graph.set_edge(edge("me", "a", 3))
    assert graph.run()["a"].weighted_distance == 3
    found = graph.edge("me", "a")
    assert found is not None
    assert found.weight == 3


def test_only_changes_make_the_graph_dirty() -> None:
    graph = graph_of(*both_ways("me", "a"))
    assert graph.dirty
    graph.run()
    graph.delete_edge("me", "nobody")
    graph.delete_edge("nobody", "me")
    assert not graph.dirty
    graph.delete_edge("me", "a")
    assert graph.dirty
    assert graph.run().keys() == {"me"}
    graph.remove_node("a")
    assert graph.dirty


def test_removing_a_node_removes_its_edges() -> None:
    graph = graph_of(*both_ways("me", "a"), *both_ways("a", "b"))
    graph.remove_node("a")
    assert set(graph.nodes) == {"me", "b"}
    assert graph.edge("a", "b") is None
    assert graph.run().keys() == {"me"}
    assert graph.tree() == []


def test_the_number_of_nodes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAX_NODES", 3)
    graph = graph_of(*both_ways("me", "a"), *both_ways("me", "b"))
    graph.add_node("a")
    with pytest.raises(LimitError):
        graph.add_node("c")
    with pytest.raises(ProtocolError):
        graph.set_edge(edge("a", "c"))
    assert graph.run().keys() == {"me", "a", "b"}
    graph.remove_node("b")
    graph.add_node("c")


def test_the_number_of_edges_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAX_EDGES", 2)
    graph = graph_of(*both_ways("me", "a"))
    graph.set_edge(edge("me", "a", 9))
    with pytest.raises(LimitError):
        graph.set_edge(edge("a", "b"))
    assert "b" not in graph.nodes
    graph.delete_edge("a", "me")
    graph.set_edge(edge("a", "b"))
    graph.remove_node("me")
    graph.set_edge(edge("b", "a"))


def test_our_own_edges_and_nodes_always_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graph_module, "MAX_EDGES", 2)
    graph = graph_of(*both_ways("a", "b"))
    for own in both_ways("me", "c"):
        graph.set_edge(own)
    with pytest.raises(LimitError):
        graph.set_edge(edge("a", "c"))
    monkeypatch.setattr(graph_module, "MAX_NODES", 4)
    with pytest.raises(LimitError):
        graph.add_node("d")
    graph.add_node("d", limited=False)
    assert {"c", "d"} <= set(graph.nodes)


def test_an_edge_shows_its_ends() -> None:
    assert repr(edge("a", "b")) == "<Edge a to b>"


def test_missing_reverse_edges_are_reported() -> None:
    graph = graph_of(*both_ways("me", "a"), edge("a", "b"), edge("c", "b"))
    assert sorted(graph.missing_edges()) == [("b", "a"), ("b", "c")]


@given(
    st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES), st.sampled_from(NAMES))),
    st.lists(st.sampled_from(NAMES), max_size=2),
    st.lists(st.tuples(st.booleans(), st.sampled_from(NAMES), st.sampled_from(NAMES))),
)
def test_missing_reverse_edges_are_kept_count_of(
    changes: list[tuple[bool, str, str]], forgotten: list[str], later: list[tuple[bool, str, str]]
) -> None:
    graph = Graph("me")
    for step in (changes, forgotten, later):
        for each in step:
            if isinstance(each, str):
                graph.remove_node(each)
            elif each[1] != each[2]:
                adds, source, target = each
                if adds:
                    graph.set_edge(edge(source, target))
                else:
                    graph.delete_edge(source, target)
        ends = {(found.source, found.target) for found in graph.edges()}
        assert set(graph.missing_edges()) == {(b, a) for a, b in ends if (b, a) not in ends}
