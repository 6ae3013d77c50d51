"""dump: the lines that scripts read."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.node_rows import ALPHA, BETA, DELTA, FAR, MUTE, answer

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

NODES = answer(
    ALPHA,
    BETA,
    DELTA,
    FAR,
    MUTE,
    "18 3 tcp 000000000003 192.168.77.9 port 655 0 0 0 0 7000000 1a tcp tcp 2 1518 0 1518 9 1000 0 0 0 0",
)
ALPHA_BETA_DELTA = """\
alpha id ba3ce58667ca at MYSELF port 655 cipher 0 digest 0 maclength 0 compression 0 options 700000c \
status 0858 nexthop alpha via alpha distance 0 pmtu 1518 (min 0 max 1518) rx 5 418 tx 4 356
beta id 560c72de72c0 at 192.168.77.2 port 655 cipher 0 digest 0 maclength 0 compression 0 options 700000c \
status 08da nexthop beta via beta distance 1 pmtu 1439 (min 1439 max 1439) rx 6 392 tx 4 356 rtt 0.632
delta id 485d4d17037c at unknown port unknown cipher 0 digest 0 maclength 0 compression 0 options 0 \
status 0020 nexthop - via - distance -1 pmtu 1518 (min 0 max 1518) rx 0 0 tx 0 0
"""
EDGES = """\
18 4 alpha beta 192.168.77.2 port 655 192.168.77.1 port 655 700000c 1
18 4 beta alpha 192.168.77.1 port 655 unspec port unspec 700000c 1
18 4 tcp beta 192.168.77.1 port 655 unspec port unspec 700000c 0
18 4 mute far 192.168.77.1 port 655 unspec port unspec 7 300
18 4
"""
SUBNETS = "18 5 ff:ff:ff:ff:ff:ff (broadcast)\n18 5 10.20.0.1#10 alpha\n18 5 10.21.0.0/16#20 alpha\n18 5\n"
CONNECTIONS = (
    "18 6 beta 192.168.77.2 port 655 700000c 4 100\n18 6 <control> localhost port unix 0 15 200\n18 6\n"
)


@pytest.fixture
def dump(run: Run, daemon: ScriptedDaemon) -> Run:
    daemon.answers |= {"3": NODES, "4": EDGES, "5": SUBNETS, "6": CONNECTIONS}
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, "dump", *words)


def test_nodes(dump: Run) -> None:
    assert dump("nodes").out.splitlines()[:3] == ALPHA_BETA_DELTA.splitlines()


def test_only_reachable_nodes_on_request(dump: Run) -> None:
    lines = dump("REACHABLE", "Nodes").out.splitlines()
    assert [line.split()[0] for line in lines] == ["alpha", "beta", "far", "mute", "tcp"]


def test_edges(dump: Run) -> None:
    assert dump("edges").out.splitlines()[:2] == [
        "alpha to beta at 192.168.77.2 port 655 local 192.168.77.1 port 655 options 700000c weight 1",
        "beta to alpha at 192.168.77.1 port 655 local unspec port unspec options 700000c weight 1",
    ]


def test_subnets(dump: Run) -> None:
    assert dump("subnets").out.splitlines() == [
        "ff:ff:ff:ff:ff:ff owner (broadcast)",
        "10.20.0.1 owner alpha",
        "10.21.0.0/16#20 owner alpha",
    ]


def test_connections(dump: Run) -> None:
    assert dump("connections").out.splitlines() == [
        "beta at 192.168.77.2 port 655 options 700000c socket 4 status 100",
        "<control> at localhost port unix options 0 socket 15 status 200",
    ]


def test_an_undirected_graph_shows_each_pair_once(dump: Run) -> None:
    assert dump("graph").out == (
        "graph {\n"
        ' "alpha" [label = "alpha", color = "green", style = "filled"];\n'
        ' "beta" [label = "beta", color = "green"];\n'
        ' "delta" [label = "delta", color = "red"];\n'
        ' "far" [label = "far", color = "orange"];\n'
        ' "mute" [label = "mute", color = "black"];\n'
        ' "tcp" [label = "tcp", color = "black"];\n'
        ' "beta" -- "alpha" [w = 65537.000000, weight = 65537.000000];\n'
        ' "tcp" -- "beta" [w = inf, weight = inf];\n'
        ' "mute" -- "far" [w = 219.453339, weight = 219.453339];\n'
        "}\n"
    )


def test_a_directed_graph_shows_every_edge(dump: Run) -> None:
    lines = dump("digraph").out.splitlines()
    assert lines[0] == "digraph {"
    assert [line.split("[")[0] for line in lines if "->" in line] == [
        ' "alpha" -> "beta" ',
        ' "beta" -> "alpha" ',
        ' "tcp" -> "beta" ',
        ' "mute" -> "far" ',
    ]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ([], "Invalid number of arguments."),
        (["nodes", "beta"], "Invalid number of arguments."),
        (["reachable", "nodes", "x"], "Invalid number of arguments."),
        (["reachable", "edges"], "`reachable' only supported for nodes."),
        (["reachable"], "Unknown dump type 'reachable'."),
        (["Traffic"], "Unknown dump type 'Traffic'."),
    ],
)
def test_wrong_words_are_reported_with_a_hint(dump: Run, words: list[str], complaint: str) -> None:
    result = dump(*words)
    assert result == (1, "", f"{complaint}\nTry `pytinc --help' for more information.\n")


def test_the_type_is_checked_after_connecting(run: Run, conf: Path) -> None:
    assert run("-c", "conf", "dump", "foo").err.startswith("Could not open pid file")


def test_outstanding_invitations_need_no_daemon(run: Run, conf: Path) -> None:
    directory = conf / "invitations"
    assert run("-c", "conf", "dump", "invitations") == (0, "", "No outstanding invitations.\n")
    directory.mkdir()
    assert run("-c", "conf", "dump", "invitations") == (0, "", "No outstanding invitations.\n")
    good, used, bad = "6d9gVU9daFVaOhQmAybF6Hz0", "-TLEHNwV0u-5-03aQUU_vNx_.used", "0" * 24
    (directory / good).write_text("Name = delta\nNetName = vpn\n")
    (directory / used).write_text("Name = epsilon\n")
    (directory / bad).write_text("Nam = zeta\n")
    (directory / "ed25519_key.priv").write_text("no invitation")
    result = run("-c", "conf", "dump", "invitations")
    assert sorted(result.out.splitlines()) == sorted([f"{good} delta", f"{used} epsilon"])
    assert result.err == f"Invalid invitation file conf/invitations/{bad}\n"
