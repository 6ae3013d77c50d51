"""Admission of meta connections: strangers cannot keep known nodes out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from pytinc.config.settings import HostPort
from pytinc.node import admission
from pytinc.node.actions import CloseMeta
from pytinc.node.admission import MAX_HALF_OPEN, Burst, source_of
from pytinc.wire.address import Address

if TYPE_CHECKING:
    from node.conftest import MakeStage, Stage

BURST = 10  # the default of MaxConnectionBurst
STRANGER = "10.7.0.1"


def accept(alpha: Stage, host: str = STRANGER) -> int:
    """Have somebody connect; return the connection's number."""
    numbers: list[int] = []
    remote, local = Address(host, "4000"), Address("10.99.0.1", "655")
    alpha.call(lambda node, now: numbers.append(node.meta_accepted(remote, local, now)))
    return numbers[0]


def takes(alpha: Stage, host: str = STRANGER) -> bool:
    """Have somebody connect; tell whether the connection was taken."""
    return accept(alpha, host) in alpha.node.core.connections


def closed(alpha: Stage) -> dict[int, bool]:
    """Return the connections that were closed, and whether each went to the tarpit."""
    return {action.connection: action.tarpit for action in alpha.asked(CloseMeta)}


# -- the bucket --


def test_refused_connections_do_not_keep_the_bucket_full() -> None:
    burst = Burst()
    assert [burst.is_exceeded(3, 0.0) for _ in range(50)] == [False] * 3 + [True] * 47
    assert not burst.is_exceeded(3, 1.0)
    assert burst.is_exceeded(3, 1.0)


def test_each_second_makes_room_for_one_connection_up_to_the_burst() -> None:
    burst = Burst()
    assert [burst.is_exceeded(2, 0.0) for _ in range(3)] == [False, False, True]
    assert burst.is_exceeded(2, 0.9)
    assert [burst.is_exceeded(2, 2.0) for _ in range(3)] == [False, False, True]
    assert [burst.is_exceeded(2, 1000.0) for _ in range(3)] == [False, False, True]
    assert burst.is_exceeded(0, 2000.0)


def test_an_unforgiving_bucket_opens_only_after_a_rest_however_many_were_refused() -> None:
    burst = Burst()
    assert sum(not burst.is_exceeded(3, tick / 2, unforgiving=True) for tick in range(1000)) == 5
    assert burst.is_exceeded(3, 500.0, unforgiving=True)
    assert not burst.is_exceeded(3, 502.0, unforgiving=True)


@pytest.mark.parametrize(
    ("host", "source"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("2001:db8:0:7::1", "20010db800000007"),
        ("2001:db8:0:7:ffff::9", "20010db800000007"),
        ("fe80::1%eth0", "fe80000000000000"),
        ("gate.example.org", "gate.example.org"),
        ("no:address", "no:address"),
    ],
)
def test_ipv6_hosts_are_counted_by_their_network(host: str, source: str) -> None:
    assert source_of(host) == source


# -- strangers --


def test_connections_beyond_the_burst_are_refused_except_from_the_own_machine(stage: MakeStage) -> None:
    alpha = stage("beta", max_connection_burst=2)
    numbers = [accept(alpha) for _ in range(4)]
    assert closed(alpha) == {numbers[2]: False, numbers[3]: False}
    assert list(alpha.node.core.connections) == numbers[:2]
    local = [accept(alpha, host) for host in ("127.0.0.1", "127.9.9.9", "::1") for _ in range(3)]
    assert set(closed(alpha)).isdisjoint(local)
    assert len(set(numbers + local)) == 13  # no number twice, refused ones included


def test_a_stranger_that_goes_on_and_on_stops_only_itself(stage: MakeStage) -> None:
    alpha = stage()
    taken = 0
    for tick in range(200):
        alpha.now = tick / 20
        taken += takes(alpha)
    assert taken <= BURST + 1
    assert takes(alpha, "10.7.0.2")  # a joiner, for example


def test_many_strangers_are_limited_together(stage: MakeStage) -> None:
    alpha = stage()
    assert sum(takes(alpha, f"10.7.{n // 256}.{n % 256}") for n in range(1000)) == BURST


def test_memory_of_strangers_is_bounded(stage: MakeStage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(admission, "MAX_SOURCES", 100)
    alpha = stage()
    for n in range(1000):
        takes(alpha, f"10.7.{n // 256}.{n % 256}")
    assert len(alpha.node._admission._bursts) == 100


def test_strangers_who_only_connect_are_bounded_and_keep_no_known_one_out(stage: MakeStage) -> None:
    alpha = stage("beta", max_connection_burst=100_000)
    beta = alpha.neighbour("beta")
    assert [takes(alpha) for _ in range(MAX_HALF_OPEN + 1)] == [True] * MAX_HALF_OPEN + [False]
    known = alpha.host("beta")
    assert [takes(alpha, known) for _ in range(MAX_HALF_OPEN + 1)] == [True] * MAX_HALF_OPEN + [False]
    assert not beta.closed


# -- known addresses --


def flood(alpha: Stage) -> None:
    """Let strangers use up all that is there for strangers."""
    for n in range(1000):
        accept(alpha, f"10.7.{n // 256}.{n % 256}")
    assert not takes(alpha, "10.8.0.1")


def test_a_node_that_has_logged_in_before_is_let_in_among_strangers(stage: MakeStage) -> None:
    alpha = stage("beta", "gamma")
    # Its address is not in our files.
    alpha.hosts.files["beta"] = replace(alpha.hosts.files["beta"], addresses=())
    alpha.reload()
    alpha.neighbour("beta").hang_up()
    flood(alpha)
    assert [takes(alpha, alpha.host("beta")) for _ in range(BURST)] == [True] * (BURST - 1) + [False]
    alpha.now += 1.0
    assert takes(alpha, alpha.host("beta"))


@pytest.mark.parametrize("where", ["host file", "cache"])
def test_a_node_named_in_our_files_is_let_in_among_strangers(stage: MakeStage, where: str) -> None:
    alpha = stage("beta")
    beta = alpha.hosts.files["beta"]
    if where == "host file":
        addresses = (HostPort("gate.example.org"), HostPort("10.50.0.1"))
        alpha.hosts.files["beta"] = replace(beta, addresses=addresses)
    else:
        alpha.hosts.caches["beta"] = (Address("10.50.0.1", "655"),)
    alpha.reload()
    flood(alpha)
    assert takes(alpha, "10.50.0.1")


def test_a_node_without_a_host_file_is_a_stranger(stage: MakeStage) -> None:
    alpha = stage("beta")
    alpha.neighbour("beta")
    del alpha.hosts.files["beta"]
    alpha.reload()
    flood(alpha)
    assert not takes(alpha, alpha.host("beta"))
