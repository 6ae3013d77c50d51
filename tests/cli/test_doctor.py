"""doctor: each check, with the machine as it is or as it is made to look."""

from __future__ import annotations

import json
import os
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from pytinc.cli import doctor, firewall

if TYPE_CHECKING:
    from cli.conftest import Result, Run, ScriptedDaemon

END_OF_NODES, END_OF_SUBNETS = "18 3\n", "18 5\n"


def node(name: str, *, status: int = 0x112, mtu: int = 1451) -> str:
    way = f"{name} {name} 1 {mtu} {mtu if status & 0x80 else 0} {mtu}"
    return f"18 3 {name} 485d4d17037c 192.0.2.7 port 655 0 0 0 0 700000c {status:x} {way} 0 -1 0 0 0 0\n"


ALPHA = node("alpha").replace("192.0.2.7 port 655", "MYSELF port 655")


@pytest.fixture
def healthy(conf: Path) -> Path:
    """The configuration of a node that needs no device."""
    (conf / "tinc.conf").write_text("Name = alpha\nDeviceType = dummy\n")
    return conf


def judged(result: Result) -> dict[str, str]:
    """Return the result of each check."""
    return {check["check"]: check["result"] for check in json.loads(result.out)["checks"]}


def test_there_is_a_line_for_each_check_and_advice_for_what_is_wrong(run: Run, healthy: Path) -> None:
    (healthy / "ed25519_key.priv").chmod(0o644)
    result = run("-c", str(healthy), "doctor")
    assert result.status == 1
    lines = result.out.splitlines()
    assert all(line.startswith(("ok ", "warning ", "problem ")) for line in lines)
    assert any(line.startswith("warning  key:") and "chmod 600" in line for line in lines)
    assert any(line.startswith("problem  daemon: it does not run.") and "start" in line for line in lines)


def test_without_a_network_the_next_step_is_named(run: Run) -> None:
    result = run("doctor")
    assert result.status == 1
    assert "init NAME" in result.out


def test_a_missing_key_and_a_bad_value_are_problems(run: Run, healthy: Path) -> None:
    (healthy / "ed25519_key.priv").unlink()
    (healthy / "tinc.conf").write_text("Name = alpha\nMode = nonsense\n")
    found = judged(run("-c", str(healthy), "doctor", "--json"))
    assert (found["key"], found["configuration"]) == ("problem", "problem")


def test_a_clock_behind_the_files_is_a_problem(run: Run, healthy: Path) -> None:
    assert judged(run("-c", str(healthy), "doctor", "--json"))["clock"] == "ok"
    os.utime(healthy / "tinc.conf", (time.time() + 1e6, time.time() + 1e6))
    assert judged(run("-c", str(healthy), "doctor", "--json"))["clock"] == "problem"


def test_a_port_that_another_program_has_is_a_problem(run: Run, healthy: Path) -> None:
    with socket.socket() as other:
        other.bind(("", 0))
        other.listen()
        (healthy / "hosts/alpha").write_text(f"Port = {other.getsockname()[1]}\n")
        assert judged(run("-c", str(healthy), "doctor", "--json"))["port"] == "problem"


def test_a_device_that_is_missing_is_a_problem(
    run: Run, healthy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (healthy / "tinc.conf").write_text("Name = alpha\n")
    monkeypatch.setattr(doctor, "TUN_DEVICE", str(healthy / "nosuch"))
    assert judged(run("-c", str(healthy), "doctor", "--json"))["device"] == "problem"
    (healthy / "nosuch").touch()
    assert judged(run("-c", str(healthy), "doctor", "--json"))["device"] == "ok"


@pytest.mark.parametrize(
    ("nodes", "result"),
    [
        ("", "warning"),
        (node("beta", status=0x20), "problem"),
        (node("beta"), "warning"),
        (node("beta", status=0x1B2), "ok"),
        (node("beta", status=0x1B2, mtu=900), "warning"),
    ],
    ids=["nobody", "unreachable", "no UDP", "UDP", "low MTU"],
)
def test_the_nodes_of_the_mesh(
    run: Run, healthy: Path, daemon: ScriptedDaemon, nodes: str, result: str
) -> None:
    daemon.answers = {"3": ALPHA + nodes + END_OF_NODES, "5": END_OF_SUBNETS}
    found = judged(run("-c", str(healthy), f"--pidfile={daemon.pidfile}", "doctor", "--json"))
    assert found["nodes"] == result


def test_addresses_of_several_nodes_and_other_modes_are_named(
    run: Run, healthy: Path, daemon: ScriptedDaemon
) -> None:
    subnets = "18 5 10.0.0.0/24 beta\n18 5 10.0.0.0/24 gamma\n18 5 02:00:00:00:00:01 beta\n"
    daemon.answers = {"3": ALPHA + node("beta") + node("gamma") + END_OF_NODES, "5": subnets + END_OF_SUBNETS}
    result = run("-c", str(healthy), f"--pidfile={daemon.pidfile}", "doctor")
    assert "10.0.0.0/24 (beta, gamma)" in result.out
    assert "Mode = router here, but another mode seems to be in use at beta." in result.out
    (healthy / "tinc.conf").write_text("Name = alpha\nMode = switch\nDeviceType = dummy\n")
    result = run("-c", str(healthy), f"--pidfile={daemon.pidfile}", "doctor")
    assert "another mode seems to be in use at gamma." in result.out


@pytest.mark.parametrize(
    ("rules", "result", "words"),
    [
        (None, "ok", "not checked"),
        ([], "ok", "lets tcp and udp to port 655 in"),
        ([{}], "warning", "inet filter input refuses tcp and udp to port 655"),
        ([{"limit": {"rate": 3}}, {"accept": None}], "ok", "rules with conditions decide about tcp and udp"),
    ],
)
def test_the_firewall_of_the_host_is_looked_at(
    run: Run,
    healthy: Path,
    monkeypatch: pytest.MonkeyPatch,
    rules: list[dict[str, Any]] | None,
    result: str,
    words: str,
) -> None:
    chain = {"family": "inet", "table": "filter", "name": "input", "hook": "input", "policy": "drop"}
    rule = {"family": "inet", "table": "filter", "chain": "input", "expr": rules}
    ruleset = None if rules is None else [{"chain": chain}, {"rule": rule}] if rules else []
    monkeypatch.setattr(firewall, "read_ruleset", lambda: ruleset)
    found = run("-c", str(healthy), "doctor", "--json")
    (check,) = (check for check in json.loads(found.out)["checks"] if check["check"] == "firewall")
    assert check["result"] == result
    assert words in check["message"]
