"""Nine hosts, C and pytinc mixed, ping each other while hosts are restarted at random, one after the other.

A restart must explain every ping without an answer (interop/chaos.py). ``PYTINC_INTEROP_CHAOS_SECONDS`` sets
the duration, ``_SEED`` chooses another sequence of restarts, and ``_CAST`` gives other kinds to the hosts
(nine letters; ``CCCCCCCCC``, or ``--control``, shows what tinc alone does). The table of lost pings is
printed and written to ``results/chaos.md``. `benchmarks/long_run.py` does the same for an hour, with more
kinds of faults.
"""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import chaos
from chaos import END_RECOVERS_S, LINKS, NAMES, Fault, Pings
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, Node, wait_until

CASTS = (os.environ.get("PYTINC_INTEROP_CHAOS_CAST", "PCPCPPCCP"),)
SECONDS = float(os.environ.get("PYTINC_INTEROP_CHAOS_SECONDS", "60"))
SEED = int(os.environ.get("PYTINC_INTEROP_CHAOS_SEED", "1"))
RESULT = Path(__file__).parent / "results" / "chaos.md"


@pytest.fixture(scope="module")
def mesh(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    return chaos.build(new_network, cast)


def restarts(network: Network, choose: random.Random, until: float) -> Iterator[Fault]:
    """Restart one random host after the other until the time is up."""
    while True:
        pause = choose.uniform(1, 9)
        name, how, down = choose.choice(NAMES), choose.choice(("stop", "kill", "both")), choose.uniform(0, 3)
        if time.monotonic() + pause + down > until:
            return
        time.sleep(pause)
        began = time.monotonic()
        chaos.bring_down(network[name], how)
        time.sleep(down)
        network[name].start()
        yield Fault(name, how, began, time.monotonic())


@pytest.mark.timeout(SECONDS + 300)
def test_every_lost_ping_is_explained_by_a_restart(mesh: Network, cast: tuple[Kind, ...]) -> None:
    pings = Pings(mesh)
    zero = time.monotonic()
    time.sleep(2)
    done = []
    for restart in restarts(mesh, random.Random(SEED), zero + SECONDS - END_RECOVERS_S - 2):
        done.append(restart)
        print(
            f"{restart.began - zero:7.1f}  {restart.name} {restart.how}, ready after "
            f"{restart.over - restart.began:.1f} s"
        )
    time.sleep(max(0, zero + SECONDS - time.monotonic()))
    flows = pings.stop()
    kinds = dict(zip(NAMES, cast, strict=True))
    report, unexplained = chaos.report(flows, done, zero, kinds)
    report.insert(0, f"## Restarts at random, {SECONDS:g} s, seed {SEED}\n")
    print("\n".join(report))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text("\n".join(report) + "\n")
    assert not unexplained


def test_all_hosts_finally_agree_about_the_network(mesh: Network) -> None:
    mesh.wait_converged()
    expected = sorted(link for one, other in LINKS for link in ((one, other), (other, one)))

    def knows_all(node: Node) -> bool:
        edges = sorted((edge.start, edge.end) for edge in node.edges())
        return chaos.reachable(node) == list(NAMES) and edges == expected

    for node in mesh:
        wait_until(partial(knows_all, node), PATIENCE_S, f"{node.name} knows all edges and reaches all")


def test_no_log_mentions_anything_invalid(mesh: Network) -> None:
    lines = [
        f"{node.name}: {line}"
        for node in mesh
        for line in node.log().splitlines()
        if chaos.BAD.search(line) and not (node.kind is Kind.C and chaos.CROSSING.search(line))
    ]
    assert lines == []
