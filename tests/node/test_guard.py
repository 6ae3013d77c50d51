"""Between the node and the guard of shared addresses: facts go in, and the guard's actions are carried out.

What the guard decides is tested in `tests/vip`, and a mesh of them in `tests/sim`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from node.conftest import FarEnd
from pytinc.config.settings import Broadcast, Mode
from pytinc.datapath.flow_table import OTHER_LIFE
from pytinc.node.actions import Log, RunScript, SendDatagram, Withdrawn
from pytinc.node.guard import RIVAL_USE, USES_INTERVAL, USES_LIFE
from pytinc.vip import actions
from pytinc.vip.actions import FlowShares, Rules
from pytinc.wire.neighbour import Kind, Message
from pytinc.wire.vip_record import Claim, Entry, EntryState, MemberRecord
from pytinc.wire.virtual_ip import Balance

if TYPE_CHECKING:
    from node.conftest import MakeStage, Scripted, Stage

MAC, CLIENT, LOCAL = (bytes((2, 0, 0, 0, 0, number)) for number in (10, 11, 12))
VIP = bytes((10, 1, 1, 10))
SAME = "02:00:00:00:00:0a"


@pytest.fixture
def trio(stage: MakeStage) -> tuple[Stage, Scripted, Scripted]:
    """Alpha with the neighbours beta and gamma, who both own a MAC; delta is behind gamma."""
    alpha = stage("beta", "gamma", "delta", local_discovery=False, ping_interval=10_000)
    beta, gamma = alpha.neighbour("beta"), alpha.neighbour("gamma")
    gamma.link("gamma", "delta")
    beta.say(f"10 1 beta {SAME}#1")
    gamma.say(f"10 2 gamma {SAME}#2")
    for peer in (beta, gamma):
        peer.heard()
    return alpha, beta, gamma


def prove(alpha: Stage, peer: Scripted, name: str | None = None) -> FarEnd:
    """Have UDP with a node proved."""
    far = FarEnd(peer, name).open()
    record = alpha.node.peers[far.name]
    alpha.call(lambda node, now: node.tunnels.upkeep(record, now, search_mtu=False))
    far.reply()
    far.heard()
    assert record.slot.confirmed
    return far


def perform(alpha: Stage, *asked: actions.Action) -> None:
    """Have the guard ask for something."""
    pending = list(asked)
    guard = alpha.node.guard._guard
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "take_actions", lambda: [pending.pop(0) for _ in range(len(pending))])
        alpha.actions.clear()
        alpha.call(lambda node, now: node.guard.settle(now))
        alpha.call(lambda node, now: node.meta_output.flush(now))


# -- settings --


@pytest.mark.parametrize(
    ("changes", "screens"),
    [
        ({}, True),
        ({"neighbour_guard": False}, False),
        ({"mode": Mode.HUB}, False),
        ({"mode": Mode.ROUTER}, False),
        ({"broadcast": Broadcast.NO}, False),
        ({"tunnel_server": True}, False),
    ],
)
def test_frames_are_screened_where_questions_reach_all(
    stage: MakeStage, changes: dict[str, object], screens: bool
) -> None:
    alpha = stage("beta", **changes)
    assert (alpha.node.table.guard is not None) is screens
    alpha.call(lambda node, now: node.tick(now))
    assert alpha.node.guard_view(alpha.now).addresses == ()


def test_a_reload_switches_the_guard_off_and_on(stage: MakeStage) -> None:
    alpha = stage("beta")
    first = alpha.node.table.guard
    alpha.reload()
    assert alpha.node.table.guard is first  # what it has counted stays
    alpha.reload(neighbour_guard=False)
    assert alpha.node.table.guard is None
    assert alpha.node.guard.last_use(MAC, CLIENT, VIP) == -math.inf
    alpha.reload(neighbour_guard=True)
    assert alpha.node.table.guard is not None


# -- facts --


def test_owners_of_macs_and_reachability(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, _ = trio
    guard = alpha.node.guard
    assert [guard.owner(mac) for mac in (MAC, CLIENT)] == ["beta", None]
    assert [guard.is_reachable(name) for name in ("beta", "delta", "nobody")] == [True, True, False]
    assert not guard.is_alone()
    beta.hang_up()
    assert guard.owner(MAC) == "gamma"
    assert not guard.is_reachable("beta")
    assert guard.name_of(alpha.node.peers["gamma"].slot.id) == "gamma"
    assert guard.name_of(b"nobody") is None


def test_a_node_without_others_is_alone(stage: MakeStage) -> None:
    alpha = stage("beta")
    assert alpha.node.guard.is_alone()
    beta = alpha.neighbour("beta")
    assert not alpha.node.guard.is_alone()
    beta.hang_up()
    assert alpha.node.guard.is_alone()


def test_the_first_hop_is_the_one_that_gets_the_frames_if_it_can_be_probed(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, gamma = trio
    guard = alpha.node.guard
    assert [guard.first_hop(name) for name in ("gamma", "delta", "nobody")] == [None, None, None]
    prove(alpha, gamma)
    assert [guard.first_hop(name) for name in ("gamma", "delta")] == ["gamma", "gamma"]
    prove(alpha, gamma, "delta")
    assert guard.first_hop("delta") == "delta"
    gamma.hang_up()
    assert guard.first_hop("delta") is None


def test_the_last_hop_is_the_relay_of_the_last_frame_and_nobody_if_it_came_straight(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, gamma = trio
    guard = alpha.node.guard
    prove(alpha, gamma)
    far = FarEnd(gamma, "delta").open()
    alpha.now = 5.0
    far.send_frame(bytes(60), by="gamma")
    assert [guard.last_hop("delta", since) for since in (4.0, 5.0, 5.1)] == ["gamma", "gamma", None]
    assert guard.received("delta") == 1
    far.send_frame(bytes(60))
    assert guard.last_hop("delta", 4.0) is None
    assert guard.received("delta") == 2
    assert (guard.last_hop("nobody", 0.0), guard.received("nobody")) == (None, 0)


def test_a_straight_path_that_is_proved_after_a_relayed_frame_counts_until_the_next_one(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, gamma = trio
    guard = alpha.node.guard
    prove(alpha, gamma)
    far = FarEnd(gamma, "delta").open()
    far.send_frame(bytes(60), by="gamma")
    assert guard.last_hop("delta", 0.0) == "gamma"
    far.reply()
    assert alpha.node.peers["delta"].slot.confirmed
    assert guard.last_hop("delta", 0.0) is None
    far.send_frame(bytes(60), by="gamma")
    assert guard.last_hop("delta", 0.0) == "gamma"


def test_the_use_of_a_holder_is_known_for_ten_minutes(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, _, _ = trio
    table = alpha.node.table.guard
    assert table is not None
    table.uses[MAC + CLIENT + VIP] = alpha.now
    table.uses[MAC + LOCAL + VIP] = alpha.now + 2 * USES_INTERVAL
    assert alpha.node.guard.last_use(MAC, CLIENT, VIP) == alpha.now
    assert alpha.node.guard.last_use(CLIENT, MAC, VIP) == -math.inf
    start = alpha.now
    for wait, kept in ((USES_LIFE - 1, 2), (USES_LIFE + USES_INTERVAL, 1)):
        alpha.now = start + wait
        alpha.call(lambda node, now: node.guard.tick(now))
        assert len(table.uses) == kept


def test_rivals_are_the_owners_of_one_thing_that_get_frames_or_are_passed_over(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, _ = trio
    guard, peers = alpha.node.guard, alpha.node.peers
    assert guard.has_rivals()
    assert list(guard.rivals(100.0)) == []  # nobody uses them
    peers["beta"].slot.out_packets += 1
    assert list(guard.rivals(101.0)) == ["beta"]
    assert list(guard.rivals(101.0 + RIVAL_USE - 1)) == ["beta"]
    assert list(guard.rivals(101.0 + RIVAL_USE)) == []
    peers["gamma"].slot.silent = True
    assert list(guard.rivals(120.0)) == ["gamma"]


# -- what the guard asks for --


def test_a_probe_goes_to_a_proved_node_with_the_nonce(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, _ = trio
    far = prove(alpha, beta)
    alpha.actions.clear()
    for name in ("beta", "gamma", "nobody"):
        perform(alpha, actions.SendProbe(name, b"abcd"))
        assert len(alpha.asked(SendDatagram)) == (name == "beta")
        if name == "beta":
            assert [record.data[14:18] for _, record in far.heard()] == [b"abcd"]


def test_a_neighbour_is_asked_by_ping_and_a_distant_node_for_its_key(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, beta, gamma = trio
    perform(alpha, *(actions.AskMeta(name) for name in ("beta", "delta", "nobody")))
    assert beta.heard() == ["8"]
    assert gamma.heard() == ["15 alpha delta 19"]


def test_a_tunnel_is_kept_warm_without_traffic(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, _ = trio
    perform(alpha, actions.KeepWarm("beta"), actions.KeepWarm("nobody"))
    assert any(line.startswith("15 alpha beta 15 ") for line in beta.heard())


def test_a_silent_owner_is_passed_over_before_a_frame_is_sent(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, gamma = trio
    frame = MAC + LOCAL + b"\x08\x06" + bytes(46)
    perform(
        alpha, actions.SetSilent("beta", True), actions.SendFrame(frame), actions.SetSilent("nobody", True)
    )
    assert alpha.node.table.macs[MAC].name == "gamma"
    alpha.call(lambda node, now: node.tick(now))
    assert (beta.frames, gamma.frames) == ([], [frame])
    perform(alpha, actions.SetSilent("beta", False))
    assert alpha.node.table.macs[MAC].name == "beta"


def test_lines_scripts_and_the_end_of_a_withdrawal_are_passed_on(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, _ = trio
    perform(
        alpha,
        actions.Notice(1, "warning", "no answer"),
        actions.Changed({"VIP": "10.1.1.10"}),
        actions.Gone(),
    )
    assert alpha.actions == [
        Log(1, "warning", "no answer"),
        RunScript("vip-changed", {"VIP": "10.1.1.10"}),
        Withdrawn(),
    ]


def test_new_rules_reach_the_data_path(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, _, _ = trio
    table, guard = alpha.node.table.guard, alpha.node.guard._guard
    assert table is not None
    table.asked = {VIP: 1.0, bytes(4): 2.0}
    rules = Rules(
        macs=frozenset((MAC,)),
        addresses=frozenset((VIP,)),
        senders={VIP: LOCAL},
        known=frozenset((b"know",)),
        withheld=frozenset((b"with",)),
        left=frozenset((CLIENT,)),
        own=frozenset((VIP,)),
        in_use={VIP: MAC},
        lenient=True,
        flows={VIP: FlowShares((("beta", MAC, 10),), frozenset((MAC,)), frozenset((MAC, CLIENT)))},
    )
    alpha.now = 50.0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(guard), "rules", rules)
        perform(alpha, actions.NewRules())
    assert (table.macs, table.addresses, table.senders) == (rules.macs, rules.addresses, rules.senders)
    assert (table.known, table.withheld, table.left) == (rules.known, rules.withheld, rules.left)
    assert (table.own, table.in_use, table.lenient) == (rules.own, rules.in_use, True)
    assert table.asked == {VIP: 1.0}  # the other one is in use no more
    assert table.heartbeat == 50.0  # the guard had nothing to tick for until now
    flows = alpha.node.table.flows
    assert flows is not None
    assert set(flows.macs) == {MAC, CLIENT}
    perform(alpha, actions.NewRules())
    assert alpha.node.table.flows is None, "no members share any flows"


def test_flows_are_shown_by_member_and_forgotten_in_time(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, beta, _ = trio
    prove(alpha, beta)
    record = alpha.node.peers["beta"]
    claim = Claim(1, record.slot.id)
    entry = Entry(VIP, EntryState.ACTIVE, 100, MAC, claim, balance=Balance.FLOW)
    alpha.call(lambda node, now: node.guard.member_record(record, MemberRecord(1, 1, (entry,)).pack(), now))
    ends = LOCAL[2:] + VIP + bytes((0, 1, 0, 2))
    head = b"\x45\0\0\x20" + bytes(5) + b"\x11\0\0" + LOCAL[2:] + VIP + bytes((0, 1, 0, 2)) + bytes(8)
    alpha.call(lambda node, now: node.frames([MAC + LOCAL + b"\x08\0" + head], now))
    flows = alpha.node.table.flows
    assert flows is not None
    assert flows.known(b"\x11" + ends, alpha.now) == MAC
    view = alpha.node.policy_view(alpha.now)
    assert ([member.flows for member in view.addresses[0].members], view.flows) == ([1], 1)
    alpha.run(OTHER_LIFE + 2 * USES_INTERVAL)
    assert alpha.node.policy_view(alpha.now).flows == 0


# -- what happens --


def test_two_nodes_whose_stations_answer_one_question_share_the_address(
    trio: tuple[Stage, Scripted, Scripted],
) -> None:
    alpha, _, gamma = trio
    gamma.say("10 4 gamma 02:00:00:00:00:0b")
    asker = bytes((10, 1, 1, 77))
    said = [
        ("alpha", Message(Kind.QUESTION, LOCAL, asker, VIP, b"\xff" * 6)),
        ("beta", Message(Kind.ANSWER, MAC, VIP, asker, LOCAL)),
        ("gamma", Message(Kind.ANSWER, CLIENT, VIP, asker, LOCAL)),
    ]
    for name, message in said:
        assert alpha.node.guard_summary().shared == 0
        alpha.node.output.upcalls.messages.append((alpha.node.peers[name].slot, message))
        alpha.call(lambda node, now: node.tick(now))
    assert VIP in alpha.node.known_addresses()
    assert alpha.node.guard_summary().shared == 1
    # The host gets it as well: all holders are asked, so that everybody hears that there is one more.
    alpha.run(10)
    gamma.frames.clear()
    alpha.call(lambda node, now: node.address_added(VIP, now))
    assert any(frame.startswith(b"\xff" * 6) and VIP in frame for frame in gamma.frames)


def test_the_numbers_have_what_the_data_path_counted(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, _, _ = trio
    table = alpha.node.table.guard
    assert table is not None
    table.rewritten, table.answers_withheld = 3, 4
    for counters in (alpha.node.guard_summary().counters, alpha.node.guard_view(alpha.now).counters):
        assert (counters.rewritten, counters.withheld) == (3, 4)


def test_a_withdrawal_without_shared_addresses_ends_at_once(trio: tuple[Stage, Scripted, Scripted]) -> None:
    alpha, _, _ = trio
    alpha.call(lambda node, now: node.withdraw(now))
    assert Withdrawn() in alpha.actions
