from __future__ import annotations

from collections.abc import Iterator

import pytest

from pytinc.lab.namespaces import LabError
from pytinc.lab.node import parse_connections, parse_edges, parse_labels, parse_nodes, wait_until

# Lines of a real tincd 1.1~pre18.
NODES = (
    "alpha id ba3ce58667ca at MYSELF port 655 cipher 0 digest 0 maclength 0 compression 0 options 700000c "
    "status 0858 nexthop alpha via alpha distance 0 pmtu 1518 (min 0 max 1518) rx 5 418 tx 4 356\n"
    "beta id 560c72de72c0 at 192.0.2.2 port 655 cipher 0 digest 0 maclength 0 compression 0 options 700000c "
    "status 08da nexthop beta via beta distance 1 pmtu 1439 (min 1439 max 1439) rx 6 392 tx 4 356 rtt 0.632\n"
    "delta id 485d4d17037c at unknown port unknown cipher 0 digest 0 maclength 0 compression 0 options 0 "
    "status 0020 nexthop - via - distance -1 pmtu 1518 (min 0 max 1518) rx 0 0 tx 0 0\n"
)


def test_a_dump_of_nodes_is_read() -> None:
    views = parse_nodes(NODES)
    assert list(views) == ["alpha", "beta", "delta"]
    beta = views["beta"]
    assert (beta.address, beta.port, beta.nexthop, beta.distance, beta.pmtu) == (
        "192.0.2.2",
        "655",
        "beta",
        1,
        1439,
    )
    assert (beta.reachable, beta.by_udp, beta.mtu_known) == (True, True, True)
    assert (views["delta"].reachable, views["delta"].by_udp, views["delta"].distance) == (False, False, -1)


def test_a_dump_of_edges_is_read() -> None:
    (edge,) = parse_edges(
        "alpha to beta at 192.0.2.2 port 655 local 192.0.2.1 port 655 options 700000c weight 1\n"
    )
    assert (edge.start, edge.end, edge.address, edge.port, edge.weight) == (
        "alpha",
        "beta",
        "192.0.2.2",
        "655",
        1,
    )


def test_a_dump_of_connections_is_read_without_the_askers_own() -> None:
    text = (
        "beta at 192.0.2.2 port 655 options 700000c socket 4 status 100\n"
        "<control> at localhost port unix options 0 socket 15 status 200\n"
    )
    assert [connection.name for connection in parse_connections(text)] == ["beta"]


@pytest.mark.parametrize("parse", [parse_nodes, parse_edges, parse_connections])
def test_a_line_of_another_form_is_an_error(parse: object) -> None:
    assert callable(parse)
    with pytest.raises(LabError, match="unexpected line"):
        parse("what is this\n")


def test_info_is_read_by_its_labels() -> None:
    labels = parse_labels("Subnet: 02:00:00:00:00:04\nOwner:  leaf\nSubnet: other\n")
    assert labels == {"Subnet": "02:00:00:00:00:04", "Owner": "leaf"}


def test_waiting_ends_when_the_condition_holds_and_a_lab_error_counts_as_false() -> None:
    calls: Iterator[bool | LabError] = iter([False, LabError("not up"), True])

    def condition() -> bool:
        answer = next(calls)
        if isinstance(answer, LabError):
            raise answer
        return answer

    assert wait_until(condition, 5, "it", interval=0) < 5


def test_a_failed_wait_reports_its_condition_and_the_last_error() -> None:
    def condition() -> bool:
        raise LabError("no daemon")

    with pytest.raises(LabError, match=r"not within 0 s: the moon \(last: no daemon\)"):
        wait_until(condition, 0, "the moon", interval=0)
