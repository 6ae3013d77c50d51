"""info ADDRESS in switch mode: the owner by the MAC address, or what to do to find it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from cli.test_machine import check
from cli.test_shared import GUARD
from cli.vip_answers import SERVED
from cli.vip_answers import answer as vip_answer
from pytinc.cli import owners
from pytinc.cli.neighbours import Neighbour
from pytinc.cli.owners import MAC_HINT
from pytinc.control.shared import format_guard

if TYPE_CHECKING:
    from cli.conftest import Run, ScriptedDaemon

SUBNETS = "18 5 ff:ff:ff:ff:ff:ff (broadcast)\n18 5 2:0:0:0:0:1 beta\n18 5 2:0:0:0:0:2 gamma\n18 5\n"
BETA = bytes.fromhex("020000000001")


class Kernel:
    """What the kernel knows of the address that is asked for."""

    def __init__(self) -> None:
        self.there: list[Neighbour] = []
        self.asked: list[bytes] = []

    def __call__(self, address: bytes) -> list[Neighbour]:
        self.asked.append(address)
        return self.there


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel()
    monkeypatch.setattr(owners, "neighbours", kernel)
    return kernel


@pytest.fixture
def info(run: Run, daemon: ScriptedDaemon) -> Run:
    daemon.answers |= {"5": SUBNETS, "4097": "18 -1\n", "4098": "18 -1\n"}
    return lambda *words: run("-c", "conf", "--pidfile", daemon.pidfile, "info", *words)


@pytest.mark.parametrize("address", ["10.1.1.7", "fd00:1::7"])
def test_the_owner_of_the_mac_address_is_found(info: Run, kernel: Kernel, address: str) -> None:
    kernel.there = [Neighbour("eth0", b"\x06" * 6, is_own=False), Neighbour("vpn", BETA, is_own=False)]
    assert info(address) == (
        0,
        "Subnet: 2:0:0:0:0:1\nOwner:  beta\nFound:  neighbour table of this host, interface vpn\n",
        "",
    )
    assert len(kernel.asked[0]) == (16 if ":" in address else 4)
    told = json.loads(info("--json", address).out)
    check(told, "info subnet")
    assert (told["mac"], told["interface"]) == ("02:00:00:00:00:01", "vpn")
    assert [each["owner"] for each in told["subnets"]] == ["beta"]


def test_an_own_address_is_found_by_the_own_mac_address(info: Run, kernel: Kernel) -> None:
    kernel.there = [Neighbour("vpn", BETA, is_own=True)]
    assert "Found:  this host's own address, interface vpn\n" in info("10.1.1.7").out


@pytest.mark.parametrize(
    ("there", "words"),
    [
        ([], "knows none for it: `ping 10.1.1.7' here first"),
        ([Neighbour("vpn", None, is_own=False)], "No host answers for it on interface vpn."),
        (
            [Neighbour("eth0", b"\x06" * 6, is_own=False)],
            "06:06:06:06:06:06 (interface eth0), which no node owns",
        ),
        ([Neighbour("vpn", None, is_own=True)], "It is an address of this host (interface vpn)"),
    ],
)
def test_otherwise_the_reason_and_advice_are_shown(
    info: Run, kernel: Kernel, there: list[Neighbour], words: str
) -> None:
    kernel.there = there
    status, out, err = info("10.1.1.7")
    assert (status, out) == (1, "")
    assert err.startswith("Unknown address 10.1.1.7.\n")
    assert words in err


def test_an_unknown_mac_address_is_explained(info: Run, kernel: Kernel) -> None:
    assert info("02:00:00:00:00:09") == (1, "", f"Unknown address 02:00:00:00:00:09.\n{MAC_HINT}\n")
    assert info("02:00:00:00:00:02").out == "Subnet: 2:0:0:0:0:2\nOwner:  gamma\n"
    assert kernel.asked == []


def test_in_router_mode_the_answer_is_that_of_tinc(info: Run, kernel: Kernel, daemon: ScriptedDaemon) -> None:
    daemon.answers["5"] = "18 5 10.0.0.0/8 alpha\n18 5\n"
    assert info("192.0.2.1") == (1, "", "Unknown address 192.0.2.1.\n")
    assert kernel.asked == []
    conf = Path(daemon.pidfile).parent / "tinc.conf"
    conf.write_text("Name = alpha\nMode = switch\n")
    assert "In switch mode" in info("192.0.2.1").err
    assert info("192.0.2.0/24").err == "Unknown subnet 192.0.2.0/24.\n"


def test_a_virtual_ip_is_found_by_its_members(info: Run, kernel: Kernel, daemon: ScriptedDaemon) -> None:
    daemon.answers["4097"] = f"{format_guard(GUARD)}\n18 4097\n"
    daemon.answers["4098"] = vip_answer(SERVED)
    assert "node_2" in info("10.1.1.10").out
    assert json.loads(info("--json", "10.1.1.10").out)["virtual_ip"]["owner"] == "node_2"
    assert kernel.asked == []
