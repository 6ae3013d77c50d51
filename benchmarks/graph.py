"""One graph run of a large mesh: ``python benchmarks/graph.py [--nodes N] [--connections N] [--rounds N]``.

A run is the work after a change of an edge: sorting one node's edges, the shortest paths to every node, and
the spanning tree. The mesh is connected and otherwise random, a tenth of its edges INDIRECT. The output names
machine, kernel, Python and commit.
"""

from __future__ import annotations

import argparse
import os
import platform
import random
import statistics
import time
from collections.abc import Callable

from comparison.machine import commit, processor
from pytinc.protocol.graph import Edge, Graph
from pytinc.wire.address import Address
from pytinc.wire.bits import OptionBits

ADDRESS = Address("192.0.2.1", "655")
GOAL_MS = 30.0


def machine() -> str:
    """Return machine, kernel, Python and commit."""
    return (
        f"{os.cpu_count()} x {processor()}, kernel {platform.release()}, "
        f"Python {platform.python_version()}, commit {commit() or 'none'}"
    )


def build(nodes: int, connections: int, seed: int = 1) -> Graph:
    """Return the edges of a connected random mesh; every connection has two edges."""
    rng = random.Random(seed)
    names = [f"node{number:05d}" for number in range(nodes)]
    pairs = {(rng.randrange(number), number) for number in range(1, nodes)}
    while len(pairs) < connections:
        one, other = rng.sample(range(nodes), 2)
        pairs.add((min(one, other), max(one, other)))
    graph = Graph(names[0])
    for one, other in sorted(pairs):
        options = OptionBits.INDIRECT if rng.random() < 0.1 else 0
        weight = rng.randrange(1, 200)
        graph.set_edge(Edge(names[one], names[other], ADDRESS, None, options, weight))
        graph.set_edge(Edge(names[other], names[one], ADDRESS, None, options, weight))
    return graph


def time_ms(action: Callable[[], object], rounds: int) -> float:
    """Return the median of several runs."""
    taken: list[float] = []
    for _ in range(rounds):
        start = time.perf_counter()
        action()
        taken.append((time.perf_counter() - start) * 1000)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nodes", type=int, default=1000)
    parser.add_argument("--connections", type=int, default=5000)
    parser.add_argument("--rounds", type=int, default=15)
    arguments = parser.parse_args()
    graph = build(arguments.nodes, arguments.connections)
    me, edges = graph.me, list(graph.edges())
    neighbours = {edge.target for edge in graph.edges_from(me)}
    assert len(graph.run()) == arguments.nodes

    def change() -> None:
        edge = edges[len(edges) // 2]
        graph.set_edge(edge)

    def everything() -> None:
        change()
        graph.run()
        graph.tree_neighbours(me, neighbours)

    print(machine())
    print(f"{arguments.nodes} nodes, {len(edges)} edges ({arguments.connections} connections), ms per run:")
    paths = time_ms(graph.run, arguments.rounds)
    tree = time_ms(graph.tree, arguments.rounds)
    both = time_ms(everything, arguments.rounds)
    print(f"  shortest paths {paths:6.1f}")
    print(f"  spanning tree  {tree:6.1f}")
    print(f"  after a change {both:6.1f}   goal {GOAL_MS:.0f}")


if __name__ == "__main__":
    main()
