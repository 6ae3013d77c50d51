"""The view of a virtual IP: its members in order, each with its last record."""

from __future__ import annotations

from pytinc.vip.members import Address
from pytinc.vip.own_member import OwnMember
from pytinc.vip.policy_picture import virtual_ip_view
from pytinc.vip.views import MemberState, VirtualIpView
from pytinc.wire.vip_record import Claim, Entry, EntryState
from pytinc.wire.virtual_ip import Balance, TcpCheck, VirtualIP
from vip.world import ALPHA, BETA, VIP

HOST = TcpCheck(80, "10.1.1.103")


def picture(
    own: OwnMember | None, *wards: OwnMember, clients: dict[bytes, int] | None = None
) -> VirtualIpView:
    known = Address(VIP)
    for node, priority, mac in (("alpha", 50, ALPHA), ("beta", 150, BETA)):
        entry = Entry(VIP, EntryState.BACKUP, priority, mac, Claim(4, b"beta--", frozen=True), weight=20)
        known.hear(node, node.encode().ljust(6, b"-"), entry, 1, 1, 10.0)
    known.owner = "beta"
    known.note(11.0, EntryState.BACKUP, "node_1 is silent", "silent")
    return virtual_ip_view(known, own, wards, {"alpha"}, 12, (clients or {}).get, "me", 12.5)


def test_members_are_listed_by_priority_with_what_they_said() -> None:
    view = picture(None)
    assert [(member.node, member.alive, member.heard_s) for member in view.members] == [
        ("beta", False, 2.5),
        ("alpha", True, 2.5),
    ]
    assert {member.weight for member in view.members} == {20}
    assert (view.address, view.owner, view.state, view.term, view.frozen) == (
        "10.1.1.10",
        "beta",
        None,
        4,
        True,
    )
    assert (view.clients, view.checks) == (12, ())
    assert [(each.ago_s, each.reason) for each in view.transitions] == [(1.5, "node_1 is silent")]
    assert view.transition_counts == (("silent", 1),)


def test_the_own_node_is_a_member_among_others() -> None:
    own = OwnMember(VirtualIP(VIP, 32, 100, 5.0, (TcpCheck(80),), balance=Balance.CLIENT), 0.0)
    own.id, own.state, own.held_until = b"me----", EntryState.BACKUP, 20.0
    view = picture(own, clients={b"me----": 3, b"alpha-": 4})
    assert [(member.node, member.clients) for member in view.members] == [
        ("beta", None),
        ("me", 3),
        ("alpha", 4),
    ]
    mine = view.members[1]
    assert (mine.state, mine.heard_s, mine.alive, mine.balance) == (MemberState.BACKUP, None, True, "client")
    assert (view.state, view.preempt_s, view.held_s) == (MemberState.BACKUP, 5.0, 7.5)
    assert [check.text for check in view.checks] == ["tcp:80"]


def test_checks_of_wards_are_told_after_the_own_ones() -> None:
    own = OwnMember(VirtualIP(VIP, 32, checks=(TcpCheck(80),)), 0.0)
    ward = OwnMember(VirtualIP(VIP, 32, checks=(HOST,), node="node_3"), 0.0)
    assert [check.text for check in picture(own, ward).checks] == ["tcp:80", "tcp:10.1.1.103:80"]
    assert [check.text for check in picture(None, ward).checks] == ["tcp:10.1.1.103:80"]
