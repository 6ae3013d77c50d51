"""TCP (iperf3) neither stalls nor breaks between nodes of the same kind and of different kinds.

``benchmarks/pairs.py`` measures the speed.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from itertools import groupby

import pytest

from pytinc.lab.echo import answers
from pytinc.lab.network import Network
from pytinc.lab.node import PATIENCE_S, Kind, wait_until
from pytinc.lab.traffic import iperf

CASTS = ("CCPP",)
ROLES = ("real_1", "real_2", "own_1", "own_2")
STALL_S = 3
DURATION_S = int(os.environ.get("PYTINC_INTEROP_IPERF_S", "30"))


@pytest.fixture(scope="module")
def network(new_network: Callable[..., Network], cast: tuple[Kind, ...]) -> Network:
    network = new_network()
    for role, kind in zip(ROLES, cast, strict=True):
        network.add(role, kind, connect_to=ROLES[: ROLES.index(role)])
    network.exchange_keys()
    network.start()
    network.wait_converged()
    return network


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sender", "receiver"),
    [("real_1", "real_2"), ("own_1", "real_1"), ("real_1", "own_1"), ("own_1", "own_2")],
)
def test_tcp_flows_without_a_stall(network: Network, sender: str, receiver: str) -> None:
    one, other = network[sender], network[receiver]
    wait_until(lambda: answers(one.host, other.address), PATIENCE_S, "an answer")
    wait_until(
        lambda: one.nodes()[receiver].mtu_known and other.nodes()[sender].mtu_known,
        PATIENCE_S,
        "both know the path MTU",
    )
    report = iperf(one.host, other.host, other.address, DURATION_S)
    # A single second without a byte may be caused by a busy machine.
    stalls = (list(group) for byte, group in groupby(report.intervals, bool) if not byte)
    assert max(map(len, stalls), default=0) < STALL_S, f"seconds without a byte: {report.intervals}"
    assert report.megabits > 1
