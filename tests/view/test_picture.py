from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pytinc.control.client import ControlClient
from pytinc.control.messages import SubnetRow
from pytinc.view.asking import Answers, Asker, Part
from pytinc.view.picture import (
    MAX_ADDRESSES,
    MAX_CLIENTS,
    MAX_NODES,
    MAX_SUBNETS,
    announced,
    difference,
    picture,
)
from view.conftest import Connect
from view.fake_daemon import FakeDaemon, FakeMesh


@pytest.fixture
def answers(connect: Connect) -> Answers:
    asker = Asker(connect, lambda: 50.0)
    found = asker.ask()
    asker.close()
    return found


def later(answers: Answers, seconds: float, **more: int) -> Answers:
    nodes = [
        replace(row, rx_bytes=row.rx_bytes + more.get("rx", 0), tx_bytes=row.tx_bytes + more.get("tx", 0))
        for row in answers.nodes
    ]
    return replace(answers, at=answers.at + seconds, nodes=nodes)


def test_nodes_have_their_path_program_and_rates(answers: Answers) -> None:
    shown = picture(later(answers, 2, rx=4000, tx=100), answers)["nodes"]
    assert shown["node_0"]["self"]
    assert [shown[f"node_{number}"]["path"] for number in (0, 1, 3, 5)] == ["self", "udp", "relayed", "tcp"]
    assert shown["node_3"]["relay"] == "node_1"
    assert [shown[f"node_{number}"]["kind"] for number in (0, 1, 2)] == ["pytinc", "tincd", "pytinc"]
    assert (shown["node_1"]["rx_rate"], shown["node_1"]["tx_rate"]) == (2000.0, 50.0)
    assert shown["node_1"]["subnets"] == ["2:0:0:0:0:1"]
    assert shown["node_1"]["macs"] == 1
    assert shown["node_7"]["drops"] == 7


def test_there_is_no_rate_without_an_earlier_answer_of_the_same_daemon(answers: Answers) -> None:
    assert picture(answers)["nodes"]["node_1"]["rx_rate"] is None
    restarted = replace(later(answers, 1, rx=1), pid=1)
    assert picture(restarted, answers)["nodes"]["node_1"]["rx_rate"] is None
    assert picture(later(answers, 1, rx=-1), answers)["nodes"]["node_1"]["rx_rate"] is None


def test_a_silent_node_is_one_that_the_graph_still_has(answers: Answers) -> None:
    gone = [replace(row, status=0) if row.name == "node_2" else row for row in answers.nodes]
    shown = picture(replace(answers, nodes=gone), silent={"node_1", "node_2"})["nodes"]
    assert shown["node_1"]["silent"]
    assert not shown["node_2"]["silent"]
    assert shown["node_2"]["path"] == "none"


def test_both_edges_of_a_link_are_one(answers: Answers, mesh: FakeMesh) -> None:
    shown = picture(answers)["edges"]
    assert len(shown) == len(mesh.links)
    assert {link["edges"] for link in shown.values()} == {2}
    one = shown["node_0 node_1"]
    assert (one["a"], one["b"], one["weight"]) == ("node_0", "node_1", 10)


def test_facts_about_an_address_are_together(answers: Answers) -> None:
    shown = picture(answers)["addresses"]
    assert set(shown) == {"10.1.1.10", "fd00:1::10", "10.1.1.20"}
    assert shown["10.1.1.20"]["vip"]["owner"] == "node_1"
    assert shown["10.1.1.20"]["shared"] is None
    assert [holder["node"] for holder in shown["10.1.1.10"]["shared"]["holders"]] == ["node_1", "node_3"]
    assert answers.vips is not None
    assert answers.shared is not None
    vip = {**answers.vips.addresses[0], "address": "10.1.1.10"}
    both = picture(replace(answers, vips=replace(answers.vips, addresses=(vip,))))["addresses"]["10.1.1.10"]
    assert both["vip"]
    assert both["shared"]


def test_the_picture_is_bounded(answers: Answers) -> None:
    assert answers.shared is not None
    row, address = answers.nodes[1], answers.shared.addresses[0]
    many = replace(
        answers,
        nodes=[replace(row, name=f"n{number}") for number in range(MAX_NODES + 5)],
        subnets=[SubnetRow(f"10.0.{number}.0/24", "n1") for number in range(200)],
        shared=replace(
            answers.shared,
            addresses=tuple(
                {**address, "address": f"10.1.{number}.1", "clients": address["clients"] * 30}
                for number in range(200)
            ),
        ),
    )
    shown = picture(many)
    assert len(shown["nodes"]) == MAX_NODES
    assert shown["about"]["nodes_total"] == MAX_NODES + 5
    assert len(shown["nodes"]["n1"]["subnets"]) == MAX_SUBNETS
    assert shown["nodes"]["n1"]["subnets_total"] == 200
    assert len(shown["addresses"]) == MAX_ADDRESSES
    assert len(shown["addresses"]["10.1.1.1"]["shared"]["clients"]) == MAX_CLIENTS


def test_drops_and_announcements_have_rates(answers: Answers) -> None:
    assert answers.statistics is not None

    def counted(drops: int, lines: int) -> Any:
        assert answers.statistics is not None
        daemon = {**answers.statistics.daemon, "drops": {"storm": drops}, "graph_runs": 0,
                  "requests_in": {"ADD_EDGE": lines}, "requests_out": {"DEL_SUBNET": 1}}  # fmt: skip
        return replace(answers.statistics, daemon=daemon)

    now = replace(
        answers,
        statistics=counted(30, 101),
        statistics_at=12.0,
        statistics_before=Part(10.0, counted(10, 1), 12),
    )
    health = picture(now)["health"]
    assert health["drop_rates"] == {"storm": 10.0}
    assert health["announcements"] == 102
    assert health["announcement_rate"] == 50.0
    assert health["graph_rate"] == 0.0
    first = picture(replace(now, statistics_before=None))["health"]
    assert first["announcement_rate"] is first["drop_rates"] is None


def test_a_daemon_that_does_not_count_announcements_is_not_shown_as_quiet() -> None:
    assert announced({"requests_in": None, "requests_out": None}) is None
    assert announced({}) is None
    assert announced({"requests_in": {}, "requests_out": {}}) == 0


def test_tincd_tells_nodes_and_links_only(tmp_path: Path) -> None:
    with FakeDaemon(tmp_path, FakeMesh(12, tincd=True)) as daemon:
        asker = Asker(lambda: ControlClient.connect(str(daemon.pidfile), str(daemon.socket)), lambda: 1.0)
        shown = picture(asker.ask())
        asker.close()
    assert shown["about"]["program"] == "tincd"
    assert shown["health"] is shown["guard"] is shown["policy"] is None
    assert shown["addresses"] == {}
    nodes = shown["nodes"]
    assert (nodes["node_0"]["kind"], nodes["node_1"]["kind"]) == ("tincd", None)
    assert (nodes["node_3"]["path"], nodes["node_3"]["relay"]) == ("relayed", "node_1")
    assert nodes["node_1"]["rtt_us"] > 0


def apply(old: dict[str, Any], changed: dict[str, Any]) -> dict[str, Any]:
    """Do what store.js does."""
    new: dict[str, Any] = json.loads(json.dumps(old))
    for name, value in changed.items():
        if name not in ("nodes", "edges", "addresses"):
            new[name] = value
            continue
        new[name].update(value["set"])
        for key in value["gone"]:
            del new[name][key]
    return new


def test_a_difference_makes_the_new_picture_of_the_old_one(answers: Answers) -> None:
    old = picture(answers)
    changed = later(answers, 1, rx=10)
    changed = replace(changed, nodes=changed.nodes[:-1], edges=changed.edges[4:])
    new = picture(changed, answers)
    found = difference(old, new)
    assert found["nodes"]["gone"] == ["node_11"]
    assert apply(old, found) == json.loads(json.dumps(new))


def test_nothing_that_stays_is_sent_again(answers: Answers) -> None:
    old = picture(answers, answers)
    assert difference(old, picture(answers, answers)) == {}
    one = [replace(row, rtt_us=1) if row.name == "node_4" else row for row in answers.nodes]
    found = difference(old, picture(replace(answers, nodes=one), answers))
    assert list(found) == ["nodes"]
    assert list(found["nodes"]["set"]) == ["node_4"]
