"""Virtual IPs by policy at the control socket: the node's report as rows, and orders carried out.

`pytinc.net.shell` has the node; `pytinc.control.vips` defines the rows and the orders.
"""

from __future__ import annotations

from typing import Protocol

from pytinc.control.objects import Values
from pytinc.control.vips import (
    MAX_ADDRESSES,
    Drain,
    Freeze,
    Move,
    Order,
    Rebalance,
    Thaw,
    Undrain,
    format_address,
    format_policy,
    one_line,
)
from pytinc.vip.views import CheckView, MemberView, PolicyView, TransitionView, VirtualIpView
from pytinc.wire.times import milliseconds


class PolicyNode(Protocol):
    """A node that carries out orders; `pytinc.node.node.Node`. All but undraining may raise `PolicyError`."""

    def vip_drain(self, now: float) -> None:
        """Serve nothing from now on."""

    def vip_undrain(self, now: float) -> None:
        """Serve again."""

    def vip_move(self, address: bytes, target: str, now: float) -> None:
        """Make another member serve an address."""

    def vip_freeze(self, address: bytes, now: float) -> None:
        """Let the owner of an address keep it."""

    def vip_thaw(self, address: bytes, now: float) -> None:
        """End `vip_freeze`."""

    def vip_rebalance(self, address: bytes, now: float) -> None:
        """Share the clients of an address evenly."""


def carry_out(order: Order, node: PolicyNode, now: float) -> None:
    """Carry out an order. Raises `PolicyError`."""
    match order:
        case Drain():
            node.vip_drain(now)
        case Undrain():
            node.vip_undrain(now)
        case Move(address, target):
            node.vip_move(address, target, now)
        case Freeze(address):
            node.vip_freeze(address, now)
        case Thaw(address):
            node.vip_thaw(address, now)
        case Rebalance(address):
            node.vip_rebalance(address, now)


def rows(view: PolicyView) -> list[str]:
    """Return the rows of DUMP_VIPS: first the node, then each virtual address."""
    policy = {"draining": view.draining, "addresses_total": len(view.addresses)}
    addresses = view.addresses[:MAX_ADDRESSES]
    return [format_policy(policy), *(format_address(_address(address)) for address in addresses)]


def _address(view: VirtualIpView) -> Values:
    return {
        "address": view.address,
        "owner": view.owner,
        "state": None if view.state is None else view.state.value,
        "term": view.term,
        "frozen": view.frozen,
        "balance": view.balance,
        "preempt_ms": None if view.preempt_s is None else milliseconds(view.preempt_s),
        "held_ms": milliseconds(view.held_s),
        "members_total": len(view.members),
        "members": [_member(member) for member in view.members],
        "checks": [_check(check) for check in view.checks],
        "clients": view.clients,
        "transitions": [_transition(transition) for transition in view.transitions],
    }


def _member(view: MemberView) -> Values:
    return {
        "node": view.node,
        "state": view.state.value,
        "priority": view.priority,
        "heard_ms": None if view.heard_s is None else milliseconds(view.heard_s),
        "alive": view.alive,
        "balance": view.balance,
        "weight": view.weight,
        "guardian": view.guardian,
        "clients": view.clients,
        "flows": view.flows,
    }


def _check(view: CheckView) -> Values:
    return {
        "check": one_line(view.text),
        "node": view.node,
        "well": view.well,
        "detail": one_line(view.detail),
        "took_us": None if view.seconds is None else max(round(view.seconds * 1e6), 0),
        "since_ms": None if view.since_s is None else milliseconds(view.since_s),
    }


def _transition(view: TransitionView) -> Values:
    return {
        "ago_ms": milliseconds(view.ago_s),
        "state": None if view.state is None else view.state.value,
        "owner": view.owner,
        "reason": one_line(view.reason),
    }
