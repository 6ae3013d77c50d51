"""A network of nodes: what their configuration says, and in which order daemons are started and asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from lab.local import LocalLab
from pytinc.lab.namespaces import LabError
from pytinc.lab.network import Network
from pytinc.lab.node import Kind

SEEN = "status 0010 nexthop x via x distance 1 pmtu 1518 (min 0 max 1518) rx 0 0 tx 0 0\n"


def nodes_seen(*names: str) -> str:
    """What ``dump nodes`` prints when these nodes are reachable."""
    head = "id 000000000000 at 192.0.2.9 port 655 cipher 0 digest 0 maclength 0 compression 0 options 0"
    return "".join(f"{name} {head} {SEEN}" for name in names)


@pytest.fixture
def lab(tmp_path: Path) -> LocalLab:
    return LocalLab(tmp_path)


@pytest.fixture
def network(lab: LocalLab) -> Network:
    made = Network(lab.as_lab, [("PingTimeout", "2")])
    made.add("alpha", Kind.PY)
    made.add("beta_b", Kind.PY, connect_to=["alpha", "gamma"])
    made.add("gamma", Kind.PY, ["10.9.9.9/16", "10.9.9.10/16"])
    return made


def test_nodes_are_found_by_name_and_in_the_order_they_were_added(network: Network, lab: LocalLab) -> None:
    assert [node.name for node in network] == ["alpha", "beta_b", "gamma"]
    assert network["gamma"].name == "gamma"
    assert list(lab.hosts) == ["alpha", "beta-b", "gamma"]


def test_addresses_and_mac_addresses_are_numbered_unless_they_are_given(network: Network) -> None:
    assert [node.mac for node in network] == [f"02:00:00:00:00:0{number}" for number in (1, 2, 3)]
    assert [node.address for node in network] == ["10.1.1.1", "10.1.1.2", "10.9.9.9"]
    script = (network["gamma"].confbase / "tinc-up").read_text()
    assert "address 02:00:00:00:00:03 mtu 1500 up" in script
    assert 'ip address add 10.9.9.9/16 dev "$INTERFACE"\n' in script
    assert 'ip address add 10.9.9.10/16 dev "$INTERFACE"\n' in script


def test_every_node_has_the_settings_of_the_network_and_its_own_connections(network: Network) -> None:
    text = (network["beta_b"].confbase / "tinc.conf").read_text()
    lines = text.splitlines()
    assert lines[0] == "Name = beta_b"
    for line in ("Mode = switch", "AutoConnect = no", "PingTimeout = 2", "Interface = vpn"):
        assert line in lines
    assert [line for line in lines if line.startswith("ConnectTo")] == [
        "ConnectTo = alpha",
        "ConnectTo = gamma",
    ]
    assert "ConnectTo" not in (network["alpha"].confbase / "tinc.conf").read_text()


def test_after_the_exchange_everybody_has_the_host_files_of_all(network: Network) -> None:
    network.exchange_keys()
    files = [
        {file.name: file.read_text() for file in (node.confbase / "hosts").iterdir()} for node in network
    ]
    assert set(files[0]) == {"alpha", "beta_b", "gamma"}
    assert files[0] == files[1] == files[2]
    assert "Address = 192.0.2.2" in files[0]["beta_b"]
    assert len({text.split("Ed25519PublicKey = ")[1].split()[0] for text in files[0].values()}) == 3


def test_daemons_start_one_after_the_other_and_only_those_that_run_are_stopped(
    network: Network, lab: LocalLab
) -> None:
    network.start()
    assert lab.commands == [("alpha", "start"), ("beta-b", "start"), ("gamma", "start")]
    lab.commands.clear()
    network["alpha"].stop()
    network.stop()
    assert sorted(lab.commands) == [("alpha", "stop"), ("beta-b", "stop"), ("gamma", "stop")]
    lab.commands.clear()
    network.stop()
    assert lab.commands == []


def test_it_has_converged_when_every_started_node_sees_every_other(network: Network, lab: LocalLab) -> None:
    for name in ("alpha", "gamma"):
        network[name].start()
    lab.answers["alpha", "dump nodes"] = nodes_seen("alpha", "gamma")
    lab.answers["gamma", "dump nodes"] = nodes_seen("gamma")
    assert not network.converged()
    lab.answers["gamma", "dump nodes"] = nodes_seen("alpha", "gamma")
    assert network.converged()
    assert network.wait_converged() < 30
    network["beta_b"].start()
    with pytest.raises(LabError, match="all nodes see each other"):
        network.wait_converged(timeout=0)


def test_the_ends_of_all_logs_are_shown_by_node(network: Network) -> None:
    network["alpha"].log_path.write_text("".join(f"line {number}\n" for number in range(100)))
    told = network.logs()
    assert told.startswith("--- alpha (pytincd)\n")
    assert "line 99" in told
    assert "line 5\n" not in told
    assert "--- gamma (pytincd)\n" in told
