"""Made-up answers of a daemon about virtual IPs."""

from __future__ import annotations

from typing import Any

from pytinc.control.vips import format_address, format_policy


def _member(
    node: str, state: str, priority: int, heard_ms: int | None, *, alive: bool = True
) -> dict[str, Any]:
    return {
        "node": node,
        "state": state,
        "priority": priority,
        "heard_ms": heard_ms,
        "alive": alive,
        "balance": "failover",
        "weight": 10,
        "guardian": None,
        "clients": None,
        "flows": None,
    }


MEMBERS: list[dict[str, Any]] = [
    _member("alpha", "backup", 150, None),
    _member("node_2", "active", 100, 310),
    _member("node_3", "fault", 50, 480),
    _member("node_4", "backup", 50, 9000, alive=False),
]
CHECKS: list[dict[str, Any]] = [
    {"check": "tcp:80", "node": None, "well": True, "detail": "", "took_us": 412, "since_ms": 312500},
    {
        "check": "exec:look",
        "node": None,
        "well": False,
        "detail": "exit status 1",
        "took_us": 3100,
        "since_ms": 12000,
    },
    {"check": "tcp:[::1]:443", "node": None, "well": None, "detail": "", "took_us": None, "since_ms": None},
]
TRANSITIONS: list[dict[str, Any]] = [
    {"ago_ms": 61204, "state": "backup", "owner": "node_2", "reason": "alpha was drained"},
    {"ago_ms": 99000, "state": None, "owner": None, "reason": "start"},
]
SERVED: dict[str, Any] = {
    "address": "10.1.1.10",
    "owner": "node_2",
    "state": "backup",
    "term": 4,
    "frozen": True,
    "balance": "failover",
    "preempt_ms": 30000,
    "held_ms": 0,
    "members_total": 4,
    "members": MEMBERS,
    "checks": CHECKS,
    "clients": 12,
    "transitions": TRANSITIONS,
}
FOREIGN: dict[str, Any] = {
    "address": "fd00::7",
    "owner": None,
    "state": None,
    "term": 0,
    "frozen": False,
    "balance": "failover",
    "preempt_ms": None,
    "held_ms": 0,
    "members_total": 40,
    "members": [MEMBERS[3]],
    "checks": [],
    "clients": 0,
    "transitions": [],
}


def answer(*addresses: dict[str, Any], **policy: object) -> str:
    """Return the lines of the answer to DUMP_VIPS."""
    policy = {"draining": False, "addresses_total": len(addresses), **policy}
    return "\n".join([format_policy(policy), *map(format_address, addresses), "18 4098\n"])
