"""The view of virtual IPs as rows, their units and bounds; and orders that reach the node."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from pytinc.control.vips import (
    MAX_ADDRESSES,
    MAX_TEXT,
    Drain,
    Freeze,
    Move,
    Order,
    Rebalance,
    Thaw,
    Undrain,
    parse_rows,
)
from pytinc.errors import PolicyError
from pytinc.net.vips import carry_out, rows
from pytinc.vip.views import (
    CheckView,
    MemberState,
    MemberView,
    PolicyView,
    TransitionView,
    VirtualIpView,
)

MEMBERS = (
    MemberView("node_1", MemberState.BACKUP, 150, None, True, "client", 20, 7, 90),
    MemberView("node_2", MemberState.ACTIVE, 100, 0.3104, True),
    MemberView("node_3", MemberState.FAULT, 50, 9.0, False),
)
CHECKS = (
    CheckView("tcp:80", True, "", 0.000412, 312.5),
    CheckView("exec:check", None, "", None, None),
)
TRANSITIONS = (TransitionView(61.2, MemberState.BACKUP, "node_2", "node_1 is silent"),)
SERVED = VirtualIpView(
    "10.1.1.10", "node_2", MemberState.BACKUP, 4, False, 30.0, MEMBERS, CHECKS, 12, TRANSITIONS
)
FOREIGN = VirtualIpView(
    "fd00::1", None, None, 0, True, None, (), (), 0, (TransitionView(1.0, None, None, "x"),)
)
VIEW = PolicyView(draining=True, addresses=(SERVED, FOREIGN))


def test_the_rows_have_whole_numbers_and_words() -> None:
    told = parse_rows(rows(VIEW))
    assert told.policy == {"draining": True, "addresses_total": 2}
    first, second = told.addresses
    assert first == {
        "address": "10.1.1.10",
        "owner": "node_2",
        "state": "backup",
        "term": 4,
        "frozen": False,
        "balance": "failover",
        "preempt_ms": 30000,
        "held_ms": 0,
        "members_total": 3,
        "members": [
            {
                "node": "node_1",
                "state": "backup",
                "priority": 150,
                "heard_ms": None,
                "alive": True,
                "balance": "client",
                "weight": 20,
                "guardian": None,
                "clients": 7,
                "flows": 90,
            },
            {
                "node": "node_2",
                "state": "active",
                "priority": 100,
                "heard_ms": 310,
                "alive": True,
                "balance": "failover",
                "weight": 10,
                "guardian": None,
                "clients": None,
                "flows": None,
            },
            {
                "node": "node_3",
                "state": "fault",
                "priority": 50,
                "heard_ms": 9000,
                "alive": False,
                "balance": "failover",
                "weight": 10,
                "guardian": None,
                "clients": None,
                "flows": None,
            },
        ],
        "checks": [
            {"check": "tcp:80", "node": None, "well": True, "detail": "", "took_us": 412, "since_ms": 312500},
            {
                "check": "exec:check",
                "node": None,
                "well": None,
                "detail": "",
                "took_us": None,
                "since_ms": None,
            },
        ],
        "clients": 12,
        "transitions": [
            {"ago_ms": 61200, "state": "backup", "owner": "node_2", "reason": "node_1 is silent"}
        ],
    }
    assert (second["owner"], second["state"], second["frozen"], second["preempt_ms"]) == (
        None,
        None,
        True,
        None,
    )
    assert second["transitions"] == [{"ago_ms": 1000, "state": None, "owner": None, "reason": "x"}]


def test_the_number_of_addresses_is_bounded() -> None:
    many = tuple(replace(SERVED, address=f"10.2.{n >> 8}.{n & 255}") for n in range(MAX_ADDRESSES + 5))
    told = parse_rows(rows(PolicyView(draining=False, addresses=many)))
    assert [address["address"] for address in told.addresses] == [
        view.address for view in many[:MAX_ADDRESSES]
    ]
    assert told.policy["addresses_total"] == MAX_ADDRESSES + 5


def test_output_of_a_script_cannot_break_a_row_or_a_terminal() -> None:
    noisy = CheckView("exec:x", False, "first\nsecond\x1b[31m\t" + "y" * 1000, -0.1, -0.1)
    (told,) = parse_rows(
        rows(PolicyView(draining=False, addresses=(replace(SERVED, checks=(noisy,)),)))
    ).addresses
    (check,) = told["checks"]
    assert check["detail"].startswith("first second [31m yyy")
    assert len(check["detail"]) == MAX_TEXT
    assert (check["took_us"], check["since_ms"]) == (0, 0)


def test_every_state_is_documented() -> None:
    document = (Path(__file__).resolve().parents[2] / "docs/json.md").read_text()
    (section,) = re.findall(r"^## virtual IP\n(.*?)(?=^## )", document, re.MULTILINE | re.DOTALL)
    (meaning,) = re.findall(r"^\| state \| string\? \| (.*)$", section, re.MULTILINE)
    assert re.findall(r"`(\w+)`", meaning) == [state.value for state in MemberState]


class FakeNode:
    """Writes the orders down."""

    def __init__(self) -> None:
        self.calls: list[tuple[object, ...]] = []

    def vip_drain(self, now: float) -> None:
        self.calls.append(("drain", now))

    def vip_undrain(self, now: float) -> None:
        self.calls.append(("undrain", now))

    def vip_move(self, address: bytes, target: str, now: float) -> None:
        if target == "nosuch":
            raise PolicyError("nosuch is no member")
        self.calls.append(("move", address, target, now))

    def vip_freeze(self, address: bytes, now: float) -> None:
        self.calls.append(("freeze", address, now))

    def vip_thaw(self, address: bytes, now: float) -> None:
        self.calls.append(("thaw", address, now))

    def vip_rebalance(self, address: bytes, now: float) -> None:
        self.calls.append(("rebalance", address, now))


VIP = bytes((10, 1, 1, 10))


@pytest.mark.parametrize(
    ("order", "call"),
    [
        (Drain(), ("drain", 7.5)),
        (Undrain(), ("undrain", 7.5)),
        (Move(VIP, "node_3"), ("move", VIP, "node_3", 7.5)),
        (Freeze(VIP), ("freeze", VIP, 7.5)),
        (Thaw(VIP), ("thaw", VIP, 7.5)),
        (Rebalance(VIP), ("rebalance", VIP, 7.5)),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "",
)
def test_an_order_reaches_the_node(order: Order, call: tuple[object, ...]) -> None:
    node = FakeNode()
    carry_out(order, node, 7.5)
    assert node.calls == [call]


def test_a_refusal_of_the_node_comes_back() -> None:
    with pytest.raises(PolicyError, match="nosuch is no member"):
        carry_out(Move(VIP, "nosuch"), FakeNode(), 0.0)
