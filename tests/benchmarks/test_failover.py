from __future__ import annotations

import pytest

from comparison.failover_figures import FAULTS
from comparison.failover_keepalived import configuration
from comparison.failover_lab import VIP_PREFIXES, count_flips, flapping
from comparison.failover_runs import narrate
from failover import in_order, parse, runs_of

MONITORED = """\
10.1.1.10 lladdr 02:00:00:00:00:02 REACHABLE
10.1.1.1 lladdr 02:00:00:00:00:01 STALE
10.1.1.10 lladdr 02:00:00:00:00:03 STALE
Deleted 10.1.1.10 lladdr 02:00:00:00:00:02 STALE
10.1.1.10 FAILED
10.1.1.10 lladdr 02:00:00:00:00:03 PROBE
fd00:1::10 lladdr 02:00:00:00:00:04 REACHABLE
10.1.1.10 dev vpn lladdr 02:00:00:00:00:02 REACHABLE
"""


def test_flips_are_changes_of_the_entry_of_one_address() -> None:
    assert count_flips(MONITORED, "10.1.1.10") == 2
    assert count_flips(MONITORED, "fd00:1::10") == 0
    assert count_flips("", "10.1.1.10") == 0


def test_members_ask_with_the_virtual_address_as_sender() -> None:
    assert "-I fd00:1::10 fd00:1::2" in flapping("ipv6")
    assert "-I" not in flapping("ipv4"), "on these hosts it is the primary address"


def test_keepalived_gets_an_instance_for_each_family() -> None:
    addresses = {"ipv4": ["10.1.1.102", "10.1.1.103"], "ipv6": ["fd00:1::102", "fd00:1::103"]}
    text = configuration("node_2", 110, addresses, VIP_PREFIXES)
    assert text.count("vrrp_instance") == 2
    assert text.count("priority 110\n") == 2
    assert text.count("advert_int 0.1\n") == 2
    assert text.count("nopreempt\n") == 2
    assert "unicast_src_ip 10.1.1.102\n    unicast_peer {\n        10.1.1.103\n    }" in text
    assert "fe80::10/64 dev vpn\n        fd00:1::10/64 dev vpn\n" in text
    assert text.count("{") == text.count("}")


def test_by_default_everything_is_measured() -> None:
    options = parse([])
    assert options.faults == list(FAULTS)
    assert options.families == ["ipv4", "ipv6"]
    assert runs_of(options, "members", "cut", "ipv4") == 50
    assert runs_of(options, "members", "cut", "ipv6") == 10
    assert runs_of(options, "pytinc", "cut", "ipv4") == 10
    assert runs_of(options, "C", "cut", "ipv4") == 3


def test_a_quick_run_has_few_cells_unless_other_options_are_given() -> None:
    options = parse(["--quick", "--casts", "C"])
    assert options.casts == ["C"]
    assert options.faults == ["stop", "kill", "cut"]
    assert options.families == ["ipv4"]
    assert options.flips == 0
    assert runs_of(options, "members", "cut", "ipv4") == 2
    assert runs_of(parse(["--quick", "--runs", "7"]), "C", "cut", "ipv4") == 7


def test_lanes_with_the_most_work_come_first() -> None:
    lanes = in_order(parse([]), ["client", "members", "C"])
    assert lanes[0] == ("members", "ipv4")
    assert lanes[-1] == ("C", "ipv6")
    assert len(lanes) == 6


def test_faults_can_be_left_out() -> None:
    assert parse(["--faults", "none"]).faults == []
    assert parse(["--faults", "cut, stop"]).faults == ["stop", "cut"], "in the order of the tables"


@pytest.mark.parametrize(
    "arguments", [["--casts", "D"], ["--casts", "none"], ["--runs", "0"], ["--jobs", "0"]]
)
def test_wrong_options_end_the_program(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        parse(arguments)
    assert "usage:" in capsys.readouterr().err


def test_a_lane_reports_each_result_in_a_line() -> None:
    run = {
        "cast": "C", "fault": "cut", "family": "ipv4", "recovered": False, "silence": 70.01, "lost": 7000,
        "tcp": 70.02, "holder": "node_2", "successor": "nobody",
    }  # fmt: skip
    assert narrate("run", run) == (
        "C          cut    ipv4: silence > 70.010 s, 7000 lost, TCP 70.020 s, node_2 -> nobody"
    )
    assert narrate("note", {"text": "oh"}) == "oh"
    flips = {"cast": "C", "family": "ipv6", "seconds": 30.0, "flips": 3, "silence": 0.02}
    assert narrate("flips", flips) == "C          flips  ipv6: 3 in 30 s, silence 0.020 s"
